//! Losses: what is minimised.
//!
//! A loss is one file and one line in [`REGISTRY`] (tiny ones of a family share a file). Each gives
//! its [`Terms`], a value for each example or element with what it counts. Reduction (mean, sum,
//! none), weights of examples and masks are common to all and stand there.
//!
//! | what is predicted | losses |
//! |---|---|
//! | one of several classes | [`CrossEntropy`], [`Focal`], [`MultiMargin`], [`CategoricalHinge`], [`KlDivergence`] |
//! | yes or no | [`BinaryCrossEntropyWithLogits`], [`BinaryCrossEntropy`], [`BinaryFocal`], [`Hinge`] |
//! | a number | [`Mse`], [`Mae`], [`Huber`], [`SmoothL1`], [`LogCosh`], [`Mape`], [`Msle`], [`Quantile`], [`PoissonNll`], [`GaussianNll`] |
//! | regions and boxes | [`Overlap`] (Dice, Jaccard, Tversky), [`Boxes`] (IoU, GIoU, DIoU, CIoU) |
//! | embeddings and orders | [`CosineDistance`], [`TripletMargin`], [`Contrastive`], [`InfoNce`], [`MarginRanking`], [`NegativeSampling`] |
//! | a sequence without alignment | [`Ctc`] |
//! | several at once | [`Combined`] |

mod binary_cross_entropy;
mod boxes;
mod combined;
mod contrastive;
mod cosine;
mod cross_entropy;
mod ctc;
mod focal;
mod gaussian_nll;
mod hinge;
mod huber;
mod info_nce;
mod kl_divergence;
mod log_cosh;
mod mae;
mod margin_ranking;
mod mse;
mod multi_margin;
mod negative_sampling;
mod overlap;
mod poisson;
mod quantile;
mod relative;
mod sample;
mod terms;
mod triplet;

pub use binary_cross_entropy::{BinaryCrossEntropy, BinaryCrossEntropyWithLogits};
pub use boxes::{BoxDistance, Boxes};
pub use combined::Combined;
pub use contrastive::Contrastive;
pub use cosine::CosineDistance;
pub use cross_entropy::CrossEntropy;
pub use ctc::Ctc;
pub use focal::{BinaryFocal, Focal};
pub use gaussian_nll::GaussianNll;
pub use hinge::Hinge;
pub use huber::{Huber, SmoothL1};
pub use info_nce::InfoNce;
pub use kl_divergence::KlDivergence;
pub use log_cosh::LogCosh;
pub use mae::Mae;
pub use margin_ranking::MarginRanking;
pub use mse::Mse;
pub use multi_margin::{CategoricalHinge, MultiMargin};
pub use negative_sampling::NegativeSampling;
pub use overlap::Overlap;
pub use poisson::PoissonNll;
pub use quantile::Quantile;
pub use relative::{Mape, Msle};
pub use sample::{Sample, Values};
pub use terms::{Reduction, Summed, Terms};
pub use triplet::{Mining, TripletMargin};

use crate::layers::Misfit;
use nerve_core::{DType, Shape, Tensor};
use nerve_formats::spec::{Args, Item, Kind, Param, Spec, Value};
use terms::by_class;

/// How far the output of a network is from what it should be.
pub trait Loss: Send + Sync {
    /// The loss of each example or element, and what each counts.
    ///
    /// # Panics
    /// If the shapes or types do not fit each other.
    fn terms(&self, output: &Tensor, target: &Tensor) -> Terms;

    /// One number from the terms: their mean.
    fn reduce(&self, terms: &Terms) -> Tensor {
        terms.mean()
    }

    /// The loss of a batch, one number.
    ///
    /// # Panics
    /// If the shapes or types do not fit each other.
    fn loss(&self, output: &Tensor, target: &Tensor) -> Tensor {
        self.reduce(&self.terms(output, target))
    }

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
    /// Names and parameters. [`REDUCTION`] is the last of them.
    pub spec: Spec,
    /// Makes one from arguments that [`check`](nerve_formats::spec::check) gave for `spec`.
    pub build: fn(&Args) -> Box<dyn Loss>,
    /// Whether it compares the examples of a batch with each other, so that the loss of an example
    /// depends on its batch.
    pub across: bool,
    /// What it is tried with.
    pub samples: &'static [Sample],
}

