use super::*;
use crate::init::{Constant, Ones};
use nerve_core::compile;
use nerve_formats::spec::check;

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

#[test]
fn every_line_of_the_registry_learns() {
    for entry in REGISTRY {
        let args = check(&entry.spec, &[("lr".into(), Value::Float(0.1))]).unwrap();
        let again: Vec<(String, Value)> =
            args.iter().map(|(key, value)| (key.to_string(), value.clone())).collect();
        assert_eq!(check(&entry.spec, &again).unwrap(), args, "{}", entry.spec.name);
        let params = Params::new(1);
        assert!(entry.build(&args, &params).is_err(), "nothing to train");
        let [a, b] = two(&params);
        let optimizer =
            build(&Item { name: entry.spec.name, args: args.clone() }, &params).unwrap();
        assert_eq!(optimizer.learning_rate(), 0.1);
        let parameters: usize = optimizer.parameters().iter().map(|v| v.shape().numel()).sum();
        let numbers: usize = optimizer.slots().iter().map(|v| v.shape().numel()).sum();
        assert_eq!(numbers / parameters, (entry.slots)(&args));
        let step = compile(|_: &[Tensor]| {
            let loss = (a.get() - 3.0).square().sum() + (b.get() + 1.0).square().sum();
            optimizer.minimize(&loss);
            vec![loss]
        });
        let losses: Vec<f32> = (0..100).map(|_| step.call(&[])[0].item()).collect();
        assert!(losses[99] < 0.05 * losses[0], "{}: {losses:?}", entry.spec.name);
    }
}
