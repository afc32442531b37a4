//! The front ends of sound against librosa and SciPy; the feature `audio` from files to frames.

use std::path::Path;

use nerve_data::audio::{FRONT_ENDS, FrontEnd, Resampler, SpectrumRoom, trim};
use nerve_formats::spec::{Item, Value, check, find};
use nerve_formats::{Limits, SafeTensors};

fn golden() -> SafeTensors {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/audio.safetensors");
    SafeTensors::open(path, &Limits::default()).unwrap()
}

fn values(golden: &SafeTensors, name: &str) -> Vec<f32> {
    golden.tensor(name).unwrap().to_f32().unwrap()
}

#[track_caller]
fn near(found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len());
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!((f - e).abs() <= tolerance, "[{i}]: found {f}, expected {e}");
    }
}

#[test]
fn resampling_is_that_of_scipy() {
    let golden = golden();
    let sound = values(&golden, "sound");
    for (from, to) in [(16_000, 8_000), (8_000, 16_000), (44_100, 16_000), (16_000, 11_025)] {
        let expected = values(&golden, &format!("resampled.{from}.{to}"));
        near(&Resampler::new(from, to).apply(&sound), &expected, 1e-6);
    }
}

fn front_end(name: &str, given: &[(&str, Value)]) -> Result<FrontEnd, String> {
    let spec = find(&FRONT_ENDS, name).unwrap();
    let given: Vec<(String, Value)> =
        given.iter().map(|(key, value)| (key.to_string(), value.clone())).collect();
    FrontEnd::new(&Item { name: spec.name, args: check(spec, &given).unwrap() }, 16_000)
}

#[test]
fn spectra_are_those_of_librosa() {
    let golden = golden();
    let sound = values(&golden, "sound");
    let other = [
        ("bands", Value::Int(26)),
        ("window_ms", Value::Int(25)),
        ("hop_ms", Value::Float(6.25)),
        ("low_hz", Value::Int(100)),
        ("high_hz", Value::Int(6000)),
    ];
    for (name, case, given, bands) in [
        ("log_mel", "log_mel.default", &[][..], 40),
        ("log_mel", "log_mel.other", &other[..], 26),
        ("mfcc", "mfcc.default", &[][..], 13),
    ] {
        let front_end = front_end(name, given).unwrap();
        assert_eq!(front_end.bands(), bands);
        let mut out = vec![0.0; front_end.frames(sound.len()) * bands];
        front_end.apply(&sound, &mut out, &mut SpectrumRoom::default());
        // Powers span nine decades; in f32 the logarithm of the smallest is good to four digits.
        near(&out, &values(&golden, case), 2e-3);
    }
}

#[test]
fn a_front_end_that_cannot_be_is_refused() {
    let problem = |name, given: &[(&str, Value)]| front_end(name, given).unwrap_err();
    assert!(problem("log_mel", &[("bands", Value::Int(300))]).contains("too many"));
    assert!(problem("log_mel", &[("high_hz", Value::Int(9000))]).contains("half the rate"));
    assert!(problem("log_mel", &[("low_hz", Value::Int(8000))]).contains("half the rate"));
    assert!(problem("mfcc", &[("coefficients", Value::Int(41))]).contains("no more"));
    assert_eq!(front_end("wave", &[]).unwrap().frames(7), 7);
    assert_eq!(front_end("log_mel", &[]).unwrap().frames(479), 0);
}

#[test]
fn silence_is_trimmed_as_librosa_does() {
    let golden = golden();
    let sound = values(&golden, "sound");
    let soft = sound.iter().map(|x| 1e-3 * x).collect::<Vec<f32>>();
    let quiet = [&soft[..], &sound, &[0.0; 900], &soft].concat();
    let kept = trim(&quiet, 30.0, 480, 160);
    let first = (kept.as_ptr() as usize - quiet.as_ptr() as usize) / 4;
    let expected = values(&golden, "trim");
    assert_eq!([first as f32, (first + kept.len()) as f32], expected[..]);
}

/// The feature over recordings in a folder of their own.
mod feature {
    use std::sync::Arc;

    use nerve_data::features::{Role, Room, Setting, find};
    use nerve_data::{Array, Cells, Feature, Field, Random, Row, Texts};
    use nerve_formats::spec::{Value, check};

    fn wav(samples: &[i16], rate: u32) -> Vec<u8> {
        let len = 2 * samples.len() as u32;
        let mut bytes =
            [b"RIFF", &(36 + len).to_le_bytes()[..], b"WAVEfmt ", &[16, 0, 0, 0]].concat();
        bytes.extend([1, 0, 1, 0]);
        bytes.extend(rate.to_le_bytes());
        bytes.extend((2 * rate).to_le_bytes());
        bytes.extend([2, 0, 16, 0]);
        bytes.extend(b"data");
        bytes.extend(len.to_le_bytes());
        bytes.extend(samples.iter().flat_map(|s| s.to_le_bytes()));
        bytes
    }

    fn tone(pitch: f32, len: usize) -> Vec<i16> {
        (0..len).map(|i| ((i as f32 * pitch).sin() * 8000.0) as i16).collect()
    }

    struct Clips {
        folder: tempfile::TempDir,
        cells: Cells,
    }

    fn clips() -> Clips {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
        write("low.wav", &wav(&tone(0.1, 4000), 8000));
        write("high.wav", &wav(&tone(0.9, 2000), 8000));
        write("other.wav", &wav(&tone(0.05, 8000), 16_000));
        write("bad.wav", b"RIFF....WAVEdata");
        let names = ["low.wav", "high.wav", "other.wav", "bad.wav", "none.wav", ""];
        let texts: Texts = names.iter().map(|name| Some(*name)).collect();
        Clips { folder, cells: Cells::Text(texts) }
    }

