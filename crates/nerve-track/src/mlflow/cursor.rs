//! How far an export to MLflow came.

use super::MlflowError;
use crate::RunFolder;
use nerve_formats::{ErrorKind, FormatError, Limits, Reader, escape, write_atomic};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, TryLockError};

/// The name of its file in a run folder.
pub(super) const NAME: &str = "export.mlflow.json";
const LOCK: &str = "export.mlflow.lock";

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Cursor {
    pub(super) address: String,
    pub(super) experiment: String,
    pub(super) experiment_id: String,
    /// The tag by which the run is found if the answer to the request that made it was lost.
    pub(super) key: String,
    pub(super) run_id: String,
    pub(super) artifact_uri: String,
    /// Whether the parameters were sent.
    pub(super) params: bool,
    /// Where in `events.jsonl` the first event lies that was not sent.
    pub(super) offset: u64,
    /// How far the steps came of what was sent.
    #[serde(default)]
    pub(super) sent: Reached,
    /// How far they came when the training went on from before: what it does again is not sent again.
    #[serde(default)]
    pub(super) done: Reached,
    /// What MLflow was told last.
    pub(super) status: String,
    /// The artifacts that were sent.
    pub(super) files: Vec<String>,
}

/// The last step, and which metrics of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Reached {
    pub(super) step: u64,
    pub(super) keys: BTreeSet<String>,
}

impl Reached {
    /// Whether this metric at this step lies behind.
    pub(super) fn holds(&self, step: u64, key: &str) -> bool {
        step < self.step || (step == self.step && self.keys.contains(key))
    }

    pub(super) fn add(&mut self, step: u64, key: &str) {
        if step > self.step {
            *self = Reached { step, keys: BTreeSet::new() };
        }
        if step == self.step {
            self.keys.insert(key.to_string());
        }
    }
}

impl Cursor {
    /// That of the run, or a new one.
    pub(super) fn open(
        run: &RunFolder,
        address: &str,
        experiment: &str,
    ) -> Result<Cursor, MlflowError> {
        let path = run.file(NAME);
        if !path.exists() {
            let (address, experiment) = (address.to_string(), experiment.to_string());
            return Ok(Cursor { address, experiment, ..Cursor::default() });
        }
        let limits = Limits { max_bytes: 1 << 20, ..Limits::default() };
        let mut file = Reader::open(&path, &limits)?;
        let length = file.remaining().unwrap_or(0);
        let bytes = file.bytes("cursor", length)?;
        let cursor: Cursor = serde_json::from_slice(&bytes).map_err(|error| {
            let expected = "what an export wrote; delete it to export anew";
            FormatError::new(ErrorKind::Malformed, &path, "cursor", expected, error.to_string())
        })?;
        if cursor.address != address || cursor.experiment != experiment {
            return Err(MlflowError::Usage(format!(
                "this run goes to the experiment `{}` at {}; delete {} to export it elsewhere",
                escape(&cursor.experiment, 200),
                escape(&cursor.address, 200),
                escape(&path.to_string_lossy(), 200),
            )));
        }
        Ok(cursor)
    }

    pub(super) fn save(&self, run: &RunFolder) -> Result<(), FormatError> {
        let text = serde_json::to_string_pretty(self).expect("plain data") + "\n";
        write_atomic(run.file(NAME), |file| file.write_all(text.as_bytes()))
    }
}

/// One export of a run at a time.
#[derive(Debug)]
pub(super) struct Lock(#[allow(dead_code, reason = "held, not read")] File);

impl Lock {
    pub(super) fn take(run: &RunFolder) -> Result<Lock, MlflowError> {
        let path = run.file(LOCK);
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|error| FormatError::io(&path, "cannot write", &error))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                Err(MlflowError::Usage("another export of this run to MLflow is at work".into()))
            }
            // Some network file systems have no locks.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Lock(file)),
        }
    }
}
