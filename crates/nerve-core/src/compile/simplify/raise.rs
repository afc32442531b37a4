//! Moves that kernels would have copied, taken into the elementwise groups beside them.
//!
//! A kernel reads contiguous elements, so what is permuted before it is copied, and so is what is
//! reshaped after a permutation that strides cannot express. A group reads its operands in any
//! arrangement. So where the value that is to be moved comes out of elementwise operations, these
//! compute it where it is to go, from operands that are permuted; and where elementwise operations
//! follow such a reshape, they come before it, if no sum follows them that would have to wait for
//! the reshape. This runs last: permutations sink for good reasons
//! until then (see [`super`]).

use crate::compile::strided::Strided;
use crate::op::{Op, Role};
use crate::ops::{Permute, Reshape};
use crate::shape::Shape;
use crate::tensor::{Tensor, topological};
use nerve_cpu::fused::{BinaryOp, UnaryOp};
use std::collections::{HashMap, HashSet};
use std::slice::from_ref;

/// Most operands that a group reads permuted to save one copy.
const MOST: usize = 2;

/// The same values as `roots`.
pub(super) fn raise(roots: &[Tensor]) -> Vec<Tensor> {
    let order = topological(roots, |_| false);
    let kept = roots.iter().map(Tensor::id).collect();
    let mut pass = Pass {
        users: HashMap::new(),
        kept,
        new: HashMap::new(),
        early: HashSet::new(),
        reduced: HashSet::new(),
    };
    for node in &order {
        for input in node.inputs() {
            pass.users.entry(input.id()).or_default().push(node.clone());
        }
    }
    for node in order.iter().rev() {
        let leads = |user: &Tensor| match user.op().rule().role() {
            Role::Elementwise(_) => pass.reduced.contains(&user.id()),
            _ => matches!(user.op(), Op::Reduce(_)),
        };
        if pass.users.get(&node.id()).is_some_and(|users| users.iter().any(leads)) {
            pass.reduced.insert(node.id());
        }
    }
    for node in &order {
        let new = pass.node(node);
        pass.new.insert(node.id(), new);
    }
    roots.iter().map(|t| pass.new[&t.id()].clone()).collect()
}

struct Pass {
    users: HashMap<u64, Vec<Tensor>>,
    /// The roots, which are used from outside.
    kept: HashSet<u64>,
    new: HashMap<u64, Tensor>,
    /// Elementwise nodes that were put before a reshape.
    early: HashSet<u64>,
    /// Nodes that a sum depends on with nothing but elementwise operations in between.
    reduced: HashSet<u64>,
}

/// A reshape, if any, and a permutation behind it.
struct Move<'a> {
    shape: Option<&'a Shape>,
    permute: &'a Permute,
}

impl Pass {
    fn node(&mut self, node: &Tensor) -> Tensor {
        match node.op() {
            Op::Permute(permute) if self.is_copied(node) => {
                let x = &node.inputs()[0];
                let (shape, from) = match x.op() {
                    Op::Reshape(op) if self.is_single(x) => (Some(&op.shape), &x.inputs()[0]),
                    _ => (None, x),
                };
                let moved = Move { shape, permute };
                let worth = self.is_single(from)
                    && self.loads(from, &moved).is_some_and(|loads| loads <= MOST);
                match worth {
                    true => self.raised(from, &moved),
                    false => self.same(node),
                }
            }
            _ => self.before_reshape(node).unwrap_or_else(|| self.same(node)),
        }
    }

    /// The node with the new inputs.
    fn same(&self, node: &Tensor) -> Tensor {
        let inputs: Vec<&Tensor> = node.inputs().iter().map(|t| &self.new[&t.id()]).collect();
        match node.inputs().iter().map(Tensor::id).eq(inputs.iter().map(|t| t.id())) {
            true => node.clone(),
            false => Tensor::apply(node.op().clone(), &inputs),
        }
    }

    fn is_single(&self, node: &Tensor) -> bool {
        let once = self.users.get(&node.id()).is_some_and(|users| users.len() == 1);
        once && !self.kept.contains(&node.id())
    }

    /// Whether someone wants the elements of a permutation contiguous.
    fn is_copied(&self, node: &Tensor) -> bool {
        let wants = |user: &Tensor| {
            use Op::*;
            matches!(user.op(), Conv(_) | ConvWeightGrad(_) | Pool(_) | MaxPlace(_) | PoolGrad(_))
        };
        self.users.get(&node.id()).is_some_and(|users| users.iter().any(wants))
    }

