use crate::context::Context;
use crate::layers::{Entry, Layer};
use nerve_core::Tensor;
use nerve_formats::spec::{Peers, Spec};

/// ln(1 + eˣ), a smooth max(x, 0).
///
/// Dugas et al., "Incorporating second-order functional knowledge for better option pricing",
/// 2001.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Softplus;

impl Layer for Softplus {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        x.softplus()
    }
}

pub(super) static ENTRY: Entry = Entry::activation(
    Spec {
        name: "softplus",
        aliases: &["Softplus"],
        peers: Peers::of("nn.Softplus", "activations.softplus"),
        doc: "log(1 + exp(x))",
        params: &[],
    },
    |_, _, _| Box::new(Softplus),
);
