//! Fused elementwise groups: one instruction for any expression over broadcast, strided operands,
//! with random numbers and reductions.
//!
//! A [`Fused`] is plain data: an iteration space, views of the inputs in it, a short list of
//! [`Step`]s in single-assignment form, and the outputs. [`Fused::prepare`] checks it once and
//! makes the [`FusedKernel`] that runs: tiles of about a thousand elements stay in the first-level
//! cache while one vectorised loop after another walks over them.
//!
//! # Meaning
//! For every point of the iteration space, each step computes one number of the group's
//! [`Compute`] type from earlier ones. An output without a reduction stores its value at its
//! place. An output with a reduction combines the values of all points that fall on the same
//! place: its strides are 0 along the reduced dimensions.
//!
//! Storage types are converted when loading and storing. To a narrower integer, floats truncate
//! and saturate (NaN becomes 0) and integers wrap; to [`Element::Bool`] everything but zero is 1.

mod access;
mod check;
mod display;
mod fold;
mod geometry;
mod kernel;
mod lane;
mod plan;
#[cfg(test)]
mod reference;
mod run;
mod runs;
#[cfg(test)]
mod tests;
mod types;

pub use kernel::FusedKernel;
#[cfg(test)]
pub(crate) use lane::{
    binary as binary_on, normal as normal_on, unary as unary_on, uniform as uniform_on,
};
pub use types::{BinaryOp, Compute, Element, Output, Random, Reduce, Step, UnaryOp, View};

/// A group of elementwise operations over one iteration space, as plain data.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fused {
    /// The type of every value of the group.
    pub compute: Compute,
    /// The iteration space, row-major. Any extent may be 0 or 1.
    pub dims: Vec<usize>,
    /// What [`Step::Load`] and [`Step::Random`] refer to.
    pub inputs: Vec<View>,
    /// Step `i` defines value `i`; steps refer to earlier values only.
    pub code: Vec<Step>,
    /// What is stored or reduced.
    pub outputs: Vec<Output>,
}

impl Fused {
    /// Number of points of the iteration space.
    pub fn points(&self) -> usize {
        self.dims.iter().fold(1, |n: usize, &d| n.saturating_mul(d))
    }
}
