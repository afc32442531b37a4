//! The learning-rate range test.

use super::Trainer;
use crate::error::TrainError;
use crate::plans::Readings;
use nerve_core::Backup;
use nerve_data::{DataError, Loader};

/// Which learning rates are tried: from `min` to `max` in equal ratios.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LrRange {
    /// The first rate.
    pub min: f64,
    /// The last one.
    pub max: f64,
    /// How many steps there are, each with its rate; at least 20.
    pub steps: usize,
}

impl Default for LrRange {
    /// From 1e-7 to 10 in 200 steps.
    fn default() -> Self {
        LrRange { min: 1e-7, max: 10.0, steps: 200 }
    }
}

/// The share of the past in the running mean of the loss.
const SMOOTHING: f64 = 0.98;
/// The test ends where the loss is so many times its best.
const WORSE: f64 = 4.0;
/// Last steps that are left out: there it has diverged.
const TAIL: usize = 5;
/// By what share of itself the loss has to fall along a valley. What falls less is noise.
const FALL: f64 = 0.02;

/// What a learning-rate range test has seen.
#[derive(Clone, Debug, PartialEq)]
pub struct LrCurve {
    /// The rate of each step.
    pub rates: Vec<f64>,
    /// The loss of each step, before its update.
    pub losses: Vec<f64>,
    /// The running mean of the losses, without bias towards 0: what suggestions are from.
    pub smooth: Vec<f64>,
    /// Whether it ended early because the loss rose to four times its best, or was no number.
    pub diverged: bool,
    /// Steps that were to be done.
    planned: usize,
}

impl Trainer<'_> {
    /// The learning-rate range test: a training with a rate that grows from step to step, until the
    /// loss rises. Smith, "Cyclical learning rates for training neural networks", 2015; with the
    /// smoothing and the end of fastai's `lr_find`. The schedule has no part in it. When it is done,
    /// parameters, statistics, what the optimizer remembers and its rate are what they were.
    ///
    /// ```
    /// # use nerve_data::{Arrays, Element, Field, Loader, LoaderOptions};
    /// # use nerve_nn::{Params, layers::Linear, losses::CrossEntropy, optim::Sgd};
    /// # use nerve_train::{LrRange, Trainer};
    /// # use std::sync::Arc;
    /// # let x: Vec<f32> = (0..64).map(|i| i as f32 / 32.0 - 1.0).collect();
    /// # let label: Vec<i32> = (0..64).map(|i| i32::from(i >= 32)).collect();
    /// # let data = Arrays::new(vec![
    /// #     (Field::new("x", &[1], Element::F32), x.into()),
    /// #     (Field::new("label", &[], Element::I32), label.into()),
    /// # ])?;
    /// # let options = LoaderOptions { batch_size: 16, shuffle: true, ..LoaderOptions::default() };
    /// # let loader = Loader::new(Arc::new(data), options)?;
    /// # let params = Params::new(42);
    /// # let model = Linear::new(&params.at("fc"), 1, 2);
    /// # let (loss, optimizer) = (CrossEntropy::default(), Sgd::new(&params, 0.1));
    /// let trainer = Trainer::new(&model, &loss, &optimizer);
    /// let curve = trainer.find_learning_rate(&loader, LrRange { max: 1e4, ..LrRange::default() })?;
    /// assert!(curve.valley().is_some_and(|rate| rate > 0.01));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of the data.
    ///
    /// # Panics
    /// If the rates do not ascend from above 0, or there are fewer than 20 steps; else as
    /// [`fit`](Trainer::fit).
    pub fn find_learning_rate(
        &self,
        train: &Loader,
        range: LrRange,
    ) -> Result<LrCurve, TrainError> {
        let LrRange { min, max, steps } = range;
        assert!(0.0 < min && min < max && max.is_finite(), "rates from {min} to {max}");
        assert!(steps >= 20, "a range test of {steps} steps: it takes at least 20");
        let base = self.optimizer.learning_rate();
        self.optimizer.begin_epoch(1);
        let mut kept = None;
        let curve = self.tried(train, range, &mut kept);
        if let Some(backup) = kept {
            backup.restore();
        }
        self.optimizer.set_learning_rate(base);
        curve
    }

    fn tried(
        &self,
        train: &Loader,
        LrRange { min, max, steps }: LrRange,
        kept: &mut Option<Backup>,
    ) -> Result<LrCurve, TrainError> {
        let heads = self.heads();
        let metrics = vec![Vec::new(); heads.scores().len()];
        let mut readings = Readings { metrics, ..Readings::default() };
        let mut plans = self.plans(train, heads, false)?;
        let mut curve = LrCurve {
            rates: Vec::new(),
            losses: Vec::new(),
            smooth: Vec::new(),
            diverged: false,
            planned: steps,
        };
        let (mut mean, mut best) = (0.0, f64::INFINITY);
        for epoch in 0.. {
            for batch in train.epoch(epoch, 0) {
                let batch = batch?;
                let done = curve.rates.len();
                if done == steps {
                    return Ok(curve);
                }
                if kept.is_none() {
                    *kept = Some(Backup::of(plans.step(batch.size()).written()));
                }
                let rate = min * (max / min).powf(done as f64 / (steps - 1) as f64);
                self.optimizer.set_learning_rate(rate);
                let key = (self.options.seed, done as u64 + 1);
                plans.run(&batch, epoch + 1, key, &mut readings)?;
                let loss = f64::from(readings.loss);
                mean = SMOOTHING * mean + (1.0 - SMOOTHING) * loss;
                let smooth = mean / (1.0 - SMOOTHING.powi(done as i32 + 1));
                curve.rates.push(rate);
                curve.losses.push(loss);
                curve.smooth.push(smooth);
                best = best.min(smooth);
                // Not less or equal, so that NaN counts; a loss below 0 has no multiple that is worse.
                let fine = smooth <= WORSE * best || best < 0.0 && smooth.is_finite();
                if !fine {
                    curve.diverged = true;
                    return Ok(curve);
                }
            }
            if curve.rates.is_empty() {
                return Err(DataError::Empty { what: "training data".into() }.into());
            }
        }
        unreachable!("it ends after so many steps")
    }
}

