use super::{Entry, Loss, REDUCTION, Sample, Target, Terms, Values, check_like, like};
use crate::layers::Misfit;
use nerve_core::Tensor;
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};
use std::f64::consts::TAU;

/// Minus the logarithm of the probability of a count under a Poisson distribution, without the term
/// ln target!, which does not depend on the network: eˣ − target · x for outputs x = ln rate.
///
/// For counts: visits, defects, photons. Without `log_input` the output is the rate itself, which
/// should come out of a softplus: rate − target · ln(rate + eps). Outputs and targets have one
/// shape. eˣ overflows for outputs above 88 in f32: such a rate is an error of the network.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::losses::{Loss, PoissonNll};
/// let (output, target) = (Tensor::zeros([1]), Tensor::ones([1]));
/// assert_eq!(PoissonNll::default().loss(&output, &target).item::<f32>(), 1.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PoissonNll {
    /// Whether outputs are logarithms of rates.
    pub log_input: bool,
    /// Whether ln target! is added, by the approximation of Stirling, for targets above 1.
    pub full: bool,
    /// Added to a rate before its logarithm is taken.
    pub eps: f64,
}

impl Default for PoissonNll {
    /// Of logarithms of rates, without the constant term.
    fn default() -> Self {
        PoissonNll { log_input: true, full: false, eps: 1e-8 }
    }
}

impl Loss for PoissonNll {
    fn terms(&self, output: &Tensor, target: &Tensor) -> Terms {
        let target = like("poisson_nll", output, target);
        let mut loss = match self.log_input {
            true => output.exp() - &target * output,
            false => output - &target * (output + self.eps).log(),
        };
        if self.full {
            // The logarithm of a target of zero is taken nowhere.
            let count = target.maximum(1.0);
            let stirling = &count * count.log() - &count + (&count * TAU).log() * 0.5;
            loss = loss + target.gt(1.0).select(&stirling, &target.zeros_like());
        }
        Terms::new(loss)
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        check_like(output, target)
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "poisson_nll",
        aliases: &["poisson", "Poisson", "PoissonNLLLoss"],
        peers: Peers::of("nn.PoissonNLLLoss", "losses.Poisson"),
        doc: "Minus the logarithm of the probability of a count under a Poisson distribution.",
        params: &[
            Param::with_default(
                "log_input",
                Kind::Bool,
                Value::Bool(true),
                "whether outputs are logarithms of rates, or rates (as in Keras)",
            ),
            Param::with_default(
                "full",
                Kind::Bool,
                Value::Bool(false),
                "whether the term that does not depend on the output is added",
            ),
            Param::with_default(
                "eps",
                Kind::positive(),
                Value::Float(1e-8),
                "added to a rate before its logarithm is taken",
            ),
            REDUCTION,
        ],
    },
    build: |args| {
        Box::new(PoissonNll {
            log_input: args.bool("log_input"),
            full: args.bool("full"),
            eps: args.float("eps"),
        })
    },
    across: false,
    samples: &[
        Sample::of("", Values::Real(&[3]), Values::Positive(&[3])),
        Sample::of(
            "log_input = false, full = true",
            Values::Positive(&[3]),
            Values::Positive(&[3]),
        ),
    ],
};
