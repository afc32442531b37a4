//! Several files that are read one after the other, as one.

use std::path::PathBuf;
use std::sync::Arc;

use nerve_formats::{ErrorKind, FormatError};

use super::{Chunks, Source};
use crate::{DataError, Table};

/// Files with the same columns.
pub(super) struct Files {
    sources: Arc<[Box<dyn Source>]>,
}

impl Files {
    /// # Errors
    /// The columns of a file are not those of the first.
    pub(super) fn new(
        paths: &[PathBuf],
        sources: Vec<Box<dyn Source>>,
    ) -> Result<Files, DataError> {
        let columns = sources[0].columns();
        for (path, source) in paths.iter().zip(&sources) {
            if source.columns() != columns {
                let list = |names: &[String]| names[..names.len().min(20)].join(", ");
                let first = paths[0].file_name().unwrap_or_default().to_string_lossy();
                let expected = format!("{} ({}), as in {first}", columns.len(), list(columns));
                let found = format!("{} ({})", source.columns().len(), list(source.columns()));
                return Err(FormatError::new(
                    ErrorKind::Mismatch,
                    path,
                    "columns",
                    expected,
                    found,
                )
                .into());
            }
        }
        Ok(Files { sources: sources.into() })
    }
}

impl Source for Files {
    fn columns(&self) -> &[String] {
        self.sources[0].columns()
    }

    fn chunks(&self) -> Result<Box<dyn Chunks>, DataError> {
        // Later files are opened when their turn comes: there may be more than can be open at a time.
        let (sources, now) = (Arc::clone(&self.sources), self.sources[0].chunks()?);
        Ok(Box::new(FileChunks { sources, now, at: 0, notes: Vec::new() }))
    }
}

struct FileChunks {
    sources: Arc<[Box<dyn Source>]>,
    now: Box<dyn Chunks>,
    at: usize,
    notes: Vec<String>,
}

impl Chunks for FileChunks {
    fn next(&mut self, rows: usize) -> Result<Option<Table>, DataError> {
        loop {
            if let Some(table) = self.now.next(rows)? {
                return Ok(Some(table));
            }
            let Some(next) = self.sources.get(self.at + 1) else { return Ok(None) };
            self.notes.extend(self.now.notes());
            self.now = next.chunks()?;
            self.at += 1;
        }
    }

    fn notes(&self) -> Vec<String> {
        self.notes.iter().cloned().chain(self.now.notes()).collect()
    }
}
