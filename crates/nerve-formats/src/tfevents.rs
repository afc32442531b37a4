//! Event files of TensorBoard: `events.out.tfevents.*`.
//!
//! A file is a row of records (TFRecord), each a length, a payload and the checksums of both; a
//! payload is an `Event` of Protocol Buffers: a time, a step, and what happened. TensorBoard shows all
//! such files under its folder, also while they grow.
//!
//! | record | written by | TensorBoard's tab |
//! |---|---|---|
//! | number on a curve | [`Writer::scalar`] | Time series, Scalars |
//! | distribution | [`Writer::histogram`] | Histograms, Distributions |
//! | picture | [`Writer::image`] | Images |
//! | text | [`Writer::text`] | Text |
//! | settings of a training, and its end | [`Writer::hparams`], [`Writer::session_end`] | HParams |
//! | a training goes on from an earlier step | [`Writer::restart`] | later points are dropped |
//!
//! Sources: `tensorflow/core/util/event.proto`, `framework/summary.proto`, `lib/io/record_writer.h` of
//! TensorFlow; `plugins/hparams/plugin_data.proto` of TensorBoard.
//!
//! ```
//! use nerve_formats::tfevents::{self, Content, Value};
//! let mut file = tfevents::Writer::begin(Vec::new(), 1_763_779_200.0)?;
//! file.scalar(1_763_779_201.5, 120, "loss/train", 0.5)?;
//! let bytes = file.into_inner();
//! let records = tfevents::read(&mut nerve_formats::Reader::from_slice("demo", &bytes))?;
//! assert_eq!(records[0].content, Content::Version("brain.Event:2".into()));
//! assert_eq!(records[1].step, 120);
//! let value = Value::Scalar(0.5);
//! assert_eq!(records[1].content, Content::Summary(vec![("loss/train".into(), value)]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod crc;
mod read;

pub use crc::{crc32c, masked};
pub(crate) use read::is_record;
pub use read::{Content, Record, Value, read};

use crate::protobuf::Message;
use std::io::{self, Write};

/// A setting of a training.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// Yes or no.
    Bool(bool),
}

/// How a training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionStatus {
    /// It came to its end.
    Success,
    /// It did not.
    Failure,
    /// It has not ended.
    Running,
}

/// How numbers are distributed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// The lowest number.
    pub min: f64,
    /// The highest.
    pub max: f64,
    /// How many there are.
    pub count: f64,
    /// Their sum.
    pub sum: f64,
    /// The sum of their squares.
    pub sum_squares: f64,
    /// The right borders of the bins, ascending.
    pub limits: Vec<f64>,
    /// How many numbers fell into each bin.
    pub counts: Vec<f64>,
}

impl Histogram {
    /// From bins: their borders, one more than counts. Where within its bin a number lies is not
    /// known: the sums take it for the middle.
    pub fn of_bins(edges: &[f64], counts: &[u64]) -> Histogram {
        let middles = edges.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0);
        let weighted = || middles.clone().zip(counts).map(|(x, &n)| (x, n as f64));
        Histogram {
            min: edges.first().copied().unwrap_or(0.0),
            max: edges.last().copied().unwrap_or(0.0),
            count: counts.iter().sum::<u64>() as f64,
            sum: weighted().map(|(x, n)| x * n).sum(),
            sum_squares: weighted().map(|(x, n)| x * x * n).sum(),
            limits: edges.get(1..).unwrap_or_default().to_vec(),
            counts: counts.iter().map(|&n| n as f64).collect(),
        }
    }
}

/// Writes an event file. A record is written in one piece, and a reader waits for the rest of one that
/// is not whole yet, so a file can be read while it grows. Nothing is flushed but by
/// [`flush`](Writer::flush).
#[derive(Debug)]
pub struct Writer<W: Write> {
    out: W,
    written: u64,
}

impl<W: Write> Writer<W> {
    /// Begins a file. Times are seconds since 1970 in every record.
    ///
    /// # Errors
    /// Those of `out`, as everywhere here.
    pub fn begin(out: W, time: f64) -> io::Result<Self> {
        let mut writer = Writer::append(out, 0);
        let mut event = Message::default();
        event.double(1, time).text(3, "brain.Event:2");
        writer.record(&event)?;
        Ok(writer)
    }

    /// Goes on behind `written` bytes of a file that was begun before.
    pub fn append(out: W, written: u64) -> Self {
        Writer { out, written }
    }

