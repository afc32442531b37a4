//! The gradient of a filter in bf16.
//!
//! Tiles want their operands in pairs of bf16: here of pixels, which are the depth of the product.
//! So a block of pixels is rounded beforehand. The windows that the pixels see through some taps
//! become the rows of one matrix, their gradients those of another, and pairs do not end where a
//! line or an image does.

use super::ConvWeightGrad;
use crate::gemm::Activation;
use crate::gemm::drive::{piece, pieces};
use crate::gemm::pack::Pack;
use crate::gemm::tile::{Ahead, Kernels, Repeat, Scalar, Tile};
use crate::kernel::{Float, Precision, Scratch};
use crate::memory::Memory;
use std::ops::Range;

/// Bytes of windows and gradients that are rounded at a time.
const BLOCK_BYTES: usize = 192 * 1024;
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
    /// Whether the operands are rounded: not where groups of channels have filters of their own.
    pub(super) fn rounds(&self) -> bool {
        (self.precision, self.ty) == (Precision::Bf16, Float::F32) && self.shape.groups == 1
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
        let image = s.oh() * s.ow();
        let side_by_side = s.dilation[1] == 1 && s.between[1] == 0;
        // The rows of the image that a pixel sees, and the column of its window.
        let row = |pixel: usize| {
            let (n, oy, ox) = (pixel / image, pixel / s.ow() % s.oh(), pixel % s.ow());
            let y =
                s.source(0, oy * s.stride[0] + ky * s.dilation[0]).filter(|_| pixel < pixels.end);
            (y.map(|y| (n * s.h + y) * s.w), ox * s.stride[1])
        };
        for (r, pixel) in pixels.clone().step_by(kernels.pair).enumerate() {
            let both = [row(pixel), row(pixel + 1)];
            let tap = |(row, column): (Option<usize>, usize), kx: usize| {
                let column = s.source(1, column + kx * s.dilation[1]);
                Some(x.wrapping_add((row? + column?) * s.c))
            };
            // SAFETY: `source` names only pixels that exist.
            unsafe {
                let to = to.add(r * of_row * s.c);
                let last = first + of_row - 1;
                let ends = both.map(|of| [tap(of, first), tap(of, last)]);
                match ends {
                    [[Some(low), Some(_)], [Some(high), Some(_)]] if side_by_side => {
                        (kernels.zip)([low, high], of_row * s.c, to);
                    }
                    _ => {
                        for i in 0..of_row {
                            let from = both.map(|of| tap(of, first + i).unwrap_or(zeros.as_ptr()));
                            (kernels.zip)(from, s.c, to.add(i * s.c));
                        }
                    }
                }
            }
        }
    }
}
