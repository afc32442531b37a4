//! Cross-entropy between logits and the right classes.

use super::gather::as_index;
use super::{expect_float, expect_same};
use crate::compile::{Lowering, float};
use crate::dtype::DType;
use crate::op::{Gradients, Lower, Operation, Role};
use crate::shape::Shape;
use crate::tensor::Tensor;
use nerve_cpu::Target;

/// `−Σ pⱼ log softmax(x)ⱼ` for each row of logits; p is given, or 1 at a class index.
///
/// Inputs: logits `[rows, classes]`; targets: i32 `[rows]`, or probabilities `[rows, classes]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CrossEntropy {
    /// Rows whose class index is this do not count: their loss is 0.
    pub ignore_index: Option<i32>,
}

/// The gradient of [`CrossEntropy`] with respect to the logits. Inputs: logits, targets, gradient
/// of the losses `[rows]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CrossEntropyGrad {
    /// As in [`CrossEntropy`].
    pub ignore_index: Option<i32>,
}

fn target(tensor: &Tensor, cx: &mut Lowering<'_>) -> Target {
    let region = cx.contiguous(tensor);
    match tensor.dtype() {
        DType::I32 => Target::Index(region),
        _ => Target::Probability(region),
    }
}

/// The probabilities that a target stands for, and 1 for rows that count, else 0 `[rows, 1]`.
fn probabilities(logits: &Tensor, target: &Tensor, ignore: Option<i32>) -> (Tensor, Tensor) {
    let (rows, one) = (logits.shape()[0], |t: &Tensor| t.full_like(1.0));
    if target.dtype() != DType::I32 {
        return (target.clone(), Tensor::full([rows, 1], 1.0, logits.dtype()));
    }
    let index = target.unsqueeze(1);
    let p = Tensor::iota(logits.shape(), 1).eq(&index).to_dtype(logits.dtype());
    let counts = match ignore {
        Some(ignored) => index.ne(ignored).to_dtype(logits.dtype()),
        None => one(&index.to_dtype(logits.dtype())),
    };
    (p, counts)
}

impl Operation for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        let (logits, target) = (&inputs[0], &inputs[1]);
        expect_float(logits)?;
        let &[rows, _] = &logits.shape()[..] else {
            return Err(format!("logits are [rows, classes], found {}", logits.shape()));
        };
        match target.dtype() {
            DType::I32 if **target.shape() == [rows] => {}
            DType::I32 => {
                return Err(format!("class indices are [{rows}], found {}", target.shape()));
            }
            _ => {
                expect_same(logits, target)?;
                if target.shape() != logits.shape() {
                    return Err(format!(
                        "probabilities are {} like the logits, found {}",
                        logits.shape(),
                        target.shape()
                    ));
                }
            }
        }
        Ok(([rows].into(), logits.dtype()))
    }

    fn decompose(&self, inputs: &[Tensor]) -> Option<Tensor> {
        let (p, counts) = probabilities(&inputs[0], &inputs[1], self.ignore_index);
        let loss = -(p * inputs[0].log_softmax(1)).sum_axes(&[1], true) * counts;
        Some(loss.squeeze(1))
    }

    fn gradient(&self, inputs: &[Tensor], _: &Tensor, dy: &Tensor) -> Gradients {
        let (logits, target) = (&inputs[0], &inputs[1]);
        let op = CrossEntropyGrad { ignore_index: self.ignore_index };
        let dtarget = target.dtype().is_float().then(|| -(dy.unsqueeze(1) * logits.log_softmax(1)));
        Ok(vec![Some(Tensor::apply(op, &[logits, target, dy])), dtarget])
    }

    fn role(&self) -> Role<'_> {
        Role::Kernel(self)
    }
}

impl Lower for CrossEntropy {
    fn lower(&self, node: &Tensor, cx: &mut Lowering<'_>) {
        let [x, t] = node.inputs() else { unreachable!("two operands") };
        let (logits, target) = (cx.contiguous(x), target(t, cx));
        let loss = cx.output_region(node);
        cx.emit(nerve_cpu::CrossEntropy {
            ty: float(x.dtype()),
            rows: x.shape()[0],
            cols: x.shape()[1],
            ignore_index: self.ignore_index,
            logits,
            target,
            loss,
        });
    }
}

impl Operation for CrossEntropyGrad {
    fn name(&self) -> &'static str {
        "cross_entropy_grad"
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        Ok((inputs[0].shape().clone(), inputs[0].dtype()))
    }

    fn decompose(&self, inputs: &[Tensor]) -> Option<Tensor> {
        let [logits, target, dy] = inputs else { return None };
        let (p, counts) = probabilities(logits, target, self.ignore_index);
        let mass = p.sum_axes(&[1], true);
        Some((logits.softmax(1) * mass - p) * (dy.unsqueeze(1) * counts))
    }

    fn role(&self) -> Role<'_> {
        Role::Kernel(self)
    }
}

impl Lower for CrossEntropyGrad {
    fn lower(&self, node: &Tensor, cx: &mut Lowering<'_>) {
        let [x, t, dy] = node.inputs() else { unreachable!("three operands") };
        let (logits, target, dloss) = (cx.contiguous(x), target(t, cx), cx.contiguous(dy));
        let dlogits = cx.output_region(node);
        cx.emit(nerve_cpu::CrossEntropyGrad {
            ty: float(x.dtype()),
            rows: x.shape()[0],
            cols: x.shape()[1],
            ignore_index: self.ignore_index,
            logits,
            target,
            dloss,
            dlogits,
        });
    }
}

impl Tensor {
    /// The cross-entropy of each row of these logits `[rows, classes]`: a tensor `[rows]`.
    ///
    /// `target` holds class indices, i32 or i64 `[rows]`, or probabilities `[rows, classes]`. Rows whose
    /// index is `ignore_index` have the loss 0. Other indices out of range are an error when the
    /// plan runs.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let logits = Tensor::zeros([1, 10]);
    /// let target = Tensor::from_slice(&[3], [1]);
    /// let loss = logits.cross_entropy(&target, None).item::<f32>();
    /// assert!((loss - 10f32.ln()).abs() < 1e-6);
    /// ```
    #[track_caller]
    pub fn cross_entropy(&self, target: &Tensor, ignore_index: Option<i32>) -> Tensor {
        Tensor::apply(CrossEntropy { ignore_index }, &[self, &as_index(target)])
    }
}
