//! Standard output for results, standard error for everything else.

use std::env;
use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Writes a result. What reads it may have gone: that is an error of its own kind, which ends the
/// command quietly.
pub fn result(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Writes a JSON result on one line.
pub fn json(value: &serde_json::Value) -> io::Result<()> {
    result(&value.to_string())
}

/// Writes a line to standard error, and to the log of the run. If nobody reads it, there is nobody to tell.
pub fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", text.trim_end());
    let _ = writeln!(Log, "{}", plain(text.trim_end()));
}

/// The thread that writes the log: a disk that hangs must not hold up the training.
struct Writer {
    lines: Sender<Vec<u8>>,
    thread: JoinHandle<()>,
}

static LOG: Mutex<Option<Writer>> = Mutex::new(None);

fn log() -> MutexGuard<'static, Option<Writer>> {
    LOG.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on what is said on standard error is appended to this file, too, without colours.
///
/// # Errors
/// The file cannot be written.
pub fn log_to(path: &Path) -> io::Result<()> {
    end_log();
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    let (lines, received) = channel::<Vec<u8>>();
    // A disk that is full loses lines of the log: they stood on the terminal.
    let write = move || received.iter().for_each(|line| drop(file.write_all(&line)));
    let thread = std::thread::Builder::new().name("nerve-log".into()).spawn(write)?;
    *log() = Some(Writer { lines, thread });
    Ok(())
}

/// Waits until the log is written, and ends it.
pub fn end_log() {
    let writer = log().take();
    if let Some(Writer { lines, thread }) = writer {
        drop(lines);
        let _ = thread.join();
    }
}

/// Writes into the log of the run, if there is one.
#[derive(Debug)]
pub struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(writer) = &*log() {
            let _ = writer.lines.send(bytes.to_vec());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The text without escape sequences for colours.
fn plain(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_string();
    parts.fold(first, |all, part| all + part.split_once('m').map_or(part, |(_, rest)| rest))
}

/// How standard error may look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Whether escape sequences for colour are welcome.
    pub color: bool,
    /// Whether the cursor can be moved: a terminal that is not dumb.
    pub movable: bool,
}

impl Style {
    /// From the terminal and the environment: `NO_COLOR`, `CLICOLOR_FORCE`, `CI`, `TERM=dumb`.
    pub fn of_stderr() -> Self {
        Style::new(io::stderr().is_terminal(), |name| {
            env::var_os(name).filter(|value| !value.is_empty()).map(|v| v.to_string_lossy().into())
        })
    }

    fn new(terminal: bool, variable: impl Fn(&str) -> Option<String>) -> Self {
        let dumb = variable("TERM").is_some_and(|term| term == "dumb");
        let forced = variable("CLICOLOR_FORCE").is_some_and(|value| value != "0");
        let refused = variable("NO_COLOR").is_some();
        Style {
            color: !refused && (forced || (terminal && !dumb)),
            movable: terminal && !dumb && variable("CI").is_none(),
        }
    }

    /// The text in bold red where colour is welcome.
    pub fn bold_red(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_has_no_colours() {
        assert_eq!(plain("\x1b[1;31merror\x1b[0m: x \x1b[32m"), "error: x ");
        assert_eq!(plain("m\u{3bc} = 1"), "m\u{3bc} = 1");
    }

    #[test]
    fn colour_follows_the_terminal_and_the_environment() {
        let style = |terminal, set: &[(&str, &str)]| {
            Style::new(terminal, |name| {
                set.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string())
            })
        };
        assert_eq!(style(true, &[("TERM", "xterm")]), Style { color: true, movable: true });
        assert_eq!(style(false, &[]), Style { color: false, movable: false });
        assert_eq!(style(true, &[("NO_COLOR", "1")]), Style { color: false, movable: true });
        assert_eq!(style(false, &[("CLICOLOR_FORCE", "1")]), Style { color: true, movable: false });
        assert_eq!(style(true, &[("TERM", "dumb")]), Style { color: false, movable: false });
        assert_eq!(style(true, &[("CI", "true")]), Style { color: true, movable: false });
        assert!(!style(true, &[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")]).color);
    }
}
