//! `image`: a picture, from a file or from memory, brought to one size and a common scale.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nerve_formats::spec::{Args, Item, Kind, Param, Peers, Spec, Value};
use nerve_formats::{FormatError, Meaning, escape};
use serde_json::{Value as Json, json};

use super::{Answer, Entry, Feature, Fitting, Guess, Head, Output, Refusal, Role, Room, Setting};
use crate::image_file::{Announced, Pixels, Resize, announced, fill, load_filled};
use crate::random::key;
use crate::transform::{
    self, Augment, Image, Moments, Normalization, NormalizationMethod, Normalizer,
};
use crate::{Cell, Cells, Column, Element, Field, Random, Slice, Values};

pub(super) const ENTRY: Entry = Entry { spec: &SPEC, infer, begin, restore };

static SPEC: Spec = Spec {
    name: "image",
    aliases: &[],
    peers: Peers::of("", "layers.Rescaling, layers.Resizing"),
    doc: "A picture: the path of a PNG or JPEG file, or bytes.",
    params: &[
        Param::optional(
            "size",
            Kind::OneOf(&[SIDE, Kind::List { of: &SIDE, min_len: 2, max_len: 2 }]),
            "[height, width] in pixels, or one number for both; without it that of the pictures, which must then be the same",
        ),
        Param::optional(
            "channels",
            Kind::OneOf(&[Kind::int(1, 1), Kind::int(3, 4)]),
            "1: grey, 3: red, green, blue, 4: and alpha; without it 3 if any picture has colours",
        ),
        Param::with_default(
            "resize",
            Kind::Choice(Resize::NAMES),
            Value::text("stretch"),
            "stretch: each side by itself; fit: scaled to fit in, the rest black; crop: scaled to fill, the rest cut off",
        ),
        Param::with_default(
            "normalize",
            Kind::Choice(METHODS),
            Value::text("zscore"),
            "zscore: mean 0 and deviation 1 of each channel over the training split; minmax: its least to 0 and greatest to \
             1; unit: 0..255 to 0..1; imagenet: with the mean and deviation of ImageNet; none: 0..255",
        ),
        Param::with_default(
            "augment",
            Kind::List { of: &AUGMENT, min_len: 0, max_len: 32 },
            Value::list(&[]),
            "random changes to each training example, in this order",
        ),
    ],
};

const SIDE: Kind = Kind::int(1, 8192);
const METHODS: &[&str] = &["zscore", "minmax", "unit", "imagenet", "none"];
pub(super) static AUGMENT: Kind = Kind::Item { what: "augmentation", specs: transform::specs };

/// Pictures whose numbers are kept in memory, together.
const MOST_KEPT: usize = 1 << 30;
/// Pictures that the statistics of a folder are computed from.
const SAMPLE: usize = 2048;
/// The mean and the deviation of the channels of ImageNet, as everybody uses them.
const IMAGENET: [[f64; 3]; 2] = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]];

fn infer(column: &Column) -> Option<Guess> {
    match &column.cells {
        Cells::Arrays(field, Values::U8(_)) => Layout::of(field).map(|layout| Guess {
            confidence: 0.9,
            reason: format!("bytes of {} × {} pixels", layout.size[1], layout.size[0]),
        }),
        cells => named_like_pictures(cells, &[".png", ".jpg", ".jpeg"]),
    }
}

/// Whether all cells are names of files that end like these.
pub(super) fn named_like_pictures(cells: &Cells, ends: &[&str]) -> Option<Guess> {
    let Cells::Text(texts) = cells else { return None };
    let fits = |text: &str| {
        let text = text.trim().to_ascii_lowercase();
        ends.iter().any(|end| text.ends_with(end))
    };
    let all = !texts.is_empty() && (0..texts.len()).all(|row| texts.get(row).is_none_or(fits));
    let given = (0..texts.len()).filter(|&row| texts.get(row).is_some()).count();
    (all && given > 0).then(|| Guess {
        confidence: 0.9,
        reason: format!("all {given} values are names of picture files"),
    })
}

/// How the values of an array are a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Layout {
    size: [usize; 2],
    channels: usize,
    /// Whether the channels of a pixel stand side by side.
    last: bool,
}

