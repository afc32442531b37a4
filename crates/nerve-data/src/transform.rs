//! What happens to a sample between the data set and the batch: normalisation, then augmentation.
//!
//! [`Normalization`] holds numbers computed from the training split alone; the same numbers are used for validation, for
//! the test and in serving. An [`Augment`] changes an image at random, while training only. A [`Pipeline`] is the two in a
//! row for each field.
//!
//! An augmentation is one file here and one line in [`registry`].

mod normalize;
mod pipeline;
mod random_crop;
mod random_flip;
mod random_rotation;
mod random_shift;

use std::fmt::Debug;
use std::sync::Arc;

use nerve_formats::spec::{Args, Spec};

pub use normalize::{Normalization, NormalizationMethod, Normalizer};
pub use pipeline::{Draw, Pipeline};
pub use random_crop::{Fill, RandomCrop};
pub use random_flip::RandomFlip;
pub use random_rotation::RandomRotation;
pub use random_shift::RandomShift;

use crate::random::Random;

/// A random change of one image, in place.
///
/// The random numbers of a call depend on (seed, epoch, sample, place in the pipeline) alone, so the result is the same
/// on every thread and after resuming.
pub trait Augment: Debug + Send + Sync {
    /// Changes the image. `random` is a fresh stream for this sample.
    fn apply(&self, image: &mut Image<'_>, random: &mut Random);
}

/// A kind of augmentation: its description, and how to make one from checked arguments.
pub struct Entry {
    /// Name and parameters.
    pub spec: &'static Spec,
    /// Makes one from arguments that [`check`](nerve_formats::spec::check) gave for `spec`.
    pub build: fn(&Args) -> Arc<dyn Augment>,
}

/// All kinds of augmentation.
///
/// ```
/// use nerve_data::transform::registry;
/// use nerve_formats::spec::{Value, check};
///
/// let entry = registry().iter().find(|entry| entry.spec.answers_to("RandomShift")).unwrap();
/// let args = check(entry.spec, &[("max".into(), Value::Int(2))]).unwrap();
/// println!("{:?}", (entry.build)(&args));
/// ```
pub fn registry() -> &'static [Entry] {
    &REGISTRY
}

static REGISTRY: [Entry; 4] = [
    Entry { spec: &random_crop::SPEC, build: |args| Arc::new(RandomCrop::from_args(args)) },
    Entry { spec: &random_flip::SPEC, build: |args| Arc::new(RandomFlip::from_args(args)) },
    Entry { spec: &random_rotation::SPEC, build: |args| Arc::new(RandomRotation::from_args(args)) },
    Entry { spec: &random_shift::SPEC, build: |args| Arc::new(RandomShift::from_args(args)) },
];

/// An image of shape `[channels, height, width]` that is being changed in place.
pub struct Image<'a> {
    height: usize,
    width: usize,
    pixels: &'a mut [f32],
    background: &'a [f32],
    scratch: &'a mut Vec<f32>,
}

impl<'a> Image<'a> {
    /// An image over its pixels, channel after channel, row after row.
    ///
    /// `background` is the value of an empty pixel, of each channel or one for all: what a stored 0 became in
    /// normalisation. `scratch` is room that [`Image::remap`] uses again and again.
    ///
    /// # Panics
    /// When the pixels do not fill whole planes, or the backgrounds fit neither all channels nor one.
    #[track_caller]
    pub fn new(
        [height, width]: [usize; 2],
        pixels: &'a mut [f32],
        background: &'a [f32],
        scratch: &'a mut Vec<f32>,
    ) -> Image<'a> {
        let plane = height * width;
        assert!(
            plane > 0 && pixels.len().is_multiple_of(plane),
            "{} pixels in planes of {height} by {width}",
            pixels.len()
        );
        let channels = pixels.len() / plane;
        assert!(
            background.len() == 1 || background.len() == channels,
            "{} backgrounds for {channels} channels",
            background.len()
        );
        Image { height, width, pixels, background, scratch }
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// All pixels, channel after channel, row after row.
    pub fn pixels(&mut self) -> &mut [f32] {
        self.pixels
    }

