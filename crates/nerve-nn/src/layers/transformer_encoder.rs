use super::multi_head_attention::{CAUSAL, DROPOUT, HEADS, effect, key_mask, sequence};
use super::{Effect, Entry, Layer, LayerNorm, Linear, Misfit, MultiHeadAttention, Sample};
use crate::activations::{self, Relu};
use crate::context::Context;
use crate::layers::Dropout;
use crate::params::Params;
use nerve_core::Tensor;
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

/// How a [`TransformerEncoderLayer`] is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TransformerOptions {
    /// Heads of attention.
    pub heads: usize,
    /// Units between the two linear layers.
    pub feed_forward: usize,
    /// The share that is set to zero while training: of attention, of the units, and of what either
    /// half adds.
    pub dropout: f64,
    /// Whether each half normalises what it reads (then the sum passes through untouched, and deep
    /// stacks train more easily) rather than what it writes.
    pub norm_first: bool,
    /// Whether an element sees only what is before it.
    pub causal: bool,
}

impl TransformerOptions {
    /// Without dropout, normalised after each half, everything visible.
    pub fn new(heads: usize, feed_forward: usize) -> TransformerOptions {
        TransformerOptions { heads, feed_forward, dropout: 0.0, norm_first: false, causal: false }
    }
}

/// One layer of a transformer: the elements of a sequence look at each other, then each is thought
/// over on its own.
///
/// Both halves add to the sequence what they found, so that the way past them stays open:
///
/// ```text
/// norm_first:   x = x + attention(norm1(x));      x = x + feed_forward(norm2(x))
/// else:         x = norm1(x + attention(x));      x = norm2(x + feed_forward(x))
/// feed_forward(x) = linear2(activation(linear1(x)))
/// ```
///
/// Vaswani et al., "Attention is all you need", 2017; the order with the norm first is that of
/// Xiong et al., "On layer normalization in the transformer architecture", 2020.
///
/// Input `[batch, time, features]`, output the same.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::layers::{TransformerEncoderLayer, TransformerOptions};
/// use nerve_nn::{Context, Layer, Params};
/// let options = TransformerOptions { norm_first: true, ..TransformerOptions::new(4, 256) };
/// let layer = TransformerEncoderLayer::new(&Params::new(42), 64, options);
/// let y = layer.forward(&Tensor::ones([2, 10, 64]), &Context::eval());
/// assert_eq!(**y.shape(), [2, 10, 64]);
/// ```
pub struct TransformerEncoderLayer {
    /// The first half.
    pub self_attn: MultiHeadAttention,
    /// The second half: to `feed_forward` units,
    pub linear1: Linear,
    /// and back.
    pub linear2: Linear,
    /// Of the first half.
    pub norm1: LayerNorm,
    /// Of the second half.
    pub norm2: LayerNorm,
    /// Between the two linear layers; ReLU unless set.
    pub activation: Box<dyn Layer>,
    /// Of the units, and of what either half adds.
    pub dropout: Dropout,
    /// See [`TransformerOptions::norm_first`].
    pub norm_first: bool,
}

impl TransformerEncoderLayer {
    /// A layer with ReLU.
    ///
    /// # Panics
    /// If `features` is no multiple of the number of heads, or the dropout is not in [0, 1).
    #[track_caller]
    pub fn new(
        params: &Params,
        features: usize,
        options: TransformerOptions,
    ) -> TransformerEncoderLayer {
        let TransformerOptions { heads, feed_forward, dropout, norm_first, causal } = options;
        let attention = MultiHeadAttention::new(&params.at("self_attn"), features, heads);
        TransformerEncoderLayer {
            self_attn: MultiHeadAttention { causal, dropout, ..attention },
            linear1: Linear::new(&params.at("linear1"), features, feed_forward),
            linear2: Linear::new(&params.at("linear2"), feed_forward, features),
            norm1: LayerNorm::new(&params.at("norm1"), [features]),
            norm2: LayerNorm::new(&params.at("norm2"), [features]),
            activation: Box::new(Relu),
            dropout: Dropout::new(dropout),
            norm_first,
        }
    }

    /// As [`forward`](Layer::forward), with a mask as in [`MultiHeadAttention::attend`].
    ///
    /// # Panics
    /// If a shape does not fit.
    #[track_caller]
    pub fn forward_masked(&self, x: &Tensor, mask: Option<&Tensor>, cx: &Context) -> Tensor {
        let attend = |x: &Tensor| {
            let y = self.self_attn.attend_itself(x, mask, cx);
            self.dropout.forward(&y, cx)
        };
        let think = |x: &Tensor| {
            let hidden = self.activation.forward(&self.linear1.forward(x, cx), cx);
            let y = self.linear2.forward(&self.dropout.forward(&hidden, cx), cx);
            self.dropout.forward(&y, cx)
        };
        let (norm1, norm2) =
            (|x: &Tensor| self.norm1.forward(x, cx), |x: &Tensor| self.norm2.forward(x, cx));
        match self.norm_first {
            true => {
                let x = x + attend(&norm1(x));
                &x + think(&norm2(&x))
            }
            false => {
                let x = norm1(&(x + attend(x)));
                norm2(&(&x + think(&x)))
            }
        }
    }
}

impl Layer for TransformerEncoderLayer {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        self.forward_masked(x, key_mask(x, cx).as_ref(), cx)
    }
}

