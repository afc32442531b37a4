//! How far an export to MLflow came.

use super::MlflowError;
use crate::RunFolder;
use nerve_formats::{ErrorKind, FormatError, Limits, Reader, escape, write_atomic};
use serde::{Deserialize, Serialize};
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
    /// What MLflow was told last.
    pub(super) status: String,
    /// The artifacts that were sent.
    pub(super) files: Vec<String>,
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
        let limits = Limits { max_bytes: 1 << 16, ..Limits::default() };
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
