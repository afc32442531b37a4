//! What would be answered without a network.

use super::answers::{Answers, argmax};
use super::pictures;

/// What would be answered without a network: the bar that it has to pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Baseline {
    /// How it answers: `majority`, `mean`, `last value`.
    pub name: String,
    /// What it answers.
    pub guess: Guess,
}

/// Answers without a network.
#[derive(Clone, Debug, PartialEq)]
pub enum Guess {
    /// The same for every row: the probabilities of the classes, a number, a number for each step.
    Same(Vec<f64>),
    /// An answer for each row, one after the other.
    Each(Vec<f64>),
    /// A text for each row, and how well each right one is known, as in [`Answers::Texts`].
    Texts(Vec<String>, Vec<f64>),
}

impl Baseline {
    /// Always the most frequent class of the training part; probabilities are the frequencies.
    pub fn majority(counts: &[u64]) -> Baseline {
        let all = counts.iter().sum::<u64>().max(1) as f64;
        let shares = counts.iter().map(|&count| count as f64 / all).collect();
        Baseline { name: "majority".into(), guess: Guess::Same(shares) }
    }

    /// Always the mean, and always the median, of the numbers of the training part. The mean has the
    /// least squared error of all constant answers, the median the least absolute one.
    pub fn constants(training: &[f64]) -> Vec<Baseline> {
        let mut sorted: Vec<f64> = training.iter().copied().filter(|v| v.is_finite()).collect();
        if sorted.is_empty() {
            return Vec::new();
        }
        sorted.sort_by(f64::total_cmp);
        let mean = sorted.iter().sum::<f64>() / sorted.len() as f64;
        let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        let median = low + (high - low) / 2.0;
        let named =
            |name: &str, value| Baseline { name: name.into(), guess: Guess::Same(vec![value]) };
        vec![named("mean", mean), named("median", median)]
    }

    /// Always the mean picture of the training part; `scores` are those of [`Answers::Pictures`], row by row.
    pub fn mean_picture(scores: Vec<f64>) -> Baseline {
        Baseline { name: "mean picture".into(), guess: Guess::Each(scores) }
    }

    /// Each name as often as it is there in the training part.
    pub fn frequencies(shares: Vec<f64>) -> Baseline {
        Baseline { name: "frequencies".into(), guess: Guess::Same(shares) }
    }

    /// The same text as the one that goes in. Of how well it knows the right one nothing is known.
    pub fn copied(source: Vec<String>) -> Baseline {
        let known = vec![f64::NAN; 4 * source.len()];
        Baseline { name: "copy of the source".into(), guess: Guess::Texts(source, known) }
    }

    /// Each token or tag as likely as it is frequent in the training part, whatever stands before it; `known` as in
    /// [`Answers::Texts`].
    pub fn unigram(known: Vec<f64>) -> Baseline {
        let nothing = vec![String::new(); known.len() / 4];
        Baseline { name: "unigram".into(), guess: Guess::Texts(nothing, known) }
    }

    /// Always the mean vector of the training part.
    pub fn mean_vector(mean: Vec<f64>) -> Baseline {
        Baseline { name: "mean".into(), guess: Guess::Same(mean) }
    }

    /// The forecast that repeats the last `season` values before the first step; a season of 1 is the
    /// last value. `before` gives for each row the values before it, the latest last.
    ///
    /// # Panics
    /// If `season` is 0, or a row has fewer values before it.
    pub fn seasonal(before: &[&[f64]], season: usize, horizon: usize) -> Baseline {
        assert!(season > 0, "a season is one step or more");
        let name = if season == 1 { "last value".into() } else { format!("seasonal ({season})") };
        let each = before.iter().flat_map(|values| {
            let last = &values[values.len() - season..];
            (0..horizon).map(move |step| last[step % season])
        });
        Baseline { name, guess: Guess::Each(each.collect()) }
    }
}

impl Answers {
    /// The same truths with the answers of a baseline; `None` if it does not answer each row.
    pub(crate) fn guessed(&self, guess: &Guess) -> Option<Answers> {
        let fill = |width: usize| -> Option<Vec<f64>> {
            let rows = self.rows();
            match guess {
                Guess::Same(values) if values.len() == width => Some(values.repeat(rows)),
                Guess::Same(values) if values.len() == 1 => Some(vec![values[0]; rows * width]),
                Guess::Each(values) if values.len() == rows * width => Some(values.clone()),
                _ => None,
            }
        };
        let mut guessed = self.clone();
        match &mut guessed {
            Answers::Classes { names, probabilities, .. }
            | Answers::Sets { names, probabilities, .. } => {
                *probabilities = fill(names.len())?.into_iter().map(|p| p as f32).collect();
            }
            Answers::Texts { truth, answer, known, .. } => {
                let Guess::Texts(texts, each) = guess else { return None };
                if texts.len() != truth.len() || each.len() != 4 * truth.len() {
                    return None;
                }
                (*answer, *known) = (texts.clone(), each.clone());
            }
            Answers::Numbers { answer, .. } => *answer = fill(1)?,
            Answers::Vectors { width, answer, .. } => *answer = fill(*width)?,
            Answers::Pictures { scores, .. } => *scores = fill(pictures::SCORES)?,
            Answers::Forecast { horizon, answer, bands, .. } => {
                *answer = fill(*horizon)?;
                // It says nothing of how sure it is: each quantile is the one number.
                if let Some(bands) = bands {
                    let each = |&value| std::iter::repeat_n(value, bands.at.len());
                    bands.values = answer.iter().flat_map(each).collect();
                }
            }
            Answers::Masks { names, counts } => {
                let classes = names.len();
                let shares = fill(classes)?;
                let rows = counts.chunks_exact_mut(classes * classes);
                for (row, shares) in rows.zip(shares.chunks_exact(classes)) {
                    let most = argmax(shares);
                    for actual in row.chunks_exact_mut(classes) {
                        let all: f64 = actual.iter().sum();
                        actual.fill(0.0);
                        actual[most] = all;
                    }
                }
            }
        }
        Some(guessed)
    }
}
