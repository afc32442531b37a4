use crate::params::Params;
use nerve_core::{Compiled, DType, Tensor, Var, compile, grad};
use std::collections::VecDeque;

/// Quasi-Newton steps: the inverse of the Hessian is estimated from the last few steps.
///
/// Liu & Nocedal, "On the limited memory BFGS method for large scale optimization", 1989; the line
/// search is algorithms 3.5 and 3.6 of Nocedal & Wright, "Numerical optimization", 2006, with cubic
/// interpolation. For smooth losses without noise: full batches, no dropout. There it takes tens of
/// steps where others take thousands.
///
/// It is no [`Optimizer`](super::Optimizer), which takes one step a call of a compiled function: how
/// often it asks for the loss is decided on the way. So it is a loop of the host around the loss,
/// which is compiled, and its own sums are made in f64 on one thread: they are small beside a pass
/// over a full batch. Values are those of `torch.optim.LBFGS`.
///
/// ```
/// use nerve_core::DType;
/// use nerve_nn::optim::Lbfgs;
/// use nerve_nn::{Params, init::Zeros};
/// let params = Params::with_dtype(1, DType::F64);
/// let (x, y) = (params.var("x", [1], &Zeros), params.var("y", [1], &Zeros));
/// // Rosenbrock's valley, lowest at (1, 1).
/// let loss = || {
///     let away = y.get() - x.get().square();
///     (away.square() * 100.0 + (x.get() - 1.0).square()).sum()
/// };
/// let fit = Lbfgs::new(&params).minimize(loss, 50);
/// // It ends where a step changes the loss by less than 1e-9, as there.
/// assert!(fit.loss < 1e-12 && fit.steps < 40, "{fit:?}");
/// ```
pub struct Lbfgs {
    vars: Vec<Var>,
    memory: usize,
    rate: f64,
    search: bool,
    gradient_tolerance: f64,
    change_tolerance: f64,
}

/// What [`Lbfgs::minimize`] did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LbfgsFit {
    /// The loss at the end.
    pub loss: f64,
    /// The largest element of the gradient there.
    pub gradient: f64,
    /// Steps.
    pub steps: usize,
    /// How often loss and gradient were computed.
    pub evaluations: usize,
}

/// A place with its loss and its gradient.
#[derive(Clone)]
struct Point {
    x: Vec<f64>,
    loss: f64,
    gradient: Vec<f64>,
}

/// One step of the past: s, the way, and y, what the gradient has changed by.
struct Pair {
    s: Vec<f64>,
    y: Vec<f64>,
    rho: f64,
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |top, v| v.abs().max(top))
}

/// a + t b.
fn along(a: &[f64], t: f64, b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(x, y)| x + t * y).collect()
}

impl Lbfgs {
    /// Of all trainable parameters, with the last 10 steps and a line search; until no element of
    /// the gradient is above 1e-7, or loss and parameters change by less than 1e-9.
    ///
    /// # Panics
    /// If there are no parameters.
    #[track_caller]
    pub fn new(params: &Params) -> Lbfgs {
        let vars = params.trainable();
        assert!(!vars.is_empty(), "an optimizer needs at least one trainable parameter");
        Lbfgs {
            vars,
            memory: 10,
            rate: 1.0,
            search: true,
            gradient_tolerance: 1e-7,
            change_tolerance: 1e-9,
        }
    }

    /// With so many steps remembered: two numbers for each parameter and step.
    #[must_use]
    pub fn memory(self, steps: usize) -> Lbfgs {
        Lbfgs { memory: steps, ..self }
    }

    /// With steps of a fixed length `rate`, shorter the first time, instead of a line search: one
    /// evaluation a step, and no promise that the loss falls.
    #[must_use]
    pub fn fixed_rate(self, rate: f64) -> Lbfgs {
        Lbfgs { rate, search: false, ..self }
    }

    /// Ends when no element of the gradient is above the first, or loss and parameters have changed
    /// by less than the second.
    #[must_use]
    pub fn tolerances(self, gradient: f64, change: f64) -> Lbfgs {
        Lbfgs { gradient_tolerance: gradient, change_tolerance: change, ..self }
    }

