//! Functions of single precision whose cancellation or tails need double precision inside.

const LN2_HIGH: f64 = 0.6931471803691238;
const LN2_LOW: f64 = 1.9082149292705877e-10;
/// 1.5·2⁵²: adding it rounds to an integer, which then stands in the low bits.
const ROUND: f64 = 6755399441055744.0;

#[inline(always)]
fn mul_add<const FMA: bool>(a: f64, b: f64, c: f64) -> f64 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

#[inline(always)]
fn polynomial<const FMA: bool, const N: usize>(coefficients: [f64; N], x: f64) -> f64 {
    let mut sum = coefficients[N - 1];
    let mut i = N - 1;
    while i > 0 {
        i -= 1;
        sum = mul_add::<FMA>(sum, x, coefficients[i]);
    }
    sum
}

/// eˣ to 13 digits, for |x| < 700.
#[inline(always)]
fn exp<const FMA: bool>(x: f64) -> f64 {
    let shifted = mul_add::<FMA>(x, std::f64::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = mul_add::<FMA>(n, -LN2_LOW, mul_add::<FMA>(n, -LN2_HIGH, x));
    let q = polynomial::<FMA, 8>(
        [
            0.4999999999995493,
            0.1666666666666257,
            0.041_666_666_786_625_2,
            0.008333333344235645,
            0.0013888839010858958,
            0.0001984122450424905,
            2.486793656219774e-05,
            2.761_762_511_037_93e-6,
        ],
        r,
    );
    let y = 1.0 + mul_add::<FMA>(r * r, q, r);
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(1023);
    y * f64::from_bits(exponent << 52)
}

/// `x` limited to a range; NaN stays.
#[inline(always)]
fn limit(x: f64, low: f64, high: f64) -> f64 {
    let x = if x > high { high } else { x };
    if x < low { low } else { x }
}

/// eˣ − 1.
#[inline(always)]
pub(crate) fn expm1<const FMA: bool>(x: f32) -> f32 {
    let wide = limit(x as f64, -40.0, 90.0);
    let small = wide + wide * wide * mul_add::<FMA>(wide, 1.0 / 6.0, 0.5);
    let large = exp::<FMA>(wide) - 1.0;
    let y = (if wide.abs() < 1.0 / 1024.0 { small } else { large }) as f32;
    if x == 0.0 { x } else { y }
}

/// Hyperbolic sine.
#[inline(always)]
pub(crate) fn sinh<const FMA: bool>(x: f32) -> f32 {
    let wide = limit(x as f64, -91.0, 91.0);
    let e = exp::<FMA>(wide);
    let small = mul_add::<FMA>(wide * wide * wide, 1.0 / 6.0, wide);
    let large = 0.5 * (e - 1.0 / e);
    (if wide.abs() < 1.0 / 1024.0 { small } else { large }) as f32
}

/// Hyperbolic cosine.
#[inline(always)]
pub(crate) fn cosh<const FMA: bool>(x: f32) -> f32 {
    let e = exp::<FMA>(limit(x as f64, -91.0, 91.0));
    (0.5 * (e + 1.0 / e)) as f32
}

/// x·Φ(x), with Φ(−z) = ½·erfc(z/√2) and erfc as in [`super::scalar::erfc`], to fewer digits.
#[inline(always)]
pub(crate) fn gelu<const FMA: bool>(x: f32) -> f32 {
    let wide = x as f64;
    // Beyond, the left tail is below half the smallest subnormal.
    let size = limit(wide.abs(), 0.0, 14.5);
    let z = size * std::f64::consts::FRAC_1_SQRT_2;
    let (above, scale) = (z + 3.0, mul_add::<FMA>(2.0, z, 1.0));
    let inverse = 1.0 / (above * scale);
    let h = polynomial::<FMA, 12>(
        [
            1.253008058976251,
            -0.1356211111696292,
            -0.04756238717680091,
            0.12964535247084086,
            -0.11927160306707478,
            0.06830663871087485,
            -0.023_787_395_894_315_7,
            0.0025269799382524405,
            0.0019473167877448,
            -0.0007384210687412379,
            -0.00017690560295646155,
            3.764594566708818e-05,
        ],
        (z - 3.0) * scale * inverse,
    );
    let tail = 0.5 * size * exp::<FMA>(-0.5 * size * size) * h * (above * inverse);
    (if wide < 0.0 { -tail } else { wide - tail }) as f32
}

/// π/2 in two parts; the first has 33 bits, so that a product with the number of quarter turns is
/// exact for arguments up to [`super::TRIG_LIMIT`].
const QUARTER_HIGH: f64 = 1.5707963267341256;
const QUARTER_LOW: f64 = 6.077100506506192e-11;

/// The sine of x + `turn` quarter turns.
#[inline(always)]
fn sin_shifted<const FMA: bool>(x: f32, turn: u64) -> f32 {
    let wide = x as f64;
    let shifted = mul_add::<FMA>(wide, std::f64::consts::FRAC_2_PI, ROUND);
    let n = shifted - ROUND;
    let r = mul_add::<FMA>(n, -QUARTER_LOW, mul_add::<FMA>(n, -QUARTER_HIGH, wide));
    let s = r * r;
    let sine = polynomial::<FMA, 4>(
        [
            -0.16666666663832763,
            0.008333331865959415,
            -0.00019840082012765535,
            2.7249314054698804e-06,
        ],
        s,
    );
    let sine = mul_add::<FMA>(r * s, sine, r);
    let cosine = polynomial::<FMA, 4>(
        [0.0416666666643024, -0.001388888766471362, 2.480059643562152e-05, -2.7300448619488353e-07],
        s,
    );
    let cosine = mul_add::<FMA>(s * s, cosine, mul_add::<FMA>(-0.5, s, 1.0));
    let quadrant = shifted.to_bits().wrapping_add(turn);
    let y = if quadrant & 1 == 0 { sine } else { cosine };
    f64::from_bits(y.to_bits() ^ (quadrant & 2) << 62) as f32
}

/// Sine, for |x| ≤ [`super::TRIG_LIMIT`].
#[inline(always)]
pub(crate) fn sin<const FMA: bool>(x: f32) -> f32 {
    sin_shifted::<FMA>(x, 0)
}

/// Cosine, for |x| ≤ [`super::TRIG_LIMIT`].
#[inline(always)]
pub(crate) fn cos<const FMA: bool>(x: f32) -> f32 {
    sin_shifted::<FMA>(x, 1)
}
