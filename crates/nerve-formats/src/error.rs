//! The one error of this crate: which file, where in it, what was expected, what was found.

use std::fmt;
use std::io;
use std::path::Path;

/// What sort of trouble a [`FormatError`] reports; a program chooses its exit code by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The operating system refused: no such file, no permission, disk full, not a regular file.
    Io,
    /// The bytes break the rules of their format.
    Malformed,
    /// The bytes are right, but use a part of the format that nerve does not read.
    Unsupported,
    /// The file is well formed, but not the one that was asked for: a wrong rank, a missing tensor.
    Mismatch,
    /// Reading on would take more bytes, tensors or memory than the caller allows.
    Limit,
}

/// Why a file could not be read or written, as one line:
///
/// `labels.idx: data of 10000 at byte 8: expected 10000 bytes, found 9999 left of 10007 in all`
///
/// Everything that comes from the file itself (names, values, its path) is escaped and shortened, so
/// that a message is always safe to print on a terminal.
#[derive(Clone, PartialEq, Eq)]
pub struct FormatError(Box<Details>);

#[derive(Clone, PartialEq, Eq)]
struct Details {
    kind: ErrorKind,
    io_kind: Option<io::ErrorKind>,
    file: String,
    field: String,
    offset: Option<u64>,
    expected: String,
    found: String,
}

/// Longest parts of a message, in characters. A path keeps its end, everything else its beginning.
const MAX_FILE: usize = 200;
const MAX_FIELD: usize = 160;
const MAX_TEXT: usize = 2000;

impl FormatError {
    /// An error about `field` (a part of the file, or a thing the file should be) of `file`.
    pub fn new(
        kind: ErrorKind,
        file: impl AsRef<Path>,
        field: impl AsRef<str>,
        expected: impl AsRef<str>,
        found: impl AsRef<str>,
    ) -> Self {
        FormatError(Box::new(Details {
            kind,
            io_kind: None,
            file: file_name(file.as_ref()),
            field: escape(field.as_ref(), MAX_FIELD),
            offset: None,
            expected: escape(expected.as_ref(), MAX_TEXT),
            found: escape(found.as_ref(), MAX_TEXT),
        }))
    }

    /// An error of the operating system while doing `action` ("cannot open", "cannot write").
    pub fn io(file: impl AsRef<Path>, action: impl AsRef<str>, error: &io::Error) -> Self {
        let mut e = FormatError::new(ErrorKind::Io, file, action, "", error.to_string());
        e.0.io_kind = Some(error.kind());
        e
    }

    /// The same error, saying at which byte of the file it was noticed.
    pub fn at(mut self, offset: u64) -> Self {
        self.0.offset = Some(offset);
        self
    }

    /// The sort of trouble.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// For [`ErrorKind::Io`]: what the operating system said, for instance
    /// [`io::ErrorKind::NotFound`].
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        self.0.io_kind
    }

    /// The file's name as shown, escaped.
    pub fn file(&self) -> &str {
        &self.0.file
    }

    /// The part of the file that is wrong, escaped.
    pub fn field(&self) -> &str {
        &self.0.field
    }

    /// The byte at which the trouble was noticed, if there is one; in a gzip file it is counted
    /// after decompression.
    pub fn offset(&self) -> Option<u64> {
        self.0.offset
    }

    /// What should have been there; empty for [`ErrorKind::Io`].
    pub fn expected(&self) -> &str {
        &self.0.expected
    }

    /// What was there instead, or what the operating system said.
    pub fn found(&self) -> &str {
        &self.0.found
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let d = &*self.0;
        write!(f, "{}: {}", d.file, d.field)?;
        if let Some(offset) = d.offset {
            write!(f, " at byte {offset}")?;
        }
        if d.expected.is_empty() {
            write!(f, ": {}", d.found)
        } else {
            write!(f, ": expected {}, found {}", d.expected, d.found)
        }
    }
}

/// The message itself: what `unwrap` and `main` print must be as safe as `Display`.
impl fmt::Debug for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FormatError::{:?}({self})", self.0.kind)
    }
}

impl std::error::Error for FormatError {}

/// `text` as it may stand in a message: control and invisible characters as `\n`, `\u{1b}`, and no
/// longer than `max` characters; what is cut off is counted.
///
/// Backslashes and quotes stay, so that escaping twice changes nothing.
///
/// ```
/// use nerve_formats::escape;
/// assert_eq!(escape("fc1.weight", 64), "fc1.weight");
/// assert_eq!(escape("red\u{1b}[31m\n", 64), "red\\u{1b}[31m\\n");
/// assert_eq!(escape(&"x".repeat(1_000_000), 40).chars().count(), 40);
/// ```
pub fn escape(text: &str, max: usize) -> String {
    // Twice the length is enough to see whether it must be cut, whatever its size.
    let shown: String = escaped(text.chars()).take(max + 1).collect();
    if shown.chars().count() <= max {
        return shown;
    }
    let note = format!("... ({} bytes)", text.len());
    let keep = max.saturating_sub(note.len());
    shown.chars().take(keep).chain(note.chars()).take(max).collect()
}

fn escaped(text: impl Iterator<Item = char>) -> impl Iterator<Item = char> {
    text.flat_map(|c| {
        let plain = matches!(c, '\\' | '\'' | '"');
        let (one, many) = if plain { (Some(c), None) } else { (None, Some(c.escape_debug())) };
        one.into_iter().chain(many.into_iter().flatten())
    })
}

/// A path as shown: escaped, and cut at the front, for the end tells files apart.
pub(crate) fn file_name(path: &Path) -> String {
    let all: Vec<char> = escaped(path.to_string_lossy().chars()).collect();
    match all.len().checked_sub(MAX_FILE) {
        None | Some(0) => all.into_iter().collect(),
        Some(over) => "...".chars().chain(all.into_iter().skip(over + 3)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_and_names_everything() {
        let e = FormatError::new(ErrorKind::Malformed, "a/b.idx", "dims", "3", "2").at(4);
        assert_eq!(e.to_string(), "a/b.idx: dims at byte 4: expected 3, found 2");
        let e = FormatError::io("x", "cannot open", &io::Error::from(io::ErrorKind::NotFound));
        assert_eq!(e.to_string(), "x: cannot open: entity not found");
        assert_eq!(e.io_kind(), Some(io::ErrorKind::NotFound));
    }

    #[test]
    fn nothing_from_outside_reaches_the_terminal_raw() {
        let evil = "a\u{1b}[2J\r\n\0\u{202e}\u{85}b";
        let e = FormatError::new(ErrorKind::Malformed, evil, evil, evil, evil);
        for c in e.to_string().chars().chain(format!("{e:?}").chars()) {
            assert!(!c.is_control() && c != '\u{202e}', "{c:?} in {e}");
        }
    }

    #[test]
    fn escaping_is_idempotent_and_bounded() {
        for text in ["", "a", "\n\\n\"'", &"\u{1b}".repeat(500), &"é".repeat(500)] {
            for max in [0, 1, 20, 100] {
                let once = escape(text, max);
                assert!(once.chars().count() <= max);
                assert_eq!(escape(&once, max), once);
            }
        }
    }

    #[test]
    fn a_long_path_keeps_its_end() {
        let path = "d/".repeat(1000) + "labels.idx";
        let shown = file_name(Path::new(&path));
        assert!(shown.starts_with("...") && shown.ends_with("d/labels.idx"));
        assert_eq!(shown.chars().count(), MAX_FILE);
    }
}
