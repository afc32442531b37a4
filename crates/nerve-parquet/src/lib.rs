//! Parquet and Arrow files: sources of `nerve-data`, and predictions written as such.
//!
//! A crate of its own, since the readers of Apache Arrow take longer to build than all the rest: a program that wants
//! them calls [`register`] when it begins, and [`nerve_data::source::open`] then knows the two formats.
//!
//! ```
//! use nerve_data::source::{self, Options};
//! use nerve_data::{Cells, Column, Origin, Table};
//!
//! nerve_parquet::register();
//! let numbers = Column { name: "x".into(), cells: Cells::Numbers(vec![1.5, f64::NAN]) };
//! let table = Table::new(vec![numbers], Origin::default())?;
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("x.parquet");
//! nerve_parquet::write(&path, &table)?;
//! let again = source::read(&path, &Options::default())?;
//! assert_eq!(again.columns()[0].cells.get(0), nerve_data::Cell::Number(1.5));
//! assert_eq!(again.columns()[0].cells.get(1), nerve_data::Cell::Missing);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | type of a column | cells |
//! |---|---|
//! | floats, integers of up to 32 bits | numbers |
//! | integers of 64 bits | texts of their digits: an id must not lose its last one |
//! | strings, also in dictionaries | texts |
//! | true and false, dates, times, decimals | texts: `true`, `2024-02-29`, `2024-02-29T12:00:00` |
//! | lists and structs | JSON text |
//! | bytes, maps, unions | refused; choose the other columns with `columns` |
#![forbid(unsafe_code)]

mod cells;
mod groups;
mod write;

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_ipc::reader::FileReader;
use arrow_schema::{ArrowError, SchemaRef};
use nerve_data::source::{Chunks, Extra, Options, Source, register as add};
use nerve_data::{Column, DataError, Origin, Table};
use nerve_formats::{ErrorKind, FormatError, Limits, Reader};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

pub use write::{Writer, write};

/// How many rows are decoded at a time.
const BATCH: usize = 65_536;

/// Makes Parquet and Arrow files known to [`nerve_data::source::open`].
pub fn register() {
    add(Extra { name: "parquet", open: |path, options| open(path, options, Format::Parquet) });
    add(Extra { name: "arrow", open: |path, options| open(path, options, Format::Arrow) });
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Format {
    Parquet,
    Arrow,
}

/// A file and the columns that are read of it.
struct Typed {
    path: PathBuf,
    format: Format,
    columns: Vec<String>,
    /// The places of the columns in the file.
    places: Vec<usize>,
}

fn open(path: &Path, options: &Options, format: Format) -> Result<Box<dyn Source>, DataError> {
    let schema = batches(path, format, None)?.schema();
    let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    let chosen = if options.columns.is_empty() { &names } else { &options.columns };
    let mut places = Vec::with_capacity(chosen.len());
    for name in chosen {
        let Some(place) = names.iter().position(|known| known == name) else {
            let nearest = nerve_formats::spec::nearest(name, names.iter().map(String::as_str));
            let nearest = nearest.map(str::to_string);
            let (column, known) = (name.clone(), names.clone());
            return Err(DataError::UnknownColumn { column, known, nearest });
        };
        if let Some(found) = cells::unreadable(schema.field(place).data_type()) {
            let field = format!("column `{name}`");
            let expected = "numbers, texts, dates, lists; choose the other columns with `columns`";
            return Err(fault(path, ErrorKind::Unsupported, &field, expected, &found).into());
        }
        places.push(place);
    }
    // Columns come in the order of the file.
    places.sort_unstable();
    if places.is_empty() || places.windows(2).any(|pair| pair[0] == pair[1]) {
        let (expected, found) = ("each column once, one at least", format!("{chosen:?}"));
        return Err(fault(path, ErrorKind::Mismatch, "columns", expected, &found).into());
    }
    let columns = places.iter().map(|&place| names[place].clone()).collect();
    Ok(Box::new(Typed { path: path.into(), format, columns, places }))
}

fn fault(path: &Path, kind: ErrorKind, field: &str, expected: &str, found: &str) -> FormatError {
    FormatError::new(kind, path, field, expected, found)
}

fn damaged(path: &Path, found: &str) -> FormatError {
    fault(path, ErrorKind::Malformed, "data", "a sound file", found)
}

/// Opens a file and reads its schema; of its columns those at `places`, or all.
fn batches(
    path: &Path,
    format: Format,
    places: Option<&[usize]>,
) -> Result<Box<dyn RecordBatchReader + Send>, FormatError> {
    // Regular files alone: opening a pipe would wait.
    drop(Reader::open(path, &Limits { max_bytes: u64::MAX, ..Limits::default() })?);
    let file = File::open(path).map_err(|e| FormatError::io(path, "cannot open", &e))?;
    let opened = guarded(path, || match format {
        Format::Parquet => {
            let mut builder =
                ParquetRecordBatchReaderBuilder::try_new(file)?.with_batch_size(BATCH);
            if let Some(places) = places {
                let mask = ProjectionMask::roots(builder.parquet_schema(), places.iter().copied());
                builder = builder.with_projection(mask);
            }
            Ok(Box::new(builder.build()?) as Box<dyn RecordBatchReader + Send>)
        }
        Format::Arrow => {
            let reader = FileReader::try_new(file, places.map(<[usize]>::to_vec))?;
            Ok(Box::new(reader) as Box<dyn RecordBatchReader + Send>)
        }
    })?;
    opened.map_err(|e: ArrowError| damaged(path, &e.to_string()))
}

/// Runs code of others on bytes of others: what it did not foresee becomes an error and no panic.
fn guarded<T>(path: &Path, run: impl FnOnce() -> T) -> Result<T, FormatError> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        damaged(path, text.unwrap_or("one that the reader stumbles over"))
    })
}

