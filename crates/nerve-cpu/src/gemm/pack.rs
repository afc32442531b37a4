//! Packing: copying a block of a matrix into the order in which the micro-kernel walks it.

use super::drive::piece;
use super::tile::{Kernels, Scalar};
use crate::bounds;
use crate::kernel::{Float, Kernel, Operand, Precision, Scratch};
use crate::memory::{Memory, Region};
use crate::simd::{Isa, Prefetch, Vector, prefetch};
use std::ops::Range;

/// Copies `depth` steps of `columns` values into a panel: step `d` becomes `width` values at
/// `to + d * width`, zero beyond the columns.
pub(crate) struct Pack<T> {
    pub from: *const T,
    /// Elements between the steps, if the columns lie side by side; else between the columns.
    pub stride: usize,
    pub depth: usize,
    pub columns: usize,
    pub to: *mut T,
    pub width: usize,
}

/// Rows that are asked for before they are copied. They may lie a page apart, where the processor
/// does not see the next one coming.
pub(crate) const AHEAD: usize = 2 * STEPS;

/// `to[d, c] = from[d * stride + c]`.
///
/// # Safety
/// The instruction set of `V`; all that is named may be read or written.
#[inline(always)]
pub(crate) unsafe fn pack_rows<V: Vector>(p: &Pack<V::Elem>) {
    let full = p.columns / V::LANES;
    // SAFETY: the caller's promise; the masks keep to the columns and to the width.
    unsafe {
        let there = V::mask(p.columns - full * V::LANES);
        let wanted = V::mask((p.width - full * V::LANES).min(V::LANES));
        for d in 0..p.depth {
            let from = p.from.add(d * p.stride);
            let to = p.to.add(d * p.width);
            let ahead = from.wrapping_add(AHEAD * p.stride);
            let soon = to.wrapping_add(AHEAD * p.width);
            for v in 0..p.width.div_ceil(V::LANES) {
                prefetch::<{ Prefetch::FAR }, _>(ahead.wrapping_add(v * V::LANES));
                prefetch::<{ Prefetch::WRITE }, _>(soon.wrapping_add(v * V::LANES));
            }
            for v in 0..full {
                V::load(from.add(v * V::LANES)).store(to.add(v * V::LANES));
            }
            if full * V::LANES < p.width {
                let tail = V::load_masked(from.add(full * V::LANES), there);
                tail.store_masked(to.add(full * V::LANES), wanted);
            }
        }
    }
}

/// `to[d, c] = from[c * stride + d]`.
///
/// # Safety
/// As [`pack_rows`].
#[inline(always)]
pub(crate) unsafe fn pack_columns<V: Vector>(p: &Pack<V::Elem>) {
    for d in (0..p.depth).step_by(V::LANES) {
        let steps = (p.depth - d).min(V::LANES);
        for c in (0..p.width).step_by(V::LANES) {
            let there = p.columns.saturating_sub(c).min(V::LANES);
            let wanted = (p.width - c).min(V::LANES);
            // SAFETY: the block lies inside what the caller promised.
            unsafe {
                let from = p.from.wrapping_add(c * p.stride + d);
                let to = p.to.add(d * p.width + c);
                V::transpose(from, p.stride, [there, steps], to, p.width, wanted);
            }
        }
    }
}

/// Copies the right-hand matrix of a [`Gemm`](super::Gemm) into panels, once for all its chunks.
/// Made by [`Gemm::pack_instruction`](super::Gemm::pack_instruction).
///
/// Panel `p` holds `width` columns, one step of the depth after the other; the last panel is only
/// as many vectors wide as it needs. The panels of a matrix follow each other, and so do the
/// matrices of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct PackB {
    /// Type of the elements.
    pub ty: Float,
    /// Rows of the matrix: steps of the depth.
    pub k: usize,
    /// Columns of the matrix.
    pub n: usize,
    /// Number of matrices.
    pub batch: usize,
    /// Elements between rows and between columns. One of them is 1.
    pub strides: [usize; 2],
    /// Elements between matrices.
    pub batch_stride: usize,
    /// Width of a panel in vectors of `isa`.
    pub width: usize,
    /// How exactly.
    pub precision: Precision,
    /// The matrix.
    pub from: Region,
    /// The panels.
    pub to: Region,
    /// Whose vectors.
    pub isa: Isa,
}

/// Steps of the depth that are packed into one panel before the next panel gets its share, where
/// rows lie side by side. Few enough for the L1 cache even if the rows are a page apart.
pub(crate) const STEPS: usize = 8;
/// Panels that are filled together from the same rows.
const GROUP: usize = 16;
/// Elements that one chunk packs, about.
const CHUNK: usize = 32 * 1024;

impl PackB {
    fn lanes(&self) -> usize {
        lanes(self.ty, self.isa)
    }

    /// Groups of panels, and stretches of the depth, of one matrix. Together the chunks.
    fn split(&self) -> [usize; 2] {
        let wide = self.width * self.lanes();
        let groups = self.n.div_ceil(wide * GROUP).max(1);
        let steps = (CHUNK / self.n.clamp(1, wide * GROUP)).max(STEPS);
        [groups, self.k.div_ceil(steps).max(1)]
    }

