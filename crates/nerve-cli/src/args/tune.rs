//! The flags of `nerve tune`.

use super::Common;
use clap::Args;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// `nerve tune`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nerve tune recipe.toml
  nerve tune recipe.toml -n 100 -j 4 --timeout 30m
  nerve tune recipe.toml --resume -n 200
  nerve train runs/recipe-tune/best.toml

The table [tune] of the recipe says what is searched:

  [tune]
  metric = \"val_accuracy\"
  space = { lr = { low = 1e-4, high = 1e-1, log = true }, \"model.layers.0.units\" = [32, 64, 128] }

The study goes to runs/NAME-tune: journal.jsonl with every trial, trials.csv, and best.toml, the recipe with
the best values. Ctrl-C gives up the running trials; --resume goes on, also after the process was killed.")]
pub struct Tune {
    /// A recipe file with a table [tune]
    #[arg(value_name = "RECIPE")]
    pub recipe: OsString,
    /// Settings to change, for instance trainer.epochs=3
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<OsString>,
    /// How many trials there are to be, those before --resume among them [default: as the recipe says]
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub trials: Option<u32>,
    /// How many trials run at the same time; they share the threads
    #[arg(short = 'j', long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub workers: u32,
    /// How trials are chosen [default: as the recipe says]
    #[arg(long, value_name = "HOW", value_parser = ["tpe", "random", "grid"])]
    pub sampler: Option<String>,
    /// Go on with the last study of this name
    #[arg(long)]
    pub resume: bool,
    /// How long it may take: 90s, 30m, 2h [default: as the recipe says]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub timeout: Option<Duration>,
    /// Keep a run folder of every trial, in trials/
    #[arg(long)]
    pub keep: bool,
    /// The name of the study; `-tune` is added [default: the name of the recipe]
    #[arg(long)]
    pub name: Option<String>,
    /// The folder that holds the run folders
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs: PathBuf,
    /// Say nothing on standard error while it searches
    #[arg(long, short)]
    pub quiet: bool,
    #[command(flatten)]
    pub common: Common,
}

/// `90s`, `1.5h`.
fn duration(text: &str) -> Result<Duration, String> {
    let units = [("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86400.0)];
    let found = units.iter().find_map(|(unit, seconds)| {
        let number: f64 = text.strip_suffix(unit)?.parse().ok()?;
        Duration::try_from_secs_f64(number * seconds).ok()
    });
    found.ok_or_else(|| "expected a time such as 90s, 30m or 2h".to_string())
}
