//! Random resized crop: a part of the image, scaled to its whole size.

use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

use super::{Augment, Fill, Image, Map, between};
use crate::random::Random;

const SHARE: Kind = Kind::Float { min: 0.0, max: 1.0, open_min: true, open_max: false };
const RATIO: Kind = Kind::Float { min: 0.05, max: 20.0, open_min: false, open_max: false };
static SCALE: [Value; 2] = [Value::Float(0.08), Value::Float(1.0)];
static RATIOS: [Value; 2] = [Value::Float(0.75), Value::Float(1.3333)];

pub(super) static SPEC: Spec = Spec {
    name: "RandomResizedCrop",
    aliases: &["random_resized_crop"],
    peers: Peers::of("v2.RandomResizedCrop", "layers.RandomCrop, Resizing"),
    doc: "Scales a random part of the image to its whole size: the usual augmentation of ImageNet.",
    params: &[
        Param::with_default(
            "scale",
            Kind::List { of: &SHARE, min_len: 2, max_len: 2 },
            Value::list(&SCALE),
            "[least, greatest] share of the area",
        ),
        Param::with_default(
            "ratio",
            Kind::List { of: &RATIO, min_len: 2, max_len: 2 },
            Value::list(&RATIOS),
            "[least, greatest] width for a height of 1",
        ),
    ],
};

/// Scales a random part of an image to its whole size (Szegedy et al., "Going deeper with convolutions", 2014).
#[derive(Clone, Debug)]
pub struct RandomResizedCrop {
    /// The least and the greatest share of the area.
    pub scale: [f32; 2],
    /// The least and the greatest ratio of width to height; drawn evenly on a logarithmic scale.
    pub ratio: [f32; 2],
}

impl RandomResizedCrop {
    pub(super) fn from_args(args: &Args) -> RandomResizedCrop {
        let two = |name: &str| {
            let values = args.floats(name);
            [values[0].min(values[1]) as f32, values[0].max(values[1]) as f32]
        };
        RandomResizedCrop { scale: two("scale"), ratio: two("ratio") }
    }
}

/// A part of an image: first row, first column, height and width, whole pixels.
///
/// Ten attempts to find one that fits, then the largest in the middle.
pub(super) fn part(
    random: &mut Random,
    size: [usize; 2],
    scale: [f32; 2],
    ratio: [f32; 2],
) -> Option<[usize; 4]> {
    let [height, width] = size.map(|side| side as f32);
    for _ in 0..10 {
        let area = height * width * between(random, scale);
        let ratio = between(random, ratio.map(f32::ln)).exp();
        let (h, w) = ((area / ratio).sqrt().round(), (area * ratio).sqrt().round());
        if (1.0..=height).contains(&h) && (1.0..=width).contains(&w) {
            let top = random.below((height - h) as u64 + 1) as usize;
            let left = random.below((width - w) as u64 + 1) as usize;
            return Some([top, left, h as usize, w as usize]);
        }
    }
    None
}

impl Augment for RandomResizedCrop {
    fn apply(&self, image: &mut Image<'_>, random: &mut Random) {
        let size = [image.height(), image.width()];
        let Some([top, left, height, width]) = part(random, size, self.scale, self.ratio) else {
            return;
        };
        // The corners of the part come to the corners of the image, not the centres of its outer pixels.
        let axis = |from: usize, len: usize, side: usize| {
            let step = len as f64 / side as f64;
            (step, from as f64 + step / 2.0 - 0.5)
        };
        let ((e, f), (a, c)) = (axis(top, height, size[0]), axis(left, width, size[1]));
        image.warp(Map::new([a, 0.0, c, 0.0, e, f, 0.0, 0.0]), Fill::Edge);
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
    fn parts_fit_and_have_the_area_and_the_ratio() {
        let mut random = Random::keyed(&[1]);
        for _ in 0..500 {
            let part = part(&mut random, [40, 60], [0.2, 0.5], [0.5, 2.0]).unwrap();
            let [top, left, height, width] = part;
            assert!(top + height <= 40 && left + width <= 60, "{part:?}");
            let (share, ratio) = ((height * width) as f32 / 2400.0, width as f32 / height as f32);
            assert!((0.18..0.53).contains(&share), "{part:?}: {share}");
            assert!((0.46..2.15).contains(&ratio), "{part:?}: {ratio}");
        }
        assert_eq!(part(&mut random, [10, 10], [1.0, 1.0], [3.0, 3.0]), None);
    }

    #[test]
    fn the_whole_image_stays_as_it_is() {
        let image: Vec<f32> = (0..16).map(|i| i as f32).collect();
        let whole = RandomResizedCrop { scale: [1.0, 1.0], ratio: [1.0, 1.0] };
        assert_eq!(applied(&whole, [4, 4], &image, 1), image);
    }

    #[test]
    fn a_part_is_stretched_over_all() {
        // A quarter of the area of an image whose rows are all alike: rows stay alike, columns grow by half a step.
        let image: Vec<f32> = (0..64).map(|i| (i % 8) as f32).collect();
        let quarter = RandomResizedCrop { scale: [0.25, 0.25], ratio: [1.0, 1.0] };
        let out = applied(&quarter, [8, 8], &image, 5);
        assert!(out.chunks(8).all(|row| row == &out[..8]));
        assert!(out[..8].windows(2).all(|pair| (0.0..=0.5).contains(&(pair[1] - pair[0]))));
    }
}
