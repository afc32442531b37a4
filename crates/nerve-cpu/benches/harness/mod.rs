//! What the micro-benchmarks share: memory for the operands, timing, and a line that says how near
//! an instruction is to what the machine can do.
//!
//! A word after `--` picks the lines whose label contains it; `NERVE_BENCH_THREADS` (1) the threads.
#![allow(dead_code, missing_docs)]

use nerve_cpu::{Buffer, Instruction, Program, Region, Replay};
use std::sync::Arc;
use std::time::Instant;

/// Seconds that a line may take.
const TIME: f64 = 0.15;

/// Sets the number of threads and prints the head of the table.
pub fn begin() {
    let threads = std::env::var("NERVE_BENCH_THREADS").ok().and_then(|n| n.parse().ok());
    nerve_cpu::set_threads(threads.unwrap_or(1));
    let threads = nerve_cpu::threads();
    let peak = nerve_cpu::peak_flops(threads).map_or(0.0, |flops| flops / 1e9);
    println!("{}, {threads} threads, peak {peak:.0} GFLOP/s", nerve_cpu::isa().name());
}

/// Whether the command line asks for a line.
pub fn wanted(label: &str) -> bool {
    let word = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    word.is_none_or(|word| label.contains(&word))
}

/// The operands of instructions, one after the other in buffer 1.
#[derive(Default)]
pub struct Operands {
    words: Vec<u32>,
}

impl Operands {
    fn take(&mut self, words: impl Iterator<Item = u32>) -> Region {
        let start = self.words.len();
        self.words.extend(words);
        let region = Region::new(1, 4 * start, 4 * (self.words.len() - start));
        // Each begins on a cache line of its own.
        self.words.resize(self.words.len().next_multiple_of(16), 0);
        region
    }

    /// `n` small numbers in no order, none of them 0 or subnormal.
    pub fn floats(&mut self, n: usize) -> Region {
        self.take((0..n).map(|i| (scattered(i, 1000) as f32 * 1e-3 + 0.01).to_bits()))
    }

    /// `n` whole numbers below `below`, in no order.
    pub fn indices(&mut self, n: usize, below: u32) -> Region {
        self.take((0..n).map(|i| scattered(i, below)))
    }

    /// Room for `n` bytes.
    pub fn bytes(&mut self, n: usize) -> Region {
        let region = self.take(std::iter::repeat_n(0, n.div_ceil(4)));
        Region { bytes: n, ..region }
    }
}

fn scattered(i: usize, below: u32) -> u32 {
    let mixed = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    ((mixed * u64::from(below)) >> 32) as u32
}

/// Times an instruction and prints: time, operations and bytes a second, and the share of the
/// nearer roof, which is the peak of the processor or the speed of memory over as many bytes.
pub fn measure(label: &str, operands: Operands, instruction: impl Into<Instruction>) {
    measure_all(label, operands, vec![instruction.into()]);
}

/// Times instructions that belong together.
pub fn measure_all(label: &str, operands: Operands, instructions: Vec<Instruction>) {
    if !wanted(label) {
        return;
    }
    let flops: u64 = instructions.iter().map(|i| i.kernel().flops()).sum();
    let bytes: usize = instructions.iter().map(bytes).sum();
    let program = Program::new(instructions, &[0, 4 * operands.words.len()]).expect("it fits");
    let memory = Arc::new(Buffer::from_slice(&operands.words));
    let mut replay = Replay::new(program, vec![Some(memory)]);
    let seconds = best(|| replay.run().expect("indices in range"));
    line(label, seconds, flops, bytes);
}

/// Bytes that an instruction touches: of a table, the rows that are picked.
fn bytes(instruction: &Instruction) -> usize {
    let all = instruction.operands().iter().map(|o| o.region.bytes).sum();
    match instruction {
        Instruction::Gather(gather) => 2 * gather.dst.bytes + gather.index.bytes,
        _ => all,
    }
}

/// Prints what was measured, beside the roof.
pub fn line(label: &str, seconds: f64, flops: u64, bytes: usize) {
    let threads = nerve_cpu::threads();
    let peak = nerve_cpu::peak_flops(threads);
    let compute = peak.map_or(0.0, |peak| flops as f64 / peak);
    let moving = bytes as f64 / nerve_cpu::peak_bandwidth(threads, bytes);
    println!(
        "{label:<44} {:>10.2} µs {:>8.1} GFLOP/s {:>8.1} GB/s  {:>4.0} % of {}",
        seconds * 1e6,
        flops as f64 / seconds / 1e9,
        bytes as f64 / seconds / 1e9,
        100.0 * compute.max(moving) / seconds,
        if compute > moving { "peak" } else { "memory" },
    );
}

/// The shortest of many runs, in seconds.
pub fn best(mut run: impl FnMut()) -> f64 {
    let mut once = || {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    };
    let first = once().max(1e-9);
    let rounds = (TIME / first).clamp(5.0, 20_000.0) as usize;
    (0..rounds).map(|_| once()).fold(first, f64::min)
}
