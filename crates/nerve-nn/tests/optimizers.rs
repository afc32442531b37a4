//! Every optimizer of the registry, from its samples; values and wrappers against PyTorch: see
//! `golden/make_optim.py`.

mod common;

use nerve_core::{DType, Tensor, Var, compile};
use nerve_formats::safetensors::SafeTensors;
use nerve_formats::spec::{Args, Item, Value};
use nerve_nn::init::{Constant, Ones, Zeros};
use nerve_nn::optim::{
    Accumulated, Adadelta, Adafactor, Adagrad, Adam, AdamW, Adamax, Average, Averaged, Clip,
    Clipped, Entry, Group, Lamb, Lion, Lookahead, Muon, NAdam, Optimizer, RAdam, REGISTRY, RmsProp,
    Sam, Sgd, build,
};
use nerve_nn::{Params, state};
use std::sync::LazyLock;

static GOLDEN: LazyLock<SafeTensors> = LazyLock::new(|| {
    SafeTensors::from_bytes("optim", include_bytes!("golden/optim.safetensors")).unwrap()
});

fn golden(name: &str) -> Vec<f64> {
    GOLDEN.tensor(name).unwrap().to_f64().unwrap()
}

const SIZE: usize = 17;

/// The parameters of the golden files: a vector of 5 and a matrix of 4 by 3.
fn start(dtype: DType) -> (Params, [Var; 2]) {
    let params = Params::with_dtype(1, dtype);
    let vars = [params.var("v", [5], &Zeros), params.var("m", [4, 3], &Zeros)];
    let all = Tensor::from_slice(&golden("start"), [SIZE]).to_dtype(dtype);
    vars[0].set(all.slice(0, 0, 5));
    vars[1].set(all.slice(0, 5, SIZE).reshape([4, 3]));
    (params, vars)
}

fn values(vars: &[Var]) -> Vec<f64> {
    vars.iter().flat_map(|var| var.get().to_dtype(DType::F64).to_vec::<f64>()).collect()
}

/// Takes the ten steps; `after` sees the parameters after each.
fn walk(optimizer: &dyn Optimizer, dtype: DType, mut after: impl FnMut(usize)) {
    let step = compile(|args: &[Tensor]| {
        let all = |var: &Var| match var.name() {
            "v" => args[0].slice(0, 0, 5),
            _ => args[0].slice(0, 5, SIZE).reshape([4, 3]),
        };
        optimizer.step(&optimizer.parameters().iter().map(all).collect::<Vec<_>>());
        vec![]
    });
    let rows = golden("gradients");
    for (number, row) in rows.chunks(SIZE).enumerate() {
        step.call(&[&Tensor::from_slice(row, [SIZE]).to_dtype(dtype)]);
        after(number);
    }
}

#[track_caller]
fn close(name: &str, dtype: DType, found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{name}");
    let tolerance = if dtype == DType::F64 { 1e-13 } else { 2e-5 };
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!((f - e).abs() <= tolerance * e.abs().max(1.0), "{name} {dtype} [{i}]: {f} {e}");
    }
}

const BOTH: [DType; 2] = [DType::F64, DType::F32];

