//! What typical programs are compiled to: snapshots of the instructions, and the facts that must
//! hold however the text changes.
//!
//! A snapshot lists the instructions without what depends on the machine: addresses, numbers of
//! chunks, and the packing of matrices. After a change that is meant, write them anew with
//! `NERVE_SNAPSHOTS=write cargo test -p nerve-core --test plans`, and read the difference.

mod common;

use nerve_core::ops::Conv2dOptions;
use nerve_core::{Arena, DType, Plan, Precision, Tensor, Var, compile, grad};
use std::path::Path;
use std::sync::Arc;

/// One instruction of a plan: its name, where it writes, and what it does.
#[derive(Clone, Debug)]
struct Line {
    name: String,
    to: String,
    detail: String,
}

/// The instructions, read off the text of `explain`.
fn lines(plan: &Plan) -> Vec<Line> {
    let text = plan.explain();
    let parse = |line: &str| {
        let line = line.trim_start().trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
        let (name, rest) = line.split_once(' ')?;
        let (operands, detail) = rest.rsplit_once("  [")?;
        let (to, _) = operands.split_once("<-")?;
        let detail = detail.split(", ").take_while(|part| !part.ends_with(" chunks"));
        Some(Line {
            name: name.to_string(),
            to: to.trim().to_string(),
            detail: detail.collect::<Vec<_>>().join(", "),
        })
    };
    let parsed: Vec<Line> = text.lines().skip(1).filter_map(parse).collect();
    assert!(!parsed.is_empty(), "explain has another form now:\n{text}");
    parsed
}

fn count(plan: &Plan, name: &str) -> usize {
    lines(plan).iter().filter(|l| l.name == name).count()
}

/// Compares the instructions with the stored ones.
#[track_caller]
fn snapshot(name: &str, plan: &Plan) {
    let depends_on_machine = ["pack_b", "sum_parts"];
    let mut text = String::new();
    for line in lines(plan) {
        if !depends_on_machine.contains(&line.name.as_str()) {
            text += &format!("{} [{}]\n", line.name, line.detail);
        }
    }
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(format!("{name}.txt"));
    if std::env::var("NERVE_SNAPSHOTS").is_ok_and(|v| v == "write") {
        std::fs::write(&path, &text).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, stored, "the plan of {name} has changed; see the head of this file");
}

fn random(seed: u64, shape: &[usize]) -> Tensor {
    let key = Tensor::random_key(seed, 0);
    (Tensor::normal(&key, 0, shape, DType::F32) * 0.1).evaluated()
}

const BATCH: usize = 32;

struct Mlp {
    layers: Vec<(Var, Var)>,
}

impl Mlp {
    fn new(extents: &[usize]) -> Mlp {
        let layer = |(i, pair): (usize, &[usize])| {
            let weight = Var::new(format!("fc{i}.weight"), random(i as u64, &[pair[0], pair[1]]));
            (weight, Var::new(format!("fc{i}.bias"), Tensor::zeros([pair[1]])))
        };
        Mlp { layers: extents.windows(2).enumerate().map(layer).collect() }
    }

    fn parameters(&self) -> Vec<Var> {
        self.layers.iter().flat_map(|(w, b)| [w.clone(), b.clone()]).collect()
    }

    fn loss(&self, x: &Tensor, target: &Tensor) -> Tensor {
        let mut h = x.clone();
        for (i, (weight, bias)) in self.layers.iter().enumerate() {
            h = h.matmul(&weight.get()) + bias.get();
            if i + 1 < self.layers.len() {
                h = h.relu();
            }
        }
        h.cross_entropy(target, None).mean()
    }
}

fn signature() -> [(nerve_core::Shape, DType); 2] {
    [([BATCH, 64].into(), DType::F32), ([BATCH].into(), DType::I32)]
}

fn training(step: impl Fn(&Tensor) -> Vec<(Var, Tensor)>, mlp: &Mlp) -> Arc<Plan> {
    let f = compile(|a: &[Tensor]| {
        let loss = mlp.loss(&a[0], &a[1]);
        for (var, value) in step(&loss) {
            var.set(value);
        }
        vec![loss]
    });
    f.plan(&signature())
}

