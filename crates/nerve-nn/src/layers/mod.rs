//! Layers: what a network is built from.
//!
//! A layer is a plain struct that holds its variables, one file, and one line in [`REGISTRY`].
//! From Rust it is made by its constructor, which takes the sizes of its input; from a recipe by
//! its [`Entry`], which infers them.

mod activation;
mod activity_regularization;
mod adaptive_pool;
mod axes;
mod batch_norm;
mod bilinear;
pub(crate) mod block;
pub(crate) mod blocks;
pub(crate) mod combine;
pub(crate) mod containers;
mod conv;
mod conv_lstm;
mod conv_transpose;
mod dropout;
mod embedding;
pub(crate) mod feed_forward;
mod flatten;
mod gated;
mod global_pool;
mod group_norm;
mod gru;
mod lambda;
mod layer_norm;
mod linear;
mod lstm;
mod masking;
pub(crate) mod multi_head_attention;
mod noise;
mod numeric_embedding;
mod one_hot;
mod pad;
mod pool;
mod positional_encoding;
mod positions;
pub(crate) mod recurrent;
mod reparametrized;
mod residual;
mod rms_norm;
mod rnn;
mod scored_attention;
mod separable_conv;
mod sequence_pooling;
pub(crate) mod sequential;
mod shaping;
mod transformer_decoder;
pub(crate) mod transformer_encoder;
mod upsample;

pub use activity_regularization::ActivityRegularization;
pub use adaptive_pool::{
    AdaptiveAvgPool, AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveAvgPool3d, AdaptiveMaxPool,
    AdaptiveMaxPool1d, AdaptiveMaxPool2d, AdaptiveMaxPool3d,
};
pub use axes::PerAxis;
pub use batch_norm::BatchNorm;
pub use bilinear::Bilinear;
pub use combine::{Branches, Combine};
pub use containers::TimeDistributed;
pub use conv::{
    Conv, Conv1d, Conv1dOptions, Conv2d, Conv2dOptions, Conv3d, Conv3dOptions, ConvOptions, Padding,
};
pub use conv_lstm::ConvLstm2d;
pub use conv_transpose::{
    ConvTranspose, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d, ConvTransposeOptions,
};
pub use dropout::Dropout;
pub use embedding::Embedding;
pub use feed_forward::FeedForward;
pub use flatten::Flatten;
pub use gated::{Gate, Glu, Maxout, Prelu};
pub use global_pool::{
    GlobalAvgPool, GlobalAvgPool1d, GlobalAvgPool2d, GlobalAvgPool3d, GlobalMaxPool,
    GlobalMaxPool1d, GlobalMaxPool2d, GlobalMaxPool3d,
};
pub use group_norm::{GroupNorm, InstanceNorm};
pub use gru::Gru;
pub use lambda::Lambda;
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use lstm::Lstm;
pub use masking::Masking;
pub use multi_head_attention::{AttentionOptions, AttentionPosition, MultiHeadAttention};
pub use noise::{AlphaDropout, DropPath, GaussianDropout, GaussianNoise, SpatialDropout};
pub use numeric_embedding::{NumericEmbedding, Waves};
pub use one_hot::OneHot;
pub use pad::{Crop, Pad, PadMode};
pub use pool::{
    AvgPool, AvgPool1d, AvgPool2d, AvgPool3d, LpPool, LpPool1d, LpPool2d, LpPool3d, MaxPool,
    MaxPool1d, MaxPool2d, MaxPool3d, PoolOptions,
};
pub use positional_encoding::PositionalEncoding;
pub use positions::RotaryEmbedding;
pub use recurrent::{Merge, RecurrentOptions};
pub use reparametrized::{SpectralNorm, WeightNorm};
pub use residual::Residual;
pub use rms_norm::{LocalResponseNorm, RmsNorm, UnitNorm};
pub use rnn::Rnn;
pub use scored_attention::{AdditiveAttention, AttentionPooling, DotAttention, Score};
pub use separable_conv::{SeparableConv, SeparableConv1d, SeparableConv2d};
pub use sequence_pooling::SequencePooling;
pub use sequential::{SequenceError, Sequential};
pub use shaping::{
    ChannelShuffle, Narrow, Permute, PixelShuffle, PixelUnshuffle, RepeatVector, Reshape,
};
pub use transformer_decoder::{PreparedMemory, TransformerDecoder, TransformerDecoderLayer};
pub use transformer_encoder::{TransformerEncoder, TransformerEncoderLayer, TransformerOptions};
pub use upsample::{Interpolation, Target, Upsample, Upsample1d, Upsample2d, Upsample3d};

