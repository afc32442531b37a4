//! Normalisation, and softmax.

use super::Operator;
use super::elementwise::one;
use crate::import::call::{Call, Results, axis, extent};
use crate::import::error::Stop;
use nerve_core::Tensor;

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("BatchNormalization", batch_norm),
    ("LRN", local_response),
    ("Softmax", |call| softmax(call, |x, axis| x.softmax(axis))),
    ("LogSoftmax", |call| softmax(call, |x, axis| x.log_softmax(axis))),
];

/// With the statistics of the file: (x − mean) / √(variance + ε) · scale + bias for each channel.
fn batch_norm(call: &Call<'_>) -> Results {
    let x = call.tensor(0)?;
    if x.rank() < 2 {
        return Err(format!("expected [n, channels, …], found {}", x.shape()).into());
    }
    let eps = call.float("epsilon", 1e-5)?;
    let each = |i: usize| -> Result<Tensor, Stop> {
        let t = call.tensor(i)?;
        if **t.shape() != [x.shape()[1]] || !t.dtype().is_float() {
            return Err(format!("operand {i}: {} for {} channels", t.shape(), x.shape()[1]).into());
        }
        Ok(t.reshape([&[x.shape()[1]][..], &vec![1; x.rank() - 2]].concat()).to_dtype(x.dtype()))
    };
    let (scale, bias) = (each(1)?, each(2)?);
    let training = match call.opset {
        ..=6 => !call.flag("is_test", false)? && call.wanted() > 1,
        _ => call.flag("training_mode", false)?,
    };
    if !training {
        let factor = scale * (each(4)? + eps).rsqrt();
        let shift = bias - each(3)? * &factor;
        return one(x * &factor + shift);
    }
    let momentum = call.float("momentum", 0.9)?;
    let over: Vec<isize> = (0..x.rank() as isize).filter(|&a| a != 1).collect();
    let (mean, variance) = (x.mean_axes(&over, true), x.var_axes(&over, 0, true));
    let y = (x - &mean) * (&variance + eps).rsqrt() * scale + bias;
    let flat = |t: Tensor| t.reshape([x.shape()[1]]);
    let moved = |i: usize, new: &Tensor| -> Result<Tensor, Stop> {
        Ok(call.tensor(i)? * momentum + flat(new.clone()) * (1.0 - momentum))
    };
    Ok(vec![y.into(), moved(3, &mean)?.into(), moved(4, &variance)?.into()])
}

/// x / (bias + alpha/size · sum of squares over `size` neighbouring channels)^beta.
fn local_response(call: &Call<'_>) -> Results {
    let x = call.tensor(0)?;
    let size = extent(call.required_int("size")?)?;
    if x.rank() < 2 || size == 0 || size > 1 << 16 {
        return Err(format!("over {size} channels of {}", x.shape()).into());
    }
    let (alpha, beta) = (call.float("alpha", 1e-4)?, call.float("beta", 0.75)?);
    let (n, c, rest) = (x.shape()[0], x.shape()[1], x.shape()[2..].iter().product::<usize>());
    let before = (size - 1) / 2;
    let squares =
        x.square().reshape([n, c, rest]).pad(&[(0, 0), (before, size - 1 - before), (0, 0)], 0.0);
    let sum =
        (0..size).map(|i| squares.slice(1, i, i + c)).reduce(|a, b| a + b).ok_or("no window")?;
    let scale = (sum * (alpha / size as f64) + call.float("bias", 1.0)?).powf(-beta);
    one(x * scale.reshape(x.shape().clone()))
}

/// Before version 13 over all axes from the named one on together, since then over that axis alone.
fn softmax(call: &Call<'_>, f: fn(&Tensor, isize) -> Tensor) -> Results {
    let x = call.tensor(0)?;
    if call.opset >= 13 {
        return one(f(x, axis(call.int("axis", -1)?, x.rank())? as isize));
    }
    let at = axis(call.int("axis", 1)?, x.rank() + 1)?;
    let (rows, columns) = x.shape().split_at(at);
    let flat = x.reshape([rows.iter().product::<usize>(), columns.iter().product()]);
    one(f(&flat, 1).reshape(x.shape().clone()))
}
