//! Residual networks.

use super::{LARGE, whole};
use crate::context::Context;
use crate::dims::image;
use crate::layers::block::{Block, layer};
use crate::layers::blocks::{activation, conv};
use crate::layers::{Entry, Layer, Misfit, Sample, containers};
use crate::params::Params;
use nerve_core::Tensor;
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

/// A residual network for images: stages of blocks, each of which adds what it has learned to what
/// it was given.
///
/// He, Zhang, Ren & Sun, "Deep residual learning for image recognition", 2015. Made of blocks of
/// two 3×3 convolutions (ResNet-18 and ResNet-34), or of 1×1, 3×3 and 1×1 (ResNet-50, with
/// the stride in the 3×3, as in torchvision). Parameters are called as in torchvision
/// (`layer1.0.conv1.weight`, …, `fc.bias`) and begin as there: convolutions normal with variance
/// 2 / fan out.
///
/// Input `[batch, channels, height, width]`, output `[batch, classes]`.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::models::{ResNet, ResNetOptions, Stem};
/// use nerve_nn::{Context, Layer, Params};
/// let options = ResNetOptions { stem: Stem::Cifar, width: 4, ..ResNetOptions::resnet18(10) };
/// let model = ResNet::new(&Params::new(42), 3, options);
/// let y = model.forward(&Tensor::ones([2, 3, 32, 32]), &Context::eval());
/// assert_eq!(**y.shape(), [2, 10]);
/// ```
pub struct ResNet {
    network: Box<dyn Layer>,
}

/// The sizes of a [`ResNet`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResNetOptions {
    /// Number of outputs.
    pub classes: usize,
    /// How it begins.
    pub stem: Stem,
    /// Channels of the first stage; each further one has twice as many and halves the image.
    pub width: usize,
    /// Number of blocks in each stage.
    pub blocks: Vec<usize>,
    /// Whether blocks narrow the channels to a quarter for their 3×3 convolution: each stage then
    /// gives four times as many.
    pub bottleneck: bool,
}

/// How a network for images begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stem {
    /// For large images: a 7×7 convolution with stride 2 and a 3×3 maximum with stride 2.
    ImageNet,
    /// For small images: a 3×3 convolution with stride 1.
    Cifar,
}

impl Stem {
    pub(super) fn from_args(args: &Args) -> Stem {
        if args.text("stem") == "cifar" { Stem::Cifar } else { Stem::ImageNet }
    }
}

const RESNET18_BLOCKS: [usize; 4] = [2, 2, 2, 2];
const RESNET34_BLOCKS: [usize; 4] = [3, 4, 6, 3];

impl ResNetOptions {
    fn new(classes: usize, blocks: [usize; 4], bottleneck: bool) -> ResNetOptions {
        let (stem, blocks) = (Stem::ImageNet, blocks.to_vec());
        ResNetOptions { classes, stem, width: 64, blocks, bottleneck }
    }

    /// Eighteen layers with weights, for large images.
    pub fn resnet18(classes: usize) -> ResNetOptions {
        ResNetOptions::new(classes, RESNET18_BLOCKS, false)
    }

    /// Thirty-four layers with weights, for large images.
    pub fn resnet34(classes: usize) -> ResNetOptions {
        ResNetOptions::new(classes, RESNET34_BLOCKS, false)
    }

    /// Fifty layers with weights, in bottlenecks, for large images.
    pub fn resnet50(classes: usize) -> ResNetOptions {
        ResNetOptions::new(classes, RESNET34_BLOCKS, true)
    }

    /// What it is made of.
    fn block(&self) -> Block {
        let mut parts = match self.stem {
            Stem::ImageNet => vec![
                conv(self.width, 7, 2, 1).named("conv1"),
                layer!("BatchNorm").named("bn1"),
                activation("relu").inline(),
                layer!("MaxPool2d", pool = 3, stride = 2, padding = 1).inline(),
            ],
            Stem::Cifar => vec![
                conv(self.width, 3, 1, 1).named("conv1"),
                layer!("BatchNorm").named("bn1"),
                activation("relu").inline(),
            ],
        };
        let mut channels = self.width;
        for (stage, &count) in self.blocks.iter().enumerate() {
            let width = self.width.saturating_mul(1 << stage);
            for block in 0..count {
                // The first block of a stage halves the image, but for the first stage.
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let outputs = width.saturating_mul(if self.bottleneck { 4 } else { 1 });
                let part = self.residual(width, stride, channels != outputs);
                parts.push(part.named(format!("layer{}.{block}", stage + 1)));
                channels = outputs;
            }
        }
        parts.push(layer!("GlobalAvgPool2d").inline());
        parts.push(layer!("Dense", units = self.classes).named("fc"));
        Block::Chain(parts)
    }

