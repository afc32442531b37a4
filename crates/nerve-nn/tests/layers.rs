//! Layers of the registry against values from PyTorch: see `golden/make_layers.py`.

use nerve_core::{DType, Shape, Tensor, compile, grad};
use nerve_formats::safetensors::SafeTensors;
use nerve_nn::{Context, Layer, Params, activations, layers};
use std::sync::LazyLock;

mod common;

static GOLDEN: LazyLock<SafeTensors> = LazyLock::new(|| {
    SafeTensors::from_bytes("layers", include_bytes!("golden/layers.safetensors")).unwrap()
});

fn golden(name: &str, dtype: DType) -> Tensor {
    let stored = GOLDEN.tensor(name).unwrap_or_else(|error| panic!("{error}"));
    common::golden::read(&stored, dtype)
}

/// What differs between `found` and the golden values, if something does: each element may be off
/// by a share of the largest.
fn difference(found: &Tensor, name: &str) -> Option<String> {
    let expected = golden(name, DType::F64);
    if found.shape() != expected.shape() {
        return Some(format!("{name}: shape {}, expected {}", found.shape(), expected.shape()));
    }
    let tolerance = if found.dtype() == DType::F64 { 1e-13 } else { 3e-6 };
    let (found, expected) = (found.to_dtype(DType::F64).to_vec::<f64>(), expected.to_vec::<f64>());
    let size = expected.iter().fold(1.0f64, |top, v| top.max(v.abs()));
    let mut pairs = found.iter().zip(&expected).enumerate();
    let (i, (f, e)) = pairs.find(|(_, (f, e))| (*f - *e).abs() > tolerance * size || f.is_nan())?;
    Some(format!("{name}[{i}]: found {f}, expected {e}"))
}

/// Builds the layer of a case, gives it the golden parameters, and compares output, gradients and
/// what it keeps.
fn check(case: &str, recipe: &str, dtype: DType) -> Vec<String> {
    let (kind, args) = recipe.split_once(' ').unwrap_or((recipe, ""));
    let entry = layers::find(kind).unwrap_or_else(|| panic!("no layer `{kind}`"));
    let (x, dy) = (golden(&format!("{case}/x"), dtype), golden(&format!("{case}/dy"), dtype));
    let params = Params::with_dtype(1, dtype);
    let input = Shape::from(&x.shape()[1..]);
    let (layer, output) = entry.build(&common::args(&entry.spec, args), &input, &params).unwrap();
    assert_eq!(output[..], dy.shape()[1..], "{recipe}");
    let trainable = params.trainable();
    for var in &trainable {
        var.set(golden(&format!("{case}/{}", var.name()), dtype));
    }
    for name in GOLDEN.names().filter(|name| name.starts_with(&format!("{case}/a."))) {
        params.get(&name[case.len() + 3..]).unwrap().var.set(golden(name, dtype));
    }
    let run = compile(|args: &[Tensor]| {
        let y = layer.forward(&args[0], &Context::train(&args[2]));
        let loss = (&y * &args[1]).sum();
        let mut results = [vec![y], grad(&loss, &[&args[0]])].concat();
        if !trainable.is_empty() {
            results.extend(grad(&loss, &trainable));
        }
        results
    });
    let results = run.call(&[&x, &dy, &Tensor::random_key(1, 1)]);
    let names = ["y".to_string(), "dx".to_string()].into_iter();
    let names = names.chain(trainable.iter().map(|var| format!("d.{}", var.name())));
    let mut wrong: Vec<String> = (names.zip(&results))
        .filter_map(|(name, found)| difference(found, &format!("{case}/{name}")))
        .collect();
    for name in GOLDEN.names().filter(|name| name.starts_with(&format!("{case}/b."))) {
        let path = &name[case.len() + 3..];
        let buffer = params.get(path).unwrap_or_else(|| panic!("{recipe}: no buffer {path}"));
        wrong.extend(difference(&buffer.var.get(), name));
    }
    wrong.into_iter().map(|what| format!("{dtype} {recipe}\n    {what}")).collect()
}

