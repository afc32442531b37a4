//! `number`: one measurement a row, brought to a common scale.

use std::sync::Arc;

use nerve_formats::Meaning;
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};
use serde_json::{Value as Json, json};

use super::{Answer, Entry, Feature, Fitting, Guess, Head, Output, Refusal, Role, Setting};
use crate::{Cell, Cells, Column, Element, Slice, Values};

pub(super) const ENTRY: Entry = Entry { spec: &SPEC, infer, begin, restore };

static SPEC: Spec = Spec {
    name: "number",
    aliases: &[],
    peers: Peers::of("", "layers.Normalization"),
    doc: "A number, brought to a common scale with what the training split shows.",
    params: &[
        Param::with_default(
            "missing",
            Kind::Choice(&["mean", "error"]),
            Value::text("mean"),
            "what stands in for a number that is not there",
        ),
        Param::with_default(
            "normalize",
            Kind::Choice(&["zscore", "minmax", "none"]),
            Value::text("zscore"),
            "zscore: mean 0 and deviation 1 over the training split; minmax: from 0 to 1; none: as it is",
        ),
    ],
};

fn infer(column: &Column) -> Option<Guess> {
    let cells = &column.cells;
    let given: Vec<usize> =
        (0..cells.len()).filter(|&row| read(cells.get(row)) != Ok(None)).collect();
    let numbers = given.iter().all(|&row| read(cells.get(row)).is_ok());
    (numbers && !given.is_empty()).then(|| Guess {
        confidence: 0.6,
        reason: format!("all {} values are numbers", given.len()),
    })
}

/// The number in a cell; `None` where there is none.
fn read(cell: Cell<'_>) -> Result<Option<f64>, Refusal> {
    match cell {
        Cell::Missing => Ok(None),
        Cell::Number(number) => Ok(Some(number)),
        Cell::Text(text) => match text.trim() {
            "" | "NA" | "NaN" | "nan" | "null" => Ok(None),
            text => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(Some(number)),
                _ => Err(Refusal::new("a number", cell)),
            },
        },
        _ => Err(Refusal::new("a number", cell)),
    }
}

fn begin(args: &Args, setting: &Setting) -> Result<Box<dyn Fitting>, String> {
    Ok(Box::new(Fit { args: Number::from_args(args, setting), values: Vec::new() }))
}

fn restore(args: &Args, setting: &Setting, state: &Json) -> Result<Arc<dyn Feature>, String> {
    let number = |key: &str| {
        state[key].as_f64().filter(|n| n.is_finite()).ok_or(format!("`{key}` is no number"))
    };
    let (subtract, divide, fill) = (number("subtract")?, number("divide")?, number("fill")?);
    Ok(Arc::new(Number { subtract, divide, fill, ..Number::from_args(args, setting) }))
}

struct Fit {
    args: Number,
    values: Vec<f64>,
}

impl Fitting for Fit {
    fn observe(&mut self, cells: &Cells, row: usize) -> Result<(), Refusal> {
        let cell = cells.get(row);
        match read(cell)? {
            Some(number) => self.values.push(number),
            None if self.args.refuses => return Err(Refusal::new("a number", cell)),
            None => {}
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Arc<dyn Feature>, String> {
        let n = self.values.len() as f64;
        if self.values.is_empty() {
            return Err("no number in the training split".into());
        }
        let mean = self.values.iter().sum::<f64>() / n;
        let variance = self.values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        let least = self.values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (subtract, divide) = match self.args.method {
            "zscore" => (mean, variance.sqrt()),
            "minmax" => (least, most - least),
            _ => (0.0, 1.0),
        };
        let divide = if divide > 0.0 { divide } else { 1.0 };
        Ok(Arc::new(Number { subtract, divide, fill: mean, ..self.args }))
    }
}

/// A number on its way to the network: `(x - subtract) / divide`.
#[derive(Clone, Debug)]
struct Number {
    method: &'static str,
    refuses: bool,
    subtract: f64,
    divide: f64,
    fill: f64,
}

impl Number {
    fn from_args(args: &Args, setting: &Setting) -> Number {
        let methods = ["zscore", "minmax", "none"];
        let method = args.text("normalize");
        Number {
            method: methods.into_iter().find(|name| *name == method).unwrap_or("none"),
            // An answer that is not known cannot be learned from.
            refuses: setting.role == Role::Output || args.text("missing") == "error",
            subtract: 0.0,
            divide: 1.0,
            fill: 0.0,
        }
    }
}

impl Feature for Number {
    fn stored(&self) -> (Vec<usize>, Element) {
        (vec![1], Element::F32)
    }

    fn store(&self, cells: &Cells, row: usize, mut out: Slice<'_>) -> Result<(), Refusal> {
        let cell = cells.get(row);
        let number = match read(cell)? {
            Some(number) => number,
            None if self.refuses => return Err(Refusal::new("a number", cell)),
            None => self.fill,
        };
        out.f32()[0] = ((number - self.subtract) / self.divide) as f32;
        Ok(())
    }

    fn meaning(&self) -> Meaning {
        Meaning::Numbers
    }

    fn state(&self) -> Json {
        json!({ "subtract": self.subtract, "divide": self.divide, "fill": self.fill })
    }

    fn output(&self) -> Option<&dyn Output> {
        Some(self)
    }
}

impl Output for Number {
    fn head(&self) -> Head {
        Head { shape: vec![1], loss: "mse", metrics: &["rmse", "mae", "r2"] }
    }

    fn answer(&self, values: &[f32]) -> Answer {
        Answer::Number(f64::from(values[0]) * self.divide + self.subtract)
    }

    fn truth(&self, stored: &Values, row: usize) -> Answer {
        let Values::F32(values) = stored else { unreachable!("numbers are stored as f32") };
        self.answer(&values[row..=row])
    }
}