#[test]
fn mlp_with_sgd() {
    let mlp = Mlp::new(&[64, 48, 10]);
    let parameters = mlp.parameters();
    let plan = training(
        |loss| {
            let gradients = grad(loss, &parameters);
            let update = |(p, g): (&Var, Tensor)| (p.clone(), p.get() - g * 0.1);
            parameters.iter().zip(gradients).map(update).collect()
        },
        &mlp,
    );
    // Two products forward, three backward: none for the gradient of the batch.
    assert_eq!(count(&plan, "gemm"), 5, "{}", plan.explain());
    // Bias and activation are applied while the products are stored: no group adds or clips.
    let adds_row = |l: &Line| l.name == "fused" && l.detail.contains("relu");
    assert!(!lines(&plan).iter().any(adds_row), "{}", plan.explain());
    // Every parameter is updated where it lies.
    assert_eq!(count(&plan, "copy"), 0, "{}", plan.explain());
    snapshot("mlp_sgd", &plan);
}

#[test]
fn mlp_with_adam_on_an_arena() {
    let mlp = Mlp::new(&[64, 48, 10]);
    let arena = Arena::new("parameters", &mlp.parameters());
    let zeros = || Tensor::full(arena.var().shape(), 0.0, DType::F32);
    let (m, v) = (Var::new("m", zeros()), Var::new("v", zeros()));
    let rate = Var::new("rate", Tensor::scalar(1e-3f32));
    let plan = training(
        |loss| {
            let g = arena.gather(&grad(loss, arena.parts()));
            let m1 = m.get() * 0.9 + &g * 0.1;
            let v1 = v.get() * 0.999 + g.square() * 0.001;
            let p = arena.var().get() - &m1 / (v1.sqrt() + 1e-8) * rate.get();
            vec![(m.clone(), m1), (v.clone(), v1), (arena.var().clone(), p)]
        },
        &mlp,
    );
    let all = lines(&plan);
    // The whole update is one group with three results.
    let updates: Vec<&Line> = all.iter().filter(|l| l.detail.contains("sqrt")).collect();
    assert_eq!(updates.len(), 1, "{}", plan.explain());
    assert_eq!(updates[0].to.split(", ").count(), 3, "{}", plan.explain());
    assert_eq!(all.last().map(|l| &l.to), Some(&updates[0].to), "the update comes last");
    // Gradients are computed where the update reads them.
    assert_eq!(count(&plan, "copy"), 0, "{}", plan.explain());
    snapshot("mlp_adam", &plan);
}

#[test]
fn layer_norm() {
    let f = compile(|a: &[Tensor]| {
        let (x, scale, shift) = (&a[0], &a[1], &a[2]);
        let centred = x - x.mean_axes(&[-1], true);
        let variance = centred.square().mean_axes(&[-1], true);
        vec![centred * (variance + 1e-5).rsqrt() * scale + shift]
    });
    let row = || ([64].into(), DType::F32);
    let plan = f.plan(&[([BATCH, 64].into(), DType::F32), row(), row()]);
    // Sum; deviations and their squares; scale and shift. Each reads the rows once.
    let big = |l: &&Line| l.detail.contains(&format!("[{BATCH}, 64]"));
    assert!(lines(&plan).iter().filter(big).count() <= 3, "{}", plan.explain());
    assert!(lines(&plan).len() <= 5, "{}", plan.explain());
    assert!(lines(&plan).iter().all(|l| l.name == "fused"), "{}", plan.explain());
    snapshot("layer_norm", &plan);
}