#[test]
fn ten_steps_as_the_peers_take_them() {
    type Make = fn(&Params) -> Box<dyn Optimizer>;
    let optimizers: [(&str, Make); 19] =
        [
            ("sgd_dampening", |p| {
                Box::new(Sgd::new(p, 0.1).momentum(0.9).dampening(0.3).weight_decay(0.02))
            }),
            ("rmsprop", |p| Box::new(RmsProp::new(p, 0.01))),
            ("rmsprop_centered", |p| {
                let rule = RmsProp::new(p, 0.01).alpha(0.9).eps(1e-4).momentum(0.8);
                Box::new(rule.centered(true).weight_decay(0.02))
            }),
            ("adagrad", |p| Box::new(Adagrad::new(p, 0.1))),
            ("adagrad_decay", |p| {
                Box::new(Adagrad::new(p, 0.1).lr_decay(0.1).initial(0.2).weight_decay(0.02))
            }),
            ("adadelta", |p| Box::new(Adadelta::new(p, 1.0))),
            ("adadelta_decay", |p| {
                Box::new(Adadelta::new(p, 0.5).rho(0.8).eps(1e-3).weight_decay(0.02))
            }),
            ("amsgrad", |p| {
                Box::new(Adam::new(p, 0.01).betas(0.8, 0.6).amsgrad(true).weight_decay(0.02))
            }),
            ("adamw_amsgrad", |p| {
                Box::new(AdamW::new(p, 0.01).betas(0.8, 0.6).amsgrad(true).weight_decay(0.1))
            }),
            ("adamax", |p| Box::new(Adamax::new(p, 0.01).weight_decay(0.02))),
            ("nadam", |p| Box::new(NAdam::new(p, 0.01).weight_decay(0.02))),
            ("radam", |p| Box::new(RAdam::new(p, 0.01).weight_decay(0.02))),
            ("radam_soon", |p| Box::new(RAdam::new(p, 0.01).betas(0.9, 0.95))),
            ("adafactor", |p| Box::new(Adafactor::new(p, 0.05))),
            ("adafactor_decay", |p| {
                Box::new(Adafactor::new(p, 0.5).beta2_decay(-0.5).clip(1.2).weight_decay(0.1))
            }),
            ("lion", |p| Box::new(Lion::new(p, 0.01).weight_decay(0.1))),
            ("lamb", |p| Box::new(Lamb::new(p, 0.01).weight_decay(0.02))),
            ("muon", |p| Box::new(Muon::new(p, 0.02).adam_lr_factor(0.5))),
            ("groups", |p| {
                Box::new(AdamW::new(p, 0.01).weight_decay(0.1).groups(&[
                    Group::vectors().weight_decay(0.0),
                    Group::of(&["m"]).lr_factor(0.5),
                ]))
            }),
        ];
    for dtype in BOTH {
        for (name, make) in optimizers {
            let (params, vars) = start(dtype);
            let mut path = Vec::new();
            walk(&*make(&params), dtype, |_| path.extend(values(&vars)));
            close(name, dtype, &path, &golden(name));
        }
    }
}

#[test]
fn clipping_and_looking_ahead_as_the_peers_do() {
    for dtype in BOTH {
        for (name, clip) in [
            ("clip_value", Some(Clip::Value(0.5))),
            ("clip_norm", Some(Clip::Norm(0.5))),
            ("clip_global_norm", Some(Clip::GlobalNorm(0.5))),
            ("lookahead", None),
        ] {
            // In one block, and in two.
            for groups in [&[][..], &[Group::vectors()]] {
                let (params, vars) = start(dtype);
                let sgd = Sgd::new(&params, 0.1).momentum(0.9).groups(groups);
                let optimizer: Box<dyn Optimizer> = match clip {
                    Some(clip) => Box::new(Clipped::new(sgd, clip)),
                    None => Box::new(Lookahead::new(sgd, 3, 0.4)),
                };
                let mut path = Vec::new();
                walk(&*optimizer, dtype, |_| path.extend(values(&vars)));
                close(name, dtype, &path, &golden(name));
            }
        }
    }
}

#[test]
fn averages_as_the_peers_have_them() {
    for dtype in BOTH {
        for (name, average) in [
            ("average_ema", Average::Exponential { decay: 0.9, warm_up: false }),
            ("average_ema_warm_up", Average::Exponential { decay: 0.9, warm_up: true }),
            ("average_swa", Average::Mean { start: 3, every: 2 }),
        ] {
            let (params, vars) = start(dtype);
            let sgd = Averaged::new(Sgd::new(&params, 0.1).momentum(0.9), average);
            let mut path = Vec::new();
            walk(&sgd, dtype, |_| {
                let now = values(&vars);
                assert!(sgd.exchange_averages());
                path.extend(values(&vars));
                sgd.exchange_averages();
                assert_eq!(values(&vars), now);
            });
            close(name, dtype, &path, &golden(name));
        }
    }
}

#[test]
fn averages_of_statistics() {
    let params = Params::new(1);
    let w = params.var("w", [1], &Zeros);
    let mean = params.buffer("running_mean", Tensor::zeros([2]));
    let average = Average::Exponential { decay: 0.5, warm_up: false };
    let sgd = Averaged::new(Sgd::new(&params, 1.0), average).with_buffers(&params);
    compile(|_: &[Tensor]| {
        mean.set(mean.get() + 1.0);
        sgd.minimize(&w.get().sum());
        vec![]
    })
    .call(&[]);
    sgd.exchange_averages();
    assert_eq!(mean.to_vec::<f32>(), [0.5, 0.5]);
}

