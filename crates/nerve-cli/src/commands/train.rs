//! `nerve train`: from a recipe to a run folder.

mod folds;
mod looks;
mod trial;

use crate::args::{Progress as Show, Train};
use crate::commands::{Loaded, load, set_threads};
use crate::failure::Failure;
use crate::output::{self, Style, complain};
use crate::signals::Signals;
use nerve::formats::FormatError;
use nerve::train::{
    Background, Callback, CallbackError, Checkpoints, Control, Evaluation, Fit, Outcome, Progress,
    Saver, Snapshot, StepEnd, TrainError,
};
use nerve_recipe::recipe::run_name;
use nerve_recipe::source::escape;
use nerve_recipe::summary::{bytes_text, thousands};
use nerve_recipe::{Keeper, Predictor, Recipe, Session, machine};
use nerve_track::{
    BASE, CARD, CHECKPOINTS, CONFIG, ENVIRONMENT, LAYERS, LOG, Lock, RESOLVED, Recorder, RunFolder,
    Status,
};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

pub fn run(args: &Train) -> Result<(), Failure> {
    let began = Instant::now();
    let threads = set_threads(&args.common)?;
    let Loaded { recipe, name } = load(&args.recipe, &settings(args))?;
    let name = args.name.clone().or(recipe.name().map(str::to_string)).unwrap_or(name);
    run_name(&name)
        .map_err(|reason| Failure::Usage(format!("the name `{}`: {reason}", escape(&name))))?;
    if let Some(k) = args.folds {
        return folds::run(args, &recipe, &name, k as usize);
    }
    let how = How { progress: args.progress, json: args.common.json, ui: args.ui, threads, began };
    if let Some(run) = &args.resume {
        return super::resume::with(&how, &find(&args.runs, run.as_deref(), &name)?, &recipe);
    }
    if args.fast_dev_run {
        return trial::fast(args, &how, &name);
    }
    if let Some(count) = args.overfit {
        return trial::overfit(args, &how, &recipe, (&name, count as usize));
    }
    let session = Session::new(&recipe)?;
    let folder = create(&args.runs, &name, &session, threads)?;
    let lock = folder.lock()?;
    Training { session, folder, lock, from: None, notes: Vec::new() }.run(&how)
}

/// What the command line sets.
fn settings(args: &Train) -> Vec<OsString> {
    let time = args.time.map(|minutes| format!("trainer.max_minutes={minutes}").into());
    args.overrides.iter().cloned().chain(time).collect()
}

/// The run that is to go on.
fn find(runs: &Path, run: Option<&Path>, name: &str) -> Result<RunFolder, Failure> {
    match run {
        Some(run) => Ok(RunFolder::open(runs, run)?),
        None => RunFolder::newest(runs, name).ok_or_else(|| {
            let runs = escape(&runs.to_string_lossy());
            Failure::Usage(format!("no run `{}` in `{runs}` that could go on", escape(name)))
        }),
    }
}

/// How a command trains.
pub struct How {
    pub progress: Show,
    pub json: bool,
    /// Whether the dashboard is served meanwhile.
    pub ui: bool,
    pub threads: usize,
    /// When the command began.
    pub began: Instant,
}

/// A training that is ready to begin or to go on.
pub struct Training {
    pub session: Session,
    pub folder: RunFolder,
    /// Held until all is written.
    pub lock: Lock,
    pub from: Option<Arc<Snapshot>>,
    /// What there is to say before it begins.
    pub notes: Vec<String>,
}

