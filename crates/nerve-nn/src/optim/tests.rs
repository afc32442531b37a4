use super::*;
use crate::init::{Constant, Ones};
use crate::regularize::{L1L2, RowNorm};
use nerve_core::compile;

fn two(params: &Params) -> [Var; 2] {
    [params.at("a").var("w", [2], &Ones), params.at("b").var("w", [3], &Constant(2.0))]
}

#[test]
fn frozen_parameters_stay() {
    let params = Params::new(1);
    let [a, b] = two(&params);
    params.freeze("a");
    let sgd = Sgd::new(&params, 0.5);
    compile(|_: &[Tensor]| {
        sgd.minimize(&(a.get().sum() + b.get().sum()));
        vec![]
    })
    .call(&[]);
    assert_eq!((a.to_vec::<f32>(), b.to_vec::<f32>()), (vec![1.0; 2], vec![1.5; 3]));
}

#[test]
fn the_rate_is_no_constant_of_the_trace() {
    let params = Params::new(1);
    let [a, b] = two(&params);
    let sgd = Sgd::new(&params, 0.5);
    let step = compile(|_: &[Tensor]| {
        sgd.minimize(&(a.get().sum() + b.get().sum()));
        vec![]
    });
    step.call(&[]);
    sgd.set_learning_rate(0.25);
    step.call(&[]);
    assert_eq!((step.plans(), sgd.learning_rate()), (1, 0.25));
    assert_eq!(a.to_vec::<f32>(), [0.25; 2]);
}

#[test]
fn slots_have_the_names_and_shapes_of_their_parameters() {
    let names = |make: fn(&Params) -> Box<dyn Optimizer>| -> Vec<String> {
        let params = Params::new(1);
        two(&params);
        make(&params)
            .slots()
            .iter()
            .map(|slot| format!("{} {}", slot.name(), slot.shape()))
            .collect()
    };
    assert!(names(|params| Box::new(Sgd::new(params, 0.1))).is_empty());
    assert_eq!(
        names(|params| Box::new(Sgd::new(params, 0.1).momentum(0.9))),
        ["momentum.a.w [2]", "momentum.b.w [3]"]
    );
    let adam = names(|params| Box::new(Adam::new(params, 0.1)));
    let both = ["exp_avg.a.w [2]", "exp_avg.b.w [3]", "exp_avg_sq.a.w [2]", "exp_avg_sq.b.w [3]"];
    assert_eq!(adam[..4], both);
    assert_eq!(adam[4..], ["step []"]);
}

#[test]
fn a_training_continues_from_saved_slots_bit_for_bit() {
    let run = |steps: &[u64], saved: &mut Option<[Vec<crate::state::StateTensor>; 2]>| {
        let params = Params::new(1);
        let [a, b] = two(&params);
        let adam = AdamW::new(&params, 0.01);
        if let Some([state, slots]) = saved {
            params.load(state).unwrap();
            crate::state::load(&adam.slots(), slots).unwrap();
        }
        let step = compile(|args: &[Tensor]| {
            let noise = Tensor::normal(&args[0], 0, [3], params.dtype());
            adam.minimize(&((b.get() * noise).sum() + a.get().square().sum()));
            vec![]
        });
        for &number in steps {
            step.call(&[&Tensor::random_key(3, number)]);
        }
        *saved = Some([params.state(), crate::state::of(&adam.slots())]);
    };
    let (mut whole, mut parts) = (None, None);
    run(&[1, 2, 3, 4, 5], &mut whole);
    run(&[1, 2], &mut parts);
    run(&[3, 4, 5], &mut parts);
    assert_eq!(whole, parts);
}

/// One step down the sum of all parameters: gradients of 1.
fn down(optimizer: &dyn Optimizer, vars: &[&Var]) {
    compile(|_: &[Tensor]| {
        let sums = vars.iter().map(|var| var.get().sum());
        optimizer.minimize(&sums.reduce(|a, b| a + b).unwrap());
        vec![]
    })
    .call(&[]);
}

#[test]
fn groups_have_settings_of_their_own() {
    let params = Params::new(1);
    let [a, b] = two(&params);
    let c = params.at("c").var("w", [2, 1], &Constant(3.0));
    let d = params.at("d").var("w", [1], &Constant(4.0));
    let sgd = Sgd::new(&params, 0.5).weight_decay(1.0).groups(&[
        Group::of(&["d"]).frozen(),
        Group::vectors().max_rank(1).weight_decay(0.0),
        Group::of(&["c", "nothing"]).lr_factor(0.1).regularizer(L1L2::l2(0.5)),
    ]);
    assert_eq!(sgd.core().blocks().len(), 2);
    down(&sgd, &[&a, &b, &c, &d]);
    assert_eq!((a.to_vec::<f32>(), b.to_vec::<f32>()), (vec![0.5; 2], vec![1.5; 3]));
    // 3 − 0.05 · (1 + decay of 1 · 3 + 2 · 0.5 · 3)
    assert_eq!((c.to_vec::<f32>(), d.to_vec::<f32>()), (vec![3.0 - 0.35; 2], vec![4.0]));

    let params = Params::new(1);
    let [a, b] = two(&params);
    let sgd = Sgd::new(&params, 1.0)
        .groups(&[Group::of(&["b.*"]).constraint(RowNorm::unit()), Group::all().lr_factor(2.0)]);
    down(&sgd, &[&a, &b]);
    assert_eq!(a.to_vec::<f32>(), [-1.0; 2]);
    assert!((b.to_vec::<f32>()[1] - 1.0 / 3f32.sqrt()).abs() < 1e-6);
}

