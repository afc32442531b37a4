//! Activations: the functions between the layers. Each is a layer too.
//!
//! An activation is one file and one line in [`REGISTRY`].

mod elu;
mod gelu;
mod identity;
mod leaky_relu;
mod log_softmax;
mod relu;
mod sigmoid;
mod silu;
mod softmax;
mod softplus;
mod tanh;

pub use elu::Elu;
pub use gelu::Gelu;
pub use identity::Identity;
pub use leaky_relu::LeakyRelu;
pub use log_softmax::LogSoftmax;
pub use relu::Relu;
pub use sigmoid::Sigmoid;
pub use silu::Silu;
pub use softmax::Softmax;
pub use softplus::Softplus;
pub use tanh::Tanh;

use crate::layers::{Entry, Layer};
use nerve_formats::spec::{Item, Kind, Param, Spec, Value};

/// All activations. The first, `linear`, does nothing.
pub static REGISTRY: [&Entry; 11] = [
    &identity::ENTRY,
    &relu::ENTRY,
    &leaky_relu::ENTRY,
    &elu::ENTRY,
    &gelu::ENTRY,
    &silu::ENTRY,
    &softplus::ENTRY,
    &sigmoid::ENTRY,
    &tanh::ENTRY,
    &softmax::ENTRY,
    &log_softmax::ENTRY,
];

/// The descriptions of all activations.
pub fn specs() -> Vec<&'static Spec> {
    REGISTRY.iter().map(|entry| &entry.spec).collect()
}

/// The activation that answers to `name`.
pub fn find(name: &str) -> Option<&'static Entry> {
    REGISTRY.iter().copied().find(|entry| entry.spec.answers_to(name))
}

/// Which activations a parameter takes.
pub const KIND: Kind = Kind::Item { what: "activation", specs };

/// The parameter of layers that end with an activation.
pub(crate) const PARAM: Param =
    Param::with_default("activation", KIND, Value::text("linear"), "the function after it");

/// Makes the activation that a checked recipe names; `None` for `linear`, which does nothing.
///
/// # Panics
/// If `item` is not from this registry.
pub fn build(item: &Item) -> Option<Box<dyn Layer>> {
    let entry = find(item.name).unwrap_or_else(|| panic!("no activation `{}`", item.name));
    (!std::ptr::eq(entry, &identity::ENTRY)).then(|| entry.make_activation(&item.args))
}
