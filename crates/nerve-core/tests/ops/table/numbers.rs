//! Operations on single numbers, reductions, and sources.

use super::Order::{None as Never, Once, Smooth};
use super::*;
use nerve_core::DType;

type Method = fn(&Tensor) -> Tensor;

/// Functions of one number: how smooth, and where the samples lie.
const UNARY: &[(&str, Method, Order, (f64, f64))] = &[
    ("neg", |x| -x, Smooth, (-2.0, 2.0)),
    ("abs", Tensor::abs, Once, (-2.0, 2.0)),
    ("sign", Tensor::sign, Once, (-2.0, 2.0)),
    ("recip", Tensor::recip, Smooth, (0.5, 2.0)),
    ("square", Tensor::square, Smooth, (-2.0, 2.0)),
    ("sqrt", Tensor::sqrt, Smooth, (0.2, 3.0)),
    ("rsqrt", Tensor::rsqrt, Smooth, (0.4, 3.0)),
    ("exp", Tensor::exp, Smooth, (-2.0, 2.0)),
    ("exp2", Tensor::exp2, Smooth, (-2.0, 2.0)),
    ("expm1", Tensor::expm1, Smooth, (-2.0, 2.0)),
    ("log", Tensor::log, Smooth, (0.3, 3.0)),
    ("log2", Tensor::log2, Smooth, (0.3, 3.0)),
    ("log1p", Tensor::log1p, Smooth, (-0.6, 2.0)),
    ("sin", Tensor::sin, Smooth, (-4.0, 4.0)),
    ("cos", Tensor::cos, Smooth, (-4.0, 4.0)),
    ("tan", Tensor::tan, Smooth, (-1.1, 1.1)),
    ("asin", Tensor::asin, Smooth, (-0.9, 0.9)),
    ("acos", Tensor::acos, Smooth, (-0.9, 0.9)),
    ("atan", Tensor::atan, Smooth, (-2.0, 2.0)),
    ("asinh", Tensor::asinh, Smooth, (-2.0, 2.0)),
    ("acosh", Tensor::acosh, Smooth, (1.2, 3.0)),
    ("atanh", Tensor::atanh, Smooth, (-0.9, 0.9)),
    ("sinh", Tensor::sinh, Smooth, (-2.0, 2.0)),
    ("cosh", Tensor::cosh, Smooth, (-2.0, 2.0)),
    ("tanh", Tensor::tanh, Smooth, (-2.0, 2.0)),
    ("sigmoid", Tensor::sigmoid, Smooth, (-4.0, 4.0)),
    ("erf", Tensor::erf, Smooth, (-2.0, 2.0)),
    ("gelu", Tensor::gelu, Smooth, (-3.0, 3.0)),
    ("relu", Tensor::relu, Once, (-2.0, 2.0)),
    ("floor", Tensor::floor, Once, (-3.0, 3.0)),
    ("ceil", Tensor::ceil, Once, (-3.0, 3.0)),
    ("round", Tensor::round, Once, (-3.0, 3.0)),
    ("trunc", Tensor::trunc, Once, (-3.0, 3.0)),
    ("is_nan", Tensor::is_nan, Never, (-2.0, 2.0)),
    ("is_finite", Tensor::is_finite, Never, (-2.0, 2.0)),
    ("is_inf", Tensor::is_inf, Never, (-2.0, 2.0)),
    ("detach", Tensor::detach, Never, (-2.0, 2.0)),
    ("silu", Tensor::silu, Smooth, (-3.0, 3.0)),
    ("softplus", Tensor::softplus, Smooth, (-3.0, 3.0)),
    ("leaky_relu", |x| x.leaky_relu(0.1), Once, (-2.0, 2.0)),
    ("clamp", |x| x.clamp(-0.5, 0.5), Once, (-1.4, 1.4)),
    ("powf(0)", |x| x.powf(0.0), Never, (0.3, 2.0)),
    ("powf(0.5)", |x| x.powf(0.5), Smooth, (0.3, 2.0)),
    ("powf(1)", |x| x.powf(1.0), Smooth, (-2.0, 2.0)),
    ("powf(2)", |x| x.powf(2.0), Smooth, (-2.0, 2.0)),
    ("powf(3)", |x| x.powf(3.0), Smooth, (-2.0, 2.0)),
    ("powf(4)", |x| x.powf(4.0), Smooth, (-2.0, 2.0)),
    ("powf(1.7)", |x| x.powf(1.7), Smooth, (0.3, 2.0)),
    ("powf(-0.5)", |x| x.powf(-0.5), Smooth, (0.4, 2.0)),
    ("powf(-1)", |x| x.powf(-1.0), Smooth, (0.5, 2.0)),
    ("number +", |x| 1.5 + x, Smooth, (-2.0, 2.0)),
    ("number -", |x| 1 - x, Smooth, (-2.0, 2.0)),
    ("number /", |x| 2.0f32 / x, Smooth, (0.5, 2.0)),
    ("to f64 and back", |x| x.to_dtype(DType::F64).to_dtype(x.dtype()), Smooth, (-2.0, 2.0)),
    ("to i32", |x| x.to_dtype(DType::I32), Never, (-300.0, 300.0)),
    ("to i64", |x| x.to_dtype(DType::I64), Never, (-300.0, 300.0)),
    ("to u8", |x| x.to_dtype(DType::U8), Never, (-300.0, 600.0)),
    ("to i8", |x| x.to_dtype(DType::I8), Never, (-300.0, 300.0)),
    ("to bool", |x| x.to_dtype(DType::Bool), Never, (-2.0, 2.0)),
    ("logical_not", |x| x.gt(0.0).logical_not(), Never, (-2.0, 2.0)),
];

