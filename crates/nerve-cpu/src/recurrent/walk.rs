//! One chunk: some sequences from their first step to the last, or back.

use super::cell::{Advance, Plane, Retreat, Sums, advance, retreat, row_sums};
use super::{Cell, Recurrent, RecurrentGrad, RecurrentShape};
use crate::gemm::Activation;
use crate::gemm::drive::pieces;
use crate::gemm::pack::{PackB, lanes};
use crate::gemm::tile::{Ahead, Repeat, Scalar, Tile};
use crate::kernel::{Float, Scratch};
use crate::memory::{Memory, Region};
use crate::real::Real;
use crate::simd::Isa;

/// Rows in working memory begin on a cache line.
const LINE: usize = 16;

/// Elements of working memory of a chunk forward: h twice, c, and the sums of a block.
pub(super) fn forward_scratch(shape: &RecurrentShape, ty: Float, isa: Isa) -> usize {
    let block = if shape.packs() { block(shape, ty, isa) } else { shape.units };
    let row = 3 * shape.units.next_multiple_of(LINE) + block * shape.cell.gates();
    shape.rows_per_chunk() * row
}

/// Elements of working memory of a chunk back: gradients of h, of c, and of all sums.
pub(super) fn backward_scratch(shape: &RecurrentShape, _: Float, _: Isa) -> usize {
    let sums = (shape.cell.gates() * shape.units).next_multiple_of(LINE);
    shape.rows_per_chunk() * (2 * shape.units.next_multiple_of(LINE) + sums)
}

fn region() -> Region {
    Region::new(0, 0, 0)
}

/// Units whose gates are summed at a time: the columns of a panel.
fn block(shape: &RecurrentShape, ty: Float, isa: Isa) -> usize {
    shape.pack(ty, isa, true, region(), region()).width * lanes(ty, isa)
}

/// The steps in the order of the walk, with the number of the step before.
fn walk(shape: &RecurrentShape) -> impl DoubleEndedIterator<Item = (usize, Option<usize>)> {
    let (steps, reverse) = (shape.steps, shape.reverse);
    (0..steps).map(move |i| match reverse {
        false => (i, i.checked_sub(1)),
        true => (steps - 1 - i, (i > 0).then(|| steps - i)),
    })
}

/// A product of rows in working memory with packed weights.
struct Product<T> {
    isa: Isa,
    rows: usize,
    depth: usize,
    a: *const T,
    a_row: usize,
    c_row: usize,
    accumulate: bool,
}

impl<T: Scalar> Product<T> {
    /// `columns` columns, which are those of the panel at `b`, for all rows.
    ///
    /// # Safety
    /// Rows, panel, bias and result are there; the instruction set is.
    #[inline]
    unsafe fn panel(&self, b: *const T, columns: usize, bias: *const T, c: *mut T) {
        let kernels = T::kernels(self.isa);
        let vectors = columns.div_ceil(kernels.lanes);
        for band in pieces(0..self.rows, kernels.tallest(vectors)) {
            // SAFETY: by contract.
            unsafe {
                (kernels.tile(band.len(), vectors, true))(&Tile {
                    a: self.a.add(band.start * self.a_row),
                    a_strides: [self.a_row, 1],
                    b,
                    b_stride: vectors * kernels.lanes,
                    depth: self.depth,
                    outer: [Repeat::ONCE; 2],
                    c: c.add(band.start * self.c_row),
                    c_stride: self.c_row,
                    columns,
                    bias,
                    accumulate: self.accumulate,
                    activation: Activation::None,
                    ahead: Ahead::NONE,
                });
            }
        }
    }
}

/// The first state of `rows` rows into working memory, `[rows, row]`.
///
/// # Safety
/// The region holds `[batch, units]`, `to` the rows.
unsafe fn load_state<T: Real>(
    memory: &Memory,
    from: Option<Region>,
    rows: std::ops::Range<usize>,
    units: usize,
    (to, row): (*mut T, usize),
) {
    for (i, r) in rows.enumerate() {
        // SAFETY: by contract.
        unsafe {
            let to = std::slice::from_raw_parts_mut(to.add(i * row), units);
            match from {
                Some(from) => to.copy_from_slice(&memory.read::<T>(from)[r * units..][..units]),
                None => to.fill(T::ZERO),
            }
        }
    }
}

