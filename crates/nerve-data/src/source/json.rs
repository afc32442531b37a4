//! JSON: an object a line, or a list of objects.

mod object;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use nerve_formats::{ErrorKind, FormatError, escape};

use self::object::{Entry, each_entry};
use super::csv::{check_names, empty};
use super::decode::Decoded;
use super::records::MAX_COLUMNS;
use super::{Chunks, Options, Source, origin};
use crate::{Cells, Column, DataError, Table, Texts};

/// Longest object, in bytes.
const MAX_OBJECT: usize = 64 << 20;
/// How many rows are looked at for the names of the columns.
const LOOKED: usize = 1000;

/// A file of objects.
pub(super) struct Json {
    path: PathBuf,
    options: Options,
    columns: Vec<String>,
}

impl Json {
    /// Finds the columns: the keys of the first rows, in the order in which they come up, unless they are given.
    pub(super) fn open(path: &Path, options: &Options) -> Result<Json, DataError> {
        let mut columns = options.columns.clone();
        // For each key whether nothing but null was seen there.
        let mut known: HashMap<String, bool> = HashMap::new();
        let mut objects = Objects::open(path, options)?;
        let mut rows = 0;
        while rows < LOOKED && objects.next()? {
            rows += 1;
            if !options.columns.is_empty() {
                break;
            }
            let add = |key: &str, entry: Entry<'_>| {
                if known.len() > MAX_COLUMNS {
                    return Err(format!("more than {MAX_COLUMNS} keys"));
                }
                let null = matches!(entry, Entry::Null);
                match known.get_mut(key) {
                    Some(nothing) => *nothing &= null,
                    None => {
                        known.insert(key.to_string(), null);
                        columns.push(key.to_string());
                    }
                }
                Ok(())
            };
            each_entry(objects.text(), add).map_err(|found| objects.error(&found))?;
        }
        if rows == 0 {
            return Err(empty(path, "no object").into());
        }
        // A null in the place of an object is no column of its own.
        let outer: HashSet<String> = columns
            .iter()
            .filter_map(|key| key.split_once('.').map(|(outer, _)| outer.to_string()))
            .collect();
        columns.retain(|key| known.get(key) != Some(&true) || !outer.contains(key));
        if columns.is_empty() {
            return Err(empty(path, "objects without keys").into());
        }
        check_names(path, &columns)?;
        Ok(Json { path: path.into(), options: options.clone(), columns })
    }
}

impl Source for Json {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn chunks(&self) -> Result<Box<dyn Chunks>, DataError> {
        Ok(Box::new(JsonChunks {
            path: self.path.clone(),
            objects: Objects::open(&self.path, &self.options)?,
            places: self.columns.iter().cloned().zip(0..).collect(),
            columns: self.columns.clone(),
            // Names that were given choose among the keys.
            chosen: !self.options.columns.is_empty(),
        }))
    }
}

struct JsonChunks {
    path: PathBuf,
    objects: Objects,
    columns: Vec<String>,
    places: HashMap<String, usize>,
    chosen: bool,
}

impl JsonChunks {
    fn row(&mut self, cells: &mut [Texts]) -> Result<(), String> {
        let before = cells[0].len();
        let mut next = 0;
        each_entry(self.objects.text(), |key, entry| {
            // Objects mostly have their keys in one order.
            let place = match self.columns.get(next) {
                Some(name) if name == key => Some(next),
                _ => self.places.get(key).copied(),
            };
            match place {
                Some(place) if cells[place].len() > before => {
                    return Err(format!("the key `{}` twice", escape(key, 80)));
                }
                Some(place) => {
                    next = place + 1;
                    match entry {
                        Entry::Null => cells[place].push(None),
                        Entry::Text(text) => cells[place].push(Some(text)),
                    }
                }
                None if self.chosen || matches!(entry, Entry::Null) => {}
                None => {
                    return Err(format!(
                        "the key `{}`, which the first {LOOKED} rows do not have; list all in `columns`",
                        escape(key, 80)
                    ));
                }
            }
            Ok(())
        })?;
        for texts in cells.iter_mut().filter(|texts| texts.len() == before) {
            texts.push(None);
        }
        Ok(())
    }
}

impl Chunks for JsonChunks {
    fn next(&mut self, rows: usize) -> Result<Option<Table>, DataError> {
        let mut cells: Vec<Texts> = self.columns.iter().map(|_| Texts::default()).collect();
        let mut lines = Vec::new();
        while lines.len() < rows && self.objects.next()? {
            self.row(&mut cells).map_err(|found| self.objects.error(&found))?;
            lines.push((0, self.objects.line));
        }
        if lines.is_empty() {
            return Ok(None);
        }
        let named = self.columns.iter().zip(cells);
        let columns =
            named.map(|(name, texts)| Column { name: name.clone(), cells: Cells::Text(texts) });
        Table::new(columns.collect(), origin(&self.path, lines)).map(Some)
    }
}

