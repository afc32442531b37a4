use super::*;
use nerve_formats::safetensors::SafeTensors;
use nerve_formats::spec::check;

const TOTAL: u64 = 40;

fn golden(name: &str) -> Vec<f64> {
    let bytes = include_bytes!("../../tests/golden/optim.safetensors");
    let file = SafeTensors::from_bytes("optim", bytes).unwrap();
    file.tensor(name).unwrap().to_f64().unwrap()
}

fn at(step: u64) -> Progress {
    Progress { step, total: TOTAL, epoch: 10 }
}

#[track_caller]
fn close(name: &str, found: &[f64], expected: &[f64]) {
    for (step, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!((f - e).abs() <= 1e-13, "{name}: {f} for {e} in step {step}");
    }
}

/// PyTorch's schedulers: see `tests/golden/make_optim.py`.
#[test]
fn rates_as_pytorch_has_them() {
    let schedules: Vec<(&str, Box<dyn Schedule>)> = vec![
        ("step", Box::new(Step { every: 7, gamma: 0.5 })),
        ("multi_step", Box::new(MultiStep { at: vec![5, 11, 30], gamma: 0.2 })),
        ("exponential", Box::new(Exponential { gamma: 0.9, every: 1 })),
        ("polynomial", Box::new(Polynomial { power: 2.0, end: 0.0, steps: 30.into() })),
        ("linear_warm_up", Box::new(Linear { from: 0.1, to: 1.0, steps: 8.into() })),
        ("cosine", Box::new(Cosine { end: 0.01, ..Cosine::default() })),
        (
            "cosine_restarts",
            Box::new(CosineRestarts { first: 5, factor: 2.0, end: 0.001, shrink: 1.0 }),
        ),
        ("one_cycle", Box::new(OneCycle { max: Some(0.3), ..OneCycle::default() })),
        (
            "one_cycle_linear",
            Box::new(OneCycle {
                max: Some(0.3),
                up: 0.4,
                div: 10.0,
                final_div: 100.0,
                anneal: Anneal::Linear,
                three_phases: true,
            }),
        ),
        ("cyclic", Box::new(cyclic(6, 6, Cycle::Triangular))),
        ("cyclic_triangular2", Box::new(cyclic(4, 6, Cycle::Triangular2))),
        ("cyclic_exp_range", Box::new(cyclic(5, 5, Cycle::ExpRange(0.95)))),
        (
            "sequence",
            Box::new(
                Sequence::new(Box::new(Linear { from: 0.25, to: 1.0, steps: 6.into() }))
                    .then(6, Box::new(Cosine::default())),
            ),
        ),
    ];
    for (name, schedule) in schedules {
        let rates: Vec<f64> = (0..TOTAL).map(|step| schedule.rate(0.1, at(step))).collect();
        close(name, &rates, &golden(&format!("schedule_{name}")));
    }
}

fn cyclic(up: u64, down: u64, mode: Cycle) -> Cyclic {
    Cyclic { low: Some(0.01), high: 0.1, up, down, mode }
}

#[test]
fn the_plateau_is_that_of_pytorch_and_continues_from_its_state() {
    let make = || Plateau {
        factor: 0.5,
        patience: 2,
        threshold: 1e-3,
        cooldown: 1,
        min: 0.001,
        ..Plateau::default()
    };
    let mut plateau = make();
    let scores = golden("plateau_scores");
    let mut rates = Vec::new();
    for (epoch, score) in scores.iter().enumerate() {
        rates.push(plateau.rate(0.1, at(epoch as u64)));
        plateau.observe(&[("loss", 0.0), ("val_loss", *score)]);
        if epoch == 17 {
            let state = Schedule::state(&plateau);
            plateau = make();
            plateau.restore(&state);
        }
    }
    close("plateau", &rates, &golden("schedule_plateau"));
    assert!(rates.last() < rates.first());
}

#[test]
fn noam_rises_to_the_rate_and_falls() {
    let schedule = InverseSqrt { warmup: 10.into() };
    let rates: Vec<f64> = (0..TOTAL).map(|step| schedule.rate(2.0, at(step))).collect();
    close("noam", &[rates[0], rates[9], rates[39]], &[0.2, 2.0, 1.0]);
}

#[test]
fn pieces_and_closures() {
    let schedule = Piecewise { at: vec![3, 5], rates: vec![0.5, 0.25] };
    let rates = [0, 2, 3, 4, 5, 39].map(|step| schedule.rate(1.0, at(step)));
    assert_eq!(rates, [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]);
    let own = |base: f64, at: Progress| base * (at.total - at.step) as f64;
    assert_eq!(Schedule::rate(&own, 0.5, at(38)), 1.0);
}

#[test]
fn warm_ups_and_shares_of_the_training() {
    let schedule = Cosine { warmup: 0.25.into(), ..Cosine::default() };
    let rates = [0, 5, 10, 25, 40, 99].map(|step| schedule.rate(1.0, at(step)));
    close("warm-up", &rates, &[0.0, 0.5, 1.0, 0.5, 0.0, 0.0]);
    let epochs = InEpochs(Cosine { warmup: 1.into(), ..Cosine::default() });
    let rates = [0, 9, 10, 19, 20, 39].map(|step| epochs.rate(1.0, at(step)));
    close("epochs", &rates, &[0.0, 0.0, 1.0, 1.0, 0.75, 0.25]);
}

#[test]
#[should_panic(expected = "the schedule follows `acuracy`; there are loss, accuracy")]
fn a_score_that_is_not_there() {
    let plateau = Plateau { metric: Some("acuracy".into()), ..Plateau::default() };
    plateau.observe(&[("loss", 1.0), ("accuracy", 0.5)]);
}

#[test]
fn no_length_divides_by_zero() {
    let nothing = Progress { step: 0, total: 0, epoch: 1 };
    for schedule in [&Cosine::default() as &dyn Schedule, &Linear::warm_up(0), &OneCycle::default()]
    {
        assert!(schedule.rate(1.0, nothing).is_finite());
    }
    assert!(check(&decay::STEP.spec, &[]).is_err(), "it needs to know how often");
}
