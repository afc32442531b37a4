//! Operands and settings that operators have to refuse, or that have one right result: indices, windows,
//! integers, images.

use nerve_core::{DType, Tensor};
use nerve_formats::onnx::{self, Model, Node, ValueInfo};
use nerve_onnx::import::{ImportErrorKind as Kind, Network, Options, Value};

fn ints(name: &str, dims: &[usize], values: &[i64]) -> onnx::Tensor {
    onnx::Tensor::ints(name, dims, values)
}

fn floats(name: &str, dims: &[usize], values: &[f32]) -> onnx::Tensor {
    onnx::Tensor::floats(name, dims, values)
}

/// One node from `x` to `y`, with constants.
fn model(node: Node, constants: Vec<onnx::Tensor>) -> Model {
    let mut model = Model::new(18);
    let named = |name: &str| ValueInfo { name: name.into(), kind: None };
    model.graph.inputs = vec![named("x")];
    model.graph.outputs = vec![named("y")];
    model.graph.nodes = vec![node];
    model.graph.initializers = constants;
    model
}

fn run(x: &Tensor, node: Node, constants: Vec<onnx::Tensor>) -> Result<Vec<f64>, (Kind, String)> {
    let wrong = |e: nerve_onnx::import::ImportError| (e.kind(), e.to_string());
    let network = Network::new("m", model(node, constants), Options::default()).map_err(wrong)?;
    let outputs = network.run(&[Value::from(x.clone())]).map_err(wrong)?;
    Ok(outputs[0].tensor().expect("numbers").to_dtype(DType::F64).to_vec())
}

/// The error, which must be about the operands, not a bug.
#[track_caller]
fn refused(x: &Tensor, node: Node, constants: Vec<onnx::Tensor>, text: &str) {
    let (kind, message) = run(x, node, constants).expect_err("it is refused");
    assert!(kind == Kind::Invalid && message.contains(text), "{kind:?}: {message}");
}

fn plane(shape: &[usize]) -> Tensor {
    Tensor::arange(shape.iter().product()).to_dtype(DType::F32).reshape(shape)
}

#[test]
fn p02_results_are_bounded() {
    let x = plane(&[1, 1, 2, 2]);
    let scales = floats("s", &[4], &[1.0, 1.0, 1e9, 1e9]);
    let (kind, message) =
        run(&x, Node::new("Resize", ["x", "", "s"], ["y"]), vec![scales]).unwrap_err();
    assert!(matches!(kind, Kind::Invalid | Kind::Limit), "{kind:?}: {message}");
    let sizes = ints("n", &[4], &[1, 1, 1 << 20, 1 << 20]);
    let (kind, message) =
        run(&x, Node::new("Resize", ["x", "", "", "n"], ["y"]), vec![sizes]).unwrap_err();
    assert!(kind == Kind::Limit, "{kind:?}: {message}");
    let constants = vec![ints("n", &[], &[1 << 40]), floats("v", &[2], &[0.0, 1.0])];
    refused(&x, Node::new("OneHot", ["x", "n", "v"], ["y"]), constants, "classes");
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let scales = floats("s", &[4], &[1.0, 1.0, scale, 1.0]);
        refused(&x, Node::new("Resize", ["x", "", "s"], ["y"]), vec![scales], "axis 2");
    }
}

#[test]
fn p05_indices_never_wrap() {
    let x = plane(&[2, 3]);
    for (row, column, good) in [
        (1, 2, true),
        (-2, -3, true),
        (2, 0, false),
        (0, 3, false),
        (0, -4, false),
        (1 << 32, 0, false),
    ] {
        let at = || ints("i", &[1, 2], &[row, column]);
        let gather = run(&x, Node::new("GatherND", ["x", "i"], ["y"]), vec![at()]);
        assert_eq!(gather.is_ok(), good, "{row} {column}");
        let constants = vec![at(), floats("u", &[1], &[7.0])];
        let scatter = run(&x, Node::new("ScatterND", ["x", "i", "u"], ["y"]), constants);
        assert_eq!(scatter.is_ok(), good, "{row} {column}");
    }
    for (at, good) in
        [(2, true), (-3, true), (3, false), (-4, false), (i64::MAX, false), (i64::MIN, false)]
    {
        let i = || ints("i", &[1, 1], &[at]);
        let node = || Node::new("GatherElements", ["x", "i"], ["y"]).with("axis", 1i64);
        assert_eq!(run(&x, node(), vec![i()]).is_ok(), good, "{at}");
        let node = Node::new("ScatterElements", ["x", "i", "u"], ["y"]).with("axis", 1i64);
        let constants = vec![i(), floats("u", &[1, 1], &[7.0])];
        assert_eq!(run(&x, node, constants).is_ok(), good, "{at}");
    }
    let long = ints("i", &[1, 3], &[0, 0, 0]);
    refused(&x, Node::new("GatherND", ["x", "i"], ["y"]), vec![long], "indices [1, 3] for [2, 3]");
    let long = ints("i", &[3, 1], &[0, 0, 0]);
    refused(
        &x,
        Node::new("GatherElements", ["x", "i"], ["y"]).with("axis", 1i64),
        vec![long],
        "indices [3, 1] for [2, 3]",
    );
    let constants = vec![ints("i", &[1, 1], &[0]), floats("u", &[2], &[0.0; 2])];
    refused(&x, Node::new("ScatterND", ["x", "i", "u"], ["y"]), constants, "updates [2]");
}

