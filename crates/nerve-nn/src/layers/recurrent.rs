//! What LSTM, GRU and the simple recurrent network share: layers upon each other, in one direction
//! or two, with the parameters of PyTorch.

use super::{BIAS, Effect, Layer, Misfit};
use crate::context::Context;
use crate::dims::{extent, product};
use crate::init::Uniform;
use crate::layers::Dropout;
use crate::params::Params;
use nerve_core::{DType, Tensor, Var};
use nerve_formats::spec::{Args, Kind, Param, Value};

/// A sum so large that the logistic function of it is 1, and of its opposite 0.
const SHUT: f64 = 1e4;

/// Options of [`Lstm`](super::Lstm), [`Gru`](super::Gru) and [`Rnn`](super::Rnn). The default is
/// one layer that walks forward, with biases, and gives its last state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RecurrentOptions {
    /// Layers upon each other: each takes the states of the one below as its input.
    pub layers: usize,
    /// Whether each layer also walks backward, with parameters of its own.
    pub bidirectional: bool,
    /// How each layer puts the states of both directions together.
    pub merge: Merge,
    /// The share of values that is dropped between layers while training.
    pub dropout: f64,
    /// Whether there are biases.
    pub bias: bool,
    /// Whether the output is the states of all steps, not the last one.
    pub return_sequences: bool,
}

/// How the states of both directions are put together, step by step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Merge {
    /// Side by side: twice as many features. The only way in PyTorch.
    #[default]
    Concat,
    /// Their sum.
    Sum,
    /// Their product.
    Mul,
    /// Their mean.
    Ave,
}

impl Merge {
    fn of(self, mut sides: Vec<Tensor>) -> Tensor {
        let last = sides.pop().expect("there is a direction");
        match (sides.pop(), self) {
            (None, _) => last,
            (Some(first), Merge::Concat) => Tensor::concat(&[first, last], -1),
            (Some(first), Merge::Sum) => first + last,
            (Some(first), Merge::Mul) => first * last,
            (Some(first), Merge::Ave) => (first + last) * 0.5,
        }
    }
}

