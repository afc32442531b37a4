//! Masks, attention and decoders against values from PyTorch: see `golden/make_sequences.py`.

mod common;

use nerve_core::{DType, Tensor, compile, grad};
use nerve_formats::safetensors::SafeTensors;
use nerve_nn::activations::Gelu;
use nerve_nn::layers::{
    AdditiveAttention, AttentionOptions, AttentionPooling, AttentionPosition, Conv2dOptions,
    ConvLstm2d, DotAttention, Embedding, Gru, Lstm, Masking, Merge, MultiHeadAttention, Padding,
    RecurrentOptions, Rnn, RotaryEmbedding, Score, SequencePooling, Sequential, TransformerDecoder,
    TransformerDecoderLayer, TransformerEncoder, TransformerOptions,
};
use nerve_nn::{Context, Layer, Params};
use std::sync::LazyLock;

static GOLDEN: LazyLock<SafeTensors> = LazyLock::new(|| {
    SafeTensors::from_bytes("sequences", include_bytes!("golden/sequences.safetensors")).unwrap()
});

/// What Keras gives: see `golden/make_conv_lstm.py`.
static CONV_LSTM: LazyLock<SafeTensors> = LazyLock::new(|| {
    SafeTensors::from_bytes("conv_lstm", include_bytes!("golden/conv_lstm.safetensors")).unwrap()
});

fn names() -> impl Iterator<Item = &'static str> {
    GOLDEN.names().chain(CONV_LSTM.names())
}

fn golden(name: &str, dtype: DType) -> Tensor {
    let stored = GOLDEN.tensor(name).or_else(|_| CONV_LSTM.tensor(name)).unwrap();
    common::golden::read(&stored, dtype)
}

#[track_caller]
fn close(found: &Tensor, name: &str) {
    common::golden::near(found, &golden(name, DType::F64), [1e-13, 2e-6], name);
}

/// Sets all parameters to the golden ones, which have the same names, and compares the output, all
/// gradients, and what else `run` gives under the names of `more`.
fn check<L>(
    name: &str,
    more: &[&str],
    build: impl Fn(&Params) -> L,
    run: impl Fn(&L, &[Tensor], &Context) -> Vec<Tensor>,
) {
    for dtype in [DType::F64, DType::F32] {
        let params = Params::with_dtype(1, dtype);
        let layer = build(&params);
        let trainable = params.trainable();
        for var in &trainable {
            var.set(golden(&format!("{name}/{}", var.name()), dtype));
        }
        let kept = names().filter(|n| n.starts_with(&format!("{name}/d."))).count();
        assert_eq!(kept, trainable.len(), "{name}: number of parameters");
        let stored = |x: &&&str| names().any(|n| n == format!("{name}/{x}"));
        let inputs: Vec<&str> = ["x", "memory", "third"].iter().filter(stored).copied().collect();
        let step = compile(|args: &[Tensor]| {
            let mut results = run(&layer, &args[1..], &Context::eval());
            let loss = (&results[0] * &args[0]).sum();
            results.extend(grad(&loss, &args[1..]));
            if !trainable.is_empty() {
                results.extend(grad(&loss, &trainable));
            }
            results
        });
        let arguments = ["dy"].iter().chain(&inputs).map(|x| golden(&format!("{name}/{x}"), dtype));
        let arguments: Vec<Tensor> = arguments.collect();
        let results = step.call(&arguments.iter().collect::<Vec<_>>());
        let names = ["y"].iter().chain(more).map(|x| x.to_string());
        let names = names
            .chain(inputs.iter().map(|x| format!("d{x}")))
            .chain(trainable.iter().map(|var| format!("d.{}", var.name())));
        for (result, what) in results.iter().zip(names) {
            close(result, &format!("{name}/{what}"));
        }
    }
}

fn normal(shape: &[usize], stream: u32) -> Tensor {
    Tensor::normal(&Tensor::random_key(7, 7), stream, shape, DType::F32).evaluated()
}

fn indices(values: &[i32], shape: [usize; 2]) -> Tensor {
    Tensor::from_slice(values, shape)
}

#[track_caller]
fn assert_close(a: &Tensor, b: &Tensor) {
    assert_eq!(a.shape(), b.shape());
    for (a, b) in a.to_vec::<f32>().iter().zip(b.to_vec::<f32>()) {
        assert!((a - b).abs() < 2e-6, "{a} {b}");
    }
}

