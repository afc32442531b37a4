//! Rewriting the graph into one that says the same with less work: equal nodes become one, moves
//! cancel, and permutations sink towards the results, so that convolutions and what lies between
//! them stay in the order that suits the machine.

mod pieces;
mod pooling;
mod raise;
mod scaled;

use crate::op::{Op, Role};
use crate::ops::{Broadcast, Full, Pad, Permute, Recurrent, Reduce, Reshape, Slice};
use crate::shape::Shape;
use crate::tensor::{Tensor, topological};
use nerve_cpu::fused::{BinaryOp, UnaryOp};
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::slice::from_ref;

/// Rules are applied to a node when its inputs are final, and again to what they make; a few
/// rounds settle what a later rule made possible for an earlier node.
const ROUNDS: usize = 4;

/// The round from which on composite operations are replaced by their decompositions. Before it
/// the rules see them whole.
const EXPANDING: usize = 1;

/// Longest sum of padded tensors that is sliced piece by piece.
const MOST_PADS: usize = 4;

/// The same values as `roots`, computed by a simpler graph.
pub(super) fn simplify(roots: &[Tensor]) -> Vec<Tensor> {
    let mut roots = roots.to_vec();
    for round in 0..ROUNDS {
        let before: Vec<u64> = roots.iter().map(Tensor::id).collect();
        let order = topological(&roots, |_| false);
        let mut rewriter = Rewriter { expanding: round >= EXPANDING, ..Rewriter::default() };
        for used in order.iter().flat_map(|t| t.inputs()).chain(&roots) {
            *rewriter.users.entry(used.id()).or_default() += 1;
        }
        for node in &order {
            if let Op::Recurrent(Recurrent { keep: true, .. }) = node.op() {
                rewriter.kept.insert((node.op().clone(), ids(node.inputs())));
            }
        }
        let mut new: HashMap<u64, Tensor> = HashMap::new();
        for node in order {
            let inputs: Vec<Tensor> = node.inputs().iter().map(|t| new[&t.id()].clone()).collect();
            let simpler = match node.op().rule().role() {
                Role::Leaf => node.clone(),
                _ => rewriter.make(node.op().clone(), &inputs, Some(&node)),
            };
            new.insert(node.id(), simpler);
        }
        roots = roots.iter().map(|t| new[&t.id()].clone()).collect();
        if round >= EXPANDING && roots.iter().map(Tensor::id).eq(before) {
            break;
        }
    }
    super::absorb::complete_convolutions(&raise::raise(&roots))
}

#[derive(Default)]
struct Rewriter {
    /// Nodes by what they compute, so that equal ones become one.
    known: HashMap<(Op, Vec<u64>), Tensor>,
    /// How often each node of the old graph is used.
    users: HashMap<u64, usize>,
    /// Whether composite operations are replaced.
    expanding: bool,
    /// Whether nodes depend on nothing but variables and constants, where that was asked.
    standing: HashMap<u64, bool>,
    /// The recurrences of the old graph that keep what a gradient needs, as in `known`.
    kept: HashSet<(Op, Vec<u64>)>,
}

fn ids(tensors: &[Tensor]) -> Vec<u64> {
    tensors.iter().map(Tensor::id).collect()
}

impl Rewriter {
    /// The simplest node for `op` of `inputs`; `old` is the one it replaces, reused if unchanged.
    fn make(&mut self, op: Op, inputs: &[Tensor], old: Option<&Tensor>) -> Tensor {
        if let Some(simpler) = self.rule(&op, inputs) {
            return simpler;
        }
        if let Some(simpler) = old.and_then(|old| self.transposed_product(&op, inputs, old)) {
            return simpler;
        }
        if let Some(simpler) = old.and_then(|old| self.shuffled(&op, inputs, old)) {
            return simpler;
        }
        if let Some(simpler) = old.and_then(|old| self.scaled_conv(&op, inputs, old)) {
            return simpler;
        }
        if let Some(simpler) = old.and_then(|old| self.kept_recurrence(inputs, old)) {
            return simpler;
        }
        let ids = ids(inputs);
        let same = old.filter(|old| old.inputs().iter().map(Tensor::id).eq(ids.iter().copied()));
        self.known
            .entry((op.clone(), ids))
            .or_insert_with(|| match same {
                Some(old) => old.clone(),
                None => Tensor::apply(op, &inputs.iter().collect::<Vec<_>>()),
            })
            .clone()
    }

