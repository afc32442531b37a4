//! Convolutions with 3 by 3 filters by fewer multiplications: Winograd's algorithm.
//!
//! Four neighbouring results, 2 by 2, see 4 by 4 pixels. Computed one by one they take 36
//! multiplications for each pair of channels; after a linear transformation of the pixels and of
//! the filter they take 16, one for each place of the transformed tile:
//!
//! `Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A` (Lavin and Gray, 2016, "Fast algorithms for convolutional
//! neural networks", F(2×2, 3×3)).
//!
//! Over all tiles and channels the 16 places are 16 independent products of matrices. Channels lie
//! side by side, so the transformations are additions of vectors. A chunk takes a block of tiles:
//! it transforms their pixels (zeros of a border are never stored anywhere), multiplies, and
//! transforms and stores the results, all in its cache. The filter is transformed before, by
//! [`WinogradFilter`].
//!
//! The gradient of the images is such a convolution again, with the filter turned around. The
//! gradient of the filter is the transpose of the same form, `Gᵀ [(Bᵀ d B) ⊙ (A dY Aᵀ)] G`, whose 16
//! products have the tiles as their depth; see [`ConvWeightGrad`](super::ConvWeightGrad).
//!
//! # Accuracy
//! The transformations only add and halve, and the sums are a ninth as long. Errors against f64 for
//! random values in -1 .. 1, in units of the root mean square of the result, largest and mean
//! (`cargo bench -p nerve-cpu --bench conv -- accuracy`):
//!
//! | shape, images | direct | Winograd | weight gradient, direct | Winograd |
//! |---|---|---|---|---|
//! | 14×14, 32→64, 64 | 3.8e-6, 2.0e-7 | 1.3e-6, 1.5e-7 | 1.6e-6, 2.8e-7 | 1.2e-6, 2.2e-7 |
//! | 32×32, 64→64, 16 | 5.2e-6, 3.0e-7 | 1.6e-6, 2.0e-7 | 1.3e-6, 2.4e-7 | 1.5e-6, 2.2e-7 |
//! | 16×16, 128→128, 16 | 6.7e-6, 4.1e-7 | 2.2e-6, 2.8e-7 | 9.5e-7, 1.6e-7 | 1.4e-6, 2.1e-7 |
//! | 8×8, 256→256, 16 | 9.8e-6, 5.6e-7 | 2.9e-6, 3.9e-7 | 8.1e-7, 1.1e-7 | 1.6e-6, 2.1e-7 |
//! | 4×4, 512→512, 16 | 1.3e-5, 7.1e-7 | 5.0e-6, 5.7e-7 | 9.5e-7, 8.0e-8 | 2.5e-6, 2.1e-7 |
//!
//! So results are nearer to the truth than direct sums, which are nine times as long. Weight
//! gradients are as near where many pixels are summed, and up to three times as far where few are.
//!
//! With [`Precision::Bf16`](crate::Precision) transformed pixels, gradients and filters are rounded
//! (and multiplied as pairs where the processor does that); the transformations, sums and results
//! stay f32. What is rounded are sums of four pixels, so errors are larger than those of direct sums
//! of rounded operands (by theory 5/3 of them for independent values): for the shapes above and
//! both results alike 2.0 to 2.6 % of their root mean square at most and 0.31 % on average, direct
//! 1.0 to 1.2 % and 0.17 %.
//!
//! Larger tiles (F(4×4, 3×3)) would save more multiplications, but their errors are ten times as
//! large; they are not here. `NERVE_WINOGRAD=0` in the environment turns the algorithm off.

mod filter;
mod form;
mod forward;
#[cfg(test)]
mod tests;
mod transform;
mod weight;

pub use filter::WinogradFilter;
pub(super) use weight::Strips;

use super::ConvShape;
use crate::gemm::drive::piece;
use crate::kernel::Float;
use crate::simd::prefetch;
use std::ops::Range;
use std::sync::OnceLock;

/// Places of a transformed tile.
pub(super) const PLACES: usize = 16;
/// Elements of a cache line: rows of scratch matrices are multiples of it.
const LINE: usize = 16;

/// Whether the environment allows the algorithm: unless `NERVE_WINOGRAD` is `0`.
fn allowed() -> bool {
    static ALLOWED: OnceLock<bool> = OnceLock::new();
    *ALLOWED.get_or_init(|| std::env::var_os("NERVE_WINOGRAD").is_none_or(|word| word != "0"))
}

impl ConvShape {
    /// Whether the algorithm can compute this convolution.
    pub(super) fn winograd_fits(&self, ty: Float) -> bool {
        let ConvShape { kh, kw, groups, stride, dilation, .. } = *self;
        ty == Float::F32
            && ([kh, kw], groups, stride, dilation) == ([3, 3], 1, [1, 1], [1, 1])
            && self.results() > 0
            && self.c > 0
    }

