//! What is known of series without a network: the forecasts that repeat the past, and how far off they were in training.

use crate::predictor::Predictor;
use nerve_data::features::name_of;
use nerve_data::series::Order;
use nerve_data::{Cell, DataError, Table};
use nerve_train::judge::Baseline;
use nerve_train::metrics::naive_error;
use std::collections::BTreeMap;

/// A column as numbers, row by row.
pub(super) struct Known {
    /// Where there is none, the one before in its series.
    values: Vec<f64>,
    /// The name of the series of each row.
    series: Vec<String>,
    /// The first row of that series.
    first: Vec<usize>,
}

impl Known {
    /// Of a table whose rows are by series and time, as a recipe's are.
    pub fn of(predictor: &Predictor, table: &Table, column: &str) -> Result<Known, DataError> {
        let order = Order::from_args(&predictor.card.recipe.data);
        let series = match &order.series {
            None => vec![String::new(); table.rows()],
            Some(series) => {
                let cells = &table.column(series)?.cells;
                let name = |row| match name_of(cells.get(row)) {
                    Ok(name) => Ok(name.unwrap_or_default().into_owned()),
                    Err(refusal) => Err(table.refuse(row, series, refusal)),
                };
                (0..table.rows()).map(name).collect::<Result<Vec<_>, _>>()?
            }
        };
        let cells = &table.column(column)?.cells;
        let (mut values, mut first) = (Vec::with_capacity(table.rows()), Vec::new());
        for row in 0..table.rows() {
            let begins = row == 0 || series[row] != series[row - 1];
            first.push(if begins { row } else { first[row - 1] });
            let number = match cells.get(row) {
                Cell::Number(number) => Some(number),
                Cell::Text(text) => text.trim().parse().ok(),
                Cell::F32(&[number]) => Some(f64::from(number)),
                _ => None,
            };
            let before = if begins { f64::NAN } else { values[row - 1] };
            values.push(number.filter(|number: &f64| number.is_finite()).unwrap_or(before));
        }
        Ok(Known { values, series, first })
    }

    /// The forecasts that repeat the last value and the last season before each row's horizon, within its series.
    pub fn naive(&self, rows: &[usize], season: usize, horizon: usize) -> Vec<Baseline> {
        let before: Vec<&[f64]> =
            rows.iter().map(|&row| &self.values[self.first[row]..=row]).collect();
        let seasons = [1, season];
        let known = |season: &&usize| before.iter().all(|before| before.len() >= **season);
        let seasons = seasons[..if season > 1 { 2 } else { 1 }].iter().filter(known);
        seasons.map(|&season| Baseline::seasonal(&before, season, horizon)).collect()
    }

    /// For each row the error of the naive forecast over the training rows of its series, by which MASE divides. Where a
    /// series has none (it is new, or it does not change), that of all series; nothing where no series has one.
    pub fn scales(
        &self,
        rows: &[usize],
        learned: &Known,
        train: &[usize],
        season: usize,
    ) -> Vec<f64> {
        let mut sorted = train.to_vec();
        sorted.sort_unstable();
        let mut each: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for row in sorted.into_iter().filter(|&row| learned.values[row].is_finite()) {
            each.entry(&learned.series[row]).or_default().push(learned.values[row]);
        }
        let errors: BTreeMap<&str, f64> =
            each.iter().map(|(name, values)| (*name, naive_error(values, season))).collect();
        let positive = |error: &f64| *error > 0.0 && error.is_finite();
        let known: Vec<f64> = errors.values().copied().filter(positive).collect();
        if known.is_empty() {
            return Vec::new();
        }
        let all = known.iter().sum::<f64>() / known.len() as f64;
        let own = |&row: &usize| errors.get(&*self.series[row]).copied().filter(positive);
        rows.iter().map(|row| own(row).unwrap_or(all)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(values: &[f64], names: &[&str]) -> Known {
        let series: Vec<String> = names.iter().map(|name| (*name).to_string()).collect();
        let first =
            (0..names.len()).map(|row| names.iter().position(|n| *n == names[row]).unwrap());
        Known { values: values.to_vec(), first: first.collect(), series }
    }

    #[test]
    fn nothing_of_one_series_is_known_in_another() {
        let known = known(&[1.0, 2.0, 4.0, 100.0, 110.0, 130.0], &["a", "a", "a", "b", "b", "b"]);
        // The first row of `b` has one value before its horizon, so no season of two is known.
        assert_eq!(known.naive(&[2, 3], 2, 2).len(), 1);
        let both = known.naive(&[2, 4], 2, 3);
        assert_eq!(both[0], Baseline::seasonal(&[&[4.0], &[110.0]], 1, 3));
        assert_eq!(both[1], Baseline::seasonal(&[&[2.0, 4.0], &[100.0, 110.0]], 2, 3));
        assert_eq!(known.scales(&[2, 4], &known, &[0, 1, 2, 3, 4, 5], 1), [1.5, 15.0]);
        // `b` is not in the training part: the mean of what is.
        assert_eq!(known.scales(&[2, 4], &known, &[2, 0, 1], 1), [1.5, 1.5]);
        assert!(known.scales(&[2], &known, &[0], 1).is_empty());
    }
}
