//! A study: the trials so far, and what comes next.

use crate::TuneError;
use crate::journal::{self, FORMAT, Journal, Line, now, shown};
use crate::pruner::Pruner;
use crate::sampler::Sampler;
use crate::space::{Setting, Space};
use crate::tpe::Tpe;
use nerve_formats::escape;
use nerve_train::Mode;
use serde_json::{Map, Value as Json};
use std::collections::VecDeque;
use std::path::Path;

/// How a study searches.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How trials are chosen.
    pub sampler: Sampler,
    /// Which are ended early.
    pub pruner: Pruner,
    /// Whether less is better, or more.
    pub mode: Mode,
    /// The start of all random numbers.
    pub seed: u64,
    /// What is tuned, in words of the caller; a journal of another subject is refused.
    pub subject: String,
}

impl Default for Settings {
    /// The Parzen estimator, nothing pruned, less is better, seed 42.
    fn default() -> Self {
        Settings {
            sampler: Sampler::Tpe(Tpe::default()),
            pruner: Pruner::None,
            mode: Mode::Min,
            seed: 42,
            subject: String::new(),
        }
    }
}

/// How a trial stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has not ended.
    Running,
    /// It came to its end, and has a value.
    Told,
    /// It was ended early.
    Pruned,
    /// It has no value and never will have.
    Failed,
}

impl Outcome {
    /// `told`.
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Running => "running",
            Outcome::Told => "told",
            Outcome::Pruned => "pruned",
            Outcome::Failed => "failed",
        }
    }
}

/// A trial: a point of the space, and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// Its number, counted from 0.
    pub number: usize,
    /// Its parameters, in the order of the space.
    pub settings: Vec<Setting>,
    /// Whether somebody [proposed](Study::propose) it, and no sampler.
    pub proposed: bool,
    /// How it stands.
    pub outcome: Outcome,
    /// What it reached, once it has been told.
    pub value: Option<f64>,
    /// How it came on: steps, ascending, and what was reached by then; NaN for what is no finite number.
    pub reports: Vec<(u64, f64)>,
    /// Why it failed.
    pub reason: String,
    /// How long it took, once it has ended.
    pub seconds: f64,
}

/// The trials so far, and how the next one is chosen.
#[derive(Debug)]
pub struct Study {
    space: Space,
    settings: Settings,
    trials: Vec<Trial>,
    /// Trials that were asked for and are not in anybody's hands.
    waiting: VecDeque<usize>,
    /// What was proposed and has no number yet.
    proposed: VecDeque<Vec<Setting>>,
    journal: Option<Journal>,
}

impl Study {
    /// A study in memory.
    ///
    /// # Errors
    /// A grid over a space that cannot be counted.
    pub fn new(space: Space, settings: Settings) -> Result<Study, TuneError> {
        if settings.sampler == Sampler::Grid {
            space.grid()?;
        }
        let (trials, waiting, proposed) = (Vec::new(), VecDeque::new(), VecDeque::new());
        Ok(Study { space, settings, trials, waiting, proposed, journal: None })
    }

    /// A study with a journal: begun if there is none in the file, else continued. Trials that had not ended are asked
    /// for again, with the parameters they had.
    ///
    /// # Errors
    /// Those of [`Study::new`]; the file cannot be read or written, is in use, damaged, or that of another study.
    pub fn open(path: &Path, space: Space, settings: Settings) -> Result<Study, TuneError> {
        let mut study = Study::new(space, settings)?;
        let mut found = None;
        let mut journal = Journal::open(path, |number, line| match (number, line) {
            (1, first) => {
                let old = begun(first)?;
                let differences = study.differences(&old);
                found = Some(old);
                // What follows is not read as that of this study, if it is not.
                if differences.is_empty() { Ok(()) } else { Err(differences.join("\n  ")) }
            }
            (_, line) => study.replay(line),
        })
        .map_err(|error| match (error, &found) {
            (TuneError::Journal { line: 1, file, reason }, Some(_)) => {
                TuneError::Other { file, differences: vec![reason] }
            }
            (error, _) => error,
        })?;
        if found.is_none() {
            journal.write(&study.first_line())?;
        }
        let running = |trial: &&Trial| trial.outcome == Outcome::Running;
        study.waiting = study.trials.iter().filter(running).map(|trial| trial.number).collect();
        study.journal = Some(journal);
        Ok(study)
    }

