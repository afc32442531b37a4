//! The meaning of a group, one point at a time and without any cleverness: what the fast
//! interpreter is tested against.

use super::{BinaryOp, Compute, Element, Fused, Random, Reduce, Step, UnaryOp, View};
use crate::math::scalar;
use crate::random;

/// A value: floats as `f64` (rounded to `f32` after each step where the group computes in that),
/// integers as `i64`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Float(f64),
    Int(i64),
}

use Number::{Float, Int};

/// Reads and writes single elements, by view and position in its region.
pub(super) trait Elements {
    fn load(&self, view: &View, at: usize) -> Number;
    fn store(&mut self, view: &View, at: usize, value: Number);
}

/// Runs the whole group. A reduction in parts leaves its whole result in part 0.
pub(super) fn evaluate(fused: &Fused, elements: &mut dyn Elements) {
    let mut totals: Vec<Vec<Number>> = Vec::new();
    for output in &fused.outputs {
        let len =
            place(&output.view, &fused.dims.iter().map(|d| d.max(&1) - 1).collect::<Vec<_>>());
        let reach = output.view.offset.max(len) + 1;
        totals.push(match output.reduce {
            Some(reduce) => vec![identity(reduce, fused.compute); reach],
            None => Vec::new(),
        });
    }
    each_point(&fused.dims, |number, point| {
        let values = values(fused, elements, number, point);
        for (output, totals) in fused.outputs.iter().zip(&mut totals) {
            let (value, at) = (values[output.value as usize], place(&output.view, point));
            match output.reduce {
                Some(reduce) => totals[at] = combine(reduce, totals[at], value),
                None => elements.store(&output.view, at, value),
            }
        }
    });
    for (output, totals) in fused.outputs.iter().zip(&totals) {
        if output.reduce.is_none() {
            continue;
        }
        let dims = output.view.strides.iter().zip(&fused.dims);
        let kept: Vec<usize> = dims.map(|(s, d)| if *s == 0 { 1 } else { *d }).collect();
        each_point(&kept, |_, point| {
            let at = place(&output.view, point);
            elements.store(&output.view, at, round(fused.compute, totals[at]));
        });
    }
}

fn place(view: &View, point: &[usize]) -> usize {
    let steps = view.strides.iter().zip(point);
    steps.fold(view.offset as isize, |at, (s, p)| at + s * *p as isize).max(0) as usize
}

/// Calls `visit` with row-major number and coordinates of each point.
pub(super) fn each_point(dims: &[usize], mut visit: impl FnMut(usize, &[usize])) {
    let mut point = vec![0; dims.len()];
    for number in 0..dims.iter().product() {
        visit(number, &point);
        for (coordinate, &dim) in point.iter_mut().zip(dims).rev() {
            *coordinate += 1;
            if *coordinate < dim {
                break;
            }
            *coordinate = 0;
        }
    }
}

fn values(fused: &Fused, elements: &dyn Elements, number: usize, point: &[usize]) -> Vec<Number> {
    let mut values: Vec<Number> = Vec::new();
    let compute = fused.compute;
    for step in &fused.code {
        let value = |i: u16| values[i as usize];
        let next = match step {
            Step::Load(input) => {
                let view = &fused.inputs[*input as usize];
                convert(compute, elements.load(view, place(view, point)))
            }
            Step::Const(bits) if compute.is_integer() => Int(*bits as i64),
            Step::Const(bits) => Float(f64::from_bits(*bits)),
            Step::Unary(op, a) => unary(*op, value(*a)),
            Step::Binary(op, a, b) => binary(*op, value(*a), value(*b)),
            Step::Select(c, a, b) => value(if truth(value(*c)) { *a } else { *b }),
            Step::MulAdd(a, b, c) => match (value(*a), value(*b), value(*c)) {
                (Float(a), Float(b), Float(c)) => Float(a.mul_add(b, c)),
                (a, b, c) => binary(BinaryOp::Add, binary(BinaryOp::Mul, a, b), c),
            },
            Step::Index(weights) => {
                let terms = weights.iter().zip(point).map(|(w, p)| w * *p as i64);
                convert(compute, Int(terms.sum()))
            }
            Step::Random { kind, key, stream } => {
                let view = &fused.inputs[*key as usize];
                let word = |i| match elements.load(view, view.offset + i) {
                    Int(word) => word as u32,
                    Float(_) => unreachable!("a key is integer"),
                };
                let key = random::Key::from_words([word(0), word(1), word(2), word(3)], *stream);
                Float(match (compute, kind) {
                    (Compute::F32, Random::Uniform) => key.uniform_f32(number as u64) as f64,
                    (Compute::F32, Random::Normal) => key.normal_f32(number as u64) as f64,
                    (_, Random::Uniform) => key.uniform_f64(number as u64),
                    (_, Random::Normal) => key.normal_f64(number as u64),
                })
            }
        };
        values.push(round(compute, next));
    }
    values
}

