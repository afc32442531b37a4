//! Elements picked by number, and added by number.

use super::error::ExportError;
use super::pair::Pair;
use super::value::Value;
use super::writer::Writer;
use nerve_core::Tensor;
use nerve_core::ops::{Scatter, Scattering};

/// `Gather` or `GatherElements`.
pub(super) fn pick(
    writer: &mut Writer,
    node: &Pair,
    kind: &str,
    axis: usize,
) -> Result<Value, ExportError> {
    let (x, index) = (writer.plain(&node.input(0))?, writer.plain(&node.input(1))?);
    let name = writer.op_with(kind, &[&x, &index], vec![("axis", (axis as i64).into())]);
    Ok(Value::named(name, node.extents()))
}

/// Sums at places that indices name: added to zeros.
pub(super) fn add_elements(
    writer: &mut Writer,
    node: &Pair,
    axis: usize,
) -> Result<Value, ExportError> {
    let (source, index) = (writer.plain(&node.input(0))?, writer.plain(&node.input(1))?);
    let extents = node.extents();
    let (zero, shape) = (writer.number(0.0, node.dtype()), writer.shape(&extents)?);
    let zeros = writer.op("Expand", &[&zero, &shape]);
    let settings = vec![("axis", (axis as i64).into()), ("reduction", "add".into())];
    let name = writer.op_with("ScatterElements", &[&zeros, &index, &source], settings);
    Ok(Value::named(name, extents))
}

/// Elements that meet others where indices point.
pub(super) fn scatter(
    writer: &mut Writer,
    node: &Pair,
    op: &Scatter,
) -> Result<Value, ExportError> {
    let (how, since) = match op.how {
        Scattering::Replace => ("none", 0),
        Scattering::Add => ("add", 0),
        Scattering::Mul => ("mul", 0),
        Scattering::Max => ("max", 18),
        Scattering::Min => ("min", 18),
    };
    if writer.opset < since {
        return Err(writer.refuse(node, format!("it came with opset {since}")));
    }
    let mut names = Vec::new();
    for input in node.inputs() {
        names.push(writer.plain(&input)?);
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let settings = vec![("axis", (op.axis as i64).into()), ("reduction", how.into())];
    let name = writer.op_with("ScatterElements", &names, settings);
    Ok(Value::named(name, node.extents()))
}

/// Whole slices added: by single elements, whose axes the indices have as one.
pub(super) fn add_slices(x: &Tensor, index: &Tensor, axis: usize, extent: usize) -> Tensor {
    let (before, after) = (&x.shape()[..axis], &x.shape()[axis + index.rank()..]);
    let (outer, inner): (usize, usize) = (before.iter().product(), after.iter().product());
    let count = index.numel();
    let index = index.reshape([1, count, 1]).broadcast_to([outer, count, inner]);
    let sum = nerve_core::ops::ScatterAddElements { axis: 1, extent };
    let sum = Tensor::apply(sum, &[&x.reshape([outer, count, inner]), &index]);
    sum.reshape([before, &[extent], after].concat())
}
