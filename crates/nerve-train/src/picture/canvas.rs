//! What a chart can be drawn on.

use super::svg::{Anchor, Svg};

/// Shapes by the classes of [`STYLE`](super::STYLE), over the coordinates of [`Svg`].
pub(super) trait Canvas {
    fn line(&mut self, class: &str, ends: [f64; 4]);
    fn polyline(&mut self, class: &str, points: &[(f64, f64)]);
    fn rect(&mut self, class: &str, rect: [f64; 4], opacity: f64);
    fn dot(&mut self, class: &str, place: (f64, f64), radius: f64);
    fn text(&mut self, class: &str, place: (f64, f64), anchor: Anchor, text: &str);
    fn upwards(&mut self, class: &str, place: (f64, f64), text: &str);
}

impl Canvas for Svg {
    fn line(&mut self, class: &str, ends: [f64; 4]) {
        Svg::line(self, class, ends);
    }

    fn polyline(&mut self, class: &str, points: &[(f64, f64)]) {
        Svg::polyline(self, class, points.iter().copied());
    }

    fn rect(&mut self, class: &str, rect: [f64; 4], opacity: f64) {
        Svg::rect(self, class, rect, opacity);
    }

    fn dot(&mut self, class: &str, place: (f64, f64), radius: f64) {
        Svg::dot(self, class, place, radius);
    }

    fn text(&mut self, class: &str, place: (f64, f64), anchor: Anchor, text: &str) {
        Svg::text(self, class, place, anchor, text);
    }

    fn upwards(&mut self, class: &str, place: (f64, f64), text: &str) {
        Svg::upwards(self, class, place, text);
    }
}