    /// A study as its journal tells it, to be looked at: also while another process goes on with it.
    ///
    /// # Errors
    /// The file cannot be read, is damaged, or has no study in it yet.
    pub fn read(path: &Path) -> Result<Study, TuneError> {
        let mut study: Option<Study> = None;
        journal::look(path, |_, line| match &mut study {
            None => {
                let old = begun(line)?;
                study = Some(old);
                Ok(())
            }
            Some(study) => study.replay(line),
        })?;
        let reason = "expected a study, found an empty file".to_string();
        study.ok_or(TuneError::Journal { file: shown(path), line: 1, reason })
    }

    /// What is searched.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// How it searches.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The trials, by their numbers.
    pub fn trials(&self) -> &[Trial] {
        &self.trials
    }

    /// How many trials stand so.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.trials.iter().filter(|trial| trial.outcome == outcome).count()
    }

    /// Has these values tried before the sampler chooses any: what is in use, or what experience says. Values that a
    /// trial has, or that were proposed before, are not tried twice, so that whoever opens a study may always propose
    /// the same. The samplers learn from such a trial as from any other; in a grid it has no place of its own, and the
    /// grid is tried as a whole beside it.
    ///
    /// ```
    /// use nerve_tune::{Domain, Parameter, Setting, Settings, Space, Study};
    /// let space = Space::new(vec![Parameter::new("lr", Domain::log_float(1e-4, 1e-1))])?;
    /// let mut study = Study::new(space, Settings::default())?;
    /// study.propose(vec![Setting::Float(1e-3)])?;
    /// let first = study.ask()?.unwrap();
    /// assert_eq!(study.trials()[first].settings, [Setting::Float(1e-3)]);
    /// # Ok::<(), nerve_tune::TuneError>(())
    /// ```
    ///
    /// # Errors
    /// They are no point of the space: as many values as it has parameters, each one that its parameter takes.
    pub fn propose(&mut self, settings: Vec<Setting>) -> Result<(), TuneError> {
        self.space.check(&settings)?;
        let known = self.trials.iter().any(|trial| trial.settings == settings);
        if !known && !self.proposed.contains(&settings) {
            self.proposed.push_back(settings);
        }
        Ok(())
    }

    /// Whether there are trials to be asked for again.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The trial with the best value, the first of several.
    pub fn best(&self) -> Option<&Trial> {
        let told = self.trials.iter().filter(|trial| trial.value.is_some());
        told.reduce(|best, trial| {
            let (a, b) = (trial.value.unwrap_or(f64::NAN), best.value.unwrap_or(f64::NAN));
            let better = match self.settings.mode {
                Mode::Min => a < b,
                Mode::Max => a > b,
            };
            if better { trial } else { best }
        })
    }

    /// The number of the next trial: one that had not ended, else a new one. `None` where a grid is exhausted.
    ///
    /// # Errors
    /// The journal cannot be written; so for all that follows.
    pub fn ask(&mut self) -> Result<Option<usize>, TuneError> {
        if let Some(number) = self.waiting.pop_front() {
            self.write(|| Line::Again { trial: number, t: now() })?;
            self.trials[number].reports.clear();
            return Ok(Some(number));
        }
        let proposed = self.proposed.pop_front();
        let (settings, proposed) = match (proposed, &self.settings) {
            (Some(settings), _) => (settings, true),
            (None, Settings { sampler, mode, seed, .. }) => {
                match sampler.next(&self.space, *mode, *seed, &self.trials) {
                    Some(settings) => (settings, false),
                    None => return Ok(None),
                }
            }
        };
        let number = self.trials.len();
        let names = self.space.parameters().iter().map(|parameter| parameter.name.clone());
        let values: Map<String, Json> = names.zip(settings.iter().map(Setting::json)).collect();
        self.write(|| Line::Asked { trial: number, t: now(), values, proposed })?;
        self.trials.push(Trial { proposed, ..new_trial(number, settings) });
        Ok(Some(number))
    }

    /// A trial has come to a step and reached a value there. Gives whether it is to end.
    ///
    /// # Errors
    /// As [`Study::ask`].
    ///
    /// # Panics
    /// If the trial does not run, or the steps do not ascend.
    #[track_caller]
    pub fn report(&mut self, number: usize, step: u64, value: f64) -> Result<bool, TuneError> {
        let last = self.running(number).reports.last();
        assert!(last.is_none_or(|last| last.0 < step), "trial {number}: step {step} is not new");
        let value = if value.is_finite() { value } else { f64::NAN };
        self.write(|| Line::Report { trial: number, step, v: value.is_finite().then_some(value) })?;
        self.trials[number].reports.push((step, value));
        let trial = &self.trials[number];
        Ok(self.settings.pruner.prunes(self.settings.mode, &self.trials, trial))
    }

    /// A trial has come to its end. A value that is no finite number is that of a trial that failed.
    ///
    /// # Errors
    /// As [`Study::ask`].
    ///
    /// # Panics
    /// If the trial does not run.
    #[track_caller]
    pub fn tell(&mut self, number: usize, value: f64, seconds: f64) -> Result<(), TuneError> {
        if !value.is_finite() {
            return self.fail(number, &format!("its value is {value}"), seconds);
        }
        self.running(number);
        self.write(|| Line::Told { trial: number, t: now(), v: value, seconds })?;
        self.end(number, Outcome::Told, seconds).value = Some(value);
        Ok(())
    }

    /// A trial was ended early.
    ///
    /// # Errors
    /// As [`Study::ask`].
    ///
    /// # Panics
    /// If the trial does not run.
    #[track_caller]
    pub fn prune(&mut self, number: usize, seconds: f64) -> Result<(), TuneError> {
        self.running(number);
        self.write(|| Line::Pruned { trial: number, t: now(), seconds })?;
        self.end(number, Outcome::Pruned, seconds);
        Ok(())
    }

    /// A trial has no value, for this reason.
    ///
    /// # Errors
    /// As [`Study::ask`].
    ///
    /// # Panics
    /// If the trial does not run.
    #[track_caller]
    pub fn fail(&mut self, number: usize, reason: &str, seconds: f64) -> Result<(), TuneError> {
        self.running(number);
        let reason = reason.to_string();
        self.write(|| Line::Failed { trial: number, t: now(), reason: reason.clone(), seconds })?;
        self.end(number, Outcome::Failed, seconds).reason = reason;
        Ok(())
    }

    /// A trial was given up: it is asked for again before any other.
    ///
    /// # Panics
    /// If the trial does not run.
    #[track_caller]
    pub fn abandon(&mut self, number: usize) {
        self.running(number);
        self.waiting.push_back(number);
    }

    /// A trial that was made elsewhere.
    #[cfg(test)]
    pub(crate) fn add(&mut self, settings: Vec<Setting>, value: f64) {
        let number = self.trials.len();
        let trial = new_trial(number, settings);
        self.trials.push(Trial { outcome: Outcome::Told, value: Some(value), ..trial });
    }

    #[track_caller]
    fn running(&self, number: usize) -> &Trial {
        let trial = self.trials.get(number).filter(|it| it.outcome == Outcome::Running);
        match trial.filter(|trial| !self.waiting.contains(&trial.number)) {
            Some(trial) => trial,
            None => panic!("trial {number} does not run"),
        }
    }

    fn end(&mut self, number: usize, outcome: Outcome, seconds: f64) -> &mut Trial {
        let trial = &mut self.trials[number];
        (trial.outcome, trial.seconds) = (outcome, seconds);
        trial
    }

    fn write(&mut self, line: impl FnOnce() -> Line) -> Result<(), TuneError> {
        match &mut self.journal {
            Some(journal) => journal.write(&line()),
            None => Ok(()),
        }
    }

    fn first_line(&self) -> Line {
        let Settings { sampler, pruner, mode, seed, subject } = self.settings.clone();
        Line::Study {
            format: FORMAT,
            nerve: env!("CARGO_PKG_VERSION").into(),
            seed,
            mode: mode_word(mode).into(),
            sampler,
            pruner,
            space: self.space.clone(),
            subject,
        }
    }

    /// What is different from another study, in words.
    fn differences(&self, old: &Study) -> Vec<String> {
        let mut found = self.space.differences(&old.space);
        let (new, old) = (&self.settings, &old.settings);
        let mut compare = |what: &str, old: String, new: String| {
            if old != new {
                found.push(format!("{what} was {old}, it is {new}"));
            }
        };
        compare("the seed", old.seed.to_string(), new.seed.to_string());
        compare("the mode", mode_word(old.mode).into(), mode_word(new.mode).into());
        compare("the sampler", json(&old.sampler), json(&new.sampler));
        compare("the pruner", json(&old.pruner), json(&new.pruner));
        if old.subject != new.subject {
            let (before, now) = (old.subject.lines(), new.subject.lines());
            let gone = before.clone().filter(|line| !now.clone().any(|other| other == *line));
            let come = now.clone().filter(|line| !before.clone().any(|other| other == *line));
            let show = |sign: &str, line: &str| format!("{sign} {}", escape(line, 160));
            let all = gone.map(|line| show("-", line)).chain(come.map(|line| show("+", line)));
            let all: Vec<String> = all.take(10).collect();
            found.push(format!("what is tuned has changed:\n  {}", all.join("\n  ")));
        }
        found
    }

    /// Carries out a line of the journal.
    fn replay(&mut self, line: Line) -> Result<(), String> {
        match line {
            Line::Study { .. } => return Err("a second study begins".into()),
            Line::Unknown => {}
            Line::Asked { trial, values, proposed, .. } => {
                if trial != self.trials.len() {
                    return Err(format!("expected trial {}, found {trial}", self.trials.len()));
                }
                let settings = self.read_settings(&values)?;
                self.trials.push(Trial { proposed, ..new_trial(trial, settings) });
            }
            Line::Again { trial, .. } => self.replayed(trial)?.reports.clear(),
            Line::Report { trial, step, v } => {
                let trial = self.replayed(trial)?;
                if trial.reports.last().is_some_and(|last| last.0 >= step) {
                    return Err(format!("trial {}: step {step} is not new", trial.number));
                }
                trial.reports.push((step, v.unwrap_or(f64::NAN)));
            }
            Line::Told { trial, v, seconds, .. } => {
                let trial = self.replayed(trial)?;
                (trial.outcome, trial.value, trial.seconds) = (Outcome::Told, Some(v), seconds);
            }
            Line::Pruned { trial, seconds, .. } => {
                let trial = self.replayed(trial)?;
                (trial.outcome, trial.seconds) = (Outcome::Pruned, seconds);
            }
            Line::Failed { trial, reason, seconds, .. } => {
                let trial = self.replayed(trial)?;
                (trial.outcome, trial.reason, trial.seconds) = (Outcome::Failed, reason, seconds);
            }
        }
        Ok(())
    }

    fn replayed(&mut self, number: usize) -> Result<&mut Trial, String> {
        let trial = self.trials.get_mut(number);
        let trial = trial.ok_or_else(|| format!("trial {number} was never asked for"))?;
        match trial.outcome {
            Outcome::Running => Ok(trial),
            ended => Err(format!("trial {number} has ended before ({})", ended.word())),
        }
    }

    fn read_settings(&self, values: &Map<String, Json>) -> Result<Vec<Setting>, String> {
        let parameters = self.space.parameters();
        if values.len() != parameters.len() {
            return Err(format!("expected {} values, found {}", parameters.len(), values.len()));
        }
        let read = |parameter: &crate::Parameter| {
            let name = escape(&parameter.name, 100);
            let value =
                values.get(&parameter.name).ok_or_else(|| format!("no value of `{name}`"))?;
            parameter.domain.read(value).ok_or_else(|| {
                let found = escape(&value.to_string(), 60);
                format!("`{name}`: expected {}, found {found}", parameter.domain.words())
            })
        };
        parameters.iter().map(read).collect()
    }
}

fn new_trial(number: usize, settings: Vec<Setting>) -> Trial {
    Trial {
        number,
        settings,
        proposed: false,
        outcome: Outcome::Running,
        value: None,
        reports: Vec::new(),
        reason: String::new(),
        seconds: 0.0,
    }
}

fn mode_word(mode: Mode) -> &'static str {
    match mode {
        Mode::Min => "min",
        Mode::Max => "max",
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The study of the first line of a journal, without trials.
fn begun(line: Line) -> Result<Study, String> {
    let Line::Study { format, seed, mode, sampler, pruner, space, subject, .. } = line else {
        return Err("expected the line that begins a study".into());
    };
    if format != FORMAT {
        return Err(format!("it is of format {format}, this version reads format {FORMAT}"));
    }
    let mode = match mode.as_str() {
        "min" => Mode::Min,
        "max" => Mode::Max,
        other => return Err(format!("the mode is `{}`, expected min or max", escape(other, 40))),
    };
    // What a file says is a space is one only after the checks of a new one.
    let space = Space::new(space.parameters().to_vec()).map_err(|error| error.to_string())?;
    let settings = Settings { sampler, pruner, mode, seed, subject };
    Study::new(space, settings).map_err(|error| error.to_string())
}
