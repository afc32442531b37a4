//! Branches, loops, recurrent layers, normalisation, reductions: what the ONNX project's own cases leave out.

use nerve_core::{DType, Tensor, grad};
use nerve_formats::onnx::{self, DataType, Dim, Graph, Model, Node, Type, ValueInfo};
use nerve_nn::Context;
use nerve_onnx::import::{ImportErrorKind as Kind, Limits, Network, Options, Value};

fn named(name: &&str) -> ValueInfo {
    ValueInfo { name: name.to_string(), kind: None }
}

fn graph(inputs: &[&str], nodes: Vec<Node>, outputs: &[&str]) -> Graph {
    Graph {
        inputs: inputs.iter().map(named).collect(),
        outputs: outputs.iter().map(named).collect(),
        nodes,
        ..Graph::default()
    }
}

fn model(inputs: &[&str], nodes: Vec<Node>, outputs: &[&str]) -> Model {
    let mut model = Model::new(17);
    model.graph = graph(inputs, nodes, outputs);
    model
}

fn floats(values: &[f32]) -> Value {
    Tensor::from_slice(values, [values.len()]).into()
}

/// Within a thousand nodes.
fn try_run(model: Model, inputs: &[Value]) -> Result<Vec<Value>, (Kind, String)> {
    let limits = Limits { nodes: 1000, ..Limits::default() };
    let options = Options { limits, ..Options::default() };
    let network = Network::new("m", model, options).map_err(|e| (e.kind(), e.to_string()))?;
    network.run(inputs).map_err(|e| (e.kind(), e.to_string()))
}

fn run(model: Model, inputs: &[Value]) -> Vec<Vec<f64>> {
    let outputs = try_run(model, inputs).expect("it runs");
    let wide = |v: &Value| v.tensor().expect("numbers").to_dtype(DType::F64).to_vec();
    outputs.iter().map(wide).collect()
}

#[track_caller]
fn fails(model: Model, inputs: &[Value], kind: Kind, text: &str) {
    let (found, message) = try_run(model, inputs).expect_err("it fails");
    assert!(found == kind && message.contains(text), "{found:?}: {message}");
}

/// A loop that doubles `x` so often, or while it holds what `going` computes from the new `x`.
fn doubling(count: Option<i64>, going: Node) -> Model {
    let mut body = graph(
        &["i", "c", "before"],
        vec![Node::new("Add", ["before", "before"], ["after"]), going],
        &["on", "after", "after"],
    );
    body.initializers =
        vec![onnx::Tensor::floats("hundred", &[1], &[100.0]), onnx::Tensor::ints("no", &[], &[0])];
    // How large a row is that no round makes.
    body.outputs[2].kind = Some(Type::Tensor(DataType::Float, Some(vec![Dim::Fixed(1)])));
    let most = if count.is_some() { "n" } else { "" };
    let looped = Node::new("Loop", [most, "", "x"], ["y", "all"]).with("body", body);
    let mut model = model(&["x"], vec![looped], &["y", "all"]);
    if let Some(count) = count {
        model.graph.initializers = vec![onnx::Tensor::ints("n", &[], &[count])];
    }
    model
}

fn for_ever() -> Node {
    Node::new("Identity", ["c"], ["on"])
}

#[test]
fn o31_loops_are_bounded() {
    let x = [floats(&[1.0])];
    assert_eq!(run(doubling(Some(3), for_ever()), &x), [vec![8.0], vec![2.0, 4.0, 8.0]]);
    assert_eq!(run(doubling(Some(-5), for_ever()), &x), [vec![1.0], vec![]]);
    fails(doubling(Some(i64::MAX), for_ever()), &x, Kind::Limit, "more nodes");
    fails(doubling(None, for_ever()), &x, Kind::Limit, "more nodes");
    // A body of no nodes goes round as well.
    let body = graph(&["i", "c"], Vec::new(), &["c"]);
    let idle = Node::new("Loop", ["", ""], []).with("body", body);
    let idle = model(&["x"], vec![idle, Node::new("Relu", ["x"], ["y"])], &["y"]);
    fails(idle, &x, Kind::Limit, "more nodes");
}

