//! Tensors as the Open Inference Protocol sends them, in JSON and in bytes.

use crate::columns::{Cellar, Holds, InputColumn};
pub use crate::numbers::Json;
use crate::refusal::{Refusal, shown};
use nerve_core::DType;
use nerve_data::{Cells, Element, Field};

/// The types of elements of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datatype {
    /// One byte, 0 or 1.
    Bool,
    /// Unsigned bytes.
    Uint8,
    /// 16 bits.
    Uint16,
    /// 32 bits.
    Uint32,
    /// 64 bits.
    Uint64,
    /// Signed bytes.
    Int8,
    /// 16 bits.
    Int16,
    /// 32 bits.
    Int32,
    /// 64 bits.
    Int64,
    /// Half precision; in bytes only.
    Fp16,
    /// The upper half of single precision; in bytes only.
    Bf16,
    /// Single precision.
    Fp32,
    /// Double precision.
    Fp64,
    /// Texts or files: each a length of four bytes and as many bytes.
    Bytes,
}

use Datatype::*;

/// Names with the bytes of an element.
const DATATYPES: [(Datatype, &str, usize); 14] = [
    (Bool, "BOOL", 1),
    (Uint8, "UINT8", 1),
    (Uint16, "UINT16", 2),
    (Uint32, "UINT32", 4),
    (Uint64, "UINT64", 8),
    (Int8, "INT8", 1),
    (Int16, "INT16", 2),
    (Int32, "INT32", 4),
    (Int64, "INT64", 8),
    (Fp16, "FP16", 2),
    (Bf16, "BF16", 2),
    (Fp32, "FP32", 4),
    (Fp64, "FP64", 8),
    (Bytes, "BYTES", 0),
];

impl Datatype {
    /// The type of this name.
    pub fn find(name: &str) -> Option<Datatype> {
        DATATYPES.iter().find(|(_, known, _)| *known == name).map(|(datatype, ..)| *datatype)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        DATATYPES.iter().find(|(datatype, ..)| *datatype == self).map_or("", |(_, name, _)| name)
    }

    /// The type of the elements of a tensor.
    pub fn of(dtype: DType) -> Datatype {
        match dtype {
            DType::F32 => Fp32,
            DType::F64 => Fp64,
            DType::I64 => Int64,
            DType::I32 => Int32,
            DType::I8 => Int8,
            DType::U8 => Uint8,
            DType::Bool => Bool,
        }
    }

    /// Bytes of an element; 0 for texts, which have no fixed size.
    pub fn size(self) -> usize {
        DATATYPES.iter().find(|(datatype, ..)| *datatype == self).map_or(0, |(.., size)| *size)
    }

    /// The least and the greatest whole number.
    pub(crate) fn range(self) -> Option<(f64, f64)> {
        match self {
            Uint8 => Some((0.0, 255.0)),
            Uint16 => Some((0.0, 65_535.0)),
            Uint32 => Some((0.0, 4_294_967_295.0)),
            Uint64 => Some((0.0, EXACT)),
            Int8 => Some((-128.0, 127.0)),
            Int16 => Some((-32_768.0, 32_767.0)),
            Int32 => Some((-2_147_483_648.0, 2_147_483_647.0)),
            Int64 => Some((-EXACT, EXACT)),
            _ => None,
        }
    }
}

/// Whole numbers up to here are kept exactly: 2^53.
pub(crate) const EXACT: f64 = 9_007_199_254_740_992.0;
/// The most elements of a tensor.
pub(crate) const MOST_ELEMENTS: usize = 1 << 23;

/// The elements of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Elements {
    /// Numbers.
    Numbers(Vec<f64>),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Texts or files.
    Texts(Vec<Vec<u8>>),
}

/// A tensor that was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub datatype: Datatype,
    /// Its shape; the first axis counts the rows.
    pub shape: Vec<usize>,
    /// Its elements.
    pub elements: Elements,
}

