//! Batch normalisation.

use super::{axis_of, expect_float, expect_same};
use crate::dtype::DType;
use crate::op::{Gradients, Operation, Role};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Each channel with mean 0 and variance 1, then scaled and shifted. Inputs: x, weight, bias, of
/// which the last two have one value for each channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BatchNorm {
    /// The axis that counts the channels.
    pub axis: usize,
    /// Added to the variance.
    pub eps: super::Bits,
}

/// The part of the data whose mean is the shift of [`moments`]: one in so many.
const SAMPLE: usize = 64;

/// Mean and variance (over n) of each channel, in the shape of `x` with extent 1 along the others.
///
/// Both come from one pass over x, as sums of x − s and (x − s)², with a shift s of each channel:
/// var = E(x − s)² − (E(x − s))². What is lost to cancellation grows with (mean − s)² / var. The
/// shift is the mean over a part of the data, one element in 64 or more, so that
/// var ≥ (mean − s)² / 64 whatever the data are: at most six bits are lost for any data, and next
/// to nothing where the part is like the rest. (Chan, Golub & LeVeque, "Algorithms for computing
/// the sample variance: analysis and recommendations", 1983.)
fn moments(x: &Tensor, axis: usize) -> (Tensor, Tensor) {
    let axes = others(x, axis);
    let sample = match axes.first() {
        Some(&first) => x.slice(first, 0, x.shape()[first as usize].div_ceil(SAMPLE)),
        None => x.clone(),
    };
    // Neither moment depends on the shift.
    let shift = sample.mean_axes(&axes, true).detach();
    let shifted = x - &shift;
    let mean = shifted.mean_axes(&axes, true);
    let variance = shifted.square().mean_axes(&axes, true) - mean.square();
    (shift + mean, variance.maximum(0.0))
}

/// All axes but that of the channels.
fn others(x: &Tensor, axis: usize) -> Vec<isize> {
    (0..x.rank()).filter(|&a| a != axis).map(|a| a as isize).collect()
}

impl BatchNorm {
    /// A vector with one value for each channel, to be used with `x`.
    fn spread(&self, vector: &Tensor, x: &Tensor) -> Tensor {
        let mut shape = vec![1; x.rank()];
        shape[self.axis] = x.shape()[self.axis];
        vector.reshape(shape)
    }
}

impl Operation for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        let [x, weight, bias] = inputs else { return Err("of x, weight and bias".into()) };
        expect_float(x)?;
        expect_same(x, weight)?;
        let channels = x.shape().get(self.axis).copied().unwrap_or_default();
        for vector in [weight, bias] {
            if **vector.shape() != [channels] {
                return Err(format!(
                    "of {} along axis {}: weight and bias are [{channels}], found {}",
                    x.shape(),
                    self.axis,
                    vector.shape()
                ));
            }
        }
        Ok((x.shape().clone(), expect_same(x, bias)?))
    }

    fn decompose(&self, inputs: &[Tensor]) -> Option<Tensor> {
        let x = &inputs[0];
        let (mean, variance) = moments(x, self.axis);
        let [weight, bias] = [1, 2].map(|i| self.spread(&inputs[i], x));
        Some(x.scale_and_shift(&mean, &variance, &weight, &bias, self.eps.get()))
    }

    /// With x̂ = (x − mean) / σ: dx = weight / σ · (dy − E dy − x̂ E(dy x̂)). Two passes: one for the
    /// sums, one for dx from dy and x, with two factors and a summand for each channel.
    fn gradient(&self, inputs: &[Tensor], _: &Tensor, dy: &Tensor) -> Gradients {
        let (x, axes) = (&inputs[0], others(&inputs[0], self.axis));
        let (mean, variance) = moments(x, self.axis);
        let channels = x.shape()[self.axis];
        let count = x.numel().checked_div(channels).unwrap_or(0).max(1) as f64;
        let inverse = (variance + self.eps.get()).rsqrt();
        let sum = dy.sum_axes(&axes, true);
        let with_x = (dy * (x - &mean)).sum_axes(&axes, true) * &inverse;
        let of_x = &inverse * &with_x * (-1.0 / count);
        let rest = &sum * (-1.0 / count) - &of_x * mean;
        let dx = (dy + (x * of_x + rest)) * (&inverse * self.spread(&inputs[1], x));
        Ok(vec![Some(dx), Some(with_x.reshape([channels])), Some(sum.reshape([channels]))])
    }

    fn role(&self) -> Role<'_> {
        Role::Composite
    }
}

impl Tensor {
    /// Each channel, counted along `axis`, with mean 0 and variance 1 over all else, then scaled
    /// and shifted: (x − mean) / √(variance + eps) · weight + bias. `weight` and `bias` are
    /// `[channels]`; the variance is that over n.
    ///
    /// Ioffe & Szegedy, "Batch normalization", 2015.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let x = Tensor::from_slice(&[1.0f64, 3.0], [2, 1]);
    /// let (weight, bias) = (Tensor::from_slice(&[2.0], [1]), Tensor::from_slice(&[5.0], [1]));
    /// assert_eq!(x.batch_norm(&weight, &bias, 1, 0.0).to_vec::<f64>(), [3.0, 7.0]);
    /// ```
    ///
    /// # Panics
    /// If the shapes do not fit, or the elements are not f32 or f64.
    #[track_caller]
    pub fn batch_norm(&self, weight: &Tensor, bias: &Tensor, axis: isize, eps: f64) -> Tensor {
        let axis = axis_of("batch_norm", axis, self);
        Tensor::apply(BatchNorm { axis, eps: super::Bits::new(eps) }, &[self, weight, bias])
    }

