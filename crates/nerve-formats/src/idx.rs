//! idx: the array files of MNIST and its relatives (LeCun, Cortes, Burges,
//! "The MNIST database of handwritten digits").
//!
//! ```text
//! 2 bytes  zero
//! 1 byte   type of the elements: 08 u8, 09 i8, 0B i16, 0C i32, 0D f32, 0E f64
//! 1 byte   number of dimensions
//! 4 bytes  each dimension, the slowest first     (all numbers are big-endian)
//! ...      the elements, the last dimension fastest
//! ```

use std::fmt;
use std::io::Write;
use std::path::Path;

use flate2::{Compression, GzBuilder};

use crate::atomic::write_atomic;
use crate::error::{ErrorKind, FormatError};
use crate::limits::Limits;
use crate::reader::Reader;

/// Most dimensions that are read or written; the format could say 255, no data set has more than 4.
pub const MAX_RANK: usize = 8;

/// An array as it lies in an idx file.
///
/// ```
/// use nerve_formats::{Idx, IdxData};
/// let labels = Idx { dims: vec![3], data: IdxData::U8(vec![7, 2, 1]) };
/// let bytes = labels.to_bytes().unwrap();
/// assert_eq!(bytes, [0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]);
/// assert_eq!(Idx::from_bytes("labels", &bytes, &Default::default()).unwrap(), labels);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Idx {
    /// The dimensions, the slowest first: `[10000, 28, 28]` for ten thousand images.
    pub dims: Vec<usize>,
    /// The elements in row-major order; as many as the product of `dims`.
    pub data: IdxData,
}

/// The elements of an [`Idx`], one variant a type of the format.
#[derive(Debug, Clone, PartialEq)]
pub enum IdxData {
    /// Unsigned bytes (type code 08): pixels and labels.
    U8(Vec<u8>),
    /// Signed bytes (09).
    I8(Vec<i8>),
    /// 16-bit integers (0B).
    I16(Vec<i16>),
    /// 32-bit integers (0C).
    I32(Vec<i32>),
    /// 32-bit floats (0D).
    F32(Vec<f32>),
    /// 64-bit floats (0E).
    F64(Vec<f64>),
}

/// Calls `$body` with `$v` bound to the vector, whatever its type.
macro_rules! each {
    ($data:expr, $v:ident => $body:expr) => {
        match $data {
            IdxData::U8($v) => $body,
            IdxData::I8($v) => $body,
            IdxData::I16($v) => $body,
            IdxData::I32($v) => $body,
            IdxData::F32($v) => $body,
            IdxData::F64($v) => $body,
        }
    };
}

impl IdxData {
    /// Number of elements.
    pub fn len(&self) -> usize {
        each!(self, v => v.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The name of the element type: `u8`, `i8`, `i16`, `i32`, `f32` or `f64`.
    pub fn type_name(&self) -> &'static str {
        match self {
            IdxData::U8(_) => "u8",
            IdxData::I8(_) => "i8",
            IdxData::I16(_) => "i16",
            IdxData::I32(_) => "i32",
            IdxData::F32(_) => "f32",
            IdxData::F64(_) => "f64",
        }
    }

    /// The code of the element type in the file.
    fn code(&self) -> u8 {
        match self {
            IdxData::U8(_) => 0x08,
            IdxData::I8(_) => 0x09,
            IdxData::I16(_) => 0x0b,
            IdxData::I32(_) => 0x0c,
            IdxData::F32(_) => 0x0d,
            IdxData::F64(_) => 0x0e,
        }
    }

    /// The element at `index` as an integer; `None` for floats and beyond the end.
    fn integer(&self, index: usize) -> Option<i64> {
        match self {
            IdxData::U8(v) => v.get(index).map(|&x| x.into()),
            IdxData::I8(v) => v.get(index).map(|&x| x.into()),
            IdxData::I16(v) => v.get(index).map(|&x| x.into()),
            IdxData::I32(v) => v.get(index).map(|&x| x.into()),
            IdxData::F32(_) | IdxData::F64(_) => None,
        }
    }
}

/// Reads an idx file, plain or gzip, under the default [`Limits`].
///
/// # Errors
/// A file that is not idx, that is cut off or has bytes to spare, a damaged gzip stream, a
/// decompression bomb; each names the byte, what was expected and what was found.
pub fn read_idx(path: impl AsRef<Path>) -> Result<Idx, FormatError> {
    Idx::read(path, &Limits::default())
}

/// Writes an idx file, in gzip where the name ends in `.gz`. The file is whole or absent
/// ([`write_atomic`]), and the same array always gives the same bytes.
///
/// # Errors
/// As [`write_atomic`]; and [`ErrorKind::Mismatch`] where `dims` and `data` do not fit together or
/// the format cannot hold them.
pub fn write_idx(path: impl AsRef<Path>, idx: &Idx) -> Result<(), FormatError> {
    let path = path.as_ref();
    let header = idx.header(path)?;
    write_atomic(path, |w| {
        if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gz")) {
            // No time and no name in the gzip header: the same array gives the same bytes.
            let mut gz = GzBuilder::new().mtime(0).write(w, Compression::best());
            gz.write_all(&header)?;
            idx.write_elements(&mut gz)?;
            gz.finish().map(|_| ())
        } else {
            w.write_all(&header)?;
            idx.write_elements(w)
        }
    })
}

