//! Reading event files, those of others too.

use super::{Histogram, masked};
use crate::protobuf::Fields;
use crate::{FormatError, Reader};

/// A record.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// When: seconds since 1970.
    pub time: f64,
    /// At which step.
    pub step: u64,
    /// What.
    pub content: Content,
}

/// What a record holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// The first record: `brain.Event:2`.
    Version(String),
    /// Values with their tags.
    Summary(Vec<(String, Value)>),
    /// The training goes on with this step.
    Restart,
    /// Something else, such as a graph.
    Other,
}

/// A value with a tag.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number.
    Scalar(f32),
    /// A distribution.
    Histogram(Histogram),
    /// A picture.
    Image {
        /// In pixels.
        height: u64,
        /// In pixels.
        width: u64,
        /// 1 to 4.
        channels: u64,
        /// The PNG file.
        file: Vec<u8>,
    },
    /// Texts.
    Text(Vec<String>),
    /// What a plugin keeps beside its values, in its own encoding.
    Plugin {
        /// The plugin.
        name: String,
        /// Its data.
        content: Vec<u8>,
    },
    /// Something else, such as sound.
    Other,
}

/// All records of a file. A last one that is not whole is left out: its writer is at it.
///
/// # Errors
/// A checksum is wrong, or a record is no event.
pub fn read(file: &mut Reader<'_>) -> Result<Vec<Record>, FormatError> {
    let mut records = Vec::new();
    // A plain file knows how much is left; what is compressed is none of TensorBoard's.
    let left = |file: &Reader<'_>| file.remaining().unwrap_or(0);
    while left(file) >= 12 {
        let head: [u8; 8] = file.array("length")?;
        check(file, "length", &head)?;
        let length = u64::from_le_bytes(head);
        if length.checked_add(4).is_none_or(|all| all > left(file)) {
            break;
        }
        let payload = file.bytes("record", length)?;
        check(file, "record", &payload)?;
        let record = event(&payload);
        records.push(record.ok_or_else(|| file.malformed("record", "an event", "other bytes"))?);
    }
    Ok(records)
}

/// Whether a file begins with a record: the checksum of its length tells.
pub(crate) fn is_record(start: &[u8]) -> bool {
    let Some((length, rest)) = start.split_first_chunk::<8>() else { return false };
    rest.first_chunk().is_some_and(|sum| u32::from_le_bytes(*sum) == masked(length))
}

fn check(file: &mut Reader<'_>, field: &str, bytes: &[u8]) -> Result<(), FormatError> {
    let (sum, found) = (masked(bytes), file.u32_le(format!("checksum of a {field}"))?);
    match sum == found {
        true => Ok(()),
        false => Err(file.malformed(
            format!("checksum of a {field}"),
            format!("{sum:#010x}"),
            format!("{found:#010x}"),
        )),
    }
}

fn event(bytes: &[u8]) -> Option<Record> {
    let mut record = Record { time: 0.0, step: 0, content: Content::Other };
    for field in Fields(bytes) {
        match field? {
            (1, time) => record.time = time.double()?,
            (2, step) => record.step = step.int()?,
            (3, version) => record.content = Content::Version(version.text()?),
            (5, summary) => record.content = Content::Summary(values(summary.bytes()?)?),
            (7, log) => {
                let status = Fields(log.bytes()?).flatten().find(|(number, _)| *number == 1);
                if status.is_some_and(|(_, status)| status.int() == Some(1)) {
                    record.content = Content::Restart;
                }
            }
            _ => {}
        }
    }
    Some(record)
}

fn values(bytes: &[u8]) -> Option<Vec<(String, Value)>> {
    let mut values = Vec::new();
    for field in Fields(bytes) {
        if let (1, value) = field? {
            values.push(value_of(value.bytes()?)?);
        }
    }
    Some(values)
}

fn value_of(bytes: &[u8]) -> Option<(String, Value)> {
    let (mut tag, mut value) = (String::new(), Value::Other);
    let (mut texts, mut plugin) = (None, None);
    for field in Fields(bytes) {
        match field? {
            (1, text) => tag = text.text()?,
            (2, number) => value = Value::Scalar(number.float()?),
            (4, image) => value = image_of(image.bytes()?)?,
            (5, histogram) => value = Value::Histogram(histogram_of(histogram.bytes()?)?),
            (8, tensor) => texts = texts_of(tensor.bytes()?),
            (9, metadata) => plugin = plugin_of(metadata.bytes()?),
            _ => {}
        }
    }
    match (plugin, texts) {
        (Some((name, _)), Some(texts)) if name == "text" => value = Value::Text(texts),
        (Some((name, content)), _) if value == Value::Other => {
            value = Value::Plugin { name, content };
        }
        _ => {}
    }
    Some((tag, value))
}

fn image_of(bytes: &[u8]) -> Option<Value> {
    let (mut sizes, mut file) = ([0; 3], Vec::new());
    for field in Fields(bytes) {
        match field? {
            (number @ 1..=3, size) => sizes[number as usize - 1] = size.int()?,
            (4, bytes) => file = bytes.bytes()?.to_vec(),
            _ => {}
        }
    }
    let [height, width, channels] = sizes;
    Some(Value::Image { height, width, channels, file })
}

fn histogram_of(bytes: &[u8]) -> Option<Histogram> {
    let mut histogram = Histogram::default();
    for field in Fields(bytes) {
        match field? {
            (1, min) => histogram.min = min.double()?,
            (2, max) => histogram.max = max.double()?,
            (3, count) => histogram.count = count.double()?,
            (4, sum) => histogram.sum = sum.double()?,
            (5, sum) => histogram.sum_squares = sum.double()?,
            (6, limits) => histogram.limits.extend(limits.doubles()?),
            (7, counts) => histogram.counts.extend(counts.doubles()?),
            _ => {}
        }
    }
    Some(histogram)
}

/// The texts of a tensor, if it is one of texts.
fn texts_of(bytes: &[u8]) -> Option<Vec<String>> {
    let mut texts = Vec::new();
    for field in Fields(bytes) {
        if let (8, text) = field? {
            texts.push(text.text()?);
        }
    }
    (!texts.is_empty()).then_some(texts)
}

fn plugin_of(bytes: &[u8]) -> Option<(String, Vec<u8>)> {
    let (mut name, mut content) = (String::new(), Vec::new());
    for field in Fields(bytes) {
        let (1, data) = field? else { continue };
        for field in Fields(data.bytes()?) {
            match field? {
                (1, text) => name = text.text()?,
                (2, bytes) => content = bytes.bytes()?.to_vec(),
                _ => {}
            }
        }
    }
    Some((name, content))
}
