//! `nerve ui` and `nerve report`: runs in the browser.

use crate::args::{Report, Ui};
use crate::failure::Failure;
use crate::output::{self, complain};
use nerve_recipe::source::escape;
use nerve_track::RunFolder;
use nerve_ui::{Dashboard, UiError, write_report};
use serde_json::json;
use std::io::IsTerminal;
use std::process::{Command, Stdio};

/// Where the dashboard is, unless said otherwise.
pub const PORT: u16 = 6006;

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

/// Serves the page of the runs beside a training, until the process ends. A training does not fail for it.
pub fn beside(run: &RunFolder) {
    let root = run.path().parent().unwrap_or(run.path());
    // The port may be in use: then any other.
    let opened = Dashboard::open(root, PORT).or_else(|_| Dashboard::open(root, 0));
    let served = opened.map_err(|error| error.to_string()).and_then(|dashboard| {
        let url = format!("http://{}", dashboard.address());
        let thread = std::thread::Builder::new().name("nerve-ui".into());
        let serve = move || {
            if let Err(error) = dashboard.serve() {
                complain(&format!("warning: {error}"));
            }
        };
        thread.spawn(serve).map_err(|error| error.to_string())?;
        Ok(url)
    });
    match served {
        Ok(url) => {
            complain(&format!("{url} shows it until it ends"));
            if std::io::stderr().is_terminal() {
                open(&url);
            }
        }
        Err(error) => complain(&format!("warning: no dashboard: {}", escape(&error))),
    }
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
    let run = RunFolder::open(&args.within.runs, &args.run)?;
    let file = args.output.clone().unwrap_or_else(|| run.file("report.html"));
    write_report(&run, &file).map_err(|error| Failure::Runtime(error.to_string()))?;
    let shown = file.to_string_lossy();
    match args.within.json {
        true => output::json(&json!({ "run": run.name(), "report": shown }))?,
        false => output::result(&escape(&shown))?,
    }
    Ok(())
}
