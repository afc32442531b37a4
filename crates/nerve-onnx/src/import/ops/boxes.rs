//! Boxes in images.

use super::Operator;
use super::elementwise::one;
use crate::import::call::{self, Call, Results, extent, numbers};
use crate::import::error::Stop;
use nerve_core::{DType, Tensor};

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("RoiAlign", roi_align),
    ("MaxRoiPool", max_roi_pool),
    ("NonMaxSuppression", non_max_suppression),
];

/// The samples of regions along one axis of the images, those of a bin side by side.
struct Samples {
    /// Most samples of a bin.
    most: usize,
    /// Where they are, `[regions, bins · most]`, in the image.
    place: Tensor,
    /// Whether they are outside of it, and count as 0.
    outside: Tensor,
    /// The part of each in the mean of its bin; 0 of those that a smaller region does not have.
    share: Tensor,
}

/// Regions of images and how they are cut into bins.
struct Regions<'a> {
    rois: &'a Tensor,
    scale: f64,
    /// Whether coordinates are of the corners of elements, not of their centres.
    shifted: bool,
    /// How many samples a bin has along each axis; 0 for as many as it has elements.
    ratio: usize,
}

impl Regions<'_> {
    /// Along the axis of `n` elements whose ends stand in columns `first` and `first + 2`.
    fn samples(
        &self,
        call: &Call<'_>,
        first: usize,
        bins: usize,
        n: usize,
    ) -> Result<Samples, Stop> {
        let dtype = self.rois.dtype();
        let corner = |rois: &Tensor, i: usize| {
            rois.slice(1, i, i + 1) * self.scale - if self.shifted { 0.5 } else { 0.0 }
        };
        let size = |rois: &Tensor| {
            let size = corner(rois, first + 2) - corner(rois, first);
            if self.shifted { size } else { size.maximum(1.0) }
        };
        let count = self.rois.shape()[0];
        let ratios: Vec<f64> = match self.ratio {
            0 => numbers::<f64>(&size(&call.known(1)?))?
                .into_iter()
                .map(|size| (size / bins as f64).ceil().clamp(1.0, n as f64))
                .collect(),
            ratio => vec![ratio as f64; count],
        };
        let most = ratios.iter().fold(1.0f64, |a, &b| a.max(b)) as usize;
        call::shape(&[count as i64, bins as i64, most as i64])?;
        let (mut steps, mut shares) = (Vec::new(), Vec::new());
        for ratio in ratios {
            for (bin, sample) in (0..bins).flat_map(|bin| (0..most).map(move |s| (bin, s as f64))) {
                steps.push((bin as f64 + (sample + 0.5) / ratio) / bins as f64);
                shares.push(if sample < ratio { 1.0 / ratio } else { 0.0 });
            }
        }
        let [steps, share] =
            [steps, shares].map(|v| Tensor::from_slice(&v, [count, bins * most]).to_dtype(dtype));
        let place = corner(self.rois, first) + size(self.rois) * steps;
        let outside = place.lt(-1.0).logical_or(place.gt(n as f64));
        Ok(Samples { most, place: place.clamp(0.0, n as f64 - 1.0), outside, share })
    }
}

impl Samples {
    /// The number of the neighbour before or behind each sample, and its weight.
    fn tap(&self, behind: bool, n: usize) -> (Tensor, Tensor) {
        let low = self.place.floor();
        let along = &self.place - &low;
        let (number, weight) = match behind {
            true => ((low + 1.0).minimum(n as f64 - 1.0), along),
            false => (low, 1.0 - along),
        };
        (number.to_dtype(DType::I32), weight)
    }
}

