//! The gradient of a filter in bf16.
//!
//! Tiles want their operands in pairs of bf16: here of pixels, which are the depth of the product.
//! So a block of pixels is rounded beforehand. The windows that the pixels see through some taps
//! become the rows of one matrix, their gradients those of another, and pairs do not end where a
//! line or an image does.

use super::{ConvShape, ConvWeightGrad};
use crate::gemm::Activation;
use crate::gemm::drive::{piece, pieces};
use crate::gemm::pack::Pack;
use crate::gemm::tile::{Ahead, Kernels, Repeat, Scalar, Tile};
use crate::kernel::{Float, Precision, Scratch};
use crate::memory::Memory;
use std::ops::Range;

/// Bytes of windows and gradients that are rounded at a time.
const BLOCK_BYTES: usize = 192 * 1024;
/// Fewest elements of a window along a row of the filter.
const NARROW: usize = 24;
/// Fewest pairs of pixels in a block, so that sums are not stored too often.
const LEAST_ROWS: usize = 16;

/// How the rounded operands lie in working memory.
struct Block {
    /// Most rows: pairs of pixels, or pixels where there are no pairs.
    rows: usize,
    /// Words of a window under the taps that are taken together.
    window: usize,
    /// Words of a row of gradients: whole vectors.
    gradient: usize,
}

impl ConvWeightGrad {
    /// Whether the operands are rounded: not where groups of channels have filters of their own, nor
    /// where windows are so narrow that gathering them takes longer than multiplying.
    pub(super) fn rounds(&self) -> bool {
        let s = &self.shape;
        let suits = s.groups == 1 && s.taps() / self.rows_of_taps() * s.c >= NARROW;
        (self.precision, self.ty) == (Precision::Bf16, Float::F32) && suits
    }

    fn rounded_block(&self, kernels: &Kernels<f32>) -> Block {
        let s = &self.shape;
        let window = s.taps() / self.rows_of_taps() * s.c;
        let vectors = s.co.div_ceil(kernels.lanes).div_ceil(self.cuts().strips);
        let gradient = vectors * kernels.lanes;
        let fit = BLOCK_BYTES / size_of::<f32>() / (window + gradient).max(1);
        let rows = fit.min((s.n * s.oh() * s.ow()).div_ceil(kernels.pair));
        Block { rows: rows.max(LEAST_ROWS), window, gradient }
    }

    /// Words of working memory: windows, gradients, and a window of zeros.
    pub(super) fn rounded_scratch(&self) -> usize {
        let block = self.rounded_block(f32::kernels_for(self.isa, self.precision));
        block.rows * (block.window + block.gradient) + block.window + 2 * 16
    }

    /// # Safety
    /// As [`Kernel::run`](crate::Kernel::run).
    pub(super) unsafe fn run_rounded(
        &self,
        chunk: usize,
        memory: &Memory,
        scratch: &mut Scratch<'_>,
    ) {
        let (s, cuts) = (&self.shape, self.cuts());
        let kernels = f32::kernels_for(self.isa, self.precision);
        let block = self.rounded_block(kernels);
        let (chunk, strip) = (chunk / cuts.strips, chunk % cuts.strips);
        let (part, tap) = (chunk / cuts.taps, chunk % cuts.taps);
        let pixels = piece(s.n * s.oh() * s.ow(), cuts.parts, part);
        let taps = piece(self.rows_of_taps(), cuts.taps, tap);
        let vectors = piece(s.co.div_ceil(kernels.lanes), cuts.strips, strip);
        let columns = vectors.start * kernels.lanes..s.co.min(vectors.end * kernels.lanes);
        let scratch = scratch.slice::<f32>(self.rounded_scratch());
        // Rows of gradients start on cache lines.
        let (gradients, rest) = scratch.split_at_mut(block.rows * block.gradient);
        let (windows, zeros) = rest.split_at_mut((block.rows * block.window).next_multiple_of(16));
        zeros.fill(0.0);
        let width = kernels.width(block.window, columns.len());
        let wide = width * kernels.lanes;
        let mut first = true;
        // SAFETY: `check` held all operands against the sizes, and the working memory has room for a
        // block; chunks have different parts, taps or columns.
        unsafe {
            let x = memory.ptr::<f32>(self.x).cast_const();
            let dw = memory.ptr::<f32>(self.dw).add(part * s.filter());
            let mut start = pixels.start;
            while start < pixels.end || first {
                let here = start..pixels.end.min(start + block.rows * kernels.pair);
                (kernels.pack_rows)(&Pack {
                    from: memory.ptr::<f32>(self.dy).add(here.start * s.co + columns.start),
                    stride: s.co,
                    depth: here.len(),
                    columns: columns.len(),
                    to: gradients.as_mut_ptr(),
                    width: block.gradient,
                });
                for tap in taps.clone() {
                    self.round_windows(kernels, tap, here.clone(), x, windows.as_mut_ptr(), zeros);
                    let mut tile = Tile {
                        a: windows.as_ptr(),
                        a_strides: [1, block.window],
                        b: gradients.as_ptr(),
                        b_stride: block.gradient,
                        depth: here.len().div_ceil(kernels.pair),
                        outer: [Repeat::ONCE; 2],
                        c: dw,
                        c_stride: s.co,
                        columns: 0,
                        bias: std::ptr::null(),
                        accumulate: !first,
                        activation: Activation::None,
                        ahead: Ahead::NONE,
                    };
                    for column in columns.clone().step_by(wide) {
                        tile.columns = wide.min(columns.end - column);
                        tile.b = gradients.as_ptr().add(column - columns.start);
                        let vectors = tile.columns.div_ceil(kernels.lanes);
                        for rows in pieces(0..block.window, kernels.tallest(width)) {
                            tile.a = windows.as_ptr().add(rows.start);
                            tile.c = dw.add((tap * block.window + rows.start) * s.co + column);
                            kernels.tile(rows.len(), vectors, false)(&tile);
                        }
                    }
                }
                (start, first) = (here.end, false);
            }
        }
    }

