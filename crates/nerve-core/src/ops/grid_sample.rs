//! Sampling at places that a second tensor names: spatial transformers, deformable attention,
//! regions of interest. Made of rows picked by number, with weights that depend on the places.

use crate::shape::Shape;
use crate::tensor::Tensor;

/// What lies beyond the border of an image that is sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beyond {
    /// Zeros.
    Zeros,
    /// The nearest element of the border.
    Border,
    /// The image, mirrored: at the edges of the border's elements, or, with aligned corners, at
    /// their centres.
    Reflection,
}

/// How values between the elements are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// The nearest element, of two the even one; no gradient flows to the places.
    Nearest,
    /// Linear between neighbours along each axis.
    Linear,
    /// Cubic convolution of four neighbours along each axis (Keys, 1981), with parameter −0.75.
    Cubic,
}

/// How to sample; the default is linear, with zeros beyond and −1 and 1 at the edges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GridSample {
    /// How values are made.
    pub sampling: Sampling,
    /// What lies beyond the border.
    pub beyond: Beyond,
    /// Whether −1 and 1 are the centres of the outermost elements rather than their edges.
    pub align_corners: bool,
}

impl Default for GridSample {
    fn default() -> Self {
        GridSample { sampling: Sampling::Linear, beyond: Beyond::Zeros, align_corners: false }
    }
}

/// The elements that a sample reads along one axis: their numbers, as floats, and weights.
type Taps = Vec<(Tensor, Option<Tensor>)>;

impl GridSample {
    /// From −1…1 to the numbers of the elements of an axis of `n`.
    fn place(&self, x: &Tensor, n: usize) -> Tensor {
        let n = n as f64;
        match self.align_corners {
            true => (x + 1.0) * ((n - 1.0) / 2.0),
            false => ((x + 1.0) * n - 1.0) * 0.5,
        }
    }

    /// `x` brought back onto an axis of `n`, unless zeros lie beyond.
    fn inside(&self, x: &Tensor, n: usize) -> Tensor {
        let last = n as f64 - 1.0;
        match self.beyond {
            Beyond::Zeros => x.clone(),
            Beyond::Border => x.clamp(0.0, last),
            Beyond::Reflection => {
                let (low, span) = if self.align_corners { (0.0, last) } else { (-0.5, n as f64) };
                if span == 0.0 {
                    return x.zeros_like();
                }
                // Up and down again with twice the period.
                let along = (x - low).abs().remainder(2.0 * span);
                let folded = along.minimum(&(2.0 * span - &along));
                (folded + low).clamp(0.0, last)
            }
        }
    }

    fn taps(&self, x: &Tensor, n: usize) -> Taps {
        if self.sampling == Sampling::Nearest {
            return vec![(self.inside(x, n).round(), None)];
        }
        let x = if self.sampling == Sampling::Linear { self.inside(x, n) } else { x.clone() };
        let base = x.floor().detach();
        let t = &x - &base;
        if self.sampling == Sampling::Linear {
            return vec![(base.clone(), Some(1.0 - &t)), (base + 1.0, Some(t))];
        }
        let offsets = [-1.0, 0.0, 1.0, 2.0];
        let weights = cubic(&t);
        let taps = offsets.into_iter().zip(weights);
        taps.map(|(offset, w)| (self.inside(&(&base + offset), n), Some(w))).collect()
    }
}

/// The weights of four neighbours, the second of which lies `t` to the left.
fn cubic(t: &Tensor) -> [Tensor; 4] {
    const A: f64 = -0.75;
    let near = |t: &Tensor| (t * (A + 2.0) - (A + 3.0)) * t.square() + 1.0;
    let far = |t: &Tensor| ((t - 5.0) * t + 8.0) * t * A - 4.0 * A;
    [far(&(t + 1.0)), near(t), near(&(1.0 - t)), far(&(2.0 - t))]
}

