//! The same elements in another arrangement: reshape, permute, slice. The planner resolves them to
//! a way of reading; a copy is made only where a kernel needs contiguous elements.

use super::axis_of;
use crate::compile::Strided;
use crate::dtype::DType;
use crate::op::{Gradients, Movement, Operation, Role};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// The same elements in row-major order under another shape.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reshape {
    /// The new shape.
    pub shape: Shape,
}

impl Operation for Reshape {
    fn name(&self) -> &'static str {
        "reshape"
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        let from = inputs[0].shape();
        if from.numel() != self.shape.numel() {
            return Err(format!(
                "{from} has {} elements, {} has {}",
                from.numel(),
                self.shape,
                self.shape.numel()
            ));
        }
        Ok((self.shape.clone(), inputs[0].dtype()))
    }

    fn gradient(&self, inputs: &[Tensor], _: &Tensor, dy: &Tensor) -> Gradients {
        Ok(vec![Some(dy.reshape(inputs[0].shape()))])
    }

    fn role(&self) -> Role<'_> {
        Role::Movement(self)
    }
}

impl Movement for Reshape {
    fn view(&self, input: &Strided) -> Option<Strided> {
        input.reshape(&self.shape)
    }
}

/// The axes in another order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Permute {
    /// For each axis of the result, which axis of the input it is.
    pub order: Vec<usize>,
}

impl Permute {
    /// The permutation that undoes this one.
    pub fn inverse(&self) -> Permute {
        let mut order = vec![0; self.order.len()];
        for (to, &from) in self.order.iter().enumerate() {
            order[from] = to;
        }
        Permute { order }
    }
}

impl Operation for Permute {
    fn name(&self) -> &'static str {
        "permute"
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        let from = inputs[0].shape();
        let mut sorted = self.order.clone();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..from.rank()) {
            return Err(format!("{:?} does not name each axis of {from} once", self.order));
        }
        Ok((self.order.iter().map(|&a| from[a]).collect(), inputs[0].dtype()))
    }

    fn gradient(&self, _: &[Tensor], _: &Tensor, dy: &Tensor) -> Gradients {
        Ok(vec![Some(Tensor::apply(self.inverse(), &[dy]))])
    }

    fn role(&self) -> Role<'_> {
        Role::Movement(self)
    }
}

impl Movement for Permute {
    fn view(&self, input: &Strided) -> Option<Strided> {
        Some(Strided {
            dims: self.order.iter().map(|&a| input.dims[a]).collect(),
            strides: self.order.iter().map(|&a| input.strides[a]).collect(),
            ..*input
        })
    }
}

/// Every `step`-th element from `start` on, along each axis; a negative step runs backwards.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Slice {
    /// First index along each axis.
    pub start: Vec<usize>,
    /// Distance between indices along each axis, not 0.
    pub step: Vec<isize>,
    /// Number of elements along each axis.
    pub shape: Shape,
}

impl Operation for Slice {
    fn name(&self) -> &'static str {
        "slice"
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        let from = inputs[0].shape();
        if [self.start.len(), self.step.len(), self.shape.rank()] != [from.rank(); 3] {
            return Err(format!("{self:?} of a tensor of rank {}", from.rank()));
        }
        for (axis, &extent) in from.iter().enumerate() {
            let (start, step, count) = (self.start[axis], self.step[axis], self.shape[axis]);
            let last = start as isize + step * count.saturating_sub(1) as isize;
            let inside = |i: isize| (0..extent as isize).contains(&i);
            if step == 0 || count > 0 && !(inside(start as isize) && inside(last)) {
                return Err(format!(
                    "{count} elements from {start} by {step} along axis {axis} of extent {extent}"
                ));
            }
        }
        Ok((self.shape.clone(), inputs[0].dtype()))
    }

    /// The gradient lies at the same places among zeros: the axes are reversed where the step is
    /// negative, then spread and padded.
    fn gradient(&self, inputs: &[Tensor], _: &Tensor, dy: &Tensor) -> Gradients {
        let from = inputs[0].shape();
        let mut dx = dy.clone();
        let (mut before, mut after, mut between) = (Vec::new(), Vec::new(), Vec::new());
        for (axis, &extent) in from.iter().enumerate() {
            let (start, step, count) = (self.start[axis], self.step[axis], self.shape[axis]);
            if count == 0 {
                // Nothing was taken, so all of it is padding.
                before.push(0);
                after.push(extent as isize);
                between.push(0);
                continue;
            }
            let reach = step.unsigned_abs() * (count - 1);
            let first = if step < 0 { start - reach } else { start };
            if step < 0 {
                dx = dx.flip(&[axis as isize]);
            }
            before.push(first as isize);
            after.push((extent - first - reach - 1) as isize);
            between.push(step.unsigned_abs() - 1);
        }
        Ok(vec![Some(dx.pad_general(&before, &after, &between, 0.0))])
    }

    fn role(&self) -> Role<'_> {
        Role::Movement(self)
    }
}

