//! What writes a text token by token, in a network of features.

use super::gpt::{Places, last, pairs};
use crate::activations::Gelu;
use crate::context::Context;
use crate::dims::product;
use crate::init::Normal;
use crate::layers::transformer_encoder::effect_of;
use crate::layers::{
    AttentionPosition, Dropout, Effect, Embedding, Layer, Linear, PositionalEncoding,
    PreparedMemory, RotaryEmbedding, TransformerDecoder, TransformerEncoder, TransformerOptions,
};
use crate::params::Params;
use nerve_core::Tensor;
use nerve_formats::spec::Args;

/// Says at each place of a text which token comes next: from the tokens before it, and from the steps of a *memory*, what an
/// encoder has made of another text, if there is one.
///
/// Layers of attention with the norm first and GELU, as in [`Gpt`](super::Gpt); with a memory each looks at its steps too, as
/// in Vaswani et al., "Attention is all you need", 2017. The table of the tokens is multiplied with √dim where it is read, and
/// makes the logits as it is (section 3.4), unless the output has a layer of its own.
///
/// The past i32 `[batch, time]`, the memory `[batch, steps, features]`; output the logits `[batch, time, vocabulary]`.
/// Parameters: `words`, `memory` if the features of the memory are not `dim`, `decoder.layers.0.…`, `decoder.norm`, `output`
/// if it is not tied.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::models::{TextDecoder, TextDecoderOptions};
/// use nerve_nn::{Context, Params};
/// let options = TextDecoderOptions::new(100, 32, 2, 4);
/// let decoder = TextDecoder::new(&Params::new(42), options, Some(24));
/// let (past, memory) = (Tensor::from_slice(&[3i32, 14, 15], [1, 3]), Tensor::ones([1, 7, 24]));
/// let logits = decoder.logits(&past, Some(&memory), &Context::eval());
/// assert_eq!(**logits.shape(), [1, 3, 100]);
/// ```
pub struct TextDecoder {
    /// `[vocabulary, dim]`.
    pub words: Embedding,
    /// From the features of the memory to its own.
    pub memory: Option<Linear>,
    /// What is added to the words to say where they stand.
    pub places: Option<PositionalEncoding>,
    /// To the logits; if none, by the table of words.
    pub output: Option<Linear>,
    /// Of the words with their places.
    pub dropout: Dropout,
    body: Body,
}

/// The layers.
enum Body {
    /// That see the past alone.
    Alone(TransformerEncoder),
    /// That look at a memory too.
    Reading(TransformerDecoder),
}

/// The sizes of a [`TextDecoder`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TextDecoderOptions {
    /// How many tokens there are.
    pub vocabulary: usize,
    /// Features of each.
    pub dim: usize,
    /// Layers upon each other.
    pub layers: usize,
    /// Heads of attention.
    pub heads: usize,
    /// Units between the two linear layers of each.
    pub feed_forward: usize,
    /// The share that is set to zero while training.
    pub dropout: f64,
    /// Whether the output is by the table of words.
    pub tied: bool,
    /// How it knows who stands where: nothing that is learned for each place, so that any length will do.
    pub places: Places,
}

impl TextDecoderOptions {
    /// Four times as many units as features, output by the table of words, rotary places, no dropout.
    pub fn new(vocabulary: usize, dim: usize, layers: usize, heads: usize) -> TextDecoderOptions {
        TextDecoderOptions {
            vocabulary,
            dim,
            layers,
            heads,
            feed_forward: dim.saturating_mul(4),
            dropout: 0.0,
            tied: true,
            places: Places::Rotary,
        }
    }

    /// What checked arguments of the decoder `generator` say.
    pub(crate) fn of(args: &Args, vocabulary: usize) -> TextDecoderOptions {
        let [dim, layers, heads] = ["dim", "layers", "heads"].map(|key| args.usize(key));
        let plain = TextDecoderOptions::new(vocabulary, dim, layers, heads);
        TextDecoderOptions {
            feed_forward: match args.has("feed_forward") {
                true => args.usize("feed_forward"),
                false => plain.feed_forward,
            },
            dropout: args.float("dropout"),
            tied: args.bool("tied_embeddings"),
            places: match args.text("positions") {
                "sinusoidal" => Places::Sinusoidal,
                "alibi" => Places::Alibi,
                _ => Places::Rotary,
            },
            ..plain
        }
    }

