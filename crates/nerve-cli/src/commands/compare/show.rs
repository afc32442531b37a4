//! A comparison for people.

use super::scores::{Scores, word};
use super::{Beside, Change};
use crate::commands::list::columns;
use nerve::train::judge::number_text;
use nerve_recipe::source::escape;
use nerve_recipe::summary::thousands;
use nerve_track::{Epoch, Epochs, RunFolder};

pub fn text(first: &RunFolder, epochs: &Epochs, others: &[Beside]) -> String {
    let mut text = String::new();
    for other in others {
        let names = [first.name(), other.run.name()];
        text.push_str(&section("settings", &names, &other.settings));
        text.push_str(&epochs_text(&names, [epochs, &other.epochs]));
        match &other.scores {
            None => {}
            Some(Ok(scores)) => text.push_str(&scores_text(&names, scores)),
            Some(Err(reason)) => {
                text.push_str(&format!("\nscores: not compared: {}\n", escape(reason)))
            }
        }
        text.push_str(&section("machine", &names, &other.machine));
    }
    text.trim_start().to_string()
}

fn section(title: &str, names: &[String; 2], changes: &[Change]) -> String {
    if changes.is_empty() {
        return format!("\n{title}: the same\n");
    }
    let absent = || "–".to_string();
    let cell = |value: &Option<String>| value.as_deref().map_or_else(absent, shorten);
    let mut rows = vec![[title.to_string(), names[0].clone(), names[1].clone()]];
    rows.extend(changes.iter().map(|c| [escape(&c.path), cell(&c.first), cell(&c.second)]));
    format!("\n{}", columns(&rows))
}

/// A value that leaves room for the others.
fn shorten(value: &str) -> String {
    let value = escape(value);
    match value.chars().count() {
        0..=40 => value,
        _ => value.chars().take(39).chain(['…']).collect(),
    }
}

fn epochs_text(names: &[String; 2], epochs: [&Epochs; 2]) -> String {
    let mut text = String::new();
    for (title, rows) in
        [("last epoch", epochs.map(Epochs::last)), ("best epoch", epochs.map(Epochs::best))]
    {
        if let [None, None] = rows {
            continue;
        }
        let mut scores: Vec<String> = epochs.iter().flat_map(|epochs| epochs.names()).collect();
        let mut seen = std::collections::BTreeSet::new();
        scores.retain(|name| seen.insert(name.clone()));
        let of =
            |row: Option<&Epoch>, name: &str| row.and_then(|row| row.scores.get(name).copied());
        let number = |value: Option<f64>| value.map(number_text).unwrap_or_default();
        let mut table =
            vec![[title.into(), names[0].clone(), names[1].clone(), "difference".into()]];
        let epoch = rows.map(|row| row.map(|row| row.epoch.to_string()).unwrap_or_default());
        table.push(["epoch".into(), epoch[0].clone(), epoch[1].clone(), String::new()]);
        for name in &scores {
            let values = rows.map(|row| of(row, name));
            let difference = values[0].zip(values[1]).map(|(a, b)| signed(b - a));
            table.push([
                escape(name),
                number(values[0]),
                number(values[1]),
                difference.unwrap_or_default(),
            ]);
        }
        text.push_str(&format!("\n{}", columns(&table)));
    }
    text
}

fn signed(value: f64) -> String {
    let text = number_text(value);
    if value >= 0.0 { format!("+{text}") } else { text }
}

fn scores_text(names: &[String; 2], scores: &Scores) -> String {
    let mut text = String::new();
    for output in &scores.outputs {
        let title = format!(
            "{} on {} rows ({})",
            escape(&output.name),
            thousands(scores.examples as u128),
            escape(&scores.part)
        );
        let mut rows =
            vec![[title, names[0].clone(), names[1].clone(), "difference".into(), String::new()]];
        for score in &output.scores {
            let with = |(value, interval): (f64, Option<(f64, f64)>)| {
                let interval = interval
                    .map(|(low, high)| format!(" [{}, {}]", number_text(low), number_text(high)));
                format!("{}{}", number_text(value), interval.unwrap_or_default())
            };
            let interval =
                score.interval.map(|(low, high)| format!(" [{}, {}]", signed(low), signed(high)));
            let difference = format!("{}{}", signed(score.value), interval.unwrap_or_default());
            rows.push([
                escape(&score.name),
                with(score.first),
                with(score.second),
                difference,
                word(score).into(),
            ]);
        }
        text.push_str(&format!("\n{}", columns(&rows)));
    }
    text
}
