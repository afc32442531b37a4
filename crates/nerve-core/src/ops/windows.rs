//! Pooling along any number of axes with any border and dilation, of any type: what files from
//! elsewhere may ask for. Where the kernels of images do, they are used.

use super::PoolOptions;
use crate::dtype::DType;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// The windows of a pooling along the last axes of `[n, channels, extents…]`; one entry an axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Extent of the window.
    pub kernel: Vec<usize>,
    /// Distance between windows.
    pub stride: Vec<usize>,
    /// Distance between the elements of a window.
    pub dilation: Vec<usize>,
    /// Padding: before, behind.
    pub padding: Vec<(usize, usize)>,
}

impl Windows {
    /// Windows side by side, one element further each: stride and dilation 1, no padding.
    pub fn new(kernel: &[usize]) -> Windows {
        let ones = vec![1; kernel.len()];
        let padding = vec![(0, 0); kernel.len()];
        Windows { kernel: kernel.to_vec(), stride: ones.clone(), dilation: ones, padding }
    }

    /// From the first to the last element of a window.
    fn reach(&self, i: usize) -> usize {
        self.dilation[i] * self.kernel[i].saturating_sub(1) + 1
    }

    /// With as much padding behind that elements left at the end get a window too (`ceil_mode`),
    /// if it begins inside of the input or the padding before.
    ///
    /// ```
    /// use nerve_core::ops::Windows;
    /// let windows = Windows { stride: vec![2], ..Windows::new(&[2]) };
    /// assert_eq!(windows.completed(&[5]).padding, [(0, 1)]);
    /// assert_eq!(windows.completed(&[4]).padding, [(0, 0)]);
    /// ```
    pub fn completed(&self, extents: &[usize]) -> Windows {
        let mut completed = self.clone();
        for (i, padding) in completed.padding.iter_mut().enumerate().take(extents.len()) {
            let (whole, reach) = (extents[i] + padding.0 + padding.1, self.reach(i));
            let stride = self.stride[i].max(1);
            let last = whole.saturating_sub(reach).div_ceil(stride) * stride;
            if last < extents[i] + padding.0 {
                padding.1 += (last + reach).saturating_sub(whole);
            }
        }
        completed
    }

    /// The number of windows along each axis.
    #[track_caller]
    fn counts(&self, op: &str, x: &Tensor) -> Vec<usize> {
        let n = self.kernel.len();
        let same = [self.stride.len(), self.dilation.len(), self.padding.len()] == [n; 3];
        assert!(
            same && x.rank() == n + 2,
            "{op}: {self:?} of {}, expected [n, channels, {n} extents]",
            x.shape()
        );
        let mut counts = Vec::new();
        for (i, &(before, after)) in self.padding.iter().enumerate() {
            let (room, reach) = (x.shape()[i + 2] + before + after, self.reach(i));
            assert!(
                self.kernel[i] > 0 && self.stride[i] > 0 && self.dilation[i] > 0 && reach <= room,
                "{op}: {self:?} does not fit axis {} of {}",
                i + 2,
                x.shape()
            );
            counts.push((room - reach) / self.stride[i] + 1);
        }
        counts
    }

    /// `x` with its padding.
    fn padded(&self, x: &Tensor, value: f64) -> Tensor {
        x.pad(&[&[(0, 0); 2], &self.padding[..]].concat(), value)
    }

    /// Element `tap` along axis `i` of each window of `x`, which is padded.
    fn element(&self, x: &Tensor, i: usize, tap: usize, count: usize) -> Tensor {
        x.slice_by(i + 2, tap * self.dilation[i], self.stride[i] as isize, count)
    }

    /// The elements of each window combined, one axis after the other.
    fn folded(&self, op: &str, x: &Tensor, f: impl Fn(Tensor, Tensor) -> Tensor) -> Tensor {
        let counts = self.counts(op, x);
        let identity = if op == "max_windows" { lowest(x.dtype()) } else { 0.0 };
        let mut y = self.padded(x, identity);
        for (i, &count) in counts.iter().enumerate() {
            let taps = (0..self.kernel[i]).map(|tap| self.element(&y, i, tap, count));
            y = taps.reduce(&f).expect("a window has an element");
        }
        y
    }

