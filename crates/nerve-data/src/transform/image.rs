//! A picture that is being changed in place, and the geometry of that.

use super::Augment;
use crate::random::Random;

/// A picture, or the class of each of its pixels, that is being changed in place.
///
/// Shape `[channels, height, width]`. The values of a picture go from 0 to 255, as in its file; fractions are kept.
/// Moves of pixels are gathered, and carried out together when pixels are looked at: a picture that is shifted, turned
/// and scaled is interpolated once.
pub struct Image<'a> {
    height: usize,
    width: usize,
    pixels: &'a mut [f32],
    /// What stands outside where nothing else is said.
    outside: f32,
    labels: bool,
    pending: Option<(Map, Fill)>,
    scratch: &'a mut Vec<f32>,
}

impl<'a> Image<'a> {
    /// A picture over its pixels, channel after channel, row after row. What comes in from outside is 0, black.
    /// `scratch` is room that is used again and again.
    ///
    /// # Panics
    /// When the pixels do not fill whole planes.
    #[track_caller]
    pub fn new(
        [height, width]: [usize; 2],
        pixels: &'a mut [f32],
        scratch: &'a mut Vec<f32>,
    ) -> Image<'a> {
        let plane = height * width;
        assert!(
            plane > 0 && pixels.len().is_multiple_of(plane),
            "{} pixels in planes of {height} by {width}",
            pixels.len()
        );
        Image { height, width, pixels, outside: 0.0, labels: false, pending: None, scratch }
    }

    /// The classes of pixels. They are never blended: a moved pixel takes the class of its nearest neighbour, one from
    /// outside the class `outside`.
    ///
    /// # Panics
    /// As [`Image::new`].
    #[track_caller]
    pub fn labels(
        size: [usize; 2],
        pixels: &'a mut [f32],
        outside: f32,
        scratch: &'a mut Vec<f32>,
    ) -> Image<'a> {
        Image { outside, labels: true, ..Image::new(size, pixels, scratch) }
    }

    /// Whether it holds classes and no colours.
    pub fn is_labels(&self) -> bool {
        self.labels
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Channels.
    pub fn channels(&self) -> usize {
        self.pixels.len() / (self.height * self.width)
    }

    /// All pixels, channel after channel, row after row.
    pub fn pixels(&mut self) -> &mut [f32] {
        self.settle();
        self.pixels
    }

    /// All pixels, and room for as much as is needed.
    pub fn pixels_and_scratch(&mut self) -> (&mut [f32], &mut Vec<f32>) {
        self.settle();
        (self.pixels, self.scratch)
    }

    /// The value of what comes in from outside.
    pub fn outside(&self) -> f32 {
        self.outside
    }

    /// Carries out one augmentation. Classes follow those that move pixels, and are left alone by the others.
    pub fn apply(&mut self, augment: &dyn Augment, random: &mut Random) {
        if !self.labels || augment.moves() {
            augment.apply(self, random);
        }
    }

    /// Moves pixels: each takes the place that `map` gives, `fill` where that is outside.
    pub fn warp(&mut self, map: Map, fill: Fill) {
        self.pending = match self.pending.take() {
            Some((before, same)) if same == fill => Some((before.then(&map), fill)),
            None => Some((map, fill)),
            other => {
                self.pending = other;
                self.settle();
                Some((map, fill))
            }
        };
    }

    /// Carries out the moves that were gathered.
    pub fn settle(&mut self) {
        match self.pending.take() {
            Some((map, _)) if map == Map::IDENTITY => {}
            Some((map, fill)) => match map.whole() {
                Some(steps) => self.copy(steps, fill),
                None => self.sample(fill, |y, x| map.at(x as f32, y as f32)),
            },
            None => {}
        }
    }

    /// Takes each pixel from elsewhere: from (x + across, y + down), which are given for all pixels row after row.
    ///
    /// # Panics
    /// When there are not as many numbers as pixels.
    #[track_caller]
    pub fn displace(&mut self, across: &[f32], down: &[f32], fill: Fill) {
        let (width, plane) = (self.width, self.height * self.width);
        assert_eq!([across.len(), down.len()], [plane; 2], "a distance for each pixel");
        self.settle();
        self.sample(fill, |y, x| {
            let at = y * width + x;
            (x as f32 + across[at], y as f32 + down[at])
        });
    }

    /// Calls `f` for each channel with a copy of it and the place to write the new one to.
    pub fn remap(&mut self, mut f: impl FnMut(&[f32], &mut [f32])) {
        self.settle();
        let size = self.height * self.width;
        self.scratch.resize(size, 0.0);
        for target in self.pixels.chunks_exact_mut(size) {
            self.scratch.copy_from_slice(target);
            f(self.scratch, target);
        }
    }

    /// Moves by whole pixels, mirrored or not.
    fn copy(&mut self, steps: [Whole; 2], fill: Fill) {
        let (height, width, outside) = (self.height, self.width, self.outside);
        let [down, across] = steps;
        let inside = across.inside(width);
        self.remap(|source, target| {
            for (y, row) in target.chunks_exact_mut(width).enumerate() {
                let Some(from) = fill.place(down.at(y), height) else {
                    row.fill(outside);
                    continue;
                };
                let from = &source[from * width..][..width];
                for x in (0..inside.start).chain(inside.end..width) {
                    row[x] = fill.place(across.at(x), width).map_or(outside, |at| from[at]);
                }
                if inside.is_empty() {
                    continue;
                }
                let (first, last) = (across.at(inside.start), across.at(inside.end - 1));
                let piece = &from[first.min(last) as usize..=first.max(last) as usize];
                row[inside.clone()].copy_from_slice(piece);
                if across.mirrored {
                    row[inside.clone()].reverse();
                }
            }
        });
    }

    /// Takes each pixel from the place that `from` gives for its row and column: between pixels the four around are
    /// blended; classes are those of the nearest.
    fn sample(&mut self, fill: Fill, from: impl Fn(usize, usize) -> (f32, f32)) {
        let (height, width) = (self.height, self.width);
        let padded = self.pad(fill);
        let plane = self.scratch.len() / self.channels();
        // Places in the padded planes, and how far they are from there to the next pixel.
        let (mut places, mut across, mut down) = ([0u32; RUN], [0f32; RUN], [0f32; RUN]);
        for y in 0..height {
            for start in (0..width).step_by(RUN) {
                let count = RUN.min(width - start);
                for i in 0..count {
                    let (x, y) = from(y, start + i);
                    let (x, fx) = fill.locate(x, width, self.labels);
                    let (y, fy) = fill.locate(y, height, self.labels);
                    places[i] = y * padded as u32 + x;
                    (across[i], down[i]) = (fx, fy);
                }
                for (channel, source) in self.scratch.chunks_exact(plane).enumerate() {
                    let row = &mut self.pixels[(channel * height + y) * width + start..][..count];
                    for (i, pixel) in row.iter_mut().enumerate() {
                        let upper = &source[places[i] as usize..][..padded + 2];
                        let (a, b, c, d) = (upper[0], upper[1], upper[padded], upper[padded + 1]);
                        let (upper, lower) = (a + (b - a) * across[i], c + (d - c) * across[i]);
                        *pixel = upper + (lower - upper) * down[i];
                    }
                }
            }
        }
    }

    /// Copies the planes with a border of one pixel before and two after, so that sampling never asks where it is.
    /// Returns the width with the border.
    fn pad(&mut self, fill: Fill) -> usize {
        let (height, width, outside) = (self.height, self.width, self.outside);
        let (rows, columns) = (height + 3, width + 3);
        self.scratch.resize(self.pixels.len() / (height * width) * rows * columns, 0.0);
        let planes = self.scratch.chunks_exact_mut(rows * columns);
        for (plane, pixels) in planes.zip(self.pixels.chunks_exact(height * width)) {
            for (y, row) in plane.chunks_exact_mut(columns).enumerate() {
                let from = y.saturating_sub(1).min(height - 1);
                let from = &pixels[from * width..][..width];
                if fill == Fill::Background && !(1..=height).contains(&y) {
                    row.fill(outside);
                    continue;
                }
                row[1..=width].copy_from_slice(from);
                let background = fill == Fill::Background;
                row[0] = if background { outside } else { from[0] };
                row[width + 1..].fill(if background { outside } else { from[width - 1] });
            }
        }
        columns
    }
}

