//! Recurrent layers: one instruction walks a sequence, forward or backward.
//!
//! What a layer computes from its input is one ordinary product for all steps at once, before this
//! instruction, and the gradients of its weights are ordinary products after it. What remains is
//! the recurrence itself: at each step the state times the recurrent weights, and the cell.
//!
//! Rows of the batch do not know of each other. A chunk owns some of them for the whole sequence,
//! so no thread ever waits for another one within a sequence; state and gradients of its rows stay
//! in its working memory, the packed weights in its second-level cache. Forward with very few rows
//! and large weights, a chunk owns some of the units instead, and each step is a round.

mod cell;
mod spread;
mod walk;

#[cfg(test)]
mod tests;

use crate::bounds::{apart, holds, product};
use crate::gemm::PackB;
use crate::gemm::pack::{check_isa, lanes};
use crate::gemm::tile::Scalar;
use crate::kernel::{Float, Kernel, Operand, Precision, Scratch};
use crate::memory::{Memory, Region};
use crate::simd::{Isa, isa};
use std::ops::Range;

/// What happens to the state at a step: x is the input's part, W and b the recurrent weights.
///
/// The order of the gates is that of PyTorch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cell {
    /// Long short-term memory (Hochreiter & Schmidhuber, 1997; with the forget gate of Gers,
    /// Schmidhuber & Cummins, 2000). Gates i, f, g, o:
    /// `c = σ(f) c + σ(i) tanh(g)`, `h = σ(o) tanh(c)`.
    Lstm,
    /// Gated recurrent unit (Cho et al., 2014), with the reset after the product. Gates r, z, n:
    /// `n = tanh(xₙ + σ(r) (Wₙ h + bₙ))`, `h = (1 − σ(z)) n + σ(z) h`.
    Gru,
    /// `h = tanh(x + W h)` (Elman, "Finding structure in time", 1990).
    Tanh,
    /// `h = max(x + W h, 0)` (Le, Jaitly & Hinton, 2015).
    Relu,
}

impl Cell {
    /// Sums that a unit makes at each step.
    pub const fn gates(self) -> usize {
        match self {
            Cell::Lstm => 4,
            Cell::Gru => 3,
            Cell::Tanh | Cell::Relu => 1,
        }
    }

    /// Values of a unit that are kept at each step for the gradient, beside the output:
    /// i, f, g, o, c of the LSTM; r, z, n, Wₙ h + bₙ of the GRU.
    pub const fn kept(self) -> usize {
        match self {
            Cell::Lstm => 5,
            Cell::Gru => 4,
            Cell::Tanh | Cell::Relu => 0,
        }
    }

    /// Whether there is a cell state c beside the output h.
    pub const fn has_memory(self) -> bool {
        matches!(self, Cell::Lstm)
    }

    /// Whether the gradient of the recurrent sums differs from that of the input's part.
    pub const fn splits_gradient(self) -> bool {
        matches!(self, Cell::Gru)
    }
}

/// The sizes of a recurrence, the same for both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecurrentShape {
    /// What happens at a step.
    pub cell: Cell,
    /// Sequences.
    pub batch: usize,
    /// Steps of each sequence.
    pub steps: usize,
    /// Length of the state.
    pub units: usize,
    /// Whether the last step comes first.
    pub reverse: bool,
}

/// Most rows of a chunk: enough to make up for reading the weights at each step.
const ROWS: usize = 16;
/// Weights from which on a chunk has twice as many rows: half of a second-level cache in f32.
const LARGE: usize = 128 * 1024;

impl RecurrentShape {
    /// `[batch, units]`: one state.
    fn state(&self) -> usize {
        self.batch * self.units
    }

    /// `[batch, steps, units]`.
    fn sequence(&self) -> usize {
        self.state() * self.steps
    }

    /// Elements of what [`Recurrent`] writes.
    pub fn outputs(&self, keep: bool) -> usize {
        let states = 1 + usize::from(self.cell.has_memory());
        let kept = if keep { self.cell.kept() } else { 0 };
        self.sequence() * (1 + kept) + self.state() * states
    }

