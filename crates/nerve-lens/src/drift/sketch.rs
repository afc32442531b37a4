//! What is remembered of the values of a column: bounded, whatever the number of rows, and mergeable.

use super::summary::{NameSummary, NumberSummary, Summary};
use std::collections::BTreeMap;

/// How many different numbers are counted one by one.
pub(super) const DISTINCT: usize = 20;

/// Numbers of a column.
///
/// Up to `exact` of them are kept as they are. Of more, levels of samples are kept: when a level is full it is sorted and
/// every second value goes to the next, where it stands for twice as many (Munro and Paterson 1980). The rank of a value is
/// then wrong by at most `levels / exact` of the rows; nothing is random.
#[derive(Clone, Debug)]
pub struct Numbers {
    exact: usize,
    /// A value of level i stands for 2^i rows.
    levels: Vec<Vec<f64>>,
    /// Whether the next values that a level hands on are the even or the odd ones.
    odd: Vec<bool>,
    count: u64,
    missing: u64,
    least: f64,
    greatest: f64,
    /// Mean and sum of squared differences from it (Welford).
    mean: f64,
    squares: f64,
    distinct: Option<Vec<(f64, u64)>>,
}

impl Numbers {
    /// Nothing yet; up to `exact` values, at least 2, will be kept as they are.
    pub fn new(exact: usize) -> Numbers {
        Numbers {
            exact: exact.max(2),
            levels: vec![Vec::new()],
            odd: vec![false],
            count: 0,
            missing: 0,
            least: f64::INFINITY,
            greatest: f64::NEG_INFINITY,
            mean: 0.0,
            squares: 0.0,
            distinct: Some(Vec::new()),
        }
    }

    /// Adds a number; one that is not finite counts as missing.
    pub fn add(&mut self, value: f64) {
        if !value.is_finite() {
            return self.missing();
        }
        // -0 and 0 are the same number.
        let value = value + 0.0;
        self.count += 1;
        self.least = self.least.min(value);
        self.greatest = self.greatest.max(value);
        let away = value - self.mean;
        self.mean += away / self.count as f64;
        self.squares += away * (value - self.mean);
        self.distinguish(value, 1);
        self.levels[0].push(value);
        self.compact();
    }

    /// Adds a row without a number.
    pub fn missing(&mut self) {
        self.missing += 1;
    }

    fn distinguish(&mut self, value: f64, rows: u64) {
        let Some(distinct) = &mut self.distinct else { return };
        match distinct.binary_search_by(|(known, _)| known.total_cmp(&value)) {
            Ok(at) => distinct[at].1 += rows,
            Err(_) if distinct.len() == DISTINCT => self.distinct = None,
            Err(at) => distinct.insert(at, (value, rows)),
        }
    }

    fn compact(&mut self) {
        let mut level = 0;
        while level < self.levels.len() {
            if self.levels[level].len() > self.exact {
                if level + 1 == self.levels.len() {
                    self.levels.push(Vec::new());
                    self.odd.push(false);
                }
                let mut full = std::mem::take(&mut self.levels[level]);
                full.sort_by(f64::total_cmp);
                // An odd one stays, so that all rows go on being counted.
                if full.len() % 2 == 1 {
                    self.levels[level].extend(full.pop());
                }
                let first = usize::from(self.odd[level]);
                self.odd[level] = !self.odd[level];
                self.levels[level + 1].extend(full.into_iter().skip(first).step_by(2));
            }
            level += 1;
        }
    }

    /// Takes in what another has seen.
    pub fn merge(&mut self, other: &Numbers) {
        if other.count > 0 {
            let all = (self.count + other.count) as f64;
            let away = other.mean - self.mean;
            self.squares +=
                other.squares + away * away * self.count as f64 * other.count as f64 / all;
            self.mean += away * other.count as f64 / all;
        }
        self.count += other.count;
        self.missing += other.missing;
        self.least = self.least.min(other.least);
        self.greatest = self.greatest.max(other.greatest);
        match &other.distinct {
            Some(distinct) => {
                distinct.iter().for_each(|&(value, rows)| self.distinguish(value, rows))
            }
            None => self.distinct = None,
        }
        for (level, values) in other.levels.iter().enumerate() {
            while self.levels.len() <= level {
                self.levels.push(Vec::new());
                self.odd.push(false);
            }
            self.levels[level].extend(values);
        }
        self.compact();
    }

    /// What was seen, in a form that can be compared and kept.
    pub fn summary(&self) -> NumberSummary {
        let values = self.levels.iter().enumerate();
        let points = values.flat_map(|(level, values)| {
            let rows = (level as f64).exp2();
            values.iter().map(move |&value| (value, rows))
        });
        let mut points: Vec<(f64, f64)> = match &self.distinct {
            Some(distinct) => distinct.iter().map(|&(value, rows)| (value, rows as f64)).collect(),
            None => points.collect(),
        };
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        NumberSummary {
            count: self.count,
            missing: self.missing,
            least: self.least,
            greatest: self.greatest,
            mean: self.mean,
            deviation: (self.squares / self.count.max(1) as f64).max(0.0).sqrt(),
            approximate: self.levels.len() > 1 && self.distinct.is_none(),
            points,
        }
    }
}

/// How many different names are counted one by one, while they are counted and in a summary of many rows.
const MOST_NAMES: usize = 4096;
/// The longest part of a name that is looked at, in bytes.
const LONGEST_NAME: usize = 200;

