//! Values whose numbers stand for something else: those of narrow types, which are held in wider ones, and texts that are picked
//! from a list by their places.
//!
//! What only moves elements does the same to either. What computes with numbers of a narrow type computes in the wider one, and
//! is brought back into the bounds afterwards; unsigned numbers of 64 bits, which are held with a sign, are compared and divided
//! as what they are. What is not listed here is refused: its result could be another in the wider type.

use super::call::{Call, Results};
use super::error::Stop;
use super::narrow::{held_in, whole, wrapped};
use super::ops::Operator;
use super::value::{Picked, Value};
use nerve_core::{DType, Tensor};
use nerve_formats::onnx::DataType;
use std::sync::Arc;

/// What the numbers of a value stand for.
#[derive(Clone)]
enum Tag {
    Type(DataType),
    Texts(Arc<[String]>),
}

/// What an operator does with such numbers.
#[derive(Clone, Copy, PartialEq)]
enum Class {
    /// It sees to it by itself.
    Own,
    /// Its results do not depend on bounds, and are of an ordinary type.
    Reads,
    /// The same, but larger and smaller matter.
    Compares,
    /// Its result has elements of operand `.0`.
    Moves(usize),
    /// The same, and larger and smaller matter.
    Chooses,
    /// Its result keeps the low bits.
    Wraps,
    /// A quotient or a remainder.
    Divides,
    /// Bits move down.
    Shifts,
}

fn class(call: &Call<'_>) -> Result<Option<Class>, Stop> {
    Ok(Some(match call.node.op_type.as_str() {
        "Identity" | "Cast" | "CastLike" | "QuantizeLinear" | "If" | "Loop"
        | "SequenceConstruct" | "SequenceAt" | "SequenceInsert" | "SequenceErase"
        | "SequenceLength" | "SequenceMap" | "Optional" | "OptionalGetElement"
        | "OptionalHasElement" => Class::Own,
        "Shape" | "Size" | "DequantizeLinear" | "Equal" | "IsNaN" | "IsInf" | "NonZero"
        | "LabelEncoder" => Class::Reads,
        "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" | "ArgMax" | "ArgMin" => {
            Class::Compares
        }
        "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Transpose" | "Expand" | "Tile"
        | "Concat" | "Split" | "Slice" | "Pad" | "Gather" | "GatherElements" | "GatherND"
        | "Compress" | "DepthToSpace" | "SpaceToDepth" | "ReverseSequence" | "Trilu"
        | "CenterCropPad" | "SplitToSequence" | "ConcatFromSequence" | "Range" | "BitwiseAnd"
        | "BitwiseOr" | "BitwiseXor" => Class::Moves(0),
        "Where" => Class::Moves(1),
        "OneHot" => Class::Moves(2),
        "Scatter" | "ScatterElements" | "ScatterND" => match call.text("reduction", "none")? {
            "none" => Class::Moves(0),
            "max" | "min" => Class::Chooses,
            _ => Class::Wraps,
        },
        "Max" | "Min" | "Clip" | "ReduceMax" | "ReduceMin" | "TopK" | "MaxPool" | "Unique" => {
            Class::Chooses
        }
        "Add" | "Sub" | "Mul" | "Neg" | "Abs" | "Sum" | "ReduceSum" | "ReduceProd" | "ReduceL1"
        | "ReduceSumSquare" | "CumSum" | "CumProd" | "BitwiseNot" => Class::Wraps,
        // Computed in double precision: exact as long as the result fits.
        "Pow" if call.narrow(0) != Some(DataType::Uint64) => Class::Wraps,
        "Div" | "Mod" => Class::Divides,
        "BitShift" if call.text("direction", "")? == "LEFT" => Class::Wraps,
        "BitShift" => Class::Shifts,
        _ => return Ok(None),
    }))
}

