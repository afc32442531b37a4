//! zip archives (APPNOTE 6.3), as far as npz needs them: members in one piece, plain or deflated.
//!
//! Nothing is ever written to a disk; the names of members are names and no paths.

use std::io::{BufReader, Read};
use std::path::Path;

use flate2::Crc;
use flate2::read::DeflateDecoder;

use crate::error::{ErrorKind, FormatError, escape, file_name};
use crate::limits::Limits;
use crate::reader::Reader;

/// Most members of an archive.
const MAX_MEMBERS: usize = 10_000;
const LOCAL: u32 = 0x0403_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
/// The length of the end record without its comment, which has at most 65,535 bytes.
const END_LENGTH: usize = 22;

/// An archive in memory.
#[derive(Debug)]
pub struct Zip {
    file: String,
    bytes: Vec<u8>,
    members: Vec<Member>,
    limits: Limits,
}

/// What the directory of an archive says about a member.
#[derive(Clone, Debug)]
struct Member {
    name: String,
    method: u16,
    crc: u32,
    compressed: usize,
    size: usize,
    /// Where its data begin.
    start: usize,
}

impl Zip {
    /// Reads an archive and checks its directory; members are unpacked when they are asked for.
    ///
    /// # Errors
    /// A file that is no zip archive, whose directory contradicts its members or itself, with encrypted members, members
    /// packed by anything but deflate, two of one name, overlapping ones, or more than 10,000.
    pub fn read(path: impl AsRef<Path>, limits: &Limits) -> Result<Zip, FormatError> {
        let mut reader = Reader::open(path.as_ref(), limits)?;
        let bytes = reader.bytes("archive", reader.remaining().unwrap_or(0))?;
        Zip::from_bytes(path, bytes, limits)
    }

    /// As [`Zip::read`], from memory; `name` stands for the file in messages.
    ///
    /// # Errors
    /// As [`Zip::read`].
    pub fn from_bytes(
        name: impl AsRef<Path>,
        bytes: Vec<u8>,
        limits: &Limits,
    ) -> Result<Zip, FormatError> {
        let file = file_name(name.as_ref());
        let members = Parser { file: &file, bytes: &bytes }.members()?;
        Ok(Zip { file, bytes, members, limits: *limits })
    }

    /// The names of the members, in the order of the directory.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| member.name.as_str())
    }

    /// A member as a stream, by its place in [`Zip::names`]: for its beginning alone. Its checksum is not verified.
    ///
    /// # Panics
    /// Without such a member.
    #[track_caller]
    pub fn stream(&self, member: usize) -> Reader<'_> {
        let member = &self.members[member];
        let data = &self.bytes[member.start..member.start + member.compressed];
        let name = format!("{} of {}", member.name, self.file);
        let size = member.size as u64;
        match member.method {
            0 => Reader::from_stream(name, data, size),
            _ => Reader::from_stream(name, BufReader::new(DeflateDecoder::new(data)), size),
        }
    }

    /// Unpacks a member, by its place in [`Zip::names`], and verifies its checksum.
    ///
    /// # Errors
    /// The data are damaged, of another size than the directory says, or would grow beyond the limits.
    ///
    /// # Panics
    /// Without such a member.
    #[track_caller]
    pub fn unpack(&self, member: usize) -> Result<Vec<u8>, FormatError> {
        let member = &self.members[member];
        let error = |kind, expected: &str, found: String| {
            let field = format!("member `{}`", escape(&member.name, 80));
            FormatError::new(kind, &self.file, field, expected, found)
        };
        let bound = self.limits.inflated(member.compressed as u64);
        if member.size as u64 > bound && member.method == 8 {
            let expected = format!("at most {bound} bytes of {} packed", member.compressed);
            return Err(error(ErrorKind::Limit, &expected, member.size.to_string()));
        }
        let data = &self.bytes[member.start..member.start + member.compressed];
        let mut out = Vec::new();
        if member.method == 0 {
            out.extend_from_slice(data);
        } else {
            // One byte more than promised, to tell a member that goes on. The claim is within the limits.
            let limit = member.size as u64 + 1;
            DeflateDecoder::new(data).take(limit).read_to_end(&mut out).map_err(|e| {
                error(ErrorKind::Malformed, "sound deflated data", format!("damage ({e})"))
            })?;
        }
        if out.len() != member.size {
            let found = if out.len() > member.size { "more".into() } else { out.len().to_string() };
            return Err(error(ErrorKind::Malformed, &format!("{} bytes", member.size), found));
        }
        let mut crc = Crc::new();
        crc.update(&out);
        if crc.sum() != member.crc {
            let (expected, found) = (format!("checksum {:08x}", member.crc), crc.sum());
            return Err(error(ErrorKind::Malformed, &expected, format!("{found:08x}")));
        }
        Ok(out)
    }
}

