//! From a model and rows to what is judged; thresholds that are chosen after training.

mod known;
mod texts;

use self::known::Known;
use crate::data::Rows;
use crate::features::{Features, Fitted};
use crate::predictor::{ModelError, Predictor};
use nerve_data::features::{Answer, Output, Role, Room, Setting};
use nerve_data::{DataError, Element, Table, Values};
use nerve_formats::spec::Value;
use nerve_formats::{FormatError, Meaning};
use nerve_nn::state::save_safetensors;
use nerve_train::judge::{Answers, Baseline, Judgeable, Judged, Lists, Rule, Threshold, cell_text};
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
        if self.in_steps() {
            return self.judged_texts(part, rows, train);
        }
        let fitted = &self.features().outputs;
        let names: Vec<Arc<[String]>> = fitted.iter().map(names).collect();
        let mut all: Vec<Option<Answers>> = vec![None; fitted.len()];
        let means: Vec<Option<Answer>> =
            fitted.iter().map(|it| mean_picture(it, train)).collect::<Result<_, _>>()?;
        let mut drawn: Vec<Option<Answers>> = vec![None; fitted.len()];
        // Of a series, those without a whole window and horizon are no samples.
        let mut samples = Vec::new();
        self.answers(rows, true, |said| {
            samples.push(said.row);
            for (k, (truth, answer)) in said.truths.iter().zip(&said.answers).enumerate() {
                let (meaning, shape) = (fitted[k].feature.meaning(), fitted[k].feature.stored().0);
                let like = || Answers::like(answer, &names[k], &meaning, &shape);
                let add = |answers: &mut Option<Answers>, answer: &Answer| {
                    let answers = match answers {
                        Some(answers) => answers,
                        none => none.insert(like()?),
                    };
                    answers.push(truth, answer)
                };
                add(&mut all[k], answer)?;
                // Pictures are not kept: the mean one is compared with each as it comes.
                means[k].as_ref().map_or(Ok(()), |mean| add(&mut drawn[k], mean))?;
            }
            Ok(())
        })?;
        let rows = &Rows { table: rows.table.clone(), rows: samples };
        let mut outputs = Vec::new();
        for ((fitted, answers), drawn) in fitted.iter().zip(all).zip(drawn) {
            let answers = answers.ok_or_else(|| DataError::Empty { what: part.into() })?;
            let output = fitted.feature.output();
            let value = output.and_then(Output::threshold).unwrap_or(0.5);
            let threshold = Threshold { value, rule: rule_text(fitted), reached: None };
            let mut judgeable =
                Judgeable { threshold, ..Judgeable::new(&*fitted.column.name, answers) };
            match (&mut judgeable.answers, train) {
                (Answers::Forecast { horizon, scale, .. }, train) => {
                    let known = Known::of(self, &rows.table, &fitted.column.name)?;
                    let season = self.season();
                    judgeable.baselines = known.naive(&rows.rows, season, *horizon);
                    if let Some(train) = train {
                        let learned = Known::of(self, &train.table, &fitted.column.name)?;
                        *scale = known.scales(&rows.rows, &learned, &train.rows, season);
                    }
                }
                (Answers::Pictures { .. }, _) => {
                    if let Some(Answers::Pictures { scores, .. }) = drawn {
                        judgeable.baselines = vec![Baseline::mean_picture(scores)];
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
    let (table, name): (&Table, _) = (&train.table, &fitted.column.name);
    let within = fitted.feature.within(&table.origin().folder);
    let feature = within.as_ref().unwrap_or(&fitted.feature);
    let Some(output) = feature.output() else { return Ok(Vec::new()) };
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

/// Adds values to sums of as many.
fn add(sums: &mut Vec<f64>, values: Vec<f64>) {
    sums.resize(values.len(), 0.0);
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
}

/// The mean of the pictures of the training part, for an output that is a picture.
fn mean_picture(fitted: &Fitted, train: Option<&Rows>) -> Result<Option<Answer>, DataError> {
    let (Meaning::Image, Some(train)) = (fitted.feature.meaning(), train) else { return Ok(None) };
    let (mut sums, mut rows) = (Vec::new(), 0.0);
    for truth in truths(fitted, train)? {
        if let Answer::Numbers(values) = truth {
            add(&mut sums, values);
            rows += 1.0;
        }
    }
    sums.iter_mut().for_each(|sum| *sum /= rows);
    Ok(Some(Answer::Numbers(sums)))
}

/// What would be answered without a network, from the training part alone.
fn baselines(fitted: &Fitted, train: &Rows) -> Result<Vec<Baseline>, DataError> {
    let names = names(fitted);
    let mut counts = vec![0u64; names.len()];
    let mut numbers = Vec::new();
    let (mut sums, mut rows) = (Vec::new(), 0.0);
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
            Answer::Numbers(values) => add(&mut sums, values),
            Answer::Several(there) => add(&mut sums, there.into_iter().map(f64::from).collect()),
            Answer::Quantiles { .. } | Answer::Text(_) => {}
        }
        rows += 1.0;
    }
    if !sums.is_empty() {
        let means = sums.into_iter().map(|sum| sum / rows).collect();
        return Ok(vec![match names.is_empty() {
            false => Baseline::frequencies(means),
            true => Baseline::mean_vector(means),
        }]);
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
