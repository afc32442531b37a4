//! Why a training diverged: it is rewound a little, repeated, and looked at from within.

use super::{Outcome, Run, Trainer};
use crate::checkpoint::Position;
use crate::error::TrainError;
use crate::plans::Plans;
use nerve_core::{Backup, Diagnosis, OriginKind};
use nerve_data::{Batch, Loader};
use std::fmt;

/// Steps from one copy of the training's state to the next. The copy costs less than a step does, a
/// repetition as much as the steps since.
const EVERY: u64 = 128;
/// A state of more bytes than these is not kept twice.
const MOST: usize = 1 << 30;

/// Where the first number came from that was not finite.
#[derive(Clone, Debug, PartialEq)]
pub struct Cause {
    /// The step in which it came up, counted from 1: it may lie before the one whose loss shows it.
    pub step: u64,
    /// The parameter that became so in that step, if its loss was still finite.
    pub parameter: Option<String>,
    /// The field of the data that held it, if one did.
    pub field: Option<String>,
    /// The operation; none where no operation gives it by itself.
    pub diagnosis: Option<Diagnosis>,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parameter) = &self.parameter {
            write!(f, "`{parameter}` was no longer finite after step {}: ", self.step)?;
        }
        match (&self.diagnosis, &self.field) {
            (Some(found), Some(field)) => {
                write!(f, "the data: field `{field}`, {}", found.origin.output)
            }
            (Some(found), None) => write!(f, "{found}"),
            (None, _) => f.write_str(
                "no operation by itself gives it: some number is at the border of what its type holds",
            ),
        }
    }
}

/// What a training was not long ago, as long as that is not too much to keep twice.
#[derive(Default)]
pub(super) struct Past {
    kept: Option<(Position, Backup)>,
}

impl Trainer<'_> {
    /// Before each step: now and then what the step is about to change is copied, and always at the
    /// beginning of an epoch, since between epochs more happens than steps. Gives whether the
    /// parameters are all finite still, as far as it has looked.
    pub(super) fn keep(
        &self,
        past: &mut Past,
        plans: &mut Plans<'_>,
        batch: &Batch,
        now: Position,
    ) -> bool {
        match &mut past.kept {
            Some((then, _)) if then.epoch == now.epoch && now.step - then.step < EVERY => {}
            Some((then, backup)) => {
                if !self.is_finite() {
                    return false;
                }
                backup.take();
                *then = now;
            }
            none => {
                let written = plans.step(batch.size()).written();
                let bytes: usize =
                    written.iter().map(|var| var.shape().numel() * var.dtype().bytes()).sum();
                if bytes <= MOST {
                    *none = Some((now, Backup::of(written)));
                }
            }
        }
        true
    }

    /// Whether all parameters are finite.
    pub(super) fn is_finite(&self) -> bool {
        self.optimizer.core().blocks().iter().all(|block| block.arena().var().is_finite())
    }

    /// The end of a training of which the loss, or a parameter, is not finite.
    pub(super) fn diverged(
        &self,
        run: &mut Run<'_, '_>,
        plans: &mut Plans<'_>,
        train: &Loader,
    ) -> Result<Outcome, TrainError> {
        let (loss, epoch) = (f64::from(run.tally.batch.loss), run.position.epoch);
        let step = run.position.step;
        let cause = self.cause(run, plans, train)?.map(Box::new);
        Ok(Outcome::Diverged { epoch, step, loss, cause })
    }

    /// Repeats the training from the last copy until a number comes up that is not finite, and says
    /// where it came from. The variables are then as before that step.
    fn cause(
        &self,
        run: &mut Run<'_, '_>,
        plans: &mut Plans<'_>,
        train: &Loader,
    ) -> Result<Option<Cause>, TrainError> {
        let Some((then, mut backup)) = run.past.kept.take() else { return Ok(None) };
        let (now, mut cause) = (run.position, None);
        backup.restore();
        run.position = then;
        for batch in train.epoch(then.epoch - 1, then.samples) {
            let batch = batch?;
            if run.position.step >= now.step {
                break;
            }
            self.follow_schedule(run);
            backup.take();
            let step = run.position.step + 1;
            let key = (self.options.seed, step);
            plans.run(&batch, then.epoch, key, &mut run.tally.batch)?;
            let lost = !run.tally.batch.loss.is_finite();
            if lost || !self.is_finite() {
                let broken = self.optimizer.parameters().iter().find(|var| !var.is_finite());
                let parameter = broken.filter(|_| !lost).map(|var| var.name().to_string());
                backup.restore();
                let diagnosis = plans.diagnose(&batch, key);
                let field = match diagnosis.as_ref().map(|found| &found.origin.kind) {
                    Some(OriginKind::Argument(index)) => plans.field(*index),
                    _ => None,
                };
                cause = Some(Cause { step, parameter, field, diagnosis });
                break;
            }
            run.position = Position { step, samples: batch.end(), ..then };
        }
        run.position = now;
        Ok(cause)
    }
}
