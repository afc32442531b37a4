//! `nerve resume`: a training goes on where it was stopped.

use super::train::{How, Training, shown};
use crate::args::Resume;
use crate::commands::set_threads;
use crate::failure::Failure;
use crate::output::{self, complain};
use nerve::train::Checkpoints;
use nerve_recipe::source::escape;
use nerve_recipe::{Recipe, Session, Source, Trial};
use nerve_track::{
    BASE, CHECKPOINTS, Change, RESOLVED, RunFolder, STATE, State, Status, changes, settings,
    settings_in,
};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

pub fn run(args: &Resume) -> Result<(), Failure> {
    let began = Instant::now();
    let threads = set_threads(&args.common)?;
    let folder = RunFolder::open(&args.runs, &args.run)?;
    let overrides: Vec<String> =
        args.overrides.iter().map(|text| text.to_string_lossy().into_owned()).collect();
    let recipe = Recipe::load(Source::read(&folder.file(RESOLVED))?, &overrides)?;
    let how = How { progress: args.progress, json: args.common.json, ui: false, threads, began };
    with(&how, &folder, &recipe)
}

/// Goes on in this folder, with this recipe, which may differ from that of the run in what does not
/// change what was learned so far.
pub fn with(how: &How, folder: &RunFolder, recipe: &Recipe) -> Result<(), Failure> {
    let lock = folder.lock()?;
    let environment = folder.environment().unwrap_or_default();
    let checkpoints = Checkpoints::open(folder.file(CHECKPOINTS))
        .map_err(|error| Failure::Runtime(error.to_string()))?;
    let found = checkpoints.last().map_err(|error| Failure::Data(error.to_string()))?;
    // The checkpoint has the weights of the network in front of the layers, so its file may be gone.
    if found.is_some()
        && let Some(graph) = folder.read(BASE).map_err(|error| Failure::Data(error.to_string()))?
    {
        let shown = folder.file(BASE).display().to_string();
        let taken = recipe.with_base_graph(&graph);
        taken.map_err(|message| Failure::Data(format!("{}: {message}", escape(&shown))))?;
    }
    let mut session = Session::new(recipe)?;
    // What learns a few examples by heart goes on with these.
    if let Some(count) = environment["overfit"].as_u64() {
        let trial = session.trial(Trial::Overfit(count as usize));
        session = trial.map_err(|error| Failure::Usage(escape(&error.to_string())))?;
    }
    let before = settings(folder).map_err(|error| Failure::Data(error.to_string()))?;
    let after = settings_in(&session.recipe.resolved()).expect("a recipe prints as TOML");
    let changes = changes(&before, &after);
    refuse_changes(folder, &changes)?;
    let state = State::read(&folder.file(STATE)).ok();
    if let Some(state) = state.filter(|state| state.status == Status::Done && changes.is_empty()) {
        return nothing_left(how, folder, &state);
    }
    let mut notes = Vec::new();
    match &found {
        Some(found) => {
            let position = found.snapshot.position;
            notes.extend(found.damaged.iter().map(|damage| format!("{damage}; passed over")));
            notes
                .push(format!("goes on after step {}, in epoch {}", position.step, position.epoch));
        }
        None => notes.push("stopped before its first checkpoint: begins at the beginning".into()),
    }
    notes.extend(changes.iter().map(|change| format!("changed: {}", described(change))));
    data_changed(folder, &environment, &session)?;
    if !changes.is_empty() {
        folder.write(RESOLVED, &session.recipe.resolved())?;
    }
    let from = found.map(|found| Arc::new(found.snapshot));
    Training { session, folder: folder.clone(), lock, from, notes }.run(how)
}

/// What may be changed of a training that goes on.
fn may_change(path: &str) -> bool {
    let tables = ["log.", "eval."];
    let keys = ["name", "trainer.epochs", "trainer.max_minutes", "trainer.early_stop.patience"];
    keys.contains(&path) || tables.iter().any(|table| path.starts_with(table))
}

fn refuse_changes(folder: &RunFolder, changes: &[Change]) -> Result<(), Failure> {
    let refused: Vec<String> = changes
        .iter()
        .filter(|change| !may_change(&change.path))
        .map(|change| format!("  {}", described(change)))
        .collect();
    if refused.is_empty() {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "the recipe of {} was another one:\n{}\na training goes on with what it began with; what may \
         change: epochs, max_minutes, the patience of early_stop, [log], [eval]",
        shown(folder),
        refused.join("\n")
    )))
}

fn described(change: &Change) -> String {
    let text = |value: &Option<String>| value.as_deref().map_or("nothing".into(), escape);
    format!("{} = {} (was {})", change.path, text(&change.second), text(&change.first))
}

/// The same steps on other data would be no continuation.
fn data_changed(folder: &RunFolder, environment: &Value, session: &Session) -> Result<(), Failure> {
    match environment["data"].as_str() {
        Some(before) if before != session.data.fingerprint() => Err(Failure::Data(format!(
            "the data have changed since {} began; start a new training",
            shown(folder)
        ))),
        _ => Ok(()),
    }
}

fn nothing_left(how: &How, folder: &RunFolder, state: &State) -> Result<(), Failure> {
    let why = if state.reason.is_empty() { "all its epochs are done" } else { &state.reason };
    complain(&format!("{} is at its end: {}; more: epochs=N", shown(folder), escape(why)));
    if how.json {
        let run = folder.path().to_string_lossy();
        return Ok(output::json(&json!({ "run": run, "epochs": state.epochs, "steps": 0 }))?);
    }
    Ok(())
}
