//! What softmax and cross-entropy do alike to contiguous rows: maxima, sums, exponentials.
//!
//! Sums go into [`WAYS`] vectors over a few thousand values at a time, whose totals are then added:
//! the error grows with the number of such blocks instead of with the length of the row.

use crate::real::{LANES, Real};
use crate::simd::Vector;

/// Values of a row that are handled in one go; they stay in the first-level cache.
pub(crate) const BLOCK: usize = 1024;

/// Elements that are worth a chunk: some ten microseconds of exponentials.
const GRAIN: usize = 16 * 1024;

/// Number of rows of `cols` elements in one chunk, at least 1.
pub(crate) fn rows_per_chunk(cols: usize) -> usize {
    GRAIN.div_ceil(cols.max(1))
}

/// Number of chunks that `rows` rows of `cols` elements make, at least 1.
pub(crate) fn row_chunks(rows: usize, cols: usize) -> usize {
    rows.div_ceil(rows_per_chunk(cols)).max(1)
}

/// The rows of chunk number `chunk`.
pub(crate) fn rows_of(chunk: usize, rows: usize, cols: usize) -> std::ops::Range<usize> {
    let each = rows_per_chunk(cols);
    let start = (chunk * each).min(rows);
    start..(start + each).min(rows)
}

/// Vectors that are added independently, so that one addition need not wait for the one before.
const WAYS: usize = 4;

/// The largest element; a NaN may be passed over, since it shows in the sum of exponentials.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
pub(crate) unsafe fn largest<T: Real, V: Vector<Elem = T>>(x: &[T]) -> T {
    let larger = |a: T, b: T| if b > a { b } else { a };
    let few = |x: &[T]| x.iter().fold(T::LOWEST, |top, &x| larger(top, x));
    if x.len() < V::LANES {
        return few(x);
    }
    // SAFETY: every load is of LANES elements that end within x; the instruction set is the
    // caller's promise.
    unsafe {
        let mut top = [V::splat(T::LOWEST); WAYS];
        let mut i = 0;
        while i + WAYS * V::LANES <= x.len() {
            for (w, top) in top.iter_mut().enumerate() {
                *top = V::load(x.as_ptr().add(i + w * V::LANES)).max(*top);
            }
            i += WAYS * V::LANES;
        }
        while i + V::LANES <= x.len() {
            top[0] = V::load(x.as_ptr().add(i)).max(top[0]);
            i += V::LANES;
        }
        // The last vector may overlap the one before: a maximum does not mind.
        top[1] = V::load(x.as_ptr().add(x.len() - V::LANES)).max(top[1]);
        let mut lanes = [T::LOWEST; LANES];
        top[0].max(top[1]).max(top[2].max(top[3])).store(lanes.as_mut_ptr());
        let mut width = V::LANES / 2;
        while width > 0 {
            for l in 0..width {
                lanes[l] = larger(lanes[l], lanes[l + width]);
            }
            width /= 2;
        }
        lanes[0]
    }
}

/// The sum of `term(0) .. term(n)`, for fewer terms than fill a vector: in fours, so that one
/// addition need not wait for all before it.
#[inline(always)]
fn sum_few<T: Real>(n: usize, term: impl Fn(usize) -> T) -> T {
    let mut all = T::ZERO;
    let fours = n / 4 * 4;
    for i in (0..fours).step_by(4) {
        all += (term(i) + term(i + 1)) + (term(i + 2) + term(i + 3));
    }
    for i in fours..n {
        all += term(i);
    }
    all
}

/// Adds `add(accumulator, i)` for vectors that begin at i = 0, LANES, 2 LANES, ... below n; in the
/// last one, `tail` says how to add a part of a vector.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
unsafe fn sum_vectors<V: Vector>(
    n: usize,
    add: impl Fn(V, usize) -> V,
    tail: impl Fn(V, usize, V::Mask) -> V,
) -> V::Elem {
    // SAFETY: the instruction set is the caller's promise.
    unsafe {
        let mut all = V::zero();
        let mut start = 0;
        while start < n {
            let end = n.min(start + WAYS * BLOCK);
            let mut part = [V::zero(); WAYS];
            let mut i = start;
            while i + WAYS * V::LANES <= end {
                for (w, part) in part.iter_mut().enumerate() {
                    *part = add(*part, i + w * V::LANES);
                }
                i += WAYS * V::LANES;
            }
            while i + V::LANES <= end {
                part[0] = add(part[0], i);
                i += V::LANES;
            }
            if i < end {
                part[1] = tail(part[1], i, V::mask(end - i));
            }
            all = all.add(part[0].add(part[1]).add(part[2].add(part[3])));
            start = end;
        }
        all.sum()
    }
}

