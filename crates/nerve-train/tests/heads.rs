//! Networks of several inputs and outputs, and when their training ends.

use nerve_core::Tensor;
use nerve_data::{Arrays, Element, Field, Loader, LoaderOptions};
use nerve_nn::layers::Linear;
use nerve_nn::losses::{CrossEntropy, Mse};
use nerve_nn::optim::{Adam, Average, Averaged, Optimizer};
use nerve_nn::{Context, Layer, Model, Params};
use nerve_train::metrics::{Accuracy, LossMetric};
use nerve_train::{
    Callback, CallbackError, Control, EarlyStopping, Evaluator, Fit, Goal, Head, History, Metric,
    Options, Outcome, TrainError, Trainer,
};
use std::sync::Arc;
use std::time::Duration;

/// Two numbers and one; a class from the first, a number from both.
struct Two {
    class: Linear,
    number: Linear,
}

impl Model for Two {
    fn input_count(&self) -> usize {
        2
    }

    fn outputs(&self, inputs: &[Tensor], cx: &Context) -> Vec<Tensor> {
        let both = Tensor::concat(inputs, 1);
        vec![self.class.forward(&inputs[0], cx), self.number.forward(&both, cx)]
    }
}

impl Two {
    fn new(params: &Params) -> Two {
        Two {
            class: Linear::new(&params.at("class"), 2, 2),
            number: Linear::new(&params.at("number"), 3, 1),
        }
    }
}

fn data(rows: usize) -> Arrays {
    let a: Vec<f32> = (0..2 * rows).map(|i| ((i * 37 % 23) as f32 - 11.0) / 11.0).collect();
    let b: Vec<f32> = (0..rows).map(|i| ((i * 17 % 13) as f32 - 6.0) / 6.0).collect();
    let class = a.chunks(2).map(|a| i32::from(a[0] > a[1])).collect::<Vec<i32>>();
    let number = a.chunks(2).zip(&b).map(|(a, b)| a[0] - 2.0 * a[1] + 0.5 * b);
    let number: Vec<f32> = number.collect();
    let weight: Vec<f32> = (0..rows).map(|i| if i % 4 == 0 { 0.0 } else { 2.0 }).collect();
    Arrays::new(vec![
        (Field::new("a", &[2], Element::F32), a.into()),
        (Field::new("b", &[1], Element::F32), b.into()),
        (Field::new("class", &[], Element::I32), class.into()),
        (Field::new("number", &[1], Element::F32), number.into()),
        (Field::new("weight", &[], Element::F32), weight.into()),
    ])
    .unwrap()
}

fn loader(rows: usize, batch_size: usize) -> Loader {
    let options = LoaderOptions { batch_size, shuffle: true, seed: 3, ..LoaderOptions::default() };
    Loader::new(Arc::new(data(rows)), options).unwrap()
}

fn heads() -> Vec<Head<'static>> {
    let mae = LossMetric { name: "mae".into(), loss: Box::new(nerve_nn::losses::Mae) };
    let class =
        Head { metrics: vec![Box::new(Accuracy)], ..Head::new("class", CrossEntropy::default()) };
    let number = Head { metrics: vec![Box::new(mae)], weight: 0.5, ..Head::new("number", Mse) };
    vec![class, number]
}

