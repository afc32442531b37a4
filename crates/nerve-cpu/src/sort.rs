//! Stable sorting along an axis.

use crate::bounds::{apart, holds, indexable, product};
use crate::kernel::{Kernel, Operand, Scratch};
use crate::memory::{Memory, Region};
use crate::real::{Num, Number};

/// Sorts each line along the axis: its values, the places they came from, or both.
///
/// NaN counts as the greatest value: last when ascending, first when descending. Equal values (all
/// NaN among themselves, and -0 and 0) stay in the order in which they were.
#[derive(Clone, Debug, PartialEq)]
pub struct Sort {
    /// Element type of `x` and `values`.
    pub ty: Number,
    /// Product of the extents before the axis.
    pub outer: usize,
    /// Extent of the axis.
    pub axis: usize,
    /// Product of the extents after the axis.
    pub inner: usize,
    /// Whether the greatest come first.
    pub descending: bool,
    /// Input, `[outer, axis, inner]`.
    pub x: Region,
    /// Output: the sorted values, `[outer, axis, inner]`.
    pub values: Option<Region>,
    /// Output: for each sorted value its index on the axis of `x`, `[outer, axis, inner]` of i32.
    pub indices: Option<Region>,
}

/// Elements that one chunk sorts, about.
const GRAIN: usize = 8 * 1024;

/// A number as an unsigned integer of the same order.
trait Key: Num {
    fn key(self) -> u64;
}

impl Key for f32 {
    #[inline(always)]
    fn key(self) -> u64 {
        if self.is_nan() {
            return u32::MAX.into();
        }
        // Adding 0 makes -0 into 0. Negative numbers order backwards by their bits.
        let bits = (self + 0.0).to_bits();
        let flip = if bits >> 31 == 1 { u32::MAX } else { 1 << 31 };
        (bits ^ flip).into()
    }
}

impl Key for f64 {
    #[inline(always)]
    fn key(self) -> u64 {
        if self.is_nan() {
            return u64::MAX;
        }
        let bits = (self + 0.0).to_bits();
        bits ^ if bits >> 63 == 1 { u64::MAX } else { 1 << 63 }
    }
}

impl Key for i32 {
    #[inline(always)]
    fn key(self) -> u64 {
        (self as u32 ^ (1 << 31)).into()
    }
}

impl Key for i64 {
    #[inline(always)]
    fn key(self) -> u64 {
        self as u64 ^ (1 << 63)
    }
}

impl Sort {
    fn lines_per_chunk(&self) -> usize {
        GRAIN.div_ceil(self.axis.max(1))
    }

    /// Orders one line: fills `order`, two words for each element, the second of each pair being
    /// the index (in the pair form) or the lower half of a single word.
    ///
    /// The index is part of what is compared, which makes an unstable sort stable.
    #[inline(always)]
    fn order<T: Key>(
        &self,
        line: impl Fn(usize) -> T,
        order: &mut [u64],
        mut each: impl FnMut(usize, usize),
    ) {
        if size_of::<T>() == 4 {
            let order = &mut order[..self.axis];
            let flip = if self.descending { u32::MAX.into() } else { 0 };
            for (k, order) in order.iter_mut().enumerate() {
                *order = (line(k).key() ^ flip) << 32 | k as u64;
            }
            order.sort_unstable();
            order.iter().enumerate().for_each(|(j, &o)| each(j, o as u32 as usize));
        } else {
            let order = &mut order.as_chunks_mut::<2>().0[..self.axis];
            let flip = if self.descending { u64::MAX } else { 0 };
            for (k, order) in order.iter_mut().enumerate() {
                *order = [line(k).key() ^ flip, k as u64];
            }
            order.sort_unstable();
            order.iter().enumerate().for_each(|(j, o)| each(j, o[1] as usize));
        }
    }

