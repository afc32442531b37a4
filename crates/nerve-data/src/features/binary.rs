//! `binary`: one of two names, yes or no.

use std::sync::Arc;

use nerve_formats::Meaning;
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};
use serde_json::{Value as Json, json};

use super::category::sorted;
use super::cell::{NUMBER_NA, Words, above};
use super::missing::{self, Missing};
use super::{Answer, Entry, Feature, Fitting, Guess, Head, Output, Refusal, Role, Setting};
use crate::{Cell, Cells, Column, Element, Slice, Values};

pub(super) const ENTRY: Entry = Entry { spec: &SPEC, infer, begin, restore };

static SPEC: Spec = Spec {
    name: "binary",
    aliases: &["boolean"],
    peers: Peers::NONE,
    doc: "One of two names: yes or no.",
    params: &[
        Param::optional(
            "positive",
            Kind::Text,
            "the name that is a yes; without it: yes, true, 1 and the like, or the later of the two in order",
        ),
        missing::NUMBERS,
        missing::FLAG,
        NUMBER_NA,
        Param::with_default(
            "unknown",
            Kind::Choice(&["missing", "error"]),
            Value::text("missing"),
            "a third name in an input, after training, counts as missing, or is an error",
        ),
        Param::with_default(
            "threshold",
            Kind::OneOf(&[Kind::float(0.0, 1.0), Kind::Choice(&["max_f1", "youden"])]),
            Value::Float(0.5),
            "the probability from which an output is a yes; a word: chosen on the validation split after training",
        ),
    ],
};

/// A no and its yes, in lower case.
const PAIRS: [(&str, &str); 12] = [
    ("0", "1"),
    ("-1", "1"),
    ("no", "yes"),
    ("n", "y"),
    ("false", "true"),
    ("f", "t"),
    ("off", "on"),
    ("negative", "positive"),
    ("neg", "pos"),
    ("absent", "present"),
    ("normal", "abnormal"),
    ("ham", "spam"),
];

fn infer(column: &Column) -> Option<Guess> {
    let words = Words::of_numbers();
    let mut names: Vec<String> = Vec::new();
    let mut rows = 0usize;
    for row in 0..column.cells.len() {
        let Some(name) = words.name(column.cells.get(row)).ok()? else { continue };
        rows += 1;
        if !names.iter().any(|known| *known == name) {
            names.push(name.into_owned());
        }
        if names.len() > 2 {
            return None;
        }
    }
    let pair = <[String; 2]>::try_from(sorted({
        names.sort();
        names
    }));
    let [no, yes] = in_order(pair.ok()?);
    let known = known_pair(&no, &yes);
    Some(Guess {
        confidence: if known { 0.9 } else { 0.7 },
        reason: format!("all {rows} values are `{no}` or `{yes}`"),
    })
}

fn known_pair(no: &str, yes: &str) -> bool {
    let pair = (&no.to_lowercase()[..], &yes.to_lowercase()[..]);
    PAIRS.contains(&pair)
}

/// A no and its yes.
fn in_order([a, b]: [String; 2]) -> [String; 2] {
    if known_pair(&b, &a) { [b, a] } else { [a, b] }
}

/// What is known before the data are seen.
#[derive(Clone, Debug)]
struct Reading {
    role: Role,
    words: Words,
    missing: Missing,
    refuses: bool,
}

impl Reading {
    fn of(args: &Args, setting: &Setting) -> Reading {
        Reading {
            role: setting.role,
            words: Words::of(args),
            missing: Missing::of(args, setting.role),
            refuses: setting.role == Role::Output || args.text("unknown") == "error",
        }
    }

    fn leaves_out(&self, cell: Cell<'_>) -> bool {
        self.missing == Missing::Drop && self.words.name(cell) == Ok(None)
    }

    fn refuse_missing(&self, cell: Cell<'_>) -> Result<(), Refusal> {
        match self.missing {
            Missing::Error => Err(Refusal::new(
                "a yes or a no (`missing` says what to do without; `drop` leaves the row out)",
                cell,
            )),
            _ => Ok(()),
        }
    }
}