    /// The same along axes that have a kernel, if these are.
    fn plain<const N: usize>(&self, x: &Tensor) -> Option<PoolOptions<N>> {
        let plain = x.dtype().is_float() && self.dilation.iter().all(|&d| d == 1);
        Some(PoolOptions {
            kernel: <[usize; N]>::try_from(&self.kernel[..]).ok().filter(|_| plain)?,
            stride: self.stride[..].try_into().ok()?,
            padding: self.padding[..].try_into().ok()?,
        })
    }
}

/// The smallest value of a type.
fn lowest(dtype: DType) -> f64 {
    match dtype {
        DType::F32 | DType::F64 => f64::NEG_INFINITY,
        DType::I32 => i32::MIN.into(),
        DType::I64 => i64::MIN as f64,
        DType::I8 => i8::MIN.into(),
        DType::U8 | DType::Bool => 0.0,
    }
}

impl Tensor {
    /// The maximum of each window. Padding is never the maximum.
    ///
    /// ```
    /// use nerve_core::{Tensor, ops::Windows};
    /// let x = Tensor::from_slice(&[4, 1, 3, 2], [1, 1, 4]);
    /// let windows = Windows { dilation: vec![2], ..Windows::new(&[2]) };
    /// assert_eq!(x.max_windows(&windows).to_vec::<i32>(), [4, 2]);
    /// ```
    ///
    /// # Panics
    /// If the windows do not fit.
    #[track_caller]
    pub fn max_windows(&self, windows: &Windows) -> Tensor {
        windows.counts("max_windows", self);
        if let Some(options) = windows.plain::<1>(self) {
            return self.max_pool(options);
        }
        if let Some(options) = windows.plain::<2>(self) {
            return self.max_pool(options);
        }
        if let Some(options) = windows.plain::<3>(self) {
            return self.max_pool(options);
        }
        windows.folded("max_windows", self, |a, b| a.maximum(b))
    }

    /// The place (i32) of the maximum of each window, the first of several: row-major in the last
    /// axes of `self`, without padding. Takes a comparison for each element of a window.
    ///
    /// ```
    /// use nerve_core::{Tensor, ops::Windows};
    /// let x = Tensor::from_slice(&[4.0f32, 1.0, 3.0, 2.0], [1, 1, 4]);
    /// assert_eq!(x.argmax_windows(&Windows::new(&[2])).to_vec::<i32>(), [0, 2, 2]);
    /// ```
    ///
    /// # Panics
    /// If the windows do not fit.
    #[track_caller]
    pub fn argmax_windows(&self, windows: &Windows) -> Tensor {
        let counts = windows.counts("argmax_windows", self);
        let image: Shape = self.shape()[2..].into();
        let ones = [&[1, 1], &image[..]].concat();
        let numbers = windows.padded(&Tensor::arange(image.numel()).reshape(ones), -1.0);
        let values = windows.padded(self, lowest(self.dtype()));
        let taps: Shape = windows.kernel.as_slice().into();
        let mut best: Option<(Tensor, Tensor)> = None;
        for tap in 0..taps.numel() {
            let (mut value, mut number, mut rest) = (values.clone(), numbers.clone(), tap);
            for (i, &count) in counts.iter().enumerate().rev() {
                let at = rest % taps[i];
                rest /= taps[i];
                value = windows.element(&value, i, at, count);
                number = windows.element(&number, i, at, count);
            }
            let number = number.broadcast_to(value.shape());
            best = Some(match best {
                None => (value, number),
                Some((top, place)) => {
                    // What stands for padding gives way to anything.
                    let better = value.gt(&top).logical_or(place.lt(0));
                    (better.select(&value, &top), better.select(&number, &place))
                }
            });
        }
        best.expect("a window has an element").1
    }

