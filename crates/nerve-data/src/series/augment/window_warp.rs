//! A part of the window that passes faster or slower.

use std::sync::Arc;

use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

use super::{Augment, Entry, Frames, Stage};
use crate::Random;

pub(super) const ENTRY: Entry = Entry {
    spec: &SPEC,
    stages: &[Stage::Series, Stage::Spectrum],
    build: |args, _| {
        let factors = args.floats("factors").iter().map(|&factor| factor as f32).collect();
        Ok(Arc::new(WindowWarp { share: args.float("share") as f32, factors }))
    },
};

const FACTOR: Kind = Kind::float(0.1, 10.0);

static SPEC: Spec = Spec {
    name: "WindowWarp",
    aliases: &[],
    peers: Peers::NONE,
    doc: "Stretches or squeezes a part of the window in time; the whole keeps its length.",
    params: &[
        Param::with_default(
            "share",
            Kind::fraction(),
            Value::Float(0.1),
            "how long the part is, as a share of the window",
        ),
        Param::with_default(
            "factors",
            Kind::List { of: &FACTOR, min_len: 1, max_len: 32 },
            Value::list(&[Value::Float(0.5), Value::Float(2.0)]),
            "how much longer it becomes; one of them is drawn",
        ),
    ],
};

/// Stretches a part of the window and brings the whole back to its length, both by linear interpolation (A. Le Guennec et
/// al., "Data augmentation for time series classification using convolutional neural networks", 2016).
#[derive(Clone, Debug)]
pub struct WindowWarp {
    /// Length of the part, as a share of the window.
    pub share: f32,
    /// How much longer it becomes.
    pub factors: Vec<f32>,
}

impl Augment for WindowWarp {
    fn apply(&self, frames: &mut Frames<'_>, random: &mut Random) {
        let (time, features) = (frames.time(), frames.features);
        let last = time.saturating_sub(1) as f32;
        let part = self.share * last;
        let from = random.between(0.0, (last - part).max(0.0));
        let factor = self.factors[random.below(self.factors.len() as u64) as usize];
        let warped = last + part * (factor - 1.0);
        let (old, new) = frames.copied();
        for (t, moment) in new.chunks_exact_mut(features).enumerate() {
            // The place on the warped axis, and where that was before.
            let place = t as f32 * warped / last.max(1.0);
            let before = if place < from {
                place
            } else if place < from + part * factor {
                from + (place - from) / factor
            } else {
                place - part * (factor - 1.0)
            };
            let low = (before as usize).min(time - 1);
            let share = (before - low as f32).clamp(0.0, 1.0);
            let high = (low + 1).min(time - 1);
            for (i, value) in moment.iter_mut().enumerate() {
                *value = old[low * features + i] * (1.0 - share) + old[high * features + i] * share;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::applied;
    use super::*;

    #[test]
    fn time_goes_on_and_the_ends_stay() {
        let line: Vec<f32> = (0..100).map(|i| i as f32).collect();
        for key in 0..20 {
            let out = applied(&WindowWarp { share: 0.3, factors: vec![0.5, 2.0] }, &line, 1, key);
            assert!(out.windows(2).all(|pair| pair[1] > pair[0]), "{out:?}");
            assert!(out[0] == 0.0 && (out[99] - 99.0).abs() < 1e-3);
            let steps = out.windows(2).map(|pair| pair[1] - pair[0]);
            let (least, most) = steps.fold((9.0f32, 0.0f32), |(a, b), s| (a.min(s), b.max(s)));
            assert!((most / least - 2.0).abs() < 0.02, "{least} {most}");
        }
    }
}
