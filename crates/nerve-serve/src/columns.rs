//! The columns of a model as clients see them, and the cells of a request.

use crate::refusal::{Refusal, shown};
use crate::tensor::Datatype;
use nerve_data::features::{Answer, Feature};
use nerve_data::{Cells, Field, audio, image_file};
use nerve_formats::{Reader, parse_wav};
use nerve_recipe::features::Fitted;
use std::sync::Arc;

/// What a cell of a column holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Holds {
    /// What stands in a cell of a table: a number, a name, a text.
    Cell,
    /// Numbers of one length.
    Vector(usize),
    /// A picture: its pixels `[channels, height, width]`, or a PNG or JPEG file.
    Picture([usize; 3]),
    /// A WAV file, or a sound at this many samples a second.
    Sound(u32),
}

/// A column that goes in.
#[derive(Clone, Debug)]
pub struct InputColumn {
    /// Its name.
    pub name: String,
    /// The name of its type in recipes.
    pub kind: &'static str,
    /// What its cells hold.
    pub holds: Holds,
    /// Its feature.
    pub feature: Arc<dyn Feature>,
}

/// A column that comes out.
#[derive(Clone, Debug)]
pub struct OutputColumn {
    /// Its name.
    pub name: String,
    /// The name of its type in recipes.
    pub kind: &'static str,
    /// The names of its classes.
    pub classes: Vec<String>,
    /// How many values the network gives for a row.
    pub width: usize,
    /// The shape of the answer for a row beside classes: `[]` for a number, `[n]` for numbers, that of a mask.
    pub shape: Vec<usize>,
    /// What kind of answer it is, with made-up values.
    pub sample: Answer,
}

/// The shortest and the longest side of a picture in a request are those of the files that are read.
const LONGEST_SOUND_S: usize = 600;

impl InputColumn {
    /// # Errors
    /// Its type reads files of this machine, which a request must not name.
    pub(crate) fn new(fitted: &Fitted) -> Result<InputColumn, String> {
        let kind = fitted.column.feature.name;
        let holds = match kind {
            "binary" | "category" | "date" | "id" | "number" | "sequence" | "set" | "text"
            | "timeseries" => Holds::Cell,
            "vector" => Holds::Vector(fitted.feature.stored().0.iter().product()),
            "image" => match fitted.feature.stored().0[..] {
                [channels, height, width] => Holds::Picture([channels, height, width]),
                _ => return Err("a picture that is not [channels, height, width]".into()),
            },
            "audio" => Holds::Sound(fitted.column.feature.args.usize("rate") as u32),
            "mask" => {
                let name = shown(&fitted.column.name);
                return Err(format!(
                    "`{name}` is a mask that goes in: no request can say which pixel is of which class, so it cannot be \
                     served; masks that come out can"
                ));
            }
            other => {
                let name = shown(&fitted.column.name);
                return Err(format!(
                    "`{name}` is of type `{other}`, which reads files and cannot be served"
                ));
            }
        };
        let (name, feature) = (fitted.column.name.clone(), fitted.feature.clone());
        Ok(InputColumn { name, kind, holds, feature })
    }

    /// The datatype and the shape of one row as a tensor.
    pub fn tensor(&self) -> (Datatype, Vec<usize>) {
        match (&self.holds, self.kind) {
            (Holds::Cell, "number" | "timeseries") => (Datatype::Fp64, vec![]),
            (Holds::Cell, _) | (Holds::Sound(_), _) => (Datatype::Bytes, vec![]),
            (Holds::Vector(len), _) => (Datatype::Fp32, vec![*len]),
            (Holds::Picture(shape), _) => (Datatype::Uint8, shape.to_vec()),
        }
    }

    /// A cell from the bytes of a file: a picture or a recording.
    ///
    /// # Errors
    /// 422: the column holds none, or it is damaged.
    pub fn file(&self, bytes: &[u8]) -> Result<Cells, Refusal> {
        let name = shown(&self.name);
        match self.holds {
            Holds::Picture(_) => {
                image_file::unpack(&name, bytes).map_err(|error| Refusal::unfit(error.to_string()))
            }
            Holds::Sound(rate) => {
                let wav = parse_wav(Reader::from_slice(&*name, bytes));
                let wav = wav.map_err(|error| Refusal::unfit(error.to_string()))?;
                let frames = wav.samples.len() / usize::from(wav.channels).max(1);
                if frames / (wav.rate as usize).max(1) > LONGEST_SOUND_S {
                    return Err(Refusal::unfit(format!(
                        "`{name}`: a recording of more than {LONGEST_SOUND_S} s"
                    )));
                }
                let sound = audio::at_rate(wav, rate);
                let field = Field::new("sound", &[sound.len().max(1)], nerve_data::Element::F32);
                Ok(Cells::Arrays(field, sound.into()))
            }
            _ => Err(Refusal::unfit(format!("`{name}` takes `{}`, no file", self.kind))),
        }
    }

