//! `nerve tune`, also when it is killed.
#![allow(missing_docs)]

mod common;

use common::{Ran, command, folder, nerve};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

const RECIPE: &str = "\
seed = 3
[data]
path = \"points.csv\"
split = { type = \"random\", fractions = [0.6, 0.2, 0.2] }
[[input]]
name = [\"x\", \"y\"]
type = \"number\"
[[output]]
name = \"z\"
type = \"number\"
[model]
layers = [\"Dense(8, relu)\"]
[trainer]
epochs = 4
batch_size = 16
[tune]
trials = 12
pruner = \"median(startup = 3)\"
[tune.space]
lr = { low = 1e-4, high = 0.3, log = true }
\"model.layers.0.units\" = { low = 2, high = 32, log = true }
trainer.optimizer.type = [\"adam\", \"rmsprop\"]
";

/// A folder with the recipe and the product of two numbers.
fn make(here: &Path, recipe: &str) {
    let mut csv = String::from("x,y,z\n");
    for i in 0..90 {
        let (x, y) = (f64::from(i % 9) / 4.0 - 1.0, f64::from(i / 9) / 5.0 - 1.0);
        csv += &format!("{x},{y},{}\n", x * y);
    }
    fs::write(here.join("points.csv"), csv).unwrap();
    fs::write(here.join("r.toml"), recipe).unwrap();
}

fn out(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.out))
}

/// The numbers of the trials that a journal says have ended.
fn ended(journal: &Path) -> Vec<u64> {
    let text = fs::read_to_string(journal).unwrap_or_default();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let over = lines.filter(|line| ["told", "pruned", "failed"].iter().any(|k| line["k"] == *k));
    over.map(|line| line["trial"].as_u64().unwrap()).collect()
}

#[test]
fn the_best_of_a_tuning_trains_as_it_is() {
    let here = folder();
    let here = here.path();
    make(here, RECIPE);
    let ran = nerve(here, &["tune", "r.toml", "--json", "--keep"]).ends(0).says("12 trials by tpe");
    let found = out(&ran);
    assert_eq!(found["trials"], 12);
    assert_eq!(ran.err.lines().filter(|line| line.starts_with("Trial")).count(), 12);
    let shares: f64 =
        found["importance"].as_object().unwrap().values().map(|it| it.as_f64().unwrap()).sum();
    assert!((shares - 1.0).abs() < 1e-9);
    let study = here.join("runs/r-tune");
    let csv = fs::read_to_string(study.join("trials.csv")).unwrap();
    assert_eq!(csv.lines().count(), 13);
    assert!(csv.starts_with(
        "trial,state,value,step,seconds,trainer.optimizer.lr,model.layers.0.units,trainer.optimizer.type,reason\n"
    ));
    let trained =
        nerve(here, &["train", "runs/r-tune/best.toml", "--json", "--progress", "off"]).ends(0);
    assert_eq!(out(&trained)["val_loss"], found["best"]["value"]);
    let best = format!("trials/{:04}", found["best"]["trial"].as_u64().unwrap());
    assert!(study.join(best).join("model.safetensors").is_file());
    // The same seed finds the same, with the table on standard output.
    let again = nerve(here, &["tune", "r.toml", "-q"]).ends(0);
    assert!(again.err.is_empty(), "{}", again.err);
    assert!(
        again.out.contains("how much it mattered") && again.out.contains("r-tune-2"),
        "{}",
        again.out
    );
    let text = |name: &str| fs::read_to_string(here.join("runs").join(name)).unwrap();
    assert_eq!(text("r-tune/best.toml"), text("r-tune-2/best.toml"));
}

#[test]
fn a_tuning_that_is_killed_goes_on_and_loses_nothing() {
    let here = folder();
    let here = here.path();
    make(here, RECIPE);
    let whole = out(&nerve(here, &["tune", "r.toml", "--json", "-q", "--name", "whole"]).ends(0));
    let journal = here.join("runs/cut-tune/journal.jsonl");
    let mut before = Vec::new();
    for attempt in 0..40u64 {
        let mut args = vec!["tune", "r.toml", "-q", "--name", "cut"];
        if journal.is_file() {
            args.push("--resume");
        }
        let mut child =
            command(here).args(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Some way into it, wherever that is on this machine: until two more trials have ended, and a bit.
        let wanted = before.len() + 1 + (attempt % 2) as usize;
        while ended(&journal).len() < wanted && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(2));
        }
        std::thread::sleep(Duration::from_millis(attempt * 7 % 23));
        child.kill().unwrap();
        child.wait().unwrap();
        let now = ended(&journal);
        assert!(now.starts_with(&before), "{before:?} {now:?}");
        before = now;
        if before.len() == 12 {
            break;
        }
    }
    let cut =
        out(&nerve(here, &["tune", "r.toml", "--json", "-q", "--name", "cut", "--resume"]).ends(0));
    assert_eq!(ended(&journal).len(), 12);
    for key in ["best", "told", "pruned", "failed", "importance"] {
        assert_eq!(cut[key], whole[key], "{key}");
    }
    // More trials of the same study.
    let more = out(&nerve(
        here,
        &["tune", "r.toml", "--json", "-q", "--name", "cut", "--resume", "-n", "14"],
    )
    .ends(0));
    assert_eq!(more["trials"], 14);
}

#[test]
fn workers_find_the_same_with_random_trials() {
    let here = folder();
    let here = here.path();
    let recipe = RECIPE.replace("pruner = \"median(startup = 3)\"", "pruner = \"none\"");
    make(here, &recipe);
    let with = |workers: &str| {
        let args =
            ["tune", "r.toml", "--sampler", "random", "-n", "6", "-j", workers, "--json", "-q"];
        out(&nerve(here, &args).ends(0))["best"].clone()
    };
    assert_eq!(with("3"), with("1"));
}

#[test]
fn what_is_wrong_is_told_before_anything_starts() {
    let here = folder();
    let here = here.path();
    make(here, RECIPE);
    let at = RECIPE.find("[tune]").unwrap();
    fs::write(here.join("plain.toml"), &RECIPE[..at]).unwrap();
    nerve(here, &["tune", "plain.toml"]).ends(2).quiet().says("no table [tune]");
    nerve(here, &["tune", "r.toml", "--resume"]).ends(2).quiet().says("no study `r-tune`");
    nerve(here, &["tune", "r.toml", "--sampler", "grid"]).ends(2).quiet().says("how many points");
    nerve(here, &["tune", "r.toml", "--timeout", "soon"]).ends(2).quiet().says("expected a time");
    nerve(here, &["tune", "r.toml", "tune.metric=val_maee"]).ends(2).quiet().says("did you mean");
    let unknown = RECIPE.replace("model.layers.0.units", "model.layers.0.unitz");
    fs::write(here.join("unknown.toml"), unknown).unwrap();
    for command in ["tune", "check", "train"] {
        nerve(here, &[command, "unknown.toml"]).ends(2).quiet().says("unknown key `unitz`");
    }
    assert!(!here.join("runs").exists(), "nothing was started");
    // A study of another space, and one that somebody works on.
    nerve(here, &["tune", "r.toml", "-q", "-n", "2"]).ends(0);
    let journal = here.join("runs/r-tune/journal.jsonl");
    let before = fs::read(&journal).unwrap();
    let wider = RECIPE.replace("high = 0.3", "high = 0.5");
    fs::write(here.join("r.toml"), wider).unwrap();
    nerve(here, &["tune", "r.toml", "--resume"])
        .ends(2)
        .quiet()
        .says("`trainer.optimizer.lr` was 0.0001 to 0.3 by its logarithm, it is 0.0001 to 0.5");
    let longer = RECIPE.replace("epochs = 4", "epochs = 5");
    fs::write(here.join("r.toml"), longer).unwrap();
    nerve(here, &["tune", "r.toml", "--resume"]).ends(2).quiet().says("+ epochs = 5");
    assert_eq!(fs::read(&journal).unwrap(), before);
    fs::write(here.join("r.toml"), RECIPE).unwrap();
    let text = String::from_utf8(before.clone()).unwrap();
    fs::write(&journal, text.replacen("\"asked\"", "\"asked", 1)).unwrap();
    nerve(here, &["tune", "r.toml", "--resume"]).ends(3).quiet().says("line 2");
    fs::write(&journal, before).unwrap();
    let file = fs::File::open(&journal).unwrap();
    file.lock().unwrap();
    nerve(here, &["tune", "r.toml", "--resume"]).ends(1).quiet().says("in use");
}

#[test]
#[cfg(unix)]
fn a_signal_gives_up_the_running_trial_and_the_study_goes_on() {
    let here = folder();
    let here = here.path();
    make(here, &RECIPE.replace("epochs = 4", "epochs = 400"));
    let mut child = command(here)
        .args(["tune", "r.toml", "-q", "-n", "500"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let journal = here.join("runs/r-tune/journal.jsonl");
    while ended(&journal).len() < 2 && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let id = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let ran = Ran::of(child.wait_with_output().unwrap()).ends(130).says("--resume goes on");
    assert!(ran.out.is_empty());
    let done = ended(&journal).len();
    assert!((2..500).contains(&done));
    assert!(here.join("runs/r-tune/best.toml").is_file(), "the best so far");
    let more = (done + 1).to_string();
    nerve(here, &["tune", "r.toml", "-q", "--resume", "-n", &more]).ends(0);
    assert_eq!(ended(&journal).len(), done + 1);
    // A time that is up at once: nothing is tried.
    let ran = nerve(here, &["tune", "r.toml", "-q", "--name", "late", "--timeout", "0s"]).ends(0);
    assert!(ran.err.contains("no trial came to its end"), "{}", ran.err);
}
