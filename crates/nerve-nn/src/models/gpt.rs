//! A transformer that predicts the next token.

use crate::activations::{Gelu, Silu};
use crate::context::Context;
use crate::dims::product;
use crate::generate::Autoregressive;
use crate::init::Normal;
use crate::layers::feed_forward::GATED;
use crate::layers::multi_head_attention::{DROPOUT, HEADS, KV_HEADS};
use crate::layers::transformer_encoder::{DEPTH, NORM, effect_of};
use crate::layers::{
    AttentionPosition, Dropout, Effect, Embedding, Entry, Layer, Linear, Misfit,
    PositionalEncoding, RotaryEmbedding, Sample, TransformerEncoder, TransformerOptions,
};
use crate::params::Params;
use nerve_core::Tensor;
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

/// A transformer that says at each place of a text which token comes next: words and their places,
/// layers of causal attention with the norm first, and the same table of words once more for the
/// output.
///
/// Radford et al., "Language models are unsupervised multitask learners" (GPT-2), 2019. With rotary
/// places, fewer heads of keys and values, gated units and norms by the root mean square it is built
/// like LLaMA (Touvron et al., 2023), but for the biases.
///
/// Input i32 `[batch, time]`, output the logits `[batch, time, vocabulary]`. Parameters: `words`,
/// `places`, `decoder.layers.0.…`, `decoder.norm`, `output` if it has its own. Text is written by a
/// [`Generator`](crate::generate::Generator).
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::models::{Gpt, GptOptions};
/// use nerve_nn::{Context, Layer, Params};
/// let model = Gpt::new(&Params::new(42), GptOptions::new(100, 32, 2, 4, 64));
/// let text = Tensor::from_slice(&[3i32, 14, 15], [1, 3]);
/// assert_eq!(**model.forward(&text, &Context::eval()).shape(), [1, 3, 100]);
/// ```
pub struct Gpt {
    /// `[vocabulary, features]`.
    pub words: Embedding,
    /// What is added to the words to say where they stand.
    pub places: Option<PositionalEncoding>,
    /// The layers and the norm at the end.
    pub decoder: TransformerEncoder,
    /// To the logits; if none, by the table of words.
    pub output: Option<Linear>,
    /// Of the words with their places.
    pub dropout: Dropout,
    longest: usize,
}

/// How a [`Gpt`] knows who stands where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Places {
    /// A learned row for each place is added.
    #[default]
    Learned,
    /// Waves are added.
    Sinusoidal,
    /// Queries and keys are turned.
    Rotary,
    /// Scores fall with the distance.
    Alibi,
}

/// The sizes of a [`Gpt`].
#[derive(Clone, Debug, PartialEq)]
pub struct GptOptions {
    /// How many tokens there are.
    pub vocabulary: usize,
    /// Features of each.
    pub features: usize,
    /// Layers.
    pub depth: usize,
    /// Heads of attention.
    pub heads: usize,
    /// The most places.
    pub longest: usize,
    /// Heads of keys and values, if fewer.
    pub kv_heads: Option<usize>,
    /// Units between the linear layers.
    pub feed_forward: usize,
    /// Whether these are gated, with SiLU (SwiGLU) and not GELU.
    pub gated: bool,
    /// Whether the norms are by the root mean square.
    pub rms_norm: bool,
    /// How it knows who stands where.
    pub places: Places,
    /// The share that is set to zero while training.
    pub dropout: f64,
    /// Whether the output is by the table of words.
    pub tied: bool,
}

impl GptOptions {
    /// As GPT-2: four times as many units, learned places, output by the table of words; without
    /// dropout.
    pub fn new(
        vocabulary: usize,
        features: usize,
        depth: usize,
        heads: usize,
        longest: usize,
    ) -> GptOptions {
        GptOptions {
            vocabulary,
            features,
            depth,
            heads,
            longest,
            kv_heads: None,
            feed_forward: features.saturating_mul(4),
            gated: false,
            rms_norm: false,
            places: Places::Learned,
            dropout: 0.0,
            tied: true,
        }
    }

