//! `nerve runs`: the runs in a folder, and what is done with them.

mod export;
mod show;

use crate::args::{Runs, RunsCommand, RunsList, RunsRm, RunsTag};
use crate::commands::list::columns;
use crate::failure::Failure;
use crate::output::{self, complain};
use nerve::data::civil::Moment;
use nerve_recipe::source::escape;
use nerve_track::{Overview, RunFolder, list};
use serde_json::json;
use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

pub fn run(args: &Runs) -> Result<(), Failure> {
    match &args.command {
        None => all(&args.list),
        Some(RunsCommand::List(args)) => all(args),
        Some(RunsCommand::Show(args)) => show::run(args),
        Some(RunsCommand::Rm(args)) => remove(args),
        Some(RunsCommand::Tag(args)) => tag(args),
        Some(RunsCommand::Export(args)) => export::run(args),
    }
}

/// The wall clock, in seconds since 1970.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

fn all(args: &RunsList) -> Result<(), Failure> {
    let now = now();
    let mut runs: Vec<Overview> =
        list(&args.within.runs).iter().map(|run| run.overview(now)).collect();
    if let Some(tag) = &args.tag {
        runs.retain(|run| run.tags.contains(tag));
    }
    // By time; those whose time is not known first, all by name where times are the same.
    runs.sort_by(|a, b| {
        let time = |run: &Overview| run.began.unwrap_or(0.0);
        time(a).total_cmp(&time(b)).then_with(|| a.name.cmp(&b.name))
    });
    if args.within.json {
        return Ok(output::json(&json!(runs))?);
    }
    if runs.is_empty() {
        complain(&format!("no runs in `{}`", escape(&args.within.runs.to_string_lossy())));
        return Ok(());
    }
    let mut rows =
        vec![["run", "state", "epochs", "best", "", "time", "began", "tags"].map(String::from)];
    rows.extend(runs.iter().map(row));
    Ok(output::result(&columns(&rows))?)
}

fn row(run: &Overview) -> [String; 8] {
    let epochs = match (run.epoch, run.epochs) {
        (Some(epoch), Some(epochs)) => format!("{epoch}/{epochs}"),
        _ => String::new(),
    };
    let best = run.best.map(|best| format!("{best:.4}")).unwrap_or_default();
    let goal = match (&run.goal, run.best_epoch) {
        (Some(goal), Some(epoch)) => format!("{} @{epoch}", escape(goal)),
        _ => String::new(),
    };
    [
        run.name.clone(),
        run.status.to_string(),
        epochs,
        best,
        goal,
        run.seconds.map(duration).unwrap_or_default(),
        run.began.map(date).unwrap_or_default(),
        run.tags.iter().map(|tag| escape(tag)).collect::<Vec<_>>().join(", "),
    ]
}

/// `9.1 s`, `2m05s`, `3h07m`.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s >= 3600.0 => format!("{}h{:02}m", (s / 3600.0) as u64, (s / 60.0) as u64 % 60),
        s if s >= 60.0 => format!("{}m{:02}s", (s / 60.0) as u64, s as u64 % 60),
        s => format!("{s:.1} s"),
    }
}

/// `2025-11-22 13:40`, UTC.
pub fn date(t: f64) -> String {
    let day = Moment(t).civil();
    let (hour, minute) = (day.second / 3600, day.second / 60 % 60);
    format!("{:04}-{:02}-{:02} {hour:02}:{minute:02}", day.year, day.month, day.day)
}

