//! Shapes, and elements at other places.

use super::Operator;
use super::elementwise::one;
use crate::import::call::{self, Call, Results, axes, axis, extent};
use crate::import::error::Stop;
use crate::import::value::{Picked, Strings, Value};
use nerve_core::{DType, Tensor};
use std::sync::Arc;

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("Shape", shape_of),
    ("Size", |call| one(Tensor::scalar(call.tensor(0)?.numel() as i64))),
    ("Reshape", reshape),
    ("Flatten", flatten),
    ("Squeeze", squeeze),
    ("Unsqueeze", unsqueeze),
    ("Transpose", transpose),
    ("Expand", expand),
    ("Tile", tile),
    ("Concat", concat),
    ("Split", split),
    ("Slice", slice),
    ("Pad", pad),
    ("Gather", gather),
    ("DepthToSpace", depth_to_space),
    ("SpaceToDepth", space_to_depth),
];

fn ints(values: &[usize]) -> Tensor {
    let values: Vec<i64> = values.iter().map(|&v| v as i64).collect();
    Tensor::from_slice(&values, [values.len()])
}

fn shape_of(call: &Call<'_>) -> Results {
    let dims: Vec<usize> = match call.value(0)? {
        Value::Strings(strings) => strings.dims.clone(),
        _ => call.tensor(0)?.shape().to_vec(),
    };
    let rank = dims.len() as i64;
    let clamp =
        |at: i64| (if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank) as usize;
    let (start, end) = (clamp(call.int("start", 0)?), clamp(call.int("end", rank)?));
    one(ints(&dims[start.min(end)..end]))
}

fn reshape(call: &Call<'_>) -> Results {
    let x = call.tensor(0)?;
    let target = call.ints_or_input("shape", 1)?.ok_or("the shape is missing")?;
    let zero_is_zero = call.flag("allowzero", false)?;
    let mut dims = Vec::new();
    let mut open = None;
    for (i, &d) in target.iter().enumerate() {
        dims.push(match d {
            0 if !zero_is_zero => *x.shape().get(i).ok_or_else(|| {
                format!("axis {i} is to be kept, the operand's shape is {}", x.shape())
            })?,
            -1 if open.is_none() => {
                open = Some(i);
                1
            }
            d => extent(d).map_err(|_| format!("cannot reshape to {target:?}"))?,
        });
    }
    let wrong = || format!("cannot reshape {} to {target:?}", x.shape());
    let rest = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).ok_or_else(wrong)?;
    if let Some(open) = open {
        if rest == 0 || x.numel() % rest != 0 {
            return Err(wrong().into());
        }
        dims[open] = x.numel() / rest;
    } else if rest != x.numel() {
        return Err(wrong().into());
    }
    one(x.reshape(dims))
}

fn flatten(call: &Call<'_>) -> Results {
    let x = call.tensor(0)?;
    let at = axis(call.int("axis", 1)?, x.rank() + 1)
        .or_else(|_| axis(call.int("axis", 1)?, x.rank()))?;
    // A negative axis counts among the axes there are, one behind them is allowed as well.
    let at = if call.int("axis", 1)? < 0 { axis(call.int("axis", 1)?, x.rank())? } else { at };
    let (before, behind) = x.shape().split_at(at);
    one(x.reshape([before.iter().product::<usize>(), behind.iter().product()]))
}

fn squeeze(call: &Call<'_>) -> Results {
    let x = call.tensor(0)?;
    let gone = match call.ints_or_input("axes", 1)? {
        Some(list) => axes(&list, x.rank())?,
        None => (0..x.rank()).filter(|&a| x.shape()[a] == 1).collect(),
    };
    if let Some(&axis) = gone.iter().find(|&&a| x.shape()[a] != 1) {
        return Err(format!("axis {axis} of {} is not 1", x.shape()).into());
    }
    let kept = (0..x.rank()).filter(|a| !gone.contains(a)).map(|a| x.shape()[a]);
    one(x.reshape(kept.collect::<Vec<_>>()))
}

fn unsqueeze(call: &Call<'_>) -> Results {
    let x = call.tensor(0)?;
    let list = call.ints_or_input("axes", 1)?.ok_or("the axes are missing")?;
    let rank = x.rank() + list.len();
    let new = axes(&list, rank)?;
    let mut old = x.shape().iter();
    let dims = (0..rank).map(|a| match new.contains(&a) {
        true => 1,
        false => *old.next().expect("as many as there are"),
    });
    one(x.reshape(dims.collect::<Vec<_>>()))
}

