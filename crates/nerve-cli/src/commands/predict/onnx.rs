//! `nerve predict MODEL.onnx`: arrays in, arrays out.

use super::file_name;
use crate::args::Predict;
use crate::commands::set_threads;
use crate::failure::Failure;
use crate::output::{self, complain};
use nerve::core::DType;
use nerve::formats::onnx::{Type, ValueInfo};
use nerve::formats::{Limits, Npy, Zip, kind::Kind, write_npz};
use nerve::onnx::import::{ImportError, Network, Options, Value, dtype};
use nerve_recipe::summary::shape_text;
use serde_json::json;
use std::path::Path;

pub fn run(args: &Predict, model: &Path) -> Result<(), Failure> {
    let Some(data) = &args.data else {
        return Err(Failure::Usage(
            "an ONNX model takes arrays: --data FILE.npz with an array for each input, or FILE.npy for the only one"
                .to_string(),
        ));
    };
    set_threads(&args.common)?;
    let external_data = args.external_data;
    let network = Network::open(model, Options { external_data, ..Options::default() })?;
    let inputs = inputs(&network, data)?;
    let outputs = network.run(&inputs)?;
    let mut arrays = Vec::new();
    for (info, value) in network.output_infos().iter().zip(&outputs) {
        let array = value.to_npy().ok_or_else(|| {
            Failure::Data(format!(
                "output {:?} is no array of numbers; it cannot be written",
                info.name
            ))
        })?;
        arrays.push((file_name(&info.name), array));
    }
    write(args, &arrays)
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Failure {
        Failure::Data(error.to_string())
    }
}

/// The arrays of the file, in the order and of the types of the inputs.
fn inputs(network: &Network, data: &Path) -> Result<Vec<Value>, Failure> {
    let given: Vec<&ValueInfo> = network.input_infos().collect();
    let arrays: Vec<(String, Npy)> = match (Kind::of(data)?, &given[..]) {
        (Kind::Npy, [one]) => vec![(one.name.clone(), Npy::read(data, &Limits::default())?)],
        (Kind::Npz, _) => {
            let zip = Zip::read(data, &Limits::default())?;
            let names: Vec<String> = zip.names().map(String::from).collect();
            let read = |(i, name): (usize, &String)| -> Result<_, Failure> {
                let array = Npy::from_bytes(data.join(name), &zip.unpack(i)?)?;
                Ok((name.strip_suffix(".npy").unwrap_or(name).to_string(), array))
            };
            names.iter().enumerate().map(read).collect::<Result<_, _>>()?
        }
        _ => {
            return Err(Failure::Data(format!(
                "{}: expected {}, which the model takes",
                data.display(),
                if given.len() == 1 {
                    "an npy or npz file"
                } else {
                    "an npz file with an array for each input"
                }
            )));
        }
    };
    let known: Vec<&str> = arrays.iter().map(|(name, _)| name.as_str()).collect();
    let find = |info: &&ValueInfo| {
        let same =
            |(name, _): &&(String, Npy)| *name == info.name || *name == file_name(&info.name);
        let (_, array) = arrays.iter().find(same).ok_or_else(|| {
            let known = known.join(", ");
            Failure::Data(format!("{}: no array {:?}; it has {known}", data.display(), info.name))
        })?;
        converted(info, Value::from_npy(array))
    };
    given.iter().map(find).collect()
}

/// Of the type that the model says: integers widen and narrow without loss, doubles become floats.
fn converted(info: &ValueInfo, value: Value) -> Result<Value, Failure> {
    let (Some(Type::Tensor(element, _)), Some(tensor)) = (&info.kind, value.tensor()) else {
        return Ok(value);
    };
    let Some(to) = dtype(*element) else { return Ok(value) };
    let from = tensor.dtype();
    if from.is_float() && !to.is_float() {
        return Err(Failure::Data(format!(
            "input {:?}: the model takes {}, the array has {from}",
            info.name,
            element.name()
        )));
    }
    let result = tensor.to_dtype(to);
    if from == DType::F64 && to == DType::F32 {
        complain(&format!(
            "input {:?}: float64 is rounded to float32, which the model takes",
            info.name
        ));
    } else if result.to_dtype(from).to_dtype(DType::F64).to_vec::<f64>()
        != tensor.to_dtype(DType::F64).to_vec::<f64>()
        && from != to
    {
        return Err(Failure::Data(format!(
            "input {:?}: the model takes {}, which cannot hold all values of the array",
            info.name,
            element.name()
        )));
    }
    Ok(Value::Tensor(result))
}

fn write(args: &Predict, arrays: &[(String, Npy)]) -> Result<(), Failure> {
    let named: Vec<(&str, Npy)> = arrays.iter().map(|(n, a)| (n.as_str(), a.clone())).collect();
    match args.output.extension().and_then(|e| e.to_str()) {
        Some("npz") => write_npz(&args.output, &named)?,
        Some("npy") if arrays.len() == 1 => {
            let bytes = arrays[0].1.to_bytes();
            nerve::formats::write_atomic(&args.output, |file| file.write_all(&bytes))?;
        }
        _ if args.output == Path::new("-") => {}
        _ => {
            return Err(Failure::Usage(format!(
                "the answers of an ONNX model are {} arrays: -o FILE.npz{}, or none for a summary",
                arrays.len(),
                if arrays.len() == 1 { " or FILE.npy" } else { "" }
            )));
        }
    }
    if args.common.json {
        let each = |(name, array): &(String, Npy)| json!({ "name": name, "shape": array.shape });
        return Ok(output::json(&json!(arrays.iter().map(each).collect::<Vec<_>>()))?);
    }
    let lines =
        arrays.iter().map(|(name, a)| format!("{name}  {}  {}\n", shape_text(&a.shape), some(a)));
    Ok(output::result(&lines.collect::<String>())?)
}

/// The first elements.
fn some(array: &Npy) -> String {
    let tensor = Value::from_npy(array);
    let wide = tensor.tensor().map(|t| t.to_dtype(DType::F64).to_vec::<f64>()).unwrap_or_default();
    let shown: Vec<String> = wide.iter().take(8).map(|v| format!("{v:.5}")).collect();
    format!("{}{}", shown.join(" "), if wide.len() > 8 { " …" } else { "" })
}
