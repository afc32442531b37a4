//! `mask`: the class of each pixel of a picture, from a file of the same shape.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};
use nerve_formats::{Limits, Meaning, Reader, escape};
use serde_json::{Value as Json, json};

use super::image::{AUGMENT, items, name_of, named_like_pictures, refusal};
use super::{Answer, Entry, Feature, Fitting, Guess, Head, Output, Refusal, Room, Setting};
use crate::image_file::{Numbers, Resize, fill_nearest, load, load_numbers};
use crate::transform::{self, Augment, Image};
use crate::{Cell, Cells, Column, Element, Random, Slice, Values};

pub(super) const ENTRY: Entry = Entry { spec: &SPEC, infer, begin, restore };

static SPEC: Spec = Spec {
    name: "mask",
    aliases: &[],
    peers: Peers::of("tv_tensors.Mask", ""),
    doc: "The class of each pixel of a picture: the path of a PNG file of numbers or colours, or an array of numbers.",
    params: &[
        Param::optional(
            "size",
            Kind::OneOf(&[SIDE, Kind::List { of: &SIDE, min_len: 2, max_len: 2 }]),
            "[height, width], that of the picture; without it that of the masks, which must then be the same",
        ),
        Param::with_default(
            "resize",
            Kind::Choice(Resize::NAMES),
            Value::text("stretch"),
            "as for the picture; classes are never blended",
        ),
        Param::optional(
            "ids",
            Kind::List { of: &Kind::int(0, 65_535), min_len: 2, max_len: 253 },
            "the numbers in the files that stand for the classes 0, 1, ...; without it those of the training split, sorted",
        ),
        Param::optional(
            "colors",
            Kind::Text,
            "a file with a line `red green blue name` for each class, where masks are pictures in these colours",
        )
        .alias(&["colours"]),
        Param::with_default(
            "foreground",
            Kind::Bool,
            Value::Bool(false),
            "whether every number but 0 is the one class 1: what is there, and not which",
        ),
        Param::with_default(
            "ignore",
            Kind::int(0, 65_535),
            Value::Int(255),
            "the number of pixels that do not count, unless `ids` has it; the loss is told with `ignore_index = 255`",
        ),
        Param::with_default(
            "augment",
            Kind::List { of: &AUGMENT, min_len: 0, max_len: 32 },
            Value::list(&[]),
            "the list of the picture: what moves pixels moves the mask with them",
        ),
    ],
};

const SIDE: Kind = Kind::int(1, 8192);
/// The class of pixels that do not count.
pub const IGNORED: u8 = 255;
/// More different numbers than this are no classes.
const MOST_CLASSES: usize = NONE as usize - 1;
/// Masks whose classes are kept in memory, together.
const MOST_KEPT: usize = 1 << 30;

fn infer(column: &Column) -> Option<Guess> {
    let name = column.name.to_ascii_lowercase();
    let says = ["mask", "segment", "annotation"].iter().any(|word| name.contains(word));
    let guess = named_like_pictures(&column.cells, &[".png"]).filter(|_| says)?;
    let reason = format!("{}, and the column is called `{}`", guess.reason, escape(&name, 40));
    Some(Guess { confidence: 0.95, reason })
}

/// How a file says which class a pixel is of.
#[derive(Clone, Debug, PartialEq)]
enum Code {
    /// By these numbers.
    Ids(Vec<u16>),
    /// By these colours.
    Colors(Vec<[u8; 3]>),
    /// Not 0 is class 1.
    Foreground,
}

/// What the arguments say.
#[derive(Clone, Debug)]
struct Wanted {
    folder: PathBuf,
    size: Option<[usize; 2]>,
    resize: Resize,
    /// The code, unless the training split must show it.
    code: Option<Code>,
    names: Vec<String>,
    ignore: u16,
    augment: Vec<Arc<dyn Augment>>,
}

