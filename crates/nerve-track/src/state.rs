//! `state.json`: how a run stands.

use nerve_formats::{ErrorKind, FormatError, Limits, Reader, write_atomic};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;
use std::time::Duration;

/// How a run stands, as its process last said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// In one word.
    pub status: Status,
    /// Why it stands so, in a sentence; empty while it runs.
    #[serde(default)]
    pub reason: String,
    /// The process that trains or trained.
    pub pid: u32,
    /// When this was written: seconds since 1970. A process that runs says so every second.
    pub heartbeat: f64,
    /// When the run began first: seconds since 1970.
    pub began: f64,
    /// The epoch in hand, counted from 1.
    pub epoch: u64,
    /// How many there are to be.
    pub epochs: u64,
    /// Steps since the training began.
    pub step: u64,
    /// The best epoch so far: its number, and its score as it stands in the history.
    #[serde(default)]
    pub best: Option<(u64, f64)>,
    /// The name of that score.
    #[serde(default)]
    pub goal: Option<String>,
    /// The exit code of the process, once it has ended.
    #[serde(default)]
    pub exit_code: Option<u8>,
}

/// How a run stands, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// A process trains, or was killed before it could say otherwise: see [`State::alive`].
    Running,
    /// It came to its end.
    Done,
    /// It was interrupted, and can go on.
    Stopped,
    /// It ended with an error.
    Failed,
    /// Its loss was no number any more.
    Diverged,
}

/// Whether the process of a run still trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Alive {
    /// It says so.
    Yes,
    /// It ended, and said so.
    Ended,
    /// It has not been heard of: killed, or its machine is gone.
    Lost,
}

impl Status {
    /// `running`.
    pub fn word(self) -> &'static str {
        match self {
            Status::Running => "running",
            Status::Done => "done",
            Status::Stopped => "stopped",
            Status::Failed => "failed",
            Status::Diverged => "diverged",
        }
    }
}

impl State {
    /// How often a process that trains says so.
    pub const HEARTBEAT: Duration = Duration::from_secs(1);

    /// Reads it from its file.
    ///
    /// # Errors
    /// It is not there, or no such file.
    pub fn read(path: &Path) -> Result<State, FormatError> {
        let limits = Limits { max_bytes: 1 << 20, ..Limits::default() };
        let mut file = Reader::open(path, &limits)?;
        let length = file.remaining().unwrap_or(0);
        let bytes = file.bytes("state", length)?;
        serde_json::from_slice(&bytes).map_err(|error| {
            FormatError::new(
                ErrorKind::Malformed,
                path,
                "state",
                "that of a run",
                error.to_string(),
            )
        })
    }

    /// Writes it to its file, which is whole or as it was before.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn write(&self, path: &Path) -> Result<(), FormatError> {
        let text = serde_json::to_string_pretty(self).expect("plain data") + "\n";
        write_atomic(path, |file| file.write_all(text.as_bytes()))
    }

    /// Writes it for those who look on, without waiting for the disk: what a power failure leaves of it
    /// does not matter.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn show(&self, path: &Path) -> io::Result<()> {
        let text = serde_json::to_string_pretty(self).expect("plain data") + "\n";
        let beside = path.with_extension("json.tmp");
        let written = std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, path));
        if written.is_err() {
            // Half a file is in nobody's way, but takes room where there is none.
            let _ = std::fs::remove_file(&beside);
        }
        written
    }

    /// Whether its process still trains, where it is `now` (seconds since 1970): a process that has
    /// said nothing for four heartbeats is lost.
    pub fn alive(&self, now: f64) -> Alive {
        match self.status {
            Status::Running if now - self.heartbeat > 4.0 * Self::HEARTBEAT.as_secs_f64() => {
                Alive::Lost
            }
            Status::Running => Alive::Yes,
            _ => Alive::Ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_reads_back_and_a_silent_process_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(crate::STATE);
        let state = State {
            status: Status::Running,
            reason: String::new(),
            pid: 7,
            heartbeat: 1000.0,
            began: 900.0,
            epoch: 2,
            epochs: 5,
            step: 31,
            best: Some((1, 0.25)),
            goal: Some("val_loss".into()),
            exit_code: None,
        };
        state.write(&path).unwrap();
        assert_eq!(State::read(&path).unwrap(), state);
        assert_eq!(state.alive(1003.0), Alive::Yes);
        assert_eq!(state.alive(1005.0), Alive::Lost);
        assert_eq!(State { status: Status::Done, ..state }.alive(1e9), Alive::Ended);
        std::fs::write(&path, "{\"status\": \"asleep\"}").unwrap();
        assert!(State::read(&path).unwrap_err().to_string().contains("state.json"));
    }
}
