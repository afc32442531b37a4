//! The `ar` archive that a Debian package is: `debian-binary`, `control.tar.*`, `data.tar.*`.

use crate::error::{ErrorKind, FormatError};

const MAGIC: &[u8] = b"!<arch>\n";
/// Length of the header of a member.
const HEADER: usize = 60;

/// Whether these bytes begin as an `ar` archive does.
pub fn is_ar(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Name and bytes of the member that holds the files of the package.
pub fn data<'a>(file: &str, bytes: &'a [u8]) -> Result<(String, &'a [u8]), FormatError> {
    let error = |at: usize, expected: &str, found: &str| {
        FormatError::new(ErrorKind::Malformed, file, "ar archive", expected, found).at(at as u64)
    };
    let mut at = MAGIC.len();
    while at < bytes.len() {
        let header = bytes.get(at..at + HEADER).filter(|header| header.ends_with(b"`\n"));
        let header = header.ok_or_else(|| error(at, "the header of a member", "something else"))?;
        let field = |range: std::ops::Range<usize>| {
            String::from_utf8_lossy(&header[range]).trim_end().trim_end_matches('/').to_string()
        };
        let size: Option<usize> = field(48..58).parse().ok();
        let start = at + HEADER;
        let end = size.and_then(|size| start.checked_add(size)).filter(|end| *end <= bytes.len());
        let end = end.ok_or_else(|| error(at + 48, "a size within the file", &field(48..58)))?;
        let name = field(0..16);
        if name.starts_with("data.tar") {
            return Ok((format!("{file}: {name}"), &bytes[start..end]));
        }
        // Members begin at even places.
        at = end + end % 2;
    }
    Err(error(at, "a member `data.tar`, as a Debian package has", "none"))
}
