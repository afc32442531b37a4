//! The way through a graph: each operation to its operators.

use super::error::ExportError;
use super::pair::Pair;
use super::value::Value;
use super::writer::{Known, Writer};
use super::{elementwise, gather, linear, movement, recurrent, reduce};
use nerve_core::{Op, Tensor};

impl Writer {
    /// Writes what `root` is computed from, and it itself, unless that has been done.
    pub fn lower(&mut self, root: &Pair) -> Result<(), ExportError> {
        let mut stack = vec![(root.clone(), false)];
        while let Some((node, ready)) = stack.pop() {
            if self.known.contains_key(&node.a.id()) {
                continue;
            }
            if ready {
                let known = self.write(&node)?;
                self.known.insert(node.a.id(), known);
                continue;
            }
            stack.push((node.clone(), true));
            for number in (0..node.operands()).rev() {
                let (a, b) = (&node.a.inputs()[number], &node.b.inputs()[number]);
                if !self.known.contains_key(&a.id()) {
                    stack.push((Pair::new(a, b)?, false));
                }
            }
        }
        Ok(())
    }

    /// The value of a node that was made of others, in the order and repeated as it is.
    pub fn lowered(&mut self, node: &Pair) -> Result<Value, ExportError> {
        let part = self.part.clone();
        self.lower(node)?;
        self.part = part;
        Ok(self.value(node))
    }

    fn write(&mut self, node: &Pair) -> Result<Known, ExportError> {
        let before = |input: &Pair| self.known[&input.a.id()].is_constant;
        let is_constant = node.inputs().iter().all(before) && node.is_same();
        self.part = node.a.scope().unwrap_or("").to_string();
        let value = match folds(node.op()) && is_constant {
            true => Value::constant(node.a.clone()),
            false => self.operation(node)?,
        };
        Ok(Known { value, is_constant })
    }

    fn operation(&mut self, node: &Pair) -> Result<Value, ExportError> {
        match node.op() {
            Op::Constant(_) | Op::ReadVar(_) => {
                Err(ExportError::Batch(format!("{:?} holds other values", node.a)))
            }
            Op::Argument(_) => Err(self.refuse(node, "a trace of something else")),
            Op::Full(_) => Ok(elementwise::full(node)),
            Op::Iota(op) => elementwise::iota(self, node, &op.weights),
            Op::Random(_) => Err(self.refuse(node, "random numbers are for training")),
            Op::Unary(op) => elementwise::unary(self, node, op.op),
            Op::Binary(op) => elementwise::binary(self, node, op.op),
            Op::Select(_) => elementwise::select(self, node),
            Op::Cast(op) => elementwise::cast(self, node, op.dtype),
            Op::Detach(_) => Ok(self.value(&node.input(0))),
            Op::Reshape(_) => movement::reshape(self, node),
            Op::Permute(op) => Ok(movement::permute(self, node, op)),
            Op::Broadcast(_) => Ok(movement::broadcast(self, node)),
            Op::Slice(op) => movement::slice(self, node, op),
            Op::Pad(op) => movement::pad(self, node, op),
            Op::Concat(op) => movement::concat(self, node, op),
            Op::Reduce(op) => reduce::reduce(self, node, op),
            Op::Matmul(_) => linear::matmul(self, node),
            Op::IntMatmul(_) => linear::product(self, node),
            Op::Conv(op) => linear::conv(self, node, op),
            Op::ConvInputGrad(op) => linear::conv_transpose(self, node, op),
            Op::Pool(op) => linear::pool(self, node, op),
            Op::Softmax(op) => reduce::softmax(self, node, op),
            Op::Gather(op) => gather::pick(self, node, "Gather", op.axis),
            Op::GatherElements(op) => gather::pick(self, node, "GatherElements", op.axis),
            Op::Scatter(op) => gather::scatter(self, node, op),
            Op::ScatterAddElements(op) => gather::add_elements(self, node, op.axis),
            Op::ScatterAdd(_) => self.simpler(node, |t| {
                let Op::ScatterAdd(op) = t.op() else { return None };
                Some(gather::add_slices(&t.inputs()[0], &t.inputs()[1], op.axis, op.extent))
            }),
            Op::ArgSort(op) => reduce::argsort(self, node, op),
            Op::ArgReduce(op) => reduce::argreduce(self, node, op),
            Op::CumSum(op) => reduce::cumsum(self, node, op),
            Op::Recurrent(op) => recurrent::recurrent(self, node, op),
            Op::LayerNorm(op) if op.centred => reduce::layer_norm(self, node, op),
            // What has no counterpart is written as what it is made of.
            Op::LayerNorm(_)
            | Op::Attention(_)
            | Op::BatchNorm(_)
            | Op::CrossEntropy(_)
            | Op::CrossEntropyGrad(_)
            | Op::SoftmaxGrad(_)
            | Op::MaxPlace(_)
            | Op::PoolGrad(_)
            | Op::ConvWeightGrad(_)
            | Op::RecurrentGrad(_)
            | Op::LayerNormGrad(_)
            | Op::AttentionGrad(_) => self.simpler(node, |t| t.op().rule().decompose(t.inputs())),
            Op::Panels(_) | Op::WinogradFilter(_) | Op::FilterPanels(_) => {
                Err(self.refuse(node, "the compiler's own"))
            }
        }
    }

    /// As simpler operations.
    fn simpler(
        &mut self,
        node: &Pair,
        make: impl Fn(&Tensor) -> Option<Tensor>,
    ) -> Result<Value, ExportError> {
        match node.rewrite(make)? {
            Some(simpler) => self.lowered(&simpler),
            None => Err(self.refuse(node, "it is made of nothing simpler")),
        }
    }
}

/// Whether such a node, if it depends on nothing, is computed at once; the others keep their form,
/// in which numbers that are repeated are not written often.
fn folds(op: &Op) -> bool {
    !matches!(
        op,
        Op::Full(_)
            | Op::Broadcast(_)
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::Select(_)
            | Op::Cast(_)
            | Op::Detach(_)
            | Op::Random(_)
            | Op::Argument(_)
    )
}
