use super::axes::{Words, per_axis};
use super::recurrent::{SEQUENCES, zero_where_masked};
use super::{BIAS, Conv2dOptions, Effect, Entry, Layer, Misfit, Padding, PerAxis, Sample};
use crate::context::Context;
use crate::dims::product;
use crate::init::{FanScaled, Zeros};
use crate::params::Params;
use nerve_core::{Shape, Tensor, Var};
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec};

/// A long short-term memory over a sequence of images, whose sums are convolutions: each place of
/// the state sees the neighbourhood of its place in the image and in the state before.
///
/// ```text
/// i, f, g, o = the four parts of W_ih ∗ x + b + W_hh ∗ h
/// c = σ(f) c + σ(i) tanh(g);   h = σ(o) tanh(c)
/// ```
///
/// Shi et al., "Convolutional LSTM network: a machine learning approach for precipitation
/// nowcasting", 2015, without the connections from c to the gates, as in Keras.
///
/// Input `[batch, steps, channels, height, width]`; output the last state
/// `[batch, filters, height', width']`, or those of all steps, `[batch, steps, filters, …]`. The input's
/// convolution has the stride and border of the options, that of the state keeps its extents. Steps
/// that a mask denies ([`Context`]) are passed over, and their output is zero. Parameters:
/// `weight_ih` `[4 · filters, channels, …kernel]`, `weight_hh` `[4 · filters, filters, …kernel]`,
/// `bias` `[4 · filters]`, gates in the order i, f, g, o, which is that of Keras.
///
/// The input's part of all steps is one convolution; the state's is one for each step, and plans grow
/// with the number of steps.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::layers::{Conv2dOptions, ConvLstm2d, Padding};
/// use nerve_nn::{Context, Layer, Params};
/// let options = Conv2dOptions { padding: Padding::Same, ..Conv2dOptions::default() };
/// let layer = ConvLstm2d::new(&Params::new(42), 1, 4, 3, options, false);
/// let film = Tensor::ones([2, 5, 1, 8, 8]);
/// assert_eq!(**layer.forward(&film, &Context::eval()).shape(), [2, 4, 8, 8]);
/// ```
pub struct ConvLstm2d {
    /// Of the input.
    pub weight_ih: Var,
    /// Of the state.
    pub weight_hh: Var,
    /// Of both.
    pub bias: Option<Var>,
    /// How the window moves over the input.
    pub options: Conv2dOptions,
    /// Whether the output is the states of all steps.
    pub return_sequences: bool,
}

impl ConvLstm2d {
    /// With a bias of zeros, and weights after Glorot.
    ///
    /// # Panics
    /// If there are groups.
    #[track_caller]
    pub fn new(
        params: &Params,
        inputs: usize,
        filters: usize,
        kernel: impl PerAxis<2>,
        options: Conv2dOptions,
        return_sequences: bool,
    ) -> ConvLstm2d {
        let layer =
            ConvLstm2d::without_bias(params, inputs, filters, kernel, options, return_sequences);
        ConvLstm2d { bias: Some(params.var("bias", [4 * filters], &Zeros)), ..layer }
    }

    /// Without a bias.
    ///
    /// # Panics
    /// If there are groups.
    #[track_caller]
    pub fn without_bias(
        params: &Params,
        inputs: usize,
        filters: usize,
        kernel: impl PerAxis<2>,
        options: Conv2dOptions,
        return_sequences: bool,
    ) -> ConvLstm2d {
        assert!(options.groups == 1, "ConvLstm2d: it has one group, found {}", options.groups);
        let kernel = kernel.each();
        let var = |name, channels| {
            let shape = [4 * filters, channels, kernel[0], kernel[1]];
            params.var(name, shape, &FanScaled::GLOROT_UNIFORM)
        };
        let (weight_ih, weight_hh) = (var("weight_ih", inputs), var("weight_hh", filters));
        ConvLstm2d { weight_ih, weight_hh, bias: None, options, return_sequences }
    }

    /// The input's part of the gates of all steps, `[batch, steps, 4 · filters, height', width']`.
    fn part(&self, x: &Tensor) -> Tensor {
        let &[batch, steps, channels, height, width] = &x.shape()[..] else { unreachable!() };
        let weight = self.weight_ih.get();
        let kernel = [weight.shape()[2], weight.shape()[3]];
        let frames = x.reshape([batch * steps, channels, height, width]);
        let mut y = frames.conv(&weight, self.options.for_input(kernel, [height, width]));
        if let Some(bias) = &self.bias {
            y = y + bias.get().reshape([weight.shape()[0], 1, 1]);
        }
        y.reshape([&[batch, steps], &y.shape()[1..]].concat())
    }

