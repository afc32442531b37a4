//! The scores of runs on the same rows.

use crate::args::Compare;
use crate::failure::Failure;
use crate::output::complain;
use nerve::data::source;
use nerve::train::judge::{self, Bootstrap, Difference, Judged, Options, OutputDifference};
use nerve_recipe::{Predictor, Rows};
use nerve_track::RunFolder;
use serde_json::{Value, json};

/// The first run on the rows, to set others beside it.
pub struct Judge {
    rows: Option<(String, Rows)>,
    first: Option<Judged>,
    options: Options,
    /// Why there are no rows or no answers of the first run.
    problem: String,
}

/// How the scores of a run differ from those of the first.
pub struct Scores {
    /// Which rows.
    pub part: String,
    /// How many.
    pub examples: usize,
    /// Each output that both have.
    pub outputs: Vec<OutputDifference>,
}

impl Judge {
    /// Judges the first run. Data that were named must be there; that those of the recipe are not, or that the
    /// run has no model, leaves out this part of the comparison.
    pub fn of(args: &Compare, run: &RunFolder) -> Result<Judge, Failure> {
        let bootstrap = Bootstrap { resamples: args.resamples as usize, ..Bootstrap::default() };
        let options = Options { bootstrap, group: args.group.clone(), ..Options::default() };
        let mut judge = Judge { rows: None, first: None, options, problem: String::new() };
        let predictor = match Predictor::open(&run.model()) {
            Ok(predictor) => predictor,
            Err(error) => {
                judge.problem = error.to_string();
                return Ok(judge);
            }
        };
        match (rows(args, &predictor), &args.data) {
            (Ok((part, rows)), _) => {
                let judged = predictor.judged(&part, &rows, None)?;
                (judge.rows, judge.first) = (Some((part, rows)), Some(judged));
            }
            (Err(reason), Some(_)) => return Err(Failure::Data(reason)),
            (Err(reason), None) => judge.problem = reason,
        }
        Ok(judge)
    }

    /// Sets a run beside the first, on the same rows.
    pub fn beside(&mut self, run: &RunFolder) -> Result<Scores, String> {
        let (Some((part, rows)), Some(first)) = (&self.rows, &self.first) else {
            return Err(self.problem.clone());
        };
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let predictor = Predictor::open(&run.model()).map_err(|error| text(&error))?;
        let second = predictor.judged(part, rows, None).map_err(|error| text(&error))?;
        let outputs =
            judge::compare(first, &second, &self.options).map_err(|error| text(&error))?;
        if outputs.is_empty() {
            return Err("the two networks have no output of the same name".into());
        }
        Ok(Scores { part: part.clone(), examples: first.rows.len(), outputs })
    }
}

/// The rows to judge on: those of a file, else the test or validation part of the recipe.
fn rows(args: &Compare, predictor: &Predictor) -> Result<(String, Rows), String> {
    let recipe = &predictor.card.recipe;
    if let Some(path) = &args.data {
        let read = source::Options { format: None, ..source::Options::from_args(&recipe.data) };
        let table = source::read(path, &read).and_then(|table| recipe.in_order(table));
        let table = table.map_err(|error| error.to_string())?;
        table.notes().iter().for_each(|note| complain(note));
        let part = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        return Ok((part, Rows::all(table)));
    }
    let tables = recipe.tables().map_err(|error| error.to_string())?;
    match (tables.test, tables.validation) {
        (Some(test), _) => Ok(("test".into(), test)),
        (None, Some(validation)) => Ok(("validation".into(), validation)),
        _ => Err("the recipe has neither test nor validation data; name some: --data".into()),
    }
}

/// `better`, `worse`, or nothing where chance could have done it.
pub fn word(difference: &Difference) -> &'static str {
    match difference.second_is_better() {
        Some(true) => "better",
        Some(false) => "worse",
        None => "",
    }
}

impl Scores {
    pub fn json(&self) -> Value {
        let score = |score: &Difference| {
            let of = |(value, interval): (f64, Option<(f64, f64)>)| json!({ "value": value, "interval": interval });
            json!({
                "name": score.name,
                "first": of(score.first),
                "second": of(score.second),
                "difference": of((score.value, score.interval)),
                "verdict": match score.second_is_better() {
                    Some(true) => "better",
                    Some(false) => "worse",
                    None => "undecided",
                },
            })
        };
        let output = |output: &OutputDifference| {
            let scores: Vec<Value> = output.scores.iter().map(score).collect();
            json!({ "name": output.name, "scores": scores })
        };
        let outputs: Vec<Value> = self.outputs.iter().map(output).collect();
        json!({ "data": self.part, "examples": self.examples, "outputs": outputs })
    }
}
