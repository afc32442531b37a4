//! Readers of files: each gives rows and named columns, a [`Table`], whatever the format.
//!
//! ```text
//! path ──► open (format by content, then by name) ──► Source ──► Chunks: tables of as many rows as asked for
//! ```
//!
//! A format is one file here and one line in [`FORMATS`]. Whatever a file holds, reading it gives a table or an error
//! that says where in the file what was expected and what was found.
//!
//! ```
//! use nerve_data::source::{self, Options};
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("people.csv");
//! std::fs::write(&path, "name,age\nAda,36\n\"Hopper, Grace\",\n")?;
//! let table = source::read(&path, &Options::default())?;
//! assert_eq!((table.rows(), table.columns()[0].name.as_str()), (2, "name"));
//! assert_eq!(table.columns()[0].cells.get(1), nerve_data::Cell::Text("Hopper, Grace"));
//! assert_eq!(table.place(1), "people.csv:3");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod csv;
mod decode;
mod options;
mod records;

use std::path::Path;

use nerve_formats::{ErrorKind, FormatError, Limits, Reader};

pub use options::{FORMATS, Options, PARAMS};

use crate::{DataError, Origin, Table};

/// Files of data, opened: what is known without reading them as a whole.
pub trait Source: Send + Sync {
    /// The names of the columns.
    fn columns(&self) -> &[String];

    /// Begins to read the rows, from the first.
    ///
    /// # Errors
    /// The file cannot be opened any more.
    fn chunks(&self) -> Result<Box<dyn Chunks>, DataError>;
}

/// One reading of a [`Source`] from front to back, in bounded memory.
pub trait Chunks: Send {
    /// The next rows, as many as asked for at most and one at least; `None` at the end.
    ///
    /// # Errors
    /// The file breaks the rules of its format, or has no rows at all; file, place, expected, found.
    fn next(&mut self, rows: usize) -> Result<Option<Table>, DataError>;

    /// What should be said to the user about what was read so far: rows passed over.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Opens a file or a folder of data. The format is what its content says, and where that says nothing, its name; gzip is
/// seen through.
///
/// # Errors
/// [`DataError::Format`]: there is no such file, its format is not known or not read, its header breaks the rules.
pub fn open(path: &Path, options: &Options) -> Result<Box<dyn Source>, DataError> {
    let format = format(path, options)?;
    Ok(match format {
        "tsv" => Box::new(csv::Csv::open(path, true, options)?),
        _ => Box::new(csv::Csv::open(path, false, options)?),
    })
}

/// Reads all rows of a file or a folder into memory.
///
/// # Errors
/// As [`open`] and [`Chunks::next`].
pub fn read(path: &Path, options: &Options) -> Result<Table, DataError> {
    read_all(&*open(path, options)?)
}

/// All rows of a source as one table.
///
/// # Errors
/// As [`Chunks::next`].
pub fn read_all(source: &dyn Source) -> Result<Table, DataError> {
    let mut chunks = source.chunks()?;
    let mut all = Table::default();
    while let Some(table) = chunks.next(usize::MAX)? {
        all.append(table)?;
    }
    for note in chunks.notes() {
        all.note(note);
    }
    Ok(all)
}

/// The format of a file.
fn format(path: &Path, options: &Options) -> Result<&'static str, DataError> {
    if let Some(format) = &options.format {
        let known = FORMATS.into_iter().find(|known| known == format);
        return known.ok_or_else(|| DataError::Option {
            option: "format",
            expected: FORMATS.join(", "),
            found: format.clone(),
        });
    }
    let mut start = Vec::new();
    let limits = Limits { max_bytes: u64::MAX, ..Limits::default() };
    Reader::open_gz(path, &limits)?.some("file", 512, &mut start)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    let unfit = |found: &str| -> DataError {
        let expected = format!("a file of data ({})", FORMATS.join(", "));
        FormatError::new(ErrorKind::Unsupported, path, "format", expected, found).into()
    };
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "csv" => Ok("csv"),
        "tsv" | "tab" => Ok("tsv"),
        _ => Err(unfit("a name that tells no format; write format = \"csv\" or another")),
    }
}

/// Where the rows of one file come from.
fn origin(path: &Path, lines: Vec<(u32, u64)>) -> Origin {
    let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
    Origin { files: vec![path.into()], folder, lines }
}
