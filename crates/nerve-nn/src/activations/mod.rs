//! Activations: the functions between the layers. Each is a layer too.
//!
//! An activation is one file and one line in [`REGISTRY`].

mod distributions;
mod elu;
mod gelu;
mod hard;
mod identity;
mod leaky_relu;
mod log_softmax;
mod relu;
mod sigmoid;
mod silu;
mod smooth;
mod softmax;
mod softplus;
mod tanh;

pub use distributions::{GumbelSoftmax, Rrelu, Softmin, Sparsemax};
pub use elu::Elu;
pub use gelu::Gelu;
pub use hard::{
    HardShrink, HardSigmoid, HardSwish, HardTanh, Relu6, SoftShrink, SparsePlus, SparseSigmoid,
    TanhShrink, Threshold,
};
pub use identity::Identity;
pub use leaky_relu::LeakyRelu;
pub use log_softmax::LogSoftmax;
pub use relu::Relu;
pub use sigmoid::Sigmoid;
pub use silu::Silu;
pub use smooth::{Celu, Exponential, GeluTanh, LogSigmoid, Mish, Selu, Softsign, Squareplus};
pub use softmax::Softmax;
pub use softplus::Softplus;
pub use tanh::Tanh;

use crate::layers::{Entry, Layer};
use nerve_formats::spec::{Item, Kind, Param, Spec, Value};

/// All activations. The first, `linear`, does nothing.
pub static REGISTRY: &[&Entry] = &[
    &identity::ENTRY,
    &relu::ENTRY,
    &hard::RELU6,
    &leaky_relu::ENTRY,
    &distributions::RRELU,
    &elu::ENTRY,
    &smooth::SELU_ENTRY,
    &smooth::CELU,
    &gelu::ENTRY,
    &smooth::GELU_TANH,
    &silu::ENTRY,
    &hard::HARD_SWISH,
    &smooth::MISH,
    &softplus::ENTRY,
    &smooth::SQUAREPLUS,
    &hard::SPARSE_PLUS,
    &smooth::SOFTSIGN,
    &sigmoid::ENTRY,
    &hard::HARD_SIGMOID,
    &hard::SPARSE_SIGMOID,
    &smooth::LOG_SIGMOID,
    &tanh::ENTRY,
    &hard::HARD_TANH,
    &hard::HARD_SHRINK,
    &hard::SOFT_SHRINK,
    &hard::TANH_SHRINK,
    &hard::THRESHOLD,
    &smooth::EXPONENTIAL,
    &softmax::ENTRY,
    &log_softmax::ENTRY,
    &distributions::SOFTMIN,
    &distributions::SPARSEMAX,
    &distributions::GUMBEL_SOFTMAX,
];

/// Activations without parameters: a struct, its `forward` and its entry from one formula each.
macro_rules! functions {
    ($($(#[$about:meta])* $id:ident $kind:ident: $name:literal [$($alias:literal),*]
        $torch:literal $keras:literal $doc:literal |$x:ident| $formula:expr;)*) => {
        $($(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq)]
        pub struct $kind;

        impl crate::layers::Layer for $kind {
            fn forward(
                &self,
                $x: &nerve_core::Tensor,
                _: &crate::context::Context,
            ) -> nerve_core::Tensor {
                $formula
            }
        }

        pub(super) static $id: crate::layers::Entry = crate::layers::Entry::activation(
            nerve_formats::spec::Spec {
                name: $name,
                aliases: &[$($alias),*],
                peers: nerve_formats::spec::Peers::of($torch, $keras),
                doc: $doc,
                params: &[],
            },
            |_, _, _| Box::new($kind),
        );)*
    };
}
use functions;

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