impl Source for Typed {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn chunks(&self) -> Result<Box<dyn Chunks>, DataError> {
        let batches = batches(&self.path, self.format, Some(&self.places))?;
        let schema = batches.schema();
        Ok(Box::new(Batches { path: self.path.clone(), schema, batches, left: None, rows: 0 }))
    }
}

struct Batches {
    path: PathBuf,
    schema: SchemaRef,
    batches: Box<dyn RecordBatchReader + Send>,
    /// What is left of the batch that was read last.
    left: Option<RecordBatch>,
    /// How many rows were given.
    rows: u64,
}

impl Chunks for Batches {
    fn next(&mut self, rows: usize) -> Result<Option<Table>, DataError> {
        while self.left.as_ref().is_none_or(|batch| batch.num_rows() == 0) {
            let next = guarded(&self.path, || self.batches.next())?;
            match next.transpose().map_err(|e| damaged(&self.path, &e.to_string()))? {
                Some(batch) => self.left = Some(batch),
                None if self.rows == 0 => {
                    let what = self.path.display().to_string();
                    return Err(DataError::Empty { what: nerve_formats::escape(&what, 200) });
                }
                None => return Ok(None),
            }
        }
        let Some(batch) = self.left.take() else { return Ok(None) };
        let count = batch.num_rows().min(rows.max(1));
        let now = batch.slice(0, count);
        self.left = Some(batch.slice(count, batch.num_rows() - count));
        let mut columns = Vec::with_capacity(now.num_columns());
        for (array, field) in now.columns().iter().zip(self.schema.fields()) {
            let cells = guarded(&self.path, || cells::cells(array))?.map_err(|bad| {
                let row = self.rows + bad.row as u64 + 1;
                let field = format!("column `{}`, row {row}", field.name());
                fault(&self.path, ErrorKind::Malformed, &field, bad.expected, &bad.found)
            })?;
            columns.push(Column { name: field.name().clone(), cells });
        }
        let before = self.rows;
        self.rows += count as u64;
        let folder = self.path.parent().map(Path::to_path_buf).unwrap_or_default();
        let origin = Origin { files: vec![self.path.clone()], folder, lines: Vec::new() };
        Ok(Some(Table::new(columns, origin)?.behind(before)))
    }
}

#[cfg(test)]
mod tests;
