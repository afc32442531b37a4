//! Operators of the domain `ai.onnx.ml` that prepare tables for a network.

use super::Operator;
use super::elementwise::one;
use crate::import::call::{Call, Results, axis};
use crate::import::error::Stop;
use nerve_core::{DType, Tensor};

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("ai.onnx.ml.ArrayFeatureExtractor", |call| {
        let x = call.tensor(0)?;
        let n = *x.shape().last().ok_or("a number has no columns")?;
        let places = call.known_ints(1)?;
        let places = places.iter().map(|&at| axis(at, n).map(|at| at as i64));
        let places = places.collect::<Result<Vec<_>, _>>()?;
        let y = x.index_select(-1, &Tensor::from_slice(&places, [places.len()]));
        one(if x.rank() == 1 { y.unsqueeze(0) } else { y })
    }),
    ("ai.onnx.ml.Binarizer", |call| {
        let x = call.tensor(0)?;
        one(x.gt(call.float("threshold", 0.0)?).to_dtype(x.dtype()))
    }),
    ("ai.onnx.ml.Scaler", |call| {
        let x = call.tensor(0)?.to_dtype(DType::F32);
        let (offset, scale) = (columns(call, "offset", &x)?, columns(call, "scale", &x)?);
        one((&x - offset) * scale)
    }),
    ("ai.onnx.ml.Imputer", imputer),
    ("ai.onnx.ml.Normalizer", |call| {
        let x = call.tensor(0)?.to_dtype(DType::F32);
        let size = match call.text("norm", "MAX")? {
            // With its sign, as ONNX Runtime has it.
            "MAX" => x.max_axes(&[-1], true),
            "L1" => x.abs().sum_axes(&[-1], true),
            "L2" => x.square().sum_axes(&[-1], true).sqrt(),
            other => return Err(format!("norm: MAX, L1 or L2, found {other:?}").into()),
        };
        one(size.eq(0.0).select(&x, &(&x / &size)))
    }),
];

/// One number for each column, or one for all.
fn columns(call: &Call<'_>, name: &str, x: &Tensor) -> Result<Tensor, Stop> {
    let values = call.floats(name)?.ok_or_else(|| format!("attribute {name} is missing"))?;
    let n = x.shape().last().copied().unwrap_or(1);
    if values.len() != 1 && values.len() != n {
        return Err(format!("{name}: {} numbers for {n} columns", values.len()).into());
    }
    Ok(Tensor::from_slice(&values, [values.len()]).to_dtype(x.dtype()))
}

/// What is missing is filled in.
fn imputer(call: &Call<'_>) -> Results {
    let x = call.tensor(0)?;
    if !x.dtype().is_float() {
        return Err(Stop::Unsupported("filling in integers".into()));
    }
    let values = columns(call, "imputed_value_floats", x)?;
    let missing = call.float("replaced_value_float", f64::NAN)?;
    let gone = if missing.is_nan() { x.is_nan() } else { x.eq(missing) };
    one(gone.select(&values, x))
}
