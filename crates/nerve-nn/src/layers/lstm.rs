use super::recurrent::{self, Cell, Output, RecurrentOptions, Stack};
use super::{Entry, Layer, Sample};
use crate::context::Context;
use crate::params::Params;
use nerve_core::Tensor;
use nerve_formats::spec::{Peers, Spec};

/// Long short-term memory: a recurrent layer whose gates decide what to keep, what to forget and
/// what to show. The formulas are at [`Tensor::lstm`].
///
/// Hochreiter & Schmidhuber, "Long short-term memory", 1997; Gers, Schmidhuber & Cummins, "Learning
/// to forget", 2000.
///
/// Input `[batch, steps, inputs]`; output `[batch, units]`, the last state of the last layer, or
/// `[batch, steps, units]`; in two directions twice as many, or as [`Merge`](super::Merge) says.
/// Steps that a mask of x denies ([`Context`]) are passed over in both directions: the last state is
/// that of the last step that exists, and the output of a step that does not is zero, as of a packed
/// sequence in PyTorch and with `zero_output_for_mask` in Keras. The sequence is then gathered
/// once at either end, and once more for each walk backward.
///
/// Parameters, for layer 0:
/// `weight_ih_l0` `[4 · units, inputs]`, `weight_hh_l0` `[4 · units, units]`, `bias_ih_l0` and
/// `bias_hh_l0` `[4 · units]`, gates in the order i, f, g, o, and the same with `_reverse`.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, Params, layers::{Lstm, RecurrentOptions}};
/// let lstm = Lstm::new(&Params::new(42).at("lstm"), 8, 16, RecurrentOptions::default());
/// assert_eq!(**lstm.forward(&Tensor::ones([4, 10, 8]), &Context::eval()).shape(), [4, 16]);
/// ```
pub struct Lstm {
    stack: Stack,
}

impl Lstm {
    /// With all values uniform in ±1/√`units`, as in PyTorch.
    ///
    /// # Panics
    /// If there are no layers.
    #[track_caller]
    pub fn new(params: &Params, inputs: usize, units: usize, options: RecurrentOptions) -> Lstm {
        Lstm { stack: Stack::new(params, ("LSTM", Cell::Lstm), [inputs, units], options) }
    }

    /// How many layers lie upon each other, times directions.
    pub(crate) fn layers(&self) -> usize {
        self.stack.count()
    }

    /// From the first states `h0` and `c0`, `[layers · directions, batch, units]`, zeros without
    /// them. Gives the states of all steps of the last layer `[batch, steps, directions · units]`,
    /// and the last h and c of all layers and directions, in the order of PyTorch.
    ///
    /// Steps that a mask of `x` denies are passed over.
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[track_caller]
    pub fn with_states(
        &self,
        x: &Tensor,
        h0: Option<&Tensor>,
        c0: Option<&Tensor>,
        cx: &Context,
    ) -> [Tensor; 3] {
        let Output { states, h, c } = self.stack.run(x, [h0, c0], (cx.mask(x).as_ref(), true), cx);
        [states, h, c.expect("an LSTM has a cell state")]
    }
}

impl Layer for Lstm {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        self.stack.forward(x, cx.mask(x).as_ref(), cx)
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "LSTM",
        aliases: &["Lstm", "lstm"],
        peers: Peers::of("nn.LSTM", "layers.LSTM"),
        doc: "Long short-term memory over the steps of a sequence.",
        params: &recurrent::PARAMS,
    },
    takes_indices: false,
    samples: &[
        Sample::of("units = 4", &[5, 3]),
        Sample::of(
            "hidden_size = 3, num_layers = 2, bidirectional = true, \
             dropout = 0.25, return_sequences = true",
            &[4, 2],
        ),
    ],
    infer: |args, input| recurrent::infer(Cell::Lstm, args, input),
    make: |args, input, params| {
        Box::new(Lstm { stack: recurrent::make(("LSTM", Cell::Lstm), args, input, params) })
    },
};
