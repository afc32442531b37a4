use super::{Entry, Metric, check_classes, expect_classes};
use nerve_core::{DType, Tensor};
use nerve_formats::spec::{Peers, Spec};
use nerve_nn::layers::Misfit;
use nerve_nn::losses::Target;

/// The share of examples whose most likely class is the right one. Of several equally likely ones
/// the first counts.
///
/// Output `[batch, classes]` or `[batch, classes, …]`, target class indices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accuracy;

impl Metric for Accuracy {
    fn name(&self) -> String {
        "accuracy".into()
    }

    fn sum(&self, output: &Tensor, target: &Tensor) -> Tensor {
        expect_classes(output, target);
        output.argmax(1, false).eq(target.to_dtype(DType::I32)).to_dtype(DType::F32).sum()
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        check_classes(output, target)
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "accuracy",
        aliases: &["acc", "Accuracy"],
        peers: Peers::of("", "metrics.Accuracy"),
        doc: "The share of examples whose most likely class is the right one.",
        params: &[],
    },
    build: |_| Box::new(Accuracy),
};
