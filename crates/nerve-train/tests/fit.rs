//! Trainings of small networks on small synthetic images.

use nerve_core::Precision;
use nerve_data::{Arrays, DataError, Element, Field, Loader, LoaderOptions};
use nerve_nn::Params;
use nerve_nn::activations::Relu;
use nerve_nn::layers::{
    BatchNorm, Conv2d, Conv2dOptions, Dropout, Flatten, Linear, MaxPool2d, Sequential,
};
use nerve_nn::losses::{CrossEntropy, Mse};
use nerve_nn::optim::{Adam, Average, Averaged, Optimizer, Sgd};
use nerve_nn::schedules::{Plateau, Progress, Schedule};
use nerve_nn::state::{self, StateTensor};
use nerve_train::metrics::{self, Accuracy, TopK};
use nerve_train::{
    Callback, CallbackError, Control, Evaluator, Fit, History, Metric, Options, Outcome, StepEnd,
    TrainBegin, TrainError, Trainer,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const SIDE: usize = 8;

/// Images with a bar across, a bar down, or a diagonal, at some place, in noise.
fn bars(count: usize, seed: u32) -> Arrays {
    let mut state = seed;
    let mut random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 8
    };
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for i in 0..count {
        let (label, at) = ((i % 3) as i32, random() as usize % SIDE);
        for y in 0..SIDE {
            for x in 0..SIDE {
                let on = match label {
                    0 => y == at,
                    1 => x == at,
                    _ => (x + at) % SIDE == y,
                };
                let noise = random() as f32 / (1 << 24) as f32 - 0.5;
                pixels.push(f32::from(u8::from(on)) + 0.6 * noise);
            }
        }
        labels.push(label);
    }
    Arrays::new(vec![
        (Field::new("image", &[1, SIDE, SIDE], Element::F32), pixels.into()),
        (Field::new("label", &[], Element::I32), labels.into()),
    ])
    .unwrap()
}

fn loader(data: Arrays, batch_size: usize, shuffle: bool) -> Loader {
    let options = LoaderOptions { batch_size, shuffle, seed: 7, ..LoaderOptions::default() };
    Loader::new(Arc::new(data), options).unwrap()
}

fn network(params: &Params) -> Sequential {
    Sequential::new(vec![
        Box::new(Conv2d::new(&params.at("conv"), 1, 8, [3, 3], Conv2dOptions::default())),
        Box::new(BatchNorm::new(&params.at("bn"), 8)),
        Box::new(Relu),
        Box::new(MaxPool2d::new(2)),
        Box::new(Flatten),
        Box::new(Dropout::new(0.2)),
        Box::new(Linear::new(&params.at("fc"), 72, 3)),
    ])
}

struct Trained {
    fit: Fit,
    state: Vec<StateTensor>,
    slots: Vec<StateTensor>,
}

/// Trains on 200 images, so that the last batch is smaller.
fn train(options: Options, callbacks: &mut [&mut dyn Callback]) -> Trained {
    let params = Params::new(42);
    let model = network(&params);
    let adam = Adam::new(&params, 0.01);
    let loss = CrossEntropy::default();
    let metrics: Vec<Box<dyn Metric>> = vec![Box::new(Accuracy), Box::new(TopK { k: 2 })];
    let trainer = Trainer::new(&model, &loss, &adam).metrics(metrics).options(options);
    let (data, held) = (loader(bars(200, 1), 32, true), loader(bars(60, 2), 32, false));
    let fit = trainer.fit(&data, Some(&held), callbacks).unwrap();
    Trained { fit, state: params.state(), slots: state::of(&adam.slots()) }
}

fn options(epochs: u64) -> Options {
    Options { epochs, seed: 42, ..Options::default() }
}

