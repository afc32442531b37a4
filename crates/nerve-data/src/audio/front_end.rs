//! What a network sees of a sound: the wave itself, mel bands, or cepstra.

use std::f64::consts::PI;
use std::fmt;
use std::sync::Arc;

use nerve_formats::spec::{Args, Item, Kind, Param, Peers, Spec, Value};
use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

use super::mel::{Filter, dct, mel_filters};

/// The descriptions of all front ends.
pub fn front_ends() -> Vec<&'static Spec> {
    FRONT_ENDS.to_vec()
}

/// The descriptions of all front ends.
pub static FRONT_ENDS: [&Spec; 3] = [&LOG_MEL, &MFCC, &WAVE];

const BANDS: Param = Param::with_default(
    "bands",
    Kind::int(1, 512),
    Value::Int(40),
    "how many bands, at equal distances on the mel scale",
)
.alias(&["n_mels"]);
const WINDOW: Param = Param::with_default(
    "window_ms",
    Kind::float(1.0, 1000.0),
    Value::Float(30.0),
    "length of a frame in milliseconds",
);
const HOP: Param = Param::with_default(
    "hop_ms",
    Kind::float(1.0, 1000.0),
    Value::Float(10.0),
    "time from frame to frame in milliseconds",
);
const LOW: Param = Param::with_default(
    "low_hz",
    Kind::float(0.0, 96_000.0),
    Value::Float(20.0),
    "where the lowest band begins, in hertz",
);
const HIGH: Param = Param::optional(
    "high_hz",
    Kind::float(1.0, 96_000.0),
    "where the highest band ends, in hertz; without it half the rate",
);

static LOG_MEL: Spec = Spec {
    name: "log_mel",
    aliases: &[],
    peers: Peers::of("audio.transforms.MelSpectrogram", "layers.MelSpectrogram"),
    doc: "The logarithm of the power in bands of equal width to the ear, frame after frame.",
    params: &[BANDS, WINDOW, HOP, LOW, HIGH],
};

static MFCC: Spec = Spec {
    name: "mfcc",
    aliases: &[],
    peers: Peers::of("audio.transforms.MFCC", ""),
    doc: "Cepstra: the cosine transform of the logarithms of mel bands, of which the first say most.",
    params: &[
        Param::with_default("coefficients", Kind::int(1, 512), Value::Int(13), "how many of them")
            .alias(&["n_mfcc"]),
        BANDS,
        WINDOW,
        HOP,
        LOW,
        HIGH,
    ],
};

static WAVE: Spec = Spec {
    name: "wave",
    aliases: &["raw"],
    peers: Peers::NONE,
    doc: "The samples as they are.",
    params: &[],
};

/// How a sound becomes frames: `[samples]` to `[frames, bands]`.
#[derive(Clone, Debug)]
pub enum FrontEnd {
    /// Each sample is a frame.
    Wave,
    /// Spectra of overlapping frames.
    Spectra(Spectra),
}

impl FrontEnd {
    /// Makes one of the [`FRONT_ENDS`] for sounds of `rate` samples a second.
    ///
    /// # Errors
    /// Its arguments do not fit one another or the rate.
    pub fn new(item: &Item, rate: u32) -> Result<FrontEnd, String> {
        Ok(match item.name {
            "wave" => FrontEnd::Wave,
            _ => FrontEnd::Spectra(Spectra::from_args(&item.args, rate)?),
        })
    }

    /// Values in a frame.
    pub fn bands(&self) -> usize {
        match self {
            FrontEnd::Wave => 1,
            FrontEnd::Spectra(spectra) => spectra.coefficients.unwrap_or(spectra.filters.len()),
        }
    }

    /// How many frames a sound of so many samples has.
    pub fn frames(&self, samples: usize) -> usize {
        match self {
            FrontEnd::Wave => samples,
            FrontEnd::Spectra(spectra) => match samples.checked_sub(spectra.window.len()) {
                Some(rest) => rest / spectra.hop + 1,
                None => 0,
            },
        }
    }

    /// Samples that a sound must have at least for one frame.
    pub fn least(&self) -> usize {
        match self {
            FrontEnd::Wave => 1,
            FrontEnd::Spectra(spectra) => spectra.window.len(),
        }
    }

    /// Frames a second.
    pub fn frame_rate(&self, rate: u32) -> f64 {
        match self {
            FrontEnd::Wave => f64::from(rate),
            FrontEnd::Spectra(spectra) => f64::from(rate) / spectra.hop as f64,
        }
    }

