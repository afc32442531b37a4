//! Reading cells: numbers, names, and what counts as nothing.

use std::borrow::Cow;

use nerve_formats::spec::{Args, Kind, Param, Value};

use super::Refusal;
use crate::{Cell, Cells};

/// What stands for "not known" in columns of numbers. A dash or `inf` is no such word: it may be a slip, so it is an
/// error with its row until the recipe says what it means.
static NUMBER_WORDS: [Value; 12] = [
    Value::text(""),
    Value::text("NA"),
    Value::text("N/A"),
    Value::text("n/a"),
    Value::text("<NA>"),
    Value::text("#N/A"),
    Value::text("NaN"),
    Value::text("nan"),
    Value::text("NULL"),
    Value::text("null"),
    Value::text("None"),
    Value::text("?"),
];

/// The parameter that says which words mean that there is no number.
pub(super) const NUMBER_NA: Param = Param::with_default(
    "na_values",
    Kind::List { of: &Kind::Text, min_len: 0, max_len: 1000 },
    Value::list(&NUMBER_WORDS),
    "the words that mean that there is no number",
);

static NAME_WORDS: [Value; 1] = [Value::text("")];

/// The parameter that says which words mean that there is no name. `NA` is not among them: it may be Namibia, or North
/// America, and a name of its own serves a network as well.
pub(super) const NAME_NA: Param = Param::with_default(
    "na_values",
    Kind::List { of: &Kind::Text, min_len: 0, max_len: 1000 },
    Value::list(&NAME_WORDS),
    "the words that mean that there is no name",
);

/// The words that mean that a cell holds nothing.
#[derive(Clone, Debug)]
pub struct Words(Vec<String>);

impl Words {
    /// Those that the arguments of a feature name as `na_values`.
    ///
    /// # Panics
    /// If it takes no such argument.
    pub fn of(args: &Args) -> Words {
        Words(args.texts("na_values"))
    }

    /// Those of numbers, for guessing.
    pub fn of_numbers() -> Words {
        let word = |value: &Value| match value {
            Value::Text(text) => text.to_string(),
            _ => String::new(),
        };
        Words(NUMBER_WORDS.iter().map(word).collect())
    }

    /// Those of names: nothing but the empty text.
    pub fn of_names() -> Words {
        Words(vec![String::new()])
    }

    pub(super) fn contain(&self, text: &str) -> bool {
        self.0.iter().any(|word| word == text)
    }

    /// The number in a cell; `None` where there is none.
    ///
    /// # Errors
    /// The cell holds something else.
    pub fn number(&self, cell: Cell<'_>) -> Result<Option<f64>, Refusal> {
        let finite = |number: f32| if number.is_nan() { Ok(None) } else { Ok(Some(number.into())) };
        let number = match cell {
            Cell::Missing => Ok(None),
            Cell::Number(number) => Ok(Some(number)),
            Cell::F32(&[number]) => finite(number),
            Cell::I32(&[number]) => Ok(Some(number.into())),
            Cell::U8(&[number]) => Ok(Some(number.into())),
            Cell::Text(text) if self.contain(text.trim()) => Ok(None),
            Cell::Text(text) => text.trim().parse::<f64>().map(Some).map_err(|_| hint(text.trim())),
            _ => Err("one number"),
        };
        match number {
            Ok(Some(number)) if !number.is_finite() => Err("a finite number"),
            other => other,
        }
        .map_err(|expected| Refusal::new(expected, cell))
    }

    /// The name in a cell; `None` where there is none. `1` and `1.0` are the same name: sources differ in how they
    /// write whole numbers.
    ///
    /// # Errors
    /// The cell holds an array of several values.
    pub fn name<'a>(&self, cell: Cell<'a>) -> Result<Option<Cow<'a, str>>, Refusal> {
        let name: Cow<'a, str> = match cell {
            Cell::Missing => return Ok(None),
            Cell::Text(text) => whole(text.trim()).into(),
            Cell::Number(number) => number.to_string().into(),
            Cell::F32(&[number]) => f64::from(number).to_string().into(),
            Cell::I32(&[number]) => number.to_string().into(),
            Cell::U8(&[number]) => number.to_string().into(),
            _ => return Err(Refusal::new("one name", cell)),
        };
        Ok(Some(name).filter(|name| !self.contain(name)))
    }
}

