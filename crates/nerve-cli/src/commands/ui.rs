//! `nerve ui` and `nerve report`: runs in the browser.

use crate::args::{Report, Ui};
use crate::failure::Failure;
use crate::output;
use nerve_recipe::source::escape;
use nerve_track::RunFolder;
use nerve_ui::{Dashboard, UiError, write_report};
use serde_json::json;
use std::io::IsTerminal;
use std::process::{Command, Stdio};

/// Serves the page until a signal ends the process.
pub fn serve(args: &Ui) -> Result<(), Failure> {
    let dashboard = Dashboard::open(&args.runs, args.port).map_err(failure)?;
    let url = format!("http://{}", dashboard.address());
    match args.json {
        true => output::json(&json!({ "url": url }))?,
        false => output::result(&format!("{url}   Ctrl-C ends it"))?,
    }
    if !args.no_open && std::io::stdout().is_terminal() {
        open(&url);
    }
    dashboard.serve().map_err(failure)
}

fn failure(error: UiError) -> Failure {
    match error {
        UiError::Folder(_) => Failure::Usage(error.to_string()),
        UiError::Address { .. } | UiError::Server(_) => Failure::Address(error.to_string()),
    }
}

/// Asks the system to show an address. Without a browser there is still the address on the terminal.
fn open(url: &str) {
    let program = match std::env::consts::OS {
        "macos" => "open",
        "windows" => "explorer",
        _ => "xdg-open",
    };
    let mut command = Command::new(program);
    command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _ = command.spawn();
}

/// Writes all about a run into one file.
pub fn report(args: &Report) -> Result<(), Failure> {
    let run = RunFolder::open(&args.runs, &args.run)?;
    let file = args.output.clone().unwrap_or_else(|| run.file("report.html"));
    write_report(&run, &file).map_err(|error| Failure::Runtime(error.to_string()))?;
    let shown = file.to_string_lossy();
    match args.json {
        true => output::json(&json!({ "run": run.name(), "report": shown }))?,
        false => output::result(&escape(&shown))?,
    }
    Ok(())
}
