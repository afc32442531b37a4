//! Decoders: from what a network has made of its inputs to what an output must be.
//!
//! As an [encoder](crate::encoders), a decoder is a name for a list of layers. One of them is more: the `generator` reads
//! what it has written itself ([`TextDecoder`](crate::models::TextDecoder)).

use crate::encoders::{
    ACTIVATION, DIM, DROPOUT, FEED_FORWARD, HEADS, NORM, STACK, between, fully_connected,
};
use crate::layers::{Effect, Sequential};
use crate::list::item;
use nerve_core::Shape;
use nerve_formats::spec::{Args, Item, Kind, Param, Peers, Spec, Value, check};

/// A kind of decoder: its description, and the layers that it stands for.
pub struct Entry {
    /// Names and parameters.
    pub spec: Spec,
    /// The layers from examples of the first shape to the second.
    ///
    /// An error says what the decoder takes instead.
    pub layers: fn(&Args, &Shape, &Shape) -> Result<Vec<Item>, String>,
}

/// All decoders.
pub static REGISTRY: &[&Entry] = &[&DENSE, &PIXELS, &TAGGER, &GENERATOR, &NONE];

/// The descriptions of all decoders.
pub fn specs() -> Vec<&'static Spec> {
    REGISTRY.iter().map(|entry| &entry.spec).collect()
}

/// The decoder that answers to `name`.
pub fn find(name: &str) -> Option<&'static Entry> {
    REGISTRY.iter().copied().find(|entry| entry.spec.answers_to(name))
}

/// Which decoders a parameter takes.
pub const KIND: Kind = Kind::Item { what: "decoder", specs };

/// Whether it writes: then it takes what it has written so far, as one input more of its network, and is no list of layers.
pub fn writes(decoder: &Item) -> bool {
    decoder.name == GENERATOR.spec.name
}

/// A decoder with all its defaults.
///
/// # Panics
/// If there is none of this name.
#[track_caller]
pub fn plain(name: &str) -> Item {
    let entry = find(name).unwrap_or_else(|| panic!("no decoder `{name}`"));
    Item { name: entry.spec.name, args: check(&entry.spec, &[]).expect("nothing is required") }
}

/// The decoder for an output for which a recipe names none: `pixels` for `[classes, height, width]`,
/// else `dense`.
pub fn default_for(head: &Shape) -> Item {
    plain(if head.rank() == 3 { "pixels" } else { "dense" })
}

/// The layers of the decoder that a checked recipe names, from examples of shape `input` to outputs
/// of shape `head`, and what each does.
///
/// # Errors
/// The decoder, or one of its layers, does not fit: in words.
///
/// # Panics
/// If `decoder` is not from this registry.
pub fn layers(
    decoder: &Item,
    input: &Shape,
    head: &Shape,
) -> Result<(Vec<Item>, Vec<Effect>), String> {
    let entry = find(decoder.name).unwrap_or_else(|| panic!("no decoder `{}`", decoder.name));
    let list = (entry.layers)(&decoder.args, input, head)?;
    let effects = Sequential::describe(&list, input).map_err(|error| error.to_string())?;
    let given = effects.last().map_or(input, |effect| &effect.shape);
    if given != head {
        return Err(format!("`{}` gives {given}, the output needs {head}", decoder.name));
    }
    Ok((list, effects))
}

const HIDDEN: Param = Param::with_default(
    "hidden",
    Kind::List { of: &Kind::int(1, 1 << 24), min_len: 0, max_len: 100 },
    Value::list(&[]),
    "units of the layers before the last",
)
.alias(&["fc", "units"]);

