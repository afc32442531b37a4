//! Records of delimited text: CSV, TSV and their relatives (RFC 4180, read leniently at line ends alone).

use std::path::{Path, PathBuf};

use nerve_formats::{ErrorKind, FormatError};

use super::decode::Decoded;

/// Longest field, in bytes. A quote that is never closed ends here and not with the memory.
const MAX_FIELD: usize = 1 << 20;
/// Most fields of a record.
pub(super) const MAX_COLUMNS: usize = 10_000;
/// Longest record, in bytes.
const MAX_RECORD: usize = 64 << 20;

/// How fields are told apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Dialect {
    /// What stands between two fields.
    pub delimiter: u8,
    /// What stands around a field that holds anything else.
    pub quote: Option<u8>,
    /// Whether a run of blanks is one delimiter, and those at the ends of a line are none.
    pub blanks: bool,
}

/// Where a field stands in the buffer.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: usize,
    end: usize,
    /// Whether it holds doubled quotes.
    doubled: bool,
}

/// What was found at the beginning of a text.
enum Found {
    /// A record, where the next one begins, and how many lines it took.
    Record { next: usize, lines: u64 },
    /// The text ends before the record does.
    More,
}

/// What breaks the rules: what was expected, what was found.
struct Fault {
    expected: String,
    found: String,
}

/// Reads record after record.
pub(super) struct Records {
    text: Decoded,
    path: PathBuf,
    dialect: Dialect,
    buffer: String,
    /// Where the next record begins.
    at: usize,
    /// The line of the next record.
    line: u64,
    whole: bool,
    spans: Vec<Span>,
    /// A field without its doubled quotes.
    field: String,
}

impl Records {
    pub(super) fn new(path: &Path, text: Decoded, dialect: Dialect) -> Records {
        Records {
            text,
            path: path.into(),
            dialect,
            buffer: String::new(),
            at: 0,
            line: 1,
            whole: false,
            spans: Vec::new(),
            field: String::new(),
        }
    }

    /// Reads the next record, and gives the line where it begins; `None` at the end. Empty lines are no records.
    pub(super) fn next(&mut self) -> Result<Option<u64>, FormatError> {
        loop {
            self.pass_empty_lines();
            if self.at == self.buffer.len() && !self.more()? {
                return Ok(None);
            }
            let bytes = &self.buffer.as_bytes()[self.at..];
            if bytes.is_empty() || is_line_end(bytes[0]) {
                // A carriage return that waits for what follows it, or a new piece of the text.
                if !bytes.is_empty() {
                    self.more()?;
                }
                continue;
            }
            let found = record(bytes, self.whole, &self.dialect, &mut self.spans);
            match found.map_err(|fault| self.error(self.line, &fault.expected, &fault.found))? {
                Found::Record { next, lines } => {
                    self.spans.iter_mut().for_each(|span| {
                        span.start += self.at;
                        span.end += self.at;
                    });
                    let line = self.line;
                    (self.at, self.line) = (self.at + next, self.line + lines);
                    if !(self.dialect.blanks && self.spans.is_empty()) {
                        return Ok(Some(line));
                    }
                }
                Found::More if bytes.len() > MAX_RECORD => {
                    let expected = format!("a row of at most {MAX_RECORD} bytes");
                    return Err(self.error(self.line, &expected, "more"));
                }
                Found::More => {
                    self.more()?;
                }
            }
        }
    }

    fn pass_empty_lines(&mut self) {
        let bytes = self.buffer.as_bytes();
        while let Some(&byte) = bytes.get(self.at).filter(|&&byte| is_line_end(byte)) {
            // The line feed behind a carriage return is part of the same end; one at the end of the buffer waits.
            let pair = byte == b'\r' && bytes.get(self.at + 1) == Some(&b'\n');
            if byte == b'\r' && self.at + 1 == bytes.len() && !self.whole {
                return;
            }
            self.at += 1 + usize::from(pair);
            self.line += 1;
        }
    }

    /// Drops what was read and reads on; false at the end of the file.
    fn more(&mut self) -> Result<bool, FormatError> {
        self.buffer.drain(..self.at);
        self.at = 0;
        self.whole = !self.text.fill(&mut self.buffer)?;
        Ok(!self.whole)
    }

    /// How many fields the record has.
    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }

    /// A field of the record.
    pub(super) fn field(&mut self, field: usize) -> &str {
        let Span { start, end, doubled } = self.spans[field];
        let text = &self.buffer[start..end];
        match self.dialect.quote.filter(|_| doubled) {
            None => text,
            Some(quote) => {
                let quote = char::from(quote);
                self.field.clear();
                let mut first = false;
                // Each pair of quotes is one.
                let kept = text.chars().filter(|&c| {
                    first = c == quote && !first;
                    !first
                });
                self.field.extend(kept);
                &self.field
            }
        }
    }

    /// The fields of the record as texts.
    pub(super) fn fields(&mut self) -> Vec<String> {
        (0..self.len()).map(|field| self.field(field).to_string()).collect()
    }

    /// An error in a line of the file.
    pub(super) fn error(&self, line: u64, expected: &str, found: &str) -> FormatError {
        let field = format!("line {line}");
        FormatError::new(ErrorKind::Malformed, &self.path, field, expected, found)
    }
}

