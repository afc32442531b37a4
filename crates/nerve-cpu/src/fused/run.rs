//! Running one chunk of a group: the loops, and what happens to each tile.

mod totals;

use super::access::{Convert, index, load, store};
use super::geometry::Shape;
use super::lane::{self, Lane};
use super::plan::Plan;
use super::runs::Run;
use super::{Fused, Output, Random, Step, View, check};
use crate::kernel::Scratch;
use crate::memory::Memory;
use crate::random::Key;
use crate::simd::Isa;
use std::ops::Range;

/// How far a running total has got.
#[derive(Clone, Copy)]
struct Total {
    /// Tiles added since the last carry.
    tiles: usize,
    /// The shape of those tiles.
    shape: usize,
}

/// The state of one chunk.
///
/// Register r stands at `registers + r·TILE`. Each output has, from `totals` on, a tile of totals
/// and room for a tile of the carry type.
pub(super) struct Runner<'a, T: Lane> {
    fused: &'a Fused,
    plan: &'a Plan,
    isa: Isa,
    memory: &'a Memory,
    /// Where the values of the current tile stand.
    values: &'a mut [*mut T],
    /// How far each operand has moved from its first element.
    offsets: &'a mut [isize],
    /// The round of each loop.
    rounds: &'a mut [usize],
    state: &'a mut [Total],
    registers: *mut T,
    totals: *mut u8,
    /// Which shape the values computed once are for.
    prepared: usize,
    part: usize,
}

/// Takes `len` values from the front of `bytes`.
///
/// # Safety
/// Any bit pattern of a `V` is valid, or nobody reads one before writing it.
unsafe fn take<'a, V>(bytes: &mut &'a mut [u8], len: usize) -> &'a mut [V] {
    let skip = bytes.as_ptr().align_offset(64);
    let (own, rest) = std::mem::take(bytes)[skip..].split_at_mut(len * size_of::<V>());
    *bytes = rest;
    // SAFETY: aligned to 64 bytes, long enough; validity is the caller's contract.
    unsafe { std::slice::from_raw_parts_mut(own.as_mut_ptr().cast(), len) }
}

/// Bytes of a cache line.
const LINE: usize = 64;

