//! Normalisation: values brought to a common scale, with numbers that come from the training split alone.

use crate::array::position;
use crate::dataset::for_each_sample;
use crate::{DataError, Dataset, Element, Field, Values};

/// How the scale is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormalizationMethod {
    /// Mean 0 and standard deviation 1 over the training split.
    ZScore,
    /// From 0 to 1 over the training split.
    MinMax,
    /// Bytes divided by 255; asks nothing of the data.
    Unit,
}

impl NormalizationMethod {
    /// The words of a recipe, in the order of the methods.
    pub const NAMES: &'static [&'static str] = &["zscore", "minmax", "unit"];

    /// The word of a recipe.
    pub fn name(self) -> &'static str {
        match self {
            NormalizationMethod::ZScore => "zscore",
            NormalizationMethod::MinMax => "minmax",
            NormalizationMethod::Unit => "unit",
        }
    }

    /// The method of this name.
    pub fn from_name(name: &str) -> Option<NormalizationMethod> {
        use NormalizationMethod::{MinMax, Unit, ZScore};
        [ZScore, MinMax, Unit].into_iter().find(|method| method.name() == name)
    }
}

/// A normalisation as plain numbers: `(x - subtract) / divide`, with x as it is stored (0 to 255 for bytes).
///
/// This is what a saved model keeps, so that prediction repeats what training did.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalization {
    /// What is subtracted: one number for all, or one for each channel.
    pub subtract: Vec<f64>,
    /// What is divided by: as many numbers, none of them 0.
    pub divide: Vec<f64>,
}

impl Normalization {
    /// Computes the numbers from a data set: the *training split*, never the whole data, or the validation and the test
    /// would no longer be of data unseen.
    ///
    /// With `per_channel` there is a number for each entry of the first axis of a sample (the channels of an image, the
    /// columns of a table), else one for all values. Where all values are the same, `divide` is 1: the result is 0. The
    /// standard deviation is that of the population (divided by n).
    ///
    /// # Errors
    /// [`DataError::UnknownField`], [`DataError::NotFinite`] with its row, [`DataError::Field`] for labels or for
    /// [`NormalizationMethod::Unit`] of a field that does not hold bytes, or an error of the data set.
    pub fn fit(
        method: NormalizationMethod,
        per_channel: bool,
        training: &dyn Dataset,
        field: &str,
    ) -> Result<Normalization, DataError> {
        let at = position(training.fields(), field)?;
        let description = training.fields()[at].clone();
        let bytes = description.element == Element::U8;
        if description.element == Element::I32 || (method == NormalizationMethod::Unit && !bytes) {
            let expected = if bytes { "f32 or u8 values" } else { "u8 values" };
            return Err(misfit(&description, expected.into(), description.describe()));
        }
        let parts = if per_channel { description.channels() } else { 1 };
        if method == NormalizationMethod::Unit {
            return Ok(Normalization { subtract: vec![0.0; parts], divide: vec![255.0; parts] });
        }
        let moments = measure(training, at, parts)?;
        let numbers = moments.iter().map(|part| part.scale(method));
        let (subtract, divide) = numbers.unzip();
        Ok(Normalization { subtract, divide })
    }
}

fn misfit(field: &Field, expected: String, found: String) -> DataError {
    DataError::Field { field: field.name.clone(), expected, found }
}

/// Statistics of each of `parts` equal parts of the samples of a field.
fn measure(dataset: &dyn Dataset, at: usize, parts: usize) -> Result<Vec<Moments>, DataError> {
    let mut moments = vec![Moments::default(); parts];
    let name = &dataset.fields()[at].name;
    for_each_sample(dataset, |row, sample| {
        match sample[at].values() {
            Values::U8(values) => {
                for (part, values) in
                    moments.iter_mut().zip(values.chunks_exact(values.len() / parts))
                {
                    part.add_bytes(values);
                }
            }
            Values::F32(values) => {
                if let Some(&value) = values.iter().find(|value| !value.is_finite()) {
                    return Err(DataError::NotFinite { field: name.clone(), row, value });
                }
                for (part, values) in
                    moments.iter_mut().zip(values.chunks_exact(values.len() / parts))
                {
                    part.add_floats(values);
                }
            }
            Values::I32(_) => unreachable!("labels were refused"),
        }
        Ok(())
    })?;
    Ok(moments)
}

