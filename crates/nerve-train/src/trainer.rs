//! `Trainer`: epochs over the data.

use crate::callback::{Callback, Control, StepEnd, TrainBegin};
use crate::error::TrainError;
use crate::evaluate::{Evaluation, Evaluator, Tally, results};
use crate::history::{History, Row};
use crate::metrics::Metric;
use crate::plans::{Plans, Traced};
use nerve_core::{Precision, Step};
use nerve_data::Loader;
use nerve_nn::losses::Loss;
use nerve_nn::optim::Optimizer;
use nerve_nn::schedules::{Constant, Progress, Schedule};
use nerve_nn::{Context, Layer};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Trains a network.
///
/// The step is traced once, for the full batch (and once more for a last batch that is smaller):
/// forward, loss, gradient, update. It is then replayed for each batch, and allocates nothing.
///
/// The same seed, data and options give the same parameters, bit for bit, on any number of
/// threads.
pub struct Trainer<'a> {
    model: &'a dyn Layer,
    loss: &'a dyn Loss,
    optimizer: &'a dyn Optimizer,
    schedule: Box<dyn Schedule>,
    metrics: Vec<Box<dyn Metric>>,
    weighted: bool,
    options: Options,
}

/// How a network is trained.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many times each example is seen.
    pub epochs: u64,
    /// The seed of what is random in a step (dropout). The order of the data has that of the
    /// loader.
    pub seed: u64,
    /// How exactly the matrix products of a step take their operands. Parameters, gradients and
    /// all else have single precision in any case, and so has the evaluation.
    pub precision: Precision,
    /// Once true, the training stops after the step in hand. For signal handlers.
    pub stop: Arc<AtomicBool>,
    /// Epochs and steps that are done already: a training that continues another, from its
    /// parameters and the slots of its optimizer, ends with the same bits as one that was never
    /// stopped.
    pub done: Done,
}

/// How much of a training is done already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Whole epochs.
    pub epochs: u64,
    /// The steps in them.
    pub steps: u64,
}

impl Default for Options {
    /// 20 epochs from the beginning, seed 42, in full precision, nobody to stop it.
    fn default() -> Self {
        Options {
            epochs: 20,
            seed: 42,
            precision: Precision::Full,
            stop: Arc::default(),
            done: Done::default(),
        }
    }
}

/// How a training ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// After all epochs.
    Finished,
    /// By a callback, for this reason: as good as finished.
    Stopped(String),
    /// By [`Options::stop`], after `step` steps.
    Interrupted {
        /// The epoch it was in, counted from 1.
        epoch: u64,
        /// Steps since the training began.
        step: u64,
    },
    /// The loss of a batch was not a finite number: the parameters are of no use any more.
    Diverged {
        /// The epoch, counted from 1.
        epoch: u64,
        /// The step, counted from 1.
        step: u64,
        /// The loss.
        loss: f64,
    },
}

/// What a training gives.
#[derive(Clone, Debug)]
pub struct Fit {
    /// How it ended.
    pub outcome: Outcome,
    /// Its whole epochs.
    pub history: History,
    /// Steps since the training began.
    pub steps: u64,
}

/// What goes from epoch to epoch.
struct Run<'r, 'c> {
    history: History,
    step: u64,
    /// The rate of the optimizer before a schedule changed it.
    base_rate: f64,
    rate: f64,
    /// Steps of the whole training, and of an epoch.
    total: u64,
    epoch: u64,
    tally: Tally,
    callbacks: &'r mut [&'c mut dyn Callback],
}

impl Run<'_, '_> {
    /// Tells each callback; gives the first wish to stop.
    fn tell(
        &mut self,
        mut event: impl FnMut(
            &mut dyn Callback,
            &Tally,
            &History,
        ) -> Result<Control, crate::CallbackError>,
    ) -> Result<Option<Outcome>, TrainError> {
        let mut wish = None;
        for callback in &mut *self.callbacks {
            let control = event(&mut **callback, &self.tally, &self.history);
            if let Control::Stop(reason) = control.map_err(TrainError::Callback)? {
                wish.get_or_insert(Outcome::Stopped(reason));
            }
        }
        Ok(wish)
    }
}

