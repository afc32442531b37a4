//! Members of packages: zip (also Python wheels), tar, Debian packages, each plain or in gzip or xz.
//!
//! What a file is follows from its first bytes, never from its name. Nothing is written anywhere: the members that
//! are wanted are returned with their names, and a name is only ever compared, or refused when it would lead out of a
//! folder ([`is_plain_path`]). What comes out is bounded by [`Limits`], whatever the archive claims.

mod compressed;
mod deb;
mod tar;

use crate::error::{ErrorKind, FormatError};
use crate::limits::Limits;
use crate::zip::Zip;

pub use compressed::decompress;

/// A file inside a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its path in the package, with `/` between the parts and without a leading `./`.
    pub path: String,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// The members of a package that are wanted, in their order in the package.
///
/// Bytes that are no archive are one member themselves, under the name `file`, decompressed when they are compressed.
/// Of a Debian package the members are those of its data.
///
/// # Errors
/// The package is damaged, uses a part of its format that is not read, or holds more than the limits allow; a wanted
/// member is a link, appears twice, or has a path that leads out of its folder.
///
/// ```
/// use nerve_formats::{Limits, archive};
/// let members = archive::unpack("note.txt", b"hello", &Limits::default(), |path| path == "note.txt")?;
/// assert_eq!(members[0].bytes, b"hello");
/// # Ok::<(), nerve_formats::FormatError>(())
/// ```
pub fn unpack(
    file: &str,
    bytes: &[u8],
    limits: &Limits,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<Member>, FormatError> {
    let mut taken = Taken {
        file,
        wanted: &wanted,
        left: limits.inflated(bytes.len() as u64),
        members: Vec::new(),
    };
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        let zip = Zip::from_bytes(file, bytes.to_vec(), limits)?;
        for (i, path) in zip.names().enumerate().filter(|(_, path)| !path.ends_with('/')) {
            // How long it is shows when it is unpacked, which has its own limit.
            taken.take(path, 0, || zip.unpack(i))?;
        }
    } else if deb::is_ar(bytes) {
        let (name, data) = deb::data(file, bytes)?;
        let tar = decompress(&name, data, limits)?;
        tar::walk(&tar, &mut taken)?;
    } else {
        let plain = decompress(file, bytes, limits)?;
        match tar::is_tar(&plain) {
            true => tar::walk(&plain, &mut taken)?,
            false => taken.take(file, plain.len() as u64, || Ok(plain.into_owned()))?,
        }
    }
    Ok(taken.members)
}

/// Whether a path, joined to a folder, stays inside it on every system: parts that are not empty, not `.` or `..`, and
/// have no backslash, colon or control character.
///
/// ```
/// use nerve_formats::archive::is_plain_path;
/// assert!(is_plain_path("data/train.csv"));
/// for path in ["../x", "/etc/x", "a//b", "a/./b", "C:x", "a\\..\\b", "", "a\nb"] {
///     assert!(!is_plain_path(path), "{path}");
/// }
/// ```
pub fn is_plain_path(path: &str) -> bool {
    path.len() <= 1024
        && path.split('/').all(|part| {
            !matches!(part, "" | "." | "..")
                && !part.chars().any(|c| c == '\\' || c == ':' || c.is_control())
        })
}

/// What has been taken of an archive, and how much more may be.
struct Taken<'a> {
    file: &'a str,
    wanted: &'a dyn Fn(&str) -> bool,
    left: u64,
    members: Vec<Member>,
}

impl Taken<'_> {
    /// Takes a file if it is wanted; `size` is what the archive says before `read` reads it.
    fn take(
        &mut self,
        path: &str,
        size: u64,
        read: impl FnOnce() -> Result<Vec<u8>, FormatError>,
    ) -> Result<(), FormatError> {
        if !(self.wanted)(path) {
            return Ok(());
        }
        if !is_plain_path(path) {
            return Err(self.error(
                ErrorKind::Malformed,
                path,
                "a path inside the archive",
                "one that leads elsewhere",
            ));
        }
        if self.members.iter().any(|member| member.path == path) {
            return Err(self.error(ErrorKind::Malformed, path, "one such member", "two"));
        }
        self.room(path, size)?;
        let bytes = read()?;
        self.room(path, bytes.len() as u64)?;
        self.left -= bytes.len() as u64;
        self.members.push(Member { path: path.to_string(), bytes });
        Ok(())
    }

    fn room(&self, path: &str, size: u64) -> Result<(), FormatError> {
        if size <= self.left {
            return Ok(());
        }
        let expected = format!("no more than {} bytes, what is left of the limit", self.left);
        Err(self.error(ErrorKind::Limit, path, &expected, &format!("{size} bytes")))
    }

    /// A link or a device: of no harm as long as nobody wants it.
    fn refuse_special(&self, path: &str) -> Result<(), FormatError> {
        match (self.wanted)(path) {
            true => Err(self.error(ErrorKind::Unsupported, path, "a file", "a link or a device")),
            false => Ok(()),
        }
    }

    fn error(&self, kind: ErrorKind, field: &str, expected: &str, found: &str) -> FormatError {
        FormatError::new(kind, self.file, field, expected, found)
    }

    fn malformed(&self, field: &str, expected: &str, found: &str) -> FormatError {
        self.error(ErrorKind::Malformed, field, expected, found)
    }
}

#[cfg(test)]
mod tests;
