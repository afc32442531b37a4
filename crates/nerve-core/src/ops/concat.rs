//! Putting tensors next to each other.

use super::{axis, expect_same};
use crate::compile::{Lowering, Placed};
use crate::dtype::DType;
use crate::op::{Gradients, Lower, Op, Operation, Role};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// The inputs next to each other along one axis.
///
/// Where a piece is computed by a kernel and lies in one stretch of the result, the planner lets
/// the kernel write it there at once, and nothing is copied.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Concat {
    /// The axis.
    pub axis: usize,
    /// Where each input starts along the axis, and at last the extent of the result. Gaps are
    /// zero.
    pub starts: Vec<usize>,
}

impl Operation for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        let first = inputs.first().ok_or("needs at least one tensor")?;
        if self.axis >= first.rank() || self.starts.len() != inputs.len() + 1 {
            return Err(format!("{self:?} of {} tensors of {}", inputs.len(), first.shape()));
        }
        for (i, input) in inputs.iter().enumerate() {
            expect_same(first, input)?;
            let same =
                |axis: usize| axis == self.axis || first.shape()[axis] == input.shape()[axis];
            if input.rank() != first.rank() || !(0..first.rank()).all(same) {
                return Err(format!(
                    "input {i} is {}, input 0 is {}: all axes but {} must agree",
                    input.shape(),
                    first.shape(),
                    self.axis
                ));
            }
            if self.starts[i] + input.shape()[self.axis] > self.starts[i + 1] {
                return Err(format!("input {i} does not fit between {:?}", self.starts));
            }
        }
        let mut shape = first.shape().to_vec();
        shape[self.axis] = self.starts[inputs.len()];
        Ok((shape.into(), first.dtype()))
    }

    fn gradient(&self, inputs: &[Tensor], _: &Tensor, dy: &Tensor) -> Gradients {
        let piece = |(input, &start): (&Tensor, &usize)| {
            Some(dy.slice(self.axis as isize, start, start + input.shape()[self.axis]))
        };
        Ok(inputs.iter().zip(&self.starts).map(piece).collect())
    }

    fn role(&self) -> Role<'_> {
        Role::Kernel(self)
    }
}

impl Lower for Concat {
    fn lower(&self, node: &Tensor, cx: &mut Lowering<'_>) {
        let whole = cx.output(node);
        let place = |start: usize, extent: usize| {
            let mut place = whole.clone();
            place.strided.offset += start as isize * whole.strided.strides[self.axis];
            place.strided.dims[self.axis] = extent;
            place
        };
        let mut end = 0;
        for (i, &start) in self.starts.iter().enumerate() {
            if start > end {
                cx.fill(&place(end, start - end), 0.0);
            }
            let Some(input) = node.inputs().get(i) else { break };
            end = start + input.shape()[self.axis];
            let (input, to) = before_reshape(input, place(start, end - start));
            let from = cx.view(input);
            if from != to {
                cx.copy(&from, &to);
            }
        }
    }
}

/// A reshaped operand and its place before the reshape, if the place can be seen so: what lies in
/// another order there is then copied once, not twice.
fn before_reshape(mut input: &Tensor, mut to: Placed) -> (&Tensor, Placed) {
    while let Op::Reshape(_) = input.op() {
        let Some(strided) = to.strided.reshape(input.inputs()[0].shape()) else { break };
        input = &input.inputs()[0];
        to.strided = strided;
    }
    (input, to)
}

impl Tensor {
    /// `tensors` next to each other along `axis`.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let (a, b) = (Tensor::ones([1, 2]), Tensor::zeros([1, 2]));
    /// assert_eq!(Tensor::concat(&[a, b], 0).to_vec::<f32>(), [1.0, 1.0, 0.0, 0.0]);
    /// ```
    #[track_caller]
    pub fn concat(tensors: &[Tensor], along: isize) -> Tensor {
        let first = tensors.first().expect("concat: needs at least one tensor");
        let axis = match axis(along, first.shape()) {
            Ok(axis) => axis,
            Err(why) => panic!("concat: {why}"),
        };
        let mut starts = vec![0];
        for (i, tensor) in tensors.iter().enumerate() {
            assert!(
                tensor.rank() == first.rank(),
                "concat: input {i} is {}, input 0 is {}: ranks must agree",
                tensor.shape(),
                first.shape()
            );
            starts.push(starts[i] + tensor.shape()[axis]);
        }
        Tensor::apply(Concat { axis, starts }, &tensors.iter().collect::<Vec<_>>())
    }

    /// Tensors of one axis, each at its own start in a longer one; zero in the gaps.
    #[track_caller]
    pub(crate) fn concat_at(tensors: &[Tensor], starts: &[usize]) -> Tensor {
        let op = Concat { axis: 0, starts: starts.to_vec() };
        Tensor::apply(op, &tensors.iter().collect::<Vec<_>>())
    }

    /// `tensors` of one shape along a new axis.
    #[track_caller]
    pub fn stack(tensors: &[Tensor], axis: usize) -> Tensor {
        let pieces: Vec<Tensor> = tensors.iter().map(|t| t.unsqueeze(axis)).collect();
        Tensor::concat(&pieces, axis as isize)
    }
}
