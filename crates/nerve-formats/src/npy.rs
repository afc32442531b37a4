//! npy: one array of NumPy (NEP 1, "A Simple File Format for NumPy Arrays").
//!
//! ```text
//! 6 bytes   93 'NUMPY'
//! 2 bytes   version: 1.0, 2.0 or 3.0
//! 2 or 4    length of the header, little-endian (4 bytes from version 2.0 on)
//! header    {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), } and blanks
//! ...       the elements
//! ```
//!
//! The header is a Python expression; it is read by a grammar of those three keys, and never evaluated. Arrays of Python
//! objects are pickles, which are programs: they are refused.

mod header;

use std::path::Path;

use crate::error::{ErrorKind, FormatError};
use crate::limits::Limits;
use crate::reader::Reader;
use crate::safetensors::f16_to_f32;
use header::{Descr, Header};

/// What the header of an npy file says.
#[derive(Clone, Debug, PartialEq)]
pub struct Contents {
    /// The type of the elements as NumPy writes it: `<f4`.
    pub descr: String,
    /// Whether the first dimension runs fastest.
    pub fortran_order: bool,
    /// The dimensions.
    pub shape: Vec<usize>,
    /// Bytes of all elements together.
    pub data_bytes: u64,
}

impl Contents {
    /// Reads the header of an npy file of any size, plain or gzip, and compares what it claims with the file.
    ///
    /// # Errors
    /// As [`Npy::read`], but for what is wrong with the elements.
    pub fn read(path: impl AsRef<Path>) -> Result<Contents, FormatError> {
        let limits = Limits { max_bytes: u64::MAX, ..Limits::default() };
        Contents::of(Reader::open_gz(path, &limits)?)
    }

    /// The same from any bounded reader, such as [`Zip::stream`](crate::Zip::stream).
    ///
    /// # Errors
    /// As [`Contents::read`].
    pub fn of(mut r: Reader<'_>) -> Result<Contents, FormatError> {
        let (header, _, data_bytes) = head(&mut r)?;
        r.claim("elements", data_bytes)?;
        if let Some(more) = r.remaining().filter(|&left| left > data_bytes) {
            return Err(r.malformed("elements", format!("{data_bytes} bytes"), more.to_string()));
        }
        let Header { descr, fortran_order, shape } = header;
        Ok(Contents { descr, fortran_order, shape, data_bytes })
    }
}

/// Longest header, in bytes; NumPy refuses longer ones too.
const MAX_HEADER: u64 = 10_000;
/// Most dimensions; those of NumPy.
const MAX_RANK: usize = 32;

/// An array as it lies in an npy file, its elements in row-major order.
///
/// ```
/// use nerve_formats::{Npy, NpyData};
/// let mut bytes = b"\x93NUMPY\x01\x00\x46\x00".to_vec();
/// bytes.extend(format!("{:69}\n", "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }").bytes());
/// bytes.extend([1.5f32, -2.0].into_iter().flat_map(f32::to_le_bytes));
/// let npy = Npy::from_bytes("x.npy", &bytes).unwrap();
/// assert_eq!((npy.shape, npy.data), (vec![2], NpyData::F32(vec![1.5, -2.0])));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Npy {
    /// The dimensions, the slowest first; none for a single number.
    pub shape: Vec<usize>,
    /// The elements, as many as the product of the shape.
    pub data: NpyData,
}

/// The elements of an [`Npy`], each type in the smallest of these that holds it exactly.
#[derive(Clone, Debug, PartialEq)]
pub enum NpyData {
    /// bool (0 and 1) and uint8.
    U8(Vec<u8>),
    /// int8, int16, uint16 and int32.
    I32(Vec<i32>),
    /// uint32, int64, and uint64 below 2^63.
    I64(Vec<i64>),
    /// float16 and float32.
    F32(Vec<f32>),
    /// float64.
    F64(Vec<f64>),
}

