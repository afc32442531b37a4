//! Metrics of numbers.

use super::{Entry, Kept, Metric, Seen};
use nerve_core::{DType, Tensor};
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};
use nerve_nn::layers::Misfit;
use nerve_nn::losses::Target;

/// Outputs and targets in f64 and one shape, a row for each example: `[batch, values]`.
#[track_caller]
pub(super) fn pairs(output: &Tensor, target: &Tensor) -> (Tensor, Tensor) {
    let (o, t) = (output.shape(), target.shape());
    assert!(
        o == t || o.strip_suffix(&[1]) == Some(t),
        "output {o} and target {t}: one target for each output"
    );
    let rows = |x: &Tensor| {
        let batch = o.first().copied().unwrap_or(1);
        x.to_dtype(DType::F64).reshape([batch, o.numel() / batch.max(1)])
    };
    (rows(output), rows(target))
}

/// Whether there is one output for each target.
pub(super) fn check_pairs(output: &[usize], target: &Target) -> Result<(), Misfit> {
    let same = *target.shape == *output || output.strip_suffix(&[1]) == Some(&*target.shape);
    match same && target.classes.is_none_or(|n| n <= 2) {
        true => Ok(()),
        false => Err(Misfit {
            needs: format!("one output for each target: {}", target.shape),
            hint: String::new(),
        }),
    }
}

/// How far numbers are from what they should be, with d = output − target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distance {
    /// Mean |d|.
    Mae,
    /// Mean d².
    Mse,
    /// √ mean d².
    Rmse,
    /// Mean 100 |d| / |target|, in percent (scikit-learn gives a hundredth). A target of zero counts
    /// as 2⁻⁵².
    Mape,
    /// Mean 200 |d| / (|output| + |target|), in percent; 0 where both are zero. Makridakis, 1993.
    Smape,
    /// Mean |d| over `scale`, the mean absolute error of the naive forecast: see [`naive_error`].
    /// Hyndman and Koehler, "Another look at measures of forecast accuracy", 2006.
    Mase {
        /// What the mean absolute error is divided by.
        scale: f64,
    },
    /// The mean of max(q (target − output), (q − 1) (target − output)): the pinball loss.
    Quantile(f64),
    /// The mean of (ln(1 + output) − ln(1 + target))².
    Msle,
}

/// The mean absolute error of the forecast that repeats what was `season` steps before (1: the last
/// value), over a series that was trained on: the scale of [`Distance::Mase`].
///
/// ```
/// use nerve_train::metrics::naive_error;
/// assert_eq!(naive_error(&[1.0, 2.0, 4.0, 7.0], 1), 2.0);
/// ```
///
/// # Panics
/// If `season` is 0.
pub fn naive_error(series: &[f64], season: usize) -> f64 {
    assert!(season > 0, "a season is one step or more");
    let differences = series.iter().zip(series.iter().skip(season)).map(|(a, b)| (b - a).abs());
    let count = series.len().saturating_sub(season);
    differences.sum::<f64>() / count as f64
}

/// A mean distance of outputs from targets, over all values: a sum in f64 a batch.
///
/// Outputs and targets have one shape.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_train::metrics::{Distance, Regression, measure};
/// let output = Tensor::from_slice(&[1.0f32, 5.0], [2]);
/// assert_eq!(measure(&Regression(Distance::Rmse), &output, &Tensor::ones([2])), 8f64.sqrt());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Regression(pub Distance);

impl Regression {
    /// What each value adds to the mean, f64 `[batch, values]`.
    #[track_caller]
    pub(crate) fn terms(&self, output: &Tensor, target: &Tensor) -> Tensor {
        let (o, t) = pairs(output, target);
        let d = &o - &t;
        match self.0 {
            Distance::Mae | Distance::Mase { .. } => d.abs(),
            Distance::Mse | Distance::Rmse => d.square(),
            Distance::Mape => d.abs() / t.abs().maximum(f64::EPSILON) * 100.0,
            Distance::Smape => {
                let size = o.abs() + t.abs();
                let some = size.eq(0.0).select(&size.full_like(1.0), &size);
                d.abs() / some * 200.0
            }
            Distance::Quantile(q) => (&d * -q).maximum(&d * (1.0 - q)),
            Distance::Msle => (o.log1p() - t.log1p()).square(),
        }
    }
}

impl Metric for Regression {
    fn name(&self) -> String {
        match self.0 {
            Distance::Mae => "mae".into(),
            Distance::Mse => "mse".into(),
            Distance::Rmse => "rmse".into(),
            Distance::Mape => "mape".into(),
            Distance::Smape => "smape".into(),
            Distance::Mase { .. } => "mase".into(),
            Distance::Quantile(q) => format!("quantile_loss_{q}"),
            Distance::Msle => "msle".into(),
        }
    }

    fn observe(&self, output: &Tensor, target: &Tensor) -> Tensor {
        self.terms(output, target).sum()
    }

    fn add(&self, seen: &Seen<'_>, kept: &mut Kept) {
        kept.add(&[seen.values[0], seen.count()]);
    }

    fn value(&self, kept: &Kept) -> f64 {
        match self.0 {
            Distance::Rmse => kept.mean().sqrt(),
            Distance::Mase { scale } => kept.mean() / scale,
            _ => kept.mean(),
        }
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        check_pairs(output, target)
    }
}

/// The largest difference of an output from its target: max |output − target|.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_train::metrics::{MaxError, measure};
/// let output = Tensor::from_slice(&[1.0f32, -5.0], [2]);
/// assert_eq!(measure(&MaxError, &output, &Tensor::zeros([2])), 5.0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MaxError;

