//! A second meaning of the graph: every operation spelled out, element by element in f64, without
//! a compiler. What the plans compute is tested against it.

use nerve_core::ops::{Conv, Scattering, Slice};
use nerve_core::{DType, Op, Tensor};
use nerve_cpu::fused::{BinaryOp, Reduce, UnaryOp};
use std::collections::HashMap;
use std::rc::Rc;

/// Elements in row-major order.
#[derive(Clone, Debug)]
pub struct Array {
    pub shape: Vec<usize>,
    pub dtype: DType,
    pub data: Vec<f64>,
}

/// Values of nodes that are known: those computed already, and those given for leaves.
pub type Known = HashMap<u64, Rc<Array>>;

/// All points of `shape`, the last axis fastest.
pub fn points(shape: &[usize]) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for &extent in shape {
        all = all
            .iter()
            .flat_map(|point| {
                (0..extent).map(move |i| {
                    let mut longer: Vec<usize> = point.clone();
                    longer.push(i);
                    longer
                })
            })
            .collect();
    }
    all
}

impl Array {
    fn index(&self, point: &[usize]) -> usize {
        self.shape.iter().zip(point).fold(0, |at, (&extent, &i)| {
            assert!(i < extent, "{point:?} of {:?}", self.shape);
            at * extent + i
        })
    }

    fn at(&self, point: &[usize]) -> f64 {
        self.data[self.index(point)]
    }

    fn filled(shape: &[usize], dtype: DType, value: f64) -> Array {
        Array { shape: shape.to_vec(), dtype, data: vec![value; shape.iter().product()] }
    }

    fn build(shape: &[usize], dtype: DType, mut f: impl FnMut(&[usize]) -> f64) -> Array {
        let data = points(shape).iter().map(|p| round(f(p), dtype)).collect();
        Array { shape: shape.to_vec(), dtype, data }
    }

    fn map(&self, dtype: DType, f: impl Fn(f64) -> f64) -> Array {
        let data = self.data.iter().map(|&x| round(f(x), dtype)).collect();
        Array { shape: self.shape.clone(), dtype, data }
    }
}

/// The nearest value of the type; integers wrap.
fn round(x: f64, dtype: DType) -> f64 {
    match dtype {
        DType::F32 => f64::from(x as f32),
        DType::F64 => x,
        DType::I32 => f64::from(x as i64 as i32),
        DType::I64 => x as i64 as f64,
        DType::U8 => f64::from(x as i64 as u8),
        DType::I8 => f64::from(x as i64 as i8),
        DType::Bool => f64::from(u8::from(x != 0.0)),
    }
}

/// The smallest and the largest value of the type.
fn range(dtype: DType) -> (f64, f64) {
    match dtype {
        DType::F32 | DType::F64 => (f64::NEG_INFINITY, f64::INFINITY),
        DType::I32 => (f64::from(i32::MIN), f64::from(i32::MAX)),
        DType::I64 => (i64::MIN as f64, i64::MAX as f64),
        DType::U8 => (0.0, 255.0),
        DType::I8 => (-128.0, 127.0),
        DType::Bool => (0.0, 1.0),
    }
}

/// The value of `tensor`.
pub fn evaluate(tensor: &Tensor, known: &mut Known) -> Rc<Array> {
    if let Some(array) = known.get(&tensor.id()) {
        return array.clone();
    }
    let inputs: Vec<Rc<Array>> = tensor.inputs().iter().map(|t| evaluate(t, known)).collect();
    let array = Rc::new(apply(tensor, &inputs, known));
    assert_eq!(array.shape, **tensor.shape(), "{tensor:?}: inferred and real shape");
    assert_eq!(array.dtype, tensor.dtype(), "{tensor:?}: inferred and real type");
    known.insert(tensor.id(), array.clone());
    array
}

