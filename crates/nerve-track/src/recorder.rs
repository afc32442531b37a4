//! The callback that writes a run down.

use crate::event::{FORMAT, Number, What};
use crate::folder::{EVENTS, METRICS, RunFolder, STATE};
use crate::log::EventLog;
use crate::state::{State, Status};
use crate::system::System;
use nerve_formats::write_atomic;
use nerve_train::checkpoint::Saved;
use nerve_train::{
    Background, Callback, CallbackError, Control, History, Mode, Outcome, Row, StepEnd, TrainBegin,
};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often what has gathered is written.
const TICK: Duration = Duration::from_millis(250);
/// Between two points on the curves, where no number of steps is asked for.
const POINT: Duration = Duration::from_millis(100);
/// Between two looks at the load of the machine.
const SYSTEM: Duration = Duration::from_secs(10);

/// Writes a run down as it goes on: events, `state.json`, `metrics.csv`.
///
/// The curves get the mean loss since the last point and the mean length of the gradient, if the training
/// tells it; the learning rate where it changed, and the time of a step; each epoch its row. All files are written by a [`Background`]; the training formats a line
/// now and then.
///
/// Who made it says at last how it ended: [`end`](Recorder::end). If nobody does, since the process
/// ends with a panic, the run has failed.
pub struct Recorder {
    folder: RunFolder,
    log: EventLog,
    background: Arc<Background>,
    state: Arc<Mutex<State>>,
    every: Option<u64>,
    since: Since,
    /// How long the training has waited for data, in seconds.
    waited: Arc<Mutex<f64>>,
    ended: bool,
}

/// What has come together since the last point.
struct Since {
    /// When the last point was.
    point: Instant,
    /// When the last step ended, or the epoch began: what comes between epochs is no time of a step.
    mark: Instant,
    /// The last step that was done.
    step: u64,
    steps: u64,
    busy: Duration,
    loss: f64,
    grad_norm: f64,
    lr: f64,
}

