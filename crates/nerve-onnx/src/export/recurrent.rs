//! Recurrent layers. The order of the gates is another one, and ONNX computes the input's part itself.

use super::error::ExportError;
use super::linear::shaped;
use super::pair::{ONE, Pair, fixed};
use super::value::Value;
use super::writer::{Shaped, Writer};
use nerve_core::ops::Recurrent;
use nerve_core::{Op, Tensor};
use nerve_cpu::Cell;
use nerve_cpu::fused::BinaryOp;
use nerve_formats::onnx::AttributeValue;

/// The rows of a weight, or the elements of a bias, in ONNX's order of the gates.
fn gates(cell: Cell, tensor: &Tensor) -> Tensor {
    let order: &[usize] = match cell {
        // i f g o → i o f c
        Cell::Lstm => &[0, 3, 1, 2],
        // r z n → z r h
        Cell::Gru => &[1, 0, 2],
        Cell::Tanh | Cell::Relu => &[0],
    };
    let units = tensor.shape()[0] / order.len();
    let rows: Vec<Tensor> =
        order.iter().map(|&gate| tensor.slice(0, gate * units, (gate + 1) * units)).collect();
    Tensor::concat(&rows, 0)
}

/// What goes in, its weight, and a bias.
struct Input {
    x: Pair,
    weight: Tensor,
    bias: Option<Tensor>,
}

/// `part = x Wᵀ + b` taken apart; x is then `[batch, steps, inputs]`.
fn apart(writer: &Writer, part: &Pair) -> Option<Input> {
    let Op::Reshape(_) = part.op() else { return None };
    let mut product = part.input(0);
    let mut bias = None;
    if let Op::Binary(binary) = product.op()
        && binary.op == BinaryOp::Add
    {
        let added = product.input(1);
        let Op::Broadcast(_) = added.op() else { return None };
        bias = Some(writer.value(&added).as_constant()?.clone());
        product = product.input(0);
    }
    let (Op::Matmul(_), Op::Reshape(_)) = (product.op(), product.input(0).op()) else {
        return None;
    };
    let Op::Permute(_) = product.input(1).op() else { return None };
    let weight = product.input(1).input(0);
    let weight = writer.value(&weight).as_constant()?.clone();
    let x = product.input(0).input(0);
    let fits = x.rank() == 3 && x.extents()[..2] == part.extents()[..2];
    let rows = weight.shape()[0];
    let bias = bias.map(|bias| (bias.numel() == rows).then(|| bias.reshape([rows])));
    fits.then_some(())?;
    match bias {
        Some(None) => None,
        bias => Some(Input { x, weight, bias: bias.flatten() }),
    }
}

/// The part as it is: its weight is the identity.
fn as_it_is(part: &Pair) -> Input {
    let width = part.a.shape()[2];
    let (row, column) = (Tensor::iota([width, width], 0), Tensor::iota([width, width], 1));
    let weight = row.eq(&column).to_dtype(part.dtype());
    Input { x: part.clone(), weight, bias: None }
}

pub(super) fn recurrent(
    writer: &mut Writer,
    node: &Pair,
    op: &Recurrent,
) -> Result<Value, ExportError> {
    let part = node.input(0);
    let constant = |writer: &Writer, number: usize| {
        let value = writer.value(&node.input(number));
        value.as_constant().cloned().ok_or_else(|| {
            writer.refuse(node, "weights that are computed from the network's input")
        })
    };
    if op.keep {
        return Err(writer.refuse(node, "what a gradient keeps"));
    }
    let recurrence = constant(writer, 1)?;
    let input = apart(writer, &part).unwrap_or_else(|| as_it_is(&part));
    let (rows, units) = (recurrence.shape()[0], recurrence.shape()[1]);
    let zero = || Tensor::full([rows], 0.0, node.dtype());
    let second = match op.cell {
        Cell::Gru => constant(writer, 3)?.broadcast_to([rows]),
        _ => zero(),
    };
    let weights = [&input.weight, &recurrence].map(|w| gates(op.cell, w).unsqueeze(0));
    let biases = [input.bias.unwrap_or_else(zero), second].map(|b| gates(op.cell, &b));
    let biases = Tensor::concat(&biases, 0).unsqueeze(0);

    let mut operands = vec![writer.in_order(&input.x, &[1, 0, 2])?];
    for tensor in weights.iter().chain([&biases]) {
        operands.push(writer.constant(tensor));
    }
    operands.push(String::new());
    operands.push(state(writer, &node.input(2))?);
    if op.cell == Cell::Lstm {
        operands.push(state(writer, &node.input(3))?);
    }
    while operands.last().is_some_and(String::is_empty) {
        operands.pop();
    }
    let (kind, settings) = kind(op, units);
    let memory = op.cell == Cell::Lstm;
    let suffixes: &[&str] = if memory { &["", ".h", ".c"] } else { &["", ".h"] };
    let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
    let results = writer.several(kind, &operands, settings, suffixes);
    outputs(writer, node, &results, units);
    // Whoever wants all of it gets an error; its pieces are known.
    Ok(Value::named(results[0].clone(), node.extents()))
}

/// A first state as `[1, batch, units]`; nothing for zeros.
fn state(writer: &mut Writer, node: &Pair) -> Result<String, ExportError> {
    if writer.value(node).is_number(0.0) {
        return Ok(String::new());
    }
    let name = writer.plain(node)?;
    let extents = node.extents();
    writer.reshape(&name, &extents, &[vec![ONE], extents.clone()].concat())
}

fn kind(op: &Recurrent, units: usize) -> (&'static str, Vec<(&'static str, AttributeValue)>) {
    let mut settings: Vec<(&str, AttributeValue)> = vec![("hidden_size", (units as i64).into())];
    if op.reverse {
        settings.push(("direction", "reverse".into()));
    }
    let name = match op.cell {
        Cell::Lstm => "LSTM",
        Cell::Gru => {
            settings.push(("linear_before_reset", 1i64.into()));
            "GRU"
        }
        Cell::Tanh | Cell::Relu => {
            let function = if op.cell == Cell::Relu { "Relu" } else { "Tanh" };
            let functions = AttributeValue::Strings(vec![function.as_bytes().to_vec()]);
            settings.push(("activations", functions));
            "RNN"
        }
    };
    (name, settings)
}

/// Says where the pieces of the output are: states `[steps, 1, batch, units]`, last ones
/// `[1, batch, units]`.
fn outputs(writer: &mut Writer, node: &Pair, results: &[String], units: usize) {
    let extents = node.input(0).extents();
    let (batch, steps, units) = (extents[0], extents[1], fixed(units));
    let (zero, one) = (writer.ints(&[0]), writer.ints(&[1]));
    let states = writer.op("Squeeze", &[&results[0], &one]);
    let states = Value::named(states, vec![steps, batch, units]).with_order(vec![1, 0, 2]);
    let mut parts = vec![([0, 0], Shaped { value: states, extents: vec![batch, steps, units] })];
    let size = [0, 1].map(|k| batch[k] * units[k]);
    let mut start = [0, 1].map(|k| size[k] * steps[k]);
    for last in &results[1..] {
        let last = writer.op("Squeeze", &[last, &zero]);
        parts.push((start, shaped(last, vec![batch, units])));
        start = [0, 1].map(|k| start[k] + size[k]);
    }
    writer.parts.insert(node.a.id(), parts);
}
