//! `id`: which user, which item, of very many.

use std::collections::HashMap;
use std::sync::Arc;

use nerve_formats::Meaning;
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};
use serde_json::{Value as Json, json};

use super::category::UNKNOWN;
use super::cell::{NAME_NA, Words};
use super::{Entry, Feature, Fitting, Guess, Refusal, Role, Room, Setting};
use crate::split::hash;
use crate::{Cells, Column, Element, Random, Slice, Values};

pub(super) const ENTRY: Entry = Entry { spec: &SPEC, infer, begin, restore };

static SPEC: Spec = Spec {
    name: "id",
    aliases: &[],
    peers: Peers::of("", "layers.StringLookup"),
    doc: "Which one of very many, a user or an item: each has an embedding of its own.",
    params: &[
        Param::with_default(
            "unknown",
            Kind::Text,
            Value::text("hash:16"),
            "an id that training has not seen: \"hash:N\" shares N entries among them, \"error\" refuses it",
        ),
        Param::with_default(
            "min_count",
            Kind::count(),
            Value::Int(1),
            "ids that the training split shows less often are unknown",
        ),
        Param::with_default(
            "mask",
            Kind::fraction(),
            Value::Float(0.01),
            "the share of the training examples whose id counts as unknown, so that these entries are trained",
        ),
        NAME_NA,
    ],
};

fn infer(column: &Column) -> Option<Guess> {
    let name = column.name.to_lowercase();
    let called = ["user", "item", "id", "customer", "movie", "product"];
    let called = called.iter().any(|word| {
        name == *word
            || name.ends_with(&format!("_{word}"))
            || name == format!("{word}id")
            || name == format!("{word}_id")
    });
    if !called {
        return None;
    }
    let words = Words::of_names();
    let mut counts: HashMap<String, usize> = HashMap::new();
    for row in 0..column.cells.len() {
        if let Some(name) = words.name(column.cells.get(row)).ok()? {
            *counts.entry(name.into_owned()).or_default() += 1;
        }
    }
    let rows: usize = counts.values().sum();
    // Seen again and again: else there is nothing to learn of one.
    (counts.len() > 20 && counts.len() * 3 <= rows).then(|| Guess {
        confidence: 0.65,
        reason: format!("{} different ids in {rows} rows, by its name", counts.len()),
    })
}

/// How many entries unknown ids share; none: they are refused.
fn shared(args: &Args) -> Result<usize, String> {
    let text = args.text("unknown");
    if text == "error" {
        return Ok(0);
    }
    let count = text.strip_prefix("hash:").and_then(|count| count.parse().ok());
    count.filter(|count| (1..=1 << 20).contains(count)).ok_or_else(|| {
        format!(
            "`unknown`: expected \"error\" or \"hash:N\" with N from 1 to 1048576, found {text:?}"
        )
    })
}

fn begin(args: &Args, setting: &Setting) -> Result<Box<dyn Fitting>, String> {
    if setting.role == Role::Output {
        return Err("an id is no output; a category is".into());
    }
    Ok(Box::new(Fit {
        words: Words::of(args),
        shared: shared(args)?,
        mask: args.float("mask") as f32,
        min_count: args.usize("min_count"),
        counts: HashMap::new(),
    }))
}

fn restore(args: &Args, _: &Setting, state: &Json) -> Result<Arc<dyn Feature>, String> {
    let ids = state["ids"].as_array().ok_or("`ids` is no list")?;
    let ids: Option<Vec<String>> = ids.iter().map(|id| id.as_str().map(str::to_string)).collect();
    let ids = ids.ok_or("an id is no text")?;
    Ok(Arc::new(Id::new(Words::of(args), shared(args)?, args.float("mask") as f32, ids)))
}

struct Fit {
    words: Words,
    shared: usize,
    mask: f32,
    min_count: usize,
    counts: HashMap<String, usize>,
}

