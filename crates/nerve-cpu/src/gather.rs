//! Reading and adding at places that an operand names: embedding lookups and their gradients.
//!
//! Indices are i32 and count from 0; one outside the axis is reported as a fault, never clamped,
//! and no negative number means "from the end".

mod onto;
mod scatter;

pub use onto::{Meeting, ScatterElements};
pub use scatter::ScatterAdd;

use crate::bounds::{apart, holds, indexable, product};
use crate::kernel::{Fault, Kernel, Operand, Scratch};
use crate::memory::{Memory, Plain, Region};
use std::ops::Range;

/// Elements that one chunk moves, about.
const GRAIN: usize = 32 * 1024;

/// `dst[o, j, i] = src[o, index[j], i]`: rows (or slices) picked by number.
///
/// An index outside `0..axis` is reported with its position j, and its elements become 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Gather {
    /// Bytes of an element: 1, 2, 4 or 8. Values are copied as they are.
    pub bytes: usize,
    /// Product of the extents before the axis.
    pub outer: usize,
    /// Extent of the axis in `src`.
    pub axis: usize,
    /// Number of indices.
    pub count: usize,
    /// Product of the extents after the axis.
    pub inner: usize,
    /// Source, `[outer, axis, inner]`.
    pub src: Region,
    /// Indices, `[count]` of i32.
    pub index: Region,
    /// Output, `[outer, count, inner]`.
    pub dst: Region,
}

/// `dst[o, j, i] = src[o, index[o, j, i], i]`: one element for each index.
///
/// An index outside `0..axis` is reported with its linear position, and its element becomes 0.
#[derive(Clone, Debug, PartialEq)]
pub struct GatherElements {
    /// Bytes of an element: 1, 2, 4 or 8. Values are copied as they are.
    pub bytes: usize,
    /// Product of the extents before the axis.
    pub outer: usize,
    /// Extent of the axis in `src`.
    pub axis: usize,
    /// Extent of the axis in `index` and `dst`.
    pub count: usize,
    /// Product of the extents after the axis.
    pub inner: usize,
    /// Source, `[outer, axis, inner]`.
    pub src: Region,
    /// Indices, `[outer, count, inner]` of i32.
    pub index: Region,
    /// Output, `[outer, count, inner]`.
    pub dst: Region,
}

/// `index` as a place on an axis of `axis` elements.
#[inline(always)]
fn place(index: i32, axis: usize) -> Option<usize> {
    usize::try_from(index).ok().filter(|&place| place < axis)
}

/// Rows of `inner` elements that make a chunk.
fn rows_per_chunk(inner: usize) -> usize {
    GRAIN.div_ceil(inner.max(1))
}

/// The rows of chunk `chunk`, of `all`.
fn rows_of(chunk: usize, all: usize, inner: usize) -> Range<usize> {
    let each = rows_per_chunk(inner);
    (chunk * each).min(all)..((chunk + 1) * each).min(all)
}

/// Cuts `rows` of the flattened `[outer, count]` at the ends of `count`: yields the outer number
/// and the range of `count`.
fn by_outer(rows: Range<usize>, count: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
    let mut next = rows.start;
    std::iter::from_fn(move || {
        (next < rows.end).then(|| {
            let (o, j) = (next / count, next % count);
            let len = (count - j).min(rows.end - next);
            next += len;
            (o, j..j + len)
        })
    })
}

fn check_sizes(
    [outer, axis, count, inner]: [usize; 4],
    bytes: usize,
    index: (Region, usize),
    long: (&str, Region),
    short: (&str, Region),
) -> Result<(), String> {
    if ![1, 2, 4, 8].contains(&bytes) {
        return Err(format!("elements of {bytes} bytes"));
    }
    indexable(axis)?;
    holds(long.0, long.1, product(&[outer, axis, inner])?, bytes)?;
    holds(short.0, short.1, product(&[outer, count, inner])?, bytes)?;
    holds("index", index.0, index.1, 4)
}

fn gather<T: Plain + Default>(
    g: &Gather,
    rows: Range<usize>,
    src: &[T],
    index: &[i32],
    dst: &mut [T],
    fault: &Fault,
) {
    let inner = g.inner;
    let mut dst = dst.chunks_exact_mut(inner);
    for (o, js) in by_outer(rows, g.count) {
        let src = &src[o * g.axis * inner..][..g.axis * inner];
        for (j, dst) in js.zip(&mut dst) {
            match place(index[j], g.axis) {
                Some(k) if inner == 1 => dst[0] = src[k],
                Some(k) => dst.copy_from_slice(&src[k * inner..][..inner]),
                None => {
                    dst.fill(T::default());
                    fault.report(j, index[j].into());
                }
            }
        }
    }
}