/// The nearest value of the group's type; integers wrap.
fn round(compute: Compute, value: Number) -> Number {
    match (compute, value) {
        (Compute::F32, Float(x)) => Float(x as f32 as f64),
        (Compute::I32, Int(x)) => Int(x as i32 as i64),
        (_, value) => value,
    }
}

/// From a storage type to the group's.
fn convert(compute: Compute, value: Number) -> Number {
    match (compute, value) {
        (Compute::F32, Int(x)) => Float(x as f32 as f64),
        (Compute::F64, Int(x)) => Float(x as f64),
        (Compute::I32, Float(x)) => Int(x as i32 as i64),
        (Compute::I64, Float(x)) => Int(x as i64),
        (_, value) => round(compute, value),
    }
}

/// The bytes of `value` in the storage type `element`.
pub(super) fn to_bytes(element: Element, value: Number) -> Vec<u8> {
    match (element, value) {
        (Element::F32, Float(x)) => (x as f32).to_ne_bytes().to_vec(),
        (Element::F32, Int(x)) => (x as f32).to_ne_bytes().to_vec(),
        (Element::F64, Float(x)) => x.to_ne_bytes().to_vec(),
        (Element::F64, Int(x)) => (x as f64).to_ne_bytes().to_vec(),
        (Element::I32, Float(x)) => (x as i32).to_ne_bytes().to_vec(),
        (Element::I32, Int(x)) => (x as i32).to_ne_bytes().to_vec(),
        (Element::I64, Float(x)) => (x as i64).to_ne_bytes().to_vec(),
        (Element::I64, Int(x)) => x.to_ne_bytes().to_vec(),
        (Element::U8, Float(x)) => vec![x as u8],
        (Element::U8, Int(x)) => vec![x as u8],
        (Element::I8, Float(x)) => vec![x as i8 as u8],
        (Element::I8, Int(x)) => vec![x as i8 as u8],
        (Element::Bool, value) => vec![truth(value) as u8],
    }
}

/// The value whose bytes in the storage type `element` start at `bytes`.
pub(super) fn from_bytes(element: Element, bytes: &[u8]) -> Number {
    let eight = || bytes[..8].try_into().unwrap();
    let four = || bytes[..4].try_into().unwrap();
    match element {
        Element::F32 => Float(f32::from_ne_bytes(four()) as f64),
        Element::F64 => Float(f64::from_ne_bytes(eight())),
        Element::I32 => Int(i32::from_ne_bytes(four()) as i64),
        Element::I64 => Int(i64::from_ne_bytes(eight())),
        Element::U8 => Int(bytes[0] as i64),
        Element::I8 => Int(bytes[0] as i8 as i64),
        Element::Bool => Int((bytes[0] != 0) as i64),
    }
}

fn truth(value: Number) -> bool {
    match value {
        Float(x) => x != 0.0,
        Int(x) => x != 0,
    }
}

pub(super) fn identity(reduce: Reduce, compute: Compute) -> Number {
    match (reduce, compute) {
        (Reduce::Sum, Compute::F32 | Compute::F64) => Float(0.0),
        (Reduce::Prod, Compute::F32 | Compute::F64) => Float(1.0),
        (Reduce::Max, Compute::F32 | Compute::F64) => Float(f64::NEG_INFINITY),
        (Reduce::Min, Compute::F32 | Compute::F64) => Float(f64::INFINITY),
        (Reduce::Sum, _) => Int(0),
        (Reduce::Prod, _) => Int(1),
        (Reduce::Max, Compute::I32) => Int(i32::MIN as i64),
        (Reduce::Min, Compute::I32) => Int(i32::MAX as i64),
        (Reduce::Max, _) => Int(i64::MIN),
        (Reduce::Min, _) => Int(i64::MAX),
    }
}

pub(super) fn combine(reduce: Reduce, total: Number, value: Number) -> Number {
    let op = match reduce {
        Reduce::Sum => BinaryOp::Add,
        Reduce::Prod => BinaryOp::Mul,
        Reduce::Max => BinaryOp::Max,
        Reduce::Min => BinaryOp::Min,
    };
    binary(op, total, value)
}

