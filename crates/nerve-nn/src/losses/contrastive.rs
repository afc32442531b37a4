use super::{
    Entry, Loss, REDUCTION, Sample, Target, Terms, Values, check_embeddings, distance, distances,
    relations,
};
use crate::layers::Misfit;
use nerve_core::Tensor;
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// Pairs that belong together are to be near, others at least a margin apart: ½ d² for the former,
/// ½ max(0, margin − d)² for the latter.
///
/// Hadsell, Chopra and LeCun, "Dimensionality reduction by learning an invariant mapping", 2006,
/// with its halves. d is Euclid's distance of the difference plus 10⁻⁶.
///
/// As a loss of a network, outputs are embeddings `[batch, features]`, targets class indices
/// `[batch]`, and each pair of the batch counts once. Where the pairs are known, use
/// [`of`](Contrastive::of).
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::losses::Contrastive;
/// let (a, b) = (Tensor::zeros([2, 1]), Tensor::full([2, 1], 0.5, nerve_core::DType::F32));
/// let same = Tensor::from_slice(&[1, 0], [2]);
/// let terms = Contrastive::default().of(&a, &b, &same);
/// let values = terms.values().to_vec::<f32>();
/// assert!(values.iter().all(|v| (v - 0.125).abs() < 1e-5));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contrastive {
    /// How far pairs that do not belong together are to be apart.
    pub margin: f64,
}

impl Default for Contrastive {
    /// A margin of 1.
    fn default() -> Self {
        Contrastive { margin: 1.0 }
    }
}

impl Contrastive {
    /// Of pairs `[batch, features]`, and 1 (or any number above 0) for each that belongs together,
    /// else 0 `[batch]`.
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[track_caller]
    pub fn of(&self, a: &Tensor, b: &Tensor, same: &Tensor) -> Terms {
        assert!(
            a.shape() == b.shape() && a.shape().split_last().map(|s| s.1) == Some(same.shape()),
            "contrastive: {}, {} and {}: pairs [batch, features], and [batch]",
            a.shape(),
            b.shape(),
            same.shape()
        );
        Terms::new(self.pairs(&distance(a, b, 2.0), &same.gt(0)))
    }

    fn pairs(&self, d: &Tensor, same: &Tensor) -> Tensor {
        same.select(d, &(self.margin - d).relu()).square() * 0.5
    }
}

impl Loss for Contrastive {
    fn terms(&self, output: &Tensor, target: &Tensor) -> Terms {
        let (same, _) = relations("contrastive", output, target);
        let shape = same.shape();
        let once = Tensor::iota(shape, 0).lt(Tensor::iota(shape, 1));
        let terms = self.pairs(&distances(output, 2.0), &same);
        Terms::counted(once.select(&terms, &terms.zeros_like()), once.to_dtype(output.dtype()))
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        check_embeddings(output, target)
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "contrastive",
        aliases: &["Contrastive", "ContrastiveLoss"],
        peers: Peers::NONE,
        doc: "Embeddings of one class are to be near, others at least a margin apart.",
        params: &[
            Param::with_default(
                "margin",
                Kind::positive(),
                Value::Float(1.0),
                "how far embeddings of different classes are to be apart",
            ),
            REDUCTION,
        ],
    },
    build: |args| Box::new(Contrastive { margin: args.float("margin") }),
    across: true,
    samples: &[Sample::of("margin = 2.5", Values::Real(&[4]), Values::Classes(&[], 2))],
};
