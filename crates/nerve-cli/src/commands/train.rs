//! `nerve train`: from a recipe to a run folder.

mod folds;

use crate::args::{Progress as Show, Train};
use crate::commands::{Loaded, load, set_threads};
use crate::failure::Failure;
use crate::output::{self, Style, complain};
use crate::signals::Signals;
use nerve::train::{
    Callback, CallbackError, Control, Evaluation, Fit, Outcome, Progress, StepEnd, TrainError,
};
use nerve_recipe::recipe::run_name;
use nerve_recipe::source::escape;
use nerve_recipe::summary::{bytes_text, thousands};
use nerve_recipe::{Keeper, Predictor, Recipe, Session, machine};
use nerve_track::{HISTORY, RunFolder};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

pub fn run(args: &Train) -> Result<(), Failure> {
    let mut first_step = FirstStep { began: Instant::now(), seconds: None };
    let threads = set_threads(&args.common)?;
    let Loaded { recipe, name } = load(&args.recipe, &args.overrides)?;
    let name = args.name.clone().or(recipe.name().map(str::to_string)).unwrap_or(name);
    run_name(&name)
        .map_err(|reason| Failure::Usage(format!("the name `{}`: {reason}", escape(&name))))?;
    if let Some(k) = args.folds {
        return folds::run(args, &recipe, &name, k as usize);
    }
    let session = Session::new(&recipe)?;
    let recipe = &session.recipe;
    let folder = create(&args.runs, &name, recipe, &session, threads)?;
    let signals = Signals::catch()
        .map_err(|error| Failure::Runtime(format!("cannot catch signals: {error}")))?;
    if args.progress != Show::Off {
        complain(&header(recipe, &session, &folder, threads));
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
        overrides(recipe);
    }
    let began = Instant::now();
    let fit = fit(args, &session, &folder, &signals, &mut first_step)?;
    let seconds = began.elapsed().as_secs_f64();
    end(&fit, &session, &folder, &signals)?;
    thresholds(&session, &folder)?;
    let test = session.test().map_err(|error| train_failure(&error))?;
    let seconds = [seconds, first_step.seconds.unwrap_or(0.0)];
    result(args, &session, &folder, &fit, test.as_ref(), seconds)
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

/// Trains with progress, history and model kept up to date.
fn fit(
    args: &Train,
    session: &Session,
    folder: &RunFolder,
    signals: &Signals,
    first_step: &mut FirstStep,
) -> Result<Fit, Failure> {
    let mut progress = progress(args.progress);
    let mut keeper = Keeper::new(session, folder, |warning: &str| {
        complain(&format!("warning: {warning}"));
    });
    let mut callbacks: Vec<&mut dyn Callback> = vec![first_step, &mut keeper];
    if let Some(progress) = &mut progress {
        callbacks.push(progress);
    }
    session.fit(signals.stop.clone(), &mut callbacks).map_err(|error| train_failure(&error))
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

fn train_failure(error: &TrainError) -> Failure {
    match error {
        TrainError::Data(_) | TrainError::Index { .. } => Failure::Data(error.to_string()),
        _ => Failure::Runtime(error.to_string()),
    }
}

/// Writes what the training left, and says so where it did not come to its end.
fn end(fit: &Fit, session: &Session, folder: &RunFolder, signals: &Signals) -> Result<(), Failure> {
    let shown = escape(&folder.path().to_string_lossy());
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
    let write = |error: nerve::formats::FormatError| Failure::Runtime(error.to_string());
    session.save(folder, &fit.history).map_err(write)?;
    fit.history.write_csv(folder.path().join(HISTORY)).map_err(write)?;
    match &fit.outcome {
        Outcome::Interrupted { epoch, step } => {
            let signal = signals.number().unwrap_or(signal_hook::consts::SIGINT);
            complain(&format!(
                "stopped by {} in epoch {epoch}, after {step} steps; saved {shown}",
                if signal == signal_hook::consts::SIGTERM { "SIGTERM" } else { "SIGINT" }
            ));
            Err(Failure::Stopped(signal))
        }
        _ => Ok(()),
    }
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
    recipe: &Recipe,
    session: &Session,
    threads: usize,
) -> Result<RunFolder, Failure> {
    let environment = environment(recipe, session, threads);
    let environment = serde_json::to_string_pretty(&environment).unwrap_or_default() + "\n";
    let files = [
        ("config.toml", recipe.text()),
        ("resolved.toml", &recipe.resolved()),
        ("env.json", &environment),
    ];
    Ok(RunFolder::create(runs, name, &files)?)
}

/// Where the run comes from: enough to repeat it.
fn environment(recipe: &Recipe, session: &Session, threads: usize) -> Value {
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
        "rows": { "train": rows[0], "validation": rows[1], "test": rows[2] },
        "began": SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
    })
}

/// `nerve 0.1.0 · run runs/mnist-2 · seed 42 · 2 threads, AVX2 · data 54,000/6,000/10,000 rows`.
fn header(recipe: &Recipe, session: &Session, folder: &RunFolder, threads: usize) -> String {
    let rows = session.data.examples().map(|n| thousands(n as u128)).join("/");
    format!(
        "nerve {} · run {} · seed {} · {threads} thread{}, {} · data {rows} rows",
        env!("CARGO_PKG_VERSION"),
        escape(&folder.path().to_string_lossy()),
        recipe.seed(),
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
    args: &Train,
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
    if args.common.json {
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