/// How many elements a shape has.
///
/// # Errors
/// 422: negative, or more than there can be.
pub fn count(name: &str, shape: &[i64]) -> Result<(Vec<usize>, usize), Refusal> {
    let name = shown(name);
    let whole = |&length: &i64| {
        let known = usize::try_from(length).ok();
        known.ok_or_else(|| {
            Refusal::unfit(format!("input `{name}`: the shape {shape:?} has a negative length"))
        })
    };
    let lengths = shape.iter().take(16).map(whole).collect::<Result<Vec<usize>, Refusal>>()?;
    let product = lengths.iter().try_fold(1usize, |product, &length| product.checked_mul(length));
    match product.filter(|&count| count <= MOST_ELEMENTS && shape.len() <= 16) {
        Some(count) => Ok((lengths, count)),
        None => Err(Refusal::unfit(format!(
            "input `{name}`: the shape {lengths:?} has more than {MOST_ELEMENTS} elements"
        ))),
    }
}

/// A tensor from JSON.
///
/// # Errors
/// 400 for elements that are not of the type, 422 for numbers out of its range and for a shape that does not fit.
pub fn from_json(
    name: &str,
    datatype: Datatype,
    shape: &[i64],
    json: Json,
) -> Result<Sent, Refusal> {
    let (shape, count) = count(name, shape)?;
    let shown = shown(name);
    let Json { numbers, texts, lengths, ragged, bools, other, inexact, fractions, .. } = json;
    let found = numbers.len() + texts.len();
    if found != count || ragged {
        let how = if ragged { " in lists of different lengths" } else { "" };
        return Err(Refusal::unfit(format!(
            "input `{shown}`: the shape {shape:?} has {count} elements, `data` has {found}{how}"
        )));
    }
    if lengths.len() > 1 && lengths != shape && found > 0 {
        return Err(Refusal::unfit(format!(
            "input `{shown}`: the shape is {shape:?}, the lists in `data` have the shape {lengths:?}"
        )));
    }
    let wrong =
        |what: &str| Refusal::unreadable(format!("input `{shown}`: {what} in {}", datatype.name()));
    if let Some(what) = other {
        return Err(wrong(what));
    }
    if matches!(datatype, Fp16 | Bf16) {
        return Err(Refusal::unreadable(format!(
            "input `{shown}`: {} cannot be sent in JSON; use the binary data format",
            datatype.name()
        )));
    }
    if bools && datatype != Bool {
        return Err(wrong("true or false"));
    }
    let elements = match datatype {
        Bytes if numbers.is_empty() => Elements::Texts(texts),
        Bytes => return Err(wrong("a number")),
        _ if !texts.is_empty() => return Err(wrong("a text")),
        Bool if !bools && numbers.iter().any(|&n| n != 0.0 && n != 1.0) => {
            return Err(wrong("a number"));
        }
        _ => {
            in_range(&shown, datatype, &numbers, (inexact, fractions))?;
            match datatype {
                Uint8 => Elements::Bytes(numbers.into_iter().map(|n| n as u8).collect()),
                _ => Elements::Numbers(numbers),
            }
        }
    };
    Ok(Sent { name: name.to_string(), datatype, shape, elements })
}

fn in_range(
    name: &str,
    datatype: Datatype,
    numbers: &[f64],
    (inexact, fractions): (bool, bool),
) -> Result<(), Refusal> {
    let out = |number: &f64| {
        Refusal::unfit(format!("input `{name}`: {number} is no {}", datatype.name()))
    };
    match datatype.range() {
        Some((least, most)) => {
            let whole = |n: &f64| !fractions || n.fract() == 0.0;
            let fits = |n: &f64| (least..=most).contains(n) && whole(n);
            if let Some(wrong) = numbers.iter().find(|n| !fits(n)) {
                return Err(out(wrong));
            }
            if inexact {
                return Err(Refusal::unfit(format!(
                    "input `{name}`: whole numbers above 2^53 are not kept exactly; send them as BYTES"
                )));
            }
        }
        None if datatype == Fp32 => {
            if let Some(wrong) = numbers.iter().find(|n| n.abs() > f64::from(f32::MAX)) {
                return Err(out(wrong));
            }
        }
        None => {}
    }
    Ok(())
}

