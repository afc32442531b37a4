//! Running sums and products.

use super::{around, axis_of, expect_number};
use crate::compile::Lowering;
use crate::dtype::DType;
use crate::op::{Gradients, Lower, Operation, Role};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// `y[…, k, …] = Σ x[…, j, …]` over `j ≤ k`: along one axis, the sum of the elements so far.
///
/// Sums of f32 are kept in f64 and rounded once an element; sums of integers wrap around.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CumSum {
    /// The axis.
    pub axis: usize,
    /// Whether an element is left out of its own sum: over `j < k`.
    pub exclusive: bool,
    /// Whether the sum runs from the last element to the first: over `j ≥ k`.
    pub reverse: bool,
}

impl Operation for CumSum {
    fn name(&self) -> &'static str {
        "cumsum"
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        around(self.axis, &inputs[0])?;
        expect_number(&inputs[0])?;
        Ok((inputs[0].shape().clone(), inputs[0].dtype()))
    }

    /// An element enters the sums from its own place on: its gradient is the sum of theirs.
    fn gradient(&self, _: &[Tensor], _: &Tensor, dy: &Tensor) -> Gradients {
        Ok(vec![Some(Tensor::apply(CumSum { reverse: !self.reverse, ..*self }, &[dy]))])
    }

    fn role(&self) -> Role<'_> {
        Role::Kernel(self)
    }
}

impl Lower for CumSum {
    fn lower(&self, node: &Tensor, cx: &mut Lowering<'_>) {
        let input = &node.inputs()[0];
        let (outer, axis, inner) = input.shape().around(self.axis);
        let ty = expect_number(input).expect("checked by infer");
        let (x, y) = (cx.contiguous(input), cx.output_region(node));
        let &CumSum { exclusive, reverse, .. } = self;
        cx.emit(nerve_cpu::CumSum { ty, outer, axis, inner, reverse, exclusive, x, y });
    }
}

impl Tensor {
    /// The running sums along `axis`: `y[k] = x[0] + … + x[k]`. Of f32, f64, i32 or i64.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0], [3]);
    /// assert_eq!(x.cumsum(0).to_vec::<f32>(), [1.0, 3.0, 6.0]);
    /// ```
    ///
    /// # Panics
    /// If there is no such axis, or the elements are u8, i8 or bool.
    #[track_caller]
    pub fn cumsum(&self, axis: isize) -> Tensor {
        self.cumsum_general(axis, false, false)
    }

    /// Running sums as ONNX has them: `exclusive` leaves each element out of its own sum, and
    /// `reverse` runs from the end.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let x = Tensor::from_slice(&[1, 2, 3], [3]);
    /// assert_eq!(x.cumsum_general(0, true, false).to_vec::<i32>(), [0, 1, 3]);
    /// assert_eq!(x.cumsum_general(0, false, true).to_vec::<i32>(), [6, 5, 3]);
    /// ```
    ///
    /// # Panics
    /// As [`cumsum`](Tensor::cumsum).
    #[track_caller]
    pub fn cumsum_general(&self, axis: isize, exclusive: bool, reverse: bool) -> Tensor {
        let axis = axis_of("cumsum", axis, self);
        Tensor::apply(CumSum { axis, exclusive, reverse }, &[self])
    }

    /// The running products along `axis`: `y[k] = x[0] · … · x[k]`.
    ///
    /// By doubling shifts (Hillis & Steele, "Data parallel algorithms", 1986), ⌈log₂ n⌉ passes:
    /// no division and no logarithm, so zeros and negative numbers do no harm, here or in the
    /// gradient.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let x = Tensor::from_slice(&[1.0f32, -2.0, 3.0, 0.5], [4]);
    /// assert_eq!(x.cumprod(0).to_vec::<f32>(), [1.0, -2.0, -6.0, -3.0]);
    /// ```
    ///
    /// # Panics
    /// If there is no such axis, or the elements are bool.
    #[track_caller]
    pub fn cumprod(&self, axis: isize) -> Tensor {
        let axis = axis_of("cumprod", axis, self);
        let extent = self.shape()[axis];
        let mut product = self.clone();
        let mut reach = 1;
        while reach < extent {
            let mut amounts = vec![(0, 0); self.rank()];
            amounts[axis].0 = reach;
            let shifted = product.slice(axis as isize, 0, extent - reach).pad(&amounts, 1.0);
            product = product * shifted;
            reach *= 2;
        }
        product
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_gradients, panic_message, sample};

    #[test]
    fn sums_along_any_axis() {
        let x = Tensor::arange(6).reshape([2, 3]);
        assert_eq!(x.cumsum(1).to_vec::<i32>(), [0, 1, 3, 3, 7, 12]);
        assert_eq!(x.cumsum(0).to_vec::<i32>(), [0, 1, 2, 3, 5, 7]);
        assert_eq!(x.t().cumsum(-2).to_vec::<i32>(), [0, 3, 1, 7, 3, 12]);
        assert_eq!(x.cumsum_general(1, true, true).to_vec::<i32>(), [3, 2, 0, 9, 5, 0]);
        assert_eq!(Tensor::zeros([2, 0]).cumsum(1).to_vec::<f32>(), []);
        let message = panic_message(|| x.gt(0).cumsum(0));
        assert!(message.contains("cumsum: expected f32, f64, i32 or i64, found bool"), "{message}");
    }

    #[test]
    fn products_pass_zeros_and_signs() {
        let x = Tensor::from_slice(&[2.0f64, -3.0, 0.0, 4.0, 5.0], [5]);
        assert_eq!(x.cumprod(0).to_vec::<f64>(), [2.0, -6.0, 0.0, 0.0, 0.0]);
        let x = Tensor::from_slice(&[1, 2, 3, 4, 5, 6], [3, 2]);
        assert_eq!(x.cumprod(0).to_vec::<i32>(), [1, 2, 3, 8, 15, 48]);
        assert_eq!(x.cumprod(1).to_vec::<i32>(), [1, 2, 3, 12, 5, 30]);
    }

    #[test]
    fn gradients() {
        for (exclusive, reverse) in [(false, false), (true, false), (false, true), (true, true)] {
            check_gradients(&[sample([2, 4], 1)], |x| x[0].cumsum_general(1, exclusive, reverse));
            check_gradients(&[sample([4, 2], 2)], |x| x[0].cumsum_general(0, exclusive, reverse));
        }
        check_gradients(&[sample([2, 5], 3)], |x| x[0].cumprod(1));
        let zeros = Tensor::from_slice(&[0.5f64, 0.0, 2.0, 0.0, -1.5], [5]);
        check_gradients(&[zeros], |x| x[0].cumprod(0));
    }
}
