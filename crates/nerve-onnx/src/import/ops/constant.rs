//! Values that come from nowhere.

use super::Operator;
use super::elementwise::one;
use crate::import::call::{Call, Results, shape};
use crate::import::error::Stop;
use crate::import::tagged;
use crate::import::value::{Strings, Value};
use nerve_core::{DType, Tensor};
use nerve_formats::onnx::AttributeValue;

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("Constant", constant),
    ("ConstantOfShape", |call| {
        let dims = shape(&call.known_ints(0)?)?;
        let value = match call.array("value")? {
            None => Tensor::scalar(0.0f32).into(),
            Some(array) => Value::from_onnx(array).map_err(Stop::Unsupported)?,
        };
        match value.tensor().filter(|number| number.numel() == 1) {
            Some(number) => Ok(vec![tagged::alike(&value, number.reshape([]).broadcast_to(dims))]),
            None => Err("value: expected one number".into()),
        }
    }),
    ("Range", range),
];

fn constant(call: &Call<'_>) -> Results {
    let attribute = call.node.attributes.first().ok_or("it has no value")?;
    let length = |n: usize| vec![n];
    let value = match &attribute.value {
        AttributeValue::Tensor(array) => call.scope.decoded(array)?,
        AttributeValue::Float(value) => Tensor::scalar(*value).into(),
        AttributeValue::Int(value) => Tensor::scalar(*value).into(),
        AttributeValue::Floats(values) => Tensor::from_slice(values, [values.len()]).into(),
        AttributeValue::Ints(values) => Tensor::from_slice(values, [values.len()]).into(),
        AttributeValue::String(text) => strings(Vec::new(), std::slice::from_ref(text)),
        AttributeValue::Strings(texts) => strings(length(texts.len()), texts),
        AttributeValue::Sparse(sparse) => dense(sparse)?.into(),
        _ => return Err(format!("a value of the kind {}", attribute.name).into()),
    };
    Ok(vec![value])
}

fn strings(dims: Vec<usize>, texts: &[Vec<u8>]) -> Value {
    let texts = texts.iter().map(|t| String::from_utf8_lossy(t).into_owned()).collect();
    Value::Strings(Strings { dims, texts })
}

/// An array whose zeros are left out, with them.
fn dense(sparse: &nerve_formats::onnx::SparseTensor) -> Result<Tensor, Stop> {
    let dims: Vec<i64> = sparse.dims.iter().map(|&d| d as i64).collect();
    let dims = shape(&dims)?;
    let (Value::Tensor(values), Value::Tensor(places)) = (
        Value::from_onnx(&sparse.values).map_err(Stop::Unsupported)?,
        Value::from_onnx(&sparse.indices).map_err(Stop::Unsupported)?,
    ) else {
        return Err("sparse texts".into());
    };
    let numel: usize = dims.iter().product();
    if places.dtype() != DType::I64 || numel > 1 << 28 {
        return Err(Stop::Limit(format!("a sparse array of shape {dims:?}")));
    }
    let places: Vec<i64> = places.to_vec();
    let count = values.numel();
    let flat: Vec<i64> = match places.len() == count {
        true => places,
        false if places.len() == count * dims.len() => {
            let at = |row: &[i64]| {
                row.iter()
                    .zip(&dims)
                    .fold(0i64, |n, (&i, &d)| n.saturating_mul(d as i64).saturating_add(i))
            };
            places.chunks(dims.len()).map(at).collect()
        }
        false => return Err("as many places as values".into()),
    };
    if flat.iter().any(|&at| at < 0 || at >= numel as i64) {
        return Err("a place outside of the array".into());
    }
    let places = Tensor::from_slice(&flat, [count]);
    let zeros = Tensor::full([numel], 0.0, values.dtype());
    Ok(zeros.scatter_add(0, &places, &values.reshape([count])).reshape(dims))
}

/// start, start + delta, … before limit. The numbers are known: they say how many there are.
fn range(call: &Call<'_>) -> Results {
    let dtype = call.tensor(0)?.dtype();
    let number =
        |i: usize| call.known_scalar(i)?.ok_or(Stop::Wrong(format!("operand {i} is missing")));
    let (start, limit, delta) = (number(0)?, number(1)?, number(2)?);
    let count = ((limit - start) / delta).ceil();
    if delta == 0.0 || !count.is_finite() {
        return Err(format!("from {start} to {limit} by {delta}").into());
    }
    let count = shape(&[count.clamp(0.0, 9e15) as i64])?;
    let (start, delta) = (call.known(0)?.reshape([]), call.known(2)?.reshape([]));
    let steps = Tensor::iota(count, 0).to_dtype(dtype);
    one(steps * delta + start)
}
