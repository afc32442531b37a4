//! Random rotation: turns the image about its centre.

use nerve_formats::spec::{Args, Kind, Param, Peers, Spec};

use super::{Augment, Fill, Image, Map};
use crate::random::Random;

pub(super) static SPEC: Spec = Spec {
    name: "RandomRotation",
    aliases: &["random_rotation"],
    peers: Peers::of("v2.RandomRotation", "layers.RandomRotation"),
    doc: "Turns the image about its centre, with bilinear interpolation; what comes in is background.",
    params: &[Param::required("degrees", Kind::float(0.0, 180.0), "largest angle, either way")],
};

/// Turns an image about its centre by an angle drawn evenly from `-degrees` to `degrees`.
#[derive(Clone, Debug)]
pub struct RandomRotation {
    /// The largest angle.
    pub degrees: f32,
}

impl RandomRotation {
    pub(super) fn from_args(args: &Args) -> RandomRotation {
        RandomRotation { degrees: args.float("degrees") as f32 }
    }
}

impl Augment for RandomRotation {
    fn apply(&self, image: &mut Image<'_>, random: &mut Random) {
        rotate(image, random.between(-self.degrees, self.degrees));
    }

    fn moves(&self) -> bool {
        true
    }
}

/// Turns anticlockwise, as seen with row 0 at the top. Each new pixel looks up where it came from, so none is missed.
fn rotate(image: &mut Image<'_>, degrees: f32) {
    let (sin, cos) = f64::from(degrees).to_radians().sin_cos();
    let size = [image.height(), image.width()];
    image.warp(Map::about_centre(size, [cos, -sin, sin, cos]), Fill::Background);
}

#[cfg(test)]
mod tests {
    use super::super::tests::applied;
    use super::*;

    fn rotated(degrees: f32, size: [usize; 2], pixels: &[f32]) -> Vec<f32> {
        let mut pixels = pixels.to_vec();
        let mut scratch = Vec::new();
        let mut image = Image::new(size, &mut pixels, &mut scratch);
        rotate(&mut image, degrees);
        image.settle();
        pixels
    }

    fn assert_close(found: &[f32], expected: &[f32]) {
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() < 1e-4, "{found:?}, expected {expected:?}");
        }
    }

    #[test]
    fn quarter_and_half_turns_move_pixels_exactly() {
        let image = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0];
        assert_close(&rotated(0.0, [3, 3], &image), &image);
        assert_close(
            &rotated(90.0, [3, 3], &image),
            &[3.0, 6.0, 9.0, 2.0, 5.0, 8.0, 1.0, 4.0, 7.0],
        );
        assert_close(
            &rotated(180.0, [3, 3], &image),
            &[9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0],
        );
        let two = [1.0, 2.0, 3.0, 4.0];
        assert_close(&rotated(-90.0, [2, 2], &two), &[3.0, 1.0, 4.0, 2.0]);
    }

    #[test]
    fn a_small_turn_keeps_the_centre_and_most_of_the_ink() {
        let mut image = vec![0.0; 81];
        for y in 2..7 {
            image[y * 9 + 4] = 1.0;
        }
        let turned = rotated(10.0, [9, 9], &image);
        assert_eq!(turned[40], 1.0);
        assert!((turned.iter().sum::<f32>() - 5.0).abs() < 0.25);
        assert_ne!(turned, image);
    }

    #[test]
    fn the_angle_stays_within_the_limit() {
        let image: Vec<f32> = (0..25).map(|i| i as f32).collect();
        let none = RandomRotation { degrees: 0.0 };
        assert_close(&applied(&none, [5, 5], &image, 3), &image);
        // A pixel at distance 2 from the centre moves by at most 2 × 5° in radians = 0.175 pixels, so its value, which
        // grows by 5 a row and 1 a column, changes by at most 6 × 0.175.
        let little = RandomRotation { degrees: 5.0 };
        for key in 0..100 {
            let turned = applied(&little, [5, 5], &image, key);
            for at in [7, 11, 13, 17] {
                assert!((turned[at] - image[at]).abs() < 1.05);
            }
        }
    }
}
