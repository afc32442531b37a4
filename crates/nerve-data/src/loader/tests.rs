//! Tests of the loader.

use std::collections::HashSet;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::transform::{Normalization, RandomCrop, RandomRotation, RandomShift};
use crate::{Arrays, Element, InOrder, Row, Samples};

/// `n` images of 2 × 4 × 4 bytes that tell their number, and the number.
fn images(n: usize) -> Arc<Arrays> {
    let pixels: Vec<u8> = (0..n * 32).map(|i| (i / 32 * 7 + i % 32) as u8).collect();
    let labels: Vec<i32> = (0..n as i32).collect();
    let columns = vec![
        (Field::new("image", &[2, 4, 4], Element::U8), pixels.into()),
        (Field::new("label", &[], Element::I32), labels.into()),
    ];
    Arc::new(Arrays::new(columns).unwrap())
}

fn augmented(fields: &[Field]) -> Pipeline {
    Pipeline::new(fields)
        .normalize("image", &Normalization { subtract: vec![5.0], divide: vec![3.0] })
        .unwrap()
        .augment("image", Arc::new(RandomShift { max: [1, 1] }))
        .unwrap()
        .augment("image", Arc::new(RandomRotation { degrees: 20.0 }))
        .unwrap()
        .augment("image", Arc::new(RandomCrop { padding: 1, fill: crate::transform::Fill::Edge }))
        .unwrap()
}

/// What a batch says, to compare.
type Told = (u64, Vec<u64>, Vec<Array>);

fn told(loader: &Loader, epoch: u64, position: u64) -> Vec<Told> {
    loader
        .epoch(epoch, position)
        .map(|batch| {
            let batch = batch.unwrap();
            assert!(batch.arrays().iter().all(|array| array.rows() == batch.size()));
            (batch.start(), batch.indices().to_vec(), batch.arrays().to_vec())
        })
        .collect()
}

fn indices(loader: &Loader, epoch: u64) -> Vec<u64> {
    told(loader, epoch, 0).into_iter().flat_map(|(_, indices, _)| indices).collect()
}

fn shuffled(batch_size: usize) -> LoaderOptions {
    LoaderOptions { batch_size, shuffle: true, seed: 42, ..LoaderOptions::default() }
}

#[test]
fn in_order_and_the_last_batch_smaller_or_dropped() {
    for prefetch in [0, 1, 3] {
        let options = LoaderOptions { batch_size: 4, prefetch, ..LoaderOptions::default() };
        let loader = Loader::new(images(10), options.clone()).unwrap();
        let batches = told(&loader, 0, 0);
        assert_eq!(batches.iter().map(|b| b.1.len()).collect::<Vec<_>>(), [4, 4, 2]);
        assert_eq!(batches.iter().map(|b| b.0).collect::<Vec<_>>(), [0, 4, 8]);
        assert_eq!(indices(&loader, 5), (0..10).collect::<Vec<_>>());
        assert_eq!(batches[2].2[0].shape(), [2, 2, 4, 4]);
        assert_eq!(batches[2].2[1].i32(), [8, 9]);
        assert_eq!((loader.samples(), loader.batches()), (Some(10), Some(3)));

        let loader = Loader::new(images(10), LoaderOptions { drop_last: true, ..options }).unwrap();
        assert_eq!(indices(&loader, 0), (0..8).collect::<Vec<_>>());
        assert_eq!(loader.batches(), Some(2));
    }
}

#[test]
fn each_epoch_has_an_order_of_its_own_and_every_sample_once() {
    let loader = Loader::new(images(100), shuffled(7)).unwrap();
    let orders: Vec<_> = (0..3).map(|epoch| indices(&loader, epoch)).collect();
    for order in &orders {
        assert_eq!(order.iter().collect::<HashSet<_>>().len(), 100);
    }
    assert_ne!(orders[0], orders[1]);
    assert_ne!(orders[0], (0..100).collect::<Vec<_>>());
    assert_eq!(orders[1], indices(&loader, 1));
    let other = LoaderOptions { seed: 43, ..shuffled(7) };
    assert_ne!(orders[0], indices(&Loader::new(images(100), other).unwrap(), 0));
    for (_, indices, arrays) in told(&loader, 0, 0) {
        let labels: Vec<u64> = arrays[1].i32().iter().map(|&label| label as u64).collect();
        assert_eq!(labels, indices, "each sample with its own label");
    }
}