#[test]
fn p06_p07_windows_that_do_not_fit() {
    let x = plane(&[1, 1, 3, 3]);
    let pool =
        |op: &str, kernel: Vec<i64>| Node::new(op, ["x"], ["y"]).with("kernel_shape", kernel);
    for op in ["MaxPool", "AveragePool", "LpPool"] {
        refused(&x, pool(op, vec![4, 1]), vec![], "does not fit");
        refused(&x, pool(op, vec![0, 1]), vec![], "kernel_shape");
        refused(&x, pool(op, vec![2]), vec![], "kernel_shape");
        refused(&x, pool(op, vec![2, 2]).with("strides", vec![0i64, 1]), vec![], "strides");
        refused(&x, pool(op, vec![2, 2]).with("dilations", vec![3i64, 1]), vec![], "does not fit");
    }
    // Windows of padding alone count nothing.
    let beside = pool("AveragePool", vec![1, 1]).with("pads", vec![1i64, 0, 0, 0]);
    refused(&x, beside, vec![], "counts nothing");
    let w = || floats("w", &[1, 1, 2, 2], &[1.0; 4]);
    let back = || Node::new("ConvTranspose", ["x", "w"], ["y"]);
    refused(&x, back().with("group", 0i64), vec![w()], "0 groups");
    refused(&x, back().with("pads", vec![2i64, 2, 2, 2]), vec![w()], "leaves nothing");
    refused(&x, back().with("output_padding", vec![1i64]), vec![w()], "output_padding");
    refused(&x, back().with("strides", vec![0i64, 1]), vec![w()], "strides");
    assert_eq!(run(&x, back(), vec![w()]).unwrap().len(), 16);
}

#[test]
fn p10_extremes_of_nothing() {
    let x = Tensor::zeros([2, 0]);
    for op in ["ArgMax", "ArgMin"] {
        refused(&x, Node::new(op, ["x"], ["y"]).with("axis", 1i64), vec![], "is empty");
        let none: [f64; 0] = [];
        assert_eq!(
            run(&x.t(), Node::new(op, ["x"], ["y"]).with("axis", 1i64), vec![]).unwrap(),
            none
        );
    }
}

/// Nothing stops the processor, and nothing differs between kinds of builds.
#[test]
fn p11_integers_at_their_ends() {
    let x = Tensor::from_slice(&[7i64, -7, i64::MIN], [3]);
    let by = |op: &str, value: i64| {
        run(&x, Node::new(op, ["x", "d"], ["y"]), vec![ints("d", &[1], &[value])]).unwrap()
    };
    assert_eq!(by("Mod", 0), [0.0; 3]);
    assert_eq!(by("Mod", -1), [0.0; 3]);
    assert_eq!(by("Mod", 4), [3.0, 1.0, 0.0]);
    assert_eq!(by("Div", 0), [0.0; 3]);
    assert_eq!(by("Div", -1), [-7.0, 7.0, i64::MIN as f64]);
    let x = Tensor::from_slice(&[1u8, 200], [2]);
    for (direction, expected) in [("LEFT", [0.0, 0.0]), ("RIGHT", [0.0, 0.0])] {
        let node = Node::new("BitShift", ["x", "x"], ["y"]).with("direction", direction);
        let y = run(&(&x + 7), node, vec![]).unwrap();
        assert_eq!(y, expected);
    }
    let x = plane(&[2]);
    refused(&x, Node::new("BitwiseNot", ["x"], ["y"]), vec![], "expected integers");
    refused(&x, Node::new("BitShift", ["x", "x"], ["y"]), vec![], "expected integers");
}

