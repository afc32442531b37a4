//! Evaluating and predicting rows with the binary, on a small table made here: `yes` where a + b is above 0.
#![allow(missing_docs)]

mod common;

use common::{Ran, folder, nerve, shell};
use nerve::formats::{Limits, Npy, NpyData, Zip};
use serde_json::Value;
use std::fs;
use std::path::Path;

const RECIPE: &str = "\
seed = 7
[data]
path = \"points.csv\"
validation = 0.3
[[input]]
name = [\"a\", \"b\"]
type = \"number\"
[[output]]
name = \"sign\"
type = \"binary\"
threshold = \"max_f1\"
[model]
layers = [{ type = \"Dense\", units = 8, activation = \"tanh\" }]
[trainer]
epochs = 20
batch_size = 16
optimizer = { type = \"adam\", lr = 0.02 }
[eval]
slices = [\"group\"]
gate = \"accuracy >= 0.9\"
resamples = 50
";

/// Points from -1 to 1, far enough from the border.
fn points(count: usize) -> String {
    let mut text = "a,b,group,sign\n".to_string();
    let mut made = 0;
    for i in 0.. {
        let (a, b) = (f64::from(i * 37 % 201) / 100.0 - 1.0, f64::from(i * 53 % 199) / 99.0 - 1.0);
        if (a + b).abs() > 0.2 {
            let sign = if a + b > 0.0 { "yes" } else { "no" };
            text.push_str(&format!("{a:.2},{b:.2},\"g, {}\",{sign}\n", i % 3));
            made += 1;
        }
        if made == count {
            break;
        }
    }
    text
}

/// A folder with a trained run, `points`.
fn trained() -> tempfile::TempDir {
    let here = folder();
    fs::write(here.path().join("points.csv"), points(300)).unwrap();
    fs::write(here.path().join("points.toml"), RECIPE).unwrap();
    let ran = nerve(here.path(), &["train", "points.toml", "--progress", "off"]).ends(0);
    assert!(ran.err.contains("(max_f1 on the validation data)"), "{}", ran.err);
    here
}

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.out))
}

fn read(here: &Path, name: &str) -> String {
    fs::read_to_string(here.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn an_evaluation_tells_scores_baselines_slices_and_keeps_its_files() {
    let here = trained();
    let here = here.path();
    let ran = nerve(here, &["evaluate", "points", "--html", "page.html"]).ends(0);
    for text in
        ["roc_auc", "baseline: majority", "by group", "g, 2", "gate accuracy >= 0.9: passed"]
    {
        assert!(ran.out.contains(text), "no {text} in\n{}", ran.out);
    }
    let judged = json(&nerve(here, &["evaluate", "points", "--json"]).ends(0));
    assert_eq!((&judged["data"], &judged["examples"]), (&"validation".into(), &90.into()));
    let output = &judged["outputs"][0];
    assert_eq!(judged["accuracy"], output["scores"]["accuracy"]["value"]);
    assert!(output["scores"]["accuracy"]["low"].as_f64() <= judged["accuracy"].as_f64());
    assert!(output["baselines"]["majority"]["accuracy"].as_f64().unwrap() < 0.8, "{output}");
    assert_eq!(output["threshold"]["rule"], "max_f1");
    assert_eq!(output["slices"].as_array().unwrap().len(), 3);
    // The same numbers as in the folder of the run, and the same twice.
    let kept: Value =
        serde_json::from_str(&read(here, "runs/points/eval/validation.json")).unwrap();
    assert_eq!(kept["outputs"], judged["outputs"]);
    assert_eq!(read(here, "runs/points/eval/predictions.csv").lines().count(), 91);
    assert_eq!(read(here, "runs/points/eval/worst.jsonl").lines().count(), 25);
    for file in ["confusion.csv", "calibration.csv"] {
        assert!(read(here, &format!("runs/points/eval/{file}")).lines().count() > 2);
    }
    let page = read(here, "page.html");
    assert!(page.contains("<svg") && page.contains("Reliability") && !page.contains("<script"));
    // Another file, other slices, fewer of the worst.
    fs::write(here.join("new.csv"), points(40)).unwrap();
    let args =
        ["evaluate", "points", "--data", "new.csv", "--slice", "a", "--worst", "2", "--json"];
    let other = json(&nerve(here, &args).ends(0));
    assert_eq!((&other["data"], &other["examples"]), (&"new".into(), &40.into()));
    assert_eq!(other["outputs"][0]["slices"][0]["column"], "a");
    let place = other["outputs"][0]["worst"][0]["place"].as_str().unwrap();
    assert!(place.starts_with("new.csv:"), "{place}");
}

#[test]
fn a_missed_gate_ends_with_4_after_everything_is_told() {
    let here = trained();
    let gate = |text: &str| nerve(here.path(), &["evaluate", "points", "--gate", text]);
    let ran = gate("log_loss < 0.0001").ends(4).says("missed: log_loss < 0.0001");
    assert!(ran.out.contains("gate log_loss < 0.0001: MISSED"), "{}", ran.out);
    gate("sign.accuracy.high >= 0.9").ends(0);
    gate("accuracy = 1").ends(2).says(">=").quiet();
    gate("acc >= 0.9").ends(2).says("the scores of sign are").quiet();
    let args = ["evaluate", "points", "--threshold", "cost(1, 100)", "--json"];
    let cheap = json(&nerve(here.path(), &args).ends(0));
    assert_eq!(cheap["outputs"][0]["threshold"]["rule"], "cost(1, 100)");
    assert_eq!(cheap["recall"], 1.0);
    nerve(here.path(), &["evaluate", "points", "--threshold", "best"])
        .ends(2)
        .says("youden")
        .quiet();
    nerve(here.path(), &["evaluate", "points", "--slice", "grup"]).ends(3).says("`group`").quiet();
    nerve(here.path(), &["evaluate", "points", "--data", "no.csv"]).ends(3).says("no.csv").quiet();
}

#[test]
fn rows_are_answered_as_csv_and_json_from_files_and_pipes() {
    let here = trained();
    let here = here.path();
    // No column of truths, and more columns than the model knows.
    fs::write(here.join("new.csv"), "b,more,a\n0.9,x,0.8\n-0.7,\"y, z\",-0.9\n").unwrap();
    let ran = nerve(here, &["predict", "points", "--data", "new.csv"]).ends(0);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines[0], "place,sign,sign_p_no,sign_p_yes");
    assert!(lines[1].starts_with("new.csv:2,yes,0.0"), "{}", lines[1]);
    assert!(lines[2].starts_with("new.csv:3,no,0.9"), "{}", lines[2]);
    let args = ["predict", "points", "--data", "new.csv", "--keep", "-o", "out.jsonl"];
    nerve(here, &args).ends(0).says("2 rows answered").quiet();
    let rows = read(here, "out.jsonl");
    let second: Value = serde_json::from_str(rows.lines().nth(1).unwrap()).unwrap();
    assert_eq!((&second["sign"], &second["more"]), (&"no".into(), &"y, z".into()));
    let p = &second["sign_probabilities"];
    assert!((p["no"].as_f64().unwrap() + p["yes"].as_f64().unwrap() - 1.0).abs() < 1e-6);
    // Through pipes: both formats are known by their content.
    let piped = shell(here, "cat new.csv | nerve predict points --data - | cut -d, -f2").ends(0);
    assert_eq!(piped.out, "sign\nyes\nno\n");
    let line = "echo '{\"a\": 0.5, \"b\": 0.5}' | nerve predict points --data - --json";
    let piped = shell(here, line).ends(0);
    assert_eq!(json(&piped)["sign"], "yes");
    // The truth is there: the answer has a name of its own.
    let line = "nerve predict points --data points.csv --keep -o all.csv && head -1 all.csv";
    let piped = shell(here, line).ends(0);
    let head = "place,a,b,group,sign,sign_answer,sign_answer_p_no,sign_answer_p_yes\n";
    assert_eq!(piped.out, head);
    let closed = shell(here, "nerve predict points --data points.csv | head -1").ends(0);
    assert_eq!(closed.err, "");
}

#[test]
fn answers_are_arrays_where_that_is_asked_for() {
    let here = trained();
    let here = here.path();
    let points =
        |name: &str| ["predict", "points", "--data", "points.csv", "-o", name].map(str::to_string);
    let run = |name: &str| {
        let args = points(name);
        nerve(here, &args.each_ref().map(String::as_str)).ends(0)
    };
    run("plain.csv");
    let plain = read(here, "plain.csv");
    let line = |row: usize| -> Vec<String> {
        plain.lines().nth(row + 1).unwrap().split(',').map(str::to_string).collect()
    };
    run("out.npz");
    let zip = Zip::read(here.join("out.npz"), &Limits::default()).unwrap();
    let names: Vec<&str> = zip.names().collect();
    assert_eq!(names, ["row.npy", "sign.npy", "sign_probabilities.npy"]);
    let arrays = |i| Npy::from_bytes("x", &zip.unpack(i).unwrap()).unwrap();
    assert_eq!(arrays(0).data, NpyData::I64((0..300).collect()));
    let (NpyData::I32(classes), NpyData::F32(p)) = (arrays(1).data, arrays(2).data) else {
        panic!("classes as i32, probabilities as f32")
    };
    assert_eq!(arrays(2).shape, [300, 2]);
    for row in [0, 17, 299] {
        let line = line(row);
        assert_eq!(["no", "yes"][classes[row] as usize], line[1], "{line:?}");
        assert_eq!([p[2 * row].to_string(), p[2 * row + 1].to_string()], line[2..4]);
    }
    run("out.npy");
    let npy = Npy::read(here.join("out.npy"), &Limits::default()).unwrap();
    assert_eq!(npy, arrays(2));
    let keep = ["predict", "points", "--data", "points.csv", "--keep", "-o", "x.npz"];
    nerve(here, &keep).ends(2).says("--keep is for tables");
    if !cfg!(feature = "parquet") {
        let args = points("x.parquet");
        nerve(here, &args.each_ref().map(String::as_str)).ends(2).says("--features parquet");
    }
}

#[test]
fn rows_that_cannot_be_read_are_named_or_passed_over() {
    let here = trained();
    let here = here.path();
    fs::write(here.join("bad.csv"), "a,b\n0.5,0.5\n0.1,abc\n1,2,3\n0.7,0.7\n").unwrap();
    let args = ["predict", "points", "--data", "bad.csv", "-o", "out.csv"];
    nerve(here, &args).ends(3).says("bad.csv").quiet();
    assert!(!here.join("out.csv").exists());
    let ran = nerve(here, &[&args[..], &["--skip-bad"]].concat()).ends(0);
    let ran = ran.says("bad.csv:3, column `b`").says("2 rows answered, 1 passed over").quiet();
    assert!(ran.err.contains("wrong number of fields"), "{}", ran.err);
    let places: Vec<String> = read(here, "out.csv")
        .lines()
        .skip(1)
        .map(|line| line.split(',').next().unwrap().to_string())
        .collect();
    assert_eq!(places, ["bad.csv:2", "bad.csv:5"]);
    fs::write(here.join("less.csv"), "a\n0.5\n").unwrap();
    nerve(here, &["predict", "points", "--data", "less.csv"]).ends(3).says("`b`").quiet();
    nerve(here, &["predict", "points", "--data", "points.csv", "-o", "x.txt"])
        .ends(2)
        .says(".jsonl");
    nerve(here, &["predict", "points", "--data", "points.csv", "x.png"]).ends(2);
    nerve(here, &["predict", "points"]).ends(2);
}

#[test]
fn the_table_eval_is_checked_with_the_recipe() {
    let here = folder();
    fs::write(here.path().join("points.csv"), points(30)).unwrap();
    let check = |from: &str, to: &str| {
        fs::write(here.path().join("p.toml"), RECIPE.replace(from, to)).unwrap();
        nerve(here.path(), &["check", "p.toml"])
    };
    check(">= 0.9", "=> 0.9").ends(2).says("gate");
    check("resamples", "resample").ends(2).says("resamples");
    check("resamples = 50", "user = \"a\"").ends(2).says("`relevant`");
    let resolved = nerve(here.path(), &["check", "p.toml", "--resolved"]);
    assert_eq!(resolved.code, Some(2));
    check("seed = 7", "seed = 8").ends(0);
    let resolved = nerve(here.path(), &["check", "p.toml", "--resolved"]).ends(0);
    assert!(resolved.out.contains("[eval]\nslices = [\"group\"]"), "{}", resolved.out);
}