/// Names of a column. When there are too many, those that come first are counted, and the rest together.
#[derive(Clone, Debug, Default)]
pub struct Names {
    counts: BTreeMap<String, u64>,
    rest: u64,
    missing: u64,
}

impl Names {
    /// Adds a name.
    pub fn add(&mut self, name: &str) {
        self.add_rows(name, 1);
    }

    fn add_rows(&mut self, name: &str, rows: u64) {
        let name = shortened(name);
        if let Some(count) = self.counts.get_mut(name) {
            *count += rows;
        } else if self.counts.len() < MOST_NAMES {
            self.counts.insert(name.to_string(), rows);
        } else {
            self.rest += rows;
        }
    }

    /// Adds a row without a name.
    pub fn missing(&mut self) {
        self.missing += 1;
    }

    /// Takes in what another has seen.
    pub fn merge(&mut self, other: &Names) {
        other.counts.iter().for_each(|(name, rows)| self.add_rows(name, *rows));
        self.rest += other.rest;
        self.missing += other.missing;
    }

    /// What was seen, in a form that can be compared and kept.
    pub fn summary(&self) -> NameSummary {
        let names = self.counts.iter().map(|(name, rows)| (name.clone(), *rows)).collect();
        NameSummary { missing: self.missing, names, rest: self.rest }
    }
}

/// The start of a name that is too long to be kept.
pub(super) fn shortened(name: &str) -> &str {
    &name[..name.floor_char_boundary(LONGEST_NAME)]
}

/// Numbers or names of a column.
#[derive(Clone, Debug)]
pub enum Sketch {
    /// Of a column of numbers.
    Numbers(Numbers),
    /// Of a column of names.
    Names(Names),
}

impl Sketch {
    /// What was seen.
    pub fn summary(&self) -> Summary {
        match self {
            Sketch::Numbers(numbers) => Summary::Numbers(numbers.summary()),
            Sketch::Names(names) => Summary::Names(names.summary()),
        }
    }

    /// Takes in what another of the same kind has seen.
    pub fn merge(&mut self, other: &Sketch) {
        match (self, other) {
            (Sketch::Numbers(mine), Sketch::Numbers(other)) => mine.merge(other),
            (Sketch::Names(mine), Sketch::Names(other)) => mine.merge(other),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = f64>, exact: usize) -> Numbers {
        let mut numbers = Numbers::new(exact);
        values.into_iter().for_each(|value| numbers.add(value));
        numbers
    }

    /// 0, 1, ... in an order that no sketch expects.
    fn mixed(count: usize) -> impl Iterator<Item = f64> {
        (0..count).map(move |i| (i * 7919 % count) as f64)
    }

    #[test]
    fn few_values_are_kept_as_they_are() {
        let summary = of([3.0, -0.0, f64::NAN, 0.0, f64::INFINITY, 1.5], 10).summary();
        assert_eq!((summary.count, summary.missing), (4, 2));
        assert_eq!(summary.points, [(0.0, 2.0), (1.5, 1.0), (3.0, 1.0)]);
        assert_eq!((summary.least, summary.greatest, summary.mean), (0.0, 3.0, 1.125));
        assert!(!summary.approximate);
    }

    #[test]
    fn many_values_keep_their_ranks_in_bounded_room() {
        let numbers = of(mixed(100_003), 1000);
        assert!(numbers.levels.iter().map(Vec::len).sum::<usize>() < 10_000);
        let summary = numbers.summary();
        assert_eq!((summary.count, summary.greatest), (100_003, 100_002.0));
        assert_eq!(summary.points.iter().map(|point| point.1).sum::<f64>(), 100_003.0);
        let mut rank = 0.0;
        for (value, rows) in &summary.points {
            rank += rows;
            assert!((rank - value).abs() < 0.004 * 100_003.0, "{value}: {rank}");
        }
        assert!((summary.mean - 50_001.0).abs() < 1e-6);
        assert!((summary.deviation - 100_003.0 / 12f64.sqrt()).abs() < 1.0);
    }

    #[test]
    fn parts_make_the_whole() {
        let whole = of(mixed(5000), 100).summary();
        let mut merged = of(mixed(5000).take(1234), 100);
        merged.merge(&of(mixed(5000).skip(1234), 100));
        let merged = merged.summary();
        assert_eq!((merged.count, merged.least, merged.greatest), (5000, 0.0, 4999.0));
        assert!((merged.mean - whole.mean).abs() < 1e-9);
        assert!((merged.deviation - whole.deviation).abs() < 1e-9);
        assert_eq!(merged.points.iter().map(|point| point.1).sum::<f64>(), 5000.0);
        // While all is exact, the parts do not show at all.
        let mut few = of([1.0, 2.0], 10);
        few.merge(&of([2.0, 0.5], 10));
        assert_eq!(few.summary().points, [(0.5, 1.0), (1.0, 1.0), (2.0, 2.0)]);
    }

    #[test]
    fn names_are_bounded_in_number_and_length() {
        let mut names = Names::default();
        (0..10_000).for_each(|i| names.add(&format!("{i}")));
        names.add("0");
        names.missing();
        names.add(&"\u{e9}".repeat(500));
        let summary = names.summary();
        assert_eq!((summary.names.len(), summary.rest, summary.missing), (4096, 5905, 1));
        assert_eq!(summary.names[0], ("0".to_string(), 2));
        assert!(shortened(&"\u{20ac}".repeat(500)).len() <= LONGEST_NAME);
    }
}
