use super::{Entry, Loss, REDUCTION, Sample, Target, Terms, Values};
use crate::layers::Misfit;
use nerve_core::{Shape, Tensor};
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};
use std::f64::consts::TAU;

/// Minus the logarithm of the density of the target under a normal distribution whose mean and
/// variance the network gives: ½ (ln σ² + (target − μ)² / σ²).
///
/// Nix and Weigend, "Estimating the mean and variance of the target probability distribution", 1994.
///
/// As a loss of a network, outputs have a last axis of 2: the mean and the logarithm of the
/// variance, which needs no positive activation. Targets have the shape of the outputs without that
/// axis. Where the variance is a tensor of its own, use [`of`](GaussianNll::of).
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::losses::{GaussianNll, Loss};
/// let output = Tensor::from_slice(&[1.0f32, 0.0], [1, 2]);
/// let loss = GaussianNll::default().loss(&output, &Tensor::from_slice(&[3.0f32], [1]));
/// assert_eq!(loss.item::<f32>(), 2.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GaussianNll {
    /// Whether the constant ½ ln 2π is added.
    pub full: bool,
    /// The least variance: smaller ones count as this.
    pub eps: f64,
}

impl Default for GaussianNll {
    /// Without the constant, with variances of at least 10⁻⁶.
    fn default() -> Self {
        GaussianNll { full: false, eps: 1e-6 }
    }
}

impl GaussianNll {
    /// Of means, targets and variances of one shape.
    ///
    /// # Panics
    /// If the shapes differ.
    #[track_caller]
    pub fn of(&self, mean: &Tensor, target: &Tensor, variance: &Tensor) -> Terms {
        assert!(
            mean.shape() == target.shape() && mean.shape() == variance.shape(),
            "gaussian_nll: mean {}, target {} and variance {}: one shape",
            mean.shape(),
            target.shape(),
            variance.shape()
        );
        let variance = variance.maximum(self.eps);
        self.density((target - mean).square() / &variance, &variance.log())
    }

    fn density(&self, distance: Tensor, log_variance: &Tensor) -> Terms {
        let constant = if self.full { TAU.ln() } else { 0.0 };
        Terms::new((distance + log_variance + constant) * 0.5)
    }
}

impl Loss for GaussianNll {
    fn terms(&self, output: &Tensor, target: &Tensor) -> Terms {
        let (o, t) = (output.shape(), target.shape());
        assert!(
            o.strip_suffix(&[2]) == Some(&t[..]),
            "gaussian_nll: output {o} and target {t}: mean and ln variance on a last axis of 2"
        );
        let part = |at| output.slice(-1, at, at + 1).reshape(t);
        let log_variance = part(1).maximum(self.eps.ln());
        let difference = target.to_dtype(output.dtype()) - part(0);
        self.density(difference.square() * (-&log_variance).exp(), &log_variance)
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        match output.strip_suffix(&[2]) == Some(&*target.shape) {
            true => Ok(()),
            false => Err(Misfit {
                needs: Shape::from([&target.shape[..], &[2]].concat()).to_string(),
                hint: "mean and logarithm of the variance, on a last axis".into(),
            }),
        }
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "gaussian_nll",
        aliases: &["GaussianNll", "GaussianNLLLoss"],
        peers: Peers::of("nn.GaussianNLLLoss", ""),
        doc: "Minus the logarithm of a normal density whose mean and variance the network gives.",
        params: &[
            Param::with_default(
                "full",
                Kind::Bool,
                Value::Bool(false),
                "whether the constant ½ ln 2π is added",
            ),
            Param::with_default("eps", Kind::positive(), Value::Float(1e-6), "the least variance"),
            REDUCTION,
        ],
    },
    build: |args| Box::new(GaussianNll { full: args.bool("full"), eps: args.float("eps") }),
    across: false,
    samples: &[
        Sample::of("", Values::Real(&[2]), Values::Real(&[])),
        Sample::of("full = true", Values::Real(&[3, 2]), Values::Real(&[3])),
    ],
};
