//! Convolutions against the peak of the cores in use: `cargo bench -p nerve-cpu --bench conv`.
//!
//! Each line is one convolution: time, effective speed (the multiplications of the definition), the
//! share of the peak that this is, and, where Winograd's algorithm runs, the share of the
//! multiplications that it does. A word after `--` picks the groups whose name contains it;
//! `NERVE_BENCH_THREADS` the threads; `NERVE_WINOGRAD=0` the direct algorithm, `NERVE_BENCH_BF16=1`
//! products of bf16.

use nerve_cpu::{
    Activation, Buffer, Conv, ConvShape, ConvWeightGrad, Float, Instruction, Precision, Program,
    Region, Replay, SumParts,
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

/// How exactly products take their operands.
fn precision() -> Precision {
    match std::env::var_os("NERVE_BENCH_BF16") {
        Some(_) => Precision::Bf16,
        None => Precision::Full,
    }
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

/// One image of `side` by `side` pixels whose `c` channels each have a filter of 3 by 3.
fn depthwise(side: usize, c: usize, stride: usize) {
    let shape = ConvShape {
        n: 1,
        h: side,
        w: side,
        c,
        kh: 3,
        kw: 3,
        co: c,
        groups: c,
        stride: [stride; 2],
        dilation: [1; 2],
        pad: [[1; 2]; 2],
        between: [0; 2],
    };
    forward(&format!("1 of {side}×{side}, {c} channels apart /{stride}"), shape);
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
        precision: precision(),
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
        None => match conv.packed_bytes().filter(|_| conv.packs_in_each_run()) {
            Some(bytes) => {
                sizes[0] = bytes;
                let to = Region::new(0, 0, bytes);
                let list = vec![conv.pack_filter(to).into(), conv.with_packed(to).into()];
                measure(label, list, &sizes, None);
            }
            None => {
                measure(label, vec![conv.clone().into()], &sizes, None);
                if let Some(bytes) = conv.packed_bytes() {
                    sizes.push(bytes);
                    let panels = conv.with_packed(Region::new(5, 0, bytes));
                    measure(&format!("{label}, panels"), vec![panels.into()], &sizes, None);
                }
            }
        },
    }
}

fn weight(label: &str, shape: ConvShape) {
    let region = |i: u32, elements: usize| Region::new(i, 0, 4 * elements);
    let (x, dw, dy) =
        (region(1, shape.images()), region(2, shape.filter()), region(3, shape.results()));
    let ty = Float::F32;
    let new = ConvWeightGrad::new(ty, shape, x, dy, dw);
    let grad = ConvWeightGrad { precision: precision(), ..new };
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

/// Numbers between -1 and 1.
fn noise(count: usize, mut seed: u64) -> Vec<f32> {
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Largest and mean error of `values`, as shares of the root of the mean square of `exact`.
fn errors(values: &[f32], exact: &[f64]) -> [f64; 2] {
    let count = exact.len() as f64;
    let scale = (exact.iter().map(|v| v * v).sum::<f64>() / count).sqrt();
    let error = values.iter().zip(exact).map(|(&v, e)| (f64::from(v) - e).abs() / scale);
    [error.clone().fold(0.0, f64::max), error.sum::<f64>() / count]
}

/// Runs instructions over buffers that hold these values; gives the last buffer.
fn run(list: Vec<Instruction>, buffers: Vec<Arc<Buffer>>, arena: usize) -> Arc<Buffer> {
    let sizes: Vec<usize> = [arena].into_iter().chain(buffers.iter().map(|b| b.bytes())).collect();
    let program = Program::new(list, &sizes).expect("a program that fits its buffers");
    let last = buffers.last().expect("there is a result").clone();
    Replay::new(program, buffers.into_iter().map(Some).collect()).run().expect("no indices");
    last
}

/// The errors of both algorithms against the convolution in f64, of the result and of the weight
/// gradient.
fn accuracy(n: usize, side: usize, [c, co]: [usize; 2]) {
    let (pad, dilation, stride, between) = ([[1; 2]; 2], [1; 2], [1; 2], [0; 2]);
    let (h, w, kh, kw, groups) = (side, side, 3, 3, 1);
    let s = ConvShape { n, h, w, c, kh, kw, co, groups, stride, dilation, pad, between };
    let (x, filter, dy) = (noise(n * h * w * c, 1), noise(9 * c * co, 2), noise(n * h * w * co, 3));
    let wide = |v: &[f32]| {
        Arc::new(Buffer::from_slice(&v.iter().map(|&v| v.into()).collect::<Vec<f64>>()))
    };
    let single = |v: &[f32]| Arc::new(Buffer::from_slice(v));
    let region = |i: u32, n: usize, ty: Float| Region::new(i, 0, n * ty.bytes());
    let conv = |ty| {
        let [x, f, y] =
            [(1, x.len()), (2, filter.len()), (3, dy.len())].map(|(i, n)| region(i, n, ty));
        Conv { precision: precision(), ..Conv::new(ty, s, x, f, y) }
    };
    let exact = vec![wide(&x), wide(&filter), Arc::new(Buffer::zeroed(8 * dy.len()))];
    let exact = run(vec![conv(Float::F64).into()], exact, 0).to_vec::<f64>(0..dy.len());
    let buffers = || vec![single(&x), single(&filter), single(&dy)];
    let direct = run(vec![conv(Float::F32).into()], buffers(), 0).to_vec::<f32>(0..dy.len());
    let conv = conv(Float::F32);
    let to = region(0, 16 * (c + 16) * co.next_multiple_of(16), Float::F32);
    let strides = [3 * c * co, c * co, co, 1].map(|n| n as isize);
    let list = vec![
        conv.winograd_filter(conv.filter, 0, strides, to).into(),
        conv.with_winograd(to).into(),
    ];
    let fewer = run(list, buffers(), to.bytes).to_vec::<f32>(0..dy.len());
    let ([dm, da], [wm, wa]) = (errors(&direct, &exact), errors(&fewer, &exact));
    println!(
        "{n} of {side}×{side} {c}→{co}      direct {dm:.1e} {da:.1e}  winograd {wm:.1e} {wa:.1e}"
    );

    let grad = |ty: Float, winograd| {
        let [x, dy] = [(1, x.len()), (2, dy.len())].map(|(i, n)| region(i, n, ty));
        let new = ConvWeightGrad {
            winograd,
            precision: precision(),
            ..ConvWeightGrad::new(ty, s, x, dy, region(0, 0, ty))
        };
        let parts = new.parts();
        let from = region(0, parts * filter.len(), ty);
        let sum = SumParts {
            ty,
            parts,
            len: filter.len(),
            from,
            to: region(3, filter.len(), ty),
            accumulate: false,
        };
        (vec![ConvWeightGrad { dw: from, ..new }.into(), sum.into()], from.bytes)
    };
    let (list, arena) = grad(Float::F64, false);
    let exact = vec![wide(&x), wide(&dy), Arc::new(Buffer::zeroed(8 * filter.len()))];
    let exact = run(list, exact, arena).to_vec::<f64>(0..filter.len());
    let [direct, fewer] = [false, true].map(|winograd| {
        let (list, arena) = grad(Float::F32, winograd);
        let dw = run(list, vec![single(&x), single(&dy), single(&filter)], arena);
        errors(&dw.to_vec::<f32>(0..filter.len()), &exact)
    });
    let ([dm, da], [wm, wa]) = (direct, fewer);
    println!(
        "{n} of {side}×{side} {c}→{co}, dW  direct {dm:.1e} {da:.1e}  winograd {wm:.1e} {wa:.1e}"
    );
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
    if wanted("depthwise") {
        depthwise(112, 32, 1);
        depthwise(56, 112, 2);
        depthwise(56, 128, 1);
        depthwise(28, 136, 1);
        depthwise(14, 272, 1);
        depthwise(7, 960, 1);
    }
    if wanted("accuracy") {
        println!("largest and mean error, in units of the root mean square of the result");
        accuracy(64, 14, [32, 64]);
        accuracy(16, 32, [64, 64]);
        accuracy(16, 16, [128, 128]);
        accuracy(16, 8, [256, 256]);
        accuracy(16, 4, [512, 512]);
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
