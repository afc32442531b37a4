use super::feed_forward::{self, ACTIVATION, GATED, UNITS, activate};
use super::multi_head_attention::{
    CAUSAL, DROPOUT, HEADS, KV_HEADS, POSITION, effect, key_mask, options as attention,
};
use super::{
    AttentionOptions, AttentionPosition, Dropout, Effect, Entry, FeedForward, Layer, LayerNorm,
    Misfit, MultiHeadAttention, RmsNorm, Sample,
};
use crate::context::Context;
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
    /// Heads of keys and values: see [`MultiHeadAttention::kv_heads`].
    pub kv_heads: Option<usize>,
    /// How attention knows who stands where.
    pub position: AttentionPosition,
    /// Whether the units are gated: see [`FeedForward`].
    pub gated: bool,
    /// Whether the norms are [`RmsNorm`]s and not [`LayerNorm`]s.
    pub rms_norm: bool,
}

impl TransformerOptions {
    /// Without dropout, normalised after each half, everything visible.
    pub fn new(heads: usize, feed_forward: usize) -> TransformerOptions {
        TransformerOptions {
            heads,
            feed_forward,
            dropout: 0.0,
            norm_first: false,
            causal: false,
            kv_heads: None,
            position: AttentionPosition::None,
            gated: false,
            rms_norm: false,
        }
    }

    /// A norm of the wanted kind.
    pub(super) fn norm(&self, params: &Params, features: usize) -> Box<dyn Layer> {
        match self.rms_norm {
            true => Box::new(RmsNorm::new(params, features)),
            false => Box::new(LayerNorm::new(params, [features])),
        }
    }

    pub(super) fn attention(&self) -> AttentionOptions {
        let &TransformerOptions { heads, kv_heads, causal, dropout, position, .. } = self;
        AttentionOptions { heads, kv_heads, bias: true, causal, dropout, position }
    }
}

/// One half of a layer: what `f` finds is added to `x`, and either what it reads is normalised, or
/// the sum.
pub(super) fn half(
    x: &Tensor,
    norm: &dyn Layer,
    norm_first: bool,
    cx: &Context,
    f: impl FnOnce(&Tensor) -> Tensor,
) -> Tensor {
    match norm_first {
        true => x + f(&norm.forward(x, cx)),
        false => norm.forward(&(x + f(x)), cx),
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
/// ```
///
/// Vaswani et al., "Attention is all you need", 2017; the order with the norm first is that of
/// Xiong et al., "On layer normalization in the transformer architecture", 2020.
///
/// Input `[batch, time, features]`, output the same; steps that its mask denies
/// ([`Context`]) are not looked at. Parameters: `self_attn`, `linear1`, `linear2`, `norm1`, `norm2`, as in
/// PyTorch.
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
    /// The second half.
    pub feed_forward: FeedForward,
    /// Of the first half.
    pub norm1: Box<dyn Layer>,
    /// Of the second half.
    pub norm2: Box<dyn Layer>,
    /// Of what either half adds.
    pub dropout: Dropout,
    /// See [`TransformerOptions::norm_first`].
    pub norm_first: bool,
}

impl TransformerEncoderLayer {
    /// A layer with ReLU.
    ///
    /// # Panics
    /// As [`MultiHeadAttention::with_options`], and if the dropout is not in [0, 1).
    #[track_caller]
    pub fn new(
        params: &Params,
        features: usize,
        options: TransformerOptions,
    ) -> TransformerEncoderLayer {
        let TransformerOptions { feed_forward, dropout, norm_first, gated, .. } = options;
        TransformerEncoderLayer {
            self_attn: MultiHeadAttention::with_options(
                &params.at("self_attn"),
                features,
                options.attention(),
            ),
            feed_forward: FeedForward::new(params, features, feed_forward, gated, dropout),
            norm1: options.norm(&params.at("norm1"), features),
            norm2: options.norm(&params.at("norm2"), features),
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
        self.halves(x, cx, |x| self.self_attn.attend_itself(x, mask, cx))
    }

    /// The next elements of sequences, as [`MultiHeadAttention::attend_cached`] takes them.
    ///
    /// # Panics
    /// If a shape does not fit.
    #[track_caller]
    pub fn forward_cached(
        &self,
        x: &Tensor,
        at: &Tensor,
        cache: &[Tensor; 2],
        cx: &Context,
    ) -> (Tensor, [Tensor; 2]) {
        let mut after = cache.clone();
        let y = self.halves(x, cx, |x| {
            let (y, cache) = self.self_attn.attend_cached(x, at, cache, cx);
            after = cache;
            y
        });
        (y, after)
    }

    fn halves(&self, x: &Tensor, cx: &Context, attend: impl FnOnce(&Tensor) -> Tensor) -> Tensor {
        let drop = |y: Tensor| self.dropout.forward(&y, cx);
        let x = half(x, &*self.norm1, self.norm_first, cx, |x| drop(attend(x)));
        half(&x, &*self.norm2, self.norm_first, cx, |x| drop(self.feed_forward.forward(x, cx)))
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
    pub norm: Option<Box<dyn Layer>>,
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
            norm: options.norm_first.then(|| options.norm(&params.at("norm"), features)),
        }
    }

    /// As [`forward`](Layer::forward), with a mask as in [`MultiHeadAttention::attend`].
    ///
    /// # Panics
    /// If a shape does not fit.
    #[track_caller]
    pub fn forward_masked(&self, x: &Tensor, mask: Option<&Tensor>, cx: &Context) -> Tensor {
        let y = self.layers.iter().enumerate().fold(x.clone(), |x, (i, layer)| {
            cx.part(&format!("layers.{i}"), || layer.forward_masked(&x, mask, cx))
        });
        match &self.norm {
            Some(norm) => norm.forward(&y, cx),
            None => y,
        }
    }
}

impl TransformerEncoder {
    /// The next elements of sequences through all layers, each with a cache of its own; see
    /// [`MultiHeadAttention::attend_cached`].
    ///
    /// # Panics
    /// If a shape does not fit, or there is not one cache for each layer.
    #[track_caller]
    pub fn forward_cached(
        &self,
        x: &Tensor,
        at: &Tensor,
        caches: &[[Tensor; 2]],
        cx: &Context,
    ) -> (Tensor, Vec<[Tensor; 2]>) {
        assert!(caches.len() == self.layers.len(), "TransformerEncoder: one cache for each layer");
        let (mut x, mut after) = (x.clone(), Vec::new());
        for (layer, cache) in self.layers.iter().zip(caches) {
            let (y, cache) = layer.forward_cached(&x, at, cache, cx);
            x = y;
            after.push(cache);
        }
        (self.norm.as_ref().map_or_else(|| x.clone(), |norm| norm.forward(&x, cx)), after)
    }
}

impl Layer for TransformerEncoder {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        self.forward_masked(x, key_mask(x, cx).as_ref(), cx)
    }
}

