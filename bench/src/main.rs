//! The benchmark workloads on nerve: `nerve-bench A A1 B C D G H I rss cold`, or
//! `nerve-bench profile C` for what each instruction of a training step takes.
//!
//! Each line of output is `RESULT <tab> framework <tab> mode <tab> workload <tab> metric <tab>
//! value <tab> spread`, as the peers' programs print it. `BENCH_FAST=1` is for a quick look.
#![forbid(unsafe_code)]

mod gemm;
mod harness;
mod workloads;

use harness::{Timing, bench, emit, fast, peak_rss_mb};
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use workloads::{Inference, Training, Workload};

/// What the program knows how to do.
const USAGE: &str = "usage: nerve-bench [A] [A1] [B] [C] [D] [G] [H] [I] [rss] [cold]
       nerve-bench profile [B] [C] [D] [G] [H] [I]";

/// What a process prints that was started to be timed to its first step.
const DONE: &str = "FIRST_STEP_DONE";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match words[..] {
        [] => Err(USAGE.into()),
        ["profile", ref names @ ..] => names.iter().try_for_each(|name| named(name).map(profile)),
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
    match word {
        "A" => gemm::squares(),
        "A1" => gemm::one_core(),
        "rss" => println!("{}", alone("rss-alone")?.0.join("\n")),
        "rss-alone" => memory(),
        "cold" => cold()?,
        "cold-alone" => {
            Training::new(Workload::B).step();
            println!("{DONE}");
        }
        name => network(named(name)?),
    }
    Ok(())
}

/// Speed of training, and of use where the peers' programs measure it.
fn network(workload: Workload) {
    let name = workload.name();
    let rate = |metric: &str, examples: usize, timing: Timing| {
        emit(&name, metric, examples as f64 / timing.seconds, timing.spread);
    };
    let micros = |metric: &str, timing: Timing| {
        emit(&name, metric, timing.seconds * 1e6, timing.spread);
    };
    let mut training = Training::new(workload);
    let timing = bench(|| training.step());
    rate("train samples/s", workload.batch(), timing);
    if matches!(workload, Workload::B | Workload::I) {
        micros("train us/step", timing);
    }
    let used = |batch| {
        let mut inference = Inference::new(workload, batch);
        bench(|| {
            inference.run();
        })
    };
    if matches!(workload, Workload::B | Workload::C) {
        micros("infer b1 us", used(1));
    }
    if workload == Workload::C {
        rate("infer b256 samples/s", 256, used(256));
    }
    if workload == Workload::G {
        let timing = used(1);
        emit(&name, "infer b1 ms", timing.seconds * 1e3, timing.spread);
        rate("infer b64 samples/s", 64, used(64));
    }
}

/// Peak memory of training C. What else a process has done would count too, so it does nothing else.
fn memory() {
    let mut training = Training::new(Workload::C);
    let before = peak_rss_mb();
    (0..50).for_each(|_| training.step());
    emit("C", "peak RSS MB", peak_rss_mb(), 0.0);
    emit("C", "RSS before train MB", before, 0.0);
}

/// From the start of a process until it has trained B for one step. The first is not counted: it
/// reads the program from the disk.
fn cold() -> Result<(), Box<dyn Error>> {
    let count = if fast() { 3 } else { 7 };
    let mut times = Vec::new();
    for _ in 0..=count {
        times.push(alone("cold-alone")?.1);
    }
    let timing = Timing::of(times.split_off(1));
    emit("B", "cold start s", timing.seconds, timing.spread);
    Ok(())
}

/// The lines that this program prints for `word` in a process of its own, and the seconds from the
/// start of that process to its last line.
fn alone(word: &str) -> Result<(Vec<String>, f64), Box<dyn Error>> {
    let start = Instant::now();
    let mut command = Command::new(std::env::current_exe()?);
    let mut child = command.arg(word).stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().ok_or("no output")?;
    let (mut lines, mut seconds) = (Vec::new(), 0.0);
    for line in BufReader::new(output).lines() {
        lines.push(line?);
        seconds = start.elapsed().as_secs_f64();
    }
    match child.wait()?.success() && !lines.is_empty() {
        true => Ok((lines, seconds)),
        false => Err(format!("`nerve-bench {word}` failed").into()),
    }
}

/// How long instructions and whole steps are watched.
const PROFILE_TIME: Duration = Duration::from_secs(4);

/// Prints the instructions of a training step with the time that each takes when run alone: the
/// best of some steps, since others can only make it longer.
fn profile(workload: Workload) {
    let mut training = Training::new(workload);
    (0..3).for_each(|_| training.step());
    let mut best: Vec<Duration> = Vec::new();
    // Not for ever, where a step takes long.
    let start = Instant::now();
    while best.is_empty() || start.elapsed() < PROFILE_TIME {
        training.load();
        let mut times = Vec::new();
        training.step.profile(&mut times).expect("the classes are in range");
        best.resize(times.len(), Duration::MAX);
        best.iter_mut().zip(times).for_each(|(best, time)| *best = time.min(*best));
    }
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let plan = training.step.plan();
    let mut lines = plan.explain().lines();
    println!("{} training: {}", workload.name(), lines.next().unwrap_or_default());
    for (line, &time) in lines.zip(&best) {
        println!("{:9.1} µs {line}", micros(time));
    }
    let (total, flops) = (micros(best.iter().sum()), plan.flops() as f64);
    println!("{total:9.1} µs in all, {:.1} GFLOP/s", flops / total / 1e3);
    let (mut whole, start) = (Duration::MAX, Instant::now());
    while start.elapsed() < PROFILE_TIME {
        let start = Instant::now();
        training.step();
        whole = whole.min(start.elapsed());
    }
    println!("{:9.1} µs a step with its batch when replayed as a whole\n", micros(whole));
}