    /// How many bytes the file has, those that are not flushed yet among them.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// A point of a curve; kept in single precision, as TensorBoard does.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn scalar(&mut self, time: f64, step: u64, tag: &str, value: f64) -> io::Result<()> {
        let mut message = Message::default();
        message.text(1, tag).float(2, value as f32);
        self.value(time, step, &message)
    }

    /// A distribution. There are as many limits as counts, and none of the numbers is NaN or
    /// infinite: TensorBoard refuses those.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn histogram(
        &mut self,
        time: f64,
        step: u64,
        tag: &str,
        histogram: &Histogram,
    ) -> io::Result<()> {
        let Histogram { min, max, count, sum, sum_squares, limits, counts } = histogram;
        let mut histo = Message::default();
        for (field, number) in (1..).zip([min, max, count, sum, sum_squares]) {
            histo.double(field, *number);
        }
        histo.doubles(6, limits).doubles(7, counts);
        let mut message = Message::default();
        message.text(1, tag).message(5, &histo);
        self.value(time, step, &message)
    }

    /// A picture: a PNG file of `size` [height, width] with 1 to 4 channels.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn image(
        &mut self,
        time: f64,
        step: u64,
        tag: &str,
        png: &[u8],
        [height, width]: [u32; 2],
        channels: u8,
    ) -> io::Result<()> {
        let mut image = Message::default();
        image.int(1, height.into()).int(2, width.into()).int(3, channels.into()).bytes(4, png);
        let mut message = Message::default();
        message.text(1, tag).message(4, &image);
        self.value(time, step, &message)
    }

    /// A text, Markdown.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn text(&mut self, time: f64, step: u64, tag: &str, text: &str) -> io::Result<()> {
        let (mut size, mut shape, mut tensor) = Default::default();
        one(&mut size, &mut shape, 1);
        Message::int(&mut tensor, 1, 7).message(2, &shape).text(8, text);
        let mut message = Message::default();
        message.text(1, tag).message(8, &tensor).message(9, &plugin("text", &[], 2));
        self.value(time, step, &message)
    }

    /// The settings of a training, for comparing several. Stands before its scalars.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn hparams(&mut self, time: f64, settings: &[(String, Setting)]) -> io::Result<()> {
        let mut start = Message::default();
        for (name, setting) in settings {
            let mut value = Message::default();
            match setting {
                Setting::Number(number) => value.double(2, *number),
                Setting::Text(text) => value.text(3, text),
                Setting::Bool(yes) => value.int(4, (*yes).into()),
            };
            let mut entry = Message::default();
            entry.text(1, name).message(2, &value);
            start.message(1, &entry);
        }
        start.double(5, time);
        let mut data = Message::default();
        data.int(1, 0).message(3, &start);
        self.session(time, "_hparams_/session_start_info", &data)
    }

    /// The end of a training whose settings were written.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn session_end(&mut self, time: f64, status: SessionStatus) -> io::Result<()> {
        let status = match status {
            SessionStatus::Success => 1,
            SessionStatus::Failure => 2,
            SessionStatus::Running => 3,
        };
        let (mut end, mut data): (Message, Message) = Default::default();
        end.int(1, status).double(2, time);
        data.int(1, 0).message(4, &end);
        self.session(time, "_hparams_/session_end_info", &data)
    }

    /// The training goes on with this step, from a state of before: points of this step and of later
    /// ones that were written before no longer count, and TensorBoard drops them.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn restart(&mut self, time: f64, step: u64) -> io::Result<()> {
        let (mut log, mut event): (Message, Message) = Default::default();
        log.int(1, 1); // START
        event.double(1, time).int(2, step).message(7, &log);
        self.record(&event)
    }

    /// Hands on what was written.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// What was written to.
    pub fn into_inner(self) -> W {
        self.out
    }

    /// What was written to, for what only it can do: syncing a file.
    pub fn get_ref(&self) -> &W {
        &self.out
    }

    fn session(&mut self, time: f64, tag: &str, data: &Message) -> io::Result<()> {
        let (mut size, mut shape, mut tensor) = Default::default();
        one(&mut size, &mut shape, 0);
        Message::int(&mut tensor, 1, 1).message(2, &shape);
        let mut message = Message::default();
        message.text(1, tag).message(8, &tensor).message(9, &plugin("hparams", data.as_bytes(), 0));
        self.value(time, 0, &message)
    }

    /// An event with one summary value.
    fn value(&mut self, time: f64, step: u64, value: &Message) -> io::Result<()> {
        let (mut summary, mut event): (Message, Message) = Default::default();
        summary.message(1, value);
        event.double(1, time).int(2, step).message(5, &summary);
        self.record(&event)
    }

    fn record(&mut self, event: &Message) -> io::Result<()> {
        let payload = event.as_bytes();
        let length = (payload.len() as u64).to_le_bytes();
        let mut record = Vec::with_capacity(payload.len() + 16);
        record.extend(length);
        record.extend(masked(&length).to_le_bytes());
        record.extend(payload);
        record.extend(masked(payload).to_le_bytes());
        self.out.write_all(&record)?;
        self.written += record.len() as u64;
        Ok(())
    }
}

