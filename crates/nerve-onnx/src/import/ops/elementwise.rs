//! Functions of single numbers: arithmetic, activations, comparisons, choices, types.

use super::Operator;
use crate::import::call::{Call, Results};
use crate::import::error::Stop;
use crate::import::narrow;
use crate::import::value::{Value, type_of};
use nerve_core::{DType, Tensor};

/// A function of one tensor.
macro_rules! unary {
    ($($name:literal $f:expr;)*) => { &[$(($name, |call| {
        let f: fn(&Tensor) -> Tensor = $f;
        one(f(call.tensor(0)?))
    })),*] };
}

pub(super) const FUNCTIONS: &[(&str, Operator)] = unary! {
    "Abs" |x| x.abs();
    "Neg" |x| -x;
    "Sign" |x| x.sign();
    "Reciprocal" |x| x.recip();
    "Sqrt" |x| x.sqrt();
    "Exp" |x| x.exp();
    "Log" |x| x.log();
    "Sin" |x| x.sin();
    "Cos" |x| x.cos();
    "Tan" |x| x.tan();
    "Asin" |x| x.asin();
    "Acos" |x| x.acos();
    "Atan" |x| x.atan();
    "Sinh" |x| x.sinh();
    "Cosh" |x| x.cosh();
    "Tanh" |x| x.tanh();
    "Sigmoid" |x| x.sigmoid();
    "Erf" |x| x.erf();
    "Relu" |x| if x.dtype().is_float() { x.relu() } else { x.maximum(0.0) };
    "Floor" |x| x.floor();
    "Ceil" |x| x.ceil();
    "Round" |x| x.round();
    "Softplus" |x| x.softplus();
    "Softsign" |x| x / (x.abs() + 1.0);
    "Mish" |x| x * x.softplus().tanh();
    "HardSwish" |x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0);
    "Not" |x| x.logical_not();
    "IsNaN" |x| x.is_nan();
};

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("Add", |call| binary(call, |a, b| a + b)),
    ("Sub", |call| binary(call, |a, b| a - b)),
    ("Mul", |call| binary(call, |a, b| a * b)),
    ("Div", |call| binary(call, |a, b| a / b)),
    ("Pow", pow),
    ("Max", |call| variadic(call, |a, b| a.maximum(b))),
    ("Min", |call| variadic(call, |a, b| a.minimum(b))),
    ("Sum", |call| variadic(call, |a, b| a + b)),
    ("Mean", mean),
    ("Equal", |call| match call.value(0)? {
        Value::Strings(_) => super::strings::equal(call),
        _ => binary(call, |a, b| a.eq(b)),
    }),
    ("Greater", |call| binary(call, |a, b| a.gt(b))),
    ("GreaterOrEqual", |call| binary(call, |a, b| a.ge(b))),
    ("Less", |call| binary(call, |a, b| a.lt(b))),
    ("LessOrEqual", |call| binary(call, |a, b| a.le(b))),
    ("And", |call| binary(call, |a, b| a.logical_and(b))),
    ("Or", |call| binary(call, |a, b| a.logical_or(b))),
    ("Xor", |call| binary(call, |a, b| a.logical_xor(b))),
    ("Where", choose),
    ("Clip", clip),
    ("PRelu", prelu),
    ("LeakyRelu", |call| {
        let slope = call.float("alpha", 0.01)?;
        one(call.tensor(0)?.leaky_relu(slope))
    }),
    ("Elu", |call| {
        let (x, alpha) = (call.tensor(0)?, call.float("alpha", 1.0)?);
        one(x.maximum(0.0) + x.minimum(0.0).expm1() * alpha)
    }),
    ("Selu", |call| {
        let x = call.tensor(0)?;
        let alpha = call.float("alpha", 1.673_263_2)?;
        let gamma = call.float("gamma", 1.050_701)?;
        one((x.maximum(0.0) + x.minimum(0.0).expm1() * alpha) * gamma)
    }),
    ("Celu", |call| {
        let (x, alpha) = (call.tensor(0)?, call.float("alpha", 1.0)?);
        one(x.maximum(0.0) + (x.minimum(0.0) / alpha).expm1() * alpha)
    }),
    ("HardSigmoid", |call| {
        let (alpha, beta) = (call.float("alpha", 0.2)?, call.float("beta", 0.5)?);
        one((call.tensor(0)? * alpha + beta).clamp(0.0, 1.0))
    }),
    ("ThresholdedRelu", |call| {
        let (x, alpha) = (call.tensor(0)?, call.float("alpha", 1.0)?);
        one(x.gt(alpha).select(x, &x.zeros_like()))
    }),
    ("Shrink", |call| {
        let (x, bias, lambd) =
            (call.tensor(0)?, call.float("bias", 0.0)?, call.float("lambd", 0.5)?);
        let x = &x.to_dtype(DType::F64);
        let inner = x.gt(lambd).select(&(x - bias), &x.zeros_like());
        one(x.lt(-lambd).select(&(x + bias), &inner).to_dtype(call.tensor(0)?.dtype()))
    }),
    ("Gelu", |call| {
        let x = call.tensor(0)?;
        one(match call.text("approximate", "none")? {
            "none" => x.gelu(),
            "tanh" => {
                let inner = (x + x * x * x * 0.044_715) * (2.0 / std::f64::consts::PI).sqrt();
                x * (inner.tanh() + 1.0) * 0.5
            }
            other => return Err(format!("approximate: none or tanh, found {other:?}").into()),
        })
    }),
    ("Swish", |call| {
        let (x, alpha) = (call.tensor(0)?, call.float("alpha", 1.0)?);
        one(x * (x * alpha).sigmoid())
    }),
    ("Cast", |call| {
        let (to, saturates) = (type_of(call.required_int("to")?)?, call.flag("saturate", true)?);
        Ok(vec![narrow::cast(call.tensor(0)?, call.narrow(0), to, saturates)?])
    }),
    ("CastLike", |call| match call.narrow(1) {
        Some(to) => {
            let saturates = call.flag("saturate", true)?;
            Ok(vec![narrow::cast(call.tensor(0)?, call.narrow(0), to, saturates)?])
        }
        None => one(cast(call.tensor(0)?, call.tensor(1)?.dtype())),
    }),
    ("Identity", |call| Ok(vec![call.value(0)?.clone()])),
    ("Dropout", dropout),
];

