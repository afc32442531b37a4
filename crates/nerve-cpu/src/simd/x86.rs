//! The vectors of AVX2 and AVX-512.
//!
//! Each method is one intrinsic. They are `#[inline(always)]` without `#[target_feature]`, because
//! the entry function that they are inlined into carries the attribute.

use super::Vector;
use std::arch::x86_64::*;

/// Loads up to `N` rows of `$elem`s (the others are zero) for a transposition.
macro_rules! load_rows {
    ($vector:ident, $n:literal, $from:ident, $stride:ident, $rows:ident, $columns:ident) => {{
        let mask = $vector::mask($columns);
        let mut r = [$vector::zero().0; $n];
        if $rows == $n && $columns == $n {
            for (i, row) in r.iter_mut().enumerate() {
                *row = $vector::load($from.add(i * $stride)).0;
            }
        } else {
            for (i, row) in r.iter_mut().enumerate() {
                if i < $rows {
                    *row = $vector::load_masked($from.add(i * $stride), mask).0;
                }
            }
        }
        r
    }};
}

/// Stores the first `$columns` of `N` transposed columns, `$filled` values each.
macro_rules! store_columns {
    ($vector:ident, $n:literal, $out:ident, $to:ident, $stride:ident, $columns:ident, $filled:ident) => {{
        if $columns == $n && $filled == $n {
            for (c, column) in $out.into_iter().enumerate() {
                $vector(column).store($to.add(c * $stride));
            }
        } else {
            // A masked store takes some processors twelve cycles. Where the columns follow each other
            // without a gap, what one spills is where the next ones are stored right after it.
            let spill = if $stride == $filled { $columns * $stride } else { 0 };
            let mask = $vector::mask($filled);
            for (c, column) in $out.into_iter().enumerate() {
                if c * $stride + $n <= spill {
                    $vector(column).store($to.add(c * $stride));
                } else if c < $columns {
                    $vector(column).store_masked($to.add(c * $stride), mask);
                }
            }
        }
    }};
}

macro_rules! vector {
    ($name:ident, $elem:ty, $lanes:literal, $steps:literal, $register:ty, $zero:ident, $set1:ident, $load:ident, $store:ident,
     $fmadd:ident, $add:ident, $max:ident, $mask:ty, $make_mask:expr, $mask_load:expr, $mask_store:expr, $transpose:ident) => {
        #[doc = concat!(stringify!($lanes), " lanes of ", stringify!($elem), " in a register.")]
        #[derive(Clone, Copy)]
        pub(crate) struct $name(pub $register);

        impl Vector for $name {
            type Elem = $elem;
            type Mask = $mask;
            const LANES: usize = $lanes;
            const STEPS: usize = $steps;

            #[inline(always)]
            unsafe fn zero() -> Self {
                // SAFETY: the instruction set is there.
                $name(unsafe { $zero() })
            }
            #[inline(always)]
            unsafe fn splat(value: $elem) -> Self {
                // SAFETY: the instruction set is there.
                $name(unsafe { $set1(value) })
            }
            #[inline(always)]
            unsafe fn load(from: *const $elem) -> Self {
                // SAFETY: the caller's promise.
                $name(unsafe { $load(from) })
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $elem) {
                // SAFETY: the caller's promise.
                unsafe { $store(to, self.0) }
            }
            #[inline(always)]
            unsafe fn mask(lanes: usize) -> $mask {
                debug_assert!(lanes <= $lanes);
                // SAFETY: at most all lanes.
                unsafe { $make_mask(lanes) }
            }
            #[inline(always)]
            unsafe fn load_masked(from: *const $elem, mask: $mask) -> Self {
                // SAFETY: lanes outside the mask are not touched.
                $name(unsafe { $mask_load(mask, from) })
            }
            #[inline(always)]
            unsafe fn store_masked(self, to: *mut $elem, mask: $mask) {
                // SAFETY: lanes outside the mask are not touched.
                unsafe { $mask_store(to, mask, self.0) }
            }
            #[inline(always)]
            unsafe fn fma(self, a: Self, b: Self) -> Self {
                // SAFETY: the instruction set is there.
                $name(unsafe { $fmadd(a.0, b.0, self.0) })
            }
            #[inline(always)]
            unsafe fn add(self, other: Self) -> Self {
                // SAFETY: the instruction set is there.
                $name(unsafe { $add(self.0, other.0) })
            }
            #[inline(always)]
            unsafe fn max(self, other: Self) -> Self {
                // SAFETY: the instruction set is there.
                $name(unsafe { $max(self.0, other.0) })
            }
            #[inline(always)]
            unsafe fn transpose(
                from: *const $elem,
                from_stride: usize,
                [rows, columns]: [usize; 2],
                to: *mut $elem,
                to_stride: usize,
                filled: usize,
            ) {
                // SAFETY: only rows below `rows` and columns below `columns` are touched.
                unsafe {
                    let r = load_rows!($name, $lanes, from, from_stride, rows, columns);
                    let out = $transpose(r);
                    store_columns!($name, $lanes, out, to, to_stride, columns, filled);
                }
            }
        }
    };
}

