//! The machine: instructions over plain buffers, and the threads that walk them.
//!
//! A [`Program`] is a flat list of [`Instruction`]s. Each instruction names its operands as
//! [`Region`]s of numbered buffers, says into how many independent chunks its work falls, and runs
//! one chunk at a time. The machine knows buffers, instructions and threads; it never hears of a
//! gradient, a layer or a shape that is not written in an instruction.
//!
//! This is the only crate of the workspace with `unsafe` code. The boundary is [`Program::new`]:
//! it checks every operand of every instruction against the buffers once, so that the replay may
//! use raw pointers without checking again.

mod arena;
pub mod argreduce;
pub mod attention;
mod bandwidth;
mod bounds;
mod caches;
pub mod conv;
mod copy;
pub mod cross_entropy;
pub mod fused;
pub mod gather;
pub mod gemm;
pub mod int_matmul;
pub mod kernel;
pub mod layer_norm;
pub mod math;
pub mod memory;
mod peak;
pub mod pool;
pub mod program;
pub mod random;
mod real;
pub mod recurrent;
mod rows;
pub mod scan;
pub mod simd;
pub mod softmax;
pub mod sort;
#[cfg(test)]
mod testing;
pub mod threads;

pub use argreduce::{ArgKind, ArgReduce};
pub use attention::{Attention, AttentionGrad, AttentionShape, Heads};
pub use bandwidth::peak_bandwidth;
pub use conv::{Conv, ConvPool, ConvShape, ConvWeightGrad, WinogradFilter};
pub use copy::Copy;
pub use cross_entropy::{CrossEntropy, CrossEntropyGrad, Target};
pub use fused::{Fused, FusedKernel};
pub use gather::{Gather, GatherElements, Meeting, ScatterAdd, ScatterElements};
pub use gemm::{Activation, Gemm, GemmKernel, PackB, SumParts};
pub use int_matmul::IntMatmul;
pub use kernel::{Access, Fault, Float, Kernel, Operand, Precision, Scratch};
pub use layer_norm::{LayerNorm, LayerNormGrad};
pub use memory::{Buffer, Memory, Region};
pub use peak::peak_flops;
pub use pool::{NO_PLACE, Places, Pool, PoolGrad, PoolKind, PoolShape};
pub use program::{Instruction, Program, ProgramError, Replay, RunError};
pub use real::Number;
pub use recurrent::{Cell, Recurrent, RecurrentGrad, RecurrentShape};
pub use scan::CumSum;
pub use simd::{Isa, isa};
pub use softmax::{Softmax, SoftmaxGrad};
pub use sort::Sort;
pub use threads::{hand_off, set_threads, threads};
