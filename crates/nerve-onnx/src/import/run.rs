//! Plans for the shapes of inputs.

use super::early::Early;
use super::error::{ImportError, ImportErrorKind};
use super::network::Network;
use super::scope::message;
use super::tagged;
use super::value::{Picked, Value};
use nerve_core::{Compiled, DType, Shape, Tensor, compile};
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
        self.inner.in_bounds(inputs)?;
        let outputs = self.in_mode(inputs)?;
        self.inner.out_of_bounds(&outputs)?;
        Ok(outputs)
    }

    fn in_mode(&self, inputs: &[Value]) -> Result<Vec<Value>, ImportError> {
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

    fn failed(&self, why: impl std::fmt::Display) -> ImportError {
        ImportError::new(ImportErrorKind::Invalid, &self.inner.name, None, why.to_string())
    }

    /// Every value is there, and shapes may depend on any.
    fn pieces(&self, inputs: &[Value]) -> Result<Vec<Value>, ImportError> {
        let mut outputs = self.forward(inputs, &Context::eval())?;
        outputs.iter_mut().try_for_each(evaluate).map_err(|error| self.failed(error))?;
        Ok(outputs)
    }

    fn planned(&self, inputs: &[Value], mode: Mode) -> Result<Vec<Value>, ImportError> {
        let texts = inputs.iter().any(|value| matches!(value, Value::Strings(_)));
        let early = match texts {
            true => self.inner.early(inputs)?,
            false => {
                let names = self.inner.inputs().map(|info| info.name.as_str());
                // What is missing or too much is told when the graph is built.
                (inputs.len() == self.inner.inputs().count()).then(|| Early {
                    values: names.zip(inputs.iter().cloned()).collect(),
                    done: Vec::new(),
                })
            }
        };
        let both = early.and_then(|early| Some((key(&early, mode)?, early)));
        let Some((key, early)) = both else { return self.pieces(inputs) };
        let arguments: Vec<&Tensor> = early
            .values
            .iter()
            .zip(&key)
            .filter_map(|((_, value), (.., fixed))| value.tensor().filter(|_| fixed.is_none()))
            .collect();
        let planned = self.plan(&key, &early, inputs)?;
        // Building the graph fails by unwinding with the error, as nothing else leads out of a trace.
        let results = catch_unwind(AssertUnwindSafe(|| planned.compiled.try_call(&arguments)));
        match results {
            Ok(Ok(results)) => {
                let outputs = planned.outputs.lock().unwrap_or_else(PoisonError::into_inner);
                let mut results = results.into_iter();
                let put = |value: &Value| fill(value, &mut results);
                let filled: Result<_, String> = outputs.iter().map(put).collect();
                filled.map_err(|error| self.failed(error))
            }
            Ok(Err(error)) => Err(self.failed(error)),
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
    fn plan(
        &self,
        key: &Key,
        early: &Early<'_>,
        inputs: &[Value],
    ) -> Result<Arc<Planned>, ImportError> {
        let mut state = self.lock();
        if let Some(at) = state.plans.iter().position(|(known, _)| known == key) {
            let used = state.plans.remove(at);
            state.plans.push(used.clone());
            return Ok(used.1);
        }
        self.inner.check(inputs)?;
        let outputs = Arc::new(Mutex::new(Vec::new()));
        let (network, keep) = (self.inner.clone(), outputs.clone());
        // Constants are kept, the others are replaced by arguments.
        let begin: Vec<(String, Value, bool)> = early
            .values
            .iter()
            .zip(key)
            .map(|((name, value), (.., values))| match values {
                Some(_) => (name.to_string(), constant(value), true),
                None => (name.to_string(), outline(value), false),
            })
            .collect();
        let done = early.done.clone();
        let function: Function = Box::new(move |arguments| {
            let mut arguments = arguments.iter();
            let next = |(name, value, fixed): &'_ (String, Value, bool)| {
                let value = match fixed {
                    true => value.clone(),
                    false => tagged::alike(value, arguments.next().expect("one for each").clone()),
                };
                (name.clone(), value)
            };
            let values: Vec<(String, Value)> = begin.iter().map(next).collect();
            let values: Vec<(&str, Value)> =
                values.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
            let outputs = match network.apply(&values, &done, &Context::eval()) {
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
        Ok(planned)
    }
}

/// What the plan is made for; none if something that it begins with is no array of numbers.
fn key(early: &Early<'_>, mode: Mode) -> Option<Key> {
    let of = |(_, value): &(&str, Value)| {
        let tensor = value.tensor()?;
        let small = mode == Mode::Values && !tensor.dtype().is_float() && tensor.numel() <= SMALL;
        let values = small.then(|| tensor.to_dtype(DType::I64).to_vec::<i64>());
        Some((tensor.shape().clone(), tensor.dtype(), values))
    };
    let mut key = early.values.iter().map(of).collect::<Option<Key>>()?;
    // Which nodes it leaves out, behind all that has a value.
    if !early.done.is_empty() {
        let done = early.done.iter().map(|&at| at as i64).collect();
        key.push((Shape::from([0]), DType::I64, Some(done)));
    }
    Some(key)
}

/// An input that is built into the graph.
fn constant(value: &Value) -> Value {
    match value {
        Value::Tensor(tensor) => Value::Tensor(tensor.evaluated()),
        Value::Narrow(data_type, tensor) => Value::Narrow(*data_type, tensor.evaluated()),
        other => other.clone(),
    }
}

fn flatten(value: &Value, tensors: &mut Vec<Tensor>) {
    match value {
        Value::Tensor(tensor) | Value::Narrow(_, tensor) => tensors.push(tensor.clone()),
        Value::Picked(picked) => tensors.push(picked.places.clone()),
        Value::Strings(_) | Value::Optional(None) => {}
        Value::Sequence(values) => values.iter().for_each(|value| flatten(value, tensors)),
        Value::Optional(Some(value)) => flatten(value, tensors),
    }
}

/// The same without the numbers, which belong to the graph.
fn outline(value: &Value) -> Value {
    match value {
        Value::Tensor(tensor) => Value::Tensor(Tensor::full([0], 0.0, tensor.dtype())),
        Value::Narrow(data_type, tensor) => {
            Value::Narrow(*data_type, Tensor::full([0], 0.0, tensor.dtype()))
        }
        Value::Picked(Picked { list, .. }) => {
            Value::Picked(Picked { list: list.clone(), places: Tensor::full([0], 0.0, DType::I64) })
        }
        Value::Strings(strings) => Value::Strings(strings.clone()),
        Value::Sequence(values) => Value::Sequence(values.iter().map(outline).collect()),
        Value::Optional(value) => Value::Optional(value.as_ref().map(|v| Box::new(outline(v)))),
    }
}

fn fill(outline: &Value, results: &mut impl Iterator<Item = Tensor>) -> Result<Value, String> {
    let mut next = || results.next().expect("as many as were flattened");
    Ok(match outline {
        Value::Tensor(_) | Value::Narrow(..) => Value::Tensor(next()),
        Value::Picked(picked) => looked_up(picked, &next())?,
        Value::Strings(strings) => Value::Strings(strings.clone()),
        Value::Sequence(values) => {
            Value::Sequence(values.iter().map(|v| fill(v, results)).collect::<Result<_, _>>()?)
        }
        Value::Optional(None) => Value::Optional(None),
        Value::Optional(Some(v)) => Value::Optional(Some(Box::new(fill(v, results)?))),
    })
}

/// The texts at the places that were computed.
fn looked_up(picked: &Picked, places: &Tensor) -> Result<Value, String> {
    let none = |at| format!("a text at place {at} of {}", picked.list.len());
    picked.texts(places).map(Value::Strings).map_err(none)
}

pub(super) fn evaluate(value: &mut Value) -> Result<(), String> {
    match value {
        Value::Picked(picked) => {
            let places = picked.places.known().map_err(|error| error.to_string())?;
            *value = looked_up(picked, &places.ok_or("places that are not known")?)?;
            Ok(())
        }
        Value::Tensor(tensor) | Value::Narrow(_, tensor) => {
            if let Some(known) = tensor.known().map_err(|error| error.to_string())? {
                *tensor = known;
            }
            Ok(())
        }
        Value::Strings(_) | Value::Optional(None) => Ok(()),
        Value::Sequence(values) => values.iter_mut().try_for_each(evaluate),
        Value::Optional(Some(value)) => evaluate(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::{Options, Strings};
    use nerve_formats::onnx::{self, DataType, Model, Node, TensorData, ValueInfo};

    #[test]
    fn names_of_classes_are_looked_up_after_one_plan() {
        let mut model = Model::new(17);
        let named = |name: &str| ValueInfo { name: name.into(), kind: None };
        model.graph.inputs = vec![named("x")];
        model.graph.outputs = vec![named("name"), named("again")];
        let names = ["cat", "dog", "owl"].map(|name| name.as_bytes().to_vec());
        let data = TensorData::Strings(names.into());
        let names =
            onnx::Tensor { data, ..onnx::Tensor::new("names", DataType::String, &[3], vec![]) };
        model.graph.initializers = vec![names, onnx::Tensor::ints("column", &[2], &[-1, 1])];
        model.graph.nodes = vec![
            Node::new("ArgMax", ["x"], ["which"]).with("axis", 1i64).with("keepdims", 0i64),
            Node::new("Gather", ["names", "which"], ["name"]),
            Node::new("Reshape", ["name", "column"], ["again"]),
        ];
        let network = Network::new("m", model, Options::default()).unwrap();
        let x = Tensor::from_slice(&[0.1f32, 0.2, 0.7, 0.9, 0.1, 0.0], [2, 3]);
        let outputs = network.run(&[x.into()]).unwrap();
        let texts: std::sync::Arc<[String]> = ["owl", "cat"].map(String::from).to_vec().into();
        for (output, dims) in outputs.iter().zip([vec![2], vec![2, 1]]) {
            let Value::Strings(found) = output else { panic!("{output:?}") };
            assert_eq!(*found, Strings { dims, texts: texts.clone() });
        }
        assert!(network.lock().mode == Mode::Shapes, "it is not run piece by piece");
    }

    #[test]
    fn names_of_categories_are_numbered_before_one_plan() {
        let mut model = Model::new(17);
        model.opsets.push(("ai.onnx.ml".into(), 3));
        let named = |name: &str| ValueInfo { name: name.into(), kind: None };
        model.graph.inputs = vec![named("x"), named("port")];
        model.graph.outputs = vec![named("y")];
        model.graph.initializers = vec![onnx::Tensor::floats("table", &[3, 1], &[10.0, 20.0, 0.0])];
        let words = ["S", "C"].map(|word| word.as_bytes().to_vec()).to_vec();
        let mut encoder = Node::new("LabelEncoder", ["port"], ["number"])
            .with("keys_strings", onnx::AttributeValue::Strings(words))
            .with("values_int64s", vec![0i64, 1])
            .with("default_int64", 2i64);
        encoder.domain = "ai.onnx.ml".into();
        model.graph.nodes = vec![
            encoder,
            Node::new("Gather", ["table", "number"], ["row"]),
            Node::new("Add", ["row", "x"], ["y"]),
        ];
        let network = Network::new("m", model, Options::default()).unwrap();
        let ask = |ports: [&str; 2]| {
            let texts = ports.map(String::from).to_vec().into();
            let x = Tensor::from_slice(&[1.0f32, 2.0], [2, 1]);
            let given = [x.into(), Value::Strings(Strings { dims: vec![2], texts })];
            network.run(&given).unwrap()[0].tensor().unwrap().to_vec::<f32>()
        };
        assert_eq!(ask(["C", "S"]), [21.0, 12.0]);
        assert_eq!(ask(["S", "elsewhere"]), [11.0, 2.0]);
        let state = network.lock();
        assert!(state.mode == Mode::Shapes && state.plans.len() == 1, "one plan for all texts");
        drop(state);
        let texts = ["S".to_string()].into();
        let wrong = network.run(&[Value::Strings(Strings { dims: vec![1], texts })]).unwrap_err();
        assert!(wrong.to_string().contains("expected 2 inputs"), "{wrong}");
    }

    #[test]
    fn a_place_without_a_name_is_an_error() {
        let picked = Picked { list: ["a".to_string()].into(), places: Tensor::zeros([1]) };
        let places = Tensor::from_slice(&[0i64, -1], [2]);
        assert!(looked_up(&picked, &places).unwrap_err().contains("place -1 of 1"));
    }
}
