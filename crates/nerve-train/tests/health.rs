//! What the health callback finds, against what can be computed by hand.

use nerve_data::{Arrays, Element, Field, Loader, LoaderOptions};
use nerve_nn::Params;
use nerve_nn::activations::Relu;
use nerve_nn::layers::{BatchNorm, Dropout, Linear, Sequential};
use nerve_nn::losses::Mse;
use nerve_nn::optim::{Optimizer, Sgd};
use nerve_train::{Depth, Finding, Health, Options, Trainer};
use std::sync::Arc;

fn line(n: usize) -> Loader {
    let x: Vec<f32> = (0..n).map(|i| i as f32 / n as f32).collect();
    let data = Arrays::new(vec![
        (Field::new("x", &[1], Element::F32), x.clone().into()),
        (Field::new("y", &[1], Element::F32), x.into()),
    ]);
    Loader::new(
        Arc::new(data.unwrap()),
        LoaderOptions { batch_size: 4, ..LoaderOptions::default() },
    )
    .unwrap()
}

fn value(found: &[Finding], of: &str, name: &str) -> Option<f64> {
    found.iter().find_map(|finding| match finding {
        Finding::Layer { tag, values } if tag == of => {
            values.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
        }
        _ => None,
    })
}

fn histogram(found: &[Finding], of: &str) -> Option<(Vec<f64>, Vec<u64>)> {
    found.iter().find_map(|finding| match finding {
        Finding::Histogram { tag, edges, counts, .. } if tag == of => {
            Some((edges.clone(), counts.clone()))
        }
        _ => None,
    })
}

#[test]
fn dead_units_gradients_and_activations_are_what_they_are() {
    let params = Params::new(1);
    let first = Linear::new(&params.at("0"), 1, 4);
    // Of four units two never give anything: x is never below 0.
    first.weight.write(&[1.0f32, -1.0, 2.0, -3.0]);
    first.bias.as_ref().unwrap().write(&[0.5f32, 0.0, 0.0, -1.0]);
    let last = Linear::new(&params.at("2"), 4, 1);
    last.weight.write(&[1.0f32, 1.0, 1.0, 1.0]);
    last.bias.as_ref().unwrap().write(&[0.0f32]);
    let model = Sequential::new(vec![Box::new(first), Box::new(Relu), Box::new(last)]);
    let (loss, sgd) = (Mse, Sgd::new(&params, 0.0));
    let trainer = Trainer::new(&model, &loss, &sgd);
    let (data, mut heard) = (line(8), 0);
    let found = {
        let mut health = Health::new(&trainer, &data, Depth::All, |_, _, _| heard += 1);
        health.look().unwrap()
    };
    assert_eq!(value(&found, "1.Relu", "dead"), Some(0.5));
    assert_eq!(value(&found, "0.Linear", "dead"), Some(0.0));
    // The first batch: x = 0, ⅛, ¼, ⅜. The output is x + ½ + 2x, the target x; the gradient of the last
    // bias is the mean of 2 (2x + ½).
    let error = [0.0, 0.125, 0.25, 0.375].map(|x: f64| 2.0 * x + 0.5);
    let bias: f64 = error.iter().map(|e| 2.0 * e / 4.0).sum();
    assert!((value(&found, "2.bias", "grad_norm").unwrap() - bias).abs() < 1e-6);
    let (edges, counts) = histogram(&found, "acts/1.Relu").unwrap();
    assert_eq!((edges[0], counts.iter().sum::<u64>()), (0.0, 16));
    assert!((edges[30] - 0.875).abs() < 1e-6, "½ + ⅜ is the largest");
    let (edges, _) = histogram(&found, "weights/0.weight").unwrap();
    assert_eq!((edges[0], edges[30]), (-3.0, 2.0));
    assert!(histogram(&found, "grads/0.weight").is_some());
    let layers = ["0", "2"].map(|layer| value(&found, layer, "time_ms").unwrap());
    assert!(layers.iter().all(|&ms| ms >= 0.0));
}

#[test]
fn the_update_ratio_is_that_of_the_first_step() {
    let params = Params::new(1);
    let model = Linear::new(&params.at("fc"), 1, 1);
    model.weight.write(&[4.0f32]);
    model.bias.as_ref().unwrap().write(&[1.0f32]);
    let (loss, sgd) = (Mse, Sgd::new(&params, 0.01));
    let trainer =
        Trainer::new(&model, &loss, &sgd).options(Options { epochs: 1, ..Options::default() });
    let (data, mut found) = (line(8), Vec::new());
    let mut health = Health::new(&trainer, &data, Depth::Weights, |epoch, step, all| {
        assert_eq!((epoch, step), (1, 2));
        found = all;
    });
    trainer.fit(&data, None, &mut [&mut health]).unwrap();
    drop(health);
    // x = 0, ⅛, ¼, ⅜: the gradient of the weight is the mean of 2 (4x + 1 − x) x.
    let xs = [0.0, 0.125, 0.25, 0.375];
    let slope: f64 = xs.iter().map(|x| 2.0 * (3.0 * x + 1.0) * x / 4.0).sum();
    let ratio = value(&found, "fc.weight", "update_ratio").unwrap();
    assert!((ratio - 0.01 * slope / 4.0).abs() < 1e-7, "{ratio}");
    assert!(
        found
            .iter()
            .all(|f| !matches!(f, Finding::Histogram { tag, .. } if tag.starts_with("grads")))
    );
}

#[test]
fn looking_changes_nothing() {
    let train = |look: bool| {
        let params = Params::new(3);
        let model = Sequential::new(vec![
            Box::new(Linear::new(&params.at("0"), 1, 8)),
            Box::new(BatchNorm::new(&params.at("1"), 8)),
            Box::new(Relu),
            Box::new(Dropout { rate: 0.2 }),
            Box::new(Linear::new(&params.at("4"), 8, 1)),
        ]);
        let (loss, sgd) = (Mse, Sgd::new(&params, 0.05).momentum(0.9));
        let options = Options { epochs: 3, ..Options::default() };
        let trainer = Trainer::new(&model, &loss, &sgd).options(options);
        let (data, mut looks) = (line(20), 0);
        let mut health = Health::new(&trainer, &data, Depth::All, |_, _, _| looks += 1);
        match look {
            true => trainer.fit(&data, None, &mut [&mut health]).unwrap(),
            false => trainer.fit(&data, None, &mut []).unwrap(),
        };
        drop(health);
        assert_eq!(looks, if look { 3 } else { 0 });
        let all = params.vars().into_iter().chain(sgd.slots());
        let bytes = |var: nerve_core::Var| {
            let mut bytes = Vec::new();
            var.read_bytes(&mut bytes);
            bytes
        };
        all.map(bytes).collect::<Vec<_>>()
    };
    assert_eq!(train(true), train(false));
}
