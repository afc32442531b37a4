//! Running sums along an axis.

use crate::bounds::{apart, holds, product};
use crate::kernel::{Kernel, Operand, Scratch};
use crate::memory::{Memory, Region};
use crate::real::{Num, Number, RunOn, per_isa};
use crate::simd::{Isa, isa};
use std::ops::Range;

/// `y[o, k, i] = sum of x[o, 0..=k, i]`, added one after the other.
///
/// With `exclusive` the element itself is left out (`0..k`), with `reverse` the sum runs from the
/// end. Sums of f32 are kept in f64 and rounded once an element, sums of i32 wrap around.
#[derive(Clone, Debug, PartialEq)]
pub struct CumSum {
    /// Element type.
    pub ty: Number,
    /// Product of the extents before the axis.
    pub outer: usize,
    /// Extent of the axis.
    pub axis: usize,
    /// Product of the extents after the axis.
    pub inner: usize,
    /// Whether the sum runs from the last element to the first.
    pub reverse: bool,
    /// Whether an element is left out of its own sum.
    pub exclusive: bool,
    /// Input, `[outer, axis, inner]`.
    pub x: Region,
    /// Output, `[outer, axis, inner]`.
    pub y: Region,
}

/// Elements of one chunk, about.
const GRAIN: usize = 32 * 1024;

/// Most lines that lie side by side and are added together; their sums stay in the cache.
const SIDE: usize = 256;

/// Adds one row of `x` to the running sums and writes them, before or after, to `y`.
#[inline(always)]
fn step_body<T: Num>(x: &[T], sums: &mut [T::Sum], y: &mut [T], exclusive: bool) {
    if exclusive {
        for ((&x, sum), y) in x.iter().zip(sums).zip(y) {
            *y = T::round(*sum);
            *sum = x.add_to(*sum);
        }
    } else {
        for ((&x, sum), y) in x.iter().zip(sums).zip(y) {
            *sum = x.add_to(*sum);
            *y = T::round(*sum);
        }
    }
}

per_isa!(
    fn step<T: Num>(x: &[T], sums: &mut [T::Sum], y: &mut [T], exclusive: bool) => step_body
);

/// A single line.
fn line<T: Num>(x: &[T], y: &mut [T], reverse: bool, exclusive: bool) {
    let mut sum = T::Sum::default();
    let mut next = |(&x, y): (&T, &mut T)| {
        let before = sum;
        sum = x.add_to(sum);
        *y = T::round(if exclusive { before } else { sum });
    };
    let pairs = x.iter().zip(y);
    if reverse { pairs.rev().for_each(&mut next) } else { pairs.for_each(&mut next) }
}

impl CumSum {
    /// Blocks of lines that lie side by side, for each outer number.
    fn blocks(&self) -> usize {
        self.inner.div_ceil(SIDE)
    }

    fn blocks_per_chunk(&self) -> usize {
        GRAIN.div_ceil((self.axis * self.inner.min(SIDE)).max(1))
    }

    /// Lines `side` of outer number `o`.
    unsafe fn block<T: Num>(&self, isa: Isa, o: usize, side: Range<usize>, memory: &Memory) {
        let mut sums = [T::Sum::default(); SIDE];
        let start = o * self.axis * self.inner;
        for k in 0..self.axis {
            let k = if self.reverse { self.axis - 1 - k } else { k };
            let row = start + k * self.inner;
            let part = row + side.start..row + side.end;
            // SAFETY: `check` saw outer * axis * inner elements in both, and the part of a row
            // belongs to this block alone.
            let (x, y) = unsafe { (memory.read::<T>(self.x), memory.write(self.y, part.clone())) };
            step(isa, &x[part], &mut sums[..side.len()], y, self.exclusive);
        }
    }

    unsafe fn run_as<T: Num>(&self, isa: Isa, chunk: usize, memory: &Memory) {
        let (each, all) = (self.blocks_per_chunk(), self.outer * self.blocks());
        for block in (chunk * each).min(all)..((chunk + 1) * each).min(all) {
            let (o, side) = (block / self.blocks(), block % self.blocks() * SIDE);
            // SAFETY: by contract; see `block`.
            unsafe {
                if self.inner == 1 {
                    let part = o * self.axis..(o + 1) * self.axis;
                    let x = &memory.read::<T>(self.x)[part.clone()];
                    line(x, memory.write(self.y, part), self.reverse, self.exclusive);
                } else {
                    self.block::<T>(isa, o, side..(side + SIDE).min(self.inner), memory);
                }
            }
        }
    }
}

