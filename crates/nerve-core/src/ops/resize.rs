//! Resizing by interpolation along some axes. What each element of the result takes from where is
//! known when the graph is built: a few picks along the axis with their weights, or, where these
//! are many, a product with a matrix.

use crate::shape::Shape;
use crate::tensor::Tensor;

/// How values between the elements are made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Interpolation {
    /// The element at the rounded coordinate.
    Nearest(Rounding),
    /// Linear between neighbours; along two axes bilinear.
    Linear,
    /// Cubic convolution of four neighbours (Keys, 1981) with this parameter: −0.75 in PyTorch and
    /// ONNX, −0.5 in Pillow and TensorFlow.
    Cubic(f64),
}

/// How a coordinate becomes a whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// The nearest, of two the smaller.
    HalfDown,
    /// The nearest, of two the larger.
    HalfUp,
    /// The next smaller.
    Floor,
    /// The next larger.
    Ceil,
}

/// Which coordinate of the input an element of the result has. With i its number, s the scale, n
/// and m the extents before and after:
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coordinates {
    /// (i + ½)/s − ½: elements are small squares, and the whole is stretched.
    HalfPixel,
    /// As `HalfPixel`, with what rounding m to a whole number cut off shared between both ends.
    HalfPixelSymmetric,
    /// As `HalfPixel`, but 0 where m is 1.
    HalfPixelOrZero,
    /// (i + ½)/s.
    HalfPixelUnshifted,
    /// i (n − 1)/(m − 1): elements are points, and the outermost stay; 0 where m is 1.
    AlignCorners,
    /// i/s.
    Asymmetric,
    /// The part of the axis between two fractions of it, as `AlignCorners`; outside of the axis
    /// the result is [`Resize::outside`].
    Crop,
}

/// How to resize; the default is linear with `HalfPixel`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resize {
    /// How values are made.
    pub interpolation: Interpolation,
    /// Where they are read.
    pub coordinates: Coordinates,
    /// Whether the interpolation is stretched where the result is smaller, so that all elements
    /// count; not of `Nearest`.
    pub antialias: bool,
    /// Whether neighbours beyond the ends do not count, rather than being the last elements.
    pub exclude_outside: bool,
    /// The value outside of a cropped input.
    pub outside: f64,
}

impl Default for Resize {
    fn default() -> Self {
        Resize {
            interpolation: Interpolation::Linear,
            coordinates: Coordinates::HalfPixel,
            antialias: false,
            exclude_outside: false,
            outside: 0.0,
        }
    }
}

/// What happens to one axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resized {
    /// The axis.
    pub axis: usize,
    /// Its new extent.
    pub extent: usize,
    /// By what it is stretched; about the new extent over the old one.
    pub scale: f64,
    /// The part that [`Coordinates::Crop`] takes: start and end as fractions of the axis.
    pub part: (f64, f64),
}

impl Resized {
    /// Axis `axis` of `shape` gets `extent` elements.
    pub fn to(shape: &Shape, axis: usize, extent: usize) -> Resized {
        let scale = extent as f64 / shape[axis] as f64;
        Resized { axis, extent, scale, part: (0.0, 1.0) }
    }

    /// Axis `axis` of `shape` is stretched by `scale`; its extent is rounded down.
    pub fn by(shape: &Shape, axis: usize, scale: f64) -> Resized {
        let extent = (shape[axis] as f64 * scale).floor() as usize;
        Resized { axis, extent, scale, part: (0.0, 1.0) }
    }

    /// The coordinate of element `i` in an axis of `n`.
    fn coordinate(&self, i: usize, n: usize, of: Coordinates) -> f64 {
        let (i, length, m) = (i as f64, n as f64, self.extent as f64);
        let half_pixel = (i + 0.5) / self.scale - 0.5;
        // Before it was rounded down.
        let exact = self.scale * length;
        match of {
            Coordinates::HalfPixel => half_pixel,
            Coordinates::HalfPixelSymmetric => length / 2.0 * (1.0 - m / exact) + half_pixel,
            Coordinates::HalfPixelOrZero => {
                if self.extent > 1 {
                    half_pixel
                } else {
                    0.0
                }
            }
            Coordinates::HalfPixelUnshifted => (i + 0.5) / self.scale,
            Coordinates::AlignCorners if self.extent == 1 || exact == 1.0 => 0.0,
            Coordinates::AlignCorners => i * (length - 1.0) / (exact - 1.0),
            Coordinates::Asymmetric => i / self.scale,
            Coordinates::Crop => {
                let (start, end) = self.part;
                let along = if self.extent > 1 { i / (m - 1.0) } else { 0.5 };
                (length - 1.0) * (start + along * (end - start))
            }
        }
    }

