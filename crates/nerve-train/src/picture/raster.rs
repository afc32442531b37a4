//! Shapes as pixels, smooth at their edges, in the light colours of the style.

use super::canvas::Canvas;
use super::font::{ADVANCE, ROWS, glyph};
use super::png::encode;
use super::svg::Anchor;

/// A picture of pixels that is being drawn.
pub(super) struct Raster {
    width: usize,
    height: usize,
    /// Pixels for one of the coordinates.
    scale: f64,
    /// Red, green, blue, row after row.
    pixels: Vec<[f32; 3]>,
    /// How much of each pixel the shape in hand covers.
    cover: Vec<f32>,
    /// The rows and columns that it may touch: from, to.
    touched: [usize; 4],
}

/// How a class is drawn.
struct Look {
    colour: [f32; 3],
    opacity: f32,
    width: f64,
    /// Lengths drawn and left out in turn.
    dashes: Option<[f64; 2]>,
}

fn look(class: &str) -> Look {
    let mut look = Look { colour: [29.0, 35.0, 48.0], opacity: 1.0, width: 2.0, dashes: None };
    for word in class.split_whitespace() {
        match word {
            "soft" => look.colour = [102.0, 112.0, 133.0],
            "grid" => (look.colour, look.width) = ([213.0, 218.0, 227.0], 0.7),
            "axis" => (look.colour, look.width) = ([102.0, 112.0, 133.0], 1.0),
            "even" => {
                (look.colour, look.width) = ([102.0, 112.0, 133.0], 1.0);
                look.dashes = Some([4.0, 4.0]);
            }
            "s0" | "f0" => look.colour = [37.0, 99.0, 235.0],
            "s1" | "f1" => look.colour = [217.0, 119.0, 6.0],
            "s2" | "f2" => look.colour = [5.0, 150.0, 105.0],
            "s3" | "f3" => look.colour = [147.0, 51.0, 234.0],
            "faint" => (look.opacity, look.width) = (0.3, 1.0),
            "dots" => look.opacity = 0.45,
            "d1" => look.dashes = Some([7.0, 3.0]),
            "d2" => look.dashes = Some([2.0, 3.0]),
            _ => {}
        }
    }
    look
}

impl Raster {
    /// White, so large as a picture of SVG with these sides.
    pub(super) fn new(width: f64, height: f64, scale: u32) -> Raster {
        let scale = f64::from(scale.clamp(1, 8));
        let side = |length: f64| (length * scale).ceil().clamp(1.0, 20_000.0) as usize;
        let (width, height) = (side(width), side(height));
        Raster {
            width,
            height,
            scale,
            pixels: vec![[255.0; 3]; width * height],
            cover: vec![0.0; width * height],
            touched: [height, 0, width, 0],
        }
    }

    pub(super) fn png(&self) -> Vec<u8> {
        let channel = |c: usize| self.pixels.iter().map(move |pixel| pixel[c].round() as u8);
        let planes: Vec<u8> = (0..3).flat_map(channel).collect();
        encode(3, self.height, self.width, &planes)
    }

    /// Covers what lies in a box, given how much of each pixel by the place of its middle.
    fn cover(&mut self, [x1, y1, x2, y2]: [f64; 4], share: impl Fn(f64, f64) -> f64) {
        let clip = |value: f64, end: usize| value.clamp(0.0, end as f64) as usize;
        let columns = clip(x1.floor(), self.width)..clip(x2.ceil() + 1.0, self.width);
        for y in clip(y1.floor(), self.height)..clip(y2.ceil() + 1.0, self.height) {
            for x in columns.clone() {
                let share = share(x as f64 + 0.5, y as f64 + 0.5).clamp(0.0, 1.0) as f32;
                let cover = &mut self.cover[y * self.width + x];
                // The parts of one shape do not add up where they meet.
                *cover = cover.max(share);
            }
            let [top, bottom, left, right] = self.touched;
            self.touched =
                [top.min(y), bottom.max(y + 1), left.min(columns.start), right.max(columns.end)];
        }
    }