    /// At most `steps` steps down `loss`, which builds the loss from the parameters as they are.
    /// The parameters are where they end.
    ///
    /// # Panics
    /// If the loss does not depend on one of the parameters.
    pub fn minimize(&self, loss: impl Fn() -> Tensor, steps: usize) -> LbfgsFit {
        let vars = &self.vars;
        let function = compile(|_: &[Tensor]| {
            let loss = loss();
            let mut results = grad(&loss, vars);
            results.push(loss);
            results
        });
        let mut run = Run { vars, function, evaluations: 0 };
        let mut now = run.at(read(vars));
        let mut past: VecDeque<Pair> = VecDeque::new();
        let mut done = 0;
        while done < steps && largest(&now.gradient) > self.gradient_tolerance {
            let direction = direction(&past, &now.gradient);
            let slope = dot(&now.gradient, &direction);
            // No way down that is worth a step.
            if slope > -self.change_tolerance {
                break;
            }
            let sum: f64 = now.gradient.iter().map(|g| g.abs()).sum();
            let first = if done == 0 { (1.0 / sum).min(1.0) * self.rate } else { self.rate };
            let next = match self.search {
                true => search(&mut run, &now, &direction, first, slope),
                false => run.at(along(&now.x, first, &direction)),
            };
            done += 1;
            let s = along(&next.x, -1.0, &now.x);
            let y = along(&next.gradient, -1.0, &now.gradient);
            let (moved, fallen) = (largest(&s), (next.loss - now.loss).abs());
            let curvature = dot(&y, &s);
            if curvature > 1e-10 {
                past.push_back(Pair { rho: 1.0 / curvature, s, y });
                if past.len() > self.memory {
                    past.pop_front();
                }
            }
            now = next;
            if !now.loss.is_finite()
                || moved <= self.change_tolerance
                || fallen < self.change_tolerance
            {
                break;
            }
        }
        write(vars, &now.x);
        let (loss, gradient) = (now.loss, largest(&now.gradient));
        LbfgsFit { loss, gradient, steps: done, evaluations: run.evaluations }
    }
}

/// −H g, with the estimate H of the inverse Hessian: the two loops of Nocedal.
fn direction(past: &VecDeque<Pair>, gradient: &[f64]) -> Vec<f64> {
    let mut q: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut shares = Vec::new();
    for pair in past.iter().rev() {
        let share = dot(&pair.s, &q) * pair.rho;
        q = along(&q, -share, &pair.y);
        shares.push(share);
    }
    if let Some(last) = past.back() {
        let scale = 1.0 / (last.rho * dot(&last.y, &last.y));
        q.iter_mut().for_each(|q| *q *= scale);
    }
    for (pair, share) in past.iter().zip(shares.into_iter().rev()) {
        q = along(&q, share - dot(&pair.y, &q) * pair.rho, &pair.s);
    }
    q
}

/// The loss as a function of all parameters in a row.
struct Run<'v, F> {
    vars: &'v [Var],
    function: Compiled<F>,
    evaluations: usize,
}

impl<F: Fn(&[Tensor]) -> Vec<Tensor>> Run<'_, F> {
    fn at(&mut self, x: Vec<f64>) -> Point {
        write(self.vars, &x);
        self.evaluations += 1;
        let results = self.function.call(&[]);
        let wide = |t: &Tensor| t.to_dtype(DType::F64).to_vec::<f64>();
        let (loss, gradients) = results.split_last().expect("the loss is the last");
        let gradient = gradients.iter().flat_map(wide).collect();
        Point { x, loss: wide(loss)[0], gradient }
    }
}

fn read(vars: &[Var]) -> Vec<f64> {
    vars.iter().flat_map(|var| var.get().to_dtype(DType::F64).to_vec::<f64>()).collect()
}

fn write(vars: &[Var], mut x: &[f64]) {
    for var in vars {
        let (own, others) = x.split_at(var.shape().numel());
        match var.dtype() {
            DType::F64 => var.write(own),
            _ => var.write(&own.iter().map(|&v| v as f32).collect::<Vec<f32>>()),
        }
        x = others;
    }
}

/// A place on the line: how far, and what is there.
#[derive(Clone)]
struct Trial {
    t: f64,
    point: Point,
    slope: f64,
}

