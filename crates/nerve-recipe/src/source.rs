//! Where a recipe's text comes from: a file, the program itself, or an argument.

use crate::diagnostic::{Code, Diagnostic, Report};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The largest recipe that is read: one mebibyte. Written by hand, none comes near it.
pub const LIMIT: u64 = 1 << 20;

/// A text that problems can point into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// How messages name it: the path as it was given, or `command line`.
    pub name: String,
    /// The text.
    pub text: String,
    /// Whether it is one `KEY=VALUE` argument, which has no lines to count.
    pub argument: bool,
    /// The folder that relative file names in it start from; empty for the current one.
    pub folder: PathBuf,
}

/// A range of bytes in one of the sources of a recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Which source, counted from zero: the recipe itself, then each argument.
    pub source: usize,
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// The place of a span as people count it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// Line, from one.
    pub line: usize,
    /// Column in characters, from one.
    pub column: usize,
    /// How many characters of the line the span covers, at least one.
    pub width: usize,
    /// The whole line without its end.
    pub text: &'a str,
}

impl Source {
    /// A recipe from memory; `name` stands in messages.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Source { name: name.into(), text: text.into(), argument: false, folder: PathBuf::new() }
    }

    /// One `KEY=VALUE` of the command line.
    pub fn argument(text: impl Into<String>) -> Self {
        Source { argument: true, ..Source::new("command line", text) }
    }

    /// Reads a recipe file: a regular file, of at most [`LIMIT`] bytes, in UTF-8, not empty.
    ///
    /// # Errors
    /// One problem, that names the file and what was expected.
    pub fn read(path: &Path) -> Result<Self, Report> {
        let name = escape(&path.to_string_lossy());
        let refuse = |message: String, note: &str| {
            let mut problem = Diagnostic::new(Code::File, message, None);
            if !note.is_empty() {
                problem.notes.push(note.to_string());
            }
            Report::new(vec![Source::new(name.clone(), "")], vec![problem])
        };
        let cannot = |error: std::io::Error| refuse(format!("cannot read `{name}`: {error}"), "");
        // The kind is asked for before opening: to open a pipe may wait for ever.
        let kind = std::fs::metadata(path).map_err(cannot)?;
        if kind.is_dir() {
            return Err(refuse(format!("`{name}` is a directory, expected a recipe file"), ""));
        }
        if !kind.is_file() {
            return Err(refuse(format!("`{name}` is not a regular file"), ""));
        }
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(LIMIT + 1).read_to_end(&mut bytes))
            .map_err(cannot)?;
        if bytes.len() as u64 > LIMIT {
            let found = kind.len();
            return Err(refuse(
                format!("`{name}` has {found} bytes, a recipe has at most {LIMIT}"),
                "is this a data file? a recipe is a short TOML text",
            ));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            let line = 1 + error.as_bytes()[..at].iter().filter(|&&b| b == b'\n').count();
            refuse(
                format!("`{name}` is not UTF-8 text: line {line}, byte {at}"),
                "save it as UTF-8; a recipe is a TOML text",
            )
        })?;
        // A byte order mark is no mistake of the writer's, and no part of the text.
        let text = text.strip_prefix('\u{feff}').map(str::to_string).unwrap_or(text);
        if text.trim().is_empty() {
            return Err(refuse(
                format!("`{name}` is empty"),
                "a recipe has the tables [data], [model] and [trainer]",
            ));
        }
        let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
        Ok(Source { folder, ..Source::new(name, text) })
    }

    /// The line, column and width of a range of bytes. Any range is taken; it is moved to where
    /// the text has characters.
    pub fn place(&self, start: usize, end: usize) -> Place<'_> {
        let text = self.text.as_str();
        let start = floor_char(text, start.min(text.len()));
        let begin = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let stop = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let line_text = text[begin..stop].trim_end_matches('\r');
        let end = floor_char(text, end.clamp(start, begin + line_text.len().max(start - begin)));
        Place {
            line: 1 + text[..begin].matches('\n').count(),
            column: 1 + text[begin..start].chars().count(),
            width: text[start..end].chars().count().max(1),
            text: line_text,
        }
    }
}

fn floor_char(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// A name from outside as it may stand in a message: control characters escaped, so that no
/// terminal obeys them, and at most some 200 characters.
pub fn escape(name: &str) -> String {
    nerve_formats::escape(name, 200)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(path: &Path) -> String {
        Source::read(path).unwrap_err().to_string()
    }

    #[test]
    fn f11_no_recipe_file() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        assert!(refusal(folder.path()).contains("is a directory, expected a recipe file"));
        assert!(refusal(&folder.path().join("none.toml")).contains("cannot read"));
        assert!(refusal(&at("empty.toml", b"")).contains("is empty"));
        assert!(refusal(&at("blank.toml", b" \n\n")).contains("is empty"));
        let text = refusal(&at("latin.toml", b"a = 1\nb = \"\xe9\"\n"));
        assert!(text.contains("is not UTF-8 text: line 2, byte 11"), "{text}");
        let large = folder.path().join("large.toml");
        File::create(&large).unwrap().set_len(1 << 30).unwrap();
        assert!(refusal(&large).contains("has 1073741824 bytes, a recipe has at most 1048576"));
        // The accept twin: just inside the limit, and with a byte order mark.
        let whole = at("whole.toml", &[b"# ".as_slice(), &vec![b'x'; (1 << 20) - 2]].concat());
        assert_eq!(Source::read(&whole).unwrap().text.len(), 1 << 20);
        assert_eq!(Source::read(&at("bom.toml", b"\xef\xbb\xbfa = 1")).unwrap().text, "a = 1");
    }

    #[test]
    fn f08_f09_there_are_no_aliases_and_nothing_is_included() {
        let load = |text: &str| crate::Recipe::load(Source::new("r.toml", text), &[]);
        // Nine lists of nine aliases each: a thousand million texts, if they were followed.
        let bomb = (1..10).fold("a0: &a0 [x, x]\n".to_string(), |text, i| {
            let aliases = vec![format!("*a{}", i - 1); 9].join(", ");
            format!("{text}a{i}: &a{i} [{aliases}]\n")
        });
        let error = load(&bomb).unwrap_err().to_string();
        assert!(error.contains("not TOML"), "{error:.200}");
        for key in ["include", "extends", "import"] {
            let text = format!("{key} = \"../../other.toml\"\n[data]\npath = \"x.csv\"\n");
            let error = load(&text).unwrap_err().to_string();
            assert!(error.contains(&format!("unknown key `{key}`")), "{error}");
        }
    }

    #[test]
    fn places_are_counted_from_one_in_characters() {
        let source = Source::new("r", "a = 1\r\n\u{e9}\u{e9} = \"x\"\nlast");
        assert_eq!(source.place(0, 1), Place { line: 1, column: 1, width: 1, text: "a = 1" });
        assert_eq!(
            source.place(14, 17),
            Place { line: 2, column: 6, width: 3, text: "\u{e9}\u{e9} = \"x\"" }
        );
        // Past the end, inside a character, over a line end: still a place.
        assert_eq!(source.place(900, 999).line, 3);
        assert_eq!(source.place(8, 8).line, 2);
        assert_eq!(source.place(0, 99).width, 5);
    }

    #[test]
    fn names_from_outside_cannot_move_the_cursor() {
        assert_eq!(escape("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(escape(&"x".repeat(5000)).len(), 200);
    }
}
