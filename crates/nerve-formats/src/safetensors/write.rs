//! Writing safetensors files.

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::Path;

use super::header::tensor_field;
use super::{Dtype, MAX_HEADER, MAX_RANK, MAX_TENSORS, METADATA};
use crate::atomic::write_atomic;
use crate::error::{ErrorKind, FormatError};

/// A tensor to be written.
#[derive(Debug, Clone, Copy)]
pub struct NewTensor<'a> {
    /// Its name; any text but `__metadata__`.
    pub name: &'a str,
    /// Its dimensions, the slowest first; empty for a scalar.
    pub shape: &'a [usize],
    /// Its elements in row-major order, as many as the product of `shape`.
    pub data: Elements<'a>,
}

/// The elements of a [`NewTensor`].
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Elements<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// Double precision.
    F64(&'a [f64]),
    /// Bytes.
    U8(&'a [u8]),
    /// 32-bit integers.
    I32(&'a [i32]),
    /// 64-bit integers.
    I64(&'a [i64]),
    /// Unsigned 64-bit integers: counters and seeds.
    U64(&'a [u64]),
    /// Any type, as little-endian bytes.
    Raw(Dtype, &'a [u8]),
}

impl Elements<'_> {
    /// The type they are written as.
    pub fn dtype(&self) -> Dtype {
        match self {
            Elements::F32(_) => Dtype::F32,
            Elements::F64(_) => Dtype::F64,
            Elements::U8(_) => Dtype::U8,
            Elements::I32(_) => Dtype::I32,
            Elements::I64(_) => Dtype::I64,
            Elements::U64(_) => Dtype::U64,
            Elements::Raw(dtype, _) => *dtype,
        }
    }

    /// Number of bytes in the file.
    fn bytes(&self) -> usize {
        match self {
            Elements::F32(v) => size_of_val(*v),
            Elements::F64(v) => size_of_val(*v),
            Elements::I32(v) => size_of_val(*v),
            Elements::I64(v) => size_of_val(*v),
            Elements::U64(v) => size_of_val(*v),
            Elements::U8(v) | Elements::Raw(_, v) => v.len(),
        }
    }

    fn write(&self, w: &mut dyn Write) -> io::Result<()> {
        match self {
            Elements::F32(v) => blocks(v, f32::to_le_bytes, w),
            Elements::F64(v) => blocks(v, f64::to_le_bytes, w),
            Elements::I32(v) => blocks(v, i32::to_le_bytes, w),
            Elements::I64(v) => blocks(v, i64::to_le_bytes, w),
            Elements::U64(v) => blocks(v, u64::to_le_bytes, w),
            Elements::U8(v) | Elements::Raw(_, v) => w.write_all(v),
        }
    }
}

/// Writes elements through a small buffer, so that saving a model does not double its memory.
fn blocks<T: Copy, const N: usize>(
    elements: &[T],
    to_bytes: fn(T) -> [u8; N],
    w: &mut dyn Write,
) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(N * 4096);
    for block in elements.chunks(4096) {
        buffer.clear();
        buffer.extend(block.iter().flat_map(|&x| to_bytes(x)));
        w.write_all(&buffer)?;
    }
    Ok(())
}

/// Writes a safetensors file, which is whole or absent: see [`write_atomic`].
///
/// The header lists the tensors in the order given; the data lie with the widest types first, so that
/// every tensor is aligned to its elements. The same tensors and metadata give the same bytes.
///
/// # Errors
/// [`ErrorKind::Io`] as for [`write_atomic`]. [`ErrorKind::Mismatch`] when a shape does not fit its
/// elements, a name or a metadata key appears twice or a tensor is called `__metadata__`;
/// [`ErrorKind::Limit`] when there are more tensors or dimensions than can be read back. In each
/// case nothing has been written.
pub fn write_safetensors(
    path: impl AsRef<Path>,
    tensors: &[NewTensor<'_>],
    metadata: &[(String, String)],
) -> Result<(), FormatError> {
    let path = path.as_ref();
    let plan = Plan::new(path, tensors, metadata)?;
    write_atomic(path, |w| plan.write(w))
}

/// The same file into a writer; `path` is for messages alone.
///
/// # Errors
/// As [`write_safetensors`].
pub fn write_safetensors_to(
    to: &mut dyn Write,
    path: &Path,
    tensors: &[NewTensor<'_>],
    metadata: &[(String, String)],
) -> Result<(), FormatError> {
    let plan = Plan::new(path, tensors, metadata)?;
    plan.write(to).map_err(|e| FormatError::io(path, "cannot write", &e))
}

/// The same file as bytes in memory.
///
/// # Errors
/// As [`write_safetensors`], without those of the disk.
pub fn to_bytes(
    tensors: &[NewTensor<'_>],
    metadata: &[(String, String)],
) -> Result<Vec<u8>, FormatError> {
    let file = Path::new("safetensors");
    let plan = Plan::new(file, tensors, metadata)?;
    let mut out = Vec::new();
    plan.write(&mut out).map_err(|e| FormatError::io(file, "cannot write", &e))?;
    Ok(out)
}

/// A header that is ready to be written, and the order of the data.
struct Plan<'a> {
    header: Vec<u8>,
    data: Vec<&'a NewTensor<'a>>,
}

impl<'a> Plan<'a> {
    fn new(
        file: &Path,
        tensors: &'a [NewTensor<'a>],
        metadata: &[(String, String)],
    ) -> Result<Self, FormatError> {
        check(file, tensors, metadata)?;
        let mut order: Vec<usize> = (0..tensors.len()).collect();
        // A stable sort: tensors of one type keep the order given.
        order.sort_by_key(|&i| std::cmp::Reverse(tensors[i].data.dtype().size()));
        let mut begins = vec![0; tensors.len()];
        let mut end = 0;
        for &i in &order {
            begins[i] = end;
            end += tensors[i].data.bytes();
        }
        let header = header(tensors, &begins, metadata);
        if header.len() as u64 > MAX_HEADER {
            let (expected, found) = (format!("at most {MAX_HEADER} bytes"), header.len());
            let found = found.to_string();
            return Err(FormatError::new(ErrorKind::Limit, file, "header", expected, found));
        }
        Ok(Plan { header, data: order.into_iter().map(|i| &tensors[i]).collect() })
    }

    fn write(&self, w: &mut dyn Write) -> io::Result<()> {
        w.write_all(&(self.header.len() as u64).to_le_bytes())?;
        w.write_all(&self.header)?;
        self.data.iter().try_for_each(|t| t.data.write(w))
    }
}

/// What is written must be readable again.
fn check(
    file: &Path,
    tensors: &[NewTensor<'_>],
    metadata: &[(String, String)],
) -> Result<(), FormatError> {
    let error = |kind, field: &str, expected: &str, found: &str| {
        Err(FormatError::new(kind, file, field, expected, found))
    };
    use ErrorKind::{Limit, Mismatch};
    if tensors.len().max(metadata.len()) > MAX_TENSORS {
        let (expected, found) = (format!("at most {MAX_TENSORS} entries"), tensors.len());
        return error(Limit, "tensors", &expected, &found.to_string());
    }
    let mut keys = HashSet::new();
    if let Some((key, _)) = metadata.iter().find(|(k, _)| !keys.insert(k.as_str())) {
        return error(Mismatch, METADATA, "each key once", &format!("a duplicate key {key}"));
    }
    let mut names = HashSet::new();
    for t in tensors {
        let field = tensor_field(t.name);
        if t.name == METADATA {
            return error(Mismatch, &field, "another name", "the one kept for the metadata");
        }
        if !names.insert(t.name) {
            return error(Mismatch, &field, "each name once", "a duplicate key");
        }
        if t.shape.len() > MAX_RANK {
            let found = t.shape.len().to_string();
            return error(Limit, &field, &format!("at most {MAX_RANK} dimensions"), &found);
        }
        // The reader multiplies in bits, and so that a 0 hides no overflow of the other dimensions.
        let mut others = t.shape.iter().filter(|&&d| d != 0);
        let bits = others.try_fold(8 * t.data.dtype().size(), |n, &d| n.checked_mul(d));
        let bytes = bits.map(|n| if t.shape.contains(&0) { 0 } else { n / 8 });
        if bytes != Some(t.data.bytes()) {
            let expected = format!("as many elements as shape {:?}", t.shape);
            let found = format!("{} bytes of {}", t.data.bytes(), t.data.dtype());
            return error(Mismatch, &field, &expected, &found);
        }
    }
    Ok(())
}

/// The header's JSON, padded with spaces so that the data begin at a multiple of 8.
fn header(tensors: &[NewTensor<'_>], begins: &[usize], metadata: &[(String, String)]) -> Vec<u8> {
    let mut out = String::from("{");
    if !metadata.is_empty() {
        out.push_str("\"__metadata__\":{");
        for (i, (key, value)) in metadata.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            out.push_str(&format!("{comma}{}:{}", quoted(key), quoted(value)));
        }
        out.push('}');
    }
    for (t, begin) in tensors.iter().zip(begins) {
        let comma = if out.len() == 1 { "" } else { "," };
        let (name, dtype, end) = (quoted(t.name), t.data.dtype(), begin + t.data.bytes());
        let dims: Vec<String> = t.shape.iter().map(usize::to_string).collect();
        let shape = dims.join(",");
        out.push_str(&format!(
            "{comma}{name}:{{\"dtype\":\"{dtype}\",\"shape\":[{shape}],\
             \"data_offsets\":[{begin},{end}]}}"
        ));
    }
    out.push('}');
    while !out.len().is_multiple_of(8) {
        out.push(' ');
    }
    out.into_bytes()
}

/// A JSON string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