impl Training {
    /// Trains, writes down how it went, and tells the result.
    pub fn run(self, how: &How) -> Result<(), Failure> {
        let Training { session, folder, from, notes, lock: _lock } = self;
        let signals = Signals::catch()
            .map_err(|error| Failure::Runtime(format!("cannot catch signals: {error}")))?;
        let background = Arc::new(Background::new());
        let log = &session.recipe.log;
        let every = log.has("every").then(|| log.usize("every") as u64);
        let cannot = |error: std::io::Error| {
            Failure::Runtime(format!("cannot write into {}: {error}", shown(&folder)))
        };
        let mut recorder = Recorder::new(&folder, background.clone(), every).map_err(cannot)?;
        output::log_to(&folder.file(LOG)).map_err(cannot)?;
        if how.ui {
            super::ui::beside(&folder);
        }
        if how.progress != Show::Off {
            introduce(how, &session, &folder);
        }
        for note in notes {
            recorder.note("note", &*note);
            complain(&format!("note: {note}"));
        }
        let trained = train(how, &session, &folder, &mut recorder, (&background, &signals), from);
        let (status, reason, code) = match &trained {
            Ok(reason) => (Status::Done, reason.clone(), 0),
            Err(failure @ Failure::Stopped(signal)) => {
                (Status::Stopped, signal_name(*signal).to_string(), failure.code())
            }
            Err(failure @ Failure::Diverged(text)) => {
                (Status::Diverged, text.clone(), failure.code())
            }
            Err(failure) => (Status::Failed, failure.reason(), failure.code()),
        };
        if let Err(problem) = recorder.end(status, &reason, code) {
            complain(&format!("warning: {problem}"));
        }
        if trained.is_ok() {
            let written = nerve_track::card(&folder).and_then(|text| folder.write(CARD, &text));
            if let Err(problem) = written {
                complain(&format!("warning: no card of the model: {problem}"));
            }
        }
        trained.map(|_| ())
    }
}

/// What is said before a training begins.
fn introduce(how: &How, session: &Session, folder: &RunFolder) {
    complain(&header(session, folder, how.threads));
    let summary = &session.summary;
    complain(&summary.table());
    complain(&format!(
        "{} parameters ({}) · activations at batch {}: {}{}",
        thousands(summary.parameters()),
        bytes_text(summary.parameters() * 4),
        summary.batch,
        bytes_text(summary.activation_bytes()),
        match summary.precision.as_str() {
            "f32" => String::new(),
            other => format!(" · matrix products of {other}"),
        }
    ));
    session.data.notes().iter().for_each(|note| complain(&format!("note: {note}")));
    overrides(&session.recipe);
}

/// Trains, judges and tells the result; gives why the training ended.
fn train(
    how: &How,
    session: &Session,
    folder: &RunFolder,
    recorder: &mut Recorder,
    (background, signals): (&Arc<Background>, &Signals),
    from: Option<Arc<Snapshot>>,
) -> Result<String, Failure> {
    let mut first_step = FirstStep { began: how.began, seconds: None };
    let began = Instant::now();
    let fit = {
        let mut keeper = Keeper::new(session, folder, background.clone(), |warning: &str| {
            complain(&format!("warning: {warning}"));
        });
        let write = |error: FormatError| Failure::Runtime(error.to_string());
        let checkpoints = Checkpoints::open(folder.file(CHECKPOINTS)).map_err(write)?;
        let saver = Saver::new(checkpoints, background.clone(), session.recipe.checkpoints());
        let mut saver = saver.on_saved(recorder.on_saved());
        let mut progress = progress(how.progress);
        let mut logged = Progress::lines(output::Log);
        let log = recorder.log();
        let mut callbacks: Vec<&mut dyn Callback> =
            vec![&mut first_step, recorder, &mut saver, &mut keeper, &mut logged];
        let mut looks = looks::Looks::new(session, folder, background, log.clone());
        callbacks.extend(looks.iter_mut().map(|it| it as &mut dyn Callback));
        callbacks.extend(progress.iter_mut().map(|it| it as &mut dyn Callback));
        let stop = signals.stop.clone();
        let fit = session.fit_logged(stop, from, &mut callbacks, Some(log));
        fit.map_err(|error| train_failure(&error))?
    };
    let seconds = began.elapsed().as_secs_f64();
    end(&fit, session, folder, signals)?;
    thresholds(session, folder)?;
    // A model without it is as good, it is only watched less well.
    if let Err(problem) = session.remember_predictions(folder) {
        complain(&format!("warning: {problem}"));
    }
    let test = session.test().map_err(|error| train_failure(&error))?;
    if let Err(problem) = looks::last(session, folder, &recorder.log(), fit.steps) {
        complain(&format!("warning: {problem}"));
    }
    let seconds = [seconds, first_step.seconds.unwrap_or(0.0)];
    result(how, session, folder, &fit, test.as_ref(), seconds)?;
    Ok(match fit.outcome {
        Outcome::Stopped(reason) => reason,
        _ => String::new(),
    })
}

/// How long it took from the start of the command until the first step was done: recipe, data, plan.
struct FirstStep {
    began: Instant,
    seconds: Option<f64>,
}

