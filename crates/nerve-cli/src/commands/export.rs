//! `nerve export`: a trained network for other programs.

use crate::args::{Export, ExportFormat};
use crate::commands::{open, set_threads};
use crate::failure::Failure;
use crate::output::{self, complain};
use nerve::core::Var;
use nerve::formats::{FormatError, Npy, write_atomic, write_npz};
use nerve::onnx::import::Value as Array;
use nerve_recipe::Predictor;
use nerve_recipe::onnx::{Difference, Options, Wanted};
use nerve_recipe::source::escape;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What two ways of computing the same may differ by, as a share of 1 + the value.
const TOLERANCE: f64 = 1e-4;
/// Examples that a file is checked with.
const EXAMPLES: usize = 8;

pub fn run(args: &Export) -> Result<(), Failure> {
    set_threads(&args.common)?;
    let (folder, predictor) = open(&args.runs, &args.run)?;
    let extension = match args.format {
        ExportFormat::Onnx => "onnx",
        ExportFormat::Safetensors => "safetensors",
        ExportFormat::Npz => "npz",
    };
    let stem = args.run.file_stem().filter(|_| args.run.extension().is_none());
    let stem = stem.map_or_else(|| "model".into(), |stem| stem.to_string_lossy());
    let path = args.output.clone().unwrap_or_else(|| PathBuf::from(format!("{stem}.{extension}")));
    match args.format {
        ExportFormat::Onnx => onnx(args, &predictor, &path),
        _ if args.verify || args.examples.is_some() => {
            Err(Failure::Usage("--verify is for ONNX: weights are copied bit for bit".into()))
        }
        ExportFormat::Safetensors => {
            let bytes = std::fs::read(folder.model())
                .map_err(|error| Failure::Runtime(format!("{}: {error}", args.run.display())))?;
            write(&path, &bytes)?;
            report(args, &path, bytes.len(), &[], &[])
        }
        ExportFormat::Npz => npz(args, &predictor, &path),
    }
}

/// The variables as arrays of NumPy, under their names.
fn npz(args: &Export, predictor: &Predictor, path: &Path) -> Result<(), Failure> {
    let vars = predictor.network.params.vars();
    let array =
        |var: &Var| Array::Tensor(var.get()).to_npy().map(|array| (var.name().to_string(), array));
    let arrays: Vec<(String, Npy)> = vars.iter().filter_map(array).collect();
    let named: Vec<(&str, Npy)> = arrays.iter().map(|(n, a)| (n.as_str(), a.clone())).collect();
    let failed = |error: FormatError| Failure::Runtime(error.to_string());
    write_npz(path, &named).map_err(failed)?;
    let bytes = std::fs::metadata(path).map_or(0, |meta| meta.len() as usize);
    report(args, path, bytes, &[], &[])
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    write_atomic(path, |writer| writer.write_all(bytes))
        .map_err(|error| Failure::Runtime(error.to_string()))
}

fn onnx(args: &Export, predictor: &Predictor, path: &Path) -> Result<(), Failure> {
    let batch = args.batch.map(|batch| batch as usize);
    let wanted = Wanted {
        options: Options { opset: args.opset, batch },
        preprocessing: !args.without_preprocessing,
    };
    let refuse = |error: &dyn std::fmt::Display| {
        Failure::Data(format!("{}: {error}", escape(&args.run.to_string_lossy())))
    };
    let exported = predictor.to_onnx(&wanted).map_err(|error| refuse(&error))?;
    let bytes = exported.model.encode();
    write(path, &bytes)?;
    if let Some(path) = &args.examples {
        let examples = predictor.onnx_examples(&exported, &wanted, batch.unwrap_or(EXAMPLES));
        write(path, &examples.encode())?;
    }
    let differences = match args.verify {
        true => predictor.verify_onnx(&wanted, EXAMPLES).map_err(|error| refuse(&error))?,
        false => Vec::new(),
    };
    report(args, path, bytes.len(), &exported.notes, &differences)?;
    match differences.iter().find(|it| it.relative > TOLERANCE) {
        Some(it) => Err(Failure::Gate(format!(
            "output `{}` of the file differs from the network by {:.1e}, more than {TOLERANCE:e}",
            escape(&it.output),
            it.absolute
        ))),
        None => Ok(()),
    }
}

fn report(
    args: &Export,
    path: &Path,
    bytes: usize,
    notes: &[String],
    differences: &[Difference],
) -> Result<(), Failure> {
    let name = path.to_string_lossy();
    if args.common.json {
        let checked: Vec<Value> = differences
            .iter()
            .map(|it| {
                json!({
                    "output": it.output, "values": it.values,
                    "max_absolute": it.absolute, "max_relative": it.relative,
                })
            })
            .collect();
        return Ok(output::json(
            &json!({ "file": name, "bytes": bytes, "notes": notes, "verified": checked }),
        )?);
    }
    notes.iter().for_each(|note| complain(&format!("note: {note}")));
    let mut text = format!("{}  {bytes} bytes\n", escape(&name));
    for it in differences {
        text.push_str(&format!(
            "  {}: {} values, largest difference {:.1e}, relative {:.1e}\n",
            escape(&it.output),
            it.values,
            it.absolute,
            it.relative
        ));
    }
    Ok(output::result(&text)?)
}
