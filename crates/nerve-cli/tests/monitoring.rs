//! Data that are still like those of the training, and data that are not.
#![allow(missing_docs)]

mod common;

use common::{folder, nerve};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Passengers of a made-up ship; `older` adds to their ages, `port` replaces every second harbour.
fn write(path: &Path, rows: usize, seed: usize, older: usize, port: &str, gaps: usize) {
    let mut text = "name,age,port,note,alive\n".to_string();
    for i in 0..rows {
        let r = (i + seed).wrapping_mul(2_654_435_761) >> 7;
        let age = match r % 100 < gaps {
            true => String::new(),
            false => format!("{}", 1 + older + r % 61),
        };
        let port = if r.is_multiple_of(2) && !port.is_empty() {
            port
        } else {
            ["S", "C", "Q"][r / 61 % 3]
        };
        let note = ["came late", "with two children", "a cook"][r / 183 % 3];
        text += &format!("P{seed}-{i},{age},{port},{note},{}\n", ["no", "yes"][r / 7 % 2]);
    }
    fs::write(path, text).unwrap();
}

const RECIPE: &str = "[data]\npath = \"train.csv\"\n\
    split = { type = \"random\", fractions = [0.8, 0.1, 0.1] }\n\
    [[input]]\nname = \"age\"\ntype = \"number\"\n\
    [[input]]\nname = \"port\"\ntype = \"category\"\n\
    [[input]]\nname = \"note\"\ntype = \"text\"\nmax_len = 4\n\
    [[output]]\nname = \"alive\"\ntype = \"binary\"\n\
    [trainer]\nepochs = 1\n";

fn drifted(json: &Value) -> Vec<&str> {
    let columns = json["columns"].as_array().unwrap().iter();
    columns.filter(|it| it["drifted"] == true).map(|it| it["feature"].as_str().unwrap()).collect()
}

#[test]
fn a_run_knows_what_its_training_data_were_like() {
    let here = folder();
    let at = |name: &str| here.path().join(name);
    write(&at("train.csv"), 600, 1, 0, "", 5);
    write(&at("same.csv"), 400, 5000, 0, "", 5);
    write(&at("other.csv"), 400, 9000, 40, "X", 60);
    fs::write(at("r.toml"), RECIPE).unwrap();
    nerve(here.path(), &["train", "r.toml"]).ends(0);

    let same = nerve(here.path(), &["monitor", "r", "same.csv", "--json"]).ends(0);
    let same: Value = serde_json::from_str(&same.out).unwrap();
    // What a model says after one epoch is beside the point here.
    let columns = drifted(&same).into_iter().filter(|name| !name.starts_with("prediction."));
    assert_eq!(columns.collect::<Vec<_>>(), Vec::<&str>::new(), "{same}");
    let features: Vec<&str> = same["columns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["feature"].as_str().unwrap())
        .collect();
    assert_eq!(
        features,
        [
            "age",
            "port",
            "note.characters",
            "note.words",
            "note.non_letters",
            "alive",
            "prediction.alive",
            "prediction.alive.confidence"
        ]
    );

    let page = at("drift.html");
    let other = ["monitor", "runs/r/model.safetensors", "other.csv", "--share", "0.2", "-o"];
    let other = nerve(here.path(), &[&other[..], &["drift.html"]].concat()).ends(4);
    let other = other.says("the data have drifted:");
    assert!(
        other.out.contains("new: X") && other.out.contains("another share is missing"),
        "{}",
        other.out
    );
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("The data have drifted") && page.contains("<svg"));

    let asked =
        ["monitor", "r", "other.csv", "--columns", "age,port", "--test", "age=psi", "--json"];
    let asked = nerve(here.path(), &asked).ends(4);
    let json: Value = serde_json::from_str(&asked.out).unwrap();
    assert_eq!(drifted(&json), ["age", "port"]);
    assert_eq!(
        (&json["columns"][0]["test"], &json["columns"][0]["threshold"]),
        (&"psi".into(), &0.1.into())
    );
    let asked = [
        "monitor",
        "r",
        "other.csv",
        "--columns",
        "age",
        "--test",
        "age=psi",
        "--threshold",
        "age=99",
    ];
    nerve(here.path(), &asked).ends(0);
}

#[test]
fn two_files_need_no_model() {
    let here = folder();
    let at = |name: &str| here.path().join(name);
    write(&at("a.csv"), 300, 1, 0, "", 5);
    write(&at("b.csv"), 300, 5000, 0, "", 5);
    write(&at("c.csv"), 300, 9000, 40, "X", 5);
    let same = nerve(here.path(), &["monitor", "a.csv", "b.csv"]).ends(0);
    assert!(same.out.contains("no drift of the data"), "{}", same.out);
    let other =
        nerve(here.path(), &["monitor", "a.csv", "c.csv", "--share", "0", "--json"]).ends(4);
    let json: Value = serde_json::from_str(&other.out).unwrap();
    let columns = drifted(&json);
    assert!(columns.contains(&"age") && columns.contains(&"port"), "{json}");
}

#[test]
fn what_cannot_be_compared_is_told() {
    let here = folder();
    let at = |name: &str| here.path().join(name);
    write(&at("a.csv"), 50, 1, 0, "", 5);
    let fails = |args: &[&str], code: i32, text: &str| {
        nerve(here.path(), &[&["monitor"], args].concat()).ends(code).quiet().says(text);
    };
    fails(&["a.csv", "a.csv", "--columns", "agee"], 2, "no column `agee` is compared");
    fails(&["a.csv", "a.csv", "--test", "agee=ks"], 2, "did you mean `age`?");
    fails(&["a.csv", "a.csv", "--test", "age=kss"], 2, "the tests are ks, chisquare");
    fails(&["a.csv", "a.csv", "--threshold", "age=-1"], 2, "expected a number from 0");
    fails(&["a.csv", "a.csv", "--share", "7"], 2, "expected a share from 0 to 1");
    fails(&["nowhere", "a.csv"], 2, "nowhere");
    fails(&["a.csv", "nowhere.csv"], 3, "nowhere.csv");
    fs::write(at("empty.csv"), "").unwrap();
    fails(&["a.csv", "empty.csv"], 3, "");
    fs::write(at("header.csv"), "name,age,port,note,alive\n").unwrap();
    fails(&["a.csv", "header.csv"], 3, "");
    fs::write(at("ragged.csv"), "name,age,port,note,alive\na,1\n").unwrap();
    fails(&["a.csv", "ragged.csv"], 3, "ragged.csv");
    fs::write(at("words.csv"), "age,port\nold,S\nyoung,C\n").unwrap();
    let words = nerve(here.path(), &["monitor", "a.csv", "words.csv", "--columns", "age,port"]);
    assert!(words.err.contains("2 cells are nothing of their type"), "{}", words.err);
    assert!(words.out.contains("no values in the current data"), "{}", words.out);
}
