//! `nerve lr-find`.

use super::Common;
use clap::Args;
use std::ffi::OsString;
use std::path::PathBuf;

/// `nerve lr-find`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nerve lr-find mnist
  nerve lr-find digits.toml --min 1e-5 --max 1 -o curve.svg
  nerve lr-find digits.toml --apply tuned.toml && nerve train tuned.toml

A training whose learning rate grows from step to step, until the loss rises (Smith, 2015). Three rates
are read off the curve, as fastai does it: `valley` in the middle of the longest way down, which is the
one to begin with; `steep` where the loss falls fastest; `minimum`, a tenth of where it is least. If the
loss does not fall anywhere there is no valley, and the command ends with exit code 4.")]
pub struct LrFind {
    /// A recipe file, or the name of a built-in recipe: mnist, boston, titanic, reviews, ...
    #[arg(value_name = "RECIPE")]
    pub recipe: OsString,
    /// Settings to change, for instance batch=256
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<OsString>,
    /// The first rate
    #[arg(long, value_name = "RATE", default_value_t = 1e-7, value_parser = rate)]
    pub min: f64,
    /// The last rate
    #[arg(long, value_name = "RATE", default_value_t = 10.0, value_parser = rate)]
    pub max: f64,
    /// How many steps there are, each with a rate of its own
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(20..=10_000))]
    pub steps: u32,
    /// Write the recipe with the suggested rate, every default filled, into this new file
    #[arg(long, value_name = "FILE")]
    pub apply: Option<PathBuf>,
    /// Draw the curve into this file, SVG
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub common: Common,
}

/// A learning rate.
fn rate(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|rate| (1e-30..=1e30).contains(rate));
    number.ok_or_else(|| "expected a number from 1e-30 to 1e30".to_string())
}
