//! A run for MLflow, over its REST interface.
//!
//! The training knows nothing of this: a process of its own reads `events.jsonl` and sends what is new. How
//! far it came stands in `export.mlflow.json`, so that it goes on where it was after an outage or a kill.
//!
//! | in the run | in MLflow |
//! |---|---|
//! | the run folder | a run with its name, of an experiment |
//! | settings of the recipe | parameters |
//! | scalars, numbers of layers and of the system | metrics |
//! | tags, version | tags |
//! | end | the status `FINISHED`, `FAILED` or `KILLED` |
//! | files ([`Mlflow::upload`]) | artifacts, where the server takes them |
//!
//! Source: MLflow, "REST API", version 2.0.

mod client;
mod cursor;

pub use client::{Access, Credentials, MlflowError};

use crate::event::{Event, What};
use crate::{EVENTS, Reader, RunFolder, Status, settings};
use client::Client;
use cursor::{Cursor, Lock};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// The file in a run folder that says how far an export came.
pub const MLFLOW: &str = cursor::NAME;
/// What MLflow takes in one request.
const MOST_METRICS: usize = 1000;
const MOST_PARAMS: usize = 100;
/// The longest name of a parameter, metric or tag, in bytes.
const LONGEST_KEY: usize = 250;
/// The longest value of a parameter, in characters.
const LONGEST_PARAM: usize = 6000;
/// The longest value of a tag, in characters.
const LONGEST_TAG: usize = 5000;

/// Sends a run to MLflow, and goes on with it as the run grows.
#[derive(Debug)]
pub struct Mlflow {
    run: RunFolder,
    client: Client,
    cursor: Cursor,
    _lock: Lock,
}

impl Mlflow {
    /// Begins or goes on to export a run into an experiment of the server at an address, as
    /// `http://127.0.0.1:5000`. Nothing is sent yet.
    ///
    /// # Errors
    /// The address is none of `http://` or `https://`, the run was exported elsewhere before, another export is at work,
    /// or the cursor cannot be read.
    pub fn open(
        run: &RunFolder,
        address: &str,
        experiment: &str,
        access: &Access,
    ) -> Result<Mlflow, MlflowError> {
        let client = Client::new(address, access)?;
        if experiment.trim().is_empty() {
            return Err(MlflowError::Usage("the name of the experiment is empty".into()));
        }
        let lock = Lock::take(run)?;
        let cursor = Cursor::open(run, client.address(), experiment)?;
        Ok(Mlflow { run: run.clone(), client, cursor, _lock: lock })
    }

    /// Where the run can be seen; `None` before it was made.
    pub fn page(&self) -> Option<String> {
        let Cursor { experiment_id, run_id, .. } = &self.cursor;
        let page =
            || format!("{}/#/experiments/{experiment_id}/runs/{run_id}", self.client.address());
        (!run_id.is_empty()).then(page)
    }

    /// The number of MLflow's run; empty before it was made.
    pub fn run_id(&self) -> &str {
        &self.cursor.run_id
    }

    /// Sends what is new. Gives how many metrics that were. After an error that
    /// [is transient](MlflowError::is_transient) it may be called again: it goes on behind what the server took.
    ///
    /// # Errors
    /// The server does not answer or refuses, or the events cannot be read.
    pub fn advance(&mut self) -> Result<u64, MlflowError> {
        self.experiment()?;
        self.begin()?;
        self.params()?;
        self.events()
    }

    /// Says that the run will not go on although it never said that it ended.
    ///
    /// # Errors
    /// As [`advance`](Mlflow::advance).
    pub fn lost(&mut self) -> Result<(), MlflowError> {
        match self.cursor.status.as_str() {
            "RUNNING" => self.status("KILLED", Some(now())),
            _ => Ok(()),
        }
    }