    /// Paints the shape in hand.
    fn paint(&mut self, colour: [f32; 3], opacity: f32) {
        let [top, bottom, left, right] = self.touched;
        for y in top..bottom {
            for x in left..right {
                let at = y * self.width + x;
                let share = std::mem::take(&mut self.cover[at]) * opacity;
                let pixel = &mut self.pixels[at];
                (0..3).for_each(|c| pixel[c] += (colour[c] - pixel[c]) * share);
            }
        }
        self.touched = [self.height, 0, self.width, 0];
    }

    /// Covers a stroke between two points, in pixels.
    fn stroke(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), width: f64) {
        let half = width / 2.0;
        let reach = half + 1.0;
        let (dx, dy) = (x2 - x1, y2 - y1);
        let length = dx * dx + dy * dy;
        let area = [x1.min(x2) - reach, y1.min(y2) - reach, x1.max(x2) + reach, y1.max(y2) + reach];
        self.cover(area, |x, y| {
            let along = if length > 0.0 { ((x - x1) * dx + (y - y1) * dy) / length } else { 0.0 };
            let along = along.clamp(0.0, 1.0);
            half + 0.5 - (x - x1 - along * dx).hypot(y - y1 - along * dy)
        });
    }

    /// The dots of a text: its lower left corner, and the steps to the right and up, in pixels.
    fn letters(&mut self, text: &str, from: (f64, f64), right: (f64, f64), up: (f64, f64)) {
        for (i, letter) in text.chars().enumerate() {
            for (row, bits) in glyph(letter).into_iter().enumerate() {
                for column in (0..5).filter(|column| bits & (16 >> column) != 0) {
                    let a = (i * ADVANCE + column) as f64;
                    let b = (ROWS - 2) as f64 - 1.0 - row as f64;
                    let x = from.0 + a * right.0 + b * up.0;
                    let y = from.1 + a * right.1 + b * up.1;
                    let (x2, y2) = (x + right.0 + up.0, y + right.1 + up.1);
                    let rect = [x.min(x2), y.min(y2), x.max(x2), y.max(y2)];
                    self.cover(rect, |px, py| inside(rect, px, py));
                }
            }
        }
    }

    fn text_width(text: &str) -> f64 {
        (text.chars().count() * ADVANCE) as f64
    }
}

/// How much of the pixel around a point lies in a rectangle.
fn inside([x1, y1, x2, y2]: [f64; 4], x: f64, y: f64) -> f64 {
    let overlap = |low: f64, high: f64, at: f64| (high.min(at + 0.5) - low.max(at - 0.5)).max(0.0);
    overlap(x1, x2, x) * overlap(y1, y2, y)
}

impl Canvas for Raster {
    fn line(&mut self, class: &str, [x1, y1, x2, y2]: [f64; 4]) {
        self.polyline(class, &[(x1, y1), (x2, y2)]);
    }

    fn polyline(&mut self, class: &str, points: &[(f64, f64)]) {
        let look = look(class);
        let scale = self.scale;
        let width = look.width * scale;
        let to = |(x, y): (f64, f64)| (x * scale, y * scale);
        // Where in its pattern of dashes the line is.
        let mut gone = 0.0;
        for pair in points.windows(2) {
            let (a, b) = (to(pair[0]), to(pair[1]));
            let Some([on, off]) = look.dashes.map(|dashes| dashes.map(|length| length * scale))
            else {
                self.stroke(a, b, width);
                continue;
            };
            let length = (b.0 - a.0).hypot(b.1 - a.1);
            let point = |at: f64| {
                let share = if length > 0.0 { at / length } else { 0.0 };
                (a.0 + (b.0 - a.0) * share, a.1 + (b.1 - a.1) * share)
            };
            let mut at = -(gone % (on + off));
            while at < length {
                let (from, end) = (at.max(0.0), (at + on).min(length));
                if end > from {
                    self.stroke(point(from), point(end), width);
                }
                at += on + off;
            }
            gone += length;
        }
        self.paint(look.colour, look.opacity);
    }

