//! Networks for small machines.

use super::resnet::{CLASSES, STEM, Stem};
use super::{LARGE, whole};
use crate::context::Context;
use crate::dims::image;
use crate::layers::block::{Block, layer};
use crate::layers::blocks::{activation, conv_norm, inverted_residual};
use crate::layers::{Entry, Layer, Misfit, Sample, containers};
use crate::params::Params;
use nerve_core::Tensor;
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

/// A network for images of inverted residuals: narrow between blocks, wide within.
///
/// Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", 2018. Parameters are
/// called as in torchvision (`features.1.conv.0.0.weight`, …, `classifier.1.bias`) and begin as
/// there.
///
/// Input `[batch, channels, height, width]`, output `[batch, classes]`.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::models::{MobileNetV2, MobileNetV2Options, Stem};
/// use nerve_nn::{Context, Layer, Params};
/// let options = MobileNetV2Options { width: 0.1, ..MobileNetV2Options::new(10) };
/// let model = MobileNetV2::new(&Params::new(42), 3, options);
/// let y = model.forward(&Tensor::ones([2, 3, 64, 64]), &Context::eval());
/// assert_eq!(**y.shape(), [2, 10]);
/// ```
pub struct MobileNetV2 {
    network: Box<dyn Layer>,
}

/// The sizes of a [`MobileNetV2`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MobileNetV2Options {
    /// Number of outputs.
    pub classes: usize,
    /// How it begins: for small images the first convolution and the first two stages that would
    /// halve them do not.
    pub stem: Stem,
    /// What all channels are multiplied by.
    pub width: f64,
    /// The share of values that is dropped before the last layer, while training.
    pub dropout: f64,
}

impl MobileNetV2Options {
    /// The network of the paper.
    pub fn new(classes: usize) -> MobileNetV2Options {
        MobileNetV2Options { classes, stem: Stem::ImageNet, width: 1.0, dropout: 0.2 }
    }

    /// So many channels times the width: a multiple of eight, at least nine tenths.
    fn channels(&self, channels: usize) -> usize {
        let wanted = channels as f64 * self.width;
        let rounded = (((wanted + 4.0) / 8.0).floor() as usize * 8).max(8);
        if (rounded as f64) < 0.9 * wanted { rounded + 8 } else { rounded }
    }

    fn block(&self) -> Block {
        let relu6 = activation("relu6");
        let small = self.stem == Stem::Cifar;
        let mut channels = self.channels(32);
        let first = if small { 1 } else { 2 };
        let mut features = vec![conv_norm(channels, 3, first, 1, Some(relu6.clone()))];
        // Expansion, channels, blocks, stride of the first.
        for (stage, (expansion, filters, count, stride)) in [
            (1, 16, 1, 1),
            (6, 24, 2, 2),
            (6, 32, 3, 2),
            (6, 64, 4, 2),
            (6, 96, 3, 1),
            (6, 160, 3, 2),
            (6, 320, 1, 1),
        ]
        .into_iter()
        .enumerate()
        {
            let filters = self.channels(filters);
            for block in 0..count {
                let halves = block == 0 && !(small && stage == 1);
                let stride = if halves { stride } else { 1 };
                features.push(inverted_residual(channels, filters, stride, expansion, &relu6));
                channels = filters;
            }
        }
        let last = if self.width > 1.0 { self.channels(1280) } else { 1280 };
        features.push(conv_norm(last, 1, 1, 1, Some(relu6)));
        Block::sequence([
            ("features", Block::chain(features)),
            ("", layer!("GlobalAvgPool2d")),
            (
                "classifier",
                Block::chain([
                    layer!("Dropout", rate = self.dropout),
                    layer!("Dense", units = self.classes, init = small_normal()),
                ]),
            ),
        ])
    }
}

/// Normal with deviation 0.01, as torchvision begins the last layers.
pub(super) fn small_normal() -> Value {
    Value::Table(vec![("type".into(), Value::text("normal")), ("std".into(), Value::Float(0.01))])
}

impl MobileNetV2 {
    /// For images with `inputs` channels.
    #[track_caller]
    pub fn new(params: &Params, inputs: usize, options: MobileNetV2Options) -> MobileNetV2 {
        let block = options.block();
        MobileNetV2 { network: whole("MobileNetV2", &block, [inputs, LARGE, LARGE], params) }
    }
}

impl Layer for MobileNetV2 {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        self.network.forward(x, cx)
    }
}

pub(super) static MOBILENET_V2: Entry = containers::entry!(
    "MobileNetV2" ["mobilenet_v2"]
    Peers::of("torchvision.models.mobilenet_v2", "applications.MobileNetV2"),
    "Network of inverted residuals, for small machines.",
    &[
        CLASSES,
        STEM,
        Param::with_default(
            "width",
            Kind::Float { min: 0.0, max: 16.0, open_min: true, open_max: false },
            Value::Float(1.0),
            "what all channels are multiplied by",
        )
        .alias(&["width_mult", "alpha"]),
        Param::with_default(
            "dropout",
            Kind::fraction(),
            Value::Float(0.2),
            "the share of values that is dropped before the last layer",
        ),
    ],
    &[Sample::of("classes = 3, width = 0.1, stem = 'cifar'", &[3, 8, 6])],
    |args: &Args, input: &[usize]| -> Result<Block, Misfit> {
        image(input)?;
        let options = MobileNetV2Options {
            classes: args.usize("classes"),
            stem: Stem::from_args(args),
            width: args.float("width"),
            dropout: args.float("dropout"),
        };
        Ok(options.block())
    }
);