#[test]
fn accumulated_steps_are_those_of_the_mean_and_whole() {
    let mean_of_two = |rows: &[f64]| -> Vec<f64> {
        let pairs = rows.chunks(2 * SIZE);
        pairs.flat_map(|p| (0..SIZE).map(|i| (p[i] + p[SIZE + i]) / 2.0)).collect()
    };
    let (params, vars) = start(DType::F64);
    let plain = AdamW::new(&params, 0.01);
    let step = compile(|args: &[Tensor]| {
        plain.update(vec![args[0].clone()]);
        vec![]
    });
    let expected: Vec<Vec<f64>> = mean_of_two(&golden("gradients"))
        .chunks(SIZE)
        .map(|row| {
            let [v, m] = [&row[..5], &row[5..]];
            let parts = [Tensor::from_slice(v, [5]), Tensor::from_slice(m, [4, 3])];
            step.call(&[&plain.core().gather(&parts)[0].evaluated()]);
            values(&vars)
        })
        .collect();
    let (params, vars) = start(DType::F64);
    let average = Average::Mean { start: 1, every: 1 };
    let adam = Accumulated::new(Averaged::new(AdamW::new(&params, 0.01), average), 2);
    let before = values(&vars);
    walk(&adam, DType::F64, |number| match number % 2 {
        0 if number == 0 => assert_eq!(values(&vars), before),
        0 => close("waiting", DType::F64, &values(&vars), &expected[number / 2 - 1]),
        _ => close("accumulated", DType::F64, &values(&vars), &expected[number / 2]),
    });
    adam.exchange_averages();
    let mean: Vec<f64> =
        (0..SIZE).map(|i| expected.iter().map(|row| row[i]).sum::<f64>() / 5.0).collect();
    close("average of whole steps", DType::F64, &values(&vars), &mean);
}

#[test]
fn the_sharp_gradient_is_that_of_the_place_uphill() {
    // loss = Σ w⁴: gradient 4 w³.
    for (adaptive, wrapped) in [(false, false), (true, false), (false, true)] {
        let (params, vars) = start(DType::F64);
        let w = values(&vars);
        let sam = Sam::new(Sgd::new(&params, 0.1), 0.5).adaptive(adaptive);
        let sam: Box<dyn Optimizer> = match wrapped {
            true => Box::new(Clipped::new(sam, Clip::Value(1e9))),
            false => Box::new(sam),
        };
        compile(|_: &[Tensor]| {
            let fourth = |var: &Var| var.get().square().square().sum();
            sam.minimize(&(fourth(&vars[0]) + fourth(&vars[1])));
            vec![]
        })
        .call(&[]);
        let weight = |w: f64| if adaptive { w.abs() } else { 1.0 };
        let uphill: Vec<f64> = w.iter().map(|w| 4.0 * w.powi(3) * weight(*w)).collect();
        let norm = uphill.iter().map(|u| u * u).sum::<f64>().sqrt();
        let expected: Vec<f64> = w
            .iter()
            .zip(uphill)
            .map(|(&w, u)| w - 0.1 * 4.0 * (w + 0.5 * u * weight(w) / norm).powi(3))
            .collect();
        close("sam", DType::F64, &values(&vars), &expected);
    }
}

fn two(params: &Params) -> [Var; 2] {
    let two = Constant(2.0);
    [params.at("a").var("w", [3], &Ones), params.at("b").var("v", [4, 2], &two)]
}

/// Every sample of every entry.
fn samples() -> Vec<(&'static Entry, Args)> {
    let of = |entry: &&'static Entry| {
        let entry = *entry;
        assert!(!entry.samples.is_empty(), "{}", entry.spec.name);
        entry.samples.iter().map(move |text| (entry, common::args(&entry.spec, text)))
    };
    REGISTRY.iter().flat_map(of).collect()
}

/// The loss of each step of a small problem: a sum of squared distances.
fn train(optimizer: &dyn Optimizer, vars: &[Var; 2], steps: usize) -> Vec<f32> {
    let [a, b] = vars;
    let step = compile(|_: &[Tensor]| {
        let loss = (a.get() - 3.0).square().sum() + (b.get() - 0.5).square().sum();
        optimizer.minimize(&loss);
        vec![loss]
    });
    (0..steps).map(|_| step.call(&[])[0].item()).collect()
}

