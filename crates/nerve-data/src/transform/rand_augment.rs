//! RandAugment and TrivialAugment: augmentations chosen at random from a list.

use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

use super::random_affine::affine;
use super::{Augment, Fill, Image, Tone};
use crate::random::Random;

pub(super) static RAND: Spec = Spec {
    name: "RandAugment",
    aliases: &["rand_augment"],
    peers: Peers::of("v2.RandAugment", "layers.RandAugment"),
    doc: "Carries out some of fourteen changes of geometry and colours, chosen at random, all with one strength.",
    params: &[
        Param::with_default("operations", Kind::int(1, 14), Value::Int(2), "changes of each image")
            .alias(&["num_ops"]),
        Param::with_default("magnitude", Kind::int(0, 30), Value::Int(9), "strength, of 30"),
    ],
};

pub(super) static TRIVIAL: Spec = Spec {
    name: "TrivialAugment",
    aliases: &["TrivialAugmentWide", "trivial_augment"],
    peers: Peers::of("v2.TrivialAugmentWide", ""),
    doc: "Carries out one of fourteen changes of geometry and colours with a random strength; there is nothing to tune.",
    params: &[],
};

/// Several random changes of one strength (Cubuk et al., "RandAugment: practical automated data augmentation with a reduced
/// search space", 2019), with the ranges of torchvision.
#[derive(Clone, Debug)]
pub struct RandAugment {
    /// Changes of each image.
    pub operations: usize,
    /// Their strength, 0 to 30.
    pub magnitude: u32,
}

impl RandAugment {
    pub(super) fn from_args(args: &Args) -> RandAugment {
        let magnitude = args.usize("magnitude") as u32;
        RandAugment { operations: args.usize("operations"), magnitude }
    }
}

/// One random change of a random strength (Müller and Hutter, "TrivialAugment: tuning-free yet state-of-the-art data
/// augmentation", 2021), with the wide ranges.
#[derive(Clone, Debug)]
pub struct TrivialAugment;

/// The strongest change of each kind.
struct Ranges {
    shear: f32,
    /// Moves as a share of the side, or in pixels.
    shift: Shift,
    rotate: f32,
    factor: f32,
    /// Most bits that posterizing takes away.
    bits: f32,
}

enum Shift {
    Share(f32),
    Pixels(f32),
}

const RAND_RANGES: Ranges =
    Ranges { shear: 0.3, shift: Shift::Share(150.0 / 331.0), rotate: 30.0, factor: 0.9, bits: 4.0 };
const WIDE: Ranges =
    Ranges { shear: 0.99, shift: Shift::Pixels(32.0), rotate: 135.0, factor: 0.99, bits: 6.0 };

/// Carries out one of the fourteen; `strength` from 0 to 1.
fn change(image: &mut Image<'_>, random: &mut Random, ranges: &Ranges, strength: f32) {
    let kind = random.below(14);
    let sign = if random.chance(0.5) { -1.0 } else { 1.0 };
    let size = [image.height(), image.width()];
    let signed = sign * strength;
    let mut warp = |degrees, shift, shear: [f32; 2]| {
        let shear = shear.map(|ratio: f32| ratio.atan().to_degrees());
        image.warp(affine(size, degrees, shift, 1.0, shear), Fill::Background);
    };
    let shift = |side: usize| match ranges.shift {
        Shift::Share(share) => (signed * share * side as f32).trunc(),
        Shift::Pixels(pixels) => (signed * pixels).trunc(),
    };
    let factor = 1.0 + signed * ranges.factor;
    let tone = match kind {
        0 => return,
        1 => return warp(0.0, [0.0; 2], [signed * ranges.shear, 0.0]),
        2 => return warp(0.0, [0.0; 2], [0.0, signed * ranges.shear]),
        3 => return warp(0.0, [0.0, shift(size[1])], [0.0; 2]),
        4 => return warp(0.0, [shift(size[0]), 0.0], [0.0; 2]),
        5 => return warp(signed * ranges.rotate, [0.0; 2], [0.0; 2]),
        6 => Tone::Brightness(factor),
        7 => Tone::Saturation(factor),
        8 => Tone::Contrast(factor),
        9 => Tone::Sharpness(factor),
        10 => Tone::Posterize(8 - (ranges.bits * strength).round() as u32),
        11 => Tone::Solarize(255.0 * (1.0 - strength)),
        12 => Tone::AutoContrast,
        _ => Tone::Equalize,
    };
    // The classes of pixels follow their moves alone.
    if !image.is_labels() {
        tone.change(image);
    }
}

impl Augment for RandAugment {
    fn apply(&self, image: &mut Image<'_>, random: &mut Random) {
        for _ in 0..self.operations {
            change(image, random, &RAND_RANGES, self.magnitude as f32 / 30.0);
        }
    }

    fn moves(&self) -> bool {
        true
    }
}

impl Augment for TrivialAugment {
    fn apply(&self, image: &mut Image<'_>, random: &mut Random) {
        let strength = random.below(31) as f32 / 30.0;
        change(image, random, &WIDE, strength);
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
    fn without_strength_little_happens_and_values_stay_in_range() {
        let image: Vec<f32> = (0..300).map(|at| (at * 7 % 256) as f32).collect();
        let mut unchanged = 0;
        for key in 0..300 {
            let weak = RandAugment { operations: 1, magnitude: 0 };
            unchanged += usize::from(applied(&weak, [10, 10], &image, key) == image);
            for strong in
                [&RandAugment { operations: 3, magnitude: 30 } as &dyn Augment, &TrivialAugment]
            {
                let out = applied(strong, [10, 10], &image, key);
                assert!(out.iter().all(|value| (-0.01..=255.01).contains(value)), "{key}");
            }
        }
        // All but the two that spread values.
        assert!(unchanged > 220, "{unchanged} of 300");
    }
}
