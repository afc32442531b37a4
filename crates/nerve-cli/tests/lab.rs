//! What is done before the real training: the learning-rate range test, a few batches, a few rows.
#![allow(missing_docs)]

mod common;

use common::{folder, nerve};
use serde_json::Value;
use std::fs;

/// Rings: the class is whether a point is far from the middle.
fn rings() -> tempfile::TempDir {
    let here = folder();
    let mut rows = String::from("x,y,ring\n");
    for i in 0..400 {
        let (angle, radius) = (i as f32 * 0.7, if i % 2 == 0 { 0.5 } else { 1.5 });
        let (x, y) = (radius * angle.cos(), radius * angle.sin());
        rows.push_str(&format!("{x:.4},{y:.4},{}\n", ["near", "far"][i % 2]));
    }
    fs::write(here.path().join("rings.csv"), rows).unwrap();
    let recipe = "\
seed = 3
[data]
path = \"rings.csv\"
[[input]]
name = [\"x\", \"y\"]
type = \"number\"
[[output]]
name = \"ring\"
type = \"category\"
[model]
combiner = { type = \"concat\", hidden = [16, 16] }
[trainer]
epochs = 3
batch_size = 32
optimizer = { type = \"adam\", lr = 0.01 }
";
    fs::write(here.path().join("rings.toml"), recipe).unwrap();
    here
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_learning_rate_is_found_drawn_and_applied() {
    let here = rings();
    let args = ["lr-find", "rings.toml", "--json", "-o", "curve.svg", "--apply", "tuned.toml"];
    let ran = nerve(here.path(), &args).ends(0).says("wrote tuned.toml with trainer.optimizer.lr");
    let found = json(&ran.out);
    let rate = found["suggested"].as_f64().unwrap();
    assert!((1e-4..1.0).contains(&rate), "{rate}");
    assert_eq!(found["rates"].as_array().unwrap().len(), found["smooth"].as_array().unwrap().len());
    assert!(fs::read_to_string(here.path().join("curve.svg")).unwrap().starts_with("<svg"));
    let check = nerve(here.path(), &["check", "tuned.toml", "--resolved"]).ends(0);
    assert!(check.out.contains(&format!("lr = {rate}")), "{}", check.out);
    assert!(!here.path().join("runs").exists(), "no run is left");
    // In words: the plot, three rates, and what to type.
    let ran = nerve(here.path(), &["lr-find", "rings.toml"]).ends(0);
    for word in ["┤", "valley", "steep", "minimum", &format!("trainer.optimizer.lr={rate}")] {
        assert!(ran.out.contains(word), "{word}: {}", ran.out);
    }
    nerve(here.path(), &["lr-find", "rings.toml", "--apply", "tuned.toml"]).ends(2).quiet();
}

#[test]
fn where_no_rate_helps_none_is_suggested() {
    let here = rings();
    let tiny = ["lr-find", "rings.toml", "--min", "1e-12", "--max", "1e-9", "--steps", "60"];
    nerve(here.path(), &tiny).ends(4).says("no valley");
    nerve(here.path(), &["lr-find", "rings.toml", "--min", "1", "--max", "0.1"]).ends(2).quiet();
    nerve(here.path(), &["lr-find", "rings.toml", "--min", "nan"]).ends(2).quiet();
    nerve(here.path(), &["lr-find", "rings.toml", "--steps", "3"]).ends(2).quiet();
}

#[test]
fn a_fast_run_does_everything_and_leaves_nothing() {
    let here = rings();
    let temporary = here.path().join("tmp");
    fs::create_dir(&temporary).unwrap();
    let mut command = common::command(here.path());
    command.args(["train", "rings.toml", "--fast-dev-run", "--json"]).env("TMPDIR", &temporary);
    let ran =
        common::Ran::of(command.output().unwrap()).ends(0).says("all of it works: 3 batches of 32");
    let result = json(&ran.out);
    assert_eq!((result["epochs"].as_u64(), result["steps"].as_u64()), (Some(1), Some(3)));
    assert!(!here.path().join("runs").exists());
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "the temporary folder is gone");
    nerve(here.path(), &["train", "rings.toml", "--fast-dev-run", "--folds", "3"]).ends(2).quiet();
    nerve(here.path(), &["train", "rings.toml", "--time", "soon"]).ends(2).says("90s");
}

#[test]
fn a_few_examples_are_learned_by_heart_or_not() {
    let here = rings();
    nerve(here.path(), &["train", "rings.toml", "--overfit", "16"]).ends(0).says("it can learn");
    let events = fs::read_to_string(here.path().join("runs/rings-overfit/events.jsonl")).unwrap();
    assert!(events.contains(r#""tag":"weights/"#) && events.contains("update_ratio"), "health");
    // It goes on with the same few examples.
    let more = ["resume", "rings-overfit", "epochs=505", "--json"];
    let more = json(&nerve(here.path(), &more).ends(0).says("goes on after step 500").out);
    assert_eq!((more["epochs"].as_u64(), more["steps"].as_u64()), (Some(505), Some(505)));
    // At this rate nothing is learned.
    let ran = nerve(here.path(), &["train", "rings.toml", "--overfit", "16", "lr=1e-9"]);
    ran.ends(4).says("will not learn many");
}

#[test]
fn all_histograms_are_written_and_change_nothing() {
    let here = rings();
    let model = |run: &str| fs::read(here.path().join("runs").join(run).join("model.safetensors"));
    let train = |name: &str, depth: &str| {
        let log = format!("log.histograms={depth}");
        nerve(here.path(), &["train", "rings.toml", "seed=3", "--name", name, &log]).ends(0);
        fs::read_to_string(here.path().join("runs").join(name).join("events.jsonl")).unwrap()
    };
    let (all, none) = (train("all", "all"), train("none", "none"));
    for tag in [r#""tag":"acts/"#, r#""tag":"grads/"#, r#""tag":"weights/"#, "dead", "time_ms"] {
        assert!(all.contains(tag) && !none.contains(tag), "{tag}");
    }
    let values = |bytes: Vec<u8>| {
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        bytes[8 + header..].to_vec()
    };
    assert_eq!(values(model("all").unwrap()), values(model("none").unwrap()));
}
