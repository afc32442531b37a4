//! What a network said about many rows, beside what is true.

use super::{pictures, sets};
use crate::metrics::{Confusion, Decision};
use crate::metrics::{Distance, LogLoss, Regression};
use nerve_core::Tensor;
use nerve_data::features::{Answer, middle};
use nerve_formats::Meaning;
use std::sync::Arc;

/// Answers and truths of one output, row by row.
#[derive(Clone, Debug, PartialEq)]
pub enum Answers {
    /// One of several names. Of two the second is the positive one: `no`, `yes`.
    Classes {
        /// The names.
        names: Arc<[String]>,
        /// The number of the right one, for each row.
        truth: Vec<u32>,
        /// How likely each is, `[rows, classes]`.
        probabilities: Vec<f32>,
    },
    /// A number.
    Numbers {
        /// The right ones.
        truth: Vec<f64>,
        /// The answers.
        answer: Vec<f64>,
    },
    /// Several numbers, in the order of time: a forecast.
    Forecast {
        /// How many steps.
        horizon: usize,
        /// The right ones, `[rows, horizon]`.
        truth: Vec<f64>,
        /// The answers, `[rows, horizon]`.
        answer: Vec<f64>,
        /// For each row the mean absolute error of the naive forecast over the training part of its series, by which MASE
        /// divides: [`naive_error`](crate::metrics::naive_error). None where it is not known.
        scale: Vec<f64>,
        /// Its quantiles, if it has some; the answers are then those nearest to the median.
        bands: Option<Bands>,
    },
    /// Numbers that stand side by side.
    Vectors {
        /// How many.
        width: usize,
        /// The right ones, `[rows, width]`.
        truth: Vec<f64>,
        /// The answers, `[rows, width]`.
        answer: Vec<f64>,
    },
    /// Several names at once.
    Sets {
        /// The names.
        names: Arc<[String]>,
        /// Whether each is there, 0 or 1: `[rows, names]`.
        truth: Vec<u8>,
        /// How likely each is there, `[rows, names]`.
        probabilities: Vec<f32>,
    },
    /// A picture that is drawn: how near each comes to the right one.
    Pictures {
        /// `[channels, height, width]`.
        shape: Vec<usize>,
        /// For each row mean squared error, mean absolute error, PSNR and SSIM: `[rows, 4]`.
        scores: Vec<f64>,
    },
    /// A text that is written.
    Texts {
        /// The right ones.
        truth: Vec<String>,
        /// The answers; nothing where texts are continued.
        answer: Vec<String>,
        /// How well the network knew each of the right ones: the sum of −ln p over its tokens, how many tokens it has, how
        /// many of them were held to be the likeliest, and how many characters they are. NaN where that is not known.
        /// `[rows, 4]`.
        known: Vec<f64>,
        /// How they come about.
        sort: TextSort,
    },
    /// The class of each pixel: how often each class was taken for each other.
    Masks {
        /// The names of the classes.
        names: Arc<[String]>,
        /// For each row the counts by actual and predicted class, `[rows, classes, classes]`.
        counts: Vec<f64>,
    },
}

/// How texts come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextSort {
    /// From something else: a translation.
    Written,
    /// From their own beginning.
    Continued,
    /// A word for each step of an input.
    Tagged,
}

/// The quantiles of forecasts.
#[derive(Clone, Debug, PartialEq)]
pub struct Bands {
    /// Which quantiles, rising.
    pub at: Arc<[f64]>,
    /// Their values, `[rows, horizon, quantiles]`.
    pub values: Vec<f64>,
}

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

/// The place of the largest; of equal ones the first.
pub(crate) fn argmax<T: PartialOrd + Copy>(values: &[T]) -> usize {
    let first = |best: usize, i: usize| if values[i] > values[best] { i } else { best };
    (1..values.len()).fold(0, first)
}

