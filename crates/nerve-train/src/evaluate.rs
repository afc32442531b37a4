//! Loss and metrics over a data set.

use crate::callback::{CallbackError, Scores};
use crate::checkpoint::Snapshot;
use crate::error::TrainError;
use crate::heads::{Head, Heads, View};
use crate::metrics::{Kept, Metric, Seen};
use crate::plans::{Plans, Readings, Traced};
use crate::predictions::{Given, Predictions};
use nerve_core::Precision;
use nerve_data::{Batch, Loader};
use nerve_nn::losses::Loss;
use nerve_nn::{Context, Model};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Measures a network on data.
///
/// The plans are made at the first use and kept, so one evaluator serves many evaluations of a
/// network whose parameters change, over data with the same fields.
pub struct Evaluator<'a> {
    model: &'a dyn Model,
    heads: Arc<Heads<'a>>,
    plans: Option<Plans<'a>>,
    predictions: Predictions<'a>,
    tally: Tally,
}

/// What an [`Evaluator`] has measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// The mean loss over all examples (over all that counts, where there are weights).
    pub loss: f64,
    /// The value of each metric, in the order of [`Evaluator::names`].
    pub metrics: Vec<f64>,
    /// How many examples there were.
    pub examples: u64,
}

impl<'a> Evaluator<'a> {
    /// For a network of one output, with a loss and metrics.
    pub fn new(
        model: &'a dyn Model,
        loss: &'a dyn Loss,
        metrics: &'a [Box<dyn Metric>],
    ) -> Evaluator<'a> {
        Evaluator::of(model, Heads::new(vec![View { name: "", loss, metrics, weight: 1.0 }], false))
    }

    /// For a network of as many outputs as there are heads.
    ///
    /// # Panics
    /// If there are none.
    #[track_caller]
    pub fn with_heads(model: &'a dyn Model, heads: &'a [Head<'_>]) -> Evaluator<'a> {
        Evaluator::of(model, Heads::new(heads.iter().map(Head::view).collect(), false))
    }

    pub(crate) fn of(model: &'a dyn Model, heads: Heads<'a>) -> Evaluator<'a> {
        let (tally, predictions) = (Tally::new(heads.scores().len()), Predictions::new(model));
        Evaluator { model, heads: Arc::new(heads), plans: None, predictions, tally }
    }

    /// Whether the field behind the targets is the weight of each example in the losses; metrics have
    /// none.
    #[must_use]
    pub fn weighted(self, weighted: bool) -> Self {
        Evaluator { heads: Arc::new(self.heads.weighted(weighted)), plans: None, ..self }
    }

    /// What is measured beside the loss: the names of the metrics; with several heads for each its
    /// loss and its metrics, as `name.loss`.
    pub fn names(&self) -> Vec<String> {
        self.heads.names()
    }

    /// Measures all examples: the fields of the data are the inputs, and then a target for each
    /// head.
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
        let plans = match &mut self.plans {
            Some(plans) => plans,
            none => {
                let (model, heads) = (self.model, self.heads.clone());
                let inputs = model.input_count();
                let function: Traced<'a> = Box::new(move |args| {
                    let (inputs, fields) = args[..args.len() - 1].split_at(inputs);
                    heads.results(&model.outputs(inputs, &Context::eval()), fields).1
                });
                let used = self.heads.used(inputs);
                none.insert(Plans::new(loader, used, function, Precision::Full)?)
            }
        };
        let (tally, heads, inputs) = (&mut self.tally, &*self.heads, self.model.input_count());
        tally.clear();
        for batch in loader.epoch(0, 0) {
            let batch = batch?;
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            plans.run(&batch, 1, (0, 0), &mut tally.batch)?;
            tally.add(&batch, inputs, heads, false);
        }
        tally.finish(heads);
        let scores = tally.scores();
        let (loss, metrics) = (scores.loss, scores.metrics.to_vec());
        Ok(Some(Evaluation { loss, metrics, examples: tally.examples }))
    }

    /// Calls `each` with each batch of the data, in their order, and what the network gives for it at
    /// each of its outputs: see [`Predictions`]. The targets are in the batch, if it has any.
    ///
    /// # Errors
    /// Those of the data and of `each`; an index out of range.
    ///
    /// # Panics
    /// If the shapes of the data do not fit the network.
    pub fn predictions(
        &mut self,
        loader: &Loader,
        each: impl FnMut(&Batch, &[Given]) -> Result<(), CallbackError>,
    ) -> Result<(), TrainError> {
        self.predictions.run(loader, each)
    }

    /// What the metrics have kept of the last evaluation, in the order of their names: for instance the counts
    /// of a [`Confusion`](crate::metrics::Confusion) matrix.
    pub fn kept(&self) -> &[Kept] {
        &self.tally.kept
    }
}

