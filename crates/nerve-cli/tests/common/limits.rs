//! Runs of the command with little memory and little time.
#![allow(dead_code, missing_docs)]

use std::path::Path;
use std::process::Command;

use super::Ran;

/// The command with 1 GiB of address space and 5 s of processor time; a minute if it waits for something.
pub fn limited(folder: &Path, args: &[&str]) -> Ran {
    let line = "ulimit -v 1048576 && ulimit -t 5 && exec timeout 60 \"$NERVE\" \"$@\"";
    let mut shell = Command::new("sh");
    shell.current_dir(folder).args(["-c", line, "sh"]).args(args);
    shell.env("NERVE", env!("CARGO_BIN_EXE_nerve")).env("NERVE_THREADS", "1");
    Ran::of(shell.output().unwrap())
}