fn tag(value: &Value) -> Option<Tag> {
    match value {
        Value::Narrow(data_type, _) => Some(Tag::Type(*data_type)),
        Value::Picked(picked) => Some(Tag::Texts(picked.list.clone())),
        Value::Sequence(values) => values.first().and_then(tag),
        Value::Optional(Some(value)) => tag(value),
        Value::Tensor(_) | Value::Strings(_) | Value::Optional(None) => None,
    }
}

/// Whether operators must not see the value as it is.
pub(super) fn is_tagged(value: &Value) -> bool {
    tag(value).is_some()
}

/// Numbers as they are held.
pub(super) fn bare(value: &Value) -> Value {
    match value {
        Value::Narrow(_, tensor) => Value::Tensor(tensor.clone()),
        Value::Picked(picked) => Value::Tensor(picked.places.clone()),
        Value::Sequence(values) => Value::Sequence(values.iter().map(bare).collect()),
        Value::Optional(value) => Value::Optional(value.as_ref().map(|v| Box::new(bare(v)))),
        other => other.clone(),
    }
}

/// Numbers with what they stand for.
fn with(tag: &Tag, value: Value) -> Value {
    match value {
        Value::Tensor(tensor) => match tag {
            Tag::Type(data_type) => Value::Narrow(*data_type, tensor),
            Tag::Texts(list) => Value::Picked(Picked { list: list.clone(), places: tensor }),
        },
        Value::Sequence(values) => {
            Value::Sequence(values.into_iter().map(|value| with(tag, value)).collect())
        }
        other => other,
    }
}

/// The same numbers with what those of `like` stand for.
pub(crate) fn alike(like: &Value, tensor: Tensor) -> Value {
    match tag(like) {
        Some(tag) => with(&tag, tensor.into()),
        None => tensor.into(),
    }
}

/// Applies an operator of which an operand is no ordinary array.
pub(super) fn apply(call: &Call<'_>, operator: Operator) -> Results {
    let class = class(call)?;
    if class == Some(Class::Own) {
        return operator(call);
    }
    let tags: Vec<Option<Tag>> =
        call.inputs.iter().map(|value| value.as_ref().and_then(tag)).collect();
    if tags.iter().flatten().any(|tag| matches!(tag, Tag::Texts(_))) {
        return texts(call, operator, class, &tags);
    }
    let types: Vec<Option<DataType>> = tags
        .into_iter()
        .map(|tag| if let Some(Tag::Type(data_type)) = tag { Some(data_type) } else { None })
        .collect();
    numbers(call, operator, class, &types)
}

/// The same call with other operands.
fn again<'a>(call: &Call<'a>, operator: Operator, inputs: Vec<Option<Value>>) -> Results {
    let (node, opset, scope) = (call.node, call.opset, call.scope);
    operator(&Call { node, opset, inputs, scope })
}

fn all_bare(call: &Call<'_>) -> Vec<Option<Value>> {
    call.inputs.iter().map(|value| value.as_ref().map(bare)).collect()
}

/// Texts that are not known yet are moved by moving their places; what reads them has to know them.
fn texts(
    call: &Call<'_>,
    operator: Operator,
    class: Option<Class>,
    tags: &[Option<Tag>],
) -> Results {
    let unknown = || Stop::Value("texts that are picked by a value".into());
    let place = match class {
        Some(Class::Moves(place)) => place,
        Some(Class::Reads) if matches!(call.node.op_type.as_str(), "Shape" | "Size") => {
            return again(call, operator, all_bare(call));
        }
        _ => return Err(unknown()),
    };
    let Some(Some(Tag::Texts(list))) = tags.get(place) else { return Err(unknown()) };
    let strange = call.inputs.iter().flatten().any(|value| matches!(value, Value::Strings(_)));
    let of_list = |tag: &Tag| matches!(tag, Tag::Texts(other) if Arc::ptr_eq(other, list));
    if strange || !tags.iter().flatten().all(of_list) {
        return Err(unknown());
    }
    let tag = Tag::Texts(list.clone());
    let results = again(call, operator, all_bare(call))?;
    Ok(results.into_iter().map(|value| with(&tag, value)).collect())
}

