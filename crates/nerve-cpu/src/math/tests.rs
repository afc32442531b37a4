//! Accuracy of the functions, in units in the last place, on every instruction set.

use super::{decay, exp, scalar};
use crate::fused::{BinaryOp, UnaryOp, binary_on, unary_on};
use crate::real::testing::isas;

/// Bit patterns in a block, and blocks of all patterns.
const BLOCK: usize = 1 << 12;

/// Inputs of a sample, evenly spread over all bit patterns: ten million and a few.
const SAMPLE: u64 = 10_002_432;

/// The distance of `got` from `exact` in units of the last place that an `f32` of that size has.
fn ulps(got: f32, exact: f64) -> f64 {
    if got.is_nan() || exact.is_nan() {
        return if got.is_nan() && exact.is_nan() { 0.0 } else { f64::INFINITY };
    }
    let nearest = exact as f32;
    if got == nearest {
        // What no f32 can hold counts as right when it is rounded to infinity or zero.
        return if nearest.is_infinite() { 0.0 } else { distance(got as f64, exact) };
    }
    // An overflow that came too early or too late is judged by the next power of two.
    let finite = |x: f64| if x.is_infinite() { x.signum() * 2f64.powi(128) } else { x };
    let limit = |x: f64| x.clamp(-(2f64.powi(128)), 2f64.powi(128));
    distance(finite(got as f64), limit(exact))
}

fn distance(a: f64, exact: f64) -> f64 {
    let exponent = ((exact.abs().to_bits() >> 52) as i32 - 1023).clamp(-126, 127);
    (a - exact).abs() / 2f64.powi(exponent - 23)
}

/// The largest error over the inputs with bit patterns `i·stride`, and where it is.
fn worst(op: UnaryOp, exact: fn(f64) -> f64, stride: u64) -> (f64, f32) {
    let mut worst = (0.0, 0.0);
    let mut inputs = vec![0.0f32; BLOCK];
    let mut outputs = vec![0.0f32; BLOCK];
    let mut expected = vec![0.0f64; BLOCK];
    let mut next = 0u64;
    while next < 1 << 32 {
        for (x, exact_y) in inputs.iter_mut().zip(&mut expected) {
            *x = f32::from_bits(next.min(u32::MAX as u64) as u32);
            *exact_y = exact(*x as f64);
            next += stride;
        }
        for isa in isas() {
            unary_on(isa, op, &mut outputs, &inputs);
            for ((&x, &y), &exact) in inputs.iter().zip(&outputs).zip(&expected) {
                let error = ulps(y, exact);
                if error > worst.0 {
                    worst = (error, x);
                }
            }
        }
    }
    worst
}

fn check(op: UnaryOp, exact: fn(f64) -> f64, stride: u64) {
    let (error, at) = worst(op, exact, stride);
    println!("{op}: {error:.3} ULP at {at:e}");
    assert!(error <= 2.0, "{op}({at:e}) is off by {error} ULP");
}

macro_rules! accuracy {
    ($($name:ident $op:ident $exact:expr;)*) => {
        mod sample {
            use super::*;
            $(#[test]
            fn $name() {
                check(UnaryOp::$op, $exact, (1 << 32) / SAMPLE);
            })*
        }

        mod every_float {
            use super::*;
            $(#[test]
            #[ignore = "minutes: all 2³² inputs"]
            fn $name() {
                check(UnaryOp::$op, $exact, 1);
            })*
        }
    };
}

accuracy! {
    exp Exp f64::exp;
    exp2 Exp2 f64::exp2;
    expm1 Expm1 f64::exp_m1;
    log Log f64::ln;
    log2 Log2 f64::log2;
    log1p Log1p f64::ln_1p;
    sin Sin f64::sin;
    cos Cos f64::cos;
    sinh Sinh f64::sinh;
    cosh Cosh f64::cosh;
    tanh Tanh f64::tanh;
    sigmoid Sigmoid scalar::sigmoid;
    erf Erf scalar::erf;
    gelu Gelu scalar::gelu;
}

