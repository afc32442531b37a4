//! The number types that row kernels are generic over, and how their loops are compiled once for
//! each instruction set.

use crate::kernel::{Float, Scratch};
use crate::math;
use crate::memory::{Memory, Plain};
use crate::simd::{self, Element, Isa, Vector};
use std::fmt::Debug;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub};

/// Values in the widest f32 vector; loops over fewer are not worth a vector.
pub(crate) const LANES: usize = 16;

/// The element type of instructions that order, count and add, but need no fractions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Number {
    /// Single precision.
    F32,
    /// Double precision.
    F64,
    /// 32-bit integers; sums wrap around.
    I32,
    /// 64-bit integers; sums wrap around.
    I64,
}

impl Number {
    /// Size of one element in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Number::F32 | Number::I32 => 4,
            Number::F64 | Number::I64 => 8,
        }
    }
}

impl From<Float> for Number {
    fn from(ty: Float) -> Self {
        match ty {
            Float::F32 => Number::F32,
            Float::F64 => Number::F64,
        }
    }
}

/// A number that can be compared and added. Sealed by [`Plain`].
pub(crate) trait Num: Plain + PartialOrd + Default + Debug {
    /// What long sums are kept in.
    type Sum: Copy + Default;

    /// The sum, which wraps around for integers.
    fn plus(self, other: Self) -> Self;

    /// The product, which wraps around for integers.
    fn times(self, other: Self) -> Self;

    /// `sum` and this element.
    fn add_to(self, sum: Self::Sum) -> Self::Sum;

    /// A long sum as an element.
    fn round(sum: Self::Sum) -> Self;

    /// Whether this is not a number; never for integers.
    #[allow(clippy::eq_op)]
    #[inline(always)]
    fn is_nan(self) -> bool {
        self != self
    }
}

/// A floating-point number. The constant `FMA` of its functions says whether a fused multiply-add
/// is one instruction where the caller is compiled.
pub(crate) trait Real:
    Num
    + Element
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + MulAssign
{
    /// The AVX-512 vector of this number.
    #[cfg(target_arch = "x86_64")]
    type Avx512: Vector<Elem = Self>;
    /// The AVX2 vector of this number.
    #[cfg(target_arch = "x86_64")]
    type Avx2: Vector<Elem = Self>;
    /// The vector of this number for any processor.
    type Portable: Vector<Elem = Self>;

    const ZERO: Self;
    const ONE: Self;
    const NAN: Self;
    const LOWEST: Self;

    fn from_usize(value: usize) -> Self;
    /// The nearest number of this type.
    fn rounded(value: f64) -> Self;
    fn sqrt(self) -> Self;
    fn exp<const FMA: bool>(self) -> Self;
    /// eˣ for x ≤ 0; in f32 as `math::decay`.
    fn decay<const FMA: bool>(self) -> Self;
    fn ln<const FMA: bool>(self) -> Self;
    fn tanh<const FMA: bool>(self) -> Self;
    /// 1/(1 + e⁻ˣ); in f32 as `math::gate`.
    fn gate<const FMA: bool>(self) -> Self;
    #[cfg(test)]
    fn from_f64(value: f64) -> Self;
    #[cfg(test)]
    fn to_f64(self) -> f64;
}

macro_rules! whole {
    ($($t:ident),*) => {$(
        impl Num for $t {
            type Sum = $t;

            #[inline(always)]
            fn plus(self, other: Self) -> Self {
                self.wrapping_add(other)
            }

            #[inline(always)]
            fn times(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }

            #[inline(always)]
            fn add_to(self, sum: $t) -> $t {
                sum.wrapping_add(self)
            }

            #[inline(always)]
            fn round(sum: $t) -> Self {
                sum
            }
        }
    )*};
}
whole!(i32, i64);

macro_rules! real {
    ($t:ident, [$avx512:ty, $avx2:ty, $portable:ty], $exp:expr, $decay:expr, $ln:expr, $tanh:expr, $gate:expr) => {
        impl Num for $t {
            type Sum = f64;

            #[inline(always)]
            fn plus(self, other: Self) -> Self {
                self + other
            }

            #[inline(always)]
            fn times(self, other: Self) -> Self {
                self * other
            }

            #[inline(always)]
            fn add_to(self, sum: f64) -> f64 {
                sum + f64::from(self)
            }

            #[inline(always)]
            fn round(sum: f64) -> Self {
                sum as $t
            }
        }

        impl Real for $t {
            #[cfg(target_arch = "x86_64")]
            type Avx512 = $avx512;
            #[cfg(target_arch = "x86_64")]
            type Avx2 = $avx2;
            type Portable = $portable;

            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const NAN: Self = $t::NAN;
            const LOWEST: Self = $t::NEG_INFINITY;

            #[inline(always)]
            fn from_usize(value: usize) -> Self {
                value as $t
            }
            #[inline(always)]
            fn rounded(value: f64) -> Self {
                value as $t
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                $t::sqrt(self)
            }
            #[inline(always)]
            fn exp<const FMA: bool>(self) -> Self {
                $exp(self)
            }
            #[inline(always)]
            fn decay<const FMA: bool>(self) -> Self {
                $decay(self)
            }
            #[inline(always)]
            fn ln<const FMA: bool>(self) -> Self {
                $ln(self)
            }
            #[inline(always)]
            fn tanh<const FMA: bool>(self) -> Self {
                $tanh(self)
            }
            #[inline(always)]
            fn gate<const FMA: bool>(self) -> Self {
                $gate(self)
            }
            #[cfg(test)]
            fn from_f64(value: f64) -> Self {
                value as $t
            }
            #[cfg(test)]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
        }
    };
}
real!(
    f32,
    [simd::Avx512F32, simd::Avx2F32, simd::Portable32],
    math::exp::<FMA>,
    math::decay::<FMA>,
    math::log::<FMA>,
    math::tanh::<FMA>,
    math::gate::<FMA>
);
real!(
    f64,
    [simd::Avx512F64, simd::Avx2F64, simd::Portable64],
    f64::exp,
    f64::exp,
    f64::ln,
    f64::tanh,
    |x: f64| 1.0 / (1.0 + (-x).exp())
);

