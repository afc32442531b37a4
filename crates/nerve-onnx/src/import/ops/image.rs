//! Images: resized, sampled, cropped.

use super::Operator;
use super::elementwise::one;
use crate::import::call::{self, Call, Results, axes};
use crate::import::error::Stop;
use nerve_core::ops::{
    Beyond, Coordinates, GridSample, Interpolation, Resize, Resized, Rounding, Sampling,
};
use nerve_core::{DType, Tensor};

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("Resize", resize),
    ("Upsample", upsample),
    ("GridSample", grid_sample),
    ("AffineGrid", affine_grid),
    ("CenterCropPad", center_crop_pad),
];

/// Images `[n, c, extents…]` of one to three axes.
pub(super) fn images(x: &Tensor) -> Result<usize, Stop> {
    x.rank().checked_sub(2).filter(|n| (1..=3).contains(n)).ok_or_else(|| {
        format!("expected [n, channels, extents…] of one to three axes, found {}", x.shape()).into()
    })
}

/// Scales of all or of named axes, for the axes that they change.
fn by_scales(x: &Tensor, named: &[usize], scales: &[f64]) -> Result<Vec<Resized>, Stop> {
    if scales.len() != named.len() {
        return Err(format!("{} scales for {} axes", scales.len(), named.len()).into());
    }
    let each = |(&axis, &scale): (&usize, &f64)| {
        let resized = Resized::by(x.shape(), axis, scale);
        let fits = scale > 0.0 && scale.is_finite() && x.shape()[axis] > 0;
        let small = resized.extent < 1 << 31;
        if fits && small { Ok(resized) } else { Err(format!("scale {scale} of axis {axis}")) }
    };
    Ok(named.iter().zip(scales).map(each).collect::<Result<_, _>>()?)
}

fn resized(x: &Tensor, axes: &[Resized], how: &Resize) -> Results {
    let mut dims: Vec<i64> = x.shape().iter().map(|&d| d as i64).collect();
    axes.iter().for_each(|r| dims[r.axis] = r.extent as i64);
    call::shape(&dims)?;
    let whole = x.dtype().is_float() || matches!(how.interpolation, Interpolation::Nearest(_));
    let wide = if whole { x.clone() } else { x.to_dtype(DType::F32) };
    let y = wide.resize(axes, how);
    one(if whole { y } else { y.round().to_dtype(x.dtype()) })
}

/// What `Resize` was before version 10.
fn upsample(call: &Call<'_>) -> Results {
    let x = call.tensor(0)?;
    let scales = match call.floats("scales")? {
        Some(scales) => scales,
        None if call.count() > 1 => call.known_floats(1)?,
        None => return Err("the scales are missing".into()),
    };
    let all: Vec<usize> = (0..x.rank()).collect();
    resized(x, &by_scales(x, &all, &scales)?, &plain(call)?)
}

/// The one way before version 11.
fn plain(call: &Call<'_>) -> Result<Resize, Stop> {
    let interpolation = match call.text("mode", "nearest")? {
        "nearest" => Interpolation::Nearest(Rounding::Floor),
        "linear" | "bilinear" => Interpolation::Linear,
        other => return Err(format!("mode: nearest or linear, found {other:?}").into()),
    };
    Ok(Resize { interpolation, coordinates: Coordinates::Asymmetric, ..Resize::default() })
}

fn how_to_resize(call: &Call<'_>) -> Result<Resize, Stop> {
    let rounding = match call.text("nearest_mode", "round_prefer_floor")? {
        "round_prefer_floor" => Rounding::HalfDown,
        "round_prefer_ceil" => Rounding::HalfUp,
        "floor" => Rounding::Floor,
        "ceil" => Rounding::Ceil,
        other => return Err(format!("nearest_mode: unknown {other:?}").into()),
    };
    let interpolation = match call.text("mode", "nearest")? {
        "nearest" => Interpolation::Nearest(rounding),
        "linear" => Interpolation::Linear,
        "cubic" => Interpolation::Cubic(call.float("cubic_coeff_a", -0.75)?),
        other => return Err(format!("mode: nearest, linear or cubic, found {other:?}").into()),
    };
    let coordinates = match call.text("coordinate_transformation_mode", "half_pixel")? {
        "half_pixel" => Coordinates::HalfPixel,
        "half_pixel_symmetric" => Coordinates::HalfPixelSymmetric,
        "pytorch_half_pixel" => Coordinates::HalfPixelOrZero,
        "tf_half_pixel_for_nn" => Coordinates::HalfPixelUnshifted,
        "align_corners" => Coordinates::AlignCorners,
        "asymmetric" => Coordinates::Asymmetric,
        "tf_crop_and_resize" => Coordinates::Crop,
        other => {
            return Err(format!("coordinate_transformation_mode: unknown {other:?}").into());
        }
    };
    Ok(Resize {
        interpolation,
        coordinates,
        antialias: call.flag("antialias", false)?,
        exclude_outside: call.flag("exclude_outside", false)?,
        outside: call.float("extrapolation_value", 0.0)?,
    })
}

/// Whether operand `i` is there and holds anything.
pub(super) fn given(call: &Call<'_>, i: usize) -> Result<bool, Stop> {
    Ok(call.optional(i)?.is_some_and(|t| t.numel() > 0))
}

