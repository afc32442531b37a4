//! Rows by the values of a column: scores of a part are often not those of the whole.

use super::bootstrap::quantile;
use nerve_data::features::describe;
use nerve_data::{Cell, Cells, DataError, Table};
use nerve_formats::escape;
use std::collections::BTreeMap;

/// How many values of a column become slices of their own; the rarest others are one together.
const MOST: usize = 20;
/// Columns of numbers with more different values than this are cut at their quartiles.
const FEW_NUMBERS: usize = 12;

/// The rows with one value of a column: positions in the rows that are judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The value, or the range of values.
    pub value: String,
    /// Which rows.
    pub rows: Vec<usize>,
}

/// The groups of a column, the largest first; of numbers in their order.
///
/// # Errors
/// [`DataError::UnknownColumn`].
pub fn groups(table: &Table, column: &str, rows: &[usize]) -> Result<Vec<Group>, DataError> {
    let cells = &table.column(column)?.cells;
    let numbers: Vec<Option<f64>> = rows.iter().map(|&row| number(cells.get(row))).collect();
    let missing = |row: usize| matches!(cells.get(row), Cell::Missing | Cell::Text(""));
    let numeric = rows.iter().zip(&numbers).all(|(&row, number)| number.is_some() || missing(row));
    let mut different: Vec<f64> = numbers.iter().flatten().copied().collect();
    different.sort_by(f64::total_cmp);
    let sorted = different.clone();
    different.dedup();
    if numeric && different.len() > FEW_NUMBERS {
        return Ok(by_quartile(&numbers, &sorted));
    }
    let mut named: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (position, &row) in rows.iter().enumerate() {
        named.entry(text(cells, row)).or_default().push(position);
    }
    let mut all: Vec<Group> =
        named.into_iter().map(|(value, rows)| Group { value, rows }).collect();
    match numeric {
        true => all.sort_by(|a, b| value_of(a).total_cmp(&value_of(b))),
        false => all.sort_by_key(|group| std::cmp::Reverse(group.rows.len())),
    }
    if all.len() > MOST {
        let rest = all.split_off(MOST - 1);
        let value = format!("({} others)", rest.len());
        let mut rows: Vec<usize> = rest.into_iter().flat_map(|group| group.rows).collect();
        rows.sort_unstable();
        all.push(Group { value, rows });
    }
    Ok(all)
}

fn value_of(group: &Group) -> f64 {
    group.value.parse().unwrap_or(f64::INFINITY)
}

fn number(cell: Cell<'_>) -> Option<f64> {
    match cell {
        Cell::Number(number) => Some(number),
        Cell::Text(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
        _ => None,
    }
}

fn text(cells: &Cells, row: usize) -> String {
    match cells.get(row) {
        Cell::Missing | Cell::Text("") => "(missing)".into(),
        Cell::Text(text) => escape(text.trim(), 60),
        Cell::Number(number) => number.to_string(),
        other => describe(other),
    }
}

fn by_quartile(numbers: &[Option<f64>], sorted: &[f64]) -> Vec<Group> {
    let mut borders: Vec<f64> = [0.25, 0.5, 0.75].map(|q| quantile(sorted, q)).to_vec();
    borders.dedup();
    let mut groups = vec![Vec::new(); borders.len() + 2];
    for (position, number) in numbers.iter().enumerate() {
        let group = match number {
            Some(number) => borders.iter().filter(|&border| number > border).count(),
            None => borders.len() + 1,
        };
        groups[group].push(position);
    }
    let short = |value: f64| format!("{}", (value * 1e4).round() / 1e4);
    let value = |group: usize| match group {
        0 => format!("up to {}", short(borders[0])),
        g if g < borders.len() => format!("{} to {}", short(borders[g - 1]), short(borders[g])),
        g if g == borders.len() => format!("above {}", short(borders[g - 1])),
        _ => "(missing)".into(),
    };
    let all = groups.into_iter().enumerate();
    all.map(|(i, rows)| Group { value: value(i), rows }).filter(|g| !g.rows.is_empty()).collect()
}
