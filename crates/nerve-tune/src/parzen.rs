//! A density around observed points: a mixture of kernels, one an observation and a wide one for what was known before.

use crate::sampler::share;
use crate::space::{Domain, Setting, Space};
use nerve_cpu::math::scalar::erfc;
use nerve_data::Random;
use std::f64::consts::{FRAC_1_SQRT_2, PI, TAU};

/// What a mixture holds of one parameter: all kernels of it.
enum Kernels {
    /// There is one value; it says nothing.
    Single,
    /// Normal distributions that are cut off at the ends of the domain.
    Normal(Normal),
    /// For each kernel which choice it prefers; the last, which stands for all, prefers none.
    Choice {
        preferred: Vec<usize>,
        /// ln of the probability of the choice that is preferred, and of another.
        log: [f64; 2],
        count: usize,
    },
}

/// Normal distributions, in the logarithm where the domain is searched by it.
struct Normal {
    mean: Vec<f64>,
    deviation: Vec<f64>,
    /// What each density is divided by, as its logarithm.
    norm: Vec<f64>,
    low: f64,
    high: f64,
    log: bool,
    /// Half the distance between values, where they have one: then densities are masses of intervals.
    half: Option<f64>,
}

/// A mixture of products of kernels over all parameters.
pub(crate) struct Mixture<'s> {
    space: &'s Space,
    kernels: Vec<Kernels>,
    /// The weight of each kernel; they add to 1.
    weights: Vec<f64>,
}

/// The mass of the standard normal distribution between a and b, accurate in both tails.
fn mass(a: f64, b: f64) -> f64 {
    let below = |x: f64| 0.5 * erfc(-x * FRAC_1_SQRT_2);
    match () {
        () if b <= 0.0 => below(b) - below(a),
        () if a >= 0.0 => below(-a) - below(-b),
        () => 1.0 - below(a) - below(-b),
    }
}

/// A standard normal number, by Box and Muller.
fn normal(random: &mut Random) -> f64 {
    let radius = (-2.0 * (1.0 - share(random)).ln()).sqrt();
    radius * (TAU * share(random)).cos()
}

impl Normal {
    fn new(points: &[f64], domain: &Domain) -> Normal {
        let (mut low, mut high) = domain.ends();
        let (log, step) = match *domain {
            Domain::Float { log, step, .. } => (log, step),
            Domain::Int { log, step, .. } => (log, Some(step as f64)),
            Domain::Choice(_) => (false, None),
        };
        let half = step.map(|step| step / 2.0);
        if let Some(half) = half {
            (low, high) = (low - half, high + half);
        }
        let scale = |x: f64| if log { x.ln() } else { x };
        let (low, high) = (scale(low), scale(high));
        let mut mean: Vec<f64> = points.iter().map(|&x| scale(x)).collect();
        let mut deviation = widths(&mean, low, high);
        mean.push(0.5 * (low + high));
        deviation.push(high - low);
        let norm = mean.iter().zip(&deviation).map(|(mean, deviation)| {
            let inside = mass((low - mean) / deviation, (high - mean) / deviation).ln();
            // A mass needs no scale; a density does.
            if half.is_some() { inside } else { inside + deviation.ln() + 0.5 * (2.0 * PI).ln() }
        });
        let norm = norm.collect();
        Normal { mean, deviation, norm, low, high, log, half }
    }

    /// A number of kernel `k`. The mean lies inside and the deviation is at most the range, so that a third of all
    /// attempts or more succeeds.
    fn draw(&self, k: usize, random: &mut Random) -> f64 {
        loop {
            let x = self.mean[k] + self.deviation[k] * normal(random);
            if (self.low..=self.high).contains(&x) {
                return if self.log { x.exp() } else { x };
            }
        }
    }

    /// Adds to `sums` the logarithm of what each kernel says of x.
    fn add(&self, x: f64, sums: &mut [f64]) {
        let scale = |x: f64| if self.log { x.ln() } else { x };
        let kernels = self.mean.iter().zip(&self.deviation).zip(&self.norm).zip(sums);
        match self.half {
            None => {
                let x = scale(x);
                for (((mean, deviation), norm), sum) in kernels {
                    let z = (x - mean) / deviation;
                    *sum -= 0.5 * z * z + norm;
                }
            }
            Some(half) => {
                let (a, b) = (scale(x - half), scale(x + half));
                for (((mean, deviation), norm), sum) in kernels {
                    *sum += mass((a - mean) / deviation, (b - mean) / deviation).ln() - norm;
                }
            }
        }
    }
}

