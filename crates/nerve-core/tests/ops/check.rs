//! The checks that each case of the table has to pass.

use crate::common::reference::{self, Known};
use crate::common::{Rng, assert_close, close, panic_of, tensor, values};
use crate::table::{Case, Input, Kind, Order, View};
use nerve_core::{DType, Tensor, compile, grad};
use std::collections::BTreeSet;

/// Differences: PyTorch's gradcheck has the same step and tolerances.
const STEP: f64 = 1e-6;
const ATOL: f64 = 1e-5;
const RTOL: f64 = 1e-3;

impl Input {
    fn dtype(&self, float: DType) -> DType {
        match self.kind {
            Kind::Float => float,
            Kind::Int => DType::I32,
            Kind::Long => DType::I64,
            Kind::Byte => DType::U8,
            Kind::Small => DType::I8,
            Kind::Bool => DType::Bool,
        }
    }

    /// What the operation sees of the tensor that holds the elements.
    fn seen(&self, base: &Tensor) -> Tensor {
        match self.view {
            View::Plain => base.clone(),
            View::Transposed => base.transpose(0, -1),
            View::Strided => base.slice_by(base.rank() - 1, 1, 2, self.shape[base.rank() - 1]),
            View::Flipped => base.flip(&[-1]),
            View::Cropped => base.slice(0, 1, 1 + self.shape[0]),
            View::Repeated => base.broadcast_to(&self.shape[..]),
        }
    }
}

/// The constant tensors that hold the elements.
fn bases(case: &Case, float: DType) -> Vec<Tensor> {
    let base = |i: &Input| tensor(&i.data, &i.base_shape(), i.dtype(float));
    case.inputs.iter().map(base).collect()
}

fn call(case: &Case, bases: &[Tensor]) -> Tensor {
    let seen: Vec<Tensor> = case.inputs.iter().zip(bases).map(|(i, b)| i.seen(b)).collect();
    (case.f)(&seen)
}

/// A fixed random weight for each element of the output, so that no two derivatives cancel.
fn weights(y: &Tensor) -> Tensor {
    let mut rng = Rng(y.numel() as u64 + 17);
    let all: Vec<f64> = (0..y.numel()).map(|_| rng.range(0.5, 1.5)).collect();
    tensor(&all, y.shape(), y.dtype())
}

/// The scalar whose gradient is checked. The square makes also the gradient of a linear operation
/// depend on its input.
fn loss(y: &Tensor) -> Tensor {
    (y * weights(y) + y.square() * 0.5).sum()
}

fn floats(case: &Case) -> Vec<usize> {
    (0..case.inputs.len()).filter(|&i| case.inputs[i].kind == Kind::Float).collect()
}

fn some_gradient(case: &Case) -> bool {
    case.order != Order::None && !floats(case).is_empty()
}

/// Gradients of the loss with respect to the float inputs.
fn gradients(case: &Case, args: &[Tensor]) -> Vec<Tensor> {
    let wrt: Vec<&Tensor> = floats(case).iter().map(|&i| &args[i]).collect();
    grad(&loss(&call(case, args)), &wrt)
}

pub fn operations(case: &Case, seen: &mut BTreeSet<String>) {
    let args = bases(case, DType::F64);
    let mut roots = vec![call(case, &args)];
    if some_gradient(case) {
        roots.extend(gradients(case, &args));
    }
    while let Some(node) = roots.pop() {
        let text = format!("{:?}", node.op());
        let name = text.split(['(', ' ']).next().expect("a name").to_string();
        seen.insert(name);
        roots.extend(node.inputs().iter().cloned());
    }
}

pub fn values_agree(case: &Case) {
    let args = bases(case, DType::F64);
    let y = call(case, &args);
    if let Some(shape) = &case.shape {
        assert_eq!(**y.shape(), **shape, "{}: shape", case.name);
    }
    let expected = reference::evaluate(&y, &mut Known::new());
    assert_close(&case.name, &values(&y), &expected.data, 1e-12, 1e-14);
    if some_gradient(case) {
        for (i, g) in gradients(case, &args).iter().enumerate() {
            let expected = reference::evaluate(g, &mut Known::new());
            let what = format!("{}: gradient {i} against the reference", case.name);
            assert_close(&what, &values(g), &expected.data, 1e-11, 1e-12);
        }
    }
}

