//! Faster or slower.

use std::sync::Arc;

use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

use super::{Augment, Entry, Frames, Stage};
use crate::Random;
use crate::audio::Resampler;

pub(super) const ENTRY: Entry = Entry {
    spec: &SPEC,
    stages: &[Stage::Wave],
    build: |args, _| Ok(Arc::new(Speed::new(&args.floats("factors")))),
};

const FACTOR: Kind = Kind::float(0.5, 2.0);

static SPEC: Spec = Spec {
    name: "Speed",
    aliases: &["SpeedPerturbation"],
    peers: Peers::of("audio.transforms.SpeedPerturbation", ""),
    doc: "Plays the sound faster or slower, and with that higher or lower.",
    params: &[Param::with_default(
        "factors",
        Kind::List { of: &FACTOR, min_len: 1, max_len: 32 },
        Value::list(&[Value::Float(0.9), Value::Float(1.0), Value::Float(1.1)]),
        "the speeds, of which one is drawn, to a hundredth",
    )],
};

/// Plays a wave at one of several speeds (T. Ko et al., "Audio augmentation for speech recognition", 2015). It keeps its
/// length: what is too long is cut off, where it has become too short there is silence.
#[derive(Clone, Debug)]
pub struct Speed {
    resamplers: Vec<Option<Resampler>>,
}

impl Speed {
    /// The speeds, rounded to a hundredth; 2 is twice as fast.
    pub fn new(factors: &[f64]) -> Speed {
        let hundredths = factors.iter().map(|factor| (factor * 100.0).round().max(1.0) as u32);
        let resampler = |factor: u32| (factor != 100).then(|| Resampler::new(factor, 100));
        Speed { resamplers: hundredths.map(resampler).collect() }
    }
}

impl Augment for Speed {
    fn apply(&self, frames: &mut Frames<'_>, random: &mut Random) {
        let drawn = random.below(self.resamplers.len() as u64) as usize;
        if let Some(resampler) = &self.resamplers[drawn] {
            let sound = resampler.apply(frames.values);
            let len = sound.len().min(frames.values.len());
            frames.values[..len].copy_from_slice(&sound[..len]);
            frames.values[len..].fill(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::applied;
    use super::*;

    #[test]
    fn a_tone_at_twice_the_speed_is_an_octave_higher() {
        let tone = |pitch: f32| (0..800).map(|i| (i as f32 * pitch).sin()).collect::<Vec<f32>>();
        let fast = applied(&Speed::new(&[2.0]), &tone(0.1), 1, 0);
        // The filter needs its run-in at the ends.
        let high = tone(0.2);
        let mut middle = fast[50..350].iter().zip(&high[50..350]);
        assert!(middle.all(|(a, b)| (a - b).abs() < 0.01));
        assert!(fast[400..].iter().all(|&x| x == 0.0));
    }
}
