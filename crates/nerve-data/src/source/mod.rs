//! Readers of files: each gives rows and named columns, a [`Table`], whatever the format.
//!
//! ```text
//! path ──► open (format by content, then by name) ──► Source ──► Chunks: tables of as many rows as asked for
//! ```
//!
//! A format is one file here and one line in `format.rs`. Whatever a file holds, reading it gives a table or an error
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

mod arrays;
mod csv;
mod decode;
mod files;
mod folder;
mod format;
mod idx;
mod json;
mod options;
mod records;
mod stream;
mod text;
mod whole;

use std::path::{Path, PathBuf};

pub use format::{Extra, Open, register};
pub(crate) use idx::pair as idx_pair;
pub use options::{FORMATS, Options, PARAMS};
pub use stream::{Choice, Learned, TableStream, fit, fit_parts};

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
/// | what | columns |
/// |---|---|
/// | CSV, TSV, ... | those of the header, or `columns` |
/// | JSON: an object a line, or a list | the keys of the first 1000 objects, or `columns`; `outer.inner` for objects within |
/// | text | `text`, or the one name in `columns`: a line a row, without empty lines; or one row |
/// | npy | one, called like the file; with several `columns` those of a matrix |
/// | npz | one an array |
/// | idx images with the labels beside them | `image`, `label` |
/// | Parquet, Arrow | their own, where that was built in |
/// | folder of folders of pictures, WAV files or texts | `image`, `audio` or `text`, and `label`: the name of the folder |
/// | folder with `images` and `masks` | `image`, `mask`: files of the same name |
/// | folder of files of data | those of the files, which must be the same |
///
/// Cells of pictures and recordings are file names relative to [`Origin::folder`].
///
/// # Errors
/// [`DataError::Format`]: there is no such file, its format is not known or not read, its header breaks the rules.
pub fn open(path: &Path, options: &Options) -> Result<Box<dyn Source>, DataError> {
    match path.is_dir() {
        true => folder::open(path, options),
        false => format::open(path, options),
    }
}

/// Opens several files: one after the other, with the same columns. Texts of which there are as many as names in
/// `columns`, and more than one, stand side by side: a column each.
///
/// # Errors
/// As [`open`]; [`DataError::Empty`] without files.
pub fn open_files(paths: &[PathBuf], options: &Options) -> Result<Box<dyn Source>, DataError> {
    match paths {
        [] => Err(DataError::Empty { what: "list of files".into() }),
        [path] => open(path, options),
        [first, ..] => {
            let beside = options.columns.len() == paths.len();
            if beside && !first.is_dir() && format::of(first, options)? == "text" {
                return Ok(Box::new(text::Lines::open(paths, options)?));
            }
            let sources = paths.iter().map(|path| open(path, options));
            let sources = sources.collect::<Result<Vec<_>, DataError>>()?;
            Ok(Box::new(files::Files::new(paths, sources)?))
        }
    }
}

/// Reads all rows of a file or a folder into memory.
///
/// # Errors
/// As [`open`] and [`Chunks::next`].
pub fn read(path: &Path, options: &Options) -> Result<Table, DataError> {
    read_all(&*open(path, options)?)
}

/// Reads all rows of several files into memory.
///
/// # Errors
/// As [`open_files`] and [`Chunks::next`].
pub fn read_files(paths: &[PathBuf], options: &Options) -> Result<Table, DataError> {
    read_all(&*open_files(paths, options)?)
}

/// All rows of a source as one table.
///
/// # Errors
/// As [`Chunks::next`].
pub fn read_all(source: &dyn Source) -> Result<Table, DataError> {
    let mut chunks = source.chunks()?;
    let mut all = chunks.next(usize::MAX)?.unwrap_or_default();
    while let Some(table) = chunks.next(usize::MAX)? {
        all.append(table)?;
    }
    for note in chunks.notes() {
        all.note(note);
    }
    Ok(all)
}

/// Where the rows of one file come from.
fn origin(path: &Path, lines: Vec<(u32, u64)>) -> Origin {
    let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
    Origin { files: vec![path.into()], folder, lines }
}
