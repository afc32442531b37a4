use super::{Entry, Loss, REDUCTION, Sample, Target, Terms, Values, check_like, like};
use crate::layers::Misfit;
use nerve_core::{DType, Tensor};
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// Sigmoid, then minus the logarithm of the probability of the right answer:
/// −(w t ln σ(x) + (1 − t) ln(1 − σ(x))), the mean over all values.
///
/// Computed as softplus(x) − t x, which cannot overflow. The network has no sigmoid of its own.
/// Outputs and targets have one shape; targets are 0, 1 or probabilities.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::losses::{BinaryCrossEntropyWithLogits, Loss};
/// let output = Tensor::from_slice(&[0.0f32, 200.0], [2, 1]);
/// let target = Tensor::from_slice(&[1.0f32, 1.0], [2, 1]);
/// let loss = BinaryCrossEntropyWithLogits::default().loss(&output, &target);
/// assert!((loss.item::<f32>() - 2f32.ln() / 2.0).abs() < 1e-6);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BinaryCrossEntropyWithLogits {
    /// What a yes costs: w above. One for all, or one for each value of axis 1 (the first axis of
    /// an example); empty: 1. It does not count in the mean, as in PyTorch.
    pub positive_weight: Vec<f64>,
    /// The share ε of the targets that is spread: t becomes t (1 − ε) + ε / 2.
    pub label_smoothing: f64,
}

impl Loss for BinaryCrossEntropyWithLogits {
    fn terms(&self, output: &Tensor, target: &Tensor) -> Terms {
        let mut target = like("binary_cross_entropy_with_logits", output, target);
        if self.label_smoothing > 0.0 {
            target = target * (1.0 - self.label_smoothing) + 0.5 * self.label_smoothing;
        }
        if self.positive_weight.is_empty() {
            return Terms::new(output.softplus() - target * output);
        }
        let (n, rank) = (self.positive_weight.len(), output.rank());
        assert!(
            n == 1 || output.shape().get(1) == Some(&n),
            "binary_cross_entropy_with_logits: {n} positive weights for outputs {}",
            output.shape()
        );
        let shape: Vec<usize> = (0..rank).map(|axis| if axis == 1 { n } else { 1 }).collect();
        let weight = match n {
            1 => Tensor::scalar(self.positive_weight[0]),
            _ => Tensor::from_slice(&self.positive_weight, shape),
        };
        let weight = weight.to_dtype(output.dtype());
        let no = (1.0 - &target) * output.softplus();
        Terms::new(target * weight * (-output).softplus() + no)
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        check_like(output, target)?;
        match self.positive_weight.len() {
            n if n > 1 && output.first() != Some(&n) => Err(Misfit {
                needs: format!("one positive weight for each of {output:?}"),
                hint: format!("there are {n}"),
            }),
            _ => Ok(()),
        }
    }
}

/// Minus the logarithm of the probability of the right answer: −(t ln p + (1 − t) ln(1 − p)), the
/// mean over all values.
///
/// For networks that end with a sigmoid. Logarithms below −100 count as −100, as in PyTorch, so
/// that a probability of 0 gives a finite loss. [`BinaryCrossEntropyWithLogits`] is more exact.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::losses::{BinaryCrossEntropy, Loss};
/// let (p, target) = (Tensor::from_slice(&[0.5f32], [1]), Tensor::ones([1]));
/// assert!((BinaryCrossEntropy.loss(&p, &target).item::<f32>() - 2f32.ln()).abs() < 1e-6);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BinaryCrossEntropy;

impl Loss for BinaryCrossEntropy {
    fn terms(&self, output: &Tensor, target: &Tensor) -> Terms {
        let target = like("binary_cross_entropy", output, target);
        // Below this a logarithm counts as −100 and has no gradient, instead of an infinite one. f32
        // ends before e⁻¹⁰⁰ does.
        let least = match output.dtype() {
            DType::F64 => (-100f64).exp(),
            _ => f64::from(f32::MIN_POSITIVE),
        };
        let log = |p: Tensor| {
            let log = p.maximum(least).log();
            p.gt(least).select(&log, &log.full_like(-100.0))
        };
        let (yes, no) = (log(output.clone()), log(1.0 - output));
        Terms::new(-(&target * &yes + (1.0 - &target) * no))
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        check_like(output, target)
    }
}

static WEIGHT: Kind = Kind::positive();

pub(super) static WITH_LOGITS: Entry = Entry {
    spec: Spec {
        name: "binary_cross_entropy_with_logits",
        aliases: &["bce_with_logits", "BCEWithLogitsLoss", "sigmoid_cross_entropy"],
        peers: Peers::of("nn.BCEWithLogitsLoss", "losses.BinaryCrossentropy(from_logits=True)"),
        doc: "Sigmoid, then minus the logarithm of the probability of the right answer.",
        params: &[
            Param::with_default(
                "positive_weight",
                Kind::List { of: &WEIGHT, min_len: 0, max_len: 1 << 24 },
                Value::list(&[]),
                "what a yes costs: one for all, or one for each output; empty: 1",
            )
            .alias(&["pos_weight"]),
            Param::with_default(
                "label_smoothing",
                Kind::fraction(),
                Value::Float(0.0),
                "the share of the target that is spread over both answers",
            ),
            REDUCTION,
        ],
    },
    build: |args| {
        Box::new(BinaryCrossEntropyWithLogits {
            positive_weight: args.floats("positive_weight"),
            label_smoothing: args.float("label_smoothing"),
        })
    },
    across: false,
    samples: &[
        Sample::of("", Values::Real(&[3]), Values::Unit(&[3])),
        Sample::of(
            "positive_weight = [3], label_smoothing = 0.2",
            Values::Real(&[1]),
            Values::Bits(&[]),
        ),
        Sample::of("positive_weight = [3, 0.5]", Values::Real(&[2, 4]), Values::Bits(&[2, 4])),
    ],
};

pub(super) static OF_PROBABILITIES: Entry = Entry {
    spec: Spec {
        name: "binary_cross_entropy",
        aliases: &["bce", "BCELoss", "BinaryCrossentropy"],
        peers: Peers::of("nn.BCELoss", "losses.BinaryCrossentropy"),
        doc: "Minus the logarithm of the probability of the right answer, after a sigmoid.",
        params: &[REDUCTION],
    },
    build: |_| Box::new(BinaryCrossEntropy),
    across: false,
    samples: &[Sample::of("", Values::Unit(&[3]), Values::Unit(&[3]))],
};
