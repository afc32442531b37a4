//! What a column holds, in numbers.

use std::collections::HashMap;

use serde_json::{Value as Json, json};

use super::View;
use crate::Cells;
use crate::features::cell::Words;
use crate::features::scale::{moments, quantile};

/// What a column holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Stats {
    /// The name of the column.
    pub column: String,
    /// Rows with a value.
    pub count: usize,
    /// Rows without.
    pub missing: usize,
    /// How many values differ; of arrays, none are compared.
    pub distinct: usize,
    /// What the values are.
    pub content: Content,
}

/// What the values of a column are.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// All of them numbers.
    Numbers(Quantiles),
    /// Texts.
    Texts {
        /// The most frequent values with how often they stand there, at most ten.
        top: Vec<(String, usize)>,
        /// How long they are.
        characters: Lengths,
        /// How many words they have.
        words: Lengths,
    },
    /// Arrays of this shape, and the range and mean of all their values.
    Arrays {
        /// The shape of one.
        shape: Vec<usize>,
        /// The least value.
        min: f64,
        /// The mean.
        mean: f64,
        /// The greatest value.
        max: f64,
    },
    /// Nothing at all.
    Empty,
}

/// Where the numbers of a column lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantiles {
    /// The mean.
    pub mean: f64,
    /// The standard deviation of the whole (ddof 0).
    pub deviation: f64,
    /// The least, the quantiles 0.05, 0.25, 0.5, 0.75, 0.95, and the greatest.
    pub values: [f64; 7],
}

/// How long texts are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lengths {
    /// The shortest.
    pub min: usize,
    /// Half of them are no longer.
    pub median: usize,
    /// 95 of 100 are no longer.
    pub p95: usize,
    /// The longest.
    pub max: usize,
}

const TOP: usize = 10;
const SHARES: [f64; 7] = [0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0];

/// What each column holds in these rows.
///
/// Words that stand for nothing (`NA`, `?`, ...) count as missing where all other values are numbers; where there are
/// names, only the empty text does.
pub fn describe(view: View<'_>) -> Vec<Stats> {
    let one = |column: &crate::Column| describe_one(&column.name, &column.cells, view.rows);
    view.table.columns().iter().map(one).collect()
}

fn describe_one(name: &str, cells: &Cells, rows: &[usize]) -> Stats {
    let stats = |count: usize, distinct, content| Stats {
        column: name.into(),
        count,
        missing: rows.len() - count,
        distinct,
        content,
    };
    if let Cells::Arrays(field, _) = cells
        && field.values_per_sample() > 1
    {
        return stats(rows.len(), 0, arrays(cells, rows, &field.shape));
    }
    let (numbers, names) = (Words::of_numbers(), Words::of_names());
    let all: Option<Vec<f64>> = rows
        .iter()
        .filter_map(|&row| numbers.number(cells.get(row)).transpose())
        .collect::<Result<_, _>>()
        .ok();
    if let Some(mut all) = all.filter(|all| !all.is_empty()) {
        all.sort_by(f64::total_cmp);
        let (mean, deviation) = moments(all.iter().copied());
        let distinct = all.chunk_by(|a, b| a == b).count();
        let values = SHARES.map(|share| quantile(&all, share));
        return stats(all.len(), distinct, Content::Numbers(Quantiles { mean, deviation, values }));
    }
    let mut counts: HashMap<String, usize> = HashMap::new();
    let (mut characters, mut words) = (Vec::new(), Vec::new());
    for &row in rows {
        if let Ok(Some(name)) = names.name(cells.get(row)) {
            characters.push(name.chars().count());
            words.push(name.split_whitespace().count());
            *counts.entry(name.into_owned()).or_default() += 1;
        }
    }
    let (count, distinct) = (characters.len(), counts.len());
    if count == 0 {
        return stats(0, 0, Content::Empty);
    }
    let mut top: Vec<(String, usize)> = counts.into_iter().collect();
    top.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    top.truncate(TOP);
    let content = Content::Texts { top, characters: lengths(characters), words: lengths(words) };
    stats(count, distinct, content)
}

