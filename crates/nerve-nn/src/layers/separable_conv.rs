use super::axes::{PerAxis, Words, per_axis};
use super::conv::{Conv, ConvOptions};
use super::{BIAS, Effect, Entry, Layer, Misfit, ONE, Sample};
use crate::activations;
use crate::context::Context;
use crate::dims::{product, spatial};
use crate::init::{self, Uniform};
use crate::params::Params;
use nerve_core::Tensor;
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec};

/// A convolution in two steps: a filter for each channel (depthwise), then a weighted sum of the
/// channels (pointwise). It goes by the names [`SeparableConv1d`] and [`SeparableConv2d`].
///
/// Chollet, "Xception: deep learning with depthwise separable convolutions", 2017.
///
/// Input `[batch, in, extents…]`, output `[batch, out, extents'…]` with the extents of a
/// [`Conv`]. Between the two steps there is neither bias nor activation.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, Params, layers::SeparableConv2d};
/// let params = Params::new(42);
/// let conv = SeparableConv2d::new(&params, 8, 16, 3, 1, Default::default());
/// assert_eq!(params.count(), 8 * 9 + 8 * 16 + 16);
/// let y = conv.forward(&Tensor::ones([2, 8, 6, 6]), &Context::eval());
/// assert_eq!(**y.shape(), [2, 16, 4, 4]);
/// ```
pub struct SeparableConv<const N: usize> {
    /// `weight` is `[in · multiplier, 1, extents…]`.
    pub depthwise: Conv<N>,
    /// `weight` is `[out, in · multiplier, 1…]`.
    pub pointwise: Conv<N>,
}

/// Of sequences `[batch, in, length]`; see [`SeparableConv`].
pub type SeparableConv1d = SeparableConv<1>;
/// Of images `[batch, in, height, width]`; see [`SeparableConv`].
pub type SeparableConv2d = SeparableConv<2>;

impl<const N: usize> SeparableConv<N> {
    /// With `multiplier` filters for each input channel. The window moves as in `options`, whose
    /// groups do not count. Initial values are as in [`Conv::new`].
    #[track_caller]
    pub fn new(
        params: &Params,
        inputs: usize,
        outputs: usize,
        kernel: impl PerAxis<N>,
        multiplier: usize,
        options: ConvOptions<N>,
    ) -> SeparableConv<N> {
        let (kernel, between) = (kernel.each(), inputs * multiplier);
        let options = ConvOptions { groups: inputs, ..options };
        let init = Uniform::fan_in(kernel.iter().product());
        let path = params.at("depthwise");
        SeparableConv {
            depthwise: Conv::with_init(&path, inputs, between, kernel, options, &init, None),
            pointwise: Conv::new(
                &params.at("pointwise"),
                between,
                outputs,
                1,
                ConvOptions::default(),
            ),
        }
    }
}

impl<const N: usize> Layer for SeparableConv<N> {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        self.pointwise.forward(&self.depthwise.forward(x, cx), cx)
    }
}

const MULTIPLIER: Param =
    Param::with_default("multiplier", Kind::int(1, 1 << 20), ONE, "filters for each input channel")
        .alias(&["depth_multiplier"]);

impl<const N: usize> Words<N> {
    const DEPTHWISE: &'static [Param] = &[
        Self::KERNEL,
        MULTIPLIER,
        Self::STRIDE,
        Self::PADDING,
        Self::DILATION,
        BIAS,
        activations::PARAM,
        init::WEIGHT,
        init::BIAS,
    ];
    const SEPARABLE: &'static [Param] = &[
        Param::required("filters", Kind::count(), "output channels").alias(&["out_channels"]),
        Self::KERNEL,
        MULTIPLIER,
        Self::STRIDE,
        Self::PADDING,
        Self::DILATION,
        BIAS,
        activations::PARAM,
        init::WEIGHT,
        init::BIAS,
    ];
}

/// The effect of filters for each channel alone.
fn depthwise<const N: usize>(args: &Args, input: &[usize], bias: bool) -> Result<Effect, Misfit> {
    let (channels, extents) = spatial::<N>(input)?;
    let kernel = per_axis::<N>(args, "kernel");
    let extents = ConvOptions::<N>::from_args(args).outputs(kernel, extents)?;
    if channels == 0 {
        return Err(Misfit { needs: "one channel or more".into(), hint: String::new() });
    }
    let filters = channels.saturating_mul(args.usize("multiplier"));
    let shape = [&[filters], &extents[..]].concat();
    Ok(Effect::weighted(shape, filters, product(&kernel), bias))
}

