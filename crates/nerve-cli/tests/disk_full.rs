//! K10: the disk is full while a training runs. It is a file system of eight megabytes in memory, mounted in a name space of
//! the test's own, which needs no rights where the system lets users have name spaces; elsewhere the tests say that they
//! were skipped.
#![cfg(target_os = "linux")]
#![allow(missing_docs)]

mod common;
#[path = "common/points.rs"]
mod points;

use common::{Ran, folder};
use std::fs;
use std::path::Path;
use std::process::Command;

const RECIPE: &str = "\
[data]
path = \"points.csv\"
[[input]]
name = [\"a\", \"b\"]
type = \"number\"
[[output]]
name = \"c\"
type = \"number\"
[model]
layers = [\"Dense(64, relu)\", \"Dense(64, relu)\"]
[trainer]
epochs = 1500
batch_size = 24
[log]
checkpoint_steps = 5
every = 20
histograms = \"none\"
";

/// Waits for checkpoints, fills the disk while the training stands still, and waits until it says so. What `$1` does then
/// is the test's.
const FILL: &str = "
mkdir runs && mount -t tmpfs -o size=8m none runs || { echo 'no mount' >&2; exit 77; }
\"$NERVE\" train points.toml --name full --progress off >out.txt 2>err.txt &
pid=$!
gone() { ! kill -0 $pid 2>/dev/null; }
until [ -n \"$(ls runs/full/checkpoints 2>/dev/null | sed 1d)\" ] || gone; do sleep 0.005; done
kill -STOP $pid
cat /dev/zero >runs/filler 2>/dev/null
kill -CONT $pid
until grep -q 'No space left' err.txt || gone; do sleep 0.005; done
";

fn write(folder: &Path) {
    points::write(folder, RECIPE, points::grid(|a, b| (a * b).to_string()));
}

/// Runs the script in a name space of its own; `None` where there is none to be had.
fn on_a_small_disk(folder: &Path, script: &str) -> Option<Ran> {
    let mut shell = Command::new("unshare");
    shell.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]).current_dir(folder);
    shell.env("NERVE", env!("CARGO_BIN_EXE_nerve")).env_remove("NERVE_THREADS");
    let output = match shell.output() {
        Ok(output) => output,
        Err(error) => {
            println!("skipped: no unshare: {error}");
            return None;
        }
    };
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(77) || said.starts_with("unshare:") {
        println!("skipped: no file system of one's own here: {said}");
        return None;
    }
    Some(Ran::of(output))
}

/// The model of a training that always had room.
fn expected(folder: &Path) -> Vec<u8> {
    common::nerve(folder, &["train", "points.toml", "--runs", "room", "--progress", "off"]).ends(0);
    fs::read(folder.join("room/points/model.safetensors")).unwrap()
}

#[test]
fn k10_a_training_survives_a_disk_that_is_full_for_a_while() {
    let here = folder();
    let here = here.path();
    write(here);
    let script = format!(
        "{FILL} gone && exit 78; rm runs/filler; wait $pid; code=$?; cp -r runs/full kept; exit $code"
    );
    let Some(ran) = on_a_small_disk(here, &script) else { return };
    ran.ends(0);
    let said = fs::read_to_string(here.join("err.txt")).unwrap();
    assert!(
        said.contains("No space left on device") && said.contains("the training goes on"),
        "{said}"
    );
    assert!(!said.contains("panicked"), "{said}");
    assert!(said.lines().count() < 12, "told once, not in each epoch: {said}");
    assert!(fs::read(here.join("kept/model.safetensors")).unwrap() == expected(here));
    // Nothing half written lies about, and every event is there.
    let checkpoints = fs::read_dir(here.join("kept/checkpoints")).unwrap();
    let names: Vec<String> =
        checkpoints.map(|it| it.unwrap().file_name().to_string_lossy().into_owned()).collect();
    assert!(names.iter().all(|name| name.starts_with("step-") || name == "best"), "{names:?}");
    let events = fs::read_to_string(here.join("kept/events.jsonl")).unwrap();
    let epochs = events
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|event| event["k"] == "epoch");
    assert_eq!(epochs.count(), 1500);
}

#[test]
fn k10_a_training_that_ends_on_a_full_disk_has_kept_what_was_saved_and_goes_on() {
    let here = folder();
    let here = here.path();
    write(here);
    let script = format!(
        "{FILL} wait $pid; echo $? >code.txt; cp -r runs/full kept; rm runs/filler; \
         \"$NERVE\" resume full --progress off 2>again.txt; code=$?; cp -r runs/full after; exit $code"
    );
    let Some(ran) = on_a_small_disk(here, &script) else { return };
    ran.ends(0);
    let read = |name: &str| fs::read_to_string(here.join(name)).unwrap();
    assert_eq!(read("code.txt").trim(), "1", "{}", read("err.txt"));
    let said = read("err.txt");
    assert!(said.contains("error") && said.contains("No space left on device"), "{said}");
    let kept = nerve::train::Checkpoints::open(here.join("kept/checkpoints")).unwrap();
    let found = kept.last().unwrap().expect("what was saved before");
    assert!(found.damaged.is_empty());
    assert!(read("again.txt").contains("goes on after step"), "{}", read("again.txt"));
    assert!(fs::read(here.join("after/model.safetensors")).unwrap() == expected(here));
}

#[test]
fn k10_a_disk_that_is_full_from_the_start_is_told_before_the_first_step() {
    let here = folder();
    let here = here.path();
    write(here);
    let script = "mkdir runs && mount -t tmpfs -o size=64k none runs || exit 77; \"$NERVE\" train points.toml --progress off";
    let Some(ran) = on_a_small_disk(here, script) else { return };
    let ran = ran.ends(1).quiet().says("No space left on device");
    assert!(!ran.err.contains("Epoch"), "{}", ran.err);
}
