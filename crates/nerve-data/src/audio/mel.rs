//! The mel scale, on which equal steps sound equally far apart, and the cosine transform of cepstra.

use std::f64::consts::PI;

/// Slaney's scale: linear below 1 kHz, logarithmic above (M. Slaney, "Auditory Toolbox", 1998).
fn mel(hertz: f64) -> f64 {
    if hertz < 1000.0 { hertz * 3.0 / 200.0 } else { 15.0 + (hertz / 1000.0).ln() / STEP }
}

fn hertz(mel: f64) -> f64 {
    if mel < 15.0 { mel * 200.0 / 3.0 } else { 1000.0 * ((mel - 15.0) * STEP).exp() }
}

/// ln(6.4) / 27.
const STEP: f64 = 0.068_751_777_420_949_12;

/// A band: the first bin of the spectrum that it takes, and the weight of that one and of those behind it.
pub type Filter = (usize, Vec<f32>);

/// Triangular filters at equal distances on the mel scale from `low` to `high` hertz, each of area 1, over the
/// `window / 2 + 1` bins of the spectrum of `window` samples at `rate`. As `librosa.filters.mel` with its defaults.
///
/// # Errors
/// A band falls between two bins: there are too many for the window.
pub fn mel_filters(
    bands: usize,
    rate: f64,
    window: usize,
    [low, high]: [f64; 2],
) -> Result<Vec<Filter>, String> {
    let (from, to) = (mel(low), mel(high));
    let edge = |i: usize| hertz(from + (to - from) * i as f64 / (bands + 1) as f64);
    (0..bands)
        .map(|band| {
            let [a, b, c] = [edge(band), edge(band + 1), edge(band + 2)];
            let weight = |bin: usize| {
                let f = bin as f64 * rate / window as f64;
                ((f - a) / (b - a)).min((c - f) / (c - b)).max(0.0) * 2.0 / (c - a)
            };
            let bins = 0..window / 2 + 1;
            let start = bins.clone().find(|&bin| weight(bin) > 0.0).ok_or_else(|| {
                format!(
                    "{bands} bands are too many for a window of {window} samples: no frequency of its spectrum lies \
                     in band {} ({a:.0} to {c:.0} Hz); take fewer bands or a longer window",
                    band + 1
                )
            })?;
            let inside = (start..bins.end).map(weight).take_while(|&w| w > 0.0);
            Ok((start, inside.map(|w| w as f32).collect()))
        })
        .collect()
}

/// The first `count` rows of the orthonormal cosine transform (DCT-II) of `n` values: `[count, n]`.
pub fn dct(count: usize, n: usize) -> Vec<f32> {
    let entry = |k: usize, i: usize| {
        let scale = if k == 0 { 1.0 / n as f64 } else { 2.0 / n as f64 }.sqrt();
        (scale * (PI * k as f64 * (2 * i + 1) as f64 / (2 * n) as f64).cos()) as f32
    };
    (0..count).flat_map(|k| (0..n).map(move |i| entry(k, i))).collect()
}
