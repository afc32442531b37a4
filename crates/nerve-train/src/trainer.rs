//! `Trainer`: epochs over the data.

mod cause;
mod health;
mod lr_find;
mod resume;

pub use cause::Cause;
pub use health::{Depth, Finding, Health};
pub use lr_find::{LrCurve, LrRange};

use crate::callback::{Callback, Control, Moment, StepEnd, TrainBegin};
use crate::checkpoint::{Position, Snapshot};
use crate::error::TrainError;
use crate::evaluate::{Evaluation, Evaluator, Tally};
use crate::goal::Goal;
use crate::heads::{Head, Heads};
use crate::history::{History, Row};
use crate::metrics::Metric;
use crate::plans::{Plans, Traced};
use nerve_core::{DType, Precision, Step, Var};
use nerve_data::Loader;
use nerve_nn::losses::Loss;
use nerve_nn::optim::{Core, Optimizer};
use nerve_nn::schedules::{Constant, Progress, Schedule};
use nerve_nn::{Context, Model};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Trains a network.
///
/// The step is traced once, for the full batch (and once more for a last batch that is smaller):
/// forward, loss, gradient, update. It is then replayed for each batch, and allocates nothing.
///
/// The same seed, data and options give the same parameters, bit for bit, on any number of
/// threads.
pub struct Trainer<'a> {
    model: &'a dyn Model,
    heads: Vec<Head<'a>>,
    optimizer: &'a dyn Optimizer,
    schedule: Box<dyn Schedule>,
    weighted: bool,
    /// Parameters and statistics of the network: what a snapshot holds of it.
    state: Vec<Var>,
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
    /// By what epochs are compared.
    pub goal: Goal,
    /// How long it may take: when the time is up, the epoch ends with the step in hand, is measured,
    /// and is the last. Counted from the start of this process.
    pub max_time: Option<Duration>,
    /// Once true, the training stops after the step in hand. For signal handlers.
    pub stop: Arc<AtomicBool>,
    /// After how many steps of an epoch callbacks are told, and may capture the training: 1 for each
    /// step. The loss of every step is looked at in any case, and an epoch counts all of them.
    pub steps_per_call: u64,
    /// Whether callbacks hear of the length of all gradients together
    /// ([`StepEnd::grad_norm`]): a pass over the gradients more, none where they are clipped by it.
    pub grad_norm: bool,
    /// What it goes on from: it ends with the same bits as one that was never stopped.
    pub from: Option<Arc<Snapshot>>,
}

