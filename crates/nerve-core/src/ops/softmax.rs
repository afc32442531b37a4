//! Softmax and its logarithm along the last axis.

use super::{axis_of, expect_float};
use crate::compile::{Lowering, float};
use crate::dtype::DType;
use crate::op::{Gradients, Lower, Operation, Role};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// `exp(x) / Σ exp(x)` along the last axis, or the logarithm of that, computed without overflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Softmax {
    /// Whether to give the logarithm.
    pub log: bool,
}

/// The gradient of [`Softmax`] with respect to its input, from its output and `dy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SoftmaxGrad {
    /// Whether the output was the logarithm.
    pub log: bool,
}

/// Rows and columns of a tensor as a matrix with the last axis as columns.
fn matrix(x: &Tensor) -> (usize, usize) {
    let cols = x.shape().last().copied().unwrap_or(1);
    (x.numel().checked_div(cols).unwrap_or(0), cols)
}

impl Operation for Softmax {
    fn name(&self) -> &'static str {
        if self.log { "log_softmax" } else { "softmax" }
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        expect_float(&inputs[0])?;
        match inputs[0].rank() {
            0 => Err("of a scalar, which has no axes".into()),
            _ => Ok((inputs[0].shape().clone(), inputs[0].dtype())),
        }
    }

    fn decompose(&self, inputs: &[Tensor]) -> Option<Tensor> {
        let x = &inputs[0];
        let log = x - x.logsumexp(&[-1], true);
        Some(if self.log { log } else { log.exp() })
    }

    fn gradient(&self, _: &[Tensor], y: &Tensor, dy: &Tensor) -> Gradients {
        Ok(vec![Some(Tensor::apply(SoftmaxGrad { log: self.log }, &[y, dy]))])
    }

    fn role(&self) -> Role<'_> {
        Role::Kernel(self)
    }
}

impl Lower for Softmax {
    fn lower(&self, node: &Tensor, cx: &mut Lowering<'_>) {
        let (rows, cols) = matrix(node);
        let (x, y) = (cx.contiguous(&node.inputs()[0]), cx.output_region(node));
        cx.emit(nerve_cpu::Softmax { ty: float(node.dtype()), rows, cols, log: self.log, x, y });
    }
}

impl Operation for SoftmaxGrad {
    fn name(&self) -> &'static str {
        if self.log { "log_softmax_grad" } else { "softmax_grad" }
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        Ok((inputs[0].shape().clone(), inputs[0].dtype()))
    }

    fn decompose(&self, inputs: &[Tensor]) -> Option<Tensor> {
        let (y, dy) = (&inputs[0], &inputs[1]);
        Some(match self.log {
            true => dy - y.exp() * dy.sum_axes(&[-1], true),
            false => y * (dy - (dy * y).sum_axes(&[-1], true)),
        })
    }

    fn role(&self) -> Role<'_> {
        Role::Kernel(self)
    }
}

impl Lower for SoftmaxGrad {
    fn lower(&self, node: &Tensor, cx: &mut Lowering<'_>) {
        let (rows, cols) = matrix(node);
        let (y, dy) = (cx.contiguous(&node.inputs()[0]), cx.contiguous(&node.inputs()[1]));
        let (ty, dx) = (float(node.dtype()), cx.output_region(node));
        cx.emit(nerve_cpu::SoftmaxGrad { ty, rows, cols, log: self.log, y, dy, dx });
    }
}

impl Tensor {
    /// `exp(x) / Σ exp(x)` along `axis`: probabilities from logits.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let p = Tensor::from_slice(&[0.0f32, 0.0], [2]).softmax(-1);
    /// assert_eq!(p.to_vec::<f32>(), [0.5, 0.5]);
    /// ```
    #[track_caller]
    pub fn softmax(&self, axis: isize) -> Tensor {
        self.softmax_along(axis, false)
    }

    /// The logarithm of [`softmax`](Tensor::softmax), accurate also where that is tiny.
    #[track_caller]
    pub fn log_softmax(&self, axis: isize) -> Tensor {
        self.softmax_along(axis, true)
    }

    #[track_caller]
    fn softmax_along(&self, axis: isize, log: bool) -> Tensor {
        let op = Softmax { log };
        let axis = axis_of(op.name(), axis, self) as isize;
        match axis == self.rank() as isize - 1 {
            true => Tensor::apply(op, &[self]),
            false => Tensor::apply(op, &[&self.transpose(axis, -1)]).transpose(axis, -1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_its_decomposition() {
        let x = Tensor::from_slice(&[1.0f64, -2.0, 1e4, 0.5, 0.25, -1e4], [2, 3]);
        for log in [false, true] {
            let op = Softmax { log };
            let fused = Tensor::apply(op, &[&x]);
            let simple = op.decompose(std::slice::from_ref(&x)).unwrap();
            for (a, b) in fused.to_vec::<f64>().into_iter().zip(simple.to_vec::<f64>()) {
                assert!((a - b).abs() <= 1e-12 * b.abs().max(1.0), "{a} {b}");
            }
        }
        let columns = x.softmax(0).sum_axes(&[0], false).to_vec::<f64>();
        assert!(columns.iter().all(|s| (s - 1.0).abs() < 1e-12), "{columns:?}");
    }
}
