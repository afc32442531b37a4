//! Operations on single elements.

use super::error::ExportError;
use super::linear;
use super::pair::{Extent, ONE, Pair};
use super::value::{Source, Value};
use super::writer::{Writer, data_type};
use nerve_core::{DType, Op, Tensor};
use nerve_cpu::fused::{BinaryOp, UnaryOp};
use std::f64::consts::{FRAC_1_SQRT_2, LN_2};

/// Operands in one layout, and the layout.
struct Aligned {
    values: Vec<Value>,
    order: Vec<usize>,
    dims: Vec<Extent>,
}

/// Brings operands of one shape into one layout, so that the operator can repeat what is missing.
fn aligned(writer: &mut Writer, operands: &[Pair]) -> Aligned {
    let rank = operands[0].rank();
    let values: Vec<Value> = operands.iter().map(|node| writer.value(node)).collect();
    let mut whole = values.iter().filter(|value| value.as_constant().is_none());
    let counting: Vec<usize> = (0..rank).collect();
    let order = match whole.next() {
        Some(first) if !first.is_plain() && whole.all(|value| value.order == first.order) => {
            first.order.clone()
        }
        _ => counting,
    };
    let wanted = super::value::inverse(&order);
    let values: Vec<Value> = values.iter().map(|value| writer.laid_out(value, &wanted)).collect();
    let reach = values.iter().map(|value| value.dims.len()).max().unwrap_or(0);
    let mut dims = vec![ONE; reach];
    for value in &values {
        let missing = reach - value.dims.len();
        for (axis, &extent) in value.dims.iter().enumerate() {
            if extent != ONE {
                dims[missing + axis] = extent;
            }
        }
    }
    let order = if reach == rank { order } else { (0..reach).collect() };
    Aligned { values, order, dims }
}

