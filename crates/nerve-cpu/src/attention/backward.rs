//! The backward pass: the scores of each block again, and five products instead of two.
//!
//! With P the probabilities of a block and dP = dY Vᵀ their gradient, dS = P (dP − Σ P dP) scale is
//! the gradient of the products Q Kᵀ, and so dQ = dS K, dK = dSᵀ Q, dV = Pᵀ dY, the last two added
//! up over the blocks.

use super::forward::{block, blocks};
use super::panels::{Into, Left, Panels, space};
use super::scores;
use super::{AttentionGrad, AttentionShape};
use crate::gemm::tile::Scalar;
use crate::kernel::Scratch;
use crate::memory::Memory;
use crate::real::Real;
use crate::simd::Isa;

/// Where the gradient of one of the three lies, for one head.
#[derive(Clone, Copy)]
struct Place {
    /// Of the first element.
    offset: usize,
    /// Elements between times.
    time: usize,
}

/// Working memory, in elements: keys and values in panels for three products, queries and dy of a
/// block in panels for two, probabilities and their gradient.
fn spaces(s: &AttentionShape) -> [usize; 7] {
    let scores = s.block() * s.score_stride();
    [
        space(s.depth, s.keys),
        space(s.value_depth, s.keys),
        space(s.keys, s.depth),
        space(s.block(), s.depth),
        space(s.block(), s.value_depth),
        scores,
        scores,
    ]
    .map(|n| n.next_multiple_of(16))
}

impl AttentionGrad {
    /// Elements of working memory.
    pub(super) fn scratch(&self) -> usize {
        spaces(&self.shape).iter().sum()
    }

    /// Where the gradients of queries, keys and values of a head lie.
    fn places(&self, [batch, head]: [usize; 2]) -> [Place; 3] {
        let s = &self.shape;
        if self.packed {
            let one = s.heads * s.depth;
            return [0, 1, 2].map(|i| Place {
                offset: (batch * s.queries * 3 + i) * one + head * s.depth,
                time: 3 * one,
            });
        }
        let mut start = 0;
        [(s.queries, s.depth), (s.keys, s.depth), (s.keys, s.value_depth)].map(|(times, depth)| {
            let time = s.heads * depth;
            let place = Place { offset: start + batch * times * time + head * depth, time };
            start += s.batch * times * time;
            place
        })
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
        if s.pairs() == 0 {
            return;
        }
        let at = [chunk / s.heads, chunk % s.heads];
        let mut rest = scratch.slice::<T>(self.scratch());
        let [keys, values, by_key, queries, dys, p, dp] = spaces(s).map(|n| {
            let (part, more) = std::mem::take(&mut rest).split_at_mut(n);
            rest = more;
            part
        });
        let mut keys = Panels::new(isa, [s.block(), s.depth, s.keys], keys);
        let mut values = Panels::new(isa, [s.block(), s.value_depth, s.keys], values);
        let mut by_key = Panels::new(isa, [s.block(), s.keys, s.depth], by_key);
        let mut queries = Panels::new(isa, [s.keys, s.block(), s.depth], queries);
        let mut dys = Panels::new(isa, [s.keys, s.block(), s.value_depth], dys);
        let [dq, dk, dv] = self.places(at);
        let stride = s.score_stride();
        // SAFETY: `check` held all operands against their regions; a chunk writes the gradients of
        // its own head.
        unsafe {
            let grads = memory.ptr::<T>(self.grads);
            let (q, dy) = (self.q.of::<T>(memory, at), self.dy.of::<T>(memory, at));
            let (k, v) = (self.k.of::<T>(memory, at), self.v.of::<T>(memory, at));
            for (place, depth) in [(dk, s.depth), (dv, s.value_depth)] {
                for time in 0..s.keys {
                    grads.wrapping_add(place.offset + time * place.time).write_bytes(0, depth);
                }
            }
            keys.pack_columns(k, self.k.strides[1], s.keys);
            values.pack_columns(v, self.v.strides[1], s.keys);
            by_key.pack_rows(k, self.k.strides[1], s.keys);
            for rows in blocks(0..s.queries, s.block()) {
                let (count, seen) = (rows.len(), s.visible(rows.end));
                let [q, dy] =
                    [(q, self.q.strides[1]), (dy, self.dy.strides[1])].map(|(x, time)| Left {
                        start: x.wrapping_add(rows.start * time),
                        strides: [time, 1],
                    });
                let into = |start: *mut T| Into { start, stride, accumulate: false };
                let block = block(s, self.mask.as_ref(), memory, at, &rows, seen);
                keys.multiply(q, [count, seen, s.depth], into(p.as_mut_ptr()));
                scores::softmax(isa, block, p);
                values.multiply(dy, [count, seen, s.value_depth], into(dp.as_mut_ptr()));
                // Keys by queries: the transposed block.
                let turned = |x: &[T]| Left { start: x.as_ptr(), strides: [1, stride] };
                let add = |place: Place| Into {
                    start: grads.wrapping_add(place.offset),
                    stride: place.time,
                    accumulate: true,
                };
                dys.pack_rows(dy.start, dy.strides[0], count);
                dys.multiply(turned(p), [seen, s.value_depth, count], add(dv));
                scores::softmax_grad(isa, block, p, dp);
                let ds = Left { start: dp.as_ptr(), strides: [stride, 1] };
                let start = grads.wrapping_add(dq.offset + rows.start * dq.time);
                let to = Into { start, stride: dq.time, accumulate: false };
                by_key.multiply(ds, [count, s.depth, seen], to);
                queries.pack_rows(q.start, q.strides[0], count);
                queries.multiply(turned(dp), [seen, s.depth, count], add(dk));
            }
        }
    }
}
