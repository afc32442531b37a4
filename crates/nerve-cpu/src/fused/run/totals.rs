//! Reductions of a chunk: running totals, their carries, and where they are stored.

use super::super::Output;
use super::super::access::{Convert, load, store};
use super::super::fold::{self, CARRY_EVERY, accumulate};
use super::super::geometry::Shape;
use super::super::lane;
use super::{Runner, TOTAL_BYTES, Total};
use std::ops::Range;

impl<'a, T: Convert> Runner<'a, T> {
    /// The totals of output `number`, place by place.
    ///
    /// # Safety
    /// No other borrow of them lives.
    unsafe fn total(&self, number: usize) -> &'a mut [T] {
        // SAFETY: the tile of totals of that output, which nothing else points to.
        unsafe {
            let start = self.totals.add(number * TOTAL_BYTES);
            std::slice::from_raw_parts_mut(start.cast(), T::TILE)
        }
    }

    /// The carry of output `number`.
    ///
    /// # Safety
    /// No other borrow of it lives.
    unsafe fn carry(&self, number: usize) -> &'a mut [T::Carry] {
        // SAFETY: as above, behind the totals; a carry is at most twice as long as a value.
        unsafe {
            let start = self.totals.add(number * TOTAL_BYTES + lane::TILE_BYTES);
            std::slice::from_raw_parts_mut(start.cast(), T::TILE)
        }
    }

    /// Outputs whose totals run through the inner loops.
    fn running(&self) -> impl Iterator<Item = usize> + use<'a, T> {
        let (fused, plan) = (self.fused, self.plan);
        (0..fused.outputs.len())
            .filter(|&i| fused.outputs[i].reduce.is_some() && !plan.geometry.scattered[i])
    }

    pub(super) fn begin_totals(&mut self) {
        for i in self.running() {
            self.state[i] = Total { tiles: 0, shape: usize::MAX };
            let places = self.plan.geometry.shapes[self.shape()].kept_n[i];
            // SAFETY: the only borrow.
            let carry = unsafe { self.carry(i) };
            carry[..places].fill(self.identity(i).widen());
        }
    }

    fn identity(&self, output: usize) -> T {
        T::identity(self.fused.outputs[output].reduce.expect("an output that reduces"))
    }

    /// Adds this tile to output `number`; `tiles` tiles go into each total.
    pub(super) unsafe fn reduce(
        &mut self,
        number: usize,
        output: &Output,
        shape_number: usize,
        tiles: usize,
    ) {
        let Some(reduce) = output.reduce else { return };
        let shape = &self.plan.geometry.shapes[shape_number];
        // SAFETY: by contract.
        let x = unsafe { self.value(output.value, shape) };
        // SAFETY: the only borrows, but for those of `carry_on` between their uses.
        let (total, carry) = unsafe { (self.total(number), self.carry(number)) };
        let isa = self.isa;
        if self.plan.geometry.scattered[number] {
            carry[..shape.kept_n[number]].fill(T::identity(reduce).widen());
            fold::fold(isa, reduce, &shape.fold[number], &x[..shape.n], carry);
            // SAFETY: by contract; the places are inside the region.
            unsafe { self.combine_in_memory(number, output, shape) };
            return;
        }
        if tiles == 1 {
            fold::fold(isa, reduce, &shape.fold[number], &x[..shape.n], carry);
            return;
        }
        if self.state[number].tiles > 0 && self.state[number].shape != shape_number {
            self.carry_on(number);
        }
        if self.state[number].tiles == 0 {
            total[..x.len()].copy_from_slice(x);
        } else {
            accumulate(isa, reduce, &mut total[..x.len()], x);
        }
        self.state[number] = Total { tiles: self.state[number].tiles + 1, shape: shape_number };
        if self.state[number].tiles == CARRY_EVERY {
            self.carry_on(number);
        }
    }

    /// Folds the totals of output `number` into its carry.
    fn carry_on(&mut self, number: usize) {
        let Total { tiles, shape } = self.state[number];
        if tiles == 0 {
            return;
        }
        let shape = &self.plan.geometry.shapes[shape];
        let reduce = self.fused.outputs[number].reduce.expect("an output that reduces");
        // SAFETY: the only borrows in use.
        let (total, carry) = unsafe { (self.total(number), self.carry(number)) };
        fold::fold(self.isa, reduce, &shape.fold[number], &total[..shape.n], carry);
        self.state[number].tiles = 0;
    }

    /// Stores the totals of one round of the outer loops.
    pub(super) unsafe fn finish_totals(&mut self) {
        for i in self.running() {
            self.carry_on(i);
            let shape = &self.plan.geometry.shapes[self.shape()];
            // SAFETY: the only borrows.
            let (total, carry) = unsafe { (self.total(i), self.carry(i)) };
            for (total, carry) in total.iter_mut().zip(&carry[..shape.kept_n[i]]) {
                *total = T::narrow(*carry);
            }
            let element = self.fused.outputs[i].view.element;
            // SAFETY: by contract; the places are inside the region.
            unsafe { store(self.isa, element, self.output_at(i), &shape.kept[i], total) };
        }
    }

    /// Combines the carry of output `number` with what is in its memory.
    unsafe fn combine_in_memory(&mut self, number: usize, output: &Output, shape: &Shape) {
        let Some(reduce) = output.reduce else { return };
        // SAFETY: the only borrows in use.
        let (total, carry) = unsafe { (self.total(number), self.carry(number)) };
        let (element, levels) = (output.view.element, &shape.kept[number]);
        // SAFETY: by contract.
        unsafe {
            let place = self.output_at(number);
            load(self.isa, element, place, levels, total);
            for (total, carry) in total.iter_mut().zip(&carry[..shape.kept_n[number]]) {
                *total = T::narrow(T::combine_carry(reduce, total.widen(), *carry));
            }
            store(self.isa, element, place, levels, total);
        }
    }

    /// Sets the scattered outputs to the identity, wherever these outer rounds will combine.
    pub(super) unsafe fn fill_scattered(&mut self, outer: Range<usize>) {
        let (split, loops) = (self.plan.geometry.outer, self.plan.geometry.loops.len());
        for number in 0..self.fused.outputs.len() {
            if !self.plan.geometry.scattered[number] {
                continue;
            }
            let operand = self.fused.inputs.len() + number;
            let identity = self.identity(number);
            // SAFETY: the only borrow.
            let total = unsafe { self.total(number) };
            total.fill(identity);
            for o in outer.clone() {
                for i in 0..self.plan.geometry.inner_rounds {
                    self.start(0..split, o);
                    self.start(split..loops, i);
                    let all = self.plan.geometry.loops.iter().zip(&*self.rounds);
                    if all.clone().any(|(l, round)| l.steps[operand] == 0 && *round != 0) {
                        continue;
                    }
                    self.locate();
                    let shape = &self.plan.geometry.shapes[self.shape()];
                    let element = self.fused.outputs[number].view.element;
                    // SAFETY: by contract; the places are inside the region.
                    unsafe {
                        let place = self.output_at(number);
                        store(self.isa, element, place, &shape.kept[number], total);
                    }
                }
            }
        }
    }

    /// What a reduction of nothing gives, in every place of the outputs.
    pub(super) unsafe fn fill_identities(&mut self) {
        for number in 0..self.fused.outputs.len() {
            let Output { view, reduce, .. } = &self.fused.outputs[number];
            if reduce.is_none() {
                continue;
            }
            let dims = view.strides.iter().zip(&self.fused.dims).filter(|(s, _)| **s != 0);
            let levels: Vec<(usize, isize)> = dims.map(|(s, d)| (*d, *s)).collect();
            let places: usize = levels.iter().map(|(count, _)| count).product();
            let identity = [self.identity(number)];
            for place in 0..places {
                let (mut rest, mut at) = (place, view.offset as isize);
                for &(count, stride) in levels.iter().rev() {
                    at += (rest % count) as isize * stride;
                    rest /= count;
                }
                // SAFETY: by contract; the check found the place inside the region.
                unsafe {
                    let start = self.memory.ptr::<u8>(view.region);
                    let to = start.offset(at * view.element.bytes() as isize);
                    store(self.isa, view.element, to, &[], &identity);
                }
            }
        }
    }
}
