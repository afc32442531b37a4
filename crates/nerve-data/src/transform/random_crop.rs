//! Random crop: pad the image on each side, then cut the original size out at a random place.

use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

use super::{Augment, Fill, Image, Map};
use crate::random::Random;

pub(super) static SPEC: Spec = Spec {
    name: "RandomCrop",
    aliases: &["random_crop"],
    peers: Peers::of("v2.RandomCrop", "layers.RandomCrop"),
    doc: "Pads the image on each side and cuts its size out again at a random place.",
    params: &[
        Param::required("padding", Kind::int(1, 1024), "pixels added on each side"),
        Param::with_default(
            "fill",
            Kind::Choice(Fill::NAMES),
            Value::text("background"),
            "what the added pixels hold",
        ),
    ],
};

/// The usual augmentation of small photographs (He et al., "Deep residual learning for image recognition", 2016, use
/// padding 4 on 32 × 32 pixels). The shape stays as it is.
#[derive(Clone, Debug)]
pub struct RandomCrop {
    /// Pixels added on each side.
    pub padding: u32,
    /// What they hold.
    pub fill: Fill,
}

impl RandomCrop {
    pub(super) fn from_args(args: &Args) -> RandomCrop {
        let fill = Fill::from_name(args.text("fill"));
        RandomCrop { padding: args.usize("padding") as u32, fill }
    }
}

impl Augment for RandomCrop {
    fn apply(&self, image: &mut Image<'_>, random: &mut Random) {
        let (dy, dx) = (random.within(self.padding), random.within(self.padding));
        image.warp(Map::shift(dy as f64, dx as f64), self.fill);
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
    fn each_window_of_the_padded_image_comes_up() {
        // A single bright pixel in the middle of 3 × 3 goes to each of the nine places.
        let mut image = [0.0; 9];
        image[4] = 1.0;
        let crop = RandomCrop { padding: 1, fill: Fill::Background };
        let mut seen = [0; 9];
        for key in 0..900 {
            let moved = applied(&crop, [3, 3], &image, key);
            let at = moved.iter().position(|&pixel| pixel == 1.0).unwrap();
            assert_eq!(moved.iter().sum::<f32>(), 1.0);
            seen[at] += 1;
        }
        assert!(seen.iter().all(|&n| (60..140).contains(&n)), "{seen:?}");
    }

    #[test]
    fn channels_move_together() {
        let image: Vec<f32> = (0..32).map(|i| (i % 16) as f32 + 1.0).collect();
        for fill in [Fill::Background, Fill::Edge, Fill::Reflect] {
            let moved = applied(&RandomCrop { padding: 2, fill }, [4, 4], &image, 3);
            assert_eq!(moved[..16], moved[16..]);
        }
    }
}
