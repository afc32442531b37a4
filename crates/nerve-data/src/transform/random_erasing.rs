//! Random erasing: a rectangle of the image is covered.

use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

use super::random_resized_crop::part;
use super::{Augment, Image};
use crate::random::Random;

const SHARE: Kind = Kind::Float { min: 0.0, max: 1.0, open_min: true, open_max: true };
static SCALE: [Value; 2] = [Value::Float(0.02), Value::Float(0.33)];

pub(super) static SPEC: Spec = Spec {
    name: "RandomErasing",
    aliases: &["Cutout", "random_erasing"],
    peers: Peers::of("v2.RandomErasing", "layers.RandomErasing"),
    doc: "Covers a rectangle of the image.",
    params: &[
        Param::with_default(
            "scale",
            Kind::List { of: &SHARE, min_len: 2, max_len: 2 },
            Value::list(&SCALE),
            "[least, greatest] share of the area",
        ),
        Param::with_default(
            "value",
            Kind::float(0.0, 255.0),
            Value::Float(0.0),
            "what covers it, of 0 to 255",
        ),
        Param::with_default(
            "probability",
            Kind::float(0.0, 1.0),
            Value::Float(0.5),
            "share of the images that are changed",
        )
        .alias(&["p"]),
    ],
};

/// Covers a rectangle of an image (Zhong et al., "Random erasing data augmentation", 2017; with a square and a fixed size,
/// DeVries and Taylor's cutout of the same year).
#[derive(Clone, Debug)]
pub struct RandomErasing {
    /// The least and the greatest share of the area.
    pub scale: [f32; 2],
    /// What covers it.
    pub value: f32,
    /// The probability that something is.
    pub probability: f32,
}

impl RandomErasing {
    pub(super) fn from_args(args: &Args) -> RandomErasing {
        let scale = args.floats("scale");
        RandomErasing {
            scale: [scale[0].min(scale[1]) as f32, scale[0].max(scale[1]) as f32],
            value: args.float("value") as f32,
            probability: args.float("probability") as f32,
        }
    }
}

impl Augment for RandomErasing {
    fn apply(&self, image: &mut Image<'_>, random: &mut Random) {
        let size @ [height, width] = [image.height(), image.width()];
        if !random.chance(self.probability) {
            return;
        }
        let Some([top, left, rows, columns]) = part(random, size, self.scale, [0.3, 3.3]) else {
            return;
        };
        for plane in image.pixels().chunks_exact_mut(height * width) {
            for row in plane.chunks_exact_mut(width).skip(top).take(rows) {
                row[left..left + columns].fill(self.value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::applied;
    use super::*;

    #[test]
    fn a_rectangle_is_covered_in_all_channels() {
        let erasing = RandomErasing { scale: [0.1, 0.3], value: 9.0, probability: 1.0 };
        for key in 0..50 {
            let out = applied(&erasing, [20, 20], &[1.0; 800], key);
            assert_eq!(out[..400], out[400..]);
            let covered: Vec<usize> = (0..400).filter(|&at| out[at] == 9.0).collect();
            let side = |f: fn(usize) -> usize| {
                let places: Vec<usize> = covered.iter().map(|&at| f(at)).collect();
                places.iter().max().unwrap() - places.iter().min().unwrap() + 1
            };
            assert_eq!(covered.len(), side(|at| at / 20) * side(|at| at % 20));
            assert!((30..=135).contains(&covered.len()), "{}", covered.len());
        }
    }
}
