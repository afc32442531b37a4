//! Early stopping, with the best parameters restored.

use crate::callback::{Callback, CallbackError, Control};
use crate::checkpoint::Memory;
use crate::history::History;
use crate::trainer::Outcome;
use nerve_nn::Params;
use nerve_nn::state::{self, StateTensor};
use std::sync::Arc;

/// Keeps the parameters of the best epoch, puts them back at the end of the training, and may end it
/// when no epoch has been better for a while.
///
/// Which epoch is the best is the matter of the history's [`Goal`](crate::Goal). What is kept is what
/// was judged: where the optimizer keeps averages, these. A training that was interrupted keeps its
/// last parameters, from which it can go on.
///
/// Callbacks that save the network at the end stand behind it.
pub struct EarlyStopping {
    params: Params,
    patience: Option<u64>,
    /// The epoch that was the best, and what the network was then.
    best: Option<(u64, Arc<Vec<StateTensor>>)>,
}

impl EarlyStopping {
    /// Ends the training after `patience` epochs of which none was the best so far.
    pub fn new(params: &Params, patience: u64) -> EarlyStopping {
        EarlyStopping { patience: Some(patience), ..EarlyStopping::never(params) }
    }

    /// Never ends the training, but restores the best parameters.
    pub fn never(params: &Params) -> EarlyStopping {
        EarlyStopping { params: params.clone(), patience: None, best: None }
    }

    /// The best epoch so far.
    pub fn best(&self) -> Option<u64> {
        self.best.as_ref().map(|(epoch, _)| *epoch)
    }
}

impl Callback for EarlyStopping {
    fn on_epoch_end(&mut self, history: &History) -> Result<Control, CallbackError> {
        let Some(last) = history.last() else { return Ok(Control::Continue) };
        if history.goal.score(history, last).is_none() {
            let (name, known) = (history.goal.name(history), history.scores().join(", "));
            return Err(format!("early stopping follows `{name}`; there are {known}").into());
        }
        if history.last_is_best() {
            self.best = Some((last.epoch, Arc::new(state::of(&self.params.vars()))));
            return Ok(Control::Continue);
        }
        let since = last.epoch - self.best().unwrap_or(0);
        match self.patience {
            Some(patience) if since >= patience.max(1) => {
                let (name, s) = (history.goal.name(history), if since == 1 { "" } else { "s" });
                Ok(Control::Stop(format!("{name} not better for {since} epoch{s}")))
            }
            _ => Ok(Control::Continue),
        }
    }

    fn memory(&self) -> Option<(&'static str, Memory)> {
        let (epoch, tensors) = self.best.clone().unzip();
        let numbers = epoch.map(|epoch| epoch as f64).into_iter().collect();
        Some(("early_stopping", Memory { numbers, tensors: tensors.unwrap_or_default() }))
    }

    fn restore(&mut self, memory: Memory) -> Result<(), CallbackError> {
        self.best = memory.numbers.first().map(|&epoch| (epoch as u64, memory.tensors));
        Ok(())
    }

    fn on_train_end(&mut self, outcome: &Outcome, _: &History) -> Result<(), CallbackError> {
        match (&self.best, outcome) {
            (None, _) | (_, Outcome::Interrupted { .. }) => Ok(()),
            (Some((_, best)), _) => Ok(state::load(&self.params.vars(), best)?),
        }
    }
}
