//! Encoders of pictures, and of measurements over time taken as pictures or rows of channels.

use super::{ACTIVATION, DROPOUT, Entry, Feed, SIZE, WIDTH, between, dropped, norm, tokens};
use crate::layers::block::Argument;
use crate::list::item;
use nerve_formats::Meaning;
use nerve_formats::spec::{Args, Item, Kind, Param, Peers, Spec, Value};

static FILTERS: [Value; 2] = [Value::Int(32), Value::Int(64)];

pub(super) static STACKED_CNN: Entry = Entry {
    spec: Spec {
        name: "stacked_cnn",
        aliases: &["cnn"],
        peers: Peers::NONE,
        doc: "Convolutions and maxima in turn.",
        params: &[
            Param::with_default(
                "filters",
                Kind::List { of: &SIZE, min_len: 1, max_len: 100 },
                Value::list(&FILTERS),
                "channels of each convolution",
            ),
            Param::with_default(
                "kernel",
                Kind::int(1, 1 << 10),
                Value::Int(3),
                "side of the filters",
            ),
            Param::with_default(
                "pool",
                Kind::int(1, 1 << 10),
                Value::Int(2),
                "side of the squares of which the largest value is kept; 1 for none",
            ),
            Param::with_default(
                "reduce",
                Kind::Choice(&["auto", "flatten", "mean", "max"]),
                Value::text("auto"),
                "what becomes of the places; auto: flatten up to 64 of them, else their mean",
            ),
            WIDTH,
            ACTIVATION,
            norm("batch"),
            DROPOUT,
        ],
    },
    layers: stacked_cnn,
};

/// The layers that make `[channels, extents…]` of it, and the extents.
fn channels_first(feed: &Feed, args: &Args) -> Result<(Vec<Item>, Vec<usize>), String> {
    let turn = || item!("Permute", axes = [2usize, 1]);
    match (&feed.meaning, &feed.shape[..]) {
        (Meaning::Image, &[_, height, width]) => Ok((Vec::new(), vec![height, width])),
        (Meaning::Frames, &[time, _]) => Ok((vec![turn()?], vec![time])),
        (Meaning::Tokens { vocabulary }, &[time]) => {
            Ok((vec![tokens(*vocabulary, args.usize("width"))?, turn()?], vec![time]))
        }
        _ => feed.refuse("stacked_cnn", "a picture, tokens or measurements over time"),
    }
}

fn stacked_cnn(args: &Args, feed: &Feed) -> Result<Vec<Item>, String> {
    let (mut list, mut extents) = channels_first(feed, args)?;
    let (conv, maximum, mean) = match extents.len() {
        1 => ("Conv1d", "MaxPool1d", "GlobalAvgPool1d"),
        _ => ("Conv2d", "MaxPool2d", "GlobalAvgPool2d"),
    };
    let (kernel, pool) = (args.usize("kernel"), args.usize("pool"));
    for filters in args.usizes("filters") {
        list.push(item!(conv, filters = filters, kernel = kernel, padding = "same")?);
        list.extend(between(args)?.into_iter().filter(|item| item.name != "Dropout"));
        // What is too small to be halved stays.
        if pool > 1 && extents.iter().all(|&extent| extent >= pool) {
            list.push(item!(maximum, pool = pool)?);
            extents.iter_mut().for_each(|extent| *extent /= pool);
        }
    }
    let places: usize = extents.iter().fold(1, |all, &n| all.saturating_mul(n));
    list.push(match args.text("reduce") {
        "max" => item!(if extents.len() == 1 { "GlobalMaxPool1d" } else { "GlobalMaxPool2d" })?,
        "mean" => item!(mean)?,
        "auto" if places > 64 => item!(mean)?,
        _ => item!("Flatten")?,
    });
    list.extend(dropped(args)?);
    Ok(list)
}

static BLOCKS: [Value; 4] = [Value::Int(2), Value::Int(2), Value::Int(2), Value::Int(2)];

pub(super) static RESNET: Entry = Entry {
    spec: Spec {
        name: "resnet",
        aliases: &[],
        peers: Peers::NONE,
        doc: "A residual network: stages of blocks that add to what they get (He et al. 2015).",
        params: &[
            Param::with_default(
                "filters",
                SIZE,
                Value::Int(64),
                "channels of the first stage; each further one has twice as many",
            )
            .alias(&["width"]),
            Param::with_default(
                "blocks",
                Kind::List { of: &Kind::int(1, 1000), min_len: 1, max_len: 8 },
                Value::list(&BLOCKS),
                "blocks in each stage; each stage but the first halves the picture",
            ),
            Param::with_default(
                "stem",
                Kind::Choice(&["auto", "cifar", "imagenet"]),
                Value::text("auto"),
                "how it begins; auto: imagenet from 128 pixels on",
            ),
            DROPOUT,
        ],
    },
    layers: resnet,
};

