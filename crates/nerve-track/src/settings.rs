//! The settings of a run: its resolved recipe as a list of dotted paths.

use crate::{RESOLVED, RunFolder};
use nerve_formats::{ErrorKind, FormatError, Limits, Reader};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use toml::de::{DeTable, DeValue};

/// The value of a setting.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    /// A whole number.
    Integer(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(String),
    /// Yes or no.
    Bool(bool),
}

impl fmt::Display for Setting {
    /// As TOML has it, but texts without quotes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Setting::Integer(number) => write!(f, "{number}"),
            Setting::Float(number) => write!(f, "{number}"),
            Setting::Text(text) => f.write_str(text),
            Setting::Bool(yes) => write!(f, "{yes}"),
        }
    }
}

impl Serialize for Setting {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Setting::Integer(number) => to.serialize_i64(*number),
            Setting::Float(number) => to.serialize_f64(*number),
            Setting::Text(text) => to.serialize_str(text),
            Setting::Bool(yes) => to.serialize_bool(*yes),
        }
    }
}

/// Every setting of a run, by its dotted path, in the order of the recipe: `trainer.optimizer.lr`,
/// `model.layers.0.units`. Lists of plain values are one setting, as TOML writes them; so are lists and
/// tables without anything in them.
///
/// # Errors
/// The resolved recipe is not there, or is no TOML.
pub fn settings(run: &RunFolder) -> Result<Vec<(String, Setting)>, FormatError> {
    let path = run.file(RESOLVED);
    let limits = Limits { max_bytes: 16 << 20, ..Limits::default() };
    let mut file = Reader::open(&path, &limits)?;
    let length = file.remaining().unwrap_or(0);
    let bytes = file.bytes("recipe", length)?;
    let wrong = |found: String| {
        FormatError::new(ErrorKind::Malformed, &path, "recipe", "TOML in UTF-8", found)
    };
    let text = std::str::from_utf8(&bytes).map_err(|error| wrong(error.to_string()))?;
    settings_in(text).map_err(wrong)
}

/// The settings in the text of a resolved recipe.
///
/// # Errors
/// It is no TOML: why.
pub fn settings_in(text: &str) -> Result<Vec<(String, Setting)>, String> {
    let table = DeTable::parse(text).map_err(|error| error.message().to_string())?;
    let mut settings = Vec::new();
    entries(String::new(), table.get_ref(), &mut settings);
    Ok(settings)
}

/// Something that is not the same in two lists of settings, as text; `None` where it is absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its dotted path.
    pub path: String,
    /// What stands there in the first.
    pub first: Option<String>,
    /// What stands there in the second.
    pub second: Option<String>,
}

/// What is not the same in both, by path. Which of two equal settings stands first does not matter.
///
/// ```
/// use nerve_track::{changes, settings_in};
/// let [before, after] = ["lr = 0.1\nseed = 1", "seed = 1\nlr = 0.2"].map(|text| settings_in(text).unwrap());
/// let changed = changes(&before, &after);
/// assert_eq!(changed.len(), 1);
/// assert_eq!((changed[0].path.as_str(), changed[0].second.as_deref()), ("lr", Some("0.2")));
/// ```
pub fn changes<T: fmt::Display>(first: &[(String, T)], second: &[(String, T)]) -> Vec<Change> {
    let mut all: BTreeMap<&str, [Option<String>; 2]> = BTreeMap::new();
    for (side, pairs) in [first, second].into_iter().enumerate() {
        for (path, value) in pairs {
            all.entry(path).or_default()[side] = Some(value.to_string());
        }
    }
    let changed = all.into_iter().filter(|(_, [a, b])| a != b);
    changed.map(|(path, [first, second])| Change { path: path.into(), first, second }).collect()
}

fn entries(path: String, table: &DeTable<'_>, to: &mut Vec<(String, Setting)>) {
    for (key, value) in table {
        let key = key.get_ref();
        let path = if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
        add(path, value.get_ref(), to);
    }
}

fn add(path: String, value: &DeValue<'_>, to: &mut Vec<(String, Setting)>) {
    let setting = match value {
        DeValue::Table(table) if !table.is_empty() => return entries(path, table, to),
        DeValue::Array(list) if !plain(value) => {
            for (i, value) in list.iter().enumerate() {
                add(format!("{path}.{i}"), value.get_ref(), to);
            }
            return;
        }
        value => leaf(value),
    };
    to.push((path, setting));
}

/// Whether a value is one setting.
fn plain(value: &DeValue<'_>) -> bool {
    match value {
        DeValue::Array(list) => list.iter().all(|value| plain(value.get_ref())),
        DeValue::Table(_) => false,
        _ => true,
    }
}

fn leaf(value: &DeValue<'_>) -> Setting {
    match value {
        DeValue::String(text) => Setting::Text(text.to_string()),
        DeValue::Boolean(yes) => Setting::Bool(*yes),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Setting::Integer(number),
            Err(_) => Setting::Text(number.to_string()),
        },
        DeValue::Float(number) => match number.as_str().parse() {
            Ok(number) => Setting::Float(number),
            Err(_) => Setting::Text(number.to_string()),
        },
        DeValue::Datetime(moment) => Setting::Text(moment.to_string()),
        DeValue::Array(list) => {
            let texts = list.iter().map(|value| match leaf(value.get_ref()) {
                Setting::Text(text) => format!("{text:?}"),
                other => other.to_string(),
            });
            Setting::Text(format!("[{}]", texts.collect::<Vec<_>>().join(", ")))
        }
        DeValue::Table(_) => Setting::Text("{}".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_dotted_paths_in_the_order_of_the_recipe() {
        let text = "seed = 7\n[data]\npath = \"a.csv\"\nsplit = [0.8, 0.2]\n[[input]]\nname = \"x\"\n\
                    [[input]]\nname = \"y\"\n[model]\nlayers = [{ type = \"Dense\", bias = true }, \
                    { type = \"Dense\", units = 0x10 }]\nextra = []\n[trainer]\n\
                    optimizer = { type = \"adam\", lr = 1e-3 }\nclip = inf\n";
        let found: Vec<String> = settings_in(text)
            .unwrap()
            .iter()
            .map(|(path, value)| format!("{path}={value}"))
            .collect();
        let mut found_sorted = found.clone();
        found_sorted.sort();
        let mut expected = [
            "data.path=a.csv",
            "data.split=[0.8, 0.2]",
            "input.0.name=x",
            "input.1.name=y",
            "model.extra=[]",
            "model.layers.0.bias=true",
            "model.layers.0.type=Dense",
            "model.layers.1.type=Dense",
            "model.layers.1.units=16",
            "seed=7",
            "trainer.clip=inf",
            "trainer.optimizer.lr=0.001",
            "trainer.optimizer.type=adam",
        ];
        expected.sort();
        assert_eq!(found_sorted, expected);
        assert!(settings_in("a = ").is_err());
    }

    #[test]
    fn changes_are_what_differs_wherever_it_stands() {
        let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect()
        };
        let first = pairs(&[("a", "1"), ("b", "2"), ("c", "3")]);
        let second = pairs(&[("c", "4"), ("a", "1"), ("d", "5")]);
        let found = changes(&first, &second);
        let texts: Vec<(&str, Option<&str>, Option<&str>)> = found
            .iter()
            .map(|change| (change.path.as_str(), change.first.as_deref(), change.second.as_deref()))
            .collect();
        assert_eq!(
            texts,
            [("b", Some("2"), None), ("c", Some("3"), Some("4")), ("d", None, Some("5"))]
        );
    }
}
