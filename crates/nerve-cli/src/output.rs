//! Standard output for results, standard error for everything else.

use std::env;
use std::io::{self, IsTerminal, Write};

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

/// Writes a line to standard error. If nobody reads it, there is nobody to tell.
pub fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", text.trim_end());
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