#[test]
fn a_network_learns_and_the_history_says_so() {
    let Trained { fit, .. } = train(options(12), &mut []);
    assert_eq!((fit.outcome, fit.steps), (Outcome::Finished, 12 * 7));
    let (first, last) = (&fit.history.rows[0], fit.history.last().unwrap());
    assert_eq!(fit.history.metrics, ["accuracy", "top_2_accuracy"]);
    assert_eq!((last.epoch, last.step, last.lr), (12, 84, 0.01));
    assert!(last.loss < 0.3 * first.loss, "{:?}", fit.history);
    assert!(last.val_metrics[0] > 0.95, "{:?}", fit.history);
    assert!(last.metrics[1] >= last.metrics[0] && last.val_metrics[1] >= last.val_metrics[0]);
    assert!(fit.history.rows.windows(2).all(|pair| pair[0].time_s <= pair[1].time_s));
}

/// Products of bf16 change the numbers a little, what is learned not at all.
#[test]
fn products_of_bf16_learn_as_well() {
    let full = train(options(12), &mut []);
    let rounded = || train(Options { precision: Precision::Bf16, ..options(12) }, &mut []);
    let runs = [1, 2].map(|threads| {
        nerve_core::set_threads(threads);
        rounded()
    });
    assert!(runs[0].state == runs[1].state, "one and two threads");
    assert!(runs[0].state != full.state, "as exact as f32");
    let [full, rounded] = [&full, &runs[0]].map(|run| run.fit.history.last().unwrap());
    assert!((full.val_metrics[0] - rounded.val_metrics[0]).abs() < 0.02, "{full:?} {rounded:?}");
    assert!((full.loss - rounded.loss).abs() < 0.2 * full.loss, "{full:?} {rounded:?}");
}

#[test]
fn the_same_seed_gives_the_same_bits_with_one_and_two_threads() {
    let runs = [1, 2, 2].map(|threads| {
        nerve_core::set_threads(threads);
        let trained = train(options(3), &mut []);
        let rows = trained.fit.history.rows.into_iter();
        let losses: Vec<[u64; 2]> =
            rows.map(|row| [row.loss, row.val_loss.unwrap()].map(f64::to_bits)).collect();
        (trained.state, trained.slots, losses)
    });
    assert!(runs[0] == runs[1], "one and two threads");
    assert!(runs[1] == runs[2], "twice the same");
    let other = train(Options { seed: 43, ..options(3) }, &mut []);
    assert!(other.state != runs[0].0, "another seed drops others");
}

/// Writes down what it is told, and stops or fails where it is asked to.
#[derive(Default)]
struct Notes {
    events: Vec<String>,
    stop_at_step: Option<u64>,
    stop_at_epoch: Option<u64>,
    fail_at_step: Option<u64>,
    flag: Option<(u64, Arc<AtomicBool>)>,
}

impl Callback for Notes {
    fn on_train_begin(&mut self, begin: &TrainBegin<'_>) -> Result<(), CallbackError> {
        self.events.push(format!("begin {} {:?}", begin.epochs, begin.steps));
        Ok(())
    }

    fn on_epoch_begin(&mut self, epoch: u64) -> Result<(), CallbackError> {
        self.events.push(format!("epoch {epoch}"));
        Ok(())
    }

    fn on_step_end(&mut self, step: &StepEnd<'_>) -> Result<Control, CallbackError> {
        assert!(step.loss.is_finite() && step.scores.loss.is_finite());
        assert!(step.scores.metrics.iter().all(|m| (0.0..=1.0).contains(m)));
        self.events.push(format!("step {} {}", step.step, step.step_in_epoch));
        if let Some((at, flag)) = &self.flag {
            flag.store(*at <= step.step, Ordering::Relaxed);
        }
        if self.fail_at_step == Some(step.step) {
            return Err("the disk is full".into());
        }
        Ok(match self.stop_at_step == Some(step.step) {
            true => Control::Stop("enough".into()),
            false => Control::Continue,
        })
    }

    fn on_epoch_end(&mut self, history: &History) -> Result<Control, CallbackError> {
        let epoch = history.last().unwrap().epoch;
        self.events.push(format!("end {epoch}"));
        Ok(match self.stop_at_epoch == Some(epoch) {
            true => Control::Stop("good enough".into()),
            false => Control::Continue,
        })
    }

