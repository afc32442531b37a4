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
        let free = || self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut snapshot = free().pop().unwrap_or_default();
        capture.take(&mut snapshot);
        if *moment == Moment::Begin {
            // At once, so that a folder that cannot be written is known before the first step.
            self.checkpoints.save(&snapshot, false)?;
            free().push(snapshot);
            return Ok(());
        }
        let stopped = begun.elapsed();
        let job = Job {
            snapshot,
            best,
            stopped,
            begun,
            checkpoints: self.checkpoints.clone(),
            free: self.free.clone(),
            saved: self.saved.clone(),
        };
        // One of the best epoch waits for itself: what comes after it must not push it out.
        self.background.submit(if best { "best" } else { "checkpoint" }, move || job.run());
        if *moment == Moment::End {
            self.background.flush();
        }
        Ok(())
    }
}

/// A snapshot on its way to the disk.
struct Job {
    snapshot: Snapshot,
    best: bool,
    stopped: Duration,
    begun: Instant,
    checkpoints: Checkpoints,
    free: Arc<Mutex<Vec<Snapshot>>>,
    saved: Arc<dyn Fn(Saved) + Send + Sync>,
}

impl Job {
    fn run(self) -> Result<(), String> {
        let folder = self.checkpoints.save(&self.snapshot, self.best);
        let (position, took) = (self.snapshot.position, self.begun.elapsed());
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(self.snapshot);
        let folder = folder.map_err(|error| error.to_string())?;
        (self.saved)(Saved { position, folder, stopped: self.stopped, took });
        Ok(())
    }
}