#[test]
fn loops_end_when_their_values_say_so() {
    let smaller = || Node::new("Less", ["after", "hundred"], ["on"]);
    let (x, one) = (floats(&[30.0]), floats(&[1.0]));
    let model = doubling(None, smaller());
    assert_eq!(run(model.clone(), &[x])[0], [120.0]);
    assert_eq!(run(model, &[one])[1].len(), 7);
    let whole = Node::new("Identity", ["no"], ["on"]);
    fails(doubling(Some(3), whole), &[floats(&[1.0])], Kind::Invalid, "expected one bool");
}

#[test]
fn o31_o32_graphs_that_do_not_fit() {
    let x = [floats(&[1.0, 2.0])];
    let bare = model(&["x"], vec![Node::new("Loop", ["", "", "x"], ["y"])], &["y"]);
    fails(bare, &x, Kind::Invalid, "attribute body");
    let typed = Node::new("Loop", ["", "", "x"], ["y"]).with("body", 3i64);
    fails(model(&["x"], vec![typed], &["y"]), &x, Kind::Invalid, "body: expected a graph");
    let few =
        Node::new("Loop", ["", "", "x"], ["y"]).with("body", graph(&["i", "c"], vec![], &["c"]));
    fails(model(&["x"], vec![few], &["y"]), &x, Kind::Invalid, "1 results of the body");
    let scan = |count: i64, axis: i64| {
        let body = graph(&["s"], vec![Node::new("Relu", ["s"], ["t"])], &["t"]);
        let node = Node::new("Scan", ["x"], ["y"]).with("body", body);
        let node = node.with("num_scan_inputs", count).with("scan_input_axes", vec![axis]);
        model(&["x"], vec![node], &["y"])
    };
    assert_eq!(run(scan(1, -1), &x), [[1.0, 2.0]]);
    for (count, axis) in [(0, 0), (2, 0), (-1, 0), (i64::MAX, 0), (1, 5), (1, i64::MIN)] {
        let error = try_run(scan(count, axis), &x).expect_err("it fails");
        assert_eq!(error.0, Kind::Invalid, "{count} {axis}: {}", error.1);
    }
}

#[test]
fn branches_of_one_shape_are_chosen_while_it_runs() {
    let branch = |op: &str| graph(&[], vec![Node::new(op, ["x"], ["z"])], &["z"]);
    let nodes = |other: Graph| {
        vec![
            Node::new("ReduceSum", ["x"], ["sum"]).with("keepdims", 0i64),
            Node::new("Greater", ["sum", "zero"], ["c"]),
            Node::new("If", ["c"], ["y"])
                .with("then_branch", branch("Relu"))
                .with("else_branch", other),
        ]
    };
    let with = |other: Graph| {
        let mut model = model(&["x"], nodes(other), &["y"]);
        model.graph.initializers = vec![onnx::Tensor::floats("zero", &[], &[0.0])];
        model
    };
    let (up, down) = (floats(&[3.0, -1.0]), floats(&[-3.0, 1.0]));
    assert_eq!(run(with(branch("Neg")), std::slice::from_ref(&up)), [[3.0, 0.0]]);
    assert_eq!(run(with(branch("Neg")), std::slice::from_ref(&down)), [[3.0, -1.0]]);
    // Of other shapes: it is run piece by piece.
    assert_eq!(run(with(branch("Size")), &[up]), [[3.0, 0.0]]);
    assert_eq!(run(with(branch("Size")), &[down]), [[2.0]]);
    // As a graph that is trained, both are part of it.
    let network = Network::new("m", with(branch("Neg")), Options::default()).unwrap();
    let slope = nerve_core::compile(move |x: &[Tensor]| {
        let y = network.forward(&[x[0].clone().into()], &Context::eval()).unwrap().remove(0);
        grad(&y.tensor().unwrap().sum(), &[&x[0]])
    });
    let down = Tensor::from_slice(&[-3.0f32, 1.0], [2]);
    assert_eq!(slope.call(&[&down])[0].to_vec::<f32>(), [-1.0, -1.0]);
}

/// Numbers without a pattern.
fn sample(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 37 + seed * 11 + 5) % 23) as f32 / 23.0 - 0.5).collect()
}

