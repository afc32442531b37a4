//! The forward pass: blocks of queries against all keys.

use super::panels::{Into, Left, Panels, space};
use super::scores::{self, Block};
use super::{Attention, AttentionShape, Heads};
use crate::gemm::tile::Scalar;
use crate::kernel::Scratch;
use crate::memory::Memory;
use crate::real::Real;
use crate::simd::Isa;
use std::ops::Range;

/// The queries `first ..` of a range, block by block.
pub(super) fn blocks(range: Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> {
    crate::gemm::drive::pieces(range, most).filter(|block| !block.is_empty())
}

/// How the scores of the queries `rows` against the first `keys` keys lie, and what is added.
///
/// # Safety
/// The mask, if any, was checked, and nobody writes it.
pub(super) unsafe fn block<'a, T: Real>(
    shape: &AttentionShape,
    mask: Option<&Heads>,
    memory: &'a Memory,
    [batch, head]: [usize; 2],
    rows: &Range<usize>,
    keys: usize,
) -> Block<'a, T> {
    let mask = mask.map(|mask| {
        let [b, t, h] = mask.strides;
        // SAFETY: by contract. The elements from there on are in the region.
        let all = unsafe { memory.read::<T>(mask.region) };
        (&all[batch * b + rows.start * t + head * h..], t)
    });
    Block {
        stride: shape.score_stride(),
        rows: rows.len(),
        keys,
        causal: shape.causal.then_some(rows.start),
        scale: T::rounded(shape.scale),
        mask: mask.filter(|_| keys > 0),
    }
}

impl Attention {
    /// Elements of working memory.
    pub(super) fn scratch(&self) -> usize {
        let s = &self.shape;
        let keys = space(s.depth, s.keys).next_multiple_of(16);
        let values = space(s.keys, s.value_depth).next_multiple_of(16);
        keys + values + s.block() * s.score_stride()
    }

    /// # Safety
    /// As [`Kernel::run`](crate::Kernel::run).
    pub(super) unsafe fn run_as<T: Real + Scalar>(
        &self,
        isa: Isa,
        chunk: usize,
        memory: &Memory,
        scratch: &mut Scratch<'_>,
    ) {
        let s = &self.shape;
        if s.pairs() * s.queries * s.value_depth == 0 {
            return;
        }
        let (at, queries) = self.place(chunk);
        let all = scratch.slice::<T>(self.scratch());
        let (keys, all) = all.split_at_mut(space(s.depth, s.keys).next_multiple_of(16));
        let (values, p) = all.split_at_mut(space(s.keys, s.value_depth).next_multiple_of(16));
        let mut keys = Panels::new(isa, [s.block(), s.depth, s.keys], keys);
        let mut values = Panels::new(isa, [s.block(), s.keys, s.value_depth], values);
        let seen = s.visible(queries.end);
        // SAFETY: `check` held queries, keys, values and y against their regions; a chunk writes
        // the rows of its own queries and head.
        unsafe {
            keys.pack_columns(self.k.of(memory, at), self.k.strides[1], seen);
            values.pack_rows(self.v.of(memory, at), self.v.strides[1], seen);
            let q = self.q.of::<T>(memory, at);
            let row = s.heads * s.value_depth;
            let y = memory
                .ptr::<T>(self.y)
                .wrapping_add(at[0] * s.queries * row + at[1] * s.value_depth);
            for rows in blocks(queries, s.block()) {
                let (count, seen, time) = (rows.len(), s.visible(rows.end), self.q.strides[1]);
                let q = Left { start: q.wrapping_add(rows.start * time), strides: [time, 1] };
                let stride = s.score_stride();
                let to = Into { start: p.as_mut_ptr(), stride, accumulate: false };
                keys.multiply(q, [count, seen, s.depth], to);
                let block = block(s, self.mask.as_ref(), memory, at, &rows, seen);
                scores::softmax(isa, block, p);
                let p = Left { start: p.as_ptr(), strides: [stride, 1] };
                let start = y.wrapping_add(rows.start * row);
                let to = Into { start, stride: row, accumulate: false };
                values.multiply(p, [count, s.value_depth, seen], to);
            }
        }
    }
}
