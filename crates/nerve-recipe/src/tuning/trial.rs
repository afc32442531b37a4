//! A trial: the recipe with the values of the trial, trained, and its score told after each epoch.

use crate::diagnostic::{Code, Diagnostic};
use crate::recipe::{Recipe, path};
use crate::session::{Session, SessionError};
use crate::tuning::Tuning;
use nerve_formats::spec::{Target, nearest};
use nerve_track::RunFolder;
use nerve_train::checkpoint::Memory;
use nerve_train::{
    Background, Callback, CallbackError, Capture, Checkpoints, Control, Goal, History, Moment,
    Outcome, Saver, Snapshot, StepEnd,
};
use nerve_tune::{Attempt, Finish, Setting};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// Where the run folders of trials go.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The folder that holds one for each trial: `0007`.
    pub folder: PathBuf,
}

/// Where trials that run are saved, so that one which was killed goes on.
#[derive(Clone, Debug)]
pub struct Saves {
    /// The folder that holds one for each trial that has not ended.
    pub folder: PathBuf,
    /// How long a trial runs before it is saved for the first time: what is shorter is begun anew.
    pub after: Duration,
}

/// Carries out the trials of a recipe's `[tune]`.
pub struct Trials<'r> {
    recipe: &'r Recipe,
    tuning: &'r Tuning,
    /// By what they are compared; it has a metric.
    goal: Goal,
    /// The data as the recipe without any trial's values prepares them.
    base: Session,
    kept: Option<Kept>,
    saves: Option<Saves>,
}

impl<'r> Trials<'r> {
    /// Reads the data, and makes sure that there is something to compare trials by.
    ///
    /// # Errors
    /// The recipe does not fit its data; there is no such score, for instance since nothing is held back for validation.
    pub fn new(recipe: &'r Recipe, tuning: &'r Tuning) -> Result<Self, SessionError> {
        let base = Session::new(recipe)?;
        let goal = tuning.goal(recipe);
        let (name, known) = (goal.metric.clone().unwrap_or_default(), base.scores());
        if !known.contains(&name) {
            let span = recipe.place(&path("tune", "metric"), Target::Value);
            let message =
                format!("trials are compared by `{name}`; there are {}", known.join(", "));
            let problem = Diagnostic::new(Code::Contradiction, message, Some(span));
            let problem = match base.data.validation {
                None => problem.label("nothing is held back: [data] validation = 0.2"),
                Some(_) => match nearest(&name, known.iter().map(String::as_str)) {
                    Some(near) => problem.label(format!("did you mean `{near}`?")),
                    None => problem,
                },
            };
            return Err(recipe.refuse(problem).into());
        }
        Ok(Trials { recipe, tuning, goal, base, kept: None, saves: None })
    }

    /// With run folders of trials there, or none.
    #[must_use]
    pub fn keeping(self, kept: Option<Kept>) -> Self {
        Trials { kept, ..self }
    }

    /// With trials saved there while they run, or not.
    #[must_use]
    pub fn saving(self, saves: Option<Saves>) -> Self {
        Trials { saves, ..self }
    }

    /// The session that the data come from.
    pub fn session(&self) -> &Session {
        &self.base
    }

    /// By what trials are compared.
    pub fn goal(&self) -> &Goal {
        &self.goal
    }

    /// The recipe with the values of a trial.
    ///
    /// # Errors
    /// A value that does not go together with another one.
    pub fn recipe(&self, settings: &[Setting]) -> Result<Recipe, SessionError> {
        Ok(self.recipe.with(&self.tuning.overrides(settings))?)
    }

    /// Trains a trial, from where an attempt before was saved. `stop` interrupts it; then it is asked for again.
    pub fn run(&self, attempt: &Attempt<'_>, stop: Arc<AtomicBool>) -> Finish {
        self.train(attempt, stop).unwrap_or_else(|error| {
            Finish::Failed(match error {
                SessionError::Recipe(report) => report.brief(),
                SessionError::Data(error) => error.to_string(),
            })
        })
    }

    fn train(&self, attempt: &Attempt<'_>, stop: Arc<AtomicBool>) -> Result<Finish, SessionError> {
        let recipe = self.recipe(&attempt.settings)?;
        let session = match self.tuning.shares_data() {
            true => self.base.beside(&recipe)?,
            false => Session::new(&recipe)?,
        };
        let folder = match self.folder(attempt.number, &session) {
            Ok(folder) => folder,
            Err(reason) => return Ok(Finish::Failed(reason)),
        };
        let restores = recipe.trainer.has("early_stop");
        let epochs = recipe.trainer.usize("epochs") as u64;
        let reports = Vec::new();
        let mut watch = Watch { attempt, goal: &self.goal, restores, epochs, reports, end: None };
        let mut saving = match &self.saves {
            None => None,
            Some(saves) => match Saving::new(saves, &recipe, attempt) {
                Ok(saving) => Some(saving),
                Err(reason) => return Ok(Finish::Failed(reason)),
            },
        };
        let from = saving.as_mut().and_then(|saving| saving.from.take());
        let mut callbacks: Vec<&mut dyn Callback> = vec![&mut watch];
        callbacks.extend(saving.iter_mut().map(|saving| saving as &mut dyn Callback));
        let fit = session.fit(stop, from, &mut callbacks);
        let (end, value) = (watch.end.take(), watch.reports.last().map(|report| report.1));
        let abandoned = matches!(&fit, Ok(fit) if matches!(fit.outcome, Outcome::Interrupted { .. }))
            || end == Some(Finish::Abandoned);
        if let (Some(saving), false) = (saving, abandoned) {
            saving.done();
        }
        let fit = match fit {
            Ok(fit) => fit,
            Err(error) => return Ok(Finish::Failed(error.to_string())),
        };
        if let Some(folder) = &folder {
            let history = fit.history.write_csv(folder.path().join(nerve_track::METRICS));
            if let Err(error) = session.save(folder, &fit.history).and(history) {
                return Ok(Finish::Failed(error.to_string()));
            }
        }
        Ok(match (end, fit.outcome) {
            (Some(end), _) => end,
            (None, Outcome::Interrupted { .. }) => Finish::Abandoned,
            (None, Outcome::Diverged { epoch, step, loss, .. }) => Finish::Failed(format!(
                "diverged: the loss is {loss} at step {step}, epoch {epoch}"
            )),
            (None, _) => match value {
                Some(value) => Finish::Value(value),
                None => Finish::Failed("it has no epochs".into()),
            },
        })
    }

