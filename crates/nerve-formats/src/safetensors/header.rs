//! The header: strict JSON, and the checks that make its offsets safe to use.

use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::dtype::{Dtype, Named, named};
use super::{MAX_RANK, MAX_TENSORS, METADATA};
use crate::error::{ErrorKind, FormatError, escape};

/// A checked header. Every range lies within the data and belongs to one tensor alone.
pub(super) struct Header {
    pub metadata: Vec<(String, String)>,
    pub tensors: Vec<Info>,
    pub by_name: Vec<u32>,
}

/// A tensor as the header describes it.
pub(super) struct Info {
    pub name: Box<str>,
    pub dtype: Dtype,
    pub shape: Box<[usize]>,
    pub range: Range<usize>,
}

/// The same before anything is checked.
struct Entry {
    name: Box<str>,
    dtype: Box<str>,
    shape: Box<[u64]>,
    offsets: [u64; 2],
}

/// The header begins behind the 8 bytes of its length.
const START: usize = 8;

/// How a message calls a tensor.
pub(super) fn tensor_field(name: &str) -> String {
    format!("tensor \"{}\"", escape(name, 80))
}

/// Parses and checks a header that is followed by `data_len` bytes of data.
pub(super) fn parse(file: &str, bytes: &[u8], data_len: u64) -> Result<Header, FormatError> {
    let malformed = |at: usize, expected: &str, found: &str| {
        FormatError::new(ErrorKind::Malformed, file, "header", expected, found)
            .at((START + at) as u64)
    };
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let at = e.valid_up_to();
        malformed(at, "UTF-8", &bytes.get(at).map_or(String::new(), |b| format!("byte {b:02x}")))
    })?;
    if !text.starts_with('{') {
        let found = text.chars().next().map_or("nothing".into(), |c| format!("{c:?}"));
        return Err(malformed(0, "'{' first", &found));
    }
    let text = text.trim_end_matches(' ');
    if !text.ends_with('}') {
        return Err(malformed(text.len() - 1, "'}' and nothing but spaces at the end", "more"));
    }
    let raw = Raw::parse(file, text)?;
    let metadata_keys: Vec<&str> = raw.metadata.iter().map(|(k, _)| k.as_str()).collect();
    if let Err(key) = sorted(&metadata_keys) {
        let found = format!("duplicate key \"{}\"", escape(key, 80));
        return Err(malformed(0, "each key of __metadata__ once", &found));
    }
    let tensors: Vec<Info> =
        raw.entries.into_iter().map(|e| check(file, e, data_len)).collect::<Result<_, _>>()?;
    let names: Vec<&str> = tensors.iter().map(|t| &*t.name).collect();
    let by_name = sorted(&names).map_err(|name| {
        let found = "a duplicate key";
        FormatError::new(ErrorKind::Malformed, file, tensor_field(name), "each name once", found)
    })?;
    check_cover(file, &tensors, data_len)?;
    Ok(Header { metadata: raw.metadata, tensors, by_name })
}

/// The indices of `names` in their sorted order, or a name that appears twice.
fn sorted<'a>(names: &[&'a str]) -> Result<Vec<u32>, &'a str> {
    let mut order: Vec<u32> = (0..names.len() as u32).collect();
    order.sort_unstable_by_key(|&i| names[i as usize]);
    match order.windows(2).find(|w| names[w[0] as usize] == names[w[1] as usize]) {
        Some(w) => Err(names[w[0] as usize]),
        None => Ok(order),
    }
}

