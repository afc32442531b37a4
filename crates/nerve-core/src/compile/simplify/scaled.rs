//! A factor behind a convolution goes into its filter: what a batch norm is in use, whose shift
//! then is the bias of the convolution.

use super::Rewriter;
use crate::op::Op;
use crate::ops::{Binary, Broadcast, Reshape};
use crate::tensor::{Tensor, topological};
use nerve_cpu::fused::BinaryOp;

impl Rewriter {
    /// `conv(x, w) · a = conv(x, w · a)` for one factor a channel that depends on nothing but
    /// variables and constants. Not if the convolution is needed as it is, too.
    pub(super) fn scaled_conv(
        &mut self,
        op: &Op,
        inputs: &[Tensor],
        old: &Tensor,
    ) -> Option<Tensor> {
        let Op::Binary(Binary { op: BinaryOp::Mul }) = op else { return None };
        let side = (0..2).find(|&side| {
            let before = &old.inputs()[side];
            let both = [&inputs[side], before].iter().all(|t| matches!(t.op(), Op::Conv(_)));
            both && self.users.get(&before.id()) == Some(&1)
        })?;
        let (conv, factor) = (&inputs[side], &inputs[1 - side]);
        let Op::Broadcast(_) = factor.op() else { return None };
        let (row, channels) = (&factor.inputs()[0], conv.shape()[3]);
        let along_last = row.numel() == channels && row.shape().last() == Some(&channels);
        if !along_last || !self.stands(row) {
            return None;
        }
        let (image, filter) = (&conv.inputs()[0], &conv.inputs()[1]);
        let row = Reshape { shape: [channels].into() };
        let row = self.make(row.into(), factor.inputs(), None);
        let row = self.make(Broadcast { shape: filter.shape().clone() }.into(), &[row], None);
        let filter = self.make(op.clone(), &[filter.clone(), row], None);
        Some(self.make(conv.op().clone(), &[image.clone(), filter], None))
    }

    /// Whether a value depends on nothing but variables and constants.
    fn stands(&mut self, value: &Tensor) -> bool {
        let order =
            topological(std::slice::from_ref(value), |t| self.standing.contains_key(&t.id()));
        for node in order {
            let stands = match node.op() {
                Op::Argument(_) => false,
                _ => node.inputs().iter().all(|t| self.standing[&t.id()]),
            };
            self.standing.entry(node.id()).or_insert(stands);
        }
        self.standing[&value.id()]
    }
}
