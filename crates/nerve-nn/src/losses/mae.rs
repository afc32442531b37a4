use super::{Entry, Loss, REDUCTION, Sample, Target, Terms, Values, check_like, like};
use crate::layers::Misfit;
use nerve_core::Tensor;
use nerve_formats::spec::{Peers, Spec};

/// The mean absolute difference: mean |output − target|; less led by outliers than the squared one.
///
/// Outputs and targets have one shape.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::losses::{Loss, Mae};
/// let output = Tensor::from_slice(&[1.0f32, 2.0], [2, 1]);
/// let target = Tensor::from_slice(&[2.0f32, 5.0], [2, 1]);
/// assert_eq!(Mae.loss(&output, &target).item::<f32>(), 2.0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mae;

impl Loss for Mae {
    fn terms(&self, output: &Tensor, target: &Tensor) -> Terms {
        Terms::new((output - like("mae", output, target)).abs())
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        check_like(output, target)
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "mae",
        aliases: &["MAE", "mean_absolute_error", "L1Loss", "MeanAbsoluteError", "l1"],
        peers: Peers::of("nn.L1Loss", "losses.MeanAbsoluteError"),
        doc: "The mean absolute difference.",
        params: &[REDUCTION],
    },
    build: |_| Box::new(Mae),
    across: false,
    samples: &[Sample::of("", Values::Real(&[3]), Values::Real(&[3]))],
};