    unsafe fn run_as<T: Key>(&self, chunk: usize, memory: &Memory, scratch: &mut Scratch<'_>) {
        let (axis, inner, each) = (self.axis, self.inner, self.lines_per_chunk());
        let lines = self.outer * inner;
        if axis == 0 {
            return;
        }
        let order = scratch.slice::<u64>(2 * axis);
        for line in (chunk * each).min(lines)..((chunk + 1) * each).min(lines) {
            let start = line / inner * axis * inner + line % inner;
            // SAFETY: `check` saw outer * axis * inner elements in each region, and
            // start + k * inner is one of them. Lines of different chunks have none in common, and
            // since they interleave, the outputs are written through pointers, not slices.
            unsafe {
                let x = memory.ptr::<T>(self.x).add(start);
                let values = self.values.map(|v| memory.ptr::<T>(v).add(start));
                let indices = self.indices.map(|i| memory.ptr::<i32>(i).add(start));
                self.order(
                    |k| *x.add(k * inner),
                    order,
                    |j, k| {
                        if let Some(values) = values {
                            *values.add(j * inner) = *x.add(k * inner);
                        }
                        if let Some(indices) = indices {
                            *indices.add(j * inner) = k as i32;
                        }
                    },
                );
            }
        }
    }
}

impl Kernel for Sort {
    fn name(&self) -> &'static str {
        "sort"
    }

    fn operands(&self, visit: &mut dyn FnMut(Operand)) {
        visit(Operand::read(self.x));
        for output in [self.values, self.indices].into_iter().flatten() {
            visit(Operand::write(output));
        }
    }

    fn check(&self) -> Result<(), String> {
        indexable(self.axis)?;
        let elements = product(&[self.outer, self.axis, self.inner])?;
        holds("sort x", self.x, elements, self.ty.bytes())?;
        if let Some(values) = self.values {
            holds("sort values", values, elements, self.ty.bytes())?;
        }
        if let Some(indices) = self.indices {
            holds("sort indices", indices, elements, 4)?;
        }
        apart(self)
    }

    fn chunks(&self) -> usize {
        (self.outer * self.inner).div_ceil(self.lines_per_chunk()).max(1)
    }

    fn flops(&self) -> u64 {
        let depth = usize::BITS - self.axis.leading_zeros();
        4 * (self.outer * self.axis * self.inner) as u64 * u64::from(depth)
    }

    fn scratch_bytes(&self) -> usize {
        2 * self.axis * size_of::<u64>()
    }

    unsafe fn run(&self, chunk: usize, memory: &Memory, scratch: &mut Scratch<'_>) {
        // SAFETY: by contract.
        unsafe {
            match self.ty {
                Number::F32 => self.run_as::<f32>(chunk, memory, scratch),
                Number::F64 => self.run_as::<f64>(chunk, memory, scratch),
                Number::I32 => self.run_as::<i32>(chunk, memory, scratch),
                Number::I64 => self.run_as::<i64>(chunk, memory, scratch),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::run_alone;
    use crate::memory::Buffer;
    use crate::real::testing::{Rng, refuses_short, run_backwards, whole};
    use std::cmp::Ordering;

    /// The order wanted: by value, NaN greatest, ties left as they are.
    fn compare<T: Num>(a: T, b: T) -> Ordering {
        match (a.is_nan(), b.is_nan()) {
            (false, false) => a.partial_cmp(&b).unwrap(),
            (a, b) => a.cmp(&b),
        }
    }

    fn agree<T: Num>(ty: Number, make: fn(&mut Rng, usize) -> Vec<T>) {
        let mut rng = Rng(21);
        for [outer, axis, inner] in [
            [1, 1, 1],
            [1, 0, 3],
            [0, 4, 2],
            [1, 40, 1],
            [5, 17, 1],
            [3, 9, 7],
            [2, 300, 5],
            [900, 25, 1],
            [1, 30_000, 1],
        ] {
            let n = outer * axis * inner;
            let x = make(&mut rng, n);
            let buffers =
                [Buffer::from_slice(&x), Buffer::zeroed(n * ty.bytes()), Buffer::zeroed(n * 4)];
            let [x_in, values, indices] = &buffers;
            for descending in [false, true] {
                let mut sort = Sort {
                    ty,
                    outer,
                    axis,
                    inner,
                    descending,
                    x: whole(0, x_in),
                    values: Some(whole(1, values)),
                    indices: Some(whole(2, indices)),
                };
                assert_eq!(run_backwards(&sort, &[x_in, values, indices]), None);
                let (v, i) = (values.to_vec::<T>(0..n), indices.to_vec::<i32>(0..n));
                for line in 0..outer * inner {
                    let at = |k| line / inner * axis * inner + k * inner + line % inner;
                    let mut want: Vec<usize> = (0..axis).collect();
                    want.sort_by(|&a, &b| {
                        let order = compare(x[at(a)], x[at(b)]);
                        if descending { order.reverse() } else { order }
                    });
                    for (j, k) in want.into_iter().enumerate() {
                        assert_eq!(i[at(j)], k as i32, "{sort:?} line {line} place {j}");
                        let (v, x) = (v[at(j)], x[at(k)]);
                        assert!(v == x || (v.is_nan() && x.is_nan()));
                    }
                }
                (sort.values, sort.indices) = (None, Some(whole(1, values)));
                if ty != Number::F64 {
                    run_alone(&sort, &[x_in, values]);
                    assert_eq!(values.to_vec::<i32>(0..n), i);
                }
            }
        }
    }

    #[test]
    fn sorts_stably_with_nan_as_the_greatest() {
        agree::<f32>(Number::F32, |rng, n| rng.coarse(n));
        agree::<f32>(Number::F32, |rng, n| rng.reals(n, 1e3));
        agree::<f64>(Number::F64, |rng, n| rng.coarse(n));
        agree::<f64>(Number::F64, |rng, n| rng.reals(n, 1e300));
        agree::<i32>(Number::I32, |rng, n| (0..n).map(|_| rng.bits() as i32).collect());
        agree::<i64>(Number::I64, |rng, n| (0..n).map(|_| rng.bits() as i64).collect());
        agree::<i64>(Number::I64, |rng, n| (0..n).map(|_| rng.below(5) as i64 - 2).collect());
        agree::<i32>(Number::I32, |rng, n| (0..n).map(|_| rng.below(5) as i32 - 2).collect());
    }

    #[test]
    fn a_zero_keeps_its_sign() {
        let x = Buffer::from_slice(&[0.0f32, -0.0, -1.0]);
        let y = Buffer::zeroed(12);
        let sort = Sort {
            ty: Number::F32,
            outer: 1,
            axis: 3,
            inner: 1,
            descending: false,
            x: whole(0, &x),
            values: Some(whole(1, &y)),
            indices: None,
        };
        run_alone(&sort, &[&x, &y]);
        let y: Vec<u32> = y.to_vec(0..3);
        assert_eq!(y, [-1.0f32, 0.0, -0.0].map(f32::to_bits));
    }

    #[test]
    fn check_refuses_what_does_not_fit() {
        let sort = Sort {
            ty: Number::F64,
            outer: 2,
            axis: 3,
            inner: 4,
            descending: true,
            x: Region::new(0, 8, 192),
            values: Some(Region::new(1, 8, 192)),
            indices: Some(Region::new(2, 8, 96)),
        };
        refuses_short(
            &sort,
            &[|s| &mut s.x, |s| s.values.as_mut().unwrap(), |s| s.indices.as_mut().unwrap()],
        );
        assert!(Sort { values: Some(sort.x), ..sort.clone() }.check().is_err());
        assert!(Sort { indices: sort.values, ..sort.clone() }.check().is_err());
        assert!(Sort { axis: 1 << 31, outer: 0, ..sort.clone() }.check().is_err());
        assert!(Sort { inner: usize::MAX, ..sort }.check().is_err());
    }
}
