//! Arrays on their way between a request and the network of an ONNX file.

use crate::graph::Port;
use crate::refusal::{Refusal, shown};
use crate::tensor::{Datatype, Elements, Sent};
use nerve_core::{DType, Tensor};
use nerve_onnx::import::{Strings, Value};
use serde::Serialize;

/// The elements of an array in row-major order.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Data {
    /// Single precision.
    F32(Vec<f32>),
    /// Double precision.
    F64(Vec<f64>),
    /// 64 bits.
    I64(Vec<i64>),
    /// 32 bits.
    I32(Vec<i32>),
    /// 8 bits with a sign.
    I8(Vec<i8>),
    /// 8 bits.
    U8(Vec<u8>),
    /// True or false.
    Bool(Vec<bool>),
    /// Texts.
    Texts(Vec<String>),
}

/// The same expression for the elements of every type.
macro_rules! each {
    ($data:expr, $v:ident => $body:expr) => {
        match $data {
            Data::F32($v) => $body,
            Data::F64($v) => $body,
            Data::I64($v) => $body,
            Data::I32($v) => $body,
            Data::I8($v) => $body,
            Data::U8($v) => $body,
            Data::Bool($v) => $body,
            Data::Texts($v) => $body,
        }
    };
}

/// The same, as elements of the same type.
macro_rules! map {
    ($data:expr, $v:ident => $body:expr) => {
        match $data {
            Data::F32($v) => Data::F32($body),
            Data::F64($v) => Data::F64($body),
            Data::I64($v) => Data::I64($body),
            Data::I32($v) => Data::I32($body),
            Data::I8($v) => Data::I8($body),
            Data::U8($v) => Data::U8($body),
            Data::Bool($v) => Data::Bool($body),
            Data::Texts($v) => Data::Texts($body),
        }
    };
}

impl Data {
    /// How many elements there are.
    pub fn count(&self) -> usize {
        each!(self, v => v.len())
    }

    /// The name of their type.
    pub fn datatype(&self) -> Datatype {
        match self {
            Data::F32(_) => Datatype::Fp32,
            Data::F64(_) => Datatype::Fp64,
            Data::I64(_) => Datatype::Int64,
            Data::I32(_) => Datatype::Int32,
            Data::I8(_) => Datatype::Int8,
            Data::U8(_) => Datatype::Uint8,
            Data::Bool(_) => Datatype::Bool,
            Data::Texts(_) => Datatype::Bytes,
        }
    }

    /// As numbers; none for texts.
    pub fn numbers(&self) -> Vec<f64> {
        match self {
            Data::F32(v) => v.iter().map(|&v| v.into()).collect(),
            Data::F64(v) => v.clone(),
            Data::I64(v) => v.iter().map(|&v| v as f64).collect(),
            Data::I32(v) => v.iter().map(|&v| v.into()).collect(),
            Data::I8(v) => v.iter().map(|&v| v.into()).collect(),
            Data::U8(v) => v.iter().map(|&v| v.into()).collect(),
            Data::Bool(v) => v.iter().map(|&v| u8::from(v).into()).collect(),
            Data::Texts(_) => Vec::new(),
        }
    }

    /// How many are no numbers, or infinite.
    pub fn not_finite(&self) -> usize {
        match self {
            Data::F32(v) => v.iter().filter(|v| !v.is_finite()).count(),
            Data::F64(v) => v.iter().filter(|v| !v.is_finite()).count(),
            _ => 0,
        }
    }

    /// A list in JSON.
    pub fn json(&self, text: &mut String) {
        text.push_str(&serde_json::to_string(self).unwrap_or_default());
    }

    /// Little-endian; of a text its length in four bytes and its bytes.
    pub fn bytes(&self, bytes: &mut Vec<u8>) {
        match self {
            Data::F32(v) => v.iter().for_each(|v| bytes.extend(v.to_le_bytes())),
            Data::F64(v) => v.iter().for_each(|v| bytes.extend(v.to_le_bytes())),
            Data::I64(v) => v.iter().for_each(|v| bytes.extend(v.to_le_bytes())),
            Data::I32(v) => v.iter().for_each(|v| bytes.extend(v.to_le_bytes())),
            Data::I8(v) => v.iter().for_each(|v| bytes.extend(v.to_le_bytes())),
            Data::U8(v) => bytes.extend(v),
            Data::Bool(v) => bytes.extend(v.iter().map(|&v| u8::from(v))),
            Data::Texts(texts) => texts.iter().for_each(|text| {
                bytes.extend((text.len() as u32).to_le_bytes());
                bytes.extend(text.as_bytes());
            }),
        }
    }

