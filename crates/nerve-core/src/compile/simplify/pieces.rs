//! Rules for tensors that are put together from pieces along one axis: what is added up from padded
//! pieces is a concatenation, and what is cut and put together again was whole.
//!
//! The gradients of slices are such sums: where queries, keys and values are three slices of one
//! product, its gradient is theirs side by side, and no zeros are written or added.

use super::{Rewriter, whole};
use crate::op::Op;
use crate::ops::{Concat, Slice};
use crate::tensor::Tensor;
use nerve_cpu::fused::BinaryOp;
use std::slice::from_ref;

impl Rewriter {
    /// The sum of pieces that lie apart among zeros is the pieces next to each other.
    pub(super) fn side_by_side(&mut self, op: BinaryOp, inputs: &[Tensor]) -> Option<Tensor> {
        let [a, b] = inputs else { return None };
        let ((axis, mut pieces), (other, more)) = match op {
            BinaryOp::Add => (pieces_of(a)?, pieces_of(b)?),
            _ => return None,
        };
        pieces.extend(more);
        pieces.sort_by_key(|piece| piece.0);
        let end = |(start, t): &(usize, Tensor)| start + t.shape()[axis];
        if axis != other || pieces.windows(2).any(|pair| end(&pair[0]) > pair[1].0) {
            return None;
        }
        let (mut starts, pieces): (Vec<usize>, Vec<Tensor>) = pieces.into_iter().unzip();
        starts.push(a.shape()[axis]);
        Some(self.make(Concat { axis, starts }.into(), &pieces, None))
    }

    /// Neighbouring slices of one tensor put together again are that tensor, or a longer slice.
    pub(super) fn rejoin(&mut self, concat: &Concat, inputs: &[Tensor]) -> Option<Tensor> {
        let axis = concat.axis;
        let slice = |t: &Tensor| match t.op() {
            Op::Slice(slice) => Some((slice.clone(), t.inputs()[0].clone())),
            _ => None,
        };
        let (mut joined, source) = slice(inputs.first()?)?;
        let mut end = 0;
        for (input, &start) in inputs.iter().zip(&concat.starts) {
            let (part, from) = slice(input)?;
            let same = |a: usize| {
                a == axis || part.start[a] == joined.start[a] && part.shape[a] == joined.shape[a]
            };
            let next = part.start[axis] == joined.start[axis] + end && start == end;
            let plain = part.step.iter().all(|&step| step == 1);
            if from.id() != source.id() || !plain || !next || !(0..part.start.len()).all(same) {
                return None;
            }
            end += part.shape[axis];
        }
        if concat.starts.last() != Some(&end) {
            return None;
        }
        let mut shape = joined.shape.to_vec();
        shape[axis] = end;
        joined.shape = shape.into();
        match whole(&joined, &source) {
            true => Some(source),
            false => Some(self.make(joined.into(), &[source], None)),
        }
    }

    /// Images whose channels a convolution left behind are put together as they are, and then
    /// permuted: whoever convolves the whole wants the channels there. (Not every permutation sinks
    /// here: a piece is copied anyway, and may be permuted on the way.)
    pub(super) fn images(&mut self, concat: &Concat, inputs: &[Tensor]) -> Option<Tensor> {
        let Op::Permute(p) = inputs.first()?.op() else { return None };
        let last = p.order.len() - 1;
        let channels_first =
            last > 1 && p.order[..2] == [0, last] && p.order[2..].iter().copied().eq(1..last);
        if !channels_first || !inputs.iter().all(|t| matches!(t.op(), Op::Permute(q) if q == p)) {
            return None;
        }
        let p = p.clone();
        let inner: Vec<Tensor> = inputs.iter().map(|t| t.inputs()[0].clone()).collect();
        let inside = Concat { axis: p.order[concat.axis], starts: concat.starts.clone() };
        let whole = self.make(inside.into(), &inner, None);
        Some(self.make(p.into(), &[whole], None))
    }

    /// A slice that lies in one piece of a concatenation, or in a gap.
    pub(super) fn piece(
        &mut self,
        op: &Slice,
        concat: &Concat,
        pieces: &[Tensor],
    ) -> Option<Tensor> {
        let axis = concat.axis;
        let (start, end) = (op.start[axis], op.start[axis] + op.shape[axis]);
        if op.step[axis] != 1 {
            return None;
        }
        let places = pieces.iter().zip(&concat.starts);
        let places: Vec<(usize, usize, &Tensor)> =
            places.map(|(t, &from)| (from, from + t.shape()[axis], t)).collect();
        if let Some((from, _, t)) = places.iter().find(|(from, to, _)| *from <= start && end <= *to)
        {
            let mut inner = op.clone();
            inner.start[axis] -= from;
            return Some(self.make(inner.into(), from_ref(t), None));
        }
        let gap = places.iter().all(|(from, to, _)| end <= *from || *to <= start);
        gap.then(|| Tensor::full(&op.shape, 0.0, pieces[0].dtype()))
    }
}

/// If `t` is zero but for pieces that lie apart along one axis: the axis, and each piece with the
/// place where it starts.
fn pieces_of(t: &Tensor) -> Option<(usize, Vec<(usize, Tensor)>)> {
    match t.op() {
        Op::Pad(pad) if pad.value.get() == 0.0 && pad.between.iter().all(|&n| n == 0) => {
            let mut padded = (0..t.rank()).filter(|&a| pad.before[a] + pad.after[a] > 0);
            let (axis, None) = (padded.next()?, padded.next()) else { return None };
            Some((axis, vec![(pad.before[axis], t.inputs()[0].clone())]))
        }
        Op::Concat(concat) => {
            let pieces = concat.starts.iter().copied().zip(t.inputs().iter().cloned());
            Some((concat.axis, pieces.collect()))
        }
        _ => None,
    }
}