const DEEP: RecurrentOptions = RecurrentOptions {
    layers: 2,
    bidirectional: true,
    merge: Merge::Concat,
    dropout: 0.0,
    bias: true,
    return_sequences: true,
};

/// The lengths of the packed sequences.
fn packed<'a>(x: &'a [Tensor], cx: &Context) -> &'a Tensor {
    let lengths = Tensor::from_slice(&[5i32, 2, 3], [3]);
    cx.set_mask(&x[0], &Context::lengths_mask(&lengths, 6));
    &x[0]
}

#[test]
fn recurrent_layers_with_lengths() {
    check(
        "packed_lstm",
        &["h", "c"],
        |params| Lstm::new(params, 3, 4, DEEP),
        |layer, x, cx| layer.with_states(packed(x, cx), None, None, cx).into(),
    );
    check(
        "packed_gru",
        &["h"],
        |params| Gru::new(params, 3, 4, DEEP),
        |layer, x, cx| layer.with_states(packed(x, cx), None, cx).into(),
    );
    check(
        "packed_rnn",
        &["h"],
        |params| Rnn::new(params, 3, 4, false, DEEP),
        |layer, x, cx| layer.with_states(packed(x, cx), None, cx).into(),
    );
}

#[test]
fn convolutions_that_remember() {
    let same = Conv2dOptions { padding: Padding::Same, ..Conv2dOptions::default() };
    check(
        "conv_lstm",
        &[],
        |params| ConvLstm2d::new(params, 1, 2, [3, 2], same, true),
        |layer, x, cx| vec![layer.forward(&x[0], cx)],
    );
    let strided = Conv2dOptions { stride: [2, 1], ..Conv2dOptions::default() };
    check(
        "conv_lstm_last",
        &[],
        |params| ConvLstm2d::new(params, 2, 2, [3, 2], strided, false),
        |layer, x, cx| {
            let lengths = Tensor::from_slice(&[3i32, 2], [2]);
            cx.set_mask(&x[0], &Context::lengths_mask(&lengths, 3));
            vec![layer.forward(&x[0], cx)]
        },
    );
}

#[test]
fn gaps_are_passed_over_wherever_they_are() {
    let params = Params::new(1);
    let options = RecurrentOptions { bidirectional: true, ..DEEP };
    let lstm = Lstm::new(&params, 2, 3, options);
    let (x, cx) = (normal(&[2, 5, 2], 0), Context::eval());
    // The first sequence has a gap, the second has no steps at all.
    let mask = indices(&[1, 0, 0, 1, 1, 0, 0, 0, 0, 0], [2, 5]).ne(0);
    let [h0, c0] = [1, 2].map(|stream| normal(&[4, 2, 3], stream));
    cx.set_mask(&x, &mask);
    let [y, h, c] = lstm.with_states(&x, Some(&h0), Some(&c0), &cx);
    let row = |t: &Tensor, i: usize| t.slice(1, i, i + 1);
    let x = x.slice(0, 0, 1);
    let without = Tensor::concat(&[x.slice(1, 0, 1), x.slice(1, 3, 5)], 1);
    let [expected_y, expected_h, expected_c] =
        lstm.with_states(&without, Some(&row(&h0, 0)), Some(&row(&c0, 0)), &cx);
    let (first, second) = (y.slice(0, 0, 1), y.slice(0, 1, 2));
    assert_close(&Tensor::concat(&[first.slice(1, 0, 1), first.slice(1, 3, 5)], 1), &expected_y);
    assert!(first.slice(1, 1, 3).to_vec::<f32>().iter().all(|&v| v == 0.0));
    assert!(second.to_vec::<f32>().iter().all(|&v| v == 0.0));
    assert_close(&row(&h, 0), &expected_h);
    assert_close(&row(&c, 0), &expected_c);
    assert_eq!(row(&h, 1).to_vec::<f32>(), row(&h0, 1).to_vec::<f32>(), "nothing has happened");
    assert_eq!(row(&c, 1).to_vec::<f32>(), row(&c0, 1).to_vec::<f32>());
}

