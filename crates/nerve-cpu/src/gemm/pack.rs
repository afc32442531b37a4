//! Packing: copying a block of a matrix into the order in which the micro-kernel walks it.

use super::tile::Scalar;
use crate::bounds;
use crate::kernel::{Float, Kernel, Operand, Scratch};
use crate::memory::{Memory, Region};
use crate::simd::{Isa, Vector};

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
    /// The matrix.
    pub from: Region,
    /// The panels.
    pub to: Region,
    /// Whose vectors.
    pub isa: Isa,
}

impl PackB {
    fn lanes(&self) -> usize {
        lanes(self.ty, self.isa)
    }

    fn panels(&self) -> usize {
        self.n.div_ceil(self.width * self.lanes())
    }

    /// Panels of one chunk: enough to be worth a hand-off, about 64 KiB.
    fn group(&self) -> usize {
        let panel = self.k * self.width * self.lanes() * self.ty.bytes();
        (64 * 1024 / panel.max(1)).clamp(1, self.panels().max(1))
    }

    unsafe fn run_typed<T: Scalar>(&self, chunk: usize, memory: &Memory) {
        let groups = self.panels().div_ceil(self.group()).max(1);
        let (item, group) = (chunk / groups, chunk % groups);
        let kernels = T::kernels(self.isa);
        let wide = self.width * kernels.lanes;
        let padded = self.n.next_multiple_of(kernels.lanes);
        for panel in group * self.group()..self.panels().min((group + 1) * self.group()) {
            let first = panel * wide;
            let columns = wide.min(self.n - first);
            // SAFETY: `check` held the matrix and the panels against their regions; no two
            // panels overlap.
            unsafe {
                let from = memory.ptr::<T>(self.from).add(item * self.batch_stride);
                let to = memory.ptr::<T>(self.to).add((item * padded + first) * self.k);
                let pack = |from, stride| Pack {
                    from,
                    stride,
                    depth: self.k,
                    columns,
                    to,
                    width: columns.next_multiple_of(kernels.lanes),
                };
                if self.strides[1] == 1 {
                    (kernels.pack_rows)(&pack(from.add(first), self.strides[0]));
                } else {
                    let from = from.add(first * self.strides[1]);
                    (kernels.pack_columns)(&pack(from, self.strides[1]));
                }
            }
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
        if self.from.overlaps(&self.to) {
            return Err("the panels overlap the matrix".into());
        }
        let [row, column] = self.strides;
        let axes = [(self.batch, self.batch_stride), (self.k, row), (self.n, column)];
        check_extent("matrix", self.from, self.ty, &axes)?;
        let padded = self.n.checked_next_multiple_of(self.lanes());
        let axes = [(self.batch, 1), (self.k, 1), (padded.ok_or("too many columns")?, 1)];
        check_product("panels", self.to, self.ty, &axes.map(|axis| axis.0))
    }

    fn chunks(&self) -> usize {
        if self.k == 0 {
            return 1;
        }
        (self.batch * self.panels().div_ceil(self.group()).max(1)).max(1)
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
