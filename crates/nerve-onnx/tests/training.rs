//! A network from elsewhere is a network like any other: it is trained on, and written again.

use nerve_core::{DType, Tensor, compile, grad};
use nerve_formats::onnx::{self, Model, Node, ValueInfo};
use nerve_nn::optim::{Adam, Optimizer};
use nerve_nn::{Context, Model as Layers};
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
        let outputs = network.forward(&[Value::Tensor(x.clone())]).unwrap();
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
