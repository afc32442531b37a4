//! A program: a checked list of instructions, and its replay.

mod schedule;

use crate::arena;
use crate::argreduce::ArgReduce;
use crate::attention::{Attention, AttentionGrad};
use crate::conv::{Conv, ConvPool, ConvWeightGrad, WinogradFilter};
use crate::copy::Copy;
use crate::cross_entropy::{CrossEntropy, CrossEntropyGrad};
use crate::fused::FusedKernel;
use crate::gather::{Gather, GatherElements, ScatterAdd, ScatterElements};
use crate::gemm::{Gemm, GemmKernel, PackB, SumParts};
use crate::int_matmul::IntMatmul;
use crate::kernel::{Access, Fault, Kernel, Operand, Scratch};
use crate::layer_norm::{LayerNorm, LayerNormGrad};
use crate::memory::{ALIGN, Buffer, Memory};
use crate::pool::{Pool, PoolGrad};
use crate::recurrent::{Recurrent, RecurrentGrad};
use crate::scan::CumSum;
use crate::softmax::{Softmax, SoftmaxGrad};
use crate::sort::Sort;
use crate::threads::{self, Team};
use schedule::{Schedule, Share};
use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Work below which waking the other threads costs more than it saves: about 4 µs.
///
/// Counted as floating-point operations plus four times the bytes of the operands, which weighs
/// a memory-bound and a compute-bound instruction about alike.
const PARALLEL_WORK: u64 = 400_000;

/// Work of a round from which on a thread that is done takes over chunks of the others: some 40 µs.
/// To look for such work is one message between processors.
const BALANCED_WORK: u64 = 10 * PARALLEL_WORK;

macro_rules! instructions {
    ($($(#[$doc:meta])* $name:ident($kernel:ty),)*) => {
        /// One instruction. The list is closed: another machine would match on it.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Instruction {
            $($(#[$doc])* $name($kernel),)*
        }

        impl Instruction {
            /// The instruction as a kernel that checks and runs itself.
            #[inline]
            pub fn kernel(&self) -> &dyn Kernel {
                match self {
                    $(Instruction::$name(kernel) => kernel,)*
                }
            }
        }

        $(impl From<$kernel> for Instruction {
            fn from(kernel: $kernel) -> Self {
                Instruction::$name(kernel)
            }
        })*
    };
}

instructions! {
    /// Bytes from one place to another.
    Copy(Copy),
    /// Maximum or mean of windows.
    Pool(Pool),
    /// Gradient of a pooling.
    PoolGrad(PoolGrad),
    /// Softmax or its logarithm, over rows.
    Softmax(Softmax),
    /// Gradient of a softmax.
    SoftmaxGrad(SoftmaxGrad),
    /// Normalised rows.
    LayerNorm(LayerNorm),
    /// Gradient of a normalisation.
    LayerNormGrad(LayerNormGrad),
    /// Scaled dot-product attention.
    Attention(Attention),
    /// Gradient of an attention.
    AttentionGrad(AttentionGrad),
    /// Cross-entropy of rows of logits.
    CrossEntropy(CrossEntropy),
    /// Gradient of a cross-entropy.
    CrossEntropyGrad(CrossEntropyGrad),
    /// Rows picked by number.
    Gather(Gather),
    /// Elements picked by number.
    GatherElements(GatherElements),
    /// Rows added at numbered places.
    ScatterAdd(ScatterAdd),
    /// Elements stored or added at numbered places.
    ScatterElements(ScatterElements),
    /// Sorted lines.
    Sort(Sort),
    /// Running sums.
    CumSum(CumSum),
    /// The place of an extreme.
    ArgReduce(ArgReduce),
    /// A fused group of elementwise operations, with reductions.
    Fused(FusedKernel),
    /// A matrix product.
    Gemm(GemmKernel),
    /// A matrix product of integers.
    IntMatmul(IntMatmul),
    /// A convolution.
    Conv(Conv),
    /// A convolution whose result is pooled.
    ConvPool(ConvPool),
    /// The gradient of a convolution with respect to its filter.
    ConvWeightGrad(ConvWeightGrad),
    /// The filter of a convolution, transformed for Winograd's algorithm.
    WinogradFilter(WinogradFilter),
    /// A matrix into the panels that a product reads.
    PackB(PackB),
    /// Partial results into their sum.
    SumParts(SumParts),
    /// Sequences through a recurrent layer.
    Recurrent(Recurrent),
    /// The gradient of that.
    RecurrentGrad(RecurrentGrad),
}

impl From<Gemm> for Instruction {
    fn from(gemm: Gemm) -> Self {
        GemmKernel::from(gemm).into()
    }
}

impl Instruction {
    /// All operands, in the order in which the kernel names them.
    pub fn operands(&self) -> Vec<Operand> {
        let mut all = Vec::new();
        self.kernel().operands(&mut |operand| all.push(operand));
        all
    }

    fn work(&self) -> u64 {
        let mut bytes = 0;
        self.kernel().operands(&mut |operand| bytes += operand.region.bytes as u64);
        self.kernel().flops() + 4 * bytes
    }
}

/// A list of instructions whose operands have been checked against the sizes of the buffers.
#[derive(Debug)]
pub struct Program {
    instructions: Vec<Instruction>,
    schedule: Schedule,
    /// Bytes of each buffer, the arena first; and whether any instruction writes it.
    buffers: Vec<(usize, bool)>,
    scratch: usize,
}

/// Why a program cannot be built: a mistake of whoever planned it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramError {
    /// Which instruction.
    pub instruction: usize,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for ProgramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "instruction {}: {}", self.instruction, self.message)
    }
}