/// Checks one tensor by itself: its type, its range, and that its shape fills the range exactly.
fn check(file: &str, entry: Entry, data_len: u64) -> Result<Info, FormatError> {
    let error = |kind, expected: &str, found: String| {
        Err(FormatError::new(kind, file, tensor_field(&entry.name), expected, found))
    };
    use ErrorKind::{Malformed, Unsupported};
    let (bits, dtype) = match named(&entry.dtype) {
        Named::Known(dtype) => (8 * dtype.size() as u64, Some(dtype)),
        Named::Unsupported { bits } => (bits, None),
        Named::Unknown => {
            let found = format!("unknown dtype \"{}\"", escape(&entry.dtype, 40));
            return error(Malformed, "a dtype such as F32", found);
        }
    };
    let [begin, end] = entry.offsets;
    if begin > end || end > data_len {
        let expected = format!("data_offsets in order and up to {data_len}");
        return error(Malformed, &expected, format!("[{begin}, {end}]"));
    }
    let Some(total_bits) = total_bits(&entry.shape, bits) else {
        let found = format!("an overflow: {} of shape {:?}", entry.dtype, entry.shape);
        return error(Malformed, "a size below 2^64 bits", found);
    };
    if total_bits % 8 != 0 {
        let found = format!("misaligned: {} of shape {:?}", entry.dtype, entry.shape);
        return error(Malformed, "a whole number of bytes", found);
    }
    if total_bits / 8 != end - begin {
        let (dtype, shape, bytes) = (&entry.dtype, &entry.shape, total_bits / 8);
        let expected = format!("{bytes} bytes ({dtype} of shape {shape:?})");
        return error(Malformed, &expected, format!("{} in [{begin}, {end}]", end - begin));
    }
    let Some(dtype) = dtype else {
        let names: Vec<&str> = Dtype::all().map(Dtype::name).collect();
        let expected = format!("one of {}", names.join(", "));
        return error(Unsupported, &expected, format!("unsupported dtype {}", entry.dtype));
    };
    // The sizes fit: what they describe has been compared with bytes that are there or, where a
    // dimension is 0, with each other.
    let shape: Result<Box<[usize]>, _> = entry.shape.iter().map(|&d| usize::try_from(d)).collect();
    match (shape, usize::try_from(begin), usize::try_from(end)) {
        (Ok(shape), Ok(begin), Ok(end)) => {
            Ok(Info { name: entry.name, dtype, shape, range: begin..end })
        }
        _ => error(ErrorKind::Limit, "sizes that fit this machine", "larger ones".into()),
    }
}

/// Bits of a tensor; `None` when they, or those of the dimensions other than 0 (from which strides are
/// made), overflow.
fn total_bits(shape: &[u64], bits: u64) -> Option<u64> {
    let product = shape.iter().filter(|&&d| d != 0).try_fold(bits, |n, &d| n.checked_mul(d))?;
    Some(if shape.contains(&0) { 0 } else { product })
}

/// Checks that the tensors cover the data: no byte twice, none left out. A byte that belongs to no
/// tensor could be part of another file format, and one that belongs to many multiplies memory.
fn check_cover(file: &str, tensors: &[Info], data_len: u64) -> Result<(), FormatError> {
    let mut order: Vec<&Info> = tensors.iter().collect();
    order.sort_by_key(|t| (t.range.start, t.range.end));
    let mut covered = 0;
    for t in order {
        if t.range.start != covered {
            let what = if t.range.start > covered { "a hole before" } else { "an overlap at" };
            let expected = format!("data that begin at {covered}, where the tensor before ends");
            let found = format!("{what} {}", t.range.start);
            let field = tensor_field(&t.name);
            return Err(FormatError::new(ErrorKind::Malformed, file, field, expected, found));
        }
        covered = t.range.end;
    }
    if covered as u64 != data_len {
        let expected = format!("{covered} bytes, as the tensors need");
        let found = format!("{data_len}");
        return Err(FormatError::new(ErrorKind::Malformed, file, "data", expected, found));
    }
    Ok(())
}

/// The header's contents as JSON has them.
#[derive(Default)]
struct Raw {
    metadata: Vec<(String, String)>,
    entries: Vec<Entry>,
    /// What is being read, for the message should it fail.
    current: String,
    seen_metadata: bool,
    too_many: bool,
}

impl Raw {
    fn parse(file: &str, text: &str) -> Result<Raw, FormatError> {
        let mut raw = Raw::default();
        let mut json = serde_json::Deserializer::from_str(text);
        let result = (&mut raw).deserialize(&mut json).and_then(|()| json.end());
        let Err(e) = result else { return Ok(raw) };
        let at = START + byte_of(text, &e);
        let (kind, expected) = match raw.too_many {
            true => (ErrorKind::Limit, format!("at most {MAX_TENSORS} entries")),
            false => (ErrorKind::Malformed, "a JSON header as the format defines it".into()),
        };
        let field = match raw.current.as_str() {
            "" => "header".to_owned(),
            METADATA => METADATA.to_owned(),
            name => tensor_field(name),
        };
        Err(FormatError::new(kind, file, field, expected, message(&e)).at(at as u64))
    }
}

