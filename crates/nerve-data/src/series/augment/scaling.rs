//! A factor for the whole window.

use std::sync::Arc;

use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

use super::{Augment, Entry, Frames, Stage, normal};
use crate::Random;

pub(super) const ENTRY: Entry = Entry {
    spec: &SPEC,
    stages: &[Stage::Series],
    build: |args, _| Ok(Arc::new(Scaling { deviation: args.float("deviation") as f32 })),
};

static SPEC: Spec = Spec {
    name: "Scaling",
    aliases: &[],
    peers: Peers::NONE,
    doc: "Multiplies each feature of the window by a factor near 1.",
    params: &[Param::with_default(
        "deviation",
        Kind::positive(),
        Value::Float(0.1),
        "standard deviation of the factor",
    )
    .alias(&["std"])],
};

/// Multiplies each feature by a factor from the normal distribution around 1 (Um et al., 2017).
#[derive(Clone, Debug)]
pub struct Scaling {
    /// Its standard deviation.
    pub deviation: f32,
}

impl Augment for Scaling {
    fn apply(&self, frames: &mut Frames<'_>, random: &mut Random) {
        for feature in 0..frames.features {
            let factor = 1.0 + self.deviation * normal(random);
            let values = frames.values.iter_mut().skip(feature).step_by(frames.features);
            values.for_each(|value| *value *= factor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::applied;
    use super::*;

    #[test]
    fn each_feature_keeps_its_form() {
        let values: Vec<f32> = (1..=8).map(|i| i as f32).collect();
        let out = applied(&Scaling { deviation: 0.2 }, &values, 2, 5);
        let factors: Vec<f32> = out.iter().zip(&values).map(|(a, b)| a / b).collect();
        assert!((0..8).all(|i| (factors[i] - factors[i % 2]).abs() < 1e-5), "{factors:?}");
        assert_ne!(factors[0], factors[1]);
    }
}
