//! Types that nerve holds in wider ones: results are those of the narrow type, or refused.

use nerve_core::{DType, Tensor};
use nerve_formats::onnx::{self, DataType, Model, Node, Type, ValueInfo};
use nerve_onnx::import::{ImportError, ImportErrorKind as Kind, Network, Options, Value};

fn port(name: &str, data_type: DataType) -> ValueInfo {
    ValueInfo { name: name.into(), kind: Some(Type::Tensor(data_type, None)) }
}

/// A graph from `a` and `b` of one type to `y` of another.
fn network(inputs: DataType, output: DataType, nodes: Vec<Node>) -> Network {
    let mut model = Model::new(24);
    model.graph.inputs = vec![port("a", inputs), port("b", inputs)];
    model.graph.outputs = vec![port("y", output)];
    model.graph.nodes = nodes;
    Network::new("m", model, Options::default()).unwrap()
}

fn run(network: &Network, a: &Tensor, b: &Tensor) -> Result<Vec<f64>, ImportError> {
    let y = network.run(&[a.into(), b.into()])?.remove(0);
    Ok(y.tensor().unwrap().to_dtype(DType::F64).to_vec())
}

fn both(
    inputs: DataType,
    output: DataType,
    op: &str,
    a: &[i64],
    b: &[i64],
) -> Result<Vec<f64>, ImportError> {
    let node = match op {
        "LEFT" | "RIGHT" => Node::new("BitShift", ["a", "b"], ["y"]).with("direction", op),
        op => Node::new(op, ["a", "b"], ["y"]),
    };
    let held = nerve_onnx::import::dtype(inputs).unwrap();
    let tensor = |values: &[i64]| Tensor::from_slice(values, [values.len()]).to_dtype(held);
    run(&network(inputs, output, vec![node]), &tensor(a), &tensor(b))
}

#[test]
fn arithmetic_wraps_at_the_bounds_of_the_type() {
    use DataType::{Int16, Uint16, Uint32};
    let same = |t, op, a: &[i64], b: &[i64]| both(t, t, op, a, b).unwrap();
    assert_eq!(same(Uint16, "Add", &[65535, 7], &[2, 3]), [1.0, 10.0]);
    assert_eq!(same(Uint16, "Sub", &[1, 7], &[2, 3]), [65535.0, 4.0]);
    assert_eq!(same(Uint16, "Mul", &[65535], &[65535]), [1.0]);
    assert_eq!(same(Int16, "Add", &[32767], &[1]), [-32768.0]);
    assert_eq!(same(Int16, "Div", &[-32768], &[-1]), [-32768.0]);
    assert_eq!(same(Uint32, "Sub", &[0], &[1]), [4_294_967_295.0]);
    assert_eq!(same(Uint32, "LEFT", &[1 << 31 | 1], &[1]), [2.0]);
    assert_eq!(same(Uint32, "RIGHT", &[u32::MAX.into()], &[31]), [1.0]);
}

#[test]
fn unsigned_numbers_of_64_bits_are_ordered_and_divided_as_such() {
    let t = DataType::Uint64;
    // 0 − 1 is the largest of them.
    let after = |op: &str, output, a: &[i64], b: &[i64]| {
        let nodes = vec![
            Node::new("Sub", ["a", "a"], ["zero"]),
            Node::new("Sub", ["zero", "a"], ["top"]),
            match op {
                "RIGHT" => Node::new("BitShift", ["top", "b"], ["y"]).with("direction", op),
                "Cast" => Node::new("Cast", ["top"], ["y"]).with("to", DataType::Float as i64),
                op => Node::new(op, ["top", "b"], ["y"]),
            },
        ];
        let tensor = |values: &[i64]| Tensor::from_slice(values, [values.len()]);
        run(&network(t, output, nodes), &tensor(a), &tensor(b))
    };
    assert_eq!(after("Greater", DataType::Bool, &[1], &[5]).unwrap(), [1.0]);
    assert_eq!(after("Min", t, &[1], &[5]).unwrap(), [5.0]);
    let quotient = (u64::MAX / 10) as f64;
    assert_eq!(after("Div", t, &[1], &[10]).unwrap(), [quotient]);
    assert_eq!(after("Mod", t, &[1], &[10]).unwrap(), [5.0]);
    assert_eq!(after("RIGHT", t, &[1], &[60]).unwrap(), [15.0]);
    assert_eq!(after("Cast", DataType::Float, &[1], &[1]).unwrap(), [2f64.powi(64)]);
    let error = after("Max", t, &[1], &[5]).unwrap_err();
    assert!(error.kind() == Kind::Limit && error.to_string().contains("2^63"), "{error}");
}

