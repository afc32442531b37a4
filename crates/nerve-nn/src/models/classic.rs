//! The networks that every textbook has.

use super::mobilenet::small_normal;
use super::resnet::CLASSES;
use super::whole;
use crate::context::Context;
use crate::dims::image;
use crate::layers::block::{Block, layer};
use crate::layers::blocks::{activation, he_out};
use crate::layers::{Entry, Layer, Misfit, Sample, containers};
use crate::params::Params;
use nerve_core::Tensor;
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

/// Linear layers with an activation between each two: the multi-layer perceptron.
///
/// Rumelhart, Hinton & Williams, "Learning representations by back-propagating errors", 1986.
///
/// Input `[batch, …]`, of which each example is flattened; output `[batch, outputs]`. Parameters are
/// `layers.0.weight`, `layers.0.bias`, `layers.1.weight`, …
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::models::{Mlp, MlpOptions};
/// use nerve_nn::{Context, Layer, Params};
/// let options = MlpOptions::new(&[64, 32], 10);
/// let model = Mlp::new(&Params::new(42), 784, options);
/// let y = model.forward(&Tensor::ones([2, 1, 28, 28]), &Context::eval());
/// assert_eq!(**y.shape(), [2, 10]);
/// ```
pub struct Mlp {
    network: Box<dyn Layer>,
}

/// The sizes of an [`Mlp`].
#[derive(Clone, Debug, PartialEq)]
pub struct MlpOptions {
    /// The numbers of units of the layers between.
    pub hidden: Vec<usize>,
    /// Number of outputs.
    pub outputs: usize,
    /// The function after each layer but the last, by its name.
    pub activation: String,
    /// The share of values that is dropped after each layer but the last, while training.
    pub dropout: f64,
}

impl MlpOptions {
    /// ReLU, and no dropout.
    pub fn new(hidden: &[usize], outputs: usize) -> MlpOptions {
        MlpOptions { hidden: hidden.to_vec(), outputs, activation: "relu".into(), dropout: 0.0 }
    }
}

fn mlp(hidden: &[usize], outputs: usize, between: &Block, dropout: f64) -> Block {
    let mut parts = vec![layer!("Flatten").inline()];
    for (i, &units) in hidden.iter().enumerate() {
        parts.push(layer!("Dense", units = units).named(format!("layers.{i}")));
        parts.push(between.clone().inline());
        if dropout > 0.0 {
            parts.push(layer!("Dropout", rate = dropout).inline());
        }
    }
    parts.push(layer!("Dense", units = outputs).named(format!("layers.{}", hidden.len())));
    Block::Chain(parts)
}

impl Mlp {
    /// For examples of so many values.
    ///
    /// # Panics
    /// If there is no such activation.
    #[track_caller]
    pub fn new(params: &Params, inputs: usize, options: MlpOptions) -> Mlp {
        let between = activation(&options.activation);
        let block = mlp(&options.hidden, options.outputs, &between, options.dropout);
        Mlp { network: whole("Mlp", &block, [inputs], params) }
    }
}

impl Layer for Mlp {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        self.network.forward(x, cx)
    }
}

/// The first convolutional network of wide use, for images of 28 × 28 or 32 × 32 pixels.
///
/// LeCun, Bottou, Bengio & Haffner, "Gradient-based learning applied to document recognition",
/// 1998, in the form that became usual: means without weights for the subsampling, all maps of the
/// second convolution connected, and linear outputs. Parameters are `conv1`, `conv2`, `fc1`, `fc2`,
/// `fc3`.
///
/// Input `[batch, channels, height, width]`, output `[batch, classes]`.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::models::{LeNet5, LeNet5Options};
/// use nerve_nn::{Context, Layer, Params};
/// let params = Params::new(42);
/// let model = LeNet5::new(&params, [1, 28, 28], LeNet5Options::new(10));
/// assert_eq!(params.count(), 61_706);
/// let y = model.forward(&Tensor::ones([2, 1, 28, 28]), &Context::eval());
/// assert_eq!(**y.shape(), [2, 10]);
/// ```
pub struct LeNet5 {
    network: Box<dyn Layer>,
}

/// The sizes of a [`LeNet5`].
#[derive(Clone, Debug, PartialEq)]
pub struct LeNet5Options {
    /// Number of outputs.
    pub classes: usize,
    /// The border of the first convolution: 2 makes 32 × 32 pixels of 28 × 28, as in the paper.
    pub padding: usize,
    /// The function after each layer but the last, by its name; in the paper a tanh.
    pub activation: String,
}

impl LeNet5Options {
    /// For 28 × 28 pixels, with tanh.
    pub fn new(classes: usize) -> LeNet5Options {
        LeNet5Options { classes, padding: 2, activation: "tanh".into() }
    }
}

