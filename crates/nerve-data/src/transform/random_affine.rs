//! Random affine maps: turn, move, scale and shear, about the centre, in one interpolation.

use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

use super::{Augment, Fill, Image, Map, between};
use crate::random::Random;

const SHARE: Kind = Kind::float(0.0, 1.0);
const FACTOR: Kind = Kind::Float { min: 0.05, max: 20.0, open_min: false, open_max: false };
const SHARES: Kind = Kind::OneOf(&[SHARE, Kind::List { of: &SHARE, min_len: 2, max_len: 2 }]);
const FACTORS: Kind = Kind::List { of: &FACTOR, min_len: 2, max_len: 2 };
static ONES: [Value; 2] = [Value::Float(1.0), Value::Float(1.0)];
static ZOOM: [Value; 2] = [Value::Float(0.8), Value::Float(1.2)];
const FILL: Param = Param::with_default(
    "fill",
    Kind::Choice(Fill::NAMES),
    Value::text("background"),
    "what comes in from outside",
);

pub(super) static AFFINE: Spec = Spec {
    name: "RandomAffine",
    aliases: &["random_affine"],
    peers: Peers::of(
        "v2.RandomAffine",
        "layers.RandomRotation, RandomTranslation, RandomZoom, RandomShear",
    ),
    doc: "Turns, moves, scales and shears the image about its centre, with one bilinear interpolation.",
    params: &[
        Param::with_default(
            "degrees",
            Kind::float(0.0, 180.0),
            Value::Float(0.0),
            "largest angle, either way",
        ),
        Param::with_default(
            "translate",
            SHARES,
            Value::Float(0.0),
            "largest move, as a share of the side: one number, or [vertical, horizontal]",
        ),
        Param::with_default(
            "scale",
            FACTORS,
            Value::list(&ONES),
            "[least, greatest] factor of the size",
        ),
        Param::with_default(
            "shear",
            Kind::float(0.0, 80.0),
            Value::Float(0.0),
            "largest angle of shear in degrees, either way",
        ),
        FILL,
    ],
};

pub(super) static ZOOMED: Spec = Spec {
    name: "RandomZoom",
    aliases: &["RandomScale", "random_zoom"],
    peers: Peers::of("v2.RandomAffine", "layers.RandomZoom"),
    doc: "Scales the content of the image about its centre.",
    params: &[
        Param::with_default(
            "scale",
            FACTORS,
            Value::list(&ZOOM),
            "[least, greatest] factor: above 1, things get larger",
        ),
        FILL,
    ],
};

pub(super) static SHEARED: Spec = Spec {
    name: "RandomShear",
    aliases: &["random_shear"],
    peers: Peers::of("v2.RandomAffine", "layers.RandomShear"),
    doc: "Shears the image to the side about its centre.",
    params: &[
        Param::required("degrees", Kind::float(0.0, 80.0), "largest angle, either way"),
        FILL,
    ],
};

/// Turns, moves, scales and shears an image.
#[derive(Clone, Debug, PartialEq)]
pub struct RandomAffine {
    /// The largest angle of the turn, in degrees.
    pub degrees: f32,
    /// The largest move, vertical and horizontal, as a share of the side.
    pub translate: [f32; 2],
    /// The least and the greatest factor of the size; drawn evenly.
    pub scale: [f32; 2],
    /// The largest angle of the shear, in degrees.
    pub shear: f32,
    /// What comes in.
    pub fill: Fill,
}

impl Default for RandomAffine {
    /// Nothing moves.
    fn default() -> RandomAffine {
        RandomAffine {
            degrees: 0.0,
            translate: [0.0; 2],
            scale: [1.0; 2],
            shear: 0.0,
            fill: Fill::Background,
        }
    }
}

impl RandomAffine {
    pub(super) fn from_args(args: &Args) -> RandomAffine {
        let translate = match args.floats("translate")[..] {
            [both] => [both as f32; 2],
            ref two => [two[0] as f32, two[1] as f32],
        };
        let shear = args.float("shear") as f32;
        RandomAffine {
            degrees: args.float("degrees") as f32,
            translate,
            shear,
            ..RandomAffine::zoom_from_args(args)
        }
    }

