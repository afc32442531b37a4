//! The place of the largest or smallest element along an axis.

use crate::bounds::{apart, holds, indexable, product};
use crate::kernel::{Kernel, Operand, Scratch};
use crate::memory::{Memory, Region};
use crate::real::{Num, Number, RunOn, per_isa};
use crate::simd::{Isa, isa};
use std::ops::Range;

/// Which element is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ArgKind {
    /// The largest.
    Max,
    /// The smallest.
    Min,
}

/// `y[o, i]` = the index k of the largest or smallest `x[o, k, i]`.
///
/// The first of several equal ones; the first NaN, if there is any. The axis must not be empty
/// unless there is no output.
#[derive(Clone, Debug, PartialEq)]
pub struct ArgReduce {
    /// Largest or smallest.
    pub kind: ArgKind,
    /// Element type of `x`.
    pub ty: Number,
    /// Product of the extents before the axis.
    pub outer: usize,
    /// Extent of the axis.
    pub axis: usize,
    /// Product of the extents after the axis.
    pub inner: usize,
    /// Input, `[outer, axis, inner]`.
    pub x: Region,
    /// Output, `[outer, inner]` of i32.
    pub y: Region,
}

/// Elements of one chunk, about.
const GRAIN: usize = 64 * 1024;

/// Most lines that lie side by side and are searched together.
const SIDE: usize = 128;

/// Elements of a long line that are searched side by side.
const WIDE: usize = 64;

/// The length from which that pays.
const LONG: usize = 128;

/// Whether `value` displaces `best`, found before it.
#[inline(always)]
#[allow(clippy::neg_cmp_op_on_partial_ord)] // A NaN is neither larger nor smaller, and wins.
fn wins<T: Num, const MIN: bool>(value: T, best: T) -> bool {
    let wins = if MIN { !(value >= best) } else { !(value <= best) };
    // No jump, which would be mispredicted.
    wins & !best.is_nan()
}

/// The more extreme of both.
#[inline(always)]
fn pick<T: Num, const MIN: bool>(a: T, b: T) -> T {
    if wins::<T, MIN>(b, a) { b } else { a }
}

/// The index of the extreme of one line: of a long one its value first, which takes vectors, then
/// its place.
#[inline(always)]
fn line<T: Num, const MIN: bool>(x: &[T]) -> i32 {
    if x.len() < LONG {
        let mut place = 0;
        for k in 1..x.len() {
            let won = wins::<T, MIN>(x[k], x[place]);
            // Selections would become jumps, mispredicted once or twice a line.
            place ^= (place ^ k) & usize::from(won).wrapping_neg();
        }
        return place as i32;
    }
    let mut best = [x[0]; WIDE];
    for x in x.chunks(WIDE) {
        for (best, &x) in best.iter_mut().zip(x) {
            *best = pick::<T, MIN>(*best, x);
        }
    }
    let mut width = WIDE / 2;
    while width > 0 {
        let (low, high) = best.split_at_mut(width);
        for (low, &high) in low.iter_mut().zip(&*high) {
            *low = pick::<T, MIN>(*low, high);
        }
        width /= 2;
    }
    // No element displaces the extreme; it displaces all but its equals.
    let equal = |&x: &T| !wins::<T, MIN>(best[0], x);
    let block = x.chunks(WIDE).position(|x| x.iter().fold(false, |any, x| any | equal(x)));
    let start = block.unwrap_or(0) * WIDE;
    (start + x[start..].iter().position(equal).unwrap_or(0)) as i32
}

/// The indices of the extremes of lines that lie side by side, `inner` elements from row to row.
#[inline(always)]
fn side<T: Num, const MIN: bool>(x: &[T], inner: usize, axis: usize, y: &mut [i32]) {
    let mut best = [T::default(); SIDE];
    let best = &mut best[..y.len()];
    best.copy_from_slice(&x[..y.len()]);
    y.fill(0);
    for k in 1..axis {
        let row = &x[k * inner..][..y.len()];
        for ((&x, best), y) in row.iter().zip(&mut *best).zip(&mut *y) {
            let won = wins::<T, MIN>(x, *best);
            *best = if won { x } else { *best };
            *y = if won { k as i32 } else { *y };
        }
    }
}

#[inline(always)]
fn search<T: Num, const MIN: bool>(a: &ArgReduce, x: &[T], out: Range<usize>, y: &mut [i32]) {
    let (axis, inner) = (a.axis, a.inner);
    if inner == 1 {
        let lines = x[out.start * axis..out.end * axis].chunks_exact(axis);
        lines.zip(y).for_each(|(x, y)| *y = line::<T, MIN>(x));
        return;
    }
    let mut at = out.start;
    while at < out.end {
        let (o, i) = (at / inner, at % inner);
        let len = (inner - i).min(SIDE).min(out.end - at);
        let x = &x[o * axis * inner + i..(o + 1) * axis * inner];
        side::<T, MIN>(x, inner, axis, &mut y[at - out.start..][..len]);
        at += len;
    }
}

#[inline(always)]
fn search_body<T: Num>(a: &ArgReduce, x: &[T], out: Range<usize>, y: &mut [i32]) {
    match a.kind {
        ArgKind::Max => search::<T, false>(a, x, out, y),
        ArgKind::Min => search::<T, true>(a, x, out, y),
    }
}

per_isa!(
    fn searched<T: Num>(a: &ArgReduce, x: &[T], out: Range<usize>, y: &mut [i32]) => search_body
);

