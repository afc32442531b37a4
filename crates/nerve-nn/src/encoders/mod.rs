//! Encoders: how each input of a network becomes a row of numbers, before all of them meet in a
//! [combiner](crate::combiners).
//!
//! An encoder is a name for a list of layers that is made from a few arguments and from what comes
//! in. So shapes, costs, parameters and files are those of its layers. One line in [`REGISTRY`].
//!
//! | what comes in | encoders, the usual one first |
//! |---|---|
//! | measurements | `passthrough`, `dense`, `numeric` |
//! | a category | `embed`, `onehot` |
//! | tokens | `embed`, `parallel_cnn`, `rnn`, `cnnrnn`, `transformer`, `bert`, `stacked_cnn`, `tcn`, `onehot` |
//! | a picture | `stacked_cnn`, `resnet`, `unet` |
//! | measurements over time | `rnn`, `tcn`, `patch_transformer`, `transformer`, `parallel_cnn`, `stacked_cnn`, `cnnrnn`, `ds_cnn` |
//! | anything | `layers`: any list of layers |

mod image;
mod plain;
mod sequence;

pub(crate) use sequence::{DIM, FEED_FORWARD, HEADS, STACK};

use crate::activations;
use crate::layers::{Effect, Sequential};
use crate::list::item;
use nerve_core::Shape;
use nerve_formats::Meaning;
use nerve_formats::spec::{Args, Item, Kind, Param, Spec, Value, check};

/// What comes into an encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Feed {
    /// The shape of one example.
    pub shape: Shape,
    /// What its numbers mean.
    pub meaning: Meaning,
}

/// A kind of encoder: its description, and the layers that it stands for.
pub struct Entry {
    /// Names and parameters.
    pub spec: Spec,
    /// The layers for what comes in.
    ///
    /// An error says what the encoder takes instead.
    pub layers: fn(&Args, &Feed) -> Result<Vec<Item>, String>,
}

/// All encoders.
pub static REGISTRY: &[&Entry] = &[
    &plain::PASSTHROUGH,
    &plain::DENSE,
    &plain::NUMERIC,
    &plain::EMBED,
    &plain::ONEHOT,
    &image::STACKED_CNN,
    &image::RESNET,
    &image::UNET,
    &sequence::PARALLEL_CNN,
    &sequence::RNN,
    &sequence::CNNRNN,
    &sequence::TRANSFORMER,
    &sequence::BERT,
    &sequence::TCN,
    &sequence::PATCH_TRANSFORMER,
    &image::DS_CNN,
    &plain::LAYERS,
];

/// The descriptions of all encoders.
pub fn specs() -> Vec<&'static Spec> {
    REGISTRY.iter().map(|entry| &entry.spec).collect()
}

/// The encoder that answers to `name`.
pub fn find(name: &str) -> Option<&'static Entry> {
    REGISTRY.iter().copied().find(|entry| entry.spec.answers_to(name))
}

/// Which encoders a parameter takes.
pub const KIND: Kind = Kind::Item { what: "encoder", specs };

/// The layers of the encoder that a checked recipe names, and what each does to an example.
///
/// ```
/// use nerve_formats::{Meaning, spec::{Item, check}};
/// use nerve_nn::encoders::{Feed, default_for, layers};
/// let names = ["no", "yes", "(unknown)"].map(String::from).into();
/// let feed = Feed { shape: [].into(), meaning: Meaning::Category { names } };
/// let (list, effects) = layers(&default_for(&feed, None), &feed).unwrap();
/// assert_eq!((list[0].name, effects[0].parameters), ("Embedding", 3 * 3));
/// ```
///
/// # Errors
/// The encoder, or one of its layers, cannot take what comes in: in words.
///
/// # Panics
/// If `encoder` is not from this registry.
pub fn layers(encoder: &Item, feed: &Feed) -> Result<(Vec<Item>, Vec<Effect>), String> {
    let entry = find(encoder.name).unwrap_or_else(|| panic!("no encoder `{}`", encoder.name));
    let list = (entry.layers)(&encoder.args, feed)?;
    let effects = Sequential::describe(&list, &feed.shape).map_err(|error| error.to_string())?;
    Ok((list, effects))
}

/// The encoder for an input for which a recipe names none. `combiner` is that which the recipe names,
/// if it does: for attention each number is a token of its own, for a product all categories have rows
/// of one length.
pub fn default_for(feed: &Feed, combiner: Option<&Item>) -> Item {
    let combiner = combiner.map_or("", |item| item.name);
    let given = |key: &str, value: Value| (key.to_string(), value);
    match &feed.meaning {
        Meaning::Numbers if combiner == "attention" && feed.shape.rank() == 1 => {
            made("numeric", &[given("kind", Value::text("linear")), given("dim", Value::Int(64))])
        }
        Meaning::Category { .. } if combiner == "dot" => {
            made("embed", &[given("dim", Value::Int(33))])
        }
        Meaning::Category { .. } | Meaning::Tokens { .. } => made("embed", &[]),
        Meaning::Image => made("stacked_cnn", &[]),
        Meaning::Frames => made("rnn", &[]),
        _ => made("passthrough", &[]),
    }
}

