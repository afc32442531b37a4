//! The interpreter against the reference: random groups, special cases, precision.

use super::reference::{self, Elements, Number};
use super::*;
use crate::kernel::{Kernel, run_alone};
use crate::memory::{Buffer, Region};
use crate::real::testing::{On, isas, run_backwards};

mod precision;
mod runs;

/// A small generator of test cases (splitmix64).
struct Cases(u64);

impl Cases {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// The contents of all buffers, as bytes.
#[derive(Clone, PartialEq, Debug)]
struct Contents(Vec<Vec<u8>>);

impl Contents {
    fn get(&self, view: &View, at: usize) -> Number {
        let size = view.element.bytes();
        let start = view.region.offset + at * size;
        reference::from_bytes(view.element, &self.0[view.region.buffer as usize][start..])
    }
}

impl Elements for Contents {
    fn load(&self, view: &View, at: usize) -> Number {
        self.get(view, at)
    }

    fn store(&mut self, view: &View, at: usize, value: Number) {
        let bytes = reference::to_bytes(view.element, value);
        let start = view.region.offset + at * bytes.len();
        self.0[view.region.buffer as usize][start..start + bytes.len()].copy_from_slice(&bytes);
    }
}

/// Runs `kernel` on copies of `contents` and returns what is there afterwards.
fn run(contents: &Contents, how: impl FnOnce(&[&Buffer])) -> Contents {
    let buffers: Vec<Buffer> = contents.0.iter().map(|b| Buffer::from_slice(b)).collect();
    how(&buffers.iter().collect::<Vec<_>>());
    Contents(buffers.iter().map(|b| b.to_vec(0..b.bytes())).collect())
}

/// Compares what `kernel` leaves with what the reference leaves, everywhere.
#[track_caller]
fn compare(kernel: &FusedKernel, before: &Contents, close: impl Fn(f64, f64) -> bool) {
    let mut expected = before.clone();
    reference::evaluate(kernel, &mut expected);
    let parts = kernel.parts();
    for isa in isas() {
        let got = run(before, |buffers| run_alone(&On(isa, kernel), buffers));
        for (i, output) in kernel.outputs.iter().enumerate() {
            let view = &output.view;
            let whole = view.region.bytes / view.element.bytes();
            let places = if output.reduce.is_some() { whole / parts } else { whole };
            for at in 0..places {
                let want = expected.get(view, at);
                let mut have = got.get(view, at);
                for part in 1..if output.reduce.is_some() { parts } else { 1 } {
                    let more = got.get(view, at + part * places);
                    have = reference::combine(output.reduce.unwrap(), have, more);
                }
                let equal = match (have, want) {
                    (Number::Float(a), Number::Float(b)) => close(a, b) || a.is_nan() && b.is_nan(),
                    (Number::Int(a), Number::Int(b)) if kernel.compute == Compute::I32 => {
                        // Parts of wrapping sums were combined in 64 bits.
                        a as i32 == b as i32
                    }
                    (a, b) => a == b,
                };
                assert!(
                    equal,
                    "{isa:?} output {i} place {at} of {places} ({parts} parts, {} chunks): \
                     got {have:?}, expected {want:?}\n{kernel}\n{:#?}",
                    kernel.chunks(),
                    **kernel
                );
            }
        }
    }
    let forwards = run(before, |buffers| run_alone(kernel, buffers));
    let backwards = run(before, |buffers| assert_eq!(run_backwards(kernel, buffers), None));
    assert!(forwards == backwards, "the order of chunks changed the result of {kernel}");
}

/// A view with random strides over `dims`: permuted, with gaps, reversed, and if `repeat`,
/// broadcast. Returns it with the number of elements its region needs.
fn random_view(cases: &mut Cases, dims: &[usize], element: Element, repeat: bool) -> (View, usize) {
    let mut order: Vec<usize> = (0..dims.len()).collect();
    if cases.chance(50) {
        (0..order.len()).for_each(|i| order.swap(i, cases.below(i + 1)));
    }
    let (gaps, reversals) = (cases.chance(30), cases.chance(25));
    let mut strides = vec![0; dims.len()];
    let (mut step, mut offset) = (1, 0);
    for &d in order.iter().rev() {
        if repeat && cases.chance(25) {
            continue;
        }
        strides[d] = step as isize;
        let reach = step * dims[d].max(1);
        if reversals && cases.chance(50) {
            strides[d] = -strides[d];
            offset += reach - step;
        }
        step = reach + if gaps { cases.below(3) } else { 0 };
    }
    let shift = if gaps { cases.below(5) } else { 0 };
    let len = step + shift;
    let region = Region::new(0, 0, len * element.bytes());
    (View { region, element, offset: offset + shift, strides }, len)
}

fn random_contents(cases: &mut Cases, element: Element, len: usize) -> Vec<u8> {
    let value = |cases: &mut Cases| match element {
        Element::Bool => cases.below(2) as i64,
        Element::U8 => cases.below(7) as i64,
        _ => cases.below(9) as i64 - 4,
    };
    let values = (0..len).flat_map(|_| reference::to_bytes(element, Number::Int(value(cases))));
    values.collect()
}

const ELEMENTS: [Element; 7] = [
    Element::F32,
    Element::F64,
    Element::I32,
    Element::I64,
    Element::U8,
    Element::I8,
    Element::Bool,
];

/// A random program whose values are small integers, so that every order of additions agrees.
fn random_code(cases: &mut Cases, inputs: usize, rank: usize, integer: bool) -> Vec<Step> {
    let constant = |x: i32| if integer { Step::int(x as i64) } else { Step::float(x as f64) };
    let mut code: Vec<Step> = (0..inputs).map(|i| Step::Load(i as u16)).collect();
    code.push(constant(-2));
    let mut values: Vec<u16> = (0..code.len() as u16).collect();
    if cases.chance(30) {
        let at = code.len() as u16;
        code.push(Step::Index((0..rank).map(|_| cases.below(5) as i64 - 2).collect()));
        code.push(constant(5));
        code.push(Step::Binary(BinaryOp::Rem, at, at + 1));
        values.push(at + 2);
    }
    // Products are taken of these only, which keeps everything exact.
    let leaves = values.clone();
    for _ in 0..cases.below(9) {
        let (value, other) = (cases.pick(&values), cases.pick(&values));
        let (a, b) = (cases.pick(&leaves), cases.pick(&leaves));
        use BinaryOp::*;
        use UnaryOp::*;
        values.push(code.len() as u16);
        code.push(match cases.below(6) {
            0 => Step::Unary(cases.pick(&[Neg, Abs, Sign, Relu, Floor, Not, IsNan]), value),
            1 => Step::Unary(Square, a),
            2 => Step::Binary(Mul, a, b),
            3 => Step::Select(value, a, other),
            4 => Step::MulAdd(a, b, other),
            5 if integer && cases.chance(30) => {
                Step::Binary(cases.pick(&[BitAnd, BitOr, BitXor, Shl, Shr]), value, other)
            }
            _ => Step::Binary(
                cases.pick(&[Add, Sub, Max, Min, Eq, Ne, Lt, Le, Gt, Ge, And, Or, Xor]),
                value,
                other,
            ),
        });
    }
    code
}

/// A random group with its buffers' contents.
fn random_group(cases: &mut Cases, compute: Compute, large: bool) -> (Fused, Contents) {
    let rank = cases.below(5);
    let mut dims: Vec<usize> = (0..rank)
        .map(|_| cases.pick(&[1, 1, 2, 3, 4, 5, 7, 10, 17, 32, 33, 70, 130, 300]))
        .collect();
    while dims.iter().product::<usize>() > 20_000 {
        let largest = (0..rank).max_by_key(|&d| dims[d]).unwrap();
        dims[largest] /= 2;
    }
    if large && rank > 0 {
        let d = cases.below(rank);
        dims[d] *= 140_000 / dims.iter().product::<usize>();
    } else if cases.chance(4) && rank > 0 {
        dims[cases.below(rank)] = 0;
    }
    let rank = dims.len();
    let mut contents = Vec::new();
    let mut inputs = Vec::new();
    for buffer in 0..1 + cases.below(3) {
        let element = if cases.chance(50) { compute.element() } else { cases.pick(&ELEMENTS) };
        let (mut view, len) = random_view(cases, &dims, element, true);
        view.region.buffer = buffer as u32;
        contents.push(random_contents(cases, element, len));
        inputs.push(view);
    }
    let code = random_code(cases, inputs.len(), rank, compute.is_integer());
    let mut fused = Fused { compute, dims: dims.clone(), inputs, code, outputs: Vec::new() };
    for _ in 0..1 + cases.below(3) {
        let value =
            if cases.chance(70) { fused.code.len() - 1 } else { cases.below(fused.code.len()) };
        let reduce = cases.chance(45).then(|| cases.pick(Reduce::ALL));
        let output = match reduce {
            Some(reduce) => random_reduction(cases, &mut fused, value, reduce),
            None => random_store(cases, &fused, value),
        };
        let mut output = output;
        if output.view.region.buffer == u32::MAX {
            output.view.region.buffer = contents.len() as u32;
            contents.push(vec![0x2A; output.view.region.bytes]);
        }
        fused.outputs.push(output);
    }
    // How many parts there are is known when all outputs are: make room for them.
    let parts = fused.parts();
    for output in fused.outputs.iter_mut().filter(|o| o.reduce.is_some()) {
        output.view.region.bytes *= parts;
        contents[output.view.region.buffer as usize].resize(output.view.region.bytes, 0x2A);
    }
    (fused, Contents(contents))
}

/// An output that stores, now and then in place of an input.
fn random_store(cases: &mut Cases, fused: &Fused, value: usize) -> Output {
    let input = cases.below(fused.inputs.len());
    let view = fused.inputs[input].clone();
    let free = fused.outputs.iter().all(|o| o.view.region.buffer != view.region.buffer);
    let distinct = view.strides.iter().zip(&fused.dims).all(|(s, d)| *s != 0 || *d <= 1);
    if free && distinct && cases.chance(60) {
        return Output { value: value as u16, view, reduce: None };
    }
    let element = if cases.chance(50) { fused.compute.element() } else { cases.pick(&ELEMENTS) };
    let (mut view, _) = random_view(cases, &fused.dims, element, false);
    view.region.buffer = u32::MAX;
    Output { value: value as u16, view, reduce: None }
}

fn random_reduction(cases: &mut Cases, fused: &mut Fused, value: usize, reduce: Reduce) -> Output {
    let mut value = value as u16;
    if reduce == Reduce::Prod && !fused.compute.is_integer() {
        // Signs, so that no product overflows.
        fused.code.push(Step::Unary(UnaryOp::Sign, value));
        value = fused.code.len() as u16 - 1;
    }
    let mut order: Vec<usize> = (0..fused.dims.len()).collect();
    if cases.chance(30) {
        (0..order.len()).for_each(|i| order.swap(i, cases.below(i + 1)));
    }
    let mut strides = vec![0; fused.dims.len()];
    let mut step = 1;
    for &d in order.iter().rev() {
        if cases.chance(50) {
            strides[d] = step as isize;
            step *= fused.dims[d];
        }
    }
    let element = fused.compute.element();
    let region = Region::new(u32::MAX, 0, step * element.bytes());
    Output { value, view: View { region, element, offset: 0, strides }, reduce: Some(reduce) }
}

fn random_groups(compute: Compute, seed: u64, count: usize, large: bool) {
    let mut cases = Cases(seed);
    for _ in 0..count {
        let (fused, contents) = random_group(&mut cases, compute, large);
        let text = format!("{fused:#?}");
        let kernel = fused.prepare().unwrap_or_else(|e| panic!("{e}: {text}"));
        compare(&kernel, &contents, |a, b| a == b);
    }
}

#[test]
fn random_groups_f32() {
    random_groups(Compute::F32, 1, 400, false);
    random_groups(Compute::F32, 2, 12, true);
}

#[test]
fn random_groups_f64() {
    random_groups(Compute::F64, 3, 300, false);
    random_groups(Compute::F64, 4, 8, true);
}

#[test]
fn random_groups_i32() {
    random_groups(Compute::I32, 5, 300, false);
    random_groups(Compute::I32, 6, 8, true);
}

#[test]
fn random_groups_i64() {
    random_groups(Compute::I64, 7, 300, false);
    random_groups(Compute::I64, 8, 8, true);
}
