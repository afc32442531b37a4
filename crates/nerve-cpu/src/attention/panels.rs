//! Products of small matrices on one thread: the right one in panels, so that the micro-kernel
//! streams it.

use crate::gemm::Activation;
use crate::gemm::drive::pieces;
use crate::gemm::pack::Pack;
use crate::gemm::tile::{Ahead, Kernels, Repeat, Scalar, Tile};
use crate::simd::Isa;

/// Columns of the widest panel.
pub(super) const WIDEST: usize = 64;
/// Longest stretch of a sum that is kept in registers before the result is touched.
const DEPTH: usize = 512;

/// A matrix in panels of columns: panel after panel, each step by step of the depth.
pub(super) struct Panels<'a, T: 'static> {
    kernels: &'static Kernels<T>,
    /// Width of a panel in vectors.
    width: usize,
    depth: usize,
    columns: usize,
    data: &'a mut [T],
}

/// A matrix as it lies. One of the strides is 1.
#[derive(Clone, Copy)]
pub(super) struct Left<T> {
    pub start: *const T,
    /// Elements between rows, and between columns.
    pub strides: [usize; 2],
}

/// Where a product goes.
#[derive(Clone, Copy)]
pub(super) struct Into<T> {
    pub start: *mut T,
    /// Elements between rows.
    pub stride: usize,
    /// Whether to add to what is there.
    pub accumulate: bool,
}

/// Elements of working memory for the panels of a matrix, whatever the instruction set.
pub(super) fn space(depth: usize, columns: usize) -> usize {
    depth * (columns + WIDEST).next_multiple_of(16)
}

impl<'a, T: Scalar> Panels<'a, T> {
    /// Panels in `data`, for products with about `rows` rows on the left; nothing in them yet.
    pub fn new(isa: Isa, [rows, depth, columns]: [usize; 3], data: &'a mut [T]) -> Self {
        let kernels = T::kernels(isa);
        let width = kernels.width(rows, columns);
        debug_assert!(depth * columns.next_multiple_of(width * kernels.lanes) <= data.len());
        Panels { kernels, width, depth, columns, data }
    }

    /// Fills them with the first `depth` steps, which lie `stride` elements apart; the columns of a
    /// step lie side by side.
    ///
    /// # Safety
    /// All that is named may be read.
    pub unsafe fn pack_rows(&mut self, from: *const T, stride: usize, depth: usize) {
        self.depth = depth;
        for start in self.starts() {
            // SAFETY: as the caller's.
            unsafe {
                (self.kernels.pack_rows)(&self.panel(start, from.wrapping_add(start), stride))
            }
        }
    }

    /// Fills them with the first `columns` columns, which lie `stride` elements apart; the steps
    /// of a column lie side by side.
    ///
    /// # Safety
    /// All that is named may be read.
    pub unsafe fn pack_columns(&mut self, from: *const T, stride: usize, columns: usize) {
        self.columns = columns;
        for start in self.starts() {
            let from = from.wrapping_add(start * stride);
            // SAFETY: as the caller's.
            unsafe { (self.kernels.pack_columns)(&self.panel(start, from, stride)) }
        }
    }

    fn wide(&self) -> usize {
        self.width * self.kernels.lanes
    }

    fn starts(&self) -> impl Iterator<Item = usize> + use<T> {
        (0..self.columns).step_by(self.wide())
    }

    fn panel(&mut self, start: usize, from: *const T, stride: usize) -> Pack<T> {
        let width = self.wide();
        debug_assert!((start + width) * self.depth <= self.data.len());
        let to = self.data.as_mut_ptr().wrapping_add(start * self.depth);
        let columns = width.min(self.columns - start);
        Pack { from, stride, depth: self.depth, columns, to, width }
    }

    /// `C = A B`, or `C = C + A B`, with the first `columns` columns and the first `depth` steps of
    /// these panels as B.
    ///
    /// # Safety
    /// A and C have that many rows, steps and columns; C overlaps nothing.
    pub unsafe fn multiply(&self, a: Left<T>, [rows, columns, depth]: [usize; 3], c: Into<T>) {
        let (lanes, wide) = (self.kernels.lanes, self.wide());
        let along_depth = a.strides[1] == 1;
        let [row, step] = a.strides;
        for stretch in pieces(0..depth, DEPTH) {
            for start in (0..columns).step_by(wide) {
                let count = wide.min(columns - start);
                let b = start * self.depth + stretch.start * wide;
                let mut tile = Tile {
                    a: a.start,
                    a_strides: a.strides,
                    b: self.data.as_ptr().wrapping_add(b),
                    b_stride: wide,
                    depth: stretch.len(),
                    outer: [Repeat::ONCE; 2],
                    c: c.start,
                    c_stride: c.stride,
                    columns: count,
                    bias: std::ptr::null(),
                    accumulate: c.accumulate || stretch.start > 0,
                    activation: Activation::None,
                    ahead: Ahead::NONE,
                };
                for band in pieces(0..rows, self.kernels.tallest(self.width)) {
                    if band.is_empty() {
                        continue;
                    }
                    tile.a = a.start.wrapping_add(band.start * row + stretch.start * step);
                    tile.c = c.start.wrapping_add(band.start * c.stride + start);
                    let kernel = self.kernels.tile(band.len(), count.div_ceil(lanes), along_depth);
                    // SAFETY: inside what the caller promised, and inside the panels.
                    unsafe { kernel(&tile) }
                }
            }
        }
    }
}