#[test]
fn the_number_of_threads_changes_no_bit_of_a_masked_walk() {
    let x = normal(&[5, 9, 3], 0);
    let run = |threads| {
        nerve_core::set_threads(threads);
        let params = Params::new(1);
        let lstm = Lstm::new(&params, 3, 40, DEEP);
        let step = compile(|args: &[Tensor]| {
            let cx = Context::eval();
            let lengths = Tensor::from_slice(&[9i32, 2, 3, 0, 7], [5]);
            cx.set_mask(&args[0], &Context::lengths_mask(&lengths, 9));
            let mut vars = params.trainable();
            vars.truncate(4);
            grad(&lstm.forward(&args[0], &cx).square().sum(), &vars)
        });
        let results = step.call(&[&x]);
        results.iter().flat_map(Tensor::to_vec::<f32>).map(f32::to_bits).collect::<Vec<u32>>()
    };
    let one = run(1);
    assert!([2, 3].map(run).iter().all(|other| *other == one));
}

#[test]
fn both_directions_are_put_together_as_asked() {
    let x = normal(&[2, 4, 3], 0);
    let run = |merge, return_sequences| {
        let options = RecurrentOptions { merge, return_sequences, layers: 1, ..DEEP };
        Gru::new(&Params::new(3), 3, 2, options).forward(&x, &Context::eval())
    };
    for sequences in [false, true] {
        let both = run(Merge::Concat, sequences);
        let axis = both.rank() as isize - 1;
        let (a, b) = (both.slice(axis, 0, 2), both.slice(axis, 2, 4));
        assert_close(&run(Merge::Sum, sequences), &(&a + &b));
        assert_close(&run(Merge::Mul, sequences), &(&a * &b));
        assert_close(&run(Merge::Ave, sequences), &((&a + &b) * 0.5));
    }
}

#[test]
fn attention_passes_over_what_a_mask_denies() {
    let build = |params: &Params| MultiHeadAttention::new(params, 6, 2);
    check("padded_attention", &[], build, |layer, x, cx| {
        let lengths = Tensor::from_slice(&[3i32, 5], [2]);
        cx.set_mask(&x[0], &Context::lengths_mask(&lengths, 5));
        vec![layer.forward(&x[0], cx)]
    });
    let bias = |dtype| golden("biased_attention/bias", dtype);
    let (single, double) = (bias(DType::F32), bias(DType::F64));
    check("biased_attention", &[], build, |layer, x, cx| {
        let bias = if x[0].dtype() == DType::F32 { &single } else { &double };
        vec![layer.attend_itself(&x[0], Some(bias), cx)]
    });
}

#[test]
fn keys_and_values_of_fewer_heads() {
    check(
        "grouped_query",
        &[],
        |_| (),
        |_, x, _| vec![x[0].scaled_dot_product_attention(&x[1], &x[2], None, true, None)],
    );
    // One query alone goes another way.
    let (q, k) = (normal(&[2, 4, 1, 3], 0), normal(&[2, 2, 5, 3], 1));
    let mask = Tensor::iota([2, 1, 1, 5], 3).lt(3);
    for mask in [mask.clone(), normal(&[4, 1, 5], 2)] {
        let one = q.scaled_dot_product_attention(&k, &k, Some(&mask), false, None);
        let all = k.repeat_interleave(2, 1);
        assert_close(&one, &q.scaled_dot_product_attention(&all, &all, Some(&mask), false, None));
    }
}

#[test]
fn decoders_look_back_and_at_a_memory() {
    for (name, norm_first) in [("post_norm", false), ("pre_norm", true)] {
        let options = TransformerOptions { norm_first, ..TransformerOptions::new(2, 7) };
        let activate = |layer: &mut TransformerDecoderLayer| {
            if norm_first {
                layer.feed_forward.activation = Box::new(Gelu);
            }
        };
        let set_mask = |memory: &Tensor, cx: &Context| {
            cx.set_mask(memory, &Context::lengths_mask(&Tensor::from_slice(&[3i32, 2], [2]), 4));
        };
        let build = |params: &Params| {
            let mut layer = TransformerDecoderLayer::new(params, 6, options);
            activate(&mut layer);
            layer
        };
        check(&format!("{name}_decoder_layer"), &[], build, |layer, x, cx| {
            set_mask(&x[1], cx);
            vec![layer.forward_with_memory(&x[0], &x[1], cx)]
        });
        let build = |params: &Params| {
            let mut decoder = TransformerDecoder::new(params, 6, 2, options);
            decoder.layers.iter_mut().for_each(activate);
            decoder
        };
        check(&format!("{name}_decoder"), &[], build, |decoder, x, cx| {
            set_mask(&x[1], cx);
            vec![decoder.forward_with_memory(&x[0], &x[1], cx)]
        });
    }
}

