//! Writing events.

use crate::event::{Event, What};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many bytes of events may wait for a disk that takes none.
const MOST: usize = 16 << 20;

/// Appends events to a file. Giving one costs its formatting; [`flush`](EventLog::flush), on another
/// thread, writes what has gathered. Who gives an event never waits for the disk, also for one that hangs.
///
/// A disk that is full loses no event as long as no more than 16 MiB gather; after that new ones are dropped
/// and counted, and a note says so where the file goes on.
#[derive(Clone)]
pub struct EventLog {
    gathered: Arc<Mutex<Gathered>>,
    written: Arc<Mutex<Written>>,
}

/// What was given and is not being written yet.
#[derive(Default)]
struct Gathered {
    lines: Vec<u8>,
    dropped: u64,
}

/// The file, and what it has not taken yet.
struct Written {
    file: File,
    lines: Vec<u8>,
    /// Whether the last write failed: then only the first failure is told.
    failing: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl EventLog {
    /// Appends to this file, which is made if it is not there. If its last line was torn, it is ended,
    /// so that it spoils no other.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn open(path: &Path) -> io::Result<EventLog> {
        let mut file = OpenOptions::new().append(true).create(true).read(true).open(path)?;
        if !ends_with_line(&mut file)? {
            file.write_all(b"\n")?;
        }
        let written = Written { file, lines: Vec::new(), failing: false };
        Ok(EventLog { gathered: Arc::default(), written: Arc::new(Mutex::new(written)) })
    }

    /// Adds an event, at the time of the clock.
    pub fn push(&self, what: What) {
        let line = Event::now(what).line();
        let mut gathered = lock(&self.gathered);
        if gathered.lines.len() + line.len() > MOST {
            gathered.dropped += 1;
            return;
        }
        gathered.lines.extend_from_slice(line.as_bytes());
        gathered.lines.push(b'\n');
    }

    /// Writes what has gathered; with `sync` puts it on the disk.
    ///
    /// # Errors
    /// Those of the disk, each only once until it works again. What was not written is kept.
    pub fn flush(&self, sync: bool) -> Result<(), String> {
        let mut written = lock(&self.written);
        let Written { file, lines, failing } = &mut *written;
        // What was taken over is written before more is: of both together there is a bound.
        let mut result = write(file, lines);
        if result.is_ok() {
            let dropped = {
                let mut gathered = lock(&self.gathered);
                std::mem::swap(lines, &mut gathered.lines);
                std::mem::take(&mut gathered.dropped)
            };
            if dropped > 0 {
                let text = format!("{dropped} events were lost: the disk took none");
                let line = Event::now(What::Note { level: "warning".into(), text }).line() + "\n";
                lines.extend_from_slice(line.as_bytes());
            }
            result = write(file, lines);
        }
        if sync && result.is_ok() {
            result = file.sync_data();
        }
        let told = std::mem::replace(failing, result.is_err());
        match result {
            Err(error) if !told => Err(format!("cannot write the events: {error}")),
            _ => Ok(()),
        }
    }
}

/// Writes all of it, and forgets what was written.
fn write(file: &mut File, waiting: &mut Vec<u8>) -> io::Result<()> {
    let mut done = 0;
    let result = loop {
        if done == waiting.len() {
            break Ok(());
        }
        match file.write(&waiting[done..]) {
            Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Err(error),
        }
    };
    waiting.drain(..done);
    result
}

fn ends_with_line(file: &mut File) -> io::Result<bool> {
    use std::io::{Read, Seek, SeekFrom};
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reader;

    fn note(text: &str) -> What {
        What::Note { level: "note".into(), text: text.into() }
    }

    #[test]
    fn a_torn_line_spoils_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let log = EventLog::open(&path).unwrap();
        log.push(note("one"));
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
        log.flush(true).unwrap();
        // Killed within a line.
        std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(b"{\"t\":1,\"k\":\"no"))
            .unwrap();
        let log = EventLog::open(&path).unwrap();
        log.push(note("two"));
        log.flush(false).unwrap();
        let mut reader = Reader::new(&path);
        let texts: Vec<What> =
            reader.events().unwrap().into_iter().map(|event| event.what).collect();
        assert_eq!(texts, [note("one"), note("two")]);
        assert_eq!(reader.skipped(), 1);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn x12_a_disk_that_is_full_keeps_what_it_could_not_write() {
        let log = EventLog::open(Path::new("/dev/full")).unwrap();
        log.push(note("one"));
        assert!(log.flush(false).unwrap_err().contains("cannot write the events"));
        assert!(log.flush(false).is_ok(), "told once");
        let text = "x".repeat(1 << 20);
        (0..20).for_each(|_| log.push(note(&text)));
        let gathered = lock(&log.gathered);
        assert!(gathered.lines.len() <= MOST && gathered.dropped > 0);
    }
}
