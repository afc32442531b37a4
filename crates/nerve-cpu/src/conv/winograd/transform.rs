//! The linear transformations of tiles, as additions of vectors over channels.

// The loops over places count, so that they unroll into plain registers without iterators between.
#![allow(clippy::needless_range_loop)]

use super::super::ConvShape;
use super::form::{Form, Rounded, Store, Whole};
use super::{PLACES, Tiles};
use crate::kernel::Precision;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2F32, Avx512F32, has_bf16};
use crate::simd::{Isa, Portable32, Vector};
use std::ops::Range;

#[cfg(target_arch = "x86_64")]
mod pairs;

/// Pixels of some tiles, to be written as 16 matrices `[tiles, channels]` in some
/// [form](super::form).
pub(super) struct Input<'a> {
    pub shape: &'a ConvShape,
    pub tiles: Range<usize>,
    /// The first of the channels, in the first pixel of all images.
    pub x: *const f32,
    pub channels: usize,
    /// As many zeros as channels, rounded up to whole vectors.
    pub zeros: *const f32,
    pub to: *mut f32,
    /// Words between rows, and between matrices.
    pub stride: usize,
    pub plane: usize,
}

/// Gradients of the results of some tiles, likewise.
pub(super) type Gradient<'a> = Input<'a>;

/// 16 matrices `[tiles, columns]` of products, to be stored as results.
pub(super) struct Output<'a> {
    pub shape: &'a ConvShape,
    pub tiles: Range<usize>,
    pub from: *const f32,
    pub stride: usize,
    pub plane: usize,
    /// The first of the columns, in the first pixel of all results.
    pub y: *mut f32,
    pub columns: usize,
    /// One value for each of the columns, or null.
    pub bias: *const f32,
    pub relu: bool,
}

/// Nine taps in rows of whole vectors to 16 places.
pub(super) struct Filter {
    /// The taps of a vector of channels, `lanes` values each.
    pub taps: [*const f32; 9],
    pub lanes: usize,
    pub to: *mut f32,
    pub plane: usize,
}

/// 16 matrices `[rows, columns]` of sums to the nine taps of a filter, whose rows are `co` apart
/// and whose taps are `tap` apart.
pub(super) struct Fold {
    pub from: *const f32,
    pub stride: usize,
    pub plane: usize,
    pub rows: usize,
    pub columns: usize,
    pub to: *mut f32,
    pub co: usize,
    pub tap: usize,
}

