//! The pipeline: what is done to each field, in order.

use std::sync::Arc;

use super::mix::blend_rows;
use super::{Augment, Image, Mix, Normalization, Normalizer, augment};
use crate::array::position;
use crate::features::{Feature, Room};
use crate::random::Random;
use crate::table::augment::{Column, Disturbance};
use crate::{Array, DataError, Element, Field, Row, Values};

/// What the random numbers of a sample are keyed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// The seed of the run.
    pub seed: u64,
    /// The epoch, from 0.
    pub epoch: u64,
    /// The sample's index in the data set, or its place in the stream.
    pub index: u64,
}

/// Normalisation and augmentation of the fields of a data set.
///
/// A field that is normalised or augmented comes out as `f32`, in the same shape; the others come out as they are.
///
/// ```
/// use nerve_data::transform::{Normalization, Pipeline, RandomShift};
/// use nerve_data::{Element, Field};
/// use std::sync::Arc;
///
/// let fields =
///     [Field::new("image", &[1, 28, 28], Element::U8), Field::new("label", &[], Element::I32)];
/// let numbers = Normalization { subtract: vec![33.3], divide: vec![78.6] };
/// let serving = Pipeline::new(&fields).normalize("image", &numbers)?;
/// let training = serving.clone().augment("image", Arc::new(RandomShift { max: [2, 2] }))?;
/// assert_eq!(training.output_fields()[0].element, Element::F32);
/// # Ok::<(), nerve_data::DataError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Pipeline {
    input: Vec<Field>,
    output: Vec<Field>,
    steps: Vec<Step>,
    disturbed: Vec<Disturbed>,
    mixing: Option<Mixing>,
}

/// A column whose values are disturbed within a batch.
#[derive(Clone, Copy, Debug)]
struct Disturbed {
    field: usize,
    /// The first of its values in the field, and how many they are.
    from: usize,
    width: usize,
    by: Disturbance,
}

/// Examples of a batch are mixed.
#[derive(Clone, Debug)]
struct Mixing {
    mix: Arc<dyn Mix>,
    /// The fields of pictures and of classes.
    picture: usize,
    class: usize,
    size: [usize; 2],
}

/// What is done to one field.
#[derive(Clone, Debug, Default)]
struct Step {
    normalizer: Option<Normalizer>,
    augment: Vec<Arc<dyn Augment>>,
    /// Height and width, if augmented.
    size: [usize; 2],
    /// What the field is, if it delivers something else than is stored.
    feature: Option<Delivered>,
}

/// A feature that has a part in what the network sees.
#[derive(Clone, Debug)]
struct Delivered {
    feature: Arc<dyn Feature>,
    /// Whether samples are augmented.
    training: bool,
    /// Fields with the same key draw the same random numbers: a mask moves with its image.
    key: u64,
}

impl Pipeline {
    /// A pipeline that leaves the samples as they are.
    pub fn new(fields: &[Field]) -> Pipeline {
        Pipeline {
            input: fields.to_vec(),
            output: fields.to_vec(),
            steps: vec![Step::default(); fields.len()],
            disturbed: Vec::new(),
            mixing: None,
        }
    }

    /// The fields that go in.
    pub fn input_fields(&self) -> &[Field] {
        &self.input
    }

    /// The fields that come out.
    pub fn output_fields(&self) -> &[Field] {
        &self.output
    }

    /// True when nothing is done.
    pub fn is_identity(&self) -> bool {
        let plain = |step: &Step| step.normalizer.is_none() && step.feature.is_none();
        self.mixing.is_none() && self.steps.iter().all(plain)
    }

