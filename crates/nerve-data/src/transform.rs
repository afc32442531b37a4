//! What happens to a sample between the data set and the batch: augmentation, then normalisation.
//!
//! An [`Augment`] changes a picture at random, while training only. [`Normalization`] holds numbers computed from the
//! training split alone; the same numbers are used for validation, for the test and in serving. A [`Pipeline`] does what
//! each field asks for.
//!
//! An augmentation is one file here and one line in [`registry`].

mod image;
mod normalize;
mod pipeline;
mod random_crop;
mod random_flip;
mod random_rotation;
mod random_shift;

use std::fmt::Debug;
use std::sync::Arc;

use nerve_formats::spec::{Args, Item, Spec};

pub use image::{Fill, Image, Map};
pub(crate) use normalize::Moments;
pub use normalize::{Normalization, NormalizationMethod, Normalizer};
pub use pipeline::{Draw, Pipeline};
pub use random_crop::RandomCrop;
pub use random_flip::RandomFlip;
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

static REGISTRY: [Entry; 4] = [
    Entry { spec: &random_crop::SPEC, build: |args| Arc::new(RandomCrop::from_args(args)) },
    Entry { spec: &random_flip::SPEC, build: |args| Arc::new(RandomFlip::from_args(args)) },
    Entry { spec: &random_rotation::SPEC, build: |args| Arc::new(RandomRotation::from_args(args)) },
    Entry { spec: &random_shift::SPEC, build: |args| Arc::new(RandomShift::from_args(args)) },
];

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
        let mut image = Image::new(size, &mut pixels, &mut scratch);
        augment.apply(&mut image, &mut Random::keyed(&[key]));
        image.settle();
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
}
