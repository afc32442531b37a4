//! From a checked recipe to a training: data, network, loss, optimizer, metrics put together.

use crate::data::{Prepared, serving};
use crate::diagnostic::{Code, Diagnostic, Report};
use crate::machine;
use crate::model::Card;
use crate::predictor::{ModelError, Network, Predictor};
use crate::recipe::{Recipe, items, path};
use crate::run::{HISTORY, RunFolder};
use nerve_core::{Precision, Step};
use nerve_data::{DataError, Dataset, Loader, LoaderOptions, labels, mnist};
use nerve_formats::FormatError;
use nerve_formats::spec::{Item, Target};
use nerve_nn::Layer;
use nerve_nn::lora::{Adapters, Lora};
use nerve_nn::losses::{self, Loss};
use nerve_nn::optim::Optimizer;
use nerve_nn::schedules;
use nerve_nn::state::save_safetensors;
use nerve_train::metrics::{self, Metric};
use nerve_train::{
    Callback, CallbackError, Control, Evaluation, Evaluator, Fit, History, Options, TrainError,
    Trainer, first_use,
};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

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
    recipe: Recipe,
    /// The data.
    pub data: Prepared,
    /// The network.
    pub network: Network,
    /// The network with its adapters, if it has any: what is trained.
    trained: Arc<dyn Layer>,
    adapters: Option<Arc<Adapters>>,
    /// What will stand in the model file beside the numbers.
    pub card: Card,
    loss: Box<dyn Loss>,
    optimizer: Box<dyn Optimizer>,
    metrics: Vec<Item>,
    epochs: u64,
    batch: usize,
    seed: u64,
    precision: Precision,
}

impl Session {
    /// Reads the data and makes a fresh network.
    ///
    /// # Errors
    /// The data cannot be read, the layers do not fit them, or the memory does not suffice.
    pub fn new(recipe: &Recipe) -> Result<Self, SessionError> {
        let data = recipe.prepare_data()?;
        recipe.summary(&data.input, machine::memory())?;
        let zscore = recipe.data.text("normalize") == "zscore";
        let mean = |numbers: &[f64]| numbers.iter().sum::<f64>() / numbers.len().max(1) as f64;
        let card = Card {
            layers: recipe.layers.clone(),
            input: data.input.shape.clone(),
            normalization: data.normalization.clone(),
            mean: data.normalization.as_ref().filter(|_| zscore).map(|n| mean(&n.subtract)),
            labels: data.input.labels.clone(),
            recipe: recipe.resolved(),
            trained: serde_json::Value::Null,
        };
        let at_model = |message: String| {
            let span = recipe.place(&path("model", "layers"), Target::Key);
            recipe.refuse(Diagnostic::new(Code::Shape, message, Some(span)))
        };
        let network = Network::new(&card, recipe.seed()).map_err(at_model)?;
        let adapters = recipe.prepare_network(&network)?;
        let plain: Arc<dyn Layer> = network.model.clone();
        let (adapters, trained) = match adapters {
            None => (None, plain),
            Some(adapters) => {
                let adapters = Arc::new(adapters);
                let adapted = Lora::with(plain, adapters.clone());
                (Some(adapters), Arc::new(adapted) as Arc<dyn Layer>)
            }
        };
        let optimizer = recipe.optimizer(&network.params)?;
        Ok(Session {
            recipe: recipe.clone(),
            loss: losses::build(recipe.trainer.item("loss")),
            metrics: items(&recipe.trainer, "metrics"),
            epochs: recipe.trainer.usize("epochs") as u64,
            batch: recipe.trainer.usize("batch_size"),
            seed: recipe.seed(),
            precision: match recipe.trainer.text("precision") {
                "bf16" => Precision::Bf16,
                _ => Precision::Full,
            },
            data,
            network,
            trained,
            adapters,
            card,
            optimizer,
        })
    }

    /// Trains; `stop` ends it after the step in hand.
    ///
    /// # Errors
    /// Those of the data and of the callbacks.
    pub fn fit(
        &self,
        stop: Arc<AtomicBool>,
        callbacks: &mut [&mut dyn Callback],
    ) -> Result<Fit, TrainError> {
        let train = self.loader(&self.data.train, true)?;
        let validation =
            self.data.validation.as_ref().map(|data| self.loader(data, false)).transpose()?;
        let trainer = self.trainer(stop);
        // Borrowed anew, for as long as the trainer lives and no longer.
        let mut callbacks: Vec<&mut dyn Callback> =
            callbacks.iter_mut().map(|callback| &mut **callback as &mut dyn Callback).collect();
        trainer.fit(&train, validation.as_ref(), &mut callbacks)
    }

