//! Plans for the shapes of inputs.

use super::error::{ImportError, ImportErrorKind};
use super::network::Network;
use super::scope::message;
use super::value::Value;
use nerve_core::{Compiled, DType, RunError, Shape, Tensor, compile};
use nerve_nn::Context;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};

/// The plans that were made, the one that was used last at the end.
#[derive(Default)]
pub(super) struct Plans(Mutex<State>);

#[derive(Default)]
struct State {
    plans: Vec<(Key, Arc<Planned>)>,
    /// Whether it was told that plans are made again and again.
    told: bool,
    /// What was learned about the model: how far its graph is fixed by the shapes of its inputs.
    mode: Mode,
}

/// From what a graph can be built.
#[derive(Clone, Copy, Default, PartialEq)]
enum Mode {
    /// The shapes of inputs.
    #[default]
    Shapes,
    /// These, and the values of small integer inputs.
    Values,
    /// All values: it is evaluated piece by piece.
    Pieces,
}

/// Plans that are kept: the one that was not used for longest goes.
const KEPT: usize = 16;
/// An integer input of at most so many elements may say how the graph is built.
const SMALL: usize = 64;

/// What a plan was made for: of each input shape and type, and the values if they are constants in it.
type Key = Vec<(Shape, DType, Option<Vec<i64>>)>;
type Function = Box<dyn Fn(&[Tensor]) -> Vec<Tensor> + Send + Sync>;

struct Planned {
    compiled: Compiled<Function>,
    /// How results stand in the outputs, known once the plan was made.
    outputs: Arc<Mutex<Vec<Value>>>,
}

