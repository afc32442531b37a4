//! What can be typed: commands, flags and their help.

mod bench;
mod data;
mod exchange;
mod generate;
mod lr_find;
mod monitor;
mod runs;
mod serve;
mod tune;

pub use bench::{Bench, Order};
pub use data::{
    Cache, Data, DataCache, DataCheck, DataGet, DataList, DataPreview, DataSplit, DataStats,
    FetchFrom,
};
pub use exchange::{Embed, Export, ExportFormat, Import, Inspect};
pub use generate::Generate;
pub use lr_find::LrFind;
pub use monitor::Monitor;
pub use runs::{
    Across, Compare, ExportTo, Plot, Runs, RunsCommand, RunsExport, RunsList, RunsRm, RunsShow,
    RunsTag,
};
pub use serve::Serve;
pub use tune::Tune;

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// Trains, judges and uses neural networks.
#[derive(Debug, Parser)]
#[command(
    name = "nerve",
    version,
    about = "Trains, judges and uses neural networks.",
    arg_required_else_help = true,
    subcommand_required = true,
    args_override_self = false,
    after_help = "\
Examples:
  nerve train mnist                        train on handwritten digits, into runs/mnist
  nerve train mnist epochs=1 lr=3e-4       the same with two settings changed
  nerve evaluate mnist                     judge the run on its test data
  nerve predict mnist digit.png            what is on a picture
  nerve check recipe.toml                  layers, parameters, memory and time, without training
  nerve bench mnist --top 10               where the time of a training step goes
  nerve list layers                        every layer, beside its names in PyTorch and Keras
  nerve ui                                 the runs in the browser, while they train
  nerve serve mnist                        answer requests over HTTP
  nerve monitor titanic new.csv            whether new rows are like those of the training

Results go to standard output, progress and errors to standard error.
Exit codes: 0 done, 1 failure, 2 wrong usage or recipe, 3 wrong data, 4 a gate failed,
5 training diverged, 6 address in use, 130 and 143 stopped by a signal after saving."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Decode every picture anew, and keep none of them for the next time
    #[arg(long, global = true)]
    pub no_cache: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train a network from a recipe
    Train(Train),
    /// Go on with a training that was stopped or killed, to the same bits
    Resume(Resume),
    /// Judge a trained network on its test data
    Evaluate(Evaluate),
    /// Say what is on pictures
    Predict(Predict),
    /// Continue a text with a network that was trained on texts
    Generate(Generate),
    /// Check a recipe and show layers, memory and time, without training
    Check(Check),
    /// Turn texts into rows of numbers with a BERT
    Embed(Embed),
    /// Make a model of weights that were trained elsewhere
    Import(Import),
    /// Say what is in a file: tensors, models, arrays, events, tables
    Inspect(Inspect),
    /// Write a trained network for other programs: ONNX, safetensors
    Export(Export),
    /// Find the learning rate to begin with
    LrFind(LrFind),
    /// Time each instruction of a step, beside what the machine can do
    Bench(Bench),
    /// Say what a recipe may name: layers, losses, optimizers, ...
    List(List),
    /// Print the grammar of recipes as a JSON Schema, for editors
    Schema(Schema),
    /// Fetch and examine data
    #[command(subcommand)]
    Data(Data),
    /// Search for the best settings of a recipe
    Tune(Tune),
    /// List the runs, show, tag, remove or export them
    Runs(Runs),
    /// Say how runs differ: recipe, epochs, scores, machine
    Compare(Compare),
    /// Draw the curves of runs
    Plot(Plot),
    /// Write a recipe from the columns of a file
    Init(Init),
    /// Write a ready recipe to begin with
    New(New),
    /// Answer requests over HTTP with trained networks
    Serve(Serve),
    /// Say whether data are still like those that a model was trained on
    Monitor(Monitor),
    /// Watch and compare runs in the browser
    Ui(Ui),
    /// Write all about a run into one HTML file
    Report(Report),
    /// Say what a model is, what it learned from and how well it works, as Markdown
    Card(Card),
}