    fn experiment(&mut self) -> Result<(), MlflowError> {
        if !self.cursor.experiment_id.is_empty() {
            return Ok(());
        }
        let name = self.cursor.experiment.clone();
        let found = match self.client.experiment(&name) {
            Err(error) if error.is("RESOURCE_DOES_NOT_EXIST") => {
                let made = self.client.post("experiments/create", &json!({ "name": name }));
                match made {
                    // Another export was faster.
                    Err(error) if error.is("RESOURCE_ALREADY_EXISTS") => {
                        self.client.experiment(&name)?
                    }
                    made => text(&made?, &["experiment_id"])?,
                }
            }
            found => found?,
        };
        self.cursor.experiment_id = found;
        Ok(self.cursor.save(&self.run)?)
    }

    /// Makes the run, or finds it if a request to make it was sent before and its answer was lost.
    fn begin(&mut self) -> Result<(), MlflowError> {
        if !self.cursor.run_id.is_empty() {
            return Ok(());
        }
        let found = match self.cursor.key.is_empty() {
            true => {
                let nanos =
                    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_nanos());
                self.cursor.key = format!("{}-{nanos}", std::process::id());
                self.cursor.save(&self.run)?;
                None
            }
            false => self.find()?,
        };
        let made = match found {
            Some(run) => run,
            None => {
                let body = json!({
                    "experiment_id": self.cursor.experiment_id,
                    "run_name": self.run.name(),
                    "start_time": millis(self.run.overview(0.0).began.unwrap_or_else(now)),
                    "tags": self.tags(),
                });
                self.client.post("runs/create", &body)?["run"].take()
            }
        };
        self.cursor.run_id = text(&made, &["info", "run_id"])?;
        self.cursor.artifact_uri = text(&made, &["info", "artifact_uri"]).unwrap_or_default();
        self.cursor.status = "RUNNING".into();
        Ok(self.cursor.save(&self.run)?)
    }

    fn find(&self) -> Result<Option<Value>, MlflowError> {
        let body = json!({
            "experiment_ids": [self.cursor.experiment_id],
            "filter": format!("tags.\"nerve.export\" = '{}'", self.cursor.key),
            "max_results": 1,
        });
        let mut found = self.client.post("runs/search", &body)?;
        Ok(found["runs"].get_mut(0).map(Value::take))
    }

    fn tags(&self) -> Vec<Value> {
        let environment = self.run.environment().unwrap_or_default();
        let command = environment["command"]
            .as_array()
            .map(|words| words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "));
        let tags = [
            ("nerve.export", Some(self.cursor.key.clone())),
            ("nerve.run", Some(self.run.path().to_string_lossy().into_owned())),
            ("nerve.version", environment["nerve"].as_str().map(str::to_string)),
            ("nerve.tags", self.run.tags().ok().map(|tags| tags.join(", "))),
            ("mlflow.source.name", command),
            ("mlflow.source.type", Some("LOCAL".into())),
            ("mlflow.user", std::env::var("USER").ok()),
        ];
        let some = tags.into_iter().filter_map(|(key, value)| {
            let value: String = value?.chars().take(LONGEST_TAG).collect();
            (!value.is_empty()).then(|| json!({ "key": key, "value": value }))
        });
        some.collect()
    }

    /// The settings, once. A run whose recipe cannot be read has none.
    fn params(&mut self) -> Result<(), MlflowError> {
        if self.cursor.params {
            return Ok(());
        }
        let settings = settings(&self.run).unwrap_or_default();
        let mut seen = std::collections::BTreeSet::new();
        let params: Vec<Value> = settings
            .into_iter()
            .map(|(path, value)| (key(&path), value.to_string()))
            // Two paths may look the same to MLflow, which takes the first alone.
            .filter(|(key, _)| seen.insert(key.clone()))
            .map(|(key, value)| {
                let value: String = value.chars().take(LONGEST_PARAM).collect();
                json!({ "key": key, "value": value })
            })
            .collect();
        for some in params.chunks(MOST_PARAMS) {
            let body = json!({ "run_id": self.cursor.run_id, "params": some });
            self.client.post("runs/log-batch", &body)?;
        }
        self.cursor.params = true;
        Ok(self.cursor.save(&self.run)?)
    }

    fn events(&mut self) -> Result<u64, MlflowError> {
        let path = self.run.file(EVENTS);
        let mut reader = Reader::from(&path, self.cursor.offset);
        let (mut sent, mut failed) = (0, None);
        let (mut batch, mut behind) = (Vec::new(), self.cursor.offset);
        let read = reader.lines(|line, offset| {
            if failed.is_some() {
                return;
            }
            let Ok(event) = serde_json::from_str::<Event>(line) else { return };
            if matches!(event.what, What::Begin { .. }) {
                self.cursor.done = self.cursor.sent.clone();
            }
            let metrics = self.fresh(&event);
            let status = status(&event);
            if batch.len() + metrics.len() > MOST_METRICS || status.is_some() {
                sent += batch.len() as u64;
                failed = self.send(std::mem::take(&mut batch), behind).err();
            }
            batch.extend(metrics);
            behind = offset;
            if let (Some((word, end)), None) = (status, &failed) {
                // Kept at once: said again, an end before a new beginning would undo that.
                failed = self.status(word, end).and_then(|()| self.passed(offset)).err();
            }
        });
        read.map_err(|error| nerve_formats::FormatError::io(&path, "cannot read", &error))?;
        if let Some(error) = failed {
            return Err(error);
        }
        sent += batch.len() as u64;
        self.send(batch, behind)?;
        Ok(sent)
    }

    /// The metrics in an event, without those of steps that a training does once more since it goes on from a
    /// checkpoint: it ends with the same bits, so they are known.
    fn fresh(&mut self, event: &Event) -> Vec<Value> {
        let mut metrics = metrics(event);
        // The load of the machine is another one each time.
        if matches!(event.what, What::System { .. }) {
            return metrics;
        }
        let Cursor { sent, done, .. } = &mut self.cursor;
        metrics.retain(|metric| {
            let (step, key) = (metric["step"].as_u64(), metric["key"].as_str());
            let (Some(step), Some(key)) = (step, key) else { return true };
            let fresh = !done.holds(step, key);
            if fresh {
                sent.add(step, key);
            }
            fresh
        });
        metrics
    }

    /// Sends metrics, and keeps that all lines up to an offset were sent.
    fn send(&mut self, metrics: Vec<Value>, offset: u64) -> Result<(), MlflowError> {
        for some in metrics.chunks(MOST_METRICS) {
            let body = json!({ "run_id": self.cursor.run_id, "metrics": some });
            self.client.post("runs/log-batch", &body)?;
        }
        self.passed(offset)
    }

    /// Keeps that all lines up to an offset were sent.
    fn passed(&mut self, offset: u64) -> Result<(), MlflowError> {
        if offset == self.cursor.offset {
            return Ok(());
        }
        self.cursor.offset = offset;
        Ok(self.cursor.save(&self.run)?)
    }

    fn status(&mut self, word: &str, end: Option<f64>) -> Result<(), MlflowError> {
        if self.cursor.status == word {
            return Ok(());
        }
        let mut body = json!({ "run_id": self.cursor.run_id, "status": word });
        if let Some(end) = end {
            body["end_time"] = json!(millis(end));
        }
        self.client.post("runs/update", &body)?;
        self.cursor.status = word.to_string();
        Ok(self.cursor.save(&self.run)?)
    }

    /// Sends files of the run folder as artifacts, those that are there and were not sent before. Gives how
    /// many.
    ///
    /// # Errors
    /// As [`advance`](Mlflow::advance), or the server keeps artifacts where only itself can write.
    pub fn upload(&mut self, names: &[&str]) -> Result<u64, MlflowError> {
        let uri = self.cursor.artifact_uri.clone();
        let Some(place) = uri.strip_prefix("mlflow-artifacts:") else {
            return Err(MlflowError::Usage(format!(
                "the server keeps artifacts in `{}`, which it does not take over HTTP; start it with \
                 --serve-artifacts, or copy the files",
                nerve_formats::escape(&uri, 200)
            )));
        };
        // mlflow-artifacts:/PATH, or mlflow-artifacts://HOST/PATH.
        let place = match place.strip_prefix("//") {
            Some(rest) => rest.split_once('/').map_or("", |(_, path)| path),
            None => place.trim_start_matches('/'),
        };
        let place = place.to_string();
        let mut sent = 0;
        for name in names {
            let file = self.run.file(name);
            let done = self.cursor.files.iter().any(|done| done == name);
            if done || !file.is_file() {
                continue;
            }
            self.client.put(&format!("{place}/{name}"), &file)?;
            self.cursor.files.push(name.to_string());
            self.cursor.save(&self.run)?;
            sent += 1;
        }
        Ok(sent)
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |t| t.as_secs_f64())
}

