//! Which vector instructions this processor has, and one interface to all of them.
//!
//! [`isa`] is asked once and remembered. Kernels are written once over the trait `Vector` and
//! compiled for each instruction set inside a small entry function that carries the
//! `#[target_feature]` attribute; everything below it is `#[inline(always)]`, so that the
//! intrinsics melt into the entry.

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use portable::{Portable32, Portable64};
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2F32, Avx2F64, Avx512F32, Avx512F64, Avx512Pairs};

use crate::memory::Plain;
use std::sync::OnceLock;

/// A set of vector instructions, the poorest first, so that `<` means "can do less".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// Plain Rust on arrays: what any processor can run, and what the others are tested against.
    Portable,
    /// AVX2 with FMA: 16 registers of 256 bits.
    Avx2,
    /// AVX-512 F, BW, DQ and VL: 32 registers of 512 bits, and masks.
    Avx512,
}

impl Isa {
    /// All instruction sets, the poorest first.
    pub const ALL: [Isa; 3] = [Isa::Portable, Isa::Avx2, Isa::Avx512];

    /// Whether this processor (and operating system) can run it.
    pub fn available(self) -> bool {
        self <= best()
    }

    /// The name that `NERVE_ISA` takes: `portable`, `avx2` or `avx512`.
    pub const fn name(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
        }
    }
}

/// The instruction set that kernels use: the best one available, or a lower one if the environment
/// variable `NERVE_ISA` (`avx512`, `avx2`, `portable`) asks for it. Decided at the first call.
///
/// # Panics
/// If `NERVE_ISA` holds another word, or names an instruction set that this processor lacks:
/// whoever sets it wants that one and no other.
pub fn isa() -> Isa {
    static CHOSEN: OnceLock<Isa> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let wanted = std::env::var_os("NERVE_ISA").map(|word| word.to_string_lossy().into_owned());
        choose(wanted.as_deref(), best()).unwrap_or_else(|problem| panic!("{problem}"))
    })
}

fn choose(wanted: Option<&str>, best: Isa) -> Result<Isa, String> {
    let Some(word) = wanted.filter(|word| !word.is_empty()) else { return Ok(best) };
    let Some(isa) = Isa::ALL.into_iter().find(|isa| isa.name() == word) else {
        return Err(format!("NERVE_ISA is `{word}`; it must be avx512, avx2 or portable"));
    };
    if isa > best {
        let best = best.name();
        return Err(format!("NERVE_ISA is `{word}`, but this processor has no more than {best}"));
    }
    Ok(isa)
}

#[cfg(target_arch = "x86_64")]
fn best() -> Isa {
    static BEST: OnceLock<Isa> = OnceLock::new();
    *BEST.get_or_init(|| {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        match (avx2, avx512) {
            (true, true) => Isa::Avx512,
            (true, false) => Isa::Avx2,
            _ => Isa::Portable,
        }
    })
}

/// Whether this processor multiplies pairs of bf16.
#[cfg(target_arch = "x86_64")]
pub(crate) fn has_bf16() -> bool {
    is_x86_feature_detected!("avx512bf16")
}

#[cfg(not(target_arch = "x86_64"))]
fn best() -> Isa {
    Isa::Portable
}

/// How a cache line is asked for.
pub(crate) struct Prefetch;

impl Prefetch {
    /// To be read soon: into all caches.
    pub const NEAR: u8 = 0;
    /// To be read later: into all but the first, which holds what is read now.
    pub const FAR: u8 = 1;
    /// To be written.
    pub const WRITE: u8 = 2;
}

