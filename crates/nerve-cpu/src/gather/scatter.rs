//! Adding at places that an operand names: the gradients of gathering.
//!
//! Every chunk owns some elements of the output and walks the list of indices, in order, for those
//! that fall into its part: sums are added in the order of the list whoever runs the chunk, and no
//! two threads write one element.

use super::{check_sizes, place};
use crate::bounds::apart;
use crate::kernel::{Fault, Kernel, Operand, Scratch};
use crate::memory::{Memory, Region};
use crate::real::{Num, Number, RunOn, per_isa};
use crate::simd::{Isa, isa};
use std::ops::Range;

/// `dst[o, index[j], i] = sum over j of src[o, j, i]`, and 0 where no index points.
///
/// An index outside `0..axis` is reported with its position j, and its elements are left out.
#[derive(Clone, Debug, PartialEq)]
pub struct ScatterAdd {
    /// Element type of `src` and `dst`.
    pub ty: Number,
    /// Product of the extents before the axis.
    pub outer: usize,
    /// Extent of the axis in `dst`.
    pub axis: usize,
    /// Number of indices.
    pub count: usize,
    /// Product of the extents after the axis.
    pub inner: usize,
    /// Indices, `[count]` of i32.
    pub index: Region,
    /// What is added, `[outer, count, inner]`.
    pub src: Region,
    /// Output, `[outer, axis, inner]`; what it held before does not matter.
    pub dst: Region,
}

/// Elements read or written by one chunk, about.
const GRAIN: usize = 32 * 1024;

/// Most parts that an axis is cut into. Each part walks all indices, which is cheap beside the
/// adding only where an index stands for many elements.
const PARTS: usize = 16;
const PARTS_OF_FEW: usize = 4;

/// Elements for each index, below which the walk is not cheap.
const FEW: usize = 16;

/// Chunks that are enough for any number of threads.
const WANTED: usize = 32;

/// How `[outer, axis, inner]` falls into chunks: several outer numbers, or a part of the axis.
pub(super) struct Cut {
    outers: usize,
    places: usize,
    parts: usize,
}

impl Cut {
    /// `each`: elements for each index.
    pub(super) fn new([outer, axis, count, inner]: [usize; 4], each: usize) -> Self {
        let work = (axis + count) * inner;
        if work < GRAIN || axis <= 1 {
            return Cut { outers: GRAIN.div_ceil(work.max(1)), places: axis, parts: 1 };
        }
        let most = if each < FEW { PARTS_OF_FEW } else { PARTS };
        let wanted = (work / GRAIN).min(WANTED.div_ceil(outer.max(1)));
        let parts = wanted.min(most).clamp(1, axis);
        let places = axis.div_ceil(parts);
        Cut { outers: 1, places, parts: axis.div_ceil(places) }
    }

    pub(super) fn chunks(&self, outer: usize) -> usize {
        (outer.div_ceil(self.outers) * self.parts).max(1)
    }

    pub(super) fn part(&self, chunk: usize, outer: usize, axis: usize) -> Part {
        let (group, part) = (chunk / self.parts, chunk % self.parts);
        let outers = (group * self.outers).min(outer)..((group + 1) * self.outers).min(outer);
        Part { outers, places: part * self.places..((part + 1) * self.places).min(axis) }
    }
}

/// The elements of the output that a chunk owns.
pub(super) struct Part {
    pub(super) outers: Range<usize>,
    pub(super) places: Range<usize>,
}

impl Part {
    /// Those elements. More than one outer number goes with all of the axis, so they are one
    /// stretch.
    pub(super) fn elements(&self, axis: usize, inner: usize) -> Range<usize> {
        let start = (self.outers.start * axis + self.places.start) * inner;
        start..start + self.outers.len() * self.places.len() * inner
    }
}

#[inline(always)]
fn scatter_body<T: Num>(
    s: &ScatterAdd,
    Part { outers, places }: &Part,
    index: &[i32],
    src: &[T],
    dst: &mut [T],
    fault: &Fault,
) {
    let inner = s.inner;
    dst.fill(T::default());
    for (o, dst) in outers.clone().zip(dst.chunks_exact_mut(places.len() * inner)) {
        let rows = src[o * s.count * inner..].chunks_exact(inner);
        for (j, (&k, src)) in index[..s.count].iter().zip(rows).enumerate() {
            let Some(k) = place(k, s.axis) else {
                fault.report(j, k.into());
                continue;
            };
            if places.contains(&k) {
                let dst = &mut dst[(k - places.start) * inner..][..inner];
                for (dst, &src) in dst.iter_mut().zip(src) {
                    *dst = dst.plus(src);
                }
            }
        }
    }
}

per_isa!(
    fn scatter<T: Num>(s: &ScatterAdd, part: &Part, index: &[i32], src: &[T], dst: &mut [T], fault: &Fault) => scatter_body
);
impl ScatterAdd {
    fn sizes(&self) -> [usize; 4] {
        [self.outer, self.axis, self.count, self.inner]
    }

    fn cut(&self) -> Cut {
        Cut::new(self.sizes(), self.inner)
    }

    unsafe fn run_as<T: Num>(&self, isa: Isa, chunk: usize, memory: &Memory, fault: &Fault) {
        let own = self.cut().part(chunk, self.outer, self.axis);
        let part = own.elements(self.axis, self.inner);
        if part.is_empty() {
            return;
        }
        // SAFETY: `check` saw the sizes of all three; the parts of chunks are disjoint.
        let (index, src, dst) = unsafe {
            let (index, src) = (memory.read(self.index), memory.read::<T>(self.src));
            (index, src, memory.write(self.dst, part))
        };
        scatter(isa, self, &own, index, src, dst, fault);
    }
}

impl RunOn for ScatterAdd {
    unsafe fn run_on(&self, isa: Isa, chunk: usize, memory: &Memory, scratch: &mut Scratch<'_>) {
        // SAFETY: by contract.
        unsafe {
            match self.ty {
                Number::F32 => self.run_as::<f32>(isa, chunk, memory, scratch.fault),
                Number::F64 => self.run_as::<f64>(isa, chunk, memory, scratch.fault),
                Number::I32 => self.run_as::<i32>(isa, chunk, memory, scratch.fault),
                Number::I64 => self.run_as::<i64>(isa, chunk, memory, scratch.fault),
            }
        }
    }
}

impl Kernel for ScatterAdd {
    fn name(&self) -> &'static str {
        "scatter_add"
    }

    fn operands(&self, visit: &mut dyn FnMut(Operand)) {
        visit(Operand::read(self.index));
        visit(Operand::read(self.src));
        visit(Operand::write(self.dst));
    }

    fn check(&self) -> Result<(), String> {
        let index = (self.index, self.count);
        let (src, dst) = (("scatter_add src", self.src), ("scatter_add dst", self.dst));
        check_sizes(self.sizes(), self.ty.bytes(), index, dst, src)?;
        apart(self)
    }

    fn chunks(&self) -> usize {
        self.cut().chunks(self.outer)
    }

    fn flops(&self) -> u64 {
        (self.outer * self.count * self.inner) as u64
    }

    unsafe fn run(&self, chunk: usize, memory: &Memory, scratch: &mut Scratch<'_>) {
        // SAFETY: by contract.
        unsafe { self.run_on(isa(), chunk, memory, scratch) }
    }
}
