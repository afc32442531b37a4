//! The arguments of what looks at files of others and takes them over.

use clap::Args;
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