fn begin(args: &Args, setting: &Setting) -> Result<Box<dyn Fitting>, String> {
    let constant = &args.item("missing").args;
    Ok(Box::new(Fit {
        reading: Reading::of(args, setting),
        positive: args.has("positive").then(|| args.text("positive").to_string()),
        constant: constant.has("value").then(|| constant.float("value")),
        flag: args.has("missing_flag").then(|| args.bool("missing_flag")),
        threshold: match args.get("threshold") {
            Some(Value::Float(threshold)) => *threshold,
            // Until it is chosen.
            _ => 0.5,
        },
        seen: Vec::new(),
        missing: 0,
    }))
}

fn restore(args: &Args, setting: &Setting, state: &Json) -> Result<Arc<dyn Feature>, String> {
    let name = |i: usize| state["names"][i].as_str().map(str::to_string);
    let share = |key: &str| {
        let number = state[key].as_f64().filter(|number| number.is_finite());
        number.ok_or_else(|| format!("`{key}` is no number"))
    };
    Ok(Arc::new(Binary {
        reading: Reading::of(args, setting),
        names: name(0).zip(name(1)).map(|(no, yes)| [no, yes]).ok_or("`names` are no two texts")?,
        fill: share("fill")? as f32,
        flag: state["flag"].as_bool().ok_or("`flag` is neither true nor false")?,
        threshold: share("threshold")?,
        notes: Vec::new(),
    }))
}

struct Fit {
    reading: Reading,
    positive: Option<String>,
    constant: Option<f64>,
    flag: Option<bool>,
    threshold: f64,
    /// Each name with how often it was seen.
    seen: Vec<(String, usize)>,
    missing: usize,
}

impl Fitting for Fit {
    fn leaves_out(&self, cells: &Cells, row: usize) -> bool {
        self.reading.leaves_out(cells.get(row))
    }