    /// The sum of each window; padding counts as zeros. Of floats, i32 and i64.
    ///
    /// # Panics
    /// If the windows do not fit.
    #[track_caller]
    pub fn sum_windows(&self, windows: &Windows) -> Tensor {
        let taps: usize = windows.kernel.iter().product();
        windows.counts("sum_windows", self);
        let mean = match windows.kernel.len() {
            1 => windows.plain::<1>(self).map(|o| self.avg_pool(o, o.padding)),
            2 => windows.plain::<2>(self).map(|o| self.avg_pool(o, o.padding)),
            3 => windows.plain::<3>(self).map(|o| self.avg_pool(o, o.padding)),
            _ => None,
        };
        mean.map_or_else(|| windows.folded("sum_windows", self, |a, b| a + b), |y| y * taps as f64)
    }

    /// The mean of each window. Of the padding, so many zeros count before and behind each axis as
    /// `counted` says: none, or those that do not only complete the last window.
    ///
    /// ```
    /// use nerve_core::{Tensor, ops::Windows};
    /// let x = Tensor::from_slice(&[1.0f32, 3.0, 2.0], [1, 1, 3]);
    /// let windows = Windows { stride: vec![2], ..Windows::new(&[2]) }.completed(&[3]);
    /// assert_eq!(x.mean_windows(&windows, &[(0, 0)]).to_vec::<f32>(), [2.0, 2.0]);
    /// ```
    ///
    /// # Panics
    /// If the windows do not fit, one contains nothing that counts, or the elements are no floats.
    #[track_caller]
    pub fn mean_windows(&self, windows: &Windows, counted: &[(usize, usize)]) -> Tensor {
        let mut y = self.sum_windows(windows);
        assert!(counted.len() == windows.kernel.len(), "mean_windows: {counted:?} for {windows:?}");
        for (i, &counted) in counted.iter().enumerate() {
            let before = windows.padding[i].0;
            // From the first to behind the last place that counts, in the padded axis.
            let first = before.saturating_sub(counted.0);
            let end = before + self.shape()[i + 2] + counted.1;
            let mut shares = Vec::new();
            for window in 0..y.shape()[i + 2] {
                let places = (0..windows.kernel[i])
                    .map(|tap| window * windows.stride[i] + tap * windows.dilation[i]);
                let count = places.filter(|place| (first..end).contains(place)).count();
                assert!(count > 0, "mean_windows: window {window} of axis {i} counts nothing");
                shares.push(1.0 / count as f64);
            }
            let mut shape = vec![1; y.rank()];
            shape[i + 2] = shares.len();
            y = y * Tensor::from_slice(&shares, shape).to_dtype(self.dtype());
        }
        y
    }

