//! Recurrent layers: a state that a sequence passes through, step by step.

use super::{expect_float, expect_same};
use crate::compile::{Lowering, float};
use crate::dtype::DType;
use crate::op::{Gradients, Lower, Op, Operation, Role};
use crate::shape::Shape;
use crate::tensor::Tensor;
use nerve_cpu::{Cell, RecurrentShape, Region};
use std::slice::from_ref;

/// Sequences through a recurrent layer, all steps in one instruction; see [`Cell`] for the
/// formulas.
///
/// Inputs: what the layer computes from its input, `[batch, steps, gates · units]`; the recurrent
/// weights `[gates · units, units]`; the first state h `[batch, units]`; of an LSTM the first cell
/// state c `[batch, units]`, of a GRU the bias of the recurrent sums `[gates · units]`.
///
/// Output, one after the other in one axis: the states `[batch, steps, units]`; the last h and, of
/// an LSTM, the last c `[batch, units]`; if they are kept, gates and cell states for the gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Recurrent {
    /// What happens at a step.
    pub cell: Cell,
    /// Whether the last step comes first.
    pub reverse: bool,
    /// Whether what the gradient needs is kept.
    pub keep: bool,
}

/// The gradient of [`Recurrent`].
///
/// Inputs: those of [`Recurrent`]; its output with what it keeps; the gradients of the states
/// `[batch, steps, units]`, of the last h and, of an LSTM, of the last c.
///
/// Output, one after the other: the gradients of the first input; of the first h and, of an LSTM,
/// the first c; of a GRU, of the recurrent sums, which have the shape of the first input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecurrentGrad {
    /// What happens at a step.
    pub cell: Cell,
    /// Whether the last step comes first.
    pub reverse: bool,
}

/// Inputs of [`Recurrent`].
const fn operands(cell: Cell) -> usize {
    match cell {
        Cell::Lstm | Cell::Gru => 4,
        Cell::Tanh | Cell::Relu => 3,
    }
}

fn sizes(cell: Cell, reverse: bool, inputs: &[Tensor]) -> RecurrentShape {
    let (x, units) = (inputs[0].shape(), inputs[1].shape()[1]);
    RecurrentShape { cell, batch: x[0], steps: x[1], units, reverse }
}

/// The lengths of states and last states in the output.
fn lengths(s: &RecurrentShape) -> Vec<usize> {
    let state = s.batch * s.units;
    let mut all = vec![state * s.steps, state];
    all.extend(s.cell.has_memory().then_some(state));
    all
}

/// The operand's place, or none if it is known to be zero.
fn given(tensor: &Tensor, cx: &mut Lowering<'_>) -> Option<Region> {
    match tensor.op() {
        Op::Full(full) if full.value.get() == 0.0 => None,
        _ => Some(cx.contiguous(tensor)),
    }
}

/// Another node with the same value: gradients with respect to one do not count for the other.
fn alias(tensor: &Tensor) -> Tensor {
    Tensor::apply(super::Reshape { shape: tensor.shape().clone() }, &[tensor])
}

fn flat(parts: &[Tensor]) -> Tensor {
    let parts: Vec<Tensor> = parts.iter().map(|t| t.reshape([t.numel()])).collect();
    Tensor::concat(&parts, 0)
}