#[test]
fn p13_as_many_as_there_are() {
    let x = plane(&[2, 3]);
    for (k, text) in [(4, "the first 4"), (-1, "extent")] {
        refused(&x, Node::new("TopK", ["x", "k"], ["y", "i"]), vec![ints("k", &[1], &[k])], text);
    }
    let none = run(&x, Node::new("TopK", ["x", "k"], ["y", "i"]), vec![ints("k", &[1], &[0])]);
    assert_eq!(none.unwrap(), [0.0; 0]);
    // The shape of the result depends on the values: they are looked at.
    let x = Tensor::from_slice(&[0.0f32, 3.0, 0.0, 5.0], [2, 2]);
    assert_eq!(run(&x, Node::new("NonZero", ["x"], ["y"]), vec![]).unwrap(), [0.0, 1.0, 1.0, 1.0]);
    assert_eq!(run(&x, Node::new("Unique", ["x"], ["y"]), vec![]).unwrap(), [0.0, 3.0, 5.0]);
}

#[test]
fn p14_equations_that_mean_nothing() {
    let x = plane(&[2, 2]);
    let letters: String = ('a'..='z').chain('A'..='Z').cycle().take(60).collect();
    for equation in ["", "ij", "i->i", "ij->ijk", "ij->ii", "ij,jk->ik", "→", "i.j->i", &letters]
    {
        let node = Node::new("Einsum", ["x"], ["y"]).with("equation", equation);
        match run(&x, node, vec![]) {
            // All axes, in their order: it means the operand itself.
            Ok(y) => assert_eq!((equation, y.len()), ("ij", 4)),
            Err((kind, message)) => assert_eq!(kind, Kind::Invalid, "{equation}: {message}"),
        }
    }
}

#[test]
fn p17_scales_that_divide_by_nothing() {
    let x = plane(&[2]);
    for scale in [0.0, f32::NAN, f32::INFINITY] {
        let node = Node::new("QuantizeLinear", ["x", "s"], ["y"]);
        refused(&x, node, vec![floats("s", &[], &[scale])], "a scale of");
    }
    let bytes = Tensor::from_slice(&[1u8, 2], [2]);
    let constants = vec![floats("s", &[], &[1.0]), ints("z", &[], &[1])];
    refused(
        &bytes,
        Node::new("DequantizeLinear", ["x", "s", "z"], ["y"]),
        constants,
        "a zero point of i64",
    );
    let constants = vec![floats("s", &[3], &[1.0; 3])];
    let node = Node::new("DequantizeLinear", ["x", "s"], ["y"]).with("axis", 0i64);
    refused(&bytes, node, constants, "with scales [3]");
    let like = Node::new("QuantizeLinear", ["x", "s"], ["y"]).with("output_dtype", 11i64);
    let (kind, message) = run(&x, like, vec![floats("s", &[], &[1.0])]).unwrap_err();
    assert!(kind == Kind::Unsupported && message.contains("stored as f64"), "{message}");
}

#[test]
fn images_and_boxes_that_do_not_fit() {
    let x = plane(&[1, 2, 3, 3]);
    let grid = floats("g", &[1, 2, 2, 3], &[0.0; 12]);
    refused(&x, Node::new("GridSample", ["x", "g"], ["y"]), vec![grid], "[1, 2, 2, 3]");
    let constants = vec![floats("r", &[1, 3], &[0.0; 3]), ints("b", &[1], &[0])];
    refused(&x, Node::new("RoiAlign", ["x", "r", "b"], ["y"]), constants, "regions [1, 3]");
    // A region of an image that is not there.
    let constants = vec![floats("r", &[1, 4], &[0.0, 0.0, 2.0, 2.0]), ints("b", &[1], &[1])];
    let node = Node::new("RoiAlign", ["x", "r", "b"], ["y"]).with("sampling_ratio", 2i64);
    refused(&x, node, constants, "out of range");
    let boxes = plane(&[1, 2, 3]);
    let constants = vec![floats("s", &[1, 1, 2], &[0.5, 0.6])];
    refused(
        &boxes,
        Node::new("NonMaxSuppression", ["x", "s"], ["y"]),
        constants,
        "boxes [1, 2, 3]",
    );
    let constants = vec![ints("n", &[2], &[2, 2]), ints("k", &[2], &[2, 2])];
    refused(&plane(&[1, 5, 1]), Node::new("Col2Im", ["x", "n", "k"], ["y"]), constants, "patches");
    let constants = vec![ints("i", &[1, 1, 1, 1], &[99])];
    let node = Node::new("MaxUnpool", ["x", "i"], ["y"]).with("kernel_shape", vec![2i64, 2]);
    refused(&plane(&[1, 1, 1, 1]), node, constants, "99");
    refused(&plane(&[3]), Node::new("Det", ["x"], ["y"]), vec![], "square");
}