/// A tensor from bytes, which must be as many as its shape says.
///
/// # Errors
/// 400 for another number of bytes; 422 for numbers that are none.
pub fn from_bytes(
    name: &str,
    datatype: Datatype,
    shape: &[i64],
    bytes: &[u8],
) -> Result<Sent, Refusal> {
    let (shape, count) = count(name, shape)?;
    let shown = shown(name);
    let elements = match datatype {
        Bytes => Elements::Texts(texts(&shown, count, bytes)?),
        _ => {
            let expected = count * datatype.size();
            if bytes.len() != expected {
                return Err(Refusal::unreadable(format!(
                    "unexpected size for input `{shown}`: the shape {shape:?} of {} has {expected} bytes, {} were sent",
                    datatype.name(),
                    bytes.len()
                )));
            }
            match datatype {
                Uint8 => Elements::Bytes(bytes.to_vec()),
                _ => Elements::Numbers(numbers(&shown, datatype, bytes)?),
            }
        }
    };
    Ok(Sent { name: name.to_string(), datatype, shape, elements })
}

fn texts(name: &str, count: usize, mut bytes: &[u8]) -> Result<Vec<Vec<u8>>, Refusal> {
    let short = || {
        Refusal::unreadable(format!(
            "unexpected size for input `{name}`: the bytes end within an element"
        ))
    };
    let mut all = Vec::new();
    for _ in 0..count {
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(short)?;
        let length = u32::from_le_bytes(*length) as usize;
        let text = rest.get(..length).ok_or_else(short)?;
        all.push(text.to_vec());
        bytes = &rest[length..];
    }
    match bytes.len() {
        0 => Ok(all),
        left => Err(Refusal::unreadable(format!(
            "unexpected additional input data for input `{name}`: {left} bytes"
        ))),
    }
}

fn numbers(name: &str, datatype: Datatype, bytes: &[u8]) -> Result<Vec<f64>, Refusal> {
    fn each<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> f64) -> Vec<f64> {
        bytes.as_chunks::<N>().0.iter().map(|chunk| read(*chunk)).collect()
    }
    let numbers = match datatype {
        Bool | Uint8 | Bytes => each(bytes, |[byte]: [u8; 1]| byte.into()),
        Int8 => each(bytes, |b: [u8; 1]| i8::from_le_bytes(b).into()),
        Uint16 => each(bytes, |b| u16::from_le_bytes(b).into()),
        Int16 => each(bytes, |b| i16::from_le_bytes(b).into()),
        Uint32 => each(bytes, |b| u32::from_le_bytes(b).into()),
        Int32 => each(bytes, |b| i32::from_le_bytes(b).into()),
        Uint64 => each(bytes, |b| u64::from_le_bytes(b) as f64),
        Int64 => each(bytes, |b| i64::from_le_bytes(b) as f64),
        Fp16 => each(bytes, |b| half(u16::from_le_bytes(b))),
        Bf16 => each(bytes, |b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16).into()),
        Fp32 => each(bytes, |b| f32::from_le_bytes(b).into()),
        Fp64 => each(bytes, f64::from_le_bytes),
    };
    let wrong = |n: &&f64| match datatype {
        Bool => **n > 1.0,
        Uint64 | Int64 => n.abs() > EXACT,
        _ => !n.is_finite(),
    };
    match numbers.iter().find(wrong) {
        Some(wrong) => {
            Err(Refusal::unfit(format!("input `{name}`: {wrong} in {}", datatype.name())))
        }
        None => Ok(numbers),
    }
}