fn apply(node: &Tensor, inputs: &[Rc<Array>], known: &mut Known) -> Array {
    let (shape, dtype) = (node.shape().to_vec(), node.dtype());
    let x = inputs.first().cloned();
    let x = || x.clone().expect("an operand");
    match node.op() {
        Op::Constant(_) => Array { shape, dtype, data: super::values(node) },
        // Other leaves, and random numbers, which have tests of their own.
        Op::Argument(_) | Op::ReadVar(_) | Op::Random(_) => {
            Array { shape, dtype, data: super::values(node) }
        }
        Op::Full(full) => Array::filled(&shape, dtype, full.value.get()),
        Op::Iota(iota) => Array::build(&shape, dtype, |p| {
            iota.weights.iter().zip(p).map(|(&w, &i)| (w * i as i64) as f64).sum()
        }),
        Op::Unary(op) => {
            let real = x().dtype.is_float();
            x().map(dtype, |v| if real { unary(op.op, v) } else { unary_int(op.op, v) })
        }
        Op::Binary(op) => {
            let (a, b) = (x(), inputs[1].clone());
            let real = a.dtype.is_float();
            let pairs = a.data.iter().zip(&b.data);
            let f = |(&a, &b): (&f64, &f64)| {
                let exact = if real { binary(op.op, a, b) } else { binary_int(op.op, a, b) };
                round(exact, dtype)
            };
            Array { shape, dtype, data: pairs.map(f).collect() }
        }
        Op::Select(_) => {
            let choose = |i: usize| inputs[if x().data[i] != 0.0 { 1 } else { 2 }].data[i];
            Array { shape, dtype, data: (0..node.numel()).map(choose).collect() }
        }
        Op::Cast(_) => {
            let real = x().dtype.is_float();
            x().map(dtype, |v| match dtype {
                DType::I32 if real => f64::from(v as i32),
                DType::U8 if real => f64::from(v as u8),
                DType::I8 if real => f64::from(v as i8),
                _ => v,
            })
        }
        Op::Detach(_) => (*x()).clone(),
        Op::Reshape(_) => Array { shape, ..(*x()).clone() },
        Op::Permute(op) => Array::build(&shape, dtype, |p| {
            let mut from = vec![0; p.len()];
            op.order.iter().zip(p).for_each(|(&axis, &i)| from[axis] = i);
            x().at(&from)
        }),
        Op::Broadcast(_) => Array::build(&shape, dtype, |p| {
            let inner = &p[p.len() - x().shape.len()..];
            let x = x();
            let from = inner.iter().zip(&x.shape).map(|(&i, &n)| if n == 1 { 0 } else { i });
            x.at(&from.collect::<Vec<_>>())
        }),
        Op::Slice(op) => Array::build(&shape, dtype, |p| x().at(&sliced(op, p))),
        Op::Pad(op) => {
            let mut y = Array::filled(&shape, dtype, round(op.value.get(), dtype));
            for p in points(&x().shape) {
                let to: Vec<usize> =
                    (0..p.len()).map(|a| op.before[a] + p[a] * (op.between[a] + 1)).collect();
                let at = y.index(&to);
                y.data[at] = x().at(&p);
            }
            y
        }
        Op::Concat(op) => {
            let mut y = Array::filled(&shape, dtype, 0.0);
            for (input, &start) in inputs.iter().zip(&op.starts) {
                for mut p in points(&input.shape) {
                    let value = input.at(&p);
                    p[op.axis] += start;
                    let at = y.index(&p);
                    y.data[at] = value;
                }
            }
            y
        }
        Op::Reduce(op) => {
            let (name, identity) = match op.kind {
                Reduce::Sum => (BinaryOp::Add, 0.0),
                Reduce::Prod => (BinaryOp::Mul, 1.0),
                Reduce::Max => (BinaryOp::Max, range(dtype).0),
                Reduce::Min => (BinaryOp::Min, range(dtype).1),
            };
            let mut y = Array::filled(&shape, dtype, identity);
            for p in points(&x().shape) {
                let to: Vec<usize> =
                    (0..p.len()).map(|a| if op.axes.contains(&a) { 0 } else { p[a] }).collect();
                let at = y.index(&to);
                y.data[at] = match dtype.is_float() {
                    true => binary(name, y.data[at], x().at(&p)),
                    false => round(binary_int(name, y.data[at], x().at(&p)), dtype),
                };
            }
            y.data.iter_mut().for_each(|v| *v = round(*v, dtype));
            y
        }
        Op::Matmul(_) | Op::IntMatmul(_) => {
            let (a, b) = (x(), inputs[1].clone());
            Array::build(&shape, dtype, |p| {
                let (batch, ij) = p.split_at(p.len() - 2);
                let k = a.shape[a.shape.len() - 1];
                let term = |l: usize| {
                    a.at(&[batch, &[ij[0], l]].concat()) * b.at(&[batch, &[l, ij[1]]].concat())
                };
                (0..k).map(term).sum()
            })
        }
        Op::Conv(op) => {
            let (image, filter) = (x(), inputs[1].clone());
            let mut y = Array::filled(&shape, dtype, 0.0);
            each_product(op, &image.shape, &filter.shape, &shape, |p, q, r| {
                let at = y.index(r);
                y.data[at] += image.at(p) * filter.at(q);
            });
            y.data.iter_mut().for_each(|v| *v = round(*v, dtype));
            y
        }
        Op::ConvWeightGrad(op) => {
            let (image, dy) = (x(), inputs[1].clone());
            let mut dw = Array::filled(&shape, dtype, 0.0);
            each_product(&op.conv, &image.shape, &shape, &dy.shape, |p, q, r| {
                let at = dw.index(q);
                dw.data[at] += image.at(p) * dy.at(r);
            });
            dw.data.iter_mut().for_each(|v| *v = round(*v, dtype));
            dw
        }
        Op::Gather(op) => {
            let (from, index) = (x(), inputs[1].clone());
            Array::build(&shape, dtype, |p| {
                let (before, rest) = p.split_at(op.axis);
                let (place, after) = rest.split_at(index.shape.len());
                from.at(&[before, &[index.at(place) as usize], after].concat())
            })
        }
        Op::ScatterAdd(op) => {
            let (from, index) = (x(), inputs[1].clone());
            let mut y = Array::filled(&shape, dtype, 0.0);
            for p in points(&from.shape) {
                let (before, rest) = p.split_at(op.axis);
                let (place, after) = rest.split_at(index.shape.len());
                let to = [before, &[index.at(place) as usize], after].concat();
                let at = y.index(&to);
                y.data[at] += from.at(&p);
            }
            y.data.iter_mut().for_each(|v| *v = round(*v, dtype));
            y
        }
        Op::GatherElements(op) => {
            let (from, index) = (x(), inputs[1].clone());
            Array::build(&shape, dtype, |p| {
                let mut place = p.to_vec();
                place[op.axis] = index.at(p) as usize;
                from.at(&place)
            })
        }
        Op::ScatterAddElements(op) => {
            let (from, index) = (x(), inputs[1].clone());
            let mut y = Array::filled(&shape, dtype, 0.0);
            for p in points(&from.shape) {
                let mut place = p.clone();
                place[op.axis] = index.at(&p) as usize;
                let at = y.index(&place);
                y.data[at] += from.at(&p);
            }
            y.data.iter_mut().for_each(|v| *v = round(*v, dtype));
            y
        }
        Op::Scatter(op) => {
            let (index, src) = (inputs[1].clone(), inputs[2].clone());
            let mut y = (*x()).clone();
            for p in points(&src.shape) {
                let mut place = p.clone();
                place[op.axis] = index.at(&p) as usize;
                let at = y.index(&place);
                let (old, new) = (y.data[at], src.at(&p));
                let met = match op.how {
                    Scattering::Replace => new,
                    Scattering::Mul => old * new,
                    Scattering::Max => old.max(new),
                    Scattering::Min => old.min(new),
                    Scattering::Add => panic!("adds by another operation"),
                };
                y.data[at] = round(met, dtype);
            }
            y
        }
        Op::ArgSort(op) => {
            let from = x();
            along(&from, op.axis, &shape, dtype, |line| {
                let mut order: Vec<usize> = (0..line.len()).collect();
                order.sort_by(|&i, &j| match op.descending {
                    true => line[j].total_cmp(&line[i]),
                    false => line[i].total_cmp(&line[j]),
                });
                order.into_iter().map(|i| i as f64).collect()
            })
        }
        Op::ArgReduce(op) => {
            let from = x();
            let sign = if format!("{:?}", op.kind) == "Max" { 1.0 } else { -1.0 };
            along(&from, op.axis, &shape, dtype, |line| {
                let mut best = 0;
                for i in 0..line.len() {
                    if sign * line[i] > sign * line[best] {
                        best = i;
                    }
                }
                vec![best as f64]
            })
        }
        Op::CumSum(op) => {
            let from = x();
            along(&from, op.axis, &shape, dtype, |line| {
                let n = line.len();
                let counted = |i: usize, j: usize| match (op.reverse, op.exclusive) {
                    (false, false) => j <= i,
                    (false, true) => j < i,
                    (true, false) => j >= i,
                    (true, true) => j > i,
                };
                let sum = |i: usize| (0..n).filter(|&j| counted(i, j)).map(|j| line[j]).sum();
                (0..n).map(sum).collect()
            })
        }
        // Kernels are tested against what they say they stand for.
        op => {
            let simpler = op.rule().decompose(node.inputs());
            let simpler = simpler.unwrap_or_else(|| panic!("no reference for {op:?}"));
            (*evaluate(&simpler, known)).clone()
        }
    }
}

