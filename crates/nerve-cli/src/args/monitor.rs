//! The arguments of `nerve monitor`.

use super::Common;
use clap::Args;
use std::path::PathBuf;

/// `nerve monitor`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nerve monitor titanic march.csv                  the rows of March beside those that the run was trained on
  nerve monitor model.safetensors march.csv -o march.html    the same, with histograms for the browser
  nerve monitor february.csv march.csv             two files of data
  nerve monitor titanic march.csv --columns age,fare --test age=psi --threshold age=0.2
  nerve monitor titanic march.csv --share 0 --json     exit code 4 as soon as a single column has drifted

Each column is tested as its type and the number of rows ask for, as in Evidently: up to 1000 rows in the
reference Kolmogorov-Smirnov (numbers), chi-squared (names, few different numbers) or a test of proportions
(two values), with drift below p = 0.05; above that the Wasserstein distance in standard deviations (numbers) or the
Jensen-Shannon distance, with drift from 0.1 on. Of texts, lists, pictures and sounds a few numbers are
compared. A model is also asked what it says of the new rows. Exit code 4: the data have drifted.")]
pub struct Monitor {
    /// What the data should be like: a run (name or folder), a model file, or a file of data
    #[arg(value_name = "REF")]
    pub reference: PathBuf,
    /// The data as they are now
    #[arg(value_name = "CUR")]
    pub current: PathBuf,
    /// Compare these columns alone
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub columns: Vec<String>,
    /// Test a column by ks, chisquare, z, wasserstein, jensenshannon or psi; may be given several times
    #[arg(long, value_name = "COLUMN=TEST")]
    pub test: Vec<String>,
    /// From which score on there is drift, of all columns or of one: p-values below, distances from there
    #[arg(long, value_name = "[COLUMN=]X")]
    pub threshold: Vec<String>,
    /// From which share of drifted columns on the data have drifted
    #[arg(long, value_name = "SHARE", default_value_t = 0.5)]
    pub share: f64,
    /// Write a page with the histograms of both sides
    #[arg(long, short, value_name = "FILE.html")]
    pub output: Option<PathBuf>,
    /// The folder that holds the run folders
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs: PathBuf,
    #[command(flatten)]
    pub common: Common,
}
