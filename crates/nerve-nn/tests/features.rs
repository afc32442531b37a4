//! Networks of features: what holds for every encoder, combiner and decoder.

use nerve_core::{DType, Shape, Tensor, Var, compile, grad};
use nerve_formats::spec::{Item, Spec, Value, check};
use nerve_formats::{Meaning, SafeTensors};
use nerve_nn::encoders::{self, Feed};
use nerve_nn::losses::{CrossEntropy, Loss, Mse};
use nerve_nn::models::{FeatureModel, Features, Input, Output, Place};
use nerve_nn::optim::{Optimizer, Sgd};
use nerve_nn::{Context, Model, Params, combiners, decoders};

mod common;

const BATCH: usize = 4;

fn item(spec: &'static Spec, text: &str) -> Item {
    Item { name: spec.name, args: common::args(spec, text) }
}

fn encoder(name: &str, args: &str) -> Item {
    item(&encoders::find(name).unwrap().spec, args)
}

fn combiner(name: &str, args: &str) -> Item {
    item(&combiners::find(name).unwrap().spec, args)
}

fn decoder(name: &str, args: &str) -> Item {
    item(&decoders::find(name).unwrap().spec, args)
}

fn feed(shape: &[usize], meaning: Meaning) -> Feed {
    Feed { shape: shape.into(), meaning }
}

fn numbers(n: usize) -> Feed {
    feed(&[n], Meaning::Numbers)
}

fn category(n: usize) -> Feed {
    let names = (0..n).map(|i| i.to_string()).collect();
    feed(&[], Meaning::Category { names })
}

fn tokens(length: usize, vocabulary: usize) -> Feed {
    feed(&[length], Meaning::Tokens { vocabulary })
}

fn image(shape: [usize; 3]) -> Feed {
    feed(&shape, Meaning::Image)
}

fn frames(time: usize, features: usize) -> Feed {
    feed(&[time, features], Meaning::Frames)
}

/// A batch of what comes in.
fn batch(feed: &Feed, stream: u32) -> Tensor {
    let shape: Vec<usize> = [&[BATCH], &feed.shape[..]].concat();
    let x = Tensor::normal(&Tensor::random_key(3, 1), stream, shape, DType::F32);
    let top = match &feed.meaning {
        Meaning::Category { names } => names.len(),
        Meaning::Tokens { vocabulary } => *vocabulary,
        _ => return x.evaluated(),
    };
    (x.abs() * 3.0).minimum(top as f64 - 1.0).to_dtype(DType::I32).evaluated()
}

fn input(name: &str, feed: Feed, encoder: Item) -> Input {
    Input { name: name.into(), feed, encoder }
}

fn output(name: &str, shape: &[usize], decoder: Item) -> Output {
    Output { name: name.into(), shape: shape.into(), decoder }
}

