//! Fused groups, beside the speed of the memory that their operands fit into:
//! `cargo bench -p nerve-cpu --bench fused`.

mod harness;

use harness::{begin, best, line, wanted};
use nerve_cpu::fused::{BinaryOp, Compute, Element, Output, Random, Reduce, Step, UnaryOp, View};
use nerve_cpu::{Buffer, Fused, Program, Region, Replay};
use std::sync::Arc;

/// Lays operands one after the other into the arena.
#[derive(Default)]
struct Arena(usize);

impl Arena {
    fn take(&mut self, elements: usize, element: Element) -> Region {
        let region = Region::new(1, self.0, elements * element.bytes());
        self.0 = (self.0 + region.bytes).next_multiple_of(64);
        region
    }

    fn view(&mut self, dims: &[usize]) -> View {
        self.strided(dims, &View::contiguous(Region::new(0, 0, 0), Element::F32, dims).strides)
    }

    /// An operand with these strides, as long as it has to be.
    fn strided(&mut self, dims: &[usize], strides: &[isize]) -> View {
        let reach = dims.iter().zip(strides).map(|(d, s)| (d - 1) * *s as usize);
        let region = self.take(reach.sum::<usize>() + 1, Element::F32);
        View { region, element: Element::F32, offset: 0, strides: strides.to_vec() }
    }
}

fn stored(value: usize, view: View) -> Output {
    Output { value: value as u16, view, reduce: None }
}

fn report(name: &str, bytes: usize, fused: Fused) {
    if !wanted(name) {
        return;
    }
    let parts = fused.parts();
    let mut arena = Arena(bytes);
    let mut instructions = Vec::new();
    let mut fused = fused;
    // Room for the parts, and the instruction that reduces them.
    for output in fused.outputs.iter_mut().filter(|o| o.reduce.is_some() && parts > 1) {
        let n = output.view.region.bytes / 4;
        let result = output.view.region;
        output.view.region = arena.take(n * parts, Element::F32);
        let whole = View::contiguous(output.view.region, Element::F32, &[parts, n]);
        instructions.push(Fused {
            compute: Compute::F32,
            dims: vec![parts, n],
            inputs: vec![whole],
            code: vec![Step::Load(0)],
            outputs: vec![Output {
                value: 0,
                view: View {
                    region: result,
                    element: Element::F32,
                    offset: 0,
                    strides: vec![0, 1],
                },
                reduce: output.reduce,
            }],
        });
    }
    instructions.insert(0, fused);
    let kernels: Vec<_> = instructions.into_iter().map(|f| f.prepare().unwrap().into()).collect();
    let program = Program::new(kernels, &[0, arena.0]).unwrap();
    // Small values, none of them 0 or subnormal.
    let values: Vec<f32> = (0..arena.0 / 4).map(|i| (i % 1000) as f32 * 1e-3 + 0.01).collect();
    let memory = Arc::new(Buffer::from_slice(&values));
    let mut replay = Replay::new(program, vec![Some(memory)]);
    let flops = replay.program().instructions().iter().map(|i| i.kernel().flops()).sum();
    let seconds = best(|| replay.run().unwrap());
    line(name, seconds, flops, bytes);
}

fn f32_group(dims: &[usize], inputs: Vec<View>, code: Vec<Step>, outputs: Vec<Output>) -> Fused {
    Fused { compute: Compute::F32, dims: dims.to_vec(), inputs, code, outputs }
}

fn unary(n: usize, op: UnaryOp) {
    let (mut arena, dims) = (Arena::default(), [n]);
    let inputs = vec![arena.view(&dims)];
    let outputs = vec![stored(1, arena.view(&dims))];
    let code = vec![Step::Load(0), Step::Unary(op, 0)];
    report(&format!("{op} {n}"), arena.0, f32_group(&dims, inputs, code, outputs));
}

fn reduction(name: &str, dims: &[usize], output: &[isize], reduce: Reduce) {
    let mut arena = Arena::default();
    let inputs = vec![arena.view(dims)];
    let view = arena.strided(dims, output);
    let outputs = vec![Output { value: 0, view, reduce: Some(reduce) }];
    report(name, arena.0, f32_group(dims, inputs, vec![Step::Load(0)], outputs));
}

fn copy(name: &str, dims: &[usize], from: &[isize]) {
    let mut arena = Arena::default();
    let inputs = vec![arena.strided(dims, from)];
    let outputs = vec![stored(0, arena.view(dims))];
    report(name, arena.0, f32_group(dims, inputs, vec![Step::Load(0)], outputs));
}

