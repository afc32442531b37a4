//! Padding right before a convolution becomes the convolution's own: its kernel knows where the
//! zeros are, so that nobody stores them. And the filter is given to it in the form that it is
//! fastest with.

use crate::op::Op;
use crate::ops::{Border, Conv, ConvWeightGrad, Pad, WinogradFilter};
use crate::shape::Shape;
use crate::tensor::{Tensor, topological};
use std::collections::HashMap;

/// The same values as `roots`, with borders in the place of padding and filters transformed. Runs after the other rules,
/// which know how padding is moved and cut.
pub(super) fn complete_convolutions(roots: &[Tensor]) -> Vec<Tensor> {
    let mut new: HashMap<u64, Tensor> = HashMap::new();
    for node in topological(roots, |_| false) {
        let mut inputs: Vec<Tensor> = node.inputs().iter().map(|t| new[&t.id()].clone()).collect();
        let mut op = node.op().clone();
        if let (Op::Conv(conv) | Op::ConvWeightGrad(ConvWeightGrad { conv, .. }), Some(image)) =
            (&mut op, inputs.first_mut())
        {
            absorb(conv, image);
        }
        if let (Op::Conv(conv), [image, filter]) = (&op, &mut inputs[..])
            && let Some(transformed) = WinogradFilter::of(*conv, image, filter)
        {
            // Only its shape is still needed.
            *filter = filter.zeros_like();
            inputs.push(transformed);
        }
        let same = node.inputs().iter().map(Tensor::id).eq(inputs.iter().map(Tensor::id));
        let changed = match same {
            true => node.clone(),
            false => Tensor::apply(op, &inputs.iter().collect::<Vec<_>>()),
        };
        new.insert(node.id(), changed);
    }
    roots.iter().map(|t| new[&t.id()].clone()).collect()
}

fn absorb(conv: &mut Conv, image: &mut Tensor) {
    let Some((inner, pad)) = padded(image).filter(|_| conv.border == Border::default()) else {
        return;
    };
    let inside = [0, 3].iter().all(|&a| (pad.before[a], pad.after[a], pad.between[a]) == (0, 0, 0));
    if inside && pad.value.get() == 0.0 {
        conv.border = Border {
            pad: [1, 2].map(|axis| [pad.before[axis], pad.after[axis]]),
            between: [1, 2].map(|axis| pad.between[axis]),
        };
        *image = inner;
    }
}

/// What was padded to give `image`, through permutations and axes of extent 1 in between, and how.
fn padded(image: &Tensor) -> Option<(Tensor, Pad)> {
    match image.op() {
        Op::Pad(pad) => Some((image.inputs()[0].clone(), pad.clone())),
        Op::Permute(permute) => {
            let (inner, pad) = padded(&image.inputs()[0])?;
            let order = &permute.order;
            let moved = |amounts: &[usize]| order.iter().map(|&axis| amounts[axis]).collect();
            let pad = Pad {
                before: moved(&pad.before),
                after: moved(&pad.after),
                between: moved(&pad.between),
                ..pad
            };
            Some((Tensor::apply(permute.clone(), &[&inner]), pad))
        }
        Op::Reshape(reshape) => {
            let outer = &image.inputs()[0];
            let (inner, pad) = padded(outer)?;
            let long = |shape: &Shape| -> Vec<usize> {
                (0..shape.rank()).filter(|&axis| shape[axis] != 1).collect()
            };
            let (from, to) = (long(outer.shape()), long(&reshape.shape));
            let extents = |shape: &Shape, axes: &[usize]| -> Vec<usize> {
                axes.iter().map(|&axis| shape[axis]).collect()
            };
            if extents(outer.shape(), &from) != extents(&reshape.shape, &to) {
                return None;
            }
            // Axes of extent 1 have no padding, unless there was nothing to pad.
            let mut shape = reshape.shape.to_vec();
            let nothing = || vec![0; shape.len()];
            let mut moved = Pad { before: nothing(), after: nothing(), between: nothing(), ..pad };
            for (&from, &to) in from.iter().zip(&to) {
                shape[to] = inner.shape()[from];
                moved.before[to] = pad.before[from];
                moved.after[to] = pad.after[from];
                moved.between[to] = pad.between[from];
            }
            let shape: Shape = shape.into();
            if shape.numel() != inner.numel() {
                return None;
            }
            Some((Tensor::apply(crate::ops::Reshape { shape }, &[&inner]), moved))
        }
        _ => None,
    }
}