#[test]
fn two_heads_learn_together_and_are_told_apart() {
    let params = Params::new(1);
    let model = Two::new(&params);
    let adam = Adam::new(&params, 0.05);
    let options = Options { epochs: 60, ..Options::default() };
    let trainer = Trainer::with_heads(&model, heads(), &adam).options(options);
    let fit = trainer.fit(&loader(100, 32), Some(&loader(50, 20)), &mut []).unwrap();
    assert_eq!(fit.history.metrics, ["class.loss", "class.accuracy", "number.loss", "number.mae"]);
    let last = fit.history.last().unwrap();
    let [class, accuracy, number, mae] = last.val_metrics[..] else { panic!() };
    assert!((last.val_loss.unwrap() - (class + 0.5 * number)).abs() < 1e-12);
    let [class, _, number, _] = last.metrics[..] else { panic!() };
    assert!((last.loss - (class + 0.5 * number)).abs() < 1e-12);
    assert!(accuracy > 0.9 && mae < 0.05, "{last:?}");
    // The same over batches of another size, and from another evaluator.
    let heads = heads();
    let mut evaluator = Evaluator::with_heads(&model, &heads);
    assert_eq!(evaluator.names(), fit.history.metrics);
    let one = evaluator.evaluate(&loader(50, 50)).unwrap();
    assert!((one.loss - last.val_loss.unwrap()).abs() < 1e-6);
    assert!(one.metrics.iter().zip(&last.val_metrics).all(|(a, b)| (a - b).abs() < 1e-6));
}

#[test]
fn weights_of_examples_count_in_every_head() {
    let params = Params::new(1);
    let model = Two::new(&params);
    let heads = heads();
    let mut evaluator = Evaluator::with_heads(&model, &heads).weighted(true);
    let mut loss = |rows, batch| evaluator.evaluate(&loader(rows, batch)).unwrap();
    let (whole, parts) = (loss(50, 50), loss(50, 13));
    assert!((whole.loss - parts.loss).abs() < 1e-6, "{whole:?} {parts:?}");
    let plain = Evaluator::with_heads(&model, &heads).evaluate(&loader(50, 50)).unwrap();
    for (head, least) in [(0, 1e-4), (2, 1e-2)] {
        assert!((whole.metrics[head] - plain.metrics[head]).abs() > least, "some count nothing");
    }
    assert_eq!(whole.metrics[1], plain.metrics[1], "metrics have no weights");
}

#[test]
fn one_head_is_the_plain_trainer() {
    let train = |several: bool| {
        let params = Params::new(1);
        let model = Linear::new(&params.at("fc"), 2, 1);
        let adam = Adam::new(&params, 0.05);
        let column = |name: &str, values: Vec<f32>, shape: &[usize]| {
            (Field::new(name, shape, Element::F32), values.into())
        };
        let x: Vec<f32> = (0..60).map(|i| (i % 7) as f32 - 3.0).collect();
        let y: Vec<f32> = x.chunks(2).map(|x| x[0] - x[1]).collect();
        let data = Arrays::new(vec![column("x", x, &[2]), column("y", y, &[1])]).unwrap();
        let options = LoaderOptions { batch_size: 8, shuffle: true, ..LoaderOptions::default() };
        let loader = Loader::new(Arc::new(data), options).unwrap();
        let trainer = match several {
            false => Trainer::new(&model, &Mse, &adam),
            true => Trainer::with_heads(&model, vec![Head::new("y", Mse)], &adam),
        };
        let fit = trainer.options(Options { epochs: 3, ..Options::default() });
        let fit = fit.fit(&loader, None, &mut []).unwrap();
        (fit.history.metrics.clone(), fit.history.last().unwrap().loss, params.vars()[0].to_vec())
    };
    let (plain, one): ((_, _, Vec<f32>), (_, _, Vec<f32>)) = (train(false), train(true));
    assert_eq!(plain, one);
}

