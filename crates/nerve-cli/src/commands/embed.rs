//! `nerve embed`: texts as rows of numbers.

use crate::args::Embed;
use crate::commands::set_threads;
use crate::failure::Failure;
use crate::output;
use nerve::formats::{Limits, Npy, NpyData, Reader, write_atomic, write_npz};
use nerve_recipe::Embedder;
use nerve_recipe::embedder::EmbedderError;
use nerve_recipe::source::escape;
use serde_json::json;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, stdin};
use std::path::Path;

impl From<EmbedderError> for Failure {
    fn from(error: EmbedderError) -> Failure {
        Failure::Data(error.to_string())
    }
}

/// So many texts are taken together.
const TOGETHER: usize = 1024;
/// The longest line, in bytes: far more than any model looks at.
const LONGEST: u64 = 1 << 20;

/// Where the rows go.
enum To {
    /// JSON lines to standard output, as they come.
    Screen,
    /// JSON lines into a file.
    Lines,
    Npy,
    Npz,
}

pub fn run(args: &Embed) -> Result<(), Failure> {
    set_threads(&args.common)?;
    let to = to(&args.output)?;
    let embedder = Embedder::open(&args.model)?;
    let width = embedder.dimension();
    let (mut all, mut lines, mut count) = (Vec::new(), String::new(), 0);
    each_part(args, |texts| {
        count += texts.len();
        let rows = embedder.embed(texts);
        match to {
            To::Npy | To::Npz => all.extend(rows.into_iter().flatten()),
            To::Screen | To::Lines => {
                for (text, row) in texts.iter().zip(rows) {
                    let line = match args.common.json {
                        true => json!({ "text": text, "embedding": row }),
                        false => json!(row),
                    };
                    let _ = writeln!(lines, "{line}");
                }
            }
        }
        if matches!(to, To::Screen) {
            output::result(&std::mem::take(&mut lines))?;
        }
        Ok(())
    })?;
    if count == 0 {
        return Err(Failure::Data("there are no texts".into()));
    }
    let npy = Npy { shape: vec![count, width], data: NpyData::F32(all) };
    match to {
        To::Screen => {}
        To::Lines => write_atomic(&args.output, |file| file.write_all(lines.as_bytes()))?,
        To::Npy => write_atomic(&args.output, |file| file.write_all(&npy.to_bytes()))?,
        To::Npz => write_npz(&args.output, &[("embeddings", npy)])?,
    }
    Ok(())
}

fn to(path: &Path) -> Result<To, Failure> {
    if path == Path::new("-") {
        return Ok(To::Screen);
    }
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("npy") => Ok(To::Npy),
        Some("npz") => Ok(To::Npz),
        Some("jsonl" | "ndjson") => Ok(To::Lines),
        _ => {
            let name = escape(&path.to_string_lossy());
            Err(Failure::Usage(format!(
                "{name}: expected a name that ends in .npy, .npz or .jsonl"
            )))
        }
    }
}

/// Calls `each` with the texts, some at a time.
fn each_part(
    args: &Embed,
    mut each: impl FnMut(&[String]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if !args.texts.is_empty() {
        return args.texts.chunks(TOGETHER).try_for_each(each);
    }
    let name = escape(&args.data.to_string_lossy());
    let mut file: Box<dyn BufRead> = match args.data == Path::new("-") {
        true => Box::new(BufReader::new(stdin())),
        false => {
            // A folder or a pipe has its own words.
            Reader::open(&args.data, &Limits { max_bytes: u64::MAX, ..Limits::default() })?;
            let open = File::open(&args.data);
            Box::new(BufReader::new(open.map_err(|e| Failure::Data(format!("{name}: {e}")))?))
        }
    };
    let (mut texts, mut line, mut number) = (Vec::new(), Vec::new(), 0u64);
    loop {
        line.clear();
        number += 1;
        let wrong = |what: &str| Failure::Data(format!("{name}:{number}: {what}"));
        let read = (&mut file).take(LONGEST + 1).read_until(b'\n', &mut line);
        if read.map_err(|error| wrong(&error.to_string()))? == 0 {
            break;
        }
        if line.len() as u64 > LONGEST {
            return Err(wrong(&format!("expected at most {LONGEST} bytes in a line, found more")));
        }
        let text =
            std::str::from_utf8(&line).map_err(|_| wrong("expected UTF-8, found other bytes"))?;
        texts.push(text.trim_end_matches(['\n', '\r']).to_string());
        if texts.len() == TOGETHER {
            each(&texts)?;
            texts.clear();
        }
    }
    if texts.is_empty() { Ok(()) } else { each(&texts) }
}
