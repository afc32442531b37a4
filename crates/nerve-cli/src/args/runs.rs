//! `nerve runs`, `nerve compare`, `nerve plot`.

use super::{Common, Within};
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// `nerve runs`.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  nerve runs                               all runs, the newest last
  nerve runs show mnist-2                  one run: its epochs, its files
  nerve runs tag mnist-2 baseline          give it a tag
  nerve runs rm mnist mnist-3              remove two runs
  nerve runs export mnist --to tensorboard

The state is what the run's process last said; `lost` where it has said nothing for seconds."
)]
pub struct Runs {
    /// What to do [default: list]
    #[command(subcommand)]
    pub command: Option<RunsCommand>,
    #[command(flatten)]
    pub list: RunsList,
}

/// What to do with runs.
#[derive(Debug, Subcommand)]
pub enum RunsCommand {
    /// List the runs, the newest last
    List(RunsList),
    /// Show one run: how it stands, its epochs, its files
    Show(RunsShow),
    /// Remove runs and all that is in their folders
    Rm(RunsRm),
    /// Give a run tags, or take them away
    Tag(RunsTag),
    /// Write a run for other programs: TensorBoard, MLflow, CSV
    Export(RunsExport),
}

impl Runs {
    /// Whether results and errors are wanted as JSON.
    pub fn json(&self) -> bool {
        match &self.command {
            None => self.list.within.json,
            Some(RunsCommand::List(args)) => args.within.json,
            Some(RunsCommand::Show(args)) => args.within.json,
            Some(RunsCommand::Rm(args)) => args.within.json,
            Some(RunsCommand::Tag(args)) => args.within.json,
            Some(RunsCommand::Export(args)) => args.within.json,
        }
    }
}

/// `nerve runs list`.
#[derive(Debug, Args)]
pub struct RunsList {
    /// Only those with this tag
    #[arg(long, value_name = "TAG")]
    pub tag: Option<String>,
    #[command(flatten)]
    pub within: Within,
}

/// `nerve runs show`.
#[derive(Debug, Args)]
pub struct RunsShow {
    /// A run: its name or its folder
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    #[command(flatten)]
    pub within: Within,
}

/// `nerve runs rm`.
#[derive(Debug, Args)]
pub struct RunsRm {
    /// Runs: their names or folders
    #[arg(value_name = "RUN", required = true)]
    pub names: Vec<PathBuf>,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    #[command(flatten)]
    pub within: Within,
}

/// `nerve runs tag`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nerve runs tag mnist-2 baseline \"no dropout\"
  nerve runs tag mnist-2 --remove baseline
  nerve runs tag mnist-2                   the tags that it has")]
pub struct RunsTag {
    /// A run: its name or its folder
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// Tags that it gets
    #[arg(value_name = "TAG")]
    pub tags: Vec<String>,
    /// Tags that it has no more
    #[arg(long, value_name = "TAG")]
    pub remove: Vec<String>,
    #[command(flatten)]
    pub within: Within,
}

/// `nerve runs export`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nerve runs export mnist --to tensorboard           into runs/mnist/tb
  nerve runs export mnist --to tensorboard --follow  as long as it trains
  nerve runs export mnist --to csv -o curves.csv     every point of every curve
  nerve runs export mnist --to mlflow --address http://127.0.0.1:5000 --follow

The training knows nothing of it: what is exported is read from the events in the run folder. An
export that was stopped goes on where it was; nothing is written twice. MLflow is spoken to over http, as
MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD or MLFLOW_TRACKING_TOKEN say.")]
pub struct RunsExport {
    /// A run: its name or its folder
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// For which program
    #[arg(long, value_name = "WHAT", value_enum)]
    pub to: ExportTo,
    /// Where to: a folder for TensorBoard [default: tb in the run folder], a file for CSV [default: standard
    /// output]
    #[arg(long, short, value_name = "PATH")]
    pub output: Option<PathBuf>,
    /// Where MLflow is
    #[arg(long, value_name = "URL", required_if_eq("to", "mlflow"))]
    pub address: Option<String>,
    /// The experiment of MLflow that the run belongs to
    #[arg(long, value_name = "NAME", default_value = "nerve")]
    pub experiment: String,
    /// Send MLflow recipe, history and model too, once the run has ended
    #[arg(long)]
    pub files: bool,
    /// How long to wait for MLflow to answer, in seconds; with --follow as long as it takes
    #[arg(long, value_name = "S", default_value_t = 60)]
    pub patience: u64,
    /// Go on while the run trains, until it ends
    #[arg(long)]
    pub follow: bool,
    #[command(flatten)]
    pub within: Within,
}