    fn observe(&mut self, cells: &Cells, row: usize) -> Result<(), Refusal> {
        let cell = cells.get(row);
        let Some(name) = self.reading.words.name(cell)? else {
            self.missing += 1;
            return self.reading.refuse_missing(cell);
        };
        if let Some((_, count)) = self.seen.iter_mut().find(|(known, _)| *known == name) {
            *count += 1;
        } else if let [(a, _), (b, _)] = &self.seen[..] {
            let expected =
                format!("`{a}` or `{b}`, as in the rows before (or the type `category`)");
            return Err(Refusal::new(expected, cell));
        } else {
            self.seen.push((name.into_owned(), 1));
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Arc<dyn Feature>, String> {
        let names = self.names()?;
        let share = |name: &str| {
            let count = |(known, count): &(String, usize)| if known == name { *count } else { 0 };
            self.seen.iter().map(count).sum::<usize>() as f64
        };
        let (no, yes) = (share(&names[0]), share(&names[1]));
        let mut notes = Vec::new();
        if self.positive.is_none() && !known_pair(&names[0], &names[1]) {
            notes.push(format!(
                "`{}` counts as yes and `{}` as no; `positive` says otherwise",
                names[1], names[0]
            ));
        }
        if no * yes == 0.0 {
            let only = if no == 0.0 { &names[1] } else { &names[0] };
            notes.push(format!("constant: all values of the training split are `{only}`"));
        }
        let fills = self.reading.missing.fills();
        Ok(Arc::new(Binary {
            fill: match self.reading.missing {
                Missing::Median | Missing::Mode => f32::from(u8::from(yes > no)),
                Missing::Const => self.constant.unwrap_or(0.0) as f32,
                _ => (yes / (no + yes)) as f32,
            },
            flag: fills && self.flag.unwrap_or(self.missing > 0),
            threshold: self.threshold,
            reading: self.reading,
            names,
            notes,
        }))
    }
}

impl Fit {
    /// The no and the yes.
    fn names(&self) -> Result<[String; 2], String> {
        let mut seen: Vec<String> = self.seen.iter().map(|(name, _)| name.clone()).collect();
        seen.sort();
        let seen = sorted(seen);
        match (&seen[..], &self.positive) {
            ([], _) => Err("no value in the training split".into()),
            ([only], None) => {
                let pairs = PAIRS.iter().copied();
                // A constant input: what the other name would be is a guess, but harmless.
                let lower = only.to_lowercase();
                let other = pairs.into_iter().find_map(|(no, yes)| {
                    (no == lower)
                        .then_some([only.clone(), yes.to_string()])
                        .or_else(|| (yes == lower).then(|| [no.to_string(), only.clone()]))
                });
                match (self.reading.role, other) {
                    (Role::Input, Some(names)) => Ok(names),
                    (Role::Input, None) => Ok([format!("not {only}"), only.clone()]),
                    _ => Err(format!("a single class, `{only}`: there is nothing to learn")),
                }
            }
            ([only], Some(_)) if self.reading.role == Role::Output => {
                Err(format!("a single class, `{only}`: there is nothing to learn"))
            }
            ([only], Some(positive)) if only == positive => {
                Ok([format!("not {only}"), only.clone()])
            }
            ([only], Some(positive)) => Ok([only.clone(), positive.clone()]),
            ([a, b], None) => Ok(in_order([a.clone(), b.clone()])),
            ([a, b], Some(positive)) if b == positive => Ok([a.clone(), b.clone()]),
            ([a, b], Some(positive)) if a == positive => Ok([b.clone(), a.clone()]),
            (_, Some(positive)) => {
                Err(format!("`positive` is `{positive}`, but the names are {}", seen.join(", ")))
            }
            _ => unreachable!("a third name was refused"),
        }
    }
}

/// A yes or no on its way to the network: 1 or 0.
#[derive(Clone, Debug)]
struct Binary {
    reading: Reading,
    /// The no and the yes.
    names: [String; 2],
    /// What stands in for a missing one.
    fill: f32,
    /// Whether a second value says that it is missing.
    flag: bool,
    /// The probability from which an answer is a yes.
    threshold: f64,
    notes: Vec<String>,
}

impl Binary {
    /// 0 or 1, `None` where something stands in for it.
    fn read(&self, cell: Cell<'_>) -> Result<Option<f32>, Refusal> {
        let [no, yes] = &self.names;
        match self.reading.words.name(cell)? {
            Some(name) if name == *yes => Ok(Some(1.0)),
            Some(name) if name == *no => Ok(Some(0.0)),
            Some(_) if self.reading.refuses || !self.reading.missing.fills() => {
                Err(Refusal::new(format!("`{no}` or `{yes}`"), cell))
            }
            Some(_) => Ok(None),
            None => self.reading.refuse_missing(cell).map(|()| None),
        }
    }
}

impl Feature for Binary {
    fn stored(&self) -> (Vec<usize>, Element) {
        (vec![1 + usize::from(self.flag)], Element::F32)
    }

    fn leaves_out(&self, cells: &Cells, row: usize) -> bool {
        self.reading.leaves_out(cells.get(row))
    }

    fn store(&self, cells: &Cells, row: usize, mut out: Slice<'_>) -> Result<(), Refusal> {
        let found = self.read(cells.get(row))?;
        let stand_in = || match self.reading.missing {
            Missing::Ffill => above(cells, row, |cell| self.read(cell).ok().flatten()),
            _ => None,
        };
        let out = out.f32();
        out[0] = found.or_else(stand_in).unwrap_or(self.fill);
        if self.flag {
            out[1] = f32::from(u8::from(found.is_none()));
        }
        Ok(())
    }

    fn meaning(&self) -> Meaning {
        Meaning::Numbers
    }

    fn state(&self) -> Json {
        json!({
            "names": self.names, "fill": self.fill, "flag": self.flag, "threshold": self.threshold
        })
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }

    fn output(&self) -> Option<&dyn Output> {
        (self.reading.role == Role::Output).then_some(self as &dyn Output)
    }
}

impl Output for Binary {
    fn head(&self) -> Head {
        let metrics = &["binary_accuracy", "roc_auc"];
        Head { shape: vec![1], loss: "binary_cross_entropy_with_logits", metrics }
    }

    fn classes(&self) -> &[String] {
        &self.names
    }

    fn threshold(&self) -> Option<f64> {
        Some(self.threshold)
    }

    fn answer(&self, values: &[f32]) -> Answer {
        let yes = 1.0 / (1.0 + (-values[0]).exp());
        Answer::Classes(vec![1.0 - yes, yes])
    }

    fn truth(&self, stored: &Values, row: usize) -> Answer {
        let Values::F32(values) = stored else { unreachable!("yes and no are stored as f32") };
        Answer::Classes(vec![1.0 - values[row], values[row]])
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{fit, fit_error, stored, texts};
    use super::*;

    fn names(feature: &dyn Feature) -> Vec<String> {
        feature.output().expect("an output").classes().to_vec()
    }

    #[test]
    fn both_names_are_found() {
        for (seen, expected) in [
            (["1", "0"], ["0", "1"]),
            (["Yes", "No"], ["No", "Yes"]),
            (["true", "false"], ["false", "true"]),
            (["on", "off"], ["off", "on"]),
            (["2", "10"], ["2", "10"]),
            (["good", "bad"], ["bad", "good"]),
        ] {
            let feature = fit("binary", &[], Role::Output, &texts(&seen));
            assert_eq!(names(&*feature), expected);
        }
        let feature = fit("binary", &[], Role::Output, &texts(&["good", "bad"]));
        assert!(feature.notes()[0].starts_with("`good` counts as yes"), "{:?}", feature.notes());
        let feature = fit("binary", &[("positive", "bad")], Role::Output, &texts(&["good", "bad"]));
        assert_eq!(names(&*feature), ["good", "bad"]);
        assert!(feature.notes().is_empty());
        assert_eq!(stored(&*feature, &texts(&["bad"]), 0), Ok(vec![1.0f32].into()));
        let numbers = Cells::Numbers(vec![0.0, 1.0]);
        let feature = fit("binary", &[("positive", "\"1\"")], Role::Output, &numbers);
        assert_eq!(stored(&*feature, &texts(&["1.0"]), 0), Ok(vec![1.0f32].into()));
    }

    #[test]
    fn a_third_name_is_no_yes_or_no() {
        let error = fit_error("binary", &[], Role::Output, &texts(&["a", "b", "c"]));
        assert!(error.contains("`category`") && error.contains("row 2"), "{error}");
        let error = fit_error("binary", &[("positive", "x")], Role::Output, &texts(&["a", "b"]));
        assert!(error.contains("names are a, b"), "{error}");
        let output = fit("binary", &[], Role::Output, &texts(&["a", "b"]));
        assert_eq!(stored(&*output, &texts(&["c"]), 0).unwrap_err().expected, "`a` or `b`");
        let input = fit("binary", &[], Role::Input, &texts(&["a", "b", "b", "b"]));
        assert_eq!(stored(&*input, &texts(&["c"]), 0), Ok(vec![0.75f32].into()));
        let input = fit("binary", &[("unknown", "error")], Role::Input, &texts(&["a", "b"]));
        assert!(stored(&*input, &texts(&["c"]), 0).is_err());
    }

    #[test]
    fn what_is_missing_is_filled_and_flagged() {
        let seen = texts(&["no", "yes", "yes", ""]);
        let input = fit("binary", &[], Role::Input, &seen);
        assert_eq!(stored(&*input, &seen, 3), Ok(vec![2.0f32 / 3.0, 1.0].into()));
        let input = fit("binary", &[("missing", "mode")], Role::Input, &seen);
        assert_eq!(stored(&*input, &seen, 3), Ok(vec![1.0f32, 1.0].into()));
        assert!(fit_error("binary", &[], Role::Output, &seen).contains("row 3"));
        let output = fit("binary", &[("missing", "drop")], Role::Output, &seen);
        assert!(output.leaves_out(&seen, 3));
    }

    #[test]
    fn c16_constants() {
        let only = texts(&["1", "1"]);
        assert!(fit_error("binary", &[], Role::Output, &only).contains("nothing to learn"));
        let input = fit("binary", &[], Role::Input, &only);
        assert_eq!(stored(&*input, &texts(&["0"]), 0), Ok(vec![0.0f32].into()));
        assert!(input.notes()[0].starts_with("constant"));
        assert!(fit_error("binary", &[], Role::Input, &texts(&["", "NA"])).contains("no value"));
    }

    #[test]
    fn answers_are_probabilities() {
        let feature = fit("binary", &[("threshold", "0.3")], Role::Output, &texts(&["no", "yes"]));
        let output = feature.output().unwrap();
        assert_eq!(output.threshold(), Some(0.3));
        assert_eq!(output.answer(&[0.0]), Answer::Classes(vec![0.5, 0.5]));
        assert_eq!(output.answer(&[-200.0]), Answer::Classes(vec![1.0, 0.0]));
        assert_eq!(output.truth(&vec![0.0f32, 1.0].into(), 1), Answer::Classes(vec![0.0, 1.0]));
        let chosen =
            fit("binary", &[("threshold", "max_f1")], Role::Output, &texts(&["no", "yes"]));
        assert_eq!(chosen.output().unwrap().threshold(), Some(0.5));
    }
}
