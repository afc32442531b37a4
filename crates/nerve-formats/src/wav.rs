//! WAV: uncompressed sound in a RIFF container.
//!
//! Read are whole numbers of 8, 16, 24 and 32 bits, floats of 32 and 64, and µ-law (G.711), each also in the form
//! `WAVE_FORMAT_EXTENSIBLE`. What else a WAV file can hold is refused by its number. Layout after "Multimedia
//! Programming Interface and Data Specifications 1.0" (IBM and Microsoft, 1991) and its extension of 2001.
//!
//! - The length of the whole that the header gives is not used: writers that stream leave 0 or 2³² - 1 there. A `data`
//!   chunk of 2³² - 1 bytes likewise reaches to the end of the file; any other must lie in it.
//! - The bytes per second that the header gives are not used either; the bytes per frame must be right.
//! - Chunks before `data` that are not `fmt ` are passed over, those behind it are not looked at.
//! - A sample that is NaN or infinite is an error.

use std::path::Path;

use crate::{ErrorKind, FormatError, Limits, Reader};

/// A sound as it stands in its file.
#[derive(Clone, Debug, PartialEq)]
pub struct Wav {
    /// Frames a second.
    pub rate: u32,
    /// Samples a frame: 1 mono, 2 stereo.
    pub channels: u16,
    /// The samples, frame after frame; whole numbers are divided by their greatest, so that they lie in [-1, 1).
    pub samples: Vec<f32>,
}

impl Wav {
    /// The mean of the channels.
    pub fn into_mono(self) -> Vec<f32> {
        match self.channels {
            1 => self.samples,
            n => {
                let frames = self.samples.chunks_exact(usize::from(n));
                frames.map(|frame| frame.iter().sum::<f32>() / f32::from(n)).collect()
            }
        }
    }
}

/// Reads a WAV file.
///
/// # Errors
/// [`ErrorKind::Io`], [`ErrorKind::Limit`]; [`ErrorKind::Malformed`] for what is no WAV file, contradicts itself, ends
/// early or holds no sound; [`ErrorKind::Unsupported`] for an encoding that is not read.
pub fn read_wav(path: impl AsRef<Path>, limits: &Limits) -> Result<Wav, FormatError> {
    parse_wav(Reader::open(path, limits)?)
}

/// Reads a WAV file from any bounded reader that knows its length; see [`read_wav`].
///
/// # Errors
/// As [`read_wav`].
pub fn parse_wav(mut reader: Reader<'_>) -> Result<Wav, FormatError> {
    let magic: [u8; 4] = reader.array("RIFF header")?;
    if &magic != b"RIFF" {
        let found = format!("\"{}\"", magic.escape_ascii());
        let expected = "\"RIFF\", with which a WAV file begins";
        return Err(reader.malformed("RIFF header", expected, found));
    }
    reader.u32_le("size of the whole")?;
    let form: [u8; 4] = reader.array("form")?;
    if &form != b"WAVE" {
        let found = format!("\"{}\"", form.escape_ascii());
        return Err(reader.malformed("form", "\"WAVE\"", found));
    }
    let mut format = None;
    loop {
        if reader.remaining() == Some(0) {
            return Err(reader.malformed("chunks", "a `data` chunk", "the end of the file"));
        }
        let id: [u8; 4] = reader.array("name of a chunk")?;
        let len = reader.u32_le("length of a chunk")?;
        match (&id, &format) {
            (b"data", None) => {
                let expected = "a `fmt ` chunk before the `data` chunk";
                return Err(reader.malformed("chunks", expected, "none"));
            }
            (b"data", Some(format)) => return samples(reader, format, len),
            (b"fmt ", Some(_)) => {
                return Err(reader.malformed("chunks", "one `fmt ` chunk", "a second one"));
            }
            (b"fmt ", None) => format = Some(Format::read(&mut reader, len)?),
            _ => skip(&mut reader, u64::from(len))?,
        }
        // A chunk of odd length is followed by a byte of padding.
        if len % 2 == 1 && reader.remaining() != Some(0) {
            reader.u8("padding")?;
        }
    }
}

/// What the `fmt ` chunk says.
struct Format {
    coding: Coding,
    channels: u16,
    rate: u32,
}

/// How a sample is written.
#[derive(Clone, Copy)]
enum Coding {
    U8,
    I16,
    I24,
    I32,
    F32,
    F64,
    MuLaw,
}

impl Coding {
    fn of(code: u16, bits: u16) -> Option<Coding> {
        Some(match (code, bits) {
            (1, 8) => Coding::U8,
            (1, 16) => Coding::I16,
            (1, 24) => Coding::I24,
            (1, 32) => Coding::I32,
            (3, 32) => Coding::F32,
            (3, 64) => Coding::F64,
            (7, 8) => Coding::MuLaw,
            _ => return None,
        })
    }

    fn bytes(self) -> u16 {
        match self {
            Coding::U8 | Coding::MuLaw => 1,
            Coding::I16 => 2,
            Coding::I24 => 3,
            Coding::I32 | Coding::F32 => 4,
            Coding::F64 => 8,
        }
    }

