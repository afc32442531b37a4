//! Optimizers: how parameters follow the gradient.
//!
//! Three ideas make them all:
//!
//! - a [`Rule`] says what an optimizer is: what it remembers of each parameter, and a formula;
//! - a [`Group`] gives parameters chosen by path settings of their own: learning rate, weight
//!   decay, penalty, constraint, frozen, frozen at first. Its parameters lie in one [`Arena`], and so does each
//!   kind of slot, so that a step is one pass over memory;
//! - wrappers change what goes in or comes out of any optimizer: [`Clipped`] gradients,
//!   [`Accumulated`] ones, [`Averaged`] weights, [`Lookahead`], [`Sam`].
//!
//! What may change between steps, the learning rate and the number of steps, is a [`Var`]; the rest
//! are constants of the trace. [`Lbfgs`] stands apart: it is a loop of the host around the loss.
//!
//! An optimizer is one file and one line in [`REGISTRY`].

mod group;
mod rule;
mod words;

mod accumulate;
mod average;
mod clip;
mod lookahead;
mod sam;

mod adadelta;
mod adafactor;
mod adagrad;
mod adam;
mod adam_kin;
mod lamb;
mod lbfgs;
mod lion;
mod muon;
mod rmsprop;
mod sgd;

pub use accumulate::Accumulated;
pub use adadelta::Adadelta;
pub use adafactor::Adafactor;
pub use adagrad::Adagrad;
pub use adam::{Adam, AdamW, Moments};
pub use adam_kin::{Adamax, NAdam, RAdam};
pub use average::{Average, Averaged};
pub use clip::{Clip, Clipped};
pub use group::{Block, Core, Group, Settings};
pub use lamb::Lamb;
pub use lbfgs::{Lbfgs, LbfgsFit};
pub use lion::Lion;
pub use lookahead::Lookahead;
pub use muon::Muon;
pub use rmsprop::RmsProp;
pub use rule::{Now, Rule, Slot, Updater};
pub use sam::Sam;
pub use sgd::Sgd;
pub use words::{GROUP, WRAPPER, WRAPPERS, Wrapper, group, group_specs, wrap, wrapper_specs};

use crate::params::Params;
use nerve_core::{Arena, DType, Tensor, Var, grad};
use nerve_formats::spec::{Args, Item, Kind, Param, Spec, Value};

/// Changes the parameters of a network so that its loss becomes less.
pub trait Optimizer: Send + Sync {
    /// What it works on: parameters and learning rate.
    fn core(&self) -> &Core;

    /// Changes the parameters, given their gradients as one tensor for each block, laid out as the
    /// block is. To be called in a compiled function.
    fn update(&self, gradients: Vec<Tensor>);

    /// What it remembers from step to step.
    fn memory(&self) -> Vec<Memory<'_>>;

    /// The gradient of `loss` with respect to each of the [`parameters`](Optimizer::parameters).
    ///
    /// # Panics
    /// If the loss does not depend on one of them; see [`grad`].
    fn gradients(&self, loss: &Tensor) -> Vec<Tensor> {
        grad(loss, self.parameters())
    }

    /// Exchanges the parameters with their averages, if it keeps any; gives whether it does. To be
    /// called between steps: before an evaluation, and once more after it.
    fn exchange_averages(&self) -> bool {
        false
    }

    /// Notes that an epoch begins, counted from 1: groups may wait for theirs
    /// ([`Group::freeze_epochs`]). To be called between steps.
    fn begin_epoch(&self, epoch: u64) {
        self.core().begin_epoch(epoch);
    }

    /// Changes the parameters, given the gradient of each in the order of
    /// [`parameters`](Optimizer::parameters). To be called in a compiled function.
    fn step(&self, gradients: &[Tensor]) {
        self.update(self.core().gather(gradients));
    }

    /// One step down the gradient of `loss`. To be called in a compiled function.
    ///
    /// # Panics
    /// If the loss does not depend on one of the parameters; see [`grad`].
    fn minimize(&self, loss: &Tensor) {
        self.step(&self.gradients(loss));
    }

    /// What it remembers from step to step, under names that begin with that of the slot and end
    /// with that of the parameter: `momentum.fc1.weight`. With the parameters, what a training has
    /// to save to be continued.
    fn slots(&self) -> Vec<Var> {
        self.memory().into_iter().flat_map(|memory| memory.parts().to_vec()).collect()
    }

    /// The parameters that it changes.
    fn parameters(&self) -> &[Var] {
        self.core().parameters()
    }

    /// The learning rate, which may be changed between steps. Of an f32 the number with the fewest
    /// digits that rounds to it, as it was written: 0.001, not 0.0010000000474974513.
    fn learning_rate(&self) -> f64 {
        let rate = self.core().rate();
        match rate.dtype() {
            DType::F64 => rate.to_vec::<f64>()[0],
            _ => {
                let rate = rate.to_vec::<f32>()[0];
                rate.to_string().parse().unwrap_or(f64::from(rate))
            }
        }
    }