    /// Calls `f` for each channel with a copy of it and the place to write the new one to.
    pub fn remap(&mut self, mut f: impl FnMut(&Plane<'_>, &mut [f32])) {
        let size = self.height * self.width;
        self.scratch.resize(size, 0.0);
        for (channel, target) in self.pixels.chunks_exact_mut(size).enumerate() {
            self.scratch.copy_from_slice(target);
            let background = self.background[channel % self.background.len()];
            let (height, width) = (self.height, self.width);
            f(&Plane { height, width, pixels: self.scratch, background }, target);
        }
    }

    /// Moves the image by whole pixels: pixel (y, x) is afterwards what (y + dy, x + dx) was, with `fill` outside.
    fn translate(&mut self, dy: i64, dx: i64, fill: Fill) {
        let (height, width) = (self.height, self.width);
        // The columns that come from inside the image lie next to each other.
        let start = (-dx).clamp(0, width as i64) as usize;
        let end = (width as i64 - dx).clamp(start as i64, width as i64) as usize;
        self.remap(|source, target| {
            for (y, row) in target.chunks_exact_mut(width).enumerate() {
                let Some(from_y) = fill.place(y as i64 + dy, height) else {
                    row.fill(source.background);
                    continue;
                };
                let from = &source.pixels[from_y * width..][..width];
                for x in (0..start).chain(end..width) {
                    let from_x = fill.place(x as i64 + dx, width);
                    row[x] = from_x.map_or(source.background, |from_x| from[from_x]);
                }
                let from_x = (start as i64 + dx).clamp(0, width as i64) as usize;
                row[start..end].copy_from_slice(&from[from_x..][..end - start]);
            }
        });
    }
}

/// One channel of an image, as it was.
pub struct Plane<'a> {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Row after row.
    pub pixels: &'a [f32],
    /// The value of all that is outside.
    pub background: f32,
}

impl Plane<'_> {
    /// The pixel in row `y` and column `x`, the background outside.
    #[inline]
    pub fn at(&self, y: i64, x: i64) -> f32 {
        if (0..self.height as i64).contains(&y) && (0..self.width as i64).contains(&x) {
            self.pixels[y as usize * self.width + x as usize]
        } else {
            self.background
        }
    }

    /// The value between pixels, by bilinear interpolation of the four around.
    #[inline]
    pub fn bilinear(&self, y: f32, x: f32) -> f32 {
        let (y0, x0) = (floor(y), floor(x));
        let (fy, fx) = (y - y0 as f32, x - x0 as f32);
        let inside =
            (0..self.height as i64 - 1).contains(&y0) && (0..self.width as i64 - 1).contains(&x0);
        let [a, b, c, d] = if inside {
            let upper = &self.pixels[y0 as usize * self.width + x0 as usize..][..self.width + 2];
            [upper[0], upper[1], upper[self.width], upper[self.width + 1]]
        } else {
            let (y1, x1) = (y0.saturating_add(1), x0.saturating_add(1));
            [self.at(y0, x0), self.at(y0, x1), self.at(y1, x0), self.at(y1, x1)]
        };
        let upper = a * (1.0 - fx) + b * fx;
        let lower = c * (1.0 - fx) + d * fx;
        upper * (1.0 - fy) + lower * fy
    }
}

/// Without SSE 4.1, `f32::floor` is a function call; this is a few instructions.
#[inline]
fn floor(x: f32) -> i64 {
    let truncated = x as i64;
    truncated - i64::from((truncated as f32) > x)
}

#[cfg(test)]
mod tests {
    use nerve_formats::spec::{Presence, Value, check};

    use super::*;

