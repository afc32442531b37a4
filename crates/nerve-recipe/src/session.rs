//! From a checked recipe to a training: data, network, loss, optimizer, metrics put together.

use crate::data::{Data, Part, Tables};
use crate::diagnostic::{Code, Diagnostic, Report};
use crate::features::{Features, Fitted};
use crate::health;
use crate::machine;
use crate::model::{self, Card};
use crate::network::Network;
use crate::predictor::Predictor;
use crate::recipe::{Recipe, path};
use crate::summary::Summary;
use crate::trial::Trial;
use nerve_core::{Precision, Step, Var};
use nerve_data::{DataError, Loader, LoaderOptions};
use nerve_formats::spec::Target;
use nerve_formats::{FormatError, SafeTensors, write_safetensors};
use nerve_nn::Model;
use nerve_nn::lora::{Adapted, Adapters};
use nerve_nn::losses;
use nerve_nn::optim::Optimizer;
use nerve_nn::schedules;
use nerve_nn::state::{self, LoadError, save_safetensors};
use nerve_nn::transfer::{self, Transfer};
use nerve_track::{EventLog, RunFolder};
use nerve_train::metrics;
use nerve_train::{
    Background, Callback, CallbackError, Control, Evaluation, Evaluator, Fit, Head, Health,
    History, LrCurve, LrRange, Options, Outcome, Snapshot, TrainError, Trainer, first_use,
};
use serde_json::json;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// Why a recipe cannot be trained.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The recipe does not fit its data or this machine.
    #[error(transparent)]
    Recipe(#[from] Report),
    /// The data are missing, damaged or do not fit.
    #[error(transparent)]
    Data(#[from] DataError),
}

/// Everything that a training needs, ready to begin.
pub struct Session {
    /// The recipe, its columns described.
    pub recipe: Recipe,
    /// The data.
    pub data: Data,
    /// The network.
    pub network: Network,
    /// The layer table.
    pub summary: Summary,
    /// The network with its adapters, if it has any: what is trained.
    trained: Arc<dyn Model>,
    adapters: Option<Arc<Adapters>>,
    optimizer: Box<dyn Optimizer>,
    /// Whether it is only tried, on few of the data.
    pub(crate) trial: Option<Trial>,
}

impl Session {
    /// Reads the data and makes a fresh network.
    ///
    /// # Errors
    /// The data cannot be read, the layers do not fit them, or the memory does not suffice.
    pub fn new(recipe: &Recipe) -> Result<Self, SessionError> {
        Session::of(recipe.read()?)
    }

    /// The same with data that were read already.
    ///
    /// # Errors
    /// As [`Session::new`].
    pub fn with(recipe: &Recipe, tables: &Tables) -> Result<Self, SessionError> {
        Session::of(recipe.checked(tables)?)
    }

    /// A fresh network of another recipe on the data of this one as they are: what the two say of data and columns
    /// must be the same.
    ///
    /// # Errors
    /// The layers do not fit the data, or the memory does not suffice.
    pub fn beside(&self, recipe: &Recipe) -> Result<Self, SessionError> {
        let (mut recipe, data) = (recipe.clone(), self.data.clone());
        (recipe.inputs, recipe.outputs) = (self.recipe.inputs.clone(), self.recipe.outputs.clone());
        let summary = recipe.summary(&data.features, data.examples(), machine::memory())?;
        Session::of(Checked { recipe, data, summary })
    }

    fn of(Checked { recipe, data, summary }: Checked) -> Result<Self, SessionError> {
        let network = Network::new(&recipe, &data.features).map_err(|message| {
            let span = recipe.place(&path("model", "layers"), Target::Key);
            recipe.refuse(Diagnostic::new(Code::Shape, message, Some(span)))
        })?;
        let adapters = recipe.prepare_network(&network)?.map(Arc::new);
        let trained: Arc<dyn Model> = match &adapters {
            None => network.model.clone(),
            Some(adapters) => {
                let (network, adapters) = (network.model.clone(), adapters.clone());
                Arc::new(Adapted { network, adapters })
            }
        };
        let optimizer = recipe.optimizer(&network.params)?;
        let trial = None;
        let session =
            Session { recipe, data, network, summary, trained, adapters, optimizer, trial };
        session.recipe.check_scores(&session.scores())?;
        Ok(session)
    }

    /// Trains, from the beginning or from a snapshot; `stop` ends it after the step in hand.
    ///
    /// # Errors
    /// Those of the data and of the callbacks.
    pub fn fit(
        &self,
        stop: Arc<AtomicBool>,
        from: Option<Arc<Snapshot>>,
        callbacks: &mut [&mut dyn Callback],
    ) -> Result<Fit, TrainError> {
        self.fit_logged(stop, from, callbacks, None)
    }

    /// The same; what `[log] histograms` asks for is written down.
    ///
    /// # Errors
    /// As [`fit`](Session::fit).
    pub fn fit_logged(
        &self,
        stop: Arc<AtomicBool>,
        from: Option<Arc<Snapshot>>,
        callbacks: &mut [&mut dyn Callback],
        log: Option<EventLog>,
    ) -> Result<Fit, TrainError> {
        let train = self.loader(&self.data.train, true)?;
        let validation =
            self.data.validation.as_ref().map(|part| self.loader(part, false)).transpose()?;
        let trainer = self.trainer(stop, from);
        let mut early = self.recipe.early_stopping(&self.network.params);
        if self.trial.is_some() {
            early = None;
        }
        let mut health = log.zip(self.recipe.depth()).map(|(log, depth)| {
            let write = move |epoch, step, found| health::write(&log, (epoch, step), found);
            Health::new(&trainer, &train, depth, write)
        });
        // Borrowed anew, for as long as the trainer lives and no longer. What saves stands behind what restores.
        let others = callbacks.iter_mut().map(|callback| &mut **callback as &mut dyn Callback);
        let early = early.iter_mut().map(|early| early as &mut dyn Callback);
        let health = health.iter_mut().map(|health| health as &mut dyn Callback);
        let mut callbacks: Vec<&mut dyn Callback> = early.chain(others).chain(health).collect();
        trainer.fit(&train, validation.as_ref(), &mut callbacks)
    }

    fn trainer(&self, stop: Arc<AtomicBool>, from: Option<Arc<Snapshot>>) -> Trainer<'_> {
        let trainer = &self.recipe.trainer;
        let options = Options {
            epochs: trainer.usize("epochs") as u64,
            seed: self.recipe.seed(),
            precision: match trainer.text("precision") {
                "bf16" => Precision::Bf16,
                _ => Precision::Full,
            },
            max_time: trainer
                .has("max_minutes")
                .then(|| Duration::from_secs_f64(60.0 * trainer.float("max_minutes"))),
            goal: self.recipe.goal(),
            steps_per_call: trainer.usize("steps_per_call") as u64,
            grad_norm: self.recipe.grad_norm(),
            stop,
            from,
        };
        Trainer::with_heads(&*self.trained, self.heads(), &*self.optimizer)
            .weighted(self.data.weighted)
            .schedule(schedules::build(trainer.item("schedule")))
            .state(self.vars())
            .options(options)
    }

    fn heads(&self) -> Vec<Head<'static>> {
        self.recipe.heads(&self.data.features)
    }

    /// One compiled step with a batch of the training data in it, and its rows, to be timed: of
    /// training, or of the network in use. Running the former trains the network.
    ///
    /// # Errors
    /// Those of the data.
    pub fn step(&self, training: bool) -> Result<(Step, usize), TrainError> {
        let loader = self.loader(&self.data.train, training)?;
        match training {
            true => self.trainer(Arc::default(), None).first_step(&loader),
            false => first_use(&*self.trained, &loader),
        }
    }

    /// The learning-rate range test; see [`Trainer::find_learning_rate`]. The network is afterwards
    /// what it was.
    ///
    /// # Errors
    /// Those of the data.
    pub fn find_learning_rate(&self, range: LrRange) -> Result<LrCurve, TrainError> {
        let train = self.loader(&self.data.train, true)?;
        self.trainer(Arc::default(), None).find_learning_rate(&train, range)
    }

    /// The loss on the data that watch the training, or on the training data where none do.
    ///
    /// # Errors
    /// Those of the data.
    pub fn watched(&self) -> Result<f64, TrainError> {
        let loader =
            self.loader(self.data.validation.as_ref().unwrap_or(&self.data.train), false)?;
        Ok(self.trainer(Arc::default(), None).evaluate(&loader)?.loss)
    }

    /// Measures the network on the test data; `None` where there are none.
    ///
    /// # Errors
    /// Those of the data.
    pub fn test(&self) -> Result<Option<Evaluation>, TrainError> {
        let Some(test) = &self.data.test else { return Ok(None) };
        let loader = self.loader(test, false)?;
        let heads = self.heads();
        Evaluator::with_heads(&*self.trained, &heads).evaluate(&loader).map(Some)
    }

    /// The network as it is now, to be asked: as a model file would give it.
    pub fn predictor(&self) -> Predictor {
        let card = self.card();
        let network = Network { params: self.network.params.clone(), model: self.trained.clone() };
        Predictor { card, network }
    }

    /// The names of what is measured beside the loss.
    pub fn metrics(&self) -> Vec<String> {
        let heads = self.heads();
        Evaluator::with_heads(&*self.trained, &heads).names()
    }

    /// The names of all that is measured after an epoch.
    pub(crate) fn scores(&self) -> Vec<String> {
        let own: Vec<String> = std::iter::once("loss".to_string()).chain(self.metrics()).collect();
        let watched = own.iter().filter(|_| self.data.validation.is_some());
        watched.map(|name| format!("val_{name}")).chain(own.iter().cloned()).collect()
    }

    /// Writes the model file of a run, whole or not at all.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn save(&self, run: &RunFolder, history: &History) -> Result<(), FormatError> {
        let metadata = model::with_training(self.card().metadata(), trained(history));
        save_safetensors(run.model(), &self.shipped(), &metadata)
    }

    /// Takes parameters over from a file of tensors.
    ///
    /// # Errors
    /// As [`Transfer::load`].
    pub fn take_over(
        &self,
        transfer: &Transfer,
        file: &SafeTensors,
    ) -> Result<transfer::Report, LoadError> {
        transfer.load(&self.network.params, file)
    }

    /// Writes a model file of the network as it is, whole or not at all.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn write(&self, path: &Path) -> Result<(), FormatError> {
        save_safetensors(path, &self.shipped(), &self.card().metadata())
    }

    /// What a model file says beside its numbers, before the training.
    fn card(&self) -> Card {
        let (recipe, features) = (self.recipe.clone(), self.data.features.clone());
        Card { recipe, features, trained: serde_json::Value::Null }
    }

    /// What is saved is a network as its layers describe it, with nothing beside them.
    fn shipped(&self) -> Vec<Var> {
        match &self.adapters {
            None => self.vars(),
            Some(adapters) => adapters.merged(&self.network.params),
        }
    }

    /// All that training changes of the network.
    fn vars(&self) -> Vec<Var> {
        self.network.params.vars()
    }

    fn loader(&self, part: &Part, training: bool) -> Result<Loader, DataError> {
        let options = LoaderOptions {
            batch_size: self.recipe.trainer.usize("batch_size"),
            shuffle: training && self.recipe.trainer.bool("shuffle"),
            seed: self.recipe.seed(),
            shuffle_buffer: self.recipe.data.usize("shuffle_buffer"),
            ..LoaderOptions::default()
        };
        // What should be learned by heart stays as it is.
        let varied = training && !matches!(self.trial, Some(Trial::Overfit(_)));
        let mut pipeline = self.data.features.pipeline(part.fields(), varied)?;
        if varied && self.recipe.trainer.has("mix") {
            pipeline = self.recipe.mixed(&self.data.features, pipeline)?;
        }
        let loader = match part {
            Part::Streamed(stream) => Loader::stream(stream.clone(), options)?,
            Part::Kept { dataset, rows } => {
                let draws = varied.then(|| self.recipe.sampler(&self.data.features, rows));
                match draws.transpose()?.flatten() {
                    Some(sampler) => Loader::sampled(dataset.clone(), Arc::new(sampler), options)?,
                    None => Loader::new(dataset.clone(), options)?,
                }
            }
        };
        loader.with_pipeline(pipeline)
    }
}