/// Count, mean, spread and ends of some numbers.
#[derive(Clone, Debug)]
pub(crate) struct Moments {
    count: u64,
    mean: f64,
    /// Sum of the squared distances from the mean.
    squares: f64,
    /// Exact sums, for bytes.
    byte_sum: u64,
    byte_squares: u64,
    min: f32,
    max: f32,
}

impl Default for Moments {
    fn default() -> Moments {
        Moments {
            count: 0,
            mean: 0.0,
            squares: 0.0,
            byte_sum: 0,
            byte_squares: 0,
            min: f32::INFINITY,
            max: f32::NEG_INFINITY,
        }
    }
}

impl Moments {
    /// Adds the values of bytes, exactly.
    pub(crate) fn add_bytes(&mut self, values: &[u8]) {
        self.count += values.len() as u64;
        let (mut min, mut max) = (u8::MAX, u8::MIN);
        // 65,536 squares of a byte still fit 32 bits, in which the loop is vectorised.
        for chunk in values.chunks(1 << 16) {
            let (mut sum, mut squares) = (0u32, 0u32);
            for &value in chunk {
                let wide = u32::from(value);
                sum += wide;
                squares += wide * wide;
                min = min.min(value);
                max = max.max(value);
            }
            self.byte_sum += u64::from(sum);
            self.byte_squares += u64::from(squares);
        }
        self.min = self.min.min(min.into());
        self.max = self.max.max(max.into());
    }

    /// Merges the moments of some numbers into those so far (Chan, Golub and LeVeque, "Updating formulae and a pairwise
    /// algorithm for computing sample variances", 1979): no cancellation, however far the mean is from 0.
    fn add_floats(&mut self, values: &[f32]) {
        let added = values.len() as f64;
        let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / added;
        let squares: f64 = values.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum();
        let total = self.count as f64 + added;
        let distance = mean - self.mean;
        self.squares += squares + distance * distance * (self.count as f64 * added / total);
        self.mean += distance * (added / total);
        self.count += values.len() as u64;
        for &value in values {
            self.min = self.min.min(value);
            self.max = self.max.max(value);
        }
    }

    fn mean_and_deviation(&self) -> (f64, f64) {
        let n = self.count as f64;
        if self.byte_squares == 0 {
            return (self.mean, (self.squares / n).sqrt());
        }
        let (n, sum, squares) =
            (u128::from(self.count), u128::from(self.byte_sum), u128::from(self.byte_squares));
        let spread = (n * squares - sum * sum) as f64;
        (self.byte_sum as f64 / n as f64, spread.sqrt() / n as f64)
    }

    /// The mean.
    pub(crate) fn mean(&self) -> f64 {
        self.mean_and_deviation().0
    }

    /// What to subtract and what to divide by.
    pub(crate) fn scale(&self, method: NormalizationMethod) -> (f64, f64) {
        let (subtract, divide) = match method {
            NormalizationMethod::ZScore => self.mean_and_deviation(),
            NormalizationMethod::MinMax => {
                (self.min.into(), f64::from(self.max) - f64::from(self.min))
            }
            NormalizationMethod::Unit => (0.0, 255.0),
        };
        (subtract, if divide > 0.0 { divide } else { 1.0 })
    }
}

/// A [`Normalization`] made ready for the samples of one field.
#[derive(Clone, Debug)]
pub struct Normalizer {
    channels: usize,
    subtract: Vec<f64>,
    factor: Vec<f64>,
    /// The result for each byte, of each part; empty where computing it is less work.
    tables: Vec<[f32; 256]>,
}

impl Normalizer {
    /// Checks that the numbers fit the field, and prepares tables if it holds bytes.
    ///
    /// # Errors
    /// [`DataError::Field`] when the field holds labels, when there are neither one number nor one a channel, or when a
    /// number is not finite or a divisor is 0: such may stand in a damaged model file.
    pub fn new(normalization: &Normalization, field: &Field) -> Result<Normalizer, DataError> {
        let Normalization { subtract, divide } = normalization;
        if field.element == Element::I32 {
            return Err(misfit(field, "f32 or u8 values to normalise".into(), field.describe()));
        }
        let channels = field.channels();
        let counts = [subtract.len(), divide.len()];
        if counts != [1, 1] && counts != [channels, channels] {
            return Err(misfit(
                field,
                format!("1 or {channels} numbers to normalise with"),
                format!("{} to subtract and {} to divide by", counts[0], counts[1]),
            ));
        }
        let factor: Vec<f64> = divide.iter().map(|divide| 1.0 / divide).collect();
        let numbers = || subtract.iter().chain(divide).chain(&factor);
        if let Some(bad) = numbers().find(|number| !number.is_finite()) {
            return Err(misfit(
                field,
                "finite numbers to normalise with, and no 0 to divide by".into(),
                bad.to_string(),
            ));
        }
        let mut normalizer =
            Normalizer { channels, subtract: subtract.clone(), factor, tables: vec![] };
        let plane = field.values_per_sample() / channels.max(1);
        if field.element == Element::U8 && (subtract.len() == 1 || plane >= 64) {
            normalizer.tables = (0..subtract.len())
                .map(|part| std::array::from_fn(|byte| normalizer.value(part, byte as f32)))
                .collect();
        }
        Ok(normalizer)
    }

