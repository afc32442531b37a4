//! What a tuning says: a line for each trial, the best, and what mattered.

use crate::failure::Failure;
use crate::output;
use nerve::train::{Goal, Mode};
use nerve::tune::{Outcome, Setting, Study, Trial, importance};
use nerve_recipe::Tuning;
use nerve_recipe::source::escape;
use serde_json::{Map, Value as Json, json};
use std::path::Path;
use std::time::Duration;

/// How a study is shown.
pub struct Shown<'t> {
    tuning: &'t Tuning,
    metric: String,
    mode: Mode,
    /// For each parameter as much of its path as tells it from the others.
    short: Vec<String>,
}

/// A number as people compare it: five digits.
fn number(x: f64) -> String {
    match x.abs() {
        0.0 => "0".to_string(),
        size if (1e-3..1e5).contains(&size) => {
            let digits = (4 - size.log10().floor() as i32).max(0) as usize;
            let text = format!("{x:.digits$}");
            match text.contains('.') {
                true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
                false => text,
            }
        }
        _ => format!("{x:.3e}"),
    }
}

fn value(setting: &Setting) -> String {
    match setting {
        Setting::Float(x) => number(*x),
        Setting::Int(x) => x.to_string(),
        Setting::Choice(_, label) => escape(label),
    }
}

impl<'t> Shown<'t> {
    pub fn new(tuning: &'t Tuning, goal: &Goal) -> Self {
        let paths: Vec<&str> =
            tuning.space.parameters().iter().map(|parameter| parameter.name.as_str()).collect();
        let short = paths.iter().map(|path| {
            let ends = path.match_indices('.').map(|(at, _)| &path[at + 1..]).collect::<Vec<_>>();
            let alone = |end: &&&str| {
                paths
                    .iter()
                    .filter(|other| **other == **end || other.ends_with(&format!(".{end}")))
                    .count()
                    == 1
            };
            escape(ends.iter().rev().find(alone).copied().unwrap_or(path))
        });
        let short = short.collect();
        let metric = goal.metric.clone().unwrap_or_default();
        Shown { tuning, metric, mode: goal.mode, short }
    }

    /// `nerve 0.1.0 · tuning runs/boston-tune · 60 trials by tpe, pruned by median · val_loss, less is better`.
    pub fn header(&self, folder: &Path, study: &Study, workers: usize, threads: usize) -> String {
        let begun = study.trials().len() - study.count(Outcome::Running);
        let before =
            if begun > 0 { format!(" ({begun} of them done before)") } else { String::new() };
        let s = |n: usize| if n == 1 { "" } else { "s" };
        format!(
            "nerve {} · tuning {} · {} trials{before} by {}, pruner {} · {}, {} is better · {workers} worker{}, {threads} thread{}",
            env!("CARGO_PKG_VERSION"),
            escape(&folder.to_string_lossy()),
            self.tuning.trials,
            self.tuning.sampler.word(),
            self.tuning.pruner.word(),
            escape(&self.metric),
            if self.mode == Mode::Min { "less" } else { "more" },
            s(workers),
            s(threads),
        )
    }

