//! safetensors: named tensors in one file, which loads without running any code.
//!
//! ```text
//! 8 bytes   N, the length of the header, little-endian
//! N bytes   JSON: {"__metadata__": {"key": "text"},
//!                  "fc1.weight": {"dtype": "F32", "shape": [128, 784], "data_offsets": [0, 401408]}}
//! ...       the tensors' bytes, row-major, little-endian, without gaps
//! ```
//!
//! The definition is that of the reference implementation
//! (<https://github.com/huggingface/safetensors>). What it leaves open is read strictly here: a key
//! that is not defined, a key that appears twice, or a byte that belongs to no tensor is an error.

mod compare;
mod convert;
mod dtype;
mod header;
mod write;

pub use compare::{Mismatch, compare};
pub(crate) use convert::f16_to_f32;
pub use dtype::Dtype;
pub use write::{Elements, NewTensor, to_bytes, write_safetensors, write_safetensors_to};

use std::fmt;
use std::ops::Range;
use std::path::Path;

use crate::error::{ErrorKind, FormatError, escape};
use crate::kind::Kind;
use crate::limits::Limits;
use crate::reader::Reader;
use header::Info;

/// Longest header that is read or written, in bytes; the reference has the same limit.
pub const MAX_HEADER: u64 = 100_000_000;

/// Most tensors, and most metadata entries, in one file. The largest models in use have about
/// 100,000 tensors in all their files together; a million empty ones would fill the memory with names.
pub const MAX_TENSORS: usize = 1 << 18;

/// Most dimensions of a tensor; NumPy has the same limit.
pub const MAX_RANK: usize = 64;

/// The key of the header under which the metadata stand; no tensor can have this name.
const METADATA: &str = "__metadata__";

/// A safetensors file in memory, checked as a whole: every tensor's bytes are there.
///
/// ```
/// use nerve_formats::safetensors::{Elements, NewTensor, SafeTensors, to_bytes};
///
/// let weight = NewTensor { name: "fc.weight", shape: &[1, 2], data: Elements::F32(&[0.5, -2.0]) };
/// let bytes = to_bytes(&[weight], &[("made by".into(), "nerve".into())]).unwrap();
/// let file = SafeTensors::from_bytes("model", &bytes).unwrap();
/// assert_eq!(file.tensor("fc.weight").unwrap().shape, [1, 2]);
/// assert_eq!(file.tensor("fc.weight").unwrap().to_f32().unwrap(), [0.5, -2.0]);
/// assert_eq!(file.metadata_value("made by"), Some("nerve"));
/// ```
pub struct SafeTensors {
    file: String,
    metadata: Vec<(String, String)>,
    /// In the order of the header.
    tensors: Vec<Info>,
    /// Indices into `tensors`, sorted by name.
    by_name: Vec<u32>,
    data: Vec<u8>,
}

/// What the header of a safetensors file says: all but the elements, which are not read.
///
/// ```
/// # use nerve_formats::safetensors::{Contents, Elements, NewTensor, write_safetensors};
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("model.safetensors");
/// # let tensor = NewTensor { name: "fc.weight", shape: &[1, 2], data: Elements::F32(&[0.5, -2.0]) };
/// # write_safetensors(&path, &[tensor], &[])?;
/// let contents = Contents::read(&path)?;
/// assert_eq!(contents.tensors[0].name, "fc.weight");
/// assert_eq!((contents.tensors[0].elements(), contents.data_bytes), (2, 8));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Contents {
    /// The metadata, in the order of the file.
    pub metadata: Vec<(String, String)>,
    /// The tensors, in the order of the header.
    pub tensors: Vec<Listed>,
    /// Bytes of all elements together.
    pub data_bytes: u64,
}

/// A tensor as a header describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// Its name, as the file has it: any text at all, never to be used as a path.
    pub name: String,
    /// The type of its elements.
    pub dtype: Dtype,
    /// Its dimensions, the slowest first; empty for a scalar.
    pub shape: Vec<usize>,
    /// Which bytes behind the header are its elements.
    pub range: Range<usize>,
}

