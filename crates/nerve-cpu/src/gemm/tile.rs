//! The micro-kernel: a tile of C that stays in registers while A and B stream past.

// The loops over tiles count, so that they unroll into plain registers without iterators between.
#![allow(clippy::needless_range_loop)]

mod ahead;

pub(crate) use ahead::{Ahead, Lines, line};

use super::dot::{Dot, dot};
use super::pack::{Pack, pack_columns, pack_rows};
use super::turn::{Turn, turn};
use crate::kernel::Precision;
#[cfg(target_arch = "x86_64")]
use crate::simd::has_bf16;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2F32, Avx2F64, Avx512F32, Avx512F64};
use crate::simd::{Element, Isa, Portable32, Portable64, Prefetch, Vector, opaque, prefetch};
use ahead::Next;
use std::ops::Range;

/// What is applied to each element of a product just before it is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Activation {
    /// Nothing.
    #[default]
    None,
    /// `max(x, 0)`. What is not a number stays so.
    Relu,
}

impl Activation {
    /// The activation of one value, as the vectors do it.
    pub(crate) fn apply<T: Element>(self, value: T) -> T {
        match self {
            Activation::None => value,
            Activation::Relu if T::default() > value => T::default(),
            Activation::Relu => value,
        }
    }
}

/// One level of an outer sum: how often, and by how many elements A and B move each time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Repeat {
    pub times: usize,
    pub a: usize,
    pub b: usize,
}

impl Repeat {
    /// A level that is not there.
    pub const ONCE: Repeat = Repeat { times: 1, a: 0, b: 0 };
}

/// What a micro-kernel is asked to do:
///
/// `C[i, j] = activation(sum of A[i, d] * B[d, j] + bias[j] (+ C[i, j]))`
///
/// The sum runs over `depth` steps inside two outer levels, which is how one kernel serves plain
/// products (both levels once), convolutions (rows and columns of the filter) and their weight
/// gradients (images and rows of the image) without gathering anything first. All strides are in
/// elements.
#[derive(Clone, Copy)]
pub(crate) struct Tile<T> {
    pub a: *const T,
    /// Distance between rows of A, and between steps of the depth. One of them is 1.
    pub a_strides: [usize; 2],
    pub b: *const T,
    /// Distance between steps of the depth. Columns of B lie side by side.
    pub b_stride: usize,
    pub depth: usize,
    /// The inner of the two outer levels first.
    pub outer: [Repeat; 2],
    pub c: *mut T,
    pub c_stride: usize,
    /// Columns that exist; more than all but the last vector of the tile.
    pub columns: usize,
    /// One value a column, or null.
    pub bias: *const T,
    /// Whether to add to what C holds.
    pub accumulate: bool,
    pub activation: Activation,
    pub ahead: Ahead<T>,
}

pub(crate) type TileFn<T> = unsafe fn(&Tile<T>);
pub(crate) type DotFn<T> = unsafe fn(&Dot<T>);