    /// relu(x + body(x)). Where the number of channels or the size of the image changes, x goes
    /// through a 1×1 convolution and batch normalisation before it is added.
    fn residual(&self, width: usize, stride: usize, widens: bool) -> Block {
        let norm = || layer!("BatchNorm");
        let relu = || activation("relu").inline();
        let outputs = if self.bottleneck { width.saturating_mul(4) } else { width };
        let body = match self.bottleneck {
            false => vec![
                conv(width, 3, stride, 1).named("conv1"),
                norm().named("bn1"),
                relu(),
                conv(width, 3, 1, 1).named("conv2"),
                norm().named("bn2"),
            ],
            true => vec![
                conv(width, 1, 1, 1).named("conv1"),
                norm().named("bn1"),
                relu(),
                conv(width, 3, stride, 1).named("conv2"),
                norm().named("bn2"),
                relu(),
                conv(outputs, 1, 1, 1).named("conv3"),
                norm().named("bn3"),
            ],
        };
        let shortcut = (widens || stride != 1).then(|| {
            Box::new(Block::chain([conv(outputs, 1, stride, 1), norm()]).named("downsample"))
        });
        let Block::Layer(relu) = activation("relu") else {
            unreachable!("a layer without numbers")
        };
        let body = Box::new(Block::Chain(body).inline());
        Block::Residual { body, shortcut, activation: Some(relu) }
    }
}

impl ResNet {
    /// For images with `inputs` channels.
    #[track_caller]
    pub fn new(params: &Params, inputs: usize, options: ResNetOptions) -> ResNet {
        ResNet { network: whole("ResNet", &options.block(), [inputs, LARGE, LARGE], params) }
    }
}

impl Layer for ResNet {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        self.network.forward(x, cx)
    }
}

pub(super) const STEM: Param = Param::with_default(
    "stem",
    Kind::Choice(&["imagenet", "cifar"]),
    Value::text("imagenet"),
    "imagenet: strides that make large images small at once; cifar: none, for small images",
);
pub(super) const CLASSES: Param =
    Param::required("classes", Kind::count(), "number of outputs").alias(&["num_classes"]);

const PARAMS: &[Param] = &[
    CLASSES,
    STEM,
    Param::with_default(
        "width",
        Kind::int(1, 1 << 12),
        Value::Int(64),
        "channels of the first stage; each further one has twice as many",
    ),
];

fn block(
    args: &Args,
    input: &[usize],
    blocks: [usize; 4],
    bottleneck: bool,
) -> Result<Block, Misfit> {
    image(input)?;
    let (stem, width) = (Stem::from_args(args), args.usize("width"));
    let options = ResNetOptions::new(args.usize("classes"), blocks, bottleneck);
    Ok(ResNetOptions { stem, width, ..options }.block())
}

macro_rules! entries {
    ($($id:ident: $name:literal $alias:literal $torch:literal $keras:literal $blocks:expr,
        $bottleneck:literal $doc:literal, $sample:expr;)*) => {
        $(pub(super) static $id: Entry = containers::entry!(
            $name [$alias] Peers::of($torch, $keras), $doc, PARAMS, &[$sample],
            |args: &Args, input: &[usize]| block(args, input, $blocks, $bottleneck)
        );)*
    };
}

entries! {
    RESNET18: "ResNet18" "resnet18" "torchvision.models.resnet18" ""
        RESNET18_BLOCKS, false "Residual network with 18 layers.",
        Sample::of("classes = 3, width = 2, stem = 'cifar'", &[3, 9, 6]);
    RESNET34: "ResNet34" "resnet34" "torchvision.models.resnet34" ""
        RESNET34_BLOCKS, false "Residual network with 34 layers.",
        Sample::of("num_classes = 2, width = 1", &[1, 33, 20]);
    RESNET50: "ResNet50" "resnet50" "torchvision.models.resnet50" "applications.ResNet50"
        RESNET34_BLOCKS, true "Residual network with 50 layers, in bottlenecks.",
        Sample::of("classes = 3, width = 1, stem = 'cifar'", &[1, 5, 4]);
}
