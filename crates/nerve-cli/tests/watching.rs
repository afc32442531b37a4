//! What can be seen of a training while it goes on.
#![allow(missing_docs)]

mod common;
#[path = "common/points.rs"]
mod points;

use common::{command, folder, nerve};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

const RECIPE: &str = "\
[data]
path = \"points.csv\"
[[input]]
name = [\"a\", \"b\"]
type = \"number\"
[[output]]
name = \"c\"
type = \"category\"
[model]
layers = [\"Dense(16, relu)\", \"Dense(2)\"]
[trainer]
epochs = 3
batch_size = 24
optimizer = { type = \"adam\", lr = 0.01 }
[log]
every = 1
";

fn write(here: &Path) {
    let class = |a: f64, b: f64| if a * b > 0.0 { "same".into() } else { "other".into() };
    points::write(here, RECIPE, points::grid(class));
}

/// The events of a run of this kind.
fn events(here: &Path, run: &str, kind: &str) -> Vec<Value> {
    let text = fs::read_to_string(here.join("runs").join(run).join("events.jsonl")).unwrap();
    let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let all = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.filter(|event| event["k"] == kind).collect()
}

fn train(here: &Path, name: &str, settings: &[&str]) -> Vec<u8> {
    let words = ["train", "points.toml", "--name", name, "--progress", "off"];
    nerve(here, &[&words, settings].concat()).ends(0);
    fs::read(here.join("runs").join(name).join("model.safetensors")).unwrap()
}

/// Only the metadata, which hold the recipe, differ.
fn tensors(model: &[u8]) -> &[u8] {
    let header = u64::from_le_bytes(model[..8].try_into().unwrap()) as usize;
    &model[8 + header..]
}

#[test]
fn the_length_of_the_gradient_is_a_curve_where_it_is_clipped_or_asked_for() {
    let here = folder();
    let here = here.path();
    write(here);
    let norms = |run: &str| -> Vec<(u64, f64)> {
        let scalars = events(here, run, "scalar").into_iter();
        let of = scalars.filter(|event| event["tag"] == "grad_norm");
        of.map(|event| (event["step"].as_u64().unwrap(), event["v"].as_f64().unwrap())).collect()
    };
    let plain = train(here, "plain", &[]);
    assert_eq!(norms("plain"), []);
    let asked = train(here, "asked", &["log.grad_norm=true"]);
    assert_eq!(tensors(&plain), tensors(&asked), "what is written down changes nothing");
    let asked = norms("asked");
    assert!(asked.len() >= 20 && asked.iter().all(|(_, norm)| *norm > 0.0), "{asked:?}");
    assert!(asked.iter().map(|(step, _)| *step).eq(1..=asked.len() as u64), "each step once");
    train(here, "clipped", &["trainer.clip=0.5"]);
    assert_eq!(norms("clipped")[0], asked[0], "it is that before clipping");
    train(here, "wrapped", &["trainer.wrap=[{ type = \"clip_value\", max = 0.5 }]"]);
    assert_eq!(norms("wrapped").len(), asked.len());
    train(here, "not", &["trainer.clip=0.5", "log.grad_norm=false"]);
    assert_eq!(norms("not"), []);
}

#[test]
fn the_validation_rows_are_judged_while_the_training_goes_on() {
    let here = folder();
    let here = here.path();
    write(here);
    let words = ["train", "points.toml", "epochs=1000000", "--progress", "off"];
    let mut trainer = command(here);
    trainer.args(words).stdout(Stdio::null()).stderr(Stdio::null());
    let mut trainer = trainer.spawn().unwrap();
    let run = here.join("runs/points");
    let seen = |file: &str| run.join(file).exists();
    let matrices = || match seen("events.jsonl") {
        true => events(here, "points", "confusion"),
        false => Vec::new(),
    };
    for _ in 0..2400 {
        if !matrices().is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(25));
    }
    let found = matrices();
    let state = fs::read_to_string(run.join("state.json")).unwrap();
    let examples = fs::read_to_string(run.join("eval/validation-examples.jsonl")).unwrap();
    let judged = seen("eval/validation.json");
    trainer.kill().unwrap();
    trainer.wait().unwrap();
    assert!(judged && state.contains("running"), "{state}");
    assert_eq!(found[0]["tag"], "validation/c");
    assert!(found[0]["step"].as_u64() > Some(0), "{found:?}");
    // All of the few validation rows.
    let counts = found[0]["counts"].as_array().unwrap().iter();
    let total: u64 =
        counts.flat_map(|row| row.as_array().unwrap()).map(|n| n.as_u64().unwrap()).sum();
    let lines: Vec<Value> =
        examples.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((total, lines.len()), (24, 24));
    let losses: Vec<f64> = lines.iter().map(|line| line["loss"].as_f64().unwrap()).collect();
    assert!(losses.is_sorted_by(|a, b| a >= b), "the worst first: {losses:?}");
}