fn transpose(call: &Call<'_>) -> Results {
    let x = call.tensor(0)?;
    let order = match call.ints("perm")? {
        Some(order) => axes(&order, x.rank())?,
        None => (0..x.rank()).rev().collect(),
    };
    if order.len() != x.rank() {
        return Err(format!("perm {order:?} for shape {}", x.shape()).into());
    }
    one(x.permute(&order))
}

fn expand(call: &Call<'_>) -> Results {
    let (x, target) = (call.tensor(0)?, call::shape(&call.known_ints(1)?)?);
    let shape = x.shape().broadcast(&target.clone().into());
    let shape = shape.ok_or_else(|| format!("cannot expand {} to {target:?}", x.shape()))?;
    one(x.broadcast_to(shape))
}

fn tile(call: &Call<'_>) -> Results {
    let x = call.tensor(0)?;
    let counts = match call.opset < 6 && call.count() == 3 {
        // Once: how often, and along which axis.
        true => {
            let (count, along) = (call.known_ints(1)?, call.known_ints(2)?);
            let (&[count], &[along]) = (&count[..], &along[..]) else {
                return Err("expected one count and one axis".into());
            };
            let mut counts = vec![1; x.rank()];
            counts[axis(along, x.rank())?] = count;
            counts
        }
        false => call.known_ints(1)?,
    };
    if counts.len() != x.rank() {
        return Err(format!("repeats {counts:?} for shape {}", x.shape()).into());
    }
    let result: Vec<i64> =
        counts.iter().zip(x.shape().iter()).map(|(&c, &d)| c.saturating_mul(d as i64)).collect();
    call::shape(&result)?;
    let counts = counts.iter().map(|&c| extent(c)).collect::<Result<Vec<_>, _>>()?;
    one(x.tile(&counts))
}

fn concat(call: &Call<'_>) -> Results {
    if let Some(Some(Value::Strings(first))) = call.inputs.first() {
        let (along, mut texts, mut dims) = (call.int("axis", 1)?, Vec::new(), first.dims.clone());
        if dims.len() != 1 || along.unsigned_abs() > 1 {
            return Err(Stop::Unsupported("texts of more than one axis".into()));
        }
        for i in 0..call.count() {
            texts.extend(call.strings(i)?.texts.iter().cloned());
        }
        dims[0] = texts.len();
        return Ok(vec![Value::Strings(Strings { dims, texts: texts.into() })]);
    }
    let tensors = call.tensors()?;
    let along = match call.opset < 4 {
        true => call.int("axis", 1)?,
        false => call.required_int("axis")?,
    };
    one(joined(&tensors, along)?)
}

/// The tensors one behind the other.
pub(super) fn joined(tensors: &[Tensor], along: i64) -> Result<Tensor, Stop> {
    let first = tensors.first().ok_or("no operands")?;
    let along = axis(along, first.rank())?;
    for tensor in tensors {
        let same = tensor.rank() == first.rank()
            && tensor.dtype() == first.dtype()
            && (0..first.rank()).all(|a| a == along || tensor.shape()[a] == first.shape()[a]);
        if !same {
            return Err(format!(
                "cannot join {} {} and {} {} along axis {along}",
                first.dtype(),
                first.shape(),
                tensor.dtype(),
                tensor.shape()
            )
            .into());
        }
    }
    Ok(Tensor::concat(tensors, along as isize))
}

fn split(call: &Call<'_>) -> Results {
    let x = call.tensor(0)?;
    let along = axis(call.int("axis", 0)?, x.rank())?;
    let extents = match call.ints_or_input("split", 1)? {
        Some(extents) => call::shape(&extents)?,
        None => {
            let parts = match call.attribute("num_outputs") {
                Some(_) => extent(call.int("num_outputs", 0)?)?,
                None => call.wanted(),
            };
            if parts == 0 || parts > 1 << 20 {
                return Err(format!("into {parts} parts").into());
            }
            // The last part is smaller if it does not come out even.
            let (all, each) = (x.shape()[along], x.shape()[along].div_ceil(parts));
            (0..parts).map(|i| each.min(all.saturating_sub(i * each))).collect()
        }
    };
    if extents.iter().sum::<usize>() != x.shape()[along] {
        return Err(format!("axis {along} of {} into {extents:?}", x.shape()).into());
    }
    Ok(x.split(along as isize, &extents).into_iter().map(Value::Tensor).collect())
}

