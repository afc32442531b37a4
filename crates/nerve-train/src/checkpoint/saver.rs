//! The callback that saves a training.

use super::background::Background;
use super::snapshot::{Position, Snapshot};
use super::store::Checkpoints;
use crate::callback::{Callback, CallbackError, Capture, Moment};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// When a training is saved, beside its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Every {
    /// After so many epochs.
    pub epochs: Option<u64>,
    /// After so many steps.
    pub steps: Option<u64>,
    /// After so much time.
    pub time: Option<Duration>,
}

impl Default for Every {
    /// After every epoch, and every five minutes.
    fn default() -> Self {
        Every { epochs: Some(1), steps: None, time: Some(Duration::from_secs(300)) }
    }
}

/// A checkpoint that is safe on the disk.
#[derive(Clone, Debug)]
pub struct Saved {
    /// Where the training stood.
    pub position: Position,
    /// The folder.
    pub folder: PathBuf,
    /// How long the training stood still for it.
    pub stopped: Duration,
    /// How long it took from then until it was safe.
    pub took: Duration,
}

/// Saves the training: as it begins, after epochs, steps or minutes as [`Every`] says, and when it
/// ends or is interrupted.
///
/// The training stands still only while its numbers are copied. They are written by a
/// [`Background`]; if the disk cannot follow, the newest is written, and one of the best epoch before
/// others. A disk that is full does not end the training: the [`Background`] knows what was wrong.
pub struct Saver {
    checkpoints: Checkpoints,
    background: Arc<Background>,
    every: Every,
    last: Instant,
    /// Snapshots whose memory can be used again.
    free: Arc<Mutex<Vec<Snapshot>>>,
    saved: Arc<dyn Fn(Saved) + Send + Sync>,
}

impl Saver {
    /// Saves into these checkpoints.
    pub fn new(checkpoints: Checkpoints, background: Arc<Background>, every: Every) -> Saver {
        let (free, saved) = (Arc::default(), Arc::new(|_| {}));
        Saver { checkpoints, background, every, last: Instant::now(), free, saved }
    }

    /// Calls this, on the other thread, with each checkpoint that is safe on the disk.
    #[must_use]
    pub fn on_saved(self, saved: impl Fn(Saved) + Send + Sync + 'static) -> Saver {
        Saver { saved: Arc::new(saved), ..self }
    }
}

impl Callback for Saver {
    fn wants_snapshot(&mut self, moment: &Moment) -> bool {
        let every = |count: u64, wanted: Option<u64>| {
            wanted.is_some_and(|wanted| count.is_multiple_of(wanted.max(1)))
        };
        match *moment {
            Moment::Begin | Moment::End => true,
            Moment::Step { step } => {
                every(step, self.every.steps)
                    || self.every.time.is_some_and(|time| self.last.elapsed() >= time)
            }
            Moment::Epoch { epoch, best } => best || every(epoch, self.every.epochs),
        }
    }

    fn on_snapshot(&mut self, moment: &Moment, capture: &Capture<'_>) -> Result<(), CallbackError> {
        let begun = Instant::now();
        self.last = begun;
        let best = matches!(moment, Moment::Epoch { best: true, .. });
        let mut room = Room::of(&self.free);
        capture.take(&mut room.snapshot);
        if *moment == Moment::Begin {
            // At once, so that a folder that cannot be written is known before the first step.
            self.checkpoints.save(&room.snapshot, false)?;
            // Room for one more while one is written: memory that is new is slow to fill.
            let mut second = Room { snapshot: Snapshot::default(), free: self.free.clone() };
            capture.take(&mut second.snapshot);
            return Ok(());
        }
        let stopped = begun.elapsed();
        let (checkpoints, saved) = (self.checkpoints.clone(), self.saved.clone());
        let job = Job { room, best, stopped, begun, checkpoints, saved };
        // One of the best epoch waits for itself: what comes after it must not push it out.
        self.background.submit(if best { "best" } else { "checkpoint" }, move || job.run());
        if *moment == Moment::End {
            self.background.flush();
        }
        Ok(())
    }
}

/// A snapshot whose memory goes back to where it came from.
struct Room {
    snapshot: Snapshot,
    free: Arc<Mutex<Vec<Snapshot>>>,
}

impl Room {
    fn of(free: &Arc<Mutex<Vec<Snapshot>>>) -> Room {
        let known = free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Room { snapshot: known.unwrap_or_default(), free: free.clone() }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let snapshot = std::mem::take(&mut self.snapshot);
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(snapshot);
    }
}

/// A snapshot on its way to the disk.
struct Job {
    room: Room,
    best: bool,
    stopped: Duration,
    begun: Instant,
    checkpoints: Checkpoints,
    saved: Arc<dyn Fn(Saved) + Send + Sync>,
}

impl Job {
    fn run(self) -> Result<(), String> {
        let folder = self.checkpoints.save(&self.room.snapshot, self.best);
        let (position, took) = (self.room.snapshot.position, self.begun.elapsed());
        let folder = folder.map_err(|error| error.to_string())?;
        (self.saved)(Saved { position, folder, stopped: self.stopped, took });
        Ok(())
    }
}