    /// Changes the learning rate, from the next step on.
    fn set_learning_rate(&self, rate: f64) {
        let var = self.core().rate();
        match var.dtype() {
            DType::F64 => var.write(&[rate]),
            _ => var.write(&[rate as f32]),
        }
    }
}

/// Something that an optimizer remembers.
#[derive(Clone, Copy)]
pub enum Memory<'a> {
    /// One value for each parameter of a block.
    Block(&'a Arena),
    /// A variable by itself.
    One(&'a Var),
}

impl<'a> Memory<'a> {
    /// It as one variable.
    pub fn whole(&self) -> &'a Var {
        match self {
            Memory::Block(arena) => arena.var(),
            Memory::One(var) => var,
        }
    }

    /// The variables that it is made of.
    pub fn parts(&self) -> &'a [Var] {
        match self {
            Memory::Block(arena) => arena.parts(),
            Memory::One(var) => std::slice::from_ref(*var),
        }
    }
}

impl<O: Optimizer + ?Sized> Optimizer for Box<O> {
    fn core(&self) -> &Core {
        (**self).core()
    }

    fn update(&self, gradients: Vec<Tensor>) {
        (**self).update(gradients);
    }

    fn memory(&self) -> Vec<Memory<'_>> {
        (**self).memory()
    }

    fn gradients(&self, loss: &Tensor) -> Vec<Tensor> {
        (**self).gradients(loss)
    }

    fn exchange_averages(&self) -> bool {
        (**self).exchange_averages()
    }
}

type Make = fn(&Args, &[Var], &[Group]) -> Result<Box<dyn Optimizer>, String>;

/// A kind of optimizer: its description, and how to make one.
pub struct Entry {
    /// Names and parameters.
    pub spec: Spec,
    /// How many numbers it keeps for each parameter, at most.
    pub slots: fn(&Args) -> usize,
    make: Make,
    /// Arguments as in a recipe, for tests: a learning rate at which a small problem is solved.
    pub samples: &'static [&'static str],
}

impl Entry {
    /// Makes one from arguments that [`check`](nerve_formats::spec::check) gave for `spec`, for the
    /// trainable parameters of a network in these groups.
    ///
    /// # Errors
    /// If there are none, or none in one of the groups.
    pub fn build(
        &self,
        args: &Args,
        params: &Params,
        groups: &[Group],
    ) -> Result<Box<dyn Optimizer>, String> {
        (self.make)(args, &params.trainable(), groups)
    }
}

/// What an [`Entry`] makes of a rule.
fn boxed<R: Rule>(
    rule: R,
    args: &Args,
    vars: &[Var],
    groups: &[Group],
) -> Result<Box<dyn Optimizer>, String> {
    Ok(Box::new(Updater::try_new(rule, vars, groups, args.float("lr"))?))
}

/// All optimizers.
pub static REGISTRY: &[&Entry] = &[
    &sgd::ENTRY,
    &rmsprop::ENTRY,
    &adagrad::ENTRY,
    &adadelta::ENTRY,
    &adam::ADAM,
    &adam::AMS_GRAD,
    &adam::ADAM_W,
    &adam_kin::ADAMAX,
    &adam_kin::N_ADAM,
    &adam_kin::R_ADAM,
    &lion::ENTRY,
    &lamb::ENTRY,
    &adafactor::ENTRY,
    &muon::ENTRY,
];

/// The descriptions of all optimizers.
pub fn specs() -> Vec<&'static Spec> {
    REGISTRY.iter().map(|entry| &entry.spec).collect()
}

/// The optimizer that answers to `name`.
pub fn find(name: &str) -> Option<&'static Entry> {
    REGISTRY.iter().copied().find(|entry| entry.spec.answers_to(name))
}

/// Which optimizers a parameter takes.
pub const KIND: Kind = Kind::Item { what: "optimizer", specs };

/// Makes the optimizer that a checked recipe names, for the trainable parameters of a network in
/// these groups.
///
/// # Errors
/// As [`Entry::build`].
///
/// # Panics
/// If `item` is not from this registry.
pub fn build(item: &Item, params: &Params, groups: &[Group]) -> Result<Box<dyn Optimizer>, String> {
    let entry = find(item.name).unwrap_or_else(|| panic!("no optimizer `{}`", item.name));
    entry.build(&item.args, params, groups)
}

/// The learning rate among the parameters of a recipe.
const fn rate(default: f64) -> Param {
    Param::with_default("lr", Kind::positive(), Value::Float(default), "learning rate")
        .alias(&["learning_rate"])
}

/// The weight decay among the parameters of a recipe.
const fn decay(default: f64, doc: &'static str) -> Param {
    Param::with_default("weight_decay", Kind::non_negative(), Value::Float(default), doc)
}

/// The ε among the parameters of a recipe.
const fn eps(default: f64) -> Param {
    Param::with_default("eps", Kind::positive(), Value::Float(default), "against division by zero")
        .alias(&["epsilon"])
}

/// A decay or momentum, from 0 to below 1, among the parameters of a recipe.
const fn share(name: &'static str, default: f64, doc: &'static str) -> Param {
    Param::with_default(name, Kind::fraction(), Value::Float(default), doc)
}

#[cfg(test)]
mod tests;
