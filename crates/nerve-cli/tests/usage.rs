//! The command line itself: usage, bad recipes, and surroundings that are not as they should be.
//! The ids are those of the catalogue of bad input: F for recipes, X for the command line.
#![allow(missing_docs)]

mod common;

use common::{command, folder, nerve, shell};
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::process::Stdio;

#[test]
fn version_and_help_are_results() {
    let here = folder();
    let version = nerve(here.path(), &["--version"]).ends(0);
    assert_eq!(version.out, format!("nerve {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(version.err, "");
    for args in [
        &["--help"][..],
        &["train", "--help"],
        &["list", "--help"],
        &["evaluate", "-h"],
        &["predict", "--help"],
    ] {
        let help = nerve(here.path(), args).ends(0);
        assert!(help.out.contains("Examples:") && help.out.contains("nerve "), "{}", help.out);
    }
    nerve(here.path(), &[]).ends(2).quiet();
}

#[test]
fn x01_unknown_commands_and_flags_name_the_nearest() {
    let here = folder();
    nerve(here.path(), &["trian", "mnist"]).ends(2).says("'train'").quiet();
    nerve(here.path(), &["check", "mnist", "--thread", "2"]).ends(2).says("--threads").quiet();
    nerve(here.path(), &["check", "mnits"]).ends(2).says("did you mean `mnist`?").quiet();
}

#[test]
fn x02_flags_and_settings_with_impossible_values() {
    let here = folder();
    for args in [
        &["check", "mnist", "--threads"][..],
        &["check", "mnist", "--threads", "1", "--threads", "2"],
        &["check", "mnist", "--threads", "abc"],
        &["check", "mnist", "--threads=-1"],
        &["check"],
        &["predict", "mnist"],
        &["train", "mnist", "--progress", "loud"],
    ] {
        nerve(here.path(), args).ends(2).quiet();
    }
    for setting in
        ["epochs=abc", "epochs=-1", "epochs=1e30", "lr=NaN", "lr=nan", "epochs=", "epochs"]
    {
        let ran = nerve(here.path(), &["check", "mnist", setting]).ends(2).quiet();
        assert!(ran.err.contains("error[E21") && ran.err.contains("command line"), "{}", ran.err);
        assert!(ran.err.trim_end().ends_with("1 problem found; nothing was started."));
    }
}

#[test]
fn x03_paths_of_every_kind() {
    let here = folder();
    fs::create_dir(here.path().join("a folder")).unwrap();
    fs::write(here.path().join("latin.toml"), b"a = \"\xe9\"").unwrap();
    fs::write(here.path().join("empty.toml"), "").unwrap();
    let long = "x".repeat(5000);
    for (path, says) in [
        ("a folder", "is a directory"),
        ("latin.toml", "not UTF-8"),
        ("empty.toml", "is empty"),
        ("none.toml", "no recipe `none.toml`"),
        ("two\nlines.toml", "no recipe `two\\nlines.toml`"),
        (&long, "(5000 bytes)"),
        ("\u{1b}[2J", "\\u{1b}[2J"),
    ] {
        let ran = nerve(here.path(), &["check", path]).ends(2).quiet().says(says);
        assert!(!ran.err.contains('\u{1b}'), "{}", ran.err);
    }
    nerve(here.path(), &["check", "--", "-dash.toml"]).ends(2).says("no recipe `-dash.toml`");
    let bytes = std::ffi::OsString::from_vec(b"\xff.toml".to_vec());
    let ran = command(here.path()).arg("check").arg(bytes).output().unwrap();
    common::Ran::of(ran).ends(2).says("no recipe");
    shell(here.path(), "mkfifo pipe && timeout 5 \"$NERVE\" check pipe")
        .ends(2)
        .says("not a regular file");
}

#[test]
fn x05_a_reader_that_has_gone_is_no_failure() {
    let here = folder();
    for args in
        [&["check", "mnist"][..], &["check", "mnist", "--resolved"], &["--help"], &["--version"]]
    {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ran = command(here.path()).args(args).stdout(writer).output().unwrap();
        assert_eq!(common::Ran::of(ran).ends(0).err, "");
    }
    // Nobody hears the complaint either.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ran = command(here.path()).args(["check", "nothing"]).stderr(writer).status().unwrap();
    assert_eq!(ran.code(), Some(2));
}

#[test]
fn x06_works_without_terminal_input_home_or_language() {
    let here = folder();
    let mut bare = command(here.path());
    bare.env_clear().stdin(Stdio::null()).args(["check", "mnist"]);
    common::Ran::of(bare.output().unwrap()).ends(0);
    shell(here.path(), "nerve check mnist <&-").ends(0);
    shell(here.path(), "LANG=C TERM=dumb nerve check mnist").ends(0);
    shell(here.path(), "nerve check mnist >&-");
}

#[test]
fn x07_numbers_of_threads_that_cannot_be() {
    let here = folder();
    nerve(here.path(), &["check", "mnist", "--threads", "0"]).ends(2).says("1..=1024");
    nerve(here.path(), &["check", "mnist", "--threads", "1000000"]).ends(2);
    nerve(here.path(), &["check", "mnist", "--threads", "1"]).ends(0);
    shell(here.path(), "NERVE_THREADS=many nerve check mnist").ends(2).says("NERVE_THREADS");
}

#[test]
fn x11_small_limits_of_the_system() {
    let here = folder();
    shell(here.path(), "ulimit -n 20; nerve check mnist").ends(0);
    shell(here.path(), "ulimit -s 256; nerve check mnist").ends(0);
}

#[test]
fn f14_x08_a_model_larger_than_the_memory_is_refused_before_it_is_made() {
    let here = folder();
    let huge = nerve(here.path(), &["check", "mnist", "model.layers.6.units=319000000"]).ends(2);
    huge.says("training needs about 14.9 TB, this machine has").quiet();
    let line = "ulimit -v 1000000; nerve check mnist model.layers.6.units=200000";
    shell(here.path(), line).ends(2).says("E2111").quiet();
}

#[test]
fn f10_the_command_line_wins_over_the_file() {
    let here = folder();
    let resolved =
        nerve(here.path(), &["check", "mnist", "--resolved", "epochs=3", "lr=3e-4"]).ends(0);
    assert!(resolved.out.contains("epochs = 3\n") && resolved.out.contains("lr = 0.0003"));
}

#[test]
fn check_shows_layers_parameters_memory_and_time() {
    let here = folder();
    let ran = nerve(here.path(), &["check", "mnist"]).ends(0);
    for text in
        ["2 Conv2d + relu  [64, 14, 14]      18,496    7.23", "1,630,090", "an epoch", "batch 64"]
    {
        assert!(ran.out.contains(text), "no `{text}` in\n{}", ran.out);
    }
    assert_eq!(ran.err, "");
    let ran = nerve(here.path(), &["check", "mnist", "--json"]).ends(0);
    let value: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(value["parameters"], 1_630_090);
    assert_eq!(value["layers"][8]["output_shape"], serde_json::json!([10]));
    assert_eq!(value["rows"]["validation"], 6000);
    assert!(value["seconds_per_epoch"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_resolved_recipe_is_a_recipe() {
    let here = folder();
    let first = nerve(here.path(), &["check", "mnist", "--resolved"]).ends(0).out;
    fs::write(here.path().join("again.toml"), &first).unwrap();
    assert_eq!(nerve(here.path(), &["check", "again.toml", "--resolved"]).ends(0).out, first);
}

#[test]
fn every_problem_of_a_recipe_is_told_with_its_place() {
    let here = folder();
    let text = "seed = 42\n[data]\nname = \"mnist\"\n[model]\nlayers = [\"Flaten\"]\n[trainer]\nepochss = 5\n";
    fs::write(here.path().join("bad.toml"), text).unwrap();
    let ran = nerve(here.path(), &["train", "bad.toml"]).ends(2).quiet();
    let ran = ran.says("--> bad.toml:5:11").says("--> bad.toml:7:1").says("did you mean `epochs`?");
    assert!(ran.err.trim_end().ends_with("2 problems found; nothing was started."));
    assert!(!here.path().join("runs").exists());
    let ran = nerve(here.path(), &["check", "bad.toml", "--json"]).ends(2).quiet();
    let value: serde_json::Value = serde_json::from_str(&ran.err).unwrap();
    assert_eq!(value["exit_code"], 2);
    assert_eq!(value["problems"][1]["line"], 7);
}

#[test]
fn data_that_are_missing_end_with_3() {
    let here = folder();
    let text = "[data]\ntrain = \"no-images\"\n[model]\nlayers = [\"Flatten\"]\n";
    fs::write(here.path().join("r.toml"), text).unwrap();
    nerve(here.path(), &["check", "r.toml"]).ends(3).says("no-images").quiet();
}
