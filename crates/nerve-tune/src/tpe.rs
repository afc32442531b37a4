//! The tree-structured Parzen estimator.
//!
//! The finished trials are divided into the best tenth and the others. A density is put around each of the two, l(x)
//! around the good and g(x) around the rest, and of a few candidates drawn from l the one with the largest l/g is tried
//! next: it has the largest expected improvement. Bergstra, Bardenet, Bengio and Kégl, "Algorithms for hyper-parameter
//! optimization" (NIPS 2011); the densities are joint ones over all parameters, as in Falkner, Klein and Hutter, "BOHB"
//! (ICML 2018), and their details those of Optuna 5's `TPESampler` (Watanabe, "Tree-structured Parzen estimator:
//! understanding its algorithm components", 2023).
//!
//! - Until there are [`Tpe::startup`] trials, points are spread evenly.
//! - Trials that were pruned rank behind those that came to their end, the later they were pruned the better. Trials
//!   that failed, for instance since they diverged, are the worst of all: nobody should look there again.
//! - Trials that run count as bad (the "constant liar"), so that workers side by side do not try the same.

use crate::parzen::Mixture;
use crate::sampler::share;
use crate::space::{Setting, Space};
use crate::study::{Outcome, Trial};
use nerve_data::Random;
use nerve_train::Mode;
use serde::{Deserialize, Serialize};

/// The settings of the estimator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tpe {
    /// How many trials are spread evenly before it begins.
    pub startup: usize,
    /// How many candidates are compared.
    pub candidates: usize,
}

impl Default for Tpe {
    /// 10 trials to begin with, 24 candidates.
    fn default() -> Self {
        Tpe { startup: 10, candidates: 24 }
    }
}

/// How many of `n` trials are good: a tenth, at most 25.
fn good(n: usize) -> usize {
    n.div_ceil(10).min(25)
}

/// The parameters of the next trial.
pub(crate) fn next(
    tpe: &Tpe,
    space: &Space,
    mode: Mode,
    seed: u64,
    trials: &[Trial],
    random: &mut Random,
) -> Vec<Setting> {
    let finished = trials.iter().filter(|trial| trial.outcome != Outcome::Running).count();
    if finished < tpe.startup {
        return spread(space, seed, trials.len());
    }
    let (below, above) = divide(mode, trials, good(finished));
    let (good, bad) = (Mixture::new(space, &below), Mixture::new(space, &above));
    let candidates = (0..tpe.candidates.max(1)).map(|_| {
        let point = good.draw(random);
        let gain = good.log_density(&point) - bad.log_density(&point);
        (gain, point)
    });
    let best = candidates.reduce(|best, other| if other.0 > best.0 { other } else { best });
    best.map(|(_, point)| point).unwrap_or_default()
}

/// Point number `number` of a sequence that fills the space evenly: the additive recurrence of the generalised golden
/// ratio (the root of φ^(d+1) = φ + 1), which begins at a place of the seed (Roberts, "The unreasonable effectiveness of
/// quasirandom sequences", 2018).
fn spread(space: &Space, seed: u64, number: usize) -> Vec<Setting> {
    let d = space.parameters().len();
    let root = (0..64).fold(2f64, |x, _| (1.0 + x).powf(1.0 / (d as f64 + 1.0)));
    let mut start = Random::keyed(&[seed, START]);
    let parameters = space.parameters().iter().enumerate();
    let point = parameters.map(|(i, parameter)| {
        let step = root.powi(-(i as i32 + 1));
        let share = (share(&mut start) + number as f64 * step).fract();
        parameter.domain.at(share)
    });
    point.collect()
}

const START: u64 = 0x7374_6172;