/// Starts, ends, axes and steps are settings before version 10, and operands since.
fn slice(call: &Call<'_>) -> Results {
    let x = call.tensor(0)?;
    let starts = call.ints_or_input("starts", 1)?.ok_or("starts are missing")?;
    let ends = call.ints_or_input("ends", 2)?.ok_or("ends are missing")?;
    let along = match call.ints_or_input("axes", 3)? {
        Some(list) => axes(&list, x.rank())?,
        None if starts.len() <= x.rank() => (0..starts.len()).collect(),
        None => return Err(format!("{} starts for shape {}", starts.len(), x.shape()).into()),
    };
    let steps = call.ints_or_input("steps", 4)?.unwrap_or(vec![1; starts.len()]);
    if [ends.len(), along.len(), steps.len()] != [starts.len(); 3] {
        return Err("starts, ends, axes and steps of different lengths".into());
    }
    let mut y = x.clone();
    for (i, &a) in along.iter().enumerate() {
        let (start, count) = range(starts[i], ends[i], steps[i], x.shape()[a])?;
        let step = isize::try_from(steps[i]).unwrap_or(isize::MAX);
        let step = if count <= 1 { 1 } else { step };
        y = match count {
            0 => y.slice_by(a, 0, 1, 0),
            _ => y.slice_by(a, start, step, count),
        };
    }
    one(y)
}

/// The first element and how many there are, as Python's slices have it.
fn range(start: i64, end: i64, step: i64, extent: usize) -> Result<(usize, usize), Stop> {
    let n = extent as i64;
    let clamp = |at: i64, low: i64, high: i64| {
        (if at < 0 { at.saturating_add(n) } else { at }).clamp(low, high)
    };
    let (first, span) = match step {
        0 => return Err("a step of 0".into()),
        1.. => {
            let (start, end) = (clamp(start, 0, n), clamp(end, 0, n));
            (start, end - start)
        }
        _ => {
            let (start, end) = (clamp(start, 0, n - 1), clamp(end, -1, n - 1));
            (start, start - end)
        }
    };
    let count = if span <= 0 || n == 0 { 0 } else { (span as u64).div_ceil(step.unsigned_abs()) };
    Ok((first.max(0) as usize, count as usize))
}

fn pad(call: &Call<'_>) -> Results {
    let x = call.tensor(0)?;
    let pads = call.ints_or_input(if call.opset < 2 { "paddings" } else { "pads" }, 1)?;
    let pads = pads.ok_or("the pads are missing")?;
    let value = match call.known_scalar(2)? {
        Some(value) => value,
        None => call.float("value", 0.0)?,
    };
    let along = match call.inputs.get(3) {
        Some(Some(_)) => axes(&call.known_ints(3)?, x.rank())?,
        _ => (0..x.rank()).collect(),
    };
    if pads.len() != 2 * along.len() {
        return Err(format!("{} pads for {} axes", pads.len(), along.len()).into());
    }
    let mode = call.text("mode", "constant")?;
    let mut y = x.clone();
    for (i, &a) in along.iter().enumerate() {
        let (before, behind) = (pads[i], pads[i + along.len()]);
        // What is negative is cut off.
        let (cut, cut_behind) = (extent(-before.min(0))?, extent(-behind.min(0))?);
        let n = y.shape()[a];
        if cut + cut_behind > n {
            return Err(format!("pads {pads:?} leave nothing of shape {}", x.shape()).into());
        }
        y = y.slice(a as isize, cut, n - cut_behind);
        let (before, behind) = (extent(before.max(0))?, extent(behind.max(0))?);
        let mut dims: Vec<i64> = y.shape().iter().map(|&d| d as i64).collect();
        dims[a] += (before + behind) as i64;
        call::shape(&dims)?;
        if before + behind == 0 {
            continue;
        }
        y = match mode {
            "constant" => {
                let mut amounts = vec![(0, 0); y.rank()];
                amounts[a] = (before, behind);
                y.pad(&amounts, value)
            }
            _ => y.index_select(a as isize, &border(mode, y.shape()[a], before, behind)?),
        };
    }
    one(y)
}

/// From which elements those of a padded axis come.
fn border(mode: &str, n: usize, before: usize, behind: usize) -> Result<Tensor, Stop> {
    if n == 0 {
        return Err("nothing to repeat along an empty axis".into());
    }
    let n = n as i64;
    let from = |at: i64| match mode {
        "edge" => Ok(at.clamp(0, n - 1)),
        "wrap" => Ok(at.rem_euclid(n)),
        "reflect" if n == 1 => Ok(0),
        "reflect" => {
            let at = at.rem_euclid(2 * (n - 1));
            Ok(at.min(2 * (n - 1) - at))
        }
        other => Err(format!("mode: constant, edge, reflect or wrap, found {other:?}")),
    };
    let places = (-(before as i64)..n + behind as i64).map(from).collect::<Result<Vec<_>, _>>()?;
    Ok(Tensor::from_slice(&places, [places.len()]))
}

