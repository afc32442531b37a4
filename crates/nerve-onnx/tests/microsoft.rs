//! The operators of com.microsoft are what optimizers make of several of ONNX's own: they give what these give.

use nerve_core::{DType, Tensor};
use nerve_formats::onnx::{self, Graph, Model, Node, ValueInfo};
use nerve_onnx::import::{Network, Options, Value};

/// Numbers without a pattern.
fn sample(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 37 + seed * 11 + 5) % 23) as f32 / 23.0 - 0.5).collect()
}

fn tensor(dims: &[usize], seed: usize) -> Tensor {
    Tensor::from_slice(&sample(dims.iter().product(), seed), dims)
}

fn run(nodes: Vec<Node>, inputs: &[(&str, Tensor)], output: &str) -> Tensor {
    let named = |name: &str| ValueInfo { name: name.into(), kind: None };
    let mut model = Model::new(23);
    model.opsets.push(("com.microsoft".into(), 1));
    let ints = |name: &str, values: &[i64]| onnx::Tensor::ints(name, &[values.len()], values);
    model.graph = Graph {
        inputs: inputs.iter().map(|(name, _)| named(name)).collect(),
        outputs: vec![named(output)],
        nodes,
        initializers: vec![ints("thirds", &[4, 4, 4]), ints("first", &[0, 1, 2])],
        ..Graph::default()
    };
    let network = Network::new("m", model, Options::default()).expect("a model");
    let values: Vec<Value> = inputs.iter().map(|(_, t)| t.clone().into()).collect();
    let outputs = network.run(&values).expect("it runs");
    outputs[0].tensor().expect("numbers").clone()
}

fn own(mut node: Node) -> Node {
    node.domain = "com.microsoft".into();
    node
}

#[track_caller]
fn same(fused: Vec<Node>, parts: Vec<Node>, inputs: &[(&str, Tensor)]) {
    let (fused, parts) = (run(fused, inputs, "y"), run(parts, inputs, "y"));
    assert_eq!(fused.shape(), parts.shape());
    for (a, b) in fused.to_vec::<f32>().iter().zip(parts.to_vec::<f32>()) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
}

#[test]
fn sums_that_are_normalised() {
    let inputs = [
        ("x", tensor(&[2, 3, 4], 1)),
        ("skip", tensor(&[2, 3, 4], 2)),
        ("scale", tensor(&[4], 3)),
        ("shift", tensor(&[4], 4)),
        ("bias", tensor(&[4], 5)),
    ];
    let sums =
        || vec![Node::new("Add", ["x", "skip"], ["a"]), Node::new("Add", ["a", "bias"], ["sum"])];
    let with = |node: Node| [sums(), vec![node.with("epsilon", 1e-3f32)]].concat();
    let skip = Node::new("SkipLayerNormalization", ["x", "skip", "scale", "shift", "bias"], ["y"]);
    same(
        vec![own(skip.with("epsilon", 1e-3f32))],
        with(Node::new("LayerNormalization", ["sum", "scale", "shift"], ["y"])),
        &inputs,
    );
    let simple = ["x", "skip", "scale", "bias"];
    let simple = Node::new("SkipSimplifiedLayerNormalization", simple, ["y"]);
    same(
        vec![own(simple.with("epsilon", 1e-3f32)), Node::new("Neg", ["shift"], ["z"])],
        with(Node::new("RMSNormalization", ["sum", "scale"], ["y"])),
        &inputs,
    );
}

#[test]
fn functions_with_a_bias() {
    let inputs = [("x", tensor(&[3, 4], 1)), ("bias", tensor(&[4], 2))];
    let sum = || Node::new("Add", ["x", "bias"], ["sum"]);
    same(
        vec![own(Node::new("BiasGelu", ["x", "bias"], ["y"]))],
        vec![sum(), Node::new("Gelu", ["sum"], ["y"])],
        &inputs,
    );
    same(
        vec![own(Node::new("FastGelu", ["x", "bias"], ["y"]))],
        vec![sum(), Node::new("Gelu", ["sum"], ["y"]).with("approximate", "tanh")],
        &inputs,
    );
}

