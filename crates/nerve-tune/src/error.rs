//! What can go wrong.

use std::io;

/// Why a study cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum TuneError {
    /// A search space that is none.
    #[error("the search space: {0}")]
    Space(String),
    /// The journal cannot be read or written.
    #[error("cannot {action} the journal `{file}`: {cause}")]
    Io {
        /// What was tried: `open`, `write`.
        action: &'static str,
        /// The file, fit for a terminal.
        file: String,
        /// What the system said.
        cause: io::Error,
    },
    /// Another process writes the journal.
    #[error("the journal `{file}` is in use by another process; it can go on when that has ended")]
    InUse {
        /// The file, fit for a terminal.
        file: String,
    },
    /// A line of the journal is none, or does not fit those before it.
    #[error("the journal `{file}`, line {line}: {reason}")]
    Journal {
        /// The file, fit for a terminal.
        file: String,
        /// The line, counted from 1.
        line: u64,
        /// What was expected, and what was found.
        reason: String,
    },
    /// The journal is that of another study.
    #[error("the journal `{file}` is that of another study:\n  {}\nbegin a new one, or take these changes back", .differences.join("\n  "))]
    Other {
        /// The file, fit for a terminal.
        file: String,
        /// What is different, in words.
        differences: Vec<String>,
    },
}