/// Asks for the cache line at an address, which need not exist. Changes nothing but the time that
/// a later access takes.
#[inline(always)]
pub(crate) fn prefetch<const HOW: u8, T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint may name any address, and every processor of this kind has it.
    unsafe {
        use std::arch::x86_64::*;
        match HOW {
            Prefetch::NEAR => _mm_prefetch::<_MM_HINT_T0>(at.cast()),
            Prefetch::FAR => _mm_prefetch::<_MM_HINT_T1>(at.cast()),
            _ => _mm_prefetch::<_MM_HINT_ET0>(at.cast()),
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// The same pointer; but the compiler does not know that, and reads nothing through it before.
#[inline(always)]
#[allow(clippy::pointers_in_nomem_asm_block)] // Nothing is read: there is no instruction.
pub(crate) fn opaque<T>(at: *const T) -> *const T {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a comment, which leaves the register as it is.
    let at = unsafe {
        let same;
        std::arch::asm!("/* {0} */", inout(reg) at => same, options(pure, nomem, nostack, preserves_flags));
        same
    };
    at
}

/// A number that vectors are made of.
pub(crate) trait Element:
    Plain
    + Default
    + PartialOrd
    + std::fmt::Debug
    + std::ops::Add<Output = Self>
    + std::ops::AddAssign
    + std::ops::Mul<Output = Self>
{
}

impl Element for f32 {}
impl Element for f64 {}

/// A register full of numbers.
///
/// # Safety
/// Every method: the processor has the instruction set that the type belongs to, and the caller
/// is (inlined into) a function with the matching `#[target_feature]`. Methods with pointers:
/// the lanes they name may be read or written; no alignment is asked.
pub(crate) trait Vector: Copy {
    /// What a lane holds.
    type Elem: Element;
    /// Selects the first lanes of a vector.
    type Mask: Copy;
    /// Numbers in a register.
    const LANES: usize;
    /// Steps of the depth that a tile takes at once.
    const STEPS: usize = 1;

    /// All lanes zero.
    unsafe fn zero() -> Self;
    /// All lanes `value`.
    unsafe fn splat(value: Self::Elem) -> Self;
    /// Reads `LANES` values.
    unsafe fn load(from: *const Self::Elem) -> Self;
    /// Writes `LANES` values.
    unsafe fn store(self, to: *mut Self::Elem);
    /// The first `lanes` lanes, `0 ..= LANES`.
    unsafe fn mask(lanes: usize) -> Self::Mask;
    /// Reads the lanes in `mask`, and only them; the others are zero.
    unsafe fn load_masked(from: *const Self::Elem, mask: Self::Mask) -> Self;
    /// Writes the lanes in `mask`, and only them.
    unsafe fn store_masked(self, to: *mut Self::Elem, mask: Self::Mask);
    /// `self + a * b`, rounded once where the processor can.
    unsafe fn fma(self, a: Self, b: Self) -> Self;
    /// `self + other`.
    unsafe fn add(self, other: Self) -> Self;
    /// The larger of both; `other` where either is not a number or both are zero.
    unsafe fn max(self, other: Self) -> Self;

    /// The sum of the lanes, halves first: the order is fixed.
    #[inline(always)]
    unsafe fn sum(self) -> Self::Elem {
        let mut lanes = [Self::Elem::default(); 16];
        // SAFETY: no vector has more than 16 lanes; the rest is the caller's promise.
        unsafe { self.store(lanes.as_mut_ptr()) };
        let mut width = Self::LANES / 2;
        while width > 0 {
            for i in 0..width {
                lanes[i] += lanes[i + width];
            }
            width /= 2;
        }
        lanes[0]
    }

    /// Transposes a block: `to[c * to_stride + r] = from[r * from_stride + c]` for `r < rows`,
    /// `c < columns`, both at most `LANES`; and zero for `rows <= r < filled` (`filled <= LANES`).
    #[inline(always)]
    unsafe fn transpose(
        from: *const Self::Elem,
        from_stride: usize,
        [rows, columns]: [usize; 2],
        to: *mut Self::Elem,
        to_stride: usize,
        filled: usize,
    ) {
        for c in 0..columns {
            for r in 0..filled {
                // SAFETY: the caller's promise; `r` is read only below `rows`.
                unsafe {
                    let value = if r < rows {
                        *from.add(r * from_stride + c)
                    } else {
                        Self::Elem::default()
                    };
                    *to.add(c * to_stride + r) = value;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
