//! Transformed values as pairs of bf16, for processors that multiply them.

use super::super::form::{Form, Store};
use super::{Filter, Gradient, Input, Transforms, avx512, filters, gradients, inputs};
use crate::simd::Avx512F32;
use std::arch::x86_64::*;

/// Rounded to bf16.
#[inline(always)]
unsafe fn halves(values: Avx512F32) -> __m256i {
    // SAFETY: the caller's promise; both are 16 times 16 bits.
    unsafe { std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(values.0)) }
}

/// Neighbouring channels are pairs.
struct ByChannel;

impl Store<Avx512F32> for ByChannel {
    #[inline(always)]
    unsafe fn store(values: Avx512F32, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { _mm256_storeu_si256(to.cast(), halves(values)) }
    }
}

impl Form<Avx512F32> for ByChannel {
    const TILES: usize = 1;
    const CHANNELS: usize = 2;
    type First = ByChannel;
    type Second = ByChannel;
}

/// The first of a pair, alone in its word.
struct First;

impl Store<Avx512F32> for First {
    #[inline(always)]
    unsafe fn store(values: Avx512F32, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { _mm512_storeu_si512(to.cast(), _mm512_cvtepu16_epi32(halves(values))) }
    }
}

/// The second of a pair, put beside the first.
struct Second;

impl Store<Avx512F32> for Second {
    #[inline(always)]
    unsafe fn store(values: Avx512F32, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe {
            let second = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves(values)));
            let both = _mm512_or_si512(_mm512_loadu_si512(to.cast()), second);
            _mm512_storeu_si512(to.cast(), both);
        }
    }
}

/// Two tiles, one after the other, are pairs.
struct ByTile;

impl Form<Avx512F32> for ByTile {
    const TILES: usize = 2;
    const CHANNELS: usize = 1;
    type First = First;
    type Second = Second;
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn input<F: Form<Avx512F32>>(job: &Input<'_>) {
    // SAFETY: the features are enabled here; the rest is the caller's promise.
    unsafe { inputs::<Avx512F32, F>(job) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn gradient(job: &Gradient<'_>) {
    // SAFETY: as above.
    unsafe { gradients::<Avx512F32, ByTile>(job) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn filter<S: Store<Avx512F32>>(job: &Filter) {
    // SAFETY: as above.
    unsafe { filters::<Avx512F32, S>(job) }
}

/// Where what products read is stored in pairs.
pub(super) static PAIRS: Transforms = Transforms {
    input: input::<ByChannel>,
    input_by_tile: input::<ByTile>,
    gradient,
    filter: [filter::<First>, filter::<Second>],
    ..avx512::TABLE
};
