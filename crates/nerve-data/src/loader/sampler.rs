//! Which samples an epoch draws, where it does not simply go through all of them.

use crate::random::Random;
use crate::{DataError, Permutation};

/// Keys the draws of a sampler apart from those of a permutation.
const SAMPLER: u64 = 0x5341_4D50_4C45_5200;

/// A choice of samples for each position of an epoch: a function of (seed, epoch, position), so that an epoch can be
/// resumed at any position.
///
/// ```
/// use nerve_data::Sampler;
///
/// // Three of class 0, one of class 1: each pair of draws has one of both.
/// let sampler = Sampler::balanced(&[0, 0, 1, 0], None)?;
/// let ones = (0..sampler.len()).filter(|&position| sampler.get(7, 0, position) == 2).count();
/// assert_eq!((sampler.len(), ones), (4, 2));
/// # Ok::<(), nerve_data::DataError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Sampler {
    draw: Draw,
    len: u64,
}

#[derive(Clone, Debug)]
enum Draw {
    /// The samples of each class that has some. Each block of as many positions as classes holds each class once.
    Balanced(Vec<Vec<u64>>),
    /// The sums of the weights up to each sample; drawn with replacement.
    Weighted(Vec<f64>),
}

impl Sampler {
    /// As many samples of each class, so that every batch is balanced. The samples of a class come in random order, all
    /// of them before one comes again. An epoch has `len` draws, as many as there are samples unless given.
    ///
    /// # Errors
    /// [`DataError::Option`] for a negative label, [`DataError::Empty`] without labels.
    pub fn balanced(labels: &[i32], len: Option<u64>) -> Result<Sampler, DataError> {
        let classes = by_class(labels)?;
        let len = len.unwrap_or(labels.len() as u64);
        Ok(Sampler { draw: Draw::Balanced(classes), len })
    }

    /// Every sample of the largest class once, and those of the others as often as it takes to be as many.
    ///
    /// # Errors
    /// As [`Sampler::balanced`].
    pub fn oversampled(labels: &[i32]) -> Result<Sampler, DataError> {
        let classes = by_class(labels)?;
        let largest = classes.iter().map(Vec::len).max().unwrap_or(0);
        let len = (largest * classes.len()) as u64;
        Ok(Sampler { draw: Draw::Balanced(classes), len })
    }

    /// Each draw is sample i with a probability in proportion to weight i, whatever was drawn before. An epoch has `len`
    /// draws, as many as there are samples unless given.
    ///
    /// # Errors
    /// [`DataError::Option`] for a weight that is negative or no number, or without one above 0.
    pub fn weighted(weights: &[f64], len: Option<u64>) -> Result<Sampler, DataError> {
        let refuse = |expected: &str, found: String| {
            Err(DataError::Option {
                option: "weights of samples",
                expected: expected.into(),
                found,
            })
        };
        if let Some(bad) = weights.iter().find(|weight| !(weight.is_finite() && **weight >= 0.0)) {
            return refuse("finite numbers of 0 or more", bad.to_string());
        }
        let mut sum = 0.0;
        let sums: Vec<f64> = weights
            .iter()
            .map(|weight| {
                sum += weight;
                sum
            })
            .collect();
        if sum <= 0.0 || !sum.is_finite() {
            return refuse("numbers with a positive, finite sum", sum.to_string());
        }
        Ok(Sampler { draw: Draw::Weighted(sums), len: len.unwrap_or(weights.len() as u64) })
    }

    /// Draws in an epoch.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether an epoch has no draws.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The greatest number of a sample that it may draw.
    pub(super) fn greatest(&self) -> u64 {
        match &self.draw {
            Draw::Balanced(classes) => classes.iter().flatten().copied().max().unwrap_or(0),
            Draw::Weighted(sums) => sums.len() as u64 - 1,
        }
    }

    /// The sample at a position of an epoch.
    pub fn get(&self, seed: u64, epoch: u64, position: u64) -> u64 {
        match &self.draw {
            Draw::Balanced(classes) => {
                let count = classes.len() as u64;
                let (block, place) = (position / count, position % count);
                let key = [SAMPLER, seed, epoch, block];
                let class = Permutation::keyed(count, &key).get(place);
                let samples = &classes[class as usize];
                let (round, place) = (block / samples.len() as u64, block % samples.len() as u64);
                let key = [SAMPLER, seed, epoch, class, round];
                samples[Permutation::keyed(samples.len() as u64, &key).get(place) as usize]
            }
            Draw::Weighted(sums) => {
                let bits = Random::keyed(&[SAMPLER, seed, epoch, position]).bits() >> 11;
                let place = bits as f64 / (1u64 << 53) as f64 * sums[sums.len() - 1];
                // Rounding may put the place at the very end: the last sample of a weight above 0 is there.
                let last = sums.partition_point(|sum| *sum < sums[sums.len() - 1]);
                sums.partition_point(|sum| *sum <= place).min(last) as u64
            }
        }
    }
}

/// The samples of each class that has some.
fn by_class(labels: &[i32]) -> Result<Vec<Vec<u64>>, DataError> {
    if labels.is_empty() {
        return Err(DataError::Empty { what: "list of labels".into() });
    }
    if let Some(label) = labels.iter().find(|label| **label < 0) {
        let expected = "class numbers from 0".to_string();
        let found = label.to_string();
        return Err(DataError::Option { option: "labels of samples", expected, found });
    }
    let mut classes = std::collections::BTreeMap::<i32, Vec<u64>>::new();
    labels.iter().zip(0..).for_each(|(label, i)| classes.entry(*label).or_default().push(i));
    Ok(classes.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_holds_every_class_and_every_sample_comes_in_turn() {
        let labels: Vec<i32> = (0..100).map(|i| if i < 80 { 0 } else { 1 + i % 2 }).collect();
        let sampler = Sampler::oversampled(&labels).unwrap();
        assert_eq!(sampler.len(), 240);
        let draws: Vec<usize> = (0..240).map(|p| sampler.get(1, 0, p) as usize).collect();
        for block in draws.chunks(3) {
            let mut classes: Vec<i32> = block.iter().map(|&i| labels[i]).collect();
            classes.sort_unstable();
            assert_eq!(classes, [0, 1, 2]);
        }
        let mut counts = [0; 100];
        draws.iter().for_each(|&i| counts[i] += 1);
        assert!(counts[..80].iter().all(|&count| count == 1));
        assert!(counts[80..].iter().all(|&count| count == 8), "10 of each class, 80 draws");
        let other: Vec<usize> = (0..240).map(|p| sampler.get(1, 1, p) as usize).collect();
        assert_ne!(draws, other, "another epoch");
    }

    #[test]
    fn weights_are_shares() {
        let sampler = Sampler::weighted(&[0.0, 1.0, 3.0, 0.0], Some(8000)).unwrap();
        let mut counts = [0; 4];
        (0..8000).for_each(|p| counts[sampler.get(3, 0, p) as usize] += 1);
        assert_eq!((counts[0], counts[3]), (0, 0));
        assert!((1850..2150).contains(&counts[1]), "{counts:?}");
        assert!(Sampler::weighted(&[0.0], None).is_err());
        assert!(Sampler::weighted(&[1.0, -1.0], None).is_err());
        assert!(Sampler::weighted(&[f64::INFINITY], None).is_err());
        assert!(Sampler::balanced(&[], None).is_err());
        assert!(Sampler::balanced(&[-1], None).is_err());
    }
}
