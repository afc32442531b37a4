//! CSV and its relatives: a line a row, fields between delimiters.

use std::path::{Path, PathBuf};

use nerve_formats::{ErrorKind, FormatError, escape};

use super::decode::Decoded;
use super::records::{Dialect, MAX_COLUMNS, Records};
use super::{Chunks, Options, Source, origin};
use crate::{Cells, Column, DataError, Table, Texts};

/// Delimiters that are tried where none is given.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// How many rows decide which delimiter fits.
const TRIED: usize = 100;

/// A file of delimited text.
pub(super) struct Csv {
    path: PathBuf,
    options: Options,
    dialect: Dialect,
    columns: Vec<String>,
}

impl Csv {
    /// Reads the header.
    pub(super) fn open(path: &Path, tabs: bool, options: &Options) -> Result<Csv, DataError> {
        let dialect = dialect(path, tabs, options)?;
        let mut records = Records::new(path, Decoded::open(path, options)?, dialect);
        let line = records.next()?;
        let Some(line) = line else {
            return Err(empty(path, "an empty file").into());
        };
        let found = records.len();
        let mut columns = match (&options.columns[..], options.has_header()) {
            ([], true) => records.fields(),
            ([], false) => (1..=found).map(|n| format!("column{n}")).collect(),
            (names, _) => names.to_vec(),
        };
        if columns.len() != found {
            let expected = format!("{} fields, as `columns` has names", columns.len());
            return Err(records.error(line, &expected, &found.to_string()).into());
        }
        for name in &mut columns {
            *name = name.trim().to_string();
        }
        check_names(path, &columns)?;
        Ok(Csv { path: path.into(), options: options.clone(), dialect, columns })
    }
}

/// How the fields of a file are told apart.
fn dialect(path: &Path, tabs: bool, options: &Options) -> Result<Dialect, DataError> {
    let one = |option: &'static str, text: &str| match text.as_bytes() {
        [byte] if byte.is_ascii() && !byte.is_ascii_alphanumeric() && !b"\r\n\0".contains(byte) => {
            Ok(*byte)
        }
        _ => Err(DataError::Option {
            option,
            expected: "one character: \",\", \";\", \"\\t\", \"|\"".into(),
            found: format!("`{}`", escape(text, 40)),
        }),
    };
    let quote = match options.quote.as_str() {
        "" => None,
        quote => Some(one("quote", quote)?),
    };
    let dialect = |delimiter: u8| Dialect { delimiter, quote, blanks: false };
    match options.delimiter.as_deref() {
        Some("whitespace") => Ok(Dialect { blanks: true, ..dialect(b' ') }),
        Some("tab") => Ok(dialect(b'\t')),
        Some(text) => {
            let delimiter = one("delimiter", text)?;
            if Some(delimiter) == quote {
                let expected = "another character than `quote`".into();
                return Err(DataError::Option {
                    option: "delimiter",
                    expected,
                    found: text.into(),
                });
            }
            Ok(dialect(delimiter))
        }
        None if tabs => Ok(dialect(b'\t')),
        None => sniff(path, options, dialect),
    }
}

/// The delimiter that cuts the first rows into the same number of fields, two at least; the comma where none does.
fn sniff(
    path: &Path,
    options: &Options,
    dialect: impl Fn(u8) -> Dialect,
) -> Result<Dialect, DataError> {
    let mut best = (0, b',');
    for delimiter in DELIMITERS {
        let mut records = Records::new(path, Decoded::open(path, options)?, dialect(delimiter));
        let (mut first, mut rows, mut fitting) = (0, 0, 0);
        // A wrong delimiter may make nonsense of quotes; reading with the right one will tell of true faults.
        while let (true, Ok(Some(_))) = (rows < TRIED, records.next()) {
            rows += 1;
            first = if rows == 1 { records.len() } else { first };
            fitting += usize::from(records.len() == first);
        }
        let score = if first < 2 { 0 } else { 1_000_000 * fitting / rows + first };
        if score > best.0 {
            best = (score, delimiter);
        }
    }
    Ok(dialect(best.1))
}