impl Callback for FirstStep {
    fn on_step_end(&mut self, _: &StepEnd<'_>) -> Result<Control, CallbackError> {
        self.seconds.get_or_insert_with(|| self.began.elapsed().as_secs_f64());
        Ok(Control::Continue)
    }
}

/// What shows the progress; `None` where nothing should.
fn progress(show: Show) -> Option<Progress> {
    match show {
        Show::Off => None,
        Show::Bar => Some(Progress::bar()),
        Show::Plain => Some(Progress::lines(std::io::stderr())),
        Show::Auto if Style::of_stderr().movable => Some(Progress::bar()),
        Show::Auto => Some(Progress::lines(std::io::stderr())),
    }
}

pub(super) fn train_failure(error: &TrainError) -> Failure {
    match error {
        TrainError::Data(_) | TrainError::Index { .. } => Failure::Data(error.to_string()),
        _ => Failure::Runtime(error.to_string()),
    }
}

/// Writes what the training left, and says so where it did not come to its end.
fn end(fit: &Fit, session: &Session, folder: &RunFolder, signals: &Signals) -> Result<(), Failure> {
    let shown = shown(folder);
    if let Outcome::Diverged { epoch, step, loss, cause } = &fit.outcome {
        let cause = cause.as_ref().map(|cause| format!("{}\n", escape(&cause.to_string())));
        let what = match loss.is_finite() {
            true => "a parameter is no longer finite".to_string(),
            false => format!("the loss is {loss}"),
        };
        let kept = match folder.model().exists() {
            true => format!("the model of epoch {} is kept in {shown}", epoch - 1),
            false => format!("nothing was learned that is worth keeping; see {shown}"),
        };
        return Err(Failure::Diverged(format!(
            "training diverged: {what} at step {step}, in epoch {epoch}; {kept}\n{}\
             a lower learning rate helps most often: trainer.optimizer.lr",
            cause.unwrap_or_default()
        )));
    }
    let write = |error: FormatError| Failure::Runtime(error.to_string());
    // What was interrupted keeps the model of its best epoch, if it is the best that is looked for.
    let best = session.recipe.trainer.has("early_stop") && folder.model().exists();
    if !(best && matches!(fit.outcome, Outcome::Interrupted { .. })) {
        session.save(folder, &fit.history).map_err(write)?;
    }
    match &fit.outcome {
        Outcome::Interrupted { epoch, step } => {
            let signal = signals.number().unwrap_or(signal_hook::consts::SIGINT);
            complain(&format!(
                "stopped by {} in epoch {epoch}, after {step} steps; `nerve resume {shown}` goes on",
                signal_name(signal)
            ));
            Err(Failure::Stopped(signal))
        }
        _ => Ok(()),
    }
}

fn signal_name(signal: i32) -> &'static str {
    if signal == signal_hook::consts::SIGTERM { "SIGTERM" } else { "SIGINT" }
}

/// The path of a run, fit for a terminal.
pub fn shown(folder: &RunFolder) -> String {
    escape(&folder.path().to_string_lossy())
}

/// Chooses where yes begins on the validation rows, where the recipe asks for that, and keeps it in the model.
fn thresholds(session: &Session, folder: &RunFolder) -> Result<(), Failure> {
    let asks = |column: &nerve_recipe::Column| {
        matches!(column.feature.args.get("threshold"), Some(nerve::formats::spec::Value::Text(_)))
    };
    let validation = session.data.validation.as_ref();
    let Some(validation) = validation.and_then(|part| part.rows()) else { return Ok(()) };
    if !session.recipe.outputs.iter().any(asks) {
        return Ok(());
    }
    let mut predictor = Predictor::open(&folder.model())?;
    for (name, threshold) in predictor.choose_thresholds(validation, None)? {
        let (name, value, rule) = (escape(&name), threshold.value, threshold.rule);
        complain(&format!("{name}: yes above {value:.4} ({rule} on the validation data)"));
    }
    predictor.save(&folder.model()).map_err(|error| Failure::Runtime(error.to_string()))
}

