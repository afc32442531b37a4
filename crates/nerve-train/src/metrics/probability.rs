//! Metrics of probabilities: how likely the right answers were, and whether they came as often.

use super::decision::{Answers, FROM_LOGITS, IGNORE_INDEX};
use super::{Decision, Entry, Kept, Metric};
use nerve_core::{DType, Tensor};
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};
use nerve_nn::layers::Misfit;
use nerve_nn::losses::Target;

/// Minus the logarithm of the probability of the right answer, the mean over all targets; or e to
/// the power of that, the perplexity: among how many equally likely words the network chooses.
///
/// In f64 whatever the network computes in. How outputs are read: [`Decision`].
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_train::metrics::{LogLoss, measure};
/// let perplexity = LogLoss { exponential: true, ..LogLoss::default() };
/// let target = Tensor::from_slice(&[1], [1]);
/// let value = measure(&perplexity, &Tensor::zeros([1, 8]), &target);
/// assert!((value - 8.0).abs() < 1e-12);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LogLoss {
    /// Whether it is the perplexity.
    pub exponential: bool,
    /// How outputs are read.
    pub decision: Decision,
}

impl Metric for LogLoss {
    fn name(&self) -> String {
        if self.exponential { "perplexity".into() } else { "log_loss".into() }
    }

    fn observe(&self, output: &Tensor, target: &Tensor) -> Tensor {
        let (surprise, counts) = self.decision.surprise(output, target);
        Tensor::stack(&[surprise.sum(), counts.sum()], 0)
    }

    fn value(&self, kept: &Kept) -> f64 {
        if self.exponential { kept.mean().exp() } else { kept.mean() }
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        self.decision.check(output, target)
    }
}

/// The mean squared difference of the probabilities from the truth: (p − t)² for yes or no and for
/// two classes, Σ (p − t)² over the classes for more, as in scikit-learn.
///
/// Brier, "Verification of forecasts expressed in terms of probability", 1950. How outputs are
/// read: [`Decision`].
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_train::metrics::{Brier, measure};
/// let target = Tensor::from_slice(&[1], [1]);
/// assert_eq!(measure(&Brier::default(), &Tensor::zeros([1]), &target), 0.25);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Brier {
    /// How outputs are read.
    pub decision: Decision,
}

impl Brier {
    /// The squared difference of each answer, f64 `[n]`.
    #[track_caller]
    pub(crate) fn terms(&self, output: &Tensor, target: &Tensor) -> Tensor {
        match self.decision.probabilities(output, target) {
            Answers::YesNo(p, t) => (p - t).square(),
            Answers::Classes(p, index) => {
                let t = Tensor::iota(p.shape(), 1).eq(index.unsqueeze(1)).to_dtype(DType::F64);
                let half = if p.shape()[1] == 2 { 0.5 } else { 1.0 };
                (p - t).square().sum_axes(&[1], false) * half
            }
        }
    }
}

impl Metric for Brier {
    fn name(&self) -> String {
        "brier".into()
    }

    fn observe(&self, output: &Tensor, target: &Tensor) -> Tensor {
        let squares = self.terms(output, target);
        Tensor::stack(&[squares.sum(), squares.full_like(1.0).sum()], 0)
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        self.decision.check(output, target)
    }
}

/// The expected calibration error: how far the confidence of an answer is from how often it is
/// right, Σ nᵦ / n |accuracyᵦ − confidenceᵦ| over bins of equal width.
///
/// Guo et al., "On calibration of modern neural networks", 2017. The confidence is the probability
/// of the answer that was given, for yes or no max(p, 1 − p); a confidence on the border of two
/// bins belongs to the lower one. How outputs are read: [`Decision`].
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_train::metrics::{Calibration, measure};
/// // Right each time, but never sure.
/// let target = Tensor::from_slice(&[0, 0], [2]);
/// assert_eq!(measure(&Calibration::default(), &Tensor::zeros([2, 2]), &target), 0.5);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    /// How many bins there are between 0 and 1.
    pub bins: usize,
    /// How outputs are read.
    pub decision: Decision,
}