    fn rule(&mut self, op: &Op, inputs: &[Tensor]) -> Option<Tensor> {
        match op {
            Op::Permute(op) => self.permute(op, &inputs[0]),
            Op::Reshape(op) => self.reshape(op, &inputs[0]),
            Op::Broadcast(op) => self.broadcast(op, &inputs[0]),
            Op::Slice(op) => self.slice(op, &inputs[0]),
            Op::Reduce(op) => self.reduce(op, &inputs[0]),
            Op::Detach(_) => Some(inputs[0].clone()),
            Op::Cast(op) if op.dtype == inputs[0].dtype() => Some(inputs[0].clone()),
            Op::PoolGrad(op) => pooling::grad(op, inputs),
            Op::Binary(binary) => identity(binary.op, inputs)
                .or_else(|| pooling::mask(binary.op, inputs))
                .or_else(|| fold_binary(binary.op, inputs))
                .or_else(|| self.side_by_side(binary.op, inputs))
                .or_else(|| self.sink(op, inputs)),
            Op::Unary(unary) => fold_unary(unary.op, &inputs[0]).or_else(|| self.sink(op, inputs)),
            Op::Select(_) | Op::Cast(_) => self.sink(op, inputs),
            Op::Concat(concat) => {
                self.rejoin(concat, inputs).or_else(|| self.images(concat, inputs))
            }
            Op::Pad(pad) => {
                let Op::Permute(p) = inputs[0].op() else { return None };
                let inverse = p.inverse();
                let back = |v: &[usize]| inverse.order.iter().map(|&a| v[a]).collect();
                let mut inner = pad.clone();
                inner.before = back(&pad.before);
                inner.after = back(&pad.after);
                inner.between = back(&pad.between);
                let (p, x) = (p.clone(), inputs[0].inputs()[0].clone());
                let padded = self.make(inner.into(), &[x], None);
                Some(self.make(p.into(), &[padded], None))
            }
            op if self.expanding && matches!(op.rule().role(), Role::Composite) => {
                op.rule().decompose(inputs)
            }
            _ => None,
        }
    }

    fn permute(&mut self, op: &Permute, x: &Tensor) -> Option<Tensor> {
        let shape: Shape = op.order.iter().map(|&a| x.shape()[a]).collect();
        // Only axes of extent 1 change their place: the elements do not move.
        let moving: Vec<usize> = op.order.iter().copied().filter(|&a| x.shape()[a] != 1).collect();
        if moving.is_sorted() {
            return Some(self.make(Reshape { shape }.into(), from_ref(x), None));
        }
        match x.op() {
            Op::Permute(inner) => {
                let order = op.order.iter().map(|&a| inner.order[a]).collect();
                Some(self.make(Permute { order }.into(), x.inputs(), None))
            }
            Op::Full(full) => Some(refill(full, shape, x)),
            // What is repeated is usually small: permute it before.
            Op::Broadcast(_) => {
                let source = &x.inputs()[0];
                let mut aligned = vec![1; x.rank() - source.rank()];
                aligned.extend_from_slice(source.shape());
                let source =
                    self.make(Reshape { shape: aligned.into() }.into(), from_ref(source), None);
                let source = self.make(op.clone().into(), &[source], None);
                Some(self.make(Broadcast { shape }.into(), &[source], None))
            }
            _ => None,
        }
    }

    /// `(A B)ᵀ = Bᵀ Aᵀ`: transposed operands cost nothing, a transposed result is a copy. Not if
    /// the product is needed as it is, too.
    fn transposed_product(&mut self, op: &Op, inputs: &[Tensor], old: &Tensor) -> Option<Tensor> {
        let (Op::Permute(p), Op::Matmul(product)) = (op, inputs.first()?.op()) else { return None };
        let rank = p.order.len();
        let mut swapped: Vec<usize> = (0..rank).collect();
        swapped.swap(rank - 2, rank - 1);
        if p.order != swapped || self.users.get(&old.inputs()[0].id()) != Some(&1) {
            return None;
        }
        let (p, product) = (p.clone(), *product);
        let [a, b] = [0, 1].map(|i| inputs[0].inputs()[i].clone());
        let [a, b] = [a, b].map(|t| self.make(p.clone().into(), &[t], None));
        Some(self.make(product.into(), &[b, a], None))
    }

    /// A permutation of axes that were permuted and merged, as where channels are shuffled: permuted once,
    /// before they are merged. Not if somebody else reads them merged, since that is a copy.
    fn shuffled(&mut self, op: &Op, inputs: &[Tensor], old: &Tensor) -> Option<Tensor> {
        let (Op::Permute(p), Op::Reshape(_)) = (op, inputs.first()?.op()) else { return None };
        let (merged, split) = (&inputs[0], &inputs[0].inputs()[0]);
        let (Op::Permute(_), Some(&1)) = (split.op(), self.users.get(&old.inputs()[0].id())) else {
            return None;
        };
        let groups = groups(split.shape(), merged.shape())?;
        let order = p.order.iter().flat_map(|&axis| groups[axis].clone()).collect();
        let shape = p.order.iter().map(|&axis| merged.shape()[axis]).collect();
        let split = self.make(Permute { order }.into(), from_ref(split), None);
        Some(self.make(Reshape { shape }.into(), &[split], None))
    }

