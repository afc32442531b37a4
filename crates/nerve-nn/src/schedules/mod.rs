//! Schedules: how the learning rate changes from step to step.
//!
//! A schedule is a function of the number of steps that are done, counted from 0. Its times are in
//! steps (batches); [`InEpochs`] makes them epochs. [`Sequence`] puts several one after the other,
//! and any closure of the same form is a schedule too.
//!
//! A schedule is one struct and one line in [`REGISTRY`].

mod compose;
mod cycle;
mod decay;
mod plateau;

pub use compose::{InEpochs, Sequence};
pub use cycle::{Anneal, Cosine, CosineRestarts, Cycle, Cyclic, OneCycle};
pub use decay::{
    Constant, Exponential, InverseSqrt, Linear, MultiStep, Piecewise, Polynomial, Step,
};
pub use plateau::Plateau;

use nerve_formats::spec::{Args, Item, Kind, Param, Spec, Value};

/// The learning rate of each step.
pub trait Schedule: Send + Sync {
    /// The rate for the next step, where the optimizer was made with the rate `base`.
    fn rate(&self, base: f64, at: Progress) -> f64;

    /// Hears loss and metrics after each epoch, under the names that a history gives them: `loss`,
    /// `val_loss`, `accuracy`, ….
    ///
    /// # Panics
    /// If it follows one that is not there.
    fn observe(&self, scores: &[(&str, f64)]) {
        let _ = scores;
    }

    /// What it has learnt from [`observe`](Schedule::observe), to be saved with a training that is
    /// to be continued.
    fn state(&self) -> Vec<f64> {
        Vec::new()
    }

    /// Goes on from what [`state`](Schedule::state) gave.
    fn restore(&self, state: &[f64]) {
        let _ = state;
    }
}

/// How far a training has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Steps that are done.
    pub step: u64,
    /// Steps there are to be.
    pub total: u64,
    /// Steps in an epoch, at least 1.
    pub epoch: u64,
}

impl<F: Fn(f64, Progress) -> f64 + Send + Sync> Schedule for F {
    fn rate(&self, base: f64, at: Progress) -> f64 {
        self(base, at)
    }
}

/// A length of time: in steps, or as a share of the whole training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Span {
    /// So many steps.
    Steps(u64),
    /// This share of all steps.
    Share(f64),
}

impl Span {
    /// All of the training.
    pub const ALL: Span = Span::Share(1.0);

    /// In steps of a training of `total`.
    pub fn of(self, total: u64) -> f64 {
        match self {
            Span::Steps(steps) => steps as f64,
            Span::Share(share) => share * total as f64,
        }
    }

    /// From a recipe: a whole number is steps, one with a point a share.
    fn from(args: &Args, name: &str) -> Option<Span> {
        match args.get(name)? {
            Value::Int(steps) => Some(Span::Steps(*steps as u64)),
            Value::Float(share) => Some(Span::Share(*share)),
            _ => None,
        }
    }
}

impl From<u64> for Span {
    fn from(steps: u64) -> Span {
        Span::Steps(steps)
    }
}

impl From<f64> for Span {
    fn from(share: f64) -> Span {
        Span::Share(share)
    }
}

/// A kind of schedule: its description, and how to make one from checked arguments.
pub struct Entry {
    /// Names and parameters.
    pub spec: Spec,
    build: fn(&Args) -> Box<dyn Schedule>,
    /// Arguments as in a recipe, for tests.
    pub samples: &'static [&'static str],
}

impl Entry {
    /// Makes one from arguments that [`check`](nerve_formats::spec::check) gave for `spec`.
    pub fn build(&self, args: &Args) -> Box<dyn Schedule> {
        let schedule = (self.build)(args);
        match args.has("unit") && args.text("unit") == "epochs" {
            true => Box::new(InEpochs(schedule)),
            false => schedule,
        }
    }
}

/// All schedules.
pub static REGISTRY: &[&Entry] = &[
    &decay::CONSTANT,
    &decay::STEP,
    &decay::MULTI_STEP,
    &decay::PIECEWISE,
    &decay::EXPONENTIAL,
    &decay::POLYNOMIAL,
    &decay::LINEAR,
    &decay::INVERSE_SQRT,
    &cycle::COSINE,
    &cycle::COSINE_RESTARTS,
    &cycle::ONE_CYCLE,
    &cycle::CYCLIC,
    &plateau::ENTRY,
    &compose::SEQUENCE,
];

/// The descriptions of all schedules.
pub fn specs() -> Vec<&'static Spec> {
    REGISTRY.iter().map(|entry| &entry.spec).collect()
}

/// The schedule that answers to `name`.
pub fn find(name: &str) -> Option<&'static Entry> {
    REGISTRY.iter().copied().find(|entry| entry.spec.answers_to(name))
}

/// Which schedules a parameter takes.
pub const KIND: Kind = Kind::Item { what: "schedule", specs };

/// Makes the schedule that a checked recipe names.
///
/// # Panics
/// If `item` is not from this registry.
pub fn build(item: &Item) -> Box<dyn Schedule> {
    let entry = find(item.name).unwrap_or_else(|| panic!("no schedule `{}`", item.name));
    entry.build(&item.args)
}

/// In what the times of a schedule are, among the parameters of a recipe.
const fn unit(default: &'static str) -> Param {
    let kind = Kind::Choice(&["steps", "epochs"]);
    Param::with_default("unit", kind, Value::text(default), "in what its times are")
}

/// A length of time among the parameters of a recipe.
const SPAN: Kind = Kind::OneOf(&[Kind::int(0, 1 << 40), Kind::float(0.0, 1.0)]);

/// A number above zero among the parameters of a recipe.
const fn positive(name: &'static str, default: f64, doc: &'static str) -> Param {
    Param::with_default(name, Kind::positive(), Value::Float(default), doc)
}

/// A rate or factor of zero or more among the parameters of a recipe.
const fn at_least_zero(name: &'static str, default: f64, doc: &'static str) -> Param {
    Param::with_default(name, Kind::non_negative(), Value::Float(default), doc)
}

/// The whole numbers of a list.
fn whole(args: &Args, name: &str) -> Vec<u64> {
    match args.get(name) {
        Some(Value::List(values)) => values
            .iter()
            .filter_map(|value| if let Value::Int(n) = value { Some(*n as u64) } else { None })
            .collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