impl NpyData {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            NpyData::U8(v) => v.len(),
            NpyData::I32(v) => v.len(),
            NpyData::I64(v) => v.len(),
            NpyData::F32(v) => v.len(),
            NpyData::F64(v) => v.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Npy {
    /// Reads an npy file, plain or gzip.
    ///
    /// # Errors
    /// A file that is not npy, whose header breaks the grammar, that is shorter or longer than its header says, or that
    /// holds anything but numbers.
    pub fn read(path: impl AsRef<Path>, limits: &Limits) -> Result<Npy, FormatError> {
        parse(Reader::open_gz(path, limits)?)
    }

    /// Reads npy from memory; `name` stands for the file in messages.
    ///
    /// # Errors
    /// As [`Npy::read`].
    pub fn from_bytes(name: impl AsRef<Path>, bytes: &[u8]) -> Result<Npy, FormatError> {
        parse(Reader::from_slice(name, bytes))
    }

    /// The file as bytes, of version 1.0.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (descr, data): (&str, Vec<u8>) = match &self.data {
            NpyData::U8(v) => ("|u1", v.clone()),
            NpyData::I32(v) => ("<i4", v.iter().flat_map(|x| x.to_le_bytes()).collect()),
            NpyData::I64(v) => ("<i8", v.iter().flat_map(|x| x.to_le_bytes()).collect()),
            NpyData::F32(v) => ("<f4", v.iter().flat_map(|x| x.to_le_bytes()).collect()),
            NpyData::F64(v) => ("<f8", v.iter().flat_map(|x| x.to_le_bytes()).collect()),
        };
        let comma = if self.shape.len() == 1 { "," } else { "" };
        let dims: Vec<String> = self.shape.iter().map(usize::to_string).collect();
        let shape = dims.join(", ");
        let text =
            format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}{comma}), }}");
        // The elements begin at a multiple of 64 bytes.
        let length = (10 + text.len() + 1).next_multiple_of(64) - 10;
        let mut out = b"\x93NUMPY\x01\x00".to_vec();
        out.extend((length as u16).to_le_bytes());
        out.extend(format!("{text:<width$}\n", width = length - 1).bytes());
        out.extend(data);
        out
    }
}

fn parse(mut r: Reader<'_>) -> Result<Npy, FormatError> {
    let (header, descr, bytes) = head(&mut r)?;
    let data = r.bytes("elements", bytes)?;
    let file = r.file().to_string();
    r.finish("elements")?;
    let name = header.descr.clone();
    let data = convert(&data, descr).ok_or_else(|| {
        let expected = format!("elements of type {name} below 2^63");
        FormatError::new(ErrorKind::Unsupported, &file, "elements", expected, "a larger one")
    })?;
    let data = match header.fortran_order {
        true => transpose(data, &header.shape),
        false => data,
    };
    Ok(Npy { shape: header.shape, data })
}

/// The header, the type of the elements and how many bytes they have.
fn head(r: &mut Reader<'_>) -> Result<(Header, Descr, u64), FormatError> {
    let magic: [u8; 6] = r.array("magic number")?;
    if &magic != b"\x93NUMPY" {
        let found = format!("{magic:02x?}");
        return Err(malformed(r, "magic number", "an npy file, which begins 93 'NUMPY'", &found));
    }
    let version: [u8; 2] = r.array("version")?;
    let length = match version {
        [1, 0] => u64::from(r.u16_le("header length")?),
        [2 | 3, 0] => u64::from(r.u32_le("header length")?),
        [major, minor] => {
            let found = format!("{major}.{minor}");
            return Err(malformed(r, "version", "1.0, 2.0 or 3.0", &found));
        }
    };
    if length > MAX_HEADER {
        let expected = format!("at most {MAX_HEADER} bytes");
        return Err(malformed(r, "header length", &expected, &length.to_string()));
    }
    let text = r.bytes("header", length)?;
    let header = header::parse(&text)
        .map_err(|fault| malformed(r, "header", fault.expected, &fault.found))?;
    let descr = descr(r, &header.descr)?;
    let bytes = sizes(r, &header, descr)?;
    Ok((header, descr, bytes))
}

fn malformed(r: &Reader<'_>, field: &str, expected: &str, found: &str) -> FormatError {
    FormatError::new(ErrorKind::Malformed, r.file(), field, expected, found).at(r.offset())
}

