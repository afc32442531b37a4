//! Metrics: what is reported beside the loss.
//!
//! The sum over a batch is computed in the graph, the mean over an epoch outside. A metric is one
//! file and one line in [`REGISTRY`].

mod accuracy;
mod loss;
mod top_k;

pub use accuracy::Accuracy;
pub use loss::LossMetric;
pub use top_k::TopK;

use nerve_core::{DType, Tensor};
use nerve_formats::spec::{Args, Item, Kind, Spec};
use nerve_nn::layers::Misfit;
use nerve_nn::losses::Target;

/// Something measured on the output of a network.
pub trait Metric: Send + Sync {
    /// Its name in tables: `accuracy`.
    fn name(&self) -> String;

    /// The sum over a batch: one number. To be called in a compiled function.
    ///
    /// # Panics
    /// If the shapes do not fit each other.
    fn sum(&self, output: &Tensor, target: &Tensor) -> Tensor;

    /// How many numbers are in that sum, for targets of this shape (the first axis is the batch).
    fn count(&self, target: &[usize]) -> usize {
        target.iter().product()
    }

    /// Whether outputs of shape `output` (one example) can be compared with such targets.
    ///
    /// # Errors
    /// What is needed instead.
    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit>;
}

/// A kind of metric: its description, and how to make one from checked arguments.
pub struct Entry {
    /// Names and parameters.
    pub spec: Spec,
    /// Makes one from arguments that [`check`](nerve_formats::spec::check) gave for `spec`.
    pub build: fn(&Args) -> Box<dyn Metric>,
}

/// All metrics.
pub static REGISTRY: [&Entry; 3] = [&accuracy::ENTRY, &top_k::ENTRY, &loss::ENTRY];

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
