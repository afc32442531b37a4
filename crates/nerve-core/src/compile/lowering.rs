//! From units to instructions: where each value lies, and what is emitted to compute it.

mod group;

use super::strided::Strided;
use super::units::{Schedule, Unit};
use crate::dtype::DType;
use crate::op::{Op, Role};
use crate::shape::Shape;
use crate::tensor::Tensor;
use nerve_cpu::fused::{Compute, Element, Fused, Output, Step, View};
use nerve_cpu::{Copy, Float, Instruction, Precision, Region, SumParts};
use std::collections::HashMap;

/// Buffers from this number on are not buffers of the plan yet, but slots of the arena that have
/// no address: lowering runs once to see which slots live when, and again with their addresses.
pub(super) const SLOTS: u32 = 1 << 31;

/// Where a value lies.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    /// Index into the slots.
    slot: usize,
    /// The type of its elements.
    pub dtype: DType,
    /// How the elements lie in the slot.
    pub strided: Strided,
}

/// A stretch of memory that holds values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// Length.
    pub bytes: usize,
    /// Buffer and offset, if it is not in the arena.
    pub home: Option<(u32, usize)>,
}

/// Where the value of a node has to be stored, decided before lowering.
#[derive(Clone, Debug)]
pub(super) enum Destination {
    /// At this offset in bytes of a buffer of the plan.
    Buffer(u32, usize),
    /// In the result of a concatenation, from this element on.
    Piece { of: Tensor, start: usize },
}

/// The state of lowering, and what an operation uses to emit its instructions.
pub struct Lowering<'a> {
    schedule: &'a Schedule,
    /// Buffer and offset of each leaf.
    leaves: &'a HashMap<u64, (u32, usize)>,
    destinations: &'a HashMap<u64, Destination>,
    /// The addresses of the slots in the arena, in the second run.
    addresses: Option<&'a [usize]>,
    places: HashMap<u64, Placed>,
    pub(super) slots: Vec<Slot>,
    pub(super) instructions: Vec<Instruction>,
    /// The instruction that applies an operation to a node, where another may add a result to it.
    shared: HashMap<(Op, u64), usize>,
    epilogue: Epilogue,
    pub(super) precision: Precision,
}

/// A batch of matrices in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matrices {
    /// The bytes, from the first element on.
    pub region: Region,
    /// Elements between rows and between columns; one of them is 1.
    pub strides: [usize; 2],
    /// Elements between matrices.
    pub batch: usize,
}

/// What a kernel applies to its result while storing it.
#[derive(Clone, Debug, Default)]
pub struct Epilogue {
    /// A vector added to each row.
    pub bias: Option<Region>,
    /// Whether the result is added to what its place holds.
    pub accumulate: bool,
    /// Whether negative results become zero.
    pub relu: bool,
    /// The node whose value is stored.
    result: Option<Tensor>,
}

impl<'a> Lowering<'a> {
    pub(super) fn new(
        schedule: &'a Schedule,
        leaves: &'a HashMap<u64, (u32, usize)>,
        destinations: &'a HashMap<u64, Destination>,
        addresses: Option<&'a [usize]>,
    ) -> Self {
        Lowering {
            schedule,
            leaves,
            destinations,
            addresses,
            places: HashMap::new(),
            slots: Vec::new(),
            instructions: Vec::new(),
            shared: HashMap::new(),
            epilogue: Epilogue::default(),
            precision: Precision::Full,
        }
    }

