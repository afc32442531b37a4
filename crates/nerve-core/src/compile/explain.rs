//! A plan for people to read.

use super::lowering::SLOTS;
use nerve_cpu::{Access, Instruction, Region};
use std::fmt::Write;

/// One line an instruction: its name, operands, operations and bytes.
pub(super) fn explain(instructions: &[Instruction], arena: usize, buffers: &[usize]) -> String {
    let mut text = format!(
        "{} instructions, {} buffers, arena of {}\n",
        instructions.len(),
        buffers.len() - 1,
        bytes(arena)
    );
    for (i, instruction) in instructions.iter().enumerate() {
        let kernel = instruction.kernel();
        let operands = instruction.operands();
        let moved: usize = operands.iter().map(|o| o.region.bytes).sum();
        let list = |wanted: fn(Access) -> bool| {
            let named = operands.iter().filter(|o| wanted(o.access)).map(|o| region(&o.region));
            named.collect::<Vec<_>>().join(", ")
        };
        let (to, from) = (list(|a| a != Access::Read), list(|a| a == Access::Read));
        let _ = writeln!(
            text,
            "{i:4}  {:<18} {to} <- {from}  [{}, {} chunks, {} flop, {}]",
            kernel.name(),
            detail(instruction),
            kernel.chunks(),
            count(kernel.flops()),
            bytes(moved)
        );
    }
    text
}

fn region(region: &Region) -> String {
    match region.buffer {
        0 => format!("arena+{}", region.offset),
        b if b >= SLOTS => format!("slot{}+{}", b - SLOTS, region.offset),
        b => format!("b{b}+{}", region.offset),
    }
}

pub(super) fn detail(instruction: &Instruction) -> String {
    match instruction {
        Instruction::Fused(fused) => (**fused).to_string(),
        Instruction::Gemm(g) => {
            let [rows, columns] = if g.c_turned { [g.n, g.m] } else { [g.m, g.n] };
            format!("{rows}x{columns}x{} batch {}", g.k, g.batch)
        }
        _ => String::new(),
    }
}

/// 1234567 as "1.23 M".
fn count(n: u64) -> String {
    match n {
        0..1_000 => n.to_string(),
        1_000..1_000_000 => format!("{:.1} k", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} M", n as f64 / 1e6),
        _ => format!("{:.1} G", n as f64 / 1e9),
    }
}

pub(super) fn bytes(n: usize) -> String {
    match n {
        0..1_024 => format!("{n} B"),
        1_024..1_048_576 => format!("{:.1} KiB", n as f64 / 1024.0),
        _ => format!("{:.1} MiB", n as f64 / 1_048_576.0),
    }
}
