//! `nerve runs` on run folders made here.
#![allow(missing_docs)]

mod common;

use common::{Ran, folder, nerve, shell};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// A run folder that says of itself what `state` says, with two epochs.
fn make(here: &Path, name: &str, state: Value) -> PathBuf {
    let run = here.join("runs").join(name);
    fs::create_dir_all(&run).unwrap();
    fs::write(run.join("resolved.toml"), "seed = 7\n[trainer]\nepochs = 2\n").unwrap();
    fs::write(run.join("state.json"), state.to_string()).unwrap();
    let mut events = r#"{"t":1000,"k":"begin","format":1,"nerve":"0.1.0","pid":1,"epochs":2,"steps_per_epoch":2,"metrics":["accuracy"],"goal":"val_loss","maximize":false,"step":0}"#.to_string() + "\n";
    for step in 1..=4u64 {
        let (epoch, loss) = (step.div_ceil(2), 1.0 / step as f64);
        events += &format!(
            "{{\"t\":{}.5,\"k\":\"scalar\",\"step\":{step},\"epoch\":{epoch},\"tag\":\"loss/train\",\"v\":{loss}}}\n",
            1000 + step
        );
        if step % 2 == 0 {
            events += &json!({"t": 1000 + step, "k": "epoch", "epoch": epoch, "step": step, "time_s": step, "lr": 0.01,
                "scores": {"loss": loss, "val_loss": loss + 0.1}, "best": epoch == 1})
            .to_string();
            events += "\n";
        }
    }
    fs::write(run.join("events.jsonl"), events).unwrap();
    run
}

fn state(status: &str, began: f64) -> Value {
    json!({"status": status, "reason": "", "pid": 1, "heartbeat": began + 65.0, "began": began, "epoch": 2, "epochs": 2,
        "step": 4, "best": [1, 0.6], "goal": "val_loss"})
}

fn out(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.out))
}

#[test]
fn runs_are_listed_by_time_with_their_state() {
    let here = folder();
    let here = here.path();
    nerve(here, &["runs"]).ends(0).quiet().says("no runs in `runs`");
    make(here, "older", state("done", 1000.0));
    make(here, "a-newer", state("stopped", 2000.0));
    make(here, "gone", state("running", 1500.0));
    let alive = json!({"heartbeat": now() + 3600.0});
    let mut running = state("running", 3000.0);
    running["heartbeat"] = alive["heartbeat"].clone();
    make(here, "runs-now", running);
    let ran = nerve(here, &["runs"]).ends(0);
    let rows: Vec<Vec<&str>> =
        ran.out.lines().map(|line| line.split_whitespace().collect()).collect();
    let names: Vec<&str> = rows.iter().map(|row| row[0]).collect();
    assert_eq!(names, ["run", "older", "gone", "a-newer", "runs-now"]);
    assert_eq!(rows[1][1..8], ["done", "2/2", "0.6000", "val_loss", "@1", "1m05s", "1970-01-01"]);
    let states: Vec<&str> = rows[1..].iter().map(|row| row[1]).collect();
    assert_eq!(states, ["done", "lost", "stopped", "running"]);
    let list = out(&nerve(here, &["runs", "list", "--json"]).ends(0));
    assert_eq!(list[0]["name"], "older");
    assert_eq!(list[0]["best"], 0.6);
    assert_eq!(list[1]["status"], "lost");
}

#[test]
fn a_run_is_shown() {
    let here = folder();
    let here = here.path();
    make(here, "a", state("done", 1000.0));
    let ran = nerve(here, &["runs", "show", "a"]).ends(0);
    for text in ["runs/a", "val_loss 0.6000 in epoch 1", "★ best", "events.jsonl", "1m05s"] {
        assert!(ran.out.contains(text), "no {text} in\n{}", ran.out);
    }
    let value = out(&nerve(here, &["runs", "show", "runs/a", "--json"]).ends(0));
    assert_eq!(value["history"][1]["scores"]["val_loss"], 0.35);
    assert!(value["files"]["events.jsonl"].as_u64().unwrap() > 100);
    nerve(here, &["runs", "show", "b"]).ends(2).quiet().says("no run `b`: there are a");
}

