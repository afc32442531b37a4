//! Writing events.

use crate::event::{Event, What};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many bytes of events may wait for a disk that takes none.
const MOST: usize = 16 << 20;

/// Appends events to a file. Giving one costs its formatting; [`flush`](EventLog::flush), on another
/// thread, writes what has gathered.
///
/// A disk that is full loses no event as long as no more than 16 MiB gather; after that new ones are dropped
/// and counted, and a note says so where the file goes on.
#[derive(Clone)]
pub struct EventLog(Arc<Mutex<Inner>>);

struct Inner {
    file: File,
    waiting: Vec<u8>,
    dropped: u64,
    /// Whether the last write failed: then only the first failure is told.
    failing: bool,
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
        let inner = Inner { file, waiting: Vec::new(), dropped: 0, failing: false };
        Ok(EventLog(Arc::new(Mutex::new(inner))))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an event, at the time of the clock.
    pub fn push(&self, what: What) {
        let line = Event::now(what).line();
        let mut inner = self.inner();
        if inner.waiting.len() + line.len() > MOST {
            inner.dropped += 1;
            return;
        }
        inner.waiting.extend_from_slice(line.as_bytes());
        inner.waiting.push(b'\n');
    }

    /// Writes what has gathered; with `sync` puts it on the disk.
    ///
    /// # Errors
    /// Those of the disk, each only once until it works again. What was not written is kept.
    pub fn flush(&self, sync: bool) -> Result<(), String> {
        let mut inner = self.inner();
        if inner.dropped > 0 && !inner.failing {
            let text = format!("{} events were lost: the disk took none", inner.dropped);
            inner.dropped = 0;
            let line = Event::now(What::Note { level: "warning".into(), text }).line() + "\n";
            inner.waiting.extend_from_slice(line.as_bytes());
        }
        // The lock is held: another event waits for the page cache, in which a write ends at once.
        let Inner { file, waiting, .. } = &mut *inner;
        let written = write(file, waiting);
        let synced = match (&written, sync) {
            (Ok(()), true) => file.try_clone(),
            (Ok(()), false) => {
                inner.failing = false;
                return Ok(());
            }
            _ => written.map(|()| unreachable!("it failed")),
        };
        let told = inner.failing;
        inner.failing = synced.is_err();
        drop(inner);
        match synced.and_then(|file| file.sync_data()) {
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
        let inner = log.inner();
        assert!(inner.waiting.len() <= MOST && inner.dropped > 0);
    }
}
