//! A network from elsewhere is a network like any other: it is trained on, and written again.

use nerve_core::{DType, Tensor, compile, grad};
use nerve_formats::onnx::{self, Model, Node, ValueInfo};
use nerve_nn::optim::{Adam, Optimizer};
use nerve_nn::{Context, Layer, Model as Layers, Params, layers};
use nerve_onnx::export::{Input, Options as ExportOptions, Output, export};
use nerve_onnx::import::{Network, Options, Value};

/// y = w2 tanh(x w1 + b1) + b2, as PyTorch writes it.
fn perceptron() -> Model {
    let mut model = Model::new(17);
    let named = |name: &str| ValueInfo { name: name.into(), kind: None };
    model.graph.inputs = vec![named("x")];
    model.graph.outputs = vec![named("y")];
    model.graph.nodes = vec![
        Node::new("Gemm", ["x", "fc1.weight", "fc1.bias"], ["h"]).with("transB", 1i64),
        Node::new("Tanh", ["h"], ["a"]),
        Node::new("Gemm", ["a", "fc2.weight", "fc2.bias"], ["y"]).with("transB", 1i64),
    ];
    // Any numbers that are not symmetric.
    let weights =
        |n: usize| (0..n).map(|i| ((i * 7 + 3) % 11) as f32 / 8.0 - 0.6).collect::<Vec<_>>();
    model.graph.initializers = vec![
        onnx::Tensor::floats("fc1.weight", &[8, 2], &weights(16)),
        onnx::Tensor::floats("fc1.bias", &[8], &[0.0; 8]),
        onnx::Tensor::floats("fc2.weight", &[1, 8], &weights(8)),
        onnx::Tensor::floats("fc2.bias", &[1], &[0.0]),
    ];
    model
}

fn examples() -> (Tensor, Tensor) {
    let x = Tensor::from_slice(&[0.0f32, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0], [4, 2]);
    (x, Tensor::from_slice(&[0.0f32, 1.0, 1.0, 0.0], [4, 1]))
}

#[test]
fn an_imported_network_learns_and_is_exported_again() {
    let network = Network::new("xor", perceptron(), Options::default()).unwrap();
    let (x, y) = examples();
    let optimizer = Adam::new(network.params(), 0.05);
    let step = compile(|batch: &[Tensor]| {
        let cx = Context::train(&Tensor::random_key(0, 0));
        let output = Layers::outputs(&network, &batch[..1], &cx);
        let loss = (&output[0] - &batch[1]).square().mean();
        optimizer.minimize(&loss);
        vec![loss]
    });
    let first = step.call(&[&x, &y])[0].item::<f32>();
    let mut last = first;
    for _ in 0..400 {
        last = step.call(&[&x, &y])[0].item::<f32>();
    }
    assert!(first > 0.1 && last < 0.01, "the loss went from {first} to {last}");

    // Every plan sees the new weights, also one that was made before.
    let learned =
        network.run(&[Value::Tensor(x.clone())]).unwrap()[0].tensor().unwrap().to_vec::<f32>();
    for (found, wanted) in learned.iter().zip(y.to_vec::<f32>()) {
        assert!((found - wanted).abs() < 0.3, "{learned:?}");
    }

    let inputs = [Input::new("x", [2], DType::F32)];
    let forward = |x: &[Tensor]| {
        let outputs = Layers::outputs(&network, x, &Context::eval());
        outputs.into_iter().map(|value| Output::new("y", value)).collect()
    };
    let exported = export(&inputs, &forward, &ExportOptions::default()).unwrap();
    let names: Vec<&str> = exported.model.graph.initializers.iter().map(|t| &*t.name).collect();
    assert_eq!(names, ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]);
    let again = Network::new("again", exported.model, Options::default()).unwrap();
    let found = again.run(&[Value::Tensor(x)]).unwrap()[0].tensor().unwrap().to_vec::<f32>();
    for (a, b) in found.iter().zip(&learned) {
        assert!((a - b).abs() < 1e-6, "{found:?} {learned:?}");
    }
}

#[test]
fn what_an_imported_network_pays_attention_to() {
    // The gradient of the answer with respect to the input, against differences.
    let network = Network::new("xor", perceptron(), Options::default()).unwrap();
    let answer = |x: &Tensor| {
        let outputs = network.forward(&[Value::Tensor(x.clone())], &Context::eval()).unwrap();
        outputs[0].tensor().unwrap().sum()
    };
    let x = Tensor::from_slice(&[0.3f32, -0.7], [1, 2]);
    let gradient = grad(&answer(&x), &[&x])[0].to_vec::<f32>();
    for i in 0..2 {
        let moved = |by: f32| {
            let mut values = x.to_vec::<f32>();
            values[i] += by;
            answer(&Tensor::from_slice(&values, [1, 2])).item::<f32>()
        };
        let slope = (moved(1e-2) - moved(-1e-2)) / 2e-2;
        assert!((gradient[i] - slope).abs() < 1e-3, "{} {slope}", gradient[i]);
    }
}

