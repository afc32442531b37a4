use crate::context::Context;
use crate::layers::{Entry, Layer};
use nerve_core::Tensor;
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// x − ln Σ eˣ along an axis: the logarithm of [`Softmax`](super::Softmax), without overflow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogSoftmax {
    /// The axis, negative ones counted from the end.
    pub axis: isize,
}

impl Default for LogSoftmax {
    /// Along the last axis.
    fn default() -> Self {
        LogSoftmax { axis: -1 }
    }
}

impl Layer for LogSoftmax {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        x.log_softmax(self.axis)
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
        name: "log_softmax",
        aliases: &["LogSoftmax"],
        peers: Peers::of("nn.LogSoftmax", "activations.log_softmax"),
        doc: "the logarithm of softmax",
        params: &PARAMS,
    },
    |args, _, _| Box::new(LogSoftmax { axis: args.int("axis") as isize }),
);