impl Default for RecurrentOptions {
    fn default() -> RecurrentOptions {
        RecurrentOptions {
            layers: 1,
            bidirectional: false,
            merge: Merge::Concat,
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

    /// Features of a layer's output.
    fn width(&self, units: usize) -> usize {
        match self.merge {
            Merge::Concat => extent(product(&[units, self.directions()])),
            _ => units,
        }
    }

    fn from_args(args: &Args) -> RecurrentOptions {
        RecurrentOptions {
            layers: args.usize("layers"),
            bidirectional: args.bool("bidirectional"),
            merge: match args.text("merge") {
                "sum" => Merge::Sum,
                "mul" => Merge::Mul,
                "ave" => Merge::Ave,
                _ => Merge::Concat,
            },
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
            let inputs = if layer == 0 { inputs } else { options.width(units) };
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

    /// Layers times directions.
    pub fn count(&self) -> usize {
        self.directions.len()
    }

    /// Walks `x` `[batch, steps, inputs]` from the states `h0` and `c0`
    /// `[layers · directions, batch, units]`, zeros without them. Steps for which the mask is false
    /// are passed over; then the last c is right only if it is `wanted`.
    #[track_caller]
    pub fn run(
        &self,
        x: &Tensor,
        first: [Option<&Tensor>; 2],
        (mask, wanted): (Option<&Tensor>, bool),
        cx: &Context,
    ) -> Output {
        self.expect_shapes(x, first, mask);
        let state = [x.shape()[0], self.units];
        let begin = |number: usize, all: Option<&Tensor>| match all {
            Some(all) => all.slice(0, number, number + 1).reshape(state),
            None => Tensor::full(state, 0.0, x.dtype()),
        };
        let gaps = mask.map(Gaps::new);
        let gaps = gaps.as_ref();
        let mut below = gaps.map_or_else(|| x.clone(), |gaps| gaps.closed(x));
        let mut last = [Vec::new(), Vec::new()];
        for layer in 0..self.options.layers {
            if layer > 0 {
                below = Dropout { rate: self.options.dropout }.forward(&below, cx);
            }
            let mut sides = Vec::new();
            for side in 0..self.options.directions() {
                let number = layer * self.options.directions() + side;
                let begin = first.map(|all| begin(number, all));
                let direction = &self.directions[number];
                let mut walk = match gaps {
                    None => direction.walk(self.cell, &below, begin, direction.reverse),
                    Some(gaps) => direction.walk_masked(self.cell, &below, begin, gaps, wanted),
                }
                .into_iter();
                sides.extend(walk.next());
                last.iter_mut().zip(walk).for_each(|(all, state)| all.push(state));
            }
            below = self.options.merge.of(sides);
        }
        let [h, c] = last;
        let c = (!c.is_empty()).then(|| Tensor::stack(&c, 0));
        let states = gaps.map_or_else(|| below.clone(), |gaps| gaps.opened(&below));
        Output { states, h: Tensor::stack(&h, 0), c }
    }

    #[track_caller]
    fn expect_shapes(&self, x: &Tensor, first: [Option<&Tensor>; 2], mask: Option<&Tensor>) {
        let (name, inputs, count) = (self.name, self.inputs, self.directions.len());
        assert!(
            x.rank() == 3 && x.shape()[2] == inputs,
            "{name}: expected [batch, steps, {inputs}], found {}",
            x.shape()
        );
        for given in first.into_iter().flatten() {
            let state = [count, x.shape()[0], self.units];
            assert!(
                **given.shape() == state,
                "{name}: expected a first state {state:?}, found {}",
                given.shape()
            );
        }
        if let Some(mask) = mask {
            assert!(
                mask.dtype() == DType::Bool && mask.shape()[..] == x.shape()[..2],
                "{name}: the mask of {} is bool [batch, steps], found {} {}",
                x.shape(),
                mask.dtype(),
                mask.shape()
            );
        }
    }

    /// As a layer: the states, or the last of them.
    #[track_caller]
    pub fn forward(&self, x: &Tensor, mask: Option<&Tensor>, cx: &Context) -> Tensor {
        let output = self.run(x, [None, None], (mask, false), cx);
        if self.options.return_sequences {
            return output.states;
        }
        let (all, sides) = (self.directions.len(), self.options.directions());
        let shape = [x.shape()[0], self.units];
        let last = |i: usize| output.h.slice(0, i, i + 1).reshape(shape);
        self.options.merge.of((all - sides..all).map(last).collect())
    }
}

/// Which steps exist, and how to do without those that do not: the ones that do are moved to the
/// front (*closed*), and at the end back to where they were (*opened*). Then a walk may begin at the
/// front, and what it does behind the last one matters to none.
struct Gaps {
    /// The steps in closed order, as rows of `[batch · steps, …]`.
    closed: Tensor,
    /// For each step its row in closed order.
    opened: Tensor,
    /// The rows that walk the front part backward; done twice, nothing has changed.
    turned: Tensor,
    /// For each sequence the row of its last step, and whether it has one `[batch, 1]`.
    last: Tensor,
    any: Tensor,
    /// Which steps exist, `[batch, steps]`.
    exists: Tensor,
    /// The same in closed order, `[batch, steps, 1]`.
    front: Tensor,
}

impl Gaps {
    fn new(mask: &Tensor) -> Gaps {
        let (batch, steps) = (mask.shape()[0], mask.shape()[1]);
        let rows = |step: &Tensor| {
            let start = Tensor::iota(step.shape(), 0) * steps as f64;
            (step + start).reshape([step.numel()])
        };
        let count = mask.to_dtype(DType::I32).sum_axes(&[1], true);
        // Stable: what exists keeps its order.
        let order = mask.logical_not().argsort(1, false);
        let step = Tensor::iota([batch, steps], 1);
        let front = step.lt(&count);
        Gaps {
            closed: rows(&order),
            opened: rows(&order.argsort(1, false)),
            turned: rows(&front.select(&(&count - 1.0 - &step), &step)),
            last: rows(&(&count - 1.0).maximum(0.0)),
            any: count.gt(0.0),
            exists: mask.clone(),
            front: front.unsqueeze(2),
        }
    }

    /// Rows of `x` `[batch, steps, …]`.
    fn rows(x: &Tensor, rows: &Tensor) -> Tensor {
        let (shape, rest) = (x.shape(), x.shape()[2]);
        x.reshape([shape[0] * shape[1], rest]).index_select(0, rows)
    }

    fn closed(&self, x: &Tensor) -> Tensor {
        Gaps::rows(x, &self.closed).reshape(x.shape())
    }

    fn turned(&self, x: &Tensor) -> Tensor {
        Gaps::rows(x, &self.turned).reshape(x.shape())
    }

    /// In the order that was, with zeros where nothing is.
    fn opened(&self, x: &Tensor) -> Tensor {
        let x = Gaps::rows(x, &self.opened).reshape(x.shape());
        zero_where_masked(x, Some(&self.exists))
    }

    /// The last of the states that a walk from the front has had; the first state where it had none.
    fn last(&self, states: &Tensor, first: &Tensor) -> Tensor {
        self.any.select(&Gaps::rows(states, &self.last), first)
    }
}

impl Direction {
    /// States of all steps, last h and, of an LSTM, last c.
    #[track_caller]
    fn walk(&self, cell: Cell, x: &Tensor, begin: [Tensor; 2], reverse: bool) -> Vec<Tensor> {
        self.steps(cell, &self.part(cell, x), begin, reverse)
    }

    /// The same of a sequence in closed order, without the steps behind its front.
    #[track_caller]
    fn walk_masked(
        &self,
        cell: Cell,
        x: &Tensor,
        begin: [Tensor; 2],
        gaps: &Gaps,
        wanted: bool,
    ) -> Vec<Tensor> {
        let turn = |x: Tensor| if self.reverse { gaps.turned(&x) } else { x };
        let mut part = self.part(cell, &turn(x.clone()));
        if cell == Cell::Lstm && wanted {
            // Behind the front the gates are shut: the memory stays what it is. The state is found
            // among those of all steps, but the memories of all steps are not given.
            let units = part.shape()[2] / 4;
            let gate = |sum: f64| Tensor::full([1, 1, units], sum, part.dtype());
            let shut = Tensor::concat(&[-SHUT, SHUT, 0.0, 0.0].map(gate), 2);
            part = gaps.front.select(&part, &shut);
        }
        let first = begin[0].clone();
        let mut walk = self.steps(cell, &part, begin, false);
        walk[1] = gaps.last(&walk[0], &first);
        walk[0] = turn(walk[0].clone());
        walk
    }

    /// The input's part of the gates, `[batch, steps, gates · units]`.
    #[track_caller]
    fn part(&self, cell: Cell, x: &Tensor) -> Tensor {
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
        part.reshape([batch, steps, rows])
    }

    #[track_caller]
    fn steps(&self, cell: Cell, part: &Tensor, [h, c]: [Tensor; 2], reverse: bool) -> Vec<Tensor> {
        let weights = self.weight_hh.get();
        match cell {
            Cell::Lstm => part.lstm(&weights, &h, &c, reverse).into(),
            Cell::Gru => {
                let bias = match &self.biases {
                    Some([_, bias]) => bias.get(),
                    None => Tensor::full([part.shape()[2]], 0.0, part.dtype()),
                };
                part.gru(&weights, &bias, &h, reverse).into()
            }
            Cell::Rnn { relu } => part.rnn(&weights, &h, relu, reverse).into(),
        }
    }
}

pub(crate) const UNITS: Param = Param::required("units", Kind::count(), "length of the state")
    .alias(&["hidden_size", "hidden_units"]);
pub(super) const SEQUENCES: Param = Param::with_default(
    "return_sequences",
    Kind::Bool,
    Value::Bool(false),
    "whether to give the states of all steps, not the last one",
);
pub(crate) const LAYERS: Param =
    Param::with_default("layers", Kind::int(1, 1 << 10), Value::Int(1), "layers upon each other")
        .alias(&["num_layers"]);
pub(super) const BIDIRECTIONAL: Param = Param::with_default(
    "bidirectional",
    Kind::Bool,
    Value::Bool(false),
    "whether it also walks backward",
);
pub(super) const MERGE: Param = Param::with_default(
    "merge",
    Kind::Choice(&["concat", "sum", "mul", "ave"]),
    Value::text("concat"),
    "how the states of both directions are put together",
)
.alias(&["merge_mode"]);
pub(super) const DROPOUT: Param = Param::with_default(
    "dropout",
    Kind::fraction(),
    Value::Float(0.0),
    "the share of values dropped between layers",
);

/// What LSTM and GRU take.
pub(super) const PARAMS: [Param; 7] =
    [UNITS, SEQUENCES, LAYERS, BIDIRECTIONAL, MERGE, DROPOUT, BIAS];

/// Zeros at the steps of `x` `[batch, steps, …]` that a mask denies.
pub(super) fn zero_where_masked(x: Tensor, mask: Option<&Tensor>) -> Tensor {
    let Some(mask) = mask else { return x };
    let mut shape = vec![1; x.rank()];
    shape[..2].copy_from_slice(mask.shape());
    mask.reshape(shape).select(&x, &x.zeros_like())
}

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
    let (width, both) = (options.width(units), extent(product(&[units, sides])));
    let (mut parameters, mut weights) = (0u128, 0u128);
    for layer in 0..options.layers {
        let inputs = if layer == 0 { inputs } else { width };
        let read = (inputs as u128).saturating_add(units as u128);
        weights = weights.saturating_add(read.saturating_mul(product(&[gates, both])));
        let biases = if options.bias { product(&[2, gates, both]) } else { 0 };
        parameters = parameters.saturating_add(biases);
    }
    let shape = if options.return_sequences { vec![steps, width] } else { vec![width] };
    let kept = product(&[gates + 3, both, steps, options.layers]);
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
