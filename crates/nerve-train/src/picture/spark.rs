//! A line of numbers as a line of blocks.

/// Numbers as blocks of eight heights between the lowest and the highest of them; no number is a space. More
/// than `width` numbers are drawn together, each block the mean of its share.
///
/// ```
/// use nerve_train::picture::sparkline;
/// assert_eq!(sparkline(&[8.0, 4.0, 2.0, 1.0], 40), "█▄▂▁");
/// ```
pub fn sparkline(values: &[f64], width: usize) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let width = width.max(1).min(values.len());
    let mean = |i: usize| {
        let share = &values[i * values.len() / width..(i + 1) * values.len() / width];
        let finite: Vec<f64> = share.iter().copied().filter(|value| value.is_finite()).collect();
        finite.iter().map(|value| value / finite.len() as f64).sum::<f64>()
            + if finite.is_empty() { f64::NAN } else { 0.0 }
    };
    let means: Vec<f64> = (0..width).map(mean).collect();
    let finite = || means.iter().copied().filter(|value| value.is_finite());
    let (low, high) =
        (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    let block = |value: f64| match (value.is_finite(), high > low) {
        (false, _) => ' ',
        (true, false) => BLOCKS[3],
        (true, true) => {
            BLOCKS[(((value / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0)) * 7.0).round() as usize]
        }
    };
    means.into_iter().map(block).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_follow_the_numbers() {
        assert_eq!(sparkline(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 8), "▁▂▃▄▅▆▇█");
        assert_eq!(sparkline(&[1.0, f64::NAN, 0.0], 8), "█ ▁");
        assert_eq!(sparkline(&[2.0, 2.0], 8), "▄▄");
        assert_eq!(sparkline(&[], 8), "");
        assert_eq!(sparkline(&[f64::NAN], 8), " ");
        assert_eq!(sparkline(&[f64::MIN, f64::MAX], 8), "▁█");
        let many: Vec<f64> = (0..1000).map(f64::from).collect();
        assert_eq!(sparkline(&many, 8), "▁▂▃▄▅▆▇█");
    }
}