/// Pixels that are sampled together.
const RUN: usize = 64;

/// What stands outside of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Empty pixels: black, or the class that does not count.
    Background,
    /// The nearest pixel of the image.
    Edge,
    /// The image mirrored, without repeating the edge.
    Reflect,
}

impl Fill {
    pub(super) const NAMES: &'static [&'static str] = &["background", "edge", "reflect"];

    pub(super) fn from_name(name: &str) -> Fill {
        match name {
            "edge" => Fill::Edge,
            "reflect" => Fill::Reflect,
            _ => Fill::Background,
        }
    }

    /// The place along an axis of `len` pixels that stands for the place `at`; none for the background.
    #[inline]
    pub(super) fn place(self, at: i64, len: usize) -> Option<usize> {
        let last = len as i64 - 1;
        if (0..=last).contains(&at) {
            return Some(at as usize);
        }
        match self {
            Fill::Background => None,
            Fill::Edge => Some(at.clamp(0, last) as usize),
            Fill::Reflect if last == 0 => Some(0),
            Fill::Reflect => {
                let place = at.rem_euclid(2 * last);
                Some(place.min(2 * last - place) as usize)
            }
        }
    }

    /// The place along an axis of a plane with its border, and the share of the pixel after it.
    #[inline]
    fn locate(self, at: f32, len: usize, nearest: bool) -> (u32, f32) {
        let last = len as f32 - 1.0;
        let at = match self {
            // The triangle wave of this period.
            Fill::Reflect if last > 0.0 => {
                let place = at.abs() % (2.0 * last);
                place.min(2.0 * last - place)
            }
            _ => at,
        };
        // A place that is no number, as a perspective may give, is outside too.
        let at = at.max(-1.0).min(last + 1.0) + 1.0;
        if nearest {
            return ((at + 0.5) as u32, 0.0);
        }
        let place = at as u32;
        (place, at - place as f32)
    }
}

