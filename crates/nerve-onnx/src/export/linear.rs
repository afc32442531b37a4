//! Products: matrices, convolutions and their transposes, and pooling, which looks at the same places.

use super::error::ExportError;
use super::pair::{Extent, ONE, Pair};
use super::value::{Source, Value};
use super::writer::{Shaped, Writer, ints};
use nerve_core::ops::{Border, Conv, ConvInputGrad, Pool};
use nerve_core::{Op, Tensor};
use nerve_cpu::PoolKind;

/// Images `[n, h, w, c]` as ONNX has them, `[n, c, h, w]`.
const CHANNELS_FIRST: [usize; 4] = [0, 3, 1, 2];
/// Where the axes of `[n, h, w, c]` are in `[n, c, h, w]`.
const CHANNELS_LAST: [usize; 4] = [0, 2, 3, 1];

/// A matrix as it lies in the file, and whether that is its transpose.
fn matrix(writer: &mut Writer, node: &Pair) -> Result<(String, bool), ExportError> {
    let value = writer.value(node);
    let turned = match value.as_constant() {
        Some(tensor) => matches!(tensor.op(), Op::Permute(_)),
        None => value.order == [1, 0],
    };
    match turned {
        true => Ok((writer.in_order(node, &[1, 0])?, true)),
        false => Ok((writer.plain(node)?, false)),
    }
}

pub(super) fn matmul(writer: &mut Writer, node: &Pair) -> Result<Value, ExportError> {
    match node.rank() {
        2 => gemm(writer, node, None),
        _ => product(writer, node),
    }
}

/// `MatMul`, whatever the number of axes.
pub(super) fn product(writer: &mut Writer, node: &Pair) -> Result<Value, ExportError> {
    let rank = node.rank();
    let mut names = Vec::new();
    let mut dims = vec![ONE; rank];
    for number in 0..2 {
        let operand = node.input(number);
        // Leading axes are repeated by the operator itself.
        let value = writer.value(&operand);
        let counting: Vec<usize> = (0..rank).collect();
        let value = writer.laid_out(&value, &counting);
        let (extents, own) = (operand.extents(), value.dims.len());
        let whole = own >= 2 && value.dims[own - 2..] == extents[rank - 2..];
        let (name, has) = match whole {
            true => (writer.name(&value), value.dims.clone()),
            false => (writer.plain(&operand)?, extents),
        };
        for (axis, &extent) in has.iter().enumerate() {
            let at = rank - has.len() + axis;
            if extent != ONE && at < rank - 2 {
                dims[at] = extent;
            }
        }
        names.push(name);
    }
    dims[rank - 2..].copy_from_slice(&node.extents()[rank - 2..]);
    let name = writer.op("MatMul", &[&names[0], &names[1]]);
    Ok(Value::named(name, dims))
}

/// A product of two matrices, with what is added to each row.
fn gemm(writer: &mut Writer, node: &Pair, bias: Option<&str>) -> Result<Value, ExportError> {
    let (a, a_turned) = matrix(writer, &node.input(0))?;
    let (b, b_turned) = matrix(writer, &node.input(1))?;
    let extents = node.extents();
    let plain = bias.is_none() && !a_turned && !b_turned;
    let name = if plain {
        writer.op("MatMul", &[&a, &b])
    } else {
        let operands = [&*a, &*b].into_iter().chain(bias).collect::<Vec<_>>();
        let mut settings = Vec::new();
        if a_turned {
            settings.push(("transA", 1i64.into()));
        }
        if b_turned {
            settings.push(("transB", 1i64.into()));
        }
        writer.op_with("Gemm", &operands, settings)
    };
    Ok(Value::named(name, extents))
}

/// A sum with a product or a convolution as one operand and numbers for its columns or channels as the
/// other: the operators have a place for that.
pub(super) fn with_bias(writer: &mut Writer, node: &Pair) -> Result<Option<Value>, ExportError> {
    for (at, other) in [(0, 1), (1, 0)] {
        let bias = writer.value(&node.input(other));
        let Some(bias) = bias.as_constant() else { continue };
        let sum = node.input(at);
        if sum.extents() != node.extents() {
            continue;
        }
        match sum.op() {
            Op::Matmul(_) if sum.rank() == 2 => {
                if let Some(bias) = columns(bias, node.rank(), node.rank() - 1, &sum) {
                    let bias = writer.constant(&bias);
                    return gemm(writer, &sum, Some(&bias)).map(Some);
                }
            }
            Op::Reshape(_) => {
                let product = sum.input(0);
                let last = |pair: &Pair| pair.extents().last().copied();
                let same = matches!(product.op(), Op::Matmul(_)) && product.rank() == 2;
                if same
                    && last(&product) == last(&sum)
                    && let Some(bias) = columns(bias, node.rank(), node.rank() - 1, &sum)
                {
                    let bias = writer.constant(&bias);
                    let value = gemm(writer, &product, Some(&bias))?;
                    let (name, extents) = (writer.name(&value), node.extents());
                    let name = writer.reshape(&name, &product.extents(), &extents)?;
                    return Ok(Some(Value::named(name, extents)));
                }
            }
            Op::Permute(permute) if permute.order == CHANNELS_FIRST => {
                let Op::Conv(op) = sum.input(0).op().clone() else { continue };
                if sum.input(0).operands() == 2
                    && let Some(bias) = columns(bias, 4, 1, &sum)
                {
                    let bias = writer.constant(&bias);
                    let value = conv_with(writer, &sum.input(0), &op, Some(&bias))?;
                    return Ok(Some(value.with_order(vec![0, 1, 2, 3])));
                }
            }
            _ => {}
        }
    }
    Ok(None)
}

