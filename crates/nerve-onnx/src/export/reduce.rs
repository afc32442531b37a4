//! Operations along axes: sums, extremes, shares, orders, running sums.

use super::elementwise::cast_name;
use super::error::ExportError;
use super::pair::{Extent, ONE, Pair};
use super::value::{Source, Value};
use super::writer::{Writer, ints};
use nerve_core::DType;
use nerve_core::ops::{ArgReduce, ArgSort, CumSum, LayerNorm, Reduce, Softmax};
use nerve_cpu::{ArgKind, fused};
use nerve_formats::onnx::AttributeValue;

/// An operand of which all axes are in the file, in whatever order; only repeated if it must be.
fn whole(writer: &mut Writer, node: &Pair, axes: &[usize]) -> Result<Value, ExportError> {
    let (value, extents) = (writer.value(node), node.extents());
    let there = value.as_constant().is_none()
        && value.dims.len() == node.rank()
        && axes.iter().all(|&axis| value.dims[value.order[axis]] == extents[axis]);
    Ok(match there {
        true => value,
        false => Value::named(writer.plain(node)?, extents),
    })
}

pub(super) fn reduce(writer: &mut Writer, node: &Pair, op: &Reduce) -> Result<Value, ExportError> {
    let value = whole(writer, &node.input(0), &op.axes)?;
    if op.axes.is_empty() {
        return Ok(value);
    }
    let axes: Vec<usize> = op.axes.iter().map(|&axis| value.order[axis]).collect();
    let mut dims = value.dims.clone();
    for &axis in &axes {
        dims[axis] = ONE;
    }
    let kind = match op.kind {
        fused::Reduce::Sum => "ReduceSum",
        fused::Reduce::Prod => "ReduceProd",
        fused::Reduce::Max => "ReduceMax",
        fused::Reduce::Min => "ReduceMin",
    };
    let x = writer.name(&value);
    // Axes became an operand with opset 13 for sums, with 18 for the others.
    let name = if kind == "ReduceSum" || writer.opset >= 18 {
        let axes: Vec<i64> = axes.iter().map(|&axis| axis as i64).collect();
        let axes = writer.ints(&axes);
        writer.op(kind, &[&x, &axes])
    } else {
        writer.op_with(kind, &[&x], vec![("axes", ints(&axes))])
    };
    Ok(Value { source: Source::Name(name), dims, order: value.order })
}

/// An operator along one axis that keeps the shape.
fn along(
    writer: &mut Writer,
    node: &Pair,
    axis: usize,
    write: impl FnOnce(&mut Writer, &str, i64) -> String,
) -> Result<Value, ExportError> {
    let value = whole(writer, &node.input(0), &[axis])?;
    let x = writer.name(&value);
    let name = write(writer, &x, value.order[axis] as i64);
    Ok(Value { source: Source::Name(name), ..value })
}

pub(super) fn softmax(
    writer: &mut Writer,
    node: &Pair,
    op: &Softmax,
) -> Result<Value, ExportError> {
    let kind = if op.log { "LogSoftmax" } else { "Softmax" };
    along(writer, node, node.rank() - 1, |writer, x, axis| {
        writer.op_with(kind, &[x], vec![("axis", axis.into())])
    })
}

pub(super) fn cumsum(writer: &mut Writer, node: &Pair, op: &CumSum) -> Result<Value, ExportError> {
    along(writer, node, op.axis, |writer, x, axis| {
        let axis = writer.number(axis as f64, DType::I64);
        let settings: Vec<(&str, AttributeValue)> = vec![
            ("exclusive", i64::from(op.exclusive).into()),
            ("reverse", i64::from(op.reverse).into()),
        ];
        writer.op_with("CumSum", &[x, &axis], settings)
    })
}

/// All of the axis, in order: of equal ones the first comes first, here and there.
pub(super) fn argsort(
    writer: &mut Writer,
    node: &Pair,
    op: &ArgSort,
) -> Result<Value, ExportError> {
    let extent = node.extents()[op.axis];
    let count = writer.shape(&[extent])?;
    along(writer, node, op.axis, |writer, x, axis| {
        let settings: Vec<(&str, AttributeValue)> = vec![
            ("axis", axis.into()),
            ("largest", i64::from(op.descending).into()),
            ("sorted", 1i64.into()),
        ];
        let both = writer.several("TopK", &[x, &count], settings, &["", ".indices"]);
        cast_name(writer, &both[1], DType::I32)
    })
}

pub(super) fn argreduce(
    writer: &mut Writer,
    node: &Pair,
    op: &ArgReduce,
) -> Result<Value, ExportError> {
    let kind = match op.kind {
        ArgKind::Max => "ArgMax",
        ArgKind::Min => "ArgMin",
    };
    let mut value = along(writer, node, op.axis, |writer, x, axis| {
        let place = writer.op_with(kind, &[x], vec![("axis", axis.into())]);
        cast_name(writer, &place, DType::I32)
    })?;
    let stored = value.order[op.axis];
    value.dims[stored] = ONE;
    Ok(value)
}

pub(super) fn layer_norm(
    writer: &mut Writer,
    node: &Pair,
    op: &LayerNorm,
) -> Result<Value, ExportError> {
    let x = writer.plain(&node.input(0))?;
    let weight = node.input(1);
    let axis = -(weight.rank() as i64);
    let mut operands = vec![x, writer.plain(&weight)?];
    if node.operands() > 2 {
        operands.push(writer.plain(&node.input(2))?);
    }
    let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
    let settings: Vec<(&str, AttributeValue)> =
        vec![("axis", axis.into()), ("epsilon", (op.eps.get() as f32).into())];
    let name = writer.op_with("LayerNormalization", &operands, settings);
    let extents: Vec<Extent> = node.extents();
    Ok(Value::named(name, extents))
}