/// A layer over `x` of 4 steps, 2 sequences and 3 features, with 2 units, in both directions.
fn recurrent(op: &str, gates: usize, lengths: &str) -> Model {
    let node = Node::new(op, ["x", "w", "r", "b", lengths], ["y", "h"]);
    let node = node.with("direction", "bidirectional").with("linear_before_reset", 1i64);
    let inputs: &[&str] = if lengths.is_empty() { &["x"] } else { &["x", "n"] };
    let mut model = model(inputs, vec![node], &["y", "h"]);
    let weight = |name: &str, dims: &[usize], seed: usize| {
        onnx::Tensor::floats(name, dims, &sample(dims.iter().product(), seed))
    };
    model.graph.initializers = vec![
        weight("w", &[2, 2 * gates, 3], 1),
        weight("r", &[2, 2 * gates, 2], 2),
        weight("b", &[2, 4 * gates], 3),
    ];
    model
}

#[test]
fn recurrent_layers_are_the_same_whole_and_step_by_step() {
    let x = || Value::from(Tensor::from_slice(&sample(24, 4), [4, 2, 3]));
    for (op, gates) in [("LSTM", 4), ("GRU", 3), ("RNN", 1)] {
        let whole = run(recurrent(op, gates, ""), &[x()]);
        let lengths = |n: [i32; 2]| Value::from(Tensor::from_slice(&n, [2]));
        let steps = run(recurrent(op, gates, "n"), &[x(), lengths([4, 4])]);
        for (a, b) in whole.iter().flatten().zip(steps.iter().flatten()) {
            assert!((a - b).abs() < 1e-6, "{op}: {a} {b}");
        }
        // What stands behind the end of a sequence does nothing, and nothing comes of it.
        let short = run(recurrent(op, gates, "n"), &[x(), lengths([4, 2])]);
        let at = |step: usize, direction: usize| 8 * step + 4 * direction + 2;
        assert_eq!(short[0][at(3, 0)..at(3, 0) + 2], [0.0, 0.0]);
        assert_eq!(short[0][at(2, 1)..at(2, 1) + 2], [0.0, 0.0]);
        assert_eq!(short[0][at(1, 0)..at(1, 0) + 2], short[1][2..4]);
        assert_eq!(short[0][at(1, 0)], steps[0][at(1, 0)]);
    }
}

#[test]
fn recurrent_weights_have_gradients() {
    let network = Network::new("m", recurrent("LSTM", 4, ""), Options::default()).unwrap();
    let x = Tensor::from_slice(&sample(24, 4), [4, 2, 3]);
    let y = network.forward(&[x.into()], &Context::eval()).unwrap().remove(0);
    let weight = network.params().get("w").expect("a parameter").var.clone();
    let slope = grad(&y.tensor().unwrap().sum(), &[&weight]).remove(0);
    assert!(slope.shape().to_vec() == [2, 8, 3] && slope.to_vec::<f32>().iter().all(|&v| v != 0.0));
}

#[test]
fn p18_recurrent_layers_that_do_not_fit() {
    let x = || Value::from(Tensor::from_slice(&sample(24, 4), [4, 2, 3]));
    for (op, gates) in [("LSTM", 4), ("GRU", 3), ("RNN", 1)] {
        for n in [[5i64, 1], [-1, 1], [i64::MIN, i64::MAX]] {
            let mut fixed = recurrent(op, gates, "n");
            fixed.graph.inputs.truncate(1);
            fixed.graph.initializers.push(onnx::Tensor::ints("n", &[2], &n));
            fails(fixed, &[x()], Kind::Invalid, "of 4 steps");
        }
        let lengths = Value::from(Tensor::from_slice(&[1i32, 2, 3], [3]));
        fails(recurrent(op, gates, "n"), &[x(), lengths], Kind::Invalid, "expected integers [2]");
        let named = |size: i64| {
            let mut model = recurrent(op, gates, "");
            let node = std::mem::take(&mut model.graph.nodes[0]);
            model.graph.nodes[0] = node.with("hidden_size", size);
            model
        };
        assert!(try_run(named(2), &[x()]).is_ok());
        fails(named(3), &[x()], Kind::Invalid, "recurrent weights for 2");
        fails(named(-1), &[x()], Kind::Invalid, "found -1");
        let mut misshapen = recurrent(op, gates, "");
        misshapen.graph.initializers[1] = onnx::Tensor::floats("r", &[2, 2, 5], &[0.0; 20]);
        fails(misshapen, &[x()], Kind::Invalid, "expected f32");
        let flat = Value::from(Tensor::zeros([4, 6]));
        fails(recurrent(op, gates, ""), &[flat], Kind::Invalid, "3 axes");
    }
}

