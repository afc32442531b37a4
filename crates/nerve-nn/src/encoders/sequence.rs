//! Encoders of tokens and of measurements over time.

use super::{ACTIVATION, DROPOUT, Entry, Feed, SIZE, WIDTH, dropped, reduce, reduced};
use crate::list::item;
use crate::models::bert;
use nerve_formats::Meaning;
use nerve_formats::spec::{Args, Item, Kind, Param, Peers, Spec, Value};

static KERNELS: [Value; 3] = [Value::Int(3), Value::Int(4), Value::Int(5)];
static ONE_LAYER: [Value; 1] = [Value::Int(64)];
static LEVELS: [Value; 4] = [Value::Int(64), Value::Int(64), Value::Int(64), Value::Int(64)];

const KERNEL: Param =
    Param::with_default("kernel", Kind::int(1, 1 << 10), Value::Int(3), "steps that a filter sees");

/// `[time, features]` with the features first, for convolutions, and back.
fn turned() -> Result<Item, String> {
    item!("Permute", axes = [2usize, 1])
}

pub(super) static PARALLEL_CNN: Entry = Entry {
    spec: Spec {
        name: "parallel_cnn",
        aliases: &["text_cnn"],
        peers: Peers::NONE,
        doc: "Convolutions of several lengths side by side, and the largest of each (Kim 2014).",
        params: &[
            Param::with_default(
                "kernels",
                Kind::List { of: &Kind::int(1, 1 << 10), min_len: 1, max_len: 100 },
                Value::list(&KERNELS),
                "how many steps each kind of filter sees",
            )
            .alias(&["filters"]),
            Param::with_default("channels", SIZE, Value::Int(100), "filters of each length"),
            WIDTH,
            ACTIVATION,
            DROPOUT,
        ],
    },
    layers: |args, feed| {
        let mut list = feed.sequence("parallel_cnn", args.usize("width"))?;
        list.extend(dropped(args)?);
        list.push(turned()?);
        let branch = |kernel: usize| -> Result<Vec<Item>, String> {
            let filters = args.usize("channels");
            Ok(vec![
                item!("Conv1d", filters = filters, kernel = kernel, padding = "same")?,
                args.item("activation").clone(),
                item!("GlobalMaxPool1d")?,
            ])
        };
        let branches = args.usizes("kernels").into_iter().map(branch);
        list.push(item!("Branches", branches = branches.collect::<Result<Vec<_>, _>>()?)?);
        list.extend(dropped(args)?);
        Ok(list)
    },
};

const CELL: Param = Param::with_default(
    "cell",
    Kind::Choice(&["lstm", "gru", "rnn"]),
    Value::text("lstm"),
    "the kind of recurrence",
);
const UNITS: Param = Param::with_default("units", SIZE, Value::Int(128), "length of the state");
const DEPTH: Param =
    Param::with_default("layers", Kind::int(1, 100), Value::Int(1), "layers upon each other");
const BIDIRECTIONAL: Param = Param::with_default(
    "bidirectional",
    Kind::Bool,
    Value::Bool(false),
    "whether it reads from both ends",
);

/// The recurrent layers, and what makes one row of their steps.
fn recurrent(args: &Args) -> Result<Vec<Item>, String> {
    let name = match args.text("cell") {
        "gru" => "GRU",
        "rnn" => "RNN",
        _ => "LSTM",
    };
    // The last state needs no steps.
    let last = args.text("reduce") == "last";
    let layers = args.usize("layers");
    let between = if layers > 1 { args.float("dropout") } else { 0.0 };
    let layer = item!(
        name,
        units = args.usize("units"),
        layers = layers,
        bidirectional = args.bool("bidirectional"),
        dropout = between,
        return_sequences = !last
    )?;
    let pooled = if last { None } else { reduced(args)? };
    Ok([layer].into_iter().chain(pooled).chain(dropped(args)?).collect())
}

pub(super) static RNN: Entry = Entry {
    spec: Spec {
        name: "rnn",
        aliases: &["recurrent"],
        peers: Peers::NONE,
        doc: "A recurrent network that reads step after step.",
        params: &[CELL, UNITS, DEPTH, BIDIRECTIONAL, reduce("last"), WIDTH, DROPOUT],
    },
    layers: |args, feed| {
        let mut list = feed.sequence("rnn", args.usize("width"))?;
        list.extend(recurrent(args)?);
        Ok(list)
    },
};

