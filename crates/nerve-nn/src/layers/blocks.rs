//! Blocks of well-known networks, made of layers of the registry: squeeze-and-excitation,
//! inverted residual, dense block, Inception, and the unit of ShuffleNet. Their parameters are
//! called as in torchvision.

use super::block::{Block, Named, layer};
use super::combine::Combine;
use super::containers::entry;
use super::{Entry, Misfit, Sample};
use crate::dims::image;
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

/// A convolution that keeps the size of an image up to its stride, without bias.
pub(crate) fn conv(filters: usize, kernel: usize, stride: usize, groups: usize) -> Block {
    layer!(
        "Conv2d",
        filters = filters,
        kernel = kernel,
        stride = stride,
        padding = kernel / 2,
        groups = groups,
        bias = false,
        init = he_out(),
    )
}

/// Normal with variance 2 / fan out, as torchvision begins its convolutions.
pub(crate) fn he_out() -> Value {
    Value::text("he_normal_out")
}

/// An activation without arguments.
pub(crate) fn activation(name: &str) -> Block {
    Block::layer(name, Vec::new())
}

fn activation_of(args: &Args) -> Block {
    Block::Layer(args.item("activation").clone())
}

/// A convolution, batch normalisation and an activation, with the names 0 and 1.
pub(crate) fn conv_norm(
    filters: usize,
    kernel: usize,
    stride: usize,
    groups: usize,
    after: Option<Block>,
) -> Block {
    let blocks = [conv(filters, kernel, stride, groups), layer!("BatchNorm")];
    Block::chain(blocks.into_iter().chain(after))
}

/// x · gate(x), with a gate for each channel from the means of all channels.
pub(crate) fn squeeze_excitation(
    between: usize,
    channels: usize,
    inner: Block,
    gate: &str,
) -> Block {
    let excite = Block::sequence([
        ("", layer!("GlobalAvgPool2d", keepdims = true)),
        ("fc1", layer!("Conv2d", filters = between, kernel = 1)),
        ("", inner),
        ("fc2", layer!("Conv2d", filters = channels, kernel = 1)),
        ("", activation(gate)),
    ]);
    let parts = vec![Block::chain([]).inline(), excite.inline()];
    Block::Branches { parts, merge: Combine::Multiply }
}

const RELU: Value = Value::text("relu");

const fn count(name: &'static str, doc: &'static str) -> Param {
    Param::required(name, Kind::count(), doc)
}

const STRIDE: Param = Param::with_default(
    "stride",
    Kind::int(1, 8),
    Value::Int(1),
    "how much smaller the image becomes",
)
.alias(&["strides"]);

const ACTIVATION: Kind = crate::activations::KIND;

pub(super) static SQUEEZE_EXCITATION: Entry = entry!(
    "SqueezeExcitation" ["SqueezeExcite"]
    Peers::of("torchvision.ops.SqueezeExcitation", ""),
    "Each channel of an image times a gate that is computed from the means of all (Hu et al., 2018).",
    &[
        Param::with_default(
            "reduction",
            Kind::int(1, 1 << 16),
            Value::Int(16),
            "by how much fewer channels there are between the two layers of the gate",
        )
        .alias(&["ratio"]),
        Param::with_default("activation", ACTIVATION, RELU, "the function between the two layers"),
        Param::with_default(
            "gate",
            Kind::Choice(&["sigmoid", "hard_sigmoid"]),
            Value::text("sigmoid"),
            "the function that makes the gate",
        ),
    ],
    &[
        Sample::of("reduction = 2, activation = 'silu'", &[4, 3, 3]),
        Sample::of("gate = 'hard_sigmoid', activation = 'silu'", &[3, 2, 4]),
    ],
    |args: &Args, input: &[usize]| {
        let [channels, ..] = image(input)?;
        let between = (channels / args.usize("reduction")).max(1);
        let gate = args.text("gate");
        Ok(squeeze_excitation(between, channels, activation_of(args), gate))
    }
);

