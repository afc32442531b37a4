//! The compiler: a network is a graph, and everything else is a transformation of that graph.
//!
//! Calling methods on [`Tensor`] builds the graph; nothing is computed yet. [`grad`] adds the
//! backward nodes as ordinary nodes. [`compile()`] traces a function once, simplifies and fuses the
//! graph, plans memory, and replays the result as a flat list of instructions on the machine,
//! which is `nerve-cpu`.
//!
//! ```
//! use nerve_core::{Tensor, Var, compile, grad};
//!
//! // Least squares by gradient descent: the slope of y = 3 x.
//! let w = Var::new("w", Tensor::scalar(0.0f32));
//! let step = compile(|args: &[Tensor]| {
//!     let (x, y) = (&args[0], &args[1]);
//!     let error = x * &w.get() - y;
//!     let loss = error.square().mean();
//!     let dw = &grad(&loss, &[&w])[0];
//!     w.set(&w.get() - dw * 0.1);
//!     vec![loss]
//! });
//! let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0], [3]);
//! let y = &x * 3.0;
//! for _ in 0..50 {
//!     step.call(&[&x, &y]);
//! }
//! assert!((w.get().item::<f32>() - 3.0).abs() < 1e-4);
//! ```
#![forbid(unsafe_code)]

mod backup;
mod bind;
pub mod compile;
mod dtype;
mod grad;
mod op;
pub mod ops;
mod scope;
mod shape;
mod substitute;
mod tensor;
#[cfg(test)]
mod testing;
mod trace;
mod var;

pub use backup::Backup;
pub use bind::bind;
pub use compile::{
    Census, Compiled, Cost, Diagnosis, Origin, OriginKind, Plan, Spoilt, Step, VariableRole,
    compile, try_plan,
};
pub use dtype::{DType, Element};
pub use grad::{Source, grad};
pub use nerve_cpu::{Precision, RunError, set_threads, threads};
pub use op::Op;
pub use scope::{current_scope, scope};
pub use shape::Shape;
pub use substitute::substitute;
pub use tensor::{ShapeError, Tensor};
pub use var::{Arena, Var};
