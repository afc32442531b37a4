//! The text of a file: UTF-8, or made to be.

use std::path::Path;

use encoding_rs::{Decoder, DecoderResult, Encoding, GB18030, UTF_16BE, UTF_16LE};
use nerve_formats::{ErrorKind, FormatError, Limits, Reader};

use super::Options;

/// How much is read at a time.
const BLOCK: u64 = 1 << 20;

/// Reads a text file, plain or gzip, block by block.
pub(super) struct Decoded {
    reader: Reader<'static>,
    /// `None` for UTF-8, which is checked and not converted.
    decoder: Option<Decoder>,
    /// Bytes that were read and are no whole character yet.
    rest: Vec<u8>,
    /// Where they stand.
    offset: u64,
    ended: bool,
}

impl Decoded {
    /// Opens a file; a byte-order mark is passed over, and that of UTF-16 obeyed.
    pub(super) fn open(path: &Path, options: &Options) -> Result<Decoded, FormatError> {
        // A text is read in pieces, so that its size is no matter of memory here.
        let limits = Limits { max_bytes: u64::MAX, ..Limits::default() };
        let mut reader = Reader::open_gz(path, &limits)?;
        let mut rest = Vec::new();
        reader.some("text", BLOCK, &mut rest)?;
        let named = options.encoding.as_deref().map(|name| encoding(path, name)).transpose()?;
        let (encoding, mark) = match (named, &rest[..]) {
            (None, [0xef, 0xbb, 0xbf, ..]) => (None, 3),
            (None, [0xff, 0xfe, ..]) => (Some(UTF_16LE), 2),
            (None, [0xfe, 0xff, ..]) => (Some(UTF_16BE), 2),
            (named, _) => (named.filter(|&named| named != encoding_rs::UTF_8), 0),
        };
        rest.drain(..mark);
        // With an encoding that was named, the decoder sees to the mark.
        let decoder = encoding.map(|encoding| encoding.new_decoder_with_bom_removal());
        Ok(Decoded { reader, decoder, offset: mark as u64, ended: rest.is_empty(), rest })
    }

    /// Appends the next piece of the text; false at its end.
    pub(super) fn fill(&mut self, out: &mut String) -> Result<bool, FormatError> {
        if self.ended {
            return Ok(false);
        }
        if self.rest.len() < 8 {
            let got = self.reader.some("text", BLOCK, &mut self.rest)?;
            self.ended = got == 0;
        }
        let taken = match &mut self.decoder {
            None => self.check(out)?,
            Some(_) => self.decode(out)?,
        };
        self.rest.drain(..taken);
        self.offset += taken as u64;
        Ok(true)
    }

    /// Takes what is UTF-8 over as it is.
    fn check(&mut self, out: &mut String) -> Result<usize, FormatError> {
        let (text, bad) = match std::str::from_utf8(&self.rest) {
            Ok(text) => (text, None),
            Err(error) => {
                let valid = error.valid_up_to();
                // A character that only lacks its end is completed by the next block.
                let cut = error.error_len().is_none() && !self.ended;
                let text = std::str::from_utf8(&self.rest[..valid]).unwrap_or("");
                (text, (!cut).then_some(valid))
            }
        };
        let zero = text.as_bytes().contains(&0).then(|| text.find('\0')).flatten();
        let bad = zero.or(bad);
        match bad {
            Some(at) => Err(self.not_utf8(at)),
            None => {
                out.push_str(text);
                Ok(text.len())
            }
        }
    }

    fn decode(&mut self, out: &mut String) -> Result<usize, FormatError> {
        let Some(decoder) = &mut self.decoder else { return Ok(0) };
        let name = decoder.encoding().name();
        let room = decoder.max_utf8_buffer_length_without_replacement(self.rest.len());
        let room = room.unwrap_or(usize::MAX);
        let bad = |expected: &str, found: &str, at: u64| {
            FormatError::new(ErrorKind::Malformed, self.reader.file(), "text", expected, found)
                .at(at)
        };
        if out.try_reserve(room).is_err() {
            return Err(bad("memory for the decoded text", "too little", self.offset));
        }
        let from = out.len();
        let (result, taken) =
            decoder.decode_to_string_without_replacement(&self.rest, out, self.ended);
        if let DecoderResult::Malformed(..) = result {
            let expected = format!("text in {name}");
            return Err(bad(&expected, "bytes that are none", self.offset + taken as u64));
        }
        if out.as_bytes()[from..].contains(&0) {
            return Err(bad(&format!("text in {name}"), "a zero character", self.offset));
        }
        Ok(taken)
    }

    fn not_utf8(&self, at: usize) -> FormatError {
        let looks = match guess(&self.rest) {
            Some(name) => format!("; it looks like {name}: write encoding = \"{name}\""),
            None => String::new(),
        };
        let found = format!("the byte {:#04x}, which is none{looks}", self.rest[at]);
        let text =
            FormatError::new(ErrorKind::Malformed, self.reader.file(), "text", "UTF-8 text", found);
        text.at(self.offset + at as u64)
    }
}

/// The encoding of a name.
fn encoding(path: &Path, name: &str) -> Result<&'static Encoding, FormatError> {
    Encoding::for_label(name.as_bytes()).ok_or_else(|| {
        let expected = "a name of the Encoding Standard: utf-8, latin1, windows-1252, utf-16le, gb18030, shift_jis, ...";
        FormatError::new(ErrorKind::Mismatch, path, "encoding", expected, format!("`{name}`"))
    })
}

/// Which encoding bytes that are not UTF-8 seem to be in, for the message alone.
fn guess(bytes: &[u8]) -> Option<&'static str> {
    let zeros = |odd: usize| bytes.iter().skip(odd).step_by(2).filter(|&&b| b == 0).count();
    let (even, odd) = (zeros(0), zeros(1));
    if even + odd > 0 {
        // Text of Latin letters in UTF-16 has a zero in every other place.
        let most = bytes.len() / 4;
        return match (even > most, odd > most) {
            (false, true) => Some("utf-16le"),
            (true, false) => Some("utf-16be"),
            _ => None,
        };
    }
    let high = bytes.iter().filter(|&&byte| byte >= 0x80).count();
    let paired = bytes.chunk_by(|a, b| (*a >= 0x80) == (*b >= 0x80));
    let paired: usize = paired.filter(|run| run[0] >= 0x80 && run.len() > 1).map(<[u8]>::len).sum();
    // Accented letters stand between plain ones; Chinese characters are two bytes each and stand together.
    if 2 * paired > high {
        let whole = &bytes[..bytes.len().min(BLOCK as usize - 8)];
        let mut text = String::with_capacity(4 * whole.len() + 16);
        let (_, _, wrong) = GB18030.new_decoder().decode_to_string(whole, &mut text, false);
        return (!wrong).then_some("gb18030");
    }
    let controls = bytes.iter().any(|byte| (0x80..0xa0).contains(byte));
    Some(if controls { "windows-1252" } else { "latin1" })
}
