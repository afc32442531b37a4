//! Plain text: a line a row, a document a row, so many characters a row, or texts side by side.

use std::path::{Path, PathBuf};

use nerve_formats::{ErrorKind, FormatError};

use super::csv::{check_names, empty};
use super::decode::Decoded;
use super::{Chunks, Options, Source, origin};
use crate::{Cells, Column, DataError, Table, Texts};

/// Longest line, in bytes.
const MAX_LINE: usize = 64 << 20;
/// The column of a text without a name.
const TEXT: &str = "text";

/// One text, or several whose lines belong together.
pub(super) struct Lines {
    paths: Vec<PathBuf>,
    columns: Vec<String>,
    options: Options,
}

impl Lines {
    /// Texts whose lines belong together, a column each: as many as there are names in `columns`.
    pub(super) fn open(paths: &[PathBuf], options: &Options) -> Result<Lines, DataError> {
        let columns = match &options.columns[..] {
            [] => vec![TEXT.to_string()],
            names => names.to_vec(),
        };
        if columns.len() != paths.len() {
            let expected = format!("{} texts, as `columns` has names", columns.len());
            let found = paths.len().to_string();
            let first = paths.first().cloned().unwrap_or_default();
            return Err(
                FormatError::new(ErrorKind::Mismatch, first, "texts", expected, found).into()
            );
        }
        check_names(&paths[0], &columns)?;
        if options.pieces.is_some() && (options.document || paths.len() > 1) {
            return Err(DataError::Option {
                option: "pieces",
                expected: "one text, which is not a `document` of one row".into(),
                found: if options.document { "document = true" } else { "texts side by side" }
                    .into(),
            });
        }
        Ok(Lines { paths: paths.to_vec(), columns, options: options.clone() })
    }
}

impl Source for Lines {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn chunks(&self) -> Result<Box<dyn Chunks>, DataError> {
        let texts = self.paths.iter().map(|path| {
            let text = Decoded::open(path, &self.options)?;
            Ok(Text { path: path.clone(), text, buffer: String::new(), at: 0, line: 0 })
        });
        Ok(Box::new(LineChunks {
            texts: texts.collect::<Result<_, FormatError>>()?,
            columns: self.columns.clone(),
            document: self.options.document,
            pieces: self.options.pieces,
            any: false,
        }))
    }
}

/// A text on its way.
struct Text {
    path: PathBuf,
    text: Decoded,
    buffer: String,
    at: usize,
    line: u64,
}

impl Text {
    /// The next line without its end; `None` at the end of the text.
    fn next(&mut self) -> Result<Option<&str>, FormatError> {
        let mut looked = self.at;
        let (start, end, next) = loop {
            let bytes = self.buffer.as_bytes();
            let found = bytes[looked..].iter().position(|&byte| byte == b'\n' || byte == b'\r');
            match found.map(|length| looked + length) {
                Some(end) if bytes[end] == b'\n' => break (self.at, end, end + 1),
                Some(end) if end + 1 < bytes.len() => {
                    break (self.at, end, end + 1 + usize::from(bytes[end + 1] == b'\n'));
                }
                found => {
                    looked = found.unwrap_or(bytes.len()) - self.at;
                    self.buffer.drain(..self.at);
                    self.at = 0;
                    if self.buffer.len() > MAX_LINE {
                        let field = format!("line {}", self.line + 1);
                        let expected = format!("at most {MAX_LINE} bytes");
                        return Err(FormatError::new(
                            ErrorKind::Malformed,
                            &self.path,
                            field,
                            expected,
                            "more",
                        ));
                    }
                    if !self.text.fill(&mut self.buffer)? {
                        if self.buffer.is_empty() {
                            return Ok(None);
                        }
                        let end = self.buffer.trim_end_matches('\r').len().max(looked);
                        break (0, end, self.buffer.len());
                    }
                }
            }
        };
        self.at = next;
        self.line += 1;
        Ok(Some(&self.buffer[start..end]))
    }