#[test]
fn every_case_has_the_values_of_pytorch() {
    let mut wrong = Vec::new();
    let mut cases = 0;
    for (case, recipe) in GOLDEN.metadata().iter().filter(|(key, _)| key.starts_with("case")) {
        for dtype in [DType::F64, DType::F32] {
            let run = std::panic::AssertUnwindSafe(|| check(case, recipe, dtype));
            match std::panic::catch_unwind(run) {
                Ok(found) => wrong.extend(found),
                Err(_) => wrong.push(format!("{dtype} {recipe}: see the panic above")),
            }
        }
        cases += 1;
    }
    assert!(cases > 20, "{cases} cases");
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Mean and variance of what a layer gives for many inputs while it is trained.
fn moments(layer: &dyn Layer, x: &Tensor) -> (f64, f64) {
    let y = layer.forward(x, &Context::train(&Tensor::random_key(3, 1))).to_vec::<f64>();
    let n = y.len() as f64;
    let mean = y.iter().sum::<f64>() / n;
    (mean, y.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n)
}

#[track_caller]
fn near(found: (f64, f64), expected: (f64, f64)) {
    let off = (found.0 - expected.0).abs().max((found.1 - expected.1).abs());
    assert!(off < 0.03, "{found:?}, expected {expected:?}");
}

#[test]
fn noise_has_the_moments_that_it_says() {
    let normal = Tensor::normal(&Tensor::random_key(9, 0), 0, [40_000], DType::F64).evaluated();
    let ones = Tensor::full([40_000], 1.0, DType::F64);
    let rows = Tensor::full([20_000, 2], 1.0, DType::F64);
    // Mean 0 and variance 1 stay.
    near(moments(&layers::AlphaDropout { rate: 0.2 }, &normal), (0.0, 1.0));
    near(moments(&layers::GaussianNoise { std: 0.5 }, &ones), (1.0, 0.25));
    // A dropout's variance is rate / (1 − rate).
    let variance = 0.2 / 0.8;
    near(moments(&layers::GaussianDropout { rate: 0.2 }, &ones), (1.0, variance));
    near(moments(&layers::DropPath { rate: 0.2 }, &rows), (1.0, variance));
    near(moments(&layers::SpatialDropout { rate: 0.2 }, &rows), (1.0, variance));
    // Slopes from 1/8 to 1/3 for −1.
    let slopes = activations::Rrelu { lower: 1.0 / 8.0, upper: 1.0 / 3.0 };
    let width: f64 = 1.0 / 3.0 - 1.0 / 8.0;
    near(moments(&slopes, &-&ones), (-11.0 / 48.0, width * width / 12.0));
}

#[test]
fn gumbel_softmax_draws_from_the_distribution_of_softmax() {
    let logits = Tensor::from_slice(&[0.0, 1.0, -1.0f64], [1, 3]);
    let share = logits.softmax(-1).to_vec::<f64>();
    let x = logits.broadcast_to([20_000, 3]);
    let cx = Context::train(&Tensor::random_key(3, 1));
    let hard = activations::GumbelSoftmax { tau: 0.5, hard: true };
    let y = hard.forward(&x, &cx);
    let values = y.to_vec::<f64>();
    assert!(values.iter().all(|v| v.abs() < 1e-12 || (v - 1.0).abs() < 1e-12), "zeros and ones");
    let found = y.mean_axes(&[0], false).to_vec::<f64>();
    assert!(found.iter().zip(&share).all(|(a, b)| (a - b).abs() < 0.02), "{found:?} {share:?}");
    // The gradient is that of the soft sample, which is not zero.
    let x = x.evaluated();
    let weights = Tensor::from_slice(&[1.0, 2.0, 3.0f64], [3]);
    let y = hard.forward(&x, &Context::train(&Tensor::random_key(3, 1)));
    assert!(grad(&(y * weights).sum(), &[&x])[0].to_vec::<f64>().iter().any(|v| v.abs() > 0.1));
}

#[test]
fn sparsemax_is_the_nearest_point_of_the_simplex() {
    let x = Tensor::from_slice(&[0.5, 0.2, -2.0, 3.0, 1.0, 0.0f64], [2, 3]).evaluated();
    let y = activations::Sparsemax.forward(&x, &Context::eval());
    for (found, expected) in y.to_vec::<f64>().iter().zip([0.65, 0.35, 0.0, 1.0, 0.0, 0.0]) {
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }
    // On the support the Jacobian is 1 − 1 / k.
    let weights = Tensor::from_slice(&[1.0, 0.0, 0.0, 1.0, 1.0, 1.0f64], [2, 3]);
    let d = grad(&(y * weights).sum(), &[&x])[0].to_vec::<f64>();
    assert_eq!(d, [0.5, -0.5, 0.0, 0.0, 0.0, 0.0]);
}

#[test]
fn a_bilinear_form_equals_its_definition() {
    let params = Params::with_dtype(1, DType::F64);
    let layer = layers::Bilinear::new(&params, 3, 4, 2);
    let draw = |stream, shape: [usize; 3]| {
        Tensor::normal(&Tensor::random_key(1, 1), stream, shape, DType::F64).evaluated()
    };
    let (a, b) = (draw(0, [2, 5, 3]), draw(1, [2, 5, 4]));
    let y = layer.forward(&a, &b);
    let expected = Tensor::einsum("xyi,kij,xyj->xyk", &[&a, &layer.weight.get(), &b]);
    let expected = expected + layer.bias.as_ref().unwrap().get();
    for (found, expected) in y.to_vec::<f64>().iter().zip(expected.to_vec::<f64>()) {
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }
}

#[test]
fn layers_inside_of_layers_say_what_does_not_fit() {
    let refused = |kind: &str, args: &str, input: &[usize]| {
        let entry = layers::find(kind).unwrap();
        (entry.infer)(&common::args(&entry.spec, args), input).unwrap_err().to_string()
    };
    let message =
        refused("Residual", "layers = [{ type = 'Conv2d', filters = 3, kernel = 3 }]", &[3, 8, 8]);
    assert!(message.contains("[3, 8, 8]") && message.contains("[3, 6, 6]"), "{message}");
    assert!(message.contains("project the shortcut"), "{message}");
    let message = refused("Repeat", "n = 2, layers = ['Flatten', 'MaxPool2d']", &[3, 8, 8]);
    assert!(message.contains("layer 1 (MaxPool2d) gets [192]"), "{message}");
    let embedding = "layers = [{ type = 'Embedding', rows = 8, dim = 2 }]";
    let message = refused("Sequential", embedding, &[4]);
    assert!(message.contains("it can only be the first layer of a network"), "{message}");
    let message = refused("Branches", "branches = [[], ['Flatten']], axis = 2", &[3, 4]);
    assert!(message.contains("differ along one axis only"), "{message}");
    let message = refused("UNet", "outputs = 2, depth = 3", &[1, 20, 24]);
    assert!(message.contains("multiples of 8"), "{message}");
    let message = refused("Permute", "axes = [2, 2]", &[3, 4]);
    assert!(message.contains("each of the axes 1 to 2 once"), "{message}");
    let message = refused("Reshape", "shape = [5, -1]", &[3, 4]);
    assert!(message.contains("a shape for 12 values"), "{message}");
}
