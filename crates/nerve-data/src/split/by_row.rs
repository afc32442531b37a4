//! The ways to split in which a row finds its part by itself: what streams and tables share.

use super::SPLIT;
use crate::features::{Refusal, name_of};
use crate::random::{key, mix};
use crate::{Cell, DataError, Table};

/// A way to split in which a row finds its part without the others.
#[derive(Clone, Debug)]
pub struct ByRow {
    column: String,
    rule: Rule,
}

#[derive(Clone, Debug)]
enum Rule {
    /// By the hash of an id: the parts that have a share, and the shares.
    Hash { parts: Vec<usize>, shares: Vec<f64>, seed: u64 },
    /// By the name of the part.
    Named,
}

impl ByRow {
    /// By the hash of the id in a column, in these shares, of which some may be 0.
    pub(super) fn hash(column: &str, fractions: &[f64], seed: u64) -> ByRow {
        let parts: Vec<usize> = (0..fractions.len()).filter(|&i| fractions[i] > 0.0).collect();
        let shares = parts.iter().map(|&part| fractions[part]).collect();
        ByRow { column: column.into(), rule: Rule::Hash { parts, shares, seed } }
    }

    /// By the name of the part in a column.
    pub(super) fn named(column: &str) -> ByRow {
        ByRow { column: column.into(), rule: Rule::Named }
    }

    /// The part of a row: 0 for training, 1 for validation, 2 for the test.
    ///
    /// # Errors
    /// [`DataError::UnknownColumn`]; [`DataError::Cell`] for a cell that does not say.
    pub fn part(&self, table: &Table, row: usize) -> Result<usize, DataError> {
        let cell = table.column(&self.column)?.cells.get(row);
        let part = match &self.rule {
            Rule::Hash { parts, shares, seed } => {
                hash_part(cell, shares, *seed).map(|part| parts[part])
            }
            Rule::Named => fixed_part(cell),
        };
        part.map_err(|no| table.refuse(row, &self.column, no))
    }
}

/// The part of the row with this id.
pub(super) fn hash_part(cell: Cell<'_>, shares: &[f64], seed: u64) -> Result<usize, Refusal> {
    let name = name_of(cell)?.ok_or_else(|| Refusal::new("an id to split by", cell))?;
    // The upper 53 bits as a number from 0 to 1.
    let place = (key(&[SPLIT, seed, hash(name.as_bytes())]) >> 11) as f64 / (1u64 << 53) as f64;
    let mut end = 0.0;
    let part = shares.iter().position(|share| {
        end += share;
        place < end
    });
    Ok(part.unwrap_or(shares.len() - 1))
}

/// The part that a cell names: 0 for training, 1 for validation, 2 for the test.
pub(super) fn fixed_part(cell: Cell<'_>) -> Result<usize, Refusal> {
    match &name_of(cell)?.unwrap_or_default().to_lowercase()[..] {
        "train" | "training" => Ok(0),
        "val" | "valid" | "validation" | "dev" => Ok(1),
        "test" | "testing" => Ok(2),
        _ => Err(Refusal::new("train, val or test", cell)),
    }
}

/// A hash of bytes that does not change between versions: FNV-1a, finished by the mixer of SplitMix64.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let fnv = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
    mix(bytes.iter().fold(0xCBF2_9CE4_8422_2325, fnv))
}
