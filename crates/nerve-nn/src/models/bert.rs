//! An encoder of texts that looks at both sides.

use super::gpt::{VOCABULARY, text};
use crate::activations::{self, Tanh};
use crate::context::Context;
use crate::dims::product;
use crate::init::{Initializer, Normal, Zeros};
use crate::layers::multi_head_attention::DROPOUT;
use crate::layers::transformer_encoder::effect_of;
use crate::layers::{
    Dropout, Effect, Embedding, Entry, Layer, LayerNorm, Linear, Misfit, Sample, TransformerOptions,
};
use crate::list;
use crate::params::Params;
use nerve_core::Tensor;
use nerve_formats::spec::{Args, Item, Kind, Param, Peers, Spec, Value};

/// A transformer that reads a text and gives a row of features for each of its tokens, each of which
/// has seen all others.
///
/// Devlin, Chang, Lee & Toutanova, "BERT: pre-training of deep bidirectional transformers", 2018.
/// Parameters are called as in `BertModel` of Hugging Face, so that its files load as they are:
/// `embeddings.word_embeddings.weight`, `encoder.layer.0.attention.self.query.weight`, and so on.
///
/// Input i32 `[batch, time]`; 0 is padding, which is not looked at. All tokens are of the first text
/// (`token_type_embeddings` row 0). Output `[batch, time, features]`, with the padding masked; with
/// the pooler `[batch, features]`, made from the first token.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::models::{Bert, BertOptions};
/// use nerve_nn::{Context, Layer, Params};
/// let model = Bert::new(&Params::new(42), &BertOptions::new(100, 32, 2, 4, 64));
/// let text = Tensor::from_slice(&[3i32, 14, 15, 2, 7, 0], [2, 3]);
/// assert_eq!(**model.forward(&text, &Context::eval()).shape(), [2, 3, 32]);
/// ```
pub struct Bert {
    /// `embeddings.word_embeddings`, `[vocabulary, features]`; row 0 is padding.
    pub words: Embedding,
    /// `embeddings.position_embeddings`, `[longest, features]`.
    pub places: Embedding,
    /// `embeddings.token_type_embeddings`, `[types, features]`.
    pub types: Embedding,
    /// `embeddings.LayerNorm`.
    pub norm: LayerNorm,
    /// `encoder.layer.0` and so on.
    pub layers: Vec<BertLayer>,
    /// `pooler.dense`.
    pub pooler: Option<Linear>,
    dropout: Dropout,
}

/// A layer of a [`Bert`]: attention, then two linear layers for each token, each half with what came
/// in added and normalised.
pub struct BertLayer {
    /// `attention.self.query`, `key` and `value`.
    pub projections: [Linear; 3],
    /// `attention.output.dense`.
    pub mixture: Linear,
    /// `attention.output.LayerNorm`.
    pub norm1: LayerNorm,
    /// `intermediate.dense`, with the activation.
    pub intermediate: Linear,
    /// `output.dense`.
    pub output: Linear,
    /// `output.LayerNorm`.
    pub norm2: LayerNorm,
    heads: usize,
    attention_dropout: f64,
    dropout: Dropout,
}

/// The sizes of a [`Bert`].
#[derive(Clone, Debug, PartialEq)]
pub struct BertOptions {
    /// How many tokens there are.
    pub vocabulary: usize,
    /// Features of each; `hidden_size`.
    pub features: usize,
    /// Layers; `num_hidden_layers`.
    pub depth: usize,
    /// Heads of attention; `num_attention_heads`.
    pub heads: usize,
    /// Units between the linear layers; `intermediate_size`.
    pub feed_forward: usize,
    /// The most tokens of a text; `max_position_embeddings`.
    pub longest: usize,
    /// Texts that can be told apart; `type_vocab_size`.
    pub types: usize,
    /// An activation of the registry; `hidden_act`.
    pub activation: Item,
    /// What the norms add to the variance; `layer_norm_eps`.
    pub eps: f64,
    /// The share that is set to zero while training; `hidden_dropout_prob`.
    pub dropout: f64,
    /// The share of connections of attention that is cut while training;
    /// `attention_probs_dropout_prob`.
    pub attention_dropout: f64,
    /// Whether the first token becomes one row for the text.
    pub pooler: bool,
}

