use super::{Entry, Loss, REDUCTION, Sample, Target, Terms, Values, check_like, like};
use crate::layers::Misfit;
use nerve_core::Tensor;
use nerve_formats::spec::{Peers, Spec};

/// The mean squared difference: mean (output − target)².
///
/// Legendre, "Nouvelles méthodes pour la détermination des orbites des comètes", 1805.
///
/// Outputs and targets have one shape.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::losses::{Loss, Mse};
/// let output = Tensor::from_slice(&[1.0f32, 2.0], [2, 1]);
/// let target = Tensor::from_slice(&[2.0f32, 5.0], [2, 1]);
/// assert_eq!(Mse.loss(&output, &target).item::<f32>(), 5.0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mse;

impl Loss for Mse {
    fn terms(&self, output: &Tensor, target: &Tensor) -> Terms {
        Terms::new((output - like("mse", output, target)).square())
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        check_like(output, target)
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "mse",
        aliases: &["MSE", "mean_squared_error", "MSELoss", "MeanSquaredError", "l2"],
        peers: Peers::of("nn.MSELoss", "losses.MeanSquaredError"),
        doc: "The mean squared difference.",
        params: &[REDUCTION],
    },
    build: |_| Box::new(Mse),
    across: false,
    samples: &[
        Sample::of("", Values::Real(&[3]), Values::Real(&[3])),
        Sample::of("reduction = 'sum'", Values::Real(&[2, 1]), Values::Real(&[2])),
    ],
};
