//! Convolutions against the peak of the cores in use: `cargo bench -p nerve-cpu --bench conv`.
//!
//! Each line is one convolution: time, effective speed (the multiplications of the definition), the
//! share of the peak that this is, and, where Winograd's algorithm runs, the share of the
//! multiplications that it does. A word after `--` picks the groups whose name contains it;
//! `NERVE_BENCH_THREADS` the threads; `NERVE_WINOGRAD=0` the direct algorithm.

use nerve_cpu::{
    Activation, Buffer, Conv, ConvShape, ConvWeightGrad, Float, Instruction, Program, Region,
    Replay, SumParts,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the cores can do, in GFLOP/s of f32; infinite where it is not known.
fn peak(threads: usize) -> f64 {
    nerve_cpu::peak_flops(threads).map_or(f64::INFINITY, |flops| flops / 1e9)
}

/// Number of threads.
fn threads() -> usize {
    std::env::var("NERVE_BENCH_THREADS").ok().and_then(|n| n.parse().ok()).unwrap_or(1)
}

/// The shortest of some runs, in nanoseconds.
fn best_of(runs: usize, mut run: impl FnMut()) -> f64 {
    let mut best = Duration::MAX;
    for _ in 0..runs {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed());
    }
    best.as_nanos() as f64
}

/// Runs `instructions` for some time and prints the speed of the best run.
fn measure(label: &str, instructions: Vec<Instruction>, buffers: &[usize], fewer: Option<f64>) {
    let flops: u64 = instructions
        .iter()
        .filter(|i| matches!(i, Instruction::Conv(_) | Instruction::ConvWeightGrad(_)))
        .map(|i| i.kernel().flops())
        .sum();
    let program = Program::new(instructions, buffers).expect("a program that fits its buffers");
    let filled = |&bytes: &usize| {
        Arc::new(Buffer::from_slice(&(0..bytes / 4).map(|i| (i % 17) as f32).collect::<Vec<_>>()))
    };
    let mut replay = Replay::new(program, buffers[1..].iter().map(filled).map(Some).collect());
    let mut run = || replay.run().expect("no indices");
    let once = best_of(3, &mut run).max(1.0);
    let (before, time) =
        (peak(threads()), best_of((60e6 / once).clamp(5.0, 2000.0) as usize, &mut run));
    let speed = flops as f64 / time;
    let share = 100.0 * speed / before.max(peak(threads()));
    let real = fewer.map_or(String::new(), |f| format!("  winograd {:>5.1} %", share * f));
    println!("{label:<34} {:>9.1} µs {speed:>7.1} GFLOP/s {share:>6.1} %{real}", time / 1000.0);
}

/// A convolution of `n` images of `side` by `side` pixels with a border that keeps their size, its
/// weight gradient and the gradient of its images.
fn convolution(n: usize, side: usize, [c, co]: [usize; 2], k: usize, stride: usize) {
    let shape = ConvShape {
        n,
        h: side,
        w: side,
        c,
        kh: k,
        kw: k,
        co,
        groups: 1,
        stride: [stride; 2],
        dilation: [1; 2],
        pad: [[k / 2; 2]; 2],
        between: [0; 2],
    };
    let label = format!("{n} of {side}×{side}, {k}×{k} {c}→{co} /{stride}");
    forward(&label, shape);
    weight(&(label.clone() + ", dW"), shape);
    let reach = k - 1 - k / 2;
    let behind = side + 2 * (k / 2) - k - (shape.oh() - 1) * stride;
    let back = ConvShape {
        h: shape.oh(),
        w: shape.ow(),
        c: co,
        co: c,
        stride: [1; 2],
        pad: [[reach, reach + behind]; 2],
        between: [stride - 1; 2],
        ..shape
    };
    forward(&(label + ", dX"), back);
}

/// The share of the multiplications that 2 by 2 tiles need.
fn fewer(s: &ConvShape) -> f64 {
    let tiles = s.oh().div_ceil(2) * s.ow().div_ceil(2);
    16.0 * tiles as f64 / (9 * s.oh() * s.ow()) as f64
}

fn forward(label: &str, shape: ConvShape) {
    let region = |i: u32, elements: usize| Region::new(i, 0, 4 * elements);
    let (x, filter, y) =
        (region(1, shape.images()), region(2, shape.filter()), region(3, shape.results()));
    let conv = Conv {
        bias: Some(region(4, shape.co)),
        activation: Activation::Relu,
        ..Conv::new(Float::F32, shape, x, filter, y)
    };
    let mut sizes = vec![0, x.bytes, filter.bytes, y.bytes, 4 * shape.co];
    match conv.winograd_bytes() {
        Some(bytes) => {
            sizes[0] = bytes;
            let to = Region::new(0, 0, bytes);
            let strides = [3, 1, 9, 9 * shape.c as isize];
            let transform = conv.winograd_filter(filter, 0, strides, to);
            let list = vec![transform.into(), conv.with_winograd(to).into()];
            measure(label, list, &sizes, Some(fewer(&shape)));
        }
        None => measure(label, vec![conv.into()], &sizes, None),
    }
}

fn weight(label: &str, shape: ConvShape) {
    let region = |i: u32, elements: usize| Region::new(i, 0, 4 * elements);
    let (x, dw, dy) =
        (region(1, shape.images()), region(2, shape.filter()), region(3, shape.results()));
    let ty = Float::F32;
    let grad = ConvWeightGrad::new(ty, shape, x, dy, dw);
    let parts = grad.parts();
    let share = grad.winograd.then(|| fewer(&shape));
    let partial = region(0, parts * shape.filter());
    let sizes = vec![partial.bytes, x.bytes, dw.bytes, dy.bytes];
    let (len, accumulate) = (shape.filter(), false);
    let sum = SumParts { ty, parts, len, from: partial, to: dw, accumulate };
    let list = match parts {
        1 => vec![grad.into()],
        _ => vec![ConvWeightGrad { dw: partial, ..grad }.into(), sum.into()],
    };
    measure(label, list, &sizes, share);
}

fn main() {
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let wanted = |name: &str| filter.as_ref().is_none_or(|filter| name.contains(filter.as_str()));
    nerve_cpu::set_threads(threads());
    let (isa, cores) = (nerve_cpu::isa().name(), threads());
    println!("{isa}, peak of {cores} cores {:.1} GFLOP/s", peak(cores));
    if wanted("digits") {
        convolution(64, 28, [1, 32], 3, 1);
        convolution(64, 14, [32, 64], 3, 1);
        convolution(128, 13, [32, 64], 3, 1);
        convolution(64, 28, [32, 64], 3, 1);
    }
    if wanted("resnet") {
        convolution(64, 32, [3, 64], 3, 1);
        convolution(64, 32, [64, 64], 3, 1);
        convolution(64, 32, [64, 128], 3, 2);
        convolution(64, 32, [64, 128], 1, 2);
        convolution(64, 16, [128, 128], 3, 1);
        convolution(64, 16, [128, 256], 3, 2);
        convolution(64, 8, [256, 256], 3, 1);
        convolution(64, 8, [256, 512], 3, 2);
        convolution(64, 4, [512, 512], 3, 1);
    }
    if wanted("single") {
        convolution(1, 32, [3, 64], 3, 1);
        convolution(1, 32, [64, 64], 3, 1);
        convolution(1, 16, [128, 128], 3, 1);
        convolution(1, 8, [256, 256], 3, 1);
        convolution(1, 4, [512, 512], 3, 1);
        convolution(1, 8, [256, 512], 3, 2);
    }
}
