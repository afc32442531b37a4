//! Losses: what is minimised.
//!
//! A loss is one file and one line in [`REGISTRY`]. Each is the mean over all examples (and, where
//! there are more values in an example, over these).

mod binary_cross_entropy;
mod cross_entropy;
mod mae;
mod mse;

pub use binary_cross_entropy::{BinaryCrossEntropy, BinaryCrossEntropyWithLogits};
pub use cross_entropy::CrossEntropy;
pub use mae::Mae;
pub use mse::Mse;

use crate::layers::Misfit;
use nerve_core::{DType, Shape, Tensor};
use nerve_formats::spec::{Args, Item, Kind, Spec};

/// How far the output of a network is from what it should be.
pub trait Loss: Send + Sync {
    /// The mean loss of a batch: one number.
    ///
    /// # Panics
    /// If the shapes or types do not fit each other.
    fn loss(&self, output: &Tensor, target: &Tensor) -> Tensor;

    /// Whether outputs of shape `output` (one example) can be compared with such targets.
    ///
    /// # Errors
    /// What is needed instead.
    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit>;
}

/// What the targets of a data set are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The shape of the target of one example; of a class index that of a scalar.
    pub shape: Shape,
    /// The type.
    pub dtype: DType,
    /// The number of classes, where targets are class indices.
    pub classes: Option<usize>,
}

/// A kind of loss: its description, and how to make one from checked arguments.
pub struct Entry {
    /// Names and parameters.
    pub spec: Spec,
    /// Makes one from arguments that [`check`](nerve_formats::spec::check) gave for `spec`.
    pub build: fn(&Args) -> Box<dyn Loss>,
}

/// All losses.
pub static REGISTRY: [&Entry; 5] = [
    &cross_entropy::ENTRY,
    &binary_cross_entropy::WITH_LOGITS,
    &binary_cross_entropy::OF_PROBABILITIES,
    &mse::ENTRY,
    &mae::ENTRY,
];

/// The descriptions of all losses.
pub fn specs() -> Vec<&'static Spec> {
    REGISTRY.iter().map(|entry| &entry.spec).collect()
}

/// The loss that answers to `name`.
pub fn find(name: &str) -> Option<&'static Entry> {
    REGISTRY.iter().copied().find(|entry| entry.spec.answers_to(name))
}

/// Which losses a parameter takes.
pub const KIND: Kind = Kind::Item { what: "loss", specs };

/// Makes the loss that a checked recipe names.
///
/// # Panics
/// If `item` is not from this registry.
pub fn build(item: &Item) -> Box<dyn Loss> {
    let entry = find(item.name).unwrap_or_else(|| panic!("no loss `{}`", item.name));
    (entry.build)(&item.args)
}

/// The target in the shape and type of the output: one target for each output. A target without
/// the last axis of an output that has one value there is taken as meant; nothing is broadcast,
/// since that would compare each output with the targets of others.
#[track_caller]
fn like(name: &str, output: &Tensor, target: &Tensor) -> Tensor {
    let (o, t) = (output.shape(), target.shape());
    assert!(
        o == t || o.strip_suffix(&[1]) == Some(t),
        "{name}: output {o} and target {t}: one target for each output"
    );
    target.to_dtype(output.dtype()).reshape(o)
}

/// [`Loss::check`] for losses that have one target for each output.
fn check_like(output: &[usize], target: &Target) -> Result<(), Misfit> {
    if *target.shape == *output || output.strip_suffix(&[1]) == Some(&*target.shape) {
        return Ok(());
    }
    Err(Misfit {
        needs: format!("one output for each target: {}", target.shape),
        hint: match target.classes {
            Some(classes) => format!("for {classes} classes, take cross_entropy"),
            None => String::new(),
        },
    })
}

#[cfg(test)]
mod tests;