fn arrays(cells: &Cells, rows: &[usize], shape: &[usize]) -> Content {
    let (mut min, mut max, mut sum, mut count) = (f64::INFINITY, f64::NEG_INFINITY, 0.0, 0usize);
    let mut add = |value: f64| {
        (min, max, sum, count) = (min.min(value), max.max(value), sum + value, count + 1);
    };
    for &row in rows {
        match cells.get(row) {
            crate::Cell::F32(values) => values.iter().for_each(|&value| add(value.into())),
            crate::Cell::I32(values) => values.iter().for_each(|&value| add(value.into())),
            crate::Cell::U8(values) => values.iter().for_each(|&value| add(value.into())),
            _ => {}
        }
    }
    match count {
        0 => Content::Empty,
        _ => Content::Arrays { shape: shape.to_vec(), min, mean: sum / count as f64, max },
    }
}

fn lengths(mut all: Vec<usize>) -> Lengths {
    all.sort_unstable();
    let last = all.len() - 1;
    Lengths { min: all[0], median: all[last / 2], p95: all[last * 95 / 100], max: all[last] }
}

impl Stats {
    /// As an object; its keys do not change between versions.
    pub fn to_json(&self) -> Json {
        let lengths =
            |l: &Lengths| json!({ "min": l.min, "median": l.median, "p95": l.p95, "max": l.max });
        let mut value = json!({
            "column": self.column,
            "count": self.count,
            "missing": self.missing,
            "distinct": self.distinct,
        });
        let (kind, content) = match &self.content {
            Content::Numbers(q) => (
                "numbers",
                json!({
                    "mean": q.mean, "deviation": q.deviation, "min": q.values[0], "p05": q.values[1],
                    "p25": q.values[2], "median": q.values[3], "p75": q.values[4], "p95": q.values[5],
                    "max": q.values[6],
                }),
            ),
            Content::Texts { top, characters, words } => {
                let top: Vec<Json> =
                    top.iter().map(|(name, n)| json!({ "value": name, "count": n })).collect();
                let text = json!({
                    "top": top, "characters": lengths(characters), "words": lengths(words),
                });
                ("texts", text)
            }
            Content::Arrays { shape, min, mean, max } => {
                ("arrays", json!({ "shape": shape, "min": min, "mean": mean, "max": max }))
            }
            Content::Empty => ("empty", json!({})),
        };
        value["kind"] = json!(kind);
        value[kind] = content;
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Column, Origin, Table};

    fn describe_texts(texts: &[&str]) -> Stats {
        let cells = Cells::Text(texts.iter().map(|text| Some(*text)).collect());
        let table =
            Table::new(vec![Column { name: "x".into(), cells }], Origin::default()).unwrap();
        let rows: Vec<usize> = (0..texts.len()).collect();
        describe(View { name: "data", table: &table, rows: &rows }).remove(0)
    }

    #[test]
    fn numbers_have_quantiles() {
        let found = describe_texts(&["1", "NA", "3", "2", "2", ""]);
        assert_eq!((found.count, found.missing, found.distinct), (4, 2, 3));
        let Content::Numbers(q) = found.content else { panic!("{found:?}") };
        assert_eq!((q.mean, q.deviation, q.values[3]), (2.0, 0.5f64.sqrt(), 2.0));
        assert_eq!((q.values[0], q.values[6]), (1.0, 3.0));
    }

    #[test]
    fn texts_have_frequent_values_and_lengths() {
        let found = describe_texts(&["b", "a", "b c d", "b", ""]);
        assert_eq!((found.count, found.missing, found.distinct), (4, 1, 3));
        let json = found.to_json();
        assert_eq!(json["texts"]["top"][0], json!({ "value": "b", "count": 2 }));
        assert_eq!(json["texts"]["words"]["max"], json!(3));
        assert_eq!(describe_texts(&["", ""]).content, Content::Empty);
    }
}
