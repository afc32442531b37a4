use super::{Draw, Entry, Initializer};
use nerve_core::{DType, Shape, Tensor};
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// Normal random numbers of which none is farther than two deviations from the mean: those beyond
/// are drawn again.
///
/// `std` is that of the normal distribution before it is cut, as in PyTorch and in Keras; what is
/// left has 0.88 of it. ([`FanScaled`](super::FanScaled) makes up for that.)
///
/// ```
/// use nerve_nn::{Params, init::TruncatedNormal};
/// let w = Params::new(1).var("w", [1000], &TruncatedNormal { mean: 1.0, std: 0.5 });
/// assert!(w.to_vec::<f32>().iter().all(|w| (0.0..=2.0).contains(w)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TruncatedNormal {
    /// The mean.
    pub mean: f64,
    /// The standard deviation before the cut.
    pub std: f64,
}

/// The deviation of what is left of a normal distribution with deviation 1.
pub(super) const LEFT: f64 = 0.879_625_661_034_239_8;

impl Initializer for TruncatedNormal {
    fn tensor(&self, shape: &Shape, draw: &Draw) -> Tensor {
        // By inversion: uniform in the share of the distribution between −2 and 2.
        let wide = Draw { dtype: DType::F64, ..draw.clone() };
        let uniform = wide.uniform(shape, 0.0, 1.0).to_vec::<f64>();
        let (low, high) = (cumulative(-2.0), cumulative(2.0));
        let one = |u: f64| self.mean + self.std * quantile(low + u * (high - low)).clamp(-2.0, 2.0);
        let values: Vec<f64> = uniform.into_iter().map(one).collect();
        Tensor::from_slice(&values, shape).to_dtype(draw.dtype).evaluated()
    }
}

/// Φ(x) of the normal distribution, for |x| ≤ 2 by its Taylor series: exact to rounding.
fn cumulative(x: f64) -> f64 {
    let (mut term, mut sum, mut n) = (x, x, 0.0);
    while term.abs() > 1e-18 {
        n += 1.0;
        term *= -x * x / (2.0 * n);
        sum += term / (2.0 * n + 1.0);
    }
    0.5 + sum / (2.0 * std::f64::consts::PI).sqrt()
}

/// The x with Φ(x) = p, for p in Φ(−2)..=Φ(2): Newton's method.
fn quantile(p: f64) -> f64 {
    let root = (2.0 * std::f64::consts::PI).sqrt();
    let mut x = 0.0f64;
    for _ in 0..30 {
        let step = (cumulative(x) - p) * root * (x * x / 2.0).exp();
        // Never past the ends, where the series holds.
        let next = (x - step).clamp(-2.0, 2.0);
        let done = (next - x).abs() < 1e-15;
        x = next;
        if done {
            break;
        }
    }
    x
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "truncated_normal",
        aliases: &["TruncatedNormal", "trunc_normal"],
        peers: Peers::of("nn.init.trunc_normal_", "initializers.TruncatedNormal"),
        doc: "Normal random numbers, none farther than two deviations from the mean.",
        params: &[
            Param::with_default("mean", Kind::number(), Value::Float(0.0), "the mean"),
            Param::with_default(
                "std",
                Kind::non_negative(),
                Value::Float(0.05),
                "the deviation before the cut",
            )
            .alias(&["stddev"]),
        ],
    },
    build: |args| Box::new(TruncatedNormal { mean: args.float("mean"), std: args.float("std") }),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quantile_undoes_the_distribution() {
        assert!((cumulative(1.0) - 0.841_344_746_068_542_9).abs() < 1e-15);
        for i in 0..=40 {
            let x = f64::from(i) / 10.0 - 2.0;
            assert!((quantile(cumulative(x)) - x).abs() < 1e-13, "{x}");
        }
    }
}
