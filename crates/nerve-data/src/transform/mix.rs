//! Mixup and CutMix: each example of a batch is mixed with its neighbour, and so is what it should give.

use std::fmt::Debug;
use std::sync::Arc;

use nerve_formats::spec::{Args, Item, Kind, Param, Peers, Spec, Value};

use crate::random::Random;

const ALPHA: Kind = Kind::Float { min: 0.0, max: 100.0, open_min: true, open_max: false };
const ALPHA_DOC: &str = "how evenly two are mixed: the parameter of a beta distribution; small: one of them nearly alone";

static MIXUP: Spec = Spec {
    name: "Mixup",
    aliases: &["MixUp", "mixup"],
    peers: Peers::of("v2.MixUp", "layers.MixUp"),
    doc: "Blends each example of a batch with its neighbour, and their classes in the same proportion.",
    params: &[Param::with_default("alpha", ALPHA, Value::Float(0.2), ALPHA_DOC)],
};

static CUTMIX: Spec = Spec {
    name: "CutMix",
    aliases: &["Cutmix", "cutmix"],
    peers: Peers::of("v2.CutMix", "layers.CutMix"),
    doc: "Pastes a rectangle of each picture's neighbour into it, and mixes their classes by the area.",
    params: &[Param::with_default("alpha", ALPHA, Value::Float(1.0), ALPHA_DOC)],
};

/// A way to mix the examples of a batch.
pub trait Mix: Debug + Send + Sync {
    /// Mixes each of `rows` pictures `[channels, height, width]` with the one before it, the first with the last, and
    /// returns what is left of each picture itself, as a share.
    fn mix(&self, pictures: &mut [f32], rows: usize, size: [usize; 2], random: &mut Random) -> f32;
}

/// A kind of mixing.
pub struct MixEntry {
    /// Name and parameters.
    pub spec: &'static Spec,
    /// Makes one from checked arguments.
    pub build: fn(&Args) -> Arc<dyn Mix>,
}

/// All kinds of mixing.
pub fn mixes() -> &'static [MixEntry] {
    static ENTRIES: [MixEntry; 2] = [
        MixEntry { spec: &CUTMIX, build: |args| Arc::new(CutMix { alpha: args.float("alpha") }) },
        MixEntry { spec: &MIXUP, build: |args| Arc::new(Mixup { alpha: args.float("alpha") }) },
    ];
    &ENTRIES
}

/// The descriptions of all kinds of mixing, for the recipe.
pub fn mix_specs() -> Vec<&'static Spec> {
    mixes().iter().map(|entry| entry.spec).collect()
}

/// Makes the mixing that an item names.
///
/// # Panics
/// For an item that is not of [`mixes`].
#[track_caller]
pub fn build_mix(item: &Item) -> Arc<dyn Mix> {
    let entry = mixes().iter().find(|entry| entry.spec.name == item.name);
    (entry.expect("a kind of mixing").build)(&item.args)
}

/// Blends examples (Zhang et al., "mixup: beyond empirical risk minimization", 2017), all of a batch in one proportion.
#[derive(Clone, Debug)]
pub struct Mixup {
    /// The parameter of the beta distribution.
    pub alpha: f64,
}

impl Mix for Mixup {
    fn mix(&self, pictures: &mut [f32], rows: usize, _: [usize; 2], random: &mut Random) -> f32 {
        let share = beta(random, self.alpha) as f32;
        blend_rows(pictures, rows, share);
        share
    }
}

/// Pastes a rectangle of another picture (Yun et al., "CutMix: regularization strategy to train strong classifiers with
/// localizable features", 2019), at one place for all of a batch.
#[derive(Clone, Debug)]
pub struct CutMix {
    /// The parameter of the beta distribution that the area is drawn from.
    pub alpha: f64,
}

impl Mix for CutMix {
    fn mix(
        &self,
        pictures: &mut [f32],
        rows: usize,
        [height, width]: [usize; 2],
        random: &mut Random,
    ) -> f32 {
        let half = 0.5 * (1.0 - beta(random, self.alpha)).sqrt();
        // Cut off at the edges.
        let mut axis = |side: usize| {
            let (centre, reach) = (random.below(side as u64) as f64, half * side as f64);
            let first = (centre - reach).max(0.0) as usize;
            let end = ((centre + reach) as usize).min(side);
            first.min(end)..end
        };
        let (down, across) = (axis(height), axis(width));
        let row = pictures.len() / rows.max(1);
        let Some(last) = rows.checked_sub(1) else { return 1.0 };
        let kept = pictures[last * row..].to_vec();
        for at in (0..rows).rev() {
            let (before, rest) = pictures.split_at_mut(at * row);
            let from = if at == 0 { &kept[..] } else { &before[(at - 1) * row..] };
            for (to, from) in rest[..row]
                .chunks_exact_mut(width)
                .zip(from.chunks_exact(width))
                .enumerate()
                .filter_map(|(line, pair)| down.contains(&(line % height)).then_some(pair))
            {
                to[across.clone()].copy_from_slice(&from[across.clone()]);
            }
        }
        1.0 - (down.len() * across.len()) as f32 / (height * width) as f32
    }
}

