//! Cells that hold several things: a JSON list, or things between separators.

use std::borrow::Cow;

use serde_json::Value as Json;

/// The longest list that is read from a cell: a bound on what a damaged file can make of one cell.
const MOST: usize = 1 << 20;

/// The items of a cell: those of a JSON list if it begins like one, else what stands between separators, trimmed. An empty
/// `separator` stands for any white space.
///
/// # Errors
/// What is wrong, in words that say what was expected.
pub(super) fn items<'a>(text: &'a str, separator: &str) -> Result<Vec<Cow<'a, str>>, &'static str> {
    let text = text.trim();
    let items: Vec<Cow<'a, str>> = if text.starts_with('[') && text.ends_with(']') {
        // Lists in other notations, as `[a, b]`, are taken by their separators.
        match serde_json::from_str::<Vec<Json>>(text) {
            Ok(items) => items.into_iter().map(item).collect::<Result<_, _>>()?,
            Err(_) => split(&text[1..text.len() - 1], separator),
        }
    } else {
        split(text, separator)
    };
    if items.len() > MOST { Err("a list of at most 1,048,576 items") } else { Ok(items) }
}

fn item(item: Json) -> Result<Cow<'static, str>, &'static str> {
    match item {
        Json::String(text) => Ok(text.into()),
        Json::Number(number) => Ok(number.to_string().into()),
        Json::Bool(truth) => Ok(truth.to_string().into()),
        _ => Err("a list of texts or numbers"),
    }
}

fn split<'a>(text: &'a str, separator: &str) -> Vec<Cow<'a, str>> {
    let some = |item: &&str| !item.is_empty();
    match separator {
        "" => text.split_whitespace().map(Cow::from).collect(),
        _ => text.split(separator).map(str::trim).filter(some).map(Cow::from).collect(),
    }
}

/// The separators that are looked for, the likelier first; white space last.
const SEPARATORS: [&str; 5] = ["|", ";", ",", "/", ""];

/// The separator that most of the texts contain; white space if none of the others is in a tenth of them.
pub(super) fn separator<'a>(texts: impl Iterator<Item = &'a str> + Clone) -> &'static str {
    let count = |separator: &str| texts.clone().filter(|text| text.contains(separator)).count();
    let enough = texts.clone().count().div_ceil(10);
    let counts = SEPARATORS[..4].iter().map(|separator| (count(separator), *separator));
    // The first of those that are equally frequent.
    let best = counts.rev().max_by_key(|(count, _)| *count);
    best.filter(|(count, _)| *count > 0 && *count >= enough).map_or("", |(_, separator)| separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read() {
        for (text, separator, expected) in [
            ("a|b | c", "|", &["a", "b", "c"][..]),
            ("a  b\tc", "", &["a", "b", "c"]),
            ("[\"x, y\", 2, true]", ",", &["x, y", "2", "true"]),
            ("[a, b]", ",", &["a", "b"]),
            ("", ",", &[]),
            (";;a;", ";", &["a"]),
        ] {
            assert_eq!(items(text, separator).unwrap(), expected, "{text}");
        }
        assert!(items("[[1], 2]", ",").is_err());
        assert!(items(&"[".repeat(100_000), ",").is_ok(), "deep nesting is no list");
    }

    #[test]
    fn separators_are_found() {
        let find = |texts: &[&'static str]| separator(texts.iter().copied());
        assert_eq!(find(&["Action|Comedy", "Drama"]), "|");
        assert_eq!(find(&["a, b; c", "d; e", "f"]), ";");
        assert_eq!(find(&["one two", "three"]), "");
    }
}
