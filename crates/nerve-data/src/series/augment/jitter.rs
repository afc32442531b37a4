//! Noise on each value.

use std::sync::Arc;

use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

use super::{Augment, Entry, Frames, Stage, normal};
use crate::Random;

pub(super) const ENTRY: Entry = Entry {
    spec: &SPEC,
    stages: &[Stage::Series, Stage::Spectrum],
    build: |args, _| Ok(Arc::new(Jitter { deviation: args.float("deviation") as f32 })),
};

static SPEC: Spec = Spec {
    name: "Jitter",
    aliases: &["GaussianNoise"],
    peers: Peers::of("", "layers.GaussianNoise"),
    doc: "Adds normal noise to each value.",
    params: &[Param::with_default(
        "deviation",
        Kind::positive(),
        Value::Float(0.05),
        "standard deviation of the noise, where that of the normalised values is 1",
    )
    .alias(&["std"])],
};

/// Adds normal noise (T. Um et al., "Data augmentation of wearable sensor data", 2017).
#[derive(Clone, Debug)]
pub struct Jitter {
    /// Its standard deviation.
    pub deviation: f32,
}

impl Augment for Jitter {
    fn apply(&self, frames: &mut Frames<'_>, random: &mut Random) {
        frames.values.iter_mut().for_each(|value| *value += self.deviation * normal(random));
    }
}
