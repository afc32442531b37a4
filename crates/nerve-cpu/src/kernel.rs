//! What every instruction can do: name its operands, check itself, fall into chunks, and run one.

use crate::memory::{Memory, Region};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// The floating-point type an instruction computes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Float {
    /// Single precision, the ordinary case.
    F32,
    /// Double precision, for gradient checks and where it is asked for.
    F64,
}

impl Float {
    /// Size of one element in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Float::F32 => 4,
            Float::F64 => 8,
        }
    }
}

/// How exactly a product takes its operands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// As they are.
    #[default]
    Full,
    /// Single-precision operands are rounded to bf16 (8 bits of significand, the nearest, ties to
    /// even) as they are read; products and sums stay single precision. A relative error of up to
    /// 2⁻⁸ for each product, in exchange for twice the speed where the processor multiplies pairs
    /// of bf16. Double precision is left alone.
    ///
    /// Such processors add the two products of a pair first, and take denormal numbers for zero.
    Bf16,
}

/// How an instruction touches an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Only reads.
    Read,
    /// Writes every element that it is responsible for before reading any.
    Write,
    /// Reads and writes.
    Update,
}

/// One operand: which bytes, and what happens to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operand {
    /// The bytes.
    pub region: Region,
    /// What happens to them.
    pub access: Access,
}

impl Operand {
    /// An operand that is only read.
    pub const fn read(region: Region) -> Self {
        Operand { region, access: Access::Read }
    }

    /// An operand that is written.
    pub const fn write(region: Region) -> Self {
        Operand { region, access: Access::Write }
    }

    /// An operand that is read and written in place.
    pub const fn update(region: Region) -> Self {
        Operand { region, access: Access::Update }
    }
}

/// One instruction of the machine, as plain data.
///
/// # Chunks and determinism
/// The work falls into [`chunks`](Kernel::chunks) independent parts, a number that depends on the
/// instruction's shape alone, never on the number of threads. Threads divide the chunks among
/// themselves; since each chunk computes the same bits whoever runs it, so does the whole.
/// Reductions that cross chunks write partial results which a later instruction adds in a fixed
/// order. Where parts depend on each other, they fall into [`rounds`](Kernel::rounds).
pub trait Kernel {
    /// Short lower-case name for `explain` and for profiles: `gemm`, `conv`, `softmax`.
    fn name(&self) -> &'static str;

    /// Calls `visit` with each operand. Includes everything that [`run`](Kernel::run) may touch.
    fn operands(&self, visit: &mut dyn FnMut(Operand));

    /// Checks that sizes, strides and operands fit together, with checked arithmetic.
    ///
    /// This is what makes [`run`](Kernel::run) sound: whatever passes here may not read or write
    /// outside its regions (aligned to their element type, checked by the program).
    ///
    /// # Errors
    /// Says what does not fit.
    fn check(&self) -> Result<(), String>;

    /// Number of parts, at least 1, fixed by the shape; independent but for the rounds.
    fn chunks(&self) -> usize;

    /// Number of rounds, all of as many chunks, into which the chunks fall in order: those of a round
    /// are independent, and start when all of the round before are done. For steps of a sequence.
    fn rounds(&self) -> usize {
        1
    }

    /// Floating-point operations of the whole instruction (a fused multiply-add counts two), for
    /// reports and for deciding whether to wake other threads.
    fn flops(&self) -> u64;

    /// Bytes of per-thread scratch memory that one chunk needs.
    fn scratch_bytes(&self) -> usize {
        0
    }

    /// Runs chunk number `chunk`.
    ///
    /// # Safety
    /// `check` passed; `memory` binds buffers that contain every operand; nobody else writes what
    /// this chunk reads or touches what it writes while it runs.
    unsafe fn run(&self, chunk: usize, memory: &Memory, scratch: &mut Scratch<'_>);

    /// Runs chunks that follow each other, all of one round: what one thread does of an
    /// instruction. A kernel may treat them as one piece of work, if that gives the same bits.
    ///
    /// # Safety
    /// As [`run`](Kernel::run), for each of them.
    unsafe fn run_all(&self, chunks: Range<usize>, memory: &Memory, scratch: &mut Scratch<'_>) {
        for chunk in chunks {
            // SAFETY: by contract.
            unsafe { self.run(chunk, memory, scratch) };
        }
    }
}

/// What a chunk gets beside its operands: working memory of its thread, and a place to report.
pub struct Scratch<'a> {
    /// At least [`Kernel::scratch_bytes`] bytes, 64-byte aligned, contents undefined.
    pub bytes: &'a mut [u8],
    /// Where a kernel reports bad data (an index out of range).
    pub fault: &'a Fault,
}

impl Scratch<'_> {
    /// The first `len` elements of the working memory as values of type `T`.
    ///
    /// # Panics
    /// If the scratch is too small, which is a mistake in `scratch_bytes`.
    pub fn slice<T: crate::memory::Plain>(&mut self, len: usize) -> &mut [T] {
        assert!(len * size_of::<T>() <= self.bytes.len(), "scratch too small");
        // SAFETY: long enough, aligned to 64 bytes, and any bit pattern is a valid `T`.
        unsafe { std::slice::from_raw_parts_mut(self.bytes.as_mut_ptr().cast(), len) }
    }
}

/// The first bad value that a kernel met during a replay: an index outside its range.
///
/// Values arrive at run time, so no check of the program can exclude them. A kernel that meets one
/// reports it, skips the element, and the replay returns the error when it is done.
#[derive(Default)]
pub struct Fault {
    /// Whether there is anything in `first`: the one word that a replay looks at when all is well.
    raised: AtomicBool,
    /// Position and value; of several reports the one with the lowest position stays, so that the
    /// answer does not depend on which thread was first.
    first: Mutex<Option<(usize, i64)>>,
}

impl Fault {
    /// Reports that the index at element `position` of an operand was `value`.
    #[cold]
    pub fn report(&self, position: usize, value: i64) {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        if first.is_none_or(|(earlier, _)| position < earlier) {
            *first = Some((position, value));
        }
        self.raised.store(true, Ordering::Release);
    }

    /// The position and the value reported, if any, and clears them.
    pub fn take(&self) -> Option<(usize, i64)> {
        if !self.raised.swap(false, Ordering::Acquire) {
            return None;
        }
        self.first.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Checks `kernel` and runs all its chunks in order on this thread, over `buffers`; for tests.
///
/// # Panics
/// If the check fails, an operand lies outside its buffer, or a bad value was reported.
#[cfg(test)]
pub(crate) fn run_alone(kernel: &dyn Kernel, buffers: &[&crate::memory::Buffer]) {
    kernel.check().unwrap();
    let mut memory = Memory::new(buffers.len());
    for (i, buffer) in buffers.iter().enumerate() {
        memory.bind(i, buffer);
    }
    kernel.operands(&mut |operand| {
        let region = operand.region;
        assert!(region.offset + region.bytes <= buffers[region.buffer as usize].bytes());
    });
    let fault = Fault::default();
    // Not a number wherever a kernel reads what it did not write.
    let mut bytes = vec![0xffu8; kernel.scratch_bytes() + crate::memory::ALIGN];
    let start = bytes.as_ptr().align_offset(crate::memory::ALIGN);
    for chunk in 0..kernel.chunks() {
        let mut scratch = Scratch { bytes: &mut bytes[start..], fault: &fault };
        // SAFETY: checked above, and only this thread runs.
        unsafe { kernel.run(chunk, &memory, &mut scratch) };
    }
    if let Some((position, value)) = fault.take() {
        panic!("bad value {value} at position {position}");
    }
}
