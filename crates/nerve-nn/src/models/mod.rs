//! The zoo: whole networks under their names, with the state-dict names of PyTorch.
//!
//! A network of the zoo is a layer like any other: a plain struct with `forward`, made by its
//! constructor in Rust, or by its [`Entry`] from a recipe. One file for each family, and one line
//! for each network in [`REGISTRY`].

pub(crate) mod bert;
mod classic;
mod feature_model;
mod gpt;
mod mobilenet;
mod recurrent_language;
mod resnet;
mod text_decoder;
mod translator;
mod unet;

pub use bert::{Bert, BertLayer, BertOptions};
pub use classic::{LeNet5, LeNet5Options, Mlp, MlpOptions, Vgg, VggOptions};
pub use feature_model::{FeatureError, FeatureModel, Features, Input, Output, Part, Place};
pub use gpt::{Gpt, GptOptions, Places};
pub use mobilenet::{MobileNetV2, MobileNetV2Options};
pub use recurrent_language::RecurrentLanguage;
pub use resnet::{ResNet, ResNetOptions, Stem};
pub use text_decoder::{TextDecoder, TextDecoderOptions};
pub use translator::Translator;
pub use unet::{UNet, UNetOptions};

use crate::layers::block::Block;
use crate::layers::{Entry, Layer};
use crate::params::Params;
use nerve_formats::spec::Spec;

/// All networks of the zoo.
pub static REGISTRY: &[&Entry] = &[
    &classic::MLP,
    &classic::LENET5,
    &classic::VGG11_ENTRY,
    &classic::VGG16_ENTRY,
    &resnet::RESNET18,
    &resnet::RESNET34,
    &resnet::RESNET50,
    &mobilenet::MOBILENET_V2,
    &unet::UNET,
    &gpt::ENTRY,
    &recurrent_language::ENTRY,
    &bert::ENTRY,
];

/// The descriptions of all networks.
pub fn specs() -> Vec<&'static Spec> {
    REGISTRY.iter().map(|entry| &entry.spec).collect()
}

/// Height and width that stand for those of any image, where parameters do not depend on them.
const LARGE: usize = 1 << 10;

/// The layers of a network for examples of this shape.
///
/// # Panics
/// If they do not fit each other or the shape.
#[track_caller]
fn whole<const N: usize>(
    name: &str,
    block: &Block,
    input: [usize; N],
    params: &Params,
) -> Box<dyn Layer> {
    if let Err(misfit) = block.infer(&input) {
        panic!("{name}: for {input:?} {misfit}");
    }
    block.make(&input, params)
}