/// `nerve ui`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nerve ui                                 the runs in runs/, at http://127.0.0.1:6006
  nerve ui results --port 0 --no-open      those of another folder, at any free port

The page shows curves while they grow, confusion matrices with their examples, the health of the
layers, and runs side by side. It is in the binary: no request leaves this machine, and none from
outside is answered. The trainings do not notice whether anybody watches. Ctrl-C ends it.")]
pub struct Ui {
    /// The folder that holds the run folders, or one run folder
    #[arg(value_name = "RUNS", default_value = "runs")]
    pub runs: PathBuf,
    /// The port; 0 takes any that is free
    #[arg(long, value_name = "PORT", default_value_t = crate::commands::ui::PORT)]
    pub port: u16,
    /// Do not open the browser
    #[arg(long)]
    pub no_open: bool,
    /// Print the address as JSON
    #[arg(long)]
    pub json: bool,
}

/// `nerve report`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nerve report mnist -o report.html

The file is the page of `nerve ui` with the data of the run in it: it needs no server and no network.")]
pub struct Report {
    /// A run: its name or its folder
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// The file [default: report.html in the run folder]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub within: Within,
}

/// `nerve card`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nerve card mnist                 on the terminal
  nerve card latest -o CARD.md

A training leaves one as MODEL_CARD.md in its folder. Write into it what nobody but you can say: for what the model is meant, and
whose the data are. After `nerve evaluate RUN --data new.csv` the card made anew tells of those rows.")]
pub struct Card {
    /// A run: its name or its folder
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// The file [default: the standard output]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub within: Within,
}

/// `nerve schema`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nerve schema > nerve.schema.json

With the line `#:schema nerve.schema.json` at its top, editors with a TOML language server complete
and check a recipe while it is written.")]
pub struct Schema {
    /// Print the result as JSON, as in any case
    #[arg(long)]
    pub json: bool,
}

/// `nerve train`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nerve train mnist
  nerve train digits.toml trainer.epochs=3 trainer.optimizer.lr=3e-4
  nerve train mnist epochs=1 --name quick --json
  nerve train boston --folds 5
  nerve train mnist --fast-dev-run && nerve train mnist --overfit 32
  nerve train mnist --resume

KEY=VALUE sets a place of the recipe; the value is read as TOML. Short names: epochs, batch, lr,
optimizer, seed, name. The run goes to runs/NAME, or NAME-2, NAME-3, ...; nothing is overwritten.
Ctrl-C saves what has been learned and stops, and so does SIGTERM; a second one stops at once. What was
stopped or killed goes on with `nerve resume RUN`.")]
pub struct Train {
    /// A recipe file, or the name of a built-in recipe: mnist, boston, titanic, reviews, ...
    #[arg(value_name = "RECIPE")]
    pub recipe: OsString,
    /// Settings to change, for instance trainer.epochs=3
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<OsString>,
    /// The name of the run folder [default: the name of the recipe]
    #[arg(long)]
    pub name: Option<String>,
    /// The folder that holds the run folders
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs: PathBuf,
    /// Go on with a run of this recipe that was stopped: with RUN, or with the newest of its name
    #[arg(long, value_name = "RUN", num_args = 0..=1, require_equals = true)]
    pub resume: Option<Option<PathBuf>>,
    /// Train K times, each time judged by another part of the data, and report mean and deviation
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(2..=1000))]
    pub folds: Option<u32>,
    /// How long it may take: 90s, 30m, 2h
    #[arg(long, value_name = "TIME", value_parser = minutes)]
    pub time: Option<f64>,
    /// Try everything with three batches of each part, and keep nothing
    #[arg(long, conflicts_with_all = ["resume", "folds", "overfit"])]
    pub fast_dev_run: bool,
    /// Watch it in the browser while it trains, as `nerve ui` shows it
    #[arg(long, conflicts_with_all = ["folds", "fast_dev_run"])]
    pub ui: bool,
    /// Train on N examples alone, and say whether the network learns them by heart
    #[arg(long, value_name = "N", conflicts_with_all = ["resume", "folds"],
        value_parser = clap::value_parser!(u32).range(1..))]
    pub overfit: Option<u32>,
    /// How progress is shown
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Progress::Auto)]
    pub progress: Progress,
    #[command(flatten)]
    pub common: Common,
}