/// An operation on single elements: `write` gets the names of the operands.
fn elementwise(
    writer: &mut Writer,
    node: &Pair,
    write: impl FnOnce(&mut Writer, &[&str]) -> Result<String, ExportError>,
) -> Result<Value, ExportError> {
    let Aligned { values, order, dims } = aligned(writer, &node.inputs());
    let constants: Option<Vec<&Tensor>> = values.iter().map(Value::as_constant).collect();
    if let Some(constants) = constants {
        let shape: Vec<usize> = dims.iter().map(|extent| extent[0]).collect();
        let operands: Vec<Tensor> =
            constants.iter().map(|tensor| tensor.broadcast_to(shape.clone())).collect();
        let operands: Vec<&Tensor> = operands.iter().collect();
        let result = Tensor::apply(node.op().clone(), &operands);
        return Ok(Value { order, ..Value::constant(result) });
    }
    let names: Vec<String> = values.iter().map(|value| writer.name(value)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let name = write(writer, &names)?;
    Ok(Value { source: Source::Name(name), dims, order })
}

pub(super) fn unary(writer: &mut Writer, node: &Pair, op: UnaryOp) -> Result<Value, ExportError> {
    let dtype = node.input(0).dtype();
    elementwise(writer, node, |writer, x| function(writer, node, op, x[0], dtype))
}

fn function(
    writer: &mut Writer,
    node: &Pair,
    op: UnaryOp,
    x: &str,
    dtype: DType,
) -> Result<String, ExportError> {
    use UnaryOp::*;
    let plain = match op {
        Neg => "Neg",
        Abs => "Abs",
        Sign => "Sign",
        Recip => "Reciprocal",
        Sqrt => "Sqrt",
        Exp => "Exp",
        Log => "Log",
        Sin => "Sin",
        Cos => "Cos",
        Tan => "Tan",
        Asin => "Asin",
        Acos => "Acos",
        Atan => "Atan",
        Sinh => "Sinh",
        Cosh => "Cosh",
        Tanh => "Tanh",
        Sigmoid => "Sigmoid",
        Erf => "Erf",
        Relu => "Relu",
        Floor | Ceil | Round | Trunc if !dtype.is_float() => "Identity",
        Floor => "Floor",
        Ceil => "Ceil",
        Round => "Round",
        Not => "Not",
        IsNan | IsFinite if !dtype.is_float() => {
            return Err(writer.refuse(node, "of whole numbers"));
        }
        IsNan => "IsNaN",
        Square => return Ok(writer.op("Mul", &[x, x])),
        Rsqrt => {
            let root = writer.op("Sqrt", &[x]);
            return Ok(writer.op("Reciprocal", &[&root]));
        }
        Exp2 => {
            let two = writer.number(2.0, dtype);
            return Ok(writer.op("Pow", &[&two, x]));
        }
        Expm1 => {
            let (exp, one) = (writer.op("Exp", &[x]), writer.number(1.0, dtype));
            return Ok(writer.op("Sub", &[&exp, &one]));
        }
        Log2 => {
            let (log, ln2) = (writer.op("Log", &[x]), writer.number(LN_2, dtype));
            return Ok(writer.op("Div", &[&log, &ln2]));
        }
        Log1p => {
            let one = writer.number(1.0, dtype);
            let sum = writer.op("Add", &[&one, x]);
            return Ok(writer.op("Log", &[&sum]));
        }
        Gelu => return Ok(gelu(writer, x, dtype)),
        Trunc => {
            let (sign, size) = (writer.op("Sign", &[x]), writer.op("Abs", &[x]));
            let whole = writer.op("Floor", &[&size]);
            return Ok(writer.op("Mul", &[&sign, &whole]));
        }
        IsFinite => {
            let (nan, infinite) = (writer.op("IsNaN", &[x]), writer.op("IsInf", &[x]));
            let either = writer.op("Or", &[&nan, &infinite]);
            return Ok(writer.op("Not", &[&either]));
        }
    };
    Ok(writer.op(plain, &[x]))
}

/// x Φ(x); an operator of its own since opset 20.
fn gelu(writer: &mut Writer, x: &str, dtype: DType) -> String {
    if writer.opset >= 20 {
        return writer.op("Gelu", &[x]);
    }
    let [root, one, half] = [FRAC_1_SQRT_2, 1.0, 0.5].map(|n| writer.number(n, dtype));
    let scaled = writer.op("Mul", &[x, &root]);
    let erf = writer.op("Erf", &[&scaled]);
    let sum = writer.op("Add", &[&erf, &one]);
    let product = writer.op("Mul", &[x, &sum]);
    writer.op("Mul", &[&product, &half])
}

pub(super) fn binary(writer: &mut Writer, node: &Pair, op: BinaryOp) -> Result<Value, ExportError> {
    if op == BinaryOp::Add
        && let Some(value) = linear::with_bias(writer, node)?
    {
        return Ok(value);
    }
    if let Some(value) = neutral(writer, node, op) {
        return Ok(value);
    }
    elementwise(writer, node, |writer, operands| {
        use BinaryOp::*;
        let plain = match op {
            Add => "Add",
            Sub => "Sub",
            Mul => "Mul",
            Div => "Div",
            Pow => "Pow",
            Max => "Max",
            Min => "Min",
            Rem => return Ok(writer.op_with("Mod", operands, vec![("fmod", 1i64.into())])),
            Atan2 | GeluGrad | BitAnd | BitOr | BitXor | Shl | Shr => {
                return Err(writer.refuse(node, "opset 17 has no such operator"));
            }
            Eq => "Equal",
            Ne => {
                let same = writer.op("Equal", operands);
                return Ok(writer.op("Not", &[&same]));
            }
            Lt => "Less",
            Le => "LessOrEqual",
            Gt => "Greater",
            Ge => "GreaterOrEqual",
            And => "And",
            Or => "Or",
            Xor => "Xor",
        };
        Ok(writer.op(plain, operands))
    })
}

/// One operand, if the other one changes nothing.
fn neutral(writer: &mut Writer, node: &Pair, op: BinaryOp) -> Option<Value> {
    let number = match op {
        BinaryOp::Add | BinaryOp::Sub => 0.0,
        BinaryOp::Mul | BinaryOp::Div => 1.0,
        _ => return None,
    };
    let [a, b] = [0, 1].map(|number| writer.value(&node.input(number)));
    let commutes = matches!(op, BinaryOp::Add | BinaryOp::Mul);
    match (a.is_number(number) && commutes, b.is_number(number)) {
        (_, true) => Some(a),
        (true, _) => Some(b),
        _ => None,
    }
}

pub(super) fn select(writer: &mut Writer, node: &Pair) -> Result<Value, ExportError> {
    elementwise(writer, node, |writer, operands| Ok(writer.op("Where", operands)))
}

pub(super) fn cast(writer: &mut Writer, node: &Pair, dtype: DType) -> Result<Value, ExportError> {
    elementwise(writer, node, |writer, x| Ok(cast_name(writer, x[0], dtype)))
}

/// A value of the file as another type.
pub(super) fn cast_name(writer: &mut Writer, name: &str, dtype: DType) -> String {
    let to = data_type(dtype) as i64;
    writer.op_with("Cast", &[name], vec![("to", to.into())])
}

/// Counting numbers, of which the batch is an axis.
pub(super) fn iota(
    writer: &mut Writer,
    node: &Pair,
    weights: &[i64],
) -> Result<Value, ExportError> {
    let extents = node.extents();
    let (mut rest, mut sum) = (node.a.clone(), None);
    for (axis, &extent) in extents.iter().enumerate().filter(|(_, e)| e[0] != e[1]) {
        rest = rest.slice(axis as isize, 0, 1);
        if weights[axis] == 0 {
            continue;
        }
        let (count, scalar) = (writer.counted(extent)?, writer.ints(&[]));
        let count = writer.op("Reshape", &[&count, &scalar]);
        let [zero, one] = [0.0, 1.0].map(|n| writer.number(n, DType::I64));
        let range = writer.op("Range", &[&zero, &count, &one]);
        let range = cast_name(writer, &range, DType::I32);
        let weight = writer.number(weights[axis] as f64, DType::I32);
        let scaled = writer.op("Mul", &[&range, &weight]);
        let mut shape = vec![ONE; extents.len()];
        shape[axis] = extent;
        let placed = writer.reshape(&scaled, &[extent], &shape)?;
        sum = Some((placed, shape));
    }
    let Some((name, mut dims)) = sum else { return Ok(Value::constant(rest)) };
    for (axis, dim) in dims.iter_mut().enumerate().filter(|(_, dim)| **dim == ONE) {
        *dim = [rest.shape()[axis]; 2];
    }
    let rest = writer.constant(&rest);
    Ok(Value::named(writer.op("Add", &[&name, &rest]), dims))
}

/// The same number everywhere.
pub(super) fn full(node: &Pair) -> Value {
    let Op::Full(full) = node.op() else { unreachable!("only for such nodes") };
    Value::constant(Tensor::full([], full.value.get(), node.dtype()))
}
