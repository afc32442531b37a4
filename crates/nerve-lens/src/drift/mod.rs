//! Whether two collections of rows come from the same distribution, column by column.
//!
//! ```text
//! cells ── Gauge ──► a number or a name a row ── Numbers, Names ──► Summary (bounded, mergeable, kept in the model file)
//! Summary of the reference, Summary of now ── Test ──► Verdict of a column ── compare ──► Drift of the data
//! ```
//!
//! Which test a column gets, and from which score on it has drifted, is decided as Evidently 0.7 decides it by default:
//! see [`Test::of`].

mod compare;
mod gauge;
mod page;
mod reference;
mod ring;
mod sketch;
mod special;
mod summary;
mod tests;

pub use compare::{ColumnDrift, Drift, Options, SHARE, compare};
pub use gauge::{Gauge, Kind, Reading};
pub use page::page;
pub use reference::{Measured, Observer, Reference};
pub use ring::Ring;
pub use sketch::{Names, Numbers, Sketch};
pub use summary::{NameSummary, NumberSummary, Summary};
pub use tests::{Test, Verdict};
