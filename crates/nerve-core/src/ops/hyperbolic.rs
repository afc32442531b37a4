//! The inverses of the hyperbolic functions, made of other functions: accurate near zero, and
//! without overflow.

use crate::tensor::Tensor;
use std::f64::consts::LN_2;

/// From here on, 1/(4x²) is nothing beside ln 2x, in double precision too.
const LARGE: f64 = 1e8;

/// ±1, a number without gradient: it turns `x` to the positive side, and the odd function of it
/// back, so that derivatives at 0 are those of the function.
fn side(x: &Tensor) -> Tensor {
    x.lt(0.0).select(&x.full_like(-1.0), &x.full_like(1.0))
}

impl Tensor {
    /// The inverse of the hyperbolic sine, ln(x + √(x² + 1)).
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let y = Tensor::from_slice(&[-1e-20f32, 0.5], [2]).asinh().to_vec::<f32>();
    /// assert!(y[0] == -1e-20 && (y[1] - 0.4812118).abs() < 1e-6);
    /// ```
    ///
    /// # Panics
    /// If the elements are no floats.
    #[track_caller]
    pub fn asinh(&self) -> Tensor {
        let side = side(self);
        let x = self * &side;
        let small = x.minimum(LARGE);
        let root = (small.square() + 1.0).sqrt();
        let near = (&small + &small * (&small / (root + 1.0))).log1p();
        let far = x.maximum(LARGE).log() + LN_2;
        x.lt(LARGE).select(&near, &far) * side
    }

    /// The inverse of the hyperbolic cosine, ln(x + √(x² − 1)); NaN below 1.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let y = Tensor::from_slice(&[1.0f32, 2.0], [2]).acosh().to_vec::<f32>();
    /// assert!(y[0] == 0.0 && (y[1] - 1.316958).abs() < 1e-6);
    /// ```
    ///
    /// # Panics
    /// If the elements are no floats.
    #[track_caller]
    pub fn acosh(&self) -> Tensor {
        let above = self.minimum(LARGE) - 1.0;
        // Two roots, so that below 1 there is none.
        let near = (&above + above.sqrt() * (&above + 2.0).sqrt()).log1p();
        let far = self.maximum(LARGE).log() + LN_2;
        self.ge(LARGE).select(&far, &near)
    }

    /// The inverse of the hyperbolic tangent, ½ ln((1 + x)/(1 − x)); infinite at ±1, NaN beyond.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let y = Tensor::from_slice(&[-1e-20f32, 0.5, 1.0], [3]).atanh().to_vec::<f32>();
    /// assert!(y[0] == -1e-20 && (y[1] - 0.5493061).abs() < 1e-6 && y[2] == f32::INFINITY);
    /// ```
    ///
    /// # Panics
    /// If the elements are no floats.
    #[track_caller]
    pub fn atanh(&self) -> Tensor {
        let side = side(self);
        let x = self * &side;
        (&x * 2.0 / (1.0 - &x)).log1p() * side * 0.5
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both functions of the standard library are good to a few units in the last place but near
    /// zero, where the series takes over.
    #[test]
    fn as_the_exact_functions_from_nothing_to_the_largest() {
        let near = |x: f64, cubic: f64| x + cubic * x.powi(3);
        let mut x = 1e-300f64;
        while x < 1e300 {
            for x in [x, -x] {
                let t = Tensor::scalar(x);
                let close = |found: f64, exact: f64| {
                    assert!((found - exact).abs() <= 2e-15 * exact.abs(), "{x}: {found} {exact}")
                };
                let exact = if x.abs() < 1e-5 { near(x, -1.0 / 6.0) } else { x.asinh() };
                close(t.asinh().item(), if x.abs() > 1e7 { ln2x(x) } else { exact });
                if x.abs() < 0.9 {
                    let exact = if x.abs() < 1e-5 { near(x, 1.0 / 3.0) } else { x.atanh() };
                    close(t.atanh().item(), exact);
                }
                if x > 1.5 {
                    close(t.acosh().item(), if x > 1e8 { ln2x(x) } else { x.acosh() });
                }
            }
            x *= 7.3;
        }
        for (x, y) in [(f64::INFINITY, f64::INFINITY), (f64::NAN, f64::NAN)] {
            for found in [Tensor::scalar(x).asinh(), Tensor::scalar(x).acosh()] {
                let found = found.item::<f64>();
                assert!(found == y || found.is_nan() && y.is_nan(), "{x}: {found}");
            }
        }
        for x in [0.999, -1.0, -3.0, -1e30] {
            assert!(Tensor::scalar(x).acosh().item::<f64>().is_nan(), "{x}");
        }
        assert!(Tensor::scalar(1.5f64).atanh().item::<f64>().is_nan());
    }

    fn ln2x(x: f64) -> f64 {
        (x.abs().ln() + LN_2).copysign(x)
    }

    #[test]
    fn the_slope_at_zero_is_one() {
        let x = Tensor::from_slice(&[0.0f64, -0.0], [2]);
        for f in [Tensor::asinh, Tensor::atanh] {
            let slope = crate::grad(&f(&x).sum(), &[&x]).remove(0);
            assert_eq!(slope.to_vec::<f64>(), [1.0, 1.0]);
        }
        let far = Tensor::from_slice(&[1e30f32, 3.0], [2]);
        for f in [Tensor::asinh, Tensor::acosh] {
            let slope = crate::grad(&f(&far).sum(), &[&far]).remove(0).to_vec::<f32>();
            assert!((slope[0] * 1e30 - 1.0).abs() < 1e-6, "{slope:?}");
        }
    }
}
