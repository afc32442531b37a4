//! Decoders: from what a network has made of its inputs to what an output must be.
//!
//! As an [encoder](crate::encoders), a decoder is a name for a list of layers.

use crate::encoders::{ACTIVATION, DROPOUT, NORM, fully_connected};
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
pub static REGISTRY: &[&Entry] = &[&DENSE, &PIXELS, &NONE];

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

/// The decoder for an output for which a recipe names none: `pixels` for `[classes, height, width]`,
/// else `dense`.
pub fn default_for(head: &Shape) -> Item {
    let entry = if head.rank() == 3 { &PIXELS } else { &DENSE };
    let args = check(&entry.spec, &[]).expect("nothing is required");
    Item { name: entry.spec.name, args }
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

static DENSE: Entry = Entry {
    spec: Spec {
        name: "dense",
        aliases: &["regressor", "classifier"],
        peers: Peers::NONE,
        doc: "Fully connected layers, the last of which gives the output.",
        params: &[
            Param::with_default(
                "hidden",
                Kind::List { of: &Kind::int(1, 1 << 24), min_len: 0, max_len: 100 },
                Value::list(&[]),
                "units of the layers before the last",
            )
            .alias(&["fc", "units"]),
            ACTIVATION,
            NORM,
            DROPOUT,
        ],
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
