//! What the page asks for, as JSON. Nothing here knows of HTTP: the report takes the same answers.

use crate::book::{Book, number};
use crate::files;
use crate::runs::{Runs, settings};
use crate::thin::{Window, thin};
use nerve_track::{CONFIG, Curve, Event, Number, Point, RESOLVED, RunFolder};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::io;

/// Longest small file of a run that is given whole, in bytes.
const LARGEST: u64 = 64 << 20;

/// Points that a curve must have to be smoothed: of few, each tells something.
const SMOOTHED: usize = 50;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// There is no such thing.
    #[error("{0}")]
    Missing(String),
    /// The request makes no sense.
    #[error("{0}")]
    Wrong(String),
    /// The disk, or a file of the run.
    #[error("{0}")]
    Disk(#[from] io::Error),
}

/// An answer.
pub type Answer = Result<Value, Refusal>;

/// What is asked of curves.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Scalars {
    /// The tags, with commas between them; a comma or backslash in a tag has a backslash before it.
    pub tags: String,
    /// `step`, `epoch` or `seconds`.
    pub x: String,
    /// Where the window begins on the x axis.
    pub from: Option<f64>,
    /// Where it ends.
    pub to: Option<f64>,
    /// How many columns of pixels the picture has.
    pub px: Option<usize>,
    /// How much of a smoothed value is that before it: from 0 to less than 1.
    pub smooth: Option<f64>,
}

/// Everything about a run but its numbers: what there is to ask for.
///
/// # Errors
/// Those of the disk.
pub fn tags(runs: &Runs, run: &RunFolder, now: f64) -> Answer {
    let summary = runs.summary(run, now);
    let answer = runs.with(run, |book| {
        let end = book.end.as_ref().map(|(status, reason, step)| {
            json!({ "status": status.word(), "reason": reason, "step": step })
        });
        let tags: Map<String, Value> = book
            .series
            .iter()
            .map(|(tag, curve)| (tag.to_string(), tag_json(book, curve)))
            .collect();
        json!({
            "run": summary,
            "offset": book.offset(),
            "skipped": book.skipped(),
            "tags": tags,
            "begins": book.begins.iter().map(|begin| timed(book, &begin.event)).collect::<Vec<_>>(),
            "epochs": events(book, &book.epochs),
            "checkpoints": events(book, &book.checkpoints),
            "notes": events(book, &book.notes),
            "media": events(book, &book.media),
            "histograms": book.histograms.keys().collect::<Vec<_>>(),
            "confusions": book.confusions.keys().collect::<Vec<_>>(),
            "layers": book.layers,
            "end": end,
        })
    })?;
    Ok(answer)
}

fn tag_json(book: &Book, curve: &Curve) -> Value {
    let last = curve.last().map(|point| {
        json!({
            "step": point.step,
            "epoch": point.epoch,
            "seconds": book.seconds(point.t),
            "value": number(point.v),
        })
    });
    json!({ "points": curve.len(), "last": last })
}

fn events<'a>(book: &Book, events: impl IntoIterator<Item = &'a Event>) -> Vec<Value> {
    events.into_iter().map(|event| timed(book, event)).collect()
}

/// An event as it stands in its line, and its time in seconds of training.
fn timed(book: &Book, event: &Event) -> Value {
    let mut value = serde_json::to_value(event).unwrap_or_default();
    value["seconds"] = json!(book.seconds(event.t));
    value
}

