//! The gradient of a convolution with respect to its filter.
//!
//! It is a product whose depth is the pixels: element `(ky, kx, i, o)` sums, over all pixels of the
//! result, the image under that tap times the gradient of the result. For one filter row the taps
//! and input channels are contiguous in the image, so they are the rows of one matrix.

use super::winograd::Strips;
use super::{ConvShape, even};
use crate::gemm::Activation;
use crate::gemm::drive::{piece, pieces};
use crate::gemm::pack::{check_isa, check_product};
use crate::gemm::tile::{Ahead, CHANNEL_ROWS, Kernels, Repeat, Scalar, Tile};
use crate::kernel::{Float, Kernel, Operand, Precision, Scratch};
use crate::memory::{Memory, Region};
use crate::simd::{Isa, isa};
use std::ops::Range;

/// `dw[ky, kx, i, o] = sum over n, oy, ox of x[n, oy * sy + ky * dy, ox * sx + kx * dx, i] *
/// dy[n, oy, ox, o]`, in [`parts`](ConvWeightGrad::parts) partial sums over stretches of pixels.
///
/// With more than one part, `dw` holds that many filters one after the other, to be added by
/// [`SumParts`](crate::SumParts).
#[derive(Clone, Debug, PartialEq)]
pub struct ConvWeightGrad {
    /// Type of all elements.
    pub ty: Float,
    /// The sizes of the convolution.
    pub shape: ConvShape,
    /// The images, `[n, h, w, c]`.
    pub x: Region,
    /// The gradient of the result, `[n, oh, ow, co]`.
    pub dy: Region,
    /// The gradient of the filter, `[parts, kh, kw, c / groups, co]`.
    pub dw: Region,
    /// Whether to compute it with fewer multiplications ([`winograd`](super::winograd)), which
    /// [`new`](ConvWeightGrad::new) decides.
    pub winograd: bool,
    /// How exactly the products take their operands.
    pub precision: Precision,
    /// Whose vectors; [`isa()`] unless a test wants another.
    pub isa: Isa,
}

/// Floating-point operations of a chunk: about 20 µs.
const CHUNK_FLOPS: u64 = 4_000_000;
/// Most chunks.
const MOST_CHUNKS: u64 = 32;
/// Bytes of images and gradients that are taken at a time: they stay in L2 while all tiles of the
/// filter pass over them.
const BLOCK_BYTES: usize = 192 * 1024;

/// How the work is cut: a function of the shape alone, the same on every processor.
#[derive(Clone, Copy)]
pub(super) struct Cuts {
    /// Stretches of pixels, each with a partial sum.
    pub parts: usize,
    /// Parts of the rows of the filter (or of its taps).
    pub taps: usize,
    /// Parts of the output channels.
    pub strips: usize,
}

impl ConvWeightGrad {
    /// The gradient of a convolution of `x` whose result has the gradient `dy`.
    pub fn new(ty: Float, shape: ConvShape, x: Region, dy: Region, dw: Region) -> Self {
        let winograd = shape.winograd_pays(ty, false);
        let precision = Precision::Full;
        ConvWeightGrad { ty, shape, x, dy, dw, winograd, precision, isa: isa() }
    }

    /// Number of partial sums that `dw` receives; fixed by the shape.
    pub fn parts(&self) -> usize {
        match self.winograd {
            true => self.strips().parts,
            false => self.cuts().parts,
        }
    }

    /// Number of chunks that are worth having.
    fn wanted(&self) -> usize {
        even((self.shape.flops() / CHUNK_FLOPS).clamp(1, MOST_CHUNKS) as usize)
    }

    fn strips(&self) -> Strips {
        Strips::of(&self.shape, self.wanted())
    }

    /// What is cut where taps are: rows of the filter if they are contiguous, else single taps.
    pub(super) fn rows_of_taps(&self) -> usize {
        if self.shape.row_contiguous() { self.shape.kh } else { self.shape.taps() }
    }

