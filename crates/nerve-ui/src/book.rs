//! A run as its events tell it, read once and then only what is new.

use nerve_track::{EVENTS, Event, Number, Point, Reader, RunFolder, Series, Status, What};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// Most notes and checkpoints that are kept of a run: the last ones.
const KEPT: usize = 1000;

/// All that the events of a run say.
#[derive(Debug)]
pub struct Book {
    path: PathBuf,
    reader: Reader,
    skipped: u64,
    /// The curves: scalars by their tags, and `system/...` and `layer/...` from other events.
    pub series: Series,
    /// The times the training began: at first, and whenever it was continued.
    pub begins: Vec<Begin>,
    /// The rows of the history.
    pub epochs: Vec<Event>,
    /// Histograms by their tags.
    pub histograms: BTreeMap<String, Vec<Event>>,
    /// Confusion matrices by their tags.
    pub confusions: BTreeMap<String, Vec<Event>>,
    /// Pictures and texts.
    pub media: Vec<Event>,
    /// The last checkpoints.
    pub checkpoints: Vec<Event>,
    /// The last things to know.
    pub notes: Vec<Event>,
    /// How the last process ended, if it said so.
    pub end: Option<(Status, String, u64)>,
    /// The names of the values of layers: a curve `layer/NAME/VALUE` each.
    pub layers: BTreeMap<String, BTreeSet<String>>,
}

/// A beginning.
#[derive(Clone, Debug, PartialEq)]
pub struct Begin {
    /// The event.
    pub event: Event,
    /// How long nobody trained before, in seconds.
    pub pause: f64,
}

impl Book {
    /// Of a run; nothing is read yet.
    pub fn new(run: &RunFolder) -> Book {
        Book::of(&run.file(EVENTS))
    }

    fn of(path: &Path) -> Book {
        Book {
            path: path.to_path_buf(),
            reader: Reader::new(path),
            skipped: 0,
            series: Series::default(),
            begins: Vec::new(),
            epochs: Vec::new(),
            histograms: BTreeMap::new(),
            confusions: BTreeMap::new(),
            media: Vec::new(),
            checkpoints: Vec::new(),
            notes: Vec::new(),
            end: None,
            layers: BTreeMap::new(),
        }
    }

    /// Reads what is new.
    ///
    /// # Errors
    /// Those of the disk; that there is no file yet is none.
    pub fn refresh(&mut self) -> io::Result<()> {
        let length = std::fs::metadata(&self.path).map_or(0, |file| file.len());
        if length < self.reader.offset() {
            *self = Book::of(&self.path);
        }
        let mut reader = std::mem::replace(&mut self.reader, Reader::new(&self.path));
        let done = reader.lines(|line, _| match self.series.line(line) {
            Ok(Some(event)) => self.event(event),
            Ok(None) => {}
            Err(_) => self.skipped += 1,
        });
        self.reader = reader;
        done
    }

    /// Where the first line begins that was not read yet, in bytes.
    pub fn offset(&self) -> u64 {
        self.reader.offset()
    }

    /// How many lines were none.
    pub fn skipped(&self) -> u64 {
        self.reader.skipped() + self.skipped
    }

    /// Roughly how many numbers are kept.
    pub fn weight(&self) -> usize {
        let bins = |events: &Vec<Event>| -> usize {
            let bins = |event: &Event| match &event.what {
                What::Hist { counts, .. } => counts.len(),
                What::Confusion { counts, .. } => counts.len() * counts.len(),
                _ => 1,
            };
            events.iter().map(bins).sum()
        };
        let all = self.histograms.values().chain(self.confusions.values());
        self.series.points() + all.map(bins).sum::<usize>()
    }

    /// Seconds of training at a wall clock time: without the time in which nobody trained.
    pub fn seconds(&self, t: f64) -> f64 {
        let Some(first) = self.begins.first() else { return 0.0 };
        let before = self.begins.iter().filter(|begin| begin.event.t <= t);
        let paused: f64 = before.map(|begin| begin.pause).sum();
        (((t - first.event.t - paused).max(0.0)) * 1e3).round() / 1e3
    }

