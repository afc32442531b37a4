//! The operations: one file for each, with its struct, shape rule, gradient rule, decomposition,
//! lowering, `Tensor` methods and tests.
//!
//! To add one: write its file, add its name to the list in `op.rs`, and, if it needs a kernel of
//! its own, one file in `nerve-cpu`. The compiler names whatever is then still missing.

mod argreduce;
mod attention;
mod batch_norm;
mod binary;
mod broadcast;
mod concat;
mod conv;
mod conv_input_grad;
mod conv_nd;
mod cross_entropy;
mod cumsum;
mod einsum;
mod filter_panels;
mod gather;
mod gather_elements;
mod gather_nd;
mod grid_sample;
mod hyperbolic;
mod int_matmul;
mod layer_norm;
mod leaf;
mod masks;
mod matmul;
mod movement;
mod norm;
mod pad;
mod panels;
mod pool;
mod pool_nd;
mod rearrange;
mod recurrent;
mod reduce;
mod resize;
mod scatter;
mod softmax;
mod sort;
mod source;
mod unary;
mod windows;
mod winograd_filter;

pub use argreduce::ArgReduce;
pub use attention::{Attention, AttentionGrad};
pub use batch_norm::BatchNorm;
pub use binary::{Binary, Select};
pub use broadcast::Broadcast;
pub use concat::Concat;
pub use conv::{Border, Conv, Conv2dOptions, ConvWeightGrad};
pub use conv_input_grad::ConvInputGrad;
pub use conv_nd::ConvOptions;
pub use cross_entropy::{CrossEntropy, CrossEntropyGrad};
pub use cumsum::CumSum;
pub use filter_panels::FilterPanels;
pub use gather::{Gather, ScatterAdd};
pub use gather_elements::{GatherElements, ScatterAddElements};
pub use grid_sample::{Beyond, GridSample, Sampling};
pub use int_matmul::IntMatmul;
pub use layer_norm::{LayerNorm, LayerNormGrad};
pub use leaf::{Argument, Constant, ReadVar};
pub use matmul::Matmul;
pub use movement::{Permute, Reshape, Slice};
pub use pad::Pad;
pub use panels::Panels;
pub use pool::{MaxPlace, Pool, PoolGrad};
pub use pool_nd::PoolOptions;
pub use recurrent::{Recurrent, RecurrentGrad};
pub use reduce::Reduce;
pub use resize::{Coordinates, Interpolation, Resize, Resized, Rounding};
pub use scatter::{Scatter, Scattering};
pub use softmax::{Softmax, SoftmaxGrad};
pub use sort::ArgSort;
pub use source::{Full, Iota, Random, random_key};
pub use unary::{Cast, Detach, Unary};
pub use windows::Windows;
pub use winograd_filter::WinogradFilter;

use crate::dtype::DType;
use crate::shape::Shape;
use crate::tensor::Tensor;
use nerve_cpu::Number;

/// A number that hashes and compares by its bits, for attributes of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bits(u64);

impl Bits {
    /// The bits of `value`.
    pub fn new(value: f64) -> Self {
        Bits(value.to_bits())
    }

    /// The number.
    pub fn get(self) -> f64 {
        f64::from_bits(self.0)
    }
}

/// The axis that `axis` names in `shape`, or an error that says what there is.
pub(crate) fn axis(axis: isize, shape: &Shape) -> Result<usize, String> {
    let rank = shape.rank();
    shape.axis(axis).ok_or_else(|| match rank {
        0 => format!("axis {axis} of a scalar, which has no axes"),
        _ => format!("axis {axis} of shape {shape}: expected {} to {}", -(rank as isize), rank - 1),
    })
}

/// As [`axis`], for `Tensor` methods: panics at the caller's line.
#[track_caller]
pub(crate) fn axis_of(op: &str, a: isize, tensor: &Tensor) -> usize {
    match axis(a, tensor.shape()) {
        Ok(axis) => axis,
        Err(message) => panic!("{op}: {message}"),
    }
}

/// Refuses inputs of another type than a float.
pub(crate) fn expect_float(input: &Tensor) -> Result<(), String> {
    match input.dtype().is_float() {
        true => Ok(()),
        false => Err(format!(
            "expected f32 or f64, found {}; convert with to_dtype(DType::F32)",
            input.dtype()
        )),
    }
}

/// Refuses inputs of different types.
pub(crate) fn expect_same(a: &Tensor, b: &Tensor) -> Result<DType, String> {
    match a.dtype() == b.dtype() {
        true => Ok(a.dtype()),
        false => Err(format!(
            "dtypes {} and {} differ; convert one of them with to_dtype",
            a.dtype(),
            b.dtype()
        )),
    }
}

/// `(outer, extent, inner)` around an axis that is counted with i32, or why it cannot be.
pub(crate) fn around(axis: usize, x: &Tensor) -> Result<(usize, usize, usize), String> {
    if axis >= x.rank() {
        return Err(format!("axis {axis} of shape {}", x.shape()));
    }
    match i32::try_from(x.shape()[axis]) {
        Ok(_) => Ok(x.shape().around(axis)),
        Err(_) => Err(format!("axis {axis} of {} is too long for i32 indices", x.shape())),
    }
}

/// The machine's name for a type that orders and adds; refuses the others.
pub(crate) fn expect_number(input: &Tensor) -> Result<Number, String> {
    match input.dtype() {
        DType::F32 => Ok(Number::F32),
        DType::F64 => Ok(Number::F64),
        DType::I32 => Ok(Number::I32),
        DType::I64 => Ok(Number::I64),
        other => {
            Err(format!("expected f32, f64, i32 or i64, found {other}; convert with to_dtype"))
        }
    }
}
