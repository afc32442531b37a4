//! Writes a network for each sample of each layer, with what goes in and what must come out: for
//! `.ci/onnx_agrees.py`, which asks ONNX Runtime.
//!
//! ```text
//! cargo run -p nerve-onnx --example onnx_cases FOLDER [FILTER] [OPSET]
//! ```
//!
//! For each case a model `N.onnx`, and `N.values.onnx` whose constants are the inputs and outputs by name.

use nerve_core::{DType, Tensor, compile};
use nerve_formats::onnx::{self, Model};
use nerve_formats::spec::{Args, Spec, Value, check};
use nerve_nn::layers::{Entry, REGISTRY, Sample};
use nerve_nn::{Context, Layer, Params};
use nerve_onnx::export::{Input, Options, Output, export};
use std::path::Path;
use toml::de::{DeTable, DeValue};

/// More than the two numbers of examples that are traced.
const BATCH: usize = 3;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().expect("a folder");
    let filter = arguments.next().unwrap_or_default();
    let opset = arguments.next().map_or(17, |text| text.parse().expect("a number"));
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    let mut number = 0;
    for entry in REGISTRY.iter() {
        for sample in entry.samples {
            let name = format!("{} {} of {:?}", entry.spec.name, sample.args, sample.input);
            if name.contains(&filter) {
                let run = || write(entry, sample, opset, &Path::new(&folder).join(number.to_string()));
                match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
                    Ok(Ok(note)) => println!("{number}\t{name}\t{note}"),
                    Ok(Err(error)) => println!("-\t{name}\t{error}"),
                    Err(_) => println!("-\t{name}\tpanicked"),
                }
                number += 1;
            }
        }
    }
}

/// Writes a case; gives why it takes one number of examples alone, if so.
fn write(entry: &'static Entry, sample: &Sample, opset: i64, to: &Path) -> Result<String, String> {
    let params = Params::new(1);
    let args = args(&entry.spec, sample.args);
    let (layer, _) = entry.build(&args, &sample.input.into(), &params.at("net"))?;
    let dtype = if entry.takes_indices { DType::I32 } else { DType::F32 };
    let network = |x: &[Tensor]| vec![Output::new("y", layer.forward(&x[0], &Context::eval()))];
    let inputs = [Input::new("x", sample.input, dtype)];
    let options = Options { opset, ..Options::default() };
    let exported = export(&inputs, &network, &options).map_err(|error| error.to_string())?;
    let batch = if exported.fixed.is_some() { 1 } else { BATCH };
    let shape = [&[batch], sample.input].concat();
    let x = Tensor::normal(&Tensor::random_key(9, 9), 0, shape, DType::F32);
    let x = match entry.takes_indices {
        false => x.evaluated(),
        true => (x.abs() * 3.0).minimum(6.0).to_dtype(DType::I32).evaluated(),
    };
    let run = compile(|x: &[Tensor]| vec![layer.forward(&x[0], &Context::eval())]);
    let y = run.call(&[&x]).remove(0);
    let mut values = Model::new(17);
    values.graph.initializers = vec![stored("x", &x), stored("y", &y)];
    let save = |name: String, model: &Model| {
        std::fs::write(to.with_extension(name), model.encode()).map_err(|error| error.to_string())
    };
    save("onnx".into(), &exported.model)?;
    save("values.onnx".into(), &values)?;
    Ok(exported.fixed.unwrap_or_default())
}

fn stored(name: &str, tensor: &Tensor) -> onnx::Tensor {
    match tensor.dtype() {
        DType::I32 => {
            let bytes = tensor.to_vec::<i32>().iter().flat_map(|v| v.to_le_bytes()).collect();
            onnx::Tensor::new(name, onnx::DataType::Int32, tensor.shape(), bytes)
        }
        _ => onnx::Tensor::floats(name, tensor.shape(), &tensor.to_vec::<f32>()),
    }
}

/// The checked arguments that `text`, the inside of an inline table, gives to `spec`.
fn args(spec: &'static Spec, text: &str) -> Args {
    let wrapped = format!("x = {{ {text} }}");
    let table = DeTable::parse(&wrapped).expect("samples are TOML");
    let Value::Table(given) = value(table.get_ref()["x"].get_ref()) else { unreachable!() };
    check(spec, &given).expect("samples are right")
}

fn value(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string().into()),
        DeValue::Integer(number) => Value::Int(number.as_str().parse().expect("a number")),
        DeValue::Float(number) => Value::Float(number.as_str().parse().expect("a number")),
        DeValue::Boolean(truth) => Value::Bool(*truth),
        DeValue::Datetime(_) => Value::Other("a date or time"),
        DeValue::Array(values) => {
            Value::List(values.iter().map(|v| self::value(v.get_ref())).collect())
        }
        DeValue::Table(table) => Value::Table(
            table
                .iter()
                .map(|(k, v)| (k.get_ref().to_string(), self::value(v.get_ref())))
                .collect(),
        ),
    }
}
