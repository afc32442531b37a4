//! Sources that are read as a whole: arrays and lists of files.

use std::ops::Range;

use super::{Chunks, Source};
use crate::{Cells, Column, DataError, Origin, Table, Texts, Values};

/// A source whose table is made at once.
pub(super) struct Whole {
    columns: Vec<String>,
    load: Box<dyn Fn() -> Result<Table, DataError> + Send + Sync>,
}

impl Whole {
    /// `columns` must be those of the table that `load` gives.
    pub(super) fn new(
        columns: Vec<String>,
        load: impl Fn() -> Result<Table, DataError> + Send + Sync + 'static,
    ) -> Whole {
        Whole { columns, load: Box::new(load) }
    }
}

impl Source for Whole {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn chunks(&self) -> Result<Box<dyn Chunks>, DataError> {
        Ok(Box::new(Pieces { table: Some((self.load)()?), next: 0 }))
    }
}

/// A table piece by piece.
struct Pieces {
    table: Option<Table>,
    next: usize,
}

impl Chunks for Pieces {
    fn next(&mut self, rows: usize) -> Result<Option<Table>, DataError> {
        let Some(table) = &self.table else { return Ok(None) };
        if self.next == 0 && rows >= table.rows() {
            return Ok(self.table.take());
        }
        let range = self.next..table.rows().min(self.next.saturating_add(rows));
        self.next = range.end;
        if range.is_empty() {
            self.table = None;
            return Ok(None);
        }
        part(table, range).map(Some)
    }
}

/// Some rows of a table.
pub(super) fn part(table: &Table, rows: Range<usize>) -> Result<Table, DataError> {
    let columns = table.columns().iter().map(|column| {
        let cells = match &column.cells {
            Cells::Text(texts) => {
                Cells::Text(rows.clone().map(|row| texts.get(row)).collect::<Texts>())
            }
            Cells::Numbers(numbers) => Cells::Numbers(numbers[rows.clone()].to_vec()),
            Cells::Arrays(field, values) => {
                let len = field.values_per_sample();
                let range = rows.start * len..rows.end * len;
                let values = match values {
                    Values::F32(values) => values[range].to_vec().into(),
                    Values::I32(values) => values[range].to_vec().into(),
                    Values::U8(values) => values[range].to_vec().into(),
                };
                Cells::Arrays(field.clone(), values)
            }
        };
        Column { name: column.name.clone(), cells }
    });
    let Origin { files, folder, lines } = table.origin();
    let lines = lines.get(rows.clone()).unwrap_or(&[]).to_vec();
    let origin = Origin { files: files.clone(), folder: folder.clone(), lines };
    Table::new(columns.collect(), origin)
}
