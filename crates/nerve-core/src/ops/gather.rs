//! Slices picked by number along an axis, and their gradient: embedding lookups.

use super::{axis_of, expect_float};
use crate::compile::{Lowering, float};
use crate::dtype::DType;
use crate::op::{Gradients, Lower, Operation, Role};
use crate::shape::Shape;
use crate::tensor::Tensor;
use nerve_cpu::Number;

/// `y[o, j, i] = x[o, index[j], i]`, with `axis` in the middle. Inputs: x, index (i32, any shape,
/// which takes the place of the axis).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gather {
    /// The axis.
    pub axis: usize,
}

/// The gradient of [`Gather`]: zeros with `x[o, j, i]` added at `[o, index[j], i]`. Inputs: x,
/// index. Equal indices add up, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ScatterAdd {
    /// The axis.
    pub axis: usize,
    /// Its extent in the result.
    pub extent: usize,
}

pub(super) fn expect_index(index: &Tensor) -> Result<(), String> {
    match index.dtype() {
        DType::I32 => Ok(()),
        other => Err(format!("indices are i32 or i64, found {other}; convert them with to_dtype")),
    }
}

/// Indices in the type that the machine counts with, i32. Of i64 what i32 cannot hold becomes its
/// nearest end, which is on no axis: no index wraps around into the range.
#[track_caller]
pub(super) fn as_index(index: &Tensor) -> Tensor {
    match index.dtype() {
        DType::I64 => index.maximum(i32::MIN).minimum(i32::MAX).to_dtype(DType::I32),
        _ => index.clone(),
    }
}

impl Operation for Gather {
    fn name(&self) -> &'static str {
        "index_select"
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        let (x, index) = (&inputs[0], &inputs[1]);
        expect_index(index)?;
        let (before, after) = (&x.shape()[..self.axis], &x.shape()[self.axis + 1..]);
        Ok(([before, index.shape(), after].concat().into(), x.dtype()))
    }

    fn gradient(&self, inputs: &[Tensor], _: &Tensor, dy: &Tensor) -> Gradients {
        let op = ScatterAdd { axis: self.axis, extent: inputs[0].shape()[self.axis] };
        Ok(vec![Some(Tensor::apply(op, &[dy, &inputs[1]])), None])
    }

    fn role(&self) -> Role<'_> {
        Role::Kernel(self)
    }
}

impl Lower for Gather {
    fn lower(&self, node: &Tensor, cx: &mut Lowering<'_>) {
        let [x, index] = node.inputs() else { unreachable!("two operands") };
        let (outer, axis, inner) = x.shape().around(self.axis);
        let (src, places) = (cx.contiguous(x), cx.contiguous(index));
        let (bytes, dst) = (node.dtype().bytes(), cx.output_region(node));
        let count = index.numel();
        cx.emit(nerve_cpu::Gather { bytes, outer, axis, count, inner, src, index: places, dst });
    }
}

impl Operation for ScatterAdd {
    fn name(&self) -> &'static str {
        "index_add"
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        let (x, index) = (&inputs[0], &inputs[1]);
        expect_index(index)?;
        expect_float(x)?;
        let end = self.axis + index.rank();
        if x.shape().get(self.axis..end) != Some(&index.shape()[..]) {
            return Err(format!("{} has no axes {} at {}", x.shape(), index.shape(), self.axis));
        }
        let (before, after) = (&x.shape()[..self.axis], &x.shape()[end..]);
        Ok(([before, &[self.extent], after].concat().into(), x.dtype()))
    }

    fn gradient(&self, inputs: &[Tensor], _: &Tensor, dy: &Tensor) -> Gradients {
        Ok(vec![Some(Tensor::apply(Gather { axis: self.axis }, &[dy, &inputs[1]])), None])
    }

    fn role(&self) -> Role<'_> {
        Role::Kernel(self)
    }
}

impl Lower for ScatterAdd {
    fn lower(&self, node: &Tensor, cx: &mut Lowering<'_>) {
        let [x, index] = node.inputs() else { unreachable!("two operands") };
        let (outer, axis, inner) = node.shape().around(self.axis);
        let (src, places) = (cx.contiguous(x), cx.contiguous(index));
        let (ty, dst) = (Number::from(float(node.dtype())), cx.output_region(node));
        let count = index.numel();
        cx.emit(nerve_cpu::ScatterAdd { ty, outer, axis, count, inner, index: places, src, dst });
    }
}

impl Tensor {
    /// The slices along `axis` with the numbers `index` (i32 or i64, of any shape, which takes
    /// the place of the axis): rows of an embedding table, a shuffled batch.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let table = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0], [2, 2]);
    /// let rows = table.index_select(0, &Tensor::from_slice(&[1, 1, 0], [3]));
    /// assert_eq!(rows.to_vec::<f32>(), [3.0, 4.0, 3.0, 4.0, 1.0, 2.0]);
    /// ```
    #[track_caller]
    pub fn index_select(&self, axis: isize, index: &Tensor) -> Tensor {
        let axis = axis_of("index_select", axis, self);
        Tensor::apply(Gather { axis }, &[self, &as_index(index)])
    }
}