    /// Mixes the examples of each batch, after all else. The field of classes, `i32 []` from 0, comes out as
    /// `f32 [classes]`: how much of each there is, which the cross-entropy takes for a target.
    ///
    /// # Errors
    /// [`DataError::UnknownField`]; [`DataError::Field`] when `picture` does not come out as `f32 [c, h, w]` or `[h, w]`,
    /// or `class` is no class.
    pub fn mix(
        mut self,
        picture: &str,
        class: &str,
        classes: usize,
        mix: Arc<dyn Mix>,
    ) -> Result<Pipeline, DataError> {
        let [at, class_at] = [position(&self.input, picture)?, position(&self.input, class)?];
        let misfit = |field: &Field, expected: &str| DataError::Field {
            field: field.name.clone(),
            expected: expected.into(),
            found: field.describe(),
        };
        let field = &self.output[at];
        let size = match (field.element, &field.shape[..]) {
            (Element::F32, &[height, width] | &[_, height, width]) => [height, width],
            _ => return Err(misfit(field, "pictures that are delivered as f32 [c, h, w] to mix")),
        };
        let field = &self.output[class_at];
        if field.element != Element::I32 || field.values_per_sample() != 1 || classes == 0 {
            return Err(misfit(field, "one class a sample to mix"));
        }
        self.output[class_at] = Field::new(class, &[classes], Element::F32);
        self.mixing = Some(Mixing { mix, picture: at, class: class_at, size });
        Ok(self)
    }

    /// Normalises a field with these numbers. Augmentation comes before it, whatever the order of the calls.
    ///
    /// # Errors
    /// Those of [`Normalizer::new`], [`DataError::UnknownField`].
    pub fn normalize(
        mut self,
        field: &str,
        numbers: &Normalization,
    ) -> Result<Pipeline, DataError> {
        let at = position(&self.input, field)?;
        self.steps[at].normalizer = Some(Normalizer::new(numbers, &self.input[at])?);
        self.output[at].element = Element::F32;
        Ok(self)
    }

    /// Adds an augmentation of a field that holds images `[channels, height, width]` or `[height, width]`.
    ///
    /// # Errors
    /// [`DataError::Field`] for a field of another rank or of labels, [`DataError::UnknownField`].
    pub fn augment(
        mut self,
        field: &str,
        augment: Arc<dyn Augment>,
    ) -> Result<Pipeline, DataError> {
        let at = position(&self.input, field)?;
        let description = &self.input[at];
        let ([height, width] | [_, height, width]) = description.shape[..] else {
            return Err(DataError::Field {
                field: field.into(),
                expected: "images [channels, height, width] to augment".into(),
                found: description.describe(),
            });
        };
        if self.steps[at].normalizer.is_none() {
            let as_stored = Normalization { subtract: vec![0.0], divide: vec![1.0] };
            self = self.normalize(field, &as_stored)?;
        }
        self.steps[at].size = [height, width];
        self.steps[at].augment.push(augment);
        Ok(self)
    }

    /// Hands a field over to its feature, which knows how it is normalised and, in `training`, augmented. Fields with the
    /// same `key` draw the same random numbers.
    ///
    /// # Errors
    /// [`DataError::UnknownField`]; [`DataError::Field`] for a field that is not as the feature stores it.
    pub fn deliver(
        mut self,
        field: &str,
        feature: Arc<dyn Feature>,
        training: bool,
        key: u64,
    ) -> Result<Pipeline, DataError> {
        let at = position(&self.input, field)?;
        let (shape, element) = feature.stored();
        let stored = Field::new(field, &shape, element);
        if stored != self.input[at] {
            return Err(DataError::Field {
                field: field.into(),
                expected: stored.describe(),
                found: self.input[at].describe(),
            });
        }
        if feature.delivers() {
            let (shape, element) = feature.delivered();
            self.output[at] = Field::new(field, &shape, element);
            self.steps[at].feature = Some(Delivered { feature, training, key });
        }
        Ok(self)
    }

