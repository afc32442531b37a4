//! Checkpoints: a training as it stands between two steps, so that it can go on as if it had never
//! been stopped.
//!
//! [`Trainer`](crate::Trainer) captures a [`Snapshot`] when a callback wants one; [`Saver`] writes it,
//! on another thread, into a folder of [`Checkpoints`]; [`Options::from`](crate::Options) takes it up
//! again. A training that was continued has the same bits as one that was not, at whatever step it
//! was stopped and whatever the number of threads.
//!
//! ```text
//! checkpoints/
//!   step-000000844-epoch-0002/
//!     state.safetensors   parameters, optimizer, schedule, history, metrics of the epoch, callbacks
//!     manifest.json       step, epoch, position in the data; size and SHA-256 of each file
//!   best                  the name of the checkpoint of the best epoch
//! ```

mod background;
mod saver;
mod snapshot;
mod store;

pub use background::Background;
pub use saver::{Every, Saved, Saver};
pub use snapshot::{Memory, Position, Snapshot};
pub use store::{CheckpointError, Checkpoints, Found};