    fn layers(&self) -> TransformerOptions {
        TransformerOptions {
            dropout: self.dropout,
            norm_first: true,
            causal: true,
            kv_heads: self.kv_heads,
            gated: self.gated,
            rms_norm: self.rms_norm,
            position: match self.places {
                Places::Rotary => AttentionPosition::Rotary(RotaryEmbedding::default()),
                Places::Alibi => AttentionPosition::Alibi,
                Places::Learned | Places::Sinusoidal => AttentionPosition::None,
            },
            ..TransformerOptions::new(self.heads, self.feed_forward)
        }
    }
}

impl Gpt {
    /// With words and places normal of deviation 0.02, as in GPT-2.
    ///
    /// # Panics
    /// If the features do not divide into the heads.
    #[track_caller]
    pub fn new(params: &Params, options: GptOptions) -> Gpt {
        let (vocabulary, features) = (options.vocabulary, options.features);
        let small = Normal { mean: 0.0, std: 0.02 };
        let words = Embedding::with_init(&params.at("words"), vocabulary, features, &small);
        let places = match options.places {
            Places::Learned => {
                let at = params.at("places");
                Some(PositionalEncoding::learned(&at, options.longest, features))
            }
            Places::Sinusoidal => Some(PositionalEncoding::sinusoidal()),
            Places::Rotary | Places::Alibi => None,
        };
        let at = params.at("decoder");
        let mut decoder = TransformerEncoder::new(&at, features, options.depth, options.layers());
        for layer in &mut decoder.layers {
            layer.feed_forward.activation =
                if options.gated { Box::new(Silu) } else { Box::new(Gelu) };
        }
        let output = (!options.tied)
            .then(|| Linear::with_init(&params.at("output"), features, vocabulary, &small, None));
        let (dropout, longest) = (Dropout::new(options.dropout), options.longest);
        Gpt { words, places, decoder, output, dropout, longest }
    }

    fn logits(&self, y: &Tensor, cx: &Context) -> Tensor {
        match &self.output {
            Some(output) => output.forward(y, cx),
            None => y.matmul(&self.words.weight.get().t()),
        }
    }
}

impl Layer for Gpt {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        let mut words = self.words.forward(x, cx);
        let mask = cx.mask(&words);
        if let Some(places) = &self.places {
            words = places.forward(&words, cx);
        }
        let words = self.dropout.forward(&words, cx);
        if let Some(mask) = mask {
            cx.set_mask(&words, &mask);
        }
        self.logits(&self.decoder.forward(&words, cx), cx)
    }
}

impl Autoregressive for Gpt {
    fn vocabulary(&self) -> usize {
        self.words.weight.shape()[0]
    }

    fn longest(&self) -> Option<usize> {
        Some(self.longest)
    }

    fn begin(&self, rows: usize, longest: usize, _: &[Tensor]) -> Vec<Tensor> {
        let cache = |layer: &crate::layers::TransformerEncoderLayer| {
            layer.self_attn.empty_cache(rows, longest)
        };
        self.decoder.layers.iter().flat_map(cache).collect()
    }

    fn advance(&self, tokens: &Tensor, at: &Tensor, state: &[Tensor]) -> (Tensor, Vec<Tensor>) {
        let cx = Context::eval();
        let mut words = self.words.forward(tokens, &cx);
        let caches = pairs(state);
        let longest = state.first().map_or(self.longest, |keys| keys.shape()[2]);
        if let Some(places) = &self.places {
            words = places.forward_from(&words, at, longest);
        }
        let (y, caches) = self.decoder.forward_cached(&words, at, &caches, &cx);
        (self.logits(&last(&y), &cx), caches.into_iter().flatten().collect())
    }
}

/// Keys and values of each layer.
pub(super) fn pairs(state: &[Tensor]) -> Vec<[Tensor; 2]> {
    state.chunks_exact(2).map(|pair| [pair[0].clone(), pair[1].clone()]).collect()
}

/// The last element of each sequence `[rows, time, features]`.
pub(super) fn last(y: &Tensor) -> Tensor {
    let time = y.shape()[1];
    y.slice(1, time - 1, time).squeeze(1)
}