fn lenet5(classes: usize, padding: usize, between: &Block) -> Block {
    let after = || ("", between.clone());
    Block::sequence([
        ("conv1", layer!("Conv2d", filters = 6, kernel = 5, padding = padding)),
        after(),
        ("", layer!("AvgPool2d")),
        ("conv2", layer!("Conv2d", filters = 16, kernel = 5)),
        after(),
        ("", layer!("AvgPool2d")),
        ("", layer!("Flatten")),
        ("fc1", layer!("Dense", units = 120)),
        after(),
        ("fc2", layer!("Dense", units = 84)),
        after(),
        ("fc3", layer!("Dense", units = classes)),
    ])
}

impl LeNet5 {
    /// For images of this shape: channels, height, width.
    ///
    /// # Panics
    /// If they are too small, or there is no such activation.
    #[track_caller]
    pub fn new(params: &Params, input: [usize; 3], options: LeNet5Options) -> LeNet5 {
        let block = lenet5(options.classes, options.padding, &activation(&options.activation));
        LeNet5 { network: whole("LeNet5", &block, input, params) }
    }
}

impl Layer for LeNet5 {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        self.network.forward(x, cx)
    }
}

/// 3×3 convolutions and maxima in turn, then three linear layers.
///
/// Simonyan & Zisserman, "Very deep convolutional networks for large-scale image recognition",
/// 2015. Parameters are called as in torchvision (`features.0.weight`, …, `classifier.6.bias`) and
/// begin as there.
///
/// Input `[batch, channels, height, width]` with 32 pixels or more each way, output
/// `[batch, classes]`.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::models::{Vgg, VggOptions};
/// use nerve_nn::{Context, Layer, Params};
/// let options = VggOptions { width: 2, hidden: 8, ..VggOptions::vgg11(10) };
/// let model = Vgg::new(&Params::new(42), 3, options);
/// let y = model.forward(&Tensor::ones([2, 3, 32, 32]), &Context::eval());
/// assert_eq!(**y.shape(), [2, 10]);
/// ```
pub struct Vgg {
    network: Box<dyn Layer>,
}

/// The sizes of a [`Vgg`].
#[derive(Clone, Debug, PartialEq)]
pub struct VggOptions {
    /// Number of outputs.
    pub classes: usize,
    /// Number of convolutions in each of the five stages.
    pub stages: [usize; 5],
    /// Channels of the first stage; 2, 4, 8 and 8 times as many in the others.
    pub width: usize,
    /// Units of the two linear layers before the last.
    pub hidden: usize,
    /// Whether each convolution has batch normalisation behind it.
    pub batch_norm: bool,
    /// The share of values that is dropped after those linear layers, while training.
    pub dropout: f64,
}

const VGG11: [usize; 5] = [1, 1, 2, 2, 2];
const VGG16: [usize; 5] = [2, 2, 3, 3, 3];

impl VggOptions {
    fn new(classes: usize, stages: [usize; 5]) -> VggOptions {
        VggOptions { classes, stages, width: 64, hidden: 4096, batch_norm: false, dropout: 0.5 }
    }

    /// Eleven layers with weights: configuration A.
    pub fn vgg11(classes: usize) -> VggOptions {
        VggOptions::new(classes, VGG11)
    }

    /// Sixteen layers with weights: configuration D.
    pub fn vgg16(classes: usize) -> VggOptions {
        VggOptions::new(classes, VGG16)
    }

    fn block(&self) -> Block {
        let mut features = Vec::new();
        for (stage, &count) in self.stages.iter().enumerate() {
            let filters = self.width.saturating_mul(1 << stage.min(3));
            for _ in 0..count {
                let init = he_out();
                features.push(layer!(
                    "Conv2d",
                    filters = filters,
                    kernel = 3,
                    padding = 1,
                    init = init
                ));
                if self.batch_norm {
                    features.push(layer!("BatchNorm"));
                }
                features.push(activation("relu"));
            }
            features.push(layer!("MaxPool2d"));
        }
        let dense = |units: usize| layer!("Dense", units = units, init = small_normal());
        let dropout = || layer!("Dropout", rate = self.dropout);
        let classifier = [
            dense(self.hidden),
            activation("relu"),
            dropout(),
            dense(self.hidden),
            activation("relu"),
            dropout(),
            dense(self.classes),
        ];
        Block::sequence([
            ("features", Block::chain(features)),
            ("", layer!("AdaptiveAvgPool2d", size = 7)),
            ("", layer!("Flatten")),
            ("classifier", Block::chain(classifier)),
        ])
    }
}

impl Vgg {
    /// For images with `inputs` channels.
    #[track_caller]
    pub fn new(params: &Params, inputs: usize, options: VggOptions) -> Vgg {
        let input = [inputs, super::LARGE, super::LARGE];
        Vgg { network: whole("Vgg", &options.block(), input, params) }
    }
}

