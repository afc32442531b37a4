//! What the tests of operations share: sample values, and gradients against differences.

use crate::{DType, Shape, Tensor, grad};

/// Evenly distributed numbers in [−1, 1) of type f64, always the same for one `seed`.
pub fn sample(shape: impl Into<Shape>, seed: u64) -> Tensor {
    let uniform = Tensor::uniform(&Tensor::random_key(seed, 0), 0, shape, DType::F64);
    (uniform * 2.0 - 1.0).evaluated()
}

/// Checks first and second derivatives of `f` at `inputs`, all of type f64 and away from kinks,
/// against central differences.
///
/// What is differentiated is Σ w·(y + y²) with fixed weights w: the square makes the gradient of
/// a linear operation depend on its input, so that there is a second derivative to check.
#[track_caller]
pub fn check_gradients(inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Tensor) {
    let loss = |x: &[Tensor]| {
        let y = f(x);
        let w = sample(y.shape(), 77);
        ((y.square() + &y) * w).sum()
    };
    let slope = |x: &[Tensor]| {
        let parts = grad(&loss(x), &x.iter().collect::<Vec<_>>());
        let weighted = parts.iter().enumerate();
        weighted
            .map(|(i, g)| (g * sample(g.shape(), 78 + i as u64)).sum())
            .reduce(|a, b| a + b)
            .expect("at least one input")
    };
    agrees("first", inputs, loss);
    agrees("second", inputs, slope);
}

#[track_caller]
fn agrees(order: &str, inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Tensor) {
    const EPS: f64 = 1e-6;
    let gradients = grad(&f(inputs), &inputs.iter().collect::<Vec<_>>());
    for (i, gradient) in gradients.iter().enumerate() {
        let x = inputs[i].to_vec::<f64>();
        for (j, analytic) in gradient.to_vec::<f64>().into_iter().enumerate() {
            let at = |moved: f64| {
                let mut x = x.clone();
                x[j] += moved;
                let mut inputs = inputs.to_vec();
                inputs[i] = Tensor::from_slice(&x, inputs[i].shape());
                f(&inputs).item::<f64>()
            };
            let numeric = (at(EPS) - at(-EPS)) / (2.0 * EPS);
            assert!(
                (analytic - numeric).abs() <= 1e-6 + 1e-6 * numeric.abs(),
                "{order} derivative, input {i}, element {j}: {analytic}, by differences {numeric}"
            );
        }
    }
}

/// The message with which `f` panics.
pub fn panic_message(f: impl FnOnce() -> Tensor) -> String {
    let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
    let payload = payload.expect_err("should panic");
    let text = payload.downcast_ref::<String>().cloned();
    text.or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string)).expect("a message")
}
