//! Data sets, transforms, splits and the loader of nerve.
//!
//! ```text
//! source ──► Table ──► features ──► Dataset / Stream ──► Pipeline (normalise, augment) ──► Loader (order, batches, a thread) ──► Batch
//! ```
//!
//! | place | what lives there |
//! |---|---|
//! | [`source`] | readers of files: CSV, JSON, npy, idx, texts, folders; streams of them |
//! | [`table`] | rows and named columns as a source gives them |
//! | [`features`] | what a column becomes: number, category, text, image, ... |
//! | [`Dataset`], [`Arrays`], [`Subset`], [`labels`] | samples with random access, in memory as small as they are in their file |
//! | [`Stream`], [`IterStream`] | samples that come one after the other |
//! | [`text`] | tokenizers |
//! | [`inspect`] | what columns hold, and what is probably wrong with them |
//! | [`split`] | training, validation and test parts |
//! | [`transform`] | normalisation, augmentation and the pipeline of both |
//! | [`audio`], [`series`] | sound and measurements over time: front ends, windows, augmentation |
//! | [`Loader`] | shuffled batches, prepared on another thread, resumable at any position |
//! | [`catalogue`], [`mnist`] | named data sets and where their files are found |
//! | [`image_file`] | one picture from a file, for prediction |
//! | [`preview`] | sheets of examples, drawn as the network gets them |
//!
//! A batch is a set of plain [`Array`]s of known shape; nothing here knows of tensors or networks.
#![forbid(unsafe_code)]

mod array;
pub mod audio;
pub mod cache;
pub mod catalogue;
pub mod civil;
mod dataset;
mod error;
pub mod features;
pub mod image_file;
pub mod inspect;
mod loader;
pub mod mnist;
mod permutation;
pub mod preview;
mod random;
pub mod series;
pub mod source;
pub mod split;
mod stream;
pub mod table;
pub mod text;
pub mod transform;

pub use array::{Array, Element, Field, Row, Slice, Values};
pub use dataset::{Arrays, Dataset, Subset, for_each_sample, labels};
pub use error::DataError;
pub use features::Feature;
pub use loader::{Batch, Batches, Loader, LoaderOptions, Sampler};
pub use permutation::Permutation;
pub use random::Random;
pub use stream::{InOrder, IterStream, Sample, Samples, Stream};
pub use table::{Cell, Cells, Column, Origin, Table, Texts};
