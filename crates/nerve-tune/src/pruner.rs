//! Which trials are ended early.

use crate::study::{Outcome, Trial};
use nerve_train::Mode;
use serde::{Deserialize, Serialize};

/// When a trial is ended that is behind others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Pruner {
    /// Never.
    #[default]
    None,
    /// Asynchronous successive halving (Li et al., "A system for massively parallel hyperparameter tuning", MLSys 2020),
    /// in the form that stops and never pauses: a trial that has come to step r, ηr, η²r, ... goes on if it is among the
    /// best 1/η of those that came that far before it.
    Asha {
        /// The first step r at which trials are compared.
        min_resource: u64,
        /// What a rung keeps is one in η; the next one is η times as far.
        reduction: u64,
    },
    /// A trial is ended when its best value so far is worse than the median of what others had at the same step
    /// (Golovin et al., "Google Vizier", KDD 2017).
    Median {
        /// How many trials come to their end before any is pruned.
        startup: usize,
        /// Up to which step none is.
        warmup: u64,
    },
}

impl Pruner {
    /// Halving from the first step on, by 4: what Optuna takes.
    pub fn asha() -> Pruner {
        Pruner::Asha { min_resource: 1, reduction: 4 }
    }

    /// Below the median, once five trials have come to their end.
    pub fn median() -> Pruner {
        Pruner::Median { startup: 5, warmup: 0 }
    }

    /// `asha`.
    pub fn word(&self) -> &'static str {
        match self {
            Pruner::None => "none",
            Pruner::Asha { .. } => "asha",
            Pruner::Median { .. } => "median",
        }
    }

    /// Whether the trial is to end after its last report.
    pub(crate) fn prunes(&self, mode: Mode, trials: &[Trial], trial: &Trial) -> bool {
        match *self {
            Pruner::None => false,
            Pruner::Asha { min_resource, reduction } => {
                halved(mode, trials, trial, min_resource.max(1), reduction.max(2))
            }
            Pruner::Median { startup, warmup } => below(mode, trials, trial, startup, warmup),
        }
    }
}

/// Whether `a` is better than `b`; what is no number is not.
fn better(mode: Mode, a: f64, b: f64) -> bool {
    match mode {
        Mode::Min => a < b,
        Mode::Max => a > b,
    }
}

/// What a trial had when it came to a step: its first report from there on.
fn at_rung(trial: &Trial, step: u64) -> Option<f64> {
    trial.reports.iter().find(|report| report.0 >= step).map(|report| report.1)
}

fn halved(mode: Mode, trials: &[Trial], trial: &Trial, min: u64, reduction: u64) -> bool {
    let Some((&(step, value), before)) = trial.reports.split_last() else { return false };
    let came = before.last().map_or(0, |report| report.0);
    let mut rung = min;
    while rung <= step {
        if rung > came {
            if value.is_nan() {
                return true;
            }
            let others = trials.iter().filter(|other| other.number != trial.number);
            let others: Vec<f64> = others.filter_map(|other| at_rung(other, rung)).collect();
            // What is no number came that far too, and is behind everything.
            let kept = ((others.len() + 1) / reduction as usize).max(1);
            let ahead = others.iter().filter(|&&other| better(mode, other, value)).count();
            if ahead >= kept {
                return true;
            }
        }
        let Some(next) = rung.checked_mul(reduction) else { return false };
        rung = next;
    }
    false
}

