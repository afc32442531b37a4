//! The element types of the format.

use std::fmt;

/// The element types that nerve reads and writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dtype {
    /// A byte that is 0 or 1.
    Bool,
    /// Unsigned, 8 bits.
    U8,
    /// Signed, 8 bits.
    I8,
    /// Unsigned, 16 bits.
    U16,
    /// Signed, 16 bits.
    I16,
    /// IEEE 754 half precision.
    F16,
    /// The upper half of an IEEE 754 single.
    BF16,
    /// Unsigned, 32 bits.
    U32,
    /// Signed, 32 bits.
    I32,
    /// IEEE 754 single precision.
    F32,
    /// Unsigned, 64 bits.
    U64,
    /// Signed, 64 bits.
    I64,
    /// IEEE 754 double precision.
    F64,
}

const ALL: [(Dtype, &str, usize); 13] = [
    (Dtype::Bool, "BOOL", 1),
    (Dtype::U8, "U8", 1),
    (Dtype::I8, "I8", 1),
    (Dtype::U16, "U16", 2),
    (Dtype::I16, "I16", 2),
    (Dtype::F16, "F16", 2),
    (Dtype::BF16, "BF16", 2),
    (Dtype::U32, "U32", 4),
    (Dtype::I32, "I32", 4),
    (Dtype::F32, "F32", 4),
    (Dtype::U64, "U64", 8),
    (Dtype::I64, "I64", 8),
    (Dtype::F64, "F64", 8),
];

impl Dtype {
    /// Every type, the smallest first.
    pub fn all() -> impl Iterator<Item = Dtype> {
        ALL.iter().map(|&(dtype, ..)| dtype)
    }

    /// The name in the file: `F32`, `BF16`, `BOOL`.
    pub fn name(self) -> &'static str {
        ALL[self as usize].1
    }

    /// Bytes an element.
    pub fn size(self) -> usize {
        ALL[self as usize].2
    }

    /// Whether the elements are floating-point numbers.
    pub fn is_float(self) -> bool {
        matches!(self, Dtype::F16 | Dtype::BF16 | Dtype::F32 | Dtype::F64)
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a type name in a file turns out to be.
pub(super) enum Named {
    /// One that nerve reads.
    Known(Dtype),
    /// One that the format defines and nerve does not read, with its bits an element.
    Unsupported { bits: u64 },
    /// None at all.
    Unknown,
}

/// Looks a type name of a file up.
pub(super) fn named(name: &str) -> Named {
    if let Some(&(dtype, ..)) = ALL.iter().find(|(_, n, _)| *n == name) {
        return Named::Known(dtype);
    }
    match name {
        "F4" => Named::Unsupported { bits: 4 },
        "F6_E2M3" | "F6_E3M2" => Named::Unsupported { bits: 6 },
        "F8_E4M3" | "F8_E5M2" | "F8_E8M0" | "F8_E4M3FNUZ" | "F8_E5M2FNUZ" => {
            Named::Unsupported { bits: 8 }
        }
        "C64" => Named::Unsupported { bits: 64 },
        _ => Named::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (i, (dtype, name, size)) in ALL.into_iter().enumerate() {
            assert_eq!(dtype as usize, i);
            assert_eq!((dtype.name(), dtype.size()), (name, size));
            assert!(matches!(named(name), Named::Known(d) if d == dtype));
        }
    }
}