#[test]
fn products_of_transposed_matrices() {
    let inputs = [("a", tensor(&[2, 4, 3], 1)), ("b", tensor(&[5, 4], 2))];
    let fused = Node::new("FusedMatMul", ["a", "b"], ["y"]).with("transA", 1i64);
    same(
        vec![own(fused.with("transB", 1i64))],
        vec![
            Node::new("Transpose", ["a"], ["at"]).with("perm", vec![0i64, 2, 1]),
            Node::new("Transpose", ["b"], ["bt"]),
            Node::new("MatMul", ["at", "bt"], ["y"]),
        ],
        &inputs,
    );
}

#[test]
fn attention_with_all_weights_in_one() {
    let causal = 1i64;
    let inputs =
        [("x", tensor(&[2, 3, 4], 1)), ("w", tensor(&[4, 12], 2)), ("b", tensor(&[12], 3))];
    let fused = Node::new("Attention", ["x", "w", "b"], ["y"]).with("num_heads", 2i64);
    let parts = vec![
        Node::new("MatMul", ["x", "w"], ["m"]),
        Node::new("Add", ["m", "b"], ["all"]),
        Node::new("Split", ["all", "thirds"], ["q", "k", "v"]).with("axis", -1i64),
        Node::new("Attention", ["q", "k", "v"], ["y"])
            .with("q_num_heads", 2i64)
            .with("kv_num_heads", 2i64)
            .with("is_causal", causal),
    ];
    same(vec![own(fused.with("unidirectional", causal))], parts, &inputs);
}

#[test]
fn attention_with_hidden_keys() {
    let lengths = Tensor::from_slice(&[3i32, 1], [2]);
    let mask = Tensor::from_slice(&[1i32, 1, 1, 1, 0, 0], [2, 3]);
    let seen = mask.ne(0).reshape([2, 1, 1, 3]).evaluated();
    let qkv =
        [("q", tensor(&[2, 2, 4], 1)), ("k", tensor(&[2, 3, 4], 2)), ("v", tensor(&[2, 3, 4], 3))];
    let masks = [("lengths", lengths), ("mask", mask), ("seen", seen)];
    let inputs = [&qkv[..], &masks[..]].concat();
    for hidden in ["lengths", "mask"] {
        let node = Node::new("MultiHeadAttention", ["q", "k", "v", "", hidden], ["y"]);
        let parts = Node::new("Attention", ["q", "k", "v", "seen"], ["y"]);
        let parts = parts.with("q_num_heads", 2i64).with("kv_num_heads", 2i64);
        same(vec![own(node.with("num_heads", 2i64))], vec![parts], &inputs);
    }
}

#[test]
fn embeddings_are_sums_of_rows() {
    let ids = Tensor::from_slice(&[3i32, 1, 4, 1, 0, 2], [2, 3]);
    let inputs = [
        ("ids", ids.clone()),
        ("kinds", Tensor::from_slice(&[0i32, 0, 1, 0, 1, 1], [2, 3])),
        ("words", tensor(&[5, 4], 1)),
        ("places", tensor(&[6, 4], 2)),
        ("segments", tensor(&[2, 4], 3)),
        ("scale", tensor(&[4], 4)),
        ("shift", tensor(&[4], 5)),
        ("mask", Tensor::from_slice(&[1i32, 1, 1, 1, 0, 0], [2, 3])),
    ];
    let operands = ["ids", "kinds", "words", "places", "segments", "scale", "shift", "mask"];
    let fused = || own(Node::new("EmbedLayerNormalization", operands, ["y", "n"]));
    let parts = vec![
        Node::new("Gather", ["words", "ids"], ["a"]),
        Node::new("Gather", ["places", "first"], ["b"]),
        Node::new("Gather", ["segments", "kinds"], ["c"]),
        Node::new("Sum", ["a", "b", "c"], ["sum"]),
        Node::new("LayerNormalization", ["sum", "scale", "shift"], ["y"]).with("epsilon", 1e-12f32),
    ];
    same(vec![fused()], parts, &inputs);
    let counts = run(vec![fused()], &inputs, "n");
    assert_eq!((counts.dtype(), counts.to_vec::<i32>()), (DType::I32, vec![3, 1]));
}
