//! `nerve inspect`: every kind of file, by its content.
#![allow(missing_docs)]

mod common;
#[path = "common/limits.rs"]
mod limits;

use common::{Ran, folder, nerve};
use nerve::formats::safetensors::{Elements, NewTensor, write_safetensors};
use nerve::formats::tfevents::Writer;
use nerve::formats::{Idx, IdxData, Npy, NpyData, write_idx};
use serde_json::Value as Json;
use std::fs;
use std::path::Path;

fn shown(folder: &Path, args: &[&str]) -> (String, Json) {
    let args = [&["inspect"], args].concat();
    let text = nerve(folder, &args).ends(0).out;
    let json = nerve(folder, &[&args[..], &["--json"]].concat()).ends(0).out;
    (text, serde_json::from_str(&json).unwrap())
}

fn weights(path: &Path, values: &[f32]) {
    let tensors = [
        NewTensor { name: "fc.weight", shape: &[2, 2], data: Elements::F32(values) },
        NewTensor { name: "steps", shape: &[], data: Elements::I64(&[7]) },
    ];
    write_safetensors(path, &tensors, &[("format".into(), "pt".into())]).unwrap();
}

#[test]
fn tensors_with_their_shapes_and_values() {
    let here = folder();
    weights(&here.path().join("w.bin"), &[1.5, -2.0, 0.0, 0.5]);
    let (text, json) = shown(here.path(), &["w.bin"]);
    assert!(text.starts_with("w.bin: safetensors, 2 tensors, 5 numbers, 24 bytes\n"), "{text}");
    assert!(text.contains("\nfc.weight  F32    [2, 2]  16\n"), "{text}");
    assert!(text.contains("\nformat  pt\n"), "{text}");
    assert_eq!(
        (&json["kind"], &json["tensors"][1]["dtype"]),
        (&"safetensors".into(), &"I64".into())
    );
    assert_eq!(json["metadata"]["format"], "pt");
    let (text, json) = shown(here.path(), &["w.bin", "--values"]);
    assert!(text.contains("fc.weight  -2.000000  1.500000  0.000000"), "{text}");
    assert_eq!(json["tensors"][0]["min"], -2.0);
}

#[test]
fn s21_values_that_are_not_finite_are_told_and_refused_where_that_is_asked_for() {
    let here = folder();
    weights(&here.path().join("w.safetensors"), &[1.0, 2.0, f32::NAN, f32::INFINITY]);
    let (text, json) = shown(here.path(), &["w.safetensors", "--values"]);
    assert!(text.contains("2, the first at 2"), "{text}");
    assert_eq!(json["tensors"][0]["not_finite"], 2);
    let require = ["inspect", "w.safetensors", "--require-finite"];
    nerve(here.path(), &require).ends(3).says("\"fc.weight\": expected finite values").quiet();
    weights(&here.path().join("w.safetensors"), &[1.0, 2.0, 0.0, -0.0]);
    nerve(here.path(), &require).ends(0);
}

#[test]
fn arrays() {
    let here = folder();
    let npy = Npy { shape: vec![2, 3], data: NpyData::F32(vec![0.0, 1.0, 2.0, 3.0, 4.0, -5.0]) };
    fs::write(here.path().join("x"), npy.to_bytes()).unwrap();
    let (text, json) = shown(here.path(), &["x", "--values"]);
    assert_eq!(text, "x: npy, <f4 [2, 3], 24 bytes\n-5 .. 4\n");
    assert_eq!((&json["shape"][1], &json["values"]["max"]), (&3.into(), &4.0.into()));
    let idx = Idx { dims: vec![3, 2, 2], data: IdxData::U8(vec![9; 12]) };
    write_idx(here.path().join("images.gz"), &idx).unwrap();
    let (text, json) = shown(here.path(), &["images.gz"]);
    assert_eq!(text, "images.gz: idx, u8 [3, 2, 2]\n");
    assert_eq!(json["shape"], serde_json::json!([3, 2, 2]));
}

#[test]
fn events_and_tables() {
    let here = folder();
    let mut events = Writer::begin(Vec::new(), 1.0).unwrap();
    events.scalar(2.0, 5, "loss", 0.25).unwrap();
    events.scalar(3.0, 9, "loss", 0.125).unwrap();
    fs::write(here.path().join("log"), events.into_inner()).unwrap();
    let (text, json) = shown(here.path(), &["log"]);
    assert!(text.starts_with("log: TensorBoard events, 3 records\n"), "{text}");
    assert_eq!(json["tags"][0]["last_value"], 0.125);
    fs::write(here.path().join("t.csv"), "a,b\n1,x\n2,y\n").unwrap();
    let (text, json) = shown(here.path(), &["t.csv"]);
    assert!(text.starts_with("t.csv: table, 2 rows, 2 columns\n"), "{text}");
    assert_eq!(json["columns"][1]["first"], "x");
    let (text, json) = shown(here.path(), &["t.csv", "log"]);
    assert!(text.contains("\n\nlog: TensorBoard"), "{text}");
    assert_eq!(json.as_array().unwrap().len(), 2);
}