impl Layout {
    /// `[h, w]`, `[c, h, w]` or `[h, w, c]` of 1, 3 or 4 channels.
    fn of(field: &Field) -> Option<Layout> {
        let (size, channels, last) = match field.shape[..] {
            [height, width] => ([height, width], 1, false),
            [channels @ (1 | 3 | 4), height, width] => ([height, width], channels, false),
            [height, width, channels @ (1 | 3 | 4)] => ([height, width], channels, true),
            _ => return None,
        };
        (!size.contains(&0) && size.iter().all(|&side| side <= 8192)).then_some(Layout {
            size,
            channels,
            last,
        })
    }

    fn pixels(self, bytes: &[u8]) -> Pixels {
        let plane = self.size[0] * self.size[1];
        let bytes = match self.last {
            true => bytes.to_vec(),
            false => (0..bytes.len())
                .map(|at| bytes[at % self.channels * plane + at / self.channels])
                .collect(),
        };
        Pixels { size: self.size, channels: self.channels, bytes }
    }
}

/// What the arguments say.
#[derive(Clone, Debug)]
struct Wanted {
    role: Role,
    folder: PathBuf,
    size: Option<[usize; 2]>,
    channels: Option<usize>,
    resize: Resize,
    method: &'static str,
    augment: Vec<Item>,
}

impl Wanted {
    fn new(args: &Args, setting: &Setting) -> Wanted {
        let method = args.text("normalize");
        Wanted {
            role: setting.role,
            folder: setting.folder.clone(),
            size: args.has("size").then(|| args.pair("size")),
            channels: args.has("channels").then(|| args.usize("channels")),
            resize: Resize::from_name(args.text("resize")),
            method: METHODS.iter().find(|name| **name == method).copied().unwrap_or("none"),
            augment: items(args),
        }
    }
}

/// The augmentations that arguments name.
pub(super) fn items(args: &Args) -> Vec<Item> {
    let item = |value: &Value| match value {
        Value::Item(item) => Some((**item).clone()),
        _ => None,
    };
    match args.get("augment") {
        Some(Value::List(values)) => values.iter().filter_map(item).collect(),
        _ => Vec::new(),
    }
}

fn begin(args: &Args, setting: &Setting) -> Result<Box<dyn Fitting>, String> {
    let wanted = Wanted::new(args, setting);
    Ok(Box::new(Fit { wanted, seen: Seen::Nothing, rows: 0 }))
}

fn restore(args: &Args, setting: &Setting, state: &Json) -> Result<Arc<dyn Feature>, String> {
    let whole = |value: &Json| value.as_u64().and_then(|value| usize::try_from(value).ok());
    let side = |at: usize| {
        whole(&state["size"][at])
            .filter(|side| (1..=8192).contains(side))
            .ok_or("`size` is damaged")
    };
    let size = [side(0)?, side(1)?];
    let channels = whole(&state["channels"]).filter(|c| [1, 3, 4].contains(c));
    let channels = channels.ok_or("`channels` is damaged")?;
    let numbers = |key: &str| -> Result<Vec<f64>, String> {
        let list = state[key].as_array().ok_or(format!("`{key}` is no list"))?;
        list.iter().map(|x| x.as_f64().ok_or(format!("`{key}` holds no numbers"))).collect()
    };
    let normalization =
        Normalization { subtract: numbers("subtract")?, divide: numbers("divide")? };
    let mean = state["mean"].as_f64();
    let picture = Picture::new(Wanted::new(args, setting), size, channels, normalization, mean)?;
    Ok(Arc::new(picture))
}

struct Fit {
    wanted: Wanted,
    seen: Seen,
    /// Of the whole table.
    rows: usize,
}

/// What the training split showed.
enum Seen {
    Nothing,
    Arrays { layout: Layout, moments: Vec<Moments> },
    Files(Files),
}

/// What is remembered of files: their shapes, and some names to compute the statistics from.
#[derive(Default)]
struct Files {
    count: usize,
    first: Option<(String, [usize; 2])>,
    other: Option<(String, [usize; 2])>,
    coloured: bool,
    /// Those with the least keys: a sample that does not depend on the order.
    sample: BTreeSet<(u64, String)>,
}