impl Answers {
    /// Whether the same is true in both, so that their scores can be compared. Numbers may differ by what single
    /// precision loses on the way through a feature.
    pub fn same_truth(&self, other: &Answers) -> bool {
        let near = |a: &[f64], b: &[f64]| {
            let equal =
                |(a, b): (&f64, &f64)| a == b || (a - b).abs() <= 1e-5 * a.abs().max(b.abs());
            a.len() == b.len() && a.iter().zip(b).all(equal)
        };
        match (self, other) {
            (
                Answers::Classes { names, truth, .. },
                Answers::Classes { names: others, truth: other, .. },
            ) => names == others && truth == other,
            (Answers::Numbers { truth, .. }, Answers::Numbers { truth: other, .. }) => {
                near(truth, other)
            }
            (
                Answers::Forecast { horizon, truth, .. },
                Answers::Forecast { horizon: steps, truth: other, .. },
            ) => horizon == steps && near(truth, other),
            (
                Answers::Vectors { width, truth, .. },
                Answers::Vectors { width: others, truth: other, .. },
            ) => width == others && near(truth, other),
            (
                Answers::Sets { names, truth, .. },
                Answers::Sets { names: others, truth: other, .. },
            ) => names == others && truth == other,
            // What was drawn is compared with the pictures of the same rows, which are not kept.
            (Answers::Pictures { shape, .. }, Answers::Pictures { shape: other, .. }) => {
                shape == other
            }
            (Answers::Texts { truth, .. }, Answers::Texts { truth: other, .. }) => truth == other,
            (Answers::Masks { names, counts }, Answers::Masks { names: others, counts: other }) => {
                // How many pixels of each class a row has.
                let actual = |counts: &[f64]| -> Vec<f64> {
                    counts.chunks_exact(names.len().max(1)).map(|row| row.iter().sum()).collect()
                };
                names == others && actual(counts) == actual(other)
            }
            _ => false,
        }
    }

    /// No rows yet, of the kind of this answer of a feature: [`Answers::push`] adds them. `names` are
    /// those of the classes; what several numbers are is told by what the feature means and by its shape.
    ///
    /// # Errors
    /// There are not as many names as classes.
    pub fn like(
        answer: &Answer,
        names: &Arc<[String]>,
        meaning: &Meaning,
        shape: &[usize],
    ) -> Result<Answers, String> {
        let named = |count: usize| match names.len() == count {
            true => Ok(names.clone()),
            false => Err(format!("{count} classes, but {} names", names.len())),
        };
        Ok(match answer {
            Answer::Classes(p) => Answers::Classes {
                names: named(p.len())?,
                truth: Vec::new(),
                probabilities: Vec::new(),
            },
            Answer::Number(_) => Answers::Numbers { truth: Vec::new(), answer: Vec::new() },
            Answer::Numbers(_) if *meaning == Meaning::Image => {
                Answers::Pictures { shape: shape.to_vec(), scores: Vec::new() }
            }
            Answer::Numbers(values) if *meaning != Meaning::Frames => {
                Answers::Vectors { width: values.len(), truth: Vec::new(), answer: Vec::new() }
            }
            Answer::Numbers(values) => Answers::forecast(values.len(), None),
            Answer::Quantiles { at, values } => {
                let bands = Bands { at: at.clone(), values: Vec::new() };
                Answers::forecast(values.len() / at.len().max(1), Some(bands))
            }
            Answer::Pixels(_) => Answers::Masks { names: names.clone(), counts: Vec::new() },
            Answer::Text(_) => Answers::texts(TextSort::Written),
            Answer::Several(p) => Answers::Sets {
                names: named(p.len())?,
                truth: Vec::new(),
                probabilities: Vec::new(),
            },
        })
    }

    /// No texts yet.
    pub fn texts(sort: TextSort) -> Answers {
        let (truth, answer, known) = (Vec::new(), Vec::new(), Vec::new());
        Answers::Texts { truth, answer, known, sort }
    }

    fn forecast(horizon: usize, bands: Option<Bands>) -> Answers {
        let (truth, answer, scale) = (Vec::new(), Vec::new(), Vec::new());
        Answers::Forecast { horizon, truth, answer, scale, bands }
    }

