//! The scale on which a network sees the numbers of a column, and the way back.

use serde_json::{Value as Json, json};

/// The ways to a common scale.
pub(super) const METHODS: &[&str] = &["zscore", "minmax", "robust", "quantile", "log1p", "none"];

/// What they do, for the recipe.
pub(super) const DOC: &str = "zscore: mean 0 and deviation 1 over the training split; minmax: from 0 to 1; robust: median 0 \
     and interquartile range 1; quantile: the normal score of the rank, for skewed columns; log1p: zscore of ln(1 + x); \
     none: as it is";

/// A monotone function of a number, fitted to the training split.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scale {
    /// `(x - subtract) / divide`, of `ln(1 + x)` where `log` says so.
    Linear { subtract: f64, divide: f64, log: bool },
    /// The normal score of the place of x among these values, which stand at equal shares of the data.
    Quantile { values: Vec<f64> },
}

/// Shares nearer to 0 or 1 than this count as this: the bound that scikit-learn sets.
const EDGE: f64 = 1e-7 - f64::EPSILON;

impl Scale {
    /// Fits a scale to finite numbers, sorted, at least one; those of `log1p` above -1.
    ///
    /// Numbers whose deviation is nothing but rounding are shifted, not scaled.
    pub(super) fn fit(method: &str, sorted: &[f64]) -> Scale {
        let linear = |subtract, divide| Scale::Linear { subtract, divide, log: false };
        let (least, most) = (sorted[0], sorted[sorted.len() - 1]);
        match method {
            "zscore" => {
                let (mean, deviation) = moments(sorted.iter().copied());
                linear(mean, or_one(deviation, mean))
            }
            "minmax" => linear(least, or_one(most - least, most)),
            "robust" => {
                let range = quantile(sorted, 0.75) - quantile(sorted, 0.25);
                // More than half of the values are one: the others have a scale all the same.
                let divide = if range > 0.0 { range } else { moments(sorted.iter().copied()).1 };
                let median = quantile(sorted, 0.5);
                linear(median, or_one(divide, median))
            }
            // As many as tell apart what the data can: Gorishniy et al., "Revisiting deep learning models for tabular
            // data" (2021), take one for 30 rows.
            "quantile" => Scale::quantiles(sorted, (sorted.len() / 30).clamp(10, 1000)),
            "log1p" => {
                let (mean, deviation) = moments(sorted.iter().map(|x| x.ln_1p()));
                Scale::Linear { subtract: mean, divide: or_one(deviation, mean), log: true }
            }
            _ => linear(0.0, 1.0),
        }
    }

    /// The normal scores among `count` quantiles, or as many as there are values.
    fn quantiles(sorted: &[f64], count: usize) -> Scale {
        let count = count.min(sorted.len()).max(2);
        let share = |i: usize| i as f64 / (count - 1) as f64;
        Scale::Quantile { values: (0..count).map(|i| quantile(sorted, share(i))).collect() }
    }

    /// What the network sees of a number.
    pub(super) fn apply(&self, x: f64) -> f64 {
        match self {
            Scale::Linear { subtract, divide, log } => {
                ((if *log { x.ln_1p() } else { x }) - subtract) / divide
            }
            Scale::Quantile { values } => normal_score(share(values, x)),
        }
    }

    /// The number of which the network would see `z`.
    pub(super) fn invert(&self, z: f64) -> f64 {
        match self {
            Scale::Linear { subtract, divide, log } => {
                let x = z * divide + subtract;
                if *log { x.exp_m1() } else { x }
            }
            Scale::Quantile { values } => quantile(values, normal_share(z)),
        }
    }

    /// Whether a number has a place on it.
    pub(super) fn takes(&self, x: f64) -> bool {
        !matches!(self, Scale::Linear { log: true, .. }) || x > -1.0
    }

    /// Whether all its numbers are finite.
    pub(super) fn is_finite(&self) -> bool {
        match self {
            Scale::Linear { subtract, divide, .. } => subtract.is_finite() && divide.is_finite(),
            Scale::Quantile { values } => values.iter().all(|value| value.is_finite()),
        }
    }

    pub(super) fn state(&self) -> Json {
        match self {
            Scale::Linear { subtract, divide, log } => {
                json!({ "subtract": subtract, "divide": divide, "log": log })
            }
            Scale::Quantile { values } => json!({ "quantiles": values }),
        }
    }

