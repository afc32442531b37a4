//! ONNX models on the command line.

use nerve::formats::onnx::{DataType, Dim, Model, Node, Tensor, Type, ValueInfo};
use nerve::formats::{Limits, Npy, NpyData, Zip, write_npz};
use std::path::Path;
use std::process::{Command, Output};

fn nerve(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nerve")).args(args).current_dir(folder).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

/// sum:0 = a + 2 b, with b of integers.
fn model(folder: &Path) {
    let input = |name: &str, element: DataType| ValueInfo {
        name: name.into(),
        kind: Some(Type::Tensor(element, Some(vec![Dim::Named("n".into())]))),
    };
    let mut model = Model::new(17);
    model.graph.inputs = vec![input("a", DataType::Float), input("b", DataType::Int64)];
    model.graph.outputs = vec![input("sum:0", DataType::Float)];
    model.graph.initializers = vec![Tensor::floats("two", &[1], &[2.0])];
    model.graph.nodes = vec![
        Node::new("Cast", ["b"], ["c"]).with("to", 1i64),
        Node::new("Mul", ["c", "two"], ["d"]),
        Node::new("Add", ["a", "d"], ["sum:0"]),
    ];
    std::fs::write(folder.join("m.onnx"), model.encode()).unwrap();
}

fn array(data: NpyData) -> Npy {
    Npy { shape: vec![data.len()], data }
}

#[test]
fn arrays_go_in_and_come_out() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path());
    let inputs = [
        ("a", array(NpyData::F32(vec![0.5, 1.5]))),
        // int32 widens to the int64 that the model takes.
        ("b", array(NpyData::I32(vec![1, -1]))),
    ];
    write_npz(folder.path().join("in.npz"), &inputs).unwrap();
    let done = nerve(folder.path(), &["predict", "m.onnx", "--data", "in.npz", "-o", "out.npz"]);
    assert!(done.status.success(), "{}", said(&done));
    assert!(said(&done).contains("sum_0"), "{}", said(&done));
    let zip = Zip::read(folder.path().join("out.npz"), &Limits::default()).unwrap();
    assert_eq!(zip.names().collect::<Vec<_>>(), ["sum_0.npy"]);
    let found = Npy::from_bytes("sum_0.npy", &zip.unpack(0).unwrap()).unwrap();
    assert_eq!(found, array(NpyData::F32(vec![2.5, -0.5])));
}

#[test]
fn what_does_not_fit_is_said() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path());
    let fails = |inputs: &[(&str, Npy)], code: i32, text: &str| {
        write_npz(folder.path().join("in.npz"), inputs).unwrap();
        let done = nerve(folder.path(), &["predict", "m.onnx", "--data", "in.npz"]);
        assert_eq!(done.status.code(), Some(code), "{}", said(&done));
        assert!(said(&done).contains(text), "{}", said(&done));
    };
    let a = || ("a", array(NpyData::F32(vec![0.5, 1.5])));
    fails(&[a()], 3, "no array \"b\"");
    fails(&[a(), ("b", array(NpyData::F32(vec![1.0, 2.0])))], 3, "the model takes int64");
    // N14: two arrays with different numbers of rows.
    fails(&[a(), ("b", array(NpyData::I64(vec![1])))], 3, "the extent n is 2");
    let done = nerve(folder.path(), &["predict", "m.onnx", "picture.png"]);
    assert_eq!(done.status.code(), Some(2), "{}", said(&done));
    assert!(said(&done).contains("--data"), "{}", said(&done));
}

#[test]
fn a_training_goes_on_without_the_network_that_stands_in_front() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let input = ValueInfo {
        name: "x".into(),
        kind: Some(Type::Tensor(
            DataType::Float,
            Some(vec![Dim::Named("n".into()), Dim::Fixed(1)]),
        )),
    };
    let mut base = Model::new(17);
    base.graph.inputs = vec![input];
    base.graph.outputs = vec![ValueInfo { name: "h".into(), kind: None }];
    base.graph.initializers = vec![Tensor::floats("w", &[1, 3], &[1.0, -1.0, 0.5])];
    base.graph.nodes = vec![
        Node::new("MatMul", ["x", "w"], ["g"]),
        // Whatever it says, it drops in training, by the number of the step.
        Node::new("Dropout", ["g"], ["h"]).with("ratio", 0.25f32),
    ];
    let rows: String = (0..60).map(|i| format!("{},{}\n", i % 7, i % 7 * 2)).collect();
    std::fs::write(at("rows.csv"), format!("p,y\n{rows}")).unwrap();
    let recipe = "[data]\npath = \"rows.csv\"\n[[input]]\nname = \"p\"\ntype = \"number\"\n[[output]]\nname = \"y\"\n\
                  type = \"number\"\n[model]\nbase = \"net.onnx\"\nlayers = [{ type = \"Dense\", units = 1 }]\n[trainer]\n\
                  epochs = 2\n";
    std::fs::write(at("r.toml"), recipe).unwrap();
    std::fs::write(at("net.onnx"), base.encode()).unwrap();
    let succeeds = |args: &[&str]| {
        let done = nerve(folder.path(), args);
        assert!(done.status.success(), "{}", said(&done));
        said(&done)
    };
    succeeds(&["train", "r.toml", "--name", "whole", "epochs=4"]);
    succeeds(&["train", "r.toml", "--name", "half"]);
    std::fs::remove_file(at("net.onnx")).unwrap();
    assert!(succeeds(&["resume", "half", "epochs=4"]).contains("goes on after step"));
    let model = |run: &str| std::fs::read(at("runs").join(run).join("model.safetensors")).unwrap();
    assert!(model("half") == model("whole"), "as if it had never stopped");
    // Without a checkpoint it would begin with weights that are nowhere.
    std::fs::remove_dir_all(at("runs/half/checkpoints")).unwrap();
    let done = nerve(folder.path(), &["resume", "half", "epochs=5"]);
    assert!(!done.status.success() && said(&done).contains("net.onnx"), "{}", said(&done));
}
