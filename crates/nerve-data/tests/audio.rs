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
