//! Convolutions with few pixels: what takes time is to read the filter.
//!
//! Lines of an image are too short for tall tiles here, and a panel of the filter over all of its
//! depth would leave the cache before the next line wants it. So the filter passes by once, in
//! stretches of its depth: the values of all pixels under a stretch are gathered once and stay in L1,
//! and meet one strip of output channels after the other, while the tiles ask for the next one. Sums
//! are kept in the result from stretch to stretch. A strip's part of a stretch is packed beside the
//! pixels, unless the whole filter is in [panels](Conv::pack_filter) already, as it is when it does not
//! change from run to run: then it passes by in the order in which it lies in memory.

use super::{Conv, even};
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

/// Fewest channels of results of a chunk: each gathers the pixels for itself.
const CHUNK_CHANNELS: usize = 64;

/// How the work is cut.
pub(super) struct Few {
    pixels: usize,
    /// Vectors in a strip of output channels; the last one may have less.
    pub(super) width: usize,
    /// Strips of a group.
    strips: usize,
    /// Chunks of a group.
    parts: usize,
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
        let vectors = s.group_out().div_ceil(kernels.lanes);
        let widest = kernels.width(pixels, s.group_out());
        // An even number, so that two threads have the same to do.
        let halves = |width: &usize| vectors.div_ceil(*width).is_multiple_of(2);
        let width = (1..=widest).rev().find(halves).unwrap_or(widest);
        let strips = vectors.div_ceil(width);
        let parts = even(s.group_out().div_ceil(CHUNK_CHANNELS).max(2)).min(strips);
        let fit = STRETCH_BYTES / size_of::<T>() / (pixels + width * kernels.lanes);
        let depth = s.group_in().div_ceil(s.group_in().div_ceil(fit)).next_multiple_of(16);
        Some(Few { pixels, width, strips, parts, depth: depth.min(s.group_in()) })
    }

    pub(super) fn chunks(&self, conv: &Conv) -> usize {
        self.parts * conv.shape.groups
    }

    /// Elements of a packed stretch of the filter, and of the pixels under it.
    fn sizes<T>(&self, kernels: &Kernels<T>) -> [usize; 2] {
        [self.depth * self.width * kernels.lanes, self.depth * self.pixels]
    }

    pub(super) fn scratch<T>(&self, kernels: &Kernels<T>) -> usize {
        self.sizes(kernels).iter().sum()
    }
}

/// A strip of output channels: where it is in the filter and in the result.
struct Strip<T> {
    /// Its first channel in the first step of the depth.
    filter: *const T,
    /// Elements between steps.
    stride: usize,
    /// The first of all channels.
    first: usize,
    /// Where its results of the first pixel lie.
    y: *mut T,
    columns: usize,
    vectors: usize,
}

/// Steps of the depth that one tap sees, and whether they begin and end the sum.
struct Stretch {
    steps: Range<usize>,
    ends: bool,
}

impl Conv {
    /// # Safety
    /// As [`Kernel::run`](crate::Kernel::run).
    pub(super) unsafe fn run_few<T: Scalar>(
        &self,
        few: &Few,
        kernels: &Kernels<T>,
        chunk: usize,
        y: *mut T,
        memory: &Memory,
        scratch: &mut Scratch<'_>,
    ) {
        let s = &self.shape;
        let (group, strips) = (chunk / few.parts, piece(few.strips, few.parts, chunk % few.parts));
        let (panel, under) =
            scratch.slice::<T>(few.scratch(kernels)).split_at_mut(few.sizes(kernels)[0]);
        let (depth, steps) = (s.group_in(), s.taps() * s.group_in());
        let stretches = (0..s.taps())
            .flat_map(|tap| pieces(0..depth, few.depth).map(move |channels| (tap, channels)));
        // SAFETY: `check` held all operands against the sizes, `scratch` has room for a stretch, and
        // chunks have different channels.
        unsafe {
            let x = memory.ptr::<T>(self.x).add(group * depth).cast_const();
            for (tap, channels) in stretches {
                let (start, end) = (tap * depth + channels.start, tap * depth + channels.end);
                self.gather(few.pixels, tap, channels, x, under);
                for strip in strips.clone() {
                    // What is read next: the same steps of the next strip, or the next stretch.
                    let (next, from, rows) = match strip + 1 < strips.end {
                        true => (strip + 1, start, end - start),
                        false => (strips.start, end, few.depth.min(steps - end)),
                    };
                    let next = self.few_strip(few, kernels, group, next, y, memory);
                    let at = next.filter.wrapping_add(from * next.stride);
                    let ahead = Ahead { at, stride: next.stride, rows, ..Ahead::NONE };
                    let strip = self.few_strip(few, kernels, group, strip, y, memory);
                    let stretch = Stretch { steps: start..end, ends: end == steps };
                    self.meet(few, kernels, &strip, &stretch, (under, panel), ahead, memory);
                }
            }
        }
    }

