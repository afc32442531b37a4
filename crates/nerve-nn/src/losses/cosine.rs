use super::{Entry, Loss, REDUCTION, Sample, Target, Terms, Values, check_like};
use crate::layers::Misfit;
use nerve_core::Tensor;
use nerve_formats::spec::{Peers, Spec};

/// One minus the cosine of the angle between output and target, along the last axis.
///
/// 0 for the same direction, 2 for the opposite one; lengths do not count. (Keras reports −cos,
/// which has the same gradient.) A vector of zeros has the cosine 0 with every other.
///
/// Outputs and targets have one shape `[batch, …, features]`; a term for each vector. For pairs
/// that are to be near or far, see [`of`](CosineDistance::of).
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::losses::{CosineDistance, Loss};
/// let output = Tensor::from_slice(&[3.0f32, 0.0, 1.0, 0.0], [2, 2]);
/// let target = Tensor::from_slice(&[1.0f32, 0.0, 0.0, 5.0], [2, 2]);
/// let terms = CosineDistance::default().terms(&output, &target);
/// assert_eq!(terms.values().to_vec::<f32>(), [0.0, 1.0]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CosineDistance {
    /// The cosine from which on a pair that should be far counts, in [`of`](CosineDistance::of).
    pub margin: f64,
}

/// The cosine along the last axis. What is added to the squared lengths keeps gradients finite.
fn cosine(a: &Tensor, b: &Tensor) -> Tensor {
    let inverse = |x: &Tensor| (x.square().sum_axes(&[-1], false) + 1e-12).rsqrt();
    (a * b).sum_axes(&[-1], false) * inverse(a) * inverse(b)
}

impl CosineDistance {
    /// For pairs of vectors `[batch, …, features]`: 1 − cos where `sign` is above zero, and
    /// max(0, cos − margin) where it is not. PyTorch's `CosineEmbeddingLoss`. `sign` has the
    /// shape without the last axis.
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[track_caller]
    pub fn of(&self, a: &Tensor, b: &Tensor, sign: &Tensor) -> Terms {
        assert!(a.shape() == b.shape(), "cosine: {} and {}", a.shape(), b.shape());
        let cos = cosine(a, b);
        assert!(cos.shape() == sign.shape(), "cosine: one sign for each pair {}", cos.shape());
        Terms::new(sign.gt(0).select(&(1.0 - &cos), &(&cos - self.margin).relu()))
    }
}

impl Loss for CosineDistance {
    fn terms(&self, output: &Tensor, target: &Tensor) -> Terms {
        assert!(
            output.rank() >= 2 && output.shape() == target.shape(),
            "cosine: output {} and target {}: both [batch, …, features]",
            output.shape(),
            target.shape()
        );
        Terms::new(1.0 - cosine(output, &target.to_dtype(output.dtype())))
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        match output.is_empty() || *target.shape != *output {
            false => Ok(()),
            true => check_like(output, target).and(Err(Misfit {
                needs: "vectors as outputs and targets".into(),
                hint: String::new(),
            })),
        }
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "cosine",
        aliases: &["cosine_similarity", "CosineSimilarity", "CosineEmbeddingLoss"],
        peers: Peers::of("nn.CosineEmbeddingLoss", "losses.CosineSimilarity"),
        doc: "One minus the cosine of the angle between output and target.",
        params: &[REDUCTION],
    },
    build: |_| Box::new(CosineDistance::default()),
    across: false,
    samples: &[
        Sample::of("", Values::Real(&[4]), Values::Real(&[4])),
        Sample::of("", Values::Real(&[3, 4]), Values::Real(&[3, 4])),
    ],
};