/// A recipe that fits its data.
pub struct Checked {
    /// The recipe, its columns described.
    pub recipe: Recipe,
    /// The data.
    pub data: Data,
    /// The layer table.
    pub summary: Summary,
}

impl Recipe {
    /// Compares the recipe with its data, and prepares them.
    ///
    /// # Errors
    /// As [`Session::new`].
    pub fn checked(&self, tables: &Tables) -> Result<Checked, SessionError> {
        let recipe = self.described(&tables.train.table)?;
        let data = recipe.prepare(tables)?;
        recipe.fits(data)
    }

    /// Reads the data as far as it must, compares the recipe with them, and prepares them: all rows are read into memory,
    /// or, with `stream = true`, read through once.
    ///
    /// # Errors
    /// As [`Session::new`].
    pub fn read(&self) -> Result<Checked, SessionError> {
        if !self.data.bool("stream") {
            return self.checked(&self.tables()?);
        }
        let (recipe, data) = self.streamed()?;
        recipe.fits(data)
    }

    fn fits(self, data: Data) -> Result<Checked, SessionError> {
        let summary = self.summary(&data.features, data.examples(), machine::memory())?;
        Ok(Checked { recipe: self, data, summary })
    }
}

/// What the last epoch reached, for the model file.
fn trained(history: &History) -> serde_json::Value {
    let Some(row) = history.last() else { return json!({ "epochs": 0 }) };
    let mut value = json!({ "epochs": row.epoch, "steps": row.step, "loss": row.loss });
    for (name, score) in history.metrics.iter().zip(&row.metrics) {
        value[name] = json!(score);
    }
    if let Some(loss) = row.val_loss {
        value["val_loss"] = json!(loss);
    }
    for (name, score) in history.metrics.iter().zip(&row.val_metrics) {
        value[format!("val_{name}")] = json!(score);
    }
    value
}

