//! Elementary functions of single precision, written so that loops over them become vector code.
//!
//! Each function is branch-free (selections instead of jumps) and inlined into the loop that calls
//! it; the loop is compiled once for each instruction set. The parameter `FMA` says whether the
//! processor multiplies and adds with one rounding: where it does not, asking for that would call
//! a slow library routine.
//!
//! # Accuracy
//! At most 2 units in the last place (ULP) for every `f32`, subnormal results included. Tested on
//! ten million evenly spread inputs of each function in every run; on all 2³² inputs with
//!
//! ```text
//! cargo test --release -p nerve-cpu math -- --ignored --test-threads=2
//! ```
//!
//! Polynomials are Chebyshev fits of ours; argument reduction is the usual one (Cody and Waite,
//! "Software Manual for the Elementary Functions", 1980).

mod double;
pub mod scalar;
#[cfg(test)]
mod tests;

pub(crate) use double::{cos, cosh, expm1, sin, sinh};

/// Beyond this size, [`sin`] and [`cos`] lose accuracy and the caller has to ask the standard
/// library.
pub(crate) const TRIG_LIMIT: f32 = 1.0e6;

const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// ln 2 in two parts; the first has so few bits that a product with an exponent is exact.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;
/// 1.5·2²³: adding it rounds to an integer, which then stands in the low bits.
const ROUND: f32 = 12_582_912.0;

/// a·b + c.
#[inline(always)]
pub(crate) fn mul_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

#[inline(always)]
fn polynomial<const FMA: bool, const N: usize>(coefficients: [f32; N], x: f32) -> f32 {
    let mut sum = coefficients[N - 1];
    let mut i = N - 1;
    while i > 0 {
        i -= 1;
        sum = mul_add::<FMA>(sum, x, coefficients[i]);
    }
    sum
}

/// (e^r − 1 − r)/r² for |r| ≤ 0.35.
#[inline(always)]
fn exp_rest<const FMA: bool>(r: f32) -> f32 {
    polynomial::<FMA, 5>([0.5, 0.166_665_77, 0.041_666_554, 0.008_363_203, 0.001_392_621_3], r)
}

/// e^r for |r| ≤ 0.35, and what its rounding lost.
#[inline(always)]
fn exp_near_one<const FMA: bool>(r: f32) -> (f32, f32) {
    let p = mul_add::<FMA>(r * r, exp_rest::<FMA>(r), r);
    let y = 1.0 + p;
    (y, p - (y - 1.0))
}

/// 2^n as two factors, each a normal number: a product with both is rounded once even where it is
/// subnormal.
#[inline(always)]
fn power_of_two(n: i32) -> [f32; 2] {
    let half = n >> 1;
    let power = |k: i32| f32::from_bits((k.wrapping_add(127) as u32) << 23);
    [power(half), power(n.wrapping_sub(half))]
}

/// e^r·2^n for |r| ≤ 0.35, rounded once even where the result is subnormal; and what the rounding
/// lost.
#[inline(always)]
fn exp_reduced<const FMA: bool>(r: f32, n: i32) -> (f32, f32) {
    let ((y, lost), [a, b]) = (exp_near_one::<FMA>(r), power_of_two(n));
    (y * a * b, lost * a * b)
}

/// `x` limited to a range; NaN stays.
#[inline(always)]
fn limit(x: f32, low: f32, high: f32) -> f32 {
    let x = if x > high { high } else { x };
    if x < low { low } else { x }
}

/// (n, r) with eˣ = e^r·2^n and |r| ≤ 0.35, where n is still added to [`ROUND`].
#[inline(always)]
fn shift_exp<const FMA: bool>(x: f32) -> (f32, f32) {
    let shifted = mul_add::<FMA>(x, LOG2_E, ROUND);
    let n = shifted - ROUND;
    (shifted, mul_add::<FMA>(n, -LN2_LOW, mul_add::<FMA>(n, -LN2_HIGH, x)))
}

/// (r, n) with eˣ = e^r·2^n and |r| ≤ 0.35.
#[inline(always)]
fn reduce_exp<const FMA: bool>(x: f32) -> (f32, i32) {
    // Outside, the result is 0 or infinity just as at the limit.
    let (shifted, r) = shift_exp::<FMA>(limit(x, -104.0, 89.0));
    (r, (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32))
}

/// eˣ, and what its rounding lost.
#[inline(always)]
fn exp_parts<const FMA: bool>(x: f32) -> (f32, f32) {
    let (r, n) = reduce_exp::<FMA>(x);
    exp_reduced::<FMA>(r, n)
}