    fn on_train_end(&mut self, outcome: &Outcome, history: &History) -> Result<(), CallbackError> {
        self.events.push(format!("{outcome:?} {}", history.rows.len()));
        Ok(())
    }
}

#[test]
fn callbacks_are_told_everything_in_order() {
    let mut notes = Notes { stop_at_epoch: Some(2), ..Notes::default() };
    let trained = train(options(9), &mut [&mut notes]);
    assert_eq!(trained.fit.outcome, Outcome::Stopped("good enough".into()));
    let mut expected = vec!["begin 9 Some(7)".to_string()];
    for epoch in 1..=2 {
        expected.push(format!("epoch {epoch}"));
        expected.extend((1..=7).map(|i| format!("step {} {i}", (epoch - 1) * 7 + i)));
        expected.push(format!("end {epoch}"));
    }
    expected.push("Stopped(\"good enough\") 2".into());
    assert_eq!(notes.events, expected);
}

#[test]
fn a_callback_stops_within_an_epoch_or_fails() {
    let mut notes = Notes { stop_at_step: Some(9), ..Notes::default() };
    let trained = train(options(9), &mut [&mut notes]);
    assert_eq!(trained.fit.outcome, Outcome::Stopped("enough".into()));
    assert_eq!((trained.fit.steps, trained.fit.history.rows.len()), (9, 1));

    let params = Params::new(1);
    let (model, loss) = (network(&params), CrossEntropy::default());
    let sgd = Sgd::new(&params, 0.1);
    let mut notes = Notes { fail_at_step: Some(2), ..Notes::default() };
    let trainer = Trainer::new(&model, &loss, &sgd);
    let error = trainer.fit(&loader(bars(96, 1), 32, true), None, &mut [&mut notes]).unwrap_err();
    assert!(matches!(&error, TrainError::Callback(_)));
    assert_eq!(error.to_string(), "the disk is full");
}

#[test]
fn a_signal_interrupts_after_the_step_in_hand() {
    let stop = Arc::new(AtomicBool::new(false));
    let mut notes = Notes { flag: Some((10, stop.clone())), ..Notes::default() };
    let trained = train(Options { stop, ..options(9) }, &mut [&mut notes]);
    assert_eq!(trained.fit.outcome, Outcome::Interrupted { epoch: 2, step: 10 });
    assert_eq!(notes.events.last().unwrap(), "Interrupted { epoch: 2, step: 10 } 1");
    // During the validation after the last step of an epoch, too.
    let stop = Arc::new(AtomicBool::new(false));
    let mut notes = Notes { flag: Some((7, stop.clone())), ..Notes::default() };
    let trained = train(Options { stop, ..options(9) }, &mut [&mut notes]);
    assert_eq!(trained.fit.outcome, Outcome::Interrupted { epoch: 1, step: 7 });
    assert!(trained.fit.history.rows.is_empty());
}

#[test]
fn a_loss_that_is_not_finite_ends_the_training_and_names_the_step() {
    let params = Params::new(1);
    let (model, loss) = (network(&params), CrossEntropy::default());
    let sgd = Sgd::new(&params, 1e30);
    let fit = Trainer::new(&model, &loss, &sgd)
        .options(options(5))
        .fit(&loader(bars(96, 1), 32, true), None, &mut [])
        .unwrap();
    let Outcome::Diverged { epoch: 1, step, loss, .. } = fit.outcome else { panic!("{fit:?}") };
    assert!((2..=3).contains(&step) && !loss.is_finite(), "{step} {loss}");
    assert_eq!(fit.steps, step);
}