    fn transformer(&self) -> TransformerOptions {
        TransformerOptions {
            dropout: self.dropout,
            norm_first: true,
            causal: true,
            position: match self.places {
                Places::Rotary => AttentionPosition::Rotary(RotaryEmbedding::default()),
                Places::Alibi => AttentionPosition::Alibi,
                Places::Sinusoidal | Places::Learned => AttentionPosition::None,
            },
            ..TransformerOptions::new(self.heads, self.feed_forward)
        }
    }

    /// What its parts do to a text of `time` tokens with a memory of this shape, if there is one: path, kind, effect.
    ///
    /// # Errors
    /// The features do not divide into the heads, or the memory has no steps: in words.
    pub(crate) fn describe(
        &self,
        time: usize,
        memory: Option<&[usize]>,
    ) -> Result<Vec<(&'static str, &'static str, Effect)>, String> {
        let &TextDecoderOptions { vocabulary, dim, layers, .. } = self;
        let table = product(&[vocabulary, dim]);
        let mut parts = Vec::new();
        let words = Effect::cheap([time, dim], 0, 0);
        parts.push(("words", "Embedding", Effect { parameters: table, ..words }));
        let own = effect_of(&self.transformer(), &[time, dim]);
        let mut layer = own.map_err(|misfit| format!("`generator` {misfit}"))?;
        if let Some(memory) = memory {
            let &[steps, features] = memory else {
                return Err(format!(
                    "`generator` looks at the steps of its input, [steps, features], and gets {}: the encoder keeps them \
                     with `reduce = \"none\"`",
                    nerve_core::Shape::from(memory)
                ));
            };
            if features != dim {
                let bridge = Effect::weighted([steps, dim], dim, features as u128, true);
                parts.push(("memory", "Linear", bridge));
            }
            layer = across(layer, [time, steps, dim]);
        }
        let kind = if memory.is_some() { "TransformerDecoder" } else { "TransformerEncoder" };
        let depth = layers as u128;
        let all = Effect {
            parameters: layer.parameters.saturating_mul(depth).saturating_add(2 * dim as u128),
            flops: layer.flops.saturating_mul(depth),
            kept: layer.kept.saturating_mul(depth),
            ..layer
        };
        parts.push(("decoder", kind, all));
        let own = if self.tied { 0 } else { table.saturating_add(vocabulary as u128) };
        parts.push((
            "output",
            "Linear",
            Effect {
                parameters: own,
                flops: table.saturating_mul(2 * time as u128),
                kept: product(&[time, vocabulary]),
                ..Effect::cheap([vocabulary, time], 0, 0)
            },
        ));
        Ok(parts)
    }
}

/// A layer that looks at `steps` of a memory too.
fn across(own: Effect, [time, steps, dim]: [usize; 3]) -> Effect {
    let square = product(&[4, dim, dim]);
    let (n, s, d) = (time as u128, steps as u128, dim as u128);
    let linear = square.saturating_mul(n.saturating_add(s));
    Effect {
        parameters: own.parameters.saturating_add(square).saturating_add(6 * d),
        flops: own.flops.saturating_add(linear).saturating_add(product(&[4, time, steps, dim])),
        kept: own.kept.saturating_add(d.saturating_mul(5 * n + 2 * s)),
        ..own
    }
}

impl TextDecoder {
    /// With words normal of deviation 1/√dim; `memory` are the features of what it looks at, if there is something.
    ///
    /// # Panics
    /// If the features do not divide into the heads.
    #[track_caller]
    pub fn new(params: &Params, options: TextDecoderOptions, memory: Option<usize>) -> TextDecoder {
        let TextDecoderOptions { vocabulary, dim, layers, .. } = options;
        let init = Normal { mean: 0.0, std: (dim.max(1) as f64).sqrt().recip() };
        let (at, transformer) = (params.at("decoder"), options.transformer());
        let body = match memory {
            None => {
                let mut body = TransformerEncoder::new(&at, dim, layers, transformer);
                for layer in &mut body.layers {
                    layer.feed_forward.activation = Box::new(Gelu);
                }
                Body::Alone(body)
            }
            Some(_) => {
                let mut body = TransformerDecoder::new(&at, dim, layers, transformer);
                for layer in &mut body.layers {
                    layer.feed_forward.activation = Box::new(Gelu);
                }
                Body::Reading(body)
            }
        };
        let bridge = memory.filter(|&features| features != dim);
        TextDecoder {
            words: Embedding::with_init(&params.at("words"), vocabulary, dim, &init),
            memory: bridge.map(|features| Linear::new(&params.at("memory"), features, dim)),
            places: (options.places == Places::Sinusoidal).then(PositionalEncoding::sinusoidal),
            output: (!options.tied).then(|| Linear::new(&params.at("output"), dim, vocabulary)),
            dropout: Dropout::new(options.dropout),
            body,
        }
    }

