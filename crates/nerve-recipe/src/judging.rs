//! From a model and rows to what is judged; thresholds that are chosen after training.

use crate::data::Rows;
use crate::features::{Features, Fitted};
use crate::predictor::{ModelError, Predictor};
use nerve_data::features::{Answer, Output, Role, Room, Setting};
use nerve_data::{Cell, DataError, Element, Table, Values};
use nerve_formats::spec::Value;
use nerve_formats::{FormatError, Meaning};
use nerve_nn::state::save_safetensors;
use nerve_train::judge::{Answers, Baseline, Judgeable, Judged, Lists, Rule, Threshold, cell_text};
use nerve_train::metrics::naive_error;
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

/// Pictures of the training part that baselines look at: reading all of them would take longer than
/// judging.
const SOME: usize = 1000;

impl Predictor {
    /// What the network says of rows, beside what is true; with baselines that know the rows of
    /// `train` alone, where there are some.
    ///
    /// # Errors
    /// A column that is not there; a cell that its feature cannot take.
    pub fn judged(
        &self,
        part: &str,
        rows: &Rows,
        train: Option<&Rows>,
    ) -> Result<Judged, ModelError> {
        let fitted = &self.features().outputs;
        let names: Vec<Arc<[String]>> = fitted.iter().map(names).collect();
        let mut all: Vec<Option<Answers>> = vec![None; fitted.len()];
        // Of a series, those without a whole window and horizon are no samples.
        let mut samples = Vec::new();
        self.answers(rows, true, |said| {
            samples.push(said.row);
            let both = said.truths.iter().zip(&said.answers).zip(&names);
            for (answers, ((truth, answer), names)) in all.iter_mut().zip(both) {
                let answers = match answers {
                    Some(answers) => answers,
                    none => none.insert(Answers::like(answer, names)?),
                };
                answers.push(truth, answer)?;
            }
            Ok(())
        })?;
        let rows = &Rows { table: rows.table.clone(), rows: samples };
        let mut outputs = Vec::new();
        for (fitted, answers) in fitted.iter().zip(all) {
            let answers = answers.ok_or_else(|| DataError::Empty { what: part.into() })?;
            let output = fitted.feature.output();
            let value = output.and_then(Output::threshold).unwrap_or(0.5);
            let threshold = Threshold { value, rule: rule_text(fitted), reached: None };
            let mut judgeable =
                Judgeable { threshold, ..Judgeable::new(&*fitted.column.name, answers) };
            match (&mut judgeable.answers, train) {
                (Answers::Forecast { horizon, scale, .. }, train) => {
                    let season = self.season();
                    let series = series(&rows.table, &fitted.column.name)?;
                    judgeable.baselines = naive(&series, &rows.rows, season, *horizon);
                    if let Some(train) = train {
                        *scale = known_error(train, &fitted.column.name, season)?;
                    }
                }
                (_, Some(train)) => judgeable.baselines = baselines(fitted, train)?,
                (_, None) => {}
            }
            judgeable.lists = self.lists(rows, train)?;
            outputs.push(judgeable);
        }
        let (part, table) = (part.to_string(), rows.table.clone());
        let named = self.features().inputs.iter().filter(|it| it.column.feature.name == "image");
        let pictures = named.map(|fitted| fitted.column.name.clone()).collect();
        Ok(Judged { part, table, rows: rows.rows.clone(), pictures, outputs })
    }

    /// Whether an answer depends on other rows than its own.
    pub fn reaches(&self) -> bool {
        let features = self.features();
        features.slots[..features.fed].iter().any(|slot| slot.reach() != (0..1))
    }

    /// After how many rows a series repeats itself.
    fn season(&self) -> usize {
        let eval = &self.card.recipe.eval;
        if eval.has("season") { eval.usize("season") } else { 1 }
    }

    /// Rows as lists of items for users, if the recipe ranks them.
    fn lists(&self, rows: &Rows, train: Option<&Rows>) -> Result<Option<Lists>, DataError> {
        let eval = &self.card.recipe.eval;
        if !eval.has("user") {
            return Ok(None);
        }
        let mut users = Numbered::default();
        let mut items = Numbered::default();
        let group = users.of(&rows.table, eval.text("user"), &rows.rows)?;
        let item = items.of(&rows.table, eval.text("item"), &rows.rows)?;
        let popularity = match train {
            None => None,
            Some(train) => {
                let seen = items.of(&train.table, eval.text("item"), &train.rows)?;
                let mut counts = vec![0.0; items.known.len()];
                seen.iter().for_each(|&item| counts[item as usize] += 1.0);
                Some(item.iter().map(|&item| counts[item as usize]).collect())
            }
        };
        let k = if eval.has("k") { eval.usize("k") } else { 10 };
        Ok(Some(Lists { group, item, popularity, relevant: eval.float("relevant"), k }))
    }

