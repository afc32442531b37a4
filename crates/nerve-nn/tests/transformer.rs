//! Attention and transformer layers against values from PyTorch: see `golden/make_transformer.py`.

mod common;

use nerve_core::{DType, Tensor, compile, grad};
use nerve_formats::safetensors::SafeTensors;
use nerve_nn::activations::Gelu;
use nerve_nn::layers::{
    MultiHeadAttention, TransformerEncoder, TransformerEncoderLayer, TransformerOptions,
};
use nerve_nn::{Context, Layer, Params};
use std::sync::LazyLock;

static GOLDEN: LazyLock<SafeTensors> = LazyLock::new(|| {
    SafeTensors::from_bytes("transformer", include_bytes!("golden/transformer.safetensors"))
        .unwrap()
});

fn golden(name: &str, dtype: DType) -> Tensor {
    common::golden::read(&GOLDEN.tensor(name).unwrap(), dtype)
}

#[track_caller]
fn close(found: &Tensor, name: &str) {
    common::golden::near(found, &golden(name, DType::F64), [1e-13, 2e-6], name);
}

/// Sets all parameters to the golden ones, which have the same names, and compares the output and
/// all gradients.
fn check<L>(
    name: &str,
    build: impl Fn(&Params) -> L,
    run: impl Fn(&L, &[Tensor], &Context) -> Tensor,
) {
    for dtype in [DType::F64, DType::F32] {
        let params = Params::with_dtype(1, dtype);
        let layer = build(&params);
        let trainable = params.trainable();
        for var in &trainable {
            var.set(golden(&format!("{name}/{}", var.name()), dtype));
        }
        let kept = GOLDEN.names().filter(|n| n.starts_with(&format!("{name}/d."))).count();
        assert_eq!(kept, trainable.len(), "{name}: number of parameters");
        let has_memory = GOLDEN.tensor(&format!("{name}/memory")).is_ok();
        let inputs: &[&str] = if has_memory { &["x", "memory"] } else { &["x"] };
        let step = compile(|args: &[Tensor]| {
            let y = run(&layer, &args[1..], &Context::eval());
            let loss = (&y * &args[0]).sum();
            let mut results = vec![y];
            results.extend(grad(&loss, &args[1..]));
            results.extend(grad(&loss, &trainable));
            results
        });
        let arguments = ["dy"].iter().chain(inputs).map(|x| golden(&format!("{name}/{x}"), dtype));
        let arguments: Vec<Tensor> = arguments.collect();
        let results = step.call(&arguments.iter().collect::<Vec<_>>());
        let outputs = ["y".to_string()].into_iter();
        let names = outputs
            .chain(inputs.iter().map(|x| format!("d{x}")))
            .chain(trainable.iter().map(|var| format!("d.{}", var.name())));
        for (result, what) in results.iter().zip(names) {
            close(result, &format!("{name}/{what}"));
        }
    }
}

const FEATURES: usize = 6;

#[test]
fn attention_of_a_sequence_to_itself() {
    let build = |params: &Params| MultiHeadAttention::new(params, FEATURES, 2);
    check("self_attention", build, |layer, x, cx| layer.forward(&x[0], cx));
    // The same as if it were another sequence.
    check("self_attention", build, |layer, x, cx| layer.attend(&x[0], &x[0], &x[0], None, cx));
    let build = |params: &Params| {
        let layer = MultiHeadAttention::with_bias(params, FEATURES, 2, false);
        MultiHeadAttention { causal: true, ..layer }
    };
    check("causal_attention", build, |layer, x, cx| layer.forward(&x[0], cx));
}

#[test]
fn attention_to_another_sequence_with_padding() {
    check(
        "cross_attention",
        |params| MultiHeadAttention::new(params, FEATURES, 2),
        |layer, x, cx| {
            let real = Tensor::from_slice(&[3i32, 2], [2, 1]);
            let padding = Tensor::iota([2, 4], 1).ge(&real);
            let mask = MultiHeadAttention::padding_mask(&padding);
            layer.attend(&x[0], &x[1], &x[1], Some(&mask), cx)
        },
    );
}

#[test]
fn layers_with_the_norm_behind_and_with_the_norm_first() {
    let options = TransformerOptions::new(2, 7);
    check(
        "post_norm_layer",
        |params| TransformerEncoderLayer::new(params, FEATURES, options),
        |layer, x, cx| layer.forward(&x[0], cx),
    );
    check(
        "post_norm_encoder",
        |params| TransformerEncoder::new(params, FEATURES, 2, options),
        |layer, x, cx| layer.forward(&x[0], cx),
    );
    let options = TransformerOptions { norm_first: true, ..options };
    check(
        "pre_norm_layer",
        |params| {
            let mut layer = TransformerEncoderLayer::new(params, FEATURES, options);
            layer.feed_forward.activation = Box::new(Gelu);
            layer
        },
        |layer, x, cx| layer.forward(&x[0], cx),
    );
    check(
        "pre_norm_encoder",
        |params| {
            let mut encoder = TransformerEncoder::new(params, FEATURES, 2, options);
            for layer in &mut encoder.layers {
                layer.feed_forward.activation = Box::new(Gelu);
            }
            encoder
        },
        |layer, x, cx| layer.forward(&x[0], cx),
    );
}

/// Cutting connections goes by another way through the graph, which must say the same where none
/// is cut.
#[test]
fn dropout_of_attention_changes_nothing_when_the_network_is_used() {
    let params = Params::new(3);
    let plain = MultiHeadAttention::new(&params, 8, 2);
    let x = Tensor::normal(&Tensor::random_key(1, 1), 0, [2, 5, 8], DType::F32).evaluated();
    let used = plain.forward(&x, &Context::eval()).to_vec::<f32>();
    // So small a share that nothing is cut.
    let layer = MultiHeadAttention { causal: false, dropout: 1e-12, ..plain };
    assert_eq!(layer.forward(&x, &Context::eval()).to_vec::<f32>(), used);
    let trained = layer.forward(&x, &Context::train(&Tensor::random_key(1, 2))).to_vec::<f32>();
    for (a, b) in trained.iter().zip(&used) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
    let half = MultiHeadAttention { dropout: 0.5, ..layer };
    let train = |step| half.forward(&x, &Context::train(&Tensor::random_key(1, step)));
    assert_ne!(train(1).to_vec::<f32>(), train(2).to_vec::<f32>());
}