/// The one body of all micro-kernels: `MR` rows by `NV` vectors. `DEPTH` says along which axis A is
/// contiguous, which spares a multiplication for each address.
///
/// # Safety
/// The instruction set of `V`; all elements that the strides lead to may be read, those of C
/// written; nobody else touches C.
#[inline(always)]
pub(crate) unsafe fn tile<V: Vector, const MR: usize, const NV: usize, const DEPTH: bool>(
    t: &Tile<V::Elem>,
) {
    let row = if DEPTH { t.a_strides[0] } else { 1 };
    let step = if DEPTH { 1 } else { t.a_strides[1] };
    let (depth, b_stride) = (t.depth, t.b_stride);
    // SAFETY: the caller's promise. The mask keeps the last vector inside the columns.
    unsafe {
        let mask = V::mask(t.columns - (NV - 1) * V::LANES);
        let mut acc = [[V::zero(); NV]; MR];
        for i in 0..MR {
            for j in 0..NV {
                prefetch::<{ Prefetch::WRITE }, _>(t.c.wrapping_add(i * t.c_stride + j * V::LANES));
            }
        }
        for far in 0..t.outer[1].times {
            for near in 0..t.outer[0].times {
                let mut a = t.a.add(far * t.outer[1].a + near * t.outer[0].a);
                let mut b = t.b.add(far * t.outer[1].b + near * t.outer[0].b);
                let mut next = Next::new(t.ahead);
                let mut d = 0;
                while d + V::STEPS <= depth {
                    next.ask::<V, MR, NV, DEPTH>(V::STEPS, d, a, row);
                    for _ in 0..V::STEPS {
                        multiply::<V, MR, NV>(&mut acc, a, row, b, mask);
                        a = a.wrapping_add(step);
                        b = b.wrapping_add(b_stride);
                        if DEPTH && V::STEPS > 1 {
                            // Else the values of all steps would be read first, more than registers hold.
                            a = opaque(a);
                        }
                    }
                    d += V::STEPS;
                }
                while V::STEPS > 1 && d < depth {
                    next.ask::<V, MR, NV, DEPTH>(1, d, a, row);
                    multiply::<V, MR, NV>(&mut acc, a, row, b, mask);
                    a = a.wrapping_add(step);
                    b = b.wrapping_add(b_stride);
                    d += 1;
                }
            }
        }
        finish(t, acc, mask);
    }
}

/// One step of the depth: `MR` values of A, `row` apart, times a row of B.
#[inline(always)]
unsafe fn multiply<V: Vector, const MR: usize, const NV: usize>(
    acc: &mut [[V; NV]; MR],
    a: *const V::Elem,
    row: usize,
    b: *const V::Elem,
    mask: V::Mask,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let b_row = load_row::<V, NV>(b, mask);
        for i in 0..MR {
            let value = V::splat(*a.add(i * row));
            for j in 0..NV {
                acc[i][j] = acc[i][j].fma(value, b_row[j]);
            }
        }
    }
}

/// Products channel by channel: `C[i, j] = activation(sum of A[i, d, j] * B[d, j] + ...)`, for `MR`
/// rows and one vector of columns. Here `a_strides` are between rows and between steps, and the
/// columns of A lie side by side as those of B do.
///
/// # Safety
/// As [`tile`].
#[inline(always)]
pub(crate) unsafe fn channels<V: Vector, const MR: usize>(t: &Tile<V::Elem>) {
    let [row, step] = t.a_strides;
    // SAFETY: the caller's promise. The mask keeps each vector inside the columns.
    unsafe {
        let mask = V::mask(t.columns);
        let mut acc = [[V::zero(); 1]; MR];
        for far in 0..t.outer[1].times {
            for near in 0..t.outer[0].times {
                let mut a = t.a.add(far * t.outer[1].a + near * t.outer[0].a);
                let mut b = t.b.add(far * t.outer[1].b + near * t.outer[0].b);
                for _ in 0..t.depth {
                    let value = V::load_masked(b, mask);
                    for i in 0..MR {
                        acc[i][0] = acc[i][0].fma(V::load_masked(a.add(i * row), mask), value);
                    }
                    a = a.wrapping_add(step);
                    b = b.wrapping_add(t.b_stride);
                }
            }
        }
        finish(t, acc, mask);
    }
}

/// The last step of a tile: what C held, the bias, the activation, the store.
#[inline(always)]
unsafe fn finish<V: Vector, const MR: usize, const NV: usize>(
    t: &Tile<V::Elem>,
    mut acc: [[V; NV]; MR],
    mask: V::Mask,
) {
    // SAFETY: the caller's promise.
    unsafe {
        if t.accumulate {
            for i in 0..MR {
                let before = load_row::<V, NV>(t.c.add(i * t.c_stride), mask);
                for j in 0..NV {
                    acc[i][j] = acc[i][j].add(before[j]);
                }
            }
        }
        if !t.bias.is_null() {
            let bias = load_row::<V, NV>(t.bias, mask);
            for i in 0..MR {
                for j in 0..NV {
                    acc[i][j] = acc[i][j].add(bias[j]);
                }
            }
        }
        if t.activation == Activation::Relu {
            for acc in acc.as_flattened_mut() {
                *acc = V::zero().max(*acc);
            }
        }
        for i in 0..MR {
            let to = t.c.add(i * t.c_stride);
            for j in 0..NV - 1 {
                acc[i][j].store(to.add(j * V::LANES));
            }
            acc[i][NV - 1].store_masked(to.add((NV - 1) * V::LANES), mask);
        }
    }
}

