//! The zoo: whole networks under their names, with the state-dict names of PyTorch.
//!
//! A network of the zoo is a layer like any other: a plain struct with `forward`, made by its
//! constructor in Rust, or by its [`Entry`] from a recipe. One file for each family, and one line
//! for each network in [`REGISTRY`].

mod gpt;
mod recurrent_language;
mod resnet;
mod translator;

pub use gpt::{Gpt, GptOptions, Places};
pub use recurrent_language::RecurrentLanguage;
pub use resnet::{ResNet, ResNetOptions, Stem};
pub use translator::Translator;

use crate::layers::Entry;

/// All networks of the zoo.
pub static REGISTRY: &[&Entry] =
    &[&resnet::RESNET18, &resnet::RESNET34, &gpt::ENTRY, &recurrent_language::ENTRY];
