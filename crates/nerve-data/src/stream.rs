//! Data sets without random access: samples that come one after the other, as many as there are.

use std::sync::Arc;

use crate::random::Random;
use crate::{Array, DataError, Dataset, Field, Row, Values};

/// Samples that come one after the other, once an epoch; how many need not be known beforehand.
///
/// Opened twice for the same epoch, it gives the same samples in the same order: resuming in the middle of an epoch
/// depends on it.
pub trait Stream: Send + Sync {
    /// The fields of each sample.
    fn fields(&self) -> &[Field];

    /// How many samples an epoch has, where somebody has counted them.
    fn count(&self) -> Option<u64> {
        None
    }

    /// Begins an epoch.
    ///
    /// # Errors
    /// When the source cannot be opened.
    fn open(&self, epoch: u64) -> Result<Box<dyn Samples>, DataError>;
}

/// One epoch of a [`Stream`].
pub trait Samples: Send {
    /// Writes the next sample into a row that has an array for each field, in their order. False at the end, with the
    /// row left as it was.
    ///
    /// # Errors
    /// When the source fails.
    fn read(&mut self, row: &mut Row<'_>) -> Result<bool, DataError>;
}

/// One sample of an [`IterStream`]: the values of each field, in order.
pub type Sample = Vec<Values>;

type OpenIter =
    dyn Fn(u64) -> Box<dyn Iterator<Item = Result<Sample, DataError>> + Send> + Send + Sync;

/// A stream made of a function that gives an iterator for each epoch.
///
/// ```
/// use nerve_data::{Element, Field, IterStream, Loader, LoaderOptions};
/// use std::sync::Arc;
///
/// let squares = IterStream::new(vec![Field::new("x", &[], Element::F32)], |_epoch| {
///     (0..5).map(|i| Ok(vec![vec![(i * i) as f32].into()]))
/// });
/// let options = LoaderOptions { batch_size: 2, ..LoaderOptions::default() };
/// let loader = Loader::stream(Arc::new(squares), options)?;
/// let batches: Vec<Vec<f32>> =
///     loader.epoch(0, 0).map(|batch| batch.unwrap().array(0).f32().to_vec()).collect();
/// assert_eq!(batches, [vec![0.0, 1.0], vec![4.0, 9.0], vec![16.0]]);
/// # Ok::<(), nerve_data::DataError>(())
/// ```
pub struct IterStream {
    fields: Arc<[Field]>,
    open: Box<OpenIter>,
}

impl IterStream {
    /// A stream of these fields. `open` gets the number of the epoch, from 0, and must give the same samples each time
    /// it is called with the same number.
    pub fn new<I>(fields: Vec<Field>, open: impl Fn(u64) -> I + Send + Sync + 'static) -> IterStream
    where
        I: Iterator<Item = Result<Sample, DataError>> + Send + 'static,
    {
        IterStream { fields: fields.into(), open: Box::new(move |epoch| Box::new(open(epoch))) }
    }
}

impl Stream for IterStream {
    fn fields(&self) -> &[Field] {
        &self.fields
    }

    fn open(&self, epoch: u64) -> Result<Box<dyn Samples>, DataError> {
        let (fields, iter) = (Arc::clone(&self.fields), (self.open)(epoch));
        Ok(Box::new(IterSamples { fields, iter, index: 0 }))
    }
}

struct IterSamples {
    fields: Arc<[Field]>,
    iter: Box<dyn Iterator<Item = Result<Sample, DataError>> + Send>,
    index: u64,
}

impl Samples for IterSamples {
    fn read(&mut self, row: &mut Row<'_>) -> Result<bool, DataError> {
        let Some(sample) = self.iter.next().transpose()? else { return Ok(false) };
        if let Some(message) = misfit(&self.fields, &sample) {
            return Err(DataError::Sample { index: self.index, message });
        }
        for (field, values) in sample.iter().enumerate() {
            row.copy_from(field, values, 0);
        }
        self.index += 1;
        Ok(true)
    }
}

/// What is wrong with a sample, if anything.
fn misfit(fields: &[Field], sample: &Sample) -> Option<String> {
    if fields.len() != sample.len() {
        return Some(format!("expected {} fields, found {}", fields.len(), sample.len()));
    }
    let (field, values) = fields.iter().zip(sample).find(|(field, values)| {
        values.element() != field.element || values.len() != field.values_per_sample()
    })?;
    Some(format!(
        "field `{}`: expected {}, found {} values of {}",
        field.name,
        field.describe(),
        values.len(),
        values.element().name()
    ))
}

/// A data set read from front to back.
pub struct InOrder<D>(pub Arc<D>);

impl<D: Dataset + 'static> Stream for InOrder<D> {
    fn fields(&self) -> &[Field] {
        self.0.fields()
    }