#[inline(always)]
unsafe fn load_row<V: Vector, const NV: usize>(from: *const V::Elem, mask: V::Mask) -> [V; NV] {
    // SAFETY: the caller promises all lanes of all but the last vector, and those in the mask.
    unsafe {
        let mut row = [V::load_masked(from.add((NV - 1) * V::LANES), mask); NV];
        for j in 0..NV - 1 {
            row[j] = V::load(from.add(j * V::LANES));
        }
        row
    }
}

/// The kernels of one instruction set for one type of element.
#[derive(Clone, Copy)]
pub(crate) struct Kernels<T: 'static> {
    /// Elements in a vector.
    pub lanes: usize,
    /// Steps of the depth that a tile takes at once: 2 where packing makes pairs of bf16, in the
    /// place of one element.
    pub pair: usize,
    /// `tiles[along depth][vectors - 1][rows - 1]`.
    tiles: [&'static [&'static [TileFn<T>]]; 2],
    /// `dots[rows of p - 1][rows of q - 1]`.
    pub dots: [[DotFn<T>; 4]; 4],
    /// `channels[rows - 1]`: tiles one vector wide, computed channel by channel.
    pub channels: [TileFn<T>; CHANNEL_ROWS],
    /// Copies rows into a panel.
    pub pack_rows: unsafe fn(&Pack<T>),
    /// Copies columns into the rows of a panel.
    pub pack_columns: unsafe fn(&Pack<T>),
    /// Stores a tile turned.
    pub turn: unsafe fn(&Turn<T>),
    /// Copies so many values into the words that tiles read: neighbours are pairs.
    pub copy: unsafe fn(*const T, usize, *mut T),
    /// Copies so many values from two places into as many words: two of them are a pair. Without
    /// pairs the second place is not read.
    pub zip: unsafe fn([*const T; 2], usize, *mut T),
}

/// Rows of the tallest tile that is computed channel by channel.
pub(crate) const CHANNEL_ROWS: usize = 8;

impl<T> Kernels<T> {
    /// The kernel for `rows` by `vectors`, which the instruction set has.
    #[inline]
    pub fn tile(&self, rows: usize, vectors: usize, along_depth: bool) -> TileFn<T> {
        self.tiles[usize::from(along_depth)][vectors - 1][rows - 1]
    }

    /// The elements of a sum over `k` that belong to some steps of a tile.
    #[inline]
    pub fn elements(&self, steps: &Range<usize>, k: usize) -> Range<usize> {
        (steps.start * self.pair).min(k)..(steps.end * self.pair).min(k)
    }

    /// Rows of the tallest tile that is `vectors` wide.
    #[inline]
    pub fn tallest(&self, vectors: usize) -> usize {
        self.tiles[0][vectors - 1].len()
    }

    /// The width in vectors of the tiles that cover `rows` by `columns` soonest.
    ///
    /// A tile needs for each step of the depth the longest of its multiplications (two a cycle),
    /// its loads (two a cycle) and the latency of a multiplication (four cycles). Where two widths
    /// tie, the wider reads A less often; wider rows of B count a little against it.
    pub fn width(&self, rows: usize, columns: usize) -> usize {
        let vectors = columns.div_ceil(self.lanes);
        let widest = self.tiles[0].len();
        let cost = |width: usize| {
            let tiles = rows.div_ceil(self.tallest(width)).max(1);
            let (low, taller) = (rows / tiles, rows % tiles);
            let one =
                |h: usize, w: usize| if w == 0 { 0 } else { 8 * (h * w).max(h + w).max(8) + w };
            let column = |w: usize| taller * one(low + 1, w) + (tiles - taller) * one(low, w);
            vectors / width * column(width) + column(vectors % width)
        };
        (1..=widest.min(vectors.max(1))).rev().min_by_key(|&width| cost(width)).unwrap_or(1)
    }
}

