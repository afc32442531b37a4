//! The loader: samples in the order of an epoch, as batches, prepared on another thread.

mod producer;
mod sampler;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use self::producer::{Buffers, Pool, Producer, Source};
pub use self::sampler::Sampler;
use crate::transform::Pipeline;
use crate::{Array, DataError, Dataset, Field, Stream};

/// More than this in one batch, or in one shuffle buffer, is a mistake in a recipe.
const MAX_BYTES: usize = 4 << 30;

/// How samples become batches.
#[derive(Clone, Debug)]
pub struct LoaderOptions {
    /// Samples in a batch, at least 1.
    pub batch_size: usize,
    /// Whether each epoch has an order of its own: a permutation keyed by (seed, epoch). A stream is shuffled within
    /// `shuffle_buffer` samples.
    pub shuffle: bool,
    /// The seed of the order and of the augmentation.
    pub seed: u64,
    /// Whether a last batch that is not full is dropped. Else it is yielded as it is, smaller.
    pub drop_last: bool,
    /// Batches prepared ahead on another thread. With 0 each is prepared when it is asked for, on the thread that asks:
    /// best where a batch is so small that waking a thread costs more.
    pub prefetch: usize,
    /// Samples of a stream that are held for shuffling, at least 1.
    pub shuffle_buffer: usize,
}

impl Default for LoaderOptions {
    /// Batches of 32 in the order of the data, seed 0, nothing dropped, 2 batches ahead, a shuffle buffer of 1,024.
    fn default() -> LoaderOptions {
        LoaderOptions {
            batch_size: 32,
            shuffle: false,
            seed: 0,
            drop_last: false,
            prefetch: 2,
            shuffle_buffer: 1024,
        }
    }
}

/// Yields the batches of any epoch, from any position in it.
///
/// The batches depend on the data, the options and (epoch, position) alone, not on time or threads: an epoch resumed at a
/// position yields the very batches that the whole epoch yields from there on.
///
/// ```
/// use nerve_data::{Arrays, Element, Field, Loader, LoaderOptions};
/// use std::sync::Arc;
///
/// let numbers = Arrays::new(vec![(
///     Field::new("x", &[], Element::I32),
///     (0..10).collect::<Vec<i32>>().into(),
/// )])?;
/// let options =
///     LoaderOptions { batch_size: 4, shuffle: true, seed: 42, ..LoaderOptions::default() };
/// let loader = Loader::new(Arc::new(numbers), options)?;
/// for batch in loader.epoch(0, 0) {
///     let batch = batch?;
///     println!("{:?} up to position {}", batch.array(0).i32(), batch.end());
/// }
/// # Ok::<(), nerve_data::DataError>(())
/// ```
pub struct Loader {
    shared: Arc<Shared>,
}

/// What the loader and the thread of an epoch both use.
struct Shared {
    source: Source,
    pipeline: Pipeline,
    options: LoaderOptions,
    pool: Arc<Pool>,
}

impl Loader {
    /// Batches of a data set, its samples as they are.
    ///
    /// # Errors
    /// [`DataError::Option`] for an option out of range, also a batch that would not fit into memory;
    /// [`DataError::Empty`] when the data set has no samples, or fewer than the one batch that is not to be dropped.
    pub fn new(dataset: Arc<dyn Dataset>, options: LoaderOptions) -> Result<Loader, DataError> {
        let pipeline = Pipeline::new(dataset.fields());
        Loader::build(Source::Dataset(dataset), pipeline, options)
    }

    /// Batches of samples that a sampler draws from a data set: its order takes the place of `shuffle`. A sample that is
    /// drawn again in an epoch is augmented in another way.
    ///
    /// # Errors
    /// As [`Loader::new`]; [`DataError::Option`] also for a sampler that draws samples which the data set does not have.
    pub fn sampled(
        dataset: Arc<dyn Dataset>,
        sampler: Arc<Sampler>,
        options: LoaderOptions,
    ) -> Result<Loader, DataError> {
        if sampler.greatest() >= dataset.len() as u64 {
            return Err(DataError::Option {
                option: "sampler",
                expected: format!("draws of {} samples", dataset.len()),
                found: format!("one that draws sample {}", sampler.greatest()),
            });
        }
        let pipeline = Pipeline::new(dataset.fields());
        Loader::build(Source::Sampled(dataset, sampler), pipeline, options)
    }

