//! Vectors as arrays. The compiler may turn them into whatever vectors the target has by default.

use super::Vector;

macro_rules! portable {
    ($name:ident, $elem:ty, $lanes:literal) => {
        #[doc = concat!(stringify!($lanes), " lanes of ", stringify!($elem), " in an array.")]
        #[derive(Clone, Copy)]
        pub(crate) struct $name([$elem; $lanes]);

        impl Vector for $name {
            type Elem = $elem;
            type Mask = usize;
            const LANES: usize = $lanes;

            #[inline(always)]
            unsafe fn zero() -> Self {
                $name([0.0; $lanes])
            }
            #[inline(always)]
            unsafe fn splat(value: $elem) -> Self {
                $name([value; $lanes])
            }
            #[inline(always)]
            unsafe fn load(from: *const $elem) -> Self {
                // SAFETY: the caller's promise.
                $name(unsafe { from.cast::<[$elem; $lanes]>().read_unaligned() })
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $elem) {
                // SAFETY: the caller's promise.
                unsafe { to.cast::<[$elem; $lanes]>().write_unaligned(self.0) }
            }
            #[inline(always)]
            unsafe fn mask(lanes: usize) -> usize {
                lanes
            }
            #[inline(always)]
            unsafe fn load_masked(from: *const $elem, mask: usize) -> Self {
                if mask == $lanes {
                    // SAFETY: all lanes are in the mask.
                    return unsafe { Self::load(from) };
                }
                let mut lanes = [0.0; $lanes];
                for (i, lane) in lanes.iter_mut().enumerate().take(mask) {
                    // SAFETY: lane `i` is in the mask.
                    *lane = unsafe { *from.add(i) };
                }
                $name(lanes)
            }
            #[inline(always)]
            unsafe fn store_masked(self, to: *mut $elem, mask: usize) {
                if mask == $lanes {
                    // SAFETY: all lanes are in the mask.
                    return unsafe { self.store(to) };
                }
                for (i, lane) in self.0.iter().enumerate().take(mask) {
                    // SAFETY: lane `i` is in the mask.
                    unsafe { *to.add(i) = *lane };
                }
            }
            #[inline(always)]
            unsafe fn fma(self, a: Self, b: Self) -> Self {
                // Two roundings: without the instruction, a fused one is a slow library call.
                $name(std::array::from_fn(|i| self.0[i] + a.0[i] * b.0[i]))
            }
            #[inline(always)]
            unsafe fn add(self, other: Self) -> Self {
                $name(std::array::from_fn(|i| self.0[i] + other.0[i]))
            }
            #[inline(always)]
            unsafe fn max(self, other: Self) -> Self {
                $name(std::array::from_fn(|i| {
                    if self.0[i] > other.0[i] { self.0[i] } else { other.0[i] }
                }))
            }
        }
    };
}

portable!(Portable32, f32, 8);
portable!(Portable64, f64, 4);