/// x is added to a product, in use: then its place becomes that of the sum.
#[test]
fn a_residual_is_added_where_it_lies() {
    let step = |a: &[Tensor], again: bool| {
        let x = (&a[0] + 1.0).tanh();
        let sum = &x + ((&x * 2.0).matmul(&a[1]) + &a[2]);
        let y = sum.relu().matmul(&a[1]);
        vec![if again { y + &x } else { y }]
    };
    let draw = |shape: &[usize], seed: f32| {
        let count = shape.iter().product::<usize>();
        let values: Vec<f32> = (0..count).map(|i| (i as f32 * seed).sin()).collect();
        Tensor::from_slice(&values, shape)
    };
    let inputs = [draw(&[3, 5, 24], 0.7), draw(&[24, 24], 0.3), draw(&[24], 0.9)];
    let inputs: Vec<&Tensor> = inputs.iter().collect();
    let signature: Vec<_> = inputs.iter().map(|t| (t.shape().clone(), t.dtype())).collect();
    for again in [false, true] {
        let f = compile(move |a: &[Tensor]| step(a, again));
        let plan = f.plan(&signature);
        // Whoever reads x once more finds it: then the sum goes elsewhere.
        let fused = if again { 2 } else { 1 };
        assert_eq!(count(&plan, "gemm"), 2, "{}", plan.explain());
        assert_eq!(count(&plan, "fused"), fused, "{}", plan.explain());
        let found = f.call(&inputs).remove(0).to_vec::<f32>();
        let x = (inputs[0] + 1.0).tanh().evaluated();
        let product = (&x * 2.0).evaluated().matmul(inputs[1]).evaluated();
        let sum = (&x + (&product + inputs[2])).relu().evaluated();
        let y = sum.matmul(inputs[1]).evaluated();
        let expected = if again { y + &x } else { y }.to_vec::<f32>();
        for (f, e) in found.iter().zip(&expected) {
            assert!((f - e).abs() <= 1e-4 * e.abs().max(1.0), "{f}, not {e}");
        }
    }
    // The product may not read what it adds to.
    let f = compile(|a: &[Tensor]| {
        let x = a[0].tanh();
        vec![(&x + x.matmul(&a[1])).exp().matmul(&a[1])]
    });
    let found = f.call(&inputs[..2]).remove(0).to_vec::<f32>();
    let x = inputs[0].tanh().evaluated();
    let expected = (&x + x.matmul(inputs[1]).evaluated()).exp().evaluated().matmul(inputs[1]);
    for (f, e) in found.iter().zip(&expected.to_vec::<f32>()) {
        assert!((f - e).abs() <= 1e-4 * e.abs().max(1.0), "{f}, not {e}");
    }
}

#[test]
fn dropout_draws_its_mask_once_and_keeps_it_in_bytes() {
    let key = Var::new("key", Tensor::random_key(1, 0));
    let f = compile(|a: &[Tensor]| {
        let keep = Tensor::bernoulli(&key.get(), 3, a[0].shape(), 0.5);
        let dropped = keep.select(&(&a[0] * 2.0), &a[0].zeros_like());
        let hidden = dropped.matmul(&a[1]);
        let loss = hidden.square().mean();
        let mut results = grad(&loss, &[&a[0], &a[1]]);
        results.push(loss);
        results
    });
    let plan = f.plan(&[([BATCH, 64].into(), DType::F32), ([64, 16].into(), DType::F32)]);
    let draws = lines(&plan).iter().filter(|l| l.detail.contains("uniform")).count();
    assert_eq!(draws, 1, "forward alone: {}", plan.explain());
    let stored = plan.explain().matches(" bool").count();
    assert_eq!(stored, 1, "one byte an element, for the backward pass: {}", plan.explain());
    snapshot("dropout", &plan);
}

#[test]
fn what_nobody_asks_for_is_not_computed() {
    let f = compile(|a: &[Tensor]| {
        let _unused = a[0].matmul(&a[0].t()).exp().sum();
        let same = (&a[0] * 2.0, &a[0] * 2.0);
        vec![same.0 + same.1]
    });
    let plan = f.plan(&[([8, 8].into(), DType::F32)]);
    assert_eq!(lines(&plan).len(), 1, "{}", plan.explain());
    assert!(!plan.explain().contains("exp"), "{}", plan.explain());
    assert_eq!(plan.arena_bytes(), 0, "{}", plan.explain());
}

