//! zip: the directory at the end, members stored or deflated.

use std::io::Read;

use flate2::Crc;
use flate2::read::DeflateDecoder;

use super::{Member, Taken};
use crate::error::{ErrorKind, FormatError};
use crate::limits::Limits;

/// What stands in the directory about a member.
struct Listed {
    path: String,
    flags: u16,
    method: u16,
    crc: u32,
    stored: usize,
    size: u64,
    header: usize,
    link: bool,
}

/// Whether these bytes begin as a zip archive does.
pub fn is_zip(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06")
}

/// All members of a zip archive, in the order of its directory.
///
/// # Errors
/// Those of [`unpack`](super::unpack).
pub fn members(file: &str, bytes: &[u8], limits: &Limits) -> Result<Vec<Member>, FormatError> {
    let left = limits.inflated(bytes.len() as u64);
    let mut taken = Taken { file, wanted: &|_| true, left, members: Vec::new() };
    walk(bytes, &mut taken)?;
    Ok(taken.members)
}

/// Offers each file of the archive.
pub(super) fn walk(bytes: &[u8], taken: &mut Taken<'_>) -> Result<(), FormatError> {
    let (mut at, count) = directory(bytes).ok_or_else(|| {
        taken.malformed(
            "zip",
            "a directory at its end (zip64 and several disks are not read)",
            "none",
        )
    })?;
    for _ in 0..count {
        let (listed, next) = listed(bytes, at).ok_or_else(|| {
            taken.malformed("zip directory", "an entry within the file", "none").at(at as u64)
        })?;
        at = next;
        if listed.path.ends_with('/') {
            continue;
        }
        if listed.link {
            taken.refuse_special(&listed.path)?;
            continue;
        }
        let file = taken.file;
        taken.take(&listed.path, listed.size, |size| read(file, bytes, &listed, size))?;
    }
    Ok(())
}

/// Where the directory begins, and how many entries it has.
fn directory(bytes: &[u8]) -> Option<(usize, usize)> {
    const END: usize = 22;
    // Behind the end record stands a comment of up to 65,535 bytes.
    let last = bytes.len().checked_sub(END)?;
    let first = last.saturating_sub(usize::from(u16::MAX));
    let end = (first..=last).rev().find(|at| bytes[*at..].starts_with(b"PK\x05\x06"))?;
    let (disk, count, all) =
        (u16_at(bytes, end + 4)?, u16_at(bytes, end + 8)?, u16_at(bytes, end + 10)?);
    let (size, start) = (u32_at(bytes, end + 12)? as usize, u32_at(bytes, end + 16)? as usize);
    let whole = disk == 0 && count == all && count != u16::MAX && start.checked_add(size)? <= end;
    whole.then_some((start, usize::from(count)))
}

/// The entry of the directory at this place, and where the next begins.
fn listed(bytes: &[u8], at: usize) -> Option<(Listed, usize)> {
    const FIXED: usize = 46;
    let entry = bytes.get(at..)?.get(..FIXED).filter(|entry| entry.starts_with(b"PK\x01\x02"))?;
    let length = |at: usize| u16_at(entry, at).map(usize::from);
    let (name, extra, comment) = (length(28)?, length(30)?, length(32)?);
    let path = bytes.get(at + FIXED..at + FIXED + name)?;
    let unix_mode = u32_at(entry, 38)? >> 16;
    let listed = Listed {
        path: String::from_utf8_lossy(path).into_owned(),
        flags: u16_at(entry, 8)?,
        method: u16_at(entry, 10)?,
        crc: u32_at(entry, 16)?,
        stored: u32_at(entry, 20)? as usize,
        size: u64::from(u32_at(entry, 24)?),
        header: u32_at(entry, 42)? as usize,
        link: unix_mode & 0o170000 == 0o120000,
    };
    Some((listed, at + FIXED + name + extra + comment))
}

/// The bytes of a member, checked against its length and its checksum.
fn read(file: &str, bytes: &[u8], listed: &Listed, size: usize) -> Result<Vec<u8>, FormatError> {
    let error = |kind, expected: &str, found: &str| {
        FormatError::new(kind, file, &listed.path, expected, found)
    };
    let malformed = |expected: &str, found: &str| error(ErrorKind::Malformed, expected, found);
    if listed.flags & 1 != 0 {
        return Err(error(ErrorKind::Unsupported, "a member in the clear", "an encrypted one"));
    }
    let stored = body(bytes, listed).ok_or_else(|| {
        malformed("bytes within the archive, under the same name", "something else")
    })?;
    let mut out = Vec::new();
    let result = match listed.method {
        0 => stored.take(size as u64 + 1).read_to_end(&mut out),
        8 => DeflateDecoder::new(stored).take(size as u64 + 1).read_to_end(&mut out),
        other => {
            let found = format!("method {other}");
            return Err(error(ErrorKind::Unsupported, "stored or deflated bytes", &found));
        }
    };
    result.map_err(|e| malformed("a whole deflate stream", &format!("a damaged one ({e})")))?;
    if out.len() != size {
        let found = if out.len() > size { "more".to_string() } else { out.len().to_string() };
        return Err(malformed(&format!("{size} bytes"), &found));
    }
    let mut crc = Crc::new();
    crc.update(&out);
    if crc.sum() != listed.crc {
        return Err(malformed("bytes that fit their checksum", "others"));
    }
    Ok(out)
}

/// The stored bytes behind the local header, which must have the name of the directory.
fn body<'a>(bytes: &'a [u8], listed: &Listed) -> Option<&'a [u8]> {
    const FIXED: usize = 30;
    let local = bytes.get(listed.header..)?;
    let header = local.get(..FIXED).filter(|header| header.starts_with(b"PK\x03\x04"))?;
    let (name, extra) = (usize::from(u16_at(header, 26)?), usize::from(u16_at(header, 28)?));
    let path = local.get(FIXED..FIXED + name)?;
    let same = String::from_utf8_lossy(path) == listed.path;
    local.get(FIXED + name + extra..)?.get(..listed.stored).filter(|_| same)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..)?.first_chunk().copied()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..)?.first_chunk().copied()?))
}