    /// Batches of a stream, its samples as they are.
    ///
    /// # Errors
    /// [`DataError::Option`].
    pub fn stream(stream: Arc<dyn Stream>, options: LoaderOptions) -> Result<Loader, DataError> {
        let pipeline = Pipeline::new(stream.fields());
        Loader::build(Source::Stream(stream), pipeline, options)
    }

    /// The same loader, with a pipeline between the data and the batches.
    ///
    /// # Errors
    /// [`DataError::Field`] when the pipeline was made for other fields, and those of [`Loader::new`].
    pub fn with_pipeline(self, pipeline: Pipeline) -> Result<Loader, DataError> {
        let Shared { source, options, .. } = &*self.shared;
        let (expected, found) = (source.fields(), pipeline.input_fields());
        if expected != found {
            let names = |fields: &[Field]| {
                fields
                    .iter()
                    .map(|field| format!("{} {}", field.name, field.describe()))
                    .collect::<Vec<_>>()
                    .join(", ")
            };
            return Err(DataError::Field {
                field: "all".into(),
                expected: format!("a pipeline for {}", names(expected)),
                found: format!("one for {}", names(found)),
            });
        }
        Loader::build(source.clone(), pipeline, options.clone())
    }

    fn build(
        source: Source,
        pipeline: Pipeline,
        options: LoaderOptions,
    ) -> Result<Loader, DataError> {
        let rows = source.len().map_or(options.batch_size, |len| options.batch_size.min(len));
        check(&source, &pipeline, &options, rows)?;
        // Besides those in the queue, one batch is being filled and one or two are in use.
        let pool = Arc::new(Pool {
            fields: pipeline.output_fields().to_vec(),
            rows,
            keep: options.prefetch + 3,
            free: Mutex::default(),
        });
        Ok(Loader { shared: Arc::new(Shared { source, pipeline, options, pool }) })
    }

    /// The fields of a batch, in the order of its arrays; their shapes are those of one sample.
    pub fn fields(&self) -> &[Field] {
        self.shared.pipeline.output_fields()
    }

    /// How samples become batches.
    pub fn options(&self) -> &LoaderOptions {
        &self.shared.options
    }

    /// Samples in an epoch; `None` for a stream that nobody has counted.
    pub fn samples(&self) -> Option<u64> {
        self.shared.source.len().map(|len| len as u64)
    }

    /// Batches in an epoch, counted from its start; `None` for a stream that nobody has counted.
    pub fn batches(&self) -> Option<u64> {
        let (samples, size) = (self.samples()?, self.shared.options.batch_size as u64);
        Some(if self.shared.options.drop_last { samples / size } else { samples.div_ceil(size) })
    }

    /// The batches of an epoch from a position on, which is a number of samples: 0 for the whole epoch, [`Batch::end`] of
    /// the last batch used to resume.
    ///
    /// A position beyond the end gives an error as the first item: it belongs to other data.
    pub fn epoch(&self, epoch: u64, position: u64) -> Batches {
        Batches::start(Arc::clone(&self.shared), epoch, position)
    }
}

fn check(
    source: &Source,
    pipeline: &Pipeline,
    options: &LoaderOptions,
    rows: usize,
) -> Result<(), DataError> {
    let out_of_range = |option, expected: String, found: String| {
        Err(DataError::Option { option, expected, found })
    };
    if options.batch_size == 0 {
        return out_of_range("batch size", "1 or more".into(), "0".into());
    }
    if options.prefetch > 1024 {
        return out_of_range("prefetch", "0 to 1024".into(), options.prefetch.to_string());
    }
    // Each row has an index too.
    let bytes = |fields: &[Field], rows: usize| {
        fields.iter().fold(rows.saturating_mul(8), |sum, field| {
            let row = field.values_per_sample().saturating_mul(field.element.size());
            sum.saturating_add(row.saturating_mul(rows))
        })
    };
    let fits = |option, rows, bytes: usize| {
        if bytes <= MAX_BYTES {
            return Ok(());
        }
        out_of_range(
            option,
            format!("at most {MAX_BYTES} bytes"),
            format!("{rows} samples of {bytes} bytes"),
        )
    };
    fits("batch size", rows, bytes(pipeline.output_fields(), rows))?;
    match source.len() {
        Some(0) => Err(DataError::Empty { what: "data set".into() }),
        Some(len) if options.drop_last && len < options.batch_size => Err(DataError::Empty {
            what: format!(
                "{len} samples in batches of {}, the last one dropped",
                options.batch_size
            ),
        }),
        _ if !matches!(source, Source::Stream(_)) || !options.shuffle => Ok(()),
        _ if options.shuffle_buffer == 0 => {
            out_of_range("shuffle buffer", "1 or more".into(), "0".into())
        }
        _ => {
            let rows = options.shuffle_buffer;
            fits("shuffle buffer", rows, bytes(source.fields(), rows))
        }
    }
}