#[test]
fn p18_functions_of_recurrent_layers() {
    let with = |names: Vec<Vec<u8>>| {
        let mut model = recurrent("RNN", 1, "");
        let node = std::mem::take(&mut model.graph.nodes[0]);
        model.graph.nodes[0] = node.with("activations", onnx::AttributeValue::Strings(names));
        model
    };
    let x = [Tensor::from_slice(&sample(24, 4), [4, 2, 3]).into()];
    assert!(try_run(with(vec![b"relu".into(), b"Softsign".into()]), &x).is_ok());
    fails(with(vec![b"Tanh".into()]), &x, Kind::Invalid, "expected 2 names, found 1");
    fails(with(vec![b"Tanh".into(), b"Sinus".into()]), &x, Kind::Invalid, "unknown \"Sinus\"");
}

#[test]
fn p15_normalisation_that_does_not_fit() {
    let norm = |op: &str, extent: usize, eps: f32| {
        let node = Node::new(op, ["x", "s", "s"], ["y"]).with("epsilon", eps);
        let mut model = model(&["x"], vec![node.with("num_groups", 1i64)], &["y"]);
        model.opsets[0].1 = 21;
        model.graph.initializers = vec![onnx::Tensor::floats("s", &[extent], &vec![1.0; extent])];
        model
    };
    let x = || Value::from(Tensor::from_slice(&[1.0f32, 3.0, 2.0, 4.0], [1, 2, 2]));
    for op in ["LayerNormalization", "GroupNormalization", "InstanceNormalization"] {
        assert_eq!(run(norm(op, 2, 0.0), &[x()])[0].len(), 4);
        fails(norm(op, 3, 1e-5), &[x()], Kind::Invalid, "[3]");
        fails(norm(op, 2, -1e-5), &[x()], Kind::Invalid, "epsilon: expected a number from 0");
        fails(norm(op, 2, f32::NAN), &[x()], Kind::Invalid, "epsilon");
        let whole = Value::from(Tensor::full([1, 2, 2], 1.0, DType::I64));
        fails(norm(op, 2, 1e-5), &[whole], Kind::Invalid, "expected floats, found i64");
    }
    let groups = |count: i64| {
        let mut model = norm("GroupNormalization", 2, 1e-5);
        model.graph.nodes[0].attributes.pop();
        let node = std::mem::take(&mut model.graph.nodes[0]);
        model.graph.nodes[0] = node.with("num_groups", count);
        model
    };
    for count in [0, 3, -1, i64::MAX] {
        let error = try_run(groups(count), &[x()]).expect_err("it fails");
        assert_eq!(error.0, Kind::Invalid, "{count}: {}", error.1);
    }
    let stable = |variance: f32| {
        let node = Node::new("BatchNormalization", ["x", "s", "s", "s", "v"], ["y"]);
        let mut model = model(&["x"], vec![node], &["y"]);
        let two = |name: &str, value: f32| onnx::Tensor::floats(name, &[2], &[1.0, value]);
        model.graph.initializers = vec![two("s", 1.0), two("v", variance)];
        model
    };
    assert_eq!(run(stable(0.0), &[x()])[0].len(), 4);
    fails(stable(-1.0), &[x()], Kind::Invalid, "variance");
}

#[test]
fn p10_reductions_of_nothing() {
    let reduced = |op: &str, dtype: DType| {
        let axes = onnx::Tensor::ints("a", &[1], &[1]);
        let mut model = model(&["x"], vec![Node::new(op, ["x", "a"], ["y"])], &["y"]);
        model.opsets[0].1 = 20;
        model.graph.initializers = vec![axes];
        run(model, &[Tensor::full([2, 0], 0.0, dtype).into()]).remove(0)
    };
    assert_eq!(reduced("ReduceSum", DType::F32), [0.0, 0.0]);
    assert_eq!(reduced("ReduceProd", DType::I64), [1.0, 1.0]);
    assert_eq!(reduced("ReduceMax", DType::F32), [f64::NEG_INFINITY; 2]);
    assert_eq!(reduced("ReduceMin", DType::I32), [f64::from(i32::MAX); 2]);
    assert_eq!(reduced("ReduceMax", DType::I8), [-128.0, -128.0]);
    assert_eq!(reduced("ReduceMin", DType::U8), [255.0, 255.0]);
    assert_eq!(reduced("ReduceMax", DType::Bool), [0.0, 0.0]);
    assert_eq!(reduced("ReduceMin", DType::Bool), [1.0, 1.0]);
    assert_eq!(reduced("ReduceLogSumExp", DType::F32), [f64::NEG_INFINITY; 2]);
    assert!(reduced("ReduceMean", DType::F32).iter().all(|v| v.is_nan()));
}

