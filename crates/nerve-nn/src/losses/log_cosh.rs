use super::{Entry, Loss, REDUCTION, Sample, Target, Terms, Values, check_like, like};
use crate::layers::Misfit;
use nerve_core::Tensor;
use nerve_formats::spec::{Peers, Spec};
use std::f64::consts::LN_2;

/// The logarithm of the hyperbolic cosine of the difference: ln cosh(output − target).
///
/// About ½ d² near zero and |d| − ln 2 far away: like [`Huber`](super::Huber), with all derivatives
/// continuous. Computed as d + ln(1 + e⁻²ᵈ) − ln 2, which cannot overflow. Outputs and targets have
/// one shape.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::losses::{LogCosh, Loss};
/// let output = Tensor::from_slice(&[0.0f32, -1000.0], [2]);
/// let terms = LogCosh.terms(&output, &Tensor::zeros([2]));
/// assert_eq!(terms.values().to_vec::<f32>(), [0.0, 1000.0 - 2f32.ln()]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LogCosh;

impl Loss for LogCosh {
    fn terms(&self, output: &Tensor, target: &Tensor) -> Terms {
        let difference = output - like("log_cosh", output, target);
        Terms::new((&difference * -2.0).softplus() + difference - LN_2)
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        check_like(output, target)
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "log_cosh",
        aliases: &["LogCosh", "logcosh"],
        peers: Peers::of("", "losses.LogCosh"),
        doc: "The logarithm of the hyperbolic cosine of the difference.",
        params: &[REDUCTION],
    },
    build: |_| Box::new(LogCosh),
    across: false,
    samples: &[Sample::of("", Values::Real(&[3]), Values::Real(&[3]))],
};