/// `f` of each line along `axis`.
fn along(
    x: &Array,
    axis: usize,
    shape: &[usize],
    dtype: DType,
    f: impl Fn(&[f64]) -> Vec<f64>,
) -> Array {
    let mut y = Array::filled(shape, dtype, 0.0);
    let mut starts = shape.to_vec();
    starts[axis] = starts[axis].min(1);
    for mut p in points(&starts) {
        let line: Vec<f64> = (0..x.shape[axis])
            .map(|i| {
                p[axis] = i;
                x.at(&p)
            })
            .collect();
        for (i, value) in f(&line).into_iter().enumerate() {
            p[axis] = i;
            let at = y.index(&p);
            y.data[at] = round(value, dtype);
        }
    }
    y
}

fn sliced(op: &Slice, point: &[usize]) -> Vec<usize> {
    let at = |axis: usize| op.start[axis] as isize + op.step[axis] * point[axis] as isize;
    (0..point.len()).map(|axis| at(axis) as usize).collect()
}

/// Calls `visit` with the places in image, filter and result of each product of a convolution.
fn each_product(
    conv: &Conv,
    image: &[usize],
    filter: &[usize],
    result: &[usize],
    mut visit: impl FnMut(&[usize], &[usize], &[usize]),
) {
    let (inputs, outputs) = (image[3] / conv.groups, result[3] / conv.groups);
    for r in points(result) {
        for q in points(&filter[..3]) {
            let y = r[1] * conv.stride[0] + q[0] * conv.dilation[0];
            let x = r[2] * conv.stride[1] + q[1] * conv.dilation[1];
            let channel = r[3] / outputs * inputs + q[2];
            visit(&[r[0], y, x, channel], &[q[0], q[1], q[2], r[3]], &r);
        }
    }
}