impl Listed {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.range.len() / self.dtype.size()
    }
}

impl Contents {
    /// Reads the header of a file of any size, and checks it as [`SafeTensors::open`] does.
    ///
    /// # Errors
    /// As [`SafeTensors::open`].
    pub fn read(path: impl AsRef<Path>) -> Result<Contents, FormatError> {
        let path = path.as_ref();
        let limits = Limits { max_bytes: u64::MAX, ..Limits::default() };
        let mut reader = Reader::open(path, &limits)?;
        let (header, data_bytes) = head(&mut reader).map_err(|error| known(path, error))?;
        let listed = |info: Info| Listed {
            name: info.name.into(),
            dtype: info.dtype,
            shape: info.shape.into(),
            range: info.range,
        };
        let tensors = header.tensors.into_iter().map(listed).collect();
        Ok(Contents { metadata: header.metadata, tensors, data_bytes })
    }

    /// The metadata's text under `key`.
    pub fn metadata_value(&self, key: &str) -> Option<&str> {
        self.metadata.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }
}

/// One tensor of a [`SafeTensors`] file.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct TensorView<'a> {
    /// Its name, as the file has it: any text at all, never to be used as a path.
    pub name: &'a str,
    /// The type of its elements.
    pub dtype: Dtype,
    /// Its dimensions, the slowest first; empty for a scalar.
    pub shape: &'a [usize],
    /// Its elements, row-major and little-endian; as many bytes as shape and type say.
    pub data: &'a [u8],
    /// The first of these bytes, counted from the end of the header.
    pub begin: usize,
    file: &'a str,
}

impl SafeTensors {
    /// Reads a file of at most `limits.max_bytes` whole into memory.
    ///
    /// # Errors
    /// A file that cannot be opened, is too large, or breaks a rule of the format; each names the
    /// byte or the tensor, what was expected and what was found. Values that are not finite are no
    /// error: see [`SafeTensors::require_finite`].
    pub fn open(path: impl AsRef<Path>, limits: &Limits) -> Result<SafeTensors, FormatError> {
        let path = path.as_ref();
        parse(Reader::open(path, limits)?).map_err(|error| known(path, error))
    }

    /// Reads a file from memory; `name` stands for it in messages.
    ///
    /// # Errors
    /// As [`SafeTensors::open`].
    pub fn from_bytes(name: impl AsRef<Path>, bytes: &[u8]) -> Result<SafeTensors, FormatError> {
        let name = name.as_ref();
        parse(Reader::from_slice(name, bytes)).map_err(|error| match Kind::of_bytes(bytes, b"") {
            Kind::Unread(other) => other.refuse(name),
            _ => error,
        })
    }

