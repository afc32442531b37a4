//! Convolutions with few pixels: what takes time is to read the filter.
//!
//! Lines of an image are too short for tall tiles here, and a panel of the filter over all of its
//! depth would leave the cache before the next line wants it. So the filter passes by once, in
//! stretches of its depth: each is packed into L1, while the tiles ask for the next one, and meets
//! all pixels, whose values under that stretch are gathered beside it. Sums are kept in the
//! result from stretch to stretch.

use super::Conv;
use crate::gemm::Activation;
use crate::gemm::drive::{piece, pieces};
use crate::gemm::pack::Pack;
use crate::gemm::tile::{Ahead, Kernels, Repeat, Scalar, Tile};
use crate::kernel::Scratch;
use crate::memory::Memory;
use std::ops::Range;

/// Most pixels of results, of all images together.
const MOST_PIXELS: usize = 128;
/// Fewest input channels of a group: fewer would make the stretches short.
const LEAST_CHANNELS: usize = 32;
/// Bytes of a stretch, of the filter and of the pixels: most of L1.
const STRETCH_BYTES: usize = 36 * 1024;

/// How the work is cut.
pub(super) struct Few {
    pixels: usize,
    /// Most vectors in a strip of output channels.
    width: usize,
    /// Strips of a group; each is a chunk.
    strips: usize,
    /// Most input channels of a stretch.
    depth: usize,
}

impl Few {
    /// `None` if there are too many pixels or too few channels.
    pub(super) fn of<T: Scalar>(conv: &Conv, kernels: &Kernels<T>) -> Option<Few> {
        let s = &conv.shape;
        let pixels = s.n * s.oh() * s.ow();
        if pixels > MOST_PIXELS || s.group_in() < LEAST_CHANNELS {
            return None;
        }
        let width = kernels.width(pixels, s.group_out());
        // An even number, so that two threads have the same to do.
        let vectors = s.group_out().div_ceil(kernels.lanes);
        let strips = vectors.div_ceil(width).next_multiple_of(2).min(vectors);
        let fit = STRETCH_BYTES / size_of::<T>() / (pixels + width * kernels.lanes);
        let depth = s.group_in().div_ceil(s.group_in().div_ceil(fit)).next_multiple_of(16);
        Some(Few { pixels, width, strips, depth: depth.min(s.group_in()) })
    }

    pub(super) fn chunks(&self, conv: &Conv) -> usize {
        self.strips * conv.shape.groups
    }

    /// Elements of a packed stretch of the filter, and of the pixels under it.
    fn parts<T>(&self, kernels: &Kernels<T>) -> [usize; 2] {
        [self.depth * self.width * kernels.lanes, self.depth * self.pixels]
    }

    pub(super) fn scratch<T>(&self, kernels: &Kernels<T>) -> usize {
        self.parts(kernels).iter().sum()
    }
}

impl Conv {
    /// # Safety
    /// As [`Kernel::run`](crate::Kernel::run).
    pub(super) unsafe fn run_few<T: Scalar>(
        &self,
        few: &Few,
        kernels: &Kernels<T>,
        chunk: usize,
        memory: &Memory,
        scratch: &mut Scratch<'_>,
    ) {
        let s = &self.shape;
        let (group, strip) = (chunk / few.strips, chunk % few.strips);
        let vectors = piece(s.group_out().div_ceil(kernels.lanes), few.strips, strip);
        let within = vectors.start * kernels.lanes;
        let columns = (vectors.len() * kernels.lanes).min(s.group_out() - within);
        let (first, width) = (group * s.group_out() + within, vectors.len() * kernels.lanes);
        let parts = few.parts(kernels);
        let (panel, under) = scratch.slice::<T>(few.scratch(kernels)).split_at_mut(parts[0]);
        let tallest = kernels.tallest(few.width);
        let bands = few.pixels.div_ceil(tallest);
        let (depth, steps) = (s.group_in(), s.taps() * s.group_in());
        let stretches = (0..s.taps())
            .flat_map(|tap| pieces(0..depth, few.depth).map(move |channels| (tap, channels)));
        // SAFETY: `check` held all operands against the sizes, `scratch` has room for a stretch, and
        // chunks have different channels.
        unsafe {
            let x = memory.ptr::<T>(self.x).add(group * depth).cast_const();
            let filter = memory.ptr::<T>(self.filter).add(first).cast_const();
            let y = memory.ptr::<T>(self.y).add(first);
            for (tap, channels) in stretches {
                let (start, end) = (tap * depth + channels.start, tap * depth + channels.end);
                self.gather(few.pixels, tap, channels.clone(), x, under);
                let mut tile = Tile {
                    a: under.as_ptr(),
                    a_strides: [channels.len(), 1],
                    b: filter.add(start * s.co),
                    b_stride: s.co,
                    depth: channels.len(),
                    outer: [Repeat::ONCE; 2],
                    c: y,
                    c_stride: s.co,
                    columns,
                    bias: std::ptr::null(),
                    accumulate: start > 0,
                    activation: Activation::None,
                    ahead: Ahead::NONE,
                };
                // A single band of pixels reads the filter where it lies.
                if bands > 1 {
                    let (from, to) = (tile.b, panel.as_mut_ptr());
                    let depth = channels.len();
                    (kernels.pack_rows)(&Pack { from, stride: s.co, depth, columns, to, width });
                    (tile.b, tile.b_stride) = (to, width);
                }
                if end == steps {
                    tile.activation = self.activation;
                    if let Some(bias) = self.bias {
                        tile.bias = memory.ptr::<T>(bias).add(first);
                    }
                }
                for (i, band) in pieces(0..few.pixels, tallest).enumerate() {
                    let rows = piece(few.depth.min(steps - end), bands, i);
                    let at = filter.wrapping_add((end + rows.start) * s.co);
                    tile.ahead = Ahead { at, stride: s.co, rows: rows.len(), ..Ahead::NONE };
                    tile.a = under.as_ptr().add(band.start * channels.len());
                    tile.c = y.add(band.start * s.co);
                    kernels.tile(band.len(), vectors.len(), true)(&tile);
                }
            }
        }
    }

    /// Copies some channels of all pixels that a tap sees, zeros where it sees the border.
    ///
    /// # Safety
    /// `x` is the first image, `to` has room for the channels of all pixels.
    unsafe fn gather<T: Scalar>(
        &self,
        pixels: usize,
        tap: usize,
        channels: Range<usize>,
        x: *const T,
        to: &mut [T],
    ) {
        let s = &self.shape;
        let (oh, ow) = (s.oh(), s.ow());
        for (pixel, to) in to.chunks_exact_mut(channels.len()).take(pixels).enumerate() {
            let (image, line, column) = (pixel / (oh * ow), pixel / ow % oh, pixel % ow);
            let row = s.source(0, line * s.stride[0] + tap / s.kw * s.dilation[0]);
            let column = s.source(1, column * s.stride[1] + tap % s.kw * s.dilation[1]);
            match (row, column) {
                (Some(row), Some(column)) => {
                    let from = ((image * s.h + row) * s.w + column) * s.c + channels.start;
                    // SAFETY: the pixel is one of the image.
                    let from = unsafe { std::slice::from_raw_parts(x.add(from), to.len()) };
                    to.copy_from_slice(from);
                }
                _ => to.fill(T::default()),
            }
        }
    }
}
