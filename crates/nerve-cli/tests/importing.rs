//! `nerve import`: weights from elsewhere in the network of a recipe.
#![allow(missing_docs)]

mod common;

use common::{folder, nerve};
use nerve::formats::safetensors::{Dtype, Elements, NewTensor, write_safetensors};
use serde_json::Value as Json;
use std::fs;
use std::path::Path;

/// A table of two numbers, and a network of two layers: `0.weight` [4, 2], `1.weight` [2, 4].
fn recipe(folder: &Path) {
    let mut csv = String::from("a,b,c\n");
    (0..40).for_each(|i| csv += &format!("{},{},{}\n", i % 7, i % 5, ["no", "yes"][i % 2]));
    fs::write(folder.join("t.csv"), csv).unwrap();
    let text = "[data]\npath = \"t.csv\"\n\
        [[input]]\nname = [\"a\", \"b\"]\ntype = \"number\"\n\
        [[output]]\nname = \"c\"\ntype = \"category\"\n\
        [model]\nlayers = [{ type = \"Dense\", units = 4, activation = \"relu\" }, \
        { type = \"Dense\", units = 2 }]\n[trainer]\nepochs = 1\n";
    fs::write(folder.join("r.toml"), text).unwrap();
}

/// Weights whose last layer says the second class, whatever comes in; the first layer is in bf16.
fn weights(path: &Path, prefix: &str, extra: &[(&str, &[usize])]) {
    let half: Vec<u8> = [0x3f, 0x80].repeat(8).chunks(2).flat_map(|b| [b[1], b[0]]).collect();
    let names = ["0.weight", "0.bias", "1.weight", "1.bias"].map(|name| format!("{prefix}{name}"));
    let mut tensors = vec![
        NewTensor { name: &names[0], shape: &[4, 2], data: Elements::Raw(Dtype::BF16, &half) },
        NewTensor { name: &names[1], shape: &[4], data: Elements::F64(&[0.0; 4]) },
        NewTensor { name: &names[2], shape: &[2, 4], data: Elements::F32(&[0.0; 8]) },
        NewTensor { name: &names[3], shape: &[2], data: Elements::F32(&[0.0, 5.0]) },
    ];
    let zeros = [0.0f32; 64];
    for (name, shape) in extra {
        let data = Elements::F32(&zeros[..shape.iter().product()]);
        tensors.push(NewTensor { name, shape, data });
    }
    write_safetensors(path, &tensors, &[]).unwrap();
}

#[test]
fn weights_become_a_model_that_answers() {
    let here = folder();
    recipe(here.path());
    weights(&here.path().join("w.safetensors"), "net.", &[("net.extra", &[3])]);
    let import = ["import", "w.safetensors", "--recipe", "r.toml", "--strip", "net."];
    let ran = nerve(here.path(), &[&import[..], &["--ignore", "*.extra"]].concat()).ends(0);
    assert_eq!(ran.out, "runs/r/model.safetensors\n");
    assert!(ran.err.contains("4 taken over"), "{}", ran.err);
    fs::write(here.path().join("new.csv"), "a,b\n1,2\n6,0\n").unwrap();
    let said = nerve(here.path(), &["predict", "r", "--data", "new.csv", "--json"]).ends(0).out;
    for line in said.lines() {
        let said: Json = serde_json::from_str(line).unwrap();
        assert!(said.to_string().contains("\"yes\""), "{said}");
    }
    let text = nerve(here.path(), &["inspect", "runs/r/model.safetensors"]).ends(0).out;
    assert!(text.contains("trained  not yet") && text.contains("1.weight  F32"), "{text}");
    // Into a file of its own, which is not replaced unasked.
    let to = [&import[..], &["--ignore", "net.extra", "-o", "m.safetensors", "--json"]].concat();
    let json: Json = serde_json::from_str(&nerve(here.path(), &to).ends(0).out).unwrap();
    assert_eq!(json["loaded"].as_array().unwrap().len(), 4);
    nerve(here.path(), &to).ends(2).says("m.safetensors exists");
    nerve(here.path(), &[&to[..], &["--force"]].concat()).ends(0);
    // And training goes on from it.
    let on = ["train", "r.toml", "model.init_from=w.safetensors", "--name", "on"];
    let on = [&on[..], &["model.init_rename=[\"net.*=*\"]"]].concat();
    nerve(here.path(), &on).ends(0);
}

#[test]
fn s22_all_that_does_not_fit_is_told_at_once() {
    let here = folder();
    recipe(here.path());
    weights(&here.path().join("w.safetensors"), "net.", &[("odd\u{1b}[2J", &[3])]);
    let import = ["import", "w.safetensors", "--recipe", "r.toml"];
    let ran = nerve(here.path(), &import).ends(3).quiet();
    for says in [
        "`0.weight` [4, 2] is missing; is it `net.0.weight`?",
        "`1.bias` [2] is missing; is it `net.1.bias`?",
        "`net.1.weight` [2, 4] is not expected",
        "`odd\\u{1b}[2J` [3] is not expected",
        "most of these fit if `net.*` is renamed to `*`",
    ] {
        assert!(ran.err.contains(says), "no {says} in {}", ran.err);
    }
    assert!(!here.path().join("runs").exists());
    let wide = [&import[..], &["--strip", "net.", "--ignore", "odd*", "model.layers.0.units=5"]];
    let ran = nerve(here.path(), &wide.concat()).ends(3);
    let ran = ran.says("`0.weight`: expected shape [5, 2], found [4, 2]");
    ran.says("`1.weight`: expected shape [2, 5], found [2, 4]");
    let rename = [&import[..], &["--rename", "net.*"]].concat();
    nerve(here.path(), &rename).ends(2).says("expected FROM=TO");
}

#[test]
fn a_part_can_begin_fresh() {
    let here = folder();
    recipe(here.path());
    weights(&here.path().join("w.safetensors"), "", &[]);
    let import = ["import", "w.safetensors", "--recipe", "r.toml", "--ignore", "1"];
    nerve(here.path(), &import).ends(3).says("`1.weight` [2, 4] is missing");
    let ran = nerve(here.path(), &[&import[..], &["--partial", "--name", "part"]].concat()).ends(0);
    assert!(ran.err.contains("2 as they were: 1.weight, 1.bias"), "{}", ran.err);
    assert_eq!(ran.out, "runs/part/model.safetensors\n");
}

#[test]
fn what_is_no_file_of_tensors_names_the_way() {
    let here = folder();
    recipe(here.path());
    fs::write(here.path().join("m.pt"), b"PK\x03\x04 net/data.pkl").unwrap();
    nerve(here.path(), &["import", "m.pt", "--recipe", "r.toml"]).ends(3).says("save_file");
    fs::write(here.path().join("m.txt"), b"hello").unwrap();
    nerve(here.path(), &["import", "m.txt", "--recipe", "r.toml"])
        .ends(3)
        .says("expected a safetensors file");
}
