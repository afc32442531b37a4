//! `nerve evaluate`: how good a trained network is on data that it has not seen.

use crate::args::Evaluate;
use crate::commands::{open, set_threads};
use crate::failure::Failure;
use crate::output::{self, complain};
use nerve::data::source;
use nerve::formats::spec::Args;
use nerve::formats::write_atomic;
use nerve::train::judge::{
    self, Bootstrap, Gate, Judged, Options, Passed, Rule, Threshold, Verdict, files,
};
use nerve_recipe::recipe::texts;
use nerve_recipe::source::escape;
use nerve_recipe::summary::thousands;
use nerve_recipe::{Predictor, Rows};
use nerve_track::RunFolder;
use serde_json::{Value, json};

pub fn run(args: &Evaluate) -> Result<(), Failure> {
    set_threads(&args.common)?;
    let mut gates = parse_gates(&args.gate)?;
    let rule = args
        .threshold
        .as_deref()
        .map(Rule::parse)
        .transpose()
        .map_err(|expected| Failure::Usage(format!("--threshold: {expected}")))?;
    let (folder, mut predictor) = open(&args.runs, &args.run)?;
    gates.extend(parse_gates(&texts(&predictor.card.recipe.eval, "gate"))?);
    let chosen = match &rule {
        Some(rule) => choose(&mut predictor, rule)?,
        None => Vec::new(),
    };
    let mut judged = rows(&predictor, args)?;
    for (name, threshold) in chosen {
        let named = judged.outputs.iter_mut().filter(|output| output.name == name);
        named.for_each(|output| output.threshold = threshold.clone());
    }
    let options = options(args, &predictor.card.recipe.eval);
    let verdict =
        judge::judge(&judged, &options).map_err(|error| Failure::Data(error.to_string()))?;
    let passed = gates
        .iter()
        .map(|gate| gate.check(&verdict).map_err(Failure::Usage))
        .collect::<Result<Vec<Passed>, Failure>>()?;
    keep(&folder, &judged, &verdict);
    if let Some(html) = &args.html {
        let facts = [("model".to_string(), folder.model().to_string_lossy().into_owned())];
        let name = folder.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let page = judge::page::page(&format!("Evaluation of {name}"), &facts, &verdict, &passed);
        write_atomic(html, |out| out.write_all(page.as_bytes()))
            .map_err(|error| Failure::Runtime(error.to_string()))?;
    }
    tell(args, &folder, &verdict, &passed)?;
    let missed: Vec<&str> = passed.iter().filter(|p| !p.passed).map(|p| p.gate.as_str()).collect();
    match missed.is_empty() {
        true => Ok(()),
        false => Err(Failure::Gate(format!("missed: {}", missed.join(", ")))),
    }
}

/// The flags, or else what the recipe says.
fn options(args: &Evaluate, eval: &Args) -> Options {
    let defaults = Options::default();
    let number = |flag: Option<u32>, key: &str, otherwise: usize| match flag {
        Some(number) => number as usize,
        None if eval.has(key) => eval.usize(key),
        None => otherwise,
    };
    let resamples = number(args.resamples, "resamples", defaults.bootstrap.resamples);
    let group = || eval.has("group").then(|| eval.text("group").to_string());
    Options {
        bootstrap: Bootstrap { resamples, ..defaults.bootstrap },
        group: args.group.clone().or_else(group),
        slices: if args.slice.is_empty() { texts(eval, "slices") } else { args.slice.clone() },
        worst: number(args.worst, "worst", defaults.worst),
    }
}

fn parse_gates(texts: &[String]) -> Result<Vec<Gate>, Failure> {
    let gate = |text: &String| {
        Gate::parse(text).map_err(|error| Failure::Usage(format!("--gate \"{text}\": {error}")))
    };
    texts.iter().map(gate).collect()
}