/// eˣ for |x| ≤ 87, where neither the result nor a factor of it is subnormal or infinite.
#[inline(always)]
fn exp_inside<const FMA: bool>(x: f32) -> f32 {
    let (shifted, r) = shift_exp::<FMA>(x);
    let p = mul_add::<FMA>(r * r, exp_rest::<FMA>(r), r);
    // The bits of ROUND are shifted out.
    (1.0 + p) * f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits()))
}

/// eˣ for x ≤ 0, or 0 where that is less than a normal number.
#[inline(always)]
pub(crate) fn decay<const FMA: bool>(x: f32) -> f32 {
    let y = exp_inside::<FMA>(x);
    if x < -87.0 { 0.0 } else { y }
}

/// eˣ.
#[inline(always)]
pub(crate) fn exp<const FMA: bool>(x: f32) -> f32 {
    exp_parts::<FMA>(x).0
}

/// 2ˣ.
#[inline(always)]
pub(crate) fn exp2<const FMA: bool>(x: f32) -> f32 {
    let x = limit(x, -151.0, 129.0);
    let shifted = x + ROUND;
    let r = (x - (shifted - ROUND)) * std::f32::consts::LN_2;
    exp_reduced::<FMA>(r, (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32)).0
}

/// x = m·2^e with √½ ≤ m < √2; returns (m − 1, e). For positive, finite x.
#[inline(always)]
fn split(x: f32) -> (f32, f32) {
    let subnormal = x < f32::MIN_POSITIVE;
    let x = if subnormal { x * 33_554_432.0 } else { x };
    let bits = x.to_bits() as i32;
    let e = bits.wrapping_sub(std::f32::consts::FRAC_1_SQRT_2.to_bits() as i32) >> 23;
    let m = f32::from_bits(bits.wrapping_sub(e << 23) as u32);
    (m - 1.0, (e - if subnormal { 25 } else { 0 }) as f32)
}

/// ln(1 + f) − f + f²/2, for −0.3 ≤ f ≤ 0.42.
#[inline(always)]
fn log_rest<const FMA: bool>(f: f32) -> f32 {
    let q = polynomial::<FMA, 9>(
        [
            0.333_333_3,
            -0.249_999_97,
            0.200_007_16,
            -0.166_678_02,
            0.142_490_58,
            -0.124_256_87,
            0.116_854_2,
            -0.114_797_34,
            0.069_716_12,
        ],
        f,
    );
    f * f * f * q
}

/// Where a logarithm is not a finite number.
#[inline(always)]
fn log_special(x: f32, regular: f32) -> f32 {
    let y = if x == f32::INFINITY { x } else { regular };
    let y = if x == 0.0 { f32::NEG_INFINITY } else { y };
    if x >= 0.0 { y } else { f32::NAN }
}

/// Natural logarithm.
#[inline(always)]
pub(crate) fn log<const FMA: bool>(x: f32) -> f32 {
    let (f, e) = split(x);
    let y = mul_add::<FMA>(e, LN2_LOW, log_rest::<FMA>(f));
    let y = f + mul_add::<FMA>(-0.5, f * f, y);
    log_special(x, mul_add::<FMA>(e, LN2_HIGH, y))
}

/// Logarithm to base 2, exact for powers of two.
#[inline(always)]
pub(crate) fn log2<const FMA: bool>(x: f32) -> f32 {
    let (f, e) = split(x);
    // log2(e) = 1 + 0.4427: the part that is 1 needs no rounding.
    let rest = mul_add::<FMA>(-0.5, f * f, log_rest::<FMA>(f));
    let y = mul_add::<FMA>(f + rest, LOG2_E - 1.0, rest);
    let (large, small) = if e == 0.0 { (f, y) } else { (e, f + y) };
    log_special(x, large + small)
}

/// ln(1 + x).
#[inline(always)]
pub(crate) fn log1p<const FMA: bool>(x: f32) -> f32 {
    let u = 1.0 + x;
    // What the addition lost, so that the sum of logarithm and correction keeps all bits of x.
    let lost = if x >= 1.0 { 1.0 - (u - x) } else { x - (u - 1.0) };
    let y = log::<FMA>(u) + lost / u;
    let y = if x == f32::INFINITY || x == 0.0 { x } else { y };
    if u == 0.0 { f32::NEG_INFINITY } else { y }
}