struct Parser<'a> {
    file: &'a str,
    bytes: &'a [u8],
}

impl<'a> Parser<'a> {
    fn error(&self, at: usize, field: &str, expected: &str, found: &str) -> FormatError {
        FormatError::new(ErrorKind::Malformed, self.file, field, expected, found).at(at as u64)
    }

    fn u16(&self, at: usize) -> Result<u16, FormatError> {
        match self.bytes.get(at..at.saturating_add(2)) {
            Some(&[a, b]) => Ok(u16::from_le_bytes([a, b])),
            _ => Err(self.error(at, "archive", "2 bytes", "the end of the file")),
        }
    }

    fn u32(&self, at: usize) -> Result<u32, FormatError> {
        let (low, high) = (self.u16(at)?, self.u16(at.saturating_add(2))?);
        Ok(u32::from(high) << 16 | u32::from(low))
    }

    /// Where the end record stands: the last place from which record and comment fill the file.
    fn end(&self) -> Result<usize, FormatError> {
        let last = self.bytes.len().saturating_sub(END_LENGTH);
        (last.saturating_sub(65_535)..=last)
            .rev()
            .find(|&at| {
                let comment = self.u16(at + 20).map(usize::from);
                self.u32(at).is_ok_and(|magic| magic == END)
                    && comment.is_ok_and(|length| at + END_LENGTH + length == self.bytes.len())
            })
            .ok_or_else(|| self.error(0, "archive", "a whole zip file", "no directory at its end"))
    }

