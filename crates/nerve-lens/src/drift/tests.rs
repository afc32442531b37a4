//! Tests and distances between two samples, and which of them a column gets.
//!
//! Formulas and sources stand in `docs/monitoring.md`. A score is a probability for the first three (small: drift), a
//! distance for the others (large: drift).

use super::special::{chi_squared_tail, kolmogorov_smirnov_tail, normal_tails};
use super::summary::{NameSummary, NumberSummary, SMALL, Summary};
use std::collections::BTreeMap;

/// A test of whether two samples come from one distribution, or a distance between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// Two-sample Kolmogorov-Smirnov test, of numbers; the score is its p-value.
    KolmogorovSmirnov,
    /// Chi-squared test of the current counts against the shares of the reference; the score is its p-value.
    ChiSquared,
    /// Test of two proportions, of two names; the score is its p-value.
    Z,
    /// Wasserstein distance, of numbers, in standard deviations of the reference.
    Wasserstein,
    /// Jensen-Shannon distance (natural logarithm).
    JensenShannon,
    /// Population stability index.
    Psi,
}

/// What a test says of a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// Which test it was.
    pub test: Test,
    /// A p-value or a distance.
    pub score: f64,
    /// The score that parts drift from none.
    pub threshold: f64,
    /// Whether the column has drifted.
    pub drifted: bool,
}

impl Test {
    /// All tests.
    pub const ALL: [Test; 6] = [
        Test::KolmogorovSmirnov,
        Test::ChiSquared,
        Test::Z,
        Test::Wasserstein,
        Test::JensenShannon,
        Test::Psi,
    ];

    /// Its name: `ks`, `chisquare`, `z`, `wasserstein`, `jensenshannon`, `psi`.
    pub fn name(self) -> &'static str {
        match self {
            Test::KolmogorovSmirnov => "ks",
            Test::ChiSquared => "chisquare",
            Test::Z => "z",
            Test::Wasserstein => "wasserstein",
            Test::JensenShannon => "jensenshannon",
            Test::Psi => "psi",
        }
    }

    /// The test of this name.
    pub fn find(name: &str) -> Option<Test> {
        Test::ALL.into_iter().find(|test| test.name() == name)
    }

    /// Whether the score is a probability, so that a small one means drift.
    pub fn is_p_value(self) -> bool {
        matches!(self, Test::KolmogorovSmirnov | Test::ChiSquared | Test::Z)
    }

    /// The score that parts drift from none, as Evidently has it.
    pub fn threshold(self) -> f64 {
        if self.is_p_value() { 0.05 } else { 0.1 }
    }

    /// The test that a column gets if nobody asks for another, as Evidently 0.7 chooses:
    ///
    /// | rows of the reference | numbers, more than 5 different | numbers of 3 to 5, names | of at most 2 |
    /// |---|---|---|---|
    /// | up to 1000 | `ks` | `chisquare` | `z` |
    /// | more | `wasserstein` | `jensenshannon` | `jensenshannon` |
    ///
    /// Values are counted in reference and current data together.
    pub fn of(reference: &Summary, current: &Summary) -> Test {
        let small = reference.count() <= SMALL;
        let different = match (reference, current) {
            (Summary::Numbers(a), Summary::Numbers(b)) => match different(a, b) {
                Some(different) => different,
                None if small => return Test::KolmogorovSmirnov,
                None => return Test::Wasserstein,
            },
            _ => Counts::of(reference, current).len(),
        };
        match different {
            _ if !small => Test::JensenShannon,
            0..=2 => Test::Z,
            _ => Test::ChiSquared,
        }
    }

    /// Its score.
    ///
    /// # Errors
    /// In words: it does not fit the column, or one side has no values.
    pub fn score(self, reference: &Summary, current: &Summary) -> Result<f64, String> {
        if reference.count() == 0 || current.count() == 0 {
            let side = if current.count() == 0 { "current data" } else { "reference" };
            return Err(format!("no values in the {side}"));
        }
        match (self, reference, current) {
            (Test::KolmogorovSmirnov, Summary::Numbers(a), Summary::Numbers(b)) => {
                Ok(kolmogorov_smirnov(a, b))
            }
            (Test::Wasserstein, Summary::Numbers(a), Summary::Numbers(b)) => Ok(wasserstein(a, b)),
            (Test::JensenShannon | Test::Psi, Summary::Numbers(a), Summary::Numbers(b))
                if a.distinct(BINNED_ABOVE).is_none() =>
            {
                let [p, q] = binned(a, b);
                Ok(if self == Test::Psi { psi(p, q) } else { jensen_shannon(&p, &q) })
            }
            (Test::KolmogorovSmirnov | Test::Wasserstein, ..) => {
                Err(format!("`{}` compares numbers, not names", self.name()))
            }
            _ => self.of_counts(&Counts::of(reference, current)),
        }
    }

    fn of_counts(self, counts: &Counts) -> Result<f64, String> {
        let Counts { reference, current } = counts;
        match self {
            Test::ChiSquared => Ok(chi_squared(reference, current)),
            Test::Z if reference.len() > 2 => {
                Err(format!("`z` compares two values, there are {}", reference.len()))
            }
            Test::Z => Ok(z(reference, current)),
            Test::Psi => Ok(psi(shares(reference), shares(current))),
            _ => Ok(jensen_shannon(&shares(reference), &shares(current))),
        }
    }

    /// What it says; `threshold` takes the place of its own.
    ///
    /// # Errors
    /// As [`Test::score`].
    pub fn judge(
        self,
        reference: &Summary,
        current: &Summary,
        threshold: Option<f64>,
    ) -> Result<Verdict, String> {
        let score = self.score(reference, current)?;
        let threshold = threshold.unwrap_or(self.threshold());
        let drifted = match self {
            // Evidently counts the threshold itself as drift here, and not for the other two.
            Test::KolmogorovSmirnov => score <= threshold,
            Test::ChiSquared | Test::Z => score < threshold,
            _ => score >= threshold,
        };
        Ok(Verdict { test: self, score, threshold, drifted })
    }
}

