//! Networks of the zoo against torchvision: see `golden/make_models.py`.

use nerve_core::{DType, Shape, Tensor, compile, grad};
use nerve_formats::safetensors::SafeTensors;
use nerve_nn::losses::{CrossEntropy, Loss};
use nerve_nn::models::{MobileNetV2, MobileNetV2Options, ResNet, ResNetOptions, Vgg, VggOptions};
use nerve_nn::{Context, Layer, Params, layers};
use std::sync::LazyLock;

mod common;

static GOLDEN: LazyLock<SafeTensors> = LazyLock::new(|| {
    SafeTensors::from_bytes("models", include_bytes!("golden/models.safetensors")).unwrap()
});

fn golden(name: &str) -> Vec<f64> {
    GOLDEN.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}")).to_f64().unwrap()
}

/// The names and shapes of the parameters of a network of torchvision, in order.
fn listed(name: &str) -> Vec<(String, String)> {
    let list = GOLDEN.metadata_value(name).unwrap();
    list.lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(a, b)| (a.into(), b.into()))
        .collect()
}

/// Numbers in [−1, 1] that are the same everywhere.
fn numbers(stream: usize, shape: &Shape) -> Vec<f64> {
    let number = |i: usize| ((i * 7919 + stream * 104_729) % 2001) as f64 - 1000.0;
    (0..shape.numel()).map(|i| number(i) / 1000.0).collect()
}

#[track_caller]
fn close(what: &str, found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (f, e) in found.iter().zip(expected) {
        assert!((f - e).abs() <= 1e-8 * e.abs().max(1.0), "{what}: found {f}, expected {e}");
    }
}

/// Compares output and gradients in training with those of torchvision.
fn check(name: &str, size: usize, build: impl Fn(&Params) -> Box<dyn Layer>) {
    let params = Params::with_dtype(1, DType::F64);
    let model = build(&params);
    let trainable = params.trainable();
    let listed = listed(name);
    assert_eq!(trainable.len(), listed.len());
    for (k, (var, (path, shape))) in trainable.iter().zip(&listed).enumerate() {
        assert_eq!(var.name(), path);
        if k + 2 < listed.len() {
            assert_eq!(format!("{:?}", &var.shape()[..]), *shape, "{path}");
        }
        let (shape, weight) = (var.shape(), var.name().ends_with("weight"));
        let scale = match shape.rank() {
            1 => 0.25,
            _ => (2.0 / shape[1..].iter().product::<usize>() as f64).sqrt(),
        };
        let shift = if shape.rank() == 1 && weight { 1.0 } else { 0.0 };
        let values: Vec<f64> = numbers(k, shape).iter().map(|v| v * scale + shift).collect();
        var.write(&values);
    }
    let shape = Shape::from([4, 3, size, size]);
    let x = Tensor::from_slice(&numbers(100, &shape), shape);
    let labels = Tensor::from_slice(&[1i32, 4, 0, 2], [4]);
    let some: Vec<_> = trainable.into_iter().step_by(7).collect();
    let step = compile(|a: &[Tensor]| {
        let y = model.forward(&a[0], &Context::train(&a[2]));
        let loss = CrossEntropy::default().loss(&y, &a[1]);
        [vec![y], grad(&loss, &some)].concat()
    });
    let mut results = step.call(&[&x, &labels, &Tensor::random_key(1, 1)]).into_iter();
    close(name, &results.next().unwrap().to_vec::<f64>(), &golden(&format!("{name}/y")));
    for (var, gradient) in some.iter().zip(results) {
        let name = format!("{name}/d.{}", var.name());
        let weights = numbers(7, gradient.shape());
        let product = gradient.to_vec::<f64>().iter().zip(weights).map(|(g, w)| g * w).sum();
        close(&name, &[product], &golden(&name));
    }
}

#[test]
fn mobilenet_v2_is_that_of_torchvision() {
    check("mobilenet_v2", 64, |params| {
        let options = MobileNetV2Options { dropout: 0.0, ..MobileNetV2Options::new(5) };
        Box::new(MobileNetV2::new(params, 3, options))
    });
}

#[test]
fn resnet50_is_that_of_torchvision() {
    check("resnet50", 40, |params| Box::new(ResNet::new(params, 3, ResNetOptions::resnet50(5))));
}

#[test]
fn vgg_has_the_names_of_torchvision() {
    for (name, options) in [
        ("vgg11", VggOptions::vgg11(10)),
        ("vgg16_bn", VggOptions { batch_norm: true, ..VggOptions::vgg16(10) }),
    ] {
        let params = Params::new(1);
        Vgg::new(&params, 3, VggOptions { width: 2, hidden: 3, ..options });
        let found: Vec<String> =
            params.trainable().iter().map(|var| var.name().to_string()).collect();
        let expected: Vec<String> = listed(name).into_iter().map(|(path, _)| path).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn networks_have_as_many_parameters_as_torchvision_counts() {
    for (name, args, expected) in [
        ("ResNet18", "classes = 1000", 11_689_512u128),
        ("ResNet34", "classes = 1000", 21_797_672),
        ("ResNet50", "classes = 1000", 25_557_032),
        ("VGG11", "classes = 1000", 132_863_336),
        ("VGG16", "classes = 1000, batch_norm = true", 138_365_992),
        ("MobileNetV2", "classes = 1000", 3_504_872),
        ("LeNet5", "classes = 10, padding = 0", 61_706),
    ] {
        let entry = layers::find(name).unwrap();
        let image: &[usize] = if name == "LeNet5" { &[1, 32, 32] } else { &[3, 224, 224] };
        let effect = (entry.infer)(&common::args(&entry.spec, args), image).unwrap();
        assert_eq!(effect.parameters, expected, "{name}");
    }
}

/// Numbers that a recipe may hold and nothing can have.
#[test]
fn absurd_sizes_are_refused_without_being_built() {
    for (name, args, input) in [
        ("MobileNetV2", "classes = 1000, width = 16", &[1 << 39, 8, 8][..]),
        ("InvertedResidual", "filters = 1099511627776, expansion = 64", &[1 << 39, 8, 8]),
        ("UNet", "outputs = 2, width = 4096, depth = 10", &[1 << 40, 1024, 1024]),
        ("SqueezeExcitation", "reduction = 1", &[1 << 60, 4, 4]),
        ("ShuffleUnit", "filters = 1099511627776, stride = 8", &[1 << 60, 4, 4]),
        ("DenseBlock", "n = 256, growth = 1099511627776, bottleneck = 1024", &[1 << 60, 4, 4]),
        ("ConvTranspose2d", "filters = 8, kernel = 1048576, stride = 1048576", &[3, 1 << 60, 4]),
        ("Upsample2d", "factor = 1048576", &[3, 1 << 30, 4]),
    ] {
        let entry = layers::find(name).unwrap();
        // Refused or saturated; either way, said.
        if let Ok(effect) = (entry.infer)(&common::args(&entry.spec, args), input) {
            assert!(effect.parameters > 0 || effect.kept > 1 << 50, "{name}: {effect:?}");
        }
    }
}