#[test]
#[should_panic(expected = "no trainable parameter fits the group `encoder`; there are a.w, b.w")]
fn a_group_without_parameters_is_a_misspelling() {
    let params = Params::new(1);
    two(&params);
    let _ = Sgd::new(&params, 0.5).groups(&[Group::of(&["encoder"])]);
}

#[test]
fn a_second_optimizer_takes_over_and_the_same_parameters_can_have_two() {
    let params = Params::new(1);
    let [a, b] = two(&params);
    let first = Sgd::new(&params, 1.0);
    down(&first, &[&a, &b]);
    let second = Sgd::new(&params, 0.5).momentum(0.9);
    down(&second, &[&a, &b]);
    down(&first, &[&a, &b]);
    assert_eq!(a.to_vec::<f32>(), [-1.5; 2]);
    let third = Sgd::new(&params.at("a"), 0.5);
    down(&third, &[&a]);
    assert_eq!(a.to_vec::<f32>(), [-2.0; 2]);
    let old = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| down(&first, &[&a, &b])));
    assert!(old.is_err(), "its block does not hold the parameters any more");
}

/// All optimizers of the registry with their samples, in all wrappers and none.
fn everyone(params: &Params, groups: &[Group]) -> Vec<(String, Box<dyn Optimizer>)> {
    let wrapped = std::iter::once(None).chain(WRAPPERS.iter().map(Some));
    let mut all = Vec::new();
    for wrapper in wrapped {
        for entry in REGISTRY {
            let args = nerve_formats::spec::check(&entry.spec, &[]);
            let Ok(args) = args else { continue };
            let mut optimizer = entry.build(&args, params, groups).unwrap();
            let mut name = entry.spec.name.to_string();
            if let Some(wrapper) = wrapper {
                let max = [("max".to_string(), Value::Float(0.5))];
                let given = if wrapper.spec.name.starts_with("clip") { &max[..] } else { &[] };
                let Ok(args) = nerve_formats::spec::check(&wrapper.spec, given) else { continue };
                optimizer = wrap(optimizer, &[Item { name: wrapper.spec.name, args }], params);
                name = format!("{name} in {}", wrapper.spec.name);
            }
            all.push((name, optimizer));
        }
    }
    assert!(all.len() > 3 * REGISTRY.len());
    all
}

#[test]
fn what_waits_for_its_epoch_keeps_its_bits_and_begins_fresh() {
    let bits =
        |var: &Var| -> Vec<u32> { var.to_vec::<f32>().iter().map(|x| x.to_bits()).collect() };
    let groups = [Group::of(&["a"]).freeze_epochs(2).weight_decay(0.1)];
    for at in 0.. {
        let params = Params::new(1);
        let [a, b] = [([3, 2], 1.5), ([2, 2], 2.0)].map(|(shape, start)| {
            let name = if start == 1.5 { "a" } else { "b" };
            params.at(name).var("w", shape, &Constant(start))
        });
        let mut all = everyone(&params, &groups);
        if at == all.len() {
            break;
        }
        let (name, optimizer) = all.swap_remove(at);
        let step = compile(|_: &[Tensor]| {
            let loss = (a.get().square().sum() + b.get().square().sum()) * 0.3;
            optimizer.minimize(&loss);
            vec![]
        });
        let of_a = || -> Vec<Var> {
            let slots = optimizer.slots().into_iter();
            slots.filter(|slot| slot.name().ends_with(".a.w")).chain([a.clone()]).collect()
        };
        let before: Vec<_> = of_a().iter().map(bits).collect();
        for epoch in 1..=2 {
            optimizer.begin_epoch(epoch);
            (0..12).for_each(|_| _ = step.call(&[]));
            let now: Vec<_> = of_a().iter().map(bits).collect();
            assert_eq!(now, before, "{name} in epoch {epoch}");
        }
        assert_ne!(b.to_vec::<f32>(), [2.0; 4], "{name}");
        optimizer.begin_epoch(3);
        (0..12).for_each(|_| _ = step.call(&[]));
        assert_ne!(a.to_vec::<f32>(), [1.5; 6], "{name} learns from epoch 3 on");
        assert_eq!(step.plans(), 1);
    }
}

#[test]
fn a_group_that_waited_goes_the_way_of_a_new_optimizer() {
    let path = |waits: u64| -> Vec<f32> {
        let params = Params::new(1);
        let [a, b] = two(&params);
        let adam = NAdam::new(&params, 0.1).groups(&[Group::of(&["a"]).freeze_epochs(waits)]);
        let step = compile(|_: &[Tensor]| {
            adam.minimize(&(a.get().square().sum() + b.get().square().sum()));
            vec![]
        });
        for epoch in 1..=waits {
            adam.begin_epoch(epoch);
            (0..5).for_each(|_| _ = step.call(&[]));
        }
        adam.begin_epoch(waits + 1);
        let mut path = Vec::new();
        for _ in 0..5 {
            step.call(&[]);
            path.push(a.to_vec::<f32>()[0]);
        }
        path
    };
    assert_eq!(path(3), path(0));
}
