//! A scale for each series: mean 0 and deviation 1 over its own training rows.

use std::collections::BTreeMap;

use nerve_formats::spec::Args;
use serde_json::{Value as Json, json};

use super::Order;
use crate::features::cell::Words;
use crate::features::name_of;
use crate::features::scale::moments;
use crate::{Cells, Column, DataError, Table};

/// Mean and deviation of a column in each series. What a network sees of the column are numbers on these scales, and what
/// it forecasts comes back by that of the row's series.
///
/// A series of which training saw nothing takes the mean and the deviation of all rows.
#[derive(Clone, Debug, PartialEq)]
pub struct PerSeries {
    column: String,
    /// The column that tells the series apart.
    series: Option<String>,
    each: BTreeMap<String, [f64; 2]>,
    all: [f64; 2],
}

impl PerSeries {
    /// Learns from training rows; `args` are those of the feature of the column.
    ///
    /// # Errors
    /// [`DataError::UnknownColumn`]; [`DataError::Cell`] for what is no number; [`DataError::Column`] where there is none.
    pub fn fit(
        table: &Table,
        rows: &[usize],
        column: &str,
        args: &Args,
        order: &Order,
    ) -> Result<PerSeries, DataError> {
        let numbers = numbers(table, column, args)?;
        let names = names(table, order.series.as_deref())?;
        let mut found: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for &row in rows.iter().filter(|&&row| !numbers[row].is_nan()) {
            found.entry(&names[row]).or_default().push(numbers[row]);
        }
        let all: Vec<f64> = found.values().flatten().copied().collect();
        if all.is_empty() {
            let message = "no number in the training split".into();
            return Err(DataError::Column { column: column.into(), message });
        }
        Ok(PerSeries {
            column: column.into(),
            series: order.series.clone(),
            each: found.iter().map(|(name, values)| ((*name).to_string(), scale(values))).collect(),
            all: scale(&all),
        })
    }

    /// The name of the column.
    pub fn column(&self) -> &str {
        &self.column
    }

    /// The table with the column on the scales of its series; `args` are those of the feature of the column.
    ///
    /// # Errors
    /// As [`PerSeries::fit`].
    pub fn applied(&self, table: &Table, args: &Args) -> Result<Table, DataError> {
        let scales = self.scales(table)?;
        let numbers = numbers(table, &self.column, args)?;
        let scaled =
            numbers.iter().zip(&scales).map(|(x, [mean, deviation])| (x - mean) / deviation);
        let cells = Cells::Numbers(scaled.collect());
        table.replaced(Column { name: self.column.clone(), cells })
    }

    /// Mean and deviation for each row of a table.
    ///
    /// # Errors
    /// [`DataError::UnknownColumn`]; [`DataError::Cell`] for a series whose name is none.
    pub fn scales(&self, table: &Table) -> Result<Vec<[f64; 2]>, DataError> {
        let names = names(table, self.series.as_deref())?;
        Ok(names.iter().map(|name| *self.each.get(name).unwrap_or(&self.all)).collect())
    }

    /// All that was learned, for the model file.
    pub fn state(&self) -> Json {
        json!({ "column": self.column, "series": self.series, "each": self.each, "all": self.all })
    }

    /// From what [`PerSeries::state`] gave.
    ///
    /// # Errors
    /// It is none.
    pub fn restore(state: &Json) -> Result<PerSeries, String> {
        let pair = |value: &Json| -> Option<[f64; 2]> {
            let pair = [value[0].as_f64()?, value[1].as_f64()?];
            (pair.iter().all(|x| x.is_finite()) && pair[1] > 0.0).then_some(pair)
        };
        let each = state["each"].as_object().and_then(|each| {
            each.iter().map(|(name, value)| Some((name.clone(), pair(value)?))).collect()
        });
        let (Some(column), Some(each), Some(all)) =
            (state["column"].as_str(), each, pair(&state["all"]))
        else {
            return Err("the scales of the series are damaged".into());
        };
        let series = state["series"].as_str().map(str::to_string);
        Ok(PerSeries { column: column.into(), series, each, all })
    }
}