fn options(args: &Args) -> TransformerOptions {
    let AttentionOptions { heads, kv_heads, causal, dropout, position, .. } = attention(args);
    TransformerOptions {
        heads,
        feed_forward: args.usize("feed_forward"),
        dropout,
        norm_first: args.bool("norm_first"),
        causal,
        kv_heads,
        position,
        gated: args.bool("gated"),
        rms_norm: args.text("norm") == "rms",
    }
}

/// What one layer does.
fn layer_effect(args: &Args, input: &[usize]) -> Result<Effect, Misfit> {
    effect_of(&options(args), input)
}

/// What one layer made with these options does.
pub(crate) fn effect_of(options: &TransformerOptions, input: &[usize]) -> Result<Effect, Misfit> {
    let attention = effect(options.attention(), input)?;
    let (n, d) = (input[0] as u128, input[1] as u128);
    let own = feed_forward::effect((options.feed_forward, options.gated), n, input[1]);
    let norms = if options.rms_norm { 2 * d } else { 4 * d };
    Ok(Effect {
        parameters: attention.parameters.saturating_add(own.parameters).saturating_add(norms),
        flops: attention.flops.saturating_add(own.flops),
        kept: attention.kept.saturating_add(own.kept).saturating_add(n.saturating_mul(4 * d)),
        ..attention
    })
}

pub(crate) const NORM: Param = Param::with_default(
    "norm",
    Kind::Choice(&["layer", "rms"]),
    Value::text("layer"),
    "layer normalisation, or by the root mean square",
);
pub(crate) const DEPTH: Param = Param::required("layers", Kind::int(1, 1 << 10), "how many layers")
    .alias(&["num_layers", "depth"]);
const NORM_FIRST: Param = Param::with_default(
    "norm_first",
    Kind::Bool,
    Value::Bool(false),
    "whether each half normalises what it reads rather than what it writes",
);

pub(super) static LAYER: Entry = Entry {
    spec: Spec {
        name: "TransformerEncoderLayer",
        aliases: &["transformer_encoder_layer"],
        peers: Peers::of("nn.TransformerEncoderLayer", "keras_hub.layers.TransformerEncoder"),
        doc: "Attention of a sequence to itself, then two linear layers for each element.",
        params: &[
            HEADS, UNITS, ACTIVATION, DROPOUT, NORM_FIRST, CAUSAL, KV_HEADS, POSITION, GATED, NORM,
        ],
    },
    takes_indices: false,
    samples: &[
        Sample::of("heads = 1, feed_forward = 8", &[3, 4]),
        Sample::of(
            "heads = 2, kv_heads = 1, feed_forward = 5, activation = 'silu', gated = true, \
             norm_first = true, norm = 'rms', position = 'rotary', causal = true",
            &[3, 4],
        ),
    ],
    infer: layer_effect,
    make: |args, input, params| {
        let mut layer = TransformerEncoderLayer::new(params, input[1], options(args));
        activate(&mut layer.feed_forward, args);
        Box::new(layer)
    },
};

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "TransformerEncoder",
        aliases: &["transformer_encoder"],
        peers: Peers::of("nn.TransformerEncoder", ""),
        doc: "Layers of attention, one after the other.",
        params: &[
            DEPTH, HEADS, UNITS, ACTIVATION, DROPOUT, NORM_FIRST, CAUSAL, KV_HEADS, POSITION,
            GATED, NORM,
        ],
    },
    takes_indices: false,
    samples: &[Sample::of(
        "layers = 2, nhead = 2, dim_feedforward = 5, activation = 'gelu', \
             norm_first = true, norm = 'rms', dropout = 0.1",
        &[3, 4],
    )],
    infer: |args, input| {
        let (one, depth) = (layer_effect(args, input)?, args.usize("layers") as u128);
        let norms = if args.text("norm") == "rms" { 1 } else { 2 };
        let norm = if args.bool("norm_first") { norms * input[1] as u128 } else { 0 };
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
        encoder.layers.iter_mut().for_each(|layer| activate(&mut layer.feed_forward, args));
        Box::new(encoder)
    },
};
