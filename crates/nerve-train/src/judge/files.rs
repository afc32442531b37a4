//! Verdicts as files of a run folder and as text.
//!
//! | file | what is in it |
//! |---|---|
//! | `test.json` | the verdict |
//! | `confusion.csv` | actual classes as rows, predicted ones as columns |
//! | `predictions.csv` | every row: where it stands, truth, answer, probabilities, loss |
//! | `worst.jsonl` | the worst rows with their cells, one object a line |
//! | `calibration.csv` | probabilities in bins, and how often they came true |
//!
//! With several outputs, those about one of them have its name: `confusion-price.csv`.

use super::{Answers, Judgeable, Judged, OutputVerdict, Passed, Score, Verdict, number_text, told};
use nerve_formats::{FormatError, write_atomic};
use serde_json::{Map, Value as Json, json};
use std::fmt::Write as _;
use std::io;
use std::path::Path;

/// The verdict for programs. Numbers that do not exist are null.
pub fn to_json(verdict: &Verdict) -> Json {
    let outputs: Vec<Json> = verdict.outputs.iter().map(output_json).collect();
    json!({
        "format": "nerve-evaluation-1",
        "part": verdict.part,
        "examples": verdict.examples,
        "bootstrap": {
            "resamples": verdict.bootstrap.resamples,
            "level": verdict.bootstrap.level,
            "group": verdict.group,
        },
        "outputs": outputs,
    })
}

fn scores_json(scores: &[Score]) -> Json {
    let value = |score: &Score| {
        json!({
            "value": score.value,
            "low": score.interval.map(|interval| interval.0),
            "high": score.interval.map(|interval| interval.1),
        })
    };
    scores.iter().map(|score| (score.name.clone(), value(score))).collect::<Map<_, _>>().into()
}

fn output_json(output: &OutputVerdict) -> Json {
    let names = |values: &[f64]| -> Map<String, Json> {
        let named = output.scores.iter().zip(values);
        named.map(|(score, value)| (score.name.clone(), json!(value))).collect()
    };
    let baselines: Map<String, Json> = output
        .baselines
        .iter()
        .map(|(name, values)| (name.clone(), names(values).into()))
        .collect();
    let mut value = json!({
        "name": output.name,
        "kind": output.kind,
        "loss": output.loss,
        "scores": scores_json(&output.scores),
        "baselines": baselines,
    });
    if let Some(threshold) = &output.threshold {
        value["threshold"] = threshold.to_json();
    }
    if let Some(names) = &output.names {
        value["classes"] = names.iter().zip(&output.classes).map(class_json).collect();
    }
    if let Some(confusion) = &output.confusion {
        let all = || 0..confusion.classes();
        let row = |a: usize| all().map(|p| confusion.count(a, p)).collect::<Vec<f64>>();
        value["confusion"] = all().map(row).collect();
    }
    let slices: Vec<Json> = output.slices.iter().flat_map(slice_json).collect();
    value["slices"] = slices.into();
    value["reliability"] = output.reliability.iter().map(bin_json).collect();
    let steps = output.steps.iter().map(
        |step| json!({ "step": step.step, "mae": step.mae, "rmse": step.rmse, "bias": step.bias }),
    );
    value["steps"] = steps.collect();
    value["worst"] = output.worst.iter().map(worst_json).collect();
    value
}

fn class_json((name, scores): (&String, &super::ClassScores)) -> Json {
    json!({
        "name": name,
        "precision": scores.precision,
        "recall": scores.recall,
        "f1": scores.f1,
        "iou": scores.iou,
        "support": scores.support,
    })
}

fn slice_json(slice: &super::Slice) -> Vec<Json> {
    let group = |group: &super::SliceGroup| {
        json!({
            "column": slice.column,
            "value": group.name,
            "examples": group.examples,
            "scores": scores_json(&group.scores),
        })
    };
    slice.groups.iter().map(group).collect()
}

fn bin_json(bin: &super::Bin) -> Json {
    json!({
        "low": bin.low,
        "high": bin.high,
        "count": bin.count,
        "predicted": bin.predicted,
        "observed": bin.observed,
    })
}

