//! Matrix products.

use super::Operator;
use super::elementwise::one;
use crate::import::call::{Call, Results};
use crate::import::error::Stop;
use nerve_core::{DType, Tensor};

pub(super) const OPERATORS: &[(&str, Operator)] = &[("MatMul", matmul), ("Gemm", gemm)];

/// As `numpy.matmul`: a vector is a row on the left and a column on the right.
pub(super) fn product(a: &Tensor, b: &Tensor) -> Result<Tensor, Stop> {
    let wrong = || Stop::Wrong(format!("cannot multiply {} and {}", a.shape(), b.shape()));
    if a.rank() == 0 || b.rank() == 0 || a.dtype() != b.dtype() {
        return Err(wrong());
    }
    let left = if a.rank() == 1 { a.unsqueeze(0) } else { a.clone() };
    let right = if b.rank() == 1 { b.unsqueeze(1) } else { b.clone() };
    let (outer, inner) = (left.rank() - 2, right.rank() - 2);
    let batch = nerve_core::Shape::from(left.shape()[..outer].to_vec());
    let batch = batch.broadcast(&right.shape()[..inner].to_vec().into()).ok_or_else(wrong)?;
    if left.shape()[outer + 1] != right.shape()[inner] {
        return Err(wrong());
    }
    let y = left.matmul(&right);
    let mut dims = batch.to_vec();
    dims.extend((a.rank() > 1).then(|| left.shape()[outer]));
    dims.extend((b.rank() > 1).then(|| right.shape()[inner + 1]));
    Ok(y.reshape(dims))
}

/// Sums of integers wrap; bytes are widened for them.
fn matmul(call: &Call<'_>) -> Results {
    let (a, b) = (call.tensor(0)?, call.tensor(1)?);
    let wide = |x: &Tensor| match x.dtype() {
        DType::I8 | DType::U8 | DType::Bool => x.to_dtype(DType::I32),
        _ => x.clone(),
    };
    one(product(&wide(a), &wide(b))?.to_dtype(a.dtype()))
}

/// alpha A' B' + beta C.
fn gemm(call: &Call<'_>) -> Results {
    let flipped = |i: usize, name: &str| -> Result<Tensor, Stop> {
        let x = call.tensor(i)?;
        if x.rank() != 2 {
            return Err(format!("operand {i}: expected a matrix, found {}", x.shape()).into());
        }
        Ok(if call.flag(name, false)? { x.t() } else { x.clone() })
    };
    let (a, b) = (flipped(0, "transA")?, flipped(1, "transB")?);
    let dtype = a.dtype();
    // alpha and beta are no integers.
    let wide = |x: &Tensor| if dtype.is_float() { x.clone() } else { x.to_dtype(DType::F64) };
    let mut y = product(&wide(&a), &wide(&b))?;
    let alpha = call.float("alpha", 1.0)?;
    if alpha != 1.0 {
        y = y * alpha;
    }
    if let Some(c) = call.optional(2)? {
        let beta = call.float("beta", 1.0)?;
        let c = wide(c);
        let c = if beta == 1.0 { c } else { c * beta };
        if !c.shape().broadcasts_to(y.shape()) {
            return Err(format!("cannot add {} to {}", c.shape(), y.shape()).into());
        }
        y = y + c;
    }
    one(y.to_dtype(dtype))
}
