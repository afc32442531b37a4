//! Who runs what, and where somebody has to wait: decided once for a program.

use super::Instruction;
use crate::kernel::{Access, Operand};
use std::ops::Range;

/// How one instruction is run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Share {
    /// As [`Kernel::rounds`](crate::Kernel::rounds).
    pub rounds: usize,
    /// Chunks of each round.
    pub chunks: usize,
    /// Whether all threads share the chunks, or thread 0 runs all of them.
    pub shared: bool,
    /// Whether a thread that is done takes over what others have left.
    pub balanced: bool,
}

/// The instructions in order, cut into stages: all threads wait for each other between two.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Schedule {
    pub stages: Vec<Range<usize>>,
    /// For each instruction.
    pub shares: Vec<Share>,
}

impl Schedule {
    /// Instructions of at least `work` are shared by the threads if they fall into chunks, and their
    /// chunks are balanced if a round has `balanced` of it.
    pub fn new(instructions: &[Instruction], work: u64, balanced: u64) -> Schedule {
        let share = |instruction: &Instruction| {
            let kernel = instruction.kernel();
            let rounds = kernel.rounds();
            let chunks = kernel.chunks() / rounds;
            let here = instruction.work();
            let (shared, balanced) = (chunks > 1 && here >= work, here / rounds as u64 >= balanced);
            Share { rounds, chunks, shared, balanced }
        };
        let shares: Vec<Share> = instructions.iter().map(share).collect();
        Schedule { stages: stages(instructions, &shares), shares }
    }

    /// Whether there is anything for a second thread.
    pub fn is_shared(&self) -> bool {
        self.shares.iter().any(|share| share.shared)
    }
}

/// Cuts the list where an instruction touches what an earlier one of the same stage wrote, or writes
/// what it touched, unless thread 0 runs both of them: that one is never ahead of itself.
fn stages(instructions: &[Instruction], shares: &[Share]) -> Vec<Range<usize>> {
    let mut stages: Vec<Range<usize>> = Vec::new();
    // What the stage has touched so far: by all threads, and by thread 0.
    let (mut by_all, mut by_one): (Vec<Operand>, Vec<Operand>) = (Vec::new(), Vec::new());
    for (i, (instruction, share)) in instructions.iter().zip(shares).enumerate() {
        let operands = instruction.operands();
        let waits = conflict(&operands, &by_all) || share.shared && conflict(&operands, &by_one);
        match stages.last_mut().filter(|_| !waits) {
            Some(stage) => stage.end = i + 1,
            None => {
                by_all.clear();
                by_one.clear();
                stages.push(i..i + 1);
            }
        }
        if share.shared { by_all.extend(operands) } else { by_one.extend(operands) }
    }
    stages
}

fn conflict(a: &[Operand], b: &[Operand]) -> bool {
    a.iter().any(|x| {
        b.iter().any(|y| {
            (x.access != Access::Read || y.access != Access::Read) && x.region.overlaps(&y.region)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Region;

    fn copy(from: (u32, usize), to: (u32, usize), bytes: usize) -> Instruction {
        let region = |(buffer, offset)| Region::new(buffer, offset, bytes);
        crate::Copy { from: region(from), to: region(to) }.into()
    }

    #[test]
    fn independent_instructions_share_a_stage() {
        let n = 1 << 20;
        let list = vec![
            copy((1, 0), (0, 0), n),
            copy((1, 0), (0, n), n),
            copy((0, n), (2, 0), n),
            copy((0, 0), (0, 16), 16),
        ];
        let schedule = Schedule::new(&list, 1 << 20, 1 << 20);
        // The last one waits for nobody that the third one did not wait for.
        assert_eq!(schedule.stages, [0..2, 2..4]);
        assert!(schedule.shares[..3].iter().all(|s| s.shared) && !schedule.shares[3].shared);
    }

    #[test]
    fn what_one_thread_does_needs_no_waiting_in_between() {
        let n = 1 << 20;
        let list = vec![
            copy((1, 0), (0, 0), n),
            // Elsewhere, one after the other.
            copy((1, 0), (0, n), 64),
            copy((0, n), (0, n + 64), 64),
            // After what thread 0 wrote, and before it may be written again.
            copy((0, n), (2, 0), n),
            copy((1, 0), (0, n), 64),
        ];
        let schedule = Schedule::new(&list, 1 << 20, 1 << 20);
        assert_eq!(schedule.stages, [0..3, 3..4, 4..5]);
    }
}
