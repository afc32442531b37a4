//! Combiners: how the encoded inputs of a network become one row of numbers.
//!
//! | combiner | what it does |
//! |---|---|
//! | `concat` | puts them side by side; fully connected layers behind |
//! | `attention` | lets them look at each other, as tokens (FT-Transformer) |
//! | `gated` | weighs them against each other, for each example anew |
//! | `dot` | the product of the first two, as in recommendation; and a network beside it |
//!
//! A combiner is one file, and one line in [`REGISTRY`].

mod attention;
mod concat;
mod dot;
mod gated;

pub use attention::Attention;
pub use dot::Dot;
pub use gated::Gated;

use crate::context::Context;
use crate::dims::{extent, product};
use crate::layers::{Effect, Misfit, Sequential};
use crate::params::Params;
use nerve_core::{Shape, Tensor};
use nerve_formats::spec::{Args, Item, Kind, Spec, Value, check};

/// Makes one tensor of several, `[batch, …]` each.
pub trait Combiner: Send + Sync {
    /// The encoded inputs of a batch together: `[batch, features]`.
    ///
    /// # Panics
    /// If their number or shapes are not those that it was made for.
    fn combine(&self, inputs: &[Tensor], cx: &Context) -> Tensor;
}

/// A kind of combiner: its description, what it does to shapes, and how to make one.
pub struct Entry {
    /// Names and parameters.
    pub spec: Spec,
    /// The effect on examples of these shapes, without creating anything.
    pub infer: fn(&Args, &[Shape]) -> Result<Effect, Misfit>,
    /// Makes one for inputs that `infer` has accepted.
    pub(crate) make: fn(&Args, &[Shape], &Params) -> Box<dyn Combiner>,
}

impl Entry {
    /// Makes one for encoded inputs of these shapes (one example), with its parameters in `params`.
    /// Gives the shape of its output too.
    ///
    /// # Errors
    /// If it cannot take them.
    pub fn build(
        &self,
        args: &Args,
        inputs: &[Shape],
        params: &Params,
    ) -> Result<(Box<dyn Combiner>, Shape), Misfit> {
        let effect = (self.infer)(args, inputs)?;
        Ok(((self.make)(args, inputs, params), effect.shape))
    }
}

/// All combiners.
pub static REGISTRY: &[&Entry] = &[&concat::ENTRY, &attention::ENTRY, &gated::ENTRY, &dot::ENTRY];

/// The descriptions of all combiners.
pub fn specs() -> Vec<&'static Spec> {
    REGISTRY.iter().map(|entry| &entry.spec).collect()
}

/// The combiner that answers to `name`.
pub fn find(name: &str) -> Option<&'static Entry> {
    REGISTRY.iter().copied().find(|entry| entry.spec.answers_to(name))
}

/// Which combiners a parameter takes.
pub const KIND: Kind = Kind::Item { what: "combiner", specs };

/// The combiner for a recipe that names none: `concat`, with layers behind it if there are several
/// inputs, or one whose encoder learns nothing.
pub fn default_for(encoders: &[Item]) -> Item {
    let plain = ["passthrough", "onehot", "embed", "numeric"];
    let behind = !matches!(encoders, [one] if !plain.contains(&one.name));
    let none = [("hidden".to_string(), Value::list(&[]))];
    made("concat", if behind { &[] } else { &none })
}

/// A combiner with these arguments.
fn made(name: &str, given: &[(String, Value)]) -> Item {
    let spec = &find(name).expect("in the registry").spec;
    Item { name: spec.name, args: check(spec, given).expect("arguments of its own") }
}

/// Each input as one row: `[batch, features]`.
fn row(x: &Tensor) -> Tensor {
    let features: usize = x.shape()[1..].iter().product();
    if x.rank() == 2 { x.clone() } else { x.reshape([x.shape()[0], features]) }
}

/// The features of each input, as one row.
fn widths(inputs: &[Shape]) -> Vec<usize> {
    inputs.iter().map(|shape| extent(product(shape))).collect()
}

/// What a list of layers does to a row.
fn effect_of(list: &[Item], width: usize) -> Result<Effect, Misfit> {
    let effects = Sequential::describe(list, &[width].into()).map_err(|error| error.misfit)?;
    let nothing = Effect { kept: 0, ..Effect::cheap([width], 0, 0) };
    Ok(effects.into_iter().fold(nothing, Effect::then))
}
