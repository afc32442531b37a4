//! The zoo: whole networks under their names, with the state-dict names of PyTorch.
//!
//! A network of the zoo is a layer like any other: a plain struct with `forward`, made by its
//! constructor in Rust, or by its [`Entry`] from a recipe. One file for each family, and one line
//! for each network in [`REGISTRY`].

mod resnet;

pub use resnet::{ResNet, ResNetOptions, Stem};

use crate::layers::Entry;

/// All networks of the zoo.
pub static REGISTRY: [&Entry; 2] = [&resnet::RESNET18, &resnet::RESNET34];
