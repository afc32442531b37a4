//! The matrix product.

use super::{expect_float, expect_same};
use crate::compile::{Lowering, Matrices, float};
use crate::dtype::DType;
use crate::op::{Gradients, Lower, Operation, Role};
use crate::shape::Shape;
use crate::tensor::Tensor;
use nerve_cpu::{Activation, Gemm, SumParts};

/// `[…, m, k] × […, k, n] → […, m, n]`, with equal leading axes or none on one side.
///
/// Once planned it may have a third input, the right side as it is read
/// ([`Panels`](super::Panels)); of the second only the shape counts then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Matmul;

/// The shape of the product of two batches of matrices, or why they do not fit.
pub(super) fn product_shape(a: &Tensor, b: &Tensor) -> Result<Shape, String> {
    if a.rank() < 2 || b.rank() < 2 {
        return Err(format!("{} × {}: both need two axes or more", a.shape(), b.shape()));
    }
    let (batch_a, [m, k]) = a.shape().split_last_chunk::<2>().expect("rank is at least 2");
    let (batch_b, [k2, n]) = b.shape().split_last_chunk::<2>().expect("rank is at least 2");
    if k != k2 {
        return Err(format!(
            "{} × {}: the last axis of the left, {k}, and the last but one of the right, {k2}, \
             must agree{}",
            a.shape(),
            b.shape(),
            if b.shape().last() == Some(k) { "; is a .t() missing on the right?" } else { "" }
        ));
    }
    if batch_a != batch_b {
        return Err(format!("{} × {}: leading axes differ", a.shape(), b.shape()));
    }
    Ok([batch_a, &[*m, *n]].concat().into())
}

/// One product for each of the batch, by the operation of its type.
#[track_caller]
fn product(a: &Tensor, b: &Tensor) -> Tensor {
    match a.dtype().is_integer() {
        true => Tensor::apply(super::IntMatmul, &[a, b]),
        false => Tensor::apply(Matmul, &[a, b]),
    }
}

impl Operation for Matmul {
    fn name(&self) -> &'static str {
        "matmul"
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        let (a, b) = (&inputs[0], &inputs[1]);
        let dtype = expect_same(a, b)?;
        expect_float(a)?;
        Ok((product_shape(a, b)?, dtype))
    }

    fn gradient(&self, inputs: &[Tensor], _: &Tensor, dy: &Tensor) -> Gradients {
        Ok(vec![Some(dy.matmul(&inputs[1].t())), Some(inputs[0].t().matmul(dy))])
    }

    fn role(&self) -> Role<'_> {
        Role::Kernel(self)
    }
}

impl Lower for Matmul {
    fn lower(&self, node: &Tensor, cx: &mut Lowering<'_>) {
        let [left, right, panels @ ..] = node.inputs() else { unreachable!("two operands") };
        let panels = panels.first().map(|panels| cx.contiguous(panels));
        let a = cx.matrices(left);
        let (batch, [m, k]) = left.shape().split_last_chunk::<2>().expect("checked by infer");
        let (n, epilogue) = (right.shape()[right.rank() - 1], cx.epilogue());
        let b = match panels {
            Some(region) => Matrices { region, strides: [n, 1], batch: k * n },
            None => cx.matrices(right),
        };
        let (ty, c) = (float(node.dtype()), cx.output_region(node));
        let mut gemm = Gemm {
            batch: batch.iter().product(),
            a_strides: a.strides,
            a_batch: a.batch,
            b_strides: b.strides,
            b_batch: b.batch,
            c_batch: m * n,
            precision: cx.precision(),
            bias: epilogue.bias,
            activation: if epilogue.relu { Activation::Relu } else { Activation::None },
            ..Gemm::new(ty, [*m, n, *k], a.region, b.region, c)
        };
        gemm.parts = gemm.suggested_parts();
        gemm.packed_b = panels;
        if gemm.parts > 1 {
            gemm.c = cx.temporary(gemm.parts * c.bytes);
            let (parts, from, len) = (gemm.parts, gemm.c, c.bytes / ty.bytes());
            cx.emit(gemm);
            let accumulate = epilogue.accumulate;
            return cx.emit(SumParts { ty, parts, len, from, to: c, accumulate });
        }
        gemm.accumulate = epilogue.accumulate;
        gemm = gemm.arranged();
        if let Some(bytes) = gemm.packed_b_bytes() {
            let panels = cx.temporary(bytes);
            cx.emit(gemm.pack_instruction(panels));
            gemm = gemm.with_packed_b(panels);
        }
        cx.emit(gemm);
    }

    fn epilogue(&self, node: &Tensor) -> Option<usize> {
        node.shape().last().copied()
    }

    fn accumulates(&self) -> bool {
        true
    }
}

impl Tensor {
    /// The matrix product over the last two axes. Leading axes broadcast; a vector on the left is a
    /// row, on the right a column, and its axis is dropped from the result. Of f32, f64, and of i32
    /// and i64, whose sums wrap around.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let a = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0], [2, 2]);
    /// let x = Tensor::from_slice(&[1.0f32, 1.0], [2]);
    /// assert_eq!(a.matmul(&x).to_vec::<f32>(), [3.0, 7.0]);
    /// ```
    #[track_caller]
    pub fn matmul(&self, other: &Tensor) -> Tensor {
        if self.rank() == 1 {
            let y = self.unsqueeze(0).matmul(other);
            return y.squeeze(if other.rank() == 1 { 0 } else { -2 });
        }
        if other.rank() == 1 {
            return self.matmul(&other.unsqueeze(1)).squeeze(-1);
        }
        let (Some((left, ab)), Some((right, bb))) =
            (self.shape().split_last_chunk::<2>(), other.shape().split_last_chunk::<2>())
        else {
            return product(self, other);
        };
        if left == right {
            return product(self, other);
        }
        if right.is_empty() {
            // One matrix on the right serves all rows on the left: one product of more rows.
            let rows: usize = left.iter().product::<usize>() * ab[0];
            let y = product(&self.reshape([rows, ab[1]]), other);
            return y.reshape([left, &[ab[0], bb[1]]].concat());
        }
        let Some(batch) = Shape::from(left).broadcast(&Shape::from(right)) else {
            panic!(
                "matmul: leading axes of {} and {} do not broadcast",
                self.shape(),
                other.shape()
            );
        };
        let a = self.broadcast_to([&batch[..], ab].concat());
        let b = other.broadcast_to([&batch[..], bb].concat());
        product(&a, &b)
    }
}
