//! gzip and xz, undone in memory.

use std::borrow::Cow;
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use flate2::bufread::MultiGzDecoder;

use crate::error::{ErrorKind, FormatError};
use crate::limits::Limits;

/// The bytes of a file: inflated where they begin as gzip or xz do, else as they are.
///
/// # Errors
/// A damaged stream, or one that holds more than the limits allow; a compression that is not read.
pub fn decompress<'a>(
    file: &str,
    bytes: &'a [u8],
    limits: &Limits,
) -> Result<Cow<'a, [u8]>, FormatError> {
    let mut out =
        Bounded { bytes: Vec::new(), most: limits.inflated(bytes.len() as u64), full: false };
    let (what, result) = if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut decoder = MultiGzDecoder::new(bytes).take(out.most.saturating_add(1));
        ("gzip", io::copy(&mut decoder, &mut out).map(|_| ()).map_err(|error| error.to_string()))
    } else if bytes.starts_with(b"\xfd7zXZ\0") {
        let mut input = bytes;
        // The decoder adds lengths that the file claims; where overflows are checked that panics.
        let run = AssertUnwindSafe(|| lzma_rs::xz_decompress(&mut input, &mut out));
        let result = match catch_unwind(run) {
            Ok(result) => result.map_err(|error| format!("{error:?}")),
            Err(_) => Err("lengths that overflow".to_string()),
        };
        ("xz", result)
    } else if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) || bytes.starts_with(b"BZh") {
        let (expected, found) = ("gzip or xz", "zstd or bzip2, which nerve does not read");
        return Err(FormatError::new(ErrorKind::Unsupported, file, "compression", expected, found));
    } else {
        return Ok(Cow::Borrowed(bytes));
    };
    if out.full {
        let expected =
            format!("no more than {} bytes from {}, the limit set", out.most, bytes.len());
        return Err(FormatError::new(ErrorKind::Limit, file, what, expected, "more"));
    }
    match result {
        Ok(()) => Ok(Cow::Owned(out.bytes)),
        Err(why) => {
            let expected = format!("a whole {what} stream");
            let found = format!("a damaged one ({why})");
            Err(FormatError::new(ErrorKind::Malformed, file, what, expected, found))
        }
    }
}

/// Memory that takes no more than so many bytes.
struct Bounded {
    bytes: Vec<u8>,
    most: u64,
    full: bool,
}

impl Write for Bounded {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.bytes.len() as u64 + buffer.len() as u64 > self.most {
            self.full = true;
            return Err(io::Error::other("the limit is reached"));
        }
        self.bytes.try_reserve(buffer.len()).map_err(|_| io::ErrorKind::OutOfMemory)?;
        self.bytes.extend_from_slice(buffer);
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