/// A state of `rows` rows out of working memory.
///
/// # Safety
/// As [`load_state`], the other way round.
unsafe fn store_state<T: Real>(
    (from, row): (*const T, usize),
    rows: std::ops::Range<usize>,
    units: usize,
    to: *mut T,
) {
    for (i, r) in rows.enumerate() {
        // SAFETY: by contract.
        unsafe { std::ptr::copy_nonoverlapping(from.add(i * row), to.add(r * units), units) };
    }
}

/// # Safety
/// As [`Kernel::run`](crate::Kernel::run).
pub(super) unsafe fn forward<T: Scalar + Real>(
    this: &Recurrent,
    chunk: usize,
    memory: &Memory,
    scratch: &mut Scratch<'_>,
) {
    let shape = &this.shape;
    let &RecurrentShape { cell, steps, units, .. } = shape;
    let (rows, gates, kept) = (shape.rows(chunk), cell.gates(), cell.kept());
    if rows.is_empty() || units == 0 {
        return;
    }
    let block = if shape.packs() { block(shape, this.ty, this.isa) } else { units };
    let (count, row) = (rows.len(), units.next_multiple_of(LINE));
    let scratch = scratch.slice::<T>(forward_scratch(shape, this.ty, this.isa));
    let (mut h, rest) = scratch.split_at_mut(count * row);
    let (mut next, rest) = rest.split_at_mut(count * row);
    let (c, sums) = rest.split_at_mut(count * row);
    let plane = |at: *mut T, row: usize, gate: usize| Plane { at, row, gate, ahead: 0 };
    let onward = if shape.reverse { -1 } else { 1 };
    // SAFETY: `check` held all sizes against the regions; the rows of chunks are disjoint.
    unsafe {
        load_state(memory, this.h0, rows.clone(), units, (h.as_mut_ptr(), row));
        load_state(memory, this.c0, rows.clone(), units, (c.as_mut_ptr(), row));
        let (x, weights, out) = (
            memory.ptr::<T>(this.x),
            memory.ptr::<T>(this.weights).cast_const(),
            memory.ptr::<T>(this.out),
        );
        let bias = this.bias.map_or(std::ptr::null(), |bias| memory.ptr::<T>(bias).cast_const());
        let padded = units.next_multiple_of(lanes(this.ty, this.isa));
        let sequence = |at: *mut T, gates: usize, t: usize| Plane {
            at: at.add((rows.start * steps + t) * gates * units),
            row: steps * gates * units,
            gate: units,
            ahead: onward * (gates * units) as isize,
        };
        for (t, _) in walk(shape) {
            let product = Product {
                isa: this.isa,
                rows: count,
                depth: units,
                a: h.as_ptr(),
                a_row: row,
                c_row: gates * block,
                accumulate: false,
            };
            let job = Advance {
                cell,
                rows: count,
                units,
                sums: plane(sums.as_mut_ptr(), gates * block, block),
                x: sequence(x, gates, t),
                before: plane(h.as_mut_ptr(), row, 0),
                after: plane(next.as_mut_ptr(), row, 0),
                y: sequence(out, 1, t),
                c: plane(c.as_mut_ptr(), row, 0),
                kept: match this.keep && kept > 0 {
                    true => sequence(out.add(shape.kept_start()), kept, t),
                    false => Plane::NONE,
                },
            };
            if !shape.packs() {
                let (h, to) = (h.as_ptr(), sums.as_mut_ptr());
                let (sums, backward) = (gates * units, t % 2 == 1);
                row_sums(this.isa, &Sums { weights, sums, units, h, bias, to, backward });
                advance(this.isa, &job);
            }
            for unit in (0..units).step_by(block).filter(|_| shape.packs()) {
                let columns = block.min(units - unit);
                for gate in 0..gates {
                    let panel = weights.add((gate * padded + unit) * units);
                    let bias = match bias.is_null() {
                        true => bias,
                        false => bias.add(gate * units + unit),
                    };
                    product.panel(panel, columns, bias, sums.as_mut_ptr().add(gate * block));
                }
                let job = Advance {
                    units: columns,
                    x: job.x.offset(unit),
                    before: job.before.offset(unit),
                    after: job.after.offset(unit),
                    y: job.y.offset(unit),
                    c: job.c.offset(unit),
                    kept: job.kept.offset(unit),
                    ..job
                };
                advance(this.isa, &job);
            }
            std::mem::swap(&mut h, &mut next);
        }
        let states = out.add(shape.state_start());
        store_state((h.as_ptr(), row), rows.clone(), units, states);
        if cell.has_memory() {
            store_state((c.as_ptr(), row), rows, units, states.add(shape.state()));
        }
    }
}