    /// Adds a row.
    ///
    /// # Errors
    /// Truth and answer are not of this kind, or not of this size.
    pub fn push(&mut self, right: &Answer, said: &Answer) -> Result<(), String> {
        let misfit = || Err(format!("a row of another kind or size: {}", self_name(said)));
        match (self, right, said) {
            (
                Answers::Classes { names, truth, probabilities },
                Answer::Classes(right),
                Answer::Classes(said),
            ) if right.len() == names.len() && said.len() == names.len() => {
                truth.push(argmax(right) as u32);
                probabilities.extend_from_slice(said);
            }
            (Answers::Numbers { truth, answer }, Answer::Number(right), Answer::Number(said)) => {
                truth.push(*right);
                answer.push(*said);
            }
            (
                Answers::Forecast { horizon: width, truth, answer, bands: None, .. }
                | Answers::Vectors { width, truth, answer },
                Answer::Numbers(right),
                Answer::Numbers(said),
            ) if right.len() == *width && said.len() == *width => {
                truth.extend_from_slice(right);
                answer.extend_from_slice(said);
            }
            (
                Answers::Forecast { horizon, truth, answer, bands: Some(bands), .. },
                Answer::Numbers(right),
                Answer::Quantiles { at, values },
            ) if right.len() == *horizon && values.len() == *horizon * bands.at.len() => {
                truth.extend_from_slice(right);
                answer.extend(values.iter().skip(middle(at)).step_by(at.len()));
                bands.values.extend_from_slice(values);
            }
            (
                Answers::Sets { names, truth, probabilities },
                Answer::Several(right),
                Answer::Several(said),
            ) if right.len() == names.len() && said.len() == names.len() => {
                truth.extend(right.iter().map(|&there| u8::from(there > 0.5)));
                probabilities.extend_from_slice(said);
            }
            (
                Answers::Pictures { shape, scores },
                Answer::Numbers(right),
                Answer::Numbers(said),
            ) if right.len() == said.len() && right.len() == shape.iter().product::<usize>() => {
                scores.extend(pictures::compare(shape, right, said));
            }
            (Answers::Masks { names, counts }, Answer::Pixels(right), Answer::Pixels(said))
                if right.len() == said.len() =>
            {
                let (classes, start) = (names.len(), counts.len());
                counts.resize(start + classes * classes, 0.0);
                for (&right, &said) in right.iter().zip(said) {
                    // What is outside of the classes is ignored, as a border may be.
                    if let (Ok(a), Ok(p)) = (usize::try_from(right), usize::try_from(said))
                        && a < classes
                        && p < classes
                    {
                        counts[start + a * classes + p] += 1.0;
                    }
                }
            }
            (
                Answers::Texts { truth, answer, known, .. },
                Answer::Text(right),
                Answer::Text(said),
            ) => {
                truth.push(right.clone());
                answer.push(said.clone());
                known.extend([f64::NAN; 4]);
            }
            _ => return misfit(),
        }
        Ok(())
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        match self {
            Answers::Classes { truth, .. } => truth.len(),
            Answers::Numbers { truth, .. } => truth.len(),
            Answers::Forecast { horizon, truth, .. } => truth.len() / (*horizon).max(1),
            Answers::Vectors { width, truth, .. } => truth.len() / (*width).max(1),
            Answers::Sets { names, truth, .. } => truth.len() / names.len().max(1),
            Answers::Pictures { scores, .. } => scores.len() / pictures::SCORES,
            Answers::Texts { truth, .. } => truth.len(),
            Answers::Masks { names, counts } => counts.len() / (names.len() * names.len()).max(1),
        }
    }

