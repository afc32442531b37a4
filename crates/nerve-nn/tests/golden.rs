//! Layers, losses and optimizers against values from JAX and Optax: see `golden/make.py`.

mod common;

use nerve_core::{DType, Tensor, Var, compile, grad};
use nerve_formats::safetensors::{SafeTensors, TensorView};
use nerve_formats::spec::{Item, Value, check};
use nerve_nn::layers::{BatchNorm, Conv2d, Conv2dOptions, Gru, Lstm, Padding, RecurrentOptions};
use nerve_nn::losses::{self, CrossEntropy, Loss};
use nerve_nn::optim::{Adam, AdamW, Optimizer, Sgd};
use nerve_nn::{Context, Layer, Params, activations, layers};
use std::sync::LazyLock;

static GOLDEN: LazyLock<SafeTensors> = LazyLock::new(|| {
    SafeTensors::from_bytes("golden", include_bytes!("golden/golden.safetensors")).unwrap()
});

/// What PyTorch gives: see `golden/make_recurrent.py`.
static RECURRENT: LazyLock<SafeTensors> = LazyLock::new(|| {
    SafeTensors::from_bytes("recurrent", include_bytes!("golden/recurrent.safetensors")).unwrap()
});

fn stored(name: &str) -> TensorView<'static> {
    GOLDEN.tensor(name).or_else(|_| RECURRENT.tensor(name)).unwrap()
}

fn golden(name: &str, dtype: DType) -> Tensor {
    common::golden::read(&stored(name), dtype)
}

#[track_caller]
fn close(what: &str, found: &Tensor, name: &str) {
    let expected = golden(name, DType::F64);
    common::golden::near(found, &expected, [1e-13, 2e-6], &format!("{what} {name}"));
}

const BOTH: [DType; 2] = [DType::F64, DType::F32];

/// Sets the parameters to the golden ones and compares output and all gradients while training.
fn check_layer(name: &str, build: impl Fn(&Params) -> Box<dyn Layer>) {
    for dtype in BOTH {
        let params = Params::with_dtype(1, dtype);
        let layer = build(&params);
        let trainable = params.trainable();
        for var in &trainable {
            var.set(golden(&format!("{name}/{}", var.name()), dtype));
        }
        let (x, dy) = (golden(&format!("{name}/x"), dtype), golden(&format!("{name}/dy"), dtype));
        let run = compile(|args: &[Tensor]| {
            let y = layer.forward(&args[0], &Context::train(&args[2]));
            let loss = (&y * &args[1]).sum();
            let mut results = vec![y];
            if args[0].dtype().is_float() {
                results.extend(grad(&loss, &[&args[0]]));
            }
            if !trainable.is_empty() {
                results.extend(grad(&loss, &trainable));
            }
            results
        });
        let mut results = run.call(&[&x, &dy, &Tensor::random_key(1, 1)]).into_iter();
        let what = format!("{dtype}");
        close(&what, &results.next().unwrap(), &format!("{name}/y"));
        if x.dtype().is_float() {
            close(&what, &results.next().unwrap(), &format!("{name}/dx"));
        }
        for (var, found) in trainable.iter().zip(results) {
            close(&what, &found, &format!("{name}/d.{}", var.name()));
        }
    }
}

fn from_registry(name: &str, given: &[(&str, Value)], params: &Params, x: &str) -> Box<dyn Layer> {
    let entry = layers::find(name).unwrap();
    let given: Vec<_> = given.iter().map(|(key, value)| (key.to_string(), value.clone())).collect();
    let args = check(&entry.spec, &given).unwrap();
    let input = nerve_core::Shape::from(&stored(&format!("{x}/x")).shape[1..]);
    entry.build(&args, &input, params).unwrap().0
}

fn list(values: [i64; 2]) -> Value {
    Value::List(values.map(Value::Int).to_vec().into())
}

#[test]
fn linear_and_convolutions() {
    let int = Value::Int;
    let build = |name: &'static str, x: &'static str, given: Vec<(&'static str, Value)>| {
        check_layer(x, move |params| from_registry(name, &given, params, x));
    };
    build("Dense", "dense", vec![("units", int(3))]);
    let given = [
        ("filters", int(6)),
        ("kernel", list([3, 2])),
        ("stride", list([2, 1])),
        ("padding", list([1, 2])),
        ("dilation", list([1, 2])),
        ("groups", int(2)),
    ];
    build("Conv2D", "conv2d", given.to_vec());
    let given = [
        ("filters", int(4)),
        ("kernel", int(3)),
        ("stride", int(2)),
        ("padding", int(2)),
        ("dilation", int(3)),
    ];
    build("Conv1d", "conv1d", given.to_vec());
    check_layer("conv2d_same", |params| {
        let options =
            Conv2dOptions { stride: [2, 3], padding: Padding::Same, ..Conv2dOptions::default() };
        let init = nerve_nn::init::Zeros;
        Box::new(Conv2d::with_init(params, 3, 2, [3, 4], options, &init, None))
    });
}

