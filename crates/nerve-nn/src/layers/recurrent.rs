//! What LSTM, GRU and the simple recurrent network share: layers upon each other, in one direction
//! or two, with the parameters of PyTorch.

use super::{Effect, Layer, Misfit};
use crate::context::Context;
use crate::dims::{extent, product};
use crate::init::Uniform;
use crate::layers::Dropout;
use crate::params::Params;
use nerve_core::{Tensor, Var};
use nerve_formats::spec::{Args, Kind, Param, Value};

/// Options of [`Lstm`](super::Lstm), [`Gru`](super::Gru) and [`Rnn`](super::Rnn). The default is
/// one layer that walks forward, with biases, and gives its last state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RecurrentOptions {
    /// Layers upon each other: each takes the states of the one below as its input.
    pub layers: usize,
    /// Whether each layer also walks backward, with parameters of its own; the states of both
    /// directions stand side by side.
    pub bidirectional: bool,
    /// The share of values that is dropped between layers while training.
    pub dropout: f64,
    /// Whether there are biases.
    pub bias: bool,
    /// Whether the output is the states of all steps, not the last one.
    pub return_sequences: bool,
}

impl Default for RecurrentOptions {
    fn default() -> RecurrentOptions {
        RecurrentOptions {
            layers: 1,
            bidirectional: false,
            dropout: 0.0,
            bias: true,
            return_sequences: false,
        }
    }
}

impl RecurrentOptions {
    fn directions(&self) -> usize {
        if self.bidirectional { 2 } else { 1 }
    }

    fn from_args(args: &Args) -> RecurrentOptions {
        RecurrentOptions {
            layers: args.usize("layers"),
            bidirectional: args.bool("bidirectional"),
            dropout: args.float("dropout"),
            bias: args.bool("bias"),
            return_sequences: args.bool("return_sequences"),
        }
    }
}

/// What happens to the state at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    Lstm,
    Gru,
    Rnn { relu: bool },
}

impl Cell {
    /// Sums that each unit makes.
    const fn gates(self) -> usize {
        match self {
            Cell::Lstm => 4,
            Cell::Gru => 3,
            Cell::Rnn { .. } => 1,
        }
    }
}

/// The parameters of one layer in one direction.
pub(super) struct Direction {
    weight_ih: Var,
    weight_hh: Var,
    /// Of the input's part and of the recurrent sums.
    biases: Option<[Var; 2]>,
    reverse: bool,
}

/// Layers upon each other.
pub(super) struct Stack {
    name: &'static str,
    cell: Cell,
    inputs: usize,
    units: usize,
    options: RecurrentOptions,
    /// Layer by layer, forward before backward.
    directions: Vec<Direction>,
}

/// What a stack gives: the states of its last layer, and the last states of all of its directions,
/// `[layers · directions, batch, units]`.
pub(super) struct Output {
    pub states: Tensor,
    pub h: Tensor,
    pub c: Option<Tensor>,
}

impl Stack {
    /// All values uniform in ±1/√`units`, as in PyTorch.
    #[track_caller]
    pub fn new(
        params: &Params,
        (name, cell): (&'static str, Cell),
        [inputs, units]: [usize; 2],
        options: RecurrentOptions,
    ) -> Stack {
        assert!(options.layers > 0, "{name}: it has one layer or more");
        let (init, rows) = (Uniform::fan_in(units), cell.gates() * units);
        let mut directions = Vec::new();
        for layer in 0..options.layers {
            let inputs = if layer == 0 { inputs } else { units * options.directions() };
            for reverse in [false, true].into_iter().take(options.directions()) {
                let suffix = format!("l{layer}{}", if reverse { "_reverse" } else { "" });
                let var = |kind: &str, shape: &[usize]| {
                    params.var(format!("{kind}_{suffix}"), shape, &init)
                };
                directions.push(Direction {
                    weight_ih: var("weight_ih", &[rows, inputs]),
                    weight_hh: var("weight_hh", &[rows, units]),
                    biases: options
                        .bias
                        .then(|| ["bias_ih", "bias_hh"].map(|kind| var(kind, &[rows]))),
                    reverse,
                });
            }
        }
        Stack { name, cell, inputs, units, options, directions }
    }

    /// Walks `x` `[batch, steps, inputs]` from the states `h0` and `c0`
    /// `[layers · directions, batch, units]`, zeros without them.
    #[track_caller]
    pub fn run(&self, x: &Tensor, first: [Option<&Tensor>; 2], cx: &Context) -> Output {
        let (name, inputs, count) = (self.name, self.inputs, self.directions.len());
        assert!(
            x.rank() == 3 && x.shape()[2] == inputs,
            "{name}: expected [batch, steps, {inputs}], found {}",
            x.shape()
        );
        let state = [x.shape()[0], self.units];
        for given in first.into_iter().flatten() {
            assert!(
                **given.shape() == [count, state[0], state[1]],
                "{name}: expected a first state [{count}, {}, {}], found {}",
                state[0],
                state[1],
                given.shape()
            );
        }
        let begin = |number: usize, all: Option<&Tensor>| match all {
            Some(all) => all.slice(0, number, number + 1).reshape(state),
            None => Tensor::full(state, 0.0, x.dtype()),
        };
        let (mut below, mut last) = (x.clone(), [Vec::new(), Vec::new()]);
        for layer in 0..self.options.layers {
            if layer > 0 {
                below = Dropout { rate: self.options.dropout }.forward(&below, cx);
            }
            let mut sides = Vec::new();
            for side in 0..self.options.directions() {
                let number = layer * self.options.directions() + side;
                let begin = first.map(|all| begin(number, all));
                let mut walk = self.directions[number].walk(self.cell, &below, begin).into_iter();
                sides.extend(walk.next());
                last.iter_mut().zip(walk).for_each(|(all, state)| all.push(state));
            }
            below = beside(sides, 2);
        }
        let [h, c] = last;
        let c = (!c.is_empty()).then(|| Tensor::stack(&c, 0));
        Output { states: below, h: Tensor::stack(&h, 0), c }
    }

    /// As a layer: the states, or the last of them.
    #[track_caller]
    pub fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        let output = self.run(x, [None, None], cx);
        if self.options.return_sequences {
            return output.states;
        }
        let (all, sides) = (self.directions.len(), self.options.directions());
        let shape = [x.shape()[0], self.units];
        let last = |i: usize| output.h.slice(0, i, i + 1).reshape(shape);
        beside((all - sides..all).map(last).collect(), 1)
    }
}