    /// For each new element the old ones it is made of, with their weights.
    fn picks(&self, n: usize, how: &Resize) -> Vec<Vec<(usize, f64)>> {
        let pick = |i: usize| {
            let x = self.coordinate(i, n, how.coordinates);
            let x = if x.is_finite() { x } else { 0.0 };
            let (support, a) = match how.interpolation {
                Interpolation::Nearest(rounding) => return vec![(rounding.apply(x, n), 1.0)],
                Interpolation::Linear => (1.0, None),
                Interpolation::Cubic(a) => (2.0, Some(a)),
            };
            let shrink = if how.antialias { self.scale.min(1.0) } else { 1.0 };
            let first = (-support / shrink).floor() + 1.0;
            let base = x.floor();
            let last = 1.0 - first;
            let mut weights: Vec<(f64, f64)> = (first as i64..=last as i64)
                .map(|tap| (base + tap as f64, kernel((base + tap as f64 - x) * shrink, a)))
                .collect();
            if how.exclude_outside {
                weights.retain(|(at, _)| (0.0..n as f64).contains(at));
            }
            let sum: f64 = weights.iter().map(|(_, w)| w).sum();
            let normal = if how.antialias || how.exclude_outside { sum } else { 1.0 };
            let near = |at: f64| at.clamp(0.0, n as f64 - 1.0) as usize;
            weights.into_iter().map(|(at, w)| (near(at), w / normal)).collect()
        };
        (0..self.extent).map(pick).collect()
    }
}

impl Rounding {
    fn apply(self, x: f64, n: usize) -> usize {
        let whole = match self {
            Rounding::HalfDown => (x - 0.5).ceil(),
            Rounding::HalfUp => (x + 0.5).floor(),
            Rounding::Floor => x.floor(),
            Rounding::Ceil => x.ceil(),
        };
        whole.clamp(0.0, n as f64 - 1.0) as usize
    }
}

/// The weight at distance `t`: a triangle, or the cubic with parameter `a`.
fn kernel(t: f64, a: Option<f64>) -> f64 {
    let t = t.abs();
    match a {
        None => (1.0 - t).max(0.0),
        Some(a) if t <= 1.0 => ((a + 2.0) * t - (a + 3.0)) * t * t + 1.0,
        Some(a) if t < 2.0 => a * (((t - 5.0) * t + 8.0) * t - 4.0),
        Some(_) => 0.0,
    }
}

/// Most elements that are picked one by one; for more, a product is less work.
const FEW: usize = 8;

/// `x` with one axis made of weighted picks.
fn picked(x: &Tensor, axis: usize, picks: &[Vec<(usize, f64)>]) -> Tensor {
    let taps = picks.iter().map(Vec::len).max().unwrap_or(1);
    let along = |values: &[f64]| {
        let mut shape = vec![1; x.rank()];
        shape[axis] = values.len();
        Tensor::from_slice(values, shape).to_dtype(x.dtype())
    };
    if taps > FEW {
        let n = x.shape()[axis];
        let mut matrix = vec![0.0f64; n * picks.len()];
        for (row, picks) in matrix.chunks_exact_mut(n).zip(picks) {
            picks.iter().for_each(|&(at, weight)| row[at] += weight);
        }
        let matrix = Tensor::from_slice(&matrix, [picks.len(), n]).to_dtype(x.dtype());
        let last = x.rank() as isize - 1;
        return x.transpose(axis as isize, last).matmul(&matrix.t()).transpose(axis as isize, last);
    }
    let tap = |tap: usize| {
        let all: Vec<(usize, f64)> =
            picks.iter().map(|p| p.get(tap).copied().unwrap_or((0, 0.0))).collect();
        let index: Vec<i32> = all.iter().map(|&(at, _)| at as i32).collect();
        let weights: Vec<f64> = all.iter().map(|&(_, weight)| weight).collect();
        let part = x.index_select(axis as isize, &Tensor::from_slice(&index, [index.len()]));
        if weights.iter().all(|&w| w == 1.0) { part } else { part * along(&weights) }
    };
    (0..taps).map(tap).reduce(|a, b| a + b).expect("at least one pick")
}