/// Keeps the model file of a run up to date: after every epoch, or after those that are the best
/// where the best is what the training is for.
///
/// It is written by a [`Background`]. A disk that is full does not end the training; it is told, and
/// tried again at the next epoch.
pub struct Keeper<'a, W: FnMut(&str)> {
    session: &'a Session,
    run: &'a RunFolder,
    background: Arc<Background>,
    metadata: Arc<Vec<(String, String)>>,
    only_best: bool,
    warn: W,
    /// What was told, and when.
    told: HashMap<String, Instant>,
}

/// How long the same problem is not told again.
const TOLD: Duration = Duration::from_secs(60);

impl<'a, W: FnMut(&str)> Keeper<'a, W> {
    /// For a session and its run folder; `warn` hears of what the background could not write.
    pub fn new(
        session: &'a Session,
        run: &'a RunFolder,
        background: Arc<Background>,
        warn: W,
    ) -> Self {
        let metadata = Arc::new(session.card().metadata());
        let only_best = session.recipe.trainer.has("early_stop");
        let told = HashMap::new();
        Keeper { session, run, background, metadata, only_best, warn, told }
    }

    fn warn(&mut self) {
        for problem in self.background.problems() {
            // Names of temporary files differ by their numbers alone. A disk that is full is told once, not in each epoch.
            let kind: String = problem.chars().filter(|c| !c.is_ascii_digit()).collect();
            let known = self.told.get(&kind).is_some_and(|told| told.elapsed() < TOLD);
            if !known {
                self.told.insert(kind, Instant::now());
                (self.warn)(&format!("{problem}; the training goes on"));
            }
        }
    }
}

