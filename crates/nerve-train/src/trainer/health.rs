//! The health of a network while it trains: how its numbers are distributed, which units are dead,
//! how far a step goes, how long each layer takes.

use super::Trainer;
use crate::callback::{Callback, CallbackError, Control, StepEnd};
use crate::error::TrainError;
use crate::history::History;
use crate::plans::Plans;
use nerve_core::{Backup, DType, Step, Tensor, Var};
use nerve_data::Loader;
use nerve_nn::Context;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// So many values of a tensor are looked at, evenly spread.
const SAMPLE: usize = 4096;
/// Bins of a histogram.
const BINS: usize = 30;
/// Runs of which the shortest time of each instruction counts.
const TIMED: usize = 3;

/// How much is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Depth {
    /// The weights, and how far a step changes them: nearly free.
    #[default]
    Weights,
    /// Gradients and activations of one batch too, dead units, and the time of each layer: some steps
    /// an epoch, and one plan more.
    All,
}

/// Something that was seen.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// How numbers are distributed.
    Histogram {
        /// Of what: `weights/fc1.weight`, `grads/fc1.weight`, `acts/2.ReLU`.
        tag: String,
        /// The borders of the bins, ascending: one more than counts.
        edges: Vec<f64>,
        /// How many numbers fell into each bin; the last bin includes its right border.
        counts: Vec<u64>,
        /// How many of the numbers had no finite value.
        bad: u64,
    },
    /// Numbers of a layer or a parameter.
    Layer {
        /// Which.
        tag: String,
        /// By name: `dead` (the share of units that gave 0 for all examples of the batch),
        /// `update_ratio` (‖Δw‖ / ‖w‖ of the first step of the epoch), `time_ms` (forward and
        /// backward), `grad_norm`.
        values: Vec<(&'static str, f64)>,
    },
}

/// What the findings of an epoch are told to: the epoch, the step, and what was seen.
type Sink<'a> = Box<dyn FnMut(u64, u64, Vec<Finding>) + 'a>;

/// A callback that looks at the network once an epoch, after its validation.
///
/// What it looks at is the first batch of the training data, through a plan of its own that is made
/// at the first look. Nothing of the training is changed by it.
///
/// ```
/// # use nerve_data::{Arrays, Element, Field, Loader, LoaderOptions};
/// # use nerve_nn::{Params, layers::Linear, losses::CrossEntropy, optim::Sgd};
/// # use nerve_train::{Depth, Finding, Health, Options, Trainer};
/// # use std::sync::Arc;
/// # let x: Vec<f32> = (0..64).map(|i| i as f32 / 32.0 - 1.0).collect();
/// # let label: Vec<i32> = (0..64).map(|i| i32::from(i >= 32)).collect();
/// # let data = Arrays::new(vec![
/// #     (Field::new("x", &[1], Element::F32), x.into()),
/// #     (Field::new("label", &[], Element::I32), label.into()),
/// # ])?;
/// # let loader = Loader::new(Arc::new(data), LoaderOptions::default())?;
/// # let params = Params::new(42);
/// # let model = Linear::new(&params.at("fc"), 1, 2);
/// # let (loss, optimizer) = (CrossEntropy::default(), Sgd::new(&params, 0.1));
/// let options = Options { epochs: 2, ..Options::default() };
/// let trainer = Trainer::new(&model, &loss, &optimizer).options(options);
/// let mut seen = Vec::new();
/// let mut health = Health::new(&trainer, &loader, Depth::All, |_, _, found| seen.extend(found));
/// trainer.fit(&loader, None, &mut [&mut health])?;
/// drop(health);
/// let weights = |f: &&Finding| matches!(f, Finding::Histogram { tag, .. } if tag == "weights/fc.weight");
/// assert_eq!(seen.iter().filter(weights).count(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Health<'a> {
    trainer: &'a Trainer<'a>,
    train: &'a Loader,
    depth: Depth,
    sink: Sink<'a>,
    probe: Option<Probe>,
    /// The parameters before the first step of an epoch, and then the ratios.
    before: Option<Backup>,
    ratios: Vec<f64>,
}

/// A step that trains nothing, with its batch in it.
struct Probe {
    step: Step,
    /// What a run changes all the same: statistics of layers.
    written: Backup,
    names: Names,
}

/// What the results of the probe are: for each activation a sample and the extremes of its units,
/// for each gradient a sample and its length.
#[derive(Clone, Debug, Default)]
struct Names {
    acts: Vec<String>,
    grads: Vec<String>,
}