/// The shape of a tensor with one dimension.
fn one(size: &mut Message, shape: &mut Message, length: u64) {
    size.int(1, length);
    shape.message(2, size);
}

/// Metadata that say which plugin shows a value; the class of data is 1 for scalars, 2 for tensors.
fn plugin(name: &str, content: &[u8], class: u64) -> Message {
    let (mut data, mut metadata): (Message, Message) = Default::default();
    data.text(1, name).bytes(2, content);
    metadata.message(1, &data).int(4, class);
    metadata
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reader;

    fn records(bytes: &[u8]) -> Vec<Record> {
        read(&mut Reader::from_slice("t", bytes)).unwrap()
    }

    fn file() -> Vec<u8> {
        let mut file = Writer::begin(Vec::new(), 10.5).unwrap();
        let lr = ("lr".to_string(), Setting::Number(0.1));
        let name = ("name".to_string(), Setting::Text("a".into()));
        file.hparams(10.5, &[lr, name, ("amsgrad".into(), Setting::Bool(true))]).unwrap();
        file.scalar(11.0, 1, "loss/train", 0.25).unwrap();
        file.scalar(11.5, u64::from(u32::MAX) + 7, "", f64::NAN).unwrap();
        let bins = Histogram::of_bins(&[-1.0, 0.0, 2.0], &[3, 1]);
        file.histogram(12.0, 2, "weights/a", &bins).unwrap();
        file.image(12.0, 2, "pictures/0", b"png", [2, 3], 3).unwrap();
        file.text(12.5, 2, "notes", "**bold**").unwrap();
        file.restart(13.0, 2).unwrap();
        file.session_end(14.0, SessionStatus::Success).unwrap();
        assert_eq!(file.written(), file.get_ref().len() as u64);
        file.into_inner()
    }

    #[test]
    fn what_is_written_reads_back() {
        let found = records(&file());
        assert_eq!(found.len(), 9);
        assert_eq!((found[0].time, found[0].step), (10.5, 0));
        let value = |i: usize| match &found[i].content {
            Content::Summary(values) => values[0].clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(value(2), ("loss/train".into(), Value::Scalar(0.25)));
        assert_eq!(found[3].step, u64::from(u32::MAX) + 7);
        assert!(matches!(value(3).1, Value::Scalar(x) if x.is_nan()));
        let bins = Histogram {
            min: -1.0,
            max: 2.0,
            count: 4.0,
            sum: -0.5,
            sum_squares: 1.75,
            limits: vec![0.0, 2.0],
            counts: vec![3.0, 1.0],
        };
        assert_eq!(value(4), ("weights/a".into(), Value::Histogram(bins)));
        let image = Value::Image { height: 2, width: 3, channels: 3, file: b"png".to_vec() };
        assert_eq!(value(5), ("pictures/0".into(), image));
        assert_eq!(value(6), ("notes".into(), Value::Text(vec!["**bold**".into()])));
        assert_eq!((found[7].step, &found[7].content), (2, &Content::Restart));
        let (tag, end) = value(8);
        assert_eq!(tag, "_hparams_/session_end_info");
        assert!(matches!(end, Value::Plugin { name, .. } if name == "hparams"));
    }

    #[test]
    fn a_scalar_is_these_bytes() {
        // By hand from the two grammars; the checksum of a known record stands in crc.rs.
        let mut file = Writer::append(Vec::new(), 0);
        file.scalar(1.0, 3, "a", 0.5).unwrap();
        let payload = [
            &[0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f][..], // 1: double 1.0
            &[0x10, 3],                                // 2: step 3
            &[0x2a, 10, 0x0a, 8],                      // 5: summary of 10 bytes, 1: value of 8
            &[0x0a, 1, b'a', 0x15, 0, 0, 0, 0x3f],     // 1: tag, 2: float 0.5
        ]
        .concat();
        let bytes = file.into_inner();
        assert_eq!(bytes[..8], (payload.len() as u64).to_le_bytes());
        assert_eq!(bytes[12..12 + payload.len()], payload);
        assert_eq!(bytes.len(), 16 + payload.len());
    }

    #[test]
    fn a_file_may_end_in_half_a_record_and_nowhere_else() {
        let bytes = file();
        let whole = records(&bytes);
        for end in 0..bytes.len() {
            let found = records(&bytes[..end]);
            assert!(found.len() < whole.len(), "{end}");
            assert_eq!(format!("{found:?}"), format!("{:?}", &whole[..found.len()]));
        }
        // Every damaged bit is found, or was in the length and makes the rest look torn.
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let error = read(&mut Reader::from_slice("t", &damaged)).unwrap_err();
            assert!(error.to_string().contains("checksum"), "{error}");
        }
    }
}
