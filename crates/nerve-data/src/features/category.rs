//! `category`: one of a number of names.

use std::collections::BTreeMap;
use std::sync::Arc;

use nerve_formats::Meaning;
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec};
use serde_json::{Value as Json, json};

use super::{Answer, Entry, Feature, Fitting, Guess, Head, Output, Refusal, Role, Setting};
use crate::{Cell, Cells, Column, Element, Slice, Values};

pub(super) const ENTRY: Entry = Entry { spec: &SPEC, infer, begin, restore };

static SPEC: Spec = Spec {
    name: "category",
    aliases: &[],
    peers: Peers::of("", "layers.StringLookup"),
    doc: "One of the names that the training split shows; as an input, others are `unknown`.",
    params: &[Param::optional(
        "classes",
        Kind::List { of: &Kind::Text, min_len: 2, max_len: 1 << 20 },
        "the names, in the order of their numbers; without it those of the training split, sorted",
    )],
};

/// What an input becomes whose name the training split did not show.
const UNKNOWN: &str = "(unknown)";

fn infer(column: &Column) -> Option<Guess> {
    let mut names = BTreeMap::new();
    for row in 0..column.cells.len() {
        if let Some(name) = read(column.cells.get(row)) {
            *names.entry(name).or_insert(0usize) += 1;
        }
    }
    let rows: usize = names.values().sum();
    (names.len() >= 2 && names.len() * 2 <= rows).then(|| Guess {
        confidence: 0.5,
        reason: format!("{} different values in {rows} rows", names.len()),
    })
}

/// The name in a cell; `None` where there is none.
fn read(cell: Cell<'_>) -> Option<String> {
    match cell {
        Cell::Text(text) => Some(text.trim().to_string()).filter(|text| !text.is_empty()),
        Cell::Number(number) => Some(number.to_string()),
        Cell::I32([number]) => Some(number.to_string()),
        Cell::U8([number]) => Some(number.to_string()),
        _ => None,
    }
}

fn begin(args: &Args, setting: &Setting) -> Result<Box<dyn Fitting>, String> {
    let given = args.has("classes").then(|| args.texts("classes"));
    Ok(Box::new(Fit { role: setting.role, given, counts: BTreeMap::new() }))
}

fn restore(_: &Args, setting: &Setting, state: &Json) -> Result<Arc<dyn Feature>, String> {
    let names = state["names"].as_array().ok_or("`names` is no list")?;
    let names: Option<Vec<String>> =
        names.iter().map(|name| name.as_str().map(str::to_string)).collect();
    Ok(Arc::new(Category::new(setting.role, names.ok_or("a name is no text")?)))
}

struct Fit {
    role: Role,
    given: Option<Vec<String>>,
    counts: BTreeMap<String, usize>,
}

impl Fitting for Fit {
    fn observe(&mut self, cells: &Cells, row: usize) -> Result<(), Refusal> {
        let cell = cells.get(row);
        match read(cell) {
            Some(name) => *self.counts.entry(name).or_insert(0) += 1,
            None if self.role == Role::Output => return Err(Refusal::new("a name", cell)),
            None => {}
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Arc<dyn Feature>, String> {
        let mut names = match self.given {
            Some(names) => names,
            None => sorted(self.counts.into_keys().collect()),
        };
        if self.role == Role::Input {
            names.insert(0, UNKNOWN.to_string());
        } else if names.len() < 2 {
            return Err(format!("a single class, {names:?}: there is nothing to learn"));
        }
        Ok(Arc::new(Category::new(self.role, names)))
    }
}

/// In the order of people: numbers by their value.
fn sorted(mut names: Vec<String>) -> Vec<String> {
    if names.iter().all(|name| name.parse::<f64>().is_ok_and(f64::is_finite)) {
        let value = |name: &String| name.parse::<f64>().unwrap_or(0.0);
        names.sort_by(|a, b| value(a).total_cmp(&value(b)).then(a.cmp(b)));
    }
    names
}

/// One of a number of names on its way to the network: its number.
#[derive(Clone, Debug)]
struct Category {
    role: Role,
    names: Arc<[String]>,
    numbers: BTreeMap<String, i32>,
}

impl Category {
    fn new(role: Role, names: Vec<String>) -> Category {
        let numbers = names.iter().cloned().zip(0..).collect();
        Category { role, names: names.into(), numbers }
    }
}

impl Feature for Category {
    fn stored(&self) -> (Vec<usize>, Element) {
        (Vec::new(), Element::I32)
    }

    fn store(&self, cells: &Cells, row: usize, mut out: Slice<'_>) -> Result<(), Refusal> {
        let cell = cells.get(row);
        let known = read(cell).and_then(|name| self.numbers.get(&name).copied());
        out.i32()[0] = match (known, self.role) {
            (Some(number), _) => number,
            (None, Role::Input) => 0,
            (None, Role::Output) => {
                let some: Vec<&str> = self.names.iter().take(8).map(String::as_str).collect();
                return Err(Refusal::new(format!("one of {}", some.join(", ")), cell));
            }
        };
        Ok(())
    }

    fn meaning(&self) -> Meaning {
        Meaning::Category { names: self.names.clone() }
    }

    fn state(&self) -> Json {
        json!({ "names": &self.names[..] })
    }

    fn output(&self) -> Option<&dyn Output> {
        (self.role == Role::Output).then_some(self as &dyn Output)
    }
}

impl Output for Category {
    fn head(&self) -> Head {
        Head { shape: vec![self.names.len()], loss: "cross_entropy", metrics: &["accuracy"] }
    }

    fn answer(&self, values: &[f32]) -> Answer {
        let most = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let powers: Vec<f32> = values.iter().map(|value| (value - most).exp()).collect();
        let sum: f32 = powers.iter().sum();
        Answer::Classes(powers.iter().map(|power| power / sum).collect())
    }

    fn truth(&self, stored: &Values, row: usize) -> Answer {
        let Values::I32(values) = stored else { unreachable!("classes are stored as i32") };
        let class = values[row] as usize;
        Answer::Classes((0..self.names.len()).map(|i| f32::from(u8::from(i == class))).collect())
    }
}
