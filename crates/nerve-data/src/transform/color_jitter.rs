//! Random changes of colours.

use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

use super::{Augment, Image, colour};
use crate::random::Random;

const STRENGTH: Kind = Kind::float(0.0, 10.0);
const PROBABILITY: Param = Param::with_default(
    "probability",
    Kind::float(0.0, 1.0),
    Value::Float(0.5),
    "share of the images that are changed",
)
.alias(&["p"]);

pub(super) static JITTER: Spec = Spec {
    name: "ColorJitter",
    aliases: &["RandomColorJitter", "color_jitter", "ColourJitter"],
    peers: Peers::of(
        "v2.ColorJitter",
        "layers.RandomColorJitter, RandomBrightness, RandomContrast, RandomSaturation, RandomHue",
    ),
    doc: "Changes brightness, contrast, saturation and hue, in a random order.",
    params: &[
        Param::with_default(
            "brightness",
            STRENGTH,
            Value::Float(0.0),
            "b: a factor from 1 - b, at least 0, to 1 + b",
        ),
        Param::with_default("contrast", STRENGTH, Value::Float(0.0), "as brightness"),
        Param::with_default("saturation", STRENGTH, Value::Float(0.0), "as brightness"),
        Param::with_default(
            "hue",
            Kind::float(0.0, 0.5),
            Value::Float(0.0),
            "largest turn of the wheel of colours, as a share of it",
        ),
    ],
};

pub(super) static GRAYSCALE: Spec = Spec {
    name: "RandomGrayscale",
    aliases: &["RandomGreyscale", "random_grayscale"],
    peers: Peers::of("v2.RandomGrayscale", "layers.RandomGrayscale"),
    doc: "Turns colours to grey.",
    params: &[Param::with_default(
        "probability",
        Kind::float(0.0, 1.0),
        Value::Float(0.1),
        "share of the images that are changed",
    )
    .alias(&["p"])],
};

pub(super) static INVERT: Spec = Spec {
    name: "RandomInvert",
    aliases: &["random_invert"],
    peers: Peers::of("v2.RandomInvert", "layers.RandomInvert"),
    doc: "Turns light to dark and dark to light.",
    params: &[PROBABILITY],
};

pub(super) static AUTO_CONTRAST: Spec = Spec {
    name: "RandomAutoContrast",
    aliases: &["RandomAutocontrast", "random_auto_contrast"],
    peers: Peers::of("v2.RandomAutocontrast", "layers.AutoContrast"),
    doc: "Spreads the values of each channel over the whole range.",
    params: &[PROBABILITY],
};

pub(super) static EQUALIZE: Spec = Spec {
    name: "RandomEqualize",
    aliases: &["Equalization", "random_equalize"],
    peers: Peers::of("v2.RandomEqualize", "layers.Equalization"),
    doc: "Spreads the values of each channel so that all are about equally frequent.",
    params: &[PROBABILITY],
};

pub(super) static POSTERIZE: Spec = Spec {
    name: "RandomPosterize",
    aliases: &["random_posterize"],
    peers: Peers::of("v2.RandomPosterize", "layers.RandomPosterization"),
    doc: "Keeps the highest bits of each value alone.",
    params: &[
        Param::with_default("bits", Kind::int(0, 8), Value::Int(4), "bits that are kept"),
        PROBABILITY,
    ],
};

pub(super) static SOLARIZE: Spec = Spec {
    name: "RandomSolarize",
    aliases: &["Solarization", "random_solarize"],
    peers: Peers::of("v2.RandomSolarize", "layers.Solarization"),
    doc: "Inverts what is lighter than a threshold.",
    params: &[
        Param::with_default(
            "threshold",
            Kind::float(0.0, 256.0),
            Value::Float(128.0),
            "of 0 to 255",
        ),
        PROBABILITY,
    ],
};

pub(super) static SHARPNESS: Spec = Spec {
    name: "RandomSharpness",
    aliases: &["RandomAdjustSharpness", "random_sharpness"],
    peers: Peers::of("v2.RandomAdjustSharpness", "layers.RandomSharpness"),
    doc: "Sharpens or smooths.",
    params: &[
        Param::with_default(
            "factor",
            Kind::float(0.0, 20.0),
            Value::Float(2.0),
            "0: smooth, 1: as it is, above: sharper",
        )
        .alias(&["sharpness_factor"]),
        PROBABILITY,
    ],
};