/// Curves, with no more points than a picture has room for.
///
/// # Errors
/// An x axis that there is not; those of the disk.
pub fn scalars(runs: &Runs, run: &RunFolder, ask: &Scalars) -> Answer {
    let x = match ask.x.as_str() {
        "" | "step" => Axis::Step,
        "epoch" => Axis::Epoch,
        "seconds" => Axis::Seconds,
        other => {
            let text = format!("the x axis is {other:?}, expected step, epoch or seconds");
            return Err(Refusal::Wrong(text));
        }
    };
    let window = Window {
        from: ask.from.filter(|from| !from.is_nan()).unwrap_or(f64::NEG_INFINITY),
        to: ask.to.filter(|to| !to.is_nan()).unwrap_or(f64::INFINITY),
        px: ask.px.unwrap_or(1000),
    };
    let answer = runs.with(run, |book| {
        let curves: Map<String, Value> = listed(&ask.tags)
            .into_iter()
            .filter_map(|tag| {
                let curve = book.series.get(&tag)?;
                let mut value = curve_json(book, curve, x, window);
                let weight = ask.smooth.filter(|weight| (0.001..1.0).contains(weight));
                if let Some(weight) = weight.filter(|_| curve.len() >= SMOOTHED) {
                    let smooth = smoothed(curve, weight);
                    value.1["smooth"] = value.0.iter().map(|&i| number(smooth[i])).collect();
                }
                Some((tag, value.1))
            })
            .collect();
        json!({ "curves": curves, "offset": book.offset() })
    })?;
    Ok(answer)
}

#[derive(Clone, Copy)]
enum Axis {
    Step,
    Epoch,
    Seconds,
}

/// The points of a curve to draw, and their places in it.
fn curve_json(book: &Book, curve: &Curve, axis: Axis, window: Window) -> (Vec<usize>, Value) {
    let steps = book.steps_per_epoch();
    let epoch = |point: &Point| match steps {
        Some(steps) => point.step as f64 / steps as f64,
        None => point.epoch as f64,
    };
    // A wall clock may jump back; the axis may not.
    let clock: Vec<f64> = match axis {
        Axis::Seconds => {
            let times = curve.iter().map(|point| book.seconds(point.t));
            times
                .scan(0.0, |last: &mut f64, t| Some(std::mem::replace(last, last.max(t)).max(t)))
                .collect()
        }
        _ => Vec::new(),
    };
    let x = |i: usize| match axis {
        Axis::Step => curve[i].step as f64,
        Axis::Epoch => epoch(&curve[i]),
        Axis::Seconds => clock[i],
    };
    let (kept, exact) = thin(curve.len(), x, |i| curve[i].v, window);
    let points = || kept.iter().map(|&i| &curve[i]);
    let value = json!({
        "step": points().map(|point| point.step).collect::<Vec<_>>(),
        "epoch": points().map(epoch).collect::<Vec<_>>(),
        "seconds": points().map(|point| book.seconds(point.t)).collect::<Vec<_>>(),
        "value": points().map(|point| Number(point.v)).collect::<Vec<_>>(),
        "total": curve.len(),
        "exact": exact,
    });
    (kept, value)
}

/// The exponential moving average of all points, thinned or not, without the bias of its beginning
/// (as that of Adam's moments). Values that are no numbers stay, and count for nothing.
fn smoothed(curve: &Curve, weight: f64) -> Vec<f64> {
    let (mut mean, mut mass) = (0.0, 0.0);
    let average = |point: &Point| {
        if !point.v.is_finite() {
            return point.v;
        }
        mean = weight * mean + (1.0 - weight) * point.v;
        mass = weight * mass + (1.0 - weight);
        mean / mass
    };
    curve.iter().map(average).collect()
}

