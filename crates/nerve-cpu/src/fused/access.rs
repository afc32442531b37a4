//! Moving a tile between memory, in any storage type and with any strides, and a register, where
//! its values stand one after the other.

use super::Element;
use super::lane::{Lane, STEP};
use crate::memory::Plain;
use std::any::TypeId;

/// How one operand lies in a tile: extent and stride of each level, the outermost first, with
/// extents above 1 and no two levels that could be one. Empty for a single element.
pub(super) type Levels = Vec<(usize, isize)>;

/// Joins neighbouring levels and drops those of extent 1.
pub(super) fn merge(levels: impl IntoIterator<Item = (usize, isize)>) -> Levels {
    let mut merged: Levels = Vec::new();
    for (extent, stride) in levels.into_iter().filter(|(extent, _)| *extent != 1) {
        match merged.last_mut() {
            Some((outer, outer_stride))
                if *outer_stride == stride.wrapping_mul(extent as isize) =>
            {
                *outer *= extent;
                *outer_stride = stride;
            }
            _ => merged.push((extent, stride)),
        }
    }
    merged
}

/// Whether the elements stand one after the other.
pub(super) fn is_dense(levels: &[(usize, isize)]) -> bool {
    matches!(levels, [] | [(_, 1)])
}

/// Calls `$do!(type, load, store)` for the storage type `$element`.
macro_rules! with_element {
    ($element:expr, $lane:ident, $do:ident) => {
        match $element {
            Element::F32 => $do!(f32, |x: f32| x as $lane, |x: $lane| x as f32),
            Element::F64 => $do!(f64, |x: f64| x as $lane, |x: $lane| x as f64),
            Element::I32 => $do!(i32, |x: i32| x as $lane, |x: $lane| x as i32),
            Element::I64 => $do!(i64, |x: i64| x as $lane, |x: $lane| x as i64),
            Element::U8 => $do!(u8, |x: u8| x as $lane, |x: $lane| x as u8),
            Element::I8 => $do!(i8, |x: i8| x as $lane, |x: $lane| x as i8),
            Element::Bool => {
                $do!(u8, |x: u8| (x != 0) as u8 as $lane, |x: $lane| (x != 0 as $lane) as u8)
            }
        }
    };
}

/// Calls `visit` with the offset of each innermost run, in order.
#[inline(always)]
fn each_run(outer: &[(usize, isize)], mut visit: impl FnMut(isize)) {
    match *outer {
        [] => visit(0),
        [(count, stride)] => {
            for i in 0..count {
                visit(i as isize * stride);
            }
        }
        ref levels => {
            let total: usize = levels.iter().map(|(count, _)| count).product();
            for number in 0..total {
                let (mut rest, mut offset) = (number, 0);
                for &(count, stride) in levels.iter().rev() {
                    offset += (rest % count) as isize * stride;
                    rest /= count;
                }
                visit(offset);
            }
        }
    }
}

/// Rows and columns of the blocks in which transposed tiles are moved.
const BLOCK: usize = 8;

/// Where the blocks of `extent` rows or columns begin. The last one may overlap the one before it.
fn blocks(extent: usize) -> impl Iterator<Item = usize> {
    (0..extent.div_ceil(BLOCK)).map(move |i| (i * BLOCK).min(extent - BLOCK))
}

/// Reads `n` elements at `from` into the first places of `to`.
///
/// # Safety
/// All elements that `levels` reaches from `from` may be read, `to` has room for them, and the
/// number of elements of `levels` is the length of `to`.
#[inline(always)]
unsafe fn load_as<S: Plain, T: Lane, const AVX2: bool>(
    from: *const S,
    levels: &[(usize, isize)],
    to: &mut [T],
    convert: impl Fn(S) -> T + Copy,
) {
    let Some((&(run, stride), outer)) = levels.split_last() else {
        // SAFETY: by contract there is one element.
        to[0] = convert(unsafe { *from });
        return;
    };
    if let &[(rows, 1)] = outer
        && stride != 1
        && run >= 4
    {
        // SAFETY: by contract.
        return unsafe { load_transposed::<S, T, AVX2>(from, rows, run, stride, to, convert) };
    }
    let mut rest = to;
    each_run(outer, |offset| {
        let (to, after) = std::mem::take(&mut rest).split_at_mut(run);
        rest = after;
        // SAFETY: by contract, `levels` reaches this run of elements.
        unsafe {
            let from = from.offset(offset);
            match stride {
                1 => {
                    let from = std::slice::from_raw_parts(from, run);
                    for (to, from) in to.iter_mut().zip(from) {
                        *to = convert(*from);
                    }
                }
                0 => to.fill(convert(*from)),
                _ => {
                    for (i, to) in to.iter_mut().enumerate() {
                        *to = convert(*from.offset(i as isize * stride));
                    }
                }
            }
        }
    });
}