    /// Where a gradient needs more of the same recurrence, its outputs are the first of those.
    fn kept_recurrence(&mut self, inputs: &[Tensor], old: &Tensor) -> Option<Tensor> {
        let &Op::Recurrent(op @ Recurrent { keep: false, .. }) = old.op() else { return None };
        let op = Op::from(Recurrent { keep: true, ..op });
        if !self.kept.contains(&(op.clone(), ids(old.inputs()))) {
            return None;
        }
        let all = self.make(op, inputs, None);
        let first = Slice { start: vec![0], step: vec![1], shape: old.shape().clone() };
        Some(self.make(first.into(), &[all], None))
    }

    fn reshape(&mut self, op: &Reshape, x: &Tensor) -> Option<Tensor> {
        match x.op() {
            _ if op.shape == *x.shape() => Some(x.clone()),
            Op::Reshape(_) => Some(self.make(op.clone().into(), x.inputs(), None)),
            Op::Full(full) => Some(refill(full, op.shape.clone(), x)),
            _ => None,
        }
    }

    fn broadcast(&mut self, op: &Broadcast, x: &Tensor) -> Option<Tensor> {
        match x.op() {
            _ if op.shape == *x.shape() => Some(x.clone()),
            Op::Broadcast(_) => Some(self.make(op.clone().into(), x.inputs(), None)),
            Op::Full(full) => Some(refill(full, op.shape.clone(), x)),
            _ => None,
        }
    }

    /// What is cut off need not be computed.
    fn slice(&mut self, op: &Slice, x: &Tensor) -> Option<Tensor> {
        if whole(op, x) {
            return Some(x.clone());
        }
        match (x.op(), x.inputs()) {
            (Op::Full(full), _) => Some(refill(full, op.shape.clone(), x)),
            (Op::Pad(pad), _) if beside(op, pad, x) => {
                Some(Tensor::full(&op.shape, pad.value.get(), x.dtype()))
            }
            (Op::Concat(concat), pieces) => self.piece(op, concat, pieces),
            // Most of a sum of padded pieces is nothing, as where an output was split.
            (Op::Binary(binary), [a, b])
                if binary.op == BinaryOp::Add && pads(x, MOST_PADS).is_some() =>
            {
                let parts = [a, b].map(|t| self.make(op.clone().into(), from_ref(t), None));
                Some(self.make((*binary).into(), &parts, None))
            }
            (Op::Conv(conv), [image, filter]) => {
                let part = conv.sliced(op, image.shape(), filter.shape())?;
                let (conv, filter) = (*conv, filter.clone());
                let image = self.make(part.into(), from_ref(image), None);
                Some(self.make(conv.into(), &[image, filter], None))
            }
            (Op::ConvInputGrad(grad), _) => {
                let part = grad.sliced(op, x.shape())?;
                Some(self.make(part.into(), x.inputs(), None))
            }
            (Op::Pad(pad), [inner]) => {
                let axes = 0..x.rank();
                // Only what was added may be cut away.
                let behind = |a: usize| x.shape()[a] - op.start[a] - op.shape[a];
                let fits = |a: usize| {
                    op.step[a] == 1
                        && op.start[a] <= pad.before[a]
                        && op.start[a] + op.shape[a] <= x.shape()[a]
                        && behind(a) <= pad.after[a]
                };
                if !axes.clone().all(fits) {
                    return None;
                }
                let mut less = pad.clone();
                for axis in axes {
                    less.before[axis] -= op.start[axis];
                    less.after[axis] -= behind(axis);
                }
                let nothing = [&less.before, &less.after, &less.between];
                match nothing.iter().all(|v| v.iter().all(|&n| n == 0)) {
                    true => Some(inner.clone()),
                    false => Some(self.make(less.into(), from_ref(inner), None)),
                }
            }
            _ => None,
        }
    }

    /// A reduction does not care in which order the axes stand, and a sum over whole images not to
    /// which element of its window the gradient of a maximum goes.
    fn reduce(&mut self, op: &Reduce, x: &Tensor) -> Option<Tensor> {
        if let Some(dy) = pooling::summed(op, x) {
            return Some(self.make(op.clone().into(), &[dy], None));
        }
        let Op::Permute(p) = x.op() else { return None };
        let mut axes: Vec<usize> = op.axes.iter().map(|&a| p.order[a]).collect();
        axes.sort_unstable();
        let p = p.clone();
        let reduced = self.make(Reduce { kind: op.kind, axes }.into(), x.inputs(), None);
        Some(self.make(p.into(), &[reduced], None))
    }

