//! What a network said about many rows, beside what is true.

use super::bands::Bands;
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
