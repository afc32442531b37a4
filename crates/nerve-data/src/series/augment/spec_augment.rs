//! Bands and moments that are left out.

use std::sync::Arc;

use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

use super::{Augment, Entry, Frames, Stage};
use crate::Random;

pub(super) const ENTRY: Entry = Entry {
    spec: &SPEC,
    stages: &[Stage::Spectrum, Stage::Series],
    build: |args, _| {
        let masks =
            |count: &str, width: &str| Masks { count: args.usize(count), width: args.usize(width) };
        Ok(Arc::new(SpecAugment {
            frequency: masks("freq_masks", "freq_width"),
            time: masks("time_masks", "time_width"),
        }))
    },
};

const fn number(name: &'static str, default: i64, doc: &'static str) -> Param {
    Param::with_default(name, Kind::int(0, 4096), Value::Int(default), doc)
}

static SPEC: Spec = Spec {
    name: "SpecAugment",
    aliases: &["spec_augment"],
    peers: Peers::of("audio.transforms.SpecAugment", ""),
    doc: "Leaves out bands and moments of a spectrogram.",
    params: &[
        number("freq_masks", 2, "how many ranges of bands"),
        number("freq_width", 8, "how many bands such a range has at most"),
        number("time_masks", 2, "how many ranges of moments"),
        number("time_width", 20, "how many moments such a range has at most"),
    ],
};

/// Ranges to leave out.
#[derive(Clone, Copy, Debug)]
pub struct Masks {
    /// How many.
    pub count: usize,
    /// How long each is at most.
    pub width: usize,
}

/// Sets ranges of bands and of moments to 0, the mean of a normalised spectrogram (D. Park et al., "SpecAugment",
/// 2019, without time warping). No mask takes more than half of what there is.
#[derive(Clone, Copy, Debug)]
pub struct SpecAugment {
    /// Over the bands.
    pub frequency: Masks,
    /// Over time.
    pub time: Masks,
}

impl Augment for SpecAugment {
    fn apply(&self, frames: &mut Frames<'_>, random: &mut Random) {
        let (time, features) = (frames.time(), frames.features);
        for _ in 0..self.frequency.count {
            let (from, width) = draw(self.frequency.width, features, random);
            let moments = frames.values.chunks_exact_mut(features);
            moments.for_each(|moment| moment[from..from + width].fill(0.0));
        }
        for _ in 0..self.time.count {
            let (from, width) = draw(self.time.width, time, random);
            frames.values[from * features..(from + width) * features].fill(0.0);
        }
    }
}

fn draw(most: usize, len: usize, random: &mut Random) -> (usize, usize) {
    let width = random.below(most.min(len / 2) as u64 + 1) as usize;
    (random.below((len - width) as u64 + 1) as usize, width)
}

#[cfg(test)]
mod tests {
    use super::super::tests::applied;
    use super::*;

    #[test]
    fn whole_bands_and_whole_moments_are_left_out() {
        let none = Masks { count: 0, width: 0 };
        let bands = SpecAugment { frequency: Masks { count: 1, width: 3 }, time: none };
        let times = SpecAugment { frequency: none, time: Masks { count: 1, width: 4 } };
        let values: Vec<f32> = (1..=80).map(|i| i as f32).collect();
        for key in 0..50 {
            let out = applied(&bands, &values, 8, key);
            let left: Vec<bool> = out[..8].iter().map(|&x| x == 0.0).collect();
            assert!(left.iter().filter(|&&zero| zero).count() <= 3);
            assert!((0..80).all(|i| (out[i] == 0.0) == left[i % 8]));
            let out = applied(&times, &values, 8, key);
            assert!((0..80).all(|i| (out[i] == 0.0) == (out[i / 8 * 8] == 0.0)));
            assert!(out.iter().filter(|&&x| x == 0.0).count() <= 32);
        }
    }
}
