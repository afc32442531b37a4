//! What happens to a sample between the data set and the batch: augmentation, then normalisation.
//!
//! An [`Augment`] changes a picture at random, while training only. [`Normalization`] holds numbers computed from the
//! training split alone; the same numbers are used for validation, for the test and in serving. A [`Pipeline`] does what
//! each field asks for.
//!
//! An augmentation is one file here and one line in [`registry`].

mod blur;
mod color_jitter;
mod colour;
mod elastic;
#[cfg(test)]
mod golden;
mod image;
mod mix;
mod normalize;
mod pipeline;
mod rand_augment;
mod random_affine;
mod random_crop;
mod random_erasing;
mod random_flip;
mod random_perspective;
mod random_resized_crop;
mod random_rotation;
mod random_shift;

use std::fmt::Debug;
use std::sync::Arc;

use nerve_formats::spec::{Args, Item, Spec};

pub use blur::{GaussianBlur, GaussianNoise};
pub use color_jitter::{ColorJitter, RandomTone, Tone};
pub use elastic::ElasticTransform;
pub use image::{Fill, Image, Map};
pub use mix::{CutMix, Mix, MixEntry, Mixup, build_mix, mix_specs, mixes};
pub(crate) use normalize::Moments;
pub use normalize::{Normalization, NormalizationMethod, Normalizer};
pub use pipeline::{Draw, Pipeline};
pub use rand_augment::{RandAugment, TrivialAugment};
pub use random_affine::RandomAffine;
pub use random_crop::RandomCrop;
pub use random_erasing::RandomErasing;
pub use random_flip::RandomFlip;
pub use random_perspective::RandomPerspective;
pub use random_resized_crop::RandomResizedCrop;
pub use random_rotation::RandomRotation;
pub use random_shift::RandomShift;

use crate::random::Random;

/// A random change of one image, in place.
///
/// The random numbers of a call depend on (seed, epoch, sample, place in the pipeline) alone, so the result is the same
/// on every thread and after resuming.
pub trait Augment: Debug + Send + Sync {
    /// Changes the image, whose values go from 0 to 255. `random` is a fresh stream for this sample.
    fn apply(&self, image: &mut Image<'_>, random: &mut Random);

    /// Whether it moves pixels, so that a mask must follow its picture. Then it draws the same random numbers for both.
    fn moves(&self) -> bool {
        false
    }
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

/// One of the changes of colours.
macro_rules! tone {
    ($spec:ident, $args:ident => $tone:expr) => {
        Entry {
            spec: &color_jitter::$spec,
            build: |$args| Arc::new(RandomTone::from_args($args, $tone)),
        }
    };
}

static REGISTRY: [Entry; 23] = [
    Entry { spec: &color_jitter::JITTER, build: |args| Arc::new(ColorJitter::from_args(args)) },
    Entry { spec: &elastic::SPEC, build: |args| Arc::new(ElasticTransform::from_args(args)) },
    Entry { spec: &blur::BLUR, build: |args| Arc::new(GaussianBlur::from_args(args)) },
    Entry { spec: &blur::NOISE, build: |args| Arc::new(GaussianNoise::from_args(args)) },
    Entry { spec: &rand_augment::RAND, build: |args| Arc::new(RandAugment::from_args(args)) },
    Entry { spec: &random_affine::AFFINE, build: |args| Arc::new(RandomAffine::from_args(args)) },
    tone!(AUTO_CONTRAST, _args => Tone::AutoContrast),
    Entry { spec: &random_crop::SPEC, build: |args| Arc::new(RandomCrop::from_args(args)) },
    tone!(EQUALIZE, _args => Tone::Equalize),
    Entry { spec: &random_erasing::SPEC, build: |args| Arc::new(RandomErasing::from_args(args)) },
    Entry { spec: &random_flip::SPEC, build: |args| Arc::new(RandomFlip::from_args(args)) },
    tone!(GRAYSCALE, _args => Tone::Grayscale),
    tone!(INVERT, _args => Tone::Invert),
    Entry {
        spec: &random_perspective::SPEC,
        build: |args| Arc::new(RandomPerspective::from_args(args)),
    },
    tone!(POSTERIZE, args => Tone::Posterize(args.usize("bits") as u32)),
    Entry {
        spec: &random_resized_crop::SPEC,
        build: |args| Arc::new(RandomResizedCrop::from_args(args)),
    },
    Entry { spec: &random_rotation::SPEC, build: |args| Arc::new(RandomRotation::from_args(args)) },
    tone!(SHARPNESS, args => Tone::Sharpness(args.float("factor") as f32)),
    Entry {
        spec: &random_affine::SHEARED,
        build: |args| Arc::new(RandomAffine::shear_from_args(args)),
    },
    Entry { spec: &random_shift::SPEC, build: |args| Arc::new(RandomShift::from_args(args)) },
    tone!(SOLARIZE, args => Tone::Solarize(args.float("threshold") as f32)),
    Entry { spec: &rand_augment::TRIVIAL, build: |_| Arc::new(TrivialAugment) },
    Entry {
        spec: &random_affine::ZOOMED,
        build: |args| Arc::new(RandomAffine::zoom_from_args(args)),
    },
];

/// An even draw from a range.
fn between(random: &mut Random, [least, most]: [f32; 2]) -> f32 {
    random.between(least, most)
}

/// Makes the augmentations of a list of checked items, in their order.
///
/// # Panics
/// For an item that is not of the [`registry`].
#[track_caller]
pub fn build(items: &[Item]) -> Vec<Arc<dyn Augment>> {
    let one = |item: &Item| {
        let entry = registry().iter().find(|entry| entry.spec.name == item.name);
        (entry.expect("an augmentation of the registry").build)(&item.args)
    };
    items.iter().map(one).collect()
}

/// The descriptions of all augmentations, for the recipe.
pub fn specs() -> Vec<&'static Spec> {
    registry().iter().map(|entry| entry.spec).collect()
}

/// Carries out augmentations one after the other, each with random numbers of its own place in the list, so that a mask
/// that passes over some of them draws the same as its picture.
pub fn augment(list: &[Arc<dyn Augment>], image: &mut Image<'_>, mut random: Random) {
    let key = random.bits();
    for (place, augment) in list.iter().enumerate() {
        image.apply(&**augment, &mut Random::keyed(&[key, place as u64]));
    }
    image.settle();
}

#[cfg(test)]
mod tests {
    use nerve_formats::spec::{Param, Value, check};

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
        let mut image = Image::new(size, &mut pixels, &mut scratch);
        augment.apply(&mut image, &mut Random::keyed(&[key]));
        image.settle();
        pixels
    }