/// Checks that columns have names, each its own.
pub(super) fn check_names(path: &Path, columns: &[String]) -> Result<(), DataError> {
    let wrong = |expected: &str, found: String| {
        let expected = format!("{expected}; or give them `columns`");
        Err(FormatError::new(ErrorKind::Malformed, path, "names of the columns", expected, found)
            .into())
    };
    if columns.len() > MAX_COLUMNS {
        return wrong(&format!("at most {MAX_COLUMNS}"), columns.len().to_string());
    }
    let mut sorted: Vec<(&str, usize)> =
        columns.iter().enumerate().map(|(at, name)| (name.as_str(), at + 1)).collect();
    sorted.sort_unstable();
    if let Some(&("", at)) = sorted.first() {
        return wrong("a name for each", format!("none for column {at}"));
    }
    match sorted.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        None => Ok(()),
        Some(&[(name, first), (_, second)]) => {
            wrong("one of its own for each", format!("`{name}` for columns {first} and {second}"))
        }
        Some(_) => Ok(()),
    }
}

/// The error of a file without rows.
pub(super) fn empty(path: &Path, found: &str) -> FormatError {
    FormatError::new(ErrorKind::Malformed, path, "rows", "at least one row", found)
}

impl Source for Csv {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn chunks(&self) -> Result<Box<dyn Chunks>, DataError> {
        let text = Decoded::open(&self.path, &self.options)?;
        let mut records = Records::new(&self.path, text, self.dialect);
        if self.options.has_header() {
            records.next()?;
        }
        Ok(Box::new(CsvChunks {
            path: self.path.clone(),
            records,
            columns: self.columns.clone(),
            skip_ragged: self.options.skip_ragged,
            rows: 0,
            skipped: Vec::new(),
            skipped_rows: 0,
        }))
    }
}

struct CsvChunks {
    path: PathBuf,
    records: Records,
    columns: Vec<String>,
    skip_ragged: bool,
    /// How many rows were given.
    rows: u64,
    /// The first lines that were passed over, and how many.
    skipped: Vec<u64>,
    skipped_rows: u64,
}

impl CsvChunks {
    /// Deals with a record of the wrong length.
    fn ragged(&mut self, line: u64) -> Result<(), FormatError> {
        if !self.skip_ragged {
            let expected = format!(
                "{} fields, as there are columns (ragged = \"skip\" passes such rows over)",
                self.columns.len()
            );
            return Err(self.records.error(line, &expected, &self.records.len().to_string()));
        }
        if self.skipped.len() < 3 {
            self.skipped.push(line);
        }
        self.skipped_rows += 1;
        Ok(())
    }
}

impl Chunks for CsvChunks {
    fn next(&mut self, rows: usize) -> Result<Option<Table>, DataError> {
        let mut cells: Vec<Texts> = self.columns.iter().map(|_| Texts::default()).collect();
        let mut lines = Vec::new();
        while lines.len() < rows {
            let Some(line) = self.records.next()? else { break };
            if self.records.len() != self.columns.len() {
                self.ragged(line)?;
                continue;
            }
            for (field, texts) in cells.iter_mut().enumerate() {
                texts.push(Some(self.records.field(field)));
            }
            lines.push((0, line));
        }
        self.rows += lines.len() as u64;
        if lines.is_empty() {
            return match self.rows {
                0 => Err(empty(&self.path, "none below the names of the columns").into()),
                _ => Ok(None),
            };
        }
        let named = self.columns.iter().zip(cells);
        let columns =
            named.map(|(name, texts)| Column { name: name.clone(), cells: Cells::Text(texts) });
        Table::new(columns.collect(), origin(&self.path, lines)).map(Some)
    }

    fn notes(&self) -> Vec<String> {
        if self.skipped_rows == 0 {
            return Vec::new();
        }
        let lines: Vec<String> = self.skipped.iter().map(u64::to_string).collect();
        let more = if self.skipped_rows > lines.len() as u64 { ", ..." } else { "" };
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        vec![format!(
            "{}: {} rows with a wrong number of fields passed over (lines {}{more})",
            escape(&name, 120),
            self.skipped_rows,
            lines.join(", ")
        )]
    }
}

#[cfg(test)]
#[path = "csv_tests.rs"]
pub(in crate::source) mod tests;
