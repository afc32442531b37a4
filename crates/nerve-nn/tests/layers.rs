//! Layers of the registry against values from PyTorch: see `golden/make_layers.py`.

use nerve_core::{DType, Shape, Tensor, compile, grad};
use nerve_formats::safetensors::SafeTensors;
use nerve_nn::{Context, Params, layers};
use std::sync::LazyLock;

#[allow(dead_code)] // Not all of it is needed here.
mod common;

static GOLDEN: LazyLock<SafeTensors> = LazyLock::new(|| {
    SafeTensors::from_bytes("layers", include_bytes!("golden/layers.safetensors")).unwrap()
});

fn golden(name: &str, dtype: DType) -> Tensor {
    let tensor = GOLDEN.tensor(name).unwrap_or_else(|error| panic!("{error}"));
    let values = tensor.to_f64().unwrap();
    Tensor::from_slice(&values, tensor.shape).to_dtype(dtype).evaluated()
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
