//! The Parzen estimator on functions whose minimum is known: the median of the best value after 60 trials.
//!
//!     cargo run --release -p nerve-tune --example test_functions [SEEDS]
//!
//! `test_functions.py` beside this file measures Optuna on the same. docs/tuning.md has the table.

use nerve_tune::{Domain, Finish, Options, Parameter, Sampler, Setting, Settings, Space, Study};
use std::f64::consts::{E, PI};
use std::time::Instant;

type Function = fn(&[Setting]) -> f64;

fn numbers(point: &[Setting]) -> Vec<f64> {
    point.iter().map(Setting::float).collect()
}

fn branin(point: &[Setting]) -> f64 {
    let [x, y] = numbers(point)[..] else { unreachable!() };
    let a = y - 5.1 / (4.0 * PI * PI) * x * x + 5.0 / PI * x - 6.0;
    a * a + 10.0 * (1.0 - 1.0 / (8.0 * PI)) * x.cos() + 10.0
}

fn hartmann6(point: &[Setting]) -> f64 {
    const ALPHA: [f64; 4] = [1.0, 1.2, 3.0, 3.2];
    const A: [[f64; 6]; 4] = [
        [10.0, 3.0, 17.0, 3.5, 1.7, 8.0],
        [0.05, 10.0, 17.0, 0.1, 8.0, 14.0],
        [3.0, 3.5, 1.7, 10.0, 17.0, 8.0],
        [17.0, 8.0, 0.05, 10.0, 0.1, 14.0],
    ];
    const P: [[f64; 6]; 4] = [
        [0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886],
        [0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991],
        [0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650],
        [0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381],
    ];
    let x = numbers(point);
    let term = |i: usize| {
        let far: f64 = (0..6).map(|j| A[i][j] * (x[j] - P[i][j]).powi(2)).sum();
        ALPHA[i] * (-far).exp()
    };
    -(0..4).map(term).sum::<f64>()
}

fn rosenbrock(point: &[Setting]) -> f64 {
    let x = numbers(point);
    x.windows(2).map(|w| 100.0 * (w[1] - w[0] * w[0]).powi(2) + (1.0 - w[0]).powi(2)).sum()
}

fn ackley(point: &[Setting]) -> f64 {
    let x = numbers(point);
    let n = x.len() as f64;
    let squares = x.iter().map(|x| x * x).sum::<f64>() / n;
    let waves = x.iter().map(|x| (2.0 * PI * x).cos()).sum::<f64>() / n;
    20.0 + E - 20.0 * (-0.2 * squares.sqrt()).exp() - waves.exp()
}

fn rastrigin(point: &[Setting]) -> f64 {
    numbers(point).iter().map(|x| 10.0 + x * x - 10.0 * (2.0 * PI * x).cos()).sum()
}

/// As a network behaves: a rate by its logarithm, whole numbers, and choices that shift the rest.
fn network(point: &[Setting]) -> f64 {
    let [rate, units, layers, drop] = [0, 1, 2, 3].map(|i| point[i].float());
    let (shift, base) = match point[4].label() {
        "sgd" => (-1.0, 0.05),
        "adam" => (-3.0, 0.0),
        _ => (-2.0, 0.2),
    };
    let act = match point[5].label() {
        "relu" => 0.0,
        "gelu" => -0.02,
        "tanh" => 0.05,
        _ => 0.3,
    };
    let rate = rate.log10() - shift + 0.1 * (layers - 2.0);
    let size = (units / 96.0).log2();
    0.3 + base
        + act
        + 0.12 * rate * rate
        + 0.03 * size * size
        + 0.02 * (layers - 3.0).powi(2)
        + 0.4 * (drop - 0.1 - 0.05 * size).powi(2)
}

fn cube(n: usize, low: f64, high: f64) -> Vec<Parameter> {
    (0..n).map(|i| Parameter::new(format!("x{i}"), Domain::float(low, high))).collect()
}

fn functions() -> Vec<(&'static str, Function, Vec<Parameter>)> {
    let branin_space = vec![
        Parameter::new("x0", Domain::float(-5.0, 10.0)),
        Parameter::new("x1", Domain::float(0.0, 15.0)),
    ];
    let network_space = vec![
        Parameter::new("rate", Domain::log_float(1e-5, 1.0)),
        Parameter::new("units", Domain::log_int(8, 1024)),
        Parameter::new("layers", Domain::int(1, 6)),
        Parameter::new("drop", Domain::Float { low: 0.0, high: 0.6, log: false, step: Some(0.05) }),
        Parameter::new("optimizer", Domain::choice(["sgd", "adam", "rmsprop"])),
        Parameter::new("act", Domain::choice(["relu", "gelu", "tanh", "sigmoid"])),
    ];
    vec![
        ("branin", branin as Function, branin_space),
        ("hartmann6", hartmann6, cube(6, 0.0, 1.0)),
        ("rosenbrock4", rosenbrock, cube(4, -5.0, 10.0)),
        ("ackley5", ackley, cube(5, -32.768, 32.768)),
        ("rastrigin3", rastrigin, cube(3, -5.12, 5.12)),
        ("network", network, network_space),
    ]
}

fn best(space: &[Parameter], f: Function, trials: usize, sampler: &Sampler, seed: u64) -> f64 {
    let space = Space::new(space.to_vec()).expect("a space");
    let settings = Settings { sampler: sampler.clone(), seed, ..Settings::default() };
    let study = Study::new(space, settings).expect("a study");
    let options = Options { trials, ..Options::default() };
    let study = nerve_tune::optimize(study, &options, |it| Finish::Value(f(&it.settings)));
    study.expect("no journal").best().and_then(|trial| trial.value).expect("a value")
}

/// Lower quartile, median, upper quartile.
fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [0.25, 0.5, 0.75].map(|share| {
        let at = share * (values.len() - 1) as f64;
        let (i, rest) = (at as usize, at.fract());
        values[i] + rest * (values[(i + 1).min(values.len() - 1)] - values[i])
    })
}

fn main() {
    let seeds: u64 = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(200);
    println!("best of 60 trials over {seeds} seeds: median (quartiles)");
    for (name, f, space) in functions() {
        for sampler in [Settings::default().sampler, Sampler::Random] {
            let values = (0..seeds).map(|seed| best(&space, f, 60, &sampler, seed)).collect();
            let [low, median, high] = quartiles(values);
            println!("{name:<12} {:<7} {median:>10.4}  ({low:.4} to {high:.4})", sampler.word());
        }
    }
    let sampler = Settings::default().sampler;
    let began = Instant::now();
    best(&cube(2, -5.0, 5.0), |x| x[0].float().powi(2) + x[1].float().powi(2), 1000, &sampler, 0);
    println!("1000 trials of x² + y²: {:.3} s", began.elapsed().as_secs_f64());
}
