//! ONNX files behind the server.

mod common;

use common::*;
use nerve_formats::onnx::{self, DataType, Dim, Model, Node, Type, ValueInfo};
use nerve_serve::{Batching, Graph, Loaded, Repository, Sources};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

fn port(name: &str, element: DataType, dims: &[i64]) -> ValueInfo {
    let dim = |&extent: &i64| match usize::try_from(extent) {
        Ok(extent) => Dim::Fixed(extent),
        Err(_) => Dim::Named("batch".into()),
    };
    let kind = Some(Type::Tensor(element, Some(dims.iter().map(dim).collect())));
    ValueInfo { name: name.into(), kind }
}

/// h = x w, its greatest place, and what `last` makes of it.
fn model(last: Node, batch: i64) -> Model {
    let mut model = Model::new(17);
    model.graph.inputs = vec![port("x", DataType::Float, &[batch, 2])];
    model.graph.outputs =
        vec![port("y", DataType::Float, &[batch, 3]), port("best", DataType::Int64, &[batch])];
    model.graph.initializers =
        vec![onnx::Tensor::floats("w", &[2, 3], &[1.0, -1.0, 0.5, 0.0, 1.0, 2.0])];
    let best = Node::new("ArgMax", ["h"], ["best"]).with("axis", 1i64).with("keepdims", 0i64);
    model.graph.nodes = vec![Node::new("MatMul", ["x", "w"], ["h"]), last, best];
    model
}

fn relu() -> Node {
    Node::new("Relu", ["h"], ["y"])
}

fn write(model: &Model, file: &Path) {
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, model.encode()).unwrap();
}

fn open(model: &Model) -> Graph {
    let (_keep, folder) = folder();
    let file = folder.join("m.onnx");
    write(model, &file);
    Graph::open("m", 1, &file, Batching::default(), false).unwrap()
}

fn serve_graph(model: &Model) -> Running {
    start(empty().with(open(model)), options())
}

fn tensor(rows: usize, data: Value) -> String {
    json!({ "inputs": [{ "name": "x", "shape": [rows, 2], "datatype": "FP32", "data": data }] })
        .to_string()
}

#[test]
fn a_file_says_its_tensors() {
    let server = serve_graph(&model(relu(), -1));
    let about = server.get("/v2/models/m").json();
    assert_eq!(about["platform"], "onnx_onnxv1");
    assert_eq!(about["inputs"], json!([{ "name": "x", "datatype": "FP32", "shape": [-1, 2] }]));
    assert_eq!(
        about["outputs"],
        json!([
            { "name": "y", "datatype": "FP32", "shape": [-1, 3] },
            { "name": "best", "datatype": "INT64", "shape": [-1] },
        ])
    );
    assert!(about["properties"]["batching"].as_str().unwrap().contains("run together"));
    assert_eq!(about["properties"]["sha256"].as_str().unwrap().len(), 64);
    let config = server.get("/v2/models/m/config").json();
    assert_eq!((&config["max_batch_size"], &config["input"][0]["dims"]), (&json!(32), &json!([2])));
    let form = server.get("/form").json();
    assert_eq!(form["models"][0]["inputs"][0]["holds"], "array");
    let api = server.get("/openapi.json").json();
    assert!(api["paths"]["/predict/m"]["post"]["requestBody"].is_object());
    assert!(server.get("/metrics").text().contains("nerve_model_info{model=\"m\""));
}

