use crate::context::Context;
use crate::layers::{Entry, Layer};
use nerve_core::Tensor;
use nerve_formats::spec::{Peers, Spec};

/// The hyperbolic tangent: from −1 to 1.
///
/// LeCun et al., "Efficient BackProp", 1998.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tanh;

impl Layer for Tanh {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        x.tanh()
    }
}

pub(super) static ENTRY: Entry = Entry::activation(
    Spec {
        name: "tanh",
        aliases: &["Tanh"],
        peers: Peers::of("nn.Tanh", "activations.tanh"),
        doc: "the hyperbolic tangent",
        params: &[],
    },
    |_, _, _| Box::new(Tanh),
);