    /// All that is left.
    fn rest(&mut self) -> Result<&str, FormatError> {
        while self.text.fill(&mut self.buffer)? {}
        Ok(&self.buffer)
    }
}

struct LineChunks {
    texts: Vec<Text>,
    columns: Vec<String>,
    document: bool,
    pieces: Option<usize>,
    any: bool,
}

impl LineChunks {
    /// Reads a line of each text; false at their common end.
    fn line(&mut self, cells: &mut [Texts]) -> Result<bool, FormatError> {
        let mut ended = None;
        for (at, (text, cells)) in self.texts.iter_mut().zip(cells).enumerate() {
            let line = text.next()?;
            match (line, ended) {
                (Some(line), None) => cells.push(Some(line)),
                (None, None) if at == 0 => ended = Some(()),
                (None, Some(())) => {}
                (line, _) => {
                    let ends = if line.is_none() { "the end" } else { "another line" };
                    let field = format!("line {}", text.line.max(1));
                    let expected = "as many lines as in the first text";
                    return Err(FormatError::new(
                        ErrorKind::Malformed,
                        &text.path,
                        field,
                        expected,
                        ends,
                    ));
                }
            }
        }
        Ok(ended.is_none())
    }

    fn document(&mut self) -> Result<Option<Table>, DataError> {
        if self.any {
            return Ok(None);
        }
        self.any = true;
        let mut cells = Vec::new();
        for text in &mut self.texts {
            let path = text.path.clone();
            match text.rest()? {
                rest if rest.trim().is_empty() => return Err(empty(&path, "no text").into()),
                rest => cells.push([Some(rest)].into_iter().collect()),
            }
        }
        self.table(cells, vec![(0, 1)]).map(Some)
    }

    /// The text in rows of so many characters, the last of which may be shorter.
    fn cut(&mut self, length: usize) -> Result<Option<Table>, DataError> {
        if self.any {
            return Ok(None);
        }
        self.any = true;
        let path = self.texts[0].path.clone();
        let text = self.texts[0].rest()?;
        if text.trim().is_empty() {
            return Err(empty(&path, "no text").into());
        }
        let (mut cells, mut lines, mut rest, mut line) = (Texts::default(), Vec::new(), text, 1);
        while !rest.is_empty() {
            let end = rest.char_indices().nth(length).map_or(rest.len(), |(at, _)| at);
            let (piece, behind) = rest.split_at(end);
            cells.push(Some(piece));
            lines.push((0, line));
            line += piece.bytes().filter(|&byte| byte == b'\n').count() as u64;
            rest = behind;
        }
        self.table(vec![cells], lines).map(Some)
    }

    fn table(&self, cells: Vec<Texts>, lines: Vec<(u32, u64)>) -> Result<Table, DataError> {
        let named = self.columns.iter().zip(cells);
        let columns =
            named.map(|(name, texts)| Column { name: name.clone(), cells: Cells::Text(texts) });
        let mut origin = origin(&self.texts[0].path, lines);
        origin.files = self.texts.iter().map(|text| text.path.clone()).collect();
        Table::new(columns.collect(), origin)
    }
}

impl Chunks for LineChunks {
    fn next(&mut self, rows: usize) -> Result<Option<Table>, DataError> {
        if self.document {
            return self.document();
        }
        if let Some(length) = self.pieces {
            return self.cut(length);
        }
        let mut lines = Vec::new();
        let mut cells: Vec<Texts> = self.columns.iter().map(|_| Texts::default()).collect();
        while lines.len() < rows {
            // Lines that belong together keep their places; a single text is read without its empty lines.
            if let [text] = &mut self.texts[..] {
                match text.next()? {
                    Some(line) if line.trim().is_empty() => continue,
                    Some(line) => cells[0].push(Some(line)),
                    None => break,
                }
            } else if !self.line(&mut cells)? {
                break;
            }
            lines.push((0, self.texts[0].line));
        }
        if lines.is_empty() {
            return match self.any {
                true => Ok(None),
                false => Err(empty(&self.texts[0].path, "no text").into()),
            };
        }
        self.any = true;
        self.table(cells, lines).map(Some)
    }
}

