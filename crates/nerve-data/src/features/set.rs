//! `set`: any number of names, in no order.

use std::collections::BTreeMap;
use std::sync::Arc;

use nerve_formats::Meaning;
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};
use serde_json::{Value as Json, json};

use super::cell::{NAME_NA, Words};
use super::{Answer, Entry, Feature, Fitting, Guess, Head, Output, Refusal, Role, Setting, list};
use crate::{Cell, Cells, Column, Element, Slice, Values};

pub(super) const ENTRY: Entry = Entry { spec: &SPEC, infer, begin, restore };

static SPEC: Spec = Spec {
    name: "set",
    aliases: &["tags", "multi_label"],
    peers: Peers::of("", "layers.StringLookup(output_mode=\"multi_hot\")"),
    doc: "Any number of names, in no order: a 1 for each that is there.",
    params: &[
        Param::optional(
            "separator",
            Kind::Text,
            "what stands between the names, empty for white space; without it, found. A JSON list needs none",
        ),
        Param::optional(
            "classes",
            Kind::List { of: &Kind::Text, min_len: 1, max_len: 1 << 20 },
            "the names, in the order of their numbers; without it those of the training split, sorted",
        ),
        Param::with_default(
            "min_count",
            Kind::count(),
            Value::Int(1),
            "names that the training split shows less often are left out",
        ),
        Param::with_default(
            "max_names",
            Kind::int(1, 1 << 20),
            Value::Int(1000),
            "the most frequent names that are kept",
        ),
        NAME_NA,
    ],
};

fn infer(column: &Column) -> Option<Guess> {
    let Cells::Text(texts) = &column.cells else { return None };
    let all =
        (0..texts.len()).filter_map(|row| texts.get(row)).filter(|text| !text.trim().is_empty());
    let (rows, separator) = (all.clone().count(), list::separator(all.clone()));
    if rows == 0 || separator.is_empty() {
        return None;
    }
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let (mut several, mut names) = (0usize, 0usize);
    for text in all {
        let items = list::items(text, separator).ok()?;
        // Names are short, and not numbers: those would be a vector.
        if items.iter().any(|item| item.split_whitespace().count() > 4) {
            return None;
        }
        several += usize::from(items.len() > 1);
        names += items.len();
        items.into_iter().for_each(|item| *counts.entry(item.into_owned()).or_default() += 1);
    }
    let worded = counts.keys().any(|name| name.parse::<f64>().is_err());
    // The same names again and again, in other company.
    let again = counts.len() * 4 <= names && counts.len() >= 2;
    (again && worded && several * 10 >= rows).then(|| Guess {
        confidence: 0.75,
        reason: format!("{} different names between `{separator}` in {rows} rows", counts.len()),
    })
}

fn begin(args: &Args, setting: &Setting) -> Result<Box<dyn Fitting>, String> {
    Ok(Box::new(Fit {
        role: setting.role,
        words: Words::of(args),
        separator: args.has("separator").then(|| args.text("separator").to_string()),
        classes: args.has("classes").then(|| args.texts("classes")),
        min_count: args.usize("min_count"),
        most: args.usize("max_names"),
        texts: Vec::new(),
    }))
}

fn restore(args: &Args, setting: &Setting, state: &Json) -> Result<Arc<dyn Feature>, String> {
    let names = state["names"].as_array().ok_or("`names` is no list")?;
    let names: Option<Vec<String>> =
        names.iter().map(|name| name.as_str().map(str::to_string)).collect();
    let names = names.filter(|names| !names.is_empty()).ok_or("`names` are no texts")?;
    let separator = state["separator"].as_str().ok_or("`separator` is no text")?.to_string();
    Ok(Arc::new(Set::new(setting.role, Words::of(args), separator, names)))
}

/// The text of a cell; empty where there is nothing.
fn text<'a>(words: &Words, cell: Cell<'a>) -> Result<std::borrow::Cow<'a, str>, Refusal> {
    Ok(words.name(cell)?.unwrap_or_default())
}

struct Fit {
    role: Role,
    words: Words,
    separator: Option<String>,
    classes: Option<Vec<String>>,
    min_count: usize,
    most: usize,
    texts: Vec<String>,
}

