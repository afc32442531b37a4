//! What the tests of several kernels share: random numbers, and buffers of either type as `f64`.

use crate::kernel::Float;
use crate::memory::Buffer;
use crate::simd::Isa;

/// A small generator (xorshift), the same numbers on every run.
pub(crate) struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A generator whose every value is NaN.
    pub fn nan() -> Random {
        Random(0)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number in `0 .. limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 11) as usize % limit
    }

    pub fn coin(&mut self) -> bool {
        self.below(2) == 1
    }

    /// A value in `-1 .. 1` that both types hold exactly.
    pub fn value(&mut self) -> f64 {
        if self.0 == 0 { f64::NAN } else { self.below(1 << 20) as f64 / (1 << 19) as f64 - 1.0 }
    }
}

/// Fills `buffer` with random values of type `ty`.
pub(crate) fn fill(buffer: &Buffer, ty: Float, random: &mut Random) {
    let values: Vec<f64> = (0..buffer.bytes() / ty.bytes()).map(|_| random.value()).collect();
    match ty {
        Float::F32 => buffer.write(0, &values.iter().map(|&v| v as f32).collect::<Vec<_>>()),
        Float::F64 => buffer.write(0, &values),
    }
}

/// All of `buffer`, whose values are of type `ty`.
pub(crate) fn load(buffer: &Buffer, ty: Float) -> Vec<f64> {
    let count = buffer.bytes() / ty.bytes();
    match ty {
        Float::F32 => buffer.to_vec::<f32>(0..count).into_iter().map(f64::from).collect(),
        Float::F64 => buffer.to_vec(0..count),
    }
}

/// Calls `test` with each type and each instruction set that this processor has.
pub(crate) fn every_machine(mut test: impl FnMut(Float, Isa)) {
    for isa in Isa::ALL.into_iter().filter(|isa| isa.available()) {
        [Float::F32, Float::F64].into_iter().for_each(|ty| test(ty, isa));
    }
}
