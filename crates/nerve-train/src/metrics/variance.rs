//! How much of the variance of the targets a network explains.

use super::regression::{check_pairs, pairs};
use super::{Entry, Kept, Metric, Seen};
use nerve_core::Tensor;
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};
use nerve_nn::layers::Misfit;
use nerve_nn::losses::Target;

/// One minus the squared error over the variance of the targets: R², the coefficient of
/// determination; or, `centred`, one minus the variance of the error over that of the targets, which
/// forgives a constant error: explained variance.
///
/// Outputs and targets have one shape. With several values an example each is judged by itself, and
/// the result is the plain mean of them; or, `weighted`, that weighted by the variance of the
/// targets. Targets that are all equal give 1 if every output is right, else 0. All as in
/// scikit-learn.
///
/// Of each batch mean and squares around it are kept, and put together at the end (Chan et al.,
/// 1983), so that targets far from zero cost no digits.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_train::metrics::{Explained, measure};
/// let target = Tensor::from_slice(&[1.0f32, 2.0, 3.0], [3]);
/// assert_eq!(measure(&Explained::default(), &(&target + 1.0), &target), 1.0 - 3.0 / 2.0);
/// let explained = Explained { centred: true, ..Explained::default() };
/// assert_eq!(measure(&explained, &(&target + 1.0), &target), 1.0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Explained {
    /// Whether it is the explained variance.
    pub centred: bool,
    /// Whether values count by the variance of their targets.
    pub weighted: bool,
}

/// Count, mean, and sum of squares around the mean.
#[derive(Clone, Copy, Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn join(self, count: f64, mean: f64, squares: f64) -> Moments {
        let total = self.count + count;
        let gap = mean - self.mean;
        Moments {
            count: total,
            mean: self.mean + gap * count / total,
            squares: self.squares + squares + gap * gap * self.count * count / total,
        }
    }
}

impl Metric for Explained {
    fn name(&self) -> String {
        if self.centred { "explained_variance".into() } else { "r2".into() }
    }

    /// Of targets and errors the means and squares of each value: `[4, values]`.
    fn observe(&self, output: &Tensor, target: &Tensor) -> Tensor {
        let (output, target) = pairs(output, target);
        let moments = |x: &Tensor| {
            let mean = x.mean_axes(&[0], true);
            let squares = (x - &mean).square().sum_axes(&[0], true);
            [mean, squares]
        };
        let [mean, squares] = moments(&target);
        let [error_mean, error_squares] = moments(&(target - output));
        Tensor::concat(&[mean, squares, error_mean, error_squares], 0)
    }

    fn add(&self, seen: &Seen<'_>, kept: &mut Kept) {
        let batch = seen.target.first().copied().unwrap_or(1) as f64;
        kept.push(&[batch], 1 + seen.values.len());
        kept.push(seen.values, 1 + seen.values.len());
    }

    fn value(&self, kept: &Kept) -> f64 {
        let values = kept.width.saturating_sub(1) / 4;
        let (mut sum, mut weights) = (0.0, 0.0);
        for value in 0..values {
            let (mut target, mut error) = (Moments::default(), Moments::default());
            for row in kept.rows.chunks_exact(kept.width) {
                let at = |which: usize| row[1 + which * values + value];
                target = target.join(row[0], at(0), at(1));
                error = error.join(row[0], at(2), at(3));
            }
            // Around zero, not around their mean.
            let lost = error.squares
                + if self.centred { 0.0 } else { error.count * error.mean * error.mean };
            let score = match (lost == 0.0, target.squares == 0.0) {
                (true, _) => 1.0,
                (false, true) => 0.0,
                _ => 1.0 - lost / target.squares,
            };
            let weight = if self.weighted { target.squares } else { 1.0 };
            sum += weight * score;
            weights += weight;
        }
        sum / weights
    }

    fn each_step(&self) -> bool {
        false
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        check_pairs(output, target)
    }
}

static PARAMS: [Param; 1] = [Param::with_default(
    "average",
    Kind::Choice(&["uniform", "variance"]),
    Value::text("uniform"),
    "how several values of an example become one: the plain mean, or weighted by their variance",
)];

fn make(args: &Args, centred: bool) -> Box<dyn Metric> {
    Box::new(Explained { centred, weighted: args.text("average") == "variance" })
}

pub(super) static R2: Entry = Entry {
    spec: Spec {
        name: "r2",
        aliases: &["R2", "R2Score"],
        peers: Peers::of("", "metrics.R2Score"),
        doc: "One minus the squared error over the variance of the targets.",
        params: &PARAMS,
    },
    build: |args| make(args, false),
};

pub(super) static EXPLAINED: Entry = Entry {
    spec: Spec {
        name: "explained_variance",
        aliases: &["ExplainedVariance"],
        peers: Peers::NONE,
        doc: "One minus the variance of the error over that of the targets.",
        params: &PARAMS,
    },
    build: |args| make(args, true),
};
