//! Lists, and values that may be missing.

use super::Operator;
use super::elementwise::one;
use super::shape::joined;
use crate::import::call::{Call, Results, axis, extent, shape};
use crate::import::error::Stop;
use crate::import::value::Value;
use nerve_core::Tensor;

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("SequenceEmpty", |_| Ok(vec![Value::Sequence(Vec::new())])),
    ("SequenceConstruct", |call| {
        let values =
            (0..call.count()).map(|i| element(call.value(i)?)).collect::<Result<_, _>>()?;
        Ok(vec![Value::Sequence(values)])
    }),
    ("SequenceLength", |call| one(Tensor::scalar(call.sequence(0)?.len() as i64))),
    ("SequenceAt", |call| {
        let list = call.sequence(0)?;
        Ok(vec![list[place(call, 1, list.len())?].clone()])
    }),
    ("SequenceInsert", |call| {
        let mut list = call.sequence(0)?.to_vec();
        let at = match call.inputs.get(2) {
            Some(Some(_)) => place(call, 2, list.len() + 1)?,
            _ => list.len(),
        };
        list.insert(at, element(call.value(1)?)?);
        Ok(vec![Value::Sequence(list)])
    }),
    ("SequenceErase", |call| {
        let mut list = call.sequence(0)?.to_vec();
        let at = match call.inputs.get(1) {
            Some(Some(_)) => place(call, 1, list.len())?,
            _ => list.len().checked_sub(1).ok_or("the list is empty")?,
        };
        list.remove(at);
        Ok(vec![Value::Sequence(list)])
    }),
    ("SequenceMap", map),
    ("SplitToSequence", split),
    ("ConcatFromSequence", concat),
    ("Optional", |call| {
        let value = call.inputs.first().and_then(Option::as_ref);
        if let Some(Value::Optional(_)) = value {
            return Err("expected an array or a list, found an optional value".into());
        }
        Ok(vec![Value::Optional(value.map(|value| Box::new(value.clone())))])
    }),
    ("OptionalHasElement", |call| {
        let there = call.inputs.first().and_then(Option::as_ref).is_some_and(Value::is_present);
        one(Tensor::scalar(there))
    }),
    ("OptionalGetElement", |call| match call.value(0)? {
        Value::Optional(Some(value)) => Ok(vec![(**value).clone()]),
        Value::Optional(None) => Err("there is no value".into()),
        other => Ok(vec![other.clone()]),
    }),
];

/// An element of a list: lists within lists could grow without end.
fn element(value: &Value) -> Result<Value, Stop> {
    match value {
        Value::Tensor(_) | Value::Narrow(..) | Value::Strings(_) | Value::Picked(_) => {
            Ok(value.clone())
        }
        _ => Err("expected arrays as elements of a list".into()),
    }
}

/// Operand `i` as a place in a list; below 0 it counts from the end.
fn place(call: &Call<'_>, i: usize, length: usize) -> Result<usize, Stop> {
    let at = call.known_ints(i)?;
    let &[at] = &at[..] else { return Err("expected one place".into()) };
    // One behind the end counts for insertions alone, and not from the end.
    let counted = if at < 0 && call.node.op_type == "SequenceInsert" { at - 1 } else { at };
    axis(counted, length).map_err(|_| format!("place {at} of a list of {length}").into())
}

/// A graph applied to the elements of a list, and of others beside it.
fn map(call: &Call<'_>) -> Results {
    let body = call.graph("body")?;
    let list = call.sequence(0)?;
    let mut results = vec![Vec::new(); body.outputs.len()];
    for i in 0..list.len() {
        call.scope.budget.spend()?;
        let mut inputs = Vec::new();
        for k in 0..call.count() {
            inputs.push(match call.value(k)? {
                Value::Sequence(values) => {
                    values.get(i).cloned().ok_or("lists of different lengths")?
                }
                value => value.clone(),
            });
        }
        for (list, value) in results.iter_mut().zip(call.scope.body(body, inputs)?) {
            list.push(element(&value)?);
        }
    }
    Ok(results.into_iter().map(Value::Sequence).collect())
}

/// Parts of the given extents, or of one extent (the last may be smaller), or single elements.
fn split(call: &Call<'_>) -> Results {
    let x = call.tensor(0)?;
    let along = axis(call.int("axis", 0)?, x.rank())?;
    let all = x.shape()[along];
    if all > 1 << 20 {
        return Err(Stop::Limit(format!("{} into parts along axis {along}", x.shape())));
    }
    let (mut keep, mut extents) = (true, vec![1; all]);
    match call.inputs.get(1) {
        Some(Some(_)) => {
            let given = call.known_ints(1)?;
            extents = match (call.tensor(1)?.rank(), &given[..]) {
                (0, &[each]) => {
                    let each = extent(each)?;
                    if each == 0 {
                        return Err("parts of 0".into());
                    }
                    (0..all.div_ceil(each)).map(|i| each.min(all - i * each)).collect()
                }
                _ => shape(&given)?,
            };
        }
        _ => keep = call.flag("keepdims", true)?,
    }
    if extents.iter().sum::<usize>() != all {
        return Err(format!("axis {along} of {} into {extents:?}", x.shape()).into());
    }
    let parts = x.split(along as isize, &extents).into_iter();
    let each = |part: Tensor| if keep { part } else { part.squeeze(along as isize) };
    Ok(vec![Value::Sequence(parts.map(|part| Value::Tensor(each(part))).collect())])
}

/// One array of a list of them.
fn concat(call: &Call<'_>) -> Results {
    let list = call.sequence(0)?;
    let tensors: Vec<Tensor> = list.iter().filter_map(Value::tensor).cloned().collect();
    if tensors.len() != list.len() {
        return Err("expected a list of arrays of numbers".into());
    }
    let along = call.required_int("axis")?;
    if !call.flag("new_axis", false)? {
        return one(joined(&tensors, along)?);
    }
    let first = tensors.first().ok_or("an empty list")?;
    let at = axis(along, first.rank() + 1)?;
    let wide: Vec<Tensor> = tensors.iter().map(|t| t.unsqueeze(at)).collect();
    one(joined(&wide, at as i64)?)
}
