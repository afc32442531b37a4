//! A training that was stopped, at whatever step, ends with the bits of one that was not.
#![allow(missing_docs)]

use nerve_data::{Arrays, Element, Field, Loader, LoaderOptions};
use nerve_nn::activations::Relu;
use nerve_nn::layers::{BatchNorm, Dropout, Linear, Sequential};
use nerve_nn::losses::CrossEntropy;
use nerve_nn::optim::{Accumulated, Adam, Average, Averaged, Optimizer, Sgd};
use nerve_nn::schedules::{Constant, Plateau, Schedule};
use nerve_nn::state::{self, StateTensor};
use nerve_nn::{Layer, Params};
use nerve_train::checkpoint::Position;
use nerve_train::metrics::{Accuracy, Auc};
use nerve_train::{
    Background, Callback, CallbackError, Capture, Checkpoints, EarlyStopping, Every, Metric,
    Moment, Options, Outcome, Row, Saver, Snapshot, TrainError, Trainer,
};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

const EPOCHS: u64 = 3;
const STEPS: u64 = 4;

/// Points around two centres, 100 of them: four batches, the last one smaller.
fn points(count: usize, seed: u32) -> Arrays {
    let mut state = seed;
    let mut random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    let x: Vec<f32> = (0..count * 4).map(|i| random() + (i / 4 % 2) as f32 * 0.4).collect();
    let label: Vec<i32> = (0..count).map(|i| i as i32 % 2).collect();
    Arrays::new(vec![
        (Field::new("x", &[4], Element::F32), x.into()),
        (Field::new("label", &[], Element::I32), label.into()),
    ])
    .unwrap()
}

fn loader(data: Arrays, shuffle: bool) -> Loader {
    let options = LoaderOptions { batch_size: 28, shuffle, seed: 7, ..LoaderOptions::default() };
    Loader::new(Arc::new(data), options).unwrap()
}

/// Captures the training after every step and every epoch, and at its end.
#[derive(Default)]
struct Catch {
    snapshots: Vec<(Moment, Snapshot)>,
}

impl Callback for Catch {
    fn wants_snapshot(&mut self, _: &Moment) -> bool {
        true
    }