/// What widens, filters each channel and narrows again, with its input added where it fits. The
/// names are those of torchvision's MobileNetV2.
pub(crate) fn inverted_residual(
    channels: usize,
    filters: usize,
    stride: usize,
    expansion: usize,
    after: &Block,
) -> Block {
    let wide = channels.saturating_mul(expansion);
    let mut parts: Vec<Block> = Vec::new();
    if expansion != 1 {
        parts.push(conv_norm(wide, 1, 1, 1, Some(after.clone())));
    }
    parts.push(conv_norm(wide, 3, stride, wide, Some(after.clone())));
    parts.push(conv(filters, 1, 1, 1));
    parts.push(layer!("BatchNorm"));
    let body = Block::chain(parts).named("conv");
    if stride == 1 && channels == filters {
        return Block::Residual { body: Box::new(body), shortcut: None, activation: None };
    }
    Block::Chain(vec![body])
}

pub(super) static INVERTED_RESIDUAL: Entry = entry!(
    "InvertedResidual" ["MBConv"] Peers::of("torchvision MobileNetV2's InvertedResidual", ""),
    "Widens, filters each channel, narrows; its input is added where it fits (Sandler et al., 2018).",
    &[
        count("filters", "output channels").alias(&["out_channels"]),
        STRIDE,
        Param::with_default(
            "expansion",
            Kind::int(1, 64),
            Value::Int(6),
            "how many times more channels there are inside",
        )
        .alias(&["expand_ratio"]),
        Param::with_default(
            "activation",
            ACTIVATION,
            Value::text("relu6"),
            "the function after the first two convolutions",
        ),
    ],
    &[
        Sample::of("filters = 3, expansion = 2", &[3, 4, 4]),
        Sample::of("filters = 4, stride = 2, activation = 'silu'", &[2, 5, 4]),
        Sample::of("filters = 4, expansion = 1", &[2, 3, 4]),
    ],
    |args: &Args, input: &[usize]| {
        let [channels, ..] = image(input)?;
        let (filters, stride) = (args.usize("filters"), args.usize("stride"));
        if channels == 0 {
            return Err(Misfit { needs: "one channel or more".into(), hint: String::new() });
        }
        let after = activation_of(args);
        Ok(inverted_residual(channels, filters, stride, args.usize("expansion"), &after))
    }
);

/// A step of a dense block: its result stands beside its input.
fn dense_step(growth: usize, bottleneck: usize) -> Block {
    let step = Block::sequence([
        ("norm1", layer!("BatchNorm")),
        ("", activation("relu")),
        ("conv1", conv(growth.saturating_mul(bottleneck), 1, 1, 1)),
        ("norm2", layer!("BatchNorm")),
        ("", activation("relu")),
        ("conv2", conv(growth, 3, 1, 1)),
    ]);
    let parts = vec![Block::chain([]).inline(), step.inline()];
    Block::Branches { parts, merge: Combine::Concat { axis: 1 } }
}

pub(super) static DENSE_BLOCK: Entry = entry!(
    "DenseBlock" [] Peers::of("torchvision DenseNet's _DenseBlock", ""),
    "Each step sees the images of all steps before it and adds some of its own (Huang et al., 2017).",
    &[
        Param::required("n", Kind::int(1, 256), "number of steps").alias(&["num_layers"]),
        Param::with_default(
            "growth",
            Kind::count(),
            Value::Int(32),
            "channels that each step adds",
        )
        .alias(&["growth_rate"]),
        Param::with_default(
            "bottleneck",
            Kind::int(1, 1 << 10),
            Value::Int(4),
            "channels between the two convolutions of a step, in multiples of the growth",
        )
        .alias(&["bn_size"]),
    ],
    &[Sample::of("n = 3, growth = 2, bottleneck = 2", &[3, 4, 3])],
    |args: &Args, input: &[usize]| {
        image(input)?;
        let step = dense_step(args.usize("growth"), args.usize("bottleneck"));
        let names = (1..=args.usize("n")).map(|i| format!("denselayer{i}"));
        Ok(Block::Chain(names.map(|name| step.clone().named(name)).collect()))
    }
);

/// A convolution without bias, batch normalisation with the eps of Inception, ReLU.
fn inception_conv(filters: usize, kernel: usize) -> Block {
    Block::sequence([
        ("conv", conv(filters, kernel, 1, 1)),
        ("bn", layer!("BatchNorm", eps = 1e-3)),
        ("", activation("relu")),
    ])
}

