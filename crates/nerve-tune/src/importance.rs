//! Which parameters decided how good a trial was.
//!
//! PED-ANOVA (Watanabe, Bansal and Hutter, "PED-ANOVA: efficiently quantifying hyperparameter importance in arbitrary
//! subspaces", IJCAI 2023), with the details of Optuna 5's default evaluator: for each parameter, how far the density of
//! its values among the best tenth of the trials lies from that among all of them (Pearson's divergence). A parameter
//! whose good values are spread like all values did not matter.

use crate::space::{Domain, Parameter};
use crate::study::{Study, Trial};
use nerve_cpu::math::scalar::erfc;
use nerve_train::Mode;
use std::f64::consts::FRAC_1_SQRT_2;

/// The share of the trials that count as good.
const TARGET: f64 = 0.1;
/// The most values of a number that are told apart.
const STEPS: usize = 50;

/// The share of each parameter, in the order of the space; they add to 1. From the trials that came to their end; alike
/// for all parameters where there are fewer than two.
pub fn importance(study: &Study) -> Vec<f64> {
    let parameters = study.space().parameters();
    let told: Vec<&Trial> = study.trials().iter().filter(|trial| trial.value.is_some()).collect();
    let cost = |trial: &&Trial| match (study.settings().mode, trial.value) {
        (Mode::Min, Some(value)) => value,
        (Mode::Max, Some(value)) => -value,
        (_, None) => f64::INFINITY,
    };
    let mut costs: Vec<f64> = told.iter().map(cost).collect();
    costs.sort_by(f64::total_cmp);
    let alike = vec![1.0 / parameters.len() as f64; parameters.len()];
    if told.len() < 2 {
        return alike;
    }
    // All that are as good as the last of the best count, too.
    let border = costs[(TARGET * told.len() as f64).ceil() as usize - 1];
    let good: Vec<&Trial> = told.iter().copied().filter(|trial| cost(trial) <= border).collect();
    let far = parameters.iter().enumerate().map(|(i, parameter)| {
        let values = |trials: &[&Trial]| -> Vec<f64> {
            trials.iter().map(|trial| trial.settings[i].inner()).collect()
        };
        divergence(parameter, &values(&good), &values(&told))
    });
    let far: Vec<f64> = far.collect();
    let all: f64 = far.iter().sum();
    if all > 0.0 { far.iter().map(|far| far / all).collect() } else { alike }
}

/// Σ pₐ (p_g / pₐ − 1)² over the values of a parameter, where p_g is the density of good values and pₐ that of all.
fn divergence(parameter: &Parameter, good: &[f64], all: &[f64]) -> f64 {
    if parameter.domain.single() {
        return 0.0;
    }
    let [good, all] =
        [good, all].map(|values| density(&parameter.domain, &counts(parameter, values)));
    good.iter().zip(all).map(|(good, all)| all * (good / all - 1.0).powi(2)).sum()
}

/// How often each value was tried; numbers are rounded to a grid.
fn counts(parameter: &Parameter, values: &[f64]) -> Vec<f64> {
    let (low, high) = parameter.domain.ends();
    let (steps, log) = match parameter.domain {
        Domain::Choice(ref labels) => (labels.len(), false),
        Domain::Int { log: true, .. } => {
            let doublings = (high - low + 1.0).log2().ceil() as usize + 1;
            (doublings.min(STEPS), true)
        }
        Domain::Float { log, .. } => (parameter.domain.count().unwrap_or(STEPS).min(STEPS), log),
        Domain::Int { .. } => (parameter.domain.count().unwrap_or(STEPS).min(STEPS), false),
    };
    let scale = |x: f64| if log { x.ln() } else { x };
    let width = (scale(high) - scale(low)) / (steps - 1) as f64;
    let mut counts = vec![0.0; steps];
    for &value in values {
        // Halves go down.
        let at = ((scale(value) - scale(low)) / width - 0.5).ceil().max(0.0) as usize;
        counts[at.min(steps - 1)] += 1.0;
    }
    counts
}

