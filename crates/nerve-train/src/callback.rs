//! Callbacks: what looks on while a network is trained.

use crate::checkpoint::{Memory, Position, Snapshot};
use crate::history::History;
use crate::trainer::Outcome;

/// Why a callback failed: anything that displays itself, for instance an error of the disk.
pub type CallbackError = Box<dyn std::error::Error + Send + Sync>;

/// Whether the training goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// It goes on.
    Continue,
    /// It ends, with success, for this reason.
    Stop(String),
}

/// What is known before the first step.
#[derive(Clone, Copy, Debug)]
pub struct TrainBegin<'a> {
    /// How many epochs there are to be, counted from the first of all.
    pub epochs: u64,
    /// Steps in an epoch; `None` where the length of the data is not known.
    pub steps: Option<u64>,
    /// Where it begins: at the start, or where a training that is continued was stopped.
    pub position: Position,
    /// The epochs so far, the names of the metrics, and by what epochs are compared.
    pub history: &'a History,
}

/// Loss and metrics since the epoch began.
#[derive(Clone, Copy, Debug)]
pub struct Scores<'a> {
    /// The mean loss.
    pub loss: f64,
    /// The value of each metric; NaN for one that is computed at the end of an epoch only.
    pub metrics: &'a [f64],
}

/// What is known after a step.
#[derive(Clone, Copy, Debug)]
pub struct StepEnd<'a> {
    /// The epoch, counted from 1.
    pub epoch: u64,
    /// The step in this epoch, counted from 1.
    pub step_in_epoch: u64,
    /// The step of the whole training, counted from 1.
    pub step: u64,
    /// The loss of this batch.
    pub loss: f64,
    /// Loss and metrics of this epoch so far.
    pub scores: Scores<'a>,
    /// The learning rate.
    pub lr: f64,
    /// √Σg² over the gradients of all parameters in this step, before anything clips them; where
    /// [`Options::grad_norm`](crate::Options::grad_norm) asks for it.
    pub grad_norm: Option<f64>,
    /// How long the training has waited for data since the process began, in seconds.
    pub waited: f64,
}

/// Between two steps: when a training can be captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before the first step of this process.
    Begin,
    /// After a step.
    Step {
        /// The step of the whole training, counted from 1.
        step: u64,
    },
    /// After a whole epoch, which has been measured.
    Epoch {
        /// The epoch, counted from 1.
        epoch: u64,
        /// Whether it is the best so far.
        best: bool,
    },
    /// After the last step, however the training ends, unless it diverged: then the snapshot before
    /// is the last good one.
    End,
}

/// A training that stands still, ready to be captured.
pub struct Capture<'a> {
    pub(crate) take: &'a dyn Fn(&mut Snapshot),
}

impl Capture<'_> {
    /// Copies all that the training needs to go on, into the memory that the snapshot has.
    pub fn take(&self, snapshot: &mut Snapshot) {
        (self.take)(snapshot);
    }
}

/// Looks on while a network is trained, and may stop it. Every method does nothing by default.
pub trait Callback {
    /// Before the first step.
    ///
    /// # Errors
    /// Ends the training with this error.
    fn on_train_begin(&mut self, begin: &TrainBegin<'_>) -> Result<(), CallbackError> {
        let _ = begin;
        Ok(())
    }

    /// Before an epoch, counted from 1.
    ///
    /// # Errors
    /// Ends the training with this error.
    fn on_epoch_begin(&mut self, epoch: u64) -> Result<(), CallbackError> {
        let _ = epoch;
        Ok(())
    }

    /// After each step. What is done here costs time in every step.
    ///
    /// # Errors
    /// Ends the training with this error.
    fn on_step_end(&mut self, step: &StepEnd<'_>) -> Result<Control, CallbackError> {
        let _ = step;
        Ok(Control::Continue)
    }

    /// After each whole epoch and its validation; the last row of the history is new.
    ///
    /// # Errors
    /// Ends the training with this error.
    fn on_epoch_end(&mut self, history: &History) -> Result<Control, CallbackError> {
        let _ = history;
        Ok(Control::Continue)
    }

    /// Whether the training should be captured now. Asked after each step: what is done here costs
    /// time in every step.
    fn wants_snapshot(&mut self, moment: &Moment) -> bool {
        let _ = moment;
        false
    }

    /// The training stands still and can be captured, since a callback
    /// [wanted](Callback::wants_snapshot) it. Called only for those that did.
    ///
    /// # Errors
    /// Ends the training with this error.
    fn on_snapshot(&mut self, moment: &Moment, capture: &Capture<'_>) -> Result<(), CallbackError> {
        let _ = (moment, capture);
        Ok(())
    }

    /// What it has to remember where a training is continued, under a name of its own: the best
    /// epoch, counters. What can be found in the history need not be.
    fn memory(&self) -> Option<(&'static str, Memory)> {
        None
    }

    /// Goes on from what [`memory`](Callback::memory) gave; the history is that of the training so far.
    ///
    /// # Errors
    /// It does not fit: ends the training with this error.
    fn restore(&mut self, memory: Memory) -> Result<(), CallbackError> {
        let _ = memory;
        Ok(())
    }

    /// After the last step, also when the training was stopped or diverged.
    ///
    /// # Errors
    /// Becomes that of the training.
    fn on_train_end(&mut self, outcome: &Outcome, history: &History) -> Result<(), CallbackError> {
        let _ = (outcome, history);
        Ok(())
    }
}
