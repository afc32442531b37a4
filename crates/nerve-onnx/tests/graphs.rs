//! Models that break the rules: each is an error that names what is wrong, and none is more.

use nerve_core::{DType, Tensor};
use nerve_formats::onnx::{
    self, AttributeValue, DataType, Dim, Function, Graph, Model, Node, Type, ValueInfo,
};
use nerve_nn::Context;
use nerve_onnx::import::{ImportErrorKind as Kind, Limits, Network, Options, Value};

fn named(name: &str) -> ValueInfo {
    ValueInfo { name: name.into(), kind: None }
}

fn typed(name: &str, element: DataType, dims: &[Dim]) -> ValueInfo {
    ValueInfo { name: name.into(), kind: Some(Type::Tensor(element, Some(dims.to_vec()))) }
}

/// A model from `x` to `y`.
fn model(nodes: Vec<Node>) -> Model {
    let mut model = Model::new(17);
    model.graph.inputs = vec![named("x")];
    model.graph.outputs = vec![named("y")];
    model.graph.nodes = nodes;
    model
}

fn open(model: Model) -> Result<Network, (Kind, String)> {
    Network::new("m", model, Options::default()).map_err(|e| (e.kind(), e.to_string()))
}

fn run(model: Model, inputs: &[Tensor]) -> Result<Vec<f64>, (Kind, String)> {
    let inputs: Vec<Value> = inputs.iter().cloned().map(Value::from).collect();
    let outputs = open(model)?.run(&inputs).map_err(|e| (e.kind(), e.to_string()))?;
    Ok(outputs[0].tensor().unwrap().to_dtype(DType::F64).to_vec())
}

/// The error of opening it.
#[track_caller]
fn refused(model: Model, kind: Kind, text: &str) {
    let (found, message) = open(model).err().expect("it is refused");
    assert!(found == kind && message.contains(text), "{found:?}: {message}");
}

/// The error of running it on two numbers.
#[track_caller]
fn fails(model: Model, kind: Kind, text: &str) {
    let x = Tensor::from_slice(&[1.0f32, 2.0], [2]);
    let (found, message) = run(model, &[x]).expect_err("it fails");
    assert!(found == kind && message.contains(text), "{found:?}: {message}");
}

#[test]
fn o23_a_cycle_is_named() {
    let cycle = vec![
        Node::new("Add", ["x", "b"], ["a"]),
        Node::new("Relu", ["a"], ["b"]),
        Node::new("Relu", ["b"], ["y"]),
    ];
    refused(model(cycle), Kind::Invalid, "the graph has a cycle: a → b → a");
    refused(model(vec![Node::new("Add", ["x", "y"], ["y"])]), Kind::Invalid, "y → y");
}

#[test]
fn o24_nodes_in_another_order_are_sorted() {
    let nodes = vec![Node::new("Neg", ["h"], ["y"]), Node::new("Relu", ["x"], ["h"])];
    let x = Tensor::from_slice(&[1.0f32, -2.0], [2]);
    assert_eq!(run(model(nodes), &[x]).unwrap(), [-1.0, 0.0]);
}

#[test]
fn o25_o26_names_that_are_written_twice_or_never() {
    let twice = vec![Node::new("Relu", ["x"], ["y"]), Node::new("Neg", ["x"], ["y"])];
    refused(model(twice), Kind::Invalid, "\"y\" is written twice");
    refused(model(vec![Node::new("Relu", ["x"], ["x"])]), Kind::Invalid, "\"x\" is written twice");
    refused(model(vec![Node::new("Relu", ["z"], ["y"])]), Kind::Invalid, "nothing produces \"z\"");
    refused(model(vec![Node::new("Relu", ["x"], ["z"])]), Kind::Invalid, "output \"y\"");
}

#[test]
fn o27_o28_operands_that_are_left_out_and_too_many_results() {
    let x = Tensor::from_slice(&[1.0f32, -2.0], [2]);
    let clip = model(vec![Node::new("Clip", ["x", "", ""], ["y"])]);
    assert_eq!(run(clip, std::slice::from_ref(&x)).unwrap(), [1.0, -2.0]);
    fails(model(vec![Node::new("Add", ["x"], ["y"])]), Kind::Invalid, "operand 1 is missing");
    fails(model(vec![Node::new("Add", ["x", ""], ["y"])]), Kind::Invalid, "operand 1 is missing");
    fails(model(vec![Node::new("Relu", ["x"], ["y", "z"])]), Kind::Invalid, "2 results");
}

