//! Loss and metrics over a data set.

use crate::callback::Scores;
use crate::error::TrainError;
use crate::metrics::Metric;
use crate::plans::{Plans, Traced};
use nerve_core::{DType, Precision, Step, Tensor};
use nerve_data::{Batch, Loader};
use nerve_nn::losses::Loss;
use nerve_nn::{Context, Layer};
use std::sync::atomic::{AtomicBool, Ordering};

/// Measures a network on data.
///
/// The plans are made at the first use and kept, so one evaluator serves many evaluations of a
/// network whose parameters change, over data with the same fields.
pub struct Evaluator<'a> {
    model: &'a dyn Layer,
    loss: &'a dyn Loss,
    metrics: &'a [Box<dyn Metric>],
    plans: Option<Plans<'a>>,
}

/// What an [`Evaluator`] has measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// The mean loss over all examples.
    pub loss: f64,
    /// The mean of each metric, in their order.
    pub metrics: Vec<f64>,
    /// How many examples there were.
    pub examples: u64,
}

impl<'a> Evaluator<'a> {
    /// For a network, with a loss and metrics.
    pub fn new(
        model: &'a dyn Layer,
        loss: &'a dyn Loss,
        metrics: &'a [Box<dyn Metric>],
    ) -> Evaluator<'a> {
        Evaluator { model, loss, metrics, plans: None }
    }

    /// Measures all examples: field 0 of the data is the input, field 1 the target.
    ///
    /// # Errors
    /// Those of the data; a class out of range.
    ///
    /// # Panics
    /// If the shapes of the data do not fit the network.
    pub fn evaluate(&mut self, loader: &Loader) -> Result<Evaluation, TrainError> {
        let all = self.evaluate_unless(loader, &AtomicBool::new(false))?;
        Ok(all.expect("nobody stops it"))
    }

    /// As [`evaluate`](Evaluator::evaluate), but gives up, with `None`, when `stop` becomes true.
    ///
    /// # Errors
    /// As [`evaluate`](Evaluator::evaluate).
    ///
    /// # Panics
    /// As [`evaluate`](Evaluator::evaluate).
    pub fn evaluate_unless(
        &mut self,
        loader: &Loader,
        stop: &AtomicBool,
    ) -> Result<Option<Evaluation>, TrainError> {
        let (model, loss, metrics) = (self.model, self.loss, self.metrics);
        let plans = match &mut self.plans {
            Some(plans) => plans,
            none => {
                let function: Traced<'a> = Box::new(move |args| {
                    let output = model.forward(&args[0], &Context::eval());
                    results(loss, metrics, &output, &args[1])
                });
                none.insert(Plans::new(loader, function, Precision::Full)?)
            }
        };
        let mut means = Means::new(metrics.len());
        for batch in loader.epoch(0, 0) {
            let batch = batch?;
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            plans.run(&batch, 1, (0, 0), &mut means.batch)?;
            means.add(&batch, metrics);
        }
        let scores = means.scores();
        let (loss, metrics) = (scores.loss, scores.metrics.to_vec());
        Ok(Some(Evaluation { loss, metrics, examples: means.examples }))
    }
}

/// The compiled network in use with the first batch of `loader` in it, and the rows of that batch:
/// to look at, or to run and to time by itself.
///
/// # Errors
/// Those of the data; [`DataError::Empty`](nerve_data::DataError::Empty) if there are none.
///
/// # Panics
/// If the shapes of the data do not fit the network.
pub fn first_use(model: &dyn Layer, loader: &Loader) -> Result<(Step, usize), TrainError> {
    let forward: Traced<'_> = Box::new(|args| vec![model.forward(&args[0], &Context::eval())]);
    Plans::new(loader, forward, Precision::Full)?.first(loader, (0, 0))
}

/// The results of a plan: the loss, then the sums of the metrics.
pub(crate) fn results(
    loss: &dyn Loss,
    metrics: &[Box<dyn Metric>],
    output: &Tensor,
    target: &Tensor,
) -> Vec<Tensor> {
    let loss = loss.loss(output, target).to_dtype(DType::F32);
    let sums = metrics.iter().map(|metric| metric.sum(output, target).to_dtype(DType::F32));
    std::iter::once(loss).chain(sums).collect()
}

/// Sums over batches, as means. Allocates when it is made, and never again.
pub(crate) struct Means {
    /// The results of the last batch.
    pub batch: Vec<f32>,
    examples: u64,
    loss: f64,
    sums: Vec<f64>,
    counts: Vec<f64>,
    means: Vec<f64>,
}

impl Means {
    pub fn new(metrics: usize) -> Means {
        Means {
            batch: vec![0.0; metrics + 1],
            examples: 0,
            loss: 0.0,
            sums: vec![0.0; metrics],
            counts: vec![0.0; metrics],
            means: vec![0.0; metrics],
        }
    }

    pub fn clear(&mut self) {
        (self.examples, self.loss) = (0, 0.0);
        self.sums.fill(0.0);
        self.counts.fill(0.0);
    }

    /// Adds `batch`, whose results are in `self.batch`.
    pub fn add(&mut self, batch: &Batch, metrics: &[Box<dyn Metric>]) {
        self.examples += batch.size() as u64;
        self.loss += f64::from(self.batch[0]) * batch.size() as f64;
        for (i, metric) in metrics.iter().enumerate() {
            self.sums[i] += f64::from(self.batch[1 + i]);
            self.counts[i] += metric.count(batch.array(1).shape()) as f64;
            self.means[i] = self.sums[i] / self.counts[i];
        }
    }

    pub fn scores(&self) -> Scores<'_> {
        Scores { loss: self.loss / self.examples as f64, metrics: &self.means }
    }
}
