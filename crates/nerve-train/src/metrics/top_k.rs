use super::{Entry, Kept, Metric, Seen, check_classes, rank};
use nerve_core::{DType, Tensor};
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};
use nerve_nn::layers::Misfit;
use nerve_nn::losses::Target;

/// The share of examples whose right class is among the `k` most likely ones. Of several equally
/// likely ones the first count.
///
/// Output `[batch, classes]` or `[batch, classes, …]`, target class indices.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_train::metrics::{TopK, measure};
/// let output = Tensor::from_slice(&[3.0f32, 2.0, 1.0], [1, 3]);
/// assert_eq!(measure(&TopK { k: 2 }, &output, &Tensor::from_slice(&[1], [1])), 1.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopK {
    /// How many classes count.
    pub k: usize,
}

impl Metric for TopK {
    fn name(&self) -> String {
        format!("top_{}_accuracy", self.k)
    }

    fn observe(&self, output: &Tensor, target: &Tensor) -> Tensor {
        rank(output, target).lt(self.k as f64 - 0.5).to_dtype(DType::F64).sum()
    }

    fn add(&self, seen: &Seen<'_>, kept: &mut Kept) {
        kept.add(&[seen.values[0], seen.count()]);
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        check_classes(output, target)
    }
}

static PARAMS: [Param; 1] =
    [Param::with_default("k", Kind::int(1, 1 << 20), Value::Int(5), "how many classes count")];

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "top_k",
        aliases: &["top_k_accuracy", "TopK", "TopKCategoricalAccuracy"],
        peers: Peers::of("", "metrics.SparseTopKCategoricalAccuracy"),
        doc: "The share of examples whose right class is among the k most likely ones.",
        params: &PARAMS,
    },
    build: |args| Box::new(TopK { k: args.usize("k") }),
};
