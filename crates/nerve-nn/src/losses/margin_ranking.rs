use super::{Entry, Loss, REDUCTION, Sample, Target, Terms, Values, check_like, like};
use crate::layers::Misfit;
use nerve_core::Tensor;
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// What should come first is to have the larger score, by a margin: max(0, margin − (x₁ − x₂)).
///
/// Herbrich et al., "Large margin rank boundaries for ordinal regression", 2000.
///
/// As a loss of a network, each example has a score (`[batch]` or `[batch, 1]`) and a target of the
/// same shape, for instance a grade; each pair of the batch with different targets counts, the
/// larger target first. Where the pairs are known, use [`of`](MarginRanking::of).
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::losses::{Loss, MarginRanking};
/// let scores = Tensor::from_slice(&[1.0f32, 3.0, 2.0], [3]);
/// let grades = Tensor::from_slice(&[1, 2, 3], [3]);
/// // 3 before 1, 2 before 1, and 2 before 3, which is wrong by one.
/// let loss = MarginRanking { margin: 0.5 }.loss(&scores, &grades);
/// assert_eq!(loss.item::<f32>(), 0.5);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MarginRanking {
    /// By how much the first is to lead.
    pub margin: f64,
}

impl MarginRanking {
    /// Of scores x₁ and x₂: x₁ should be the larger where `order` is above zero, else x₂. One
    /// shape; PyTorch's `MarginRankingLoss`.
    ///
    /// # Panics
    /// If the shapes differ.
    #[track_caller]
    pub fn of(&self, x1: &Tensor, x2: &Tensor, order: &Tensor) -> Terms {
        assert!(
            x1.shape() == x2.shape() && x1.shape() == order.shape(),
            "margin_ranking: {}, {} and order {}: one shape",
            x1.shape(),
            x2.shape(),
            order.shape()
        );
        let lead = order.gt(0).select(&(x1 - x2), &(x2 - x1));
        Terms::new((self.margin - lead).relu())
    }
}

impl Loss for MarginRanking {
    fn terms(&self, output: &Tensor, target: &Tensor) -> Terms {
        let target = like("margin_ranking", output, target);
        assert!(
            output.numel() == output.shape().first().copied().unwrap_or(0),
            "margin_ranking: one score for each example, found {}",
            output.shape()
        );
        let column = |x: &Tensor| x.reshape([x.numel(), 1]);
        let row = |x: &Tensor| x.reshape([1, x.numel()]);
        let first = column(&target).gt(row(&target));
        let terms = (self.margin - (column(output) - row(output))).relu();
        Terms::counted(first.select(&terms, &terms.zeros_like()), first.to_dtype(output.dtype()))
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        check_like(output, target)?;
        match output.iter().product::<usize>() == 1 {
            true => Ok(()),
            false => Err(Misfit { needs: "one score".into(), hint: String::new() }),
        }
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "margin_ranking",
        aliases: &["MarginRanking", "MarginRankingLoss"],
        peers: Peers::of("nn.MarginRankingLoss", ""),
        doc: "Examples with larger targets are to have larger scores, by a margin.",
        params: &[
            Param::with_default(
                "margin",
                Kind::non_negative(),
                Value::Float(0.0),
                "by how much the first is to lead",
            ),
            REDUCTION,
        ],
    },
    build: |args| Box::new(MarginRanking { margin: args.float("margin") }),
    across: true,
    samples: &[
        Sample::of("", Values::Real(&[]), Values::Real(&[])),
        Sample::of("margin = 0.5", Values::Real(&[1]), Values::Classes(&[], 4)),
    ],
};