impl std::error::Error for ProgramError {}

/// A replay met a value that its program cannot use: an index outside its range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunError {
    /// Which instruction.
    pub instruction: usize,
    /// Its name.
    pub name: &'static str,
    /// Which element of the indices.
    pub position: usize,
    /// What stood there.
    pub value: i64,
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RunError { name, position, value, .. } = self;
        write!(f, "{name}: the index at position {position} is {value}, which is out of range")
    }
}

impl std::error::Error for RunError {}

impl Program {
    /// Checks `instructions` against buffers of these sizes in bytes, the first being the arena.
    ///
    /// # Errors
    /// If an operand lies outside its buffer or is misaligned, an instruction's own check fails, or
    /// one operand is written while another of the same instruction partly overlaps it.
    pub fn new(instructions: Vec<Instruction>, buffers: &[usize]) -> Result<Self, ProgramError> {
        let mut written = vec![false; buffers.len()];
        for (i, instruction) in instructions.iter().enumerate() {
            let check = || {
                instruction.kernel().check()?;
                check_operands(&instruction.operands(), buffers)
            };
            check().map_err(|message| ProgramError {
                instruction: i,
                message: format!("{}: {message}", instruction.kernel().name()),
            })?;
            for operand in instruction.operands() {
                written[operand.region.buffer as usize] |= operand.access != Access::Read;
            }
        }
        let scratch = instructions.iter().map(|i| i.kernel().scratch_bytes()).max().unwrap_or(0);
        Ok(Program {
            schedule: Schedule::new(&instructions, PARALLEL_WORK, BALANCED_WORK),
            buffers: buffers.iter().copied().zip(written).collect(),
            instructions,
            scratch,
        })
    }

    /// The instructions, in order.
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }

    /// Bytes of the arena.
    pub fn arena_bytes(&self) -> usize {
        self.buffers.first().map_or(0, |b| b.0)
    }

    /// Number of times that all threads wait for each other in one replay.
    pub fn barriers(&self) -> usize {
        if self.schedule.is_shared() { self.schedule.stages.len() } else { 0 }
    }
}

fn check_operands(operands: &[Operand], buffers: &[usize]) -> Result<(), String> {
    for Operand { region, .. } in operands {
        let size = *buffers.get(region.buffer as usize).ok_or("no such buffer")?;
        let end = region.offset.checked_add(region.bytes).ok_or("offset overflows")?;
        if end > size {
            return Err(format!("{region:?} ends outside its buffer of {size} bytes"));
        }
        if !region.offset.is_multiple_of(4) {
            return Err(format!("{region:?} is not aligned to 4 bytes"));
        }
    }
    for (i, a) in operands.iter().enumerate() {
        for b in &operands[i + 1..] {
            let writes = a.access != Access::Read || b.access != Access::Read;
            if writes && a.region != b.region && a.region.overlaps(&b.region) {
                return Err(format!("writes to operands that overlap: {a:?}, {b:?}"));
            }
        }
    }
    Ok(())
}

/// A program bound to its buffers, ready to run again and again.
pub struct Replay {
    program: Program,
    /// What is bound to each buffer of the program; nothing to the first, which is the arena.
    buffers: Vec<Option<Arc<Buffer>>>,
    /// Whether a buffer stays bound for good.
    fixed: Vec<bool>,
    memory: Memory,
    faults: Vec<Fault>,
    /// The buffers by address: two replays that want the same ones take them in the same order.
    order: Vec<usize>,
}