/// The tile `to[r][c] = from[r + stride·c]`.
///
/// # Safety
/// As [`load_as`].
#[inline(always)]
unsafe fn load_transposed<S: Plain, T: Lane, const AVX2: bool>(
    from: *const S,
    rows: usize,
    columns: usize,
    stride: isize,
    to: &mut [T],
    convert: impl Fn(S) -> T + Copy,
) {
    assert!(to.len() >= rows * columns);
    if rows < BLOCK || columns < BLOCK || size_of::<T>() != 4 || !AVX2 {
        for (r, to) in to.chunks_exact_mut(columns).take(rows).enumerate() {
            for (c, to) in to.iter_mut().enumerate() {
                // SAFETY: by contract.
                *to = convert(unsafe { *from.offset(r as isize + c as isize * stride) });
            }
        }
        return;
    }
    for c in blocks(columns) {
        for r in blocks(rows) {
            // SAFETY: by contract every element of the block may be read; the assertion covers
            // the places written; and the processor has AVX2.
            unsafe {
                let from = from.offset(r as isize + c as isize * stride);
                let to = to.as_mut_ptr().add(r * columns + c).cast();
                if TypeId::of::<S>() == TypeId::of::<T>() {
                    square(from.cast(), stride, to, columns);
                    continue;
                }
                let mut block = [[T::default(); BLOCK]; BLOCK];
                for (c, block) in block.iter_mut().enumerate() {
                    let column = from.offset(c as isize * stride).cast::<[S; BLOCK]>();
                    *block = column.read_unaligned().map(convert);
                }
                square(block.as_ptr().cast(), BLOCK as isize, to, columns);
            }
        }
    }
}

