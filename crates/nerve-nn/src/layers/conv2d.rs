use super::{BIAS, BORDER, Effect, Entry, Layer, ONE, Sample, grouped};
use crate::activations;
use crate::context::Context;
use crate::dims::{Window, image, product};
use crate::init::{self, Initializer, Uniform};
use crate::params::Params;
use nerve_core::{Tensor, Var};
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

/// Convolution of images: each output pixel is a weighted sum over a window of the input, with the
/// same weights everywhere. (A cross-correlation, as everywhere in this field.)
///
/// LeCun et al., "Backpropagation applied to handwritten zip code recognition", 1989.
///
/// Input `[batch, in, height, width]`, output `[batch, out, height', width']`.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::layers::{Conv2d, Conv2dOptions, Padding};
/// use nerve_nn::{Context, Layer, Params};
/// let options = Conv2dOptions { padding: Padding::Same, ..Conv2dOptions::default() };
/// let conv = Conv2d::new(&Params::new(42).at("conv1"), 1, 32, [3, 3], options);
/// let y = conv.forward(&Tensor::ones([8, 1, 28, 28]), &Context::eval());
/// assert_eq!(**y.shape(), [8, 32, 28, 28]);
/// ```
pub struct Conv2d {
    /// `[out, in / groups, height, width]`.
    pub weight: Var,
    /// `[out]`.
    pub bias: Option<Var>,
    /// How the window moves.
    pub options: Conv2dOptions,
    /// The function after it.
    pub activation: Option<Box<dyn Layer>>,
}

/// How the window of a [`Conv2d`] moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2dOptions {
    /// Step from one window to the next: down, right.
    pub stride: [usize; 2],
    /// Border of zeros.
    pub padding: Padding,
    /// Distance between the elements of a window: 1 where they are neighbours.
    pub dilation: [usize; 2],
    /// Separate groups of channels. As many as there are input channels: depthwise.
    pub groups: usize,
}

impl Default for Conv2dOptions {
    /// Neighbouring windows of neighbouring pixels, no border, one group.
    fn default() -> Self {
        Conv2dOptions { stride: [1, 1], padding: Padding::Valid, dilation: [1, 1], groups: 1 }
    }
}

/// Border of zeros around an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// None: only windows that lie inside.
    Valid,
    /// As much as makes ⌈length / stride⌉ windows along each axis. If it cannot be the same on
    /// both sides, there is one more at the bottom and on the right.
    Same,
    /// So many at top and bottom, and left and right.
    Explicit([usize; 2]),
}

impl Padding {
    /// Before and behind the axis number `axis` of this length.
    pub(super) fn border(self, axis: usize, window: &Window, length: usize) -> (usize, usize) {
        match self {
            Padding::Valid => (0, 0),
            Padding::Same => window.same(length),
            Padding::Explicit(amount) => (amount[axis], amount[axis]),
        }
    }

    pub(super) fn from_args(args: &Args) -> Padding {
        match args.get("padding") {
            Some(Value::Text(word)) if word == "same" => Padding::Same,
            Some(Value::Text(_)) | None => Padding::Valid,
            Some(_) => Padding::Explicit(args.pair("padding")),
        }
    }
}

impl Conv2dOptions {
    fn windows(&self, kernel: [usize; 2]) -> [Window; 2] {
        [("height", 0), ("width", 1)].map(|(name, i)| Window {
            name,
            kernel: kernel[i],
            stride: self.stride[i],
            dilation: self.dilation[i],
        })
    }

    fn from_args(args: &Args) -> Conv2dOptions {
        Conv2dOptions {
            stride: args.pair("stride"),
            padding: Padding::from_args(args),
            dilation: args.pair("dilation"),
            groups: args.usize("groups"),
        }
    }
}

