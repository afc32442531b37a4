//! Labels that contradict their neighbours.

use std::collections::HashMap;

use super::View;
use crate::Cells;
use crate::features::cell::Words;

/// Comparing every row with every other is quadratic; beyond this many rows an even sample is compared.
const MOST_ROWS: usize = 4000;
/// Columns with more names than this do not count towards the distance.
const MOST_NAMES: usize = 20;
const NEIGHBOURS: usize = 10;

/// Rows whose label is shared by none of their ten nearest neighbours, while nine of them agree on another: the row, its
/// label and theirs.
///
/// Distance is Euclidean over the numbers, standardised, and a 0 or 1 for each name. It says where to look, not what is
/// wrong.
pub(super) fn suspicious(view: View<'_>, target: usize) -> Vec<(usize, String, String)> {
    let step = view.rows.len().div_ceil(MOST_ROWS).max(1);
    let rows: Vec<usize> = view.rows.iter().copied().step_by(step).collect();
    let words = Words::of_names();
    let label = |row: usize| -> String {
        let cell = view.table.columns()[target].cells.get(row);
        words.name(cell).ok().flatten().unwrap_or_default().into_owned()
    };
    let labels: Vec<String> = rows.iter().map(|&row| label(row)).collect();
    let mut columns: Vec<Vec<f32>> = Vec::new();
    for (i, column) in view.table.columns().iter().enumerate() {
        if i != target && !matches!(column.cells, Cells::Arrays(..)) {
            columns.extend(measured(&column.cells, &rows));
        }
    }
    if columns.len() < 2 || rows.len() < 5 * NEIGHBOURS {
        return Vec::new();
    }
    let points: Vec<Vec<f32>> =
        (0..rows.len()).map(|i| columns.iter().map(|column| column[i]).collect()).collect();
    let mut found = Vec::new();
    for i in 0..rows.len() {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for j in nearest(&points, i) {
            *counts.entry(&labels[j]).or_default() += 1;
        }
        let own = counts.get(&labels[i][..]).copied().unwrap_or(0);
        let most = counts.iter().max_by(|a, b| a.1.cmp(b.1).then(b.0.cmp(a.0)));
        if let Some((other, count)) = most
            && own == 0
            && *count + 1 >= NEIGHBOURS
        {
            found.push((rows[i], labels[i].clone(), other.to_string()));
        }
    }
    found
}

fn nearest(points: &[Vec<f32>], i: usize) -> impl Iterator<Item = usize> {
    let distance = |j: usize| -> f32 {
        points[i].iter().zip(&points[j]).map(|(a, b)| (a - b) * (a - b)).sum()
    };
    let mut best: Vec<(f32, usize)> = Vec::with_capacity(NEIGHBOURS + 1);
    for j in (0..points.len()).filter(|&j| j != i) {
        let d = distance(j);
        if best.len() < NEIGHBOURS || d < best[best.len() - 1].0 {
            let at = best.partition_point(|(other, _)| *other <= d);
            best.insert(at, (d, j));
            best.truncate(NEIGHBOURS);
        }
    }
    best.into_iter().map(|(_, j)| j)
}

/// A column as coordinates: a standardised number, or one for each of a few names.
fn measured(cells: &Cells, rows: &[usize]) -> Vec<Vec<f32>> {
    let (numbers, names) = (Words::of_numbers(), Words::of_names());
    let all: Result<Vec<Option<f64>>, _> =
        rows.iter().map(|&row| numbers.number(cells.get(row))).collect();
    if let Ok(all) = all {
        let given: Vec<f64> = all.iter().flatten().copied().collect();
        if given.is_empty() {
            return Vec::new();
        }
        let (mean, deviation) = crate::features::scale::moments(given.iter().copied());
        if !(deviation.is_finite() && deviation > 0.0) {
            return Vec::new();
        }
        let scaled = |x: Option<f64>| x.map_or(0.0, |x| ((x - mean) / deviation) as f32);
        return vec![all.into_iter().map(scaled).collect()];
    }
    let name = |row: &usize| names.name(cells.get(*row)).ok().flatten().unwrap_or_default();
    let mut known: Vec<String> = Vec::new();
    for row in rows {
        let name = name(row);
        if !known.iter().any(|other| *other == name) {
            known.push(name.into_owned());
        }
        if known.len() > MOST_NAMES {
            return Vec::new();
        }
    }
    let is =
        |known: &String| rows.iter().map(|row| f32::from(u8::from(name(row) == **known))).collect();
    known.iter().map(is).collect()
}