/// One result.
pub(super) fn one(tensor: Tensor) -> Results {
    Ok(vec![Value::Tensor(tensor)])
}

/// A function of two tensors, with NumPy's broadcasting. Versions before 7 broadcast along an axis that is
/// named.
pub(super) fn binary(call: &Call<'_>, f: fn(&Tensor, &Tensor) -> Tensor) -> Results {
    let (a, b) = (call.tensor(0)?, call.tensor(1)?);
    let aligned = match call.flag("broadcast", false)? && call.opset < 7 {
        true => &align(b, a.rank(), call.int("axis", -1)?)?,
        false => b,
    };
    fits(a, aligned)?;
    one(f(a, aligned))
}

/// Checks that two tensors meet in one shape and are of one type.
pub(in crate::import) fn fits(a: &Tensor, b: &Tensor) -> Result<(), Stop> {
    if a.dtype() != b.dtype() {
        return Err(format!("operands of types {} and {}", a.dtype(), b.dtype()).into());
    }
    match a.shape().broadcast(b.shape()) {
        Some(shape) => {
            let dims: Vec<i64> = shape.iter().map(|&d| d as i64).collect();
            crate::import::call::shape(&dims).map(drop)
        }
        None => Err(format!("shapes {} and {} do not broadcast", a.shape(), b.shape()).into()),
    }
}

/// `b` with ones behind, so that its first axis lies at `axis` of `rank`.
fn align(b: &Tensor, rank: usize, axis: i64) -> Result<Tensor, Stop> {
    let start = if axis == -1 { rank.saturating_sub(b.rank()) as i64 } else { axis };
    let start = crate::import::call::axis(start, rank + 1)?;
    let behind = rank.checked_sub(start + b.rank());
    let behind = behind.ok_or_else(|| format!("axis {axis} of {rank} for shape {}", b.shape()))?;
    Ok(b.reshape([&b.shape()[..], &vec![1; behind]].concat()))
}

fn variadic(call: &Call<'_>, f: fn(&Tensor, &Tensor) -> Tensor) -> Results {
    let tensors = call.tensors()?;
    let mut result = tensors.first().ok_or("no operands")?.clone();
    for tensor in &tensors[1..] {
        fits(&result, tensor)?;
        result = f(&result, tensor);
    }
    one(result)
}

