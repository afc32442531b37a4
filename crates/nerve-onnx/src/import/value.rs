//! What flows between nodes.

use super::error::Stop;
use super::narrow;
use nerve_core::{DType, Tensor};
use nerve_formats::onnx::{self, DataType, TensorData};
use nerve_formats::{Npy, NpyData};
use std::sync::Arc;

/// What flows between nodes.
#[derive(Clone, Debug)]
pub enum Value {
    /// Numbers. Half-precision ones of the file are single precision here.
    Tensor(Tensor),
    /// Numbers of a type that nerve does not compute in, held in a wider one of the same values. What goes into a network may be
    /// one or a plain array of the wider type; what comes out is always the latter.
    Narrow(DataType, Tensor),
    /// Texts.
    Strings(Strings),
    /// Texts whose places in a list are computed: they are looked up when the numbers are there. What comes out of
    /// [`Network::run`](super::Network::run) are the texts.
    Picked(Picked),
    /// A list.
    Sequence(Vec<Value>),
    /// A value that may be missing.
    Optional(Option<Box<Value>>),
}

/// An array of texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strings {
    /// Its shape.
    pub dims: Vec<usize>,
    /// The texts in row-major order.
    pub texts: Arc<[String]>,
}

/// Texts of a list, by their places in it.
#[derive(Clone, Debug)]
pub struct Picked {
    /// The list.
    pub list: Arc<[String]>,
    /// Which of them: whole numbers from 0.
    pub places: Tensor,
}

impl Picked {
    /// The texts at these places, which are the values of [`places`](Picked::places).
    ///
    /// # Errors
    /// The place that there is none at.
    pub fn texts(&self, places: &Tensor) -> Result<Strings, i64> {
        let numbers: Vec<i64> = places.to_dtype(DType::I64).to_vec();
        let text = |at: i64| usize::try_from(at).ok().and_then(|i| self.list.get(i)).ok_or(at);
        let texts: Result<Vec<String>, i64> =
            numbers.into_iter().map(|at| text(at).cloned()).collect();
        Ok(Strings { dims: places.shape().to_vec(), texts: texts?.into() })
    }
}

impl From<&Tensor> for Value {
    fn from(tensor: &Tensor) -> Value {
        Value::Tensor(tensor.clone())
    }
}

impl From<Tensor> for Value {
    fn from(tensor: Tensor) -> Value {
        Value::Tensor(tensor)
    }
}

impl Value {
    /// The numbers, if it is an array of such.
    pub fn tensor(&self) -> Option<&Tensor> {
        match self {
            Value::Tensor(tensor) | Value::Narrow(_, tensor) => Some(tensor),
            _ => None,
        }
    }

    /// Whether there is anything: an optional value may be empty.
    pub fn is_present(&self) -> bool {
        !matches!(self, Value::Optional(None))
    }

    /// Of an array in a file.
    ///
    /// # Errors
    /// Its type has no counterpart here.
    pub fn from_onnx(tensor: &onnx::Tensor) -> Result<Value, String> {
        if let TensorData::Strings(texts) = &tensor.data {
            let texts = texts.iter().map(|t| String::from_utf8_lossy(t).into_owned()).collect();
            return Ok(Value::Strings(Strings { dims: tensor.dims.clone(), texts }));
        }
        match narrow::held_in(tensor.data_type) {
            Some(_) => Ok(Value::Narrow(tensor.data_type, narrow::widened(tensor)?)),
            None => array(tensor).map(Value::Tensor),
        }
    }

    /// Of an array of NumPy.
    pub fn from_npy(npy: &Npy) -> Value {
        let shape = npy.shape.as_slice();
        Value::Tensor(match &npy.data {
            NpyData::U8(values) => Tensor::from_slice(values, shape),
            NpyData::I32(values) => Tensor::from_slice(values, shape),
            NpyData::I64(values) => Tensor::from_slice(values, shape),
            NpyData::F32(values) => Tensor::from_slice(values, shape),
            NpyData::F64(values) => Tensor::from_slice(values, shape),
        })
    }

    /// As an array of NumPy; none if it is no array of numbers. Truth values become bytes, and bytes
    /// with a sign 32-bit integers.
    pub fn to_npy(&self) -> Option<Npy> {
        let tensor = self.tensor()?;
        let data = match tensor.dtype() {
            DType::F32 => NpyData::F32(tensor.to_vec()),
            DType::F64 => NpyData::F64(tensor.to_vec()),
            DType::I64 => NpyData::I64(tensor.to_vec()),
            DType::I32 => NpyData::I32(tensor.to_vec()),
            DType::I8 => NpyData::I32(tensor.to_dtype(DType::I32).to_vec()),
            DType::U8 => NpyData::U8(tensor.to_vec()),
            DType::Bool => NpyData::U8(tensor.to_dtype(DType::U8).to_vec()),
        };
        Some(Npy { shape: tensor.shape().to_vec(), data })
    }