impl Since {
    fn new(step: u64, lr: f64) -> Since {
        let now = Instant::now();
        let (busy, loss, grad_norm) = (Duration::ZERO, 0.0, 0.0);
        Since { point: now, mark: now, step, steps: 0, busy, loss, grad_norm, lr }
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

impl Recorder {
    /// Writes into this folder; a point on the curves after `every` steps, or up to ten in a second.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn new(
        folder: &RunFolder,
        background: Arc<Background>,
        every: Option<u64>,
    ) -> io::Result<Recorder> {
        let log = EventLog::open(&folder.file(EVENTS))?;
        let began = State::read(&folder.file(STATE)).map_or_else(|_| now(), |state| state.began);
        let state = State {
            status: Status::Running,
            reason: String::new(),
            pid: std::process::id(),
            heartbeat: now(),
            began,
            epoch: 0,
            epochs: 0,
            step: 0,
            best: None,
            goal: None,
            exit_code: None,
        };
        let since = Since::new(0, f64::NAN);
        let recorder = Recorder {
            folder: folder.clone(),
            log,
            background,
            state: Arc::new(Mutex::new(state)),
            every,
            since,
            waited: Arc::default(),
            ended: false,
        };
        recorder.beat();
        recorder.background.every(TICK, recorder.tick());
        Ok(recorder)
    }

    /// The events, for others that have something to write down.
    pub fn log(&self) -> EventLog {
        self.log.clone()
    }

    /// What writes a checkpoint down once it is safe.
    pub fn on_saved(&self) -> impl Fn(Saved) + Send + Sync + 'static {
        let (log, root) = (self.log(), self.folder.path().to_path_buf());
        move |saved: Saved| {
            let folder =
                saved.folder.strip_prefix(&root).map_or(saved.folder.clone(), PathBuf::from);
            let ms = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
            log.push(What::Checkpoint {
                step: saved.position.step,
                epoch: saved.position.epoch,
                folder: folder.to_string_lossy().into_owned(),
                stopped_ms: ms(saved.stopped),
                saved_ms: ms(saved.took),
            });
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is done again and again: the events, a heartbeat, the load.
    fn tick(&self) -> impl FnMut() -> Result<(), String> + Send + 'static {
        let (log, state, path) = (self.log(), self.state.clone(), self.folder.file(STATE));
        let waited = self.waited.clone();
        let (mut beat, mut looked) = (Instant::now(), Instant::now());
        let (mut system, mut waited_before) = (System::default(), 0.0);
        move || {
            if looked.elapsed() >= SYSTEM {
                let passed = looked.elapsed().as_secs_f64();
                looked = Instant::now();
                let load = system.look();
                let waited = *waited.lock().unwrap_or_else(PoisonError::into_inner);
                let data_wait = Number(((waited - waited_before) / passed).clamp(0.0, 1.0));
                waited_before = waited;
                let step = state.lock().unwrap_or_else(PoisonError::into_inner).step;
                log.push(What::System { step, cpu: load.cpu, memory: load.memory, data_wait });
            }
            if beat.elapsed() >= State::HEARTBEAT {
                beat = Instant::now();
                let seen = {
                    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                    state.heartbeat = now();
                    // A copy: the training must not wait while the disk is written.
                    state.clone()
                };
                // If the disk takes none, the events say so.
                let _ = seen.show(&path);
            }
            log.flush(false)
        }
    }

    /// Says at once how the run stands.
    fn beat(&self) {
        self.state().heartbeat = now();
        let state = self.state().clone();
        // If the disk takes none, the events say so.
        let _ = state.show(&self.folder.file(STATE));
    }

    /// Writes down something to know.
    pub fn note(&self, level: &str, text: impl Into<String>) {
        self.log.push(What::Note { level: level.into(), text: text.into() });
    }

    /// Says how the run ended, and waits until all is written.
    ///
    /// # Errors
    /// The disk: what could not be written.
    pub fn end(&mut self, status: Status, reason: &str, exit_code: u8) -> Result<(), String> {
        self.ended = true;
        let step = self.state().step;
        self.log.push(What::End { status, reason: reason.into(), step });
        self.background.flush();
        let flushed = self.log.flush(true);
        {
            let mut state = self.state();
            (state.status, state.reason) = (status, reason.into());
            (state.exit_code, state.heartbeat) = (Some(exit_code), now());
        }
        // The clock's work is at an end, so that it says nothing else any more.
        self.background.every(Duration::MAX, || Ok(()));
        let state = self.state().clone();
        let written = state.write(&self.folder.file(STATE)).map_err(|error| error.to_string());
        flushed.and(written)
    }

    fn scalar(&self, step: u64, epoch: u64, tag: &str, v: f64) {
        self.log.push(What::Scalar { step, epoch, tag: tag.into(), v: Number(v) });
    }

    /// Writes the table of the epochs.
    fn history(&self, history: &History) {
        let (path, csv) = (self.folder.file(METRICS), history.to_csv());
        self.background.submit("history", move || {
            write_atomic(&path, |file| file.write_all(csv.as_bytes()))
                .map_err(|error| error.to_string())
        });
    }

    /// A row of the history, as curves and as a whole.
    fn epoch(&self, row: &Row, history: &History) {
        let (step, epoch) = (row.step, row.epoch);
        self.scalar(step, epoch, "loss/epoch", row.loss);
        self.scalar(step, epoch, "lr", row.lr);
        let mut scores = BTreeMap::from([("loss".to_string(), Number(row.loss))]);
        for (name, &v) in history.metrics.iter().zip(&row.metrics) {
            self.scalar(step, epoch, &format!("{name}/train"), v);
            scores.insert(name.clone(), Number(v));
        }
        if let Some(loss) = row.val_loss {
            self.scalar(step, epoch, "loss/val", loss);
            scores.insert("val_loss".into(), Number(loss));
        }
        for (name, &v) in history.metrics.iter().zip(&row.val_metrics) {
            self.scalar(step, epoch, &format!("{name}/val"), v);
            scores.insert(format!("val_{name}"), Number(v));
        }
        let Row { time_s, lr, .. } = *row;
        let best = history.last_is_best();
        self.log.push(What::Epoch { epoch, step, time_s, lr, scores, best });
    }
}

impl Callback for Recorder {
    fn on_train_begin(&mut self, begin: &TrainBegin<'_>) -> Result<(), CallbackError> {
        let history = begin.history;
        let goal = history.goal.metric.clone();
        {
            let mut state = self.state();
            (state.epochs, state.step) = (begin.epochs, begin.position.step);
            (state.epoch, state.goal) = (begin.position.epoch, goal.clone());
            state.best = best(history);
        }
        self.beat();
        self.log.push(What::Begin {
            format: FORMAT,
            nerve: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            epochs: begin.epochs,
            steps_per_epoch: begin.steps,
            metrics: history.metrics.clone(),
            goal,
            maximize: history.goal.mode == Mode::Max,
            step: begin.position.step,
        });
        self.since = Since::new(begin.position.step, f64::NAN);
        Ok(())
    }

