use super::axes::{PerAxis, Words, per_axis, windows};
use super::{BIAS, Effect, Entry, Layer, Misfit, ONE, Sample, grouped};
use crate::activations;
use crate::context::Context;
use crate::dims::{Window, names, product, spatial};
use crate::init::{self, Initializer, Uniform};
use crate::params::Params;
use nerve_core::{Shape, Tensor, Var, ops};
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

/// Convolution along `N` axes, one to three: each output is a weighted sum over a window of the
/// input, with the same weights everywhere. (A cross-correlation, as everywhere in this field.)
/// It goes by the names [`Conv1d`], [`Conv2d`] and [`Conv3d`].
///
/// LeCun et al., "Backpropagation applied to handwritten zip code recognition", 1989; along one
/// axis Waibel et al., "Phoneme recognition using time-delay neural networks", 1989.
///
/// Input `[batch, in, extents…]`, output `[batch, out, extents'…]`, along each axis with
/// `n' = (n + border − dilation (kernel − 1) − 1) / stride + 1`.
///
/// Volumes are convolved as images whose channels are the slices that a filter sees: the working
/// memory is as many times the input as the filters are deep.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::layers::{Conv2d, Conv2dOptions, Conv3d, Padding};
/// use nerve_nn::{Context, Layer, Params};
/// let params = Params::new(42);
/// let options = Conv2dOptions { padding: Padding::Same, ..Conv2dOptions::default() };
/// let conv = Conv2d::new(&params.at("conv1"), 1, 32, 3, options);
/// let y = conv.forward(&Tensor::ones([8, 1, 28, 28]), &Context::eval());
/// assert_eq!(**y.shape(), [8, 32, 28, 28]);
/// let conv = Conv3d::new(&params.at("conv2"), 1, 4, [2, 3, 3], Default::default());
/// let y = conv.forward(&Tensor::ones([2, 1, 5, 8, 8]), &Context::eval());
/// assert_eq!(**y.shape(), [2, 4, 4, 6, 6]);
/// ```
pub struct Conv<const N: usize> {
    /// `[out, in / groups, extents…]`.
    pub weight: Var,
    /// `[out]`.
    pub bias: Option<Var>,
    /// How the window moves.
    pub options: ConvOptions<N>,
    /// The function after it.
    pub activation: Option<Box<dyn Layer>>,
}

/// Convolution of sequences `[batch, in, length]`; see [`Conv`].
pub type Conv1d = Conv<1>;
/// Convolution of images `[batch, in, height, width]`; see [`Conv`].
pub type Conv2d = Conv<2>;
/// Convolution of volumes `[batch, in, depth, height, width]`; see [`Conv`].
pub type Conv3d = Conv<3>;

/// How the window of a [`Conv`] moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvOptions<const N: usize> {
    /// Step from one window to the next along each axis.
    pub stride: [usize; N],
    /// Border of zeros.
    pub padding: Padding<N>,
    /// Distance between the elements of a window: 1 where they are neighbours.
    pub dilation: [usize; N],
    /// Separate groups of channels. As many as there are input channels: depthwise.
    pub groups: usize,
}

/// How the window of a [`Conv1d`] moves.
pub type Conv1dOptions = ConvOptions<1>;
/// How the window of a [`Conv2d`] moves.
pub type Conv2dOptions = ConvOptions<2>;
/// How the window of a [`Conv3d`] moves.
pub type Conv3dOptions = ConvOptions<3>;

impl<const N: usize> Default for ConvOptions<N> {
    /// Neighbouring windows of neighbouring elements, no border, one group.
    fn default() -> Self {
        ConvOptions { stride: [1; N], padding: Padding::Valid, dilation: [1; N], groups: 1 }
    }
}

/// Border of zeros around `N` axes.
///
/// `Same` is that of Keras with any stride, where the length is ⌈length / stride⌉. (PyTorch has
/// the word for stride 1 only, where the two agree.) Where the border is odd, the larger half is
/// behind: with a stride, PyTorch's usual `padding = kernel / 2` looks at other windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding<const N: usize = 2> {
    /// None: only windows that lie inside.
    Valid,
    /// As much as makes ⌈length / stride⌉ windows along each axis. If it cannot be the same on
    /// both sides, there is one more at the bottom and on the right.
    Same,
    /// All in front, so that no output depends on anything behind it.
    Causal,
    /// So many on both sides of each axis.
    Explicit([usize; N]),
}

