//! Metrics of orders: what stands first in a list of items sorted by score.

use super::{Entry, Kept, Metric, Seen};
use nerve_core::{DType, Tensor};
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};
use nerve_nn::layers::Misfit;
use nerve_nn::losses::Target;

/// The items by falling score; of equal scores the first item first.
fn order(scores: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    order
}

/// Whether one of the first `k` items is relevant (has a relevance above 0): 1 or 0.
///
/// ```
/// use nerve_train::metrics::hit_at;
/// assert_eq!(hit_at(&[0.9, 0.8, 0.7], &[0.0, 0.0, 1.0], 2), 0.0);
/// ```
pub fn hit_at(scores: &[f64], relevance: &[f64], k: usize) -> f64 {
    f64::from(u8::from(order(scores).iter().take(k).any(|&item| relevance[item] > 0.0)))
}

/// One over the place of the first relevant item, if it is among the first `k`; else 0.
///
/// ```
/// use nerve_train::metrics::reciprocal_rank;
/// assert_eq!(reciprocal_rank(&[0.9, 0.8, 0.7], &[0.0, 1.0, 1.0], 3), 0.5);
/// ```
pub fn reciprocal_rank(scores: &[f64], relevance: &[f64], k: usize) -> f64 {
    let place = order(scores).iter().take(k).position(|&item| relevance[item] > 0.0);
    place.map_or(0.0, |place| 1.0 / (place as f64 + 1.0))
}

/// The mean, over the relevant items, of the share of relevant ones down to each of them; items
/// beyond the first `k` give 0. Divided by the number of relevant items, or by `k` if that is less.
/// 0 without relevant items.
///
/// ```
/// use nerve_train::metrics::average_precision_at;
/// // Relevant: first and third.
/// let value = average_precision_at(&[0.9, 0.8, 0.7], &[1.0, 0.0, 1.0], 3);
/// assert_eq!(value, (1.0 + 2.0 / 3.0) / 2.0);
/// ```
pub fn average_precision_at(scores: &[f64], relevance: &[f64], k: usize) -> f64 {
    let all = relevance.iter().filter(|&&r| r > 0.0).count().min(k);
    let (mut found, mut sum) = (0.0, 0.0);
    for (place, &item) in order(scores).iter().take(k).enumerate() {
        if relevance[item] > 0.0 {
            found += 1.0;
            sum += found / (place as f64 + 1.0);
        }
    }
    if all == 0 { 0.0 } else { sum / all as f64 }
}

/// The discounted gain of the first `k` items over that of the best order: the relevance of the
/// item in place i divided by log₂(i + 1), added up.
///
/// Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", 2002. Items of
/// equal score get the mean of their relevances, as in scikit-learn: what their order would be is
/// chance. 0 without relevant items.
///
/// ```
/// use nerve_train::metrics::ndcg_at;
/// assert_eq!(ndcg_at(&[3.0, 2.0, 1.0], &[2.0, 1.0, 0.0], 3), 1.0);
/// ```
pub fn ndcg_at(scores: &[f64], relevance: &[f64], k: usize) -> f64 {
    let discount = |place: usize| if place < k { 1.0 / (place as f64 + 2.0).log2() } else { 0.0 };
    let order = order(scores);
    let (mut gain, mut from) = (0.0, 0);
    while from < order.len() {
        let tied = order[from..].iter().take_while(|&&i| scores[i] == scores[order[from]]);
        let to = from + tied.count().max(1);
        let mean = order[from..to].iter().map(|&i| relevance[i]).sum::<f64>() / (to - from) as f64;
        gain += mean * (from..to).map(discount).sum::<f64>();
        from = to;
    }
    let mut best = relevance.to_vec();
    best.sort_by(|a, b| b.total_cmp(a));
    let ideal: f64 = best.iter().enumerate().map(|(place, r)| r * discount(place)).sum();
    if ideal == 0.0 { 0.0 } else { gain / ideal }
}

/// What is measured of the first items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RankScore {
    /// [`hit_at`].
    Hit,
    /// [`reciprocal_rank`].
    Mrr,
    /// [`average_precision_at`].
    Map,
    /// [`ndcg_at`].
    Ndcg,
    /// The share of all items that are among the first of any example.
    Coverage,
}

/// A metric of recommendations and searches: items are sorted by score, the first `k` count.
///
/// Outputs are scores `[batch, items]`; targets the relevance of each item `[batch, items]` (above
/// 0: relevant), or the index of the only relevant one `[batch]`. The mean over all examples. The
/// sorting is done outside of the graph: each batch reads 16 bytes for each score and sorts every
/// row, in training too.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_train::metrics::{RankScore, Ranking, measure};
/// let scores = Tensor::from_slice(&[0.1f32, 0.9, 0.5], [1, 3]);
/// let mrr = Ranking { score: RankScore::Mrr, k: None };
/// assert_eq!(measure(&mrr, &scores, &Tensor::from_slice(&[2], [1])), 0.5);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranking {
    /// What is measured.
    pub score: RankScore,
    /// How many items count; all if `None`.
    pub k: Option<usize>,
}

