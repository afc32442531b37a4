//! Problems with a recipe, and how they are shown: all at once, each with its place.

use crate::source::{Source, Span};
use serde_json::json;
use std::fmt::{self, Write};

/// What kind of problem it is. The numbers are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The recipe file cannot be read: missing, a directory, too large, not text.
    File,
    /// The text is not TOML.
    Syntax,
    /// The same key stands twice.
    Duplicate,
    /// A key that nothing knows.
    UnknownKey,
    /// A value of another type.
    WrongType,
    /// A value outside its range.
    OutOfRange,
    /// A key that is needed.
    Missing,
    /// A word that is not one of the known ones.
    UnknownWord,
    /// The recipe is written for a newer version.
    Newer,
    /// Two settings that contradict each other.
    Contradiction,
    /// A layer that cannot take what the one before it gives.
    Shape,
    /// A model or batch that does not fit into the memory of this machine.
    TooLarge,
    /// An argument that is not `KEY=VALUE`, or a place that the recipe does not have.
    Override,
}

impl Code {
    /// The number as it is printed: `E2103`.
    pub fn number(self) -> &'static str {
        match self {
            Code::File => "E2100",
            Code::Syntax => "E2101",
            Code::Duplicate => "E2102",
            Code::UnknownKey => "E2103",
            Code::WrongType => "E2104",
            Code::OutOfRange => "E2105",
            Code::Missing => "E2106",
            Code::UnknownWord => "E2107",
            Code::Newer => "E2108",
            Code::Contradiction => "E2109",
            Code::Shape => "E2110",
            Code::TooLarge => "E2111",
            Code::Override => "E2112",
        }
    }
}

/// One problem.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnostic {
    /// What kind of problem it is.
    pub code: Code,
    /// One line: what is wrong.
    pub message: String,
    /// Where, if it has a place.
    pub span: Option<Span>,
    /// What stands beside the carets: the remedy where there is one.
    pub label: String,
    /// Further lines: what is allowed, what it means.
    pub notes: Vec<String>,
}

impl Diagnostic {
    /// A problem without a label and notes.
    pub fn new(code: Code, message: impl Into<String>, span: Option<Span>) -> Self {
        Diagnostic { code, message: message.into(), span, label: String::new(), notes: Vec::new() }
    }

    /// The same with a label beside the carets.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// The same with one more line below.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
}

/// All problems of a recipe, with the texts that they point into.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The recipe, then the arguments.
    pub sources: Vec<Source>,
    /// The problems, in the order of their places.
    pub problems: Vec<Diagnostic>,
}

/// Of a thousand mistakes nobody reads more.
const SHOWN: usize = 25;
/// Longer lines are cut around the place.
const LINE: usize = 110;

impl Report {
    /// A report of these problems, sorted by place; those without a place come last.
    pub fn new(sources: Vec<Source>, mut problems: Vec<Diagnostic>) -> Self {
        problems.sort_by_key(|problem| {
            problem.span.map_or((usize::MAX, 0), |span| (span.source, span.start))
        });
        Report { sources, problems }
    }

    /// The first problem in one line.
    pub fn brief(&self) -> String {
        self.problems.first().map(|problem| problem.message.clone()).unwrap_or_default()
    }

    /// The text for a terminal; with `color`, as escape sequences.
    pub fn render(&self, color: bool) -> String {
        let mut out = String::new();
        for problem in self.problems.iter().take(SHOWN) {
            self.render_one(&mut out, problem, color);
        }
        let count = self.problems.len();
        if count > SHOWN {
            let _ = writeln!(out, "... and {} more", count - SHOWN);
        }
        let s = if count == 1 { "" } else { "s" };
        let _ = write!(out, "{count} problem{s} found; nothing was started.");
        out
    }

    fn render_one(&self, out: &mut String, problem: &Diagnostic, color: bool) {
        let paint = |code, text: String| {
            if color { format!("\x1b[{code}m{text}\x1b[0m") } else { text }
        };
        let head = paint("1;31", format!("error[{}]", problem.code.number()));
        let _ = writeln!(out, "{head}: {}", escape_line(&problem.message));
        let source = problem.span.and_then(|span| self.sources.get(span.source).zip(Some(span)));
        let mut margin = 2;
        if let Some((source, span)) = source {
            let place = source.place(span.start, span.end);
            let number = if source.argument { String::new() } else { place.line.to_string() };
            margin = number.len();
            let arrow = paint("34", "-->".to_string());
            let at = if source.argument {
                format!("{}, character {}", source.name, place.column)
            } else {
                format!("{}:{}:{}", source.name, place.line, place.column)
            };
            let _ = writeln!(out, "{:margin$}{arrow} {at}", " ");
            let (text, column, width) = window(place.text, place.column, place.width);
            let _ = writeln!(out, "{} | {text}", paint("34", number));
            let carets = paint("1;31", "^".repeat(width));
            let line =
                format!("{:margin$} | {:skip$}{carets} {}", "", "", problem.label, skip = column);
            let _ = writeln!(out, "{}", line.trim_end());
        } else if let Some(source) = self.sources.first().filter(|_| problem.code != Code::File) {
            let _ = writeln!(out, "  {} {}", paint("34", "-->".to_string()), source.name);
            if !problem.label.is_empty() {
                let _ = writeln!(out, "   = {}", problem.label);
            }
        }
        for note in &problem.notes {
            let _ = writeln!(out, "{:margin$} = {}", "", escape_line(note));
        }
    }

