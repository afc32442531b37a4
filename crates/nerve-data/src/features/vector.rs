//! `vector`: a fixed number of numbers in one cell.

use std::sync::Arc;

use nerve_formats::Meaning;
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};
use serde_json::{Value as Json, json};

use super::{Answer, Entry, Feature, Fitting, Guess, Head, Output, Refusal, Role, Setting, list};
use crate::{Cell, Cells, Column, Element, Slice, Values};

pub(super) const ENTRY: Entry = Entry { spec: &SPEC, infer, begin, restore };

static SPEC: Spec = Spec {
    name: "vector",
    aliases: &["numbers"],
    peers: Peers::of("", "layers.Normalization"),
    doc: "As many numbers in every row: an embedding, a histogram, coordinates.",
    params: &[
        Param::optional(
            "separator",
            Kind::Text,
            "what stands between the numbers, empty for white space; without it, found. A JSON list needs none",
        ),
        Param::with_default(
            "normalize",
            Kind::Choice(&["zscore", "common", "none"]),
            Value::text("zscore"),
            "zscore: each place to mean 0 and deviation 1; common: all places by one mean and deviation; none: as it is",
        ),
    ],
};

/// The most numbers in a vector.
const MOST: usize = 1 << 20;

fn infer(column: &Column) -> Option<Guess> {
    let certain = |len: usize, rows: usize| Guess {
        confidence: 0.7,
        reason: format!("{len} numbers in each of {rows} rows"),
    };
    match &column.cells {
        Cells::Arrays(field, _) if field.shape.len() == 1 && field.shape[0] > 1 => {
            Some(certain(field.shape[0], column.cells.len()))
        }
        Cells::Text(texts) => {
            let all =
                (0..texts.len()).filter_map(|row| texts.get(row)).filter(|text| !text.is_empty());
            let separator = list::separator(all.clone());
            let mut len = None;
            for text in all.clone() {
                let numbers = numbers(Cell::Text(text), separator).ok()?;
                if numbers.len() < 2 || *len.get_or_insert(numbers.len()) != numbers.len() {
                    return None;
                }
            }
            Some(certain(len?, all.count()))
        }
        _ => None,
    }
}

/// The numbers in a cell.
fn numbers(cell: Cell<'_>, separator: &str) -> Result<Vec<f32>, Refusal> {
    let refuse = |expected: &str| Refusal::new(expected, cell);
    let numbers: Vec<f32> = match cell {
        Cell::Text(text) => {
            let items = list::items(text, separator).map_err(refuse)?;
            let number = |item: &std::borrow::Cow<'_, str>| item.parse::<f32>().ok();
            items.iter().map(number).collect::<Option<_>>().ok_or_else(|| refuse("numbers"))?
        }
        Cell::F32(values) => values.to_vec(),
        Cell::I32(values) => values.iter().map(|&value| value as f32).collect(),
        Cell::U8(values) => values.iter().map(|&value| value.into()).collect(),
        Cell::Number(number) => vec![number as f32],
        Cell::Missing => return Err(refuse("numbers")),
    };
    match numbers.len() {
        0 => Err(refuse("numbers")),
        len if len > MOST => Err(refuse("at most 1,048,576 numbers")),
        _ if numbers.iter().all(|number| number.is_finite()) => Ok(numbers),
        _ => Err(refuse("finite numbers")),
    }
}

fn begin(args: &Args, setting: &Setting) -> Result<Box<dyn Fitting>, String> {
    Ok(Box::new(Fit {
        role: setting.role,
        separator: args.has("separator").then(|| args.text("separator").to_string()),
        method: args.text("normalize").to_string(),
        rows: 0,
        first: Vec::new(),
        mean: Vec::new(),
        squares: Vec::new(),
    }))
}

fn restore(_: &Args, setting: &Setting, state: &Json) -> Result<Arc<dyn Feature>, String> {
    let numbers = |key: &str| -> Option<Vec<f64>> {
        let number = |value: &Json| value.as_f64().filter(|number| number.is_finite());
        state[key].as_array()?.iter().map(number).collect()
    };
    let subtract = numbers("subtract").ok_or("`subtract` is no list of numbers")?;
    let divide = numbers("divide").ok_or("`divide` is no list of numbers")?;
    if subtract.is_empty() || subtract.len() != divide.len() || divide.contains(&0.0) {
        return Err("`subtract` and `divide` do not fit".into());
    }
    let separator = state["separator"].as_str().ok_or("`separator` is no text")?.to_string();
    Ok(Arc::new(Vector { role: setting.role, separator, subtract, divide }))
}

struct Fit {
    role: Role,
    separator: Option<String>,
    method: String,
    rows: usize,
    first: Vec<f32>,
    /// Of each place, by Welford's algorithm: one pass, and exact for large means.
    mean: Vec<f64>,
    squares: Vec<f64>,
}

