//! Schedules: how the learning rate changes from step to step.
//!
//! A schedule is one struct and one line in [`REGISTRY`].

use nerve_formats::spec::{Args, Item, Kind, Peers, Spec};

/// The learning rate of each step.
pub trait Schedule: Send + Sync {
    /// The rate for step number `step` (counted from 0) of `total`, where the optimizer was made
    /// with the rate `base`.
    fn rate(&self, base: f64, step: u64, total: u64) -> f64;
}

/// The same learning rate for all steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Constant;

impl Schedule for Constant {
    fn rate(&self, base: f64, _: u64, _: u64) -> f64 {
        base
    }
}

/// A kind of schedule: its description, and how to make one from checked arguments.
pub struct Entry {
    /// Names and parameters.
    pub spec: Spec,
    /// Makes one from arguments that [`check`](nerve_formats::spec::check) gave for `spec`.
    pub build: fn(&Args) -> Box<dyn Schedule>,
}

static CONSTANT: Entry = Entry {
    spec: Spec {
        name: "constant",
        aliases: &["Constant"],
        peers: Peers::of("nn.init.constant_", "initializers.Constant"),
        doc: "The same learning rate for all steps.",
        params: &[],
    },
    build: |_| Box::new(Constant),
};

/// All schedules.
pub static REGISTRY: [&Entry; 1] = [&CONSTANT];

/// The descriptions of all schedules.
pub fn specs() -> Vec<&'static Spec> {
    REGISTRY.iter().map(|entry| &entry.spec).collect()
}

/// Which schedules a parameter takes.
pub const KIND: Kind = Kind::Item { what: "schedule", specs };

/// Makes the schedule that a checked recipe names.
///
/// # Panics
/// If `item` is not from this registry.
pub fn build(item: &Item) -> Box<dyn Schedule> {
    let entry = REGISTRY.iter().find(|entry| entry.spec.answers_to(item.name));
    let entry = entry.unwrap_or_else(|| panic!("no schedule `{}`", item.name));
    (entry.build)(&item.args)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nerve_formats::spec::check;

    #[test]
    fn constant_stays() {
        let args = check(&CONSTANT.spec, &[]).unwrap();
        let schedule = build(&Item { name: "constant", args });
        assert_eq!([0, 5, 9].map(|step| schedule.rate(0.1, step, 10)), [0.1; 3]);
    }
}