impl BertOptions {
    /// As BERT: four times as many units, GELU, two texts, no pooler; without dropout.
    pub fn new(
        vocabulary: usize,
        features: usize,
        depth: usize,
        heads: usize,
        longest: usize,
    ) -> BertOptions {
        BertOptions {
            vocabulary,
            features,
            depth,
            heads,
            feed_forward: features.saturating_mul(4),
            longest,
            types: 2,
            activation: list::layer("gelu", &[]).expect("it takes no arguments"),
            eps: 1e-12,
            dropout: 0.0,
            attention_dropout: 0.0,
            pooler: false,
        }
    }

    /// How many numbers there are to learn.
    pub fn parameters(&self) -> u128 {
        let d = self.features as u128;
        let rows = (self.vocabulary as u128).saturating_add(self.longest as u128);
        let tables = rows.saturating_add(self.types as u128 + 2).saturating_mul(d);
        let norms_and_biases = 9 * d + self.feed_forward as u128;
        let layer = product(&[self.features, self.features])
            .saturating_mul(4)
            .saturating_add(product(&[self.features, self.feed_forward]).saturating_mul(2))
            .saturating_add(norms_and_biases);
        let pooler = if self.pooler { product(&[self.features, self.features]) + d } else { 0 };
        tables.saturating_add(layer.saturating_mul(self.depth as u128)).saturating_add(pooler)
    }

    fn linear(&self, params: &Params, inputs: usize, outputs: usize) -> Linear {
        Linear::with_init(params, inputs, outputs, &SMALL, Some(&Zeros))
    }

    fn norm(&self, params: &Params) -> LayerNorm {
        LayerNorm { eps: self.eps, ..LayerNorm::new(&params.at("LayerNorm"), [self.features]) }
    }
}

/// How weights begin: `initializer_range` of BERT.
const SMALL: Normal = Normal { mean: 0.0, std: 0.02 };

impl Bert {
    /// With weights normal of deviation 0.02, as in BERT.
    ///
    /// # Panics
    /// If the features do not divide into the heads, or there is no token but padding.
    #[track_caller]
    pub fn new(params: &Params, options: &BertOptions) -> Bert {
        let (features, heads) = (options.features, options.heads);
        assert!(
            heads > 0 && features.is_multiple_of(heads),
            "Bert: {features} features do not divide into {heads} heads"
        );
        let at = params.at("embeddings");
        let small: &dyn Initializer = &SMALL;
        let table =
            |name: &str, rows: usize| Embedding::with_init(&at.at(name), rows, features, small);
        let words = at.at("word_embeddings");
        let words = Embedding::with_padding(&words, options.vocabulary, features, small, 0);
        let places = table("position_embeddings", options.longest);
        let types = table("token_type_embeddings", options.types);
        let norm = options.norm(&at);
        let at = params.at("encoder").at("layer");
        let layers = (0..options.depth).map(|i| BertLayer::new(&at.at(i), options)).collect();
        let pooler = options.pooler.then(|| {
            let dense = params.at("pooler").at("dense");
            let activation: Option<Box<dyn Layer>> = Some(Box::new(Tanh));
            Linear { activation, ..options.linear(&dense, features, features) }
        });
        let dropout = Dropout::new(options.dropout);
        Bert { words, places, types, norm, layers, pooler, dropout }
    }

    /// The rows of features `[batch, time, features]`, whether there is a pooler or not.
    ///
    /// # Panics
    /// If a text is longer than there are places.
    #[track_caller]
    pub fn hidden(&self, tokens: &Tensor, cx: &Context) -> Tensor {
        let longest = self.places.weight.shape()[0];
        let &[batch, time] = &tokens.shape()[..] else {
            panic!("Bert: expected tokens [batch, time], found {}", tokens.shape())
        };
        assert!(time <= longest, "Bert: texts of {time} tokens, there are {longest} places");
        let words = self.words.forward(tokens, cx);
        let real = cx.mask(&words).expect("the table of words knows the padding");
        let places = self.places.weight.get().slice(0, 0, time);
        let types = self.types.weight.get().slice(0, 0, 1);
        let x = self.norm.forward(&(words + (places + types)), cx);
        let mask = real.reshape([batch, 1, 1, time]);
        let first = self.dropout.forward(&x, cx);
        let y = self.layers.iter().enumerate().fold(first, |x, (i, layer)| {
            cx.part(&format!("encoder.layer.{i}"), || layer.forward(&x, &mask, cx))
        });
        cx.set_mask(&y, &real);
        y
    }
}

