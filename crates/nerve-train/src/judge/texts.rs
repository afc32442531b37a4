//! Scores of texts that are written or continued.

use super::answers::{Answers, TextSort};
use super::family::{Better, Family, Named};
use crate::metrics::text::{Bleu, Chrf};

/// The families that suit texts.
pub(super) fn families(answers: &Answers) -> Vec<Box<dyn Family>> {
    let Answers::Texts { truth, answer, known, sort } = answers else { return Vec::new() };
    let mut all: Vec<Box<dyn Family>> = Vec::new();
    if *sort == TextSort::Written {
        all.push(Box::new(Translated::new(truth, answer)));
    }
    all.push(Box::new(Surprise { known: known.clone(), sort: *sort }));
    all
}

/// What texts have in common with those that should have been written: BLEU and chrF of the corpus, as sacrebleu has them.
struct Translated {
    rows: Vec<(Bleu, Chrf)>,
}

impl Translated {
    fn new(truth: &[String], answer: &[String]) -> Translated {
        let row = |(truth, answer): (&String, &String)| {
            let (mut bleu, mut chrf) = (Bleu::default(), Chrf::default());
            bleu.add(answer, &[truth]);
            chrf.add(answer, &[truth]);
            (bleu, chrf)
        };
        Translated { rows: truth.iter().zip(answer).map(row).collect() }
    }
}

impl Family for Translated {
    fn scores(&self) -> Vec<Named> {
        [("bleu", Better::Higher), ("chrf", Better::Higher)].map(|(n, b)| (n.into(), b)).into()
    }

    /// Weights say how often a row was drawn: whole numbers.
    fn values(&self, weights: &[f64], out: &mut Vec<f64>) {
        let (mut bleu, mut chrf) = (Bleu::default(), Chrf::default());
        for ((own_bleu, own_chrf), &weight) in self.rows.iter().zip(weights) {
            bleu.merge_times(own_bleu, weight as u64);
            chrf.merge_times(own_chrf, weight as u64);
        }
        out.extend([bleu.value(), chrf.value()]);
    }
}

/// How well the right texts are known.
struct Surprise {
    known: Vec<f64>,
    sort: TextSort,
}

impl Family for Surprise {
    fn scores(&self) -> Vec<Named> {
        let mut all = vec![("token_accuracy", Better::Higher), ("perplexity", Better::Lower)];
        if self.sort == TextSort::Continued {
            all.insert(0, ("bits_per_character", Better::Lower));
        }
        all.into_iter().map(|(name, better)| (name.into(), better)).collect()
    }

    fn values(&self, weights: &[f64], out: &mut Vec<f64>) {
        let mut sums = [0.0; 4];
        for (known, weight) in self.known.chunks_exact(4).zip(weights) {
            // A row that was not drawn does not count, whatever is known of it.
            if *weight > 0.0 {
                sums.iter_mut().zip(known).for_each(|(sum, value)| *sum += weight * value);
            }
        }
        let [surprise, tokens, right, letters] = sums;
        if self.sort == TextSort::Continued {
            out.push(surprise / std::f64::consts::LN_2 / letters);
        }
        out.extend([right / tokens, (surprise / tokens).exp()]);
    }
}
