//! Arrays in ONNX files.

use super::external;
use crate::{ErrorKind, FormatError};

/// The type of the elements, with its number in the format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)] // The names say it.
pub enum DataType {
    #[default]
    Undefined = 0,
    Float = 1,
    Uint8 = 2,
    Int8 = 3,
    Uint16 = 4,
    Int16 = 5,
    Int32 = 6,
    Int64 = 7,
    String = 8,
    Bool = 9,
    Float16 = 10,
    Double = 11,
    Uint32 = 12,
    Uint64 = 13,
    Complex64 = 14,
    Complex128 = 15,
    Bfloat16 = 16,
    Float8E4M3Fn = 17,
    Float8E4M3Fnuz = 18,
    Float8E5M2 = 19,
    Float8E5M2Fnuz = 20,
    Uint4 = 21,
    Int4 = 22,
    Float4E2M1 = 23,
    Float8E8M0 = 24,
    Uint2 = 25,
    Int2 = 26,
}

use DataType::*;

/// All types in the order of their numbers.
const TYPES: [(DataType, &str, u32); 27] = [
    (Undefined, "undefined", 0),
    (Float, "float", 32),
    (Uint8, "uint8", 8),
    (Int8, "int8", 8),
    (Uint16, "uint16", 16),
    (Int16, "int16", 16),
    (Int32, "int32", 32),
    (Int64, "int64", 64),
    (String, "string", 0),
    (Bool, "bool", 8),
    (Float16, "float16", 16),
    (Double, "double", 64),
    (Uint32, "uint32", 32),
    (Uint64, "uint64", 64),
    (Complex64, "complex64", 64),
    (Complex128, "complex128", 128),
    (Bfloat16, "bfloat16", 16),
    (Float8E4M3Fn, "float8e4m3fn", 8),
    (Float8E4M3Fnuz, "float8e4m3fnuz", 8),
    (Float8E5M2, "float8e5m2", 8),
    (Float8E5M2Fnuz, "float8e5m2fnuz", 8),
    (Uint4, "uint4", 4),
    (Int4, "int4", 4),
    (Float4E2M1, "float4e2m1", 4),
    (Float8E8M0, "float8e8m0", 8),
    (Uint2, "uint2", 2),
    (Int2, "int2", 2),
];

impl DataType {
    /// The type of that number, if there is one.
    pub fn from_number(number: i64) -> Option<DataType> {
        usize::try_from(number).ok().and_then(|at| TYPES.get(at)).map(|entry| entry.0)
    }

    /// The name that ONNX prints.
    pub fn name(self) -> &'static str {
        TYPES[self as usize].1
    }

    /// Bits of an element; 0 for texts and what is undefined.
    pub fn bits(self) -> u32 {
        TYPES[self as usize].2
    }
}

/// An array with a name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tensor {
    /// Its name; empty in attributes.
    pub name: std::string::String,
    /// Its shape.
    pub dims: Vec<usize>,
    /// The type of its elements.
    pub data_type: DataType,
    /// Its elements.
    pub data: TensorData,
}

/// The elements of an array.
#[derive(Clone, Debug, PartialEq)]
pub enum TensorData {
    /// Row-major, each with its least significant byte first; types of fewer than eight bits lie
    /// packed, the first in the low bits.
    Bytes(Vec<u8>),
    /// Texts, usually UTF-8.
    Strings(Vec<Vec<u8>>),
    /// In a file beside the model: not read yet.
    External(External),
}

impl Default for TensorData {
    fn default() -> Self {
        TensorData::Bytes(Vec::new())
    }
}

/// Where elements lie that are not in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct External {
    /// The file, beside the model.
    pub location: std::string::String,
    /// First byte.
    pub offset: u64,
    /// Number of bytes; to the end of the file if it was not said.
    pub length: Option<u64>,
}

impl Tensor {
    /// An array of numbers; `bytes` as [`TensorData::Bytes`].
    pub fn new(name: &str, data_type: DataType, dims: &[usize], bytes: Vec<u8>) -> Tensor {
        let data = TensorData::Bytes(bytes);
        Tensor { name: name.to_string(), dims: dims.to_vec(), data_type, data }
    }

    /// Floats.
    pub fn floats(name: &str, dims: &[usize], values: &[f32]) -> Tensor {
        Tensor::new(name, Float, dims, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    /// 64-bit whole numbers, as shapes and indices are given.
    pub fn ints(name: &str, dims: &[usize], values: &[i64]) -> Tensor {
        Tensor::new(name, Int64, dims, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    /// Number of elements.
    pub fn numel(&self) -> usize {
        self.dims.iter().product()
    }

    /// The elements' bytes; none for texts and what lies elsewhere.
    pub fn bytes(&self) -> &[u8] {
        match &self.data {
            TensorData::Bytes(bytes) => bytes,
            _ => &[],
        }
    }

    /// Checks that there are as many elements as the shape says.
    pub(super) fn check(
        &self,
        file: &str,
        folder: Option<&external::Folder>,
    ) -> Result<(), FormatError> {
        let field = format!("tensor {:?}", self.name);
        let wrong = |expected: std::string::String, found: std::string::String| {
            FormatError::new(ErrorKind::Malformed, file, &field, expected, found)
        };
        let numel = self.dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        let numel = numel.filter(|&n| n as u64 <= u64::MAX >> 8);
        let numel = numel.ok_or_else(|| {
            wrong("a shape of less than 2^56 elements".into(), format!("{:?}", self.dims))
        })?;
        let bytes = (numel as u128 * u128::from(self.data_type.bits())).div_ceil(8);
        match &self.data {
            TensorData::Strings(texts) if texts.len() == numel => Ok(()),
            TensorData::Strings(texts) => Err(wrong(
                format!("{numel} texts for shape {:?}", self.dims),
                format!("{}", texts.len()),
            )),
            TensorData::Bytes(_) if self.data_type == Undefined && numel > 0 => {
                Err(wrong("a data type".into(), "0, which is undefined".into()))
            }
            TensorData::Bytes(data) if data.len() as u128 == bytes => Ok(()),
            TensorData::Bytes(data) => Err(wrong(
                format!("{bytes} bytes for {} {:?}", self.data_type.name(), self.dims),
                format!("{}", data.len()),
            )),
            TensorData::External(_) if folder.is_some() => Ok(()),
            TensorData::External(external) => Err(FormatError::new(
                ErrorKind::Unsupported,
                file,
                &field,
                "a model in one file",
                format!(
                    "data in {:?} beside it, which is read only on request (--external-data)",
                    external.location
                ),
            )),
        }
    }
}
