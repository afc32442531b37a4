//! Fused groups: the elementwise nodes of a unit as one instruction.

use super::Lowering;
use crate::compile::units;
use crate::dtype::DType;
use crate::op::{Op, Role};
use crate::shape::Shape;
use crate::tensor::Tensor;
use nerve_cpu::fused::{BinaryOp, Compute, Fused, Output, Step, View};
use std::collections::HashMap;

impl Lowering<'_> {
    /// A fused group: one instruction, and what combines its partial reductions.
    pub(super) fn group(&mut self, members: &[Tensor], compute: Option<Compute>) {
        let first = &members[0];
        let shape = match first.op() {
            Op::Reduce(_) => first.inputs()[0].shape(),
            _ => first.shape(),
        };
        let fused = Fused {
            compute: compute.unwrap_or(Compute::I32),
            dims: shape.to_vec(),
            inputs: Vec::new(),
            code: Vec::new(),
            outputs: Vec::new(),
        };
        let unit = self.schedule.unit_of.get(&first.id()).copied();
        let mut group = Group { cx: self, fused, values: HashMap::new(), unit };
        for member in members {
            group.member(member);
        }
        let fused = group.fused;
        if !fused.outputs.is_empty() {
            self.emit_fused(fused);
        }
    }

    /// Emits a fused group; where a reduction is cut into parts, also what combines them.
    pub(super) fn emit_fused(&mut self, mut fused: Fused) {
        let parts = fused.parts();
        let mut combine = Vec::new();
        if parts > 1 {
            let element = fused.compute.element();
            for output in fused.outputs.iter_mut().filter(|o| o.reduce.is_some()) {
                let kept = output.view.region;
                let count = kept.bytes / output.view.element.bytes();
                let partial = self.temporary(parts * count * element.bytes());
                let dims = vec![parts, count];
                let target =
                    View { region: kept, offset: 0, strides: vec![0, 1], ..output.view.clone() };
                combine.push(Fused {
                    compute: fused.compute,
                    inputs: vec![View::contiguous(partial, element, &dims)],
                    dims,
                    code: vec![Step::Load(0)],
                    outputs: vec![Output { value: 0, view: target, ..output.clone() }],
                });
                output.view.region = partial;
                output.view.element = element;
            }
        }
        let kernel = fused.prepare().unwrap_or_else(|e| panic!("a fused group does not fit: {e}"));
        self.emit(kernel);
        for fused in combine {
            self.emit_fused(fused);
        }
    }
}

/// One fused group while it is put together.
struct Group<'l, 'a> {
    cx: &'l mut Lowering<'a>,
    fused: Fused,
    /// The step that computes a node.
    values: HashMap<u64, u16>,
    unit: Option<usize>,
}

impl Group<'_, '_> {
    fn member(&mut self, node: &Tensor) {
        let stored = self.unit.is_none() || self.cx.schedule.stored.contains(&node.id());
        if let Op::Reduce(reduce) = node.op() {
            let value = self.value(&node.inputs()[0]);
            let mut place = self.cx.place(node);
            place.strided.dims.clone_from(&self.fused.dims);
            reduce.axes.iter().for_each(|&axis| place.strided.strides[axis] = 0);
            let view = self.cx.element_view(&place);
            self.fused.outputs.push(Output { value, view, reduce: Some(reduce.kind) });
            return;
        }
        let value = self.value(node);
        if stored {
            let place = self.cx.place(node);
            let view = self.cx.element_view(&place);
            self.fused.outputs.push(Output { value, view, reduce: None });
        }
    }

    fn push(&mut self, step: Step) -> u16 {
        self.fused.code.push(step);
        u16::try_from(self.fused.code.len() - 1).expect("groups are short")
    }

    fn input(&mut self, tensor: &Tensor) -> u16 {
        let place = self.cx.view(tensor);
        let view = self.cx.element_view(&place);
        let known = self.fused.inputs.iter().position(|v| *v == view);
        let index = known.unwrap_or_else(|| {
            self.fused.inputs.push(view);
            self.fused.inputs.len() - 1
        });
        u16::try_from(index).expect("groups have few inputs")
    }

    /// The step that holds the value of `node`: computed here, or loaded.
    fn value(&mut self, node: &Tensor) -> u16 {
        if let Some(&value) = self.values.get(&node.id()) {
            return value;
        }
        let value = match node.op().rule().role() {
            Role::Elementwise(op) if self.is_inline(node) => match node.op() {
                Op::Random(_) => {
                    // The key keeps its own shape: it is no operand of the iteration.
                    let key = self.key(&node.inputs()[0]);
                    let step = op.step(&[key], self.fused.compute);
                    self.push(step)
                }
                Op::Cast(cast) => {
                    let source = &node.inputs()[0];
                    let value = match self.converts_in_place(source) {
                        true => self.value(source),
                        false => self.load(source),
                    };
                    self.convert(value, source.dtype(), cast.dtype)
                }
                _ => {
                    let inputs: Vec<u16> = node.inputs().iter().map(|t| self.value(t)).collect();
                    let step = op.step(&inputs, self.fused.compute);
                    self.push(step)
                }
            },
            _ => self.load(node),
        };
        self.values.insert(node.id(), value);
        value
    }

    /// What has to happen to a value of type `from` before it is stored as `to`.
    fn convert(&mut self, value: u16, from: DType, to: DType) -> u16 {
        let number = |group: &mut Self, value: i32| match group.fused.compute.is_integer() {
            true => group.push(Step::int(value.into())),
            false => group.push(Step::float(value.into())),
        };
        match to {
            DType::Bool => {
                let zero = number(self, 0);
                self.push(Step::Binary(BinaryOp::Ne, value, zero))
            }
            // Integers wrap around when stored as bytes, but a float saturates.
            DType::U8 | DType::I8 if from.is_float() => {
                let (low, high) = if to == DType::U8 { (0, 255) } else { (-128, 127) };
                let (low, high) = (number(self, low), number(self, high));
                let value = self.push(Step::Binary(BinaryOp::Max, value, low));
                self.push(Step::Binary(BinaryOp::Min, value, high))
            }
            _ => value,
        }
    }

    fn load(&mut self, node: &Tensor) -> u16 {
        let input = self.input(node);
        self.push(Step::Load(input))
    }

    fn key(&mut self, key: &Tensor) -> u16 {
        let place = self.cx.view(key);
        let mut view = self.cx.element_view(&place);
        view.strides = vec![0; self.fused.dims.len()];
        self.fused.inputs.push(view);
        u16::try_from(self.fused.inputs.len() - 1).expect("groups have few inputs")
    }

    /// Whether the value is computed in this group rather than read.
    fn is_inline(&self, node: &Tensor) -> bool {
        let member = match self.unit {
            Some(unit) => self.cx.schedule.unit_of.get(&node.id()) == Some(&unit),
            None => false,
        };
        let outside = !self.cx.schedule.unit_of.contains_key(&node.id());
        let arithmetic = units::compute_of(node);
        let same = arithmetic.is_none_or(|c| c == self.fused.compute);
        let counts = matches!(node.op(), Op::Iota(_));
        member || outside && (same || counts) && *node.shape() == Shape::from(&self.fused.dims[..])
    }

    /// Whether a conversion from `source` needs no trip through memory.
    fn converts_in_place(&self, source: &Tensor) -> bool {
        (source.dtype() == DType::Bool || matches!(source.op(), Op::Iota(_)))
            && self.is_inline(source)
    }
}
