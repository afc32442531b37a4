//! Earlier or later.

use std::sync::Arc;

use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

use super::{Augment, Entry, Frames, Stage};
use crate::Random;

pub(super) const ENTRY: Entry = Entry {
    spec: &SPEC,
    stages: &[Stage::Wave],
    build: |args, setting| {
        let max = args.float("max_ms") / 1000.0 * setting.rate;
        Ok(Arc::new(TimeShift { max: max.round() as u32 }))
    },
};

static SPEC: Spec = Spec {
    name: "TimeShift",
    aliases: &["time_shift"],
    peers: Peers::NONE,
    doc: "Moves the sound earlier or later; silence comes in.",
    params: &[Param::with_default(
        "max_ms",
        Kind::float(0.0, 60_000.0),
        Value::Float(100.0),
        "the longest move in milliseconds, either way",
    )],
};

/// Moves a wave by up to `max` samples either way, every distance equally likely; zeros come in.
#[derive(Clone, Debug)]
pub struct TimeShift {
    /// The longest move in samples.
    pub max: u32,
}

impl Augment for TimeShift {
    fn apply(&self, frames: &mut Frames<'_>, random: &mut Random) {
        let by = random.within(self.max);
        let len = frames.values.len();
        let distance = (by.unsigned_abs() as usize * frames.features).min(len);
        if by >= 0 {
            frames.values.copy_within(..len - distance, distance);
            frames.values[..distance].fill(0.0);
        } else {
            frames.values.copy_within(distance.., 0);
            frames.values[len - distance..].fill(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::tests::applied;
    use super::*;

    #[test]
    fn moves_by_each_distance_and_fills_with_silence() {
        let seen: BTreeSet<Vec<u8>> = (0..100)
            .map(|key| applied(&TimeShift { max: 2 }, &[1.0, 2.0, 3.0], 1, key))
            .map(|out| out.iter().map(|&x| x as u8).collect())
            .collect();
        let all: BTreeSet<Vec<u8>> =
            [[3, 0, 0], [2, 3, 0], [1, 2, 3], [0, 1, 2], [0, 0, 1]].map(Vec::from).into();
        assert_eq!(seen, all);
    }
}
