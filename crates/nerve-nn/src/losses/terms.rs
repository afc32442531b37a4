//! What a loss gives for each example or element, and how that becomes one number.

use super::{Loss, Target};
use crate::layers::Misfit;
use nerve_core::{DType, Shape, Tensor};

/// How the terms of a loss become its value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reduction {
    /// They stay as they are.
    None,
    /// The mean, weighted by what each term counts: Σ wᵢ ℓᵢ / Σ wᵢ.
    #[default]
    Mean,
    /// Their sum: Σ wᵢ ℓᵢ.
    Sum,
}

/// The terms of a loss over a batch: a value for each example, or for each element of each
/// example, and what each counts.
///
/// Weights and masks are one thing here: a factor wᵢ, by which a term enters the sum and with which
/// it is counted in the mean. So the mean is a weighted mean, Σ wᵢ ℓᵢ / Σ wᵢ; that is what PyTorch
/// does with the class weights of a cross-entropy. (Keras divides sums with sample weights by the
/// number of examples. Use [`sum`](Terms::sum) and divide for that.) Where nothing counts at all,
/// the mean is 0 and has no gradient; in PyTorch it is NaN.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::losses::{Loss, Mse};
/// let output = Tensor::from_slice(&[1.0f32, 2.0, 3.0], [3]);
/// let terms = Mse.terms(&output, &Tensor::zeros([3]));
/// assert_eq!(terms.values().to_vec::<f32>(), [1.0, 4.0, 9.0]);
/// assert_eq!(terms.sum().item::<f32>(), 14.0);
/// let weights = Tensor::from_slice(&[1.0f32, 3.0, 0.0], [3]);
/// assert_eq!(terms.weighted(&weights).mean().item::<f32>(), (1.0 + 3.0 * 4.0) / 4.0);
/// ```
#[derive(Clone, Debug)]
pub struct Terms {
    values: Tensor,
    weights: Option<Tensor>,
}

impl Terms {
    /// Terms that all count 1. The first axis is the batch.
    pub fn new(values: Tensor) -> Terms {
        Terms { values, weights: None }
    }

    /// Terms that are multiplied with their weights already, and the weights, of the same shape.
    ///
    /// # Panics
    /// If the shapes differ.
    #[track_caller]
    pub fn counted(values: Tensor, weights: Tensor) -> Terms {
        assert!(
            values.shape() == weights.shape(),
            "terms {} and weights {}: one weight for each term",
            values.shape(),
            weights.shape()
        );
        Terms { values, weights: Some(weights) }
    }

    /// The values, multiplied with their weights if they have any.
    pub fn values(&self) -> &Tensor {
        &self.values
    }

    /// What each term counts in the mean, of the shape of the values; `None` if all count 1.
    pub fn weights(&self) -> Option<&Tensor> {
        self.weights.as_ref()
    }

    /// Each term times a weight: one for each example `[batch]`, or one for each term. On top of
    /// the weights that they have. A term of weight 0 does not count, whatever its value is.
    ///
    /// # Panics
    /// If the shape of the weights is neither.
    #[track_caller]
    pub fn weighted(self, weights: &Tensor) -> Terms {
        let weights = self.spread(weights).to_dtype(self.values.dtype());
        // Chosen, not multiplied: zero times infinity is no zero.
        let values = weights.eq(0.0).select(&self.values.zeros_like(), &(&self.values * &weights));
        let weights = match self.weights {
            None => weights,
            Some(known) => known * weights,
        };
        Terms { values, weights: Some(weights) }
    }

    /// Only the terms where `mask` (bool) is true: one truth for each example, or for each term.
    ///
    /// # Panics
    /// If the mask is no bool or its shape is neither.
    #[track_caller]
    pub fn masked(self, mask: &Tensor) -> Terms {
        assert!(mask.dtype() == DType::Bool, "a mask is bool, found {}", mask.dtype());
        self.weighted(mask)
    }

    /// One factor for each example, spread over the terms of the example.
    #[track_caller]
    fn spread(&self, factors: &Tensor) -> Tensor {
        let (terms, given) = (self.values.shape(), factors.shape());
        assert!(
            given == terms || (given.rank() == 1 && terms.first() == given.first()),
            "terms {terms} and weights {given}: one weight for each example or for each term"
        );
        if given == terms {
            return factors.clone();
        }
        let mut shape = vec![1; terms.rank()];
        shape[0] = given[0];
        factors.reshape(shape).broadcast_to(terms)
    }

    /// The same terms in another shape.
    #[track_caller]
    pub(super) fn reshaped(self, shape: &Shape) -> Terms {
        let reshape = |t: Tensor| t.reshape(shape);
        Terms { values: reshape(self.values), weights: self.weights.map(reshape) }
    }

    /// As `reduction` says.
    #[track_caller]
    pub fn reduce(&self, reduction: Reduction) -> Tensor {
        match reduction {
            Reduction::None => self.values.clone(),
            Reduction::Mean => self.mean(),
            Reduction::Sum => self.sum(),
        }
    }

    /// The sum of the values: one number.
    #[track_caller]
    pub fn sum(&self) -> Tensor {
        self.values.sum()
    }

    /// The mean of the values, weighted by what they count: one number.
    #[track_caller]
    pub fn mean(&self) -> Tensor {
        match &self.weights {
            None => self.values.mean(),
            Some(weights) => {
                let count = weights.sum();
                let some = count.eq(0.0).select(&count.full_like(1.0), &count);
                self.values.sum() / some
            }
        }
    }
}

/// A loss whose terms are added, where the mean is usual: `reduction = "sum"` of a recipe.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::losses::{Loss, Mae, Summed};
/// let loss = Summed(Mae).loss(&Tensor::ones([2, 3]), &Tensor::zeros([2, 3]));
/// assert_eq!(loss.item::<f32>(), 6.0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Summed<L>(pub L);

impl<L: Loss> Loss for Summed<L> {
    fn terms(&self, output: &Tensor, target: &Tensor) -> Terms {
        self.0.terms(output, target)
    }

    fn reduce(&self, terms: &Terms) -> Tensor {
        terms.sum()
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        self.0.check(output, target)
    }
}

impl<L: Loss + ?Sized> Loss for &L {
    fn terms(&self, output: &Tensor, target: &Tensor) -> Terms {
        (**self).terms(output, target)
    }

    fn reduce(&self, terms: &Terms) -> Tensor {
        (**self).reduce(terms)
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        (**self).check(output, target)
    }
}

impl Loss for Box<dyn Loss> {
    fn terms(&self, output: &Tensor, target: &Tensor) -> Terms {
        (**self).terms(output, target)
    }

    fn reduce(&self, terms: &Terms) -> Tensor {
        (**self).reduce(terms)
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        (**self).check(output, target)
    }
}

/// The weight of the class of each target (i32), of the shape of `target`.
pub(super) fn by_class(weights: &[f64], target: &Tensor, dtype: DType) -> Tensor {
    let table = Tensor::from_slice(weights, [weights.len()]).to_dtype(dtype);
    let flat = target.reshape([target.numel()]);
    table.index_select(0, &flat).reshape(target.shape())
}
