//! How a convolution falls into lines, strips and chunks.

use super::{Conv, ConvShape, even};
use crate::gemm::tile::{Kernels, Scalar};

/// Floating-point operations of a chunk: about 20 µs.
const CHUNK_FLOPS: u64 = 4_000_000;
/// Fewest chunks of a convolution that takes as long as so many of a quarter.
const LEAST_CHUNKS: u64 = 4;
/// Most chunks. With the usual batch of 64, a chunk is an image.
const MOST_CHUNKS: u64 = 64;
/// Most bytes of a panel that a chunk packs for itself: half of L2.
const PANEL_BYTES: usize = 512 * 1024;
/// Most bytes of a block of images with their border.
const BLOCK_BYTES: usize = 256 * 1024;
/// Pixels that are taken as one line where the filter is a single pixel.
pub(super) const LINE: usize = 112;

/// The result as lines of pixels: rows of the image, or stretches of all pixels where the filter
/// is a single pixel and rows do not matter.
#[derive(Clone, Copy)]
pub(super) struct Lines {
    pub(super) count: usize,
    pub(super) length: usize,
    /// Length of the last one.
    pub(super) last: usize,
    /// Lines of an image.
    pub(super) image: usize,
}

#[derive(Clone, Copy)]
pub(super) struct Plan {
    pub(super) lines: Lines,
    /// Vectors in a strip of output channels.
    pub(super) width: usize,
    /// Strips of a group.
    pub(super) strips: usize,
    /// Parts into which lines and strips are cut.
    pub(super) cuts: [usize; 2],
    /// Whether a chunk packs each strip of the filter before it uses it.
    pub(super) pack: bool,
}

impl Conv {
    /// The sizes, with the words of a pixel in the place of its channels.
    pub(super) fn words<T: Scalar>(&self, kernels: &Kernels<T>) -> ConvShape {
        ConvShape { c: self.shape.c / kernels.pair, ..self.shape }
    }

    pub(super) fn lines(&self) -> Lines {
        let s = &self.shape;
        if s.taps() == 1 && s.stride == [1, 1] && !s.is_padded() {
            let pixels = s.n * s.h * s.w;
            let count = pixels.div_ceil(LINE);
            let last = pixels - count.saturating_sub(1) * LINE;
            Lines { count, length: LINE, last, image: usize::MAX }
        } else {
            Lines { count: s.n * s.oh(), length: s.ow(), last: s.ow(), image: s.oh() }
        }
    }

    pub(super) fn plan<T: Scalar>(&self, kernels: &Kernels<T>) -> Plan {
        let s = &self.shape;
        let lines = self.lines();
        let depthwise = s.depthwise();
        let columns = if depthwise { s.co } else { s.group_out() };
        let width = if depthwise { 1 } else { kernels.width(lines.length, columns) };
        let strips = columns.div_ceil(width * kernels.lanes);
        let groups = if depthwise { 1 } else { s.groups };
        let cuts = self.cuts(lines.count, groups * strips);
        let depth = s.taps() * self.words(kernels).group_in();
        let panel = depth * width * kernels.lanes * size_of::<T>();
        let pixels = lines.count / cuts[0] * lines.length;
        // A strip that is all of the filter lies in order as it is.
        let faster = groups * strips > 1 && panel <= PANEL_BYTES && pixels >= 32;
        let pack = !depthwise && self.packed.is_none() && (self.rounds() || faster);
        Plan { lines, width, strips, cuts, pack }
    }

    /// Cuts lines and strips so that the least is read again: each chunk reads its part of the
    /// images, and (twice, to pack it) its part of the filter.
    fn cuts(&self, lines: usize, strips: usize) -> [usize; 2] {
        // A channel with a filter of its own is read for few products: what takes time is reading.
        let work = self.shape.flops() * if self.shape.depthwise() { 8 } else { 1 };
        let few = (4 * work / CHUNK_FLOPS).clamp(1, LEAST_CHUNKS);
        let wanted = even((work / CHUNK_FLOPS).clamp(few, MOST_CHUNKS) as usize);
        let (images, filter) = (self.shape.images(), self.shape.filter());
        let mut best = ([1, 1], usize::MAX);
        for of_lines in [1, 2, 4, 8, 16, 32, 64] {
            let of_lines = wanted.min(of_lines).min(lines.max(1));
            let of_strips = wanted.div_ceil(of_lines).min(strips.max(1));
            let missing = wanted.saturating_sub(of_lines * of_strips);
            let cost = images
                .saturating_mul(of_strips)
                .saturating_add(filter.saturating_mul(2 * of_lines))
                .saturating_add(images.saturating_add(filter).saturating_mul(missing));
            if cost < best.1 {
                best = ([of_lines, of_strips], cost);
            }
        }
        best.0
    }

    /// Elements of the panel that a chunk packs the filter into.
    pub(super) fn panel<T: Scalar>(&self, plan: &Plan, kernels: &Kernels<T>) -> usize {
        let depth = self.shape.taps() * self.words(kernels).group_in();
        if plan.pack { depth * plan.width * kernels.lanes } else { 0 }
    }

    /// Whether images are read where they lie.
    pub(super) fn in_place(&self) -> bool {
        !self.shape.is_padded() && !self.rounds()
    }

    /// Lines of results whose images with their border fit a block.
    pub(super) fn block_lines(&self) -> usize {
        let f = self.shape.filled();
        let row = if self.lines().image == usize::MAX { LINE } else { f.w };
        // In words of one kind for all: the cuts are those of the shape.
        let bytes = f.stride[0].min(f.h) * row * f.c * self.ty.bytes();
        let bytes = if self.rounds() { bytes / 2 } else { bytes };
        (BLOCK_BYTES / bytes.max(1)).max(1)
    }
}