/// The gradient adds what it needs to the walk that is there, and nothing is filled with the zeros
/// that most of the gradient of the last state is.
#[test]
fn a_sequence_is_walked_once_each_way() {
    let shapes = [[4, 6, 20], [20, 5, 0]].map(|s| s.into_iter().filter(|&n| n > 0).collect());
    let [x, weights]: [Vec<usize>; 2] = shapes;
    let last = |a: &[Tensor]| {
        let zero = Tensor::zeros([4, 5]);
        a[0].lstm(&a[1], &zero, &zero, false)[1].clone()
    };
    let signature = [(x.into(), DType::F32), (weights.into(), DType::F32)];
    let used = compile(|a: &[Tensor]| vec![last(a)]).plan(&signature);
    assert_eq!(count(&used, "lstm"), 1, "{}", used.explain());
    let trained = compile(|a: &[Tensor]| {
        let loss = last(a).square().sum();
        grad(&loss, &[&a[0], &a[1]])
    });
    let trained = trained.plan(&signature);
    assert_eq!((count(&trained, "lstm"), count(&trained, "lstm_grad")), (1, 1));
    assert_eq!(count(&trained, "gemm"), 1, "{}", trained.explain());
    assert!(trained.arena_bytes() > used.arena_bytes(), "what the gradient needs is kept");
    let fills = lines(&trained).into_iter().filter(|l| l.detail.contains("f32[4, 6, 5]")).count();
    assert_eq!(fills, 0, "{}", trained.explain());
}

#[test]
fn movements_cost_nothing() {
    let f = compile(|a: &[Tensor]| {
        let moved = a[0].t().unsqueeze(0).flip(&[1]).slice(2, 1, 5).squeeze(0);
        vec![moved.exp(), a[0].reshape([4, 16]).t().matmul(&a[1])]
    });
    let plan = f.plan(&[([8, 8].into(), DType::F32), ([4, 4].into(), DType::F32)]);
    let work: Vec<_> = lines(&plan).into_iter().filter(|l| l.name != "pack_b").collect();
    assert_eq!(work.len(), 2, "one group, one product: {}", plan.explain());
}

/// Bias and ReLU are part of the product, whatever axes its rows lie along.
#[test]
fn a_layer_over_sequences_is_one_product() {
    let layer = |a: &[Tensor]| (a[0].matmul(&a[1].t()) + &a[2]).relu();
    let f = compile(move |a| vec![layer(a), layer(a).sum_axes(&[1], false)]);
    let shapes = [[4, 6, 8].into(), [5, 8].into(), [5].into()].map(|shape| (shape, DType::F32));
    let plan = f.plan(&shapes);
    let fused = lines(&plan).iter().filter(|line| line.name == "fused").count();
    assert_eq!(fused, 1, "the sum alone: {}", plan.explain());
    let (x, w, b) = (random(1, &[4, 6, 8]), random(2, &[5, 8]), random(3, &[5]));
    let y = f.call(&[&x, &w, &b]).remove(0);
    assert_eq!(**y.shape(), [4, 6, 5]);
    let (rows, w, b) = (x.to_vec::<f32>(), w.to_vec::<f32>(), b.to_vec::<f32>());
    for (i, y) in y.to_vec::<f32>().into_iter().enumerate() {
        let (row, unit) = (&rows[i / 5 * 8..][..8], i % 5);
        let sum: f32 = row.iter().zip(&w[unit * 8..]).map(|(x, w)| x * w).sum();
        assert!((y - (sum + b[unit]).max(0.0)).abs() < 1e-5);
    }
}