    /// One value. Computed in f64 for bytes and floats alike, so that both give the same bits.
    #[inline]
    fn value(&self, part: usize, x: f32) -> f32 {
        ((f64::from(x) - self.subtract[part]) * self.factor[part]) as f32
    }

    /// Normalises one sample of bytes.
    ///
    /// # Panics
    /// When the lengths differ.
    #[track_caller]
    pub fn apply_u8(&self, sample: &[u8], out: &mut [f32]) {
        assert_eq!(sample.len(), out.len(), "values to normalise, and room for them");
        for (part, sample, out) in self.parts(sample, out) {
            match self.tables.get(part) {
                Some(table) => {
                    for (out, &byte) in out.iter_mut().zip(sample) {
                        *out = table[usize::from(byte)];
                    }
                }
                None => {
                    for (out, &byte) in out.iter_mut().zip(sample) {
                        *out = self.value(part, byte.into());
                    }
                }
            }
        }
    }

    /// Normalises one sample of floating-point values in place.
    pub fn apply(&self, sample: &mut [f32]) {
        let count = self.subtract.len();
        let len = (sample.len() / if count == 1 { 1 } else { self.channels }).max(1);
        for (part, sample) in sample.chunks_exact_mut(len).enumerate() {
            sample.iter_mut().for_each(|x| *x = self.value(part % count, *x));
        }
    }