impl Recurrent {
    /// Step by step with simple operations; `extra` is added to the recurrent sums.
    fn unrolled(&self, inputs: &[Tensor], extra: Option<&Tensor>) -> Tensor {
        let s = sizes(self.cell, self.reverse, inputs);
        let (gates, width) = (s.cell.gates(), s.cell.gates() * s.units);
        let (x, weights) = (&inputs[0], inputs[1].t());
        let at = |t: &Tensor, step: usize| t.slice(1, step, step + 1).reshape([s.batch, width]);
        let gate = |t: &Tensor, g: usize| t.slice(1, g * s.units, (g + 1) * s.units);
        let (mut h, mut c) = (inputs[2].clone(), inputs.get(3).cloned());
        let (mut states, mut kept) = (vec![], vec![]);
        for i in 0..s.steps {
            let step = if s.reverse { s.steps - 1 - i } else { i };
            let mut sums = h.matmul(&weights);
            if let Some(extra) = extra {
                sums = sums + at(extra, step);
            }
            let x = at(x, step);
            match self.cell {
                Cell::Lstm => {
                    let a: Vec<Tensor> = (0..gates).map(|g| gate(&(&sums + &x), g)).collect();
                    let (i, f, o) = (a[0].sigmoid(), a[1].sigmoid(), a[3].sigmoid());
                    let g = a[2].tanh();
                    let new = &f * c.as_ref().expect("an LSTM has a cell state") + &i * &g;
                    h = &o * new.tanh();
                    kept.push(Tensor::concat(&[i, f, g, o, new.clone()], 1));
                    c = Some(new);
                }
                Cell::Gru => {
                    sums = sums + &inputs[3];
                    let r = (gate(&sums, 0) + gate(&x, 0)).sigmoid();
                    let z = (gate(&sums, 1) + gate(&x, 1)).sigmoid();
                    let q = gate(&sums, 2);
                    let n = (gate(&x, 2) + &r * &q).tanh();
                    h = &n + &z * (&h - &n);
                    kept.push(Tensor::concat(&[r, z, n, q], 1));
                }
                Cell::Tanh => h = (sums + x).tanh(),
                Cell::Relu => h = (sums + x).relu(),
            }
            states.push(h.clone());
        }
        let sequence = |mut all: Vec<Tensor>| {
            if s.reverse {
                all.reverse();
            }
            (!all.is_empty()).then(|| Tensor::stack(&all, 1))
        };
        let mut parts: Vec<Tensor> = sequence(states).into_iter().collect();
        parts.push(h);
        parts.extend(c.filter(|_| s.cell.has_memory()));
        parts.extend(sequence(kept).filter(|_| self.keep));
        flat(&parts)
    }
}