/// One tensor, or several side by side.
fn beside(mut all: Vec<Tensor>, axis: isize) -> Tensor {
    match all.len() {
        1 => all.remove(0),
        _ => Tensor::concat(&all, axis),
    }
}

impl Direction {
    /// States of all steps, last h and, of an LSTM, last c.
    #[track_caller]
    fn walk(&self, cell: Cell, x: &Tensor, [h, c]: [Tensor; 2]) -> Vec<Tensor> {
        let (batch, steps) = (x.shape()[0], x.shape()[1]);
        let rows = self.weight_ih.shape()[0];
        // All steps are one matrix, so that the bias is added where the product is stored.
        let mut part = x.reshape([batch * steps, x.shape()[2]]).matmul(&self.weight_ih.get().t());
        let biases = self.biases.as_ref().map(|both| both.each_ref().map(Var::get));
        part = match (&biases, cell) {
            (None, _) => part,
            // The other one belongs to the sums that a gate resets.
            (Some([bias, _]), Cell::Gru) => part + bias,
            (Some([a, b]), _) => part + (a + b),
        };
        let (part, weights) = (part.reshape([batch, steps, rows]), self.weight_hh.get());
        match cell {
            Cell::Lstm => part.lstm(&weights, &h, &c, self.reverse).into(),
            Cell::Gru => {
                let none = || Tensor::full([rows], 0.0, x.dtype());
                let bias = biases.map_or_else(none, |[_, bias]| bias);
                part.gru(&weights, &bias, &h, self.reverse).into()
            }
            Cell::Rnn { relu } => part.rnn(&weights, &h, relu, self.reverse).into(),
        }
    }
}

pub(super) const UNITS: Param = Param::required("units", Kind::count(), "length of the state")
    .alias(&["hidden_size", "hidden_units"]);
pub(super) const SEQUENCES: Param = Param::with_default(
    "return_sequences",
    Kind::Bool,
    Value::Bool(false),
    "whether to give the states of all steps, not the last one",
);
pub(super) const LAYERS: Param =
    Param::with_default("layers", Kind::int(1, 1 << 10), Value::Int(1), "layers upon each other")
        .alias(&["num_layers"]);
pub(super) const BIDIRECTIONAL: Param = Param::with_default(
    "bidirectional",
    Kind::Bool,
    Value::Bool(false),
    "whether it also walks backward",
);
pub(super) const DROPOUT: Param = Param::with_default(
    "dropout",
    Kind::fraction(),
    Value::Float(0.0),
    "the share of values dropped between layers",
);

/// What a stack does to the shape of an example.
pub(super) fn infer(cell: Cell, args: &Args, input: &[usize]) -> Result<Effect, Misfit> {
    let &[steps, inputs] = input else {
        return Err(Misfit {
            needs: "[steps, features]".into(),
            hint: format!("it gets {} axes and needs 2", input.len()),
        });
    };
    let (options, units) = (RecurrentOptions::from_args(args), args.usize("units"));
    let (sides, gates) = (options.directions(), cell.gates());
    let width = extent(product(&[units, sides]));
    let (mut parameters, mut weights) = (0u128, 0u128);
    for layer in 0..options.layers {
        let inputs = if layer == 0 { inputs } else { width };
        let read = (inputs as u128).saturating_add(units as u128);
        weights = weights.saturating_add(read.saturating_mul(product(&[gates, width])));
        let biases = if options.bias { product(&[2, gates, width]) } else { 0 };
        parameters = parameters.saturating_add(biases);
    }
    let shape = if options.return_sequences { vec![steps, width] } else { vec![width] };
    let kept = product(&[gates + 3, width, steps, options.layers]);
    Ok(Effect {
        parameters: parameters.saturating_add(weights),
        flops: weights.saturating_mul(2).saturating_mul(steps as u128),
        kept,
        ..Effect::cheap(shape, 0, 0)
    })
}

/// The stack that checked arguments describe.
pub(super) fn make(
    kind: (&'static str, Cell),
    args: &Args,
    input: &[usize],
    params: &Params,
) -> Stack {
    Stack::new(params, kind, [input[1], args.usize("units")], RecurrentOptions::from_args(args))
}
