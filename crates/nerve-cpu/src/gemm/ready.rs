//! The instruction that a program holds: a product whose plan is made once, not at each run.

use super::{Gemm, Plan};
use crate::kernel::{Kernel, Operand, Scratch};
use crate::memory::Memory;
use std::ops::{Deref, Range};

/// A product, ready to run; two are equal if their products are.
#[derive(Clone, Debug)]
pub struct GemmKernel {
    gemm: Gemm,
    /// None if there is nothing to compute.
    plan: Option<Plan>,
}

impl From<Gemm> for GemmKernel {
    fn from(gemm: Gemm) -> Self {
        // Without parts it fails its check; until then it may be here.
        let plan = (!gemm.is_empty() && gemm.parts > 0).then(|| gemm.plan());
        GemmKernel { gemm, plan }
    }
}

impl Deref for GemmKernel {
    type Target = Gemm;

    fn deref(&self) -> &Gemm {
        &self.gemm
    }
}

impl PartialEq for GemmKernel {
    fn eq(&self, other: &Self) -> bool {
        self.gemm == other.gemm
    }
}

impl Kernel for GemmKernel {
    fn name(&self) -> &'static str {
        self.gemm.name()
    }

    fn operands(&self, visit: &mut dyn FnMut(Operand)) {
        self.gemm.operands(visit);
    }

    fn check(&self) -> Result<(), String> {
        self.gemm.check()
    }

    fn chunks(&self) -> usize {
        self.gemm.chunks()
    }

    fn flops(&self) -> u64 {
        self.gemm.flops()
    }

    fn scratch_bytes(&self) -> usize {
        self.gemm.scratch_bytes()
    }

    unsafe fn run(&self, chunk: usize, memory: &Memory, scratch: &mut Scratch<'_>) {
        // SAFETY: the caller's promise.
        unsafe { self.run_all(chunk..chunk + 1, memory, scratch) }
    }

    unsafe fn run_all(&self, chunks: Range<usize>, memory: &Memory, scratch: &mut Scratch<'_>) {
        if let Some(plan) = self.plan {
            // SAFETY: the caller's promise; the plan is that of this product.
            unsafe { self.gemm.run_planned(plan, chunks, memory, scratch) }
        }
    }
}
