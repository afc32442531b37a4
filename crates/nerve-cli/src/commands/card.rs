//! `nerve card`: what a model is, learned from, and can do.

use crate::args::Card;
use crate::failure::Failure;
use crate::output;
use nerve::formats::write_atomic;
use nerve_recipe::source::escape;
use nerve_track::RunFolder;
use serde_json::json;

pub fn run(args: &Card) -> Result<(), Failure> {
    let run = RunFolder::open(&args.within.runs, &args.run)?;
    let text = nerve_track::card(&run)?;
    if let Some(file) = &args.output {
        write_atomic(file, |out| out.write_all(text.as_bytes()))
            .map_err(|error| Failure::Runtime(error.to_string()))?;
    }
    let file = args.output.as_ref().map(|file| file.to_string_lossy());
    match (args.within.json, file) {
        (true, file) => output::json(&json!({ "run": run.name(), "file": file, "card": text }))?,
        (false, Some(file)) => output::result(&escape(&file))?,
        (false, None) => output::result(text.trim_end())?,
    }
    Ok(())
}
