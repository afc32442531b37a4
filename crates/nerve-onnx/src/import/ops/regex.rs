//! Patterns of texts.
//!
//! ONNX has the syntax of RE2, of which that of the crate `regex` is a dialect: it matches in linear time as well. Where the same
//! signs mean something else there, they are rewritten: `\d`, `\s`, `\w` and `\b` speak of ASCII alone, and within brackets `[`,
//! `&`, `~` and `-` are what they are.

use super::Operator;
use super::elementwise::one;
use crate::import::call::{Call, Results};
use nerve_core::Tensor;
use regex::RegexBuilder;

pub(super) const OPERATORS: &[(&str, Operator)] = &[("RegexFullMatch", full_match)];

/// Longest pattern, in bytes, and the most memory that it may become: `(a{1000}){1000}` is short.
const LONGEST: usize = 1 << 16;
const LARGEST: usize = 4 << 20;

fn full_match(call: &Call<'_>) -> Results {
    let texts = call.strings(0)?;
    let pattern = call.text("pattern", "")?;
    if pattern.len() > LONGEST {
        return Err(format!("pattern: {} bytes, at most {LONGEST}", pattern.len()).into());
    }
    let whole = format!(r"\A(?:{})\z", translated(pattern));
    let regex = RegexBuilder::new(&whole).size_limit(LARGEST).dfa_size_limit(LARGEST).build();
    let regex = regex.map_err(|error| format!("pattern {pattern:?}: {error}"))?;
    let found: Vec<bool> = texts.texts.iter().map(|text| regex.is_match(text)).collect();
    one(Tensor::from_slice(&found, texts.dims.clone()))
}

/// A pattern of RE2 as one of the crate.
fn translated(pattern: &str) -> String {
    let (mut out, mut signs) = (String::new(), pattern.chars().peekable());
    let mut inside = false;
    while let Some(sign) = signs.next() {
        match (sign, inside) {
            ('\\', _) => match signs.next() {
                Some('Q') => quoted(&mut out, &mut signs),
                Some(class) => out.push_str(&escaped(class, inside)),
                None => out.push('\\'),
            },
            ('[', false) => {
                inside = true;
                out.push('[');
                // A first `]` is one of the elements.
                if signs.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                if signs.next_if_eq(&']').is_some() {
                    out.push_str(r"\]");
                }
            }
            ('[', true) if signs.peek() == Some(&':') => {
                out.push('[');
                for sign in signs.by_ref() {
                    out.push(sign);
                    if sign == ']' {
                        break;
                    }
                }
            }
            ('[' | '&' | '~', true) => out.extend(['\\', sign]),
            (']', true) => {
                inside = false;
                out.push(']');
            }
            _ => out.push(sign),
        }
    }
    out
}

/// `\d` and the like.
fn escaped(class: char, inside: bool) -> String {
    match (class, inside) {
        ('d', _) => "[0-9]".into(),
        ('D', _) => "[^0-9]".into(),
        ('s', _) => r"[\t\n\f\r ]".into(),
        ('S', _) => r"[^\t\n\f\r ]".into(),
        ('w', _) => "[0-9A-Za-z_]".into(),
        ('W', _) => "[^0-9A-Za-z_]".into(),
        ('b', false) => r"(?-u:\b)".into(),
        (other, _) => format!("\\{other}"),
    }
}

/// What stands between `\Q` and `\E` is meant as it is.
fn quoted(out: &mut String, signs: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    while let Some(sign) = signs.next() {
        if sign == '\\' && signs.next_if_eq(&'E').is_some() {
            return;
        }
        out.push_str(&regex::escape(sign.encode_utf8(&mut [0; 4])));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_re2() {
        for (pattern, yes, no) in [
            (r"\w+", "abc_1", "é"),
            (r"[\w.-]+", "a.b-c", "a b"),
            (r"[^\d]", "é", "7"),
            ("[[]", "[", "]"),
            ("[]a]+", "]a", "["),
            ("[a&&b]+", "a&b", "c"),
            ("[[:alpha:]&]+", "a&", "1"),
            (r"\Qa.b\E.", "a.bc", "axbc"),
            (r"a\b\W", "a ", "ab"),
            ("(?i)straße", "STRAßE", "strasse"),
            (".", "é", "ab"),
        ] {
            let regex = regex::Regex::new(&format!(r"\A(?:{})\z", translated(pattern))).unwrap();
            assert!(regex.is_match(yes), "{pattern} for {yes}");
            assert!(!regex.is_match(no), "{pattern} for {no}");
        }
    }
}
