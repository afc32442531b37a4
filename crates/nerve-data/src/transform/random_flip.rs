//! Random flip: mirrors the image.

use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

use super::{Augment, Fill, Image, Map};
use crate::random::Random;

pub(super) static SPEC: Spec = Spec {
    name: "RandomFlip",
    aliases: &["RandomHorizontalFlip", "random_flip"],
    peers: Peers::of("v2.RandomHorizontalFlip, v2.RandomVerticalFlip", "layers.RandomFlip"),
    doc: "Mirrors the image. Not for digits or text.",
    params: &[
        Param::with_default(
            "mode",
            Kind::Choice(&["horizontal", "vertical", "both"]),
            Value::text("horizontal"),
            "horizontal: left and right are exchanged; vertical: upper and lower; both: either by itself",
        ),
        Param::with_default(
            "probability",
            Kind::float(0.0, 1.0),
            Value::Float(0.5),
            "share of the images that are mirrored",
        )
        .alias(&["p"]),
    ],
};

/// Mirrors an image.
#[derive(Clone, Debug, Default)]
pub struct RandomFlip {
    /// The probability that left and right are exchanged.
    pub horizontal: f32,
    /// The probability that upper and lower are.
    pub vertical: f32,
}

impl RandomFlip {
    pub(super) fn from_args(args: &Args) -> RandomFlip {
        let (mode, probability) = (args.text("mode"), args.float("probability") as f32);
        let of = |other: &str| if mode == other { 0.0 } else { probability };
        RandomFlip { horizontal: of("vertical"), vertical: of("horizontal") }
    }
}

impl Augment for RandomFlip {
    fn apply(&self, image: &mut Image<'_>, random: &mut Random) {
        let columns = random.chance(self.horizontal);
        let rows = random.chance(self.vertical);
        let size = [image.height(), image.width()];
        image.warp(Map::mirror(size, rows, columns), Fill::Background);
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
        assert_eq!(
            applied(&RandomFlip { horizontal: 1.0, vertical: 0.0 }, [2, 3], &image, 0),
            flipped
        );
        let upside = RandomFlip { horizontal: 0.0, vertical: 1.0 };
        assert_eq!(applied(&upside, [2, 3], &image, 0)[..6], [4.0, 5.0, 6.0, 1.0, 2.0, 3.0]);
        assert_eq!(applied(&RandomFlip::default(), [2, 3], &image, 0), image);
    }

    #[test]
    fn about_the_given_share_is_mirrored() {
        let flip = RandomFlip { horizontal: 0.25, vertical: 0.0 };
        let count =
            (0..4000).filter(|&key| applied(&flip, [1, 2], &[1.0, 2.0], key)[0] == 2.0).count();
        assert!((880..1120).contains(&count), "{count} of 4000");
    }
}