    pub(super) fn run(&mut self) {
        for unit in &self.schedule.units {
            match unit {
                Unit::Group { members, compute } => self.group(members, *compute),
                Unit::Kernel { node, bias, addend, relu, result } => {
                    let bias = bias.as_ref().map(|row| self.contiguous(row));
                    let accumulate = addend.is_some();
                    addend.iter().for_each(|addend| self.add_to(addend, result));
                    let (relu, result) = (*relu, Some(result.clone()));
                    self.epilogue = Epilogue { bias, accumulate, relu, result };
                    match node.op().rule().role() {
                        Role::Kernel(kernel) => kernel.lower(node, self),
                        _ => unreachable!("a kernel unit holds a kernel"),
                    }
                    let result = self.epilogue.result.take().expect("set above");
                    let Some(place) = self.places.get(&result.id()) else {
                        panic!("{} did not name its output", node.op().rule().name())
                    };
                    debug_assert_eq!(place.strided.dims, **result.shape());
                    self.epilogue = Epilogue::default();
                }
            }
        }
    }

    /// Makes the place of `addend`, which nobody reads any more, that of `result`; where it has to
    /// lie elsewhere, by a copy.
    fn add_to(&mut self, addend: &Tensor, result: &Tensor) {
        let from = self.view(addend);
        let bound = [addend, result].iter().any(|node| self.destinations.contains_key(&node.id()));
        if bound || self.is_external(&from) || !from.strided.is_contiguous() {
            let to = self.place(result);
            return self.copy(&from, &to);
        }
        let mut strided = Strided::contiguous(result.shape());
        strided.offset = from.strided.offset;
        self.places.insert(result.id(), Placed { strided, ..from });
    }

    /// Bias and activation to apply to the result of the unit that is being lowered.
    pub fn epilogue(&self) -> Epilogue {
        self.epilogue.clone()
    }

    /// How exactly products are to be computed.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Adds an instruction.
    pub fn emit(&mut self, instruction: impl Into<Instruction>) {
        self.instructions.push(instruction.into());
    }

    /// Adds the instruction that applies `op` to `input`, to be found by [`shared`](Self::shared).
    pub fn emit_shared(
        &mut self,
        op: impl Into<Op>,
        input: &Tensor,
        instruction: impl Into<Instruction>,
    ) {
        self.shared.insert((op.into(), input.id()), self.instructions.len());
        self.emit(instruction);
    }

    /// The instruction that applies `op` to `input`, if it was emitted before: it may write another
    /// result on the way, to a place that nobody has used so far.
    pub fn shared(&mut self, op: impl Into<Op>, input: &Tensor) -> Option<&mut Instruction> {
        let at = *self.shared.get(&(op.into(), input.id()))?;
        self.instructions.get_mut(at)
    }

    /// The last instruction, if the unit that is being lowered is all that reads `tensor`: who computes
    /// that may become a part of it.
    pub fn last_for(&mut self, tensor: &Tensor) -> Option<&Instruction> {
        let mut node = tensor;
        while let Role::Movement(_) = node.op().rule().role()
            && self.schedule.used_once.contains(&node.id())
        {
            node = &node.inputs()[0];
        }
        let place = self.view(tensor);
        let alone = self.schedule.used_once.contains(&node.id()) && !self.is_external(&place);
        self.instructions.last().filter(|_| alone)
    }

    /// Takes the last instruction away, and adds one that does its work too.
    pub fn replace_last(&mut self, instruction: impl Into<Instruction>) {
        self.instructions.pop();
        self.emit(instruction);
    }

    /// Working memory of the plan, of `bytes` bytes.
    pub fn temporary(&mut self, bytes: usize) -> Region {
        let slot = self.slot(bytes, None);
        self.region_of(slot, 0, bytes)
    }

    /// Where to store the value of `node`, the node being lowered (or the one that absorbed it).
    pub fn output(&mut self, node: &Tensor) -> Placed {
        let node = self.epilogue.result.clone().unwrap_or_else(|| node.clone());
        self.place(&node)
    }

    /// The region of [`output`](Lowering::output), which is contiguous.
    pub fn output_region(&mut self, node: &Tensor) -> Region {
        let place = self.output(node);
        self.region(&place)
    }

