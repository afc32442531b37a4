//! Resizing, one row of the source at a time, so that the source is never copied.

/// Weights of the source pixels that make one target pixel.
struct Tap {
    start: usize,
    weights: Vec<f32>,
}

/// The triangle filter along one axis. Growing, it interpolates linearly; shrinking, it is widened by the ratio, so that
/// every source pixel counts (no aliasing).
fn taps(source: usize, target: usize) -> Vec<Tap> {
    let ratio = source as f64 / target as f64;
    let reach = ratio.max(1.0);
    (0..target)
        .map(|i| {
            let centre = (i as f64 + 0.5) * ratio;
            let start = (centre - reach).floor().max(0.0) as usize;
            let end = ((centre + reach).ceil() as usize).min(source);
            let weight = |j: usize| (1.0 - ((j as f64 + 0.5 - centre) / reach).abs()).max(0.0);
            let sum: f64 = (start..end).map(weight).sum();
            Tap { start, weights: (start..end).map(|j| (weight(j) / sum) as f32).collect() }
        })
        .collect()
}

/// Takes the rows of a picture from top to bottom, and gives it in another size.
pub(super) struct Resizer {
    across: Vec<Tap>,
    down: Vec<Tap>,
    source_width: usize,
    channels: usize,
    /// The row to come.
    y: usize,
    /// One source row in the target's width, channel after channel.
    row: Vec<f32>,
    /// A source row as floats.
    wide: Vec<f32>,
    /// The target, channel after channel, row after row.
    sums: Vec<f32>,
}

impl Resizer {
    /// From a height and width to another.
    pub(super) fn new(source: [usize; 2], target: [usize; 2], channels: usize) -> Resizer {
        Resizer {
            across: taps(source[1], target[1]),
            down: taps(source[0], target[0]),
            source_width: source[1],
            channels,
            y: 0,
            row: vec![0.0; channels * target[1]],
            wide: vec![0.0; channels * source[1]],
            sums: vec![0.0; channels * target[0] * target[1]],
        }
    }

    /// Adds the next row, channel after channel.
    pub(super) fn add_row(&mut self, source: &[u8]) {
        let width = self.across.len();
        self.wide.iter_mut().zip(source).for_each(|(wide, &byte)| *wide = byte.into());
        let planes = self.wide.chunks_exact(self.source_width);
        for (source, row) in planes.zip(self.row.chunks_exact_mut(width)) {
            for (tap, out) in self.across.iter().zip(row) {
                let source = &source[tap.start..][..tap.weights.len()];
                *out = source.iter().zip(&tap.weights).map(|(value, weight)| value * weight).sum();
            }
        }
        // The target rows that this one counts in lie next to each other.
        let y = self.y;
        let first = self.down.partition_point(|tap| tap.start + tap.weights.len() <= y);
        let counts = self.down[first..].iter().take_while(|tap| tap.start <= y).count();
        for target_y in first..first + counts {
            let tap = &self.down[target_y];
            let weight = tap.weights[y - tap.start];
            for channel in 0..self.channels {
                let sums =
                    &mut self.sums[(channel * self.down.len() + target_y) * width..][..width];
                for (sum, value) in sums.iter_mut().zip(&self.row[channel * width..][..width]) {
                    *sum += weight * value;
                }
            }
        }
        self.y += 1;
    }

    /// The target, rounded to bytes.
    pub(super) fn finish(self) -> Vec<u8> {
        // Converting a float to a byte keeps it within 0 to 255.
        self.sums.into_iter().map(|sum| (sum + 0.5) as u8).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn resized(source: [usize; 2], target: [usize; 2], pixels: &[u8]) -> Vec<u8> {
        let mut resizer = Resizer::new(source, target, pixels.len() / (source[0] * source[1]));
        let channels = pixels.len() / (source[0] * source[1]);
        for y in 0..source[0] {
            let row: Vec<u8> = (0..channels)
                .flat_map(|c| &pixels[(c * source[0] + y) * source[1]..][..source[1]])
                .copied()
                .collect();
            resizer.add_row(&row);
        }
        resizer.finish()
    }

    #[test]
    fn the_same_size_changes_nothing() {
        let pixels: Vec<u8> = (0..2 * 5 * 3).map(|i| i * 8).collect();
        assert_eq!(resized([5, 3], [5, 3], &pixels), pixels);
    }

    #[test]
    fn growing_interpolates_between_pixel_centres() {
        assert_eq!(resized([1, 2], [1, 4], &[0, 100]), [0, 25, 75, 100]);
        assert_eq!(resized([2, 1], [4, 1], &[0, 100]), [0, 25, 75, 100]);
        assert_eq!(resized([1, 1], [2, 3], &[9]), [9; 6]);
    }

    #[test]
    fn shrinking_counts_every_pixel() {
        // A line of one pixel does not vanish, wherever it is.
        for at in 0..40 {
            let mut pixels = vec![0; 40];
            pixels[at] = 255;
            assert!(resized([1, 40], [1, 5], &pixels).iter().any(|&pixel| pixel > 0), "at {at}");
        }
        // By the triangle 1/8 3/8 3/8 1/8 around the middle of each pair; cut off and weighed anew at the ends.
        assert_eq!(resized([1, 6], [1, 3], &[0, 0, 80, 160, 0, 0])[1], 90);
        assert_eq!(resized([1, 6], [1, 3], &[70, 0, 0, 0, 0, 0])[0], 30);
    }

    proptest! {
        #[test]
        fn weights_add_up_to_one(source in 1usize..200, target in 1usize..200) {
            for tap in taps(source, target) {
                prop_assert!(!tap.weights.is_empty() && tap.start + tap.weights.len() <= source);
                prop_assert!((tap.weights.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            }
        }

        #[test]
        fn a_plain_picture_stays_plain(
            h in 1usize..30, w in 1usize..30, to_h in 1usize..30, to_w in 1usize..30, value: u8,
        ) {
            let out = resized([h, w], [to_h, to_w], &vec![value; h * w]);
            prop_assert_eq!(out, vec![value; to_h * to_w]);
        }
    }
}