    fn append(&mut self, other: &Data) -> Option<()> {
        match (self, other) {
            (Data::F32(v), Data::F32(w)) => v.extend(w),
            (Data::F64(v), Data::F64(w)) => v.extend(w),
            (Data::I64(v), Data::I64(w)) => v.extend(w),
            (Data::I32(v), Data::I32(w)) => v.extend(w),
            (Data::I8(v), Data::I8(w)) => v.extend(w),
            (Data::U8(v), Data::U8(w)) => v.extend(w),
            (Data::Bool(v), Data::Bool(w)) => v.extend(w),
            (Data::Texts(v), Data::Texts(w)) => v.extend(w.iter().cloned()),
            _ => return None,
        }
        Some(())
    }
}

/// An array.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Its shape.
    pub dims: Vec<usize>,
    /// Its elements.
    pub data: Data,
}

impl Array {
    /// What was sent for an input.
    ///
    /// # Errors
    /// 422: the shape or the type is not that of the input, or an element is out of range.
    pub fn of(sent: Sent, port: &Port) -> Result<Array, Refusal> {
        let (name, expected) = (shown(&port.name), port.datatype);
        let misfit = || {
            let (found, shape) = (sent.datatype.name(), &sent.shape);
            Refusal::unfit(format!(
                "input `{name}`: expected {} of shape {:?}, found {found} of shape {shape:?}",
                expected.name(),
                port.shape
            ))
        };
        if !port.fits(&sent.shape) || !takes(expected, sent.datatype) {
            return Err(misfit());
        }
        let data = match &sent.elements {
            Elements::Texts(texts) => {
                let text = |bytes: &Vec<u8>| String::from_utf8(bytes.clone());
                Data::Texts(texts.iter().map(text).collect::<Result<_, _>>().map_err(|_| {
                    Refusal::unfit(format!("input `{name}`: BYTES that are no UTF-8 text"))
                })?)
            }
            Elements::Bytes(bytes) if expected == Datatype::Uint8 => Data::U8(bytes.clone()),
            Elements::Bytes(bytes) => {
                let numbers: Vec<f64> = bytes.iter().map(|&byte| byte.into()).collect();
                numbers_as(expected, &numbers).ok_or_else(misfit)?
            }
            Elements::Numbers(numbers) => {
                if let Some((least, most)) = expected.range()
                    && let Some(wrong) = numbers.iter().find(|n| !(least..=most).contains(n))
                {
                    return Err(Refusal::unfit(format!(
                        "input `{name}`: {wrong} is no {}",
                        expected.name()
                    )));
                }
                numbers_as(expected, numbers).ok_or_else(misfit)?
            }
        };
        Ok(Array { dims: sent.shape, data })
    }

    /// As the network takes it.
    pub fn value(&self) -> Value {
        let dims = &self.dims[..];
        Value::Tensor(match &self.data {
            Data::F32(v) => Tensor::from_slice(v, dims),
            Data::F64(v) => Tensor::from_slice(v, dims),
            Data::I64(v) => Tensor::from_slice(v, dims),
            Data::I32(v) => Tensor::from_slice(v, dims),
            Data::I8(v) => Tensor::from_slice(v, dims),
            Data::U8(v) => Tensor::from_slice(v, dims),
            Data::Bool(v) => Tensor::from_slice(v, dims),
            Data::Texts(texts) => {
                let texts = texts.clone().into();
                return Value::Strings(Strings { dims: dims.to_vec(), texts });
            }
        })
    }

    /// What the network gives; none for lists and what may be missing.
    pub fn of_value(value: &Value) -> Option<Array> {
        let tensor = match value {
            Value::Tensor(tensor) => tensor,
            Value::Strings(Strings { dims, texts }) => {
                return Some(Array { dims: dims.clone(), data: Data::Texts(texts.to_vec()) });
            }
            _ => return None,
        };
        let data = match tensor.dtype() {
            DType::F32 => Data::F32(tensor.to_vec()),
            DType::F64 => Data::F64(tensor.to_vec()),
            DType::I64 => Data::I64(tensor.to_vec()),
            DType::I32 => Data::I32(tensor.to_vec()),
            DType::I8 => Data::I8(tensor.to_vec()),
            DType::U8 => Data::U8(tensor.to_vec()),
            DType::Bool => Data::Bool(tensor.to_vec()),
        };
        Some(Array { dims: tensor.shape().to_vec(), data })
    }

    /// Elements of a row.
    fn width(&self) -> usize {
        self.dims[1..].iter().product()
    }