static DENSE: Entry = Entry {
    spec: Spec {
        name: "dense",
        aliases: &["regressor", "classifier"],
        peers: Peers::NONE,
        doc: "Fully connected layers, the last of which gives the output.",
        params: &[HIDDEN, ACTIVATION, NORM, DROPOUT],
    },
    layers: |args, input, head| {
        let mut list = Vec::new();
        if input.rank() != 1 {
            list.push(item!("Flatten")?);
        }
        list.extend(fully_connected(args)?);
        let units = head.iter().fold(1usize, |all, &n| all.saturating_mul(n));
        list.push(item!("Dense", units = units)?);
        if head.rank() != 1 {
            list.push(match head.to_vec() {
                scalar if scalar.is_empty() => item!("Squeeze", axis = 1)?,
                shape => item!("Reshape", shape = shape)?,
            });
        }
        Ok(list)
    },
};

static PIXELS: Entry = Entry {
    spec: Spec {
        name: "pixels",
        aliases: &["unet", "segmentation"],
        peers: Peers::NONE,
        doc: "A linear map of the features of each pixel; what is smaller is enlarged.",
        params: &[],
    },
    layers: |_, input, head| {
        let (&[_, height, width], &[classes, tall, wide]) = (&input[..], &head[..]) else {
            return Err(format!(
                "`pixels` makes [classes, height, width] of [channels, height, width]; here are {head} \
                 and {input}"
            ));
        };
        let mut list = vec![item!("Conv2d", filters = classes, kernel = 1)?];
        if (height, width) != (tall, wide) {
            let fits = height > 0 && width > 0 && tall % height == 0 && wide % width == 0;
            if !fits || tall / height != wide / width {
                return Err(format!(
                    "`pixels` enlarges by whole numbers: {height} × {width} to {tall} × {wide} it cannot"
                ));
            }
            list.push(item!("Upsample2d", factor = tall / height, mode = "bilinear")?);
        }
        Ok(list)
    },
};

static TAGGER: Entry = Entry {
    spec: Spec {
        name: "tagger",
        aliases: &[],
        peers: Peers::NONE,
        doc: "A class for each step of the input: the same fully connected layers on all of them.",
        params: &[HIDDEN, ACTIVATION, NORM, DROPOUT],
    },
    layers: |args, input, head| {
        let (&[steps, _], &[classes, wanted]) = (&input[..], &head[..]) else {
            return Err(format!(
                "`tagger` makes [classes, steps] of [steps, features]; here are {head} and {input}: the encoder keeps the \
                 steps with `reduce = \"none\"`"
            ));
        };
        if steps != wanted {
            return Err(format!(
                "`tagger` gives as many tags as there are steps, {steps}; the output has {wanted}: give both the same \
                 `max_len`"
            ));
        }
        let mut list = Vec::new();
        let units = [args.usizes("hidden"), vec![classes]].concat();
        for (i, &units) in units.iter().enumerate() {
            list.push(item!("TimeDistributed", layer = item!("Dense", units = units)?)?);
            if i < args.usizes("hidden").len() {
                list.extend(between(args)?);
            }
        }
        // Classes come before steps, as before pixels.
        list.push(item!("Permute", axes = [2usize, 1])?);
        Ok(list)
    },
};

static GENERATOR: Entry = Entry {
    spec: Spec {
        name: "generator",
        aliases: &["writer"],
        peers: Peers::NONE,
        doc: "Writes a text token by token, looking back at it and at the steps of the input (Vaswani et al. 2017).",
        params: &[
            STACK,
            DIM,
            HEADS,
            FEED_FORWARD,
            DROPOUT,
            Param::with_default(
                "tied_embeddings",
                Kind::Bool,
                Value::Bool(true),
                "whether the table of tokens that are read makes the scores of the next one too",
            )
            .alias(&["tied"]),
            Param::with_default(
                "positions",
                Kind::Choice(&["rotary", "sinusoidal", "alibi"]),
                Value::text("rotary"),
                "how it knows who stands where",
            ),
        ],
    },
    layers: |_, _, _| Err("`generator` is no list of layers".into()),
};

static NONE: Entry = Entry {
    spec: Spec {
        name: "none",
        aliases: &["passthrough"],
        peers: Peers::NONE,
        doc: "Nothing: the layers before give the output.",
        params: &[],
    },
    layers: |_, _, _| Ok(Vec::new()),
};
