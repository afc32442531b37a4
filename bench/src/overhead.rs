//! What everything that is on by default costs a training: progress, events, checkpoints, the model file.

use crate::timing::fast;
use crate::workloads::Workload;
use nerve_data::{Arrays, Element, Field, Loader, LoaderOptions};
use nerve_nn::losses::{CrossEntropy, Loss, Mse};
use nerve_nn::{Model, Params};
use nerve_track::{CHECKPOINTS, Recorder, RunFolder};
use nerve_train::checkpoint::Saved;
use nerve_train::{
    Background, Callback, CallbackError, Capture, Checkpoints, Control, Every, Moment, Options,
    Progress, Saver, Snapshot, StepEnd, Trainer,
};
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Trains in pairs, bare and with everything, in turn: only between the first step and the last, since a machine that
/// others use is not the same from one minute to the next. Each of the trainings with everything is saved
/// once within. Prints what that costs, and what it comes to where the training is saved as seldom as the
/// [`Background`] rests after it.
pub fn run(word: &str) -> Result<(), Box<dyn Error>> {
    let workload = crate::named(word)?;
    let batches = if workload == Workload::I { 40_000 } else { 150 };
    let (batches, pairs) = if fast() { (batches / 10, 2) } else { (batches, 15) };
    let loader = loader(workload, batches)?;
    let saved = Arc::new(Mutex::new(Vec::new()));
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..pairs {
        times[0].push(train(workload, &loader, None)?);
        times[1].push(train(workload, &loader, Some((&saved, None)))?);
        times[2].push(train(workload, &loader, Some((&saved, Some(batches as u64 / 3))))?);
    }
    let steps = batches as f64;
    let [bare, written, full] = times.map(|times| median(times) * 1e6 / steps);
    println!("{word}: a step takes {bare:.2} µs bare");
    let told = |what: &str, time: f64| {
        println!(
            "{word}: {what}: {:+.2} µs a step, {:+.2} %",
            time - bare,
            100.0 * (time / bare - 1.0)
        );
    };
    told("with progress and events", written);
    told(&format!("saved once in {:.1} s as well", full * steps / 1e6), full);
    let saved = saved.lock().map_err(|error| error.to_string())?;
    let times = |of: fn(&Saved) -> Duration| {
        let mut times: Vec<f64> = saved.iter().map(|it| of(it).as_secs_f64() * 1e3).collect();
        times.sort_by(f64::total_cmp);
        let last = times.last().copied().unwrap_or(f64::NAN);
        format!("{:.2} ms, at most {last:.2} ms", median(times))
    };
    println!(
        "{word}: {} checkpoints; the training stood still for {}",
        saved.len(),
        times(|s| s.stopped)
    );
    println!("{word}: on the disk after {}, while it trained", times(|s| s.took));
    alone(workload, word)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
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

/// The seconds between the first and the last step.
#[derive(Default)]
struct Clock {
    first: Option<Instant>,
    seconds: f64,
}

impl Callback for Clock {
    fn on_step_end(&mut self, _: &StepEnd<'_>) -> Result<Control, CallbackError> {
        let first = *self.first.get_or_insert_with(Instant::now);
        self.seconds = first.elapsed().as_secs_f64();
        Ok(Control::Continue)
    }
}

type Times = Arc<Mutex<Vec<Saved>>>;

fn train(
    workload: Workload,
    loader: &Loader,
    run: Option<(&Times, Option<u64>)>,
) -> Result<f64, Box<dyn Error>> {
    let mut clock = Clock::default();
    let Some((saved, steps)) = run else {
        fit(workload, loader, 1, &mut [&mut clock])?;
        return Ok(clock.seconds);
    };
    let root = tempfile::tempdir_in(".")?;
    let folder = RunFolder::create(root.path(), "run", &[])?;
    let background = Arc::new(Background::new());
    let mut recorder = Recorder::new(&folder, background.clone(), None)?;
    let checkpoints = Checkpoints::open(folder.file(CHECKPOINTS))?;
    let every = Every { epochs: None, steps, time: None };
    let (saved, written) = (saved.clone(), recorder.on_saved());
    let mut saver = Saver::new(checkpoints, background, every).on_saved(move |it| {
        saved.lock().expect("nobody panics").push(it.clone());
        written(it);
    });
    let mut progress = Progress::lines(std::io::sink());
    let callbacks: &mut [&mut dyn Callback] =
        &mut [&mut recorder, &mut saver, &mut progress, &mut clock];
    fit(workload, loader, 1, callbacks)?;
    recorder.end(nerve_track::Status::Done, "", 0)?;
    Ok(clock.seconds)
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
