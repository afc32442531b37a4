//! `nerve bench`: the instructions of a step beside what the machine can do.
#![allow(missing_docs)]

mod common;

use common::{folder, nerve};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// A data set of twenty small pictures, and a recipe for it.
fn recipe(folder: &Path) {
    let idx = |kind: u8, dims: &[u32], data: Vec<u8>| {
        let mut bytes = vec![0, 0, kind, dims.len() as u8];
        dims.iter().for_each(|dim| bytes.extend(dim.to_be_bytes()));
        bytes.extend(data);
        bytes
    };
    let pixels = (0..20 * 64).map(|i| (i * 7 % 256) as u8).collect();
    fs::write(folder.join("images"), idx(8, &[20, 8, 8], pixels)).unwrap();
    let labels = (0..20).map(|i| i % 3).collect();
    fs::write(folder.join("labels"), idx(8, &[20], labels)).unwrap();
    let text = "[data]\ntrain = \"images\"\nvalidation = 0\n[model]\nlayers = [\
                { type = \"Conv2d\", filters = 4, kernel = 3, activation = \"relu\" }, \"Flatten\", \
                { type = \"Dense\", units = 3 }]\n[trainer]\nbatch_size = 8\n";
    fs::write(folder.join("small.toml"), text).unwrap();
}

fn json(folder: &Path, args: &[&str]) -> Value {
    let all = [&["bench", "small.toml", "--json", "--seconds", "0.05"], args].concat();
    let ran = nerve(folder, &all).ends(0);
    assert_eq!(ran.err, "");
    serde_json::from_str(&ran.out).unwrap()
}

#[test]
fn the_table_names_kernels_and_layers() {
    let here = folder();
    recipe(here.path());
    let ran = nerve(here.path(), &["bench", "small.toml", "--seconds", "0.05"]).ends(0);
    for text in [
        "training, batch 8",
        "kernel",
        "0 Conv2d",
        "2 Dense",
        "2 Dense, gradient",
        "gemm",
        "examples a second",
        "GFLOP/s",
    ] {
        assert!(ran.out.contains(text), "no `{text}` in\n{}", ran.out);
    }
    assert_eq!(ran.err, "");
}

#[test]
fn the_numbers_fit_each_other() {
    let here = folder();
    recipe(here.path());
    let value = json(here.path(), &[]);
    let instructions = value["instructions"].as_array().unwrap();
    let sum = |key: &str| instructions.iter().map(|i| i[key].as_f64().unwrap()).sum::<f64>();
    assert!((sum("share") - 1.0).abs() < 1e-9);
    assert!((sum("seconds") / value["instruction_seconds"].as_f64().unwrap() - 1.0).abs() < 1e-9);
    assert_eq!(sum("flops"), value["flops"].as_f64().unwrap());
    let rate = value["examples_per_second"].as_f64().unwrap();
    assert!((rate * value["step_seconds"].as_f64().unwrap() - 8.0).abs() < 1e-9);
    let roofs = ["compute", "memory"].map(Value::from);
    assert!(instructions.iter().all(|i| roofs.contains(&i["roof"])));
    assert!(value["bandwidth"][0]["bytes_per_second"].as_f64().unwrap() > 1e7);
}

#[test]
fn inference_batch_order_and_length_are_flags() {
    let here = folder();
    recipe(here.path());
    let training = json(here.path(), &["--batch", "5"]);
    assert_eq!(training["batch"], 5);
    let used = json(here.path(), &["--infer", "--batch", "1"]);
    assert_eq!((&used["mode"], &used["batch"]), (&Value::from("inference"), &Value::from(1)));
    let count = |value: &Value| value["instructions"].as_array().unwrap().len();
    assert!(count(&used) < count(&training));
    let top = json(here.path(), &["--top", "3", "--sort", "time"]);
    let times: Vec<f64> = top["instructions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["seconds"].as_f64().unwrap())
        .collect();
    assert!(times.len() == 3 && times.is_sorted_by(|a, b| a >= b), "{times:?}");
}

#[test]
fn the_picture_is_a_file() {
    let here = folder();
    recipe(here.path());
    json(here.path(), &["--svg", "roofs.svg"]);
    let svg = fs::read_to_string(here.path().join("roofs.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("<circle") && svg.contains("Conv2d"));
    let bad = ["bench", "small.toml", "--seconds", "0", "--svg", "no/such/folder.svg"];
    nerve(here.path(), &bad).ends(1).says("cannot write no/such/folder.svg").quiet();
}

#[test]
fn what_cannot_be_measured_is_said() {
    let here = folder();
    recipe(here.path());
    for bad in [&["--seconds", "-1"][..], &["--seconds", "nan"], &["--batch", "0"], &["--top", "0"]]
    {
        nerve(here.path(), &[&["bench", "small.toml"], bad].concat()).ends(2).quiet();
    }
    nerve(here.path(), &["bench", "smal.toml"]).ends(2).says("no recipe").quiet();
    fs::remove_file(here.path().join("labels")).unwrap();
    nerve(here.path(), &["bench", "small.toml"]).ends(3).quiet();
}