    pub(super) fn zoom_from_args(args: &Args) -> RandomAffine {
        let scale = args.floats("scale");
        let scale = [scale[0].min(scale[1]) as f32, scale[0].max(scale[1]) as f32];
        RandomAffine { scale, fill: Fill::from_name(args.text("fill")), ..RandomAffine::default() }
    }

    pub(super) fn shear_from_args(args: &Args) -> RandomAffine {
        let shear = args.float("degrees") as f32;
        RandomAffine { shear, fill: Fill::from_name(args.text("fill")), ..RandomAffine::default() }
    }
}

impl Augment for RandomAffine {
    fn apply(&self, image: &mut Image<'_>, random: &mut Random) {
        let angle = random.between(-self.degrees, self.degrees);
        let shear = random.between(-self.shear, self.shear);
        let scale = between(random, self.scale);
        let [down, across] = self.translate.map(|share| random.between(-share, share));
        let size = [image.height(), image.width()];
        let shift = [(down * size[0] as f32).round(), (across * size[1] as f32).round()];
        image.warp(affine(size, angle, shift, scale, [shear, 0.0]), self.fill);
    }

    fn moves(&self) -> bool {
        true
    }
}

/// The map of an image that is sheared (degrees across, down), turned anticlockwise (degrees) and scaled about its
/// centre, then moved (pixels down, across).
pub(super) fn affine(
    size: [usize; 2],
    degrees: f32,
    shift: [f32; 2],
    scale: f32,
    shear: [f32; 2],
) -> Map {
    let (sin, cos) = f64::from(degrees).to_radians().sin_cos();
    let [across, down] = shear.map(|degrees| f64::from(degrees).to_radians().tan());
    let scale = 1.0 / f64::from(scale);
    // Of a new pixel: the move undone, the scale undone, turned back, the shear undone.
    let turn = [cos, -sin, sin, cos].map(|x| x * scale);
    let shear = Map::about_centre(size, [1.0, across, down, 1.0]);
    let [dy, dx] = shift.map(f64::from);
    shear.then(&Map::about_centre(size, turn)).then(&Map::shift(-dy, -dx))
}

#[cfg(test)]
mod tests {
    use super::super::tests::applied;
    use super::*;

    #[test]
    fn nothing_moves_by_default() {
        let image: Vec<f32> = (0..24).map(|i| i as f32).collect();
        assert_eq!(applied(&RandomAffine::default(), [4, 6], &image, 1), image);
    }

    #[test]
    fn a_zoom_keeps_the_centre_and_spreads_the_rest() {
        let mut image = vec![0.0; 81];
        image[40] = 90.0;
        image[41] = 90.0;
        let twice = RandomAffine { scale: [2.0, 2.0], ..RandomAffine::default() };
        let out = applied(&twice, [9, 9], &image, 1);
        assert_eq!(out[36 + 4..36 + 8], [90.0, 90.0, 90.0, 45.0]);
        let half = RandomAffine { scale: [0.5, 0.5], ..RandomAffine::default() };
        assert_eq!(applied(&half, [9, 9], &image, 1)[40], 90.0);
    }

    #[test]
    fn a_shear_moves_rows_apart() {
        let map = affine([5, 5], 0.0, [0.0; 2], 1.0, [45.0, 0.0]);
        let (x, y) = map.at(2.0, 0.0);
        assert!((x - 0.0).abs() < 1e-5 && y == 0.0, "{x} {y}");
        let (x, y) = map.at(2.0, 4.0);
        assert!((x - 4.0).abs() < 1e-5 && y == 4.0, "{x} {y}");
    }

    #[test]
    fn a_move_goes_the_way_it_says() {
        assert_eq!(affine([5, 5], 0.0, [1.0, 2.0], 1.0, [0.0; 2]).at(2.0, 1.0), (0.0, 0.0));
    }
}
