//! What the rows of requests are like, beside those that the model was trained on.
//!
//! Each input and each output has a ring with its values of the last rows. A request writes into it without a lock; whoever
//! asks for the drift, and the server itself every few seconds, compares the rings with the reference of the model file.

use crate::columns::Cellar;
use crate::watch::{Counter, Histogram};
use nerve_data::features::Answer;
use nerve_lens::drift::{self, Drift, Gauge, Measured, Options, Reading, Reference, Ring, Summary};
use nerve_recipe::Predictor;
use nerve_recipe::reference::gauge;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How inputs are watched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Watching {
    /// How many of the last rows are compared.
    pub window: usize,
    /// The score from which on a column has drifted, whatever its test; `None`: that of its test.
    pub threshold: Option<f64>,
}

impl Default for Watching {
    fn default() -> Self {
        Watching { window: 1000, threshold: None }
    }
}

/// Fewer rows than this say nothing.
pub const LEAST: u64 = 200;
/// Upper bounds of how sure a model is.
pub const SURE: [f64; 10] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];
/// Pictures, sounds and vectors of a request that are measured at most: a measurement looks at each of their values.
const COSTLY: usize = 4;
/// How many times as long as it takes to measure those of a request the next are passed over.
const RESTS: u32 = 100;
/// How often the drift is computed at most.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a warning is not repeated.
const TOLD: Duration = Duration::from_secs(600);
/// What a name is called that the training rows do not have.
const OTHER: &str = "(another name)";

/// A column that goes in.
pub(crate) struct Input {
    /// Its name.
    pub name: String,
    at: usize,
    gauge: Gauge,
    aspects: Vec<Series>,
    /// Cells without a value.
    pub missing: Counter,
    /// Numbers beyond those of the training rows, and names that these do not have.
    pub out_of_range: Counter,
    /// Until when its cells are passed over.
    rest: Rest,
}

/// A column that comes out.
pub(crate) struct Output {
    /// Its name.
    pub name: String,
    /// Its classes, and how often each was said.
    pub classes: Vec<(String, Counter)>,
    /// How sure the model was of what it said.
    pub sure: Histogram<{ SURE.len() }>,
    said: Series,
    confidence: Series,
}

/// The last values of something that is measured, and what it should be like.
struct Series {
    ring: Ring,
    reference: Option<Measured>,
    /// The numbers of the names of the reference.
    names: HashMap<String, usize>,
}

/// What is known of the drift.
#[derive(Default)]
struct State {
    computed: Option<(u64, Instant, Arc<Drift>)>,
    drifted: HashSet<String>,
    told: HashMap<String, Instant>,
}

/// What the rows of requests are like.
pub(crate) struct Drifting {
    pub inputs: Vec<Input>,
    pub outputs: Vec<Output>,
    /// Whether the model file says what its training rows were like.
    pub has_reference: bool,
    pub watching: Watching,
    state: Mutex<State>,
}

impl Series {
    fn new(reference: Option<&Measured>, window: usize) -> Series {
        let names = match reference.map(|it| &it.summary) {
            Some(Summary::Names(names)) => {
                names.names.iter().enumerate().map(|(at, (name, _))| (name.clone(), at)).collect()
            }
            _ => HashMap::new(),
        };
        Series { ring: Ring::new(window), reference: reference.cloned(), names }
    }

    /// Adds a value; whether it is one that the training rows do not have.
    fn add(&self, reading: Reading<'_>) -> bool {
        match (reading, self.reference.as_ref().map(|it| &it.summary)) {
            (Reading::Number(number), reference) => {
                self.ring.number(number);
                matches!(reference, Some(Summary::Numbers(r)) if number < r.least || number > r.greatest)
            }
            (Reading::Name(name), reference) => {
                let known = self.names.get(name).copied();
                self.ring.name(known);
                known.is_none() && matches!(reference, Some(Summary::Names(r)) if r.rest == 0)
            }
            (Reading::Missing | Reading::Refused, _) => {
                self.ring.missing();
                false
            }
        }
    }

    fn compared(&self, options: &Options) -> Option<drift::ColumnDrift> {
        let reference = self.reference.as_ref().filter(|_| self.ring.added() >= LEAST)?;
        let now = match &reference.summary {
            Summary::Numbers(_) => self.ring.numbers(),
            Summary::Names(names) => {
                let known: Vec<&str> = names.names.iter().map(|(name, _)| name.as_str()).collect();
                self.ring.names(&known, OTHER)
            }
        };
        Some(drift::compare(&reference.feature, reference.summary.clone(), now, options))
    }
}

/// Measuring a picture takes as long as a small network does, so it rests a hundred times as long as it worked.
struct Rest {
    since: Instant,
    /// Microseconds after `since`.
    until: AtomicU64,
}

impl Default for Rest {
    fn default() -> Rest {
        Rest { since: Instant::now(), until: AtomicU64::new(0) }
    }
}

impl Rest {
    /// Now, if the rest is over.
    fn over(&self) -> Option<Instant> {
        let now = Instant::now();
        (now.duration_since(self.since).as_micros() as u64 >= self.until.load(Relaxed))
            .then_some(now)
    }

    /// After work that began then.
    fn after(&self, begun: Instant) {
        let rested = begun.elapsed() * RESTS;
        let until = (self.since.elapsed() + rested).as_micros() as u64;
        self.until.store(until, Relaxed);
    }
}

