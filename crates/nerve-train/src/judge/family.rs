//! Scores of weighted rows.
//!
//! A family computes several scores at once from what it has prepared of the rows, for any weights of
//! them: 1 for each gives the scores, the number of times that each was drawn gives those of a resample.

use super::answers::Answers;
use super::pictures::SCORES;
use super::sets::Sets;
use super::texts;
use crate::metrics::{Average, Brier, Calibration, Confusion, Decision, Distance, Part};
use crate::metrics::{Regression, Sweep};

/// Which of two values is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// The higher.
    Higher,
    /// The lower.
    Lower,
}

/// The name of a score, and what is better.
pub(crate) type Named = (String, Better);

/// Several scores that are computed together.
pub(crate) trait Family: Send + Sync {
    /// The scores, in their order.
    fn scores(&self) -> Vec<Named>;

    /// Their values over rows of these weights, put at the end of `out`. NaN where there is none.
    fn values(&self, weights: &[f64], out: &mut Vec<f64>);
}

/// Areas under curves are kept for no more classes than this: each needs its own order of all rows.
const MOST_AREAS: usize = 100;

/// All families that suit. `threshold` is that of answers of yes or no.
pub(crate) fn families(answers: &Answers, threshold: f64) -> Vec<Box<dyn Family>> {
    match answers {
        Answers::Classes { names, truth, .. } => {
            let mut all: Vec<Box<dyn Family>> = vec![
                Box::new(Tables {
                    classes: names.len(),
                    cells: pairs(truth, &answers.predicted(threshold), names.len()),
                    scores: if names.len() == 2 { &OF_TWO } else { &OF_CLASSES },
                }),
                Box::new(Means::of_probabilities(answers)),
                Box::new(Gaps::new(answers)),
            ];
            if names.len() <= MOST_AREAS {
                all.push(Box::new(Areas::new(answers, names.len())));
            }
            all
        }
        Answers::Numbers { truth, answer } => {
            let errors = || truth.iter().zip(answer).map(|(t, a)| (a - t).abs()).collect();
            vec![
                Box::new(Means::of_numbers(answers)),
                Box::new(Spread::new(truth, answer)),
                Box::new(Largest::new(errors())),
            ]
        }
        Answers::Forecast { .. } => vec![Box::new(Means::of_numbers(answers).forecast(answers))],
        Answers::Vectors { width, truth, answer } => {
            vec![Box::new(Means::of_numbers(answers).cosine(*width, truth, answer))]
        }
        Answers::Sets { .. } => Sets::new(answers).into_iter().map(boxed).collect(),
        Answers::Pictures { scores, .. } => vec![Box::new(Means::of_pictures(scores))],
        Answers::Texts { .. } => texts::families(answers),
        Answers::Masks { names, counts } => {
            vec![Box::new(Pixels { classes: names.len(), counts: counts.clone() })]
        }
    }
}

fn boxed(sets: Sets) -> Box<dyn Family> {
    Box::new(sets)
}

fn named(names: &[(&str, Better)]) -> Vec<Named> {
    names.iter().map(|&(name, better)| (name.to_string(), better)).collect()
}

/// Scores of the confusion matrix.
struct Tables {
    classes: usize,
    /// For each row its cell.
    cells: Vec<u32>,
    scores: &'static [TableScore],
}