impl<W: FnMut(&str)> Callback for Keeper<'_, W> {
    fn on_epoch_end(&mut self, history: &History) -> Result<Control, CallbackError> {
        self.warn();
        if self.only_best && !history.last_is_best() {
            return Ok(Control::Continue);
        }
        let state = state::of(&self.session.shipped());
        let (metadata, trained, path) = (self.metadata.clone(), trained(history), self.run.model());
        self.background.submit("model", move || {
            let metadata = model::with_training(metadata.to_vec(), trained);
            write_safetensors(path, &state::tensors(&state), &metadata)
                .map_err(|error| error.to_string())
        });
        Ok(Control::Continue)
    }

    fn on_train_end(&mut self, _: &Outcome, _: &History) -> Result<(), CallbackError> {
        self.background.flush();
        self.warn();
        Ok(())
    }
}

impl Recipe {
    /// What the network is trained for.
    pub(crate) fn heads(&self, features: &Features) -> Vec<Head<'static>> {
        let head = |output: &Fitted| {
            let (loss, metrics) = self.judged_by(output);
            let metrics = metrics.iter().map(metrics::build).collect();
            let weight = output.column.args.float("weight");
            Head { metrics, weight, ..Head::new(&*output.column.name, losses::build(&loss)) }
        };
        features.outputs.iter().map(head).collect()
    }
}