/// Some samples, as one array a field of shape `[samples, ..sample shape]`.
///
/// Its buffers are used again for a later batch once it is dropped.
pub struct Batch {
    buffers: Buffers,
    start: u64,
    pool: Arc<Pool>,
}

impl Batch {
    /// Number of samples: the batch size, or fewer in the last batch.
    pub fn size(&self) -> usize {
        self.buffers.indices.len()
    }

    /// The arrays, in the order of [`Loader::fields`].
    pub fn arrays(&self) -> &[Array] {
        &self.buffers.arrays
    }

    /// The array of field number `field`.
    ///
    /// # Panics
    /// When there are fewer fields.
    #[track_caller]
    pub fn array(&self, field: usize) -> &Array {
        &self.buffers.arrays[field]
    }

    /// The index of each sample in the data set, or its place in the stream.
    pub fn indices(&self) -> &[u64] {
        &self.buffers.indices
    }

    /// The position in the epoch of its first sample.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The position after its last sample: where to resume once this batch has been used.
    pub fn end(&self) -> u64 {
        self.start + self.size() as u64
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.pool.put(std::mem::take(&mut self.buffers));
    }
}

/// The batches of one epoch, in their fixed order. Ends after the first error.
///
/// An error, or a panic in the data set, comes in the place of the batch that it concerns. Dropping this stops the thread
/// behind it, and waits until it has finished the sample in hand.
pub struct Batches {
    from: From,
}

enum From {
    /// Prepared when asked for.
    Inline(Box<Guarded>),
    /// Prepared by a thread.
    Thread {
        batches: Option<Receiver<Result<Batch, DataError>>>,
        stop: Arc<AtomicBool>,
        thread: Option<JoinHandle<()>>,
    },
    /// The thread could not be started.
    Failed(Option<DataError>),
}

impl Batches {
    fn start(shared: Arc<Shared>, epoch: u64, position: u64) -> Batches {
        let prefetch = shared.options.prefetch;
        let stop = Arc::new(AtomicBool::new(false));
        let mut guarded = Guarded {
            producer: Producer::new(shared, epoch, position, Arc::clone(&stop)),
            ended: false,
        };
        if prefetch == 0 {
            return Batches { from: From::Inline(Box::new(guarded)) };
        }
        let (sender, receiver) = sync_channel(prefetch);
        let work = move || {
            // Sending fails once nobody receives any more.
            while let Some(batch) = guarded.next()
                && sender.send(batch).is_ok()
            {}
        };
        let from = match thread::Builder::new().name("nerve-data".into()).spawn(work) {
            Ok(thread) => From::Thread { batches: Some(receiver), stop, thread: Some(thread) },
            Err(error) => From::Failed(Some(DataError::Thread(error))),
        };
        Batches { from }
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.from {
            From::Inline(guarded) => guarded.next(),
            From::Thread { batches, .. } => batches.as_ref()?.recv().ok(),
            From::Failed(error) => error.take().map(Err),
        }
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        if let From::Thread { batches, stop, thread } = &mut self.from {
            stop.store(true, Ordering::Relaxed);
            drop(batches.take());
            if let Some(thread) = thread.take() {
                // It catches its panics, so there is none to hand on.
                let _ = thread.join();
            }
        }
    }
}

/// A producer whose panics are errors, and that ends after the first error.
struct Guarded {
    producer: Producer,
    ended: bool,
}

impl Guarded {
    fn next(&mut self) -> Option<Result<Batch, DataError>> {
        if self.ended {
            return None;
        }
        let position = self.producer.position();
        // Nothing of the producer is used after a panic, so it does not matter what it left half done.
        let batch =
            catch_unwind(AssertUnwindSafe(|| self.producer.next())).unwrap_or_else(|panic| {
                let message = panic
                    .downcast_ref::<String>()
                    .map(String::as_str)
                    .or_else(|| panic.downcast_ref::<&str>().copied())
                    .unwrap_or("no message");
                Err(DataError::Panicked { position, message: message.into() })
            });
        self.ended = !matches!(batch, Ok(Some(_)));
        batch.transpose()
    }
}
