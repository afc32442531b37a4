//! Losses, for models that hold their training.

use super::Operator;
use super::elementwise::one;
use crate::import::call::Call;
use crate::import::error::Stop;
use crate::import::value::Value;
use nerve_core::{DType, Tensor};

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("NegativeLogLikelihoodLoss", |call| one(likelihood(call, call.tensor(0)?)?)),
    ("SoftmaxCrossEntropyLoss", |call| {
        let x = call.tensor(0)?;
        if x.rank() < 2 || !x.dtype().is_float() {
            return Err(format!("expected floats [n, classes, …], found {}", x.shape()).into());
        }
        let log = x.log_softmax(1);
        Ok(vec![Value::Tensor(likelihood(call, &log)?), log.into()])
    }),
];

/// −ln p of the classes that are right, of logarithms `[n, classes, …]`.
fn likelihood(call: &Call<'_>, log: &Tensor) -> Result<Tensor, Stop> {
    let target = call.tensor(1)?;
    let mut dims = log.shape().to_vec();
    let classes = if dims.len() < 2 { 0 } else { dims.remove(1) };
    let integers = matches!(target.dtype(), DType::I32 | DType::I64);
    if classes == 0 || **target.shape() != dims[..] || !integers || !log.dtype().is_float() {
        let (a, b) = (log.shape(), target.shape());
        return Err(format!(
            "expected floats [n, classes, …] and classes [n, …], found {a} and {b}"
        )
        .into());
    }
    // Class 0 stands in for those that do not count.
    let ignored = match call.attribute("ignore_index") {
        Some(_) => Some(target.to_dtype(DType::I64).eq(call.int("ignore_index", 0)? as f64)),
        None => None,
    };
    let index = match &ignored {
        Some(ignored) => ignored.select(&target.zeros_like(), target),
        None => target.clone(),
    };
    let mut share = match call.optional(2)? {
        Some(weight) if **weight.shape() == [classes] && weight.dtype() == log.dtype() => {
            let flat = index.reshape([index.numel()]);
            Some(weight.index_select(0, &flat).reshape(index.shape().clone()))
        }
        Some(weight) => {
            return Err(format!("weights {} for {classes} classes", weight.shape()).into());
        }
        None => None,
    };
    if let Some(ignored) = &ignored {
        let ones = Tensor::full(index.shape().clone(), 1.0, log.dtype());
        let share_now = share.unwrap_or(ones);
        share = Some(ignored.select(&share_now.zeros_like(), &share_now));
    }
    let mut loss = -log.gather(1, &index.unsqueeze(1)).squeeze(1);
    if let Some(share) = &share {
        loss = loss * share;
    }
    Ok(match (call.text("reduction", "mean")?, share) {
        ("none", _) => loss,
        ("sum", _) => loss.sum(),
        ("mean", None) => loss.mean(),
        ("mean", Some(share)) => loss.sum() / share.sum(),
        (other, _) => return Err(format!("reduction: none, sum or mean, found {other:?}").into()),
    })
}
