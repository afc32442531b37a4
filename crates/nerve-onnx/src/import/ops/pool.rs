//! Pooling.

use super::Operator;
use super::conv::Windows;
use super::elementwise::one;
use crate::import::call::{Call, Results};
use crate::import::error::Stop;
use nerve_core::{DType, Tensor, ops};

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("MaxPool", max_pool),
    ("AveragePool", average_pool),
    ("LpPool", lp_pool),
    ("GlobalLpPool", global_lp_pool),
    ("GlobalAveragePool", |call| one(call.tensor(0)?.mean_axes(&spatial(call)?, true))),
    ("GlobalMaxPool", |call| one(call.tensor(0)?.max_axes(&spatial(call)?, true))),
];

fn spatial(call: &Call<'_>) -> Result<Vec<isize>, Stop> {
    let x = call.tensor(0)?;
    match x.rank() {
        0..=2 => Err(format!("expected [n, channels, extents…], found {}", x.shape()).into()),
        rank => Ok((2..rank as isize).collect()),
    }
}

/// The windows, with padding behind for those that hang over the end where `ceil_mode` wants them; and
/// how much of the padding was asked for.
fn windows(call: &Call<'_>) -> Result<(ops::Windows, Vec<(usize, usize)>), Stop> {
    let x = call.tensor(0)?;
    let given = Windows::of(call, x, None)?;
    given.check(x)?;
    let asked = given.padding.clone();
    let Windows { kernel, stride, dilation, padding } = given;
    let windows = ops::Windows { kernel, stride, dilation, padding };
    match call.flag("ceil_mode", false)? {
        true => Ok((windows.completed(&x.shape()[2..]), asked)),
        false => Ok((windows, asked)),
    }
}

fn max_pool(call: &Call<'_>) -> Results {
    let x = call.tensor(0)?;
    let (windows, _) = windows(call)?;
    let y = x.max_windows(&windows);
    if !call.wants(1) {
        return one(y);
    }
    let place = x.argmax_windows(&windows).to_dtype(DType::I64);
    let image = &x.shape()[2..];
    let size: usize = image.iter().product();
    let place = match call.flag("storage_order", false)? {
        false => place,
        true => turned(&place, image),
    };
    // They count on from image to image.
    let mut dims = vec![1; x.rank()];
    dims[..2].copy_from_slice(&x.shape()[..2]);
    let channels = x.shape()[0] * x.shape()[1];
    let first = Tensor::arange(channels).to_dtype(DType::I64).reshape(dims) * size as i64;
    Ok(vec![y.into(), (place + first).into()])
}

/// Places that count by rows, as those that count by columns.
fn turned(place: &Tensor, image: &[usize]) -> Tensor {
    let (mut rest, mut total) = (place.clone(), place.zeros_like());
    for (i, &extent) in image.iter().enumerate().rev() {
        let stride: usize = image[..i].iter().product();
        total = total + (&rest % extent as i64) * stride as i64;
        rest = rest / extent as i64;
    }
    total
}

fn average_pool(call: &Call<'_>) -> Results {
    let x = floats(call)?;
    let (windows, asked) = windows(call)?;
    let counted = match call.flag("count_include_pad", false)? {
        true => asked,
        false => vec![(0, 0); asked.len()],
    };
    one(x.mean_windows(&windows, &counted))
}

fn lp_pool(call: &Call<'_>) -> Results {
    let (x, p) = (floats(call)?, power(call)?);
    let (windows, _) = windows(call)?;
    one(x.norm_windows(&windows, p))
}

fn global_lp_pool(call: &Call<'_>) -> Results {
    let (x, p) = (floats(call)?, power(call)?);
    one(x.norm(p, &spatial(call)?, true))
}

fn floats<'a>(call: &'a Call<'_>) -> Result<&'a Tensor, Stop> {
    let x = call.tensor(0)?;
    match x.dtype().is_float() {
        true => Ok(x),
        false => Err(format!("expected floats, found {}", x.dtype()).into()),
    }
}

/// The power of a norm: a number in the first version.
fn power(call: &Call<'_>) -> Result<f64, Stop> {
    let p = match call.opset < 2 {
        true => call.float("p", 2.0)?,
        false => call.int("p", 2)? as f64,
    };
    if p > 0.0 { Ok(p) } else { Err(format!("p: expected a number above 0, found {p}").into()) }
}