    fn on_snapshot(&mut self, at: &Moment, capture: &Capture<'_>) -> Result<(), CallbackError> {
        let mut snapshot = Snapshot::default();
        capture.take(&mut snapshot);
        self.snapshots.push((*at, snapshot));
        Ok(())
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Averaged,
    Accumulated,
    Plain,
}

#[derive(PartialEq, Debug)]
struct Ended {
    outcome: Outcome,
    state: Vec<StateTensor>,
    slots: Vec<StateTensor>,
    rows: Vec<Row>,
}

fn train(
    kind: Kind,
    options: Options,
    callbacks: &mut [&mut dyn Callback],
) -> Result<Ended, TrainError> {
    let params = Params::new(42);
    let model = Sequential::new(vec![
        Box::new(Linear::new(&params.at("0"), 4, 8)) as Box<dyn Layer>,
        Box::new(BatchNorm::new(&params.at("1"), 8)),
        Box::new(Relu),
        Box::new(Dropout::new(0.3)),
        Box::new(Linear::new(&params.at("4"), 8, 2)),
    ]);
    let (optimizer, schedule): (Box<dyn Optimizer>, Box<dyn Schedule>) = match kind {
        Kind::Averaged => {
            let average = Average::Exponential { decay: 0.8, warm_up: false };
            let averaged = Averaged::new(Adam::new(&params, 0.05), average);
            (Box::new(averaged.with_buffers(&params)), Box::new(Constant))
        }
        Kind::Accumulated => {
            let sgd = Sgd::new(&params, 0.1).momentum(0.9);
            let plateau = Plateau { patience: 0, ..Plateau::default() };
            (Box::new(Accumulated::new(sgd, 3)), Box::new(plateau))
        }
        Kind::Plain => (Box::new(Adam::new(&params, 0.02)), Box::new(Constant)),
    };
    let loss = CrossEntropy::default();
    let metrics: Vec<Box<dyn Metric>> = vec![Box::new(Accuracy), Box::new(Auc::default())];
    let trainer = Trainer::new(&model, &loss, &*optimizer)
        .metrics(metrics)
        .schedule(schedule)
        .state(params.vars())
        .options(options);
    let mut early = EarlyStopping::new(&params, 2);
    let mut all: Vec<&mut dyn Callback> = vec![&mut early];
    all.extend(callbacks.iter_mut().map(|it| &mut **it as &mut dyn Callback));
    let (data, held) = (loader(points(100, 1), true), loader(points(40, 2), false));
    let fit = trainer.fit(&data, Some(&held), &mut all)?;
    let rows = fit.history.rows.into_iter().map(|row| Row { time_s: 0.0, ..row }).collect();
    let slots = state::of(&optimizer.slots());
    Ok(Ended { outcome: fit.outcome, state: params.state(), slots, rows })
}

fn options(from: Option<Snapshot>) -> Options {
    Options { epochs: EPOCHS, from: from.map(Arc::new), ..Options::default() }
}

#[test]
fn from_every_step_on_any_number_of_threads_the_end_is_the_same() {
    for kind in [Kind::Plain, Kind::Averaged, Kind::Accumulated] {
        nerve_core::set_threads(2);
        let mut catch = Catch::default();
        let whole = train(kind, options(None), &mut [&mut catch]).unwrap();
        assert_eq!(whole.rows.len() as u64, EPOCHS);
        // Before the first, after each step and epoch, and at the end.
        assert_eq!(catch.snapshots.len() as u64, 1 + EPOCHS * (STEPS + 1) + 1);
        for (i, (moment, snapshot)) in catch.snapshots.into_iter().enumerate() {
            nerve_core::set_threads(1 + i % 2);
            let again = train(kind, options(Some(snapshot)), &mut []).unwrap();
            assert!(again == whole, "{kind:?}, from {moment:?}:\n{again:?}\n{whole:?}");
        }
    }
}

#[test]
fn one_that_was_interrupted_goes_on_through_its_folder() {
    let whole = train(Kind::Averaged, options(None), &mut []).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::open(folder.path()).unwrap();
    let saver = || {
        let every = Every { steps: Some(3), ..Every::default() };
        Saver::new(checkpoints.clone(), Arc::new(Background::new()), every)
    };
    // Stopped at once after every second step, until it is at its end.
    let mut rounds = 0;
    let ended = loop {
        let from = checkpoints.last().unwrap().map(|found| found.snapshot);
        let step = from.as_ref().map_or(0, |from| from.position.step);
        let stop = Arc::new(AtomicBool::new(false));
        let mut stopper = Stopper { at: step + 2, stop: stop.clone() };
        let options = Options { stop, ..options(from) };
        let ended = train(Kind::Averaged, options, &mut [&mut stopper, &mut saver()]).unwrap();
        match ended.outcome {
            Outcome::Interrupted { step: at, .. } => assert_eq!(at, step + 2),
            _ => break ended,
        }
        rounds += 1;
    };
    assert!(rounds >= 5, "{rounds}");
    assert!(ended == whole);
    // What is finished has nothing left to do.
    let from = checkpoints.last().unwrap().unwrap().snapshot;
    assert_eq!(from.position, Position { step: 12, epoch: 4, samples: 0 });
    let again = train(Kind::Averaged, options(Some(from)), &mut []).unwrap();
    assert!(again == whole);
}

struct Stopper {
    at: u64,
    stop: Arc<AtomicBool>,
}

impl Callback for Stopper {
    fn on_step_end(
        &mut self,
        step: &nerve_train::StepEnd<'_>,
    ) -> Result<nerve_train::Control, CallbackError> {
        self.stop.store(step.step >= self.at, std::sync::atomic::Ordering::Relaxed);
        Ok(nerve_train::Control::Continue)
    }
}

#[test]
fn k05_one_of_another_training_lists_what_does_not_fit() {
    let mut catch = Catch::default();
    train(Kind::Plain, options(None), &mut [&mut catch]).unwrap();
    let snapshot = catch.snapshots.pop().unwrap().1;
    let error = train(Kind::Averaged, options(Some(snapshot)), &mut []).unwrap_err().to_string();
    assert!(error.contains("snapshot of step 12"), "{error}");
    assert!(error.contains("`optimizer/") && error.contains("is missing"), "{error}");
}