/// # Safety
/// As [`Kernel::run`](crate::Kernel::run).
pub(super) unsafe fn backward<T: Scalar + Real>(
    this: &RecurrentGrad,
    chunk: usize,
    memory: &Memory,
    scratch: &mut Scratch<'_>,
) {
    let shape = &this.shape;
    let &RecurrentShape { cell, steps, units, .. } = shape;
    let (rows, gates, kept) = (shape.rows(chunk), cell.gates(), cell.kept());
    if rows.is_empty() || units == 0 {
        return;
    }
    let (count, row) = (rows.len(), units.next_multiple_of(LINE));
    let sum_row = (gates * units).next_multiple_of(LINE);
    let scratch = scratch.slice::<T>(backward_scratch(shape, this.ty, this.isa));
    let (dh, rest) = scratch.split_at_mut(count * row);
    let (dc, dsums) = rest.split_at_mut(count * row);
    let plane = |at: *mut T, row: usize, gate: usize| Plane { at, row, gate, ahead: 0 };
    let onward = if shape.reverse { 1 } else { -1 };
    let PackB { width, .. } = shape.pack(this.ty, this.isa, false, region(), region());
    let wide = width * lanes(this.ty, this.isa);
    // SAFETY: as in `forward`.
    unsafe {
        load_state(memory, this.dh, rows.clone(), units, (dh.as_mut_ptr(), row));
        load_state(memory, this.dc, rows.clone(), units, (dc.as_mut_ptr(), row));
        let weights = memory.ptr::<T>(this.packed).cast_const();
        let (out, to) = (memory.ptr::<T>(this.out), memory.ptr::<T>(this.to));
        let state = |region: Option<Region>| match region {
            Some(region) => plane(memory.ptr::<T>(region).add(rows.start * units), units, 0),
            None => Plane::NONE,
        };
        let (h0, c0) = (state(this.h0), state(this.c0));
        let sequence = |at: *mut T, gates: usize, t: usize| Plane {
            at: at.add((rows.start * steps + t) * gates * units),
            row: steps * gates * units,
            gate: units,
            ahead: onward * (gates * units) as isize,
        };
        let kept_at = |t| sequence(out.add(shape.kept_start()), kept, t);
        for (t, before) in walk(shape).rev() {
            let job = Retreat {
                cell,
                rows: count,
                units,
                y: sequence(out, 1, t),
                kept: kept_at(t),
                before: before.map_or(h0, |t| sequence(out, 1, t)),
                c_before: match (cell, before) {
                    (Cell::Lstm, Some(t)) => kept_at(t).offset((kept - 1) * units),
                    _ => c0,
                },
                dy: this.dy.map_or(Plane::NONE, |dy| sequence(memory.ptr(dy), 1, t)),
                dh: plane(dh.as_mut_ptr(), row, 0),
                dc: plane(dc.as_mut_ptr(), row, 0),
                dx: sequence(to, gates, t),
                dsums: plane(dsums.as_mut_ptr(), sum_row, units),
                returned: match cell.splits_gradient() {
                    true => sequence(to.add(shape.sums_gradient_start()), gates, t),
                    false => Plane::NONE,
                },
            };
            retreat(this.isa, &job);
            let product = Product {
                isa: this.isa,
                rows: count,
                depth: gates * units,
                a: dsums.as_ptr(),
                a_row: sum_row,
                c_row: row,
                accumulate: cell == Cell::Gru,
            };
            for unit in (0..units).step_by(wide) {
                let panel = weights.add(unit * gates * units);
                let c = dh.as_mut_ptr().add(unit);
                product.panel(panel, wide.min(units - unit), std::ptr::null(), c);
            }
        }
        let states = to.add(shape.state_gradient_start());
        store_state((dh.as_ptr(), row), rows.clone(), units, states);
        if cell.has_memory() {
            store_state((dc.as_ptr(), row), rows, units, states.add(shape.state()));
        }
    }
}