use crate::context::Context;
use crate::dims::{extent, product};
use crate::params::Params;
use nerve_core::{Shape, Tensor};
use nerve_formats::spec::{Args, Kind, Param, Spec, Value};
use std::fmt;
use std::sync::LazyLock;

/// Part of a network: a function with parameters.
pub trait Layer: Send + Sync {
    /// The output for a batch `x`, whose first axis counts the examples.
    ///
    /// # Panics
    /// If the shape of `x` does not fit.
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor;

    /// Which steps of the output `y` exist if of the input those of `mask` do, `[batch, time]`:
    /// see [`Context`]. None: all of them, or there are no steps any more.
    ///
    /// Unless the layer says otherwise, the same ones, as long as `y` is `[batch, time, …]` still.
    /// A layer that exchanges axes must say otherwise.
    fn mask(&self, mask: &Tensor, y: &Tensor) -> Option<Tensor> {
        (y.rank() > 2 && y.shape().starts_with(mask.shape())).then(|| mask.clone())
    }

    /// What kind of layer it is, for messages: the name of its type.
    fn kind(&self) -> &'static str {
        let name = std::any::type_name::<Self>();
        let plain = name.split('<').next().unwrap_or(name);
        plain.rsplit("::").next().unwrap_or(plain)
    }
}

impl<L: Layer + ?Sized> Layer for Box<L> {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        (**self).forward(x, cx)
    }

    fn mask(&self, mask: &Tensor, y: &Tensor) -> Option<Tensor> {
        (**self).mask(mask, y)
    }

    fn kind(&self) -> &'static str {
        (**self).kind()
    }
}

impl<L: Layer + ?Sized> Layer for std::sync::Arc<L> {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        (**self).forward(x, cx)
    }

    fn mask(&self, mask: &Tensor, y: &Tensor) -> Option<Tensor> {
        (**self).mask(mask, y)
    }

    fn kind(&self) -> &'static str {
        (**self).kind()
    }
}

/// What a layer does to the shape of one example, and what it costs. Numbers saturate: they are
/// known before anything of that size exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The shape of one example after the layer, without the batch.
    pub shape: Shape,
    /// Trainable numbers.
    pub parameters: u128,
    /// Numbers that are kept but not trained (running statistics).
    pub state: u128,
    /// Floating-point operations forward for one example; a multiply-add is two.
    pub flops: u128,
    /// Values that the backward pass needs, for one example.
    pub kept: u128,
}

impl Effect {
    /// A layer without parameters that works `per_value` operations on each of `read` values.
    pub(crate) fn cheap(shape: impl Into<Shape>, read: u128, per_value: u128) -> Effect {
        let shape = shape.into();
        let kept = product(&shape);
        Effect { shape, parameters: 0, state: 0, flops: read.saturating_mul(per_value), kept }
    }

    /// This, and then `next`.
    pub(crate) fn then(self, next: Effect) -> Effect {
        Effect {
            parameters: self.parameters.saturating_add(next.parameters),
            state: self.state.saturating_add(next.state),
            flops: self.flops.saturating_add(next.flops),
            kept: self.kept.saturating_add(next.kept),
            shape: next.shape,
        }
    }

    /// A layer of which each output is a sum over `taps` inputs, for `outputs` channels or units.
    pub(crate) fn weighted(
        shape: impl Into<Shape>,
        outputs: usize,
        taps: u128,
        bias: bool,
    ) -> Effect {
        let shape = shape.into();
        let (outputs, kept) = (outputs as u128, product(&shape));
        let bias = if bias { outputs } else { 0 };
        Effect {
            shape,
            parameters: outputs.saturating_mul(taps).saturating_add(bias),
            state: 0,
            flops: kept.saturating_mul(taps.saturating_mul(2)),
            kept,
        }
    }
}

/// Why a layer cannot take what it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// What it needs, in words: `[channels, height, width]`.
    pub needs: String,
    /// What to do about it.
    pub hint: String,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it needs {}", self.needs)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, " ({})", self.hint) }
    }
}

const ANY_VALUES: &[Sample] = &[Sample::of("", &[2, 8])];

/// A kind of layer: its description, what it does to a shape, and how to make one.
pub struct Entry {
    /// Names and parameters.
    pub spec: Spec,
    /// Whether it takes indices (i32) instead of numbers.
    pub takes_indices: bool,
    /// What it may be given: examples for people, and what the conformity tests build.
    pub samples: &'static [Sample],
    /// The effect on one example of this shape, without creating anything.
    pub infer: fn(&Args, &[usize]) -> Result<Effect, Misfit>,
    /// Makes one for an input that `infer` has accepted.
    pub(crate) make: fn(&Args, &[usize], &Params) -> Box<dyn Layer>,
}