/// Every encoder with what it takes.
fn encoded() -> Vec<(Item, Feed)> {
    vec![
        (encoder("passthrough", ""), numbers(3)),
        (encoder("dense", "hidden = [5], norm = 'batch', dropout = 0.1"), numbers(3)),
        (encoder("mlp", "hidden = [5, 4], norm = 'layer'"), image([1, 2, 3])),
        (encoder("numeric", "dim = 3, bins = 4"), numbers(3)),
        (encoder("numeric", "dim = 3, kind = 'piecewise', flat = true"), numbers(3)),
        (encoder("embed", ""), category(5)),
        (encoder("embed", "dim = 6, reduce = 'attention', dropout = 0.2"), tokens(5, 9)),
        (encoder("onehot", ""), category(5)),
        (encoder("onehot", ""), tokens(5, 9)),
        (encoder("stacked_cnn", "filters = [3, 4], kernel = 3"), image([2, 9, 8])),
        (encoder("stacked_cnn", "filters = [3, 4, 5], norm = 'none'"), frames(6, 3)),
        (encoder("stacked_cnn", "filters = [3], width = 4, reduce = 'max'"), tokens(6, 9)),
        (encoder("resnet", "filters = 2, blocks = [1, 1]"), image([3, 8, 6])),
        (encoder("resnet", "filters = 2, blocks = [1, 2], stem = 'imagenet'"), image([1, 33, 20])),
        (encoder("unet", "filters = 2, depth = 2"), image([1, 8, 12])),
        (encoder("parallel_cnn", "kernels = [2, 3], channels = 4, width = 5"), tokens(6, 9)),
        (encoder("parallel_cnn", "kernels = [2], channels = 4, dropout = 0.1"), frames(6, 3)),
        (encoder("rnn", "units = 4, width = 3, dropout = 0.1"), tokens(6, 9)),
        (
            encoder(
                "rnn",
                "cell = 'gru', units = 4, layers = 2, bidirectional = true, \
                     reduce = 'mean', dropout = 0.1",
            ),
            frames(6, 3),
        ),
        (encoder("cnnrnn", "filters = [3], units = 4, cell = 'rnn'"), frames(6, 3)),
        (encoder("transformer", "dim = 8, layers = 1, heads = 2"), tokens(6, 9)),
        (encoder("transformer", "dim = 8, layers = 1, heads = 2, reduce = 'first'"), frames(6, 3)),
        (
            encoder("bert", "features = 8, layers = 2, heads = 2, feed_forward = 6, longest = 7"),
            tokens(6, 9),
        ),
        (encoder("tcn", "filters = [4, 5], dropout = 0.1"), frames(6, 3)),
        (encoder("tcn", "filters = [4], width = 3, reduce = 'max'"), tokens(6, 9)),
        (encoder("patch_transformer", "patch = 2, dim = 8, layers = 1"), frames(7, 3)),
        (encoder("ds_cnn", "filters = 4, blocks = 1"), frames(12, 10)),
        (
            encoder("layers", "layers = ['Flatten', { type = 'Dense', units = 4 }, 'tanh']"),
            image([1, 2, 2]),
        ),
    ]
}

/// One input through an encoder, whatever combiner, to one number.
fn alone(encoder: Item, feed: Feed, combiner: Item) -> Features {
    let inputs = vec![input("x", feed, encoder)];
    Features { inputs, combiner, outputs: vec![output("y", &[2], decoder("dense", ""))] }
}

/// Shapes and numbers of parameters are as described, all is finite, and the gradient reaches every
/// parameter.
#[track_caller]
fn holds(features: &Features) {
    let parts = FeatureModel::describe(features).unwrap();
    let params = Params::new(7);
    let model = FeatureModel::new(features, &params).unwrap();
    let what = format!("{:?}", features.inputs.iter().map(|i| i.encoder.name).collect::<Vec<_>>());
    let described: u128 = parts.iter().map(|part| part.effect.parameters).sum();
    assert_eq!(described, params.count() as u128, "{what}");
    for part in parts.iter().filter(|part| part.effect.parameters > 0) {
        let below = params.all().into_iter().filter(|p| p.path().starts_with(&part.path));
        assert!(below.count() > 0, "{what}: {}", part.path);
    }
    let mut inputs: Vec<Tensor> =
        features.inputs.iter().enumerate().map(|(i, x)| batch(&x.feed, i as u32)).collect();
    // What is written brings its past along.
    let written = features.outputs.iter().filter(|it| decoders::writes(&it.decoder));
    inputs.extend(written.map(|it| batch(&tokens(it.shape[1], it.shape[0]), 77)));
    let vars: Vec<Var> = params.trainable();
    let run = compile(|args: &[Tensor]| {
        let (key, inputs) = args.split_last().unwrap();
        let outputs = model.outputs(inputs, &Context::train(key));
        let loss = outputs.iter().map(|y| (y * y).sum() + y.sum()).reduce(|a, b| a + b).unwrap();
        grad(&loss, &vars).into_iter().chain(outputs).collect()
    });
    let key = Tensor::random_key(1, 1);
    let args: Vec<&Tensor> = inputs.iter().chain([&key]).collect();
    let results = run.call(&args);
    for (var, gradient) in vars.iter().zip(&results) {
        let values = gradient.to_vec::<f32>();
        assert!(values.iter().all(|v| v.is_finite()), "{what}: {}", var.name());
        assert!(values.iter().any(|&v| v != 0.0), "{what}: nothing reaches {}", var.name());
    }
    let used = model.outputs(&inputs, &Context::eval());
    for (y, output) in used.iter().zip(&features.outputs) {
        assert_eq!(**y.shape(), [&[BATCH], &output.shape[..]].concat(), "{what}");
        assert!(y.to_vec::<f32>().iter().all(|v| v.is_finite()), "{what}");
    }
}

