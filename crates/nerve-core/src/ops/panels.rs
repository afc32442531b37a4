//! The right side of a matrix product in the order in which the product reads it.

use crate::compile::{Lowering, float};
use crate::dtype::DType;
use crate::op::{Lower, Operation, Role};
use crate::shape::Shape;
use crate::tensor::Tensor;
use nerve_cpu::{Gemm, PackB, Precision, Region};

/// Matrices `[…, k, n]` in panels of some columns each, for a [`Matmul`](super::Matmul) with
/// matrices of so many rows on the left. The compiler puts it before products whose right side does
/// not change from run to run, which is then packed once and not in every run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Panels {
    /// Rows of the matrices on the left: they decide how wide the panels are.
    pub rows: usize,
    /// How exactly the product takes its operands: panels are rounded as they are packed.
    pub precision: Precision,
}

impl Panels {
    /// `right` in panels, for the product with `left`, if that is faster than reading it where it
    /// lies, with `strides` between its rows and its columns.
    pub(crate) fn of(
        left: &Tensor,
        right: &Tensor,
        strides: [usize; 2],
        precision: Precision,
    ) -> Option<Tensor> {
        let op = Panels { rows: left.shape()[left.rank() - 2], precision };
        let plain = op.product(right);
        let pays = Gemm { b_strides: strides, ..plain }.prepacking_pays();
        pays.then(|| Tensor::apply(op, &[right]))
    }

    /// The product with dense matrices, still without its operands.
    fn product(&self, right: &Tensor) -> Gemm {
        let nowhere = Region::new(0, 0, 0);
        let [batch @ .., k, n] = &right.shape()[..] else { unreachable!("checked by infer") };
        let sizes = [self.rows, *n, *k];
        Gemm {
            batch: batch.iter().product(),
            b_batch: k * n,
            precision: self.precision,
            ..Gemm::new(float(right.dtype()), sizes, nowhere, nowhere, nowhere)
        }
    }
}

impl Operation for Panels {
    fn name(&self) -> &'static str {
        "panels"
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        super::expect_float(&inputs[0])?;
        if inputs[0].rank() < 2 {
            return Err(format!("{}: a matrix has two axes or more", inputs[0].shape()));
        }
        let bytes = self.product(&inputs[0]).panel_bytes().ok_or("more than fits the memory")?;
        Ok(([bytes / inputs[0].dtype().bytes()].into(), inputs[0].dtype()))
    }

    fn role(&self) -> Role<'_> {
        Role::Kernel(self)
    }
}

impl Lower for Panels {
    fn lower(&self, node: &Tensor, cx: &mut Lowering<'_>) {
        let right = &node.inputs()[0];
        let (from, product) = (cx.matrices(right), self.product(right));
        let pack = product.pack_instruction(cx.output_region(node));
        let (strides, batch_stride) = (from.strides, from.batch);
        cx.emit(PackB { from: from.region, strides, batch_stride, ..pack });
    }
}