fn resize(call: &Call<'_>) -> Results {
    let x = call.tensor(0)?;
    let all: Vec<usize> = (0..x.rank()).collect();
    if call.opset < 11 {
        return resized(x, &by_scales(x, &all, &call.known_floats(1)?)?, &plain(call)?);
    }
    let named = match call.ints("axes")? {
        Some(list) => axes(&list, x.rank())?,
        None => all,
    };
    let mut changed = match (given(call, 2)?, given(call, 3)?) {
        (true, _) => by_scales(x, &named, &call.known_floats(2)?)?,
        (false, true) => by_sizes(call, x, &named)?,
        (false, false) => return Err("neither scales nor sizes".into()),
    };
    let how = how_to_resize(call)?;
    if how.coordinates == Coordinates::Crop {
        let part = call.known_floats(1)?;
        if part.len() != 2 * changed.len() {
            return Err(
                format!("a region of {} numbers for {} axes", part.len(), changed.len()).into()
            );
        }
        for i in 0..changed.len() {
            changed[i].part = (part[i], part[i + changed.len()]);
        }
    }
    resized(x, &changed, &how)
}

fn by_sizes(call: &Call<'_>, x: &Tensor, named: &[usize]) -> Result<Vec<Resized>, Stop> {
    let sizes = call::shape(&call.known_ints(3)?)?;
    if sizes.len() != named.len() {
        return Err(format!("{} sizes for {} axes", sizes.len(), named.len()).into());
    }
    if let Some(&axis) = named.iter().find(|&&a| x.shape()[a] == 0) {
        return Err(format!("axis {axis} of {} is empty", x.shape()).into());
    }
    let exact = named.iter().zip(&sizes).map(|(&axis, &size)| Resized::to(x.shape(), axis, size));
    let mut changed: Vec<Resized> = exact.collect();
    let scales = changed.iter().map(|r| r.scale);
    let scale = match call.text("keep_aspect_ratio_policy", "stretch")? {
        "stretch" => return Ok(changed),
        "not_larger" => scales.fold(f64::INFINITY, f64::min),
        "not_smaller" => scales.fold(0.0, f64::max),
        other => return Err(format!("keep_aspect_ratio_policy: unknown {other:?}").into()),
    };
    for resized in &mut changed {
        let extent = (scale * x.shape()[resized.axis] as f64 + 0.5).floor();
        (resized.extent, resized.scale) = (extent as usize, scale);
    }
    Ok(changed)
}

fn grid_sample(call: &Call<'_>) -> Results {
    let (x, grid) = (call.tensor(0)?, call.tensor(1)?);
    let count = images(x)?;
    let fits = x.dtype().is_float()
        && grid.rank() == x.rank()
        && grid.shape()[0] == x.shape()[0]
        && grid.shape()[count + 1] == count
        && x.shape()[2..].iter().all(|&n| n > 0);
    if !fits {
        return Err(format!("{} {} at {}", x.dtype(), x.shape(), grid.shape()).into());
    }
    let sampling = match call.text("mode", "linear")? {
        "linear" | "bilinear" => Sampling::Linear,
        "nearest" => Sampling::Nearest,
        "cubic" | "bicubic" => Sampling::Cubic,
        other => return Err(format!("mode: unknown {other:?}").into()),
    };
    let beyond = match call.text("padding_mode", "zeros")? {
        "zeros" => Beyond::Zeros,
        "border" => Beyond::Border,
        "reflection" => Beyond::Reflection,
        other => return Err(format!("padding_mode: unknown {other:?}").into()),
    };
    let how = GridSample { sampling, beyond, align_corners: call.flag("align_corners", false)? };
    one(x.grid_sample(&grid.to_dtype(x.dtype()), how))
}

/// The places of a grid over the images, each moved by the matrix of its image.
fn affine_grid(call: &Call<'_>) -> Results {
    let theta = call.tensor(0)?;
    let size = call::shape(&call.known_ints(1)?)?;
    let Some(count) = size.len().checked_sub(2).filter(|n| (2..=3).contains(n)) else {
        return Err(format!("expected four or five extents, found {size:?}").into());
    };
    if **theta.shape() != [size[0], count, count + 1] || !theta.dtype().is_float() {
        return Err(format!("matrices {} for {size:?}", theta.shape()).into());
    }
    let aligned = call.flag("align_corners", false)?;
    let image = &size[2..];
    let mut columns = Vec::new();
    for axis in (0..count).rev() {
        let n = image[axis] as f64;
        let number = Tensor::iota(image.to_vec(), axis as isize).to_dtype(theta.dtype());
        let place = match aligned {
            true if image[axis] == 1 => number.zeros_like() - 1.0,
            true => number * (2.0 / (n - 1.0)) - 1.0,
            false => (number * 2.0 + 1.0) / n - 1.0,
        };
        columns.push(place.reshape([place.numel()]));
    }
    columns.push(columns[0].full_like(1.0));
    let places = Tensor::stack(&columns, 1);
    let moved = places.matmul(&theta.t());
    one(moved.reshape([&[size[0]][..], image, &[count]].concat()))
}

/// Cut or filled up with zeros on both sides alike.
fn center_crop_pad(call: &Call<'_>) -> Results {
    let (x, sizes) = (call.tensor(0)?, call::shape(&call.known_ints(1)?)?);
    let named = match call.ints("axes")? {
        Some(list) => axes(&list, x.rank())?,
        None => (0..x.rank()).collect(),
    };
    if named.len() != sizes.len() {
        return Err(format!("{} sizes for {} axes", sizes.len(), named.len()).into());
    }
    let mut y = x.clone();
    for (&axis, &size) in named.iter().zip(&sizes) {
        let n = y.shape()[axis];
        let mut amounts = vec![(0, 0); y.rank()];
        if size <= n {
            let start = (n - size) / 2;
            y = y.slice(axis as isize, start, start + size);
        } else {
            let before = (size - n) / 2;
            amounts[axis] = (before, size - n - before);
            let mut dims: Vec<i64> = y.shape().iter().map(|&d| d as i64).collect();
            dims[axis] = size as i64;
            call::shape(&dims)?;
            y = y.pad(&amounts, 0.0);
        }
    }
    one(y)
}
