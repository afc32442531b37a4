//! `nerve compare`: how runs differ.

mod scores;
mod show;

use crate::args::Compare;
use crate::commands::set_threads;
use crate::failure::Failure;
use crate::output;
use nerve_track::{Change, Epochs, RunFolder, Setting, changes, settings};
use scores::Scores;
use serde_json::{Value, json};

/// A run beside the first.
struct Beside {
    run: RunFolder,
    settings: Vec<Change>,
    machine: Vec<Change>,
    epochs: Epochs,
    scores: Option<Result<Scores, String>>,
}

pub fn run(args: &Compare) -> Result<(), Failure> {
    set_threads(&args.common)?;
    let open = |name: &std::path::PathBuf| RunFolder::open(&args.runs, name);
    let first = open(&args.names[0])?;
    let others = args.names[1..].iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let mut judged = match args.quick {
        true => None,
        false => Some(scores::Judge::of(args, &first)?),
    };
    let epochs = epochs_of(&first)?;
    let mut all = Vec::new();
    for run in others {
        let scores = judged.as_mut().map(|judge| judge.beside(&run));
        all.push(Beside {
            settings: changes(&settings_of(&first)?, &settings_of(&run)?),
            machine: changes(&machine(&first), &machine(&run)),
            epochs: epochs_of(&run)?,
            scores,
            run,
        });
    }
    match args.common.json {
        true => {
            let others: Vec<Value> = all.iter().map(json).collect();
            let value = json!({
                "run": first.name(),
                "epochs": epochs_json(&epochs),
                "others": others,
            });
            Ok(output::json(&value)?)
        }
        false => Ok(output::result(&show::text(&first, &epochs, &all))?),
    }
}

fn epochs_of(run: &RunFolder) -> Result<Epochs, Failure> {
    Epochs::of(run).map_err(|error| Failure::Data(error.to_string()))
}

type Pairs = Vec<(String, String)>;

fn settings_of(run: &RunFolder) -> Result<Vec<(String, Setting)>, Failure> {
    settings(run).map_err(|error| Failure::Data(error.to_string()))
}

/// Where a run was trained: what of its environment can differ between machines and versions.
fn machine(run: &RunFolder) -> Pairs {
    let Some(Value::Object(found)) = run.environment() else { return Vec::new() };
    let told = ["nerve", "threads", "instructions", "system", "cpu"];
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_string);
    let of = |key: &&str| Some((key.to_string(), text(found.get(*key)?)));
    let mut pairs: Pairs = told.iter().filter_map(of).collect();
    if let Some(Value::Object(rows)) = found.get("rows") {
        pairs.extend(rows.iter().map(|(part, count)| (format!("rows.{part}"), count.to_string())));
    }
    pairs
}

fn epochs_json(epochs: &Epochs) -> Value {
    let row = |row: Option<&nerve_track::Epoch>| match row {
        Some(row) => {
            let mut value = json!({ "epoch": row.epoch, "time_s": row.time_s });
            row.scores.iter().for_each(|(name, score)| value[name] = json!(score));
            value
        }
        None => Value::Null,
    };
    json!({ "last": row(epochs.last()), "best": row(epochs.best()) })
}

fn json(other: &Beside) -> Value {
    let changes = |changes: &[Change]| -> Value {
        let one = |change: &Change| json!({ "path": change.path, "first": change.first, "second": change.second });
        changes.iter().map(one).collect()
    };
    let scores = match &other.scores {
        None => Value::Null,
        Some(Ok(scores)) => scores.json(),
        Some(Err(reason)) => json!({ "error": reason }),
    };
    json!({
        "run": other.run.name(),
        "settings": changes(&other.settings),
        "machine": changes(&other.machine),
        "epochs": epochs_json(&other.epochs),
        "scores": scores,
    })
}