impl<const N: usize> Padding<N> {
    /// Before and behind the axis number `axis` of this length.
    pub(super) fn border(self, axis: usize, window: &Window, length: usize) -> (usize, usize) {
        match self {
            Padding::Valid => (0, 0),
            Padding::Same => window.same(length),
            Padding::Causal => (window.reach() - 1, 0),
            Padding::Explicit(amount) => (amount[axis], amount[axis]),
        }
    }

    pub(super) fn from_args(args: &Args) -> Padding<N> {
        match args.get("padding") {
            Some(Value::Text(word)) if word == "same" => Padding::Same,
            Some(Value::Text(word)) if word == "causal" => Padding::Causal,
            Some(Value::Text(_)) | None => Padding::Valid,
            Some(_) => Padding::Explicit(per_axis(args, "padding")),
        }
    }
}

impl<const N: usize> ConvOptions<N> {
    pub(super) fn from_args(args: &Args) -> ConvOptions<N> {
        ConvOptions {
            stride: per_axis(args, "stride"),
            padding: Padding::from_args(args),
            dilation: per_axis(args, "dilation"),
            groups: if args.has("groups") { args.usize("groups") } else { 1 },
        }
    }

    /// What these options mean for an input and filters of these extents.
    pub(super) fn for_input(&self, kernel: [usize; N], extents: [usize; N]) -> ops::ConvOptions<N> {
        let windows = windows(kernel, self.stride, self.dilation);
        let border = |i: usize| self.padding.border(i, &windows[i], extents[i]);
        ops::ConvOptions {
            stride: self.stride,
            padding: std::array::from_fn(border),
            dilation: self.dilation,
            groups: self.groups,
        }
    }

    /// The extents of the output.
    pub(super) fn outputs(
        &self,
        kernel: [usize; N],
        extents: [usize; N],
    ) -> Result<[usize; N], Misfit> {
        let windows = windows(kernel, self.stride, self.dilation);
        let mut outputs = [0; N];
        for i in 0..N {
            let border = self.padding.border(i, &windows[i], extents[i]);
            outputs[i] = windows[i].count(extents[i], border)?;
        }
        Ok(outputs)
    }
}

/// The extents behind the first two axes.
pub(super) fn extents_of<const N: usize>(shape: &Shape) -> [usize; N] {
    std::array::from_fn(|i| shape[i + 2])
}

/// Refuses a batch of another rank.
#[track_caller]
pub(super) fn expect_axes<const N: usize>(layer: &str, x: &Tensor) {
    assert!(
        x.rank() == N + 2,
        "{layer}{N}d: expected [batch, channels, {}], found {}",
        names::<N>().join(", "),
        x.shape()
    );
}

/// With the bias of each channel added, and the activation applied.
pub(super) fn finish(
    y: Tensor,
    bias: Option<&Var>,
    activation: Option<&dyn Layer>,
    cx: &Context,
) -> Tensor {
    let y = match bias {
        Some(bias) => {
            let mut shape = vec![1; y.rank() - 1];
            shape[0] = bias.shape()[0];
            y + bias.get().reshape(shape)
        }
        None => y,
    };
    match activation {
        Some(activation) => activation.forward(&y, cx),
        None => y,
    }
}

impl<const N: usize> Conv<N> {
    /// With biases, all values uniform in ±1/√(fan in) as in PyTorch.
    ///
    /// # Panics
    /// If the channels do not divide into the groups.
    #[track_caller]
    pub fn new(
        params: &Params,
        inputs: usize,
        outputs: usize,
        kernel: impl PerAxis<N>,
        options: ConvOptions<N>,
    ) -> Conv<N> {
        let kernel = kernel.each();
        let taps: usize = kernel.iter().product();
        let init = Uniform::fan_in(inputs / options.groups.max(1) * taps);
        Conv::with_init(params, inputs, outputs, kernel, options, &init, Some(&init))
    }

    /// With weights from one initialiser, and biases from another or none.
    ///
    /// # Panics
    /// If the channels do not divide into the groups.
    #[track_caller]
    pub fn with_init(
        params: &Params,
        inputs: usize,
        outputs: usize,
        kernel: impl PerAxis<N>,
        options: ConvOptions<N>,
        weight: &dyn Initializer,
        bias: Option<&dyn Initializer>,
    ) -> Conv<N> {
        let groups = options.groups.max(1);
        grouped(inputs, outputs, groups).unwrap_or_else(|misfit| panic!("Conv{N}d: {misfit}"));
        let shape = [&[outputs, inputs / groups], &kernel.each()[..]].concat();
        Conv {
            weight: params.var("weight", shape, weight),
            bias: bias.map(|init| params.var("bias", [outputs], init)),
            options,
            activation: None,
        }
    }
}