    pub(super) fn restore(state: &Json) -> Result<Scale, String> {
        let number = |value: &Json| value.as_f64().filter(|number| number.is_finite());
        if let Some(values) = state["quantiles"].as_array() {
            let values: Option<Vec<f64>> = values.iter().map(number).collect();
            let values = values.filter(|values| values.len() >= 2 && values.is_sorted());
            return Ok(Scale::Quantile { values: values.ok_or("`quantiles` do not rise")? });
        }
        Ok(Scale::Linear {
            subtract: number(&state["subtract"]).ok_or("`subtract` is no number")?,
            divide: number(&state["divide"])
                .filter(|divide| *divide != 0.0)
                .ok_or("`divide` is no number but 0")?,
            log: state["log"].as_bool().ok_or("`log` is neither true nor false")?,
        })
    }
}

/// A spread to divide by; 1 where it is nothing beside the rounding of numbers of this size.
fn or_one(spread: f64, size: f64) -> f64 {
    if spread > 10.0 * f64::EPSILON * size.abs() { spread } else { 1.0 }
}

/// Mean and deviation, that of the whole and not of a sample (ddof 0).
pub(crate) fn moments(values: impl ExactSizeIterator<Item = f64> + Clone) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.clone().sum::<f64>() / n;
    let variance = values.map(|x| (x - mean).powi(2)).sum::<f64>() / n;
    (mean, variance.sqrt())
}

/// The value below which a share of the sorted values lies, linear between neighbours (numpy's default).
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let below = sorted[place as usize];
    let above = sorted[(place as usize + 1).min(sorted.len() - 1)];
    below + (above - below) * place.fract()
}

/// The share of the data below x; in the middle of equal quantiles.
fn share(values: &[f64], x: f64) -> f64 {
    let last = values.len() - 1;
    let below = values.partition_point(|&value| value < x);
    let up_to = values.partition_point(|&value| value <= x);
    let place = match (below, up_to) {
        (_, 0) => 0.0,
        (below, _) if below > last => return 1.0,
        (below, up_to) if below < up_to => {
            // The least and the greatest value are the ends, however many quantiles they fill.
            match (below, up_to - 1) {
                (0, _) => 0.0,
                (_, to) if to == last => last as f64,
                (from, to) => (from + to) as f64 / 2.0,
            }
        }
        (above, _) => {
            let (low, high) = (values[above - 1], values[above]);
            (above - 1) as f64 + (x - low) / (high - low)
        }
    };
    place / last as f64
}

/// The number below which a share of a standard normal variable lies, from -5.2 to 5.2.
///
/// Wichura, "Algorithm AS 241: the percentage points of the normal distribution" (Applied Statistics 37, 1988), which is
/// exact to about 1 part in 10^16. Its third case, for shares below 10^-11, is not needed.
#[allow(clippy::excessive_precision, reason = "the digits as they were published")]
fn normal_score(share: f64) -> f64 {
    const A: [f64; 8] = [
        2.5090809287301226727e3,
        3.3430575583588128105e4,
        6.7265770927008700853e4,
        4.5921953931549871457e4,
        1.3731693765509461125e4,
        1.9715909503065514427e3,
        1.3314166789178437745e2,
        3.3871328727963666080e0,
    ];
    const B: [f64; 8] = [
        5.2264952788528545610e3,
        2.8729085735721942674e4,
        3.9307895800092710610e4,
        2.1213794301586595867e4,
        5.3941960214247511077e3,
        6.8718700749205790830e2,
        4.2313330701600911252e1,
        1.0,
    ];
    const C: [f64; 8] = [
        7.74545014278341407640e-4,
        2.27238449892691845833e-2,
        2.41780725177450611770e-1,
        1.27045825245236838258e0,
        3.64784832476320460504e0,
        5.76949722146069140550e0,
        4.63033784615654529590e0,
        1.42343711074968357734e0,
    ];
    const D: [f64; 8] = [
        1.05075007164441684324e-9,
        5.47593808499534494600e-4,
        1.51986665636164571966e-2,
        1.48103976427480074590e-1,
        6.89767334985100004550e-1,
        1.67638483018380384940e0,
        2.05319162663775882187e0,
        1.0,
    ];
    let polynomial = |terms: &[f64; 8], x: f64| terms.iter().fold(0.0, |sum, term| sum * x + term);
    let share = share.clamp(EDGE, 1.0 - EDGE);
    let q = share - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.425 * 0.425 - q * q;
        return q * polynomial(&A, r) / polynomial(&B, r);
    }
    let r = (-share.min(1.0 - share).ln()).sqrt() - 1.6;
    (polynomial(&C, r) / polynomial(&D, r)).copysign(q)
}