    /// Chooses thresholds on the rows of the validation part, for the outputs whose recipe asks for it
    /// (or for all of two classes by `rule`), and keeps them in the features. Gives their names and
    /// thresholds.
    ///
    /// # Errors
    /// As [`Predictor::judged`].
    pub fn choose_thresholds(
        &mut self,
        validation: &Rows,
        rule: Option<&Rule>,
    ) -> Result<Vec<(String, Threshold)>, ModelError> {
        let asked = |fitted: &Fitted| match rule {
            Some(rule) => Some(*rule),
            None => match fitted.column.feature.args.get("threshold") {
                Some(Value::Text(text)) => Rule::parse(text).ok(),
                _ => None,
            },
        };
        let outputs = &self.features().outputs;
        let two = |fitted: &Fitted| fitted.feature.output().and_then(Output::threshold).is_some();
        let rules: Vec<Option<Rule>> =
            outputs.iter().map(|fitted| asked(fitted).filter(|_| two(fitted))).collect();
        if rules.iter().all(Option::is_none) {
            return Ok(Vec::new());
        }
        let judged = self.judged("validation", validation, None)?;
        let mut chosen = Vec::new();
        for (k, (rule, output)) in rules.iter().zip(&judged.outputs).enumerate() {
            if let (Some(rule), Answers::Classes { truth, probabilities, .. }) =
                (rule, &output.answers)
            {
                let yes: Vec<f64> =
                    probabilities.chunks_exact(2).map(|p| f64::from(p[1])).collect();
                let right: Vec<bool> = truth.iter().map(|&class| class == 1).collect();
                let threshold = rule.choose(&yes, &right);
                self.card.features.set_threshold(k, threshold.value)?;
                chosen.push((output.name.clone(), threshold));
            }
        }
        Ok(chosen)
    }

    /// Writes the model file anew, with what is in the features now.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn save(&self, path: &Path) -> Result<(), FormatError> {
        let params = &self.network.params;
        save_safetensors(path, &params.vars(), &self.card.metadata())
    }

    /// The rows that some input cannot take, each with the reason.
    ///
    /// # Errors
    /// [`DataError::UnknownColumn`].
    pub fn refused(&self, rows: &Rows) -> Result<Vec<(usize, DataError)>, DataError> {
        let table: &Table = &rows.table;
        let mut refused = BTreeMap::new();
        for Fitted { column, feature } in &self.features().inputs {
            let cells = &table.column(&column.name)?.cells;
            let (mut stored, width) = values(feature.stored());
            let width = width / feature.reach().len().max(1);
            for &row in &rows.rows {
                if let Err(refusal) = feature.store(cells, row, stored.slice(0, width)) {
                    let error = || table.refuse(row, &column.name, refusal);
                    refused.entry(row).or_insert_with(error);
                }
            }
        }
        Ok(refused.into_iter().collect())
    }

    /// The class that an output of the network names with these probabilities: of two the second where
    /// it is likelier than its threshold.
    pub fn decided(&self, output: usize, probabilities: &[f32]) -> usize {
        let feature = &self.features().outputs[output].feature;
        match (feature.output().and_then(Output::threshold), probabilities) {
            (Some(threshold), [_, yes]) => usize::from(f64::from(*yes) > threshold),
            _ => {
                let better = |best: usize, i: usize| {
                    if probabilities[i] > probabilities[best] { i } else { best }
                };
                (1..probabilities.len()).fold(0, better)
            }
        }
    }
}

impl Features {
    /// Puts another threshold into an output of two classes.
    ///
    /// # Errors
    /// The output has no threshold.
    fn set_threshold(&mut self, output: usize, threshold: f64) -> Result<(), DataError> {
        let fitted = &mut self.outputs[output];
        let mut state = fitted.feature.state();
        state["threshold"] = json!(threshold);
        let setting = Setting { role: Role::Output, folder: Default::default() };
        let args = &fitted.column.feature.args;
        let entry = nerve_data::features::find(fitted.column.feature.name).expect("a known type");
        let feature = (entry.restore)(args, &setting, &state)
            .map_err(|message| DataError::Column { column: fitted.column.name.clone(), message })?;
        fitted.feature = feature.clone();
        self.slots[self.fed + output].parts[0].1 = feature;
        Ok(())
    }
}

/// Names of cells as numbers from 0, in the order in which they come.
#[derive(Default)]
struct Numbered {
    known: HashMap<String, u32>,
}

impl Numbered {
    fn of(&mut self, table: &Table, column: &str, rows: &[usize]) -> Result<Vec<u32>, DataError> {
        let cells = &table.column(column)?.cells;
        let number = |&row: &usize| {
            let next = self.known.len() as u32;
            *self.known.entry(cell_text(cells.get(row))).or_insert(next)
        };
        Ok(rows.iter().map(number).collect())
    }
}