impl Fitting for Fit {
    fn observe(&mut self, cells: &Cells, row: usize) -> Result<(), Refusal> {
        let cell = cells.get(row);
        let found = || match cell {
            Cell::Text(text) => list::separator([text].into_iter()).to_string(),
            _ => String::new(),
        };
        let separator = self.separator.get_or_insert_with(found);
        let numbers = numbers(cell, separator)?;
        if self.rows == 0 {
            self.mean = vec![0.0; numbers.len()];
            self.squares = vec![0.0; numbers.len()];
            self.first = numbers.clone();
        }
        check_len(&numbers, self.mean.len(), cell)?;
        self.rows += 1;
        for ((number, mean), squares) in numbers.iter().zip(&mut self.mean).zip(&mut self.squares) {
            let off = f64::from(*number) - *mean;
            *mean += off / self.rows as f64;
            *squares += off * (f64::from(*number) - *mean);
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Arc<dyn Feature>, String> {
        let (n, len) = (self.rows as f64, self.mean.len());
        if self.rows == 0 {
            return Err("no vector in the training split".into());
        }
        let or_one = |deviation: f64, mean: f64| {
            if deviation > 10.0 * f64::EPSILON * mean.abs() { deviation } else { 1.0 }
        };
        let (subtract, divide) = match &self.method[..] {
            "zscore" => {
                let deviations = self.squares.iter().map(|squares| (squares / n).sqrt());
                (
                    self.mean.clone(),
                    deviations.zip(&self.mean).map(|(d, m)| or_one(d, *m)).collect(),
                )
            }
            "common" => {
                let mean = self.mean.iter().sum::<f64>() / len as f64;
                let between =
                    self.mean.iter().map(|m| (m - mean).powi(2)).sum::<f64>() / len as f64;
                let within = self.squares.iter().sum::<f64>() / n / len as f64;
                (vec![mean; len], vec![or_one((between + within).sqrt(), mean); len])
            }
            _ => (vec![0.0; len], vec![1.0; len]),
        };
        let separator = self.separator.unwrap_or_default();
        Ok(Arc::new(Vector { role: self.role, separator, subtract, divide }))
    }
}

fn check_len(numbers: &[f32], len: usize, cell: Cell<'_>) -> Result<(), Refusal> {
    if numbers.len() == len {
        return Ok(());
    }
    let found = format!("{}: {} of them", super::describe(cell), numbers.len());
    Err(Refusal { expected: format!("{len} numbers, as in the rows before"), found })
}

/// Numbers on their way to the network.
#[derive(Clone, Debug)]
struct Vector {
    role: Role,
    separator: String,
    subtract: Vec<f64>,
    divide: Vec<f64>,
}

impl Feature for Vector {
    fn stored(&self) -> (Vec<usize>, Element) {
        (vec![self.subtract.len()], Element::F32)
    }

    fn store(&self, cells: &Cells, row: usize, mut out: Slice<'_>) -> Result<(), Refusal> {
        let cell = cells.get(row);
        let numbers = numbers(cell, &self.separator)?;
        check_len(&numbers, self.subtract.len(), cell)?;
        let places = numbers.iter().zip(&self.subtract).zip(&self.divide);
        for (out, ((number, subtract), divide)) in out.f32().iter_mut().zip(places) {
            *out = ((f64::from(*number) - subtract) / divide) as f32;
        }
        Ok(())
    }

    fn meaning(&self) -> Meaning {
        Meaning::Numbers
    }

    fn state(&self) -> Json {
        json!({ "separator": self.separator, "subtract": self.subtract, "divide": self.divide })
    }

    fn output(&self) -> Option<&dyn Output> {
        (self.role == Role::Output).then_some(self as &dyn Output)
    }
}

impl Output for Vector {
    fn head(&self) -> Head {
        Head { shape: vec![self.subtract.len()], loss: "mse", metrics: &["rmse", "mae"] }
    }

    fn answer(&self, values: &[f32]) -> Answer {
        let places = values.iter().zip(&self.subtract).zip(&self.divide);
        Answer::Numbers(
            places.map(|((v, subtract), divide)| f64::from(*v) * divide + subtract).collect(),
        )
    }

    fn truth(&self, stored: &Values, row: usize) -> Answer {
        let Values::F32(values) = stored else { unreachable!("vectors are stored as f32") };
        let len = self.subtract.len();
        self.answer(&values[row * len..(row + 1) * len])
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{fit, fit_error, stored, texts};
    use super::*;
    use crate::Field;

    #[test]
    fn each_place_has_its_scale() {
        let seen = texts(&["[1, 10]", "[3, 10]"]);
        let feature = fit("vector", &[], Role::Output, &seen);
        assert_eq!(stored(&*feature, &seen, 1), Ok(vec![1.0f32, 0.0].into()));
        let output = feature.output().unwrap();
        assert_eq!(output.answer(&[1.0, 1.0]), Answer::Numbers(vec![3.0, 11.0]));
        let feature =
            fit("vector", &[("normalize", "common")], Role::Input, &texts(&["1;1", "3;3"]));
        assert_eq!(stored(&*feature, &texts(&["3;5"]), 0), Ok(vec![1.0f32, 3.0].into()));
        let arrays = Cells::Arrays(Field::new("", &[2], Element::U8), vec![0u8, 1, 2, 3].into());
        let feature = fit("vector", &[("normalize", "none")], Role::Input, &arrays);
        assert_eq!(stored(&*feature, &arrays, 1), Ok(vec![2.0f32, 3.0].into()));
    }

    #[test]
    fn other_lengths_and_words_are_refused() {
        let error = fit_error("vector", &[], Role::Input, &texts(&["1 2", "1 2 3"]));
        assert!(error.contains("row 1") && error.contains("3 of them"), "{error}");
        let feature = fit("vector", &[], Role::Input, &texts(&["1 2"]));
        for bad in ["1 x", "1 inf", "", "1", "1 1e60"] {
            assert!(stored(&*feature, &texts(&[bad]), 0).is_err(), "{bad}");
        }
        assert!(fit_error("vector", &[], Role::Input, &texts(&[""])).contains("row 0"));
    }
}