impl Idx {
    /// Reads an idx file, plain or gzip; no more is inflated than its header announces and one byte.
    ///
    /// # Errors
    /// As [`read_idx`].
    pub fn read(path: impl AsRef<Path>, limits: &Limits) -> Result<Idx, FormatError> {
        parse(Reader::open_gz(path, limits)?)
    }

    /// Reads idx from memory, plain or gzip; `name` stands for the file in messages.
    ///
    /// # Errors
    /// As [`read_idx`].
    pub fn from_bytes(
        name: impl AsRef<Path>,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<Idx, FormatError> {
        parse(Reader::from_slice_gz(name, bytes, limits))
    }

    /// The file as bytes, not compressed.
    ///
    /// # Errors
    /// As [`write_idx`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, FormatError> {
        let mut out = self.header(Path::new("idx"))?;
        self.write_elements(&mut out).map_err(|e| FormatError::io("idx", "cannot write", &e))?;
        Ok(out)
    }

    /// Number of samples: the first dimension, 0 where there is none.
    pub fn samples(&self) -> usize {
        self.dims.first().copied().unwrap_or(0)
    }

    /// Checks that the array has `rank` dimensions; `what` says what it is meant to hold.
    ///
    /// # Errors
    /// [`ErrorKind::Mismatch`]: "labels: expected rank 1, found rank 3 (10000×28×28 of u8, as images
    /// have)".
    pub fn expect_rank(
        &self,
        file: impl AsRef<Path>,
        what: &str,
        rank: usize,
    ) -> Result<(), FormatError> {
        if self.dims.len() == rank {
            return Ok(());
        }
        let looks = match self.dims.len() {
            1 => ", as labels have",
            3 | 4 => ", as images have",
            _ => "",
        };
        let (n, shape, of) = (self.dims.len(), Dims(&self.dims), self.data.type_name());
        let found = format!("rank {n} ({shape} of {of}{looks})");
        Err(mismatch(file, what, format!("rank {rank}"), found))
    }

    /// Checks that there is at least one sample.
    ///
    /// # Errors
    /// [`ErrorKind::Mismatch`]: "expected at least one sample, found no samples".
    pub fn expect_samples(&self, file: impl AsRef<Path>, what: &str) -> Result<(), FormatError> {
        if self.samples() > 0 && !self.data.is_empty() {
            return Ok(());
        }
        let found = format!("no samples ({})", Dims(&self.dims));
        Err(mismatch(file, what, "at least one sample", found))
    }

    /// Checks that two files, such as images and their labels, hold as many samples.
    ///
    /// # Errors
    /// [`ErrorKind::Mismatch`], naming both files and both counts.
    pub fn expect_as_many(
        &self,
        file: impl AsRef<Path>,
        other: &Idx,
        other_file: impl AsRef<Path>,
    ) -> Result<(), FormatError> {
        if self.samples() == other.samples() {
            return Ok(());
        }
        let other_file = crate::error::file_name(other_file.as_ref());
        let expected = format!("{} samples, as in {other_file}", other.samples());
        Err(mismatch(file, "number of samples", expected, self.samples().to_string()))
    }

    /// The elements as class numbers: one dimension of integers, each in `0..classes`.
    ///
    /// # Errors
    /// [`ErrorKind::Mismatch`]: a wrong rank, no samples, floats, or a label out of range, whose row
    /// (counted from 0) is named.
    pub fn labels(&self, file: impl AsRef<Path>, classes: usize) -> Result<Vec<u32>, FormatError> {
        let file = file.as_ref();
        self.expect_rank(file, "labels", 1)?;
        self.expect_samples(file, "labels")?;
        let mut labels = Vec::with_capacity(self.data.len());
        for row in 0..self.data.len() {
            let Some(label) = self.data.integer(row) else {
                return Err(mismatch(file, "labels", "integers", self.data.type_name()));
            };
            match u32::try_from(label) {
                Ok(l) if (l as usize) < classes => labels.push(l),
                _ => {
                    let expected = format!("0 to {}", classes.saturating_sub(1));
                    let field = format!("label of row {row}");
                    return Err(mismatch(file, field, expected, label.to_string()));
                }
            }
        }
        Ok(labels)
    }