fn gather(call: &Call<'_>) -> Results {
    let index = call.tensor(1)?;
    if let Value::Strings(strings) = call.value(0)? {
        return gather_strings(call, strings);
    }
    let x = call.tensor(0)?;
    let along = axis(call.int("axis", 0)?, x.rank())?;
    let index = from_end(index, x.shape()[along])?;
    let flat = index.reshape([index.numel()]);
    let dims = [&x.shape()[..along], &index.shape()[..], &x.shape()[along + 1..]].concat();
    one(x.index_select(along as isize, &flat).reshape(dims))
}

/// Of texts their places are gathered, which are numbers.
/// The texts at these places: now, if they are known, else when the numbers are there.
pub(super) fn picked(list: Arc<[String]>, places: &Tensor) -> Result<Value, Stop> {
    let known = places.known()?;
    let picked = Picked { list, places: places.clone() };
    match known {
        Some(known) => picked
            .texts(&known)
            .map(Value::Strings)
            .map_err(|at| format!("place {at} of {} texts", picked.list.len()).into()),
        None => Ok(Value::Picked(picked)),
    }
}

fn gather_strings(call: &Call<'_>, strings: &Strings) -> Results {
    let along = axis(call.int("axis", 0)?, strings.dims.len())?;
    let places: Vec<i64> = (0..strings.texts.len() as i64).collect();
    let places = Tensor::from_slice(&places, strings.dims.clone());
    let index = from_end(call.tensor(1)?, strings.dims[along])?;
    let dims = [&strings.dims[..along], &index.shape()[..], &strings.dims[along + 1..]].concat();
    call.scope.afford(&dims, DType::I64)?;
    // In a list they are what they are.
    let places = match strings.dims.len() {
        1 => index.to_dtype(DType::I64),
        _ => places.index_select(along as isize, &index.reshape([index.numel()])),
    };
    Ok(vec![picked(strings.texts.clone(), &places.reshape(dims))?])
}

/// Indices counted from the front: negative ones count from the end. Known ones are checked here.
pub(super) fn from_end(index: &Tensor, extent: usize) -> Result<Tensor, Stop> {
    if !matches!(index.dtype(), DType::I32 | DType::I64) {
        return Err(format!("indices: expected int32 or int64, found {}", index.dtype()).into());
    }
    let index = index.to_dtype(DType::I64);
    if let Some(known) = index.known()? {
        let places: Vec<i64> = known.to_vec();
        let places = places.iter().map(|&at| {
            let wrong = || format!("index {at} of an axis of {extent}");
            axis(at, extent).map(|at| at as i64).map_err(|_| Stop::Wrong(wrong()))
        });
        let places = places.collect::<Result<Vec<_>, _>>()?;
        return Ok(Tensor::from_slice(&places, index.shape().clone()));
    }
    Ok(index.lt(0).select(&(&index + extent as f64), &index))
}

fn depth_to_space(call: &Call<'_>) -> Results {
    let (x, b) = (call.tensor(0)?, extent(call.required_int("blocksize")?)?);
    let &[n, c, h, w] = &x.shape()[..] else {
        return Err(format!("expected [n, c, h, w], found {}", x.shape()).into());
    };
    if b == 0 || c % (b * b) != 0 {
        return Err(format!("blocks of {b} from {c} channels").into());
    }
    let d = c / (b * b);
    one(match call.text("mode", "DCR")? {
        "DCR" => x.reshape([n, b, b, d, h, w]).permute(&[0, 3, 4, 1, 5, 2]),
        "CRD" => x.reshape([n, d, b, b, h, w]).permute(&[0, 1, 4, 2, 5, 3]),
        other => return Err(format!("mode: DCR or CRD, found {other:?}").into()),
    }
    .reshape([n, d, h * b, w * b]))
}

fn space_to_depth(call: &Call<'_>) -> Results {
    let (x, b) = (call.tensor(0)?, extent(call.required_int("blocksize")?)?);
    let &[n, c, h, w] = &x.shape()[..] else {
        return Err(format!("expected [n, c, h, w], found {}", x.shape()).into());
    };
    if b == 0 || h % b != 0 || w % b != 0 {
        return Err(format!("blocks of {b} from {h} by {w}").into());
    }
    let blocks = x.reshape([n, c, h / b, b, w / b, b]);
    let blocks = match call.text("mode", "DCR")? {
        "DCR" => blocks.permute(&[0, 3, 5, 1, 2, 4]),
        "CRD" => blocks.permute(&[0, 1, 3, 5, 2, 4]),
        other => return Err(format!("mode: DCR or CRD, found {other:?}").into()),
    };
    one(blocks.reshape([n, c * b * b, h / b, w / b]))
}