    /// The file's name as messages show it.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there are no tensors.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// The names, in the order of the file's header.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.tensors.iter().map(|t| &*t.name)
    }

    /// The tensors, in the order of the file's header.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = TensorView<'_>> {
        self.tensors.iter().map(|t| self.view(t))
    }

    /// The tensor of that name, if there is one.
    pub fn get(&self, name: &str) -> Option<TensorView<'_>> {
        let found = self.by_name.binary_search_by_key(&name, |&i| &*self.tensors[i as usize].name);
        found.ok().map(|at| self.view(&self.tensors[self.by_name[at] as usize]))
    }

    /// The tensor of that name.
    ///
    /// # Errors
    /// [`ErrorKind::Mismatch`] when there is none. To report all that is missing at once, use
    /// [`SafeTensors::expect`].
    pub fn tensor(&self, name: &str) -> Result<TensorView<'_>, FormatError> {
        self.get(name).ok_or_else(|| {
            let expected = format!("a tensor \"{}\"", escape(name, 64));
            let found = format!("none among {}", self.len());
            FormatError::new(ErrorKind::Mismatch, &self.file, "tensors", expected, found)
        })
    }

    /// The metadata, in the order of the file.
    pub fn metadata(&self) -> &[(String, String)] {
        &self.metadata
    }

    /// The metadata's text under `key`.
    pub fn metadata_value(&self, key: &str) -> Option<&str> {
        self.metadata.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// Checks that the file holds exactly the tensors of a model: name, shape, type.
    ///
    /// # Errors
    /// [`ErrorKind::Mismatch`] that lists everything missing, unexpected or different; for the list as
    /// values, see [`compare`].
    pub fn expect(&self, expected: &[(String, Vec<usize>, Dtype)]) -> Result<(), FormatError> {
        let mismatches = compare(expected, self);
        if mismatches.is_empty() {
            return Ok(());
        }
        let list: Vec<String> = mismatches.iter().take(20).map(Mismatch::to_string).collect();
        let rest = match mismatches.len() - list.len() {
            0 => String::new(),
            n => format!("; and {n} more"),
        };
        let expected = format!("the {} tensors of the model", expected.len());
        let found = format!("{} differences: {}{rest}", mismatches.len(), list.join("; "));
        Err(FormatError::new(ErrorKind::Mismatch, &self.file, "tensors", expected, found))
    }

    /// The index of the first element of the tensor `name` that is infinite or not a number, in
    /// row-major order; `None` for tensors of integers.
    ///
    /// # Errors
    /// As [`SafeTensors::tensor`].
    pub fn first_non_finite(&self, name: &str) -> Result<Option<usize>, FormatError> {
        Ok(self.tensor(name)?.first_non_finite())
    }

    /// Checks that every floating-point element of every tensor is finite.
    ///
    /// # Errors
    /// [`ErrorKind::Mismatch`], naming the first tensor and the first element that is not.
    pub fn require_finite(&self) -> Result<(), FormatError> {
        for tensor in self.iter() {
            if let Some(index) = tensor.first_non_finite() {
                let found = format!("infinity or NaN at element {index}");
                return Err(tensor.mismatch("finite values", found));
            }
        }
        Ok(())
    }

    fn view<'a>(&'a self, info: &'a Info) -> TensorView<'a> {
        let Range { start, end } = info.range;
        TensorView {
            name: &info.name,
            dtype: info.dtype,
            shape: &info.shape,
            data: &self.data[start..end],
            begin: start,
            file: &self.file,
        }
    }
}

impl TensorView<'_> {
    /// Number of elements: the product of the shape, 1 for a scalar.
    pub fn elements(&self) -> usize {
        self.data.len() / self.dtype.size()
    }

    fn mismatch(&self, expected: impl AsRef<str>, found: impl AsRef<str>) -> FormatError {
        let field = header::tensor_field(self.name);
        FormatError::new(ErrorKind::Mismatch, self.file, field, expected, found)
    }
}

impl fmt::Debug for TensorView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {} {:?}", self.name, self.dtype, self.shape)
    }
}

impl fmt::Debug for SafeTensors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SafeTensors({:?}, ", self.file)?;
        f.debug_list().entries(self.iter()).finish()?;
        f.write_str(")")
    }
}

fn parse(mut r: Reader<'_>) -> Result<SafeTensors, FormatError> {
    let (header, left) = head(&mut r)?;
    let header::Header { metadata, tensors, by_name } = header;
    let data = r.bytes("data", left)?;
    Ok(SafeTensors { file: r.file().to_owned(), metadata, tensors, by_name, data })
}

/// The header, and how many bytes of data follow.
fn head(r: &mut Reader<'_>) -> Result<(header::Header, u64), FormatError> {
    let length = r.u64_le("header length")?;
    if length > MAX_HEADER {
        let expected = format!("at most {MAX_HEADER}");
        let found = length.to_string();
        return Err(
            FormatError::new(ErrorKind::Limit, r.file(), "header length", expected, found).at(0)
        );
    }
    let bytes = r.bytes("header", length)?;
    let left = r.remaining().unwrap_or(0);
    Ok((header::parse(r.file(), &bytes, left)?, left))
}

/// The error about a file that is none of safetensors: what it is, if that is known.
fn known(path: &Path, error: FormatError) -> FormatError {
    match (error.kind(), Kind::of(path)) {
        (ErrorKind::Io, _) => error,
        (_, Ok(Kind::Unread(other))) => other.refuse(path),
        _ => error,
    }
}