/// A smooth density over the grid: kernels around what was tried and one for the whole grid, which counts as one trial.
fn density(domain: &Domain, counts: &[f64]) -> Vec<f64> {
    let tried: Vec<(usize, f64)> =
        counts.iter().copied().enumerate().filter(|(_, count)| *count > 0.0).collect();
    let (n, all) = (counts.len(), tried.iter().map(|(_, count)| count).sum::<f64>());
    const LEAST: f64 = 1e-12;
    if let Domain::Choice(_) = domain {
        let prior = 1.0 / (tried.len() as f64 + 1.0);
        let sum = 1.0 + prior * n as f64;
        let of = |i: usize| {
            let own = tried.iter().map(|&(at, count)| {
                count * if at == i { (1.0 + prior) / sum } else { prior / sum }
            });
            (own.sum::<f64>() + 1.0 / n as f64) / (all + 1.0) + LEAST
        };
        return (0..n).map(of).collect();
    }
    let mean = tried.iter().map(|(at, count)| *at as f64 * count).sum::<f64>() / all;
    let squares: f64 = tried.iter().map(|(at, count)| count * (*at as f64 - mean).powi(2)).sum();
    let mut deviation = (squares / (all - 1.0).max(1.0)).sqrt();
    // Scott's rule, with the distance of the quartiles where that is less.
    let upto = |share: f64, inclusive: bool| {
        let mut sum = 0.0;
        let place = tried.iter().position(|(_, count)| {
            sum += count;
            if inclusive { sum >= share } else { sum > share }
        });
        tried[place.unwrap_or(tried.len() - 1)].0 as f64
    };
    let quartiles = upto((all * 3.0 / 4.0).floor(), false) - upto((all / 4.0).floor(), true);
    deviation = (1.059 * (quartiles / 1.34).min(deviation) * all.powf(-0.2)).max(0.5 / 1.64);
    let below = |x: f64| 0.5 * erfc(-x * FRAC_1_SQRT_2);
    let last = n as f64 - 1.0;
    let kernel = |x: f64, mean: f64, deviation: f64| {
        let mass = |a: f64, b: f64| below((b - mean) / deviation) - below((a - mean) / deviation);
        mass(x - 0.5, x + 0.5) / mass(-0.5, last + 0.5)
    };
    let of = |i: usize| {
        let x = i as f64;
        let own: f64 =
            tried.iter().map(|&(at, count)| count * kernel(x, at as f64, deviation)).sum();
        (own + kernel(x, last / 2.0, last + 1.0)) / (all + 1.0) + LEAST
    };
    (0..n).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Settings, Space};
    use serde_json::Value as Json;

    #[test]
    fn golden_importance_of_optuna() {
        let golden: Json =
            serde_json::from_str(include_str!("../tests/golden/importance.json")).unwrap();
        let space: Space = serde_json::from_value(golden["space"].clone()).unwrap();
        for case in golden["studies"].as_array().unwrap() {
            let mode = if case["mode"] == "min" { Mode::Min } else { Mode::Max };
            let mut study =
                Study::new(space.clone(), Settings { mode, ..Settings::default() }).unwrap();
            let rows = case["points"].as_array().unwrap();
            for (row, value) in rows.iter().zip(case["values"].as_array().unwrap()) {
                let parameters = space.parameters().iter().enumerate();
                let settings = parameters.map(|(i, p)| p.domain.read(&row[i]).unwrap()).collect();
                study.add(settings, value.as_f64().unwrap());
            }
            let found = importance(&study);
            for (found, expected) in found.iter().zip(case["importance"].as_array().unwrap()) {
                let expected = expected.as_f64().unwrap();
                assert!((found - expected).abs() < 1e-9, "{found} {expected}");
            }
            assert_eq!(found.len(), space.parameters().len());
            assert!((found.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn without_trials_all_are_alike() {
        let space = Space::new(vec![
            Parameter::new("a", Domain::int(0, 3)),
            Parameter::new("b", Domain::int(5, 5)),
        ]);
        let mut study = Study::new(space.unwrap(), Settings::default()).unwrap();
        assert_eq!(importance(&study), [0.5, 0.5]);
        for i in 0..4 {
            study.ask().unwrap();
            study.tell(i, i as f64, 0.0).unwrap();
        }
        assert_eq!(importance(&study)[1], 0.0, "what has one value decides nothing");
    }
}
