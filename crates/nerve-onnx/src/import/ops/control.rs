//! Branches and loops: graphs within nodes.
//!
//! A plan is a list of instructions without jumps, so loops are unrolled: how often they go round must be
//! known while the graph is built.

use super::Operator;
use crate::import::call::{Call, Results, axis, extent};
use crate::import::error::Stop;
use crate::import::tagged;
use crate::import::value::{Value, dtype};
use nerve_core::{DType, Op, Tensor};
use nerve_formats::onnx::{Dim, Graph, Type, ValueInfo};
use std::collections::HashSet;

pub(super) const OPERATORS: &[(&str, Operator)] =
    &[("If", branch), ("Loop", repeat), ("Scan", scan)];

/// The elements of a small integer input, at most so many, may be constants of a plan.
const SMALL: usize = 64;

fn branch(call: &Call<'_>) -> Results {
    let body = |name: &str| call.scope.body(call.graph(name)?, Vec::new());
    let condition = call.tensor(0)?;
    match truth(condition) {
        Ok(true) => body("then_branch"),
        Ok(false) => body("else_branch"),
        // Both are computed, and one is chosen, unless the question can be settled.
        Err(Stop::Value(what)) => {
            match (settled(condition), body("then_branch"), body("else_branch")) {
                (false, Ok(a), Ok(b)) if a.len() == b.len() => {
                    let pairs = a.iter().zip(&b);
                    let chosen = pairs.map(|(a, b)| choose(condition, a, b)).collect::<Option<_>>();
                    chosen.ok_or(Stop::Value(what))
                }
                _ => Err(Stop::Value(what)),
            }
        }
        Err(other) => Err(other),
    }
}

/// One known truth value.
fn truth(condition: &Tensor) -> Result<bool, Stop> {
    if condition.numel() != 1 || condition.dtype() != DType::Bool {
        let (dtype, shape) = (condition.dtype(), condition.shape());
        return Err(format!("condition: expected one bool, found {dtype} {shape}").into());
    }
    match condition.known()? {
        Some(known) => Ok(known.to_vec::<bool>()[0]),
        None => Err(Stop::Value("a condition".into())),
    }
}

/// Whether a value would be known if small integer inputs were: for them plans are made.
fn settled(tensor: &Tensor) -> bool {
    let (mut seen, mut stack) = (HashSet::new(), vec![tensor.clone()]);
    while let Some(tensor) = stack.pop() {
        if !seen.insert(tensor.id()) {
            continue;
        }
        let small = !tensor.dtype().is_float() && tensor.numel() <= SMALL;
        match tensor.op() {
            Op::Argument(_) if !small => return false,
            Op::ReadVar(_) => return false,
            _ => stack.extend(tensor.inputs().iter().cloned()),
        }
    }
    true
}

/// One of two values that are alike.
fn choose(condition: &Tensor, a: &Value, b: &Value) -> Option<Value> {
    let (x, y) = (a.tensor()?, b.tensor()?);
    let alike = x.shape() == y.shape() && x.dtype() == y.dtype();
    alike.then(|| tagged::alike(a, condition.reshape([]).select(x, y)))
}

/// What goes from round to round.
struct Carried {
    values: Vec<Value>,
    /// Whether it is worth a try to know a value.
    constant: Vec<bool>,
}

impl Carried {
    fn new(values: Vec<Value>) -> Carried {
        Carried { constant: vec![true; values.len()], values }
    }

    /// Takes the values of the next round. What can be known is, so that counters stay numbers and what is
    /// run piece by piece does not grow from round to round.
    fn take(&mut self, values: Vec<Value>) -> Result<(), Stop> {
        self.values = values;
        for (value, constant) in self.values.iter_mut().zip(&mut self.constant) {
            let (Value::Tensor(tensor) | Value::Narrow(_, tensor)) = value else { continue };
            let small = !tensor.dtype().is_float() && tensor.numel() <= SMALL;
            if !*constant && !small {
                continue;
            }
            match tensor.known()? {
                Some(known) => *tensor = known,
                None => *constant = false,
            }
        }
        Ok(())
    }
}

fn optional<'a>(call: &'a Call<'_>, i: usize) -> Option<&'a Value> {
    call.inputs.get(i).and_then(Option::as_ref)
}

