//! One node, as its operator sees it.

use super::error::Stop;
use super::scope::Scope;
use super::value::{Strings, Value};
use nerve_core::{Element, Tensor};
use nerve_formats::onnx::{self, AttributeValue, Graph, Node};

/// What an operator gives: one value for each output, in their order; more than are wanted do no harm.
pub(crate) type Results = Result<Vec<Value>, Stop>;

/// One node with its operands.
pub(crate) struct Call<'a> {
    /// The node.
    pub node: &'a Node,
    /// The version of the operators.
    pub opset: i64,
    /// The operands; none where one was left out.
    pub inputs: Vec<Option<Value>>,
    /// Where the node stands, for graphs within it.
    pub scope: &'a Scope<'a>,
}

impl<'a> Call<'a> {
    /// Number of operands, left out ones too.
    pub fn count(&self) -> usize {
        self.inputs.len()
    }

    /// Number of results that are named.
    pub fn wanted(&self) -> usize {
        self.node.outputs.len()
    }

    /// Whether result `i` is used at all.
    pub fn wants(&self, i: usize) -> bool {
        self.node.outputs.get(i).is_some_and(|name| !name.is_empty())
    }

    /// Operand `i`, whatever it is.
    pub fn value(&self, i: usize) -> Result<&Value, Stop> {
        self.inputs.get(i).and_then(Option::as_ref).ok_or_else(|| missing(i).into())
    }

    /// Operand `i` as numbers.
    pub fn tensor(&self, i: usize) -> Result<&Tensor, Stop> {
        match self.value(i)? {
            Value::Tensor(tensor) | Value::Narrow(_, tensor) => Ok(tensor),
            Value::Picked(_) => Err(Stop::Value("texts that are picked by a value".into())),
            other => Err(format!("operand {i}: expected numbers, found {}", kind(other)).into()),
        }
    }

    /// The type of operand `i`, if it is one of those that are held in wider ones.
    pub fn narrow(&self, i: usize) -> Option<onnx::DataType> {
        match self.inputs.get(i) {
            Some(Some(Value::Narrow(data_type, _))) => Some(*data_type),
            _ => None,
        }
    }

    /// Operand `i` as numbers, if it is there.
    pub fn optional(&self, i: usize) -> Result<Option<&Tensor>, Stop> {
        match self.inputs.get(i) {
            Some(Some(_)) => self.tensor(i).map(Some),
            _ => Ok(None),
        }
    }

    /// All operands as numbers.
    pub fn tensors(&self) -> Result<Vec<Tensor>, Stop> {
        (0..self.count()).map(|i| self.tensor(i).cloned()).collect()
    }

    /// Operand `i` as texts.
    pub fn strings(&self, i: usize) -> Result<&Strings, Stop> {
        match self.value(i)? {
            Value::Strings(strings) => Ok(strings),
            other => Err(format!("operand {i}: expected texts, found {}", kind(other)).into()),
        }
    }

    /// Operand `i` as a list.
    pub fn sequence(&self, i: usize) -> Result<&[Value], Stop> {
        match self.value(i)? {
            Value::Sequence(values) => Ok(values),
            other => Err(format!("operand {i}: expected a list, found {}", kind(other)).into()),
        }
    }

    /// Operand `i` as a constant: its value must be known while the graph is built.
    pub fn known(&self, i: usize) -> Result<Tensor, Stop> {
        let known = self.tensor(i)?.known()?;
        known.ok_or_else(|| {
            Stop::Value(format!("the value of operand {i} ({:?})", self.node.inputs[i]))
        })
    }

    /// Operand `i` as known whole numbers, flat.
    pub fn known_ints(&self, i: usize) -> Result<Vec<i64>, Stop> {
        let known = self.known(i)?;
        if known.dtype().is_float() {
            return Err(format!("operand {i}: expected integers, found {}", known.dtype()).into());
        }
        numbers::<i64>(&known)
    }

    /// Operand `i` as known numbers, flat.
    pub fn known_floats(&self, i: usize) -> Result<Vec<f64>, Stop> {
        numbers::<f64>(&self.known(i)?)
    }

    /// Operand `i` as one known number, if it is there.
    pub fn known_scalar(&self, i: usize) -> Result<Option<f64>, Stop> {
        if self.inputs.get(i).and_then(Option::as_ref).is_none() {
            return Ok(None);
        }
        match self.known_floats(i)?[..] {
            [value] => Ok(Some(value)),
            ref more => {
                Err(format!("operand {i}: expected one number, found {}", more.len()).into())
            }
        }
    }

    /// A list of whole numbers that older versions have as a setting and newer ones as operand `i`.
    pub fn ints_or_input(&self, name: &str, i: usize) -> Result<Option<Vec<i64>>, Stop> {
        match self.inputs.get(i) {
            Some(Some(_)) => self.known_ints(i).map(Some),
            _ => self.ints(name),
        }
    }

