//! Forecasts that say how sure they are.

use std::sync::Arc;

/// The quantiles of forecasts.
#[derive(Clone, Debug, PartialEq)]
pub struct Bands {
    /// Which quantiles, rising.
    pub at: Arc<[f64]>,
    /// Their values, `[rows, horizon, quantiles]`.
    pub values: Vec<f64>,
}

impl Bands {
    /// The mean of the pinball loss over steps and quantiles, for each row: max(q d, (q − 1) d) with d = truth − quantile
    /// (Koenker and Bassett, "Regression quantiles", 1978).
    pub(crate) fn pinball(&self, truth: &[f64], horizon: usize) -> Vec<f64> {
        let steps = truth.iter().zip(self.values.chunks_exact(self.at.len()));
        let loss = |(truth, values): (&f64, &[f64])| {
            let terms = self.at.iter().zip(values).map(|(q, value)| {
                let d = truth - value;
                (q * d).max((q - 1.0) * d)
            });
            terms.sum::<f64>() / self.at.len() as f64
        };
        let losses: Vec<f64> = steps.map(loss).collect();
        losses
            .chunks_exact(horizon.max(1))
            .map(|row| row.iter().sum::<f64>() / horizon as f64)
            .collect()
    }

    /// The pairs of quantiles that lie around the median alike: the share that should lie between, and their places.
    pub(crate) fn intervals(&self) -> Vec<(f64, [usize; 2])> {
        let last = self.at.len().saturating_sub(1);
        let pairs = (0..self.at.len() / 2).map(|low| [low, last - low]);
        let alike = |pair: &[usize; 2]| (self.at[pair[0]] + self.at[pair[1]] - 1.0).abs() < 1e-9;
        pairs.filter(alike).map(|pair| (self.at[pair[1]] - self.at[pair[0]], pair)).collect()
    }

    /// For each row the share of steps whose truth lies between two quantiles, and the mean distance of these.
    pub(crate) fn between(
        &self,
        truth: &[f64],
        horizon: usize,
        [low, high]: [usize; 2],
    ) -> [Vec<f64>; 2] {
        let steps = truth.iter().zip(self.values.chunks_exact(self.at.len()));
        let (inside, widths): (Vec<f64>, Vec<f64>) = steps
            .map(|(t, v)| (f64::from(u8::from(v[low] <= *t && *t <= v[high])), v[high] - v[low]))
            .unzip();
        let mean = |row: &[f64]| row.iter().sum::<f64>() / horizon.max(1) as f64;
        [inside, widths].map(|each| each.chunks_exact(horizon.max(1)).map(mean).collect())
    }
}
