use super::{Effect, Entry, Sample};
use crate::activations;
use crate::dims::product;
use nerve_formats::spec::{Param, Peers, Spec};

/// The layer `Activation`, which takes the activation as a parameter, as Keras has it.
pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "Activation",
        aliases: &[],
        peers: Peers::of("", "layers.Activation"),
        doc: "A function of each value.",
        params: &[Param::required("activation", activations::KIND, "the function")],
    },
    takes_indices: false,
    samples: &[Sample::of("activation = 'relu'", &[9]), Sample::of("activation = 'linear'", &[9])],
    infer: |_, input| Ok(Effect::cheap(input, product(input), 1)),
    make: |args, _, _| {
        let item = args.item("activation");
        activations::build(item).unwrap_or_else(|| Box::new(activations::Identity))
    },
};