/// Loss and metrics over batches. After the first batch it allocates nothing (but for metrics that
/// keep rows, which grow in the first epoch).
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// The results of the last batch.
    pub batch: Readings,
    pub examples: u64,
    pub kept: Vec<Kept>,
    /// With one head: the losses of the batches times what they count, and that.
    sums: (f64, f64),
    loss: f64,
    values: Vec<f64>,
    /// For the shape of a target.
    room: Vec<usize>,
}

impl Tally {
    pub fn new(scores: usize) -> Tally {
        Tally {
            batch: Readings { metrics: vec![Vec::new(); scores], ..Readings::default() },
            kept: vec![Kept::default(); scores],
            values: vec![f64::NAN; scores],
            ..Tally::default()
        }
    }

    pub fn clear(&mut self) {
        (self.examples, self.sums, self.loss) = (0, (0.0, 0.0), f64::NAN);
        self.kept.iter_mut().for_each(Kept::clear);
        self.values.fill(f64::NAN);
    }

    /// What it has summed up, to be continued.
    pub fn put(&self, into: &mut Snapshot) {
        into.put_numbers("epoch/sums", &[self.examples as f64, self.sums.0, self.sums.1]);
        for (i, kept) in self.kept.iter().enumerate() {
            into.put_numbers(&format!("epoch/{i}.sums"), &kept.sums);
            into.put_numbers(&format!("epoch/{i}.maxima"), &kept.maxima);
            into.put_numbers(&format!("epoch/{i}.width"), &[kept.width as f64]);
            into.put_numbers(&format!("epoch/{i}.rows"), &kept.rows);
        }
    }

    /// Goes on from what [`put`](Tally::put) gave; `None` if that was of another training.
    pub fn restore(&mut self, from: &Snapshot) -> Option<()> {
        let [examples, loss, count] = from.numbers("epoch/sums")?.try_into().ok()?;
        (self.examples, self.sums) = (examples as u64, (loss, count));
        for (i, kept) in self.kept.iter_mut().enumerate() {
            kept.sums = from.numbers(&format!("epoch/{i}.sums"))?;
            kept.maxima = from.numbers(&format!("epoch/{i}.maxima"))?;
            kept.width = *from.numbers(&format!("epoch/{i}.width"))?.first()? as usize;
            kept.rows = from.numbers(&format!("epoch/{i}.rows"))?;
        }
        Some(())
    }

    /// Adds `batch`, whose results are in `self.batch`, and whose targets are the fields from
    /// `first` on; if they are `shown`, with the values that are worth computing after each step.
    pub fn add(&mut self, batch: &Batch, first: usize, heads: &Heads<'_>, shown: bool) {
        self.examples += batch.size() as u64;
        self.sums.0 += f64::from(self.batch.loss) * self.batch.count;
        self.sums.1 += self.batch.count;
        for (i, score) in heads.scores().iter().enumerate() {
            let (values, kept) = (&self.batch.metrics[i], &mut self.kept[i]);
            let Some(metric) = score.metric else {
                kept.add(values);
                continue;
            };
            let target = batch.array(first + score.head).shape();
            heads.seen_shape(score.head, target, &mut self.room);
            metric.add(&Seen { values, target: &self.room }, kept);
            if shown && metric.each_step() {
                self.values[i] = metric.value(kept);
            }
        }
        self.lose(heads);
    }

    /// The loss of all that was added, and that of each of several heads.
    fn lose(&mut self, heads: &Heads<'_>) {
        for (i, score) in heads.scores().iter().enumerate() {
            if score.metric.is_none() {
                self.values[i] = self.kept[i].mean();
            }
        }
        let total = heads.total(|i| self.values[i]);
        self.loss = total.unwrap_or(self.sums.0 / self.sums.1);
    }

    /// Computes the values of all metrics, at the end. Without examples there are none: NaN.
    pub fn finish(&mut self, heads: &Heads<'_>) {
        if self.examples > 0 {
            self.lose(heads);
            for (i, score) in heads.scores().iter().enumerate() {
                if let Some(metric) = score.metric {
                    self.values[i] = metric.value(&self.kept[i]);
                }
            }
        }
    }

    pub fn scores(&self) -> Scores<'_> {
        Scores { loss: self.loss, metrics: &self.values }
    }
}
