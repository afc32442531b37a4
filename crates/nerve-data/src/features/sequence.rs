//! `sequence`: symbols in an order: events, amino acids, notes; as an output, one for each step of an input.

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
    name: "sequence",
    aliases: &[],
    peers: Peers::of("", "layers.StringLookup"),
    doc: "Symbols in an order, as events or amino acids: a number for each; 0 fills the end, 1 is unknown.",
    params: &[
        Param::with_default(
            "separator",
            Kind::Text,
            Value::text(""),
            "what stands between the symbols, empty for white space. A JSON list needs none",
        ),
        Param::with_default(
            "characters",
            Kind::Bool,
            Value::Bool(false),
            "whether each character is a symbol, as in ACGT",
        ),
        Param::optional(
            "max_len",
            Kind::int(1, 1 << 20),
            "how many symbols are kept; without it, as many as 99 of 100 rows of the training split have",
        ),
        Param::with_default(
            "keep",
            Kind::Choice(&["start", "end"]),
            Value::text("end"),
            "which end of a longer sequence is kept",
        ),
        Param::with_default(
            "max_symbols",
            Kind::int(1, 1 << 24),
            Value::Int(20_000),
            "the most frequent symbols that are known",
        ),
        NAME_NA,
    ],
};

/// Numbers below are no symbols: 0 fills the end, 1 is an unknown one.
const FIRST: i32 = 2;

/// Which texts are sequences rather than sentences only their author knows.
fn infer(_: &Column) -> Option<Guess> {
    None
}

/// What is known before the data are seen.
#[derive(Clone, Debug)]
struct Reading {
    words: Words,
    separator: String,
    characters: bool,
    keep_end: bool,
}

impl Reading {
    fn of(args: &Args) -> Reading {
        Reading {
            words: Words::of(args),
            separator: args.text("separator").to_string(),
            characters: args.bool("characters"),
            keep_end: args.text("keep") == "end",
        }
    }

    fn symbols(&self, cell: Cell<'_>) -> Result<Vec<String>, Refusal> {
        let text = self.words.name(cell)?.unwrap_or_default();
        if self.characters {
            return Ok(text.chars().filter(|c| !c.is_whitespace()).map(String::from).collect());
        }
        let items = list::items(&text, &self.separator);
        let items = items.map_err(|expected| Refusal::new(expected, cell))?;
        Ok(items.into_iter().map(std::borrow::Cow::into_owned).collect())
    }
}

fn begin(args: &Args, setting: &Setting) -> Result<Box<dyn Fitting>, String> {
    Ok(Box::new(Fit {
        role: setting.role,
        reading: Reading::of(args),
        max_len: args.has("max_len").then(|| args.usize("max_len")),
        most: args.usize("max_symbols"),
        counts: BTreeMap::new(),
        lens: Vec::new(),
    }))
}

fn restore(args: &Args, setting: &Setting, state: &Json) -> Result<Arc<dyn Feature>, String> {
    let symbols = state["symbols"].as_array().ok_or("`symbols` is no list")?;
    let symbols: Option<Vec<String>> =
        symbols.iter().map(|symbol| symbol.as_str().map(str::to_string)).collect();
    let len = state["len"].as_u64().filter(|len| (1..=1 << 20).contains(len));
    let len = len.ok_or("`len` is no length")? as usize;
    let symbols = symbols.ok_or("a symbol is no text")?;
    Ok(Arc::new(Sequence::new(Reading::of(args), setting.role, symbols, len)))
}

struct Fit {
    role: Role,
    reading: Reading,
    max_len: Option<usize>,
    most: usize,
    counts: BTreeMap<String, usize>,
    lens: Vec<usize>,
}

impl Fitting for Fit {
    fn observe(&mut self, cells: &Cells, row: usize) -> Result<(), Refusal> {
        let symbols = self.reading.symbols(cells.get(row))?;
        self.lens.push(symbols.len());
        symbols.into_iter().for_each(|symbol| *self.counts.entry(symbol).or_default() += 1);
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Arc<dyn Feature>, String> {
        self.lens.sort_unstable();
        let longest =
            *self.lens.last().filter(|len| **len > 0).ok_or("no symbol in the training split")?;
        let usual =
            self.lens[(self.lens.len() * 99).div_ceil(100).saturating_sub(1)].clamp(1, 1 << 20);
        let len = self.max_len.unwrap_or(usual);
        let cut = self.lens.iter().filter(|l| **l > len).count();
        let mut symbols: Vec<(String, usize)> = self.counts.into_iter().collect();
        symbols.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        symbols.truncate(self.most);
        let symbols = symbols.into_iter().map(|(symbol, _)| symbol).collect();
        let mut sequence = Sequence::new(self.reading, self.role, symbols, len);
        if cut > 0 {
            let rows = self.lens.len();
            sequence.notes.push(format!(
                "{cut} of {rows} sequences are cut to {len} symbols; the longest has {longest}"
            ));
        }
        Ok(Arc::new(sequence))
    }
}

/// Symbols on their way to the network: a number for each.
#[derive(Clone, Debug)]
struct Sequence {
    reading: Reading,
    role: Role,
    symbols: Vec<String>,
    numbers: BTreeMap<String, i32>,
    len: usize,
    notes: Vec<String>,
}

impl Sequence {
    fn new(reading: Reading, role: Role, symbols: Vec<String>, len: usize) -> Sequence {
        let numbers = symbols.iter().cloned().zip(FIRST..).collect();
        Sequence { reading, role, symbols, numbers, len, notes: Vec::new() }
    }
}

impl Feature for Sequence {
    fn stored(&self) -> (Vec<usize>, Element) {
        (vec![self.len], Element::I32)
    }