fn bias(name: &str, dims: &[usize], strides: &[isize]) {
    let mut arena = Arena::default();
    let inputs = vec![arena.view(dims), arena.strided(dims, strides)];
    let outputs = vec![stored(3, arena.view(dims))];
    let code = vec![
        Step::Load(0),
        Step::Load(1),
        Step::Binary(BinaryOp::Add, 0, 1),
        Step::Unary(UnaryOp::Relu, 2),
    ];
    report(name, arena.0, f32_group(dims, inputs, code, outputs));
}

/// p, g, m, v → p, m, v in place, with bias corrections read from scalars.
fn adam(n: usize) {
    use BinaryOp::*;
    let (mut arena, dims) = (Arena::default(), [n]);
    let mut inputs: Vec<View> = (0..4).map(|_| arena.view(&dims)).collect();
    inputs.extend((0..2).map(|_| arena.strided(&[1], &[0])));
    let mut code: Vec<Step> = (0..6).map(Step::Load).collect();
    code.extend([0.9, 0.1, 0.999, 0.001, 1e-8].map(Step::float)); // 6..=10
    code.extend([
        Step::Binary(Mul, 2, 6),
        Step::Binary(Mul, 1, 7),
        Step::Binary(Add, 11, 12), // m
        Step::Binary(Mul, 3, 8),
        Step::Unary(UnaryOp::Square, 1),
        Step::Binary(Mul, 15, 9),
        Step::Binary(Add, 14, 16), // v
        Step::Binary(Mul, 17, 5),
        Step::Unary(UnaryOp::Sqrt, 18),
        Step::Binary(Add, 19, 10),
        Step::Binary(Mul, 13, 4),
        Step::Binary(Div, 21, 20),
        Step::Binary(Sub, 0, 22), // p
    ]);
    let outputs = vec![
        stored(23, inputs[0].clone()),
        stored(13, inputs[2].clone()),
        stored(17, inputs[3].clone()),
    ];
    report(&format!("adam {n}"), 7 * 4 * n, f32_group(&dims, inputs, code, outputs));
}

fn random(n: usize, kind: Random) {
    let (mut arena, dims) = (Arena::default(), [n]);
    let key = View {
        region: arena.take(4, Element::I32),
        element: Element::I32,
        offset: 0,
        strides: vec![0],
    };
    let outputs = vec![stored(0, arena.view(&dims))];
    let code = vec![Step::Random { kind, key: 0, stream: 0 }];
    report(&format!("random {kind} {n}"), arena.0, f32_group(&dims, vec![key], code, outputs));
}

fn main() {
    begin();
    let million = 1 << 20;
    for n in [64, 1024, 16 << 10, million] {
        unary(n, UnaryOp::Relu);
    }
    use UnaryOp::*;
    for op in [Exp, Log, Tanh, Sigmoid, Erf, Gelu, Sin, Expm1, Log1p, Sqrt, Floor] {
        unary(16 << 10, op);
    }
    bias("bias rows [50176, 32]", &[50176, 32], &[0, 1]);
    bias("bias rows [64, 10]", &[64, 10], &[0, 1]);
    bias("bias rows [4096, 784]", &[4096, 784], &[0, 1]);
    bias("bias channels [64, 32, 784]", &[64, 32, 784], &[0, 1, 0]);
    adam(1_700_000);
    adam(100_000);
    reduction("sum 1M", &[million], &[0], Reduce::Sum);
    reduction("max 1M", &[million], &[0], Reduce::Max);
    reduction("sum columns [50176, 32]", &[50176, 32], &[0, 1], Reduce::Sum);
    reduction("sum rows [2048, 512]", &[2048, 512], &[1, 0], Reduce::Sum);
    reduction("sum rows [50000, 10]", &[50000, 10], &[1, 0], Reduce::Sum);
    reduction("sum channels [64, 32, 784]", &[64, 32, 784], &[0, 1, 0], Reduce::Sum);
    copy("copy [64, 784, 32]", &[64, 784, 32], &[25088, 32, 1]);
    copy("transpose [64, 32, 784]", &[64, 784, 32], &[25088, 1, 784]);
    copy("transpose [1024, 1024]", &[1024, 1024], &[1, 1024]);
    copy("transpose [64, 3, 1024]", &[64, 1024, 3], &[3072, 1, 1024]);
    random(million, Random::Uniform);
    random(million, Random::Normal);
}