impl Movement for Slice {
    fn view(&self, input: &Strided) -> Option<Strided> {
        let skipped = self.start.iter().zip(&input.strides).map(|(&i, s)| i as isize * s);
        let offset = match self.shape.numel() {
            0 => input.offset,
            _ => input.offset + skipped.sum::<isize>(),
        };
        let strides = self.step.iter().zip(&input.strides).map(|(step, stride)| step * stride);
        Some(Strided { dims: self.shape.to_vec(), strides: strides.collect(), offset })
    }
}

impl Tensor {
    /// The same elements under another shape; see [`Reshape`].
    #[track_caller]
    pub fn reshape(&self, shape: impl Into<Shape>) -> Tensor {
        let shape = shape.into();
        match shape == *self.shape() {
            true => self.clone(),
            false => Tensor::apply(Reshape { shape }, &[self]),
        }
    }

    /// All axes from `from` on as one: `flatten(1)` makes `[batch, features]`.
    #[track_caller]
    pub fn flatten(&self, from: usize) -> Tensor {
        assert!(from <= self.rank(), "flatten: from axis {from} of shape {}", self.shape());
        let (kept, joined) = self.shape().split_at(from);
        self.reshape([kept, &[joined.iter().product()]].concat())
    }

    /// With a new axis of extent 1 before `axis`.
    #[track_caller]
    pub fn unsqueeze(&self, axis: usize) -> Tensor {
        assert!(axis <= self.rank(), "unsqueeze: axis {axis} of shape {}", self.shape());
        let mut shape = self.shape().to_vec();
        shape.insert(axis, 1);
        self.reshape(shape)
    }

    /// Without `axis`, whose extent is 1.
    #[track_caller]
    pub fn squeeze(&self, axis: isize) -> Tensor {
        let axis = axis_of("squeeze", axis, self);
        let mut shape = self.shape().to_vec();
        assert!(shape[axis] == 1, "squeeze: axis {axis} of {} is not 1", self.shape());
        shape.remove(axis);
        self.reshape(shape)
    }

    /// The axes in another order: axis `i` of the result is axis `order[i]` of this.
    #[track_caller]
    pub fn permute(&self, order: &[usize]) -> Tensor {
        Tensor::apply(Permute { order: order.to_vec() }, &[self])
    }

    /// With two axes exchanged.
    #[track_caller]
    pub fn transpose(&self, a: isize, b: isize) -> Tensor {
        let (a, b) = (axis_of("transpose", a, self), axis_of("transpose", b, self));
        let mut order: Vec<usize> = (0..self.rank()).collect();
        order.swap(a, b);
        self.permute(&order)
    }

    /// The matrix transpose: the last two axes exchanged.
    #[track_caller]
    pub fn t(&self) -> Tensor {
        self.transpose(-2, -1)
    }

    /// The elements `start..end` along `axis`.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let x = Tensor::arange(6).reshape([2, 3]);
    /// assert_eq!(x.slice(1, 1, 3).to_vec::<i32>(), [1, 2, 4, 5]);
    /// ```
    #[track_caller]
    pub fn slice(&self, axis: isize, start: usize, end: usize) -> Tensor {
        let axis = axis_of("slice", axis, self);
        let extent = self.shape()[axis];
        assert!(
            start <= end && end <= extent,
            "slice: {start}..{end} of axis {axis}, whose extent in {} is {extent}",
            self.shape()
        );
        self.slice_by(axis, start, 1, end - start)
    }

    /// `count` elements along `axis` from `start` on, `step` apart; a negative step runs backwards.
    #[track_caller]
    pub fn slice_by(&self, axis: usize, start: usize, step: isize, count: usize) -> Tensor {
        let mut op = Slice {
            start: vec![0; self.rank()],
            step: vec![1; self.rank()],
            shape: self.shape().clone(),
        };
        assert!(axis < self.rank(), "slice: axis {axis} of shape {}", self.shape());
        (op.start[axis], op.step[axis]) = (start, step);
        let mut shape = op.shape.into_vec();
        shape[axis] = count;
        op.shape = shape.into();
        Tensor::apply(op, &[self])
    }

    /// Cut along `axis` into pieces of these extents.
    #[track_caller]
    pub fn split(&self, axis: isize, extents: &[usize]) -> Vec<Tensor> {
        let at = axis_of("split", axis, self);
        let total: usize = extents.iter().sum();
        assert!(
            total == self.shape()[at],
            "split: pieces {extents:?} make {total}, axis {at} of {} is {}",
            self.shape(),
            self.shape()[at]
        );
        let mut start = 0;
        let piece = |&extent: &usize| {
            start += extent;
            self.slice(axis, start - extent, start)
        };
        extents.iter().map(piece).collect()
    }

    /// With the elements in reverse order along `axes`.
    #[track_caller]
    pub fn flip(&self, axes: &[isize]) -> Tensor {
        let mut op = Slice {
            start: vec![0; self.rank()],
            step: vec![1; self.rank()],
            shape: self.shape().clone(),
        };
        for &axis in axes {
            let axis = axis_of("flip", axis, self);
            op.start[axis] = self.shape()[axis].saturating_sub(1);
            op.step[axis] = -1;
        }
        Tensor::apply(op, &[self])
    }
}
