//! Products and convolutions against the peak: `cargo bench -p nerve-cpu --bench gemm`.
//!
//! The peak is measured beside each figure, since processors change their clock with what runs.
//! A word after `--` picks the groups whose name contains it, words such as `64x128x256tn` or
//! `64x128x256nt,cold` (m, n, k, which sides are turned) a product each; `NERVE_BENCH_THREADS` the threads,
//! `NERVE_BENCH_BF16` products rounded to bf16.

use nerve_cpu::{
    Activation, Buffer, Conv, ConvShape, ConvWeightGrad, Float, Gemm, Instruction, Precision,
    Program, Region, Replay, SumParts,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the threads can do, in GFLOP/s of f32; infinite where it is not known.
fn peak() -> f64 {
    nerve_cpu::peak_flops(nerve_cpu::threads()).map_or(f64::INFINITY, |flops| flops / 1e9)
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

/// How exactly products are computed: `NERVE_BENCH_BF16` makes a difference.
fn precision() -> Precision {
    match std::env::var_os("NERVE_BENCH_BF16") {
        Some(_) => Precision::Bf16,
        None => Precision::Full,
    }
}

/// Bytes that no cache holds.
const COLD: usize = 96 << 20;

/// Runs `instructions`, which do the same work `sets` times, as often as fills some milliseconds,
/// and prints the speed of the best.
fn measure(label: &str, instructions: Vec<Instruction>, sets: usize, buffers: &[usize]) {
    let flops: u64 = instructions.iter().map(|i| i.kernel().flops()).sum::<u64>() / sets as u64;
    let copies = match sets {
        1 => (2_000_000 / flops.max(1)).clamp(1, 1000) as usize,
        _ => 1,
    };
    let list = (0..copies).flat_map(|_| instructions.clone()).collect();
    let program = Program::new(list, buffers).expect("a program that fits its buffers");
    let filled = |&bytes: &usize| {
        Arc::new(Buffer::from_slice(&(0..bytes / 4).map(|i| (i % 17) as f32).collect::<Vec<_>>()))
    };
    let mut replay = Replay::new(program, buffers[1..].iter().map(filled).map(Some).collect());
    let mut run = || replay.run().expect("no indices");
    let once = best_of(3, &mut run).max(1.0);
    let (before, time) = (peak(), best_of((200e6 / once).clamp(3.0, 2000.0) as usize, &mut run));
    let time = time / (copies * sets) as f64;
    let speed = flops as f64 / time;
    let share = 100.0 * speed / before.max(peak());
    println!("{label:<48} {:>10.2} µs {speed:>8.1} GFLOP/s {share:>5.1} %", time / 1000.0);
}

/// A product of `[m, k]` and `[k, n]`, transposed as asked, and the packing of B where it pays.
///
/// A cold one works on as many copies of its matrices in turn as overflow the caches, as a product
/// does that is one of many in a training step.
fn product([m, n, k]: [usize; 3], turned: [bool; 2], cold: bool) {
    let bytes = [m * k, k * n, m * n].map(|n| 4 * n);
    let sets = if cold { (COLD / bytes.iter().sum::<usize>()).clamp(1, 64) } else { 1 };
    let strides = |turned, rows, columns| if turned { [1, rows] } else { [columns, 1] };
    let (mut list, mut alone, mut panels) = (Vec::new(), Vec::new(), 0);
    for set in 0..sets {
        let region = |i: usize| Region::new(i as u32 + 1, set * bytes[i], bytes[i]);
        let gemm = Gemm {
            a_strides: strides(turned[0], m, k),
            b_strides: strides(turned[1], k, n),
            precision: precision(),
            ..Gemm::new(Float::F32, [m, n, k], region(0), region(1), region(2))
        }
        .arranged();
        match gemm.packed_b_bytes() {
            Some(bytes) => {
                panels = bytes;
                let panels = Region::new(0, 0, bytes);
                list.push(gemm.pack_instruction(panels).into());
                list.push(gemm.clone().with_packed_b(panels).into());
                alone.push(gemm.with_packed_b(panels).into());
            }
            None => list.push(gemm.into()),
        }
    }
    let buffers = [panels, sets * bytes[0], sets * bytes[1], sets * bytes[2]];
    let letter = |turned, name: &str| if turned { format!("{name}ᵀ") } else { name.into() };
    let cold = if cold { ", cold" } else { "" };
    let label =
        format!("{m}×{k} {} · {k}×{n} {}{cold}", letter(turned[0], "A"), letter(turned[1], "B"));
    let packed = if alone.is_empty() { "" } else { ", packed" };
    measure(&format!("{label}{packed}"), list, sets, &buffers);
    if !alone.is_empty() {
        measure(&(label + ", packed before"), alone, sets, &buffers);
    }
}

/// The product that a word describes, such as `64x128x256tn,cold`.
fn described(word: &str) -> Option<([usize; 3], [bool; 2], bool)> {
    let (word, cold) = word.strip_suffix(",cold").map_or((word, false), |word| (word, true));
    let end = word.find(['n', 't']).unwrap_or(word.len());
    let sizes: Vec<usize> = word[..end].split('x').flat_map(str::parse).collect();
    let turned = match &word[end..] {
        "" | "nn" => [false, false],
        "tn" => [true, false],
        "nt" => [false, true],
        "tt" => [true, true],
        _ => return None,
    };
    Some((sizes.try_into().ok()?, turned, cold))
}

/// The three products of a linear layer in training: `X Wᵀ`, `dY W`, `dYᵀ X`, with W `[out, in]`.
fn linear(rows: usize, inputs: usize, outputs: usize) {
    product([rows, outputs, inputs], [false, true], true);
    product([rows, inputs, outputs], [false, false], true);
    product([outputs, inputs, rows], [true, false], true);
}

/// A convolution of `n` images of `side` by `side` pixels after padding, and its weight gradient
/// (with the sum of its parts).
fn convolution(n: usize, side: usize, [c, co]: [usize; 2], k: usize, stride: usize, groups: usize) {
    let padded = side + k - 1;
    let shape = ConvShape {
        n,
        h: padded,
        w: padded,
        c,
        kh: k,
        kw: k,
        co,
        groups,
        stride: [stride; 2],
        dilation: [1; 2],
        pad: [[0; 2]; 2],
        between: [0; 2],
    };
    let region = |i: u32, elements: usize| Region::new(i, 0, 4 * elements);
    let ty = Float::F32;
    let (x, filter, y) =
        (region(1, shape.images()), region(2, shape.filter()), region(3, shape.results()));
    let conv = Conv {
        bias: Some(region(4, co)),
        activation: Activation::Relu,
        ..Conv::new(ty, shape, x, filter, y)
    };
    let grouped = if groups > 1 { format!(" in {groups} groups") } else { String::new() };
    let label = format!("{n} of {side}×{side}, {k}×{k} {c}→{co}{grouped}");
    let mut sizes = vec![0, x.bytes, filter.bytes, y.bytes, 4 * co];
    measure(&label, vec![conv.into()], 1, &sizes);
    let grad = ConvWeightGrad::new(ty, shape, x, y, filter);
    let parts = grad.parts();
    let partial = region(0, parts * shape.filter());
    sizes[0] = partial.bytes;
    let (len, accumulate) = (shape.filter(), false);
    let sum = SumParts { ty, parts, len, from: partial, to: filter, accumulate };
    let list = match parts {
        1 => vec![grad.into()],
        _ => vec![ConvWeightGrad { dw: partial, ..grad }.into(), sum.into()],
    };
    measure(&(label + ", dW"), list, 1, &sizes);
}

fn main() {
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let words: Vec<_> = std::env::args().skip(1).filter_map(|word| described(&word)).collect();
    let wanted = |name: &str| filter.as_ref().is_none_or(|filter| name.contains(filter.as_str()));
    let threads = std::env::var("NERVE_BENCH_THREADS").ok().and_then(|n| n.parse().ok());
    nerve_cpu::set_threads(threads.unwrap_or(1));
    println!("{}, peak {:.1} GFLOP/s", nerve_cpu::isa().name(), peak());
    for &(sizes, turned, cold) in &words {
        product(sizes, turned, cold);
    }
    if wanted("square") {
        for n in [64, 256, 512, 1000, 1024, 2048, 4096] {
            product([n; 3], [false, false], false);
        }
        for turned in [[true, false], [false, true]] {
            for n in [64, 256, 1024] {
                product([n; 3], turned, false);
            }
        }
    }
    if wanted("small") {
        product([4, 4, 4], [false, false], false);
        product([32, 64, 64], [false, false], false);
        product([32, 64, 64], [false, true], false);
        product([64, 64, 32], [true, false], false);
        product([64, 128, 784], [false, false], false);
        product([64, 128, 784], [false, true], false);
        product([64, 256, 512], [false, false], false);
        product([64, 1024, 1024], [false, false], false);
        product([128, 512, 512], [false, false], false);
        product([784, 128, 64], [true, false], false);
        product([128, 784, 64], [true, false], false);
        product([64, 784, 128], [false, false], false);
        product([64, 10, 128], [false, true], false);
        product([1, 128, 784], [false, true], false);
        product([1, 128, 784], [false, false], false);
        product([1024, 1, 256], [false, false], false);
    }
    // Rows, inputs and outputs of linear layers: of dense and convolutional networks, of an
    // autoencoder, of a transformer, of a recurrent network.
    for (name, layers) in [
        ("linear-mlp", &[[64, 784, 128], [64, 3136, 512], [128, 1600, 64]][..]),
        ("linear-autoencoder", &[[128, 784, 256], [128, 256, 64], [128, 64, 256]]),
        ("linear-transformer", &[[2048, 256, 768], [2048, 256, 256]]),
        ("linear-feedforward", &[[2048, 256, 1024], [2048, 1024, 256]]),
        ("linear-recurrent", &[[3200, 128, 512]]),
    ] {
        for &[rows, inputs, outputs] in layers.iter().filter(|_| wanted(name)) {
            linear(rows, inputs, outputs);
        }
    }
    if wanted("conv") {
        convolution(16, 28, [1, 32], 3, 1, 1);
        convolution(16, 28, [32, 64], 3, 1, 1);
        convolution(16, 14, [32, 64], 3, 1, 1);
        convolution(16, 14, [64, 64], 3, 1, 1);
        convolution(16, 26, [32, 32], 3, 1, 1);
        convolution(16, 32, [3, 64], 3, 1, 1);
        convolution(16, 16, [64, 128], 3, 2, 1);
        convolution(16, 8, [256, 256], 3, 1, 1);
        convolution(16, 4, [512, 512], 3, 1, 1);
        convolution(16, 14, [128, 128], 1, 1, 1);
        convolution(16, 28, [6, 16], 5, 1, 1);
        convolution(16, 14, [64, 64], 3, 1, 64);
        convolution(16, 14, [64, 64], 3, 1, 4);
        convolution(1, 28, [32, 64], 3, 1, 1);
        convolution(1, 4, [512, 512], 3, 1, 1);
    }
}
