//! Elements at places that are computed, sorted, counted, or chosen by their values.

use super::Operator;
use super::elementwise::one;
use super::shape::from_end;
use crate::import::call::{Call, Results, axis, extent, numbers};
use crate::import::error::Stop;
use crate::import::value::{Value, dtype_of};
use nerve_core::ops::Scattering;
use nerve_core::{DType, Shape, Tensor};

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("GatherElements", gather_elements),
    ("GatherND", gather_nd),
    ("Scatter", scatter_elements),
    ("ScatterElements", scatter_elements),
    ("ScatterND", scatter_nd),
    ("TensorScatter", tensor_scatter),
    ("OneHot", one_hot),
    ("TopK", top_k),
    ("ArgMax", |call| extreme(call, Tensor::argmax)),
    ("ArgMin", |call| extreme(call, Tensor::argmin)),
    ("CumSum", |call| running(call, false)),
    ("CumProd", |call| running(call, true)),
    ("Hardmax", hardmax),
    ("NonZero", non_zero),
    ("Compress", compress),
    ("Unique", unique),
    ("ReverseSequence", reverse_sequence),
    ("EyeLike", eye_like),
    ("Trilu", trilu),
    ("Det", determinant),
    ("Einsum", einsum),
    ("IsInf", is_inf),
    ("Asinh", |call| one(floats(call)?.asinh())),
    ("Acosh", |call| one(floats(call)?.acosh())),
    ("Atanh", |call| one(floats(call)?.atanh())),
];

fn floats<'a>(call: &'a Call<'_>) -> Result<&'a Tensor, Stop> {
    let x = call.tensor(0)?;
    match x.dtype().is_float() {
        true => Ok(x),
        false => Err(format!("expected floats, found {}", x.dtype()).into()),
    }
}

fn gather_elements(call: &Call<'_>) -> Results {
    let (x, index) = (call.tensor(0)?, call.tensor(1)?);
    let along = axis(call.int("axis", 0)?, x.rank())?;
    covers(x, index, along)?;
    one(x.gather(along as isize, &from_end(index, x.shape()[along])?))
}

/// Checks that an index speaks of elements of `x`.
fn covers(x: &Tensor, index: &Tensor, along: usize) -> Result<(), Stop> {
    let fits = |a: usize| a == along || index.shape()[a] <= x.shape()[a];
    match index.rank() == x.rank() && (0..x.rank()).all(fits) {
        true => Ok(()),
        false => Err(format!("indices {} for {} along {along}", index.shape(), x.shape()).into()),
    }
}

/// The number of coordinates that the rows of an index have.
fn depth(x: &Tensor, index: &Tensor, batch: usize) -> Result<usize, Stop> {
    let depth = index.shape().last().copied().unwrap_or(0);
    let fits = index.rank() > batch
        && batch + depth <= x.rank()
        && x.shape()[..batch] == index.shape()[..batch]
        && matches!(index.dtype(), DType::I32 | DType::I64)
        && i32::try_from(x.numel()).is_ok();
    match fits {
        true => Ok(depth),
        false => Err(format!("indices {} for {}", index.shape(), x.shape()).into()),
    }
}

fn gather_nd(call: &Call<'_>) -> Results {
    let (x, index) = (call.tensor(0)?, call.tensor(1)?);
    let batch = extent(call.int("batch_dims", 0)?)?;
    depth(x, index, batch)?;
    one(x.gather_nd(index, batch))
}

fn scattering(call: &Call<'_>) -> Result<Scattering, Stop> {
    Ok(match call.text("reduction", "none")? {
        "none" => Scattering::Replace,
        "add" => Scattering::Add,
        "mul" => Scattering::Mul,
        "max" => Scattering::Max,
        "min" => Scattering::Min,
        other => return Err(format!("reduction: unknown {other:?}").into()),
    })
}

fn scatter_elements(call: &Call<'_>) -> Results {
    let (x, index, new) = (call.tensor(0)?, call.tensor(1)?, call.tensor(2)?);
    let along = axis(call.int("axis", 0)?, x.rank())?;
    covers(x, index, along)?;
    if new.shape() != index.shape() || new.dtype() != x.dtype() {
        return Err(format!("updates {} at indices {}", new.shape(), index.shape()).into());
    }
    let index = from_end(index, x.shape()[along])?;
    one(x.scatter(along as isize, &index, new, scattering(call)?))
}

fn scatter_nd(call: &Call<'_>) -> Results {
    let (x, index, new) = (call.tensor(0)?, call.tensor(1)?, call.tensor(2)?);
    let depth = depth(x, index, 0)?;
    let rows = &index.shape()[..index.rank() - 1];
    if **new.shape() != [rows, &x.shape()[depth..]].concat() || new.dtype() != x.dtype() {
        let (at, of) = (index.shape(), x.shape());
        return Err(format!("updates {} at indices {at} of {of}", new.shape()).into());
    }
    one(x.scatter_nd(index, new, scattering(call)?))
}

