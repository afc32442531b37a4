//! `nerve embed`: sentence embeddings of a small BERT.
#![allow(missing_docs)]

mod common;

use common::{folder, nerve, shell};
use nerve::formats::{Limits, Npy, NpyData, Zip};
use serde_json::Value as Json;
use std::fs;
use std::path::Path;

fn model() -> String {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../nerve-recipe/src/embedder/golden/tiny");
    path.to_str().unwrap().to_string()
}

#[test]
fn rows_for_lines_and_arguments() {
    let (here, model) = (folder(), model());
    let out = nerve(here.path(), &["embed", &model, "a cat", "the dog"]).ends(0).out;
    let rows: Vec<Vec<f32>> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((rows.len(), rows[0].len()), (2, 8));
    let length: f32 = rows[1].iter().map(|x| x * x).sum();
    assert!((length - 1.0).abs() < 1e-5, "{length}");
    fs::write(here.path().join("t.txt"), "a cat\r\nthe dog\n").unwrap();
    let piped = shell(here.path(), &format!("nerve embed '{model}' < t.txt")).ends(0);
    assert_eq!(piped.out, out);
    let json = ["embed", &model, "--data", "t.txt", "--json"];
    let json = nerve(here.path(), &json).ends(0).out;
    let first: Json = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!(first["text"], "a cat");
    for name in ["rows.npy", "rows.npz"] {
        nerve(here.path(), &["embed", &model, "--data", "t.txt", "-o", name]).ends(0).quiet();
    }
    let npy = Npy::read(here.path().join("rows.npy"), &Limits::default()).unwrap();
    assert_eq!((&npy.shape[..], &npy.data), (&[2, 8][..], &NpyData::F32(rows.concat())));
    let zip = Zip::read(here.path().join("rows.npz"), &Limits::default()).unwrap();
    assert_eq!(Npy::from_bytes("e", &zip.unpack(0).unwrap()).unwrap(), npy);
}

#[test]
fn what_cannot_be_embedded() {
    let (here, model) = (folder(), model());
    nerve(here.path(), &["embed", ".", "x"]).ends(3).says("config.json: cannot open");
    nerve(here.path(), &["embed", &model, "x", "-o", "rows.txt"])
        .ends(2)
        .says(".npy, .npz or .jsonl");
    fs::write(here.path().join("bad"), b"fine\n\xff\xfe\n").unwrap();
    nerve(here.path(), &["embed", &model, "--data", "bad"]).ends(3).says("bad:2: expected UTF-8");
    fs::write(here.path().join("long"), "x".repeat((1 << 20) + 1)).unwrap();
    nerve(here.path(), &["embed", &model, "--data", "long"])
        .ends(3)
        .says("long:1: expected at most");
    fs::write(here.path().join("none"), "").unwrap();
    nerve(here.path(), &["embed", &model, "--data", "none"]).ends(3).says("there are no texts");
}

/// A recipe whose text encoder begins as the BERT of a folder.
#[test]
fn a_recipe_goes_on_from_a_bert() {
    let (here, model) = (folder(), model());
    let mut csv = String::from("text,animal\n");
    (0..40).for_each(|i| {
        csv += &format!("the {} sat on the mat,{}\n", ["cat", "dog"][i % 2], ["cat", "dog"][i % 2]);
    });
    fs::write(here.path().join("t.csv"), csv).unwrap();
    let text = format!(
        "[data]\npath = \"t.csv\"\n\
         [[input]]\nname = \"text\"\ntype = \"text\"\nmax_len = 12\n\
         tokenizer = {{ type = \"file\", path = \"{model}/tokenizer.json\", special_tokens = true }}\n\
         encoder = {{ type = \"bert\", features = 8, layers = 2, heads = 2, feed_forward = 12, longest = 24 }}\n\
         [[output]]\nname = \"animal\"\ntype = \"category\"\n\
         [model]\ninit_from = \"{model}/model.safetensors\"\n\
         init_rename = [\"*=encoders.text.0.*\"]\ninit_except = [\"decoders\"]\n\
         freeze = [\"encoders.text\"]\n[trainer]\nepochs = 2\n"
    );
    fs::write(here.path().join("r.toml"), text).unwrap();
    let trained = nerve(here.path(), &["train", "r.toml", "--name", "r"]).ends(0);
    let there = nerve::formats::SafeTensors::open(
        Path::new(&model).join("model.safetensors"),
        &Limits::default(),
    );
    let saved = here.path().join("runs/r/model.safetensors");
    let saved = nerve::formats::SafeTensors::open(saved, &Limits::default()).unwrap();
    let name = "encoder.layer.1.attention.self.key.weight";
    let own = saved.tensor(&format!("encoders.text.0.{name}")).expect(&trained.err);
    assert_eq!(own.to_f32(), there.unwrap().tensor(name).unwrap().to_f32());
}