/// Hyperbolic tangent.
#[inline(always)]
pub(crate) fn tanh<const FMA: bool>(x: f32) -> f32 {
    let size = x.abs();
    let s = x * x;
    let q = polynomial::<FMA, 6>(
        [-0.333_333_33, 0.133_333_13, -0.053_961_55, 0.021_788_321, -0.008_410_07, 0.002_370_765_6],
        s,
    );
    let small = mul_add::<FMA>(size, s * q, size);
    // From 9.1 on the result is 1.
    let e = exp_inside::<FMA>(-2.0 * limit(size, 0.0, 10.0));
    let large = (1.0 - e) / (1.0 + e);
    (if size < 0.6 { small } else { large }).copysign(x)
}

/// Logistic function 1/(1 + e⁻ˣ). Small results keep their relative accuracy.
#[inline(always)]
pub(crate) fn sigmoid<const FMA: bool>(x: f32) -> f32 {
    let (e, e_lost) = exp_parts::<FMA>(-x.abs());
    let sum = 1.0 + e;
    let sum_lost = e - (sum - 1.0) + e_lost;
    let left = x < 0.0;
    let y = (if left { e } else { 1.0 }) / sum;
    // First-order correction by what numerator and denominator lost; 1/sum is y or 1 − y.
    let lost = mul_add::<FMA>(-y, sum_lost, if left { e_lost } else { 0.0 });
    mul_add::<FMA>(lost, if left { 1.0 - y } else { y }, y)
}

/// As [`sigmoid`] in less than half the time, for gates: within 3 ULP for |x| ≤ 80; beyond that the
/// result stays at 2·10⁻³⁵ or 1.
#[inline(always)]
pub(crate) fn gate<const FMA: bool>(x: f32) -> f32 {
    1.0 / (1.0 + exp_inside::<FMA>(limit(-x, -80.0, 80.0)))
}

/// Error function.
#[inline(always)]
pub(crate) fn erf<const FMA: bool>(x: f32) -> f32 {
    let size = x.abs();
    let p = polynomial::<FMA, 7>(
        [
            0.128_379_17,
            -0.376_126_27,
            0.112_835_95,
            -0.026_854_212,
            0.005_189_087_4,
            -8.016_864e-4,
            7.875_875e-5,
        ],
        x * x,
    );
    let small = mul_add::<FMA>(size, p, size);
    // Above 1, −ln(erfc) is nearly a parabola; from 4 on the result is 1.
    let q = polynomial::<FMA, 9>(
        [
            -3.214_710_3e-4,
            1.130_239_2,
            0.631_815_7,
            0.110_090_2,
            -0.026_427_044,
            0.004_761_717_2,
            -5.972_644e-4,
            4.611_291_4e-5,
            -1.639_938e-6,
        ],
        limit(size, 0.0, 4.0),
    );
    let large = 1.0 - exp::<FMA>(-q);
    (if size < 1.0 { small } else { large }).copysign(x)
}

/// x·Φ(x), the Gaussian error linear unit.
///
/// Its left tail, s·½·erfc(s/√2) with s = |x|, has to keep its relative accuracy:
/// erfc(s/√2) = e^(−s²/2)·u·p(u − ½) with u = 1/(1 + 7/16·s) and a polynomial p. What each rounding
/// loses is found by a fused multiply-add and put back at the end (1.9 ULP at most instead of 6; e^(−s²/2)
/// alone would lose 60). Without that instruction the digits come from double precision.
#[inline(always)]
pub(crate) fn gelu<const FMA: bool>(x: f32) -> f32 {
    if !FMA {
        return double::gelu::<FMA>(x);
    }
    const C: f32 = 0.4375;
    const P0: f32 = 0.607_089_7;
    /// What is lost of the constant coefficient.
    const P0_LOW: f32 = -2.224_681_2e-8;
    const TWO_TO_MINUS_64: f32 = 1.0 / 18_446_744_073_709_551_616.0;
    let fma = mul_add::<true>;
    // Beyond, the tail is below half the smallest subnormal.
    let s = x.abs();
    let s = if s > 14.5 { 14.5 } else { s };
    let half = 0.5 * s;
    let scale = fma(C, s, 1.0);
    let u = 1.0 / scale;
    // The relative error of u, from the division and from the sum in the denominator.
    let u_low = fma(-u, fma(C, s, -(scale - 1.0)), fma(-u, scale, 1.0));
    let v = u - 0.5;
    // Even and odd powers: two short chains instead of one, on which everything would wait.
    let w = v * v;
    let even = polynomial::<FMA, 6>(
        [0.688_774_47, -0.180_015_06, 0.145_442_25, -0.148_539_69, 0.097_034_514, 0.014_957_906],
        w,
    );
    let odd = polynomial::<FMA, 5>(
        [0.306_488_4, -0.163_922_41, 0.064_918_36, 0.035_081_13, -0.086_815_81],
        w,
    );
    let q = fma(odd, v, even);
    let p = fma(q, v, P0);
    let p_low = fma(q, v, P0_LOW - (p - P0));
    let square = s * s;
    let square_low = fma(s, s, -square);
    let (shifted, r) = shift_exp::<FMA>(-0.5 * square);
    let (e, e_lost) = exp_near_one::<FMA>(r);
    // u·p changes with u about as the 1.3th power.
    let e_low = fma(e, fma(-0.5, square_low, 1.3 * u_low), e_lost);
    let (a, b) = (half * u, half * u * p);
    let b_low = fma(fma(half, u, -a), p, fma(a, p_low, fma(a, p, -b)));
    // 2^(n + 64), which is always a normal number; the bits of ROUND are shifted out.
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add((127 + 64) << 23));
    let tail = fma(b, e, fma(b, e_low, b_low * e)) * power * TWO_TO_MINUS_64;
    (if x < 0.0 { 0.0 } else { x }) - tail
}