/// Reads object after object.
struct Objects {
    path: PathBuf,
    text: Decoded,
    buffer: String,
    /// Where the object begins, and where what follows it does.
    at: usize,
    next: usize,
    /// The line where the object begins, and that of what follows it.
    line: u64,
    next_line: u64,
    whole: bool,
    list: List,
}

/// Where in a list the reader stands.
#[derive(Clone, Copy, Debug, PartialEq)]
enum List {
    /// Nothing was read yet.
    Unknown,
    /// There is no list: an object a line.
    None,
    /// Behind the bracket, or behind a comma.
    Begins { first: bool },
    /// Behind an object.
    Object,
    /// Behind the closing bracket.
    Closed,
}

impl Objects {
    fn open(path: &Path, options: &Options) -> Result<Objects, FormatError> {
        Ok(Objects {
            path: path.into(),
            text: Decoded::open(path, options)?,
            buffer: String::new(),
            at: 0,
            next: 0,
            line: 1,
            next_line: 1,
            whole: false,
            list: List::Unknown,
        })
    }

    /// The text of the object.
    fn text(&self) -> &str {
        &self.buffer[self.at..self.next]
    }

    fn error(&self, found: &str) -> FormatError {
        let field = format!("line {}", self.line);
        let expected = "a JSON object, whose keys are the columns";
        FormatError::new(ErrorKind::Malformed, &self.path, field, expected, found)
    }

    /// Finds the next object; false at the end.
    fn next(&mut self) -> Result<bool, FormatError> {
        loop {
            let Some(byte) = self.skip()? else {
                return match self.list {
                    List::Unknown | List::None | List::Closed => Ok(false),
                    _ => Err(self.error("the end of the file within a list")),
                };
            };
            match (self.list, byte) {
                (List::Unknown, b'[') => self.list = List::Begins { first: true },
                (List::Unknown, _) => {
                    self.list = List::None;
                    continue;
                }
                (List::Begins { first: true } | List::Object, b']') => self.list = List::Closed,
                (List::Object, b',') => self.list = List::Begins { first: false },
                (List::None | List::Begins { .. }, b'{') => {
                    self.object()?;
                    if self.list != List::None {
                        self.list = List::Object;
                    }
                    return Ok(true);
                }
                (_, other) => {
                    let rest = self.buffer[self.at..].chars().take(20).collect::<String>();
                    let found = if other.is_ascii() { rest } else { format!("`{rest}`") };
                    return Err(self.error(&format!("`{}`", found.trim_matches('`'))));
                }
            }
            self.next = self.at + 1;
        }
    }

    /// Passes over blanks, and gives the byte that follows them; `None` at the end.
    fn skip(&mut self) -> Result<Option<u8>, FormatError> {
        (self.at, self.line) = (self.next, self.next_line);
        loop {
            match self.buffer.as_bytes().get(self.at) {
                Some(b'\n') => self.next_line += 1,
                Some(b' ' | b'\t' | b'\r') => {}
                Some(&byte) => {
                    (self.next, self.line) = (self.at, self.next_line);
                    return Ok(Some(byte));
                }
                None => {
                    self.line = self.next_line;
                    if !self.more()? {
                        self.next = self.at;
                        return Ok(None);
                    }
                    continue;
                }
            }
            self.at += 1;
        }
    }

    /// Drops what was read and reads on; false at the end of the file.
    fn more(&mut self) -> Result<bool, FormatError> {
        self.buffer.drain(..self.at);
        self.at = 0;
        self.whole = !self.text.fill(&mut self.buffer)?;
        Ok(!self.whole)
    }