#[test]
fn recurrent_layers() {
    let (int, yes) = (Value::Int, Value::Bool(true));
    let build = |name: &'static str, x: &'static str, given: Vec<(&'static str, Value)>| {
        check_layer(x, move |params| from_registry(name, &given, params, x));
    };
    build("LSTM", "lstm", vec![("units", int(5))]);
    let deep = vec![
        ("units", int(4)),
        ("layers", int(2)),
        ("bidirectional", yes.clone()),
        ("return_sequences", yes.clone()),
    ];
    build("LSTM", "lstm_deep", deep.clone());
    build("GRU", "gru_deep", deep.clone());
    build("GRU", "gru", vec![("units", int(5)), ("bias", Value::Bool(false))]);
    build("RNN", "rnn_deep", deep);
    let relu = vec![("units", int(5)), ("nonlinearity", Value::text("relu"))];
    build("RNN", "rnn_relu", [relu, vec![("return_sequences", yes)]].concat());
}

#[test]
fn first_and_last_states() {
    for dtype in BOTH {
        let params = Params::with_dtype(1, dtype);
        let options =
            RecurrentOptions { layers: 2, bidirectional: true, ..RecurrentOptions::default() };
        let (lstm, gru) = (
            Lstm::new(&params.at("lstm_states"), 3, 4, options),
            Gru::new(&params.at("gru_states"), 3, 4, options),
        );
        for var in params.trainable() {
            var.set(golden(&var.name().replacen('.', "/", 1), dtype));
        }
        let given = |name: &str| golden(name, dtype);
        let cx = Context::eval();
        let (x, h0, c0) =
            (given("lstm_states/x"), given("lstm_states/h0"), given("lstm_states/c0"));
        let [y, h, c] = lstm.with_states(&x, Some(&h0), Some(&c0), &cx);
        close("lstm", &y, "lstm_states/y");
        close("lstm", &h, "lstm_states/h");
        close("lstm", &c, "lstm_states/c");
        let [y, h] = gru.with_states(&given("gru_states/x"), Some(&given("gru_states/h0")), &cx);
        close("gru", &y, "gru_states/y");
        close("gru", &h, "gru_states/h");
    }
}

#[test]
fn pooling() {
    let given = [("pool", list([3, 2])), ("stride", Value::Int(2)), ("padding", Value::Int(1))];
    check_layer("max_pool2d", |p| from_registry("MaxPool2d", &given, p, "max_pool2d"));
    check_layer("avg_pool2d", |p| from_registry("AvgPool2d", &given, p, "avg_pool2d"));
}

#[test]
fn normalisation() {
    check_layer("layer_norm", |p| from_registry("LayerNorm", &[], p, "layer_norm"));
    for name in ["batch_norm1d", "batch_norm2d"] {
        check_layer(name, |p| from_registry("BatchNorm", &[], p, name));
    }
}

#[test]
fn batch_norm_keeps_statistics_and_uses_them() {
    for name in ["batch_norm1d", "batch_norm2d"] {
        let params = Params::with_dtype(1, DType::F64);
        let layer = BatchNorm::new(&params, 3);
        let x = golden(&format!("{name}/x"), DType::F64);
        let train =
            compile(|args: &[Tensor]| vec![layer.forward(&args[0], &Context::train(&args[1]))]);
        train.call(&[&x, &Tensor::random_key(1, 1)]);
        close("", &layer.running_mean.get(), &format!("{name}/running_mean"));
        close("", &layer.running_var.get(), &format!("{name}/running_var"));
        assert_eq!(layer.num_batches_tracked.to_vec::<i32>(), [1]);

        let before = params.state();
        let y = layer.forward(&x, &Context::eval()).to_vec::<f64>();
        let (mean, var) = (layer.running_mean.to_vec::<f64>(), layer.running_var.to_vec::<f64>());
        let inner: usize = x.shape()[2..].iter().product();
        for (i, (y, x)) in y.iter().zip(x.to_vec::<f64>()).enumerate() {
            let c = i / inner % 3;
            assert!((y - (x - mean[c]) / (var[c] + 1e-5).sqrt()).abs() < 1e-12);
        }
        assert_eq!(params.state(), before, "evaluation changes nothing");

        let one = (2..x.rank()).fold(x.slice(0, 0, 1), |t, axis| t.slice(axis as isize, 0, 1));
        let y = train.call(&[&one, &Tensor::random_key(1, 2)]).remove(0);
        assert_eq!(y.to_vec::<f64>(), [0.0; 3], "a single value is its own mean");
        assert_eq!(params.state(), before, "and has no variance to follow");
    }
}