impl Wanted {
    fn new(args: &Args, setting: &Setting) -> Result<Wanted, String> {
        let mut wanted = Wanted {
            folder: setting.folder.clone(),
            size: args.has("size").then(|| args.pair("size")),
            resize: Resize::from_name(args.text("resize")),
            code: args.bool("foreground").then_some(Code::Foreground),
            names: Vec::new(),
            ignore: args.usize("ignore") as u16,
            augment: transform::build(&items(args)),
        };
        let given = ["ids", "colors"].iter().filter(|name| args.has(name)).count();
        if given + usize::from(wanted.code.is_some()) > 1 {
            return Err("give one of `ids`, `colors` and `foreground`".into());
        }
        if args.has("ids") {
            let ids: Vec<u16> = args.usizes("ids").into_iter().map(|id| id as u16).collect();
            if ids.iter().collect::<BTreeSet<_>>().len() < ids.len() {
                return Err("`ids` has a number twice".into());
            }
            wanted.code = Some(Code::Ids(ids));
        }
        Ok(wanted)
    }

    /// The code of the file of colours, if the arguments name one.
    fn read_colors(&mut self, args: &Args) -> Result<(), String> {
        if args.has("colors") {
            let (colors, names) = read_colors(&self.folder.join(args.text("colors")))?;
            (self.code, self.names) = (Some(Code::Colors(colors)), names);
        }
        Ok(())
    }
}

/// Reads lines of `red green blue name`; `#` begins a comment.
fn read_colors(path: &Path) -> Result<(Vec<[u8; 3]>, Vec<String>), String> {
    let limits = Limits { max_bytes: 1 << 20, ..Limits::default() };
    let mut reader = Reader::open(path, &limits).map_err(|error| error.to_string())?;
    let bytes = reader.bytes("colours", reader.remaining().unwrap_or(0));
    let bytes = bytes.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&bytes);
    let (mut colors, mut names) = (Vec::new(), Vec::new());
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut words = line.split([' ', '\t', ',', ';']).filter(|word| !word.is_empty());
        let mut value = || words.next()?.parse::<u8>().ok();
        let (Some(red), Some(green), Some(blue)) = (value(), value(), value()) else {
            let (file, line) = (escape(&path.to_string_lossy(), 120), escape(line, 60));
            return Err(format!(
                "{file}:{}: expected `red green blue name`, each colour 0 to 255, found `{line}`",
                at + 1
            ));
        };
        if colors.contains(&[red, green, blue]) {
            let file = escape(&path.to_string_lossy(), 120);
            return Err(format!(
                "{file}:{}: the colour {red} {green} {blue} is there twice",
                at + 1
            ));
        }
        colors.push([red, green, blue]);
        names.push(words.collect::<Vec<_>>().join(" "));
    }
    if !(2..=MOST_CLASSES).contains(&colors.len()) {
        let file = escape(&path.to_string_lossy(), 120);
        return Err(format!(
            "{file}: expected 2 to {MOST_CLASSES} colours, found {}",
            colors.len()
        ));
    }
    Ok((colors, names))
}

fn begin(args: &Args, setting: &Setting) -> Result<Box<dyn Fitting>, String> {
    let mut wanted = Wanted::new(args, setting)?;
    wanted.read_colors(args)?;
    Ok(Box::new(Fit { wanted, seen: None, ids: BTreeSet::new(), rows: 0, files: false }))
}

fn restore(args: &Args, setting: &Setting, state: &Json) -> Result<Arc<dyn Feature>, String> {
    let mut wanted = Wanted::new(args, setting)?;
    let whole = |value: &Json| value.as_u64().and_then(|value| usize::try_from(value).ok());
    let side = |at: usize| {
        whole(&state["size"][at])
            .filter(|side| (1..=8192).contains(side))
            .ok_or("`size` is damaged")
    };
    let size = [side(0)?, side(1)?];
    let list = |key: &str| state[key].as_array().cloned().unwrap_or_default();
    let byte = |value: &Json| whole(value).and_then(|value| u8::try_from(value).ok());
    let id = |value: &Json| whole(value).and_then(|value| u16::try_from(value).ok());
    let code = match state["code"].as_str() {
        Some("foreground") => Some(Code::Foreground),
        Some("ids") => list("ids").iter().map(id).collect::<Option<_>>().map(Code::Ids),
        Some("colors") => list("colors")
            .iter()
            .map(|color| Some([byte(&color[0])?, byte(&color[1])?, byte(&color[2])?]))
            .collect::<Option<_>>()
            .map(Code::Colors),
        _ => None,
    };
    let code = code.ok_or("`code` is damaged")?;
    let names = list("names").iter().map(|name| name.as_str().map(String::from)).collect();
    wanted.names = Option::ok_or(names, "a name is no text")?;
    Ok(Arc::new(Mask::new(wanted, size, code)?))
}

