//! The request log: a line of JSON for each answer.

use serde_json::json;
use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::watch::Counter;

/// Lines that may wait to be written; more are dropped and counted, for no request waits for a disk.
const WAITING: usize = 4096;

/// Writes lines on a thread of its own.
#[derive(Clone, Debug)]
pub struct Log {
    lines: SyncSender<String>,
    /// Lines that were dropped since the last that was not.
    dropped: Arc<Counter>,
}

impl Log {
    /// Into a file, or whatever else takes bytes.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn new(mut into: impl Write + Send + 'static) -> std::io::Result<Log> {
        let (lines, waiting) = sync_channel::<String>(WAITING);
        let write = move || {
            while let Ok(line) = waiting.recv() {
                let more = waiting.try_iter();
                let all: String = std::iter::once(line).chain(more).collect();
                let _ = into.write_all(all.as_bytes()).and_then(|()| into.flush());
            }
        };
        std::thread::Builder::new().name("nerve-log".into()).spawn(write)?;
        Ok(Log { lines, dropped: Arc::default() })
    }

    /// Tells of an answer. Whatever a client sent stands in the line as JSON text: it cannot begin another.
    pub(crate) fn tell(&self, method: &str, path: &str, status: u16, took: Duration) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let ms = (took.as_secs_f64() * 1e6).round() / 1e3;
        let path: String = path.chars().take(200).collect();
        let mut line = json!({ "time": now.as_secs_f64(), "method": method, "path": path, "status": status, "ms": ms });
        let dropped = self.dropped.get();
        if dropped > 0 {
            line["dropped_before"] = dropped.into();
        }
        match self.lines.try_send(format!("{line}\n")) {
            Ok(()) => self.dropped.less(dropped),
            Err(_) => self.dropped.add(1),
        }
    }
}