impl Tensor {
    /// Of `[n, c, extents…]` along any number of axes, for each place of `grid`,
    /// `[n, extents of the result…, axes]`, the value there: `[n, c, extents of the result…]`.
    ///
    /// The places count from −1 to 1 over each axis, the *last* axis of the image first, as
    /// PyTorch and ONNX have it (`grid_sample`, `GridSample`). A place that is NaN counts as −1.
    /// Jaderberg et al., "Spatial transformer networks", 2015.
    ///
    /// ```
    /// use nerve_core::{Tensor, ops::GridSample};
    /// let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0], [1, 1, 2, 2]);
    /// let middle = Tensor::zeros([1, 1, 1, 2]);
    /// assert_eq!(x.grid_sample(&middle, GridSample::default()).item::<f32>(), 2.5);
    /// ```
    ///
    /// # Panics
    /// If the shapes do not fit, or the elements are no floats of one type.
    #[track_caller]
    pub fn grid_sample(&self, grid: &Tensor, how: GridSample) -> Tensor {
        let axes = self.rank().wrapping_sub(2);
        let (xs, gs) = (self.shape().clone(), grid.shape().clone());
        assert!(
            (1..=8).contains(&axes)
                && gs.rank() == xs.rank()
                && gs[0] == xs[0]
                && gs[axes + 1] == axes
                && xs[2..].iter().all(|&n| n > 0)
                && self.dtype().is_float()
                && grid.dtype() == self.dtype(),
            "grid_sample: {} {xs} at {} {gs}: expected floats [n, c, extents…] and \
             [n, extents of the result…, axes]",
            self.dtype(),
            grid.dtype()
        );
        let (n, c, image) = (xs[0], xs[1], &xs[2..]);
        let points: usize = gs[1..=axes].iter().product();
        let size: usize = image.iter().product();
        assert!(i32::try_from(n * size).is_ok(), "grid_sample: {xs} is too large for i32 indices");
        let table = self.reshape([n, c, size]).permute(&[0, 2, 1]).reshape([n * size, c]);
        let grid = grid.reshape([n, points, axes]);
        let grid = grid.is_nan().select(&grid.full_like(-1.0), &grid);
        let taps: Vec<Taps> = (image.iter().enumerate())
            .map(|(i, &extent)| {
                let place = grid.slice(2, axes - 1 - i, axes - i).squeeze(2);
                // Far away is as good as outside, and stays in the range of i32.
                let place = how.place(&place, extent).clamp(-1e9, 1e9);
                how.taps(&place, extent)
            })
            .collect();
        let mut sum: Option<Tensor> = None;
        for mut number in 0..taps.iter().map(Vec::len).product() {
            let mut chosen = Vec::new();
            for taps in &taps {
                chosen.push(&taps[number % taps.len()]);
                number /= taps.len();
            }
            let value = self.sampled(&table, &chosen, image, how.beyond);
            sum = Some(sum.map_or(value.clone(), |sum| sum + value));
        }
        let y = sum.expect("at least one tap").reshape([n, points, c]).permute(&[0, 2, 1]);
        y.reshape([&[n, c], &gs[1..=axes]].concat())
    }

    /// The elements that one tap of each axis names, times their weights: `[n · points, c]`.
    fn sampled(
        &self,
        table: &Tensor,
        taps: &[&(Tensor, Option<Tensor>)],
        image: &[usize],
        beyond: Beyond,
    ) -> Tensor {
        let shape: Shape = taps[0].0.shape().clone();
        let size: usize = image.iter().product();
        let mut number = Tensor::iota(&shape, 0) * size as i32;
        let mut stride = size;
        let (mut weight, mut outside): (Option<Tensor>, Option<Tensor>) = (None, None);
        for ((at, share), &extent) in taps.iter().zip(image) {
            stride /= extent;
            let last = extent as f64 - 1.0;
            let whole = at.clamp(0.0, last).to_dtype(crate::DType::I32);
            number = number + whole * stride as i32;
            if beyond == Beyond::Zeros {
                let wrong = at.lt(0.0).logical_or(at.gt(last));
                outside = Some(outside.map_or(wrong.clone(), |o| o.logical_or(wrong)));
            }
            if let Some(share) = share {
                weight = Some(weight.map_or(share.clone(), |w| w * share));
            }
        }
        let count = shape.numel();
        let mut value = table.index_select(0, &number.detach().reshape([count]));
        if let Some(outside) = outside {
            value = outside.reshape([count, 1]).select(&value.zeros_like(), &value);
        }
        match weight {
            Some(weight) => value * weight.reshape([count, 1]),
            None => value,
        }
    }
}