/// An encoder with all its defaults.
///
/// # Panics
/// If there is none of this name, or it needs arguments.
#[track_caller]
pub fn usual(name: &str) -> Item {
    made(name, &[])
}

/// An encoder with these arguments.
pub(crate) fn made(name: &str, given: &[(String, Value)]) -> Item {
    let spec = &find(name).expect("in the registry").spec;
    Item { name: spec.name, args: check(spec, given).expect("arguments of its own") }
}

impl Feed {
    fn refuse<T>(&self, encoder: &str, takes: &str) -> Result<T, String> {
        let what = match &self.meaning {
            Meaning::Numbers => "numbers",
            Meaning::Category { .. } => "a category",
            Meaning::Tokens { .. } => "tokens",
            Meaning::Image => "a picture",
            Meaning::Mask { .. } => "a mask",
            Meaning::Frames => "measurements over time",
        };
        Err(format!("`{encoder}` takes {takes}; here are {what}, {}", self.shape))
    }

    /// The layers that make `[time, features]` of it.
    fn sequence(&self, encoder: &str, width: usize) -> Result<Vec<Item>, String> {
        match &self.meaning {
            Meaning::Tokens { vocabulary } => Ok(vec![tokens(*vocabulary, width)?]),
            Meaning::Frames => Ok(Vec::new()),
            _ => self.refuse(encoder, "tokens or measurements over time"),
        }
    }
}

/// The embedding of tokens, of which 0 is padding.
fn tokens(vocabulary: usize, dim: usize) -> Result<Item, String> {
    item!("Embedding", rows = vocabulary, dim = dim, padding_index = 0, init = SMALL.to_string())
}

/// How embeddings begin: normal with a deviation that keeps sums and products of them small.
const SMALL: &str = "lecun_normal";

const SIZE: Kind = Kind::int(1, 1 << 24);
const SIZES: Kind = Kind::List { of: &SIZE, min_len: 0, max_len: 100 };

pub(crate) const ACTIVATION: Param = Param::with_default(
    "activation",
    activations::KIND,
    Value::text("relu"),
    "the function after each layer",
);
pub(crate) const DROPOUT: Param = Param::with_default(
    "dropout",
    Kind::fraction(),
    Value::Float(0.0),
    "the share of values that is dropped while training",
);
pub(crate) const NORM: Param = norm("none");

const fn norm(default: &'static str) -> Param {
    Param::with_default(
        "norm",
        Kind::Choice(&["none", "batch", "layer"]),
        Value::text(default),
        "what normalises the values before each activation",
    )
}
const WIDTH: Param = Param::with_default(
    "width",
    SIZE,
    Value::Int(64),
    "length of the row of a token, where tokens come in",
)
.alias(&["embed"]);
const REDUCE_WORDS: &[&str] = &["mean", "max", "sum", "first", "last", "attention", "none"];

const fn reduce(default: &'static str) -> Param {
    Param::with_default(
        "reduce",
        Kind::Choice(REDUCE_WORDS),
        Value::text(default),
        "what becomes of the steps: one row; none keeps them, for a decoder that looks at them",
    )
}

const fn hidden(default: Value) -> Param {
    Param::with_default("hidden", SIZES, default, "units of the layers after it")
        .alias(&["fc", "units"])
}

/// The layer that makes one row of the steps, if they are not kept.
fn reduced(args: &Args) -> Result<Option<Item>, String> {
    match args.text("reduce") {
        "none" => Ok(None),
        "attention" => item!("AttentionPooling").map(Some),
        kind => item!("SequencePooling", kind = kind.to_string()).map(Some),
    }
}

/// Dense layers of these units, each with what stands between it and the next.
pub(crate) fn fully_connected(args: &Args) -> Result<Vec<Item>, String> {
    let mut list = Vec::new();
    for units in args.usizes("hidden") {
        list.push(item!("Dense", units = units)?);
        list.extend(between(args)?);
    }
    Ok(list)
}

/// What stands behind a layer with weights: normalisation, activation, dropout.
pub(crate) fn between(args: &Args) -> Result<Vec<Item>, String> {
    let norm = match args.text("norm") {
        "batch" => Some(item!("BatchNorm")?),
        "layer" => Some(item!("LayerNorm")?),
        _ => None,
    };
    let activation = args.item("activation");
    let activation = (activation.name != "linear").then(|| activation.clone());
    Ok(norm.into_iter().chain(activation).chain(dropped(args)?).collect())
}

fn dropped(args: &Args) -> Result<Option<Item>, String> {
    let rate = args.float("dropout");
    (rate > 0.0).then(|| item!("Dropout", rate = rate)).transpose()
}