/// Where each pixel of the new image comes from: pixel (x, y) from (a x + b y + c, d x + e y + f) / (g x + h y + 1).
///
/// Whole numbers are the centres of pixels; (0, 0) is the upper left one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Map([f64; 9]);

impl Map {
    /// Every pixel stays.
    pub const IDENTITY: Map = Map([1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);

    /// The numbers a to h of the formula.
    pub fn new([a, b, c, d, e, f, g, h]: [f64; 8]) -> Map {
        Map([a, b, c, d, e, f, g, h, 1.0])
    }

    /// Pixel (x, y) from (x + dx, y + dy).
    pub fn shift(dy: f64, dx: f64) -> Map {
        Map([1.0, 0.0, dx, 0.0, 1.0, dy, 0.0, 0.0, 1.0])
    }

    /// Left and right, upper and lower exchanged, in an image of this size.
    pub fn mirror([height, width]: [usize; 2], rows: bool, columns: bool) -> Map {
        let axis =
            |len: usize, mirrored| if mirrored { (-1.0, len as f64 - 1.0) } else { (1.0, 0.0) };
        let ((a, c), (e, f)) = (axis(width, columns), axis(height, rows));
        Map([a, 0.0, c, 0.0, e, f, 0.0, 0.0, 1.0])
    }

    /// A linear map (x, y) → (a x + b y, d x + e y) about the centre of an image of this size.
    pub fn about_centre([height, width]: [usize; 2], [a, b, d, e]: [f64; 4]) -> Map {
        let (y, x) = ((height as f64 - 1.0) / 2.0, (width as f64 - 1.0) / 2.0);
        Map([a, b, x - a * x - b * y, d, e, y - d * x - e * y, 0.0, 0.0, 1.0])
    }

    /// The map of both, this one carried out before `next`.
    pub fn then(&self, next: &Map) -> Map {
        let (m, n) = (&self.0, &next.0);
        let product: [f64; 9] = std::array::from_fn(|at| {
            let (row, column) = (at / 3 * 3, at % 3);
            (0..3).map(|k| m[row + k] * n[k * 3 + column]).sum()
        });
        Map(product.map(|value| value / product[8]))
    }

    /// Where pixel (x, y) comes from.
    #[inline]
    pub fn at(&self, x: f32, y: f32) -> (f32, f32) {
        let [a, b, c, d, e, f, g, h, i] = self.0.map(|value| value as f32);
        let (from_x, from_y) = (a * x + b * y + c, d * x + e * y + f);
        if g == 0.0 && h == 0.0 {
            return (from_x, from_y);
        }
        let scale = g * x + h * y + i;
        // What lies behind the eye is not seen.
        if scale > 1e-6 { (from_x / scale, from_y / scale) } else { (f32::NAN, f32::NAN) }
    }

    /// The steps down and across, if it moves and mirrors by whole pixels alone.
    fn whole(&self) -> Option<[Whole; 2]> {
        let [a, b, c, d, e, f, g, h, _] = self.0;
        let axis = |sign: f64, offset: f64| {
            let plain = sign.abs() == 1.0 && offset.fract() == 0.0 && offset.abs() < 1e9;
            plain.then_some(Whole { mirrored: sign < 0.0, offset: offset as i64 })
        };
        if [b, d, g, h] != [0.0; 4] {
            return None;
        }
        Some([axis(e, f)?, axis(a, c)?])
    }
}

/// Whole steps along an axis.
#[derive(Clone, Copy)]
struct Whole {
    mirrored: bool,
    offset: i64,
}

impl Whole {
    /// Where pixel `at` comes from.
    fn at(self, at: usize) -> i64 {
        if self.mirrored { self.offset - at as i64 } else { self.offset + at as i64 }
    }