#[test]
fn the_batches_do_not_depend_on_how_they_are_prepared() {
    let data = images(50);
    let load = |prefetch| {
        let options = LoaderOptions { prefetch, ..shuffled(8) };
        let loader = Loader::new(data.clone(), options).unwrap();
        loader.with_pipeline(augmented(data.fields())).unwrap()
    };
    let expected = told(&load(0), 2, 0);
    assert_eq!(expected[0].2[0].values().element(), Element::F32);
    for prefetch in [1, 2, 5] {
        assert_eq!(told(&load(prefetch), 2, 0), expected);
    }
    // The augmentation differs from epoch to epoch, sample by sample.
    let by_index = |epoch| {
        let mut rows: Vec<(u64, Vec<f32>)> = Vec::new();
        for (_, indices, arrays) in told(&load(0), epoch, 0) {
            rows.extend(indices.into_iter().zip(arrays[0].f32().chunks(32).map(<[f32]>::to_vec)));
        }
        rows.sort_by_key(|row| row.0);
        rows
    };
    let changed = by_index(0).iter().zip(by_index(1)).filter(|(a, b)| a.1 != b.1).count();
    assert!(changed > 45, "{changed} of 50 samples differ between two epochs");
}

#[test]
fn resuming_anywhere_gives_the_same_batches() {
    let data = images(23);
    let stream = || Arc::new(InOrder(data.clone()));
    let options = |prefetch| LoaderOptions { prefetch, shuffle_buffer: 6, ..shuffled(4) };
    let loaders = [
        Loader::new(data.clone(), options(2)).unwrap(),
        Loader::new(data.clone(), options(0)).unwrap(),
        Loader::stream(stream(), options(2)).unwrap(),
        Loader::stream(stream(), LoaderOptions { shuffle: false, ..options(2) }).unwrap(),
    ];
    for loader in loaders {
        let loader = loader.with_pipeline(augmented(data.fields())).unwrap();
        let whole = told(&loader, 3, 0);
        assert_eq!(whole.len(), 6);
        for done in 0..=whole.len() {
            let position = whole[..done].iter().map(|batch| batch.1.len() as u64).sum();
            assert_eq!(told(&loader, 3, position), whole[done..], "after {done} batches");
        }
    }
}

#[test]
fn a_position_in_the_middle_of_a_batch_begins_there() {
    let loader = Loader::new(images(10), shuffled(4)).unwrap();
    let all = indices(&loader, 0);
    let rest: Vec<u64> = told(&loader, 0, 3).into_iter().flat_map(|batch| batch.1).collect();
    assert_eq!(rest, all[3..]);
}

#[test]
fn a_position_beyond_the_end_is_an_error() {
    let streams = |shuffle| {
        let options = LoaderOptions { shuffle, ..shuffled(4) };
        Loader::stream(Arc::new(InOrder(images(10))), options).unwrap()
    };
    for loader in [Loader::new(images(10), shuffled(4)).unwrap(), streams(true), streams(false)] {
        assert_eq!(told(&loader, 0, 10), []);
        let mut batches = loader.epoch(0, 11);
        assert_eq!(
            batches.next().unwrap().err().unwrap().to_string(),
            "position in the epoch: expected 0 to 10, the end of the data, found 11"
        );
        assert!(batches.next().is_none());
    }
}

#[test]
fn a_stream_of_unknown_length_is_shuffled_within_its_buffer() {
    let options = LoaderOptions { shuffle_buffer: 5, ..shuffled(4) };
    let loader = Loader::stream(Arc::new(InOrder(images(30))), options).unwrap();
    assert_eq!((loader.samples(), loader.batches()), (None, None));
    let order = indices(&loader, 0);
    assert_eq!(order.iter().collect::<HashSet<_>>().len(), 30);
    assert!(order.iter().enumerate().all(|(place, &index)| index < place as u64 + 5));
    assert_ne!(order, indices(&loader, 1));
    for (_, indices, arrays) in told(&loader, 0, 0) {
        assert_eq!(arrays[1].i32().iter().map(|&l| l as u64).collect::<Vec<_>>(), indices);
    }
    let empty = crate::IterStream::new(vec![Field::new("x", &[], Element::U8)], |_| {
        std::iter::empty::<Result<crate::Sample, DataError>>()
    });
    assert_eq!(told(&Loader::stream(Arc::new(empty), shuffled(4)).unwrap(), 0, 0), []);
}

