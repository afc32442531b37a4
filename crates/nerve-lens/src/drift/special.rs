//! Tails of distributions: chi-squared, normal, Kolmogorov-Smirnov.

use std::f64::consts::{PI, SQRT_2};

/// The logarithm of the gamma function for x > 0 (Lanczos, g = 7, nine terms; relative error below 1e-14).
fn ln_gamma(x: f64) -> f64 {
    const TERMS: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    if x < 0.5 {
        return (PI / (PI * x).sin()).ln() - ln_gamma(1.0 - x);
    }
    let x = x - 1.0;
    let t = x + 7.5;
    let sum =
        TERMS[1..].iter().zip(1..).fold(TERMS[0], |sum, (term, i)| sum + term / (x + i as f64));
    0.5 * (2.0 * PI).ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

/// The regularised upper incomplete gamma function Q(a, x): a series below a + 1, a continued fraction (Lentz) above.
fn gamma_q(a: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 1.0;
    }
    if x.is_infinite() {
        return 0.0;
    }
    let front = (a * x.ln() - x - ln_gamma(a)).exp();
    if x < a + 1.0 {
        let (mut term, mut sum, mut n) = (1.0 / a, 1.0 / a, a);
        for _ in 0..10_000 {
            n += 1.0;
            term *= x / n;
            sum += term;
            if term < sum * 1e-17 {
                break;
            }
        }
        return 1.0 - front * sum;
    }
    const TINY: f64 = 1e-300;
    let mut b = x + 1.0 - a;
    let (mut c, mut d) = (1.0 / TINY, 1.0 / b);
    let mut fraction = d;
    for i in 1..10_000 {
        let i = f64::from(i);
        let factor = -i * (i - a);
        b += 2.0;
        d = factor * d + b;
        d = 1.0 / if d.abs() < TINY { TINY } else { d };
        c = b + factor / c;
        c = if c.abs() < TINY { TINY } else { c };
        fraction *= d * c;
        if (d * c - 1.0).abs() < 1e-16 {
            break;
        }
    }
    front * fraction
}

/// How likely a chi-squared variable with `freedom` degrees of freedom is above `x`.
pub(super) fn chi_squared_tail(x: f64, freedom: f64) -> f64 {
    gamma_q(freedom / 2.0, x / 2.0)
}

/// How likely a standard normal variable is further from 0 than `z`, on either side.
pub(super) fn normal_tails(z: f64) -> f64 {
    let z = z.abs() / SQRT_2;
    gamma_q(0.5, z * z)
}

/// Up to this product of the sizes of two samples their Kolmogorov-Smirnov test is exact.
const EXACT: u64 = 20_000_000;
/// A probability that no threshold asks for.
const NONE: f64 = 1e-40;

/// How likely two samples of `n` and `m` values of one distribution are at least `d` apart (Kolmogorov-Smirnov, two-sided).
pub(super) fn kolmogorov_smirnov_tail(d: f64, n: u64, m: u64) -> f64 {
    if n == 0 || m == 0 {
        return f64::NAN;
    }
    let limit = kolmogorov_tail(d, n as f64 * m as f64 / (n as f64 + m as f64));
    match n.checked_mul(m) {
        // Where it is as good as none, all n m steps would be counted to say how little.
        Some(product) if product <= EXACT && limit > NONE => {
            two_sample_exact(d, n.min(m), n.max(m))
        }
        _ => limit,
    }
}

