//! `text`: a text as a sequence of tokens; as an output, one that a network writes.

mod output;

use std::sync::Arc;

use nerve_formats::Meaning;
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};
use serde_json::{Value as Json, json};

use super::{Entry, Feature, Fitting, Guess, Output, Refusal, Role, Room, Setting};
use crate::text::augment::{self, TokenAugment};
use crate::text::{self, PADDING, Sample, Tokenizer, Training};
use crate::{Cell, Cells, Column, Element, Random, Slice, Values};

pub(super) const ENTRY: Entry = Entry { spec: &SPEC, infer, begin, restore };

static SPEC: Spec = Spec {
    name: "text",
    aliases: &[],
    peers: Peers::of("", "layers.TextVectorization"),
    doc: "A text as a sequence of tokens: words, characters or pieces of words, learned from the training split.",
    params: &[
        Param::optional(
            "tokenizer",
            Kind::Item { what: "tokenizer", specs: text::specs },
            "what the tokens are; `words` unless given",
        ),
        Param::optional(
            "max_len",
            Kind::int(1, 1 << 16),
            "the number of tokens, what is longer is cut at its end; without it what 99 % of the training split need, and \
             not above 512",
        )
        .alias(&["max_length"]),
        Param::with_default(
            "missing",
            Kind::Choice(&["empty", "error"]),
            Value::text("empty"),
            "what stands in for a text that is not there",
        ),
        Param::with_default(
            "augment",
            Kind::List {
                of: &Kind::Item { what: "augmentation of texts", specs: augment::specs },
                min_len: 0,
                max_len: 16,
            },
            Value::list(&[]),
            "random changes of the tokens while training, one after the other",
        ),
        Param::with_default(
            "end",
            Kind::Bool,
            Value::Bool(true),
            "of an output, whether a token says where it ends: false for pieces of one long text, which end anywhere",
        ),
    ],
};

/// The largest length that is taken without being asked for.
const LONGEST: usize = 512;

/// How many rows a guess looks at.
const LOOKED_AT: usize = 2000;

fn infer(column: &Column) -> Option<Guess> {
    let Cells::Text(texts) = &column.cells else { return None };
    let mut all: Vec<&str> = (0..texts.len().min(LOOKED_AT))
        .filter_map(|row| texts.get(row))
        .filter(|text| !text.trim().is_empty())
        .collect();
    let rows = all.len();
    let tokens = |text: &&str| {
        let ideographs = text.chars().filter(|c| ('\u{3040}'..'\u{FB00}').contains(c)).count();
        text.split_whitespace().count() + ideographs / 2
    };
    let mean = all.iter().map(tokens).sum::<usize>() as f64 / rows.max(1) as f64;
    all.sort_unstable();
    all.dedup();
    (rows > 0 && mean >= 3.0 && all.len() * 2 > rows).then(|| Guess {
        confidence: if mean >= 5.0 { 0.8 } else { 0.55 },
        reason: format!(
            "{mean:.0} words in a cell on average, {} of {rows} cells differ",
            all.len()
        ),
    })
}

/// The text in a cell; `None` where there is none.
fn read(cell: Cell<'_>, buffer: &mut String) -> Result<bool, Refusal> {
    buffer.clear();
    match cell {
        Cell::Missing => return Ok(false),
        Cell::Text(text) => buffer.push_str(text),
        Cell::Number(number) => buffer.push_str(&number.to_string()),
        _ => return Err(Refusal::new("a text", cell)),
    }
    Ok(!buffer.trim().is_empty())
}

/// The tokenizer that was asked for, with its arguments.
fn tokenizer(args: &Args) -> (&'static text::Entry, Args) {
    let (name, given) = match args.has("tokenizer") {
        true => (args.item("tokenizer").name, args.item("tokenizer").args.clone()),
        false => ("words", Args::default()),
    };
    let entry = text::find(name).expect("checked against the registry");
    let defaults = || nerve_formats::spec::check(entry.spec, &[]).expect("all have defaults");
    (entry, if args.has("tokenizer") { given } else { defaults() })
}

fn begin(args: &Args, setting: &Setting) -> Result<Box<dyn Fitting>, String> {
    let augment = augmentations(args);
    let end = ended(args, setting)?;
    if setting.role == Role::Output && !augment.is_empty() {
        return Err(
            "`augment` changes texts that go in; what is written should be learned as it is".into(),
        );
    }
    let (entry, given) = tokenizer(args);
    Ok(Box::new(Fit {
        training: (entry.begin)(&given, &setting.folder)?,
        kind: entry.spec.name,
        max_len: args.has("max_len").then(|| args.usize("max_len")),
        refuses: refuses(args),
        augment,
        end,
        sample: Sample::default(),
        buffer: String::new(),
        missing: 0,
    }))
}

fn restore(args: &Args, setting: &Setting, state: &Json) -> Result<Arc<dyn Feature>, String> {
    let (entry, given) = tokenizer(args);
    if state["type"] != entry.spec.name {
        return Err(format!("the tokenizer is {}, not {}", state["type"], entry.spec.name));
    }
    let max_len = state["max_len"].as_u64().filter(|len| (1..=1 << 16).contains(len));
    Ok(Arc::new(Text {
        tokenizer: (entry.restore)(&given, &state["tokenizer"])?,
        kind: entry.spec.name,
        max_len: max_len.ok_or("`max_len` is no length")? as usize,
        refuses: refuses(args),
        augment: augmentations(args),
        end: ended(args, setting)?,
        notes: Vec::new(),
    }))
}

