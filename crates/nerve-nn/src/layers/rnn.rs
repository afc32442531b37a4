use super::recurrent::{self, Cell, Output, RecurrentOptions, Stack};
use super::{BIAS, Entry, Layer, Sample};
use crate::context::Context;
use crate::params::Params;
use nerve_core::Tensor;
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

/// A simple recurrent network: h = tanh(W_ih x + b_ih + W_hh h + b_hh) at each step, or the
/// positive part of that sum.
///
/// Elman, "Finding structure in time", 1990.
///
/// Input `[batch, steps, inputs]`; output `[batch, units]`, the last state of the last layer, or
/// `[batch, steps, units]`; in two directions twice as many, or as [`Merge`](super::Merge) says.
/// Steps that a mask of x denies ([`Context`]) are passed over in both directions: the last state is
/// that of the last step that exists, and the output of a step that does not is zero, as of a packed
/// sequence in PyTorch and with `zero_output_for_mask` in Keras. The sequence is then gathered
/// once at either end, and once more for each walk backward.
///
/// Parameters, for layer 0:
/// `weight_ih_l0` `[units, inputs]`, `weight_hh_l0` `[units, units]`, `bias_ih_l0` and
/// `bias_hh_l0` `[units]`, and the same with `_reverse`.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, Params, layers::{RecurrentOptions, Rnn}};
/// let options = RecurrentOptions { bidirectional: true, ..RecurrentOptions::default() };
/// let rnn = Rnn::new(&Params::new(42).at("rnn"), 8, 16, false, options);
/// assert_eq!(**rnn.forward(&Tensor::ones([4, 10, 8]), &Context::eval()).shape(), [4, 32]);
/// ```
pub struct Rnn {
    stack: Stack,
}

impl Rnn {
    /// With all values uniform in ±1/√`units`, as in PyTorch; the positive part instead of the
    /// hyperbolic tangent if `relu`.
    ///
    /// # Panics
    /// If there are no layers.
    #[track_caller]
    pub fn new(
        params: &Params,
        inputs: usize,
        units: usize,
        relu: bool,
        options: RecurrentOptions,
    ) -> Rnn {
        Rnn { stack: Stack::new(params, ("RNN", Cell::Rnn { relu }), [inputs, units], options) }
    }

    /// As [`Gru::with_states`](super::Gru::with_states).
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[track_caller]
    pub fn with_states(&self, x: &Tensor, h0: Option<&Tensor>, cx: &Context) -> [Tensor; 2] {
        let Output { states, h, .. } =
            self.stack.run(x, [h0, None], (cx.mask(x).as_ref(), true), cx);
        [states, h]
    }
}

impl Layer for Rnn {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        self.stack.forward(x, cx.mask(x).as_ref(), cx)
    }
}

fn cell(args: &Args) -> Cell {
    Cell::Rnn { relu: args.text("nonlinearity") == "relu" }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "RNN",
        aliases: &["Rnn", "rnn", "SimpleRNN"],
        peers: Peers::of("nn.RNN", "layers.SimpleRNN"),
        doc: "Simple recurrent network over the steps of a sequence.",
        params: &[
            recurrent::UNITS,
            Param::with_default(
                "nonlinearity",
                Kind::Choice(&["tanh", "relu"]),
                Value::text("tanh"),
                "the function of each sum",
            )
            .alias(&["activation"]),
            recurrent::SEQUENCES,
            recurrent::LAYERS,
            recurrent::BIDIRECTIONAL,
            recurrent::MERGE,
            recurrent::DROPOUT,
            BIAS,
        ],
    },
    takes_indices: false,
    samples: &[
        Sample::of("units = 4, return_sequences = true", &[5, 3]),
        Sample::of("units = 4, nonlinearity = 'relu', layers = 2", &[5, 3]),
        Sample::of("units = 3, bidirectional = true, merge_mode = 'sum', layers = 2", &[4, 2]),
    ],
    infer: |args, input| recurrent::infer(cell(args), args, input),
    make: |args, input, params| {
        Box::new(Rnn { stack: recurrent::make(("RNN", cell(args)), args, input, params) })
    },
};
