//! `words` and `characters`: a text falls into units, and the most frequent of them, alone or next to each other, are the
//! vocabulary.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};
use serde_json::{Value as Json, json};
use tokenizers::NormalizedString;
use unicode_segmentation::UnicodeSegmentation;

use super::counts::Counts;
use super::{Entry, PADDING, SHARED_WITH, Tokenizer, Training, UNKNOWN};

pub(super) const WORDS: Entry = Entry {
    spec: &WORDS_SPEC,
    begin: |args, _| begin(args, Cut::Words),
    restore: |args, state| restore(args, state, Cut::Words),
};

pub(super) const CHARACTERS: Entry = Entry {
    spec: &CHARACTERS_SPEC,
    begin: |args, _| begin(args, Cut::Characters),
    restore: |args, state| restore(args, state, Cut::Characters),
};

const MIN_COUNT: Param = Param::with_default(
    "min_count",
    Kind::int(1, 1 << 30),
    Value::Int(2),
    "how often the training split must show it; what is rarer is unknown",
);

const LOWER: Param =
    Param::with_default("lower", Kind::Bool, Value::Bool(true), "capital letters count as small");

const NGRAMS: Param = Param::with_default(
    "ngrams",
    Kind::int(1, 5),
    Value::Int(1),
    "up to so many neighbours together are tokens of their own, at the end of the text: for encoders that do not look at \
     the order, as `embed`",
);

static WORDS_SPEC: Spec = Spec {
    name: "words",
    aliases: &["word"],
    peers: Peers::of("", "layers.TextVectorization"),
    doc: "Words by the rules of Unicode (UAX #29); ideographs stand alone.",
    params: &[
        Param::with_default(
            "vocab",
            Kind::int(1, 1 << 22),
            Value::Int(20_000),
            "the largest number of tokens",
        ),
        MIN_COUNT,
        LOWER,
        NGRAMS,
        Param::with_default(
            "punctuation",
            Kind::Bool,
            Value::Bool(true),
            "punctuation marks and symbols are tokens too",
        ),
        Param::with_default(
            "mask_digits",
            Kind::Bool,
            Value::Bool(false),
            "every digit counts as 0: 1987 and 2024 are the same word",
        ),
        SHARED_WITH,
    ],
};

static CHARACTERS_SPEC: Spec = Spec {
    name: "characters",
    aliases: &["character", "chars"],
    peers: Peers::of("", "layers.TextVectorization"),
    doc: "Characters; blanks in a row are one, unless they are kept.",
    params: &[
        Param::with_default(
            "vocab",
            Kind::int(1, 1 << 22),
            Value::Int(8_000),
            "the largest number of tokens",
        ),
        MIN_COUNT,
        LOWER,
        NGRAMS,
        Param::with_default(
            "blanks",
            Kind::Choice(&["one", "keep"]),
            Value::text("one"),
            "one: blanks in a row are one, at the ends none; keep: each is a character, the ends of lines too",
        ),
        SHARED_WITH,
    ],
};

/// What a text falls into.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cut {
    Words,
    Characters,
}

/// How a text is cut, without what was learned.
#[derive(Clone, Debug)]
struct Rules {
    cut: Cut,
    lower: bool,
    punctuation: bool,
    mask_digits: bool,
    ngrams: usize,
    /// Whether each blank is a character of its own.
    blanks: bool,
    vocab: usize,
    min_count: u64,
}

impl Rules {
    fn from_args(args: &Args, cut: Cut) -> Rules {
        let words = cut == Cut::Words;
        Rules {
            cut,
            lower: args.bool("lower"),
            punctuation: words && args.bool("punctuation"),
            mask_digits: words && args.bool("mask_digits"),
            ngrams: args.usize("ngrams"),
            blanks: !words && args.text("blanks") == "keep",
            vocab: args.usize("vocab"),
            min_count: args.usize("min_count") as u64,
        }
    }