    /// Where the value of an operand lies, in whatever arrangement.
    pub fn view(&mut self, tensor: &Tensor) -> Placed {
        if let Some(place) = self.places.get(&tensor.id()) {
            return place.clone();
        }
        let place = match tensor.op().rule().role() {
            Role::Leaf => {
                let home = self.leaves[&tensor.id()];
                let slot = self.slot(tensor.numel() * tensor.dtype().bytes(), Some(home));
                Placed { slot, dtype: tensor.dtype(), strided: Strided::contiguous(tensor.shape()) }
            }
            Role::Movement(_) => return self.moved(tensor),
            Role::Elementwise(_) if !self.schedule.unit_of.contains_key(&tensor.id()) => {
                // A value that is computed wherever it is needed is needed in memory.
                let saved = std::mem::take(&mut self.epilogue);
                self.group(std::slice::from_ref(tensor), super::units::compute_of(tensor));
                self.epilogue = saved;
                self.places[&tensor.id()].clone()
            }
            _ => panic!("{} is used before it is computed", tensor.op().rule().name()),
        };
        self.places.insert(tensor.id(), place.clone());
        place
    }

    /// Where the result of a movement lies: a loop, since there may be many in a row.
    fn moved(&mut self, tensor: &Tensor) -> Placed {
        let mut chain = Vec::new();
        let mut source = tensor;
        while let Role::Movement(movement) = source.op().rule().role()
            && !self.places.contains_key(&source.id())
        {
            chain.push((source, movement));
            source = &source.inputs()[0];
        }
        let mut place = self.view(source);
        for (node, movement) in chain.into_iter().rev() {
            if movement.view(&place.strided).is_none() {
                place = self.copied(&place);
            }
            let strided = movement.view(&place.strided);
            place.strided = strided.expect("any movement applies to contiguous elements");
            self.places.insert(node.id(), place.clone());
        }
        place
    }

    /// Where the elements of an operand lie, for kernels that read them in any order.
    pub fn elements(&mut self, tensor: &Tensor) -> View {
        let place = self.view(tensor);
        self.element_view(&place)
    }

    /// The value of an operand as contiguous elements: where it lies, or a copy.
    pub fn contiguous(&mut self, tensor: &Tensor) -> Region {
        let place = self.view(tensor);
        match place.strided.is_contiguous() && is_aligned(&place) {
            true => self.region(&place),
            false => {
                let copy = self.copied(&place);
                // Found again by the next kernel that wants it.
                self.places.insert(tensor.id(), copy.clone());
                self.region(&copy)
            }
        }
    }

    /// A place in a buffer of the plan for the elements of `tensor`.
    pub(super) fn external(&mut self, tensor: &Tensor, home: (u32, usize)) -> Placed {
        let slot = self.slot(tensor.numel() * tensor.dtype().bytes(), Some(home));
        Placed { slot, dtype: tensor.dtype(), strided: Strided::contiguous(tensor.shape()) }
    }

    /// Whether the value lies in a buffer of the plan, not in the arena.
    pub(super) fn is_external(&self, place: &Placed) -> bool {
        self.slots[place.slot].home.is_some()
    }

    pub(super) fn copied(&mut self, from: &Placed) -> Placed {
        let shape = Shape::from(&from.strided.dims[..]);
        let slot = self.slot(shape.numel() * from.dtype.bytes(), None);
        let to = Placed { slot, dtype: from.dtype, strided: Strided::contiguous(&shape) };
        self.copy(from, &to);
        to
    }

    /// Emits `to = from`, element by element.
    pub fn copy(&mut self, from: &Placed, to: &Placed) {
        let flat = |place: &Placed| place.strided.is_contiguous() && is_aligned(place);
        if flat(from) && flat(to) {
            let (from, to) = (self.region(from), self.region(to));
            // The same place by two names: axes of extent 1 may have any stride.
            if from != to {
                self.emit(Copy { from, to });
            }
            return;
        }
        let (input, view) = (self.element_view(from), self.element_view(to));
        self.emit_fused(Fused {
            compute: compute(to.dtype),
            dims: to.strided.dims.clone(),
            inputs: vec![input],
            code: vec![Step::Load(0)],
            outputs: vec![Output { value: 0, view, reduce: None }],
        });
    }