/// The other half of the numbers first: as unsigned ones those of 64 bits are ordered as these with a sign.
fn turned(x: &Tensor) -> Tensor {
    x.bitwise_xor(x.full_like(i64::MIN as f64))
}

fn numbers(
    call: &Call<'_>,
    operator: Operator,
    class: Option<Class>,
    types: &[Option<DataType>],
) -> Results {
    let refused = |data_type: DataType| {
        let (op, name) = (&call.node.op_type, data_type.name());
        Stop::Unsupported(format!("{op} of {name}, which nerve holds in a wider type"))
    };
    let first = *types.iter().flatten().next().ok_or("an operand")?;
    let class = class.ok_or_else(|| refused(first))?;
    let place = if let Class::Moves(place) = class { place } else { 0 };
    let result = types.get(place).copied().flatten();
    let computes = matches!(class, Class::Wraps | Class::Divides | Class::Shifts);
    // Results in bytes could have wrapped there already, and floats of 8 bits are no type to compute in.
    if computes && result.is_some_and(|t| whole(t).is_none_or(|(bits, _)| bits < 16)) {
        return Err(refused(first));
    }
    let long = result == Some(DataType::Uint64);
    let orders = long && matches!(class, Class::Compares | Class::Chooses);
    let mut inputs = all_bare(call);
    if orders {
        for (value, data_type) in inputs.iter_mut().zip(types) {
            if let (Some(Value::Tensor(x)), Some(DataType::Uint64)) = (value, data_type) {
                *x = turned(x);
            }
        }
    }
    if long && matches!(class, Class::Divides | Class::Shifts) {
        let y = unsigned(call, class)?;
        return Ok(vec![Value::Narrow(DataType::Uint64, y)]);
    }
    let results = again(call, operator, inputs)?;
    let Some(data_type) = result.filter(|_| !matches!(class, Class::Reads | Class::Compares))
    else {
        return Ok(results);
    };
    let each = |(i, value): (usize, Value)| {
        // Behind the first are places and counts.
        if i > 0 && call.node.op_type != "Split" {
            return value;
        }
        let value = match value {
            Value::Tensor(y) if orders => Value::Tensor(turned(&y)),
            Value::Tensor(y) if computes => Value::Tensor(wrapped(data_type, &y)),
            other => other,
        };
        with(&Tag::Type(data_type), value)
    };
    Ok(results.into_iter().enumerate().map(each).collect())
}

/// Quotients, remainders and shifts of unsigned numbers of 64 bits.
fn unsigned(call: &Call<'_>, class: Class) -> Result<Tensor, Stop> {
    let (a, b) = (call.tensor(0)?, call.tensor(1)?);
    super::ops::fits(a, b)?;
    let halved = |x: &Tensor| {
        turned(&x.shift_right(x.full_like(1.0)).bitwise_or(x.full_like(i64::MIN as f64)))
    };
    if class == Class::Shifts {
        let moved = halved(a).shift_right(&(b - b.full_like(1.0)));
        return Ok(b.eq(0).select(a, &moved));
    }
    // Half of the dividend fits with its sign; what is left may hold the divisor once more.
    let half = halved(a) / b;
    let quotient = &half + &half;
    let rest = a - &quotient * b;
    let more = turned(&rest).ge(turned(b)).to_dtype(DType::I64);
    let large = turned(a).ge(turned(b)).to_dtype(DType::I64);
    let quotient = b.lt(0).select(&large, &(quotient + more));
    Ok(match call.node.op_type.as_str() {
        "Div" => quotient,
        _ => a - quotient * b,
    })
}

/// What a value of that declared type is among the values of a graph.
pub(super) fn declared(data_type: DataType, value: &Value) -> Value {
    match value {
        Value::Tensor(x) if held_in(data_type) == Some(x.dtype()) => {
            Value::Narrow(data_type, x.clone())
        }
        other => other.clone(),
    }
}
