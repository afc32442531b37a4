//! `nerve inspect`: what is in a file, whatever it is.
//!
//! The kind follows from the content; each has a function that gives a text and a JSON value.

mod arrays;
mod folders;
mod model;
mod onnx;
mod records;
mod tensors;

use crate::args::Inspect;
use crate::failure::Failure;
use crate::output;
use nerve::data::image_file;
use nerve::data::source::{self, Options};
use nerve::data::{Cell, DataError};
use nerve::formats::kind::Kind;
use nerve::formats::{FormatError, Limits, read_wav};
use nerve_recipe::source::escape;
use nerve_recipe::summary::thousands;
use serde_json::{Value, json};
use std::path::Path;

/// What was found in a file.
struct Found {
    /// What the file is: `safetensors`.
    kind: &'static str,
    /// For people: what stands behind the kind in the first line, and all lines after it.
    text: String,
    /// For programs.
    json: Value,
}

pub fn run(args: &Inspect) -> Result<(), Failure> {
    let mut all = Vec::new();
    for (i, path) in args.files.iter().enumerate() {
        let Found { kind, text, mut json } = look(path, args)?;
        let name = escape(&path.to_string_lossy());
        if args.json {
            json["file"] = json!(path.to_string_lossy());
            json["kind"] = json!(kind);
            all.push(json);
            continue;
        }
        let between = if i > 0 { "\n" } else { "" };
        output::result(&format!("{between}{name}: {kind}, {text}"))?;
    }
    match &mut all[..] {
        _ if !args.json => Ok(()),
        [one] => Ok(output::json(one)?),
        _ => Ok(output::json(&Value::Array(all))?),
    }
}

fn look(path: &Path, args: &Inspect) -> Result<Found, Failure> {
    if path.is_dir() {
        return folders::look(path, args);
    }
    match Kind::of(path)? {
        Kind::SafeTensors => tensors::look(path, args),
        Kind::Npy => arrays::npy(path, args),
        Kind::Npz => arrays::npz(path, args),
        Kind::Idx => arrays::idx(path),
        Kind::Wav => wav(path),
        Kind::Png => picture(path, "PNG picture"),
        Kind::Jpeg => picture(path, "JPEG picture"),
        Kind::TfEvents => records::tfevents(path),
        Kind::Unread(other) => Err(other.refuse(path).into()),
        Kind::Onnx => onnx::look(path),
        _ if records::is_events(path)? => records::events(path),
        _ => table(path),
    }
}

impl From<FormatError> for Failure {
    fn from(error: FormatError) -> Failure {
        Failure::Data(error.to_string())
    }
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Failure {
        Failure::Data(error.to_string())
    }
}

fn wav(path: &Path) -> Result<Found, Failure> {
    let sound = read_wav(path, &Limits::default())?;
    let frames = sound.samples.len() / usize::from(sound.channels.max(1));
    let seconds = frames as f64 / f64::from(sound.rate);
    Ok(Found {
        kind: "WAV recording",
        text: format!("{seconds:.3} s, {} Hz, channels: {}\n", sound.rate, sound.channels),
        json: json!({
            "seconds": seconds, "rate": sound.rate, "channels": sound.channels, "frames": frames,
        }),
    })
}

fn picture(path: &Path, kind: &'static str) -> Result<Found, Failure> {
    let image_file::Announced { size: [height, width], coloured } = image_file::announced(path)?;
    let colours = if coloured { "in colour" } else { "grey" };
    Ok(Found {
        kind,
        text: format!("{width} × {height} pixels, {colours}\n"),
        json: json!({ "width": width, "height": height, "coloured": coloured }),
    })
}

/// Rows are read this many at a time.
const ROWS: usize = 1 << 16;

/// A table: its columns, with the cells of the first row.
fn table(path: &Path) -> Result<Found, Failure> {
    let source = source::open(path, &Options::default())?;
    let mut chunks = source.chunks()?;
    let (mut rows, mut first) = (0, Vec::<String>::new());
    while let Some(chunk) = chunks.next(ROWS)? {
        if rows == 0 {
            first = chunk.columns().iter().map(|column| cell_text(column.cells.get(0))).collect();
        }
        rows += chunk.rows();
    }
    let columns = source.columns();
    let mut text =
        format!("{} rows, {} columns\n", thousands(rows as u128), thousands(columns.len() as u128));
    let mut lines = vec![["column", "first"].map(String::from)];
    lines.extend(columns.iter().zip(&first).map(|(c, f)| [escape(c), short(f)]));
    text.push_str(&super::list::columns(&lines));
    let named = columns.iter().zip(&first);
    let columns: Vec<Value> =
        named.map(|(name, first)| json!({ "name": name, "first": first })).collect();
    Ok(Found { kind: "table", text, json: json!({ "rows": rows, "columns": columns }) })
}

/// A cell as people read it.
fn cell_text(cell: Cell<'_>) -> String {
    match cell {
        Cell::Missing => String::new(),
        Cell::Text(text) => text.to_string(),
        Cell::Number(number) => number.to_string(),
        Cell::F32(values) => format!("{} floats", values.len()),
        Cell::I32(values) => format!("{} integers", values.len()),
        Cell::U8(values) => format!("{} bytes", values.len()),
    }
}

/// A text as it fits into a line.
fn short(text: &str) -> String {
    nerve::formats::escape(text, 60)
}

/// Metadata as lines.
fn pairs(pairs: &[(String, String)]) -> String {
    let lines: Vec<[String; 2]> = pairs.iter().map(|(k, v)| [short(k), short(v)]).collect();
    super::list::columns(&lines)
}