impl Gather {
    unsafe fn run_as<T: Plain + Default>(&self, chunk: usize, memory: &Memory, fault: &Fault) {
        let rows = rows_of(chunk, self.outer * self.count, self.inner);
        let part = rows.start * self.inner..rows.end * self.inner;
        if part.is_empty() {
            return;
        }
        // SAFETY: `check` saw the sizes of all three; the rows of chunks are disjoint.
        let (src, index, dst) = unsafe {
            let (src, index) = (memory.read::<T>(self.src), memory.read(self.index));
            (src, index, memory.write(self.dst, part))
        };
        gather(self, rows, src, index, dst, fault);
    }
}

impl Kernel for Gather {
    fn name(&self) -> &'static str {
        "gather"
    }

    fn operands(&self, visit: &mut dyn FnMut(Operand)) {
        visit(Operand::read(self.src));
        visit(Operand::read(self.index));
        visit(Operand::write(self.dst));
    }

    fn check(&self) -> Result<(), String> {
        let sizes = [self.outer, self.axis, self.count, self.inner];
        let index = (self.index, self.count);
        check_sizes(sizes, self.bytes, index, ("gather src", self.src), ("gather dst", self.dst))?;
        apart(self)
    }

    fn chunks(&self) -> usize {
        (self.outer * self.count).div_ceil(rows_per_chunk(self.inner)).max(1)
    }

    fn flops(&self) -> u64 {
        0
    }

    unsafe fn run(&self, chunk: usize, memory: &Memory, scratch: &mut Scratch<'_>) {
        // SAFETY: by contract; the element size is one of these.
        unsafe {
            match self.bytes {
                1 => self.run_as::<u8>(chunk, memory, scratch.fault),
                2 => self.run_as::<u16>(chunk, memory, scratch.fault),
                4 => self.run_as::<u32>(chunk, memory, scratch.fault),
                _ => self.run_as::<u64>(chunk, memory, scratch.fault),
            }
        }
    }
}

fn gather_elements<T: Plain + Default>(
    g: &GatherElements,
    rows: Range<usize>,
    src: &[T],
    index: &[i32],
    dst: &mut [T],
    fault: &Fault,
) {
    let inner = g.inner;
    let mut lines =
        index[rows.start * inner..].chunks_exact(inner).zip(dst.chunks_exact_mut(inner));
    for (o, js) in by_outer(rows, g.count) {
        let src = &src[o * g.axis * inner..][..g.axis * inner];
        for (j, (index, dst)) in js.zip(&mut lines) {
            for (i, (dst, &k)) in dst.iter_mut().zip(index).enumerate() {
                *dst = match place(k, g.axis) {
                    Some(k) => src[k * inner + i],
                    None => {
                        fault.report((o * g.count + j) * inner + i, k.into());
                        T::default()
                    }
                };
            }
        }
    }
}

impl GatherElements {
    unsafe fn run_as<T: Plain + Default>(&self, chunk: usize, memory: &Memory, fault: &Fault) {
        let rows = rows_of(chunk, self.outer * self.count, self.inner);
        let part = rows.start * self.inner..rows.end * self.inner;
        if part.is_empty() {
            return;
        }
        // SAFETY: `check` saw the sizes of all three; the rows of chunks are disjoint.
        let (src, index, dst) = unsafe {
            let (src, index) = (memory.read::<T>(self.src), memory.read(self.index));
            (src, index, memory.write(self.dst, part))
        };
        gather_elements(self, rows, src, index, dst, fault);
    }
}

impl Kernel for GatherElements {
    fn name(&self) -> &'static str {
        "gather_elements"
    }

    fn operands(&self, visit: &mut dyn FnMut(Operand)) {
        visit(Operand::read(self.src));
        visit(Operand::read(self.index));
        visit(Operand::write(self.dst));
    }

    fn check(&self) -> Result<(), String> {
        let sizes = [self.outer, self.axis, self.count, self.inner];
        let index = (self.index, product(&[self.outer, self.count, self.inner])?);
        let (src, dst) = (("gather_elements src", self.src), ("gather_elements dst", self.dst));
        check_sizes(sizes, self.bytes, index, src, dst)?;
        apart(self)
    }

    fn chunks(&self) -> usize {
        (self.outer * self.count).div_ceil(rows_per_chunk(self.inner)).max(1)
    }

    fn flops(&self) -> u64 {
        0
    }

    unsafe fn run(&self, chunk: usize, memory: &Memory, scratch: &mut Scratch<'_>) {
        // SAFETY: by contract; the element size is one of these.
        unsafe {
            match self.bytes {
                1 => self.run_as::<u8>(chunk, memory, scratch.fault),
                2 => self.run_as::<u16>(chunk, memory, scratch.fault),
                4 => self.run_as::<u32>(chunk, memory, scratch.fault),
                _ => self.run_as::<u64>(chunk, memory, scratch.fault),
            }
        }
    }
}

#[cfg(test)]
mod tests;