    unsafe fn run_typed<T: Scalar>(&self, chunk: usize, memory: &Memory) {
        let [groups, stretches] = self.split();
        let kernels = T::kernels_for(self.isa, self.precision);
        let (chunk, stretch) = (chunk / stretches, chunk % stretches);
        let (item, group) = (chunk / groups, chunk % groups);
        let wide = self.width * self.lanes();
        let panels = piece(self.n.div_ceil(wide), groups, group);
        let depth = piece(self.k.div_ceil(kernels.pair), stretches, stretch);
        // Columns are long: each panel takes them whole. Rows are shared, a few steps at a time.
        let steps = if self.strides[1] == 1 { STEPS } else { depth.len().max(1) };
        for start in depth.clone().step_by(steps) {
            for panel in panels.clone() {
                // SAFETY: the caller's promise.
                unsafe {
                    self.pack(kernels, item, panel, start..depth.end.min(start + steps), memory)
                };
            }
        }
    }

    /// Packs a stretch of the depth, in steps of a tile, into one panel.
    unsafe fn pack<T: Scalar>(
        &self,
        kernels: &Kernels<T>,
        item: usize,
        panel: usize,
        depth: Range<usize>,
        memory: &Memory,
    ) {
        let elements = kernels.elements(&depth, self.k);
        let first = panel * self.width * kernels.lanes;
        let columns = (self.width * kernels.lanes).min(self.n - first);
        let width = columns.next_multiple_of(kernels.lanes);
        let padded = self.n.next_multiple_of(kernels.lanes);
        let [row, column] = self.strides;
        let (pack, stride) = match column {
            1 => (kernels.pack_rows, row),
            _ => (kernels.pack_columns, column),
        };
        // SAFETY: `check` held the matrix and the panels against their regions; panels, and
        // stretches of one panel, are disjoint.
        unsafe {
            let from = memory.ptr::<T>(self.from).add(item * self.batch_stride);
            let steps = self.k.div_ceil(kernels.pair);
            let to = memory.ptr::<T>(self.to).add((item * padded + first) * steps);
            pack(&Pack {
                from: from.add(first * column + elements.start * row),
                stride,
                depth: elements.len(),
                columns,
                to: to.add(depth.start * width),
                width,
            });
        }
    }
}

impl Kernel for PackB {
    fn name(&self) -> &'static str {
        "pack_b"
    }

    fn operands(&self, visit: &mut dyn FnMut(Operand)) {
        visit(Operand::read(self.from));
        visit(Operand::write(self.to));
    }

    fn check(&self) -> Result<(), String> {
        check_isa(self.isa)?;
        if !self.strides.contains(&1) {
            return Err(format!("strides {:?}: one of them must be 1", self.strides));
        }
        if self.width == 0 || self.width > 4 {
            return Err(format!("panels of {} vectors", self.width));
        }
        bounds::apart(self)?;
        let [row, column] = self.strides;
        let axes = [(self.batch, self.batch_stride), (self.k, row), (self.n, column)];
        check_extent("matrix", self.from, self.ty, &axes)?;
        let padded = self.n.checked_next_multiple_of(self.lanes());
        let steps = self.k.div_ceil(pair(self.ty, self.isa, self.precision));
        let lengths = [self.batch, steps, padded.ok_or("too many columns")?];
        check_product("panels", self.to, self.ty, &lengths)
    }

    fn chunks(&self) -> usize {
        let [groups, stretches] = self.split();
        (self.batch * groups * stretches).max(1)
    }

    fn flops(&self) -> u64 {
        0
    }

    unsafe fn run(&self, chunk: usize, memory: &Memory, _: &mut Scratch<'_>) {
        if self.batch == 0 || self.n == 0 || self.k == 0 {
            return;
        }
        // SAFETY: the caller's promise.
        unsafe {
            match self.ty {
                Float::F32 => self.run_typed::<f32>(chunk, memory),
                Float::F64 => self.run_typed::<f64>(chunk, memory),
            }
        }
    }
}

/// Elements in a vector.
pub(crate) fn lanes(ty: Float, isa: Isa) -> usize {
    match ty {
        Float::F32 => f32::kernels(isa).lanes,
        Float::F64 => f64::kernels(isa).lanes,
    }
}

/// Steps of the depth that a tile takes at once.
pub(crate) fn pair(ty: Float, isa: Isa, precision: Precision) -> usize {
    match ty {
        Float::F32 => f32::kernels_for(isa, precision).pair,
        Float::F64 => 1,
    }
}

/// Checks that this processor has the instruction set.
pub(crate) fn check_isa(isa: Isa) -> Result<(), String> {
    match isa.available() {
        true => Ok(()),
        false => Err(format!("this processor lacks {}", isa.name())),
    }
}

/// Checks that `region` is aligned and holds every element that `(length, stride)` axes lead to.
pub(crate) fn check_extent(
    what: &str,
    region: Region,
    ty: Float,
    axes: &[(usize, usize)],
) -> Result<(), String> {
    let mut last = 0usize;
    for &(length, stride) in axes {
        if length == 0 {
            return Ok(());
        }
        let reach = (length - 1).checked_mul(stride);
        last = reach.and_then(|r| last.checked_add(r)).ok_or(format!("{what}: size overflows"))?;
    }
    check_product(what, region, ty, &[last.checked_add(1).ok_or("size overflows")?])
}

/// Checks that `region` is aligned and holds as many elements as the product of `lengths`.
pub(crate) fn check_product(
    what: &str,
    region: Region,
    ty: Float,
    lengths: &[usize],
) -> Result<(), String> {
    let count = bounds::product(lengths).map_err(|problem| format!("{what}: {problem}"))?;
    bounds::holds(what, region, count, ty.bytes())
}