/// Mean and deviation; 1 where all values are one.
fn scale(values: &[f64]) -> [f64; 2] {
    let (mean, deviation) = moments(values.iter().copied());
    let spread = deviation > 10.0 * f64::EPSILON * mean.abs();
    [mean, if spread { deviation } else { 1.0 }]
}

fn numbers(table: &Table, column: &str, args: &Args) -> Result<Vec<f64>, DataError> {
    let words = Words::of(args);
    let cells = &table.column(column)?.cells;
    let number = |row| match words.number(cells.get(row)) {
        Ok(number) => Ok(number.unwrap_or(f64::NAN)),
        Err(refusal) => Err(table.refuse(row, column, refusal)),
    };
    (0..table.rows()).map(number).collect()
}

fn names(table: &Table, series: Option<&str>) -> Result<Vec<String>, DataError> {
    let Some(column) = series else { return Ok(vec![String::new(); table.rows()]) };
    let cells = &table.column(column)?.cells;
    let name = |row| match name_of(cells.get(row)) {
        Ok(name) => Ok(name.unwrap_or_default().into_owned()),
        Err(refusal) => Err(table.refuse(row, column, refusal)),
    };
    (0..table.rows()).map(name).collect()
}

#[cfg(test)]
mod tests {
    use nerve_formats::spec::check;

    use super::*;
    use crate::{Cell, Origin};

    fn table(rows: &[(&str, &str)]) -> Table {
        let column = |name: &str, cells: Vec<&str>| Column {
            name: name.into(),
            cells: Cells::Text(cells.into_iter().map(Some).collect()),
        };
        let (names, values) = rows.iter().copied().unzip();
        Table::new(vec![column("meter", names), column("load", values)], Origin::default()).unwrap()
    }

    fn args() -> Args {
        check(crate::features::find("timeseries").unwrap().spec, &[]).unwrap()
    }

    fn order() -> Order {
        Order { time: None, series: Some("meter".into()), freq: None, stride: 1 }
    }

    #[test]
    fn each_series_has_its_own_scale_from_the_training_rows() {
        let rows = [
            ("a", "1"),
            ("a", "3"),
            ("a", "100"),
            ("b", "1000"),
            ("b", "NA"),
            ("b", "3000"),
            ("c", "7"),
        ];
        let table = table(&rows);
        let scales = PerSeries::fit(&table, &[0, 1, 3, 4, 5], "load", &args(), &order()).unwrap();
        let found = scales.scales(&table).unwrap();
        assert_eq!((found[0], found[3]), ([2.0, 1.0], [2000.0, 1000.0]));
        // What training did not see has the scale of all: 1, 3, 1000, 3000.
        assert_eq!(found[6][0], 1001.0);
        let scaled = scales.applied(&table, &args()).unwrap();
        let cell = |row| scaled.column("load").unwrap().cells.get(row);
        assert_eq!([cell(0), cell(1), cell(2)], [-1.0, 1.0, 98.0].map(Cell::Number));
        assert_eq!(
            [cell(3), cell(4), cell(5)],
            [Cell::Number(-1.0), Cell::Missing, Cell::Number(1.0)]
        );
        assert_eq!(scaled.place(3), table.place(3));
        assert_eq!(PerSeries::restore(&scales.state()).unwrap(), scales);
        assert!(PerSeries::restore(&json!({})).is_err());
    }

    #[test]
    fn what_is_no_number_is_told_with_its_row() {
        let table = table(&[("a", "1"), ("a", "high")]);
        let error =
            PerSeries::fit(&table, &[0], "load", &args(), &order()).unwrap_err().to_string();
        assert!(error.contains("row 2") && error.contains("`high`"), "{error}");
        let none = PerSeries::fit(&self::table(&[("a", "NA")]), &[0], "load", &args(), &order());
        assert!(none.unwrap_err().to_string().contains("no number"));
    }
}