#[test]
fn shares_are_those_that_the_values_are_taken_with() {
    let options = AttentionOptions { kv_heads: Some(2), ..AttentionOptions::new(4) };
    let layer = MultiHeadAttention::with_options(&Params::new(2), 8, options);
    let (x, cx) = (normal(&[2, 3, 8], 0), Context::eval());
    let mask = Tensor::iota([3], 0).lt(2);
    let shares = layer.shares(&x, &x, Some(&mask));
    let [_, v] = layer.keys_values(&x, &x);
    let y = shares.matmul(&v.repeat_interleave(2, 1)).permute(&[0, 2, 1, 3]).reshape([2, 3, 8]);
    let expected = layer.attend(&x, &x, &x, Some(&mask), &cx);
    assert_close(&layer.out_proj.forward(&y, &cx), &expected);
    assert!(shares.slice(3, 2, 3).to_vec::<f32>().iter().all(|&share| share == 0.0));
}

/// A sequence that comes piece by piece gives what it gives as a whole.
#[test]
fn a_cache_of_keys_and_values_changes_nothing() {
    let turned = AttentionPosition::Rotary(RotaryEmbedding::default());
    for (kv_heads, position) in
        [(None, AttentionPosition::None), (Some(2), turned), (Some(1), AttentionPosition::Alibi)]
    {
        let options =
            AttentionOptions { kv_heads, position, causal: true, ..AttentionOptions::new(4) };
        let layer = MultiHeadAttention::with_options(&Params::new(2), 8, options);
        let (x, cx) = (normal(&[2, 6, 8], 0), Context::eval());
        let whole = layer.forward(&x, &cx);
        let (mut cache, mut pieces, mut at) = (layer.empty_cache(2, 9), vec![], 0);
        for count in [3, 1, 2] {
            let place = Tensor::from_slice(&[at as i32], [1]);
            let piece = x.slice(1, at, at + count);
            let (y, after) = layer.attend_cached(&piece, &place, &cache, &cx);
            pieces.push(y);
            (cache, at) = (after, at + count);
        }
        assert_close(&Tensor::concat(&pieces, 1), &whole);
    }
}

/// Scores from a loop over all pairs.
#[test]
fn attention_with_other_scores() {
    let (q, k, v) = (normal(&[2, 3, 4], 0), normal(&[2, 5, 2], 1), normal(&[2, 5, 3], 2));
    let params = Params::new(4);
    let additive = AdditiveAttention::new(&params.at("additive"), 4, 2, 6);
    let general = DotAttention::new(&params.at("general"), 4, 2, Score::General);
    let seen = Context::lengths_mask(&Tensor::from_slice(&[5i32, 2], [2]), 5);
    let mask = seen.unsqueeze(1);
    let cx = Context::eval();
    let results =
        [additive.attend(&q, &k, &v, Some(&mask), &cx), general.attend(&q, &k, &v, Some(&mask))]
            .map(|y| y.to_vec::<f32>());
    let [q, k, v] = [q, k, v].map(|t| t.to_vec::<f32>());
    let (wq, wk) = (additive.query.weight.to_vec::<f32>(), additive.key.weight.to_vec::<f32>());
    let (units, weight) =
        (additive.v.to_vec::<f32>(), general.weight.as_ref().unwrap().to_vec::<f32>());
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    for batch in 0..2 {
        for query in 0..3 {
            let q = &q[(batch * 3 + query) * 4..][..4];
            let keys = if batch == 0 { 5 } else { 2 };
            for (kind, result) in results.iter().enumerate() {
                let shares: Vec<f32> = (0..keys)
                    .map(|key| {
                        let k = &k[(batch * 5 + key) * 2..][..2];
                        let score: f32 = match kind {
                            0 => (0..6)
                                .map(|u| {
                                    let sum = dot(&wq[u * 4..][..4], q) + dot(&wk[u * 2..][..2], k);
                                    units[u] * sum.tanh()
                                })
                                .sum(),
                            _ => (0..4).map(|i| q[i] * dot(&weight[i * 2..][..2], k)).sum(),
                        };
                        score.exp()
                    })
                    .collect();
                let total: f32 = shares.iter().sum();
                for feature in 0..3 {
                    let at = |key: usize| v[(batch * 5 + key) * 3 + feature];
                    let expected: f32 =
                        shares.iter().enumerate().map(|(key, s)| s / total * at(key)).sum();
                    let found = result[(batch * 3 + query) * 3 + feature];
                    assert!((found - expected).abs() < 1e-5, "{kind}: {found} {expected}");
                }
            }
        }
    }
}