    /// Whether it is faster than the direct one, and allowed. `filters` says whether the filter is
    /// transformed for it (the weight gradient has nothing to transform before).
    ///
    /// Costs are counted in multiply-adds: a tile takes 16 for each pair of channels, and its
    /// transformations as long as about 40 for each input channel and 100 for each output channel
    /// (short products included). To read an element of a filter from memory takes as long as 13,
    /// and there are 16 in the place of nine. (Transforming it takes longer, but filters that do
    /// not change are transformed once, and large batches do not notice.)
    pub(super) fn winograd_pays(&self, ty: Float, filters: bool) -> bool {
        if !allowed() || !self.winograd_fits(ty) {
            return false;
        }
        let [c, co] = [self.c, self.co].map(|n| n.next_multiple_of(16) as u64);
        let pairs = self.c as u64 * co;
        let filter = if filters { 13 * pairs } else { 0 };
        let direct = self.flops() / 2 / self.co as u64 * co + 9 * filter;
        let tiles = Tiles::of(self).count as u64;
        let fewer = tiles * (16 * pairs + 40 * c + 100 * co) + 16 * filter;
        fewer < direct
    }
}

/// The tiles of results: 2 by 2 each, the last row and column of an image perhaps less.
#[derive(Clone, Copy, Debug)]
struct Tiles {
    /// Rows of tiles in an image.
    down: usize,
    /// Tiles in a row.
    across: usize,
    /// All of them.
    count: usize,
}

impl Tiles {
    fn of(s: &ConvShape) -> Tiles {
        let (down, across) = (s.oh().div_ceil(2), s.ow().div_ceil(2));
        Tiles { down, across, count: s.n * down * across }
    }

    /// Image, row and column of tile number `i`.
    fn place(&self, i: usize) -> [usize; 3] {
        let image = self.down * self.across;
        [i / image, i % image / self.across, i % self.across]
    }

    /// The one after it.
    #[inline(always)]
    fn next(&self, [n, y, x]: [usize; 3]) -> [usize; 3] {
        match (y + 1 < self.down, x + 1 < self.across) {
            (_, true) => [n, y, x + 1],
            (true, false) => [n, y + 1, 0],
            (false, false) => [n + 1, 0, 0],
        }
    }
}

/// Pixels that are read or written soon. Tiles come from memory and go there in bursts, between
/// long products that touch only the cache: while those run, the caches ask for them.
#[derive(Clone, Debug)]
struct Soon {
    /// The first of the channels, in the first of all pixels.
    at: *const f32,
    pixels: Range<usize>,
    /// Elements between pixels.
    stride: usize,
    channels: usize,
}

impl Soon {
    /// The pixels under some tiles, or a few more.
    fn input(s: &ConvShape, x: *const f32, tiles: Range<usize>, channels: usize) -> Soon {
        // Between spread pixels there is little to wait for.
        let dense = s.between == [0; 2] && !tiles.is_empty();
        let place = |i: usize, first: usize| {
            let [n, y, _] = Tiles::of(s).place(i);
            (n * s.h + (2 * y + first).saturating_sub(s.pad[0][0]).min(s.h)) * s.w
        };
        let pixels = if dense { place(tiles.start, 0)..place(tiles.end - 1, 4) } else { 0..0 };
        Soon { at: x, pixels, stride: s.c, channels }
    }

    /// The results of some tiles, or a few more.
    fn output(s: &ConvShape, y: *const f32, tiles: Range<usize>, channels: usize) -> Soon {
        let place = |i: usize, first: usize| {
            let [n, y, _] = Tiles::of(s).place(i);
            (n * s.oh() + (2 * y + first).min(s.oh())) * s.ow()
        };
        let pixels = match tiles.is_empty() {
            true => 0..0,
            false => place(tiles.start, 0)..place(tiles.end - 1, 2),
        };
        Soon { at: y, pixels, stride: s.co, channels }
    }

    /// Asks for part number `part` of `parts`.
    #[inline]
    fn ask<const HOW: u8>(&self, part: usize, parts: usize) {
        let pixels = piece(self.pixels.len(), parts, part);
        for pixel in self.pixels.start + pixels.start..self.pixels.start + pixels.end {
            let at = self.at.wrapping_add(pixel * self.stride);
            for c in (0..self.channels).step_by(LINE) {
                prefetch::<HOW, _>(at.wrapping_add(c));
            }
        }
    }
}

/// Elements between rows of a scratch matrix with `columns` columns: whole cache lines, and not a
/// multiple of half a page, which would put all rows into the same places of the cache.
fn row_stride(columns: usize) -> usize {
    let whole = columns.next_multiple_of(LINE);
    if whole.is_multiple_of(512) { whole + LINE } else { whole }
}

/// Elements between the matrices of two places, each with `rows` rows `stride` apart: not a
/// multiple of a page, for the same reason.
fn plane(rows: usize, stride: usize) -> usize {
    rows * stride + LINE
}