    /// The steps of an epoch, where that is known.
    pub fn steps_per_epoch(&self) -> Option<u64> {
        match &self.begins.last()?.event.what {
            What::Begin { steps_per_epoch, .. } => steps_per_epoch.filter(|&steps| steps > 0),
            _ => None,
        }
    }

    fn event(&mut self, event: Event) {
        let t = event.t;
        match &event.what {
            What::Begin { step, .. } => self.begin(*step, event),
            What::Epoch { .. } => self.epochs.push(event),
            What::Hist { tag, .. } => {
                self.histograms.entry(tag.clone()).or_default().push(event);
            }
            What::Confusion { tag, .. } => {
                self.confusions.entry(tag.clone()).or_default().push(event);
            }
            What::Image { .. } | What::Text { .. } => self.media.push(event),
            What::Checkpoint { .. } => push_last(&mut self.checkpoints, event),
            What::Note { .. } => push_last(&mut self.notes, event),
            What::End { status, reason, step } => {
                self.end = Some((*status, reason.clone(), *step));
            }
            What::Layer { step, epoch, tag, values } => {
                let names = self.layers.entry(tag.clone()).or_default();
                for (name, v) in values {
                    names.insert(name.clone());
                    let point = Point { step: *step, epoch: *epoch, t, v: v.0 };
                    self.series.push(&format!("layer/{tag}/{name}"), point);
                }
            }
            What::System { step, cpu, memory, data_wait } => {
                let epoch = self.steps_per_epoch().map_or(0, |steps| step.div_ceil(steps));
                let mut push = |tag: String, v: f64| {
                    self.series.push(&tag, Point { step: *step, epoch, t, v });
                };
                cpu.iter().for_each(|(name, &v)| push(format!("system/cpu/{name}"), v));
                memory
                    .iter()
                    .for_each(|(name, &v)| push(format!("system/memory/{name}"), v as f64));
                push("system/data_wait".into(), data_wait.0);
            }
            What::Scalar { .. } | What::Unknown => {}
        }
    }

    /// A training goes on after a step: what was written of later ones no longer counts.
    fn begin(&mut self, step: u64, event: Event) {
        let early = |event: &Event| step_of(&event.what).is_none_or(|at| at <= step);
        self.epochs.retain(early);
        self.media.retain(early);
        self.checkpoints.retain(early);
        for events in self.histograms.values_mut().chain(self.confusions.values_mut()) {
            events.retain(early);
        }
        self.histograms.retain(|_, events| !events.is_empty());
        self.confusions.retain(|_, events| !events.is_empty());
        self.end = None;
        // The clock of the training goes on where the training does: lost work does not count.
        let points = self.series.iter().filter_map(|(_, curve)| curve.last()).map(|point| point.t);
        let others =
            [self.epochs.last(), self.checkpoints.last(), self.begins.last().map(|b| &b.event)];
        let last =
            points.chain(others.into_iter().flatten().map(|event| event.t)).fold(0.0, f64::max);
        let pause = if self.begins.is_empty() { 0.0 } else { (event.t - last).max(0.0) };
        self.begins.push(Begin { event, pause });
    }
}

/// The step of an event that belongs to one.
pub fn step_of(what: &What) -> Option<u64> {
    match what {
        What::Begin { step, .. }
        | What::Scalar { step, .. }
        | What::Epoch { step, .. }
        | What::Hist { step, .. }
        | What::Image { step, .. }
        | What::Text { step, .. }
        | What::Confusion { step, .. }
        | What::Layer { step, .. }
        | What::System { step, .. }
        | What::Checkpoint { step, .. }
        | What::End { step, .. } => Some(*step),
        What::Note { .. } | What::Unknown => None,
    }
}

/// A number as it goes to the page: infinite ones and none are words.
pub fn number(v: f64) -> serde_json::Value {
    serde_json::to_value(Number(v)).unwrap_or_default()
}

fn push_last(events: &mut Vec<Event>, event: Event) {
    if events.len() >= 2 * KEPT {
        events.drain(..KEPT);
    }
    events.push(event);
}
