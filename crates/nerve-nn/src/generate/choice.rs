//! From logits to a token.

use super::{Options, Sampling};

/// Logits as they count: penalties for what is there already, and no stop token too early.
pub(super) fn adjust(logits: &mut [f64], before: &[i32], written: usize, options: &Options) {
    if options.repetition_penalty != 1.0 {
        let mut seen = before.to_vec();
        seen.sort_unstable();
        seen.dedup();
        for token in seen {
            let logit = &mut logits[token as usize];
            *logit = match *logit > 0.0 {
                true => *logit / options.repetition_penalty,
                false => *logit * options.repetition_penalty,
            };
        }
    }
    if written < options.min_new {
        for &token in &options.stop {
            if let Some(logit) = usize::try_from(token).ok().and_then(|i| logits.get_mut(i)) {
                *logit = f64::NEG_INFINITY;
            }
        }
    }
}

/// Logarithms of probabilities.
pub(super) fn log_softmax(logits: &[f64]) -> Vec<f64> {
    let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits.iter().map(|l| (l - top).exp()).sum();
    logits.iter().map(|l| l - top - sum.ln()).collect()
}

/// The `count` largest, best first; of equal ones the first ones.
pub(super) fn best(values: &[f64], count: usize) -> Vec<usize> {
    let order = |&a: &usize, &b: &usize| values[b].total_cmp(&values[a]).then(a.cmp(&b));
    let mut all: Vec<usize> = (0..values.len()).collect();
    if count < all.len() {
        if count > 0 {
            all.select_nth_unstable_by(count - 1, order);
        }
        all.truncate(count);
    }
    all.sort_unstable_by(order);
    all
}

/// Draws a token; `number` is uniform in [0, 1).
pub(super) fn draw(logits: &[f64], sampling: Sampling, number: f64) -> usize {
    let Sampling { temperature, top_k, top_p } = sampling;
    let tokens = best(logits, top_k.unwrap_or(usize::MAX));
    let scaled: Vec<f64> = tokens.iter().map(|&token| logits[token] / temperature).collect();
    let mut shares: Vec<f64> = log_softmax(&scaled).into_iter().map(f64::exp).collect();
    if let Some(p) = top_p {
        let mut sum = 0.0;
        let few = shares.iter().position(|share| {
            sum += share;
            sum >= p
        });
        shares.truncate(few.map_or(shares.len(), |last| last + 1));
    }
    let mut left = number * shares.iter().sum::<f64>();
    for (token, share) in tokens.iter().zip(&shares) {
        left -= share;
        if left < 0.0 {
            return *token;
        }
    }
    // Rounding has left a little: the last one that may be drawn.
    let last = shares.iter().rposition(|&share| share > 0.0).unwrap_or(0);
    tokens[last]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_come_first_and_of_equals_the_first() {
        let values = [1.0, 3.0, 2.0, 3.0, f64::NEG_INFINITY];
        assert_eq!(best(&values, 3), [1, 3, 2]);
        assert_eq!(best(&values, 9), [1, 3, 2, 0, 4]);
        assert_eq!(best(&values, 0), [0usize; 0]);
    }

    /// Shares of tokens over evenly spread numbers.
    fn shares(logits: &[f64], sampling: Sampling) -> Vec<f64> {
        let n = 10_000;
        let mut counts = vec![0.0; logits.len()];
        for i in 0..n {
            counts[draw(logits, sampling, (i as f64 + 0.5) / n as f64)] += 1.0 / n as f64;
        }
        counts
    }

    #[track_caller]
    fn assert_close(found: &[f64], expected: &[f64]) {
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-3), "{found:?}");
    }

    #[test]
    fn shares_are_those_of_temperature_top_k_and_top_p() {
        let logits = [0.5f64, 0.125, 0.25, 0.125].map(f64::ln);
        let plain = Sampling::default();
        assert_close(&shares(&logits, plain), &[0.5, 0.125, 0.25, 0.125]);
        // Half the temperature squares the shares.
        let cold = Sampling { temperature: 0.5, ..plain };
        assert_close(&shares(&logits, cold), &[16.0 / 22.0, 1.0 / 22.0, 4.0 / 22.0, 1.0 / 22.0]);
        let two = Sampling { top_k: Some(2), ..plain };
        assert_close(&shares(&logits, two), &[2.0 / 3.0, 0.0, 1.0 / 3.0, 0.0]);
        let nucleus = Sampling { top_p: Some(0.76), ..plain };
        assert_close(&shares(&logits, nucleus), &[4.0 / 7.0, 1.0 / 7.0, 2.0 / 7.0, 0.0]);
        let one = Sampling { top_p: Some(1e-9), ..plain };
        assert_close(&shares(&logits, one), &[1.0, 0.0, 0.0, 0.0]);
        assert_eq!(draw(&[f64::NEG_INFINITY, 0.0], plain, 1.0 - 1e-17), 1);
    }

    #[test]
    fn what_is_there_is_penalised_and_the_end_does_not_come_too_early() {
        let options = Options {
            repetition_penalty: 2.0,
            min_new: 2,
            stop: vec![3, 99, -1],
            ..Options::default()
        };
        let mut logits = [4.0, -4.0, 1.0, 1.0];
        adjust(&mut logits, &[0, 1, 0], 1, &options);
        assert_eq!(logits, [2.0, -8.0, 1.0, f64::NEG_INFINITY]);
        let mut logits = [4.0, -4.0, 1.0, 1.0];
        adjust(&mut logits, &[], 2, &options);
        assert_eq!(logits, [4.0, -4.0, 1.0, 1.0]);
    }
}
