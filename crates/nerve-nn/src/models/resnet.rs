//! Residual networks.

use crate::context::Context;
use crate::dims::{Window, image, product};
use crate::init::FanScaled;
use crate::layers::{
    BatchNorm, Conv2d, Conv2dOptions, Effect, Entry, GlobalAvgPool2d, Layer, Linear, MaxPool2d,
    Misfit, Padding, PoolOptions, Sample,
};
use crate::params::Params;
use nerve_core::Tensor;
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

/// A residual network for images: stages of blocks, each of which adds what it has learned to what
/// it was given.
///
/// He, Zhang, Ren & Sun, "Deep residual learning for image recognition", 2015. Made of blocks of
/// two 3×3 convolutions (ResNet-18 and ResNet-34). Parameters are called as in torchvision
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
    /// Of the stem.
    pub conv1: Conv2d,
    /// Of the stem.
    pub bn1: BatchNorm,
    /// After the stem, if it is that for large images.
    pub max_pool: Option<MaxPool2d>,
    /// The blocks of all stages, first to last: `layer1.0`, …
    pub blocks: Vec<BasicBlock>,
    /// From the mean of each channel to the classes.
    pub fc: Linear,
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
}

/// How a [`ResNet`] begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stem {
    /// For large images: a 7×7 convolution with stride 2 and a 3×3 maximum with stride 2.
    ImageNet,
    /// For small images: a 3×3 convolution with stride 1.
    Cifar,
}

const RESNET18_BLOCKS: [usize; 4] = [2, 2, 2, 2];
const RESNET34_BLOCKS: [usize; 4] = [3, 4, 6, 3];

impl Stem {
    /// Height and width of the window, and its step.
    fn window(self) -> (usize, usize) {
        match self {
            Stem::ImageNet => (7, 2),
            Stem::Cifar => (3, 1),
        }
    }
}

impl ResNetOptions {
    /// Eighteen layers with weights, for large images.
    pub fn resnet18(classes: usize) -> ResNetOptions {
        ResNetOptions { classes, stem: Stem::ImageNet, width: 64, blocks: RESNET18_BLOCKS.to_vec() }
    }

    /// Thirty-four layers with weights, for large images.
    pub fn resnet34(classes: usize) -> ResNetOptions {
        ResNetOptions { blocks: RESNET34_BLOCKS.to_vec(), ..ResNetOptions::resnet18(classes) }
    }

    /// Channels of the stage number `stage`.
    fn channels(&self, stage: usize) -> usize {
        self.width << stage
    }

    /// The number of its stage and its own for each block.
    fn each_block(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.blocks.iter().enumerate().flat_map(|(stage, &n)| (0..n).map(move |i| (stage, i)))
    }
}

/// The first block of a stage halves the image, but for the first stage.
fn stride_of(stage: usize, block: usize) -> usize {
    if stage > 0 && block == 0 { 2 } else { 1 }
}

impl ResNet {
    /// For images with `inputs` channels.
    #[track_caller]
    pub fn new(params: &Params, inputs: usize, options: ResNetOptions) -> ResNet {
        let (kernel, stride) = options.stem.window();
        let mut channels = options.width;
        let conv1 = convolution(&params.at("conv1"), inputs, channels, kernel, stride);
        let bn1 = BatchNorm::new(&params.at("bn1"), channels);
        let mut blocks = Vec::new();
        for (stage, block) in options.each_block() {
            let params = params.at(format!("layer{}", stage + 1)).at(block);
            let inputs = std::mem::replace(&mut channels, options.channels(stage));
            blocks.push(BasicBlock::new(&params, inputs, channels, stride_of(stage, block)));
        }
        let padding = Padding::Explicit([1, 1]);
        let max_pool = PoolOptions { stride: [2, 2], padding, ..PoolOptions::new(3) };
        ResNet {
            conv1,
            bn1,
            max_pool: (options.stem == Stem::ImageNet).then_some(MaxPool2d { options: max_pool }),
            blocks,
            fc: Linear::new(&params.at("fc"), channels, options.classes),
        }
    }
}