    /// Emits `to = value` for every element.
    pub fn fill(&mut self, to: &Placed, value: f64) {
        let view = self.element_view(to);
        let compute = compute(to.dtype);
        let constant = match compute.is_integer() {
            true => Step::int(value as i64),
            false => Step::float(value),
        };
        self.emit_fused(Fused {
            compute,
            dims: to.strided.dims.clone(),
            inputs: Vec::new(),
            code: vec![constant],
            outputs: vec![Output { value: 0, view, reduce: None }],
        });
    }

    /// Emits the sum of `parts` consecutive partial results into `to`.
    pub fn sum_parts(&mut self, ty: Float, parts: usize, from: Region, to: Region) {
        let len = to.bytes / ty.bytes();
        self.emit(SumParts { ty, parts, len, from, to, accumulate: false });
    }

    /// The operand as a batch of matrices, its last two axes, with unit stride along one of them:
    /// in place if it lies so, else copied.
    pub fn matrices(&mut self, tensor: &Tensor) -> Matrices {
        let place = self.view(tensor);
        let found = self.as_matrices(&place);
        found.unwrap_or_else(|| {
            let copy = self.copied(&place);
            self.as_matrices(&copy).expect("contiguous matrices are matrices")
        })
    }

    /// The operand with its last axis side by side, in place if it lies so, else copied: the bytes
    /// from the first element on, and the elements between neighbours along the other axes.
    pub fn rows(&mut self, tensor: &Tensor) -> (Region, Vec<usize>) {
        let place = self.view(tensor);
        let found = self.as_rows(&place);
        found.unwrap_or_else(|| {
            let copy = self.copied(&place);
            self.places.insert(tensor.id(), copy.clone());
            self.as_rows(&copy).expect("contiguous rows are rows")
        })
    }

    fn as_rows(&self, place: &Placed) -> Option<(Region, Vec<usize>)> {
        let (last, rest) = place.strided.strides.split_last()?;
        let side_by_side = *last == 1 || place.strided.dims.last() == Some(&1);
        let strides: Option<Vec<usize>> = rest.iter().map(|&s| usize::try_from(s).ok()).collect();
        let view = self.element_view(place);
        // Regions start at multiples of four bytes, elements of this size do so too.
        let aligned = view.offset == 0 && is_aligned(place);
        strides.filter(|_| side_by_side && aligned).map(|strides| (view.region, strides))
    }

    fn as_matrices(&self, place: &Placed) -> Option<Matrices> {
        let (strides, batch) = matrix_strides(&place.strided)?;
        let view = self.element_view(place);
        (view.offset == 0).then_some(Matrices { region: view.region, strides, batch })
    }

    fn slot(&mut self, bytes: usize, home: Option<(u32, usize)>) -> usize {
        self.slots.push(Slot { bytes, home });
        self.slots.len() - 1
    }

    /// The place of `node`'s value, made at the first call.
    fn place(&mut self, node: &Tensor) -> Placed {
        if let Some(place) = self.places.get(&node.id()) {
            return place.clone();
        }
        let (dtype, mut strided) = (node.dtype(), Strided::contiguous(node.shape()));
        let bytes = node.numel() * dtype.bytes();
        let slot = match self.destinations.get(&node.id()).cloned() {
            None => self.slot(bytes, None),
            Some(Destination::Buffer(buffer, offset)) => self.slot(bytes, Some((buffer, offset))),
            Some(Destination::Piece { of, start }) => {
                let whole = self.place(&of);
                strided.offset = whole.strided.offset + start as isize;
                whole.slot
            }
        };
        let place = Placed { slot, dtype, strided };
        self.places.insert(node.id(), place.clone());
        place
    }

