//! The one bounded byte reader that lies under every format.
//!
//! A length that a file claims is compared with the bytes that are there before anything is
//! allocated or read. That one rule is what most parsers with a history of memory trouble lack.

use std::fs::{self, File, FileType};
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::error::{ErrorKind, FormatError, file_name};
use crate::limits::Limits;

/// Reads a file, a slice or a gzip stream from front to back, and knows where it stands.
///
/// Each method takes the name of the field that it reads, which appears in the error.
///
/// ```
/// use nerve_formats::Reader;
/// let mut r = Reader::from_slice("demo", &[0, 0, 0, 5, 7]);
/// assert_eq!(r.u32_be("count").unwrap(), 5);
/// let error = r.bytes("payload", 5).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "demo: payload at byte 4: expected 5 bytes, found 1 left of 5 in all"
/// );
/// ```
pub struct Reader<'a> {
    file: String,
    source: Source<'a>,
    offset: u64,
    end: End,
}

enum Source<'a> {
    Plain(Box<dyn BufRead + Send + 'a>),
    Gzip(Box<MultiGzDecoder<Box<dyn BufRead + Send + 'a>>>),
}

#[derive(Clone, Copy)]
enum End {
    /// The length is known: a plain file or a slice.
    Exact(u64),
    /// Only a bound is known: a gzip stream, whose trailer can say anything.
    AtMost { bound: u64, compressed: u64 },
}

impl Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Source::Plain(r) => r.read(buffer),
            Source::Gzip(r) => r.read(buffer),
        }
    }

    /// Appends up to `n` bytes, fewer only at the end. A plain file fills the memory directly, without
    /// clearing it first.
    fn append(&mut self, out: &mut Vec<u8>, n: u64) -> io::Result<usize> {
        match self {
            Source::Plain(r) => r.take(n).read_to_end(out),
            Source::Gzip(r) => r.take(n).read_to_end(out),
        }
    }
}

/// A gzip stream's claim is believed up to here; beyond, memory grows with the bytes that arrive.
const FIRST_RESERVE: u64 = 64 << 20;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

