//! Copying bytes from one region to another of the same length.

use crate::kernel::{Kernel, Operand, Scratch};
use crate::memory::{Memory, Region};

/// Bytes that one chunk copies.
const CHUNK: usize = 256 * 1024;

/// `to = from`, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// The source.
    pub from: Region,
    /// The destination, of the same length.
    pub to: Region,
}

impl Kernel for Copy {
    fn name(&self) -> &'static str {
        "copy"
    }

    fn operands(&self, visit: &mut dyn FnMut(Operand)) {
        visit(Operand::read(self.from));
        visit(Operand::write(self.to));
    }

    fn check(&self) -> Result<(), String> {
        match self.from.bytes == self.to.bytes {
            true => Ok(()),
            false => Err(format!("{} bytes from, {} to", self.from.bytes, self.to.bytes)),
        }
    }

    fn chunks(&self) -> usize {
        self.to.bytes.div_ceil(CHUNK).max(1)
    }

    fn flops(&self) -> u64 {
        0
    }

    unsafe fn run(&self, chunk: usize, memory: &Memory, _: &mut Scratch<'_>) {
        let start = chunk * CHUNK;
        let bytes = self.to.bytes.min(start + CHUNK) - start;
        // SAFETY: both regions were checked and have the same length. `copy` rather than
        // `copy_nonoverlapping`, since they may be the same region.
        unsafe {
            let from = memory.ptr::<u8>(self.from).add(start);
            std::ptr::copy(from, memory.ptr::<u8>(self.to).add(start), bytes);
        }
    }
}
