//! Softmax and log-softmax over the last axis, and their gradients.

use crate::bounds::{apart, holds, product};
use crate::kernel::{Float, Kernel, Operand, Scratch};
use crate::memory::{Memory, Region};
use crate::real::{Real, RunOn, per_isa, run_by_float};
use crate::rows::{self, Peak, dot, logarithms, peaks, row_chunks, rows_of, subtract};
use crate::simd::{Isa, Vector, isa};

/// `y = softmax(x)` or `log_softmax(x)` of each row.
///
/// softmax: y_j = exp(x_j - m) / sum_k exp(x_k - m), with m the row's largest element, so that no
/// finite row overflows; log_softmax: y_j = (x_j - m) - log(sum_k exp(x_k - m)). A row with a NaN
/// or +inf, or with nothing but -inf, becomes NaN.
#[derive(Clone, Debug, PartialEq)]
pub struct Softmax {
    /// Element type of `x` and `y`.
    pub ty: Float,
    /// Number of rows.
    pub rows: usize,
    /// Elements of a row.
    pub cols: usize,
    /// Whether to return the logarithm.
    pub log: bool,
    /// Input, `[rows, cols]`.
    pub x: Region,
    /// Output, `[rows, cols]`.
    pub y: Region,
}

/// The gradient of [`Softmax`] with respect to its input, from its output.
///
/// softmax: dx_j = y_j (dy_j - sum_k dy_k y_k); log_softmax: dx_j = dy_j - exp(y_j) sum_k dy_k.
#[derive(Clone, Debug, PartialEq)]
pub struct SoftmaxGrad {
    /// Element type of all operands.
    pub ty: Float,
    /// Number of rows.
    pub rows: usize,
    /// Elements of a row.
    pub cols: usize,
    /// Whether `y` is the logarithm.
    pub log: bool,
    /// Output of the forward instruction, `[rows, cols]`.
    pub y: Region,
    /// Gradient with respect to that output, `[rows, cols]`.
    pub dy: Region,
    /// Gradient with respect to the input, `[rows, cols]`.
    pub dx: Region,
}

/// Rows whose maxima and sums are held on the stack at a time.
const GROUP: usize = 128;

/// # Safety
/// As [`Vector`].
#[inline(always)]
unsafe fn softmax_body<T: Real, V: Vector<Elem = T>, const FMA: bool>(
    x: &[T],
    y: &mut [T],
    cols: usize,
    log: bool,
) {
    let mut found = [Peak { top: T::ZERO, sum: T::ONE }; GROUP];
    for (x, y) in x.chunks(GROUP * cols).zip(y.chunks_mut(GROUP * cols)) {
        let found = &mut found[..x.len() / cols];
        if log {
            // SAFETY: by contract.
            unsafe { peaks::<T, V, FMA>(x, cols, None, found) };
            logarithms::<T, FMA>(found);
            for ((x, y), peak) in x.chunks_exact(cols).zip(y.chunks_exact_mut(cols)).zip(found) {
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = (x - peak.top) - peak.sum;
                }
            }
        } else {
            // SAFETY: by contract.
            unsafe { peaks::<T, V, FMA>(x, cols, Some(&mut *y), found) };
            for (y, peak) in y.chunks_exact_mut(cols).zip(found) {
                let scale = T::ONE / peak.sum;
                for y in y {
                    *y *= scale;
                }
            }
        }
    }
}

/// # Safety
/// As [`Vector`].
#[inline(always)]
unsafe fn softmax_grad_body<T: Real, V: Vector<Elem = T>, const FMA: bool>(
    y: &[T],
    dy: &[T],
    dx: &mut [T],
    cols: usize,
    log: bool,
) {
    if log {
        // The exponentials of many rows at once: short rows alone would not fill a vector.
        let many = (rows::BLOCK / cols).max(1) * cols;
        for ((y, dy), dx) in y.chunks(many).zip(dy.chunks(many)).zip(dx.chunks_mut(many)) {
            for (dx, &y) in dx.iter_mut().zip(y) {
                *dx = y.exp::<FMA>();
            }
            for (dy, dx) in dy.chunks_exact(cols).zip(dx.chunks_exact_mut(cols)) {
                // SAFETY: by contract.
                let all = unsafe { rows::sum::<T, V>(dy) };
                for (dx, &dy) in dx.iter_mut().zip(dy) {
                    *dx = dy - *dx * all;
                }
            }
        }
    } else {
        let rows = y.chunks_exact(cols).zip(dy.chunks_exact(cols));
        for ((y, dy), dx) in rows.zip(dx.chunks_exact_mut(cols)) {
            // SAFETY: by contract.
            let all = unsafe { dot::<T, V>(y, dy) };
            subtract(dy, all, dx);
            for (dx, &y) in dx.iter_mut().zip(y) {
                *dx *= y;
            }
        }
    }
}

per_isa!(
    fn softmax<T: Real>(x: &[T], y: &mut [T], cols: usize, log: bool) => softmax_body [V, FMA]
);
per_isa!(
    fn softmax_grad<T: Real>(y: &[T], dy: &[T], dx: &mut [T], cols: usize, log: bool)
        => softmax_grad_body [V, FMA]
);

