//! Storing at places that an operand names, over what is there, or over zeros.

use super::scatter::{Cut, Part};
use super::{check_sizes, place};
use crate::bounds::{apart, holds, product};
use crate::kernel::{Fault, Kernel, Operand, Scratch};
use crate::memory::{Memory, Plain, Region};
use crate::real::{Num, Number};

/// What happens to the element at a place, and its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Meeting {
    /// It becomes the new one, the last of several. Of elements of 1, 2, 4 or 8 bytes.
    Replace(usize),
    /// The new one is added.
    Add(Number),
    /// It is multiplied.
    Mul(Number),
    /// It becomes the larger of both; NaN if either is NaN.
    Max(Number),
    /// It becomes the smaller of both; NaN if either is NaN.
    Min(Number),
}

impl Meeting {
    /// Size of one element in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Meeting::Replace(bytes) => bytes,
            Meeting::Add(ty) | Meeting::Mul(ty) | Meeting::Max(ty) | Meeting::Min(ty) => ty.bytes(),
        }
    }
}

/// `dst = x`, but where indices point: `dst[o, index[o, j, i], i]` meets `src[o, j, i]`. Over zeros and with
/// [`Meeting::Add`] it is the gradient of [`GatherElements`](super::GatherElements).
///
/// Elements that meet at one place do so in the order of j, so the result does not depend on the
/// number of threads. An index outside `0..axis` is reported with its linear position, and its
/// element is left out.
#[derive(Clone, Debug, PartialEq)]
pub struct ScatterElements {
    /// What happens where an index points.
    pub meeting: Meeting,
    /// Product of the extents before the axis.
    pub outer: usize,
    /// Extent of the axis in `x` and `dst`.
    pub axis: usize,
    /// Extent of the axis in `index` and `src`.
    pub count: usize,
    /// Product of the extents after the axis.
    pub inner: usize,
    /// What is there before, `[outer, axis, inner]`; zeros if absent.
    pub x: Option<Region>,
    /// Indices, `[outer, count, inner]` of i32.
    pub index: Region,
    /// What is stored, `[outer, count, inner]`.
    pub src: Region,
    /// Output, `[outer, axis, inner]`.
    pub dst: Region,
}

impl ScatterElements {
    fn sizes(&self) -> [usize; 4] {
        [self.outer, self.axis, self.count, self.inner]
    }

    fn walk<T: Plain>(
        &self,
        Part { outers, places }: &Part,
        (index, src, dst): (&[i32], &[T], &mut [T]),
        fault: &Fault,
        meet: impl Fn(T, T) -> T,
    ) {
        let (inner, size) = (self.inner, self.count * self.inner);
        if size == 0 {
            return;
        }
        for (o, dst) in outers.clone().zip(dst.chunks_exact_mut(places.len() * inner)) {
            let rows = index[o * size..][..size].chunks_exact(inner);
            for (j, (index, src)) in rows.zip(src[o * size..].chunks_exact(inner)).enumerate() {
                for (i, (&k, &src)) in index.iter().zip(src).enumerate() {
                    let Some(k) = place(k, self.axis) else {
                        fault.report(o * size + j * inner + i, k.into());
                        continue;
                    };
                    if places.contains(&k) {
                        let dst = &mut dst[(k - places.start) * inner + i];
                        *dst = meet(*dst, src);
                    }
                }
            }
        }
    }

    unsafe fn run_as<T: Plain + Default>(
        &self,
        chunk: usize,
        memory: &Memory,
        fault: &Fault,
        meet: impl Fn(T, T) -> T,
    ) {
        let own = Cut::new(self.sizes(), 1).part(chunk, self.outer, self.axis);
        let part = own.elements(self.axis, self.inner);
        if part.is_empty() {
            return;
        }
        // SAFETY: `check` saw the sizes of all four; the parts of chunks are disjoint.
        let (x, index, src, dst) = unsafe {
            let (x, index) = (self.x.map(|x| memory.read::<T>(x)), memory.read(self.index));
            (x, index, memory.read::<T>(self.src), memory.write(self.dst, part.clone()))
        };
        match x {
            Some(x) => dst.copy_from_slice(&x[part]),
            None => dst.fill(T::default()),
        }
        self.walk(&own, (index, src, dst), fault, meet);
    }

