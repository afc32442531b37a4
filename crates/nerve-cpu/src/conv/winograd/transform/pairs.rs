//! Transformed values as pairs of bf16, for processors that multiply them.

use super::super::form::{Form, Store, Whole};
use super::{Filter, Gradient, Input, Transforms, avx512, filters, gradients, inputs};
use crate::gemm::tile::pairs::interleave;
use crate::simd::Avx512F32;
use std::arch::x86_64::*;

/// Neighbouring channels are pairs.
struct ByChannel;

impl Store<Avx512F32> for ByChannel {
    #[inline(always)]
    unsafe fn store(values: Avx512F32, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe {
            let halves = std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(values.0));
            _mm256_storeu_si256(to.cast(), halves);
        }
    }
}

impl Form<Avx512F32> for ByChannel {
    const TILES: usize = 1;
    const CHANNELS: usize = 2;
    type First = ByChannel;
    type Second = ByChannel;
    type Lone = ByChannel;
}

/// One that is alone in its word.
struct Lone;

impl Store<Avx512F32> for Lone {
    #[inline(always)]
    unsafe fn store(values: Avx512F32, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { _mm512_storeu_si512(to.cast(), interleave(values.0, _mm512_setzero_ps())) }
    }
}

/// The second of a pair, the first of which is there as it is.
struct Second;

impl Store<Avx512F32> for Second {
    #[inline(always)]
    unsafe fn store(values: Avx512F32, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { _mm512_storeu_si512(to.cast(), interleave(_mm512_loadu_ps(to), values.0)) }
    }
}

/// Two tiles, one after the other, are pairs.
struct ByTile;

impl Form<Avx512F32> for ByTile {
    const TILES: usize = 2;
    const CHANNELS: usize = 1;
    type First = Whole;
    type Second = Second;
    type Lone = Lone;
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
    filter: [filter::<Whole>, filter::<Second>, filter::<Lone>],
    ..avx512::TABLE
};