/// Numbers of at most this many different values are compared value by value when a test chooses itself.
const FEW: usize = 5;
/// Numbers of more different values in the reference than this are put into bins.
const BINNED_ABOVE: usize = 20;

/// How many different values two samples have together, if these are few.
fn different(a: &NumberSummary, b: &NumberSummary) -> Option<usize> {
    let mut all = a.distinct(FEW)?;
    all.extend(b.distinct(FEW)?);
    all.sort_by(f64::total_cmp);
    all.dedup();
    (all.len() <= FEW).then_some(all.len())
}

/// Rows by value, of both samples in the same order.
struct Counts {
    reference: Vec<f64>,
    current: Vec<f64>,
}

impl Counts {
    fn of(reference: &Summary, current: &Summary) -> Counts {
        match (reference, current) {
            (Summary::Names(a), Summary::Names(b)) => Counts::of_names(a, b),
            (Summary::Numbers(a), Summary::Numbers(b)) => {
                let keyed = |side: &NumberSummary| -> Vec<(u64, f64)> {
                    // Bits of -0 and 0 differ; there is no -0 in a summary.
                    side.points.iter().map(|&(value, rows)| (value.to_bits(), rows)).collect()
                };
                Counts::joined(keyed(a), keyed(b))
            }
            _ => Counts { reference: Vec::new(), current: Vec::new() },
        }
    }

    fn of_names(a: &NameSummary, b: &NameSummary) -> Counts {
        // Names that one side did not count one by one may be anything of its rest.
        let keyed = |side: &NameSummary, other: &NameSummary| -> Vec<(Option<String>, f64)> {
            let known = |name: &String| {
                other.rest == 0 || other.names.binary_search_by(|(own, _)| own.cmp(name)).is_ok()
            };
            let key = |name: &String| known(name).then(|| name.clone());
            let named = side.names.iter().map(|(name, rows)| (key(name), *rows as f64));
            named.chain((side.rest > 0).then_some((None, side.rest as f64))).collect()
        };
        Counts::joined(keyed(a, b), keyed(b, a))
    }

    fn joined<K: Ord>(a: Vec<(K, f64)>, b: Vec<(K, f64)>) -> Counts {
        let mut all: BTreeMap<K, [f64; 2]> = BTreeMap::new();
        for (side, counts) in [a, b].into_iter().enumerate() {
            counts.into_iter().for_each(|(key, rows)| all.entry(key).or_default()[side] += rows);
        }
        let (reference, current) = all.into_values().map(|[a, b]| (a, b)).unzip();
        Counts { reference, current }
    }

    fn len(&self) -> usize {
        self.reference.len()
    }
}

fn shares(counts: &[f64]) -> Vec<f64> {
    let all: f64 = counts.iter().sum();
    counts.iter().map(|rows| rows / all).collect()
}