fn options(args: &Args, time: usize) -> GptOptions {
    let [vocabulary, features, depth, heads] =
        ["vocabulary", "features", "layers", "heads"].map(|key| args.usize(key));
    let longest = if args.has("longest") { args.usize("longest") } else { time };
    let plain = GptOptions::new(vocabulary, features, depth, heads, longest);
    GptOptions {
        kv_heads: args.has("kv_heads").then(|| args.usize("kv_heads")),
        feed_forward: match args.has("feed_forward") {
            true => args.usize("feed_forward"),
            false => plain.feed_forward,
        },
        gated: args.bool("gated"),
        rms_norm: args.text("norm") == "rms",
        places: match args.text("position") {
            "sinusoidal" => Places::Sinusoidal,
            "rotary" => Places::Rotary,
            "alibi" => Places::Alibi,
            _ => Places::Learned,
        },
        dropout: args.float("dropout"),
        tied: args.bool("tied"),
        ..plain
    }
}

/// The number of tokens in a text of which an example is one axis.
pub(super) fn text(input: &[usize]) -> Result<usize, Misfit> {
    match input {
        &[time] if time > 0 => Ok(time),
        _ => Err(Misfit { needs: "[time], numbers of tokens".into(), hint: String::new() }),
    }
}

pub(super) const VOCABULARY: Param =
    Param::required("vocabulary", Kind::count(), "how many tokens there are")
        .alias(&["vocab_size", "vocabulary_size"]);

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "GPT",
        aliases: &["Gpt", "gpt"],
        peers: Peers::of("", "keras_hub.models.GPT2CausalLM"),
        doc: "A transformer that says at each place of a text which token comes next.",
        params: &[
            VOCABULARY,
            Param::required("features", Kind::count(), "features of each token").alias(&[
                "d_model",
                "hidden_dim",
                "n_embd",
            ]),
            DEPTH,
            HEADS,
            KV_HEADS,
            Param::optional(
                "feed_forward",
                Kind::count(),
                "units between the linear layers; without it four times the features",
            )
            .alias(&["dim_feedforward", "intermediate_dim"]),
            GATED,
            NORM,
            Param::with_default(
                "position",
                Kind::Choice(&["learned", "sinusoidal", "rotary", "alibi"]),
                Value::text("learned"),
                "how it knows who stands where",
            ),
            Param::optional(
                "longest",
                Kind::count(),
                "the most places; without it the length of the texts",
            )
            .alias(&["block_size", "max_sequence_length"]),
            DROPOUT,
            Param::with_default(
                "tied",
                Kind::Bool,
                Value::Bool(true),
                "whether the output is by the table of words",
            ),
        ],
    },
    takes_indices: true,
    samples: &[
        Sample::of("vocabulary = 7, features = 4, layers = 2, heads = 2, dropout = 0.1", &[5]),
        Sample::of(
            "vocabulary = 7, features = 8, layers = 1, heads = 4, kv_heads = 2, feed_forward = 5, \
             gated = true, norm = 'rms', position = 'rotary', longest = 9, tied = false",
            &[5],
        ),
    ],
    infer: |args, input| {
        let time = text(input)?;
        let o = options(args, time);
        if time > o.longest {
            return Err(Misfit {
                needs: format!("texts of up to longest = {} tokens", o.longest),
                hint: format!("they have {time}"),
            });
        }
        let layer = effect_of(&o.layers(), &[time, o.features])?;
        let (depth, table) = (o.depth as u128, product(&[o.vocabulary, o.features]));
        let learned = o.places == Places::Learned;
        let places = if learned { product(&[o.longest, o.features]) } else { 0 };
        let own = table.saturating_mul(if o.tied { 1 } else { 2 });
        let norm = if o.rms_norm { 1 } else { 2 } * o.features as u128;
        let own = own.saturating_add(places).saturating_add(norm);
        let logits = table.saturating_mul(2 * time as u128);
        Ok(Effect {
            parameters: layer.parameters.saturating_mul(depth).saturating_add(own),
            flops: layer.flops.saturating_mul(depth).saturating_add(logits),
            kept: layer.kept.saturating_mul(depth).saturating_add(product(&[time, o.vocabulary])),
            ..Effect::cheap([time, o.vocabulary], 0, 0)
        })
    },
    make: |args, input, params| Box::new(Gpt::new(params, options(args, input[0]))),
};
