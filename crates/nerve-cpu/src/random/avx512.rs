//! Uniform numbers in single precision, sixteen blocks of the cipher at a time.

use super::{Key, M0, M1, ROUNDS, W0, W1};
use std::arch::x86_64::*;

/// Numbers of one run: four words of each of sixteen blocks.
const RUN: usize = 64;

/// Numbers `first`, `first + 1`, … of [`Key::uniform_f32`].
///
/// # Safety
/// The processor has AVX-512 F.
#[target_feature(enable = "avx512f")]
pub(crate) unsafe fn uniform(to: &mut [f32], key: Key, first: u64) {
    let mut done = 0;
    while done < to.len() {
        let position = first + done as u64;
        let block = position / 4;
        let skip = (position % 4) as usize;
        if skip == 0 && to.len() - done >= RUN && follows(block) {
            // SAFETY: there is room for a run, and blocks follow each other.
            unsafe { run(&mut to[done..done + RUN], key, block) };
            done += RUN;
        } else if follows(block) {
            let mut values = [0.0; RUN];
            // SAFETY: as above.
            unsafe { run(&mut values, key, block) };
            let count = (RUN - skip).min(to.len() - done);
            to[done..done + count].copy_from_slice(&values[skip..skip + count]);
            done += count;
        } else {
            to[done] = key.uniform_f32(position);
            done += 1;
        }
    }
}

/// Whether the counters of sixteen blocks from this one on differ in their lowest word alone.
fn follows(block: u64) -> bool {
    block as u32 <= u32::MAX - 15
}

/// The 64 numbers of the blocks from `block` on.
///
/// # Safety
/// The processor has AVX-512 F; `to` has 64 places, and [`follows`] is true of `block`.
#[target_feature(enable = "avx512f")]
unsafe fn run(to: &mut [f32], key: Key, block: u64) {
    let [low, high, step, stream] = key.counter(block).map(|word| _mm512_set1_epi32(word as i32));
    // In this order the transpositions below bring the words of a block together and leave the
    // blocks one after the other.
    let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    let (m0, m1) = (_mm512_set1_epi32(M0 as i32), _mm512_set1_epi32(M1 as i32));
    let [mut c0, mut c1, mut c2, mut c3] = [_mm512_add_epi32(low, order), high, step, stream];
    let [mut k0, mut k1] = key.cipher_key();
    for _ in 0..ROUNDS {
        let (high0, low0) = product(c0, m0);
        let (high1, low1) = product(c2, m1);
        let (key0, key1) = (_mm512_set1_epi32(k0 as i32), _mm512_set1_epi32(k1 as i32));
        // 0x96: the exclusive or of all three.
        (c0, c1) = (_mm512_ternarylogic_epi32::<0x96>(high1, c1, key0), low1);
        (c2, c3) = (_mm512_ternarylogic_epi32::<0x96>(high0, c3, key1), low0);
        k0 = k0.wrapping_add(W0);
        k1 = k1.wrapping_add(W1);
    }
    let (a, b) = (_mm512_unpacklo_epi32(c0, c1), _mm512_unpackhi_epi32(c0, c1));
    let (c, d) = (_mm512_unpacklo_epi32(c2, c3), _mm512_unpackhi_epi32(c2, c3));
    let rows = [
        _mm512_unpacklo_epi64(a, c),
        _mm512_unpackhi_epi64(a, c),
        _mm512_unpacklo_epi64(b, d),
        _mm512_unpackhi_epi64(b, d),
    ];
    let unit = _mm512_set1_ps(1.0 / (1 << 24) as f32);
    assert!(to.len() == RUN);
    for (i, row) in rows.into_iter().enumerate() {
        let value = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_srli_epi32::<8>(row)), unit);
        // SAFETY: the four rows are the 64 places.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr().add(16 * i), value) };
    }
}

/// The high and the low halves of the products of sixteen pairs of words.
#[target_feature(enable = "avx512f")]
fn product(a: __m512i, b: __m512i) -> (__m512i, __m512i) {
    let even = _mm512_mul_epu32(a, b);
    let odd = _mm512_mul_epu32(_mm512_srli_epi64::<32>(a), b);
    let high = _mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64::<32>(even), odd);
    (high, _mm512_mullo_epi32(a, b))
}