    fn rect(&mut self, class: &str, [x, y, width, height]: [f64; 4], opacity: f64) {
        let rect = [x, y, x + width, y + height].map(|v| v * self.scale);
        self.cover(rect, |x, y| inside(rect, x, y));
        self.paint(look(class).colour, opacity as f32);
    }

    fn dot(&mut self, class: &str, (x, y): (f64, f64), radius: f64) {
        let look = look(class);
        let place = (x * self.scale, y * self.scale);
        self.stroke(place, place, 2.0 * radius * self.scale);
        self.paint(look.colour, look.opacity);
    }

    fn text(&mut self, class: &str, (x, y): (f64, f64), anchor: Anchor, text: &str) {
        let left = match anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => 0.5,
            Anchor::End => 1.0,
        };
        // On whole pixels, where dots are sharp.
        let from = ((x - left * Self::text_width(text)) * self.scale).round();
        let base = (y * self.scale).round();
        self.letters(text, (from, base), (self.scale, 0.0), (0.0, -self.scale));
        self.paint(look(class).colour, 1.0);
    }

    fn upwards(&mut self, class: &str, (x, y): (f64, f64), text: &str) {
        let from = ((y + Self::text_width(text) / 2.0) * self.scale).round();
        let base = (x * self.scale).round();
        self.letters(text, (base, from), (0.0, -self.scale), (-self.scale, 0.0));
        self.paint(look(class).colour, 1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dark(raster: &Raster, x: usize, y: usize) -> f32 {
        1.0 - raster.pixels[y * raster.width + x][0] / 255.0
    }

    #[test]
    fn shapes_cover_their_pixels_and_no_others() {
        let mut raster = Raster::new(20.0, 10.0, 1);
        raster.rect("f0", [2.0, 2.0, 3.0, 2.5], 1.0);
        assert_eq!(raster.pixels[2 * 20 + 2], [37.0, 99.0, 235.0]);
        assert_eq!(raster.pixels[4 * 20 + 4][2].round(), 245.0, "half of it");
        assert_eq!((dark(&raster, 5, 2), dark(&raster, 1, 2)), (0.0, 0.0));
        raster.line("axis", [0.0, 8.5, 20.0, 8.5]);
        assert!(dark(&raster, 10, 8) > 0.5 && dark(&raster, 10, 6) == 0.0);
        assert!(raster.cover.iter().all(|&cover| cover == 0.0), "nothing is left in hand");
        // Outside of the picture nothing happens.
        raster.polyline("s1", &[(-1e9, -1e9), (1e9, 1e9), (f64::MAX, 0.0)]);
        raster.dot("f2", (-100.0, 5.0), 3.0);
    }

    #[test]
    fn a_line_that_meets_itself_is_not_darker_there() {
        let mut raster = Raster::new(20.0, 20.0, 1);
        raster.polyline("s0 faint", &[(2.0, 10.5), (18.0, 10.5), (2.0, 10.5)]);
        let [red, ..] = raster.pixels[10 * 20 + 10];
        assert_eq!(red.round(), (255.0f32 + (37.0 - 255.0) * 0.3).round());
    }

    #[test]
    fn texts_are_dots_level_and_upright() {
        let mut raster = Raster::new(30.0, 30.0, 1);
        raster.text("", (0.0, 10.0), Anchor::Start, "T");
        assert!((0..5).all(|x| dark(&raster, x, 3) > 0.8), "its bar");
        assert!(dark(&raster, 2, 9) > 0.8 && dark(&raster, 0, 9) == 0.0);
        raster.upwards("", (20.0, 15.0), "T");
        let bar: Vec<usize> = (0..30).filter(|&y| dark(&raster, 13, y) > 0.8).collect();
        assert_eq!(bar.len(), 5, "{bar:?}");
    }

    #[test]
    fn dashes_leave_gaps() {
        let mut raster = Raster::new(40.0, 10.0, 1);
        raster.polyline("even", &[(0.0, 5.5), (40.0, 5.5)]);
        let row: Vec<bool> = (0..40).map(|x| dark(&raster, x, 5) > 0.3).collect();
        assert!(row[2] && !row[6] && row[10] && !row[14], "{row:?}");
    }
}