/// New steps into a cache: for each of the batch from a step of its own on, in circles if so wanted.
fn tensor_scatter(call: &Call<'_>) -> Results {
    let (cache, new) = (call.tensor(0)?, call.tensor(1)?);
    let along = axis(call.int("axis", -2)?, cache.rank())?;
    let fits = cache.rank() == new.rank()
        && along > 0
        && cache.dtype() == new.dtype()
        && (0..cache.rank()).all(|a| a == along || cache.shape()[a] == new.shape()[a]);
    if !fits {
        return Err(format!("{} into {} along {along}", new.shape(), cache.shape()).into());
    }
    let (steps, room) = (new.shape()[along], cache.shape()[along]);
    let mut dims = vec![1; new.rank()];
    dims[along] = steps;
    let mut at = Tensor::arange(steps).to_dtype(DType::I64).reshape(dims.clone());
    if let Some(start) = call.optional(2)? {
        if **start.shape() != [new.shape()[0]] || !matches!(start.dtype(), DType::I32 | DType::I64)
        {
            return Err(
                format!("{} starts for a batch of {}", start.shape(), new.shape()[0]).into()
            );
        }
        dims.fill(1);
        dims[0] = new.shape()[0];
        at = at + start.to_dtype(DType::I64).reshape(dims);
    }
    match call.text("mode", "linear")? {
        "linear" => {}
        "circular" => at = at.remainder(room as i64),
        other => return Err(format!("mode: linear or circular, found {other:?}").into()),
    }
    let at = at.broadcast_to(new.shape());
    one(cache.scatter(along as isize, &at, new, Scattering::Replace))
}

fn one_hot(call: &Call<'_>) -> Results {
    let (index, values) = (call.tensor(0)?, call.tensor(2)?);
    let classes = call.known_scalar(1)?.ok_or("the depth is missing")?;
    if !(0.0..2f64.powi(31)).contains(&classes) || **values.shape() != [2] {
        return Err(format!("{classes} classes with values {}", values.shape()).into());
    }
    let classes = classes as usize;
    let at = axis(call.int("axis", -1)?, index.rank() + 1)?;
    let mut dims: Vec<i64> = index.shape().iter().map(|&d| d as i64).collect();
    dims.insert(at, classes as i64);
    let shape = crate::import::call::shape(&dims)?;
    let class = Tensor::iota(shape, at as isize).to_dtype(DType::I64);
    let index = index.to_dtype(DType::I64).from_the_end(classes).unsqueeze(at);
    let value = |i: usize| values.slice(0, i, i + 1).reshape([]);
    one(class.eq(index).select(&value(1), &value(0)))
}

fn top_k(call: &Call<'_>) -> Results {
    let x = call.tensor(0)?;
    let along = axis(call.int("axis", -1)?, x.rank())?;
    let count = match call.opset < 10 {
        true => call.required_int("k")?,
        false => *call.known_ints(1)?.first().ok_or("k is missing")?,
    };
    let count = extent(count)?;
    if count > x.shape()[along] {
        return Err(format!("the first {count} of axis {along} of {}", x.shape()).into());
    }
    let (values, places) = x.topk(count, along as isize, call.flag("largest", true)?);
    Ok(vec![values.into(), places.to_dtype(DType::I64).into()])
}

fn extreme(call: &Call<'_>, f: fn(&Tensor, isize, bool) -> Tensor) -> Results {
    let x = call.tensor(0)?;
    let along = axis(call.int("axis", 0)?, x.rank())?;
    let keep = call.flag("keepdims", true)?;
    let n = x.shape()[along];
    if n == 0 {
        return Err(format!("axis {along} of {} is empty", x.shape()).into());
    }
    let place = match call.flag("select_last_index", false)? {
        true => n as i32 - 1 - f(&x.flip(&[along as isize]), along as isize, keep),
        false => f(x, along as isize, keep),
    };
    one(place.to_dtype(DType::I64))
}

fn running(call: &Call<'_>, product: bool) -> Results {
    let x = call.tensor(0)?;
    let along = call.known_ints(1)?;
    let along = axis(*along.first().ok_or("the axis is missing")?, x.rank())?;
    let (exclusive, reverse) = (call.flag("exclusive", false)?, call.flag("reverse", false)?);
    let signed = along as isize;
    if !product {
        if x.dtype().bytes() == 1 {
            return Err(format!("running sums of {}", x.dtype()).into());
        }
        return one(x.cumsum_general(signed, exclusive, reverse));
    }
    let turned = |x: &Tensor| if reverse { x.flip(&[signed]) } else { x.clone() };
    let mut y = turned(x).cumprod(signed);
    let n = x.shape()[along];
    if exclusive && n > 0 {
        let mut amounts = vec![(0, 0); x.rank()];
        amounts[along] = (1, 0);
        y = y.slice(signed, 0, n - 1).pad(&amounts, 1.0);
    }
    one(turned(&y))
}