impl Files {
    fn add(&mut self, name: &str, announced: Option<Announced>) {
        self.count += 1;
        if let Some(Announced { size, coloured }) = announced {
            self.coloured |= coloured;
            match &self.first {
                None => self.first = Some((name.into(), size)),
                Some((_, first)) if *first != size && self.other.is_none() => {
                    self.other = Some((name.into(), size));
                }
                _ => {}
            }
        }
        let bytes: Vec<u64> = name.bytes().map(u64::from).collect();
        self.sample.insert((key(&bytes), name.into()));
        if self.sample.len() > SAMPLE {
            self.sample.pop_last();
        }
    }
}

impl Fitting for Fit {
    fn observe(&mut self, cells: &Cells, row: usize) -> Result<(), Refusal> {
        self.rows = cells.len();
        if let Cells::Arrays(field, _) = cells {
            return self.observe_array(field, cells.get(row));
        }
        let name = name_of(cells.get(row))?;
        // Where the recipe says all, the pictures are not looked at.
        let known = self.wanted.size.is_some() && self.wanted.channels.is_some();
        let path = self.wanted.folder.join(name);
        let announced = match known {
            true => None,
            false => Some(announced(&path).map_err(|error| refusal(name, &error))?),
        };
        if matches!(self.seen, Seen::Nothing) {
            self.seen = Seen::Files(Files::default());
        }
        if let Seen::Files(files) = &mut self.seen {
            files.add(name, announced);
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Arc<dyn Feature>, String> {
        let Fit { wanted, seen, rows } = *self;
        let (size, channels, moments, notes, from_files) = match seen {
            Seen::Nothing => return Err("no picture in the training split".into()),
            Seen::Arrays { layout, moments } => {
                let size = wanted.size.unwrap_or(layout.size);
                (size, wanted.channels.unwrap_or(layout.channels), moments, Vec::new(), false)
            }
            Seen::Files(files) => {
                let (size, channels) = files.shape(&wanted)?;
                let moments = files.measure(&wanted, size, channels)?;
                (size, channels, moments, files.notes(&wanted), true)
            }
        };
        let parts: Vec<(f64, f64)> =
            moments.iter().map(|part| part.scale(wanted.method())).collect();
        let mean = moments.iter().map(Moments::mean).sum::<f64>() / moments.len().max(1) as f64;
        let mean = (!moments.is_empty()).then_some(mean);
        let (subtract, divide) = match wanted.method {
            "imagenet" if channels != 3 => {
                return Err(format!(
                    "`imagenet` is for 3 channels, these pictures have {channels}"
                ));
            }
            "imagenet" => {
                let [means, deviations] =
                    IMAGENET.map(|numbers| numbers.map(|x| x * 255.0).to_vec());
                (means, deviations)
            }
            "unit" => (vec![0.0; channels], vec![255.0; channels]),
            "none" => (vec![0.0; channels], vec![1.0; channels]),
            _ => parts.into_iter().unzip(),
        };
        let normalization = Normalization { subtract, divide };
        let mut picture = Picture::new(wanted, size, channels, normalization, mean)?;
        let bytes = rows.saturating_mul(channels * size[0] * size[1]);
        picture.kept = from_files && bytes <= MOST_KEPT;
        picture.notes = notes;
        Ok(Arc::new(picture))
    }
}

impl Wanted {
    fn method(&self) -> NormalizationMethod {
        NormalizationMethod::from_name(self.method).unwrap_or(NormalizationMethod::Unit)
    }

    /// Whether the training split must be measured.
    fn measures(&self) -> bool {
        matches!(self.method, "zscore" | "minmax")
    }
}

impl Fit {
    fn observe_array(&mut self, field: &Field, cell: Cell<'_>) -> Result<(), Refusal> {
        let expected = "bytes of shape [height, width], or with 1, 3 or 4 channels first or last";
        let (Some(layout), Cell::U8(bytes)) = (Layout::of(field), cell) else {
            let found = field.describe();
            return Err(Refusal { expected: expected.into(), found });
        };
        let size = self.wanted.size.unwrap_or(layout.size);
        let channels = self.wanted.channels.unwrap_or(layout.channels);
        if matches!(self.seen, Seen::Nothing) {
            let moments = vec![Moments::default(); channels];
            self.seen = Seen::Arrays { layout, moments };
        }
        if let Seen::Arrays { moments, .. } = &mut self.seen {
            let same = size == layout.size && channels == layout.channels && !layout.last;
            let mut changed = Vec::new();
            if !same {
                changed = vec![0; channels * size[0] * size[1]];
                fill(&layout.pixels(bytes), channels, size, self.wanted.resize, &mut changed);
            }
            let bytes = if same { bytes } else { &changed };
            add(moments, bytes);
        }
        Ok(())
    }
}

fn add(moments: &mut [Moments], bytes: &[u8]) {
    let plane = bytes.len() / moments.len();
    for (part, bytes) in moments.iter_mut().zip(bytes.chunks_exact(plane)) {
        part.add_bytes(bytes);
    }
}

impl Files {
    fn shape(&self, wanted: &Wanted) -> Result<([usize; 2], usize), String> {
        let size = match (wanted.size, &self.first, &self.other) {
            (Some(size), ..) => size,
            (None, Some((_, size)), None) => *size,
            (None, Some((a, [h, w])), Some((b, [y, x]))) => {
                let (a, b) = (escape(a, 80), escape(b, 80));
                return Err(format!(
                    "pictures differ in size: `{a}` has {w} × {h} pixels, `{b}` {x} × {y}; \
                     give `size = [height, width]`"
                ));
            }
            _ => return Err("no picture in the training split".into()),
        };
        Ok((size, wanted.channels.unwrap_or(if self.coloured { 3 } else { 1 })))
    }

    /// The statistics of the pictures as they are stored.
    fn measure(
        &self,
        wanted: &Wanted,
        size: [usize; 2],
        channels: usize,
    ) -> Result<Vec<Moments>, String> {
        if !wanted.measures() {
            return Ok(Vec::new());
        }
        let mut moments = vec![Moments::default(); channels];
        let mut bytes = vec![0; channels * size[0] * size[1]];
        for (_, name) in &self.sample {
            load_filled(&wanted.folder.join(name), channels, size, wanted.resize, &mut bytes)
                .map_err(|error| error.to_string())?;
            add(&mut moments, &bytes);
        }
        Ok(moments)
    }

    fn notes(&self, wanted: &Wanted) -> Vec<String> {
        let sampled = wanted.measures() && self.count > SAMPLE;
        let note = format!("normalised with {SAMPLE} of {} pictures, chosen by name", self.count);
        if sampled { vec![note] } else { Vec::new() }
    }
}

/// The name of a file in a cell.
pub(super) fn name_of(cell: Cell<'_>) -> Result<&str, Refusal> {
    match cell {
        Cell::Text(text) if !text.trim().is_empty() => Ok(text.trim()),
        _ => Err(Refusal::new("the path of a picture", cell)),
    }
}

/// Why the file of a cell cannot be taken.
pub(super) fn refusal(name: &str, error: &FormatError) -> Refusal {
    let expected = match error.expected() {
        "" => "a file that can be read",
        expected => expected,
    };
    Refusal {
        expected: expected.into(),
        found: format!("`{}`: {}", escape(name, 120), error.found()),
    }
}

/// A picture on its way to the network.
#[derive(Clone, Debug)]
struct Picture {
    wanted: Wanted,
    size: [usize; 2],
    channels: usize,
    normalization: Normalization,
    normalizer: Normalizer,
    augment: Vec<Arc<dyn Augment>>,
    /// The mean of all bytes of the training split, where it was measured.
    mean: Option<f64>,
    kept: bool,
    notes: Vec<String>,
}

impl Picture {
    fn new(
        wanted: Wanted,
        size: [usize; 2],
        channels: usize,
        normalization: Normalization,
        mean: Option<f64>,
    ) -> Result<Picture, String> {
        let field = Field::new("image", &[channels, size[0], size[1]], Element::U8);
        let normalizer = Normalizer::new(&normalization, &field).map_err(|e| e.to_string())?;
        let augment = transform::build(&wanted.augment);
        let (kept, notes) = (false, Vec::new());
        Ok(Picture {
            wanted,
            size,
            channels,
            normalization,
            normalizer,
            augment,
            mean,
            kept,
            notes,
        })
    }

    fn load(&self, name: &str, folder: &Path, out: &mut [u8]) -> Result<(), Refusal> {
        load_filled(&folder.join(name), self.channels, self.size, self.wanted.resize, out)
            .map_err(|error| refusal(name, &error))
    }
}

impl Feature for Picture {
    fn stored(&self) -> (Vec<usize>, Element) {
        (vec![self.channels, self.size[0], self.size[1]], Element::U8)
    }

    fn kept(&self) -> bool {
        self.kept
    }

    fn within(&self, folder: &Path) -> Option<Arc<dyn Feature>> {
        let wanted = Wanted { folder: folder.to_path_buf(), ..self.wanted.clone() };
        Some(Arc::new(Picture { wanted, ..self.clone() }))
    }

    fn store(&self, cells: &Cells, row: usize, mut out: Slice<'_>) -> Result<(), Refusal> {
        let (cell, out) = (cells.get(row), out.u8());
        let Cells::Arrays(field, _) = cells else {
            return self.load(name_of(cell)?, &self.wanted.folder, out);
        };
        let (Some(layout), Cell::U8(bytes)) = (Layout::of(field), cell) else {
            return Err(Refusal { expected: "bytes of a picture".into(), found: field.describe() });
        };
        if layout == (Layout { size: self.size, channels: self.channels, last: false }) {
            out.copy_from_slice(bytes);
        } else {
            fill(&layout.pixels(bytes), self.channels, self.size, self.wanted.resize, out);
        }
        Ok(())
    }

    fn delivered(&self) -> (Vec<usize>, Element) {
        (self.stored().0, Element::F32)
    }

    fn delivers(&self) -> bool {
        true
    }

    fn deliver(
        &self,
        stored: &Values,
        mut out: Slice<'_>,
        random: Option<Random>,
        room: &mut Room,
    ) {
        let Values::U8(bytes) = stored else { unreachable!("pictures are stored as bytes") };
        let out = out.f32();
        match random {
            Some(random) if !self.augment.is_empty() => {
                out.iter_mut().zip(bytes).for_each(|(out, &byte)| *out = byte.into());
                let mut image = Image::new(self.size, out, &mut room.f32);
                transform::augment(&self.augment, &mut image, random);
                self.normalizer.apply(out);
            }
            _ => self.normalizer.apply_u8(bytes, out),
        }
    }

    fn meaning(&self) -> Meaning {
        Meaning::Image
    }

    fn state(&self) -> Json {
        json!({
            "size": self.size,
            "channels": self.channels,
            "subtract": self.normalization.subtract,
            "divide": self.normalization.divide,
            "mean": self.mean,
        })
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }

    fn output(&self) -> Option<&dyn Output> {
        (self.wanted.role == Role::Output).then_some(self)
    }
}

impl Output for Picture {
    fn head(&self) -> Head {
        Head { shape: self.stored().0, loss: "mse", metrics: &["mae"] }
    }

    /// The values that the network gave, from 0 to 255.
    fn answer(&self, values: &[f32]) -> Answer {
        let plane = self.size[0] * self.size[1];
        let Normalization { subtract, divide } = &self.normalization;
        let value = |(at, &value): (usize, &f32)| {
            let part = at / plane % subtract.len();
            f64::from(value) * divide[part] + subtract[part]
        };
        Answer::Numbers(values.iter().enumerate().map(value).collect())
    }

    fn truth(&self, stored: &Values, row: usize) -> Answer {
        let len = self.channels * self.size[0] * self.size[1];
        match stored {
            // As it was delivered: on the scale of the network, from which bytes come back by rounding.
            Values::F32(values) => match self.answer(&values[row * len..][..len]) {
                Answer::Numbers(values) => {
                    Answer::Numbers(values.into_iter().map(f64::round).collect())
                }
                other => other,
            },
            Values::U8(bytes) => {
                Answer::Numbers(bytes[row * len..][..len].iter().map(|&byte| byte.into()).collect())
            }
            Values::I32(_) => unreachable!("pictures are bytes, or floats"),
        }
    }
}

#[cfg(test)]
mod tests;