fn millis(seconds: f64) -> i64 {
    (seconds * 1e3).round() as i64
}

/// A text in an answer.
fn text(answer: &Value, path: &[&str]) -> Result<String, MlflowError> {
    let found = path.iter().fold(answer, |value, key| &value[*key]);
    found
        .as_str()
        .map(str::to_string)
        .ok_or_else(|| MlflowError::Strange(format!("an answer without {}", path.join("."))))
}

/// What an event says of the status: the word, and when the run ended.
fn status(event: &Event) -> Option<(&'static str, Option<f64>)> {
    match &event.what {
        What::Begin { .. } => Some(("RUNNING", None)),
        What::End { status, .. } => Some((
            match status {
                Status::Done => "FINISHED",
                Status::Stopped => "KILLED",
                Status::Running => "RUNNING",
                Status::Failed | Status::Diverged => "FAILED",
            },
            Some(event.t),
        )),
        _ => None,
    }
}

/// The metrics in an event.
fn metrics(event: &Event) -> Vec<Value> {
    let one = |name: &str, step: u64, value: f64| {
        let value = match value {
            v if v.is_finite() => json!(v),
            v if v.is_nan() => json!("NaN"),
            v if v > 0.0 => json!("Infinity"),
            _ => json!("-Infinity"),
        };
        json!({ "key": key(name), "value": value, "timestamp": millis(event.t), "step": step })
    };
    match &event.what {
        What::Scalar { step, tag, v, .. } => vec![one(tag, *step, v.0)],
        What::Layer { step, tag, values, .. } => {
            values.iter().map(|(name, v)| one(&format!("{name}/{tag}"), *step, v.0)).collect()
        }
        What::System { step, cpu, memory, data_wait } => {
            let name = |name: &str| format!("system/{name}");
            let cpu = cpu.iter().map(|(key, share)| (name(&format!("cpu_{key}")), *share));
            let memory = memory.iter().map(|(key, bytes)| (name(key), *bytes as f64));
            let wait = (name("data_wait"), data_wait.0);
            cpu.chain(memory).chain([wait]).map(|(key, v)| one(&key, *step, v)).collect()
        }
        _ => Vec::new(),
    }
}

/// A name as MLflow takes it: letters and digits of ASCII, `_ - . / :` and spaces, no path upwards; cut to
/// what is allowed.
fn key(name: &str) -> String {
    let plain = |c: char| match c {
        c if c.is_ascii_alphanumeric() || "_-./: ".contains(c) => c,
        _ => '_',
    };
    let key: String = name.chars().map(plain).take(LONGEST_KEY).collect();
    // It must be a relative path in its shortest form.
    let parts = key.split('/').filter(|part| !part.is_empty() && *part != "." && *part != "..");
    let key = parts.collect::<Vec<_>>().join("/");
    if key.is_empty() { "_".into() } else { key }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_such_as_mlflow_takes() {
        for (name, expected) in [
            ("loss/train", "loss/train"),
            ("ä[0] x", "__0_ x"),
            ("../a//b/./c", "a/b/c"),
            ("/", "_"),
            ("", "_"),
        ] {
            assert_eq!(key(name), expected);
        }
        assert_eq!(key(&"x".repeat(300)).len(), 250);
    }
}
