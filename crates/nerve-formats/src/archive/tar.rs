//! tar: records of 512 bytes, with the long names of GNU and of POSIX.

use super::Taken;
use crate::error::FormatError;

const RECORD: usize = 512;

/// Whether these bytes begin as a tar archive does: with the magic of POSIX or GNU, or, if it is older than that, with a
/// header whose checksum is right.
pub fn is_tar(bytes: &[u8]) -> bool {
    let header = bytes.get(..RECORD);
    header.is_some_and(|header| &header[257..262] == b"ustar" || check(header).is_some())
}

/// Offers each file of the archive.
pub fn walk(bytes: &[u8], taken: &mut Taken<'_>) -> Result<(), FormatError> {
    let mut rest = bytes;
    // A name that the next record is too small for.
    let mut long: Option<String> = None;
    loop {
        let at = (bytes.len() - rest.len()) as u64;
        let Some((header, after)) = rest.split_at_checked(RECORD) else {
            return match rest.is_empty() {
                true => Ok(()),
                false => Err(taken.malformed("tar record", "512 bytes", "fewer").at(at)),
            };
        };
        if header.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        check(header).ok_or_else(|| {
            taken.malformed("tar header", "one whose checksum is right", "a damaged one").at(at)
        })?;
        let size = octal(&header[124..136]).and_then(|size| usize::try_from(size).ok());
        let body = size.and_then(|size| after.get(..size)).ok_or_else(|| {
            taken.malformed("size of a tar member", "one within the archive", "more").at(at + 124)
        })?;
        // The last member may lack its padding.
        rest = after.get(body.len().next_multiple_of(RECORD)..).unwrap_or(&[]);
        let path = long.take().unwrap_or_else(|| short_path(header));
        let path = path.strip_prefix("./").unwrap_or(&path).to_string();
        match header[156] {
            b'0' | 0 | b'7' => taken.take(&path, body.len() as u64, || Ok(body.to_vec()))?,
            b'L' => long = Some(text(body)),
            b'x' => long = pax_path(body),
            // A folder, or a header that holds for all.
            b'5' | b'g' | b'K' => {}
            _ => taken.refuse_special(&path)?,
        }
    }
}

/// The sum of the bytes of a header, its own field counted as blanks, stands in the header.
fn check(header: &[u8]) -> Option<()> {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    let found = sum(&header[..148]) + 8 * u64::from(b' ') + sum(&header[156..]);
    (octal(&header[148..156])? == found).then_some(())
}

/// A number in octal digits; base 256, for files from 8 GB, is not read.
fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok() }
}

fn short_path(header: &[u8]) -> String {
    let name = text(&header[..100]);
    // Only POSIX has the prefix; GNU keeps times there.
    let prefix =
        if &header[257..263] == b"ustar\0" { text(&header[345..500]) } else { String::new() };
    if prefix.is_empty() { name } else { format!("{prefix}/{name}") }
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// The path among the records `LENGTH KEY=VALUE` of a header of POSIX.
fn pax_path(mut body: &[u8]) -> Option<String> {
    loop {
        let blank = body.iter().position(|byte| *byte == b' ')?;
        let length: usize = std::str::from_utf8(&body[..blank]).ok()?.parse().ok()?;
        let record = body.get(blank + 1..length)?;
        if let Some(path) = record.strip_prefix(b"path=") {
            return Some(text(path).trim_end_matches('\n').to_string());
        }
        body = &body[length..];
    }
}
