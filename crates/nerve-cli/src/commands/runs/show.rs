//! `nerve runs show`: one run.

use super::{date, duration, now};
use crate::args::RunsShow;
use crate::commands::list::columns;
use crate::failure::Failure;
use crate::output;
use nerve_recipe::source::escape;
use nerve_recipe::summary::{bytes_text, thousands};
use nerve_track::{Epoch, Epochs, Overview, RunFolder};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;

/// So many epochs are shown to people; the first and the best are always among them.
const MOST_EPOCHS: usize = 20;

pub fn run(args: &RunsShow) -> Result<(), Failure> {
    let run = RunFolder::open(&args.within.runs, &args.run)?;
    let overview = run.overview(now());
    let epochs = Epochs::of(&run).map_err(|error| Failure::Data(error.to_string()))?;
    let files = files(&run);
    if args.within.json {
        let mut value = json!(overview);
        value["history"] = epochs.rows.iter().map(epoch_json).collect();
        value["files"] = json!(files);
        return Ok(output::json(&value)?);
    }
    let mut text = head(&overview);
    text.push_str(&table(&epochs));
    text.push_str("\nfiles\n");
    let rows: Vec<[String; 2]> =
        files.iter().map(|(name, bytes)| [escape(name), bytes_text((*bytes).into())]).collect();
    text.push_str(&columns(&rows));
    Ok(output::result(&text)?)
}

fn head(run: &Overview) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            text.push_str(&format!("{label:<10} {value}\n"));
        }
    };
    line("run", Some(escape(&run.path.to_string_lossy())));
    let reason =
        if run.reason.is_empty() { String::new() } else { format!(": {}", escape(&run.reason)) };
    line("state", Some(format!("{}{reason}", run.status)));
    line("began", run.began.map(|t| format!("{} UTC", date(t))));
    line("time", run.seconds.map(duration));
    line("step", run.step.map(|step| thousands(step.into())));
    line("epochs", run.epoch.zip(run.epochs).map(|(epoch, epochs)| format!("{epoch}/{epochs}")));
    let best = run.best.zip(run.best_epoch);
    let goal = run.goal.as_deref().unwrap_or("score");
    line("best", best.map(|(best, epoch)| format!("{} {best:.4} in epoch {epoch}", escape(goal))));
    let tags: Vec<String> = run.tags.iter().map(|tag| escape(tag)).collect();
    line("tags", Some(tags.join(", ")));
    text
}

fn table(epochs: &Epochs) -> String {
    if epochs.rows.is_empty() {
        return String::new();
    }
    let names = epochs.names();
    let best = epochs.best();
    let mut rows = vec![["epoch", "step", "time"].map(String::from).to_vec()];
    rows[0].extend(names.iter().map(|name| escape(name)));
    rows[0].push(String::new());
    let from = epochs.rows.len().saturating_sub(MOST_EPOCHS);
    for (i, epoch) in epochs.rows.iter().enumerate() {
        let is_best = best.is_some_and(|best| best.epoch == epoch.epoch);
        if i != 0 && i < from && !is_best {
            continue;
        }
        let mut row =
            vec![epoch.epoch.to_string(), thousands(epoch.step.into()), duration(epoch.time_s)];
        row.extend(names.iter().map(|name| {
            epoch.scores.get(name).map(|score| format!("{score:.4}")).unwrap_or_default()
        }));
        row.push(if is_best { "★ best".into() } else { String::new() });
        rows.push(row);
    }
    let wide = rows[0].len();
    let width = |i: usize| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..wide).map(width).collect();
    let mut text = "\n".to_string();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}  "));
        text.push_str(cells.collect::<String>().trim_end());
        text.push('\n');
    }
    text
}

fn epoch_json(epoch: &Epoch) -> Value {
    // Numbers that JSON lacks are null.
    let scores: BTreeMap<&str, Value> =
        epoch.scores.iter().map(|(name, score)| (name.as_str(), json!(score))).collect();
    json!({
        "epoch": epoch.epoch,
        "step": epoch.step,
        "time_s": epoch.time_s,
        "lr": epoch.lr,
        "best": epoch.best,
        "scores": scores,
    })
}

/// The files and folders of a run with their sizes, by name.
fn files(run: &RunFolder) -> BTreeMap<String, u64> {
    let Ok(entries) = fs::read_dir(run.path()) else { return BTreeMap::new() };
    let named = entries.flatten().map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            true => (name + "/", size(&entry.path(), 3)),
            false => (name, entry.metadata().map_or(0, |data| data.len())),
        }
    });
    named.collect()
}

/// The bytes of the files in a folder, so many folders deep.
fn size(folder: &std::path::Path, depth: u32) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let each = entries.flatten().map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() && depth > 0 => size(&entry.path(), depth - 1),
        Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |data| data.len()),
        _ => 0,
    });
    each.sum()
}
