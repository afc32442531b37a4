//! Random numbers.
//!
//! A model without a seed gets one from the names of its nodes: each run gives the same numbers, and each
//! node its own.

use super::Operator;
use super::elementwise::{cast, one};
use crate::import::call::{Call, Results, extent, shape};
use crate::import::error::Stop;
use crate::import::value::dtype_of;
use nerve_core::{DType, Shape, Tensor};

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("RandomNormal", |call| named(call, normal)),
    ("RandomUniform", |call| named(call, uniform)),
    ("RandomNormalLike", |call| like(call, normal)),
    ("RandomUniformLike", |call| like(call, uniform)),
    ("Bernoulli", |call| {
        let p = call.tensor(0)?;
        float(p.dtype())?;
        let dtype = dtype(call, p.dtype())?;
        let drawn = Tensor::uniform(&key(call)?, 0, p.shape().clone(), p.dtype());
        one(cast(&drawn.lt(p), dtype))
    }),
    ("Multinomial", multinomial),
];

fn key(call: &Call<'_>) -> Result<Tensor, Stop> {
    let seed = match call.attribute("seed") {
        Some(_) => call.float("seed", 0.0)?.to_bits(),
        None => {
            // FNV-1a of what the node is called.
            let name = call.node.outputs.first().map_or("", String::as_str);
            let mix = |h: u64, b: u8| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3);
            name.bytes().fold(0xcbf2_9ce4_8422_2325, mix)
        }
    };
    Ok(Tensor::random_key(seed, 0))
}

fn dtype(call: &Call<'_>, default: DType) -> Result<DType, Stop> {
    if call.attribute("dtype").is_none() { Ok(default) } else { dtype_of(call.int("dtype", 1)?) }
}

fn float(dtype: DType) -> Result<(), Stop> {
    match dtype.is_float() {
        true => Ok(()),
        false => Err(format!("expected a float type, found {dtype}").into()),
    }
}

type Draw = fn(&Call<'_>, Shape, DType) -> Result<Tensor, Stop>;

fn normal(call: &Call<'_>, shape: Shape, dtype: DType) -> Result<Tensor, Stop> {
    let (mean, scale) = (call.float("mean", 0.0)?, call.float("scale", 1.0)?);
    Ok(Tensor::normal(&key(call)?, 0, shape, dtype) * scale + mean)
}

fn uniform(call: &Call<'_>, shape: Shape, dtype: DType) -> Result<Tensor, Stop> {
    let (low, high) = (call.float("low", 0.0)?, call.float("high", 1.0)?);
    Ok(Tensor::uniform(&key(call)?, 0, shape, dtype) * (high - low) + low)
}

fn named(call: &Call<'_>, draw: Draw) -> Results {
    let dims = shape(&call.ints("shape")?.ok_or("attribute shape is missing")?)?;
    let dtype = dtype(call, DType::F32)?;
    float(dtype)?;
    one(draw(call, dims.into(), dtype)?)
}

fn like(call: &Call<'_>, draw: Draw) -> Results {
    let x = call.tensor(0)?;
    let dtype = dtype(call, x.dtype())?;
    float(dtype)?;
    one(draw(call, x.shape().clone(), dtype)?)
}

/// Classes drawn by their probabilities, of which the logarithms are given, up to a constant.
fn multinomial(call: &Call<'_>) -> Results {
    let (x, dtype) = (call.tensor(0)?, dtype(call, DType::I32)?);
    let samples = extent(call.int("sample_size", 1)?)?;
    let [batch, classes] = x.shape()[..] else {
        return Err(format!("expected [batch, classes], found {}", x.shape()).into());
    };
    float(x.dtype())?;
    call.scope.afford(&[batch, samples, classes], x.dtype())?;
    if classes == 0 {
        return Err("no classes to draw from".into());
    }
    // The class in whose share of 0 to 1 the number falls.
    let ends = x.softmax(1).cumsum(1).slice(1, 0, classes - 1).unsqueeze(1);
    let drawn = Tensor::uniform(&key(call)?, 0, [batch, samples, 1], x.dtype());
    one(drawn.ge(&ends).to_dtype(DType::I32).sum_axes(&[2], false).to_dtype(dtype))
}