fn worst_json(worst: &super::Worst) -> Json {
    let cells: Map<String, Json> =
        worst.cells.iter().map(|(column, cell)| (column.clone(), json!(cell))).collect();
    json!({
        "row": worst.row,
        "place": worst.place,
        "loss": worst.loss,
        "truth": worst.truth,
        "answer": worst.answer,
        "probability": worst.probabilities.map(|p| p.0),
        "probability_of_truth": worst.probabilities.map(|p| p.1),
        "cells": cells,
    })
}

/// A cell of a CSV file: in quotes where it needs them (RFC 4180).
pub fn csv_cell(text: &str) -> String {
    match text.contains(['"', ',', '\n', '\r']) || text.starts_with(' ') || text.ends_with(' ') {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_string(),
    }
}

/// The confusion matrix: a row for each actual class.
pub fn confusion_csv(output: &OutputVerdict) -> Option<String> {
    let (names, confusion) = (output.names.as_ref()?, output.confusion.as_ref()?);
    let mut text = "actual".to_string();
    names.iter().for_each(|name| text.push_str(&format!(",{}", csv_cell(name))));
    text.push('\n');
    for (actual, name) in names.iter().enumerate() {
        text.push_str(&csv_cell(name));
        for predicted in 0..names.len() {
            let _ = write!(text, ",{}", confusion.count(actual, predicted));
        }
        text.push('\n');
    }
    Some(text)
}

/// The bins of the reliability.
pub fn calibration_csv(output: &OutputVerdict) -> Option<String> {
    let mut text = "low,high,count,predicted,observed\n".to_string();
    for bin in &output.reliability {
        let (low, high, count) = (bin.low, bin.high, bin.count);
        let _ = writeln!(text, "{low},{high},{count},{},{}", bin.predicted, bin.observed);
    }
    (!output.reliability.is_empty()).then_some(text)
}

/// The worst rows, one object a line.
pub fn worst_jsonl(output: &OutputVerdict) -> String {
    output.worst.iter().map(|worst| format!("{}\n", worst_json(worst))).collect()
}

/// Every row: where it stands, and of each output truth, answer, probabilities and loss.
///
/// # Errors
/// Those of `out`.
pub fn predictions_csv(judged: &Judged, out: &mut dyn io::Write) -> io::Result<()> {
    let columns: Vec<Columns<'_>> = judged.outputs.iter().map(Columns::of).collect();
    let mut line = "place".to_string();
    columns.iter().for_each(|columns| columns.head(&mut line));
    writeln!(out, "{line}")?;
    for (at, &row) in judged.rows.iter().enumerate() {
        line.clear();
        line.push_str(&csv_cell(&judged.table.place(row)));
        columns.iter().for_each(|columns| columns.row(at, &mut line));
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// The columns of an output in a file of predictions.
struct Columns<'a> {
    output: &'a Judgeable,
    losses: Vec<f64>,
    predicted: Vec<u32>,
}

impl Columns<'_> {
    fn of(output: &Judgeable) -> Columns<'_> {
        let losses = output.losses.clone().unwrap_or_else(|| output.answers.losses());
        let predicted = output.answers.predicted(output.threshold.value);
        Columns { output, losses, predicted }
    }

    fn head(&self, line: &mut String) {
        let name = &self.output.name;
        let mut put = |text: String| {
            line.push(',');
            line.push_str(&csv_cell(&text));
        };
        put(format!("{name}_truth"));
        put(format!("{name}_answer"));
        if let Answers::Classes { names, .. } = &self.output.answers {
            names.iter().for_each(|class| put(format!("{name}_p_{class}")));
        }
        put(format!("{name}_loss"));
    }

    fn row(&self, at: usize, line: &mut String) {
        match &self.output.answers {
            Answers::Numbers { truth, answer } => {
                let _ = write!(line, ",{},{}", truth[at], answer[at]);
            }
            answers => {
                let said = self.predicted.get(at).copied().unwrap_or(0);
                let (truth, answer, _) = told(answers, at, said);
                let _ = write!(line, ",{},{}", csv_cell(&truth), csv_cell(&answer));
            }
        }
        if let Answers::Classes { names, probabilities, .. } = &self.output.answers {
            for p in &probabilities[at * names.len()..][..names.len()] {
                let _ = write!(line, ",{p}");
            }
        }
        let _ = write!(line, ",{}", self.losses[at]);
    }
}