    /// Disturbs the values of a column in each batch: `width` values of the field from `from` on.
    ///
    /// # Errors
    /// [`DataError::UnknownField`]; [`DataError::Field`] for a field that is too short, or comes out as bytes.
    pub fn disturb(
        mut self,
        field: &str,
        from: usize,
        width: usize,
        by: Disturbance,
    ) -> Result<Pipeline, DataError> {
        let at = position(&self.input, field)?;
        let out = &self.output[at];
        let inside = from.checked_add(width).is_some_and(|end| end <= out.values_per_sample());
        if width == 0 || !inside || out.element == Element::U8 {
            return Err(DataError::Field {
                field: field.into(),
                expected: format!("numbers or names up to the {}th to disturb", from + width),
                found: out.describe(),
            });
        }
        if !by.is_none() {
            self.disturbed.push(Disturbed { field: at, from, width, by });
        }
        Ok(self)
    }

    /// The same without augmentation: for validation, the test and serving.
    pub fn without_augmentation(&self) -> Pipeline {
        let mut pipeline = self.clone();
        pipeline.disturbed.clear();
        for step in &mut pipeline.steps {
            step.augment.clear();
            step.feature.iter_mut().for_each(|feature| feature.training = false);
        }
        if let Some(Mixing { class, .. }) = pipeline.mixing.take() {
            pipeline.output[class] = pipeline.input[class].clone();
        }
        pipeline
    }

    /// Turns a sample, as arrays of one row, into a row of a batch. `room` is used again and again.
    ///
    /// # Panics
    /// When the arrays are not those of the pipeline's fields.
    #[track_caller]
    pub fn apply(&self, draw: Draw, sample: &[Array], row: &mut Row<'_>, room: &mut Room) {
        for (field, step) in self.steps.iter().enumerate() {
            let values = sample[field].values();
            if self.mixing.as_ref().is_some_and(|mixing| mixing.class == field) {
                let Values::I32(class) = values else { unreachable!("classes were checked") };
                let out = row.f32(field);
                out.fill(0.0);
                // A class that is none counts for nothing.
                let class = usize::try_from(class[0]).ok().and_then(|class| out.get_mut(class));
                class.into_iter().for_each(|share| *share = 1.0);
                continue;
            }
            if let Some(Delivered { feature, training, key }) = &step.feature {
                let Draw { seed, epoch, index } = draw;
                let random = training.then(|| Random::keyed(&[seed, epoch, index, *key]));
                feature.deliver(values, row.slice(field), random, room);
                continue;
            }
            let Some(normalizer) = &step.normalizer else {
                row.copy_from(field, values, 0);
                continue;
            };
            let out = row.f32(field);
            match values {
                Values::U8(values) if step.augment.is_empty() => normalizer.apply_u8(values, out),
                Values::U8(values) => {
                    out.iter_mut().zip(values).for_each(|(out, &byte)| *out = byte.into());
                }
                Values::F32(values) => out.copy_from_slice(values),
                Values::I32(_) => unreachable!("labels have no normaliser"),
            }
            if !step.augment.is_empty() {
                let Draw { seed, epoch, index } = draw;
                let mut image = Image::new(step.size, out, &mut room.f32);
                let random = Random::keyed(&[seed, epoch, index, field as u64]);
                augment(&step.augment, &mut image, random);
            }
            if !step.augment.is_empty() || matches!(values, Values::F32(_)) {
                normalizer.apply(out);
            }
        }
    }
}

impl Pipeline {
    /// Disturbs and mixes the examples of a batch, if they are to be. `draw.index` is the place of the batch in the epoch.
    pub(crate) fn finish(&self, draw: Draw, arrays: &mut [Array], rows: usize) {
        for (number, &Disturbed { field, from, width, by }) in self.disturbed.iter().enumerate() {
            let Draw { seed, epoch, index } = draw;
            let random =
                |row| Random::keyed(&[DISTURB, seed, epoch, index + row as u64, number as u64]);
            let layout = [self.output[field].values_per_sample(), from, width];
            let mut whole = arrays[field].slice();
            let column = match self.output[field].element {
                Element::I32 => Column::Names(whole.i32()),
                _ => Column::Numbers(whole.f32()),
            };
            by.apply(column, rows, layout, random);
        }
        let Some(Mixing { mix, picture, class, size }) = &self.mixing else { return };
        let Draw { seed, epoch, index } = draw;
        let mut random = Random::keyed(&[MIX, seed, epoch, index]);
        let mut all = |field: usize, f: &mut dyn FnMut(&mut [f32])| {
            let mut whole = arrays[field].slice();
            f(whole.f32());
        };
        let mut share = 1.0;
        all(*picture, &mut |values| share = mix.mix(values, rows, *size, &mut random));
        all(*class, &mut |values| blend_rows(values, rows, share));
    }
}