vector!(
    Avx512F32,
    f32,
    16,
    1,
    __m512,
    _mm512_setzero_ps,
    _mm512_set1_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_fmadd_ps,
    _mm512_add_ps,
    _mm512_max_ps,
    __mmask16,
    first_of_16,
    _mm512_maskz_loadu_ps,
    _mm512_mask_storeu_ps,
    transpose_16x16
);

/// `sum + a * b`, where `a` and `b` hold pairs of bf16: two products for each sum.
#[inline(always)]
unsafe fn dot_of_pairs(a: __m512, b: __m512, sum: __m512) -> __m512 {
    // SAFETY: the caller has the instruction; registers of one width hold any bits.
    unsafe {
        let [a, b] = [a, b].map(|pairs| std::mem::transmute::<__m512, __m512bh>(pairs));
        _mm512_dpbf16_ps(sum, a, b)
    }
}

// As loaded and spread, 16 pairs of bf16; as sums, 16 lanes of f32.
vector!(
    Avx512Pairs,
    f32,
    16,
    1,
    __m512,
    _mm512_setzero_ps,
    _mm512_set1_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    dot_of_pairs,
    _mm512_add_ps,
    _mm512_max_ps,
    __mmask16,
    first_of_16,
    _mm512_maskz_loadu_ps,
    _mm512_mask_storeu_ps,
    transpose_16x16
);
vector!(
    Avx512F64,
    f64,
    8,
    1,
    __m512d,
    _mm512_setzero_pd,
    _mm512_set1_pd,
    _mm512_loadu_pd,
    _mm512_storeu_pd,
    _mm512_fmadd_pd,
    _mm512_add_pd,
    _mm512_max_pd,
    __mmask8,
    first_of_8,
    _mm512_maskz_loadu_pd,
    _mm512_mask_storeu_pd,
    transpose_8x8_f64
);
vector!(
    Avx2F32,
    f32,
    8,
    4,
    __m256,
    _mm256_setzero_ps,
    _mm256_set1_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_fmadd_ps,
    _mm256_add_ps,
    _mm256_max_ps,
    __m256i,
    first_words,
    |mask, from| _mm256_maskload_ps(from, mask),
    store_words,
    transpose_8x8_f32
);
vector!(
    Avx2F64,
    f64,
    4,
    1,
    __m256d,
    _mm256_setzero_pd,
    _mm256_set1_pd,
    _mm256_loadu_pd,
    _mm256_storeu_pd,
    _mm256_fmadd_pd,
    _mm256_add_pd,
    _mm256_max_pd,
    __m256i,
    first_quads,
    |mask, from| _mm256_maskload_pd(from, mask),
    store_quads,
    transpose_4x4_f64
);

#[inline(always)]
unsafe fn first_of_16(lanes: usize) -> __mmask16 {
    ((1u32 << lanes) - 1) as __mmask16
}

#[inline(always)]
unsafe fn first_of_8(lanes: usize) -> __mmask8 {
    ((1u32 << lanes) - 1) as __mmask8
}

/// The mask of `n` lanes starts `n` entries before the middle.
static WORDS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
static QUADS: [i64; 8] = [-1, -1, -1, -1, 0, 0, 0, 0];

#[inline(always)]
unsafe fn first_words(lanes: usize) -> __m256i {
    // SAFETY: 8 entries from `8 - lanes` on are inside the table for up to 8 lanes.
    unsafe { _mm256_loadu_si256(WORDS.as_ptr().add(8 - lanes).cast()) }
}

#[inline(always)]
unsafe fn first_quads(lanes: usize) -> __m256i {
    // SAFETY: 4 entries from `4 - lanes` on are inside the table for up to 4 lanes.
    unsafe { _mm256_loadu_si256(QUADS.as_ptr().add(4 - lanes).cast()) }
}

// The masked store takes twelve cycles on some processors (Zen 1 to 3), whatever the mask; most masks are full.

#[inline(always)]
unsafe fn store_words(to: *mut f32, mask: __m256i, values: __m256) {
    // SAFETY: the caller promises AVX2, and the lanes of the mask.
    unsafe {
        match _mm256_movemask_ps(_mm256_castsi256_ps(mask)) {
            0xff => _mm256_storeu_ps(to, values),
            _ => _mm256_maskstore_ps(to, mask, values),
        }
    }
}

#[inline(always)]
unsafe fn store_quads(to: *mut f64, mask: __m256i, values: __m256d) {
    // SAFETY: as above.
    unsafe {
        match _mm256_movemask_pd(_mm256_castsi256_pd(mask)) {
            0xf => _mm256_storeu_pd(to, values),
            _ => _mm256_maskstore_pd(to, mask, values),
        }
    }
}

// In the transpositions below, after the unpacking stages register `w * j + q` holds, in its
// 128-bit part `p`, column `w * p + q` of the rows `w * j ..`, where `w` values make 128 bits.
// What is left is to transpose whole 128-bit parts among the registers with the same `q`.

