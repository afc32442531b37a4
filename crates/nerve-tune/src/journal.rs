//! `journal.jsonl`: everything that happens to a study, one JSON object a line, appended and never changed.
//!
//! ```text
//! {"k":"study","format":1,"nerve":"0.1.0","seed":42,"mode":"min","sampler":{"tpe":{...}},"pruner":...,"space":[...],"subject":"..."}
//! {"k":"asked","trial":0,"t":1763779200.1,"values":{"trainer.optimizer.lr":0.003,"trainer.batch_size":"64"}}
//! {"k":"report","trial":0,"step":1,"v":0.41}
//! {"k":"told","trial":0,"t":1763779203.5,"v":0.38,"seconds":3.4}
//! ```
//!
//! A trial ends with `told`, `pruned` or `failed`; `again` says that one which had not ended is begun anew, and what it
//! had reported no longer counts. A line is written with one call and safe on the disk before a result counts as told.
//! A process that is killed leaves at most half a line at the end, which the next one takes away; half a line anywhere
//! else is damage, and an error. One process at a time writes a journal: it holds a lock on the file.

use crate::TuneError;
use crate::pruner::Pruner;
use crate::sampler::Sampler;
use crate::space::Space;
use nerve_formats::escape;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The version of the lines that this version writes.
pub const FORMAT: u32 = 1;
/// Longest line that is read, in bytes.
const LONGEST: u64 = 16 << 20;

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "k", rename_all = "snake_case")]
pub enum Line {
    /// The study begins. The first line.
    Study {
        /// [`FORMAT`].
        format: u32,
        /// The version of nerve.
        nerve: String,
        /// The seed.
        seed: u64,
        /// `min` or `max`.
        mode: String,
        /// How trials are chosen.
        sampler: Sampler,
        /// Which are ended early.
        pruner: Pruner,
        /// What is searched.
        space: Space,
        /// What is tuned, in words of the caller: a study of another subject is another study.
        subject: String,
    },
    /// A trial begins.
    Asked {
        /// Its number, counted from 0.
        trial: usize,
        /// When: seconds since 1970.
        t: f64,
        /// Its parameters by their names; a choice by its label.
        values: Map<String, Json>,
        /// Whether somebody proposed it, and no sampler.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        proposed: bool,
    },
    /// A trial that had not ended begins anew, with the same parameters.
    Again {
        /// Its number.
        trial: usize,
        /// When.
        t: f64,
    },
    /// How a trial comes on.
    Report {
        /// Its number.
        trial: usize,
        /// How far it is, for instance in epochs.
        step: u64,
        /// What it has reached; null for what is no finite number.
        v: Option<f64>,
    },
    /// A trial has come to its end.
    Told {
        /// Its number.
        trial: usize,
        /// When.
        t: f64,
        /// What it reached.
        v: f64,
        /// How long it took.
        seconds: f64,
    },
    /// A trial was ended early.
    Pruned {
        /// Its number.
        trial: usize,
        /// When.
        t: f64,
        /// How long it took.
        seconds: f64,
    },
    /// A trial has no result, and never will have.
    Failed {
        /// Its number.
        trial: usize,
        /// When.
        t: f64,
        /// Why.
        reason: String,
        /// How long it took.
        seconds: f64,
    },
    /// Of a kind that this version does not know.
    #[serde(other)]
    Unknown,
}

/// Seconds since 1970, to the microsecond.
pub(crate) fn now() -> f64 {
    let t = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |t| t.as_secs_f64());
    (t * 1e6).round() / 1e6
}

/// A journal that is written.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    path: PathBuf,
}

impl Journal {
    /// Opens or makes a journal; calls `each` with every line that is in it, and takes away half a line at its end.
    pub(crate) fn open(
        path: &Path,
        each: impl FnMut(u64, Line) -> Result<(), String>,
    ) -> Result<Journal, TuneError> {
        let fail = |cause| failure("open", path, cause);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(TuneError::InUse { file: shown(path) }),
            // A file system without locks: then nobody else can be told apart either.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => return Err(fail(error)),
        }
        let whole = read(&file, path, each)?;
        file.set_len(whole).map_err(fail)?;
        file.seek(SeekFrom::Start(whole)).map_err(fail)?;
        Ok(Journal { file, path: path.to_path_buf() })
    }

    /// Appends a line.
    pub(crate) fn write(&mut self, line: &Line) -> Result<(), TuneError> {
        let text = serde_json::to_string(line).expect("plain data with text keys") + "\n";
        let safe = !matches!(line, Line::Report { .. } | Line::Asked { .. });
        let written = self.file.write_all(text.as_bytes());
        let written = written.and_then(|()| if safe { self.file.sync_data() } else { Ok(()) });
        written.map_err(|cause| failure("write", &self.path, cause))
    }
}

/// Calls `each` with the lines of a journal that may grow meanwhile.
pub(crate) fn look(
    path: &Path,
    each: impl FnMut(u64, Line) -> Result<(), String>,
) -> Result<(), TuneError> {
    let file = File::open(path).map_err(|cause| failure("open", path, cause))?;
    read(&file, path, each).map(|_| ())
}

/// The lines with their numbers; gives the length of the whole ones.
fn read(
    file: &File,
    path: &Path,
    mut each: impl FnMut(u64, Line) -> Result<(), String>,
) -> Result<u64, TuneError> {
    let kind = file.metadata().map_err(|cause| failure("open", path, cause))?;
    if !kind.is_file() {
        let cause = io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file");
        return Err(failure("open", path, cause));
    }
    let mut reader = BufReader::new(file);
    let (mut whole, mut number) = (0, 0);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let taken = (&mut reader).take(LONGEST + 1).read_until(b'\n', &mut bytes);
        let taken = taken.map_err(|cause| failure("read", path, cause))? as u64;
        number += 1;
        let refuse = |reason| TuneError::Journal { file: shown(path), line: number, reason };
        if taken > LONGEST {
            return Err(refuse(format!("it is longer than {LONGEST} bytes: no journal")));
        }
        if bytes.last() != Some(&b'\n') {
            return Ok(whole);
        }
        let line: Line = serde_json::from_slice(&bytes)
            .map_err(|error| refuse(format!("expected a line of a study, found none: {error}")))?;
        each(number, line).map_err(refuse)?;
        whole += taken;
    }
}

fn failure(action: &'static str, path: &Path, cause: io::Error) -> TuneError {
    TuneError::Io { action, file: shown(path), cause }
}

pub(crate) fn shown(path: &Path) -> String {
    escape(&path.to_string_lossy(), 200)
}