/// One at the first largest element, before version 13 of all axes from the named one on.
fn hardmax(call: &Call<'_>) -> Results {
    let x = call.tensor(0)?;
    let (flat, along) = match call.opset < 13 {
        true => {
            let at = axis(call.int("axis", 1)?, x.rank() + 1)?;
            let (rows, columns) = x.shape().split_at(at);
            let dims = [rows.iter().product::<usize>(), columns.iter().product()];
            (x.reshape(dims), 1)
        }
        false => (x.clone(), axis(call.int("axis", -1)?, x.rank())?),
    };
    if flat.shape()[along] == 0 {
        return one(x.clone());
    }
    let best = flat.argmax(along as isize, true);
    let hit = Tensor::iota(flat.shape(), along as isize).eq(best);
    one(hit.to_dtype(x.dtype()).reshape(x.shape()))
}

/// The coordinates of element number `at`.
fn point(mut at: usize, shape: &Shape) -> Vec<usize> {
    let mut point = vec![0; shape.rank()];
    for a in (0..shape.rank()).rev() {
        point[a] = at % shape[a];
        at /= shape[a];
    }
    point
}

fn non_zero(call: &Call<'_>) -> Results {
    let known = call.known(0)?;
    let values: Vec<bool> = numbers(&known.ne(0))?;
    let hits: Vec<usize> = (0..values.len()).filter(|&i| values[i]).collect();
    let rank = known.rank();
    let mut places = vec![0i64; rank * hits.len()];
    for (j, &at) in hits.iter().enumerate() {
        for (a, i) in point(at, known.shape()).into_iter().enumerate() {
            places[a * hits.len() + j] = i as i64;
        }
    }
    one(Tensor::from_slice(&places, [rank, hits.len()]))
}

fn compress(call: &Call<'_>) -> Results {
    let x = call.tensor(0)?;
    let chosen: Vec<bool> = numbers(&call.known(1)?)?;
    let (x, along) = match call.attribute("axis") {
        Some(_) => (x.clone(), axis(call.int("axis", 0)?, x.rank())?),
        None => (x.reshape([x.numel()]), 0),
    };
    if chosen.len() > x.shape()[along] {
        let count = chosen.len();
        return Err(format!("{count} conditions for axis {along} of {}", x.shape()).into());
    }
    let places: Vec<i64> = (0..chosen.len()).filter(|&i| chosen[i]).map(|i| i as i64).collect();
    one(x.index_select(along as isize, &Tensor::from_slice(&places, [places.len()])))
}

/// The different slices along an axis, or elements: where each first stands, which one each is, and how
/// many there are of each.
fn unique(call: &Call<'_>) -> Results {
    let x = call.known(0)?;
    let (x, along) = match call.attribute("axis") {
        Some(_) => {
            let along = axis(call.int("axis", 0)?, x.rank())?;
            (x, along)
        }
        None => (x.reshape([x.numel()]), 0),
    };
    let n = x.shape()[along];
    let rows = x.transpose(0, along as isize);
    let flat: Vec<f64> = numbers(&rows)?;
    let width = flat.len().checked_div(n).unwrap_or(0);
    let row = |i: usize| &flat[i * width..(i + 1) * width];
    let compare = |&a: &usize, &b: &usize| {
        let pairs = row(a).iter().zip(row(b));
        let order = pairs.map(|(a, b)| a.total_cmp(b)).find(|o| o.is_ne());
        order.unwrap_or(std::cmp::Ordering::Equal)
    };
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(compare);
    // Groups of equal ones, each by the first.
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for i in order {
        match groups.last_mut() {
            Some(group) if compare(&group[0], &i).is_eq() => group.push(i),
            _ => groups.push(vec![i]),
        }
    }
    if !call.flag("sorted", true)? {
        groups.sort_by_key(|group| group[0]);
    }
    let mut inverse = vec![0i64; n];
    for (number, group) in groups.iter().enumerate() {
        group.iter().for_each(|&i| inverse[i] = number as i64);
    }
    let list = |values: Vec<i64>| Tensor::from_slice(&values, [values.len()]);
    let first = list(groups.iter().map(|g| g[0] as i64).collect());
    let counts = list(groups.iter().map(|g| g.len() as i64).collect());
    let values = x.index_select(along as isize, &first);
    Ok([values, first, list(inverse), counts].map(Value::Tensor).into())
}

