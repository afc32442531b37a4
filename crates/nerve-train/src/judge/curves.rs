//! What is drawn: curves over all thresholds, reliability, residuals, errors by step.

use super::answers::{Answers, argmax};
use crate::metrics::{Distance, Regression, Sweep};

/// A bin of probabilities, and how often they came true.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bin {
    /// Where it begins; the border itself belongs to the bin below.
    pub low: f64,
    /// Where it ends.
    pub high: f64,
    /// How many rows are in it.
    pub count: u64,
    /// The mean probability.
    pub predicted: f64,
    /// How often it came true.
    pub observed: f64,
}

/// How many bins reliability has: as the calibration error.
pub const BINS: usize = 15;

/// Probabilities in bins of equal width, each with how often it came true; bins without rows are left
/// out. Of two classes it is the probability of the positive one, of more that of the answer.
///
/// As `calibration_curve` of scikit-learn with its uniform strategy.
pub fn reliability(answers: &Answers, bins: usize) -> Vec<Bin> {
    let Answers::Classes { names, truth, probabilities } = answers else { return Vec::new() };
    let mut sums = vec![(0u64, 0.0, 0.0); bins];
    for (p, &truth) in probabilities.chunks_exact(names.len()).zip(truth) {
        let answer = if names.len() == 2 { 1 } else { argmax(p) };
        let p = f64::from(p[answer]);
        let bin = ((p * bins as f64).ceil() - 1.0).clamp(0.0, bins as f64 - 1.0) as usize;
        sums[bin].0 += 1;
        sums[bin].1 += p;
        sums[bin].2 += f64::from(u8::from(truth as usize == answer));
    }
    let width = 1.0 / bins as f64;
    let bin = |(i, &(count, p, yes)): (usize, &(u64, f64, f64))| Bin {
        low: i as f64 * width,
        high: (i + 1) as f64 * width,
        count,
        predicted: p / count as f64,
        observed: yes / count as f64,
    };
    sums.iter().enumerate().filter(|(_, sum)| sum.0 > 0).map(bin).collect()
}

/// A point of a curve over all thresholds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// From which score on an answer is yes; infinite where none is.
    pub threshold: f64,
    /// The share of no that is taken for yes: 1 − specificity.
    pub false_positive_rate: f64,
    /// The share of yes that is found: recall.
    pub recall: f64,
    /// The share of what is taken for yes that is right; 1 where nothing is.
    pub precision: f64,
}

/// One point for every distinct probability of a class against the rest, from the highest threshold,
/// where nothing is yes, to the lowest. Empty unless there are rows of both kinds.
pub fn curve(answers: &Answers, class: usize) -> Vec<Point> {
    let (scores, positive) = answers.one_against_rest(class);
    let mut steps = vec![(f64::INFINITY, 0.0, 0.0)];
    let sweep = Sweep::new(&scores, &positive);
    let (all_yes, all_no) = sweep.walk(|_| 1.0, |score, yes, no| steps.push((score, yes, no)));
    if all_yes == 0.0 || all_no == 0.0 {
        return Vec::new();
    }
    let point = |(threshold, yes, no): (f64, f64, f64)| Point {
        threshold,
        false_positive_rate: no / all_no,
        recall: yes / all_yes,
        precision: if yes + no == 0.0 { 1.0 } else { yes / (yes + no) },
    };
    steps.into_iter().map(point).collect()
}

/// At most `most` of the points, with the first and the last, evenly spaced along the curve.
pub(crate) fn thinned(points: &[Point], most: usize) -> Vec<Point> {
    let mut kept: Vec<Point> = Vec::new();
    let step = 2.0 / most.max(1) as f64;
    for (i, point) in points.iter().enumerate() {
        let far = kept.last().is_none_or(|last: &Point| {
            (point.recall - last.recall).abs()
                + (point.false_positive_rate - last.false_positive_rate).abs()
                >= step
        });
        if points.len() <= most || far || i + 1 == points.len() {
            kept.push(*point);
        }
    }
    kept
}

/// The error of a forecast at one step ahead.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepError {
    /// Which step, from 1.
    pub step: usize,
    /// The mean absolute error.
    pub mae: f64,
    /// The root of the mean squared error.
    pub rmse: f64,
    /// The mean error, forecast minus truth.
    pub bias: f64,
}

/// The error of a forecast for each step ahead.
pub fn by_step(answers: &Answers) -> Vec<StepError> {
    let Answers::Forecast { horizon, truth, answer, .. } = answers else { return Vec::new() };
    if truth.is_empty() {
        return Vec::new();
    }
    let (output, target) = answers.tensors();
    let mean = |distance| -> Vec<f64> {
        Regression(distance).terms(&output, &target).mean_axes(&[0], false).to_vec()
    };
    let (mae, mse) = (mean(Distance::Mae), mean(Distance::Mse));
    let rows = answers.rows() as f64;
    let bias = |step: usize| {
        let errors = answer.iter().zip(truth).skip(step).step_by(*horizon).map(|(a, t)| a - t);
        errors.sum::<f64>() / rows
    };
    (0..*horizon)
        .map(|i| StepError { step: i + 1, mae: mae[i], rmse: mse[i].sqrt(), bias: bias(i) })
        .collect()
}