fn unary(op: UnaryOp, x: f64) -> f64 {
    use UnaryOp::*;
    match op {
        Neg => -x,
        Abs => x.abs(),
        Sign => {
            if x > 0.0 {
                1.0
            } else if x < 0.0 {
                -1.0
            } else {
                x
            }
        }
        Recip => x.recip(),
        Square => x * x,
        Sqrt => x.sqrt(),
        Rsqrt => x.sqrt().recip(),
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
        Erf => erf(x),
        Gelu => x * 0.5 * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2)),
        Relu => {
            if x < 0.0 {
                0.0
            } else {
                x
            }
        }
        Floor => x.floor(),
        Ceil => x.ceil(),
        Round => x.round_ties_even(),
        Trunc => x.trunc(),
        Not => f64::from(u8::from(x == 0.0)),
        IsNan => f64::from(u8::from(x.is_nan())),
        IsFinite => f64::from(u8::from(x.is_finite())),
    }
}

/// 2/√π Σ (−1)ⁿ x²ⁿ⁺¹ / (n! (2n+1)): good to some 1e-13 for |x| < 3, where the table tests it.
fn erf(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    // The series with positive terms, e^(−x²) Σ 2ⁿ x²ⁿ⁺¹ / (2n+1)!!, does not cancel.
    let (mut term, mut sum, mut n) = (x, x, 0.0);
    while term.abs() > 1e-18 * sum.abs() && n < 400.0 {
        n += 1.0;
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

fn unary_int(op: UnaryOp, x: f64) -> f64 {
    match op {
        UnaryOp::Neg => -x,
        UnaryOp::Abs => x.abs(),
        UnaryOp::Sign => {
            if x == 0.0 {
                0.0
            } else {
                x.signum()
            }
        }
        UnaryOp::Square => x * x,
        UnaryOp::Relu => x.max(0.0),
        UnaryOp::Not => f64::from(u8::from(x == 0.0)),
        UnaryOp::IsNan => 0.0,
        UnaryOp::IsFinite => 1.0,
        UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round | UnaryOp::Trunc => x,
        _ => panic!("{op:?} of an integer"),
    }
}

fn binary(op: BinaryOp, a: f64, b: f64) -> f64 {
    use BinaryOp::*;
    let truth = |t: bool| f64::from(u8::from(t));
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
        GeluGrad => {
            let cdf = 0.5 * (1.0 + erf(a * std::f64::consts::FRAC_1_SQRT_2));
            b * (cdf + a * (-0.5 * a * a).exp() / (2.0 * std::f64::consts::PI).sqrt())
        }
        Eq => truth(a == b),
        Ne => truth(a != b),
        Lt => truth(a < b),
        Le => truth(a <= b),
        Gt => truth(a > b),
        Ge => truth(a >= b),
        And => truth(a != 0.0 && b != 0.0),
        Or => truth(a != 0.0 || b != 0.0),
        Xor => truth((a != 0.0) != (b != 0.0)),
        BitAnd | BitOr | BitXor | Shl | Shr => panic!("{op:?} of floats"),
    }
}

fn binary_int(op: BinaryOp, a: f64, b: f64) -> f64 {
    match op {
        BinaryOp::Div if b == 0.0 => 0.0,
        BinaryOp::Div => (a / b).trunc(),
        BinaryOp::Rem if b == 0.0 => 0.0,
        // Beyond 2^53 a product of two i32 may lose bits that would survive wrapping around.
        BinaryOp::Mul if (a * b).abs() >= 2f64.powi(53) => {
            f64::from((a as i64).wrapping_mul(b as i64) as i32)
        }
        BinaryOp::Pow => nerve_pow(a as i64, b as i64),
        BinaryOp::BitAnd => (a as i64 & b as i64) as f64,
        BinaryOp::BitOr => (a as i64 | b as i64) as f64,
        BinaryOp::BitXor => (a as i64 ^ b as i64) as f64,
        BinaryOp::Shl if !(0.0..32.0).contains(&b) => 0.0,
        BinaryOp::Shl => a * b.exp2(),
        BinaryOp::Shr if b < 0.0 => (a / 2f64.powi(70)).floor(),
        BinaryOp::Shr => (a / b.exp2()).floor(),
        _ => binary(op, a, b),
    }
}

fn nerve_pow(a: i64, b: i64) -> f64 {
    match (a, b) {
        (1, _) => 1.0,
        (-1, b) => {
            if b % 2 == 0 {
                1.0
            } else {
                -1.0
            }
        }
        (_, b) if b < 0 => 0.0,
        (a, b) => (0..b).fold(1i64, |p, _| p.wrapping_mul(a)) as f64,
    }
}
