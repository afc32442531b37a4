//! Looking at data, and recipes to begin with.
#![allow(missing_docs)]

mod common;

use common::{folder, nerve};
use serde_json::Value as Json;
use std::fs;
use std::path::Path;

/// Sixty passengers: a constant, a number of the row, a missing age, two equal rows.
fn passengers(folder: &Path) {
    let mut text = String::from("id,age,sex,unit,alive\n");
    for i in 0..60 {
        let age = if i % 10 == 3 { String::new() } else { (20 + i * 7 % 41).to_string() };
        let (sex, alive) = (["male", "female"][i % 2], u8::from(i % 3 == 0));
        text.push_str(&format!("{},{age},{sex},kg,{alive}\n", i + 1));
    }
    text.push_str("60,33,female,kg,0\n");
    fs::write(folder.join("people.csv"), text).unwrap();
}

#[test]
fn stats_say_what_columns_hold() {
    let here = folder();
    passengers(here.path());
    let text = nerve(here.path(), &["data", "stats", "people.csv"]).ends(0).out;
    assert!(text.starts_with("data: 61 rows\n"), "{text}");
    let age = text.lines().find(|line| line.starts_with("age")).unwrap();
    assert!(age.contains(" 55 ") && age.contains(" 6 ") && age.contains("20 .. 60"), "{age}");
    assert!(text.contains("female 31 (50.8 %), male 30 (49.2 %)"), "{text}");
    let json = nerve(here.path(), &["data", "stats", "people.csv", "--json"]).ends(0).out;
    let json: Json = serde_json::from_str(&json).unwrap();
    let columns = &json["parts"][0]["columns"];
    assert_eq!((&columns[1]["column"], &columns[1]["missing"]), (&"age".into(), &6.into()));
    assert_eq!(columns[3]["texts"]["top"][0]["value"], "kg");
    nerve(here.path(), &["data", "stats", "people.csv", "--part", "test"])
        .ends(2)
        .says("there are data");
    nerve(here.path(), &["data", "stats", "gone.csv"]).ends(3).says("gone.csv");
    nerve(here.path(), &["data", "stats", "people.csv", "seed=1"]).ends(2).says("`seed=1`");
}

#[test]
fn c16_checks_list_findings_and_strict_is_a_gate() {
    let here = folder();
    passengers(here.path());
    let check = ["data", "check", "people.csv", "--target", "alive"];
    let text = nerve(here.path(), &check).ends(0).out;
    for part in ["constant `unit`:", "data 61 rows"] {
        assert!(text.contains(part), "no `{part}` in:\n{text}");
    }
    let strict = [&check[..], &["--strict", "--json"]].concat();
    let ran = nerve(here.path(), &strict).ends(4).says("findings in the data");
    let json: Json = serde_json::from_str(&ran.out).unwrap();
    assert!(json["findings"].as_array().unwrap().iter().any(|f| f["kind"] == "constant"), "{json}");
    nerve(here.path(), &["data", "check", "people.csv", "--target", "alife"])
        .ends(3)
        .says("did you mean `alive`");
}

#[test]
fn a_recipe_is_written_from_a_file_and_split() {
    let here = folder();
    passengers(here.path());
    let init = ["init", "people.csv", "--target", "alive"];
    assert_eq!(nerve(here.path(), &init).ends(0).out, "people.toml\n");
    let text = fs::read_to_string(here.path().join("people.toml")).unwrap();
    for part in ["type = \"binary\"", "name = \"age\"", "#   unit: always `kg`"] {
        assert!(text.contains(part), "no `{part}` in:\n{text}");
    }
    nerve(here.path(), &init).ends(2).says("people.toml exists");
    let out = nerve(here.path(), &[&init[..], &["--out", "-"]].concat()).ends(0).out;
    assert_eq!(out, text);
    let parts = nerve(here.path(), &["data", "split", "people.toml", "--json"]).ends(0).out;
    let json: Json = serde_json::from_str(&parts).unwrap();
    let rows = |i: usize| json["parts"][i]["rows"].as_u64().unwrap();
    assert_eq!(rows(0) + rows(1) + rows(2), 61, "{json}");
    assert_eq!(json["parts"][2]["part"], "test");
    let rows = nerve(here.path(), &["data", "split", "people.toml", "--rows"]).ends(0).out;
    assert_eq!(rows.lines().count(), 61);
    assert!(rows.lines().all(|line| line.contains("\tpeople.csv:")), "{rows}");
    nerve(here.path(), &["data", "check", "people.toml"]).ends(0);
    nerve(here.path(), &["init", "people.csv", "--target", "unit"])
        .ends(3)
        .says("cannot be learned");
}

