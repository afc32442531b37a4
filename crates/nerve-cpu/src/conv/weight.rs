//! The gradient of a convolution with respect to its filter.
//!
//! It is a product whose depth is the pixels: element `(ky, kx, i, o)` sums, over all pixels of the
//! result, the image under that tap times the gradient of the result. For one filter row the taps
//! and input channels are contiguous in the image, so they are the rows of one matrix.

use super::ConvShape;
use crate::gemm::Activation;
use crate::gemm::drive::{piece, pieces};
use crate::gemm::pack::{check_isa, check_product};
use crate::gemm::tile::{Ahead, CHANNEL_ROWS, Kernels, Repeat, Scalar, Tile};
use crate::kernel::{Float, Kernel, Operand, Scratch};
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
struct Cuts {
    /// Stretches of pixels, each with a partial sum.
    parts: usize,
    /// Parts of the rows of the filter (or of its taps).
    taps: usize,
    /// Parts of the output channels.
    strips: usize,
}

/// A block of pixels: lines of one image, or whole images.
struct Block {
    images: Range<usize>,
    lines: Range<usize>,
}

impl ConvWeightGrad {
    /// The gradient of a convolution of `x` whose result has the gradient `dy`.
    pub fn new(ty: Float, shape: ConvShape, x: Region, dy: Region, dw: Region) -> Self {
        ConvWeightGrad { ty, shape, x, dy, dw, isa: isa() }
    }

    /// Number of partial sums that `dw` receives; fixed by the shape.
    pub fn parts(&self) -> usize {
        self.cuts().parts
    }

    /// What is cut where taps are: rows of the filter if they are contiguous, else single taps.
    fn rows_of_taps(&self) -> usize {
        if self.shape.row_contiguous() { self.shape.kh } else { self.shape.taps() }
    }

    /// The least traffic for about the wanted number of chunks: each part is written and read
    /// again by the sum; each cut of the taps reads `dy` again, each cut of the strips `x`.
    fn cuts(&self) -> Cuts {
        let s = &self.shape;
        let wanted = (s.flops() / CHUNK_FLOPS).clamp(1, MOST_CHUNKS) as usize;
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

    /// Cuts lines of results into blocks of a size that stays in the cache. At least one, though
    /// it be empty: somebody has to write the zeros.
    fn blocks(&self, lines: Range<usize>, mut visit: impl FnMut(Block, bool)) {
        let s = &self.shape;
        let (image, bytes) = (s.oh().max(1), self.ty.bytes());
        let line_bytes = (s.ow() * s.co + s.stride[0].min(s.h) * s.w * s.c) * bytes;
        let most = (BLOCK_BYTES / line_bytes.max(1)).max(1);
        let (mut line, mut first) = (lines.start, true);
        while line < lines.end || first {
            let (n, within) = (line / image, line % image);
            let whole = if within == 0 { (most.min(lines.end - line)) / image } else { 0 };
            let (block, taken) = if whole > 0 {
                (Block { images: n..n + whole, lines: 0..image }, whole * image)
            } else {
                // Even pieces of what is left of the image.
                let left = (image - within).min(lines.end - line);
                let taken = left.div_ceil(left.div_ceil(most).max(1));
                (Block { images: n..n + 1, lines: within..within + taken }, taken)
            };
            visit(block, first);
            (line, first) = (line + taken, false);
        }
    }

    unsafe fn run_typed<T: Scalar>(&self, chunk: usize, memory: &Memory) {
        let s = &self.shape;
        let cuts = self.cuts();
        let (chunk, strip) = (chunk / cuts.strips, chunk % cuts.strips);
        let (part, tap) = (chunk / cuts.taps, chunk % cuts.taps);
        let lines = piece(s.n * s.oh(), cuts.parts, part);
        let taps = piece(self.rows_of_taps(), cuts.taps, tap);
        let kernels = T::kernels(self.isa);
        self.blocks(lines, |block, first| {
            let [down, right] = s.steps();
            // SAFETY: the pixels, and all taps over them, lie inside the images; no two chunks
            // write the same part, taps and strip.
            unsafe {
                let x = memory.ptr::<T>(self.x).add(block.images.start * s.h * s.w * s.c);
                let pixel = (block.images.start * s.oh() + block.lines.start) * s.ow();
                let tile = Tile {
                    a: x.add(block.lines.start * down).cast_const(),
                    a_strides: [1, right],
                    b: memory.ptr::<T>(self.dy).add(pixel * s.co).cast_const(),
                    b_stride: s.co,
                    depth: s.ow(),
                    outer: [
                        Repeat { times: block.lines.len(), a: down, b: s.ow() * s.co },
                        Repeat {
                            times: block.images.len(),
                            a: s.h * s.w * s.c,
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
        let s = &self.shape;
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
                            a: block.a.add(under + group * s.group_in() + rows.start),
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
        let s = &self.shape;
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
                        a: block.a.add(under + first),
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
        check_product("images", self.x, self.ty, &[s.images()])?;
        check_product("gradient", self.dy, self.ty, &[s.results()])?;
        check_product("filter gradient", self.dw, self.ty, &[self.parts(), s.filter()])?;
        crate::bounds::apart(self)
    }

    fn chunks(&self) -> usize {
        let cuts = self.cuts();
        cuts.parts * cuts.taps * cuts.strips
    }

    fn flops(&self) -> u64 {
        self.shape.flops()
    }

    unsafe fn run(&self, chunk: usize, memory: &Memory, _: &mut Scratch<'_>) {
        if self.shape.filter() == 0 {
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