impl Layer for Bert {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        let y = self.hidden(x, cx);
        match &self.pooler {
            Some(pooler) => pooler.forward(&y.slice(1, 0, 1).squeeze(1), cx),
            None => y,
        }
    }
}

impl BertLayer {
    fn new(params: &Params, options: &BertOptions) -> BertLayer {
        let (features, units) = (options.features, options.feed_forward);
        let (attention, output) = (params.at("attention"), params.at("output"));
        let own = attention.at("self");
        let square = |params: Params| options.linear(&params, features, features);
        let projections = ["query", "key", "value"].map(|name| square(own.at(name)));
        let mixture = square(attention.at("output").at("dense"));
        let norm1 = options.norm(&attention.at("output"));
        let dense = params.at("intermediate").at("dense");
        let activation = activations::build(&options.activation);
        let intermediate = Linear { activation, ..options.linear(&dense, features, units) };
        BertLayer {
            projections,
            mixture,
            norm1,
            intermediate,
            output: options.linear(&output.at("dense"), units, features),
            norm2: options.norm(&output),
            heads: options.heads,
            attention_dropout: options.attention_dropout,
            dropout: Dropout::new(options.dropout),
        }
    }

    /// `x` `[batch, time, features]`; the mask `[batch, 1, 1, time]` is true where a token is real.
    fn forward(&self, x: &Tensor, mask: &Tensor, cx: &Context) -> Tensor {
        let attended = self.mixture.forward(&self.attend(x, mask, cx), cx);
        let x = self.norm1.forward(&(x + self.dropout.forward(&attended, cx)), cx);
        let y = self.output.forward(&self.intermediate.forward(&x, cx), cx);
        self.norm2.forward(&(x + self.dropout.forward(&y, cx)), cx)
    }

    fn attend(&self, x: &Tensor, mask: &Tensor, cx: &Context) -> Tensor {
        let &[batch, time, features] = &x.shape()[..] else { unreachable!("as embedded") };
        // One product makes all three. In use the weights are put together once.
        let weights: Vec<Tensor> = self.projections.iter().map(|p| p.weight.get()).collect();
        let biases: Vec<Tensor> =
            self.projections.iter().filter_map(|p| Some(p.bias.as_ref()?.get())).collect();
        let y = x.matmul(&Tensor::concat(&weights, 0).t()) + Tensor::concat(&biases, 0);
        let (heads, depth) = (self.heads, features / self.heads);
        let part = |i: usize| {
            let part = y.slice(2, i * features, (i + 1) * features);
            part.reshape([batch, time, heads, depth]).permute(&[0, 2, 1, 3])
        };
        let (q, k, v) = (part(0), part(1), part(2));
        let y = match self.attention_dropout > 0.0 && cx.is_training() {
            false => q.scaled_dot_product_attention(&k, &v, Some(mask), false, None),
            true => {
                let fits = q.matmul(&k.t()) * (depth as f64).sqrt().recip();
                let shares = (fits + Tensor::attention_bias(mask, x.dtype())).softmax(-1);
                Dropout::new(self.attention_dropout).forward(&shares, cx).matmul(&v)
            }
        };
        y.permute(&[0, 2, 1, 3]).reshape([batch, time, features])
    }
}

fn options(args: &Args) -> BertOptions {
    let [vocabulary, features, depth, heads, longest] =
        ["vocabulary", "features", "layers", "heads", "longest"].map(|key| args.usize(key));
    let plain = BertOptions::new(vocabulary, features, depth, heads, longest);
    BertOptions {
        feed_forward: match args.has("feed_forward") {
            true => args.usize("feed_forward"),
            false => plain.feed_forward,
        },
        types: args.usize("types"),
        activation: args.item("activation").clone(),
        eps: args.float("eps"),
        dropout: args.float("dropout"),
        attention_dropout: args.float("dropout"),
        pooler: args.bool("pooler"),
        ..plain
    }
}

/// The parameters that encoders of the same name have too.
pub(crate) const FEATURES: Param =
    Param::with_default("features", Kind::count(), Value::Int(384), "features of each token")
        .alias(&["hidden_size", "d_model"]);
pub(crate) const DEPTH: Param =
    Param::with_default("layers", Kind::int(1, 1 << 10), Value::Int(6), "how many layers")
        .alias(&["num_hidden_layers"]);
pub(crate) const HEADS: Param =
    Param::with_default("heads", Kind::int(1, 1 << 10), Value::Int(12), "heads of attention")
        .alias(&["num_attention_heads"]);