/// Asks for a cache line; any address will do.
fn prefetch_line(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch never faults.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// The bytes of one output's totals and carry.
const TOTAL_BYTES: usize = 3 * lane::TILE_BYTES;

impl<'a, T: Convert> Runner<'a, T> {
    /// # Safety
    /// `fused` passed its check and `plan` is its plan; `memory` binds its operands, which nobody
    /// else writes (or touches, where they are outputs) while the chunk runs; `isa` was found on
    /// this processor.
    pub(super) unsafe fn new(
        fused: &'a Fused,
        plan: &'a Plan,
        isa: Isa,
        memory: &'a Memory,
        scratch: &'a mut Scratch<'_>,
    ) -> Self {
        let mut bytes = &mut *scratch.bytes;
        // SAFETY: pointers, `Total`s, offsets and registers are written before they are read, and
        // any bits are valid numbers.
        unsafe {
            Runner {
                values: take(&mut bytes, plan.code.len()),
                offsets: take(&mut bytes, plan.operands(fused)),
                rounds: take(&mut bytes, plan.geometry.loops.len()),
                state: take(&mut bytes, fused.outputs.len()),
                registers: take::<T>(&mut bytes, plan.registers * T::TILE).as_mut_ptr(),
                totals: take::<u8>(&mut bytes, fused.outputs.len() * TOTAL_BYTES).as_mut_ptr(),
                prepared: usize::MAX,
                part: 0,
                fused,
                plan,
                isa,
                memory,
            }
        }
    }

    /// Runs chunk number `chunk`.
    ///
    /// # Safety
    /// As [`Runner::new`].
    pub(super) unsafe fn run(mut self, chunk: usize) {
        if self.fused.points() == 0 {
            // SAFETY: by contract.
            return unsafe { self.fill_identities() };
        }
        let (outer, part, inner) = self.plan.geometry.chunk(chunk);
        self.part = part;
        let (split, loops) = (self.plan.geometry.outer, self.plan.geometry.loops.len());
        // SAFETY: by contract; rounds stay within the loops, and so within the checked views.
        unsafe {
            if self.plan.geometry.scattered.contains(&true) {
                self.fill_scattered(outer.clone());
            }
            self.start(0..split, outer.start);
            self.start(split..loops, inner.start);
            self.locate();
            for _ in outer {
                self.begin_totals();
                for _ in inner.clone() {
                    self.tile(inner.len());
                    self.advance(split..loops);
                }
                self.finish_totals();
                self.advance(0..split);
                if inner.len() != self.plan.geometry.inner_rounds {
                    self.start(split..loops, inner.start);
                    self.locate();
                }
            }
        }
    }

    /// Sets the rounds of some loops to round number `number` of them all.
    fn start(&mut self, loops: Range<usize>, number: usize) {
        let mut rest = number;
        for l in loops.rev() {
            let count = self.plan.geometry.loops[l].count;
            self.rounds[l] = rest % count;
            rest /= count;
        }
    }

    /// Computes the offsets from the rounds.
    fn locate(&mut self) {
        self.offsets.fill(0);
        for (l, &round) in self.plan.geometry.loops.iter().zip(&*self.rounds) {
            for (offset, step) in self.offsets.iter_mut().zip(&l.steps) {
                *offset += round as isize * step;
            }
        }
    }

    /// The next round of some loops; after the last one the first.
    fn advance(&mut self, loops: Range<usize>) {
        for number in loops.rev() {
            let l = &self.plan.geometry.loops[number];
            let round = &mut self.rounds[number];
            *round += 1;
            let wraps = *round == l.count;
            let moves = if wraps { 1 - l.count as isize } else { 1 };
            for (offset, step) in self.offsets.iter_mut().zip(&l.steps) {
                *offset += moves * step;
            }
            if !wraps {
                return;
            }
            *round = 0;
        }
    }

    /// Where operand number `operand`, seen through `view`, is at this tile.
    unsafe fn at(&self, view: &View, operand: usize) -> *mut u8 {
        let element = view.offset as isize + self.offsets[operand];
        // SAFETY: the check found every element of the view inside its region.
        unsafe {
            let start = self.memory.ptr::<u8>(view.region);
            start.offset(element * view.element.bytes() as isize)
        }
    }

    /// Where output `number` is at this tile, in the copy of this part.
    unsafe fn output_at(&self, number: usize) -> *mut u8 {
        let Output { view, reduce, .. } = &self.fused.outputs[number];
        let copy = match reduce {
            Some(_) if self.part > 0 => self.part * check::kept(view, &self.fused.dims),
            _ => 0,
        };
        // SAFETY: the check found the copies of all parts inside the region.
        unsafe { self.at(view, self.fused.inputs.len() + number).add(copy * view.element.bytes()) }
    }

    fn shape(&self) -> usize {
        self.plan.geometry.shape_number(self.rounds)
    }

    /// Value number `value` of this tile, padded.
    ///
    /// # Safety
    /// It was computed.
    unsafe fn value(&self, value: u16, shape: &Shape) -> &'a [T] {
        // SAFETY: registers hold a tile; direct operands only serve whole tiles.
        unsafe { std::slice::from_raw_parts(self.values[value as usize], shape.padded) }
    }

    /// Asks for a share of the next tile of the inputs that come from far away, so that memory
    /// works while this tile is computed. Spread over the steps: all at once would fill the queue
    /// of outstanding lines and hold up the step that comes next.
    unsafe fn prefetch(&self, shape: &Shape, share: usize, shares: usize) {
        let Some(innermost) = self.plan.geometry.loops.last() else { return };
        let lines = shape.n * size_of::<T>() / LINE;
        let (from, to) = (lines * share / shares, lines * (share + 1) / shares);
        for &input in &self.plan.streamed {
            let step = innermost.steps[input] * size_of::<T>() as isize;
            if shape.whole[input] && step != 0 {
                // SAFETY: this tile's place. The next one's address is computed without claiming
                // that it lies inside the region, and never read.
                let next =
                    unsafe { self.at(&self.fused.inputs[input], input) }.wrapping_offset(step);
                (from..to).for_each(|line| prefetch_line(next.wrapping_add(line * LINE)));
            }
        }
    }

    unsafe fn tile(&mut self, tiles: usize) {
        let (plan, number) = (self.plan, self.shape());
        let shape = &plan.geometry.shapes[number];
        // SAFETY: by contract. Reductions come before stores, which may replace what they read.
        unsafe {
            if self.prepared != number {
                plan.once.iter().for_each(|&step| self.step(step, shape));
                self.prepared = number;
            }
            let steps = plan.each.len();
            for (i, &step) in plan.each.iter().enumerate() {
                if !plan.streamed.is_empty() {
                    self.prefetch(shape, i, steps);
                }
                self.step(step, shape);
            }
            for (i, output) in self.fused.outputs.iter().enumerate() {
                if output.reduce.is_some() {
                    self.reduce(i, output, number, tiles);
                }
            }
            for (i, output) in self.fused.outputs.iter().enumerate() {
                if output.reduce.is_none() {
                    self.store(i, output, shape);
                }
            }
        }
    }

    /// Computes value number `number` of this tile.
    unsafe fn step(&mut self, number: usize, shape: &Shape) {
        let (plan, inputs) = (self.plan, self.fused.inputs.len());
        // SAFETY: there is a register of that number.
        let mut to = unsafe { self.registers.add(plan.register[number] * T::TILE) };
        match plan.forward[number] {
            // SAFETY: by contract.
            Some(output) if shape.whole[inputs + output] => unsafe {
                to = self.output_at(output).cast();
            },
            _ => {}
        }
        if let Step::Load(input) = plan.code[number] {
            let input = input as usize;
            // SAFETY: by contract.
            let from = unsafe { self.at(&self.fused.inputs[input], input) };
            if plan.direct[number] && shape.whole[input] {
                self.values[number] = from.cast();
                return;
            }
            self.values[number] = to;
            let element = self.fused.inputs[input].element;
            // SAFETY: the check found all of the view inside the region; a register holds a tile.
            unsafe {
                let to = std::slice::from_raw_parts_mut(to, T::TILE);
                load(self.isa, element, from, &shape.levels[input], to);
            }
            return;
        }
        self.values[number] = to;
        // SAFETY: a register or a whole tile of an output; no operand of the step stands there,
        // because registers of a step differ and no input overlaps a forwarded output.
        let to = unsafe { std::slice::from_raw_parts_mut(to, shape.padded) };
        // SAFETY: earlier values are computed.
        unsafe { self.compute(number, shape, to) };
    }

    /// Computes value number `number`, which is no load, into `to`.
    ///
    /// # Safety
    /// The values that it uses are computed.
    unsafe fn compute(&self, number: usize, shape: &Shape, to: &mut [T]) {
        let isa = self.isa;
        let position = || {
            let views = self.fused.inputs.len() + self.fused.outputs.len();
            views + self.plan.geometry.positions.iter().position(|p| *p == number).unwrap_or(0)
        };
        // SAFETY: by contract.
        let value = |v: u16| unsafe { self.value(v, shape) };
        if let Some(run) = self.plan.runs[number] {
            let scalar = |v: u16| value(v)[0];
            return match run {
                Run::MulSub { a, b, c } => lane::mul_sub(isa, to, value(a), value(b), value(c)),
                Run::Blend { a, s, b, t, square } => {
                    lane::blend(isa, to, value(a), value(b), [scalar(s), scalar(t)], square);
                }
                Run::Scaled { w, m, f, v, e } => {
                    lane::scaled(isa, to, [w, m, v].map(value), [scalar(f), scalar(e)]);
                }
            };
        }
        match self.plan.code[number] {
            Step::Load(_) => unreachable!("loads are no computation"),
            Step::Const(bits) => to.fill(T::constant(bits)),
            Step::Unary(op, a) => lane::unary(isa, op, to, value(a)),
            Step::Binary(op, a, b) => lane::binary(isa, op, to, value(a), value(b)),
            Step::Select(c, a, b) => lane::select(isa, to, value(c), value(a), value(b)),
            Step::MulAdd(a, b, c) => lane::mul_add(isa, to, value(a), value(b), value(c)),
            Step::Index(_) => {
                let operand = position();
                index(isa, self.offsets[operand] as i64, &shape.levels[operand], to);
            }
            Step::Random { kind, key, stream } => {
                let key = self.key(&self.fused.inputs[key as usize], stream);
                let first = self.offsets[position()] as u64;
                let (to, padding) = to.split_at_mut(shape.n);
                match kind {
                    Random::Uniform => lane::uniform(isa, to, key, first),
                    Random::Normal => lane::normal(isa, to, key, first),
                }
                padding.fill(T::default());
            }
        }
    }

    fn key(&self, view: &View, stream: u32) -> Key {
        // SAFETY: the check found four words of four bytes there.
        let words = unsafe {
            let start = self.memory.ptr::<u32>(view.region).add(view.offset);
            start.cast::<[u32; 4]>().read_unaligned()
        };
        Key::from_words(words, stream)
    }

    /// Stores output number `number` of this tile, unless it was computed in its place.
    unsafe fn store(&mut self, number: usize, output: &Output, shape: &Shape) {
        let operand = self.fused.inputs.len() + number;
        // SAFETY: by contract; the check found all of the view inside the region.
        unsafe {
            let to = self.output_at(number);
            let from = self.value(output.value, shape);
            if shape.whole[operand] {
                if to != from.as_ptr() as *mut u8 {
                    std::ptr::copy(from.as_ptr(), to.cast(), shape.n);
                }
            } else {
                store(self.isa, output.view.element, to, &shape.levels[operand], from);
            }
        }
    }
}