fn unary(all: &mut Vec<Case>) {
    for (n, &(name, f, order, range)) in UNARY.iter().enumerate() {
        for (i, &(shape, view)) in LAYOUTS.iter().enumerate() {
            let x = floats((100 * n + i) as u64, shape, view, range);
            all.push(Case::new(name, order, vec![x], move |a| f(&a[0])).gives(shape));
        }
    }
    // At zero, where a formula by cases would go wrong.
    for (name, f) in [("softplus", Tensor::softplus as Method), ("silu", Tensor::silu)] {
        let zero = input(Kind::Float, &[1], View::Plain, || 0.0);
        all.push(Case::new(format!("{name} at 0"), Smooth, vec![zero], move |a| f(&a[0])));
    }
    type OnIntegers = (&'static str, Method);
    let integers: &[OnIntegers] = &[
        ("neg", |x| -x),
        ("abs", Tensor::abs),
        ("sign", Tensor::sign),
        ("square", Tensor::square),
        ("relu", Tensor::relu),
        ("floor", Tensor::floor),
        ("is_nan", Tensor::is_nan),
        ("is_inf", Tensor::is_inf),
        ("bitwise_not", Tensor::bitwise_not),
        ("to f32", |x| x.to_dtype(DType::F32)),
        ("to f64", |x| x.to_dtype(DType::F64)),
        ("to u8", |x| x.to_dtype(DType::U8)),
        ("to i8", |x| x.to_dtype(DType::I8)),
        ("to i32", |x| x.to_dtype(DType::I32)),
        ("to i64", |x| x.to_dtype(DType::I64)),
        ("to bool", |x| x.to_dtype(DType::Bool)),
        ("narrow and back", |x| (x.to_dtype(DType::I8) + 100).to_dtype(DType::I32) * 2),
        ("+ 100", |x| x + 100),
        ("100 -", |x| 100 - x),
        ("* 3 / 2", |x| (x * 3) / 2),
        ("% 7", |x| x % 7),
    ];
    for (n, &(name, f)) in integers.iter().enumerate() {
        let signed = ints(n as u64, &[2, 7], (-200, 200));
        all.push(Case::new(name, Never, vec![signed], move |a| f(&a[0])).gives(&[2, 7]));
        let small = bytes(n as u64, &[3, 5]);
        all.push(Case::new(name, Never, vec![small], move |a| f(&a[0])).gives(&[3, 5]));
        for (kind, reach) in [(Kind::Long, 1 << 20), (Kind::Small, 128)] {
            let x = whole(kind, n as u64, &[5, 3], (-reach, reach));
            all.push(Case::new(name, Never, vec![x], move |a| f(&a[0])).gives(&[5, 3]));
        }
    }
    for dtype in [DType::F32, DType::F64, DType::I32, DType::I64, DType::U8, DType::I8, DType::Bool]
    {
        let name = format!("bool to {dtype}");
        all.push(Case::new(name, Never, vec![bools(3, &[9])], move |a| a[0].to_dtype(dtype)));
    }
}

type Method2 = fn(&Tensor, &Tensor) -> Tensor;

/// Functions of two numbers: how smooth, and where the samples of each lie.
type Row2 = (&'static str, Method2, Order, (f64, f64), (f64, f64));
const BINARY: &[Row2] = &[
    ("add", |a, b| a + b, Smooth, (-2.0, 2.0), (-2.0, 2.0)),
    ("sub", |a, b| a - b, Smooth, (-2.0, 2.0), (-2.0, 2.0)),
    ("mul", |a, b| a * b, Smooth, (-2.0, 2.0), (-2.0, 2.0)),
    ("div", |a, b| a / b, Smooth, (-2.0, 2.0), (0.5, 2.0)),
    ("pow", |a, b| a.pow(b), Smooth, (0.3, 2.0), (-2.0, 2.0)),
    ("maximum", |a, b| a.maximum(b), Once, (-2.0, 2.0), (-1.9, 1.9)),
    ("minimum", |a, b| a.minimum(b), Once, (-2.0, 2.0), (-1.9, 1.9)),
    ("rem", |a, b| a % b, Once, (-0.9, 0.9), (1.1, 1.9)),
    ("remainder", |a, b| a.remainder(b), Once, (-0.9, 0.9), (1.1, 1.9)),
    ("atan2", |a, b| a.atan2(b), Smooth, (-2.0, 2.0), (0.5, 2.0)),
    ("eq", |a, b| a.eq(b), Never, (-2.0, 2.0), (-2.0, 2.0)),
    ("ne", |a, b| a.ne(b), Never, (-2.0, 2.0), (-2.0, 2.0)),
    ("lt", |a, b| a.lt(b), Never, (-2.0, 2.0), (-2.0, 2.0)),
    ("le", |a, b| a.le(b), Never, (-2.0, 2.0), (-2.0, 2.0)),
    ("gt", |a, b| a.gt(b), Never, (-2.0, 2.0), (-2.0, 2.0)),
    ("ge", |a, b| a.ge(b), Never, (-2.0, 2.0), (-2.0, 2.0)),
];

/// Pairs of shapes that broadcast, and how the operands lie.
type Pair = (&'static [usize], View, &'static [usize], View, &'static [usize]);
const PAIRS: &[Pair] = &[
    (&[], View::Plain, &[], View::Plain, &[]),
    (&[], View::Plain, &[3], View::Plain, &[3]),
    (&[2, 3], View::Transposed, &[3], View::Flipped, &[2, 3]),
    (&[2, 1], View::Strided, &[1, 3], View::Plain, &[2, 3]),
    (&[2, 3], View::Cropped, &[2, 3], View::Transposed, &[2, 3]),
    (&[1], View::Plain, &[0], View::Plain, &[0]),
    (&[2, 1, 0], View::Plain, &[3, 1], View::Plain, &[2, 3, 0]),
    (&[3, 1, 2], View::Plain, &[2, 2], View::Repeated, &[3, 2, 2]),
];

fn binary(all: &mut Vec<Case>) {
    for (n, &(name, f, order, left, right)) in BINARY.iter().enumerate() {
        for (i, &(a, va, b, vb, shape)) in PAIRS.iter().enumerate() {
            let seed = (5000 + 100 * n + i) as u64;
            let inputs = vec![floats(seed, a, va, left), floats(seed + 50, b, vb, right)];
            all.push(Case::new(name, order, inputs, move |x| f(&x[0], &x[1])).gives(shape));
        }
        if !["atan2", "pow"].contains(&name) {
            let inputs = vec![ints(7, &[4, 5], (-3, 4)), ints(8, &[5], (-3, 4))];
            all.push(Case::new(name, Never, inputs, move |x| f(&x[0], &x[1])));
            let inputs = vec![bytes(7, &[4, 5]), bytes(8, &[4, 1])];
            all.push(Case::new(name, Never, inputs, move |x| f(&x[0], &x[1])));
            for (kind, reach) in [(Kind::Long, 1 << 24), (Kind::Small, 128)] {
                let inputs = [(7, [4, 5]), (8, [4, 1])];
                let inputs = inputs.map(|(i, shape)| whole(kind, i, &shape, (-reach, reach)));
                all.push(Case::new(name, Never, inputs.into(), move |x| f(&x[0], &x[1])));
            }
        }
    }
    let inputs = vec![ints(7, &[4, 5], (-3, 4)), ints(8, &[5], (0, 5))];
    all.push(Case::new("pow", Never, inputs, |x| x[0].pow(&x[1])));
    type Row = (&'static str, Method2);
    let bits: &[Row] = &[
        ("bitwise_and", |a, b| a.bitwise_and(b)),
        ("bitwise_or", |a, b| a.bitwise_or(b)),
        ("bitwise_xor", |a, b| a.bitwise_xor(b)),
        ("shift_left", |a, b| a.shift_left(b)),
        ("shift_right", |a, b| a.shift_right(b)),
    ];
    for &(name, f) in bits {
        for kind in [Kind::Int, Kind::Long, Kind::Byte, Kind::Small] {
            let low = if kind == Kind::Byte { 0 } else { -3 };
            let inputs = vec![whole(kind, 1, &[4, 5], (low, 120)), whole(kind, 2, &[5], (low, 9))];
            all.push(Case::new(name, Never, inputs, move |x| f(&x[0], &x[1])).gives(&[4, 5]));
        }
    }
    let truths: &[Row] = &[
        ("logical_and", |a, b| a.logical_and(b)),
        ("logical_or", |a, b| a.logical_or(b)),
        ("logical_xor", |a, b| a.logical_xor(b)),
        ("eq", |a, b| a.eq(b)),
        ("ne", |a, b| a.ne(b)),
    ];
    for &(name, f) in truths {
        let inputs = vec![bools(1, &[3, 4]), bools(2, &[4])];
        all.push(Case::new(name, Never, inputs, move |x| f(&x[0], &x[1])).gives(&[3, 4]));
    }
    // One tensor as both operands; equal operands, where the gradient is shared.
    all.push(Case::new("x * x", Smooth, vec![float(3, &[4])], |x| &x[0] * &x[0]));
    all.push(Case::new("x max x", Once, vec![float(3, &[4])], |x| x[0].maximum(&x[0])));
    // A power of nothing: 0⁰ = 1 and its slope 0.
    let zero = || input(Kind::Float, &[1], View::Plain, || 0.0);
    all.push(Case::new("0 pow 2", Once, vec![zero()], |x| x[0].pow(2.0)));
    let pow0 = |x: &[Tensor]| x[0].pow(x[0].detach().zeros_like()) + &x[0];
    all.push(Case::new("0 pow 0", Once, vec![zero()], pow0));
    for (i, &(a, va, b, vb, shape)) in PAIRS.iter().enumerate() {
        let seed = (9000 + i) as u64;
        let inputs = vec![
            bools(seed, shape),
            floats(seed, a, va, (-2.0, 2.0)),
            floats(seed + 50, b, vb, (-2.0, 2.0)),
        ];
        all.push(Case::new("select", Smooth, inputs, |x| x[0].select(&x[1], &x[2])).gives(shape));
    }
    for kind in [Kind::Int, Kind::Long, Kind::Small] {
        let [a, b] = [(2, &[4][..]), (3, &[])].map(|(i, shape)| whole(kind, i, shape, (-5, 5)));
        let inputs = vec![bools(1, &[3, 1]), a, b];
        all.push(Case::new("select", Never, inputs, |x| x[0].select(&x[1], &x[2])).gives(&[3, 4]));
    }
}

type Along = fn(&Tensor, &[isize], bool) -> Tensor;
const REDUCTIONS: &[(&str, Along, Order)] = &[
    ("sum", Tensor::sum_axes, Smooth),
    ("prod", Tensor::prod_axes, Smooth),
    ("max", Tensor::max_axes, Once),
    ("min", Tensor::min_axes, Once),
    ("mean", Tensor::mean_axes, Smooth),
    ("var(0)", |x, axes, keep| x.var_axes(axes, 0, keep), Smooth),
    ("var(1)", |x, axes, keep| x.var_axes(axes, 1, keep), Smooth),
    ("logsumexp", Tensor::logsumexp, Smooth),
];

/// Shape, how it lies, axes, and the shape with the axes kept.
type Folding = (&'static [usize], View, &'static [isize], &'static [usize]);
const FOLDINGS: &[Folding] = &[
    (&[], View::Plain, &[], &[]),
    (&[1], View::Plain, &[0], &[1]),
    (&[5], View::Flipped, &[0], &[1]),
    (&[2, 3], View::Transposed, &[0], &[1, 3]),
    (&[2, 3], View::Strided, &[-1], &[2, 1]),
    (&[2, 3], View::Cropped, &[0, 1], &[1, 1]),
    (&[3, 2], View::Repeated, &[0], &[1, 2]),
    (&[2, 3, 2], View::Transposed, &[0, 2], &[1, 3, 1]),
    (&[2, 3, 2], View::Plain, &[1], &[2, 1, 2]),
    (&[2, 3, 2], View::Flipped, &[], &[2, 3, 2]),
    (&[2, 1, 3], View::Plain, &[1], &[2, 1, 3]),
    (&[0, 3], View::Plain, &[1], &[0, 1]),
    (&[3, 0], View::Plain, &[1], &[3, 1]),
    (&[3, 0, 2], View::Plain, &[0, 1], &[1, 1, 2]),
];

fn reductions(all: &mut Vec<Case>) {
    for (n, &(name, f, order)) in REDUCTIONS.iter().enumerate() {
        for (i, &(shape, view, axes, kept)) in FOLDINGS.iter().enumerate() {
            let seed = (12_000 + 100 * n + i) as u64;
            let x = || floats(seed, shape, view, (0.3, 2.0));
            all.push(Case::new(name, order, vec![x()], move |a| f(&a[0], axes, true)).gives(kept));
            let named: Vec<usize> =
                axes.iter().map(|a| a.rem_euclid(shape.len().max(1) as isize) as usize).collect();
            let left: Vec<usize> =
                (0..shape.len()).filter(|a| !named.contains(a)).map(|a| shape[a]).collect();
            all.push(
                Case::new(name, order, vec![x()], move |a| f(&a[0], axes, false)).gives(&left),
            );
        }
    }
    type Whole = (&'static str, Method);
    let all_of_it: &[Whole] = &[
        ("sum", Tensor::sum),
        ("prod", Tensor::prod),
        ("max", Tensor::max),
        ("min", Tensor::min),
        ("mean", Tensor::mean),
    ];
    for &(name, f) in all_of_it {
        let x = floats(77, &[2, 2, 2], View::Transposed, (0.3, 2.0));
        all.push(Case::new(name, Once, vec![x], move |a| f(&a[0])).gives(&[]));
        if name != "mean" {
            for kind in [Kind::Int, Kind::Long] {
                let x = whole(kind, 78, &[3, 5], (-4, 5));
                all.push(Case::new(name, Never, vec![x], move |a| f(&a[0])).gives(&[]));
            }
        }
    }
    let extremes: &[Whole] = &[("max", Tensor::max), ("min", Tensor::min)];
    for &(name, f) in extremes {
        all.push(Case::new(name, Never, vec![bytes(5, &[3, 3])], move |a| f(&a[0])));
        for shape in [[3, 3], [0, 3]] {
            let x = whole(Kind::Small, 5, &shape, (-128, 128));
            all.push(Case::new(name, Never, vec![x], move |a| f(&a[0])));
        }
    }
    // A product with zeros in it: no division may be used.
    for zeros in [1, 2] {
        let mut n = 0.0;
        let x = input(Kind::Float, &[4], View::Plain, || {
            n += 1.0;
            if n <= f64::from(zeros) { 0.0 } else { n / 2.0 }
        });
        let name = format!("prod with {zeros} zeros");
        all.push(Case::new(name, Smooth, vec![x], |a| a[0].prod()).gives(&[]));
    }
    // Large numbers: softmax's denominator must not overflow.
    let mut n = 0.0;
    let large = input(Kind::Float, &[3], View::Plain, || {
        n += 1.0;
        1e4 + n
    });
    all.push(Case::new("logsumexp of 1e4", Once, vec![large], |a| a[0].logsumexp(&[0], false)));
}

fn sources(all: &mut Vec<Case>) {
    let x = || float(5, &[3, 4]);
    let shape = [3usize, 4];
    all.push(Case::new("arange", Never, vec![], |_| Tensor::arange(7)).gives(&[7]));
    all.push(Case::new("arange", Never, vec![], |_| Tensor::arange(0)).gives(&[0]));
    all.push(Case::new("iota", Never, vec![], |_| Tensor::iota([2, 3, 2], -2)).gives(&[2, 3, 2]));
    all.push(Case::new("full", Never, vec![], |_| Tensor::full([2, 2], 0.1, DType::F32)));
    for dtype in [DType::F64, DType::I32, DType::I64, DType::U8, DType::I8, DType::Bool] {
        let name = format!("full {dtype}");
        all.push(Case::new(name, Never, vec![], move |_| Tensor::full([3], 1.0, dtype)));
    }
    all.push(Case::new("x + iota", Smooth, vec![x()], move |a| {
        &a[0] + Tensor::iota(shape, 1).to_dtype(a[0].dtype())
    }));
    all.push(Case::new("x * uniform", Smooth, vec![x()], move |a| {
        // Of one type: f32 and f64 draw different numbers.
        let draw = Tensor::uniform(&Tensor::random_key(7, 3), 1, shape, DType::F32);
        &a[0] * draw.to_dtype(a[0].dtype())
    }));
    all.push(Case::new("x where bernoulli", Smooth, vec![x()], move |a| {
        let kept = Tensor::bernoulli(&Tensor::random_key(7, 3), 2, shape, 0.5);
        kept.select(&a[0], &a[0].zeros_like()) * 2.0
    }));
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    unary(&mut all);
    binary(&mut all);
    reductions(&mut all);
    sources(&mut all);
    all
}