/// An example of how a layer is written in a recipe, and of what it then takes.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// The inside of its inline table, without the `type`: `filters = 8, kernel = 3`.
    pub args: &'static str,
    /// The shape of one example.
    pub input: &'static [usize],
}

impl Sample {
    /// With these arguments, on examples of this shape.
    pub const fn of(args: &'static str, input: &'static [usize]) -> Sample {
        Sample { args, input }
    }
}

impl Entry {
    /// The entry of a function of each value.
    pub(crate) const fn activation(
        spec: Spec,
        make: fn(&Args, &[usize], &Params) -> Box<dyn Layer>,
    ) -> Entry {
        let infer = |_: &Args, input: &[usize]| Ok(Effect::cheap(input, product(input), 1));
        Entry { spec, takes_indices: false, samples: ANY_VALUES, infer, make }
    }

    /// Makes an activation, which needs neither a shape nor parameters.
    pub(crate) fn make_activation(&self, args: &Args) -> Box<dyn Layer> {
        (self.make)(args, &[], &Params::new(0))
    }

    /// Makes a layer for examples of shape `input` (without the batch), with its parameters in
    /// `params`. Gives the shape of its output too.
    ///
    /// # Errors
    /// If it cannot take that shape: what it gets and what it needs.
    pub fn build(
        &self,
        args: &Args,
        input: &Shape,
        params: &Params,
    ) -> Result<(Box<dyn Layer>, Shape), String> {
        let effect = (self.infer)(args, input)
            .map_err(|misfit| format!("{}: it gets {input}, {misfit}", self.spec.name))?;
        Ok(((self.make)(args, input, params), effect.shape))
    }
}

static LAYERS: &[&Entry] = &[
    &linear::ENTRY,
    &conv::CONV1D,
    &conv::CONV2D,
    &conv::CONV3D,
    &conv_transpose::CONV_TRANSPOSE1D,
    &conv_transpose::CONV_TRANSPOSE2D,
    &conv_transpose::CONV_TRANSPOSE3D,
    &separable_conv::DEPTHWISE1D,
    &separable_conv::DEPTHWISE2D,
    &separable_conv::SEPARABLE1D,
    &separable_conv::SEPARABLE2D,
    &pool::MAX1D,
    &pool::MAX2D,
    &pool::MAX3D,
    &pool::AVG1D,
    &pool::AVG2D,
    &pool::AVG3D,
    &pool::LP1D,
    &pool::LP2D,
    &pool::LP3D,
    &adaptive_pool::AVG1D,
    &adaptive_pool::AVG2D,
    &adaptive_pool::AVG3D,
    &adaptive_pool::MAX1D,
    &adaptive_pool::MAX2D,
    &adaptive_pool::MAX3D,
    &global_pool::AVG1D,
    &global_pool::AVG2D,
    &global_pool::AVG3D,
    &global_pool::MAX1D,
    &global_pool::MAX2D,
    &global_pool::MAX3D,
    &flatten::ENTRY,
    &shaping::RESHAPE,
    &shaping::UNFLATTEN,
    &shaping::SQUEEZE,
    &shaping::UNSQUEEZE,
    &shaping::PERMUTE,
    &shaping::NARROW,
    &shaping::REPEAT_VECTOR,
    &shaping::IDENTITY,
    &pad::CONSTANT1D,
    &pad::CONSTANT2D,
    &pad::CONSTANT3D,
    &pad::REFLECT1D,
    &pad::REFLECT2D,
    &pad::REFLECT3D,
    &pad::REPLICATE1D,
    &pad::REPLICATE2D,
    &pad::REPLICATE3D,
    &pad::CIRCULAR1D,
    &pad::CIRCULAR2D,
    &pad::CIRCULAR3D,
    &pad::CROP1D,
    &pad::CROP2D,
    &pad::CROP3D,
    &upsample::UP1D,
    &upsample::UP2D,
    &upsample::UP3D,
    &shaping::PIXEL_SHUFFLE,
    &shaping::PIXEL_UNSHUFFLE,
    &shaping::CHANNEL_SHUFFLE,
    &dropout::ENTRY,
    &activity_regularization::ENTRY,
    &noise::SPATIAL_DROPOUT,
    &noise::DROP_PATH,
    &noise::ALPHA_DROPOUT,
    &noise::GAUSSIAN_NOISE,
    &noise::GAUSSIAN_DROPOUT,
    &batch_norm::ENTRY,
    &layer_norm::ENTRY,
    &group_norm::GROUP_NORM,
    &group_norm::INSTANCE_NORM,
    &rms_norm::RMS_NORM,
    &rms_norm::LOCAL_RESPONSE_NORM,
    &rms_norm::UNIT_NORM,
    &reparametrized::WEIGHT_NORM,
    &reparametrized::SPECTRAL_NORM,
    &embedding::ENTRY,
    &one_hot::ENTRY,
    &numeric_embedding::ENTRY,
    &lstm::ENTRY,
    &gru::ENTRY,
    &rnn::ENTRY,
    &conv_lstm::ENTRY,
    &masking::ENTRY,
    &sequence_pooling::ENTRY,
    &positional_encoding::ENTRY,
    &positions::ENTRY,
    &multi_head_attention::ENTRY,
    &scored_attention::ADDITIVE,
    &scored_attention::DOT,
    &scored_attention::POOLING,
    &feed_forward::ENTRY,
    &transformer_encoder::LAYER,
    &transformer_encoder::ENTRY,
    &activation::ENTRY,
    &gated::PRELU,
    &gated::GLU,
    &gated::REGLU,
    &gated::GEGLU,
    &gated::SWIGLU,
    &gated::MAXOUT,
    &containers::SEQUENTIAL,
    &containers::RESIDUAL,
    &containers::BRANCHES,
    &containers::REPEAT,
    &containers::TIME_DISTRIBUTED,
    &blocks::SQUEEZE_EXCITATION,
    &blocks::INVERTED_RESIDUAL,
    &blocks::DENSE_BLOCK,
    &blocks::INCEPTION,
    &blocks::SHUFFLE_UNIT,
];

