//! The `nerve` command.
//!
//! Results go to standard output, progress and errors to standard error. The exit code says how it
//! ended: see `failure::Failure`.
//!
//! A library beside a program of one call: the program is linked with all loops at full speed, and the commands themselves,
//! which run once, are compiled to be small.
#![forbid(unsafe_code)]

mod args;
mod commands;
mod failure;
mod output;
mod signals;

use args::{Cli, Command};
use clap::Parser;
use clap::error::ErrorKind;
use std::process::ExitCode;

/// Does what the command line says.
pub fn main() -> ExitCode {
    #[cfg(feature = "parquet")]
    nerve_parquet::register();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let json = match &cli.command {
        Command::Train(args) => args.common.json,
        Command::Resume(args) => args.common.json,
        Command::Evaluate(args) => args.common.json,
        Command::Predict(args) => args.common.json,
        Command::Generate(args) => args.common.json,
        Command::Check(args) => args.common.json,
        Command::Bench(args) => args.common.json,
        Command::Embed(args) => args.common.json,
        Command::Import(args) => args.common.json,
        Command::Inspect(args) => args.json,
        Command::Export(args) => args.common.json,
        Command::LrFind(args) => args.common.json,
        Command::List(args) => args.json,
        Command::Schema(args) => args.json,
        Command::Data(command) => command.json(),
        Command::Tune(args) => args.common.json,
        Command::Runs(args) => args.json(),
        Command::Compare(args) => args.common.json,
        Command::Plot(args) => args.within.json,
        Command::Init(args) => args.json,
        Command::New(args) => args.json,
        Command::Monitor(args) => args.common.json,
        Command::Serve(args) => args.common.json,
        Command::Ui(args) => args.json,
        Command::Report(args) => args.within.json,
        Command::Card(args) => args.within.json,
    };
    if let (false, Some(folder)) = (cli.no_cache, commands::data::cache::folder()) {
        nerve::data::cache::enable(folder, nerve::data::cache::LIMIT);
    }
    let code = match commands::run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(json),
    };
    if let Some(trouble) = nerve::data::cache::trouble() {
        output::complain(&trouble);
    }
    output::end_log();
    code
}

/// Help and version are results; everything else is a mistake in the usage. Neither minds that
/// nobody reads.
fn usage(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        _ => ExitCode::from(2),
    }
}