    /// `f(permute(x), …) = permute(f(x, …))`, if the other operands are permuted in the same way
    /// or cost nothing to permute.
    fn sink(&mut self, op: &Op, inputs: &[Tensor]) -> Option<Tensor> {
        let p = inputs.iter().find_map(|t| match t.op() {
            Op::Permute(p) => Some(p.clone()),
            _ => None,
        })?;
        let follows = |t: &Tensor| match t.op() {
            Op::Permute(q) => *q == p,
            Op::Full(_) | Op::Broadcast(_) => true,
            _ => false,
        };
        if !inputs.iter().all(follows) {
            return None;
        }
        let inverse = p.inverse();
        let back: Vec<Tensor> =
            inputs.iter().map(|t| self.make(inverse.clone().into(), from_ref(t), None)).collect();
        let inner = self.make(op.clone(), &back, None);
        Some(self.make(p.into(), &[inner], None))
    }
}

/// Which neighbouring axes of `from` are merged to give each axis of `to`, if that is how one becomes the
/// other.
fn groups(from: &Shape, to: &Shape) -> Option<Vec<Range<usize>>> {
    let mut end = 0;
    let group = |&extent: &usize| {
        let (start, mut product) = (end, 1);
        while product != extent || end == start {
            product *= from.get(end)?;
            end += 1;
        }
        Some(start..end)
    };
    let groups: Vec<Range<usize>> = to.iter().map(group).collect::<Option<_>>()?;
    (end == from.len()).then_some(groups)
}

fn whole(op: &Slice, x: &Tensor) -> bool {
    op.shape == *x.shape()
        && op.start.iter().all(|&s| s == 0)
        && op.step.iter().zip(&*op.shape).all(|(&step, &n)| step == 1 || n <= 1)
}

/// Whether a slice of padding `x` misses all that was padded.
fn beside(op: &Slice, pad: &Pad, x: &Tensor) -> bool {
    (0..x.rank()).any(|a| {
        let end = op.start[a] + op.shape[a];
        let forward = op.step[a] == 1;
        forward && (end <= pad.before[a] || op.start[a] + pad.after[a] >= x.shape()[a])
    })
}

/// How many padded tensors this is the sum of, if it is the sum of at most `most` of them.
fn pads(x: &Tensor, most: usize) -> Option<usize> {
    match x.op() {
        Op::Pad(_) => (most > 0).then_some(1),
        Op::Binary(binary) if binary.op == BinaryOp::Add => {
            let first = pads(&x.inputs()[0], most)?;
            Some(first + pads(&x.inputs()[1], most - first)?)
        }
        _ => None,
    }
}

fn refill(full: &Full, shape: Shape, like: &Tensor) -> Tensor {
    Tensor::full(shape, full.value.get(), like.dtype())
}

fn constant(t: &Tensor) -> Option<f64> {
    match t.op() {
        Op::Full(full) => Some(full.value.get()),
        _ => None,
    }
}

/// x + 0, x − 0, x · 1, x / 1.
fn identity(op: BinaryOp, inputs: &[Tensor]) -> Option<Tensor> {
    let (a, b) = (&inputs[0], &inputs[1]);
    let is = |t: &Tensor, value: f64| constant(t) == Some(value);
    match op {
        // Not 0 + x: −0 + 0 is 0, so only the negative zero is neutral on paper; the difference
        // does not matter to any result but the sign of a zero.
        BinaryOp::Add | BinaryOp::Sub if is(b, 0.0) => Some(a.clone()),
        BinaryOp::Add if is(a, 0.0) => Some(b.clone()),
        BinaryOp::Mul | BinaryOp::Div if is(b, 1.0) => Some(a.clone()),
        BinaryOp::Mul if is(a, 1.0) => Some(b.clone()),
        _ => None,
    }
}

fn fold_binary(op: BinaryOp, inputs: &[Tensor]) -> Option<Tensor> {
    let like = &inputs[0];
    let (a, b) = (constant(like)?, constant(&inputs[1])?);
    if !like.dtype().is_float() {
        return None;
    }
    let value = match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        _ => return None,
    };
    Some(like.full_like(value))
}

fn fold_unary(op: UnaryOp, x: &Tensor) -> Option<Tensor> {
    if let (UnaryOp::Neg, Op::Unary(inner)) = (op, x.op())
        && inner.op == UnaryOp::Neg
    {
        return Some(x.inputs()[0].clone());
    }
    let value = constant(x).filter(|_| x.dtype().is_float())?;
    match op {
        UnaryOp::Neg => Some(x.full_like(-value)),
        UnaryOp::Sqrt => Some(x.full_like(value.sqrt())),
        UnaryOp::Recip => Some(x.full_like(value.recip())),
        _ => None,
    }
}
