use super::axes::{PerAxis, Words, per_axis, windows};
use super::conv::{ConvOptions, Padding, expect_axes, extents_of, finish};
use super::{BIAS, Effect, Entry, Layer, Misfit, ONE, Sample, grouped};
use crate::activations;
use crate::context::Context;
use crate::dims::{product, spatial};
use crate::init::{self, Initializer, Uniform};
use crate::params::Params;
use nerve_core::{Tensor, Var, ops};
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

/// The transpose of a convolution along `N` axes: each input adds its multiple of a filter to a
/// window of the output, which with a stride is larger than the input. Also called fractionally
/// strided convolution. It goes by the names [`ConvTranspose1d`], [`ConvTranspose2d`] and
/// [`ConvTranspose3d`].
///
/// Zeiler et al., "Deconvolutional networks", 2010; Dumoulin & Visin, "A guide to convolution
/// arithmetic for deep learning", 2016.
///
/// Input `[batch, in, extents…]`, output `[batch, out, extents'…]`, along each axis with
/// `n' = (n − 1) stride − border + dilation (kernel − 1) + 1 + output_padding`, as in PyTorch: an
/// explicit border is cut off from the output, so that the layer turns the shape around that a
/// convolution with the same numbers makes. `Padding::Same` gives n · stride, as in Keras.
/// `Padding::Valid` is no border; where the stride is larger than the kernel, Keras gives n ·
/// stride there too, nerve and PyTorch less.
///
/// It costs as much as the convolution that it transposes.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::layers::{ConvTranspose2d, ConvTransposeOptions, Padding};
/// use nerve_nn::{Context, Layer, Params};
/// let same = Padding::Same;
/// let options = ConvTransposeOptions { stride: [2, 2], padding: same, ..Default::default() };
/// let up = ConvTranspose2d::new(&Params::new(42).at("up"), 8, 4, 3, options);
/// let y = up.forward(&Tensor::ones([2, 8, 5, 7]), &Context::eval());
/// assert_eq!(**y.shape(), [2, 4, 10, 14]);
/// ```
pub struct ConvTranspose<const N: usize> {
    /// `[in, out / groups, extents…]`.
    pub weight: Var,
    /// `[out]`.
    pub bias: Option<Var>,
    /// How the window moves.
    pub options: ConvTransposeOptions<N>,
    /// The function after it.
    pub activation: Option<Box<dyn Layer>>,
}

/// Of sequences `[batch, in, length]`; see [`ConvTranspose`].
pub type ConvTranspose1d = ConvTranspose<1>;
/// Of images `[batch, in, height, width]`; see [`ConvTranspose`].
pub type ConvTranspose2d = ConvTranspose<2>;
/// Of volumes `[batch, in, depth, height, width]`; see [`ConvTranspose`].
pub type ConvTranspose3d = ConvTranspose<3>;

/// How the window of a [`ConvTranspose`] moves over its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvTransposeOptions<const N: usize> {
    /// Step from one window to the next along each axis.
    pub stride: [usize; N],
    /// What is cut off from the output.
    pub padding: Padding<N>,
    /// How many more elements the output has at the end of each axis.
    pub output_padding: [usize; N],
    /// Distance between the elements of a window: 1 where they are neighbours.
    pub dilation: [usize; N],
    /// Separate groups of channels.
    pub groups: usize,
}

impl<const N: usize> Default for ConvTransposeOptions<N> {
    /// Neighbouring windows of neighbouring elements, nothing cut off, one group.
    fn default() -> Self {
        let ConvOptions { stride, padding, dilation, groups } = ConvOptions::default();
        ConvTransposeOptions { stride, padding, output_padding: [0; N], dilation, groups }
    }
}

