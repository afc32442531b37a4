//! Sums, means, norms and extremes along axes.

use super::Operator;
use super::elementwise::one;
use crate::import::call::{Call, Results, axes};
use nerve_core::{DType, Tensor};

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("ReduceSum", |call| reduce(call, In::Own, |x, axes, keep| x.sum_axes(axes, keep))),
    ("ReduceProd", |call| reduce(call, In::Own, |x, axes, keep| x.prod_axes(axes, keep))),
    ("ReduceMax", |call| reduce(call, In::Own, |x, axes, keep| x.max_axes(axes, keep))),
    ("ReduceMin", |call| reduce(call, In::Own, |x, axes, keep| x.min_axes(axes, keep))),
    ("ReduceL1", |call| reduce(call, In::Own, |x, axes, keep| x.abs().sum_axes(axes, keep))),
    ("ReduceSumSquare", |call| reduce(call, In::Own, |x, axes, keep| (x * x).sum_axes(axes, keep))),
    ("ReduceMean", |call| reduce(call, In::Float, |x, axes, keep| x.mean_axes(axes, keep))),
    ("ReduceL2", |call| {
        reduce(call, In::Float, |x, axes, keep| x.square().sum_axes(axes, keep).sqrt())
    }),
    ("ReduceLogSum", |call| reduce(call, In::Float, |x, axes, keep| x.sum_axes(axes, keep).log())),
    ("ReduceLogSumExp", |call| reduce(call, In::Float, |x, axes, keep| x.logsumexp(axes, keep))),
];

/// In which type the elements are combined.
#[derive(Clone, Copy, PartialEq)]
enum In {
    /// Their own; narrow integers in a wider one.
    Own,
    /// Integers as doubles.
    Float,
}

/// The axes are a setting before version 18 (of sums before 13), and an operand since. Without any, all are
/// meant, or none if `noop_with_empty_axes`: what is done to the elements is done all the same. An empty set
/// has the identity of its reduction: 0, 1, or the end of the type's range.
fn reduce(call: &Call<'_>, width: In, f: fn(&Tensor, &[isize], bool) -> Tensor) -> Results {
    let x = call.tensor(0)?;
    let named = call.ints_or_input("axes", 1)?.unwrap_or_default();
    let over = match named.is_empty() && !call.flag("noop_with_empty_axes", false)? {
        true => (0..x.rank()).collect(),
        false => axes(&named, x.rank())?,
    };
    let mut over: Vec<isize> = over.into_iter().map(|a| a as isize).collect();
    over.sort_unstable();
    let dtype = match (width, x.dtype()) {
        (_, float @ (DType::F32 | DType::F64)) => float,
        (In::Float, _) => DType::F64,
        (In::Own, DType::I64) => DType::I64,
        (In::Own, _) => DType::I32,
    };
    // Truth is ordered: false before true. An empty set of a narrow type would get the ends of a wider one.
    let narrow = matches!(x.dtype(), DType::Bool | DType::I8 | DType::U8);
    let y = f(&x.to_dtype(dtype), &over, call.flag("keepdims", true)?);
    one(match x.dtype() {
        DType::Bool => y.gt(0),
        DType::U8 if narrow => y.clamp(0.0, 255.0).to_dtype(DType::U8),
        DType::I8 if narrow => y.clamp(-128.0, 127.0).to_dtype(DType::I8),
        other => y.to_dtype(other),
    })
}
