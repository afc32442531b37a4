//! Running the binary as a user does.
#![allow(dead_code, missing_docs)]

use std::path::Path;
use std::process::{Command, Output};

/// What a run of the command left.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn of(output: Output) -> Ran {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
        let ran =
            Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) };
        // True of every run, whatever happens: a panic is never an answer.
        assert!(!ran.err.contains("panicked"), "{}", ran.err);
        ran
    }

    #[track_caller]
    pub fn ends(self, code: i32) -> Ran {
        assert_eq!(self.code, Some(code), "\nstdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    pub fn says(self, text: &str) -> Ran {
        assert!(self.err.contains(text), "no `{text}` in:\n{}", self.err);
        self
    }

    #[track_caller]
    pub fn quiet(self) -> Ran {
        assert_eq!(self.out, "");
        self
    }
}

/// The command in a folder, with an environment of its own.
pub fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nerve"));
    command.current_dir(folder).env_remove("NERVE_THREADS").env_remove("CLICOLOR_FORCE");
    command
}

pub fn nerve(folder: &Path, args: &[&str]) -> Ran {
    Ran::of(command(folder).args(args).output().unwrap())
}

/// A line for the shell in which `nerve` is the binary.
pub fn shell(folder: &Path, line: &str) -> Ran {
    let mut shell = Command::new("sh");
    shell.current_dir(folder).arg("-c").arg(format!("nerve() {{ \"$NERVE\" \"$@\"; }}; {line}"));
    shell.env("NERVE", env!("CARGO_BIN_EXE_nerve")).env_remove("NERVE_THREADS");
    Ran::of(shell.output().unwrap())
}

pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}