impl<'a> Reader<'a> {
    /// Opens a regular file of at most `limits.max_bytes`. Directories, pipes and devices are
    /// errors, and so is a file that is too large. The file is read, never mapped: a file that
    /// another process shortens is an error here and would be a crash with `mmap`.
    pub fn open(path: impl AsRef<Path>, limits: &Limits) -> Result<Reader<'static>, FormatError> {
        let (file, len) = open_regular(path.as_ref(), limits)?;
        let file = Box::new(BufReader::new(file));
        Ok(Reader::plain(file_name(path.as_ref()), file, len))
    }

    /// As [`Reader::open`], and inflates a gzip file, which is known by its first two bytes and
    /// not by its name. Offsets then count decompressed bytes.
    pub fn open_gz(
        path: impl AsRef<Path>,
        limits: &Limits,
    ) -> Result<Reader<'static>, FormatError> {
        let (file, len) = open_regular(path.as_ref(), limits)?;
        let name = file_name(path.as_ref());
        let mut file = BufReader::with_capacity(1 << 16, file);
        let start = file.fill_buf().map_err(|e| FormatError::io(&name, "cannot read", &e))?;
        if start.starts_with(&GZIP_MAGIC) {
            Ok(Reader::gzip(name, Box::new(file), len, limits))
        } else {
            Ok(Reader::plain(name, Box::new(file), len))
        }
    }

    /// Reads bytes in memory; `name` stands for the file in messages.
    pub fn from_slice(name: impl AsRef<Path>, bytes: &'a [u8]) -> Reader<'a> {
        Reader::plain(file_name(name.as_ref()), Box::new(bytes), bytes.len() as u64)
    }

    /// As [`Reader::from_slice`], and inflates bytes that begin as a gzip file does.
    pub fn from_slice_gz(name: impl AsRef<Path>, bytes: &'a [u8], limits: &Limits) -> Reader<'a> {
        if bytes.starts_with(&GZIP_MAGIC) {
            let name = file_name(name.as_ref());
            Reader::gzip(name, Box::new(bytes), bytes.len() as u64, limits)
        } else {
            Reader::from_slice(name, bytes)
        }
    }

    /// Reads from a stream that is known to hold `len` bytes.
    pub fn from_stream(
        name: impl AsRef<Path>,
        stream: impl BufRead + Send + 'a,
        len: u64,
    ) -> Reader<'a> {
        Reader::plain(file_name(name.as_ref()), Box::new(stream), len)
    }

    fn plain(file: String, source: Box<dyn BufRead + Send + 'a>, len: u64) -> Reader<'a> {
        Reader { file, source: Source::Plain(source), offset: 0, end: End::Exact(len) }
    }

    fn gzip(
        file: String,
        source: Box<dyn BufRead + Send + 'a>,
        len: u64,
        limits: &Limits,
    ) -> Reader<'a> {
        let source = Source::Gzip(Box::new(MultiGzDecoder::new(source)));
        let end = End::AtMost { bound: limits.inflated(len), compressed: len };
        Reader { file, source, offset: 0, end }
    }

    /// The file's name as messages show it.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// How many bytes have been read.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How many bytes are left; `None` in a gzip stream, which does not know.
    pub fn remaining(&self) -> Option<u64> {
        match self.end {
            End::Exact(len) => Some(len.saturating_sub(self.offset)),
            End::AtMost { .. } => None,
        }
    }

    /// An error of kind [`ErrorKind::Malformed`] about `field` at the present offset.
    pub fn malformed(
        &self,
        field: impl AsRef<str>,
        expected: impl AsRef<str>,
        found: impl AsRef<str>,
    ) -> FormatError {
        FormatError::new(ErrorKind::Malformed, &self.file, field, expected, found).at(self.offset)
    }

    /// Checks that `n` more bytes can come at all, without reading or allocating any.
    ///
    /// In a gzip stream that is the bound of the caller's [`Limits`], not a promise.
    pub fn claim(&self, field: impl AsRef<str>, n: u64) -> Result<(), FormatError> {
        match self.end {
            End::Exact(len) if n > len.saturating_sub(self.offset) => {
                let left = len.saturating_sub(self.offset);
                Err(self.malformed(field, count(n), format!("{left} left of {len} in all")))
            }
            End::AtMost { bound, compressed } if n > bound.saturating_sub(self.offset) => {
                let expected = format!(
                    "no more than {bound} bytes from a gzip file of {compressed}, the limit set"
                );
                let found = format!("a claim of {n} bytes more");
                Err(FormatError::new(ErrorKind::Limit, &self.file, field, expected, found)
                    .at(self.offset))
            }
            _ => Ok(()),
        }
    }

    /// The next `n` bytes. Fails before it allocates when there are not so many.
    pub fn bytes(&mut self, field: impl AsRef<str>, n: u64) -> Result<Vec<u8>, FormatError> {
        let field = field.as_ref();
        self.claim(field, n)?;
        let total = usize::try_from(n).map_err(|_| self.no_memory(field, n))?;
        let mut out = Vec::new();
        let mut goal = match self.end {
            End::Exact(_) => total,
            End::AtMost { .. } => total.min(FIRST_RESERVE as usize),
        };
        loop {
            let step = goal - out.len();
            out.try_reserve_exact(step).map_err(|_| self.no_memory(field, n))?;
            let got = self.source.append(&mut out, step as u64);
            let got = got.map_err(|e| self.read_error(field, &e))?;
            if got < step {
                return Err(self.early_end(field, n, out.len()));
            }
            if goal == total {
                self.offset += n;
                return Ok(out);
            }
            goal = total.min(goal.saturating_mul(2));
        }
    }

    /// Appends the next bytes to `out`: as many as are left, and `max` at most; none at the end. For formats that do not
    /// say how long they are: text. At the end of a gzip stream its checksum was verified.
    pub fn some(
        &mut self,
        field: impl AsRef<str>,
        max: u64,
        out: &mut Vec<u8>,
    ) -> Result<usize, FormatError> {
        let field = field.as_ref();
        let n = match self.end {
            End::Exact(len) => max.min(len.saturating_sub(self.offset)),
            // One more than allowed, so that a stream that ends at its bound is told from one that goes on.
            End::AtMost { bound, .. } => max.min(bound.saturating_sub(self.offset) + 1),
        };
        let step = usize::try_from(n).map_err(|_| self.no_memory(field, n))?;
        out.try_reserve(step).map_err(|_| self.no_memory(field, n))?;
        let got = self.source.append(out, n).map_err(|e| self.read_error(field, &e))?;
        match self.end {
            End::Exact(_) if got < step => return Err(self.early_end(field, n, got)),
            End::AtMost { .. } => self.claim(field, got as u64)?,
            End::Exact(_) => {}
        }
        self.offset += got as u64;
        Ok(got)
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(
        &mut self,
        field: impl AsRef<str>,
    ) -> Result<[u8; N], FormatError> {
        let field = field.as_ref();
        self.claim(field, N as u64)?;
        let mut out = [0; N];
        let mut filled = 0;
        while filled < N {
            match self.source.read(&mut out[filled..]) {
                Ok(0) => return Err(self.early_end(field, N as u64, filled)),
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.read_error(field, &e)),
            }
        }
        self.offset += N as u64;
        Ok(out)
    }

    /// One byte.
    pub fn u8(&mut self, field: impl AsRef<str>) -> Result<u8, FormatError> {
        self.array::<1>(field).map(|[b]| b)
    }

    /// Two bytes, the most significant first.
    pub fn u16_be(&mut self, field: impl AsRef<str>) -> Result<u16, FormatError> {
        self.array(field).map(u16::from_be_bytes)
    }

    /// Two bytes, the least significant first.
    pub fn u16_le(&mut self, field: impl AsRef<str>) -> Result<u16, FormatError> {
        self.array(field).map(u16::from_le_bytes)
    }

    /// Four bytes, the most significant first.
    pub fn u32_be(&mut self, field: impl AsRef<str>) -> Result<u32, FormatError> {
        self.array(field).map(u32::from_be_bytes)
    }

    /// Four bytes, the least significant first.
    pub fn u32_le(&mut self, field: impl AsRef<str>) -> Result<u32, FormatError> {
        self.array(field).map(u32::from_le_bytes)
    }

    /// Eight bytes, the most significant first.
    pub fn u64_be(&mut self, field: impl AsRef<str>) -> Result<u64, FormatError> {
        self.array(field).map(u64::from_be_bytes)
    }

    /// Eight bytes, the least significant first.
    pub fn u64_le(&mut self, field: impl AsRef<str>) -> Result<u64, FormatError> {
        self.array(field).map(u64::from_le_bytes)
    }

    /// Checks that nothing follows. In a gzip stream this also verifies the checksum and that no
    /// rubbish stands behind it; it inflates one byte at most.
    pub fn finish(mut self, field: impl AsRef<str>) -> Result<(), FormatError> {
        let field = field.as_ref();
        let expected = format!("{} in all", count(self.offset));
        match self.end {
            End::Exact(len) if len == self.offset => Ok(()),
            End::Exact(len) => Err(self.malformed(field, expected, format!("{len}"))),
            End::AtMost { .. } => {
                let mut one = Vec::new();
                let got = self.source.append(&mut one, 1);
                match got.map_err(|e| self.read_error(field, &e))? {
                    0 => Ok(()),
                    _ => Err(self.malformed(field, expected, "more")),
                }
            }
        }
    }

    fn early_end(&self, field: &str, n: u64, got: usize) -> FormatError {
        self.malformed(field, count(n), format!("{got} before the end, which came early"))
    }

    /// A decoder reports damage as an I/O error; tell it from a failing disk.
    fn read_error(&self, field: &str, error: &io::Error) -> FormatError {
        use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
        let whole = "a whole gzip stream";
        match (&self.source, error.kind()) {
            (Source::Gzip(_), UnexpectedEof) => {
                self.malformed(field, whole, "one that is cut off or has bytes behind its end")
            }
            (Source::Gzip(_), InvalidData | InvalidInput) => {
                self.malformed(field, whole, format!("a damaged one ({error})"))
            }
            _ => FormatError::io(&self.file, format!("cannot read {field}"), error),
        }
    }

    fn no_memory(&self, field: &str, n: u64) -> FormatError {
        let expected = format!("memory for {}", count(n));
        FormatError::new(ErrorKind::Limit, &self.file, field, expected, "too little")
            .at(self.offset)
    }
}