#[inline(always)]
unsafe fn transpose_16x16(r: [__m512; 16]) -> [__m512; 16] {
    // SAFETY: the caller promises AVX-512.
    unsafe {
        let mut out = r;
        let mut b = r;
        for j in 0..4 {
            let i = 4 * j;
            let lo01 = _mm512_castps_pd(_mm512_unpacklo_ps(r[i], r[i + 1]));
            let hi01 = _mm512_castps_pd(_mm512_unpackhi_ps(r[i], r[i + 1]));
            let lo23 = _mm512_castps_pd(_mm512_unpacklo_ps(r[i + 2], r[i + 3]));
            let hi23 = _mm512_castps_pd(_mm512_unpackhi_ps(r[i + 2], r[i + 3]));
            b[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(lo01, lo23));
            b[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(lo01, lo23));
            b[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(hi01, hi23));
            b[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(hi01, hi23));
        }
        for q in 0..4 {
            let even01 = _mm512_shuffle_f32x4::<0x88>(b[q], b[4 + q]);
            let odd01 = _mm512_shuffle_f32x4::<0xdd>(b[q], b[4 + q]);
            let even23 = _mm512_shuffle_f32x4::<0x88>(b[8 + q], b[12 + q]);
            let odd23 = _mm512_shuffle_f32x4::<0xdd>(b[8 + q], b[12 + q]);
            out[q] = _mm512_shuffle_f32x4::<0x88>(even01, even23);
            out[4 + q] = _mm512_shuffle_f32x4::<0x88>(odd01, odd23);
            out[8 + q] = _mm512_shuffle_f32x4::<0xdd>(even01, even23);
            out[12 + q] = _mm512_shuffle_f32x4::<0xdd>(odd01, odd23);
        }
        out
    }
}

#[inline(always)]
unsafe fn transpose_8x8_f64(r: [__m512d; 8]) -> [__m512d; 8] {
    // SAFETY: the caller promises AVX-512.
    unsafe {
        let mut out = r;
        let mut b = r;
        for j in 0..4 {
            b[2 * j] = _mm512_unpacklo_pd(r[2 * j], r[2 * j + 1]);
            b[2 * j + 1] = _mm512_unpackhi_pd(r[2 * j], r[2 * j + 1]);
        }
        for q in 0..2 {
            let even01 = _mm512_shuffle_f64x2::<0x88>(b[q], b[2 + q]);
            let odd01 = _mm512_shuffle_f64x2::<0xdd>(b[q], b[2 + q]);
            let even23 = _mm512_shuffle_f64x2::<0x88>(b[4 + q], b[6 + q]);
            let odd23 = _mm512_shuffle_f64x2::<0xdd>(b[4 + q], b[6 + q]);
            out[q] = _mm512_shuffle_f64x2::<0x88>(even01, even23);
            out[2 + q] = _mm512_shuffle_f64x2::<0x88>(odd01, odd23);
            out[4 + q] = _mm512_shuffle_f64x2::<0xdd>(even01, even23);
            out[6 + q] = _mm512_shuffle_f64x2::<0xdd>(odd01, odd23);
        }
        out
    }
}

#[inline(always)]
unsafe fn transpose_8x8_f32(r: [__m256; 8]) -> [__m256; 8] {
    // SAFETY: the caller promises AVX2.
    unsafe {
        let mut out = r;
        let mut b = r;
        for j in 0..2 {
            let i = 4 * j;
            let lo01 = _mm256_castps_pd(_mm256_unpacklo_ps(r[i], r[i + 1]));
            let hi01 = _mm256_castps_pd(_mm256_unpackhi_ps(r[i], r[i + 1]));
            let lo23 = _mm256_castps_pd(_mm256_unpacklo_ps(r[i + 2], r[i + 3]));
            let hi23 = _mm256_castps_pd(_mm256_unpackhi_ps(r[i + 2], r[i + 3]));
            b[i] = _mm256_castpd_ps(_mm256_unpacklo_pd(lo01, lo23));
            b[i + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(lo01, lo23));
            b[i + 2] = _mm256_castpd_ps(_mm256_unpacklo_pd(hi01, hi23));
            b[i + 3] = _mm256_castpd_ps(_mm256_unpackhi_pd(hi01, hi23));
        }
        for q in 0..4 {
            out[q] = _mm256_permute2f128_ps::<0x20>(b[q], b[4 + q]);
            out[4 + q] = _mm256_permute2f128_ps::<0x31>(b[q], b[4 + q]);
        }
        out
    }
}

#[inline(always)]
unsafe fn transpose_4x4_f64(r: [__m256d; 4]) -> [__m256d; 4] {
    // SAFETY: the caller promises AVX2.
    unsafe {
        let lo01 = _mm256_unpacklo_pd(r[0], r[1]);
        let hi01 = _mm256_unpackhi_pd(r[0], r[1]);
        let lo23 = _mm256_unpacklo_pd(r[2], r[3]);
        let hi23 = _mm256_unpackhi_pd(r[2], r[3]);
        [
            _mm256_permute2f128_pd::<0x20>(lo01, lo23),
            _mm256_permute2f128_pd::<0x20>(hi01, hi23),
            _mm256_permute2f128_pd::<0x31>(lo01, lo23),
            _mm256_permute2f128_pd::<0x31>(hi01, hi23),
        ]
    }
}
