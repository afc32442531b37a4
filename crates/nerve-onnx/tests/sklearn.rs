//! The same answers as ONNX Runtime gives: models of scikit-learn, as skl2onnx writes them (`sklearn/make.py`), and operators of
//! which the ONNX project has no cases (`runtime/make.py`).

use nerve_core::{DType, Tensor};
use nerve_formats::onnx::{self, Model, Node, ValueInfo};
use nerve_onnx::import::{ImportErrorKind, Network, Options, Value};
use std::path::Path;

fn folder(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

/// The largest difference between the outputs of a file and those that are written beside it.
fn difference(folder: &Path, name: &str) -> f64 {
    let network = Network::open(folder.join(format!("{name}.onnx")), Options::default());
    let network = network.unwrap_or_else(|error| panic!("{name}: {error}"));
    let values = onnx::read_model(folder.join(format!("{name}.values.onnx")), false).unwrap();
    let value = |name: &str| {
        let found = values.graph.initializers.iter().find(|tensor| tensor.name == name);
        Value::from_onnx(found.unwrap_or_else(|| panic!("{name} among the values"))).unwrap()
    };
    let inputs: Vec<Value> = network.input_infos().map(|info| value(&info.name)).collect();
    let outputs = network.run(&inputs).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut largest = 0f64;
    for (info, found) in network.output_infos().iter().zip(&outputs) {
        match (found, &value(&info.name)) {
            (Value::Strings(found), Value::Strings(expected)) => {
                assert_eq!(found, expected, "{name}")
            }
            (Value::Tensor(found), Value::Tensor(expected)) => {
                assert_eq!(found.shape(), expected.shape(), "{name}: {}", info.name);
                assert_eq!(found.dtype(), expected.dtype(), "{name}: {}", info.name);
                let numbers = |t: &Tensor| t.to_dtype(DType::F64).to_vec::<f64>();
                for (a, b) in numbers(found).into_iter().zip(numbers(expected)) {
                    largest = largest.max((a - b).abs() / (1.0 + b.abs()));
                }
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    largest
}

/// How many files of the folder answer as in ONNX Runtime.
fn agreeing(folder: &Path) -> usize {
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(name) = name.strip_suffix(".values.onnx") else { continue };
        let found = difference(folder, name);
        assert!(found < 2e-6, "{name}: {found}");
        count += 1;
    }
    count
}

#[test]
fn models_of_scikit_learn_answer_as_in_onnx_runtime() {
    assert_eq!(agreeing(&folder("sklearn")), 26);
}

#[test]
fn operators_without_cases_of_their_own_answer_as_in_onnx_runtime() {
    assert_eq!(agreeing(&folder("runtime")), 2);
}

/// A tree that asks whether column 0 is at most 0; `change` breaks it.
fn tree(change: impl Fn(&mut Node)) -> Result<Vec<f32>, String> {
    let mut model = Model::new(17);
    model.opsets.push(("ai.onnx.ml".into(), 3));
    let named = |name: &str| ValueInfo { name: name.into(), kind: None };
    model.graph.inputs = vec![named("x")];
    model.graph.outputs = vec![named("y")];
    let texts = |all: [&str; 3]| {
        onnx::AttributeValue::Strings(all.iter().map(|text| text.as_bytes().to_vec()).collect())
    };
    let ints = |all: &[i64]| onnx::AttributeValue::Ints(all.to_vec());
    let floats = |all: &[f32]| onnx::AttributeValue::Floats(all.to_vec());
    let mut node = Node::new("TreeEnsembleRegressor", ["x"], ["y"])
        .with("nodes_treeids", ints(&[0, 0, 0]))
        .with("nodes_nodeids", ints(&[0, 1, 2]))
        .with("nodes_featureids", ints(&[0, 0, 0]))
        .with("nodes_modes", texts(["BRANCH_LEQ", "LEAF", "LEAF"]))
        .with("nodes_truenodeids", ints(&[1, 0, 0]))
        .with("nodes_falsenodeids", ints(&[2, 0, 0]))
        .with("nodes_values", floats(&[0.0, 0.0, 0.0]))
        .with("nodes_missing_value_tracks_true", ints(&[1, 0, 0]))
        .with("target_treeids", ints(&[0, 0]))
        .with("target_nodeids", ints(&[1, 2]))
        .with("target_ids", ints(&[0, 0]))
        .with("target_weights", floats(&[5.0, 7.0]));
    node.domain = "ai.onnx.ml".into();
    change(&mut node);
    model.graph.nodes = vec![node];
    let network = Network::new("m", model, Options::default()).map_err(|e| e.to_string())?;
    let x = Tensor::from_slice(&[-1.0f32, 1.0, f32::NAN], [3, 1]);
    let y = network.run(&[x.into()]).map_err(|e| {
        use ImportErrorKind::{Invalid, Limit, Unsupported};
        assert!(matches!(e.kind(), Invalid | Unsupported | Limit));
        e.to_string()
    })?;
    Ok(y[0].tensor().unwrap().to_vec())
}

fn set(node: &mut Node, name: &str, value: onnx::AttributeValue) {
    let found = node.attributes.iter_mut().find(|attribute| attribute.name == name);
    found.unwrap().value = value;
}

#[test]
fn p_trees_that_lead_nowhere_are_refused() {
    use onnx::AttributeValue::{Ints, Strings};
    assert_eq!(tree(|_| ()).unwrap(), [5.0, 7.0, 5.0], "a missing value goes the way of a yes");
    let why = |name: &str, value: onnx::AttributeValue| {
        tree(|node| set(node, name, value.clone())).unwrap_err()
    };
    let text = why("nodes_truenodeids", Ints(vec![0, 0, 0]));
    assert!(text.contains("leads back") || text.contains("root"), "{text}");
    assert!(why("nodes_falsenodeids", Ints(vec![9, 0, 0])).contains("no node 9"));
    assert!(why("nodes_featureids", Ints(vec![3, 0, 0])).contains("column 3 of 1"));
    assert!(why("nodes_featureids", Ints(vec![-1, 0, 0])).contains("-1"));
    assert!(why("nodes_featureids", Ints(vec![0])).contains("for 3 nodes"));
    assert!(why("target_ids", Ints(vec![1 << 40, 0])).contains("GB"));
    let odd = ["BRANCH_ODD", "LEAF", "LEAF"].map(|text| text.as_bytes().to_vec());
    assert!(why("nodes_modes", Strings(odd.to_vec())).contains("BRANCH_ODD"));
}

#[test]
fn support_vectors_that_do_not_fit_are_refused() {
    use onnx::AttributeValue::{Floats, Ints};
    let ask = |counts: &[i64], vectors: usize, rho: usize| {
        let mut model = Model::new(17);
        model.opsets.push(("ai.onnx.ml".into(), 1));
        let named = |name: &str| ValueInfo { name: name.into(), kind: None };
        model.graph.inputs = vec![named("x")];
        model.graph.outputs = vec![named("label"), named("scores")];
        let mut node = Node::new("SVMClassifier", ["x"], ["label", "scores"])
            .with("classlabels_ints", Ints(vec![3, 5]))
            .with("vectors_per_class", Ints(counts.to_vec()))
            .with("support_vectors", Floats(vec![1.0; vectors]))
            .with("coefficients", Floats(vec![1.0; 2]))
            .with("rho", Floats(vec![0.5; rho]));
        node.domain = "ai.onnx.ml".into();
        model.graph.nodes = vec![node];
        let network = Network::new("m", model, Options::default()).unwrap();
        let x = Tensor::from_slice(&[1.0f32, 2.0], [1, 2]);
        network.run(&[x.into()]).map_err(|error| error.to_string())
    };
    let outputs = ask(&[1, 1], 4, 1).unwrap();
    assert_eq!(outputs[0].tensor().unwrap().to_vec::<i64>(), [3]);
    assert!(ask(&[1, 1], 3, 1).unwrap_err().contains("3 numbers for 2 vectors"));
    assert!(ask(&[1, 1], 4, 3).unwrap_err().contains("rho"));
    assert!(ask(&[1], 4, 1).unwrap_err().contains("2 classes"));
    assert!(ask(&[1, -1], 4, 1).unwrap_err().contains("-1"));
    assert!(ask(&[1 << 47, 1 << 47], 4, 1).unwrap_err().contains("support_vectors"));
}