#[test]
fn a_class_out_of_range_is_an_error_that_names_the_batch() {
    let data = |label: i32| {
        let labels: Vec<i32> = (0..8).map(|i| if i == 5 { label } else { 0 }).collect();
        let columns = vec![
            (Field::new("x", &[2], Element::F32), vec![0.5; 16].into()),
            (Field::new("label", &[], Element::I32), labels.into()),
        ];
        loader(Arrays::new(columns).unwrap(), 4, false)
    };
    let params = Params::new(1);
    let model = Linear::new(&params.at("fc"), 2, 3);
    let (loss, sgd) = (CrossEntropy::default(), Sgd::new(&params, 0.1));
    let trainer = Trainer::new(&model, &loss, &sgd).metrics(vec![Box::new(Accuracy)]);
    for label in [3, -1] {
        let error = trainer.fit(&data(label), None, &mut []).unwrap_err().to_string();
        let expected = format!(
            "epoch 1, samples 4 to 7 of its order: cross_entropy: the index at \
                                position 1 is {label}, which is out of range"
        );
        assert_eq!(error, expected);
        assert!(trainer.evaluate(&data(label)).is_err());
    }
    assert!(trainer.evaluate(&data(2)).is_ok());
}

#[test]
fn data_without_targets_are_refused() {
    let x = (Field::new("x", &[2], Element::F32), vec![0.5f32; 16].into());
    let data = loader(Arrays::new(vec![x]).unwrap(), 4, false);
    let params = Params::new(1);
    let model = Linear::new(&params.at("fc"), 2, 3);
    let (loss, sgd) = (CrossEntropy::default(), Sgd::new(&params, 0.1));
    let error = Trainer::new(&model, &loss, &sgd).fit(&data, None, &mut []).unwrap_err();
    assert!(matches!(error, TrainError::Fields { found: 1, needed: 2, .. }));
    let _: TrainError = DataError::Empty { what: "data set".into() }.into();
}

#[test]
fn an_evaluation_does_not_depend_on_the_batches() {
    let params = Params::new(3);
    let (model, loss) = (network(&params), CrossEntropy::default());
    let metrics: [Box<dyn Metric>; 1] = [Box::new(Accuracy)];
    let mut evaluator = Evaluator::new(&model, &loss, &metrics);
    let one = evaluator.evaluate(&loader(bars(50, 4), 50, false)).unwrap();
    let many = evaluator.evaluate(&loader(bars(50, 4), 16, false)).unwrap();
    assert_eq!((one.examples, many.examples), (50, 50));
    assert_eq!(one.metrics, many.metrics);
    assert!((one.loss - many.loss).abs() < 1e-6);
    let before = params.state();
    evaluator.evaluate(&loader(bars(50, 4), 16, false)).unwrap();
    assert!(params.state() == before, "an evaluation changes nothing");
}

#[test]
fn a_schedule_is_followed_step_by_step() {
    /// Halves the rate at each step.
    struct Half;
    impl Schedule for Half {
        fn rate(&self, base: f64, at: Progress) -> f64 {
            assert_eq!((base, at.total, at.epoch), (0.5, 6, 3));
            base * 0.5f64.powi(at.step as i32)
        }
    }
    let params = Params::new(1);
    let (model, loss) = (network(&params), CrossEntropy::default());
    let sgd = Sgd::new(&params, 0.5);
    let fit = Trainer::new(&model, &loss, &sgd)
        .schedule(Box::new(Half))
        .options(options(2))
        .fit(&loader(bars(96, 1), 32, true), None, &mut [])
        .unwrap();
    let rates: Vec<f64> = fit.history.rows.iter().map(|row| row.lr).collect();
    assert_eq!(rates, [0.125, 0.015625]);
    assert_eq!(sgd.learning_rate(), 0.015625);
}