impl<'a> Trainer<'a> {
    /// A trainer for 20 epochs at a constant learning rate, without metrics.
    pub fn new(
        model: &'a dyn Layer,
        loss: &'a dyn Loss,
        optimizer: &'a dyn Optimizer,
    ) -> Trainer<'a> {
        let (schedule, metrics) = (Box::new(Constant), Vec::new());
        let options = Options::default();
        Trainer { model, loss, optimizer, schedule, metrics, weighted: false, options }
    }

    /// With these metrics.
    #[must_use]
    pub fn metrics(self, metrics: Vec<Box<dyn Metric>>) -> Self {
        Trainer { metrics, ..self }
    }

    /// Whether field 2 of the data is the weight of each example in the loss (f32, no axes): the
    /// mean is weighted, Σ wᵢ ℓᵢ / Σ wᵢ. Metrics have no weights.
    #[must_use]
    pub fn weighted(self, weighted: bool) -> Self {
        Trainer { weighted, ..self }
    }

    /// With these options.
    #[must_use]
    pub fn options(self, options: Options) -> Self {
        Trainer { options, ..self }
    }

    /// With this schedule of the learning rate.
    #[must_use]
    pub fn schedule(self, schedule: Box<dyn Schedule>) -> Self {
        Trainer { schedule, ..self }
    }

    /// Trains on the data of `train`: field 0 is the input, field 1 the target. After each epoch
    /// loss and metrics are measured on `validation`.
    ///
    /// Where the optimizer keeps averages ([`Averaged`](nerve_nn::optim::Averaged)), they take the
    /// place of the parameters for the measurement and for callbacks after an epoch, and for good
    /// when the training is finished or a callback stops it; a training that was interrupted, or
    /// diverged, leaves the parameters themselves. To train on after the end, call
    /// `exchange_averages` first.
    ///
    /// # Errors
    /// Those of the data and of the callbacks; a class out of range. A loss that is not finite is
    /// no error but an [`Outcome`], so that the history is not lost.
    ///
    /// # Panics
    /// If the shapes of the data do not fit the network, or the output of the network the loss.
    pub fn fit(
        &self,
        train: &Loader,
        validation: Option<&Loader>,
        callbacks: &mut [&mut dyn Callback],
    ) -> Result<Fit, TrainError> {
        let rate = self.optimizer.learning_rate();
        let batches = train.batches();
        let mut run = Run {
            history: History {
                metrics: self.metrics.iter().map(|metric| metric.name()).collect(),
                rows: Vec::new(),
            },
            step: self.options.done.steps,
            base_rate: rate,
            rate,
            total: batches.unwrap_or(0) * self.options.epochs,
            epoch: batches.unwrap_or(0).max(1),
            tally: Tally::new(self.metrics.len()),
            callbacks,
        };
        let epochs = self.options.epochs;
        run.tell(|callback, _, history| {
            let begin = TrainBegin { epochs, steps: batches, metrics: &history.metrics };
            callback.on_train_begin(&begin).map(|()| Control::Continue)
        })?;
        let outcome = self.epochs(&mut run, train, validation)?;
        run.tell(|callback, _, history| {
            callback.on_train_end(&outcome, history).map(|()| Control::Continue)
        })?;
        Ok(Fit { outcome, history: run.history, steps: run.step })
    }

    /// Loss and metrics on data, without training.
    ///
    /// # Errors
    /// As [`Evaluator::evaluate`].
    ///
    /// # Panics
    /// As [`Evaluator::evaluate`].
    pub fn evaluate(&self, loader: &Loader) -> Result<Evaluation, TrainError> {
        self.evaluator().evaluate(loader)
    }

    /// The compiled training step with the first batch of `train` in it, and the rows of that
    /// batch: to look at, or to run and to time by itself.
    ///
    /// # Errors
    /// Those of the data; [`DataError::Empty`](nerve_data::DataError::Empty) if there are none.
    ///
    /// # Panics
    /// As [`Trainer::fit`].
    pub fn first_step(&self, train: &Loader) -> Result<(Step, usize), TrainError> {
        self.plans(train)?.first(train, (self.options.seed, 1))
    }

    fn epochs(
        &self,
        run: &mut Run<'_, '_>,
        train: &Loader,
        validation: Option<&Loader>,
    ) -> Result<Outcome, TrainError> {
        let begin = Instant::now();
        let mut plans = self.plans(train)?;
        let mut evaluator = self.evaluator();
        for epoch in self.options.done.epochs + 1..=self.options.epochs {
            run.tell(|callback, _, _| callback.on_epoch_begin(epoch).map(|()| Control::Continue))?;
            if let Some(outcome) = self.epoch(run, &mut plans, train, epoch)? {
                return Ok(outcome);
            }
            // Averaged parameters are what is judged, and what callbacks save.
            self.optimizer.exchange_averages();
            let stop = &*self.options.stop;
            let validated = match validation {
                None => None,
                Some(loader) => match evaluator.evaluate_unless(loader, stop)? {
                    None => {
                        self.optimizer.exchange_averages();
                        return Ok(Outcome::Interrupted { epoch, step: run.step });
                    }
                    all => all,
                },
            };
            run.tally.finish(&self.metrics);
            let scores = run.tally.scores();
            let row = Row {
                epoch,
                step: run.step,
                time_s: begin.elapsed().as_secs_f64(),
                lr: run.rate,
                loss: scores.loss,
                metrics: scores.metrics.to_vec(),
                val_loss: validated.as_ref().map(|all| all.loss),
                val_metrics: validated.map(|all| all.metrics).unwrap_or_default(),
            };
            self.tell_schedule(&row, &run.history.metrics);
            run.history.rows.push(row);
            if let Some(outcome) =
                run.tell(|callback, _, history| callback.on_epoch_end(history))?
            {
                return Ok(outcome);
            }
            if epoch < self.options.epochs {
                self.optimizer.exchange_averages();
            }
        }
        Ok(Outcome::Finished)
    }

    fn evaluator(&self) -> Evaluator<'_> {
        Evaluator::new(self.model, self.loss, &self.metrics).weighted(self.weighted)
    }

    fn plans(&self, train: &Loader) -> Result<Plans<'_>, TrainError> {
        let used = 2 + usize::from(self.weighted);
        Plans::new(train, used, self.traced(), self.options.precision)
    }

    /// The step: forward, loss, gradient, update.
    fn traced(&self) -> Traced<'_> {
        Box::new(|args| {
            let (key, fields) = args.split_last().expect("the key");
            let cx = Context::train(key);
            let output = self.model.forward(&fields[0], &cx);
            let (loss, results) = results(self.loss, &self.metrics, &output, fields);
            self.optimizer.minimize(&cx.penalized(&loss));
            results
        })
    }

    /// One epoch; an outcome if the training ends in it.
    fn epoch(
        &self,
        run: &mut Run<'_, '_>,
        plans: &mut Plans<'_>,
        train: &Loader,
        epoch: u64,
    ) -> Result<Option<Outcome>, TrainError> {
        run.tally.clear();
        // The loader counts epochs from 0.
        for (i, batch) in train.epoch(epoch - 1, 0).enumerate() {
            if self.options.stop.load(Ordering::Relaxed) {
                return Ok(Some(Outcome::Interrupted { epoch, step: run.step }));
            }
            let batch = batch?;
            self.follow_schedule(run);
            run.step += 1;
            let key = (self.options.seed, run.step);
            plans.run(&batch, epoch, key, &mut run.tally.batch)?;
            let (step, loss) = (run.step, f64::from(run.tally.batch.loss));
            if !loss.is_finite() {
                return Ok(Some(Outcome::Diverged { epoch, step, loss }));
            }
            run.tally.add(&batch, &self.metrics, true);
            let wish = run.tell(|callback, tally, _| {
                let (step_in_epoch, scores) = (i as u64 + 1, tally.scores());
                callback.on_step_end(&StepEnd { epoch, step_in_epoch, step, loss, scores })
            })?;
            if wish.is_some() {
                return Ok(wish);
            }
        }
        Ok(None)
    }

    /// Tells the schedule what the epoch has reached, under the names of the history.
    fn tell_schedule(&self, row: &Row, metrics: &[String]) {
        let val: Vec<String> = metrics.iter().map(|name| format!("val_{name}")).collect();
        let names = metrics.iter().zip(&row.metrics).chain(val.iter().zip(&row.val_metrics));
        let mut scores = vec![("loss", row.loss)];
        scores.extend(row.val_loss.map(|loss| ("val_loss", loss)));
        scores.extend(names.map(|(name, &score)| (name.as_str(), score)));
        self.schedule.observe(&scores);
    }

    fn follow_schedule(&self, run: &mut Run<'_, '_>) {
        let at = Progress { step: run.step, total: run.total, epoch: run.epoch };
        let rate = self.schedule.rate(run.base_rate, at);
        if rate != run.rate {
            self.optimizer.set_learning_rate(rate);
            run.rate = rate;
        }
    }
}