/// The share of a standard normal variable that lies below z: the inverse of [`normal_score`], by bisection, since it is
/// asked for single answers alone.
fn normal_share(z: f64) -> f64 {
    let (mut low, mut high) = (EDGE, 1.0 - EDGE);
    if z <= normal_score(low) {
        return 0.0;
    }
    if z >= normal_score(high) {
        return 1.0;
    }
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if normal_score(middle) < z {
            low = middle;
        } else {
            high = middle;
        }
    }
    (low + high) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two columns and what scikit-learn makes of them: see `golden/make_scale.py`.
    const GOLDEN: &str = include_str!("golden/scale.tsv");

    fn golden(name: &str) -> Vec<f64> {
        let line = GOLDEN.lines().find_map(|line| line.strip_prefix(&format!("{name}\t")));
        line.expect(name).split('\t').map(|text| text.parse().unwrap()).collect()
    }

    fn sorted(mut values: Vec<f64>) -> Vec<f64> {
        values.sort_by(f64::total_cmp);
        values
    }

    fn assert_close(found: f64, expected: f64, what: &str) {
        let off = (found - expected).abs();
        assert!(off <= 1e-12 * expected.abs().max(1.0), "{what}: {found}, expected {expected}");
    }

    #[test]
    fn golden_scales_are_those_of_scikit_learn() {
        for column in ["skewed", "tied"] {
            let seen = sorted(golden(column));
            let asked = golden(&format!("{column}.asked"));
            for method in ["zscore", "minmax", "robust", "log1p", "quantile"] {
                let scale = Scale::fit(method, &seen);
                for (&x, expected) in asked.iter().zip(golden(&format!("{column}.{method}"))) {
                    assert_close(scale.apply(x), expected, &format!("{column} {method} {x}"));
                }
            }
        }
    }

    #[test]
    fn golden_quantile_answers_go_back_as_in_scikit_learn() {
        let scale = Scale::fit("quantile", &sorted(golden("skewed")));
        for (&z, expected) in golden("inverse.asked").iter().zip(golden("inverse.quantile")) {
            // What it was compared with goes through the normal distribution itself.
            assert_close(scale.invert(z), expected, &format!("{z}"));
        }
    }

    #[test]
    fn every_scale_has_a_way_back() {
        let seen = sorted(golden("skewed"));
        for method in METHODS {
            let scale = Scale::fit(method, &seen);
            for &x in &seen[1..seen.len() - 1] {
                let back = scale.invert(scale.apply(x));
                assert!(
                    (back - x).abs() < 1e-9 * x.abs().max(1.0),
                    "{method}: {x} comes back as {back}"
                );
            }
            assert_eq!(Scale::restore(&scale.state()).unwrap(), scale);
        }
    }

    #[test]
    fn c16_constants_are_shifted_and_not_scaled() {
        let same = [0.1; 7];
        for method in METHODS {
            let z = Scale::fit(method, &same).apply(0.1);
            assert!(z.is_finite() && z.abs() < 6.0, "{method}: {z}");
        }
        assert!(Scale::fit("zscore", &same).apply(0.1).abs() < 1e-15);
        assert_eq!(Scale::fit("minmax", &[2.0]).apply(2.0), 0.0);
        // Mostly one value: the interquartile range is 0, the deviation is not.
        let rare = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 10.0];
        assert_eq!(Scale::fit("robust", &rare).apply(3.0), 1.0);
    }

    #[test]
    fn damaged_states_are_refused() {
        for state in [
            json!({}),
            json!({ "subtract": 0.0, "divide": 0.0, "log": false }),
            json!({ "subtract": "a", "divide": 1.0, "log": false }),
            json!({ "quantiles": [1.0] }),
            json!({ "quantiles": [2.0, 1.0] }),
        ] {
            assert!(Scale::restore(&state).is_err(), "{state}");
        }
    }
}
