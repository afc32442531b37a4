//! Splitting a data set: into training, validation and test parts.
//!
//! Each function gives the sample indices of every part, sorted. The parts are disjoint and together hold every sample.
//! A part becomes a data set with [`Subset::new`](crate::Subset::new).
//!
//! A recipe names the way to split a table, `split = { type = "stratify", column = "label" }`: [`KIND`], [`parts`] and
//! [`folds`].

mod by_row;
mod ways;

use nerve_formats::spec::{Item, Kind, Spec};

pub use by_row::ByRow;
pub(crate) use by_row::hash;

use crate::random::Random;
use crate::{DataError, Permutation, Table};

/// The rows of each part of a table, each sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// What is learned from.
    pub train: Vec<usize>,
    /// What is watched while learning; may be empty.
    pub validation: Vec<usize>,
    /// What is judged by at the end; may be empty.
    pub test: Vec<usize>,
}

/// The ways to split a table, for a recipe.
pub const KIND: Kind = Kind::Item { what: "split", specs };

/// The descriptions of the ways to split a table.
pub fn specs() -> Vec<&'static Spec> {
    ways::REGISTRY.iter().map(|way| way.spec).collect()
}

/// Splits these rows of a table as a checked recipe says.
///
/// The fractions of a way are those of training, validation and test; without a third, nothing is held back for the test,
/// as where the test has a file of its own.
///
/// # Errors
/// [`DataError::Option`] for fractions that do not add up to 1, or a way that does not suit the column;
/// [`DataError::UnknownColumn`]; [`DataError::Cell`] for a cell that the way cannot use; [`DataError::Empty`] when a part
/// that should have rows gets none.
///
/// # Panics
/// If `item` is not of this registry.
pub fn parts(item: &Item, table: &Table, rows: &[usize], seed: u64) -> Result<Parts, DataError> {
    way(item).parts(&item.args, table, rows, seed)
}

/// The same for rows that come one after the other: how each finds its part by itself. `None` for a way that must know the
/// other rows: all but `hash`, and `fixed` with a column.
///
/// # Errors
/// As [`parts`].
///
/// # Panics
/// If `item` is not of this registry.
pub fn by_row(item: &Item, seed: u64) -> Result<Option<ByRow>, DataError> {
    way(item).by_row(&item.args, seed)
}

/// `k` pairs of what is learned from and what is judged by: each row is in the test of one fold. Of the other rows of a
/// fold, a share is for validation, drawn in the same way.
///
/// # Errors
/// As [`parts`]; [`DataError::Option`] also for a way that has no folds, as `time`, and for fewer rows than folds.
///
/// # Panics
/// If `item` is not of this registry.
pub fn folds(
    item: &Item,
    table: &Table,
    rows: &[usize],
    k: usize,
    validation: f64,
    seed: u64,
) -> Result<Vec<Parts>, DataError> {
    if k < 2 || k > rows.len() {
        return Err(DataError::Option {
            option: "folds",
            expected: format!("2 to {}, the number of rows", rows.len()),
            found: k.to_string(),
        });
    }
    let tests = way(item).folds(&item.args, table, rows, k, seed)?;
    let mut folds = Vec::with_capacity(k);
    for (fold, test) in tests.into_iter().enumerate() {
        let rest: Vec<usize> =
            rows.iter().copied().filter(|row| test.binary_search(row).is_err()).collect();
        let shares = [1.0 - validation, validation];
        let shares = if validation > 0.0 { &shares[..] } else { &shares[..1] };
        // A fold draws its validation rows for itself.
        let seed = crate::random::key(&[SPLIT, seed, fold as u64]);
        let mut dealt = way(item).deal(&item.args, table, &rest, shares, seed)?.into_iter();
        let (train, validation) = (dealt.next().unwrap_or_default(), dealt.next());
        folds.push(Parts { train, validation: validation.unwrap_or_default(), test });
    }
    Ok(folds)
}

fn way(item: &Item) -> &'static ways::Way {
    let way = ways::REGISTRY.iter().find(|way| way.spec.name == item.name);
    way.unwrap_or_else(|| panic!("no split `{}`", item.name))
}

/// Keys the random order of a split, so that it has nothing to do with the order of an epoch of the same seed.
const SPLIT: u64 = 0x5350_4C49_5400_0000;