impl<'a> Health<'a> {
    /// Of the network of a trainer, on these training data; `sink` hears of the epoch, the step, and
    /// what was found.
    pub fn new(
        trainer: &'a Trainer<'a>,
        train: &'a Loader,
        depth: Depth,
        sink: impl FnMut(u64, u64, Vec<Finding>) + 'a,
    ) -> Health<'a> {
        let (sink, ratios) = (Box::new(sink), Vec::new());
        Health { trainer, train, depth, sink, probe: None, before: None, ratios }
    }

    /// What can be seen now.
    ///
    /// # Errors
    /// Those of the data.
    pub fn look(&mut self) -> Result<Vec<Finding>, TrainError> {
        let parameters = self.trainer.optimizer.parameters();
        let mut found: Vec<Finding> = parameters
            .iter()
            .map(|var| histogram(format!("weights/{}", var.name()), &weights(var)))
            .collect();
        for (var, ratio) in parameters.iter().zip(&self.ratios) {
            let values = vec![("update_ratio", *ratio)];
            found.push(Finding::Layer { tag: var.name().to_string(), values });
        }
        if self.depth == Depth::All {
            let probe = match self.probe.take() {
                Some(probe) => probe,
                None => Probe::new(self.trainer, self.train)?,
            };
            found.extend(self.probe.insert(probe).look()?);
        }
        Ok(found)
    }
}

impl Probe {
    fn new(trainer: &Trainer<'_>, train: &Loader) -> Result<Probe, TrainError> {
        let names = Arc::new(Mutex::new(Names::default()));
        let heads = trainer.heads();
        let (used, noted) = (heads.used(trainer.model.input_count()), names.clone());
        let traced = Box::new(move |args: &[Tensor]| {
            let (key, fields) = args.split_last().expect("the key");
            let cx = Context::train(key).observing();
            let (inputs, fields) = fields.split_at(trainer.model.input_count());
            let loss = heads.results(&trainer.model.outputs(inputs, &cx), fields).0;
            let mut acts = cx.observed();
            acts.retain(|(_, x)| x.dtype().is_float() && x.numel() > 0 && x.rank() > 0);
            let grads = trainer.optimizer.gradients(&cx.penalized(&loss));
            let parameters = trainer.optimizer.parameters().iter();
            *noted.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Names {
                acts: acts.iter().map(|(name, _)| name.clone()).collect(),
                grads: parameters.map(|var| var.name().to_string()).collect(),
            };
            let acts = acts.iter().flat_map(|(_, x)| [sample(x), largest(x)]);
            let grads = grads.iter().flat_map(|g| {
                [sample(g), g.to_dtype(DType::F64).square().sum().sqrt().reshape([1])]
            });
            acts.chain(grads).collect()
        });
        let plans = Plans::new(train, used, traced, trainer.options.precision)?;
        let (step, _) = plans.first(train, (trainer.options.seed, 1))?;
        let names = names.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        Ok(Probe { written: Backup::of(step.written()), step, names })
    }

    fn look(&mut self) -> Result<Vec<Finding>, TrainError> {
        self.written.take();
        let times = self.times();
        self.written.restore();
        let times =
            times.map_err(|error| TrainError::Index { epoch: 1, first: 0, last: 0, error })?;
        let floats = |i: usize| -> Vec<f64> {
            self.step.read::<f32>(i).into_iter().map(f64::from).collect()
        };
        let mut found = Vec::new();
        for (i, name) in self.names.acts.iter().enumerate() {
            found.push(histogram(format!("acts/{name}"), &floats(2 * i)));
            let units = floats(2 * i + 1);
            if units.len() > 1 {
                let dead = units.iter().filter(|&&x| x == 0.0).count() as f64 / units.len() as f64;
                found.push(Finding::Layer { tag: name.clone(), values: vec![("dead", dead)] });
            }
        }
        let first = 2 * self.names.acts.len();
        for (i, name) in self.names.grads.iter().enumerate() {
            found.push(histogram(format!("grads/{name}"), &floats(first + 2 * i)));
            let norm = self.step.read::<f64>(first + 2 * i + 1)[0];
            found.push(Finding::Layer { tag: name.clone(), values: vec![("grad_norm", norm)] });
        }
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        found.extend(
            times
                .into_iter()
                .map(|(tag, time)| Finding::Layer { tag, values: vec![("time_ms", ms(time))] }),
        );
        Ok(found)
    }