    /// Some of its rows.
    pub fn rows(&self, range: std::ops::Range<usize>) -> Array {
        let width = self.width();
        let (from, to) = (range.start * width, range.end * width);
        let dims = [&[range.len()], &self.dims[1..]].concat();
        Array { dims, data: map!(&self.data, v => v[from..to].to_vec()) }
    }

    /// Puts the rows of arrays of one type and width one behind the other.
    pub fn stacked<'a>(arrays: impl IntoIterator<Item = &'a Array>) -> Option<Array> {
        let mut arrays = arrays.into_iter();
        let mut all = arrays.next()?.clone();
        for array in arrays {
            all.dims[0] += array.dims[0];
            all.data.append(&array.data)?;
        }
        Some(all)
    }

    /// Repeats the last row until there are so many.
    pub fn padded(mut self, rows: usize) -> Array {
        let have = self.dims[0];
        if have > 0 && have < rows {
            let last = self.rows(have - 1..have);
            for _ in have..rows {
                self.data.append(&last.data);
            }
            self.dims[0] = rows;
        }
        self
    }

    /// Nested lists in JSON.
    pub fn nested(&self, text: &mut String) {
        let flat = serde_json::to_value(&self.data).unwrap_or_default();
        let elements = flat.as_array().map(Vec::as_slice).unwrap_or_default();
        nest(&self.dims, elements, text);
    }
}

fn nest(dims: &[usize], elements: &[serde_json::Value], text: &mut String) {
    use std::fmt::Write;
    let Some((&length, rest)) = dims.split_first() else {
        let _ = elements.first().map(|element| write!(text, "{element}"));
        return;
    };
    let width: usize = rest.iter().product();
    text.push('[');
    for at in 0..length {
        if at > 0 {
            text.push(',');
        }
        nest(rest, &elements[at * width..(at + 1) * width], text);
    }
    text.push(']');
}

/// Whether elements of the type `sent` may stand for those of the type `expected`: numbers of any type for floating point,
/// whole numbers for whole numbers.
fn takes(expected: Datatype, sent: Datatype) -> bool {
    use Datatype::{Bf16, Bool, Bytes, Fp16, Fp32, Fp64};
    let float = |datatype| matches!(datatype, Fp16 | Bf16 | Fp32 | Fp64);
    match expected {
        Bool | Bytes => sent == expected,
        _ if float(expected) => !matches!(sent, Bool | Bytes),
        _ => !matches!(sent, Bool | Bytes) && !float(sent),
    }
}

fn numbers_as(datatype: Datatype, numbers: &[f64]) -> Option<Data> {
    let numbers = numbers.iter().copied();
    Some(match datatype {
        Datatype::Fp32 => Data::F32(numbers.map(|n| n as f32).collect()),
        Datatype::Fp64 => Data::F64(numbers.collect()),
        Datatype::Int64 => Data::I64(numbers.map(|n| n as i64).collect()),
        Datatype::Int32 => Data::I32(numbers.map(|n| n as i32).collect()),
        Datatype::Int8 => Data::I8(numbers.map(|n| n as i8).collect()),
        Datatype::Uint8 => Data::U8(numbers.map(|n| n as u8).collect()),
        Datatype::Bool => Data::Bool(numbers.map(|n| n != 0.0).collect()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_stacked_padded_and_cut() {
        let one = Array { dims: vec![1, 2], data: Data::I64(vec![1, 2]) };
        let two = Array { dims: vec![2, 2], data: Data::I64(vec![3, 4, 5, 6]) };
        let all = Array::stacked([&one, &two]).unwrap().padded(4);
        assert_eq!(all.dims, [4, 2]);
        assert_eq!(all.data, Data::I64(vec![1, 2, 3, 4, 5, 6, 5, 6]));
        assert_eq!(all.rows(1..3), two);
        let other = Array { dims: vec![1, 2], data: Data::F32(vec![0.0; 2]) };
        assert!(Array::stacked([&one, &other]).is_none());
    }

    #[test]
    fn lists_are_nested_as_the_shape_says() {
        let mut text = String::new();
        Array { dims: vec![2, 1, 2], data: Data::F32(vec![0.5, 1.0, 2.0, 3.0]) }.nested(&mut text);
        assert_eq!(text, "[[[0.5,1.0]],[[2.0,3.0]]]");
        text.clear();
        Array { dims: vec![], data: Data::Texts(vec!["a\"b".into()]) }.nested(&mut text);
        assert_eq!(text, r#""a\"b""#);
        text.clear();
        Array { dims: vec![2, 0], data: Data::Bool(vec![]) }.nested(&mut text);
        assert_eq!(text, "[[],[]]");
    }
}