    /// Elements of what [`RecurrentGrad`] writes.
    pub fn gradients(&self) -> usize {
        let states = 1 + usize::from(self.cell.has_memory());
        let times = 1 + usize::from(self.cell.splits_gradient());
        self.sequence() * self.cell.gates() * times + self.state() * states
    }

    /// Where in the output of [`Recurrent`] the final states and the kept values start.
    pub fn state_start(&self) -> usize {
        self.sequence()
    }

    fn kept_start(&self) -> usize {
        self.outputs(false)
    }

    /// Where in the output of [`RecurrentGrad`] the gradients of the first states start.
    pub fn state_gradient_start(&self) -> usize {
        self.sequence() * self.cell.gates()
    }

    /// Where in the output of [`RecurrentGrad`] the gradient of the recurrent sums starts: for
    /// most cells it is that of the input's part.
    pub fn sums_gradient_start(&self) -> usize {
        match self.cell.splits_gradient() {
            true => self.gradients() - self.sequence() * self.cell.gates(),
            false => 0,
        }
    }

    fn rows_per_chunk(&self) -> usize {
        // Weights that do not fit the second-level cache have to serve more rows.
        let large = self.cell.gates() * self.units * self.units > LARGE;
        self.batch.div_ceil(2).clamp(1, if large { 2 * ROWS } else { ROWS })
    }

    /// Whether [`Recurrent`] reads its weights from panels: where its chunks are single rows, they
    /// are read once a step as they are.
    pub fn packs(&self) -> bool {
        self.rows_per_chunk() > 1
    }

    fn chunks(&self) -> usize {
        self.batch.div_ceil(self.rows_per_chunk()).max(1)
    }

    fn rows(&self, chunk: usize) -> Range<usize> {
        crate::gemm::drive::piece(self.batch, self.chunks(), chunk)
    }

    fn flops(&self) -> u64 {
        // A multiply-add counts two, what a cell does to a gate about twenty.
        let each = (2 * self.units as u64 + 20).saturating_mul(self.cell.gates() as u64);
        [self.batch, self.steps, self.units].iter().fold(each, |n, &m| n.saturating_mul(m as u64))
    }

    /// Checks that no number of elements overflows.
    fn check(&self) -> Result<(), String> {
        product(&[self.batch, self.steps, self.units, 16])?;
        product(&[self.batch, self.units, 16])?;
        product(&[self.units, self.units, 8]).map(|_| ())
    }

    /// The product with the recurrent weights, packed in panels: `k` steps of `n` columns.
    fn pack(&self, ty: Float, isa: Isa, transposed: bool, from: Region, to: Region) -> PackB {
        let (units, gates) = (self.units, self.cell.gates());
        let rows = self.rows_per_chunk();
        let (k, batch, strides, batch_stride) = match transposed {
            true => (units, gates, [1, units], units * units),
            false => (gates * units, 1, [units, 1], 0),
        };
        let width = match ty {
            Float::F32 => f32::kernels(isa).width(rows, units),
            Float::F64 => f64::kernels(isa).width(rows, units),
        };
        let precision = Precision::Full;
        PackB { ty, k, n: units, batch, strides, batch_stride, width, precision, from, to, isa }
    }

    /// Elements of the packed weights.
    fn packed(&self, ty: Float, isa: Isa) -> usize {
        self.cell.gates() * self.units * self.units.next_multiple_of(lanes(ty, isa))
    }
}

/// Walks sequences forward: outputs and final states from the input's part of the gates.
///
#[derive(Clone, Debug, PartialEq)]
pub struct Recurrent {
    /// Type of all elements.
    pub ty: Float,
    /// The sizes.
    pub shape: RecurrentShape,
    /// The input's part of the gates, biases included, `[batch, steps, gates · units]`.
    pub x: Region,
    /// The recurrent weights: if [`packs`](RecurrentShape::packs) says so, in panels that
    /// [`pack_instruction`](Recurrent::pack_instruction) wrote, else `[gates · units, units]`.
    pub weights: Region,
    /// A bias of the recurrent sums, `[gates · units]`.
    pub bias: Option<Region>,
    /// The first state h, `[batch, units]`; zeros without it.
    pub h0: Option<Region>,
    /// The first cell state c, `[batch, units]`; zeros without it.
    pub c0: Option<Region>,
    /// Whether what the gradient needs is kept.
    pub keep: bool,
    /// One after the other: outputs `[batch, steps, units]`; the last h and, of an LSTM, the last
    /// c, each `[batch, units]`; if it is kept, what [`Cell::kept`] says,
    /// `[batch, steps, kept · units]`.
    pub out: Region,
    /// Whose vectors; [`isa()`] unless a test wants another.
    pub isa: Isa,
}

