//! Fills batches: the order of an epoch, the reading, the pipeline, and the buffers that go round.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Batch, Sampler, Shared};
use crate::features::Room;
use crate::stream::ShuffleBuffer;
use crate::transform::Draw;
use crate::{Array, DataError, Dataset, Field, Permutation, Random, Row, Samples, Stream};

/// Where samples come from.
#[derive(Clone)]
pub(super) enum Source {
    Dataset(Arc<dyn Dataset>),
    Sampled(Arc<dyn Dataset>, Arc<Sampler>),
    Stream(Arc<dyn Stream>),
}

impl Source {
    pub(super) fn fields(&self) -> &[Field] {
        match self {
            Source::Dataset(dataset) | Source::Sampled(dataset, _) => dataset.fields(),
            Source::Stream(stream) => stream.fields(),
        }
    }

    pub(super) fn len(&self) -> Option<usize> {
        match self {
            Source::Dataset(dataset) => Some(dataset.len()),
            Source::Sampled(_, sampler) => usize::try_from(sampler.len()).ok(),
            Source::Stream(stream) => stream.count().and_then(|len| usize::try_from(len).ok()),
        }
    }
}

/// The arrays of one batch.
#[derive(Default)]
pub(super) struct Buffers {
    pub(super) arrays: Vec<Array>,
    pub(super) indices: Vec<u64>,
}

/// Buffers that wait to be used again, across epochs.
pub(super) struct Pool {
    pub(super) fields: Vec<Field>,
    /// Rows of a full batch.
    pub(super) rows: usize,
    /// Most buffers kept.
    pub(super) keep: usize,
    pub(super) free: Mutex<Vec<Buffers>>,
}

impl Pool {
    fn take(&self) -> Buffers {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut buffers = free.unwrap_or_else(|| Buffers {
            arrays: self.fields.iter().map(|field| Array::zeros(field, self.rows)).collect(),
            indices: Vec::with_capacity(self.rows),
        });
        buffers.indices.clear();
        buffers.arrays.iter_mut().for_each(|array| array.set_rows(self.rows));
        buffers
    }

    pub(super) fn put(&self, buffers: Buffers) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < self.keep {
            free.push(buffers);
        }
    }
}

/// Samples in the order of an epoch.
enum Feed {
    Dataset { dataset: Arc<dyn Dataset>, order: Order, len: u64, next: u64 },
    Stream { samples: Box<dyn Samples>, next: u64 },
    Shuffled(ShuffleBuffer),
}

/// Which sample of a data set stands at a position of an epoch.
enum Order {
    Plain,
    Shuffled(Permutation),
    Drawn { sampler: Arc<Sampler>, seed: u64, epoch: u64 },
}

impl Order {
    fn get(&self, position: u64) -> u64 {
        match self {
            Order::Plain => position,
            Order::Shuffled(permutation) => permutation.get(position),
            Order::Drawn { sampler, seed, epoch } => sampler.get(*seed, *epoch, position),
        }
    }
}

/// Keys the draws of a shuffle buffer apart from those of a permutation.
const SHUFFLE: u64 = 0x5348_5546_464C_4500;

impl Feed {
    /// The samples of an epoch, from its start.
    fn open(shared: &Shared, epoch: u64) -> Result<Feed, DataError> {
        let options = &shared.options;
        Ok(match &shared.source {
            Source::Dataset(dataset) => {
                let len = dataset.len() as u64;
                let order = match options.shuffle {
                    true => Order::Shuffled(Permutation::keyed(len, &[options.seed, epoch])),
                    false => Order::Plain,
                };
                Feed::Dataset { dataset: Arc::clone(dataset), order, len, next: 0 }
            }
            Source::Sampled(dataset, sampler) => {
                let (dataset, sampler) = (Arc::clone(dataset), Arc::clone(sampler));
                let len = sampler.len();
                let order = Order::Drawn { sampler, seed: options.seed, epoch };
                Feed::Dataset { dataset, order, len, next: 0 }
            }
            Source::Stream(stream) if options.shuffle => Feed::Shuffled(ShuffleBuffer::new(
                stream.open(epoch)?,
                stream.fields(),
                options.shuffle_buffer,
                Random::keyed(&[SHUFFLE, options.seed, epoch]),
            )),
            Source::Stream(stream) => Feed::Stream { samples: stream.open(epoch)?, next: 0 },
        })
    }