    fn store(&self, cells: &Cells, row: usize, mut out: Slice<'_>) -> Result<(), Refusal> {
        let symbols = self.reading.symbols(cells.get(row))?;
        let more = symbols.len().saturating_sub(self.len);
        let kept =
            if self.reading.keep_end { &symbols[more..] } else { &symbols[..symbols.len() - more] };
        let out = out.i32();
        out.fill(0);
        for (out, symbol) in out.iter_mut().zip(kept) {
            *out = self.numbers.get(symbol).copied().unwrap_or(1);
        }
        Ok(())
    }

    fn meaning(&self) -> Meaning {
        Meaning::Tokens { vocabulary: self.symbols.len() + FIRST as usize }
    }

    fn state(&self) -> Json {
        json!({ "symbols": self.symbols, "len": self.len })
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }

    fn output(&self) -> Option<&dyn Output> {
        (self.role == Role::Output).then_some(self as &dyn Output)
    }
}

impl Sequence {
    /// Symbols as they would stand in a cell.
    fn text(&self, numbers: &[i32]) -> Answer {
        let name = |number: &i32| match usize::try_from(number - FIRST) {
            Ok(at) => self.symbols.get(at).map_or("(unknown)", String::as_str),
            Err(_) => "(unknown)",
        };
        let between = match (self.reading.characters, self.reading.separator.as_str()) {
            (true, _) => "",
            (false, "") => " ",
            (false, separator) => separator,
        };
        Answer::Text(numbers.iter().map(name).collect::<Vec<_>>().join(between))
    }
}

impl Output for Sequence {
    fn head(&self) -> Head {
        Head {
            shape: vec![self.symbols.len() + FIRST as usize, self.len],
            loss: "sequence_cross_entropy",
            metrics: &["token_accuracy"],
        }
    }

    fn answer(&self, values: &[f32]) -> Answer {
        self.answer_steps(values, self.len)
    }

    /// What fills up and what is unknown is never the answer.
    fn answer_steps(&self, values: &[f32], steps: usize) -> Answer {
        let best = |step: usize| {
            let score = |symbol: i32| values[symbol as usize * self.len + step];
            let last = FIRST + self.symbols.len() as i32;
            (FIRST..last).fold(FIRST, |best, i| if score(i) > score(best) { i } else { best })
        };
        let all: Vec<i32> = (0..steps.min(self.len)).map(best).collect();
        self.text(&all)
    }

    fn truth(&self, stored: &Values, row: usize) -> Answer {
        let Values::I32(stored) = stored else { unreachable!("symbols are stored as i32") };
        let stored = &stored[row * self.len..][..self.len];
        let end = stored.iter().position(|&number| number == 0).unwrap_or(self.len);
        self.text(&stored[..end])
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{fit, fit_error, stored, texts};
    use super::*;

    #[test]
    fn symbols_are_numbered_by_how_frequent_they_are() {
        let seen = texts(&["up up down", "up", ""]);
        let feature = fit("sequence", &[], Role::Input, &seen);
        assert_eq!(feature.meaning(), Meaning::Tokens { vocabulary: 4 });
        assert_eq!(stored(&*feature, &seen, 0), Ok(vec![2, 2, 3].into()));
        assert_eq!(stored(&*feature, &seen, 2), Ok(vec![0, 0, 0].into()));
        assert_eq!(stored(&*feature, &texts(&["left"]), 0), Ok(vec![1, 0, 0].into()));
        let feature =
            fit("sequence", &[("characters", "true")], Role::Input, &texts(&["AAC", "AG"]));
        assert_eq!(stored(&*feature, &texts(&["GA T"]), 0), Ok(vec![4, 2, 1].into()));
    }

    #[test]
    fn longer_sequences_keep_one_end() {
        let seen = texts(&["a b c", "a b", "a"]);
        let feature = fit("sequence", &[("max_len", "2")], Role::Input, &seen);
        assert_eq!(stored(&*feature, &seen, 0), Ok(vec![3, 4].into()));
        assert_eq!(feature.notes(), ["1 of 3 sequences are cut to 2 symbols; the longest has 3"]);
        let feature = fit("sequence", &[("max_len", "2"), ("keep", "start")], Role::Input, &seen);
        assert_eq!(stored(&*feature, &seen, 0), Ok(vec![2, 3].into()));
        let feature = fit("sequence", &[("max_symbols", "1")], Role::Input, &seen);
        assert_eq!(stored(&*feature, &seen, 0), Ok(vec![2, 1, 1].into()));
        assert!(fit_error("sequence", &[], Role::Input, &texts(&[""])).contains("no symbol"));
    }

    #[test]
    fn an_output_has_a_symbol_for_each_step() {
        let seen = texts(&["N V N", "N V", "D"]);
        let feature = fit("sequence", &[], Role::Output, &seen);
        let output = feature.output().unwrap();
        // N twice more than the others, then V, then D, behind what fills up and what is unknown.
        assert_eq!(output.head().shape, [5, 3]);
        let Ok(values) = stored(&*feature, &seen, 1) else { panic!("numbers") };
        assert_eq!(output.truth(&values, 0), Answer::Text("N V".into()));
        let mut scores = vec![0.0; 15];
        (scores[0], scores[4 * 3], scores[2 * 3 + 1]) = (9.0, 1.0, 1.0);
        assert_eq!(output.answer_steps(&scores, 2), Answer::Text("D N".into()));
    }
}
