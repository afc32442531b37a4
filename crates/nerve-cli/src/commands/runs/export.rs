//! `nerve runs export`: a run for other programs.

use super::now;
use crate::args::{ExportTo, RunsExport};
use crate::failure::Failure;
use crate::output::{self, complain};
use nerve::formats::{FormatError, write_atomic};
use nerve_recipe::source::escape;
use nerve_track::{
    Access, CONFIG, ENVIRONMENT, EVENTS, METRICS, MODEL, Mlflow, MlflowError, RESOLVED, Reader,
    RunFolder, Series, TENSORBOARD, TensorBoard, is_over,
};
use serde_json::json;
use std::io::{self, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// Between two looks at a run that is followed.
const PAUSE: Duration = Duration::from_millis(500);

pub fn run(args: &RunsExport) -> Result<(), Failure> {
    let run = RunFolder::open(&args.within.runs, &args.run)?;
    match args.to {
        ExportTo::Tensorboard => tensorboard(args, &run),
        ExportTo::Mlflow => mlflow(args, &run),
        ExportTo::Csv if args.follow => {
            Err(Failure::Usage("--follow is for tensorboard and mlflow, not for csv".into()))
        }
        ExportTo::Csv => csv(args, &run),
    }
}

fn failed(error: &FormatError) -> Failure {
    Failure::Runtime(error.to_string())
}

fn tensorboard(args: &RunsExport, run: &RunFolder) -> Result<(), Failure> {
    let folder = args.output.clone().unwrap_or_else(|| run.file(TENSORBOARD));
    let mut export = TensorBoard::open(run, &folder).map_err(|error| failed(&error))?;
    let mut events = 0;
    loop {
        // Asked before the events are read: what comes before the end is in them then.
        let over = !args.follow || is_over(run, now());
        events += export.advance().map_err(|error| failed(&error))?;
        if over {
            break;
        }
        thread::sleep(PAUSE);
    }
    let path = export.path();
    if path.is_none() {
        complain(&format!("`{}` has no events: nothing to export", run.name()));
    }
    let path = path.map(|path| path.to_string_lossy().into_owned());
    match (args.within.json, path) {
        (true, path) => Ok(output::json(&json!({ "file": path, "events": events }))?),
        (false, Some(path)) => {
            Ok(output::result(&format!("{events} events into {}", escape(&path)))?)
        }
        (false, None) => Ok(()),
    }
}

/// Between two attempts at a server that does not answer, at first and at most.
const RETRY: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(60)];

fn mlflow(args: &RunsExport, run: &RunFolder) -> Result<(), Failure> {
    let address = args.address.as_deref().unwrap_or_default();
    let mut export = Access::from_env()
        .and_then(|access| Mlflow::open(run, address, &args.experiment, &access))
        .map_err(|error| mlflow_failure(&error))?;
    let mut metrics = 0;
    loop {
        let over = is_over(run, now());
        metrics += patiently(args, || export.advance())?;
        if over && run.overview(now()).status == "lost" {
            patiently(args, || export.lost())?;
        }
        if over || !args.follow {
            break;
        }
        thread::sleep(PAUSE);
    }
    let mut files = 0;
    if args.files {
        let all = [CONFIG, RESOLVED, ENVIRONMENT, METRICS, MODEL];
        files = patiently(args, || export.upload(&all))?;
    }
    let page = export.page().unwrap_or_default();
    match args.within.json {
        true => {
            let run_id = export.run_id();
            let value =
                json!({ "page": page, "run_id": run_id, "metrics": metrics, "files": files });
            Ok(output::json(&value)?)
        }
        false => Ok(output::result(&format!("{metrics} metrics, {files} files to {page}"))?),
    }
}

fn mlflow_failure(error: &MlflowError) -> Failure {
    match error {
        MlflowError::Usage(_) => Failure::Usage(error.to_string()),
        _ => Failure::Runtime(error.to_string()),
    }
}

/// Does something again and again while the server does not answer, ever more seldom.
fn patiently<T>(
    args: &RunsExport,
    mut send: impl FnMut() -> Result<T, MlflowError>,
) -> Result<T, Failure> {
    let (began, mut pause) = (Instant::now(), RETRY[0]);
    loop {
        let error = match send() {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let patient = args.follow || began.elapsed() + pause <= Duration::from_secs(args.patience);
        if !error.is_transient() || !patient {
            return Err(mlflow_failure(&error));
        }
        if pause == RETRY[0] {
            complain(&format!("{error}; trying again"));
        }
        thread::sleep(pause);
        pause = (pause * 2).min(RETRY[1]);
    }
}

fn csv(args: &RunsExport, run: &RunFolder) -> Result<(), Failure> {
    let path = run.file(EVENTS);
    let mut series = Series::default();
    let read = Reader::new(&path).lines(|line, _| drop(series.line(line)));
    read.map_err(|error| Failure::Data(format!("{}: {error}", escape(&path.to_string_lossy()))))?;
    let target = args.output.as_deref().filter(|path| *path != Path::new("-"));
    let Some(target) = target else {
        if args.within.json {
            return Err(Failure::Usage("--json needs a file for the CSV: -o curves.csv".into()));
        }
        let mut out = io::BufWriter::new(io::stdout().lock());
        return Ok(write_csv(&series, &mut out).and_then(|()| out.flush())?);
    };
    write_atomic(target, |out| write_csv(&series, out)).map_err(|error| failed(&error))?;
    let (points, shown) = (series.points(), target.to_string_lossy());
    match args.within.json {
        true => Ok(output::json(&json!({ "file": shown, "points": points }))?),
        false => Ok(output::result(&format!("{points} points into {}", escape(&shown)))?),
    }
}

/// A line a point, curve after curve. Numbers read back as they are; what is no number is `NaN`, `inf`
/// or `-inf`.
fn write_csv(series: &Series, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "tag,step,epoch,time,value")?;
    for (tag, curve) in series.iter() {
        let tag = csv_cell(tag);
        for point in curve {
            writeln!(out, "{tag},{},{},{},{}", point.step, point.epoch, point.t, point.v)?;
        }
    }
    Ok(())
}

/// A text as a cell of a CSV file.
fn csv_cell(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_string(),
    }
}