#[test]
fn a_plateau_sees_the_scores_of_each_epoch() {
    let params = Params::new(1);
    let (model, loss) = (network(&params), CrossEntropy::default());
    let sgd = Sgd::new(&params, 0.5);
    // No accuracy is ten times as good as the one before.
    let plateau = Plateau {
        metric: Some("val_accuracy".into()),
        larger_is_better: true,
        threshold: 10.0,
        patience: 0,
        ..Plateau::default()
    };
    let fit = Trainer::new(&model, &loss, &sgd)
        .metrics(vec![Box::new(Accuracy)])
        .schedule(Box::new(plateau))
        .options(options(3))
        .fit(&loader(bars(96, 1), 32, true), Some(&loader(bars(32, 2), 32, false)), &mut [])
        .unwrap();
    let rates: Vec<f64> = fit.history.rows.iter().map(|row| row.lr).collect();
    assert_eq!(rates, [0.5, 0.5, 0.05]);
}

#[test]
fn averages_are_measured_and_stay_at_the_end_but_do_not_disturb_the_training() {
    /// The parameters as a callback sees them after each epoch.
    struct Look<'p>(&'p Params, Vec<Vec<StateTensor>>);
    impl Callback for Look<'_> {
        fn on_epoch_end(&mut self, _: &History) -> Result<Control, CallbackError> {
            self.1.push(self.0.state());
            Ok(Control::Continue)
        }
    }
    let run = |averaged: bool| {
        let params = Params::new(1);
        let (model, loss) = (network(&params), CrossEntropy::default());
        let sgd = Sgd::new(&params, 0.1);
        let average = Average::Exponential { decay: 0.9, warm_up: false };
        let optimizer: Box<dyn Optimizer> = match averaged {
            true => Box::new(Averaged::new(sgd, average)),
            false => Box::new(sgd),
        };
        let (data, held) = (loader(bars(96, 1), 32, true), loader(bars(32, 2), 32, false));
        let mut look = Look(&params, Vec::new());
        let trainer = Trainer::new(&model, &loss, &*optimizer).options(options(2));
        let fit = trainer.fit(&data, Some(&held), &mut [&mut look]).unwrap();
        let seen = look.1;
        assert!(seen[1] == params.state(), "the averages stay");
        let measured = trainer.evaluate(&held).unwrap().loss;
        assert_eq!(Some(measured), fit.history.rows[1].val_loss);
        optimizer.exchange_averages();
        (params.state(), seen)
    };
    let ((plain, _), (raw, seen)) = (run(false), run(true));
    assert!(plain == raw, "the training itself is the same");
    assert!(seen[1] != raw);
}

/// Numbers x with the target 2x, of which every third is wrong but has no weight.
fn weighted(rows: usize) -> Arrays {
    let x: Vec<f32> = (0..rows).map(|i| i as f32 / rows as f32 - 0.5).collect();
    let wrong = |i: usize| i.is_multiple_of(3);
    let y = x.iter().enumerate().map(|(i, x)| if wrong(i) { 100.0 } else { 2.0 * x });
    let y: Vec<f32> = y.collect();
    let weights: Vec<f32> = (0..rows).map(|i| if wrong(i) { 0.0 } else { 1.5 }).collect();
    Arrays::new(vec![
        (Field::new("x", &[1], Element::F32), x.into()),
        (Field::new("y", &[1], Element::F32), y.into()),
        (Field::new("weight", &[], Element::F32), weights.into()),
    ])
    .unwrap()
}

#[test]
fn examples_without_weight_teach_nothing() {
    let params = Params::new(1);
    let model = Linear::new(&params.at("fc"), 1, 1);
    let adam = Adam::new(&params, 0.05);
    let trainer = Trainer::new(&model, &Mse, &adam).weighted(true).options(options(60));
    // 50 rows in batches of 16: the last one is smaller.
    let data = loader(weighted(50), 16, true);
    let fit = trainer.fit(&data, None, &mut []).unwrap();
    assert!(fit.history.last().unwrap().loss < 1e-3, "{:?}", fit.history.last());
    let slope = model.weight.to_vec::<f32>()[0];
    assert!((slope - 2.0).abs() < 0.1, "{slope}");
    // The weighted mean over all, however the batches fall.
    let held = trainer.evaluate(&loader(weighted(50), 16, false)).unwrap().loss;
    let whole = trainer.evaluate(&loader(weighted(50), 50, false)).unwrap().loss;
    assert!((held - whole).abs() < 1e-6 * whole.max(1e-6), "{held} {whole}");
    let bare = loader(bars(8, 1), 4, false);
    let error = Evaluator::new(&model, &Mse, &[]).weighted(true).evaluate(&bare).unwrap_err();
    let text =
        "the data have 2 fields; expected at least 3: the input, the target, and the weights";
    assert!(error.to_string().contains(text), "{error}");
}