/// The transformations of an instruction set. Those with two forms differ in what makes a pair, if
/// there are pairs.
pub(super) struct Transforms {
    /// Two channels are a pair.
    pub input: unsafe fn(&Input<'_>),
    /// Two tiles are a pair.
    pub input_by_tile: unsafe fn(&Input<'_>),
    pub output: unsafe fn(&Output<'_>),
    /// Two tiles are a pair.
    pub gradient: unsafe fn(&Gradient<'_>),
    /// The first of a pair, the second, which comes after it, and one that is alone.
    pub filter: [unsafe fn(&Filter); 3],
    pub fold: unsafe fn(&Fold),
    /// `to[c * 16 + r] = from[r * stride + c]`, for `[rows, columns]`; zero from `rows` up to the
    /// lanes of a vector.
    pub transpose: unsafe fn(*const f32, usize, [usize; 2], *mut f32),
}

/// `a - b`.
#[inline(always)]
unsafe fn sub<V: Vector<Elem = f32>>(a: V, b: V) -> V {
    // SAFETY: the caller's promise. The product is exact.
    unsafe { a.fma(b, V::splat(-1.0)) }
}

#[inline(always)]
unsafe fn halve<V: Vector<Elem = f32>>(a: V) -> V {
    // SAFETY: the caller's promise. The product is exact.
    unsafe { V::zero().fma(a, V::splat(0.5)) }
}

/// `Bᵀ d`.
#[inline(always)]
unsafe fn input<V: Vector<Elem = f32>>(d: [V; 4]) -> [V; 4] {
    // SAFETY: the caller's promise; likewise below.
    unsafe { [sub(d[0], d[2]), d[1].add(d[2]), sub(d[2], d[1]), sub(d[1], d[3])] }
}

/// `Aᵀ m`.
#[inline(always)]
unsafe fn output<V: Vector<Elem = f32>>(m: [V; 4]) -> [V; 2] {
    // SAFETY: as above.
    unsafe { [m[0].add(m[1]).add(m[2]), sub(sub(m[1], m[2]), m[3])] }
}

/// `A y`.
#[inline(always)]
unsafe fn gradient<V: Vector<Elem = f32>>(y: [V; 2]) -> [V; 4] {
    // SAFETY: as above.
    unsafe { [y[0], y[0].add(y[1]), sub(y[0], y[1]), sub(V::zero(), y[1])] }
}

/// `G g`.
#[inline(always)]
unsafe fn filter<V: Vector<Elem = f32>>(g: [V; 3]) -> [V; 4] {
    // SAFETY: as above.
    unsafe {
        let ends = g[0].add(g[2]);
        [g[0], halve(ends.add(g[1])), halve(sub(ends, g[1])), g[2]]
    }
}

/// `Gᵀ p`.
#[inline(always)]
unsafe fn fold<V: Vector<Elem = f32>>(p: [V; 4]) -> [V; 3] {
    // SAFETY: as above.
    unsafe {
        let half = halve(p[1].add(p[2]));
        [p[0].add(half), halve(sub(p[1], p[2])), half.add(p[3])]
    }
}

/// One row of the places, all a `plane` apart.
#[inline(always)]
unsafe fn store_row<V: Vector<Elem = f32>, S: Store<V>>(
    row: usize,
    v: [V; 4],
    to: *mut f32,
    plane: usize,
) {
    for q in 0..4 {
        // SAFETY: the caller's promise.
        unsafe { S::store(v[q], to.add((4 * row + q) * plane)) };
    }
}

/// All places.
#[inline(always)]
unsafe fn load_places<V: Vector<Elem = f32>>(from: *const f32, plane: usize) -> [[V; 4]; 4] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut m = [[V::zero(); 4]; 4];
        for r in 0..4 {
            for q in 0..4 {
                m[r][q] = V::load(from.add((4 * r + q) * plane));
            }
        }
        m
    }
}

/// `Bᵀ d B` of the pixels that `load` gives.
#[inline(always)]
unsafe fn input_tile<V: Vector<Elem = f32>, S: Store<V>>(
    load: impl Fn(usize, usize) -> V,
    to: *mut f32,
    plane: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut down = [[V::zero(); 4]; 4];
        for q in 0..4 {
            let d = input([load(0, q), load(1, q), load(2, q), load(3, q)]);
            for r in 0..4 {
                down[r][q] = d[r];
            }
        }
        for r in 0..4 {
            store_row::<V, S>(r, input(down[r]), to, plane);
        }
    }
}

/// The pixels of all tiles.
///
/// # Safety
/// The instruction set of `V`; the images may be read, the matrices written.
#[inline(always)]
unsafe fn inputs<V: Vector<Elem = f32>, F: Form<V>>(job: &Input<'_>) {
    let tiles = Tiles::of(job.shape);
    let mut place = tiles.place(job.tiles.start);
    for i in 0..job.tiles.len() {
        // SAFETY: the caller's promise.
        unsafe {
            let to = job.to.add(i / F::TILES * job.stride);
            match (i % F::TILES, i + 1 < job.tiles.len()) {
                (0, false) => pixels_of_tile::<V, F, F::Lone>(job, place, to),
                (0, true) => pixels_of_tile::<V, F, F::First>(job, place, to),
                _ => pixels_of_tile::<V, F, F::Second>(job, place, to),
            }
        }
        place = tiles.next(place);
    }
}

/// The pixels of one tile.
#[inline(always)]
unsafe fn pixels_of_tile<V: Vector<Elem = f32>, F: Form<V>, S: Store<V>>(
    job: &Input<'_>,
    [n, y, x]: [usize; 3],
    to: *mut f32,
) {
    let (s, plane) = (job.shape, job.plane);
    let row = s.w * s.c;
    let full = job.channels / V::LANES * V::LANES;
    let to = |c: usize| to.wrapping_add(c / F::CHANNELS);
    // Tiles that see only pixels, no zeros of a border.
    let within =
        |before: usize, length: usize| before.div_ceil(2)..(before + length).saturating_sub(2) / 2;
    let inside = s.between == [0; 2]
        && within(s.pad[0][0], s.h).contains(&y)
        && within(s.pad[1][0], s.w).contains(&x);
    // SAFETY: `source` names only pixels that exist; the mask keeps to the channels.
    unsafe {
        let image = job.x.add(n * s.h * row);
        let mut pixels = [job.zeros; PLACES];
        if !inside || full < job.channels {
            let mut columns = [None; 4];
            for q in 0..4 {
                columns[q] = s.source(1, 2 * x + q);
            }
            for r in 0..4 {
                let Some(y) = s.source(0, 2 * y + r) else { continue };
                for q in 0..4 {
                    if let Some(x) = columns[q] {
                        pixels[4 * r + q] = image.add(y * row + x * s.c);
                    }
                }
            }
        }
        if inside {
            let (y, x) = (2 * y - s.pad[0][0], 2 * x - s.pad[1][0]);
            let corner = image.add(y * row + x * s.c);
            for c in (0..full).step_by(V::LANES) {
                let corner = corner.add(c);
                let load = |r: usize, q: usize| V::load(corner.add(r * row + q * s.c));
                input_tile::<V, S>(load, to(c), plane);
            }
        } else {
            for c in (0..full).step_by(V::LANES) {
                let load = |r: usize, q: usize| V::load(pixels[4 * r + q].add(c));
                input_tile::<V, S>(load, to(c), plane);
            }
        }
        if full < job.channels {
            let mask = V::mask(job.channels - full);
            let load = |r: usize, q: usize| V::load_masked(pixels[4 * r + q].add(full), mask);
            input_tile::<V, S>(load, to(full), plane);
        }
    }
}

/// The results of all tiles.
///
/// # Safety
/// As [`inputs`].
#[inline(always)]
unsafe fn outputs<V: Vector<Elem = f32>>(job: &Output<'_>) {
    let s = job.shape;
    let (tiles, oh, ow) = (Tiles::of(s), s.oh(), s.ow());
    let mut place = tiles.place(job.tiles.start);
    let row = ow * s.co;
    // SAFETY: pixels beyond the last row and column are left out, and so are columns by the mask.
    unsafe {
        for i in 0..job.tiles.len() {
            let [n, y, x] = place;
            let (down, across) = (2 * y + 1 < oh, 2 * x + 1 < ow);
            let pixel = job.y.add((n * oh + 2 * y) * row + 2 * x * s.co);
            for c in (0..job.columns).step_by(V::LANES) {
                let m: [[V; 4]; 4] = load_places(job.from.add(i * job.stride + c), job.plane);
                let mut rows = [[V::zero(); 4]; 2];
                for q in 0..4 {
                    let two = output([m[0][q], m[1][q], m[2][q], m[3][q]]);
                    rows[0][q] = two[0];
                    rows[1][q] = two[1];
                }
                let mut results = [output(rows[0]), output(rows[1])];
                let mask = V::mask((job.columns - c).min(V::LANES));
                if !job.bias.is_null() {
                    let bias = V::load_masked(job.bias.add(c), mask);
                    for i in 0..4 {
                        results[i / 2][i % 2] = results[i / 2][i % 2].add(bias);
                    }
                }
                if job.relu {
                    for i in 0..4 {
                        results[i / 2][i % 2] = V::zero().max(results[i / 2][i % 2]);
                    }
                }
                let pixel = pixel.add(c);
                results[0][0].store_masked(pixel, mask);
                if across {
                    results[0][1].store_masked(pixel.add(s.co), mask);
                }
                if down {
                    results[1][0].store_masked(pixel.add(row), mask);
                    if across {
                        results[1][1].store_masked(pixel.add(row + s.co), mask);
                    }
                }
            }
            place = tiles.next(place);
        }
    }
}

/// The gradients of the results of all tiles; the pixels of `x` are those of the results.
///
/// # Safety
/// As [`inputs`].
#[inline(always)]
unsafe fn gradients<V: Vector<Elem = f32>, F: Form<V>>(job: &Gradient<'_>) {
    let tiles = Tiles::of(job.shape);
    let mut place = tiles.place(job.tiles.start);
    for i in 0..job.tiles.len() {
        // SAFETY: the caller's promise.
        unsafe {
            let to = job.to.add(i / F::TILES * job.stride);
            match (i % F::TILES, i + 1 < job.tiles.len()) {
                (0, false) => gradients_of_tile::<V, F, F::Lone>(job, place, to),
                (0, true) => gradients_of_tile::<V, F, F::First>(job, place, to),
                _ => gradients_of_tile::<V, F, F::Second>(job, place, to),
            }
        }
        place = tiles.next(place);
    }
}

/// The gradients of the results of one tile.
#[inline(always)]
unsafe fn gradients_of_tile<V: Vector<Elem = f32>, F: Form<V>, S: Store<V>>(
    job: &Gradient<'_>,
    [n, y, x]: [usize; 3],
    to: *mut f32,
) {
    let s = job.shape;
    let (oh, ow) = (s.oh(), s.ow());
    let row = ow * s.co;
    // SAFETY: beyond the last row and column there are zeros; the mask keeps to the channels.
    unsafe {
        let (down, across) = (2 * y + 1 < oh, 2 * x + 1 < ow);
        let pixel = job.x.add((n * oh + 2 * y) * row + 2 * x * s.co);
        let at = |there: bool, step: usize| if there { pixel.add(step) } else { job.zeros };
        let (right, below) = (at(across, s.co), at(down, row));
        let corner = at(down && across, row + s.co);
        for c in (0..job.channels).step_by(V::LANES) {
            let mask = V::mask((job.channels - c).min(V::LANES));
            let load = |from: *const f32| V::load_masked(from.add(c), mask);
            let left = gradient([load(pixel), load(below)]);
            let right = gradient([load(right), load(corner)]);
            for r in 0..4 {
                let values = gradient([left[r], right[r]]);
                store_row::<V, S>(r, values, to.add(c / F::CHANNELS), job.plane);
            }
        }
    }
}

/// `G g Gᵀ` for one vector of channels.
///
/// # Safety
/// As [`inputs`].
#[inline(always)]
unsafe fn filters<V: Vector<Elem = f32>, S: Store<V>>(job: &Filter) {
    // SAFETY: the mask keeps to the lanes; rows of the result are whole vectors.
    unsafe {
        let mask = V::mask(job.lanes);
        let mut rows = [[V::zero(); 3]; 4];
        for q in 0..3 {
            let four = filter([
                V::load_masked(job.taps[q], mask),
                V::load_masked(job.taps[3 + q], mask),
                V::load_masked(job.taps[6 + q], mask),
            ]);
            for r in 0..4 {
                rows[r][q] = four[r];
            }
        }
        for r in 0..4 {
            store_row::<V, S>(r, filter(rows[r]), job.to, job.plane);
        }
    }
}

/// `Gᵀ p G` for all pairs of channels.
///
/// # Safety
/// As [`inputs`].
#[inline(always)]
unsafe fn folds<V: Vector<Elem = f32>>(job: &Fold) {
    // SAFETY: the mask keeps to the columns; rows of the sums are whole vectors.
    unsafe {
        for r in 0..job.rows {
            for c in (0..job.columns).step_by(V::LANES) {
                let mask = V::mask((job.columns - c).min(V::LANES));
                let p: [[V; 4]; 4] = load_places(job.from.add(r * job.stride + c), job.plane);
                let mut rows = [[V::zero(); 4]; 3];
                for q in 0..4 {
                    let three = fold([p[0][q], p[1][q], p[2][q], p[3][q]]);
                    for y in 0..3 {
                        rows[y][q] = three[y];
                    }
                }
                let to = job.to.add(r * job.co + c);
                for y in 0..3 {
                    let taps = fold(rows[y]);
                    for x in 0..3 {
                        taps[x].store_masked(to.add((3 * y + x) * job.tap), mask);
                    }
                }
            }
        }
    }
}

macro_rules! transforms {
    ($module:ident, $(#[$features:meta])?, $vector:ty) => {
        mod $module {
            use super::*;

            $(#[$features])?
            unsafe fn input<F: Form<$vector>>(job: &Input<'_>) {
                // SAFETY: the features are enabled here; the rest is the caller's promise.
                unsafe { inputs::<$vector, F>(job) }
            }
            $(#[$features])?
            unsafe fn output(job: &Output<'_>) {
                // SAFETY: as above.
                unsafe { outputs::<$vector>(job) }
            }
            $(#[$features])?
            unsafe fn gradient<F: Form<$vector>>(job: &Gradient<'_>) {
                // SAFETY: as above.
                unsafe { gradients::<$vector, F>(job) }
            }
            $(#[$features])?
            unsafe fn filter<S: Store<$vector>>(job: &Filter) {
                // SAFETY: as above.
                unsafe { filters::<$vector, S>(job) }
            }
            $(#[$features])?
            unsafe fn fold(job: &Fold) {
                // SAFETY: as above.
                unsafe { folds::<$vector>(job) }
            }
            $(#[$features])?
            unsafe fn transpose(
                from: *const f32,
                stride: usize,
                [rows, columns]: [usize; 2],
                to: *mut f32,
            ) {
                const LANES: usize = <$vector>::LANES;
                for c in (0..columns).step_by(LANES) {
                    let block = [rows, (columns - c).min(LANES)];
                    // SAFETY: as above.
                    unsafe {
                        let to = to.add(c * 16);
                        <$vector>::transpose(from.add(c), stride, block, to, 16, LANES);
                    }
                }
            }

            pub const TABLE: Transforms = Transforms {
                input: input::<Whole>,
                input_by_tile: input::<Whole>,
                output,
                gradient: gradient::<Whole>,
                filter: [filter::<Whole>; 3],
                fold,
                transpose,
            };
            pub static FULL: Transforms = TABLE;
            /// What products read is rounded to bf16.
            pub static ROUNDED: Transforms = Transforms {
                input: input::<Rounded>,
                input_by_tile: input::<Rounded>,
                gradient: gradient::<Rounded>,
                filter: [filter::<Rounded>; 3],
                ..TABLE
            };
        }
    };
}

#[cfg(target_arch = "x86_64")]
transforms!(avx512, #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")], Avx512F32);
#[cfg(target_arch = "x86_64")]
transforms!(avx2, #[target_feature(enable = "avx2,fma")], Avx2F32);
transforms!(portable, , Portable32);

/// The transformations of an instruction set, which must be available if they are to run. What they
/// write is for the tiles of the same instruction set and precision.
pub(super) fn transforms(isa: Isa, precision: Precision) -> &'static Transforms {
    match (precision, isa) {
        #[cfg(target_arch = "x86_64")]
        (Precision::Full, Isa::Avx512) => &avx512::FULL,
        #[cfg(target_arch = "x86_64")]
        (Precision::Full, Isa::Avx2) => &avx2::FULL,
        (Precision::Full, _) => &portable::FULL,
        #[cfg(target_arch = "x86_64")]
        (Precision::Bf16, Isa::Avx512) if has_bf16() => &pairs::PAIRS,
        #[cfg(target_arch = "x86_64")]
        (Precision::Bf16, Isa::Avx512) => &avx512::ROUNDED,
        #[cfg(target_arch = "x86_64")]
        (Precision::Bf16, Isa::Avx2) => &avx2::ROUNDED,
        (Precision::Bf16, _) => &portable::ROUNDED,
    }
}
