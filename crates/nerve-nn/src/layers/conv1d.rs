use super::conv2d::Padding;
use super::{BIAS, BORDER, Effect, Entry, Layer, Misfit, ONE, Sample, grouped};
use crate::activations;
use crate::context::Context;
use crate::dims::{Window, product};
use crate::init::{self, Initializer, Uniform};
use crate::params::Params;
use nerve_core::{Tensor, Var};
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

/// Convolution of sequences: each output is a weighted sum over a window of the input, with the
/// same weights everywhere.
///
/// Waibel et al., "Phoneme recognition using time-delay neural networks", 1989.
///
/// Input `[batch, in, length]`, output `[batch, out, length']`.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::layers::{Conv1d, Conv1dOptions};
/// use nerve_nn::{Context, Layer, Params};
/// let conv = Conv1d::new(&Params::new(42).at("conv"), 2, 8, 5, Conv1dOptions::default());
/// let y = conv.forward(&Tensor::ones([4, 2, 100]), &Context::eval());
/// assert_eq!(**y.shape(), [4, 8, 96]);
/// ```
pub struct Conv1d {
    /// `[out, in / groups, length]`.
    pub weight: Var,
    /// `[out]`.
    pub bias: Option<Var>,
    /// How the window moves.
    pub options: Conv1dOptions,
    /// The function after it.
    pub activation: Option<Box<dyn Layer>>,
}

/// How the window of a [`Conv1d`] moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv1dOptions {
    /// Step from one window to the next.
    pub stride: usize,
    /// Border of zeros; of an explicit one, the first number counts.
    pub padding: Padding,
    /// Distance between the elements of a window: 1 where they are neighbours.
    pub dilation: usize,
    /// Separate groups of channels.
    pub groups: usize,
}

impl Default for Conv1dOptions {
    /// Neighbouring windows of neighbouring elements, no border, one group.
    fn default() -> Self {
        Conv1dOptions { stride: 1, padding: Padding::Valid, dilation: 1, groups: 1 }
    }
}

impl Conv1dOptions {
    fn window(&self, kernel: usize) -> Window {
        Window { name: "length", kernel, stride: self.stride, dilation: self.dilation }
    }

    fn from_args(args: &Args) -> Conv1dOptions {
        Conv1dOptions {
            stride: args.usize("stride"),
            padding: Padding::from_args(args),
            dilation: args.usize("dilation"),
            groups: args.usize("groups"),
        }
    }
}

impl Conv1d {
    /// With biases, all values uniform in ±1/√(fan in) as in PyTorch.
    ///
    /// # Panics
    /// If the channels do not divide into the groups.
    #[track_caller]
    pub fn new(
        params: &Params,
        inputs: usize,
        outputs: usize,
        kernel: usize,
        options: Conv1dOptions,
    ) -> Conv1d {
        let init = Uniform::fan_in(inputs / options.groups.max(1) * kernel);
        Conv1d::with_init(params, inputs, outputs, kernel, options, &init, Some(&init))
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
        kernel: usize,
        options: Conv1dOptions,
        weight: &dyn Initializer,
        bias: Option<&dyn Initializer>,
    ) -> Conv1d {
        let groups = options.groups.max(1);
        grouped(inputs, outputs, groups).unwrap_or_else(|misfit| panic!("Conv1d: {misfit}"));
        Conv1d {
            weight: params.var("weight", [outputs, inputs / groups, kernel], weight),
            bias: bias.map(|init| params.var("bias", [outputs], init)),
            options,
            activation: None,
        }
    }
}

impl Layer for Conv1d {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        assert!(x.rank() == 3, "Conv1d: expected [batch, channels, length], found {}", x.shape());
        let weight = self.weight.get();
        let window = self.options.window(weight.shape()[2]);
        let padding = self.options.padding.border(0, &window, x.shape()[2]);
        let Conv1dOptions { stride, dilation, groups, .. } = self.options;
        let mut y = x.conv1d(&weight, stride, padding, dilation, groups);
        if let Some(bias) = &self.bias {
            y = y + bias.get().reshape([bias.shape().numel(), 1]);
        }
        match &self.activation {
            Some(activation) => activation.forward(&y, cx),
            None => y,
        }
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "Conv1d",
        aliases: &["Conv1D"],
        peers: Peers::of("nn.Conv1d", "layers.Conv1D"),
        doc: "Convolution of a sequence.",
        params: &[
            Param::required("filters", Kind::count(), "output channels").alias(&["out_channels"]),
            Param::required("kernel", Kind::int(1, 1 << 20), "length of the filters")
                .alias(&["kernel_size"]),
            Param::with_default("stride", Kind::int(1, 1 << 20), ONE, "step").alias(&["strides"]),
            Param::with_default(
                "padding",
                Kind::OneOf(&[Kind::Choice(&["valid", "same"]), BORDER]),
                Value::text("valid"),
                "border of zeros: none, as much as keeps the length at stride 1, or so many",
            ),
            Param::with_default("dilation", Kind::int(1, 1 << 20), ONE, "distance of the taps")
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
        Sample::of("filters = 4, kernel = 3, stride = 2", &[2, 9]),
        Sample::of("filters = 2, kernel = 4, padding = 'same'", &[2, 5]),
    ],
    infer: |args, input| {
        let &[channels, length] = input else {
            return Err(Misfit {
                needs: "[channels, length]".into(),
                hint: format!("it gets {} axes and needs 2", input.len()),
            });
        };
        let (filters, kernel) = (args.usize("filters"), args.usize("kernel"));
        let options = Conv1dOptions::from_args(args);
        grouped(channels, filters, options.groups)?;
        let window = options.window(kernel);
        let length = window.count(length, options.padding.border(0, &window, length))?;
        let taps = product(&[channels / options.groups, kernel]);
        Ok(Effect::weighted([filters, length], filters, taps, args.bool("bias")))
    },
    make: |args, input, params| {
        let (options, kernel) = (Conv1dOptions::from_args(args), args.usize("kernel"));
        let [weight, bias] = init::of_layer(args, input[0] / options.groups * kernel);
        let bias = args.bool("bias").then_some(&*bias);
        let filters = args.usize("filters");
        let mut layer =
            Conv1d::with_init(params, input[0], filters, kernel, options, &*weight, bias);
        layer.activation = activations::build(args.item("activation"));
        Box::new(layer)
    },
};
