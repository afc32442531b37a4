//! What softmax and cross-entropy do alike to contiguous rows: maxima, sums, exponentials.
//!
//! Sums go into [`LANES`] accumulators over blocks of [`BLOCK`] values, whose totals are then
//! added: vectors without reordering, and an error that grows with the number of blocks instead
//! of with the length of the row.

use crate::real::{LANES, Real};

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

/// Combines the lanes, halving their number each time.
#[inline(always)]
fn fold<T: Real>(mut lanes: [T; LANES], combine: impl Fn(T, T) -> T) -> T {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] = combine(lanes[i], lanes[i + width]);
        }
        width /= 2;
    }
    lanes[0]
}

/// The largest element; a NaN is passed over, since it shows in the sum of exponentials.
#[inline(always)]
pub(crate) fn largest<T: Real>(x: &[T]) -> T {
    let larger = |a: T, b: T| if b > a { b } else { a };
    let (full, tail) = x.as_chunks::<LANES>();
    // The tail stays out of the accumulators: a place found at run time would keep them in memory.
    let rest = tail.iter().fold(T::LOWEST, |top, &x| larger(top, x));
    if full.is_empty() {
        return rest;
    }
    let mut top = [T::LOWEST; LANES];
    for x in full {
        for l in 0..LANES {
            top[l] = larger(top[l], x[l]);
        }
    }
    larger(fold(top, larger), rest)
}

/// The sum of `term(0) .. term(n)`, for fewer terms than there are lanes: in fours, so that one
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

/// The sum of the elements.
#[inline(always)]
pub(crate) fn sum<T: Real>(x: &[T]) -> T {
    let (full, tail) = x.as_chunks::<LANES>();
    let rest = sum_few(tail.len(), |i| tail[i]);
    if full.is_empty() {
        return rest;
    }
    let mut all = [T::ZERO; LANES];
    for block in full.chunks(BLOCK / LANES) {
        let mut part = [T::ZERO; LANES];
        for x in block {
            for l in 0..LANES {
                part[l] += x[l];
            }
        }
        for l in 0..LANES {
            all[l] += part[l];
        }
    }
    fold(all, |a, b| a + b) + rest
}

/// The sum of the products of the elements of two slices of one length.
#[inline(always)]
pub(crate) fn dot<T: Real>(x: &[T], y: &[T]) -> T {
    let ((x, x_tail), (y, y_tail)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    let rest = sum_few(x_tail.len().min(y_tail.len()), |i| x_tail[i] * y_tail[i]);
    if x.is_empty() {
        return rest;
    }
    let mut all = [T::ZERO; LANES];
    for (x, y) in x.chunks(BLOCK / LANES).zip(y.chunks(BLOCK / LANES)) {
        let mut part = [T::ZERO; LANES];
        for (x, y) in x.iter().zip(y) {
            for l in 0..LANES {
                part[l] += x[l] * y[l];
            }
        }
        for l in 0..LANES {
            all[l] += part[l];
        }
    }
    fold(all, |a, b| a + b) + rest
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

/// The [`Peak`] of each row of `x`; where `y` is given, it becomes exp(x - top).
///
/// Short rows are exponentiated many at a time, since a row of ten would leave most of a vector
/// idle; long ones block by block.
#[inline(always)]
pub(crate) fn peaks<T: Real, const FMA: bool>(
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
            let (top, mut all) = (largest(x), T::ZERO);
            for (b, x) in x.chunks(BLOCK).enumerate() {
                let start = start + b * BLOCK;
                let e = match &mut y {
                    Some(y) => &mut y[start..start + x.len()],
                    None => &mut own[..x.len()],
                };
                subtract(x, top, e);
                exp_in_place::<T, FMA>(e);
                all += sum(e);
            }
            peaks[0] = Peak { top, sum: all };
            continue;
        }
        let e = match &mut y {
            Some(y) => &mut y[start..start + x.len()],
            None => &mut own[..x.len()],
        };
        for ((x, e), peak) in x.chunks_exact(cols).zip(e.chunks_exact_mut(cols)).zip(&mut *peaks) {
            peak.top = largest(x);
            subtract(x, peak.top, e);
        }
        exp_in_place::<T, FMA>(e);
        for (e, peak) in e.chunks_exact(cols).zip(peaks) {
            peak.sum = sum(e);
        }
    }
}