/// A time in minutes: `90s`, `30m`, `2h`.
fn minutes(text: &str) -> Result<f64, String> {
    let (number, unit) = text.split_at(text.len() - usize::from(text.ends_with(['s', 'm', 'h'])));
    let factor = match unit {
        "s" => 1.0 / 60.0,
        "m" => 1.0,
        "h" => 60.0,
        _ => return Err("expected a time with its unit: 90s, 30m or 2h".to_string()),
    };
    let minutes = number.parse::<f64>().map(|n| n * factor).ok();
    let fits = minutes.filter(|minutes| *minutes > 0.0 && *minutes <= 1e6);
    fits.ok_or_else(|| "expected a time above 0: 90s, 30m or 2h".to_string())
}

/// `nerve resume`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nerve resume mnist
  nerve resume runs/mnist-2 epochs=40
  nerve resume mnist trainer.max_minutes=30

The training goes on from the last checkpoint that is whole, and ends with the same bytes as one that
was never stopped, also on another number of threads. What may be changed: epochs, max_minutes, the
patience of early_stop, [log] and [eval].")]
pub struct Resume {
    /// A run: its name, or its folder
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// Settings to change, for instance epochs=40
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<OsString>,
    /// The folder that holds the run folders
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs: PathBuf,
    /// How progress is shown
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Progress::Auto)]
    pub progress: Progress,
    #[command(flatten)]
    pub common: Common,
}

/// `nerve evaluate`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nerve evaluate mnist
  nerve evaluate runs/titanic --slice Sex,Pclass --html report.html
  nerve evaluate runs/titanic --data new.csv --gate \"accuracy >= 0.8\" --gate \"roc_auc.low > 0.8\"
  nerve evaluate runs/titanic --threshold \"cost(1, 5)\" --json

Every score that suits the output stands beside baselines that know the training data alone, with an
interval from bootstrap resamples. The run folder gets eval/: PART.json, confusion.csv,
predictions.csv, worst.jsonl, calibration.csv. A gate that is missed ends with exit code 4.")]
pub struct Evaluate {
    /// A run: its name, its folder, or its model.safetensors
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// A file with the rows to judge on [default: the test data of the recipe]
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
    /// Judge the rows apart by the values of these columns
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    pub slice: Vec<String>,
    /// Draw whole groups of this column for the intervals, where its rows are not independent
    #[arg(long, value_name = "COLUMN")]
    pub group: Option<String>,
    /// How many of the worst rows are shown [default: 25]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub worst: Option<u32>,
    /// How many bootstrap resamples the intervals are from; 0 for none [default: 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub resamples: Option<u32>,
    /// Where yes begins: max_f1, youden, cost(FALSE_YES, FALSE_NO), chosen on the validation data, or a
    /// probability [default: that of the model]
    #[arg(long, value_name = "RULE")]
    pub threshold: Option<String>,
    /// What must be reached: "accuracy >= 0.97", "price.mae < 20", "roc_auc.low > 0.8"
    #[arg(long, value_name = "GATE")]
    pub gate: Vec<String>,
    /// Write one HTML page with pictures into this file
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// The folder that holds the run folders
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs: PathBuf,
    #[command(flatten)]
    pub common: Common,
}

/// `nerve predict`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nerve predict mnist digit.png
  nerve predict runs/mnist-2 *.png --json
  nerve predict titanic --data new.csv -o answers.csv
  nerve predict titanic --data new.csv --keep -o answers.jsonl
  cat new.csv | nerve predict titanic --data - > answers.csv
  nerve predict model.onnx --data inputs.npz -o outputs.npz