/// Operands that must be there, from `first` on.
fn operands(call: &Call<'_>, first: usize) -> Result<Vec<Value>, Stop> {
    (first..call.count()).map(|i| call.value(i).cloned()).collect()
}

/// While a condition holds, at most so many times. The results are what the last round left, and then one row
/// a round of whatever is collected.
fn repeat(call: &Call<'_>) -> Results {
    let body = call.graph("body")?;
    let most = match optional(call, 0) {
        Some(_) => Some(*call.known_ints(0)?.first().ok_or("no number of iterations")?),
        None => None,
    };
    let mut going = match optional(call, 1) {
        Some(_) => truth(call.tensor(1)?)?,
        None => true,
    };
    let mut carried = Carried::new(operands(call, 2)?);
    let (count, outputs) = (carried.values.len(), body.outputs.len());
    let Some(collected) = outputs.checked_sub(1 + count) else {
        return Err(format!("{outputs} results of the body, {count} values to carry on").into());
    };
    let mut rows: Vec<Vec<Value>> = vec![Vec::new(); collected];
    let mut round = 0i64;
    while going && most.is_none_or(|most| round < most) {
        call.scope.budget.spend()?;
        let mut inputs = vec![Tensor::scalar(round).into(), Tensor::scalar(true).into()];
        inputs.append(&mut carried.values);
        let mut results = call.scope.body(body, inputs)?;
        let new = results.split_off(1 + count);
        rows.iter_mut().zip(new).for_each(|(rows, row)| rows.push(row));
        let condition = results.remove(0);
        going = truth(condition.tensor().ok_or("the condition is no bool")?)?;
        carried.take(results)?;
        round += 1;
    }
    let mut results = carried.values;
    for (rows, info) in rows.iter().zip(&body.outputs[1 + count..]) {
        results.push(stacked(rows, info, 0)?);
    }
    Ok(results)
}

/// Rows of one shape along a new axis.
fn stacked(rows: &[Value], info: &ValueInfo, along: i64) -> Result<Value, Stop> {
    let mut tensors = Vec::new();
    for row in rows {
        if matches!(row, Value::Picked(_)) {
            return Err(Stop::Value("texts that are picked by a value".into()));
        }
        let row = row.tensor().ok_or("what is collected must be arrays of numbers")?;
        let first: &Tensor = tensors.first().unwrap_or(row);
        if first.shape() != row.shape() || first.dtype() != row.dtype() {
            let (a, b) = (first.shape(), row.shape());
            return Err(format!("what is collected is of shape {a} once and {b} once").into());
        }
        tensors.push(row.clone());
    }
    match tensors.first() {
        Some(first) => {
            let at = axis(along, first.rank() + 1)?;
            Ok(tagged::alike(&rows[0], Tensor::stack(&tensors, at)))
        }
        None => nothing(info, along).map(Value::Tensor),
    }
}

/// No rows, of the type that the file names. An extent that it does not name is 0.
fn nothing(info: &ValueInfo, along: i64) -> Result<Tensor, Stop> {
    let Some(Type::Tensor(element, dims)) = &info.kind else {
        return Err(Stop::Unsupported("no iteration, and a result of unknown type".into()));
    };
    let dtype = dtype(*element).ok_or(Stop::Unsupported("an unknown type".into()))?;
    let known = |dim: &Dim| if let Dim::Fixed(extent) = dim { *extent as i64 } else { 0 };
    let mut dims: Vec<i64> = dims.iter().flatten().map(known).collect();
    dims.insert(axis(along, dims.len() + 1)?, 0);
    Ok(Tensor::full(crate::import::call::shape(&dims)?, 0.0, dtype))
}

/// What a scan does with its operands and results along which axes.
struct Sweep {
    inputs: Vec<(i64, bool)>,
    outputs: Vec<(i64, bool)>,
    states: usize,
}