/// Changes brightness, contrast, saturation and hue, in a random order.
#[derive(Clone, Debug, Default)]
pub struct ColorJitter {
    /// The factor is drawn from 1 - b, at least 0, to 1 + b.
    pub brightness: f32,
    /// As brightness.
    pub contrast: f32,
    /// As brightness.
    pub saturation: f32,
    /// The largest turn of the wheel of colours, as a share of it, up to 0.5.
    pub hue: f32,
}

impl ColorJitter {
    pub(super) fn from_args(args: &Args) -> ColorJitter {
        let number = |name: &str| args.float(name) as f32;
        ColorJitter {
            brightness: number("brightness"),
            contrast: number("contrast"),
            saturation: number("saturation"),
            hue: number("hue"),
        }
    }
}

impl Augment for ColorJitter {
    fn apply(&self, image: &mut Image<'_>, random: &mut Random) {
        let mut order = [0, 1, 2, 3];
        for last in (1..4).rev() {
            order.swap(last, random.below(last as u64 + 1) as usize);
        }
        let mut factor = |strength: f32| random.between((1.0 - strength).max(0.0), 1.0 + strength);
        let factors = [self.brightness, self.contrast, self.saturation].map(&mut factor);
        let turn = random.between(-self.hue, self.hue);
        for what in order {
            match what {
                0 if self.brightness > 0.0 => colour::brightness(image, factors[0]),
                1 if self.contrast > 0.0 => colour::contrast(image, factors[1]),
                2 if self.saturation > 0.0 => colour::saturation(image, factors[2]),
                3 if self.hue > 0.0 => colour::hue(image, turn),
                _ => {}
            }
        }
    }
}

/// A fixed change of the colours of some of the images.
#[derive(Clone, Debug)]
pub struct RandomTone {
    /// What is done.
    pub tone: Tone,
    /// The probability that it is.
    pub probability: f32,
}

/// What can be done to colours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tone {
    /// Colours become grey.
    Grayscale,
    /// Light becomes dark.
    Invert,
    /// Each channel is spread over the whole range.
    AutoContrast,
    /// All values of a channel become about equally frequent.
    Equalize,
    /// This many bits of each value are kept.
    Posterize(u32),
    /// What is not below is inverted; 0 to 255.
    Solarize(f32),
    /// 0: smooth; 1: as it is; above: sharper.
    Sharpness(f32),
    /// 0: black; 1: as it is.
    Brightness(f32),
    /// 0: grey all over; 1: as it is.
    Contrast(f32),
    /// 0: grey; 1: as it is.
    Saturation(f32),
}

impl Tone {
    /// Changes an image.
    pub fn change(self, image: &mut Image<'_>) {
        match self {
            Tone::Grayscale => colour::greyscale(image),
            Tone::Invert => colour::invert(image),
            Tone::AutoContrast => colour::auto_contrast(image),
            Tone::Equalize => colour::equalize(image),
            Tone::Posterize(bits) => colour::posterize(image, bits),
            Tone::Solarize(threshold) => colour::solarize(image, threshold),
            Tone::Sharpness(factor) => colour::sharpness(image, factor),
            Tone::Brightness(factor) => colour::brightness(image, factor),
            Tone::Contrast(factor) => colour::contrast(image, factor),
            Tone::Saturation(factor) => colour::saturation(image, factor),
        }
    }
}

impl RandomTone {
    pub(super) fn from_args(args: &Args, tone: Tone) -> RandomTone {
        RandomTone { tone, probability: args.float("probability") as f32 }
    }
}

impl Augment for RandomTone {
    fn apply(&self, image: &mut Image<'_>, random: &mut Random) {
        if random.chance(self.probability) {
            self.tone.change(image);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::applied;
    use super::*;

    #[test]
    fn nothing_changes_without_strength() {
        let image = [10.0, 200.0, 30.0, 4.0, 50.0, 60.0];
        assert_eq!(applied(&ColorJitter::default(), [1, 2], &image, 1), image);
    }

    #[test]
    fn brightness_is_within_its_range() {
        let jitter = ColorJitter { brightness: 0.25, ..ColorJitter::default() };
        let values: Vec<f32> =
            (0..200).map(|key| applied(&jitter, [1, 1], &[100.0], key)[0]).collect();
        assert!(values.iter().all(|value| (75.0..=125.0).contains(value)));
        assert!(
            values.iter().any(|&value| value < 80.0) && values.iter().any(|&value| value > 120.0)
        );
    }

    #[test]
    fn about_the_given_share_is_changed() {
        let invert = RandomTone { tone: Tone::Invert, probability: 0.25 };
        let count = (0..2000).filter(|&key| applied(&invert, [1, 1], &[0.0], key)[0] > 0.0).count();
        assert!((430..570).contains(&count), "{count} of 2000");
    }
}