/// The sum of the elements.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
pub(crate) unsafe fn sum<T: Real, V: Vector<Elem = T>>(x: &[T]) -> T {
    if x.len() < V::LANES {
        return sum_few(x.len(), |i| x[i]);
    }
    // SAFETY: vectors that begin at i end within x, or are masked to; the rest is the caller's.
    unsafe {
        let at = |i| x.as_ptr().add(i);
        sum_vectors::<V>(
            x.len(),
            |all, i| all.add(V::load(at(i))),
            |all, i, mask| all.add(V::load_masked(at(i), mask)),
        )
    }
}

/// The sum of the products of the elements of two slices of one length.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
pub(crate) unsafe fn dot<T: Real, V: Vector<Elem = T>>(x: &[T], y: &[T]) -> T {
    let n = x.len().min(y.len());
    if n < V::LANES {
        return sum_few(n, |i| x[i] * y[i]);
    }
    // SAFETY: vectors that begin at i end within both, or are masked to; the rest is the caller's.
    unsafe {
        let at = |i| (x.as_ptr().add(i), y.as_ptr().add(i));
        sum_vectors::<V>(
            n,
            |all, i| all.fma(V::load(at(i).0), V::load(at(i).1)),
            |all, i, mask| all.fma(V::load_masked(at(i).0, mask), V::load_masked(at(i).1, mask)),
        )
    }
}

/// `x <- exp(x)`, elementwise.
#[inline(always)]
pub(crate) fn exp_in_place<T: Real, const FMA: bool>(x: &mut [T]) {
    for x in x {
        *x = x.exp::<FMA>();
    }
}

/// `y <- x - top`, elementwise.
#[inline(always)]
pub(crate) fn subtract<T: Real>(x: &[T], top: T, y: &mut [T]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = x - top;
    }
}

/// Largest element and sum of exp(x - largest) of one row.
#[derive(Clone, Copy)]
pub(crate) struct Peak<T> {
    pub top: T,
    pub sum: T,
}

/// Replaces the sums by their logarithms, all in one loop that can be vectorised.
#[inline(always)]
pub(crate) fn logarithms<T: Real, const FMA: bool>(peaks: &mut [Peak<T>]) {
    for peak in peaks {
        peak.sum = peak.sum.ln::<FMA>();
    }
}

/// The [`Peak`] of each row of `x`; where `y` is given, it becomes exp(x - top).
///
/// Short rows are exponentiated many at a time, since a row of ten would leave most of a vector
/// idle; long ones block by block.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
pub(crate) unsafe fn peaks<T: Real, V: Vector<Elem = T>, const FMA: bool>(
    x: &[T],
    cols: usize,
    mut y: Option<&mut [T]>,
    peaks: &mut [Peak<T>],
) {
    if cols == 0 {
        return peaks.fill(Peak { top: T::LOWEST, sum: T::ZERO });
    }
    let mut own = [T::ZERO; BLOCK];
    let group = (BLOCK / cols).max(1);
    for (g, (x, peaks)) in x.chunks(group * cols).zip(peaks.chunks_mut(group)).enumerate() {
        let start = g * group * cols;
        if cols > BLOCK {
            // SAFETY: by contract.
            let (top, mut all) = (unsafe { largest::<T, V>(x) }, T::ZERO);
            for (b, x) in x.chunks(BLOCK).enumerate() {
                let start = start + b * BLOCK;
                let e = match &mut y {
                    Some(y) => &mut y[start..start + x.len()],
                    None => &mut own[..x.len()],
                };
                subtract(x, top, e);
                exp_in_place::<T, FMA>(e);
                // SAFETY: by contract.
                all += unsafe { sum::<T, V>(e) };
            }
            peaks[0] = Peak { top, sum: all };
            continue;
        }
        let e = match &mut y {
            Some(y) => &mut y[start..start + x.len()],
            None => &mut own[..x.len()],
        };
        for ((x, e), peak) in x.chunks_exact(cols).zip(e.chunks_exact_mut(cols)).zip(&mut *peaks) {
            // SAFETY: by contract.
            peak.top = unsafe { largest::<T, V>(x) };
            subtract(x, peak.top, e);
        }
        exp_in_place::<T, FMA>(e);
        for (e, peak) in e.chunks_exact(cols).zip(peaks) {
            // SAFETY: by contract.
            peak.sum = unsafe { sum::<T, V>(e) };
        }
    }
}
