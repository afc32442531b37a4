//! Looking at data before a network does: what each column holds, and what is probably wrong.
//!
//! | place | what it says |
//! |---|---|
//! | [`describe`] | counts, missing values, range and quantiles or most frequent values of each column |
//! | [`check`] | findings: constant or id-like columns, duplicates, imbalance, values out of range, labels that look wrong, leaks |

mod check;
mod labels;
mod stats;

use crate::Table;

pub use check::{Finding, FindingKind, check};
pub use stats::{Content, Lengths, Quantiles, Stats, describe};

/// Rows of a table under a name: `train`, `test`.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The name, for messages.
    pub name: &'a str,
    /// The table.
    pub table: &'a Table,
    /// Which of its rows.
    pub rows: &'a [usize],
}
