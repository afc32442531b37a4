//! Random shift: moves the image by whole pixels.

use nerve_formats::spec::{Args, Kind, Param, Peers, Spec};

use super::{Augment, Fill, Image, Map};
use crate::random::Random;

const PIXELS: Kind = Kind::int(0, 1024);

pub(super) static SPEC: Spec = Spec {
    name: "RandomShift",
    aliases: &["RandomTranslation", "random_shift"],
    peers: Peers::of("v2.RandomAffine", "layers.RandomTranslation"),
    doc: "Moves the image by a few whole pixels; what comes in is background.",
    params: &[Param::required(
        "max",
        Kind::OneOf(&[PIXELS, Kind::List { of: &PIXELS, min_len: 2, max_len: 2 }]),
        "largest move in pixels: one number, or [vertical, horizontal]",
    )],
};

/// Moves an image by up to `max` pixels in each direction, every distance equally likely.
#[derive(Clone, Debug)]
pub struct RandomShift {
    /// The largest move, vertical and horizontal, in pixels.
    pub max: [u32; 2],
}

impl RandomShift {
    pub(super) fn from_args(args: &Args) -> RandomShift {
        RandomShift { max: args.pair("max").map(|pixels| pixels as u32) }
    }
}

impl Augment for RandomShift {
    fn apply(&self, image: &mut Image<'_>, random: &mut Random) {
        let [dy, dx] = self.max.map(|max| random.within(max));
        image.warp(Map::shift(dy as f64, dx as f64), Fill::Background);
    }

    fn moves(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::tests::applied;
    use super::*;

    #[test]
    fn moves_by_whole_pixels_within_the_limits() {
        let mut image = vec![0.0; 25];
        image[12] = 1.0; // row 2, column 2
        let shift = RandomShift { max: [1, 2] };
        let places: BTreeSet<(usize, usize)> = (0..500)
            .map(|key| {
                let moved = applied(&shift, [5, 5], &image, key);
                let at = moved.iter().position(|&pixel| pixel == 1.0).unwrap();
                (at / 5, at % 5)
            })
            .collect();
        let all = (1..4).flat_map(|y| (0..5).map(move |x| (y, x))).collect();
        assert_eq!(places, all);
    }
}