impl Replay {
    /// Binds `program` to `buffers` (all but the arena): those that stay, and `None` for those that
    /// [`bind`](Replay::bind) is to name before a run.
    ///
    /// # Panics
    /// If the number or the sizes of the buffers are not those the program was checked with, or
    /// one buffer that is written appears twice.
    pub fn new(program: Program, buffers: Vec<Option<Arc<Buffer>>>) -> Self {
        let count = program.buffers.len().max(1);
        assert_eq!(buffers.len() + 1, count, "number of buffers");
        let mut replay = Replay {
            faults: program.instructions.iter().map(|_| Fault::default()).collect(),
            program,
            buffers: vec![None; count],
            fixed: vec![false; count],
            memory: Memory::new(count),
            order: Vec::with_capacity(count),
        };
        for (i, buffer) in buffers.into_iter().enumerate() {
            if let Some(buffer) = buffer {
                replay.bind(i + 1, buffer);
                replay.fixed[i + 1] = true;
            }
        }
        replay
    }

    /// The program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Binds another buffer in the place of number `index` (1 is the first after the arena).
    ///
    /// # Panics
    /// If it is too small, or already bound elsewhere and written.
    pub fn bind(&mut self, index: usize, buffer: Arc<Buffer>) {
        let (bytes, written) = self.program.buffers[index];
        assert!(
            index > 0 && buffer.bytes() >= bytes,
            "buffer {index} has {bytes} bytes, not {}",
            buffer.bytes()
        );
        let twice = self.buffers.iter().enumerate().any(|(i, bound)| {
            i != index
                && bound.as_ref().is_some_and(|bound| Arc::ptr_eq(bound, &buffer))
                && (self.program.buffers[i].1 || written)
        });
        assert!(!twice, "buffer {index} is written and bound twice");
        self.memory.bind(index, &buffer);
        self.buffers[index] = Some(buffer);
        // Sorted again before the next run: often many buffers are bound at once.
        self.order.clear();
    }

    /// # Panics
    /// If a buffer is not bound.
    fn sort(&mut self) {
        let address = |&i: &usize| self.buffers[i].as_ref().map(Arc::as_ptr);
        self.order.extend(1..self.buffers.len());
        self.order.sort_by_key(address);
        let all = self.order.iter().all(|i| address(i).is_some());
        assert!(all, "a buffer of the program is not bound");
    }

    /// Forgets what [`bind`](Replay::bind) has bound since the replay was made, so that nothing is
    /// kept alive between runs that nobody else needs.
    pub fn release(&mut self) {
        for i in 1..self.buffers.len() {
            if !self.fixed[i] {
                self.buffers[i] = None;
            }
        }
        self.order.clear();
    }

    /// The buffer bound as number `index`, if any.
    pub fn buffer(&self, index: usize) -> Option<&Arc<Buffer>> {
        self.buffers[index].as_ref()
    }

    /// Runs all instructions once.
    ///
    /// # Errors
    /// If an index among the data was out of range. What depends on it is then meaningless.
    pub fn run(&mut self) -> Result<(), RunError> {
        let run = Run::begin(self);
        let this = run.replay;
        if this.program.schedule.is_shared() {
            threads::run(&|team: &Team<'_>| this.walk(team));
        } else {
            this.with_scratch(|scratch| {
                (0..this.program.instructions.len()).for_each(|i| this.run_alone(i, scratch));
            });
        }
        drop(run);
        self.fault().map_or(Ok(()), Err)
    }

    /// Runs all instructions once, each on its own, and adds the time each took to `times`.
    ///
    /// # Errors
    /// As [`Replay::run`].
    ///
    /// # Panics
    /// If `times` has not one entry for each instruction.
    pub fn profile(&mut self, times: &mut [Duration]) -> Result<(), RunError> {
        assert_eq!(times.len(), self.program.instructions.len(), "one time for each instruction");
        let run = Run::begin(self);
        let this = run.replay;
        for (i, time) in times.iter_mut().enumerate() {
            let start = Instant::now();
            if this.program.schedule.shares[i].shared {
                threads::run(&|team: &Team<'_>| {
                    this.with_scratch(|scratch| this.run_shared(i, team, scratch));
                });
            } else {
                this.with_scratch(|scratch| this.run_alone(i, scratch));
            }
            *time += start.elapsed();
        }
        drop(run);
        self.fault().map_or(Ok(()), Err)
    }

    /// What one thread does.
    fn walk(&self, team: &Team<'_>) {
        let Schedule { stages, shares } = &self.program.schedule;
        self.with_scratch(|scratch| {
            for (s, stage) in stages.iter().enumerate() {
                if s > 0 {
                    team.wait();
                }
                for i in stage.clone() {
                    if shares[i].shared {
                        self.run_shared(i, team, scratch);
                    } else if team.index == 0 {
                        self.run_alone(i, scratch);
                    }
                }
            }
        });
    }

    /// All of an instruction.
    fn run_alone(&self, i: usize, scratch: &mut [u8]) {
        let Share { rounds, chunks, .. } = self.program.schedule.shares[i];
        (0..rounds).for_each(|r| self.run_chunks(i, r * chunks..(r + 1) * chunks, scratch));
    }