    fn args(given: &[(&str, Value)]) -> nerve_formats::spec::Args {
        let mut all = vec![("rate".to_string(), Value::Int(8000))];
        all.extend(given.iter().map(|(key, value)| (key.to_string(), value.clone())));
        check(find("audio").unwrap().spec, &all).unwrap()
    }

    fn setting(clips: &Clips) -> Setting {
        Setting { role: Role::Input, folder: clips.folder.path().into() }
    }

    fn fitted(clips: &Clips, given: &[(&str, Value)]) -> Arc<dyn Feature> {
        let entry = find("audio").unwrap();
        let mut fit = (entry.begin)(&args(given), &setting(clips)).unwrap();
        (0..3).for_each(|row| fit.observe(&clips.cells, row).unwrap());
        fit.finish().unwrap()
    }

    fn array(shape: &[usize]) -> Array {
        Array::zeros(&Field::new("audio", shape, nerve_data::Element::F32), 1)
    }

    fn delivered(feature: &dyn Feature, clips: &Clips, row: usize, key: Option<u64>) -> Vec<f32> {
        let mut stored = [array(&feature.stored().0)];
        feature.store(&clips.cells, row, Row::new(&mut stored, 0).slice(0)).unwrap();
        if !feature.delivers() {
            return stored[0].f32().to_vec();
        }
        let mut out = [array(&feature.delivered().0)];
        let random = key.map(|key| Random::keyed(&[key]));
        let mut room = Room::default();
        feature.deliver(stored[0].values(), Row::new(&mut out, 0).slice(0), random, &mut room);
        out[0].f32().to_vec()
    }

    #[test]
    fn recordings_become_normalised_pictures_of_one_length() {
        let clips = clips();
        let feature = fitted(&clips, &[]);
        // Half a second is the longest: 1 + (4000 - 240) / 80 frames.
        assert_eq!(feature.delivered().0, [1, 40, 48]);
        let low = delivered(&*feature, &clips, 0, None);
        let high = delivered(&*feature, &clips, 1, None);
        let band = |values: &[f32], band: usize| values[band * 48 + 24];
        // 127 Hz is in one of the lowest bands, 1146 Hz in one of the middle.
        assert!((0..5).any(|b| band(&low, b) > band(&high, b) + 1.0));
        assert!((15..20).any(|b| band(&high, b) > band(&low, b) + 1.0));
        assert!(low.iter().chain(&high).all(|v| v.is_finite()));
        let frames = fitted(&clips, &[("layout", Value::text("frames"))]);
        let transposed = delivered(&*frames, &clips, 0, None);
        assert_eq!(frames.stored().0, [48, 40]);
        assert!((0..40 * 48).all(|i| transposed[i % 48 * 40 + i / 48] == low[i]));
    }

    #[test]
    fn augmentation_is_keyed_and_only_in_training() {
        let clips = clips();
        let list = ["TimeShift", "AddNoise", "Gain", "Speed", "SpecAugment"].map(Value::text);
        let augmented = fitted(&clips, &[("augment", Value::List(list.to_vec().into()))]);
        let plain = fitted(&clips, &[]);
        assert_eq!(augmented.stored().0, [4000]);
        let run = |key| delivered(&*augmented, &clips, 0, key);
        assert_eq!(run(None), delivered(&*plain, &clips, 0, None));
        assert_eq!(run(Some(1)), run(Some(1)));
        assert_ne!(run(Some(1)), run(Some(2)));
        assert!(run(Some(3)).iter().all(|v| v.is_finite()));
    }

    #[test]
    fn what_was_learned_is_restored() {
        let clips = clips();
        let entry = find("audio").unwrap();
        for given in [vec![], vec![("features", Value::text("mfcc")), ("trim_db", Value::Int(30))]]
        {
            let feature = fitted(&clips, &given);
            let restore =
                |state: &serde_json::Value| (entry.restore)(&args(&given), &setting(&clips), state);
            let again = restore(&feature.state()).unwrap();
            assert_eq!(delivered(&*again, &clips, 1, None), delivered(&*feature, &clips, 1, None));
            for (key, value) in [
                ("length", serde_json::json!(1u64 << 60)),
                ("length", serde_json::json!(3)),
                ("divide", serde_json::json!([1.0])),
                ("subtract", serde_json::json!("x")),
            ] {
                let mut state = feature.state();
                state[key] = value;
                assert!(restore(&state).is_err(), "{key}");
            }
        }
    }

    #[test]
    fn what_is_no_recording_is_refused_with_its_name() {
        let clips = clips();
        let feature = fitted(&clips, &[]);
        let refused = |row| {
            let mut stored = [array(&feature.stored().0)];
            feature.store(&clips.cells, row, Row::new(&mut stored, 0).slice(0)).unwrap_err()
        };
        assert!(refused(3).found.contains("bad.wav"), "{:?}", refused(3));
        assert!(refused(4).found.contains("cannot open"), "{:?}", refused(4));
        assert_eq!(refused(5).found, "an empty text");
    }

    #[test]
    fn recordings_are_cut_and_that_is_said() {
        let clips = clips();
        let wave = [("features", Value::text("wave")), ("length_s", Value::Float(0.25))];
        let feature = fitted(&clips, &wave);
        assert_eq!(feature.stored().0, [2000, 1]);
        assert_eq!(feature.notes(), ["2 of 3 recordings are longer than 0.25 s and are cut"]);
        let output = Setting { role: Role::Output, folder: clips.folder.path().into() };
        assert!((find("audio").unwrap().begin)(&args(&[]), &output).is_err());
    }
}