/// The first `counts[0]` samples, then the next `counts[1]`, and so on, in the order of the data set.
///
/// # Errors
/// [`DataError::Option`] unless the counts add up to `len`, [`DataError::Empty`] when one is 0.
pub fn fixed(len: usize, counts: &[usize]) -> Result<Vec<Vec<usize>>, DataError> {
    let total = counts.iter().try_fold(0usize, |sum, &count| sum.checked_add(count));
    if total != Some(len) {
        return Err(DataError::Option {
            option: "counts of a split",
            expected: format!("a sum of {len}, the number of samples"),
            found: format!("{counts:?}"),
        });
    }
    let mut start = 0;
    let parts = counts.iter().map(|count| {
        start += count;
        (start - count..start).collect()
    });
    none_empty(parts.collect(), len)
}

/// Samples drawn at random: part `i` has a share of `fractions[i]`, rounded so that the sizes add up to `len` (largest
/// remainder).
///
/// ```
/// let parts = nerve_data::split::random(60_000, &[0.9, 0.1], 42)?;
/// assert_eq!((parts[0].len(), parts[1].len()), (54_000, 6_000));
/// # Ok::<(), nerve_data::DataError>(())
/// ```
///
/// # Errors
/// [`DataError::Option`] unless the fractions are positive and add up to 1, [`DataError::Empty`] when a part gets no
/// sample.
pub fn random(len: usize, fractions: &[f64], seed: u64) -> Result<Vec<Vec<usize>>, DataError> {
    check(fractions)?;
    let order = Permutation::keyed(len as u64, &[SPLIT, seed]);
    let mut positions = 0..len as u64;
    let parts = sizes(len, fractions).into_iter().map(|size| {
        let mut part: Vec<usize> =
            positions.by_ref().take(size).map(|position| order.get(position) as usize).collect();
        part.sort_unstable();
        part
    });
    none_empty(parts.collect(), len)
}

/// Samples drawn at random so that each class has the same shares as the whole: for two parts, the number of samples of
/// a class in a part is less than 2 away from its exact share, however rare the class.
///
/// `labels` holds the class of each sample.
///
/// # Errors
/// As [`random`].
pub fn stratified(
    labels: &[i32],
    fractions: &[f64],
    seed: u64,
) -> Result<Vec<Vec<usize>>, DataError> {
    check(fractions)?;
    // By class, and within a class at random: then dealing them out in proportion is fair to each.
    let mut order: Vec<usize> = (0..labels.len()).collect();
    order.sort_by_cached_key(|&index| {
        (labels[index], Random::keyed(&[SPLIT, seed, index as u64]).bits(), index)
    });
    let mut parts = vec![Vec::new(); fractions.len()];
    for (dealt, index) in order.into_iter().enumerate() {
        let owed = |part: usize| fractions[part] * (dealt + 1) as f64 - parts[part].len() as f64;
        let next = (1..parts.len())
            .fold(0, |best, part| if owed(part) > owed(best) { part } else { best });
        parts[next].push(index);
    }
    parts.iter_mut().for_each(|part| part.sort_unstable());
    none_empty(parts, labels.len())
}

fn refuse(expected: impl Into<String>, found: impl Into<String>) -> DataError {
    DataError::Option { option: "split", expected: expected.into(), found: found.into() }
}

fn check(fractions: &[f64]) -> Result<(), DataError> {
    let sum: f64 = fractions.iter().sum();
    if fractions.iter().all(|&fraction| fraction > 0.0) && (sum - 1.0).abs() < 1e-6 {
        return Ok(());
    }
    Err(DataError::Option {
        option: "fractions of a split",
        expected: "positive numbers that add up to 1".into(),
        found: format!("{fractions:?}"),
    })
}

/// Whole sizes in proportion to the fractions, by the method of the largest remainder.
fn sizes(len: usize, fractions: &[f64]) -> Vec<usize> {
    let sum: f64 = fractions.iter().sum();
    let exact: Vec<f64> = fractions.iter().map(|fraction| fraction / sum * len as f64).collect();
    // A share that is whole but for rounding (0.1 of 60,000) counts as whole.
    let mut sizes: Vec<usize> = exact.iter().map(|share| (share + 1e-9).floor() as usize).collect();
    let mut by_remainder: Vec<usize> = (0..sizes.len()).collect();
    let remainder = |part: usize| exact[part] - (exact[part] + 1e-9).floor();
    by_remainder.sort_by(|&a, &b| remainder(b).total_cmp(&remainder(a)));
    let missing = len.saturating_sub(sizes.iter().sum());
    for &part in by_remainder.iter().cycle().take(missing) {
        sizes[part] += 1;
    }
    sizes
}

