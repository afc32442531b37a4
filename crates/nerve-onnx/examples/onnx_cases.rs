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
use nerve_nn::layers::{Entry, REGISTRY, Sample};
use nerve_nn::{Context, Layer};
use nerve_onnx::export::{Input, Options, Output, export};
use std::path::Path;

#[path = "../tests/samples/mod.rs"]
mod samples;

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
                let run =
                    || write(entry, sample, opset, &Path::new(&folder).join(number.to_string()));
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
    let layer = samples::build(entry, sample);
    let dtype = if entry.takes_indices { DType::I32 } else { DType::F32 };
    let network = |x: &[Tensor]| vec![Output::new("y", layer.forward(&x[0], &Context::eval()))];
    let inputs = [Input::new("x", sample.input, dtype)];
    let options = Options { opset, ..Options::default() };
    let exported = export(&inputs, &network, &options).map_err(|error| error.to_string())?;
    let batch = if exported.fixed.is_some() { 1 } else { BATCH };
    let x = samples::batch(entry, sample, batch);
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
