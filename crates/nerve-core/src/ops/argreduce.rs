//! The place of the largest or smallest element.

use super::{around, axis_of, expect_number};
use crate::compile::Lowering;
use crate::dtype::DType;
use crate::op::{Gradients, Lower, Operation, Role};
use crate::shape::Shape;
use crate::tensor::Tensor;
use nerve_cpu::ArgKind;

/// The index, i32, of the largest or smallest element along one axis, which stays with extent 1.
///
/// The first of several equal ones; the first NaN, if there is any. No gradient flows through an
/// index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ArgReduce {
    /// Largest or smallest.
    pub kind: ArgKind,
    /// The axis.
    pub axis: usize,
}

impl Operation for ArgReduce {
    fn name(&self) -> &'static str {
        match self.kind {
            ArgKind::Max => "argmax",
            ArgKind::Min => "argmin",
        }
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        let x = &inputs[0];
        let (outer, extent, inner) = around(self.axis, x)?;
        expect_number(x)?;
        if extent == 0 && outer * inner > 0 {
            return Err(format!("axis {} of {} is empty", self.axis, x.shape()));
        }
        let mut shape = x.shape().to_vec();
        shape[self.axis] = 1;
        Ok((shape.into(), DType::I32))
    }

    fn gradient(&self, _: &[Tensor], _: &Tensor, _: &Tensor) -> Gradients {
        Ok(vec![None])
    }

    fn role(&self) -> Role<'_> {
        Role::Kernel(self)
    }
}

impl Lower for ArgReduce {
    fn lower(&self, node: &Tensor, cx: &mut Lowering<'_>) {
        let input = &node.inputs()[0];
        let (outer, axis, inner) = input.shape().around(self.axis);
        let ty = expect_number(input).expect("checked by infer");
        let (x, y) = (cx.contiguous(input), cx.output_region(node));
        cx.emit(nerve_cpu::ArgReduce { kind: self.kind, ty, outer, axis, inner, x, y });
    }
}

#[track_caller]
fn apply(x: &Tensor, kind: ArgKind, axis: isize, keep: bool) -> Tensor {
    let name = if kind == ArgKind::Max { "argmax" } else { "argmin" };
    let axis = axis_of(name, axis, x);
    // Small integers compare as i32 in the same way.
    let x = match x.dtype() {
        DType::U8 | DType::I8 | DType::Bool => &x.to_dtype(DType::I32),
        _ => x,
    };
    let index = Tensor::apply(ArgReduce { kind, axis }, &[x]);
    if keep { index } else { index.squeeze(axis as isize) }
}

impl Tensor {
    /// The index, i32, of the largest element along `axis`, which stays with extent 1 if `keep`.
    /// The first of several equal ones; the first NaN, if there is any.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let scores = Tensor::from_slice(&[0.1f32, 0.9, 0.7, 0.3], [2, 2]);
    /// assert_eq!(scores.argmax(-1, false).to_vec::<i32>(), [1, 0]);
    /// ```
    ///
    /// # Panics
    /// If there is no such axis, or it is empty.
    #[track_caller]
    pub fn argmax(&self, axis: isize, keep: bool) -> Tensor {
        apply(self, ArgKind::Max, axis, keep)
    }

    /// The index, i32, of the smallest element along `axis`, which stays with extent 1 if `keep`.
    /// The first of several equal ones; the first NaN, if there is any.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// assert_eq!(Tensor::from_slice(&[3, 1, 2], [3]).argmin(0, false).item::<i32>(), 1);
    /// ```
    ///
    /// # Panics
    /// If there is no such axis, or it is empty.
    #[track_caller]
    pub fn argmin(&self, axis: isize, keep: bool) -> Tensor {
        apply(self, ArgKind::Min, axis, keep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::panic_message;

    #[test]
    fn finds_the_first_extreme() {
        let x = Tensor::from_slice(&[1.0f32, 4.0, 4.0, 0.0, 0.0, 3.0], [2, 3]);
        assert_eq!(x.argmax(1, false).to_vec::<i32>(), [1, 2]);
        assert_eq!(x.argmin(1, false).to_vec::<i32>(), [0, 0]);
        assert_eq!(x.argmax(0, false).to_vec::<i32>(), [0, 0, 0]);
        assert_eq!(x.t().argmin(0, false).to_vec::<i32>(), [0, 0]);
        let kept = x.argmax(0, true);
        assert_eq!((kept.shape(), kept.dtype()), (&[1, 3].into(), DType::I32));
        let nan = Tensor::from_slice(&[1.0f64, f64::NAN, 5.0, f64::NAN], [4]);
        assert_eq!(nan.argmax(0, false).item::<i32>(), 1);
        assert_eq!(nan.argmin(0, false).item::<i32>(), 1);
    }

    #[test]
    fn takes_every_type() {
        let x = Tensor::from_slice(&[-3, 7, 2], [3]);
        assert_eq!(x.argmin(0, false).item::<i32>(), 0);
        assert_eq!(x.gt(0).argmax(0, false).item::<i32>(), 1);
        let bytes = Tensor::from_slice(&[200u8, 7, 255], [3]);
        assert_eq!(bytes.argmax(0, false).item::<i32>(), 2);
    }

    #[test]
    fn an_empty_axis_has_no_extreme() {
        let message = panic_message(|| Tensor::zeros([2, 0]).argmax(1, false));
        assert!(message.contains("argmax: axis 1 of [2, 0] is empty"), "{message}");
        assert_eq!(Tensor::zeros([0, 2]).argmax(1, false).to_vec::<i32>(), []);
        assert_eq!(Tensor::zeros([0, 0]).argmin(1, false).to_vec::<i32>(), []);
    }
}
