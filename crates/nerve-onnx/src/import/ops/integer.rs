//! Integers: bits and remainders, and numbers that are stored as small integers.

use super::Operator;
use super::conv::convolve;
use super::elementwise::{binary, fits, one};
use super::linear::product;
use crate::import::call::{Call, Results, axis, extent, numbers};
use crate::import::error::Stop;
use crate::import::narrow;
use crate::import::value::{Value, dtype_of, ordinary, type_of};
use nerve_core::{DType, Tensor};

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("Mod", |call| match call.flag("fmod", false)? {
        true => binary(call, |a, b| a % b),
        false => binary(call, |a, b| a.remainder(b)),
    }),
    ("BitShift", |call| {
        whole(call, 2)?;
        match call.text("direction", "")? {
            "LEFT" => binary(call, |a, b| a.shift_left(b)),
            "RIGHT" => binary(call, |a, b| a.shift_right(b)),
            other => Err(format!("direction: LEFT or RIGHT, found {other:?}").into()),
        }
    }),
    ("BitwiseAnd", |call| whole(call, 2).and_then(|()| binary(call, |a, b| a.bitwise_and(b)))),
    ("BitwiseOr", |call| whole(call, 2).and_then(|()| binary(call, |a, b| a.bitwise_or(b)))),
    ("BitwiseXor", |call| whole(call, 2).and_then(|()| binary(call, |a, b| a.bitwise_xor(b)))),
    ("BitwiseNot", |call| {
        whole(call, 1)?;
        one(call.tensor(0)?.bitwise_not())
    }),
    ("QuantizeLinear", quantize),
    ("DequantizeLinear", dequantize),
    ("DynamicQuantizeLinear", quantize_by_range),
    ("MatMulInteger", |call| {
        let (a, b) = (shifted(call, 0, 2, Along::Rows)?, shifted(call, 1, 3, Along::Columns)?);
        one(product(&a, &b)?)
    }),
    ("QLinearMatMul", quantized_product),
    ("ConvInteger", |call| {
        let (x, w) = (shifted(call, 0, 2, Along::All)?, shifted(call, 1, 3, Along::Filters)?);
        // Exact in double precision, and fast.
        let y = convolve(call, &x.to_dtype(DType::F64), &w.to_dtype(DType::F64))?;
        one(y.to_dtype(DType::I32))
    }),
    ("QLinearConv", quantized_conv),
];

/// Refuses operands that are no integers.
fn whole(call: &Call<'_>, count: usize) -> Result<(), Stop> {
    for i in 0..count {
        let dtype = call.tensor(i)?.dtype();
        if !dtype.is_integer() {
            return Err(format!("operand {i}: expected integers, found {dtype}").into());
        }
    }
    Ok(())
}

/// The smallest and the largest value of a type that numbers are stored in.
fn range(dtype: DType) -> Result<(f64, f64), Stop> {
    match dtype {
        DType::U8 => Ok((0.0, 255.0)),
        DType::I8 => Ok((-128.0, 127.0)),
        DType::I32 => Ok((i32::MIN.into(), i32::MAX.into())),
        other => Err(Stop::Unsupported(format!("numbers stored as {other}"))),
    }
}

/// A scale or a zero point in the shape that broadcasts over `x`: one number, one for each element of
/// an axis, or, in blocks, one for several.
fn spread(call: &Call<'_>, x: &Tensor, given: &Tensor) -> Result<Tensor, Stop> {
    if given.numel() == 1 && given.rank() <= 1 {
        return Ok(given.reshape([]));
    }
    let along = axis(call.int("axis", 1)?, x.rank())?;
    let block = extent(call.int("block_size", 0)?)?;
    if block > 0 {
        let fits = given.rank() == x.rank()
            && (0..x.rank()).all(|a| match a == along {
                true => x.shape()[a].div_ceil(block) == given.shape()[a],
                false => x.shape()[a] == given.shape()[a],
            });
        if !fits {
            let shape = given.shape();
            return Err(format!("blocks of {block} of {} with scales {shape}", x.shape()).into());
        }
        let each = given.repeat_interleave(block, along as isize);
        return Ok(each.slice(along as isize, 0, x.shape()[along]));
    }
    if **given.shape() != [x.shape()[along]] {
        let shape = given.shape();
        return Err(format!("axis {along} of {} with scales {shape}", x.shape()).into());
    }
    let mut dims = vec![1; x.rank()];
    dims[along] = given.numel();
    Ok(given.reshape(dims))
}