#[test]
fn every_encoder_in_front_of_a_linear_layer() {
    let cases = encoded();
    for entry in encoders::REGISTRY {
        let name = entry.spec.name;
        assert!(cases.iter().any(|(item, _)| item.name == name), "{name} is not tried");
    }
    for (encoder, feed) in cases {
        let (list, effects) = encoders::layers(&encoder, &feed).unwrap();
        assert_eq!(list.len(), effects.len());
        holds(&alone(encoder, feed, combiner("concat", "hidden = []")));
    }
    common::names_are_used_once(encoders::REGISTRY.iter().map(|entry| &entry.spec));
    common::names_are_used_once(combiners::REGISTRY.iter().map(|entry| &entry.spec));
    common::names_are_used_once(decoders::REGISTRY.iter().map(|entry| &entry.spec));
}

#[test]
fn texts_are_written_from_steps_or_from_nothing_and_steps_are_tagged() {
    let concat = || combiner("concat", "hidden = []");
    let written = |decoder: Item| vec![output("text", &[11, 5], decoder)];
    let steps = "dim = 8, layers = 1, heads = 2, reduce = 'none'";
    for (args, encoder) in [
        ("dim = 8, layers = 2, heads = 2", encoder("transformer", steps)),
        (
            "dim = 8, layers = 1, heads = 2, feed_forward = 5, tied_embeddings = false, positions = 'sinusoidal'",
            encoder("rnn", "units = 3, bidirectional = true, reduce = 'none'"),
        ),
        (
            "dim = 4, layers = 1, heads = 2, positions = 'alibi'",
            encoder("embed", "dim = 6, reduce = 'none'"),
        ),
    ] {
        let inputs = vec![input("x", tokens(6, 9), encoder)];
        holds(&Features {
            inputs,
            combiner: concat(),
            outputs: written(decoder("generator", args)),
        });
        holds(&Features {
            inputs: vec![],
            combiner: concat(),
            outputs: written(decoder("generator", args)),
        });
    }
    let inputs = || vec![input("x", tokens(6, 9), encoder("transformer", steps))];
    let tagged = |steps: usize| Features {
        inputs: inputs(),
        combiner: concat(),
        outputs: vec![output(
            "tags",
            &[4, steps],
            decoder("tagger", "hidden = [5], dropout = 0.1"),
        )],
    };
    holds(&tagged(6));
    let error = FeatureModel::describe(&tagged(5)).unwrap_err().to_string();
    assert!(error.contains("as many tags as there are steps, 6; the output has 5"), "{error}");
    let pooled = vec![input("x", tokens(6, 9), encoder("transformer", "dim = 8, heads = 2"))];
    let outputs = written(decoder("generator", "dim = 8, heads = 2"));
    let error = FeatureModel::describe(&Features { inputs: pooled, combiner: concat(), outputs });
    assert!(error.unwrap_err().to_string().contains("looks at the steps of its input"));
}

#[test]
fn every_combiner_of_inputs_of_all_kinds() {
    let inputs = |all: &[(&str, Item, Feed)]| -> Vec<Input> {
        all.iter().map(|(n, e, f)| input(n, f.clone(), e.clone())).collect()
    };
    let mixed = inputs(&[
        ("sizes", encoder("passthrough", ""), numbers(3)),
        ("region", encoder("embed", ""), category(5)),
        ("text", encoder("embed", "dim = 4"), tokens(5, 9)),
        ("picture", encoder("stacked_cnn", "filters = [2]"), image([1, 4, 4])),
    ]);
    let tokens = inputs(&[
        ("sizes", encoder("numeric", "dim = 6"), numbers(3)),
        ("region", encoder("embed", ""), category(5)),
    ]);
    let pair = inputs(&[
        ("user", encoder("embed", "dim = 5"), category(7)),
        ("item", encoder("embed", "dim = 5"), category(6)),
        ("age", encoder("passthrough", ""), numbers(1)),
    ]);
    let cases = [
        (&mixed, combiner("concat", "hidden = [8], norm = 'batch', dropout = 0.1")),
        (&mixed, combiner("attention", "dim = 8, heads = 2, layers = 1, dropout = 0")),
        (&tokens, combiner("ft_transformer", "dim = 8, heads = 2, layers = 2, feed_forward = 5")),
        (&mixed, combiner("gated", "dim = 6")),
        (&pair, combiner("dot", "")),
        (&pair, combiner("dot", "hidden = [6, 4]")),
    ];
    for entry in combiners::REGISTRY {
        assert!(cases.iter().any(|(_, c)| c.name == entry.spec.name), "{}", entry.spec.name);
    }
    let outputs = vec![
        output("price", &[1], decoder("regressor", "hidden = [3]")),
        output("curve", &[4, 3], decoder("dense", "")),
        output("mood", &[], decoder("dense", "")),
    ];
    for (inputs, combiner) in cases {
        let mut inputs = inputs.clone();
        // What is not looked at has no gradient.
        if combiner.name == "dot" && combiner.args.usizes("hidden").is_empty() {
            inputs.truncate(2);
        }
        holds(&Features { inputs, combiner, outputs: outputs.clone() });
    }
}