/// The names in a list with commas.
fn listed(text: &str) -> Vec<String> {
    let mut names = vec![String::new()];
    let mut escaped = false;
    for c in text.chars() {
        match (escaped, c) {
            (false, '\\') => escaped = true,
            (false, ',') => names.push(String::new()),
            (_, c) => {
                names.last_mut().expect("one at least").push(c);
                escaped = false;
            }
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// All confusion matrices of a tag, or of the first one.
///
/// # Errors
/// Those of the disk.
pub fn confusion(runs: &Runs, run: &RunFolder, tag: Option<&str>) -> Answer {
    Ok(runs.with(run, |book| {
        let found = book.confusions.iter().find(|(name, _)| tag.is_none_or(|tag| tag == *name));
        let (tag, all) = found.map_or(("", &[][..]), |(tag, all)| (tag.as_str(), all.as_slice()));
        json!({ "tag": tag, "matrices": events(book, all) })
    })?)
}

/// The histograms of a tag.
///
/// # Errors
/// There is no such tag; those of the disk.
pub fn histograms(runs: &Runs, run: &RunFolder, tag: &str) -> Answer {
    let found = runs.with(run, |book| {
        let all = book.histograms.get(tag)?;
        // Of very many, no more than a picture has columns.
        let every = all.len().div_ceil(500).max(1);
        let last = all.len() - 1;
        let shown = all.iter().enumerate().filter(|(i, _)| (last - i).is_multiple_of(every));
        Some(json!({ "tag": tag, "total": all.len(), "histograms": events(book, shown.map(|(_, h)| h)) }))
    })?;
    found.ok_or_else(|| Refusal::Missing(format!("no histogram {tag:?}")))
}

/// What the layers did last: of each its values by name.
///
/// # Errors
/// Those of the disk.
pub fn layers(runs: &Runs, run: &RunFolder) -> Answer {
    Ok(runs.with(run, |book| {
        let of = |layer: &String, name: &String| {
            book.series.get(&format!("layer/{layer}/{name}"))?.last().map(|point| number(point.v))
        };
        let layers: Map<String, Value> = book
            .layers
            .iter()
            .map(|(layer, names)| {
                let values = names.iter().filter_map(|name| Some((name.clone(), of(layer, name)?)));
                (layer.clone(), Value::Object(values.collect()))
            })
            .collect();
        json!({ "layers": layers })
    })?)
}

/// The recipe as given, and each of its settings after every default was filled.
///
/// # Errors
/// Those of the disk.
pub fn recipe(run: &RunFolder) -> Answer {
    let resolved = files::text(run, RESOLVED, 1 << 20)?.unwrap_or_default();
    let (settings, problem) = match settings(&resolved) {
        Ok(settings) => (settings, None),
        Err(problem) => (Map::new(), Some(problem)),
    };
    Ok(json!({
        "text": files::text(run, CONFIG, 1 << 20)?.unwrap_or(resolved),
        "settings": settings,
        "problem": problem,
    }))
}

/// The layers of the network and how they are connected: `model.json`; null without it.
///
/// # Errors
/// It is no JSON; those of the disk.
pub fn model(run: &RunFolder) -> Answer {
    Ok(files::json(run, "model.json", LARGEST)?.unwrap_or_default())
}

/// The verdicts in `eval/`, by the part of the data.
///
/// # Errors
/// Those of the disk.
pub fn evaluation(run: &RunFolder) -> Answer {
    let mut parts = Map::new();
    for part in crate::examples::parts(run) {
        match files::json(run, &format!("eval/{part}.json"), LARGEST) {
            Ok(Some(verdict)) => {
                let rows = crate::examples::file(run, &part).is_some();
                parts.insert(part, json!({ "verdict": verdict, "rows": rows }));
            }
            Ok(None) => {}
            Err(error) => {
                parts.insert(part, json!({ "problem": error.to_string() }));
            }
        }
    }
    Ok(json!({ "parts": parts }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_with_commas_are_listed() {
        assert_eq!(listed("a,b\\,c,\\\\,,d"), ["a", "b,c", "\\", "d"]);
        assert_eq!(listed(""), Vec::<String>::new());
        assert_eq!(listed("loss/train\\"), ["loss/train"]);
    }

    #[test]
    fn a_smoothed_curve_begins_without_bias() {
        let point = |v| Point { step: 0, epoch: 0, t: 0.0, v };
        let curve: Curve = [2.0, 2.0, f64::NAN, 4.0].map(point).to_vec();
        let smooth = smoothed(&curve, 0.5);
        assert_eq!(smooth[..2], [2.0, 2.0]);
        assert!(smooth[2].is_nan());
        // (1/8 + 1/4) of 2 and 1/2 of 4, by 7/8.
        assert!((smooth[3] - (0.375 * 2.0 + 0.5 * 4.0) / 0.875).abs() < 1e-15);
    }
}
