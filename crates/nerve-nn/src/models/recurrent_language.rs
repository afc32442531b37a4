//! A recurrent network that predicts the next token.

use super::gpt::{VOCABULARY, last, text};
use crate::context::Context;
use crate::dims::product;
use crate::generate::Autoregressive;
use crate::layers::multi_head_attention::DROPOUT;
use crate::layers::recurrent::{LAYERS, UNITS};
use crate::layers::{
    Dropout, Effect, Embedding, Entry, Layer, Linear, Lstm, RecurrentOptions, Sample,
};
use crate::params::Params;
use nerve_core::Tensor;
use nerve_formats::spec::{Args, Peers, Spec};

/// A recurrent network that says at each place of a text which token comes next: a row of `units`
/// features for each token, long short-term memories upon each other, a linear layer to the logits.
///
/// Mikolov et al., "Recurrent neural network based language model", 2010; with LSTMs, Zaremba,
/// Sutskever & Vinyals, "Recurrent neural network regularization", 2014.
///
/// Input i32 `[batch, time]`, output the logits `[batch, time, vocabulary]`. Parameters: `words`,
/// `lstm`, `output`. Text is written by a [`Generator`](crate::generate::Generator); a step costs the
/// same at any place, and any length will do.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::models::RecurrentLanguage;
/// use nerve_nn::{Context, Layer, Params};
/// let model = RecurrentLanguage::new(&Params::new(42), 100, 32, 2, 0.0);
/// let text = Tensor::from_slice(&[3i32, 14, 15], [1, 3]);
/// assert_eq!(**model.forward(&text, &Context::eval()).shape(), [1, 3, 100]);
/// ```
pub struct RecurrentLanguage {
    /// `[vocabulary, units]`.
    pub words: Embedding,
    /// What remembers.
    pub lstm: Lstm,
    /// To the logits.
    pub output: Linear,
    /// Before and behind the memories.
    pub dropout: Dropout,
}

impl RecurrentLanguage {
    /// With `layers` memories of `units`.
    ///
    /// # Panics
    /// If there are no layers, or the dropout is not in [0, 1).
    #[track_caller]
    pub fn new(
        params: &Params,
        vocabulary: usize,
        units: usize,
        layers: usize,
        dropout: f64,
    ) -> RecurrentLanguage {
        let options = RecurrentOptions {
            layers,
            dropout,
            return_sequences: true,
            ..RecurrentOptions::default()
        };
        RecurrentLanguage {
            words: Embedding::new(&params.at("words"), vocabulary, units),
            lstm: Lstm::new(&params.at("lstm"), units, units, options),
            output: Linear::new(&params.at("output"), units, vocabulary),
            dropout: Dropout::new(dropout),
        }
    }
}

impl Layer for RecurrentLanguage {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        let words = self.dropout.forward(&self.words.forward(x, cx), cx);
        let y = self.lstm.forward(&words, cx);
        self.output.forward(&self.dropout.forward(&y, cx), cx)
    }
}

impl Autoregressive for RecurrentLanguage {
    fn vocabulary(&self) -> usize {
        self.words.weight.shape()[0]
    }

    /// The states h and c of all layers, `[rows, layers, units]`.
    fn begin(&self, rows: usize, _: usize, _: &[Tensor]) -> Vec<Tensor> {
        let (weight, layers) = (&self.words.weight, self.lstm.layers());
        let shape = [rows, layers, weight.shape()[1]];
        vec![Tensor::full(shape, 0.0, weight.dtype()); 2]
    }

    fn advance(&self, tokens: &Tensor, _: &Tensor, state: &[Tensor]) -> (Tensor, Vec<Tensor>) {
        let cx = Context::eval();
        let words = self.words.forward(tokens, &cx);
        let [h, c] = [0, 1].map(|i| state[i].permute(&[1, 0, 2]));
        let [y, h, c] = self.lstm.with_states(&words, Some(&h), Some(&c), &cx);
        let after = [h, c].map(|t| t.permute(&[1, 0, 2]));
        (self.output.forward(&last(&y), &cx), after.into())
    }
}

fn sizes(args: &Args) -> [usize; 3] {
    ["vocabulary", "units", "layers"].map(|key| args.usize(key))
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "RecurrentLanguage",
        aliases: &["recurrent_language"],
        peers: Peers::NONE,
        doc: "A recurrent network that says at each place of a text which token comes next.",
        params: &[VOCABULARY, UNITS, LAYERS, DROPOUT],
    },
    takes_indices: true,
    samples: &[Sample::of("vocabulary = 7, units = 4, layers = 2, dropout = 0.1", &[5])],
    infer: |args, input| {
        let (time, [vocabulary, units, layers]) = (text(input)?, sizes(args));
        let table = product(&[vocabulary, units]);
        let weights = product(&[8, layers, units, units]);
        let own = table.saturating_mul(2).saturating_add(vocabulary as u128);
        let biases = product(&[8, layers, units]);
        let each = table.saturating_add(weights).saturating_mul(2);
        Ok(Effect {
            parameters: weights.saturating_add(biases).saturating_add(own),
            flops: each.saturating_mul(time as u128),
            kept: product(&[time, 7, layers, units]).saturating_add(product(&[time, vocabulary])),
            ..Effect::cheap([time, vocabulary], 0, 0)
        })
    },
    make: |args, _, params| {
        let [vocabulary, units, layers] = sizes(args);
        let dropout = args.float("dropout");
        Box::new(RecurrentLanguage::new(params, vocabulary, units, layers, dropout))
    },
};