#[test]
fn weights_of_four_bits_are_read_where_they_become_numbers() {
    use nerve_formats::onnx::DataType;
    let packed = || onnx::Tensor::new("w", DataType::Int4, &[2, 2], vec![0x21, 0xf8]);
    let build = |nodes: Vec<Node>| {
        let mut all = Model::new(21);
        let named = |name: &str| ValueInfo { name: name.into(), kind: None };
        all.graph.inputs = vec![named("x")];
        all.graph.outputs = vec![named("y")];
        all.graph.initializers = vec![packed(), onnx::Tensor::floats("s", &[], &[0.5])];
        all.graph.nodes = nodes;
        Network::new("m", all, Options::default()).map_err(|error| error.to_string())
    };
    let network = build(vec![
        Node::new("DequantizeLinear", ["w", "s"], ["v"]),
        Node::new("MatMul", ["x", "v"], ["y"]),
    ]);
    let x = Value::from(Tensor::from_slice(&[2.0f32, 4.0], [1, 2]));
    let y = network.unwrap().run(std::slice::from_ref(&x)).unwrap();
    // 1, 2 and -8, -1 in halves.
    assert_eq!(y[0].tensor().unwrap().to_vec::<f32>(), [-15.0, 0.0]);
    let network = build(vec![Node::new("Add", ["w", "w"], ["y"])]).unwrap();
    let why = network.run(&[x]).unwrap_err().to_string();
    assert!(why.contains("Add of int4"), "{why}");
}

#[test]
fn patterns_that_are_none_or_too_large_are_refused() {
    let ask = |pattern: &str| {
        let node = Node::new("RegexFullMatch", ["x"], ["y"]).with("pattern", pattern);
        let network = Network::new("m", model(node, vec![]), Options::default()).unwrap();
        let texts = ["ab".to_string(), "b".to_string()].into();
        let x = Value::Strings(nerve_onnx::import::Strings { dims: vec![2], texts });
        let y = network.run(&[x]).map_err(|error| (error.kind(), error.to_string()))?;
        Ok::<_, (Kind, String)>(y[0].tensor().unwrap().to_vec::<bool>())
    };
    assert_eq!(ask("a?b").unwrap(), [true, true]);
    assert_eq!(ask("a|b").unwrap(), [false, true], "all of the text, whichever way is taken");
    for pattern in ["(", "(a{1000}){1000}", "[z-a]", r"(a)\1", &"a".repeat(1 << 17)] {
        let (kind, why) = ask(pattern).unwrap_err();
        assert!(kind == Kind::Invalid && why.contains("pattern"), "{why}");
    }
}

#[test]
fn regions_of_pictures_that_are_not_there() {
    let x = Tensor::zeros([1, 1, 4, 4]);
    let ask = |roi: [f32; 5], pooled: Vec<i64>| {
        let node = Node::new("MaxRoiPool", ["x", "r"], ["y"]).with("pooled_shape", pooled);
        run(&x, node, vec![floats("r", &[1, 5], &roi)])
    };
    assert_eq!(ask([0.0, 0.0, 0.0, 3.0, 3.0], vec![1, 1]).unwrap(), [0.0]);
    assert!(ask([7.0, 0.0, 0.0, 3.0, 3.0], vec![1, 1]).unwrap_err().1.contains("7"));
    assert!(ask([0.0; 5], vec![0, 1]).unwrap_err().1.contains("pooled_shape"));
    assert!(ask([0.0; 5], vec![1 << 40, 1]).unwrap_err().1.contains("pooled_shape"));
    assert!(ask([0.0; 5], vec![1]).unwrap_err().1.contains("pooled_shape"));
}
