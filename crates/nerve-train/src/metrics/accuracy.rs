use super::{Decision, Entry, Kept, Metric, Seen, check_classes, expect_classes};
use crate::metrics::decision::{FROM_LOGITS, THRESHOLD};
use nerve_core::{DType, Tensor};
use nerve_formats::spec::{Peers, Spec};
use nerve_nn::layers::Misfit;
use nerve_nn::losses::Target;

/// The share of examples whose most likely class is the right one. Of several equally likely ones
/// the first counts.
///
/// Output `[batch, classes]` or `[batch, classes, …]`, target class indices. Of pixels it is the
/// pixel accuracy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accuracy;

impl Metric for Accuracy {
    fn name(&self) -> String {
        "accuracy".into()
    }

    fn observe(&self, output: &Tensor, target: &Tensor) -> Tensor {
        expect_classes(output, target);
        output.argmax(1, false).eq(target.to_dtype(DType::I32)).to_dtype(DType::F64).sum()
    }

    fn add(&self, seen: &Seen<'_>, kept: &mut Kept) {
        kept.add(&[seen.values[0], seen.count()]);
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        check_classes(output, target)
    }
}

/// The share of answers of yes or no that are right.
///
/// One output for each target, or for each class; how outputs are read: [`Decision`].
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_train::metrics::{BinaryAccuracy, measure};
/// let (logits, target) = (Tensor::from_slice(&[2.0f32, 1.0], [2]), Tensor::from_slice(&[1, 0], [2]));
/// assert_eq!(measure(&BinaryAccuracy::default(), &logits, &target), 0.5);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BinaryAccuracy {
    /// How outputs are read.
    pub decision: Decision,
}

impl Metric for BinaryAccuracy {
    fn name(&self) -> String {
        "binary_accuracy".into()
    }

    fn observe(&self, output: &Tensor, target: &Tensor) -> Tensor {
        self.decision.confusion(output, target)
    }

    fn value(&self, kept: &Kept) -> f64 {
        let right: f64 = kept.sums.iter().step_by(kept.sums.len().isqrt() + 1).sum();
        right / kept.sums.iter().sum::<f64>()
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        self.decision.check(output, target)
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "accuracy",
        aliases: &["acc", "Accuracy", "SparseCategoricalAccuracy", "pixel_accuracy"],
        peers: Peers::of("", "metrics.SparseCategoricalAccuracy"),
        doc: "The share of examples whose most likely class is the right one.",
        params: &[],
    },
    build: |_| Box::new(Accuracy),
};

pub(super) static BINARY: Entry = Entry {
    spec: Spec {
        name: "binary_accuracy",
        aliases: &["BinaryAccuracy"],
        peers: Peers::of("", "metrics.BinaryAccuracy"),
        doc: "The share of answers of yes or no that are right.",
        params: &[THRESHOLD, FROM_LOGITS],
    },
    build: |args| Box::new(BinaryAccuracy { decision: Decision::of(args) }),
};