/// The gradient of [`Recurrent`]: walks the same sequences back.
#[derive(Clone, Debug, PartialEq)]
pub struct RecurrentGrad {
    /// Type of all elements.
    pub ty: Float,
    /// The sizes.
    pub shape: RecurrentShape,
    /// The packed recurrent weights, by [`pack_instruction`](RecurrentGrad::pack_instruction).
    pub packed: Region,
    /// What the forward instruction wrote, with what it kept.
    pub out: Region,
    /// As in [`Recurrent`].
    pub h0: Option<Region>,
    /// As in [`Recurrent`].
    pub c0: Option<Region>,
    /// Gradient of the outputs `[batch, steps, units]`; zero without it.
    pub dy: Option<Region>,
    /// Gradient of the last h `[batch, units]`; zero without it.
    pub dh: Option<Region>,
    /// Gradient of the last c `[batch, units]`; zero without it.
    pub dc: Option<Region>,
    /// One after the other: gradients of the input's part `[batch, steps, gates · units]`; of the
    /// first h and, of an LSTM, of the first c, each `[batch, units]`; of a GRU, of the recurrent
    /// sums `[batch, steps, gates · units]`.
    pub to: Region,
    /// Whose vectors; [`isa()`] unless a test wants another.
    pub isa: Isa,
}

impl Recurrent {
    /// Bytes of the packed weights.
    pub fn packed_bytes(shape: &RecurrentShape, ty: Float) -> usize {
        shape.packed(ty, isa()) * ty.bytes()
    }

    /// The instruction that packs the weights at `from` to `packed`; to be run before.
    pub fn pack_instruction(&self, from: Region) -> PackB {
        self.shape.pack(self.ty, self.isa, true, from, self.weights)
    }
}

impl RecurrentGrad {
    /// The instruction that packs the weights at `from` to `packed`; to be run before.
    pub fn pack_instruction(&self, from: Region) -> PackB {
        self.shape.pack(self.ty, self.isa, false, from, self.packed)
    }
}

/// What both instructions check: states, and weights.
fn check_operands(
    shape: &RecurrentShape,
    ty: Float,
    isa: Isa,
    weights: (Region, usize),
    states: [Option<Region>; 4],
) -> Result<(), String> {
    check_isa(isa)?;
    holds("recurrent weights", weights.0, weights.1, ty.bytes())?;
    for state in states.into_iter().flatten() {
        holds("recurrent state", state, shape.state(), ty.bytes())?;
    }
    match (shape.cell, states) {
        (Cell::Lstm, _) | (_, [_, None, _, None]) => Ok(()),
        _ => Err(format!("a {:?} has no cell state", shape.cell)),
    }
}

