//! Counter-based random numbers: Philox4x32-10.
//!
//! Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
//! Number `i` of a stream is a function of (seed, step, stream, i) and of nothing else, so it does
//! not matter which thread asks for it, in which order, or how often.
//!
//! # Layout
//! The seed is the key of the cipher. The counter holds the number of the block (48 bits), the
//! step (48 bits) and the stream (32 bits). A block has four words: four `f32`, or two `f64`.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
pub(crate) mod fill;
#[cfg(test)]
mod tests;

/// Multipliers and key increments of the cipher.
const M0: u32 = 0xD251_1F53;
const M1: u32 = 0xCD9E_8D57;
const W0: u32 = 0x9E37_79B9;
const W1: u32 = 0xBB67_AE85;
const ROUNDS: usize = 10;

/// One block: four words of output for four words of counter and two of key.
#[inline(always)]
pub fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = counter;
    let [mut k0, mut k1] = key;
    for _ in 0..ROUNDS {
        let (p0, p1) = (M0 as u64 * c0 as u64, M1 as u64 * c2 as u64);
        (c0, c1) = ((p1 >> 32) as u32 ^ c1 ^ k0, p1 as u32);
        (c2, c3) = ((p0 >> 32) as u32 ^ c3 ^ k1, p0 as u32);
        k0 = k0.wrapping_add(W0);
        k1 = k1.wrapping_add(W1);
    }
    [c0, c1, c2, c3]
}

/// A stream of random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    seed: u64,
    step: u64,
    stream: u32,
}

impl Key {
    /// The stream numbered `stream` of `seed` at `step`. Steps count modulo 2⁴⁸.
    pub const fn new(seed: u64, stream: u32, step: u64) -> Self {
        Key { seed, step, stream }
    }

    /// From the words in which a program carries seed and step: low and high half of each.
    pub const fn from_words(words: [u32; 4], stream: u32) -> Self {
        let [seed_low, seed_high, step_low, step_high] = words;
        let seed = seed_low as u64 | (seed_high as u64) << 32;
        let step = step_low as u64 | (step_high as u64) << 32;
        Key { seed, step, stream }
    }

    #[inline(always)]
    pub(crate) const fn cipher_key(self) -> [u32; 2] {
        [self.seed as u32, (self.seed >> 32) as u32]
    }

    /// The counter of a block.
    #[inline(always)]
    pub(crate) const fn counter(self, block: u64) -> [u32; 4] {
        let high = (block >> 32) as u32 & 0xFFFF | ((self.step >> 32) as u32) << 16;
        [block as u32, high, self.step as u32, self.stream]
    }

    /// The four words of block `block`, a number below 2⁴⁸.
    pub fn block(self, block: u64) -> [u32; 4] {
        philox(self.counter(block), self.cipher_key())
    }

    /// Number `i`, uniform in [0, 1), a multiple of 2⁻²⁴.
    pub fn uniform_f32(self, i: u64) -> f32 {
        unit_f32(self.block(i / 4)[(i % 4) as usize])
    }

    /// Number `i`, uniform in [0, 1), a multiple of 2⁻⁵³.
    pub fn uniform_f64(self, i: u64) -> f64 {
        unit_f64(self.pair(i / 2)[(i % 2) as usize])
    }

    /// Number `i`, normally distributed with mean 0 and variance 1 (Box–Muller).
    pub fn normal_f32(self, i: u64) -> f32 {
        let words = self.block(i / 4);
        let first = (i % 4) as usize / 2 * 2;
        let (cosine, sine) = normal_pair_f32(words[first], words[first + 1]);
        if i.is_multiple_of(2) { cosine } else { sine }
    }

    /// Number `i`, normally distributed with mean 0 and variance 1 (Box–Muller).
    pub fn normal_f64(self, i: u64) -> f64 {
        let [first, second] = self.pair(i / 2);
        let radius = (-2.0 * open_f64(first).ln()).sqrt();
        let angle = std::f64::consts::TAU * unit_f64(second);
        if i.is_multiple_of(2) { radius * angle.cos() } else { radius * angle.sin() }
    }

    /// Whether event `i` of probability `probability` happens: uniform number `i` is below it.
    pub fn bernoulli(self, i: u64, probability: f32) -> bool {
        self.uniform_f32(i) < probability
    }

    fn pair(self, block: u64) -> [u64; 2] {
        let [a, b, c, d] = self.block(block);
        [a as u64 | (b as u64) << 32, c as u64 | (d as u64) << 32]
    }
}

/// Uniform in [0, 1) from the upper 24 bits.
#[inline(always)]
pub(crate) fn unit_f32(word: u32) -> f32 {
    (word >> 8) as i32 as f32 * (1.0 / (1 << 24) as f32)
}

/// Uniform in [0, 1) from the upper 53 bits.
#[inline(always)]
pub(crate) fn unit_f64(word: u64) -> f64 {
    (word >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// Uniform in (0, 1], never 0, so that its logarithm is finite.
#[inline(always)]
pub(crate) fn open_f64(word: u64) -> f64 {
    ((word >> 11) + 1) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// Two independent normal numbers from two words, one at a time.
fn normal_pair_f32(first: u32, second: u32) -> (f32, f32) {
    crate::math::box_muller(first, second)
}