impl Metric for MaxError {
    fn name(&self) -> String {
        "max_error".into()
    }

    fn observe(&self, output: &Tensor, target: &Tensor) -> Tensor {
        let (o, t) = pairs(output, target);
        (o - t).abs().max()
    }

    fn add(&self, seen: &Seen<'_>, kept: &mut Kept) {
        kept.raise(seen.values);
    }

    fn value(&self, kept: &Kept) -> f64 {
        kept.maxima.first().copied().unwrap_or(f64::NAN)
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        check_pairs(output, target)
    }
}

/// The share of targets that lie between the lowest and the highest quantile of a forecast, both
/// included.
///
/// Outputs `[batch, …, quantiles]`, in rising order of the quantiles, targets `[batch, …]`. With
/// the quantiles 0.05 and 0.95 it should be 0.9.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_train::metrics::{IntervalCoverage, measure};
/// let forecast = Tensor::from_slice(&[0.0f32, 1.0, 0.0, 1.0], [2, 2]);
/// let truth = Tensor::from_slice(&[0.5f32, 2.0], [2]);
/// assert_eq!(measure(&IntervalCoverage, &forecast, &truth), 0.5);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IntervalCoverage;

impl Metric for IntervalCoverage {
    fn name(&self) -> String {
        "interval_coverage".into()
    }

    fn observe(&self, output: &Tensor, target: &Tensor) -> Tensor {
        let (o, t) = (output.shape(), target.shape());
        assert!(
            o.rank() == t.rank() + 1 && o[..t.rank()] == t[..] && o[t.rank()] >= 2,
            "interval_coverage: output {o} and target {t}: two or more quantiles on a last axis"
        );
        let last = o[t.rank()];
        let part = |at: usize| output.slice(-1, at, at + 1).reshape(t);
        let target = target.to_dtype(output.dtype());
        let inside = part(0).le(&target).logical_and(target.le(part(last - 1)));
        inside.to_dtype(DType::F64).sum()
    }

    fn add(&self, seen: &Seen<'_>, kept: &mut Kept) {
        kept.add(&[seen.values[0], seen.count()]);
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        match output.split_last() {
            Some((2.., rest)) if *rest == *target.shape => Ok(()),
            _ => Err(Misfit {
                needs: "two or more quantiles for each target, on a last axis".into(),
                hint: String::new(),
            }),
        }
    }
}

const fn plain(
    name: &'static str,
    aliases: &'static [&'static str],
    keras: &'static str,
    doc: &'static str,
) -> Spec {
    Spec { name, aliases, peers: Peers::of("", keras), doc, params: &[] }
}

pub(super) static ENTRIES: [Entry; 10] = [
    Entry {
        spec: plain(
            "mae",
            &["MAE", "mean_absolute_error", "MeanAbsoluteError"],
            "metrics.MeanAbsoluteError",
            "The mean absolute difference.",
        ),
        build: |_| Box::new(Regression(Distance::Mae)),
    },
    Entry {
        spec: plain(
            "mse",
            &["MSE", "mean_squared_error", "MeanSquaredError"],
            "metrics.MeanSquaredError",
            "The mean squared difference.",
        ),
        build: |_| Box::new(Regression(Distance::Mse)),
    },
    Entry {
        spec: plain(
            "rmse",
            &["RMSE", "root_mean_squared_error", "RootMeanSquaredError"],
            "metrics.RootMeanSquaredError",
            "The root of the mean squared difference.",
        ),
        build: |_| Box::new(Regression(Distance::Rmse)),
    },
    Entry {
        spec: plain(
            "mape",
            &["MAPE", "MeanAbsolutePercentageError"],
            "metrics.MeanAbsolutePercentageError",
            "The mean absolute difference in percent of the targets.",
        ),
        build: |_| Box::new(Regression(Distance::Mape)),
    },
    Entry {
        spec: plain(
            "smape",
            &["sMAPE", "SMAPE"],
            "",
            "The mean absolute difference in percent of the mean of output and target.",
        ),
        build: |_| Box::new(Regression(Distance::Smape)),
    },
    Entry {
        spec: Spec {
            name: "mase",
            aliases: &["MASE"],
            peers: Peers::NONE,
            doc: "The mean absolute difference over that of a naive forecast.",
            params: &[Param::required(
                "scale",
                Kind::positive(),
                "the mean absolute error of the naive forecast, over the training data",
            )],
        },
        build: |args| Box::new(Regression(Distance::Mase { scale: args.float("scale") })),
    },
    Entry {
        spec: Spec {
            name: "quantile_loss",
            aliases: &["pinball_loss"],
            peers: Peers::NONE,
            doc: "The pinball loss of one quantile.",
            params: &[Param::with_default(
                "quantile",
                Kind::Float { min: 0.0, max: 1.0, open_min: true, open_max: true },
                Value::Float(0.5),
                "which quantile",
            )
            .alias(&["q", "alpha"])],
        },
        build: |args| Box::new(Regression(Distance::Quantile(args.float("quantile")))),
    },
    Entry {
        spec: plain(
            "msle",
            &["MSLE", "MeanSquaredLogarithmicError"],
            "metrics.MeanSquaredLogarithmicError",
            "The mean squared difference of logarithms.",
        ),
        build: |_| Box::new(Regression(Distance::Msle)),
    },
    Entry {
        spec: plain("max_error", &["MaxError"], "", "The largest difference."),
        build: |_| Box::new(MaxError),
    },
    Entry {
        spec: plain(
            "interval_coverage",
            &["coverage"],
            "",
            "The share of targets between the lowest and the highest quantile of a forecast.",
        ),
        build: |_| Box::new(IntervalCoverage),
    },
];