A picture of another size is resized to that of the training data. With --data there is a line for
each row: where it stands, the answer, the probability of each class. An ONNX model takes arrays of
NumPy by the names of its inputs (`nerve inspect` lists them) and gives arrays.")]
pub struct Predict {
    /// A run: its name, its folder, or its model.safetensors; or an ONNX model
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// Pictures, PNG or JPEG
    #[arg(value_name = "IMAGE", required_unless_present = "data", conflicts_with = "data")]
    pub images: Vec<PathBuf>,
    /// A file of rows, `-` for standard input; .npz or .npy for an ONNX model
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
    /// Where the answers go: .csv, .tsv, .jsonl, .npz, .npy, .parquet or .arrow (the last two in a build with the feature `parquet`), `-` for standard output (CSV; JSON lines with --json)
    #[arg(long, short, value_name = "FILE", default_value = "-", requires = "data")]
    pub output: PathBuf,
    /// Read the weights of an ONNX model from the files beside it that it names
    #[arg(long, requires = "data")]
    pub external_data: bool,
    /// Repeat the columns of the data before the answers
    #[arg(long, requires = "data")]
    pub keep: bool,
    /// Pass over rows that cannot be read, and count them
    #[arg(long, requires = "data")]
    pub skip_bad: bool,
    /// Exchange light and dark, for dark writing on white paper
    #[arg(long)]
    pub invert: bool,
    /// How many of the most likely classes are shown
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub top: u32,
    /// The folder that holds the run folders
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs: PathBuf,
    #[command(flatten)]
    pub common: Common,
}

/// `nerve check`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nerve check mnist
  nerve check digits.toml batch=256
  nerve check mnist --resolved > digits.toml")]
pub struct Check {
    /// A recipe file, or the name of a built-in recipe: mnist, boston, titanic, reviews, ...
    #[arg(value_name = "RECIPE")]
    pub recipe: OsString,
    /// Settings to change, for instance trainer.epochs=3
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<OsString>,
    /// Print the recipe with every default filled, and nothing else
    #[arg(long, conflicts_with = "json")]
    pub resolved: bool,
    #[command(flatten)]
    pub common: Common,
}

/// `nerve list`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nerve list                       the kinds of words, and how many there are
  nerve list optimizers            all of a kind, beside their names in PyTorch and Keras
  nerve list Conv2D                one word: its keys, their values and defaults, examples
  nerve list losses --json         for programs
  nerve list --markdown            the whole catalogue, as in docs/catalogue.md")]
pub struct List {
    /// A kind (layers, models, activations, initializers, losses, optimizers, schedules, metrics,
    /// augmentations), or a word of any kind
    #[arg(value_name = "WHAT")]
    pub what: Option<String>,
    /// Print the whole catalogue as a Markdown page
    #[arg(long, conflicts_with_all = ["json", "what"])]
    pub markdown: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `nerve init`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nerve init titanic.csv --target Survived               writes titanic.toml
  nerve init titanic.csv --target Survived --out -       prints the recipe

The type of each column is guessed from all of its rows; beside each guess stands its reason.")]
pub struct Init {
    /// A file of data
    #[arg(value_name = "FILE")]
    pub data: PathBuf,
    /// The column that should be told
    #[arg(long, value_name = "COLUMN")]
    pub target: String,
    /// The file of the recipe, - for standard output [default: the name of the data, .toml]
    #[arg(long, short, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(long)]
    pub force: bool,
    /// Print the name of the recipe as JSON
    #[arg(long)]
    pub json: bool,
}

/// `nerve new`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nerve new flowers --template images      writes flowers.toml

Templates: mnist-cnn, tabular, text, images, audio.")]
pub struct New {
    /// The name of the recipe: NAME.toml
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Which recipe to begin with
    #[arg(long, value_name = "TEMPLATE")]
    pub template: String,
    /// Replace the file if it exists
    #[arg(long)]
    pub force: bool,
    /// Print the name of the recipe as JSON
    #[arg(long)]
    pub json: bool,
}

/// Flags of commands that look at runs and compute nothing.
#[derive(Debug, Args)]
pub struct Within {
    /// The folder that holds the run folders
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// Flags of every command.
#[derive(Debug, Args)]
pub struct Common {
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// How many threads compute [default: one a core]; the result is the same for any number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Progress {
    /// A bar on a terminal, plain lines elsewhere
    Auto,
    /// A bar
    Bar,
    /// One line an epoch
    Plain,
    /// Nothing
    Off,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