impl Sweep {
    fn of(call: &Call<'_>, body: &Graph, operands: usize) -> Result<Sweep, Stop> {
        let count = extent(call.required_int("num_scan_inputs")?)?;
        let wrong = || Stop::Wrong(format!("{count} operands to scan of {operands}"));
        let states = operands.checked_sub(count).filter(|_| count > 0).ok_or_else(wrong)?;
        let outputs = body.outputs.len().checked_sub(states);
        let outputs = outputs.ok_or("the body has fewer results than there are states")?;
        let list = |name: &str, count: usize| -> Result<Vec<i64>, Stop> {
            let list = call.ints(name)?.unwrap_or(vec![0; count]);
            match list.len() == count {
                true => Ok(list),
                false => {
                    Err(format!("{name}: expected {count} numbers, found {}", list.len()).into())
                }
            }
        };
        let both = |axes: &str, directions: &str, count: usize| -> Result<Vec<_>, Stop> {
            let (axes, directions) = (list(axes, count)?, list(directions, count)?);
            Ok(axes.into_iter().zip(directions.into_iter().map(|d| d != 0)).collect())
        };
        let directions = if call.opset < 9 { "directions" } else { "scan_input_directions" };
        let inputs = both("scan_input_axes", directions, count)?;
        let outputs = both("scan_output_axes", "scan_output_directions", outputs)?;
        Ok(Sweep { inputs, outputs, states })
    }

    /// Steps through all operands at once.
    fn run(&self, call: &Call<'_>, body: &Graph, operands: Vec<Value>) -> Results {
        let mut states = operands;
        let scanned = states.split_off(self.states);
        let mut sequences: Vec<(&Tensor, usize, bool)> = Vec::new();
        for (value, &(along, reverse)) in scanned.iter().zip(&self.inputs) {
            let x = value.tensor().ok_or("what is scanned must be arrays of numbers")?;
            sequences.push((x, axis(along, x.rank())?, reverse));
        }
        let lengths: Vec<usize> = sequences.iter().map(|(x, along, _)| x.shape()[*along]).collect();
        if lengths.iter().any(|&n| n != lengths[0]) {
            return Err(format!("operands of {lengths:?} steps").into());
        }
        let mut rows: Vec<Vec<Value>> = vec![Vec::new(); self.outputs.len()];
        let mut carried = Carried::new(states);
        for step in 0..lengths[0] {
            call.scope.budget.spend()?;
            let mut inputs = std::mem::take(&mut carried.values);
            for &(x, along, reverse) in &sequences {
                let at = if reverse { lengths[0] - 1 - step } else { step };
                let slice = x.slice(along as isize, at, at + 1);
                inputs.push(slice.squeeze(along as isize).into());
            }
            let mut results = call.scope.body(body, inputs)?;
            let new = results.split_off(self.states);
            rows.iter_mut().zip(new).for_each(|(rows, row)| rows.push(row));
            carried.take(results)?;
        }
        let mut results = carried.values;
        let infos = &body.outputs[self.states..];
        for ((mut rows, &(along, reverse)), info) in rows.into_iter().zip(&self.outputs).zip(infos)
        {
            if reverse {
                rows.reverse();
            }
            results.push(stacked(&rows, info, along)?);
        }
        Ok(results)
    }
}

/// Steps along an axis of some operands, and carries states on. In version 8 the first operand holds lengths,
/// and all others have a batch axis in front.
fn scan(call: &Call<'_>) -> Results {
    let body = call.graph("body")?;
    if call.opset >= 9 {
        let operands = operands(call, 0)?;
        return Sweep::of(call, body, operands.len())?.run(call, body, operands);
    }
    let operands = operands(call, 1)?;
    let sweep = Sweep::of(call, body, operands.len())?;
    if optional(call, 0).is_some() {
        return Err(Stop::Unsupported("lengths that differ within a batch".into()));
    }
    let tensors: Vec<&Tensor> = operands.iter().filter_map(Value::tensor).collect();
    let batch = tensors.first().and_then(|t| t.shape().first().copied()).unwrap_or(0);
    if tensors.len() != operands.len() || tensors.iter().any(|t| t.shape().first() != Some(&batch))
    {
        return Err("expected arrays with one batch axis".into());
    }
    let mut columns: Vec<Vec<Value>> = vec![Vec::new(); body.outputs.len()];
    for b in 0..batch {
        let inputs = tensors.iter().map(|t| t.slice(0, b, b + 1).squeeze(0).into()).collect();
        let results = sweep.run(call, body, inputs)?;
        columns.iter_mut().zip(results).for_each(|(column, value)| column.push(value));
    }
    let infos = body.outputs.iter();
    columns.iter().zip(infos).map(|(column, info)| stacked(column, info, 0)).collect()
}