    /// Finds the end of the object that begins here: the brace that closes it, outside of strings.
    fn object(&mut self) -> Result<(), FormatError> {
        let (mut depth, mut string, mut escaped) = (0usize, false, false);
        let mut looked = 0;
        loop {
            let bytes = &self.buffer.as_bytes()[self.at..];
            for (place, &byte) in bytes.iter().enumerate().skip(looked) {
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' if string => escaped = true,
                    b'"' => string = !string,
                    b'\n' if self.list == List::None => {
                        return Err(self.error("the end of the line within an object"));
                    }
                    b'\n' => self.next_line += 1,
                    b'{' if !string => depth += 1,
                    b'}' if !string => {
                        depth -= 1;
                        if depth == 0 {
                            self.next = self.at + place + 1;
                            return Ok(());
                        }
                    }
                    _ => {}
                }
            }
            looked = bytes.len();
            if looked > MAX_OBJECT {
                return Err(self.error(&format!("one of more than {MAX_OBJECT} bytes")));
            }
            if !self.more()? {
                return Err(self.error("the end of the file within an object"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::csv::tests::{read_as, rows};

    fn read(text: &str) -> Result<Table, String> {
        read_as("t.jsonl", text, &Options::default())
    }

    #[test]
    fn objects_without_keys_are_no_table() {
        // Found by fuzzing.
        for text in ["{}", "{}\n{}", "[{}]"] {
            assert!(read(text).unwrap_err().contains("objects without keys"), "{text}");
        }
    }

    #[test]
    fn an_object_a_line_or_a_list_of_objects() {
        let expected = [["1", "x", "?"], ["2.50", "?", "true"], ["1e5", "{}[]\"\n\u{e9}", "?"]];
        let objects = [
            "{\"n\": 1, \"s\": \"x\"}",
            "{\"n\": 2.50, \"s\": null, \"b\":true}",
            "{\"s\":\"{}[]\\\"\\n\\u00e9\",\"n\":1e5}",
        ];
        let lines = format!("\u{feff}{}\r\n\n{}\n{}", objects[0], objects[1], objects[2]);
        let table = read(&lines).unwrap();
        assert_eq!(rows(&table), expected);
        assert_eq!([0, 1, 2].map(|row| table.place(row)), ["t.jsonl:1", "t.jsonl:3", "t.jsonl:4"]);
        for text in
            [format!("[{}]", objects.join(",")), format!(" [\n{}\n]\n", objects.join("\n,\n"))]
        {
            let table = read_as("t.json", &text, &Options::default()).unwrap();
            assert_eq!(rows(&table), expected);
        }
        let table =
            read_as("t.json", "[{\"a\":\n1},\n\n {\"a\": 2}]", &Options::default()).unwrap();
        assert_eq!((table.place(0), table.place(1)), ("t.json:1".into(), "t.json:4".into()));
    }

    #[test]
    fn objects_within_are_columns_and_lists_stay_text() {
        let table =
            read("{\"a\": {\"x\": 1, \"y\": {\"z\": [2]}}, \"l\": [1, \"two\"]}\n{\"a\": null}")
                .unwrap();
        let names: Vec<&str> = table.columns().iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["a.x", "a.y", "l"]);
        assert_eq!(rows(&table)[0], ["1", "{\"z\": [2]}", "[1, \"two\"]"]);
        assert_eq!(rows(&table)[1], ["?", "?", "?"]);
    }

    #[test]
    fn what_is_no_table_of_objects() {
        for (text, says) in [
            ("", "found no object"),
            ("[]", "found no object"),
            ("[1, 2]", "line 1: expected a JSON object, whose keys are the columns, found `1, 2]`"),
            ("{\"a\": 1}\n[2]", "line 2: expected a JSON object"),
            (
                "{\"a\": 1}\n{\"a\": 1, \"a\": 2}",
                "line 2: expected a JSON object, whose keys are the columns, found the key `a` twice",
            ),
            (
                "{\"a\": 1}\n{\"a\":\n2}",
                "line 2: expected a JSON object, whose keys are the columns, found the end of the line",
            ),
            ("{\"a\": 1}\n{\"a\": tru}", "line 2"),
            ("{\"a\": \"\\ud800\"}", "line 1"),
            ("{\"a\": 1", "the end of the file within an object"),
            ("[{\"a\": 1}", "the end of the file within a list"),
            ("[{\"a\": 1},]", "found `]`"),
            ("[{\"a\": 1} {\"a\": 2}]", "found `{"),
            ("[{\"a\": 1}] x", "found `x`"),
            ("{\"\": 1}", "found none for column 1"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(says), "no `{says}` in: {error}");
        }
        let deep = format!("{{\"a\": {}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(read(&deep).is_ok(), "what is within is passed over, not descended into");
        let keys: Vec<String> = (0..20_000).map(|i| format!("\"k{i}\":0")).collect();
        assert!(
            read(&format!("{{{}}}", keys.join(","))).unwrap_err().contains("more than 10000 keys")
        );
    }

    #[test]
    fn a_key_that_comes_late_must_be_listed() {
        let text = "{\"a\": 1}\n".repeat(LOOKED) + "{\"a\": 1, \"b\": 2}\n";
        let error = read(&text).unwrap_err();
        assert!(error.starts_with("t.jsonl: line 1001") && error.contains("`columns`"), "{error}");
        let columns = vec!["b".into()];
        let table = read_as("t.jsonl", &text, &Options { columns, ..Options::default() }).unwrap();
        assert_eq!((table.rows(), rows(&table)[1000].clone()), (1001, vec!["2".to_string()]));
    }

    #[test]
    fn blocks_cut_objects_anywhere() {
        let lines: Vec<String> =
            (0..60_000).map(|i| format!("{{\"i\":{i},\"s\":\"\u{e9}\\\"}} {i}\"}}")).collect();
        for text in [lines.join("\n"), format!("[{}]", lines.join(",\n"))] {
            let table = read_as("t.json", &text, &Options::default()).unwrap();
            assert_eq!(table.rows(), 60_000);
            assert_eq!(rows(&table)[59_999], ["59999", "\u{e9}\"} 59999"]);
            assert_eq!(table.place(59_999), "t.json:60000");
        }
    }
}
