//! Sound: from a WAV file to the frames that a network sees.
//!
//! ```text
//! file ──► mono at one rate (Resampler) ──► silence trimmed ──► length ──► FrontEnd: wave, log-mel bands, or MFCC
//! ```

mod front_end;
mod mel;
mod resample;
mod trim;

use std::path::Path;

use nerve_formats::{FormatError, Limits, Wav, read_wav};

pub use front_end::{FRONT_ENDS, FrontEnd, Spectra, SpectrumRoom, front_ends};
pub use mel::{Filter, dct, mel_filters};
pub use resample::Resampler;
pub use trim::trim;

/// A recording is held in memory as a whole: an hour of stereo at 16 bits and 16 kHz fits.
const LIMITS: Limits = Limits { max_bytes: 256 << 20, max_ratio: 1, free_bytes: 0 };

/// The sound of a WAV file: the mean of its channels, at `rate` samples a second.
///
/// # Errors
/// Those of [`read_wav`]; a file has at most 256 MiB.
pub fn load(path: impl AsRef<Path>, rate: u32) -> Result<Vec<f32>, FormatError> {
    Ok(at_rate(read_wav(path, &LIMITS)?, rate))
}

/// A recording as a network takes it: the mean of its channels, at `rate` samples a second.
pub fn at_rate(wav: Wav, rate: u32) -> Vec<f32> {
    let from = wav.rate;
    let mono = wav.into_mono();
    if from == rate { mono } else { Resampler::new(from, rate).apply(&mono) }
}
