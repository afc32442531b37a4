//! Rows and named columns as a source gives them, before anything is made of them.
//!
//! ```text
//! source ──► Table (columns of cells) ──► features ──► Prepared (a Dataset of plain arrays) ──► Loader
//! ```

pub mod augment;
mod fingerprint;
mod prepared;

use std::path::PathBuf;

use nerve_formats::escape;
use nerve_formats::spec::nearest;

pub use prepared::{Prepared, Slot};

use crate::features::Refusal;
use crate::{DataError, Field, Values};

/// Rows and named columns as they were read.
#[derive(Clone, Debug, Default)]
pub struct Table {
    columns: Vec<Column>,
    rows: usize,
    origin: Origin,
    notes: Vec<String>,
    /// How many rows of the same source stand before the first.
    before: u64,
}

/// A named column.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name: unique, not empty.
    pub name: String,
    /// Its cells, one a row.
    pub cells: Cells,
}

/// The cells of a column.
#[derive(Clone, Debug)]
pub enum Cells {
    /// What stands in a text file, as it stands there. Lists and objects of JSON or Parquet are JSON text.
    Text(Texts),
    /// The numbers of a typed source; NaN where there is none.
    Numbers(Vec<f64>),
    /// An array a row, all of the same shape: npy, idx.
    Arrays(Field, Values),
}

/// One cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<'a> {
    /// The source itself has nothing there: a key that a JSON line lacks, a null. The empty text of a CSV file is
    /// `Text("")`; what counts as missing in a text is the feature's to say.
    Missing,
    /// A text.
    Text(&'a str),
    /// A number, finite.
    Number(f64),
    /// The values of an array.
    F32(&'a [f32]),
    /// The values of an array.
    I32(&'a [i32]),
    /// The values of an array.
    U8(&'a [u8]),
}

/// Many texts in one piece of memory.
#[derive(Clone, Debug, Default)]
pub struct Texts {
    bytes: String,
    /// Where each ends, and whether it is there.
    ends: Vec<(usize, bool)>,
}

impl Texts {
    /// Adds a text, or that there is none.
    pub fn push(&mut self, text: Option<&str>) {
        self.bytes.push_str(text.unwrap_or(""));
        self.ends.push((self.bytes.len(), text.is_some()));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The text of a row; `None` where there is none.
    ///
    /// # Panics
    /// Without such a row.
    #[track_caller]
    pub fn get(&self, row: usize) -> Option<&str> {
        let (end, there) = self.ends[row];
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before].0);
        there.then(|| &self.bytes[start..end])
    }
}

impl<'a> FromIterator<Option<&'a str>> for Texts {
    fn from_iter<I: IntoIterator<Item = Option<&'a str>>>(texts: I) -> Texts {
        let mut all = Texts::default();
        texts.into_iter().for_each(|text| all.push(text));
        all
    }
}

impl Cells {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        match self {
            Cells::Text(texts) => texts.len(),
            Cells::Numbers(numbers) => numbers.len(),
            Cells::Arrays(field, values) => values.len() / field.values_per_sample().max(1),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// These rows, in this order.
    ///
    /// # Panics
    /// Without such a row.
    #[track_caller]
    pub fn select(&self, rows: &[usize]) -> Cells {
        match self {
            Cells::Text(texts) => Cells::Text(rows.iter().map(|&row| texts.get(row)).collect()),
            Cells::Numbers(numbers) => {
                Cells::Numbers(rows.iter().map(|&row| numbers[row]).collect())
            }
            Cells::Arrays(field, values) => {
                let len = field.values_per_sample();
                let ranges = rows.iter().map(|&row| row * len..(row + 1) * len);
                let values = match values {
                    Values::F32(v) => {
                        ranges.flat_map(|r| &v[r]).copied().collect::<Vec<_>>().into()
                    }
                    Values::I32(v) => {
                        ranges.flat_map(|r| &v[r]).copied().collect::<Vec<_>>().into()
                    }
                    Values::U8(v) => ranges.flat_map(|r| &v[r]).copied().collect::<Vec<_>>().into(),
                };
                Cells::Arrays(field.clone(), values)
            }
        }
    }

    /// One cell.
    ///
    /// # Panics
    /// Without such a row.
    #[track_caller]
    pub fn get(&self, row: usize) -> Cell<'_> {
        match self {
            Cells::Text(texts) => texts.get(row).map_or(Cell::Missing, Cell::Text),
            Cells::Numbers(numbers) if numbers[row].is_nan() => Cell::Missing,
            Cells::Numbers(numbers) => Cell::Number(numbers[row]),
            Cells::Arrays(field, values) => {
                let len = field.values_per_sample();
                let range = row * len..(row + 1) * len;
                match values {
                    Values::F32(values) => Cell::F32(&values[range]),
                    Values::I32(values) => Cell::I32(&values[range]),
                    Values::U8(values) => Cell::U8(&values[range]),
                }
            }
        }
    }
}

/// Where the rows of a table come from, for messages and for worst examples.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The files, in the order in which they were read.
    pub files: Vec<PathBuf>,
    /// The folder that relative file names in cells start from.
    pub folder: PathBuf,
    /// For each row its file and the line where it begins, from 1, or 0 where the file is the row; empty where rows have no
    /// lines, and are counted.
    pub lines: Vec<(u32, u64)>,
}