/// Chooses thresholds by a rule on the validation rows of the recipe.
fn choose(predictor: &mut Predictor, rule: &Rule) -> Result<Vec<(String, Threshold)>, Failure> {
    let refuse = |text: &str| Failure::Data(format!("--threshold: {text}"));
    let tables = predictor.card.recipe.tables().map_err(|error| refuse(&error.to_string()))?;
    let nothing = || refuse("the recipe holds no rows back for validation");
    let validation = tables.validation.as_ref().ok_or_else(nothing)?;
    Ok(predictor.choose_thresholds(validation, Some(rule))?)
}

/// The rows that are judged, with what the network says of them.
fn rows(predictor: &Predictor, args: &Evaluate) -> Result<Judged, Failure> {
    let recipe = &predictor.card.recipe;
    if recipe.data.bool("stream") && args.data.is_none() {
        let (part, rows) =
            recipe.streamed_to_judge().map_err(|error| Failure::Data(error.to_string()))?;
        complain("no baseline: the training data are streamed, not kept");
        return Ok(predictor.judged(part, &rows, None)?);
    }
    let tables = recipe.tables();
    let Some(path) = &args.data else {
        let tables = tables.map_err(|error| Failure::Data(error.to_string()))?;
        let nothing = || {
            Failure::Data(
                "the recipe has neither test nor validation data; name some: --data".into(),
            )
        };
        let (rows, part) = match (&tables.test, &tables.validation) {
            (Some(test), _) => (test, "test"),
            (None, validation) => (validation.as_ref().ok_or_else(nothing)?, "validation"),
        };
        return Ok(predictor.judged(part, rows, Some(&tables.train))?);
    };
    // How the training data were written says nothing about this file but for what cannot be seen in it.
    let read = source::Options { format: None, ..source::Options::from_args(&recipe.data) };
    let table = source::read(path, &read).and_then(|table| recipe.in_order(table));
    let table = table.map_err(|error| Failure::Data(error.to_string()))?;
    table.notes().iter().for_each(|note| complain(note));
    let train = match &tables {
        Ok(tables) => Some(&tables.train),
        // A model that was moved away from its data is judged none the less.
        Err(error) => {
            complain(&format!("no baseline, the training data are not there: {error}"));
            None
        }
    };
    let part = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(predictor.judged(&part, &Rows::all(table), train)?)
}

/// Puts the files of the evaluation into the run folder. Where that cannot be written to, the verdict
/// is told none the less.
fn keep(folder: &RunFolder, judged: &Judged, verdict: &Verdict) {
    let place = folder.path().join("eval");
    let made = std::fs::create_dir_all(&place).map_err(|error| error.to_string());
    let written = made
        .and_then(|()| files::write(&place, judged, verdict).map_err(|error| error.to_string()));
    if let Err(error) = written {
        complain(&format!("nothing is kept in `{}`: {error}", escape(&place.to_string_lossy())));
    }
}

fn tell(
    args: &Evaluate,
    folder: &RunFolder,
    verdict: &Verdict,
    passed: &[Passed],
) -> Result<(), Failure> {
    let run = folder.path().to_string_lossy();
    if args.common.json {
        return Ok(output::json(&object(&run, verdict, passed))?);
    }
    let mut text = format!("{:<12} {}\n", "run", escape(&run));
    let (rows, part) = (thousands(verdict.examples as u128), escape(&verdict.part));
    text.push_str(&format!("{:<12} {rows} ({part})\n", "examples"));
    text.push_str(&files::text(verdict, passed));
    if let Some(html) = &args.html {
        text.push_str(&format!("\npage         {}\n", escape(&html.to_string_lossy())));
    }
    Ok(output::result(&text)?)
}

/// The verdict; of the first output each score stands at the top too, by its name alone.
fn object(run: &str, verdict: &Verdict, passed: &[Passed]) -> Value {
    let mut value = files::to_json(verdict);
    value["run"] = json!(run);
    value["data"] = value["part"].take();
    if let Some(first) = verdict.outputs.first() {
        value["loss"] = json!(first.loss);
        for score in &first.scores {
            value[&score.name] = json!(score.value);
        }
    }
    let gate =
        |gate: &Passed| json!({ "gate": gate.gate, "found": gate.found, "passed": gate.passed });
    value["gates"] = passed.iter().map(gate).collect();
    value
}
