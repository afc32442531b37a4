//! In which form transformed values wait for their products.
//!
//! A word is the place of one f32. It holds a value as it is, a value rounded to bf16, or a pair of
//! such: two values that follow each other along the depth of the product. For a convolution the
//! depth are the channels, for the gradient of its filter the tiles.

use crate::gemm::tile::Scalar;
use crate::simd::Vector;

/// How a vector of values, one for each of some neighbouring channels, is stored.
pub(super) trait Store<V: Vector<Elem = f32>> {
    /// # Safety
    /// The instruction set of `V`; the words may be written.
    unsafe fn store(values: V, to: *mut f32);
}

/// How the values of tiles and channels fall into words.
pub(super) trait Form<V: Vector<Elem = f32>> {
    /// Tiles that share a word, 1 or 2.
    const TILES: usize;
    /// Channels that share a word.
    const CHANNELS: usize;
    /// The first of the tiles that share words. Until the second comes, nobody reads them.
    type First: Store<V>;
    /// The second one, which is stored after the first.
    type Second: Store<V>;
    /// One that is alone in its words.
    type Lone: Store<V>;
}

/// As they are.
pub(super) struct Whole;

impl<V: Vector<Elem = f32>> Store<V> for Whole {
    #[inline(always)]
    unsafe fn store(values: V, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { values.store(to) }
    }
}

/// Rounded to bf16, one in a word.
pub(super) struct Rounded;

impl<V: Vector<Elem = f32>> Store<V> for Rounded {
    #[inline(always)]
    unsafe fn store(values: V, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe {
            values.store(to);
            for i in 0..V::LANES {
                *to.add(i) = (*to.add(i)).rounded();
            }
        }
    }
}

macro_rules! single {
    ($form:ty) => {
        impl<V: Vector<Elem = f32>> Form<V> for $form {
            const TILES: usize = 1;
            const CHANNELS: usize = 1;
            type First = $form;
            type Second = $form;
            type Lone = $form;
        }
    };
}

single!(Whole);
single!(Rounded);