    fn members(&self) -> Result<Vec<Member>, FormatError> {
        let end = self.end()?;
        let count = usize::from(self.u16(end + 10)?);
        let (length, start) = (self.u32(end + 12)? as usize, self.u32(end + 16)? as usize);
        if self.u16(end + 4)? != 0 || usize::from(self.u16(end + 8)?) != count {
            return Err(self.error(end, "archive", "one file", "a part of several"));
        }
        if count > MAX_MEMBERS {
            let expected = format!("at most {MAX_MEMBERS}");
            return Err(self.error(end, "members", &expected, &count.to_string()));
        }
        if start.checked_add(length) != Some(end) {
            let found = format!("{length} bytes from {start}; or an archive of the zip64 kind");
            return Err(self.error(end, "directory", "one that ends where the end begins", &found));
        }
        let mut members = Vec::with_capacity(count);
        let mut ranges = Vec::with_capacity(count);
        let mut at = start;
        for _ in 0..count {
            let (member, local, next) = self.member(at, start)?;
            ranges.push((local, member.start + member.compressed));
            members.push(member);
            at = next;
        }
        if at != end {
            return Err(self.error(at, "directory", &format!("{count} members"), "more bytes"));
        }
        ranges.sort_unstable();
        if ranges.windows(2).any(|pair| pair[0].1 > pair[1].0) {
            return Err(self.error(start, "members", "one behind the other", "overlapping ones"));
        }
        let mut names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            let found = format!("`{}` twice", pair[0]);
            return Err(self.error(start, "members", "a name of its own for each", &found));
        }
        Ok(members)
    }

    /// The member whose entry in the directory stands at `at`, where its local header stands, and where the next entry is.
    fn member(&self, at: usize, directory: usize) -> Result<(Member, usize, usize), FormatError> {
        if self.u32(at)? != CENTRAL {
            return Err(self.error(at, "directory", "the entry of a member", "something else"));
        }
        let (flags, method, crc) = (self.u16(at + 8)?, self.u16(at + 10)?, self.u32(at + 16)?);
        let (compressed, size) = (self.u32(at + 20)?, self.u32(at + 24)?);
        let name_length = usize::from(self.u16(at + 28)?);
        let rest = usize::from(self.u16(at + 30)?) + usize::from(self.u16(at + 32)?);
        let local = self.u32(at + 42)? as usize;
        let name = self.name(at + 46, name_length)?;
        let field = format!("member `{}`", escape(&name, 80));
        let unsupported = |expected: &str, found: String| {
            FormatError::new(ErrorKind::Unsupported, self.file, &field, expected, found)
        };
        if flags & 1 != 0 {
            return Err(unsupported("open data", "encrypted data".into()));
        }
        if !matches!(method, 0 | 8) {
            return Err(unsupported("data that are plain or deflated", format!("method {method}")));
        }
        if [compressed, size, local as u32].contains(&u32::MAX) {
            return Err(unsupported("a member below 4 GiB", "one of the zip64 kind".into()));
        }
        let (compressed, size) = (compressed as usize, size as usize);
        let start = self.local(local, &field, &name, (flags, method, crc), (compressed, size))?;
        match start.checked_add(compressed) {
            Some(end) if end <= directory => {}
            _ => {
                let expected = format!("{compressed} bytes before the directory");
                return Err(self.error(local, &field, &expected, "fewer"));
            }
        }
        if method == 0 && compressed != size {
            return Err(self.error(at, &field, "plain data of one size", "two sizes"));
        }
        let member = Member { name, method, crc, compressed, size, start };
        Ok((member, local, at + 46 + name_length + rest))
    }

    fn name(&self, at: usize, length: usize) -> Result<String, FormatError> {
        let bytes = self.bytes.get(at..at.saturating_add(length));
        let bytes = bytes.ok_or_else(|| self.error(at, "directory", "a name", "the end"))?;
        let text = String::from_utf8(bytes.to_vec());
        text.map_err(|_| self.error(at, "directory", "a name in UTF-8", "other bytes"))
    }

    /// Compares the local header of a member with its entry in the directory, and tells where its data begin.
    fn local(
        &self,
        at: usize,
        field: &str,
        name: &str,
        (flags, method, crc): (u16, u16, u32),
        (compressed, size): (usize, usize),
    ) -> Result<usize, FormatError> {
        if self.u32(at)? != LOCAL {
            return Err(self.error(at, field, "a local header", "something else"));
        }
        let name_length = usize::from(self.u16(at + 26)?);
        let extra_length = usize::from(self.u16(at + 28)?);
        let extra = at + 30 + name_length;
        let same = self.u16(at + 6)? == flags
            && self.u16(at + 8)? == method
            && self.name(at + 30, name_length)? == name;
        // With a note behind the data (flag 8), sizes and checksum may be zero here.
        let later = flags & 8 != 0 && self.u32(at + 14)? == 0;
        let sizes = (self.u32(at + 18)?, self.u32(at + 22)?);
        let sizes = match sizes {
            // NumPy writes sizes of 64 bits in front of every member.
            (u32::MAX, u32::MAX) => self.wide_sizes(extra, extra_length)?,
            (packed, whole) => (u64::from(packed), u64::from(whole)),
        };
        let fits = sizes == (compressed as u64, size as u64) && self.u32(at + 14)? == crc;
        if !(same && (fits || later)) {
            return Err(self.error(at, field, "what the directory says", "something else"));
        }
        Ok(extra + extra_length)
    }

    /// The sizes, packed and whole, in the extra field of zip64.
    fn wide_sizes(&self, mut at: usize, length: usize) -> Result<(u64, u64), FormatError> {
        let end = at + length;
        while at + 4 <= end {
            let (id, length) = (self.u16(at)?, usize::from(self.u16(at + 2)?));
            if id == 1 && length >= 16 {
                let wide = |at| Ok(u64::from(self.u32(at + 4)?) << 32 | u64::from(self.u32(at)?));
                return Ok((wide(at + 12)?, wide(at + 4)?));
            }
            at += 4 + length;
        }
        Err(self.error(at, "local header", "sizes of 64 bits", "none"))
    }
}