impl Operation for Recurrent {
    fn name(&self) -> &'static str {
        match self.cell {
            Cell::Lstm => "lstm",
            Cell::Gru => "gru",
            Cell::Tanh | Cell::Relu => "rnn",
        }
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        let dtype = inputs[0].dtype();
        expect_float(&inputs[0])?;
        let gates = self.cell.gates();
        let (&[batch, steps, width], &[sums, units]) =
            (&inputs[0].shape()[..], &inputs[1].shape()[..])
        else {
            return Err(format!(
                "expected [batch, steps, {gates} · units] and weights [{gates} · units, units], \
                 found {} and {}",
                inputs[0].shape(),
                inputs[1].shape()
            ));
        };
        if sums != gates * units || width != sums {
            return Err(format!(
                "weights of {units} units are [{sums}, {units}] and the input's part [{batch}, \
                 {steps}, {width}]; expected {gates} · {units} = {} for both",
                gates * units
            ));
        }
        let mut expected: Vec<(&str, Shape)> = vec![("the first state", [batch, units].into())];
        match self.cell {
            Cell::Lstm => expected.push(("the first cell state", [batch, units].into())),
            Cell::Gru => expected.push(("the recurrent bias", [sums].into())),
            Cell::Tanh | Cell::Relu => {}
        }
        for ((what, shape), input) in expected.into_iter().zip(&inputs[2..]) {
            if *input.shape() != shape {
                return Err(format!("{what} is {shape}, found {}", input.shape()));
            }
        }
        for input in &inputs[1..] {
            expect_same(&inputs[0], input)?;
        }
        let shape = sizes(self.cell, self.reverse, inputs);
        Ok(([shape.outputs(self.keep)].into(), dtype))
    }

    fn decompose(&self, inputs: &[Tensor]) -> Option<Tensor> {
        Some(self.unrolled(inputs, None))
    }

    fn gradient(&self, inputs: &[Tensor], _: &Tensor, dy: &Tensor) -> Gradients {
        if self.keep {
            return Ok(crate::grad::vjp(&self.unrolled(inputs, None), dy, inputs));
        }
        let s = sizes(self.cell, self.reverse, inputs);
        let kept =
            Tensor::apply(Recurrent { keep: true, ..*self }, &inputs.iter().collect::<Vec<_>>());
        let mut given = dy.split(0, &lengths(&s));
        given[0] = given[0].reshape([s.batch, s.steps, s.units]);
        for state in &mut given[1..] {
            *state = state.reshape([s.batch, s.units]);
        }
        let grad = RecurrentGrad { cell: self.cell, reverse: self.reverse };
        let all: Vec<&Tensor> = inputs.iter().chain(from_ref(&kept)).chain(&given).collect();
        let all = Tensor::apply(grad, &all);
        let part = |start: usize, shape: &[usize]| {
            let count: usize = shape.iter().product();
            all.slice(0, start, start + count).reshape(shape)
        };
        let (dx, width) = (part(0, inputs[0].shape()), inputs[1].shape()[0]);
        let dh = part(s.state_gradient_start(), inputs[2].shape());
        let dsums = part(s.sums_gradient_start(), inputs[0].shape());
        let dsums = dsums.reshape([s.batch * s.steps, width]);
        let weights = dsums.t().matmul(&self.states_before(&s, &inputs[2], &kept));
        let mut gradients = vec![Some(dx), Some(weights), Some(dh)];
        match self.cell {
            Cell::Lstm => {
                let start = s.state_gradient_start() + s.batch * s.units;
                gradients.push(Some(part(start, inputs[3].shape())));
            }
            Cell::Gru => gradients.push(Some(dsums.sum_axes(&[0], false))),
            Cell::Tanh | Cell::Relu => {}
        }
        Ok(gradients)
    }

    fn role(&self) -> Role<'_> {
        Role::Kernel(self)
    }
}

impl Recurrent {
    /// The state that each step started from, `[batch · steps, units]`.
    fn states_before(&self, s: &RecurrentShape, first: &Tensor, out: &Tensor) -> Tensor {
        let y = out.slice(0, 0, s.state_start()).reshape([s.batch, s.steps, s.units]);
        let (first, most) = (first.unsqueeze(1), s.steps.saturating_sub(1));
        let all = match self.reverse {
            _ if s.steps == 0 => y,
            false => Tensor::concat(&[first, y.slice(1, 0, most)], 1),
            true => Tensor::concat(&[y.slice(1, 1, s.steps), first], 1),
        };
        all.reshape([s.batch * s.steps, s.units])
    }
}

impl Lower for Recurrent {
    fn lower(&self, node: &Tensor, cx: &mut Lowering<'_>) {
        let inputs = node.inputs();
        let (ty, shape) = (float(node.dtype()), sizes(self.cell, self.reverse, inputs));
        let (x, weights) = (cx.contiguous(&inputs[0]), cx.contiguous(&inputs[1]));
        let h0 = given(&inputs[2], cx);
        let third = inputs.get(3).and_then(|t| given(t, cx));
        let (bias, c0) = if self.cell == Cell::Gru { (third, None) } else { (None, third) };
        let (keep, out, isa) = (self.keep, cx.output_region(node), nerve_cpu::isa());
        let mut walk = nerve_cpu::Recurrent { ty, shape, x, weights, bias, h0, c0, keep, out, isa };
        if shape.packs() {
            walk.weights = cx.temporary(nerve_cpu::Recurrent::packed_bytes(&shape, ty));
            cx.emit(walk.pack_instruction(weights));
        }
        cx.emit(walk);
    }
}

