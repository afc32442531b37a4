//! Louder or softer.

use std::sync::Arc;

use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

use super::{Augment, Entry, Frames, Stage};
use crate::Random;

pub(super) const ENTRY: Entry = Entry {
    spec: &SPEC,
    stages: &[Stage::Wave],
    build: |args, _| Ok(Arc::new(Gain { max_db: args.float("max_db") as f32 })),
};

static SPEC: Spec = Spec {
    name: "Gain",
    aliases: &["RandomGain"],
    peers: Peers::NONE,
    doc: "Makes the sound louder or softer.",
    params: &[Param::with_default(
        "max_db",
        Kind::float(0.0, 60.0),
        Value::Float(6.0),
        "the greatest change in decibels, up or down",
    )],
};

/// Multiplies a wave by a factor of up to `max_db` decibels, all equally likely.
#[derive(Clone, Debug)]
pub struct Gain {
    /// The greatest change, up or down.
    pub max_db: f32,
}

impl Augment for Gain {
    fn apply(&self, frames: &mut Frames<'_>, random: &mut Random) {
        let factor = 10f32.powf(random.between(-self.max_db, self.max_db) / 20.0);
        frames.values.iter_mut().for_each(|value| *value *= factor);
    }
}
