//! Metrics: what is reported beside the loss.
//!
//! The graph computes what is to be kept of a batch, the host adds it up, and the value is that over
//! all examples: see [`Metric`]. A metric is a file (or one of a family in a file) and a line in
//! [`REGISTRY`].
//!
//! | of | metrics |
//! |---|---|
//! | classes | [`Accuracy`], [`TopK`], [`BinaryAccuracy`], [`ClassMetric`] (precision, recall, F, specificity, IoU, dice, balanced accuracy, Cohen's κ, Matthews); [`Confusion`] |
//! | scores | [`Auc`] (ROC, precision over recall) |
//! | probabilities | [`LogLoss`] (and perplexity), [`Brier`], [`Calibration`] |
//! | numbers | [`Regression`] (MAE, MSE, RMSE, MAPE, sMAPE, MASE, quantile loss), [`Explained`] (R², explained variance), [`MaxError`], [`IntervalCoverage`] |
//! | orders | [`Ranking`] (hit, MRR, MAP, NDCG, coverage) |
//! | texts | [`text`]: functions of strings, which no graph computes |
//! | tokens of a sequence | [`TokenAccuracy`], [`TokenPerplexity`] |
//! | losses | [`LossMetric`] |

mod accuracy;
mod classification;
mod confusion;
mod curves;
mod decision;
mod kept;
mod loss;
mod probability;
mod ranking;
mod regression;
pub mod text;
mod tokens;
mod top_k;
mod variance;

pub use accuracy::{Accuracy, BinaryAccuracy};
pub use classification::{ClassMetric, ClassScore};
pub use confusion::{Average, Confusion, Part};
pub use curves::{Auc, Curve, Sweep, average_precision, roc_auc};
pub use decision::Decision;
pub use kept::{Kept, Seen};
pub use loss::LossMetric;
pub use probability::{Brier, Calibration, LogLoss};
pub use ranking::{RankScore, Ranking, average_precision_at, hit_at, ndcg_at, reciprocal_rank};
pub use regression::{Distance, IntervalCoverage, MaxError, Regression, naive_error};
pub use tokens::{TokenAccuracy, TokenPerplexity};
pub use top_k::TopK;
pub use variance::Explained;

use nerve_core::{DType, Tensor};
use nerve_formats::spec::{Args, Item, Kind, Spec};
use nerve_nn::layers::Misfit;
use nerve_nn::losses::Target;
use std::sync::LazyLock;

/// Something measured on the output of a network.
///
/// The graph computes what is to be kept of a batch ([`observe`](Metric::observe)), f64 numbers,
/// as few as will do. On the host they are [added](Metric::add) to what was [`Kept`] before: sums,
/// maxima, or rows. At the end, or after each batch if that costs little, it becomes a
/// [value](Metric::value). So a metric does not depend on how the data are cut into batches.
pub trait Metric: Send + Sync {
    /// Its name in tables: `accuracy`.
    fn name(&self) -> String;

    /// What of a batch is to be kept: an f64 tensor. To be called in a compiled function.
    ///
    /// # Panics
    /// If the shapes do not fit each other.
    fn observe(&self, output: &Tensor, target: &Tensor) -> Tensor;

    /// Adds what was seen of a batch to what is kept: by default to the sums.
    fn add(&self, seen: &Seen<'_>, kept: &mut Kept) {
        kept.add(seen.values);
    }

    /// Its value over all that was added: by default the first sum over the second, a mean.
    fn value(&self, kept: &Kept) -> f64 {
        kept.mean()
    }

    /// Whether the value is worth computing after each step; else it is at the end of an epoch.
    fn each_step(&self) -> bool {
        true
    }

    /// Whether outputs of shape `output` (one example) can be compared with such targets.
    ///
    /// # Errors
    /// What is needed instead.
    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit>;
}

