//! Encoders of numbers, categories and bags of tokens.

use super::{
    ACTIVATION, DROPOUT, Entry, Feed, NORM, REDUCE_WORDS, SIZE, SMALL, fully_connected, hidden,
};
use crate::list::item;
use nerve_formats::Meaning;
use nerve_formats::spec::{Args, Item, Kind, Param, Peers, Spec, Value};

pub(super) static PASSTHROUGH: Entry = Entry {
    spec: Spec {
        name: "passthrough",
        aliases: &["none", "identity"],
        peers: Peers::NONE,
        doc: "The numbers as they come.",
        params: &[],
    },
    layers: |_, feed| match &feed.meaning {
        Meaning::Category { .. } => {
            feed.refuse("passthrough", "numbers (take `embed` or `onehot`)")
        }
        Meaning::Tokens { .. } | Meaning::Mask { .. } => feed.refuse("passthrough", "numbers"),
        _ => Ok(Vec::new()),
    },
};

static UNITS: [Value; 1] = [Value::Int(128)];

pub(super) static DENSE: Entry = Entry {
    spec: Spec {
        name: "dense",
        aliases: &["mlp"],
        peers: Peers::NONE,
        doc: "Fully connected layers.",
        params: &[hidden(Value::list(&UNITS)), ACTIVATION, NORM, DROPOUT],
    },
    layers: |args, feed| {
        let flat = match &feed.meaning {
            Meaning::Category { .. } | Meaning::Tokens { .. } | Meaning::Mask { .. } => {
                return feed.refuse("dense", "numbers (take `embed` or `onehot`)");
            }
            _ => (feed.shape.rank() != 1).then(|| item!("Flatten")).transpose()?,
        };
        Ok(flat.into_iter().chain(fully_connected(args)?).collect())
    },
};

pub(super) static NUMERIC: Entry = Entry {
    spec: Spec {
        name: "numeric",
        aliases: &["numeric_embedding", "plr"],
        peers: Peers::NONE,
        doc: "A row of numbers for each number (Gorishniy et al. 2022).",
        params: &[
            Param::with_default(
                "kind",
                Kind::Choice(&["periodic", "piecewise", "linear"]),
                Value::text("periodic"),
                "waves of learned frequencies, a place between fixed bins, or the number itself",
            ),
            Param::with_default("dim", SIZE, Value::Int(16), "length of the row of a number"),
            Param::with_default(
                "bins",
                Kind::int(1, 1 << 16),
                Value::Int(24),
                "how many waves or bins there are for a number",
            )
            .alias(&["frequencies"]),
            Param::with_default(
                "scale",
                Kind::positive(),
                Value::Float(0.1),
                "deviation of the frequencies at the beginning",
            ),
            Param::with_default(
                "flat",
                Kind::Bool,
                Value::Bool(false),
                "whether the rows are one row; if not they are tokens for attention",
            ),
            DROPOUT,
        ],
    },
    layers: |args, feed| {
        if feed.meaning != Meaning::Numbers || feed.shape.rank() != 1 {
            return feed.refuse("numeric", "numbers side by side");
        }
        let [dim, bins] = ["dim", "bins"].map(|key| args.usize(key));
        let (kind, scale) = (args.text("kind").to_string(), args.float("scale"));
        let embedding =
            item!("NumericEmbedding", kind = kind, dim = dim, bins = bins, scale = scale)?;
        let flat = args.bool("flat").then(|| item!("Flatten")).transpose()?;
        Ok([embedding].into_iter().chain(flat).chain(super::dropped(args)?).collect())
    },
};

/// The usual width of the embedding of `n` categories: min(50, ⌈1.6 n^0.56⌉), the rule of fastai.
fn width(n: usize) -> usize {
    ((1.6 * (n as f64).powf(0.56)).ceil() as usize).clamp(1, 50)
}

pub(super) static EMBED: Entry = Entry {
    spec: Spec {
        name: "embed",
        aliases: &["embedding"],
        peers: Peers::NONE,
        doc: "A learned row for a category; for tokens that of all of them together.",
        params: &[
            Param::optional(
                "dim",
                SIZE,
                "length of a row; without it 64 for tokens, and ⌈1.6 n^0.56⌉ up to 50 for n \
                 categories",
            )
            .alias(&["width", "embed"]),
            Param::with_default(
                "reduce",
                Kind::Choice(REDUCE_WORDS),
                Value::text("mean"),
                "what becomes of the tokens: one row; none keeps them, for a decoder that looks at them",
            ),
            Param::optional("init", crate::init::KIND, "how the rows begin"),
            DROPOUT,
        ],
    },
    layers: embed,
};

fn embed(args: &Args, feed: &Feed) -> Result<Vec<Item>, String> {
    let dim = |usual| if args.has("dim") { args.usize("dim") } else { usual };
    let init = match args.has("init") {
        true => crate::layers::block::Argument::value(args.item("init").clone()),
        false => Value::text(SMALL),
    };
    let mut list = match &feed.meaning {
        Meaning::Category { names } => {
            vec![item!(
                "Embedding",
                rows = names.len(),
                dim = dim(width(names.len())),
                init = init
            )?]
        }
        Meaning::Tokens { vocabulary } => {
            let dim = dim(64);
            let table =
                item!("Embedding", rows = *vocabulary, dim = dim, padding_index = 0, init = init)?;
            [table].into_iter().chain(super::reduced(args)?).collect()
        }
        _ => return feed.refuse("embed", "a category or tokens"),
    };
    list.extend(super::dropped(args)?);
    Ok(list)
}

pub(super) static ONEHOT: Entry = Entry {
    spec: Spec {
        name: "onehot",
        aliases: &["one_hot"],
        peers: Peers::NONE,
        doc: "1 for the category and 0 for all others; for tokens, which of them there are.",
        params: &[],
    },
    layers: |_, feed| match &feed.meaning {
        Meaning::Category { names } => Ok(vec![item!("OneHot", rows = names.len())?]),
        Meaning::Tokens { vocabulary } => Ok(vec![
            item!("OneHot", rows = *vocabulary, padding_index = 0)?,
            item!("SequencePooling", kind = "max")?,
        ]),
        _ => feed.refuse("onehot", "a category or tokens"),
    },
};

const LAYER: Kind = Kind::Item { what: "layer", specs: crate::layers::specs };

pub(super) static LAYERS: Entry = Entry {
    spec: Spec {
        name: "layers",
        aliases: &["sequential"],
        peers: Peers::NONE,
        doc: "The layers that are listed.",
        params: &[Param::required(
            "layers",
            Kind::List { of: &LAYER, min_len: 1, max_len: 1000 },
            "the layers, first to last",
        )],
    },
    layers: |args, _| Ok(crate::layers::block::items(args.get("layers"))),
};