impl Table {
    /// A table of these columns.
    ///
    /// # Errors
    /// [`DataError::CountMismatch`] when they differ in length; [`DataError::Field`] for a name that is used twice.
    pub fn new(columns: Vec<Column>, origin: Origin) -> Result<Table, DataError> {
        let rows = columns.first().map_or(0, |column| column.cells.len());
        for (i, column) in columns.iter().enumerate() {
            if column.cells.len() != rows {
                return Err(DataError::CountMismatch {
                    first: columns[0].name.clone(),
                    first_count: rows,
                    second: column.name.clone(),
                    second_count: column.cells.len(),
                });
            }
            if columns[..i].iter().any(|other| other.name == column.name) {
                return Err(DataError::Field {
                    field: column.name.clone(),
                    expected: "a name of its own".into(),
                    found: "the name of an earlier column".into(),
                });
            }
        }
        Ok(Table { columns, rows, origin, notes: Vec::new(), before: 0 })
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The columns.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Where the rows come from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The same table, as a piece of a longer one with this many rows before it: places count from there.
    pub fn behind(mut self, rows: u64) -> Table {
        self.before = rows;
        self
    }

    /// What should be said to the user about how it was read: rows passed over.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Adds to the notes.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// The column of this name.
    ///
    /// # Errors
    /// [`DataError::UnknownColumn`] with the columns that there are, and the nearest.
    pub fn column(&self, name: &str) -> Result<&Column, DataError> {
        Ok(&self.columns[self.position(name)?])
    }

    /// The number of the column of this name.
    ///
    /// # Errors
    /// As [`Table::column`].
    pub fn position(&self, name: &str) -> Result<usize, DataError> {
        self.columns.iter().position(|column| column.name == name).ok_or_else(|| {
            let known: Vec<String> =
                self.columns.iter().map(|column| column.name.clone()).collect();
            let nearest = nearest(name, known.iter().map(String::as_str)).map(str::to_string);
            DataError::UnknownColumn { column: name.into(), known, nearest }
        })
    }

    /// Where a row stands: `titanic.csv:17`, or `row 17 of train.parquet`; rows are counted from 1.
    pub fn place(&self, row: usize) -> String {
        let name = |file: Option<&PathBuf>| {
            file.and_then(|path| path.file_name())
                .map_or_else(|| "the data".to_string(), |name| escape(&name.to_string_lossy(), 120))
        };
        match self.origin.lines.get(row) {
            // A file that is one row as a whole: its path from the folder.
            Some(&(file, 0)) => {
                let path = self.origin.files.get(file as usize);
                let below = path.and_then(|path| path.strip_prefix(&self.origin.folder).ok());
                below.map_or_else(|| name(path), |path| escape(&path.to_string_lossy(), 200))
            }
            Some(&(file, line)) => format!("{}:{line}", name(self.origin.files.get(file as usize))),
            None => {
                let row = self.before + row as u64 + 1;
                format!("row {row} of {}", name(self.origin.files.first()))
            }
        }
    }

    /// The error of a cell that a feature refused.
    pub fn refuse(&self, row: usize, column: &str, refusal: Refusal) -> DataError {
        let Refusal { expected, found } = refusal;
        DataError::Cell { place: self.place(row), column: column.into(), expected, found }
    }

    /// These rows, in this order; each keeps its place in its file.
    ///
    /// # Panics
    /// Without such a row.
    #[track_caller]
    pub fn select(&self, rows: &[usize]) -> Table {
        let select = |column: &Column| Column {
            name: column.name.clone(),
            cells: column.cells.select(rows),
        };
        let lines = match self.origin.lines.is_empty() {
            // Rows that are counted would be counted anew.
            true if self.origin.files.len() <= 1 => {
                rows.iter().map(|&row| (0, self.before + row as u64 + 1)).collect()
            }
            true => Vec::new(),
            false => rows.iter().map(|&row| self.origin.lines[row]).collect(),
        };
        let origin = Origin { lines, ..self.origin.clone() };
        let columns = self.columns.iter().map(select).collect();
        Table { columns, rows: rows.len(), origin, notes: self.notes.clone(), before: 0 }
    }

    /// The same rows with other cells in a column.
    ///
    /// # Errors
    /// [`DataError::UnknownColumn`]; [`DataError::Field`] when there are not as many cells as rows.
    pub fn replaced(&self, column: Column) -> Result<Table, DataError> {
        let at = self.position(&column.name)?;
        if column.cells.len() != self.rows {
            return Err(misfit(&column.name, self.rows, column.cells.len()));
        }
        let keep = |(i, old): (usize, &Column)| if i == at { column.clone() } else { old.clone() };
        let columns = self.columns.iter().enumerate().map(keep).collect();
        let (origin, notes) = (self.origin.clone(), self.notes.clone());
        Ok(Table { columns, rows: self.rows, origin, notes, before: self.before })
    }

    /// Puts the rows of another table with the same columns at the end: the chunks of a source become one table.
    ///
    /// # Errors
    /// [`DataError::Field`] when the columns are not the same.
    pub fn append(&mut self, other: Table) -> Result<(), DataError> {
        if self.columns.is_empty() {
            *self = other;
            return Ok(());
        }
        let offset = self.origin.files.len() as u32;
        let shift = self.origin.files != other.origin.files;
        if self.columns.len() != other.columns.len() {
            return Err(misfit("columns", self.columns.len(), other.columns.len()));
        }
        for (mine, theirs) in self.columns.iter_mut().zip(other.columns) {
            if mine.name != theirs.name {
                return Err(misfit("name of a column", &mine.name, &theirs.name));
            }
            append_cells(&mine.name, &mut mine.cells, theirs.cells)?;
        }
        self.rows += other.rows;
        self.notes.extend(other.notes);
        let lines = other.origin.lines.into_iter();
        self.origin.lines.extend(lines.map(|(f, l)| (if shift { f + offset } else { f }, l)));
        if shift {
            self.origin.files.extend(other.origin.files);
        }
        Ok(())
    }
}

fn misfit(what: &str, expected: impl ToString, found: impl ToString) -> DataError {
    DataError::Field {
        field: what.into(),
        expected: expected.to_string(),
        found: found.to_string(),
    }
}

fn append_cells(name: &str, mine: &mut Cells, theirs: Cells) -> Result<(), DataError> {
    match (mine, theirs) {
        (Cells::Text(a), Cells::Text(b)) => {
            let offset = a.bytes.len();
            a.bytes.push_str(&b.bytes);
            a.ends.extend(b.ends.into_iter().map(|(end, there)| (end + offset, there)));
        }
        (Cells::Numbers(a), Cells::Numbers(b)) => a.extend(b),
        (Cells::Arrays(f, a), Cells::Arrays(g, b)) if *f == g => match (a, b) {
            (Values::F32(a), Values::F32(b)) => a.extend(b),
            (Values::I32(a), Values::I32(b)) => a.extend(b),
            (Values::U8(a), Values::U8(b)) => a.extend(b),
            _ => return Err(misfit(name, "values of the same element", "another")),
        },
        _ => return Err(misfit(name, "cells of the same kind", "another kind")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[Option<&str>]) -> Cells {
        Cells::Text(texts.iter().copied().collect())
    }

    fn table(name: &str, cells: Cells) -> Table {
        Table::new(vec![Column { name: name.into(), cells }], Origin::default()).unwrap()
    }

    #[test]
    fn cells_are_what_was_put_in() {
        let cells = texts(&[Some("a"), None, Some(""), Some("\u{e9}x")]);
        let all: Vec<Cell<'_>> = (0..4).map(|row| cells.get(row)).collect();
        assert_eq!(all, [Cell::Text("a"), Cell::Missing, Cell::Text(""), Cell::Text("\u{e9}x")]);
        let cells = Cells::Numbers(vec![1.5, f64::NAN]);
        assert_eq!((cells.get(0), cells.get(1)), (Cell::Number(1.5), Cell::Missing));
        let cells =
            Cells::Arrays(Field::new("", &[2], crate::Element::U8), vec![1u8, 2, 3, 4].into());
        assert_eq!((cells.len(), cells.get(1)), (2, Cell::U8(&[3, 4])));
    }

    #[test]
    fn chunks_become_one_table_that_knows_its_lines() {
        let chunk = |file: &str, line: u64, text: &str| {
            let origin =
                Origin { files: vec![file.into()], folder: PathBuf::new(), lines: vec![(0, line)] };
            let cells = texts(&[Some(text)]);
            Table::new(vec![Column { name: "x".into(), cells }], origin).unwrap()
        };
        let mut all = chunk("a.csv", 2, "one");
        all.append(chunk("a.csv", 3, "two")).unwrap();
        all.append(chunk("b.csv", 2, "three")).unwrap();
        assert_eq!(all.rows(), 3);
        assert_eq!(all.columns()[0].cells.get(2), Cell::Text("three"));
        assert_eq!([0, 1, 2].map(|row| all.place(row)), ["a.csv:2", "a.csv:3", "b.csv:2"]);
        let error = all.append(table("y", texts(&[None]))).unwrap_err().to_string();
        assert!(error.contains("expected x, found y"), "{error}");
        assert!(all.append(table("x", Cells::Numbers(vec![1.0]))).is_err());
    }

    #[test]
    fn columns_are_found_by_name_or_the_nearest_is_told() {
        let error = table("survived", texts(&[])).column("Survivd").unwrap_err().to_string();
        assert_eq!(
            error,
            "no column `Survivd` (did you mean `survived`?): the columns are `survived`"
        );
        let two = |a: &str, b: &str, n: usize| {
            let column =
                |name: &str, n| Column { name: name.into(), cells: Cells::Numbers(vec![0.0; n]) };
            Table::new(vec![column(a, 1), column(b, n)], Origin::default())
        };
        assert!(two("a", "b", 1).is_ok());
        assert!(two("a", "a", 1).is_err());
        assert!(two("a", "b", 2).is_err());
    }
}
