//! Random flip: mirrors the image.

use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

use super::{Augment, Fill, Image, Map};
use crate::random::Random;

pub(super) static SPEC: Spec = Spec {
    name: "RandomFlip",
    aliases: &["RandomHorizontalFlip", "random_flip"],
    peers: Peers::of("v2.RandomHorizontalFlip", "layers.RandomFlip"),
    doc: "Mirrors the image left to right. Not for digits or text.",
    params: &[Param::with_default(
        "probability",
        Kind::float(0.0, 1.0),
        Value::Float(0.5),
        "share of the images that are mirrored",
    )
    .alias(&["p"])],
};

/// Mirrors an image left to right.
#[derive(Clone, Debug)]
pub struct RandomFlip {
    /// The probability that it does.
    pub probability: f32,
}

impl RandomFlip {
    pub(super) fn from_args(args: &Args) -> RandomFlip {
        RandomFlip { probability: args.float("probability") as f32 }
    }
}

impl Augment for RandomFlip {
    fn apply(&self, image: &mut Image<'_>, random: &mut Random) {
        if random.chance(self.probability) {
            let size = [image.height(), image.width()];
            image.warp(Map::mirror(size, false, true), Fill::Background);
        }
    }

    fn moves(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::applied;
    use super::*;

    #[test]
    fn rows_are_reversed_in_place() {
        let image = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0];
        let flipped = [3.0, 2.0, 1.0, 6.0, 5.0, 4.0, 9.0, 8.0, 7.0, 12.0, 11.0, 10.0];
        assert_eq!(applied(&RandomFlip { probability: 1.0 }, [2, 3], &image, 0), flipped);
        assert_eq!(applied(&RandomFlip { probability: 0.0 }, [2, 3], &image, 0), image);
    }

    #[test]
    fn about_the_given_share_is_mirrored() {
        let flip = RandomFlip { probability: 0.25 };
        let count =
            (0..4000).filter(|&key| applied(&flip, [1, 2], &[1.0, 2.0], key)[0] == 2.0).count();
        assert!((880..1120).contains(&count), "{count} of 4000");
    }
}
