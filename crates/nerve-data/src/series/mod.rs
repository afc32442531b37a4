//! Measurements over time: how they are augmented.

pub mod augment;