impl Operation for RecurrentGrad {
    fn name(&self) -> &'static str {
        match self.cell {
            Cell::Lstm => "lstm_grad",
            Cell::Gru => "gru_grad",
            Cell::Tanh | Cell::Relu => "rnn_grad",
        }
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        let s = sizes(self.cell, self.reverse, inputs);
        let out = &inputs[operands(self.cell)];
        match out.numel() == s.outputs(true) {
            true => Ok(([s.gradients()].into(), out.dtype())),
            false => Err(format!("the output {} is not one that was kept", out.shape())),
        }
    }

    /// The gradient of the unrolled recurrence. What was kept is not used: it follows from the
    /// other inputs, and so do its derivatives.
    fn decompose(&self, inputs: &[Tensor]) -> Option<Tensor> {
        let &RecurrentGrad { cell, reverse } = self;
        let (own, given) = inputs.split_at(operands(cell));
        // Nodes of their own: the same tensor may stand for two of them.
        let own: Vec<Tensor> = own.iter().map(alias).collect();
        let extra = own[0].zeros_like();
        let y = Recurrent { cell, reverse, keep: false }.unrolled(&own, Some(&extra));
        let mut wrt = vec![own[0].clone(), own[2].clone()];
        wrt.extend(own.get(3).filter(|_| cell.has_memory()).cloned());
        wrt.extend(cell.splits_gradient().then_some(extra));
        let gradients = crate::grad::vjp(&y, &flat(&given[1..]), &wrt);
        let all = gradients.into_iter().zip(&wrt);
        let all: Vec<Tensor> = all.map(|(g, t)| g.unwrap_or_else(|| t.zeros_like())).collect();
        Some(flat(&all))
    }

    fn role(&self) -> Role<'_> {
        Role::Kernel(self)
    }
}

impl Lower for RecurrentGrad {
    fn lower(&self, node: &Tensor, cx: &mut Lowering<'_>) {
        let (own, rest) = node.inputs().split_at(operands(self.cell));
        let (ty, shape) = (float(node.dtype()), sizes(self.cell, self.reverse, own));
        let (weights, out) = (cx.contiguous(&own[1]), cx.contiguous(&rest[0]));
        let h0 = given(&own[2], cx);
        let c0 = own.get(3).filter(|_| self.cell.has_memory()).and_then(|t| given(t, cx));
        let (dy, dh) = (given(&rest[1], cx), given(&rest[2], cx));
        let dc = rest.get(3).and_then(|t| given(t, cx));
        let packed = cx.temporary(nerve_cpu::Recurrent::packed_bytes(&shape, ty));
        let (to, isa) = (cx.output_region(node), nerve_cpu::isa());
        let walk = nerve_cpu::RecurrentGrad { ty, shape, packed, out, h0, c0, dy, dh, dc, to, isa };
        cx.emit(walk.pack_instruction(weights));
        cx.emit(walk);
    }
}

impl Tensor {
    /// A long short-term memory (Hochreiter & Schmidhuber, "Long short-term memory", 1997) over
    /// sequences, of which this is the input's part of the gates i, f, g, o:
    /// `x W_ihᵀ + b`, `[batch, steps, 4 · units]`.
    ///
    /// `weights` are recurrent, `[4 · units, units]`; `h0` and `c0` the first states,
    /// `[batch, units]`. At each step, with σ the logistic function and a = x + W h:
    /// `c = σ(a_f) c + σ(a_i) tanh(a_g)`, `h = σ(a_o) tanh(c)`; `reverse` starts at the last one.
    ///
    /// Gives the states h of all steps `[batch, steps, units]`, and the last h and c
    /// `[batch, units]`.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let gates = Tensor::ones([2, 5, 12]);
    /// let (weights, zero) = (Tensor::zeros([12, 3]), Tensor::zeros([2, 3]));
    /// let [states, h, _] = gates.lstm(&weights, &zero, &zero, false);
    /// assert_eq!(states.slice(1, 4, 5).to_vec::<f32>(), h.to_vec::<f32>());
    /// ```
    ///
    /// # Panics
    /// If the shapes or dtypes do not fit.
    #[track_caller]
    pub fn lstm(&self, weights: &Tensor, h0: &Tensor, c0: &Tensor, reverse: bool) -> [Tensor; 3] {
        let op = Recurrent { cell: Cell::Lstm, reverse, keep: false };
        op.apply(&[self, weights, h0, c0]).try_into().expect("states and the last two")
    }