    fn decode(self, bytes: &[u8]) -> Vec<f32> {
        let short = |b: &[u8]| i16::from_le_bytes([b[0], b[1]]);
        let long = |b: &[u8]| i32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        let double =
            |b: &[u8]| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]);
        let each = bytes.chunks_exact(usize::from(self.bytes()));
        match self {
            Coding::U8 => each.map(|b| (f32::from(b[0]) - 128.0) / 128.0).collect(),
            Coding::I16 => each.map(|b| f32::from(short(b)) / 32_768.0).collect(),
            Coding::I24 => {
                each.map(|b| (long(&[0, b[0], b[1], b[2]]) >> 8) as f32 / 8_388_608.0).collect()
            }
            Coding::I32 => each.map(|b| long(b) as f32 / 2_147_483_648.0).collect(),
            Coding::F32 => each.map(|b| f32::from_bits(long(b) as u32)).collect(),
            Coding::F64 => each.map(|b| double(b) as f32).collect(),
            Coding::MuLaw => each.map(|b| mu_law(b[0])).collect(),
        }
    }
}

/// ITU-T G.711, table 2a: all bits turned over; sign, three bits of exponent, four of mantissa.
fn mu_law(byte: u8) -> f32 {
    let byte = !byte;
    let (exponent, mantissa) = (byte >> 4 & 7, i32::from(byte & 15));
    let size = (((mantissa << 3) + 0x84) << exponent) - 0x84;
    let value = if byte & 0x80 == 0 { size } else { -size };
    value as f32 / 32_768.0
}

/// The tail that all the identifiers of `WAVE_FORMAT_EXTENSIBLE` share that stand for a plain number.
const GUID_TAIL: [u8; 14] = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xAA, 0, 0x38, 0x9B, 0x71];
const EXTENSIBLE: u16 = 0xFFFE;
const MAX_CHANNELS: u16 = 64;
const MAX_RATE: u32 = 768_000;

impl Format {
    fn read(reader: &mut Reader<'_>, len: u32) -> Result<Format, FormatError> {
        if len < 16 {
            return Err(reader.malformed("fmt chunk", "16 bytes or more", len.to_string()));
        }
        let mut code = reader.u16_le("encoding")?;
        let channels = reader.u16_le("channels")?;
        let rate = reader.u32_le("rate")?;
        reader.u32_le("bytes per second")?;
        let frame = reader.u16_le("bytes per frame")?;
        let bits = reader.u16_le("bits per sample")?;
        let mut rest = u64::from(len) - 16;
        if code == EXTENSIBLE {
            if rest < 24 {
                return Err(reader.malformed(
                    "fmt chunk",
                    "40 bytes when extensible",
                    len.to_string(),
                ));
            }
            reader.array::<8>("extension")?;
            code = reader.u16_le("encoding")?;
            let tail: [u8; 14] = reader.array("encoding")?;
            if tail != GUID_TAIL {
                let found = format!("the identifier {:02x?}", tail);
                return Err(unsupported(reader, "one with a number", found));
            }
            rest -= 24;
        }
        skip(reader, rest)?;
        if channels == 0 || channels > MAX_CHANNELS {
            let expected = format!("1 to {MAX_CHANNELS}");
            return Err(reader.malformed("channels", expected, channels.to_string()));
        }
        if rate == 0 || rate > MAX_RATE {
            let expected = format!("1 to {MAX_RATE} a second");
            return Err(reader.malformed("rate", expected, rate.to_string()));
        }
        let Some(coding) = Coding::of(code, bits) else {
            let known = "whole numbers of 8, 16, 24 or 32 bits, floats of 32 or 64, or mu-law";
            return Err(unsupported(reader, known, format!("number {code} with {bits} bits")));
        };
        if frame != channels * coding.bytes() {
            let expected = format!("{channels} channels of {bits} bits");
            return Err(reader.malformed("bytes per frame", expected, frame.to_string()));
        }
        Ok(Format { coding, channels, rate })
    }
}

fn unsupported(reader: &Reader<'_>, expected: &str, found: String) -> FormatError {
    FormatError::new(ErrorKind::Unsupported, reader.file(), "encoding", expected, found)
        .at(reader.offset())
}

/// Passes over bytes without holding them.
fn skip(reader: &mut Reader<'_>, mut len: u64) -> Result<(), FormatError> {
    reader.claim("chunk", len)?;
    while len > 0 {
        let step = len.min(1 << 16);
        reader.bytes("chunk", step)?;
        len -= step;
    }
    Ok(())
}

fn samples(mut reader: Reader<'_>, format: &Format, len: u32) -> Result<Wav, FormatError> {
    let frame = u64::from(format.channels * format.coding.bytes());
    let len = match (len, reader.remaining()) {
        (u32::MAX, Some(left)) => left,
        (len, _) => u64::from(len),
    };
    if len == 0 || !len.is_multiple_of(frame) {
        let expected = format!("one or more frames of {frame} bytes");
        return Err(reader.malformed("data chunk", expected, format!("{len} bytes")));
    }
    let samples = format.coding.decode(&reader.bytes("data chunk", len)?);
    if let Some(at) = samples.iter().position(|sample| !sample.is_finite()) {
        let found = format!("{} as sample {at}", samples[at]);
        return Err(reader.malformed("data chunk", "finite numbers", found));
    }
    Ok(Wav { rate: format.rate, channels: format.channels, samples })
}
