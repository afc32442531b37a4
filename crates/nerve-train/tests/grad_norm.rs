//! The length of all gradients together, as callbacks hear of it.

use nerve_data::{Arrays, Element, Field, Loader, LoaderOptions};
use nerve_nn::layers::Linear;
use nerve_nn::losses::Mse;
use nerve_nn::optim::{Clip, Clipped, Optimizer, Sgd};
use nerve_nn::{Params, state};
use nerve_train::{Callback, CallbackError, Control, Options, StepEnd, Trainer};
use std::sync::Arc;

/// Two numbers x, their sum as the target, and a weight of each example.
fn data(batch_size: usize) -> Loader {
    let x: Vec<f32> = (0..80).map(|i| ((i * 37) % 80) as f32 / 40.0 - 1.0).collect();
    let y: Vec<f32> = x.chunks(2).map(|pair| pair[0] + pair[1]).collect();
    let weights: Vec<f32> = (0..40).map(|i| 0.5 + (i % 4) as f32).collect();
    let arrays = Arrays::new(vec![
        (Field::new("x", &[2], Element::F32), x.into()),
        (Field::new("y", &[1], Element::F32), y.into()),
        (Field::new("weight", &[], Element::F32), weights.into()),
    ]);
    let options = LoaderOptions { batch_size, ..LoaderOptions::default() };
    Loader::new(Arc::new(arrays.unwrap()), options).unwrap()
}

#[derive(Default)]
struct Norms(Vec<Option<f64>>);

impl Callback for Norms {
    fn on_step_end(&mut self, step: &StepEnd<'_>) -> Result<Control, CallbackError> {
        self.0.push(step.grad_norm);
        Ok(Control::Continue)
    }
}

const RATE: f64 = 0.25;

/// What one step tells, how far it goes, the loss of its epoch, and the parameters.
fn step(clip: Option<f64>, grad_norm: bool) -> (Option<f64>, f64, f64, Vec<u8>) {
    let params = Params::new(5);
    let model = Linear::new(&params.at("fc"), 2, 1);
    let before = all(&params);
    let sgd = Sgd::new(&params, RATE);
    let optimizer: Box<dyn Optimizer> = match clip {
        Some(most) => Box::new(Clipped::new(sgd, Clip::GlobalNorm(most))),
        None => Box::new(sgd),
    };
    let options = Options { epochs: 1, grad_norm, ..Options::default() };
    let trainer = Trainer::new(&model, &Mse, &*optimizer).weighted(true).options(options);
    let mut norms = Norms::default();
    let fit = trainer.fit(&data(40), None, &mut [&mut norms]).unwrap();
    let far: f64 = before.iter().zip(all(&params)).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    let [norm] = norms.0[..] else { panic!("one step: {:?}", norms.0) };
    let bytes = params.state().into_iter().flat_map(|tensor| tensor.bytes).collect();
    (norm, far.sqrt(), fit.history.rows[0].loss, bytes)
}

fn all(params: &Params) -> Vec<f32> {
    params.vars().iter().flat_map(|var| var.to_vec::<f32>()).collect()
}

#[test]
fn it_is_how_far_a_step_of_plain_descent_goes() {
    let (norm, far, ..) = step(None, true);
    let norm = norm.unwrap();
    assert!(norm > 0.1 && (far / RATE - norm).abs() < 1e-5 * norm, "{far} {norm}");
    // It is that before clipping.
    let (clipped, far, ..) = step(Some(1e-3), true);
    assert_eq!(clipped, Some(norm));
    assert!((far / RATE - 1e-3).abs() < 1e-6, "{far}");
}

#[test]
fn telling_it_changes_nothing() {
    for clip in [None, Some(0.01)] {
        let (silent, told) = (step(clip, false), step(clip, true));
        assert_eq!(silent.0, None);
        assert!(told.0.is_some());
        assert_eq!((silent.2.to_bits(), &silent.3), (told.2.to_bits(), &told.3), "the same bits");
    }
}

#[test]
fn each_step_has_its_own_and_the_learning_rate_range_test_none() {
    let params = Params::new(5);
    let model = Linear::new(&params.at("fc"), 2, 1);
    let sgd = Sgd::new(&params, 0.1);
    let options = Options { epochs: 20, grad_norm: true, ..Options::default() };
    let trainer = Trainer::new(&model, &Mse, &sgd).options(options);
    let mut norms = Norms::default();
    // The last batch of an epoch is smaller.
    trainer.fit(&data(16), None, &mut [&mut norms]).unwrap();
    let norms: Vec<f64> = norms.0.into_iter().map(Option::unwrap).collect();
    assert_eq!(norms.len(), 60);
    assert!(norms[59] < 0.2 * norms[0], "{norms:?}");
    let before = state::of(&params.vars());
    let range = nerve_train::LrRange { steps: 20, ..nerve_train::LrRange::default() };
    let curve = trainer.find_learning_rate(&data(16), range).unwrap();
    assert!(curve.losses.iter().all(|loss| loss.is_finite()));
    assert!(before == state::of(&params.vars()));
}