    fn settings(&self, trial: &Trial) -> String {
        let named = self.short.iter().zip(&trial.settings);
        named
            .map(|(name, setting)| format!("{name}={}", value(setting)))
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// A trial that has ended.
    pub fn trial(&self, study: &Study, at: usize) -> String {
        let trial = &study.trials()[at];
        let what = match (trial.outcome, trial.reports.last()) {
            (Outcome::Told, _) => number(trial.value.unwrap_or(f64::NAN)),
            (Outcome::Pruned, Some((epoch, _))) => format!("pruned at {epoch}"),
            (outcome, _) => outcome.word().to_string(),
        };
        let best = study.best();
        let star = if best.is_some_and(|best| best.number == at) { " ★ best" } else { "" };
        let best = match best {
            Some(best) => {
                format!("best {} ({})", number(best.value.unwrap_or(f64::NAN)), best.number)
            }
            None => "no best yet".to_string(),
        };
        let reason = match trial.reason.as_str() {
            "" => String::new(),
            reason => format!(" · {}", escape(reason)),
        };
        let width = self.tuning.trials.to_string().len();
        format!(
            "Trial {at:>width$} {what:<13} {best:<20} {:>6.1} s  {}{reason}{star}",
            trial.seconds,
            self.settings(trial)
        )
    }

    /// The best in a line.
    pub fn best_line(&self, study: &Study) -> Option<String> {
        let best = study.best()?;
        let ended = study.trials().len() - study.count(Outcome::Running);
        let (metric, value) = (escape(&self.metric), number(best.value?));
        Some(format!("The best of {ended} trials is trial {}: {metric} = {value}", best.number))
    }

    pub fn result(
        &self,
        json: bool,
        study: &Study,
        folder: &Path,
        time: Duration,
    ) -> Result<(), Failure> {
        let Some(best) = study.best() else { return Ok(()) };
        let shares = importance(study);
        let counts = [Outcome::Told, Outcome::Pruned, Outcome::Failed].map(|it| study.count(it));
        let recipe = folder.join("best.toml");
        let parameters = || study.space().parameters().iter();
        if json {
            let map = |values: Vec<Json>| -> Map<String, Json> {
                parameters().map(|it| it.name.clone()).zip(values).collect()
            };
            return Ok(output::json(&json!({
                "run": folder.to_string_lossy(),
                "metric": self.metric,
                "mode": if self.mode == Mode::Min { "min" } else { "max" },
                "trials": counts.iter().sum::<usize>(),
                "told": counts[0],
                "pruned": counts[1],
                "failed": counts[2],
                "seconds": time.as_secs_f64(),
                "best": {
                    "trial": best.number,
                    "value": best.value,
                    "params": map(best.settings.iter().map(Setting::json).collect()),
                },
                "importance": map(shares.iter().map(|share| json!(share)).collect()),
                "recipe": recipe.to_string_lossy(),
            }))?);
        }
        let mut text = format!("{:<14} {}\n", "study", escape(&folder.to_string_lossy()));
        text.push_str(&format!(
            "{:<14} {}: {} to their end, {} pruned, {} failed\n",
            "trials",
            counts.iter().sum::<usize>(),
            counts[0],
            counts[1],
            counts[2]
        ));
        text.push_str(&format!("{:<14} {:.1} s\n", "time", time.as_secs_f64()));
        let (metric, reached) = (escape(&self.metric), number(best.value.unwrap_or(f64::NAN)));
        text.push_str(&format!("{:<14} {metric} = {reached} in trial {}\n", "best", best.number));
        let width = parameters().map(|it| it.name.chars().count()).max().unwrap_or(0).min(60);
        text.push_str(&format!("\n{:<width$}  {:<12} how much it mattered\n", "parameter", "best"));
        let mut rows: Vec<usize> = (0..shares.len()).collect();
        rows.sort_by(|&a, &b| shares[b].total_cmp(&shares[a]));
        for i in rows {
            let name = escape(&study.space().parameters()[i].name);
            let bar = "█".repeat((shares[i] * 30.0).round() as usize);
            let value = value(&best.settings[i]);
            text.push_str(
                &format!("{name:<width$}  {value:<12} {:.2} {bar}", shares[i]).to_string(),
            );
            text.push('\n');
        }
        text.push_str(&format!("\nnerve train {}\n", escape(&recipe.to_string_lossy())));
        Ok(output::result(&text)?)
    }
}

/// One row a trial.
pub fn csv(study: &Study) -> String {
    let field = |text: &str| match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_string(),
    };
    let names = study.space().parameters().iter().map(|parameter| field(&parameter.name));
    let head = ["trial", "state", "value", "step", "seconds"].map(String::from);
    let head: Vec<String> = head.into_iter().chain(names).chain(["reason".to_string()]).collect();
    let mut csv = head.join(",") + "\n";
    for trial in study.trials() {
        let mut row = vec![
            trial.number.to_string(),
            trial.outcome.word().to_string(),
            trial.value.map(|value| value.to_string()).unwrap_or_default(),
            trial.reports.last().map(|report| report.0.to_string()).unwrap_or_default(),
            format!("{:.3}", trial.seconds),
        ];
        row.extend(trial.settings.iter().map(|setting| match setting {
            Setting::Choice(_, label) => field(label),
            number => number.json().to_string(),
        }));
        row.push(field(&trial.reason));
        csv += &(row.join(",") + "\n");
    }
    csv
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_have_five_digits() {
        for (x, text) in [
            (0.0, "0"),
            (0.0412345, "0.041235"),
            (0.5, "0.5"),
            (12.0, "12"),
            (12345.6, "12346"),
            (-3.25, "-3.25"),
            (1.5e-5, "1.500e-5"),
            (100.0, "100"),
        ] {
            assert_eq!(number(x), text);
        }
    }
}
