//! `nerve predict`: what a trained network says of the rows of a file, or sees on pictures.

mod arrays;
mod onnx;
mod rows;
#[cfg(feature = "parquet")]
mod sheet;
mod writer;

use crate::args::Predict;
use crate::commands::{open, set_threads};
use crate::failure::Failure;
use crate::output::{self, complain};
use nerve::formats::Meaning;
use nerve::formats::kind::Kind;
use nerve_recipe::predictor::Asking;
use nerve_recipe::source::escape;
use nerve_recipe::{Predictor, Rows};
use serde_json::{Value, json};
use std::path::Path;

pub fn run(args: &Predict) -> Result<(), Failure> {
    if args.run.is_file() && Kind::of(&args.run)? == Kind::Onnx {
        return onnx::run(args, &args.run);
    }
    if let Some(data) = &args.data {
        return rows::run(args, data);
    }
    set_threads(&args.common)?;
    let (_, predictor) = open(&args.runs, &args.run)?;
    let mut asking = predictor.asking();
    let mut answers = Vec::new();
    let mut text = String::new();
    let mut refused = Vec::new();
    // One damaged picture does not keep the others from being answered.
    for image in &args.images {
        let name = escape(&image.to_string_lossy());
        match look(&predictor, &mut asking, image, args) {
            Ok((answer, notes)) => {
                if !args.common.json {
                    notes.iter().for_each(|note| complain(&format!("{name}: {note}")));
                }
                text.push_str(&line(&name, &answer, args.top as usize));
                answers.push(object(&name, &answer, &notes, args.top as usize));
            }
            Err(message) => {
                answers.push(json!({ "file": name, "error": message }));
                refused.push(message);
            }
        }
    }
    match args.common.json {
        true => output::json(&Value::Array(answers))?,
        false if text.is_empty() => {}
        false => output::result(&text)?,
    }
    match refused.is_empty() {
        true => Ok(()),
        false => Err(Failure::Data(refused.join("\n"))),
    }
}

/// The answer for one picture, and what the user should know about how it was read.
fn look(
    predictor: &Predictor,
    asking: &mut Asking<'_>,
    image: &Path,
    args: &Predict,
) -> Result<(Answer, Vec<String>), String> {
    let mut picture = predictor.read(image).map_err(|error| error.to_string())?;
    let mut notes: Vec<String> = picture.changes().into_iter().collect();
    if args.invert {
        picture.pixels.iter_mut().for_each(|pixel| *pixel = 255 - *pixel);
    } else if predictor.looks_inverted(&picture.pixels) {
        notes.push(
            "light where the training pictures are dark; --invert exchanges the two".to_string(),
        );
    }
    let labels = labels(predictor)?;
    let table = predictor.pictures(picture.pixels).map_err(|error| error.to_string())?;
    let mut probabilities = Vec::new();
    let said = asking.answers(&Rows::all(table), false, |mut said| {
        if let Some(nerve::data::features::Answer::Classes(classes)) = said.answers.pop() {
            probabilities = classes;
        }
        Ok(())
    });
    said.map_err(|error| error.to_string())?;
    Ok((Answer { labels, probabilities }, notes))
}

/// The names of the classes that a picture may be of.
fn labels(predictor: &Predictor) -> Result<Vec<String>, String> {
    match predictor.features().outputs[0].feature.meaning() {
        Meaning::Category { names } => Ok(names.to_vec()),
        _ => Err("the model does not name a class".to_string()),
    }
}

/// How likely each class is.
struct Answer {
    labels: Vec<String>,
    probabilities: Vec<f32>,
}

impl Answer {
    /// The most likely classes, the likeliest first.
    fn best(&self, count: usize) -> Vec<(&str, f32)> {
        let names = self.labels.iter().map(String::as_str);
        let mut all: Vec<(&str, f32)> = names.zip(self.probabilities.iter().copied()).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        all.truncate(count);
        all
    }
}

/// `digit.png  7 99.8 %, 1 0.1 %`.
fn line(name: &str, answer: &Answer, top: usize) -> String {
    let classes: Vec<String> = answer
        .best(top)
        .into_iter()
        .map(|(label, share)| format!("{} {:.1} %", escape(label), 100.0 * share))
        .collect();
    format!("{name}  {}\n", classes.join(", "))
}

fn object(name: &str, answer: &Answer, notes: &[String], top: usize) -> Value {
    let classes: Vec<Value> = answer
        .best(top)
        .into_iter()
        .map(|(label, share)| json!({ "label": label, "probability": share }))
        .collect();
    json!({ "file": name, "classes": classes, "notes": notes })
}

/// The name of an output as a file may be called: some have colons and slashes.
fn file_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    name.chars().map(plain).collect()
}
