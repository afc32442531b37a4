//! Runs a model on inputs from files, compares its outputs with those that another runtime gave, and
//! says how long it took.
//!
//! ```text
//! cargo run --release -p nerve-onnx --example run -- MODEL FOLDER SECONDS
//! ```
//! `FOLDER` has `input_K.pb` and `output_K.pb`, as `bench/onnx/compare.py` writes them. Prints one line of JSON.

use nerve_core::{DType, Tensor};
use nerve_formats::onnx::{DataType, Type, read_value};
use nerve_onnx::import::{Network, Options, Value};
use std::path::Path;
use std::time::Instant;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, folder, seconds] = &arguments[..] else {
        return Err("usage: run MODEL FOLDER SECONDS".into());
    };
    let milliseconds = |since: Instant| since.elapsed().as_secs_f64() * 1e3;
    let start = Instant::now();
    let network = Network::open(model, Options::default())?;
    let load = milliseconds(start);
    let inputs = values(folder, "input", network.input_infos().count())?;
    let expected = values(folder, "output", network.output_infos().len())?;
    let start = Instant::now();
    let outputs = network.run(&inputs)?;
    let first = milliseconds(start);
    let mut worst: f64 = 0.0;
    for (expected, found) in expected.iter().zip(&outputs) {
        worst = worst.max(difference(expected, found)?);
    }
    let (mut times, begin, seconds) = (Vec::new(), Instant::now(), seconds.parse::<f64>()?);
    while times.len() < 5 || begin.elapsed().as_secs_f64() < seconds {
        let start = Instant::now();
        std::hint::black_box(network.run(&inputs)?);
        times.push(milliseconds(start));
    }
    times.sort_by(f64::total_cmp);
    println!(
        "{{\"load_ms\": {load:.2}, \"first_ms\": {first:.2}, \"median_ms\": {:.4}, \"min_ms\": {:.4}, \"difference\": {worst:e}}}",
        times[times.len() / 2],
        times[0]
    );
    Ok(())
}

fn values(folder: &str, what: &str, count: usize) -> Result<Vec<Value>, Failure> {
    let kind = Type::Tensor(DataType::Undefined, None);
    let read = |i: usize| -> Result<Value, Failure> {
        let path = Path::new(folder).join(format!("{what}_{i}.pb"));
        Ok(Value::from_file(&read_value(path, &kind)?)?)
    };
    (0..count).map(read).collect()
}

/// The largest absolute difference.
fn difference(expected: &Value, found: &Value) -> Result<f64, Failure> {
    let (Some(expected), Some(found)) = (expected.tensor(), found.tensor()) else {
        return Err("an output that is no array of numbers".into());
    };
    if expected.shape() != found.shape() {
        return Err(format!("expected shape {}, found {}", expected.shape(), found.shape()).into());
    }
    let wide = |t: &Tensor| t.to_dtype(DType::F64).to_vec::<f64>();
    let pairs = wide(expected).into_iter().zip(wide(found));
    // NaN anywhere is as wrong as can be.
    Ok(pairs.map(|(e, f)| (e - f).abs()).fold(0.0, |a, d| if d <= a { a } else { d }))
}