impl<const N: usize> ConvTransposeOptions<N> {
    fn from_args(args: &Args) -> ConvTransposeOptions<N> {
        let ConvOptions { stride, padding, dilation, groups } = ConvOptions::from_args(args);
        let output_padding = per_axis(args, "output_padding");
        ConvTransposeOptions { stride, padding, output_padding, dilation, groups }
    }

    /// What is cut off along each axis, and what is added.
    fn borders(&self, kernel: [usize; N]) -> ([(usize, usize); N], [usize; N]) {
        let (mut cut, mut more) = ([(0, 0); N], self.output_padding);
        for (i, window) in windows(kernel, self.stride, self.dilation).iter().enumerate() {
            let reach = window.reach();
            match self.padding {
                Padding::Valid => {}
                Padding::Explicit(amount) => cut[i] = (amount[i], amount[i]),
                Padding::Causal => cut[i] = (0, reach.saturating_sub(self.stride[i])),
                Padding::Same => {
                    let total = reach.saturating_sub(self.stride[i]);
                    cut[i] = (total / 2, total - total / 2);
                }
            }
            if matches!(self.padding, Padding::Same | Padding::Causal) {
                more[i] += self.stride[i].saturating_sub(reach);
            }
        }
        (cut, more)
    }

    /// The extents of the output.
    fn outputs(&self, kernel: [usize; N], extents: [usize; N]) -> Result<[usize; N], Misfit> {
        let (cut, more) = self.borders(kernel);
        let mut outputs = [0; N];
        for (i, window) in windows(kernel, self.stride, self.dilation).iter().enumerate() {
            let steps = extents[i].saturating_sub(1).saturating_mul(self.stride[i]);
            let whole = steps.saturating_add(window.reach()).saturating_add(more[i]);
            let border = cut[i].0.saturating_add(cut[i].1);
            outputs[i] = whole.checked_sub(border).filter(|&n| n > 0).ok_or_else(|| Misfit {
                needs: format!(
                    "a padding that leaves something of {whole} along the {}",
                    window.name
                ),
                hint: format!("it cuts off {border}"),
            })?;
        }
        Ok(outputs)
    }
}

impl<const N: usize> ConvTranspose<N> {
    /// With biases, all values uniform in ±1/√(out / groups · taps): what PyTorch has, which takes
    /// the second axis of the weight for the fan in.
    ///
    /// # Panics
    /// If the channels do not divide into the groups.
    #[track_caller]
    pub fn new(
        params: &Params,
        inputs: usize,
        outputs: usize,
        kernel: impl PerAxis<N>,
        options: ConvTransposeOptions<N>,
    ) -> ConvTranspose<N> {
        let kernel = kernel.each();
        let taps: usize = kernel.iter().product();
        let init = Uniform::fan_in(outputs / options.groups.max(1) * taps);
        ConvTranspose::with_init(params, inputs, outputs, kernel, options, &init, Some(&init))
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
        options: ConvTransposeOptions<N>,
        weight: &dyn Initializer,
        bias: Option<&dyn Initializer>,
    ) -> ConvTranspose<N> {
        let groups = options.groups.max(1);
        grouped(inputs, outputs, groups)
            .unwrap_or_else(|misfit| panic!("ConvTranspose{N}d: {misfit}"));
        let shape = [&[inputs, outputs / groups], &kernel.each()[..]].concat();
        ConvTranspose {
            weight: params.var("weight", shape, weight),
            bias: bias.map(|init| params.var("bias", [outputs], init)),
            options,
            activation: None,
        }
    }
}

impl<const N: usize> Layer for ConvTranspose<N> {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        expect_axes::<N>("ConvTranspose", x);
        let weight = self.weight.get();
        let (padding, more) = self.options.borders(extents_of(weight.shape()));
        let ConvTransposeOptions { stride, dilation, groups, .. } = self.options;
        let options = ops::ConvOptions { stride, padding, dilation, groups };
        let y = x.conv_transpose(&weight, options, more);
        finish(y, self.bias.as_ref(), self.activation.as_deref(), cx)
    }
}

