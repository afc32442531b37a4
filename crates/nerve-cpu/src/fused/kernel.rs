//! The instruction that runs a group.

use super::reference::{self, Elements, Number};
use super::{Fused, View};
use crate::kernel::{Kernel, Operand, Scratch};
use crate::memory::Memory;
use std::ops::Deref;

/// A checked group, ready to run.
#[derive(Clone, Debug, PartialEq)]
pub struct FusedKernel {
    fused: Fused,
}

impl Fused {
    /// Checks the group and plans how to run it.
    ///
    /// # Errors
    /// Those of [`Fused::check`].
    pub fn prepare(self) -> Result<FusedKernel, String> {
        self.check()?;
        Ok(FusedKernel { fused: self })
    }

    /// Into how many parts the reductions of the group are cut, fixed by the shape.
    ///
    /// Usually 1. If more, the region of every output with a reduction must hold that many
    /// consecutive copies of the (then contiguous) output: copy p is the reduction of part p of
    /// the iteration space, and another instruction has to reduce the copies.
    pub fn parts(&self) -> usize {
        1
    }
}

impl Deref for FusedKernel {
    type Target = Fused;

    fn deref(&self) -> &Fused {
        &self.fused
    }
}

struct Raw<'a>(&'a Memory);

impl Raw<'_> {
    fn at(&self, view: &View, at: usize) -> *mut u8 {
        // SAFETY: callers are `run`, whose contract says that the region is bound, and `check`
        // found `at` inside it.
        unsafe { self.0.ptr::<u8>(view.region).add(at * view.element.bytes()) }
    }
}

impl Elements for Raw<'_> {
    fn load(&self, view: &View, at: usize) -> Number {
        // SAFETY: as in `at`.
        let bytes = unsafe { std::slice::from_raw_parts(self.at(view, at), view.element.bytes()) };
        reference::from_bytes(view.element, bytes)
    }

    fn store(&mut self, view: &View, at: usize, value: Number) {
        let bytes = reference::to_bytes(view.element, value);
        // SAFETY: as in `at`; nobody else touches the outputs.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.at(view, at), bytes.len()) }
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
        1
    }

    fn flops(&self) -> u64 {
        self.code.len() as u64 * self.points() as u64
    }

    unsafe fn run(&self, _chunk: usize, memory: &Memory, _scratch: &mut Scratch<'_>) {
        reference::evaluate(&self.fused, &mut Raw(memory));
    }
}