#[test]
fn o29_all_that_is_missing_is_named_at_once() {
    let nodes = vec![
        Node::new("Frobnicate", ["x"], ["a"]),
        Node { domain: "com.example".into(), ..Node::new("Relu", ["a"], ["b"]) },
        Node::new("Frobnicate", ["b"], ["y"]),
    ];
    refused(
        model(nodes.clone()),
        Kind::Unsupported,
        "Frobnicate (2 nodes), com.example.Relu (1 nodes)",
    );
    for version in [0, 999] {
        let mut with = model(nodes.clone());
        with.opsets = vec![(String::new(), version)];
        refused(with, Kind::Unsupported, &format!("version {version} of the operators"));
    }
    let mut without = model(vec![Node::new("Relu", ["x"], ["y"])]);
    without.opsets.clear();
    refused(without, Kind::Unsupported, "does not say which version");
    let mut future = model(vec![Node::new("Relu", ["x"], ["y"])]);
    future.ir_version = 1 << 31;
    refused(future, Kind::Unsupported, "version 2147483648 of the format");
}

/// The function `own.NAME` of one operand.
fn function(name: &str, node: Node) -> Function {
    Function {
        name: name.into(),
        domain: "own".into(),
        inputs: vec!["a".into()],
        outputs: vec!["b".into()],
        nodes: vec![node],
        opsets: vec![(String::new(), 17), ("own".into(), 1)],
        ..Function::default()
    }
}

fn own(op: &str, input: &str, output: &str) -> Node {
    Node { domain: "own".into(), ..Node::new(op, [input], [output]) }
}

#[test]
fn o30_functions_are_applied_and_do_not_call_themselves_for_ever() {
    let mut good = model(vec![own("Double", "x", "y").with("alpha", 3.0f32)]);
    let reference = AttributeValue::Reference("alpha".into());
    good.functions =
        vec![function("Double", Node::new("LeakyRelu", ["a"], ["b"]).with("alpha", reference))];
    let x = Tensor::from_slice(&[1.0f32, -2.0], [2]);
    assert_eq!(run(good, std::slice::from_ref(&x)).unwrap(), [1.0, -6.0]);
    let mut bad = model(vec![own("A", "x", "y")]);
    bad.functions = vec![function("A", own("B", "a", "b")), function("B", own("A", "a", "b"))];
    fails(bad, Kind::Limit, "calls within each other");
}

#[test]
fn a_function_does_not_see_the_weights_of_the_model() {
    // Its operand `low` is left out, and the model has a weight of that name.
    let mut named_alike = model(vec![own("Cut", "x", "y"), Node::new("Add", ["low", "x"], ["z"])]);
    named_alike.graph.initializers = vec![onnx::Tensor::floats("low", &[1], &[5.0])];
    let mut cut = function("Cut", Node::new("Clip", ["a", "low"], ["b"]));
    cut.inputs.push("low".into());
    named_alike.functions = vec![cut];
    let x = Tensor::from_slice(&[1.0f32, -2.0], [2]);
    assert_eq!(run(named_alike, &[x]).unwrap(), [1.0, -2.0]);
}

