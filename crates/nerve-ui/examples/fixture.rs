//! Writes run folders to look at: `fixture DIR [demo | big POINTS | many RUNS | live SECONDS |
//! resume SECONDS]`. `live` writes a run while it goes, as a training does, and vanishes without a word
//! at the end; `resume` goes on with it.

#[path = "../tests/common/mod.rs"]
mod common;

use common::{Fixture, now};
use nerve_track::{EVENTS, Event, Number, RunFolder, STATE, State, Status, What};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().expect("a number");
    match args[..] {
        [root] | [root, "demo"] => common::demo(Path::new(root)),
        [root, "big", points] => drop(common::big(Path::new(root), number(points))),
        [root, "many", runs] => common::many(Path::new(root), number(runs)),
        [root, "live", seconds] => live(Path::new(root), number(seconds)),
        [root, "resume", seconds] => resume(Path::new(root), number(seconds)),
        _ => panic!("fixture DIR [demo | big POINTS | many RUNS | live SECONDS | resume SECONDS]"),
    }
}

/// How the live run is.
fn fixture() -> Fixture<'static> {
    let status = Status::Running;
    Fixture { name: "live", epochs: 100, done: 0, steps: 50, status, ..Fixture::default() }
}

fn live(root: &Path, seconds: u64) {
    let fixture = Fixture { began: now(), heartbeat: now(), ..fixture() };
    train(&fixture.write(root), 0, seconds);
}

/// Goes on where the run was last, less ten steps that are done again.
fn resume(root: &Path, seconds: u64) {
    let run = RunFolder::open(root, Path::new("live")).expect("a live run");
    let done = State::read(&run.file(STATE)).expect("a state").step.saturating_sub(10);
    let mut file = OpenOptions::new().append(true).open(run.file(EVENTS)).expect("events");
    writeln!(file, "{}", Event::now(fixture().begin(done)).line()).expect("a line");
    train(&run, done, seconds);
}

/// Twenty steps a second.
fn train(run: &RunFolder, done: u64, seconds: u64) {
    let mut file = OpenOptions::new().append(true).open(run.file(EVENTS)).expect("events");
    let mut state = State::read(&run.file(STATE)).expect("a state");
    for step in done + 1..=done + seconds * 20 {
        let (epoch, tag) = ((step - 1) / 50 + 1, "loss/train".to_string());
        let v = Number(2.0 * (-(step as f64) / 100.0).exp() + 0.1);
        let event = Event::now(What::Scalar { step, epoch, tag, v });
        writeln!(file, "{}", event.line()).expect("a line");
        if step % 20 == 0 {
            (state.heartbeat, state.step, state.epoch) = (now(), step, epoch);
            state.show(&run.file(STATE)).expect("a state");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