#[test]
fn what_is_none_of_the_type_does_not_go_in() {
    for (t, op, value) in [
        (DataType::Uint16, "Add", 65536i64),
        (DataType::Uint16, "Add", -1),
        (DataType::Int16, "Add", 40000),
        (DataType::Uint64, "Add", -1),
        (DataType::Float8E4M3Fn, "Equal", 449),
    ] {
        let error = both(t, t, op, &[value], &[1]).unwrap_err();
        let (text, name) = (error.to_string(), t.name());
        assert!(error.kind() == Kind::Input && text.contains(name), "{text}");
    }
    let node = vec![Node::new("Add", ["a", "b"], ["y"])];
    let network = network(DataType::Uint16, DataType::Uint16, node);
    let floats = Tensor::ones([1]);
    let error = run(&network, &floats, &floats).unwrap_err();
    assert!(error.to_string().contains("expected uint16, found f32"), "{error}");
}

#[test]
fn what_would_be_another_result_in_the_wider_type_is_refused() {
    for (t, op) in
        [(DataType::Int4, "Add"), (DataType::Float8E5M2, "Mul"), (DataType::Uint16, "MatMul")]
    {
        let error = both(t, t, op, &[1], &[1]).unwrap_err();
        let text = error.to_string();
        assert!(error.kind() == Kind::Unsupported && text.contains(t.name()), "{text}");
    }
}

#[test]
fn lists_and_branches_keep_the_type() {
    let mut branch = onnx::Graph {
        outputs: vec![port("s", DataType::Uint16)],
        nodes: vec![Node::new("Add", ["a", "b"], ["s"])],
        ..onnx::Graph::default()
    };
    branch.name = "sum".into();
    let yes = onnx::Tensor::new("", DataType::Bool, &[], vec![1]);
    let nodes = vec![
        Node::new("Constant", [], ["yes"]).with("value", yes),
        Node::new("If", ["yes"], ["c"])
            .with("then_branch", branch.clone())
            .with("else_branch", branch),
        Node::new("SequenceConstruct", ["c", "a"], ["list"]),
        Node::new("ConcatFromSequence", ["list"], ["joined"]).with("axis", 0i64),
        Node::new("Add", ["joined", "joined"], ["y"]),
    ];
    let network = network(DataType::Uint16, DataType::Uint16, nodes);
    let [a, b] = [40000i32, 30000].map(|v| Tensor::from_slice(&[v], [1]));
    assert_eq!(run(&network, &a, &b).unwrap(), [8928.0, 14464.0]);
}

#[test]
fn results_of_16_bits_are_such() {
    let node = || vec![Node::new("Mul", ["a", "b"], ["y"])];
    let third = Tensor::from_slice(&[1.0f32 / 3.0, 300.0], [2]);
    let one = Tensor::from_slice(&[1.0f32, 300.0], [2]);
    let half = network(DataType::Float16, DataType::Float16, node());
    assert_eq!(run(&half, &third, &one).unwrap(), [0.333251953125, f64::INFINITY]);
    let brain = network(DataType::Bfloat16, DataType::Bfloat16, node());
    assert_eq!(run(&brain, &third, &one).unwrap(), [0.333984375, 90112.0]);
    // Gradients go through as if there were no rounding.
    let x = Value::from(third.clone());
    let y = half.forward(&[x.clone(), x], &nerve_nn::Context::eval()).unwrap().remove(0);
    let gradient = nerve_core::grad(&y.tensor().unwrap().slice(0, 0, 1).sum(), &[&third]);
    assert_eq!(gradient[0].to_vec::<f32>(), [2.0 / 3.0, 0.0]);
}