fn remove(args: &RunsRm) -> Result<(), Failure> {
    let now = now();
    let mut runs = Vec::new();
    for name in &args.names {
        no_link(&args.within.runs, name)?;
        let run = RunFolder::open(&args.within.runs, name)?;
        removable(&run, now)?;
        let same = |other: &RunFolder| {
            fs::canonicalize(other.path()).ok() == fs::canonicalize(run.path()).ok()
        };
        if !runs.iter().any(same) {
            runs.push(run);
        }
    }
    if !args.yes && !agreed(&runs)? {
        return Err(Failure::Usage("nothing was removed".into()));
    }
    for run in &runs {
        // One that goes on in the meantime holds its lock, whatever its state says.
        let _lock = run.lock()?;
        let path = run.path();
        // Away at once, whatever happens while the files go one by one.
        let aside = path.with_file_name(format!(".removed-{}-{}", std::process::id(), run.name()));
        fs::rename(path, &aside).and_then(|()| fs::remove_dir_all(&aside)).map_err(|error| {
            Failure::Runtime(format!(
                "cannot remove `{}`: {error}",
                escape(&path.to_string_lossy())
            ))
        })?;
    }
    let names: Vec<String> = runs.iter().map(RunFolder::name).collect();
    match args.within.json {
        true => Ok(output::json(&json!({ "removed": names }))?),
        false => Ok(output::result(&format!("removed {}", names.join(", ")))?),
    }
}

/// What is removed is named itself: a link may lead elsewhere by now.
fn no_link(root: &Path, name: &Path) -> Result<(), Failure> {
    let candidates = [name.to_path_buf(), root.join(name)];
    let Some(target) = candidates.iter().find_map(|path| fs::read_link(path).ok()) else {
        return Ok(());
    };
    let [name, target] = [name, &target].map(|path| escape(&path.to_string_lossy()).to_string());
    Err(Failure::Usage(format!("`{name}` is a link to `{target}`: name that")))
}

/// A folder may be removed if it is that of a training that does not run, and nothing else.
fn removable(run: &RunFolder, now: f64) -> Result<(), Failure> {
    let refuse = |reason: String| Err(Failure::Usage(reason));
    let (name, path) = (run.name(), run.path());
    if !run.was_trained() {
        return refuse(format!(
            "`{}` has a recipe, but nothing of a training: it is not removed",
            escape(&path.to_string_lossy())
        ));
    }
    if run.overview(now).status == "running" {
        return refuse(format!("`{name}` is running: stop it first"));
    }
    let here = std::env::current_dir().and_then(fs::canonicalize);
    let inside = |here: &Path| fs::canonicalize(path).is_ok_and(|path| here.starts_with(path));
    match here.is_ok_and(|here| inside(&here)) {
        true => refuse("this is where you are: go elsewhere first".into()),
        false => Ok(()),
    }
}

fn agreed(runs: &[RunFolder]) -> Result<bool, Failure> {
    let names: Vec<String> = runs.iter().map(RunFolder::name).collect();
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage(format!("say --yes to remove {}", names.join(", "))));
    }
    let mut err = io::stderr().lock();
    let _ = write!(err, "remove {}? [y/N] ", names.join(", ")).and_then(|()| err.flush());
    let mut line = String::new();
    io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|error| Failure::Runtime(format!("cannot read the answer: {error}")))?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

fn tag(args: &RunsTag) -> Result<(), Failure> {
    let run = RunFolder::open(&args.within.runs, &args.run)?;
    let data = |error: nerve::formats::FormatError| Failure::Data(error.to_string());
    let mut tags = run.tags().map_err(data)?;
    if let Some(absent) = args.remove.iter().find(|tag| !tags.contains(tag)) {
        return Err(Failure::Usage(format!("`{}` has no tag `{}`", run.name(), escape(absent))));
    }
    tags.retain(|tag| !args.remove.contains(tag));
    for tag in &args.tags {
        if !tags.contains(tag) {
            tags.push(tag.clone());
        }
    }
    if !args.tags.is_empty() || !args.remove.is_empty() {
        run.set_tags(&tags).map_err(|error| match error.kind() {
            nerve::formats::ErrorKind::Malformed => Failure::Usage(error.to_string()),
            _ => Failure::Runtime(error.to_string()),
        })?;
    }
    match args.within.json {
        true => Ok(output::json(&json!({ "run": run.name(), "tags": tags }))?),
        false => Ok(output::result(&tags.iter().map(|t| escape(t) + "\n").collect::<String>())?),
    }
}