    /// The same for programs: a list of objects with `code`, `message`, `file`, `line`, `column`,
    /// `help`, `notes`.
    pub fn to_json(&self) -> serde_json::Value {
        let problems = self.problems.iter().map(|problem| {
            let place = problem.span.and_then(|span| {
                let source = self.sources.get(span.source)?;
                Some((source, source.place(span.start, span.end)))
            });
            json!({
                "code": problem.code.number(),
                "message": problem.message,
                "file": place.as_ref().map(|(source, _)| &source.name),
                "line": place.as_ref().map(|(_, place)| place.line),
                "column": place.as_ref().map(|(_, place)| place.column),
                "help": problem.label,
                "notes": problem.notes,
            })
        });
        serde_json::Value::Array(problems.collect())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}

fn escape_line(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let (escaped, plain) =
                if c.is_control() { (Some(c.escape_default()), None) } else { (None, Some(c)) };
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}

/// The part of a line around the place, as one character a column: tabs and control characters are
/// shown as one space or a mark, so that the carets stand where they should.
/// Returns the text, the column from zero and the width of the carets.
fn window(line: &str, column: usize, width: usize) -> (String, usize, usize) {
    let shown = |c: char| match c {
        '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    let length = line.chars().count();
    let column = column - 1;
    if length <= LINE {
        return (line.chars().map(shown).collect(), column, width);
    }
    let first = column.saturating_sub(LINE / 3).min(length.saturating_sub(LINE - 6));
    let (lead, first) = if first < 4 { ("", 0) } else { ("...", first) };
    let mut text = String::from(lead);
    text.extend(line.chars().skip(first).take(LINE - 6).map(shown));
    let column = column - first + lead.len();
    let width = width.min(text.chars().count().saturating_sub(column)).max(1);
    if first + LINE - 6 < length {
        text.push_str("...");
    }
    (text, column, width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_shown_with_its_line_and_carets() {
        let source = Source::new("mnist.toml", "[trainer]\nlearning_rte = 1e-3\n");
        let argument = Source::argument("epochs=abc");
        let report = Report::new(
            vec![source, argument],
            vec![
                Diagnostic::new(
                    Code::WrongType,
                    "`epochs` should be a whole number",
                    Some(Span { source: 1, start: 7, end: 10 }),
                ),
                Diagnostic::new(
                    Code::UnknownKey,
                    "unknown key `learning_rte` in [trainer]",
                    Some(Span { source: 0, start: 10, end: 22 }),
                )
                .label("did you mean `learning_rate`?")
                .note("allowed here: epochs, learning_rate"),
                Diagnostic::new(Code::Missing, "missing table [data]", None).label("add it"),
            ],
        );
        assert_eq!(
            report.to_string(),
            "\
error[E2103]: unknown key `learning_rte` in [trainer]
 --> mnist.toml:2:1
2 | learning_rte = 1e-3
  | ^^^^^^^^^^^^ did you mean `learning_rate`?
  = allowed here: epochs, learning_rate
error[E2104]: `epochs` should be a whole number
 --> command line, character 8
 | epochs=abc
 |        ^^^
error[E2106]: missing table [data]
  --> mnist.toml
   = add it
3 problems found; nothing was started."
        );
        assert_eq!(report.to_json()[0]["line"], 2);
        assert_eq!(report.to_json()[0]["code"], "E2103");
    }

    #[test]
    fn long_lines_are_cut_and_control_characters_never_reach_the_terminal() {
        let text = format!("{}key\u{1b} = 1 {}", " ".repeat(500), "x".repeat(500));
        let source = Source::new("r.toml", text);
        let span = Some(Span { source: 0, start: 500, end: 504 });
        let problem = Diagnostic::new(Code::UnknownKey, "unknown key `key\u{1b}`", span);
        let shown = Report::new(vec![source], vec![problem]).to_string();
        assert!(!shown.contains('\u{1b}'));
        assert!(shown.lines().all(|line| line.chars().count() < 125), "{shown}");
        let lines: Vec<&str> = shown.lines().collect();
        let at = lines[3].find('^').unwrap();
        assert_eq!(&lines[2][at..at + 3], "key");
    }
}