/// Writes all files of the table above into a folder, each whole or not at all.
///
/// # Errors
/// One of them cannot be written.
pub fn write(folder: &Path, judged: &Judged, verdict: &Verdict) -> Result<(), FormatError> {
    let put = |name: &str, text: &str| {
        write_atomic(folder.join(name), |out| out.write_all(text.as_bytes()))
    };
    put(&format!("{}.json", file_word(&verdict.part)), &format!("{:#}\n", to_json(verdict)))?;
    for output in &verdict.outputs {
        let end = match verdict.outputs.len() {
            1 => String::new(),
            _ => format!("-{}", file_word(&output.name)),
        };
        if let Some(text) = confusion_csv(output) {
            put(&format!("confusion{end}.csv"), &text)?;
        }
        if let Some(text) = calibration_csv(output) {
            put(&format!("calibration{end}.csv"), &text)?;
        }
        put(&format!("worst{end}.jsonl"), &worst_jsonl(output))?;
    }
    write_atomic(folder.join("predictions.csv"), |out| predictions_csv(judged, out))
}

/// A name from data as part of the name of a file: letters, digits, `-` and `_`.
pub(super) fn file_word(name: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || c == '-' { c } else { '_' };
    name.chars().map(plain).take(60).collect()
}

/// The verdict for people: a table for each output, and the slices.
pub fn text(verdict: &Verdict, gates: &[Passed]) -> String {
    let mut text = String::new();
    for output in &verdict.outputs {
        let _ = writeln!(text, "\n{} ({})", nerve_formats::escape(&output.name, 60), output.kind);
        scores_text(&mut text, output, verdict.bootstrap.level);
        if let Some(threshold) = &output.threshold {
            let value = number_text(threshold.value);
            let _ = writeln!(text, "  yes above {value} (threshold {})", threshold.rule);
        }
        for slice in &output.slices {
            slice_text(&mut text, slice);
        }
    }
    for gate in gates {
        let word = if gate.passed { "passed" } else { "MISSED" };
        let _ = writeln!(text, "\ngate {}: {word} ({})", gate.gate, number_text(gate.found));
    }
    text
}

fn interval_text(score: &Score) -> String {
    let text = |(low, high)| format!("{} … {}", number_text(low), number_text(high));
    score.interval.map_or_else(String::new, text)
}

fn scores_text(text: &mut String, output: &OutputVerdict, level: f64) {
    let interval = format!("{:.0} % interval", 100.0 * level);
    let _ = write!(text, "  {:<20}{:>12}{interval:>26}", "", "value");
    for (name, _) in &output.baselines {
        let _ = write!(text, "{:>24}", format!("baseline: {name}"));
    }
    text.push('\n');
    for (i, score) in output.scores.iter().enumerate() {
        let (name, value) = (&score.name, number_text(score.value));
        let _ = write!(text, "  {name:<20}{value:>12}{:>26}", interval_text(score));
        for (_, values) in &output.baselines {
            let _ = write!(text, "{:>24}", number_text(values[i]));
        }
        text.push('\n');
    }
}

/// The scores that a table of slices has room for.
const FIRST: usize = 3;

/// The first score, and those people ask for.
pub(super) fn main_scores(scores: &[Score]) -> Vec<usize> {
    let wanted = [
        "accuracy",
        "f1",
        "roc_auc",
        "psnr",
        "ssim",
        "jaccard",
        "f1_micro",
        "pinball",
        "mase",
        "rmse",
        "mae",
        "r2",
        "iou",
        "dice",
        "bleu",
        "chrf",
        "bits_per_character",
        "token_accuracy",
        "perplexity",
    ];
    let place = |name: &&str| scores.iter().position(|score| score.name == *name);
    wanted.iter().filter_map(place).take(FIRST).collect()
}

fn slice_text(text: &mut String, slice: &super::Slice) {
    let Some(first) = slice.groups.first() else { return };
    let shown = main_scores(&first.scores);
    let _ = write!(text, "\n  by {:<24}{:>10}", slice.column, "rows");
    for &i in &shown {
        let _ = write!(text, "{:>12}{:>22}", first.scores[i].name, "");
    }
    text.push('\n');
    for group in &slice.groups {
        let _ = write!(text, "  {:<27}{:>10}", group.name, group.examples);
        for &i in &shown {
            let score = &group.scores[i];
            let interval = interval_text(score);
            let _ = write!(text, "{:>12}{interval:>22}", number_text(score.value));
        }
        text.push('\n');
    }
}
