//! What is known about a node's value in the file.

use super::pair::{Extent, ONE, fixed};
use nerve_core::Tensor;

/// A value of the file, or a constant that is not in it yet, and how the node's elements lie in it.
///
/// Permutations and repetitions are not written when they are met: operators of ONNX repeat by
/// themselves, and images lie with their channels first there and last here, so that most
/// permutations meet their inverse.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub source: Source,
    /// The extents in the file. Aligned with the node's at the last axis; axes that are missing, or
    /// are 1 there, are repeated.
    pub dims: Vec<Extent>,
    /// Axis `i` of the node is axis `order[i]` in the file. Counting up if there are fewer axes than
    /// the node has.
    pub order: Vec<usize>,
}

#[derive(Clone, Debug)]
pub(super) enum Source {
    /// By its name.
    Name(String),
    /// Depends on no argument. Its axes are never permuted.
    Constant(Tensor),
}

impl Value {
    /// A value in the file, in the order of the node.
    pub fn named(name: String, dims: Vec<Extent>) -> Value {
        let order = (0..dims.len()).collect();
        Value { source: Source::Name(name), dims, order }
    }

    /// A constant, of the form that it has.
    pub fn constant(tensor: Tensor) -> Value {
        let dims: Vec<Extent> = tensor.shape().iter().map(|&n| fixed(n)).collect();
        let order = (0..dims.len()).collect();
        Value { source: Source::Constant(tensor), dims, order }
    }

    pub fn as_constant(&self) -> Option<&Tensor> {
        match &self.source {
            Source::Constant(tensor) => Some(tensor),
            Source::Name(_) => None,
        }
    }

    /// Whether the axes stand as those of the node.
    pub fn is_plain(&self) -> bool {
        self.order.iter().copied().eq(0..self.order.len())
    }

    /// The axis of the file that is axis `axis` of a node of rank `rank`.
    pub fn stored(&self, axis: usize, rank: usize) -> Option<usize> {
        axis.checked_sub(rank - self.dims.len()).map(|at| self.order[at])
    }

    /// The same in the file, seen as another node.
    pub fn with_order(self, order: Vec<usize>) -> Value {
        Value { order, ..self }
    }

    /// Whether all elements are one.
    pub fn is_repeated(&self) -> bool {
        self.dims.iter().all(|&extent| extent == ONE)
    }

    /// Whether it is this number everywhere.
    pub fn is_number(&self, number: f64) -> bool {
        let Some(tensor) = self.as_constant() else { return false };
        matches!(tensor.op(), nerve_core::Op::Full(full) if full.value.get() == number)
    }
}

/// The permutation that undoes `order`.
pub(super) fn inverse(order: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; order.len()];
    for (to, &from) in order.iter().enumerate() {
        inverse[from] = to;
    }
    inverse
}

/// `tensor` with leading axes of extent 1 until it has `rank`.
pub(super) fn with_rank(tensor: &Tensor, rank: usize) -> Tensor {
    let mut shape = vec![1; rank - tensor.rank()];
    shape.extend_from_slice(tensor.shape());
    tensor.reshape(shape)
}