#[test]
fn weights_that_are_filled_are_bounded_together_and_stand_in_their_order() {
    let with = |limit: u64| {
        let fill = |i: usize| {
            let name = format!("w{i}");
            let value = onnx::Tensor::floats("", &[1], &[i as f32]);
            Node::new("ConstantOfShape", ["dims"], [&*name]).with("value", value)
        };
        let mut nodes: Vec<Node> = (0..8).map(fill).collect();
        let mut last = "x".to_string();
        for i in 0..8 {
            let next = if i == 7 { "y".to_string() } else { format!("h{i}") };
            nodes.push(Node::new("Add", [&*last, &*format!("w{i}")], [&*next]));
            last = next;
        }
        let mut model = model(nodes);
        model.graph.initializers = vec![onnx::Tensor::ints("dims", &[1], &[2])];
        let limits = Limits { bytes: limit, ..Limits::default() };
        Network::new("m", model, Options { limits, ..Options::default() }).unwrap()
    };
    let names = |network: &Network| -> Vec<String> {
        network.params().vars().iter().map(|var| var.name().to_string()).collect()
    };
    assert_eq!(names(&with(1 << 20)), ["w0", "w1", "w2", "w3", "w4", "w5", "w6", "w7"]);
    // Eight bytes each: three fit, the others are computed where they are used.
    let few = with(24);
    assert_eq!(names(&few), ["w0", "w1", "w2"]);
    let y = few.run(&[Tensor::from_slice(&[1.0f32, 2.0], [2]).into()]).unwrap();
    assert_eq!(y[0].tensor().unwrap().to_vec::<f32>(), [29.0, 30.0]);
}

#[test]
fn o30_the_number_of_nodes_is_bounded() {
    // Each function calls the one below twice: a million calls from twenty lines.
    let twice = |n: usize| Function {
        nodes: vec![own(&format!("F{n}"), "a", "h"), own(&format!("F{n}"), "h", "b")],
        ..function(&format!("F{}", n + 1), Node::default())
    };
    let mut deep = model(vec![own("F20", "x", "y")]);
    deep.functions = (0..20).map(twice).collect();
    deep.functions.push(function("F0", Node::new("Relu", ["a"], ["b"])));
    let limits = Limits { nodes: 10_000, ..Limits::default() };
    let network = Network::new("m", deep, Options { limits, ..Options::default() }).unwrap();
    let error = network.run(&[Tensor::ones([2]).into()]).unwrap_err();
    assert!(error.kind() == Kind::Limit && error.to_string().contains("more nodes"), "{error}");
}

#[test]
fn o32_settings_of_another_type() {
    let node =
        |value: AttributeValue| vec![Node::new("LeakyRelu", ["x"], ["y"]).with("alpha", value)];
    fails(model(node(AttributeValue::Int(1))), Kind::Invalid, "attribute alpha: expected a number");
    fails(model(vec![Node::new("Cast", ["x"], ["y"])]), Kind::Invalid, "attribute to is missing");
    fails(model(vec![Node::new("Cast", ["x"], ["y"]).with("to", 99i64)]), Kind::Invalid, "0 to 26");
    fails(
        model(vec![Node::new("Cast", ["x"], ["y"]).with("to", 14i64)]),
        Kind::Unsupported,
        "complex64",
    );
}

#[test]
fn o36_p19_inputs_are_what_the_model_says() {
    let mut fixed = model(vec![Node::new("Add", ["x", "z"], ["y"])]);
    let n = Dim::Named("n".into());
    fixed.graph.inputs = vec![
        typed("x", DataType::Float, &[n.clone(), Dim::Fixed(2)]),
        typed("z", DataType::Float, &[n, Dim::Fixed(2)]),
    ];
    let try_with = |a: Tensor, b: Tensor| run(fixed.clone(), &[a, b]);
    assert_eq!(try_with(Tensor::ones([3, 2]), Tensor::ones([3, 2])).unwrap(), [2.0; 6]);
    let message = |a: Tensor, b: Tensor| {
        let (kind, message) = try_with(a, b).unwrap_err();
        assert_eq!(kind, Kind::Input);
        message
    };
    assert!(message(Tensor::ones([3, 2]), Tensor::ones([1, 2])).contains("the extent n is 3"));
    assert!(message(Tensor::ones([3, 3]), Tensor::ones([3, 3])).contains("expected shape [n, 2]"));
    assert!(message(Tensor::ones([3]), Tensor::ones([3])).contains("expected shape"));
    let ints = Tensor::full([3, 2], 1.0, DType::I64);
    assert!(message(ints.clone(), ints).contains("expected float, found i64"));
    assert!(
        run(fixed.clone(), &[Tensor::ones([3, 2])])
            .unwrap_err()
            .1
            .contains("expected 2 inputs (x, z)")
    );
}