#[test]
fn p05_places_in_lists() {
    let at = |place: i64| {
        let nodes = vec![
            Node::new("SequenceConstruct", ["x", "x"], ["s"]),
            Node::new("SequenceAt", ["s", "i"], ["y"]),
        ];
        let mut model = model(&["x"], nodes, &["y"]);
        model.graph.initializers = vec![onnx::Tensor::ints("i", &[], &[place])];
        model
    };
    let x = [floats(&[1.0])];
    assert_eq!(run(at(-2), &x), [[1.0]]);
    for place in [2, -3, i64::MAX, i64::MIN] {
        fails(at(place), &x, Kind::Invalid, "of a list of 2");
    }
}

#[test]
fn o32_attention_that_does_not_fit() {
    let attend = |heads: i64| {
        let node = Node::new("Attention", ["x", "x", "x"], ["y"]);
        let node = node.with("q_num_heads", heads).with("kv_num_heads", heads);
        let mut model = model(&["x"], vec![node], &["y"]);
        model.opsets[0].1 = 23;
        model
    };
    let x = || Value::from(Tensor::ones([1, 3, 4]));
    assert_eq!(run(attend(2), &[x()])[0], [1.0; 12]);
    for heads in [0, 3, -1, i64::MAX] {
        let error = try_run(attend(heads), &[x()]).expect_err("it fails");
        assert_eq!(error.0, Kind::Invalid, "{heads}: {}", error.1);
    }
    fails(attend(2), &[floats(&[1.0])], Kind::Invalid, "3 or 4 axes");
}

#[test]
fn p02_what_is_needed_in_between_is_bounded() {
    // 2 GiB are allowed: results are small, but not what they are made of.
    let draw = Node::new("Multinomial", ["x"], ["y"]).with("sample_size", 1i64 << 20);
    let wide = || Value::from(Tensor::zeros([1, 1 << 12]));
    fails(model(&["x"], vec![draw], &["y"]), &[wide()], Kind::Limit, "GB for a result");
    let mask = onnx::Tensor::floats("m", &[1], &[0.0]);
    let node = Node::new("Attention", ["x", "x", "x", "m"], ["y"]);
    let node = node.with("q_num_heads", 1i64).with("kv_num_heads", 1i64);
    let mut attend = model(&["x"], vec![node], &["y"]);
    attend.opsets[0].1 = 23;
    attend.graph.initializers = vec![mask];
    fails(attend, &[Tensor::zeros([1, 1 << 15, 1]).into()], Kind::Limit, "GB for a result");
    // No numbers at all, but a great many groups of none.
    let norm = Node::new("LayerNormalization", ["x", "s"], ["y"]).with("axis", 1i64);
    let mut norm = model(&["x"], vec![norm], &["y"]);
    norm.graph.initializers = vec![onnx::Tensor::floats("s", &[1], &[1.0])];
    fails(norm, &[Tensor::zeros([0, 1 << 40]).into()], Kind::Limit, "GB for a result");
    let split = Node::new("SplitToSequence", ["x"], ["s"]).with("axis", 1i64);
    let split = model(&["x"], vec![split, Node::new("SequenceLength", ["s"], ["y"])], &["y"]);
    fails(split, &[Tensor::zeros([0, 1 << 40]).into()], Kind::Limit, "into parts");
}

#[test]
fn o31_lists_do_not_grow_into_each_other() {
    let nest = |op: &str, first: Node| {
        let body = graph(&["i", "c", "s"], vec![Node::new(op, ["s"], ["t"])], &["c", "t"]);
        let looped = Node::new("Loop", ["n", "", "first"], ["last"]).with("body", body);
        let length = Node::new("SequenceLength", ["last"], ["y"]);
        let mut model = model(&["x"], vec![first, looped, length], &["y"]);
        model.graph.initializers = vec![onnx::Tensor::ints("n", &[], &[100])];
        model
    };
    let list = || Node::new("SequenceConstruct", ["x"], ["first"]);
    let x = [floats(&[1.0])];
    fails(nest("SequenceConstruct", list()), &x, Kind::Invalid, "expected arrays as elements");
    fails(nest("Optional", list()), &x, Kind::Invalid, "found an optional value");
}
