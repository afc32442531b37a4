//! Products of bf16, two at a time: panels of pairs, and tiles that multiply them.
//!
//! A pair holds two consecutive steps of the depth, the first in its lower half, in the place of one
//! f32. So a panel of pairs is a panel of half as many steps, and the tile is the same tile over a
//! vector whose multiply-add takes pairs.

use super::super::pack::{AHEAD, Pack};
use super::{Kernels, Tile, avx512, tile};
use crate::simd::{Avx512F32, Avx512Pairs, Prefetch, Vector, prefetch};
use std::arch::x86_64::*;

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn tile_of<const MR: usize, const NV: usize, const DEPTH: bool>(t: &Tile<f32>) {
    // SAFETY: the features are enabled here; the rest is the caller's promise.
    unsafe { tile::<Avx512Pairs, MR, NV, DEPTH>(t) }
}

/// `to[s, c] = (from[2 s, c], from[2 s + 1, c])`, each rounded.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn pack_rows(p: &Pack<f32>) {
    for c in (0..p.width).step_by(16) {
        // SAFETY: the masks keep to the columns and to the width, the steps to the depth.
        unsafe {
            let there = Avx512F32::mask(p.columns.saturating_sub(c).min(16));
            let wanted = Avx512F32::mask((p.width - c).min(16));
            for d in (0..p.depth).step_by(2) {
                let from = p.from.wrapping_add(d * p.stride + c);
                let last = if d + 1 < p.depth { there } else { 0 };
                let ahead = from.wrapping_add(AHEAD * p.stride);
                prefetch::<{ Prefetch::FAR }, _>(ahead);
                prefetch::<{ Prefetch::FAR }, _>(ahead.wrapping_add(p.stride));
                let low = _mm512_maskz_loadu_ps(there, from);
                let high = _mm512_maskz_loadu_ps(last, from.wrapping_add(p.stride));
                let pairs = interleave(low, high);
                let to = p.to.add(d / 2 * p.width + c);
                _mm512_mask_storeu_epi32(to.cast(), wanted, pairs);
            }
        }
    }
}

/// `to[s, c] = (from[c, 2 s], from[c, 2 s + 1])`, each rounded.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn pack_columns(p: &Pack<f32>) {
    // Sixteen columns of sixteen pairs.
    let mut block = [0f32; 256];
    for d in (0..p.depth).step_by(32) {
        let steps = (p.depth - d).min(32);
        for c in (0..p.width).step_by(16) {
            let there = p.columns.saturating_sub(c).min(16);
            // SAFETY: the masks keep to the depth, the loops to the columns and to the width.
            unsafe {
                let masks = [steps.min(16), steps.saturating_sub(16)].map(|n| Avx512F32::mask(n));
                for i in 0..there {
                    let from = p.from.wrapping_add((c + i) * p.stride + d);
                    let low = _mm512_maskz_loadu_ps(masks[0], from);
                    let high = _mm512_maskz_loadu_ps(masks[1], from.wrapping_add(16));
                    let pairs =
                        std::mem::transmute::<__m512bh, __m512>(_mm512_cvtne2ps_pbh(high, low));
                    _mm512_storeu_ps(block.as_mut_ptr().add(16 * i), pairs);
                }
                let (pairs, wanted) = (steps.div_ceil(2), (p.width - c).min(16));
                let to = p.to.add(d / 2 * p.width + c);
                Avx512F32::transpose(block.as_ptr(), 16, [there, pairs], to, p.width, wanted);
            }
        }
    }
}

/// `to[i] = (from[2 i], from[2 i + 1])`, each rounded; the second of the last is zero if there is none.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn copy(from: *const f32, count: usize, to: *mut f32) {
    for i in (0..count).step_by(32) {
        // SAFETY: the masks keep to the values and their words.
        unsafe {
            let left = (count - i).min(32);
            let [low, high] = [left.min(16), left.saturating_sub(16)].map(|n| Avx512F32::mask(n));
            let low = _mm512_maskz_loadu_ps(low, from.add(i));
            let high = _mm512_maskz_loadu_ps(high, from.wrapping_add(i + 16));
            let pairs = std::mem::transmute::<__m512bh, __m512>(_mm512_cvtne2ps_pbh(high, low));
            _mm512_mask_storeu_ps(to.add(i / 2), Avx512F32::mask(left.div_ceil(2)), pairs);
        }
    }
}

/// `to[i] = (from[0][i], from[1][i])`, each rounded.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn zip(from: [*const f32; 2], count: usize, to: *mut f32) {
    for i in (0..count).step_by(16) {
        // SAFETY: the masks keep to the values and their words.
        unsafe {
            let mask = Avx512F32::mask((count - i).min(16));
            let [first, second] = from.map(|from| _mm512_maskz_loadu_ps(mask, from.add(i)));
            _mm512_mask_storeu_epi32(to.add(i).cast(), mask, interleave(first, second));
        }
    }
}

/// Pairs of the first and the second values, rounded to bf16.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[inline]
pub(crate) fn interleave(first: __m512, second: __m512) -> __m512i {
    // SAFETY: both are 32 times 16 bits.
    let halves =
        unsafe { std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(second, first)) };
    const ORDER: [i16; 32] = {
        let mut order = [0; 32];
        let mut i = 0;
        while i < 32 {
            order[i] = (i / 2 + i % 2 * 16) as i16;
            i += 1;
        }
        order
    };
    // SAFETY: as many as fill a register.
    let order = unsafe { _mm512_loadu_si512(ORDER.as_ptr().cast()) };
    _mm512_permutexvar_epi16(order, halves)
}

/// The tiles of these heights, for a width in vectors.
macro_rules! tiles {
    ($depth:literal, $width:literal: $($rows:literal)*) => {
        &[$(tile_of::<$rows, $width, $depth>),*]
    };
}

/// As many tiles as for f32, so that both are cut alike.
macro_rules! widths {
    ($depth:literal) => {
        &[
            tiles!($depth, 1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
            tiles!($depth, 2: 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
            tiles!($depth, 3: 1 2 3 4 5 6 7 8 9),
            tiles!($depth, 4: 1 2 3 4 5 6),
        ]
    };
}

/// In which packing makes pairs and tiles multiply them. Products of a few rows, which nothing is
/// packed for, stay as they are.
pub(super) static PAIRS: Kernels<f32> = Kernels {
    pair: 2,
    tiles: [widths!(false), widths!(true)],
    pack_rows,
    pack_columns,
    copy,
    zip,
    ..avx512::SINGLE
};
