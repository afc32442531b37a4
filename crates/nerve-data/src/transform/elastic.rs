//! Elastic transform: pixels move as if the image were printed on rubber.

use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

use super::blur::blur;
use super::{Augment, Fill, Image};
use crate::random::Random;

pub(super) static SPEC: Spec = Spec {
    name: "ElasticTransform",
    aliases: &["RandomElasticTransform", "elastic_transform"],
    peers: Peers::of("v2.ElasticTransform", "layers.RandomElasticTransform"),
    doc: "Moves pixels smoothly in random directions, as if the image were printed on rubber. For handwriting.",
    params: &[
        Param::with_default(
            "alpha",
            Kind::float(0.0, 10_000.0),
            Value::Float(50.0),
            "strength: the moves before they are smoothed, in pixels",
        ),
        Param::with_default(
            "sigma",
            Kind::Float { min: 0.0, max: 100.0, open_min: true, open_max: false },
            Value::Float(5.0),
            "smoothness: the deviation of the bell that the moves are smoothed with, in pixels",
        ),
    ],
};

/// Moves pixels smoothly in random directions (Simard et al., "Best practices for convolutional neural networks applied to
/// visual document analysis", 2003).
#[derive(Clone, Debug)]
pub struct ElasticTransform {
    /// The moves before they are smoothed, in pixels.
    pub alpha: f32,
    /// The deviation of the bell that they are smoothed with, in pixels.
    pub sigma: f32,
}

impl ElasticTransform {
    pub(super) fn from_args(args: &Args) -> ElasticTransform {
        ElasticTransform { alpha: args.float("alpha") as f32, sigma: args.float("sigma") as f32 }
    }
}

impl Augment for ElasticTransform {
    fn apply(&self, image: &mut Image<'_>, random: &mut Random) {
        let size = [image.height(), image.width()];
        let mut field = || {
            let moves: Vec<f32> =
                (0..size[0] * size[1]).map(|_| random.between(-self.alpha, self.alpha)).collect();
            let mut smooth = vec![0.0; moves.len()];
            blur(&moves, size, self.sigma, &mut smooth);
            smooth
        };
        let (across, down) = (field(), field());
        image.displace(&across, &down, Fill::Background);
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
    fn neighbours_move_alike() {
        // The value of a pixel is its column, so the change is how far it moved.
        let image: Vec<f32> = (0..400).map(|at| 100.0 + (at % 20) as f32).collect();
        let out = applied(&ElasticTransform { alpha: 20.0, sigma: 4.0 }, [20, 20], &image, 1);
        let moved: Vec<f32> = out.iter().zip(&image).map(|(a, b)| a - b).collect();
        let inside = |y: usize, x: usize| moved[y * 20 + x];
        let mut largest: f32 = 0.0;
        for y in 5..14 {
            for x in 5..14 {
                largest = largest.max(inside(y, x).abs());
                assert!((inside(y, x) - inside(y, x + 1)).abs() < 0.5);
                assert!((inside(y, x) - inside(y + 1, x)).abs() < 0.5);
            }
        }
        assert!(largest > 0.2, "{largest}");
        assert_eq!(
            applied(&ElasticTransform { alpha: 0.0, sigma: 4.0 }, [20, 20], &image, 1),
            image
        );
    }
}
