//! `nerve generate`.

use super::Common;
use clap::Args;
use std::path::PathBuf;

/// `nerve generate`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nerve generate shakespeare --prompt 'ROMEO\\n' --max 400
  nerve generate shakespeare --temperature 0.7 --seed 3
  nerve generate shakespeare --temperature 0 > likeliest.txt

The text is written as it comes. How tokens are chosen stands in the model, from `generate` of its
recipe; flags change it. The same seed writes the same text. A model that translates takes rows:
nerve predict RUN --data FILE.")]
pub struct Generate {
    /// A run: its name, its folder, or its model.safetensors
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// The beginning of the text; \n is the end of a line
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub prompt: String,
    /// The most tokens to write: characters, words or pieces of words, as the model has them
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max: u32,
    /// Chance: below 1 the likely becomes likelier, 0 takes the likeliest each time
    #[arg(long, value_name = "T")]
    pub temperature: Option<f64>,
    /// Draw among the K likeliest tokens only
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    pub top_k: Option<u32>,
    /// Draw among the likeliest tokens that have this share together
    #[arg(long, value_name = "P")]
    pub top_p: Option<f64>,
    /// The start of the random numbers
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// The folder that holds the run folders
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs: PathBuf,
    #[command(flatten)]
    pub common: Common,
}