/// Queries, keys and values are read where one product leaves them, and their gradients are written
/// where the gradients of that product read them: nothing is cut, padded or added up.
#[test]
fn attention_copies_nothing() {
    let f = compile(|a: &[Tensor]| {
        let all = a[0].matmul(&a[1]);
        let [q, k, v] = [0, 1, 2]
            .map(|i| all.slice(2, 8 * i, 8 * i + 8).reshape([2, 5, 2, 4]).permute(&[0, 2, 1, 3]));
        let y = q.scaled_dot_product_attention(&k, &v, None, false, None);
        let y = y.permute(&[0, 2, 1, 3]).reshape([2, 5, 8]);
        grad(&y.square().sum(), &[&a[1]])
    });
    let plan = f.plan(&[([2, 5, 8].into(), DType::F32), ([8, 24].into(), DType::F32)]);
    let helpers = ["pack_b", "sum_parts"];
    let work: Vec<Line> =
        lines(&plan).into_iter().filter(|l| !helpers.contains(&l.name.as_str())).collect();
    let names: Vec<&str> = work.iter().map(|l| l.name.as_str()).collect();
    let expected = ["gemm", "attention", "fused", "attention_grad", "gemm"];
    assert_eq!(names, expected, "{}", plan.explain());
}

/// A product whose plain result is wanted too keeps it: nothing is absorbed.
#[test]
fn a_result_is_not_absorbed() {
    let f = compile(|a: &[Tensor]| {
        let plain = a[0].matmul(&a[1]);
        let biased = &plain + &a[2];
        vec![plain, biased.clone(), biased.relu()]
    });
    let (x, w) = (random(1, &[3, 4]), random(2, &[4, 2]));
    let results = f.call(&[&x, &w, &Tensor::from_slice(&[-1.0f32, 1.0], [2])]);
    let plain = x.matmul(&w).to_vec::<f32>();
    let bias = |(i, v): (usize, &f32)| v + if i % 2 == 0 { -1.0 } else { 1.0 };
    let biased: Vec<f32> = plain.iter().enumerate().map(bias).collect();
    let relu: Vec<f32> = biased.iter().map(|v| v.max(0.0)).collect();
    assert_eq!(
        results.iter().map(Tensor::to_vec::<f32>).collect::<Vec<_>>(),
        [plain, biased, relu]
    );
}

/// Long chains reuse their memory: the arena does not grow with the number of steps.
#[test]
fn memory_is_reused() {
    let chain = |steps: usize| {
        let f = compile(move |a: &[Tensor]| {
            let mut x = a[0].clone();
            for _ in 0..steps {
                x = x.matmul(&a[0]).tanh();
            }
            vec![x]
        });
        f.plan(&[([16, 16].into(), DType::F32)]).arena_bytes()
    };
    assert_eq!(chain(4), chain(40));
}

/// A convolution in use: the normalisation behind it goes into filter and bias, both are computed
/// when a variable has changed, and a run does nothing else than convolve.
#[test]
fn what_depends_on_variables_alone_is_computed_when_they_change() {
    let filter = Var::new("filter", random(1, &[6, 4, 3, 3]));
    let scale = Var::new("scale", random(2, &[6]).exp());
    let shift = Var::new("shift", random(3, &[6]));
    let forward = |x: &Tensor| {
        let spread = |var: &Var| var.get().reshape([6, 1, 1]);
        let y = x.conv2d(&filter.get(), Conv2dOptions::default());
        (y * spread(&scale).sqrt() + spread(&shift)).relu()
    };
    let compiled = compile(|a: &[Tensor]| vec![forward(&a[0])]);
    let x = random(4, &[2, 4, 6, 5]);
    let check = || {
        let found = compiled.call(&[&x]).remove(0).to_vec::<f32>();
        // Without the folding, since the product is needed, too.
        let (y, spread) = (x.conv2d(&filter.get(), Conv2dOptions::default()), [6, 1, 1]);
        let scaled = y.evaluated() * scale.get().reshape(spread).sqrt();
        let expected = (scaled + shift.get().reshape(spread)).relu().to_vec::<f32>();
        for (a, b) in found.iter().zip(&expected) {
            assert!((a - b).abs() <= 1e-6, "{a} {b}");
        }
        found
    };
    let first = check();
    let plan = compiled.plan(&[(x.shape().clone(), x.dtype())]);
    let names: Vec<String> = lines(&plan).into_iter().map(|l| l.name).collect();
    assert_eq!(names, ["fused", "conv", "fused"], "a copy in, the convolution, a copy out");
    assert!(plan.explain_standing().is_some_and(|text| text.contains("fused")));
    assert_eq!(check(), first);
    // Each change is seen, and what it does not touch is kept.
    scale.set(scale.get() * 2.0);
    assert_ne!(check(), first);
    filter.set(random(7, &[6, 4, 3, 3]));
    let third = check();
    shift.write(&[0.5f32; 6]);
    assert_ne!(check(), third);
    // A variable that moves into an arena makes another plan.
    let arena = Arena::new("all", &[filter.clone(), scale.clone(), shift.clone()]);
    let moved = check();
    arena.var().set(arena.var().get() * 0.5);
    assert_ne!(check(), moved);
}

