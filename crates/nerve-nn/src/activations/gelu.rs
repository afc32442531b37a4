use crate::context::Context;
use crate::layers::{Entry, Layer};
use nerve_core::Tensor;
use nerve_formats::spec::{Peers, Spec};

/// x Φ(x), the Gaussian error linear unit, where Φ is the distribution function of the normal
/// distribution (the exact form, with erf).
///
/// Hendrycks & Gimpel, "Gaussian error linear units (GELUs)", 2016.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Gelu;

impl Layer for Gelu {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        x.gelu()
    }
}

pub(super) static ENTRY: Entry = Entry::activation(
    Spec {
        name: "gelu",
        aliases: &["GELU", "Gelu"],
        peers: Peers::of("nn.GELU", "activations.gelu"),
        doc: "x times the normal distribution function of x",
        params: &[],
    },
    |_, _, _| Box::new(Gelu),
);
