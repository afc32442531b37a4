//! Blur and noise.

use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

use super::{Augment, Fill, Image, between};
use crate::random::Random;

const SIGMA: Kind = Kind::Float { min: 0.0, max: 100.0, open_min: true, open_max: false };
static SIGMAS: [Value; 2] = [Value::Float(0.1), Value::Float(2.0)];

pub(super) static BLUR: Spec = Spec {
    name: "GaussianBlur",
    aliases: &["RandomGaussianBlur", "gaussian_blur"],
    peers: Peers::of("v2.GaussianBlur", "layers.RandomGaussianBlur"),
    doc: "Blurs the image.",
    params: &[
        Param::with_default(
            "sigma",
            Kind::List { of: &SIGMA, min_len: 2, max_len: 2 },
            Value::list(&SIGMAS),
            "[least, greatest] deviation in pixels",
        ),
        Param::with_default(
            "probability",
            Kind::float(0.0, 1.0),
            Value::Float(1.0),
            "share of the images that are blurred",
        )
        .alias(&["p"]),
    ],
};

pub(super) static NOISE: Spec = Spec {
    name: "GaussianNoise",
    aliases: &["RandomGaussianNoise", "gaussian_noise"],
    peers: Peers::of("v2.GaussianNoise", "layers.GaussianNoise"),
    doc: "Adds noise to each value.",
    params: &[Param::with_default(
        "sigma",
        Kind::float(0.0, 255.0),
        Value::Float(12.0),
        "greatest deviation, of values from 0 to 255; that of an image is drawn from 0 to it",
    )],
};

/// Blurs an image with a bell of a random width.
#[derive(Clone, Debug)]
pub struct GaussianBlur {
    /// The least and the greatest deviation of the bell, in pixels.
    pub sigma: [f32; 2],
    /// The probability that it is blurred.
    pub probability: f32,
}

impl GaussianBlur {
    pub(super) fn from_args(args: &Args) -> GaussianBlur {
        let sigma = args.floats("sigma");
        GaussianBlur {
            sigma: [sigma[0].min(sigma[1]) as f32, sigma[0].max(sigma[1]) as f32],
            probability: args.float("probability") as f32,
        }
    }
}

impl Augment for GaussianBlur {
    fn apply(&self, image: &mut Image<'_>, random: &mut Random) {
        if random.chance(self.probability) {
            let sigma = between(random, self.sigma);
            let size = [image.height(), image.width()];
            image.remap(|source, target| blur(source, size, sigma, target));
        }
    }
}

/// The weights of a bell, up to three deviations away, which add up to 1.
fn bell(sigma: f32) -> Vec<f32> {
    let reach = ((3.0 * sigma).ceil() as i32).max(1);
    let weight = |at: i32| (-0.5 * (at as f32 / sigma).powi(2)).exp();
    let sum: f32 = (-reach..=reach).map(weight).sum();
    (-reach..=reach).map(|at| weight(at) / sum).collect()
}

/// Blurs a plane, mirrored at its edges: across, then down.
pub(super) fn blur(source: &[f32], [height, width]: [usize; 2], sigma: f32, target: &mut [f32]) {
    let weights = bell(sigma);
    let reach = weights.len() / 2;
    let places = |len: usize| -> Vec<usize> {
        let place = |at: usize| Fill::Reflect.place(at as i64 - reach as i64, len).unwrap_or(0);
        (0..len + 2 * reach).map(place).collect()
    };
    let (rows, columns) = (places(height), places(width));
    let mut across = vec![0.0; height * width];
    let mut wide = vec![0.0; columns.len()];
    for (row, out) in source.chunks_exact(width).zip(across.chunks_exact_mut(width)) {
        wide.iter_mut().zip(&columns).for_each(|(wide, &from)| *wide = row[from]);
        for (k, &weight) in weights.iter().enumerate() {
            out.iter_mut().zip(&wide[k..]).for_each(|(out, value)| *out += weight * value);
        }
    }
    for (y, out) in target.chunks_exact_mut(width).enumerate() {
        out.fill(0.0);
        for (k, &weight) in weights.iter().enumerate() {
            let row = &across[rows[y + k] * width..][..width];
            out.iter_mut().zip(row).for_each(|(out, value)| *out += weight * value);
        }
    }
}

/// Adds noise to an image.
#[derive(Clone, Debug)]
pub struct GaussianNoise {
    /// The greatest deviation, of values from 0 to 255. That of an image is drawn evenly from 0 to it.
    pub sigma: f32,
}

impl GaussianNoise {
    pub(super) fn from_args(args: &Args) -> GaussianNoise {
        GaussianNoise { sigma: args.float("sigma") as f32 }
    }
}

impl Augment for GaussianNoise {
    fn apply(&self, image: &mut Image<'_>, random: &mut Random) {
        let sigma = random.between(0.0, self.sigma);
        for pair in image.pixels().chunks_mut(2) {
            let (a, b) = normal(random);
            for (value, noise) in pair.iter_mut().zip([a, b]) {
                *value = (*value + sigma * noise).clamp(0.0, 255.0);
            }
        }
    }
}

/// Two normal numbers from two uniform ones (Box and Muller, 1958).
pub(super) fn normal(random: &mut Random) -> (f32, f32) {
    // Never the logarithm of 0.
    let radius = (-2.0 * (1.0 - random.uniform()).ln()).sqrt();
    let (sin, cos) = (std::f32::consts::TAU * random.uniform()).sin_cos();
    (radius * cos, radius * sin)
}

#[cfg(test)]
mod tests {
    use super::super::tests::applied;
    use super::*;

    #[test]
    fn a_plain_image_stays_plain_and_a_point_becomes_a_bell() {
        let always = |sigma: f32| GaussianBlur { sigma: [sigma; 2], probability: 1.0 };
        for value in applied(&always(1.5), [7, 5], &[40.0; 35], 1) {
            assert!((value - 40.0).abs() < 1e-3);
        }
        let mut point = vec![0.0; 121];
        point[60] = 100.0;
        let out = applied(&always(1.0), [11, 11], &point, 1);
        assert!((out.iter().sum::<f32>() - 100.0).abs() < 1e-3);
        assert!((out[60] - 100.0 / std::f32::consts::TAU).abs() < 0.3, "{}", out[60]);
        assert!((out[61] / out[60] - (-0.5f32).exp()).abs() < 1e-4);
        assert_eq!((out[59], out[49]), (out[61], out[71]));
        // An image smaller than the bell is mirrored as often as it takes.
        assert_eq!(applied(&always(5.0), [1, 1], &[9.0], 1).len(), 1);
    }

    #[test]
    fn noise_has_its_deviation() {
        let mut random = Random::keyed(&[5]);
        let values: Vec<f32> = (0..10_000)
            .flat_map(|_| {
                let (a, b) = normal(&mut random);
                [a, b]
            })
            .collect();
        let mean = values.iter().sum::<f32>() / 20_000.0;
        let square = values.iter().map(|x| x * x).sum::<f32>() / 20_000.0;
        assert!(mean.abs() < 0.03 && (square - 1.0).abs() < 0.05, "{mean} {square}");
        let out = applied(&GaussianNoise { sigma: 300.0 }, [10, 10], &[128.0; 100], 3);
        assert!(out.iter().all(|value| (0.0..=255.0).contains(value)));
    }
}