/// Calls a layer whose weight `w` stands, and the same with the weight as an argument: the bits are the same for any number of
/// threads, and what was packed is packed anew when the weight has changed. Gives its plan.
fn changes_are_seen(
    layer: impl Fn(&Tensor, &Tensor) -> Tensor,
    [x, w]: [&Tensor; 2],
    precision: Precision,
) -> Arc<Plan> {
    let weight = Var::new("w", w.clone());
    let standing = compile(|a: &[Tensor]| vec![layer(&a[0], &weight.get())]).precision(precision);
    let given = compile(|a: &[Tensor]| vec![layer(&a[0], &a[1])]).precision(precision);
    let check = || {
        let call = || standing.call(&[x]).remove(0).to_vec::<f32>();
        let found = call();
        assert_eq!(found, given.call(&[x, &weight.get()]).remove(0).to_vec::<f32>(), "{x:?}");
        let threads = nerve_core::threads();
        for n in [1, 2, 3] {
            nerve_core::set_threads(n);
            assert_eq!(found, call(), "{x:?}, {n} threads");
        }
        nerve_core::set_threads(threads);
        found
    };
    let before = check();
    let plan = standing.plan(&[(x.shape().clone(), x.dtype())]);
    assert_eq!(count(&plan, "pack_b"), 0, "{}", plan.explain());
    weight.set(weight.get() * 1.5);
    assert_ne!(check(), before);
    plan
}

/// Whether something is packed when it has changed.
fn packs(plan: &Plan) -> bool {
    plan.explain_standing().is_some_and(|text| text.contains("pack_b"))
}

/// A weight `[outputs, inputs]` is packed when it has changed, and the product with the panels gives
/// the bits that it gives without them, for any precision and number of threads.
#[test]
fn weights_are_packed_when_they_change() {
    let (w, b) = (random(1, &[200, 150]), Var::new("b", random(2, &[200])));
    for precision in [Precision::Full, Precision::Bf16] {
        let layer = |x: &Tensor, w: &Tensor| (x.matmul(&w.t()) + b.get()).relu();
        for rows in [1, 5, 16, 33, 130] {
            let x = random(rows as u64, &[rows, 150]);
            let plan = changes_are_seen(layer, [&x, &w], precision);
            assert_eq!(count(&plan, "gemm"), 1, "{}", plan.explain());
            // A few rows are multiplied with the rows of the weight as it lies.
            assert_eq!(packs(&plan), rows > 4, "{rows} rows: {:?}", plan.explain_standing());
        }
    }
}

/// So are filters of convolutions with few pixels, and such as are rounded.
#[test]
fn filters_are_packed_when_they_change() {
    let (w, b) = (random(1, &[75, 40, 3, 3]), Var::new("b", random(2, &[75, 1, 1])));
    let options = Conv2dOptions { stride: [2, 2], padding: [(1, 1); 2], ..Default::default() };
    let layer = |x: &Tensor, w: &Tensor| (x.conv2d(w, options) + b.get()).relu();
    for precision in [Precision::Full, Precision::Bf16] {
        for images in [1, 3, 9] {
            let x = random(images as u64, &[images, 40, 8, 8]);
            let plan = changes_are_seen(layer, [&x, &w], precision);
            assert_eq!(count(&plan, "conv"), 1, "{}", plan.explain());
            // Of many pixels only filters that are rounded.
            let pays = images < 9 || precision == Precision::Bf16;
            assert_eq!(packs(&plan), pays, "{images} images: {:?}", plan.explain_standing());
        }
    }
}