impl Layer for Vgg {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        self.network.forward(x, cx)
    }
}

const ACTIVATION: Kind = crate::activations::KIND;
const UNITS: Kind = Kind::int(1, 1 << 32);

pub(super) static MLP: Entry = containers::entry!(
    "MLP" ["Mlp", "mlp"] Peers::of("torchvision.ops.MLP", ""),
    "Linear layers with an activation between each two.",
    &[
        Param::required("outputs", Kind::count(), "number of outputs")
            .alias(&["classes", "num_classes", "units"]),
        Param::with_default(
            "hidden",
            Kind::List { of: &UNITS, min_len: 0, max_len: 1000 },
            HIDDEN,
            "the units of the layers between",
        )
        .alias(&["hidden_channels"]),
        Param::with_default(
            "activation",
            ACTIVATION,
            Value::text("relu"),
            "the function after each layer but the last",
        ),
        Param::with_default(
            "dropout",
            Kind::fraction(),
            Value::Float(0.0),
            "the share of values that is dropped after each layer but the last",
        ),
    ],
    &[
        Sample::of("outputs = 3, hidden = [5, 4], dropout = 0.1, activation = 'tanh'", &[2, 3]),
        Sample::of("classes = 2, hidden = []", &[4]),
    ],
    |args: &Args, _: &[usize]| -> Result<Block, Misfit> {
        let between = Block::Layer(args.item("activation").clone());
        Ok(mlp(&args.usizes("hidden"), args.usize("outputs"), &between, args.float("dropout")))
    }
);

const HIDDEN: Value = Value::list(&DEFAULT_HIDDEN);
static DEFAULT_HIDDEN: [Value; 1] = [Value::Int(128)];

pub(super) static LENET5: Entry = containers::entry!(
    "LeNet5" ["LeNet", "lenet5"] Peers::NONE,
    "The convolutional network of 1998, for images of 28 × 28 pixels.",
    &[
        CLASSES,
        Param::with_default(
            "padding",
            Kind::int(0, 16),
            Value::Int(2),
            "the border of the first convolution: 2 for 28 × 28 pixels, 0 for 32 × 32",
        ),
        Param::with_default(
            "activation",
            ACTIVATION,
            Value::text("tanh"),
            "the function after each layer but the last",
        ),
    ],
    &[Sample::of("classes = 3, activation = 'silu'", &[1, 13, 14])],
    |args: &Args, input: &[usize]| -> Result<Block, Misfit> {
        image(input)?;
        let between = Block::Layer(args.item("activation").clone());
        Ok(lenet5(args.usize("classes"), args.usize("padding"), &between))
    }
);

const VGG_PARAMS: &[Param] = &[
    CLASSES,
    Param::with_default(
        "width",
        Kind::int(1, 1 << 12),
        Value::Int(64),
        "channels of the first stage; 2, 4, 8 and 8 times as many in the others",
    ),
    Param::with_default(
        "hidden",
        Kind::int(1, 1 << 20),
        Value::Int(4096),
        "units of the two linear layers before the last",
    ),
    Param::with_default(
        "batch_norm",
        Kind::Bool,
        Value::Bool(false),
        "whether each convolution has batch normalisation behind it",
    ),
    Param::with_default(
        "dropout",
        Kind::fraction(),
        Value::Float(0.5),
        "the share of values that is dropped after those linear layers",
    ),
];

fn vgg(args: &Args, input: &[usize], stages: [usize; 5]) -> Result<Block, Misfit> {
    image(input)?;
    let options = VggOptions {
        classes: args.usize("classes"),
        stages,
        width: args.usize("width"),
        hidden: args.usize("hidden"),
        batch_norm: args.bool("batch_norm"),
        dropout: args.float("dropout"),
    };
    Ok(options.block())
}

macro_rules! vggs {
    ($($id:ident: $name:literal $alias:literal $torch:literal $keras:literal $stages:expr,
        $doc:literal $sample:expr;)*) => {
        $(pub(super) static $id: Entry = containers::entry!(
            $name [$alias] Peers::of($torch, $keras), $doc, VGG_PARAMS, &[$sample],
            |args: &Args, input: &[usize]| vgg(args, input, $stages)
        );)*
    };
}

vggs! {
    VGG11_ENTRY: "VGG11" "vgg11" "torchvision.models.vgg11" "" VGG11,
        "3×3 convolutions and maxima in turn, 11 layers."
        Sample::of("classes = 3, width = 2, hidden = 4, batch_norm = true", &[1, 33, 32]);
    VGG16_ENTRY: "VGG16" "vgg16" "torchvision.models.vgg16" "applications.VGG16" VGG16,
        "3×3 convolutions and maxima in turn, 16 layers."
        Sample::of("classes = 2, width = 3, hidden = 4, dropout = 0", &[1, 32, 33]);
}
