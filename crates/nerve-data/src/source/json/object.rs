//! The keys of a JSON object with their values as they stand there.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// What stands at a key.
pub(super) enum Entry<'a> {
    /// `null`.
    Null,
    /// A text, or anything else as it is written: `2.50`, `true`, `[1, 2]`.
    Text(&'a str),
}

/// Calls `take` for each key; the keys of an object within the object are `outer.inner`.
///
/// Numbers keep the digits that they were written with, since a number may be a name: `007`.
pub(super) fn each_entry(
    object: &str,
    mut take: impl FnMut(&str, Entry<'_>) -> Result<(), String>,
) -> Result<(), String> {
    let Entries(outer) = parse(object)?;
    let mut name = String::new();
    for (key, value) in &outer {
        if value.get().starts_with('{') {
            let Entries(inner) = parse(value.get())?;
            for (inner, value) in &inner {
                name.clear();
                name.extend([key, ".", inner]);
                one(&name, value, &mut take)?;
            }
        } else {
            one(key, value, &mut take)?;
        }
    }
    Ok(())
}

fn parse(object: &str) -> Result<Entries<'_>, String> {
    serde_json::from_str(object).map_err(|error| format!("a faulty one ({error})"))
}

fn one(
    key: &str,
    value: &RawValue,
    take: &mut impl FnMut(&str, Entry<'_>) -> Result<(), String>,
) -> Result<(), String> {
    match value.get() {
        "null" => take(key, Entry::Null),
        text if text.starts_with('"') => {
            let Key(text) = serde_json::from_str(text)
                .map_err(|error| format!("a faulty text at `{key}` ({error})"))?;
            take(key, Entry::Text(&text))
        }
        text => take(key, Entry::Text(text)),
    }
}

/// An object in its order, doubled keys and all.
struct Entries<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading;
        impl<'de> Visitor<'de> for Reading {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<'de>, A::Error> {
                let mut entries = Vec::new();
                while let Some((Key(key), value)) = map.next_entry()? {
                    entries.push((key, value));
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Reading)
    }
}

/// A text that is borrowed where it holds no escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading;
        impl<'de> Visitor<'de> for Reading {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_string())))
            }
        }
        deserializer.deserialize_str(Reading)
    }
}