/// Refuses scales that are known and by which nothing can be divided, and zero points of another type.
fn scale_fits(scale: &Tensor, zero: Option<&Tensor>, dtype: DType) -> Result<(), Stop> {
    if let Some(zero) = zero.filter(|zero| zero.dtype() != dtype) {
        return Err(format!("a zero point of {} for numbers of {dtype}", zero.dtype()).into());
    }
    if let Some(known) = scale.known()? {
        let values = numbers::<f64>(&known)?;
        if let Some(value) = values.iter().find(|v| !(v.abs() > 0.0 && v.is_finite())) {
            return Err(format!("a scale of {value}").into());
        }
    }
    Ok(())
}

/// The nearest integers, ties to even, moved by the zero point and kept in the range of the type.
fn stored(x: &Tensor, zero: Option<&Tensor>, dtype: DType) -> Result<Tensor, Stop> {
    within(x, zero, dtype, range(dtype)?)
}

/// The same within other bounds.
fn within(
    x: &Tensor,
    zero: Option<&Tensor>,
    dtype: DType,
    (low, high): (f64, f64),
) -> Result<Tensor, Stop> {
    let x = x.round();
    let x = match zero {
        Some(zero) => {
            let zero = zero.to_dtype(x.dtype());
            fits(&x, &zero)?;
            x + zero
        }
        None => x,
    };
    Ok(x.clamp(low, high).to_dtype(dtype))
}

fn quantize(call: &Call<'_>) -> Results {
    let (x, scale) = (call.tensor(0)?, call.tensor(1)?);
    let zero = call.optional(2)?;
    let narrow = match (zero, call.int("output_dtype", 0)?) {
        (Some(_), 0) => call.narrow(2),
        (None, 0) => None,
        (_, named) => Some(type_of(named)?).filter(|&named| ordinary(named).is_none()),
    };
    let dtype = match (narrow.and_then(narrow::held_in), zero, call.int("output_dtype", 0)?) {
        (Some(held), ..) => held,
        (None, Some(zero), 0) => zero.dtype(),
        (None, None, 0) => DType::U8,
        (None, _, named) => dtype_of(named)?,
    };
    scale_fits(scale, zero, dtype)?;
    let wide = if scale.dtype().is_float() { scale.dtype() } else { DType::F32 };
    let each = spread(call, x, &scale.to_dtype(wide))?;
    let zero = zero.map(|zero| spread(call, x, zero)).transpose()?;
    let x = x.to_dtype(wide);
    fits(&x, &each)?;
    let x = x / each;
    let Some(data_type) = narrow else { return one(stored(&x, zero.as_ref(), dtype)?) };
    let y = match narrow::range(data_type) {
        Some(bounds) => within(&x, zero.as_ref(), dtype, bounds)?,
        // The zero point of floats is 0.
        None => narrow::rounded(data_type, &x, call.flag("saturate", true)?)
            .ok_or_else(|| Stop::Unsupported(format!("numbers stored as {}", data_type.name())))?,
    };
    Ok(vec![Value::Narrow(data_type, y)])
}

fn dequantize(call: &Call<'_>) -> Results {
    let (x, scale) = (call.tensor(0)?, call.tensor(1)?);
    let wide = if x.dtype() == DType::F32 { DType::F32 } else { DType::I32 };
    if wide != DType::F32 {
        range(x.dtype())?;
    }
    scale_fits(scale, call.optional(2)?, x.dtype())?;
    let whole = x.to_dtype(wide);
    let centred = match call.optional(2)? {
        Some(zero) => {
            let zero = spread(call, x, &zero.to_dtype(wide))?;
            fits(&whole, &zero)?;
            whole - zero
        }
        None => whole,
    };
    let each = spread(call, x, scale)?;
    let centred = centred.to_dtype(scale.dtype());
    fits(&centred, &each)?;
    one(centred * each)
}