#[test]
fn p02_results_are_bounded_before_they_exist() {
    let dims = onnx::Tensor::ints("dims", &[2], &[1 << 30, 1 << 10]);
    let mut big = model(vec![
        Node::new("ConstantOfShape", ["dims"], ["c"]),
        Node::new("Add", ["c", "x"], ["y"]),
    ]);
    big.graph.initializers = vec![dims];
    fails(big, Kind::Limit, "limit is 2.1 GB");
    for (op, second) in [("Expand", vec![1 << 40, 2]), ("Tile", vec![1 << 40])] {
        let mut big = model(vec![Node::new(op, ["x", "dims"], ["y"])]);
        big.graph.initializers = vec![onnx::Tensor::ints("dims", &[second.len()], &second)];
        fails(big, Kind::Limit, "GB");
    }
}

#[test]
fn p01_p03_p04_p09_settings_out_of_range() {
    let with = |op: &str, values: &[i64]| {
        let mut model = model(vec![Node::new(op, ["x", "v"], ["y"])]);
        model.graph.initializers = vec![onnx::Tensor::ints("v", &[values.len()], values)];
        model
    };
    fails(with("Reshape", &[-1, -1]), Kind::Invalid, "cannot reshape");
    fails(with("Reshape", &[3]), Kind::Invalid, "cannot reshape");
    fails(with("Reshape", &[0, 0]), Kind::Invalid, "axis 1 is to be kept");
    fails(with("Squeeze", &[0]), Kind::Invalid, "is not 1");
    fails(with("Unsqueeze", &[5]), Kind::Invalid, "axis 5");
    fails(with("Unsqueeze", &[0, 0]), Kind::Invalid, "an axis twice");
    fails(with("Split", &[1, 2]), Kind::Invalid, "into [1, 2]");
    fails(with("Pad", &[1, 2, 3]), Kind::Invalid, "3 pads");
    let slice = |start: i64, end: i64, step: i64| {
        let mut model = model(vec![Node::new("Slice", ["x", "s", "e", "a", "t"], ["y"])]);
        model.graph.initializers = [("s", start), ("e", end), ("a", 0), ("t", step)]
            .map(|(name, value)| onnx::Tensor::ints(name, &[1], &[value]))
            .to_vec();
        model
    };
    let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0], [3]);
    let cut = |start, end, step| run(slice(start, end, step), std::slice::from_ref(&x)).unwrap();
    assert_eq!(cut(0, i64::MAX, 1), [1.0, 2.0, 3.0]);
    assert_eq!(cut(i64::MIN, i64::MAX, 2), [1.0, 3.0]);
    assert_eq!(cut(i64::MAX, i64::MIN, -1), [3.0, 2.0, 1.0]);
    assert_eq!(cut(-1, 0, -1), [3.0, 2.0]);
    assert_eq!(cut(0, 3, i64::MAX), [1.0]);
    assert_eq!(cut(2, 0, i64::MIN), [3.0]);
    assert_eq!(cut(2, 1, 1), [0.0; 0]);
    fails(slice(0, 1, 0), Kind::Invalid, "a step of 0");
}

#[test]
fn p05_indices_never_wrap() {
    let gather = |at: i64| {
        let mut model = model(vec![Node::new("Gather", ["x", "i"], ["y"])]);
        model.graph.initializers = vec![onnx::Tensor::ints("i", &[1], &[at])];
        model
    };
    let x = Tensor::from_slice(&[1.0f32, 2.0], [2]);
    for (at, value) in [(0, 1.0), (1, 2.0), (-1, 2.0), (-2, 1.0)] {
        assert_eq!(run(gather(at), std::slice::from_ref(&x)).unwrap(), [value]);
    }
    for at in [2, -3, i64::MAX, i64::MIN, 1 << 32] {
        fails(gather(at), Kind::Invalid, "of an axis of 2");
    }
    // The same, known only when it runs.
    let mut late = model(vec![Node::new("Gather", ["x", "i"], ["y"])]);
    late.graph.inputs.push(named("i"));
    for (at, good) in
        [(-2, true), (1, true), (2, false), (-3, false), (i64::MAX, false), (1 << 32, false)]
    {
        let index = Tensor::from_slice(&[at; 100], [100]);
        assert_eq!(run(late.clone(), &[x.clone(), index]).is_ok(), good, "{at}");
    }
}