impl<const N: usize> Words<N> {
    const CONV_TRANSPOSE: &'static [Param] = &[
        Param::required("filters", Kind::count(), "output channels").alias(&["out_channels"]),
        Self::KERNEL,
        Self::STRIDE,
        Self::CUT,
        Param::with_default(
            "output_padding",
            Self::BORDERS,
            Value::Int(0),
            "how much longer each axis becomes at its end",
        ),
        Self::DILATION,
        Param::with_default("groups", Kind::int(1, 1 << 20), ONE, "separate groups of channels"),
        BIAS,
        activations::PARAM,
        init::WEIGHT,
        init::BIAS,
    ];
}

fn infer<const N: usize>(args: &Args, input: &[usize]) -> Result<Effect, Misfit> {
    let (channels, extents) = spatial::<N>(input)?;
    let (filters, kernel) = (args.usize("filters"), per_axis::<N>(args, "kernel"));
    let options = ConvTransposeOptions::<N>::from_args(args);
    grouped(channels, filters, options.groups)?;
    if extents.contains(&0) {
        return Err(Misfit { needs: "extents of one or more".into(), hint: String::new() });
    }
    let outputs = options.outputs(kernel, extents)?;
    let shape = [&[filters], &outputs[..]].concat();
    let (filters, bias) = (filters as u128, args.bool("bias"));
    let taps = product(&kernel).saturating_mul(filters / options.groups as u128);
    let weights = taps.saturating_mul(channels as u128);
    Ok(Effect {
        parameters: weights.saturating_add(if bias { filters } else { 0 }),
        flops: product(input).saturating_mul(taps.saturating_mul(2)),
        ..Effect::cheap(shape, 0, 0)
    })
}

fn make<const N: usize>(args: &Args, input: &[usize], params: &Params) -> Box<dyn Layer> {
    let options = ConvTransposeOptions::<N>::from_args(args);
    let (kernel, filters) = (per_axis::<N>(args, "kernel"), args.usize("filters"));
    let taps: usize = kernel.iter().product();
    let [weight, bias] = init::of_layer(args, filters / options.groups * taps);
    let bias = args.bool("bias").then_some(&*bias);
    let mut layer =
        ConvTranspose::with_init(params, input[0], filters, kernel, options, &*weight, bias);
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
                params: Words::<$n>::CONV_TRANSPOSE,
            },
            takes_indices: false,
            samples: &[$($sample),*],
            infer: infer::<$n>,
            make: make::<$n>,
        };)*
    };
}

entries! {
    CONV_TRANSPOSE1D 1 "ConvTranspose1d" "Conv1DTranspose"
        "nn.ConvTranspose1d" "layers.Conv1DTranspose" "Transposed convolution of a sequence." [
        Sample::of("filters = 3, kernel = 4, stride = 2, padding = 1", &[2, 5]),
        Sample::of("filters = 2, kernel = 2, stride = 3, padding = 'same'", &[2, 4])
    ];
    CONV_TRANSPOSE2D 2 "ConvTranspose2d" "Conv2DTranspose"
        "nn.ConvTranspose2d" "layers.Conv2DTranspose" "Transposed convolution of an image." [
        Sample::of("filters = 4, kernel = 3, stride = 2, padding = 'same', activation = 'tanh'",
            &[2, 3, 4]),
        Sample::of(
            "filters = 4, kernel = [3, 2], stride = [2, 1], padding = [1, 0], \
             output_padding = [1, 0], groups = 2, bias = false",
            &[2, 3, 4],
        )
    ];
    CONV_TRANSPOSE3D 3 "ConvTranspose3d" "Conv3DTranspose"
        "nn.ConvTranspose3d" "layers.Conv3DTranspose" "Transposed convolution of a volume." [
        Sample::of("filters = 2, kernel = 2, stride = 2", &[3, 2, 3, 2])
    ];
}