fn is_line_end(byte: u8) -> bool {
    byte == b'\n' || byte == b'\r'
}

/// Finds the fields of the record that `text`, which is not empty, begins with. `whole`: nothing follows the text.
fn record(
    text: &[u8],
    whole: bool,
    dialect: &Dialect,
    spans: &mut Vec<Span>,
) -> Result<Found, Fault> {
    spans.clear();
    let (mut at, mut lines) = (0, 1);
    loop {
        if dialect.blanks {
            at += text[at..].iter().take_while(|&&byte| byte == b' ' || byte == b'\t').count();
            if text.get(at).is_none_or(|&byte| is_line_end(byte)) {
                // Blanks before the end of a line are no field.
                return Ok(end_of_record(text, at, whole, lines));
            }
        }
        let quoted = text.get(at).is_some_and(|&byte| Some(byte) == dialect.quote);
        let span = match quoted {
            true => match quoted_field(&text[at + 1..], whole, dialect, &mut lines)? {
                Some(span) => Span { start: span.start + at + 1, end: span.end + at + 1, ..span },
                None => return Ok(Found::More),
            },
            false => Span { start: at, end: at + plain_len(&text[at..], dialect), doubled: false },
        };
        if span.end - span.start > MAX_FIELD {
            return Err(too_long());
        }
        spans.push(span);
        if spans.len() > MAX_COLUMNS {
            let expected = format!("at most {MAX_COLUMNS} columns");
            return Err(Fault { expected, found: "more".into() });
        }
        at = span.end + usize::from(quoted);
        match text.get(at) {
            Some(&byte) if !is_line_end(byte) => at += 1,
            _ => return Ok(end_of_record(text, at, whole, lines)),
        }
    }
}

/// The record ends at `at`, with the end of a line or of the text.
fn end_of_record(text: &[u8], at: usize, whole: bool, lines: u64) -> Found {
    match (text.get(at), text.get(at + 1)) {
        (None, _) | (Some(b'\r'), None) if !whole => Found::More,
        (Some(b'\r'), Some(b'\n')) => Found::Record { next: at + 2, lines },
        (Some(_), _) => Found::Record { next: at + 1, lines },
        (None, _) => Found::Record { next: at, lines },
    }
}

/// How long the field without quotes is that `text` begins with.
fn plain_len(text: &[u8], dialect: &Dialect) -> usize {
    let ends = |&byte: &u8| {
        byte == dialect.delimiter
            || is_line_end(byte)
            || (dialect.blanks && (byte == b' ' || byte == b'\t'))
    };
    text.iter().position(ends).unwrap_or(text.len())
}

/// Finds the end of the field whose opening quote stands before `text`; `None` when more text is needed.
fn quoted_field(
    text: &[u8],
    whole: bool,
    dialect: &Dialect,
    lines: &mut u64,
) -> Result<Option<Span>, Fault> {
    let quote = dialect.quote.unwrap_or(b'"');
    let (mut at, mut doubled) = (0, false);
    loop {
        let Some(length) = text[at..].iter().position(|&byte| byte == quote) else {
            return match (whole, text.len() > MAX_FIELD) {
                (_, true) => Err(too_long()),
                (false, false) => Ok(None),
                (true, false) => Err(Fault {
                    expected: "a closing quote".into(),
                    found:
                        "the end of the file; where quotes are plain characters, write quote = \"\""
                            .into(),
                }),
            };
        };
        at += length;
        match text.get(at + 1) {
            None if !whole => return Ok(None),
            Some(&next) if next == quote => {
                doubled = true;
                at += 2;
            }
            Some(&next)
                if next != dialect.delimiter
                    && !is_line_end(next)
                    && !(dialect.blanks && next == b'\t') =>
            {
                return Err(Fault {
                    expected: "a delimiter or the end of the line behind a closing quote".into(),
                    found: format!(
                        "`{}`; where quotes are plain characters, write quote = \"\"",
                        String::from_utf8_lossy(&text[at + 1..text.len().min(at + 9)])
                    ),
                });
            }
            _ => {
                *lines += line_ends(&text[..at]);
                return Ok(Some(Span { start: 0, end: at, doubled }));
            }
        }
    }
}

/// How many lines end in a text: with `\n`, `\r\n` or `\r`.
fn line_ends(text: &[u8]) -> u64 {
    let ends = text.iter().filter(|&&byte| is_line_end(byte)).count();
    let pairs = text.windows(2).filter(|pair| pair == b"\r\n").count();
    (ends - pairs) as u64
}

fn too_long() -> Fault {
    let expected = format!("fields of at most {MAX_FIELD} bytes");
    Fault { expected, found: "a longer one, maybe a quote that is never closed".into() }
}
