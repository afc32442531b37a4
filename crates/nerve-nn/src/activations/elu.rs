use crate::context::Context;
use crate::layers::{Entry, Layer};
use nerve_core::Tensor;
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// x where positive, α (eˣ − 1) elsewhere: the exponential linear unit.
///
/// Clevert, Unterthiner & Hochreiter, "Fast and accurate deep network learning by exponential
/// linear units (ELUs)", 2015.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Elu {
    /// What very negative inputs come to, negated.
    pub alpha: f64,
}

impl Default for Elu {
    /// α = 1.
    fn default() -> Self {
        Elu { alpha: 1.0 }
    }
}

impl Layer for Elu {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        // The branch not taken must stay finite, or its gradient, zero times infinity, is NaN.
        x.gt(0.0).select(x, &(x.minimum(0.0).expm1() * self.alpha))
    }
}

static PARAMS: [Param; 1] = [Param::with_default(
    "alpha",
    Kind::positive(),
    Value::Float(1.0),
    "what very negative inputs come to, negated",
)];

pub(super) static ENTRY: Entry = Entry::activation(
    Spec {
        name: "elu",
        aliases: &["ELU", "Elu"],
        peers: Peers::of("nn.ELU", "activations.elu"),
        doc: "x where positive, alpha (exp(x) - 1) elsewhere",
        params: &PARAMS,
    },
    |args, _, _| Box::new(Elu { alpha: args.float("alpha") }),
);