impl Fitting for Fit {
    fn observe(&mut self, cells: &Cells, row: usize) -> Result<(), Refusal> {
        let cell = cells.get(row);
        match self.words.name(cell)? {
            Some(name) => *self.counts.entry(name.into_owned()).or_default() += 1,
            None if self.shared == 0 => return Err(Refusal::new("an id", cell)),
            None => {}
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Arc<dyn Feature>, String> {
        let enough = self.counts.into_iter().filter(|(_, count)| *count >= self.min_count);
        let mut ids: Vec<String> = enough.map(|(id, _)| id).collect();
        ids.sort();
        if ids.is_empty() {
            return Err("no id in the training split".into());
        }
        Ok(Arc::new(Id::new(self.words, self.shared, self.mask, ids)))
    }
}

/// An id on its way to the network: its number; those of unknown ones come first.
#[derive(Clone, Debug)]
struct Id {
    words: Words,
    shared: usize,
    mask: f32,
    names: Arc<[String]>,
    numbers: HashMap<String, i32>,
}

impl Id {
    fn new(words: Words, shared: usize, mask: f32, ids: Vec<String>) -> Id {
        let numbers = ids.iter().cloned().zip(shared as i32..).collect();
        let unknown = (0..shared).map(|i| format!("{UNKNOWN} {i}"));
        let mask = if shared == 0 { 0.0 } else { mask };
        Id { words, shared, mask, names: unknown.chain(ids).collect(), numbers }
    }

    /// The entry that an id shares that is not known.
    fn entry(&self, id: &str) -> i32 {
        (hash(id.as_bytes()) % self.shared.max(1) as u64) as i32
    }
}

impl Feature for Id {
    fn stored(&self) -> (Vec<usize>, Element) {
        (Vec::new(), Element::I32)
    }

    fn store(&self, cells: &Cells, row: usize, mut out: Slice<'_>) -> Result<(), Refusal> {
        let cell = cells.get(row);
        let id = self.words.name(cell)?.unwrap_or_default();
        out.i32()[0] = match self.numbers.get(&*id) {
            Some(number) => *number,
            None if self.shared == 0 => {
                return Err(Refusal::new("an id that the training split shows", cell));
            }
            None => self.entry(&id),
        };
        Ok(())
    }

    fn delivers(&self) -> bool {
        self.mask > 0.0
    }

    fn deliver(&self, stored: &Values, mut out: Slice<'_>, random: Option<Random>, _: &mut Room) {
        let Values::I32(values) = stored else { unreachable!("ids are stored as i32") };
        let number = values[0];
        let hidden = random.is_some_and(|mut random| random.chance(self.mask));
        let entry = || self.names.get(number as usize).map_or(0, |id| self.entry(id));
        out.i32()[0] = if hidden { entry() } else { number };
    }

    fn meaning(&self) -> Meaning {
        Meaning::Category { names: self.names.clone() }
    }

    fn state(&self) -> Json {
        json!({ "ids": &self.names[self.shared..] })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{fit, fit_error, stored, texts};
    use super::*;

    fn number(feature: &dyn Feature, text: &str) -> i32 {
        match stored(feature, &texts(&[text]), 0).unwrap() {
            Values::I32(values) => values[0],
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn unknown_ids_share_entries() {
        let seen = texts(&["u7", "u2", "u7", "u9"]);
        let feature = fit("id", &[("unknown", "hash:4"), ("min_count", "1")], Role::Input, &seen);
        assert_eq!(["u2", "u7", "u9"].map(|id| number(&*feature, id)), [4, 5, 6]);
        let unknown: Vec<i32> = (0..100).map(|i| number(&*feature, &format!("new{i}"))).collect();
        assert!((0..4).all(|entry| unknown.contains(&entry)) && unknown.iter().all(|&n| n < 4));
        assert_eq!(unknown[3], number(&*feature, "new3"), "the same each time");
        assert!(number(&*feature, "") < 4);
        let Meaning::Category { names } = feature.meaning() else { panic!() };
        assert_eq!((names.len(), &names[4][..]), (7, "u2"));
        let feature = fit("id", &[("min_count", "2")], Role::Input, &seen);
        assert_eq!(number(&*feature, "u7"), 16);
    }

    #[test]
    fn hidden_ids_train_the_entry_that_they_would_share() {
        let feature = fit("id", &[("mask", "0.9")], Role::Input, &texts(&["a", "b"]));
        let stored: Values = vec![17].into();
        let mut found = std::collections::BTreeSet::new();
        for i in 0..50 {
            let mut out = Values::zeros(Element::I32, 1);
            let random = Some(Random::keyed(&[i]));
            feature.deliver(&stored, out.slice(0, 1), random, &mut Room::default());
            let Values::I32(values) = out else { panic!() };
            found.insert(values[0]);
        }
        assert_eq!(found, [(hash(b"b") % 16) as i32, 17].into());
    }

    #[test]
    fn c15_ids_can_be_refused() {
        let feature = fit("id", &[("unknown", "error")], Role::Input, &texts(&["a", "b"]));
        assert_eq!(number(&*feature, "a"), 0);
        assert!(stored(&*feature, &texts(&["c"]), 0).is_err() && !feature.delivers());
        assert!(
            fit_error("id", &[("unknown", "hash:0")], Role::Input, &texts(&["a"]))
                .contains("hash:N")
        );
        assert!(fit_error("id", &[], Role::Output, &texts(&["a"])).contains("no output"));
        assert!(fit_error("id", &[], Role::Input, &texts(&[""])).contains("no id"));
    }
}
