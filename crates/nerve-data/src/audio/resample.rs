//! Another number of samples a second.

use std::f64::consts::PI;

/// Resampling by a ratio of whole numbers, as `scipy.signal.resample_poly` does it: `up` - 1 zeros after each sample, a
/// low-pass filter, and every `down`-th value of that.
///
/// The filter is a sinc under a Kaiser window (β = 5) of ten zero crossings to each side; what is outside of the sound
/// counts as zero. Only the products with samples that are no zeros are computed (a polyphase filter).
///
/// ```
/// use nerve_data::audio::Resampler;
///
/// let half = Resampler::new(16_000, 8_000);
/// assert_eq!(half.apply(&[1.0; 1600]).len(), 800);
/// ```
#[derive(Clone, Debug)]
pub struct Resampler {
    up: usize,
    down: usize,
    /// For each phase its taps, in the order of the samples that they meet.
    phases: Vec<Vec<f32>>,
    /// Taps to each side of the middle.
    half: usize,
}

/// Zero crossings of the sinc to each side.
const CROSSINGS: usize = 10;
const BETA: f64 = 5.0;

impl Resampler {
    /// From one rate to another.
    ///
    /// # Panics
    /// When one of them is 0.
    #[track_caller]
    pub fn new(from: u32, to: u32) -> Resampler {
        assert!(from > 0 && to > 0, "resampling from {from} to {to} a second");
        let common = greatest_common_divisor(from, to);
        let (up, down) = ((to / common) as usize, (from / common) as usize);
        let half = CROSSINGS * up.max(down);
        let taps = low_pass(half, up.max(down), up);
        let phases = (0..up)
            .map(|phase| taps.iter().skip(phase).step_by(up).rev().map(|&tap| tap as f32).collect())
            .collect();
        Resampler { up, down, phases, half }
    }

    /// The sound at the new rate: `ceil(n up / down)` samples.
    pub fn apply(&self, sound: &[f32]) -> Vec<f32> {
        let len = (sound.len() * self.up).div_ceil(self.down);
        (0..len).map(|i| self.at(sound, i * self.down + self.half)).collect()
    }

    /// The value of the filtered sound with zeros between, at `place`, of which the filter's delay is a part.
    fn at(&self, sound: &[f32], place: usize) -> f32 {
        let taps = &self.phases[place % self.up];
        // The last tap meets sample `place / up`, the one before it the sample before.
        let end = place / self.up + 1;
        let (start, skipped) = match end.checked_sub(taps.len()) {
            Some(start) => (start, 0),
            None => (0, taps.len() - end),
        };
        let samples = &sound[start.min(sound.len())..end.min(sound.len())];
        samples.iter().zip(&taps[skipped..]).map(|(sample, tap)| sample * tap).sum()
    }
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// `2 half + 1` taps that pass what is below 1/`cut` of half the rate; together they make `gain`.
fn low_pass(half: usize, cut: usize, gain: usize) -> Vec<f64> {
    let cut = 1.0 / cut as f64;
    let tap = |i: usize| {
        let x = i as f64 - half as f64;
        let sinc = if x == 0.0 { 1.0 } else { (PI * cut * x).sin() / (PI * cut * x) };
        let edge = x / half as f64;
        cut * sinc * bessel_i0(BETA * (1.0 - edge * edge).max(0.0).sqrt()) / bessel_i0(BETA)
    };
    let taps: Vec<f64> = (0..=2 * half).map(tap).collect();
    let sum: f64 = taps.iter().sum();
    taps.into_iter().map(|tap| tap / sum * gain as f64).collect()
}

/// The modified Bessel function of the first kind and order 0, by its series.
fn bessel_i0(x: f64) -> f64 {
    let (mut sum, mut term, mut k) = (1.0, 1.0, 1.0);
    while term > sum * 1e-17 {
        term *= (x / 2.0 / k).powi(2);
        sum += term;
        k += 1.0;
    }
    sum
}