/// Notes what is known after each step.
#[derive(Default)]
struct Steps(Vec<Vec<f64>>);

impl Callback for Steps {
    fn on_step_end(&mut self, step: &StepEnd<'_>) -> Result<Control, CallbackError> {
        self.0.push(step.scores.metrics.to_vec());
        Ok(Control::Continue)
    }
}

#[test]
fn metrics_that_need_all_are_known_at_the_end_of_an_epoch() {
    let params = Params::new(42);
    let model = network(&params);
    let adam = Adam::new(&params, 0.01);
    let loss = CrossEntropy::default();
    let named = |name: &str| {
        let entry = metrics::find(name).unwrap();
        let args = nerve_formats::spec::check(&entry.spec, &[]).unwrap();
        (entry.build)(&args)
    };
    let all = ["accuracy", "f1", "roc_auc", "log_loss"].map(named).into_iter().collect();
    let trainer = Trainer::new(&model, &loss, &adam).metrics(all).options(options(3));
    let (data, held) = (loader(bars(200, 1), 32, true), loader(bars(60, 2), 32, false));
    let mut steps = Steps::default();
    let fit = trainer.fit(&data, Some(&held), &mut [&mut steps]).unwrap();
    for seen in &steps.0 {
        assert!(!seen[0].is_nan() && seen[1].is_nan() && seen[2].is_nan() && !seen[3].is_nan());
    }
    let row = fit.history.last().unwrap();
    assert!(row.metrics.iter().chain(&row.val_metrics).all(|v| v.is_finite()), "{row:?}");
    assert!((row.val_metrics[3] - row.val_loss.unwrap()).abs() < 1e-5, "log loss is the loss");
    // In one batch as in several, and the same again.
    let [one, several] = [60, 32].map(|size| {
        let held = loader(bars(60, 2), size, false);
        trainer.evaluate(&held).unwrap().metrics
    });
    assert!(one.iter().zip(&several).all(|(a, b)| (a - b).abs() < 1e-6), "{one:?} {several:?}");
    assert_eq!(several, row.val_metrics);
}

/// Counts how often it is told of a step, and what it saw last.
#[derive(Default)]
struct Told {
    steps: Vec<u64>,
}

impl Callback for Told {
    fn on_step_end(&mut self, step: &StepEnd<'_>) -> Result<Control, CallbackError> {
        assert!(step.scores.metrics[0].is_finite());
        self.steps.push(step.step);
        Ok(Control::Continue)
    }
}

#[test]
fn steps_per_call_tells_less_and_learns_the_same() {
    let train = |steps_per_call: u64| {
        let params = Params::new(3);
        let model = network(&params);
        let (loss, adam) = (CrossEntropy::default(), Adam::new(&params, 0.01));
        let options = Options { epochs: 2, steps_per_call, ..Options::default() };
        let trainer =
            Trainer::new(&model, &loss, &adam).metrics(vec![Box::new(Accuracy)]).options(options);
        let mut told = Told::default();
        let fit = trainer.fit(&loader(bars(70, 1), 10, true), None, &mut [&mut told]).unwrap();
        let rows: Vec<_> = fit.history.rows.iter().map(|r| (r.loss, r.metrics.clone())).collect();
        (rows, told.steps)
    };
    let (each, third) = (train(1), train(3));
    assert_eq!(each.0, third.0);
    assert_eq!((each.1.len(), third.1), (14, vec![3, 6, 10, 13]));
}