/// How wide each kernel is: as far as its farther neighbour, within limits ("magic clipping"). The first and the last
/// point have one neighbour: the ends of the domain do not count, or kernels at the border would be wide.
fn widths(points: &[f64], low: f64, high: f64) -> Vec<f64> {
    let n = points.len();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| points[a].total_cmp(&points[b]));
    let least = (high - low) / (n as f64 + 2.0).min(100.0);
    let mut widths = vec![0.0; n];
    for (i, &at) in order.iter().enumerate() {
        let left = i.checked_sub(1).map(|left| points[at] - points[order[left]]);
        let right = order.get(i + 1).map(|&right| points[right] - points[at]);
        let width = match (left, right) {
            (None, None) => (points[at] - low).max(high - points[at]),
            (left, right) => left.unwrap_or(0.0).max(right.unwrap_or(0.0)),
        };
        widths[at] = width.clamp(least, high - low);
    }
    widths
}

/// What observations count, from the first to the last: the newest 25 fully, those before them the less the older.
fn weights(n: usize) -> Vec<f64> {
    const NEW: usize = 25;
    let ramp = n.saturating_sub(NEW);
    let old = |i: usize| {
        let first = 1.0 / n as f64;
        let way = if ramp > 1 { i as f64 / (ramp - 1) as f64 } else { 0.0 };
        first + way * (1.0 - first)
    };
    (0..n).map(|i| if i < ramp { old(i) } else { 1.0 }).collect()
}

impl<'s> Mixture<'s> {
    /// Around these points, from the oldest to the newest.
    pub(crate) fn new(space: &'s Space, points: &[&[Setting]]) -> Mixture<'s> {
        let kernels = space.parameters().iter().enumerate().map(|(i, parameter)| {
            let column = || points.iter().map(|point| point[i].inner());
            match &parameter.domain {
                domain if domain.single() => Kernels::Single,
                Domain::Choice(labels) => {
                    let (count, prior) = (labels.len(), 1.0 / (points.len() as f64 + 1.0));
                    let all = 1.0 + prior * count as f64;
                    Kernels::Choice {
                        preferred: column().map(|x| x as usize).collect(),
                        log: [((1.0 + prior) / all).ln(), (prior / all).ln()],
                        count,
                    }
                }
                domain => Kernels::Normal(Normal::new(&column().collect::<Vec<_>>(), domain)),
            }
        });
        let kernels = kernels.collect();
        let mut weights = weights(points.len());
        weights.push(1.0);
        let all: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= all);
        Mixture { space, kernels, weights }
    }

    /// A point at random.
    pub(crate) fn draw(&self, random: &mut Random) -> Vec<Setting> {
        let mut rest = share(random);
        let last = self.weights.len() - 1;
        let passed = |weight: &&f64| {
            rest -= **weight;
            rest >= 0.0
        };
        let k = self.weights.iter().take_while(passed).count().min(last);
        let draw = |(kernels, parameter): (&Kernels, &crate::Parameter)| match kernels {
            Kernels::Single => parameter.domain.at(0.0),
            Kernels::Normal(normal) => parameter.domain.nearest(normal.draw(k, random)),
            Kernels::Choice { preferred, log, count } => {
                let share = share(random);
                let Some(&preferred) = preferred.get(k) else { return parameter.domain.at(share) };
                let [own, other] = log.map(f64::exp);
                // The preferred one comes first, then the others in their order.
                let at = match share < own {
                    true => preferred,
                    false => {
                        let at = (((share - own) / other) as usize).min(count.saturating_sub(2));
                        if at < preferred { at } else { at + 1 }
                    }
                };
                parameter.domain.nearest(at as f64)
            }
        };
        self.kernels.iter().zip(self.space.parameters()).map(draw).collect()
    }