fn none_empty(parts: Vec<Vec<usize>>, len: usize) -> Result<Vec<Vec<usize>>, DataError> {
    match parts.iter().position(Vec::is_empty) {
        None => Ok(parts),
        Some(part) => {
            Err(DataError::Empty { what: format!("part {part} of a split of {len} samples") })
        }
    }
}

#[cfg(test)]
mod table_tests;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn assert_partition(parts: &[Vec<usize>], len: usize) {
        let mut all: Vec<usize> = parts.concat();
        all.sort();
        assert_eq!(all, (0..len).collect::<Vec<_>>(), "disjoint and complete");
        assert!(parts.iter().all(|part| part.is_sorted()));
    }

    #[test]
    fn fixed_takes_samples_in_order() {
        let parts = fixed(6, &[1, 3, 2]).unwrap();
        assert_eq!(parts, [vec![0], vec![1, 2, 3], vec![4, 5]]);
        assert_eq!(
            fixed(6, &[1, 3]).unwrap_err().to_string(),
            "counts of a split: expected a sum of 6, the number of samples, found [1, 3]"
        );
        assert!(fixed(6, &[usize::MAX, 7]).is_err());
        assert!(fixed(6, &[6, 0]).is_err());
    }

    #[test]
    fn random_depends_on_the_seed_alone() {
        let parts = random(1000, &[0.8, 0.1, 0.1], 1).unwrap();
        assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [800, 100, 100]);
        assert_eq!(parts, random(1000, &[0.8, 0.1, 0.1], 1).unwrap());
        assert_ne!(parts, random(1000, &[0.8, 0.1, 0.1], 2).unwrap());
        // A split does not follow the order of the data.
        let early = parts[1].iter().filter(|&&index| index < 500).count();
        assert!((30..=70).contains(&early), "{early} of 100 from the first half");
    }

    #[test]
    fn bad_fractions_are_refused() {
        for bad in [&[0.5, 0.4][..], &[1.5, -0.5], &[f64::NAN, 1.0], &[], &[1.0, 0.0]] {
            let message = random(100, bad, 0).unwrap_err().to_string();
            assert!(message.contains("positive numbers that add up to 1"), "{message}");
            assert!(stratified(&[0; 100], bad, 0).is_err());
        }
        assert_eq!(
            random(3, &[0.9, 0.1], 0).unwrap_err().to_string(),
            "part 1 of a split of 3 samples: no samples"
        );
        assert!(random(0, &[0.5, 0.5], 0).is_err());
    }

    #[test]
    fn stratified_keeps_rare_classes_in_proportion() {
        // 100 classes of 4 samples: a tenth of each is less than one sample, a tenth of all is 40.
        let labels: Vec<i32> = (0..400).map(|i| i % 100).collect();
        let parts = stratified(&labels, &[0.9, 0.1], 5).unwrap();
        assert_partition(&parts, 400);
        assert_eq!(parts[1].len(), 40);
        assert_ne!(parts, stratified(&labels, &[0.9, 0.1], 6).unwrap());
    }

    proptest! {
        #[test]
        fn random_is_a_partition(len in 10usize..500, seed: u64, first in 0.2f64..0.8) {
            let parts = random(len, &[first, 1.0 - first], seed).unwrap();
            assert_partition(&parts, len);
            prop_assert!((parts[0].len() as f64 - first * len as f64).abs() < 1.0);
        }

        #[test]
        fn stratified_is_a_fair_partition(
            labels in prop::collection::vec(0i32..5, 20..300),
            seed: u64,
            first in 0.2f64..0.8,
        ) {
            let parts = stratified(&labels, &[first, 1.0 - first], seed).unwrap();
            assert_partition(&parts, labels.len());
            prop_assert!((parts[0].len() as f64 - first * labels.len() as f64).abs() < 1.0 + 1e-9);
            for class in 0..5 {
                let share = |part: &[usize]| part.iter().filter(|&&i| labels[i] == class).count() as f64;
                let all = labels.iter().filter(|&&label| label == class).count() as f64;
                prop_assert!((share(&parts[0]) - first * all).abs() < 2.0);
            }
        }
    }
}