fn infer_separable<const N: usize>(args: &Args, input: &[usize]) -> Result<Effect, Misfit> {
    let first = depthwise::<N>(args, input, false)?;
    let (filters, mut shape) = (args.usize("filters"), first.shape.to_vec());
    let taps = std::mem::replace(&mut shape[0], filters) as u128;
    Ok(first.then(Effect::weighted(shape, filters, taps, args.bool("bias"))))
}

fn make_depthwise<const N: usize>(args: &Args, input: &[usize], params: &Params) -> Box<dyn Layer> {
    let kernel = per_axis::<N>(args, "kernel");
    let options = ConvOptions { groups: input[0], ..ConvOptions::<N>::from_args(args) };
    let [weight, bias] = init::of_layer(args, kernel.iter().product());
    let bias = args.bool("bias").then_some(&*bias);
    let outputs = input[0] * args.usize("multiplier");
    let mut layer = Conv::with_init(params, input[0], outputs, kernel, options, &*weight, bias);
    layer.activation = activations::build(args.item("activation"));
    Box::new(layer)
}

fn make_separable<const N: usize>(args: &Args, input: &[usize], params: &Params) -> Box<dyn Layer> {
    let (kernel, filters) = (per_axis::<N>(args, "kernel"), args.usize("filters"));
    let options = ConvOptions { groups: input[0], ..ConvOptions::<N>::from_args(args) };
    let between = input[0] * args.usize("multiplier");
    let (first, second) = (params.at("depthwise"), params.at("pointwise"));
    let [weight, _] = init::of_layer(args, kernel.iter().product());
    let depthwise = Conv::with_init(&first, input[0], between, kernel, options, &*weight, None);
    let [weight, bias] = init::of_layer(args, between);
    let bias = args.bool("bias").then_some(&*bias);
    let plain = ConvOptions::default();
    let mut pointwise = Conv::with_init(&second, between, filters, 1, plain, &*weight, bias);
    pointwise.activation = activations::build(args.item("activation"));
    Box::new(SeparableConv { depthwise, pointwise })
}

macro_rules! entries {
    ($($id:ident $n:literal $params:ident $infer:expr, $make:ident $name:literal $alias:literal
        $keras:literal $doc:literal [$($sample:expr),*];)*) => {
        $(pub(super) static $id: Entry = Entry {
            spec: Spec {
                name: $name,
                aliases: &[$alias],
                peers: Peers::of("", $keras),
                doc: $doc,
                params: Words::<$n>::$params,
            },
            takes_indices: false,
            samples: &[$($sample),*],
            infer: $infer,
            make: $make::<$n>,
        };)*
    };
}

entries! {
    DEPTHWISE1D 1 DEPTHWISE |args, input| depthwise::<1>(args, input, args.bool("bias")),
        make_depthwise "DepthwiseConv1d" "DepthwiseConv1D" "layers.DepthwiseConv1D"
        "Convolution of a sequence with filters for each channel." [
        Sample::of("kernel = 3, depth_multiplier = 2, padding = 'causal'", &[2, 5])
    ];
    DEPTHWISE2D 2 DEPTHWISE |args, input| depthwise::<2>(args, input, args.bool("bias")),
        make_depthwise "DepthwiseConv2d" "DepthwiseConv2D" "layers.DepthwiseConv2D"
        "Convolution of an image with filters for each channel." [
        Sample::of("kernel = 3, padding = 'same', stride = 2", &[4, 5, 6]),
        Sample::of("kernel = [1, 2], multiplier = 3, bias = false", &[2, 3, 4])
    ];
    SEPARABLE1D 1 SEPARABLE infer_separable::<1>,
        make_separable "SeparableConv1d" "SeparableConv1D" "layers.SeparableConv1D"
        "Convolution of a sequence, of each channel and then across them." [
        Sample::of("filters = 3, kernel = 3", &[2, 6])
    ];
    SEPARABLE2D 2 SEPARABLE infer_separable::<2>,
        make_separable "SeparableConv2d" "SeparableConv2D" "layers.SeparableConv2D"
        "Convolution of an image, of each channel and then across them." [
        Sample::of("filters = 3, kernel = 3, multiplier = 2, padding = 1, activation = 'relu'",
            &[2, 4, 5])
    ];
}
