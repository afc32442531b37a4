//! Folders: runs, checkpoints, models of Hugging Face.

use super::{Found, pairs, tensors};
use crate::args::Inspect;
use crate::commands::list::columns;
use crate::commands::runs::now;
use crate::failure::Failure;
use nerve::formats::safetensors::Contents;
use nerve::formats::{ErrorKind, FormatError, Limits, Reader};
use nerve_recipe::source::escape;
use nerve_track::{MODEL, RunFolder};
use serde_json::{Value, json};
use std::path::Path;

pub fn look(path: &Path, args: &Inspect) -> Result<Found, Failure> {
    if path.join("manifest.json").is_file() {
        return described(path, "checkpoint", "manifest.json", "state.safetensors");
    }
    if path.join("config.json").is_file() {
        return described(path, "model of Hugging Face", "config.json", MODEL);
    }
    if let Ok(run) = RunFolder::open(Path::new(""), path) {
        return of_run(&run, args);
    }
    let found = "a folder with none of events.jsonl, manifest.json and config.json in it";
    let expected = "a run folder, a checkpoint or a model folder";
    Err(FormatError::new(ErrorKind::Unsupported, path, "folder", expected, found).into())
}

/// A run, and its model if it has one.
fn of_run(run: &RunFolder, args: &Inspect) -> Result<Found, Failure> {
    let overview = run.overview(now());
    let mut text = format!("{}\n", overview.status);
    let mut value = json!({ "run": overview });
    if run.model().is_file() {
        let model = tensors::look(&run.model(), args)?;
        text.push_str(&format!("\n{MODEL}: {}, {}", model.kind, model.text));
        value["model"] = model.json;
    }
    Ok(Found { kind: "run folder", text, json: value })
}

/// A folder of tensors with a JSON file that describes them.
fn described(path: &Path, kind: &'static str, about: &str, file: &str) -> Result<Found, Failure> {
    let about = small_json(&path.join(about))?;
    let lines: Vec<(String, String)> = about
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.clone(), value.as_str().map_or(value.to_string(), String::from)))
        .collect();
    let mut text = format!("described by {} keys\n{}", lines.len(), pairs(&lines));
    let mut value = json!({ "about": about });
    let file = path.join(file);
    if file.is_file() {
        let contents = Contents::read(&file)?;
        text.push_str(&format!("\n{}", tensors::table(&contents.tensors)));
        value["tensors"] = tensors::json(&contents)["tensors"].take();
    } else {
        text.push_str(&columns(&[["", &*format!("no {}", escape(&file.to_string_lossy()))]]));
    }
    Ok(Found { kind, text, json: value })
}

fn small_json(path: &Path) -> Result<Value, FormatError> {
    let limits = Limits { max_bytes: 1 << 20, ..Limits::default() };
    let mut reader = Reader::open(path, &limits)?;
    let bytes = reader.bytes("file", reader.remaining().unwrap_or(0))?;
    serde_json::from_slice(&bytes).map_err(|error| {
        FormatError::new(ErrorKind::Malformed, path, "file", "JSON", error.to_string())
    })
}