    /// Applies an augmentation to an image of planes of this size, background 0.
    pub(super) fn applied(
        augment: &dyn Augment,
        size: [usize; 2],
        pixels: &[f32],
        key: u64,
    ) -> Vec<f32> {
        let mut pixels = pixels.to_vec();
        let mut scratch = Vec::new();
        let mut image = Image::new(size, &mut pixels, &[0.0], &mut scratch);
        augment.apply(&mut image, &mut Random::keyed(&[key]));
        pixels
    }

    #[test]
    fn every_entry_builds_with_its_defaults_and_depends_on_its_key_alone() {
        let pixels: Vec<f32> = (0..3 * 8 * 6).map(|i| (i * i % 31) as f32).collect();
        for entry in registry() {
            let required: Vec<(String, Value)> = entry
                .spec
                .params
                .iter()
                .filter(|param| param.presence == Presence::Required)
                .map(|param| (param.name.to_string(), Value::Int(3)))
                .collect();
            let augment = (entry.build)(&check(entry.spec, &required).unwrap());
            let results: Vec<_> =
                (0..20).map(|key| applied(&*augment, [8, 6], &pixels, key)).collect();
            for (key, result) in results.iter().enumerate() {
                assert_eq!(result, &applied(&*augment, [8, 6], &pixels, key as u64));
                assert!(result.iter().all(|pixel| pixel.is_finite()));
            }
            let name = entry.spec.name;
            assert!(results.iter().any(|result| result != &results[0]), "{name} never varies");
            assert!(!entry.spec.doc.is_empty());
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = registry()
            .iter()
            .flat_map(|entry| [&[entry.spec.name], entry.spec.aliases].concat())
            .collect();
        names.sort();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    }

    #[test]
    fn bilinear_blends_the_four_pixels_around_and_the_background() {
        let plane = Plane { height: 2, width: 2, pixels: &[0.0, 1.0, 2.0, 3.0], background: -1.0 };
        assert_eq!(plane.bilinear(0.0, 1.0), 1.0);
        assert_eq!(plane.bilinear(0.5, 0.5), 1.5);
        assert_eq!(plane.bilinear(1.0, 0.25), 2.25);
        assert_eq!(plane.bilinear(-0.5, 0.0), -0.5);
        assert_eq!(plane.bilinear(1e9, -1e9), -1.0);
    }

    #[test]
    fn a_translation_looks_up_each_pixel() {
        let original: Vec<f32> = (1..=24).map(|i| i as f32).collect();
        for fill in [Fill::Background, Fill::Edge, Fill::Reflect] {
            for (dy, dx) in (-7..=7).flat_map(|dy| (-7..=7).map(move |dx| (dy, dx))) {
                let mut pixels = original.clone();
                let mut scratch = Vec::new();
                Image::new([3, 4], &mut pixels, &[-1.0, -2.0], &mut scratch)
                    .translate(dy, dx, fill);
                for (at, &pixel) in pixels.iter().enumerate() {
                    let (channel, y, x) = (at / 12, at / 4 % 3, at % 4);
                    let from = (fill.place(y as i64 + dy, 3), fill.place(x as i64 + dx, 4));
                    let expected = match from {
                        (Some(y), Some(x)) => original[channel * 12 + y * 4 + x],
                        _ => [-1.0, -2.0][channel],
                    };
                    assert_eq!(pixel, expected, "{fill:?} by {dy}, {dx} at {channel}, {y}, {x}");
                }
            }
        }
    }

    #[test]
    fn floor_is_that_of_the_standard_library() {
        for x in [0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 2.999_999_8, -3.000_000_2, 1e9, -1e9] {
            assert_eq!(floor(x), x.floor() as i64, "{x}");
        }
    }

    #[test]
    #[should_panic(expected = "2 backgrounds for 3 channels")]
    fn backgrounds_must_fit() {
        Image::new([1, 1], &mut [0.0; 3], &[0.0; 2], &mut Vec::new());
    }
}