    /// From the first states `h0` and `c0` `[batch, filters, height', width']`, zeros without them.
    /// Gives the states of all steps, and the last h and c.
    ///
    /// # Panics
    /// If a shape does not fit.
    #[track_caller]
    pub fn with_states(
        &self,
        x: &Tensor,
        h0: Option<&Tensor>,
        c0: Option<&Tensor>,
        cx: &Context,
    ) -> [Tensor; 3] {
        let (inputs, weight) = (self.weight_ih.shape()[1], self.weight_hh.get());
        assert!(
            x.rank() == 5 && x.shape()[2] == inputs && x.shape()[1] > 0,
            "ConvLstm2d: expected [batch, steps, {inputs}, height, width], found {}",
            x.shape()
        );
        let (part, mask, filters) = (self.part(x), cx.mask(x), weight.shape()[1]);
        let (kernel, extents) =
            ([weight.shape()[2], weight.shape()[3]], [part.shape()[3], part.shape()[4]]);
        let around = Conv2dOptions { padding: Padding::Same, ..Conv2dOptions::default() };
        let around = around.for_input(kernel, extents);
        let shape = Shape::from([x.shape()[0], filters, extents[0], extents[1]]);
        let begin = |given: Option<&Tensor>| match given {
            Some(state) => state.clone(),
            None => Tensor::full(&shape, 0.0, x.dtype()),
        };
        let (mut h, mut c, mut states) = (begin(h0), begin(c0), Vec::new());
        for step in 0..x.shape()[1] {
            let sums = part.slice(1, step, step + 1).squeeze(1) + h.conv(&weight, around);
            let gate = |i: usize| sums.slice(1, i * filters, (i + 1) * filters);
            let new = gate(1).sigmoid() * &c + gate(0).sigmoid() * gate(2).tanh();
            let shown = gate(3).sigmoid() * new.tanh();
            [h, c] = match &mask {
                None => [shown, new],
                Some(mask) => {
                    let exists = mask.slice(1, step, step + 1).reshape([shape[0], 1, 1, 1]);
                    [exists.select(&shown, &h), exists.select(&new, &c)]
                }
            };
            states.push(h.clone());
        }
        [zero_where_masked(Tensor::stack(&states, 1), mask.as_ref()), h, c]
    }
}

impl Layer for ConvLstm2d {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        let [states, h, _] = self.with_states(x, None, None, cx);
        if self.return_sequences { states } else { h }
    }
}

fn options(args: &Args) -> Conv2dOptions {
    Conv2dOptions {
        stride: per_axis(args, "stride"),
        padding: Padding::from_args(args),
        ..Conv2dOptions::default()
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "ConvLSTM2d",
        aliases: &["ConvLstm2d", "ConvLSTM2D"],
        peers: Peers::of("", "layers.ConvLSTM2D"),
        doc: "Long short-term memory over a sequence of images, with convolutions.",
        params: &[
            Param::required("filters", Kind::count(), "channels of the state")
                .alias(&["out_channels"]),
            Words::<2>::KERNEL,
            Words::<2>::STRIDE,
            Words::<2>::PADDING,
            SEQUENCES,
            BIAS,
        ],
    },
    takes_indices: false,
    samples: &[
        Sample::of("filters = 2, kernel = 3, padding = 'same'", &[3, 2, 4, 5]),
        Sample::of(
            "filters = 2, kernel_size = [3, 2], strides = [2, 1], return_sequences = true, \
             use_bias = false",
            &[3, 1, 6, 5],
        ),
    ],
    infer: |args, input| {
        let &[steps, channels, height, width] = input else {
            return Err(Misfit {
                needs: "[steps, channels, height, width]".into(),
                hint: format!("it gets {} axes and needs 4", input.len()),
            });
        };
        if steps == 0 {
            return Err(Misfit { needs: "a step".into(), hint: String::new() });
        }
        let (filters, kernel) = (args.usize("filters"), per_axis::<2>(args, "kernel"));
        let extents = options(args).outputs(kernel, [height, width])?;
        let read = (channels as u128).saturating_add(filters as u128);
        let weights = product(&[4, filters, kernel[0], kernel[1]]).saturating_mul(read);
        let bias = if args.bool("bias") { product(&[4, filters]) } else { 0 };
        let one = [&[filters], &extents[..]].concat();
        let shape = if args.bool("return_sequences") { [&[steps], &one[..]].concat() } else { one };
        let places = product(&[steps, extents[0], extents[1]]);
        Ok(Effect {
            parameters: weights.saturating_add(bias),
            flops: weights.saturating_mul(2).saturating_mul(places),
            kept: places.saturating_mul(product(&[7, filters])),
            ..Effect::cheap(shape, 0, 0)
        })
    },
    make: |args, input, params| {
        let (filters, kernel) = (args.usize("filters"), per_axis::<2>(args, "kernel"));
        let sequences = args.bool("return_sequences");
        let (channels, options) = (input[1], options(args));
        Box::new(match args.bool("bias") {
            true => ConvLstm2d::new(params, channels, filters, kernel, options, sequences),
            false => {
                ConvLstm2d::without_bias(params, channels, filters, kernel, options, sequences)
            }
        })
    },
};