/// All layers, and after them the networks of the zoo and the activations, which are layers too.
pub static REGISTRY: LazyLock<Vec<&'static Entry>> = LazyLock::new(|| {
    // Not `linear`: it does nothing, and its name would be taken for that of a layer.
    let (zoo, activations) = (crate::models::REGISTRY, &crate::activations::REGISTRY[1..]);
    LAYERS.iter().chain(zoo).chain(activations).copied().collect()
});

/// The descriptions of all layers.
pub fn specs() -> Vec<&'static Spec> {
    REGISTRY.iter().map(|entry| &entry.spec).collect()
}

/// The layer that answers to `name`.
pub fn find(name: &str) -> Option<&'static Entry> {
    REGISTRY.iter().copied().find(|entry| entry.spec.answers_to(name))
}

const ONE: Value = Value::Int(1);

const BIAS: Param =
    Param::with_default("bias", Kind::Bool, Value::Bool(true), "whether it has a bias")
        .alias(&["use_bias"]);

const EPS: Param =
    Param::with_default("eps", Kind::positive(), Value::Float(1e-5), "against division by zero")
        .alias(&["epsilon"]);

/// Refuses channels that do not divide into groups.
fn grouped(channels: usize, filters: usize, groups: usize) -> Result<(), Misfit> {
    if channels > 0 && channels.is_multiple_of(groups) && filters.is_multiple_of(groups) {
        return Ok(());
    }
    Err(Misfit {
        needs: format!("input channels and filters that are multiples of groups = {groups}"),
        hint: format!("there are {channels} channels and {filters} filters"),
    })
}

/// The channels of an input that has them as its first axis.
fn channels(input: &[usize]) -> Result<usize, Misfit> {
    input.first().copied().ok_or_else(|| Misfit {
        needs: "[channels, …]".into(),
        hint: "it gets single numbers".into(),
    })
}

/// The steps and features of one sequence.
fn steps(input: &[usize]) -> Result<[usize; 2], Misfit> {
    <[usize; 2]>::try_from(input)
        .ok()
        .filter(|&[time, _]| time > 0)
        .ok_or_else(|| Misfit { needs: "[time, features]".into(), hint: String::new() })
}

/// Which axis of an example `axis` is, which counts the batch as 0 or from the end.
fn place(axis: isize, input: &[usize]) -> Result<usize, Misfit> {
    let rank = input.len() as isize;
    let place = if axis > 0 { axis - 1 } else { axis + rank };
    usize::try_from(place).ok().filter(|&a| axis != 0 && a < input.len()).ok_or_else(|| Misfit {
        needs: format!("an axis {axis} that is not that of the batch"),
        hint: format!("with the batch there are {} axes, from 0 to {rank}", rank + 1),
    })
}

/// The product of some extents as an extent.
fn length(extents: &[usize]) -> usize {
    extent(product(extents))
}
