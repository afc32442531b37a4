//! Random changes of what was measured over time: waves, spectrograms, windows of series.
//!
//! An augmentation is one file here and one line in [`registry`].

mod gain;
mod jitter;
mod magnitude_warp;
mod noise;
mod scaling;
mod spec_augment;
mod speed;
mod time_shift;
mod window_warp;

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use nerve_formats::spec::{Args, Spec, Value};

pub use gain::Gain;
pub use jitter::Jitter;
pub use magnitude_warp::MagnitudeWarp;
pub use noise::{AddNoise, MixNoise};
pub use scaling::Scaling;
pub use spec_augment::SpecAugment;
pub use speed::Speed;
pub use time_shift::TimeShift;
pub use window_warp::WindowWarp;

use crate::Random;

/// A random change of one sample, in place.
///
/// The random numbers depend on (seed, epoch, sample, place in the list) alone.
pub trait Augment: Debug + Send + Sync {
    /// Changes the frames. `random` is a fresh stream for this sample.
    fn apply(&self, frames: &mut Frames<'_>, random: &mut Random);
}

/// Values over time that are being changed in place: `[time, features]`, moment after moment.
pub struct Frames<'a> {
    /// The values.
    pub values: &'a mut [f32],
    /// How many there are a moment: 1 for a wave.
    pub features: usize,
    /// Room that augmentations use again and again.
    pub room: &'a mut Vec<f32>,
}

impl Frames<'_> {
    /// Moments.
    pub fn time(&self) -> usize {
        self.values.len() / self.features.max(1)
    }

    /// The values as they are now, and the place for the new ones.
    fn copied(&mut self) -> (&[f32], &mut [f32]) {
        self.room.clear();
        self.room.extend_from_slice(self.values);
        (self.room, self.values)
    }
}

/// What an augmentation changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The wave of a sound, between -1 and 1.
    Wave,
    /// A spectrogram, normalised.
    Spectrum,
    /// A window of a series, normalised.
    Series,
}

/// What an augmentation is made with, beside its arguments.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// The folder that file names start from.
    pub folder: &'a Path,
    /// Moments a second of what it changes.
    pub rate: f64,
}

/// A kind of augmentation: its description, and how to make one from checked arguments.
pub struct Entry {
    /// Name and parameters.
    pub spec: &'static Spec,
    /// What it can be used on.
    pub stages: &'static [Stage],
    /// Makes one.
    pub build: fn(&Args, &Setting<'_>) -> Result<Shared, String>,
}

/// An augmentation that several threads use.
pub type Shared = Arc<dyn Augment>;

/// All kinds of augmentation.
pub fn registry() -> &'static [Entry] {
    &REGISTRY
}

static REGISTRY: [Entry; 10] = [
    gain::ENTRY,
    jitter::ENTRY,
    magnitude_warp::ENTRY,
    noise::ADD,
    noise::MIX,
    scaling::ENTRY,
    spec_augment::ENTRY,
    speed::ENTRY,
    time_shift::ENTRY,
    window_warp::ENTRY,
];

fn specs(stages: &[Stage]) -> Vec<&'static Spec> {
    let fits = |entry: &&Entry| entry.stages.iter().any(|stage| stages.contains(stage));
    registry().iter().filter(fits).map(|entry| entry.spec).collect()
}

/// The descriptions of those that sounds can be changed by, as wave or as spectrogram.
pub fn of_sounds() -> Vec<&'static Spec> {
    specs(&[Stage::Wave, Stage::Spectrum])
}

/// The descriptions of those that series can be changed by.
pub fn of_series() -> Vec<&'static Spec> {
    specs(&[Stage::Series])
}

