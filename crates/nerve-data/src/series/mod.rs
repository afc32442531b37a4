//! Measurements over time: which rows follow one another, which of them are samples, and how these are augmented.
//!
//! A sample of a series is a row, its origin, with the rows around it that a feature [reaches](crate::Feature::reach).

pub mod augment;
mod standard;
mod timeline;

pub use standard::PerSeries;
pub use timeline::{Order, PARAMS, Timeline, in_order, series_of, sorted};
