//! The flags of `nerve bench`.

use super::Common;
use clap::{Args, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// `nerve bench`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nerve bench mnist                        every instruction of a training step, in their order
  nerve bench mnist --top 10 --sort time   the ten that take longest
  nerve bench mnist --infer --batch 1      the network in use, one example at a time
  nerve bench digits.toml --svg roofs.svg  a picture of the instructions under their roofs

The roof of an instruction is what binds it: its operations at the peak of the processor, or its
operands at the speed of the memory that they fit into, both measured beforehand. `reached` is the
time at that roof as a share of the time taken. Small instructions stay below: starting them counts.
Convolutions by Winograd's algorithm pass it: they need fewer operations than are counted.")]
pub struct Bench {
    /// A recipe file, or the name of a built-in recipe: mnist, boston, titanic, reviews, ...
    #[arg(value_name = "RECIPE")]
    pub recipe: OsString,
    /// Settings to change, for instance trainer.optimizer=sgd
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<OsString>,
    /// Time the network in use instead of its training
    #[arg(long)]
    pub infer: bool,
    /// How many examples in a step [default: those of the recipe]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: Option<u32>,
    /// The order of the instructions
    #[arg(long, value_name = "BY", value_enum, default_value_t = Order::Program)]
    pub sort: Order,
    /// Show only the N instructions that take longest
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub top: Option<u32>,
    /// How long to measure, in seconds
    #[arg(long, value_name = "S", default_value_t = 3.0, value_parser = seconds)]
    pub seconds: f64,
    /// Draw the instructions under their roofs into this file
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    #[command(flatten)]
    pub common: Common,
}

/// The order of the instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// As they run
    Program,
    /// The longest first
    Time,
}

/// A time that can be waited for.
fn seconds(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|seconds| (0.0..=3600.0).contains(seconds));
    number.ok_or_else(|| "expected a number from 0 to 3600".to_string())
}