/// A type of element that there are kernels for.
pub(crate) trait Scalar: Element {
    /// The kernels of an instruction set, which must be available if they are to run.
    fn kernels(isa: Isa) -> &'static Kernels<Self>;

    /// Those that round what they pack to a precision. Tiles must then read nothing else.
    fn kernels_for(isa: Isa, precision: Precision) -> &'static Kernels<Self>;

    /// The value rounded to bf16 if it has single precision.
    fn rounded(self) -> Self;
}

/// Makes the entry function of a tile for an instruction set, and its table of kernels.
macro_rules! kernels {
    ($module:ident, $(#[$features:meta])?, $single:ty, $double:ty, [$($width:literal: $($rows:literal)*;)*]) => {
        mod $module {
            use super::*;

            $(#[$features])?
            unsafe fn tile_of<V: Vector, const MR: usize, const NV: usize, const DEPTH: bool>(
                t: &Tile<V::Elem>,
            ) {
                // SAFETY: the features are enabled here; the rest is the caller's promise.
                unsafe { tile::<V, MR, NV, DEPTH>(t) }
            }
            $(#[$features])?
            unsafe fn channels_of<V: Vector, const MR: usize>(t: &Tile<V::Elem>) {
                // SAFETY: as above.
                unsafe { channels::<V, MR>(t) }
            }
            $(#[$features])?
            unsafe fn dot_of<V: Vector, const P: usize, const Q: usize>(d: &Dot<V::Elem>) {
                // SAFETY: as above.
                unsafe { dot::<V, P, Q>(d) }
            }
            $(#[$features])?
            unsafe fn pack_rows_of<V: Vector>(p: &Pack<V::Elem>) {
                // SAFETY: as above.
                unsafe { pack_rows::<V>(p) }
            }
            $(#[$features])?
            unsafe fn pack_columns_of<V: Vector>(p: &Pack<V::Elem>) {
                // SAFETY: as above.
                unsafe { pack_columns::<V>(p) }
            }
            $(#[$features])?
            unsafe fn turn_of<V: Vector>(t: &Turn<V::Elem>) {
                // SAFETY: as above.
                unsafe { turn::<V>(t) }
            }

            $(#[$features])?
            unsafe fn rounded_rows_of<V: Vector<Elem: Scalar>>(p: &Pack<V::Elem>) {
                // SAFETY: as above.
                unsafe { pack_rows::<V>(p) };
                round(p);
            }
            $(#[$features])?
            unsafe fn rounded_columns_of<V: Vector<Elem: Scalar>>(p: &Pack<V::Elem>) {
                // SAFETY: as above.
                unsafe { pack_columns::<V>(p) };
                round(p);
            }

            $(#[$features])?
            unsafe fn rounded_copy<T: Scalar>(from: *const T, count: usize, to: *mut T) {
                // SAFETY: the caller's promise.
                unsafe {
                    for i in 0..count {
                        *to.add(i) = (*from.add(i)).rounded();
                    }
                }
            }

            /// In which packing rounds to bf16.
            pub static ROUNDED: Kernels<f32> = Kernels {
                pack_rows: rounded_rows_of::<$single>,
                pack_columns: rounded_columns_of::<$single>,
                copy: rounded_copy,
                // SAFETY: the caller's promise.
                zip: |[from, _], count, to| unsafe { rounded_copy(from, count, to) },
                ..SINGLE
            };
            kernels!(@table SINGLE, f32, $single, [$($width: $($rows)*;)*]);
            kernels!(@table DOUBLE, f64, $double, [$($width: $($rows)*;)*]);
        }
    };
    (@table $name:ident, $elem:ty, $vector:ty, [$($width:literal: $($rows:literal)*;)*]) => {
        pub const $name: Kernels<$elem> = Kernels {
            lanes: <$vector>::LANES,
            pair: 1,
            tiles: [
                &[$(&[$(tile_of::<$vector, $rows, $width, false>),*]),*],
                &[$(&[$(tile_of::<$vector, $rows, $width, true>),*]),*],
            ],
            dots: kernels!(@dots $vector),
            channels: kernels!(@channels $vector, 1 2 3 4 5 6 7 8),
            pack_rows: pack_rows_of::<$vector>,
            pack_columns: pack_columns_of::<$vector>,
            turn: turn_of::<$vector>,
            // SAFETY: the caller's promise.
            copy: |from, count, to| unsafe { to.copy_from_nonoverlapping(from, count) },
            // SAFETY: as above.
            zip: |[from, _], count, to| unsafe { to.copy_from_nonoverlapping(from, count) },
        };
    };
    (@channels $vector:ty, $($rows:literal)*) => {
        [$(channels_of::<$vector, $rows>),*]
    };
    (@dots $vector:ty) => {
        [
            [dot_of::<$vector, 1, 1>, dot_of::<$vector, 1, 2>, dot_of::<$vector, 1, 3>, dot_of::<$vector, 1, 4>],
            [dot_of::<$vector, 2, 1>, dot_of::<$vector, 2, 2>, dot_of::<$vector, 2, 3>, dot_of::<$vector, 2, 4>],
            [dot_of::<$vector, 3, 1>, dot_of::<$vector, 3, 2>, dot_of::<$vector, 3, 3>, dot_of::<$vector, 3, 4>],
            [dot_of::<$vector, 4, 1>, dot_of::<$vector, 4, 2>, dot_of::<$vector, 4, 3>, dot_of::<$vector, 4, 4>],
        ]
    };
}

// The tiles that fit the registers: rows * width accumulators, a row of B, and one value of A.
#[cfg(target_arch = "x86_64")]
kernels!(avx512, #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")], Avx512F32, Avx512F64, [
    1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14;
    2: 1 2 3 4 5 6 7 8 9 10 11 12 13 14;
    3: 1 2 3 4 5 6 7 8 9;
    4: 1 2 3 4 5 6;
]);
#[cfg(target_arch = "x86_64")]
kernels!(avx2, #[target_feature(enable = "avx2,fma")], Avx2F32, Avx2F64, [1: 1 2 3 4 5 6 7 8 9 10; 2: 1 2 3 4 5 6;]);

kernels!(portable, , Portable32, Portable64, [1: 1 2 3 4; 2: 1 2;]);

#[cfg(target_arch = "x86_64")]
pub(crate) mod pairs;

impl Scalar for f32 {
    fn kernels(isa: Isa) -> &'static Kernels<f32> {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => &avx512::SINGLE,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => &avx2::SINGLE,
            _ => &portable::SINGLE,
        }
    }

    fn kernels_for(isa: Isa, precision: Precision) -> &'static Kernels<f32> {
        match (precision, isa) {
            (Precision::Full, _) => Self::kernels(isa),
            #[cfg(target_arch = "x86_64")]
            (Precision::Bf16, Isa::Avx512) if has_bf16() => &pairs::PAIRS,
            #[cfg(target_arch = "x86_64")]
            (Precision::Bf16, Isa::Avx512) => &avx512::ROUNDED,
            #[cfg(target_arch = "x86_64")]
            (Precision::Bf16, Isa::Avx2) => &avx2::ROUNDED,
            _ => &portable::ROUNDED,
        }
    }

    fn rounded(self) -> Self {
        let bits = self.to_bits();
        let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
        // What is not a number must not become infinite.
        let bits = if self.is_nan() { bits | 0x40_0000 } else { nearest };
        f32::from_bits(bits & 0xffff_0000)
    }
}

impl Scalar for f64 {
    fn kernels(isa: Isa) -> &'static Kernels<f64> {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => &avx512::DOUBLE,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => &avx2::DOUBLE,
            _ => &portable::DOUBLE,
        }
    }

    fn kernels_for(isa: Isa, _: Precision) -> &'static Kernels<f64> {
        Self::kernels(isa)
    }

    fn rounded(self) -> Self {
        self
    }
}

/// Rounds a panel that was just packed.
#[inline(always)]
fn round<T: Scalar>(p: &Pack<T>) {
    // SAFETY: whoever packed it wrote all of it.
    let panel = unsafe { std::slice::from_raw_parts_mut(p.to, p.depth * p.width) };
    for value in panel {
        *value = value.rounded();
    }
}