/// The text of a file as a whole, for tables that name their texts.
pub(super) fn whole(path: &Path, options: &Options) -> Result<String, FormatError> {
    let mut text = Decoded::open(path, options)?;
    let mut out = String::new();
    while text.fill(&mut out)? {}
    Ok(out)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::source::csv::tests::{read_as, rows};
    use crate::source::read_files;

    #[test]
    fn lines_are_rows() {
        let read = |text: &str| read_as("t.txt", text, &Options::default());
        for text in ["a b\n\nc,d", "a b\r\n\r\nc,d\r\n", "\u{feff}a b\r\rc,d\r", "a b\n \nc,d\n\n"]
        {
            let table = read(text).unwrap();
            assert_eq!(rows(&table), [["a b"], ["c,d"]], "{text:?}");
            assert_eq!(table.place(1), "t.txt:3", "{text:?}");
        }
        assert!(read("\n \n").unwrap_err().contains("no text"));
        let long = format!("{}\r\n", "\u{e9}".repeat(700_000)).repeat(3);
        assert_eq!(read(&long).unwrap().rows(), 3);
        let cut = format!("{}\r\nx\r", "y".repeat((1 << 20) - 1));
        assert_eq!(rows(&read(&cut).unwrap())[1], ["x"]);
    }

    #[test]
    fn a_document_is_a_row() {
        let options =
            Options { document: true, columns: vec!["play".into()], ..Options::default() };
        let table = read_as("t.txt", "a\n\nb\n", &options).unwrap();
        assert_eq!(
            (rows(&table), table.columns()[0].name.as_str()),
            (vec![vec!["a\n\nb\n".to_string()]], "play")
        );
    }

    #[test]
    fn a_text_is_cut_into_pieces_of_as_many_characters() {
        let options = Options { pieces: Some(3), ..Options::default() };
        let table = read_as("t.txt", "a\n\u{e9}bc\nd", &options).unwrap();
        let column = &table.columns()[0].cells;
        let texts: Vec<_> = (0..table.rows()).map(|row| column.get(row)).collect();
        assert_eq!(texts, ["a\n\u{e9}", "bc\n", "d"].map(crate::Cell::Text));
        assert_eq!([table.place(0), table.place(2)], ["t.txt:1", "t.txt:3"]);
        assert!(read_as("t.txt", " \n", &options).unwrap_err().contains("no text"));
        let both = Options { document: true, ..options.clone() };
        assert!(read_as("t.txt", "abc", &both).unwrap_err().contains("pieces"));
        assert!(read_as("t.csv", "a,b\n1,2\n", &options).unwrap_err().contains("a plain text"));
    }

    #[test]
    fn texts_side_by_side() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            fs::write(folder.path().join(name), text).unwrap();
            folder.path().join(name)
        };
        let options = Options { columns: vec!["en".into(), "fr".into()], ..Options::default() };
        let paths = [write("a.en", "one\n\ntwo\n"), write("a.fr", "un\r\n\r\ndeux")];
        let text = Options { format: Some("text".into()), ..options };
        let table = read_files(&paths, &text).unwrap();
        assert_eq!(rows(&table), [["one", "un"], ["", ""], ["two", "deux"]]);
        for other in ["un\n", "un\n\ndeux\ntrois\n"] {
            let paths = [paths[0].clone(), write("b.fr", other)];
            let error = read_files(&paths, &text).unwrap_err().to_string();
            assert!(error.contains("b.fr: line") && error.contains("as many lines"), "{error}");
        }
    }
}
