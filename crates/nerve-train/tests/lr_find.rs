//! The learning-rate range test leaves no trace.

use nerve_data::{Arrays, Element, Field, Loader, LoaderOptions};
use nerve_nn::Params;
use nerve_nn::activations::Relu;
use nerve_nn::layers::{BatchNorm, Dropout, Linear, Sequential};
use nerve_nn::losses::CrossEntropy;
use nerve_nn::optim::{Adam, Average, Averaged, Optimizer, Sgd};
use nerve_train::{LrRange, Options, Trainer};
use std::sync::Arc;

fn circles() -> Loader {
    let point = |i: usize| {
        let (angle, radius) = (i as f32 * 0.7, [0.5, 1.5][i % 2]);
        [radius * angle.cos(), radius * angle.sin()]
    };
    let x: Vec<f32> = (0..200).flat_map(point).collect();
    let label: Vec<i32> = (0..200).map(|i| i % 2).collect();
    let data = Arrays::new(vec![
        (Field::new("x", &[2], Element::F32), x.into()),
        (Field::new("label", &[], Element::I32), label.into()),
    ]);
    // The last batch of an epoch is smaller.
    let options = LoaderOptions { batch_size: 48, shuffle: true, ..LoaderOptions::default() };
    Loader::new(Arc::new(data.unwrap()), options).unwrap()
}

#[test]
fn a_training_after_the_test_has_the_same_bits_as_one_without() {
    let train = |tested: bool| {
        let params = Params::new(5);
        let model = Sequential::new(vec![
            Box::new(Linear::new(&params.at("0"), 2, 32)),
            Box::new(BatchNorm::new(&params.at("1"), 32)),
            Box::new(Relu),
            Box::new(Dropout { rate: 0.1 }),
            Box::new(Linear::new(&params.at("4"), 32, 2)),
        ]);
        let average = Average::Exponential { decay: 0.9, warm_up: true };
        let (loss, adam) =
            (CrossEntropy::default(), Averaged::new(Adam::new(&params, 0.003), average));
        let options = Options { epochs: 2, ..Options::default() };
        let trainer = Trainer::new(&model, &loss, &adam).options(options);
        if tested {
            let range = LrRange { min: 1e-6, max: 1e3, steps: 60 };
            let curve = trainer.find_learning_rate(&circles(), range).unwrap();
            assert_eq!(curve.rates[0], 1e-6);
            assert!(curve.rates.len() <= 60 && curve.rates.is_sorted());
            assert!((curve.smooth[0] - curve.losses[0]).abs() < 1e-12);
            let again = trainer.find_learning_rate(&circles(), range).unwrap();
            assert_eq!(curve, again);
        }
        let fit = trainer.fit(&circles(), None, &mut []).unwrap();
        let bytes = |var: &nerve_core::Var| {
            let mut bytes = Vec::new();
            var.read_bytes(&mut bytes);
            bytes
        };
        let values: Vec<Vec<u8>> = params.vars().iter().map(bytes).collect();
        assert_eq!(adam.learning_rate(), 0.003);
        (values, fit.history.rows.iter().map(|row| row.loss).collect::<Vec<_>>())
    };
    assert_eq!(train(true), train(false));
}

#[test]
fn the_valley_trains_and_the_end_is_told() {
    let params = Params::new(5);
    let model = Sequential::new(vec![
        Box::new(Linear::new(&params.at("0"), 2, 32)),
        Box::new(Relu),
        Box::new(Linear::new(&params.at("2"), 32, 2)),
    ]);
    let (loss, adam) = (CrossEntropy::default(), Adam::new(&params, 0.003));
    let trainer = Trainer::new(&model, &loss, &adam);
    let range = LrRange { min: 1e-6, max: 1.0, steps: 200 };
    let curve = trainer.find_learning_rate(&circles(), range).unwrap();
    let valley = curve.valley().unwrap();
    assert!((1e-5..1.0).contains(&valley), "{valley}");
    assert!(curve.steep().is_some() && curve.minimum().is_some());
    // A line cannot part the rings: at large rates it only goes wild.
    let params = Params::new(5);
    let line = Linear::new(&params.at("fc"), 2, 2);
    let sgd = Sgd::new(&params, 0.1);
    let range = LrRange { max: 1e4, ..range };
    let curve = Trainer::new(&line, &loss, &sgd).find_learning_rate(&circles(), range).unwrap();
    assert!(curve.diverged && curve.rates.len() < 200);
}
