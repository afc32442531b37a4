//! What everything that is on by default costs a training: progress, events, checkpoints, the model file.

use crate::timing::fast;
use crate::workloads::Workload;
use nerve_data::{Arrays, Element, Field, Loader, LoaderOptions};
use nerve_nn::losses::{CrossEntropy, Loss, Mse};
use nerve_nn::{Model, Params};
use nerve_track::{CHECKPOINTS, Recorder, RunFolder};
use nerve_train::checkpoint::Saved;
use nerve_train::{Background, Callback, Checkpoints, Every, Options, Progress, Saver, Trainer};
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
        _ => (160, 5),
    };
    let (batches, pairs) = if fast() { (batches / 10, 1) } else { (batches, 7) };
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
    println!("{word}: on the disk after {}", worst(|s| s.took));
    Ok(())
}

fn train(
    workload: Workload,
    loader: &Loader,
    epochs: u64,
    saved: Option<Arc<Mutex<Vec<Saved>>>>,
) -> Result<Timed, Box<dyn Error>> {
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
    let begun = Instant::now();
    let fit = match saved {
        None => trainer.fit(loader, None, &mut [])?,
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
            let fit = trainer.fit(loader, None, callbacks)?;
            recorder.end(nerve_track::Status::Done, "", 0)?;
            fit
        }
    };
    Ok(Timed { time: begun.elapsed(), steps: fit.steps })
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
