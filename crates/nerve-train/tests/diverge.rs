//! Trainings that go wrong say where.

use nerve_core::{Tensor, Var};
use nerve_data::{Arrays, Element, Field, Loader, LoaderOptions};
use nerve_nn::init::Ones;
use nerve_nn::layers::{Linear, Sequential};
use nerve_nn::losses::Mse;
use nerve_nn::optim::{Optimizer, Sgd};
use nerve_nn::{Context, Layer, Params};
use nerve_train::{
    Callback, CallbackError, Capture, Cause, Moment, Options, Outcome, Snapshot, Trainer,
};
use std::sync::Arc;

/// √x of each value, as somebody might write it.
struct Root;

impl Layer for Root {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        x.sqrt()
    }
}

/// 0, 1, 2, …: the target is the same.
fn numbers(x: Vec<f32>) -> Loader {
    let n = x.len();
    let y: Vec<f32> = (0..n).map(|i| i as f32 / n as f32).collect();
    let data = Arrays::new(vec![
        (Field::new("height", &[1], Element::F32), x.into()),
        (Field::new("weight", &[1], Element::F32), y.into()),
    ]);
    let options = LoaderOptions { batch_size: 4, ..LoaderOptions::default() };
    Loader::new(Arc::new(data.unwrap()), options).unwrap()
}

/// How a training at this rate ends, and its parameters.
fn train(x: Vec<f32>, rate: f64, layers: fn(&Params) -> Sequential) -> (Outcome, Vec<Var>) {
    let params = Params::new(3);
    let model = layers(&params);
    let (loss, sgd) = (Mse, Sgd::new(&params, rate).momentum(0.9));
    let options = Options { epochs: 50, ..Options::default() };
    let trainer = Trainer::new(&model, &loss, &sgd).state(params.vars()).options(options);
    let fit = trainer.fit(&numbers(x), None, &mut [&mut Whole]).unwrap();
    (fit.outcome, sgd.parameters().to_vec())
}

/// K20: captures the training after every step; what is captured can be gone on from.
struct Whole;

impl Callback for Whole {
    fn wants_snapshot(&mut self, _: &Moment) -> bool {
        true
    }

    fn on_snapshot(&mut self, at: &Moment, capture: &Capture<'_>) -> Result<(), CallbackError> {
        let mut snapshot = Snapshot::default();
        capture.take(&mut snapshot);
        let model = snapshot.tensors().iter().filter(|tensor| tensor.name.starts_with("model/"));
        for tensor in model {
            let values = tensor.bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
            assert!(values.clone().all(f32::is_finite), "{at:?}: {}", tensor.name);
        }
        Ok(())
    }
}

fn cause(outcome: &Outcome) -> (u64, &Cause) {
    match outcome {
        Outcome::Diverged { step, cause: Some(cause), .. } => (*step, cause),
        other => panic!("{other:?}"),
    }
}

fn count(n: usize) -> Vec<f32> {
    (0..n).map(|i| i as f32 / n as f32).collect()
}

#[test]
fn x20_the_layer_and_the_operation_are_named() {
    let (outcome, params) = train(count(64), 0.5, |params| {
        Sequential::new(vec![Box::new(Linear::new(&params.at("fc1"), 1, 1)), Box::new(Root)])
    });
    let (step, cause) = cause(&outcome);
    assert_eq!((cause.step, &cause.parameter), (step, &None));
    let text = cause.to_string();
    assert!(text.starts_with("`sqrt` in `1.Root` gave NaN first ("), "{text}");
    assert!(text.contains("its input [4, 1] "), "{text}");
    // The parameters are those from before that step.
    assert!(params.iter().all(|var| var.to_vec::<f32>().iter().all(|x| x.is_finite())));
}

#[test]
fn x21_an_update_that_breaks_a_parameter_is_found_although_the_loss_is_finite() {
    // The root of 0 has the slope ∞; the loss of that step is finite.
    let (outcome, _) = train(vec![1.0, 4.0, 9.0, 16.0, 0.0, 1.0, 4.0, 9.0], 1e-6, |params| {
        Sequential::new(vec![Box::new(Root), Box::new(Linear::new(&params.at("fc1"), 1, 1))])
    });
    assert_eq!(outcome, Outcome::Finished, "no gradient goes through the data");
    let (outcome, _) = train(vec![1.0, 4.0, 9.0, 16.0, 0.0, 1.0, 4.0, 9.0], 1e-6, |params| {
        let weight = params.at("fc1").var("weight", [1], &Ones);
        Sequential::new(vec![Box::new(Scale { weight }), Box::new(Root)])
    });
    let (step, cause) = cause(&outcome);
    let text = cause.to_string();
    let expected = (2, 2, Some("fc1.weight"));
    assert_eq!((step, cause.step, cause.parameter.as_deref()), expected, "{text}");
    assert!(text.starts_with("`fc1.weight` was no longer finite after step 2: `"), "{text}");
    assert!(text.contains("`div` in the gradient of `1.Root` gave -inf first"), "{text}");
}

/// w x: 0 stays 0.
struct Scale {
    weight: Var,
}

impl Layer for Scale {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        x * self.weight.get()
    }
}

#[test]
fn x22_data_that_are_no_numbers_are_named_by_their_field() {
    let mut x = count(600);
    x[590] = f32::NAN;
    let (outcome, _) = train(x, 0.01, |params| {
        Sequential::new(vec![Box::new(Linear::new(&params.at("fc1"), 1, 1))])
    });
    let (step, cause) = cause(&outcome);
    // Beyond the first copy: 128 steps are repeated from the second.
    assert_eq!((step, cause.step, cause.field.as_deref()), (148, 148, Some("height")));
    assert!(cause.to_string().starts_with("the data: field `height`, [4, 1] goes from"), "{cause}");
    assert!(cause.to_string().ends_with("1 is NaN"), "{cause}");
}

#[test]
fn a_rate_that_is_too_large_ends_in_an_overflow() {
    let (outcome, _) = train(count(64), 1e12, |params| {
        Sequential::new(vec![Box::new(Linear::new(&params.at("fc1"), 1, 1))])
    });
    let (_, cause) = cause(&outcome);
    assert!(cause.to_string().contains("gave inf first"), "{cause}");
}