    /// Runs it, and gives the time of each layer: instructions belong to the first variable that they
    /// are about, and those that are about none to the rest.
    fn times(&self) -> Result<Vec<(String, Duration)>, nerve_core::RunError> {
        let mut best: Vec<Duration> = Vec::new();
        for _ in 0..TIMED {
            let mut times = Vec::new();
            self.step.profile(&mut times)?;
            best.resize(times.len(), Duration::MAX);
            best.iter_mut().zip(times).for_each(|(best, time)| *best = time.min(*best));
        }
        let mut layers: Vec<(String, Duration)> = Vec::new();
        for (cost, time) in self.step.plan().costs().iter().zip(best) {
            let layer = match cost.variables.first() {
                Some(name) => name.rsplit_once('.').map_or(&name[..], |(layer, _)| layer),
                None => "(the rest)",
            };
            match layers.iter_mut().find(|(known, _)| known == layer) {
                Some((_, sum)) => *sum += time,
                None => layers.push((layer.to_string(), time)),
            }
        }
        Ok(layers)
    }
}

/// An even sample of a tensor, flat, f32.
fn sample(x: &Tensor) -> Tensor {
    let n = x.numel();
    let flat = x.to_dtype(DType::F32).reshape([n]);
    let step = n.div_ceil(SAMPLE);
    if step == 1 { flat } else { flat.slice_by(0, 0, step as isize, n.div_ceil(step)) }
}

/// For each unit, along the second axis, the largest |x| of the batch.
fn largest(x: &Tensor) -> Tensor {
    let x = x.to_dtype(DType::F32).abs();
    match x.rank() {
        0 | 1 => x.max().reshape([1]),
        rank => {
            let others: Vec<isize> = (0..rank as isize).filter(|&axis| axis != 1).collect();
            x.max_axes(&others, false)
        }
    }
}

/// An even sample of a variable.
fn weights(var: &Var) -> Vec<f64> {
    sample(&var.get()).to_vec::<f32>().into_iter().map(f64::from).collect()
}

/// Bins of equal width from the smallest to the largest.
fn histogram(tag: String, values: &[f64]) -> Finding {
    let finite: Vec<f64> = values.iter().copied().filter(|x| x.is_finite()).collect();
    let bad = (values.len() - finite.len()) as u64;
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for &x in &finite {
        (low, high) = (low.min(x), high.max(x));
    }
    if finite.is_empty() {
        (low, high) = (0.0, 0.0);
    }
    if low == high {
        // All alike: a bin around it.
        let half = (low.abs() * 1e-3).max(1e-6);
        (low, high) = (low - half, high + half);
    }
    let width = high - low;
    let edges = (0..=BINS).map(|i| low + width * (i as f64 / BINS as f64)).collect();
    let mut counts = vec![0u64; BINS];
    for x in finite {
        let bin = ((x - low) / width * BINS as f64) as usize;
        counts[bin.min(BINS - 1)] += 1;
    }
    Finding::Histogram { tag, edges, counts, bad }
}

impl Callback for Health<'_> {
    fn on_epoch_begin(&mut self, _: u64) -> Result<(), CallbackError> {
        match &mut self.before {
            Some(before) => before.take(),
            none => *none = Some(Backup::of(self.trainer.optimizer.parameters())),
        }
        self.ratios.clear();
        Ok(())
    }

    fn on_step_end(&mut self, _: &StepEnd<'_>) -> Result<Control, CallbackError> {
        if self.ratios.is_empty()
            && let Some(before) = &self.before
        {
            self.ratios = before.changes();
        }
        Ok(Control::Continue)
    }

    fn on_epoch_end(&mut self, history: &History) -> Result<Control, CallbackError> {
        let found = self.look()?;
        if let Some(row) = history.last() {
            (self.sink)(row.epoch, row.step, found);
        }
        Ok(Control::Continue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_each_value_once() {
        let values = [0.0, 0.1, 3.0, 2.95, 1.5, f64::NAN, f64::INFINITY];
        let Finding::Histogram { edges, counts, bad, .. } = histogram("x".into(), &values) else {
            panic!("a histogram")
        };
        assert_eq!((edges.len(), edges[0], edges[BINS], bad), (31, 0.0, 3.0, 2));
        let filled: Vec<usize> = (0..BINS).filter(|&i| counts[i] > 0).collect();
        assert_eq!((filled, counts.iter().sum::<u64>()), (vec![0, 1, 15, 29], 5));
        assert_eq!(counts[29], 2);
        // All alike, and none at all.
        for values in [&[2.0; 5][..], &[], &[f64::NAN]] {
            let Finding::Histogram { edges, counts, .. } = histogram("x".into(), values) else {
                panic!("a histogram")
            };
            assert!(edges.is_sorted_by(|a, b| a < b));
            let finite = values.iter().filter(|x| x.is_finite()).count() as u64;
            assert_eq!(counts.iter().sum::<u64>(), finite);
        }
        assert_eq!(weights(&Var::new("w", Tensor::ones([100, 100]))).len(), 3334);
    }
}