#[test]
fn every_sample_learns_and_keeps_what_it_says() {
    for (entry, args) in samples() {
        let name = entry.spec.name;
        let given: Vec<(String, Value)> =
            args.iter().map(|(key, value)| (key.to_string(), common::written(value))).collect();
        assert_eq!(nerve_formats::spec::check(&entry.spec, &given).unwrap(), args, "{name}");
        let params = Params::new(1);
        assert!(entry.build(&args, &params, &[]).is_err(), "nothing to train");
        let vars = two(&params);
        let wrong = Group::of(&["encoder"]);
        assert!(entry.build(&args, &params, &[wrong]).is_err(), "a group of nothing");
        let optimizer = build(&Item { name, args: args.clone() }, &params, &[]).unwrap();
        assert_eq!(optimizer.learning_rate(), args.float("lr"));
        let parameters: usize = optimizer.parameters().iter().map(|v| v.shape().numel()).sum();
        let kept = optimizer.slots();
        let numbers: usize = kept.iter().map(|v| v.shape().numel()).sum();
        // Beside two numbers at most that it keeps once.
        assert!(numbers <= (entry.slots)(&args) * parameters + 2, "{name}");
        let names: std::collections::HashSet<&str> = kept.iter().map(|slot| slot.name()).collect();
        assert_eq!(names.len(), kept.len(), "{name}: names of slots differ");
        let losses = train(&*optimizer, &vars, 150);
        assert!(losses[149] < 0.05 * losses[0], "{name} {args:?}: {losses:?}");
    }
}

#[test]
fn every_optimizer_continues_from_what_was_saved_bit_for_bit() {
    for (entry, args) in samples() {
        let fresh = || {
            let params = Params::new(1);
            let vars = two(&params);
            // All wrappers at once, around it.
            let inner = Sam::new(entry.build(&args, &params, &[Group::vectors()]).unwrap(), 0.05);
            let inner = Lookahead::new(Clipped::new(inner, Clip::GlobalNorm(1.0)), 3, 0.5);
            let average = Average::Exponential { decay: 0.9, warm_up: true };
            (Accumulated::new(Averaged::new(inner, average), 2), params, vars)
        };
        let (whole, params, vars) = fresh();
        train(&whole, &vars, 7);
        let expected = (params.state(), state::of(&whole.slots()));
        let (first, params, vars) = fresh();
        train(&first, &vars, 3);
        let saved = (params.state(), state::of(&first.slots()));
        let (second, params, vars) = fresh();
        params.load(&saved.0).unwrap();
        state::load(&second.slots(), &saved.1).unwrap();
        train(&second, &vars, 4);
        assert!(expected == (params.state(), state::of(&second.slots())), "{}", entry.spec.name);
    }
}

#[test]
fn the_same_bits_on_any_number_of_threads() {
    for (entry, args) in samples() {
        let run = |threads| {
            nerve_core::set_threads(threads);
            let params = Params::new(1);
            let w = params.var("w", [300, 200], &nerve_nn::init::FanScaled::HE_NORMAL);
            let optimizer = entry.build(&args, &params, &[]).unwrap();
            let optimizer = Clipped::new(optimizer, Clip::GlobalNorm(1.0));
            let step = compile(|_: &[Tensor]| {
                optimizer.minimize(&(w.get() - 0.5).square().mean());
                vec![]
            });
            (0..3).for_each(|_| _ = step.call(&[]));
            params.state()
        };
        assert!(run(1) == run(2), "{}", entry.spec.name);
    }
}

#[test]
fn every_schedule_gives_rates_and_can_be_written_down() {
    use nerve_nn::schedules::{self, Progress};
    for entry in schedules::REGISTRY {
        let name = entry.spec.name;
        assert!(!entry.samples.is_empty(), "{name}");
        for text in entry.samples {
            let args = common::args(&entry.spec, text);
            let given: Vec<(String, Value)> =
                args.iter().map(|(key, value)| (key.to_string(), common::written(value))).collect();
            assert_eq!(nerve_formats::spec::check(&entry.spec, &given).unwrap(), args, "{name}");
            let schedule = schedules::build(&Item { name, args });
            let mut positive = 0;
            for step in 0..200 {
                let rate = schedule.rate(0.1, Progress { step, total: 100, epoch: 20 });
                assert!(rate.is_finite() && rate >= 0.0, "{name} {text}: {rate}");
                positive += usize::from(rate > 0.0);
            }
            assert!(positive > 20, "{name} {text}");
            let state = schedule.state();
            schedule.restore(&state);
            assert_eq!(format!("{:?}", schedule.state()), format!("{state:?}"), "{name}");
        }
    }
}

