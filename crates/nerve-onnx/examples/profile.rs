//! What a model spends its time on: the slowest instructions of its plan.
//!
//! ```text
//! cargo run --release -p nerve-onnx --example profile -- MODEL FOLDER [LINES]
//! ```
//! `FOLDER` has `input_K.pb`, as `bench/onnx/compare.py` writes them.

use nerve_core::{DType, Tensor, compile};
use nerve_formats::onnx::{DataType, Type, read_value};
use nerve_nn::Context;
use nerve_onnx::import::{Network, Options, Value};
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (model, folder) = (&arguments[0], Path::new(&arguments[1]));
    let lines = arguments.get(2).map_or(Ok(30), |text| text.parse())?;
    let network = Network::open(model, Options::default())?;
    let kind = Type::Tensor(DataType::Undefined, None);
    let mut inputs = Vec::new();
    for i in 0..network.input_infos().count() {
        let value = Value::from_file(&read_value(folder.join(format!("input_{i}.pb")), &kind)?)?;
        inputs.push(value.tensor().ok_or("an array of numbers")?.clone());
    }
    let step = compile(|arguments: &[Tensor]| {
        let values: Vec<Value> = arguments.iter().cloned().map(Value::Tensor).collect();
        let outputs =
            network.forward(&values, &Context::eval()).unwrap_or_else(|error| panic!("{error}"));
        outputs.iter().filter_map(|value| value.tensor().cloned()).collect()
    });
    let signature: Vec<_> = inputs.iter().map(|t| (t.shape().clone(), t.dtype())).collect();
    let step = step.step(&signature);
    for (i, input) in inputs.iter().enumerate() {
        match input.dtype() {
            DType::F32 => step.write(i, &input.to_vec::<f32>()),
            DType::I32 => step.write(i, &input.to_vec::<i32>()),
            _ => step.write(i, &input.to_vec::<i64>()),
        }
    }
    step.run()?;
    let (mut times, rounds) = (Vec::new(), 20);
    for _ in 0..rounds {
        step.profile(&mut times)?;
    }
    let text = step.plan().explain().to_string();
    let total: f64 = times.iter().map(|t| t.as_secs_f64()).sum();
    let mut rows: Vec<(f64, &str)> =
        times.iter().map(|t| t.as_secs_f64()).zip(text.lines().skip(1)).collect();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    println!("{:.3} ms in {} instructions", total * 1e3 / f64::from(rounds), times.len());
    for (time, line) in rows.iter().take(lines) {
        println!(
            "{:8.3} ms {:5.1} %  {line}",
            time * 1e3 / f64::from(rounds),
            100.0 * time / total
        );
    }
    Ok(())
}