    /// The pixels that come from inside an axis of `len` pixels.
    fn inside(self, len: usize) -> std::ops::Range<usize> {
        let len = len as i64;
        let (start, end) = match self.mirrored {
            true => (self.offset + 1 - len, self.offset + 1),
            false => (-self.offset, len - self.offset),
        };
        let start = start.clamp(0, len);
        start as usize..end.clamp(start, len) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warped(size: [usize; 2], pixels: &[f32], map: Map, fill: Fill) -> Vec<f32> {
        let mut pixels = pixels.to_vec();
        let mut scratch = Vec::new();
        let mut image = Image::new(size, &mut pixels, &mut scratch);
        image.warp(map, fill);
        image.settle();
        pixels
    }

    #[test]
    fn whole_moves_look_up_each_pixel_however_they_are_carried_out() {
        let original: Vec<f32> = (1..=24).map(|i| i as f32).collect();
        for fill in [Fill::Background, Fill::Edge, Fill::Reflect] {
            for (dy, dx) in (-7..=7).flat_map(|dy| (-7..=7).map(move |dx| (dy, dx))) {
                for mirrored in [false, true] {
                    let shift = Map::shift(dy as f64, dx as f64);
                    let map = Map::mirror([3, 4], false, mirrored).then(&shift);
                    let moved = warped([3, 4], &original, map, fill);
                    // An unnoticeable turn takes the way of any map.
                    let mut nearly = map;
                    nearly.0[1] = 1e-12;
                    assert!(nearly.whole().is_none());
                    let blended = warped([3, 4], &original, nearly, fill);
                    for (at, &pixel) in moved.iter().enumerate() {
                        let (channel, y, x) = (at / 12, (at / 4 % 3) as i64, (at % 4) as i64);
                        let x = if mirrored { 3 - (x + dx) } else { x + dx };
                        let expected = match (fill.place(y + dy, 3), fill.place(x, 4)) {
                            (Some(y), Some(x)) => original[channel * 12 + y * 4 + x],
                            _ => 0.0,
                        };
                        assert_eq!(
                            pixel, expected,
                            "{fill:?} by {dy}, {dx} at {channel}, {y}, {x}"
                        );
                        assert!((blended[at] - expected).abs() < 1e-4, "{fill:?} by {dy}, {dx}");
                    }
                }
            }
        }
    }

    #[test]
    fn between_pixels_the_four_around_and_the_outside_are_blended() {
        let at = |y: f64, x: f64, fill| {
            warped([2, 2], &[10.0, 1.0, 2.0, 3.0], Map::shift(y, x), fill)[0]
        };
        assert_eq!(at(0.5, 0.5, Fill::Background), 4.0);
        assert_eq!(at(1.0, 0.25, Fill::Background), 2.25);
        assert_eq!(at(-0.5, 0.0, Fill::Background), 5.0);
        assert_eq!(at(-0.5, 0.0, Fill::Edge), 10.0);
        assert_eq!(at(-0.5, 0.0, Fill::Reflect), 6.0);
        assert_eq!(at(1e9, -1e9, Fill::Background), 0.0);
        assert_eq!(at(f64::NAN, f64::NAN, Fill::Background), 0.0);
    }

    #[test]
    fn gathered_moves_are_those_one_after_the_other() {
        let pixels: Vec<f32> = (0..30).map(|i| i as f32).collect();
        let (flip, shift) = (Map::mirror([5, 6], true, true), Map::shift(1.0, 2.0));
        let one = warped([5, 6], &pixels, flip, Fill::Edge);
        let two = warped([5, 6], &one, shift, Fill::Edge);
        assert_eq!(warped([5, 6], &pixels, flip.then(&shift), Fill::Edge), two);
        // What was moved out comes back.
        let back = Map::shift(0.0, 9.0).then(&Map::shift(0.0, -9.0));
        assert_eq!(warped([5, 6], &pixels, back, Fill::Background), pixels);
    }

    #[test]
    fn classes_are_never_blended() {
        let mut classes: Vec<f32> = (0..64).map(|i| if i % 3 == 0 { 7.0 } else { 2.0 }).collect();
        let mut scratch = Vec::new();
        let mut image = Image::labels([8, 8], &mut classes, 255.0, &mut scratch);
        image.warp(Map::about_centre([8, 8], [0.8, -0.6, 0.6, 0.8]), Fill::Background);
        image.settle();
        assert!(classes.iter().all(|class| [2.0, 7.0, 255.0].contains(class)), "{classes:?}");
        assert!(classes.contains(&255.0));
    }

    #[test]
    fn a_perspective_divides_and_hides_what_is_behind() {
        let map = Map::new([1.0, 0.0, 0.0, 0.0, 1.0, 0.0, -0.5, 0.0]);
        assert_eq!(map.at(1.0, 1.0), (2.0, 2.0));
        assert!(map.at(2.0, 1.0).0.is_nan());
        assert!(map.at(5.0, 1.0).0.is_nan());
    }

    #[test]
    fn places_outside_follow_the_fill() {
        let places = |fill: Fill| (-4..7).map(|at| fill.place(at, 3)).collect::<Vec<_>>();
        let some = |places: [usize; 11]| places.map(Some).to_vec();
        assert_eq!(places(Fill::Edge), some([0, 0, 0, 0, 0, 1, 2, 2, 2, 2, 2]));
        assert_eq!(places(Fill::Reflect), some([0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2]));
        let background = places(Fill::Background);
        assert_eq!(background[4..7], [Some(0), Some(1), Some(2)]);
        assert!(background[..4].iter().chain(&background[7..]).all(Option::is_none));
        assert_eq!(Fill::Reflect.place(-5, 1), Some(0));
    }

    #[test]
    #[should_panic(expected = "5 pixels in planes of 1 by 2")]
    fn planes_must_be_whole() {
        Image::new([1, 2], &mut [0.0; 5], &mut Vec::new());
    }
}
