//! Networks as ONNX models: what stands in them, and that they compute what the network does.
//! `.ci/onnx_agrees.py` asks ONNX Runtime the same.

mod samples;

use nerve_core::{DType, Tensor, compile};
use nerve_formats::onnx::{Dim, Graph, Model, Node, Type};
use nerve_nn::layers::{
    self, BatchNorm, Conv2d, Conv2dOptions, Embedding, Linear, Lstm, REGISTRY, RecurrentOptions,
};
use nerve_nn::{Context, Layer, Params};
use nerve_onnx::export::{ExportError, Input, Options, Output, Words, export};
use nerve_onnx::import::{self, Network};

fn layer(layer: &dyn Layer, shape: &[usize], dtype: DType) -> Model {
    let network = |x: &[Tensor]| vec![Output::new("y", layer.forward(&x[0], &Context::eval()))];
    let inputs = [Input::new("x", shape, dtype)];
    let exported = export(&inputs, &network, &Options::default()).unwrap();
    assert_eq!(exported.fixed, None);
    exported.model
}

fn operators(graph: &Graph) -> Vec<&str> {
    graph.nodes.iter().map(|node| &*node.op_type).collect()
}

fn constants(graph: &Graph) -> Vec<&str> {
    graph.initializers.iter().map(|tensor| &*tensor.name).collect()
}

fn named() -> Dim {
    Dim::Named("batch".into())
}

#[test]
fn a_network_looks_like_one() {
    let params = Params::new(1);
    let (conv, norm) = (
        Conv2d::new(&params.at("conv"), 3, 4, 3, Conv2dOptions::default()),
        BatchNorm::new(&params.at("bn"), 4),
    );
    let fc = Linear::new(&params.at("fc"), 4, 2);
    let network = |x: &[Tensor]| {
        let cx = Context::eval();
        let x = norm.forward(&conv.forward(&x[0], &cx), &cx).relu();
        let x = fc.forward(&x.mean_axes(&[2, 3], false), &cx);
        vec![Output::new("logits", x.clone()), Output::new("shares", x.softmax(-1))]
    };
    let inputs = [Input::new("image", [3, 8, 8], DType::F32)];
    let graph = export(&inputs, &network, &Options::default()).unwrap().model.graph;
    let expected = ["Conv", "Mul", "Add", "Relu", "ReduceSum", "Reshape", "Mul", "Gemm", "Softmax"];
    assert_eq!(operators(&graph), expected);
    for name in ["conv.weight", "conv.bias", "fc.weight", "fc.bias"] {
        assert!(constants(&graph).contains(&name), "{:?}", constants(&graph));
    }
    let Some(Type::Tensor(_, Some(dims))) = &graph.inputs[0].kind else { panic!("no shape") };
    assert_eq!(dims[..], [named(), Dim::Fixed(3), Dim::Fixed(8), Dim::Fixed(8)]);
    let Some(Type::Tensor(_, Some(dims))) = &graph.outputs[1].kind else { panic!("no shape") };
    assert_eq!(dims[..], [named(), Dim::Fixed(2)]);
}

#[test]
fn padding_is_part_of_a_convolution_and_recurrent_layers_are_one_operator() {
    let options = Conv2dOptions { padding: layers::Padding::Same, ..Conv2dOptions::default() };
    let conv = Conv2d::new(&Params::new(1), 2, 3, 3, options);
    let model = layer(&conv, &[2, 5, 6], DType::F32);
    assert_eq!(operators(&model.graph), ["Conv"]);
    let lstm = Lstm::new(&Params::new(1), 3, 4, RecurrentOptions::default());
    let model = layer(&lstm, &[6, 3], DType::F32);
    assert_eq!(operators(&model.graph)[..3], ["Transpose", "LSTM", "Squeeze"]);
    let embedding = Embedding::new(&Params::new(1), 9, 4);
    let model = layer(&embedding, &[6], DType::I32);
    assert_eq!(operators(&model.graph), ["Gather"]);
    assert_eq!(constants(&model.graph), ["weight"]);
}

