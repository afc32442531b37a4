//! Columns of which each series has a scale of its own: `normalize = "per_series_zscore"`.
//!
//! A feature sees one cell at a time and does not know of series, so the column is brought to these scales before its
//! features see it, and answers come back from them behind the network.

use crate::columns::Column;
use crate::data::Rows;
use crate::features::Features;
use crate::recipe::Recipe;
use nerve_data::features::{Answer, PER_SERIES};
use nerve_data::series::{Order, PerSeries};
use nerve_data::{DataError, Table};
use serde_json::Value as Json;
use std::sync::Arc;

impl Recipe {
    /// All columns, those that go in first.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &Column> {
        self.inputs.iter().chain(&self.outputs)
    }
}

fn asks(column: &Column) -> bool {
    column.feature.name == "timeseries" && column.feature.args.text("normalize") == PER_SERIES
}

/// Learns the scales of all columns that ask for it, in or out.
pub(crate) fn fit(recipe: &Recipe, train: &Rows) -> Result<Vec<PerSeries>, DataError> {
    let order = Order::from_args(&recipe.data);
    let mut all: Vec<PerSeries> = Vec::new();
    for column in recipe.columns().filter(|column| asks(column)) {
        if all.iter().all(|known| known.column() != column.name) {
            let args = &column.feature.args;
            all.push(PerSeries::fit(&train.table, &train.rows, &column.name, args, &order)?);
        }
    }
    Ok(all)
}

/// From what stands in a model file; nothing where no column asked for it.
pub(crate) fn restore(state: &Json) -> Result<Vec<PerSeries>, DataError> {
    let damaged = |message| DataError::Column { column: "series".into(), message };
    let states = state.as_array().map_or(&[][..], Vec::as_slice);
    states.iter().map(|state| PerSeries::restore(state).map_err(damaged)).collect()
}

/// The table with its columns on the scales of their series; the same one where there are none.
pub(crate) fn applied<'c>(
    scales: &[PerSeries],
    columns: impl Iterator<Item = &'c Column>,
    table: &Arc<Table>,
) -> Result<Arc<Table>, DataError> {
    let columns: Vec<&Column> = columns.filter(|column| asks(column)).collect();
    let mut table = Arc::clone(table);
    for scale in scales {
        // A forecast of new rows needs no column of what is to come.
        let there = table.columns().iter().any(|column| column.name == scale.column());
        let args = columns.iter().find(|column| column.name == scale.column());
        if let (true, Some(column)) = (there, args) {
            table = Arc::new(scale.applied(&table, &column.feature.args)?);
        }
    }
    Ok(table)
}

/// Tables on the scales of their series, each made once.
#[derive(Default)]
pub(crate) struct OnScale(Vec<[Arc<Table>; 2]>);

impl OnScale {
    /// What a table becomes.
    pub fn of(&mut self, features: &Features, table: &Arc<Table>) -> Result<Arc<Table>, DataError> {
        if let Some([_, known]) = self.0.iter().find(|[from, _]| Arc::ptr_eq(from, table)) {
            return Ok(Arc::clone(known));
        }
        let columns = features.inputs.iter().chain(&features.outputs).map(|it| &it.column);
        let made = applied(&features.own_scales, columns, table)?;
        self.0.push([Arc::clone(table), Arc::clone(&made)]);
        Ok(made)
    }
}

/// The way of the answers about rows of a table back to the units of their columns: that of [`Predictor::units`](crate::Predictor::units).
pub struct Units {
    /// For each output mean and deviation of each row, where its series have scales of their own.
    outputs: Vec<Option<Vec<[f64; 2]>>>,
}

impl Units {
    pub(crate) fn of(features: &Features, table: &Table) -> Result<Units, DataError> {
        let scales = |name: &str| {
            let own = features.own_scales.iter().find(|scale| scale.column() == name);
            own.map(|own| own.scales(table)).transpose()
        };
        let outputs = features.outputs.iter().map(|it| scales(&it.column.name));
        Ok(Units { outputs: outputs.collect::<Result<_, _>>()? })
    }

    /// The answer of an output about a row of the table.
    pub fn answer(&self, output: usize, row: usize, mut answer: Answer) -> Answer {
        let Some(scales) = &self.outputs[output] else { return answer };
        let [mean, deviation] = scales[row];
        if let Answer::Numbers(values) | Answer::Quantiles { values, .. } = &mut answer {
            values.iter_mut().for_each(|value| *value = *value * deviation + mean);
        }
        answer
    }
}
