//! Judged examples: `eval/PART-examples.jsonl`, one line a row of the data.

use crate::api::{Answer, Refusal};
use crate::files;
use nerve_track::RunFolder;
use serde::Deserialize;
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

/// Longest line that is read, in bytes.
const LONGEST: u64 = 1 << 20;
/// Most examples in one answer.
const MOST: usize = 500;

/// Which examples are asked for: the worst first.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Ask {
    /// The part of the data: `val`, `test`.
    pub part: String,
    /// The output; empty for any.
    pub output: String,
    /// Only with this true class.
    pub truth: Option<String>,
    /// Only where this was said.
    pub said: Option<String>,
    /// Only where truth and answer differ.
    pub wrong: bool,
    /// How many, at most.
    pub n: Option<usize>,
}

/// The parts of the data that were judged: the names of the verdicts in `eval/`.
pub fn parts(run: &RunFolder) -> Vec<String> {
    let Ok(entries) = fs::read_dir(run.file("eval")) else { return Vec::new() };
    let mut parts: Vec<String> = entries
        .flatten()
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".json")?.to_string()))
        .collect();
    // The validation data first: on them the choices were made.
    parts.sort_by_key(|part| (part != "val" && part != "validation", part.clone()));
    parts.truncate(20);
    parts
}

/// The file of a part's examples. The part is one of those that are there.
pub fn file(run: &RunFolder, part: &str) -> Option<PathBuf> {
    let part = parts(run).into_iter().find(|known| known == part)?;
    files::inside(run, &format!("eval/{part}-examples.jsonl"))
}

/// An example by its loss: the heap throws the smallest out.
struct Ranked(f64, u64, Value);

impl Ranked {
    fn key(&self) -> (f64, Reverse<u64>) {
        (self.0, Reverse(self.1))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let (a, b) = (self.key(), other.key());
        a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ranked {}

/// The worst examples of those asked for, and how many there are.
///
/// # Errors
/// The part was not judged, or its examples were not kept; those of the disk.
pub fn worst(run: &RunFolder, ask: &Ask) -> Answer {
    let missing = || Refusal::Missing(format!("no examples of {:?} were kept", ask.part));
    let path = file(run, &ask.part).ok_or_else(missing)?;
    let most = ask.n.unwrap_or(60).min(MOST);
    let (mut heap, mut total, mut skipped, mut line) = (BinaryHeap::new(), 0u64, 0u64, 0u64);
    lines(File::open(path)?, |text| {
        line += 1;
        let Some(example) = text.and_then(|text| serde_json::from_str::<Value>(text).ok()) else {
            skipped += 1;
            return;
        };
        if !fits(ask, &example) {
            return;
        }
        total += 1;
        // What has no loss as a number is the worst of all.
        let loss = example["loss"].as_f64().unwrap_or(f64::INFINITY);
        heap.push(Reverse(Ranked(loss, line, example)));
        if heap.len() > most {
            heap.pop();
        }
    })?;
    let sorted = heap.into_sorted_vec();
    let examples: Vec<Value> = sorted.into_iter().map(|Reverse(ranked)| ranked.2).collect();
    Ok(json!({ "total": total, "skipped": skipped, "examples": examples }))
}

fn fits(ask: &Ask, example: &Value) -> bool {
    let is = |name: &str, wanted: &str| example[name].as_str() == Some(wanted);
    (ask.output.is_empty() || is("output", &ask.output))
        && ask.truth.as_ref().is_none_or(|truth| is("truth", truth))
        && ask.said.as_ref().is_none_or(|said| is("said", said))
        && (!ask.wrong || example["truth"] != example["said"])
}

/// Calls `each` with every line, with nothing where it is too long or no text.
fn lines(file: File, mut each: impl FnMut(Option<&str>)) -> std::io::Result<()> {
    let mut file = BufReader::new(file);
    let mut line = Vec::new();
    loop {
        line.clear();
        if (&mut file).take(LONGEST).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if line.len() as u64 == LONGEST && !line.ends_with(b"\n") {
            file.skip_until(b'\n')?;
            each(None);
            continue;
        }
        match std::str::from_utf8(&line) {
            Ok(text) if text.trim().is_empty() => {}
            Ok(text) => each(Some(text)),
            Err(_) => each(None),
        }
    }
}

/// The bytes of a picture and their type: only one that an event or an example named, and only a PNG,
/// JPEG or GIF.
///
/// # Errors
/// There is no such picture.
pub fn picture(
    run: &RunFolder,
    name: &str,
    by_event: bool,
) -> Result<(Vec<u8>, &'static str), Refusal> {
    let missing = || Refusal::Missing("no such picture".to_string());
    if !by_event && !named(run, name) {
        return Err(missing());
    }
    let bytes = files::bytes(run, name, 16 << 20)?.ok_or_else(missing)?;
    let kind = match bytes.as_slice() {
        [0x89, b'P', b'N', b'G', ..] => "image/png",
        [0xff, 0xd8, 0xff, ..] => "image/jpeg",
        [b'G', b'I', b'F', b'8', ..] => "image/gif",
        _ => return Err(missing()),
    };
    Ok((bytes, kind))
}

/// Whether an example has a picture of that name. The name says in which part to look.
fn named(run: &RunFolder, name: &str) -> bool {
    let quoted = Value::from(name).to_string();
    parts(run).iter().filter_map(|part| file(run, part)).any(|path| {
        let mut found = false;
        let read = File::open(path).and_then(|file| {
            lines(file, |text| {
                let is = |text: &str| {
                    text.contains(&quoted)
                        && serde_json::from_str::<Value>(text)
                            .is_ok_and(|example| example["picture"].as_str() == Some(name))
                };
                found = found || text.is_some_and(is);
            })
        });
        read.is_ok() && found
    })
}