#[test]
fn texts_go_in_and_come_out() {
    let params = Params::new(1);
    let embedding = Embedding::new(&params, 3, 2);
    let words = Words { list: vec![("red".into(), 1), ("green".into(), 2)], other: 0 };
    let inputs = [Input { words: Some(words), ..Input::new("colour", [1], DType::I32) }];
    let network = |x: &[Tensor]| {
        let y = embedding.forward(&x[0].reshape([x[0].shape()[0]]), &Context::eval());
        let names = Some(vec!["no".to_string(), "yes".to_string()]);
        vec![Output { words: names, ..Output::new("answer", y.argmax(-1, false)) }]
    };
    let model = export(&inputs, &network, &Options::default()).unwrap().model;
    assert_eq!(model.opset("ai.onnx.ml"), Some(3));
    let operators = operators(&model.graph);
    assert_eq!((operators[0], operators[operators.len() - 1]), ("LabelEncoder", "Gather"));
    assert_eq!(model.graph.outputs[0].name, "answer");
}

#[test]
fn what_cannot_be_said_is_an_error_that_names_it() {
    let inputs = [Input::new("x", [2], DType::F32)];
    let error = |network: &dyn Fn(&[Tensor]) -> Tensor, options: &Options| {
        let network = |x: &[Tensor]| vec![Output::new("y", network(x))];
        export(&inputs, &network, options).unwrap_err()
    };
    let options = Options::default();
    let old = error(&|x| x[0].clone(), &Options { opset: 16, batch: None });
    assert_eq!(old, ExportError::Opset(16));
    let angle = error(&|x| nerve_core::scope("head", || x[0].atan2(&x[0])), &options);
    let angle = angle.to_string();
    assert!(angle.starts_with("head: `atan2` cannot be written as ONNX"), "{angle}");
    let random = error(
        &|x| &x[0] + Context::train(&Tensor::random_key(1, 1)).normal([1], DType::F32),
        &options,
    );
    assert!(random.to_string().contains("random"), "{random}");
}

#[test]
fn a_mean_over_the_batch_makes_the_number_of_examples_fixed() {
    let inputs = [Input::new("x", [2], DType::F32)];
    let network = |x: &[Tensor]| vec![Output::new("y", &x[0] - x[0].mean_axes(&[0], true))];
    let any = export(&inputs, &network, &Options::default()).unwrap();
    assert!(any.fixed.is_some());
    let four =
        export(&inputs, &network, &Options { batch: Some(4), ..Options::default() }).unwrap();
    assert_eq!(four.fixed, None);
    let Some(Type::Tensor(_, Some(dims))) = &four.model.graph.inputs[0].kind else { panic!() };
    assert_eq!(dims[..], [Dim::Fixed(4), Dim::Fixed(2)]);
}

/// Every layer of the registry through the import: as far as the import knows the operators.
#[test]
fn every_layer_computes_the_same_when_it_is_read_again() {
    let mut compared = 0;
    for (entry, sample) in REGISTRY.iter().flat_map(|e| e.samples.iter().map(move |s| (*e, s))) {
        let built = samples::build(entry, sample);
        let dtype = if entry.takes_indices { DType::I32 } else { DType::F32 };
        let model = layer(&*built, sample.input, dtype);
        let known = |node: &Node| import::supports(&node.domain, &node.op_type);
        if !model.graph.nodes.iter().all(known) {
            continue;
        }
        let name = format!("{} {} of {:?}", entry.spec.name, sample.args, sample.input);
        let x = samples::batch(entry, sample, 3);
        let run = compile(|x: &[Tensor]| vec![built.forward(&x[0], &Context::eval())]);
        let expected = run.call(&[&x]).remove(0);
        let again = Model::decode("again.onnx", &model.encode()).unwrap();
        let network = Network::new("again.onnx", again, import::Options::default())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let found = network.run(&[x.into()]).unwrap_or_else(|error| panic!("{name}: {error}"));
        let found = found[0].tensor().unwrap();
        assert_eq!(found.shape(), expected.shape(), "{name}");
        for (a, b) in found.to_vec::<f32>().iter().zip(expected.to_vec::<f32>()) {
            assert!((a - b).abs() <= 1e-4 * (1.0 + b.abs()), "{name}: {a} {b}");
        }
        compared += 1;
    }
    assert!(compared >= 100, "{compared}");
}