impl Softmax {
    unsafe fn run_as<T: Real>(&self, isa: Isa, chunk: usize, memory: &Memory, _: &mut Scratch<'_>) {
        let rows = rows_of(chunk, self.rows, self.cols);
        let part = rows.start * self.cols..rows.end * self.cols;
        if part.is_empty() {
            return;
        }
        // SAFETY: `check` saw rows * cols elements in both; the rows of chunks are disjoint.
        let (x, y) = unsafe { (memory.read::<T>(self.x), memory.write(self.y, part.clone())) };
        softmax(isa, &x[part], y, self.cols, self.log);
    }
}

impl Kernel for Softmax {
    fn name(&self) -> &'static str {
        if self.log { "log_softmax" } else { "softmax" }
    }

    fn operands(&self, visit: &mut dyn FnMut(Operand)) {
        visit(Operand::read(self.x));
        visit(Operand::write(self.y));
    }

    fn check(&self) -> Result<(), String> {
        let elements = product(&[self.rows, self.cols])?;
        holds("softmax x", self.x, elements, self.ty.bytes())?;
        holds("softmax y", self.y, elements, self.ty.bytes())?;
        apart(self)
    }

    fn chunks(&self) -> usize {
        row_chunks(self.rows, self.cols)
    }

    fn flops(&self) -> u64 {
        // An exponential counts ten.
        14 * (self.rows * self.cols) as u64
    }

    unsafe fn run(&self, chunk: usize, memory: &Memory, scratch: &mut Scratch<'_>) {
        // SAFETY: by contract.
        unsafe { self.run_on(isa(), chunk, memory, scratch) }
    }
}

impl SoftmaxGrad {
    unsafe fn run_as<T: Real>(&self, isa: Isa, chunk: usize, memory: &Memory, _: &mut Scratch<'_>) {
        let rows = rows_of(chunk, self.rows, self.cols);
        let part = rows.start * self.cols..rows.end * self.cols;
        if part.is_empty() {
            return;
        }
        // SAFETY: `check` saw rows * cols elements in each; the rows of chunks are disjoint.
        let (y, dy, dx) = unsafe {
            let (y, dy) = (memory.read::<T>(self.y), memory.read::<T>(self.dy));
            (y, dy, memory.write(self.dx, part.clone()))
        };
        softmax_grad(isa, &y[part.clone()], &dy[part], dx, self.cols, self.log);
    }
}

run_by_float!(Softmax, SoftmaxGrad);