/// Keys the draws of disturbances apart from those of samples.
const DISTURB: u64 = 0x4E4F_4953_4500;

/// Keys the draws of mixing apart from those of samples.
const MIX: u64 = 0x4D49_5800;

#[cfg(test)]
mod tests {
    use super::super::{Fill, RandomCrop, RandomFlip, RandomShift};
    use super::*;

    fn fields() -> Vec<Field> {
        vec![Field::new("image", &[2, 3, 3], Element::U8), Field::new("label", &[], Element::I32)]
    }

    fn sample() -> Vec<Array> {
        let mut arrays: Vec<Array> = fields().iter().map(|field| Array::zeros(field, 1)).collect();
        let mut row = Row::new(&mut arrays, 0);
        row.u8(0).iter_mut().enumerate().for_each(|(i, pixel)| *pixel = 10 * i as u8);
        row.i32(1)[0] = 7;
        arrays
    }

    fn applied(pipeline: &Pipeline, epoch: u64) -> Vec<Array> {
        let mut out: Vec<Array> =
            pipeline.output_fields().iter().map(|field| Array::zeros(field, 1)).collect();
        let draw = Draw { seed: 1, epoch, index: 5 };
        pipeline.apply(draw, &sample(), &mut Row::new(&mut out, 0), &mut Room::default());
        out
    }

    fn numbers() -> Normalization {
        Normalization { subtract: vec![10.0, 0.0], divide: vec![10.0, 1.0] }
    }

    #[test]
    fn the_identity_copies() {
        let pipeline = Pipeline::new(&fields());
        assert!(pipeline.is_identity());
        assert_eq!(applied(&pipeline, 0), sample());
    }

    #[test]
    fn normalisation_is_per_channel_and_leaves_the_label() {
        let pipeline = Pipeline::new(&fields()).normalize("image", &numbers()).unwrap();
        let out = applied(&pipeline, 0);
        assert_eq!(out[0].f32()[..3], [-1.0, 0.0, 1.0]);
        assert_eq!(out[0].f32()[9..12], [90.0, 100.0, 110.0]);
        assert_eq!(out[1].i32(), [7]);
    }

    #[test]
    fn what_comes_in_by_a_shift_is_a_normalised_zero() {
        let shift = Arc::new(RandomShift { max: [3, 0] });
        let pipeline = Pipeline::new(&fields())
            .normalize("image", &numbers())
            .unwrap()
            .augment("image", shift)
            .unwrap();
        let all_out =
            (0..100).map(|epoch| applied(&pipeline, epoch)[0].f32().to_vec()).find(|image| {
                image[..9].iter().all(|&pixel| pixel == -1.0)
                    && image[9..].iter().all(|&pixel| pixel == 0.0)
            });
        assert!(all_out.is_some(), "no shift by 3 of 3 rows in 100 epochs");
    }

    #[test]
    fn each_epoch_and_each_place_draws_anew() {
        let flip = || Arc::new(RandomFlip { horizontal: 0.5, vertical: 0.0 });
        let twice = Pipeline::new(&fields()).augment("image", flip()).unwrap();
        let twice = twice.augment("image", flip()).unwrap();
        let plain = applied(&twice.without_augmentation(), 0);
        assert_eq!(plain[0].f32()[..3], [0.0, 10.0, 20.0]);
        let same = (0..100).filter(|&epoch| applied(&twice, epoch) == plain).count();
        // The two flips undo each other in half of the epochs, if they are independent.
        assert!((30..70).contains(&same), "{same} of 100");
        assert_eq!(applied(&twice, 3), applied(&twice, 3));
    }

