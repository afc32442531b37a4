//! The check of an export: the file is read again, and what it computes compared with the network.

use super::{ExportError, Input, Network, Options, export};
use crate::import::{self, ImportError, Value};
use nerve_core::{DType, Tensor, compile};
use nerve_formats::FormatError;
use nerve_formats::onnx::Model;

/// How far the file is from the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The output.
    pub output: String,
    /// The largest difference of two values; infinite where shapes differ or one alone is no number.
    pub absolute: f64,
    /// The largest difference by 1 + the magnitude of the network's value: what must be small.
    pub relative: f64,
    /// How many values were compared.
    pub values: usize,
}

/// Why an export cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The network cannot be written.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// What was written is no ONNX file.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// What was written cannot be read here.
    #[error("the file cannot be run here: {0}")]
    Import(#[from] ImportError),
}

/// Writes the network, reads the bytes again, and compares what both give for the examples in `samples`,
/// one tensor for each input.
///
/// Texts are not computed with here: the numbers behind them are compared.
///
/// # Errors
/// It cannot be written, or not be read.
pub fn verify(
    inputs: &[Input],
    network: &Network,
    options: &Options,
    samples: &[Tensor],
) -> Result<Vec<Difference>, VerifyError> {
    let numbers: Vec<Input> =
        inputs.iter().map(|input| Input { words: None, ..input.clone() }).collect();
    let plain = |x: &[Tensor]| {
        let mut outputs = network(x);
        outputs.iter_mut().for_each(|output| output.words = None);
        outputs
    };
    let exported = export(&numbers, &plain, options)?;
    let model = Model::decode("the exported model", &exported.model.encode())?;
    let names: Vec<String> = model.graph.outputs.iter().map(|output| output.name.clone()).collect();
    let again = import::Network::new("the exported model", model, import::Options::default())?;
    let one = |tensor: &Tensor| match exported.fixed {
        Some(_) => tensor.slice(0, 0, 1).evaluated(),
        None => tensor.clone(),
    };
    let samples: Vec<Tensor> = samples.iter().map(one).collect();
    let values: Vec<Value> = samples.iter().map(|tensor| tensor.clone().into()).collect();
    let found = again.run(&values)?;
    let run = compile(|x: &[Tensor]| plain(x).into_iter().map(|output| output.value).collect());
    let expected = run.call(&samples.iter().collect::<Vec<_>>());
    let pairs = names.into_iter().zip(found.iter().zip(&expected));
    Ok(pairs.map(|(name, (found, expected))| difference(name, found.tensor(), expected)).collect())
}

fn difference(output: String, found: Option<&Tensor>, expected: &Tensor) -> Difference {
    let values = expected.numel();
    let found = found.filter(|t| t.shape() == expected.shape() && t.dtype() == expected.dtype());
    let Some(found) = found else {
        return Difference { output, absolute: f64::INFINITY, relative: f64::INFINITY, values };
    };
    let [found, expected] =
        [found, expected].map(|t| t.evaluated().to_dtype(DType::F64).to_vec::<f64>());
    let (mut absolute, mut relative) = (0f64, 0f64);
    for (a, b) in found.into_iter().zip(expected) {
        let apart = match a == b || (a.is_nan() && b.is_nan()) {
            true => 0.0,
            false if a.is_nan() || b.is_nan() => f64::INFINITY,
            false => (a - b).abs(),
        };
        absolute = absolute.max(apart);
        relative = relative.max(apart / (1.0 + b.abs()));
    }
    Difference { output, absolute, relative, values }
}