fn create(
    runs: &Path,
    name: &str,
    session: &Session,
    threads: usize,
) -> Result<RunFolder, Failure> {
    let recipe = &session.recipe;
    let environment = environment(session, threads);
    let text = |value: &Value| serde_json::to_string_pretty(value).unwrap_or_default() + "\n";
    let (environment, layers) = (text(&environment), text(&session.summary.graph()));
    let (graph, resolved) = (recipe.base_graph(), recipe.resolved());
    let mut files = vec![(CONFIG, recipe.text()), (ENVIRONMENT, &*environment), (LAYERS, &*layers)];
    // With it and a checkpoint the training goes on without the file that the recipe names.
    files.extend(graph.iter().map(|graph| (BASE, &**graph)));
    // The last: a folder that has it is a run.
    files.push((RESOLVED, &*resolved));
    Ok(RunFolder::create(runs, name, &files)?)
}

/// Where the run comes from: enough to repeat it.
fn environment(session: &Session, threads: usize) -> Value {
    let recipe = &session.recipe;
    let command: Vec<String> =
        std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let overrides: Vec<Value> = recipe
        .overrides
        .iter()
        .map(|done| json!({ "key": done.path, "before": done.before, "after": done.after }))
        .collect();
    let rows = session.data.examples();
    json!({
        "nerve": env!("CARGO_PKG_VERSION"),
        "command": command,
        "overrides": overrides,
        "seed": recipe.seed(),
        "threads": threads,
        "instructions": machine::instructions(),
        "system": format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        "overfit": session.overfit(),
        "rows": { "train": rows[0], "validation": rows[1], "test": rows[2] },
        "data": session.data.fingerprint(),
        "began": SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
    })
}

/// `nerve 0.1.0 · run runs/mnist-2 · seed 42 · 2 threads, AVX2 · data 54,000/6,000/10,000 rows`.
fn header(session: &Session, folder: &RunFolder, threads: usize) -> String {
    let rows = session.data.examples().map(|n| thousands(n as u128)).join("/");
    format!(
        "nerve {} · run {} · seed {} · {threads} thread{}, {} · data {rows} rows",
        env!("CARGO_PKG_VERSION"),
        shown(folder),
        session.recipe.seed(),
        if threads == 1 { "" } else { "s" },
        machine::instructions(),
    )
}

/// What the command line changed, so that nobody has to guess which value held.
fn overrides(recipe: &Recipe) {
    for done in &recipe.overrides {
        let before = match &done.before {
            Some(before) => format!("instead of {}", escape(before)),
            None => "not in the recipe".to_string(),
        };
        complain(&format!("set {} = {} ({before})", escape(&done.path), escape(&done.after)));
    }
    if recipe.trainer.usize("epochs") == 0 {
        complain("0 epochs: nothing is trained; the network stays as it began");
    }
}

fn result(
    how: &How,
    session: &Session,
    folder: &RunFolder,
    fit: &Fit,
    test: Option<&Evaluation>,
    [seconds, first_step]: [f64; 2],
) -> Result<(), Failure> {
    let names = session.metrics();
    let mut scores: Vec<(String, f64)> = Vec::new();
    let mut add = |prefix: &str, loss: f64, metrics: &[f64]| {
        scores.push((format!("{prefix}loss"), loss));
        scores.extend(names.iter().zip(metrics).map(|(n, v)| (format!("{prefix}{n}"), *v)));
    };
    if let Some(row) = fit.history.last() {
        add("", row.loss, &row.metrics);
        if let Some(loss) = row.val_loss {
            add("val_", loss, &row.val_metrics);
        }
    }
    if let Some(test) = test {
        add("test_", test.loss, &test.metrics);
    }
    let epochs = fit.history.last().map_or(0, |row| row.epoch);
    if how.json {
        let mut value = json!({
            "run": folder.path().to_string_lossy(),
            "epochs": epochs,
            "steps": fit.steps,
            "seconds": seconds,
            "first_step_seconds": first_step,
        });
        for (name, score) in scores {
            value[name] = json!(score);
        }
        return Ok(output::json(&value)?);
    }
    let mut text = format!("{:<14} {}\n", "run", escape(&folder.path().to_string_lossy()));
    text.push_str(&format!("{:<14} {epochs}\n", "epochs"));
    text.push_str(&format!(
        "{:<14} {seconds:.1} s, first step {first_step:.2} s after the start\n",
        "time"
    ));
    for (name, score) in scores {
        text.push_str(&format!("{name:<14} {score:.4}\n"));
    }
    Ok(output::result(&text)?)
}
