//! One step of a recurrence at a time, its units cut into pieces: where few rows meet large
//! weights.
//!
//! Reading the weights is then what takes the time. Cut by rows, each thread would read all of them
//! at each step; cut by units, it reads its share, and what it reads stays in its own caches. In
//! exchange all threads wait for each other after each step: a round of the instruction.

use super::cell::{Advance, Plane, Sums, advance, row_sums};
use super::{Recurrent, RecurrentShape};
use crate::gemm::drive::piece;
use crate::kernel::Scratch;
use crate::memory::Memory;
use crate::real::{LANES, Real};
use std::ops::Range;

/// Elements of the weights that are worth a piece: fewer take no longer than the waiting.
const PIECE: usize = 16 * 1024;
/// Never more pieces than this.
const MOST_PIECES: usize = 16;

/// Into how many pieces the units of a step are cut.
pub(super) fn pieces(shape: &RecurrentShape) -> usize {
    let weights = shape.cell.gates() * shape.units * shape.units;
    match shape.packs() || shape.steps < 2 {
        true => 1,
        false => (weights / PIECE).clamp(1, MOST_PIECES).min(shape.units.div_ceil(LANES).max(1)),
    }
}

/// The units of piece number `i`: whole vectors, and whole cache lines.
fn units(shape: &RecurrentShape, i: usize) -> Range<usize> {
    let vectors = piece(shape.units.div_ceil(LANES), pieces(shape), i);
    vectors.start * LANES..shape.units.min(vectors.end * LANES)
}

/// Whether a round goes through pieces and weights from the end, as every other one does: the
/// weights that were read last are still in the nearest cache.
pub(super) fn backward(shape: &RecurrentShape, round: usize) -> bool {
    // With several rows the weights of a gate are read again at once.
    shape.batch == 1 && round % 2 == 1
}

/// Elements of working memory: the sums of a piece, and a state of zeros.
pub(super) fn scratch(shape: &RecurrentShape) -> usize {
    shape.units.div_ceil(LANES).div_ceil(pieces(shape)) * LANES * shape.cell.gates() + shape.units
}

/// One piece of one step, for all rows. The state h is read from the outputs of the step before;
/// the cell state stands where the last one is returned.
///
/// # Safety
/// As [`Kernel::run`](crate::Kernel::run).
pub(super) unsafe fn step<T: Real>(
    this: &Recurrent,
    chunk: usize,
    memory: &Memory,
    scratch: &mut Scratch<'_>,
) {
    let shape = &this.shape;
    let &RecurrentShape { cell, batch, steps, units: all, reverse } = shape;
    let (count, gates, kept) = (pieces(shape), cell.gates(), cell.kept());
    let (round, units) = (chunk / count, units(shape, chunk % count));
    let wide = units.len();
    let (t, before) = match reverse {
        false => (round, round.checked_sub(1)),
        true => (steps - 1 - round, (round > 0).then(|| steps - round)),
    };
    let onward = if reverse { -1 } else { 1 };
    let (sums, zeros) =
        scratch.slice::<T>(self::scratch(shape)).split_at_mut(self::scratch(shape) - all);
    zeros.fill(T::ZERO);
    let plane = |at: *mut T, gate: usize| Plane { at, row: 0, gate, ahead: 0 };
    // SAFETY: `check` held all sizes against the regions. Pieces write disjoint units, and what
    // they read of the step before was written in an earlier round.
    unsafe {
        let out = memory.ptr::<T>(this.out);
        let weights = memory.ptr::<T>(this.weights).cast_const().add(units.start * all);
        let states = out.add(shape.state_start());
        for row in 0..batch {
            let state = |of: usize| states.add((of * batch + row) * all + units.start);
            let given = |region| memory.ptr::<T>(region).add(row * all);
            let h = match (before, this.h0) {
                (Some(t), _) => out.add((row * steps + t) * all),
                (None, Some(h0)) => given(h0),
                (None, None) => zeros.as_mut_ptr(),
            };
            if before.is_none() && cell.has_memory() {
                let c0 = this.c0.map_or(zeros.as_ptr(), |c0| given(c0).cast_const());
                std::ptr::copy_nonoverlapping(c0.add(units.start), state(1), wide);
            }
            for i in 0..gates {
                let gate = if backward(shape, round) { gates - 1 - i } else { i };
                let bias = this.bias.map(|bias| memory.ptr::<T>(bias).add(gate * all));
                row_sums(
                    this.isa,
                    &Sums {
                        weights: weights.add(gate * all * all),
                        sums: wide,
                        units: all,
                        h,
                        bias: bias.map_or(std::ptr::null(), |bias| bias.add(units.start)),
                        to: sums.as_mut_ptr().add(gate * wide),
                        backward: backward(shape, round),
                    },
                );
            }
            let sequence = |at: *mut T, gates: usize| Plane {
                at: at.add((row * steps + t) * gates * all + units.start),
                row: 0,
                gate: all,
                ahead: onward * (gates * all) as isize,
            };
            let job = Advance {
                cell,
                rows: 1,
                units: wide,
                sums: plane(sums.as_mut_ptr(), wide),
                x: sequence(memory.ptr(this.x), gates),
                before: plane(h.add(units.start), 0),
                after: plane(state(0), 0),
                y: sequence(out, 1),
                c: if cell.has_memory() { plane(state(1), 0) } else { Plane::NONE },
                kept: match this.keep && kept > 0 {
                    true => sequence(out.add(shape.kept_start()), kept),
                    false => Plane::NONE,
                },
            };
            advance(this.isa, &job);
        }
    }
}
