//! Repeating elements along axes.

use crate::compile::Strided;
use crate::dtype::DType;
use crate::op::{Gradients, Movement, Operation, Role};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Repeats along new leading axes and along axes of extent 1, by NumPy's rule. No copy is made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Broadcast {
    /// The shape to reach.
    pub shape: Shape,
}

impl Operation for Broadcast {
    fn name(&self) -> &'static str {
        "broadcast_to"
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        let from = inputs[0].shape();
        if !from.broadcasts_to(&self.shape) {
            return Err(format!(
                "{from} to {}: aligned at the last axis, extents must be equal or 1",
                self.shape
            ));
        }
        Ok((self.shape.clone(), inputs[0].dtype()))
    }

    fn gradient(&self, inputs: &[Tensor], _: &Tensor, dy: &Tensor) -> Gradients {
        Ok(vec![Some(dy.sum_to(inputs[0].shape()))])
    }

    fn role(&self) -> Role<'_> {
        Role::Movement(self)
    }
}

impl Movement for Broadcast {
    fn view(&self, input: &Strided) -> Option<Strided> {
        let new = self.shape.rank() - input.dims.len();
        let strides = (0..self.shape.rank()).map(|axis| {
            let old = axis.checked_sub(new).filter(|&a| input.dims[a] == self.shape[axis]);
            old.map_or(0, |a| input.strides[a])
        });
        Some(Strided { dims: self.shape.to_vec(), strides: strides.collect(), ..*input })
    }
}

impl Tensor {
    /// Repeated to `shape`; see [`Broadcast`].
    #[track_caller]
    pub fn broadcast_to(&self, shape: impl Into<Shape>) -> Tensor {
        let shape = shape.into();
        match shape == *self.shape() {
            true => self.clone(),
            false => Tensor::apply(Broadcast { shape }, &[self]),
        }
    }

    /// Summed over the axes that were broadcast to get from `shape` to this one: the gradient of
    /// [`broadcast_to`](Tensor::broadcast_to).
    #[track_caller]
    pub fn sum_to(&self, shape: &Shape) -> Tensor {
        assert!(shape.broadcasts_to(self.shape()), "sum_to: {} to {shape}", self.shape());
        let new = self.rank() - shape.rank();
        let grown = |axis: usize| axis < new || shape[axis - new] != self.shape()[axis];
        let axes: Vec<isize> = (0..self.rank()).filter(|&a| grown(a)).map(|a| a as isize).collect();
        self.sum_axes(&axes, true).reshape(shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_and_sums_back() {
        let x = Tensor::from_slice(&[1.0f32, 2.0], [2, 1]);
        let y = x.broadcast_to([3, 2, 2]);
        assert_eq!(y.to_vec::<f32>(), [1.0, 1.0, 2.0, 2.0].repeat(3));
        assert_eq!(y.sum_to(x.shape()).to_vec::<f32>(), [6.0, 12.0]);
    }
}
