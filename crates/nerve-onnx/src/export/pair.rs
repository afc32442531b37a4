//! The same node in two traces that differ in the number of examples.

use super::error::ExportError;
use nerve_core::{DType, Op, Tensor};

/// An extent in the first and in the second trace: equal where it does not depend on the batch.
pub(super) type Extent = [usize; 2];

/// The extent of an axis that can be repeated.
pub(super) const ONE: Extent = [1, 1];

/// Whether it is the same for every batch.
pub(super) fn is_fixed(extent: Extent) -> bool {
    extent[0] == extent[1]
}

/// An extent that is known.
pub(super) fn fixed(extent: usize) -> Extent {
    [extent; 2]
}

/// A node of the one trace and the node at its place in the other.
///
/// Shapes are numbers here, and a file wants to hold for every batch: what an extent has to do with
/// the number of examples is seen by comparing two of them.
#[derive(Clone)]
pub(super) struct Pair {
    pub a: Tensor,
    pub b: Tensor,
}

impl Pair {
    /// The two, if they can be the same node.
    pub fn new(a: &Tensor, b: &Tensor) -> Result<Pair, ExportError> {
        let pair = Pair { a: a.clone(), b: b.clone() };
        let same = a.rank() == b.rank()
            && a.dtype() == b.dtype()
            && a.inputs().len() == b.inputs().len()
            && pair.same_operation();
        match same {
            true => Ok(pair),
            false => Err(ExportError::Batch(format!("{a:?} and {b:?} at one place"))),
        }
    }

    /// Whether the operations are the same but for extents.
    fn same_operation(&self) -> bool {
        match (self.a.op(), self.b.op()) {
            (Op::Reshape(_), Op::Reshape(_)) | (Op::Broadcast(_), Op::Broadcast(_)) => true,
            (Op::Full(a), Op::Full(b)) => a.value == b.value,
            (Op::Iota(a), Op::Iota(b)) => {
                let both = a.weights.iter().zip(&b.weights).zip(self.extents());
                both.into_iter().all(|((a, b), extent)| a == b || extent == ONE)
            }
            (Op::Slice(a), Op::Slice(b)) => a.step == b.step,
            (Op::Concat(a), Op::Concat(b)) => a.axis == b.axis,
            (Op::ConvInputGrad(a), Op::ConvInputGrad(b)) => a.conv == b.conv && a.start == b.start,
            (Op::ScatterAdd(a), Op::ScatterAdd(b)) => a.axis == b.axis,
            (Op::ScatterAddElements(a), Op::ScatterAddElements(b)) => a.axis == b.axis,
            (a, b) => a == b,
        }
    }

    /// The extents.
    pub fn extents(&self) -> Vec<Extent> {
        self.a.shape().iter().zip(self.b.shape().iter()).map(|(&a, &b)| [a, b]).collect()
    }

    pub fn rank(&self) -> usize {
        self.a.rank()
    }

    pub fn dtype(&self) -> DType {
        self.a.dtype()
    }

    pub fn op(&self) -> &Op {
        self.a.op()
    }

    /// Number of operands.
    pub fn operands(&self) -> usize {
        self.a.inputs().len()
    }

    /// An operand; it was compared when the node was.
    pub fn input(&self, number: usize) -> Pair {
        Pair { a: self.a.inputs()[number].clone(), b: self.b.inputs()[number].clone() }
    }

    pub fn inputs(&self) -> Vec<Pair> {
        (0..self.operands()).map(|number| self.input(number)).collect()
    }

    /// Whether nothing about it differs: then its value, if it depends on no argument, is one.
    pub fn is_same(&self) -> bool {
        let constants = matches!(self.op(), Op::Constant(_));
        self.a.shape() == self.b.shape()
            && self.a.op() == self.b.op()
            && (!constants || self.a.id() == self.b.id() || bytes(&self.a) == bytes(&self.b))
    }

    /// The same made of other nodes, in both traces, under the name of this node's part.
    pub fn rewrite(
        &self,
        f: impl Fn(&Tensor) -> Option<Tensor>,
    ) -> Result<Option<Pair>, ExportError> {
        let inside = |t: &Tensor| match t.scope() {
            Some(scope) => nerve_core::scope(scope, || f(t)),
            None => f(t),
        };
        match (inside(&self.a), inside(&self.b)) {
            (Some(a), Some(b)) => Pair::new(&a, &b).map(Some),
            _ => Ok(None),
        }
    }
}

/// The elements of a tensor that depends on no argument, each with its least significant byte first.
pub(super) fn bytes(tensor: &Tensor) -> Vec<u8> {
    macro_rules! all {
        ($t:ty) => {
            tensor.to_vec::<$t>().iter().flat_map(|v| v.to_le_bytes()).collect()
        };
    }
    match tensor.dtype() {
        DType::F32 => all!(f32),
        DType::F64 => all!(f64),
        DType::I32 => all!(i32),
        DType::I64 => all!(i64),
        DType::U8 => tensor.to_vec::<u8>(),
        DType::I8 => all!(i8),
        DType::Bool => tensor.to_vec::<bool>().into_iter().map(u8::from).collect(),
    }
}
