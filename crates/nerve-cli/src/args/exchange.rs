//! The arguments of what looks at files of others and takes them over.

use super::Common;
use clap::{Args, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// `nerve inspect`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nerve inspect model.safetensors          tensors with type, shape and bytes, and the metadata
  nerve inspect runs/mnist/model.safetensors    a model of nerve: inputs, layers, scores
  nerve inspect weights.safetensors --values    range of each tensor, and what is not finite
  nerve inspect data.npz --json            arrays and their shapes, for programs
  nerve inspect digit.png train-images-idx3-ubyte.gz run/events.out.tfevents.1

What a file is follows from its content. Of tensors and arrays the headers alone are read, unless
--values or --require-finite asks for more.")]
pub struct Inspect {
    /// Files or folders: safetensors, npy, npz, idx, WAV, PNG, JPEG, ONNX, TensorBoard events, tables,
    /// run folders, checkpoints, model folders of Hugging Face
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Read the elements too: least, greatest and mean value of each tensor
    #[arg(long)]
    pub values: bool,
    /// Fail if an element is infinite or no number
    #[arg(long)]
    pub require_finite: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `nerve import`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nerve import weights.safetensors --recipe digits.toml
  nerve import resnet18.safetensors --recipe flowers.toml --partial --ignore fc
  nerve import checkpoint.safetensors --recipe my.toml --strip module. -o my.safetensors

The weights of a state dict of PyTorch go into the network of a recipe, under the same names; F16, BF16
and F64 become F32. Everything that is missing, left over or of another shape is told at once, with what
was perhaps meant. The data of the recipe say what the columns become, as in a training. The model goes to
runs/NAME, where `nerve predict`, `evaluate` and `serve` find it, or to the file given. To train
on from such weights, write init_from into [model].")]
pub struct Import {
    /// A safetensors file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// A recipe file, or the name of a built-in recipe
    #[arg(long, value_name = "RECIPE")]
    pub recipe: OsString,
    /// Settings of the recipe to change
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<OsString>,
    /// The model file [default: model.safetensors in a run folder]
    #[arg(long, short, value_name = "FILE", conflicts_with = "name")]
    pub output: Option<PathBuf>,
    /// Replace the model file if it exists
    #[arg(long, requires = "output")]
    pub force: bool,
    /// The name of the run folder [default: the name of the recipe]
    #[arg(long)]
    pub name: Option<String>,
    /// The folder that holds the run folders
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs: PathBuf,
    /// Take this away from the beginning of the names in the file
    #[arg(long, value_name = "PREFIX")]
    pub strip: Option<String>,
    /// What a name in the file is in the network, with a `*` for the same text in both:
    /// "bert.*=encoders.text.0.*"
    #[arg(long, value_name = "FROM=TO")]
    pub rename: Vec<String>,
    /// Leave out what this pattern matches in the file
    #[arg(long, value_name = "PATTERN")]
    pub ignore: Vec<String>,
    /// Parameters that the file lacks begin as in a training
    #[arg(long)]
    pub partial: bool,
    #[command(flatten)]
    pub common: Common,
}

/// `nerve embed`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nerve embed all-MiniLM-L6-v2 \"A man eats.\" \"Someone is eating.\"
  nerve embed all-MiniLM-L6-v2 < sentences.txt > rows.jsonl
  nerve embed all-MiniLM-L6-v2 --data sentences.txt -o rows.npy

The folder is one of Hugging Face with a BERT in it: config.json, model.safetensors, tokenizer.json, and the
files of sentence-transformers if it has them. A line of text gives a row of numbers: the mean of the
features of its tokens, of length 1, unless the folder says otherwise. Nothing is downloaded.")]
pub struct Embed {
    /// A model folder of Hugging Face
    #[arg(value_name = "FOLDER")]
    pub model: PathBuf,
    /// Texts [default: the lines of --data]
    #[arg(value_name = "TEXT", conflicts_with = "data")]
    pub texts: Vec<String>,
    /// A file of texts, one a line; `-` for standard input
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub data: PathBuf,
    /// Where the rows go: .npy, .npz or .jsonl, `-` for standard output (JSON lines)
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    pub output: PathBuf,
    #[command(flatten)]
    pub common: Common,
}

/// `nerve export`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nerve export mnist --format onnx --verify     mnist.onnx, run again and compared
  nerve export runs/titanic -o titanic.onnx     columns go in, the answer and its probability come out
  nerve export mnist --without-preprocessing    what the network itself takes and gives
  nerve export mnist --format safetensors       the weights with the names of PyTorch
  nerve export mnist --format npz               the same as arrays of NumPy

An ONNX file takes any number of examples. Numbers are filled in and scaled in it, names are looked up,
pictures are bytes [examples, height, width, channels]. What it cannot say is left out, with a note.
Exit code 4: with --verify, a value differs by more than 1e-4.")]
pub struct Export {
    /// A run: its name, its folder, or its model.safetensors
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// The format
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "onnx")]
    pub format: ExportFormat,
    /// The file [default: the run's name with the extension of the format]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Read the file again, run it, and compare
    #[arg(long)]
    pub verify: bool,
    /// The version of ONNX's operators
    #[arg(long, value_name = "N", default_value_t = 17, value_parser = clap::value_parser!(i64).range(17..=22))]
    pub opset: i64,
    /// A fixed number of examples instead of any
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub batch: Option<u32>,
    /// Write the network alone: prepared values go in, its own outputs come out
    #[arg(long)]
    pub without_preprocessing: bool,
    /// Also write examples with their answers, as the constants of a model, for tests with other programs
    #[arg(long, value_name = "FILE", hide = true)]
    pub examples: Option<PathBuf>,
    /// The folder that holds the run folders
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs: PathBuf,
    #[command(flatten)]
    pub common: Common,
}

/// What a model can be written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// Open Neural Network Exchange: for ONNX Runtime and many others
    Onnx,
    /// The weights, with the names of PyTorch
    Safetensors,
    /// The weights as arrays of NumPy, with the same names
    Npz,
}