    /// The kind in a word, for reports.
    pub fn kind(&self) -> &'static str {
        match self {
            Answers::Classes { names, .. } if names.len() == 2 => "binary",
            Answers::Classes { .. } => "classes",
            Answers::Numbers { .. } => "number",
            Answers::Forecast { .. } => "forecast",
            Answers::Vectors { .. } => "vector",
            Answers::Sets { .. } => "set",
            Answers::Pictures { .. } => "picture",
            Answers::Texts { .. } => "text",
            Answers::Masks { .. } => "mask",
        }
    }

    /// The names of the classes, if there are classes.
    pub fn names(&self) -> Option<&Arc<[String]>> {
        match self {
            Answers::Classes { names, .. }
            | Answers::Masks { names, .. }
            | Answers::Sets { names, .. } => Some(names),
            _ => None,
        }
    }

    /// Some of the rows.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Answers {
        fn some<T: Copy>(values: &[T], width: usize, rows: &[usize]) -> Vec<T> {
            rows.iter().flat_map(|&row| &values[row * width..(row + 1) * width]).copied().collect()
        }
        match self {
            Answers::Classes { names, truth, probabilities } => Answers::Classes {
                names: names.clone(),
                truth: some(truth, 1, rows),
                probabilities: some(probabilities, names.len(), rows),
            },
            Answers::Numbers { truth, answer } => {
                Answers::Numbers { truth: some(truth, 1, rows), answer: some(answer, 1, rows) }
            }
            Answers::Forecast { horizon, truth, answer, scale, bands } => Answers::Forecast {
                horizon: *horizon,
                truth: some(truth, *horizon, rows),
                answer: some(answer, *horizon, rows),
                scale: if scale.is_empty() { Vec::new() } else { some(scale, 1, rows) },
                bands: bands.as_ref().map(|bands| Bands {
                    at: bands.at.clone(),
                    values: some(&bands.values, *horizon * bands.at.len(), rows),
                }),
            },
            Answers::Vectors { width, truth, answer } => Answers::Vectors {
                width: *width,
                truth: some(truth, *width, rows),
                answer: some(answer, *width, rows),
            },
            Answers::Sets { names, truth, probabilities } => Answers::Sets {
                names: names.clone(),
                truth: some(truth, names.len(), rows),
                probabilities: some(probabilities, names.len(), rows),
            },
            Answers::Pictures { shape, scores } => Answers::Pictures {
                shape: shape.clone(),
                scores: some(scores, pictures::SCORES, rows),
            },
            Answers::Texts { truth, answer, known, sort } => {
                let texts = |all: &[String]| rows.iter().map(|&row| all[row].clone()).collect();
                let (truth, answer) = (texts(truth), texts(answer));
                Answers::Texts { truth, answer, known: some(known, 4, rows), sort: *sort }
            }
            Answers::Masks { names, counts } => Answers::Masks {
                names: names.clone(),
                counts: some(counts, names.len() * names.len(), rows),
            },
        }
    }

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

    /// How bad each answer is: minus the logarithm of the probability of the right class; the squared
    /// error, its mean over the steps or pixels; of quantiles the pinball loss; for a mask the share of wrong pixels; for a
    /// text the mean surprise at its tokens.
    pub fn losses(&self) -> Vec<f64> {
        match self {
            Answers::Classes { .. } => {
                let (output, target) = self.tensors();
                let decision = Decision { from_logits: false, ..LogLoss::default().decision };
                decision.surprise(&output, &target).0.to_vec()
            }
            Answers::Forecast { bands: Some(bands), truth, horizon, .. } => {
                bands.pinball(truth, *horizon)
            }
            Answers::Sets { names, truth, probabilities } => {
                sets::losses(names.len(), truth, probabilities)
            }
            Answers::Pictures { scores, .. } => {
                scores.iter().step_by(pictures::SCORES).copied().collect()
            }
            Answers::Numbers { .. } | Answers::Forecast { .. } | Answers::Vectors { .. } => {
                let (output, target) = self.tensors();
                Regression(Distance::Mse).terms(&output, &target).mean_axes(&[1], false).to_vec()
            }
            Answers::Texts { known, .. } => {
                known.chunks_exact(4).map(|known| known[0] / known[1].max(1.0)).collect()
            }
            Answers::Masks { names, counts } => counts
                .chunks_exact((names.len() * names.len()).max(1))
                .map(|counts| 1.0 - Confusion::new(counts).accuracy())
                .map(|wrong| if wrong.is_nan() { 0.0 } else { wrong })
                .collect(),
        }
    }

    /// Outputs and targets as metrics take them: probabilities `[rows, classes]` with class numbers, or
    /// numbers `[rows, steps]`. In f64.
    ///
    /// # Panics
    /// For masks, pictures, texts and sets.
    pub(crate) fn tensors(&self) -> (Tensor, Tensor) {
        let rows = self.rows();
        match self {
            Answers::Classes { names, truth, probabilities } => {
                let p: Vec<f64> = probabilities.iter().map(|&p| f64::from(p)).collect();
                let t: Vec<i32> = truth.iter().map(|&t| t as i32).collect();
                (Tensor::from_slice(&p, [rows, names.len()]), Tensor::from_slice(&t, [rows]))
            }
            Answers::Numbers { truth, answer } => {
                (Tensor::from_slice(answer, [rows, 1]), Tensor::from_slice(truth, [rows, 1]))
            }
            Answers::Forecast { horizon: width, truth, answer, .. }
            | Answers::Vectors { width, truth, answer } => {
                let tensor = |values: &[f64]| Tensor::from_slice(values, [rows, *width]);
                (tensor(answer), tensor(truth))
            }
            Answers::Masks { .. }
            | Answers::Pictures { .. }
            | Answers::Texts { .. }
            | Answers::Sets { .. } => {
                panic!("answers that are counted or compared as they come")
            }
        }
    }

    /// The classes that are predicted; of two the second where it is likelier than `threshold`.
    pub(crate) fn predicted(&self, threshold: f64) -> Vec<u32> {
        let Answers::Classes { names, probabilities, .. } = self else { return Vec::new() };
        let decide = |p: &[f32]| match p {
            [_, yes] => u32::from(f64::from(*yes) > threshold),
            _ => argmax(p) as u32,
        };
        probabilities.chunks_exact(names.len()).map(decide).collect()
    }

    /// The probability of a class in each row, and whether it is the right one.
    pub(crate) fn one_against_rest(&self, class: usize) -> (Vec<f64>, Vec<bool>) {
        let Answers::Classes { names, truth, probabilities } = self else {
            return (Vec::new(), Vec::new());
        };
        let scores = probabilities.chunks_exact(names.len()).map(|p| f64::from(p[class]));
        (scores.collect(), truth.iter().map(|&t| t as usize == class).collect())
    }
}

