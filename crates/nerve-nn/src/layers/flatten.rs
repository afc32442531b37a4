use super::{Effect, Entry, Layer, Sample, length};
use crate::context::Context;
use nerve_core::Tensor;
use nerve_formats::spec::{Peers, Spec};

/// All values of an example in one row: `[batch, …]` to `[batch, features]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flatten;

impl Layer for Flatten {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        let features: usize = x.shape()[1..].iter().product();
        x.reshape([x.shape()[0], features])
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "Flatten",
        aliases: &[],
        peers: Peers::of("nn.Flatten", "layers.Flatten"),
        doc: "All values in one row.",
        params: &[],
    },
    takes_indices: false,
    samples: &[Sample::of("", &[2, 3, 4]), Sample::of("", &[])],
    // Moves nothing and keeps nothing.
    infer: |_, input| Ok(Effect { kept: 0, ..Effect::cheap([length(input)], 0, 0) }),
    make: |_, _, _| Box::new(Flatten),
};
