//! Loss and metrics over a data set.

use crate::callback::Scores;
use crate::error::TrainError;
use crate::metrics::{Kept, Metric, Seen};
use crate::plans::{Plans, Readings, Traced};
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
    weighted: bool,
    plans: Option<Plans<'a>>,
    tally: Tally,
}

/// What an [`Evaluator`] has measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// The mean loss over all examples (over all that counts, where there are weights).
    pub loss: f64,
    /// The value of each metric, in their order.
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
        let tally = Tally::new(metrics.len());
        Evaluator { model, loss, metrics, weighted: false, plans: None, tally }
    }

    /// Whether field 2 of the data is the weight of each example in the loss; metrics have none.
    #[must_use]
    pub fn weighted(self, weighted: bool) -> Self {
        Evaluator { weighted, plans: None, ..self }
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
                    let (_, fields) = args.split_last().expect("the key");
                    let output = model.forward(&fields[0], &Context::eval());
                    results(loss, metrics, &output, fields).1
                });
                let used = 2 + usize::from(self.weighted);
                none.insert(Plans::new(loader, used, function, Precision::Full)?)
            }
        };
        let tally = &mut self.tally;
        tally.clear();
        for batch in loader.epoch(0, 0) {
            let batch = batch?;
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            plans.run(&batch, 1, (0, 0), &mut tally.batch)?;
            tally.add(&batch, metrics, false);
        }
        tally.finish(metrics);
        let scores = tally.scores();
        let (loss, metrics) = (scores.loss, scores.metrics.to_vec());
        Ok(Some(Evaluation { loss, metrics, examples: tally.examples }))
    }

    /// What the metrics have kept of the last evaluation, in their order: for instance the counts
    /// of a [`Confusion`](crate::metrics::Confusion) matrix.
    pub fn kept(&self) -> &[Kept] {
        &self.tally.kept
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
    Plans::new(loader, 2, forward, Precision::Full)?.first(loader, (0, 0))
}

/// The loss of a batch from the fields of the data, and the results of a plan: the loss, what the
/// metrics observe, and what the batch counts where terms have weights.
pub(crate) fn results(
    loss: &dyn Loss,
    metrics: &[Box<dyn Metric>],
    output: &Tensor,
    fields: &[Tensor],
) -> (Tensor, Vec<Tensor>) {
    let mut terms = loss.terms(output, &fields[1]);
    if let Some(weights) = fields.get(2) {
        terms = terms.weighted(weights);
    }
    let value = loss.reduce(&terms);
    let seen = |metric: &dyn Metric| metric.observe(output, &fields[1]).to_dtype(DType::F64);
    let mut results = vec![value.to_dtype(DType::F32)];
    results.extend(metrics.iter().map(|metric| seen(&**metric)));
    results.extend(terms.weights().map(|weights| weights.to_dtype(DType::F64).sum()));
    (value, results)
}

/// Loss and metrics over batches. After the first batch it allocates nothing (but for metrics that
/// keep rows, which grow in the first epoch).
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// The results of the last batch.
    pub batch: Readings,
    pub examples: u64,
    pub kept: Vec<Kept>,
    loss: f64,
    count: f64,
    values: Vec<f64>,
}

impl Tally {
    pub fn new(metrics: usize) -> Tally {
        Tally {
            batch: Readings { metrics: vec![Vec::new(); metrics], ..Readings::default() },
            kept: vec![Kept::default(); metrics],
            values: vec![f64::NAN; metrics],
            ..Tally::default()
        }
    }

    pub fn clear(&mut self) {
        (self.examples, self.loss, self.count) = (0, 0.0, 0.0);
        self.kept.iter_mut().for_each(Kept::clear);
        self.values.fill(f64::NAN);
    }

    /// Adds `batch`, whose results are in `self.batch`; if they are `shown`, with the values that
    /// are worth computing after each step.
    pub fn add(&mut self, batch: &Batch, metrics: &[Box<dyn Metric>], shown: bool) {
        self.examples += batch.size() as u64;
        self.loss += f64::from(self.batch.loss) * self.batch.count;
        self.count += self.batch.count;
        let target = batch.array(1).shape();
        for (i, metric) in metrics.iter().enumerate() {
            let seen = Seen { values: &self.batch.metrics[i], target };
            metric.add(&seen, &mut self.kept[i]);
            if shown && metric.each_step() {
                self.values[i] = metric.value(&self.kept[i]);
            }
        }
    }

    /// Computes the values of all metrics, at the end. Without examples there are none: NaN.
    pub fn finish(&mut self, metrics: &[Box<dyn Metric>]) {
        if self.examples > 0 {
            for (i, metric) in metrics.iter().enumerate() {
                self.values[i] = metric.value(&self.kept[i]);
            }
        }
    }

    pub fn scores(&self) -> Scores<'_> {
        Scores { loss: self.loss / self.count, metrics: &self.values }
    }
}
