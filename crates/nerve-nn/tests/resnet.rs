//! The residual networks against values from PyTorch: see `golden/make_resnet.py`.

use nerve_core::{DType, Shape, Tensor, compile, grad};
use nerve_formats::safetensors::SafeTensors;
use nerve_nn::losses::{CrossEntropy, Loss};
use nerve_nn::models::{ResNet, ResNetOptions, Stem};
use nerve_nn::{Context, Layer, Params, Role};
use std::sync::LazyLock;

static GOLDEN: LazyLock<SafeTensors> = LazyLock::new(|| {
    SafeTensors::from_bytes("resnet", include_bytes!("golden/resnet.safetensors")).unwrap()
});

fn golden(name: &str) -> Vec<f64> {
    GOLDEN.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}")).to_f64().unwrap()
}

/// Numbers in [−1, 1] that are the same everywhere.
fn numbers(stream: usize, shape: &Shape) -> Vec<f64> {
    let number = |i: usize| ((i * 7919 + stream * 104_729) % 2001) as f64 - 1000.0;
    (0..shape.numel()).map(|i| number(i) / 1000.0).collect()
}

fn projected(values: &Tensor) -> f64 {
    let values = values.to_vec::<f64>();
    let weights = numbers(7, &[values.len()].into());
    values.iter().zip(weights).map(|(v, w)| v * w).sum()
}

#[track_caller]
fn close(what: &str, found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (f, e) in found.iter().zip(expected) {
        assert!((f - e).abs() <= 1e-9 * e.abs().max(1.0), "{what}: found {f}, expected {e}");
    }
}

/// The network with the parameters of the formula.
fn network(stem: Stem) -> (Params, ResNet) {
    let params = Params::with_dtype(1, DType::F64);
    let options = ResNetOptions { stem, width: 2, ..ResNetOptions::resnet18(5) };
    let model = ResNet::new(&params, 3, options);
    for (k, var) in params.trainable().iter().enumerate() {
        let (shape, weight) = (var.shape(), var.name().ends_with("weight"));
        let scale = match shape.rank() {
            1 => 0.25,
            _ => (2.0 / shape[1..].iter().product::<usize>() as f64).sqrt(),
        };
        let shift = if shape.rank() == 1 && weight { 1.0 } else { 0.0 };
        let values: Vec<f64> = numbers(k, shape).iter().map(|v| v * scale + shift).collect();
        var.write(&values);
    }
    (params, model)
}

fn check(name: &str, stem: Stem, size: usize) {
    let (params, model) = network(stem);
    let shape = Shape::from([4, 3, size, size]);
    let x = Tensor::from_slice(&numbers(100, &shape), shape);
    let labels = Tensor::from_slice(&[1i32, 4, 0, 2], [4]);
    let trainable = params.trainable();
    let step = compile(|a: &[Tensor]| {
        let y = model.forward(&a[0], &Context::train(&a[2]));
        let loss = CrossEntropy::default().loss(&y, &a[1]);
        [vec![y], grad(&loss, &trainable)].concat()
    });
    let mut results = step.call(&[&x, &labels, &Tensor::random_key(1, 1)]).into_iter();
    let y = results.next().unwrap().to_vec::<f64>();
    close(name, &y, &golden(&format!("{name}/train")));
    // The names are those of torchvision, and none is missing.
    for (var, gradient) in trainable.iter().zip(results) {
        let name = format!("{name}/d.{}", var.name());
        close(&name, &[projected(&gradient)], &golden(&name));
    }
    let statistics = params.all().into_iter().filter(|p| p.role == Role::Buffer);
    let statistics = statistics.filter(|p| !p.path().ends_with("tracked"));
    let mut count = trainable.len() + 2;
    for entry in statistics {
        let name = format!("{name}/{}", entry.path());
        close(&name, &[projected(&entry.var.get())], &golden(&name));
        count += 1;
    }
    assert_eq!(count, GOLDEN.names().filter(|n| n.starts_with(name)).count());
    // In use, compiled (with the normalisation folded into the convolutions) and not.
    let used = compile(|a: &[Tensor]| vec![model.forward(&a[0], &Context::eval())]);
    let found = used.call(&[&x]).remove(0).to_vec::<f64>();
    close(name, &found, &golden(&format!("{name}/eval")));
    let found = model.forward(&x, &Context::eval()).to_vec::<f64>();
    close(name, &found, &golden(&format!("{name}/eval")));
}

#[test]
fn for_small_images_it_is_that_of_pytorch() {
    check("cifar", Stem::Cifar, 16);
}

#[test]
fn for_large_images_it_is_that_of_pytorch() {
    check("imagenet", Stem::ImageNet, 37);
}

#[test]
fn the_parameters_are_as_many_as_torchvision_counts() {
    for (options, expected) in
        [(ResNetOptions::resnet18(1000), 11_689_512), (ResNetOptions::resnet34(1000), 21_797_672)]
    {
        let params = Params::new(1);
        ResNet::new(&params, 3, options);
        assert_eq!(params.count(), expected);
    }
}