/// Over the range that the numbers have, and 0, in u8.
fn quantize_by_range(call: &Call<'_>) -> Results {
    let x = call.tensor(0)?;
    if !x.dtype().is_float() {
        return Err(format!("expected floats, found {}", x.dtype()).into());
    }
    let (low, high) = (x.min().minimum(0.0), x.max().maximum(0.0));
    let scale = (high - &low) / 255.0;
    // All zeros are stored as such.
    let divisor = scale.eq(0.0).select(&scale.full_like(1.0), &scale);
    let zero = (-low / &divisor).clamp(0.0, 255.0).round();
    let y = stored(&(x / divisor), Some(&zero), DType::U8)?;
    Ok(vec![y.into(), scale.into(), zero.to_dtype(DType::U8).into()])
}

/// Which part of an operand shares a zero point.
#[derive(Clone, Copy, PartialEq)]
enum Along {
    All,
    Rows,
    Columns,
    Filters,
}

/// Operand `i` without its zero point, operand `zero`, as i32.
fn shifted(call: &Call<'_>, i: usize, zero: usize, along: Along) -> Result<Tensor, Stop> {
    let x = call.tensor(i)?;
    range(x.dtype())?;
    let whole = x.to_dtype(DType::I32);
    let Some(zero) = call.optional(zero)? else { return Ok(whole) };
    let zero = arranged(x, zero, along)?.to_dtype(DType::I32);
    fits(&whole, &zero)?;
    Ok(whole - zero)
}

/// A scale or zero point in the shape that broadcasts over `x`.
fn arranged(x: &Tensor, given: &Tensor, along: Along) -> Result<Tensor, Stop> {
    if given.numel() == 1 {
        return Ok(given.reshape([]));
    }
    let count = given.numel();
    let wrong = || Stop::Wrong(format!("{} scales for {}", given.shape(), x.shape()));
    match (along, given.rank()) {
        (Along::Rows, 1) => Ok(given.unsqueeze(1)),
        (Along::Columns, 1) => Ok(given.clone()),
        (Along::Rows | Along::Columns, _) => Ok(given.clone()),
        (Along::Filters, 1) if x.rank() > 0 && x.shape()[0] == count => {
            Ok(given.reshape([&[count][..], &vec![1; x.rank() - 1]].concat()))
        }
        _ => Err(wrong()),
    }
}

/// As it was computed: the product of integers, then once to the scale of the result.
fn quantized_product(call: &Call<'_>) -> Results {
    let (a, b) = (shifted(call, 0, 2, Along::Rows)?, shifted(call, 3, 5, Along::Columns)?);
    let sums = product(&a, &b)?.to_dtype(DType::F64);
    let wide = |i: usize| -> Result<Tensor, Stop> { Ok(call.tensor(i)?.to_dtype(DType::F64)) };
    let left = arranged(call.tensor(0)?, &wide(1)?, Along::Rows)?;
    let right = arranged(call.tensor(3)?, &wide(4)?, Along::Columns)?;
    let (scale, zero) = (wide(6)?, call.tensor(7)?);
    let mut y = sums;
    for factor in [left, right, arranged(&y, &scale, Along::Rows)?.recip()] {
        fits(&y, &factor)?;
        y = y * factor;
    }
    let zero = arranged(&y, zero, Along::Rows)?;
    one(stored(&y, Some(&zero), call.tensor(7)?.dtype())?)
}

fn quantized_conv(call: &Call<'_>) -> Results {
    let (x, w) = (shifted(call, 0, 2, Along::All)?, shifted(call, 3, 5, Along::Filters)?);
    let mut sums = convolve(call, &x.to_dtype(DType::F64), &w.to_dtype(DType::F64))?;
    let channels = |t: &Tensor| match t.numel() {
        1 => t.to_dtype(DType::F64).reshape([]),
        n => t.to_dtype(DType::F64).reshape([&[n][..], &vec![1; x.rank() - 2]].concat()),
    };
    if let Some(bias) = call.optional(8)? {
        let bias = channels(bias);
        fits(&sums, &bias)?;
        sums = sums + bias;
    }
    for factor in [channels(call.tensor(1)?), channels(call.tensor(4)?)] {
        fits(&sums, &factor)?;
        sums = sums * factor;
    }
    let scale = channels(call.tensor(6)?);
    fits(&sums, &scale)?;
    let zero = call.tensor(7)?;
    one(stored(
        &(sums / scale),
        Some(&zero.reshape([])).filter(|_| zero.numel() == 1),
        zero.dtype(),
    )?)
}
