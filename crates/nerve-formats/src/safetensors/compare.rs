//! What a file holds, compared with what a model needs.

use std::collections::HashSet;
use std::fmt;

use super::{Dtype, SafeTensors};
use crate::error::escape;

/// One difference between the tensors that are expected and those of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mismatch {
    /// The file lacks it.
    Missing {
        /// The tensor's name.
        name: String,
        /// The shape it should have.
        shape: Vec<usize>,
        /// The type it should have.
        dtype: Dtype,
    },
    /// The file has it, and it is not expected.
    Extra {
        /// The tensor's name.
        name: String,
        /// The shape it has.
        shape: Vec<usize>,
        /// The type it has.
        dtype: Dtype,
    },
    /// Both have it, with different shapes.
    Shape {
        /// The tensor's name.
        name: String,
        /// The shape it should have.
        expected: Vec<usize>,
        /// The shape it has.
        found: Vec<usize>,
    },
    /// Both have it, with different types.
    Dtype {
        /// The tensor's name.
        name: String,
        /// The type it should have.
        expected: Dtype,
        /// The type it has.
        found: Dtype,
    },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mismatch::Missing { name, shape, dtype } => {
                write!(f, "{} is missing ({dtype} {shape:?})", escape(name, 80))
            }
            Mismatch::Extra { name, shape, dtype } => {
                write!(f, "{} is not expected ({dtype} {shape:?})", escape(name, 80))
            }
            Mismatch::Shape { name, expected, found } => {
                let name = escape(name, 80);
                write!(f, "{name} has shape {found:?}, expected {expected:?}")
            }
            Mismatch::Dtype { name, expected, found } => {
                write!(f, "{} has dtype {found}, expected {expected}", escape(name, 80))
            }
        }
    }
}

/// Every difference between the expected tensors (name, shape, type) and those of a file: first what
/// is missing or different, in the order expected, then what is extra, in the order of the file.
///
/// ```
/// use nerve_formats::safetensors::{Dtype, SafeTensors, compare, to_bytes};
/// let empty = SafeTensors::from_bytes("model", &to_bytes(&[], &[]).unwrap()).unwrap();
/// let differences = compare(&[("fc.bias".into(), vec![10], Dtype::F32)], &empty);
/// assert_eq!(differences[0].to_string(), "fc.bias is missing (F32 [10])");
/// ```
pub fn compare(expected: &[(String, Vec<usize>, Dtype)], file: &SafeTensors) -> Vec<Mismatch> {
    let mut mismatches = Vec::new();
    let mut known = HashSet::with_capacity(expected.len());
    for (name, shape, dtype) in expected {
        known.insert(name.as_str());
        let Some(found) = file.get(name) else {
            let (name, shape, dtype) = (name.clone(), shape.clone(), *dtype);
            mismatches.push(Mismatch::Missing { name, shape, dtype });
            continue;
        };
        if found.shape != shape {
            let (name, expected) = (name.clone(), shape.clone());
            mismatches.push(Mismatch::Shape { name, expected, found: found.shape.to_vec() });
        }
        if found.dtype != *dtype {
            let (name, expected) = (name.clone(), *dtype);
            mismatches.push(Mismatch::Dtype { name, expected, found: found.dtype });
        }
    }
    for tensor in file.iter().filter(|t| !known.contains(t.name)) {
        let (name, shape) = (tensor.name.to_owned(), tensor.shape.to_vec());
        mismatches.push(Mismatch::Extra { name, shape, dtype: tensor.dtype });
    }
    mismatches
}