impl LrCurve {
    /// A curve that was measured elsewhere: rates, and smooth losses, of equal number.
    pub fn of(rates: Vec<f64>, smooth: Vec<f64>) -> LrCurve {
        let planned = rates.len();
        LrCurve { losses: smooth.clone(), rates, smooth, diverged: false, planned }
    }

    /// The part that suggestions are from, as fastai has it: without the first tenth, in which the
    /// mean has seen little, and without the last steps, in which it has diverged.
    fn middle(&self) -> (&[f64], &[f64]) {
        let n = self.smooth.iter().position(|x| !x.is_finite()).unwrap_or(self.smooth.len());
        let end = self.rates.len().saturating_sub(TAIL).min(n);
        let start = (self.planned / 10).min(end);
        (&self.rates[start..end], &self.smooth[start..end])
    }

    /// The rate in the middle of the longest way down: the suggestion to begin with. None if the
    /// loss does not fall by a fiftieth along it: then no rate of the range trains this network, or
    /// there were too few steps.
    pub fn valley(&self) -> Option<f64> {
        let (rates, losses) = self.middle();
        let (middle, end) = valley(losses)?;
        let begin = losses[..=middle].iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (begin - losses[end] > FALL * begin.abs()).then(|| rates[middle])
    }

    /// The rate at which the loss falls fastest, over the logarithm of the rate. None if it falls
    /// nowhere.
    pub fn steep(&self) -> Option<f64> {
        let (rates, losses) = self.middle();
        steep(rates, losses)
    }

    /// A tenth of the rate at which the loss is least. None where there were too few steps.
    pub fn minimum(&self) -> Option<f64> {
        let (rates, losses) = self.middle();
        minimum(rates, losses)
    }
}

/// The middle and the end of the longest subsequence that falls, as fastai finds them: as if its
/// members lay side by side.
fn valley(losses: &[f64]) -> Option<(usize, usize)> {
    let (mut lengths, mut end, mut start) = (vec![1usize; losses.len()], 0, 0i64);
    for i in 1..losses.len() {
        for j in 0..i {
            if losses[i] < losses[j] && lengths[i] < lengths[j] + 1 {
                lengths[i] = lengths[j] + 1;
            }
            if lengths[end] < lengths[i] {
                end = i;
                start = end as i64 - lengths[end] as i64;
            }
        }
    }
    let third = (end as i64 - start) as f64 / 3.0;
    let middle = start + third as i64 + (third / 2.0) as i64;
    (losses.len() > 1 && end > 0).then_some((middle.max(0) as usize, end))
}

fn steep(rates: &[f64], losses: &[f64]) -> Option<f64> {
    let slope = |i: usize| (losses[i + 1] - losses[i]) / (rates[i + 1].ln() - rates[i].ln());
    let falling = (0..losses.len().saturating_sub(1)).filter(|&i| slope(i) < 0.0);
    falling.min_by(|&a, &b| slope(a).total_cmp(&slope(b))).map(|i| rates[i])
}

fn minimum(rates: &[f64], losses: &[f64]) -> Option<f64> {
    let least = (0..losses.len()).min_by(|&a, &b| losses[a].total_cmp(&losses[b]));
    least.map(|i| rates[i] / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions_are_those_of_fastai() {
        let table = include_str!("../../tests/golden/lr_find.tsv");
        let mut curves = 0;
        for line in table.lines() {
            let cells: Vec<&str> = line.split('\t').collect();
            let numbers = |i: usize| -> Vec<f64> {
                cells[i].split(',').map(|cell| cell.parse().unwrap()).collect()
            };
            let (rates, losses) = (numbers(4), numbers(5));
            let (middle, _) = valley(&losses).unwrap();
            let found =
                [rates[middle], steep(&rates, &losses).unwrap(), minimum(&rates, &losses).unwrap()];
            assert_eq!(found, [1, 2, 3].map(|i| numbers(i)[0]), "{}", cells[0]);
            curves += 1;
        }
        assert_eq!(curves, 4);
    }

    #[test]
    fn where_nothing_falls_nothing_is_suggested() {
        let rates: Vec<f64> = (0..60).map(|i| 10f64.powf(i as f64 / 10.0 - 5.0)).collect();
        let rising: Vec<f64> = (0..60).map(|i| 1.0 + 0.1 * i as f64).collect();
        let curve = LrCurve::of(rates.clone(), rising);
        assert_eq!((curve.valley(), curve.steep()), (None, None));
        let flat = (0..60).map(|i| 1.0 + 1e-3 * (i % 7) as f64).collect();
        assert_eq!(LrCurve::of(rates.clone(), flat).valley(), None);
        let falling = (0..60).map(|i| 1.0 - 0.01 * i as f64).collect();
        assert!(LrCurve::of(rates.clone(), falling).valley().is_some());
        // The first loss is no number: there is nothing to look at.
        let lost = LrCurve { diverged: true, ..LrCurve::of(rates[..1].into(), vec![f64::NAN]) };
        assert_eq!((lost.valley(), lost.steep(), lost.minimum()), (None, None, None));
    }
}