    fn open(&self, _epoch: u64) -> Result<Box<dyn Samples>, DataError> {
        Ok(Box::new(InOrderSamples { dataset: Arc::clone(&self.0), next: 0 }))
    }
}

struct InOrderSamples<D> {
    dataset: Arc<D>,
    next: usize,
}

impl<D: Dataset> Samples for InOrderSamples<D> {
    fn read(&mut self, row: &mut Row<'_>) -> Result<bool, DataError> {
        if self.next == self.dataset.len() {
            return Ok(false);
        }
        self.dataset.read(self.next, row)?;
        self.next += 1;
        Ok(true)
    }
}

/// Shuffles a stream within a window: each sample drawn at random from a full buffer, which is then refilled.
pub(crate) struct ShuffleBuffer {
    samples: Box<dyn Samples>,
    rows: Vec<Array>,
    /// The place in the stream of each buffered row.
    indices: Vec<u64>,
    capacity: usize,
    random: Random,
    read: u64,
    ended: bool,
}

impl ShuffleBuffer {
    /// A window of `capacity` samples. The order depends on the key, the capacity and the stream alone.
    pub(crate) fn new(
        samples: Box<dyn Samples>,
        fields: &[Field],
        capacity: usize,
        random: Random,
    ) -> ShuffleBuffer {
        let rows = fields.iter().map(|field| Array::zeros(field, capacity)).collect();
        let indices = Vec::with_capacity(capacity);
        ShuffleBuffer { samples, rows, indices, capacity, random, read: 0, ended: false }
    }

    /// Writes the next sample into `row`, and tells its place in the stream; `None` at the end.
    pub(crate) fn read(&mut self, row: &mut Row<'_>) -> Result<Option<u64>, DataError> {
        while !self.ended && self.indices.len() < self.capacity {
            self.refill(self.indices.len())?;
        }
        if self.indices.is_empty() {
            return Ok(None);
        }
        let slot = self.random.below(self.indices.len() as u64) as usize;
        for (field, array) in self.rows.iter().enumerate() {
            row.copy_from(field, array.values(), slot);
        }
        let index = self.indices.swap_remove(slot);
        let last = self.indices.len();
        for array in &mut self.rows {
            array.copy_row(last, slot);
        }
        Ok(Some(index))
    }

    fn refill(&mut self, slot: usize) -> Result<(), DataError> {
        if self.samples.read(&mut Row::new(&mut self.rows, slot))? {
            self.indices.push(self.read);
            self.read += 1;
        } else {
            self.ended = true;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Element;

    fn numbers(n: i32) -> IterStream {
        IterStream::new(vec![Field::new("x", &[], Element::I32)], move |_| {
            (0..n).map(|i| Ok(vec![vec![i].into()]))
        })
    }

    fn shuffled(n: i32, capacity: usize, seed: u64) -> Vec<i32> {
        let stream = numbers(n);
        let mut buffer = ShuffleBuffer::new(
            stream.open(0).unwrap(),
            stream.fields(),
            capacity,
            Random::keyed(&[seed]),
        );
        let mut out = [Array::zeros(&stream.fields()[0], 1)];
        let mut order = Vec::new();
        while let Some(index) = buffer.read(&mut Row::new(&mut out, 0)).unwrap() {
            assert_eq!(index, out[0].i32()[0] as u64);
            order.push(out[0].i32()[0]);
        }
        order
    }

    #[test]
    fn the_buffer_gives_each_sample_once_and_not_too_early() {
        for (n, capacity) in [(100, 10), (5, 10), (10, 10), (1, 1), (100, 1), (0, 3)] {
            let order = shuffled(n, capacity, 3);
            for (place, &value) in order.iter().enumerate() {
                assert!((value as usize) < place + capacity, "{value} at {place}");
            }
            let mut sorted = order.clone();
            sorted.sort();
            assert_eq!(sorted, (0..n).collect::<Vec<_>>());
        }
        assert_ne!(shuffled(100, 10, 3), shuffled(100, 10, 4));
        assert_eq!(shuffled(100, 10, 3), shuffled(100, 10, 3));
        assert_eq!(shuffled(20, 1, 3), (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn a_sample_that_does_not_fit_is_an_error_with_its_number() {
        let stream = IterStream::new(vec![Field::new("x", &[2], Element::F32)], |_| {
            [vec![0.0f32; 2], vec![0.0; 3]].into_iter().map(|x| Ok(vec![x.into()]))
        });
        let mut out = [Array::zeros(&stream.fields()[0], 1)];
        let mut samples = stream.open(0).unwrap();
        assert!(samples.read(&mut Row::new(&mut out, 0)).unwrap());
        assert_eq!(
            samples.read(&mut Row::new(&mut out, 0)).unwrap_err().to_string(),
            "sample 1: field `x`: expected f32 [2], found 3 values of f32"
        );
    }
}
