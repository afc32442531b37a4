//! The order of an epoch: a permutation that is computed, not stored.
//!
//! A Feistel network permutes the smallest domain of 2²ᵏ numbers that holds `len`; a number that lands outside is sent
//! through again until it lands inside (Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002). On
//! average fewer than four passes are needed. So the place in an epoch is one integer, whatever the size
//! of the data set, and resuming there costs nothing.

use crate::random::{key, mix};

/// Enough for small domains too, where few rounds show.
const ROUNDS: usize = 8;

/// A permutation of `0..len` chosen by a key.
///
/// ```
/// use nerve_data::Permutation;
///
/// let order = Permutation::keyed(10, &[42, 0]);
/// let mut seen: Vec<u64> = (0..10).map(|position| order.get(position)).collect();
/// seen.sort();
/// assert_eq!(seen, (0..10).collect::<Vec<_>>());
/// ```
#[derive(Clone, Debug)]
pub struct Permutation {
    len: u64,
    half_bits: u32,
    round_keys: [u64; ROUNDS],
}

impl Permutation {
    /// The permutation of `0..len` that belongs to a key, as (seed, epoch).
    pub fn keyed(len: u64, parts: &[u64]) -> Permutation {
        let bits = u64::BITS - len.saturating_sub(1).leading_zeros();
        let key = key(parts);
        let round_keys = std::array::from_fn(|round| mix(key.wrapping_add(round as u64 + 1)));
        Permutation { len, half_bits: bits.div_ceil(2).max(1), round_keys }
    }

    /// Size of the permuted range.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True when there is nothing to permute.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number at a position.
    ///
    /// # Panics
    /// When the position is not below `len`.
    #[track_caller]
    pub fn get(&self, position: u64) -> u64 {
        assert!(position < self.len, "position {position} of a permutation of {}", self.len);
        let mut value = position;
        loop {
            value = self.feistel(value);
            if value < self.len {
                return value;
            }
        }
    }

    #[inline]
    fn feistel(&self, value: u64) -> u64 {
        let mask = (1u64 << self.half_bits) - 1;
        let (mut left, mut right) = (value >> self.half_bits, value & mask);
        for key in self.round_keys {
            // The upper bits of the product are the well mixed ones.
            let f = mix(right ^ key) >> (u64::BITS - self.half_bits);
            (left, right) = (right, left ^ f);
        }
        left << self.half_bits | right
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn golden_order() {
        // From a second implementation, in Python. Holds the meaning of (seed, epoch) from version to version.
        let first = |len, seed, epoch| {
            let order = Permutation::keyed(len, &[seed, epoch]);
            [0, 1, 2, 3, 4, 5].map(|position| order.get(position))
        };
        assert_eq!(first(60_000, 42, 0), [48_845, 32_840, 58_077, 34_600, 22_932, 49_800]);
        assert_eq!(first(60_000, 42, 1), [13_653, 38_212, 34_944, 7813, 15_481, 36_003]);
        assert_eq!(first(6, 0, 0), [4, 0, 1, 3, 5, 2]);
    }

    #[test]
    fn every_place_is_equally_likely_for_every_number() {
        for len in [2u64, 3, 5, 10, 17] {
            let trials = 4000u32;
            let mut counts = vec![0u32; (len * len) as usize];
            for seed in 0..u64::from(trials) {
                let order = Permutation::keyed(len, &[seed, 9]);
                for position in 0..len {
                    counts[(position * len + order.get(position)) as usize] += 1;
                }
            }
            let expected = f64::from(trials) / len as f64;
            for (cell, &count) in counts.iter().enumerate() {
                let deviation = (f64::from(count) - expected) / expected.sqrt();
                assert!(
                    deviation.abs() < 4.5,
                    "len {len}, cell {cell}: {count}, expected {expected}"
                );
            }
        }
    }

    #[test]
    fn neighbours_are_scattered() {
        let order = Permutation::keyed(60_000, &[1, 2]);
        let n = 10_000;
        let total: f64 =
            (0..n).map(|i| order.get(i).abs_diff(order.get(i + 1)) as f64).sum::<f64>() / n as f64;
        // The mean distance of two uniform draws is a third of the range.
        assert!((total - 20_000.0).abs() < 600.0, "mean distance {total}");
    }

    proptest! {
        #[test]
        fn is_a_permutation(len in 0u64..3000, seed: u64, epoch: u64) {
            let order = Permutation::keyed(len, &[seed, epoch]);
            let mut seen = vec![false; len as usize];
            for position in 0..len {
                let value = order.get(position) as usize;
                prop_assert!(!seen[value]);
                seen[value] = true;
            }
        }

        #[test]
        fn huge_ranges_stay_inside(len in 1u64.., seed: u64, at: u64) {
            let order = Permutation::keyed(len, &[seed]);
            prop_assert!(order.get(at % len) < len);
        }
    }

    #[test]
    #[should_panic(expected = "position 3 of a permutation of 3")]
    fn a_position_beyond_the_end_is_refused() {
        Permutation::keyed(3, &[]).get(3);
    }
}
