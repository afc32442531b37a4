//! Two networks on the same rows: how far their scores differ, and how far chance could move that.

use super::family::{Better, Family, Named};
use super::verdict::{all_families, group_of, values};
use super::{Judgeable, Judged, Options};
use nerve_data::DataError;

/// How the scores of an output differ.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputDifference {
    /// The name of its column.
    pub name: String,
    /// Every score that suits.
    pub scores: Vec<Difference>,
}

/// How a score differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Its name.
    pub name: String,
    /// What is better.
    pub better: Better,
    /// That of the first network, with its interval.
    pub first: (f64, Option<(f64, f64)>),
    /// That of the second.
    pub second: (f64, Option<(f64, f64)>),
    /// The second minus the first.
    pub value: f64,
    /// Where that lies with the chosen probability when rows are drawn anew, the same for both.
    pub interval: Option<(f64, f64)>,
}

impl Difference {
    /// Which network is better where the interval leaves no doubt: `Some(true)` for the second.
    pub fn second_is_better(&self) -> Option<bool> {
        let (low, high) = self.interval?;
        let higher = if low > 0.0 {
            true
        } else if high < 0.0 {
            false
        } else {
            return None;
        };
        Some(higher == (self.better == Better::Higher))
    }
}

/// Compares two networks on the same rows. Each resample draws rows for both at once, so that what is hard for
/// both does not count as chance: the paired bootstrap, Efron and Tibshirani, "An Introduction to the
/// Bootstrap", 1993, chapter 16. Outputs that only one of them has are left out.
///
/// # Errors
/// [`DataError::CountMismatch`] where there are not as many rows, [`DataError::Column`] where they do not say
/// the same about what is true, [`DataError::UnknownColumn`] for a group.
pub fn compare(
    first: &Judged,
    second: &Judged,
    options: &Options,
) -> Result<Vec<OutputDifference>, DataError> {
    if first.rows.len() != second.rows.len() {
        return Err(DataError::CountMismatch {
            first: "rows of the first network".into(),
            first_count: first.rows.len(),
            second: "rows of the second".into(),
            second_count: second.rows.len(),
        });
    }
    let mut outputs = Vec::new();
    for one in &first.outputs {
        let Some(other) = second.outputs.iter().find(|other| other.name == one.name) else {
            continue;
        };
        let refuse = |message: &str| DataError::Column {
            column: one.name.clone(),
            message: message.to_string(),
        };
        if !one.answers.same_truth(&other.answers) {
            return Err(refuse("the two networks do not have the same truths or classes"));
        }
        let both = Both::new(one, other).ok_or_else(|| refuse("the two have other scores"))?;
        let group = group_of(first, one.lists.as_ref(), options)?;
        let rows = first.rows.len();
        let families: Vec<Box<dyn Family>> = vec![Box::new(both)];
        let intervals = options.bootstrap.intervals(&families, rows, group.as_deref());
        let found: Vec<f64> = values(&families, rows);
        let names = families[0].scores();
        let scores = names.chunks_exact(3).enumerate().map(|(i, names)| Difference {
            name: names[0].0.clone(),
            better: names[0].1,
            first: (found[3 * i], intervals[3 * i]),
            second: (found[3 * i + 1], intervals[3 * i + 1]),
            value: found[3 * i + 2],
            interval: intervals[3 * i + 2],
        });
        outputs.push(OutputDifference { name: one.name.clone(), scores: scores.collect() });
    }
    Ok(outputs)
}

/// The scores of two networks over the same weights: of each that of the first, that of the second, and
/// their difference.
struct Both {
    names: Vec<Named>,
    first: Vec<Box<dyn Family>>,
    second: Vec<Box<dyn Family>>,
}

impl Both {
    fn new(first: &Judgeable, second: &Judgeable) -> Option<Both> {
        let families = |output: &Judgeable| {
            all_families(&output.answers, &output.threshold, output.lists.as_ref())
        };
        let (first, second) = (families(first), families(second));
        let names = |all: &[Box<dyn Family>]| -> Vec<Named> {
            all.iter().flat_map(|family| family.scores()).collect()
        };
        let (names, others) = (names(&first), names(&second));
        (names == others).then_some(Both { names, first, second })
    }
}

impl Family for Both {
    fn scores(&self) -> Vec<Named> {
        self.names.iter().flat_map(|named| [named.clone(), named.clone(), named.clone()]).collect()
    }

    fn values(&self, weights: &[f64], out: &mut Vec<f64>) {
        let of = |families: &[Box<dyn Family>]| {
            let mut values = Vec::with_capacity(self.names.len());
            families.iter().for_each(|family| family.values(weights, &mut values));
            values
        };
        for (first, second) in of(&self.first).into_iter().zip(of(&self.second)) {
            out.extend([first, second, second - first]);
        }
    }
}