    /// How many tokens there are.
    pub fn vocabulary(&self) -> usize {
        self.words.weight.shape()[0]
    }

    /// The words as the layers take them, before their places.
    fn embedded(&self, tokens: &Tensor, cx: &Context) -> Tensor {
        let words = self.words.forward(tokens, cx);
        let dim = words.shape()[2] as f64;
        words * dim.sqrt()
    }

    fn scores(&self, y: &Tensor, cx: &Context) -> Tensor {
        match &self.output {
            Some(output) => output.forward(y, cx),
            None => y.matmul(&self.words.weight.get().t()),
        }
    }

    /// The memory with its own features; its mask stays.
    fn bridged(&self, memory: &Tensor, cx: &Context) -> Tensor {
        let Some(bridge) = &self.memory else { return memory.clone() };
        let y = bridge.forward(memory, cx);
        if let Some(mask) = cx.mask(memory) {
            cx.set_mask(&y, &mask);
        }
        y
    }

    /// The logits of the token after each of the past.
    ///
    /// # Panics
    /// If a shape does not fit, or there is a memory where none was expected or none where one was.
    #[track_caller]
    pub fn logits(&self, past: &Tensor, memory: Option<&Tensor>, cx: &Context) -> Tensor {
        let mut x = self.embedded(past, cx);
        if let Some(places) = &self.places {
            x = places.forward(&x, cx);
        }
        let x = self.dropout.forward(&x, cx);
        let y = match (&self.body, memory) {
            (Body::Alone(body), None) => body.forward(&x, cx),
            (Body::Reading(body), Some(memory)) => {
                body.forward_with_memory(&x, &self.bridged(memory, cx), cx)
            }
            (_, memory) => panic!("TextDecoder: a memory was given: {}", memory.is_some()),
        };
        self.scores(&y, cx)
    }

    /// The state before the first of up to `longest` tokens: what the layers need of the memory (its mask first, if it has
    /// one), then their caches.
    #[track_caller]
    pub(crate) fn begin(
        &self,
        rows: usize,
        longest: usize,
        memory: Option<&Tensor>,
        cx: &Context,
    ) -> Vec<Tensor> {
        let mut state = Vec::new();
        match (&self.body, memory) {
            (Body::Alone(body), None) => {
                let caches = body.layers.iter().map(|layer| &layer.self_attn);
                state.extend(caches.flat_map(|cache| cache.empty_cache(rows, longest)));
            }
            (Body::Reading(body), Some(memory)) => {
                let memory = self.bridged(memory, cx);
                let prepared = body.prepare(&memory, cx);
                let bias = |mask: Tensor| Tensor::attention_bias(&mask, memory.dtype());
                state.extend(prepared.mask.map(bias));
                state.extend(prepared.keys_values.into_iter().flatten());
                let caches = body.layers.iter().map(|layer| &layer.self_attn);
                state.extend(caches.flat_map(|cache| cache.empty_cache(rows, longest)));
            }
            (_, memory) => panic!("TextDecoder: a memory was given: {}", memory.is_some()),
        }
        state
    }

    /// As [`Autoregressive::advance`](crate::generate::Autoregressive::advance).
    pub(crate) fn advance(
        &self,
        tokens: &Tensor,
        at: &Tensor,
        state: &[Tensor],
    ) -> (Tensor, Vec<Tensor>) {
        let cx = Context::eval();
        let mut x = self.embedded(tokens, &cx);
        let places = |x: Tensor, longest: usize| match &self.places {
            Some(places) => places.forward_from(&x, at, longest),
            None => x,
        };
        let (y, after) = match &self.body {
            Body::Alone(body) => {
                x = places(x, state[0].shape()[2]);
                let (y, caches) = body.forward_cached(&x, at, &pairs(state), &cx);
                (y, caches.into_iter().flatten().collect())
            }
            Body::Reading(body) => {
                let layers = 2 * body.layers.len();
                let (source, caches) = state.split_at(state.len() - layers);
                let (mask, memory) = source.split_at(source.len() - layers);
                x = places(x, caches[0].shape()[2]);
                let memory =
                    PreparedMemory { mask: mask.first().cloned(), keys_values: pairs(memory) };
                let (y, caches) = body.forward_cached(&x, at, &pairs(caches), &memory, &cx);
                let after = source.iter().cloned().chain(caches.into_iter().flatten());
                (y, after.collect::<Vec<_>>())
            }
        };
        (self.scores(&last(&y), &cx), after)
    }
}