    fn trainer(&self, stop: Arc<AtomicBool>) -> Trainer<'_> {
        let options = Options {
            epochs: self.epochs,
            seed: self.seed,
            precision: self.precision,
            stop,
            ..Options::default()
        };
        Trainer::new(&self.trained, &*self.loss, &*self.optimizer)
            .metrics(build(&self.metrics))
            .schedule(schedules::build(self.recipe.trainer.item("schedule")))
            .options(options)
    }

    /// One compiled step with a batch of the training data in it, and its rows, to be timed: of
    /// training, or of the network in use. Running the former trains the network.
    ///
    /// # Errors
    /// Those of the data.
    pub fn step(&self, training: bool) -> Result<(Step, usize), TrainError> {
        let loader = self.loader(&self.data.train, training)?;
        match training {
            true => self.trainer(Arc::default()).first_step(&loader),
            false => first_use(&self.trained, &loader),
        }
    }

    /// Measures the network on the test data; `None` where there are none.
    ///
    /// # Errors
    /// Those of the data.
    pub fn test(&self) -> Result<Option<Evaluation>, TrainError> {
        let Some(test) = self.recipe.test_data()? else { return Ok(None) };
        let loader = self.loader(&test, false)?;
        let metrics = build(&self.metrics);
        Evaluator::new(&self.trained, &*self.loss, &metrics).evaluate(&loader).map(Some)
    }

    /// The names of the metrics.
    pub fn metrics(&self) -> Vec<String> {
        build(&self.metrics).iter().map(|metric| metric.name()).collect()
    }

    /// Writes the model file of a run, whole or not at all.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn save(&self, run: &RunFolder, history: &History) -> Result<(), FormatError> {
        let mut card = self.card.clone();
        card.trained = trained(history);
        let params = &self.network.params;
        let vars = match &self.adapters {
            None => params.vars(),
            // What is saved is a network as its layers describe it, with nothing beside them.
            Some(adapters) => adapters.merged(params),
        };
        save_safetensors(run.model(), &vars, &card.metadata())
    }

    fn loader(&self, data: &Arc<dyn Dataset>, training: bool) -> Result<Loader, DataError> {
        let pipeline = if training { &self.data.training } else { &self.data.serving };
        let options = LoaderOptions {
            batch_size: self.batch,
            shuffle: training,
            seed: self.seed,
            ..LoaderOptions::default()
        };
        Loader::new(data.clone(), options)?.with_pipeline(pipeline.clone())
    }
}

fn build(items: &[Item]) -> Vec<Box<dyn Metric>> {
    items.iter().map(metrics::build).collect()
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

/// Keeps the run folder up to date: history and model after every epoch.
///
/// A disk that is full does not end the training; it is told, and tried again at the next epoch.
pub struct Keeper<'a, W: FnMut(&str)> {
    session: &'a Session,
    run: &'a RunFolder,
    warn: W,
}

impl<'a, W: FnMut(&str)> Keeper<'a, W> {
    /// For a session and its run folder; `warn` hears of what cannot be written.
    pub fn new(session: &'a Session, run: &'a RunFolder, warn: W) -> Self {
        Keeper { session, run, warn }
    }
}

impl<W: FnMut(&str)> Callback for Keeper<'_, W> {
    fn on_epoch_end(&mut self, history: &History) -> Result<Control, CallbackError> {
        let written = history.write_csv(self.run.path().join(HISTORY));
        let saved = self.session.save(self.run, history);
        for error in [written.err(), saved.err()].into_iter().flatten() {
            (self.warn)(&format!("{error}; the training goes on"));
        }
        Ok(Control::Continue)
    }
}

/// What `nerve evaluate` measures.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// `test`, or `validation` where the recipe has no test data.
    pub part: &'static str,
    /// The names of the metrics.
    pub metrics: Vec<String>,
    /// Loss and metrics.
    pub scores: Evaluation,
    /// The most frequent class, and its share: what an answer without looking would reach.
    pub baseline: (String, f64),
}

impl Predictor {
    /// Measures the network on the data that its recipe names for it.
    ///
    /// # Errors
    /// The recipe in the model is not valid any more; the data are missing or do not fit.
    pub fn judge(&self) -> Result<Judgement, JudgeError> {
        let recipe = self.card.recipe()?;
        let (data, part) = recipe.judging_data()?;
        let found = &data.fields()[0].shape;
        if *found != self.card.input {
            return Err(ModelError::Network {
                file: "data".to_string(),
                message: format!("images are {found:?}, the model takes {:?}", self.card.input),
            }
            .into());
        }
        let classes = self.card.labels.len();
        let labels = labels(&*data, mnist::LABEL, classes)?;
        let mut counts = vec![0usize; classes];
        labels.iter().for_each(|&label| counts[label as usize] += 1);
        let most = (0..classes).max_by_key(|&class| (counts[class], classes - class)).unwrap_or(0);
        let baseline = (self.card.labels[most].clone(), counts[most] as f64 / labels.len() as f64);
        let options = LoaderOptions {
            batch_size: recipe.trainer.usize("batch_size"),
            ..LoaderOptions::default()
        };
        let pipeline = serving(data.fields(), self.card.normalization.as_ref())?;
        let loader = Loader::new(data, options)?.with_pipeline(pipeline)?;
        let loss = losses::build(recipe.trainer.item("loss"));
        let metrics = build(&items(&recipe.trainer, "metrics"));
        let scores = Evaluator::new(&*self.network.model, &*loss, &metrics).evaluate(&loader)?;
        let metrics = metrics.iter().map(|metric| metric.name()).collect();
        Ok(Judgement { part, metrics, scores, baseline })
    }
}

/// Why a model cannot be judged.
#[derive(Debug, thiserror::Error)]
pub enum JudgeError {
    /// The recipe in the model is not valid.
    #[error("the recipe in the model:\n{0}")]
    Recipe(#[from] Report),
    /// The data are missing, damaged or do not fit.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The data do not fit the model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The evaluation failed.
    #[error(transparent)]
    Train(#[from] TrainError),
}