/// Several matrices on the right, in f64; what is one matrix repeated is left as it is.
#[test]
fn batches_of_weights_are_packed() {
    let to_f64 = |t: Tensor| t.to_dtype(DType::F64).evaluated();
    let (w, one) = (random(1, &[3, 20, 30]), random(2, &[1, 20, 30]));
    let (w, one) = (Var::new("w", to_f64(w)), Var::new("one", to_f64(one)));
    let x = to_f64(random(3, &[3, 40, 30]));
    let turned = |t: &Tensor| t.permute(&[0, 2, 1]);
    let product = |x: &Tensor, w: &Tensor, one: &Tensor| {
        vec![x.matmul(&turned(w)), x.matmul(&turned(one).broadcast_to([3, 30, 20]))]
    };
    let standing = compile(|a: &[Tensor]| product(&a[0], &w.get(), &one.get()));
    let found = standing.call(&[&x]);
    let expected = compile(|a| product(&a[0], &a[1], &a[2])).call(&[&x, &w.get(), &one.get()]);
    for (a, b) in found.iter().zip(&expected) {
        assert_eq!(a.to_vec::<f64>(), b.to_vec::<f64>());
    }
    let plan = standing.plan(&[(x.shape().clone(), x.dtype())]);
    let text = plan.explain_standing().unwrap_or_default();
    assert_eq!(text.matches("pack_b").count(), 1, "{text}");
}

/// What the step writes does not stand.
#[test]
fn what_a_step_changes_is_computed_in_every_run() {
    let (w, fixed) = (Var::new("w", Tensor::ones([3])), Var::new("fixed", Tensor::ones([3])));
    let step = compile(|_: &[Tensor]| {
        let y = w.get().exp() * fixed.get().exp();
        w.set(w.get() * 0.5);
        vec![y]
    });
    let values = [step.call(&[]).remove(0), step.call(&[]).remove(0)].map(|t| t.to_vec::<f32>()[0]);
    let e = 1f32.exp();
    assert!((values[0] - e * e).abs() < 1e-5 && (values[1] - e * 0.5f32.exp()).abs() < 1e-5);
    let text = step.plan(&[]).explain_standing().unwrap_or_default().to_string();
    assert!(text.matches("exp").count() == 1, "{text}");
}

/// Branches of convolutions are put together with their channels where convolutions want them: a copy of
/// each branch, and nothing else between the convolutions.
#[test]
fn branches_of_convolutions_are_copied_once() {
    let x = random(1, &[2, 3, 9, 9]);
    let (a, b, last) =
        (random(2, &[8, 3, 1, 1]), random(3, &[4, 3, 1, 1]), random(4, &[5, 12, 1, 1]));
    let plain = Conv2dOptions::default();
    let (first, second, after) = (a.clone(), b.clone(), last.clone());
    let net = compile(move |inputs: &[Tensor]| {
        let branches = [&first, &second].map(|w| inputs[0].conv2d(w, plain).relu());
        vec![Tensor::concat(&branches, 1).conv2d(&after, plain)]
    });
    let plan = net.plan(&[(x.shape().clone(), DType::F32)]);
    let names: Vec<String> = lines(&plan).into_iter().map(|line| line.name).collect();
    let copies = names.iter().filter(|name| *name == "fused" || *name == "copy").count();
    assert_eq!(count(&plan, "conv"), 3, "{}", plan.explain());
    assert_eq!(copies, 4, "in, each branch, out: {}", plan.explain());
    // The same one branch after the other: the filter behind them, cut in two.
    let parts = [(a, last.slice(1, 0, 8)), (b, last.slice(1, 8, 12))];
    let [one, two] = parts.map(|(w, after)| x.conv2d(&w, plain).relu().conv2d(&after, plain));
    let (found, expected) = (net.call(&[&x]), one + two);
    let pairs = found[0].to_vec::<f32>().into_iter().zip(expected.to_vec::<f32>());
    pairs.for_each(|(f, e)| assert!((f - e).abs() < 1e-4, "{f} for {e}"));
}

