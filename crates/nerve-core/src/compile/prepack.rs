//! Weights of matrix products and filters of convolutions that stand: they are given in panels, which are
//! packed when a variable has changed instead of in every run. The panels are a second copy of the weight.

use super::lowering::matrix_strides;
use super::strided::Strided;
use crate::op::{Op, Role};
use crate::ops::{FilterPanels, Panels};
use crate::tensor::{Tensor, topological};
use nerve_cpu::Precision;
use std::collections::HashMap;

/// The same values as `roots`, with panels in the place of right sides and filters that stand, where
/// the product, or the convolution, is faster with them.
pub(super) fn prepack(
    roots: &[Tensor],
    stands: impl Fn(&Tensor) -> bool,
    precision: Precision,
) -> Vec<Tensor> {
    let mut new: HashMap<u64, Tensor> = HashMap::new();
    for node in topological(roots, |_| false) {
        let mut inputs: Vec<Tensor> = node.inputs().iter().map(|t| new[&t.id()].clone()).collect();
        if let [left, right] = node.inputs()
            && stands(right)
            && !stands(&node)
            && let Some(panels) = match node.op() {
                Op::Matmul(_) => panels(left, right, precision),
                Op::Conv(conv) => FilterPanels::of(*conv, left, right, precision),
                _ => None,
            }
        {
            // Only its shape is still needed.
            inputs[1] = right.zeros_like();
            inputs.push(panels);
        }
        let same = node.inputs().iter().map(Tensor::id).eq(inputs.iter().map(Tensor::id));
        let changed = match same {
            true => node.clone(),
            false => Tensor::apply(node.op().clone(), &inputs.iter().collect::<Vec<_>>()),
        };
        new.insert(node.id(), changed);
    }
    roots.iter().map(|t| new[&t.id()].clone()).collect()
}

fn panels(left: &Tensor, right: &Tensor, precision: Precision) -> Option<Tensor> {
    let lies = lies(right);
    let (strides, batch) = matrix_strides(&lies)?;
    // One matrix for a whole batch would be packed once for each.
    let repeated = batch == 0 && lies.dims.iter().rev().skip(2).any(|&n| n > 1);
    if repeated { None } else { Panels::of(left, right, strides, precision) }
}

/// How the elements of a value will lie, if what is not moved lies side by side.
fn lies(tensor: &Tensor) -> Strided {
    let (mut moves, mut source) = (Vec::new(), tensor);
    while let Role::Movement(movement) = source.op().rule().role() {
        moves.push(movement);
        source = &source.inputs()[0];
    }
    let view = |lies: Strided, movement: &&dyn crate::op::Movement| {
        let copied = || movement.view(&Strided::contiguous(&lies.dims[..].into()));
        movement.view(&lies).or_else(copied).expect("any movement applies to contiguous elements")
    };
    moves.iter().rev().fold(Strided::contiguous(source.shape()), view)
}