#[cfg(test)]
mod golden;

#[cfg(test)]
mod tests {
    use super::golden::GOLDEN;
    use super::*;
    use crate::testing::{check_gradients, panic_message, sample};

    const PLACES: [f64; 20] = [
        -1.0, -1.0, 0.0, 0.3, 0.9, -0.2, 1.3, 0.1, -2.6, 0.4, 3.7, -1.9, 0.5, 1.0, -0.7, 2.2, 0.05,
        -0.95, 1.0, 1.0,
    ];

    #[test]
    fn agrees_with_pytorch() {
        let x = Tensor::arange(12).to_dtype(crate::DType::F64).square().reshape([1, 1, 3, 4]);
        let grid = Tensor::from_slice(&PLACES, [1, 2, 5, 2]);
        for (sampling, beyond, align_corners, expected) in GOLDEN {
            let how = GridSample { sampling, beyond, align_corners };
            let found = x.grid_sample(&grid, how).to_vec::<f64>();
            let close = found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-9);
            assert!(close, "{how:?}: {found:?} {expected:?}");
        }
    }

    #[test]
    fn gradients_to_the_image_and_to_the_places() {
        let grid = sample([2, 3, 2], 2) * 0.9;
        for sampling in [Sampling::Linear, Sampling::Cubic] {
            for beyond in [Beyond::Zeros, Beyond::Border, Beyond::Reflection] {
                let how = GridSample { sampling, beyond, ..GridSample::default() };
                let inputs = [sample([1, 2, 3, 2], 1), grid.slice(0, 0, 1).unsqueeze(1)];
                check_gradients(&inputs, |x| x[0].grid_sample(&x[1], how));
            }
        }
        let line = [sample([2, 1, 4], 3), sample([2, 3, 1], 4)];
        check_gradients(&line, |x| x[0].grid_sample(&x[1], GridSample::default()));
        let near = GridSample { sampling: Sampling::Nearest, ..GridSample::default() };
        check_gradients(&[sample([1, 1, 2, 2, 2], 3)], |x| {
            x[0].grid_sample(&sample([1, 1, 1, 3, 3], 5), near)
        });
    }

    #[test]
    fn places_that_are_no_numbers_or_far_away_do_no_harm() {
        let x = Tensor::from_slice(&[1.0f32, 2.0], [1, 1, 2]);
        let far = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30];
        let grid = Tensor::from_slice(&far, [1, 4, 1]);
        for sampling in [Sampling::Nearest, Sampling::Linear, Sampling::Cubic] {
            for beyond in [Beyond::Zeros, Beyond::Border, Beyond::Reflection] {
                let how = GridSample { sampling, beyond, align_corners: true };
                let y = x.grid_sample(&grid, how).to_vec::<f32>();
                assert!(y.iter().all(|v| v.is_finite()), "{how:?} {y:?}");
                assert_eq!(y[0], 1.0);
            }
        }
        let message =
            panic_message(|| x.grid_sample(&Tensor::zeros([1, 4, 2]), GridSample::default()));
        assert!(message.contains("grid_sample: f32 [1, 1, 2] at f32 [1, 4, 2]"), "{message}");
    }
}
