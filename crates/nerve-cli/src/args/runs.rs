//! `nerve runs`.

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
            None => self.list.json,
            Some(RunsCommand::List(args)) => args.json,
            Some(RunsCommand::Show(args)) => args.json,
            Some(RunsCommand::Rm(args)) => args.json,
            Some(RunsCommand::Tag(args)) => args.json,
            Some(RunsCommand::Export(args)) => args.json,
        }
    }
}

/// `nerve runs list`.
#[derive(Debug, Args)]
pub struct RunsList {
    /// Only those with this tag
    #[arg(long, value_name = "TAG")]
    pub tag: Option<String>,
    /// The folder that holds the run folders
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `nerve runs show`.
#[derive(Debug, Args)]
pub struct RunsShow {
    /// A run: its name or its folder
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// The folder that holds the run folders
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
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
    /// The folder that holds the run folders
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
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
    /// The folder that holds the run folders
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `nerve runs export`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nerve runs export mnist --to tensorboard           into runs/mnist/tb
  nerve runs export mnist --to tensorboard --follow  as long as it trains
  nerve runs export mnist --to csv -o curves.csv     every point of every curve

The training knows nothing of it: what is exported is read from the events in the run folder. An
export that was stopped goes on where it was; nothing is written twice.")]
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
    /// Go on while the run trains, until it ends
    #[arg(long)]
    pub follow: bool,
    /// The folder that holds the run folders
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// What a run is exported to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportTo {
    /// Event files of TensorBoard
    Tensorboard,
    /// One line a point: tag, step, epoch, time, value
    Csv,
}