/// The value of a metric over one batch, at once.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_train::metrics::{Accuracy, measure};
/// let output = Tensor::from_slice(&[0.9f32, 0.1, 0.2, 0.8], [2, 2]);
/// assert_eq!(measure(&Accuracy, &output, &Tensor::from_slice(&[0, 0], [2])), 0.5);
/// ```
///
/// # Panics
/// If the shapes do not fit each other.
pub fn measure(metric: &dyn Metric, output: &Tensor, target: &Tensor) -> f64 {
    let values = metric.observe(output, target).to_vec::<f64>();
    let mut kept = Kept::default();
    metric.add(&Seen { values: &values, target: target.shape() }, &mut kept);
    metric.value(&kept)
}

/// A kind of metric: its description, and how to make one from checked arguments.
pub struct Entry {
    /// Names and parameters.
    pub spec: Spec,
    /// Makes one from arguments that [`check`](nerve_formats::spec::check) gave for `spec`.
    pub build: fn(&Args) -> Box<dyn Metric>,
}

/// All metrics.
pub static REGISTRY: LazyLock<Vec<&'static Entry>> = LazyLock::new(|| {
    let families: [&[Entry]; 4] =
        [&classification::ENTRIES, &probability::ENTRIES, &regression::ENTRIES, &ranking::ENTRIES];
    let single = [
        &accuracy::ENTRY,
        &accuracy::BINARY,
        &top_k::ENTRY,
        &tokens::ACCURACY,
        &tokens::PERPLEXITY,
        &curves::ROC,
        &curves::PR,
        &variance::R2,
        &variance::EXPLAINED,
        &loss::ENTRY,
    ];
    single.into_iter().chain(families.into_iter().flatten()).collect()
});

/// The descriptions of all metrics.
pub fn specs() -> Vec<&'static Spec> {
    REGISTRY.iter().map(|entry| &entry.spec).collect()
}

/// The metric that answers to `name`.
pub fn find(name: &str) -> Option<&'static Entry> {
    REGISTRY.iter().copied().find(|entry| entry.spec.answers_to(name))
}

/// Which metrics a parameter takes.
pub const KIND: Kind = Kind::Item { what: "metric", specs };

/// Makes the metric that a checked recipe names.
///
/// # Panics
/// If `item` is not from this registry.
pub fn build(item: &Item) -> Box<dyn Metric> {
    let entry = find(item.name).unwrap_or_else(|| panic!("no metric `{}`", item.name));
    (entry.build)(&item.args)
}

/// Refuses targets that are not one class index for each row of outputs.
#[track_caller]
fn expect_classes(output: &Tensor, target: &Tensor) {
    let mut expected = output.shape().to_vec();
    assert!(expected.len() >= 2, "outputs are [batch, classes, …], found {}", output.shape());
    expected.remove(1);
    assert!(
        !target.dtype().is_float() && **target.shape() == expected[..],
        "outputs {output:?} need class indices of shape {expected:?}, found {target:?}"
    );
}

/// For each class index in `target`, how many classes come before it in the order of the outputs:
/// those with a larger output, and of those with an equal one the earlier ones. f32, of the
/// shape of `target`. The class that `argmax` gives has rank 0.
///
/// An output that is NaN comes before all: a network that diverged is not right.
#[track_caller]
fn rank(output: &Tensor, target: &Tensor) -> Tensor {
    expect_classes(output, target);
    let index = target.to_dtype(DType::I32).unsqueeze(1);
    let class = Tensor::iota(output.shape(), 1);
    let is_target = class.eq(&index);
    // Chosen, not multiplied: zero times infinity is no zero.
    let own = is_target.select(output, &output.zeros_like()).sum_axes(&[1], true);
    let tied = output.eq(&own).logical_and(class.lt(&index));
    let before = output.le(&own).logical_not().logical_or(tied);
    let counts = before.logical_and(is_target.logical_not()).to_dtype(DType::F32);
    // A NaN of its own loses against all others by the same comparison, if there are others.
    counts.sum_axes(&[1], false)
}

/// [`Metric::check`] for metrics of classes.
fn check_classes(output: &[usize], target: &Target) -> Result<(), Misfit> {
    let fits = output.get(1..) == Some(&*target.shape);
    if !target.dtype.is_float() && fits && target.classes.is_none_or(|n| output[0] == n) {
        return Ok(());
    }
    Err(Misfit {
        needs: "one output for each class, and class indices as targets".into(),
        hint: String::new(),
    })
}

#[cfg(test)]
mod tests;