fn mean(call: &Call<'_>) -> Results {
    let sum = variadic(call, |a, b| a + b)?.remove(0);
    let sum = sum.tensor().ok_or("numbers")?;
    one(sum / call.count() as f64)
}

/// The exponent may be of another type; the result is of the base's.
fn pow(call: &Call<'_>) -> Results {
    let (a, b) = (call.tensor(0)?, call.tensor(1)?);
    // A number that is known is a product or a root where it can be.
    if let (true, Ok(exponent)) = (a.dtype().is_float() && b.numel() == 1, call.known_floats(1)) {
        let shape = a.shape().broadcast(b.shape()).ok_or("shapes do not broadcast")?;
        return one(a.powf(exponent[0]).broadcast_to(shape));
    }
    let wide = if a.dtype().is_float() { a.dtype() } else { DType::F64 };
    let (x, y) = (a.to_dtype(wide), b.to_dtype(wide));
    fits(&x, &y)?;
    one(x.pow(&y).to_dtype(a.dtype()))
}

fn choose(call: &Call<'_>) -> Results {
    let (condition, a, b) = (call.tensor(0)?, call.tensor(1)?, call.tensor(2)?);
    fits(a, b)?;
    fits(condition, &a.to_dtype(DType::Bool))?;
    fits(condition, &b.to_dtype(DType::Bool))?;
    one(condition.select(a, b))
}

/// Bounds are settings before version 11, and operands since.
fn clip(call: &Call<'_>) -> Results {
    let x = call.tensor(0)?;
    let bound = |i: usize, name: &str| -> Result<Option<Tensor>, Stop> {
        Ok(match call.attribute(name) {
            Some(_) => Some(Tensor::full([], call.float(name, 0.0)?, x.dtype())),
            None => call.optional(i)?.map(|t| t.reshape([])),
        })
    };
    let mut y = x.clone();
    if let Some(low) = bound(1, "min")? {
        fits(&y, &low)?;
        y = y.maximum(&low);
    }
    if let Some(high) = bound(2, "max")? {
        fits(&y, &high)?;
        y = y.minimum(&high);
    }
    one(y)
}

/// The slope has one axis fewer in old versions: one for each channel.
fn prelu(call: &Call<'_>) -> Results {
    let (x, slope) = (call.tensor(0)?, call.tensor(1)?);
    let slope = match slope.rank() == 1 && x.rank() > 1 && call.opset < 7 {
        true => align(slope, x.rank(), 1)?,
        false => slope.clone(),
    };
    fits(x, &slope)?;
    one(x.ge(0).select(x, &(x * &slope)))
}

/// To `bool` everything but zero is true; floats lose what stands behind the point.
pub(in crate::import) fn cast(x: &Tensor, to: DType) -> Tensor {
    if to == DType::Bool && x.dtype() != DType::Bool { x.ne(0) } else { x.to_dtype(to) }
}

/// In training a share of the values becomes 0 and the others grow by as much; in use nothing happens, even if the file was
/// written in the middle of training. Only who feeds `training_mode` as an input decides for himself.
fn dropout(call: &Call<'_>) -> Results {
    let x = call.tensor(0)?;
    let ratio = match call.known_scalar(1)? {
        Some(ratio) => ratio,
        None => call.float("ratio", 0.5)?,
    };
    if !(0.0..1.0).contains(&ratio) {
        return Err(format!("ratio: expected a number from 0 to less than 1, found {ratio}").into());
    }
    let mode = call.node.inputs.get(2).filter(|name| !name.is_empty());
    let fed = mode.is_some_and(|name| !call.scope.network.constants.contains_key(name));
    let asked = !fed || call.known_scalar(2)? == Some(1.0);
    if call.scope.cx.is_training() && asked && ratio > 0.0 {
        let keep = 1.0 - ratio;
        let mask = call.scope.cx.bernoulli(x.shape(), keep);
        let y = mask.select(&(x * (1.0 / keep)), &x.zeros_like());
        return Ok(vec![y.into(), mask.into()]);
    }
    if fed && asked && ratio > 0.0 {
        return Err(Stop::Unsupported("dropping in a model that is used".into()));
    }
    Ok(vec![x.clone().into(), Tensor::full(x.shape().clone(), 1.0, DType::Bool).into()])
}