pub fn compiled_equals_evaluated(case: &Case) {
    for float in [DType::F32, DType::F64] {
        let args = bases(case, float);
        let direct = call(case, &args);
        let compiled = compile(|args: &[Tensor]| vec![call(case, args)]);
        for _ in 0..2 {
            let found = &compiled.call(&args.iter().collect::<Vec<_>>())[0];
            assert_eq!(found.shape(), direct.shape(), "{}", case.name);
            assert_eq!(found.dtype(), direct.dtype(), "{}", case.name);
            let bits = |t: &Tensor| values(t).iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(found), bits(&direct), "{} in {float}", case.name);
        }
    }
}

/// Compares the gradients that `exact` gives with the differences of the scalar `f`, by every
/// element of every float input.
fn against_differences(case: &Case, f: impl Fn(&[Tensor]) -> Tensor, exact: &[Tensor], what: &str) {
    let value = compile(|args: &[Tensor]| vec![f(args)]);
    let args = bases(case, DType::F64);
    for (&i, gradient) in floats(case).iter().zip(exact) {
        let found = values(gradient);
        let input = &case.inputs[i];
        assert_eq!(**gradient.shape(), *input.base_shape(), "{}: {what}", case.name);
        for element in 0..input.data.len() {
            let at = |shift: f64| {
                let mut data = input.data.clone();
                data[element] += shift;
                let mut args = args.clone();
                args[i] = tensor(&data, &input.base_shape(), DType::F64);
                value.call(&args.iter().collect::<Vec<_>>())[0].item::<f64>()
            };
            let slope = (at(STEP) - at(-STEP)) / (2.0 * STEP);
            assert!(
                close(found[element], slope, RTOL, ATOL),
                "{}: {what} by element {element} of input {i} is {}, differences give {slope} \
                 (input {:?})",
                case.name,
                found[element],
                input.data
            );
        }
    }
}

pub fn first_order(case: &Case) {
    if some_gradient(case) {
        let exact = gradients(case, &bases(case, DType::F64));
        against_differences(case, |args| loss(&call(case, args)), &exact, "gradient");
    }
}

pub fn second_order(case: &Case) {
    if !some_gradient(case) || case.order != Order::Smooth {
        return;
    }
    let projected = |args: &[Tensor]| {
        let parts = gradients(case, args);
        let sums = parts.iter().map(|g| (g * weights(g)).sum());
        sums.reduce(|a, b| a + b).expect("a float input")
    };
    let args = bases(case, DType::F64);
    let wrt: Vec<&Tensor> = floats(case).iter().map(|&i| &args[i]).collect();
    let exact = grad(&projected(&args), &wrt);
    against_differences(case, projected, &exact, "second gradient");
}

pub fn single_follows_double(case: &Case) {
    let args = bases(case, DType::F32);
    let wide: Vec<Tensor> =
        args.iter()
            .map(|a| {
                if a.dtype() == DType::F32 { a.to_dtype(DType::F64).evaluated() } else { a.clone() }
            })
            .collect();
    let (rtol, atol) = case.single;
    let (narrow, double) = (call(case, &args), call(case, &wide));
    let what = format!("{} in f32", case.name);
    assert_close(&what, &values(&narrow), &values(&double), rtol, atol);
}

pub fn refuses_gradient(case: &Case) {
    if case.order != Order::None || floats(case).is_empty() {
        return;
    }
    let args = bases(case, DType::F64);
    let message = panic_of(|| {
        let y = call(case, &args).to_dtype(DType::F64).sum();
        grad(&y, &floats(case).iter().map(|&i| &args[i]).collect::<Vec<_>>())
    });
    assert!(
        message.contains("not differentiable") || message.contains("does not depend"),
        "{}: {message}",
        case.name
    );
}
