//! Recurrent layers: LSTM, GRU and the simple one.
//!
//! Layers as most are go to the machine whole. Others (other activations, clipping, peepholes, sequences of
//! different lengths, a reset before the product) are unrolled step by step.

use super::Operator;
use super::cell::{Activation, Cell, activations};
use crate::import::call::{Call, Results, extent};
use crate::import::error::Stop;
use crate::import::value::Value;
use nerve_core::{DType, Tensor};

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("LSTM", |call| layer(call, Cell::Lstm)),
    ("GRU", |call| layer(call, Cell::Gru)),
    ("RNN", |call| layer(call, Cell::Simple)),
];

/// What the directions of a layer share.
struct Layer {
    cell: Cell,
    /// `[batch, steps, features]`
    x: Tensor,
    units: usize,
    /// Steps of each sequence, `[batch, 1]`, where they differ.
    lengths: Option<Tensor>,
    clip: Option<f64>,
    /// Of a GRU: whether the reset stands behind the product. Of an LSTM: whether what is not forgotten is input.
    flag: bool,
}

/// The weights and states of one direction.
struct Direction {
    reverse: bool,
    /// `[gates · units, features]`
    w: Tensor,
    /// `[gates · units, units]`
    r: Tensor,
    /// Of the input's and of the state's part, `[gates · units]`.
    bias: Option<[Tensor; 2]>,
    /// `[batch, units]`
    h: Tensor,
    /// `[batch, units]`
    c: Tensor,
    /// Of the gates i, o, f, `[units]`.
    peepholes: Option<Vec<Tensor>>,
    activations: Vec<Activation>,
}

/// States of all steps `[batch, steps, units]`, and the last ones `[batch, units]`.
struct Outcome {
    states: Tensor,
    h: Tensor,
    c: Tensor,
}

fn layer(call: &Call<'_>, cell: Cell) -> Results {
    let batch_first = call.flag("layout", false)?;
    let x = call.tensor(0)?;
    if x.rank() != 3 || !x.dtype().is_float() {
        return Err(format!("expected floats of 3 axes, found {} {}", x.dtype(), x.shape()).into());
    }
    let x = if batch_first { x.clone() } else { x.transpose(0, 1) };
    let reversed: &[bool] = match call.text("direction", "forward")? {
        "forward" => &[false],
        "reverse" => &[true],
        "bidirectional" => &[false, true],
        other => {
            return Err(format!(
                "direction: expected forward, reverse or bidirectional, found {other:?}"
            )
            .into());
        }
    };
    let units = call.tensor(2)?.shape().last().copied().unwrap_or(0);
    if call.attribute("hidden_size").is_some() && extent(call.int("hidden_size", 0)?)? != units {
        let named = call.int("hidden_size", 0)?;
        return Err(format!("hidden_size {named}, recurrent weights for {units}").into());
    }
    let clip = match call.attribute("clip") {
        Some(_) => Some(call.float("clip", 0.0)?).filter(|&clip| clip > 0.0),
        None => None,
    };
    let flag = match cell {
        Cell::Gru => call.flag("linear_before_reset", false)?,
        Cell::Lstm => call.flag("input_forget", false)?,
        Cell::Simple => false,
    };
    let lengths = lengths(call, &x)?;
    let layer = Layer { cell, x, units, lengths, clip, flag };
    let activations = activations(call, cell, reversed.len())?;
    let mut outcomes = Vec::new();
    for (d, (&reverse, activations)) in reversed.iter().zip(activations).enumerate() {
        let direction =
            Direction::of(call, &layer, (d, reversed.len()), reverse, activations, batch_first)?;
        outcomes.push(layer.run(call, &direction)?);
    }
    Ok(results(&outcomes, batch_first))
}

/// The results in the shapes of ONNX, which have an axis of directions.
fn results(outcomes: &[Outcome], batch_first: bool) -> Vec<Value> {
    let states: Vec<Tensor> = outcomes
        .iter()
        .map(|o| if batch_first { o.states.clone() } else { o.states.transpose(0, 1) })
        .collect();
    let all = if batch_first { Tensor::stack(&states, 2) } else { Tensor::stack(&states, 1) };
    let last = |pick: fn(&Outcome) -> &Tensor| -> Value {
        let parts: Vec<Tensor> = outcomes.iter().map(|o| pick(o).clone()).collect();
        Tensor::stack(&parts, usize::from(batch_first)).into()
    };
    vec![all.into(), last(|o| &o.h), last(|o| &o.c)]
}

/// How many steps each sequence has; none if all have as many as there are.
fn lengths(call: &Call<'_>, x: &Tensor) -> Result<Option<Tensor>, Stop> {
    let Some(given) = call.optional(4)? else { return Ok(None) };
    let (batch, steps) = (x.shape()[0], x.shape()[1]);
    if **given.shape() != [batch] || !matches!(given.dtype(), DType::I32 | DType::I64) {
        let (dtype, shape) = (given.dtype(), given.shape());
        return Err(format!("lengths: expected integers [{batch}], found {dtype} {shape}").into());
    }
    match call.known_ints(4) {
        Ok(known) => {
            if let Some(n) = known.iter().find(|&&n| n < 0 || n > steps as i64) {
                return Err(format!("lengths: a sequence of {n} of {steps} steps").into());
            }
            if known.iter().all(|&n| n == steps as i64) {
                return Ok(None);
            }
        }
        Err(Stop::Value(_)) => {}
        Err(other) => return Err(other),
    }
    Ok(Some(given.to_dtype(DType::I64).reshape([batch, 1])))
}