fn reverse_sequence(call: &Call<'_>) -> Results {
    let (x, lengths) = (call.tensor(0)?, call.tensor(1)?);
    if x.rank() < 2 {
        return Err(format!("expected two axes or more, found {}", x.shape()).into());
    }
    let (time, batch) = (call.int("time_axis", 0)?, call.int("batch_axis", 1)?);
    let (time, batch) = (axis(time, x.rank())?, axis(batch, x.rank())?);
    if time == batch || **lengths.shape() != [x.shape()[batch]] || lengths.dtype() != DType::I64 {
        let shape = lengths.shape();
        return Err(format!("{shape} lengths for {}, time {time}, batch {batch}", x.shape()).into());
    }
    let mut dims = vec![1; x.rank()];
    dims[batch] = x.shape()[batch];
    let lengths = lengths.reshape(dims.clone());
    dims.fill(1);
    dims[time] = x.shape()[time];
    let step = Tensor::arange(x.shape()[time]).to_dtype(DType::I64).reshape(dims);
    let from = step.lt(&lengths).select(&(&lengths - 1 - &step), &step);
    one(x.gather(time as isize, &from.broadcast_to(x.shape())))
}

fn eye_like(call: &Call<'_>) -> Results {
    let x = call.tensor(0)?;
    if x.rank() != 2 {
        return Err(format!("expected a matrix, found {}", x.shape()).into());
    }
    let dtype = match call.attribute("dtype") {
        Some(_) => dtype_of(call.int("dtype", 1)?)?,
        None => x.dtype(),
    };
    let right = Tensor::iota(x.shape(), 1) - Tensor::iota(x.shape(), 0);
    one(right.to_dtype(DType::I64).eq(call.int("k", 0)?).to_dtype(dtype))
}

fn trilu(call: &Call<'_>) -> Results {
    let x = call.tensor(0)?;
    let k = call.known_scalar(1)?.unwrap_or(0.0) as i64;
    if x.rank() < 2 {
        return Err(format!("expected matrices, found {}", x.shape()).into());
    }
    let right = Tensor::iota(x.shape(), -1) - Tensor::iota(x.shape(), -2);
    let right = right.to_dtype(DType::I64);
    let inside = if call.flag("upper", true)? { right.ge(k) } else { right.le(k) };
    one(inside.select(x, &x.zeros_like()))
}

/// Largest matrices whose elimination is written out.
const LARGEST: usize = 64;

/// By Gaussian elimination with the largest pivot of each column.
fn determinant(call: &Call<'_>) -> Results {
    let x = floats(call)?;
    let wrong = || Stop::Wrong(format!("expected square matrices, found {}", x.shape()));
    let (batch, &[n, m]) = x.shape().split_last_chunk::<2>().ok_or_else(wrong)?;
    if n != m {
        return Err(wrong());
    }
    if n > LARGEST {
        return Err(Stop::Unsupported(format!("determinants of more than {LARGEST} rows")));
    }
    let count: usize = batch.iter().product();
    let mut rest = x.to_dtype(DType::F64).reshape([count, n, n]);
    let mut value = Tensor::full([count], 1.0, DType::F64);
    for size in (1..=n).rev() {
        let best = rest.slice(2, 0, 1).abs().argmax(1, true);
        let row = rest.gather(1, &best.broadcast_to([count, 1, size]));
        let top = rest.slice(1, 0, 1);
        // Exchanging two rows turns the sign.
        let moved = best.reshape([count]).ne(0).to_dtype(DType::F64) * -2.0 + 1.0;
        let pivot = row.slice(2, 0, 1);
        value = value * moved * pivot.reshape([count]);
        let here = Tensor::iota([count, size, 1], 1).eq(best);
        let rows = here.select(&top, &rest).slice(1, 1, size);
        let safe = pivot.eq(0.0).select(&pivot.full_like(1.0), &pivot);
        rest = (&rows - rows.slice(2, 0, 1) / safe * row).slice(2, 1, size);
    }
    one(value.to_dtype(x.dtype()).reshape(batch))
}

fn einsum(call: &Call<'_>) -> Results {
    let operands = call.tensors()?;
    let equation = call.text("equation", "")?;
    let references: Vec<&Tensor> = operands.iter().collect();
    one(Tensor::einsum(equation, &references))
}

fn is_inf(call: &Call<'_>) -> Results {
    let x = floats(call)?;
    let (low, high) = (call.flag("detect_negative", true)?, call.flag("detect_positive", true)?);
    one(match (low, high) {
        (true, true) => x.is_inf(),
        (true, false) => x.eq(f64::NEG_INFINITY),
        (false, true) => x.eq(f64::INFINITY),
        (false, false) => Tensor::full(x.shape(), 0.0, DType::Bool),
    })
}