impl Default for Options {
    /// 20 epochs from the beginning, seed 42, in full precision, nobody to stop it.
    fn default() -> Self {
        Options {
            epochs: 20,
            seed: 42,
            precision: Precision::Full,
            goal: Goal::default(),
            max_time: None,
            stop: Arc::default(),
            steps_per_call: 1,
            grad_norm: false,
            from: None,
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
    /// The loss of a batch was not a finite number; or a parameter was not, at the end of an epoch.
    /// Where the cause is known, the parameters are those before the step that it came up in; else
    /// they are of no use any more.
    Diverged {
        /// The epoch, counted from 1.
        epoch: u64,
        /// The step, counted from 1.
        step: u64,
        /// The loss.
        loss: f64,
        /// Where it came from, where that can be said: the state of the training is copied now and
        /// then, as long as it has less than a gigabyte, and the last steps are repeated from there.
        cause: Option<Box<Cause>>,
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

/// How an epoch ended.
enum Ended {
    /// All data were seen.
    Whole,
    /// Early, since the time is up, in words: it counts as an epoch.
    Late(String),
    /// With the training.
    With(Outcome),
}

/// What goes from epoch to epoch.
struct Run<'r, 'c> {
    history: History,
    /// The rate of the optimizer before a schedule changed it.
    base_rate: f64,
    rate: f64,
    /// Steps of the whole training, and of an epoch.
    total: u64,
    epoch: u64,
    /// Where the epoch that is running stands.
    position: Position,
    /// What the clock showed when the training began, had it never been stopped.
    began: Instant,
    past: cause::Past,
    /// How long it waited for data.
    waited: Duration,
    heads: Arc<Heads<'r>>,
    tally: Tally,
    /// When the time is up.
    end: Option<Instant>,
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
    /// A trainer of a network of one output for 20 epochs at a constant learning rate, without
    /// metrics.
    pub fn new(
        model: &'a dyn Model,
        loss: &'a dyn Loss,
        optimizer: &'a dyn Optimizer,
    ) -> Trainer<'a> {
        Trainer::with_heads(model, vec![Head::new("", loss)], optimizer)
    }

    /// The same for a network of as many outputs as there are heads.
    ///
    /// # Panics
    /// If there are none.
    #[track_caller]
    pub fn with_heads(
        model: &'a dyn Model,
        heads: Vec<Head<'a>>,
        optimizer: &'a dyn Optimizer,
    ) -> Trainer<'a> {
        assert!(!heads.is_empty(), "a network is trained for one head or more");
        let (schedule, options) = (Box::new(Constant), Options::default());
        Trainer { model, heads, optimizer, schedule, weighted: false, state: Vec::new(), options }
    }

    /// With these metrics of the first head.
    #[must_use]
    pub fn metrics(mut self, metrics: Vec<Box<dyn Metric>>) -> Self {
        self.heads[0].metrics = metrics;
        self
    }

    /// Whether the field behind the targets is the weight of each example in the losses (f32, no
    /// axes): the mean is weighted, Σ wᵢ ℓᵢ / Σ wᵢ. Metrics have no weights.
    #[must_use]
    pub fn weighted(self, weighted: bool) -> Self {
        Trainer { weighted, ..self }
    }

    /// With these variables as what a snapshot holds of the network: its parameters and statistics,
    /// [`Params::vars`](nerve_nn::Params::vars). Needed where callbacks capture the training, or it
    /// goes on from a snapshot.
    #[must_use]
    pub fn state(self, vars: Vec<Var>) -> Self {
        Trainer { state: vars, ..self }
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

    /// Trains on the data of `train`: its fields are the inputs, and then a target for each head.
    /// After each epoch loss and metrics are measured on `validation`.
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
        let mut run = self.begin(train, callbacks);
        if let Some(snapshot) = &self.options.from {
            self.go_on(&mut run, snapshot)?;
        }
        let (epochs, steps, position) = (self.options.epochs, train.batches(), run.position);
        run.tell(|callback, _, history| {
            let begin = TrainBegin { epochs, steps, position, history };
            callback.on_train_begin(&begin).map(|()| Control::Continue)
        })?;
        self.snapshot(&mut run, Moment::Begin)?;
        let outcome = self.epochs(&mut run, train, validation)?;
        run.tell(|callback, _, history| {
            callback.on_train_end(&outcome, history).map(|()| Control::Continue)
        })?;
        Ok(Fit { outcome, history: run.history, steps: run.position.step })
    }

    /// A training before its first step.
    fn begin<'r, 'c>(
        &'r self,
        train: &Loader,
        callbacks: &'r mut [&'c mut dyn Callback],
    ) -> Run<'r, 'c> {
        let rate = self.optimizer.learning_rate();
        let batches = train.batches();
        let heads = self.heads();
        let began = Instant::now();
        let goal = self.options.goal.clone();
        let mut tally = Tally::new(heads.scores().len());
        tally.batch.grad_norm = self.options.grad_norm.then_some(f32::NAN);
        Run {
            history: History { metrics: heads.names(), rows: Vec::new(), goal },
            base_rate: rate,
            rate,
            total: batches.unwrap_or(0) * self.options.epochs,
            epoch: batches.unwrap_or(0).max(1),
            position: Position::default(),
            began,
            past: cause::Past::default(),
            waited: Duration::ZERO,
            tally,
            heads,
            end: self.options.max_time.and_then(|time| began.checked_add(time)),
            callbacks,
        }
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
        self.plans(train, self.heads(), false)?.first(train, (self.options.seed, 1))
    }

    fn epochs(
        &self,
        run: &mut Run<'_, '_>,
        train: &Loader,
        validation: Option<&Loader>,
    ) -> Result<Outcome, TrainError> {
        let mut plans = self.plans(train, run.heads.clone(), self.options.grad_norm)?;
        let mut evaluator = self.evaluator();
        while run.position.epoch <= self.options.epochs {
            let epoch = run.position.epoch;
            self.optimizer.begin_epoch(epoch);
            run.tell(|callback, _, _| callback.on_epoch_begin(epoch).map(|()| Control::Continue))?;
            let mut stopped = None;
            match self.epoch(run, &mut plans, train)? {
                Ended::Whole if self.is_finite() => {}
                Ended::Whole => {
                    let outcome = self.diverged(run, &mut plans, train)?;
                    return self.leave(run, outcome);
                }
                Ended::Late(time) => stopped = Some(Outcome::Stopped(time)),
                Ended::With(outcome) => return self.leave(run, outcome),
            }
            // Averaged parameters are what is judged, and what callbacks save.
            self.optimizer.exchange_averages();
            let stop = &*self.options.stop;
            let validated = match validation {
                None => None,
                Some(loader) => match evaluator.evaluate_unless(loader, stop)? {
                    None => {
                        self.optimizer.exchange_averages();
                        let step = run.position.step;
                        return self.leave(run, Outcome::Interrupted { epoch, step });
                    }
                    all => all,
                },
            };
            run.tally.finish(&run.heads);
            self.record(run, validated);
            let wish = run.tell(|callback, _, history| callback.on_epoch_end(history))?;
            self.optimizer.exchange_averages();
            run.position = Position { epoch: epoch + 1, samples: 0, ..run.position };
            let best = run.history.last_is_best();
            self.snapshot(run, Moment::Epoch { epoch, best })?;
            if let Some(outcome) = wish.or(stopped) {
                return self.leave(run, outcome);
            }
        }
        self.leave(run, Outcome::Finished)
    }

    /// The end: the training is captured, and averages take the place of the parameters for good,
    /// unless it is to be continued or lost.
    fn leave(&self, run: &mut Run<'_, '_>, outcome: Outcome) -> Result<Outcome, TrainError> {
        if !matches!(outcome, Outcome::Diverged { .. }) {
            self.snapshot(run, Moment::End)?;
        }
        if matches!(outcome, Outcome::Finished | Outcome::Stopped(_)) {
            self.optimizer.exchange_averages();
        }
        Ok(outcome)
    }

    /// A row of the history for the epoch that has ended.
    fn record(&self, run: &mut Run<'_, '_>, validated: Option<Evaluation>) {
        let scores = run.tally.scores();
        let row = Row {
            epoch: run.position.epoch,
            step: run.position.step,
            time_s: run.began.elapsed().as_secs_f64(),
            lr: run.rate,
            loss: scores.loss,
            metrics: scores.metrics.to_vec(),
            val_loss: validated.as_ref().map(|all| all.loss),
            val_metrics: validated.map(|all| all.metrics).unwrap_or_default(),
        };
        self.tell_schedule(&row, &run.history.metrics);
        run.history.rows.push(row);
    }

    fn heads(&self) -> Arc<Heads<'_>> {
        Arc::new(Heads::new(self.heads.iter().map(Head::view).collect(), self.weighted))
    }

