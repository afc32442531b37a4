use crate::context::Context;
use crate::layers::{Entry, Layer};
use nerve_core::Tensor;
use nerve_formats::spec::{Peers, Spec};

/// x as it is: no activation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Identity;

impl Layer for Identity {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        x.clone()
    }
}

pub(super) static ENTRY: Entry = Entry::activation(
    Spec {
        name: "linear",
        aliases: &["none", "identity", "Identity"],
        peers: Peers::of("nn.Identity", "activations.linear"),
        doc: "x as it is",
        params: &[],
    },
    |_, _, _| Box::new(Identity),
);