    fn region_of(&self, slot: usize, offset: usize, bytes: usize) -> Region {
        match (self.slots[slot].home, self.addresses) {
            (Some((buffer, start)), _) => Region::new(buffer, start + offset, bytes),
            (None, Some(addresses)) => Region::new(0, addresses[slot] + offset, bytes),
            (None, None) => Region::new(SLOTS + slot as u32, offset, bytes),
        }
    }

    /// The bytes of a contiguous value.
    pub fn region(&self, place: &Placed) -> Region {
        debug_assert!(place.strided.is_contiguous());
        let count: usize = place.strided.dims.iter().product();
        let size = place.dtype.bytes();
        // Nothing lies anywhere; its offset may be beyond the end.
        let offset = if count == 0 { 0 } else { place.strided.offset as usize * size };
        self.region_of(place.slot, offset, count * size)
    }

    /// The value as an operand of a fused group: the bytes between its first and last element.
    fn element_view(&self, place: &Placed) -> View {
        let (size, strided) = (place.dtype.bytes(), &place.strided);
        // Axes of stride 0 do not count: a sum over nothing has a place for its result.
        if strided.dims.iter().zip(&strided.strides).any(|(&dim, &s)| dim == 0 && s != 0) {
            let region = self.region_of(place.slot, 0, 0);
            let strides = strided.strides.clone();
            return View { region, element: element(place.dtype), offset: 0, strides };
        }
        let (mut low, mut high) = (strided.offset, strided.offset);
        for (&dim, &stride) in strided.dims.iter().zip(&strided.strides) {
            let reach = stride * dim.saturating_sub(1) as isize;
            low += reach.min(0);
            high += reach.max(0);
        }
        // Regions start at multiples of four bytes.
        let first = low as usize * size / 4 * 4;
        let end = (high as usize + 1) * size;
        View {
            region: self.region_of(place.slot, first, end - first),
            element: element(place.dtype),
            offset: strided.offset as usize - first / size,
            strides: strided.strides.clone(),
        }
    }
}

/// Elements between rows and between columns of the matrices that the last two axes are, one of
/// which is 1, and between matrices; `None` if they lie otherwise.
pub(super) fn matrix_strides(strided: &Strided) -> Option<([usize; 2], usize)> {
    let (batch, [m, n]) = strided.dims.split_last_chunk::<2>()?;
    let shape = [&[batch.iter().product::<usize>()], &[*m, *n][..]].concat();
    let flat = strided.reshape(&shape.into())?;
    // Strides of axes of extent 1 may be anything; the machine wants one of the two to be 1.
    let &[batch, mut rows, mut columns] = &flat.strides[..] else { return None };
    if *n == 1 && rows != 1 {
        columns = 1;
    }
    if *m == 1 && columns != 1 {
        rows = 1;
    }
    let stride = |s: isize| usize::try_from(s).ok();
    let strides = [stride(rows)?, stride(columns)?];
    Some((strides, stride(batch)?)).filter(|_| strides.contains(&1))
}

/// Whether the first element lies where an operand may start: at a multiple of four bytes.
fn is_aligned(place: &Placed) -> bool {
    (place.strided.offset * place.dtype.bytes() as isize) % 4 == 0
}

/// The machine's name for a floating-point dtype.
pub fn float(dtype: DType) -> Float {
    match dtype {
        DType::F64 => Float::F64,
        _ => Float::F32,
    }
}

/// How elements of `dtype` are stored.
fn element(dtype: DType) -> Element {
    match dtype {
        DType::F32 => Element::F32,
        DType::F64 => Element::F64,
        DType::I32 => Element::I32,
        DType::I64 => Element::I64,
        DType::U8 => Element::U8,
        DType::I8 => Element::I8,
        DType::Bool => Element::Bool,
    }
}

/// The arithmetic that copies elements of `dtype` exactly.
fn compute(dtype: DType) -> Compute {
    match dtype {
        DType::F32 => Compute::F32,
        DType::F64 => Compute::F64,
        DType::I32 | DType::U8 | DType::I8 | DType::Bool => Compute::I32,
        DType::I64 => Compute::I64,
    }
}
