//! How a command ends when it does not end well: a message, and the exit code that goes with it.

use crate::output::{Style, complain};
use nerve::train::TrainError;
use nerve::tune::TuneError;
use nerve_recipe::Report;
use nerve_recipe::predictor::ModelError;
use nerve_recipe::session::SessionError;
use nerve_track::RunError;
use serde_json::json;
use std::io;
use std::process::ExitCode;

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub enum Failure {
    /// Exit 1: something on this machine failed, or nerve did.
    Runtime(String),
    /// Exit 2: the command line is wrong; one message.
    Usage(String),
    /// Exit 2: the recipe is wrong.
    Recipe(Report),
    /// Exit 3: the data are missing, damaged or do not fit.
    Data(String),
    /// Exit 4: a gate was missed.
    Gate(String),
    /// Exit 5: the loss is no number any more.
    Diverged(String),
    /// Exit 6: the address is in use, or the server could not start.
    Address(String),
    /// Exit 128 + the number of the signal: stopped after saving.
    Stopped(i32),
    /// Whoever read the output has gone. Not a failure of ours: quiet, and exit 0.
    ReaderGone,
}

impl Failure {
    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Failure::ReaderGone => 0,
            Failure::Runtime(_) => 1,
            Failure::Usage(_) | Failure::Recipe(_) => 2,
            Failure::Data(_) => 3,
            Failure::Gate(_) => 4,
            Failure::Diverged(_) => 5,
            Failure::Address(_) => 6,
            Failure::Stopped(signal) => u8::try_from(128 + signal).unwrap_or(1),
        }
    }

    /// Why, in words; nothing where a signal or a reader that has gone says it all.
    pub fn reason(&self) -> String {
        match self {
            Failure::ReaderGone | Failure::Stopped(_) => String::new(),
            Failure::Recipe(report) => report.to_string(),
            Failure::Runtime(text)
            | Failure::Usage(text)
            | Failure::Data(text)
            | Failure::Gate(text)
            | Failure::Address(text)
            | Failure::Diverged(text) => text.clone(),
        }
    }

    /// Says on standard error what went wrong, in JSON where that was asked for.
    pub fn report(&self, json: bool) -> ExitCode {
        let code = self.code();
        match self {
            Failure::ReaderGone | Failure::Stopped(_) => return ExitCode::from(code),
            Failure::Recipe(report) if json => {
                complain(&json!({ "exit_code": code, "problems": report.to_json() }).to_string());
                return ExitCode::from(code);
            }
            Failure::Recipe(report) => {
                complain(&report.render(Style::of_stderr().color));
                return ExitCode::from(code);
            }
            _ => {}
        }
        let reason = self.reason();
        let text = reason.trim_end();
        match json {
            true => complain(&json!({ "exit_code": code, "error": text }).to_string()),
            false => complain(&format!("{}: {text}", Style::of_stderr().bold_red("error"))),
        }
        ExitCode::from(code)
    }
}

impl From<Report> for Failure {
    fn from(report: Report) -> Self {
        Failure::Recipe(report)
    }
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Recipe(report) => Failure::Recipe(report),
            SessionError::Data(error) => Failure::Data(error.to_string()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::ReaderGone,
            _ => Failure::Runtime(format!("cannot write the result: {error}")),
        }
    }
}

impl From<TuneError> for Failure {
    fn from(error: TuneError) -> Self {
        match error {
            TuneError::Space(_) | TuneError::Other { .. } => Failure::Usage(error.to_string()),
            TuneError::Journal { .. } => Failure::Data(error.to_string()),
            TuneError::Io { .. } | TuneError::InUse { .. } => Failure::Runtime(error.to_string()),
        }
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::NoRun { .. } | RunError::Busy { .. } => Failure::Usage(error.to_string()),
            RunError::Create { .. } | RunError::Write(_) => Failure::Runtime(error.to_string()),
        }
    }
}

impl From<ModelError> for Failure {
    fn from(error: ModelError) -> Self {
        match &error {
            ModelError::Train(TrainError::Data(_) | TrainError::Index { .. }) => {
                Failure::Data(error.to_string())
            }
            ModelError::Train(_) => Failure::Runtime(error.to_string()),
            _ => Failure::Data(error.to_string()),
        }
    }
}