fn count(n: u64) -> String {
    if n == 1 { "1 byte".into() } else { format!("{n} bytes") }
}

/// Opens a regular file within the limit and returns it with its length.
pub(crate) fn open_regular(path: &Path, limits: &Limits) -> Result<(File, u64), FormatError> {
    let cannot_open = |e: &io::Error| FormatError::io(path, "cannot open", e);
    // Opening a pipe would wait for its writer, so the kind is asked first; and asked again of the
    // open file, for the path may lead elsewhere by then.
    require_regular(path, fs::metadata(path).map_err(|e| cannot_open(&e))?.file_type())?;
    let file = File::open(path).map_err(|e| cannot_open(&e))?;
    let meta = file.metadata().map_err(|e| cannot_open(&e))?;
    require_regular(path, meta.file_type())?;
    if meta.len() > limits.max_bytes {
        let expected = format!("at most {}, the limit set", count(limits.max_bytes));
        let found = count(meta.len());
        return Err(FormatError::new(ErrorKind::Limit, path, "size", expected, found));
    }
    Ok((file, meta.len()))
}

pub(crate) fn require_regular(path: &Path, kind: FileType) -> Result<(), FormatError> {
    if kind.is_file() {
        return Ok(());
    }
    let found = describe(kind);
    Err(FormatError::new(ErrorKind::Io, path, "kind of file", "a regular file", found))
}

