//! What each example counts: in the loss, by a column or its class; in an epoch, by how often it is drawn; in a batch, by
//! how it is mixed with others.

use crate::data::Rows;
use crate::features::Features;
use crate::recipe::Recipe;
use nerve_data::features::{Answer, Refusal};
use nerve_data::table::{Prepared, Slot};
use nerve_data::transform::{Pipeline, build_mix};
use nerve_data::{Cell, DataError, Sampler};
use nerve_formats::Meaning;
use nerve_formats::spec::Value;

/// The weights of a recipe.
pub(crate) struct Weights {
    /// The column that holds them.
    column: Option<String>,
    /// For each output what an example of each class counts, if it has such weights.
    classes: Vec<Option<Vec<f32>>>,
}

impl Recipe {
    /// The weights that the recipe asks for; `None` for none.
    ///
    /// # Errors
    /// Class weights for what has no classes, or another number of them.
    pub(crate) fn weights(
        &self,
        features: &Features,
        train: &Rows,
    ) -> Result<Option<Weights>, DataError> {
        let column = self.data.has("weights").then(|| self.data.text("weights").to_string());
        let mut classes = Vec::new();
        for (k, output) in features.outputs.iter().enumerate() {
            let refuse =
                |message: String| DataError::Column { column: output.column.name.clone(), message };
            let Some(given) = output.column.args.get("class_weights") else {
                classes.push(None);
                continue;
            };
            let counts = counts(features, k, train)?.ok_or_else(|| {
                refuse("class_weights are for categories and binary outputs".into())
            })?;
            classes.push(Some(match given {
                // n / (k n_c): every class counts the same in all.
                Value::Text(_) => {
                    let n = counts.iter().sum::<usize>() as f64 / counts.len() as f64;
                    counts.iter().map(|&count| (n / count.max(1) as f64) as f32).collect()
                }
                _ => {
                    let given = output.column.args.floats("class_weights");
                    if given.len() != counts.len() {
                        let (found, classes) = (given.len(), counts.len());
                        return Err(refuse(format!("{found} class_weights for {classes} classes")));
                    }
                    given.into_iter().map(|weight| weight as f32).collect()
                }
            }));
        }
        let any = column.is_some() || classes.iter().any(Option::is_some);
        Ok(any.then_some(Weights { column, classes }))
    }
}

impl Recipe {
    /// What draws the examples of an epoch, where it does not simply go through all of them.
    ///
    /// # Errors
    /// The first output has no classes.
    pub(crate) fn sampler(
        &self,
        features: &Features,
        rows: &Rows,
    ) -> Result<Option<Sampler>, DataError> {
        if !self.data.has("balance") {
            return Ok(None);
        }
        let classes: Vec<i32> =
            truths(features, 0, rows)?.into_iter().map(|(_, class)| class as i32).collect();
        if classes.is_empty() {
            return Err(DataError::Column {
                column: features.outputs[0].column.name.clone(),
                message: "`balance` is for categories and binary outputs".into(),
            });
        }
        let sampler = match self.data.text("balance") {
            "oversample" => Sampler::oversampled(&classes),
            _ => Sampler::balanced(&classes, None),
        };
        sampler.map(Some)
    }

    /// The pipeline with `[trainer] mix`: of the first picture and the first output.
    ///
    /// # Errors
    /// There is no picture; the output is no category.
    pub(crate) fn mixed(
        &self,
        features: &Features,
        pipeline: Pipeline,
    ) -> Result<Pipeline, DataError> {
        let feeds = features.feeds();
        let picture = feeds.iter().find(|feed| feed.meaning == Meaning::Image);
        let refuse = |column: &str, message: &str| DataError::Column {
            column: column.to_string(),
            message: message.to_string(),
        };
        let picture =
            picture.ok_or_else(|| refuse(&feeds[0].name, "`mix` is for pictures; here is none"))?;
        let class = &features.slots[features.fed];
        let Meaning::Category { names } = features.outputs[0].feature.meaning() else {
            return Err(refuse(&class.name, "`mix` is for categories"));
        };
        let mix = build_mix(self.trainer.item("mix"));
        pipeline.mix(&picture.name, &class.name, names.len(), mix)
    }
}

impl Weights {
    /// What each row of a table counts; 1 for rows that are not used.
    pub(crate) fn of(&self, features: &Features, rows: &Rows) -> Result<Vec<f32>, DataError> {
        let mut weights = vec![1.0; rows.table.rows()];
        if let Some(name) = &self.column {
            let cells = &rows.table.column(name)?.cells;
            for &row in &rows.rows {
                let cell = cells.get(row);
                weights[row] = number(cell).ok_or_else(|| {
                    rows.table.refuse(row, name, Refusal::new("a weight of 0 or more", cell))
                })?;
            }
        }
        for (k, classes) in self.classes.iter().enumerate() {
            let Some(classes) = classes else { continue };
            for (row, class) in truths(features, k, rows)? {
                weights[row] *= classes[class];
            }
        }
        Ok(weights)
    }
}

fn number(cell: Cell<'_>) -> Option<f32> {
    let number = match cell {
        Cell::Number(number) => number,
        Cell::Text(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    (number >= 0.0 && number.is_finite()).then_some(number as f32)
}

/// How many rows each class of an output has; `None` for an output without classes.
fn counts(
    features: &Features,
    output: usize,
    rows: &Rows,
) -> Result<Option<Vec<usize>>, DataError> {
    let mut counts: Vec<usize> = Vec::new();
    for (_, class) in truths(features, output, rows)? {
        if counts.len() <= class {
            counts.resize(class + 1, 0);
        }
        counts[class] += 1;
    }
    let head = features.outputs[output].head().shape;
    counts.resize(counts.len().max(head.iter().product()).max(2), 0);
    Ok((!counts.is_empty() && counts.iter().sum::<usize>() > 0).then_some(counts))
}

/// The class of each row at an output; none for an output without classes.
fn truths(
    features: &Features,
    output: usize,
    rows: &Rows,
) -> Result<Vec<(usize, usize)>, DataError> {
    let it = &features.outputs[output];
    let slot = Slot::one(&*it.column.name, it.feature.clone());
    let prepared = Prepared::new(rows.table.clone(), vec![slot], &rows.rows)?;
    let (Some(values), Some(output)) = (prepared.values(0), it.feature.output()) else {
        return Ok(Vec::new());
    };
    let class = |&row: &usize| match output.truth(values, row) {
        Answer::Classes(shares) => {
            let most = |a: &usize, b: &usize| shares[*a].total_cmp(&shares[*b]);
            Some((row, (0..shares.len()).max_by(most)?))
        }
        _ => None,
    };
    Ok(rows.rows.iter().filter_map(class).collect())
}