impl Direction {
    fn of(
        call: &Call<'_>,
        layer: &Layer,
        (d, count): (usize, usize),
        reverse: bool,
        activations: Vec<Activation>,
        batch_first: bool,
    ) -> Result<Direction, Stop> {
        let (units, rows) = (layer.units, layer.cell.gates() * layer.units);
        let (batch, features) = (layer.x.shape()[0], layer.x.shape()[2]);
        let part = |i: usize, rest: &[usize]| -> Result<Option<Tensor>, Stop> {
            let Some(t) = call.optional(i)? else { return Ok(None) };
            let expected = [&[count][..], rest].concat();
            if **t.shape() != expected || t.dtype() != layer.x.dtype() {
                let (dtype, shape) = (t.dtype(), t.shape());
                let wanted = layer.x.dtype();
                return Err(format!(
                    "operand {i}: expected {wanted} {expected:?}, found {dtype} {shape}"
                )
                .into());
            }
            Ok(Some(t.slice(0, d, d + 1).squeeze(0)))
        };
        let state = |i: usize| -> Result<Tensor, Stop> {
            if let (true, Some(t)) = (batch_first, call.optional(i)?) {
                if **t.shape() != [batch, count, units] || t.dtype() != layer.x.dtype() {
                    let (dtype, shape) = (t.dtype(), t.shape());
                    return Err(format!(
                        "operand {i}: expected [{batch}, {count}, {units}], found {dtype} {shape}"
                    )
                    .into());
                }
                return Ok(t.slice(1, d, d + 1).squeeze(1));
            }
            let zero = || Tensor::full([batch, units], 0.0, layer.x.dtype());
            Ok(part(i, &[batch, units])?.unwrap_or_else(zero))
        };
        let lstm = layer.cell == Cell::Lstm;
        let bias = part(3, &[2 * rows])?;
        let peepholes = if lstm { part(7, &[3 * units])? } else { None };
        let h = state(5)?;
        Ok(Direction {
            reverse,
            w: part(1, &[rows, features])?.ok_or("operand 1 is missing")?,
            r: part(2, &[rows, units])?.ok_or("operand 2 is missing")?,
            bias: bias.map(|b| [b.slice(0, 0, rows), b.slice(0, rows, 2 * rows)]),
            c: if lstm { state(6)? } else { h.clone() },
            h,
            peepholes: peepholes.map(|p| p.split(0, &[units; 3])),
            activations,
        })
    }
}

/// The gates along an axis in another order.
fn ordered(t: &Tensor, along: isize, order: &[usize], units: usize) -> Tensor {
    if order.is_sorted() {
        return t.clone();
    }
    let part = |&gate: &usize| t.slice(along, gate * units, (gate + 1) * units);
    Tensor::concat(&order.iter().map(part).collect::<Vec<_>>(), along)
}

impl Layer {
    fn run(&self, call: &Call<'_>, own: &Direction) -> Result<Outcome, Stop> {
        let usual = self.clip.is_none()
            && self.lengths.is_none()
            && own.peepholes.is_none()
            && self.flag == (self.cell == Cell::Gru)
            && self.cell.usual(&own.activations);
        if usual { Ok(self.whole(own)) } else { self.unrolled(call, own) }
    }

    /// `x Wᵀ + b` with the gates in that order. The smaller side is put in order: the weights or the product.
    fn inputs(&self, own: &Direction, bias: Option<Tensor>, order: &[usize]) -> Tensor {
        let [batch, steps, features] = [0, 1, 2].map(|i| self.x.shape()[i]);
        let few = batch * steps < features;
        let w = if few { own.w.clone() } else { ordered(&own.w, 0, order, self.units) };
        let y = self.x.reshape([batch * steps, features]).matmul(&w.t());
        let y = if few { ordered(&y, 1, order, self.units) } else { y };
        let y = match bias {
            Some(bias) => y + ordered(&bias, 0, order, self.units),
            None => y,
        };
        y.reshape([batch, steps, order.len() * self.units])
    }