fn unary(op: UnaryOp, value: Number) -> Number {
    match value {
        Float(x) => Float(unary_float(op, x)),
        Int(x) => Int(match op {
            UnaryOp::Neg => x.wrapping_neg(),
            UnaryOp::Abs => x.wrapping_abs(),
            UnaryOp::Sign => x.signum(),
            UnaryOp::Square => x.wrapping_mul(x),
            UnaryOp::Relu => x.max(0),
            UnaryOp::Not => (x == 0) as i64,
            UnaryOp::IsNan => 0,
            UnaryOp::IsFinite => 1,
            _ => x,
        }),
    }
}

pub(super) fn unary_float(op: UnaryOp, x: f64) -> f64 {
    use UnaryOp::*;
    match op {
        Neg => -x,
        Abs => x.abs(),
        Sign if x.is_nan() || x == 0.0 => x + 0.0,
        Sign => x.signum(),
        Recip => 1.0 / x,
        Square => x * x,
        Sqrt => x.sqrt(),
        Rsqrt => 1.0 / x.sqrt(),
        Exp => x.exp(),
        Exp2 => x.exp2(),
        Expm1 => x.exp_m1(),
        Log => x.ln(),
        Log2 => x.log2(),
        Log1p => x.ln_1p(),
        Sin => x.sin(),
        Cos => x.cos(),
        Tan => x.tan(),
        Asin => x.asin(),
        Acos => x.acos(),
        Atan => x.atan(),
        Sinh => x.sinh(),
        Cosh => x.cosh(),
        Tanh => x.tanh(),
        Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Erf => scalar::erf(x),
        Gelu => scalar::gelu(x),
        Relu if x.is_nan() => x,
        Relu => x.max(0.0),
        Floor => x.floor(),
        Ceil => x.ceil(),
        Round => x.round_ties_even(),
        Trunc => x.trunc(),
        Not => (x == 0.0) as u8 as f64,
        IsNan => x.is_nan() as u8 as f64,
        IsFinite => x.is_finite() as u8 as f64,
    }
}

fn binary(op: BinaryOp, a: Number, b: Number) -> Number {
    match (a, b) {
        (Float(a), Float(b)) => Float(binary_float(op, a, b)),
        (Int(a), Int(b)) => Int(binary_int(op, a, b)),
        _ => unreachable!("one type in a group"),
    }
}

pub(super) fn binary_float(op: BinaryOp, a: f64, b: f64) -> f64 {
    use BinaryOp::*;
    let truth = |t: bool| t as u8 as f64;
    match op {
        Add => a + b,
        Sub => a - b,
        Mul => a * b,
        Div => a / b,
        Pow => a.powf(b),
        Max | Min if a.is_nan() || b.is_nan() => f64::NAN,
        Max => a.max(b),
        Min => a.min(b),
        Rem => a % b,
        Atan2 => a.atan2(b),
        GeluGrad => b * scalar::gelu_slope(a),
        Eq => truth(a == b),
        Ne => truth(a != b),
        Lt => truth(a < b),
        Le => truth(a <= b),
        Gt => truth(a > b),
        Ge => truth(a >= b),
        And => truth(a != 0.0 && b != 0.0),
        Or => truth(a != 0.0 || b != 0.0),
        Xor => truth((a != 0.0) != (b != 0.0)),
        BitAnd | BitOr | BitXor | Shl | Shr => unreachable!("refused by the check"),
    }
}

fn binary_int(op: BinaryOp, a: i64, b: i64) -> i64 {
    use BinaryOp::*;
    match op {
        Add => a.wrapping_add(b),
        Sub => a.wrapping_sub(b),
        Mul => a.wrapping_mul(b),
        Div => a.checked_div(b).unwrap_or(if b == 0 { 0 } else { a }),
        Pow => scalar::pow_i64(a, b),
        Max => a.max(b),
        Min => a.min(b),
        Rem => a.checked_rem(b).unwrap_or(0),
        Atan2 | GeluGrad => unreachable!("refused by the check"),
        Eq => (a == b) as i64,
        Ne => (a != b) as i64,
        Lt => (a < b) as i64,
        Le => (a <= b) as i64,
        Gt => (a > b) as i64,
        Ge => (a >= b) as i64,
        And => (a != 0 && b != 0) as i64,
        Or => (a != 0 || b != 0) as i64,
        Xor => ((a != 0) != (b != 0)) as i64,
        BitAnd => a & b,
        BitOr => a | b,
        BitXor => a ^ b,
        // Values of 32 bits are stored in them, which cuts off what has left them.
        Shl => u32::try_from(b).ok().and_then(|b| a.checked_shl(b)).unwrap_or(0),
        Shr => a >> if (0..63).contains(&b) { b } else { 63 },
    }
}