#[test]
fn p06_p07_p08_windows_and_products_that_do_not_fit() {
    let conv = |settings: &[(&str, Vec<i64>)], group: i64| {
        let mut node = Node::new("Conv", ["x", "w"], ["y"]).with("group", group);
        for (name, values) in settings {
            node = node.with(name, values.clone());
        }
        let mut model = model(vec![node]);
        model.graph.initializers = vec![onnx::Tensor::floats("w", &[2, 2, 2, 2], &[1.0; 16])];
        model
    };
    let x = Tensor::ones([1, 2, 3, 3]);
    let tried = |model: Model| run(model, std::slice::from_ref(&x));
    assert_eq!(tried(conv(&[], 1)).unwrap(), [8.0; 8]);
    for (settings, group) in [
        (vec![], 0),
        (vec![], 2),
        (vec![], -1),
        (vec![("strides", vec![0, 1])], 1),
        (vec![("dilations", vec![0, 1])], 1),
        (vec![("dilations", vec![3, 3])], 1),
        (vec![("pads", vec![-1, 0, 0, 0])], 1),
        (vec![("pads", vec![1 << 31, 0, 0, 0])], 1),
        (vec![("pads", vec![1])], 1),
        (vec![("kernel_shape", vec![3, 3])], 1),
    ] {
        let error = tried(conv(&settings, group)).unwrap_err();
        assert_eq!(error.0, Kind::Invalid, "{settings:?}: {}", error.1);
    }
    let mut product = model(vec![Node::new("MatMul", ["x", "w"], ["y"])]);
    product.graph.initializers = vec![onnx::Tensor::floats("w", &[3, 2], &[1.0; 6])];
    fails(product.clone(), Kind::Invalid, "cannot multiply [2] and [3, 2]");
    product.graph.initializers = vec![onnx::Tensor::floats("w", &[], &[1.0])];
    fails(product, Kind::Invalid, "cannot multiply");
}

#[test]
fn weights_are_parameters_and_have_gradients() {
    // y = x · w + b, with a weight that stands in a node.
    let weight = onnx::Tensor::floats("", &[2, 1], &[2.0, 3.0]);
    let mut linear = model(vec![
        Node::new("Constant", [], ["w"]).with("value", weight),
        Node::new("MatMul", ["x", "w"], ["h"]),
        Node::new("Add", ["h", "b"], ["y"]),
    ]);
    linear.graph.initializers = vec![onnx::Tensor::floats("b", &[1], &[0.5])];
    let network = open(linear).unwrap();
    let params = network.params();
    assert_eq!((params.trainable().len(), params.count()), (2, 3));
    let x = Tensor::from_slice(&[1.0f32, 10.0], [1, 2]);
    let w = params.get("w").expect("a parameter").var.clone();
    let y = network.forward(&[x.into()], &Context::eval()).unwrap().remove(0);
    let gradient = nerve_core::grad(&y.tensor().unwrap().sum(), &[&w]);
    assert_eq!(gradient[0].to_vec::<f32>(), [1.0, 10.0]);
}

#[test]
fn shapes_may_depend_on_small_integer_inputs() {
    let mut range = model(vec![
        Node::new("Range", ["zero", "n", "one"], ["r"]),
        Node::new("Mul", ["r", "x"], ["y"]),
    ]);
    range.graph.inputs.push(named("n"));
    range.graph.initializers =
        vec![onnx::Tensor::ints("zero", &[], &[0]), onnx::Tensor::ints("one", &[], &[1])];
    let network = open(range).unwrap();
    for n in [3i64, 5, 3] {
        let outputs =
            network.run(&[Tensor::scalar(2i64).into(), Tensor::scalar(n).into()]).unwrap();
        let expected: Vec<i64> = (0..n).map(|i| 2 * i).collect();
        assert_eq!(outputs[0].tensor().unwrap().to_vec::<i64>(), expected);
    }
}

#[test]
fn an_empty_graph_hands_its_input_on() {
    let mut identity = model(Vec::new());
    identity.graph = Graph { outputs: vec![named("x")], ..identity.graph };
    let x = Tensor::from_slice(&[1.0f32, 2.0], [2]);
    assert_eq!(run(identity, &[x]).unwrap(), [1.0, 2.0]);
}
