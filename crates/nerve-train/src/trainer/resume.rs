//! Capturing a training between two steps, and going on from there.

use super::{Run, Trainer};
use crate::callback::{Capture, Moment};
use crate::checkpoint::{Memory, Snapshot};
use crate::error::TrainError;
use nerve_core::Var;
use std::time::{Duration, Instant};

impl Trainer<'_> {
    /// Lets the callbacks that want it capture the training. Where the optimizer keeps averages,
    /// they must not be in the place of the parameters.
    pub(super) fn snapshot(&self, run: &mut Run<'_, '_>, moment: Moment) -> Result<(), TrainError> {
        let mut wanted = 0u64;
        for (i, callback) in run.callbacks.iter_mut().enumerate() {
            wanted |= u64::from(callback.wants_snapshot(&moment)) << i.min(63);
        }
        // What has just become NaN is nothing to go on from: the training ends soon, and what was saved
        // before stays the last.
        if wanted == 0 || !self.is_finite() {
            return Ok(());
        }
        let memories: Vec<_> = run.callbacks.iter().filter_map(|it| it.memory()).collect();
        let Run { position, began, tally, history, callbacks, .. } = run;
        let take = |into: &mut Snapshot| {
            into.begin(*position);
            for (name, var) in self.model_state().iter().chain(&self.optimizer_state()) {
                into.put_var(name, var);
            }
            into.put_numbers("schedule", &self.schedule.state());
            into.put_numbers("clock", &[began.elapsed().as_secs_f64()]);
            // After a whole epoch the sums are of no more use.
            if position.samples > 0 {
                tally.put(into);
            }
            into.put_history(history);
            memories.iter().for_each(|(name, memory): &(_, Memory)| into.put_memory(name, memory));
        };
        let capture = Capture { take: &take };
        for (i, callback) in callbacks.iter_mut().enumerate() {
            if wanted >> i.min(63) & 1 == 1 {
                callback.on_snapshot(&moment, &capture).map_err(TrainError::Callback)?;
            }
        }
        Ok(())
    }

    /// Takes everything up where a snapshot left it.
    pub(super) fn go_on(
        &self,
        run: &mut Run<'_, '_>,
        snapshot: &Snapshot,
    ) -> Result<(), TrainError> {
        let step = snapshot.position.step;
        let refuse = |reason: String| TrainError::Resume { step, reason };
        let mut all = self.model_state();
        all.extend(self.optimizer_state());
        let own = |name: &str| name.starts_with("model/") || name.starts_with("optimizer/");
        snapshot.restore(own, &all).map_err(|error| refuse(error.to_string()))?;
        let missing = |what: &str| refuse(format!("it has no {what} of this training"));
        let schedule = snapshot.numbers("schedule").ok_or_else(|| missing("schedule"))?;
        self.schedule.restore(&schedule);
        if snapshot.position.samples > 0 {
            run.tally.restore(snapshot).ok_or_else(|| missing("sums of the epoch"))?;
        }
        let metrics = run.history.metrics.len();
        let rows = snapshot.history().ok_or_else(|| missing("history"))?;
        if rows.iter().any(|row| row.metrics.len() != metrics) {
            return Err(missing("history with the metrics"));
        }
        run.history.rows = rows;
        run.position = snapshot.position;
        let clock = snapshot.numbers("clock").unwrap_or_default();
        let passed = Duration::try_from_secs_f64(clock.first().copied().unwrap_or(0.0));
        run.began = Instant::now().checked_sub(passed.unwrap_or_default()).unwrap_or(run.began);
        for callback in &mut *run.callbacks {
            let Some((name, _)) = callback.memory() else { continue };
            if let Some(memory) = snapshot.memory(name) {
                callback.restore(memory).map_err(TrainError::Callback)?;
            }
        }
        Ok(())
    }

    fn model_state(&self) -> Vec<(String, Var)> {
        let named = |var: &Var| (format!("model/{}", var.name()), var.clone());
        self.state.iter().map(named).collect()
    }

    /// Numbered, since several rules may each have a `step`.
    fn optimizer_state(&self) -> Vec<(String, Var)> {
        let slots = self.optimizer.slots().into_iter().enumerate();
        slots.map(|(i, var)| (format!("optimizer/{i}/{}", var.name()), var)).collect()
    }
}
