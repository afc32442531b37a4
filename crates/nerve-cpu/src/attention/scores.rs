//! From scores to probabilities, and the gradient of that, for a block of queries.

use crate::real::{LANES, Real, per_isa};
use crate::rows::{dot, largest};
use crate::simd::Vector;

/// Scores of a block of queries, row by row.
#[derive(Clone, Copy)]
pub(super) struct Block<'a, T> {
    /// Elements from row to row.
    pub stride: usize,
    /// Number of rows.
    pub rows: usize,
    /// Keys in each row.
    pub keys: usize,
    /// If queries see only what lies before them: the number of the first one.
    pub causal: Option<usize>,
    pub scale: T,
    /// What is added to the scores, and the elements from row to row.
    pub mask: Option<(&'a [T], usize)>,
}

impl<T> Block<'_, T> {
    /// The keys that row number `row` sees.
    #[inline(always)]
    fn seen(&self, row: usize) -> usize {
        self.causal.map_or(self.keys, |first| self.keys.min(first + row + 1))
    }
}

/// `x = x scale + mask`.
#[inline(always)]
fn scale_row<T: Real>(row: &mut [T], scale: T, mask: Option<&[T]>) {
    match mask {
        Some(mask) => {
            for (x, &m) in row.iter_mut().zip(mask) {
                *x = *x * scale + m;
            }
        }
        None => {
            for x in row {
                *x *= scale;
            }
        }
    }
}

/// `x = exp(x scale - top)`, none of which is more than 1; returns their sum.
#[inline(always)]
fn decays<T: Real, const FMA: bool>(row: &mut [T], scale: T, top: T) -> T {
    let mut sums = [T::ZERO; LANES];
    let mut step = |line: &mut [T]| {
        for (x, sum) in line.iter_mut().zip(&mut sums) {
            *x = (*x * scale - top).decay::<FMA>();
            *sum += *x;
        }
    };
    let (lines, rest) = row.as_chunks_mut::<LANES>();
    lines.iter_mut().for_each(|line| step(line));
    step(rest);
    let mut width = LANES / 2;
    while width > 0 {
        for l in 0..width {
            let upper = sums[l + width];
            sums[l] += upper;
        }
        width /= 2;
    }
    sums[0]
}

/// Products of queries and keys become probabilities; 0 for keys that a query does not see.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
unsafe fn softmax_body<T: Real, V: Vector<Elem = T>, const FMA: bool>(
    block: Block<'_, T>,
    scores: &mut [T],
) {
    for (r, row) in scores.chunks_mut(block.stride).take(block.rows).enumerate() {
        let (row, hidden) = row[..block.keys].split_at_mut(block.seen(r));
        hidden.fill(T::ZERO);
        // A positive scale does not change which score is the largest: it can wait for the
        // exponentials.
        let scale = match block.mask {
            None if block.scale > T::ZERO => block.scale,
            mask => {
                scale_row(row, block.scale, mask.map(|(mask, stride)| &mask[r * stride..]));
                T::ONE
            }
        };
        // SAFETY: by contract.
        let top = unsafe { largest::<T, V>(row) } * scale;
        let share = T::ONE / decays::<T, FMA>(row, scale, top);
        for x in row {
            *x *= share;
        }
    }
}

/// `dp = p (dp - sum of p dp) scale`: the gradient of the probabilities becomes that of the
/// products of queries and keys.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
unsafe fn grad_body<T: Real, V: Vector<Elem = T>, const FMA: bool>(
    block: Block<'_, T>,
    p: &[T],
    dp: &mut [T],
) {
    let rows = p.chunks(block.stride).zip(dp.chunks_mut(block.stride));
    for (r, (p, dp)) in rows.take(block.rows).enumerate() {
        let seen = block.seen(r);
        dp[seen..block.keys].fill(T::ZERO);
        let (p, dp) = (&p[..seen], &mut dp[..seen]);
        // SAFETY: by contract.
        let all = unsafe { dot::<T, V>(p, dp) };
        for (dp, &p) in dp.iter_mut().zip(p) {
            *dp = p * (*dp - all) * block.scale;
        }
    }
}

per_isa!(pub(super) fn softmax<T: Real>(block: Block<'_, T>, scores: &mut [T]) => softmax_body [V, FMA]);
per_isa!(
    pub(super) fn softmax_grad<T: Real>(block: Block<'_, T>, p: &[T], dp: &mut [T]) => grad_body [V, FMA]
);
