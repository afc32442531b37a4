//! Normalisation, and softmax.

use super::Operator;
use super::elementwise::one;
use crate::import::call::{Call, Results, axes, axis, extent};
use crate::import::error::Stop;
use nerve_core::{Shape, Tensor, Var};

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("BatchNormalization", batch_norm),
    ("LRN", local_response),
    ("LayerNormalization", layer_norm),
    ("RMSNormalization", rms_norm),
    ("SimplifiedLayerNormalization", rms_norm),
    ("InstanceNormalization", |call| {
        let channels = call.tensor(0)?.shape().get(1).copied().unwrap_or(0);
        grouped_norm(call, channels, channels)
    }),
    ("GroupNormalization", |call| {
        let groups = extent(call.required_int("num_groups")?)?;
        let channels = call.tensor(0)?.shape().get(1).copied().unwrap_or(0);
        // One number a group in the first version.
        grouped_norm(call, groups, if call.opset < 21 { groups } else { channels })
    }),
    ("LpNormalization", lp_norm),
    ("MeanVarianceNormalization", mean_variance),
    ("Softmax", |call| softmax(call, |x, axis| x.softmax(axis))),
    ("LogSoftmax", |call| softmax(call, |x, axis| x.log_softmax(axis))),
];

/// In use with the statistics of the file: (x − mean) / √(variance + ε) · scale + bias for each channel.
fn batch_norm(call: &Call<'_>) -> Results {
    let x = call.tensor(0)?;
    if x.rank() < 2 {
        return Err(format!("expected [n, channels, …], found {}", x.shape()).into());
    }
    let eps = epsilon(call, 1e-5)?;
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
    if let (false, Some([mean, variance])) = (training, followed(call)) {
        return one(by_batch(call, x, eps, &mean, &variance)?);
    }
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

/// The running statistics, if the network is trained and so are the scale or the shift that they stand beside.
fn followed(call: &Call<'_>) -> Option<[Var; 2]> {
    let network = call.scope.network;
    let name = |i: usize| call.node.inputs.get(i).map_or("", String::as_str);
    let trained = call.scope.cx.is_training() && (1..3).any(|i| network.is_trained(name(i)));
    let var = |i: usize| network.vars.get(name(i)).cloned();
    trained.then(|| Some([var(3)?, var(4)?])).flatten()
}

/// By mean and variance of the batch, which the running ones follow: the variance over n − 1, as in PyTorch, where most
/// files come from. One value a channel has no variance, and nothing follows.
fn by_batch(
    call: &Call<'_>,
    x: &Tensor,
    eps: f64,
    running_mean: &Var,
    running_variance: &Var,
) -> Result<Tensor, Stop> {
    let channels = x.shape()[1];
    if [running_mean, running_variance].iter().any(|running| **running.shape() != [channels]) {
        return Err(format!("running statistics that are not those of {channels} channels").into());
    }
    let n = x.numel() / channels.max(1);
    if n > 1 {
        let momentum = call.float("momentum", 0.9)?;
        let (mean, variance) = x.batch_moments(1);
        let follow = |running: &Var, new: &Tensor, scale: f64| {
            let new = new.to_dtype(running.dtype()) * (scale * (1.0 - momentum));
            running.set(running.get() * momentum + new);
        };
        follow(running_mean, &mean, 1.0);
        follow(running_variance, &variance, n as f64 / (n as f64 - 1.0));
    }
    let parameter = |i: usize| -> Result<Tensor, Stop> { Ok(call.tensor(i)?.to_dtype(x.dtype())) };
    Ok(x.batch_norm(&parameter(1)?, &parameter(2)?, 1, eps))
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

/// The number added under a root: negative, it could not be one.
pub(super) fn epsilon(call: &Call<'_>, default: f64) -> Result<f64, Stop> {
    let eps = call.float("epsilon", default)?;
    match eps >= 0.0 && eps.is_finite() {
        true => Ok(eps),
        false => Err(format!("epsilon: expected a number from 0, found {eps}").into()),
    }
}

/// An operand in the last axes of `x`, those from `from` on.
fn weight(call: &Call<'_>, i: usize, x: &Tensor, from: usize) -> Result<Option<Tensor>, Stop> {
    let Some(w) = call.optional(i)? else { return Ok(None) };
    let last = Shape::from(x.shape()[from..].to_vec());
    if !w.shape().broadcasts_to(&last) || w.dtype() != x.dtype() {
        let (dtype, shape) = (w.dtype(), w.shape());
        return Err(format!("operand {i}: {dtype} {shape} for {} {last}", x.dtype()).into());
    }
    Ok(Some(w.broadcast_to(last)))
}

/// Over the axes from `axis` on; statistics are asked for seldom, and are extra work.
fn layer_norm(call: &Call<'_>) -> Results {
    let x = call.tensor(0)?;
    let (from, eps) = (axis(call.int("axis", -1)?, x.rank())?, epsilon(call, 1e-5)?);
    if call.wanted() < 2 {
        return one(layer_normed(call, x, from, eps, [1, 2])?);
    }
    let (mean, inverse) = statistics(x, from, eps);
    let y = layer_normed(call, x, from, eps, [1, 2])?;
    Ok(vec![y.into(), mean.into(), inverse.into()])
}

/// Mean, and one over the deviation.
fn statistics(x: &Tensor, from: usize, eps: f64) -> (Tensor, Tensor) {
    let over: Vec<isize> = (from as isize..x.rank() as isize).collect();
    (x.mean_axes(&over, true), (x.var_axes(&over, 0, true) + eps).rsqrt())
}

/// With scale and shift at these places of the operands.
fn layer_normed(
    call: &Call<'_>,
    x: &Tensor,
    from: usize,
    eps: f64,
    [scale, shift]: [usize; 2],
) -> Result<Tensor, Stop> {
    float(x)?;
    call.scope.afford(&x.shape()[from..], x.dtype())?;
    let scale = weight(call, scale, x, from)?.ok_or("the scale is missing")?;
    let shift = weight(call, shift, x, from)?.unwrap_or_else(|| scale.zeros_like());
    Ok(x.layer_norm(&scale, &shift, eps))
}

fn float(x: &Tensor) -> Result<(), Stop> {
    match x.dtype().is_float() {
        true => Ok(()),
        false => Err(format!("expected floats, found {}", x.dtype()).into()),
    }
}

fn rms_norm(call: &Call<'_>) -> Results {
    let x = call.tensor(0)?;
    float(x)?;
    let from = axis(call.int("axis", -1)?, x.rank())?;
    call.scope.afford(&x.shape()[from..], x.dtype())?;
    let scale = weight(call, 1, x, from)?.ok_or("the scale is missing")?;
    one(x.rms_norm(&scale, epsilon(call, 1e-5)?))
}

/// Mean 0 and variance 1 within groups of channels of one example, then a scale and a shift.
fn grouped_norm(call: &Call<'_>, groups: usize, each: usize) -> Results {
    let x = call.tensor(0)?;
    float(x)?;
    let channels = x.shape().get(1).copied().unwrap_or(0);
    if x.rank() < 2 || groups == 0 || channels % groups != 0 {
        return Err(format!("{groups} groups of channels of {}", x.shape()).into());
    }
    let eps = epsilon(call, 1e-5)?;
    let (rows, rest) = (x.shape()[0] * groups, x.shape()[2..].iter().product::<usize>());
    let columns = channels / groups * rest;
    call.scope.afford(&[columns], x.dtype())?;
    let like = |value| Tensor::full([columns], value, x.dtype());
    let y = x.reshape([rows, columns]).layer_norm(&like(1.0), &like(0.0), eps);
    let parameter = |i: usize| -> Result<Tensor, Stop> {
        let p = call.tensor(i)?;
        if **p.shape() != [each] || p.dtype() != x.dtype() {
            let (dtype, shape) = (p.dtype(), p.shape());
            return Err(format!(
                "operand {i}: expected {} [{each}], found {dtype} {shape}",
                x.dtype()
            )
            .into());
        }
        let all = p.reshape([each, 1]).broadcast_to([each, channels / each]);
        Ok(all.reshape([&[channels][..], &vec![1; x.rank() - 2]].concat()))
    };
    one(y.reshape(x.shape().clone()) * parameter(1)? + parameter(2)?)
}

/// Divided by the sum of magnitudes, or by the length; a vector of zeros stays one.
fn lp_norm(call: &Call<'_>) -> Results {
    let x = call.tensor(0)?;
    float(x)?;
    let along = axis(call.int("axis", -1)?, x.rank())? as isize;
    let norm = match call.int("p", 2)? {
        1 => x.abs().sum_axes(&[along], true),
        2 => x.square().sum_axes(&[along], true).sqrt(),
        p => return Err(format!("p: expected 1 or 2, found {p}").into()),
    };
    let safe = norm.eq(0.0).select(&norm.full_like(1.0), &norm);
    one(x / safe)
}

/// As the function that defines it, with its 10⁻⁹ beside the deviation.
fn mean_variance(call: &Call<'_>) -> Results {
    let x = call.tensor(0)?;
    float(x)?;
    let over = axes(&call.ints("axes")?.unwrap_or(vec![0, 2, 3]), x.rank())?;
    let over: Vec<isize> = over.into_iter().map(|a| a as isize).collect();
    let centred = x - x.mean_axes(&over, true);
    let deviation = centred.square().mean_axes(&over, true).sqrt();
    one(centred / (deviation + 1e-9))
}
