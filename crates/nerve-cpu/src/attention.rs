//! Scaled dot-product attention and its gradient.
//!
//! `y = softmax(scale · q kᵀ + mask) v`, for each head of each example on its own: every query asks
//! all keys how well they fit, and gets the mean of their values, weighted by the answers.
//!
//! The scores, one for each pair of a query and a key, would fill memory for long sequences. They
//! are never stored: a block of queries meets all keys, the scores of that block stay in the cache,
//! become probabilities there and are multiplied with the values at once. Working memory grows
//! linearly with the length of the sequence. The gradient computes them again in the same way
//! (Rabe and Staats, "Self-attention does not need O(n²) memory", 2021; Dao et al.,
//! "FlashAttention", 2022; here each block sees whole rows, so that no running softmax is needed).

mod backward;
mod forward;
mod panels;
mod scores;
#[cfg(test)]
mod tests;

use crate::bounds::{apart, product};
use crate::gemm::drive::piece;
use crate::gemm::pack::{check_extent, check_product};
use crate::kernel::{Float, Kernel, Operand, Scratch};
use crate::memory::{Memory, Region};
use crate::real::RunOn;
use crate::simd::{Isa, isa};
use std::ops::Range;

/// Sizes of an attention, and how scores are made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionShape {
    /// Type of all elements.
    pub ty: Float,
    /// Examples.
    pub batch: usize,
    /// Heads of each.
    pub heads: usize,
    /// Length of the sequence that asks.
    pub queries: usize,
    /// Length of the sequence that is asked.
    pub keys: usize,
    /// Length of the vectors that are compared.
    pub depth: usize,
    /// Length of the vectors that are averaged.
    pub value_depth: usize,
    /// What the products of queries and keys are multiplied with.
    pub scale: f64,
    /// Whether query number i sees only the keys 0 ..= i.
    pub causal: bool,
}

/// A vector for each time of each head of each example. Its elements lie side by side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Heads {
    /// The bytes, from the first element on.
    pub region: Region,
    /// Elements between examples, between times and between heads.
    pub strides: [usize; 3],
}

/// `y = softmax(scale q kᵀ + mask) v` for each head; y is dense, `[batch, queries, heads,
/// value_depth]`. A query whose scores are all -inf gets NaN, as from a softmax of nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Attention {
    /// Sizes.
    pub shape: AttentionShape,
    /// Queries.
    pub q: Heads,
    /// Keys.
    pub k: Heads,
    /// Values.
    pub v: Heads,
    /// Added to the scores: strides between examples, queries and heads; keys lie side by side.
    pub mask: Option<Heads>,
    /// The result.
    pub y: Region,
}

/// The gradient of [`Attention`] with respect to queries, keys and values. One chunk does all of a
/// head, so that no two add to the same key.
#[derive(Clone, Debug, PartialEq)]
pub struct AttentionGrad {
    /// Sizes.
    pub shape: AttentionShape,
    /// Queries.
    pub q: Heads,
    /// Keys.
    pub k: Heads,
    /// Values.
    pub v: Heads,
    /// Added to the scores, as in [`Attention`].
    pub mask: Option<Heads>,
    /// Gradient with respect to the result.
    pub dy: Heads,
    /// The gradients with respect to q, k and v: one after the other, each dense
    /// `[batch, times, heads, depth]`, or as one `[batch, times, 3, heads, depth]`.
    pub grads: Region,
    /// Whether `grads` is the latter, which is for sequences that ask themselves.
    pub packed: bool,
}

/// Scores that a block of queries holds at a time, if it can: 64 KiB of f32.
const BLOCK: usize = 16 * 1024;
/// Fewest queries in a block, however many keys there are: two tiles high.
const LEAST_ROWS: usize = 28;
/// Most queries in a block.
const MOST_ROWS: usize = 256;
/// Queries in a chunk of the forward pass: enough to make up for packing the keys.
const CHUNK_ROWS: usize = 256;

impl AttentionShape {
    /// Queries whose scores are held at a time.
    fn block(&self) -> usize {
        (BLOCK / self.keys.max(1)).clamp(LEAST_ROWS, MOST_ROWS).min(self.queries.max(1))
    }

    /// Parts into which the queries of one head fall.
    fn parts(&self) -> usize {
        self.queries.div_ceil(CHUNK_ROWS).max(1)
    }

    /// The keys that the queries before `end` see are the first so many.
    fn visible(&self, end: usize) -> usize {
        if self.causal { self.keys.min(end) } else { self.keys }
    }

    /// Elements from one row of scores to the next: an odd number of vectors, so that a column of
    /// scores, which the gradient walks, does not fall on a few places of the cache.
    fn score_stride(&self) -> usize {
        (self.keys.div_ceil(16) | 1) * 16
    }

    fn pairs(&self) -> usize {
        self.batch * self.heads
    }

    /// Multiplications of one query with all keys, or of all probabilities with one column.
    fn flops(&self, products: [u64; 2]) -> u64 {
        let scores = (self.pairs() * self.queries) as u64 * self.keys as u64;
        let scores = if self.causal { scores / 2 } else { scores };
        let [keys, values] = products;
        2 * scores * (keys * self.depth as u64 + values * self.value_depth as u64) + 14 * scores
    }