impl Conv2d {
    /// With biases, all values uniform in ±1/√(fan in) as in PyTorch.
    ///
    /// # Panics
    /// If the channels do not divide into the groups.
    #[track_caller]
    pub fn new(
        params: &Params,
        inputs: usize,
        outputs: usize,
        kernel: [usize; 2],
        options: Conv2dOptions,
    ) -> Conv2d {
        let init = Uniform::fan_in(inputs / options.groups.max(1) * kernel[0] * kernel[1]);
        Conv2d::with_init(params, inputs, outputs, kernel, options, &init, Some(&init))
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
        kernel: [usize; 2],
        options: Conv2dOptions,
        weight: &dyn Initializer,
        bias: Option<&dyn Initializer>,
    ) -> Conv2d {
        let groups = options.groups.max(1);
        grouped(inputs, outputs, groups).unwrap_or_else(|misfit| panic!("Conv2d: {misfit}"));
        let shape = [outputs, inputs / groups, kernel[0], kernel[1]];
        Conv2d {
            weight: params.var("weight", shape, weight),
            bias: bias.map(|init| params.var("bias", [outputs], init)),
            options,
            activation: None,
        }
    }
}

impl Layer for Conv2d {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        assert!(
            x.rank() == 4,
            "Conv2d: expected [batch, channels, height, width], found {}",
            x.shape()
        );
        let weight = self.weight.get();
        let windows = self.options.windows([weight.shape()[2], weight.shape()[3]]);
        let border = |i: usize| self.options.padding.border(i, &windows[i], x.shape()[2 + i]);
        let mut y = x.conv2d(
            &weight,
            nerve_core::ops::Conv2dOptions {
                stride: self.options.stride,
                padding: [border(0), border(1)],
                dilation: self.options.dilation,
                groups: self.options.groups,
            },
        );
        if let Some(bias) = &self.bias {
            y = y + bias.get().reshape([bias.shape().numel(), 1, 1]);
        }
        match &self.activation {
            Some(activation) => activation.forward(&y, cx),
            None => y,
        }
    }
}

const PADDING: Param = Param::with_default(
    "padding",
    Kind::OneOf(&[
        Kind::Choice(&["valid", "same"]),
        BORDER,
        Kind::List { of: &BORDER, min_len: 2, max_len: 2 },
    ]),
    Value::text("valid"),
    "border of zeros: none, as much as keeps the size at stride 1, or so many pixels",
);

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "Conv2d",
        aliases: &["Conv2D"],
        peers: Peers::of("nn.Conv2d", "layers.Conv2D"),
        doc: "Convolution of an image.",
        params: &[
            Param::required("filters", Kind::count(), "output channels").alias(&["out_channels"]),
            Param::required("kernel", Kind::count_or_pair(), "height and width of the filters")
                .alias(&["kernel_size"]),
            Param::with_default("stride", Kind::count_or_pair(), ONE, "step").alias(&["strides"]),
            PADDING,
            Param::with_default("dilation", Kind::count_or_pair(), ONE, "distance of the taps")
                .alias(&["dilation_rate"]),
            Param::with_default(
                "groups",
                Kind::int(1, 1 << 20),
                ONE,
                "separate groups of channels",
            ),
            BIAS,
            activations::PARAM,
            init::WEIGHT,
            init::BIAS,
        ],
    },
    takes_indices: false,
    samples: &[
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
        ),
    ],
    infer: |args, input| {
        let [channels, height, width] = image(input)?;
        let (filters, kernel) = (args.usize("filters"), args.pair("kernel"));
        let options = Conv2dOptions::from_args(args);
        grouped(channels, filters, options.groups)?;
        let [down, right] = options.windows(kernel);
        let height = down.count(height, options.padding.border(0, &down, height))?;
        let width = right.count(width, options.padding.border(1, &right, width))?;
        let taps = product(&[channels / options.groups, kernel[0], kernel[1]]);
        Ok(Effect::weighted([filters, height, width], filters, taps, args.bool("bias")))
    },
    make: |args, input, params| {
        let (options, kernel) = (Conv2dOptions::from_args(args), args.pair("kernel"));
        let [weight, bias] =
            init::of_layer(args, input[0] / options.groups * kernel[0] * kernel[1]);
        let bias = args.bool("bias").then_some(&*bias);
        let filters = args.usize("filters");
        let mut layer =
            Conv2d::with_init(params, input[0], filters, kernel, options, &*weight, bias);
        layer.activation = activations::build(args.item("activation"));
        Box::new(layer)
    },
};