#[test]
fn what_the_network_gives_comes_with_its_batch() {
    let params = Params::new(1);
    let model = Two::new(&params);
    let heads = heads();
    let mut evaluator = Evaluator::with_heads(&model, &heads);
    let options = LoaderOptions { batch_size: 8, ..LoaderOptions::default() };
    let loader = Loader::new(Arc::new(data(20)), options).unwrap();
    let mut rows = Vec::new();
    for _ in 0..2 {
        rows.clear();
        let each = |batch: &nerve_data::Batch, outputs: &[nerve_train::Given]| {
            assert_eq!((&*outputs[0].shape, &*outputs[1].shape), (&[2][..], &[1][..]));
            for i in 0..batch.size() {
                rows.push((batch.indices()[i], outputs[0].row(i).to_vec(), outputs[1].row(i)[0]));
            }
            Ok(())
        };
        evaluator.predictions(&loader, each).unwrap();
    }
    assert_eq!(rows.iter().map(|row| row.0).collect::<Vec<_>>(), (0..20).collect::<Vec<u64>>());
    let batch = loader.epoch(0, 0).next().unwrap().unwrap();
    let tensor = |field: usize, width: usize| {
        let nerve_data::Values::F32(values) = batch.array(field).values() else { panic!() };
        Tensor::from_slice(values, [8, width])
    };
    let direct = model.outputs(&[tensor(0, 2), tensor(1, 1)], &Context::eval());
    let all = direct[0].to_vec::<f32>();
    for (i, row) in rows[..8].iter().enumerate() {
        assert!(row.1.iter().zip(&all[2 * i..]).all(|(a, b)| (a - b).abs() < 1e-6));
    }
    let error = evaluator.predictions(&loader, |_, _| Err("the disk is full".into())).unwrap_err();
    assert_eq!(error.to_string(), "the disk is full");
}

#[test]
fn metrics_of_mixed_examples_see_the_larger_class() {
    let column = |name: &str, shape: &[usize], values: Vec<f32>| {
        (Field::new(name, shape, Element::F32), values.into())
    };
    let x: Vec<f32> =
        (0..20).flat_map(|i| if i % 4 == 3 { [0.0, 1.0] } else { [1.0, 0.0] }).collect();
    let shares = (0..20).flat_map(|i| if i % 2 == 0 { [0.7, 0.3] } else { [0.4, 0.6] }).collect();
    let data = vec![column("x", &[2], x), column("y", &[2], shares)];
    let options = LoaderOptions { batch_size: 8, ..LoaderOptions::default() };
    let loader = Loader::new(Arc::new(Arrays::new(data).unwrap()), options).unwrap();
    let model = nerve_nn::activations::Identity;
    let (loss, metrics) = (CrossEntropy::default(), [Box::new(Accuracy) as Box<dyn Metric>]);
    let right = Evaluator::new(&model, &loss, &metrics).evaluate(&loader).unwrap();
    assert_eq!(right.metrics, [0.75]);
    // Two numbers are two numbers: the metric sees them as they are.
    let mae = || LossMetric { name: "mae".into(), loss: Box::new(nerve_nn::losses::Mae) };
    let metrics = [Box::new(mae()) as Box<dyn Metric>];
    let mean = Evaluator::new(&model, &Mse, &metrics).evaluate(&loader).unwrap().metrics[0];
    assert!((mean - (10.0 * 0.3 + 5.0 * 0.6 + 5.0 * 0.4) / 20.0).abs() < 1e-6, "{mean}");
}

#[test]
fn data_without_enough_fields_are_refused() {
    let params = Params::new(1);
    let model = Two::new(&params);
    let heads = heads();
    let column = (Field::new("a", &[2], Element::F32), vec![0.0f32; 8].into());
    let loader =
        Loader::new(Arc::new(Arrays::new(vec![column]).unwrap()), LoaderOptions::default());
    let loader = loader.unwrap();
    let mut evaluator = Evaluator::with_heads(&model, &heads).weighted(true);
    let error = evaluator.evaluate(&loader).unwrap_err();
    let text = "the data have 1 fields; expected at least 5: 2 inputs, 2 targets, and the weights of \
                the examples";
    assert_eq!(error.to_string(), text);
    let error = evaluator.predictions(&loader, |_, _| Ok(())).unwrap_err();
    assert!(matches!(error, TrainError::Fields { found: 1, needed: 2, .. }));
}

/// Parameters after each epoch.
struct Seen<'a>(&'a Params, Vec<Vec<f32>>);

