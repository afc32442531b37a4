//! Random numbers for data: counter-based, so that a draw depends on its key alone.
//!
//! A stream is keyed by whatever identifies the draw, as (seed, epoch, sample, transform). Which thread asks, and in
//! which order, makes no difference. The generator is SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom
//! number generators", OOPSLA 2014): a counter that advances by the golden ratio, through a mixing function.
//! Its values are part of what a seed promises: they do not change between versions.

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The finaliser of SplitMix64: a bijection of 64 bits in which each input bit changes half of the output bits.
#[inline]
pub(crate) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// One 64-bit key out of several parts; the order of the parts matters.
#[inline]
pub(crate) fn key(parts: &[u64]) -> u64 {
    parts.iter().fold(GOLDEN, |key, &part| mix(key ^ mix(part.wrapping_add(GOLDEN))))
}

/// A stream of random numbers that depends on its key alone.
///
/// ```
/// use nerve_data::Random;
///
/// let (seed, epoch, sample) = (42, 3, 1717);
/// let a = Random::keyed(&[seed, epoch, sample]).uniform();
/// let b = Random::keyed(&[seed, epoch, sample]).uniform();
/// assert_eq!(a, b);
/// assert_ne!(a, Random::keyed(&[seed, epoch + 1, sample]).uniform());
/// ```
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The stream of SplitMix64 that starts at `seed`.
    pub fn new(seed: u64) -> Random {
        Random { state: seed }
    }

    /// The stream of a key made of several parts.
    pub fn keyed(parts: &[u64]) -> Random {
        Random::new(key(parts))
    }

    /// 64 random bits.
    #[inline]
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        mix(self.state)
    }

    /// Uniform in [0, 1), a multiple of 2⁻²⁴.
    pub fn uniform(&mut self) -> f32 {
        (self.bits() >> 40) as f32 * (1.0 / (1u32 << 24) as f32)
    }

    /// Uniform in [low, high).
    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.uniform()
    }

    /// A uniform integer in 0..n, without bias (Lemire's multiplication with rejection).
    ///
    /// # Panics
    /// When n is 0.
    #[track_caller]
    pub fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0, "a random number below 0");
        loop {
            let product = u128::from(self.bits()) * u128::from(n);
            if product as u64 >= n.wrapping_neg() % n {
                return (product >> 64) as u64;
            }
        }
    }

    /// A uniform integer in -max..=max.
    pub fn within(&mut self, max: u32) -> i64 {
        self.below(2 * u64::from(max) + 1) as i64 - i64::from(max)
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f32) -> bool {
        self.uniform() < probability
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_splitmix64() {
        // The published sequence of SplitMix64 for the seed 1234567.
        let mut random = Random::new(1_234_567);
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!(expected.map(|_| random.bits()), expected);
    }

    #[test]
    fn golden_keys() {
        // From a second implementation, in Python. They hold the meaning of a seed from version to version.
        assert_eq!(key(&[]), GOLDEN);
        let mut random = Random::keyed(&[42, 1, 59_999, 2]);
        assert_eq!(random.bits(), 7_369_589_765_987_248_676);
        assert_eq!(random.bits(), 14_375_964_134_419_258_647);
        let uniform = [[0, 0], [42, 0], [42, 1]].map(|parts| Random::keyed(&parts).uniform());
        assert_eq!(uniform.map(|u| u * 16_777_216.0), [16_463_484.0, 15_193_791.0, 13_351_518.0]);
    }

    #[test]
    fn keys_differ_in_each_part_and_in_their_order() {
        let keys =
            [key(&[1, 2]), key(&[2, 1]), key(&[1, 2, 0]), key(&[0, 1, 2]), key(&[1]), key(&[1, 3])];
        for (i, a) in keys.iter().enumerate() {
            assert!(keys[..i].iter().all(|b| a != b), "key {i} repeats");
        }
    }

    #[test]
    fn uniform_fills_the_unit_interval_evenly() {
        let mut bins = [0u32; 16];
        for sample in 0..16_000u64 {
            let u = Random::keyed(&[7, 0, sample]).uniform();
            assert!((0.0..1.0).contains(&u));
            bins[(u * 16.0) as usize] += 1;
        }
        // Chi-square with 15 degrees of freedom; 37.7 is its 99.9 % point.
        let chi2: f64 = bins.iter().map(|&n| (f64::from(n) - 1000.0).powi(2) / 1000.0).sum();
        assert!(chi2 < 37.7, "chi-square {chi2}, bins {bins:?}");
    }

    #[test]
    fn below_and_within_reach_their_ends_and_no_further() {
        let mut random = Random::new(5);
        let drawn: Vec<u64> = (0..200).map(|_| random.below(3)).collect();
        assert!((0..3).all(|n| drawn.contains(&n)) && drawn.iter().all(|&n| n < 3));
        let drawn: Vec<i64> = (0..200).map(|_| random.within(2)).collect();
        assert!((-2..=2).all(|n| drawn.contains(&n)) && drawn.iter().all(|n| n.abs() <= 2));
        assert_eq!((random.below(1), random.within(0)), (0, 0));
    }
}
