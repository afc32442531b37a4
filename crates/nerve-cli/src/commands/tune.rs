//! `nerve tune`: from a recipe to the best of its trials.

mod report;

use crate::args::Tune;
use crate::commands::{Loaded, load, set_threads};
use crate::failure::Failure;
use crate::output::complain;
use crate::signals::Signals;
use nerve::tune::{Options, Sampler, Settings, Study, optimize, tpe::Tpe};
use nerve_recipe::recipe::run_name;
use nerve_recipe::source::escape;
use nerve_recipe::tuning::{Kept, Saves, Trials};
use nerve_recipe::{Recipe, Tuning, machine};
use nerve_track::RunFolder;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The journal of a study, in its folder.
pub const JOURNAL: &str = "journal.jsonl";
/// Where trials are saved while they run.
const RUNNING: &str = "running";
/// How long a trial runs before it is saved: saving one that is shorter costs more than it is worth.
const SAVED_AFTER: Duration = Duration::from_secs(2);

pub fn run(args: &Tune) -> Result<(), Failure> {
    let began = Instant::now();
    let threads = share_threads(set_threads(&args.common)?, args.workers as usize);
    let Loaded { recipe, name } = load(&args.recipe, &args.overrides)?;
    let name = args.name.clone().or(recipe.name().map(str::to_string)).unwrap_or(name) + "-tune";
    run_name(&name)
        .map_err(|reason| Failure::Usage(format!("the name `{}`: {reason}", escape(&name))))?;
    let tuning = with_flags(args, &recipe)?;
    let trials = Trials::new(&recipe, &tuning)?;
    let folder = folder(args, &recipe, &name)?;
    let kept = args.keep.then(|| Kept { folder: folder.join("trials") });
    let saves = Saves { folder: folder.join(RUNNING), after: SAVED_AFTER };
    let trials = trials.keeping(kept).saving(Some(saves));
    let mut study = Study::open(
        &folder.join(JOURNAL),
        tuning.space.clone(),
        settings(&recipe, &tuning, &trials),
    )?;
    let signals = Signals::catch()
        .map_err(|error| Failure::Runtime(format!("cannot catch signals: {error}")))?;
    let shown = report::Shown::new(&tuning, trials.goal());
    if !args.quiet {
        complain(&shown.header(&folder, &study, args.workers as usize, threads));
    }
    let refused = propose(&mut study, &tuning, &recipe)?;
    if let Some(reason) = refused.filter(|_| !args.quiet) {
        complain(&format!("note: the recipe's own values are not tried: {reason}"));
    }
    let observer = |study: &Study, number: usize| {
        if !args.quiet {
            complain(&shown.trial(study, number));
        }
    };
    let limit = args.timeout.or(tuning.max_minutes.map(|m| Duration::from_secs_f64(60.0 * m)));
    let options = Options {
        trials: tuning.trials,
        workers: args.workers as usize,
        stop: signals.stop.clone(),
        deadline: limit.and_then(|limit| began.checked_add(limit)),
        observer: Some(&observer),
    };
    let study = optimize(study, &options, |attempt| trials.run(attempt, signals.stop.clone()))?;
    finish(args, &study, &trials, &shown, &folder, began.elapsed())?;
    // Empty, unless trials wait to be gone on with.
    let _ = std::fs::remove_dir(folder.join(RUNNING));
    match signals.number() {
        None => Ok(()),
        Some(signal) => {
            complain("stopped; the same command with --resume goes on");
            Err(Failure::Stopped(signal))
        }
    }
}

/// The first trial is the recipe as it stands, so that what was chosen by hand is among those that compete. A grid is
/// tried as it is. Gives why it is not tried, where the space does not hold it.
fn propose(study: &mut Study, tuning: &Tuning, recipe: &Recipe) -> Result<Option<String>, Failure> {
    if tuning.sampler == Sampler::Grid || !study.trials().is_empty() {
        return Ok(None);
    }
    match tuning.own(recipe) {
        Ok(own) => study.propose(own).map(|()| None).map_err(Failure::from),
        Err(reason) => Ok(Some(reason)),
    }
}

