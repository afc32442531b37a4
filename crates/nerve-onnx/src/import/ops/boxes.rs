//! Boxes in images.

use super::Operator;
use super::elementwise::one;
use crate::import::call::{self, Call, Results, extent, numbers};
use crate::import::error::Stop;
use nerve_core::{DType, Tensor};

pub(super) const OPERATORS: &[(&str, Operator)] =
    &[("RoiAlign", roi_align), ("NonMaxSuppression", non_max_suppression)];

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