    /// As one operation.
    fn whole(&self, own: &Direction) -> Outcome {
        let both = own.bias.as_ref().map(|[w, r]| w + r);
        match self.cell {
            Cell::Lstm => {
                // Gates i, o, f, c there, and i, f, c, o here.
                let order = [0, 2, 3, 1];
                let r = ordered(&own.r, 0, &order, self.units);
                let x = self.inputs(own, both, &order);
                let [states, h, c] = x.lstm(&r, &own.h, &own.c, own.reverse);
                Outcome { states, h, c }
            }
            Cell::Gru => {
                // Gates z, r, h there, and r, z, h here.
                let order = [1, 0, 2];
                let r = ordered(&own.r, 0, &order, self.units);
                let (w_bias, r_bias) = match &own.bias {
                    Some([w, r]) => (Some(w.clone()), ordered(r, 0, &order, self.units)),
                    None => (None, Tensor::full([3 * self.units], 0.0, self.x.dtype())),
                };
                let x = self.inputs(own, w_bias, &order);
                let [states, h] = x.gru(&r, &r_bias, &own.h, own.reverse);
                Outcome { states, c: h.clone(), h }
            }
            Cell::Simple => {
                let x = self.inputs(own, both, &[0]);
                let relu = own.activations[0].is_relu();
                let [states, h] = x.rnn(&own.r, &own.h, relu, own.reverse);
                Outcome { states, c: h.clone(), h }
            }
        }
    }

    /// Step by step. Where a sequence has ended, or has not begun from behind, its state stays, and 0 is output.
    fn unrolled(&self, call: &Call<'_>, own: &Direction) -> Result<Outcome, Stop> {
        let [batch, steps] = [0, 1].map(|i| self.x.shape()[i]);
        let order: Vec<usize> = (0..self.cell.gates()).collect();
        let x = self.inputs(own, own.bias.as_ref().map(|[w, _]| w.clone()), &order);
        let (mut h, mut c) = (own.h.clone(), own.c.clone());
        let mut states = Vec::new();
        for step in 0..steps {
            call.scope.budget.spend()?;
            let at = if own.reverse { steps - 1 - step } else { step };
            let now = x.slice(1, at, at + 1).squeeze(1);
            let (new_h, new_c) = match self.cell {
                Cell::Lstm => self.lstm(own, &now, &h, &c),
                Cell::Gru => (self.gru(own, &now, &h), c.clone()),
                Cell::Simple => {
                    let a = now + self.product(own, &h, 0..1);
                    (own.activations[0].apply(&self.clipped(a)), c.clone())
                }
            };
            states.push(match &self.lengths {
                None => {
                    (h, c) = (new_h, new_c);
                    h.clone()
                }
                Some(lengths) => {
                    let within = lengths.gt(at as f64);
                    h = within.select(&new_h, &h);
                    c = within.select(&new_c, &c);
                    within.select(&new_h, &new_h.zeros_like())
                }
            });
        }
        if own.reverse {
            states.reverse();
        }
        let states = match steps {
            0 => Tensor::full([batch, 0, self.units], 0.0, x.dtype()),
            _ => Tensor::stack(&states, 1),
        };
        Ok(Outcome { states, h, c })
    }

    fn clipped(&self, x: Tensor) -> Tensor {
        self.clip.map_or(x.clone(), |clip| x.clamp(-clip, clip))
    }

    /// `h Rᵀ + b` for some gates.
    fn product(&self, own: &Direction, h: &Tensor, gates: std::ops::Range<usize>) -> Tensor {
        let (start, end) = (gates.start * self.units, gates.end * self.units);
        let y = h.matmul(&own.r.slice(0, start, end).t());
        match &own.bias {
            Some([_, bias]) => y + bias.slice(0, start, end),
            None => y,
        }
    }

    /// Gates i, o, f, c. The memory is not clipped before its function: of runtimes that clip, ONNX Runtime
    /// does not either.
    fn lstm(&self, own: &Direction, x: &Tensor, h: &Tensor, c: &Tensor) -> (Tensor, Tensor) {
        let [gate, candidate, output] = [0, 1, 2].map(|i| own.activations[i]);
        let a = (x + self.product(own, h, 0..4)).split(1, &[self.units; 4]);
        let peep = |a: &Tensor, i: usize, c: &Tensor| match &own.peepholes {
            Some(peepholes) => a + c * &peepholes[i],
            None => a.clone(),
        };
        let i = gate.apply(&self.clipped(peep(&a[0], 0, c)));
        let f = match self.flag {
            true => 1.0 - &i,
            false => gate.apply(&self.clipped(peep(&a[2], 2, c))),
        };
        let new = f * c + i * candidate.apply(&self.clipped(a[3].clone()));
        let o = gate.apply(&self.clipped(peep(&a[1], 1, &new)));
        (o * output.apply(&new), new)
    }

    /// Gates z, r, h.
    fn gru(&self, own: &Direction, x: &Tensor, h: &Tensor) -> Tensor {
        let [gate, candidate] = [0, 1].map(|i| own.activations[i]);
        let x = x.split(1, &[self.units; 3]);
        let a = self.product(own, h, 0..2).split(1, &[self.units; 2]);
        let z = gate.apply(&self.clipped(&x[0] + &a[0]));
        let r = gate.apply(&self.clipped(&x[1] + &a[1]));
        let n = match self.flag {
            true => r * self.product(own, h, 2..3),
            false => self.product(own, &(r * h), 2..3),
        };
        let n = candidate.apply(&self.clipped(&x[2] + n));
        (1.0 - &z) * n + z * h
    }
}