    /// The stretches of a sample that share their numbers.
    fn parts<'a, T>(
        &self,
        sample: &'a [T],
        out: &'a mut [f32],
    ) -> impl Iterator<Item = (usize, &'a [T], &'a mut [f32])> {
        let count = self.subtract.len();
        let len = (sample.len() / if count == 1 { 1 } else { self.channels }).max(1);
        sample
            .chunks_exact(len)
            .zip(out.chunks_exact_mut(len))
            .enumerate()
            .map(move |(part, (sample, out))| (part % count, sample, out))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::NormalizationMethod::{MinMax, Unit, ZScore};
    use super::*;
    use crate::{Arrays, Subset};

    fn dataset(shape: &[usize], values: Values) -> Arrays {
        Arrays::new(vec![(Field::new("x", shape, values.element()), values)]).unwrap()
    }

    fn fit(method: NormalizationMethod, per_channel: bool, data: &Arrays) -> Normalization {
        Normalization::fit(method, per_channel, data, "x").unwrap()
    }

    #[test]
    fn zscore_of_bytes_over_all_and_per_channel() {
        let images = dataset(&[2, 1, 2], vec![0u8, 4, 10, 10, 8, 4, 10, 10].into());
        let all = fit(ZScore, false, &images);
        assert_eq!(all.subtract, [7.0]);
        assert_eq!(all.divide, [13.0f64.sqrt()]);
        let each = fit(ZScore, true, &images);
        assert_eq!(each.subtract, [4.0, 10.0]);
        assert_eq!(each.divide, [8.0f64.sqrt(), 1.0], "a constant channel is divided by 1");
    }

    #[test]
    fn zscore_of_floats_far_from_zero() {
        let values: Vec<f32> = (0..1000).map(|i| 1e6 + (i % 2) as f32).collect();
        let table = fit(ZScore, true, &dataset(&[1], values.into()));
        assert!((table.subtract[0] - 1_000_000.5).abs() < 1e-6);
        assert!((table.divide[0] - 0.5).abs() < 1e-9, "{}", table.divide[0]);
    }

    #[test]
    fn minmax_and_unit() {
        let table = dataset(&[2], vec![1.0f32, 5.0, 3.0, 5.0].into());
        assert_eq!(
            fit(MinMax, true, &table),
            Normalization { subtract: vec![1.0, 5.0], divide: vec![2.0, 1.0] }
        );
        let images = dataset(&[1, 1, 2], vec![3u8, 9].into());
        assert_eq!(
            fit(Unit, true, &images),
            Normalization { subtract: vec![0.0], divide: vec![255.0] }
        );
        let blank = dataset(&[1, 1, 2], vec![0u8, 0].into());
        assert_eq!(fit(ZScore, false, &blank).divide, [1.0]);
    }

    #[test]
    fn only_the_training_split_is_looked_at() {
        let data = dataset(&[1], vec![1.0f32, 1000.0, 3.0, f32::NAN].into());
        let training = Subset::new(data.clone(), vec![0, 2]).unwrap();
        let numbers = Normalization::fit(ZScore, false, &training, "x").unwrap();
        assert_eq!((numbers.subtract[0], numbers.divide[0]), (2.0, 1.0));
        assert_eq!(
            Normalization::fit(ZScore, false, &data, "x").unwrap_err().to_string(),
            "field `x`: row 3 has the value NaN, expected a finite number"
        );
    }

    #[test]
    fn labels_and_numbers_that_do_not_fit_are_refused() {
        let labels = dataset(&[], vec![1i32, 2].into());
        assert!(Normalization::fit(ZScore, false, &labels, "x").is_err());
        let floats = dataset(&[], vec![1f32, 2.0].into());
        assert_eq!(
            Normalization::fit(Unit, false, &floats, "x").unwrap_err().to_string(),
            "field `x`: expected u8 values, found f32 []"
        );
        let field = Field::new("x", &[3, 4, 4], Element::U8);
        let new = |subtract: &[f64], divide: &[f64]| {
            let numbers = Normalization { subtract: subtract.into(), divide: divide.into() };
            Normalizer::new(&numbers, &field)
        };
        assert!(new(&[0.0; 3], &[1.0; 3]).is_ok());
        assert_eq!(
            new(&[0.0; 2], &[1.0; 2]).unwrap_err().to_string(),
            "field `x`: expected 1 or 3 numbers to normalise with, found 2 to subtract and 2 to divide by"
        );
        for (subtract, divide) in [(f64::NAN, 1.0), (0.0, 0.0), (0.0, f64::INFINITY), (0.0, 1e-310)]
        {
            assert!(new(&[subtract], &[divide]).is_err(), "{subtract} {divide}");
        }
    }

    #[test]
    fn methods_have_names() {
        for &name in NormalizationMethod::NAMES {
            assert_eq!(NormalizationMethod::from_name(name).unwrap().name(), name);
        }
        assert_eq!(NormalizationMethod::from_name("zcore"), None);
    }

    proptest! {
        /// Bytes by table, bytes by formula and the same values as floats give the same bits.
        #[test]
        fn bytes_and_floats_agree(
            channels in 1usize..4,
            plane in 1usize..100,
            per_channel: bool,
            seed: u64,
        ) {
            let mut random = crate::Random::new(seed);
            let bytes: Vec<u8> = (0..channels * plane).map(|_| random.bits() as u8).collect();
            let floats: Vec<f32> = bytes.iter().map(|&byte| byte.into()).collect();
            let shape = [channels, plane];
            let parts = if per_channel { channels } else { 1 };
            let numbers = Normalization {
                subtract: (0..parts).map(|_| random.between(0.0, 255.0).into()).collect(),
                divide: (0..parts).map(|_| random.between(0.5, 300.0).into()).collect(),
            };
            let by_byte = Normalizer::new(&numbers, &Field::new("x", &shape, Element::U8)).unwrap();
            let by_float = Normalizer::new(&numbers, &Field::new("x", &shape, Element::F32)).unwrap();
            let (mut a, mut b) = (vec![0.0; bytes.len()], vec![0.0; bytes.len()]);
            by_byte.apply_u8(&bytes, &mut a);
            b.copy_from_slice(&floats);
            by_float.apply(&mut b);
            prop_assert_eq!(&a, &b);
            for (at, (&x, &y)) in floats.iter().zip(&a).enumerate() {
                let part = if per_channel { at / plane } else { 0 };
                let exact = (f64::from(x) - numbers.subtract[part]) / numbers.divide[part];
                prop_assert!((f64::from(y) - exact).abs() <= 1e-6 * exact.abs().max(1e-3));
            }
        }
    }
}
