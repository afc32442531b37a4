//! The samples of the layers, which are written as in a recipe.

use nerve_core::{DType, Tensor};
use nerve_formats::spec::{Args, Spec, Value, check};
use nerve_nn::layers::{Entry, Sample};
use nerve_nn::{Layer, Params};
use toml::de::{DeTable, DeValue};

/// The layer of a sample, with its parameters under `net`.
pub fn build(entry: &'static Entry, sample: &Sample) -> Box<dyn Layer> {
    let params = Params::new(1);
    let args = args(&entry.spec, sample.args);
    entry.build(&args, &sample.input.into(), &params.at("net")).expect("samples fit").0
}

/// Something that goes in.
pub fn batch(entry: &Entry, sample: &Sample, examples: usize) -> Tensor {
    let shape = [&[examples], sample.input].concat();
    let x = Tensor::normal(&Tensor::random_key(9, 9), 0, shape, DType::F32);
    match entry.takes_indices {
        false => x.evaluated(),
        true => (x.abs() * 3.0).minimum(6.0).to_dtype(DType::I32).evaluated(),
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
