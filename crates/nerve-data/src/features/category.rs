//! `category`: one of a number of names.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use nerve_formats::Meaning;
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};
use serde_json::{Value as Json, json};

use super::cell::{NAME_NA, Words, above};
use super::missing::{self, Missing};
use super::{Answer, Entry, Feature, Fitting, Guess, Head, Output, Refusal, Role, Room, Setting};
use crate::table::augment::Disturbance;
use crate::{Cell, Cells, Column, Element, Random, Slice, Values};

pub(super) const ENTRY: Entry = Entry { spec: &SPEC, infer, begin, restore };

static SPEC: Spec = Spec {
    name: "category",
    aliases: &[],
    peers: Peers::of("", "layers.StringLookup"),
    doc: "One of the names that the training split shows.",
    params: &[
        Param::optional(
            "classes",
            Kind::List { of: &Kind::Text, min_len: 2, max_len: 1 << 20 },
            "the names, in the order of their numbers; without it those of the training split, sorted",
        ),
        Param::optional(
            "order",
            Kind::List { of: &Kind::Text, min_len: 2, max_len: 1 << 20 },
            "the names from the least to the greatest, where they are steps; an output is then also judged by distance",
        ),
        Param::with_default(
            "min_count",
            Kind::count(),
            Value::Int(1),
            "names that the training split shows less often are unknown",
        ),
        Param::optional("others", Kind::Text, "the class that an output gives all other names"),
        missing::NAMES,
        NAME_NA,
        Param::with_default(
            "unknown",
            Kind::Choice(&["train", "error"]),
            Value::text("train"),
            "a name that an input has not seen in training is an entry of its own, which `mask` trains, or an error",
        ),
        Param::with_default(
            "mask",
            Kind::fraction(),
            Value::Float(0.01),
            "the share of the training examples whose name is hidden, so that the network learns what unknown means",
        ),
        Param::optional(
            "augment",
            Kind::List { of: &AUGMENTATION, min_len: 0, max_len: 100 },
            "random changes to training rows: names of other rows",
        ),
    ],
};

const AUGMENTATION: Kind =
    Kind::Item { what: "augmentation of categories", specs: crate::table::augment::of_categories };

/// What an input becomes whose name the training split did not show.
pub(super) const UNKNOWN: &str = "(unknown)";
/// What an input becomes that has no name, where the training split shows such rows.
const MISSING: &str = "(missing)";

fn infer(column: &Column) -> Option<Guess> {
    let words = Words::of_numbers();
    let mut names = BTreeMap::new();
    for row in 0..column.cells.len() {
        if let Some(name) = words.name(column.cells.get(row)).ok()? {
            *names.entry(name).or_insert(0usize) += 1;
        }
    }
    let rows: usize = names.values().sum();
    (names.len() >= 2 && names.len() * 2 <= rows).then(|| Guess {
        confidence: 0.5,
        reason: format!("{} different values in {rows} rows", names.len()),
    })
}

/// What is known before the data are seen.
#[derive(Clone, Debug)]
struct Reading {
    role: Role,
    words: Words,
    missing: Missing,
    /// The name that stands in for a missing one, and of the class of all others.
    constant: Option<String>,
    others: Option<String>,
    ordered: bool,
    refuses: bool,
    mask: f32,
    disturbance: Disturbance,
}

impl Reading {
    fn of(args: &Args, setting: &Setting) -> Reading {
        let output = setting.role == Role::Output;
        let way = &args.item("missing").args;
        let refuses = output || args.text("unknown") == "error";
        Reading {
            role: setting.role,
            words: Words::of(args),
            missing: Missing::of(args, setting.role),
            constant: way.has("value").then(|| way.text("value").to_string()),
            others: args.has("others").then(|| args.text("others").to_string()),
            ordered: args.has("order"),
            refuses,
            mask: if refuses { 0.0 } else { args.float("mask") as f32 },
            disturbance: Disturbance::of(args),
        }
    }

    /// The name in a cell; `None` where something stands in for it.
    fn read<'a>(&self, cell: Cell<'a>) -> Result<Option<Cow<'a, str>>, Refusal> {
        match self.words.name(cell)? {
            None if self.missing == Missing::Error => Err(Refusal::new(
                "a name (`missing` says what to do without; `drop` leaves the row out)",
                cell,
            )),
            name => Ok(name),
        }
    }

    fn leaves_out(&self, cell: Cell<'_>) -> bool {
        self.missing == Missing::Drop && self.words.name(cell) == Ok(None)
    }
}

