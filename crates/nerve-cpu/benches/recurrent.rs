//! Recurrent layers against the peak of their threads: `cargo bench -p nerve-cpu --bench recurrent`.
//!
//! `NERVE_BENCH_THREADS` says how many threads (1 without it).

use nerve_cpu::{
    Buffer, Cell, Float, Instruction, Program, Recurrent, RecurrentGrad, RecurrentShape, Region,
    Replay,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The shortest of many runs of one instruction, the first operand of which is packed before.
fn measure(label: &str, instruction: Instruction, buffers: &[usize]) {
    let flops = instruction.kernel().flops() as f64;
    let program = Program::new(vec![instruction], buffers).expect("a program that fits");
    // Small numbers of either sign, as weights and gradients are.
    let filled = |&bytes: &usize| {
        let value = |i: usize| ((i * 7919 % 2003) as f32 / 1001.0 - 1.0) * 0.1;
        Arc::new(Buffer::from_slice(&(0..bytes / 4).map(value).collect::<Vec<_>>()))
    };
    let mut replay = Replay::new(program, buffers[1..].iter().map(filled).map(Some).collect());
    let mut best = Duration::MAX;
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(400) {
        let start = Instant::now();
        replay.run().expect("no indices");
        best = best.min(start.elapsed());
    }
    let peak = nerve_cpu::peak_flops(nerve_cpu::threads()).unwrap_or(f64::INFINITY);
    let speed = flops / best.as_secs_f64();
    let (micros, share) = (best.as_secs_f64() * 1e6, 100.0 * speed / peak);
    println!("{label:<44} {micros:>10.1} µs {:>8.1} GFLOP/s {share:>5.1} %", speed / 1e9);
}

fn walks(cell: Cell, batch: usize, steps: usize, units: usize) {
    let (ty, isa) = (Float::F32, nerve_cpu::isa());
    let shape = RecurrentShape { cell, batch, steps, units, reverse: false };
    let x = 4 * batch * steps * units * cell.gates();
    let (packed, out) = (Recurrent::packed_bytes(&shape, ty), 4 * shape.outputs(true));
    let to = 4 * shape.gradients();
    let buffers = [0, x, packed, out, to];
    let whole = |i: usize| Region::new(i as u32, 0, buffers[i]);
    let forward = |keep| Recurrent {
        ty,
        shape,
        x: whole(1),
        weights: whole(2),
        bias: None,
        h0: None,
        c0: None,
        keep,
        out: whole(3),
        isa,
    };
    let label = format!("{cell:?} {batch} × {steps} × {units}");
    measure(&label, forward(false).into(), &buffers);
    if batch > 1 {
        measure(&format!("{label}, kept"), forward(true).into(), &buffers);
        let back = RecurrentGrad {
            ty,
            shape,
            packed: whole(2),
            out: whole(3),
            h0: None,
            c0: None,
            dy: None,
            dh: None,
            dc: None,
            to: whole(4),
            isa,
        };
        measure(&format!("{label}, back"), back.into(), &buffers);
    }
}

fn main() {
    let threads = std::env::var("NERVE_BENCH_THREADS").ok().and_then(|n| n.parse().ok());
    nerve_cpu::set_threads(threads.unwrap_or(1));
    for cell in [Cell::Lstm, Cell::Gru, Cell::Tanh] {
        walks(cell, 1, 100, 128);
        walks(cell, 32, 100, 128);
    }
    walks(Cell::Lstm, 64, 50, 512);
    walks(Cell::Lstm, 8, 100, 64);
}