impl Callback for Seen<'_> {
    fn on_epoch_end(&mut self, _: &History) -> Result<Control, CallbackError> {
        self.1.push(self.0.vars()[0].to_vec());
        Ok(Control::Continue)
    }
}

/// y = slope · x.
fn line(slope: f32) -> Loader {
    let x: Vec<f32> = (0..40).map(|i| i as f32 / 20.0 - 1.0).collect();
    let y: Vec<f32> = x.iter().map(|x| slope * x).collect();
    let columns = [("x", x), ("y", y)]
        .map(|(name, values)| (Field::new(name, &[1], Element::F32), values.into()));
    let options = LoaderOptions { batch_size: 16, shuffle: true, ..LoaderOptions::default() };
    Loader::new(Arc::new(Arrays::new(columns.into()).unwrap()), options).unwrap()
}

/// A training on the way to slope 3 that is judged by slope 1: it gets better, and then worse.
fn overshoot(average: bool) -> (Fit, Vec<Vec<f32>>, Vec<f32>) {
    let params = Params::new(1);
    let model = Linear::new(&params.at("fc"), 1, 1);
    let adam = Adam::new(&params, 0.05);
    let average = match average {
        true => Some(Average::Exponential { decay: 0.5, warm_up: false }),
        false => None,
    };
    let optimizer: Box<dyn Optimizer> = match average {
        Some(average) => Box::new(Averaged::new(adam, average)),
        None => Box::new(adam),
    };
    let options = Options { epochs: 60, ..Options::default() };
    let trainer = Trainer::new(&model, &Mse, &*optimizer).options(options);
    let (mut seen, mut early) = (Seen(&params, Vec::new()), EarlyStopping::new(&params, 3));
    let fit = trainer.fit(&line(3.0), Some(&line(1.0)), &mut [&mut seen, &mut early]).unwrap();
    assert_eq!(early.best(), fit.history.best().map(|row| row.epoch));
    (fit, seen.1, params.vars()[0].to_vec())
}

#[test]
fn early_stopping_restores_what_was_best() {
    for average in [false, true] {
        let (fit, seen, end) = overshoot(average);
        let best = fit.history.best().unwrap().epoch;
        let last = fit.history.last().unwrap().epoch;
        assert!(best > 2 && last == best + 3, "{best} {last}");
        assert_eq!(fit.outcome, Outcome::Stopped("val_loss not better for 3 epochs".into()));
        assert_eq!(end, seen[best as usize - 1]);
        assert_ne!(end, seen[last as usize - 1]);
    }
}

#[test]
fn a_goal_that_does_not_exist_is_an_error() {
    let params = Params::new(1);
    let model = Two::new(&params);
    let adam = Adam::new(&params, 0.05);
    let options = Options { goal: Goal::new("val_auc"), ..Options::default() };
    let trainer = Trainer::with_heads(&model, heads(), &adam).options(options);
    let mut early = EarlyStopping::new(&params, 3);
    let error = trainer.fit(&loader(20, 8), None, &mut [&mut early]).unwrap_err();
    let text = "early stopping follows `val_auc`; there are loss, class.loss, class.accuracy, \
                number.loss, number.mae";
    assert_eq!(error.to_string(), text);
}

#[test]
fn when_the_time_is_up_the_epoch_is_measured_and_the_last() {
    let params = Params::new(1);
    let model = Two::new(&params);
    let adam = Adam::new(&params, 0.05);
    let options = Options { max_time: Some(Duration::ZERO), epochs: 50, ..Options::default() };
    let trainer = Trainer::with_heads(&model, heads(), &adam).options(options);
    let fit = trainer.fit(&loader(64, 8), Some(&loader(50, 20)), &mut []).unwrap();
    assert!(matches!(&fit.outcome, Outcome::Stopped(reason) if reason.contains("time")));
    assert_eq!((fit.steps, fit.history.rows.len()), (1, 1));
    assert!(fit.history.last().unwrap().val_loss.is_some());
}
