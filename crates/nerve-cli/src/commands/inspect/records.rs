//! Events: those of TensorBoard, and those of a run folder.

use super::{Found, short};
use crate::commands::list::columns;
use crate::failure::Failure;
use nerve::formats::tfevents::{self, Content, Value as Logged};
use nerve::formats::{Limits, Reader};
use nerve_recipe::summary::thousands;
use nerve_track::{Event, Reader as Events, What};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

/// How often a tag stands in a file, of which kind, and its last step and value.
#[derive(Default)]
struct Tag {
    kind: &'static str,
    count: u64,
    step: u64,
    last: Option<f64>,
}

pub fn tfevents(path: &Path) -> Result<Found, Failure> {
    let mut reader = Reader::open(path, &Limits::default())?;
    let records = tfevents::read(&mut reader)?;
    let mut tags: BTreeMap<String, Tag> = BTreeMap::new();
    for record in &records {
        let Content::Summary(values) = &record.content else { continue };
        for (name, value) in values {
            let tag = tags.entry(name.clone()).or_default();
            (tag.kind, tag.last) = match value {
                Logged::Scalar(number) => ("scalar", Some(f64::from(*number))),
                Logged::Histogram(_) => ("histogram", None),
                Logged::Image { .. } => ("image", None),
                Logged::Text(_) => ("text", None),
                Logged::Plugin { .. } => ("plugin", None),
                _ => ("other", None),
            };
            tag.count += 1;
            tag.step = record.step;
        }
    }
    Ok(found("TensorBoard events", records.len(), &tags))
}

/// Whether a file is the events of a run: its first line is one.
pub fn is_events(path: &Path) -> Result<bool, Failure> {
    let mut start = Vec::new();
    let limits = Limits { max_bytes: u64::MAX, ..Limits::default() };
    Reader::open(path, &limits)?.some("file", 1 << 16, &mut start)?;
    let line = start.split(|&byte| byte == b'\n').next().unwrap_or_default();
    Ok(serde_json::from_slice::<Event>(line).is_ok())
}

pub fn events(path: &Path) -> Result<Found, Failure> {
    let fail = |error: std::io::Error| Failure::Data(format!("{}: {error}", path.display()));
    let events = Events::new(path).events().map_err(fail)?;
    let mut tags: BTreeMap<String, Tag> = BTreeMap::new();
    for event in &events {
        let (name, kind, step, last) = match &event.what {
            What::Scalar { step, tag, v, .. } => (tag.as_str(), "scalar", *step, Some(v.0)),
            What::Hist { step, tag, .. } => (tag.as_str(), "histogram", *step, None),
            What::Image { step, tag, .. } => (tag.as_str(), "image", *step, None),
            What::Text { step, tag, .. } => (tag.as_str(), "text", *step, None),
            What::Epoch { step, .. } => ("(epochs)", "epoch", *step, None),
            _ => continue,
        };
        let tag = tags.entry(name.to_string()).or_default();
        (tag.kind, tag.step, tag.last) = (kind, step, last);
        tag.count += 1;
    }
    Ok(found("events of a run", events.len(), &tags))
}

fn found(kind: &'static str, records: usize, tags: &BTreeMap<String, Tag>) -> Found {
    let mut rows = vec![["tag", "kind", "records", "last step", "last value"].map(String::from)];
    rows.extend(tags.iter().map(|(name, tag)| {
        [
            short(name),
            tag.kind.to_string(),
            thousands(tag.count.into()),
            thousands(tag.step.into()),
            tag.last.map(|value| format!("{value:.6}")).unwrap_or_default(),
        ]
    }));
    let text = format!("{} records\n{}", thousands(records as u128), columns(&rows));
    let tag = |(name, tag): (&String, &Tag)| {
        json!({
            "tag": name, "kind": tag.kind, "records": tag.count, "last_step": tag.step,
            "last_value": tag.last,
        })
    };
    let tags: Vec<_> = tags.iter().map(tag).collect();
    Found { kind, text, json: json!({ "records": records, "tags": tags }) }
}