/// What a sequence gives does not depend on how far it is filled up, from the words to the result.
#[test]
fn a_network_does_not_see_what_fills_up() {
    let params = Params::new(5);
    let options = TransformerOptions { causal: false, ..TransformerOptions::new(2, 8) };
    let init = nerve_nn::init::Normal { mean: 0.0, std: 1.0 };
    let gru = RecurrentOptions { bidirectional: true, ..RecurrentOptions::default() };
    let sequences = RecurrentOptions { return_sequences: true, ..gru };
    type Tail = Box<dyn Fn(&Params) -> Box<dyn Layer>>;
    let tails: [Tail; 6] = [
        Box::new(|p| Box::new(AttentionPooling::new(p, 6))),
        Box::new(|_| Box::new(SequencePooling::Mean)),
        Box::new(|_| Box::new(SequencePooling::Max)),
        Box::new(|_| Box::new(SequencePooling::Last)),
        Box::new(|_| Box::new(SequencePooling::First)),
        Box::new(move |p| Box::new(Gru::new(p, 6, 4, gru))),
    ];
    for (i, tail) in tails.iter().enumerate() {
        let at = params.at(i);
        let model = Sequential::new(vec![
            Box::new(Embedding::with_padding(&at.at("words"), 9, 6, &init, 0)),
            Box::new(TransformerEncoder::new(&at.at("encoder"), 6, 2, options)),
            Box::new(Lstm::new(&at.at("lstm"), 6, 3, sequences)),
            tail(&at.at("tail")),
        ]);
        let cx = Context::eval();
        let whole = model.forward(&indices(&[3, 1, 4, 1, 5, 9 - 1, 2, 0, 0, 0, 0, 0], [2, 6]), &cx);
        let short = model.forward(&indices(&[8 - 6, 0], [1, 2]), &cx);
        let long = model.forward(&indices(&[3, 1, 4, 1, 5, 8], [1, 6]), &cx);
        assert_close(&whole.slice(0, 0, 1), &long);
        assert_close(&whole.slice(0, 1, 2), &short);
        // Nothing at all is a result too.
        let empty = model.forward(&indices(&[0, 0, 0], [1, 3]), &cx).to_vec::<f32>();
        assert!(empty.iter().all(|v| v.is_finite()), "{i}: {empty:?}");
    }
}

#[test]
fn masking_makes_a_mask_and_the_padding_row_is_not_learned() {
    let params = Params::new(5);
    let lstm = Lstm::new(&params, 2, 3, RecurrentOptions::default());
    let model = Sequential::new(vec![Box::new(Masking { value: 9.0 }), Box::new(lstm)]);
    let x = normal(&[1, 3, 2], 0);
    let cx = Context::eval();
    let filled = Tensor::concat(&[x.clone(), x.full_like(9.0)], 1);
    assert_close(&model.forward(&filled, &cx), &model.forward(&x, &cx));

    let init = nerve_nn::init::Ones;
    let words = Embedding::with_padding(&params.at("words"), 4, 2, &init, 2);
    let run = compile(|args: &[Tensor]| {
        let y = words.forward(&args[0], &Context::eval());
        let gradient = grad(&y.sum(), &[&words.weight]).remove(0);
        vec![y, gradient]
    });
    let results = run.call(&[&indices(&[1, 2, 2, 1], [1, 4])]);
    assert_eq!(results[0].to_vec::<f32>(), [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0]);
    assert_eq!(results[1].to_vec::<f32>(), [0.0, 0.0, 2.0, 2.0, 0.0, 0.0, 0.0, 0.0]);
}
