//! Noise under a sound.

use std::path::Path;
use std::sync::Arc;

use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

use super::{Augment, Entry, Frames, Setting, Stage, normal};
use crate::Random;
use crate::audio::load;

pub(super) const ADD: Entry = Entry {
    spec: &ADD_SPEC,
    stages: &[Stage::Wave],
    build: |args, _| Ok(Arc::new(AddNoise { snr_db: range(&args.floats("snr_db")) })),
};

pub(super) const MIX: Entry = Entry {
    spec: &MIX_SPEC,
    stages: &[Stage::Wave],
    build: |args, setting| {
        let noises = Noises::read(args.text("folder"), setting)?;
        Ok(Arc::new(MixNoise { noises: noises.0, snr_db: range(&args.floats("snr_db")) }))
    },
};

const DB: Kind = Kind::float(-60.0, 120.0);
const SNR: Param = Param::with_default(
    "snr_db",
    Kind::List { of: &DB, min_len: 2, max_len: 2 },
    Value::list(&[Value::Float(5.0), Value::Float(30.0)]),
    "from which to which ratio of sound to noise, in decibels",
);

static ADD_SPEC: Spec = Spec {
    name: "AddNoise",
    aliases: &["add_noise"],
    peers: Peers::of("audio.functional.add_noise", ""),
    doc: "Adds white noise at a random ratio of sound to noise.",
    params: &[SNR],
};

static MIX_SPEC: Spec = Spec {
    name: "MixNoise",
    aliases: &["mix_noise"],
    peers: Peers::of("audio.functional.add_noise", ""),
    doc: "Mixes in a piece of a recording of noise at a random ratio of sound to noise.",
    params: &[Param::required("folder", Kind::Text, "folder with WAV files of noise"), SNR],
};

fn range(values: &[f64]) -> [f32; 2] {
    let [a, b] = [values[0] as f32, values[1] as f32];
    [a.min(b), a.max(b)]
}

/// The root of the mean square of what is not silence.
fn loudness(sound: &[f32]) -> f32 {
    let heard = sound.iter().filter(|&&x| x != 0.0);
    let (sum, count) = heard.fold((0.0f64, 0u32), |(sum, n), &x| (sum + f64::from(x * x), n + 1));
    (sum / f64::from(count.max(1))).sqrt() as f32
}

/// Adds white noise.
#[derive(Clone, Debug)]
pub struct AddNoise {
    /// Least and greatest ratio of sound to noise, in decibels; all between are equally likely.
    pub snr_db: [f32; 2],
}

impl Augment for AddNoise {
    fn apply(&self, frames: &mut Frames<'_>, random: &mut Random) {
        let [low, high] = self.snr_db;
        let deviation = loudness(frames.values) / 10f32.powf(random.between(low, high) / 20.0);
        frames.values.iter_mut().for_each(|value| *value += deviation * normal(random));
    }
}

/// Mixes in a random piece of one of several recordings, which are repeated where they are too short.
#[derive(Clone, Debug)]
pub struct MixNoise {
    /// The recordings, none of them empty.
    pub noises: Vec<Vec<f32>>,
    /// Least and greatest ratio of sound to noise, in decibels; all between are equally likely.
    pub snr_db: [f32; 2],
}

impl Augment for MixNoise {
    fn apply(&self, frames: &mut Frames<'_>, random: &mut Random) {
        let noise = &self.noises[random.below(self.noises.len() as u64) as usize];
        let from = random.below(noise.len() as u64) as usize;
        let [low, high] = self.snr_db;
        let ratio = 10f32.powf(random.between(low, high) / 20.0);
        let loud = loudness(noise);
        let factor = if loud > 0.0 { loudness(frames.values) / loud / ratio } else { 0.0 };
        let piece = noise.iter().cycle().skip(from);
        frames.values.iter_mut().zip(piece).for_each(|(value, noise)| *value += factor * noise);
    }
}

struct Noises(Vec<Vec<f32>>);

impl Noises {
    /// All WAV files of a folder, in the order of their names.
    fn read(folder: &str, setting: &Setting<'_>) -> Result<Noises, String> {
        let folder = setting.folder.join(Path::new(folder));
        let names = std::fs::read_dir(&folder)
            .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
            .map_err(|error| format!("cannot read the folder {}: {error}", folder.display()));
        let mut names: Vec<std::path::PathBuf> = names?;
        names.retain(|name| name.extension().is_some_and(|e| e.eq_ignore_ascii_case("wav")));
        names.sort();
        if names.is_empty() {
            return Err(format!("no WAV file in the folder {}", folder.display()));
        }
        let read = |name| load(name, setting.rate as u32).map_err(|error| error.to_string());
        names.iter().map(read).collect::<Result<_, _>>().map(Noises)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::applied;
    use super::*;

    fn ratio_db(clean: &[f32], noisy: &[f32]) -> f32 {
        let noise: Vec<f32> = noisy.iter().zip(clean).map(|(a, b)| a - b).collect();
        20.0 * (loudness(clean) / loudness(&noise)).log10()
    }

    #[test]
    fn noise_has_the_ratio_that_was_asked_for() {
        let sound: Vec<f32> = (0..8000).map(|i| (i as f32 * 0.3).sin() * 0.4).collect();
        let noisy = applied(&AddNoise { snr_db: [10.0, 10.0] }, &sound, 1, 1);
        assert!((ratio_db(&sound, &noisy) - 10.0).abs() < 0.3);
        // Silence at the end of a padded clip does not make the sound softer.
        let padded = [&sound[..], &[0.0; 8000]].concat();
        let noisy = applied(&AddNoise { snr_db: [10.0, 10.0] }, &padded, 1, 1);
        assert!((ratio_db(&sound, &noisy[..8000]) - 10.0).abs() < 0.3);
        let hum: Vec<f32> = (0..500).map(|i| (i as f32 * 0.7).sin()).collect();
        let mixed = applied(&MixNoise { noises: vec![hum], snr_db: [3.0, 3.0] }, &sound, 1, 1);
        assert!((ratio_db(&sound, &mixed) - 3.0).abs() < 0.3);
    }

    #[test]
    fn silence_stays_silent() {
        let mix = MixNoise { noises: vec![vec![0.5, -0.5]], snr_db: [0.0, 0.0] };
        assert_eq!(applied(&mix, &[0.0; 4], 1, 0), [0.0; 4]);
        assert_eq!(applied(&AddNoise { snr_db: [0.0, 0.0] }, &[0.0; 4], 1, 0), [0.0; 4]);
    }

    #[test]
    fn a_folder_without_noise_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let setting = Setting { folder: folder.path(), rate: 8000.0 };
        let problem = |name: &str| Noises::read(name, &setting).err().unwrap();
        assert!(problem(".").contains("no WAV file"));
        assert!(problem("nowhere").contains("cannot read the folder"));
    }
}
