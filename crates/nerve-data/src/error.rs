//! What can be wrong with data from outside.

use std::path::PathBuf;

use nerve_formats::{FormatError, escape};

/// An error about data: one line that says what was expected, what was found and where.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A data file that cannot be read or does not follow its format.
    #[error(transparent)]
    Format(#[from] FormatError),

    /// Two columns of one data set that do not have the same number of samples.
    #[error(
        "{} has {first_count} samples, {} has {second_count}: expected the same number",
        short(first),
        short(second)
    )]
    CountMismatch {
        /// Name of the first column or file.
        first: String,
        /// Samples in it.
        first_count: usize,
        /// Name of the second column or file.
        second: String,
        /// Samples in it.
        second_count: usize,
    },

    /// A label outside the classes.
    #[error("{}: row {row} has the label {label}, expected 0 to {}", short(column), classes.saturating_sub(1))]
    Label {
        /// Name of the column or file.
        column: String,
        /// Row, counted from 0.
        row: usize,
        /// The label found there.
        label: i64,
        /// Number of classes (at least 1).
        classes: usize,
    },

    /// A data set, a part of a split or a stream without any sample.
    #[error("{what}: no samples")]
    Empty {
        /// What is empty.
        what: String,
    },

    /// A field whose shape or element does not fit what is done with it.
    #[error("field `{}`: expected {expected}, found {found}", short(field))]
    Field {
        /// Name of the field.
        field: String,
        /// What was expected of it.
        expected: String,
        /// What it is.
        found: String,
    },

    /// A field that is not there.
    #[error("no field `{}`: the data set has {}", short(field), list(known))]
    UnknownField {
        /// The name asked for.
        field: String,
        /// The names that exist.
        known: Vec<String>,
    },

    /// A column that is not there.
    #[error(
        "no column `{}`{}: the columns are {}",
        short(column),
        nearest.as_ref().map(|near| format!(" (did you mean `{}`?)", short(near))).unwrap_or_default(),
        list(known)
    )]
    UnknownColumn {
        /// The name asked for.
        column: String,
        /// The names that exist.
        known: Vec<String>,
        /// The one that was probably meant.
        nearest: Option<String>,
    },

    /// A cell that a feature cannot take.
    #[error("{place}, column `{}`: expected {expected}, found {found}", short(column))]
    Cell {
        /// File and line: `titanic.csv:17`.
        place: String,
        /// The column.
        column: String,
        /// What the feature takes.
        expected: String,
        /// What stands there, shortened and escaped.
        found: String,
    },

    /// A column that a feature can make nothing of.
    #[error("column `{}`: {message}", short(column))]
    Column {
        /// The column.
        column: String,
        /// What is wrong with it as a whole.
        message: String,
    },

    /// A value that is NaN or infinite.
    #[error("field `{}`: row {row} has the value {value}, expected a finite number", short(field))]
    NotFinite {
        /// Name of the field.
        field: String,
        /// Row, counted from 0.
        row: usize,
        /// The value.
        value: f32,
    },

    /// An option outside its range.
    #[error("{option}: expected {expected}, found {found}")]
    Option {
        /// Name of the option.
        option: &'static str,
        /// Its range.
        expected: String,
        /// The value given.
        found: String,
    },

    /// A named data set that the catalogue does not know.
    #[error("no data set named `{}`: known are {}", short(name), list(known))]
    UnknownDataSet {
        /// The name asked for.
        name: String,
        /// The names of the catalogue.
        known: Vec<String>,
    },

    /// A named data set whose files were found nowhere.
    #[error("{}", not_found(name, looked, hint))]
    NotFound {
        /// Name of the data set.
        name: String,
        /// Each place looked at, with what was wrong there.
        looked: Vec<(PathBuf, String)>,
        /// What to do.
        hint: String,
    },

    /// A failure of the source itself, told by a user's own data set or stream.
    #[error("sample {index}: {message}")]
    Sample {
        /// The sample, counted from 0.
        index: u64,
        /// What went wrong.
        message: String,
    },

    /// Reading the data panicked. The batches before it were delivered.
    #[error("reading the batch at sample {position} panicked: {message}")]
    Panicked {
        /// Position in the epoch of the first sample of the batch that failed.
        position: u64,
        /// The panic's message.
        message: String,
    },

    /// A named data set that could not be fetched.
    #[error("{}", not_fetched(name, tried, hint))]
    Fetch {
        /// Its name.
        name: String,
        /// Each way that was tried, and what went wrong.
        tried: Vec<(String, String)>,
        /// What to do.
        hint: String,
    },

    /// The user asked to stop.
    #[error("stopped")]
    Stopped,

    /// The thread that prepares batches could not be started.
    #[error("cannot start the thread that prepares batches: {0}")]
    Thread(std::io::Error),
}

/// A name from outside, as it may stand in a message.
fn short(name: &str) -> String {
    escape(name, 80)
}

fn list(names: &[String]) -> String {
    match names {
        [] => "none".into(),
        names => {
            names.iter().map(|name| format!("`{}`", short(name))).collect::<Vec<_>>().join(", ")
        }
    }
}

fn not_found(name: &str, looked: &[(PathBuf, String)], hint: &str) -> String {
    let mut text = format!("the data set `{name}` was not found; looked at:");
    for (place, why) in looked {
        text.push_str(&format!("\n  {} ({why})", escape(&place.to_string_lossy(), 300)));
    }
    text + "\n" + hint
}

fn not_fetched(name: &str, tried: &[(String, String)], hint: &str) -> String {
    let mut text = format!("cannot fetch the data set `{name}`");
    if !tried.is_empty() {
        text.push_str("; tried:");
    }
    for (way, why) in tried {
        text.push_str(&format!("\n  {}: {}", escape(way, 300), escape(why, 2000)));
    }
    text + "\n" + hint
}