    unsafe fn run_number<T: Num>(&self, chunk: usize, memory: &Memory, fault: &Fault) {
        // SAFETY: by contract.
        unsafe {
            match self.meeting {
                Meeting::Add(_) => self.run_as(chunk, memory, fault, T::plus),
                Meeting::Mul(_) => self.run_as(chunk, memory, fault, T::times),
                Meeting::Max(_) => self.run_as(chunk, memory, fault, larger::<T>),
                _ => self.run_as(chunk, memory, fault, smaller::<T>),
            }
        }
    }
}

fn larger<T: Num>(a: T, b: T) -> T {
    if a > b || a.is_nan() { a } else { b }
}

fn smaller<T: Num>(a: T, b: T) -> T {
    if a < b || a.is_nan() { a } else { b }
}

impl Kernel for ScatterElements {
    fn name(&self) -> &'static str {
        "scatter"
    }

    fn operands(&self, visit: &mut dyn FnMut(Operand)) {
        self.x.into_iter().for_each(|x| visit(Operand::read(x)));
        visit(Operand::read(self.index));
        visit(Operand::read(self.src));
        visit(Operand::write(self.dst));
    }

    fn check(&self) -> Result<(), String> {
        let bytes = self.meeting.bytes();
        let index = (self.index, product(&[self.outer, self.count, self.inner])?);
        check_sizes(self.sizes(), bytes, index, ("scatter dst", self.dst), ("src", self.src))?;
        let size = product(&[self.outer, self.axis, self.inner])?;
        self.x.map_or(Ok(()), |x| holds("scatter x", x, size, bytes))?;
        apart(self)
    }

    fn chunks(&self) -> usize {
        Cut::new(self.sizes(), 1).chunks(self.outer)
    }

    fn flops(&self) -> u64 {
        (self.outer * self.count * self.inner) as u64
    }

    unsafe fn run(&self, chunk: usize, memory: &Memory, scratch: &mut Scratch<'_>) {
        let fault = scratch.fault;
        // SAFETY: by contract; the element size is one of these.
        unsafe {
            match self.meeting {
                Meeting::Replace(1) => self.run_as(chunk, memory, fault, |_: u8, b| b),
                Meeting::Replace(2) => self.run_as(chunk, memory, fault, |_: u16, b| b),
                Meeting::Replace(4) => self.run_as(chunk, memory, fault, |_: u32, b| b),
                Meeting::Replace(_) => self.run_as(chunk, memory, fault, |_: u64, b| b),
                Meeting::Add(ty) | Meeting::Mul(ty) | Meeting::Max(ty) | Meeting::Min(ty) => {
                    match ty {
                        Number::F32 => self.run_number::<f32>(chunk, memory, fault),
                        Number::F64 => self.run_number::<f64>(chunk, memory, fault),
                        Number::I32 => self.run_number::<i32>(chunk, memory, fault),
                        Number::I64 => self.run_number::<i64>(chunk, memory, fault),
                    }
                }
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

    fn agrees<T: Num>(meeting: Meeting, meet: fn(T, T) -> T, make: fn(&mut Rng) -> T) {
        let mut rng = Rng(14);
        let shapes = [[1, 5, 7, 1], [2, 3, 4, 5], [1, 70_000, 50, 1], [400, 30, 20, 8]];
        for [outer, axis, count, inner] in
            shapes.into_iter().chain([[2, 40, 3000, 33], [2, 3, 0, 5], [0, 3, 4, 5], [1, 3, 4, 0]])
        {
            let (n, size) = (outer * count * inner, outer * axis * inner);
            let old: Vec<T> = (0..size).map(|_| make(&mut rng)).collect();
            let new: Vec<T> = (0..n).map(|_| make(&mut rng)).collect();
            let at: Vec<i32> = (0..n).map(|_| rng.below(axis) as i32).collect();
            let mut want = old.clone();
            for (e, (&k, &new)) in at.iter().zip(&new).enumerate() {
                let (o, i) = (e / (count * inner), e % inner);
                let want = &mut want[(o * axis + k as usize) * inner + i];
                *want = meet(*want, new);
            }
            let (x, index) = (Buffer::from_slice(&old), Buffer::from_slice(&at));
            let (src, dst) = (Buffer::from_slice(&new), Buffer::zeroed(size * size_of::<T>()));
            let buffers = [&x, &index, &src, &dst];
            let [x, index, src, to] = [0, 1, 2, 3].map(|i| whole(i, buffers[i as usize]));
            let kernel = ScatterElements {
                meeting,
                outer,
                axis,
                count,
                inner,
                x: Some(x),
                index,
                src,
                dst: to,
            };
            run_alone(&kernel, &buffers);
            assert_eq!(dst.to_vec::<T>(0..size), want, "{kernel:?}");
            assert_eq!(run_backwards(&kernel, &buffers), None);
            assert_eq!(dst.to_vec::<T>(0..size), want);
        }
    }

    #[test]
    fn what_meets_at_a_place_does_so_in_order() {
        agrees::<i64>(Meeting::Replace(8), |_, b| b, |rng| rng.bits() as i64);
        agrees::<i32>(Meeting::Replace(4), |_, b| b, |rng| rng.bits() as i32);
        agrees::<f32>(Meeting::Add(Number::F32), |a, b| a + b, |rng| rng.real() as f32);
        agrees::<f64>(Meeting::Mul(Number::F64), |a, b| a * b, |rng| rng.real());
        agrees::<f32>(Meeting::Max(Number::F32), f32::max, |rng| rng.real() as f32);
        agrees::<i64>(Meeting::Min(Number::I64), i64::min, |rng| rng.bits() as i64);
        agrees::<i32>(Meeting::Mul(Number::I32), i32::wrapping_mul, |rng| rng.bits() as i32);
    }

    #[test]
    fn an_index_out_of_range_is_reported_and_left_out() {
        let buffers = [
            &Buffer::from_slice(&[1u8, 2, 3]),
            &Buffer::from_slice(&[2, 3, -1, 0]),
            &Buffer::from_slice(&[7u8, 8, 9, 6]),
            &Buffer::zeroed(3),
        ];
        let [x, index, src, dst] = [0, 1, 2, 3].map(|i| whole(i, buffers[i as usize]));
        let meeting = Meeting::Replace(1);
        let (outer, axis, count, inner) = (1, 3, 4, 1);
        let x = Some(x);
        let kernel = ScatterElements { meeting, outer, axis, count, inner, x, index, src, dst };
        assert_eq!(run_backwards(&kernel, &buffers), Some((1, 3)));
        assert_eq!(buffers[3].to_vec::<u8>(0..3), [6, 2, 7]);
    }

    #[test]
    fn check_refuses_what_does_not_fit() {
        let at = |i: u32, bytes: usize| Region::new(i, 16, bytes);
        let kernel = ScatterElements {
            meeting: Meeting::Max(Number::F64),
            outer: 2,
            axis: 3,
            count: 4,
            inner: 5,
            x: Some(at(0, 240)),
            index: at(1, 160),
            src: at(2, 320),
            dst: at(3, 240),
        };
        refuses_short(
            &kernel,
            &[|k| k.x.as_mut().unwrap(), |k| &mut k.index, |k| &mut k.src, |k| &mut k.dst],
        );
        assert!(ScatterElements { dst: at(0, 240), ..kernel.clone() }.check().is_err());
        assert!(ScatterElements { meeting: Meeting::Replace(3), ..kernel }.check().is_err());
    }
}