/// Of an output, whether its end is a token; `None` for an input.
fn ended(args: &Args, setting: &Setting) -> Result<Option<bool>, String> {
    match (setting.role, args.bool("end")) {
        (Role::Output, end) => Ok(Some(end)),
        (Role::Input, true) => Ok(None),
        (Role::Input, false) => Err("`end` is for outputs, which are written to their end".into()),
    }
}

fn refuses(args: &Args) -> bool {
    args.text("missing") == "error"
}

fn augmentations(args: &Args) -> Vec<Arc<dyn TokenAugment>> {
    let Some(Value::List(items)) = args.get("augment") else { return Vec::new() };
    let build = |value: &Value| match value {
        Value::Item(item) => augment::find(item.name).map(|entry| (entry.build)(&item.args)),
        _ => None,
    };
    items.iter().filter_map(build).collect()
}

struct Fit {
    training: Box<dyn Training>,
    kind: &'static str,
    max_len: Option<usize>,
    refuses: bool,
    augment: Vec<Arc<dyn TokenAugment>>,
    end: Option<bool>,
    sample: Sample,
    buffer: String,
    missing: u64,
}

impl Fitting for Fit {
    fn observe(&mut self, cells: &Cells, row: usize) -> Result<(), Refusal> {
        let cell = cells.get(row);
        if read(cell, &mut self.buffer)? {
            self.training.observe(&self.buffer);
        } else if self.refuses {
            return Err(Refusal::new("a text", cell));
        } else {
            self.missing += 1;
        }
        self.sample.observe(&self.buffer);
        Ok(())
    }

    fn observe_beside(&mut self, cells: &Cells, row: usize) -> Result<(), Refusal> {
        if read(cells.get(row), &mut self.buffer)? {
            self.training.observe(&self.buffer);
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Arc<dyn Feature>, String> {
        let Fit { training, kind, max_len, refuses, augment, end, sample, missing, .. } = *self;
        let tokenizer = training.finish()?;
        let mut tokens = Vec::new();
        let (mut unknown, mut all) = (0, 0);
        let mut lengths: Vec<usize> = Vec::with_capacity(sample.texts().len());
        for text in sample.texts() {
            tokenizer.encode(text, &mut tokens);
            unknown += tokens.iter().filter(|&&token| token == tokenizer.unknown()).count();
            all += tokens.len();
            lengths.push(tokens.len() + usize::from(end == Some(true)));
        }
        lengths.sort_unstable();
        let most =
            lengths.get((lengths.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or(1);
        let max_len = max_len.unwrap_or(most.clamp(1, LONGEST));
        let cut = lengths.iter().filter(|&&length| length > max_len).count();
        let share = |part: usize, whole: usize| 100.0 * part as f64 / whole.max(1) as f64;
        let mut notes = vec![format!(
            "{} different tokens ({kind}), {max_len} of a text; {:.1} % of the texts are longer and cut, {:.1} % of the tokens unknown",
            tokenizer.vocabulary(),
            share(cut, lengths.len()),
            share(unknown, all)
        )];
        if missing > 0 {
            notes.push(format!("{missing} of {} texts are empty", sample.seen()));
        }
        Ok(Arc::new(Text { tokenizer, kind, max_len, refuses, augment, end, notes }))
    }
}

/// A text on its way to the network: its tokens, padded at the end. One that is empty is one unknown token, so that an
/// average over tokens always is over something.
///
/// An output has one number more than its tokenizer: the boundary, which stands behind the last token of a text, and before
/// the first when it is written.
#[derive(Clone, Debug)]
struct Text {
    tokenizer: Arc<dyn Tokenizer>,
    kind: &'static str,
    max_len: usize,
    refuses: bool,
    augment: Vec<Arc<dyn TokenAugment>>,
    /// See [`ended`].
    end: Option<bool>,
    notes: Vec<String>,
}

impl Feature for Text {
    fn stored(&self) -> (Vec<usize>, Element) {
        (vec![self.max_len], Element::I32)
    }

    fn store(&self, cells: &Cells, row: usize, mut out: Slice<'_>) -> Result<(), Refusal> {
        let mut text = String::new();
        let cell = cells.get(row);
        if !read(cell, &mut text)? && self.refuses {
            return Err(Refusal::new("a text", cell));
        }
        let mut tokens = Vec::new();
        self.tokenizer.encode_within(&text, self.max_len, &mut tokens);
        match self.end {
            None if tokens.is_empty() => tokens.push(self.tokenizer.unknown()),
            Some(true) if tokens.len() < self.max_len => tokens.push(self.boundary()),
            _ => {}
        }
        tokens.resize(self.max_len, PADDING);
        out.i32().copy_from_slice(&tokens);
        Ok(())
    }

    fn delivers(&self) -> bool {
        !self.augment.is_empty()
    }

    fn deliver(&self, stored: &Values, mut out: Slice<'_>, random: Option<Random>, _: &mut Room) {
        let Values::I32(stored) = stored else { unreachable!("tokens are stored as i32") };
        let out = out.i32();
        out.copy_from_slice(stored);
        let Some(mut random) = random else { return };
        let mut len = out.iter().position(|&token| token == PADDING).unwrap_or(out.len());
        for augment in &self.augment {
            len = augment.apply(&mut out[..len], self.tokenizer.unknown(), &mut random);
        }
    }

    fn meaning(&self) -> Meaning {
        let boundary = usize::from(self.end.is_some());
        Meaning::Tokens { vocabulary: self.tokenizer.vocabulary() + boundary }
    }

    fn state(&self) -> Json {
        json!({ "type": self.kind, "max_len": self.max_len, "tokenizer": self.tokenizer.state() })
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }

    fn output(&self) -> Option<&dyn Output> {
        self.end.map(|_| self as &dyn Output)
    }
}

#[cfg(test)]
mod tests;