    /// The value of a setting.
    pub fn attribute(&self, name: &str) -> Option<&'a AttributeValue> {
        self.node.attributes.iter().find(|a| a.name == name).map(|a| &a.value)
    }

    fn wrong(&self, name: &str, expected: &str) -> Stop {
        Stop::Wrong(format!("attribute {name}: expected {expected}, found another type"))
    }

    /// A setting that is a whole number.
    pub fn int(&self, name: &str, default: i64) -> Result<i64, Stop> {
        match self.attribute(name) {
            None => Ok(default),
            Some(AttributeValue::Int(value)) => Ok(*value),
            Some(_) => Err(self.wrong(name, "a whole number")),
        }
    }

    /// A setting that is 0 or 1.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool, Stop> {
        self.int(name, default.into()).map(|value| value != 0)
    }

    /// A setting that is a number.
    pub fn float(&self, name: &str, default: f64) -> Result<f64, Stop> {
        match self.attribute(name) {
            None => Ok(default),
            Some(AttributeValue::Float(value)) => Ok(f64::from(*value)),
            Some(_) => Err(self.wrong(name, "a number")),
        }
    }

    /// A setting that is a list of whole numbers.
    pub fn ints(&self, name: &str) -> Result<Option<Vec<i64>>, Stop> {
        match self.attribute(name) {
            None => Ok(None),
            Some(AttributeValue::Ints(values)) => Ok(Some(values.clone())),
            Some(_) => Err(self.wrong(name, "whole numbers")),
        }
    }

    /// A setting that is a list of numbers.
    pub fn floats(&self, name: &str) -> Result<Option<Vec<f64>>, Stop> {
        match self.attribute(name) {
            None => Ok(None),
            Some(AttributeValue::Floats(values)) => {
                Ok(Some(values.iter().map(|&v| f64::from(v)).collect()))
            }
            Some(_) => Err(self.wrong(name, "numbers")),
        }
    }

    /// A setting that is a text.
    pub fn text(&self, name: &str, default: &'static str) -> Result<&'a str, Stop> {
        match self.attribute(name) {
            None => Ok(default),
            Some(AttributeValue::String(text)) => {
                std::str::from_utf8(text).map_err(|_| self.wrong(name, "UTF-8"))
            }
            Some(_) => Err(self.wrong(name, "a text")),
        }
    }

    /// A setting that is a list of texts.
    pub fn texts(&self, name: &str) -> Result<Option<Vec<String>>, Stop> {
        match self.attribute(name) {
            None => Ok(None),
            Some(AttributeValue::Strings(texts)) => {
                Ok(Some(texts.iter().map(|t| String::from_utf8_lossy(t).into_owned()).collect()))
            }
            Some(_) => Err(self.wrong(name, "texts")),
        }
    }

    /// A setting that is an array.
    pub fn array(&self, name: &str) -> Result<Option<&'a onnx::Tensor>, Stop> {
        match self.attribute(name) {
            None => Ok(None),
            Some(AttributeValue::Tensor(tensor)) => Ok(Some(tensor)),
            Some(_) => Err(self.wrong(name, "a tensor")),
        }
    }

    /// A setting that is a graph and must be there.
    pub fn graph(&self, name: &str) -> Result<&'a Graph, Stop> {
        match self.attribute(name) {
            Some(AttributeValue::Graph(graph)) => Ok(graph),
            _ => Err(self.wrong(name, "a graph")),
        }
    }

    /// A setting that must be there.
    pub fn required_int(&self, name: &str) -> Result<i64, Stop> {
        match self.attribute(name) {
            None => Err(format!("attribute {name} is missing").into()),
            Some(_) => self.int(name, 0),
        }
    }
}

/// The elements of a constant, as numbers of that type.
pub(crate) fn numbers<T: Element>(constant: &Tensor) -> Result<Vec<T>, Stop> {
    let known = constant.to_dtype(T::DTYPE).known()?;
    Ok(known.ok_or("a constant")?.to_vec())
}

fn missing(i: usize) -> String {
    format!("operand {i} is missing")
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Tensor(_) | Value::Narrow(..) => "numbers",
        Value::Strings(_) | Value::Picked(_) => "texts",
        Value::Sequence(_) => "a list",
        Value::Optional(_) => "an optional value",
    }
}

/// An axis counted from the front: `axis` may count from the end.
pub(crate) fn axis(axis: i64, rank: usize) -> Result<usize, Stop> {
    let counted = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
    let counted = counted.and_then(|a| usize::try_from(a).ok()).filter(|&a| a < rank);
    counted.ok_or_else(|| format!("axis {axis} of a tensor of {rank} axes").into())
}

/// Several axes, each once.
pub(crate) fn axes(list: &[i64], rank: usize) -> Result<Vec<usize>, Stop> {
    let axes = list.iter().map(|&a| axis(a, rank)).collect::<Result<Vec<_>, _>>()?;
    let twice = axes.iter().enumerate().any(|(i, a)| axes[..i].contains(a));
    if twice { Err(format!("an axis twice in {list:?}").into()) } else { Ok(axes) }
}

/// An extent or a count: not negative, and nothing that wraps.
pub(crate) fn extent(value: i64) -> Result<usize, Stop> {
    usize::try_from(value)
        .ok()
        .filter(|&v| v < 1 << 48)
        .ok_or_else(|| format!("expected an extent from 0 to 2^48, found {value}").into())
}

/// A shape whose number of elements does not wrap.
pub(crate) fn shape(dims: &[i64]) -> Result<Vec<usize>, Stop> {
    let dims = dims.iter().map(|&d| extent(d)).collect::<Result<Vec<_>, _>>()?;
    let numel = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|&n| n < 1 << 48);
    if numel.is_none() {
        return Err(Stop::Limit(format!("a tensor of shape {dims:?} has more than 2^48 elements")));
    }
    Ok(dims)
}
