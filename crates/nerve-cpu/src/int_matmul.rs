//! Matrix products of integers, which wrap around.

use crate::bounds::{apart, holds, product};
use crate::kernel::{Kernel, Operand, Scratch};
use crate::memory::{Memory, Region};
use crate::real::{Num, Number, RunOn, per_isa};
use crate::simd::{Isa, isa};

/// `c = a b` for each of a batch of matrices: `[batch, m, k]` by `[batch, k, n]`, row-major.
///
/// A plain kernel: each row of the result is a sum of rows of `b`, a vector at a time. Additions
/// wrap around, so their order does not matter.
#[derive(Clone, Debug, PartialEq)]
pub struct IntMatmul {
    /// Element type: i32 or i64.
    pub ty: Number,
    /// Number of products.
    pub batch: usize,
    /// Rows of `a` and `c`.
    pub m: usize,
    /// Columns of `b` and `c`.
    pub n: usize,
    /// Columns of `a`, rows of `b`.
    pub k: usize,
    /// Left operand.
    pub a: Region,
    /// Right operand.
    pub b: Region,
    /// Result.
    pub c: Region,
}

/// Multiplications of one chunk, about.
const GRAIN: usize = 128 * 1024;

/// Rows of `b` that are added in one pass over a row of the result.
const ROWS: usize = 4;

#[inline(always)]
fn row_body<T: Num>(a: &[T], b: &[T], c: &mut [T]) {
    let n = c.len();
    c.fill(T::default());
    let (blocks, rest) = a.as_chunks::<ROWS>();
    for (l, a) in blocks.iter().enumerate() {
        let [b0, b1, b2, b3] = [0, 1, 2, 3].map(|i| &b[(l * ROWS + i) * n..][..n]);
        for ((((c, &b0), &b1), &b2), &b3) in c.iter_mut().zip(b0).zip(b1).zip(b2).zip(b3) {
            let low = a[0].times(b0).plus(a[1].times(b1));
            *c = c.plus(low).plus(a[2].times(b2).plus(a[3].times(b3)));
        }
    }
    for (l, &a) in rest.iter().enumerate() {
        let b = &b[(blocks.len() * ROWS + l) * n..][..n];
        for (c, &b) in c.iter_mut().zip(b) {
            *c = c.plus(a.times(b));
        }
    }
}

per_isa!(
    fn row<T: Num>(a: &[T], b: &[T], c: &mut [T]) => row_body
);

impl IntMatmul {
    fn rows_per_chunk(&self) -> usize {
        GRAIN.div_ceil((self.n * self.k).max(1))
    }

    unsafe fn run_as<T: Num>(&self, isa: Isa, chunk: usize, memory: &Memory) {
        let (each, all) = (self.rows_per_chunk(), self.batch * self.m);
        let rows = (chunk * each).min(all)..((chunk + 1) * each).min(all);
        let part = rows.start * self.n..rows.end * self.n;
        if part.is_empty() {
            return;
        }
        // SAFETY: `check` saw the sizes of all three; the rows of chunks are disjoint.
        let (a, b, c) = unsafe {
            let (a, b) = (memory.read::<T>(self.a), memory.read::<T>(self.b));
            (a, b, memory.write::<T>(self.c, part))
        };
        for (i, c) in rows.zip(c.chunks_exact_mut(self.n)) {
            let size = self.k * self.n;
            row(isa, &a[i * self.k..][..self.k], &b[i / self.m * size..][..size], c);
        }
    }
}

impl RunOn for IntMatmul {
    unsafe fn run_on(&self, isa: Isa, chunk: usize, memory: &Memory, _: &mut Scratch<'_>) {
        // SAFETY: by contract; `check` refuses floats.
        unsafe {
            match self.ty {
                Number::I64 => self.run_as::<i64>(isa, chunk, memory),
                _ => self.run_as::<i32>(isa, chunk, memory),
            }
        }
    }
}

