//! What everything that is on by default costs a training: progress, events, checkpoints, the model file.

use crate::timing::fast;
use crate::workloads::Workload;
use nerve_data::{Arrays, Element, Field, Loader, LoaderOptions};
use nerve_nn::losses::{CrossEntropy, Loss, Mse};
use nerve_nn::{Model, Params};
use nerve_track::{CHECKPOINTS, Recorder, RunFolder};
use nerve_train::checkpoint::Saved;
use nerve_train::{
    Background, Callback, CallbackError, Capture, Checkpoints, Every, Moment, Options, Progress,
    Saver, Snapshot, Trainer,
};
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// One training, bare or with all that a run has, and how long it took.
struct Timed {
    time: Duration,
    steps: u64,
}

/// Trains in pairs, bare and with everything, in turn; prints the ratio of the medians, the time of a step, and of
/// the checkpoints how long the training stood still and how long they took.
pub fn run(word: &str) -> Result<(), Box<dyn Error>> {
    let workload = crate::named(word)?;
    let (batches, epochs) = match workload {
        Workload::I => (4000, 8),
        _ => (844, 5),
    };
    let (batches, pairs) = if fast() {
        (batches / 10, 1)
    } else {
        (batches, if workload == Workload::I { 7 } else { 1 })
    };
    let loader = loader(workload, batches)?;
    let saved = Arc::new(Mutex::new(Vec::new()));
    let (mut bare, mut full) = (Vec::new(), Vec::new());
    train(workload, &loader, 1, None)?;
    for _ in 0..pairs {
        bare.push(train(workload, &loader, epochs, None)?);
        full.push(train(workload, &loader, epochs, Some(saved.clone()))?);
    }
    let median = |timed: &[Timed]| {
        let mut times: Vec<f64> =
            timed.iter().map(|it| it.time.as_secs_f64() / it.steps as f64 * 1e6).collect();
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let (bare, full) = (median(&bare), median(&full));
    println!("{word}: a step takes {bare:.2} µs bare, {full:.2} µs with everything");
    println!("{word}: {:+.2} µs a step, {:+.2} %", full - bare, 100.0 * (full / bare - 1.0));
    let saved = saved.lock().map_err(|error| error.to_string())?;
    let worst = |of: fn(&Saved) -> Duration| {
        let mut times: Vec<f64> = saved.iter().map(|it| of(it).as_secs_f64() * 1e3).collect();
        times.sort_by(f64::total_cmp);
        let middle = times.get(times.len() / 2).copied().unwrap_or(f64::NAN);
        format!("{middle:.2} ms, at most {:.2} ms", times.last().copied().unwrap_or(f64::NAN))
    };
    println!(
        "{word}: {} checkpoints; the training stood still for {}",
        saved.len(),
        worst(|s| s.stopped)
    );
    println!("{word}: on the disk after {}, while it trained", worst(|s| s.took));
    alone(workload, word)
}

/// How long it takes to save a training that stands still.
fn alone(workload: Workload, word: &str) -> Result<(), Box<dyn Error>> {
    let mut last = Last(Snapshot::default());
    fit(workload, &loader(workload, 2)?, 1, &mut [&mut last])?;
    let root = tempfile::tempdir_in(".")?;
    let mut times = Vec::new();
    for i in 0..20 {
        let checkpoints = Checkpoints::open(root.path().join(i.to_string()))?;
        let begun = Instant::now();
        checkpoints.save(&last.0, false)?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        std::fs::remove_dir_all(checkpoints.folder())?;
    }
    times.sort_by(f64::total_cmp);
    let bytes = last.0.bytes() as f64 / 1e6;
    println!(
        "{word}: {bytes:.1} MB on the disk in {:.1} ms, at most {:.1} ms",
        times[10], times[19]
    );
    Ok(())
}

/// Takes the last state of a training.
struct Last(Snapshot);

impl Callback for Last {
    fn wants_snapshot(&mut self, moment: &Moment) -> bool {
        *moment == Moment::End
    }

    fn on_snapshot(&mut self, _: &Moment, capture: &Capture<'_>) -> Result<(), CallbackError> {
        capture.take(&mut self.0);
        Ok(())
    }
}

fn train(
    workload: Workload,
    loader: &Loader,
    epochs: u64,
    saved: Option<Arc<Mutex<Vec<Saved>>>>,
) -> Result<Timed, Box<dyn Error>> {
    let begun = Instant::now();
    let steps = match saved {
        None => fit(workload, loader, epochs, &mut [])?,
        Some(saved) => {
            let root = tempfile::tempdir_in(".")?;
            let folder = RunFolder::create(root.path(), "run", &[])?;
            let background = Arc::new(Background::new());
            let mut recorder = Recorder::new(&folder, background.clone(), None)?;
            let checkpoints = Checkpoints::open(folder.file(CHECKPOINTS))?;
            let saver = Saver::new(checkpoints, background, Every::default());
            let written = recorder.on_saved();
            let mut saver = saver.on_saved(move |it| {
                saved.lock().expect("nobody panics").push(it.clone());
                written(it);
            });
            let mut progress = Progress::lines(std::io::sink());
            let callbacks: &mut [&mut dyn Callback] =
                &mut [&mut recorder, &mut saver, &mut progress];
            let steps = fit(workload, loader, epochs, callbacks)?;
            recorder.end(nerve_track::Status::Done, "", 0)?;
            steps
        }
    };
    Ok(Timed { time: begun.elapsed(), steps })
}

/// Trains; gives the number of steps.
fn fit(
    workload: Workload,
    loader: &Loader,
    epochs: u64,
    callbacks: &mut [&mut dyn Callback],
) -> Result<u64, Box<dyn Error>> {
    let params = Params::new(42);
    let model = workload.model(&params);
    let model: &dyn Model = &model;
    let optimizer = workload.optimizer(&params);
    let loss: Box<dyn Loss> = match workload {
        Workload::H | Workload::I => Box::new(Mse),
        _ => Box::new(CrossEntropy::default()),
    };
    let trainer = Trainer::new(model, &*loss, &*optimizer)
        .state(params.vars())
        .options(Options { epochs, ..Options::default() });
    Ok(trainer.fit(loader, None, callbacks)?.steps)
}

/// So many batches of noise.
fn loader(workload: Workload, batches: usize) -> Result<Loader, Box<dyn Error>> {
    let batch_size = workload.batch();
    let (x, y) = workload.arrays(batch_size * batches);
    let field = |name: &str, shape: &[usize], element| Field::new(name, &shape[1..], element);
    let (x_shape, y_shape) = workload.shapes(batch_size);
    let target = match &y {
        nerve_data::Values::I32(_) => Element::I32,
        _ => Element::F32,
    };
    let arrays = Arrays::new(vec![
        (field("x", &x_shape, Element::F32), x),
        (field("y", &y_shape, target), y),
    ])?;
    let options = LoaderOptions { batch_size, shuffle: true, ..LoaderOptions::default() };
    Ok(Loader::new(Arc::new(arrays), options)?)
}