    /// This thread's share of an instruction, round by round.
    fn run_shared(&self, i: usize, team: &Team<'_>, scratch: &mut [u8]) {
        let Share { rounds, chunks, balanced, .. } = self.program.schedule.shares[i];
        for round in 0..rounds {
            if round > 0 {
                team.wait();
            }
            let first = round * chunks;
            team.share(chunks, balanced, |some| {
                self.run_chunks(i, first + some.start..first + some.end, scratch);
            });
        }
    }

    fn run_chunks(&self, i: usize, chunks: Range<usize>, bytes: &mut [u8]) {
        let kernel = self.program.instructions[i].kernel();
        let mut scratch = Scratch { bytes, fault: &self.faults[i] };
        // SAFETY: `Program::new` checked the instruction and its operands, `new` and `bind` the
        // buffers, `Run` keeps others away from them, and stages end where instructions touch each
        // other's data.
        unsafe { kernel.run_all(chunks, &self.memory, &mut scratch) };
    }

    /// Calls `f` with this thread's working memory, which is kept from replay to replay.
    fn with_scratch(&self, f: impl FnOnce(&mut [u8])) {
        thread_local! {
            static SCRATCH: RefCell<Option<Buffer>> = const { RefCell::new(None) };
        }
        let bytes = self.program.scratch.next_multiple_of(ALIGN);
        SCRATCH.with_borrow_mut(|slot| {
            if slot.as_ref().is_none_or(|buffer| buffer.bytes() < bytes) {
                *slot = Some(Buffer::zeroed(bytes));
            }
            let buffer = slot.as_mut().expect("just made");
            // SAFETY: the buffer belongs to this thread alone and is at least `bytes` long.
            f(unsafe { std::slice::from_raw_parts_mut(buffer.as_ptr(), bytes) });
        });
    }

    fn in_order(&self) -> impl Iterator<Item = (usize, &Buffer)> {
        self.order.iter().filter_map(|&i| Some((i, &**self.buffers[i].as_ref()?)))
    }

    fn fault(&self) -> Option<RunError> {
        let mut faults = self.faults.iter().enumerate();
        faults.find_map(|(instruction, fault)| {
            let (position, value) = fault.take()?;
            let name = self.program.instructions[instruction].kernel().name();
            Some(RunError { instruction, name, position, value })
        })
    }
}

/// Holds an arena and a borrow of every bound buffer while a replay runs.
struct Run<'a> {
    replay: &'a Replay,
    arena: Option<Buffer>,
}

impl<'a> Run<'a> {
    fn begin(replay: &'a mut Replay) -> Self {
        if replay.order.is_empty() {
            replay.sort();
        }
        let arena = arena::take(replay.program.arena_bytes());
        replay.memory.bind(0, &arena);
        let replay = &*replay;
        for (i, buffer) in replay.in_order() {
            if replay.program.buffers[i].1 { buffer.borrow_mut() } else { buffer.borrow() }
        }
        Run { replay, arena: Some(arena) }
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        for (i, buffer) in self.replay.in_order() {
            if self.replay.program.buffers[i].1 { buffer.release_mut() } else { buffer.release() }
        }
        self.arena.take().into_iter().for_each(arena::give);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Region;

    fn copy(from: (u32, usize), to: (u32, usize), bytes: usize) -> Instruction {
        let region = |(buffer, offset)| Region::new(buffer, offset, bytes);
        Copy { from: region(from), to: region(to) }.into()
    }

    #[test]
    fn replays_through_the_arena_on_any_number_of_threads() {
        let n = 3_000_000;
        let values: Vec<f32> = (0..n).map(|i| i as f32).collect();
        let list = vec![copy((1, 0), (0, 0), 4 * n), copy((0, 0), (2, 0), 4 * n)];
        let program = || Program::new(list.clone(), &[4 * n, 4 * n, 4 * n]).unwrap();
        assert_eq!(program().barriers(), 2);
        for threads in [1, 2, 3] {
            crate::set_threads(threads);
            let (from, to) = (Arc::new(Buffer::from_slice(&values)), Buffer::zeroed(4 * n));
            let to = Arc::new(to);
            let mut replay = Replay::new(program(), vec![Some(from), Some(to.clone())]);
            replay.run().unwrap();
            assert_eq!(to.to_vec::<f32>(0..n), values);
        }
    }

    #[test]
    fn refuses_operands_outside_their_buffers() {
        for (list, words) in [
            (copy((0, 0), (1, 4), 8), "outside"),
            (copy((0, 2), (1, 0), 4), "aligned"),
            (copy((0, 0), (7, 0), 4), "no such buffer"),
            (copy((0, 0), (0, 4), 8), "overlap"),
            (copy((0, usize::MAX - 3), (1, 0), 8), "overflows"),
        ] {
            let error = Program::new(vec![list], &[64, 8]).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