    /// How many operands have to be read permuted if `node` is computed where it is to go; none if
    /// it cannot be.
    fn loads(&self, node: &Tensor, to: &Move<'_>) -> Option<usize> {
        if let Role::Elementwise(op) = node.op().rule().role() {
            if matches!(node.op(), Op::Full(_)) {
                return Some(0);
            }
            if op.is_source() || is_epilogue(node) {
                return None;
            }
            let each = node.inputs().iter().map(|t| match t.op() {
                Op::Broadcast(_) if to.shape.is_some() => None,
                Op::Broadcast(_) | Op::Full(_) => Some(0),
                Op::Permute(p) if to.shape.is_none() && p.inverse() == *to.permute => Some(0),
                _ if self.is_raised(t) => self.loads(t, to),
                _ => Some(1),
            });
            return each.sum();
        }
        None
    }

    /// Whether an operand of what is raised is raised as well.
    fn is_raised(&self, t: &Tensor) -> bool {
        let elementwise = match t.op().rule().role() {
            Role::Elementwise(op) => !op.is_source() && !is_epilogue(t),
            _ => false,
        };
        elementwise && self.is_single(t)
    }

    fn raised(&self, node: &Tensor, to: &Move<'_>) -> Tensor {
        let inputs: Vec<Tensor> = (node.inputs().iter())
            .map(|t| match t.op() {
                Op::Full(full) => {
                    let shape = to.shape.unwrap_or(t.shape());
                    let shape: Shape = to.permute.order.iter().map(|&a| shape[a]).collect();
                    Tensor::full(shape, full.value.get(), t.dtype())
                }
                Op::Permute(p) if to.shape.is_none() && p.inverse() == *to.permute => {
                    self.new[&t.inputs()[0].id()].clone()
                }
                _ if self.is_raised(t) => self.raised(t, to),
                _ => {
                    let mut x = self.new[&t.id()].clone();
                    if let Some(shape) = to.shape {
                        x = Tensor::apply(Reshape { shape: shape.clone() }, &[&x]);
                    }
                    Tensor::apply(to.permute.clone(), &[&x])
                }
            })
            .collect();
        Tensor::apply(node.op().clone(), &inputs.iter().collect::<Vec<_>>())
    }

    /// An elementwise operation on a reshape that needs a copy, before that reshape.
    fn before_reshape(&mut self, node: &Tensor) -> Option<Tensor> {
        let Role::Elementwise(_) = node.op().rule().role() else { return None };
        let inputs: Vec<Tensor> = node.inputs().iter().map(|t| self.new[&t.id()].clone()).collect();
        // The copy is made by the first of them; what shares a pass with a sum stays with the sum.
        let follows = !self.reduced.contains(&node.id());
        let needs_copy = |t: &&Tensor| {
            let Op::Reshape(_) = t.op() else { return false };
            let x = &t.inputs()[0];
            follows && self.early.contains(&x.id())
                || matches!(x.op(), Op::Permute(p) if moves(p, x, t))
        };
        let copied = inputs.iter().find(needs_copy)?;
        let shape = copied.inputs()[0].shape().clone();
        let mut operands = Vec::new();
        for t in &inputs {
            operands.push(match (t.op(), t.op().rule().role()) {
                (Op::Full(full), _) => Tensor::full(&shape, full.value.get(), t.dtype()),
                (Op::Reshape(_), _) if *t.inputs()[0].shape() == shape => t.inputs()[0].clone(),
                (Op::Broadcast(_) | Op::Permute(_), _) => return None,
                (_, Role::Elementwise(op)) if op.is_source() => return None,
                _ => Tensor::apply(Reshape { shape: shape.clone() }, &[t]),
            });
        }
        let new = Tensor::apply(node.op().clone(), &operands.iter().collect::<Vec<_>>());
        self.early.insert(new.id());
        Some(Tensor::apply(Reshape { shape: node.shape().clone() }, from_ref(&&new)))
    }
}

/// Whether strides cannot express the reshape `to` of `x`, a permutation.
fn moves(permute: &Permute, x: &Tensor, to: &Tensor) -> bool {
    let from = Strided::contiguous(x.inputs()[0].shape());
    let strided = Strided {
        dims: permute.order.iter().map(|&a| from.dims[a]).collect(),
        strides: permute.order.iter().map(|&a| from.strides[a]).collect(),
        offset: 0,
    };
    strided.reshape(to.shape()).is_none()
}

/// Whether a kernel applies this while it stores its result.
fn is_epilogue(node: &Tensor) -> bool {
    let kernel = |t: &Tensor| match t.op().rule().role() {
        Role::Kernel(kernel) => kernel.epilogue(t).is_some(),
        _ => false,
    };
    let inputs = node.inputs();
    match node.op() {
        Op::Binary(op) if op.op == BinaryOp::Add => {
            inputs.iter().any(kernel) && inputs.iter().any(|t| matches!(t.op(), Op::Broadcast(_)))
        }
        Op::Unary(op) if op.op == UnaryOp::Relu => kernel(&inputs[0]) || is_epilogue(&inputs[0]),
        _ => false,
    }
}