/// A number in half precision (IEEE 754 binary16).
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    let size = match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15),
    };
    if bits >> 15 == 1 { -size } else { size }
}

impl Sent {
    /// The cells of a column.
    ///
    /// # Errors
    /// 422: the shape or the type is not that of the column.
    pub fn cells(self, column: &InputColumn) -> Result<Cellar, Refusal> {
        let (datatype, row) = column.tensor();
        let (name, rows) = (shown(&self.name), self.shape.first().copied().unwrap_or(0));
        let one = matches!(self.shape[..], [_] | [_, 1]);
        let refuse = |what: String| Err(Refusal::unfit(what));
        let misfit = || {
            let shape =
                [&["-1".to_string()], &row.iter().map(usize::to_string).collect::<Vec<_>>()[..]]
                    .concat();
            refuse(format!(
                "input `{name}`: expected {} of shape [{}], found {} of shape {:?}",
                datatype.name(),
                shape.join(", "),
                self.datatype.name(),
                self.shape
            ))
        };
        // Bytes stay bytes where they are pixels.
        let elements = match (self.elements, &column.holds) {
            (Elements::Bytes(bytes), Holds::Cell | Holds::Vector(_) | Holds::Sound(_)) => {
                Elements::Numbers(bytes.into_iter().map(f64::from).collect())
            }
            (elements, _) => elements,
        };
        match (elements, &column.holds) {
            (Elements::Texts(files), Holds::Picture(_) | Holds::Sound(_)) if one => {
                let cells = files.iter().map(|file| column.file(file)).collect::<Result<_, _>>()?;
                Ok(Cellar::Rows(cells))
            }
            (Elements::Texts(texts), Holds::Cell | Holds::Vector(_)) if one => {
                let text = |bytes: &Vec<u8>| String::from_utf8(bytes.clone());
                let texts: Result<Vec<String>, _> = texts.iter().map(text).collect();
                match texts {
                    Ok(texts) => Ok(Cellar::Column(Cells::Text(
                        texts.iter().map(|t| Some(t.as_str())).collect(),
                    ))),
                    Err(_) => refuse(format!("input `{name}`: BYTES that are no UTF-8 text")),
                }
            }
            (Elements::Numbers(numbers), Holds::Cell) if one => {
                Ok(Cellar::Column(Cells::Numbers(numbers)))
            }
            (Elements::Numbers(numbers), Holds::Picture(shape)) if self.shape[1..] == shape[..] => {
                let byte = |&n: &f64| n.fract() == 0.0 && (0.0..=255.0).contains(&n);
                match numbers.iter().find(|n| !byte(n)) {
                    Some(wrong) => {
                        refuse(format!("input `{name}`: {wrong} is no pixel from 0 to 255"))
                    }
                    None => Ok(pixels(shape, numbers.into_iter().map(|n| n as u8).collect())),
                }
            }
            (Elements::Bytes(bytes), Holds::Picture(shape)) if self.shape[1..] == shape[..] => {
                Ok(pixels(shape, bytes))
            }
            (Elements::Numbers(numbers), Holds::Vector(len)) if self.shape[1..] == [*len] => {
                Ok(floats(&[*len], numbers))
            }
            (Elements::Numbers(numbers), Holds::Sound(_))
                if self.shape.len() == 2 && rows > 0 && self.shape[1] > 0 =>
            {
                Ok(floats(&[self.shape[1]], numbers))
            }
            _ => misfit(),
        }
    }
}

fn pixels(shape: &[usize], bytes: Vec<u8>) -> Cellar {
    Cellar::Column(Cells::Arrays(Field::new("picture", shape, Element::U8), bytes.into()))
}

fn floats(shape: &[usize], numbers: Vec<f64>) -> Cellar {
    let values: Vec<f32> = numbers.into_iter().map(|n| n as f32).collect();
    Cellar::Column(Cells::Arrays(Field::new("values", shape, Element::F32), values.into()))
}

#[cfg(test)]
mod tests;
