//! Sorting, and the largest or smallest few.

use super::{around, axis_of, expect_number};
use crate::compile::Lowering;
use crate::dtype::DType;
use crate::op::{Gradients, Lower, Operation, Role};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// For each place along one axis, which element belongs there when they are sorted: i32.
///
/// The sort is stable: of equal elements the one that stood first comes first, in both
/// directions. NaN counts as the greatest. Through the order itself no gradient flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ArgSort {
    /// The axis.
    pub axis: usize,
    /// Whether the greatest come first.
    pub descending: bool,
}

impl Operation for ArgSort {
    fn name(&self) -> &'static str {
        "argsort"
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        around(self.axis, &inputs[0])?;
        expect_number(&inputs[0])?;
        Ok((inputs[0].shape().clone(), DType::I32))
    }

    fn gradient(&self, _: &[Tensor], _: &Tensor, _: &Tensor) -> Gradients {
        Ok(vec![None])
    }

    fn role(&self) -> Role<'_> {
        Role::Kernel(self)
    }
}

impl Lower for ArgSort {
    fn lower(&self, node: &Tensor, cx: &mut Lowering<'_>) {
        let input = &node.inputs()[0];
        let (outer, axis, inner) = input.shape().around(self.axis);
        let ty = expect_number(input).expect("checked by infer");
        let (x, indices) = (cx.contiguous(input), Some(cx.output_region(node)));
        let descending = self.descending;
        cx.emit(nerve_cpu::Sort { ty, outer, axis, inner, descending, x, values: None, indices });
    }
}

impl Tensor {
    /// The indices, i32, that sort along `axis`; see [`ArgSort`].
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let x = Tensor::from_slice(&[2.0f32, 3.0, 1.0], [3]);
    /// assert_eq!(x.argsort(0, false).to_vec::<i32>(), [2, 0, 1]);
    /// ```
    ///
    /// # Panics
    /// If there is no such axis.
    #[track_caller]
    pub fn argsort(&self, axis: isize, descending: bool) -> Tensor {
        let axis = axis_of("argsort", axis, self);
        // Small integers are sorted as i32, which orders them in the same way.
        let x = match self.dtype() {
            DType::U8 | DType::I8 | DType::Bool => &self.to_dtype(DType::I32),
            _ => self,
        };
        Tensor::apply(ArgSort { axis, descending }, &[x])
    }

    /// Sorted along `axis`: the values, and for each its index (i32) before. Stable, and NaN
    /// counts as the greatest. The values carry gradients back to where they came from.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let x = Tensor::from_slice(&[2.0f32, 3.0, 1.0], [3]);
    /// let (values, indices) = x.sort(0, true);
    /// assert_eq!(values.to_vec::<f32>(), [3.0, 2.0, 1.0]);
    /// assert_eq!(indices.to_vec::<i32>(), [1, 0, 2]);
    /// ```
    ///
    /// # Panics
    /// If there is no such axis.
    #[track_caller]
    pub fn sort(&self, axis: isize, descending: bool) -> (Tensor, Tensor) {
        let indices = self.argsort(axis, descending);
        (self.gather(axis, &indices), indices)
    }

    /// The `k` largest elements along `axis`, or the smallest, best first: values and indices
    /// (i32). Of equal elements the first ones win, and NaN counts as the greatest.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let scores = Tensor::from_slice(&[0.1f32, 0.6, 0.3], [1, 3]);
    /// let (values, classes) = scores.topk(2, -1, true);
    /// assert_eq!(values.to_vec::<f32>(), [0.6, 0.3]);
    /// assert_eq!(classes.to_vec::<i32>(), [1, 2]);
    /// ```
    ///
    /// # Panics
    /// If there is no such axis, or it has fewer than `k` elements.
    #[track_caller]
    pub fn topk(&self, k: usize, axis: isize, largest: bool) -> (Tensor, Tensor) {
        let extent = self.shape()[axis_of("topk", axis, self)];
        assert!(
            k <= extent,
            "topk: {k} of axis {axis}, whose extent in {} is {extent}",
            self.shape()
        );
        let indices = self.argsort(axis, largest).slice(axis, 0, k);
        (self.gather(axis, &indices), indices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_gradients, panic_message, sample};

    #[test]
    fn sorts_stably_in_both_directions() {
        let x = Tensor::from_slice(&[2, 1, 2, 0, 1, 2], [6]);
        let (values, indices) = x.sort(0, false);
        assert_eq!(values.to_vec::<i32>(), [0, 1, 1, 2, 2, 2]);
        assert_eq!(indices.to_vec::<i32>(), [3, 1, 4, 0, 2, 5]);
        let (values, indices) = x.sort(0, true);
        assert_eq!(values.to_vec::<i32>(), [2, 2, 2, 1, 1, 0]);
        assert_eq!(indices.to_vec::<i32>(), [0, 2, 5, 1, 4, 3]);
        // NaN is the greatest; zeros of both signs are equal.
        let x = Tensor::from_slice(&[0.0f64, f64::NAN, -0.0, f64::INFINITY, -1.0], [5]);
        assert_eq!(x.argsort(0, false).to_vec::<i32>(), [4, 0, 2, 3, 1]);
        assert_eq!(x.argsort(0, true).to_vec::<i32>(), [1, 3, 0, 2, 4]);
    }

    #[test]
    fn sorts_along_any_axis_and_any_type() {
        let x = Tensor::from_slice(&[3u8, 1, 2, 0, 2, 200], [2, 3]);
        let (values, indices) = x.sort(0, false);
        assert_eq!(values.to_vec::<u8>(), [0, 1, 2, 3, 2, 200]);
        assert_eq!(indices.to_vec::<i32>(), [1, 0, 0, 0, 1, 1]);
        let (values, _) = x.t().sort(0, true);
        assert_eq!(values.to_vec::<u8>(), [3, 200, 2, 2, 1, 0]);
        assert_eq!(x.gt(1.0).argsort(1, true).to_vec::<i32>(), [0, 2, 1, 1, 2, 0]);
        assert_eq!(Tensor::zeros([2, 0]).sort(1, false).0.to_vec::<f32>(), []);
    }

    #[test]
    fn topk_takes_the_best() {
        let x = Tensor::from_slice(&[1.0f32, 5.0, 3.0, 4.0, 4.0, 0.0], [2, 3]);
        let (values, indices) = x.topk(2, 1, true);
        assert_eq!(values.to_vec::<f32>(), [5.0, 3.0, 4.0, 4.0]);
        assert_eq!(indices.to_vec::<i32>(), [1, 2, 0, 1]);
        let (values, indices) = x.topk(1, 0, false);
        assert_eq!(values.to_vec::<f32>(), [1.0, 4.0, 0.0]);
        assert_eq!(indices.to_vec::<i32>(), [0, 1, 1]);
        assert_eq!(*x.topk(0, 1, true).0.shape(), [2, 0].into());
        let message = panic_message(|| x.topk(4, 1, true).0);
        assert!(message.contains("topk: 4 of axis 1, whose extent in [2, 3] is 3"), "{message}");
    }

    #[test]
    fn gradients() {
        check_gradients(&[sample([3, 4], 1)], |x| x[0].sort(1, false).0);
        check_gradients(&[sample([3, 4], 2)], |x| x[0].sort(0, true).0);
        check_gradients(&[sample([3, 4], 3)], |x| x[0].topk(2, -1, true).0);
    }
}