/// For each region, whose corners are rounded to elements, the largest of each bin; 0 where it has none.
///
/// Girshick, "Fast R-CNN", 2015.
fn max_roi_pool(call: &Call<'_>) -> Results {
    let (x, rois) = (call.tensor(0)?, call.tensor(1)?);
    let (&[n, c, h, w], &[count, 5]) = (&x.shape()[..], &rois.shape()[..]) else {
        return Err(format!("regions {} of {}", rois.shape(), x.shape()).into());
    };
    if !x.dtype().is_float() || rois.dtype() != x.dtype() || h == 0 || w == 0 || n == 0 {
        return Err(format!("regions of {} of {} {}", rois.dtype(), x.dtype(), x.shape()).into());
    }
    let bins = call.ints("pooled_shape")?.ok_or("attribute pooled_shape is missing")?;
    let bins = bins.into_iter().map(extent).collect::<Result<Vec<_>, _>>()?;
    // A row of the result for each bin is an operation of its own.
    let &[rows, columns] = &bins[..] else {
        return Err(format!("pooled_shape: expected two extents, found {bins:?}").into());
    };
    if rows == 0 || columns == 0 || rows.max(columns) > 1 << 10 {
        return Err(format!("pooled_shape: expected extents from 1 to 1024, found {bins:?}").into());
    }
    call.scope.afford(&[count, c, h, w], x.dtype())?;
    let scale = call.float("spatial_scale", 1.0)?;
    // Halves away from zero.
    let corner = |i: usize| (rois.slice(1, i, i + 1) * scale + 0.5).floor();
    let batch = rois.slice(1, 0, 1).reshape([count]).to_dtype(DType::I32);
    let mut y = x.index_select(0, &super::shape::from_end(&batch, n)?);
    for (along, (first, bins, n)) in [(3, (1, columns, w)), (2, (2, rows, h))] {
        let start = corner(first);
        let size = (corner(first + 2) - &start + 1.0).maximum(1.0) / bins as f64;
        let place = Tensor::iota([1, n], 1).to_dtype(x.dtype());
        let pooled: Vec<Tensor> = (0..bins)
            .map(|bin| {
                let low = (&size * bin as f64).floor() + &start;
                let high = (&size * (bin + 1) as f64).ceil() + &start;
                let within = place.ge(&low).logical_and(place.lt(&high));
                let dims = if along == 3 { [count, 1, 1, n] } else { [count, 1, n, 1] };
                let none = Tensor::full([], f64::NEG_INFINITY, x.dtype());
                within.reshape(dims).select(&y, &none).max_axes(&[along], true)
            })
            .collect();
        y = Tensor::concat(&pooled, along);
    }
    one(y.eq(f64::NEG_INFINITY).select(&y.zeros_like(), &y))
}

/// For each region the mean, or the largest, of samples spread over its bins.
fn roi_align(call: &Call<'_>) -> Results {
    let (x, rois, batch) = (call.tensor(0)?, call.tensor(1)?, call.tensor(2)?);
    let (&[n, c, h, w], &[count, 4]) = (&x.shape()[..], &rois.shape()[..]) else {
        return Err(format!("regions {} of {}", rois.shape(), x.shape()).into());
    };
    let fits = **batch.shape() == [count] && h > 0 && w > 0 && rois.dtype() == x.dtype();
    if !fits || !x.dtype().is_float() {
        return Err(format!("{} images for {count} regions of {}", batch.shape(), x.shape()).into());
    }
    let bins = [extent(call.int("output_height", 1)?)?, extent(call.int("output_width", 1)?)?];
    let default = if call.opset < 16 { "output_half_pixel" } else { "half_pixel" };
    let shifted = match call.text("coordinate_transformation_mode", default)? {
        "half_pixel" => true,
        "output_half_pixel" => false,
        other => return Err(format!("coordinate_transformation_mode: unknown {other:?}").into()),
    };
    let (scale, ratio) =
        (call.float("spatial_scale", 1.0)?, extent(call.int("sampling_ratio", 0)?)?);
    let regions = Regions { rois, scale, shifted, ratio };
    let rows = regions.samples(call, 1, bins[0], h)?;
    let columns = regions.samples(call, 0, bins[1], w)?;
    let shape = [count, bins[0] * rows.most, bins[1] * columns.most];
    let dims = [shape[0], shape[1], shape[2], c].map(|d| d as i64);
    let points = call::shape(&dims)?[..3].iter().product::<usize>();
    // An image that is not there is none of the others.
    let image = batch.to_dtype(DType::I64).maximum(-1).minimum(n as i64).to_dtype(DType::I32);
    let image = image.reshape([count, 1, 1]) * (h * w) as i32;
    let table = x.permute(&[0, 2, 3, 1]).reshape([n * h * w, c]);
    let outside = rows.outside.unsqueeze(2).logical_or(columns.outside.unsqueeze(1));
    let largest = match call.text("mode", "avg")? {
        "avg" => false,
        "max" => true,
        other => return Err(format!("mode: avg or max, found {other:?}").into()),
    };
    let part = |(down, right)| {
        let ((row, a), (column, b)) = (rows.tap(down, h), columns.tap(right, w));
        let number = row.unsqueeze(2) * w as i32 + column.unsqueeze(1) + &image;
        let weight = a.unsqueeze(2) * b.unsqueeze(1);
        let weight = outside.select(&weight.zeros_like(), &weight);
        let values = table.index_select(0, &number.broadcast_to(shape).reshape([points]));
        values * weight.reshape([points, 1])
    };
    let parts = [(false, false), (false, true), (true, false), (true, true)].map(part);
    let joined = parts.into_iter().reduce(|a, b| if largest { a.maximum(b) } else { a + b });
    let joined = joined.ok_or("no samples")?;
    let share = (rows.share.unsqueeze(2) * columns.share.unsqueeze(1)).reshape([points, 1]);
    let weighed = match largest {
        true => share.gt(0.0).select(&joined, &joined.full_like(f64::NEG_INFINITY)),
        false => joined * share,
    };
    let bins = weighed.reshape([count, bins[0], rows.most, bins[1], columns.most, c]);
    let y = if largest { bins.max_axes(&[2, 4], false) } else { bins.sum_axes(&[2, 4], false) };
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