fn begin(args: &Args, setting: &Setting) -> Result<Box<dyn Fitting>, String> {
    let reading = Reading::of(args, setting);
    let given = ["order", "classes"].into_iter().find(|key| args.has(key));
    let given = given.map(|key| args.texts(key));
    if args.has("order") && args.has("classes") {
        return Err("`order` gives the classes too: one of `order` and `classes` suffices".into());
    }
    if let Some(names) = &given
        && let Some(i) = (1..names.len()).find(|&i| names[..i].contains(&names[i]))
    {
        return Err(format!("the class `{}` is given twice", names[i]));
    }
    if setting.role == Role::Output && !reading.disturbance.is_none() {
        return Err("`augment` is for inputs: the truth stays as it is".into());
    }
    let min_count = args.usize("min_count");
    if setting.role == Role::Output && min_count > 1 && reading.others.is_none() {
        return Err("`min_count` of an output needs `others`, the class of the rarer names".into());
    }
    if setting.role == Role::Input && reading.others.is_some() {
        return Err("`others` is for outputs; other names of an input are unknown".into());
    }
    Ok(Box::new(Fit { reading, given, min_count, counts: BTreeMap::new(), missing: 0 }))
}

fn restore(args: &Args, setting: &Setting, state: &Json) -> Result<Arc<dyn Feature>, String> {
    let names = state["names"].as_array().ok_or("`names` is no list")?;
    let names: Option<Vec<String>> =
        names.iter().map(|name| name.as_str().map(str::to_string)).collect();
    let names = names.filter(|names| !names.is_empty()).ok_or("`names` are no texts")?;
    let fill = state["fill"].as_u64().filter(|&fill| fill < names.len() as u64);
    let fill = fill.ok_or("`fill` is no number of a name")? as i32;
    Ok(Arc::new(Category::new(Reading::of(args, setting), names, fill)))
}

struct Fit {
    reading: Reading,
    given: Option<Vec<String>>,
    min_count: usize,
    counts: BTreeMap<String, usize>,
    missing: usize,
}

impl Fitting for Fit {
    fn leaves_out(&self, cells: &Cells, row: usize) -> bool {
        self.reading.leaves_out(cells.get(row))
    }

