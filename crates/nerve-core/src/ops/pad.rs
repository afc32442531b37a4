//! Surrounding a tensor with a constant, and spreading its elements apart.

use super::Bits;
use crate::compile::Lowering;
use crate::dtype::DType;
use crate::op::{Gradients, Lower, Operation, Role};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// `before` elements of a constant in front of each axis, `after` behind it, and `between`
/// neighbours. Nothing is cut off: to crop, slice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pad {
    /// Number in front of each axis.
    pub before: Vec<usize>,
    /// Number behind each axis.
    pub after: Vec<usize>,
    /// Number between neighbours along each axis.
    pub between: Vec<usize>,
    /// The constant.
    pub value: Bits,
}

impl Operation for Pad {
    fn name(&self) -> &'static str {
        "pad"
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        let (x, rank) = (&inputs[0], inputs[0].rank());
        if [self.before.len(), self.after.len(), self.between.len()] != [rank; 3] {
            return Err(format!("{self:?} of a tensor of rank {rank}"));
        }
        let extent = |axis: usize| {
            let n = x.shape()[axis];
            self.before[axis] + n + n.saturating_sub(1) * self.between[axis] + self.after[axis]
        };
        Ok(((0..rank).map(extent).collect(), x.dtype()))
    }

    fn gradient(&self, inputs: &[Tensor], _: &Tensor, dy: &Tensor) -> Gradients {
        let op = super::Slice {
            start: self.before.clone(),
            step: self.between.iter().map(|&n| n as isize + 1).collect(),
            shape: inputs[0].shape().clone(),
        };
        Ok(vec![Some(Tensor::apply(op, &[dy]))])
    }

    fn role(&self) -> Role<'_> {
        Role::Kernel(self)
    }
}

impl Lower for Pad {
    fn lower(&self, node: &Tensor, cx: &mut Lowering<'_>) {
        let whole = cx.output(node);
        let mut inside = whole.clone();
        if self.between.iter().any(|&n| n > 0) {
            cx.fill(&whole, self.value.get());
        }
        for axis in 0..node.rank() {
            let stride = whole.strided.strides[axis];
            if self.between.iter().all(|&n| n == 0) {
                // The borders, axis by axis, without those that earlier axes have filled.
                let last = node.shape()[axis] - self.after[axis];
                for (start, count) in [(0, self.before[axis]), (last, self.after[axis])] {
                    let mut border = inside.clone();
                    border.strided.offset += start as isize * stride;
                    border.strided.dims[axis] = count;
                    if count > 0 {
                        cx.fill(&border, self.value.get());
                    }
                }
            }
            inside.strided.offset += self.before[axis] as isize * stride;
            inside.strided.strides[axis] = stride * (self.between[axis] as isize + 1);
            inside.strided.dims[axis] = node.inputs()[0].shape()[axis];
        }
        let from = cx.view(&node.inputs()[0]);
        cx.copy(&from, &inside);
    }
}

impl Tensor {
    /// Surrounded by `value`: for each axis how many in front and behind.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let x = Tensor::ones([2]).pad(&[(1, 2)], 0.0);
    /// assert_eq!(x.to_vec::<f32>(), [0.0, 1.0, 1.0, 0.0, 0.0]);
    /// ```
    #[track_caller]
    pub fn pad(&self, amounts: &[(usize, usize)], value: f64) -> Tensor {
        assert!(
            amounts.len() == self.rank(),
            "pad: {} pairs for shape {}",
            amounts.len(),
            self.shape()
        );
        let before: Vec<isize> = amounts.iter().map(|a| a.0 as isize).collect();
        let after: Vec<isize> = amounts.iter().map(|a| a.1 as isize).collect();
        self.pad_general(&before, &after, &vec![0; self.rank()], value)
    }

    /// Padding as XLA has it: also `between` neighbours, and negative amounts crop.
    #[track_caller]
    pub fn pad_general(
        &self,
        before: &[isize],
        after: &[isize],
        between: &[usize],
        value: f64,
    ) -> Tensor {
        let positive = |amounts: &[isize]| amounts.iter().map(|&n| n.max(0) as usize).collect();
        let op = Pad {
            before: positive(before),
            after: positive(after),
            between: between.to_vec(),
            value: Bits::new(value),
        };
        let nothing =
            [&op.before, &op.after, &op.between].iter().all(|v| v.iter().all(|&n| n == 0));
        let mut padded = if nothing { self.clone() } else { Tensor::apply(op, &[self]) };
        for axis in 0..self.rank() {
            let (front, back) = ((-before[axis]).max(0) as usize, (-after[axis]).max(0) as usize);
            if front + back > 0 {
                let extent = padded.shape()[axis];
                assert!(front + back <= extent, "pad: cuts {front} + {back} of {extent}");
                padded = padded.slice(axis as isize, front, extent - back);
            }
        }
        padded
    }
}
