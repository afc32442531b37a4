use super::{Entry, Metric};
use nerve_core::{DType, Tensor};
use nerve_formats::spec::{Param, Peers, Spec};
use nerve_nn::layers::Misfit;
use nerve_nn::losses::{self, Loss, Target};

/// A loss that is reported but not minimised, for instance the mean absolute error of a network
/// that minimises the squared one. The mean is over the terms of all batches, weighted by what each
/// counts, whatever the reduction of the loss is.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::losses::Huber;
/// use nerve_train::metrics::{LossMetric, measure};
/// let huber = LossMetric { name: "huber".into(), loss: Box::new(Huber::default()) };
/// assert_eq!(measure(&huber, &Tensor::ones([4]), &Tensor::zeros([4])), 0.5);
/// ```
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

    /// The sum of the terms, and what they count: the mean is that over all examples, however
    /// they are cut into batches.
    fn observe(&self, output: &Tensor, target: &Tensor) -> Tensor {
        let terms = self.loss.terms(output, target);
        let values = terms.values().to_dtype(DType::F64);
        let count = match terms.weights() {
            None => values.full_like(1.0).sum(),
            Some(weights) => weights.to_dtype(DType::F64).sum(),
        };
        Tensor::stack(&[values.sum(), count], 0)
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
