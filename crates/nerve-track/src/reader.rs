//! Reading the events of a run, also while it grows.

use crate::event::Event;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Longest line that is read, in bytes: a confusion matrix of a thousand classes has a few million.
const LONGEST: usize = 64 << 20;
const CHUNK: usize = 1 << 20;

/// Reads the events of a file from where it stopped, as often as it is asked.
///
/// A line without its end is not read yet: its writer is at it. A line that is none, for instance
/// torn by a full disk, is skipped and counted. A file that has become shorter is read anew.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    /// Where the first line that was not read begins.
    offset: u64,
    skipped: u64,
}

impl Reader {
    /// From the beginning of a file, which need not exist yet.
    pub fn new(path: impl AsRef<Path>) -> Reader {
        Reader::from(path, 0)
    }

    /// From an offset that [`offset`](Reader::offset) once gave.
    pub fn from(path: impl AsRef<Path>, offset: u64) -> Reader {
        Reader { path: path.as_ref().to_path_buf(), offset, skipped: 0 }
    }

    /// Where the first line begins that was not read yet, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How many lines were none.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Calls `each` with every whole line that is new, as text and with the offset behind it.
    ///
    /// # Errors
    /// Those of the disk; that the file is not there (yet) is none.
    pub fn lines(&mut self, mut each: impl FnMut(&str, u64)) -> io::Result<()> {
        let mut file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            file => file?,
        };
        if file.metadata()?.len() < self.offset {
            (self.offset, self.skipped) = (0, 0);
        }
        file.seek(SeekFrom::Start(self.offset))?;
        let mut buffer = Vec::new();
        loop {
            let known = buffer.len();
            let read = (&mut file).take(CHUNK as u64).read_to_end(&mut buffer)?;
            if read == 0 {
                return Ok(());
            }
            let Some(end) = buffer[known..].iter().rposition(|&byte| byte == b'\n') else {
                if buffer.len() > LONGEST {
                    self.skipped += 1;
                    self.offset += buffer.len() as u64;
                    buffer.clear();
                }
                continue;
            };
            let end = known + end + 1;
            for line in buffer[..end].split_inclusive(|&byte| byte == b'\n') {
                self.offset += line.len() as u64;
                match std::str::from_utf8(line) {
                    Ok(text) if text.trim().is_empty() => {}
                    Ok(text) => each(text.trim_end(), self.offset),
                    Err(_) => self.skipped += 1,
                }
            }
            buffer.drain(..end);
        }
    }

    /// The events that are new.
    ///
    /// # Errors
    /// As [`lines`](Reader::lines).
    pub fn events(&mut self) -> io::Result<Vec<Event>> {
        let mut events = Vec::new();
        let mut skipped = 0;
        self.lines(|line, _| match serde_json::from_str(line) {
            Ok(event) => events.push(event),
            Err(_) => skipped += 1,
        })?;
        self.skipped += skipped;
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Number, What};
    use std::io::Write;

    fn scalar(step: u64) -> Event {
        let what = What::Scalar { step, epoch: 1, tag: "loss/train".into(), v: Number(0.5) };
        Event { t: step as f64, what }
    }

    #[test]
    fn what_grows_is_read_once_and_half_a_line_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let mut reader = Reader::new(&path);
        assert_eq!(reader.events().unwrap(), []);
        let mut file = File::create(&path).unwrap();
        writeln!(file, "{}", scalar(1).line()).unwrap();
        let second = scalar(2).line();
        file.write_all(&second.as_bytes()[..20]).unwrap();
        assert_eq!(reader.events().unwrap(), [scalar(1)]);
        assert_eq!(reader.events().unwrap(), []);
        file.write_all(&second.as_bytes()[20..]).unwrap();
        file.write_all(b"\n\xff\xff\n{\"t\":1}\n").unwrap();
        writeln!(file, "{}", scalar(3).line()).unwrap();
        assert_eq!(reader.events().unwrap(), [scalar(2), scalar(3)]);
        assert_eq!(reader.skipped(), 2);
        assert_eq!(reader.offset(), std::fs::metadata(&path).unwrap().len());
        std::fs::write(&path, scalar(9).line() + "\n").unwrap();
        assert_eq!(reader.events().unwrap(), [scalar(9)], "a shorter file is another one");
    }
}