    /// The run folder of a trial, if trials are kept; what an attempt before has left is taken away.
    fn folder(&self, number: usize, session: &Session) -> Result<Option<RunFolder>, String> {
        let Some(Kept { folder }) = &self.kept else { return Ok(None) };
        let name = format!("{number:04}");
        let old = folder.join(&name);
        if old.is_dir() {
            std::fs::remove_dir_all(&old).map_err(|error| {
                format!("cannot begin the run folder of the trial anew: {error}")
            })?;
        }
        let resolved = session.recipe.resolved();
        let files = [(nerve_track::CONFIG, &*resolved), (nerve_track::RESOLVED, &resolved)];
        RunFolder::create(folder, &name, &files).map(Some).map_err(|error| error.to_string())
    }
}

/// Tells the study what each epoch reached, and ends the training when it should.
struct Watch<'w, 'a> {
    attempt: &'w Attempt<'a>,
    goal: &'w Goal,
    /// Whether the training takes the best epoch's parameters in the end.
    restores: bool,
    epochs: u64,
    /// What the network was worth after each epoch: if it ended now, the last.
    reports: Vec<(u64, f64)>,
    /// How the trial ends before its time.
    end: Option<Finish>,
}

impl Callback for Watch<'_, '_> {
    fn on_step_end(&mut self, _: &StepEnd<'_>) -> Result<Control, CallbackError> {
        if self.attempt.stopped() {
            self.end = Some(Finish::Abandoned);
            return Ok(Control::Stop("the tuning stops".into()));
        }
        Ok(Control::Continue)
    }

    fn on_epoch_end(&mut self, history: &History) -> Result<Control, CallbackError> {
        let row = if self.restores { history.best() } else { history.last() };
        let (Some(row), Some(last)) = (row, history.last()) else { return Ok(Control::Continue) };
        let value = self.goal.score(history, row).unwrap_or(f64::NAN);
        self.reports.push((last.epoch, value));
        let goes_on = self.attempt.report(last.epoch, value);
        // After the last epoch there is nothing to save any more.
        if goes_on || last.epoch >= self.epochs {
            return Ok(Control::Continue);
        }
        let stopped = self.attempt.stopped();
        self.end = Some(if stopped { Finish::Abandoned } else { Finish::Pruned });
        Ok(Control::Stop("behind other trials".into()))
    }

    fn memory(&self) -> Option<(&'static str, Memory)> {
        let numbers = self.reports.iter().flat_map(|&(epoch, value)| [epoch as f64, value]);
        Some(("trial", Memory { numbers: numbers.collect(), ..Memory::default() }))
    }

    /// The study has forgotten what the attempt before had told. It said then that the trial goes on.
    fn restore(&mut self, memory: Memory) -> Result<(), CallbackError> {
        for pair in memory.numbers.chunks_exact(2) {
            self.reports.push((pair[0] as u64, pair[1]));
            self.attempt.report(pair[0] as u64, pair[1]);
        }
        Ok(())
    }
}

/// Saves a trial as a training is saved, but not before it has run for a while, and at its end only where it is given up.
struct Saving<'w, 'a> {
    attempt: &'w Attempt<'a>,
    folder: PathBuf,
    saver: Saver,
    /// Where an attempt before stood.
    from: Option<Arc<Snapshot>>,
    /// When it is saved for the first time.
    due: Instant,
    background: Arc<Background>,
}

impl<'w, 'a> Saving<'w, 'a> {
    fn new(saves: &Saves, recipe: &Recipe, attempt: &'w Attempt<'a>) -> Result<Self, String> {
        let folder = saves.folder.join(format!("{:04}", attempt.number));
        let checkpoints = Checkpoints::open(&folder).map_err(|error| error.to_string())?;
        // One that is damaged is none: the trial begins anew.
        let found = checkpoints.last().ok().flatten();
        let background = Arc::new(Background::new());
        let saver = Saver::new(checkpoints, background.clone(), recipe.checkpoints());
        let from = found.map(|found| Arc::new(found.snapshot));
        Ok(Saving { attempt, folder, saver, from, due: Instant::now() + saves.after, background })
    }

    /// The trial has ended: nobody goes on with it.
    fn done(self) {
        self.background.flush();
        // What is left is in nobody's way, and goes with the folder.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Callback for Saving<'_, '_> {
    fn wants_snapshot(&mut self, moment: &Moment) -> bool {
        let late = Instant::now() >= self.due;
        match moment {
            Moment::Begin => false,
            Moment::End => late && self.attempt.stopped(),
            moment => late && self.saver.wants_snapshot(moment),
        }
    }

    fn on_snapshot(&mut self, moment: &Moment, capture: &Capture<'_>) -> Result<(), CallbackError> {
        self.saver.on_snapshot(moment, capture)
    }
}