#[test]
fn layers_alone_have_the_paths_of_layers() {
    let build = |layers: &str, shape: &[usize]| {
        let layers = encoder("layers", &format!("layers = [{layers}]"));
        let mut features = alone(layers, image([1, 4, 4]), combiner("concat", "hidden = []"));
        features.outputs[0].shape = shape.into();
        let params = Params::new(1);
        FeatureModel::new(&features, &params).unwrap();
        let parts = FeatureModel::describe(&features).unwrap();
        let paths: Vec<String> = params.all().iter().map(|p| p.path().to_string()).collect();
        (paths, parts.into_iter().map(|part| part.path).collect::<Vec<_>>())
    };
    let whole = build("'Flatten', { type = 'Dense', units = 2 }", &[2]);
    assert_eq!(whole.0, ["1.weight", "1.bias"], "it ends with the output");
    assert_eq!(whole.1, ["0", "1"]);
    let (paths, parts) = build("'Flatten', { type = 'Dense', units = 3 }, 'relu'", &[2]);
    assert_eq!(paths, ["1.weight", "1.bias", "3.weight", "3.bias"], "a layer is added");
    assert_eq!(parts, ["0", "1", "2", "3"]);
    let (paths, _) = build("{ type = 'Conv2d', filters = 2, kernel = 1 }", &[2, 4, 4]);
    assert_eq!(paths, ["0.weight", "0.bias"]);
}

#[test]
fn a_picture_for_a_picture() {
    let pixels = |encoder: Item, shape: [usize; 3]| {
        let mut features = alone(encoder, image([1, 8, 8]), combiner("concat", "hidden = []"));
        features.outputs =
            vec![output("mask", &shape, decoders::default_for(&Shape::from(shape.as_slice())))];
        features
    };
    holds(&pixels(encoder("unet", "filters = 2, depth = 2"), [3, 8, 8]));
    let small = "layers = [{ type = 'Conv2d', filters = 2, kernel = 2, stride = 2 }, 'relu']";
    holds(&pixels(encoder("layers", small), [3, 8, 8]));
    let error = FeatureModel::describe(&pixels(encoder("resnet", "filters = 2"), [3, 8, 8]));
    let error = error.unwrap_err();
    assert_eq!(error.place, Place::Decoder(0));
    assert!(error.to_string().contains("[channels, height, width]"), "{error}");
}

#[test]
fn what_does_not_fit_is_told_with_its_place() {
    let features = Features {
        inputs: vec![
            input("age", numbers(2), encoder("passthrough", "")),
            input("name", tokens(4, 9), encoder("dense", "")),
        ],
        combiner: combiner("concat", ""),
        outputs: vec![output("y", &[1], decoder("dense", ""))],
    };
    let error = FeatureModel::describe(&features).unwrap_err();
    let text = "the encoder of `name`: `dense` takes numbers (take `embed` or `onehot`); here are \
                tokens, [4]";
    assert_eq!((error.place, error.to_string().as_str()), (Place::Encoder(1), text));

    let one = |encoder: Item, feed: Feed, combiner: Item| {
        FeatureModel::describe(&alone(encoder, feed, combiner)).unwrap_err().to_string()
    };
    let dot = one(encoder("passthrough", ""), numbers(2), combiner("dot", ""));
    assert!(dot.contains("the combiner: `dot` gets [2], it needs two inputs"), "{dot}");
    let none = combiner("concat", "hidden = []");
    let patch = one(encoder("patch_transformer", "patch = 9"), frames(5, 1), none.clone());
    assert!(patch.contains("a patch of 9 steps does not fit in the 5"), "{patch}");
    let unet = one(encoder("unet", "depth = 3"), image([1, 12, 12]), none.clone());
    assert!(unet.contains("multiples of 8"), "{unet}");
    let maps = one(encoder("unet", "depth = 1"), image([1, 4, 4]), combiner("attention", ""));
    assert!(maps.contains("rows of tokens"), "{maps}");
    // Numbers so large that nothing of the size can be: told, not made.
    let huge = encoder("dense", "hidden = [16777216, 16777216, 16777216]");
    let parts = FeatureModel::describe(&alone(huge, numbers(2), none)).unwrap();
    assert!(parts.iter().map(|part| part.effect.parameters).sum::<u128>() > 1 << 48);
}