    /// As a value in a file, as the test cases of ONNX have them.
    ///
    /// # Errors
    /// As [`Value::from_onnx`].
    pub fn from_file(value: &onnx::Value) -> Result<Value, String> {
        Ok(match value {
            onnx::Value::Tensor(tensor) => Value::from_onnx(tensor)?,
            onnx::Value::Sequence(values) => {
                Value::Sequence(values.iter().map(Value::from_file).collect::<Result<_, _>>()?)
            }
            onnx::Value::Optional(inner) => {
                let inner = inner.as_ref().map(|inner| Value::from_file(inner)).transpose()?;
                Value::Optional(inner.map(Box::new))
            }
        })
    }
}

/// The type here of elements of that type there: half precision is computed in single, and what else nerve does not compute in
/// is held in a wider type.
pub fn dtype(data_type: DataType) -> Option<DType> {
    ordinary(data_type).or_else(|| narrow::held_in(data_type))
}

/// The same for types that nerve computes in.
pub(crate) fn ordinary(data_type: DataType) -> Option<DType> {
    Some(match data_type {
        DataType::Float | DataType::Float16 | DataType::Bfloat16 => DType::F32,
        DataType::Double => DType::F64,
        DataType::Int64 => DType::I64,
        DataType::Int32 => DType::I32,
        DataType::Int8 => DType::I8,
        DataType::Uint8 => DType::U8,
        DataType::Bool => DType::Bool,
        _ => return None,
    })
}

/// The type of that number.
pub(crate) fn type_of(data_type: i64) -> Result<DataType, Stop> {
    DataType::from_number(data_type)
        .ok_or_else(|| format!("expected a type from 0 to 26, found {data_type}").into())
}

/// As [`dtype`], of types that are computed in, with what is wrong.
pub(crate) fn dtype_of(data_type: i64) -> Result<DType, Stop> {
    let known = type_of(data_type)?;
    ordinary(known).ok_or_else(|| Stop::Unsupported(unsupported(known)))
}

fn unsupported(data_type: DataType) -> String {
    format!(
        "elements of type {}; nerve has float, double, int64, int32, int8, uint8 and bool, and takes \
         float16 and bfloat16 as float",
        data_type.name()
    )
}

/// Numbers from a file, as a constant.
fn array(tensor: &onnx::Tensor) -> Result<Tensor, String> {
    let (dims, bytes) = (tensor.dims.as_slice(), tensor.bytes());
    macro_rules! numbers {
        ($t:ty) => {{
            let size = size_of::<$t>();
            let each = |b: &[u8]| <$t>::from_le_bytes(b.try_into().expect("as many bytes"));
            Tensor::from_slice(&bytes.chunks_exact(size).map(each).collect::<Vec<_>>(), dims)
        }};
    }
    let halves = |wide: fn(u16) -> f32| {
        let pairs = bytes.as_chunks::<2>().0;
        let values: Vec<f32> = pairs.iter().map(|&b| wide(u16::from_le_bytes(b))).collect();
        Tensor::from_slice(&values, dims)
    };
    Ok(match tensor.data_type {
        DataType::Float => numbers!(f32),
        DataType::Double => numbers!(f64),
        DataType::Int64 => numbers!(i64),
        DataType::Int32 => numbers!(i32),
        DataType::Int8 => numbers!(i8),
        DataType::Uint8 => Tensor::from_slice(bytes, dims),
        DataType::Bool => {
            Tensor::from_slice(&bytes.iter().map(|&b| b != 0).collect::<Vec<_>>(), dims)
        }
        DataType::Float16 => halves(half),
        DataType::Bfloat16 => halves(|bits| f32::from_bits(u32::from(bits) << 16)),
        other => return Err(unsupported(other)),
    })
}

/// An IEEE 754 half-precision number: 1 bit sign, 5 exponent, 10 fraction.
fn half(bits: u16) -> f32 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f32::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f32.powi(exponent - 15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_widen() {
        for (bits, value) in [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x0001, 5.960_464_5e-8),
            (0x7bff, 65504.0),
            (0x7c00, f32::INFINITY),
            (0x8000, -0.0),
        ] {
            assert_eq!(half(bits), value);
        }
        assert!(half(0x7e00).is_nan());
    }
}
