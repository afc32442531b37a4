//! `nerve compare` and `nerve plot` on runs that were trained here.
#![allow(missing_docs)]

mod common;

use common::{Ran, folder, nerve};
use serde_json::Value;
use std::fs;
use std::path::Path;

const RECIPE: &str = "\
seed = 7
[data]
path = \"points.csv\"
split = { type = \"random\", fractions = [0.5, 0.2, 0.3] }
[[input]]
name = [\"a\", \"b\"]
type = \"number\"
[[output]]
name = \"sign\"
type = \"binary\"
[model]
layers = [{ type = \"Dense\", units = 8, activation = \"tanh\" }]
[trainer]
epochs = 8
batch_size = 16
optimizer = { type = \"adam\", lr = 0.02 }
";

/// `yes` where a + b is above 0.
fn points() -> String {
    let mut text = "a,b,sign\n".to_string();
    for i in 0..300 {
        let (a, b) = (f64::from(i * 37 % 201) / 100.0 - 1.0, f64::from(i * 53 % 199) / 99.0 - 1.0);
        text.push_str(&format!("{a:.2},{b:.2},{}\n", if a + b > 0.0 { "yes" } else { "no" }));
    }
    text
}

/// A folder with the runs `points`, and `points-2` that learned hardly anything.
fn trained() -> tempfile::TempDir {
    let here = folder();
    fs::write(here.path().join("points.csv"), points()).unwrap();
    fs::write(here.path().join("points.toml"), RECIPE).unwrap();
    let ran = nerve(here.path(), &["train", "points.toml", "--progress", "plain"]).ends(0);
    let losses = ran.err.lines().find(|line| line.starts_with("loss ")).unwrap();
    assert!(losses.contains('█') && losses.contains("▁") && losses.contains(" · val_loss "));
    let weak = ["train", "points.toml", "lr=1e-6", "epochs=1", "--progress", "off"];
    nerve(here.path(), &weak).ends(0);
    here
}

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.out))
}

fn text(here: &Path, name: &str) -> String {
    fs::read_to_string(here.join(name)).unwrap()
}

#[test]
fn two_runs_are_set_side_by_side() {
    let here = trained();
    let here = here.path();
    let ran = nerve(here, &["compare", "points", "points-2", "--resamples", "200"]).ends(0);
    for part in
        ["trainer.optimizer.lr", "trainer.epochs", "last epoch", "sign on 90 rows (test)", "worse"]
    {
        assert!(ran.out.contains(part), "no {part} in\n{}", ran.out);
    }
    assert!(!ran.out.contains("seed"), "what is the same is not told:\n{}", ran.out);
    let value = json(
        &nerve(here, &["compare", "points", "points-2", "--resamples", "200", "--json"]).ends(0),
    );
    let other = &value["others"][0];
    let paths: Vec<&str> =
        other["settings"].as_array().unwrap().iter().map(|c| c["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["trainer.epochs", "trainer.optimizer.lr"]);
    let scores = other["scores"]["outputs"][0]["scores"].as_array().unwrap();
    let accuracy = scores.iter().find(|score| score["name"] == "accuracy").unwrap();
    let number = |side: &str| accuracy[side]["value"].as_f64().unwrap();
    assert!((number("difference") - (number("second") - number("first"))).abs() < 1e-12);
    assert_eq!(accuracy["verdict"], "worse");
    let evaluated =
        json(&nerve(here, &["evaluate", "points", "--resamples", "200", "--json"]).ends(0));
    assert_eq!(evaluated["accuracy"], accuracy["first"]["value"]);
    assert_eq!(value["epochs"]["last"]["epoch"], 8);

    // The same run beside itself: nothing differs.
    let same = nerve(here, &["compare", "points", "points", "--resamples", "50"]).ends(0);
    assert!(same.out.contains("settings: the same"), "{}", same.out);
    assert!(!same.out.contains("better") && !same.out.contains("worse"), "{}", same.out);
    // Three runs, rows of a file.
    let three =
        ["compare", "points", "points-2", "points", "--data", "points.csv", "--resamples", "0"];
    let ran = nerve(here, &three).ends(0);
    assert_eq!(ran.out.matches("sign on 300 rows (points)").count(), 2, "{}", ran.out);

    // Without data or model there is still the rest.
    fs::remove_file(here.join("points.csv")).unwrap();
    let ran = nerve(here, &["compare", "points", "points-2"]).ends(0);
    assert!(ran.out.contains("scores: not compared:") && ran.out.contains("last epoch"));
    nerve(here, &["compare", "points", "points-2", "--data", "points.csv"]).ends(3).quiet();
    let quick = json(&nerve(here, &["compare", "points", "points-2", "--quick", "--json"]).ends(0));
    assert_eq!(quick["others"][0]["scores"], Value::Null);
    nerve(here, &["compare", "points"]).ends(2).quiet();
    nerve(here, &["compare", "points", "absent"]).ends(2).quiet().says("no run `absent`");
}

#[test]
fn curves_are_drawn() {
    let here = trained();
    let here = here.path();
    let ran = nerve(here, &["plot", "points"]).ends(0);
    for part in ["loss/train", "loss/val", "step", "┤", "└"] {
        assert!(ran.out.contains(part), "no {part} in\n{}", ran.out);
    }
    assert!(!ran.out.contains('\u{1b}'), "no colours where nobody looks");
    let svg = ["plot", "points", "points-2", "--smooth", "0.6", "--log", "-o", "a.svg"];
    let ran = nerve(here, &svg).ends(0);
    assert!(ran.out.ends_with("points into a.svg\n"), "{}", ran.out);
    let svg = text(here, "a.svg");
    assert!(svg.starts_with("<svg") && svg.contains("points-2 loss/val") && svg.contains("faint"));
    let png =
        ["plot", "points", "--tag", "loss/val", "--x", "epoch", "-o", "a.png", "--size", "400x200"];
    let value = json(&nerve(here, &[&png[..], &["--json"]].concat()).ends(0));
    assert_eq!(value["lines"], serde_json::json!(["loss/val"]));
    let file = fs::read(here.join("a.png")).unwrap();
    let picture = image::load_from_memory(&file).unwrap().to_rgb8();
    assert_eq!(picture.dimensions(), (800, 400));
    let blue = picture.pixels().filter(|pixel| pixel.0 == [37, 99, 235]).count();
    assert!(blue > 300, "{blue} pixels of the line");
    nerve(here, &["plot", "points", "--tag", "los"]).ends(2).quiet().says("no curve `los`");
    nerve(here, &["plot", "points", "-o", "a.gif"]).ends(2).quiet().says(".svg or .png");
    nerve(here, &["plot", "points", "--smooth", "1"]).ends(2).quiet();
    nerve(here, &["plot", "points", "-o", "no/a.svg"]).ends(1).quiet();
}