/// Says what is probably meant.
fn hint(text: &str) -> &'static str {
    let lower = text.trim_start_matches(['+', '-']).to_ascii_lowercase();
    match text {
        _ if lower.starts_with("0x") => "a decimal number",
        "-" | "--" | "." => "a number (`na_values` says which words mean that there is none)",
        _ if text.contains(',') && text.replace(',', ".").parse::<f64>().is_ok() => {
            "a number with a decimal point"
        }
        _ if text.chars().any(|c| c.is_numeric() && !c.is_ascii()) => "a number of ASCII digits",
        _ => "a number",
    }
}

/// `3` for `3.0`.
fn whole(text: &str) -> &str {
    let Some((before, after)) = text.split_once('.') else { return text };
    let digits = before.strip_prefix('-').unwrap_or(before);
    let is_whole = !digits.is_empty()
        && digits.bytes().all(|b| b.is_ascii_digit())
        && !after.is_empty()
        && after.bytes().all(|b| b == b'0');
    if is_whole { before } else { text }
}

/// How many rows up `ffill` looks for a value: a bound on the time that a column of nothing takes.
const LOOK_BACK: usize = 1000;

/// The value of the nearest row above that has one.
pub(super) fn above<T>(
    cells: &Cells,
    row: usize,
    read: impl Fn(Cell<'_>) -> Option<T>,
) -> Option<T> {
    (row.saturating_sub(LOOK_BACK)..row).rev().find_map(|row| read(cells.get(row)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c12_words_for_nothing_are_a_policy() {
        let words = Words::of_numbers();
        for text in ["", " ", "NA", "NaN", "null", "?"] {
            assert_eq!(words.number(Cell::Text(text)), Ok(None), "{text:?}");
        }
        for (text, expected) in [
            ("-", "a number (`na_values` says which words mean that there is none)"),
            ("inf", "a finite number"),
            ("-Infinity", "a finite number"),
            ("three", "a number"),
        ] {
            let refusal = words.number(Cell::Text(text)).unwrap_err();
            assert_eq!((&refusal.expected[..], refusal.found), (expected, format!("`{text}`")));
        }
    }

    #[test]
    fn c13_what_only_looks_like_a_number_is_refused() {
        let words = Words::of_numbers();
        for (text, expected) in [
            ("1e999", "a finite number"),
            ("0x10", "a decimal number"),
            ("1,5", "a number with a decimal point"),
            ("\u{ff11}", "a number of ASCII digits"),
            ("1 000", "a number"),
            ("1_000", "a number"),
        ] {
            assert_eq!(words.number(Cell::Text(text)).unwrap_err().expected, expected, "{text}");
        }
        for (text, number) in [(" 1.5 ", 1.5), ("-2", -2.0), ("1e3", 1000.0), (".5", 0.5)] {
            assert_eq!(words.number(Cell::Text(text)), Ok(Some(number)));
        }
    }

    #[test]
    fn whole_numbers_have_one_name() {
        let words = Words(vec![String::new()]);
        let name = |cell| words.name(cell).unwrap().map(Cow::into_owned);
        for cell in [Cell::Text("3"), Cell::Text(" 3.0 "), Cell::Number(3.0), Cell::I32(&[3])] {
            assert_eq!(name(cell).as_deref(), Some("3"), "{cell:?}");
        }
        // Not numbers in their columns, or not whole.
        for text in ["03", "3.50", "v1.0", "1.0.0", ".0", "3."] {
            assert_eq!(name(Cell::Text(text)).as_deref(), Some(text));
        }
        assert_eq!((name(Cell::Missing), name(Cell::Text("  "))), (None, None));
        assert!(words.name(Cell::F32(&[1.0, 2.0])).is_err());
    }
}