#[test]
fn tensors_in_json_in_bytes_and_in_lists_get_the_same_answer() {
    let server = serve_graph(&model(relu(), -1));
    let told = server.post(INFER, &tensor(2, json!([1, 0, 0, 2]))).json();
    assert_eq!(told["outputs"][0]["data"], json!([1.0, 0.0, 0.5, 0.0, 2.0, 4.0]));
    assert_eq!(told["outputs"][0]["shape"], json!([2, 3]));
    assert_eq!(
        (&told["outputs"][1]["data"], &told["outputs"][1]["datatype"]),
        (&json!([0, 2]), &json!("INT64"))
    );
    let lists = server.post("/predict", r#"{"x": [[1, 0], [0, 2]]}"#).json();
    assert_eq!(lists, json!({ "y": [[1.0, 0.0, 0.5], [0.0, 2.0, 4.0]], "best": [0, 2] }));
    let raw: Vec<u8> = [0f32, 2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let headers =
        [("content-type", "application/octet-stream"), ("inference-header-content-length", "0")];
    let answer = server.send("POST", INFER, &headers, &raw);
    assert_eq!(answer.status, 200, "{answer:?}");
    // Three floats and one whole number of eight bytes.
    let tail = &answer.body[answer.body.len() - 20..];
    let floats: Vec<f32> =
        tail[..12].as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    assert_eq!((floats, tail[12]), (vec![0.0, 2.0, 4.0], 2));
    let wanted = json!({
        "inputs": [{ "name": "x", "shape": [1, 2], "datatype": "INT32", "data": [[0, 2]] }],
        "outputs": [{ "name": "y", "parameters": { "classification": 2 } }],
    });
    let classes = server.post(INFER, &wanted.to_string()).json();
    assert_eq!(classes["outputs"].as_array().unwrap().len(), 1);
    assert_eq!(classes["outputs"][0]["data"], json!(["4:2", "2:1"]));
}

#[test]
fn more_rows_than_a_batch_are_run_in_pieces() {
    let server = serve_graph(&model(relu(), -1));
    let rows = 77;
    let data: Vec<usize> = (0..2 * rows).collect();
    let told = server.post(INFER, &tensor(rows, json!(data))).json();
    let y: Vec<f64> = serde_json::from_value(told["outputs"][0]["data"].clone()).unwrap();
    assert_eq!(y.len(), 3 * rows);
    assert_eq!(y[3 * 70], 140.0);
    assert_eq!(told["outputs"][1]["shape"], json!([rows]));
}

#[test]
fn requests_at_the_same_time_get_their_own_rows() {
    let server = serve_graph(&model(relu(), -1));
    std::thread::scope(|scope| {
        for client in 0..8 {
            let server = &server;
            scope.spawn(move || {
                for at in 0..20 {
                    let x = client * 100 + at;
                    let told = server.post(INFER, &tensor(1, json!([x, 0]))).json();
                    assert_eq!(told["outputs"][0]["data"][0], json!(f64::from(x)));
                }
            });
        }
    });
}

#[test]
fn rows_that_depend_on_each_other_are_run_alone() {
    let over_rows = Node::new("Softmax", ["h"], ["y"]).with("axis", 0i64);
    let server = serve_graph(&model(over_rows, -1));
    let about = server.get("/v2/models/m").json();
    let batching = about["properties"]["batching"].as_str().unwrap();
    assert!(batching.contains("depends on the rows beside it"), "{batching}");
    assert_eq!(server.get("/v2/models/m/config").json()["max_batch_size"], 0);
    let told = server.post("/predict", r#"{"x": [[1, 0], [1, 0]]}"#).json();
    assert_eq!(told["y"][0], json!([0.5, 0.5, 0.5]));
}

#[test]
fn a_file_without_an_axis_of_rows_is_run_as_it_is() {
    let server = serve_graph(&model(relu(), 2));
    let about = server.get("/v2/models/m").json();
    assert_eq!(about["inputs"][0]["shape"], json!([2, 2]));
    assert!(about["properties"]["batching"].as_str().unwrap().contains("does not count rows"));
    assert_eq!(server.post("/predict", r#"{"x": [[1, 0], [0, 2]]}"#).json()["best"], json!([0, 2]));
    let error = server.post("/predict", r#"{"x": [[1, 0]]}"#);
    assert_eq!((error.status, error.error().contains("[2, 2]")), (422, true));
}

#[test]
fn p_what_does_not_fit_is_told() {
    let server = serve_graph(&model(relu(), -1));
    let cases = [
        (r#"{"inputs": []}"#, 422, "`x` is missing"),
        (
            r#"{"inputs": [{"name": "z", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}"#,
            422,
            "it has x",
        ),
        (
            r#"{"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}"#,
            422,
            "[-1, 2]",
        ),
        (
            r#"{"inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]}]}"#,
            422,
            "[-1, 2]",
        ),
        (
            r#"{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "BYTES", "data": ["a", "b"]}]}"#,
            422,
            "FP32",
        ),
        (
            r#"{"inputs": [{"name": "x", "shape": [0, 2], "datatype": "FP32", "data": []}]}"#,
            422,
            "1 to",
        ),
        (
            r#"{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}], "outputs": [{"name": "q"}]}"#,
            422,
            "it has y, best",
        ),
    ];
    for (body, status, says) in cases {
        let answer = server.post(INFER, body);
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        assert!(answer.error().contains(says), "{body}: {}", answer.error());
    }
    for (body, says) in [
        (r#"{"x": [[1, 2], [3]]}"#, "different lengths"),
        ("[1]", "failed to parse"),
        (r#"{"x": 1}"#, "no list"),
    ] {
        let answer = server.post("/predict", body);
        assert!(matches!(answer.status, 400 | 422) && answer.error().contains(says), "{answer:?}");
    }
    let csv = server.send("POST", "/predict", &[("content-type", "text/csv")], b"x\n1\n");
    assert_eq!((csv.status, csv.error().contains("no columns")), (415, true));
    server.is_well();
}

#[test]
fn what_is_no_number_is_not_said_in_json() {
    let server = serve_graph(&model(Node::new("Log", ["h"], ["y"]), -1));
    let answer = server.post(INFER, &tensor(1, json!([-1, 0])));
    assert_eq!((answer.status, answer.error().contains("non_finite_output")), (500, true));
    let mut wanted: Value = serde_json::from_str(&tensor(1, json!([-1, 0]))).unwrap();
    wanted["parameters"] = json!({ "binary_data_output": true });
    assert_eq!(server.post(INFER, &wanted.to_string()).status, 200);
}

#[test]
fn folders_hold_both_kinds_and_bad_files_are_refused() {
    let (_keep, folder) = folder();
    write(&model(relu(), -1), &folder.join("net/1/model.onnx"));
    save(NUMBERS, &folder.join("rows/1/model.safetensors"));
    let mut strange = model(relu(), -1);
    strange.graph.outputs.push(ValueInfo {
        name: "best".into(),
        kind: Some(Type::Sequence(Box::new(Type::Tensor(DataType::Float, None)))),
    });
    write(&strange, &folder.join("list/1/model.onnx"));
    write(&model(Node::new("NoSuchThing", ["h"], ["y"]), -1), &folder.join("other/1/model.onnx"));
    let sources = Sources { folder: Some(PathBuf::from(&folder)), ..Sources::default() };
    let repository = Repository::new(sources, Batching::default(), quiet);
    let refused = repository.look().unwrap();
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert!(refused[0].contains("lists and dictionaries"), "{refused:?}");
    assert!(refused[1].contains("NoSuchThing"), "{refused:?}");
    assert!(matches!(repository.find("net", None).unwrap(), Loaded::Graph(_)));
    assert!(matches!(repository.find("rows", None).unwrap(), Loaded::Rows(_)));
}