/// All losses.
pub static REGISTRY: &[&Entry] = &[
    &cross_entropy::ENTRY,
    &cross_entropy::OF_SEQUENCES,
    &binary_cross_entropy::WITH_LOGITS,
    &binary_cross_entropy::OF_PROBABILITIES,
    &focal::ENTRY,
    &focal::BINARY,
    &multi_margin::ENTRY,
    &multi_margin::CATEGORICAL_HINGE,
    &hinge::ENTRY,
    &hinge::SQUARED,
    &kl_divergence::ENTRY,
    &mse::ENTRY,
    &mae::ENTRY,
    &huber::ENTRY,
    &huber::SMOOTH_L1,
    &log_cosh::ENTRY,
    &relative::MAPE,
    &relative::MSLE,
    &quantile::ENTRY,
    &poisson::ENTRY,
    &gaussian_nll::ENTRY,
    &overlap::DICE,
    &overlap::JACCARD,
    &overlap::TVERSKY,
    &boxes::ENTRY,
    &cosine::ENTRY,
    &triplet::ENTRY,
    &contrastive::ENTRY,
    &info_nce::ENTRY,
    &margin_ranking::ENTRY,
    &negative_sampling::ENTRY,
    &ctc::ENTRY,
    &combined::ENTRY,
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

/// The parameter that all losses have. To keep the terms apart, call [`Loss::terms`].
pub const REDUCTION: Param = Param::with_default(
    "reduction",
    Kind::Choice(&["mean", "sum"]),
    Value::text("mean"),
    "what becomes of the terms: their mean, weighted by what each counts, or their sum",
);

/// Makes the loss that a checked recipe names.
///
/// # Panics
/// If `item` is not from this registry.
pub fn build(item: &Item) -> Box<dyn Loss> {
    let entry = find(item.name).unwrap_or_else(|| panic!("no loss `{}`", item.name));
    let loss = (entry.build)(&item.args);
    match item.args.text("reduction") {
        "sum" => Box::new(Summed(loss)),
        _ => loss,
    }
}

/// The classes that do not count, where a loss has such.
const IGNORE_INDEX: Param = Param::optional(
    "ignore_index",
    Kind::int(i32::MIN as i64, i32::MAX as i64),
    "targets with this class do not count",
);

/// The weights of the classes, where a loss has such.
const CLASS_WEIGHTS: Param = Param::with_default(
    "class_weights",
    Kind::List { of: &Kind::non_negative(), min_len: 0, max_len: 1 << 24 },
    Value::list(&[]),
    "what an example of each class counts; empty: all the same",
)
.alias(&["class_weight", "weight"]);

fn ignore_index(args: &Args) -> Option<i32> {
    args.has("ignore_index").then(|| args.int("ignore_index") as i32)
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

/// The classes as the last of two axes: `[batch, classes, …]` becomes `[batch · …, classes]`.
fn rows(x: &Tensor) -> Tensor {
    if x.rank() == 2 {
        return x.clone();
    }
    let order: Vec<usize> = [0].into_iter().chain(2..x.rank()).chain([1]).collect();
    let classes = x.shape()[1];
    x.permute(&order).reshape([x.numel() / classes.max(1), classes])
}

/// Class indices as i32, after a check that there is one for each row of classes.
#[track_caller]
fn indices(name: &str, output: &Tensor, target: &Tensor) -> Tensor {
    assert!(output.rank() >= 2, "{name}: expected [batch, classes, …], found {}", output.shape());
    let mut expected = output.shape().to_vec();
    expected.remove(1);
    assert!(
        !target.dtype().is_float() && *target.shape() == Shape::from(expected),
        "{name}: output {} and class indices {}: one index for each row of classes",
        output.shape(),
        target.shape()
    );
    target.to_dtype(DType::I32)
}

/// [`Loss::check`] for losses that have one output for each class. `weights` is the number of
/// class weights, 0 for none.
fn check_classes(output: &[usize], target: &Target, weights: usize) -> Result<(), Misfit> {
    let misfit = |needs: String, hint: String| Err(Misfit { needs, hint });
    let expected: Shape = match target.classes {
        Some(classes) => [&[classes][..], &target.shape].concat().into(),
        None if target.dtype.is_float() => target.shape.clone(),
        // How many classes there are is not known; any number will do.
        None if output.get(1..) == Some(&*target.shape) => Shape::from(output),
        None => Shape::from([&[2][..], &target.shape].concat()),
    };
    if output != &*expected {
        return misfit(expected.to_string(), "one output for each class".into());
    }
    match weights != 0 && weights != output[0] {
        false => Ok(()),
        true => misfit(
            format!("{} class weights", output[0]),
            format!("there are {weights}, one for each class is needed"),
        ),
    }
}

/// [`Loss::check`] for losses of embeddings that are of one class when they belong together.
fn check_embeddings(output: &[usize], target: &Target) -> Result<(), Misfit> {
    match output.len() == 1 && target.shape.is_empty() && !target.dtype.is_float() {
        true => Ok(()),
        false => Err(Misfit {
            needs: "an embedding [features] for each example, and a class index as target".into(),
            hint: String::new(),
        }),
    }
}

/// The classes of a batch of embeddings `[batch, features]`, as two tensors `[batch, batch]` of
/// truths: of one class but not the same example; of different classes.
#[track_caller]
fn relations(name: &str, embeddings: &Tensor, target: &Tensor) -> (Tensor, Tensor) {
    let (e, t) = (embeddings.shape(), target.shape());
    assert!(
        e.rank() == 2 && t[..] == e[..1] && !target.dtype().is_float(),
        "{name}: embeddings {e} and classes {t}: expected [batch, features] and [batch]"
    );
    let n = e[0];
    let target = target.to_dtype(DType::I32);
    let same = target.unsqueeze(1).eq(target.unsqueeze(0));
    let other = Tensor::iota([n, n], 0).ne(Tensor::iota([n, n], 1));
    (same.logical_and(&other), same.logical_not())
}

/// The distance ‖a − b + 10⁻⁶‖ₚ along the last axis, as in PyTorch: what is added keeps the
/// gradient finite where both are equal.
fn distance(a: &Tensor, b: &Tensor, p: f64) -> Tensor {
    (a - b + 1e-6).norm(p, &[-1], false)
}

/// The distances of all pairs of rows of `[batch, features]`: `[batch, batch]`. From differences,
/// not from products, which would lose the small ones: batch² · features steps of arithmetic, and
/// no memory for them.
fn distances(x: &Tensor, p: f64) -> Tensor {
    distance(&x.unsqueeze(1), &x.unsqueeze(0), p)
}

#[cfg(test)]
mod tests;