    /// The cells of a column of texts: as they stand, or for pictures and sounds files in base64.
    ///
    /// # Errors
    /// 422: no base64, no file.
    pub fn texts(&self, cells: Cells) -> Result<Cellar, Refusal> {
        if matches!(self.holds, Holds::Cell | Holds::Vector(_)) {
            return Ok(Cellar::Column(cells));
        }
        let file = |row: usize| {
            let text = match cells.get(row) {
                nerve_data::Cell::Text(text) => text,
                _ => "",
            };
            let what = if matches!(self.holds, Holds::Sound(_)) {
                "a WAV file"
            } else {
                "a PNG or JPEG file"
            };
            let name = shown(&self.name);
            let bytes = base64(text).ok_or_else(|| {
                Refusal::unfit(format!(
                    "column `{name}`, row {}: expected {what} in base64",
                    row + 1
                ))
            })?;
            self.file(&bytes)
        };
        Ok(Cellar::Rows((0..cells.len()).map(file).collect::<Result<_, _>>()?))
    }
}

impl OutputColumn {
    pub(crate) fn new(fitted: &Fitted) -> OutputColumn {
        let output = fitted.feature.output().expect("an output of the model");
        let width = output.head().shape.iter().product();
        let sample = output.answer(&vec![0.0; width]);
        let stored = fitted.feature.stored().0;
        let shape = match &sample {
            Answer::Number(_) | Answer::Classes(_) | Answer::Several(_) | Answer::Text(_) => vec![],
            Answer::Numbers(values) if stored.iter().product::<usize>() == values.len() => stored,
            Answer::Numbers(values) => vec![values.len()],
            Answer::Quantiles { at, values } => vec![values.len() / at.len().max(1), at.len()],
            Answer::Pixels(pixels) if stored.iter().product::<usize>() == pixels.len() => stored,
            Answer::Pixels(pixels) => vec![pixels.len()],
        };
        let classes = output.classes().to_vec();
        let name = fitted.column.name.clone();
        OutputColumn { name, kind: fitted.column.feature.name, classes, width, shape, sample }
    }

    /// Its tensors: name, datatype, shape of one row. Classes have one more, with their probabilities.
    pub fn tensors(&self) -> Vec<(String, Datatype, Vec<usize>)> {
        let own = |datatype| (self.name.clone(), datatype, self.shape.clone());
        match &self.sample {
            Answer::Number(_) | Answer::Numbers(_) | Answer::Quantiles { .. } => {
                vec![own(Datatype::Fp64)]
            }
            Answer::Pixels(_) => vec![own(Datatype::Int32)],
            Answer::Text(_) => vec![own(Datatype::Bytes)],
            Answer::Classes(p) | Answer::Several(p) => {
                let name = format!("{}_probabilities", self.name);
                vec![own(Datatype::Bytes), (name, Datatype::Fp32, vec![p.len()])]
            }
        }
    }
}

/// The cells of a column of a request.
#[derive(Clone, Debug)]
pub enum Cellar {
    /// All rows alike.
    Column(Cells),
    /// A row each: pictures of different sizes.
    Rows(Vec<Cells>),
}

impl Cellar {
    /// How many rows there are.
    pub fn rows(&self) -> usize {
        match self {
            Cellar::Column(cells) => cells.len(),
            Cellar::Rows(rows) => rows.len(),
        }
    }

    /// The cells in which a row is, and its number there.
    pub(crate) fn at(&self, row: usize) -> (&Cells, usize) {
        match self {
            Cellar::Column(cells) => (cells, row),
            Cellar::Rows(rows) => (&rows[row], 0),
        }
    }
}

/// Bytes from base64 (RFC 4648), with or without padding and the head of a data URL.
fn base64(text: &str) -> Option<Vec<u8>> {
    let text = match text.trim().strip_prefix("data:") {
        Some(url) => url.split_once(";base64,")?.1,
        None => text.trim(),
    };
    let text = text.trim_end_matches('=');
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    for four in text.as_bytes().chunks(4) {
        let mut bits = 0u32;
        for &byte in four {
            let value = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' | b'-' => 62,
                b'/' | b'_' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        match four.len() {
            4 => bytes.extend_from_slice(&bits.to_be_bytes()[1..]),
            3 => bytes.extend_from_slice(&(bits << 6).to_be_bytes()[1..3]),
            2 => bytes.push((bits << 12).to_be_bytes()[1]),
            _ => return None,
        }
    }
    (!bytes.is_empty()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (text, bytes) in [("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYg", "foob")] {
            assert_eq!(base64(text).as_deref(), Some(bytes.as_bytes()), "{text}");
        }
        assert_eq!(base64("data:image/png;base64,Zm9v").as_deref(), Some(&b"foo"[..]));
        assert_eq!(base64("-_-_"), base64("+/+/"));
        for text in ["", "Z", "Zm9vY", "../etc", "data:,x", "Zm 9v"] {
            assert_eq!(base64(text), None, "{text}");
        }
    }
}