/// Channels in another order between two convolutions: one copy.
#[test]
fn channels_are_shuffled_in_one_pass() {
    let x = random(1, &[1, 6, 5, 7]);
    let w = random(2, &[6, 1, 3, 3]);
    let options = Conv2dOptions { groups: 6, ..Conv2dOptions::default() };
    let filter = w.clone();
    let net = compile(move |inputs: &[Tensor]| {
        let y = inputs[0].conv2d(&filter, options);
        let y = y.reshape([1, 2, 3, 3, 5]).permute(&[0, 2, 1, 3, 4]).reshape([1, 6, 3, 5]);
        vec![y.conv2d(&filter, options)]
    });
    let plan = net.plan(&[(x.shape().clone(), DType::F32)]);
    assert_eq!(count(&plan, "conv"), 2, "{}", plan.explain());
    assert_eq!(lines(&plan).len(), 5, "in, shuffle, out: {}", plan.explain());
    // The same with the filters in the other order, and one permutation of the result.
    let places = [0, 3, 1, 4, 2, 5];
    let filters: Vec<Tensor> = (0..6).map(|i| w.slice(0, i, i + 1)).collect();
    let mut second = filters.clone();
    places.iter().zip(&filters).for_each(|(&from, filter)| second[from] = filter.clone());
    let y = x.conv2d(&w, options).conv2d(&Tensor::concat(&second, 0), options);
    let moved: Vec<Tensor> = places.iter().map(|&from| y.slice(1, from, from + 1)).collect();
    let (found, expected) = (net.call(&[&x]), Tensor::concat(&moved, 1));
    let pairs = found[0].to_vec::<f32>().into_iter().zip(expected.to_vec::<f32>());
    pairs.for_each(|(f, e)| assert!((f - e).abs() < 1e-4, "{f} for {e}"));
}

/// What a convolution gives and a pooling alone reads is not stored; where somebody else reads it too, it is.
#[test]
fn a_convolution_pools_its_result() {
    let x = random(1, &[8, 3, 12, 12]);
    let w = random(2, &[16, 3, 3, 3]);
    let filter = w.clone();
    let same = Conv2dOptions { padding: [(1, 1); 2], ..Conv2dOptions::default() };
    let pooled = |y: &Tensor| y.relu().max_pool2d([2, 2], [2, 2], [0, 0]);
    let net = compile(move |inputs: &[Tensor]| vec![pooled(&inputs[0].conv2d(&filter, same))]);
    let plan = net.plan(&[(x.shape().clone(), DType::F32)]);
    let names: Vec<String> = lines(&plan).into_iter().map(|line| line.name).collect();
    assert_eq!(names, ["fused", "conv_pool", "fused"], "{}", plan.explain());
    let filter = w.clone();
    let both = compile(move |inputs: &[Tensor]| {
        let y = inputs[0].conv2d(&filter, same);
        vec![pooled(&y), y]
    });
    let plan = both.plan(&[(x.shape().clone(), DType::F32)]);
    assert_eq!([count(&plan, "conv"), count(&plan, "max_pool")], [1, 1], "{}", plan.explain());
    let (found, expected) = (net.call(&[&x]), both.call(&[&x]));
    assert_eq!(found[0].to_vec::<f32>(), expected[0].to_vec::<f32>());
    // Of a gradient places are asked for, and the pooling needs all that it reads.
    let step = compile(move |inputs: &[Tensor]| {
        let loss = pooled(&inputs[0].conv2d(&w, same)).sum();
        grad(&loss, &[&inputs[0]])
    });
    let plan = step.plan(&[(x.shape().clone(), DType::F32)]);
    assert_eq!(count(&plan, "conv_pool"), 0, "{}", plan.explain());
}