    fn evaluator(&self) -> Evaluator<'_> {
        Evaluator::with_heads(self.model, &self.heads).weighted(self.weighted)
    }

    fn plans<'p>(
        &'p self,
        train: &Loader,
        heads: Arc<Heads<'p>>,
        norm: bool,
    ) -> Result<Plans<'p>, TrainError> {
        let used = heads.used(self.model.input_count());
        Plans::new(train, used, self.traced(heads, norm), self.options.precision)
    }

    /// The step: forward, loss, gradient, update. With `norm` the length of the gradient is the last result.
    fn traced<'p>(&'p self, heads: Arc<Heads<'p>>, norm: bool) -> Traced<'p> {
        Box::new(move |args| {
            let (key, fields) = args.split_last().expect("the key");
            let cx = Context::train(key);
            let (inputs, fields) = fields.split_at(self.model.input_count());
            let (loss, mut results) = heads.results(&self.model.outputs(inputs, &cx), fields);
            let gradients = self.optimizer.gradients(&cx.penalized(&loss));
            let gradients = self.optimizer.core().gather(&gradients);
            if norm {
                results.push(Core::norm(&gradients).to_dtype(DType::F32));
            }
            self.optimizer.update(gradients);
            results
        })
    }

    /// One epoch, or what is left of it.
    fn epoch(
        &self,
        run: &mut Run<'_, '_>,
        plans: &mut Plans<'_>,
        train: &Loader,
    ) -> Result<Ended, TrainError> {
        let Position { epoch, samples, .. } = run.position;
        if samples == 0 {
            run.tally.clear();
        }
        let done = samples.div_ceil(train.options().batch_size as u64);
        // The loader counts epochs from 0.
        let mut batches = train.epoch(epoch - 1, samples);
        for step_in_epoch in done + 1.. {
            let asked = Instant::now();
            let Some(batch) = batches.next() else { break };
            run.waited += asked.elapsed();
            if self.options.stop.load(Ordering::Relaxed) {
                let step = run.position.step;
                return Ok(Ended::With(Outcome::Interrupted { epoch, step }));
            }
            let batch = batch?;
            self.follow_schedule(run);
            let step = run.position.step + 1;
            let key = (self.options.seed, step);
            if !self.keep(&mut run.past, plans, &batch, run.position) {
                return Ok(Ended::With(self.diverged(run, plans, train)?));
            }
            plans.run(&batch, epoch, key, &mut run.tally.batch)?;
            run.position.step = step;
            let loss = f64::from(run.tally.batch.loss);
            if !loss.is_finite() {
                return Ok(Ended::With(self.diverged(run, plans, train)?));
            }
            run.position.samples = batch.end();
            let due = step_in_epoch % self.options.steps_per_call.max(1) == 0;
            run.tally.add(&batch, self.model.input_count(), &run.heads, due);
            let (lr, waited) = (run.rate, run.waited.as_secs_f64());
            let grad_norm = run.tally.batch.grad_norm.map(f64::from);
            let tell = |run: &mut Run<'_, '_>| {
                run.tell(|callback, tally, _| {
                    let scores = tally.scores();
                    let end =
                        StepEnd { epoch, step_in_epoch, step, loss, scores, lr, grad_norm, waited };
                    callback.on_step_end(&end)
                })
            };
            if due && let Some(outcome) = tell(run)? {
                return Ok(Ended::With(outcome));
            }
            if run.end.is_some_and(|end| Instant::now() >= end) {
                let time = self.options.max_time.unwrap_or_default();
                return Ok(Ended::Late(format!("the time of {time:?} is up")));
            }
            if due {
                self.snapshot(run, Moment::Step { step })?;
            }
        }
        Ok(Ended::Whole)
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
        let at = Progress { step: run.position.step, total: run.total, epoch: run.epoch };
        let rate = self.schedule.rate(run.base_rate, at);
        if rate != run.rate {
            self.optimizer.set_learning_rate(rate);
            run.rate = rate;
        }
    }
}