pub(super) static CNNRNN: Entry = Entry {
    spec: Spec {
        name: "cnnrnn",
        aliases: &["cnn_rnn"],
        peers: Peers::NONE,
        doc: "Convolutions over time, then a recurrent network.",
        params: &[
            Param::with_default(
                "filters",
                Kind::List { of: &SIZE, min_len: 1, max_len: 100 },
                Value::list(&ONE_LAYER),
                "channels of each convolution",
            ),
            KERNEL,
            Param::with_default(
                "pool",
                Kind::int(1, 1 << 10),
                Value::Int(2),
                "steps of which the largest value is kept; 1 for none",
            ),
            CELL,
            UNITS,
            DEPTH,
            BIDIRECTIONAL,
            reduce("last"),
            WIDTH,
            ACTIVATION,
            DROPOUT,
        ],
    },
    layers: |args, feed| {
        let mut list = feed.sequence("cnnrnn", args.usize("width"))?;
        let (kernel, pool) = (args.usize("kernel"), args.usize("pool"));
        let mut time = feed.shape[0];
        list.push(turned()?);
        for filters in args.usizes("filters") {
            list.push(item!("Conv1d", filters = filters, kernel = kernel, padding = "same")?);
            list.push(args.item("activation").clone());
            if pool > 1 && time >= pool {
                list.push(item!("MaxPool1d", pool = pool)?);
                time /= pool;
            }
        }
        list.push(turned()?);
        list.extend(recurrent(args)?);
        Ok(list)
    },
};

pub(crate) const HEADS: Param =
    Param::with_default("heads", Kind::int(1, 1 << 10), Value::Int(4), "heads of attention");
pub(crate) const DIM: Param =
    Param::with_default("dim", SIZE, Value::Int(64), "features of a step");
pub(crate) const STACK: Param =
    Param::with_default("layers", Kind::int(1, 1000), Value::Int(2), "layers upon each other")
        .alias(&["blocks"]);
pub(crate) const FEED_FORWARD: Param = Param::optional(
    "feed_forward",
    SIZE,
    "units between the two linear layers of each; without it four times dim",
)
.alias(&["ff"]);

/// Places, layers of attention, each normalising what it reads.
fn attention(args: &Args) -> Result<Vec<Item>, String> {
    let dim = args.usize("dim");
    let units = match args.has("feed_forward") {
        true => args.usize("feed_forward"),
        false => dim.saturating_mul(4),
    };
    Ok(vec![
        item!("PositionalEncoding", kind = "learned")?,
        item!(
            "TransformerEncoder",
            layers = args.usize("layers"),
            heads = args.usize("heads"),
            feed_forward = units,
            activation = "gelu",
            dropout = args.float("dropout"),
            norm_first = true
        )?,
    ])
}

/// The same linear map of each step.
fn projection(dim: usize) -> Result<Item, String> {
    item!("TimeDistributed", layer = item!("Dense", units = dim)?)
}

pub(super) static BERT: Entry = Entry {
    spec: Spec {
        name: "bert",
        aliases: &[],
        peers: Peers::NONE,
        doc: "A BERT, to begin with parameters of Hugging Face by `init_from` (Devlin et al. 2018).",
        params: &[
            Param::optional(
                "vocabulary",
                SIZE,
                "rows of the table of tokens; without it as many as the tokenizer has",
            )
            .alias(&["vocab_size"]),
            bert::FEATURES,
            bert::DEPTH,
            bert::HEADS,
            bert::FEED_FORWARD,
            bert::LONGEST,
            bert::TYPES,
            bert::ACTIVATION,
            bert::EPS,
            reduce("mean"),
            DROPOUT,
        ],
    },
    layers: |args, feed| {
        let Meaning::Tokens { vocabulary } = feed.meaning else {
            return feed.refuse("bert", "tokens");
        };
        let rows = if args.has("vocabulary") { args.usize("vocabulary") } else { vocabulary };
        if rows < vocabulary {
            return Err(format!("`bert` has {rows} rows for the {vocabulary} tokens of the text"));
        }
        let features = args.usize("features");
        let units = match args.has("feed_forward") {
            true => args.usize("feed_forward"),
            false => features.saturating_mul(4),
        };
        let bert = item!(
            "Bert",
            vocabulary = rows,
            features = features,
            layers = args.usize("layers"),
            heads = args.usize("heads"),
            feed_forward = units,
            longest = args.usize("longest"),
            types = args.usize("types"),
            activation = args.item("activation").clone(),
            eps = args.float("eps"),
            dropout = args.float("dropout")
        )?;
        Ok([bert].into_iter().chain(reduced(args)?).collect())
    },
};

