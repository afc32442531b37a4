//! Cross-validation: the same recipe on each fold of the data.

use super::{Show, progress, train_failure};
use crate::args::Train;
use crate::failure::Failure;
use crate::output::{self, complain};
use crate::signals::Signals;
use nerve::train::judge::{self, Bootstrap, Options};
use nerve::train::{Callback, Outcome};
use nerve_recipe::source::escape;
use nerve_recipe::{Recipe, Rows, Session};
use nerve_track::RunFolder;
use serde_json::json;

/// What a fold reached on its test rows.
struct Fold {
    rows: [usize; 3],
    scores: Vec<f64>,
}

pub fn run(args: &Train, recipe: &Recipe, name: &str, k: usize) -> Result<(), Failure> {
    let data = |error: nerve::data::DataError| Failure::Data(error.to_string());
    let tables = recipe.folds(k).map_err(data)?;
    let described = recipe.described(&tables[0].train.table).map_err(data)?;
    let files = [("config.toml", recipe.text()), ("resolved.toml", &described.resolved())];
    let folder = RunFolder::create(&args.runs, name, &files)?;
    let signals = Signals::catch()
        .map_err(|error| Failure::Runtime(format!("cannot catch signals: {error}")))?;
    let mut names = Vec::new();
    let mut folds = Vec::new();
    for (i, tables) in tables.iter().enumerate() {
        let session = Session::with(recipe, tables)?;
        if args.progress != Show::Off {
            complain(&format!("Fold {}/{k}", i + 1));
        }
        let mut progress = progress(args.progress);
        let mut callbacks: Vec<&mut dyn Callback> = Vec::new();
        callbacks.extend(progress.iter_mut().map(|it| it as &mut dyn Callback));
        let fit = session.fit(signals.stop.clone(), None, &mut callbacks);
        match fit.map_err(|error| train_failure(&error))?.outcome {
            Outcome::Interrupted { .. } => {
                let signal = signals.number().unwrap_or(signal_hook::consts::SIGINT);
                complain(&format!("stopped in fold {} of {k}; nothing of it is kept", i + 1));
                return Err(Failure::Stopped(signal));
            }
            Outcome::Diverged { step, loss, .. } => {
                let message = format!("fold {} diverged: the loss is {loss} at step {step}", i + 1);
                return Err(Failure::Diverged(message));
            }
            Outcome::Finished | Outcome::Stopped(_) => {}
        }
        let Some(test) = &tables.test else { continue };
        let scores = judge_fold(&session, test, &tables.train)?;
        // A score that one fold cannot have, as of a class that is not in it, is none of all.
        if i == 0 {
            names = scores.iter().map(|(name, _)| name.clone()).collect();
        }
        let known = |name: &String| scores.iter().find(|(other, _)| other == name);
        let scores = names.iter().map(|name| known(name).map_or(f64::NAN, |(_, score)| *score));
        folds.push(Fold { rows: session.data.examples(), scores: scores.collect() });
    }
    write(&folder, &names, &folds)?;
    report(args, &folder, &names, &folds)
}

/// Every score that suits the outputs, in the units of the data.
fn judge_fold(session: &Session, test: &Rows, train: &Rows) -> Result<Vec<(String, f64)>, Failure> {
    let data = |error: nerve::data::DataError| Failure::Data(error.to_string());
    let judged = session.predictor().judged("test", test, Some(train))?;
    // The spread over the folds takes the place of intervals.
    let bootstrap = Bootstrap { resamples: 0, ..Bootstrap::default() };
    let options = Options { bootstrap, ..Options::default() };
    let verdict = judge::judge(&judged, &options).map_err(data)?;
    let several = verdict.outputs.len() > 1;
    let scores = verdict.outputs.iter().flat_map(|output| {
        let name = move |score: &str| match several {
            true => format!("{}.{score}", output.name),
            false => score.to_string(),
        };
        output.scores.iter().map(move |score| (name(&score.name), score.value))
    });
    Ok(scores.collect())
}

/// One row a fold.
fn write(folder: &RunFolder, names: &[String], folds: &[Fold]) -> Result<(), Failure> {
    let mut csv = format!("fold,train,validation,test,{}\n", names.join(","));
    for (i, fold) in folds.iter().enumerate() {
        let [train, validation, test] = fold.rows;
        let scores: Vec<String> = fold.scores.iter().map(f64::to_string).collect();
        csv.push_str(&format!("{},{train},{validation},{test},{}\n", i + 1, scores.join(",")));
    }
    Ok(folder.write("folds.csv", &csv)?)
}

/// Mean, and deviation of a sample: with n - 1 below.
fn moments(values: &[f64]) -> [f64; 2] {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    [mean, (squares / (n - 1.0).max(1.0)).sqrt()]
}

fn report(
    args: &Train,
    folder: &RunFolder,
    names: &[String],
    folds: &[Fold],
) -> Result<(), Failure> {
    let column = |i: usize| folds.iter().map(|fold| fold.scores[i]).collect::<Vec<f64>>();
    let path = folder.path().to_string_lossy();
    if args.common.json {
        let mut value = json!({ "run": path, "folds": folds.len() });
        for (i, name) in names.iter().enumerate() {
            let values = column(i);
            let [mean, deviation] = moments(&values);
            value[format!("test_{name}")] =
                json!({ "mean": mean, "deviation": deviation, "folds": values });
        }
        return Ok(output::json(&value)?);
    }
    let mut text = format!("{:<14} {}\n{:<14} {}\n", "run", escape(&path), "folds", folds.len());
    for (i, name) in names.iter().enumerate() {
        let values = column(i);
        let [mean, deviation] = moments(&values);
        let each: Vec<String> = values.iter().map(|value| format!("{value:.4}")).collect();
        let name = format!("test_{name}");
        text.push_str(&format!("{name:<24} {mean:.4} ± {deviation:.4}   {}\n", each.join("  ")));
    }
    Ok(output::result(&text)?)
}

#[cfg(test)]
mod tests {
    use super::moments;

    #[test]
    fn the_deviation_is_that_of_a_sample() {
        assert_eq!(moments(&[1.0, 3.0]), [2.0, 2f64.sqrt()]);
        assert_eq!(moments(&[5.0]), [5.0, 0.0]);
    }
}