    /// A gated recurrent unit (Cho et al., "Learning phrase representations using RNN
    /// encoder-decoder", 2014; as in cuDNN, with the reset behind the product) over sequences, of
    /// which this is the input's part of the gates r, z, n: `x W_ihᵀ + b_ih`,
    /// `[batch, steps, 3 · units]`.
    ///
    /// `weights` are recurrent, `[3 · units, units]`, with their `bias` `[3 · units]`; `h0` is the
    /// first state `[batch, units]`. With a = W h + bias: `n = tanh(x_n + σ(x_r + a_r) a_n)`,
    /// `z = σ(x_z + a_z)`, `h = (1 − z) n + z h`; `reverse` starts at the last step.
    ///
    /// Gives the states of all steps `[batch, steps, units]`, and the last one `[batch, units]`.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let gates = Tensor::ones([2, 5, 9]);
    /// let (weights, bias) = (Tensor::zeros([9, 3]), Tensor::zeros([9]));
    /// let [states, h] = gates.gru(&weights, &bias, &Tensor::zeros([2, 3]), true);
    /// assert_eq!(states.slice(1, 0, 1).to_vec::<f32>(), h.to_vec::<f32>());
    /// ```
    ///
    /// # Panics
    /// If the shapes or dtypes do not fit.
    #[track_caller]
    pub fn gru(&self, weights: &Tensor, bias: &Tensor, h0: &Tensor, reverse: bool) -> [Tensor; 2] {
        let op = Recurrent { cell: Cell::Gru, reverse, keep: false };
        op.apply(&[self, weights, h0, bias]).try_into().expect("states and the last one")
    }

    /// A simple recurrent network (Elman, "Finding structure in time", 1990) over sequences, of
    /// which this is the input's part, `x W_ihᵀ + b`, `[batch, steps, units]`:
    /// `h = tanh(x + W h)`, or `max(x + W h, 0)` if `relu`.
    ///
    /// `weights` are recurrent, `[units, units]`; `h0` is the first state `[batch, units]`;
    /// `reverse` starts at the last step. Gives the states of all steps `[batch, steps, units]`,
    /// and the last one `[batch, units]`.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let x = Tensor::ones([1, 3, 1]);
    /// let [states, _] = x.rnn(&Tensor::ones([1, 1]), &Tensor::zeros([1, 1]), true, false);
    /// assert_eq!(states.to_vec::<f32>(), [1.0, 2.0, 3.0]);
    /// ```
    ///
    /// # Panics
    /// If the shapes or dtypes do not fit.
    #[track_caller]
    pub fn rnn(&self, weights: &Tensor, h0: &Tensor, relu: bool, reverse: bool) -> [Tensor; 2] {
        let cell = if relu { Cell::Relu } else { Cell::Tanh };
        let op = Recurrent { cell, reverse, keep: false };
        op.apply(&[self, weights, h0]).try_into().expect("states and the last one")
    }
}

impl Recurrent {
    /// The states of all steps and the last ones.
    #[track_caller]
    fn apply(self, inputs: &[&Tensor]) -> Vec<Tensor> {
        let all = Tensor::apply(self, inputs);
        let (x, h) = (inputs[0].shape(), inputs[2].shape());
        let s = RecurrentShape {
            cell: self.cell,
            batch: x[0],
            steps: x[1],
            units: h[1],
            reverse: self.reverse,
        };
        let mut parts = all.split(0, &lengths(&s));
        for part in &mut parts[1..] {
            *part = part.reshape(h);
        }
        parts[0] = parts[0].reshape([s.batch, s.steps, s.units]);
        parts
    }
}
