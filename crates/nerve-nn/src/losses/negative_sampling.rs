use super::{Entry, Loss, REDUCTION, Sample, Target, Terms, Values, check_classes, indices, rows};
use crate::layers::Misfit;
use nerve_core::Tensor;
use nerve_formats::spec::{Peers, Spec};

/// Of a few candidates one is the true one: −ln σ(score) for it, −ln σ(−score) for each other, and
/// the sum of these.
///
/// Mikolov et al., "Distributed representations of words and phrases and their compositionality",
/// 2013: a softmax over a large vocabulary is replaced by yes or no for the true word and for some
/// that were drawn at random. Drawing them is the matter of whoever makes the batches.
///
/// As a loss of a network, outputs are scores of the candidates `[batch, candidates, …]`, targets
/// the index of the true one. From embeddings, use [`of`](NegativeSampling::of).
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::losses::{Loss, NegativeSampling};
/// let scores = Tensor::zeros([1, 3]);
/// let loss = NegativeSampling.loss(&scores, &Tensor::from_slice(&[0], [1]));
/// assert!((loss.item::<f32>() - 3.0 * 2f32.ln()).abs() < 1e-6);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NegativeSampling;

impl NegativeSampling {
    /// Of centres and their true contexts `[batch, features]`, and false ones
    /// `[batch, k, features]`. A term for each centre.
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[track_caller]
    pub fn of(&self, centre: &Tensor, context: &Tensor, negatives: &Tensor) -> Terms {
        let (c, n) = (centre.shape(), negatives.shape());
        assert!(
            c.rank() == 2 && c == context.shape() && n.rank() == 3 && [n[0], n[2]] == c[..],
            "negative_sampling: centres {c}, contexts {} and negatives {n}: expected [batch, \
             features] twice and [batch, k, features]",
            context.shape()
        );
        let score = (centre * context).sum_axes(&[1], false);
        let others = (centre.unsqueeze(1) * negatives).sum_axes(&[2], false);
        Terms::new((-score).softplus() + others.softplus().sum_axes(&[1], false))
    }
}

impl Loss for NegativeSampling {
    fn terms(&self, output: &Tensor, target: &Tensor) -> Terms {
        let index = indices("negative_sampling", output, target);
        let scores = rows(output);
        let is_true = Tensor::iota(scores.shape(), 1).eq(index.reshape([index.numel(), 1]));
        let terms = is_true.select(&-&scores, &scores).softplus().sum_axes(&[1], false);
        Terms::new(terms.reshape(index.shape()))
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        check_classes(output, target, 0)
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "negative_sampling",
        aliases: &["NegativeSampling", "sgns"],
        peers: Peers::NONE,
        doc: "Yes or no for the true one of a few candidates, and for each of the others.",
        params: &[REDUCTION],
    },
    build: |_| Box::new(NegativeSampling),
    across: false,
    samples: &[Sample::of("", Values::Real(&[5]), Values::Classes(&[], 5))],
};
