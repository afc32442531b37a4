//! The gradient of the filter: sums over tiles, in strips of channels.

use super::super::{ConvShape, ConvWeightGrad};
use super::transform::{Fold, Gradient, Input, transforms};
use super::{LINE, PLACES, Soon, Tiles, plane, row_stride};
use crate::gemm::Activation;
use crate::gemm::drive::{piece, pieces};
use crate::gemm::tile::{Ahead, Kernels, Repeat, Scalar, Tile};
use crate::kernel::Scratch;
use crate::memory::Memory;
use crate::simd::Prefetch;
use std::ops::Range;

/// Most channels of a strip, of either side: 16 matrices of sums for two strips fill a quarter of
/// L2, and so do the transformed tiles of each.
const STRIP: usize = 64;
/// Rows of tiles that are transformed at a time: a tile each, or a pair of tiles.
const BLOCK: usize = 64;

/// How the work is cut: a function of the shape alone.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Strips {
    /// Stretches of tiles, each with a partial sum.
    pub parts: usize,
    /// Strips of input channels and of output channels.
    pub channels: [usize; 2],
}

impl Strips {
    /// About as many chunks as wanted, but no more partial sums than give a part some blocks.
    pub fn of(s: &ConvShape, wanted: usize) -> Strips {
        let channels = [s.c, s.co].map(|n| n.div_ceil(STRIP).max(1));
        let most = Tiles::of(s).count.div_ceil(2 * BLOCK).max(1);
        let parts = wanted.div_ceil(channels[0] * channels[1]).min(most);
        // Even, so that two threads have the same to do.
        let parts = if parts > 1 { parts / 2 * 2 } else { 1 };
        Strips { parts, channels }
    }

    pub fn chunks(&self) -> usize {
        self.parts * self.channels[0] * self.channels[1]
    }

    /// The longest strips.
    fn longest(&self, s: &ConvShape) -> [usize; 2] {
        [s.c.div_ceil(self.channels[0]), s.co.div_ceil(self.channels[1])]
    }

    /// Elements of working memory: transformed pixels, transformed gradients, sums, zeros.
    fn scratch(&self, s: &ConvShape) -> [usize; 4] {
        let [c, co] = self.longest(s);
        let [pixels, gradients] = [c, co].map(|n| PLACES * plane(BLOCK, row_stride(n)));
        [pixels, gradients, PLACES * plane(c, row_stride(co)), c.max(co).next_multiple_of(LINE)]
    }

    pub fn scratch_bytes(&self, s: &ConvShape) -> usize {
        self.scratch(s).iter().sum::<usize>() * size_of::<f32>()
    }
}

impl ConvWeightGrad {
    /// # Safety
    /// As [`Kernel::run`](crate::Kernel::run).
    pub(in super::super) unsafe fn run_winograd(
        &self,
        strips: Strips,
        chunk: usize,
        memory: &Memory,
        scratch: &mut Scratch<'_>,
    ) {
        let s = &self.shape;
        let [of_c, of_co] = strips.channels;
        let part = chunk / (of_c * of_co);
        let c = piece(s.c, of_c, chunk / of_co % of_c);
        let co = piece(s.co, of_co, chunk % of_co);
        let lengths = strips.scratch(s);
        let (pixels, rest) = scratch.slice::<f32>(lengths.iter().sum()).split_at_mut(lengths[0]);
        let (gradients, rest) = rest.split_at_mut(lengths[1]);
        let (sums, zeros) = rest.split_at_mut(lengths[2]);
        zeros.fill(0.0);
        let kernels = f32::kernels_for(self.isa, self.precision);
        let transforms = transforms(self.isa, self.precision);
        let most = BLOCK * kernels.pair;
        let [longest_c, longest_co] = strips.longest(s);
        let [c_stride, co_stride] = [longest_c, longest_co].map(row_stride);
        let tiles = piece(Tiles::of(s).count, strips.parts, part);
        // SAFETY: `check` held all operands against the sizes, and `scratch` the working memory;
        // chunks have different parts or strips.
        unsafe {
            let mut start = tiles.start;
            while start < tiles.end || start == tiles.start {
                let block = start..tiles.end.min(start + most);
                let input = Input {
                    shape: s,
                    tiles: block.clone(),
                    x: memory.ptr::<f32>(self.x).add(c.start),
                    channels: c.len(),
                    zeros: zeros.as_ptr(),
                    to: pixels.as_mut_ptr(),
                    stride: c_stride,
                    plane: plane(BLOCK, c_stride),
                };
                (transforms.input_by_tile)(&input);
                (transforms.gradient)(&Gradient {
                    x: memory.ptr::<f32>(self.dy).add(co.start),
                    channels: co.len(),
                    to: gradients.as_mut_ptr(),
                    stride: co_stride,
                    plane: plane(BLOCK, co_stride),
                    tiles: block.clone(),
                    ..input
                });
                let tile = Tile {
                    a: pixels.as_ptr(),
                    a_strides: [1, c_stride],
                    b: gradients.as_ptr(),
                    b_stride: co_stride,
                    depth: block.len().div_ceil(kernels.pair),
                    outer: [Repeat::ONCE; 2],
                    c: sums.as_mut_ptr(),
                    c_stride: co_stride,
                    columns: 0,
                    bias: std::ptr::null(),
                    accumulate: start > tiles.start,
                    activation: Activation::None,
                    ahead: Ahead::NONE,
                };
                let next = block.end..tiles.end.min(block.end + most);
                let x = memory.ptr::<f32>(self.x).add(c.start);
                let dy = memory.ptr::<f32>(self.dy).add(co.start);
                let soon =
                    [Soon::input(s, x, next.clone(), c.len()), Soon::output(s, dy, next, co.len())];
                add_products(kernels, &tile, c.len(), co.clone(), longest_c, &soon);
                start += most;
            }
            let tap = s.c * s.co;
            let to = memory.ptr::<f32>(self.dw).add(part * 9 * tap + c.start * s.co + co.start);
            (transforms.fold)(&Fold {
                from: sums.as_ptr(),
                stride: co_stride,
                plane: plane(longest_c, co_stride),
                rows: c.len(),
                columns: co.len(),
                to,
                co: s.co,
                tap,
            });
        }
    }
}

/// The 16 products of a block of tiles, added to the sums.
unsafe fn add_products(
    kernels: &Kernels<f32>,
    first: &Tile<f32>,
    rows: usize,
    columns: Range<usize>,
    longest: usize,
    soon: &[Soon; 2],
) {
    // Whole vectors: what lies beyond the columns is zero, or is never folded.
    let columns = columns.len().next_multiple_of(kernels.lanes);
    let wide = kernels.width(rows, columns) * kernels.lanes;
    let [a_plane, b_plane] = [first.a_strides[1], first.b_stride].map(|n| plane(BLOCK, n));
    for place in 0..PLACES {
        soon.iter().for_each(|pixels| pixels.ask::<{ Prefetch::FAR }>(place, PLACES));
        for column in (0..columns).step_by(wide) {
            let width = wide.min(columns - column);
            for band in pieces(0..rows, kernels.tallest(wide / kernels.lanes)) {
                let to = place * plane(longest, first.c_stride) + band.start * first.c_stride;
                // SAFETY: inside the scratch matrices, whose rows are whole vectors.
                unsafe {
                    let tile = Tile {
                        a: first.a.add(place * a_plane + band.start),
                        b: first.b.add(place * b_plane + column),
                        c: first.c.add(to + column),
                        columns: width,
                        ..*first
                    };
                    kernels.tile(band.len(), width / kernels.lanes, false)(&tile);
                }
            }
        }
    }
}