/// The distance of the distribution functions (the `D` of Kolmogorov and Smirnov), and of their graphs (Wasserstein).
fn distances(a: &NumberSummary, b: &NumberSummary) -> (f64, f64) {
    let total = |side: &NumberSummary| side.points.iter().map(|point| point.1).sum::<f64>();
    let (all_a, all_b) = (total(a), total(b));
    let (mut i, mut j) = (0, 0);
    let (mut below_a, mut below_b) = (0.0, 0.0);
    let (mut greatest, mut area) = (0.0f64, 0.0);
    let mut last: Option<f64> = None;
    loop {
        let next = match (a.points.get(i), b.points.get(j)) {
            (Some(a), Some(b)) => a.0.min(b.0),
            (Some(point), None) | (None, Some(point)) => point.0,
            (None, None) => return (greatest, area),
        };
        let apart = (below_a / all_a - below_b / all_b).abs();
        area += last.map_or(0.0, |last| apart * (next - last));
        while let Some(point) = a.points.get(i).filter(|point| point.0 == next) {
            below_a += point.1;
            i += 1;
        }
        while let Some(point) = b.points.get(j).filter(|point| point.0 == next) {
            below_b += point.1;
            j += 1;
        }
        greatest = greatest.max((below_a / all_a - below_b / all_b).abs());
        last = Some(next);
    }
}

fn kolmogorov_smirnov(a: &NumberSummary, b: &NumberSummary) -> f64 {
    // What stands for many rows says no more than as many values can.
    let size = |side: &NumberSummary| match side.approximate {
        true => side.count.min(side.points.len() as u64),
        false => side.count,
    };
    kolmogorov_smirnov_tail(distances(a, b).0, size(a), size(b))
}

fn wasserstein(a: &NumberSummary, b: &NumberSummary) -> f64 {
    distances(a, b).1 / a.deviation.max(0.001)
}

fn chi_squared(reference: &[f64], current: &[f64]) -> f64 {
    if reference.len() < 2 {
        return 1.0;
    }
    let scale = current.iter().sum::<f64>() / reference.iter().sum::<f64>();
    let term = |(reference, current): (&f64, &f64)| {
        let expected = reference * scale;
        match expected > 0.0 {
            true => (current - expected).powi(2) / expected,
            // A value that the reference does not have is impossible by it.
            false => f64::INFINITY,
        }
    };
    let statistic = reference.iter().zip(current).map(term).sum();
    chi_squared_tail(statistic, (reference.len() - 1) as f64)
}

fn z(reference: &[f64], current: &[f64]) -> f64 {
    let (n, m) = (reference.iter().sum::<f64>(), current.iter().sum::<f64>());
    let of = |counts: &[f64], all: f64| counts.first().map_or(0.0, |first| 1.0 - first / all);
    let (p, q) = (of(reference, n), of(current, m));
    let both = (p * n + q * m) / (n + m);
    let spread = (both * (1.0 - both) * (1.0 / n + 1.0 / m)).sqrt();
    // Without any spread all rows have the same value.
    if reference.len() < 2 || spread == 0.0 { 1.0 } else { normal_tails((p - q) / spread) }
}

fn jensen_shannon(p: &[f64], q: &[f64]) -> f64 {
    let (all_p, all_q) = (p.iter().sum::<f64>(), q.iter().sum::<f64>());
    let term = |p: f64, middle: f64| if p > 0.0 { p * (p / middle).ln() } else { 0.0 };
    let each = |(p, q): (&f64, &f64)| {
        let (p, q) = (p / all_p, q / all_q);
        let middle = (p + q) / 2.0;
        term(p, middle) + term(q, middle)
    };
    (p.iter().zip(q).map(each).sum::<f64>() / 2.0).max(0.0).sqrt()
}

fn psi(p: Vec<f64>, q: Vec<f64>) -> f64 {
    let filled = |mut shares: Vec<f64>| {
        // As Evidently fills what is empty.
        let least = shares.iter().copied().filter(|share| *share > 0.0).fold(1.0, f64::min);
        let filling = if least <= 0.0001 { least / 1e6 } else { 0.0001 };
        shares.iter_mut().filter(|share| **share == 0.0).for_each(|share| *share = filling);
        shares
    };
    let (p, q) = (filled(p), filled(q));
    p.iter().zip(&q).map(|(p, q)| (p - q) * (p / q).ln()).sum()
}

/// More bins than this are made of no numbers.
const MOST_BINS: f64 = 1000.0;

/// The shares of rows in bins of one width over all numbers, whose number is Sturges': log2(n) + 1, rounded up.
fn binned(a: &NumberSummary, b: &NumberSummary) -> [Vec<f64>; 2] {
    let (least, greatest) = (a.least.min(b.least), a.greatest.max(b.greatest));
    let rows = (a.count + b.count) as f64;
    let count = (rows.log2() + 1.0).ceil().clamp(1.0, MOST_BINS) as usize;
    // The edges are those of numpy's linspace, to the bit: rounded numbers often lie on one.
    let step = (greatest - least) / count as f64;
    let edges: Vec<f64> = (1..count).map(|at| at as f64 * step + least).collect();
    [a, b].map(|side| {
        let mut bins = vec![0.0; count];
        for (value, rows) in &side.points {
            bins[edges.partition_point(|edge| edge <= value)] += rows / side.count as f64;
        }
        bins
    })
}