/// Where the cubic through two places, with their slopes, is lowest, within `bounds`.
fn cubic([a, b]: [&Trial; 2], bounds: [f64; 2]) -> f64 {
    let (a, b) = if a.t <= b.t { (a, b) } else { (b, a) };
    let d1 = a.slope + b.slope - 3.0 * (a.point.loss - b.point.loss) / (a.t - b.t);
    let square = d1 * d1 - a.slope * b.slope;
    if square < 0.0 {
        return (bounds[0] + bounds[1]) / 2.0;
    }
    let d2 = square.sqrt();
    let lowest = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2.0 * d2));
    // What is not a number, from a straight line, becomes the lower bound.
    lowest.max(bounds[0]).min(bounds[1])
}

/// Evaluations of one search at most.
const MOST: usize = 25;
/// The loss has fallen enough, and the slope is flat enough: the conditions of Wolfe.
const FALLEN: f64 = 1e-4;
const FLAT: f64 = 0.9;

/// A place along `direction` that fulfils the strong conditions of Wolfe.
fn search<F: Fn(&[Tensor]) -> Vec<Tensor>>(
    run: &mut Run<'_, F>,
    from: &Point,
    direction: &[f64],
    first: f64,
    slope: f64,
) -> Point {
    let mut tried = 0;
    let mut at = |t: f64| {
        tried += 1;
        let point = run.at(along(&from.x, t, direction));
        let slope = dot(&point.gradient, direction);
        (Trial { t, point, slope }, tried)
    };
    let enough = |trial: &Trial| trial.point.loss <= from.loss + FALLEN * trial.t * slope;
    let flat = |trial: &Trial| trial.slope.abs() <= -FLAT * slope;
    let mut before = Trial { t: 0.0, point: from.clone(), slope };
    let (mut trial, mut count) = at(first);
    let mut bracket = loop {
        if !enough(&trial) || (count > 2 && trial.point.loss >= before.point.loss) {
            break [before, trial];
        }
        if flat(&trial) {
            return trial.point;
        }
        if trial.slope >= 0.0 || count >= MOST {
            break [before, trial];
        }
        // Farther out, by the cubic, at most tenfold.
        let bounds = [trial.t + 0.01 * (trial.t - before.t), trial.t * 10.0];
        let next = cubic([&before, &trial], bounds);
        before = trial;
        (trial, count) = at(next);
    };
    zoom(&mut bracket, direction, count, at, enough, flat)
}

/// Narrows a bracket down to a place that fulfils the conditions.
fn zoom(
    bracket: &mut [Trial; 2],
    direction: &[f64],
    mut count: usize,
    mut at: impl FnMut(f64) -> (Trial, usize),
    enough: impl Fn(&Trial) -> bool,
    flat: impl Fn(&Trial) -> bool,
) -> Point {
    let size = largest(direction);
    let mut low = usize::from(bracket[0].point.loss > bracket[1].point.loss);
    let mut stuck = false;
    while count < MOST {
        let [a, b] = [bracket[0].t, bracket[1].t];
        let (start, end) = (a.min(b), a.max(b));
        if (end - start) * size < 1e-9 {
            break;
        }
        let mut t = cubic([&bracket[0], &bracket[1]], [start, end]);
        // Too near to an end for the second time, or on it: a tenth of the way in.
        let margin = 0.1 * (end - start);
        if (end - t).min(t - start) < margin {
            if stuck || t >= end || t <= start {
                t = if (t - end).abs() < (t - start).abs() { end - margin } else { start + margin };
                stuck = false;
            } else {
                stuck = true;
            }
        } else {
            stuck = false;
        }
        let trial;
        (trial, count) = at(t);
        let high = 1 - low;
        if !enough(&trial) || trial.point.loss >= bracket[low].point.loss {
            bracket[high] = trial;
            low = usize::from(bracket[0].point.loss > bracket[1].point.loss);
            continue;
        }
        if flat(&trial) {
            return trial.point;
        }
        if trial.slope * (bracket[high].t - bracket[low].t) >= 0.0 {
            bracket[high] = bracket[low].clone();
        }
        bracket[low] = trial;
    }
    bracket[low].point.clone()
}