/// Makes the augmentations that a checked list of a recipe names, each with the stage at which it works: the first of
/// `stages`, given with their moments a second, at which it can.
///
/// # Errors
/// What the augmentation itself says: a folder of noise that is not there.
pub fn build(
    list: Option<&Value>,
    stages: &[(Stage, f64)],
    folder: &Path,
) -> Result<Vec<(Stage, Shared)>, String> {
    let values = match list {
        Some(Value::List(values)) => &values[..],
        _ => &[],
    };
    let build = |value: &Value| {
        let Value::Item(item) = value else {
            return Err(format!("{} where an augmentation should be", value.kind_name()));
        };
        let entry = registry().iter().find(|entry| entry.spec.name == item.name);
        let found = entry.and_then(|entry| {
            stages.iter().find(|(stage, _)| entry.stages.contains(stage)).map(|at| (entry, at))
        });
        let (entry, &(stage, rate)) =
            found.ok_or_else(|| format!("`{}` cannot be used here", item.name))?;
        let built = (entry.build)(&item.args, &Setting { folder, rate });
        Ok((stage, built.map_err(|problem| format!("{}: {problem}", item.name))?))
    };
    values.iter().map(build).collect()
}

/// A number from the standard normal distribution (Box and Muller, 1958).
fn normal(random: &mut Random) -> f32 {
    let (u, v) = (1.0 - random.uniform(), random.uniform());
    (-2.0 * u.ln()).sqrt() * (std::f32::consts::TAU * v).cos()
}

#[cfg(test)]
mod tests {
    use nerve_formats::spec::{Item, Presence, check};

    use super::*;

    /// Applies an augmentation to a copy.
    pub(super) fn applied(
        augment: &dyn Augment,
        values: &[f32],
        features: usize,
        key: u64,
    ) -> Vec<f32> {
        let mut values = values.to_vec();
        let mut frames = Frames { values: &mut values, features, room: &mut Vec::new() };
        augment.apply(&mut frames, &mut Random::keyed(&[key]));
        values
    }

    #[test]
    fn every_entry_builds_with_its_defaults_and_depends_on_its_key_alone() {
        let values: Vec<f32> = (0..600).map(|i| (i as f32 * 0.05).sin() * 0.3).collect();
        let here = Setting { folder: Path::new("."), rate: 100.0 };
        for entry in registry() {
            if entry.spec.params.iter().any(|param| param.presence == Presence::Required) {
                continue;
            }
            let augment = (entry.build)(&check(entry.spec, &[]).unwrap(), &here).unwrap();
            let features = if entry.stages.contains(&Stage::Wave) { 1 } else { 3 };
            let run = |key| applied(&*augment, &values, features, key);
            let results: Vec<_> = (0..20).map(run).collect();
            for (key, result) in results.iter().enumerate() {
                assert_eq!(result, &run(key as u64));
                assert!(result.iter().all(|value| value.is_finite()));
            }
            let name = entry.spec.name;
            assert!(results.iter().any(|result| result != &results[0]), "{name} never varies");
            // The shortest sample there is.
            assert_eq!(applied(&*augment, &[0.5], 1, 0).len(), 1, "{name}");
        }
    }

    #[test]
    fn normal_numbers_have_mean_0_and_deviation_1() {
        let mut random = Random::new(3);
        let drawn: Vec<f32> = (0..20_000).map(|_| normal(&mut random)).collect();
        let mean = drawn.iter().sum::<f32>() / 20_000.0;
        let square = drawn.iter().map(|x| x * x).sum::<f32>() / 20_000.0;
        assert!(mean.abs() < 0.03 && (square - 1.0).abs() < 0.05, "{mean} {square}");
    }

    #[test]
    fn a_list_is_built_at_the_first_stage_that_fits() {
        let item = |name: &str| {
            let entry = registry().iter().find(|entry| entry.spec.answers_to(name)).unwrap();
            let args = check(entry.spec, &[]).unwrap();
            Value::Item(Box::new(Item { name: entry.spec.name, args }))
        };
        let list = Value::List(vec![item("Gain"), item("SpecAugment")].into());
        let stages = [(Stage::Wave, 8000.0), (Stage::Spectrum, 100.0)];
        let built = build(Some(&list), &stages, Path::new(".")).unwrap();
        let at: Vec<Stage> = built.iter().map(|(stage, _)| *stage).collect();
        assert_eq!(at, [Stage::Wave, Stage::Spectrum]);
        let problem = build(Some(&list), &stages[..1], Path::new(".")).unwrap_err();
        assert_eq!(problem, "`SpecAugment` cannot be used here");
        assert!(build(None, &stages, Path::new(".")).unwrap().is_empty());
    }
}
