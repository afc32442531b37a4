//! The recipe as a tree in which every key and every value knows its place.

use crate::diagnostic::{Code, Diagnostic};
use crate::source::Span;
use nerve_formats::spec::{Segment, Target, Value};
use toml::de::{DeTable, DeValue};

/// A value with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it stands.
    pub span: Span,
    /// What it is.
    pub data: Data,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// A number, text or truth value; never a list or table.
    Scalar(Value),
    /// A list.
    List(Vec<Node>),
    /// A table.
    Table(Vec<Entry>),
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub key_span: Span,
    /// Its value.
    pub node: Node,
}

impl Node {
    /// The entries of a table; none for anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.data {
            Data::Table(entries) => entries,
            _ => &[],
        }
    }

    /// The value under a key of a table.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The value under a key of a table, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        match &mut self.data {
            Data::Table(entries) => {
                entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.node)
            }
            _ => None,
        }
    }

    /// The value without places.
    pub fn value(&self) -> Value {
        match &self.data {
            Data::Scalar(value) => value.clone(),
            Data::List(nodes) => Value::List(nodes.iter().map(Node::value).collect()),
            Data::Table(_) => Value::Table(self.pairs()),
        }
    }

    /// The keys and values of a table without places.
    pub fn pairs(&self) -> Vec<(String, Value)> {
        self.entries().iter().map(|entry| (entry.key.clone(), entry.node.value())).collect()
    }

    /// The place of what a path from here leads to; of the last part that exists, where it ends early.
    pub fn find(&self, path: &[Segment], target: Target) -> Span {
        let mut node = self;
        let mut span = self.span;
        for segment in path {
            let next = match segment {
                // After a key that stands twice under two names, the last one is meant.
                Segment::Key(key) => node.entries().iter().rfind(|entry| entry.key == *key),
                Segment::Index(at) => match &node.data {
                    Data::List(nodes) => {
                        let Some(next) = nodes.get(*at) else { return span };
                        (node, span) = (next, next.span);
                        continue;
                    }
                    _ => None,
                },
            };
            let Some(entry) = next else { return span };
            node = &entry.node;
            span = if target == Target::Key { entry.key_span } else { entry.node.span };
        }
        // A table written as `[section]` has its header as its place; an inline one is pointed at
        // by its `type`, which is what names it.
        match node.get("type") {
            Some(kind) if target == Target::Value => kind.node.span,
            _ => span,
        }
    }
}

/// Reads TOML. Where the text has mistakes, the tree holds what could be read, and each mistake is
/// a problem.
pub fn parse(source: usize, text: &str) -> (Node, Vec<Diagnostic>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut problems: Vec<Diagnostic> = errors
        .iter()
        .map(|error| {
            let span = error.span().map(|span| Span { source, start: span.start, end: span.end });
            syntax_problem(error.message(), span, text)
        })
        .collect();
    // A mistake may be reported once for each token that it spoils.
    problems.dedup_by_key(|problem| problem.span.map(|span| line_start(text, span.start)));
    let span = Span { source, start: table.span().start, end: table.span().end };
    let data = from_table(source, 0, table.get_ref(), &mut problems);
    (Node { span, data }, problems)
}

/// Reads one TOML value that stands at `offset` of a source. `None` where it is none.
pub fn parse_value(source: usize, offset: usize, text: &str) -> Option<(Node, Vec<Diagnostic>)> {
    let value = DeValue::parse(text).ok()?;
    let mut problems = Vec::new();
    let node = from_value(source, offset, value.span(), value.get_ref(), &mut problems);
    Some((node, problems))
}

fn line_start(text: &str, at: usize) -> usize {
    text.as_bytes()[..at.min(text.len())].iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1)
}

fn syntax_problem(message: &str, span: Option<Span>, text: &str) -> Diagnostic {
    if message.starts_with("duplicate key") {
        let key = span.and_then(|span| text.get(span.start..span.end)).unwrap_or("");
        return Diagnostic::new(Code::Duplicate, format!("the key `{key}` stands twice"), span)
            .label("remove one of the two");
    }
    if message.starts_with("recursion limit") {
        return Diagnostic::new(Code::Syntax, "tables or lists are nested too deep", span)
            .label("at most 80 levels are read");
    }
    Diagnostic::new(Code::Syntax, format!("not TOML: {message}"), span)
}

fn from_table(
    source: usize,
    offset: usize,
    table: &DeTable<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Data {
    let mut entries: Vec<Entry> = table
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            key_span: place(source, offset, key.span()),
            node: from_value(source, offset, value.span(), value.get_ref(), problems),
        })
        .collect();
    // The parser sorts by key; people read in their own order.
    entries.sort_by_key(|entry| entry.key_span.start);
    Data::Table(entries)
}

