//! What everything that is on by default costs a training: progress, events, checkpoints, the model file.

use crate::timing::fast;
use crate::workloads::Workload;
use nerve_data::{Arrays, Element, Field, Loader, LoaderOptions};
use nerve_nn::losses::{CrossEntropy, Loss, Mse};
use nerve_nn::{Model, Params};
use nerve_track::{CHECKPOINTS, EventLog, Recorder, RunFolder, What};
use nerve_train::checkpoint::Saved;
use nerve_train::{
    Background, Callback, CallbackError, Capture, Checkpoints, Control, Depth, Every, Finding,
    Health, Moment, Options, Progress, Saver, Snapshot, StepEnd, Trainer,
};
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How a training is watched.
#[derive(Clone, Copy, PartialEq)]
enum Watched {
    /// By nobody.
    Bare,
    /// Progress and events.
    Written,
    /// All that is on by default: histograms of the weights too, and the training is saved after each epoch
    /// and each second, as often as the [`Background`] lets it.
    All,
}

/// Trains in rounds of three, bare, with progress and events, and with everything, in turn: only between the
/// first step and the last, since a machine that others use is not the same from one minute to the next. What
/// is compared are the two or three neighbours of a round: the median of their ratios, and an interval that
/// has the true median in it with 95 % (order statistics, no distribution assumed). Beside the time that
/// passed it counts the time of the processor, of all threads, which others do not take; with one thread
/// (NERVE_THREADS=1) no thread waits spinning, and that time is work alone.
pub fn run(word: &str) -> Result<(), Box<dyn Error>> {
    let workload = crate::named(word)?;
    let batches = if workload == Workload::I { 40_000 } else { 300 };
    let rounds = std::env::var("ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(15);
    let (batches, rounds) = if fast() { (batches / 10, 2) } else { (batches, rounds) };
    let loader = loader(workload, batches)?;
    let saved = Arc::new(Mutex::new(Vec::new()));
    let mut spent: [Vec<Spent>; 3] = Default::default();
    for _ in 0..rounds {
        for (spent, how) in spent.iter_mut().zip([Watched::Bare, Watched::Written, Watched::All]) {
            spent.push(train(workload, &loader, how, &saved)?);
        }
    }
    let steps = batches as f64;
    for (what, of) in
        [("passed", Spent::wall as fn(&Spent) -> f64), ("of the processor", Spent::cpu)]
    {
        let [bare, written, all] = spent.each_ref().map(|it| it.iter().map(of).collect::<Vec<_>>());
        let step = median(bare.clone()) / steps;
        println!("{word}: a step takes {:.2} µs {what}, bare", step * 1e6);
        for (how, times) in [("progress and events", written), ("everything", all)] {
            let ratios = times.iter().zip(&bare).map(|(time, bare)| time / bare - 1.0);
            let (middle, low, high) = interval(ratios.collect());
            let share = |ratio: f64| format!("{:+.2} %", 100.0 * ratio);
            println!(
                "{word}: with {how}: {} ({} to {}), {:+.2} µs a step",
                share(middle),
                share(low),
                share(high),
                middle * step * 1e6
            );
        }
    }
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

/// The median, and two of the values between which it lies with 95 %: n/2 ± 0.98 √n.
fn interval(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    let n = values.len() as f64;
    let half = 0.98 * n.sqrt();
    let at = |place: f64| values[(place.max(0.0) as usize).min(values.len() - 1)];
    (at(n / 2.0), at((n / 2.0 - half).floor()), at((n / 2.0 + half).ceil()))
}

/// How long it takes to save a training that stands still.
fn alone(workload: Workload, word: &str) -> Result<(), Box<dyn Error>> {
    let mut last = Last(Snapshot::default());
    fit(workload, &loader(workload, 2)?, &mut [&mut last], None)?;
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

/// What a training took between its first step and its last: seconds that passed, and those of the processor,
/// with what was still to be written then.
#[derive(Clone, Copy)]
struct Spent {
    wall: f64,
    cpu: f64,
}

impl Spent {
    fn wall(&self) -> f64 {
        self.wall
    }

    fn cpu(&self) -> f64 {
        self.cpu
    }
}

/// The time of the processor that this process has had, in seconds, in ticks of 10 ms; NaN where the system does
/// not say.
fn processor() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name, which may have spaces in it, utime and stime are the 12th and 13th word.
    let words = text.rsplit(')').next().unwrap_or("").split_whitespace();
    let ticks: Vec<f64> = words.skip(11).take(2).filter_map(|word| word.parse().ok()).collect();
    if ticks.len() == 2 { (ticks[0] + ticks[1]) / 100.0 } else { f64::NAN }
}

/// Looks at both clocks after the first step, and at that on the wall after each.
#[derive(Default)]
struct Clock {
    first: Option<(Instant, f64)>,
    seconds: f64,
}

impl Callback for Clock {
    fn on_step_end(&mut self, _: &StepEnd<'_>) -> Result<Control, CallbackError> {
        let (first, _) = *self.first.get_or_insert_with(|| (Instant::now(), processor()));
        self.seconds = first.elapsed().as_secs_f64();
        Ok(Control::Continue)
    }
}

impl Clock {
    fn spent(&self) -> Spent {
        let before = self.first.map_or(f64::NAN, |(_, cpu)| cpu);
        Spent { wall: self.seconds, cpu: processor() - before }
    }
}

type Times = Arc<Mutex<Vec<Saved>>>;

fn train(
    workload: Workload,
    loader: &Loader,
    how: Watched,
    saved: &Times,
) -> Result<Spent, Box<dyn Error>> {
    let mut clock = Clock::default();
    if how == Watched::Bare {
        fit(workload, loader, &mut [&mut clock], None)?;
        return Ok(clock.spent());
    }
    let root = tempfile::tempdir_in(".")?;
    let folder = RunFolder::create(root.path(), "run", &[])?;
    let background = Arc::new(Background::new());
    let mut recorder = Recorder::new(&folder, background.clone(), None)?;
    let checkpoints = Checkpoints::open(folder.file(CHECKPOINTS))?;
    let time = (how == Watched::All).then_some(Duration::from_secs(1));
    let every = Every { epochs: time.map(|_| 1), steps: None, time };
    let (saved, written) = (saved.clone(), recorder.on_saved());
    let mut saver = Saver::new(checkpoints, background, every).on_saved(move |it| {
        saved.lock().expect("nobody panics").push(it.clone());
        written(it);
    });
    let mut progress = Progress::lines(std::io::sink());
    let log = (how == Watched::All).then(|| recorder.log());
    let callbacks: &mut [&mut dyn Callback] =
        &mut [&mut recorder, &mut saver, &mut progress, &mut clock];
    fit(workload, loader, callbacks, log)?;
    recorder.end(nerve_track::Status::Done, "", 0)?;
    Ok(clock.spent())
}

/// Trains for an epoch, with histograms of the weights if there is something to write them into.
fn fit(
    workload: Workload,
    loader: &Loader,
    callbacks: &mut [&mut dyn Callback],
    log: Option<EventLog>,
) -> Result<(), Box<dyn Error>> {
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
        .options(Options { epochs: 1, ..Options::default() });
    let mut health = log.map(|log| {
        let sink = move |epoch, step, found: Vec<Finding>| {
            for finding in found {
                if let Finding::Histogram { tag, edges, counts, bad } = finding {
                    log.push(What::Hist { step, epoch, tag, edges, counts, bad });
                }
            }
        };
        Health::new(&trainer, loader, Depth::Weights, sink)
    });
    let callbacks = callbacks.iter_mut().map(|it| &mut **it as &mut dyn Callback);
    let health = health.iter_mut().map(|it| it as &mut dyn Callback);
    trainer.fit(loader, None, &mut callbacks.chain(health).collect::<Vec<_>>())?;
    Ok(())
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