/// `tensor` as one axis, if in a shape of rank `rank` it varies along `axis` alone, over its whole extent.
fn columns(tensor: &Tensor, rank: usize, axis: usize, of: &Pair) -> Option<Tensor> {
    let (extent, missing) = (of.extents()[axis], rank - tensor.rank());
    let alone = tensor.rank() + axis >= rank
        && [tensor.shape()[axis - missing]; 2] == extent
        && tensor.numel() == extent[0];
    let mut tensor = tensor;
    // The variable itself keeps its name.
    while alone && let Op::Reshape(_) = tensor.op() {
        tensor = &tensor.inputs()[0];
    }
    alone.then(|| tensor.reshape([extent[0]]))
}

/// The image of a convolution without the zeros around it, and how many there are.
fn without_border(x: &Pair) -> (Pair, [[usize; 2]; 2]) {
    let Op::Pad(pad) = x.op() else { return (x.clone(), [[0; 2]; 2]) };
    let others = [0, 3].iter().any(|&axis| pad.before[axis] + pad.after[axis] > 0);
    if others || pad.value.get() != 0.0 || pad.between.iter().any(|&n| n > 0) {
        return (x.clone(), [[0; 2]; 2]);
    }
    (x.input(0), [1, 2].map(|axis| [pad.before[axis], pad.after[axis]]))
}

/// Beginnings of all axes, then their ends.
fn pads(border: [[usize; 2]; 2]) -> [usize; 4] {
    let [[top, bottom], [left, right]] = border;
    [top, left, bottom, right]
}

pub(super) fn conv(writer: &mut Writer, node: &Pair, op: &Conv) -> Result<Value, ExportError> {
    conv_with(writer, node, op, None)
}

fn conv_with(
    writer: &mut Writer,
    node: &Pair,
    op: &Conv,
    bias: Option<&str>,
) -> Result<Value, ExportError> {
    if op.border != Border::default() {
        return Err(writer.refuse(node, "the compiler's form of it"));
    }
    let (image, border) = without_border(&node.input(0));
    let filter = node.input(1);
    let kernel = [filter.a.shape()[0], filter.a.shape()[1]];
    let x = writer.in_order(&image, &CHANNELS_FIRST)?;
    let w = writer.in_order(&filter, &[3, 2, 0, 1])?;
    let settings = vec![
        ("kernel_shape", ints(&kernel)),
        ("strides", ints(&op.stride)),
        ("dilations", ints(&op.dilation)),
        ("group", (op.groups as i64).into()),
        ("pads", ints(&pads(border))),
    ];
    let operands: Vec<&str> = [&*x, &*w].into_iter().chain(bias).collect();
    let name = writer.op_with("Conv", &operands, settings);
    Ok(image_value(name, node))
}

/// What an operator on images gave, seen as the node sees it.
fn image_value(name: String, node: &Pair) -> Value {
    let extents = node.extents();
    let dims = CHANNELS_FIRST.iter().map(|&axis| extents[axis]).collect();
    Value { source: Source::Name(name), dims, order: CHANNELS_LAST.to_vec() }
}

/// The gradient of a convolution by its image is what ONNX calls a transposed convolution.
pub(super) fn conv_transpose(
    writer: &mut Writer,
    node: &Pair,
    op: &ConvInputGrad,
) -> Result<Value, ExportError> {
    let (dy, filter) = (node.input(0), node.input(1));
    let conv = op.conv;
    if conv.border != Border::default() {
        return Err(writer.refuse(node, "the compiler's form of it"));
    }
    let kernel = [filter.a.shape()[0], filter.a.shape()[1]];
    let (mut cut, mut added) = ([[0; 2]; 2], [0; 2]);
    for axis in 0..2 {
        let outputs = dy.a.shape()[axis + 1];
        let reach = conv.dilation[axis] * (kernel[axis] - 1) + 1;
        let whole = (outputs.max(1) - 1) * conv.stride[axis] + reach;
        let end = op.start[axis] + op.extent[axis];
        cut[axis] = [op.start[axis], whole.saturating_sub(end)];
        added[axis] = end.saturating_sub(whole);
    }
    let x = writer.in_order(&dy, &CHANNELS_FIRST)?;
    let w = writer.in_order(&filter, &[3, 2, 0, 1])?;
    let settings = vec![
        ("kernel_shape", ints(&kernel)),
        ("strides", ints(&conv.stride)),
        ("dilations", ints(&conv.dilation)),
        ("group", (conv.groups as i64).into()),
        ("pads", ints(&pads(cut))),
        ("output_padding", ints(&added)),
    ];
    let name = writer.op_with("ConvTranspose", &[&x, &w], settings);
    Ok(image_value(name, node))
}

pub(super) fn pool(writer: &mut Writer, node: &Pair, op: &Pool) -> Result<Value, ExportError> {
    let x = writer.in_order(&node.input(0), &CHANNELS_FIRST)?;
    let [down, across] = op.padding;
    let mut settings = vec![
        ("kernel_shape", ints(&op.kernel)),
        ("strides", ints(&op.stride)),
        ("pads", ints(&pads([[down; 2], [across; 2]]))),
    ];
    let name = match op.kind {
        PoolKind::Max => writer.op_with("MaxPool", &[&x], settings),
        PoolKind::Avg => {
            settings.push(("count_include_pad", i64::from(op.count_include_pad).into()));
            writer.op_with("AveragePool", &[&x], settings)
        }
    };
    Ok(image_value(name, node))
}

/// A value with these extents, for what is made of several.
pub(super) fn shaped(name: String, extents: Vec<Extent>) -> Shaped {
    Shaped { value: Value::named(name, extents.clone()), extents }
}