#[test]
fn buffers_go_round() {
    for (prefetch, batch_size) in [(0, 5), (2, 5), (2, 7)] {
        let options = LoaderOptions { prefetch, ..shuffled(batch_size) };
        let data = images(400);
        let loader = Loader::new(data.clone(), options).unwrap();
        let loader = loader.with_pipeline(augmented(data.fields())).unwrap();
        let mut places = HashSet::new();
        for epoch in 0..3 {
            for batch in loader.epoch(epoch, 0) {
                let batch = batch.unwrap();
                places.insert(batch.array(0).f32().as_ptr());
            }
        }
        // Those in the queue, one being filled, one waiting to enter the queue, one in use.
        assert!(places.len() <= prefetch + 3, "{} buffers", places.len());
    }
}

/// A data set whose sample 9 fails in a chosen way, and that tells when it is dropped.
struct Failing {
    data: Arc<Arrays>,
    how: fn(usize) -> Result<(), DataError>,
    reads: Arc<AtomicUsize>,
    dropped: Option<mpsc::Sender<()>>,
}

impl Drop for Failing {
    fn drop(&mut self) {
        if let Some(sender) = &self.dropped {
            let _ = sender.send(());
        }
    }
}

impl Dataset for Failing {
    fn len(&self) -> usize {
        self.data.len()
    }

    fn fields(&self) -> &[Field] {
        self.data.fields()
    }

    fn read(&self, index: usize, row: &mut Row<'_>) -> Result<(), DataError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        (self.how)(index)?;
        self.data.read(index, row)
    }
}

fn failing(how: fn(usize) -> Result<(), DataError>) -> Failing {
    Failing { data: images(20), how, reads: Arc::default(), dropped: None }
}

#[test]
fn an_error_and_a_panic_come_in_the_place_of_their_batch() {
    let error: fn(usize) -> Result<(), DataError> = |index| match index {
        9 => Err(DataError::Sample { index: 9, message: "the disk is gone".into() }),
        _ => Ok(()),
    };
    let panic: fn(usize) -> Result<(), DataError> = |index| {
        assert_ne!(index, 9, "sample nine");
        Ok(())
    };
    for prefetch in [0, 1, 4] {
        let panicked = "reading the batch at sample 8 panicked: ";
        for (how, expected) in [(error, "sample 9: the disk is gone"), (panic, panicked)] {
            let options = LoaderOptions { batch_size: 4, prefetch, ..LoaderOptions::default() };
            let loader = Loader::new(Arc::new(failing(how)), options).unwrap();
            let mut batches = loader.epoch(0, 0);
            for start in [0, 4] {
                assert_eq!(batches.next().unwrap().unwrap().start(), start);
            }
            let message = batches.next().unwrap().err().unwrap().to_string();
            assert!(message.starts_with(expected), "{message}");
            assert_eq!(message.contains("sample nine"), expected == panicked);
            assert!(batches.next().is_none() && batches.next().is_none());
            // The loader itself is as good as before.
            assert_eq!(loader.epoch(0, 12).count(), 2);
        }
    }
}

#[test]
fn dropping_the_batches_stops_the_thread() {
    let (sender, receiver) = mpsc::channel();
    let mut data = failing(|_| Ok(()));
    let reads = Arc::clone(&data.reads);
    data.dropped = Some(sender);
    let options = LoaderOptions { batch_size: 1, ..LoaderOptions::default() };
    let loader = Loader::new(Arc::new(data), options).unwrap();
    let mut batches = loader.epoch(0, 0);
    let first = batches.next().unwrap().unwrap();
    drop(batches);
    let before = reads.load(Ordering::Relaxed);
    // Batches 1 and 2 in the queue, batch 3 waiting to enter it, batch 4 at most begun after one left.
    assert!(before <= 5, "{before} samples read");
    drop(loader);
    // The thread held the data set too; it is gone, so this was the last owner.
    receiver.recv_timeout(Duration::ZERO).expect("the data set is dropped with the loader");
    assert_eq!(reads.load(Ordering::Relaxed), before);
    assert_eq!(first.array(1).i32(), [0], "a batch outlives its loader");
}