    fn on_epoch_begin(&mut self, epoch: u64) -> Result<(), CallbackError> {
        self.state().epoch = epoch;
        self.since.mark = Instant::now();
        Ok(())
    }

    fn on_step_end(&mut self, end: &StepEnd<'_>) -> Result<Control, CallbackError> {
        let (now, since) = (Instant::now(), &mut self.since);
        since.busy += now - since.mark;
        (since.mark, since.step) = (now, end.step);
        since.steps += 1;
        since.loss += end.loss;
        since.grad_norm += end.grad_norm.unwrap_or(0.0);
        let due = match self.every {
            Some(every) => end.step.is_multiple_of(every.max(1)),
            None => now - since.point >= POINT || end.step == 1,
        };
        if due {
            let (loss, steps) = (since.loss, since.steps as f64);
            let norm = end.grad_norm.map(|_| since.grad_norm / steps);
            let (ms, lr) = (since.busy.as_secs_f64() * 1e3 / steps, since.lr);
            self.scalar(end.step, end.epoch, "loss/train", loss / steps);
            self.scalar(end.step, end.epoch, "time/step_ms", (ms * 1e4).round() / 1e4);
            if let Some(norm) = norm {
                self.scalar(end.step, end.epoch, "grad_norm", norm);
            }
            if end.lr != lr {
                self.scalar(end.step, end.epoch, "lr", end.lr);
            }
            self.since = Since::new(end.step, end.lr);
            self.state().step = end.step;
            *self.waited.lock().unwrap_or_else(PoisonError::into_inner) = end.waited;
        }
        Ok(Control::Continue)
    }

    fn on_epoch_end(&mut self, history: &History) -> Result<Control, CallbackError> {
        let Some(row) = history.last() else { return Ok(Control::Continue) };
        self.epoch(row, history);
        {
            let mut state = self.state();
            (state.step, state.best) = (row.step, best(history));
            state.goal = Some(history.goal.name(history));
        }
        // Where epochs are shorter than writing their table, it is not made anew for each.
        if !self.background.waits("history") {
            self.history(history);
        }
        let log = self.log();
        self.background.submit("events", move || log.flush(true));
        Ok(Control::Continue)
    }

    fn on_train_end(&mut self, outcome: &Outcome, history: &History) -> Result<(), CallbackError> {
        if let Outcome::Diverged { step, epoch, loss, .. } = outcome {
            self.scalar(*step, *epoch, "loss/train", *loss);
        }
        if !history.rows.is_empty() {
            self.history(history);
        }
        let mut state = self.state();
        (state.best, state.step) = (best(history), state.step.max(self.since.step));
        Ok(())
    }
}

fn best(history: &History) -> Option<(u64, f64)> {
    let best = history.best()?;
    Some((best.epoch, history.goal.score(history, best)?)).filter(|(_, score)| score.is_finite())
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if !self.ended {
            // There is nobody left to tell what could not be written.
            let _ = self.end(Status::Failed, "the process ended unexpectedly", 101);
        }
    }
}
