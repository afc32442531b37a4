//! A transformer that writes one sequence from another.

use super::gpt::{last, pairs};
use crate::context::Context;
use crate::generate::Autoregressive;
use crate::init::Normal;
use crate::layers::{
    Dropout, Embedding, Layer, PositionalEncoding, PreparedMemory, TransformerDecoder,
    TransformerEncoder, TransformerOptions,
};
use crate::params::Params;
use nerve_core::Tensor;

/// A transformer that writes one sequence from another, for instance a translation: an encoder reads
/// the source, and a decoder says at each place of the target which token comes next, looking back
/// and at what the encoder has made.
///
/// Vaswani et al., "Attention is all you need", 2017: waves say where words stand, words are
/// multiplied with √features, and the table of the target's words makes the logits too (section
/// 3.4). Token 0 of the source stands for nothing: it fills up.
///
/// Source i32 `[batch, source time]`, target i32 `[batch, time]`, output the logits `[batch, time,
/// vocabulary]`. Parameters: `source_words`, `target_words`, `encoder`, `decoder`, these two as
/// PyTorch's `nn.Transformer` has them. A [`Generator`](crate::generate::Generator) writes the target;
/// the source is one tensor, of one shape from call to call or plans are made anew.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::generate::{Generator, Options};
/// use nerve_nn::layers::TransformerOptions;
/// use nerve_nn::models::Translator;
/// use nerve_nn::{Context, Params};
/// let options = TransformerOptions::new(2, 32);
/// let model = Translator::new(&Params::new(42), [20, 30], 16, [1, 1], options);
/// let source = Tensor::from_slice(&[5i32, 6, 7, 8, 0, 0], [2, 3]);
/// let target = Tensor::from_slice(&[1i32, 2, 1, 3], [2, 2]);
/// let y = model.logits(&source, &target, &Context::eval());
/// assert_eq!(**y.shape(), [2, 2, 30]);
/// // Each target begins with token 1.
/// let options = Options { max_new: 4, ..Options::default() };
/// let written = Generator::new(&model, 8).generate(&[vec![1], vec![1]], &[source], &options);
/// assert_eq!(written.unwrap()[1].tokens.len(), 4);
/// ```
pub struct Translator {
    /// `[source vocabulary, features]`.
    pub source_words: Embedding,
    /// `[vocabulary, features]`.
    pub target_words: Embedding,
    /// Reads.
    pub encoder: TransformerEncoder,
    /// Writes.
    pub decoder: TransformerDecoder,
    /// Of words with their places.
    pub dropout: Dropout,
}

impl Translator {
    /// For vocabularies of source and target, with so many layers of encoder and decoder.
    ///
    /// # Panics
    /// If the features do not divide into the heads, or there are no words.
    #[track_caller]
    pub fn new(
        params: &Params,
        [source, target]: [usize; 2],
        features: usize,
        [readers, writers]: [usize; 2],
        options: TransformerOptions,
    ) -> Translator {
        let init = Normal { mean: 0.0, std: (features.max(1) as f64).sqrt().recip() };
        let at = |name| params.at(name);
        let reading = TransformerOptions { causal: false, ..options };
        Translator {
            source_words: Embedding::with_padding(&at("source_words"), source, features, &init, 0),
            target_words: Embedding::with_init(&at("target_words"), target, features, &init),
            encoder: TransformerEncoder::new(&at("encoder"), features, readers, reading),
            decoder: TransformerDecoder::new(&at("decoder"), features, writers, options),
            dropout: Dropout::new(options.dropout),
        }
    }

    fn scaled(&self, words: &Tensor) -> Tensor {
        words * (words.shape()[2] as f64).sqrt()
    }

    /// What the encoder makes of a source, with its mask.
    ///
    /// # Panics
    /// If the shape does not fit.
    #[track_caller]
    pub fn read(&self, source: &Tensor, cx: &Context) -> Tensor {
        let words = self.source_words.forward(source, cx);
        let mask = cx.mask(&words).expect("the words have one");
        let x = PositionalEncoding::sinusoidal().forward(&self.scaled(&words), cx);
        let x = self.dropout.forward(&x, cx);
        cx.set_mask(&x, &mask);
        let memory = self.encoder.forward(&x, cx);
        cx.set_mask(&memory, &mask);
        memory
    }

    /// The logits of the token after each of the target's.
    ///
    /// # Panics
    /// If a shape does not fit.
    #[track_caller]
    pub fn logits(&self, source: &Tensor, target: &Tensor, cx: &Context) -> Tensor {
        let memory = self.read(source, cx);
        let words = self.scaled(&self.target_words.forward(target, cx));
        let x = PositionalEncoding::sinusoidal().forward(&words, cx);
        let x = self.dropout.forward(&x, cx);
        self.output(&self.decoder.forward_with_memory(&x, &memory, cx))
    }

    fn output(&self, y: &Tensor) -> Tensor {
        y.matmul(&self.target_words.weight.get().t())
    }
}

impl Autoregressive for Translator {
    fn vocabulary(&self) -> usize {
        self.target_words.weight.shape()[0]
    }

    /// The mask of the source, what it offers to each layer, and the caches of the layers.
    fn begin(&self, rows: usize, longest: usize, source: &[Tensor]) -> Vec<Tensor> {
        let [source] = source else {
            panic!("Translator: expected one source, found {}", source.len())
        };
        assert!(
            source.shape().first() == Some(&rows),
            "Translator: expected {rows} sources, found {}",
            source.shape()
        );
        let cx = Context::eval();
        let prepared = self.decoder.prepare(&self.read(source, &cx), &cx);
        let mask = prepared.mask.expect("the source has one");
        let mut state = vec![Tensor::attention_bias(&mask, self.target_words.weight.dtype())];
        state.extend(prepared.keys_values.into_iter().flatten());
        for layer in &self.decoder.layers {
            state.extend(layer.self_attn.empty_cache(rows, longest));
        }
        state
    }

    fn advance(&self, tokens: &Tensor, at: &Tensor, state: &[Tensor]) -> (Tensor, Vec<Tensor>) {
        let cx = Context::eval();
        let (source, caches) = state.split_at(1 + 2 * self.decoder.layers.len());
        let memory =
            PreparedMemory { mask: Some(source[0].clone()), keys_values: pairs(&source[1..]) };
        let longest = caches.first().map_or(1, |keys| keys.shape()[2]);
        let words = self.scaled(&self.target_words.forward(tokens, &cx));
        let x = PositionalEncoding::sinusoidal().forward_from(&words, at, longest);
        let (y, caches) = self.decoder.forward_cached(&x, at, &pairs(caches), &memory, &cx);
        let after = source.iter().cloned().chain(caches.into_iter().flatten());
        (self.output(&last(&y)), after.collect())
    }
}
