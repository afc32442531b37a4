//! What does not fit panics with the operation, the shapes and the rule.

use crate::common::panic_of;
use nerve_core::ops::Conv2dOptions;
use nerve_core::{DType, Tensor, grad};

fn x(shape: &[usize]) -> Tensor {
    Tensor::zeros(shape)
}

fn i(shape: &[usize]) -> Tensor {
    Tensor::full(shape, 1.0, DType::I32)
}

type Wrong = (fn() -> Tensor, &'static [&'static str]);

const WRONG: &[Wrong] = &[
    (|| x(&[2]) + x(&[3]), &["add", "[2]", "[3]"]),
    (|| x(&[2, 3]) * x(&[2]), &["mul", "[2, 3]", "[2]"]),
    (|| x(&[2]) + i(&[2]), &["add", "f32", "i32", "to_dtype"]),
    (|| x(&[2]).lt(x(&[4])), &["lt", "[2]", "[4]"]),
    (|| x(&[2]).gt(0.0) + x(&[2]).gt(0.0), &["add", "bool", "to_dtype"]),
    (|| x(&[2]).logical_and(x(&[2])), &["and", "f32"]),
    (|| i(&[2]).atan2(i(&[2])), &["atan2", "i32"]),
    (|| i(&[2]).exp(), &["exp", "i32", "to_dtype"]),
    (|| i(&[2]) * 0.5, &["0.5", "i32"]),
    (|| i(&[2]).to_dtype(DType::U8) + 300, &["300", "u8"]),
    (|| x(&[2]).gt(0.0).abs(), &["abs", "bool"]),
    (|| x(&[2]).logical_not(), &["not", "f32"]),
    (|| x(&[2]).select(&x(&[2]), &x(&[2])), &["select", "bool", "f32"]),
    (|| x(&[2]).gt(0.0).select(&x(&[2]), &i(&[2])), &["select", "f32", "i32"]),
    (|| x(&[2]).gt(0.0).select(&x(&[3]), &x(&[2])), &["select", "[2]", "[3]"]),
    (|| x(&[2]).clamp(1.0, 0.0), &["clamp", "1", "0"]),
    (|| x(&[2, 3]).reshape([4]), &["reshape", "[2, 3]", "[4]", "6"]),
    (|| x(&[2, 3]).permute(&[0, 0]), &["permute", "[0, 0]", "[2, 3]"]),
    (|| x(&[2, 3]).permute(&[0]), &["permute", "[0]", "[2, 3]"]),
    (|| x(&[2, 3]).transpose(0, 2), &["transpose", "axis 2", "[2, 3]"]),
    (|| x(&[]).sum_axes(&[0], false), &["sum", "axis 0", "scalar"]),
    (|| x(&[2, 3]).sum_axes(&[0, -2], false), &["sum", "twice"]),
    (|| x(&[2, 3]).max_axes(&[-3], false), &["max", "axis -3", "[2, 3]"]),
    (|| x(&[2]).gt(0.0).sum(), &["sum", "bool", "to_dtype"]),
    (|| i(&[3]).to_dtype(DType::U8).sum(), &["sum", "u8", "to_dtype"]),
    (|| i(&[2]).mean(), &["mean", "i32"]),
    (|| x(&[2, 3]).broadcast_to([3, 3]), &["broadcast_to", "[2, 3]", "[3, 3]"]),
    (|| x(&[2, 3]).sum_to(&[2].into()), &["sum_to", "[2, 3]", "[2]"]),
    (|| x(&[2, 3]).slice(1, 2, 4), &["slice", "2..4", "[2, 3]"]),
    (|| x(&[2, 3]).slice(1, 2, 1), &["slice", "2..1", "[2, 3]"]),
    (|| x(&[5]).slice_by(0, 1, 3, 3), &["slice", "3 elements", "extent 5"]),
    (|| x(&[5]).slice_by(0, 1, -1, 3), &["slice", "3 elements", "extent 5"]),
    (|| x(&[5]).slice_by(0, 1, 0, 3), &["slice", "extent 5"]),
    (|| x(&[5]).split(0, &[2, 2])[0].clone(), &["split", "[2, 2]", "[5]"]),
    (|| x(&[5]).squeeze(0), &["squeeze", "[5]"]),
    (|| x(&[5]).unsqueeze(2), &["unsqueeze", "axis 2", "[5]"]),
    (|| x(&[5]).flatten(2), &["flatten", "axis 2", "[5]"]),
    (|| x(&[5]).flip(&[1]), &["flip", "axis 1", "[5]"]),
    (|| x(&[5]).pad(&[], 0.0), &["pad", "[5]"]),
    (|| x(&[5]).pad_general(&[-3], &[-3], &[0], 0.0), &["pad", "3 + 3", "5"]),
    (|| Tensor::concat(&[], 0), &["concat", "at least one"]),
    (|| Tensor::concat(&[x(&[2, 3]), x(&[2, 2])], 0), &["concat", "[2, 3]", "[2, 2]"]),
    (|| Tensor::concat(&[x(&[2, 3]), x(&[2])], 0), &["concat", "[2, 3]", "[2]"]),
    (|| Tensor::concat(&[x(&[2]), i(&[2])], 0), &["concat", "f32", "i32"]),
    (|| x(&[2, 3]).matmul(&x(&[2, 3])), &["matmul", "[2, 3] × [2, 3]", "3", "2", ".t()"]),
    (|| x(&[2, 3]).matmul(&x(&[4, 5])), &["matmul", "[2, 3]", "[4, 5]"]),
    (|| x(&[2, 2, 3]).matmul(&x(&[3, 3, 5])), &["matmul", "[2, 2, 3]", "[3, 3, 5]"]),
    (|| x(&[]).matmul(&x(&[2, 2])), &["matmul", "[]", "[2, 2]"]),
    (|| x(&[2, 2]).gt(0.0).matmul(&x(&[2, 2]).gt(0.0)), &["matmul", "bool"]),
    (|| i(&[2, 2]).matmul(&x(&[2, 2])), &["matmul", "i32", "f32"]),
    (|| x(&[2]).bitwise_and(x(&[2])), &["bit_and", "integers", "f32"]),
    (|| x(&[2]).gt(0.0).shift_left(x(&[2]).gt(0.0)), &["shl", "integers", "bool"]),
    (|| x(&[2]).bitwise_not(), &["bit_xor", "f32"]),
    (|| i(&[2]).asinh(), &["i32"]),
    (|| Tensor::from_slice(&[1.0f32], [2]), &["from_slice", "[2]", "1"]),
    (|| Tensor::iota([2], 1), &["iota", "axis 1", "[2]"]),
    (|| Tensor::uniform(&x(&[4]), 0, [2], DType::F32), &["uniform", "i32 [4]", "f32"]),
    (|| Tensor::uniform(&Tensor::random_key(0, 0), 0, [2], DType::I32), &["uniform", "i32"]),
    (|| x(&[]).softmax(0), &["softmax", "axis 0", "scalar"]),
    (|| i(&[3]).softmax(0), &["softmax", "i32"]),
    (|| x(&[3]).cross_entropy(&i(&[3]), None), &["cross_entropy", "[3]"]),
    (|| x(&[2, 3]).cross_entropy(&i(&[3]), None), &["cross_entropy", "[2]", "[3]"]),
    (|| x(&[2, 3]).cross_entropy(&x(&[2, 2]), None), &["cross_entropy", "[2, 3]", "[2, 2]"]),
    (|| x(&[2, 3]).index_select(2, &i(&[3])), &["index_select", "axis 2", "[2, 3]"]),
    (|| i(&[3]).to_dtype(DType::I8).sum(), &["sum", "i8", "to_dtype"]),
    (|| i(&[2]).to_dtype(DType::I8) + 128, &["128", "i8"]),
    (|| i(&[2]).to_dtype(DType::I64) + i(&[2]), &["add", "i64", "i32"]),
    (|| x(&[2, 3]).index_select(0, &x(&[3])), &["index_select", "i32", "f32"]),
    (
        || x(&[1, 1, 2, 2]).conv2d(&x(&[1, 1, 3, 3]), Conv2dOptions::default()),
        &["conv", "3", "2", "padding"],
    ),
    (
        || x(&[1, 2, 4, 4]).conv2d(&x(&[1, 3, 3, 3]), Conv2dOptions::default()),
        &["conv", "2 input channels", "3"],
    ),
    (
        || x(&[2, 4, 4]).conv2d(&x(&[1, 3, 3, 3]), Conv2dOptions::default()),
        &["conv2d", "[2, 4, 4]", "[1, 3, 3, 3]"],
    ),
    (|| x(&[1, 1, 2, 2]).max_pool2d([3, 3], [1, 1], [0, 0]), &["max_pool", "3", "2"]),
    (|| x(&[1, 1, 2, 2]).avg_pool2d([2, 2], [0, 1], [0, 0], true), &["avg_pool", "stride 0"]),
    (|| x(&[2]).max_pool2d([1, 1], [1, 1], [0, 0]), &["max_pool", "[2]"]),
    (|| grad(&x(&[2]), &[&x(&[2])]).remove(0), &["grad", "[2]", "mean or sum"]),
    (|| grad(&x(&[2]).sum(), &[&x(&[2])]).remove(0), &["grad", "does not depend"]),
    (|| grad(&i(&[1]).sum(), &[&i(&[1])]).remove(0), &["grad", "i32"]),
];

