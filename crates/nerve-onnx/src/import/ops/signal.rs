//! Spectra and windows.
//!
//! Transforms are products with matrices of sines and cosines: n² products instead of n log n, on the
//! fastest code there is, with gradients.

use super::Operator;
use super::elementwise::one;
use crate::import::call::{Call, Results, axis, extent, shape};
use crate::import::error::Stop;
use crate::import::value::dtype_of;
use nerve_core::{DType, Tensor};
use std::f64::consts::PI;

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("DFT", dft),
    ("STFT", stft),
    ("HannWindow", |call| window(call, &[0.5, 0.5])),
    ("HammingWindow", |call| window(call, &[25.0 / 46.0, 21.0 / 46.0])),
    ("BlackmanWindow", |call| window(call, &[0.42, 0.5, 0.08])),
    ("MelWeightMatrix", mel_matrix),
];

/// Longest transform: its matrix has the square of that many elements.
const LONGEST: usize = 1 << 14;

/// `[n, bins]` matrices: cos and ±sin of 2π j k / n.
fn waves(n: usize, bins: usize, inverse: bool, dtype: DType) -> Result<[Tensor; 2], Stop> {
    if n == 0 || n > LONGEST {
        return Err(Stop::Limit(format!("a transform of {n} elements, at most {LONGEST}")));
    }
    let angle = |i: usize| {
        // The product is reduced before it becomes an angle: sines of large numbers are inexact.
        let (j, k) = (i / bins, i % bins);
        2.0 * PI * ((j * k) % n) as f64 / n as f64
    };
    let sign = if inverse { 1.0 } else { -1.0 };
    let matrix = |f: &dyn Fn(f64) -> f64| {
        let values: Vec<f64> = (0..n * bins).map(|i| f(angle(i))).collect();
        Tensor::from_slice(&values, [n, bins]).to_dtype(dtype)
    };
    Ok([matrix(&f64::cos), matrix(&|a| sign * a.sin())])
}

/// The transform of the rows of real and imaginary parts `[…, n]`; a signal may have no imaginary part.
fn transform(
    real: &Tensor,
    imaginary: Option<&Tensor>,
    bins: usize,
    inverse: bool,
) -> Result<[Tensor; 2], Stop> {
    let n = real.shape()[real.rank() - 1];
    let [cos, sin] = waves(n, bins, inverse, real.dtype())?;
    let (mut re, mut im) = (real.matmul(&cos), real.matmul(&sin));
    if let Some(i) = imaginary {
        (re, im) = (re - i.matmul(&sin), im + i.matmul(&cos));
    }
    let scale = if inverse { 1.0 / n as f64 } else { 1.0 };
    Ok(if inverse { [re * scale, im * scale] } else { [re, im] })
}

/// `[…, 1]` or `[…, 2]` as real and imaginary parts without the last axis.
fn parts(x: &Tensor) -> Result<(Tensor, Option<Tensor>), Stop> {
    let last = x.rank() - 1;
    let part = |i: usize| x.slice(last as isize, i, i + 1).squeeze(last as isize);
    match x.shape()[last] {
        1 => Ok((part(0), None)),
        2 => Ok((part(0), Some(part(1)))),
        _ => {
            Err(format!("expected real or complex numbers, [… 1 or 2], found {}", x.shape()).into())
        }
    }
}

fn dft(call: &Call<'_>) -> Results {
    let x = call.tensor(0)?;
    if x.rank() < 3 || !x.dtype().is_float() {
        return Err(format!("expected [batch, …, 1 or 2] of floats, found {}", x.shape()).into());
    }
    let along = match (call.opset >= 20, call.known_scalar(2)?) {
        (true, Some(axis)) => axis as i64,
        (true, None) => -2,
        (false, _) => call.int("axis", 1)?,
    };
    let along = axis(along, x.rank())?;
    if along == x.rank() - 1 {
        return Err("the last axis has real and imaginary parts".into());
    }
    let (inverse, onesided) = (call.flag("inverse", false)?, call.flag("onesided", false)?);
    let (mut real, mut imaginary) = parts(x)?;
    let stays = x.shape()[along];
    // A spectrum of one side: the other one mirrors it.
    let mirrored = inverse && onesided;
    let n = match call.known_scalar(1)? {
        Some(n) => extent(n as i64)?,
        None if mirrored => 2 * stays.saturating_sub(1),
        None => stays,
    };
    if n == 0 || n > LONGEST {
        return Err(Stop::Limit(format!("a transform of {n} elements, at most {LONGEST}")));
    }
    let fit = |t: Tensor, n: usize| resized(t, along, n).transpose(along as isize, -1);
    let given = if mirrored { n / 2 + 1 } else { n };
    real = fit(real, given);
    imaginary = imaginary.map(|t| fit(t, given));
    if mirrored {
        let i = imaginary.unwrap_or_else(|| real.zeros_like());
        let last = real.rank() - 1;
        let mirror = |t: &Tensor| t.slice(last as isize, 1, n.div_ceil(2)).flip(&[-1]);
        imaginary = Some(Tensor::concat(&[i.clone(), -mirror(&i)], -1));
        real = Tensor::concat(&[real.clone(), mirror(&real)], -1);
    }
    let bins = if onesided && !inverse { n / 2 + 1 } else { n };
    let [re, im] = transform(&real, imaginary.as_ref(), bins, inverse)?;
    let parts = if mirrored { vec![re] } else { vec![re, im] };
    let parts: Vec<Tensor> = parts.into_iter().map(|t| t.transpose(along as isize, -1)).collect();
    one(Tensor::stack(&parts, x.rank() - 1))
}

