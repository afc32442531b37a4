//! Events for tests, of the crate itself and of its exports: whoever has this module names the types.

use super::{FORMAT, Number, What};

/// A process begins, or goes on after a step.
pub fn begin(step: u64) -> What {
    What::Begin {
        format: FORMAT,
        nerve: "0".into(),
        pid: 9,
        epochs: 1,
        steps_per_epoch: None,
        metrics: vec![],
        goal: None,
        maximize: false,
        step,
    }
}

/// A loss that falls.
pub fn loss(step: u64) -> What {
    What::Scalar { step, epoch: 1, tag: "loss/train".into(), v: Number(0.5 / step as f64) }
}