impl Network {
    /// The outputs for these inputs.
    ///
    /// The first run for a list of shapes makes a plan, which takes longer; 16 are kept.
    ///
    /// # Errors
    /// The inputs do not fit; the model uses what nerve does not have, or takes more than its limits.
    pub fn run(&self, inputs: &[Value]) -> Result<Vec<Value>, ImportError> {
        loop {
            let mode = self.lock().mode;
            let result = match mode {
                Mode::Pieces => return self.pieces(inputs),
                _ => self.planned(inputs, mode),
            };
            match result {
                Err(error) if error.kind() == ImportErrorKind::Value => {
                    let next = if mode == Mode::Shapes { Mode::Values } else { Mode::Pieces };
                    if next == Mode::Pieces {
                        eprintln!("nerve: the model runs piece by piece, which is slower: {error}");
                    }
                    self.lock().mode = next;
                }
                result => return result,
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.plans.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every value is there, and shapes may depend on any.
    fn pieces(&self, inputs: &[Value]) -> Result<Vec<Value>, ImportError> {
        let mut outputs = self.forward(inputs, &Context::eval())?;
        outputs.iter_mut().try_for_each(evaluate).map_err(|error| {
            let model = &self.inner.name;
            ImportError::new(ImportErrorKind::Invalid, model, None, error.to_string())
        })?;
        Ok(outputs)
    }

    fn planned(&self, inputs: &[Value], mode: Mode) -> Result<Vec<Value>, ImportError> {
        let Some(key) = key(inputs, mode) else { return self.pieces(inputs) };
        let arguments: Vec<&Tensor> = inputs
            .iter()
            .zip(&key)
            .filter_map(|(value, (.., fixed))| value.tensor().filter(|_| fixed.is_none()))
            .collect();
        let planned = self.plan(&key, inputs);
        // Building the graph fails by unwinding with the error, as nothing else leads out of a trace.
        let results = catch_unwind(AssertUnwindSafe(|| planned.compiled.try_call(&arguments)));
        match results {
            Ok(Ok(results)) => {
                let outputs = planned.outputs.lock().unwrap_or_else(PoisonError::into_inner);
                let mut results = results.into_iter();
                let put = |value: &Value| fill(value, &mut results);
                Ok(outputs.iter().map(put).collect())
            }
            Ok(Err(error)) => {
                let model = &self.inner.name;
                Err(ImportError::new(ImportErrorKind::Invalid, model, None, error.to_string()))
            }
            Err(panic) => {
                self.lock().plans.retain(|(known, _)| *known != key);
                Err(match panic.downcast::<ImportError>() {
                    Ok(error) => *error,
                    Err(panic) => {
                        let (model, message) = (&self.inner.name, message(&*panic));
                        ImportError::new(ImportErrorKind::Invalid, model, None, message)
                    }
                })
            }
        }
    }

    /// The plan for `key`, made when it is run for the first time.
    fn plan(&self, key: &Key, inputs: &[Value]) -> Arc<Planned> {
        let mut state = self.lock();
        if let Some(at) = state.plans.iter().position(|(known, _)| known == key) {
            let used = state.plans.remove(at);
            state.plans.push(used.clone());
            return used.1;
        }
        let outputs = Arc::new(Mutex::new(Vec::new()));
        let (network, keep) = (self.inner.clone(), outputs.clone());
        // Constants are kept, the others are replaced by arguments.
        let fixed: Vec<Option<Value>> = key
            .iter()
            .zip(inputs)
            .map(|((.., values), input)| values.as_ref().map(|_| constant(input)))
            .collect();
        let function: Function = Box::new(move |arguments| {
            let mut arguments = arguments.iter();
            let next = |fixed: &Option<Value>| match fixed {
                Some(value) => value.clone(),
                None => Value::Tensor(arguments.next().expect("one for each").clone()),
            };
            let values: Vec<Value> = fixed.iter().map(next).collect();
            let outputs = match network.forward(&values, &Context::eval()) {
                Ok(outputs) => outputs,
                Err(error) => resume_unwind(Box::new(error)),
            };
            let mut tensors = Vec::new();
            outputs.iter().for_each(|value| flatten(value, &mut tensors));
            *keep.lock().unwrap_or_else(PoisonError::into_inner) =
                outputs.iter().map(outline).collect();
            tensors
        });
        let planned = Arc::new(Planned { compiled: compile(function), outputs });
        state.plans.push((key.clone(), planned.clone()));
        if state.plans.len() > KEPT {
            state.plans.remove(0);
            if !std::mem::replace(&mut state.told, true) {
                eprintln!(
                    "nerve: more than {KEPT} shapes (or values that shapes depend on) of inputs: plans are made again, \
                     which is slower"
                );
            }
        }
        planned
    }
}

/// What the plan is made for; none if an input is no array of numbers.
fn key(inputs: &[Value], mode: Mode) -> Option<Key> {
    let of = |value: &Value| {
        let tensor = value.tensor()?;
        let small = mode == Mode::Values && !tensor.dtype().is_float() && tensor.numel() <= SMALL;
        let values = small.then(|| tensor.to_dtype(DType::I64).to_vec::<i64>());
        Some((tensor.shape().clone(), tensor.dtype(), values))
    };
    inputs.iter().map(of).collect()
}

/// An input that is built into the graph.
fn constant(value: &Value) -> Value {
    match value {
        Value::Tensor(tensor) => Value::Tensor(tensor.evaluated()),
        other => other.clone(),
    }
}

fn flatten(value: &Value, tensors: &mut Vec<Tensor>) {
    match value {
        Value::Tensor(tensor) => tensors.push(tensor.clone()),
        Value::Strings(_) | Value::Optional(None) => {}
        Value::Sequence(values) => values.iter().for_each(|value| flatten(value, tensors)),
        Value::Optional(Some(value)) => flatten(value, tensors),
    }
}

/// The same without the numbers, which belong to the graph.
fn outline(value: &Value) -> Value {
    match value {
        Value::Tensor(tensor) => Value::Tensor(Tensor::full([0], 0.0, tensor.dtype())),
        Value::Strings(strings) => Value::Strings(strings.clone()),
        Value::Sequence(values) => Value::Sequence(values.iter().map(outline).collect()),
        Value::Optional(value) => Value::Optional(value.as_ref().map(|v| Box::new(outline(v)))),
    }
}

fn fill(outline: &Value, results: &mut impl Iterator<Item = Tensor>) -> Value {
    match outline {
        Value::Tensor(_) => Value::Tensor(results.next().expect("as many as were flattened")),
        Value::Strings(strings) => Value::Strings(strings.clone()),
        Value::Sequence(values) => {
            Value::Sequence(values.iter().map(|v| fill(v, results)).collect())
        }
        Value::Optional(None) => Value::Optional(None),
        Value::Optional(Some(v)) => Value::Optional(Some(Box::new(fill(v, results)))),
    }
}

fn evaluate(value: &mut Value) -> Result<(), RunError> {
    match value {
        Value::Tensor(tensor) => {
            if let Some(known) = tensor.known()? {
                *tensor = known;
            }
            Ok(())
        }
        Value::Strings(_) | Value::Optional(None) => Ok(()),
        Value::Sequence(values) => values.iter_mut().try_for_each(evaluate),
        Value::Optional(Some(value)) => evaluate(value),
    }
}
