//! `nerve plot`: the curves of runs as a picture.

use crate::args::{Across, Plot};
use crate::failure::Failure;
use crate::output;
use nerve::formats::write_atomic;
use nerve::train::picture::{Axis, Chart, standalone, thinned};
use nerve_recipe::nearest;
use nerve_recipe::source::escape;
use nerve_track::{Curve, EVENTS, Epochs, Point, Reader, RunFolder, Series, smoothed};
use serde_json::json;
use std::io::{self, IsTerminal};
use std::path::Path;

/// A curve that is drawn.
struct Line {
    /// `mnist-2 loss/val`; the run alone or the tag alone where the other is the same for all.
    name: String,
    raw: Vec<(f64, f64)>,
    smooth: Vec<(f64, f64)>,
}

pub fn run(args: &Plot) -> Result<(), Failure> {
    let kind = args.output.as_deref().map(kind).transpose()?;
    let lines = lines(args)?;
    let (width, height) = args.size.unwrap_or(match kind {
        Some(_) => (840, 420),
        None => (terminal_width(), 20),
    });
    let chart = chart(args, &lines, width as usize);
    let Some(output) = &args.output else {
        let colour = colour();
        return Ok(output::result(&chart.terminal(width as usize, height as usize, colour))?);
    };
    let chart = chart.size(width, height);
    let bytes = match kind {
        Some(Kind::Png) => chart.png(2),
        _ => standalone(&chart.svg()).into_bytes(),
    };
    write_atomic(output, |file| file.write_all(&bytes))
        .map_err(|error| Failure::Runtime(error.to_string()))?;
    let shown = output.to_string_lossy();
    let points: usize = lines.iter().map(|line| line.raw.len()).sum();
    match args.within.json {
        true => {
            let names: Vec<&str> = lines.iter().map(|line| line.name.as_str()).collect();
            Ok(output::json(&json!({ "file": shown, "lines": names, "points": points }))?)
        }
        false => Ok(output::result(&format!("{points} points into {}", escape(&shown)))?),
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Svg,
    Png,
}

fn kind(path: &Path) -> Result<Kind, Failure> {
    match path.extension().and_then(|end| end.to_str()).map(str::to_ascii_lowercase).as_deref() {
        Some("svg") => Ok(Kind::Svg),
        Some("png") => Ok(Kind::Png),
        _ => Err(Failure::Usage(format!(
            "`{}`: a picture ends in .svg or .png",
            escape(&path.to_string_lossy())
        ))),
    }
}

/// As wide as the terminal says it is, within reason.
pub fn terminal_width() -> u32 {
    let columns = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    columns.unwrap_or(80).clamp(30, 200)
}

/// Whether standard output takes colours.
pub fn colour() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal() && !set("NO_COLOR")
}

fn lines(args: &Plot) -> Result<Vec<Line>, Failure> {
    let mut found = Vec::new();
    let mut known = Vec::new();
    for name in &args.names {
        let run = RunFolder::open(&args.within.runs, name)?;
        let series = curves(&run)?;
        for (tag, curve) in &series {
            if args.tag.iter().any(|wanted| wanted == tag || is_group(wanted, tag)) {
                found.push((run.name(), tag.clone(), points(args, curve)));
            }
        }
        known.extend(series.into_iter().map(|(tag, _)| tag));
    }
    if found.is_empty() {
        return Err(Failure::Usage(nothing(args, known)));
    }
    let one_run = found.iter().all(|line| line.0 == found[0].0);
    let one_tag = found.iter().all(|line| line.1 == found[0].1);
    let line = |(run, tag, raw): (String, String, Vec<(f64, f64)>)| {
        let values: Vec<f64> = raw.iter().map(|point| point.1).collect();
        let smooth = smoothed(&values, args.smooth);
        let smooth = raw.iter().zip(smooth).map(|(point, value)| (point.0, value)).collect();
        let name = match (one_run, one_tag) {
            (true, _) => escape(&tag),
            (false, true) => run,
            (false, false) => format!("{run} {}", escape(&tag)),
        };
        Line { name, raw, smooth }
    };
    Ok(found.into_iter().map(line).collect())
}

/// `loss` stands for `loss/train` and `loss/val`.
fn is_group(wanted: &str, tag: &str) -> bool {
    tag.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('/'))
}

fn nothing(args: &Plot, mut known: Vec<String>) -> String {
    known.sort();
    known.dedup();
    let wanted = args.tag.iter().map(|tag| escape(tag)).collect::<Vec<_>>().join(", ");
    if known.is_empty() {
        return "the runs have no curves yet".into();
    }
    let near = nearest(&args.tag[0], known.iter().map(String::as_str));
    let meant = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    let shown: Vec<String> = known.iter().take(40).map(|tag| escape(tag)).collect();
    format!("no curve `{wanted}`{meant}\nthere are: {}", shown.join(", "))
}

/// The curves of a run; of one without events those of its history, under the same tags.
fn curves(run: &RunFolder) -> Result<Vec<(String, Curve)>, Failure> {
    let path = run.file(EVENTS);
    let mut series = Series::default();
    let read = Reader::new(&path).lines(|line, _| drop(series.line(line)));
    read.map_err(|error| Failure::Data(format!("{}: {error}", escape(&path.to_string_lossy()))))?;
    if series.points() > 0 {
        return Ok(series.iter().map(|(tag, curve)| (tag.to_string(), curve.clone())).collect());
    }
    let epochs = Epochs::of(run).map_err(|error| Failure::Data(error.to_string()))?;
    let curve = |name: &String| {
        let tag = match name.strip_prefix("val_") {
            Some(name) => format!("{name}/val"),
            None => format!("{name}/train"),
        };
        let point = |row: &nerve_track::Epoch| {
            let v = *row.scores.get(name)?;
            Some(Point { step: row.step, epoch: row.epoch, t: row.time_s, v })
        };
        (tag, epochs.rows.iter().filter_map(point).collect())
    };
    Ok(epochs.names().iter().map(curve).collect())
}

fn points(args: &Plot, curve: &Curve) -> Vec<(f64, f64)> {
    let began = curve.first().map_or(0.0, |point| point.t);
    let x = |point: &Point| match args.x {
        Across::Step => point.step as f64,
        Across::Epoch => point.epoch as f64,
        Across::Time => point.t - began,
    };
    curve.iter().map(|point| (x(point), point.v)).collect()
}

fn chart(args: &Plot, lines: &[Line], width: usize) -> Chart {
    let x = |lines: &[Line]| -> Vec<f64> {
        lines.iter().flat_map(|line| line.raw.iter().map(|point| point.0)).collect()
    };
    let y = lines.iter().flat_map(|line| line.raw.iter().map(|point| point.1));
    let across = match args.x {
        Across::Step => "step",
        Across::Epoch => "epoch",
        Across::Time => "seconds",
    };
    let label = args.tag.join(", ");
    let y = if args.log { Axis::log(&label, y) } else { Axis::of(&label, y) };
    let mut chart = Chart::new(&label, Axis::of(across, x(lines)), y);
    for (i, line) in lines.iter().enumerate() {
        if args.smooth > 0.0 {
            chart = chart.faint(i, &thinned(&line.raw, width));
        }
        chart = chart.line(i, &line.name, &thinned(&line.smooth, width));
    }
    chart
}