    fn observe(&mut self, cells: &Cells, row: usize) -> Result<(), Refusal> {
        let Some(name) = self.reading.read(cells.get(row))? else {
            self.missing += 1;
            return Ok(());
        };
        match self.counts.get_mut(&*name) {
            Some(count) => *count += 1,
            None => drop(self.counts.insert(name.into_owned(), 1)),
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Arc<dyn Feature>, String> {
        let Fit { reading, given, min_count, mut counts, missing } = *self;
        let most = counts.iter().max_by(|a, b| a.1.cmp(b.1).then(b.0.cmp(a.0)));
        let most = most.map(|(name, _)| name.clone());
        let mut notes = Vec::new();
        if let Some((name, count)) = counts.iter().next().filter(|_| counts.len() == 1) {
            notes.push(format!("constant: all {count} names of the training split are `{name}`"));
        }
        let given_names = given.is_some();
        let mut names = given.unwrap_or_else(|| {
            counts.retain(|_, count| *count >= min_count);
            sorted(counts.keys().cloned().collect())
        });
        if given_names && reading.role == Role::Output && reading.others.is_none() {
            let absent: Vec<&String> =
                names.iter().filter(|name| !counts.contains_key(*name)).collect();
            if !absent.is_empty() {
                notes.push(format!("the training split shows no example of {absent:?}"));
            }
        }
        if reading.role == Role::Input {
            names.retain(|name| name != UNKNOWN && name != MISSING);
            let own = reading.missing == Missing::Category && missing > 0;
            let special = [(!reading.refuses, UNKNOWN), (own, MISSING)];
            let special = special.into_iter().filter(|(wanted, _)| *wanted);
            names.splice(0..0, special.map(|(_, name)| name.to_string()));
        } else {
            names.extend(reading.others.clone().filter(|others| !names.contains(others)));
            if names.len() < 2 {
                return Err(format!("a single class, {names:?}: there is nothing to learn"));
            }
        }
        let stand_in = match reading.missing {
            Missing::Const => reading.constant.clone(),
            Missing::Category => Some(MISSING.to_string()),
            _ => most,
        };
        let place = names.iter().position(|name| Some(name) == stand_in.as_ref());
        if let (None, Missing::Const, Some(name)) = (place, reading.missing, &stand_in) {
            return Err(format!("`{name}` stands in for missing names, but is none of the names"));
        }
        if names.is_empty() {
            return Err("no name in the training split".into());
        }
        // Without an entry of its own a missing name is as good as unknown.
        let mut feature = Category::new(reading, names, place.unwrap_or(0) as i32);
        feature.notes = notes;
        Ok(Arc::new(feature))
    }
}

/// In the order of people: numbers by their value.
pub(super) fn sorted(mut names: Vec<String>) -> Vec<String> {
    if names.iter().all(|name| name.parse::<f64>().is_ok_and(f64::is_finite)) {
        let value = |name: &String| name.parse::<f64>().unwrap_or(0.0);
        names.sort_by(|a, b| value(a).total_cmp(&value(b)).then(a.cmp(b)));
    }
    names
}

/// One of a number of names on its way to the network: its number.
#[derive(Clone, Debug)]
struct Category {
    reading: Reading,
    names: Arc<[String]>,
    numbers: BTreeMap<String, i32>,
    /// The number that stands in for a missing name.
    fill: i32,
    notes: Vec<String>,
}

impl Category {
    fn new(reading: Reading, names: Vec<String>, fill: i32) -> Category {
        let numbers = names.iter().cloned().zip(0..).collect();
        Category { reading, names: names.into(), numbers, fill, notes: Vec::new() }
    }

    fn number(&self, name: &str, cell: Cell<'_>) -> Result<i32, Refusal> {
        let known = self.numbers.get(name).copied();
        let others =
            || self.reading.others.as_ref().and_then(|name| self.numbers.get(name).copied());
        match known.or_else(others) {
            Some(number) => Ok(number),
            None if !self.reading.refuses => Ok(0),
            None => {
                let some: Vec<&str> = self.names.iter().take(8).map(String::as_str).collect();
                let more = if self.names.len() > 8 { ", ..." } else { "" };
                Err(Refusal::new(format!("one of {}{more}", some.join(", ")), cell))
            }
        }
    }
}

impl Feature for Category {
    fn stored(&self) -> (Vec<usize>, Element) {
        (Vec::new(), Element::I32)
    }

    fn leaves_out(&self, cells: &Cells, row: usize) -> bool {
        self.reading.leaves_out(cells.get(row))
    }

    fn store(&self, cells: &Cells, row: usize, mut out: Slice<'_>) -> Result<(), Refusal> {
        let cell = cells.get(row);
        out.i32()[0] = match self.reading.read(cell)? {
            Some(name) => self.number(&name, cell)?,
            None if self.reading.missing == Missing::Ffill => {
                let known =
                    |cell: Cell<'_>| self.number(&self.reading.read(cell).ok()??, cell).ok();
                above(cells, row, known).unwrap_or(self.fill)
            }
            None => self.fill,
        };
        Ok(())
    }

    fn delivers(&self) -> bool {
        self.reading.mask > 0.0
    }

    fn deliver(&self, stored: &Values, mut out: Slice<'_>, random: Option<Random>, _: &mut Room) {
        let Values::I32(values) = stored else { unreachable!("names are stored as i32") };
        let hidden = random.is_some_and(|mut random| random.chance(self.reading.mask));
        out.i32()[0] = if hidden { 0 } else { values[0] };
    }

    fn disturbance(&self) -> Disturbance {
        self.reading.disturbance
    }

    fn meaning(&self) -> Meaning {
        Meaning::Category { names: self.names.clone() }
    }

    fn state(&self) -> Json {
        json!({ "names": &self.names[..], "fill": self.fill })
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }

    fn output(&self) -> Option<&dyn Output> {
        (self.reading.role == Role::Output).then_some(self as &dyn Output)
    }
}

impl Output for Category {
    fn head(&self) -> Head {
        let metrics: &[&str] =
            if self.reading.ordered { &["accuracy", "kappa"] } else { &["accuracy"] };
        Head { shape: vec![self.names.len()], loss: "cross_entropy", metrics }
    }

    fn classes(&self) -> &[String] {
        &self.names
    }

    fn is_ordered(&self) -> bool {
        self.reading.ordered
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

#[cfg(test)]
mod tests {
    use super::super::testing::{fit, fit_error, stored, texts};
    use super::*;

    fn names(feature: &dyn Feature) -> Vec<String> {
        match feature.meaning() {
            Meaning::Category { names } => names.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    fn number(feature: &dyn Feature, text: &str) -> Result<i32, Refusal> {
        match stored(feature, &texts(&[text]), 0)? {
            Values::I32(values) => Ok(values[0]),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn names_are_sorted_as_people_do() {
        let feature = fit("category", &[], Role::Output, &texts(&["10", "9", "9.0", "-1"]));
        assert_eq!(names(&*feature), ["-1", "9", "10"]);
        let feature = fit("category", &[], Role::Input, &texts(&["b", "a", "10"]));
        assert_eq!(names(&*feature), ["(unknown)", "10", "a", "b"]);
        assert_eq!(number(&*feature, "a"), Ok(2));
    }

    #[test]
    fn c15_what_training_did_not_show_is_unknown_or_refused() {
        let seen = texts(&["a", "a", "b", "b", "c"]);
        let feature = fit("category", &[("min_count", "2")], Role::Input, &seen);
        assert_eq!(names(&*feature), ["(unknown)", "a", "b"]);
        assert_eq!([number(&*feature, "c"), number(&*feature, "new")], [Ok(0), Ok(0)]);
        let feature = fit("category", &[("unknown", "error")], Role::Input, &seen);
        assert_eq!(names(&*feature), ["a", "b", "c"]);
        let refusal = number(&*feature, "new").unwrap_err();
        assert_eq!((&refusal.expected[..], &refusal.found[..]), ("one of a, b, c", "`new`"));
        let feature = fit("category", &[], Role::Output, &seen);
        assert!(number(&*feature, "new").is_err());
        let feature =
            fit("category", &[("min_count", "2"), ("others", "rest")], Role::Output, &seen);
        assert_eq!(names(&*feature), ["a", "b", "rest"]);
        assert_eq!([number(&*feature, "c"), number(&*feature, "new")], [Ok(2), Ok(2)]);
    }

    #[test]
    fn missing_names_are_a_category_of_their_own() {
        let seen = texts(&["a", "", "b", "b"]);
        let feature = fit("category", &[], Role::Input, &seen);
        assert_eq!(names(&*feature), ["(unknown)", "(missing)", "a", "b"]);
        assert_eq!(number(&*feature, " "), Ok(1));
        let feature = fit("category", &[("missing", "mode")], Role::Input, &seen);
        assert_eq!(number(&*feature, ""), Ok(2));
        let way = "{ type = \"const\", value = \"a\" }";
        assert_eq!(number(&*fit("category", &[("missing", way)], Role::Input, &seen), ""), Ok(1));
        let way = "{ type = \"const\", value = \"z\" }";
        assert!(fit_error("category", &[("missing", way)], Role::Input, &seen).contains("`z`"));
        let feature = fit("category", &[("missing", "ffill")], Role::Input, &seen);
        assert_eq!(stored(&*feature, &seen, 1), Ok(vec![1].into()));
        let feature = fit("category", &[("missing", "drop")], Role::Output, &seen);
        assert!(feature.leaves_out(&seen, 1) && !feature.leaves_out(&seen, 0));
        let error = fit_error("category", &[], Role::Output, &seen);
        assert!(error.contains("row 1") && error.contains("`drop`"), "{error}");
        // Nothing missing in training: then it is as good as unknown.
        let feature = fit("category", &[], Role::Input, &texts(&["a", "b"]));
        assert_eq!((names(&*feature).len(), number(&*feature, "")), (3, Ok(0)));
    }

    #[test]
    fn classes_can_be_given() {
        let seen = texts(&["low", "high"]);
        let feature = fit("category", &[("classes", "[low, mid, high]")], Role::Output, &seen);
        assert_eq!(names(&*feature), ["low", "mid", "high"]);
        assert_eq!(feature.notes(), ["the training split shows no example of [\"mid\"]"]);
        let feature = fit("category", &[("order", "[low, mid, high]")], Role::Output, &seen);
        let output = feature.output().unwrap();
        assert!(output.is_ordered() && output.head().metrics.contains(&"kappa"));
        for (given, part) in [
            (&[("classes", "[a, b]"), ("order", "[a, b]")][..], "suffices"),
            (&[("classes", "[a, a]")], "twice"),
            (&[("min_count", "2")], "needs `others`"),
            (&[("classes", "[low, mid]")], "row 1"),
        ] {
            let error = match part {
                "row 1" => {
                    let feature = fit("category", given, Role::Output, &texts(&["low", "mid"]));
                    format!("row 1 {:?}", stored(&*feature, &seen, 1).unwrap_err())
                }
                _ => fit_error("category", given, Role::Output, &seen),
            };
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn c16_a_single_class_cannot_be_learned() {
        let seen = texts(&["a", "a"]);
        assert!(fit_error("category", &[], Role::Output, &seen).contains("nothing to learn"));
        let feature = fit("category", &[], Role::Input, &seen);
        assert_eq!(feature.notes(), ["constant: all 2 names of the training split are `a`"]);
    }

    #[test]
    fn names_are_hidden_in_training_alone() {
        let feature = fit("category", &[("mask", "0.5")], Role::Input, &texts(&["a", "b"]));
        let delivered = |random| {
            let mut out = Values::zeros(Element::I32, 1);
            feature.deliver(&vec![2].into(), out.slice(0, 1), random, &mut Room::default());
            out == Values::from(vec![0])
        };
        let hidden = (0..1000).filter(|&i| delivered(Some(Random::keyed(&[1, i])))).count();
        assert!((450..550).contains(&hidden), "{hidden}");
        assert!(!delivered(None));
        assert!(!fit("category", &[], Role::Output, &texts(&["a", "b"])).delivers());
    }
}