impl Default for Calibration {
    /// 15 bins.
    fn default() -> Self {
        Calibration { bins: 15, decision: Decision::default() }
    }
}

impl Calibration {
    /// The confidence of each answer, whether it is right (0 or 1), and its bin: f64 `[n]` each.
    #[track_caller]
    pub(crate) fn terms(&self, output: &Tensor, target: &Tensor) -> (Tensor, Tensor, Tensor) {
        let (confidence, right) = match self.decision.probabilities(output, target) {
            Answers::YesNo(p, t) => {
                let right = p.gt(0.5).logical_xor(t.gt(0.5)).logical_not();
                (p.maximum(1.0 - &p), right)
            }
            Answers::Classes(p, index) => (p.max_axes(&[1], false), p.argmax(1, false).eq(&index)),
        };
        let last = self.bins as f64 - 1.0;
        let bin = ((&confidence * self.bins as f64).ceil() - 1.0).clamp(0.0, last);
        (confidence, right.to_dtype(DType::F64), bin)
    }
}

impl Metric for Calibration {
    fn name(&self) -> String {
        "calibration_error".into()
    }

    fn observe(&self, output: &Tensor, target: &Tensor) -> Tensor {
        let (confidence, right, bin) = self.terms(output, target);
        let n = bin.numel();
        let counted = Tensor::iota([n, self.bins], 1).to_dtype(DType::F64);
        let inside = counted.eq(bin.unsqueeze(1)).to_dtype(DType::F64);
        let sum = |x: Tensor| (x.unsqueeze(1) * &inside).sum_axes(&[0], false);
        // Of each bin the difference, and how many: both are sums over all batches.
        Tensor::concat(&[sum(right - &confidence), sum(confidence.full_like(1.0))], 0)
    }

    fn value(&self, kept: &Kept) -> f64 {
        let (gaps, counts) = kept.sums.split_at(kept.sums.len() / 2);
        gaps.iter().map(|gap| gap.abs()).sum::<f64>() / counts.iter().sum::<f64>()
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        self.decision.check(output, target)
    }
}

pub(super) static ENTRIES: [Entry; 4] = [
    Entry {
        spec: Spec {
            name: "log_loss",
            aliases: &["LogLoss", "nll"],
            peers: Peers::of("", "metrics.SparseCategoricalCrossentropy"),
            doc: "Minus the logarithm of the probability of the right answer.",
            params: &[FROM_LOGITS, IGNORE_INDEX],
        },
        build: |args| Box::new(LogLoss { exponential: false, decision: Decision::of(args) }),
    },
    Entry {
        spec: Spec {
            name: "perplexity",
            aliases: &["Perplexity"],
            peers: Peers::NONE,
            doc: "Among how many equally likely classes the network chooses.",
            params: &[FROM_LOGITS, IGNORE_INDEX],
        },
        build: |args| Box::new(LogLoss { exponential: true, decision: Decision::of(args) }),
    },
    Entry {
        spec: Spec {
            name: "brier",
            aliases: &["Brier", "brier_score"],
            peers: Peers::NONE,
            doc: "The mean squared difference of the probabilities from the truth.",
            params: &[FROM_LOGITS],
        },
        build: |args| Box::new(Brier { decision: Decision::of(args) }),
    },
    Entry {
        spec: Spec {
            name: "calibration_error",
            aliases: &["ece", "ECE", "CalibrationError"],
            peers: Peers::NONE,
            doc: "How far the confidence of answers is from how often they are right.",
            params: &[
                Param::with_default("bins", Kind::int(1, 10_000), Value::Int(15), "how many bins"),
                FROM_LOGITS,
            ],
        },
        build: |args| {
            Box::new(Calibration { bins: args.usize("bins"), decision: Decision::of(args) })
        },
    },
];
