//! Tunings: the folders with a `journal.jsonl`, and the trials in them.

use crate::api::{Answer, Refusal};
use crate::book::number;
use nerve_tune::{Domain, Mode, Setting, Study};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const JOURNAL: &str = "journal.jsonl";

/// The tunings of a folder by their names: those of its folders that have a journal.
fn all(root: &Path) -> Vec<(String, PathBuf)> {
    let Ok(entries) = fs::read_dir(root) else { return Vec::new() };
    let folders = entries.flatten().map(|entry| entry.path());
    let mut found: Vec<(String, PathBuf)> = folders
        .chain([root.to_path_buf()])
        .filter(|path| path.join(JOURNAL).is_file())
        .filter_map(|path| {
            let name = path.file_name()?.to_string_lossy();
            Some((nerve_formats::escape(&name, 200), path.join(JOURNAL)))
        })
        .collect();
    found.sort();
    found
}

/// The names of the tunings.
pub fn list(root: &Path) -> Value {
    let names: Vec<String> = all(root).into_iter().map(|(name, _)| name).collect();
    json!({ "tunings": names })
}

/// A tuning: what is searched, the trials so far, the best one, and which parameters decided.
///
/// # Errors
/// There is none of that name, or its journal is damaged.
pub fn trials(root: &Path, name: &str) -> Answer {
    let journal = all(root).into_iter().find(|(known, _)| known == name);
    let (_, path) = journal.ok_or_else(|| Refusal::Missing("there is no such tuning".into()))?;
    let study = Study::read(&path).map_err(|error| {
        Refusal::Disk(std::io::Error::new(std::io::ErrorKind::InvalidData, error.to_string()))
    })?;
    let importance = nerve_tune::importance(&study);
    let parameters: Vec<Value> = study
        .space()
        .parameters()
        .iter()
        .zip(&importance)
        .map(|(parameter, &importance)| {
            let (labels, log) = match &parameter.domain {
                Domain::Choice(labels) => (json!(labels), false),
                Domain::Float { log, .. } | Domain::Int { log, .. } => (Value::Null, *log),
            };
            json!({ "name": parameter.name, "labels": labels, "log": log, "importance": number(importance) })
        })
        .collect();
    let trials: Vec<Value> = study
        .trials()
        .iter()
        .map(|trial| {
            json!({
                "trial": trial.number,
                "values": trial.settings.iter().map(Setting::json).collect::<Vec<_>>(),
                "outcome": trial.outcome.word(),
                "value": trial.value.map(number),
                "reports": trial.reports.iter().map(|&(step, v)| json!([step, number(v)])).collect::<Vec<_>>(),
                "seconds": trial.seconds,
                "reason": trial.reason,
            })
        })
        .collect();
    Ok(json!({
        "name": name,
        "minimize": study.settings().mode == Mode::Min,
        "subject": study.settings().subject,
        "parameters": parameters,
        "trials": trials,
        "best": study.best().map(|trial| trial.number),
    }))
}
