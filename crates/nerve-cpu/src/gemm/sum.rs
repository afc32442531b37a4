//! Adding up partial results.

use super::pack::check_product;
use crate::kernel::{Float, Kernel, Operand, Scratch};
use crate::memory::{Memory, Plain, Region};
use std::ops::AddAssign;

/// `to[i] = from[0, i] + from[1, i] + ...`, in this order: adds the parts that a
/// [`Gemm`](super::Gemm) or a weight gradient left behind.
#[derive(Clone, Debug, PartialEq)]
pub struct SumParts {
    /// Type of the elements.
    pub ty: Float,
    /// How many parts, at least 1.
    pub parts: usize,
    /// Elements of one part.
    pub len: usize,
    /// The parts, one after the other.
    pub from: Region,
    /// The sum.
    pub to: Region,
    /// Whether to add to what `to` holds.
    pub accumulate: bool,
}

/// Elements that one chunk adds up at least.
const CHUNK: usize = 8 * 1024;
/// Elements that are added up at a time; they stay in L1 while the parts pass.
const STRIP: usize = 1024;

impl SumParts {
    unsafe fn run_typed<T: Plain + AddAssign>(&self, chunk: usize, memory: &Memory) {
        let mine = super::drive::piece(self.len, self.chunks(), chunk);
        // SAFETY: `check` held both regions against the lengths; chunks are disjoint.
        let (from, to) =
            unsafe { (memory.read::<T>(self.from), memory.write::<T>(self.to, mine.clone())) };
        for (s, strip) in to.chunks_mut(STRIP).enumerate() {
            let start = mine.start + s * STRIP;
            let first = if self.accumulate {
                0
            } else {
                strip.copy_from_slice(&from[start..start + strip.len()]);
                1
            };
            for part in first..self.parts {
                let from = &from[part * self.len + start..][..strip.len()];
                for (sum, value) in strip.iter_mut().zip(from) {
                    *sum += *value;
                }
            }
        }
    }
}

impl Kernel for SumParts {
    fn name(&self) -> &'static str {
        "sum_parts"
    }

    fn operands(&self, visit: &mut dyn FnMut(Operand)) {
        visit(Operand::read(self.from));
        match self.accumulate {
            true => visit(Operand::update(self.to)),
            false => visit(Operand::write(self.to)),
        }
    }

    fn check(&self) -> Result<(), String> {
        if self.parts == 0 {
            return Err("no parts to add".into());
        }
        crate::bounds::apart(self)?;
        check_product("parts", self.from, self.ty, &[self.parts, self.len])?;
        check_product("sum", self.to, self.ty, &[self.len])
    }

    fn chunks(&self) -> usize {
        (self.len / CHUNK).clamp(1, 16)
    }

    fn flops(&self) -> u64 {
        self.parts as u64 * self.len as u64
    }

    unsafe fn run(&self, chunk: usize, memory: &Memory, _: &mut Scratch<'_>) {
        // SAFETY: the caller's promise.
        unsafe {
            match self.ty {
                Float::F32 => self.run_typed::<f32>(chunk, memory),
                Float::F64 => self.run_typed::<f64>(chunk, memory),
            }
        }
    }
}