#[test]
fn mistakes_panic_with_operation_shapes_and_rule() {
    for (n, (wrong, words)) in WRONG.iter().enumerate() {
        let message = panic_of(|| wrong().to_vec::<f32>());
        for word in *words {
            assert!(message.contains(word), "case {n}: no `{word}` in: {message}");
        }
    }
}

/// The panic points at the line that made the mistake, not into the library.
#[test]
fn mistakes_panic_at_the_callers_line() {
    use std::sync::{Arc, Mutex};
    let place = Arc::new(Mutex::new(String::new()));
    let (noted, others) = (place.clone(), std::panic::take_hook());
    let here = std::thread::current().id();
    std::panic::set_hook(Box::new(move |info| {
        if std::thread::current().id() == here {
            *noted.lock().unwrap() = info.location().unwrap().to_string();
        } else {
            others(info);
        }
    }));
    let mut elsewhere = Vec::new();
    for (n, (wrong, words)) in WRONG.iter().enumerate() {
        let _ = panic_of(wrong);
        let place = place.lock().unwrap().clone();
        if !place.contains("errors.rs") {
            elsewhere.push(format!("case {n} {words:?}: {place}"));
        }
    }
    drop(std::panic::take_hook());
    assert!(elsewhere.is_empty(), "these panic elsewhere:\n{}", elsewhere.join("\n"));
}
