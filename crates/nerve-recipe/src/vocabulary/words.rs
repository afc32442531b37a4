//! All that a table with a `type` may name, by kind.

use super::{augmentations, pruners};
use nerve_formats::spec::Spec;

/// The words of one kind.
pub struct Words {
    /// What they are called together: `layers`.
    pub kind: &'static str,
    /// Where they stand, in a few words.
    pub doc: &'static str,
    /// Their descriptions.
    pub specs: fn() -> Vec<&'static Spec>,
}

/// All that a table with a `type` may name, by kind.
pub static WORDS: [Words; 27] = [
    Words {
        kind: "tokenizers",
        doc: "how a text becomes tokens: `tokenizer` of a text",
        specs: nerve_data::text::specs,
    },
    Words {
        kind: "front ends",
        doc: "what the network sees of a sound: `features` of an audio column",
        specs: nerve_data::audio::front_ends,
    },
    Words {
        kind: "augmentations of texts",
        doc: "random changes to training texts: `augment` of a text",
        specs: nerve_data::text::augment::specs,
    },
    Words {
        kind: "augmentations of tables",
        doc: "random changes to training rows: `augment` of a number, the last also of a category",
        specs: nerve_data::table::augment::of_numbers,
    },
    Words {
        kind: "augmentations of sounds",
        doc: "random changes to training sounds: `augment` of an audio column",
        specs: nerve_data::series::augment::of_sounds,
    },
    Words {
        kind: "augmentations of series",
        doc: "random changes to training windows: `augment` of a timeseries",
        specs: nerve_data::series::augment::of_series,
    },
    Words {
        kind: "mixings",
        doc: "how training examples of a batch are mixed: [trainer] mix",
        specs: nerve_data::transform::mix_specs,
    },
    Words {
        kind: "types",
        doc: "what a column is: `type` in [[input]] and [[output]]",
        specs: nerve_data::features::specs,
    },
    Words {
        kind: "splits",
        doc: "how training, validation and test are chosen: [data] split",
        specs: nerve_data::split::specs,
    },
    Words { kind: "layers", doc: "what a network is made of: [model] layers", specs: layers },
    Words {
        kind: "models",
        doc: "whole networks, which stand in the list of layers too",
        specs: models,
    },
    Words {
        kind: "encoders",
        doc: "what becomes of an input before it meets the others: `encoder` in [[input]]",
        specs: nerve_nn::encoders::specs,
    },
    Words {
        kind: "combiners",
        doc: "where several inputs meet: [model] combiner",
        specs: nerve_nn::combiners::specs,
    },
    Words {
        kind: "decoders",
        doc: "what makes an output: `decoder` in [[output]]",
        specs: nerve_nn::decoders::specs,
    },
    Words {
        kind: "activations",
        doc: "functions between layers: `activation` of a layer, and layers themselves",
        specs: nerve_nn::activations::specs,
    },
    Words {
        kind: "initializers",
        doc: "how parameters begin: `init` and `bias_init` of a layer",
        specs: nerve_nn::init::specs,
    },
    Words {
        kind: "losses",
        doc: "what is minimised: [trainer] loss",
        specs: nerve_nn::losses::specs,
    },
    Words {
        kind: "optimizers",
        doc: "how parameters follow the gradient: [trainer] optimizer",
        specs: nerve_nn::optim::specs,
    },
    Words {
        kind: "schedules",
        doc: "how the learning rate changes from step to step: [trainer] schedule",
        specs: nerve_nn::schedules::specs,
    },
    Words {
        kind: "wrappers",
        doc: "what is put around an optimizer: [trainer] wrap",
        specs: nerve_nn::optim::wrapper_specs,
    },
    Words {
        kind: "groups",
        doc: "parameters with settings of their own: [trainer] groups",
        specs: nerve_nn::optim::group_specs,
    },
    Words {
        kind: "adapters",
        doc: "what is trained beside frozen weights: [model] lora",
        specs: nerve_nn::lora::specs,
    },
    Words {
        kind: "regularizers",
        doc: "penalties on parameters: `regularizer` of a group",
        specs: nerve_nn::regularize::specs,
    },
    Words {
        kind: "constraints",
        doc: "what parameters are kept to: `constraint` of a group",
        specs: nerve_nn::regularize::constraint_specs,
    },
    Words {
        kind: "metrics",
        doc: "what is reported beside the loss: [trainer] metrics",
        specs: nerve_train::metrics::specs,
    },
    Words {
        kind: "augmentations",
        doc: "random changes to training pictures: `augment` of an image or a mask",
        specs: augmentations,
    },
    Words {
        kind: "pruners",
        doc: "which trials of a tuning are ended early: [tune] pruner",
        specs: pruners,
    },
];

fn models() -> Vec<&'static Spec> {
    nerve_nn::models::REGISTRY.iter().map(|entry| &entry.spec).collect()
}

/// The layers that are neither networks nor activations.
fn layers() -> Vec<&'static Spec> {
    let others = [nerve_nn::activations::specs(), models()].concat();
    let mut specs = nerve_nn::layers::specs();
    specs.retain(|spec| !others.iter().any(|other| std::ptr::eq(*spec, *other)));
    specs
}

/// The description of a word, of whatever kind it is.
pub fn find(name: &str) -> Option<&'static Spec> {
    WORDS.iter().flat_map(|words| (words.specs)()).find(|spec| spec.answers_to(name))
}
