//! What is measured of each network, by whoever runs it: nerve, and the peers that are written in
//! Rust. `peers/common.py` says the same to those that are not.

use crate::timing::{Timing, bench, fast, peak_rss_mb};
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Something to be timed.
pub type Call = Box<dyn FnMut()>;

/// Who runs the workloads.
pub trait Peer {
    /// Framework with its version, and mode with the number of threads.
    fn names(&self) -> [String; 2];
    /// Multiplies two matrices of `n` rows and columns.
    fn product(&self, n: usize) -> Call;
    /// Trains `workload` for one step with the next batch of [`batch`] examples.
    fn trainer(&self, workload: &str) -> Call;
    /// Runs the network of `workload` on the next batch of `n`, up to its result.
    fn user(&self, workload: &str, n: usize) -> Call;
    /// Operations a second that the threads in use could reach now, where that is known.
    fn peak(&self) -> Option<f64> {
        None
    }
    /// Uses one thread from now on, or all again; `false` if that cannot be changed.
    fn use_one_thread(&self, _one: bool) -> bool {
        false
    }
}

/// Sizes of the products of workload A.
const SIZES: [usize; 6] = [64, 256, 512, 1024, 2048, 4096];
/// Those on one thread.
const SIZES_OF_ONE: [usize; 4] = [64, 256, 512, 1024];

/// Examples in a batch of training.
pub fn batch(workload: &str) -> Option<usize> {
    Some(match workload {
        "B" | "C" | "G" => 64,
        "D" | "H" => 128,
        "E" | "I" => 32,
        "F" => 16,
        _ => return None,
    })
}

/// Metrics and batch sizes of the network in use.
fn uses(workload: &str) -> &'static [(&'static str, usize)] {
    match workload {
        "B" | "E" => &[("infer b1 us", 1)],
        "C" => &[("infer b1 us", 1), ("infer b256 samples/s", 256)],
        "F" => &[("infer b1 ms", 1)],
        "G" => &[("infer b1 ms", 1), ("infer b64 samples/s", 64)],
        _ => &[],
    }
}

/// What a process prints that was started to be timed to its first step.
const DONE: &str = "FIRST_STEP_DONE";

/// Measures what `word` names: `A`, `A1`, a network, `rss` or `cold`; `arguments` stand before it where this
/// program is started again. `false` if it names nothing.
///
/// # Errors
/// If this program cannot be started again.
pub fn measure(peer: &dyn Peer, arguments: &[&str], word: &str) -> Result<bool, Box<dyn Error>> {
    match word {
        "A" => SIZES.into_iter().for_each(|n| product(peer, "A", n)),
        "A1" if peer.use_one_thread(true) => {
            SIZES_OF_ONE.into_iter().for_each(|n| product(peer, "A1", n));
            peer.use_one_thread(false);
        }
        "rss" => println!("{}", alone(arguments, "rss-alone")?.0.join("\n")),
        "rss-alone" => memory(peer),
        "cold" => cold(&peer.names(), arguments)?,
        "cold-alone" => {
            peer.trainer("B")();
            println!("{DONE}");
        }
        _ => match batch(word) {
            Some(examples) => network(peer, word, examples),
            None => return Ok(false),
        },
    }
    Ok(true)
}

/// Prints one result: `RESULT`, framework, mode, workload, metric, value, spread, between tabs.
fn emit(names: &[String; 2], workload: &str, metric: &str, value: f64, spread: f64) {
    let [name, mode] = names;
    println!("RESULT\t{name}\t{mode}\t{workload}\t{metric}\t{value:.6}\t{spread:.3}");
}

/// Speed of a product, and its share of the peak of the moment.
fn product(peer: &dyn Peer, workload: &str, n: usize) {
    let call = peer.product(n);
    let before = peer.peak();
    let Timing { seconds, spread } = bench(call);
    let after = peer.peak();
    let speed = 2.0 * (n as f64).powi(3) / seconds;
    let names = peer.names();
    emit(&names, workload, &format!("n{n} GFLOP/s"), speed / 1e9, spread);
    // Two peaks, because others may have slowed either.
    if let Some(peak) = before.zip(after).map(|(a, b)| a.max(b)) {
        emit(&names, workload, &format!("n{n} % of peak"), 100.0 * speed / peak, spread);
    }
}

/// Speed of training, and of use where that is measured.
fn network(peer: &dyn Peer, workload: &str, examples: usize) {
    let timed = |metric: &str, examples: usize, Timing { seconds, spread }: Timing| {
        let value = match metric.split([' ', '/']).rfind(|word| ["us", "ms"].contains(word)) {
            Some("us") => seconds * 1e6,
            Some(_) => seconds * 1e3,
            None => examples as f64 / seconds,
        };
        emit(&peer.names(), workload, metric, value, spread);
    };
    let timing = bench(peer.trainer(workload));
    timed("train samples/s", examples, timing);
    if matches!(workload, "B" | "I") {
        timed("train us/step", examples, timing);
    }
    for &(metric, n) in uses(workload) {
        timed(metric, n, bench(peer.user(workload, n)));
    }
}

/// Peak memory of training C. What else a process has done would count too, so it does nothing else.
fn memory(peer: &dyn Peer) {
    let mut step = peer.trainer("C");
    let before = peak_rss_mb();
    (0..50).for_each(|_| step());
    emit(&peer.names(), "C", "peak RSS MB", peak_rss_mb(), 0.0);
    emit(&peer.names(), "C", "RSS before train MB", before, 0.0);
}

/// From the start of a process until it has trained B for one step. The first is not counted: it
/// reads the program from the disk.
fn cold(names: &[String; 2], arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let count = if fast() { 3 } else { 7 };
    let mut times = Vec::new();
    for _ in 0..=count {
        times.push(alone(arguments, "cold-alone")?.1);
    }
    let timing = Timing::of(times.split_off(1));
    emit(names, "B", "cold start s", timing.seconds, timing.spread);
    Ok(())
}

/// The lines that this program prints for `word` in a process of its own, and the seconds from the
/// start of that process to its last line.
fn alone(arguments: &[&str], word: &str) -> Result<(Vec<String>, f64), Box<dyn Error>> {
    let start = Instant::now();
    let mut command = Command::new(std::env::current_exe()?);
    let mut child = command.args(arguments).arg(word).stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().ok_or("no output")?;
    let (mut lines, mut seconds) = (Vec::new(), 0.0);
    for line in BufReader::new(output).lines() {
        lines.push(line?);
        seconds = start.elapsed().as_secs_f64();
    }
    match child.wait()?.success() && !lines.is_empty() {
        true => Ok((lines, seconds)),
        false => Err(format!("`{word}` failed").into()),
    }
}