    /// # Safety
    /// The strip is one of the group.
    unsafe fn few_strip<T: Scalar>(
        &self,
        few: &Few,
        kernels: &Kernels<T>,
        group: usize,
        strip: usize,
        y: *mut T,
        memory: &Memory,
    ) -> Strip<T> {
        let s = &self.shape;
        let within = strip * few.width * kernels.lanes;
        let columns = (few.width * kernels.lanes).min(s.group_out() - within);
        let (vectors, first) = (columns.div_ceil(kernels.lanes), group * s.group_out() + within);
        // SAFETY: `check` held the filter, or its panels, and the result against the sizes.
        let (filter, stride, y) = unsafe {
            let (filter, stride) = match self.packed {
                Some(panels) => {
                    let steps = s.taps() * s.group_in();
                    (memory.ptr::<T>(panels).add(first * steps), vectors * kernels.lanes)
                }
                None => (memory.ptr::<T>(self.filter).add(first), s.co),
            };
            (filter, stride, y.add(first))
        };
        Strip { filter: filter.cast_const(), stride, first, y, columns, vectors }
    }

    /// Adds what all pixels have under a stretch to the results of a strip.
    ///
    /// # Safety
    /// As [`run_few`](Conv::run_few): `under` holds the pixels, `panel` has room for the strip's part of the stretch.
    #[expect(clippy::too_many_arguments, reason = "the parts of one loop")]
    unsafe fn meet<T: Scalar>(
        &self,
        few: &Few,
        kernels: &Kernels<T>,
        strip: &Strip<T>,
        stretch: &Stretch,
        (under, panel): (&[T], &mut [T]),
        ahead: Ahead<T>,
        memory: &Memory,
    ) {
        let &Strip { filter, stride, first, y, columns, vectors } = strip;
        let depth = stretch.steps.len();
        let tallest = kernels.tallest(few.width);
        let bands = few.pixels.div_ceil(tallest);
        // SAFETY: the caller's promise.
        unsafe {
            let mut tile = Tile {
                a: under.as_ptr(),
                a_strides: [depth, 1],
                b: filter.add(stretch.steps.start * stride),
                b_stride: stride,
                depth,
                outer: [Repeat::ONCE; 2],
                c: y,
                c_stride: self.shape.co,
                columns,
                bias: std::ptr::null(),
                accumulate: stretch.steps.start > 0,
                activation: Activation::None,
                ahead,
            };
            // A single band of pixels reads the filter where it lies.
            if bands > 1 && self.packed.is_none() {
                let (from, to, width) = (tile.b, panel.as_mut_ptr(), vectors * kernels.lanes);
                (kernels.pack_rows)(&Pack { from, stride, depth, columns, to, width });
                (tile.b, tile.b_stride) = (to, width);
            }
            if stretch.ends {
                tile.activation = self.activation;
                if let Some(bias) = self.bias {
                    tile.bias = memory.ptr::<T>(bias).add(first);
                }
            }
            for (i, band) in pieces(0..few.pixels, tallest).enumerate() {
                let rows = piece(ahead.rows, bands, i);
                let at = ahead.at.wrapping_add(rows.start * ahead.stride);
                tile.ahead = Ahead { at, rows: rows.len(), ..ahead };
                tile.a = under.as_ptr().add(band.start * depth);
                tile.c = y.add(band.start * self.shape.co);
                kernels.tile(band.len(), vectors, true)(&tile);
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