    /// The logarithm of the density at a point.
    pub(crate) fn log_density(&self, point: &[Setting]) -> f64 {
        let mut sums: Vec<f64> = self.weights.iter().map(|weight| weight.ln()).collect();
        for (kernels, setting) in self.kernels.iter().zip(point) {
            match kernels {
                Kernels::Single => {}
                Kernels::Normal(normal) => normal.add(setting.inner(), &mut sums),
                Kernels::Choice { preferred, log, count } => {
                    let at = setting.inner() as usize;
                    for (sum, &preferred) in sums.iter_mut().zip(preferred) {
                        *sum += log[usize::from(preferred != at)];
                    }
                    if let Some(last) = sums.last_mut() {
                        *last -= (*count as f64).ln();
                    }
                }
            }
        }
        let most = sums.iter().fold(f64::NEG_INFINITY, |most, &x| most.max(x));
        most + sums.iter().map(|sum| (sum - most).exp()).sum::<f64>().ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Parameter;

    fn space(domains: Vec<Domain>) -> Space {
        let named = domains.into_iter().enumerate();
        Space::new(named.map(|(i, domain)| Parameter::new(format!("p{i}"), domain)).collect())
            .unwrap()
    }

    #[test]
    fn masses_of_the_normal_distribution() {
        // scipy.stats.norm: cdf(b) - cdf(a), in the tails by sf.
        for (a, b, expected) in [
            (-1.0, 1.0, 0.682_689_492_137_085_9),
            (-0.5, 2.0, 0.668_712_329_325_833_9),
            (5.0, 6.0, 2.856_649_842_341_556e-7),
            (-6.0, -5.0, 2.856_649_842_341_556e-7),
            (20.0, 21.0, 2.753_624_115_326_877_8e-89),
        ] {
            let found = mass(a, b);
            assert!((found / expected - 1.0).abs() < 1e-9, "{a} {b}: {found} {expected}");
        }
    }

    #[test]
    fn densities_add_to_one() {
        let space = space(vec![
            Domain::log_float(1e-3, 10.0),
            Domain::Int { low: 0, high: 12, log: false, step: 3 },
            Domain::choice(["a", "b", "c"]),
        ]);
        let mut random = Random::new(5);
        let points: Vec<Vec<Setting>> = (0..7)
            .map(|_| space.parameters().iter().map(|p| p.domain.at(share(&mut random))).collect())
            .collect();
        let points: Vec<&[Setting]> = points.iter().map(Vec::as_slice).collect();
        for n in [0, 1, 2, 7] {
            let mixture = Mixture::new(&space, &points[..n]);
            let (low, high, steps) = (1e-3f64.ln(), 10f64.ln(), 4000);
            let width = (high - low) / f64::from(steps);
            let mut all = 0.0;
            for i in 0..steps {
                let x = (low + (f64::from(i) + 0.5) * width).exp();
                for j in 0..5 {
                    for k in 0..3 {
                        let point = [
                            Setting::Float(x),
                            Setting::Int(3 * j),
                            space.parameters()[2].domain.point(k),
                        ];
                        all += mixture.log_density(&point).exp() * width;
                    }
                }
            }
            assert!((all - 1.0).abs() < 1e-4, "{n}: {all}");
        }
    }

    #[test]
    fn what_is_drawn_follows_the_density() {
        let space = space(vec![Domain::int(1, 6), Domain::choice(["a", "b", "c"])]);
        let at = |x, c| vec![Setting::Int(x), space.parameters()[1].domain.point(c)];
        let points = [at(2, 0), at(2, 0), at(6, 2)];
        let points: Vec<&[Setting]> = points.iter().map(Vec::as_slice).collect();
        let mixture = Mixture::new(&space, &points);
        let mut counts = [[0u32; 3]; 6];
        let mut random = Random::new(11);
        let n = 60_000;
        for _ in 0..n {
            let point = mixture.draw(&mut random);
            counts[point[0].int() as usize - 1][point[1].inner() as usize] += 1;
        }
        for (x, counts) in (1..=6).zip(counts) {
            for (c, count) in counts.into_iter().enumerate() {
                let expected = mixture.log_density(&at(x, c)).exp();
                let found = f64::from(count) / f64::from(n);
                let deviation = (expected * (1.0 - expected) / f64::from(n)).sqrt();
                assert!((found - expected).abs() < 4.5 * deviation, "{x} {c}: {found} {expected}");
            }
        }
    }

    #[test]
    fn golden_densities_of_optuna() {
        // golden/make_golden.py: log densities of optuna's estimator on the same observations.
        let golden: serde_json::Value =
            serde_json::from_str(include_str!("../tests/golden/parzen.json")).unwrap();
        let space: Space = serde_json::from_value(golden["space"].clone()).unwrap();
        let read = |rows: &serde_json::Value| -> Vec<Vec<Setting>> {
            let row = |row: &serde_json::Value| {
                let parameters = space.parameters().iter().enumerate();
                parameters.map(|(i, p)| p.domain.read(&row[i]).unwrap()).collect()
            };
            rows.as_array().unwrap().iter().map(row).collect()
        };
        let (points, asked) = (read(&golden["observed"]), read(&golden["asked"]));
        for case in golden["cases"].as_array().unwrap() {
            let n = case["observed"].as_u64().unwrap() as usize;
            let observed: Vec<&[Setting]> = points[..n].iter().map(Vec::as_slice).collect();
            let mixture = Mixture::new(&space, &observed);
            for (point, expected) in asked.iter().zip(case["log_density"].as_array().unwrap()) {
                let (found, expected) = (mixture.log_density(point), expected.as_f64().unwrap());
                assert!((found - expected).abs() < 1e-9, "{n}: {found} {expected}");
            }
        }
    }
}