impl ArgReduce {
    /// Outputs of one chunk.
    fn outputs_per_chunk(&self) -> usize {
        let each = GRAIN.div_ceil(self.axis.max(1));
        if self.inner == 1 { each } else { each.next_multiple_of(SIDE.min(self.inner.max(1))) }
    }

    unsafe fn run_as<T: Num>(&self, isa: Isa, chunk: usize, memory: &Memory) {
        let (each, all) = (self.outputs_per_chunk(), self.outer * self.inner);
        let out = (chunk * each).min(all)..((chunk + 1) * each).min(all);
        if out.is_empty() {
            return;
        }
        // SAFETY: `check` saw outer * axis * inner elements in x and outer * inner in y; the
        // outputs of chunks are disjoint.
        let (x, y) = unsafe { (memory.read::<T>(self.x), memory.write(self.y, out.clone())) };
        searched(isa, self, x, out, y);
    }
}

impl RunOn for ArgReduce {
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

impl Kernel for ArgReduce {
    fn name(&self) -> &'static str {
        match self.kind {
            ArgKind::Max => "argmax",
            ArgKind::Min => "argmin",
        }
    }

    fn operands(&self, visit: &mut dyn FnMut(Operand)) {
        visit(Operand::read(self.x));
        visit(Operand::write(self.y));
    }

    fn check(&self) -> Result<(), String> {
        indexable(self.axis)?;
        let elements = product(&[self.outer, self.axis, self.inner])?;
        let outputs = product(&[self.outer, self.inner])?;
        if self.axis == 0 && outputs > 0 {
            return Err(format!("{} of an empty axis", self.name()));
        }
        holds("argreduce x", self.x, elements, self.ty.bytes())?;
        holds("argreduce y", self.y, outputs, 4)?;
        apart(self)
    }

    fn chunks(&self) -> usize {
        (self.outer * self.inner).div_ceil(self.outputs_per_chunk()).max(1)
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

    fn expected<T: Num>(x: impl Iterator<Item = T>, kind: ArgKind) -> i32 {
        let mut best: Option<(usize, T)> = None;
        for (k, x) in x.enumerate() {
            let Some((_, top)) = best else {
                best = Some((k, x));
                continue;
            };
            let better = if kind == ArgKind::Max { x > top } else { x < top };
            if !top.is_nan() && (better || x.is_nan()) {
                best = Some((k, x));
            }
        }
        best.unwrap().0 as i32
    }

    fn agree<T: Num>(ty: Number, make: fn(&mut Rng, usize) -> Vec<T>) {
        let mut rng = Rng(41);
        for [outer, axis, inner] in [
            [1, 1, 1],
            [0, 3, 1],
            [2, 3, 0],
            [0, 0, 1],
            [64, 10, 1],
            [9, 33, 1],
            [9, 1000, 1],
            [3, 5, 7],
            [2, 20, 300],
            [2000, 50, 2],
            [1, 4, 70_000],
            [30_000, 3, 1],
        ] {
            let x = make(&mut rng, outer * axis * inner);
            let (x_in, y_out) = (Buffer::from_slice(&x), Buffer::zeroed(4 * outer * inner));
            for kind in [ArgKind::Max, ArgKind::Min] {
                let (xr, yr) = (whole(0, &x_in), whole(1, &y_out));
                let arg = ArgReduce { kind, ty, outer, axis, inner, x: xr, y: yr };
                let want: Vec<i32> = (0..outer * inner)
                    .map(|out| {
                        let at = |k| x[(out / inner * axis + k) * inner + out % inner];
                        expected((0..axis).map(at), kind)
                    })
                    .collect();
                run_each(&arg, &[&x_in, &y_out], |isa| {
                    assert_eq!(y_out.to_vec::<i32>(0..outer * inner), want, "{isa:?} {arg:?}");
                });
                run_backwards(&arg, &[&x_in, &y_out]);
                assert_eq!(y_out.to_vec::<i32>(0..outer * inner), want);
            }
        }
    }

    #[test]
    fn the_first_extreme_or_the_first_nan() {
        agree::<f32>(Number::F32, |rng, n| rng.coarse(n));
        agree::<f32>(Number::F32, |rng, n| rng.reals(n, 1.0));
        agree::<f64>(Number::F64, |rng, n| rng.coarse(n));
        agree::<i32>(Number::I32, |rng, n| (0..n).map(|_| rng.below(9) as i32 - 4).collect());
        agree::<i64>(Number::I64, |rng, n| (0..n).map(|_| rng.bits() as i64).collect());
        agree::<f32>(Number::F32, |_, n| vec![f32::NEG_INFINITY; n]);
    }

    #[test]
    fn check_refuses_what_does_not_fit() {
        let arg = ArgReduce {
            kind: ArgKind::Max,
            ty: Number::F64,
            outer: 2,
            axis: 3,
            inner: 4,
            x: Region::new(0, 8, 24 * 8),
            y: Region::new(1, 8, 8 * 4),
        };
        refuses_short(&arg, &[|a| &mut a.x, |a| &mut a.y]);
        assert!(ArgReduce { axis: 0, ..arg.clone() }.check().is_err());
        assert!(ArgReduce { y: arg.x, ..arg.clone() }.check().is_err());
        assert!(ArgReduce { axis: 1 << 32, outer: 0, ..arg }.check().is_err());
    }
}