/// The points of the best `n` trials and of the others, each from the oldest to the newest.
fn divide(mode: Mode, trials: &[Trial], n: usize) -> (Vec<&[Setting]>, Vec<&[Setting]>) {
    let mut order: Vec<(Rank, usize)> =
        trials.iter().map(|trial| (rank(mode, trial), trial.number)).collect();
    order.sort_by(|a, b| a.0.0.cmp(&b.0.0).then(a.0.1.total_cmp(&b.0.1)).then(a.1.cmp(&b.1)));
    let mut good = vec![false; trials.len()];
    // Only what came to an end of its own can be good.
    let ranked = order.iter().filter(|(rank, _)| rank.0 < FAILED).take(n);
    ranked.for_each(|&(_, at)| good[at] = true);
    let of = |wanted: bool| {
        let chosen = trials.iter().filter(move |trial| good[trial.number] == wanted);
        chosen.map(|trial| trial.settings.as_slice())
    };
    (of.clone()(true).collect(), of(false).collect())
}

/// The less the better: what kind of end, then what was reached.
type Rank = (i64, f64);

const FAILED: i64 = i64::MAX - 1;

fn rank(mode: Mode, trial: &Trial) -> Rank {
    let cost = |value: f64| match mode {
        Mode::Min => value,
        Mode::Max => -value,
    };
    match (trial.outcome, trial.reports.last()) {
        (Outcome::Told, _) => (i64::MIN, cost(trial.value.unwrap_or(f64::INFINITY))),
        (Outcome::Pruned, Some(&(step, value))) => {
            let late = i64::try_from(step).unwrap_or(i64::MAX);
            (-late, if value.is_nan() { f64::INFINITY } else { cost(value) })
        }
        (Outcome::Pruned, None) => (1, 0.0),
        (Outcome::Failed, _) => (FAILED, 0.0),
        (Outcome::Running, _) => (i64::MAX, 0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Domain, Parameter};

    fn trial(number: usize, outcome: Outcome, value: f64, reports: &[(u64, f64)]) -> Trial {
        Trial {
            number,
            settings: vec![Setting::Float(number as f64)],
            proposed: false,
            outcome,
            value: (outcome == Outcome::Told).then_some(value),
            reports: reports.to_vec(),
            reason: String::new(),
            seconds: 0.0,
        }
    }

    #[test]
    fn the_best_are_told_then_pruned_late_and_never_failed() {
        let trials = [
            trial(0, Outcome::Failed, 0.0, &[]),
            trial(1, Outcome::Told, 3.0, &[]),
            trial(2, Outcome::Pruned, 0.0, &[(1, 0.1), (2, 0.5)]),
            trial(3, Outcome::Running, 0.0, &[(9, 0.0)]),
            trial(4, Outcome::Told, 1.0, &[]),
            trial(5, Outcome::Pruned, 0.0, &[(4, 9.0)]),
            trial(6, Outcome::Pruned, 0.0, &[(2, 0.4)]),
        ];
        let numbers = |points: &[&[Setting]]| -> Vec<usize> {
            points.iter().map(|point| point[0].inner() as usize).collect()
        };
        let below = |mode, n| numbers(&divide(mode, &trials, n).0);
        assert_eq!(below(Mode::Min, 1), [4]);
        assert_eq!(below(Mode::Max, 1), [1]);
        assert_eq!(below(Mode::Min, 3), [1, 4, 5]);
        assert_eq!(below(Mode::Min, 4), [1, 4, 5, 6]);
        assert_eq!(below(Mode::Max, 4), [1, 2, 4, 5]);
        assert_eq!(below(Mode::Min, 7), [1, 2, 4, 5, 6]);
        assert_eq!(numbers(&divide(Mode::Min, &trials, 3).1), [0, 2, 3, 6]);
    }

    #[test]
    fn the_beginning_is_spread_evenly() {
        let space = Space::new(vec![
            Parameter::new("x", Domain::float(0.0, 1.0)),
            Parameter::new("y", Domain::float(0.0, 1.0)),
        ])
        .unwrap();
        for seed in 0..20 {
            let points: Vec<Vec<Setting>> = (0..16).map(|i| spread(&space, seed, i)).collect();
            for axis in 0..2 {
                let mut quarters = [0; 4];
                points.iter().for_each(|p| quarters[(p[axis].inner() * 4.0) as usize] += 1);
                assert!(quarters.iter().all(|n| (2..=6).contains(n)), "{quarters:?}");
            }
        }
        assert_ne!(spread(&space, 1, 0), spread(&space, 2, 0));
    }
}