pub(super) static TRANSFORMER: Entry = Entry {
    spec: Spec {
        name: "transformer",
        aliases: &[],
        peers: Peers::NONE,
        doc: "Attention of the steps to each other (Vaswani et al. 2017).",
        params: &[DIM, STACK, HEADS, FEED_FORWARD, reduce("mean"), DROPOUT],
    },
    layers: |args, feed| {
        let dim = args.usize("dim");
        let mut list = feed.sequence("transformer", dim)?;
        if feed.meaning == Meaning::Frames {
            list.push(projection(dim)?);
        }
        list.extend(attention(args)?);
        list.extend(reduced(args)?);
        Ok(list)
    },
};

pub(super) static TCN: Entry = Entry {
    spec: Spec {
        name: "tcn",
        aliases: &["temporal_cnn"],
        peers: Peers::NONE,
        doc: "Causal convolutions that see ever further back (Bai et al. 2018).",
        params: &[
            Param::with_default(
                "filters",
                Kind::List { of: &SIZE, min_len: 1, max_len: 20 },
                Value::list(&LEVELS),
                "channels of each level; each sees twice as far as the one before",
            ),
            KERNEL,
            reduce("last"),
            WIDTH,
            DROPOUT,
        ],
    },
    layers: |args, feed| {
        let mut list = feed.sequence("tcn", args.usize("width"))?;
        let kernel = args.usize("kernel");
        list.push(turned()?);
        for (level, filters) in args.usizes("filters").into_iter().enumerate() {
            let mut body = Vec::new();
            for _ in 0..2 {
                let dilation = 1usize << level;
                body.extend([
                    item!(
                        "Conv1d",
                        filters = filters,
                        kernel = kernel,
                        padding = "causal",
                        dilation = dilation
                    )?,
                    item!("relu")?,
                ]);
                body.extend(dropped(args)?);
            }
            let residual =
                item!("Residual", layers = body, projection = "plain", activation = "relu")?;
            list.push(residual);
        }
        list.push(turned()?);
        list.extend(reduced(args)?);
        Ok(list)
    },
};

pub(super) static PATCH_TRANSFORMER: Entry = Entry {
    spec: Spec {
        name: "patch_transformer",
        aliases: &["patchtst"],
        peers: Peers::NONE,
        doc: "Attention of pieces of a series to each other (Nie et al. 2023).",
        params: &[
            Param::with_default(
                "patch",
                SIZE,
                Value::Int(16),
                "steps in a piece; what is left over is left out at the beginning",
            ),
            DIM,
            STACK,
            HEADS,
            FEED_FORWARD,
            Param::with_default(
                "reduce",
                Kind::Choice(&["flatten", "mean", "last"]),
                Value::text("flatten"),
                "what becomes of the pieces: one row",
            ),
            DROPOUT,
        ],
    },
    layers: patches,
};

fn patches(args: &Args, feed: &Feed) -> Result<Vec<Item>, String> {
    let (Meaning::Frames, &[time, features]) = (&feed.meaning, &feed.shape[..]) else {
        return feed.refuse("patch_transformer", "measurements over time");
    };
    let patch = args.usize("patch");
    let count = time / patch;
    if count == 0 {
        return Err(format!("a patch of {patch} steps does not fit in the {time} that there are"));
    }
    let mut list = Vec::new();
    if count * patch < time {
        let start = time - count * patch;
        list.push(item!("Narrow", axis = 1, start = start, length = count * patch)?);
    }
    list.extend([
        item!("Reshape", shape = [count, patch.saturating_mul(features)])?,
        projection(args.usize("dim"))?,
    ]);
    list.extend(attention(args)?);
    list.push(match args.text("reduce") {
        "flatten" => item!("Flatten")?,
        kind => item!("SequencePooling", kind = kind.to_string())?,
    });
    list.extend(dropped(args)?);
    Ok(list)
}