/// Several workers share the threads: whoever computes while nobody else holds the pool has what the others leave, the
/// others compute each on its own. The results are the same whatever the number.
fn share_threads(threads: usize, workers: usize) -> usize {
    let left = threads.saturating_sub(workers - 1).max(1);
    if workers > 1 {
        machine::set_threads(left);
    }
    left
}

/// What `[tune]` says, changed by flags.
fn with_flags(args: &Tune, recipe: &Recipe) -> Result<Tuning, Failure> {
    let Some(mut tuning) = recipe.tune.clone() else {
        return Err(Failure::Usage(
            "the recipe has no table [tune]; for instance\n  [tune]\n  space = { lr = { low = 1e-4, high = 1e-1, log = true } }"
                .to_string(),
        ));
    };
    tuning.trials = args.trials.map_or(tuning.trials, |n| n as usize);
    match args.sampler.as_deref() {
        Some("random") => tuning.sampler = Sampler::Random,
        Some("tpe") => tuning.sampler = Sampler::Tpe(Tpe::default()),
        Some("grid") => {
            tuning.space.grid()?;
            tuning.sampler = Sampler::Grid;
        }
        _ => {}
    }
    Ok(tuning)
}

/// What must be the same for a study to go on.
fn settings(recipe: &Recipe, tuning: &Tuning, trials: &Trials<'_>) -> Settings {
    let goal = trials.goal();
    let metric = goal.metric.clone().unwrap_or_default();
    Settings {
        sampler: tuning.sampler.clone(),
        pruner: tuning.pruner.clone(),
        mode: goal.mode,
        seed: recipe.seed(),
        subject: format!(
            "metric = \"{metric}\"\ndata = \"{}\"\n{}",
            trials.session().data.fingerprint(),
            recipe.resolved()
        ),
    }
}

/// A new folder, or that of the last study of this name.
fn folder(args: &Tune, recipe: &Recipe, name: &str) -> Result<PathBuf, Failure> {
    if !args.resume {
        let folder = RunFolder::create(&args.runs, name, &[(nerve_track::CONFIG, recipe.text())])?;
        return Ok(folder.path().to_path_buf());
    }
    let number = |path: &Path| -> Option<u32> {
        let rest = path.file_name()?.to_str()?.strip_prefix(name)?;
        if rest.is_empty() { Some(1) } else { rest.strip_prefix('-')?.parse().ok() }
    };
    let all = std::fs::read_dir(&args.runs).into_iter().flatten().flatten().map(|it| it.path());
    let studies = all.filter(|path| path.join(JOURNAL).is_file());
    let last = studies.filter_map(|path| Some((number(&path)?, path))).max();
    last.map(|(_, path)| path).ok_or_else(|| {
        let (name, runs) = (escape(name), escape(&args.runs.to_string_lossy()));
        Failure::Usage(format!("there is no study `{name}` in `{runs}` to go on with"))
    })
}

/// Writes what was found, and says it.
fn finish(
    args: &Tune,
    study: &Study,
    trials: &Trials<'_>,
    shown: &report::Shown<'_>,
    folder: &Path,
    time: Duration,
) -> Result<(), Failure> {
    let write = |name: &str, text: &str| {
        nerve::formats::write_atomic(folder.join(name), |file| file.write_all(text.as_bytes()))
            .map_err(|error| Failure::Runtime(error.to_string()))
    };
    write("trials.csv", &report::csv(study))?;
    let Some(best) = study.best() else {
        let failed = study.trials().iter().rev().find(|trial| !trial.reason.is_empty());
        return match failed {
            Some(failed) => Err(Failure::Runtime(format!(
                "no trial came to its end; trial {} failed: {}",
                failed.number,
                escape(&failed.reason)
            ))),
            None => {
                complain("no trial came to its end");
                Ok(())
            }
        };
    };
    let recipe = trials.recipe(&best.settings)?;
    let head = shown.best_line(study).unwrap_or_default();
    write("best.toml", &format!("# {head}\n{}", recipe.resolved()))?;
    shown.result(args.common.json, study, folder, time)
}
