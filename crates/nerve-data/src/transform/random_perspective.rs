//! Random perspective: the image as seen from another side.

use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

use super::{Augment, Fill, Image, Map};
use crate::random::Random;

pub(super) static SPEC: Spec = Spec {
    name: "RandomPerspective",
    aliases: &["random_perspective"],
    peers: Peers::of("v2.RandomPerspective", "layers.RandomPerspective"),
    doc: "Moves each corner of the image inwards by a distance of its own, as a camera from aside would see it.",
    params: &[
        Param::with_default(
            "distortion",
            Kind::float(0.0, 1.0),
            Value::Float(0.5),
            "largest move of a corner, as a share of half the side",
        )
        .alias(&["distortion_scale"]),
        Param::with_default(
            "probability",
            Kind::float(0.0, 1.0),
            Value::Float(0.5),
            "share of the images that are changed",
        )
        .alias(&["p"]),
    ],
};

/// Shows an image in a random perspective.
#[derive(Clone, Debug)]
pub struct RandomPerspective {
    /// How far corners move inwards at most, as a share of half the side.
    pub distortion: f32,
    /// The probability that they do.
    pub probability: f32,
}

impl RandomPerspective {
    pub(super) fn from_args(args: &Args) -> RandomPerspective {
        RandomPerspective {
            distortion: args.float("distortion") as f32,
            probability: args.float("probability") as f32,
        }
    }
}

impl Augment for RandomPerspective {
    fn apply(&self, image: &mut Image<'_>, random: &mut Random) {
        if !random.chance(self.probability) {
            return;
        }
        let [bottom, right] = [image.height(), image.width()].map(|side| side as f32 - 1.0);
        let mut inwards = |side: f32| random.uniform() * self.distortion * (side + 1.0) / 2.0;
        let corners = [[0.0, 0.0], [right, 0.0], [right, bottom], [0.0, bottom]];
        let moved = corners.map(|[x, y]| {
            let (dx, dy) = (inwards(right), inwards(bottom));
            [if x == 0.0 { dx } else { x - dx }, if y == 0.0 { dy } else { y - dy }]
        });
        if let Some(map) = perspective(corners, moved) {
            image.warp(map, Fill::Background);
        }
    }

    fn moves(&self) -> bool {
        true
    }
}

/// The map that shows the points `from` at the places `to`, four each; none when they lie in a line.
///
/// Eight linear equations for its eight numbers, by elimination with pivoting.
pub(super) fn perspective(from: [[f32; 2]; 4], to: [[f32; 2]; 4]) -> Option<Map> {
    let mut rows: Vec<[f64; 9]> = Vec::with_capacity(8);
    for (from, to) in from.iter().zip(&to) {
        let ([u, v], [x, y]) = (from.map(f64::from), to.map(f64::from));
        rows.push([x, y, 1.0, 0.0, 0.0, 0.0, -u * x, -u * y, u]);
        rows.push([0.0, 0.0, 0.0, x, y, 1.0, -v * x, -v * y, v]);
    }
    for column in 0..8 {
        let pivot =
            (column..8).max_by(|&a, &b| rows[a][column].abs().total_cmp(&rows[b][column].abs()))?;
        if rows[pivot][column].abs() < 1e-9 {
            return None;
        }
        rows.swap(column, pivot);
        let lead = rows[column].map(|value| value / rows[column][column]);
        rows[column] = lead;
        for (_, row) in rows.iter_mut().enumerate().filter(|(at, _)| *at != column) {
            let factor = row[column];
            row.iter_mut().zip(&lead).for_each(|(value, lead)| *value -= factor * lead);
        }
    }
    Some(Map::new(std::array::from_fn(|at| rows[at][8])))
}

#[cfg(test)]
mod tests {
    use super::super::tests::applied;
    use super::*;

    #[test]
    fn corners_go_where_they_should() {
        let from = [[0.0, 0.0], [9.0, 0.0], [9.0, 4.0], [0.0, 4.0]];
        let to = [[1.0, 0.5], [8.0, 0.0], [7.0, 3.0], [0.0, 4.0]];
        let map = perspective(from, to).unwrap();
        for (from, to) in from.iter().zip(&to) {
            let (x, y) = map.at(to[0], to[1]);
            assert!((x - from[0]).abs() < 1e-4 && (y - from[1]).abs() < 1e-4, "{x} {y}");
        }
        assert!(perspective(from, [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]).is_none());
    }

    #[test]
    fn without_distortion_nothing_moves() {
        let image: Vec<f32> = (0..20).map(|i| i as f32).collect();
        let none = RandomPerspective { distortion: 0.0, probability: 1.0 };
        for (a, b) in applied(&none, [4, 5], &image, 1).iter().zip(&image) {
            assert!((a - b).abs() < 1e-3);
        }
    }
}