#[test]
fn embedding() {
    let given = [("rows", Value::Int(5)), ("dim", Value::Int(3))];
    check_layer("embedding", |p| from_registry("Embedding", &given, p, "embedding"));
}

#[test]
fn every_activation() {
    // The others stand in `layers.rs`.
    let here = |name: &str| GOLDEN.get(&format!("{name}/x")).is_some();
    for entry in activations::REGISTRY.iter().filter(|entry| here(entry.spec.name)) {
        let name = entry.spec.name;
        let item = Item { name, args: check(&entry.spec, &[]).unwrap() };
        check_layer(name, |_| {
            activations::build(&item).unwrap_or_else(|| Box::new(activations::Identity))
        });
    }
}

fn check_loss(name: &str, loss: &dyn Loss) {
    for dtype in BOTH {
        let output = golden(&format!("{name}/output"), dtype);
        let target = golden(&format!("{name}/target"), dtype);
        let value = loss.loss(&output, &target);
        let what = format!("{dtype}");
        close(&what, &value, &format!("{name}/loss"));
        close(&what, &grad(&value, &[&output])[0], &format!("{name}/d"));
    }
}

#[test]
fn every_loss() {
    for name in
        ["cross_entropy", "binary_cross_entropy_with_logits", "binary_cross_entropy", "mse", "mae"]
    {
        let spec = &losses::find(name).unwrap().spec;
        check_loss(name, &*losses::build(&Item { name, args: check(spec, &[]).unwrap() }));
    }
    let plain = CrossEntropy::default();
    check_loss("cross_entropy_smooth", &CrossEntropy { label_smoothing: 0.1, ..plain.clone() });
    check_loss("cross_entropy_ignore", &CrossEntropy { ignore_index: Some(4), ..plain.clone() });
    check_loss("cross_entropy_probabilities", &plain);
    check_loss("cross_entropy_axes", &plain);
}

#[test]
fn smoothing_is_the_same_for_indices_and_probabilities() {
    let logits = golden("cross_entropy/output", DType::F64);
    let target = golden("cross_entropy/target", DType::F64);
    let hot = Tensor::iota([6, 5], 1).eq(target.unsqueeze(1)).to_dtype(DType::F64);
    let smooth = CrossEntropy { label_smoothing: 0.3, ..CrossEntropy::default() };
    let [a, b] = [&target, &hot].map(|t| smooth.loss(&logits, t).item::<f64>());
    assert!((a - b).abs() < 1e-14);
}

#[test]
fn every_optimizer_takes_the_same_ten_steps() {
    type Make = fn(&Params) -> Box<dyn Optimizer>;
    let optimizers: [(&str, Make); 6] = [
        ("sgd", |p| Box::new(Sgd::new(p, 0.1))),
        ("sgd_momentum", |p| Box::new(Sgd::new(p, 0.1).momentum(0.9).weight_decay(0.02))),
        ("sgd_nesterov", |p| Box::new(Sgd::new(p, 0.1).momentum(0.9).nesterov(true))),
        ("adam", |p| Box::new(Adam::new(p, 0.01))),
        ("adam_decay", |p| {
            Box::new(Adam::new(p, 0.01).betas(0.8, 0.95).eps(1e-4).weight_decay(0.02))
        }),
        ("adamw", |p| Box::new(AdamW::new(p, 0.01))),
    ];
    for dtype in BOTH {
        for (name, make) in optimizers {
            let params = Params::with_dtype(1, dtype);
            let start = golden("optimizers/start", dtype);
            let zeros = nerve_nn::init::Zeros;
            // Two parameters in one arena, so that the layout matters.
            let vars: [Var; 2] = [params.var("a", [3], &zeros), params.var("b", [2, 2], &zeros)];
            vars[0].set(start.slice(0, 0, 3));
            vars[1].set(start.slice(0, 3, 7).reshape([2, 2]));
            let optimizer = make(&params);
            let step = compile(|args: &[Tensor]| {
                optimizer.step(&[args[0].slice(0, 0, 3), args[0].slice(0, 3, 7).reshape([2, 2])]);
                vec![]
            });
            let gradients = golden("optimizers/gradients", dtype);
            let path = (0..10).map(|number| {
                step.call(&[&gradients.slice(0, number, number + 1).reshape([7])]);
                Tensor::concat(&[vars[0].get(), vars[1].get().reshape([4])], 0).evaluated()
            });
            let path: Vec<Tensor> = path.collect();
            close(name, &Tensor::stack(&path, 0), &format!("optimizers/{name}"));
        }
    }
}
