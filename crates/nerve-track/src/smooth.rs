//! Smoothing of curves.

/// An exponential mean of the numbers before each and itself, as TensorBoard smooths: each counts `weight` times
/// as much as the one behind it, and the first ones are not drawn towards zero. What is no number stays as it is
/// and does not count. A weight of 0 changes nothing; it is below 1.
///
/// ```
/// assert_eq!(nerve_track::smoothed(&[1.0, 3.0], 0.0), [1.0, 3.0]);
/// // (0.5 · 1 + 3) / (0.5 + 1)
/// assert_eq!(nerve_track::smoothed(&[1.0, 3.0], 0.5), [1.0, 3.5 / 1.5]);
/// ```
pub fn smoothed(values: &[f64], weight: f64) -> Vec<f64> {
    let weight = weight.clamp(0.0, 0.9999);
    let (mut sum, mut count) = (0.0, 0.0);
    let next = |&value: &f64| {
        if !value.is_finite() {
            return value;
        }
        (sum, count) = (weight * sum + value, weight * count + 1.0);
        sum / count
    };
    values.iter().map(next).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_stay_and_gaps_are_passed_over() {
        let flat = smoothed(&[2.0; 100], 0.9);
        assert!(flat.iter().all(|value| (value - 2.0).abs() < 1e-12));
        let gap = smoothed(&[1.0, f64::NAN, 3.0], 0.5);
        assert!(gap[1].is_nan());
        assert_eq!(gap[2], 3.5 / 1.5);
    }
}
