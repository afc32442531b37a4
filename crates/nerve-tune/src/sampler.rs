//! What is tried next.

use crate::space::{Setting, Space};
use crate::study::Trial;
use crate::tpe::{self, Tpe};
use nerve_data::Random;
use nerve_train::Mode;
use serde::{Deserialize, Serialize};

/// How the parameters of the next trial are chosen. All randomness is keyed by the seed and the number of the trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Sampler {
    /// Each by itself, uniformly: the trials do not depend on what others gave, nor on how many workers there are.
    Random,
    /// Every point of the grid once, in an order shuffled by the seed.
    Grid,
    /// Where good trials were more frequent than others: see [`tpe`].
    Tpe(Tpe),
}

impl Sampler {
    /// `tpe`.
    pub fn word(&self) -> &'static str {
        match self {
            Sampler::Random => "random",
            Sampler::Grid => "grid",
            Sampler::Tpe(_) => "tpe",
        }
    }

    /// The parameters of the trial that follows these; `None` where the grid is exhausted.
    pub(crate) fn next(
        &self,
        space: &Space,
        mode: Mode,
        seed: u64,
        trials: &[Trial],
    ) -> Option<Vec<Setting>> {
        let mut random = Random::keyed(&[seed, TRIAL, trials.len() as u64]);
        match self {
            Sampler::Random => Some(uniform(space, &mut random)),
            Sampler::Grid => {
                grid(space, seed, trials.iter().filter(|trial| !trial.proposed).count())
            }
            Sampler::Tpe(tpe) => Some(tpe::next(tpe, space, mode, seed, trials, &mut random)),
        }
    }
}

/// Keeps the random numbers of tuning apart from others of the same seed.
const TRIAL: u64 = 0x7475_6e65;
const GRID: u64 = 0x6772_6964;

/// Uniform in [0, 1), a multiple of 2⁻⁵³.
pub(crate) fn share(random: &mut Random) -> f64 {
    (random.bits() >> 11) as f64 * (0.5f64).powi(53)
}

/// A point of the space, every value of each parameter as likely as the others.
fn uniform(space: &Space, random: &mut Random) -> Vec<Setting> {
    space.parameters().iter().map(|parameter| parameter.domain.at(share(random))).collect()
}

/// Point number `number` of the shuffled grid.
fn grid(space: &Space, seed: u64, number: usize) -> Option<Vec<Setting>> {
    // A grid that cannot be counted was refused when the study began.
    let count = space.grid().ok().filter(|&count| number < count)?;
    // Fisher and Yates, as far as it is needed.
    let mut order: Vec<usize> = (0..count).collect();
    let mut random = Random::keyed(&[seed, GRID]);
    for i in 0..=number {
        order.swap(i, i + random.below((count - i) as u64) as usize);
    }
    let mut rest = order[number];
    let settings = space.parameters().iter().map(|parameter| {
        let points = parameter.on_grid().unwrap_or(1);
        let at = rest % points;
        rest /= points;
        parameter.grid_point(at)
    });
    Some(settings.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Domain, Parameter};

    #[test]
    fn the_grid_holds_every_point_once() {
        let space = Space::new(vec![
            Parameter::new("a", Domain::int(0, 3)),
            Parameter::new("b", Domain::choice(["x", "y", "z"])),
            Parameter::new("c", Domain::float(0.0, 1.0)).points(2),
        ])
        .unwrap();
        let point = |seed, i| {
            let settings = grid(&space, seed, i)?;
            Some(settings.iter().map(|s| s.inner().to_string()).collect::<Vec<_>>().join(" "))
        };
        let mut all: Vec<String> = (0..24).map(|i| point(1, i).unwrap()).collect();
        assert_eq!(point(1, 24), None);
        assert_ne!(all, (0..24).map(|i| point(2, i).unwrap()).collect::<Vec<_>>());
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 24);
    }

    #[test]
    fn random_trials_cover_the_space_evenly() {
        let space = Space::new(vec![
            Parameter::new("x", Domain::float(-1.0, 1.0)),
            Parameter::new("c", Domain::choice(["a", "b", "c", "d"])),
        ])
        .unwrap();
        let mut sum = 0.0;
        let mut counts = [0; 4];
        for i in 0..4000 {
            let settings = uniform(&space, &mut Random::keyed(&[7, TRIAL, i]));
            sum += settings[0].inner();
            counts[settings[1].inner() as usize] += 1;
        }
        // The deviation of the mean is 0.0091, that of a count 27.
        assert!((sum / 4000.0).abs() < 0.04, "{sum}");
        assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
    }
}