/// Cut off or filled up with zeros along an axis.
fn resized(t: Tensor, along: usize, n: usize) -> Tensor {
    let has = t.shape()[along];
    if has >= n {
        return t.slice(along as isize, 0, n);
    }
    let mut amounts = vec![(0, 0); t.rank()];
    amounts[along].1 = n - has;
    t.pad(&amounts, 0.0)
}

/// `[batch, length, 1 or 2]` → `[batch, frames, bins, 2]`.
fn stft(call: &Call<'_>) -> Results {
    let x = call.tensor(0)?;
    if x.rank() != 3 || !x.dtype().is_float() {
        return Err(
            format!("expected [batch, length, 1 or 2] of floats, found {}", x.shape()).into()
        );
    }
    let whole = |i: usize| -> Result<Option<usize>, Stop> {
        call.known_scalar(i)?.map(|v| extent(v as i64)).transpose()
    };
    let step = whole(1)?.ok_or("the step between frames is missing")?;
    let window = call.optional(2)?;
    let frame = match (whole(3)?, window) {
        (Some(frame), _) => frame,
        (None, Some(window)) => window.numel(),
        (None, None) => return Err("neither a window nor the length of a frame".into()),
    };
    let length = x.shape()[1];
    if step == 0 || frame == 0 || frame > length {
        return Err(format!("frames of {frame} every {step} of {length}").into());
    }
    let frames = (length - frame) / step + 1;
    shape(&[x.shape()[0] as i64, frames as i64, frame as i64, 2])?;
    let (real, imaginary) = parts(x)?;
    let places: Vec<i64> =
        (0..frames * frame).map(|i| (i / frame * step + i % frame) as i64).collect();
    let places = Tensor::from_slice(&places, [frames * frame]);
    let cut = |t: &Tensor| -> Result<Tensor, Stop> {
        let cut = t.index_select(1, &places).reshape([x.shape()[0], frames, frame]);
        match window {
            None => Ok(cut),
            Some(w) if **w.shape() == [frame] && w.dtype() == x.dtype() => Ok(cut * w),
            Some(w) => Err(format!("a window of {} for frames of {frame}", w.shape()).into()),
        }
    };
    let onesided = call.flag("onesided", true)?;
    let bins = if onesided { frame / 2 + 1 } else { frame };
    let imaginary = imaginary.as_ref().map(cut).transpose()?;
    let [re, im] = transform(&cut(&real)?, imaginary.as_ref(), bins, false)?;
    one(Tensor::stack(&[re, im], 3))
}

/// Σ (−1)ᵏ aₖ cos(2π k i / n), with n the size, or one less for a symmetric window.
fn window(call: &Call<'_>, terms: &[f64]) -> Results {
    let size = call.known_scalar(0)?.ok_or("the size is missing")?;
    let size = extent(size as i64)?;
    shape(&[size as i64])?;
    if size > 1 << 28 {
        return Err(Stop::Limit(format!("a window of {size}")));
    }
    let n = if call.flag("periodic", true)? { size } else { size.saturating_sub(1).max(1) };
    let dtype = dtype_of(call.int("output_datatype", 1)?)?;
    let value = |i: usize| {
        let wave = |(k, a): (usize, &f64)| {
            let sign = if k % 2 == 0 { 1.0 } else { -1.0 };
            sign * a * (2.0 * PI * (k * i) as f64 / n as f64).cos()
        };
        terms.iter().enumerate().map(wave).sum::<f64>()
    };
    let values: Vec<f64> = (0..size).map(value).collect();
    one(Tensor::from_slice(&values, [size]).to_dtype(dtype))
}

/// `[dft_length / 2 + 1, bins]`: triangles that are equally wide in mels.
fn mel_matrix(call: &Call<'_>) -> Results {
    let number =
        |i: usize| call.known_scalar(i)?.ok_or(Stop::Wrong(format!("operand {i} is missing")));
    let (bins, length) = (extent(number(0)? as i64)?, extent(number(1)? as i64)?);
    let (rate, low, high) = (number(2)?, number(3)?, number(4)?);
    let rows = length / 2 + 1;
    let dims = shape(&[rows as i64, bins as i64])?;
    if !(rate > 0.0 && low >= 0.0 && high > low) || bins > 1 << 16 || length > 1 << 24 {
        return Err(format!("{bins} bins from {low} to {high} Hz at {rate}").into());
    }
    let mel = |hertz: f64| 2595.0 * (1.0 + hertz / 700.0).log10();
    let step = (mel(high) - mel(low)) / (bins + 2) as f64;
    let edge = |i: usize| {
        let hertz = 700.0 * (10f64.powf((i as f64 * step + mel(low)) / 2595.0) - 1.0);
        ((length + 1) as f64 * hertz / rate).floor() as usize
    };
    let mut values = vec![0.0; rows * bins];
    for bin in 0..bins {
        let (left, middle, right) = (edge(bin), edge(bin + 1), edge(bin + 2));
        let mut put = |row: usize, value: f64| {
            if row < rows {
                values[row * bins + bin] = value;
            }
        };
        if left == middle {
            put(middle, 1.0);
        }
        for row in left..=middle.min(rows) {
            if left < middle {
                put(row, (row - left) as f64 / (middle - left) as f64);
            }
        }
        for row in middle..right.min(rows) {
            put(row, (right - row) as f64 / (right - middle) as f64);
        }
    }
    let dtype = dtype_of(call.int("output_datatype", 1)?)?;
    one(Tensor::from_slice(&values, dims).to_dtype(dtype))
}
