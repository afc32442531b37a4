//! The instruction that runs a group.

use super::geometry::Geometry;
use super::plan::Plan;
use super::run::Runner;
use super::{Compute, Fused, Step};
use crate::kernel::{Kernel, Operand, Scratch};
use crate::memory::Memory;
use crate::real::RunOn;
use crate::simd::{Isa, isa};
use std::ops::Deref;

/// A checked group, ready to run. Made by [`Fused::prepare`]; two are equal if their groups are.
#[derive(Clone, Debug)]
pub struct FusedKernel {
    fused: Fused,
    plan: Plan,
}

impl Fused {
    /// Checks the group and plans how to run it.
    ///
    /// # Errors
    /// Those of [`Fused::check`].
    pub fn prepare(self) -> Result<FusedKernel, String> {
        self.check()?;
        let plan = Plan::new(&self);
        Ok(FusedKernel { fused: self, plan })
    }

    /// Into how many parts the reductions of the group are cut: fixed by its type, extents and
    /// strides.
    ///
    /// Usually 1. If more, the region of every output with a reduction must hold that many
    /// consecutive copies of the (then contiguous) output: copy p is the reduction of part p of
    /// the iteration space, and another instruction has to reduce the copies.
    pub fn parts(&self) -> usize {
        let reduces = self.outputs.iter().any(|output| output.reduce.is_some());
        let fits = self.inputs.iter().chain(self.outputs.iter().map(|o| &o.view));
        let fits = fits.map(|view| view.strides.len()).all(|n| n == self.dims.len());
        if !reduces || !fits || self.points() == 0 { 1 } else { Geometry::new(self).parts }
    }
}

impl Deref for FusedKernel {
    type Target = Fused;

    fn deref(&self) -> &Fused {
        &self.fused
    }
}

impl PartialEq for FusedKernel {
    fn eq(&self, other: &Self) -> bool {
        self.fused == other.fused
    }
}

impl From<FusedKernel> for Fused {
    fn from(kernel: FusedKernel) -> Self {
        kernel.fused
    }
}

impl Kernel for FusedKernel {
    fn name(&self) -> &'static str {
        "fused"
    }

    fn operands(&self, visit: &mut dyn FnMut(Operand)) {
        self.inputs.iter().for_each(|view| visit(Operand::read(view.region)));
        self.outputs.iter().for_each(|output| visit(Operand::write(output.view.region)));
    }

    fn check(&self) -> Result<(), String> {
        self.fused.check()
    }

    fn chunks(&self) -> usize {
        if self.points() == 0 { 1 } else { self.plan.geometry.pieces * self.plan.geometry.parts }
    }

    fn flops(&self) -> u64 {
        // A step that is the same in every tile still stands for one operation a point: of a small
        // group that fits one tile, all steps are such.
        let steps = self.plan.once.iter().chain(&self.plan.each);
        let cost = |&i: &usize| match self.plan.code[i] {
            Step::Const(_) => 0,
            // Ten rounds of the cipher for four numbers.
            Step::Random { .. } => 16,
            _ => 1,
        };
        steps.map(cost).sum::<u64>().saturating_mul(self.points() as u64)
    }

    fn scratch_bytes(&self) -> usize {
        self.plan.scratch_bytes(&self.fused)
    }

    unsafe fn run(&self, chunk: usize, memory: &Memory, scratch: &mut Scratch<'_>) {
        // SAFETY: by contract; `isa` is what this processor has.
        unsafe { self.run_on(isa(), chunk, memory, scratch) }
    }
}

impl RunOn for FusedKernel {
    unsafe fn run_on(&self, isa: Isa, chunk: usize, memory: &Memory, scratch: &mut Scratch<'_>) {
        let (fused, plan) = (&self.fused, &self.plan);
        // SAFETY: `prepare` checked the group; the rest is the caller's contract.
        unsafe {
            match self.compute {
                Compute::F32 => Runner::<f32>::new(fused, plan, isa, memory, scratch).run(chunk),
                Compute::F64 => Runner::<f64>::new(fused, plan, isa, memory, scratch).run(chunk),
                Compute::I32 => Runner::<i32>::new(fused, plan, isa, memory, scratch).run(chunk),
                Compute::I64 => Runner::<i64>::new(fused, plan, isa, memory, scratch).run(chunk),
            }
        }
    }
}