impl<const N: usize> Layer for Conv<N> {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        expect_axes::<N>("Conv", x);
        let weight = self.weight.get();
        let options = self.options.for_input(extents_of(weight.shape()), extents_of(x.shape()));
        let y = x.conv(&weight, options);
        finish(y, self.bias.as_ref(), self.activation.as_deref(), cx)
    }

    /// Its first axis is channels, not time.
    fn mask(&self, _: &Tensor, _: &Tensor) -> Option<Tensor> {
        None
    }
}

const FILTERS: Param =
    Param::required("filters", Kind::count(), "output channels").alias(&["out_channels"]);
const GROUPS: Param =
    Param::with_default("groups", Kind::int(1, 1 << 20), ONE, "separate groups of channels");

impl<const N: usize> Words<N> {
    const CONV: &'static [Param] = &[
        FILTERS,
        Self::KERNEL,
        Self::STRIDE,
        Self::PADDING,
        Self::DILATION,
        GROUPS,
        BIAS,
        activations::PARAM,
        init::WEIGHT,
        init::BIAS,
    ];
}

fn infer<const N: usize>(args: &Args, input: &[usize]) -> Result<Effect, Misfit> {
    let (channels, extents) = spatial::<N>(input)?;
    let (filters, kernel) = (args.usize("filters"), per_axis::<N>(args, "kernel"));
    let options = ConvOptions::<N>::from_args(args);
    grouped(channels, filters, options.groups)?;
    let extents = options.outputs(kernel, extents)?;
    let taps = product(&kernel).saturating_mul((channels / options.groups) as u128);
    let shape = [&[filters], &extents[..]].concat();
    Ok(Effect::weighted(shape, filters, taps, args.bool("bias")))
}

fn make<const N: usize>(args: &Args, input: &[usize], params: &Params) -> Box<dyn Layer> {
    let (options, kernel) = (ConvOptions::<N>::from_args(args), per_axis::<N>(args, "kernel"));
    let taps: usize = kernel.iter().product();
    let [weight, bias] = init::of_layer(args, input[0] / options.groups * taps);
    let bias = args.bool("bias").then_some(&*bias);
    let filters = args.usize("filters");
    let mut layer = Conv::with_init(params, input[0], filters, kernel, options, &*weight, bias);
    layer.activation = activations::build(args.item("activation"));
    Box::new(layer)
}

macro_rules! entries {
    ($($id:ident $n:literal $name:literal $alias:literal $torch:literal $keras:literal $doc:literal
        [$($sample:expr),*];)*) => {
        $(pub(super) static $id: Entry = Entry {
            spec: Spec {
                name: $name,
                aliases: &[$alias],
                peers: Peers::of($torch, $keras),
                doc: $doc,
                params: Words::<$n>::CONV,
            },
            takes_indices: false,
            samples: &[$($sample),*],
            infer: infer::<$n>,
            make: make::<$n>,
        };)*
    };
}

entries! {
    CONV1D 1 "Conv1d" "Conv1D" "nn.Conv1d" "layers.Conv1D" "Convolution of a sequence." [
        Sample::of("filters = 4, kernel = 3, stride = 2", &[2, 9]),
        Sample::of("filters = 2, kernel = 4, padding = 'same'", &[2, 5]),
        Sample::of("filters = 2, kernel = 3, padding = 'causal', dilation = 2", &[2, 5])
    ];
    CONV2D 2 "Conv2d" "Conv2D" "nn.Conv2d" "layers.Conv2D" "Convolution of an image." [
        Sample::of("filters = 4, kernel = 3", &[2, 6, 5]),
        Sample::of(
            "out_channels = 4, kernel_size = [2, 3], padding = 'same', \
             strides = [2, 1], activation = 'silu'",
            &[1, 7, 6],
        ),
        Sample::of(
            "filters = 6, kernel = 2, padding = [1, 0], dilation = 2, groups = 3, \
             kernel_initializer = 'orthogonal', bias_init = 'ones'",
            &[3, 5, 6],
        )
    ];
    CONV3D 3 "Conv3d" "Conv3D" "nn.Conv3d" "layers.Conv3D" "Convolution of a volume." [
        Sample::of("filters = 3, kernel = [2, 3, 1], padding = 1", &[2, 3, 4, 3]),
        Sample::of("filters = 4, kernel = 2, padding = 'same', stride = 2, groups = 2, bias = false",
            &[2, 3, 4, 3])
    ];
}