    /// Mean and variance (over n) of each channel, counted along `axis`, over all else: two
    /// vectors. What [`batch_norm`](Tensor::batch_norm) normalises with.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let x = Tensor::from_slice(&[1.0f64, 0.0, 3.0, 0.0], [2, 2]);
    /// let (mean, variance) = x.batch_moments(1);
    /// assert_eq!((mean.to_vec(), variance.to_vec()), (vec![2.0, 0.0], vec![1.0, 0.0]));
    /// ```
    ///
    /// # Panics
    /// If there is no such axis, or the elements are not f32 or f64.
    #[track_caller]
    pub fn batch_moments(&self, axis: isize) -> (Tensor, Tensor) {
        let axis = axis_of("batch_moments", axis, self);
        if let Err(why) = expect_float(self) {
            panic!("batch_moments: {why}");
        }
        let channels = [self.shape()[axis]];
        let (mean, variance) = moments(self, axis);
        (mean.reshape(channels), variance.reshape(channels))
    }

    /// (x − mean) / √(variance + eps) · weight + bias, with operands that broadcast to x: as one
    /// factor and one summand, which are computed once for each channel.
    #[track_caller]
    pub fn scale_and_shift(
        &self,
        mean: &Tensor,
        variance: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        eps: f64,
    ) -> Tensor {
        let scale = (variance + eps).rsqrt() * weight;
        let shift = bias - mean * &scale;
        self * scale + shift
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grad;
    use crate::testing::{check_gradients, panic_message, sample};

    /// Mean and variance of each column, in two passes over f64.
    fn two_passes(x: &[f32], columns: usize) -> Vec<(f64, f64)> {
        (0..columns)
            .map(|c| {
                let column: Vec<f64> =
                    x.iter().skip(c).step_by(columns).map(|&v| v.into()).collect();
                let n = column.len() as f64;
                let mean = column.iter().sum::<f64>() / n;
                (mean, column.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n)
            })
            .collect()
    }

    /// Far from zero, and with the sample unlike the rest.
    #[test]
    fn moments_are_accurate_wherever_the_data_lie() {
        let (rows, columns) = (4096, 3);
        for (offset, outlier) in [(0.0, 0.0), (1000.0, 0.0), (0.0, 1e4), (-50.0, 1e3)] {
            let noise = Tensor::normal(&Tensor::random_key(1, 2), 0, [rows, columns], DType::F32);
            let mut x = noise.to_vec::<f32>();
            x.iter_mut().for_each(|v| *v += offset);
            x[..columns * rows / SAMPLE].iter_mut().for_each(|v| *v += outlier);
            let (mean, variance) = Tensor::from_slice(&x, [rows, columns]).batch_moments(1);
            let found = mean.to_vec::<f32>().into_iter().zip(variance.to_vec::<f32>());
            for ((mean, variance), exact) in found.zip(two_passes(&x, columns)) {
                let (mean_error, variance_error) = (
                    (f64::from(mean) - exact.0).abs(),
                    (f64::from(variance) / exact.1 - 1.0).abs(),
                );
                let what = format!("{offset} {outlier}: {mean} {variance}, {exact:?}");
                // |mean − s| ≤ 8 deviations, of which the squares cancel; and the mean is rounded.
                let bound = 8.0 * exact.1.sqrt() + exact.0.abs();
                assert!(mean_error <= bound * f64::from(f32::EPSILON), "{what}");
                assert!(variance_error <= 65.0 * f64::from(f32::EPSILON), "{what}");
            }
        }
    }

    #[test]
    fn gradients() {
        for (shape, axis, channels) in
            [(&[3, 2][..], 1, 2), (&[2, 3, 2, 2], 1, 3), (&[2, 4, 3], -1, 3)]
        {
            let inputs = [sample(shape, 1), sample([channels], 2), sample([channels], 3)];
            check_gradients(&inputs, |x| x[0].batch_norm(&x[1], &x[2], axis, 1e-3));
        }
    }

    #[test]
    fn the_gradient_is_that_of_the_decomposition() {
        let inputs = [sample([4, 3, 2, 2], 1), sample([3], 2), sample([3], 3)];
        let weights = sample([4, 3, 2, 2], 4);
        let op = BatchNorm { axis: 1, eps: super::super::Bits::new(1e-5) };
        let of = |y: Tensor| grad(&(y * &weights).sum(), &inputs.each_ref());
        let by_hand = of(inputs[0].batch_norm(&inputs[1], &inputs[2], 1, 1e-5));
        let derived = of(op.decompose(&inputs).unwrap());
        for (a, b) in by_hand.iter().zip(&derived) {
            for (a, b) in a.to_vec::<f64>().into_iter().zip(b.to_vec::<f64>()) {
                assert!((a - b).abs() < 1e-12 * b.abs().max(1.0), "{a} {b}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (x, c) = (Tensor::ones([4, 3]), Tensor::ones([4]));
        let message = panic_message(|| x.batch_norm(&c, &c, 1, 1e-5));
        assert!(message.contains("weight and bias are [3], found [4]"), "{message}");
        let message = panic_message(|| Tensor::arange(3).batch_moments(0).0);
        assert!(message.contains("batch_moments: expected f32 or f64, found i32"), "{message}");
    }
}