impl RunOn for CumSum {
    unsafe fn run_on(&self, isa: Isa, chunk: usize, memory: &Memory, _: &mut Scratch<'_>) {
        // SAFETY: by contract.
        unsafe {
            match self.ty {
                Number::F32 => self.run_as::<f32>(isa, chunk, memory),
                Number::F64 => self.run_as::<f64>(isa, chunk, memory),
                Number::I32 => self.run_as::<i32>(isa, chunk, memory),
                Number::I64 => self.run_as::<i64>(isa, chunk, memory),
            }
        }
    }
}

impl Kernel for CumSum {
    fn name(&self) -> &'static str {
        "cumsum"
    }

    fn operands(&self, visit: &mut dyn FnMut(Operand)) {
        visit(Operand::read(self.x));
        visit(Operand::write(self.y));
    }

    fn check(&self) -> Result<(), String> {
        let elements = product(&[self.outer, self.axis, self.inner])?;
        holds("cumsum x", self.x, elements, self.ty.bytes())?;
        holds("cumsum y", self.y, elements, self.ty.bytes())?;
        apart(self)
    }

    fn chunks(&self) -> usize {
        (self.outer * self.blocks()).div_ceil(self.blocks_per_chunk()).max(1)
    }

    fn flops(&self) -> u64 {
        (self.outer * self.axis * self.inner) as u64
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

    fn agree<T: Num>(ty: Number, make: fn(&mut Rng) -> T) {
        let mut rng = Rng(31);
        for [outer, axis, inner] in [
            [1, 1, 1],
            [2, 0, 3],
            [0, 3, 2],
            [2, 3, 0],
            [1, 100, 1],
            [7, 13, 1],
            [3, 5, 7],
            [2, 40, 300],
            [1, 9, 9000],
            [3000, 30, 1],
        ] {
            let n = outer * axis * inner;
            let x: Vec<T> = (0..n).map(|_| make(&mut rng)).collect();
            let (x_in, y_out) = (Buffer::from_slice(&x), Buffer::zeroed(n * ty.bytes()));
            for (reverse, exclusive) in [(false, false), (true, false), (false, true), (true, true)]
            {
                let (xr, yr) = (whole(0, &x_in), whole(1, &y_out));
                let scan = CumSum { ty, outer, axis, inner, reverse, exclusive, x: xr, y: yr };
                let mut want = vec![T::default(); n];
                for line in 0..outer * inner {
                    let mut sum = T::Sum::default();
                    for k in 0..axis {
                        let k = if reverse { axis - 1 - k } else { k };
                        let at = (line / inner * axis + k) * inner + line % inner;
                        let before = sum;
                        sum = x[at].add_to(sum);
                        want[at] = T::round(if exclusive { before } else { sum });
                    }
                }
                run_each(&scan, &[&x_in, &y_out], |isa| {
                    assert_eq!(y_out.to_vec::<T>(0..n), want, "{isa:?} {scan:?}");
                });
                run_backwards(&scan, &[&x_in, &y_out]);
                assert_eq!(y_out.to_vec::<T>(0..n), want);
            }
        }
    }

    #[test]
    fn agrees_with_adding_one_by_one() {
        agree::<f32>(Number::F32, |rng| rng.real() as f32);
        agree::<f64>(Number::F64, |rng| rng.real());
        agree::<i32>(Number::I32, |rng| rng.bits() as i32);
        agree::<i64>(Number::I64, |rng| rng.bits() as i64);
    }

    #[test]
    fn long_sums_of_f32_stay_exact() {
        let n = 1_000_000;
        let (x, y) = (Buffer::from_slice(&vec![0.1f32; n]), Buffer::zeroed(4 * n));
        let scan = CumSum {
            ty: Number::F32,
            outer: 1,
            axis: n,
            inner: 1,
            reverse: false,
            exclusive: false,
            x: whole(0, &x),
            y: whole(1, &y),
        };
        run_each(&scan, &[&x, &y], |_| {
            let last = y.to_vec::<f32>(n - 1..n)[0];
            assert_eq!(last, (f64::from(0.1f32) * n as f64) as f32);
        });
    }

    #[test]
    fn check_refuses_what_does_not_fit() {
        let at = |i| Region::new(i, 8, 24 * 8);
        let scan = CumSum {
            ty: Number::F64,
            outer: 2,
            axis: 3,
            inner: 4,
            reverse: false,
            exclusive: false,
            x: at(0),
            y: at(1),
        };
        refuses_short(&scan, &[|s| &mut s.x, |s| &mut s.y]);
        assert!(CumSum { y: at(0), ..scan.clone() }.check().is_err());
        assert!(CumSum { inner: usize::MAX, outer: 0, ..scan }.check().is_err());
    }
}
