//! Looking at models that are in use.
//!
//! - [`drift`]: whether what a model is asked is still like what it was trained on.
#![forbid(unsafe_code)]

pub mod drift;
