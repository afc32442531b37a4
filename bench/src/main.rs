//! The benchmark workloads on nerve: `nerve-bench A A1 B C D E F G H I rss cold`.
//!
//! `nerve-bench profile C` shows what each instruction of a training step takes, `nerve-bench table
//! FILE... --svg FILE` what the lines of nerve and its peers say side by side.
//!
//! Each line of output is `RESULT <tab> framework <tab> mode <tab> workload <tab> metric <tab>
//! value <tab> spread`, as the peers' programs print it. `BENCH_FAST=1` is for a quick look,
//! `NERVE_BENCH_BF16=1` for products of bf16.
#![forbid(unsafe_code)]

mod gemm;
mod overhead;
mod peer;
mod picture;
mod table;
mod timing;
mod workloads;

use nerve_core::{Precision, Step};
use peer::{Call, Peer};
use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use workloads::{Inference, Training, Workload};

/// What the program knows how to do.
const USAGE: &str = "usage: nerve-bench WORD...      A A1 B C D E F G H I rss cold
       nerve-bench profile WORKLOAD...      a step of training; C@1: use with batches of 1
       nerve-bench overhead WORKLOAD...     what progress, events and checkpoints cost: C I
       nerve-bench table FILE... [--svg FILE] [--title TEXT]";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match words[..] {
        [] => Err(USAGE.into()),
        ["profile", ref names @ ..] => names.iter().try_for_each(|name| profile(name)),
        ["overhead", ref names @ ..] => names.iter().try_for_each(|name| overhead::run(name)),
        ["table", ref arguments @ ..] => table::run(arguments),
        _ => words.iter().try_for_each(|word| run(word)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error: Box<dyn Error> = error;
            eprintln!("nerve-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn named(name: &str) -> Result<Workload, Box<dyn Error>> {
    let known = Workload::ALL.into_iter().find(|workload| workload.name() == name);
    known.ok_or_else(|| format!("there is no workload `{name}`\n{USAGE}").into())
}

fn run(word: &str) -> Result<(), Box<dyn Error>> {
    if peer::batch(word).is_some() {
        named(word)?;
    }
    let nerve = Nerve { threads: nerve_core::threads() };
    match peer::measure(&nerve, &[], word)? {
        true => Ok(()),
        false => Err(format!("there is no workload `{word}`\n{USAGE}").into()),
    }
}

/// nerve, timed as its peers are.
struct Nerve {
    /// How many threads it has.
    threads: usize,
}

impl Peer for Nerve {
    fn names(&self) -> [String; 2] {
        let (isa, threads) = (nerve_cpu::isa().name(), nerve_core::threads());
        let bf16 = if workloads::precision() == Precision::Bf16 { "+bf16" } else { "" };
        [format!("nerve {}", env!("CARGO_PKG_VERSION")), format!("{isa}{bf16} {threads}T")]
    }

    fn product(&self, n: usize) -> Call {
        let step = gemm::product(n);
        Box::new(move || step.run().expect("nothing is looked up"))
    }

    fn peak(&self) -> Option<f64> {
        nerve_cpu::peak_flops(nerve_core::threads())
    }

    fn use_one_thread(&self, one: bool) -> bool {
        nerve_core::set_threads(if one { 1 } else { self.threads });
        true
    }

    fn trainer(&self, workload: &str) -> Call {
        let mut training = Training::new(named(workload).expect("looked up before"));
        Box::new(move || training.step())
    }

    fn user(&self, workload: &str, n: usize) -> Call {
        let mut inference = Inference::new(named(workload).expect("looked up before"), n);
        Box::new(move || {
            inference.run();
        })
    }
}

/// How long instructions, and then whole steps, are watched.
fn profile_time() -> Duration {
    Duration::from_millis(if timing::fast() { 400 } else { 4000 })
}

/// Prints the instructions of a step of training, or of use, with the time that each takes when
/// run alone: the best of some steps, since others can only make it longer.
fn profile(word: &str) -> Result<(), Box<dyn Error>> {
    match word.split_once('@') {
        None => {
            let mut training = Training::new(named(word)?);
            watch(word, &mut training, |t| &t.step, Training::load, Training::step);
        }
        Some((name, batch)) => {
            let mut inference = Inference::new(named(name)?, batch.parse()?);
            let run = |i: &mut Inference| _ = i.run();
            watch(word, &mut inference, |i| &i.step, Inference::load, run);
        }
    }
    Ok(())
}

fn watch<T>(
    name: &str,
    what: &mut T,
    compiled: fn(&T) -> &Step,
    load: fn(&mut T),
    run: fn(&mut T),
) {
    (0..3).for_each(|_| run(what));
    let mut best: Vec<Duration> = Vec::new();
    // Not for ever, where a step takes long.
    let start = Instant::now();
    while best.is_empty() || start.elapsed() < profile_time() {
        load(what);
        let mut times = Vec::new();
        compiled(what).profile(&mut times).expect("the classes are in range");
        best.resize(times.len(), Duration::MAX);
        best.iter_mut().zip(times).for_each(|(best, time)| *best = time.min(*best));
    }
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let plan = compiled(what).plan();
    let mut lines = plan.explain().lines();
    let hand_off = 1e9 * nerve_cpu::hand_off();
    println!("{name}: {}; {hand_off:.0} ns a hand-off", lines.next().unwrap_or_default());
    for (line, &time) in lines.zip(&best) {
        println!("{:9.1} µs {line}", micros(time));
    }
    let (total, flops) = (micros(best.iter().sum()), plan.flops() as f64);
    println!("{total:9.1} µs in all, {:.1} GFLOP/s", flops / total / 1e3);
    let (mut whole, start) = (Duration::MAX, Instant::now());
    while start.elapsed() < profile_time() {
        let start = Instant::now();
        run(what);
        whole = whole.min(start.elapsed());
    }
    println!("{:9.1} µs a step with its batch when replayed as a whole\n", micros(whole));
}
