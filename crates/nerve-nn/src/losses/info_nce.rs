use super::{Entry, Loss, REDUCTION, Sample, Target, Terms, Values, check_embeddings, relations};
use crate::layers::Misfit;
use nerve_core::Tensor;
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// Which of the others belongs to this one, as a classification: the cross-entropy of the cosines
/// divided by a temperature.
///
/// van den Oord et al., "Representation learning with contrastive predictive coding", 2018
/// ([`of`](InfoNce::of)); Chen et al., "A simple framework for contrastive learning of visual
/// representations", 2020 ([`nt_xent`](InfoNce::nt_xent)); Khosla et al., "Supervised contrastive
/// learning", 2020: as a loss of a network, outputs are embeddings `[batch, features]`, targets
/// class indices `[batch]`, and a term is the mean over all others of the same class of
/// −ln softmax over all others. Examples alone in their class do not count. With each class twice
/// in the batch it is NT-Xent.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::losses::InfoNce;
/// let views = Tensor::eye(2);
/// let loss = InfoNce { temperature: 1.0 }.of(&views, &views).mean().item::<f32>();
/// assert!((loss - (1.0 + (-1f32).exp()).ln()).abs() < 1e-6);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InfoNce {
    /// What the cosines are divided by: the smaller, the more the nearest ones count.
    pub temperature: f64,
}

impl Default for InfoNce {
    /// A temperature of 0.1.
    fn default() -> Self {
        InfoNce { temperature: 0.1 }
    }
}

/// Lies below every cosine over every temperature.
const NEVER: f64 = -1e30;

impl InfoNce {
    /// Of queries and keys `[batch, features]`: the key in the same row belongs to a query, the
    /// others do not. A term for each query. CLIP takes the mean of this and of it with queries
    /// and keys exchanged.
    ///
    /// # Panics
    /// If the shapes differ.
    #[track_caller]
    pub fn of(&self, queries: &Tensor, keys: &Tensor) -> Terms {
        assert!(
            queries.rank() == 2 && queries.shape() == keys.shape(),
            "info_nce: queries {} and keys {}: both [batch, features]",
            queries.shape(),
            keys.shape()
        );
        let rows = Tensor::arange(queries.shape()[0]);
        Terms::new(self.logits(queries, keys).cross_entropy(&rows, None))
    }

    /// Of two views of each example, `[batch, features]` both: each of the 2 · batch views is to
    /// find the other view of its example among all others. A term for each view.
    ///
    /// # Panics
    /// If the shapes differ.
    #[track_caller]
    pub fn nt_xent(&self, a: &Tensor, b: &Tensor) -> Terms {
        assert!(a.shape() == b.shape(), "nt_xent: views {} and {}", a.shape(), b.shape());
        let example = Tensor::arange(a.shape()[0]);
        let both = Tensor::concat(&[a.clone(), b.clone()], 0);
        self.terms(&both, &Tensor::concat(&[example.clone(), example], 0))
    }

    fn logits(&self, a: &Tensor, b: &Tensor) -> Tensor {
        let unit = |x: &Tensor| x.normalize(2.0, 1, 1e-8);
        unit(a).matmul(&unit(b).t()) * self.temperature.recip()
    }
}

impl Loss for InfoNce {
    fn terms(&self, output: &Tensor, target: &Tensor) -> Terms {
        let (same, _) = relations("info_nce", output, target);
        let logits = self.logits(output, output);
        let own = Tensor::iota(logits.shape(), 0).eq(Tensor::iota(logits.shape(), 1));
        let log = own.select(&logits.full_like(NEVER), &logits).log_softmax(1);
        let total = same.select(&log, &log.zeros_like()).sum_axes(&[1], false);
        let count = same.to_dtype(log.dtype()).sum_axes(&[1], false);
        let some = count.gt(0.0).to_dtype(log.dtype());
        Terms::counted(-total / count.maximum(1.0), some)
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        check_embeddings(output, target)
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "info_nce",
        aliases: &["InfoNCE", "nt_xent", "supervised_contrastive"],
        peers: Peers::NONE,
        doc: "An embedding is to find those of its class among all others of the batch.",
        params: &[
            Param::with_default(
                "temperature",
                Kind::positive(),
                Value::Float(0.1),
                "what the cosines are divided by",
            ),
            REDUCTION,
        ],
    },
    build: |args| Box::new(InfoNce { temperature: args.float("temperature") }),
    across: true,
    samples: &[Sample::of("temperature = 0.5", Values::Real(&[4]), Values::Classes(&[], 2))],
};
