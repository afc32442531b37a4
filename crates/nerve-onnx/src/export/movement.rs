//! The same elements at other places.

use super::error::ExportError;
use super::pair::{Extent, ONE, Pair, is_fixed};
use super::value::{Source, Value};
use super::writer::{Shaped, Writer};
use nerve_core::ops::{Concat, Pad, Permute, Slice};
use nerve_core::{DType, Op, Tensor};

pub(super) fn reshape(writer: &mut Writer, node: &Pair) -> Result<Value, ExportError> {
    let (input, extents) = (node.input(0), node.extents());
    // A piece of what a recurrent layer gives.
    if let Some(piece) = writer.flat.get(&input.a.id())
        && piece.extents == extents
    {
        return Ok(piece.value.clone());
    }
    let value = writer.value(&input);
    if value.is_repeated() && value.as_constant().is_some() {
        let tensor = value.as_constant().expect("looked at before").reshape([]);
        return Ok(Value::constant(tensor));
    }
    let name = writer.plain(&input)?;
    let name = writer.reshape(&name, &input.extents(), &extents)?;
    Ok(Value::named(name, extents))
}

pub(super) fn permute(writer: &mut Writer, node: &Pair, op: &Permute) -> Value {
    let value = writer.value(&node.input(0));
    let rank = node.rank();
    if value.dims.is_empty() {
        return value;
    }
    if value.dims.len() < rank || value.as_constant().is_some() {
        // Brought to its full rank by being laid out, and then seen as the node sees it.
        let laid_out = writer.laid_out(&value, &op.order);
        let counting = (0..laid_out.dims.len()).collect();
        return laid_out.with_order(counting);
    }
    let order = op.order.iter().map(|&axis| value.order[axis]).collect();
    value.with_order(order)
}

pub(super) fn broadcast(writer: &mut Writer, node: &Pair) -> Value {
    let (input, value) = (node.input(0), writer.value(&node.input(0)));
    match value.is_plain() || input.rank() == node.rank() {
        true => value,
        // Axes are counted from behind only where they stand in their order.
        false => writer.laid_out(&value, &(0..input.rank()).collect::<Vec<_>>()),
    }
}

pub(super) fn slice(writer: &mut Writer, node: &Pair, op: &Slice) -> Result<Value, ExportError> {
    let input = node.input(0);
    let Op::Slice(other) = node.b.op() else { unreachable!("compared before") };
    let start: Vec<Extent> = op.start.iter().zip(&other.start).map(|(&a, &b)| [a, b]).collect();
    if let Some(value) = piece(writer, node, &start)? {
        return Ok(value);
    }
    let mut value = writer.value(&input);
    if value.as_constant().is_some() && !value.dims.is_empty() && !value.is_repeated() {
        let name = writer.plain(&input)?;
        value = Value::named(name, input.extents());
    }
    let (from, to) = (input.extents(), node.extents());
    let mut cut: [Vec<i64>; 4] = Default::default();
    let mut dims = value.dims.clone();
    for axis in 0..node.rank() {
        if op.step[axis] == 1 && from[axis] == to[axis] {
            continue;
        }
        let Some(stored) = value.stored(axis, node.rank()) else { continue };
        if value.dims[stored] == ONE && from[axis] != ONE && to[axis][0] > 0 {
            continue;
        }
        if !(is_fixed(start[axis]) && is_fixed(from[axis]) && is_fixed(to[axis])) {
            return Err(ExportError::Batch("a part of the examples is taken".into()));
        }
        let (first, step, count) =
            (start[axis][0] as i64, op.step[axis] as i64, to[axis][0] as i64);
        let end = first + step * (count - 1) + step.signum();
        let end = if count == 0 { first } else { end };
        let end = if end < 0 { i64::MIN } else { end };
        for (list, entry) in cut.iter_mut().zip([first, end, stored as i64, step]) {
            list.push(entry);
        }
        dims[stored] = to[axis];
    }
    if cut[0].is_empty() {
        return Ok(value);
    }
    let name = writer.name(&value);
    let [starts, ends, axes, steps] = cut.map(|list| writer.ints(&list));
    let name = writer.op("Slice", &[&name, &starts, &ends, &axes, &steps]);
    Ok(Value { source: Source::Name(name), dims, order: value.order })
}

/// What a slice takes of a recurrent layer's output: states or the last ones.
fn piece(writer: &mut Writer, node: &Pair, start: &[Extent]) -> Result<Option<Value>, ExportError> {
    let Some(parts) = writer.parts.get(&node.input(0).a.id()) else { return Ok(None) };
    let extents = node.extents();
    let size = |shaped: &Shaped, k: usize| shaped.extents.iter().map(|e| e[k]).product::<usize>();
    let found = parts
        .iter()
        .find(|(at, shaped)| start == [*at] && extents == [[size(shaped, 0), size(shaped, 1)]]);
    let Some((_, shaped)) = found.cloned() else {
        return Err(writer.refuse(&node.input(0), "another part of its output than states"));
    };
    let counting: Vec<usize> = (0..shaped.extents.len()).collect();
    let name = writer.arranged(&shaped, &counting)?;
    let name = writer.reshape(&name, &shaped.extents, &extents)?;
    writer.flat.insert(node.a.id(), shaped);
    Ok(Some(Value::named(name, extents)))
}

