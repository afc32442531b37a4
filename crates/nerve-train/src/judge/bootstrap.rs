//! How far scores could be otherwise by the chance of which rows they were measured on.

use super::family::Family;
use nerve_data::Random;
use std::thread;

/// How intervals are found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bootstrap {
    /// How many times rows are drawn anew; 0 for no intervals.
    pub resamples: usize,
    /// How much of the distribution lies inside an interval.
    pub level: f64,
    /// What the draws depend on.
    pub seed: u64,
}

impl Default for Bootstrap {
    /// 1,000 resamples, 95 %.
    fn default() -> Self {
        Bootstrap { resamples: 1000, level: 0.95, seed: 0 }
    }
}

/// The draws of this room, beside those of others with the same seed.
const KEY: u64 = 0x6a75_6467;

impl Bootstrap {
    /// For each score an interval: the percentile interval of Efron, "Bootstrap methods: another look at
    /// the jackknife", 1979. Rows are drawn with replacement, as many as there are; with `groups` (a
    /// number for each row, from 0 without gaps) whole groups are, for rows that are not independent.
    ///
    /// `None` where fewer than half of the resamples have a value.
    pub(crate) fn intervals(
        &self,
        families: &[Box<dyn Family>],
        rows: usize,
        groups: Option<&[u32]>,
    ) -> Vec<Option<(f64, f64)>> {
        let scores = families.iter().map(|family| family.scores().len()).sum();
        if self.resamples == 0 || rows == 0 {
            return vec![None; scores];
        }
        let threads = thread::available_parallelism().map_or(1, usize::from).min(self.resamples);
        // Each resample depends on its number alone: how many threads share them does not matter.
        let share = self.resamples.div_ceil(threads);
        let mut values: Vec<Vec<f64>> = Vec::with_capacity(self.resamples);
        thread::scope(|scope| {
            let parts: Vec<_> = (0..threads)
                .map(|part| {
                    let numbers = part * share..((part + 1) * share).min(self.resamples);
                    scope.spawn(move || self.some(numbers, families, rows, groups))
                })
                .collect();
            for part in parts {
                values.extend(part.join().expect("scores do not panic"));
            }
        });
        let of = |score: usize| values.iter().map(|row| row[score]).collect();
        (0..scores).map(|score| self.interval(of(score))).collect()
    }

    fn some(
        &self,
        numbers: std::ops::Range<usize>,
        families: &[Box<dyn Family>],
        rows: usize,
        groups: Option<&[u32]>,
    ) -> Vec<Vec<f64>> {
        let drawn =
            groups.map_or(rows, |groups| groups.iter().map(|&g| g as usize + 1).max().unwrap_or(0));
        let (mut counts, mut weights) = (vec![0.0; drawn], vec![0.0; rows]);
        let resample = |number: usize| {
            counts.fill(0.0);
            let mut random = Random::keyed(&[self.seed, KEY, number as u64]);
            for _ in 0..drawn {
                counts[random.below(drawn as u64) as usize] += 1.0;
            }
            let weights: &[f64] = match groups {
                None => &counts,
                Some(groups) => {
                    let each = weights.iter_mut().zip(groups);
                    each.for_each(|(weight, &group)| *weight = counts[group as usize]);
                    &weights
                }
            };
            let mut values = Vec::new();
            families.iter().for_each(|family| family.values(weights, &mut values));
            values
        };
        numbers.map(resample).collect()
    }

    fn interval(&self, mut values: Vec<f64>) -> Option<(f64, f64)> {
        values.retain(|value| value.is_finite());
        if values.is_empty() || values.len() * 2 < self.resamples {
            return None;
        }
        values.sort_by(f64::total_cmp);
        let tail = (1.0 - self.level) / 2.0;
        Some((quantile(&values, tail), quantile(&values, 1.0 - tail)))
    }
}

/// A quantile of sorted values, linear between them: the default of NumPy, definition 7 of Hyndman and
/// Fan, "Sample quantiles in statistical packages", 1996.
///
/// # Panics
/// Without values.
pub(crate) fn quantile(sorted: &[f64], q: f64) -> f64 {
    let place = q * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    low + (high - low) * place.fract()
}