    fn header(&self, file: &Path) -> Result<Vec<u8>, FormatError> {
        let rank = self.dims.len();
        if rank == 0 || rank > MAX_RANK {
            let found = rank.to_string();
            return Err(mismatch(file, "dimensions", format!("1 to {MAX_RANK}"), found));
        }
        let mut header = vec![0, 0, self.data.code(), rank as u8];
        for (i, &dim) in self.dims.iter().enumerate() {
            let Ok(dim) = u32::try_from(dim) else {
                let field = format!("dimension {i}");
                return Err(mismatch(file, field, "less than 2^32", dim.to_string()));
            };
            header.extend(dim.to_be_bytes());
        }
        if count_elements(&self.dims) != Some(self.data.len()) {
            let expected = format!("as many elements as {}", Dims(&self.dims));
            return Err(mismatch(file, "data", expected, self.data.len().to_string()));
        }
        Ok(header)
    }

    fn write_elements(&self, w: &mut dyn Write) -> std::io::Result<()> {
        if let IdxData::U8(v) = &self.data {
            return w.write_all(v);
        }
        each!(&self.data, v => {
            for block in v.chunks(4096) {
                let bytes: Vec<u8> = block.iter().flat_map(|x| x.to_be_bytes()).collect();
                w.write_all(&bytes)?;
            }
        });
        Ok(())
    }
}

fn mismatch(
    file: impl AsRef<Path>,
    field: impl AsRef<str>,
    expected: impl AsRef<str>,
    found: impl AsRef<str>,
) -> FormatError {
    FormatError::new(ErrorKind::Mismatch, file, field, expected, found)
}

/// Shows dimensions as `10000×28×28`.
struct Dims<'a>(&'a [usize]);

impl fmt::Display for Dims<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, dim) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("×")?;
            }
            write!(f, "{dim}")?;
        }
        Ok(())
    }
}

/// The product of the dimensions; `None` when it, or that of the dimensions other than 0 (from which
/// strides are made), does not fit.
fn count_elements(dims: &[usize]) -> Option<usize> {
    let product = dims.iter().filter(|&&d| d != 0).try_fold(1usize, |n, &d| n.checked_mul(d))?;
    Some(if dims.contains(&0) { 0 } else { product })
}

fn parse(mut r: Reader<'_>) -> Result<Idx, FormatError> {
    let magic: [u8; 4] = r.array("magic number")?;
    let [zero0, zero1, code, rank] = magic;
    let wrong = |field: &str, at: u64, expected: &str, found: String| {
        Err(FormatError::new(ErrorKind::Malformed, r.file(), field, expected, found).at(at))
    };
    if (zero0, zero1) != (0, 0) {
        let found = format!("{zero0:02x} {zero1:02x}{}", looks_like(&magic));
        return wrong("magic number", 0, "an idx file, which begins 00 00", found);
    }
    let size: u64 = match code {
        0x08 | 0x09 => 1,
        0x0b => 2,
        0x0c | 0x0d => 4,
        0x0e => 8,
        _ => {
            let known = "one of 08, 09, 0b, 0c, 0d, 0e";
            return wrong("element type", 2, known, format!("{code:02x}"));
        }
    };
    if rank == 0 || usize::from(rank) > MAX_RANK {
        return wrong("dimensions", 3, &format!("1 to {MAX_RANK}"), rank.to_string());
    }
    let mut dims = Vec::with_capacity(rank.into());
    for i in 0..rank {
        dims.push(r.u32_be(format!("dimension {i}"))? as usize);
    }
    let bytes = count_elements(&dims).and_then(|n| size.checked_mul(n as u64));
    let Some(bytes) = bytes else {
        return Err(r.malformed("dimensions", "a product below 2^64", Dims(&dims).to_string()));
    };
    let field = format!("data of {}", Dims(&dims));
    let raw = r.bytes(&field, bytes)?;
    r.finish(&field)?;
    Ok(Idx { dims, data: decode(code, raw) })
}

/// Big-endian bytes as elements; `code` has been checked.
fn decode(code: u8, raw: Vec<u8>) -> IdxData {
    fn all<const N: usize, T>(raw: &[u8], one: fn([u8; N]) -> T) -> Vec<T> {
        raw.as_chunks::<N>().0.iter().map(|&b| one(b)).collect()
    }
    match code {
        0x09 => IdxData::I8(all(&raw, i8::from_be_bytes)),
        0x0b => IdxData::I16(all(&raw, i16::from_be_bytes)),
        0x0c => IdxData::I32(all(&raw, i32::from_be_bytes)),
        0x0d => IdxData::F32(all(&raw, f32::from_be_bytes)),
        0x0e => IdxData::F64(all(&raw, f64::from_be_bytes)),
        _ => IdxData::U8(raw),
    }
}

/// A failed download is the usual reason for a file that is not idx: say so where it shows.
fn looks_like(magic: &[u8; 4]) -> &'static str {
    match magic {
        [b'<', ..] => " (an HTML page?)",
        [0x89, b'P', b'N', b'G'] => " (a PNG image)",
        [0xff, 0xd8, ..] => " (a JPEG image)",
        [b'P', b'K', ..] => " (a zip archive)",
        [0x93, b'N', b'U', b'M'] => " (a NumPy file)",
        _ => "",
    }
}