    /// The least traffic for about the wanted number of chunks: each part is written and read
    /// again by the sum; each cut of the taps reads `dy` again, each cut of the strips `x`.
    pub(super) fn cuts(&self) -> Cuts {
        let s = &self.shape;
        let wanted = self.wanted();
        let most_strips = s.co.div_ceil(64).max(1);
        let mut best = (Cuts { parts: 1, taps: 1, strips: 1 }, usize::MAX);
        for parts in [1, 2, 4, 8, 16, 32].map(|parts| parts.min(wanted).min(s.n * s.oh())) {
            for taps in [1, self.rows_of_taps()] {
                let cuts = Cuts {
                    parts: parts.max(1),
                    taps,
                    strips: wanted.div_ceil(parts.max(1) * taps).min(most_strips),
                };
                let missing = wanted.saturating_sub(cuts.parts * cuts.taps * cuts.strips);
                let cost = (s.filter().saturating_mul(3 * cuts.parts))
                    .saturating_add(s.images().saturating_mul(cuts.strips + missing))
                    .saturating_add(s.results().saturating_mul(cuts.taps + missing));
                if cost < best.1 {
                    best = (cuts, cost);
                }
            }
        }
        best.0
    }

    /// Lines of results whose images and gradients stay in the cache.
    fn block_lines(&self) -> usize {
        let (s, f) = (&self.shape, self.shape.filled());
        let elements = s.ow() * s.co + f.stride[0].min(f.h) * f.w * f.c;
        (BLOCK_BYTES / (elements * self.ty.bytes()).max(1)).max(1)
    }

    /// Elements of a block of images with their border.
    fn border(&self) -> usize {
        if self.shape.is_padded() { self.shape.under(self.block_lines()) } else { 0 }
    }

    unsafe fn run_typed<T: Scalar>(
        &self,
        chunk: usize,
        memory: &Memory,
        scratch: &mut Scratch<'_>,
    ) {
        let s = &self.shape;
        let cuts = self.cuts();
        let (chunk, strip) = (chunk / cuts.strips, chunk % cuts.strips);
        let (part, tap) = (chunk / cuts.taps, chunk % cuts.taps);
        let lines = piece(s.n * s.oh(), cuts.parts, part);
        let taps = piece(self.rows_of_taps(), cuts.taps, tap);
        let kernels = T::kernels(self.isa);
        let border = scratch.slice::<T>(self.border());
        let f = &s.filled();
        s.blocks(lines, self.block_lines(), |block, first| {
            let [down, right] = f.steps();
            // SAFETY: the pixels, and all taps over them, lie inside the images; no two chunks
            // write the same part, taps and strip.
            unsafe {
                let mut x = memory.ptr::<T>(self.x).cast_const();
                if s.is_padded() {
                    x = s.copy_bordered(x, &block, border.as_mut_ptr(), kernels);
                }
                let x = x.wrapping_add(block.images.start * f.h * f.w * f.c);
                let pixel = (block.images.start * s.oh() + block.lines.start) * s.ow();
                let tile = Tile {
                    a: x.wrapping_add(block.lines.start * down),
                    a_strides: [1, right],
                    b: memory.ptr::<T>(self.dy).add(pixel * s.co).cast_const(),
                    b_stride: s.co,
                    depth: s.ow(),
                    outer: [
                        Repeat { times: block.lines.len(), a: down, b: s.ow() * s.co },
                        Repeat {
                            times: block.images.len(),
                            a: f.h * f.w * f.c,
                            b: s.oh() * s.ow() * s.co,
                        },
                    ],
                    c: memory.ptr::<T>(self.dw).add(part * s.filter()),
                    c_stride: s.co,
                    columns: 0,
                    bias: std::ptr::null(),
                    accumulate: !first,
                    activation: Activation::None,
                    ahead: Ahead::NONE,
                };
                if s.depthwise() {
                    self.channels(kernels, tile, taps.clone(), piece(s.co, cuts.strips, strip));
                } else {
                    self.taps(kernels, tile, taps.clone(), [cuts.strips, strip]);
                }
            }
        });
    }

