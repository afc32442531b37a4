use super::{Entry, Loss, REDUCTION, Sample, Target, Terms, Values, check_like, like};
use crate::layers::Misfit;
use nerve_core::Tensor;
use nerve_formats::spec::{Peers, Spec};

/// The mean absolute difference as percentages of the targets: 100 |output − target| / |target|.
///
/// A target below 10⁻⁷ counts as 10⁻⁷, as in Keras; targets near zero make it large. Outputs and
/// targets have one shape.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::losses::{Loss, Mape};
/// let (output, target) = (Tensor::full([2], 3.0, nerve_core::DType::F32), Tensor::ones([2]));
/// assert_eq!(Mape.loss(&output, &target).item::<f32>(), 200.0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mape;

impl Loss for Mape {
    fn terms(&self, output: &Tensor, target: &Tensor) -> Terms {
        let target = like("mape", output, target);
        Terms::new((output - &target).abs() / target.abs().maximum(1e-7) * 100.0)
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        check_like(output, target)
    }
}

/// The squared difference of logarithms: (ln(1 + output) − ln(1 + target))².
///
/// For targets that range over orders of magnitude. Outputs and targets below zero count as zero,
/// as in Keras: an output there has no gradient, so the last layer should end with a softplus.
/// Outputs and targets have one shape.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::losses::{Loss, Msle};
/// let loss = Msle.loss(&Tensor::ones([2]), &Tensor::zeros([2])).item::<f32>();
/// assert!((loss - 2f32.ln().powi(2)).abs() < 1e-6);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Msle;

impl Loss for Msle {
    fn terms(&self, output: &Tensor, target: &Tensor) -> Terms {
        let target = like("msle", output, target);
        let log = |x: &Tensor| x.maximum(0.0).log1p();
        Terms::new((log(output) - log(&target)).square())
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        check_like(output, target)
    }
}

pub(super) static MAPE: Entry = Entry {
    spec: Spec {
        name: "mape",
        aliases: &["MAPE", "mean_absolute_percentage_error", "MeanAbsolutePercentageError"],
        peers: Peers::of("", "losses.MeanAbsolutePercentageError"),
        doc: "The mean absolute difference as percentages of the targets.",
        params: &[REDUCTION],
    },
    build: |_| Box::new(Mape),
    across: false,
    samples: &[Sample::of("", Values::Real(&[3]), Values::Positive(&[3]))],
};

pub(super) static MSLE: Entry = Entry {
    spec: Spec {
        name: "msle",
        aliases: &["MSLE", "mean_squared_logarithmic_error", "MeanSquaredLogarithmicError"],
        peers: Peers::of("", "losses.MeanSquaredLogarithmicError"),
        doc: "The squared difference of the logarithms of outputs and targets, each plus one.",
        params: &[REDUCTION],
    },
    build: |_| Box::new(Msle),
    across: false,
    samples: &[Sample::of("", Values::Positive(&[3]), Values::Positive(&[3]))],
};