impl Fitting for Fit {
    fn observe(&mut self, cells: &Cells, row: usize) -> Result<(), Refusal> {
        self.texts.push(text(&self.words, cells.get(row))?.into_owned());
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Arc<dyn Feature>, String> {
        let found = || list::separator(self.texts.iter().map(String::as_str)).to_string();
        let separator = self.separator.unwrap_or_else(found);
        let mut notes = Vec::new();
        let names = match self.classes {
            Some(classes) => classes,
            None => {
                let mut counts: BTreeMap<String, usize> = BTreeMap::new();
                for text in &self.texts {
                    let items = list::items(text, &separator);
                    for item in items.map_err(|expected| format!("expected {expected}"))? {
                        *counts.entry(item.into_owned()).or_default() += 1;
                    }
                }
                let all = counts.len();
                counts.retain(|_, count| *count >= self.min_count);
                let mut names: Vec<(String, usize)> = counts.into_iter().collect();
                names.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
                names.truncate(self.most);
                if names.len() < all {
                    notes.push(format!(
                        "{} of {all} names are left out: too rare",
                        all - names.len()
                    ));
                }
                super::category::sorted({
                    let mut names: Vec<String> = names.into_iter().map(|(name, _)| name).collect();
                    names.sort();
                    names
                })
            }
        };
        if names.is_empty() {
            return Err("no name in the training split".into());
        }
        let mut set = Set::new(self.role, self.words, separator, names);
        set.notes = notes;
        Ok(Arc::new(set))
    }
}

/// A set of names on its way to the network: 0 or 1 for each.
#[derive(Clone, Debug)]
struct Set {
    role: Role,
    words: Words,
    separator: String,
    names: Vec<String>,
    numbers: BTreeMap<String, usize>,
    notes: Vec<String>,
}

impl Set {
    fn new(role: Role, words: Words, separator: String, names: Vec<String>) -> Set {
        let numbers = names.iter().cloned().zip(0..).collect();
        Set { role, words, separator, names, numbers, notes: Vec::new() }
    }
}

impl Feature for Set {
    fn stored(&self) -> (Vec<usize>, Element) {
        (vec![self.names.len()], Element::F32)
    }

    fn store(&self, cells: &Cells, row: usize, mut out: Slice<'_>) -> Result<(), Refusal> {
        let cell = cells.get(row);
        let text = text(&self.words, cell)?;
        let items = list::items(&text, &self.separator);
        let out = out.f32();
        out.fill(0.0);
        for item in items.map_err(|expected| Refusal::new(expected, cell))? {
            // What the training split did not show is nothing that the network knows of.
            if let Some(&number) = self.numbers.get(&*item) {
                out[number] = 1.0;
            }
        }
        Ok(())
    }

    fn meaning(&self) -> Meaning {
        Meaning::Numbers
    }

    fn state(&self) -> Json {
        json!({ "names": self.names, "separator": self.separator })
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }

    fn output(&self) -> Option<&dyn Output> {
        (self.role == Role::Output).then_some(self as &dyn Output)
    }
}

impl Output for Set {
    fn head(&self) -> Head {
        Head {
            shape: vec![self.names.len()],
            loss: "binary_cross_entropy_with_logits",
            metrics: &["binary_accuracy", "f1"],
        }
    }

    fn classes(&self) -> &[String] {
        &self.names
    }

    fn answer(&self, values: &[f32]) -> Answer {
        Answer::Several(values.iter().map(|value| 1.0 / (1.0 + (-value).exp())).collect())
    }

    fn truth(&self, stored: &Values, row: usize) -> Answer {
        let Values::F32(values) = stored else { unreachable!("sets are stored as f32") };
        let len = self.names.len();
        Answer::Several(values[row * len..(row + 1) * len].to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{fit, fit_error, stored, texts};
    use super::*;

    #[test]
    fn each_name_has_a_place() {
        let seen = texts(&["b|a", "a", "", "c | a"]);
        let feature = fit("set", &[], Role::Input, &seen);
        assert_eq!(feature.state()["names"], json!(["a", "b", "c"]));
        for (row, expected) in
            [[1.0f32, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0; 3], [1.0, 0.0, 1.0]].into_iter().enumerate()
        {
            assert_eq!(stored(&*feature, &seen, row), Ok(expected.to_vec().into()));
        }
        let new = texts(&["z|c", "[\"b\", \"c\"]"]);
        assert_eq!(stored(&*feature, &new, 0), Ok(vec![0.0f32, 0.0, 1.0].into()));
        assert_eq!(stored(&*feature, &new, 1), Ok(vec![0.0f32, 1.0, 1.0].into()));
        assert!(stored(&*feature, &texts(&["[{}]"]), 0).is_err());
    }

    #[test]
    fn rare_names_are_left_out() {
        let seen = texts(&["a,b", "a,b", "a,c"]);
        let feature = fit("set", &[("min_count", "2")], Role::Input, &seen);
        assert_eq!(feature.state()["names"], json!(["a", "b"]));
        assert_eq!(feature.notes(), ["1 of 3 names are left out: too rare"]);
        let feature = fit("set", &[("max_names", "1")], Role::Input, &seen);
        assert_eq!(feature.state()["names"], json!(["a"]));
        assert!(fit_error("set", &[], Role::Input, &texts(&["", ""])).contains("no name"));
    }

    #[test]
    fn answers_are_a_probability_for_each_name() {
        let seen = texts(&["a b", "b"]);
        let feature = fit("set", &[], Role::Output, &seen);
        let output = feature.output().unwrap();
        assert_eq!(
            (output.classes(), output.head().shape),
            (&["a".to_string(), "b".into()][..], vec![2])
        );
        assert_eq!(output.answer(&[0.0, 100.0]), Answer::Several(vec![0.5, 1.0]));
        let truth = output.truth(&vec![0.0f32, 1.0, 1.0, 0.0].into(), 1);
        assert_eq!(truth, Answer::Several(vec![1.0, 0.0]));
    }
}
