//! The operators by family.
//!
//! An operator is a function from operands to results; how it differs between versions of ONNX stands in
//! it. Each file names what it has in its `OPERATORS`.

mod attention;
mod boxes;
mod cell;
mod constant;
mod control;
mod conv;
mod elementwise;
mod image;
mod index;
mod integer;
mod linear;
mod loss;
mod microsoft;
mod ml;
mod norm;
mod patches;
mod pool;
mod random;
mod recurrent;
mod reduce;
mod regex;
mod scores;
mod sequence;
mod shape;
mod signal;
mod strings;
mod svm;
mod training;
mod trees;

pub(super) use elementwise::{cast, fits};

use super::call::{Call, Results};
use super::scope::normal;
use std::collections::HashMap;
use std::sync::LazyLock;

/// What applies an operator to the operands of a node.
pub(crate) type Operator = fn(&Call<'_>) -> Results;

/// Operators with their names; those that are not ONNX's own have their domain before, and a dot.
type Family = &'static [(&'static str, Operator)];

const FAMILIES: &[Family] = &[
    attention::OPERATORS,
    boxes::OPERATORS,
    constant::OPERATORS,
    control::OPERATORS,
    conv::OPERATORS,
    elementwise::FUNCTIONS,
    elementwise::OPERATORS,
    image::OPERATORS,
    index::OPERATORS,
    integer::OPERATORS,
    linear::OPERATORS,
    loss::OPERATORS,
    microsoft::OPERATORS,
    ml::OPERATORS,
    norm::OPERATORS,
    patches::OPERATORS,
    pool::OPERATORS,
    random::OPERATORS,
    recurrent::OPERATORS,
    reduce::OPERATORS,
    regex::OPERATORS,
    scores::OPERATORS,
    sequence::OPERATORS,
    shape::OPERATORS,
    signal::OPERATORS,
    strings::OPERATORS,
    svm::OPERATORS,
    training::OPERATORS,
    trees::OPERATORS,
];

static BY_NAME: LazyLock<HashMap<&str, Operator>> =
    LazyLock::new(|| FAMILIES.iter().copied().flatten().copied().collect());

/// The operator of that name.
pub(crate) fn find(domain: &str, name: &str) -> Option<Operator> {
    match domain {
        "" => BY_NAME.get(name).copied(),
        other => BY_NAME.get(format!("{other}.{name}").as_str()).copied(),
    }
}

/// Whether there is an operator of that name; the domain of ONNX's own is empty.
pub fn supports(domain: &str, name: &str) -> bool {
    find(normal(domain), name).is_some()
}

/// The names of all operators, sorted; those that are not ONNX's own have their domain before.
pub fn operators() -> Vec<&'static str> {
    let mut names: Vec<&str> = BY_NAME.keys().copied().collect();
    names.sort_unstable();
    names
}