/// Counts paths: the values of both samples, mixed and sorted, are a path on a grid of n by m steps, all paths equally
/// likely; how likely is one that comes as far from the diagonal as `d`? (Hodges 1958)
fn two_sample_exact(d: f64, n: u64, m: u64) -> f64 {
    let divisor = gcd(n, m);
    let (down, right) = ((n / divisor) as i64, (m / divisor) as i64);
    // Distances are multiples of 1 / lcm(n, m).
    let far = (d * (n as f64) * right as f64).round() as i64;
    if far == 0 {
        return 1.0;
    }
    let (n, m) = (n as i64, m as i64);
    // left[j]: how likely a path to the point (i, j) has been `far` from the diagonal.
    let mut left = vec![1.0; n as usize + 1];
    for i in 0..=m {
        // |i / m - j / n| < far / lcm, in whole numbers: |i · down - j · right| < far.
        let from = ((i * down - far).div_euclid(right) + 1).max(0);
        let to = ((i * down + far - 1).div_euclid(right)).min(n);
        if from > to {
            return 1.0;
        }
        for j in from..=to {
            let at = j as usize;
            let before_i = if i > 0 { left[at] } else { 0.0 };
            let before_j = if j > from {
                left[at - 1]
            } else if j > 0 {
                1.0
            } else {
                0.0
            };
            left[at] = match i + j {
                0 => 0.0,
                steps => (before_i * i as f64 + before_j * j as f64) / steps as f64,
            };
        }
        left[to as usize + 1..].fill(1.0);
    }
    left[n as usize].clamp(0.0, 1.0)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Kolmogorov's limit distribution with the correction of its argument for `n` values by Vrbik (Pioneer Journal of
/// Theoretical and Applied Statistics 15, 2018), which leaves an error of the order n^-1.5.
fn kolmogorov_tail(d: f64, n: f64) -> f64 {
    let x = d * n.sqrt();
    let x = x + 1.0 / (6.0 * n.sqrt()) + (x - 1.0) / (4.0 * n);
    if x < 0.2 {
        return 1.0;
    }
    let term = |k: i32| {
        let k = f64::from(k);
        2.0 * (-2.0 * k * k * x * x).exp() * if k as i32 % 2 == 1 { 1.0 } else { -1.0 }
    };
    (1..=100).map(term).sum::<f64>().clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64, tolerance: f64) {
        assert!((found - expected).abs() <= tolerance * expected.abs(), "{found} {expected}");
    }

    #[test]
    fn tails_are_those_of_the_tables() {
        // Abramowitz and Stegun, table 26.8 and 26.1.
        near(chi_squared_tail(3.841_458_820_694_124, 1.0), 0.05, 1e-12);
        near(chi_squared_tail(18.307_038_053_275_146, 10.0), 0.05, 1e-12);
        near(chi_squared_tail(2.0, 2.0), (-1.0f64).exp(), 1e-13);
        near(normal_tails(1.959_963_984_540_054), 0.05, 1e-12);
        near(normal_tails(-6.0), 1.973_175_290_075_396e-9, 1e-10);
        assert_eq!((normal_tails(0.0), chi_squared_tail(f64::INFINITY, 3.0)), (1.0, 0.0));
    }

    #[test]
    fn few_values_are_counted_by_hand() {
        // Of the 6 orders of two and two values, 2 are as far apart as can be.
        near(kolmogorov_smirnov_tail(1.0, 2, 2), 2.0 / 6.0, 1e-15);
        near(kolmogorov_smirnov_tail(1.0, 1, 3), 2.0 / 4.0, 1e-15);
        assert_eq!(kolmogorov_smirnov_tail(0.0, 5, 7), 1.0);
        assert_eq!(kolmogorov_smirnov_tail(0.5, 2, 2), 1.0);
    }

    #[test]
    fn the_limit_meets_the_count() {
        for d in [0.02, 0.03, 0.05] {
            let exact = two_sample_exact(d, 4000, 5000);
            near(kolmogorov_tail(d, 4000.0 * 5000.0 / 9000.0), exact, 0.01);
        }
        // Where the count is left out it would say as little.
        for (d, n, m) in [(0.4, 1000, 1000), (0.7, 400, 1000), (1.0, 300, 900)] {
            assert!(two_sample_exact(d, n, m) < 1e-30 && kolmogorov_smirnov_tail(d, n, m) < 1e-40);
        }
    }
}