pub(super) fn pad(writer: &mut Writer, node: &Pair, op: &Pad) -> Result<Value, ExportError> {
    if op.between.iter().any(|&n| n > 0) {
        let apart = node.rewrite(|t| Some(spread(&t.inputs()[0], op)))?.expect("always made");
        return writer.lowered(&apart);
    }
    let input = node.input(0);
    let value = writer.value(&input);
    let rank = node.rank();
    // Where elements are repeated, padding would be, too.
    let whole = value.dims.len() == rank && {
        let touched = (0..rank).filter(|&axis| op.before[axis] + op.after[axis] > 0);
        let extents = input.extents();
        touched.into_iter().all(|axis| value.dims[value.order[axis]] == extents[axis])
    };
    let value = match whole && value.as_constant().is_none() {
        true => value,
        false => Value::named(writer.plain(&input)?, input.extents()),
    };
    let mut amounts = vec![0; 2 * rank];
    let mut dims = value.dims.clone();
    for axis in 0..rank {
        let stored = value.order[axis];
        (amounts[stored], amounts[rank + stored]) = (op.before[axis] as i64, op.after[axis] as i64);
        if op.before[axis] + op.after[axis] > 0 {
            if !is_fixed(dims[stored]) {
                return Err(ExportError::Batch("padding along the examples".into()));
            }
            dims[stored] = node.extents()[axis];
        }
    }
    let (name, amounts) = (writer.name(&value), writer.ints(&amounts));
    let name = match node.dtype() {
        DType::Bool => {
            // Truth values are not padded everywhere.
            let bytes = super::elementwise::cast_name(writer, &name, DType::I32);
            let number = writer.number(op.value.get(), DType::I32);
            let padded = writer.op("Pad", &[&bytes, &amounts, &number]);
            super::elementwise::cast_name(writer, &padded, DType::Bool)
        }
        dtype => {
            let number = writer.number(op.value.get(), dtype);
            writer.op("Pad", &[&name, &amounts, &number])
        }
    };
    Ok(Value { source: Source::Name(name), dims, order: value.order })
}

/// Padding with amounts between neighbours, by simpler operations.
fn spread(x: &Tensor, op: &Pad) -> Tensor {
    let mut x = x.clone();
    for (axis, &between) in op.between.iter().enumerate().filter(|(_, n)| **n > 0) {
        let extent = x.shape()[axis];
        let mut amounts = vec![(0, 0); x.rank() + 1];
        amounts[axis + 1].1 = between;
        let mut joined = x.shape().to_vec();
        joined[axis] *= between + 1;
        let apart = x.unsqueeze(axis + 1).pad(&amounts, op.value.get()).reshape(joined);
        x = apart.slice(axis as isize, 0, (extent * (between + 1)).saturating_sub(between));
    }
    let amounts: Vec<(usize, usize)> = op.before.iter().copied().zip(op.after.clone()).collect();
    match amounts.iter().all(|&pair| pair == (0, 0)) {
        true => x,
        false => x.pad(&amounts, op.value.get()),
    }
}

pub(super) fn concat(writer: &mut Writer, node: &Pair, op: &Concat) -> Result<Value, ExportError> {
    let inputs = node.inputs();
    let mut end = 0;
    for (input, &start) in inputs.iter().zip(&op.starts) {
        if start != end {
            return Err(writer.refuse(node, "gaps between its operands"));
        }
        end += input.a.shape()[op.axis];
    }
    let values: Vec<Value> = inputs.iter().map(|input| writer.value(input)).collect();
    let first = &values[0].order;
    let same = values.iter().zip(&inputs).all(|(value, input)| {
        let extents = input.extents();
        value.as_constant().is_none()
            && value.order == *first
            && value.dims.len() == extents.len()
            && (0..extents.len()).all(|axis| value.dims[value.order[axis]] == extents[axis])
    });
    let counting: Vec<usize> = (0..node.rank()).collect();
    let order = if same { first.clone() } else { counting.clone() };
    let wanted = super::value::inverse(&order);
    let mut names = Vec::new();
    for input in &inputs {
        names.push(writer.in_order(input, &wanted)?);
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let axis = order[op.axis] as i64;
    let name = writer.op_with("Concat", &names, vec![("axis", axis.into())]);
    let extents = node.extents();
    let dims = wanted.iter().map(|&axis| extents[axis]).collect();
    Ok(Value { source: Source::Name(name), dims, order })
}
