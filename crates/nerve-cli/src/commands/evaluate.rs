//! `nerve evaluate`: how good a trained network is on data that it has not seen.

use crate::args::Evaluate;
use crate::commands::{open, set_threads};
use crate::failure::Failure;
use crate::output;
use nerve_recipe::session::JudgeError;
use nerve_recipe::source::escape;
use nerve_recipe::summary::thousands;
use serde_json::json;

pub fn run(args: &Evaluate) -> Result<(), Failure> {
    set_threads(&args.common)?;
    let (folder, predictor) = open(&args.runs, &args.run)?;
    let judgement = predictor.judge().map_err(|error| match error {
        JudgeError::Data(_) | JudgeError::Model(_) => Failure::Data(error.to_string()),
        JudgeError::Train(_) => Failure::Runtime(error.to_string()),
    })?;
    let part = judgement.part;
    let scores = &judgement.scores;
    let named: Vec<(&str, f64)> = std::iter::once(("loss", scores.loss))
        .chain(judgement.metrics.iter().map(String::as_str).zip(scores.metrics.iter().copied()))
        .collect();
    if args.common.json {
        let mut value = json!({
            "run": folder.path().to_string_lossy(),
            "data": part,
            "examples": scores.examples,
        });
        for (name, score) in named {
            value[name] = json!(score);
        }
        return Ok(output::json(&value)?);
    }
    let mut text = format!("{:<14} {}\n", "run", escape(&folder.path().to_string_lossy()));
    text.push_str(&format!("{:<14} {} ({part})\n", "examples", thousands(scores.examples.into())));
    for (name, score) in named {
        text.push_str(&format!("{name:<14} {score:.4}\n"));
    }
    Ok(output::result(&text)?)
}