/// serde_json's own words, without the line and column: the header is one line, and we say the byte.
fn message(e: &serde_json::Error) -> String {
    let text = e.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(m, _)| m.to_owned())
}

/// Where in `text` an error was noticed.
fn byte_of(text: &str, e: &serde_json::Error) -> usize {
    let lines = text.split_inclusive('\n').take(e.line().saturating_sub(1));
    lines.map(str::len).sum::<usize>() + e.column().saturating_sub(1)
}

impl<'de> DeserializeSeed<'de> for &mut Raw {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &mut Raw {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            self.current = key;
            if self.current == METADATA {
                // A map type of serde would keep the last of two, in silence.
                if std::mem::replace(&mut self.seen_metadata, true) {
                    return Err(A::Error::custom("a duplicate key"));
                }
                map.next_value_seed(MetadataSeed(&mut self.metadata, &mut self.too_many))?;
                self.current.clear();
                continue;
            }
            if self.entries.len() == MAX_TENSORS {
                self.too_many = true;
                return Err(A::Error::custom("more"));
            }
            let Body { dtype, shape, offsets } = map.next_value_seed(BodySeed)?;
            let name = std::mem::take(&mut self.current).into();
            self.entries.push(Entry { name, dtype, shape, offsets });
        }
        Ok(())
    }
}

/// Reads `{"key": "text"}` and nothing else.
struct MetadataSeed<'a>(&'a mut Vec<(String, String)>, &'a mut bool);

impl<'de> DeserializeSeed<'de> for MetadataSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MetadataSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(pair) = map.next_entry::<String, String>()? {
            if self.0.len() == MAX_TENSORS {
                *self.1 = true;
                return Err(A::Error::custom("more"));
            }
            self.0.push(pair);
        }
        Ok(())
    }
}

struct Body {
    dtype: Box<str>,
    shape: Box<[u64]>,
    offsets: [u64; 2],
}

/// Reads `{"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}` and nothing else.
struct BodySeed;

impl<'de> DeserializeSeed<'de> for BodySeed {
    type Value = Body;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Body, D::Error> {
        d.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for BodySeed {
    type Value = Body;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of dtype, shape and data_offsets")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Body, A::Error> {
        const KEYS: &[&str] = &["dtype", "shape", "data_offsets"];
        let (mut dtype, mut shape, mut offsets) = (None::<Box<str>>, None, None::<[u64; 2]>);
        while let Some(key) = map.next_key::<String>()? {
            let again = match key.as_str() {
                "dtype" => dtype.replace(map.next_value()?).is_some(),
                "shape" => shape.replace(map.next_value_seed(ShapeSeed)?).is_some(),
                "data_offsets" => offsets.replace(map.next_value()?).is_some(),
                _ => return Err(A::Error::unknown_field(&escape(&key, 40), KEYS)),
            };
            if again {
                return Err(A::Error::custom(format_args!("a duplicate key {key}")));
            }
        }
        Ok(Body {
            dtype: dtype.ok_or_else(|| A::Error::missing_field("dtype"))?,
            shape: shape.ok_or_else(|| A::Error::missing_field("shape"))?,
            offsets: offsets.ok_or_else(|| A::Error::missing_field("data_offsets"))?,
        })
    }
}

/// Reads a list of at most [`MAX_RANK`] numbers.
struct ShapeSeed;

impl<'de> DeserializeSeed<'de> for ShapeSeed {
    type Value = Box<[u64]>;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Box<[u64]>, D::Error> {
        d.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ShapeSeed {
    type Value = Box<[u64]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of dimensions")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Box<[u64]>, A::Error> {
        let mut shape = Vec::new();
        while let Some(dim) = seq.next_element()? {
            if shape.len() == MAX_RANK {
                return Err(A::Error::custom(format_args!("more than {MAX_RANK} dimensions")));
            }
            shape.push(dim);
        }
        Ok(shape.into())
    }
}