fn describe(kind: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return "a named pipe";
        }
        if kind.is_socket() {
            return "a socket";
        }
        if kind.is_char_device() || kind.is_block_device() {
            return "a device";
        }
    }
    if kind.is_dir() { "a directory" } else { "something else" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_both_byte_orders() {
        let bytes: Vec<u8> = (1..=29).collect();
        let mut r = Reader::from_slice("t", &bytes);
        assert_eq!(r.u8("a").unwrap(), 1);
        assert_eq!(r.u16_be("b").unwrap(), 0x0203);
        assert_eq!(r.u16_le("c").unwrap(), 0x0504);
        assert_eq!(r.u32_be("d").unwrap(), 0x0607_0809);
        assert_eq!(r.u32_le("e").unwrap(), 0x0d0c_0b0a);
        assert_eq!(r.u64_be("f").unwrap(), 0x0e0f_1011_1213_1415);
        assert_eq!(r.u64_le("g").unwrap(), 0x1d1c_1b1a_1918_1716);
        assert_eq!((r.offset(), r.remaining()), (29, Some(0)));
        r.finish("end").unwrap();
    }

    /// A stream that must not be asked for anything.
    struct Untouchable;
    impl Read for Untouchable {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            panic!("read although the claim cannot be true")
        }
    }

    #[test]
    fn a_false_claim_neither_reads_nor_allocates() {
        for n in [101, 1 << 40, 1 << 63, u64::MAX] {
            let mut r = Reader::from_stream("t", BufReader::new(Untouchable), 100);
            let e = r.bytes("data", n).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Malformed);
            assert_eq!(e.found(), "100 left of 100 in all");
        }
        // A gzip stream is held to its bound in the same way.
        let limits = Limits { max_ratio: 10, free_bytes: 50, ..Limits::default() };
        let gz = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0];
        let e = Reader::from_slice_gz("t", &gz, &limits).bytes("data", 1 << 40).unwrap_err();
        assert_eq!((e.kind(), e.offset()), (ErrorKind::Limit, Some(0)));
        assert!(e.expected().contains("100 bytes from a gzip file of 10"), "{e}");
    }

    #[test]
    fn a_source_that_ends_early_or_fails_is_an_error() {
        // The file was 10 bytes when it was opened and is 4 now.
        let mut r = Reader::from_stream("t", &[1u8, 2, 3, 4][..], 10);
        let e = r.bytes("data", 8).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Malformed);
        assert!(e.found().starts_with("4 before the end"), "{e}");

        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::from(io::ErrorKind::PermissionDenied))
            }
        }
        let e = Reader::from_stream("t", BufReader::new(Broken), 8).u64_le("n").unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Io);
        assert_eq!(e.io_kind(), Some(io::ErrorKind::PermissionDenied));
    }

    #[test]
    fn some_bytes_are_those_that_are_left() {
        let mut r = Reader::from_slice("t", &[1, 2, 3, 4, 5]);
        let mut out = Vec::new();
        assert_eq!([3, 3, 3].map(|max| r.some("text", max, &mut out).unwrap()), [3, 2, 0]);
        assert_eq!(out, [1, 2, 3, 4, 5]);
        // A gzip stream of 1000 zeros: up to its bound, not beyond, and not without its end.
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut gz, &[0; 1000]).unwrap();
        let gz = gz.finish().unwrap();
        let read = |bytes: &[u8], free: u64| -> Result<usize, FormatError> {
            let limits = Limits { max_ratio: 1, free_bytes: free, ..Limits::default() };
            let mut r = Reader::from_slice_gz("t", bytes, &limits);
            let mut out = Vec::new();
            while r.some("text", 100, &mut out)? > 0 {}
            Ok(out.len())
        };
        assert_eq!(read(&gz, 1000), Ok(1000));
        assert_eq!(read(&gz, 999).unwrap_err().kind(), ErrorKind::Limit);
        for end in 3..gz.len() {
            assert_eq!(read(&gz[..end], 1000).unwrap_err().kind(), ErrorKind::Malformed, "{end}");
        }
    }

    #[test]
    fn only_regular_files_within_the_limit_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { max_bytes: 4, ..Limits::default() };
        let error = |p: &Path| Reader::open(p, &limits).err().unwrap();

        let e = error(dir.path());
        assert_eq!((e.kind(), e.found()), (ErrorKind::Io, "a directory"));
        let e = error(&dir.path().join("absent"));
        assert_eq!(e.io_kind(), Some(io::ErrorKind::NotFound));

        let file = dir.path().join("f");
        fs::write(&file, [0; 5]).unwrap();
        let e = error(&file);
        assert_eq!((e.kind(), e.found()), (ErrorKind::Limit, "5 bytes"));
        fs::write(&file, [7; 4]).unwrap();
        assert_eq!(Reader::open(&file, &limits).unwrap().bytes("all", 4).unwrap(), [7; 4]);
    }

    #[cfg(unix)]
    #[test]
    fn pipes_and_devices_are_refused_without_waiting() {
        let limits = Limits::default();
        let e = Reader::open("/dev/zero", &limits).err().unwrap();
        assert_eq!(e.found(), "a device");
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status();
        if made.is_ok_and(|s| s.success()) {
            assert_eq!(Reader::open_gz(&fifo, &limits).err().unwrap().found(), "a named pipe");
        }
    }
}
