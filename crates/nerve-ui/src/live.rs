//! New events of a run, as they are written: server-sent events.

use crate::runs::{Runs, now};
use axum::body::Bytes;
use futures_core::Stream;
use nerve_track::{EVENTS, Reader, RunFolder};
use serde_json::Value;
use std::convert::Infallible;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// How often the file is looked at.
const EVERY: Duration = Duration::from_millis(250);
/// How often something is said, if only that there is nothing new.
const QUIET: u32 = 40;
/// Lines are sent together up to this many bytes.
const TOGETHER: usize = 64 << 10;

/// What is sent to one page.
#[derive(Debug)]
pub struct Events(Receiver<Bytes>);

impl Stream for Events {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|bytes| bytes.map(Ok))
    }
}

/// Follows a run from an offset in its events until nobody listens any more.
///
/// A message of no name holds lines of `events.jsonl`, its id is the offset behind them: a page that
/// comes back with it misses nothing and gets nothing twice. A message named `state` holds how the
/// run stands, whenever that has changed.
pub fn follow(
    runs: Arc<Runs>,
    run: RunFolder,
    offset: u64,
    permit: OwnedSemaphorePermit,
) -> Events {
    let (sender, receiver) = channel(4);
    tokio::spawn(async move {
        let mut tail = Tail::new(runs, run, offset);
        let mut quiet = 0;
        loop {
            let to = sender.clone();
            let done = tokio::task::spawn_blocking(move || {
                let sent = tail.send(&to);
                (tail, sent)
            });
            let Ok((back, sent)) = done.await else { break };
            tail = back;
            quiet = if sent { 0 } else { quiet + 1 };
            if quiet >= QUIET {
                quiet = 0;
                let _ = sender.send(Bytes::from_static(b": nothing new\n\n")).await;
            }
            if tokio::time::timeout(EVERY, sender.closed()).await.is_ok() {
                break;
            }
        }
        drop(permit);
    });
    Events(receiver)
}

struct Tail {
    runs: Arc<Runs>,
    run: RunFolder,
    reader: Reader,
    state: Value,
}

impl Tail {
    fn new(runs: Arc<Runs>, run: RunFolder, offset: u64) -> Tail {
        let path = run.file(EVENTS);
        let offset = if begins_a_line(&path, offset) { offset } else { 0 };
        Tail { runs, reader: Reader::from(path, offset), run, state: Value::Null }
    }

    /// Sends what is new; whether there was anything.
    fn send(&mut self, to: &Sender<Bytes>) -> bool {
        let mut message = String::new();
        let mut end = 0;
        let mut sent = false;
        let mut put = |message: &mut String, end: u64| {
            if !message.is_empty() {
                // If nobody listens any more the task ends soon.
                let _ = to.blocking_send(Bytes::from(format!("id: {end}\n{message}\n")));
                message.clear();
                sent = true;
            }
        };
        // An error of the disk may pass: the next look tells.
        let _ = self.reader.lines(|line, offset| {
            // A carriage return would end the line of the message.
            if !line.contains('\r') {
                message.push_str("data: ");
                message.push_str(line);
                message.push('\n');
            }
            end = offset;
            if message.len() > TOGETHER {
                put(&mut message, end);
            }
        });
        put(&mut message, end);
        self.send_state(to) || sent
    }

    fn send_state(&mut self, to: &Sender<Bytes>) -> bool {
        let mut state = self.runs.summary(&self.run, now());
        let seen = state.clone();
        // The clock goes on; that alone is no news. Nor is the length of the file.
        for clock in ["age", "heartbeat", "bytes"] {
            state[clock] = Value::Null;
        }
        let new = self.state != state;
        if new {
            self.state = state;
            let _ = to.blocking_send(Bytes::from(format!("event: state\ndata: {seen}\n\n")));
        }
        new
    }
}

/// Whether a line begins at an offset of a file: what a page says it has seen is not believed.
fn begins_a_line(path: &Path, offset: u64) -> bool {
    let before = || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(offset.saturating_sub(1)))?;
        let mut byte = [0];
        file.read_exact(&mut byte)?;
        std::io::Result::Ok(byte[0])
    };
    offset == 0 || before().is_ok_and(|byte| byte == b'\n')
}
