use super::{Entry, Metric};
use nerve_core::{DType, Tensor};
use nerve_formats::spec::{Param, Peers, Spec};
use nerve_nn::layers::Misfit;
use nerve_nn::losses::{self, Loss, Target};

/// A loss that is reported but not minimised, for instance the mean absolute error of a network
/// that minimises the squared one.
pub struct LossMetric {
    /// Its name in tables.
    pub name: String,
    /// The loss.
    pub loss: Box<dyn Loss>,
}

impl Metric for LossMetric {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn sum(&self, output: &Tensor, target: &Tensor) -> Tensor {
        self.loss.loss(output, target).to_dtype(DType::F32) * output.shape()[0] as f64
    }

    /// Examples: a loss is a mean over each batch.
    fn count(&self, target: &[usize]) -> usize {
        target[0]
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        self.loss.check(output, target)
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "loss",
        aliases: &["Loss"],
        peers: Peers::NONE,
        doc: "Another loss than the one that is minimised.",
        params: &[Param::required("loss", losses::KIND, "which one")],
    },
    build: |args| {
        let item = args.item("loss");
        Box::new(LossMetric { name: item.name.into(), loss: losses::build(item) })
    },
};