impl Layer for ResNet {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        let mut x = self.bn1.forward(&self.conv1.forward(x, cx), cx).relu();
        if let Some(pool) = &self.max_pool {
            x = pool.forward(&x, cx);
        }
        for block in &self.blocks {
            x = block.forward(&x, cx);
        }
        self.fc.forward(&GlobalAvgPool2d::default().forward(&x, cx), cx)
    }
}

/// Two 3×3 convolutions, each with batch normalisation, whose result is added to the input:
/// y = relu(x + bn2(conv2(relu(bn1(conv1(x)))))).
///
/// Where the number of channels or the size of the image changes, x goes through a 1×1 convolution
/// and batch normalisation (`downsample`) before it is added.
pub struct BasicBlock {
    /// May halve the image.
    pub conv1: Conv2d,
    /// After the first convolution.
    pub bn1: BatchNorm,
    /// Keeps the size.
    pub conv2: Conv2d,
    /// After the second convolution.
    pub bn2: BatchNorm,
    /// What brings the input to the size of the result.
    pub downsample: Option<(Conv2d, BatchNorm)>,
}

impl BasicBlock {
    /// From `inputs` to `outputs` channels; the image becomes smaller by `stride`.
    #[track_caller]
    pub fn new(params: &Params, inputs: usize, outputs: usize, stride: usize) -> BasicBlock {
        let shortcut = params.at("downsample");
        BasicBlock {
            conv1: convolution(&params.at("conv1"), inputs, outputs, 3, stride),
            bn1: BatchNorm::new(&params.at("bn1"), outputs),
            conv2: convolution(&params.at("conv2"), outputs, outputs, 3, 1),
            bn2: BatchNorm::new(&params.at("bn2"), outputs),
            downsample: (stride != 1 || inputs != outputs).then(|| {
                let conv = convolution(&shortcut.at(0), inputs, outputs, 1, stride);
                (conv, BatchNorm::new(&shortcut.at(1), outputs))
            }),
        }
    }
}

impl Layer for BasicBlock {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        let y = self.bn1.forward(&self.conv1.forward(x, cx), cx).relu();
        let y = self.bn2.forward(&self.conv2.forward(&y, cx), cx);
        let shortcut = match &self.downsample {
            Some((conv, bn)) => bn.forward(&conv.forward(x, cx), cx),
            None => x.clone(),
        };
        (y + shortcut).relu()
    }
}

/// Without biases, which the batch normalisation behind it would take away again; the border keeps
/// the size of the image up to the stride.
#[track_caller]
fn convolution(
    params: &Params,
    inputs: usize,
    outputs: usize,
    kernel: usize,
    stride: usize,
) -> Conv2d {
    let options = Conv2dOptions {
        stride: [stride; 2],
        padding: Padding::Explicit([kernel / 2; 2]),
        ..Conv2dOptions::default()
    };
    let init = FanScaled::HE_NORMAL_OUT;
    Conv2d::with_init(params, inputs, outputs, [kernel; 2], options, &init, None)
}

/// What a network of a given size costs, found by walking through it.
struct Walk {
    shape: [usize; 3],
    total: Effect,
}

impl Walk {
    /// A convolution with its batch normalisation, on images of shape `input`.
    fn convolution(
        &mut self,
        input: [usize; 3],
        outputs: usize,
        kernel: usize,
        stride: usize,
    ) -> Result<[usize; 3], Misfit> {
        let window = |name| Window { name, kernel, stride, dilation: 1 };
        let border = (kernel / 2, kernel / 2);
        let height = window("height").count(input[1], border)?;
        let width = window("width").count(input[2], border)?;
        let shape = [outputs, height, width];
        let taps = product(&[input[0], kernel, kernel]);
        self.add(&Effect::weighted(shape, outputs, taps, false));
        let (channels, values) = (outputs as u128, product(&shape));
        let cheap = Effect::cheap(shape, values, 8);
        self.add(&Effect { parameters: 2 * channels, state: 2 * channels + 1, ..cheap });
        Ok(shape)
    }

