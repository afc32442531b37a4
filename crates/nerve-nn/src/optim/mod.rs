//! Optimizers: how parameters follow the gradient.
//!
//! All parameters of a network lie in one [`Arena`], and so does each kind of slot (momentum, …),
//! so that a step is one pass over memory. What may change between steps, the learning rate and
//! the number of steps, is a [`Var`]; the rest are constants of the trace.
//!
//! An optimizer is one file and one line in [`REGISTRY`].

mod adam;
mod sgd;

pub use adam::{Adam, AdamW};
pub use sgd::Sgd;

use crate::params::Params;
use nerve_core::{Arena, DType, Tensor, Var, grad};
use nerve_formats::spec::{Args, Item, Kind, Param, Spec, Value};

/// Changes the parameters of a network so that its loss becomes less.
pub trait Optimizer: Send + Sync {
    /// What it works on.
    fn group(&self) -> &Group;

    /// Changes the parameters, given the gradient of each in the order of
    /// [`parameters`](Optimizer::parameters). To be called in a compiled function.
    fn step(&self, gradients: &[Tensor]);

    /// What it remembers from step to step, under names that begin with that of the slot and end
    /// with that of the parameter: `momentum.fc1.weight`. With the parameters, what a training has
    /// to save to be continued.
    fn slots(&self) -> Vec<Var>;

    /// The parameters that it changes.
    fn parameters(&self) -> &[Var] {
        self.group().arena.parts()
    }

    /// The learning rate, which may be changed between steps. Of an f32 the number with the fewest
    /// digits that rounds to it, as it was written: 0.001, not 0.0010000000474974513.
    fn learning_rate(&self) -> f64 {
        let rate = &self.group().rate;
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
        let var = &self.group().rate;
        match var.dtype() {
            DType::F64 => var.write(&[rate]),
            _ => var.write(&[rate as f32]),
        }
    }

    /// One step down the gradient of `loss`. To be called in a compiled function.
    ///
    /// # Panics
    /// If the loss does not depend on one of the parameters; see [`grad`].
    fn minimize(&self, loss: &Tensor) {
        self.step(&grad(loss, self.parameters()));
    }
}

/// Parameters in one block of memory, with the learning rate that they share.
pub struct Group {
    arena: Arena,
    rate: Var,
}

impl Group {
    /// The trainable parameters of a network, moved into one block.
    ///
    /// # Panics
    /// If there are none.
    #[track_caller]
    pub fn new(params: &Params, learning_rate: f64) -> Group {
        let vars = params.trainable();
        assert!(!vars.is_empty(), "an optimizer needs at least one trainable parameter");
        let rate = Tensor::full([], learning_rate, params.dtype());
        Group { arena: Arena::new("parameters", &vars), rate: Var::new("learning_rate", rate) }
    }

    /// All parameters as one variable with one axis.
    pub fn whole(&self) -> &Var {
        self.arena.var()
    }

    /// The learning rate: one number.
    pub fn rate(&self) -> Tensor {
        self.rate.get()
    }

    /// Gradients in the layout of [`whole`](Group::whole).
    ///
    /// # Panics
    /// If their shapes are not those of the parameters.
    #[track_caller]
    pub fn gather(&self, gradients: &[Tensor]) -> Tensor {
        self.arena.gather(gradients)
    }

    /// Zeros for each parameter, in the same layout.
    pub fn slot(&self, name: &str) -> Arena {
        let zeros = |var: &Var| {
            let zeros = Tensor::full(var.shape(), 0.0, var.dtype());
            Var::new(format!("{name}.{}", var.name()), zeros)
        };
        Arena::new(name, &self.arena.parts().iter().map(zeros).collect::<Vec<_>>())
    }

    /// A number that starts at zero, in the type of the parameters.
    pub fn counter(&self, name: &str) -> Var {
        Var::new(name, Tensor::full([], 0.0, self.rate.dtype()))
    }
}

/// A kind of optimizer: its description, and how to make one.
pub struct Entry {
    /// Names and parameters.
    pub spec: Spec,
    /// How many numbers it keeps for each parameter.
    pub slots: fn(&Args) -> usize,
    make: fn(&Args, &Params) -> Box<dyn Optimizer>,
}

impl Entry {
    /// Makes one from arguments that [`check`](nerve_formats::spec::check) gave for `spec`, for the
    /// trainable parameters of a network.
    ///
    /// # Errors
    /// If there are none.
    pub fn build(&self, args: &Args, params: &Params) -> Result<Box<dyn Optimizer>, String> {
        match params.trainable().is_empty() {
            true => Err("there is nothing to train: the network has no trainable parameter".into()),
            false => Ok((self.make)(args, params)),
        }
    }
}

/// All optimizers.
pub static REGISTRY: [&Entry; 3] = [&sgd::ENTRY, &adam::ADAM, &adam::ADAM_W];

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

/// Makes the optimizer that a checked recipe names.
///
/// # Errors
/// As [`Entry::build`].
///
/// # Panics
/// If `item` is not from this registry.
pub fn build(item: &Item, params: &Params) -> Result<Box<dyn Optimizer>, String> {
    let entry = find(item.name).unwrap_or_else(|| panic!("no optimizer `{}`", item.name));
    entry.build(&item.args, params)
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

#[cfg(test)]
mod tests;
