//! Matrix products of integers.

use super::{expect_number, expect_same, matmul};
use crate::compile::Lowering;
use crate::dtype::DType;
use crate::op::{Gradients, Lower, Operation, Role};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// The matrix product over the last two axes, i32 or i64; sums wrap around.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IntMatmul;

impl Operation for IntMatmul {
    fn name(&self) -> &'static str {
        "matmul"
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        let (a, b) = (&inputs[0], &inputs[1]);
        let dtype = expect_same(a, b)?;
        if !matches!(dtype, DType::I32 | DType::I64) {
            return Err(format!("expected i32 or i64, found {dtype}; convert with to_dtype"));
        }
        Ok((matmul::product_shape(a, b)?, dtype))
    }

    fn gradient(&self, _: &[Tensor], _: &Tensor, _: &Tensor) -> Gradients {
        Ok(vec![None, None])
    }

    fn role(&self) -> Role<'_> {
        Role::Kernel(self)
    }
}

impl Lower for IntMatmul {
    fn lower(&self, node: &Tensor, cx: &mut Lowering<'_>) {
        let [left, right] = node.inputs() else { unreachable!("two operands") };
        let (batch, [m, k]) = left.shape().split_last_chunk::<2>().expect("checked by infer");
        let (batch, m, k) = (batch.iter().product(), *m, *k);
        let n = right.shape()[right.rank() - 1];
        let ty = expect_number(left).expect("checked by infer");
        let (a, b) = (cx.contiguous(left), cx.contiguous(right));
        let c = cx.output_region(node);
        cx.emit(nerve_cpu::IntMatmul { ty, batch, m, n, k, a, b, c });
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::panic_message;
    use crate::{DType, Tensor};

    #[test]
    fn integers_multiply_exactly() {
        let a = Tensor::arange(6).reshape([2, 3]);
        assert_eq!(a.matmul(&a.t()).to_vec::<i32>(), [5, 14, 14, 50]);
        assert_eq!(a.matmul(&Tensor::arange(3)).to_vec::<i32>(), [5, 14]);
        let large = Tensor::from_slice(&[1i64 << 40, 3, 1, 1 << 62], [2, 2]);
        let product = large.matmul(&large).to_vec::<i64>();
        let other = (1i64 << 40) + (1 << 62);
        assert_eq!(product, [3, other.wrapping_mul(3), other, 3]);
        let batch = a.reshape([2, 1, 3]).matmul(&a.t().reshape([1, 3, 2]));
        assert_eq!(batch.to_vec::<i32>(), [5, 14, 14, 50]);
        let message = panic_message(|| a.to_dtype(DType::I8).matmul(&a.t().to_dtype(DType::I8)));
        assert!(message.contains("matmul: expected i32 or i64, found i8"), "{message}");
        let message = panic_message(|| a.matmul(&a));
        assert!(message.contains("matmul: [2, 3] × [2, 3]"), "{message}");
    }
}
