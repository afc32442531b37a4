//! The short form of a thing: `Conv2D(32, 3, relu, padding = same)`.
//!
//! A name, and in parentheses values with or without a key. A value without a key belongs to the first parameter, in
//! the order of the description, that takes such a value and has none yet. A word needs no quotes; a thing within may
//! have a short form itself.

use super::Value;

/// A thing in its short form.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Short {
    /// Its name.
    pub name: String,
    /// The values, in order, each with its key if it has one.
    pub values: Vec<(Option<String>, Value)>,
}

/// How deep parentheses and brackets may stand in one another.
const DEPTH: usize = 32;

/// Reads the short form. `None` for a plain name, without parentheses.
///
/// # Errors
/// What was expected, and where, in characters from 1.
pub(super) fn parse(text: &str) -> Option<Result<Short, String>> {
    text.contains('(').then(|| {
        let mut reader = Reader { text, at: 0 };
        let short = reader.thing(0)?;
        match reader.peek() {
            None => Ok(short),
            Some(_) => Err(reader.expected("nothing more")),
        }
    })
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&mut self) -> Option<char> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self.text[self.at..].chars().next()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += if found { wanted.len_utf8() } else { 0 };
        found
    }

    fn expected(&mut self, what: &str) -> String {
        let found = match self.peek() {
            None => "the end".to_string(),
            Some(c) if c.is_control() => format!("`{}`", c.escape_debug()),
            Some(c) => format!("`{c}`"),
        };
        let place = self.text[..self.at].chars().count() + 1;
        format!("expected {what} at character {place}, found {found}")
    }

    /// `Name(values)`.
    fn thing(&mut self, depth: usize) -> Result<Short, String> {
        let name = self.word()?;
        if !self.take('(') {
            return Err(self.expected("`(`"));
        }
        let mut values = Vec::new();
        while !self.take(')') {
            if !values.is_empty() && !self.take(',') {
                return Err(self.expected("`,` or `)`"));
            }
            values.push(self.entry(depth + 1)?);
        }
        Ok(Short { name, values })
    }

    fn entry(&mut self, depth: usize) -> Result<(Option<String>, Value), String> {
        let start = self.at;
        if let Ok(key) = self.word()
            && self.take('=')
        {
            return Ok((Some(key), self.value(depth)?));
        }
        self.at = start;
        Ok((None, self.value(depth)?))
    }

    fn word(&mut self) -> Result<String, String> {
        self.peek();
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !(c.is_alphanumeric() || "_-.+/:*".contains(c)));
        let word = &rest[..end.unwrap_or(rest.len())];
        if word.is_empty() {
            return Err(self.expected("a word or a number"));
        }
        self.at += word.len();
        Ok(word.to_string())
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > DEPTH {
            return Err(format!("more than {DEPTH} parentheses within one another"));
        }
        match self.peek() {
            Some('[') => self.list(depth),
            Some(quote @ ('"' | '\'')) => {
                let from = self.at + 1;
                let Some(len) = self.text[from..].find(quote) else {
                    return Err(self.expected("a closing quote"));
                };
                self.at = from + len + 1;
                Ok(Value::Text(self.text[from..from + len].to_string().into()))
            }
            _ => {
                let start = self.at;
                let word = self.word()?;
                if self.peek() == Some('(') {
                    // A thing within: its description reads it when it is known which one is meant.
                    self.at = start;
                    self.thing(depth)?;
                    return Ok(Value::Text(self.text[start..self.at].trim().to_string().into()));
                }
                Ok(plain(word))
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, String> {
        self.take('[');
        let mut values = Vec::new();
        while !self.take(']') {
            if !values.is_empty() && !self.take(',') {
                return Err(self.expected("`,` or `]`"));
            }
            values.push(self.value(depth + 1)?);
        }
        Ok(Value::List(values.into()))
    }
}

/// A number, a truth value, or a word.
fn plain(word: String) -> Value {
    match &*word {
        "true" => return Value::Bool(true),
        "false" => return Value::Bool(false),
        _ => {}
    }
    if let Ok(number) = word.parse() {
        return Value::Int(number);
    }
    // Words such as `inf` and `nan` are no numbers of a recipe.
    let digits = word.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
    match word.parse() {
        Ok(number) if digits => Value::Float(number),
        _ => Value::Text(word.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Short {
        parse(text).unwrap().unwrap()
    }

    #[test]
    fn values_are_numbers_words_lists_and_things() {
        let short =
            read("Conv2D(32, 3, relu, padding = same, stride=[2, 1], scale=-1e-3, on=true)");
        assert_eq!(short.name, "Conv2D");
        let values: Vec<_> =
            short.values.iter().map(|(key, value)| (key.as_deref(), value.to_string())).collect();
        let of = |key, value: &str| (key, value.to_string());
        assert_eq!(values[..3], [of(None, "32"), of(None, "3"), of(None, "\"relu\"")]);
        assert_eq!(values[3], of(Some("padding"), "\"same\""));
        assert_eq!(values[4], of(Some("stride"), "[2, 1]"));
        assert_eq!(values[5], of(Some("scale"), "-0.001"));
        assert_eq!(values[6], of(Some("on"), "true"));
        let nested = read("Dense(10, leaky_relu(slope = 0.1), name = 'a, b')");
        assert_eq!(nested.values[1].1, Value::Text("leaky_relu(slope = 0.1)".into()));
        assert_eq!(nested.values[2].1, Value::Text("a, b".into()));
        assert!(read("Flatten()").values.is_empty());
        assert_eq!(parse("Flatten"), None);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let why = |text: &str| parse(text).unwrap().unwrap_err();
        assert_eq!(why("Dense(10"), "expected `,` or `)` at character 9, found the end");
        assert_eq!(why("Dense(10 20)"), "expected `,` or `)` at character 10, found `2`");
        assert_eq!(why("Dense(10) x"), "expected nothing more at character 11, found `x`");
        assert_eq!(why("(3)"), "expected a word or a number at character 1, found `(`");
        assert_eq!(why("Dense('a)"), "expected a closing quote at character 7, found `'`");
        assert!(why(&"A(".repeat(10_000)).contains("within one another"));
        assert!(why(&format!("A({}", "[".repeat(10_000))).contains("within one another"));
    }
}
