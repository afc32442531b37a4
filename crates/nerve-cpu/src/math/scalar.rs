//! Functions of one number that the standard library lacks.

mod erf;
pub use erf::{erf, erfc};

/// x·Φ(x), with the normal distribution function Φ.
///
/// Written with `erfc`, so that the left tail keeps its relative accuracy.
pub fn gelu(x: f64) -> f64 {
    if x == f64::NEG_INFINITY {
        return -0.0;
    }
    0.5 * x * erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
}

/// The slope of [`gelu`], Φ(x) + x·φ(x) with the density φ of the normal distribution.
pub fn gelu_slope(x: f64) -> f64 {
    if x.is_infinite() {
        return if x > 0.0 { 1.0 } else { 0.0 };
    }
    let density = (-0.5 * x * x).exp()
        * (0.5 * std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2);
    0.5 * erfc(-x * std::f64::consts::FRAC_1_SQRT_2) + x * density
}

/// `base` to the power of `exponent`, wrapping; 0 for a negative exponent unless `base` is ±1.
pub fn pow_i64(base: i64, exponent: i64) -> i64 {
    if exponent < 0 {
        return match base {
            1 => 1,
            -1 => 1 - 2 * (exponent & 1),
            _ => 0,
        };
    }
    let (mut result, mut base, mut exponent) = (1i64, base, exponent);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = result.wrapping_mul(base);
        }
        base = base.wrapping_mul(base);
        exponent >>= 1;
    }
    result
}

/// Logistic function 1/(1 + e⁻ˣ), whose small results keep their relative accuracy.
pub fn sigmoid(x: f64) -> f64 {
    let e = (-x.abs()).exp();
    (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
}