    #[test]
    fn every_entry_builds_with_its_defaults_and_depends_on_its_key_alone() {
        let pixels: Vec<f32> = (0..3 * 400).map(|i| (i * i % 231) as f32).collect();
        for entry in registry() {
            // Enough that something is seen of each.
            let strong = |param: &Param| match param.name {
                "brightness" | "shear" | "degrees" => Some(Value::Float(10.0)),
                "max" | "padding" => Some(Value::Int(3)),
                "probability" => Some(Value::Float(0.5)),
                _ => None,
            };
            let params = entry.spec.params.iter();
            let required: Vec<(String, Value)> =
                params.filter_map(|param| Some((param.name.to_string(), strong(param)?))).collect();
            let augment = (entry.build)(&check(entry.spec, &required).unwrap());
            let results: Vec<_> =
                (0..20).map(|key| applied(&*augment, [20, 20], &pixels, key)).collect();
            for (key, result) in results.iter().enumerate() {
                assert_eq!(result, &applied(&*augment, [20, 20], &pixels, key as u64));
                assert!(result.iter().all(|pixel| pixel.is_finite()));
            }
            let name = entry.spec.name;
            assert!(results.iter().any(|result| result != &results[0]), "{name} never varies");
            assert!(!entry.spec.doc.is_empty());
        }
    }

    /// An image that equals its mask still does after any change of its places.
    #[test]
    fn masks_move_with_their_images() {
        let classes: Vec<f32> = (0..400).map(|at| if at % 20 > 9 { 200.0 } else { 50.0 }).collect();
        for entry in registry() {
            let needs = |name| entry.spec.params.iter().any(|param| param.name == name);
            let given = ["max", "padding", "degrees"].iter().filter(|name| needs(**name));
            let given: Vec<_> = given.map(|name| (name.to_string(), Value::Int(4))).collect();
            let augment = (entry.build)(&check(entry.spec, &given).unwrap());
            let mut moved = 0;
            for key in 0..40 {
                let (mut image, mut mask) = (classes.clone(), classes.clone());
                let (mut a, mut b) = (Vec::new(), Vec::new());
                let list = [augment.clone()];
                let random = || Random::keyed(&[key]);
                let mut picture = Image::new([20, 20], &mut image, &mut a);
                super::augment(&list, &mut picture, random());
                super::augment(
                    &list,
                    &mut Image::labels([20, 20], &mut mask, 255.0, &mut b),
                    random(),
                );
                moved += usize::from(mask != classes);
                if !augment.moves() {
                    assert_eq!(mask, classes, "{}", entry.spec.name);
                    continue;
                }
                assert!(mask.iter().all(|class| [50.0, 200.0, 255.0].contains(class)));
                // The random choices change colours too.
                if entry.spec.name.contains("Augment") {
                    continue;
                }
                // Where the image is not blended, it is what the mask says.
                let sure = |at: &usize| [50.0, 200.0].iter().any(|class| image[*at] == *class);
                for at in (0..400).filter(sure).filter(|&at| mask[at] != 255.0) {
                    assert_eq!(image[at], mask[at], "{} at {at}, key {key}", entry.spec.name);
                }
            }
            assert_eq!(moved > 0, augment.moves(), "{}: {moved} of 40", entry.spec.name);
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
}