impl Tensor {
    /// Resized along some axes by interpolation. ONNX calls this `Resize`, PyTorch `interpolate`.
    ///
    /// Nearest takes any type, the others f32 and f64.
    ///
    /// ```
    /// use nerve_core::{Tensor, ops::{Resize, Resized}};
    /// let x = Tensor::from_slice(&[0.0f32, 4.0], [2]);
    /// let y = x.resize(&[Resized::to(x.shape(), 0, 4)], &Resize::default());
    /// assert_eq!(y.to_vec::<f32>(), [0.0, 1.0, 3.0, 4.0]);
    /// ```
    ///
    /// # Panics
    /// If there is no such axis, an axis is empty, or a scale is not above 0.
    #[track_caller]
    pub fn resize(&self, axes: &[Resized], how: &Resize) -> Tensor {
        let mut y = self.clone();
        for resized in axes {
            let &Resized { axis, extent, scale, .. } = resized;
            assert!(
                axis < self.rank() && self.shape()[axis] > 0 && scale > 0.0 && scale.is_finite(),
                "resize: {resized:?} of {}",
                self.shape()
            );
            let n = self.shape()[axis];
            let same = extent == n && scale == 1.0 && how.coordinates != Coordinates::Crop;
            if !same {
                y = picked(&y, axis, &resized.picks(n, how));
            }
        }
        if how.coordinates != Coordinates::Crop {
            return y;
        }
        for resized in axes {
            let (n, mut shape) = (self.shape()[resized.axis] as f64, vec![1; self.rank()]);
            let inside = |i: usize| {
                let x = resized.coordinate(i, n as usize, how.coordinates);
                (0.0..=n - 1.0).contains(&x)
            };
            let inside: Vec<bool> = (0..resized.extent).map(inside).collect();
            shape[resized.axis] = inside.len();
            if inside.contains(&false) {
                let inside = Tensor::from_slice(&inside, shape);
                y = inside.select(&y, &y.full_like(how.outside));
            }
        }
        y
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_gradients, panic_message, sample};

    fn line(n: usize) -> Tensor {
        Tensor::from_slice(&(1..=n).map(|v| v as f64).collect::<Vec<_>>(), [n])
    }

    fn resized(x: &Tensor, extent: usize, how: Resize) -> Vec<f64> {
        x.resize(&[Resized::to(x.shape(), 0, extent)], &how).to_vec()
    }

    #[track_caller]
    fn near(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        let close = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(close, "{found:?} {expected:?}");
    }

    /// The numbers are those of the examples in the specification of ONNX's `Resize`.
    #[test]
    fn coordinates_of_every_kind() {
        let plain = Resize::default();
        let with = |coordinates| Resize { coordinates, ..plain };
        near(&resized(&line(2), 4, plain), &[1.0, 1.25, 1.75, 2.0]);
        near(
            &resized(&line(2), 4, with(Coordinates::AlignCorners)),
            &[1.0, 4.0 / 3.0, 5.0 / 3.0, 2.0],
        );
        near(&resized(&line(2), 4, with(Coordinates::Asymmetric)), &[1.0, 1.5, 2.0, 2.0]);
        near(&resized(&line(4), 1, with(Coordinates::HalfPixelOrZero)), &[1.0]);
        near(&resized(&line(4), 1, plain), &[2.5]);
        let by = |x: &Tensor, scale, how| {
            x.resize(&[Resized::by(x.shape(), 0, scale)], &how).to_vec::<f64>()
        };
        near(&by(&line(4), 0.6, plain), &[1.3333333, 3.0]);
        near(&by(&line(4), 0.6, with(Coordinates::AlignCorners)), &[1.0, 3.142857]);
        near(&by(&line(4), 0.6, with(Coordinates::HalfPixelSymmetric)), &[1.6666667, 3.3333333]);
        let crop = Resize { coordinates: Coordinates::Crop, outside: 10.0, ..plain };
        let part = Resized { part: (0.4, 1.2), ..Resized::to(&[4].into(), 0, 3) };
        near(&line(4).resize(&[part], &crop).to_vec::<f64>(), &[2.2, 3.4, 10.0]);
    }