    fn check(&self) -> Result<(), String> {
        // Whatever is computed from the sizes below stays in range.
        let wide = |n: usize| n.checked_add(2 * panels::WIDEST).ok_or("too many elements");
        product(&[
            wide(self.queries.max(self.keys))?,
            wide(self.depth.max(self.value_depth))?,
            wide(self.heads)?,
            3,
            self.batch,
        ])?;
        product(&[self.block() + 1, wide(self.keys)?])?;
        Ok(())
    }

    fn check_heads(
        &self,
        name: &str,
        heads: &Heads,
        times: usize,
        depth: usize,
    ) -> Result<(), String> {
        let [batch, time, head] = heads.strides;
        let axes = [(self.batch, batch), (times, time), (self.heads, head), (depth, 1)];
        check_extent(name, heads.region, self.ty, &axes)
    }

    /// Checks all that is read.
    fn check_inputs(&self, [q, k, v]: [&Heads; 3], mask: Option<&Heads>) -> Result<(), String> {
        self.check()?;
        self.check_heads("queries", q, self.queries, self.depth)?;
        self.check_heads("keys", k, self.keys, self.depth)?;
        self.check_heads("values", v, self.keys, self.value_depth)?;
        match mask {
            Some(mask) => self.check_heads("mask", mask, self.queries, self.keys),
            None => Ok(()),
        }
    }
}

impl Heads {
    /// The first vector of a head.
    ///
    /// # Safety
    /// As [`Memory::ptr`].
    unsafe fn of<T: crate::memory::Plain>(
        &self,
        memory: &Memory,
        [batch, head]: [usize; 2],
    ) -> *const T {
        let offset = batch * self.strides[0] + head * self.strides[2];
        // SAFETY: by contract; a head that has no element is not read.
        unsafe { memory.ptr::<T>(self.region).wrapping_add(offset) }
    }
}

impl Attention {
    /// The head of a chunk, and which of its queries.
    fn place(&self, chunk: usize) -> ([usize; 2], Range<usize>) {
        let (s, parts) = (&self.shape, self.shape.parts());
        let (pair, part) = (chunk / parts, chunk % parts);
        ([pair / s.heads, pair % s.heads], piece(s.queries, parts, part))
    }
}

macro_rules! run_on {
    ($($kernel:ty),*) => {$(
        impl RunOn for $kernel {
            unsafe fn run_on(
                &self,
                isa: Isa,
                chunk: usize,
                memory: &Memory,
                scratch: &mut Scratch<'_>,
            ) {
                // SAFETY: by contract.
                unsafe {
                    match self.shape.ty {
                        Float::F32 => self.run_as::<f32>(isa, chunk, memory, scratch),
                        Float::F64 => self.run_as::<f64>(isa, chunk, memory, scratch),
                    }
                }
            }
        }
    )*};
}
run_on!(Attention, AttentionGrad);

impl Kernel for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn operands(&self, visit: &mut dyn FnMut(Operand)) {
        visit(Operand::read(self.q.region));
        visit(Operand::read(self.k.region));
        visit(Operand::read(self.v.region));
        if let Some(mask) = &self.mask {
            visit(Operand::read(mask.region));
        }
        visit(Operand::write(self.y));
    }

    fn check(&self) -> Result<(), String> {
        let s = &self.shape;
        s.check_inputs([&self.q, &self.k, &self.v], self.mask.as_ref())?;
        check_product("y", self.y, s.ty, &[s.batch, s.queries, s.heads, s.value_depth])?;
        apart(self)
    }

    fn chunks(&self) -> usize {
        (self.shape.pairs() * self.shape.parts()).max(1)
    }

    fn flops(&self) -> u64 {
        self.shape.flops([1, 1])
    }

    fn scratch_bytes(&self) -> usize {
        self.scratch() * self.shape.ty.bytes()
    }

    unsafe fn run(&self, chunk: usize, memory: &Memory, scratch: &mut Scratch<'_>) {
        // SAFETY: by contract.
        unsafe { self.run_on(isa(), chunk, memory, scratch) }
    }
}

impl Kernel for AttentionGrad {
    fn name(&self) -> &'static str {
        "attention_grad"
    }

    fn operands(&self, visit: &mut dyn FnMut(Operand)) {
        visit(Operand::read(self.q.region));
        visit(Operand::read(self.k.region));
        visit(Operand::read(self.v.region));
        if let Some(mask) = &self.mask {
            visit(Operand::read(mask.region));
        }
        visit(Operand::read(self.dy.region));
        visit(Operand::write(self.grads));
    }

    fn check(&self) -> Result<(), String> {
        let s = &self.shape;
        s.check_inputs([&self.q, &self.k, &self.v], self.mask.as_ref())?;
        s.check_heads("dy", &self.dy, s.queries, s.value_depth)?;
        if self.packed && (s.queries, s.depth) != (s.keys, s.value_depth) {
            return Err("gradients of different shapes do not pack".into());
        }
        let rows = s.queries * s.depth + s.keys * (s.depth + s.value_depth);
        check_product("gradients", self.grads, s.ty, &[s.batch, s.heads, rows])?;
        apart(self)
    }

    fn chunks(&self) -> usize {
        self.shape.pairs().max(1)
    }

    fn flops(&self) -> u64 {
        self.shape.flops([3, 2])
    }

    fn scratch_bytes(&self) -> usize {
        self.scratch() * self.shape.ty.bytes()
    }

    unsafe fn run(&self, chunk: usize, memory: &Memory, scratch: &mut Scratch<'_>) {
        // SAFETY: by contract.
        unsafe { self.run_on(isa(), chunk, memory, scratch) }
    }
}
