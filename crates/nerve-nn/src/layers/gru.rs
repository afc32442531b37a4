use super::recurrent::{self, Cell, Output, RecurrentOptions, Stack};
use super::{Entry, Layer, Sample};
use crate::context::Context;
use crate::params::Params;
use nerve_core::Tensor;
use nerve_formats::spec::{Peers, Spec};

/// Gated recurrent unit: a recurrent layer with one gate that mixes the old state with the new one
/// and one that resets the old. The formulas are at [`Tensor::gru`].
///
/// Cho et al., "Learning phrase representations using RNN encoder-decoder", 2014.
///
/// Input `[batch, steps, inputs]`; output `[batch, units]`, the last state of the last layer, or
/// `[batch, steps, units]`; in two directions twice as many, or as [`Merge`](super::Merge) says.
/// Steps that a mask of x denies ([`Context`]) are passed over in both directions: the last state is
/// that of the last step that exists, and the output of a step that does not is zero, as of a packed
/// sequence in PyTorch and with `zero_output_for_mask` in Keras. The sequence is then gathered
/// once at either end, and once more for each walk backward.
///
/// Parameters, for layer 0:
/// `weight_ih_l0` `[3 · units, inputs]`, `weight_hh_l0` `[3 · units, units]`, `bias_ih_l0` and
/// `bias_hh_l0` `[3 · units]`, gates in the order r, z, n, and the same with `_reverse`.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, Params, layers::{Gru, RecurrentOptions}};
/// let options = RecurrentOptions { return_sequences: true, ..RecurrentOptions::default() };
/// let gru = Gru::new(&Params::new(42).at("gru"), 8, 16, options);
/// assert_eq!(**gru.forward(&Tensor::ones([4, 10, 8]), &Context::eval()).shape(), [4, 10, 16]);
/// ```
pub struct Gru {
    stack: Stack,
}

impl Gru {
    /// With all values uniform in ±1/√`units`, as in PyTorch.
    ///
    /// # Panics
    /// If there are no layers.
    #[track_caller]
    pub fn new(params: &Params, inputs: usize, units: usize, options: RecurrentOptions) -> Gru {
        Gru { stack: Stack::new(params, ("GRU", Cell::Gru), [inputs, units], options) }
    }

    /// From the first states `h0` `[layers · directions, batch, units]`, zeros without them. Gives
    /// the states of all steps of the last layer `[batch, steps, directions · units]`, and the last
    /// ones of all layers and directions, in the order of PyTorch. Steps that a mask of `x` denies
    /// are passed over.
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

impl Layer for Gru {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        self.stack.forward(x, cx.mask(x).as_ref(), cx)
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "GRU",
        aliases: &["Gru", "gru"],
        peers: Peers::of("nn.GRU", "layers.GRU"),
        doc: "Gated recurrent unit over the steps of a sequence.",
        params: &recurrent::PARAMS,
    },
    takes_indices: false,
    samples: &[
        Sample::of("units = 4, bidirectional = true", &[5, 3]),
        Sample::of("units = 2, use_bias = false", &[3, 3]),
        Sample::of("units = 2, bidirectional = true, merge = 'ave'", &[3, 3]),
    ],
    infer: |args, input| recurrent::infer(Cell::Gru, args, input),
    make: |args, input, params| {
        Box::new(Gru { stack: recurrent::make(("GRU", Cell::Gru), args, input, params) })
    },
};