    /// Writes the frames of a sound, `frames(sound.len()) * bands` values, frame after frame.
    ///
    /// # Panics
    /// When `out` has another length.
    #[track_caller]
    pub fn apply(&self, sound: &[f32], out: &mut [f32], room: &mut SpectrumRoom) {
        assert_eq!(out.len(), self.frames(sound.len()) * self.bands(), "values of the frames");
        match self {
            FrontEnd::Wave => out.copy_from_slice(sound),
            FrontEnd::Spectra(spectra) => spectra.apply(sound, out, room),
        }
    }
}

/// Memory for spectra that is used again and again.
#[derive(Clone, Debug, Default)]
pub struct SpectrumRoom {
    frame: Vec<f32>,
    spectrum: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
    power: Vec<f32>,
    bands: Vec<f32>,
}

/// Mel bands or cepstra of overlapping frames.
#[derive(Clone)]
pub struct Spectra {
    hop: usize,
    window: Vec<f32>,
    transform: Arc<dyn RealToComplex<f32>>,
    filters: Vec<Filter>,
    /// The number of cepstra, if not the bands themselves, and the transform to them.
    coefficients: Option<usize>,
    dct: Vec<f32>,
}

impl fmt::Debug for Spectra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (window, bands) = (self.window.len(), self.filters.len());
        write!(f, "Spectra {{ {bands} bands, window {window}, hop {} }}", self.hop)
    }
}

/// The power of a silent band: below this the logarithm says nothing but how silent silence is.
const FLOOR: f32 = 1e-6;

impl Spectra {
    fn from_args(args: &Args, rate: u32) -> Result<Spectra, String> {
        let samples = |key: &str| (args.float(key) * f64::from(rate) / 1000.0).round() as usize;
        let (window, hop) = (samples("window_ms"), samples("hop_ms"));
        if window < 2 || hop == 0 {
            return Err(format!(
                "a window of {window} samples every {hop}: too short at {rate} Hz"
            ));
        }
        let half = f64::from(rate) / 2.0;
        let low = args.float("low_hz");
        let high = if args.has("high_hz") { args.float("high_hz") } else { half };
        if low >= high || high > half {
            return Err(format!(
                "bands from {low} to {high} Hz: `high_hz` lies above `low_hz` and at most at half the rate, {half}"
            ));
        }
        let bands = args.usize("bands");
        let filters = mel_filters(bands, f64::from(rate), window, [low, high])?;
        let coefficients = args.has("coefficients").then(|| args.usize("coefficients"));
        if let Some(count) = coefficients.filter(|&count| count > bands) {
            return Err(format!(
                "{count} coefficients of {bands} bands: there can be no more of them"
            ));
        }
        let hann = |i: usize| 0.5 - 0.5 * (2.0 * PI * i as f64 / window as f64).cos();
        Ok(Spectra {
            hop,
            window: (0..window).map(|i| hann(i) as f32).collect(),
            transform: RealFftPlanner::new().plan_fft_forward(window),
            filters,
            coefficients,
            dct: coefficients.map_or_else(Vec::new, |count| dct(count, bands)),
        })
    }

    fn apply(&self, sound: &[f32], out: &mut [f32], room: &mut SpectrumRoom) {
        let width = self.coefficients.unwrap_or(self.filters.len());
        room.frame.resize(self.window.len(), 0.0);
        room.spectrum.resize(self.window.len() / 2 + 1, Complex::default());
        room.scratch.resize(self.transform.get_scratch_len(), Complex::default());
        room.bands.resize(self.filters.len(), 0.0);
        for (at, out) in out.chunks_exact_mut(width).enumerate() {
            self.bands(&sound[at * self.hop..][..self.window.len()], room);
            if self.coefficients.is_none() {
                out.copy_from_slice(&room.bands);
                continue;
            }
            for (out, row) in out.iter_mut().zip(self.dct.chunks_exact(self.filters.len())) {
                *out = row.iter().zip(&room.bands).map(|(a, b)| a * b).sum();
            }
        }
    }

    /// The logarithms of the power in the bands of one frame, into `room.bands`.
    fn bands(&self, frame: &[f32], room: &mut SpectrumRoom) {
        let windowed = room.frame.iter_mut().zip(frame.iter().zip(&self.window));
        windowed.for_each(|(out, (sample, weight))| *out = sample * weight);
        // It fails for buffers of wrong lengths alone.
        self.transform
            .process_with_scratch(&mut room.frame, &mut room.spectrum, &mut room.scratch)
            .expect("buffers of the planned lengths");
        room.power.clear();
        room.power.extend(room.spectrum.iter().map(Complex::norm_sqr));
        for (out, (start, weights)) in room.bands.iter_mut().zip(&self.filters) {
            let bins = &room.power[*start..][..weights.len()];
            let power: f32 = bins.iter().zip(weights).map(|(a, b)| a * b).sum();
            *out = power.max(FLOOR).ln();
        }
    }
}