    #[test]
    fn interpolations_of_every_kind() {
        let nearest = |rounding, coordinates| Resize {
            interpolation: Interpolation::Nearest(rounding),
            coordinates,
            ..Resize::default()
        };
        use Coordinates::{Asymmetric, HalfPixel};
        near(&resized(&line(2), 4, nearest(Rounding::HalfDown, HalfPixel)), &[1.0, 1.0, 2.0, 2.0]);
        near(
            &resized(&line(4), 8, nearest(Rounding::Floor, Asymmetric))[..4],
            &[1.0, 1.0, 2.0, 2.0],
        );
        near(
            &resized(&line(4), 8, nearest(Rounding::Ceil, Asymmetric))[..4],
            &[1.0, 2.0, 2.0, 3.0],
        );
        near(&resized(&line(4), 2, nearest(Rounding::HalfUp, HalfPixel)), &[2.0, 4.0]);
        near(&resized(&line(4), 2, nearest(Rounding::HalfDown, HalfPixel)), &[1.0, 3.0]);
        let cubic = Resize { interpolation: Interpolation::Cubic(-0.75), ..Resize::default() };
        // From PyTorch 2: interpolate(…, mode="bicubic").
        let expected = [
            0.89453125, 1.19140625, 1.66796875, 2.296875, 2.703125, 3.33203125, 3.80859375,
            4.10546875,
        ];
        near(&resized(&line(4), 8, cubic), &expected);
        let excluded = Resize { exclude_outside: true, ..cubic };
        let y = resized(&line(4), 8, excluded);
        assert!((y.iter().sum::<f64>() - 20.0).abs() < 1e-9, "{y:?}");
    }

    /// Stretched where the result is smaller: all elements count, and a constant stays one.
    #[test]
    fn antialiasing_sees_every_element() {
        for interpolation in [Interpolation::Linear, Interpolation::Cubic(-0.75)] {
            let how = Resize { interpolation, antialias: true, ..Resize::default() };
            for (n, m) in [(4, 2), (40, 3), (5, 4), (4, 9)] {
                let x = Tensor::full([n], 3.0, crate::DType::F64);
                near(&resized(&x, m, how), &vec![3.0; m]);
                let x = sample([n], 7);
                let slope =
                    crate::grad(&x.resize(&[Resized::to(x.shape(), 0, m)], &how).sum(), &[&x]);
                assert!(slope[0].to_vec::<f64>().iter().all(|&s| s != 0.0));
            }
        }
        // From PyTorch 2: interpolate(…, antialias=True).
        let x = Tensor::from_slice(&[0.0f64, 8.0, 1.0, -3.0, 5.0, 2.0, 2.0], [7]);
        let how = Resize { exclude_outside: true, antialias: true, ..Resize::default() };
        near(&resized(&x, 3, how), &[3.642857142857143, 0.7647058823529413, 2.642857142857143]);
        let how = Resize { interpolation: Interpolation::Cubic(-0.5), ..how };
        near(&resized(&x, 3, how), &[3.560483870967741, 0.7899877899877897, 2.649193548387097]);
    }

    #[test]
    fn several_axes_any_type_and_gradients() {
        let bytes = Tensor::from_slice(&[1u8, 2, 3, 4], [2, 2]);
        let nearest = Resize {
            interpolation: Interpolation::Nearest(Rounding::Floor),
            coordinates: Coordinates::Asymmetric,
            ..Resize::default()
        };
        let both = [Resized::by(bytes.shape(), 0, 2.0), Resized::by(bytes.shape(), 1, 1.5)];
        let y = bytes.resize(&both, &nearest);
        assert_eq!(y.to_vec::<u8>(), [1, 1, 2, 1, 1, 2, 3, 3, 4, 3, 3, 4]);
        for interpolation in [Interpolation::Linear, Interpolation::Cubic(-0.5)] {
            for antialias in [false, true] {
                let how = Resize { interpolation, antialias, ..Resize::default() };
                check_gradients(&[sample([1, 9, 2], 1)], |x| {
                    let shape = x[0].shape();
                    x[0].resize(&[Resized::to(shape, 1, 2), Resized::to(shape, 2, 3)], &how)
                });
            }
        }
        let x = sample([2, 0], 1);
        let message = panic_message(|| x.resize(&[Resized::to(x.shape(), 1, 2)], &nearest));
        assert!(message.contains("resize: Resized") && message.contains("[2, 0]"), "{message}");
    }
}