#[test]
fn the_usual_choices_fit_what_comes_in() {
    let feeds = [numbers(4), category(6), tokens(5, 9), image([1, 8, 8]), frames(6, 2)];
    for name in ["concat", "attention", "gated"] {
        let named = combiner(name, "");
        let of = |(i, feed): (usize, &Feed)| {
            input(&format!("x{i}"), feed.clone(), encoders::default_for(feed, Some(&named)))
        };
        let inputs: Vec<Input> = feeds.iter().enumerate().map(of).collect();
        let outputs = vec![output("y", &[3], decoders::default_for(&[3].into()))];
        let features = Features { inputs, combiner: named.clone(), outputs };
        assert!(FeatureModel::describe(&features).is_ok(), "{name}");
    }
    let plain = combiners::default_for(&[encoder("passthrough", "")]);
    assert!(!plain.args.usizes("hidden").is_empty());
    assert!(combiners::default_for(&[encoder("rnn", "")]).args.usizes("hidden").is_empty());
    let two = [encoder("rnn", ""), encoder("rnn", "")];
    assert!(!combiners::default_for(&two).args.usizes("hidden").is_empty());
    let spec = &encoders::find("dense").unwrap().spec;
    let given = [("hidden".to_string(), Value::Int(0))];
    assert!(check(spec, &given).is_err());
}

/// Two inputs and two outputs trained beside PyTorch: see `golden/make_features.py`.
#[test]
fn two_inputs_and_two_outputs_as_in_pytorch() {
    let bytes = include_bytes!("golden/features.safetensors");
    let golden = SafeTensors::from_bytes("features", bytes).unwrap();
    let read = |name: &str| common::golden::read(&golden.tensor(name).unwrap(), DType::F32);
    let features = Features {
        inputs: vec![
            input("sizes", numbers(3), encoder("passthrough", "")),
            input("region", category(5), encoder("embed", "dim = 4")),
        ],
        combiner: combiner("concat", "hidden = [6]"),
        outputs: vec![
            output("price", &[1], decoder("regressor", "")),
            output("kind", &[3], decoder("classifier", "")),
        ],
    };
    let params = Params::new(1);
    let model = FeatureModel::new(&features, &params).unwrap();
    let vars = params.trainable();
    assert_eq!(vars.len(), 7);
    vars.iter().for_each(|var| var.set(read(&format!("start/{}", var.name()))));
    let [x, c, y, k] = ["x", "c", "y", "k"].map(read);
    let outputs = model.outputs(&[x.clone(), c.clone()], &Context::eval());
    for (found, name) in outputs.iter().zip(["price", "kind"]) {
        common::golden::near(found, &read(name), [0.0, 2e-6], name);
    }
    let sgd = Sgd::new(&params, 0.1);
    let step = compile(|args: &[Tensor]| {
        let [inputs, targets] = [&args[..2], &args[2..4]];
        let outputs = model.outputs(inputs, &Context::train(&args[4]));
        let price = Mse.loss(&outputs[0], &targets[0]);
        let loss = price * 0.5 + CrossEntropy::default().loss(&outputs[1], &targets[1]);
        sgd.minimize(&loss);
        vec![loss]
    });
    let key = Tensor::random_key(1, 1);
    let losses: Vec<f32> = (0..5).map(|_| step.call(&[&x, &c, &y, &k, &key])[0].item()).collect();
    let losses = Tensor::from_slice(&losses, [5]);
    common::golden::near(&losses, &read("losses"), [0.0, 2e-6], "losses");
    for var in &vars {
        let expected = read(&format!("end/{}", var.name()));
        common::golden::near(&var.get().evaluated(), &expected, [0.0, 2e-6], var.name());
    }
}