impl Kernel for IntMatmul {
    fn name(&self) -> &'static str {
        "int_matmul"
    }

    fn operands(&self, visit: &mut dyn FnMut(Operand)) {
        visit(Operand::read(self.a));
        visit(Operand::read(self.b));
        visit(Operand::write(self.c));
    }

    fn check(&self) -> Result<(), String> {
        if !matches!(self.ty, Number::I32 | Number::I64) {
            return Err(format!("{:?} is no type of integers", self.ty));
        }
        let &IntMatmul { batch, m, n, k, .. } = self;
        product(&[batch, m, n, k])?;
        holds("int_matmul a", self.a, product(&[batch, m, k])?, self.ty.bytes())?;
        holds("int_matmul b", self.b, product(&[batch, k, n])?, self.ty.bytes())?;
        holds("int_matmul c", self.c, product(&[batch, m, n])?, self.ty.bytes())?;
        apart(self)
    }

    fn chunks(&self) -> usize {
        (self.batch * self.m).div_ceil(self.rows_per_chunk()).max(1)
    }

    fn flops(&self) -> u64 {
        2 * (self.batch * self.m * self.n * self.k) as u64
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
    use crate::real::testing::{Rng, refuses_short, run_backwards, run_each, whole};

    fn agrees<T: Num>(ty: Number, make: fn(&mut Rng) -> T) {
        let mut rng = Rng(15);
        for [batch, m, n, k] in [
            [1, 1, 1, 1],
            [1, 3, 5, 7],
            [3, 40, 33, 65],
            [2, 1, 700, 300],
            [0, 2, 3, 4],
            [1, 2, 3, 0],
            [2, 0, 3, 4],
            [2, 3, 0, 4],
        ] {
            let a: Vec<T> = (0..batch * m * k).map(|_| make(&mut rng)).collect();
            let b: Vec<T> = (0..batch * k * n).map(|_| make(&mut rng)).collect();
            let want: Vec<T> = (0..batch * m * n)
                .map(|at| {
                    let (i, j) = (at / n, at % n);
                    let b = &b[i / m * k * n..];
                    (0..k).fold(T::default(), |sum, l| sum.plus(a[i * k + l].times(b[l * n + j])))
                })
                .collect();
            let c = Buffer::from_slice(&vec![0x7fu8; want.len() * ty.bytes()]);
            let buffers = [&Buffer::from_slice(&a), &Buffer::from_slice(&b), &c];
            let [a, b, to] = [0, 1, 2].map(|i| whole(i, buffers[i as usize]));
            let kernel = IntMatmul { ty, batch, m, n, k, a, b, c: to };
            run_each(&kernel, &buffers, |_| assert_eq!(c.to_vec::<T>(0..want.len()), want));
            assert_eq!(run_backwards(&kernel, &buffers), None);
            assert_eq!(c.to_vec::<T>(0..want.len()), want);
        }
    }

    #[test]
    fn products_wrap_around() {
        agrees::<i32>(Number::I32, |rng| rng.bits() as i32);
        agrees::<i32>(Number::I32, |rng| rng.below(512) as i32 - 256);
        agrees::<i64>(Number::I64, |rng| rng.bits() as i64);
    }

    #[test]
    fn check_refuses_what_does_not_fit() {
        let at = |i: u32, bytes: usize| Region::new(i, 16, bytes);
        let (a, b, c) = (at(0, 96), at(1, 160), at(2, 240));
        let kernel = IntMatmul { ty: Number::I64, batch: 1, m: 6, n: 5, k: 2, a, b, c };
        let kernel = IntMatmul { b: at(1, 80), ..kernel };
        refuses_short(&kernel, &[|k| &mut k.a, |k| &mut k.b, |k| &mut k.c]);
        assert!(IntMatmul { ty: Number::F32, ..kernel.clone() }.check().is_err());
        assert!(IntMatmul { c: at(0, 240), ..kernel.clone() }.check().is_err());
        assert!(IntMatmul { m: usize::MAX / 2, k: 0, ..kernel }.check().is_err());
    }
}