type TableScore = (&'static str, fn(&Confusion) -> f64);

fn auto(confusion: &Confusion, score: impl Fn(Part) -> f64) -> f64 {
    confusion.average(Average::Auto, score)
}

static OF_TWO: [TableScore; 9] = [
    ("accuracy", Confusion::accuracy),
    ("balanced_accuracy", Confusion::balanced_accuracy),
    ("precision", |c| auto(c, |part| part.precision())),
    ("recall", |c| auto(c, |part| part.recall())),
    ("specificity", |c| auto(c, |part| part.specificity())),
    ("f1", |c| auto(c, |part| part.f_beta(1.0))),
    ("kappa", |c| c.kappa(0)),
    ("matthews", Confusion::matthews),
    ("iou", |c| auto(c, |part| part.iou())),
];

static OF_CLASSES: [TableScore; 8] = [
    ("accuracy", Confusion::accuracy),
    ("balanced_accuracy", Confusion::balanced_accuracy),
    ("precision", |c| auto(c, |part| part.precision())),
    ("recall", |c| auto(c, |part| part.recall())),
    ("f1", |c| auto(c, |part| part.f_beta(1.0))),
    ("f1_weighted", |c| c.average(Average::Weighted, |part| part.f_beta(1.0))),
    ("kappa", |c| c.kappa(0)),
    ("matthews", Confusion::matthews),
];

static OF_PIXELS: [TableScore; 3] = [
    ("iou", |c| c.average(Average::Macro, |part| part.iou())),
    ("dice", |c| c.average(Average::Macro, |part| part.f_beta(1.0))),
    ("accuracy", Confusion::accuracy),
];

fn pairs(actual: &[u32], predicted: &[u32], classes: usize) -> Vec<u32> {
    actual.iter().zip(predicted).map(|(a, p)| a * classes as u32 + p).collect()
}

impl Family for Tables {
    fn scores(&self) -> Vec<Named> {
        self.scores.iter().map(|(name, _)| (name.to_string(), Better::Higher)).collect()
    }

    fn values(&self, weights: &[f64], out: &mut Vec<f64>) {
        let mut counts = vec![0.0; self.classes * self.classes];
        for (&cell, weight) in self.cells.iter().zip(weights) {
            counts[cell as usize] += weight;
        }
        let confusion = Confusion::new(&counts);
        out.extend(self.scores.iter().map(|(_, score)| score(&confusion)));
    }
}

/// Scores of the pixels of all masks together.
struct Pixels {
    classes: usize,
    counts: Vec<f64>,
}

impl Family for Pixels {
    fn scores(&self) -> Vec<Named> {
        OF_PIXELS.iter().map(|(name, _)| (name.to_string(), Better::Higher)).collect()
    }

    fn values(&self, weights: &[f64], out: &mut Vec<f64>) {
        let cells = self.classes * self.classes;
        let mut counts = vec![0.0; cells];
        for (row, weight) in self.counts.chunks_exact(cells).zip(weights) {
            counts.iter_mut().zip(row).for_each(|(sum, count)| *sum += weight * count);
        }
        let confusion = Confusion::new(&counts);
        out.extend(OF_PIXELS.iter().map(|(_, score)| score(&confusion)));
    }
}

/// The mean itself.
fn same(mean: f64) -> f64 {
    mean
}

/// Means of what each row adds.
#[derive(Default)]
struct Means {
    scores: Vec<(String, Better)>,
    /// What becomes of the mean.
    last: Vec<fn(f64) -> f64>,
    /// For each score its terms.
    terms: Vec<Vec<f64>>,
}

/// (ln(1 + truth) − ln(1 + answer))² of each row, as in scikit-learn's `root_mean_squared_log_error`; `None` where there is
/// a number below zero.
fn log_squares(answers: &Answers) -> Option<Vec<f64>> {
    let Answers::Numbers { truth, answer } = answers else { return None };
    let whole = truth.iter().chain(answer).all(|&x| x >= 0.0);
    let square = |(t, a): (&f64, &f64)| (t.ln_1p() - a.ln_1p()).powi(2);
    whole.then(|| truth.iter().zip(answer).map(square).collect())
}

impl Means {
    fn with(mut self, name: &str, better: Better, terms: Vec<f64>, last: fn(f64) -> f64) -> Means {
        self.scores.push((name.to_string(), better));
        self.terms.push(terms);
        self.last.push(last);
        self
    }

    fn of_probabilities(answers: &Answers) -> Means {
        let (output, target) = answers.tensors();
        let decision = Decision { from_logits: false, ..Decision::default() };
        let brier = Brier { decision }.terms(&output, &target).to_vec();
        let means = Means::default().with("log_loss", Better::Lower, answers.losses(), same).with(
            "brier",
            Better::Lower,
            brier,
            same,
        );
        match answers {
            Answers::Classes { names, truth, probabilities } if names.len() > 5 => {
                let among = |(&truth, p): (&u32, &[f32])| {
                    let own = p[truth as usize];
                    let before = p.iter().enumerate().filter(|&(class, &other)| {
                        other > own || (other == own && class < truth as usize)
                    });
                    f64::from(u8::from(before.count() < 5))
                };
                let rows = truth.iter().zip(probabilities.chunks_exact(names.len()));
                let terms = rows.map(among).collect();
                means.with("top_5_accuracy", Better::Higher, terms, same)
            }
            _ => means,
        }
    }

    /// MSE, MAE, PSNR and SSIM as they were found for each picture.
    fn of_pictures(scores: &[f64]) -> Means {
        let terms =
            |at: usize| scores.iter().skip(at).step_by(SCORES).copied().collect::<Vec<f64>>();
        Means::default()
            .with("psnr", Better::Higher, terms(2), same)
            .with("ssim", Better::Higher, terms(3), same)
            .with("rmse", Better::Lower, terms(0), f64::sqrt)
            .with("mae", Better::Lower, terms(1), same)
    }

    /// The cosine of the angle between truth and answer; 0 where one of them has no direction.
    fn cosine(self, width: usize, truth: &[f64], answer: &[f64]) -> Means {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let cosine = |(t, a): (&[f64], &[f64])| {
            let lengths = (dot(t, t) * dot(a, a)).sqrt();
            if lengths > 0.0 { dot(t, a) / lengths } else { 0.0 }
        };
        let rows = truth.chunks_exact(width.max(1)).zip(answer.chunks_exact(width.max(1)));
        self.with("cosine", Better::Higher, rows.map(cosine).collect(), same)
    }

    /// What is asked of forecasts: MASE where the naive error of the training part is known, and how well quantiles hold.
    fn forecast(mut self, answers: &Answers) -> Means {
        let Answers::Forecast { horizon, truth, answer, scale, bands } = answers else {
            return self;
        };
        if !scale.is_empty() {
            let steps = truth.chunks_exact(*horizon).zip(answer.chunks_exact(*horizon));
            let mae = |(t, a): (&[f64], &[f64])| {
                t.iter().zip(a).map(|(t, a)| (a - t).abs()).sum::<f64>() / *horizon as f64
            };
            let terms = steps.map(mae).zip(scale).map(|(error, scale)| error / scale).collect();
            self = self.with("mase", Better::Lower, terms, same);
        }
        let Some(bands) = bands else { return self };
        self = self.with("pinball", Better::Lower, answers.losses(), same);
        for (share, pair) in bands.intervals() {
            let [inside, width] = bands.between(truth, *horizon, pair);
            // 0.9 - 0.1 has no exact value.
            let share = (1000.0 * share).round() / 10.0;
            self = self.with(&format!("coverage_{share}"), Better::Higher, inside, same);
            self = self.with(&format!("width_{share}"), Better::Lower, width, same);
        }
        self
    }

    fn of_numbers(answers: &Answers) -> Means {
        let (output, target) = answers.tensors();
        let terms = |distance: Distance| -> Vec<f64> {
            let values = Regression(distance).terms(&output, &target);
            values.mean_axes(&[1], false).to_vec()
        };
        let truth = match answers {
            Answers::Numbers { truth, .. }
            | Answers::Forecast { truth, .. }
            | Answers::Vectors { truth, .. } => truth.as_slice(),
            _ => &[],
        };
        let squares = terms(Distance::Mse);
        let mut means = Means::default()
            .with("rmse", Better::Lower, squares.clone(), f64::sqrt)
            .with("mae", Better::Lower, terms(Distance::Mae), same)
            .with("mse", Better::Lower, squares, same);
        // Percentages of zero say nothing.
        if truth.iter().all(|&t| t != 0.0) {
            means = means.with("mape", Better::Lower, terms(Distance::Mape), same);
        }
        // The error of the logarithm of 1 + x, as a share of the value.
        if let Some(squares) = log_squares(answers) {
            means = means.with("rmsle", Better::Lower, squares, f64::sqrt);
        }
        means.with("smape", Better::Lower, terms(Distance::Smape), same)
    }
}

impl Family for Means {
    fn scores(&self) -> Vec<Named> {
        self.scores.clone()
    }

    fn values(&self, weights: &[f64], out: &mut Vec<f64>) {
        let count: f64 = weights.iter().sum();
        for (terms, last) in self.terms.iter().zip(&self.last) {
            let sum: f64 = terms.iter().zip(weights).map(|(term, weight)| term * weight).sum();
            out.push(last(sum / count));
        }
    }
}

/// The expected calibration error.
struct Gaps {
    bins: usize,
    bin: Vec<u32>,
    gap: Vec<f64>,
}

impl Gaps {
    fn new(answers: &Answers) -> Gaps {
        let (output, target) = answers.tensors();
        let decision = Decision { from_logits: false, ..Decision::default() };
        let calibration = Calibration { decision, ..Calibration::default() };
        let (confidence, right, bin) = calibration.terms(&output, &target);
        let bin = bin.to_vec::<f64>().into_iter().map(|bin| bin as u32).collect();
        Gaps { bins: calibration.bins, bin, gap: (right - confidence).to_vec() }
    }
}

impl Family for Gaps {
    fn scores(&self) -> Vec<Named> {
        named(&[("calibration_error", Better::Lower)])
    }

    fn values(&self, weights: &[f64], out: &mut Vec<f64>) {
        let mut gaps = vec![0.0; self.bins];
        for ((&bin, gap), weight) in self.bin.iter().zip(&self.gap).zip(weights) {
            gaps[bin as usize] += gap * weight;
        }
        let count: f64 = weights.iter().sum();
        out.push(gaps.iter().map(|gap| gap.abs()).sum::<f64>() / count);
    }
}

/// Areas under the curves of all thresholds; of several classes the mean over each against the rest.
struct Areas {
    sweeps: Vec<Sweep>,
}

impl Areas {
    fn new(answers: &Answers, classes: usize) -> Areas {
        let of = if classes == 2 { 1..2 } else { 0..classes };
        let sweeps = of.map(|class| {
            let (scores, positive) = answers.one_against_rest(class);
            Sweep::new(&scores, &positive)
        });
        Areas { sweeps: sweeps.collect() }
    }
}

impl Family for Areas {
    fn scores(&self) -> Vec<Named> {
        named(&[("roc_auc", Better::Higher), ("pr_auc", Better::Higher)])
    }

    fn values(&self, weights: &[f64], out: &mut Vec<f64>) {
        let mean = |area: &dyn Fn(&Sweep) -> f64| {
            let areas: Vec<f64> = self.sweeps.iter().map(area).filter(|a| !a.is_nan()).collect();
            areas.iter().sum::<f64>() / areas.len() as f64
        };
        out.push(mean(&|sweep| sweep.roc_auc(|row| weights[row])));
        out.push(mean(&|sweep| sweep.average_precision(|row| weights[row])));
    }
}

/// How much of the variance of the truths is explained.
struct Spread {
    truth: Vec<f64>,
    error: Vec<f64>,
}

impl Spread {
    fn new(truth: &[f64], answer: &[f64]) -> Spread {
        let error = truth.iter().zip(answer).map(|(t, a)| t - a).collect();
        Spread { truth: truth.to_vec(), error }
    }
}

/// Sum of weights, weighted mean, and sum of squares around it.
fn moments(values: &[f64], weights: &[f64]) -> (f64, f64, f64) {
    let count: f64 = weights.iter().sum();
    let mean = values.iter().zip(weights).map(|(v, w)| v * w).sum::<f64>() / count;
    let squares = values.iter().zip(weights).map(|(v, w)| w * (v - mean) * (v - mean)).sum();
    (count, mean, squares)
}

impl Family for Spread {
    fn scores(&self) -> Vec<Named> {
        named(&[("r2", Better::Higher), ("explained_variance", Better::Higher)])
    }

    fn values(&self, weights: &[f64], out: &mut Vec<f64>) {
        let (_, _, all) = moments(&self.truth, weights);
        let (count, mean, around) = moments(&self.error, weights);
        // As in the metrics of these names: truths that are all equal give 1 or 0.
        let score = |lost: f64| match (lost == 0.0, all == 0.0) {
            (true, _) => 1.0,
            (false, true) => 0.0,
            _ => 1.0 - lost / all,
        };
        out.extend([score(around + count * mean * mean), score(around)]);
    }
}

/// The error in the middle and the largest one.
struct Largest {
    /// The rows by rising error.
    order: Vec<u32>,
    errors: Vec<f64>,
}

impl Largest {
    fn new(errors: Vec<f64>) -> Largest {
        let mut order: Vec<u32> = (0..errors.len() as u32).collect();
        order.sort_by(|&a, &b| errors[a as usize].total_cmp(&errors[b as usize]));
        Largest { order, errors }
    }
}

impl Family for Largest {
    fn scores(&self) -> Vec<Named> {
        named(&[("median_error", Better::Lower), ("max_error", Better::Lower)])
    }

    fn values(&self, weights: &[f64], out: &mut Vec<f64>) {
        let half = weights.iter().sum::<f64>() / 2.0;
        let (mut sum, mut low, mut high, mut max) = (0.0, None, None, f64::NAN);
        for &row in &self.order {
            let (error, weight) = (self.errors[row as usize], weights[row as usize]);
            if weight > 0.0 {
                sum += weight;
                max = error;
                // Where half of the weight ends exactly here, the next one counts as much.
                if low.is_none() && sum >= half {
                    low = Some(error);
                }
                if high.is_none() && sum > half {
                    high = Some(error);
                }
            }
        }
        let median = low.zip(high).map_or(f64::NAN, |(low, high)| low + (high - low) / 2.0);
        out.extend([median, max]);
    }
}
