use super::{Entry, Loss, REDUCTION, Sample, Target, Terms, Values, check_like, like};
use crate::layers::Misfit;
use nerve_core::Tensor;
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

/// How much an output falls short of the right side of a margin: max(0, margin − y · output), or
/// its square, for y = 1 (yes) and y = −1 (no).
///
/// The loss of support vector machines: Cortes and Vapnik, "Support-vector networks", 1995. Targets
/// above zero are yes, others no, so that 0 and 1 serve as well as −1 and 1. Outputs and targets
/// have one shape. For several classes see [`MultiMargin`](super::MultiMargin).
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::losses::{Hinge, Loss};
/// let output = Tensor::from_slice(&[0.5f32, 0.5, 2.0], [3]);
/// let target = Tensor::from_slice(&[1.0f32, 0.0, 1.0], [3]);
/// let terms = Hinge::default().terms(&output, &target);
/// assert_eq!(terms.values().to_vec::<f32>(), [0.5, 1.5, 0.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hinge {
    /// What an output is to reach.
    pub margin: f64,
    /// Whether the shortfall is squared.
    pub squared: bool,
}

impl Default for Hinge {
    /// A margin of 1, not squared.
    fn default() -> Self {
        Hinge { margin: 1.0, squared: false }
    }
}

impl Loss for Hinge {
    fn terms(&self, output: &Tensor, target: &Tensor) -> Terms {
        let yes = like("hinge", output, target).gt(0.0);
        let short = (self.margin - yes.select(output, &-output)).relu();
        Terms::new(if self.squared { short.square() } else { short })
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        check_like(output, target)
    }
}

static PARAMS: [Param; 2] = [
    Param::with_default(
        "margin",
        Kind::positive(),
        Value::Float(1.0),
        "what an output is to reach on its side",
    ),
    REDUCTION,
];

fn make(args: &Args, squared: bool) -> Box<dyn Loss> {
    Box::new(Hinge { margin: args.float("margin"), squared })
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "hinge",
        aliases: &["Hinge"],
        peers: Peers::of("", "losses.Hinge"),
        doc: "How much an output falls short of the right side of a margin.",
        params: &PARAMS,
    },
    build: |args| make(args, false),
    across: false,
    samples: &[
        Sample::of("", Values::Real(&[3]), Values::Signs(&[3])),
        Sample::of("margin = 0.5", Values::Real(&[3]), Values::Bits(&[3])),
    ],
};

pub(super) static SQUARED: Entry = Entry {
    spec: Spec {
        name: "squared_hinge",
        aliases: &["SquaredHinge"],
        peers: Peers::of("", "losses.SquaredHinge"),
        doc: "The square of how much an output falls short of the right side of a margin.",
        params: &PARAMS,
    },
    build: |args| make(args, true),
    across: false,
    samples: &[Sample::of("", Values::Real(&[3]), Values::Signs(&[3]))],
};