pub(crate) const FEED_FORWARD: Param = Param::optional(
    "feed_forward",
    Kind::count(),
    "units between the linear layers; without it four times the features",
)
.alias(&["intermediate_size"]);
pub(crate) const LONGEST: Param = Param::with_default(
    "longest",
    Kind::count(),
    Value::Int(512),
    "the most tokens of a text that there are places for",
)
.alias(&["max_position_embeddings"]);
pub(crate) const TYPES: Param = Param::with_default(
    "types",
    Kind::count(),
    Value::Int(2),
    "rows of the table of token types, of which the first is used",
)
.alias(&["type_vocab_size"]);
pub(crate) const ACTIVATION: Param = Param::with_default(
    "activation",
    activations::KIND,
    Value::text("gelu"),
    "between the linear layers",
)
.alias(&["hidden_act"]);
pub(crate) const EPS: Param = Param::with_default(
    "eps",
    Kind::float(0.0, 1.0),
    Value::Float(1e-12),
    "what the norms add to the variance",
)
.alias(&["layer_norm_eps"]);

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "Bert",
        aliases: &["BERT", "bert"],
        peers: Peers::of("", "keras_hub.models.BertBackbone"),
        doc: "A transformer that reads a text, each token with all others in sight.",
        params: &[
            VOCABULARY,
            FEATURES,
            DEPTH,
            HEADS,
            FEED_FORWARD,
            LONGEST,
            TYPES,
            ACTIVATION,
            EPS,
            DROPOUT,
            Param::with_default(
                "pooler",
                Kind::Bool,
                Value::Bool(false),
                "whether the first token becomes one row for the text",
            ),
        ],
    },
    takes_indices: true,
    samples: &[
        Sample::of("vocabulary = 7, features = 4, layers = 2, heads = 2, dropout = 0.1", &[5]),
        Sample::of(
            "vocabulary = 7, features = 8, layers = 1, heads = 4, feed_forward = 5, longest = 9, \
             types = 1, activation = 'relu', pooler = true",
            &[5],
        ),
    ],
    infer: |args, input| {
        let time = text(input)?;
        let o = options(args);
        let misfit = |needs: String, hint: String| Err(Misfit { needs, hint });
        if time > o.longest {
            let needs = format!("texts of up to longest = {} tokens", o.longest);
            return misfit(needs, format!("they have {time}"));
        }
        let layers = TransformerOptions::new(o.heads, o.feed_forward);
        let layer = effect_of(&layers, &[time, o.features])?;
        let depth = o.depth as u128;
        let pooled = if o.pooler { vec![o.features] } else { vec![time, o.features] };
        let kept = product(&[time, o.features]).saturating_mul(3);
        Ok(Effect {
            parameters: o.parameters(),
            flops: layer.flops.saturating_mul(depth),
            kept: layer.kept.saturating_mul(depth).saturating_add(kept),
            ..Effect::cheap(pooled, 0, 0)
        })
    },
    make: |args, _, params| Box::new(Bert::new(params, &options(args))),
};

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(rows: &[&[i32]]) -> Tensor {
        let flat: Vec<i32> = rows.concat();
        Tensor::from_slice(&flat, [rows.len(), rows[0].len()])
    }

    #[test]
    fn padding_changes_nothing_of_what_is_real() {
        let model = Bert::new(&Params::new(3), &BertOptions::new(20, 8, 2, 2, 16));
        let cx = Context::eval();
        let alone = model.forward(&tokens(&[&[5, 6, 7]]), &cx).to_vec::<f32>();
        let filled = model.forward(&tokens(&[&[5, 6, 7, 0, 0], &[1, 2, 3, 4, 5]]), &cx);
        for (a, b) in alone.iter().zip(filled.to_vec::<f32>()) {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
    }

    #[test]
    fn parameters_are_counted_and_called_as_in_hugging_face() {
        let options = BertOptions { pooler: true, ..BertOptions::new(20, 8, 2, 2, 16) };
        let params = Params::new(3);
        let _model = Bert::new(&params, &options);
        assert_eq!(params.count() as u128, options.parameters());
        for path in [
            "embeddings.LayerNorm.weight",
            "encoder.layer.1.attention.self.query.bias",
            "encoder.layer.0.attention.output.LayerNorm.bias",
            "encoder.layer.1.intermediate.dense.weight",
            "encoder.layer.1.output.dense.weight",
            "pooler.dense.weight",
        ] {
            assert!(params.get(path).is_some(), "{path}");
        }
    }
}