    fn add(&mut self, part: &Effect) {
        let Effect { parameters, state, flops, kept, .. } = &mut self.total;
        *parameters = parameters.saturating_add(part.parameters);
        *state = state.saturating_add(part.state);
        *flops = flops.saturating_add(part.flops);
        *kept = kept.saturating_add(part.kept);
    }

    fn of(input: &[usize], options: &ResNetOptions) -> Result<Effect, Misfit> {
        let shape = image(input)?;
        let mut walk = Walk { shape, total: Effect::cheap([options.classes], 0, 0) };
        let (kernel, stride) = options.stem.window();
        walk.shape = walk.convolution(shape, options.width, kernel, stride)?;
        if options.stem == Stem::ImageNet {
            let halves = [walk.shape[1], walk.shape[2]].map(|n| n.div_ceil(2));
            walk.shape = [options.width, halves[0], halves[1]];
            walk.add(&Effect::cheap(walk.shape, product(&walk.shape), 9));
        }
        for (stage, block) in options.each_block() {
            let outputs = options.channels(stage);
            let stride = stride_of(stage, block);
            let inside = walk.convolution(walk.shape, outputs, 3, stride)?;
            let shape = walk.convolution(inside, outputs, 3, 1)?;
            if stride != 1 || walk.shape[0] != outputs {
                walk.convolution(walk.shape, outputs, 1, stride)?;
            }
            walk.add(&Effect::cheap(shape, product(&shape), 2));
            walk.shape = shape;
        }
        let channels = walk.shape[0];
        walk.add(&Effect::cheap([channels], product(&walk.shape), 1));
        let head = Effect::weighted([options.classes], options.classes, channels as u128, true);
        walk.add(&head);
        Ok(walk.total)
    }
}

const PARAMS: &[Param] = &[
    Param::required("classes", Kind::count(), "number of outputs").alias(&["num_classes"]),
    Param::with_default(
        "stem",
        Kind::Choice(&["imagenet", "cifar"]),
        Value::text("imagenet"),
        "imagenet: 7×7 with stride 2 and pooling, for large images; cifar: 3×3, for small ones",
    ),
    Param::with_default(
        "width",
        Kind::int(1, 1 << 12),
        Value::Int(64),
        "channels of the first stage; each further one has twice as many",
    ),
];

fn options(args: &Args, blocks: [usize; 4]) -> ResNetOptions {
    let cifar = matches!(args.get("stem"), Some(Value::Text(word)) if word == "cifar");
    ResNetOptions {
        classes: args.usize("classes"),
        stem: if cifar { Stem::Cifar } else { Stem::ImageNet },
        width: args.usize("width"),
        blocks: blocks.to_vec(),
    }
}

macro_rules! entries {
    ($($id:ident: $name:literal [$($alias:literal),*] $torch:literal $blocks:expr, $doc:literal,
        $sample:expr;)*) => {
        $(pub(super) static $id: Entry = Entry {
            spec: Spec {
                name: $name,
                aliases: &[$($alias),*],
                peers: Peers::of($torch, ""),
                doc: $doc,
                params: PARAMS,
            },
            samples: &[$sample],
            takes_indices: false,
            infer: |args, input| Walk::of(input, &options(args, $blocks)),
            make: |args, input, params| {
                Box::new(ResNet::new(params, input[0], options(args, $blocks)))
            },
        };)*
    };
}

entries! {
    RESNET18: "ResNet18" ["resnet18"] "torchvision.models.resnet18"
        RESNET18_BLOCKS, "Residual network with 18 layers.",
        Sample::of("classes = 3, width = 2, stem = 'cifar'", &[3, 9, 6]);
    RESNET34: "ResNet34" ["resnet34"] "torchvision.models.resnet34"
        RESNET34_BLOCKS, "Residual network with 34 layers.",
        Sample::of("num_classes = 2, width = 1", &[1, 33, 20]);
}