/// Blends each row with the one before it, the first with the last: `share` of itself.
pub(super) fn blend_rows(values: &mut [f32], rows: usize, share: f32) {
    let row = values.len() / rows.max(1);
    let Some(last) = rows.checked_sub(1) else { return };
    let kept = values[last * row..].to_vec();
    for at in (0..rows).rev() {
        let (before, rest) = values.split_at_mut(at * row);
        let from = if at == 0 { &kept[..] } else { &before[(at - 1) * row..] };
        for (value, other) in rest[..row].iter_mut().zip(from) {
            *value = share * *value + (1.0 - share) * other;
        }
    }
}

/// A number of the beta distribution with both parameters `alpha`.
fn beta(random: &mut Random, alpha: f64) -> f64 {
    let (a, b) = (gamma(random, alpha), gamma(random, alpha));
    // Both may be too small to be told from 0; then either is as likely.
    if a + b > 0.0 { a / (a + b) } else { f64::from(u8::from(random.chance(0.5))) }
}

/// A number of the gamma distribution (Marsaglia and Tsang, "A simple method for generating gamma variables", 2000).
fn gamma(random: &mut Random, shape: f64) -> f64 {
    if shape < 1.0 {
        let uniform = 1.0 - f64::from(random.uniform());
        return gamma(random, shape + 1.0) * uniform.powf(1.0 / shape);
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = f64::from(super::blur::normal(random).0);
        let v = (1.0 + c * x).powi(3);
        let uniform = 1.0 - f64::from(random.uniform());
        if v > 0.0 && uniform.ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return d * v;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_the_moments_of_their_distribution() {
        for alpha in [0.2, 1.0, 4.0] {
            let mut random = Random::keyed(&[7]);
            let shares: Vec<f64> = (0..20_000).map(|_| beta(&mut random, alpha)).collect();
            let mean = shares.iter().sum::<f64>() / 20_000.0;
            let variance = shares.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 20_000.0;
            let expected = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            assert!((mean - 0.5).abs() < 0.01, "{alpha}: {mean}");
            assert!((variance / expected - 1.0).abs() < 0.05, "{alpha}: {variance} {expected}");
            assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)));
        }
        assert!(beta(&mut Random::keyed(&[1]), 1e-300).is_finite());
    }

    #[test]
    fn each_row_is_blended_with_the_one_before() {
        let mut rows = [1.0, 10.0, 2.0, 20.0, 3.0, 30.0];
        blend_rows(&mut rows, 3, 0.75);
        assert_eq!(rows, [1.5, 15.0, 1.75, 17.5, 2.75, 27.5]);
        blend_rows(&mut [], 0, 0.5);
        let mut alone = [4.0];
        blend_rows(&mut alone, 1, 0.5);
        assert_eq!(alone, [4.0]);
    }

    #[test]
    fn a_rectangle_comes_from_the_neighbour_and_its_area_counts() {
        let cut = CutMix { alpha: 1.0 };
        for key in 0..50 {
            let mut pictures: Vec<f32> = (0..3 * 2 * 80).map(|at| (at / 160) as f32).collect();
            let share = cut.mix(&mut pictures, 3, [8, 10], &mut Random::keyed(&[key]));
            for (row, picture) in pictures.chunks(160).enumerate() {
                let before = ((row + 2) % 3) as f32;
                let pasted = picture.iter().filter(|&&value| value == before).count();
                assert!(picture.iter().all(|&value| value == before || value == row as f32));
                assert!((share - (1.0 - pasted as f32 / 160.0)).abs() < 1e-6, "{share} {pasted}");
                assert_eq!(
                    picture[..80].iter().map(|v| *v == before).collect::<Vec<_>>(),
                    picture[80..].iter().map(|v| *v == before).collect::<Vec<_>>()
                );
            }
        }
    }
}
