//! Patches of images, put together at places that are fixed or computed.

use super::Operator;
use super::conv::{Windows, biased};
use super::elementwise::one;
use super::image::{given, images};
use crate::import::call::{self, Call, Results, extent};
use crate::import::error::Stop;
use nerve_core::ops::{ConvOptions, GridSample, Scattering};
use nerve_core::{DType, Tensor};

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("Col2Im", col2im),
    ("ConvTranspose", conv_transpose),
    ("DeformConv", deform_conv),
    ("MaxUnpool", max_unpool),
];

/// A transposed convolution along as many axes as the images have.
fn transposed(
    x: &Tensor,
    w: &Tensor,
    windows: &Windows,
    groups: usize,
    more: &[usize],
) -> Result<Tensor, Stop> {
    let count = images(x)?;
    for (i, &n) in x.shape()[2..].iter().enumerate() {
        let whole = n.saturating_sub(1) * windows.stride[i] + windows.reach(i) + more[i];
        let cut = windows.padding[i].0 + windows.padding[i].1;
        if n == 0 || cut >= whole {
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
    for (i, &n) in image.iter().enumerate() {
        let room = n + windows.padding[i].0 + windows.padding[i].1 - windows.reach(i);
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
    let fits = whole.iter().zip(&small).all(|(whole, small)| whole >= small);
    if !fits {
        return Err(format!("a result of {whole:?} for maxima of {small:?}").into());
    }
    call::shape(&whole.iter().map(|&d| d as i64).collect::<Vec<_>>())?;
    // The places count in the smallest result that could have been pooled.
    let flat = Tensor::full([small.iter().product::<usize>()], 0.0, x.dtype());
    let (at, new) = (places.reshape([x.numel()]), x.reshape([x.numel()]));
    let y = flat.scatter(0, &at, &new, Scattering::Replace).reshape(&small[..]);
    let missing: Vec<(usize, usize)> = whole.iter().zip(&small).map(|(w, s)| (0, w - s)).collect();
    one(y.pad(&missing, 0.0))
}
