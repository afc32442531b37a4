//! Silence at the ends.

/// The part of a sound that is louder than `below` decibels under its loudest moment, as `librosa.effects.trim` finds it:
/// from the first to the last frame of `window` samples, one every `hop`, whose mean square is above.
///
/// A sound without any such frame, that is silence, stays as it is.
///
/// # Panics
/// When `hop` is 0.
pub fn trim(sound: &[f32], below: f64, window: usize, hop: usize) -> &[f32] {
    let power = |at: usize| {
        // Frames are centred; what is outside of the sound is zero.
        let middle = at * hop;
        let from = middle.saturating_sub(window / 2);
        let to = (middle + window.div_ceil(2)).min(sound.len());
        let sum: f64 = sound[from.min(to)..to].iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        sum / window as f64
    };
    let powers: Vec<f64> = (0..=sound.len() / hop).map(power).collect();
    let most = powers.iter().copied().fold(0.0, f64::max);
    let floor = most * 10f64.powf(-below / 10.0);
    let loud = |power: &f64| *power > floor;
    let (Some(first), Some(last)) = (powers.iter().position(loud), powers.iter().rposition(loud))
    else {
        return sound;
    };
    &sound[first * hop..((last + 1) * hop).min(sound.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_goes_and_the_sound_stays() {
        let mut sound = vec![1e-4; 1000];
        sound[400..600].fill(0.5);
        let kept = trim(&sound, 40.0, 20, 10);
        assert!((200..=230).contains(&kept.len()), "{}", kept.len());
        assert_eq!(kept.iter().filter(|&&x| x == 0.5).count(), 200);
        assert_eq!(trim(&sound, 100.0, 20, 10).len(), 1000);
        assert_eq!(trim(&[0.0; 50], 40.0, 20, 10).len(), 50);
        assert!(trim(&[], 40.0, 20, 10).is_empty());
    }
}