impl Drifting {
    pub fn new(predictor: &Predictor, watching: Watching) -> Drifting {
        let empty = Reference::default();
        let reference = predictor.reference().unwrap_or(&empty);
        let features = predictor.features();
        let find = |all: &[Measured], feature: &str| {
            Series::new(all.iter().find(|it| it.feature == feature), watching.window)
        };
        let input = |(at, fitted): (usize, &nerve_recipe::features::Fitted)| {
            let (name, gauge) = (fitted.column.name.clone(), gauge(fitted)?);
            let aspects = gauge.aspects().iter();
            let aspects =
                aspects.map(|(aspect, _)| find(&reference.features, &format!("{name}{aspect}")));
            let aspects = aspects.collect();
            let (missing, out_of_range) = (Counter::default(), Counter::default());
            let rest = Rest::default();
            Some(Input { name, at, gauge, aspects, missing, out_of_range, rest })
        };
        let output = |fitted: &nerve_recipe::features::Fitted| {
            let name = fitted.column.name.clone();
            let classes = fitted.feature.output().map_or(&[][..], |output| output.classes());
            Output {
                classes: classes.iter().map(|name| (name.clone(), Counter::default())).collect(),
                sure: Histogram::new(SURE),
                said: find(&reference.predictions, &format!("prediction.{name}")),
                confidence: find(&reference.predictions, &format!("prediction.{name}.confidence")),
                name,
            }
        };
        Drifting {
            inputs: features.inputs.iter().enumerate().filter_map(input).collect(),
            outputs: features.outputs.iter().map(output).collect(),
            has_reference: predictor.reference().is_some(),
            watching,
            state: Mutex::default(),
        }
    }

    /// Looks at the rows of a request. Of more than the window holds only the last.
    pub fn observe(&self, cells: &[Cellar], rows: usize) {
        for input in &self.inputs {
            let Some(cellar) = cells.get(input.at) else { continue };
            let most = if input.gauge.costly() { COSTLY } else { self.watching.window };
            let begun = input.gauge.costly().then(|| input.rest.over());
            if begun == Some(None) {
                continue;
            }
            for row in rows.saturating_sub(most)..rows {
                let (cells, place) = cellar.at(row);
                input.gauge.read(cells, place, |aspect, reading| {
                    let unknown = input.aspects[aspect].add(reading);
                    if aspect == 0 {
                        let none = matches!(reading, Reading::Missing | Reading::Refused);
                        input.missing.add(u64::from(none));
                        input.out_of_range.add(u64::from(unknown));
                    }
                });
            }
            if let Some(begun) = begun.flatten() {
                input.rest.after(begun);
            }
        }
    }

    /// Looks at what the model said; `answers` has for each output those of all rows.
    pub fn said(&self, predictor: &Predictor, answers: &[Vec<Answer>]) {
        for (at, (output, answers)) in self.outputs.iter().zip(answers).enumerate() {
            for answer in answers {
                match answer {
                    Answer::Number(number) => drop(output.said.add(Reading::Number(*number))),
                    Answer::Classes(shares) => {
                        let decided = predictor.decided(at, shares);
                        let (Some((name, count)), Some(sure)) =
                            (output.classes.get(decided), shares.get(decided))
                        else {
                            continue;
                        };
                        let sure = f64::from(*sure);
                        count.add(1);
                        output.sure.add(sure);
                        output.said.add(Reading::Name(name));
                        output.confidence.add(Reading::Number(sure));
                    }
                    _ => {}
                }
            }
        }
    }

    fn series(&self) -> impl Iterator<Item = &Series> {
        let inputs = self.inputs.iter().flat_map(|input| &input.aspects);
        inputs.chain(self.outputs.iter().flat_map(|output| [&output.said, &output.confidence]))
    }

    /// How many rows were looked at.
    pub fn rows(&self) -> u64 {
        self.series().map(|series| series.ring.added()).max().unwrap_or(0)
    }

    /// The columns of which enough is known, beside the training rows; at most a second old. `tell` hears which begin to
    /// drift.
    pub fn drift(&self, tell: impl Fn(&str)) -> Arc<Drift> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = self.series().map(|series| series.ring.added()).sum();
        if let Some((then, when, drift)) = &state.computed
            // While there is nothing to compare, it costs nothing.
            && !drift.columns.is_empty()
            && (*then == rows || when.elapsed() < AGAIN)
        {
            return drift.clone();
        }
        let options = Options { threshold: self.watching.threshold, ..Options::default() };
        let columns = self.series().filter_map(|series| series.compared(&options)).collect();
        let drift = Arc::new(Drift { columns, share: options.share });
        state.computed = Some((rows, Instant::now(), drift.clone()));
        state.compare(&drift, tell);
        drift
    }
}

impl State {
    /// Tells which features have begun to drift, each now and then.
    fn compare(&mut self, drift: &Drift, tell: impl Fn(&str)) {
        let mut drifted = HashSet::new();
        for column in drift.columns.iter().filter(|column| column.drifted()) {
            let name = &column.feature;
            drifted.insert(name.clone());
            let told = self.told.get(name).is_some_and(|told| told.elapsed() < TOLD);
            if !self.drifted.contains(name) && !told {
                self.told.insert(name.clone(), Instant::now());
                let why = match &column.verdict {
                    Ok(v) => format!("{} {:.4}, threshold {}", v.test.name(), v.score, v.threshold),
                    Err(reason) => reason.clone(),
                };
                tell(&format!("`{}` drifts: {why}", crate::refusal::shown(name)));
            }
        }
        self.drifted = drifted;
    }
}