    /// One block of pixels for some rows of taps and one strip of the output channels.
    unsafe fn taps<T: Scalar>(
        &self,
        kernels: &Kernels<T>,
        block: Tile<T>,
        taps: Range<usize>,
        [strips, strip]: [usize; 2],
    ) {
        let s = &self.shape.filled();
        let row_contiguous = s.row_contiguous();
        // Rows of the filter matrix that one step covers.
        let step = if row_contiguous { s.kw * s.c } else { s.group_in() };
        let width = kernels.width(step, s.group_out());
        let wide = width * kernels.lanes;
        let panels = s.group_out().div_ceil(wide);
        for tap in taps {
            let (ky, kx) = if row_contiguous { (tap, 0) } else { (tap / s.kw, tap % s.kw) };
            let under = ky * s.tap_steps()[0] + kx * s.tap_steps()[1];
            for panel in piece(s.groups * panels, strips, strip) {
                let (group, within) = (panel / panels, panel % panels * wide);
                let columns = wide.min(s.group_out() - within);
                let first = group * s.group_out() + within;
                for rows in pieces(0..step, kernels.tallest(width)) {
                    // SAFETY: the caller's promise; taps, groups and columns are in range.
                    unsafe {
                        let filter_row = tap * step + rows.start;
                        let tile = Tile {
                            a: block.a.wrapping_add(under + group * s.group_in() + rows.start),
                            b: block.b.add(first),
                            c: block.c.add(filter_row * s.co + first),
                            columns,
                            ..block
                        };
                        kernels.tile(rows.len(), columns.div_ceil(kernels.lanes), false)(&tile);
                    }
                }
            }
        }
    }

    /// One block of pixels for some taps and channels, where each channel has its own filter.
    unsafe fn channels<T: Scalar>(
        &self,
        kernels: &Kernels<T>,
        block: Tile<T>,
        taps: Range<usize>,
        channels: Range<usize>,
    ) {
        let s = &self.shape.filled();
        let [down, right] = s.tap_steps();
        for first in channels.clone().step_by(kernels.lanes) {
            let mut tap = taps.start;
            while tap < taps.end {
                // Taps of one row of the filter are the rows of a tile.
                let (ky, kx) = (tap / s.kw, tap % s.kw);
                let rows = (s.kw - kx).min(taps.end - tap).min(CHANNEL_ROWS);
                // SAFETY: the caller's promise; taps and channels are in range.
                unsafe {
                    let under = ky * down + kx * right;
                    let tile = Tile {
                        a: block.a.wrapping_add(under + first),
                        a_strides: [right, block.a_strides[1]],
                        b: block.b.add(first),
                        c: block.c.add(tap * s.co + first),
                        columns: kernels.lanes.min(channels.end - first),
                        ..block
                    };
                    kernels.channels[rows - 1](&tile);
                }
                tap += rows;
            }
        }
    }
}

impl Kernel for ConvWeightGrad {
    fn name(&self) -> &'static str {
        "conv_weight_grad"
    }

    fn operands(&self, visit: &mut dyn FnMut(Operand)) {
        visit(Operand::read(self.x));
        visit(Operand::read(self.dy));
        visit(Operand::write(self.dw));
    }

    fn check(&self) -> Result<(), String> {
        check_isa(self.isa)?;
        self.shape.check()?;
        let s = &self.shape;
        if self.winograd && !s.winograd_fits(self.ty) {
            return Err("only 3 by 3 filters in f32, of stride 1, are transformed".into());
        }
        check_product("images", self.x, self.ty, &[s.images()])?;
        check_product("gradient", self.dy, self.ty, &[s.results()])?;
        check_product("filter gradient", self.dw, self.ty, &[self.parts(), s.filter()])?;
        crate::bounds::apart(self)
    }

    fn chunks(&self) -> usize {
        if self.winograd {
            return self.strips().chunks();
        }
        let cuts = self.cuts();
        cuts.parts * cuts.taps * cuts.strips
    }

    fn flops(&self) -> u64 {
        self.shape.flops()
    }

    fn scratch_bytes(&self) -> usize {
        match (self.winograd, self.rounds()) {
            (true, _) => self.strips().scratch_bytes(&self.shape),
            (false, true) => self.rounded_scratch() * self.ty.bytes(),
            (false, false) => self.border() * self.ty.bytes(),
        }
    }

    unsafe fn run(&self, chunk: usize, memory: &Memory, scratch: &mut Scratch<'_>) {
        if self.shape.filter() == 0 {
            return;
        }
        // SAFETY: the caller's promise.
        unsafe {
            if self.winograd {
                return self.run_winograd(self.strips(), chunk, memory, scratch);
            }
            if self.rounds() {
                return self.run_rounded(chunk, memory, scratch);
            }
            match self.ty {
                Float::F32 => self.run_typed::<f32>(chunk, memory, scratch),
                Float::F64 => self.run_typed::<f64>(chunk, memory, scratch),
            }
        }
    }
}