fn conv(filters: usize, kernel: usize, stride: usize) -> Result<Item, String> {
    item!(
        "Conv2d",
        filters = filters,
        kernel = kernel,
        stride = stride,
        padding = kernel / 2,
        bias = false,
        init = "he_normal_out"
    )
}

fn resnet(args: &Args, feed: &Feed) -> Result<Vec<Item>, String> {
    let (Meaning::Image, &[_, height, width]) = (&feed.meaning, &feed.shape[..]) else {
        return feed.refuse("resnet", "a picture");
    };
    let large = match args.text("stem") {
        "auto" => height.max(width) >= 128,
        stem => stem == "imagenet",
    };
    let filters = args.usize("filters");
    let mut list = match large {
        true => vec![conv(filters, 7, 2)?, item!("BatchNorm")?, item!("relu")?],
        false => vec![conv(filters, 3, 1)?, item!("BatchNorm")?, item!("relu")?],
    };
    if large {
        list.push(item!("MaxPool2d", pool = 3, stride = 2, padding = 1)?);
    }
    for (stage, blocks) in args.usizes("blocks").into_iter().enumerate() {
        for block in 0..blocks {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let filters = filters.saturating_mul(1 << stage);
            let body = vec![
                conv(filters, 3, stride)?,
                item!("BatchNorm")?,
                item!("relu")?,
                conv(filters, 3, 1)?,
                item!("BatchNorm")?,
            ];
            let residual =
                item!("Residual", layers = body, projection = "batch_norm", activation = "relu");
            list.push(residual?);
        }
    }
    list.push(item!("GlobalAvgPool2d")?);
    list.extend(dropped(args)?);
    Ok(list)
}

pub(super) static UNET: Entry = Entry {
    spec: Spec {
        name: "unet",
        aliases: &[],
        peers: Peers::NONE,
        doc: "Down to small pictures and up again (Ronneberger et al. 2015): features of each pixel.",
        params: &[
            Param::with_default(
                "filters",
                Kind::int(1, 1 << 12),
                Value::Int(32),
                "channels of the largest size; each halving doubles them",
            )
            .alias(&["width"]),
            Param::with_default("depth", Kind::int(1, 10), Value::Int(3), "how often it is halved"),
            DROPOUT,
        ],
    },
    layers: |args, feed| {
        if feed.meaning != Meaning::Image {
            return feed.refuse("unet", "a picture");
        }
        let unet = item!("UNet", width = args.usize("filters"), depth = args.usize("depth"))?;
        Ok([unet].into_iter().chain(dropped(args)?).collect())
    },
};

pub(super) static DS_CNN: Entry = Entry {
    spec: Spec {
        name: "ds_cnn",
        aliases: &["depthwise_cnn"],
        peers: Peers::NONE,
        doc: "Depthwise separable convolutions over time and frequency (Zhang et al. 2017).",
        params: &[
            Param::with_default("filters", SIZE, Value::Int(64), "channels"),
            Param::with_default(
                "blocks",
                Kind::int(0, 100),
                Value::Int(4),
                "separable convolutions",
            ),
            Param::with_default(
                "stride",
                Kind::int(1, 16),
                Value::Int(2),
                "step of the first convolution, along both axes",
            ),
            DROPOUT,
        ],
    },
    layers: ds_cnn,
};

fn ds_cnn(args: &Args, feed: &Feed) -> Result<Vec<Item>, String> {
    let (Meaning::Frames, &[time, features]) = (&feed.meaning, &feed.shape[..]) else {
        return feed.refuse("ds_cnn", "measurements over time, for instance a spectrogram");
    };
    let [filters, stride] = ["filters", "stride"].map(|key| args.usize(key));
    let list = |axes: [usize; 2]| Value::List(axes.map(Argument::value).to_vec().into());
    let kernel = list([10.min(time.max(1)), 4.min(features.max(1))]);
    let mut all = vec![
        item!("Unsqueeze", axis = 1)?,
        item!("Conv2d", filters = filters, kernel = kernel, stride = stride, bias = false)?,
        item!("BatchNorm")?,
        item!("relu")?,
    ];
    for _ in 0..args.usize("blocks") {
        all.extend([
            item!("DepthwiseConv2d", kernel = 3, padding = "same", bias = false)?,
            item!("BatchNorm")?,
            item!("relu")?,
            item!("Conv2d", filters = filters, kernel = 1, bias = false)?,
            item!("BatchNorm")?,
            item!("relu")?,
        ]);
    }
    all.push(item!("GlobalAvgPool2d")?);
    all.extend(dropped(args)?);
    Ok(all)
}