struct Fit {
    wanted: Wanted,
    /// The first mask: what it is called, and its size.
    seen: Option<(String, [usize; 2])>,
    ids: BTreeSet<u16>,
    rows: usize,
    files: bool,
}

impl Fitting for Fit {
    fn observe(&mut self, cells: &Cells, row: usize) -> Result<(), Refusal> {
        self.rows = cells.len();
        let cell = cells.get(row);
        let known = self.wanted.size.is_some() && self.wanted.code.is_some();
        let (name, size, values) = match cells {
            Cells::Arrays(..) => {
                let Numbers { size, values } = numbers_of(cells, row)?;
                (format!("row {}", row + 1), size, values)
            }
            _ => {
                self.files = true;
                let name = name_of(cell)?;
                if known {
                    self.seen.get_or_insert((name.into(), [1, 1]));
                    return Ok(());
                }
                let path = self.wanted.folder.join(name);
                let Numbers { size, values } = match self.wanted.code {
                    Some(Code::Colors(_)) => {
                        let pixels = load(&path).map_err(|error| refusal(name, &error))?;
                        Numbers { size: pixels.size, values: Vec::new() }
                    }
                    _ => read_numbers(&path, name)?,
                };
                (name.to_string(), size, values)
            }
        };
        match &self.seen {
            Some((first, other)) if *other != size && self.wanted.size.is_none() => {
                let [[h, w], [y, x]] = [size, *other];
                return Err(Refusal {
                    expected: format!(
                        "{x} × {y} pixels, as `{}` has, or a `size`",
                        escape(first, 80)
                    ),
                    found: format!("`{}` with {w} × {h}", escape(&name, 80)),
                });
            }
            Some(_) => {}
            None => self.seen = Some((name, size)),
        }
        if self.wanted.code.is_none() {
            self.ids.extend(values);
            self.ids.remove(&self.wanted.ignore);
            if self.ids.len() > MOST_CLASSES {
                return Err(Refusal {
                    expected: format!(
                        "at most {MOST_CLASSES} different numbers; `foreground = true` \
                                       makes all but 0 one class"
                    ),
                    found: format!("{}", self.ids.len()),
                });
            }
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Arc<dyn Feature>, String> {
        let Some((_, size)) = self.seen else { return Err("no mask in the training split".into()) };
        let code = match self.wanted.code.clone() {
            Some(code) => code,
            None if self.ids.len() < 2 => {
                return Err("the masks of the training split show one class alone".into());
            }
            None => Code::Ids(self.ids.into_iter().collect()),
        };
        let size = self.wanted.size.unwrap_or(size);
        let mut mask = Mask::new(self.wanted, size, code)?;
        mask.kept = self.files && self.rows.saturating_mul(size[0] * size[1]) <= MOST_KEPT;
        Ok(Arc::new(mask))
    }
}

fn read_numbers(path: &Path, name: &str) -> Result<Numbers, Refusal> {
    let numbers = load_numbers(path).map_err(|error| refusal(name, &error))?;
    numbers.ok_or_else(|| Refusal {
        expected: "a PNG file of grey or with a palette, or `colors = \"file\"`".into(),
        found: format!("`{}` in colours", escape(name, 120)),
    })
}

/// The numbers of an array `[height, width]`, or `[1, height, width]`.
fn numbers_of(cells: &Cells, row: usize) -> Result<Numbers, Refusal> {
    let Cells::Arrays(field, _) = cells else { unreachable!("asked for arrays alone") };
    let refuse = |found: String| Refusal {
        expected: "whole numbers from 0 to 65535 of shape [height, width]".into(),
        found,
    };
    let ([height, width] | [1, height, width]) = field.shape[..] else {
        return Err(refuse(field.describe()));
    };
    let number = |value: i64| u16::try_from(value).map_err(|_| refuse(value.to_string()));
    let values = match cells.get(row) {
        Cell::U8(values) => values.iter().map(|&value| value.into()).collect(),
        Cell::I32(values) => values.iter().map(|&v| number(v.into())).collect::<Result<_, _>>()?,
        Cell::F32(values) => values
            .iter()
            .map(|&v| if v.fract() == 0.0 { number(v as i64) } else { Err(refuse(v.to_string())) })
            .collect::<Result<_, _>>()?,
        _ => return Err(refuse(field.describe())),
    };
    Ok(Numbers { size: [height, width], values })
}

/// The classes of pixels on their way to the network.
#[derive(Clone, Debug)]
struct Mask {
    wanted: Wanted,
    size: [usize; 2],
    code: Code,
    /// The class of each number; [`NONE`] for those that are none.
    table: Vec<u8>,
    /// Colours with their classes, sorted.
    colors: Vec<([u8; 3], u8)>,
    /// The names of the classes.
    names: Vec<String>,
    kept: bool,
}

/// No class: a number that the training split did not show. Classes go up to 254, so it needs a place of its own.
const NONE: u8 = 254;

impl Mask {
    fn new(wanted: Wanted, size: [usize; 2], code: Code) -> Result<Mask, String> {
        let (mut table, mut colors) = (Vec::new(), Vec::new());
        let mut names = wanted.names.clone();
        let classes = match &code {
            Code::Foreground => {
                names = ["background", "foreground"].map(String::from).to_vec();
                2
            }
            Code::Ids(ids) => {
                table = vec![NONE; 1 << 16];
                table[usize::from(wanted.ignore)] = IGNORED;
                ids.iter()
                    .enumerate()
                    .for_each(|(class, &id)| table[usize::from(id)] = class as u8);
                names = ids.iter().map(u16::to_string).collect();
                ids.len()
            }
            Code::Colors(given) => {
                colors = given.iter().enumerate().map(|(class, &rgb)| (rgb, class as u8)).collect();
                colors.sort_unstable();
                names.resize(given.len(), String::new());
                for (name, color) in names.iter_mut().zip(given).filter(|(name, _)| name.is_empty())
                {
                    *name = color.map(|value| value.to_string()).join(" ");
                }
                given.len()
            }
        };
        if !(2..NONE as usize).contains(&classes) {
            return Err(format!("expected 2 to {} classes, found {classes}", NONE - 1));
        }
        Ok(Mask { wanted, size, code, table, colors, names, kept: false })
    }

    /// The classes of the pixels of a file, and its size.
    fn read(&self, name: &str) -> Result<([usize; 2], Vec<u8>), Refusal> {
        let path = self.wanted.folder.join(name);
        if self.colors.is_empty() {
            let numbers = read_numbers(&path, name)?;
            return Ok((numbers.size, self.classes_of(&numbers.values)?));
        }
        let pixels = load(&path).map_err(|error| refusal(name, &error))?;
        let class = |pixel: &[u8]| {
            let color = match *pixel {
                [red, green, blue] | [red, green, blue, _] => [red, green, blue],
                _ => [pixel[0]; 3],
            };
            let at = self.colors.binary_search_by_key(&color, |&(color, _)| color);
            let found = || format!("the colour {color:?} in `{}`", escape(name, 120));
            at.map(|at| self.colors[at].1).map_err(|_| Refusal {
                expected: "colours of the file of colours".into(),
                found: found(),
            })
        };
        let classes =
            pixels.bytes.chunks_exact(pixels.channels).map(class).collect::<Result<_, _>>()?;
        Ok((pixels.size, classes))
    }

    fn classes_of(&self, numbers: &[u16]) -> Result<Vec<u8>, Refusal> {
        let class = |&number: &u16| match self.code {
            Code::Foreground => Ok(u8::from(number != 0)),
            _ => match self.table[usize::from(number)] {
                NONE => Err(Refusal {
                    expected: format!(
                        "one of the {} numbers that are classes (see `ids`)",
                        self.names.len()
                    ),
                    found: number.to_string(),
                }),
                class => Ok(class),
            },
        };
        numbers.iter().map(class).collect()
    }
}

impl Feature for Mask {
    fn stored(&self) -> (Vec<usize>, Element) {
        (self.size.to_vec(), Element::U8)
    }

    fn kept(&self) -> bool {
        self.kept
    }

    fn within(&self, folder: &Path) -> Option<Arc<dyn Feature>> {
        let wanted = Wanted { folder: folder.to_path_buf(), ..self.wanted.clone() };
        Some(Arc::new(Mask { wanted, ..self.clone() }))
    }

    fn store(&self, cells: &Cells, row: usize, mut out: Slice<'_>) -> Result<(), Refusal> {
        let (size, classes) = match cells {
            Cells::Arrays(..) => {
                let numbers = numbers_of(cells, row)?;
                (numbers.size, self.classes_of(&numbers.values)?)
            }
            _ => self.read(name_of(cells.get(row))?)?,
        };
        fill_nearest(&classes, size, self.size, self.wanted.resize, IGNORED, out.u8());
        Ok(())
    }

    fn delivered(&self) -> (Vec<usize>, Element) {
        (self.size.to_vec(), Element::I32)
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
        let Values::U8(classes) = stored else { unreachable!("masks are stored as bytes") };
        let out = out.i32();
        match random {
            Some(random) if !self.wanted.augment.is_empty() => {
                room.more.clear();
                room.more.extend(classes.iter().map(|&class| f32::from(class)));
                let outside = f32::from(IGNORED);
                let mut image = Image::labels(self.size, &mut room.more, outside, &mut room.f32);
                transform::augment(&self.wanted.augment, &mut image, random);
                out.iter_mut().zip(&room.more).for_each(|(out, &class)| *out = class as i32);
            }
            _ => out.iter_mut().zip(classes).for_each(|(out, &class)| *out = class.into()),
        }
    }

    fn meaning(&self) -> Meaning {
        Meaning::Mask { classes: self.names.len() }
    }

    fn state(&self) -> Json {
        let mut state = json!({ "size": self.size, "names": self.names });
        match &self.code {
            Code::Foreground => state["code"] = json!("foreground"),
            Code::Ids(ids) => {
                state["code"] = json!("ids");
                state["ids"] = json!(ids);
            }
            Code::Colors(colors) => {
                state["code"] = json!("colors");
                state["colors"] = json!(colors);
            }
        }
        state
    }

    fn output(&self) -> Option<&dyn Output> {
        Some(self)
    }
}

impl Output for Mask {
    fn head(&self) -> Head {
        let [height, width] = self.size;
        let shape = vec![self.names.len(), height, width];
        Head { shape, loss: "cross_entropy", metrics: &["iou"] }
    }

    fn classes(&self) -> &[String] {
        &self.names
    }

    /// The class with the highest value of each pixel, from values `[classes, height, width]`.
    fn answer(&self, values: &[f32]) -> Answer {
        let plane = self.size[0] * self.size[1];
        let best = |pixel: usize| {
            let value = |class: usize| values[class * plane + pixel];
            (1..self.names.len())
                .fold(0, |best, class| if value(class) > value(best) { class } else { best })
        };
        Answer::Pixels((0..plane).map(|pixel| best(pixel) as i32).collect())
    }

    fn truth(&self, stored: &Values, row: usize) -> Answer {
        let plane = self.size[0] * self.size[1];
        let pixels = row * plane..(row + 1) * plane;
        // As they are stored, or as they are delivered to the network.
        Answer::Pixels(match stored {
            Values::U8(classes) => classes[pixels].iter().map(|&class| class.into()).collect(),
            Values::I32(classes) => classes[pixels].to_vec(),
            Values::F32(_) => unreachable!("classes are whole numbers"),
        })
    }
}

#[cfg(test)]
mod tests;
