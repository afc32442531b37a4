use super::{
    Entry, Loss, REDUCTION, Sample, Target, Terms, Values, check_embeddings, distance, distances,
    relations,
};
use crate::layers::Misfit;
use nerve_core::Tensor;
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// Which triplets of a batch count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mining {
    /// Every anchor with every positive and every negative.
    All,
    /// For each anchor the farthest positive and the nearest negative ("batch hard").
    #[default]
    Hardest,
}

/// An anchor is to be nearer to its positive, which is of its class, than to its negative, which is
/// not, by a margin: max(0, d(anchor, positive) − d(anchor, negative) + margin).
///
/// Schroff et al., "FaceNet", 2015; the choice of triplets from a batch is that of Hermans et al.,
/// "In defense of the triplet loss", 2017. d is the p-norm of the difference plus 10⁻⁶, as in
/// PyTorch.
///
/// As a loss of a network, outputs are embeddings `[batch, features]` and targets class indices
/// `[batch]`; the batch must hold several examples of a class, and classes that have no second one
/// give no anchors. `All` looks at batch³ triplets (arithmetic, not memory), and its mean is over
/// all that there are, those without a loss too. Where the triplets are known, use
/// [`of`](TripletMargin::of).
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::losses::TripletMargin;
/// let point = |x: f32| Tensor::from_slice(&[x, 0.0], [1, 2]);
/// let terms = TripletMargin::default().of(&point(0.0), &point(2.0), &point(2.5));
/// assert!((terms.mean().item::<f32>() - 0.5).abs() < 1e-5);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TripletMargin {
    /// By how much the positive is to be nearer.
    pub margin: f64,
    /// The norm: 2 is Euclid's.
    pub p: f64,
    /// Whether the distance of the positive to the negative counts where it is smaller than that
    /// of the anchor, in [`of`](TripletMargin::of). Balntas et al., 2016.
    pub swap: bool,
    /// Which triplets of a batch count.
    pub mining: Mining,
}

impl Default for TripletMargin {
    /// A margin of 1, Euclid's distance, the hardest triplets.
    fn default() -> Self {
        TripletMargin { margin: 1.0, p: 2.0, swap: false, mining: Mining::default() }
    }
}

impl TripletMargin {
    /// Of anchors, positives and negatives `[batch, features]`: a term for each.
    ///
    /// # Panics
    /// If the shapes differ.
    #[track_caller]
    pub fn of(&self, anchor: &Tensor, positive: &Tensor, negative: &Tensor) -> Terms {
        assert!(
            anchor.shape() == positive.shape() && anchor.shape() == negative.shape(),
            "triplet: anchor {}, positive {} and negative {}: one shape",
            anchor.shape(),
            positive.shape(),
            negative.shape()
        );
        let near = distance(anchor, positive, self.p);
        let mut far = distance(anchor, negative, self.p);
        if self.swap {
            far = far.minimum(distance(positive, negative, self.p));
        }
        Terms::new((near - far + self.margin).relu())
    }
}

impl Loss for TripletMargin {
    fn terms(&self, output: &Tensor, target: &Tensor) -> Terms {
        let (same, other) = relations("triplet", output, target);
        let (d, dtype) = (distances(output, self.p), output.dtype());
        if self.mining == Mining::All {
            let terms = (d.unsqueeze(2) - d.unsqueeze(1) + self.margin).relu();
            let exists = same.unsqueeze(2).logical_and(other.unsqueeze(1));
            return Terms::counted(
                exists.select(&terms, &terms.zeros_like()),
                exists.to_dtype(dtype),
            );
        }
        let near = same.select(&d, &d.full_like(-1.0)).max_axes(&[1], false);
        let far = other.select(&d, &d.full_like(1e30)).min_axes(&[1], false);
        let exists = near.ge(0.0).logical_and(far.lt(1e30));
        let terms = (near - far + self.margin).relu();
        Terms::counted(exists.select(&terms, &terms.zeros_like()), exists.to_dtype(dtype))
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        check_embeddings(output, target)
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "triplet",
        aliases: &["triplet_margin", "TripletMarginLoss", "TripletMargin"],
        peers: Peers::of("nn.TripletMarginLoss", ""),
        doc: "Embeddings of one class are to be nearer to each other than to those of others.",
        params: &[
            Param::with_default(
                "margin",
                Kind::non_negative(),
                Value::Float(1.0),
                "by how much they are to be nearer",
            ),
            Param::with_default("p", Kind::positive(), Value::Float(2.0), "the norm"),
            Param::with_default(
                "mining",
                Kind::Choice(&["hardest", "all"]),
                Value::text("hardest"),
                "the hardest triplet of each example, or all of the batch",
            ),
            REDUCTION,
        ],
    },
    build: |args| {
        Box::new(TripletMargin {
            margin: args.float("margin"),
            p: args.float("p"),
            swap: false,
            mining: if args.text("mining") == "all" { Mining::All } else { Mining::Hardest },
        })
    },
    across: true,
    samples: &[
        Sample::of("", Values::Real(&[4]), Values::Classes(&[], 2)),
        Sample::of("mining = 'all', margin = 0.2", Values::Real(&[4]), Values::Classes(&[], 2)),
    ],
};
