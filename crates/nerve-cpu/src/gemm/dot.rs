//! Products of a few rows with many: both matrices are walked along their rows.
//!
//! Where one side of a product has no more than four rows or columns, a tile would leave most of
//! its registers idle, and transposing the other side would cost more than the product.

#![allow(clippy::needless_range_loop)] // Counted loops unroll into plain registers.

use crate::simd::Vector;

/// `out[i * 4 + j] = sum over d of p[i, d] * q[j, d]`, with up to four rows in each.
pub(crate) struct Dot<T> {
    pub p: *const T,
    /// Elements between rows of `p`.
    pub p_stride: usize,
    pub q: *const T,
    /// Elements between rows of `q`.
    pub q_stride: usize,
    pub depth: usize,
    pub out: *mut [T; 16],
}

/// The products of `P` rows with `Q` rows.
///
/// # Safety
/// The instruction set of `V`; the rows may be read and `out` written.
#[inline(always)]
pub(crate) unsafe fn dot<V: Vector, const P: usize, const Q: usize>(t: &Dot<V::Elem>) {
    // SAFETY: the caller's promise; the mask keeps the last step inside the rows.
    unsafe {
        let mut acc = [[V::zero(); Q]; P];
        let whole = t.depth / V::LANES * V::LANES;
        for d in (0..whole).step_by(V::LANES) {
            let mut p = [V::zero(); P];
            for i in 0..P {
                p[i] = V::load(t.p.add(i * t.p_stride + d));
            }
            for j in 0..Q {
                let q = V::load(t.q.add(j * t.q_stride + d));
                for i in 0..P {
                    acc[i][j] = acc[i][j].fma(p[i], q);
                }
            }
        }
        if whole < t.depth {
            let mask = V::mask(t.depth - whole);
            for j in 0..Q {
                let q = V::load_masked(t.q.add(j * t.q_stride + whole), mask);
                for i in 0..P {
                    let p = V::load_masked(t.p.add(i * t.p_stride + whole), mask);
                    acc[i][j] = acc[i][j].fma(p, q);
                }
            }
        }
        for i in 0..P {
            for j in 0..Q {
                (*t.out)[i * 4 + j] = acc[i][j].sum();
            }
        }
    }
}
