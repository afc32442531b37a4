use crate::context::Context;
use crate::layers::{Entry, Layer};
use nerve_core::Tensor;
use nerve_formats::spec::{Peers, Spec};

/// max(x, 0), the rectified linear unit.
///
/// Nair & Hinton, "Rectified linear units improve restricted Boltzmann machines", 2010.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Relu;

impl Layer for Relu {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        x.relu()
    }
}

pub(super) static ENTRY: Entry = Entry::activation(
    Spec {
        name: "relu",
        aliases: &["ReLU", "Relu"],
        peers: Peers::of("nn.ReLU", "activations.relu"),
        doc: "max(x, 0)",
        params: &[],
    },
    |_, _, _| Box::new(Relu),
);