pub(super) static INCEPTION: Entry = entry!(
    "Inception" ["InceptionBlock"] Peers::of("torchvision GoogLeNet's Inception", ""),
    "Convolutions of several sizes and a maximum side by side (Szegedy et al., 2015).",
    &[
        count("one", "channels of the 1×1 convolution").alias(&["ch1x1"]),
        count("three_reduce", "channels before the 3×3 convolution").alias(&["ch3x3red"]),
        count("three", "channels of the 3×3 convolution").alias(&["ch3x3"]),
        count("five_reduce", "channels before the 5×5 convolution").alias(&["ch5x5red"]),
        count("five", "channels of the 5×5 convolution").alias(&["ch5x5"]),
        count("pool", "channels after the 3×3 maximum").alias(&["pool_proj"]),
        Param::with_default(
            "five_kernel",
            Kind::Choice(&["5", "3"]),
            Value::text("5"),
            "the size of the 5×5 convolution: 5 as in the paper, or 3, which torchvision has",
        ),
    ],
    &[Sample::of(
        "one = 2, three_reduce = 1, three = 2, five_reduce = 1, five = 3, pool = 2",
        &[3, 5, 4],
    )],
    |args: &Args, input: &[usize]| {
        image(input)?;
        let size = |name: &str| args.usize(name);
        let five = if args.text("five_kernel") == "3" { 3 } else { 5 };
        let pair = |reduce, filters, kernel| {
            Block::chain([inception_conv(size(reduce), 1), inception_conv(size(filters), kernel)])
        };
        let pool = layer!("MaxPool2d", pool = 3, stride = 1, padding = 1);
        let parts: [Named; 4] = [
            inception_conv(size("one"), 1).named("branch1"),
            pair("three_reduce", "three", 3).named("branch2"),
            pair("five_reduce", "five", five).named("branch3"),
            Block::chain([pool, inception_conv(size("pool"), 1)]).named("branch4"),
        ];
        Ok(Block::Branches { parts: parts.into(), merge: Combine::Concat { axis: 1 } })
    }
);

/// Half of the channels, the first or the second.
fn half(channels: usize, second: bool) -> Block {
    let half = channels / 2;
    let start = if second { half } else { 0 };
    layer!("Narrow", axis = 1, start = start, length = half)
}

pub(super) static SHUFFLE_UNIT: Entry = entry!(
    "ShuffleUnit" [] Peers::of("torchvision ShuffleNetV2's InvertedResidual", ""),
    "Half of the channels pass, the other half is filtered, then channels are mixed (Ma et al., 2018).",
    &[
        count("filters", "output channels, an even number").alias(&["out_channels"]),
        STRIDE,
    ],
    &[
        Sample::of("filters = 4", &[4, 3, 4]),
        Sample::of("filters = 6, stride = 2", &[3, 5, 4]),
    ],
    |args: &Args, input: &[usize]| {
        let [channels, ..] = image(input)?;
        let (filters, stride) = (args.usize("filters"), args.usize("stride"));
        let misfit = |needs: &str, hint: String| Misfit { needs: needs.into(), hint };
        if filters % 2 != 0 || channels == 0 {
            let hint = format!("there are {channels} channels and {filters} filters");
            return Err(misfit("an even number of filters, and a channel", hint));
        }
        if stride == 1 && channels != filters {
            let hint = format!("there are {channels} channels and {filters} filters");
            return Err(misfit("as many filters as channels where the stride is 1", hint));
        }
        let half_filters = filters / 2;
        let relu = || Some(activation("relu"));
        let depthwise = |channels: usize| {
            [conv(channels, 3, stride, channels), layer!("BatchNorm")]
        };
        let pointwise = |filters: usize| [conv(filters, 1, 1, 1), layer!("BatchNorm")];
        let second = Block::chain(
            (pointwise(half_filters).into_iter().chain(relu()))
                .chain(depthwise(half_filters))
                .chain(pointwise(half_filters))
                .chain(relu()),
        );
        let parts = if stride == 1 {
            let second = Block::Chain(vec![half(channels, true).inline(), second.named("branch2")]);
            vec![half(channels, false).inline(), second.inline()]
        } else {
            let first = depthwise(channels).into_iter().chain(pointwise(half_filters)).chain(relu());
            vec![Block::chain(first).named("branch1"), second.named("branch2")]
        };
        let both = Block::Branches { parts, merge: Combine::Concat { axis: 1 } };
        Ok(Block::Chain(vec![both.inline(), layer!("ChannelShuffle", groups = 2).inline()]))
    }
);