/// The slope of GELU, over numbers that are evenly spread by their size.
#[test]
fn the_slope_of_gelu() {
    let mut worst = (0.0f64, 0.0f32);
    for block in 0..200 {
        let at = |i: usize| (block * BLOCK + i) as f32 / (200 * BLOCK) as f32 * 32.0 - 16.0;
        let inputs: Vec<f32> = (0..BLOCK).map(at).collect();
        let (ones, mut outputs) = (vec![1.0f32; BLOCK], vec![0.0f32; BLOCK]);
        for isa in isas() {
            binary_on(isa, BinaryOp::GeluGrad, &mut outputs, &inputs, &ones);
            for (&x, &y) in inputs.iter().zip(&outputs) {
                let error = (y as f64 - scalar::gelu_slope(x as f64)).abs();
                if error > worst.0 {
                    worst = (error, x);
                }
            }
        }
    }
    println!("slope of gelu: {:e} at {}", worst.0, worst.1);
    assert!(worst.0 <= 2.4e-7, "off by {:e} at {}", worst.0, worst.1);
    let special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 1e30, -1e30, 1e-40];
    let (x, mut y) = ([special, special].concat(), [0.0f32; 16]);
    for isa in isas() {
        binary_on(isa, BinaryOp::GeluGrad, &mut y, &x, &[1.0; 16]);
        assert!(y[0].is_nan());
        for (x, y) in x.iter().zip(&y).skip(1).take(7) {
            let exact = scalar::gelu_slope(*x as f64) as f32;
            assert!((exact - y).abs() <= 2.4e-7, "{x}: {y}, not {exact}");
        }
    }
}

#[test]
fn decay_is_the_exponential_but_for_what_is_subnormal() {
    for i in 0..=870_000 {
        let x = -(i as f32) * 1e-4;
        assert_eq!(decay::<true>(x).to_bits(), exp::<true>(x).to_bits(), "{x}");
        assert_eq!(decay::<false>(x).to_bits(), exp::<false>(x).to_bits(), "{x}");
    }
    for x in [-87.01, -100.0, -1e30, f32::NEG_INFINITY] {
        assert_eq!(decay::<true>(x).to_bits(), 0, "{x}");
    }
    assert!(decay::<true>(f32::NAN).is_nan());
}

#[test]
fn gates_follow_the_logistic_function() {
    let worst = |gate: fn(f32) -> f32| {
        let mut worst = 0.0f64;
        for i in -800_000..=800_000 {
            let x = i as f32 * 1e-4;
            let exact = scalar::sigmoid(f64::from(x));
            let spacing = f64::from(f32::EPSILON) * 2f64.powi(exact.log2().floor() as i32);
            worst = worst.max((f64::from(gate(x)) - exact).abs() / spacing);
        }
        worst
    };
    assert!(worst(super::gate::<false>) <= 3.0 && worst(super::gate::<true>) <= 3.0);
    for gate in [super::gate::<false>, super::gate::<true>] {
        assert!(gate(f32::NAN).is_nan());
        assert_eq!(gate(f32::INFINITY), 1.0);
        assert!((0.0..2e-35).contains(&gate(f32::NEG_INFINITY)));
    }
}

#[test]
fn special_values() {
    let at = |op, x: f32| {
        let mut y = [0.0; 16];
        isas().into_iter().for_each(|isa| {
            let before = y[0];
            unary_on(isa, op, &mut y, &[x; 16]);
            assert!(before == 0.0 || before.to_bits() == y[0].to_bits() || before.is_nan());
        });
        y[0]
    };
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    assert_eq!(at(UnaryOp::Exp, -inf), 0.0);
    assert_eq!(at(UnaryOp::Exp, inf), inf);
    assert_eq!(at(UnaryOp::Exp, 0.0), 1.0);
    assert_eq!(at(UnaryOp::Log, 1.0), 0.0);
    assert_eq!(at(UnaryOp::Log, 0.0), -inf);
    assert!(at(UnaryOp::Log, -1.0).is_nan());
    assert_eq!(at(UnaryOp::Log2, 1024.0), 10.0);
    assert_eq!(at(UnaryOp::Log2, f32::from_bits(1)), -149.0);
    assert_eq!(at(UnaryOp::Tanh, inf), 1.0);
    assert_eq!(at(UnaryOp::Tanh, -inf), -1.0);
    assert_eq!(at(UnaryOp::Sigmoid, inf), 1.0);
    assert_eq!(at(UnaryOp::Sigmoid, -inf), 0.0);
    assert!(at(UnaryOp::Sigmoid, -100.0) > 0.0, "small results must not vanish");
    assert_eq!(at(UnaryOp::Erf, inf), 1.0);
    assert_eq!(at(UnaryOp::Gelu, -inf), 0.0);
    assert_eq!(at(UnaryOp::Gelu, inf), inf);
    assert!(at(UnaryOp::Sin, inf).is_nan());
    for op in UnaryOp::ALL
        .iter()
        .filter(|op| !matches!(op, UnaryOp::Not | UnaryOp::IsNan | UnaryOp::IsFinite))
    {
        assert!(at(*op, nan).is_nan(), "{op} of NaN");
    }
}