/// A stream that waits until it is told to go on.
struct Endless;

impl Stream for Endless {
    fn fields(&self) -> &[Field] {
        static FIELDS: std::sync::OnceLock<Vec<Field>> = std::sync::OnceLock::new();
        FIELDS.get_or_init(|| vec![Field::new("x", &[], Element::F32)])
    }

    fn open(&self, _epoch: u64) -> Result<Box<dyn Samples>, DataError> {
        Ok(Box::new(EndlessSamples))
    }
}

struct EndlessSamples;

impl Samples for EndlessSamples {
    fn read(&mut self, row: &mut Row<'_>) -> Result<bool, DataError> {
        row.f32(0)[0] = 1.0;
        Ok(true)
    }
}

#[test]
fn a_batch_that_is_never_full_is_given_up() {
    // Dropping must not wait for 2²⁶ samples of a batch, let alone for 2⁶³ to be passed over.
    let options = LoaderOptions { batch_size: 1 << 26, ..LoaderOptions::default() };
    drop(Loader::stream(Arc::new(Endless), options).unwrap().epoch(0, 0));
    let options = LoaderOptions::default();
    drop(Loader::stream(Arc::new(Endless), options).unwrap().epoch(0, 1 << 63));
}

#[test]
fn options_out_of_range_are_refused() {
    let message = |options: LoaderOptions| {
        Loader::new(images(10), options).err().expect("an error").to_string()
    };
    let default = LoaderOptions::default;
    assert_eq!(
        message(LoaderOptions { batch_size: 0, ..default() }),
        "batch size: expected 1 or more, found 0"
    );
    assert_eq!(
        message(LoaderOptions { prefetch: usize::MAX, ..default() }),
        format!("prefetch: expected 0 to 1024, found {}", usize::MAX)
    );
    assert_eq!(
        message(LoaderOptions { drop_last: true, ..default() }),
        "10 samples in batches of 32, the last one dropped: no samples"
    );
    // A batch larger than the data is as large as the data.
    let huge = LoaderOptions { batch_size: usize::MAX, ..default() };
    assert_eq!(told(&Loader::new(images(10), huge.clone()).unwrap(), 0, 0)[0].1.len(), 10);
    // With a stream nobody knows.
    assert!(Loader::stream(Arc::new(Endless), huge).is_err());
    let buffer = |shuffle_buffer| LoaderOptions { shuffle: true, shuffle_buffer, ..default() };
    assert!(Loader::stream(Arc::new(Endless), buffer(0)).is_err());
    assert!(Loader::stream(Arc::new(Endless), buffer(usize::MAX)).is_err());
}

#[test]
fn a_pipeline_must_be_made_for_the_fields() {
    let loader = Loader::new(images(10), LoaderOptions::default()).unwrap();
    let other = Pipeline::new(&[Field::new("image", &[1, 28, 28], Element::U8)]);
    let message = loader.with_pipeline(other).err().unwrap().to_string();
    assert!(
        message.contains("image u8 [2, 4, 4], label i32 []")
            && message.contains("image u8 [1, 28, 28]"),
        "{message}"
    );
}

#[test]
fn a_sampler_draws_the_samples() {
    let labels: Vec<i32> = (0..10).map(|i| i32::from(i == 7)).collect();
    let sampler = Arc::new(crate::Sampler::oversampled(&labels).unwrap());
    let loader = Loader::sampled(images(10), Arc::clone(&sampler), shuffled(4)).unwrap();
    assert_eq!((loader.samples(), loader.batches()), (Some(18), Some(5)));
    let indices = |position| -> Vec<u64> {
        loader.epoch(2, position).flat_map(|batch| batch.unwrap().indices().to_vec()).collect()
    };
    let all = indices(0);
    assert_eq!(all.iter().filter(|&&index| index == 7).count(), 9);
    let expected: Vec<u64> = (0..18).map(|p| sampler.get(loader.options().seed, 2, p)).collect();
    assert_eq!(all, expected);
    assert_eq!(indices(8), all[8..], "resumed");
    let error = Loader::sampled(images(5), sampler, shuffled(4)).err().unwrap().to_string();
    assert!(error.contains("draws sample 9"), "{error}");
}
