use super::{Entry, Loss, REDUCTION, Sample, Target, Terms, Values, check_classes, rows};
use crate::layers::Misfit;
use nerve_core::{Shape, Tensor};
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// How much the softmax of the output differs from the target distribution:
/// Σ target · (ln target − ln softmax(output)), over the classes.
///
/// Kullback and Leibler, "On information and sufficiency", 1951. It is the cross-entropy less the
/// entropy of the target: the same gradient, and zero where both agree. For distillation.
///
/// Outputs `[batch, classes, …]` are logits; logarithms of probabilities serve as well, since
/// log-softmax leaves them as they are. Targets are probabilities of the same shape, or their
/// logarithms with `log_target`. A term is the sum over the classes, so the mean is over rows:
/// what PyTorch calls `batchmean` (its `mean` divides by the number of classes, too).
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::losses::{KlDivergence, Loss};
/// let target = Tensor::from_slice(&[0.25f32, 0.75], [1, 2]);
/// let loss = KlDivergence::default().loss(&target.log(), &target);
/// assert!(loss.item::<f32>().abs() < 1e-6);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct KlDivergence {
    /// Whether targets are logarithms of probabilities.
    pub log_target: bool,
}

impl Loss for KlDivergence {
    fn terms(&self, output: &Tensor, target: &Tensor) -> Terms {
        assert!(
            output.rank() >= 2 && output.shape() == target.shape(),
            "kl_divergence: output {} and target {}: both [batch, classes, …]",
            output.shape(),
            target.shape()
        );
        let mut shape = output.shape().to_vec();
        shape.remove(1);
        let (logits, target) = (rows(output), rows(&target.to_dtype(output.dtype())));
        let (p, log) = match self.log_target {
            true => (target.exp(), target),
            // 0 ln 0 is 0: the logarithm of zero is taken nowhere.
            false => (target.clone(), target.gt(0.0).select(&target, &target.full_like(1.0)).log()),
        };
        let terms = (p * (log - logits.log_softmax(1))).sum_axes(&[1], false);
        Terms::new(terms.reshape(Shape::from(shape)))
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        if target.dtype.is_float() {
            return check_classes(output, target, 0);
        }
        Err(Misfit {
            needs: "a probability for each class".into(),
            hint: "for class numbers, take cross_entropy".into(),
        })
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "kl_divergence",
        aliases: &["KLDivergence", "KLDivLoss", "kl_div"],
        peers: Peers::of("nn.KLDivLoss", "losses.KLDivergence"),
        doc: "How much the softmax of the output differs from a target distribution.",
        params: &[
            Param::with_default(
                "log_target",
                Kind::Bool,
                Value::Bool(false),
                "whether targets are logarithms of probabilities",
            ),
            REDUCTION,
        ],
    },
    build: |args| Box::new(KlDivergence { log_target: args.bool("log_target") }),
    across: false,
    samples: &[
        Sample::of("", Values::Real(&[4]), Values::Shares(&[4])),
        Sample::of("", Values::Real(&[4, 3]), Values::Shares(&[4, 3])),
        Sample::of("log_target = true", Values::Real(&[4]), Values::Real(&[4])),
    ],
};
