//! Initialisers: how parameters begin.
//!
//! Random ones scale with the number of values that each output sums (fan in) or that each input
//! reaches (fan out), so that activations or gradients keep their size from layer to layer.
//!
//! An initialiser is one file and one line, or one for each of its variants, in [`REGISTRY`].

mod constant;
mod fan_scaled;
mod matrices;
mod orthogonal;
mod random;
mod truncated;

pub use constant::{Constant, Ones, Zeros};
pub use fan_scaled::{Distribution, FanScaled, Mode};
pub use matrices::{Dirac, Identity, Sparse};
pub use orthogonal::Orthogonal;
pub use random::{Normal, Uniform};
pub use truncated::TruncatedNormal;

use nerve_core::{DType, Shape, Tensor};
use nerve_formats::spec::{Args, Item, Kind, Param, Spec};
use std::fmt::Debug;

/// Gives the first values of a parameter.
pub trait Initializer: Debug + Send + Sync {
    /// Values for a parameter of this shape, in the type and with the random numbers of `draw`.
    fn tensor(&self, shape: &Shape, draw: &Draw) -> Tensor;
}

/// Where an initialiser takes its random numbers from.
#[derive(Clone, Debug)]
pub struct Draw {
    /// The key of the seed.
    pub key: Tensor,
    /// The stream of this parameter.
    pub stream: u32,
    /// The type of the values.
    pub dtype: DType,
}

impl Draw {
    /// Uniform random numbers from `low` to `high`.
    pub fn uniform(&self, shape: &Shape, low: f64, high: f64) -> Tensor {
        Tensor::uniform(&self.key, self.stream, shape, self.dtype) * (high - low) + low
    }

    /// Normal random numbers.
    pub fn normal(&self, shape: &Shape, mean: f64, std: f64) -> Tensor {
        Tensor::normal(&self.key, self.stream, shape, self.dtype) * std + mean
    }
}

/// How many values each output sums, and how many outputs each input reaches.
///
/// A matrix is `[out, in]`, the weight of a convolution `[out, in / groups, kernel…]`, in which
/// each kernel element counts.
///
/// ```
/// use nerve_core::Shape;
/// assert_eq!(nerve_nn::init::fans(&Shape::from([64, 32, 3, 3])), (288, 576));
/// ```
pub fn fans(shape: &Shape) -> (usize, usize) {
    match **shape {
        [] => (1, 1),
        [n] => (n, n),
        [outputs, inputs, ref kernel @ ..] => {
            let field: usize = kernel.iter().product();
            (inputs * field, outputs * field)
        }
    }
}

/// A kind of initialiser: its description, and how to make one from checked arguments.
pub struct Entry {
    /// Names and parameters.
    pub spec: Spec,
    /// Makes one from arguments that [`check`](nerve_formats::spec::check) gave for `spec`.
    pub build: fn(&Args) -> Box<dyn Initializer>,
}

/// All initialisers.
pub static REGISTRY: &[&Entry] = &[
    &fan_scaled::GLOROT_UNIFORM,
    &fan_scaled::GLOROT_NORMAL,
    &fan_scaled::HE_UNIFORM,
    &fan_scaled::HE_NORMAL,
    &fan_scaled::HE_NORMAL_OUT,
    &fan_scaled::LECUN_UNIFORM,
    &fan_scaled::LECUN_NORMAL,
    &random::UNIFORM,
    &random::NORMAL,
    &truncated::ENTRY,
    &fan_scaled::VARIANCE_SCALING,
    &orthogonal::ENTRY,
    &matrices::IDENTITY,
    &matrices::DIRAC,
    &matrices::SPARSE,
    &constant::CONSTANT,
    &constant::ZEROS,
    &constant::ONES,
];

/// The descriptions of all initialisers.
pub fn specs() -> Vec<&'static Spec> {
    REGISTRY.iter().map(|entry| &entry.spec).collect()
}

/// The initialiser that answers to `name`.
pub fn find(name: &str) -> Option<&'static Entry> {
    REGISTRY.iter().copied().find(|entry| entry.spec.answers_to(name))
}

/// Which initialisers a parameter takes.
pub const KIND: Kind = Kind::Item { what: "initialiser", specs };

/// Makes the initialiser that a checked recipe names.
///
/// # Panics
/// If `item` is not from this registry.
pub fn build(item: &Item) -> Box<dyn Initializer> {
    let entry = find(item.name).unwrap_or_else(|| panic!("no initialiser `{}`", item.name));
    (entry.build)(&item.args)
}

/// The parameter of layers with weights.
pub(crate) const WEIGHT: Param =
    Param::optional("init", KIND, "how the weights begin; without it ±√(1 / fan in), uniform")
        .alias(&["weight_init", "kernel_initializer"]);

/// The parameter of layers with biases.
pub(crate) const BIAS: Param =
    Param::optional("bias_init", KIND, "how the biases begin; without it as the weights, or 0")
        .alias(&["bias_initializer"]);

/// The initialisers that a layer's arguments name: for the weights, whose fan in is given, and for
/// the biases.
///
/// Without any, the default of PyTorch for both: uniform in ±1/√(fan in). Where the weights have
/// one, biases start at zero, as the papers behind those initialisers have it.
pub(crate) fn of_layer(args: &Args, fan_in: usize) -> [Box<dyn Initializer>; 2] {
    let named = |name| args.has(name).then(|| build(args.item(name)));
    let default = || -> Box<dyn Initializer> { Box::new(Uniform::fan_in(fan_in)) };
    let bias = named("bias_init").unwrap_or_else(|| match args.has("init") {
        true => Box::new(Zeros),
        false => default(),
    });
    [named("init").unwrap_or_else(default), bias]
}

#[cfg(test)]
mod tests;