/// Compiles the generic, always inlined function `$body` once for each instruction set, under a
/// function `$name` that takes the set to use as its first argument.
///
/// With `=> body [FMA]` the body has a second parameter, `const FMA: bool`. With `[V, FMA]` it is
/// unsafe and has two: the [`Vector`] of the instruction set, which it may use, and that constant.
macro_rules! per_isa {
    ($(#[$meta:meta])* $vis:vis fn $name:ident<$t:ident: $bound:ident>($($arg:ident: $ty:ty),* $(,)?)
        $(-> $ret:ty)? => $body:ident) => {
        $crate::real::per_isa!(@ $(#[$meta])* [$vis] $name $t $bound ($($arg: $ty),*) ($(-> $ret)?)
            { $body::<$t>($($arg),*) } { $body::<$t>($($arg),*) } { $body::<$t>($($arg),*) });
    };
    ($(#[$meta:meta])* $vis:vis fn $name:ident<$t:ident: $bound:ident>($($arg:ident: $ty:ty),* $(,)?)
        $(-> $ret:ty)? => $body:ident [FMA]) => {
        $crate::real::per_isa!(@ $(#[$meta])* [$vis] $name $t $bound ($($arg: $ty),*) ($(-> $ret)?)
            { $body::<$t, true>($($arg),*) }
            { $body::<$t, true>($($arg),*) }
            { $body::<$t, false>($($arg),*) });
    };
    ($(#[$meta:meta])* $vis:vis fn $name:ident<$t:ident: $bound:ident>($($arg:ident: $ty:ty),* $(,)?)
        $(-> $ret:ty)? => $body:ident [V, FMA]) => {
        $crate::real::per_isa!(@ $(#[$meta])* [$vis] $name $t $bound ($($arg: $ty),*) ($(-> $ret)?)
            // SAFETY: the vectors of the instruction set that the function is compiled for.
            { unsafe { $body::<$t, $t::Avx512, true>($($arg),*) } }
            // SAFETY: as above.
            { unsafe { $body::<$t, $t::Avx2, true>($($arg),*) } }
            // SAFETY: every processor has these.
            { unsafe { $body::<$t, $t::Portable, false>($($arg),*) } });
    };
    (@ $(#[$meta:meta])* [$vis:vis] $name:ident $t:ident $bound:ident ($($arg:ident: $ty:ty),*)
        ($($ret:tt)*) $avx512:block $avx2:block $portable:block) => {
        $(#[$meta])*
        $vis fn $name<$t: $bound>(isa: $crate::simd::Isa, $($arg: $ty),*) $($ret)* {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                fn avx512<$t: $bound>($($arg: $ty),*) $($ret)* $avx512

                #[target_feature(enable = "avx2,fma")]
                fn avx2<$t: $bound>($($arg: $ty),*) $($ret)* $avx2

                match isa {
                    // SAFETY: `isa` is an instruction set that was found on this processor.
                    $crate::simd::Isa::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    $crate::simd::Isa::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::simd::Isa::Portable => {}
                }
            }
            let _ = isa;
            $portable
        }
    };
}
pub(crate) use per_isa;

/// The part of a kernel's `run` below the choice of the instruction set, for tests to choose.
pub(crate) trait RunOn {
    /// Runs chunk number `chunk` with the instructions of `isa`.
    ///
    /// # Safety
    /// As [`Kernel::run`](crate::kernel::Kernel::run); `isa` was found on this processor.
    unsafe fn run_on(&self, isa: Isa, chunk: usize, memory: &Memory, scratch: &mut Scratch<'_>);
}

/// [`RunOn`] for kernels with a `ty: Float` field and a method `run_as` for each float type.
macro_rules! run_by_float {
    ($($kernel:ty),*) => {$(
        impl crate::real::RunOn for $kernel {
            unsafe fn run_on(
                &self,
                isa: Isa,
                chunk: usize,
                memory: &Memory,
                scratch: &mut Scratch<'_>,
            ) {
                // SAFETY: by contract.
                unsafe {
                    match self.ty {
                        Float::F32 => self.run_as::<f32>(isa, chunk, memory, scratch),
                        Float::F64 => self.run_as::<f64>(isa, chunk, memory, scratch),
                    }
                }
            }
        }
    )*};
}
pub(crate) use run_by_float;

#[cfg(test)]
pub(crate) mod testing {
    use super::{Real, RunOn};
    use crate::kernel::{Fault, Kernel, Operand, Scratch, run_alone};
    use crate::memory::{ALIGN, Buffer, Memory, Region};
    use crate::simd::Isa;
    use std::fmt::Arguments;

    /// The instruction sets that this processor has.
    pub fn isas() -> Vec<Isa> {
        Isa::ALL.into_iter().filter(|isa| isa.available()).collect()
    }

    /// A kernel tied to one instruction set.
    pub struct On<'a, K>(pub Isa, pub &'a K);

    impl<K: Kernel + RunOn> Kernel for On<'_, K> {
        fn name(&self) -> &'static str {
            self.1.name()
        }
        fn operands(&self, visit: &mut dyn FnMut(Operand)) {
            self.1.operands(visit);
        }
        fn check(&self) -> Result<(), String> {
            self.1.check()
        }
        fn chunks(&self) -> usize {
            self.1.chunks()
        }
        fn flops(&self) -> u64 {
            self.1.flops()
        }
        fn scratch_bytes(&self) -> usize {
            self.1.scratch_bytes()
        }
        unsafe fn run(&self, chunk: usize, memory: &Memory, scratch: &mut Scratch<'_>) {
            // SAFETY: by contract.
            unsafe { self.1.run_on(self.0, chunk, memory, scratch) }
        }
    }

    /// Runs `kernel` with each instruction set in turn, calling `look` after each run.
    pub fn run_each<K: Kernel + RunOn>(kernel: &K, buffers: &[&Buffer], mut look: impl FnMut(Isa)) {
        for isa in isas() {
            run_alone(&On(isa, kernel), buffers);
            look(isa);
        }
    }

    /// Runs all chunks from the last to the first, and returns what was reported.
    pub fn run_backwards(kernel: &dyn Kernel, buffers: &[&Buffer]) -> Option<(usize, i64)> {
        kernel.check().unwrap();
        let mut memory = Memory::new(buffers.len());
        for (i, buffer) in buffers.iter().enumerate() {
            memory.bind(i, buffer);
        }
        let fault = Fault::default();
        let mut bytes = vec![0xffu8; kernel.scratch_bytes() + ALIGN];
        let start = bytes.as_ptr().align_offset(ALIGN);
        for chunk in (0..kernel.chunks()).rev() {
            let mut scratch = Scratch { bytes: &mut bytes[start..], fault: &fault };
            // SAFETY: checked above, and only this thread runs.
            unsafe { kernel.run(chunk, &memory, &mut scratch) };
        }
        fault.take()
    }

    /// All of buffer number `index`.
    pub fn whole(index: u32, buffer: &Buffer) -> Region {
        Region::new(index, 0, buffer.bytes())
    }

    /// Asserts that `kernel` passes its check, and that making any operand shorter by one byte
    /// does not. `shorten` replaces operand number `i` of a copy.
    pub fn refuses_short<K: Kernel + Clone>(kernel: &K, regions: &[fn(&mut K) -> &mut Region]) {
        kernel.check().unwrap();
        for (i, region) in regions.iter().enumerate() {
            let mut short = kernel.clone();
            region(&mut short).bytes -= 1;
            assert!(short.check().is_err(), "operand {i} one byte short passed");
            let mut crooked = kernel.clone();
            region(&mut crooked).offset += 1;
            assert!(crooked.check().is_err(), "operand {i} out of alignment passed");
        }
    }

    /// A small deterministic source of test data (SplitMix64).
    pub struct Rng(pub u64);

    impl Rng {
        pub fn bits(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }

        /// A number in `0..n`.
        pub fn below(&mut self, n: usize) -> usize {
            (self.bits() % n as u64) as usize
        }

        /// A number in -1..1.
        pub fn real(&mut self) -> f64 {
            (self.bits() >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        }

        pub fn reals<T: Real>(&mut self, n: usize, scale: f64) -> Vec<T> {
            (0..n).map(|_| T::from_f64(self.real() * scale)).collect()
        }

        /// Values with many ties, and now and then a NaN or an infinity.
        pub fn coarse<T: Real>(&mut self, n: usize) -> Vec<T> {
            let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0];
            (0..n)
                .map(|_| match self.below(40) {
                    i if i < odd.len() => T::from_f64(odd[i]),
                    _ => T::from_f64(self.below(7) as f64 - 3.0),
                })
                .collect()
        }
    }

    /// Asserts |got - want| <= tolerance * max(1, |want|), NaN and infinities being equal to
    /// themselves.
    #[track_caller]
    pub fn near<T: Real>(got: T, want: f64, tolerance: f64, what: Arguments<'_>) {
        let got = got.to_f64();
        let same = got == want || (got.is_nan() && want.is_nan());
        let bound = tolerance * want.abs().max(1.0);
        assert!(same || (got - want).abs() <= bound, "{what}: {got} instead of {want}");
    }
}