#[test]
fn every_wrapper_learns_and_keeps_what_it_says() {
    use nerve_nn::optim::{WRAPPERS, wrap};
    for wrapper in WRAPPERS {
        let name = wrapper.spec.name;
        assert!(!wrapper.samples.is_empty(), "{name}");
        for text in wrapper.samples {
            let params = Params::new(1);
            let vars = two(&params);
            let item = Item { name, args: common::args(&wrapper.spec, text) };
            let optimizer = wrap(Box::new(Sgd::new(&params, 0.1)), &[item], &params);
            let parameters: usize = optimizer.parameters().iter().map(|v| v.shape().numel()).sum();
            let numbers: usize = optimizer.slots().iter().map(|v| v.shape().numel()).sum();
            assert!(numbers / parameters == wrapper.slots, "{name}: {numbers} of {parameters}");
            let losses = train(&*optimizer, &vars, 150);
            assert!(losses[149] < 0.05 * losses[0], "{name} {text}: {losses:?}");
        }
    }
}

#[test]
fn quasi_newton_steps_as_pytorch_takes_them() {
    use nerve_nn::optim::Lbfgs;
    // Rosenbrock's function of six numbers.
    let from = [-1.2, 1.0, -0.5, 0.8, 1.5, -0.3];
    let run = |steps: usize, dtype: DType, change: fn(Lbfgs) -> Lbfgs| {
        let params = Params::with_dtype(1, dtype);
        let x = params.var("x", [6], &Zeros);
        x.set(Tensor::from_slice(&from, [6]).to_dtype(dtype));
        let lbfgs = change(Lbfgs::new(&params).memory(4));
        let fit = lbfgs.minimize(
            || {
                let (a, b) = (x.get().slice(0, 0, 5), x.get().slice(0, 1, 6));
                ((b - a.square()).square() * 100.0 + (a - 1.0).square()).sum()
            },
            steps,
        );
        (values(&[x]), fit)
    };
    type Change = fn(Lbfgs) -> Lbfgs;
    let variants: [(&str, Change); 2] =
        [("lbfgs", |lbfgs| lbfgs.fixed_rate(0.01)), ("lbfgs_wolfe", |lbfgs| lbfgs)];
    for (name, change) in variants {
        for (step, expected) in golden(name).chunks(6).enumerate() {
            let (x, fit) = run(step + 1, DType::F64, change);
            assert_eq!(fit.steps, step + 1);
            // The way of a step is a difference here, a product there; what is rounded there grows
            // with the condition of the problem.
            for (f, e) in x.iter().zip(expected) {
                assert!((f - e).abs() < 1e-8, "{name} in step {step}: {x:?} {expected:?}");
            }
        }
    }
    let (x, fit) = run(200, DType::F64, |lbfgs| lbfgs.memory(10));
    assert!(fit.loss < 1e-12 && x.iter().all(|x| (x - 1.0).abs() < 1e-5), "{fit:?} {x:?}");
    assert_eq!(run(200, DType::F64, |lbfgs| lbfgs.memory(10)), (x, fit), "it is deterministic");
    let (_, fit) = run(200, DType::F32, |lbfgs| lbfgs);
    assert!(fit.loss < 1e-5, "{fit:?}");
}

/// How often an update from a gradient that is there goes over the parameters, and its plan.
fn passes(optimizer: &dyn Optimizer) -> (usize, String) {
    let n = optimizer.core().blocks()[0].arena().var().shape().numel();
    let update = compile(|args: &[Tensor]| {
        optimizer.update(vec![args[0].clone()]);
        vec![]
    });
    let plan = update.plan(&[([n].into(), DType::F32)]);
    let text = plan.explain().to_string();
    (text.lines().filter(|line| line.contains(&format!("f32[{n}]"))).count(), text)
}

#[test]
fn an_update_is_one_pass_with_averages_and_all() {
    let make = |rule: &str| {
        let params = Params::new(1);
        params.var("a", [3000], &Zeros);
        params.at("b").var("w", [50, 40], &Ones);
        let entry = nerve_nn::optim::find(rule).unwrap();
        entry.build(&common::args(&entry.spec, "lr = 0.1"), &params, &[]).unwrap()
    };
    let one = |what: &str, optimizer: &dyn Optimizer| {
        let (count, text) = passes(optimizer);
        assert_eq!(count, 1, "{what}\n{text}");
    };
    let rules = ["sgd", "rmsprop", "adagrad", "adadelta", "adam", "amsgrad", "adamw", "adamax"];
    for rule in rules.into_iter().chain(["nadam", "radam", "lion"]) {
        one(rule, &*make(rule));
    }
    let average = Average::Exponential { decay: 0.9, warm_up: false };
    let averaged = Averaged::new(Clipped::new(make("adam"), Clip::Value(1.0)), average);
    one("wrapped", &Accumulated::new(Lookahead::new(averaged, 5, 0.5), 4));
}