/// A block of 32-bit words, `to[r][c] = from[r + stride·c]`, transposed in registers.
///
/// # Safety
/// The block may be read and written, and the processor has AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn square(from: *const f32, stride: isize, to: *mut f32, columns: usize) {
    use std::arch::x86_64::*;
    // SAFETY: by contract.
    unsafe {
        let row = |i: isize| _mm256_loadu_ps(from.offset(i * stride));
        // Pairs, then quadruples, then halves: 24 shuffles for 64 words.
        let pairs = [0, 2, 4, 6].map(|i| {
            let (a, b) = (row(i), row(i + 1));
            [_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b)]
        });
        let quadruple = |i: usize, j: usize| {
            let (a, b) = (pairs[i][j], pairs[i + 1][j]);
            [_mm256_shuffle_ps::<0x44>(a, b), _mm256_shuffle_ps::<0xEE>(a, b)]
        };
        for j in 0..2 {
            let (low, high) = (quadruple(0, j), quadruple(2, j));
            for k in 0..2 {
                let r = 2 * j + k;
                let first = _mm256_permute2f128_ps::<0x20>(low[k], high[k]);
                let second = _mm256_permute2f128_ps::<0x31>(low[k], high[k]);
                _mm256_storeu_ps(to.add(r * columns), first);
                _mm256_storeu_ps(to.add((r + 4) * columns), second);
            }
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
unsafe fn square(_: *const f32, _: isize, _: *mut f32, _: usize) {
    unreachable!("only processors with AVX2 get here")
}

/// Writes the first elements of `from`, as many as `levels` has.
///
/// # Safety
/// All places that `levels` reaches from `to` may be written.
#[inline(always)]
unsafe fn store_as<S: Plain, T: Lane>(
    to: *mut S,
    levels: &[(usize, isize)],
    from: &[T],
    convert: impl Fn(T) -> S + Copy,
) {
    let Some((&(run, stride), outer)) = levels.split_last() else {
        // SAFETY: by contract there is one element.
        unsafe { *to = convert(from[0]) };
        return;
    };
    let mut rest = from;
    each_run(outer, |offset| {
        let (from, after) = rest.split_at(run);
        rest = after;
        // SAFETY: by contract, `levels` reaches this run of elements.
        unsafe {
            let to = to.offset(offset);
            if stride == 1 {
                let to = std::slice::from_raw_parts_mut(to, run);
                for (to, from) in to.iter_mut().zip(from) {
                    *to = convert(*from);
                }
            } else {
                for (i, from) in from.iter().enumerate() {
                    *to.offset(i as isize * stride) = convert(*from);
                }
            }
        }
    });
}

/// The numbers `base` + Σ levels, converted.
#[inline(always)]
fn index_as<T: Lane>(base: i64, levels: &[(usize, isize)], to: &mut [T]) {
    let Some((&(run, stride), outer)) = levels.split_last() else {
        to[0] = T::from_i64(base);
        return;
    };
    let mut rest = to;
    each_run(outer, |offset| {
        let (to, after) = std::mem::take(&mut rest).split_at_mut(run);
        rest = after;
        for (i, to) in to.iter_mut().enumerate() {
            *to = T::from_i64(base.wrapping_add((offset + i as isize * stride) as i64));
        }
    });
}

/// What differs between the compute types: the conversions.
pub(super) trait Convert: Lane {
    /// Loads the elements of `levels` at `from` (bytes, aligned to the element) into the first
    /// places of `to`, and pads to a multiple of [`STEP`].
    ///
    /// # Safety
    /// All elements that `levels` reaches from `from` may be read; `AVX2` only if the processor
    /// has it.
    unsafe fn load<const AVX2: bool>(
        element: Element,
        from: *const u8,
        levels: &[(usize, isize)],
        to: &mut [Self],
    );

    /// Stores the first values of `from`, as many as `levels` has, at `to`.
    ///
    /// # Safety
    /// All places that `levels` reaches from `to` may be written.
    unsafe fn store(element: Element, to: *mut u8, levels: &[(usize, isize)], from: &[Self]);
}

macro_rules! convert {
    ($lane:ident) => {
        impl Convert for $lane {
            #[inline(always)]
            unsafe fn load<const AVX2: bool>(
                element: Element,
                from: *const u8,
                levels: &[(usize, isize)],
                to: &mut [Self],
            ) {
                macro_rules! load {
                    ($stored:ident, $load:expr, $store:expr) => {
                        // SAFETY: by contract.
                        unsafe { load_as::<$stored, $lane, AVX2>(from.cast(), levels, to, $load) }
                    };
                }
                with_element!(element, $lane, load);
            }

            #[inline(always)]
            unsafe fn store(
                element: Element,
                to: *mut u8,
                levels: &[(usize, isize)],
                from: &[Self],
            ) {
                macro_rules! store {
                    ($stored:ident, $load:expr, $store:expr) => {
                        // SAFETY: by contract.
                        unsafe { store_as::<$stored, $lane>(to.cast(), levels, from, $store) }
                    };
                }
                with_element!(element, $lane, store);
            }
        }
    };
}
convert!(f32);
convert!(f64);
convert!(i32);
convert!(i64);

#[inline(always)]
fn load_body<T: Convert, const AVX2: bool>(
    element: Element,
    from: *const u8,
    levels: &[(usize, isize)],
    to: &mut [T],
) {
    let n = levels.iter().map(|(count, _)| count).product::<usize>();
    assert!(n <= to.len());
    // SAFETY: `load` below hands on its own contract.
    unsafe { T::load::<AVX2>(element, from, levels, &mut to[..n]) };
    let end = n.next_multiple_of(STEP).min(to.len());
    // Lanes that no one reads, but whose arithmetic should not be slow.
    to[n..end].fill(T::default());
}

#[inline(always)]
fn store_body<T: Convert>(element: Element, to: *mut u8, levels: &[(usize, isize)], from: &[T]) {
    let n = levels.iter().map(|(count, _)| count).product::<usize>();
    // SAFETY: `store` below hands on its own contract.
    unsafe { T::store(element, to, levels, &from[..n]) };
}

#[inline(always)]
fn index_body<T: Lane>(base: i64, levels: &[(usize, isize)], to: &mut [T]) {
    let n = levels.iter().map(|(count, _)| count).product::<usize>();
    index_as(base, levels, &mut to[..n]);
    let end = n.next_multiple_of(STEP).min(to.len());
    to[n..end].fill(T::default());
}

crate::real::per_isa! {
    fn load_on<T: Convert>(element: Element, from: *const u8, levels: &[(usize, isize)], to: &mut [T])
        => load_body [FMA]
}
crate::real::per_isa! {
    fn store_on<T: Convert>(element: Element, to: *mut u8, levels: &[(usize, isize)], from: &[T])
        => store_body
}
crate::real::per_isa! {
    /// The numbers `base` + Σ levels into the first places of `to`, padded.
    pub(super) fn index<T: Lane>(base: i64, levels: &[(usize, isize)], to: &mut [T]) => index_body
}

/// [`Convert::load`], compiled for each instruction set.
///
/// # Safety
/// As there.
pub(super) unsafe fn load<T: Convert>(
    isa: crate::simd::Isa,
    element: Element,
    from: *const u8,
    levels: &[(usize, isize)],
    to: &mut [T],
) {
    load_on(isa, element, from, levels, to);
}

/// [`Convert::store`], compiled for each instruction set.
///
/// # Safety
/// As there.
pub(super) unsafe fn store<T: Convert>(
    isa: crate::simd::Isa,
    element: Element,
    to: *mut u8,
    levels: &[(usize, isize)],
    from: &[T],
) {
    store_on(isa, element, to, levels, from);
}