    /// One form for what looks alike (Unicode's NFKC: full-width letters, ligatures, accents in one or two characters).
    fn normal<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        if !text.is_ascii() {
            let mut normal = NormalizedString::from(&*text);
            normal.nfkc();
            text = Cow::Owned(normal.get().to_string());
        }
        if self.lower && text.chars().any(char::is_uppercase) {
            text = Cow::Owned(text.to_lowercase());
        }
        if self.mask_digits && text.chars().any(char::is_numeric) {
            text = Cow::Owned(text.replace(char::is_numeric, "0"));
        }
        text
    }

    /// Calls `f` for each unit of a normal text, then for each pair of neighbours and so on, if they are wanted; with how
    /// many units it is.
    fn tokens(&self, normal: &str, mut f: impl FnMut(&str, usize)) {
        let mut units: Vec<&str> = Vec::new();
        match self.cut {
            Cut::Words => {
                let wanted = |word: &&str| match self.punctuation {
                    true => !word.chars().all(|c| c.is_whitespace() || c.is_control()),
                    false => word.chars().any(char::is_alphanumeric),
                };
                units.extend(normal.split_word_bounds().filter(wanted));
            }
            Cut::Characters if self.blanks => {
                let all =
                    normal.char_indices().filter(|(_, c)| c.is_whitespace() || !c.is_control());
                units.extend(all.map(|(at, c)| &normal[at..at + c.len_utf8()]));
            }
            Cut::Characters => characters(normal, &mut units),
        }
        units.iter().for_each(|unit| f(unit, 1));
        let mut joined = String::new();
        for n in 2..=self.ngrams {
            for neighbours in units.windows(n) {
                joined.clear();
                for (i, unit) in neighbours.iter().enumerate() {
                    joined.push_str(if i > 0 { self.between() } else { "" });
                    joined.push_str(unit);
                }
                f(&joined, n);
            }
        }
    }

    /// What stands between the units of a token.
    fn between(&self) -> &'static str {
        if self.cut == Cut::Words { " " } else { "" }
    }

    /// Whether a token is several units.
    fn is_joined(&self, token: &str) -> bool {
        match self.cut {
            // No word contains a blank.
            Cut::Words => token.contains(' '),
            Cut::Characters => token.chars().nth(1).is_some(),
        }
    }
}

/// The characters of a text without control characters; blanks in a row are one space, at the ends none.
fn characters<'a>(normal: &'a str, units: &mut Vec<&'a str>) {
    for (at, c) in normal.trim().char_indices() {
        if c.is_whitespace() {
            if units.last() != Some(&" ") {
                units.push(" ");
            }
        } else if !c.is_control() {
            let start = normal.len() - normal.trim_start().len() + at;
            units.push(&normal[start..start + c.len_utf8()]);
        }
    }
}

fn begin(args: &Args, cut: Cut) -> Result<Box<dyn Training>, String> {
    Ok(Box::new(Fit { rules: Rules::from_args(args, cut), counts: Counts::default() }))
}

struct Fit {
    rules: Rules,
    counts: Counts,
}

impl Training for Fit {
    fn observe(&mut self, text: &str) {
        let Fit { rules, counts } = self;
        rules.tokens(&rules.normal(text), |token, _| counts.add(token));
    }

    fn finish(self: Box<Self>) -> Result<Arc<dyn Tokenizer>, String> {
        let Fit { rules, counts } = *self;
        let names: Vec<Box<str>> = counts
            .sorted(rules.min_count)
            .into_iter()
            .take(rules.vocab)
            .map(|(name, _)| name)
            .collect();
        if names.is_empty() {
            let what = if rules.cut == Cut::Words { "word" } else { "character" };
            return Err(match rules.min_count {
                1 => format!("no {what} in the training split"),
                n => format!("no {what} stands {n} times in the training split: lower `min_count`"),
            });
        }
        Ok(Arc::new(Units::new(rules, names)))
    }
}

fn restore(args: &Args, state: &Json, cut: Cut) -> Result<Arc<dyn Tokenizer>, String> {
    let names = state["names"].as_array().ok_or("`names` is no list")?;
    let names: Option<Vec<Box<str>>> =
        names.iter().map(|name| name.as_str().map(Box::from)).collect();
    let units = Units::new(Rules::from_args(args, cut), names.ok_or("a name is no text")?);
    match units.names.len() == units.numbers.len() {
        true => Ok(Arc::new(units)),
        false => Err("a name stands twice in `names`".into()),
    }
}

/// A tokenizer with a list of names.
#[derive(Clone, Debug)]
struct Units {
    rules: Rules,
    /// The first has the number after [`UNKNOWN`].
    names: Vec<Box<str>>,
    numbers: HashMap<Box<str>, i32>,
}

impl Units {
    fn new(rules: Rules, names: Vec<Box<str>>) -> Units {
        let numbers = names.iter().cloned().zip(UNKNOWN + 1..).collect();
        Units { rules, names, numbers }
    }
}

impl Tokenizer for Units {
    fn encode(&self, text: &str, tokens: &mut Vec<i32>) {
        tokens.clear();
        self.rules.tokens(&self.rules.normal(text), |token, units| {
            match self.numbers.get(token) {
                Some(&number) => tokens.push(number),
                // That neighbours are not known says nothing more than that they are rare.
                None if units > 1 => {}
                None => tokens.push(UNKNOWN),
            }
        });
    }

    fn decode(&self, tokens: &[i32]) -> String {
        let name = |&token: &i32| match usize::try_from(token - UNKNOWN - 1) {
            Ok(at) => self.names.get(at).map_or("(unknown)", |name| name),
            Err(_) => "(unknown)",
        };
        let units: Vec<&str> = tokens
            .iter()
            .filter(|&&token| token != PADDING)
            .map(name)
            .filter(|name| *name == "(unknown)" || !self.rules.is_joined(name))
            .collect();
        units.join(self.rules.between())
    }

    fn vocabulary(&self) -> usize {
        self.names.len() + 2
    }

    fn state(&self) -> Json {
        json!({ "names": &self.names })
    }
}
