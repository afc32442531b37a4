//! Timing, and the result lines of nerve.

pub use crate::timing::{Random, bench};
use std::fmt::Display;

/// Framework, and mode: the vector instructions and the number of threads.
pub fn names() -> [String; 2] {
    let (isa, threads) = (nerve_cpu::isa().name(), nerve_core::threads());
    [format!("nerve {}", env!("CARGO_PKG_VERSION")), format!("{isa} {threads}T")]
}

/// Prints one result.
pub fn emit(workload: impl Display, metric: &str, value: f64, spread: f64) {
    crate::peer::emit(&names(), workload, metric, value, spread);
}