#[test]
fn runs_are_removed_when_that_is_meant_and_possible() {
    let here = folder();
    let here = here.path();
    let a = make(here, "a", state("done", 1000.0));
    let mut running = state("running", 1000.0);
    running["heartbeat"] = json!(now() + 3600.0);
    let b = make(here, "b", running);
    shell(here, "nerve runs rm a </dev/null").ends(2).quiet().says("say --yes to remove a");
    nerve(here, &["runs", "rm", "a", "b", "--yes"]).ends(2).quiet().says("`b` is running");
    assert!(a.exists() && b.exists(), "all or none");
    shell(&a, "nerve runs rm . --yes").ends(2).says("go elsewhere");
    // A folder with a recipe is not a run yet.
    fs::create_dir_all(here.join("mine")).unwrap();
    fs::write(here.join("mine/resolved.toml"), "").unwrap();
    nerve(here, &["runs", "rm", "mine", "--yes"]).ends(2).says("nothing of a training");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("a", here.join("runs/latest")).unwrap();
        nerve(here, &["runs", "rm", "latest", "--yes"]).ends(2).says("is a link to `a`");
    }
    let ran = nerve(here, &["runs", "rm", "a", "runs/a", "--yes"]).ends(0);
    assert_eq!(ran.out, "removed a\n");
    assert!(!a.exists());
    let left = fs::read_dir(here.join("runs")).unwrap().count();
    assert_eq!(left, 2, "b and the link");
}

#[test]
fn tags_are_given_and_taken() {
    let here = folder();
    let here = here.path();
    make(here, "a", state("done", 1000.0));
    make(here, "b", state("done", 2000.0));
    let ran = nerve(here, &["runs", "tag", "a", "good", "no dropout", "good"]).ends(0);
    assert_eq!(ran.out, "good\nno dropout\n");
    assert!(nerve(here, &["runs"]).out.contains("good, no dropout"));
    let tagged = out(&nerve(here, &["runs", "--tag", "good", "--json"]).ends(0));
    assert_eq!(tagged.as_array().unwrap().len(), 1);
    assert_eq!(nerve(here, &["runs", "tag", "a", "--remove", "good"]).ends(0).out, "no dropout\n");
    nerve(here, &["runs", "tag", "a", "--remove", "good"]).ends(2).says("has no tag `good`");
    nerve(here, &["runs", "tag", "a", "x\u{1b}[31m"]).ends(2).quiet().says("can be shown");
    fs::write(here.join("runs/a/tags.json"), "7").unwrap();
    nerve(here, &["runs", "tag", "a"]).ends(3).says("tags.json");
    nerve(here, &["runs"]).ends(0);
}

#[test]
fn a_run_is_exported_for_tensorboard_and_as_csv() {
    let here = folder();
    let here = here.path();
    let run = make(here, "a", state("done", 1000.0));
    let value =
        out(&nerve(here, &["runs", "export", "a", "--to", "tensorboard", "--json"]).ends(0));
    assert_eq!(value["events"], 7);
    let file = PathBuf::from(here).join(value["file"].as_str().unwrap());
    let bytes = fs::read(&file).unwrap();
    assert!(file.starts_with(run.join("tb")) && bytes.len() > 300);
    // Once more, also following a run that has ended: nothing is added.
    let again =
        nerve(here, &["runs", "export", "a", "--to", "tensorboard", "--follow", "--json"]).ends(0);
    assert_eq!(out(&again)["events"], 0);
    assert_eq!(fs::read(&file).unwrap(), bytes);
    let csv = nerve(here, &["runs", "export", "a", "--to", "csv"]).ends(0).out;
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines[0], "tag,step,epoch,time,value");
    assert_eq!(lines[3], "loss/train,3,2,1003.5,0.3333333333333333");
    let ran = nerve(here, &["runs", "export", "a", "--to", "csv", "-o", "c.csv"]).ends(0);
    assert_eq!(ran.out, "4 points into c.csv\n");
    assert_eq!(fs::read_to_string(here.join("c.csv")).unwrap(), csv);
    nerve(here, &["runs", "export", "a", "--to", "csv", "--follow"]).ends(2).quiet();
    // A reader that goes away is no failure.
    shell(here, "nerve runs export a --to csv | true").ends(0);
    nerve(here, &["runs", "export", "a", "--to", "w&b"]).ends(2).quiet();
}

#[test]
fn an_export_to_mlflow_says_what_it_cannot_do() {
    let here = folder();
    let here = here.path();
    make(here, "a", state("done", 1000.0));
    let export =
        |more: &[&str]| nerve(here, &[&["runs", "export", "a", "--to", "mlflow"], more].concat());
    export(&[]).ends(2).quiet().says("--address");
    let unchecked = "MLFLOW_TRACKING_INSECURE_TLS=true nerve runs export a --to mlflow --address https://127.0.0.1:1";
    shell(here, unchecked).ends(2).quiet().says("certificates are always checked");
    export(&["--address", "localhost"]).ends(2).quiet().says("is no address");
    let nobody = ["--address", "http://127.0.0.1:1", "--patience", "0"];
    export(&nobody).ends(1).quiet().says("http://127.0.0.1:1 does not answer");
}