impl Kernel for SoftmaxGrad {
    fn name(&self) -> &'static str {
        if self.log { "log_softmax_grad" } else { "softmax_grad" }
    }

    fn operands(&self, visit: &mut dyn FnMut(Operand)) {
        visit(Operand::read(self.y));
        visit(Operand::read(self.dy));
        visit(Operand::write(self.dx));
    }

    fn check(&self) -> Result<(), String> {
        let elements = product(&[self.rows, self.cols])?;
        holds("softmax_grad y", self.y, elements, self.ty.bytes())?;
        holds("softmax_grad dy", self.dy, elements, self.ty.bytes())?;
        holds("softmax_grad dx", self.dx, elements, self.ty.bytes())?;
        apart(self)
    }

    fn chunks(&self) -> usize {
        row_chunks(self.rows, self.cols)
    }

    fn flops(&self) -> u64 {
        let each = if self.log { 13 } else { 4 };
        each * (self.rows * self.cols) as u64
    }

    unsafe fn run(&self, chunk: usize, memory: &Memory, scratch: &mut Scratch<'_>) {
        // SAFETY: by contract.
        unsafe { self.run_on(isa(), chunk, memory, scratch) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Buffer;
    use crate::real::testing::{Rng, near, refuses_short, run_each, whole};

    /// The rows whose softmax is wanted, in f64, by the definition.
    fn reference(x: &[f64], log: bool) -> Vec<f64> {
        let top = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = x.iter().map(|x| (x - top).exp()).sum();
        x.iter().map(|x| if log { x - top - sum.ln() } else { (x - top).exp() / sum }).collect()
    }

    fn eps(ty: Float) -> f64 {
        if ty == Float::F32 { f32::EPSILON.into() } else { f64::EPSILON }
    }

    fn forward_and_backward<T: Real + Default>(ty: Float, rows: usize, cols: usize, scale: f64) {
        let mut rng = Rng((rows * 7919 + cols) as u64);
        let n = rows * cols;
        let x: Vec<T> = rng.reals(n, scale);
        let dy: Vec<T> = rng.reals(n, 1.0);
        let b = [Buffer::from_slice(&x), Buffer::zeroed(n * ty.bytes()), Buffer::from_slice(&dy)];
        let out = Buffer::zeroed(n * ty.bytes());
        let refs = [&b[0], &b[1], &b[2], &out];
        for log in [false, true] {
            let (xr, yr) = (whole(0, &b[0]), whole(1, &b[1]));
            let forward = Softmax { ty, rows, cols, log, x: xr, y: yr };
            let back =
                SoftmaxGrad { ty, rows, cols, log, y: yr, dy: whole(2, &b[2]), dx: whole(3, &out) };
            run_each(&forward, &refs, |isa| {
                let y: Vec<T> = b[1].to_vec(0..n);
                for r in 0..rows {
                    let x: Vec<f64> = x[r * cols..][..cols].iter().map(|x| x.to_f64()).collect();
                    for (j, want) in reference(&x, log).into_iter().enumerate() {
                        // exp(d) is as exact as its argument: |d| eps, plus its own error and
                        // those of the sum and the scaling.
                        let bound = (scale.min(40.0) + 16.0) * eps(ty);
                        let what = format_args!("{isa:?} {rows}x{cols} log={log} [{r},{j}]");
                        near(y[r * cols + j], want, bound, what);
                    }
                }
            });
            let y: Vec<T> = b[1].to_vec(0..n);
            run_each(&back, &refs, |isa| {
                let dx: Vec<T> = out.to_vec(0..n);
                for r in 0..rows {
                    let row = |v: &[T], j: usize| v[r * cols + j].to_f64();
                    let all: f64 =
                        (0..cols).map(|j| row(&dy, j) * if log { 1.0 } else { row(&y, j) }).sum();
                    for j in 0..cols {
                        let (y, dy) = (row(&y, j), row(&dy, j));
                        let want = if log { dy - y.exp() * all } else { y * (dy - all) };
                        let bound = (16.0 + cols as f64 / 8.0) * eps(ty);
                        near(dx[r * cols + j], want, bound, format_args!("{isa:?} grad log={log}"));
                    }
                }
            });
        }
    }

    #[test]
    fn agrees_with_the_definition() {
        for (rows, cols) in
            [(0, 3), (3, 0), (1, 1), (5, 1), (64, 10), (33, 17), (7, 64), (300, 33), (3, 1000)]
        {
            for scale in [1.0, 10.0, 1e4] {
                forward_and_backward::<f32>(Float::F32, rows, cols, scale);
                forward_and_backward::<f64>(Float::F64, rows, cols, scale);
            }
        }
        forward_and_backward::<f32>(Float::F32, 2, 20_000, 3.0);
        forward_and_backward::<f32>(Float::F32, 4100, 10, 3.0);
    }

    fn one_row(x: &[f32], log: bool) -> Vec<f32> {
        let (a, b) = (Buffer::from_slice(x), Buffer::zeroed(4 * x.len()));
        let (x, y) = (whole(0, &a), whole(1, &b));
        let kernel = Softmax { ty: Float::F32, rows: 1, cols: a.bytes() / 4, log, x, y };
        crate::kernel::run_alone(&kernel, &[&a, &b]);
        b.to_vec(0..a.bytes() / 4)
    }

    #[test]
    fn extreme_logits() {
        assert_eq!(one_row(&[1e4, -1e4], false), [1.0, 0.0]);
        assert_eq!(one_row(&[1e4, -1e4], true), [0.0, -2e4]);
        assert_eq!(one_row(&[f32::MAX, -f32::MAX], false), [1.0, 0.0]);
        assert_eq!(one_row(&[3.0, f32::NEG_INFINITY], false), [1.0, 0.0]);
        assert_eq!(one_row(&[3.0, f32::NEG_INFINITY], true), [0.0, f32::NEG_INFINITY]);
        assert_eq!(one_row(&[1e4; 4], false), [0.25; 4]);
        for bad in [[1.0, f32::NAN, 2.0], [f32::INFINITY, 0.0, 1.0], [f32::NEG_INFINITY; 3]] {
            for log in [false, true] {
                let y = one_row(&bad, log);
                assert!(y[1].is_nan() && y[2].is_nan() || y[0].is_nan(), "{bad:?} -> {y:?}");
            }
        }
        assert!(one_row(&[f32::NAN; 40], false).iter().all(|y| y.is_nan()));
    }

    #[test]
    fn rows_sum_to_one() {
        let x: Vec<f32> = Rng(5).reals(100_000, 5.0);
        let sum: f64 = one_row(&x, false).iter().map(|&y| f64::from(y)).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{sum}");
    }

    #[test]
    fn check_refuses_short_and_overlapping_regions() {
        let ty = Float::F64;
        let at = |i: u32| Region::new(i, 8, 6 * 8);
        let forward = Softmax { ty, rows: 2, cols: 3, log: false, x: at(0), y: at(1) };
        refuses_short(&forward, &[|k| &mut k.x, |k| &mut k.y]);
        let back = SoftmaxGrad { ty, rows: 2, cols: 3, log: true, y: at(0), dy: at(1), dx: at(2) };
        refuses_short(&back, &[|k| &mut k.y, |k| &mut k.dy, |k| &mut k.dx]);
        assert!(Softmax { y: at(0), ..forward.clone() }.check().is_err());
        assert!(Softmax { rows: usize::MAX, ..forward }.check().is_err());
        assert!(SoftmaxGrad { dx: at(1), ..back }.check().is_err());
    }
}
