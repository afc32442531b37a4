//! How often what was seen, in bounded memory.

use std::collections::HashMap;

use crate::Random;

/// Above so many different entries the rare ones are dropped.
const MOST: usize = 1 << 21;

/// Words that are longer are no words: they are not counted and stay unknown.
pub(super) const LONGEST: usize = 128;

/// How often each word was seen.
///
/// When there are too many different ones, the rarest are forgotten, as often as it takes (Manku and Motwani,
/// "Approximate frequency counts over data streams", VLDB 2002): what remains is a function of the words in their order.
#[derive(Debug)]
pub(super) struct Counts {
    counts: HashMap<Box<str>, u64>,
    most: usize,
}

impl Default for Counts {
    fn default() -> Counts {
        Counts { counts: HashMap::new(), most: MOST }
    }
}

impl Counts {
    /// Counts a word.
    pub(super) fn add(&mut self, word: &str) {
        if let Some(count) = self.counts.get_mut(word) {
            *count += 1;
        } else if word.len() <= LONGEST {
            self.counts.insert(word.into(), 1);
            if self.counts.len() > self.most {
                self.forget();
            }
        }
    }

    /// Drops the rarest until half of the room is free.
    fn forget(&mut self) {
        let mut rare = 1;
        while self.counts.len() > self.most / 2 {
            self.counts.retain(|_, count| *count > rare);
            rare *= 2;
        }
    }

    /// The words that were seen at least `least` times with their counts, the most frequent first, equals by name.
    pub(super) fn sorted(self, least: u64) -> Vec<(Box<str>, u64)> {
        let mut words: Vec<(Box<str>, u64)> =
            self.counts.into_iter().filter(|(_, count)| *count >= least).collect();
        words.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        words
    }
}

/// How many texts the lengths are judged by, and how much of each.
const SAMPLE: usize = 5000;
const SAMPLE_BYTES: usize = 1 << 13;

/// A fair sample of the texts of a stream (Vitter, "Random sampling with a reservoir", 1985: algorithm R), keyed by the
/// place of each.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    texts: Vec<Box<str>>,
    seen: u64,
}

impl Sample {
    /// Looks at a text.
    pub(crate) fn observe(&mut self, text: &str) {
        self.seen += 1;
        let place = match self.texts.len() {
            len if len < SAMPLE => {
                self.texts.push(Box::default());
                len
            }
            _ => Random::keyed(&[0x7E87, self.seen]).below(self.seen) as usize,
        };
        if let Some(kept) = self.texts.get_mut(place) {
            *kept = text[..text.floor_char_boundary(SAMPLE_BYTES)].into();
        }
    }

    /// The texts; long ones are cut.
    pub(crate) fn texts(&self) -> &[Box<str>] {
        &self.texts
    }

    /// How many texts there were.
    pub(crate) fn seen(&self) -> u64 {
        self.seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frequent_survive_when_there_is_no_room_for_the_rare() {
        let mut counts = Counts { most: 100, ..Counts::default() };
        for i in 0..10_000 {
            counts.add(&format!("rare{i}"));
            counts.add(["the", "of", "and"][i % 3]);
            assert!(counts.counts.len() <= 100);
        }
        counts.add(&"x".repeat(LONGEST + 1));
        let sorted = counts.sorted(1000);
        let names: Vec<&str> = sorted.iter().map(|(word, _)| &**word).collect();
        assert_eq!(names, ["the", "and", "of"]);
    }

    #[test]
    fn a_sample_is_bounded_and_fair() {
        let mut sample = Sample::default();
        let long = "é".repeat(SAMPLE_BYTES);
        (0..20_000).for_each(|i| sample.observe(if i < 10_000 { "a" } else { &long }));
        assert_eq!((sample.texts().len(), sample.seen()), (SAMPLE, 20_000));
        let long = sample.texts().iter().filter(|text| text.len() > 1).count();
        assert!((2300..2700).contains(&long), "{long} of {SAMPLE}");
        assert!(sample.texts().iter().all(|text| text.len() <= SAMPLE_BYTES));
    }
}