/// The type of the elements.
fn descr(r: &Reader<'_>, text: &str) -> Result<Descr, FormatError> {
    let refuse = |expected: &str, found: String| {
        Err(FormatError::new(ErrorKind::Unsupported, r.file(), "type of elements", expected, found))
    };
    if text.contains('O') {
        let expected = "numbers (save with allow_pickle=False: pickles are programs, and not run)";
        return refuse(expected, format!("`{text}`, Python objects"));
    }
    match header::descr(text) {
        Some(descr) => Ok(descr),
        None => refuse(
            "bool, or integers or floats of 1 to 8 bytes: |b1, |u1, <i4, <f4, >f8, ...",
            format!("`{text}`"),
        ),
    }
}

/// The number of bytes of the elements.
fn sizes(r: &Reader<'_>, header: &Header, descr: Descr) -> Result<u64, FormatError> {
    let shape = &header.shape;
    let fail = |expected: &str| Err(malformed(r, "shape", expected, &format!("{shape:?}")));
    if shape.len() > MAX_RANK {
        return fail(&format!("at most {MAX_RANK} dimensions"));
    }
    let product = |zeros: bool| {
        let mut dims = shape.iter().filter(|&&dim| zeros || dim > 0);
        dims.try_fold(1usize, |product, &dim| product.checked_mul(dim))
    };
    // Strides are made of the dimensions that are not zero.
    let (Some(count), Some(_)) = (product(true), product(false)) else {
        return fail("a product below 2^64");
    };
    match (count as u64).checked_mul(descr.size as u64) {
        Some(bytes) => Ok(bytes),
        None => fail("fewer than 2^64 bytes"),
    }
}

/// The elements in the type that holds them; `None` for one that none holds.
fn convert(bytes: &[u8], descr: Descr) -> Option<NpyData> {
    let big = descr.big_endian;
    Some(match (descr.kind, descr.size) {
        (b'u' | b'b', 1) => NpyData::U8(bytes.to_vec()),
        (b'i', 1) => NpyData::I32(bytes.iter().map(|&b| i32::from(b as i8)).collect()),
        (b'u', 2) => NpyData::I32(each(bytes, big, |b| u16::from_le_bytes(b).into())),
        (b'i', 2) => NpyData::I32(each(bytes, big, |b| i16::from_le_bytes(b).into())),
        (b'i', 4) => NpyData::I32(each(bytes, big, i32::from_le_bytes)),
        (b'u', 4) => NpyData::I64(each(bytes, big, |b| u32::from_le_bytes(b).into())),
        (b'i', 8) => NpyData::I64(each(bytes, big, i64::from_le_bytes)),
        (b'u', 8) => {
            let values = each(bytes, big, u64::from_le_bytes).into_iter();
            NpyData::I64(values.map(i64::try_from).collect::<Result<_, _>>().ok()?)
        }
        (b'f', 2) => NpyData::F32(each(bytes, big, |b| f16_to_f32(u16::from_le_bytes(b)))),
        (b'f', 4) => NpyData::F32(each(bytes, big, f32::from_le_bytes)),
        _ => NpyData::F64(each(bytes, big, f64::from_le_bytes)),
    })
}

/// Elements of `N` bytes; those in big-endian order are turned round.
fn each<const N: usize, T>(bytes: &[u8], big: bool, element: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (arrays, _) = bytes.as_chunks::<N>();
    let turned = arrays.iter().map(|&array| {
        let mut array = array;
        if big {
            array.reverse();
        }
        element(array)
    });
    turned.collect()
}

/// Elements whose first dimension runs fastest, in row-major order.
fn transpose(data: NpyData, shape: &[usize]) -> NpyData {
    match data {
        NpyData::U8(v) => NpyData::U8(row_major(&v, shape)),
        NpyData::I32(v) => NpyData::I32(row_major(&v, shape)),
        NpyData::I64(v) => NpyData::I64(row_major(&v, shape)),
        NpyData::F32(v) => NpyData::F32(row_major(&v, shape)),
        NpyData::F64(v) => NpyData::F64(row_major(&v, shape)),
    }
}

fn row_major<T: Copy>(values: &[T], shape: &[usize]) -> Vec<T> {
    let mut strides = vec![1; shape.len()];
    for axis in 1..shape.len() {
        strides[axis] = strides[axis - 1] * shape[axis - 1];
    }
    let mut index = vec![0; shape.len()];
    let mut out = Vec::with_capacity(values.len());
    for _ in 0..values.len() {
        out.push(values[index.iter().zip(&strides).map(|(i, stride)| i * stride).sum::<usize>()]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    out
}