/// What a run is exported to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportTo {
    /// Event files of TensorBoard
    Tensorboard,
    /// A server of MLflow, over its REST interface
    Mlflow,
    /// One line a point: tag, step, epoch, time, value
    Csv,
}

/// `nerve compare`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nerve compare mnist mnist-2
  nerve compare mnist mnist-2 mnist-3 --data new.csv
  nerve compare mnist mnist-2 --quick --json

Every run is set beside the first: the settings that differ, the scores of the last and the best epoch,
the scores on the same rows (those of --data, else the test part of the first run's recipe), and the
machine. A difference of scores has an interval from paired bootstrap resamples: `better` and `worse`
stand where it leaves out zero.")]
pub struct Compare {
    /// The run that the others are set beside, and the others: names or folders
    #[arg(value_name = "RUN", required = true, num_args = 2..)]
    pub names: Vec<PathBuf>,
    /// A file with the rows to judge on [default: the test data of the first run's recipe]
    #[arg(long, value_name = "FILE", conflicts_with = "quick")]
    pub data: Option<PathBuf>,
    /// Judge nothing: settings, epochs and machine alone
    #[arg(long)]
    pub quick: bool,
    /// Draw whole groups of this column for the intervals, where its rows are not independent
    #[arg(long, value_name = "COLUMN")]
    pub group: Option<String>,
    /// How many bootstrap resamples the intervals are from; 0 for none
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub resamples: u32,
    /// The folder that holds the run folders
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs: PathBuf,
    #[command(flatten)]
    pub common: Common,
}

/// `nerve plot`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nerve plot mnist                              the loss, in the terminal
  nerve plot mnist mnist-2 --tag accuracy/val
  nerve plot mnist --smooth 0.6 --log -o loss.svg
  nerve plot mnist --tag lr -o lr.png

A tag is the name of a curve (loss/train), or what stands before its slash: loss is loss/train and loss/val.")]
pub struct Plot {
    /// Runs: their names or folders
    #[arg(value_name = "RUN", required = true)]
    pub names: Vec<PathBuf>,
    /// Which curves
    #[arg(long, value_name = "TAG", default_value = "loss")]
    pub tag: Vec<String>,
    /// The picture: .svg or .png [default: characters on the terminal]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Smooth, from 0 (not at all) to below 1; the raw line stays behind
    #[arg(long, value_name = "WEIGHT", default_value_t = 0.0, value_parser = weight)]
    pub smooth: f64,
    /// Equal ratios equally far apart
    #[arg(long)]
    pub log: bool,
    /// What stands below: steps, epochs or time since the run began
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = Across::Step)]
    pub x: Across,
    /// Width and height in pixels, or in characters on the terminal [default: 840x420; the terminal's width]
    #[arg(long, value_name = "WxH", value_parser = size)]
    pub size: Option<(u32, u32)>,
    #[command(flatten)]
    pub within: Within,
}

/// The horizontal axis of curves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Across {
    /// Steps
    Step,
    /// Epochs
    Epoch,
    /// Seconds since the run began
    Time,
}

fn weight(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|weight| (0.0..1.0).contains(weight));
    number.ok_or_else(|| "expected a number from 0 to below 1".to_string())
}

fn size(text: &str) -> Result<(u32, u32), String> {
    let pair = text.split_once('x').and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    let fits = |(w, h): &(u32, u32)| (10..=8000).contains(w) && (5..=8000).contains(h);
    pair.filter(fits).ok_or_else(|| "expected WIDTHxHEIGHT, up to 8000x8000".to_string())
}