    #[test]
    fn a_batch_is_mixed_with_its_classes() {
        use super::super::Mixup;

        let plain = Pipeline::new(&fields()).normalize("image", &numbers()).unwrap();
        let mixup = || Arc::new(Mixup { alpha: 1.0 });
        let pipeline = plain.clone().mix("image", "label", 9, mixup()).unwrap();
        assert!(plain.clone().mix("label", "label", 9, mixup()).is_err());
        assert!(plain.clone().mix("image", "image", 9, mixup()).is_err());
        let fields = pipeline.output_fields();
        assert_eq!((&fields[1].shape[..], fields[1].element), (&[9][..], Element::F32));
        assert_eq!(applied(&pipeline, 0)[1].f32(), [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
        let batch = |epoch| {
            let mut arrays: Vec<Array> =
                fields.iter().map(|field| Array::zeros(field, 2)).collect();
            arrays[0].slice().f32()[..18].fill(1.0);
            arrays[1].slice().f32()[3] = 1.0;
            arrays[1].slice().f32()[9 + 4] = 1.0;
            pipeline.finish(Draw { seed: 1, epoch, index: 0 }, &mut arrays, 2);
            arrays
        };
        let arrays = batch(0);
        let share = arrays[1].f32()[3];
        assert!(share > 0.0 && share < 1.0);
        assert!((share + arrays[1].f32()[4] - 1.0).abs() < 1e-6);
        assert!(arrays[0].f32()[..18].iter().all(|&value| value == share));
        assert_eq!(arrays, batch(0));
        assert_ne!(arrays, batch(1));
        assert_eq!(pipeline.without_augmentation().output_fields(), plain.output_fields());
    }

    #[test]
    fn a_column_is_disturbed_in_its_batch_by_its_key_alone() {
        let fields = [Field::new("n", &[2], Element::F32), Field::new("k", &[], Element::I32)];
        let by = Disturbance { noise: 1.0, swap: 0.5 };
        let plain = Pipeline::new(&fields);
        let pipeline =
            plain.clone().disturb("n", 1, 1, by).unwrap().disturb("k", 0, 1, by).unwrap();
        let batch = |pipeline: &Pipeline, epoch| {
            let mut arrays: Vec<Array> =
                fields.iter().map(|field| Array::zeros(field, 64)).collect();
            arrays[1].slice().i32().iter_mut().zip(0..).for_each(|(name, i)| *name = i);
            pipeline.finish(Draw { seed: 1, epoch, index: 128 }, &mut arrays, 64);
            arrays
        };
        let first = batch(&pipeline, 0);
        assert!(first[0].f32().iter().step_by(2).all(|&x| x == 0.0));
        assert!(first[0].f32().iter().skip(1).step_by(2).all(|&x| x != 0.0));
        assert_ne!(first[1].i32(), batch(&plain, 0)[1].i32());
        assert_eq!(first, batch(&pipeline, 0));
        assert_ne!(first, batch(&pipeline, 1));
        assert_eq!(batch(&pipeline.without_augmentation(), 0), batch(&plain, 0));
        assert!(plain.clone().disturb("n", 1, 2, by).is_err());
        assert!(plain.disturb("x", 0, 1, by).is_err());
    }

    #[test]
    fn only_images_are_augmented() {
        let crop = Arc::new(RandomCrop { padding: 1, fill: Fill::Edge });
        assert_eq!(
            Pipeline::new(&fields()).augment("label", crop.clone()).unwrap_err().to_string(),
            "field `label`: expected images [channels, height, width] to augment, found i32 []"
        );
        let masks = [Field::new("mask", &[3, 3], Element::I32)];
        assert!(Pipeline::new(&masks).augment("mask", crop.clone()).is_err());
        assert!(Pipeline::new(&masks).augment("image", crop).is_err());
    }
}
