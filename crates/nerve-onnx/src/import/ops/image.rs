//! Images: resized, sampled, cut into patches and put together again, and boxes in them.

use super::Operator;
use super::conv::{Windows, biased};
use super::elementwise::one;
use crate::import::call::{self, Call, Results, axes, extent, numbers};
use crate::import::error::Stop;
use nerve_core::ops::{
    Beyond, ConvOptions, Coordinates, GridSample, Interpolation, Resize, Resized, Rounding,
    Sampling, Scattering,
};
use nerve_core::{DType, Tensor};

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("Resize", resize),
    ("Upsample", upsample),
    ("GridSample", grid_sample),
    ("AffineGrid", affine_grid),
    ("RoiAlign", roi_align),
    ("CenterCropPad", center_crop_pad),
    ("Col2Im", col2im),
    ("ConvTranspose", conv_transpose),
    ("DeformConv", deform_conv),
    ("MaxUnpool", max_unpool),
    ("NonMaxSuppression", non_max_suppression),
];

/// Images `[n, c, extents…]` of one to three axes.
fn images(x: &Tensor) -> Result<usize, Stop> {
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
fn given(call: &Call<'_>, i: usize) -> Result<bool, Stop> {
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

/// For each region the mean, or the largest, of samples spread over its bins.
fn roi_align(call: &Call<'_>) -> Results {
    let (x, rois, batch) = (call.tensor(0)?, call.tensor(1)?, call.tensor(2)?);
    let (&[_, c, h, w], &[count, 4]) = (&x.shape()[..], &rois.shape()[..]) else {
        return Err(format!("regions {} of {}", rois.shape(), x.shape()).into());
    };
    if **batch.shape() != [count] || h == 0 || w == 0 || rois.dtype() != x.dtype() {
        return Err(format!("{} images for {count} regions of {}", batch.shape(), x.shape()).into());
    }
    let bins = [extent(call.int("output_height", 1)?)?, extent(call.int("output_width", 1)?)?];
    let ratio = extent(call.int("sampling_ratio", 0)?)?;
    let scale = call.float("spatial_scale", 1.0)?;
    let default = if call.opset < 16 { "output_half_pixel" } else { "half_pixel" };
    let shifted = match call.text("coordinate_transformation_mode", default)? {
        "half_pixel" => true,
        "output_half_pixel" => false,
        other => return Err(format!("coordinate_transformation_mode: unknown {other:?}").into()),
    };
    if ratio == 0 {
        return Err(Stop::Unsupported(
            "as many samples as a region is large (sampling_ratio 0)".into(),
        ));
    }
    call::shape(&[count as i64, c as i64, (bins[0] * ratio) as i64, (bins[1] * ratio) as i64])?;
    let corner = |i: usize| rois.slice(1, i, i + 1) * scale - if shifted { 0.5 } else { 0.0 };
    // Rows of places for each region: [regions, bins · ratio].
    let along = |first: usize, bins: usize, n: usize| {
        let (start, end) = (corner(first), corner(first + 2));
        let size = if shifted { &end - &start } else { (&end - &start).maximum(1.0) };
        let step = (Tensor::arange(bins * ratio).to_dtype(x.dtype()) + 0.5) / (bins * ratio) as f64;
        let place = start + size * step.unsqueeze(0);
        let outside = place.lt(-1.0).logical_or(place.gt(n as f64));
        (place.clamp(0.0, n as f64 - 1.0), outside)
    };
    let ((rows, no_row), (columns, no_column)) = (along(1, bins[0], h), along(0, bins[1], w));
    let table = x.permute(&[0, 2, 3, 1]).reshape([x.shape()[0] * h * w, c]);
    let shape = [count, bins[0] * ratio, bins[1] * ratio];
    let image = batch.to_dtype(DType::I32).reshape([count, 1, 1]) * (h * w) as i32;
    let mut parts = Vec::new();
    for (down, right) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let tap = |place: &Tensor, next: usize, n: usize| {
            let low = place.floor();
            let share = if next == 1 { place - &low } else { 1.0 - (place - &low) };
            let number = (low + next as f64).minimum(n as f64 - 1.0).to_dtype(DType::I32);
            (number, share)
        };
        let ((row, a), (column, b)) = (tap(&rows, down, h), tap(&columns, right, w));
        let number = row.unsqueeze(2) * w as i32 + column.unsqueeze(1) + &image;
        let weight = a.unsqueeze(2) * b.unsqueeze(1);
        let outside = no_row.unsqueeze(2).logical_or(no_column.unsqueeze(1));
        let weight = outside.select(&weight.zeros_like(), &weight);
        let values =
            table.index_select(0, &number.broadcast_to(shape).reshape([shape.iter().product()]));
        parts.push(values * weight.reshape([shape.iter().product(), 1]));
    }
    let largest = match call.text("mode", "avg")? {
        "avg" => false,
        "max" => true,
        other => return Err(format!("mode: avg or max, found {other:?}").into()),
    };
    let joined = parts.into_iter().reduce(|a, b| if largest { a.maximum(b) } else { a + b });
    let joined = joined.ok_or("no samples")?;
    let samples = joined.reshape([count, bins[0], ratio, bins[1], ratio, c]);
    let y = match largest {
        true => samples.max_axes(&[2, 4], false),
        false => samples.mean_axes(&[2, 4], false),
    };
    one(y.permute(&[0, 3, 1, 2]))
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

/// A transposed convolution along as many axes as the images have.
fn transposed(
    x: &Tensor,
    w: &Tensor,
    windows: &Windows,
    groups: usize,
    more: &[usize],
) -> Result<Tensor, Stop> {
    let count = images(x)?;
    for i in 0..count {
        let whole =
            x.shape()[i + 2].saturating_sub(1) * windows.stride[i] + windows.reach(i) + more[i];
        let cut = windows.padding[i].0 + windows.padding[i].1;
        if x.shape()[i + 2] == 0 || cut >= whole {
            return Err(format!("a padding of {cut} leaves nothing of {whole}").into());
        }
    }
    let n = |i: usize| more[i];
    Ok(match count {
        1 => x.conv_transpose::<1>(w, windows.options(groups), std::array::from_fn(n)),
        2 => x.conv_transpose::<2>(w, windows.options(groups), std::array::from_fn(n)),
        _ => x.conv_transpose::<3>(w, windows.options(groups), std::array::from_fn(n)),
    })
}

fn conv_transpose(call: &Call<'_>) -> Results {
    let (x, w) = (call.tensor(0)?, call.tensor(1)?);
    let count = images(x)?;
    let groups = extent(call.int("group", 1)?)?;
    let fits = w.rank() == x.rank()
        && w.dtype() == x.dtype()
        && w.shape()[0] == x.shape()[1]
        && groups > 0
        && w.shape()[0] % groups == 0
        && w.shape()[2..].iter().all(|&k| k > 0);
    if !fits {
        return Err(format!("filters {} in {groups} groups for {}", w.shape(), x.shape()).into());
    }
    let mut windows = Windows::of(call, x, Some(&w.shape()[2..]))?;
    let mut more = match call.ints("output_padding")? {
        Some(list) if list.len() == count => {
            list.iter().map(|&v| extent(v)).collect::<Result<Vec<_>, _>>()?
        }
        Some(list) => return Err(format!("output_padding {list:?} for {count} axes").into()),
        None => vec![0; count],
    };
    let auto = call.text("auto_pad", "NOTSET")?;
    let sizes = match call.ints("output_shape")? {
        Some(list) if list.len() >= count => {
            let list = &list[list.len() - count..];
            Some(list.iter().map(|&v| extent(v)).collect::<Result<Vec<_>, _>>()?)
        }
        Some(list) => return Err(format!("output_shape {list:?} for {count} axes").into()),
        None if auto.starts_with("SAME") => {
            Some((0..count).map(|i| x.shape()[i + 2] * windows.stride[i]).collect())
        }
        None => None,
    };
    if let Some(sizes) = sizes {
        for (i, &size) in sizes.iter().enumerate() {
            let n = x.shape()[i + 2].saturating_sub(1);
            let whole = n * windows.stride[i] + windows.reach(i) + more[i];
            let cut = whole.saturating_sub(size);
            windows.padding[i] = match auto {
                "SAME_UPPER" => (cut / 2, cut - cut / 2),
                _ => (cut - cut / 2, cut / 2),
            };
            // A larger result than the filters reach has zeros behind.
            more[i] += size.saturating_sub(whole);
        }
    }
    one(biased(transposed(x, w, &windows, groups, &more)?, call.optional(2)?)?)
}

/// Patches added at the places where they were taken: a transposed convolution with filters of a single
/// one each.
fn col2im(call: &Call<'_>) -> Results {
    let x = call.tensor(0)?;
    let (image, block) = (call::shape(&call.known_ints(1)?)?, call::shape(&call.known_ints(2)?)?);
    let (count, taps) = (image.len(), block.iter().product::<usize>());
    let &[n, rows, columns] = &x.shape()[..] else {
        return Err(format!("expected [n, channels · patch, patches], found {}", x.shape()).into());
    };
    if block.len() != count || !(1..=3).contains(&count) || taps == 0 || rows % taps != 0 {
        return Err(format!("patches {block:?} of images {image:?} from {}", x.shape()).into());
    }
    // As the windows of the image that is put together; the operand itself has no axes of that.
    let like = Tensor::full([&[1, 1], &image[..]].concat(), 0.0, x.dtype());
    let windows = Windows::of(call, &like, Some(&block))?;
    windows.check(&like)?;
    let mut places = Vec::new();
    let mut more = Vec::new();
    for i in 0..count {
        let room = image[i] + windows.padding[i].0 + windows.padding[i].1 - windows.reach(i);
        places.push(room / windows.stride[i] + 1);
        more.push(room % windows.stride[i]);
    }
    if places.iter().product::<usize>() != columns {
        return Err(format!("{columns} patches, expected {places:?}").into());
    }
    let channels = rows / taps;
    let filters = Tensor::iota([taps, taps], 0).eq(Tensor::iota([taps, taps], 1));
    let filters = filters.to_dtype(x.dtype()).repeat(&[channels, 1]);
    let filters = filters.reshape([&[rows, 1], &block[..]].concat());
    let x = x.reshape([&[n, rows], &places[..]].concat());
    one(transposed(&x, &filters, &windows, channels, &more)?)
}

/// A convolution whose filters read at places that are moved, each by its own way.
fn deform_conv(call: &Call<'_>) -> Results {
    let (x, w, offset) = (call.tensor(0)?, call.tensor(1)?, call.tensor(2)?);
    let (&[n, c, h, wide], &[o, _, kh, kw]) = (&x.shape()[..], &w.shape()[..]) else {
        return Err(Stop::Unsupported(format!("filters {} of {}", w.shape(), x.shape())));
    };
    let windows = Windows::of(call, x, Some(&[kh, kw]))?;
    windows.check(x)?;
    let size = |i: usize| {
        let room = x.shape()[i + 2] + windows.padding[i].0 + windows.padding[i].1;
        (room - windows.reach(i)) / windows.stride[i] + 1
    };
    let (oh, ow, taps) = (size(0), size(1), kh * kw);
    let (groups, parts) = (extent(call.int("group", 1)?)?, extent(call.int("offset_group", 1)?)?);
    let fits = groups > 0
        && parts > 0
        && c % parts == 0
        && o % groups == 0
        && w.shape()[1] * groups == c
        && **offset.shape() == [n, parts * taps * 2, oh, ow]
        && [w.dtype(), offset.dtype()] == [x.dtype(); 2];
    if !fits {
        let (w, offset) = (w.shape(), offset.shape());
        return Err(format!("filters {w} and offsets {offset} for {}", x.shape()).into());
    }
    let mask = call.optional(4)?;
    if let Some(mask) = mask.filter(|mask| **mask.shape() != [n, parts * taps, oh, ow]) {
        return Err(format!("a mask {} for offsets {}", mask.shape(), offset.shape()).into());
    }
    let offset = offset.reshape([n, parts, taps, 2, oh, ow]);
    let how = GridSample { align_corners: true, ..GridSample::default() };
    let images = x.reshape([n * parts, c / parts, h, wide]);
    let mut columns = Vec::new();
    for tap in 0..taps {
        let moved = |i: usize, at: usize, extent: usize| {
            let way = offset.slice(2, tap, tap + 1).slice(3, i, i + 1).reshape([n * parts, oh, ow]);
            let start = (at * windows.dilation[i]) as f64 - windows.padding[i].0 as f64;
            let own = Tensor::iota([n * parts, oh, ow], i as isize + 1).to_dtype(x.dtype());
            let place = own * windows.stride[i] as f64 + start + way;
            // As a place from −1 to 1; of a single element any scale does.
            place * (2.0 / (extent as f64 - 1.0).max(1.0)) - 1.0
        };
        let grid = Tensor::stack(&[moved(1, tap % kw, wide), moved(0, tap / kw, h)], 3);
        let mut seen = images.grid_sample(&grid, how).reshape([n, parts, c / parts, oh, ow]);
        if let Some(mask) = mask {
            let share = mask.reshape([n, parts, taps, oh, ow]).slice(2, tap, tap + 1);
            seen = seen * share;
        }
        columns.push(seen.reshape([n, c, oh, ow]));
    }
    let columns = Tensor::stack(&columns, 2).reshape([n, c * taps, oh, ow]);
    let filters = w.reshape([o, w.shape()[1] * taps, 1, 1]);
    let y = columns.conv::<2>(&filters, ConvOptions { groups, ..ConvOptions::default() });
    one(biased(y, call.optional(3)?)?)
}

/// The maxima back at their places, and zeros elsewhere.
fn max_unpool(call: &Call<'_>) -> Results {
    let (x, places) = (call.tensor(0)?, call.tensor(1)?);
    images(x)?;
    if places.shape() != x.shape() || places.dtype() != DType::I64 {
        return Err(format!("places {} for {}", places.shape(), x.shape()).into());
    }
    let windows = Windows::of(call, x, None)?;
    let mut small = x.shape().to_vec();
    for (i, n) in small[2..].iter_mut().enumerate() {
        let whole = n.saturating_sub(1) * windows.stride[i] + windows.kernel[i];
        let cut = windows.padding[i].0 + windows.padding[i].1;
        *n = whole.checked_sub(cut).ok_or("the padding is larger than the windows")?;
    }
    let whole = match given(call, 2)? {
        true => call::shape(&call.known_ints(2)?)?,
        false => small.clone(),
    };
    if whole.len() != small.len() || whole[..2] != small[..2] {
        return Err(format!("a result of {whole:?} for {}", x.shape()).into());
    }
    let numel = |dims: &[usize]| dims.iter().product::<usize>();
    call::shape(&whole.iter().map(|&d| d as i64).collect::<Vec<_>>())?;
    // The places count in the smallest result that could have been pooled.
    let flat = Tensor::full([numel(&small)], 0.0, x.dtype());
    let (at, new) = (places.reshape([x.numel()]), x.reshape([x.numel()]));
    if whole == small {
        return one(flat.scatter(0, &at, &new, Scattering::Replace).reshape(whole));
    }
    let flat = Tensor::full([numel(&whole)], 0.0, x.dtype());
    one(flat.scatter(0, &at, &new, Scattering::Replace).reshape(whole))
}

/// Boxes, the best first, without those that overlap a better one of their class: which of them stay is
/// known only by their values.
fn non_max_suppression(call: &Call<'_>) -> Results {
    let (boxes, scores) = (call.known(0)?, call.known(1)?);
    let (&[batch, count, 4], &[same, classes, as_many]) = (&boxes.shape()[..], &scores.shape()[..])
    else {
        return Err(format!("boxes {} and scores {}", boxes.shape(), scores.shape()).into());
    };
    if (batch, count) != (same, as_many) {
        return Err(format!("boxes {} and scores {}", boxes.shape(), scores.shape()).into());
    }
    let most = call.known_scalar(2)?.unwrap_or(0.0).clamp(0.0, count as f64) as usize;
    let overlap = call.known_scalar(3)?.unwrap_or(0.0);
    let least = call.known_scalar(4)?;
    let centred = call.flag("center_point_box", false)?;
    let (corners, scores) = (numbers::<f64>(&boxes)?, numbers::<f64>(&scores)?);
    let corner = |b: usize, i: usize| {
        let at = &corners[(b * count + i) * 4..][..4];
        match centred {
            true => {
                [at[1] - at[3] / 2.0, at[0] - at[2] / 2.0, at[1] + at[3] / 2.0, at[0] + at[2] / 2.0]
            }
            false => [at[0].min(at[2]), at[1].min(at[3]), at[0].max(at[2]), at[1].max(at[3])],
        }
    };
    let mut chosen: Vec<i64> = Vec::new();
    for b in 0..batch {
        for class in 0..classes {
            let score = |i: usize| scores[(b * classes + class) * count + i];
            let mut order: Vec<usize> =
                (0..count).filter(|&i| least.is_none_or(|least| score(i) > least)).collect();
            order.sort_by(|&i, &j| score(j).total_cmp(&score(i)));
            let mut kept: Vec<usize> = Vec::new();
            for i in order {
                if kept.len() == most {
                    break;
                }
                if kept.iter().all(|&k| shared(corner(b, k), corner(b, i)) <= overlap) {
                    kept.push(i);
                    chosen.extend([b, class, i].map(|v| v as i64));
                }
            }
        }
    }
    one(Tensor::from_slice(&chosen, [chosen.len() / 3, 3]))
}

/// The area that two boxes share, over the area of both together.
fn shared(a: [f64; 4], b: [f64; 4]) -> f64 {
    let area = |c: [f64; 4]| (c[2] - c[0]).max(0.0) * (c[3] - c[1]).max(0.0);
    let both = area([a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]);
    let all = area(a) + area(b) - both;
    if all > 0.0 { both / all } else { 0.0 }
}
