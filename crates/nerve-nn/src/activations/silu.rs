use crate::context::Context;
use crate::layers::{Entry, Layer};
use nerve_core::Tensor;
use nerve_formats::spec::{Peers, Spec};

/// x σ(x), the sigmoid linear unit, also called swish.
///
/// Elfwing, Uchibe & Doya, "Sigmoid-weighted linear units for neural network function
/// approximation in reinforcement learning", 2017.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Silu;

impl Layer for Silu {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        x.silu()
    }
}

pub(super) static ENTRY: Entry = Entry::activation(
    Spec {
        name: "silu",
        aliases: &["SiLU", "Silu", "swish", "Swish"],
        peers: Peers::of("nn.SiLU", "activations.silu"),
        doc: "x sigmoid(x)",
        params: &[],
    },
    |_, _, _| Box::new(Silu),
);