/// A model of one node with these operands after `x`, which are floats unless they are truth values.
fn one_node(opset: i64, node: Node, weights: Vec<onnx::Tensor>) -> Network {
    let mut model = Model::new(opset);
    let named = |name: &str| ValueInfo { name: name.into(), kind: None };
    model.graph.inputs = vec![named("x")];
    model.graph.outputs = vec![named("y")];
    model.graph.initializers = weights;
    model.graph.nodes = vec![node];
    Network::new("one", model, Options::default()).unwrap()
}

#[test]
fn dropout_drops_in_training_whatever_the_file_was_written_for() {
    let ratio = || onnx::Tensor::floats("ratio", &[], &[0.25]);
    let mode = |on: u8| onnx::Tensor::new("mode", onnx::DataType::Bool, &[], vec![on]);
    let attribute = Node::new("Dropout", ["x"], ["y"]).with("ratio", 0.25f32);
    let networks = [
        one_node(10, attribute, vec![]),
        one_node(12, Node::new("Dropout", ["x", "ratio"], ["y"]), vec![ratio()]),
        one_node(17, Node::new("Dropout", ["x", "ratio", "mode"], ["y"]), vec![ratio(), mode(0)]),
        one_node(17, Node::new("Dropout", ["x", "ratio", "mode"], ["y"]), vec![ratio(), mode(1)]),
    ];
    let x = Tensor::ones([100, 40]);
    for network in networks {
        let used = network.run(&[x.clone().into()]).unwrap();
        assert_eq!(used[0].tensor().unwrap().to_vec::<f32>(), vec![1.0; 4000]);
        let trained = |step: u64| {
            let cx = Context::train(&Tensor::random_key(7, step));
            Layers::outputs(&network, std::slice::from_ref(&x), &cx)[0].to_vec::<f32>()
        };
        let first = trained(1);
        let dropped = first.iter().filter(|&&v| v == 0.0).count();
        assert!((900..1100).contains(&dropped), "{dropped} of 4000 at a ratio of 1/4");
        assert!(first.iter().all(|&v| v == 0.0 || (v - 4.0 / 3.0).abs() < 1e-6));
        assert_eq!(first, trained(1), "the same step draws the same numbers");
        assert_ne!(first, trained(2));
    }
}

/// A node and the layer of nerve that it is.
fn normalized() -> (Network, layers::BatchNorm, Params) {
    let weights = [
        ("weight", [0.5f32, 2.0]),
        ("bias", [0.1, -0.3]),
        ("running_mean", [0.2, 0.4]),
        ("running_var", [1.5, 0.7]),
    ];
    let params = Params::new(0);
    let layer = layers::BatchNorm::new(&params, 2);
    for (name, values) in weights {
        params.get(name).unwrap().var.set(Tensor::from_slice(&values, [2]));
    }
    let names = ["x", "weight", "bias", "running_mean", "running_var"];
    let tensors = weights.map(|(name, values)| onnx::Tensor::floats(name, &[2], &values));
    let network = one_node(17, Node::new("BatchNormalization", names, ["y"]), tensors.into());
    (network, layer, params)
}

#[test]
fn batch_normalisation_follows_the_batches_unless_it_is_frozen() {
    let x = Tensor::normal(&Tensor::random_key(3, 3), 0, [5, 2, 3], DType::F32).evaluated();
    let step = |network: &dyn Layers| {
        let step = compile(|batch: &[Tensor]| {
            network.outputs(batch, &Context::train(&Tensor::random_key(0, 1)))
        });
        step.call(&[&x]).remove(0).to_vec::<f32>()
    };
    let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
    let (network, layer, params) = normalized();
    let statistics = |params: &Params| {
        let of = |name: &str| params.get(name).unwrap().var.to_vec::<f32>();
        [of("running_mean"), of("running_var")].concat()
    };
    for _ in 0..2 {
        let (found, wanted) = (step(&network), step(&layer));
        assert!(close(&found, &wanted), "{found:?} {wanted:?}");
        let (found, wanted) = (statistics(network.params()), statistics(&params));
        assert!(close(&found, &wanted), "{found:?} {wanted:?}");
    }

    let (network, layer, _) = normalized();
    let before = statistics(network.params());
    network.params().freeze("");
    let wanted = layer.forward(&x, &Context::eval()).to_vec::<f32>();
    assert!(close(&step(&network), &wanted), "frozen, it is as in use");
    assert_eq!(statistics(network.params()), before);
}
