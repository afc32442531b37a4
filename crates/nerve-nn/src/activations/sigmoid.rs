use crate::context::Context;
use crate::layers::{Entry, Layer};
use nerve_core::Tensor;
use nerve_formats::spec::{Peers, Spec};

/// 1 / (1 + e⁻ˣ), the logistic function: from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sigmoid;

impl Layer for Sigmoid {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        x.sigmoid()
    }
}

pub(super) static ENTRY: Entry = Entry::activation(
    Spec {
        name: "sigmoid",
        aliases: &["Sigmoid"],
        peers: Peers::of("nn.Sigmoid", "activations.sigmoid"),
        doc: "1 / (1 + exp(-x))",
        params: &[],
    },
    |_, _, _| Box::new(Sigmoid),
);
