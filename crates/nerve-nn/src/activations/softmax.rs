use crate::context::Context;
use crate::layers::{Entry, Layer};
use nerve_core::Tensor;
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// eˣ / Σ eˣ along an axis: positive numbers that add up to 1, to be read as probabilities.
///
/// Before a cross-entropy loss it is left out: that loss contains it.
///
/// Bridle, "Probabilistic interpretation of feedforward classification network outputs", 1990.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Softmax {
    /// The axis, negative ones counted from the end.
    pub axis: isize,
}

impl Default for Softmax {
    /// Along the last axis.
    fn default() -> Self {
        Softmax { axis: -1 }
    }
}

impl Layer for Softmax {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        x.softmax(self.axis)
    }
}

static PARAMS: [Param; 1] = [Param::with_default(
    "axis",
    // From the end, so that it is never the axis of the batch.
    Kind::int(-1, -1),
    Value::Int(-1),
    "the axis, counted from the end",
)];

pub(super) static ENTRY: Entry = Entry::activation(
    Spec {
        name: "softmax",
        aliases: &["Softmax"],
        peers: Peers::of("nn.Softmax", "activations.softmax"),
        doc: "exp(x) divided by the sum of exp(x) along the last axis",
        params: &PARAMS,
    },
    |args, _, _| Box::new(Softmax { axis: args.int("axis") as isize }),
);
