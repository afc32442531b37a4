//! Lengths of vectors, spreads, and products of two vectors. Made of other operations.

use super::expect_float;
use crate::tensor::Tensor;

/// `x` to the power of 1/p, for x ≥ 0. At 0 its slope counts as 0, as at the minimum of a norm,
/// where the formula would give ∞ · 0.
#[track_caller]
fn root(x: &Tensor, p: f64) -> Tensor {
    let zero = x.eq(0.0);
    let safe = zero.select(&x.full_like(1.0), x);
    zero.select(&x.zeros_like(), &safe.powf(1.0 / p))
}

impl Tensor {
    /// The p-norm along `axes`, which stay with extent 1 if `keep`: `(Σ |x|ᵖ)^(1/p)`.
    ///
    /// 2 is Euclid's length, 1 the sum of magnitudes, ∞ the largest and −∞ the smallest magnitude,
    /// and 0 counts what is not zero. The gradient at a vector of zeros is zero. Sums are of
    /// powers as they are: magnitudes beyond 10¹⁹ overflow the squares of f32.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let x = Tensor::from_slice(&[3.0f32, -4.0], [2]);
    /// assert_eq!(x.norm(2.0, &[0], false).item::<f32>(), 5.0);
    /// assert_eq!(x.norm(f64::INFINITY, &[0], false).item::<f32>(), 4.0);
    /// ```
    ///
    /// # Panics
    /// If there is no such axis, or the elements are not f32 or f64.
    #[track_caller]
    pub fn norm(&self, p: f64, axes: &[isize], keep: bool) -> Tensor {
        if let Err(why) = expect_float(self) {
            panic!("norm: of {}: {why}", self.shape());
        }
        match p {
            f64::INFINITY => self.abs().max_axes(axes, keep),
            f64::NEG_INFINITY => self.abs().min_axes(axes, keep),
            0.0 => self.ne(0.0).to_dtype(self.dtype()).sum_axes(axes, keep),
            1.0 => self.abs().sum_axes(axes, keep),
            2.0 => root(&self.square().sum_axes(axes, keep), 2.0),
            _ => root(&self.abs().powf(p).sum_axes(axes, keep), p),
        }
    }

    /// Divided by its p-norm along `axis`, or by `eps` where that is larger: vectors of length 1.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let x = Tensor::from_slice(&[3.0f32, 4.0, 0.0, 0.0], [2, 2]);
    /// assert_eq!(x.normalize(2.0, 1, 1e-12).to_vec::<f32>(), [0.6, 0.8, 0.0, 0.0]);
    /// ```
    ///
    /// # Panics
    /// As [`norm`](Tensor::norm).
    #[track_caller]
    pub fn normalize(&self, p: f64, axis: isize, eps: f64) -> Tensor {
        self / self.norm(p, &[axis], true).maximum(eps)
    }

    /// The standard deviation along `axes`, which stay with extent 1 if `keep`: the root of
    /// [`var_axes`](Tensor::var_axes). Its gradient is zero where all elements are equal.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let x = Tensor::from_slice(&[1.0f32, 3.0], [2]);
    /// assert_eq!(x.std_axes(&[0], 0, false).item::<f32>(), 1.0);
    /// ```
    ///
    /// # Panics
    /// If there is no such axis, or the elements are not f32 or f64.
    #[track_caller]
    pub fn std_axes(&self, axes: &[isize], correction: usize, keep: bool) -> Tensor {
        root(&self.var_axes(axes, correction, keep), 2.0)
    }

    /// The sum of the products of two vectors of one length.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0], [3]);
    /// assert_eq!(x.dot(&x).item::<f32>(), 14.0);
    /// ```
    ///
    /// # Panics
    /// If they are not vectors of one length and dtype.
    #[track_caller]
    pub fn dot(&self, other: &Tensor) -> Tensor {
        assert!(
            self.rank() == 1 && self.shape() == other.shape(),
            "dot: of two vectors of one length, found {} and {}",
            self.shape(),
            other.shape()
        );
        (self * other).sum()
    }