/// The slope of [`gelu`], Φ(x) + x·φ(x): within 2.4·10⁻⁷ (it crosses zero, where no relative accuracy
/// can be had).
///
/// With s = |x|, e^(−s²/2) is a factor of both terms of the left tail,
/// w = e^(−s²/2)·(½·e^(s²/2)·erfc(s/√2) − s/√(2π)); the right side is 1 − w. The product of the
/// exponential and erfc is a polynomial in (s − 3√2)/(s + 3√2), over 1 + √2·s.
#[inline(always)]
pub(crate) fn gelu_slope<const FMA: bool>(x: f32) -> f32 {
    const CENTRE: f32 = 3.0 * std::f32::consts::SQRT_2;
    const INV_SQRT_TAU: f32 = 0.398_942_3;
    let s = limit(x.abs(), 0.0, 14.5);
    let (above, scale) = (s + CENTRE, mul_add::<FMA>(s, std::f32::consts::SQRT_2, 1.0));
    let inverse = 1.0 / (above * scale);
    let h = polynomial::<FMA, 10>(
        [
            1.253_008_1,
            -0.135_621_06,
            -0.047_566,
            0.129_642_2,
            -0.119_220_52,
            0.068_360_17,
            -0.024_015_8,
            0.002_214_877_6,
            0.002_220_498_6,
            -0.000_169_955_89,
        ],
        (s - CENTRE) * scale * inverse,
    );
    let bracket = mul_add::<FMA>(-INV_SQRT_TAU, s, 0.5 * h * (above * inverse));
    let w = exp::<FMA>(-0.5 * s * s) * bracket;
    if x < 0.0 { w } else { 1.0 - w }
}

/// Two independent normal numbers from two uniform words (Box and Muller, 1958).
///
/// Never fused, so that the numbers are the same on every processor.
#[inline(always)]
pub(crate) fn box_muller(first: u32, second: u32) -> (f32, f32) {
    // In (0, 1], down to 2⁻³³: the largest result is 6.8.
    let u = first as f32 * (1.0 / 4_294_967_296.0) + 1.0 / 8_589_934_592.0;
    let radius = (-2.0 * log::<false>(u)).sqrt();
    // An angle in quarter turns, split into the nearest whole number and the exact rest.
    let quarters = (second >> 8) as i32 as f32 * (1.0 / 4_194_304.0);
    let shifted = quarters + ROUND;
    let r = (quarters - (shifted - ROUND)) * std::f32::consts::FRAC_PI_2;
    let s = r * r;
    let sine = r + r
        * s
        * polynomial::<false, 4>([-0.166_666_67, 8.333_332e-3, -1.984_008e-4, 2.724_931_4e-6], s);
    let cosine = 1.0 - 0.5 * s
        + s * s
            * polynomial::<false, 4>(
                [0.041_666_668, -1.388_888_8e-3, 2.480_059_6e-5, -2.730_044_8e-7],
                s,
            );
    let quadrant = shifted.to_bits();
    let (a, b) = if quadrant & 1 == 0 { (cosine, sine) } else { (sine, cosine) };
    let sign = |bit: u32| (bit & 2) << 30;
    let cosine = f32::from_bits(a.to_bits() ^ sign(quadrant.wrapping_add(1)));
    let sine = f32::from_bits(b.to_bits() ^ sign(quadrant));
    (radius * cosine, radius * sine)
}