impl Bands {
    /// The mean of the pinball loss over steps and quantiles, for each row: max(q d, (q − 1) d) with d = truth − quantile
    /// (Koenker and Bassett, "Regression quantiles", 1978).
    fn pinball(&self, truth: &[f64], horizon: usize) -> Vec<f64> {
        let steps = truth.iter().zip(self.values.chunks_exact(self.at.len()));
        let loss = |(truth, values): (&f64, &[f64])| {
            let terms = self.at.iter().zip(values).map(|(q, value)| {
                let d = truth - value;
                (q * d).max((q - 1.0) * d)
            });
            terms.sum::<f64>() / self.at.len() as f64
        };
        let losses: Vec<f64> = steps.map(loss).collect();
        losses
            .chunks_exact(horizon.max(1))
            .map(|row| row.iter().sum::<f64>() / horizon as f64)
            .collect()
    }

    /// The pairs of quantiles that lie around the median alike: the share that should lie between, and their places.
    pub(crate) fn intervals(&self) -> Vec<(f64, [usize; 2])> {
        let last = self.at.len().saturating_sub(1);
        let pairs = (0..self.at.len() / 2).map(|low| [low, last - low]);
        let alike = |pair: &[usize; 2]| (self.at[pair[0]] + self.at[pair[1]] - 1.0).abs() < 1e-9;
        pairs.filter(alike).map(|pair| (self.at[pair[1]] - self.at[pair[0]], pair)).collect()
    }

    /// For each row the share of steps whose truth lies between two quantiles, and the mean distance of these.
    pub(crate) fn between(
        &self,
        truth: &[f64],
        horizon: usize,
        [low, high]: [usize; 2],
    ) -> [Vec<f64>; 2] {
        let steps = truth.iter().zip(self.values.chunks_exact(self.at.len()));
        let (inside, widths): (Vec<f64>, Vec<f64>) = steps
            .map(|(t, v)| (f64::from(u8::from(v[low] <= *t && *t <= v[high])), v[high] - v[low]))
            .unzip();
        let mean = |row: &[f64]| row.iter().sum::<f64>() / horizon.max(1) as f64;
        [inside, widths].map(|each| each.chunks_exact(horizon.max(1)).map(mean).collect())
    }
}

fn self_name(answer: &Answer) -> String {
    match answer {
        Answer::Number(_) => "a number".into(),
        Answer::Numbers(values) => format!("{} numbers", values.len()),
        Answer::Quantiles { values, .. } => format!("{} quantiles", values.len()),
        Answer::Classes(p) => format!("{} classes", p.len()),
        Answer::Pixels(pixels) => format!("{} pixels", pixels.len()),
        Answer::Several(p) => format!("{} names at once", p.len()),
        Answer::Text(_) => "a text".into(),
    }
}
