//! The types of elements.

use nerve_cpu::memory::Plain;
use std::fmt;

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    /// 32-bit float: parameters, activations, gradients.
    F32,
    /// 64-bit float: gradient checks, and where it is asked for.
    F64,
    /// 32-bit signed integer: labels and indices.
    I32,
    /// 64-bit signed integer: indices and shapes in files from elsewhere.
    I64,
    /// 8-bit unsigned integer: images as they are stored.
    U8,
    /// 8-bit signed integer: quantized weights.
    I8,
    /// Truth values: the result of comparisons. One byte each, 0 or 1.
    Bool,
}

impl DType {
    /// Size of one element in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            DType::F32 | DType::I32 => 4,
            DType::F64 | DType::I64 => 8,
            DType::U8 | DType::I8 | DType::Bool => 1,
        }
    }

    /// Whether gradients can flow through values of this type.
    pub const fn is_float(self) -> bool {
        matches!(self, DType::F32 | DType::F64)
    }

    /// Whether values are whole numbers. Truth values are not.
    pub const fn is_integer(self) -> bool {
        matches!(self, DType::I32 | DType::I64 | DType::U8 | DType::I8)
    }

    /// Whether arithmetic on it happens in a wider type: what leaves its range wraps around when
    /// it is stored, so a result has to pass through memory before it is used.
    pub(crate) const fn is_narrow(self) -> bool {
        matches!(self, DType::U8 | DType::I8)
    }

    /// The name used in messages, files and recipes: `f32`, `i32`, …
    pub const fn name(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::F64 => "f64",
            DType::I32 => "i32",
            DType::I64 => "i64",
            DType::U8 => "u8",
            DType::I8 => "i8",
            DType::Bool => "bool",
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Rust types whose values a tensor can hold.
pub trait Element: Copy + Default + PartialEq + fmt::Debug + Send + Sync + 'static {
    /// The corresponding dtype.
    const DTYPE: DType;
    /// How it lies in memory.
    type Stored: Plain + Default;
    /// To the form in memory.
    fn store(self) -> Self::Stored;
    /// From the form in memory.
    fn load(stored: Self::Stored) -> Self;
}

macro_rules! element {
    ($($t:ty => $d:ident),*) => {$(
        impl Element for $t {
            const DTYPE: DType = DType::$d;
            type Stored = $t;
            fn store(self) -> $t { self }
            fn load(stored: $t) -> $t { stored }
        }
    )*};
}
element!(f32 => F32, f64 => F64, i32 => I32, i64 => I64, u8 => U8, i8 => I8);

impl Element for bool {
    const DTYPE: DType = DType::Bool;
    type Stored = u8;
    fn store(self) -> u8 {
        self.into()
    }
    fn load(stored: u8) -> bool {
        stored != 0
    }
}