    /// Copies what some pixels see through the row of taps `tap`, a row for each pair of pixels, to
    /// `to`.
    ///
    /// # Safety
    /// `x` is the first image; `to` has room; there are as many `zeros` as words in a row.
    unsafe fn round_windows(
        &self,
        kernels: &Kernels<f32>,
        tap: usize,
        pixels: Range<usize>,
        x: *const f32,
        to: *mut f32,
        zeros: &[f32],
    ) {
        let s = &self.shape;
        let of_row = s.taps() / self.rows_of_taps();
        let (ky, first) = (tap * of_row / s.kw, tap * of_row % s.kw);
        let columns = first..first + of_row;
        let side_by_side = s.dilation[1] == 1 && s.between[1] == 0;
        let mut place = Place::of(s, pixels.start);
        for (r, pixel) in pixels.clone().step_by(kernels.pair).enumerate() {
            let to = to.wrapping_add(r * of_row * s.c);
            let low = Window::of(s, place, ky);
            place = place.next(s);
            let mut high = Window { row: None, column: 0 };
            if kernels.pair == 2 {
                if pixel + 1 < pixels.end {
                    high = Window::of(s, place, ky);
                }
                place = place.next(s);
            }
            let both = [low, high];
            // SAFETY: `source` names only pixels that exist.
            unsafe {
                if side_by_side && both.iter().all(|window| window.inside(s, &columns)) {
                    let from = both.map(|window| window.tap(s, first, x).unwrap_or(x));
                    (kernels.zip)(from, of_row * s.c, to);
                    continue;
                }
                for (i, kx) in columns.clone().enumerate() {
                    let from = both.map(|window| window.tap(s, kx, x).unwrap_or(zeros.as_ptr()));
                    (kernels.zip)(from, s.c, to.add(i * s.c));
                }
            }
        }
    }
}

/// A pixel of the results: image, row, column.
#[derive(Clone, Copy)]
struct Place([usize; 3]);

impl Place {
    fn of(s: &ConvShape, pixel: usize) -> Place {
        let (row, image) = (s.ow().max(1), (s.oh() * s.ow()).max(1));
        Place([pixel / image, pixel % image / row, pixel % row])
    }

    /// The one after it.
    #[inline]
    fn next(self, s: &ConvShape) -> Place {
        let Place([n, y, x]) = self;
        Place(match (y + 1 < s.oh(), x + 1 < s.ow()) {
            (_, true) => [n, y, x + 1],
            (true, false) => [n, y + 1, 0],
            (false, false) => [n + 1, 0, 0],
        })
    }
}

/// What a pixel of the results sees through a row of taps.
#[derive(Clone, Copy)]
struct Window {
    /// The row, counted through all images; none if there are only zeros.
    row: Option<usize>,
    /// The first column, zeros included.
    column: usize,
}

impl Window {
    #[inline]
    fn of(s: &ConvShape, Place([n, y, x]): Place, ky: usize) -> Window {
        let row = s.source(0, y * s.stride[0] + ky * s.dilation[0]);
        Window { row: row.map(|row| n * s.h + row), column: x * s.stride[1] }
    }

    /// Whether the taps `columns`, side by side, see only pixels.
    #[inline]
    fn inside(&self, s: &ConvShape, columns: &Range<usize>) -> bool {
        let left = s.pad[1][0];
        self.row.is_some()
            && self.column + columns.start >= left
            && self.column + columns.end <= left + s.w
    }

    /// The pixel under a tap, if it is one.
    #[inline]
    fn tap(&self, s: &ConvShape, kx: usize, x: *const f32) -> Option<*const f32> {
        let column = s.source(1, self.column + kx * s.dilation[1])?;
        Some(x.wrapping_add((self.row? * s.w + column) * s.c))
    }
}