    /// The products of each element of this vector with each of `other`: `y[i, j] = a[i] · b[j]`.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let (a, b) = (Tensor::from_slice(&[1, 2], [2]), Tensor::from_slice(&[3, 4, 5], [3]));
    /// assert_eq!(a.outer(&b).to_vec::<i32>(), [3, 4, 5, 6, 8, 10]);
    /// ```
    ///
    /// # Panics
    /// If they are not vectors of one dtype.
    #[track_caller]
    pub fn outer(&self, other: &Tensor) -> Tensor {
        assert!(
            self.rank() == 1 && other.rank() == 1,
            "outer: of two vectors, found {} and {}",
            self.shape(),
            other.shape()
        );
        self.unsqueeze(1) * other
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grad;
    use crate::testing::{check_gradients, panic_message, sample};

    #[test]
    fn norms() {
        let x = Tensor::from_slice(&[3.0f64, -4.0, 0.0, 1.0, 2.0, -2.0], [2, 3]);
        for (p, expected) in [
            (0.0, [2.0, 3.0]),
            (1.0, [7.0, 5.0]),
            (2.0, [5.0, 3.0]),
            (3.0, [91f64.cbrt(), 17f64.cbrt()]),
            (f64::INFINITY, [4.0, 2.0]),
            (f64::NEG_INFINITY, [0.0, 1.0]),
        ] {
            let found = x.norm(p, &[1], false).to_vec::<f64>();
            let close = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-14);
            assert!(close, "{p}: {found:?}");
        }
        assert_eq!(x.norm(1.0, &[0, 1], true).to_vec::<f64>(), [12.0]);
        let unit = x.normalize(1.0, 0, 0.5).to_vec::<f64>();
        assert_eq!(unit, [0.75, -4.0 / 6.0, 0.0, 0.25, 2.0 / 6.0, -1.0]);
        let message = panic_message(|| Tensor::arange(3).norm(2.0, &[0], false));
        assert!(message.contains("norm: of [3]: expected f32 or f64, found i32"), "{message}");
    }

    #[test]
    fn spreads_and_products() {
        let x = Tensor::from_slice(&[1.0f64, 3.0, 5.0, 5.0], [2, 2]);
        assert_eq!(x.std_axes(&[1], 1, true).to_vec::<f64>(), [2f64.sqrt(), 0.0]);
        assert_eq!(x.std_axes(&[1], 0, false).to_vec::<f64>(), [1.0, 0.0]);
        let (a, b) = (Tensor::ones([2]), Tensor::ones([3]));
        let message = panic_message(|| a.dot(&b));
        assert!(
            message.contains("dot: of two vectors of one length, found [2] and [3]"),
            "{message}"
        );
        let message = panic_message(|| x.outer(&b));
        assert!(message.contains("outer: of two vectors, found [2, 2] and [3]"), "{message}");
    }

    #[test]
    fn gradients() {
        for p in [1.0, 2.0, 3.0, 2.5] {
            check_gradients(&[sample([2, 3], 1)], |x| x[0].norm(p, &[1], false));
        }
        check_gradients(&[sample([2, 3], 2)], |x| x[0].normalize(2.0, -1, 1e-12));
        check_gradients(&[sample([2, 3], 3)], |x| x[0].std_axes(&[1], 1, false));
        check_gradients(&[sample([3], 4), sample([3], 5)], |x| x[0].dot(&x[1]));
        check_gradients(&[sample([3], 6), sample([2], 7)], |x| x[0].outer(&x[1]));
    }

    #[test]
    fn the_gradient_of_a_length_at_zero_is_zero() {
        let x = Tensor::from_slice(&[0.0f64; 3], [3]);
        for y in [x.norm(2.0, &[0], false), x.norm(3.0, &[0], false), x.std_axes(&[0], 1, false)] {
            assert_eq!(grad(&y, &[&x])[0].to_vec::<f64>(), [0.0; 3]);
        }
    }
}