fn below(mode: Mode, trials: &[Trial], trial: &Trial, startup: usize, warmup: u64) -> bool {
    let Some(&(step, _)) = trial.reports.last() else { return false };
    let told: Vec<&Trial> = trials.iter().filter(|other| other.outcome == Outcome::Told).collect();
    if told.len() < startup.max(1) || step <= warmup {
        return false;
    }
    let at = |other: &&Trial| other.reports.iter().find(|report| report.0 == step).map(|it| it.1);
    let mut others: Vec<f64> = told.iter().filter_map(at).filter(|x| !x.is_nan()).collect();
    if others.is_empty() {
        return false;
    }
    others.sort_by(f64::total_cmp);
    let n = others.len();
    let median = 0.5 * (others[(n - 1) / 2] + others[n / 2]);
    let own = trial.reports.iter().map(|report| report.1).filter(|x| !x.is_nan());
    match own.reduce(|best, x| if better(mode, x, best) { x } else { best }) {
        None => true,
        Some(best) => better(mode, median, best),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(number: usize, outcome: Outcome, reports: &[(u64, f64)]) -> Trial {
        Trial {
            number,
            settings: Vec::new(),
            proposed: false,
            outcome,
            value: None,
            reports: reports.to_vec(),
            reason: String::new(),
            seconds: 0.0,
        }
    }

    #[test]
    fn halving_keeps_the_best_of_each_rung() {
        let asha = Pruner::Asha { min_resource: 2, reduction: 2 };
        let others: Vec<Trial> = [0.5, 0.4, 0.3]
            .iter()
            .enumerate()
            .map(|(i, &v)| trial(i, Outcome::Told, &[(1, 9.0), (2, v), (3, 0.0), (4, v / 2.0)]))
            .collect();
        let prunes = |mode, reports: &[(u64, f64)]| {
            asha.prunes(mode, &others, &trial(3, Outcome::Running, reports))
        };
        assert!(!prunes(Mode::Min, &[(1, 99.0)]), "below the first rung");
        // Four at the rung, two are kept.
        assert!(!prunes(Mode::Min, &[(1, 1.0), (2, 0.35)]));
        assert!(prunes(Mode::Min, &[(1, 1.0), (2, 0.45)]));
        assert!(!prunes(Mode::Max, &[(1, 1.0), (2, 0.45)]));
        assert!(prunes(Mode::Max, &[(1, 1.0), (2, 0.35)]));
        assert!(!prunes(Mode::Min, &[(2, 0.3), (3, 99.0)]), "between the rungs");
        assert!(prunes(Mode::Min, &[(2, 0.3), (3, 0.3), (4, 0.3)]), "at the next rung");
        assert!(!prunes(Mode::Min, &[(2, 0.3), (3, 0.3), (4, 0.2)]));
        // A report may pass several rungs at once.
        assert!(prunes(Mode::Min, &[(1, 0.0), (5, 0.3)]));
        assert!(prunes(Mode::Min, &[(2, f64::NAN)]));
        // The first of all goes on.
        assert!(!asha.prunes(Mode::Min, &[], &trial(0, Outcome::Running, &[(2, 5.0)])));
        assert!(!asha.prunes(Mode::Min, &[], &trial(0, Outcome::Running, &[(u64::MAX, 5.0)])));
    }

    #[test]
    fn the_median_is_of_what_others_had_at_the_same_step() {
        let median = Pruner::Median { startup: 3, warmup: 1 };
        let others: Vec<Trial> = [1.0, 2.0, 3.0]
            .iter()
            .enumerate()
            .map(|(i, &v)| trial(i, Outcome::Told, &[(1, 10.0 * v), (2, v)]))
            .collect();
        let prunes = |n: usize, reports: &[(u64, f64)]| {
            median.prunes(Mode::Min, &others[..n], &trial(9, Outcome::Running, reports))
        };
        assert!(!prunes(2, &[(2, 99.0)]), "too few to compare with");
        assert!(!prunes(3, &[(1, 99.0)]), "warm-up");
        assert!(prunes(3, &[(1, 99.0), (2, 2.5)]));
        assert!(!prunes(3, &[(1, 1.5), (2, 2.5)]), "its best so far counts");
        assert!(!prunes(3, &[(2, 2.0)]), "as good as the median");
        assert!(prunes(3, &[(1, f64::NAN), (2, f64::NAN)]));
        assert!(!prunes(3, &[(3, 99.0)]), "nobody came that far");
    }
}