#[test]
fn a_trained_model_and_its_run() {
    let here = folder();
    let mut csv = String::from("a,b\n");
    (0..40).for_each(|i| csv += &format!("{},{}\n", i * i % 7, ["no", "yes"][i % 2]));
    fs::write(here.path().join("t.csv"), csv).unwrap();
    nerve(here.path(), &["init", "t.csv", "--target", "b"]).ends(0);
    nerve(here.path(), &["train", "t.toml", "epochs=1", "--name", "r"]).ends(0);
    let (text, json) = shown(here.path(), &["runs/r/model.safetensors"]);
    assert!(text.starts_with("runs/r/model.safetensors: model, trained by nerve"), "{text}");
    assert!(text.contains("\ninputs   a ") && text.contains("epochs 1"), "{text}");
    assert_eq!(json["trained"]["epochs"], 1);
    assert!(json["model"]["parameters"].as_u64().unwrap() > 0);
    let (text, json) = shown(here.path(), &["runs/r"]);
    assert!(text.starts_with("runs/r: run folder, done\n"), "{text}");
    assert_eq!(json["model"]["trained"]["epochs"], 1);
    let (text, _) = shown(here.path(), &["runs/r/events.jsonl"]);
    assert!(text.contains("events of a run") && text.contains("loss/train"), "{text}");
    let checkpoints = here.path().join("runs/r/checkpoints");
    let one = fs::read_dir(&checkpoints).unwrap().flatten().find(|entry| entry.path().is_dir());
    if let Some(one) = one {
        let (text, _) = shown(here.path(), &[one.path().to_str().unwrap()]);
        assert!(text.contains(": checkpoint, "), "{text}");
    }
}

#[test]
fn an_onnx_model() {
    use nerve::formats::onnx::{DataType, Dim, Model, Node, Tensor, Type, ValueInfo};
    let here = folder();
    let mut model = Model::new(17);
    let value = |name: &str| ValueInfo {
        name: name.into(),
        kind: Some(Type::Tensor(
            DataType::Float,
            Some(vec![Dim::Named("n".into()), Dim::Fixed(2)]),
        )),
    };
    let graph = &mut model.graph;
    graph.inputs = vec![value("x"), value("w")];
    graph.outputs = vec![value("y")];
    graph.initializers = vec![Tensor::floats("w", &[2, 2], &[1.0; 4])];
    graph.nodes = vec![Node::new("MatMul", ["x", "w"], ["h"]), Node::new("Relu", ["h"], ["y"])];
    fs::write(here.path().join("m"), model.encode()).unwrap();
    let (text, json) = shown(here.path(), &["m"]);
    assert!(
        text.starts_with("m: ONNX model, 2 nodes, 4 numbers in 1 constants, 16 bytes\n"),
        "{text}"
    );
    assert!(text.contains("input   x     float [n, 2]\noutput  y     float [n, 2]\n"), "{text}");
    assert_eq!((&json["operators"]["Relu"], &json["opsets"][""]), (&1.into(), &17.into()));
    assert_eq!(json["inputs"].as_array().unwrap().len(), 1);
}

#[test]
fn what_is_not_read_names_the_way() {
    let here = folder();
    let refused = |name: &str, bytes: &[u8], says: &str| {
        fs::write(here.path().join(name), bytes).unwrap();
        nerve(here.path(), &["inspect", name]).ends(3).says(says).quiet();
    };
    refused("model.pt", b"PK\x03\x04\0\0\0\0model/data.pkl", "save_file");
    refused("old.pt", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", "a PyTorch file (a pickle)");
    refused("model.h5", b"\x89HDF\r\n\x1a\n........", "format='onnx'");
    refused("model.gguf", b"GGUF\x03\0\0\0....", "GGUFReader");
    refused("x.bin", b"\x01\x02\x03", "a name that tells no format");
    nerve(here.path(), &["inspect", "gone"]).ends(3).says("gone: cannot open");
    nerve(here.path(), &["inspect", "."])
        .ends(3)
        .says("a run folder, a checkpoint or a model folder");
}

/// 90 MB of which the header alone is read: the process may not even hold the data.
#[cfg(unix)]
#[test]
fn a_large_file_is_not_read() {
    let here = folder();
    let header = r#"{"w":{"dtype":"F32","shape":[500000000],"data_offsets":[0,2000000000]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.bytes());
    let path = here.path().join("large.safetensors");
    fs::write(&path, &bytes).unwrap();
    // A hole: the file has the length, and no blocks.
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(bytes.len() as u64 + 2_000_000_000).unwrap();
    let ran: Ran = limits::limited(here.path(), &["inspect", "large.safetensors"]).ends(0);
    assert!(ran.out.contains("500,000,000 numbers, 1.86 GB"), "{}", ran.out);
}
