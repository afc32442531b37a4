//! Steps of optimizers, and gradients, for models that hold their training.

use super::Operator;
use super::elementwise::one;
use crate::import::call::{Call, Results};
use crate::import::error::Stop;
use crate::import::value::Value;
use nerve_core::{DType, Tensor, grad};

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("ai.onnx.preview.training.Gradient", gradient),
    ("ai.onnx.preview.training.Adagrad", |call| each(call, 1, adagrad)),
    ("ai.onnx.preview.training.Momentum", |call| each(call, 1, momentum)),
    ("ai.onnx.preview.training.Adam", |call| each(call, 2, adam)),
];

/// Learning rate and number of the step.
struct Rate {
    rate: Tensor,
    step: Tensor,
}

/// A step for a parameter with its gradient and what is kept: all of them anew.
type Update = fn(&Call<'_>, &Rate, &Tensor, &Tensor, &[&Tensor]) -> Result<Vec<Tensor>, Stop>;

/// The operands: all parameters, then all gradients, then what is kept for each, sort by sort.
fn each(call: &Call<'_>, kept: usize, update: Update) -> Results {
    let number = |i: usize| -> Result<Tensor, Stop> {
        let x = call.tensor(i)?;
        let wrong = || format!("operand {i}: expected a number, found shape {}", x.shape());
        if x.numel() == 1 { Ok(x.reshape([])) } else { Err(wrong().into()) }
    };
    let step = number(1)?.to_dtype(DType::F64);
    let (rate, sorts) = (number(0)?, kept + 2);
    let count = call.count().saturating_sub(2) / sorts;
    if call.count() != 2 + count * sorts {
        return Err(
            format!("{} operands; expected {sorts} for each parameter", call.count()).into()
        );
    }
    let mut results = vec![Vec::new(); kept + 1];
    for i in 0..count {
        let own = (0..sorts).map(|s| call.tensor(2 + s * count + i));
        let own = own.collect::<Result<Vec<_>, _>>()?;
        if own.iter().any(|t| t.shape() != own[0].shape() || t.dtype() != own[0].dtype()) {
            return Err(
                format!("parameter {i} and what belongs to it are of different shapes").into()
            );
        }
        if !own[0].dtype().is_float() {
            return Err(format!("a parameter of {}", own[0].dtype()).into());
        }
        let rate = Rate { rate: rate.to_dtype(own[0].dtype()), step: step.clone() };
        let penalty = call.float("norm_coefficient", 0.0)?;
        let gradient = own[1] + own[0] * penalty;
        let new = update(call, &rate, own[0], &gradient, &own[2..])?;
        results.iter_mut().zip(new).for_each(|(list, t)| list.push(Value::Tensor(t)));
    }
    Ok(results.into_iter().flatten().collect())
}

fn adagrad(
    call: &Call<'_>,
    rate: &Rate,
    x: &Tensor,
    g: &Tensor,
    kept: &[&Tensor],
) -> Result<Vec<Tensor>, Stop> {
    let (decay, eps) = (call.float("decay_factor", 0.0)?, call.float("epsilon", 1e-6)?);
    let slower = (&rate.step * decay + 1.0).to_dtype(x.dtype());
    let squares = kept[0] + g.square();
    Ok(vec![x - &rate.rate / slower * g / (squares.sqrt() + eps), squares])
}

fn momentum(
    call: &Call<'_>,
    rate: &Rate,
    x: &Tensor,
    g: &Tensor,
    kept: &[&Tensor],
) -> Result<Vec<Tensor>, Stop> {
    let (alpha, beta) = (call.float("alpha", 0.9)?, call.float("beta", 1.0)?);
    // The first gradient counts in full.
    let beta = rate.step.gt(0).select(&Tensor::scalar(beta), &Tensor::scalar(1.0f64));
    let v = kept[0] * alpha + g * beta.to_dtype(x.dtype());
    let way = match call.text("mode", "standard")? {
        "standard" => v.clone(),
        "nesterov" => g + &v * alpha,
        other => return Err(format!("mode: standard or nesterov, found {other:?}").into()),
    };
    Ok(vec![x - &rate.rate * way, v])
}

fn adam(
    call: &Call<'_>,
    rate: &Rate,
    x: &Tensor,
    g: &Tensor,
    kept: &[&Tensor],
) -> Result<Vec<Tensor>, Stop> {
    let (alpha, beta) = (call.float("alpha", 0.9)?, call.float("beta", 0.999)?);
    let v = kept[0] * alpha + g * (1.0 - alpha);
    let h = kept[1] * beta + g.square() * (1.0 - beta);
    let left = |base: f64| -> Tensor { 1.0 - Tensor::scalar(base).pow(&rate.step) };
    let corrected = left(beta).sqrt() / left(alpha);
    let factor = rate.step.gt(0).select(&corrected, &corrected.full_like(1.0));
    let step = &rate.rate
        * factor.to_dtype(x.dtype())
        * (&v / (h.sqrt() + call.float("epsilon", 1e-6)?));
    let shrunk = (x - step) * (1.0 - call.float("norm_coefficient_post", 0.0)?);
    Ok(vec![shrunk, v, h])
}

/// How a value that was computed before depends on others.
fn gradient(call: &Call<'_>) -> Results {
    let names = call.texts("xs")?.ok_or("attribute xs is missing")?;
    let y = call.text("y", "")?;
    let y = call.scope.output(y).ok_or_else(|| format!("nothing produces {y:?}"))?;
    let y = y.tensor().ok_or("y is no array of numbers")?;
    let xs = (0..names.len()).map(|i| call.tensor(i)).collect::<Result<Vec<_>, _>>()?;
    if xs.len() == 1 {
        return one(grad(&y.sum(), &xs).remove(0));
    }
    Ok(grad(&y.sum(), &xs).into_iter().map(Value::Tensor).collect())
}