/// [`TransformerEncoderLayer`]s one after the other, and a norm at the end if each has its own
/// first: then nobody else has normalised the sum.
///
/// Input `[batch, time, features]`, output the same. Parameters: `layers.0.…`, `norm.…`.
pub struct TransformerEncoder {
    /// The layers, first to last.
    pub layers: Vec<TransformerEncoderLayer>,
    /// The norm at the end.
    pub norm: Option<LayerNorm>,
}

impl TransformerEncoder {
    /// `depth` layers of one kind.
    ///
    /// # Panics
    /// As [`TransformerEncoderLayer::new`].
    #[track_caller]
    pub fn new(
        params: &Params,
        features: usize,
        depth: usize,
        options: TransformerOptions,
    ) -> TransformerEncoder {
        let at = params.at("layers");
        let layers = (0..depth).map(|i| TransformerEncoderLayer::new(&at.at(i), features, options));
        TransformerEncoder {
            layers: layers.collect(),
            norm: options.norm_first.then(|| LayerNorm::new(&params.at("norm"), [features])),
        }
    }

    /// As [`forward`](Layer::forward), with a mask as in [`MultiHeadAttention::attend`].
    ///
    /// # Panics
    /// If a shape does not fit.
    #[track_caller]
    pub fn forward_masked(&self, x: &Tensor, mask: Option<&Tensor>, cx: &Context) -> Tensor {
        let y = self.layers.iter().fold(x.clone(), |x, l| l.forward_masked(&x, mask, cx));
        match &self.norm {
            Some(norm) => norm.forward(&y, cx),
            None => y,
        }
    }
}

impl Layer for TransformerEncoder {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        self.forward_masked(x, key_mask(x, cx).as_ref(), cx)
    }
}

fn options(args: &Args) -> TransformerOptions {
    TransformerOptions {
        heads: args.usize("heads"),
        feed_forward: args.usize("feed_forward"),
        dropout: args.float("dropout"),
        norm_first: args.bool("norm_first"),
        causal: args.bool("causal"),
    }
}

/// What one layer does.
fn layer_effect(args: &Args, input: &[usize]) -> Result<Effect, Misfit> {
    let [time, features] = sequence(input, args.usize("heads"))?;
    let attention = effect([time, features], true);
    let hidden = args.usize("feed_forward") as u128;
    let (n, d) = (time as u128, features as u128);
    let pair = (2 * d).saturating_mul(hidden);
    let own = pair.saturating_add(hidden).saturating_add(5 * d);
    Ok(Effect {
        parameters: attention.parameters.saturating_add(own),
        flops: attention.flops.saturating_add(n.saturating_mul(2).saturating_mul(pair)),
        kept: attention.kept.saturating_add(n.saturating_mul(2 * hidden + 4 * d)),
        ..attention
    })
}

const DEPTH: Param = Param::required("layers", Kind::int(1, 1 << 10), "how many layers")
    .alias(&["num_layers", "depth"]);
const FEED_FORWARD: Param =
    Param::required("feed_forward", Kind::count(), "units between the two linear layers")
        .alias(&["dim_feedforward", "intermediate_dim"]);
const ACTIVATION: Param = Param::with_default(
    "activation",
    activations::KIND,
    Value::text("relu"),
    "the function between the two linear layers",
);
const NORM_FIRST: Param = Param::with_default(
    "norm_first",
    Kind::Bool,
    Value::Bool(false),
    "whether each half normalises what it reads rather than what it writes",
);

fn activate(layer: &mut TransformerEncoderLayer, args: &Args) {
    layer.activation = activations::build(args.item("activation"))
        .unwrap_or_else(|| Box::new(activations::Identity));
}

pub(super) static LAYER: Entry = Entry {
    spec: Spec {
        name: "TransformerEncoderLayer",
        aliases: &["transformer_encoder_layer"],
        peers: Peers::of("nn.TransformerEncoderLayer", "keras_hub.layers.TransformerEncoder"),
        doc: "Attention of a sequence to itself, then two linear layers for each element.",
        params: &[HEADS, FEED_FORWARD, ACTIVATION, DROPOUT, NORM_FIRST, CAUSAL],
    },
    takes_indices: false,
    samples: &[Sample::of("heads = 1, feed_forward = 8", &[3, 4])],
    infer: layer_effect,
    make: |args, input, params| {
        let mut layer = TransformerEncoderLayer::new(params, input[1], options(args));
        activate(&mut layer, args);
        Box::new(layer)
    },
};

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "TransformerEncoder",
        aliases: &["transformer_encoder"],
        peers: Peers::of("nn.TransformerEncoder", ""),
        doc: "Layers of attention, one after the other.",
        params: &[DEPTH, HEADS, FEED_FORWARD, ACTIVATION, DROPOUT, NORM_FIRST, CAUSAL],
    },
    takes_indices: false,
    samples: &[Sample::of(
        "layers = 2, nhead = 2, dim_feedforward = 5, activation = 'gelu', \
             norm_first = true, dropout = 0.1",
        &[3, 4],
    )],
    infer: |args, input| {
        let (one, depth) = (layer_effect(args, input)?, args.usize("layers") as u128);
        let norm = if args.bool("norm_first") { 2 * input[1] as u128 } else { 0 };
        Ok(Effect {
            parameters: one.parameters.saturating_mul(depth).saturating_add(norm),
            flops: one.flops.saturating_mul(depth),
            kept: one.kept.saturating_mul(depth),
            ..one
        })
    },
    make: |args, input, params| {
        let (features, depth) = (input[1], args.usize("layers"));
        let mut encoder = TransformerEncoder::new(params, features, depth, options(args));
        encoder.layers.iter_mut().for_each(|layer| activate(layer, args));
        Box::new(encoder)
    },
};
