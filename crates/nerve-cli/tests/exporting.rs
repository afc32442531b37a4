//! A trained network as a file for other programs.

use nerve::formats::{Limits, Npy, SafeTensors, Zip};
use std::path::Path;
use std::process::{Command, Output};

fn nerve(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nerve")).args(args).current_dir(folder).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

/// A run named `t` of a table with a number, a category and a class.
fn train(folder: &Path) {
    let row = |i: usize| format!("{},{},{}\n", i % 7, ["red", "green"][i % 2], i % 3);
    let rows: String = (0..60).map(row).collect();
    std::fs::write(folder.join("t.csv"), format!("size,colour,class\n{rows}")).unwrap();
    let recipe = "[data]\npath = \"t.csv\"\n[[input]]\nname = \"size\"\ntype = \"number\"\n\
        [[input]]\nname = \"colour\"\ntype = \"category\"\n[[output]]\nname = \"class\"\n\
        type = \"category\"\n[trainer]\nepochs = 1\n";
    std::fs::write(folder.join("t.toml"), recipe).unwrap();
    let done = nerve(folder, &["train", "t.toml", "--progress", "off"]);
    assert!(done.status.success(), "{}", text(&done));
}

#[test]
fn a_run_becomes_an_onnx_model_and_arrays() {
    let folder = tempfile::tempdir().unwrap();
    train(folder.path());
    let done = nerve(folder.path(), &["export", "t", "--verify"]);
    assert!(done.status.success() && text(&done).contains("largest difference"), "{}", text(&done));
    let seen = nerve(folder.path(), &["inspect", "t.onnx"]);
    assert!(
        text(&seen).contains("ONNX model") && text(&seen).contains("colour"),
        "{}",
        text(&seen)
    );

    for format in ["npz", "safetensors"] {
        let done = nerve(folder.path(), &["export", "t", "--format", format]);
        assert!(done.status.success(), "{}", text(&done));
    }
    let tensors =
        SafeTensors::open(folder.path().join("t.safetensors"), &Limits::default()).unwrap();
    let zip = Zip::read(folder.path().join("t.npz"), &Limits::default()).unwrap();
    let names: Vec<String> = zip.names().map(String::from).collect();
    assert_eq!(names.len(), tensors.names().count());
    for (i, name) in names.iter().enumerate() {
        let array = Npy::from_bytes(name, &zip.unpack(i).unwrap()).unwrap();
        let tensor = tensors.tensor(name.strip_suffix(".npy").unwrap()).unwrap();
        assert_eq!(array.shape, tensor.shape, "{name}");
    }
    let refused = nerve(folder.path(), &["export", "t", "--format", "npz", "--verify"]);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
}