    /// Writes the next sample, and tells its index; `None` at the end.
    fn read(&mut self, row: &mut Row<'_>) -> Result<Option<u64>, DataError> {
        match self {
            Feed::Dataset { dataset, order, len, next } => {
                if *next == *len {
                    return Ok(None);
                }
                let index = order.get(*next);
                dataset.read(index as usize, row)?;
                *next += 1;
                Ok(Some(index))
            }
            Feed::Stream { samples, next } => {
                let index = *next;
                *next += 1;
                Ok(samples.read(row)?.then_some(index))
            }
            Feed::Shuffled(buffer) => buffer.read(row),
        }
    }

    /// Passes over the first samples: at once in a data set, by reading them in a stream.
    fn skip(
        &mut self,
        count: u64,
        sample: &mut [Array],
        stop: &AtomicBool,
    ) -> Result<(), DataError> {
        let beyond = |end: u64| {
            Err(DataError::Option {
                option: "position in the epoch",
                expected: format!("0 to {end}, the end of the data"),
                found: count.to_string(),
            })
        };
        if let Feed::Dataset { len, next, .. } = self {
            *next = count;
            return if count > *len { beyond(*len) } else { Ok(()) };
        }
        for read in 0..count {
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            if self.read(&mut Row::new(sample, 0))?.is_none() {
                return beyond(read);
            }
        }
        Ok(())
    }
}

/// Makes the batches of an epoch, one after the other.
pub(super) struct Producer {
    shared: Arc<Shared>,
    epoch: u64,
    position: u64,
    /// Opened with the first batch, on the thread that prepares it.
    feed: Option<Feed>,
    /// A sample on its way through the pipeline.
    sample: Vec<Array>,
    room: Room,
    stop: Arc<AtomicBool>,
}

impl Producer {
    pub(super) fn new(
        shared: Arc<Shared>,
        epoch: u64,
        position: u64,
        stop: Arc<AtomicBool>,
    ) -> Producer {
        let sample = shared.source.fields().iter().map(|field| Array::zeros(field, 1)).collect();
        Producer { shared, epoch, position, feed: None, sample, room: Room::default(), stop }
    }

    /// The position of the next batch.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The next batch; `None` at the end of the epoch, or when nobody waits for it any more.
    pub(super) fn next(&mut self) -> Result<Option<Batch>, DataError> {
        let mut feed = match self.feed.take() {
            Some(feed) => feed,
            None => {
                let mut feed = Feed::open(&self.shared, self.epoch)?;
                feed.skip(self.position, &mut self.sample, &self.stop)?;
                feed
            }
        };
        let pool = Arc::clone(&self.shared.pool);
        let mut batch = Batch { buffers: pool.take(), start: self.position, pool };
        for row in 0..batch.pool.rows {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            match self.fill(&mut feed, &mut batch.buffers.arrays, row)? {
                Some(index) => batch.buffers.indices.push(index),
                None => break,
            }
        }
        self.feed = Some(feed);
        let size = batch.size();
        self.position += size as u64;
        if size == 0 || (size < self.shared.options.batch_size && self.shared.options.drop_last) {
            return Ok(None);
        }
        batch.buffers.arrays.iter_mut().for_each(|array| array.set_rows(size));
        let draw = Draw { seed: self.shared.options.seed, epoch: self.epoch, index: batch.start };
        self.shared.pipeline.finish(draw, &mut batch.buffers.arrays, size);
        Ok(Some(batch))
    }

    /// Writes the next sample of the epoch into a row of the batch.
    fn fill(
        &mut self,
        feed: &mut Feed,
        arrays: &mut [Array],
        row: usize,
    ) -> Result<Option<u64>, DataError> {
        let pipeline = &self.shared.pipeline;
        let position = self.position + row as u64;
        let mut row = Row::new(arrays, row);
        if pipeline.is_identity() {
            return feed.read(&mut row);
        }
        let Some(index) = feed.read(&mut Row::new(&mut self.sample, 0))? else { return Ok(None) };
        // A sample that is drawn several times in an epoch differs each time.
        let drawn = matches!(self.shared.source, Source::Sampled(..));
        let key = if drawn { position } else { index };
        let draw = Draw { seed: self.shared.options.seed, epoch: self.epoch, index: key };
        pipeline.apply(draw, &self.sample, &mut row, &mut self.room);
        Ok(Some(index))
    }
}