impl Metric for Ranking {
    fn name(&self) -> String {
        let name = match self.score {
            RankScore::Hit => "hit",
            RankScore::Mrr => "mrr",
            RankScore::Map => "map",
            RankScore::Ndcg => "ndcg",
            RankScore::Coverage => "item_coverage",
        };
        self.k.map_or(name.into(), |k| format!("{name}_at_{k}"))
    }

    /// Scores and relevances: `[batch, 2, items]`.
    fn observe(&self, output: &Tensor, target: &Tensor) -> Tensor {
        let (o, t) = (output.shape(), target.shape());
        let by_index = !target.dtype().is_float() && o.rank() == 2 && t[..] == o[..1];
        assert!(
            by_index || (o.rank() == 2 && o == t),
            "ranking: output {o} and target {t}: scores [batch, items], and relevances of the \
             same shape or the index of the relevant item [batch]"
        );
        let relevance = match by_index {
            true => target.to_dtype(DType::I32).one_hot(o[1], DType::F64),
            false => target.to_dtype(DType::F64),
        };
        Tensor::stack(&[output.to_dtype(DType::F64), relevance], 1)
    }

    fn add(&self, seen: &Seen<'_>, kept: &mut Kept) {
        let batch = seen.target.first().copied().unwrap_or(0);
        let items = seen.values.len() / (2 * batch.max(1));
        let k = self.k.unwrap_or(items);
        for row in seen.values.chunks_exact((2 * items).max(1)) {
            let (scores, relevance) = row.split_at(items);
            let value = match self.score {
                RankScore::Hit => hit_at(scores, relevance, k),
                RankScore::Mrr => reciprocal_rank(scores, relevance, k),
                RankScore::Map => average_precision_at(scores, relevance, k),
                RankScore::Ndcg => ndcg_at(scores, relevance, k),
                RankScore::Coverage => {
                    let mut shown = vec![0.0; items];
                    order(scores).iter().take(k).for_each(|&item| shown[item] = 1.0);
                    kept.raise(&shown);
                    continue;
                }
            };
            kept.add(&[value, 1.0]);
        }
    }

    fn value(&self, kept: &Kept) -> f64 {
        match self.score {
            RankScore::Coverage => kept.maxima.iter().sum::<f64>() / kept.maxima.len() as f64,
            _ => kept.mean(),
        }
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        let by_index = target.shape.is_empty() && !target.dtype.is_float();
        let classes = target.classes.is_none_or(|n| output == [n]);
        match output.len() == 1 && ((by_index && classes) || *target.shape == *output) {
            true => Ok(()),
            false => Err(Misfit {
                needs: "a score for each item, and their relevances or the index of the relevant \
                        one"
                .into(),
                hint: String::new(),
            }),
        }
    }
}

static AT: [Param; 1] =
    [Param::with_default("k", Kind::count(), Value::Int(10), "how many items count")];
static UP_TO: [Param; 1] =
    [Param::optional("k", Kind::count(), "how many items count; without it all")];

fn make(args: &Args, score: RankScore) -> Box<dyn Metric> {
    Box::new(Ranking { score, k: args.has("k").then(|| args.usize("k")) })
}

const fn spec(
    name: &'static str,
    aliases: &'static [&'static str],
    doc: &'static str,
    params: &'static [Param],
) -> Spec {
    Spec { name, aliases, peers: Peers::NONE, doc, params }
}

pub(super) static ENTRIES: [Entry; 5] = [
    Entry {
        spec: spec("hit_at_k", &["hit_rate"], "Whether a relevant item is among the first k.", &AT),
        build: |args| make(args, RankScore::Hit),
    },
    Entry {
        spec: spec("mrr", &["MRR"], "One over the place of the first relevant item.", &UP_TO),
        build: |args| make(args, RankScore::Mrr),
    },
    Entry {
        spec: spec(
            "map",
            &["MAP", "mean_average_precision"],
            "The mean share of relevant items down to each relevant one.",
            &UP_TO,
        ),
        build: |args| make(args, RankScore::Map),
    },
    Entry {
        spec: spec(
            "ndcg",
            &["NDCG", "ndcg_at_k"],
            "The discounted gain of the order over that of the best one.",
            &UP_TO,
        ),
        build: |args| make(args, RankScore::Ndcg),
    },
    Entry {
        spec: spec(
            "item_coverage",
            &["catalogue_coverage"],
            "The share of all items that are among the first k of any example.",
            &AT,
        ),
        build: |args| make(args, RankScore::Coverage),
    },
];
