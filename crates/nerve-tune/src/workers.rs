//! Trials side by side, in threads of this process.

use crate::TuneError;
use crate::space::Setting;
use crate::study::Study;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

/// Called with the study when a trial has ended.
pub type Observer<'a> = dyn Fn(&Study, usize) + Sync + 'a;

/// How long is searched, and by how many.
#[derive(Clone)]
pub struct Options<'a> {
    /// How many trials there are to be, those of the journal among them.
    pub trials: usize,
    /// How many run at the same time.
    ///
    /// Each trial is keyed by its number, so that random and grid trials are the same whatever the number of workers.
    /// The Parzen estimator learns from the trials that have ended by then, and a pruner compares with those that came
    /// as far by then: with one worker a seed gives the same study always, with several it depends on which ended first.
    pub workers: usize,
    /// Once true, no trial begins any more; those that run are asked to stop, and are begun anew when the study is continued.
    pub stop: Arc<AtomicBool>,
    /// The same at this time.
    pub deadline: Option<Instant>,
    /// Hears of every trial that ended.
    pub observer: Option<&'a Observer<'a>>,
}

impl Default for Options<'_> {
    /// 100 trials, one after the other.
    fn default() -> Self {
        Options { trials: 100, workers: 1, stop: Arc::default(), deadline: None, observer: None }
    }
}

impl Options<'_> {
    fn over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
            || self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}

/// What came of an attempt at a trial.
#[derive(Clone, Debug, PartialEq)]
pub enum Finish {
    /// It came to its end with this value.
    Value(f64),
    /// It was told to end early, and did.
    Pruned,
    /// It has no value, for this reason.
    Failed(String),
    /// It was given up, and is to be begun anew some time.
    Abandoned,
}

/// A trial in the hands of a worker.
pub struct Attempt<'a> {
    /// The number of the trial.
    pub number: usize,
    /// Its parameters, in the order of the space.
    pub settings: Vec<Setting>,
    shared: &'a Shared,
    options: &'a Options<'a>,
}

impl Attempt<'_> {
    /// The value of a parameter.
    ///
    /// # Panics
    /// If there is no parameter of that name.
    #[track_caller]
    pub fn value(&self, name: &str) -> &Setting {
        match self.shared.lock().study.space().position(name) {
            Some(at) => &self.settings[at],
            None => panic!("there is no parameter `{name}`"),
        }
    }

    /// Says what was reached at a step. Gives whether to go on; if not, the trial is to finish with [`Finish::Pruned`], or
    /// with [`Finish::Abandoned`] where it was [`stopped`](Attempt::stopped).
    ///
    /// # Panics
    /// If the steps do not ascend.
    #[track_caller]
    pub fn report(&self, step: u64, value: f64) -> bool {
        let mut shared = self.shared.lock();
        match shared.study.report(self.number, step, value) {
            Ok(pruned) => !pruned && shared.error.is_none(),
            Err(error) => {
                shared.error.get_or_insert(error);
                false
            }
        }
    }

    /// Whether all is to stop: the time is up, somebody asked for it, or the journal cannot be written.
    pub fn stopped(&self) -> bool {
        self.options.over() || self.shared.lock().error.is_some()
    }
}

struct State {
    study: Study,
    error: Option<TuneError>,
}

struct Shared(Mutex<State>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tries until there are as many trials as wanted, the grid is exhausted, or it is to stop.
///
/// # Errors
/// The journal cannot be written.
///
/// # Panics
/// If `objective` does.
pub fn optimize(
    study: Study,
    options: &Options<'_>,
    objective: impl Fn(&Attempt<'_>) -> Finish + Sync,
) -> Result<Study, TuneError> {
    let shared = Shared(Mutex::new(State { study, error: None }));
    match options.workers {
        0 | 1 => work(&shared, options, &objective),
        workers => thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| work(&shared, options, &objective));
            }
        }),
    }
    let State { study, error } = shared.0.into_inner().unwrap_or_else(PoisonError::into_inner);
    match error {
        None => Ok(study),
        Some(error) => Err(error),
    }
}

fn work(
    shared: &Shared,
    options: &Options<'_>,
    objective: &(impl Fn(&Attempt<'_>) -> Finish + Sync),
) {
    loop {
        // The lock is given back at the end of this line: the objective takes it, too.
        let next = begin(&mut shared.lock(), options);
        let Some((number, settings)) = next else { return };
        let began = Instant::now();
        let finish = objective(&Attempt { number, settings, shared, options });
        let seconds = began.elapsed().as_secs_f64();
        let mut state = shared.lock();
        // What could not be written did not happen.
        if state.error.is_some() {
            return;
        }
        let study = &mut state.study;
        let done = match finish {
            Finish::Value(value) => study.tell(number, value, seconds),
            Finish::Pruned => study.prune(number, seconds),
            Finish::Failed(reason) => study.fail(number, &reason, seconds),
            Finish::Abandoned => {
                study.abandon(number);
                // Whoever gives up without being asked to would be asked again for ever.
                if options.over() { continue } else { return }
            }
        };
        match done {
            Ok(()) => options.observer.iter().for_each(|observer| observer(&state.study, number)),
            Err(error) => state.error = Some(error),
        }
    }
}

/// The next trial, if there is to be one.
fn begin(state: &mut State, options: &Options<'_>) -> Option<(usize, Vec<Setting>)> {
    let enough = state.study.trials().len() >= options.trials && !state.study.has_waiting();
    if options.over() || state.error.is_some() || enough {
        return None;
    }
    match state.study.ask() {
        Ok(number) => number.map(|number| (number, state.study.trials()[number].settings.clone())),
        Err(error) => {
            state.error = Some(error);
            None
        }
    }
}
