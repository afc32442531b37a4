use super::{Entry, Loss, REDUCTION, Sample, Target, Terms, Values, check_like, like};
use crate::layers::Misfit;
use nerve_core::Tensor;
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// Half the squared difference where it is small, a multiple of the difference where it is large:
/// ½ d² for |d| ≤ δ, else δ (|d| − ½ δ), with d = output − target.
///
/// Huber, "Robust estimation of a location parameter", 1964. The slope is that of the squared
/// difference near zero and never more than δ, so that outliers do not lead. Outputs and targets
/// have one shape. Compare [`SmoothL1`], which is this divided by δ.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::losses::{Huber, Loss};
/// let output = Tensor::from_slice(&[0.5f32, 3.0], [2]);
/// let terms = Huber { delta: 1.0 }.terms(&output, &Tensor::zeros([2]));
/// assert_eq!(terms.values().to_vec::<f32>(), [0.125, 2.5]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Huber {
    /// Where the square ends: δ > 0.
    pub delta: f64,
}

impl Default for Huber {
    /// δ = 1.
    fn default() -> Self {
        Huber { delta: 1.0 }
    }
}

impl Loss for Huber {
    fn terms(&self, output: &Tensor, target: &Tensor) -> Terms {
        let size = (output - like("huber", output, target)).abs();
        // The part inside δ, and the part beyond: both branches in one, without a comparison.
        let inside = size.minimum(self.delta);
        let beyond = (&size - self.delta).maximum(0.0);
        Terms::new(inside.square() * 0.5 + beyond * self.delta)
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        check_like(output, target)
    }
}

/// The absolute difference with its corner rounded off: ½ d² / β for |d| < β, else |d| − ½ β, with
/// d = output − target.
///
/// Girshick, "Fast R-CNN", 2015. For β → 0 it becomes the absolute difference; it is [`Huber`] with
/// δ = β, divided by β. Outputs and targets have one shape.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::losses::{Loss, SmoothL1};
/// let output = Tensor::from_slice(&[0.5f32, 3.0], [2]);
/// let terms = SmoothL1 { beta: 2.0 }.terms(&output, &Tensor::zeros([2]));
/// assert_eq!(terms.values().to_vec::<f32>(), [0.0625, 2.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SmoothL1 {
    /// Where the square ends: β > 0.
    pub beta: f64,
}

impl Default for SmoothL1 {
    /// β = 1.
    fn default() -> Self {
        SmoothL1 { beta: 1.0 }
    }
}

impl Loss for SmoothL1 {
    fn terms(&self, output: &Tensor, target: &Tensor) -> Terms {
        let huber = Huber { delta: self.beta }.terms(output, target);
        Terms::new(huber.values() * self.beta.recip())
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        check_like(output, target)
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "huber",
        aliases: &["Huber", "HuberLoss"],
        peers: Peers::of("nn.HuberLoss", "losses.Huber"),
        doc: "The squared difference where it is small, the absolute one where it is large.",
        params: &[
            Param::with_default(
                "delta",
                Kind::positive(),
                Value::Float(1.0),
                "the difference at which the square ends",
            ),
            REDUCTION,
        ],
    },
    build: |args| Box::new(Huber { delta: args.float("delta") }),
    across: false,
    samples: &[
        Sample::of("", Values::Real(&[3]), Values::Real(&[3])),
        Sample::of("delta = 0.3", Values::Real(&[3]), Values::Real(&[3])),
    ],
};

pub(super) static SMOOTH_L1: Entry = Entry {
    spec: Spec {
        name: "smooth_l1",
        aliases: &["SmoothL1", "SmoothL1Loss"],
        peers: Peers::of("nn.SmoothL1Loss", ""),
        doc: "The absolute difference with its corner rounded off.",
        params: &[
            Param::with_default(
                "beta",
                Kind::positive(),
                Value::Float(1.0),
                "the difference at which the square ends",
            ),
            REDUCTION,
        ],
    },
    build: |args| Box::new(SmoothL1 { beta: args.float("beta") }),
    across: false,
    samples: &[Sample::of("beta = 0.5", Values::Real(&[3]), Values::Real(&[3]))],
};