fn rule_text(fitted: &Fitted) -> String {
    match fitted.column.feature.args.get("threshold") {
        Some(Value::Text(text)) => text.to_string(),
        Some(Value::Float(value)) => value.to_string(),
        _ => "0.5".into(),
    }
}

/// The names of the classes; of pixels their numbers.
fn names(fitted: &Fitted) -> Arc<[String]> {
    let classes = fitted.feature.output().map_or(&[][..], |output| output.classes());
    match fitted.feature.meaning() {
        Meaning::Mask { classes: count } if classes.len() != count => {
            (0..count).map(|class| class.to_string()).collect()
        }
        _ => classes.into(),
    }
}

/// Memory for one sample, and how many values it has.
fn values((shape, element): (Vec<usize>, Element)) -> (Values, usize) {
    let count: usize = shape.iter().product();
    (Values::zeros(element, count), count)
}

/// What is true of rows of the training part.
fn truths(fitted: &Fitted, train: &Rows) -> Result<Vec<Answer>, DataError> {
    let (feature, name) = (&fitted.feature, &fitted.column.name);
    let Some(output) = feature.output() else { return Ok(Vec::new()) };
    let table: &Table = &train.table;
    let cells = &table.column(name)?.cells;
    let (mut stored, width) = values(feature.stored());
    let (mut delivered, wide) = values(feature.delivered());
    let mut room = Room::default();
    let rows = if feature.kept() { train.rows.len() } else { train.rows.len().min(SOME) };
    let mut all = Vec::with_capacity(rows);
    for &row in &train.rows[..rows] {
        let refused = feature.store(cells, row, stored.slice(0, width));
        refused.map_err(|refusal| table.refuse(row, name, refusal))?;
        all.push(match feature.delivers() {
            true => {
                feature.deliver(&stored, delivered.slice(0, wide), None, &mut room);
                output.truth(&delivered, 0)
            }
            false => output.truth(&stored, 0),
        });
    }
    Ok(all)
}

/// A column as numbers; where there is none, the one before.
fn series(table: &Table, column: &str) -> Result<Vec<f64>, DataError> {
    let cells = &table.column(column)?.cells;
    let mut last = f64::NAN;
    let number = |row| {
        let number = match cells.get(row) {
            Cell::Number(number) => Some(number),
            Cell::Text(text) => text.trim().parse().ok(),
            Cell::F32(&[number]) => Some(f64::from(number)),
            _ => None,
        };
        last = number.filter(|number| number.is_finite()).unwrap_or(last);
        last
    };
    Ok((0..cells.len()).map(number).collect())
}

/// The forecasts that repeat the last value and the last season before each row's horizon.
fn naive(series: &[f64], rows: &[usize], season: usize, horizon: usize) -> Vec<Baseline> {
    let before: Vec<&[f64]> = rows.iter().map(|&row| &series[..=row]).collect();
    let seasons = [1, season];
    let known = |season: &&usize| before.iter().all(|before| before.len() >= **season);
    let seasons = seasons[..if season > 1 { 2 } else { 1 }].iter().filter(known);
    seasons.map(|&season| Baseline::seasonal(&before, season, horizon)).collect()
}

/// The error of the naive forecast over the training rows, by which MASE divides.
fn known_error(train: &Rows, column: &str, season: usize) -> Result<Option<f64>, DataError> {
    let series = series(&train.table, column)?;
    let mut rows = train.rows.clone();
    rows.sort_unstable();
    let known: Vec<f64> = rows.iter().map(|&row| series[row]).collect();
    let known: Vec<f64> = known.into_iter().filter(|value| value.is_finite()).collect();
    Ok(Some(naive_error(&known, season)).filter(|error| *error > 0.0))
}

/// What would be answered without a network, from the training part alone.
fn baselines(fitted: &Fitted, train: &Rows) -> Result<Vec<Baseline>, DataError> {
    let names = names(fitted);
    let mut counts = vec![0u64; names.len()];
    let mut numbers = Vec::new();
    for truth in truths(fitted, train)? {
        match truth {
            Answer::Classes(p) => {
                let class = p.iter().position(|&p| p == 1.0);
                if let Some(count) = class.and_then(|class| counts.get_mut(class)) {
                    *count += 1;
                }
            }
            Answer::Pixels(pixels) => {
                for class in pixels {
                    let count = usize::try_from(class).ok().and_then(|c| counts.get_mut(c));
                    count.into_iter().for_each(|count| *count += 1);
                }
            }
            Answer::Number(number) => numbers.push(number),
            Answer::Numbers(_) | Answer::Several(_) => {}
        }
    }
    if !numbers.is_empty() {
        return Ok(Baseline::constants(&numbers));
    }
    Ok(if counts.iter().any(|&count| count > 0) {
        vec![Baseline::majority(&counts)]
    } else {
        Vec::new()
    })
}