impl Kernel for Recurrent {
    fn name(&self) -> &'static str {
        match self.shape.cell {
            Cell::Lstm => "lstm",
            Cell::Gru => "gru",
            Cell::Tanh | Cell::Relu => "rnn",
        }
    }

    fn operands(&self, visit: &mut dyn FnMut(Operand)) {
        visit(Operand::read(self.x));
        visit(Operand::read(self.weights));
        for region in [self.bias, self.h0, self.c0].into_iter().flatten() {
            visit(Operand::read(region));
        }
        visit(Operand::write(self.out));
    }

    fn check(&self) -> Result<(), String> {
        let (shape, bytes) = (&self.shape, self.ty.bytes());
        shape.check()?;
        let gates = shape.cell.gates();
        holds("recurrent input", self.x, shape.sequence() * gates, bytes)?;
        if let Some(bias) = self.bias {
            holds("recurrent bias", bias, gates * shape.units, bytes)?;
        }
        holds("recurrent output", self.out, shape.outputs(self.keep), bytes)?;
        let states = [self.h0, self.c0, None, None];
        let weights = match shape.packs() {
            true => shape.packed(self.ty, self.isa),
            false => gates * shape.units * shape.units,
        };
        check_operands(shape, self.ty, self.isa, (self.weights, weights), states)?;
        apart(self)
    }

    fn chunks(&self) -> usize {
        match spread::pieces(&self.shape) {
            1 => self.shape.chunks(),
            pieces => pieces * self.rounds(),
        }
    }

    fn rounds(&self) -> usize {
        if spread::pieces(&self.shape) > 1 { self.shape.steps } else { 1 }
    }

    fn flops(&self) -> u64 {
        self.shape.flops()
    }

    fn scratch_bytes(&self) -> usize {
        let elements = match spread::pieces(&self.shape) {
            1 => walk::forward_scratch(&self.shape, self.ty, self.isa),
            _ => spread::scratch(&self.shape),
        };
        elements * self.ty.bytes()
    }

    unsafe fn run(&self, chunk: usize, memory: &Memory, scratch: &mut Scratch<'_>) {
        // SAFETY: by contract.
        unsafe {
            match (self.ty, spread::pieces(&self.shape) > 1) {
                (Float::F32, false) => walk::forward::<f32>(self, chunk, memory, scratch),
                (Float::F64, false) => walk::forward::<f64>(self, chunk, memory, scratch),
                (Float::F32, true) => spread::step::<f32>(self, chunk, memory, scratch),
                (Float::F64, true) => spread::step::<f64>(self, chunk, memory, scratch),
            }
        }
    }

    unsafe fn run_all(&self, chunks: Range<usize>, memory: &Memory, scratch: &mut Scratch<'_>) {
        let pieces = spread::pieces(&self.shape);
        let backward = pieces > 1 && spread::backward(&self.shape, chunks.start / pieces);
        for i in 0..chunks.len() {
            let chunk = if backward { chunks.end - 1 - i } else { chunks.start + i };
            // SAFETY: by contract.
            unsafe { self.run(chunk, memory, scratch) };
        }
    }
}

impl Kernel for RecurrentGrad {
    fn name(&self) -> &'static str {
        match self.shape.cell {
            Cell::Lstm => "lstm_grad",
            Cell::Gru => "gru_grad",
            Cell::Tanh | Cell::Relu => "rnn_grad",
        }
    }

    fn operands(&self, visit: &mut dyn FnMut(Operand)) {
        visit(Operand::read(self.packed));
        visit(Operand::read(self.out));
        for region in [self.h0, self.c0, self.dy, self.dh, self.dc].into_iter().flatten() {
            visit(Operand::read(region));
        }
        visit(Operand::write(self.to));
    }

    fn check(&self) -> Result<(), String> {
        let (shape, bytes) = (&self.shape, self.ty.bytes());
        shape.check()?;
        holds("recurrent output", self.out, shape.outputs(true), bytes)?;
        if let Some(dy) = self.dy {
            holds("gradient of the outputs", dy, shape.sequence(), bytes)?;
        }
        holds("recurrent gradient", self.to, shape.gradients(), bytes)?;
        let states = [self.h0, self.c0, self.dh, self.dc];
        let weights = (self.packed, shape.packed(self.ty, self.isa));
        check_operands(shape, self.ty, self.isa, weights, states)?;
        apart(self)
    }

    fn chunks(&self) -> usize {
        self.shape.chunks()
    }

    fn flops(&self) -> u64 {
        self.shape.flops()
    }

    fn scratch_bytes(&self) -> usize {
        walk::backward_scratch(&self.shape, self.ty, self.isa) * self.ty.bytes()
    }

    unsafe fn run(&self, chunk: usize, memory: &Memory, scratch: &mut Scratch<'_>) {
        // SAFETY: by contract.
        unsafe {
            match self.ty {
                Float::F32 => walk::backward::<f32>(self, chunk, memory, scratch),
                Float::F64 => walk::backward::<f64>(self, chunk, memory, scratch),
            }
        }
    }
}