#[test]
fn folds_are_those_of_training() {
    let here = folder();
    passengers(here.path());
    nerve(here.path(), &["init", "people.csv", "--target", "alive"]).ends(0);
    let split = ["data", "split", "people.toml", "--folds", "3"];
    let text = nerve(here.path(), &split).ends(0).out;
    assert!(text.starts_with("Fold 1/3\ntrain ") && text.contains("\nFold 3/3\n"), "{text}");
    let json = nerve(here.path(), &[&split[..], &["--rows", "--json"]].concat()).ends(0).out;
    let json: Json = serde_json::from_str(&json).unwrap();
    // In each fold every row once; in the tests of all folds too.
    let mut tests = Vec::new();
    let mut lines = String::new();
    for (i, fold) in json["folds"].as_array().unwrap().iter().enumerate() {
        let mut all = Vec::new();
        for part in fold["parts"].as_array().unwrap() {
            let places: Vec<&str> =
                part["places"].as_array().unwrap().iter().map(|p| p.as_str().unwrap()).collect();
            assert_eq!(places.len() as u64, part["rows"].as_u64().unwrap());
            for place in &places {
                lines += &format!("{}\t{}\t{place}\n", i + 1, part["part"].as_str().unwrap());
            }
            if part["part"] == "test" {
                tests.extend(places.clone());
            }
            all.extend(places);
        }
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 61);
    }
    tests.sort_unstable();
    tests.dedup();
    assert_eq!(tests.len(), 61);
    let rows = nerve(here.path(), &[&split[..], &["--rows"]].concat()).ends(0).out;
    assert_eq!(rows, lines);
    // The rows that `nerve train --folds` counts.
    let quick = ["train", "people.toml", "--folds", "3", "epochs=1", "--name", "quick"];
    nerve(here.path(), &quick).ends(0);
    let trained = fs::read_to_string(here.path().join("runs/quick/folds.csv")).unwrap();
    for (line, fold) in trained.lines().skip(1).zip(json["folds"].as_array().unwrap()) {
        let counts: Vec<u64> =
            line.split(',').skip(1).take(3).map(|n| n.parse().unwrap()).collect();
        let split = fold["parts"].as_array().unwrap().iter().map(|p| p["rows"].as_u64().unwrap());
        assert_eq!(counts, split.collect::<Vec<u64>>());
    }
    nerve(here.path(), &["data", "split", "people.toml", "--folds", "62"])
        .ends(3)
        .says("folds: expected 2 to 61, the number of rows, found 62");
    nerve(here.path(), &["data", "split", "people.csv", "--folds", "3"])
        .ends(2)
        .says("folds are those of a recipe");
}

#[test]
fn templates_are_written() {
    let here = folder();
    let new = ["new", "flowers", "--template", "images"];
    assert_eq!(nerve(here.path(), &new).ends(0).out, "flowers.toml\n");
    nerve(here.path(), &new).ends(2).says("flowers.toml exists");
    nerve(here.path(), &[&new[..], &["--force"]].concat()).ends(0);
    nerve(here.path(), &["new", "x", "--template", "image"]).ends(2).says("did you mean `images`");
}