fn from_value(
    source: usize,
    offset: usize,
    range: std::ops::Range<usize>,
    value: &DeValue<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Node {
    let span = place(source, offset, range);
    let mut too_large = |text: String| {
        let message = format!("the number `{text}` does not fit into 64 bits");
        problems.push(Diagnostic::new(Code::OutOfRange, message, Some(span)));
    };
    let data = match value {
        DeValue::String(text) => Data::Scalar(Value::Text(text.to_string().into())),
        DeValue::Boolean(value) => Data::Scalar(Value::Bool(*value)),
        DeValue::Datetime(_) => Data::Scalar(Value::Other("a date or time")),
        DeValue::Integer(number) => {
            let read = i64::from_str_radix(number.as_str(), number.radix());
            Data::Scalar(Value::Int(read.unwrap_or_else(|_| {
                too_large(number.to_string());
                1
            })))
        }
        DeValue::Float(number) => {
            let text = number.as_str();
            let read = text.parse::<f64>().unwrap_or(f64::INFINITY);
            if read.is_infinite() && !text.contains("inf") {
                too_large(text.to_string());
            }
            Data::Scalar(Value::Float(read))
        }
        DeValue::Array(values) => Data::List(
            values
                .iter()
                .map(|value| from_value(source, offset, value.span(), value.get_ref(), problems))
                .collect(),
        ),
        DeValue::Table(table) => from_table(source, offset, table, problems),
    };
    Node { span, data }
}

fn place(source: usize, offset: usize, range: std::ops::Range<usize>) -> Span {
    Span { source, start: offset + range.start, end: offset + range.end }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<(&'static str, String)> {
        let (_, problems) = parse(0, text);
        problems.into_iter().map(|p| (p.code.number(), p.message)).collect()
    }

    #[test]
    fn every_key_and_value_knows_its_place() {
        let text = "seed = 42\n[trainer]\nopt = { type = \"adam\", lr = 0.1 }\nlist = [1, 2]\n";
        let (tree, problems) = parse(0, text);
        assert!(problems.is_empty());
        let at = |path: &[Segment], target| {
            let span = tree.find(path, target);
            &text[span.start..span.end]
        };
        let key = |name: &str| Segment::Key(name.to_string());
        assert_eq!(at(&[key("seed")], Target::Key), "seed");
        assert_eq!(at(&[key("seed")], Target::Value), "42");
        assert_eq!(at(&[key("trainer"), key("opt"), key("lr")], Target::Value), "0.1");
        assert_eq!(at(&[key("trainer"), key("opt")], Target::Value), "\"adam\"");
        assert_eq!(at(&[key("trainer"), key("list"), Segment::Index(1)], Target::Value), "2");
        assert_eq!(at(&[key("trainer"), key("none")], Target::Value), "[trainer]");
        let keys: Vec<_> =
            tree.get("trainer").unwrap().node.entries().iter().map(|e| &e.key).collect();
        assert_eq!(keys, ["opt", "list"]);
    }

    #[test]
    fn f05_duplicate_keys_are_refused() {
        assert_eq!(texts("a = 1\na = 2\n"), [("E2102", "the key `a` stands twice".to_string())]);
        assert_eq!(texts("[t]\na = 1\n[t]\nb = 2\n")[0].0, "E2102");
        assert_eq!(texts("t = { a = 1, a = 2 }\n")[0].0, "E2102");
    }

    #[test]
    fn f06_numbers_that_do_not_fit() {
        let found = texts("a = 9223372036854775808\nb = 1e400\nc = 0xFFFFFFFFFFFFFFFFF\n");
        assert_eq!(found.len(), 3);
        assert!(found.iter().all(|(code, text)| *code == "E2105" && text.contains("64 bits")));
        assert!(texts("a = 9223372036854775807\nb = 1e308\nc = 0xFF\nd = inf\n").is_empty());
    }

    #[test]
    fn f07_nesting_without_end() {
        for text in [
            format!("a = {}{}", "[".repeat(100_000), "]".repeat(100_000)),
            format!("{}x = 1", "a.".repeat(100_000)),
            format!("[{}x]", "a.".repeat(100_000)),
            format!("a = {}", "{ a = ".repeat(100_000)),
        ] {
            let found = texts(&text);
            assert!(found.iter().any(|(code, _)| *code == "E2101"), "{:?}", found.first());
        }
        assert!(texts(&format!("a = {}{}", "[".repeat(60), "]".repeat(60))).is_empty());
    }

    #[test]
    fn all_syntax_errors_are_found_at_once() {
        let found = texts("a = \nb = 1\nc = 'x\nd 2\n");
        assert!(found.len() >= 3, "{found:?}");
        assert!(found.iter().all(|(code, text)| *code == "E2101" && text.starts_with("not TOML")));
    }

    #[test]
    fn random_mutations_of_a_recipe_never_panic() {
        let text =
            "seed = 1\n[model]\nlayers = [\"a\", { type = \"b\", k = [1, 2.5] }]\n[[x.y]]\nz=1";
        let mut state = 7u64;
        let mut next = |n: usize| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as usize % n
        };
        for _ in 0..2000 {
            let mut chars: Vec<char> = text.chars().collect();
            for _ in 0..1 + next(4) {
                let at = next(chars.len().max(1));
                if chars.is_empty() {
                    break;
                }
                match next(3) {
                    0 => drop(chars.remove(at)),
                    1 => {
                        chars[at] =
                            ['[', ']', '{', '}', '"', '=', '.', '\n', '#', '\u{e9}'][next(10)]
                    }
                    _ => chars.truncate(at.max(1)),
                }
            }
            let text: String = chars.into_iter().collect();
            let (tree, problems) = parse(0, &text);
            let _ = tree.value();
            let source = crate::source::Source::new("r", text);
            let _ = crate::diagnostic::Report::new(vec![source], problems).to_string();
        }
    }
}