    /// The p-norm of each window, (Σ|x|ᵖ)^(1/p). The slope of the root at 0 counts as 0.
    ///
    /// # Panics
    /// If the windows do not fit, `p` is not above 0, or the elements are no floats.
    #[track_caller]
    pub fn norm_windows(&self, windows: &Windows, p: f64) -> Tensor {
        assert!(p > 0.0 && p.is_finite(), "norm_windows: the power is above 0, found {p}");
        let powers = if p == 2.0 { self.square() } else { self.abs().powf(p) };
        let sums = powers.sum_windows(windows);
        let zero = sums.eq(0.0);
        let root = zero.select(&sums.full_like(1.0), &sums).powf(1.0 / p);
        zero.select(&sums.zeros_like(), &root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_gradients, panic_message, sample};

    fn cases() -> Vec<(Windows, Vec<usize>)> {
        let plane = Windows {
            kernel: vec![2, 3],
            stride: vec![1, 2],
            dilation: vec![2, 1],
            padding: vec![(1, 0), (2, 1)],
        };
        let four = Windows { stride: vec![1, 1, 1, 2], ..Windows::new(&[2, 1, 2, 2]) };
        let line = Windows { padding: vec![(1, 1)], ..Windows::new(&[3]) };
        let dilated = Windows { dilation: vec![2], ..line.clone() };
        vec![
            (plane, vec![1, 2, 4, 5]),
            (four, vec![1, 1, 2, 2, 3, 5]),
            (line, vec![2, 1, 4]),
            (dilated, vec![2, 1, 4]),
        ]
    }

    /// For each window the elements in it: place in the image, and value.
    fn seen(x: &Tensor, w: &Windows) -> Vec<Vec<(usize, f64)>> {
        let counts: Shape = w.counts("test", x).into();
        let (image, taps): (Shape, Shape) = (x.shape()[2..].into(), w.kernel.as_slice().into());
        let xs = x.to_vec::<f64>();
        let spread = |mut at: usize, of: &Shape| {
            let mut point = vec![0; of.rank()];
            for i in (0..of.rank()).rev() {
                point[i] = at % of[i];
                at /= of[i];
            }
            point
        };
        let window = |at: usize| {
            let (channel, at) = (at / counts.numel(), spread(at % counts.numel(), &counts));
            let place = |tap: usize| {
                let tap = spread(tap, &taps);
                let mut flat = 0;
                for i in 0..tap.len() {
                    let p = at[i] * w.stride[i] + tap[i] * w.dilation[i];
                    let p = p.checked_sub(w.padding[i].0).filter(|&p| p < image[i])?;
                    flat = flat * image[i] + p;
                }
                Some((flat, xs[channel * image.numel() + flat]))
            };
            (0..taps.numel()).filter_map(place).collect()
        };
        (0..x.shape()[0] * x.shape()[1] * counts.numel()).map(window).collect()
    }

    #[test]
    fn windows_of_any_rank_equal_their_definition() {
        for (w, shape) in cases() {
            let x = sample(shape, 1);
            let none = vec![(0, 0); w.kernel.len()];
            let [max, sum, mean, norm] = [
                x.max_windows(&w),
                x.sum_windows(&w),
                x.mean_windows(&w, &none),
                x.norm_windows(&w, 2.0),
            ]
            .map(|y| y.to_vec::<f64>());
            let whole = (&x * 100.0).to_dtype(DType::I32);
            let top = whole.max_windows(&w).to_vec::<i32>();
            let places = x.argmax_windows(&w).to_vec::<i32>();
            for (i, all) in seen(&x, &w).into_iter().enumerate() {
                let total: f64 = all.iter().map(|(_, x)| x).sum();
                let squares: f64 = all.iter().map(|(_, x)| x * x).sum();
                let best = all.iter().copied().reduce(|a, b| if b.1 > a.1 { b } else { a });
                let (place, best) = best.expect("a window sees something");
                assert_eq!((max[i], places[i]), (best, place as i32), "{w:?}");
                assert_eq!(top[i], (best * 100.0) as i32);
                assert!((sum[i] - total).abs() < 1e-12, "{w:?}");
                assert!((mean[i] - total / all.len() as f64).abs() < 1e-12, "{w:?}");
                assert!((norm[i] - squares.sqrt()).abs() < 1e-12, "{w:?}");
            }
        }
    }

    #[test]
    fn small_integers_and_borders() {
        let x = Tensor::from_slice(&[-5i8, -7, -100], [1, 1, 3]);
        let w = Windows { padding: vec![(1, 1)], ..Windows::new(&[2]) };
        assert_eq!(x.max_windows(&w).to_vec::<i8>(), [-5, -5, -7, -100]);
        let low = Tensor::full([1, 1, 2], f64::NEG_INFINITY, DType::F32);
        assert_eq!(low.argmax_windows(&w).to_vec::<i32>(), [0, 0, 1]);
        let w = Windows { stride: vec![3], padding: vec![(0, 2)], ..Windows::new(&[2]) };
        // A further window would begin in the padding behind.
        assert_eq!(w.completed(&[4]).padding, [(0, 2)]);
        assert_eq!(w.completed(&[3]).padding, [(0, 2)]);
    }

    #[test]
    fn gradients() {
        for (w, shape) in cases() {
            let (inputs, all) = ([sample(shape, 1)], w.padding.clone());
            check_gradients(&inputs, |x| x[0].max_windows(&w));
            check_gradients(&inputs, |x| x[0].mean_windows(&w, &all));
            check_gradients(&inputs, |x| x[0].norm_windows(&w, 3.0));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let x = Tensor::ones([1, 2, 4]);
        let message = panic_message(|| x.max_windows(&Windows::new(&[2, 2])));
        assert!(message.contains("max_windows:") && message.contains("[1, 2, 4]"), "{message}");
        let wide = Windows { dilation: vec![4], ..Windows::new(&[2]) };
        let message = panic_message(|| x.sum_windows(&wide));
        assert!(message.contains("does not fit axis 2"), "{message}");
    }
}
